/* SPDX-License-Identifier: Apache-2.0 */
/* client/net/transport_curl.c - the only file that knows libcurl.
 *
 * The chain of the server's certificate is not verified, on purpose: it is
 * self-signed, and a valid chain would say less than what we demand, which is
 * that its key is one of the pins.  libcurl checks the pin inside the handshake,
 * before a byte of the request goes out.  The one connection without a pin may
 * only read the keyset, whose signature is then checked against the root.
 *
 * The multi interface runs one transfer at a time: curl_multi_poll can be woken
 * from another thread, so a cancel works at once, also while connecting.
 */
#include "client/net/transport_curl.h"

#include <stdio.h>
#include <string.h>

#include "common/bytes.h"
#include "common/mem.h"

/* After "https://": a name, an address or [v6], then maybe a port. */
bool hearth_transport_curl_url_ok(const char *server) {
    if (!server || strncmp(server, "https://", 8) != 0) return false;
    const char *h = server + 8;
    size_t n;
    if (*h == '[') {
        n = strspn(h + 1, "0123456789abcdefABCDEF:.");
        if (n < 2 || h[n + 1] != ']') return false;
        n += 2;
    } else {
        n = strspn(h, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                      "0123456789-.");
    }
    if (n == 0 || n > 255) return false;
    if (h[n] == '\0') return true;
    if (h[n] != ':') return false;
    const char *p = h + n + 1;
    size_t k = strspn(p, "0123456789");
    if (k < 1 || k > 5 || p[k] != '\0') return false;
    unsigned port = 0;
    for (size_t i = 0; i < k; i++) port = port * 10 + (unsigned)(p[i] - '0');
    return port > 0 && port < 65536;
}

#ifndef HEARTH_WITH_CURL

hearth_status
hearth_transport_curl_open(hearth_transport *tr,
                           const hearth_transport_curl_config *cfg,
                           const hearth_alloc *al, hearth_error *err) {
    (void)cfg;
    (void)al;
    *tr = (hearth_transport){0};
    return hearth_error_set(err, HEARTH_EUNSUPPORTED,
                            "built without libcurl; build with "
                            "-DHEARTH_WITH_CURL=ON or give a transport");
}

void hearth_transport_curl_close(hearth_transport *tr) {
    if (tr) *tr = (hearth_transport){0};
}

#else

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>

typedef struct {
    const hearth_alloc *al;
    hearth_alloc alloc;
    CURLM *multi;
    CURL *easy;
    char *server, *pins, *cert, *key;
    uint32_t connect_ms, stall_ms;
    bool (*stop)(void *ud);
    void *stop_ud;
    atomic_bool cancelled;
    char words[CURL_ERROR_SIZE];
} curl_transport;

/* One transfer. */
typedef struct {
    const hearth_http_req *rq;
    hearth_http_resp *rp;
    CURL *easy;
    size_t got, cap; /* body bytes */
    hearth_status st;
} transfer;

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static CURLcode curl_started = CURLE_FAILED_INIT;

static void curl_start(void) {
    curl_started = curl_global_init(CURL_GLOBAL_DEFAULT);
}

static size_t on_body(char *p, size_t size, size_t n, void *ud) {
    transfer *t = ud;
    size_t bytes = size * n;
    long status = 0;
    if (bytes > t->cap - t->got) {
        t->st = HEARTH_ETOOBIG;
        return 0;
    }
    t->got += bytes;
    (void)curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    if (t->rq->sink && (status == 200 || status == 206))
        t->st = t->rq->sink(t->rq->sink_ud, (const uint8_t *)p, bytes);
    else
        t->st = hearth_buf_append(&t->rp->body, p, bytes);
    return t->st == HEARTH_OK ? bytes : 0;
}

static size_t on_header(char *p, size_t size, size_t n, void *ud) {
    transfer *t = ud;
    hearth_http_resp_header(t->rp, p, size * n);
    return size * n;
}

/* Every option that bears on who the peer is and what it may do. */
static CURLcode set_security(curl_transport *c, bool use_cert) {
    CURL *e = c->easy;
    CURLcode r = CURLE_OK;
#define SET(option, value)                                                     \
    if (r == CURLE_OK) r = curl_easy_setopt(e, option, value)
#if LIBCURL_VERSION_NUM >= 0x075500
    SET(CURLOPT_PROTOCOLS_STR, "https");
#else
    SET(CURLOPT_PROTOCOLS, (long)CURLPROTO_HTTPS);
#endif
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_SSL_VERIFYPEER, 0L); /* see the top: the pin decides */
    SET(CURLOPT_SSL_VERIFYHOST, 0L);
    SET(CURLOPT_CAINFO, NULL);
    SET(CURLOPT_CAPATH, NULL);
    if (c->pins) SET(CURLOPT_PINNEDPUBLICKEY, c->pins);
    if (c->cert && use_cert) { /* another connection than without */
        struct curl_blob cert = {c->cert, strlen(c->cert), CURL_BLOB_NOCOPY};
        struct curl_blob key = {c->key, strlen(c->key), CURL_BLOB_NOCOPY};
        SET(CURLOPT_SSLCERTTYPE, "PEM");
        SET(CURLOPT_SSLKEYTYPE, "PEM");
        SET(CURLOPT_SSLCERT_BLOB, &cert);
        SET(CURLOPT_SSLKEY_BLOB, &key);
    }
    return r;
}

static CURLcode set_transfer(curl_transport *c, transfer *t, const char *url,
                             struct curl_slist *headers) {
    CURL *e = c->easy;
    CURLcode r = CURLE_OK;
    const hearth_http_req *rq = t->rq;
    uint32_t stall_s = (c->stall_ms + 999) / 1000;
    SET(CURLOPT_URL, url);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_USERAGENT, "hearth/0.1");
    SET(CURLOPT_HTTPHEADER, headers);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)c->connect_ms);
    SET(CURLOPT_LOW_SPEED_LIMIT, 1L);
    SET(CURLOPT_LOW_SPEED_TIME, (long)stall_s);
    SET(CURLOPT_TIMEOUT_MS, (long)rq->timeout_ms);
    SET(CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)t->cap);
    SET(CURLOPT_ERRORBUFFER, c->words);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, t);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, t);
    if (rq->method == HEARTH_HTTP_HEAD) SET(CURLOPT_NOBODY, 1L);
    if (rq->method == HEARTH_HTTP_POST || rq->method == HEARTH_HTTP_PATCH) {
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDS, rq->n_body ? (const char *)rq->body : "");
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)rq->n_body);
        SET(CURLOPT_CUSTOMREQUEST, hearth_http_method_name(rq->method));
    }
#undef SET
    return r;
}

/* Append a header; false, with the list freed, when out of memory. */
static bool add_header(struct curl_slist **list, const char *text) {
    struct curl_slist *more = curl_slist_append(*list, text);
    if (!more) {
        curl_slist_free_all(*list);
        *list = NULL;
        return false;
    }
    *list = more;
    return true;
}

static bool make_headers(struct curl_slist **list, const hearth_http_req *rq,
                         hearth_buf *b) {
    bool body =
        rq->method == HEARTH_HTTP_POST || rq->method == HEARTH_HTTP_PATCH;
    if (!add_header(list, "Expect:")) return false;
    if (body && !add_header(list, rq->upload_offset >= 0
                                      ? "Content-Type: application/octet-stream"
                                      : "Content-Type: application/msgpack"))
        return false;
    if (rq->cookie) {
        hearth_buf_clear(b);
        (void)hearth_buf_printf(b, "Cookie: hearth=%s", rq->cookie);
        if (b->failed || !add_header(list, hearth_buf_str(b))) return false;
    }
    if (rq->upload_offset >= 0) {
        hearth_buf_clear(b);
        (void)hearth_buf_printf(b, "Upload-Offset: %lld",
                                (long long)rq->upload_offset);
        if (b->failed || !add_header(list, hearth_buf_str(b))) return false;
    }
    if (rq->range_n) {
        hearth_buf_clear(b);
        (void)hearth_buf_printf(
            b, "Range: bytes=%llu-%llu", (unsigned long long)rq->range_from,
            (unsigned long long)(rq->range_from + rq->range_n - 1));
        if (b->failed || !add_header(list, hearth_buf_str(b))) return false;
    }
    if (rq->range_n && rq->if_range) {
        hearth_buf_clear(b);
        (void)hearth_buf_printf(b, "If-Range: %s", rq->if_range);
        if (b->failed || !add_header(list, hearth_buf_str(b))) return false;
    }
    return true;
}

/* Run the transfer to its end or to a cancel. */
static hearth_status drive(curl_transport *c, CURLcode *result) {
    int running = 1;
    while (running) {
        if (atomic_exchange(&c->cancelled, false)) return HEARTH_ECANCELLED;
        if (c->stop && c->stop(c->stop_ud)) return HEARTH_ECANCELLED;
        CURLMcode m = curl_multi_perform(c->multi, &running);
        if (m == CURLM_OK && running)
            m = curl_multi_poll(c->multi, NULL, 0, 200, NULL);
        if (m == CURLM_OUT_OF_MEMORY) return HEARTH_ENOMEM;
        if (m != CURLM_OK) return HEARTH_ENET;
    }
    *result = CURLE_FAILED_INIT;
    int left = 0;
    CURLMsg *msg;
    while ((msg = curl_multi_info_read(c->multi, &left)) != NULL)
        if (msg->msg == CURLMSG_DONE) *result = msg->data.result;
    return HEARTH_OK;
}

static hearth_status explain(const curl_transport *c, CURLcode r,
                             const transfer *t, hearth_error *err) {
    const char *words = c->words[0] ? c->words : curl_easy_strerror(r);
    if (t->st == HEARTH_ETOOBIG || r == CURLE_FILESIZE_EXCEEDED)
        return hearth_error_set(err, HEARTH_ETOOBIG,
                                "%s: reply above %zu bytes was dropped",
                                c->server, t->cap);
    if (t->st != HEARTH_OK) return t->st; /* the sink or the buffer */
    switch (r) {
    case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
        return hearth_error_set(
            err, HEARTH_ESIGNATURE,
            "%s: its TLS key is not in the coordinator's signed keyset; "
            "nothing was sent. Ask the operator, or run `hearth init` again",
            c->server);
    case CURLE_OUT_OF_MEMORY: return HEARTH_ENOMEM;
    case CURLE_OPERATION_TIMEDOUT:
        return hearth_error_set(err, HEARTH_ETIMEOUT,
                                "%s: %s; it is tried again later", c->server,
                                words);
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return hearth_error_set(err, HEARTH_EFORMAT,
                                "%s: %s; check that this is the address of a "
                                "Hearth coordinator",
                                c->server, words);
    default:
        return hearth_error_set(err, HEARTH_ENET,
                                "%s: %s; it is tried again later", c->server,
                                words);
    }
}

/* Without pins there is one thing to ask for. */
static bool allowed(const curl_transport *c, const hearth_http_req *rq) {
    return c->pins || (rq->method == HEARTH_HTTP_GET && !rq->cookie &&
                       !c->cert && strcmp(rq->path, "/v1/keyset") == 0);
}

static hearth_status curl_request(void *ud, const hearth_http_req *rq,
                                  hearth_http_resp *rp, hearth_error *err) {
    curl_transport *c = ud;
    struct curl_slist *headers = NULL;
    hearth_buf b = HEARTH_BUF_INIT(c->al), url = HEARTH_BUF_INIT(c->al);
    size_t cap = rq->max_body ? rq->max_body : HEARTH_HTTP_BODY_CAP;
    transfer t = {rq, rp, c->easy, 0, cap, HEARTH_OK};
    CURLcode r = CURLE_OK;
    hearth_status st;

    if (!allowed(c, rq))
        return hearth_error_set(err, HEARTH_ESTATE,
                                "%s: only the keyset is read before the "
                                "coordinator is trusted",
                                c->server);
    c->words[0] = '\0';
    curl_easy_reset(c->easy);
    (void)hearth_buf_printf(&url, "%s%s", c->server, rq->path);
    st = HEARTH_ENOMEM;
    if (url.failed || !make_headers(&headers, rq, &b)) goto done;
    r = set_security(c, rq->use_cert);
    if (r == CURLE_OK) r = set_transfer(c, &t, hearth_buf_str(&url), headers);
    if (r != CURLE_OK) {
        st = explain(c, r, &t, err);
        goto done;
    }
    st = HEARTH_ENET;
    if (curl_multi_add_handle(c->multi, c->easy) != CURLM_OK) goto done;
    st = drive(c, &r);
    (void)curl_multi_remove_handle(c->multi, c->easy);
    if (st == HEARTH_ECANCELLED)
        (void)hearth_error_set(err, st, "stopped on request");
    if (st != HEARTH_OK) goto done;
    if (r != CURLE_OK) {
        st = explain(c, r, &t, err);
        goto done;
    }
    long status = 0;
    (void)curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    rp->status = (int)status;

done:
    curl_easy_reset(c->easy); /* drops pointers into this frame */
    for (struct curl_slist *h = headers; h; h = h->next)
        hearth_zeroize(h->data, strlen(h->data)); /* the cookie */
    curl_slist_free_all(headers);
    hearth_buf_free(&b);
    hearth_buf_free(&url);
    return st;
}

static void curl_cancel(void *ud) {
    curl_transport *c = ud;
    atomic_store(&c->cancelled, true);
    (void)curl_multi_wakeup(c->multi);
}

static void curl_rearm(void *ud) {
    curl_transport *c = ud;
    atomic_store(&c->cancelled, false);
}

static void free_secret(const hearth_alloc *al, char *s) {
    if (s) hearth_zeroize(s, strlen(s));
    hearth_mem_free(al, s);
}

static void transport_free(curl_transport *c) {
    if (!c) return;
    hearth_alloc al = c->alloc;
    if (c->easy) curl_easy_cleanup(c->easy);
    if (c->multi) (void)curl_multi_cleanup(c->multi);
    hearth_mem_free(&al, c->server);
    hearth_mem_free(&al, c->pins);
    hearth_mem_free(&al, c->cert);
    free_secret(&al, c->key);
    hearth_mem_free(&al, c);
}

/* Copy s unless it is NULL; false when out of memory. */
static bool copy(char **out, const hearth_alloc *al, const char *s) {
    *out = s ? hearth_mem_strdup(al, s) : NULL;
    return !s || *out;
}

hearth_status
hearth_transport_curl_open(hearth_transport *tr,
                           const hearth_transport_curl_config *cfg,
                           const hearth_alloc *al, hearth_error *err) {
    if (!tr || !cfg) return HEARTH_EINVAL;
    *tr = (hearth_transport){0};
    if (!hearth_transport_curl_url_ok(cfg->server))
        return hearth_error_set(err, HEARTH_EINVAL,
                                "'%.200s' is not an address of the form "
                                "https://host:port",
                                cfg->server ? cfg->server : "");
    if (!cfg->cert_pem != !cfg->key_pem || (cfg->pins && !*cfg->pins))
        return HEARTH_EINVAL;
    (void)pthread_once(&curl_once, curl_start);
    if (curl_started != CURLE_OK)
        return hearth_error_set(err, HEARTH_ENET, "libcurl does not start: %s",
                                curl_easy_strerror(curl_started));
    al = hearth_mem_or_default(al);
    curl_transport *c = hearth_mem_new(al, sizeof(*c));
    if (!c) return HEARTH_ENOMEM;
    c->alloc = *al;
    c->al = &c->alloc;
    c->connect_ms = cfg->connect_timeout_ms ? cfg->connect_timeout_ms : 15000;
    c->stall_ms = cfg->stall_timeout_ms ? cfg->stall_timeout_ms : 60000;
    c->stop = cfg->stop;
    c->stop_ud = cfg->stop_ud;
    atomic_init(&c->cancelled, false);
    bool ok =
        copy(&c->server, al, cfg->server) && copy(&c->pins, al, cfg->pins);
    ok = ok && copy(&c->cert, al, cfg->cert_pem) &&
         copy(&c->key, al, cfg->key_pem);
    ok = ok && (c->multi = curl_multi_init()) != NULL;
    ok = ok && (c->easy = curl_easy_init()) != NULL;
    if (!ok) {
        transport_free(c);
        return HEARTH_ENOMEM;
    }
    *tr = (hearth_transport){curl_request, curl_cancel, curl_rearm, c};
    return HEARTH_OK;
}

void hearth_transport_curl_close(hearth_transport *tr) {
    if (!tr) return;
    transport_free(tr->ud);
    *tr = (hearth_transport){0};
}

#endif /* HEARTH_WITH_CURL */

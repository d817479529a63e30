/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_transport.c - client/net/{transport,transport_curl,reply}.h.
 * What needs a TLS server is in tests/e2e. */
#include "tests/support/cmocka_all.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "client/net/reply.h"
#include "client/net/transport.h"
#include "client/net/transport_curl.h"
#include "common/clock.h"
#include "tests/support/fail_alloc.h"

#define PIN "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

/* ---- the table ---- */

typedef struct {
    hearth_http_req seen;
    int status;
    const char *body;
    hearth_status st;
    unsigned n, cancelled;
} canned;

static hearth_status canned_request(void *ud, const hearth_http_req *rq,
                                    hearth_http_resp *rp, hearth_error *err) {
    canned *c = ud;
    (void)err;
    c->n++;
    c->seen = *rq;
    rp->status = c->status;
    if (c->body) assert_ok(hearth_buf_puts(&rp->body, c->body));
    return c->st;
}

static void canned_cancel(void *ud) {
    ((canned *)ud)->cancelled++;
}

static hearth_status collect(void *ud, const uint8_t *p, size_t n) {
    return hearth_buf_append(ud, p, n);
}

static void transport_hands_the_body_to_the_sink(void **state) {
    (void)state;
    canned c = {.status = 206, .body = "piece"};
    hearth_transport tr = {canned_request, canned_cancel, NULL, &c};
    hearth_http_req rq = HEARTH_HTTP_REQ_INIT;
    hearth_http_resp rp;
    hearth_buf got = HEARTH_BUF_INIT(NULL);
    hearth_http_resp_init(&rp, NULL);
    rq.path = "/v1/releases/a/1/payload";
    rq.sink = collect;
    rq.sink_ud = &got;
    assert_ok(hearth_transport_request(&tr, &rq, &rp, NULL));
    assert_string_equal(hearth_buf_str(&got), "piece");
    assert_int_equal(rp.body.n, 0);
    c.status = 404; /* an error's body is not the sink's */
    assert_ok(hearth_transport_request(&tr, &rq, &rp, NULL));
    assert_string_equal(hearth_buf_str(&got), "piece");
    assert_string_equal(hearth_buf_str(&rp.body), "piece");
    hearth_transport_cancel(&tr);
    assert_int_equal(c.cancelled, 1);
    hearth_transport_cancel(NULL);
    hearth_http_resp_free(&rp);
    hearth_buf_free(&got);
}

static void transport_caps_bodies_and_checks_status(void **state) {
    (void)state;
    canned c = {.status = 200, .body = "12345"};
    hearth_transport tr = {canned_request, NULL, NULL, &c};
    hearth_http_req rq = HEARTH_HTTP_REQ_INIT;
    hearth_http_resp rp;
    hearth_http_resp_init(&rp, NULL);
    rq.path = "/x";
    rq.max_body = 4;
    assert_int_equal(hearth_transport_request(&tr, &rq, &rp, NULL),
                     HEARTH_ETOOBIG);
    assert_int_equal(rp.body.n, 0);
    rq.max_body = 5;
    assert_ok(hearth_transport_request(&tr, &rq, &rp, NULL));
    const int bad[] = {0, 99, 600, -1};
    for (size_t i = 0; i < 4; i++) {
        c.status = bad[i];
        assert_int_equal(hearth_transport_request(&tr, &rq, &rp, NULL),
                         HEARTH_EFORMAT);
    }
    hearth_http_resp_free(&rp);
}

static void transport_refuses_malformed_requests(void **state) {
    (void)state;
    canned c = {.status = 200};
    hearth_transport tr = {canned_request, NULL, NULL, &c}, empty = {0};
    hearth_http_req rq = HEARTH_HTTP_REQ_INIT;
    hearth_http_resp rp;
    char longpath[600];
    memset(longpath, 'a', sizeof(longpath));
    longpath[0] = '/';
    longpath[sizeof(longpath) - 1] = '\0';
    const char *bad[] = {NULL,       "",      "v1",        "/a b",
                         "/a?b",     "/a%20", "/a/../b",   "//a",
                         "/a\r\nX:", "/a#b",  "/\xc3\xa4", longpath};
    hearth_http_resp_init(&rp, NULL);
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        rq.path = bad[i];
        assert_int_equal(hearth_transport_request(&tr, &rq, &rp, NULL),
                         HEARTH_EINVAL);
    }
    rq.path = "/v1/keyset";
    rq.cookie = "a\r\nX-Evil: 1";
    assert_int_equal(hearth_transport_request(&tr, &rq, &rp, NULL),
                     HEARTH_EINVAL);
    rq.cookie = NULL;
    rq.if_range = "\"a b\"";
    assert_int_equal(hearth_transport_request(&tr, &rq, &rp, NULL),
                     HEARTH_EINVAL);
    rq.if_range = NULL;
    rq.n_body = 1;
    assert_int_equal(hearth_transport_request(&tr, &rq, &rp, NULL),
                     HEARTH_EINVAL);
    rq.body = (const uint8_t *)"x"; /* a GET has no body */
    assert_int_equal(hearth_transport_request(&tr, &rq, &rp, NULL),
                     HEARTH_EINVAL);
    rq.n_body = 0;
    rq.range_from = UINT64_MAX;
    rq.range_n = 1;
    assert_int_equal(hearth_transport_request(&tr, &rq, &rp, NULL),
                     HEARTH_EINVAL);
    rq.range_from = rq.range_n = 0;
    assert_int_equal(hearth_transport_request(&empty, &rq, &rp, NULL),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_transport_request(NULL, &rq, &rp, NULL),
                     HEARTH_EINVAL);
    assert_int_equal(c.n, 0);
    assert_ok(hearth_transport_request(&tr, &rq, &rp, NULL));
    hearth_http_resp_free(&rp);
}

static void transport_reads_two_headers(void **state) {
    (void)state;
    hearth_http_resp rp;
    hearth_http_resp_init(&rp, NULL);
#define LINE(s) hearth_http_resp_header(&rp, s, sizeof(s) - 1)
    assert_int_equal(rp.upload_offset, -1);
    LINE("Upload-Offset: 42\r\n");
    assert_int_equal(rp.upload_offset, 42);
    LINE("upload-offset:0");
    assert_int_equal(rp.upload_offset, 0);
    LINE("Upload-Offset: -1");
    LINE("Upload-Offset: 1x");
    LINE("Upload-Offset: ");
    LINE("Upload-Offset: 1234567890123456789");
    LINE("Upload-Offset");
    LINE("Upload-Offsets: 7");
    assert_int_equal(rp.upload_offset, 0);
    LINE("Upload-Offset: 999999999999999999");
    assert_int_equal(rp.upload_offset, 999999999999999999);
    LINE("ETag:   \"abc\"  \r\n");
    assert_string_equal(rp.etag, "\"abc\"");
    LINE("ETag: \"a\x01\"");
    assert_string_equal(rp.etag, "");
    LINE("ETag: \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
         "aaaaaaaaaaaaaaaaaaaaaaaaaaa\"");
    assert_string_equal(rp.etag, "");
    LINE("");
#undef LINE
    assert_string_equal(hearth_http_method_name(HEARTH_HTTP_PATCH), "PATCH");
    assert_string_equal(hearth_http_method_name((hearth_http_method)9), "?");
    hearth_http_resp_free(&rp);
}

/* ---- replies ---- */

static hearth_status check(int status, uint32_t reason, const char *words,
                           hearth_reply_info *info, hearth_error *err) {
    hearth_http_resp rp;
    hearth_error_reply e = {
        .reason = reason, .offset = 9, .retry = {1, 2, 3, 4}};
    hearth_http_resp_init(&rp, NULL);
    rp.status = status;
    if (reason) {
        (void)snprintf(e.message, sizeof(e.message), "%s", words);
        assert_ok(hearth_encode_error_reply(&rp.body, &e));
    }
    hearth_status st = hearth_reply_check(&rp, "test", info, err);
    hearth_http_resp_free(&rp);
    return st;
}

static void reply_gives_every_reason_its_status(void **state) {
    (void)state;
    static const struct {
        uint32_t reason;
        hearth_status st;
    } map[] = {
        {HEARTH_REASON_BAD_MESSAGE, HEARTH_EFORMAT},
        {HEARTH_REASON_VERSION, HEARTH_EVERSION},
        {HEARTH_REASON_CREDENTIAL, HEARTH_EAUTH},
        {HEARTH_REASON_UNKNOWN, HEARTH_ENOTFOUND},
        {HEARTH_REASON_FULL, HEARTH_EPEERREFUSED},
        {HEARTH_REASON_CLOSED, HEARTH_EPEERREFUSED},
        {HEARTH_REASON_OFFSET, HEARTH_ESTATE},
        {HEARTH_REASON_DIGEST, HEARTH_EDIGEST},
        {HEARTH_REASON_ALTERED, HEARTH_EPEERREFUSED},
        {HEARTH_REASON_RANGE, HEARTH_EPEERREFUSED},
        {HEARTH_REASON_TOO_BIG, HEARTH_ETOOBIG},
        {HEARTH_REASON_DISK, HEARTH_EBUSY},
        {HEARTH_REASON_BUSY, HEARTH_EBUSY},
        {HEARTH_REASON_INTERNAL, HEARTH_EBUSY},
        {HEARTH_REASON_ABORTED, HEARTH_EPEERREFUSED},
        {HEARTH_REASON_EXPIRED, HEARTH_EEXPIRED},
    };
    for (size_t i = 0; i < sizeof(map) / sizeof(*map); i++) {
        hearth_reply_info info;
        hearth_error err;
        assert_int_equal(check(409, map[i].reason, "", &info, &err), map[i].st);
        assert_int_equal(info.reason, map[i].reason);
        assert_true(info.has_retry);
        assert_int_equal(info.retry.refused_max_ms, 4);
    }
}

static void reply_falls_back_to_the_http_status(void **state) {
    (void)state;
    static const struct {
        int status;
        hearth_status st;
    } map[] = {{200, HEARTH_OK},           {206, HEARTH_OK},
               {299, HEARTH_OK},           {302, HEARTH_EFORMAT},
               {400, HEARTH_EFORMAT},      {401, HEARTH_EAUTH},
               {403, HEARTH_EAUTH},        {404, HEARTH_ENOTFOUND},
               {409, HEARTH_EPEERREFUSED}, {410, HEARTH_EPEERREFUSED},
               {413, HEARTH_ETOOBIG},      {408, HEARTH_EBUSY},
               {429, HEARTH_EBUSY},        {500, HEARTH_EBUSY},
               {503, HEARTH_EBUSY},        {418, HEARTH_EFORMAT}};
    for (size_t i = 0; i < sizeof(map) / sizeof(*map); i++) {
        hearth_reply_info info;
        hearth_error err = {HEARTH_OK, ""};
        assert_int_equal(check(map[i].status, 0, "", &info, &err), map[i].st);
        assert_false(info.has_retry);
        assert_int_equal(info.retry.accepted_min_ms,
                         hearth_retry_default.accepted_min_ms);
    }
}

static void reply_cleans_the_words_of_a_peer(void **state) {
    (void)state;
    hearth_reply_info info;
    hearth_error err;
    char out[8];
    assert_int_equal(check(409, HEARTH_REASON_FULL,
                           "full\x1b[2J\nlevel=error \"x\"", &info, &err),
                     HEARTH_EPEERREFUSED);
    for (const char *p = err.text; *p; p++)
        assert_true((unsigned char)*p >= 0x20 && (unsigned char)*p < 0x7f);
    assert_null(strchr(err.text, '"'));
    hearth_reply_clean(out, sizeof(out), "abcdefghijkl", 12);
    assert_string_equal(out, "abcdefg");
    hearth_reply_clean(out, sizeof(out), "ab\0cd", 5);
    assert_string_equal(out, "ab");
    hearth_reply_clean(out, 0, "x", 1);
}

/* ---- curl ---- */

#ifdef HEARTH_WITH_CURL

static void curl_open_checks_its_configuration(void **state) {
    (void)state;
    hearth_transport tr;
    hearth_transport_curl_config c = {.server = "http://a:1", .pins = PIN};
    hearth_error err;
    assert_int_equal(hearth_transport_curl_open(&tr, &c, NULL, &err),
                     HEARTH_EINVAL);
    c.server = "https://a:1";
    c.cert_pem = "x";
    assert_int_equal(hearth_transport_curl_open(&tr, &c, NULL, &err),
                     HEARTH_EINVAL);
    c.cert_pem = NULL;
    c.pins = "";
    assert_int_equal(hearth_transport_curl_open(&tr, &c, NULL, &err),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_transport_curl_open(NULL, &c, NULL, &err),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_transport_curl_open(&tr, NULL, NULL, &err),
                     HEARTH_EINVAL);
    tr = (hearth_transport){0};
    hearth_transport_curl_close(&tr);
    hearth_transport_curl_close(NULL);
}

static void curl_asks_an_unknown_peer_for_the_keyset_only(void **state) {
    (void)state;
    hearth_transport tr;
    hearth_transport_curl_config c = {.server = "https://127.0.0.1:1"};
    hearth_http_req rq = HEARTH_HTTP_REQ_INIT;
    hearth_http_resp rp;
    hearth_error err;
    hearth_http_resp_init(&rp, NULL);
    assert_ok(hearth_transport_curl_open(&tr, &c, NULL, &err));
    rq.path = "/v1/checkin";
    assert_int_equal(hearth_transport_request(&tr, &rq, &rp, &err),
                     HEARTH_ESTATE);
    rq.path = "/v1/keyset";
    rq.cookie = "c";
    assert_int_equal(hearth_transport_request(&tr, &rq, &rp, &err),
                     HEARTH_ESTATE);
    rq.cookie = NULL;
    rq.method = HEARTH_HTTP_POST;
    assert_int_equal(hearth_transport_request(&tr, &rq, &rp, &err),
                     HEARTH_ESTATE);
    rq.method = HEARTH_HTTP_GET; /* allowed, but nobody is there */
    assert_int_equal(hearth_transport_request(&tr, &rq, &rp, &err),
                     HEARTH_ENET);
    hearth_transport_curl_close(&tr);
    hearth_http_resp_free(&rp);
}

/* A server that takes connections and says nothing. */
static int silent_server(char url[64]) {
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t n = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(fd, 4), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    (void)snprintf(url, 64, "https://127.0.0.1:%u",
                   (unsigned)ntohs(a.sin_port));
    return fd;
}

static void *cancel_soon(void *tr) {
    struct timespec t = {0, 50000000};
    (void)nanosleep(&t, NULL);
    hearth_transport_cancel(tr);
    return NULL;
}

static bool stop_now(void *ud) {
    return ++*(unsigned *)ud > 1;
}

static void curl_cancel_ends_a_request_at_once(void **state) {
    (void)state;
    char url[64];
    int fd = silent_server(url);
    unsigned asked = 0;
    hearth_transport tr;
    hearth_transport_curl_config c = {.server = url, .pins = PIN};
    hearth_http_req rq = HEARTH_HTTP_REQ_INIT;
    hearth_http_resp rp;
    hearth_error err;
    hearth_clock clock = hearth_clock_system();
    pthread_t other;
    hearth_http_resp_init(&rp, NULL);
    assert_ok(hearth_transport_curl_open(&tr, &c, NULL, &err));
    rq.path = "/v1/checkin";
    int64_t start = hearth_clock_mono(&clock);
    assert_int_equal(pthread_create(&other, NULL, cancel_soon, &tr), 0);
    assert_int_equal(hearth_transport_request(&tr, &rq, &rp, &err),
                     HEARTH_ECANCELLED);
    assert_int_equal(pthread_join(other, NULL), 0);
    assert_true(hearth_clock_mono(&clock) - start < 10000); /* not 15 s */
    hearth_transport_cancel(&tr); /* before: forgotten by rearm */
    tr.rearm(tr.ud);
    rq.timeout_ms = 100;
    assert_int_equal(hearth_transport_request(&tr, &rq, &rp, &err),
                     HEARTH_ETIMEOUT);
    hearth_transport_cancel(&tr); /* or it ends the next one */
    assert_int_equal(hearth_transport_request(&tr, &rq, &rp, &err),
                     HEARTH_ECANCELLED);
    hearth_transport_curl_close(&tr);
    c.stop = stop_now;
    c.stop_ud = &asked;
    assert_ok(hearth_transport_curl_open(&tr, &c, NULL, &err));
    rq.timeout_ms = 0;
    assert_int_equal(hearth_transport_request(&tr, &rq, &rp, &err),
                     HEARTH_ECANCELLED);
    hearth_transport_curl_close(&tr);
    hearth_http_resp_free(&rp);
    (void)close(fd);
}

static void curl_open_survives_running_out_of_memory(void **state) {
    (void)state;
    for (size_t k = 1; k < 20; k++) {
        hearth_fail_alloc fa;
        hearth_alloc al = hearth_fail_alloc_init(&fa, k);
        hearth_transport tr;
        hearth_transport_curl_config c = {.server = "https://a:1",
                                          .pins = PIN,
                                          .cert_pem = "c",
                                          .key_pem = "k"};
        hearth_status st = hearth_transport_curl_open(&tr, &c, &al, NULL);
        hearth_transport_curl_close(&tr);
        assert_int_equal(fa.live, 0);
        if (st == HEARTH_OK) return;
        assert_int_equal(st, HEARTH_ENOMEM);
        assert_null(tr.request);
    }
    fail();
}

#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transport_hands_the_body_to_the_sink),
        cmocka_unit_test(transport_caps_bodies_and_checks_status),
        cmocka_unit_test(transport_refuses_malformed_requests),
        cmocka_unit_test(transport_reads_two_headers),
        cmocka_unit_test(reply_gives_every_reason_its_status),
        cmocka_unit_test(reply_falls_back_to_the_http_status),
        cmocka_unit_test(reply_cleans_the_words_of_a_peer),
#ifdef HEARTH_WITH_CURL
        cmocka_unit_test(curl_open_checks_its_configuration),
        cmocka_unit_test(curl_asks_an_unknown_peer_for_the_keyset_only),
        cmocka_unit_test(curl_cancel_ends_a_request_at_once),
        cmocka_unit_test(curl_open_survives_running_out_of_memory),
#endif
    };
    return cmocka_run_group_tests_name("client/net/transport", tests, NULL,
                                       NULL);
}

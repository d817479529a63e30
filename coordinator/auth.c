/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/auth.c - the contract is in auth.h.
 *
 * The database handle and the generator of the jobs are used by jobs only, and
 * io runs one at a time, so neither needs a lock.  `allowed`, which the owner
 * thread asks at check-in, has a second handle of its own.
 *
 * A cookie is "1.<id>.<expiry>.<hex HMAC of what stands before>".  An id has no
 * dot, so the text has one reading; the HMAC is compared in constant time
 * before the expiry is believed.
 */
#include "coordinator/auth.h"

#include <stdio.h>
#include <string.h>

#include "common/bytes.h"
#include "common/error.h"
#include "common/hash.h"
#include "common/ini.h"
#include "common/mem.h"
#include "common/x509.h"
#include "coordinator/auth_store.h"
#include "coordinator/routes.h"
#include "coordinator/token.h"

struct hearth_auth {
    hearth_alloc al;
    hearth_auth_store *jobs_store; /* for jobs */
    hearth_auth_store *store;      /* for the owner thread */
    hearth_rng *jobs_rng;          /* for jobs */
    uint8_t *keyset;
    size_t keyset_n;
    char etag[HEARTH_SHA256_BYTES * 2 + 3];
    const hearth_sign_keypair *ca;
    char ca_pem[HEARTH_X509_PEM_MAX];
    hearth_secret cookie_key;
    int64_t cookie_ttl_ms;
    unsigned days;
    hearth_clock clock;
    hearth_coord_io io;
    const hearth_log *log;
    size_t n_jobs;
    hearth_auth_counters count;
};

/* One enrolment or renewal on its way. */
typedef struct {
    hearth_auth *a;
    bool renew;
    hearth_enroll_request rq; /* token is empty for a renewal */
    char id[HEARTH_PROTO_DEVICE_CAP];
    int64_t now_ms;
    hearth_retry retry;
    hearth_reply_fn reply;
    void *reply_ud;
    /* filled by the job */
    hearth_status st;
    hearth_error err;
    bool again; /* the recorded certificate was handed out once more */
    hearth_enroll_reply rp;
} auth_job;

/* ---- replies ----------------------------------------------------------- */

static void send_body(hearth_reply_fn reply, void *ud, int status,
                      const hearth_buf *b) {
    hearth_http_response rp = {0};
    rp.status = status;
    rp.content_type = HEARTH_PROTO_CONTENT_TYPE;
    rp.cache_control = "no-store";
    rp.body = b->v;
    rp.body_n = b->n;
    reply(ud, &rp);
}

static void send_error(hearth_reply_fn reply, void *ud, uint32_t reason,
                       const char *text, const hearth_retry *retry,
                       const hearth_alloc *al) {
    hearth_buf b = HEARTH_BUF_INIT(al);
    hearth_error_reply er = {.reason = reason, .retry = *retry};
    (void)snprintf(er.message, sizeof(er.message), "%s", text);
    if (hearth_encode_error_reply(&b, &er) != HEARTH_OK) hearth_buf_clear(&b);
    send_body(reply, ud, hearth_route_http_status(reason), &b);
    hearth_buf_free(&b);
}

/* The reason that goes with a failed enrolment or message. */
static uint32_t reason_of(hearth_status st) {
    switch (st) {
    case HEARTH_EAUTH: return HEARTH_REASON_CREDENTIAL;
    case HEARTH_EEXPIRED: return HEARTH_REASON_EXPIRED;
    case HEARTH_EFORMAT:
    case HEARTH_ESIGNATURE: return HEARTH_REASON_BAD_MESSAGE;
    case HEARTH_ETOOBIG: return HEARTH_REASON_TOO_BIG;
    case HEARTH_EVERSION: return HEARTH_REASON_VERSION;
    case HEARTH_ENOSPACE: return HEARTH_REASON_DISK;
    case HEARTH_EBUSY: return HEARTH_REASON_BUSY;
    default: return HEARTH_REASON_INTERNAL;
    }
}

/* ---- jobs -------------------------------------------------------------- */

static hearth_status new_id(hearth_rng *rng, char *id, size_t cap) {
    uint8_t raw[12];
    char hex[sizeof(raw) * 2 + 1];
    hearth_status st = hearth_rng_bytes(rng, raw, sizeof(raw));
    if (st != HEARTH_OK) return st;
    hearth_hex_encode(hex, raw, sizeof(raw));
    (void)snprintf(id, cap, "d-%s", hex);
    return HEARTH_OK;
}

static hearth_status issue(auth_job *j, hearth_enrolment *e,
                           const uint8_t pub[HEARTH_SIGN_PUBLIC_BYTES]) {
    hearth_x509_info info;
    hearth_auth *a = j->a;
    hearth_status st =
        hearth_x509_issue(e->cert_pem, a->ca, a->ca_pem, pub, e->id, j->now_ms,
                          a->days, a->jobs_rng, &j->err);
    if (st != HEARTH_OK) return HEARTH_EINVAL; /* ours, not the device's */
    st = hearth_x509_read(&info, e->cert_pem, strlen(e->cert_pem), &j->err);
    e->not_after_ms = info.not_after_ms;
    return st;
}

static hearth_status run_enrol(auth_job *j, hearth_enrolment *e) {
    uint8_t pub[HEARTH_SIGN_PUBLIC_BYTES];
    hearth_auth *a = j->a;
    const char *csr = j->rq.csr_pem;
    if (hearth_token_hash(e->token_hash, j->rq.token) != HEARTH_OK)
        return hearth_error_set(&j->err, HEARTH_EAUTH,
                                "this is not an enrolment token; ask for one "
                                "(hearthd token create)");
    hearth_status st = hearth_sha256(e->csr_hash, csr, strlen(csr));
    if (st != HEARTH_OK) return st;
    st = hearth_auth_store_find(a->jobs_store, e, j->now_ms, &j->err);
    j->again = st == HEARTH_OK;
    if (st != HEARTH_ENOTFOUND) return st;
    st = hearth_x509_csr_verify(csr, strlen(csr), pub, &j->err);
    if (st != HEARTH_OK) return st;
    st = new_id(a->jobs_rng, e->id, sizeof(e->id));
    if (st == HEARTH_OK) st = issue(j, e, pub);
    if (st == HEARTH_OK)
        st = hearth_auth_store_enrol(a->jobs_store, e, j->now_ms, &j->err);
    return st;
}

static hearth_status run_renew(auth_job *j, hearth_enrolment *e) {
    uint8_t pub[HEARTH_SIGN_PUBLIC_BYTES];
    const char *csr = j->rq.csr_pem;
    hearth_status st = hearth_x509_csr_verify(csr, strlen(csr), pub, &j->err);
    if (st != HEARTH_OK) return st;
    (void)snprintf(e->id, sizeof(e->id), "%s", j->id);
    st = issue(j, e, pub);
    if (st == HEARTH_OK)
        st = hearth_auth_store_renewed(j->a->jobs_store, e->id, e->not_after_ms,
                                       &j->err);
    return st;
}

static void job_work(void *arg) {
    auth_job *j = arg;
    hearth_enrolment e;
    memset(&e, 0, sizeof(e));
    j->st = j->renew ? run_renew(j, &e) : run_enrol(j, &e);
    if (j->st != HEARTH_OK) return;
    (void)snprintf(j->rp.device_id, sizeof(j->rp.device_id), "%s", e.id);
    (void)snprintf(j->rp.cert_pem, sizeof(j->rp.cert_pem), "%s", e.cert_pem);
    (void)snprintf(j->rp.ca_pem, sizeof(j->rp.ca_pem), "%s", j->a->ca_pem);
    j->rp.retry = j->retry;
}

static void count(hearth_auth *a, const auth_job *j) {
    bool ok = j->st == HEARTH_OK;
    if (j->renew)
        *(ok ? &a->count.renewed : &a->count.renew_refused) += 1;
    else if (!ok)
        a->count.enrol_refused++;
    else
        *(j->again ? &a->count.enrolled_again : &a->count.enrolled) += 1;
    hearth_log_write(
        a->log, HEARTH_LOG_INFO, "auth", "%s=%s", j->renew ? "renew" : "enrol",
        ok ? (j->again ? "again" : "ok") : hearth_status_name(j->st));
}

/* It holds a token. */
static void job_free(hearth_auth *a, auth_job *j) {
    hearth_zeroize(j, sizeof(*j));
    hearth_mem_free(&a->al, j);
}

static void job_done(void *arg) {
    auth_job *j = arg;
    hearth_auth *a = j->a;
    hearth_buf b = HEARTH_BUF_INIT(&a->al);
    a->n_jobs--;
    count(a, j);
    if (j->st == HEARTH_OK) j->st = hearth_encode_enroll_reply(&b, &j->rp);
    if (j->st == HEARTH_OK) {
        send_body(j->reply, j->reply_ud, 200, &b);
    } else {
        uint32_t reason = reason_of(j->st);
        send_error(j->reply, j->reply_ud, reason,
                   reason == HEARTH_REASON_INTERNAL
                       ? "the coordinator could not do this; try again "
                         "later"
                       : j->err.text,
                   &j->retry, &a->al);
    }
    hearth_buf_free(&b);
    job_free(a, j);
}

/* ---- the hook ---------------------------------------------------------- */

static void start_job(hearth_auth *a, const hearth_http_request *rq, bool renew,
                      const hearth_retry *retry, hearth_reply_fn reply,
                      void *ud) {
    hearth_error err = {HEARTH_OK, ""};
    hearth_renew_request renewal;
    auth_job *j = a->n_jobs < HEARTH_AUTH_MAX_JOBS
                      ? hearth_mem_new(&a->al, sizeof(*j))
                      : NULL;
    if (!j) {
        send_error(reply, ud, HEARTH_REASON_BUSY,
                   "too many enrolments at once; try again later", retry,
                   &a->al);
        return;
    }
    hearth_status st;
    if (renew) {
        st = hearth_decode_renew_request(&renewal, rq->body, rq->body_n, &err);
        memcpy(j->rq.csr_pem, renewal.csr_pem, sizeof(j->rq.csr_pem));
    } else {
        st = hearth_decode_enroll_request(&j->rq, rq->body, rq->body_n, &err);
    }
    if (st != HEARTH_OK) {
        job_free(a, j);
        send_error(reply, ud, reason_of(st), err.text, retry, &a->al);
        return;
    }
    j->a = a;
    j->renew = renew;
    memcpy(j->id, rq->peer.device_id, sizeof(j->id));
    j->now_ms = hearth_clock_wall(&a->clock);
    j->retry = *retry;
    j->reply = reply;
    j->reply_ud = ud;
    a->n_jobs++;
    a->io.submit(a->io.ud, job_work, job_done, j);
}

static void send_keyset(hearth_auth *a, const hearth_http_request *rq,
                        hearth_reply_fn reply, void *ud) {
    hearth_http_response rp = {0};
    rp.etag = a->etag;
    rp.cache_control = "no-cache";
    if (rq->if_none_match && strcmp(rq->if_none_match, a->etag) == 0) {
        rp.status = 304;
    } else {
        rp.status = 200;
        rp.content_type = HEARTH_PROTO_CONTENT_TYPE;
        rp.body = a->keyset;
        rp.body_n = a->keyset_n;
    }
    reply(ud, &rp);
}

static bool hook_handle(void *ud, const hearth_http_request *rq,
                        const hearth_retry *retry, hearth_reply_fn reply,
                        void *reply_ud) {
    hearth_auth *a = ud;
    bool keyset = strcmp(rq->path, "/v1/keyset") == 0;
    bool enroll = strcmp(rq->path, "/v1/enroll") == 0;
    bool renew = strcmp(rq->path, "/v1/renew") == 0;
    if (!keyset && !enroll && !renew) return false;
    if (strcmp(rq->method, keyset ? "GET" : "POST") != 0) {
        send_error(reply, reply_ud, HEARTH_REASON_UNKNOWN,
                   "wrong method for this path", retry, &a->al);
    } else if (keyset) {
        send_keyset(a, rq, reply, reply_ud);
    } else if (renew && rq->peer.kind != HEARTH_PEER_DEVICE_CERT) {
        send_error(reply, reply_ud, HEARTH_REASON_CREDENTIAL,
                   "renewal needs the device certificate; enrol again when it "
                   "is lost or expired",
                   retry, &a->al);
    } else {
        start_job(a, rq, renew, retry, reply, reply_ud);
    }
    return true;
}

static bool hook_allowed(void *ud, const char *device_id) {
    hearth_auth *a = ud;
    bool ok = false;
    hearth_error err;
    hearth_status st =
        hearth_auth_store_allowed(a->store, device_id, &ok, &err);
    return st == HEARTH_OK && ok;
}

static hearth_status hook_cookie(void *ud, const char *device_id,
                                 int64_t now_ms,
                                 char out[HEARTH_PROTO_COOKIE_CAP]) {
    return hearth_auth_cookie_new(ud, device_id, now_ms, out);
}

hearth_coord_hook hearth_auth_hook(hearth_auth *a) {
    return (hearth_coord_hook){hook_handle, hook_cookie, hook_allowed, a};
}

/* ---- cookies ----------------------------------------------------------- */

static hearth_status mac_of(hearth_secret *mac, const hearth_auth *a,
                            const char *text, size_t n) {
    return hearth_hmac_sha256(mac->bytes, a->cookie_key.bytes,
                              sizeof(a->cookie_key.bytes), text, n);
}

/* Is hex, all of it, the HMAC of text [n]? */
static bool is_mac(const hearth_auth *a, const char *hex, const char *text,
                   size_t n) {
    hearth_secret mac, given;
    bool is = hearth_hex_decode(given.bytes, sizeof(given.bytes), hex,
                                strlen(hex)) == HEARTH_OK &&
              mac_of(&mac, a, text, n) == HEARTH_OK &&
              hearth_secret_equal(&mac, &given);
    hearth_secret_wipe(&mac); /* of a text that a stranger chose */
    hearth_secret_wipe(&given);
    return is;
}

hearth_status hearth_auth_cookie_new(const hearth_auth *a, const char *id,
                                     int64_t now_ms,
                                     char out[HEARTH_PROTO_COOKIE_CAP]) {
    hearth_secret mac;
    out[0] = '\0';
    if (!id[0] || strlen(id) > HEARTH_X509_ID_MAX || strchr(id, '.'))
        return HEARTH_EINVAL;
    int n = snprintf(out, HEARTH_PROTO_COOKIE_CAP, "1.%s.%lld", id,
                     (long long)(now_ms + a->cookie_ttl_ms));
    hearth_status st = mac_of(&mac, a, out, (size_t)n);
    if (st != HEARTH_OK) {
        out[0] = '\0';
        return st;
    }
    out[n] = '.';
    hearth_hex_encode(out + n + 1, mac.bytes, sizeof(mac.bytes));
    hearth_secret_wipe(&mac);
    return HEARTH_OK;
}

hearth_status hearth_auth_cookie_check(const hearth_auth *a, const char *cookie,
                                       int64_t now_ms,
                                       char id[HEARTH_PROTO_DEVICE_CAP]) {
    int64_t expires = 0;
    id[0] = '\0';
    const char *last = cookie ? strrchr(cookie, '.') : NULL;
    if (!last || strncmp(cookie, "1.", 2) != 0) return HEARTH_EAUTH;
    const char *from = cookie + 2, *dot = strchr(from, '.');
    size_t n_id = dot ? (size_t)(dot - from) : 0;
    if (dot == last || n_id == 0 || n_id >= HEARTH_PROTO_DEVICE_CAP ||
        !is_mac(a, last + 1, cookie, (size_t)(last - cookie)))
        return HEARTH_EAUTH;
    char digits[24] = {0};
    size_t n_digits = (size_t)(last - dot) - 1;
    if (n_digits >= sizeof(digits)) return HEARTH_EAUTH;
    memcpy(digits, dot + 1, n_digits);
    if (hearth_parse_i64(digits, &expires) != HEARTH_OK) return HEARTH_EAUTH;
    /* One from the future is as wrong: the clock has jumped back. */
    if (now_ms >= expires || now_ms < expires - 2 * a->cookie_ttl_ms)
        return HEARTH_EEXPIRED;
    memcpy(id, from, n_id);
    id[n_id] = '\0';
    return HEARTH_OK;
}

/* ---- open and close ---------------------------------------------------- */

static hearth_status copy_keyset(hearth_auth *a,
                                 const hearth_auth_config *cfg) {
    uint8_t digest[HEARTH_SHA256_BYTES];
    a->keyset = hearth_mem_new(&a->al, cfg->keyset_n);
    if (!a->keyset) return HEARTH_ENOMEM;
    memcpy(a->keyset, cfg->keyset, cfg->keyset_n);
    a->keyset_n = cfg->keyset_n;
    hearth_status st = hearth_sha256(digest, a->keyset, a->keyset_n);
    if (st != HEARTH_OK) return st;
    a->etag[0] = '"';
    hearth_hex_encode(a->etag + 1, digest, sizeof(digest));
    memcpy(a->etag + 1 + 2 * sizeof(digest), "\"", 2);
    return HEARTH_OK;
}

hearth_status hearth_auth_open(hearth_auth **out, const hearth_auth_config *cfg,
                               hearth_error *err) {
    if (out) *out = NULL;
    if (!out || !cfg || !cfg->db_path || !cfg->keyset || !cfg->keyset_n ||
        !cfg->ca || !cfg->ca_pem || !cfg->clock.wall_ms ||
        strlen(cfg->ca_pem) >= HEARTH_X509_PEM_MAX)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "enrolment: incomplete settings");
    const hearth_alloc *al = hearth_mem_or_default(cfg->al);
    hearth_auth *a = hearth_mem_new(al, sizeof(*a));
    if (!a)
        return hearth_error_set(err, HEARTH_ENOMEM, "no memory for enrolment");
    a->al = *al;
    a->ca = cfg->ca;
    (void)snprintf(a->ca_pem, sizeof(a->ca_pem), "%s", cfg->ca_pem);
    a->cookie_key = cfg->cookie_key;
    a->cookie_ttl_ms = cfg->cookie_ttl_ms ? cfg->cookie_ttl_ms : 3600000;
    a->days =
        cfg->certificate_days ? cfg->certificate_days : HEARTH_X509_DEVICE_DAYS;
    a->clock = cfg->clock;
    a->io = cfg->io.submit ? cfg->io : hearth_coord_io_inline();
    a->log = cfg->log;
    hearth_status st = copy_keyset(a, cfg);
    if (st == HEARTH_OK) st = hearth_rng_open(&a->jobs_rng, &a->al, err);
    if (st == HEARTH_OK)
        st = hearth_auth_store_open(&a->jobs_store, cfg->db_path, &a->al, err);
    if (st == HEARTH_OK)
        st = hearth_auth_store_open(&a->store, cfg->db_path, &a->al, err);
    if (st != HEARTH_OK) {
        hearth_auth_close(a);
        return st;
    }
    *out = a;
    return HEARTH_OK;
}

void hearth_auth_close(hearth_auth *a) {
    if (!a) return;
    hearth_alloc al = a->al;
    hearth_auth_store_close(a->jobs_store);
    hearth_auth_store_close(a->store);
    hearth_rng_close(a->jobs_rng);
    hearth_mem_free(&al, a->keyset);
    hearth_zeroize(a, sizeof(*a));
    hearth_mem_free(&al, a);
}

bool hearth_auth_busy(const hearth_auth *a) {
    return a->n_jobs > 0;
}

void hearth_auth_get_counters(const hearth_auth *a, hearth_auth_counters *out) {
    *out = a->count;
}

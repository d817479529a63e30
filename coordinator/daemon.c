/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/daemon.c - the contract is in daemon.h.
 *
 * Shutting down has an order: no new connections, replies that are owed, jobs
 * that are out, then the timer, after which the loop has nothing left and
 * uv_run returns by itself.
 */
#include "coordinator/daemon.h"

#include <stdio.h>
#include <string.h>

#include "common/bytes.h"
#include "common/error.h"
#include "common/file.h"
#include "common/mem.h"
#include "coordinator/listener.h"
#include "coordinator/tls.h"
#include "coordinator/work_queue.h"
#include "proto/signed.h"

#define KEYSET_MAX   ((size_t)64 << 10)
#define STOP_POLL_MS 20

/* Secrets and certificates, as read from their files. */
typedef struct {
    hearth_sign_keypair *release, *tls, *ca;
    char tls_pem[HEARTH_X509_PEM_MAX], ca_pem[HEARTH_X509_PEM_MAX];
    hearth_secret cookie;
    hearth_buf keyset;
} daemon_keys;

struct hearth_daemon {
    hearth_alloc al;
    uv_loop_t *loop;
    uv_timer_t timer;
    bool stopping;
    const hearth_log *log;
    hearth_clock clock;
    int64_t started_ms;
    daemon_keys keys;
    hearth_rng *rng;
    hearth_work_queue coord_jobs, auth_jobs;
    hearth_auth *auth;
    hearth_coord *coord;
    hearth_tls_server *tls;
    hearth_listener *listener, *metrics;
    hearth_server_config cfg;
};

/* ---- keys -------------------------------------------------------------- */

static hearth_status read_pem(char out[HEARTH_X509_PEM_MAX], const char *path,
                              hearth_error *err) {
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    hearth_status st = hearth_file_read(&b, path, HEARTH_X509_PEM_MAX - 1, err);
    if (st == HEARTH_OK) memcpy(out, hearth_buf_str(&b), b.n + 1);
    hearth_buf_free(&b);
    return st;
}

static hearth_status read_cookie_key(hearth_secret *out, const char *path,
                                     hearth_error *err) {
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    hearth_status st = hearth_file_read(&b, path, 256, err);
    if (st == HEARTH_OK && b.n != sizeof(out->bytes))
        st = hearth_error_set(err, HEARTH_EFORMAT,
                              "%s: a cookie key has %d bytes; write new random "
                              "ones (devices will check in again)",
                              path, HEARTH_SECRET_BYTES);
    if (st == HEARTH_OK) memcpy(out->bytes, b.v, b.n);
    hearth_buf_free(&b);
    return st;
}

static bool names_release_key(const hearth_keyset *ks, const uint8_t *pub) {
    for (uint32_t i = 0; i < ks->n_release_keys; i++)
        if (memcmp(ks->release_keys[i], pub, HEARTH_SIGN_PUBLIC_BYTES) == 0)
            return true;
    return false;
}

static bool names_pin(const hearth_keyset *ks, const uint8_t *pub) {
    for (uint32_t i = 0; i < ks->n_pins; i++)
        if (hearth_sign_pin_matches(pub, ks->pins[i])) return true;
    return false;
}

/* Devices trust only what the keyset names: find out now, not from them. */
static hearth_status check_keyset(hearth_daemon *d, hearth_keyset *ks,
                                  hearth_error *err) {
    const daemon_keys *k = &d->keys;
    const char *path = d->cfg.keyset;
    uint8_t root[HEARTH_SIGN_PUBLIC_BYTES];
    hearth_status st =
        hearth_signed_claimed_key(k->keyset.v, k->keyset.n, root, err);
    if (st == HEARTH_OK)
        st = hearth_keyset_open(ks, k->keyset.v, k->keyset.n, root, 0, err);
    if (st != HEARTH_OK) {
        (void)hearth_error_prefix(err, "%s", path);
        return st;
    }
    const char *what = NULL;
    if (!names_release_key(ks, hearth_sign_public(k->release)))
        what = "release key";
    else if (!names_pin(ks, hearth_sign_public(k->tls)))
        what = "TLS key";
    else if (strcmp(ks->device_ca_pem, k->ca_pem) != 0)
        what = "device CA certificate";
    if (what)
        return hearth_error_set(err, HEARTH_EMISMATCH,
                                "%s does not name the %s in use; sign a new "
                                "keyset with the root key (hearthd keyset)",
                                path, what);
    int64_t left = (int64_t)ks->expires_ms - hearth_clock_wall(&d->clock);
    if (left < (int64_t)14 * 86400000)
        hearth_log_write(d->log, HEARTH_LOG_WARN, "keys",
                         "keyset expires in %lld days; sign a new one (hearthd "
                         "keyset)",
                         (long long)(left / 86400000));
    return HEARTH_OK;
}

static hearth_status load_keys(hearth_daemon *d, hearth_error *err) {
    const hearth_server_config *c = &d->cfg;
    daemon_keys *k = &d->keys;
    hearth_status st =
        hearth_sign_load_pem(&k->release, c->release_key, &d->al, err);
    if (st == HEARTH_OK)
        st = hearth_sign_load_pem(&k->tls, c->tls_key, &d->al, err);
    if (st == HEARTH_OK)
        st = hearth_sign_load_pem(&k->ca, c->ca_key, &d->al, err);
    if (st == HEARTH_OK) st = read_pem(k->tls_pem, c->tls_cert, err);
    if (st == HEARTH_OK) st = read_pem(k->ca_pem, c->ca_cert, err);
    if (st == HEARTH_OK) st = read_cookie_key(&k->cookie, c->cookie_key, err);
    if (st == HEARTH_OK)
        st = hearth_file_read(&k->keyset, c->keyset, KEYSET_MAX, err);
    if (st != HEARTH_OK) return st;
    hearth_keyset *ks = hearth_mem_new(&d->al, sizeof(*ks));
    if (!ks) return hearth_error_set(err, HEARTH_ENOMEM, "no memory for keys");
    st = check_keyset(d, ks, err);
    hearth_mem_free(&d->al, ks);
    return st;
}

static void free_keys(daemon_keys *k) {
    hearth_sign_free(k->release);
    hearth_sign_free(k->tls);
    hearth_sign_free(k->ca);
    hearth_buf_free(&k->keyset);
    hearth_zeroize(k, sizeof(*k));
}

/* ---- the app behind the listeners -------------------------------------- */

static void on_request(void *ud, const hearth_http_request *rq,
                       hearth_reply_fn reply, void *reply_ud) {
    hearth_daemon *d = ud;
    hearth_coord_handle(d->coord, rq, reply, reply_ud);
}

static hearth_status on_cookie(void *ud, const char *cookie,
                               char id[HEARTH_PROTO_DEVICE_CAP]) {
    hearth_daemon *d = ud;
    return hearth_auth_cookie_check(d->auth, cookie,
                                    hearth_clock_wall(&d->clock), id);
}

void hearth_daemon_get_metrics(const hearth_daemon *d, hearth_metrics *out) {
    memset(out, 0, sizeof(*out));
    hearth_listener_get_counters(d->listener, &out->listener);
    hearth_auth_get_counters(d->auth, &out->auth);
    hearth_coord_get_counters(d->coord, &out->coord);
    out->uptime_ms = hearth_clock_mono(&d->clock) - d->started_ms;
}

/* /metrics, /healthz, /readyz: plain HTTP, loopback unless told otherwise. */
static void on_metrics(void *ud, const hearth_http_request *rq,
                       hearth_reply_fn reply, void *reply_ud) {
    hearth_daemon *d = ud;
    hearth_metrics m;
    hearth_buf b = HEARTH_BUF_INIT(&d->al);
    hearth_http_response rp = {0};
    rp.status = 200;
    rp.content_type = "text/plain; version=0.0.4; charset=utf-8";
    if (strcmp(rq->path, "/metrics") == 0) {
        hearth_daemon_get_metrics(d, &m);
        if (hearth_metrics_write(&b, &m) != HEARTH_OK) rp.status = 503;
    } else if (strcmp(rq->path, "/healthz") == 0 ||
               strcmp(rq->path, "/readyz") == 0) {
        (void)hearth_buf_puts(&b, d->stopping ? "stopping\n" : "ok\n");
        if (d->stopping) rp.status = 503;
    } else {
        rp.status = 404;
    }
    rp.body = b.v;
    rp.body_n = b.n;
    reply(reply_ud, &rp);
    hearth_buf_free(&b);
}

/* ---- time -------------------------------------------------------------- */

static bool at_rest(const hearth_daemon *d) {
    return (!d->listener || hearth_listener_stopped(d->listener)) &&
           (!d->metrics || hearth_listener_stopped(d->metrics)) &&
           !(d->coord && hearth_coord_busy(d->coord)) &&
           !(d->auth && hearth_auth_busy(d->auth)) &&
           !hearth_work_queue_busy(&d->coord_jobs) &&
           !hearth_work_queue_busy(&d->auth_jobs);
}

static void on_timer(uv_timer_t *t) {
    hearth_daemon *d = t->data;
    if (d->stopping && at_rest(d)) {
        uv_close((uv_handle_t *)t, NULL);
        return;
    }
    /* Also while stopping: replies that are owed come from its jobs. */
    int64_t wait = d->coord ? hearth_coord_tick(d->coord) : STOP_POLL_MS;
    if (d->stopping && wait > STOP_POLL_MS) wait = STOP_POLL_MS;
    if (wait < 1) wait = 1;
    (void)uv_timer_start(t, on_timer, (uint64_t)wait, 0);
}

void hearth_daemon_stop(hearth_daemon *d) {
    if (d->stopping) return;
    d->stopping = true;
    if (d->listener) hearth_listener_stop(d->listener, d->cfg.grace_ms);
    if (d->metrics) hearth_listener_stop(d->metrics, 0);
    (void)uv_timer_start(&d->timer, on_timer, 0, 0);
}

/* ---- open and close ---------------------------------------------------- */

static hearth_status open_auth(hearth_daemon *d, hearth_error *err) {
    hearth_auth_config a = {0};
    a.db_path = d->cfg.devices;
    a.keyset = d->keys.keyset.v;
    a.keyset_n = d->keys.keyset.n;
    a.ca = d->keys.ca;
    a.ca_pem = d->keys.ca_pem;
    a.cookie_key = d->keys.cookie;
    a.cookie_ttl_ms = d->cfg.cookie_ttl_ms;
    a.certificate_days = d->cfg.certificate_days;
    a.clock = d->clock;
    a.io = hearth_work_queue_io(&d->auth_jobs);
    a.log = d->log;
    a.al = &d->al;
    hearth_status st = hearth_auth_open(&d->auth, &a, err);
    hearth_secret_wipe(&a.cookie_key);
    return st;
}

static hearth_status open_coord(hearth_daemon *d, hearth_error *err) {
    hearth_coord_config c = {0};
    c.dir = d->cfg.state;
    c.release_key = d->keys.release;
    c.clock = d->clock;
    c.rng = d->rng;
    c.io = hearth_work_queue_io(&d->coord_jobs);
    c.hook = hearth_auth_hook(d->auth);
    c.retry = d->cfg.retry;
    c.release_ttl_ms = d->cfg.release_ttl_ms;
    c.checkpoint_every = d->cfg.checkpoint_every;
    c.disk_reserve = d->cfg.disk_reserve;
    c.log = d->log;
    c.al = &d->al;
    return hearth_coord_open(&d->coord, &c, err);
}

static hearth_status open_tls(hearth_daemon *d, hearth_error *err) {
    const hearth_tls_config t = {.key = d->keys.tls,
                                 .cert_pem = d->keys.tls_pem,
                                 .device_ca_pem = d->keys.ca_pem,
                                 .rng = d->rng,
                                 .clock = d->clock,
                                 .al = &d->al};
    return hearth_tls_server_open(&d->tls, &t, err);
}

static hearth_status open_listeners(hearth_daemon *d, hearth_error *err) {
    const hearth_server_config *c = &d->cfg;
    hearth_listener_config l = {.host = c->host,
                                .port = c->port,
                                .tls = d->tls,
                                .app = {on_request, on_cookie, d},
                                .retry = c->retry,
                                .max_connections = c->max_connections,
                                .handshake_ms = c->handshake_ms,
                                .head_ms = c->head_ms,
                                .idle_ms = c->idle_ms,
                                .request_ms = c->request_ms,
                                .log = d->log,
                                .al = &d->al};
    hearth_status st = hearth_listener_open(&d->listener, d->loop, &l, err);
    if (st != HEARTH_OK || !c->metrics_host[0]) return st;
    l.host = c->metrics_host;
    l.port = c->metrics_port;
    l.tls = NULL;
    l.app = (hearth_listener_app){on_metrics, NULL, d};
    l.max_connections = 16;
    return hearth_listener_open(&d->metrics, d->loop, &l, err);
}

static hearth_status open_parts(hearth_daemon *d, hearth_error *err) {
    hearth_status st = hearth_rng_open(&d->rng, &d->al, err);
    if (st == HEARTH_OK) st = load_keys(d, err);
    if (st == HEARTH_OK) st = open_auth(d, err);
    if (st == HEARTH_OK) st = open_coord(d, err);
    if (st == HEARTH_OK) st = open_tls(d, err);
    if (st == HEARTH_OK) st = open_listeners(d, err);
    return st;
}

hearth_status hearth_daemon_open(hearth_daemon **out, uv_loop_t *loop,
                                 const hearth_server_config *cfg,
                                 const hearth_log *log, hearth_error *err) {
    *out = NULL;
    hearth_daemon *d = hearth_mem_new(NULL, sizeof(*d));
    if (!d) return hearth_error_set(err, HEARTH_ENOMEM, "no memory to start");
    d->al = *hearth_mem_default();
    d->loop = loop;
    d->cfg = *cfg;
    d->log = log;
    d->clock = hearth_clock_system();
    d->started_ms = hearth_clock_mono(&d->clock);
    d->keys.keyset = (hearth_buf)HEARTH_BUF_INIT(NULL);
    hearth_work_queue_init(&d->coord_jobs, loop, &d->al);
    hearth_work_queue_init(&d->auth_jobs, loop, &d->al);
    d->timer.data = d;
    (void)uv_timer_init(loop, &d->timer);
    hearth_status st = open_parts(d, err);
    if (st == HEARTH_OK) {
        (void)uv_timer_start(&d->timer, on_timer, 0, 0);
        *out = d;
        return HEARTH_OK;
    }
    hearth_daemon_stop(d);
    (void)uv_run(loop, UV_RUN_DEFAULT);
    hearth_daemon_close(d);
    return st;
}

int hearth_daemon_port(const hearth_daemon *d) {
    return hearth_listener_port(d->listener);
}

int hearth_daemon_metrics_port(const hearth_daemon *d) {
    return d->metrics ? hearth_listener_port(d->metrics) : 0;
}

void hearth_daemon_close(hearth_daemon *d) {
    if (!d) return;
    hearth_listener_close(d->listener);
    hearth_listener_close(d->metrics);
    hearth_coord_close(d->coord);
    hearth_auth_close(d->auth);
    hearth_tls_server_close(d->tls);
    free_keys(&d->keys);
    hearth_rng_close(d->rng);
    hearth_mem_free(NULL, d);
}

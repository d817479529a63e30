/* SPDX-License-Identifier: Apache-2.0 */
/* client/api/wire.c - how a client reaches its coordinator, and how another
 * thread stops it.
 *
 * hearth_client_stop may come at any moment, also while the transport is opened
 * or closed.  So the transport in use and "a request runs" change under the
 * client's lock, and stop cancels only while one runs.  Training asks at every
 * layer whether a stop came in its tick.  A stop that comes between two ticks
 * ends nothing and is not kept for the next.
 */
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "client/api/client_private.h"
#include "client/net/transport_curl.h"
#include "client/net/trust.h"
#include "common/abi.h"
#include "common/file.h"
#include "common/mem.h"

static hearth_status ask(void *ud, const hearth_http_req *rq,
                         hearth_http_resp *rp, hearth_error *err) {
    hearth_client *c = ud;
    (void)pthread_mutex_lock(&c->lock);
    if (c->wire.rearm) c->wire.rearm(c->wire.ud);
    c->asking = true;
    (void)pthread_mutex_unlock(&c->lock);
    hearth_status st = c->wire.request(c->wire.ud, rq, rp, err);
    (void)pthread_mutex_lock(&c->lock);
    c->asking = false;
    (void)pthread_mutex_unlock(&c->lock);
    return st;
}

void hearth_client_stop(hearth_client *c) {
    if (!c) return;
    (void)pthread_mutex_lock(&c->lock);
    if (c->asking) hearth_transport_cancel(&c->wire);
    if (c->in_tick) c->stopped = true;
    (void)pthread_mutex_unlock(&c->lock);
}

static void set_tick(hearth_client *c, bool runs) {
    (void)pthread_mutex_lock(&c->lock);
    c->in_tick = runs;
    c->stopped = false;
    (void)pthread_mutex_unlock(&c->lock);
}

void hearth_client__begin_tick(hearth_client *c) {
    set_tick(c, true);
}

void hearth_client__end_tick(hearth_client *c) {
    set_tick(c, false);
}

/* For training, between two layers. */
static bool stop_asked(void *ud) {
    hearth_client *c = ud;
    if (c->stop_check && c->stop_check(c->stop_ud)) return true;
    (void)pthread_mutex_lock(&c->lock);
    bool stopped = c->stopped;
    (void)pthread_mutex_unlock(&c->lock);
    return stopped;
}

static void energy_changed(void *ud, const hearth_energy_state *now) {
    hearth_client *c = ud;
    if (c->energy_changed) c->energy_changed(c->energy_ud, now);
}

hearth_transport hearth_client__stoppable(hearth_client *c) {
    return (hearth_transport){ask, NULL, NULL, c};
}

static hearth_status dial(void *ud, const char *server, const char *pins,
                          const char *cert_pem, const char *key_pem,
                          hearth_transport *out, hearth_error *err) {
    hearth_client *c = ud;
    hearth_transport_curl_config cfg = {.server = server,
                                        .pins = pins,
                                        .cert_pem = cert_pem,
                                        .key_pem = key_pem,
                                        .stop = c->stop_check,
                                        .stop_ud = c->stop_ud};
    hearth_status st =
        hearth_transport_curl_open(&c->wire, &cfg, &c->alloc, err);
    if (st == HEARTH_OK) *out = hearth_client__stoppable(c);
    return st;
}

static void hang_up(void *ud, hearth_transport *tr) {
    hearth_client *c = ud;
    hearth_transport_curl_close(&c->wire);
    *tr = (hearth_transport){0};
}

hearth_dialer hearth_client__dialer(hearth_client *c) {
    return (hearth_dialer){dial, hang_up, c};
}

void hearth_client__hang_up(hearth_client *c) {
    hearth_sync_close(c->sync);
    c->sync = NULL;
    if (c->transport.request) c->dialer.close(c->dialer.ud, &c->transport);
    c->transport = (hearth_transport){0};
    hearth_enrolment_free(&c->enrolment, &c->alloc);
    c->joined = false;
    if (c->lock_fd >= 0) (void)close(c->lock_fd);
    c->lock_fd = -1;
}

hearth_status hearth_client__take_lock(hearth_client *c, hearth_error *err) {
    char path[1024];
    if (c->lock_fd >= 0) return HEARTH_OK;
    hearth_status st =
        hearth_file_join(path, sizeof(path), c->state_dir, "sync.lock");
    if (st != HEARTH_OK) return st;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return hearth_error_set(err, HEARTH_EIO, "%s cannot be opened", path);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        (void)close(fd);
        return hearth_error_set(err, HEARTH_EBUSY,
                                "another process takes part with %s; stop it "
                                "or use another state folder",
                                c->state_dir);
    }
    c->lock_fd = fd;
    return HEARTH_OK;
}

/* What the app said, or what the system says. */
static hearth_status read_conditions(void *ud, hearth_conditions *out,
                                     hearth_error *err) {
    hearth_client *c = ud;
    (void)pthread_mutex_lock(&c->lock);
    bool said = c->has_said || !c->conditions.read;
    *out = c->said;
    (void)pthread_mutex_unlock(&c->lock);
    if (said) return HEARTH_OK;
    return c->conditions.read(c->conditions.ud, out, err);
}

hearth_status hearth_client_set_conditions(hearth_client *c,
                                           const hearth_client_conditions *said,
                                           hearth_error *err) {
    hearth_client_conditions mine = HEARTH_CLIENT_CONDITIONS_INIT;
    const hearth_client_conditions *now = &mine;
    if (!c || !said) return HEARTH_EINVAL;
    if (hearth_abi_copy(&mine, sizeof(mine),
                        offsetof(hearth_client_conditions, foreground),
                        said) != HEARTH_OK ||
        now->battery_percent > 100)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "start from HEARTH_CLIENT_CONDITIONS_INIT; "
                                "battery_percent is at most 100");
    hearth_conditions is;
    hearth_conditions_worst(&is); /* what is not known counts as bad */
    is.charging = now->charging > 0;
    is.metered = now->unmetered <= 0;
    if (now->battery_percent >= 0)
        is.battery_percent = (double)now->battery_percent;
    is.has_battery = true;
    is.has_temperature = now->temperature_c >= 0;
    is.temperature_c =
        now->temperature_c >= 0 ? (double)now->temperature_c : 0.0;
    is.foreground = now->foreground > 0;
    is.power_saving = now->power_saving > 0;
    (void)pthread_mutex_lock(&c->lock);
    c->said = is;
    c->has_said = true;
    (void)pthread_mutex_unlock(&c->lock);
    return HEARTH_OK;
}

/* The app's counter as the ledger calls it. */
static hearth_status raise_counter(void *ud, uint64_t at_least,
                                   uint64_t *value) {
    hearth_client *c = ud;
    return c->counter(c->counter_ud, at_least, value) == 0 ? HEARTH_OK
                                                           : HEARTH_EBUSY;
}

hearth_ledger_counter hearth_client__counter(hearth_client *c) {
    return (hearth_ledger_counter){c->counter ? raise_counter : NULL, c};
}

/* Without such a system the app has to say. */
static hearth_status need_conditions(hearth_client *c) {
    if (c->conditions.read) return HEARTH_OK;
    hearth_status st =
        hearth_conditions_linux(&c->conditions, "/sys", &c->alloc);
    c->linux_conditions = st == HEARTH_OK;
    return st == HEARTH_ENOTFOUND ? HEARTH_OK : st;
}

hearth_status hearth_client__personal(hearth_client *c, hearth_personal *p,
                                      hearth_keyset *ks, hearth_error *err) {
    hearth_status st = hearth_client__need_enrolment(c, err);
    if (st == HEARTH_OK) st = hearth_client__need_model(c, err);
    if (st == HEARTH_OK)
        st = hearth_trust_keyset(ks, c->enrolment.keyset, c->enrolment.n_keyset,
                                 c->enrolment.root_pin, 0, err);
    if (st != HEARTH_OK) return st;
    *p = (hearth_personal){c->db,
                           c->state_dir,
                           c->base,
                           ks,
                           c->model,
                           hearth_tokenizer_digest(c->tokenizer),
                           c->template_digest,
                           &c->alloc};
    return HEARTH_OK;
}

hearth_status hearth_client__open_sync(hearth_client *c, hearth_error *err) {
    if (c->sync) return HEARTH_OK;
    hearth_status st = hearth_client__need_enrolment(c, err);
    if (st == HEARTH_OK) st = hearth_client__take_lock(c, err);
    if (st == HEARTH_OK) st = hearth_client__need_model(c, err);
    if (st == HEARTH_OK) st = need_conditions(c);
    if (st == HEARTH_OK && !c->transport.request)
        st = c->dialer.open(c->dialer.ud, c->enrolment.server,
                            c->enrolment.pins, c->enrolment.cert_pem,
                            c->enrolment.key_pem, &c->transport, err);
    if (st != HEARTH_OK) return st;
    hearth_sync_config cfg = {.db = c->db,
                              .records = c->records,
                              .model = c->model,
                              .tokenizer = c->tokenizer,
                              .policy = &c->policy,
                              .conditions = {read_conditions, c},
                              .transport = &c->transport,
                              .clock = c->clock,
                              .rng = c->rng,
                              .pool = c->pool,
                              .al = &c->alloc,
                              .state_dir = c->state_dir,
                              .base_name = c->base,
                              .server = c->enrolment.server,
                              .root_pin = c->enrolment.root_pin,
                              .keyset = c->enrolment.keyset,
                              .n_keyset = c->enrolment.n_keyset,
                              .memory_budget = c->memory_budget,
                              .energy = {.slow_down = c->slow_down,
                                         .duty = c->duty,
                                         .threads = c->slow_threads,
                                         .stop = stop_asked,
                                         .changed = energy_changed,
                                         .ud = c},
                              .bf16 = c->bf16,
                              .base = c->base_type,
                              .log = &c->logger,
                              .counter = hearth_client__counter(c),
                              .reference_kernels = c->reference_kernels};
    st = hearth_sync_open(&c->sync, &cfg, err);
    if (st == HEARTH_OK)
        hearth_sync_hint_now(c->sync); /* not our own backoff */
    return st;
}

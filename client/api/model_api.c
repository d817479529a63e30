/* SPDX-License-Identifier: Apache-2.0 */
/* client/api/model_api.c - ticks, policy and status; hearth/model.h is the
 * contract.
 *
 * Around the participant (client/net/sync) stand two chores, each at most once
 * an hour and as a tick of its own: renewing the certificate in the last third
 * of its life, and asking for a newer keyset when the stored one is about to
 * expire, or a TLS or release key of the coordinator is not in it.
 */
#include "hearth/model.h"

#include <math.h>
#include <string.h>

#include "client/api/client_private.h"
#include "client/delta/ledger_store.h"
#include "client/device/policy_file.h"
#include "client/net/setting_store.h"
#include "client/net/sync_store.h"
#include "common/abi.h"
#include "common/mem.h"
#include "privacy/accountant_zcdp.h"

#define HOUR_MS ((int64_t)3600 * 1000)
#define WEEK_MS ((int64_t)7 * 24 * HOUR_MS)

/* ---- ticks ---- */

void hearth_client__fill_tick(hearth_client_tick *tick,
                              const hearth_sync_event *ev) {
    _Static_assert((int)HEARTH_SYNC_RETRY == (int)HEARTH_TICK_RETRY, "same");
    _Static_assert(sizeof(tick->task) >= sizeof(ev->task), "fits");
    size_t size = tick->struct_size;
    *tick = (hearth_client_tick){.struct_size = size,
                                 .wait_ms = ev->wait_ms,
                                 .round = ev->round,
                                 .sequence = ev->sequence,
                                 .sent = ev->sent,
                                 .total = ev->total,
                                 .loss = ev->loss,
                                 .kind = (int32_t)ev->kind,
                                 .step = ev->step,
                                 .n_steps = ev->n_steps,
                                 .n_offers = ev->n_offers};
    memcpy(tick->task, ev->task, sizeof(ev->task));
    memcpy(tick->reason, ev->reason.text, sizeof(ev->reason.text));
}

/* Renew the certificate when it is due; *did: this was the tick. */
static hearth_status renew(hearth_client *c, int64_t now, bool *did,
                           hearth_error *err) {
    *did = false;
    if (now < c->renew_after_ms ||
        !hearth_enrolment_renew_due(&c->enrolment, now))
        return HEARTH_OK;
    *did = true;
    c->renew_after_ms = now + HOUR_MS;
    hearth_status st = hearth_enroll_renew(&c->enrolment, &c->transport, c->db,
                                           c->rng, now, &c->alloc, err);
    if (st == HEARTH_OK) hearth_client__hang_up(c); /* dial with the new one */
    return st;
}

/* A newer keyset when the old one is about to expire or its pins do not match;
 * it is signed by the root, so an untrusted connection may bring it. */
static hearth_status refresh(hearth_client *c, int64_t now, bool *did,
                             hearth_error *err) {
    bool changed = false;
    *did = false;
    bool due =
        c->keyset_wanted || now > c->enrolment.keyset_expires_ms - WEEK_MS;
    if (!due || now < c->keyset_after_ms) return HEARTH_OK;
    *did = true;
    c->keyset_wanted = false;
    c->keyset_after_ms = now + HOUR_MS;
    hearth_sync_close(c->sync);
    c->sync = NULL;
    c->dialer.close(c->dialer.ud, &c->transport);
    hearth_status st = hearth_enroll_refresh_keyset(
        &c->enrolment, &c->dialer, c->db, now, &changed, &c->alloc, err);
    hearth_client__hang_up(c);
    return st;
}

/* A chore's failure is an event, unless it is this device's own. */
static hearth_status chore(hearth_status st, hearth_sync_event *ev,
                           hearth_error *err) {
    ev->kind = HEARTH_SYNC_CHECKIN;
    if (st == HEARTH_OK) return st;
    if (hearth_status_class(st) == HEARTH_FAULT_SYSTEM && st != HEARTH_ENET &&
        st != HEARTH_ETIMEOUT && st != HEARTH_EBUSY)
        return st;
    ev->kind = HEARTH_SYNC_RETRY;
    ev->reason = *err;
    ev->reason.status = st;
    hearth_error_clear(err);
    return HEARTH_OK;
}

/* One tick; err is not NULL. */
static hearth_status one_tick(hearth_client *c, hearth_client_tick *tick,
                              hearth_error *err) {
    hearth_sync_event ev = {.kind = HEARTH_SYNC_WAIT};
    bool did = false, keyset_old = false;
    hearth_status st = hearth_client__need_enrolment(c, err);
    int64_t now = hearth_clock_wall(&c->clock);
    if (st == HEARTH_OK) keyset_old = now >= c->enrolment.keyset_expires_ms;
    if (st == HEARTH_OK && !keyset_old) st = hearth_client__open_sync(c, err);
    if (st != HEARTH_OK) return st;
    if ((st = refresh(c, now, &did, err)) != HEARTH_OK || did) {
        st = chore(st, &ev, err);
    } else if (keyset_old) {
        ev.kind = HEARTH_SYNC_RETRY;
        ev.wait_ms = c->keyset_after_ms - now;
        (void)hearth_error_set(&ev.reason, HEARTH_EEXPIRED,
                               "the coordinator's keyset is past its expiry; "
                               "a new one is asked for within the hour");
    } else if (now >= c->enrolment.cert_until_ms) {
        ev.kind = HEARTH_SYNC_RETRY;
        ev.wait_ms = HOUR_MS;
        (void)hearth_error_set(&ev.reason, HEARTH_EEXPIRED,
                               "this device's certificate is past its expiry; "
                               "ask for a token and run `hearth init` again");
    } else if ((st = renew(c, now, &did, err)) != HEARTH_OK || did) {
        st = chore(st, &ev, err);
    } else {
        st = hearth_sync_tick(c->sync, &ev, err);
        /* A TLS key or a release key that is not in our keyset. */
        if ((ev.kind == HEARTH_SYNC_RETRY || ev.kind == HEARTH_SYNC_REFUSED) &&
            ev.reason.status == HEARTH_ESIGNATURE) {
            c->keyset_wanted = true;
            /* Now: a run that ended here would forget that it wants one. */
            if (now >= c->keyset_after_ms) ev.wait_ms = 0;
        }
    }
    if (st == HEARTH_OK) hearth_client__fill_tick(tick, &ev);
    return st;
}

hearth_status hearth_client_sync(hearth_client *c, hearth_client_tick *tick,
                                 hearth_error *err) {
    hearth_error local;
    if (!c || !tick || tick->struct_size != sizeof(*tick))
        return hearth_error_set(err, HEARTH_EINVAL,
                                "start from HEARTH_CLIENT_TICK_INIT");
    if (!err) err = &local;
    hearth_error_clear(err);
    hearth_client__begin_tick(c);
    hearth_status st = one_tick(c, tick, err);
    hearth_client__end_tick(c);
    return st;
}

/* ---- policy ---- */

static void set_u32(uint32_t *to, uint32_t v) {
    if (v) *to = v;
}

static void set_f64(double *to, double v) {
    if (v > 0.0 || v < 0.0) *to = v;
}

static bool in_range(const hearth_client_policy *p) {
    const double f[] = {p->noise_min,       p->noise_to_signal_max,
                        p->delta,           p->epsilon_task,
                        p->epsilon_30_days, p->epsilon_lifetime};
    for (size_t i = 0; i < sizeof(f) / sizeof(*f); i++)
        if (!(f[i] >= 0.0 && isfinite(f[i]))) return false;
    return p->spacing_ms >= -1 && p->delta <= HEARTH_POLICY_FILE_MAX_DELTA &&
           p->need_unmetered >= -1 && p->need_unmetered <= 1 &&
           p->need_charging >= -1 && p->need_charging <= 1 &&
           p->battery_min >= -1 && p->battery_min <= 100 &&
           p->temperature_max >= -1 && p->temperature_max <= 120;
}

hearth_status hearth_client_set_policy(hearth_client *c,
                                       const hearth_client_policy *policy,
                                       hearth_error *err) {
    hearth_client_policy m = HEARTH_CLIENT_POLICY_INIT;
    hearth_policy p, d;
    if (!c || hearth_abi_copy(&m, sizeof(m), sizeof(m), policy) != HEARTH_OK ||
        !in_range(&m))
        return hearth_error_set(err, HEARTH_EINVAL,
                                "a value of the policy is out of range; start "
                                "from HEARTH_CLIENT_POLICY_INIT");
    if (c->sync)
        return hearth_error_set(err, HEARTH_ESTATE,
                                "set the policy before the first sync");
    hearth_policy_defaults(&d);
    p = d;
    if (m.dimension_max) p.dimension_max = m.dimension_max;
    if (m.spacing_ms >= 0) p.ledger.spacing_ms = m.spacing_ms;
    set_f64(&p.noise_min, m.noise_min);
    set_f64(&p.noise_to_signal_max, m.noise_to_signal_max);
    set_f64(&p.ledger.delta, m.delta);
    set_f64(&p.ledger.epsilon_task, m.epsilon_task);
    set_f64(&p.ledger.epsilon_window, m.epsilon_30_days);
    set_f64(&p.ledger.epsilon_lifetime, m.epsilon_lifetime);
    set_u32(&p.cohort_min, m.cohort_min);
    set_u32(&p.ledger.n_participations, m.participations);
    if (m.need_unmetered >= 0) p.need_unmetered = m.need_unmetered == 1;
    if (m.need_charging >= 0) p.need_charging = m.need_charging == 1;
    if (m.battery_min >= 0) p.battery_min = (double)m.battery_min;
    if (m.temperature_max >= 0) p.temperature_max = (double)m.temperature_max;
    if (p.noise_min < d.noise_min ||
        p.ledger.epsilon_task > d.ledger.epsilon_task ||
        p.ledger.epsilon_window > d.ledger.epsilon_window ||
        p.ledger.epsilon_lifetime > d.ledger.epsilon_lifetime)
        return hearth_error_set(err, HEARTH_EREFUSED,
                                "the least noise and the caps of epsilon may "
                                "only be tightened");
    c->policy = p;
    return HEARTH_OK;
}

/* ---- status ---- */

static hearth_status fill_ledger(hearth_client *c, hearth_client_info *out,
                                 hearth_error *err) {
    hearth_ledger_store *ls = NULL;
    hearth_ledger_sums sums;
    hearth_status st = hearth_ledger_store_open(&ls, c->db, &c->policy.ledger,
                                                NULL, c->clock, &c->alloc, err);
    if (st == HEARTH_OK)
        st = hearth_ledger_store_sums(ls, out->task[0] ? out->task : "-", &sums,
                                      err);
    hearth_ledger_store_close(ls);
    if (st != HEARTH_OK) return st;
    out->participations = sums.n_lifetime;
    out->delta = c->policy.ledger.delta;
    out->epsilon_30_days = hearth_zcdp_epsilon(sums.rho_window, out->delta);
    out->epsilon_lifetime = hearth_zcdp_epsilon(sums.rho_lifetime, out->delta);
    return HEARTH_OK;
}

/* A stored text into a field; "" when it is not there or too long. */
static hearth_status fill_text(hearth_client *c, const char *name, char *out,
                               size_t cap, hearth_error *err) {
    char *v = NULL;
    size_t n = 0;
    hearth_status st = hearth_setting_get(c->db, name, &v, &n, &c->alloc, err);
    if (v && n < cap) memcpy(out, v, n + 1);
    hearth_mem_free(&c->alloc, v);
    return st;
}

static hearth_status fill_phase(hearth_client *c, hearth_client_info *out,
                                hearth_error *err) {
    bool found = false;
    int64_t since = 0;
    hearth_ledger_store *ls = NULL;
    hearth_round_key key;
    hearth_prepared_state is;
    hearth_offer *o = hearth_mem_new(&c->alloc, sizeof(*o));
    if (!o) return HEARTH_ENOMEM;
    hearth_status st = hearth_sync_round_active(c->db, o, &since, &found, err);
    out->phase = found ? 1 : 0;
    if (st == HEARTH_OK && found)
        st =
            hearth_round_key_init(&key, o->task, o->round, o->cohort, o->stage);
    if (st == HEARTH_OK && found)
        st = hearth_ledger_store_open(&ls, c->db, &c->policy.ledger, NULL,
                                      c->clock, &c->alloc, err);
    if (st == HEARTH_OK && found) {
        st = hearth_ledger_store_state(ls, &key, &is, err);
        if (st == HEARTH_OK &&
            (is == HEARTH_PREPARED_READY || is == HEARTH_PREPARED_SENDING))
            out->phase = 2;
        if (st == HEARTH_ENOTFOUND) st = HEARTH_OK;
    }
    hearth_ledger_store_close(ls);
    hearth_secret_wipe(&o->upload_token);
    hearth_mem_free(&c->alloc, o);
    return st;
}

hearth_status hearth_client_status(hearth_client *c, hearth_client_info *out,
                                   hearth_error *err) {
    hearth_personal_info info;
    hearth_error_clear(err);
    hearth_status st = hearth_client__need_db(c, err);
    if (st != HEARTH_OK) return st;
    if (!out || out->struct_size != sizeof(*out))
        return hearth_error_set(err, HEARTH_EINVAL,
                                "start from HEARTH_CLIENT_INFO_INIT");
    *out = (hearth_client_info)HEARTH_CLIENT_INFO_INIT;
    st = hearth_personal_newest(out->task, c->db, err);
    if (st == HEARTH_OK && out->task[0]) {
        st = hearth_personal_info_get(&info, c->db, out->task, err);
        out->sequence = info.sequence;
    }
    if (st == HEARTH_OK)
        st = hearth_record_store_count(c->records, HEARTH_SPLIT_ALL, NULL,
                                       &out->records, err);
    if (st == HEARTH_OK) st = fill_ledger(c, out, err);
    if (st == HEARTH_OK)
        st = fill_text(c, HEARTH_SETTING_DEVICE, out->device_id,
                       sizeof(out->device_id), err);
    if (st == HEARTH_OK)
        st = fill_text(c, HEARTH_SETTING_SERVER, out->server,
                       sizeof(out->server), err);
    if (st == HEARTH_OK) st = fill_phase(c, out, err);
    out->joined = out->device_id[0] != '\0';
    return st;
}

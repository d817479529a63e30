/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_world.c - the event loop.
 *
 * Ties in time go to the device with the lower index, so a run is a function
 * of the scenario and the seed.  A tick of the participant that trains takes no
 * virtual time; the whole training of a round is charged when its delta is
 * prepared, from the tokens that the offer asked for: so the control, which
 * trains next to nothing, keeps the same timetable.
 */
#include "tests/fleet/fleet_world.h"

#include <math.h>
#include <string.h>

#include "common/bytes.h"
#include "common/file.h"
#include "common/mem.h"
#include "common/philox.h"
#include "coordinator/coordinator.h"
#include "coordinator/registry.h"
#include "privacy/epsilons.h"
#include "proto/signed.h"
#include "tests/fleet/fleet_clip.h"
#include "tests/fleet/fleet_device.h"
#include "tests/fleet/fleet_release.h"
#include "tests/fleet/fleet_task.h"
#include "tests/support/privacy_seam.h"

static const char NO_CA[] = "no certificates: devices are known by their link";

#define START_MS             INT64_C(1767225600000) /* 2026-01-01 */
#define YEAR_MS              INT64_C(31536000000)
#define MAX_TURNS            20000000u /* of one round */
#define DRAW_VANISH          2
#define DRAW_SPREAD          3
#define MAX_FAILURES(rounds) (2u * (rounds) + 3u)

/* What happened in the present round, as the devices saw it. */
typedef struct {
    uint64_t invited, committed, vanished;
    uint64_t up0, down0; /* bytes before it */
} tally;

struct hearth_fleet_world {
    const hearth_fleet_lab *lab;
    char dir[1024];
    bool control;
    hearth_virtual_clock time;
    hearth_rng *rng;
    hearth_sign_keypair *root, *release;
    char pin[HEARTH_SIGN_PIN_CHARS];
    hearth_buf keyset;
    hearth_fleet_keyset served;
    hearth_coord *coord;
    int64_t coord_ms;             /* when it wants to be ticked */
    hearth_fleet_release *noiser; /* its own noise; NULL: it adds none */
    hearth_fleet_site site;
    hearth_fleet_device *device; /* [n] */
    size_t n;
    uint64_t rounds_run, released, failed;
    tally now;
    hearth_error last;
};

/* ---- opening ---- */

static hearth_status make_keys(hearth_fleet_world *w, hearth_error *err) {
    const hearth_alloc *al = w->lab->al;
    hearth_keyset *ks = hearth_mem_new(al, sizeof(*ks));
    if (!ks) return HEARTH_ENOMEM;
    hearth_status st = hearth_sign_generate(&w->root, w->rng, al, err);
    if (st == HEARTH_OK)
        st = hearth_sign_generate(&w->release, w->rng, al, err);
    if (st == HEARTH_OK)
        st = hearth_sign_pin(hearth_sign_public(w->root), w->pin);
    if (st == HEARTH_OK) {
        ks->version = 1;
        ks->issued_ms = (uint64_t)START_MS;
        ks->expires_ms = (uint64_t)(START_MS + 20 * YEAR_MS);
        ks->n_release_keys = 1;
        memcpy(ks->release_keys[0], hearth_sign_public(w->release),
               HEARTH_SIGN_PUBLIC_BYTES);
        ks->n_pins = 1; /* no TLS here: any key */
        memcpy(ks->pins[0], w->pin, sizeof(w->pin));
        memcpy(ks->device_ca_pem, NO_CA, sizeof(NO_CA));
        st = hearth_keyset_seal(&w->keyset, ks, w->root);
    }
    hearth_mem_free(al, ks);
    w->served = (hearth_fleet_keyset){w->keyset.v, w->keyset.n};
    return st;
}

static hearth_status make_coordinator(hearth_fleet_world *w,
                                      hearth_error *err) {
    const hearth_fleet_scenario *sc = w->lab->sc;
    hearth_buf ini = HEARTH_BUF_INIT(w->lab->al);
    uint64_t window = (uint64_t)sc->time_max_ms / 200;
    if (window < 1000) window = 1000;
    if (window > 60000) window = 60000;
    const hearth_coord_config cfg = {
        .dir = w->dir,
        .release_key = w->release,
        .clock = hearth_clock_virtual(&w->time),
        .rng = w->rng,
        .io = hearth_coord_io_inline(),
        .hook = hearth_fleet_hook(&w->served),
        .retry = {window, 2 * window, window, 2 * window},
        .release_ttl_ms = (uint64_t)(10 * YEAR_MS),
        .no_sync = true,
        .not_private = true,
        .disk_reserve = 1 << 20,
        .al = w->lab->al,
    };
    hearth_status st = hearth_file_remove_tree(w->dir, err);
    if (st == HEARTH_OK) st = hearth_file_mkdirs(w->dir, err);
    if (st == HEARTH_OK) st = hearth_coord_open(&w->coord, &cfg, err);
    if (st == HEARTH_OK) st = hearth_fleet_task_ini(&ini, w->lab, w->control);
    if (st == HEARTH_OK)
        st = hearth_coord_task_create(w->coord, "scenario",
                                      hearth_buf_str(&ini), ini.n, err);
    hearth_buf_free(&ini);
    return st;
}

/* The coordinator's own noise, for the bounds that the task came to have. */
static hearth_status make_release(hearth_fleet_world *w, hearth_error *err) {
    const hearth_alloc *al = w->lab->al;
    hearth_buf ini = HEARTH_BUF_INIT(al);
    hearth_task_row row;
    if (!(w->lab->sc->release_noise > 0.0)) return HEARTH_OK;
    hearth_task *t = hearth_mem_new(al, sizeof(*t));
    hearth_status st = t ? HEARTH_OK : HEARTH_ENOMEM;
    if (st == HEARTH_OK)
        st = hearth_coord_store_task(hearth_coord_get_store(w->coord),
                                     HEARTH_FLEET_TASK, &row, &ini, err);
    if (st == HEARTH_OK)
        st = hearth_task_parse(t, "scenario", hearth_buf_str(&ini), ini.n,
                               row.a_seed, al, err);
    if (st == HEARTH_OK)
        st = hearth_fleet_release_open(
            &w->noiser, w->lab->sc, &t->privacy, w->site.seed,
            w->lab->people->n_people - w->lab->people->n_unseen, al, err);
    hearth_buf_free(&ini);
    hearth_mem_free(al, t);
    return st;
}

static hearth_status make_devices(hearth_fleet_world *w, hearth_error *err) {
    hearth_fleet_site *site = &w->site;
    hearth_philox_key key =
        hearth_philox_key_make(site->seed, HEARTH_PHILOX_FLEET);
    size_t n = w->lab->people->n_people - w->lab->people->n_unseen;
    hearth_fleet_task_policy(&site->policy, w->lab->sc);
    site->conditions.battery_percent = 100.0;
    site->conditions.charging = true;
    site->root_pin = w->pin;
    site->keyset = w->keyset.v;
    site->n_keyset = w->keyset.n;
    site->clock = hearth_clock_virtual(&w->time);
    site->task = HEARTH_FLEET_TASK;
    w->device = hearth_mem_array(w->lab->al, n, sizeof(*w->device));
    if (!w->device)
        return hearth_error_set(err, HEARTH_ENOMEM,
                                "out of memory; use fewer devices");
    for (; w->n < n; w->n++) {
        hearth_fleet_device *d = &w->device[w->n];
        hearth_status st =
            hearth_fleet_device_open(d, site, w->n, w->coord, err);
        if (st != HEARTH_OK) return st;
        d->next_ms = START_MS +
                     (int64_t)hearth_philox_below(key, DRAW_SPREAD, w->n, 1000);
    }
    return HEARTH_OK;
}

hearth_status hearth_fleet_world_open(hearth_fleet_world **out,
                                      const hearth_fleet_lab *lab,
                                      uint64_t seed, const char *dir,
                                      bool control, hearth_error *err) {
    hearth_fleet_world *w = hearth_mem_new(lab->al, sizeof(*w));
    hearth_status st = w ? HEARTH_OK : HEARTH_ENOMEM;
    *out = NULL;
    if (!w) return hearth_error_set(err, st, "out of memory; close something");
    w->lab = lab;
    w->control = control;
    w->site.lab = lab;
    w->site.seed = seed;
    w->time.wall_ms = START_MS;
    w->keyset = (hearth_buf)HEARTH_BUF_INIT(lab->al);
    hearth_fleet_clip_reset(control);
    hearth_seam_set(lab->sc->privacy == HEARTH_FLEET_PRIVACY_LOCAL
                        ? HEARTH_SEAM_NOISE_EXACT
                        : HEARTH_SEAM_NOISE_NONE,
                    seed);
    if (strlen(dir) >= sizeof(w->dir))
        st = hearth_error_set(err, HEARTH_ETOOBIG,
                              "%s: too long a path; move it", dir);
    else
        memcpy(w->dir, dir, strlen(dir) + 1);
    if (st == HEARTH_OK)
        st = hearth_seam_rng_open(&w->rng, seed, UINT64_MAX, lab->al, err);
    if (st == HEARTH_OK) st = make_keys(w, err);
    if (st == HEARTH_OK) st = make_coordinator(w, err);
    if (st == HEARTH_OK) st = make_release(w, err);
    if (st == HEARTH_OK) st = make_devices(w, err);
    w->coord_ms = START_MS;
    if (st == HEARTH_OK)
        *out = w;
    else
        hearth_fleet_world_close(w);
    return st;
}

void hearth_fleet_world_close(hearth_fleet_world *w) {
    if (!w) return;
    for (size_t i = 0; i < w->n; i++) hearth_fleet_device_close(&w->device[i]);
    hearth_mem_free(w->lab->al, w->device);
    hearth_coord_close(w->coord);
    hearth_fleet_release_close(w->noiser);
    hearth_buf_free(&w->keyset);
    hearth_sign_free(w->root);
    hearth_sign_free(w->release);
    hearth_rng_close(w->rng);
    hearth_mem_free(w->lab->al, w);
}

bool hearth_fleet_world_done(const hearth_fleet_world *w) {
    return w->released >= w->lab->sc->rounds ||
           w->failed >= MAX_FAILURES(w->lab->sc->rounds);
}

hearth_status hearth_fleet_world_check(const hearth_fleet_world *w,
                                       hearth_error *err) {
    if (w->released >= w->lab->sc->rounds) return HEARTH_OK;
    return hearth_error_set(
        err, HEARTH_ETIMEOUT,
        "%llu rounds failed, %llu were released; look at [cohort]; the devices "
        "said last: %.120s",
        (unsigned long long)w->failed, (unsigned long long)w->released,
        w->last.text[0] ? w->last.text : "nothing");
}

double hearth_fleet_world_seconds(const hearth_fleet_world *w) {
    return (double)(w->time.wall_ms - START_MS) / 1000.0;
}

/* ---- one turn ---- */

/* ms that the training of one round takes this device. */
static int64_t training_ms(const hearth_fleet_world *w,
                           const hearth_fleet_device *d) {
    const hearth_fleet_scenario *sc = w->lab->sc;
    double tokens = (double)w->lab->steps * sc->batch * sc->seq;
    return (int64_t)ceil(tokens * 1000.0 / d->kind->tokens_per_second);
}

/* An offer was taken: new randomness for this round, and perhaps it vanishes
 * for as long as the round may last. */
static hearth_status on_accepted(hearth_fleet_world *w, hearth_fleet_device *d,
                                 uint64_t round, hearth_error *err) {
    hearth_philox_key key =
        hearth_philox_key_make(w->site.seed, HEARTH_PHILOX_FLEET);
    double u = hearth_philox_uniform(key, DRAW_VANISH,
                                     ((uint64_t)d->index << 32) + round);
    d->accepted_round = round;
    w->now.invited++;
    if (u < d->kind->dropout) {
        d->vanished = true;
        w->now.vanished++;
        d->next_ms = w->time.wall_ms + w->lab->sc->time_max_ms;
    }
    return hearth_fleet_device_restart(d, round, err);
}

static hearth_status turn(hearth_fleet_world *w, hearth_fleet_device *d,
                          hearth_error *err) {
    hearth_sync_event ev;
    uint64_t up = d->link.bytes_up, down = d->link.bytes_down;
    uint64_t asked = d->link.requests;
    hearth_status st = hearth_sync_tick(d->sync, &ev, err);
    if (st != HEARTH_OK)
        return hearth_error_prefix(err, "device %zu", d->index);
    int64_t cost = 0;
    d->vanished = false;
    if (d->link.requests > asked)
        cost = hearth_fleet_device_transfer_ms(d, d->link.bytes_up - up,
                                               d->link.bytes_down - down);
    if (ev.kind == HEARTH_SYNC_PREPARED) cost += training_ms(w, d);
    if (ev.wait_ms > cost) cost = ev.wait_ms;
    if (ev.kind == HEARTH_SYNC_WAIT && cost < 1) cost = 1;
    d->next_ms = w->time.wall_ms + cost;
    if (ev.kind == HEARTH_SYNC_REFUSED || ev.kind == HEARTH_SYNC_GAVE_UP ||
        ev.kind == HEARTH_SYNC_RETRY)
        w->last = d->last = ev.reason;
    if (ev.kind == HEARTH_SYNC_COMMITTED) {
        w->now.committed++;
        hearth_fleet_release_took_part(w->noiser, d->index);
    }
    if (ev.kind == HEARTH_SYNC_ACCEPTED)
        return on_accepted(w, d, ev.round, err);
    return HEARTH_OK;
}

/* Let the next thing happen. */
static hearth_status step(hearth_fleet_world *w, hearth_error *err) {
    hearth_fleet_device *next = NULL;
    for (size_t i = 0; i < w->n; i++) {
        if (hearth_fleet_release_rests(w->noiser, i)) continue;
        if (!next || w->device[i].next_ms < next->next_ms) next = &w->device[i];
    }
    int64_t at =
        next && next->next_ms <= w->coord_ms ? next->next_ms : w->coord_ms;
    if (at > w->time.wall_ms)
        hearth_virtual_clock_advance(&w->time, at - w->time.wall_ms);
    if (next && next->next_ms <= w->coord_ms) return turn(w, next, err);
    int64_t wait = hearth_coord_tick(w->coord);
    w->coord_ms = w->time.wall_ms + (wait > 0 ? wait : 1);
    return HEARTH_OK;
}

/* ---- one round ---- */

static void bytes_of(const hearth_fleet_world *w, uint64_t *up,
                     uint64_t *down) {
    *up = *down = 0;
    for (size_t i = 0; i < w->n; i++) {
        *up += w->device[i].link.bytes_up;
        *down += w->device[i].link.bytes_down;
    }
}

double hearth_fleet_world_clip(const hearth_fleet_world *w) {
    hearth_coord_task_status ts;
    return hearth_coord_task_get_status(w->coord, HEARTH_FLEET_TASK, &ts) ==
                       HEARTH_OK &&
                   ts.round
               ? ts.clip
               : 0.0;
}

/* The epsilons, from the ledgers of the devices: of the one that spent most. */
static hearth_status privacy_of(hearth_fleet_world *w, hearth_fleet_metric *row,
                                hearth_error *err) {
    const hearth_fleet_scenario *sc = w->lab->sc;
    uint32_t most = 0, min, max;
    row->noise_to_signal = row->epsilon_coordinator = row->epsilon_release =
        (double)NAN;
    if (sc->privacy != HEARTH_FLEET_PRIVACY_LOCAL) return HEARTH_OK;
    row->epsilon_coordinator = 0.0;
    for (size_t i = 0; i < w->n; i++) {
        double eps;
        uint32_t n;
        hearth_status st =
            hearth_fleet_device_ledger(&w->device[i], sc->delta, &eps, &n, err);
        if (st != HEARTH_OK) return st;
        if (eps > row->epsilon_coordinator) row->epsilon_coordinator = eps;
        if (n > most) most = n;
    }
    hearth_adapter *a;
    hearth_status st = hearth_fleet_adapter(&a, w->lab, true, 0, err);
    if (st != HEARTH_OK) return st;
    hearth_fleet_task_count(w->lab, &min, &max);
    const hearth_epsilons_query q = {
        sc->noise, sc->delta,
        most,      row->devices_accepted ? row->devices_accepted : 1,
        min,       hearth_adapter_dim(a, HEARTH_PART_B),
        0,         0};
    hearth_epsilons e;
    hearth_adapter_free(a);
    if (hearth_epsilons_local(&q, &e) != HEARTH_OK) return HEARTH_OK;
    row->epsilon_release = e.epsilon_release;
    hearth_fleet_release_figures(w->noiser, row, min, most);
    /* The task's figure counts the clip bit; it is for min devices. */
    hearth_coord_task_status ts;
    st = hearth_coord_task_get_status(w->coord, HEARTH_FLEET_TASK, &ts);
    if (st == HEARTH_OK)
        row->noise_to_signal =
            ts.noise_to_signal * sqrt((double)min / (double)q.n_devices);
    return HEARTH_OK;
}

static hearth_status finish_row(hearth_fleet_world *w, hearth_fleet_metric *row,
                                hearth_error *err) {
    uint64_t up, down, seen, clipped;
    *row = (hearth_fleet_metric){0};
    row->round = ++w->rounds_run;
    row->devices_invited = w->now.invited;
    row->devices_accepted = w->now.committed;
    row->devices_failed = w->now.vanished;
    uint64_t gone = w->now.committed + w->now.vanished;
    row->devices_late = w->now.invited > gone ? w->now.invited - gone : 0;
    bytes_of(w, &up, &down);
    row->bytes_up = up - w->now.up0;
    row->bytes_down = down - w->now.down0;
    row->virtual_seconds = hearth_fleet_world_seconds(w);
    hearth_fleet_clip_counts(&seen, &clipped);
    row->clip_fraction = seen ? (double)clipped / (double)seen : (double)NAN;
    hearth_fleet_clip_reset(w->control);
    return privacy_of(w, row, err);
}

hearth_status hearth_fleet_world_round(hearth_fleet_world *w,
                                       hearth_fleet_metric *row,
                                       hearth_error *err) {
    hearth_coord_task_status ts;
    w->now = (tally){0};
    bytes_of(w, &w->now.up0, &w->now.down0);
    for (uint32_t turns = 0; turns < MAX_TURNS; turns++) {
        hearth_status st = step(w, err);
        if (st != HEARTH_OK) return st;
        st = hearth_coord_task_get_status(w->coord, HEARTH_FLEET_TASK, &ts);
        if (st != HEARTH_OK)
            return hearth_error_set(err, st, "the coordinator lost its task");
        if (ts.rounds_released + ts.rounds_failed == w->released + w->failed)
            continue;
        st = hearth_fleet_release_end_round(
            w->noiser, ts.rounds_released > w->released, err);
        if (st != HEARTH_OK) return st;
        w->released = ts.rounds_released;
        w->failed = ts.rounds_failed;
        return finish_row(w, row, err);
    }
    return hearth_error_set(err, HEARTH_ETIMEOUT,
                            "a round did not end; the devices said last: %s",
                            w->last.text[0] ? w->last.text : "nothing");
}

hearth_status hearth_fleet_world_adapter(hearth_fleet_world *w,
                                         hearth_adapter **out,
                                         hearth_error *err) {
    const hearth_alloc *al = w->lab->al;
    hearth_coord_store *store = hearth_coord_get_store(w->coord);
    hearth_release_row rel;
    hearth_task_row task;
    hearth_adapter *a = NULL;
    float *flat = NULL;
    *out = NULL;
    hearth_status st =
        hearth_coord_store_task(store, HEARTH_FLEET_TASK, &task, NULL, err);
    if (st == HEARTH_OK)
        st = hearth_coord_store_release(store, HEARTH_FLEET_TASK, 0, &rel, NULL,
                                        NULL, err);
    if (st == HEARTH_OK) st = hearth_fleet_adapter(&a, w->lab, true, 0, err);
    if (st == HEARTH_OK) st = hearth_adapter_init_a_from_seed(a, task.a_seed);
    size_t d = a ? hearth_adapter_dim(a, HEARTH_PART_B) : 0;
    if (st == HEARTH_OK && !(flat = hearth_mem_array(al, d, sizeof(*flat))))
        st = HEARTH_ENOMEM;
    if (st == HEARTH_OK)
        st = hearth_registry_get_content(w->dir, rel.content_sha256, flat, d,
                                         err);
    if (st == HEARTH_OK)
        st = hearth_adapter_unflatten(a, HEARTH_PART_B, flat, d);
    hearth_mem_free(al, flat);
    if (st == HEARTH_OK)
        *out = a;
    else
        hearth_adapter_free(a);
    return st;
}

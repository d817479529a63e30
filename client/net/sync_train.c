/* SPDX-License-Identifier: Apache-2.0 */
/* client/net/sync_train.c - from an accepted offer to a prepared delta.
 *
 * Training is not checkpointed: a phone's round is minutes, and starting over
 * from the same offer, release and seed gives the same adapter.  The mark in
 * sync_training is taken away by `forget`, here or in another process; then
 * what was trained on the forgotten record is dropped and trained anew.
 */
#include "client/net/sync_private.h"

#include <string.h>

#include "client/delta/delta.h"
#include "client/train/dataset_records.h"
#include "common/adapter_digest.h"
#include "common/failpoint.h"
#include "common/hash.h"
#include "common/bytes.h"

#define LOOK_AROUND 16u  /* micro-batches between two looks for the mark */
#define PAUSE_MS    5000 /* from a pause to the next question how things are */
#define BUDGET      ((size_t)512 << 20)

/* Private memory of a participant beside the buffers that are counted: SQLite
 * keeps up to 2 MB of pages, a connection some hundred KB.  Observed in a release
 * build with few records: 0.8 MiB. */
#define HELD_BYTES ((size_t)3 << 20)

/* Free what only the training itself needs. */
static void close_trainer(hearth_sync *s) {
    hearth_trainer_close(s->trainer);
    s->trainer = NULL;
    hearth_dataset_free(s->dataset);
    s->dataset = NULL;
    hearth_pool_limit(s->cfg.pool, 0);
}

hearth_status hearth_sync__drop_training(hearth_sync *s, hearth_error *err) {
    close_trainer(s);
    hearth_adapter_free(s->adapter);
    s->adapter = NULL;
    hearth_adapter_free(s->start);
    s->start = NULL;
    s->ticks = 0;
    return hearth_sync_training_mark(s->cfg.db, false, err);
}

/* The adapter that the round starts from, and a copy to train. */
static hearth_status open_adapters(hearth_sync *s, hearth_error *err) {
    uint8_t shape[32], a[32];
    const hearth_wire_space *w = &s->offer->space;
    hearth_status st =
        hearth_personal_adapter(&s->start, &s->personal, s->offer->task, false,
                                hearth_sync__now(s), err);
    if (st != HEARTH_OK) return st;
    st = hearth_adapter_shape_digest(s->start, shape);
    if (st == HEARTH_OK)
        st = hearth_adapter_values_digest(s->start, HEARTH_PART_A, a);
    if (st != HEARTH_OK) return st;
    bool frozen = w->rule == HEARTH_RULE_FFA;
    if (memcmp(shape, w->shape_digest, 32) != 0 ||
        (frozen && memcmp(a, w->a_digest, 32) != 0))
        return hearth_error_set(err, HEARTH_EMISMATCH,
                                "the installed release of %s has another shape "
                                "than the round; wait for the next release",
                                s->offer->task);
    return hearth_adapter_clone(&s->adapter, s->start, &s->alloc, err);
}

static hearth_status open_dataset(hearth_sync *s, hearth_error *err) {
    const hearth_local_training *t = &s->offer->local;
    hearth_dataset_config dc = HEARTH_DATASET_CONFIG_INIT;
    dc.tmpl = s->tmpl;
    dc.loss_on =
        t->loss == HEARTH_WIRE_LOSS_ALL ? HEARTH_LOSS_ALL : HEARTH_LOSS_ANSWER;
    /* A longer record loses tokens; it does not end the round. */
    uint32_t most = hearth_model_get_config(s->cfg.model)->max_positions;
    dc.max_tokens = t->seq < most ? t->seq : most;
    hearth_status st = hearth_dataset_from_store(
        &s->dataset, s->cfg.records, HEARTH_SPLIT_TRAIN, s->offer->purpose,
        s->cfg.tokenizer, &dc, &s->alloc, err);
    if (st != HEARTH_OK) return st;
    const hearth_dataset_report *r = hearth_dataset_get_report(s->dataset);
    uint64_t usable = r->n_records - r->n_skipped;
    if (usable == 0 || usable < s->offer->min_examples)
        return hearth_error_set(err, HEARTH_ENOTFOUND,
                                "%llu records fit the task, it needs %u; add "
                                "records with consent for '%s'",
                                (unsigned long long)usable,
                                (unsigned)s->offer->min_examples,
                                s->offer->purpose);
    return HEARTH_OK;
}

static hearth_schedule_kind schedule(uint32_t wire) {
    if (wire == HEARTH_WIRE_SCHEDULE_LINEAR) return HEARTH_SCHEDULE_LINEAR;
    if (wire == HEARTH_WIRE_SCHEDULE_COSINE) return HEARTH_SCHEDULE_COSINE;
    return HEARTH_SCHEDULE_CONSTANT;
}

/* A seed that a restart of this round finds again. */
static hearth_status seed_of(const hearth_offer *o, uint64_t *seed) {
    uint8_t d[32];
    hearth_status st =
        hearth_sha256(d, o->upload_token.bytes, sizeof(o->upload_token.bytes));
    *seed = hearth_load_be64(d) >> 1;
    return st;
}

/* Open the trainer: how a step fits the budget is for its plan to find. */
static hearth_status open_trainer(hearth_sync *s, hearth_error *err) {
    const hearth_local_training *t = &s->offer->local;
    hearth_train_config c = HEARTH_TRAIN_CONFIG_INIT;
    c.steps = t->steps;
    c.batch = t->batch;
    c.seq = t->seq;
    c.lr = t->lr;
    c.schedule = schedule(t->schedule);
    c.warmup = t->warmup;
    c.weight_decay = t->weight_decay;
    c.reference_kernels = s->cfg.reference_kernels;
    c.bf16 = s->cfg.bf16;
    c.base = s->cfg.base;
    c.weights = HEARTH_WEIGHTS_AUTO;
    c.memory_budget = s->cfg.memory_budget ? s->cfg.memory_budget : BUDGET;
    c.held_bytes = HELD_BYTES + hearth_tokenizer_bytes(s->cfg.tokenizer) +
                   s->start->n_values * sizeof(float);
    hearth_status st = seed_of(s->offer, &c.seed);
    if (st != HEARTH_OK) return st;
    return hearth_trainer_open(&s->trainer, s->cfg.model, s->adapter,
                               s->dataset, &c, s->cfg.pool, &s->alloc, err);
}

/* ---- when it runs ---- */

static bool stop_asked(void *ud) {
    const hearth_sync_energy *e = &((hearth_sync *)ud)->cfg.energy;
    return e->stop && e->stop(e->ud);
}

static void rest(void *ud, int64_t ms) {
    const hearth_sync_energy *e = &((hearth_sync *)ud)->cfg.energy;
    e->sleep(e->ud, ms);
}

static void changed(void *ud, const hearth_energy_state *now) {
    static const char *const word[] = {"running", "slowed", "paused"};
    const hearth_sync *s = ud;
    const hearth_sync_energy *e = &s->cfg.energy;
    hearth_log_write(s->cfg.log, HEARTH_LOG_INFO, "sync",
                     "task=%s round=%llu state=%s reason=\"%s\"",
                     s->offer->task, (unsigned long long)s->offer->round,
                     word[now->action], hearth_energy_reason_word(now->reason));
    if (e->changed) e->changed(e->ud, now);
}

/* The device's policy holds while training too; slowing down is extra. */
static hearth_energy_policy energy_policy(const hearth_sync *s) {
    const hearth_policy *p = s->cfg.policy;
    const hearth_sync_energy *e = &s->cfg.energy;
    size_t half = hearth_pool_size(s->cfg.pool) / 2;
    const hearth_energy_limits limits = {
        .need_charging = p->need_charging,
        .battery_min = p->battery_min,
        .temperature_max = p->temperature_max,
        .slow_before = e->slow_down ? HEARTH_SYNC_SLOW_BEFORE : 0,
        .duty = e->duty > 0 ? e->duty : 0.5,
        .threads = e->threads ? e->threads
                   : half     ? (uint32_t)half
                              : 1};
    hearth_energy_policy ep = hearth_energy_policy_of(&limits);
    ep.battery_on_charger = true;
    ep.pause_in_foreground = true;
    ep.throttle_on_battery = e->slow_down;
    ep.margin = HEARTH_SYNC_MARGIN;
    return ep;
}

static void start_governor(hearth_sync *s) {
    const hearth_governor_config g = {.conditions = s->cfg.conditions,
                                      .policy = energy_policy(s),
                                      .clock = s->cfg.clock,
                                      .pool = s->cfg.pool,
                                      .leave_on_pause = true,
                                      .sleep =
                                          s->cfg.energy.sleep ? rest : NULL,
                                      .stop = stop_asked,
                                      .changed = changed,
                                      .ud = s};
    hearth_governor_init(&s->governor, &g);
    hearth_trainer_set_gate(s->trainer, hearth_governor_gate, &s->governor);
}

/* A round that a dead process accepted: the policy may be stricter now.  What
 * is only about the moment is looked after while training. */
static hearth_status ask_again(hearth_sync *s, hearth_error *err) {
    bool later = false;
    if (s->asked) return HEARTH_OK;
    hearth_status st = hearth_sync__ask_policy(s, s->offer, &later, err);
    if (st == HEARTH_EREFUSED && later) {
        hearth_error_clear(err);
        st = HEARTH_OK;
    }
    s->asked = st == HEARTH_OK;
    return st;
}

hearth_status hearth_sync__start(hearth_sync *s, hearth_sync_event *ev,
                                 hearth_error *err) {
    hearth_abort_reason why = HEARTH_ABORT_ERROR;
    hearth_status st = hearth_sync__drop_training(s, err);
    if (st != HEARTH_OK) return st;
    hearth_sync__label(s, ev);
    if (hearth_sync__late(s, s->offer)) {
        (void)hearth_error_set(err, HEARTH_ETIMEOUT,
                               "the round's deadline has passed");
        return hearth_sync__give_up(s, HEARTH_ABORT_DEADLINE, false, err, ev,
                                    err);
    }
    st = ask_again(s, err);
    if (st == HEARTH_EREFUSED) why = HEARTH_ABORT_POLICY;
    if (st == HEARTH_OK) st = hearth_sync_training_mark(s->cfg.db, true, err);
    if (st == HEARTH_OK) st = open_adapters(s, err);
    if (st == HEARTH_OK) st = open_dataset(s, err);
    if (st == HEARTH_ENOTFOUND) why = HEARTH_ABORT_RECORDS;
    if (st == HEARTH_OK) st = open_trainer(s, err);
    if (hearth_sync__own_fault(st) || st == HEARTH_EBUSY) return st;
    if (st != HEARTH_OK)
        return hearth_sync__give_up(s, why, false, err, ev, err);
    start_governor(s);
    ev->kind = HEARTH_SYNC_TRAIN;
    ev->n_steps = s->offer->local.steps;
    s->state = ST_TRAIN;
    return HEARTH_OK;
}

/* May we go on with this round and its records?  Sets the state where not. */
static hearth_status look_around(hearth_sync *s, bool *go_on,
                                 hearth_sync_event *ev, hearth_error *err) {
    bool marked = true;
    *go_on = false;
    if (hearth_sync__late(s, s->offer)) {
        (void)hearth_error_set(err, HEARTH_ETIMEOUT,
                               "the round's deadline passed while training");
        return hearth_sync__give_up(s, HEARTH_ABORT_DEADLINE, false, err, ev,
                                    err);
    }
    if (s->ticks++ % LOOK_AROUND == 0) {
        hearth_status st = hearth_sync_training_marked(s->cfg.db, &marked, err);
        if (st != HEARTH_OK) s->ticks = 0;
        if (st != HEARTH_OK) return st;
    }
    *go_on = marked;
    if (marked) return HEARTH_OK;
    /* a record was forgotten: not with this data */
    s->state = ST_START;
    ev->kind = HEARTH_SYNC_TRAIN;
    return hearth_sync__drop_training(s, err);
}

/* The gate ended the tick.  Training stays in memory, the next tick begins the
 * dropped step again; the deadline decides if a pause lasts. */
static hearth_status held(hearth_sync *s, hearth_sync_event *ev,
                          hearth_error *err) {
    s->ticks = 0;
    hearth_error_clear(err);
    if (s->governor.stopped) {
        (void)hearth_error_set(err, HEARTH_ECANCELLED,
                               "training was stopped; its step begins again");
        return hearth_sync__failed(s, HEARTH_ECANCELLED, NULL, ev, err);
    }
    /* Not stored: another process may ask at once. */
    s->session.not_before_ms = hearth_sync__now(s) + PAUSE_MS;
    s->session.wait_ms = PAUSE_MS;
    s->session.window = false;
    ev->kind = HEARTH_SYNC_WAIT;
    ev->wait_ms = hearth_sync_wait_ms(s);
    ev->n_steps = s->offer->local.steps;
    (void)hearth_error_set(&ev->reason, HEARTH_EBUSY, "training is paused: %s",
                           hearth_energy_reason_word(s->governor.state.reason));
    return HEARTH_OK;
}

hearth_status hearth_sync__train(hearth_sync *s, hearth_sync_event *ev,
                                 hearth_error *err) {
    hearth_train_event te;
    bool go_on = false;
    hearth_sync__label(s, ev);
    hearth_status st = look_around(s, &go_on, ev, err);
    if (st != HEARTH_OK || !go_on) return st;
    st = HEARTH_ECANCELLED; /* asked here too: a pause costs no weight */
    if (hearth_governor_gate(&s->governor))
        st = hearth_trainer_tick(s->trainer, &te, err);
    hearth_governor_leave(&s->governor);
    if (st == HEARTH_ECANCELLED) return held(s, ev, err);
    if (hearth_sync__own_fault(st)) return st;
    if (st != HEARTH_OK)
        return hearth_sync__give_up(s, HEARTH_ABORT_ERROR, false, err, ev, err);
    ev->kind = HEARTH_SYNC_TRAIN;
    ev->step = (uint32_t)te.step;
    ev->n_steps = (uint32_t)te.steps;
    ev->loss = te.loss;
    if (te.kind == HEARTH_TRAIN_DONE) {
        HEARTH_FAILPOINT("sync.after_train");
        s->state = ST_PREPARE;
    }
    return HEARTH_OK;
}

/* The one place where trained numbers are handed on: to hearth_prepare. */
static hearth_status make_prepared(hearth_sync *s, hearth_error *err) {
    hearth_delta *dl = NULL;
    hearth_part part = hearth_space_part(&s->offer->space);
    hearth_status st =
        hearth_delta_new(&dl, s->start, s->adapter, part, &s->alloc, err);
    if (st == HEARTH_OK)
        st = hearth_prepare(&s->prepared, s->ledger, s->offer,
                            hearth_delta_spans(dl), hearth_delta_n_spans(dl),
                            NULL, 0, s->cfg.rng, s->cfg.clock, err);
    hearth_delta_free(dl);
    return st;
}

hearth_status hearth_sync__prepare(hearth_sync *s, hearth_sync_event *ev,
                                   hearth_error *err) {
    bool marked = false;
    hearth_round_key key;
    hearth_sync__label(s, ev);
    close_trainer(s); /* its memory, before the delta takes some */
    hearth_status st = hearth_sync_training_marked(s->cfg.db, &marked, err);
    if (st == HEARTH_OK && marked) st = make_prepared(s, err);
    if (st == HEARTH_OK && marked)
        st = hearth_sync_training_marked(s->cfg.db, &marked, err);
    if (hearth_sync__own_fault(st) || st == HEARTH_EBUSY) return st;
    if (st == HEARTH_OK && !marked) {
        /* Forgotten in the meantime: what was made of it must not leave. */
        if (s->prepared) {
            key = *hearth_prepared_key(s->prepared);
            hearth_prepared_free(s->prepared);
            s->prepared = NULL;
            st = hearth_ledger_store_void(s->ledger, &key, err);
            if (st == HEARTH_ENOTFOUND || st == HEARTH_ESTATE) st = HEARTH_OK;
            if (st != HEARTH_OK) return st;
        }
        s->state = ST_START;
        ev->kind = HEARTH_SYNC_TRAIN;
        return hearth_sync__drop_training(s, err);
    }
    if (st != HEARTH_OK)
        return hearth_sync__give_up(
            s, st == HEARTH_EREFUSED ? HEARTH_ABORT_POLICY : HEARTH_ABORT_ERROR,
            false, err, ev, err);
    st = hearth_sync__drop_training(s, err);
    if (st != HEARTH_OK) return st;
    ev->kind = HEARTH_SYNC_PREPARED;
    s->state = ST_BEGIN;
    return HEARTH_OK;
}

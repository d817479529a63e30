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

#define LOOK_AROUND 16u /* micro-batches between two looks at the conditions */

hearth_status hearth_sync__drop_training(hearth_sync *s, hearth_error *err) {
    hearth_trainer_close(s->trainer);
    s->trainer = NULL;
    hearth_dataset_free(s->dataset);
    s->dataset = NULL;
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
    c.memory_budget =
        s->cfg.memory_budget ? s->cfg.memory_budget : (size_t)512 << 20;
    hearth_status st = seed_of(s->offer, &c.seed);
    if (st != HEARTH_OK) return st;
    return hearth_trainer_open(&s->trainer, s->cfg.model, s->adapter,
                               s->dataset, &c, s->cfg.pool, &s->alloc, err);
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
    ev->kind = HEARTH_SYNC_TRAIN;
    ev->n_steps = s->offer->local.steps;
    s->state = ST_TRAIN;
    return HEARTH_OK;
}

/* May we go on?  Sets the state where not. */
static hearth_status look_around(hearth_sync *s, bool *go_on,
                                 hearth_sync_event *ev, hearth_error *err) {
    bool marked = false;
    *go_on = false;
    if (hearth_sync__late(s, s->offer)) {
        (void)hearth_error_set(err, HEARTH_ETIMEOUT,
                               "the round's deadline passed while training");
        return hearth_sync__give_up(s, HEARTH_ABORT_DEADLINE, false, err, ev,
                                    err);
    }
    hearth_status st = hearth_sync_training_marked(s->cfg.db, &marked, err);
    if (st != HEARTH_OK) return st;
    if (!marked) { /* a record was forgotten: not with this data */
        s->state = ST_START;
        ev->kind = HEARTH_SYNC_TRAIN;
        return hearth_sync__drop_training(s, err);
    }
    const hearth_conditions now = hearth_sync__conditions(s);
    const hearth_policy *p = s->cfg.policy;
    bool ok = !now.foreground && !now.power_saving &&
              (!p->need_charging || now.charging) &&
              (!now.has_battery || now.battery_percent >= p->battery_min) &&
              (!now.has_temperature || now.temperature_c <= p->temperature_max);
    if (ok) {
        *go_on = true;
        return HEARTH_OK;
    }
    /* Training stays in memory; the deadline decides if this lasts. */
    st = hearth_sync__sleep(s, 30000, false, err);
    ev->kind = HEARTH_SYNC_WAIT;
    ev->wait_ms = hearth_sync_wait_ms(s);
    return st;
}

hearth_status hearth_sync__train(hearth_sync *s, hearth_sync_event *ev,
                                 hearth_error *err) {
    hearth_train_event te;
    hearth_status st;
    bool go_on = true;
    hearth_sync__label(s, ev);
    if (s->ticks++ % LOOK_AROUND == 0) {
        st = look_around(s, &go_on, ev, err);
        if (st != HEARTH_OK || !go_on) {
            s->ticks = 0;
            return st;
        }
    }
    st = hearth_trainer_tick(s->trainer, &te, err);
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

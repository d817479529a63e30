/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_baseline.c - early stopping keeps a clone of the best
 * adapter; the validation records it looks at are never the reported ones. */
#include "tests/fleet/fleet_baseline.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static hearth_train_config train_config(const hearth_fleet_lab *lab,
                                        uint64_t seed) {
    hearth_train_config c = HEARTH_TRAIN_CONFIG_INIT;
    c.batch = lab->sc->batch;
    c.seq = lab->sc->seq;
    c.lr = lab->sc->lr;
    c.weight_decay = lab->sc->weight_decay;
    c.schedule = !strcmp(lab->sc->schedule, "linear") ? HEARTH_SCHEDULE_LINEAR
                 : !strcmp(lab->sc->schedule, "cosine")
                     ? HEARTH_SCHEDULE_COSINE
                     : HEARTH_SCHEDULE_CONSTANT;
    c.warmup = lab->sc->warmup;
    c.seed = seed;
    return c;
}

/* The best adapter so far. */
typedef struct {
    hearth_adapter *adapter;
    double loss;
    double mark;    /* the loss that has to be beaten by the tolerance */
    unsigned since; /* looks since it was */
} best;

/* Measure on valid; keep a clone when it is the best yet. */
static hearth_status look(const hearth_fleet_lab *lab,
                          const hearth_adapter *adapter,
                          const hearth_dataset *valid, double tolerance,
                          best *b, double *loss, hearth_error *err) {
    hearth_eval_result r;
    hearth_status st = hearth_evaluate(lab->model, adapter, valid, NULL,
                                       lab->pool, &r, lab->al, err);
    if (st != HEARTH_OK) return st;
    *loss = r.loss;
    b->since++;
    if (!b->adapter || r.loss < b->mark - tolerance) {
        b->mark = r.loss;
        b->since = 0;
    }
    if (b->adapter && !(r.loss < b->loss)) return HEARTH_OK;
    hearth_adapter *clone;
    if ((st = hearth_adapter_clone(&clone, adapter, lab->al, err)) != HEARTH_OK)
        return st;
    hearth_adapter_free(b->adapter);
    b->adapter = clone;
    b->loss = r.loss;
    return HEARTH_OK;
}

/* ---- base ---- */

static hearth_status run_base(const hearth_fleet_lab *lab,
                              hearth_fleet_output *o, hearth_fleet_measure *m,
                              hearth_error *err) {
    for (int s = 0; s < HEARTH_FLEET_N_SPLITS; s++) {
        hearth_fleet_split split = (hearth_fleet_split)s;
        hearth_status st = hearth_fleet_measure_split(lab, NULL, split, m, err);
        if (st == HEARTH_OK && m->n_measured)
            st = hearth_fleet_output_baseline(o, lab, HEARTH_FLEET_BASE, split,
                                              0, m, true);
        if (st != HEARTH_OK) return st;
    }
    return HEARTH_OK;
}

/* ---- local ---- */

/* Train person i alone; *out is the adapter to measure. */
static hearth_status train_alone(const hearth_fleet_lab *lab, size_t i,
                                 uint64_t seed, hearth_adapter **out,
                                 hearth_error *err) {
    hearth_train_config cfg = train_config(lab, seed * 1000003u + i);
    hearth_adapter *a = NULL;
    hearth_trainer *t = NULL;
    hearth_train_event ev = {0};
    best b = {NULL, 0.0, 0.0, 0};
    double loss;
    *out = NULL;
    cfg.lr = lab->sc->local_lr;
    cfg.steps = lab->sc->local_steps ? lab->sc->local_steps
                                     : (uint64_t)lab->steps * lab->sc->rounds;
    uint64_t every = cfg.steps >= 10 ? cfg.steps / 10 : 1;
    hearth_status st = hearth_fleet_adapter(&a, lab, true, seed, err);
    if (st == HEARTH_OK && lab->valid[i]) /* not training is an option too */
        st = look(lab, a, lab->valid[i], 0.0, &b, &loss, err);
    if (st == HEARTH_OK)
        st = hearth_trainer_open(&t, lab->model, a, lab->train[i], &cfg,
                                 lab->pool, lab->al, err);
    while (st == HEARTH_OK && ev.kind != HEARTH_TRAIN_DONE) {
        st = hearth_trainer_tick(t, &ev, err);
        if (st != HEARTH_OK || ev.kind == HEARTH_TRAIN_MICRO) continue;
        if (lab->valid[i] &&
            (ev.step % every == 0 || ev.kind == HEARTH_TRAIN_DONE))
            st = look(lab, a, lab->valid[i], 0.0, &b, &loss, err);
        if (b.adapter && b.since >= 3) break;
    }
    hearth_trainer_close(t);
    if (b.adapter) {
        hearth_adapter_free(a);
        a = b.adapter;
    }
    if (st == HEARTH_OK)
        *out = a;
    else
        hearth_adapter_free(a);
    return st;
}

static hearth_status run_local(const hearth_fleet_lab *lab,
                               hearth_fleet_output *o, hearth_fleet_measure *m,
                               hearth_error *err) {
    for (size_t i = 0; i < m->n; i++) {
        const hearth_dataset *ds =
            hearth_fleet_split_data(lab, HEARTH_FLEET_HOLDOUT, i);
        hearth_adapter *a;
        hearth_eval_result r;
        m->loss[i] = (double)NAN;
        if (!ds || !lab->train[i]) continue;
        hearth_status st = train_alone(lab, i, o->seed, &a, err);
        if (st != HEARTH_OK) return st;
        st = hearth_evaluate(lab->model, a, ds, NULL, lab->pool, &r, lab->al,
                             err);
        hearth_adapter_free(a);
        if (st != HEARTH_OK) return st;
        m->loss[i] = r.loss;
        m->tokens[i] = r.tokens;
    }
    hearth_status st = hearth_fleet_measure_sum_up(m);
    if (st == HEARTH_OK && m->n_measured)
        st = hearth_fleet_output_baseline(o, lab, HEARTH_FLEET_LOCAL,
                                          HEARTH_FLEET_HOLDOUT, 0, m, true);
    return st;
}

/* ---- central ---- */

/* One point of the curve: the mean over pooled validation tokens. */
static hearth_status put_point(const hearth_fleet_lab *lab,
                               hearth_fleet_output *o, uint64_t step,
                               double loss) {
    hearth_fleet_measure m = {0};
    m.mean = loss;
    m.p10 = m.p90 = (double)NAN;
    if (!o->quiet)
        fprintf(stderr, "seed %llu: central step %llu, validation loss %.4f\n",
                (unsigned long long)o->seed, (unsigned long long)step, loss);
    return hearth_fleet_output_baseline(o, lab, HEARTH_FLEET_CENTRAL,
                                        HEARTH_FLEET_VALID, step, &m, false);
}

static hearth_status train_central(const hearth_fleet_lab *lab,
                                   hearth_fleet_output *o, best *b,
                                   hearth_error *err) {
    hearth_train_config cfg = train_config(lab, o->seed);
    hearth_adapter *a = NULL;
    hearth_trainer *t = NULL;
    hearth_train_event ev = {0};
    double loss;
    cfg.batch = lab->sc->central_batch;
    cfg.lr = lab->sc->central_lr;
    cfg.schedule = HEARTH_SCHEDULE_CONSTANT; /* the end is not known before */
    cfg.warmup = 0;
    uint64_t epoch =
        (hearth_dataset_n_docs(lab->all_train) + cfg.batch - 1) / cfg.batch;
    uint64_t every = epoch >= 2 ? epoch / 2 : 1;
    cfg.steps = epoch * lab->sc->central_epochs;
    hearth_status st =
        hearth_fleet_adapter(&a, lab, !lab->sc->central_trains_a, o->seed, err);
    if (st == HEARTH_OK)
        st = look(lab, a, lab->all_valid, lab->sc->central_tolerance, b, &loss,
                  err);
    if (st == HEARTH_OK) st = put_point(lab, o, 0, loss);
    if (st == HEARTH_OK)
        st = hearth_trainer_open(&t, lab->model, a, lab->all_train, &cfg,
                                 lab->pool, lab->al, err);
    while (st == HEARTH_OK && ev.kind != HEARTH_TRAIN_DONE) {
        st = hearth_trainer_tick(t, &ev, err);
        if (st != HEARTH_OK || ev.kind == HEARTH_TRAIN_MICRO) continue;
        if (ev.step % every && ev.kind != HEARTH_TRAIN_DONE) continue;
        st = look(lab, a, lab->all_valid, lab->sc->central_tolerance, b, &loss,
                  err);
        if (st == HEARTH_OK) st = put_point(lab, o, ev.step, loss);
        if (b->since >= 2 * lab->sc->central_patience) break;
    }
    hearth_trainer_close(t);
    hearth_adapter_free(a);
    return st;
}

static hearth_status run_central(const hearth_fleet_lab *lab,
                                 hearth_fleet_output *o,
                                 hearth_fleet_measure *m, hearth_error *err) {
    best b = {NULL, 0.0, 0.0, 0};
    if (!hearth_dataset_n_docs(lab->all_valid))
        return hearth_error_set(err, HEARTH_EFORMAT,
                                "too few records for central's validation "
                                "split; set [baseline] central = no");
    hearth_status st = train_central(lab, o, &b, err);
    for (int s = 0; s < HEARTH_FLEET_N_SPLITS && st == HEARTH_OK; s++) {
        hearth_fleet_split split = (hearth_fleet_split)s;
        st = hearth_fleet_measure_split(lab, b.adapter, split, m, err);
        if (st == HEARTH_OK && m->n_measured && split != HEARTH_FLEET_VALID)
            st = hearth_fleet_output_baseline(o, lab, HEARTH_FLEET_CENTRAL,
                                              split, 0, m, true);
    }
    hearth_adapter_free(b.adapter);
    return st;
}

hearth_status hearth_fleet_baselines_run(const hearth_fleet_lab *lab,
                                         hearth_fleet_output *o,
                                         hearth_error *err) {
    hearth_fleet_measure m;
    hearth_status st = hearth_fleet_measure_new(&m, lab, err);
    if (st != HEARTH_OK) return st;
    if (lab->sc->base) st = run_base(lab, o, &m, err);
    if (st == HEARTH_OK && lab->sc->local) st = run_local(lab, o, &m, err);
    if (st == HEARTH_OK && lab->sc->central) st = run_central(lab, o, &m, err);
    hearth_fleet_measure_free(&m);
    return st;
}

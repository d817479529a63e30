/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_seed.c */
#include "tests/fleet/fleet_seed.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/file.h"
#include "tests/fleet/fleet_baseline.h"
#include "tests/fleet/fleet_world.h"

typedef struct {
    const hearth_fleet_lab *lab;
    hearth_fleet_output *out;
    hearth_fleet_measure measure;
    int64_t started_ms; /* of the machine */
    int64_t world_ms;   /* when the rounds began */
    hearth_error *err;
} job;

static double seconds_since(int64_t ms) {
    hearth_clock c = hearth_clock_system();
    return (double)(hearth_clock_mono(&c) - ms) / 1000.0;
}

/* A line for each round: seeds run side by side, so that no bar is drawn. */
static void say(const job *j, const char *what, const hearth_fleet_metric *row,
                double loss) {
    uint64_t rounds = j->lab->sc->rounds;
    if (j->out->quiet) return;
    if (!row->round) {
        fprintf(stderr, "seed %llu: %s, before round 1: hold-out loss %.4f\n",
                (unsigned long long)j->out->seed, what, loss);
        return;
    }
    double left = seconds_since(j->world_ms) / (double)row->round *
                  (double)(rounds > row->round ? rounds - row->round : 0);
    fprintf(stderr,
            "seed %llu: %s round %llu of %llu: devices %llu of %llu, "
            "hold-out loss %.4f, %.0f s left\n",
            (unsigned long long)j->out->seed, what,
            (unsigned long long)row->round, (unsigned long long)rounds,
            (unsigned long long)row->devices_accepted,
            (unsigned long long)row->devices_invited, loss, left);
}

/* Measure one model after a round and write the rows of every split. */
static hearth_status measure_round(job *j, hearth_fleet_metric *row,
                                   const hearth_adapter *adapter, bool control,
                                   bool last) {
    for (int s = 0; s < HEARTH_FLEET_N_SPLITS; s++) {
        hearth_fleet_split split = (hearth_fleet_split)s;
        hearth_status st = hearth_fleet_measure_split(j->lab, adapter, split,
                                                      &j->measure, j->err);
        if (st != HEARTH_OK) return st;
        if (!j->measure.n_measured) continue;
        if (split == HEARTH_FLEET_HOLDOUT)
            say(j, control ? "control" : "federated", row, j->measure.mean);
        row->split = split;
        if (control)
            st = hearth_fleet_output_baseline(j->out, j->lab,
                                              HEARTH_FLEET_CONTROL, split,
                                              row->round, &j->measure, last);
        else
            st = hearth_fleet_output_round(j->out, j->lab, row, &j->measure);
        if (st != HEARTH_OK) return st;
    }
    return HEARTH_OK;
}

/* A round that is not measured has its numbers all the same. */
static hearth_status put_unmeasured(job *j, hearth_fleet_metric *row) {
    for (size_t i = 0; i < j->measure.n; i++) j->measure.loss[i] = (double)NAN;
    j->measure.mean = j->measure.p10 = j->measure.p90 = (double)NAN;
    row->split = HEARTH_FLEET_HOLDOUT;
    return hearth_fleet_output_round(j->out, j->lab, row, &j->measure);
}

static hearth_status run_rounds(job *j, hearth_fleet_world *w, bool control) {
    hearth_fleet_metric row = {0};
    hearth_status st;
    hearth_clock c = hearth_clock_system();
    j->world_ms = hearth_clock_mono(&c);
    row.epsilon_coordinator = row.epsilon_release = row.noise_to_signal =
        row.clip_fraction = (double)NAN;
    st = measure_round(j, &row, NULL, control, false); /* 0: the base */
    while (st == HEARTH_OK && !hearth_fleet_world_done(w)) {
        hearth_adapter *a = NULL;
        st = hearth_fleet_world_round(w, &row, j->err);
        if (st != HEARTH_OK) break;
        row.wall_seconds = seconds_since(j->started_ms);
        if (row.round % j->lab->sc->eval_every && !hearth_fleet_world_done(w)) {
            if (!control) st = put_unmeasured(j, &row);
            continue;
        }
        st = hearth_fleet_world_adapter(w, &a, j->err);
        if (st == HEARTH_OK)
            st = measure_round(j, &row, a, control, hearth_fleet_world_done(w));
        hearth_adapter_free(a);
    }
    return st == HEARTH_OK ? hearth_fleet_world_check(w, j->err) : st;
}

static hearth_status run_world(job *j, const char *dir, bool control) {
    hearth_fleet_world *w;
    char state[1024];
    hearth_status st = hearth_file_join(state, sizeof(state), dir,
                                        control ? "control" : "coordinator");
    if (st != HEARTH_OK)
        return hearth_error_set(j->err, st, "%s: too long a path; move it",
                                dir);
    st = hearth_fleet_world_open(&w, j->lab, j->out->seed, state, control,
                                 j->err);
    if (st == HEARTH_OK) st = run_rounds(j, w, control);
    hearth_fleet_world_close(w);
    if (st == HEARTH_OK) st = hearth_file_remove_tree(state, j->err);
    return st;
}

hearth_status hearth_fleet_seed_run(const hearth_fleet_scenario *sc,
                                    const hearth_fleet_population *people,
                                    uint64_t seed, const char *dir, bool quiet,
                                    const hearth_alloc *al, hearth_error *err) {
    hearth_fleet_lab lab;
    hearth_fleet_output out;
    hearth_clock c = hearth_clock_system();
    job j = {&lab, &out, {0}, hearth_clock_mono(&c), 0, err};
    hearth_fleet_output_init(&out, seed, al);
    out.quiet = quiet;
    hearth_status st = hearth_fleet_lab_open(&lab, sc, people, al, err);
    if (st == HEARTH_OK) st = hearth_file_mkdirs(dir, err);
    if (st == HEARTH_OK) st = hearth_fleet_measure_new(&j.measure, &lab, err);
    if (st == HEARTH_OK) st = hearth_fleet_baselines_run(&lab, &out, err);
    if (st == HEARTH_OK) st = run_world(&j, dir, false);
    if (st == HEARTH_OK && sc->control) st = run_world(&j, dir, true);
    if (st == HEARTH_OK) st = hearth_fleet_output_write(&out, dir, err);
    hearth_fleet_measure_free(&j.measure);
    hearth_fleet_lab_close(&lab);
    hearth_fleet_output_free(&out);
    return st;
}

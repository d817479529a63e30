/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/hearthd_cmd_task.c - `hearthd task ...` and `hearthd round ...`:
 * they work on the store, and a serving hearthd notices within a second. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/ini.h"
#include "coordinator/hearthd_cmd.h"
#include "coordinator/registry.h"
#include "coordinator/round.h"
#include "privacy/accountant_zcdp.h"
#include "privacy/epsilons.h"

static const char *task_state(uint32_t state) {
    switch (state) {
    case HEARTH_TASK_ACTIVE: return "active";
    case HEARTH_TASK_PAUSED: return "paused";
    case HEARTH_TASK_DONE: return "done";
    default: return "?";
    }
}

static const char *round_phase(uint32_t phase) {
    switch (phase) {
    case HEARTH_ROUND_OPEN: return "open";
    case HEARTH_ROUND_FIXING: return "fixing";
    case HEARTH_ROUND_RELEASED: return "released";
    case HEARTH_ROUND_FAILED: return "failed";
    default: return "idle";
    }
}

/* A clip that follows the norms: where it is going, and what that costs. */
static void show_clip(const hearthd_args *a, const hearth_task *t) {
    const hearth_adapt_clip *c = &t->adapt;
    const hearth_wire_privacy *p = &t->privacy;
    if (!c->on) return;
    hearthd_say(
        a,
        "  the clip follows     quantile %g of the norms, rate %g, from "
        "%g, within %g .. %g",
        c->quantile, c->rate, c->start, c->floor, c->top);
    if (p->n_coords)
        hearthd_say(
            a,
            "  its bit              s %u of Delta2 %.6g; noise x %.4g; "
            "a round sees the share +- %.3g",
            p->coord_max[0], sqrt((double)p->delta2_squared),
            hearth_noise_spread(p->bound_squared, p->delta2_squared),
            p->z * sqrt((double)p->delta2_squared) /
                (p->coord_max[0] * sqrt((double)t->round.stage[0].count_min)));
    else
        hearthd_say(a, "  its bit              none: the clip is frozen");
}

/* What the task's privacy numbers mean, in one line each. */
static void show_numbers(const hearthd_args *a, const hearth_task *t) {
    const hearth_wire_privacy *p = &t->privacy;
    char coordinator[24], release[24];
    hearthd_say(a, "  trained parameters   %llu (%llu bytes an upload)",
                (unsigned long long)p->d, (unsigned long long)t->payload_bytes);
    hearthd_say(a, "  z, clip, delta       %g, %g, %g", p->z, p->clip,
                p->delta);
    show_clip(a, t);
    hearthd_say(a,
                "  noise-to-signal      %.3g (noise on the mean of %u "
                "devices, in clips)",
                p->noise_to_signal, t->round.stage[0].count_min);
    hearthd_say(a,
                "  epsilon_coordinator  %s over %u rounds (what the "
                "coordinator learns about a device)",
                hearthd_epsilon(coordinator, p->epsilon_coordinator),
                t->rounds);
    hearthd_say(a,
                "  epsilon_release      %s (what a holder of the released "
                "adapter learns)",
                hearthd_epsilon(release, p->epsilon_release));
    hearthd_say(a,
                "  both                 delta %g, %s, unit %s, %u "
                "participations, no amplification claimed",
                p->delta, hearth_dp_relation_name(HEARTH_DP_REPLACE_ONE),
                HEARTH_PRIVACY_UNIT, t->rounds);
    hearthd_event(
        a, "task", "task", 's', t->name, "rounds", 'i', (long long)t->rounds,
        "d", 'i', (long long)p->d, "z", 'f', p->z, "clip", 'f', p->clip,
        "clip_quantile", 'f', t->adapt.quantile, "clip_start", 'f',
        t->adapt.on ? t->adapt.start : p->clip, "clip_bit", 'i',
        (long long)p->n_coords, "delta", 'f', p->delta, "noise_to_signal", 'f',
        p->noise_to_signal, "epsilon_coordinator", 'f', p->epsilon_coordinator,
        "epsilon_release", 'f', p->epsilon_release, "relation", 's',
        hearth_dp_relation_name(HEARTH_DP_REPLACE_ONE), "unit", 's',
        HEARTH_PRIVACY_UNIT, "participations", 'i', (long long)t->rounds,
        (const char *)NULL);
}

static hearth_status load_task(hearthd_state *s, const char *name,
                               hearth_task_row *row, hearth_task *t) {
    hearth_buf text = HEARTH_BUF_INIT(NULL);
    hearth_status st =
        hearth_coord_store_task(s->store, name, row, &text, &s->err);
    if (st == HEARTH_OK)
        st = hearth_task_parse(t, name, hearth_buf_str(&text), text.n,
                               row->a_seed, NULL, &s->err);
    else if (st == HEARTH_ENOTFOUND)
        (void)hearth_error_set(&s->err, st,
                               "no task '%s'; see `hearthd task list`", name);
    if (st == HEARTH_OK)
        st = hearth_registry_task_state(s->store, t, 0, NULL, &s->err);
    hearth_buf_free(&text);
    return st;
}

static int task_create(hearthd_args *a) {
    static hearthd_state s;
    static hearth_task t;
    hearth_task_row row;
    hearth_buf text = HEARTH_BUF_INIT(NULL);
    const char *file = hearthd_get(a, "-f", NULL);
    const uint8_t seed[32] = {0}; /* only to read the name */
    if (!file) return hearthd_usage(a, "-f TASK.ini is needed");
    hearth_status st = hearthd_open_publish(&s, a);
    if (st == HEARTH_OK) st = hearth_task_read_file(&text, file, &s.err);
    if (st == HEARTH_OK)
        st = hearth_task_parse(&t, file, hearth_buf_str(&text), text.n, seed,
                               NULL, &s.err);
    if (st == HEARTH_OK && !(t.privacy.epsilon_release < DBL_MAX))
        st = hearth_error_set(&s.err, HEARTH_EINVAL,
                              "%.100s: a round of one device promises nothing "
                              "about its release, and devices refuse it; let "
                              "[cohort] count begin at 2 or more",
                              file);
    if (st == HEARTH_OK)
        st = hearth_task_create(&s.env, file, hearth_buf_str(&text), text.n,
                                &s.err);
    hearth_buf_free(&text);
    if (st == HEARTH_OK) st = load_task(&s, t.name, &row, &t);
    if (st == HEARTH_OK) {
        hearthd_say(a, "Created task %s and released its start.", t.name);
        show_numbers(a, &t);
    }
    return hearthd_finish(a, &s, st);
}

static hearth_status show_task_row(void *ud, const hearth_task_row *row) {
    char made[21];
    hearth_clock_format(made, row->created_ms);
    hearthd_say(ud, "%-32s %-8s %s", row->name, task_state(row->state), made);
    hearthd_event(ud, "task", "task", 's', row->name, "state", 's',
                  task_state(row->state), "created_ms", 'i',
                  (long long)row->created_ms, (const char *)NULL);
    return HEARTH_OK;
}

static int task_list(hearthd_args *a) {
    static hearthd_state s;
    hearth_status st = hearthd_open_store(&s, a);
    hearthd_say(a, "%-32s %-8s %s", "TASK", "STATE", "CREATED");
    if (st == HEARTH_OK)
        st = hearth_coord_store_tasks(s.store, show_task_row, a, &s.err);
    return hearthd_finish(a, &s, st);
}

static int task_show(hearthd_args *a) {
    static hearthd_state s;
    static hearth_task t;
    hearth_task_row row;
    hearth_status st = hearthd_open_store(&s, a);
    if (st == HEARTH_OK) st = load_task(&s, a->word[0], &row, &t);
    if (st == HEARTH_OK) {
        hearthd_say(a, "Task %s is %s.", t.name, task_state(row.state));
        show_numbers(a, &t);
    }
    return hearthd_finish(a, &s, st);
}

static int set_state(hearthd_args *a, uint32_t from, uint32_t to) {
    static hearthd_state s;
    static hearth_task t;
    hearth_task_row row;
    hearth_status st = hearthd_open_store(&s, a);
    if (st == HEARTH_OK) st = load_task(&s, a->word[0], &row, &t);
    if (st == HEARTH_OK && row.state != from)
        st = hearth_error_set(&s.err, HEARTH_ESTATE,
                              "task '%s' is %s; only one that is %s can be set "
                              "to %s",
                              row.name, task_state(row.state), task_state(from),
                              task_state(to));
    if (st == HEARTH_OK)
        st = hearth_coord_store_set_task_state(s.store, row.name, to, &s.err);
    if (st == HEARTH_OK) {
        hearthd_say(a, "Task %s is %s.", row.name, task_state(to));
        hearthd_event(a, "task", "task", 's', row.name, "state", 's',
                      task_state(to), (const char *)NULL);
    }
    return hearthd_finish(a, &s, st);
}

static int task_pause(hearthd_args *a) {
    return set_state(a, HEARTH_TASK_ACTIVE, HEARTH_TASK_PAUSED);
}

static int task_resume(hearthd_args *a) {
    return set_state(a, HEARTH_TASK_PAUSED, HEARTH_TASK_ACTIVE);
}

/* ---- rounds ------------------------------------------------------------ */

typedef struct {
    hearthd_args *a;
    uint64_t only; /* round to show; 0: all */
    bool found;
} round_walk;

static hearth_status show_round_row(void *ud, const hearth_round_row *r) {
    round_walk *w = ud;
    char opened[21];
    if (w->only && r->round != w->only) return HEARTH_OK;
    if (!w->found)
        hearthd_say(w->a, "%6s  %-9s %8s %9s  %s", "ROUND", "PHASE", "COUNTED",
                    "SEQUENCE", "OPENED");
    w->found = true;
    hearth_clock_format(opened, r->opened_ms);
    hearthd_say(w->a, "%6llu  %-9s %8u %9llu  %s", (unsigned long long)r->round,
                round_phase(r->phase), r->counted,
                (unsigned long long)r->sequence, opened);
    hearthd_event(w->a, "round", "task", 's', r->task, "round", 'i',
                  (long long)r->round, "phase", 's', round_phase(r->phase),
                  "counted", 'i', (long long)r->counted, "sequence", 'i',
                  (long long)r->sequence, "start_sequence", 'i',
                  (long long)r->start_sequence, "opened_ms", 'i',
                  (long long)r->opened_ms, "closed_ms", 'i',
                  (long long)r->closed_ms, (const char *)NULL);
    return HEARTH_OK;
}

static int walk_rounds(hearthd_args *a, uint64_t only) {
    static hearthd_state s;
    static hearth_task t;
    hearth_task_row row;
    round_walk w = {a, only, false};
    hearth_status st = hearthd_open_store(&s, a);
    if (st == HEARTH_OK) st = load_task(&s, a->word[0], &row, &t);
    if (st == HEARTH_OK)
        st = hearth_coord_store_rounds(s.store, a->word[0], show_round_row, &w,
                                       &s.err);
    if (st == HEARTH_OK && only && !w.found)
        st = hearth_error_set(&s.err, HEARTH_ENOTFOUND,
                              "task '%s' has no round %llu; see `hearthd round "
                              "list %s`",
                              a->word[0], (unsigned long long)only, a->word[0]);
    if (st == HEARTH_OK && !w.found)
        hearthd_say(a, "No round yet: devices open one when they check in.");
    return hearthd_finish(a, &s, st);
}

static int round_list(hearthd_args *a) {
    return walk_rounds(a, 0);
}

static int round_show(hearthd_args *a) {
    int64_t n = 0;
    if (hearth_parse_i64(a->word[1], &n) != HEARTH_OK || n < 1)
        return hearthd_usage(a, "'%s' is no number of a round", a->word[1]);
    return walk_rounds(a, (uint64_t)n);
}

hearthd_command hearthd_commands_task[] = {
    {.name = "task create",
     .words = "",
     .what = "Create a task from a TASK.ini and release its start.",
     .example = "task create -c coord/hearthd.ini -f diary.ini",
     .option = {{"-f", "FILE", "the TASK.ini", NULL}},
     .run = task_create},
    {.name = "task list",
     .words = "",
     .what = "List the tasks.",
     .example = "task list -c coord/hearthd.ini",
     .run = task_list},
    {.name = "task show",
     .words = "TASK",
     .what = "Show a task with its privacy numbers.",
     .example = "task show diary",
     .min_words = 1,
     .max_words = 1,
     .run = task_show},
    {.name = "task pause",
     .words = "TASK",
     .what = "Open no new round; the present one ends early.",
     .example = "task pause diary",
     .min_words = 1,
     .max_words = 1,
     .run = task_pause},
    {.name = "task resume",
     .words = "TASK",
     .what = "Go on with a paused task.",
     .example = "task resume diary",
     .min_words = 1,
     .max_words = 1,
     .run = task_resume},
    {.name = "round list",
     .words = "TASK",
     .what = "List the rounds of a task.",
     .example = "round list diary",
     .min_words = 1,
     .max_words = 1,
     .run = round_list},
    {.name = "round show",
     .words = "TASK ROUND",
     .what = "Show one round.",
     .example = "round show diary 3",
     .min_words = 2,
     .max_words = 2,
     .run = round_show},
    {.name = NULL},
};

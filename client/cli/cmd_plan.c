/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/cmd_plan.c - `hearth plan`: what a run holds and how long it
 * takes, before it runs.
 *
 * Time is an estimate: multiply-adds of the chosen plan over the speed of the
 * kernels, measured here for a moment on a product of the model's shape. */
#include <string.h>

#include "client/cli/train_flags.h"
#include "client/train/trainer.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/mem.h"

typedef struct {
    hearth_cli *cli;
    hearth_train_flags f;
    const char *data;
    uint64_t records;
    hearth_train_config cfg;
} planning;

/* One product on every thread at once, as training does. */
typedef struct {
    const hearth_kernels *k;
    size_t rows, side;
    const float *w; /* [side, side] */
    float *x;       /* [n_threads][rows, side], y behind */
} speed_job;

static void multiply(void *ud, size_t tile, size_t worker) {
    const speed_job *j = ud;
    float *x = j->x + tile * 2 * j->rows * j->side;
    (void)worker;
    j->k->gemm_nt(j->rows, j->side, j->side, 1.0f, x, j->side, j->w, j->side, 0,
                  x + j->rows * j->side, j->side);
}

/* Multiply-adds a second, over a few milliseconds. */
static double measure_once(speed_job *j, hearth_pool *pool,
                           const hearth_clock *clock) {
    size_t n = hearth_pool_size(pool);
    int64_t from = hearth_clock_mono(clock), now;
    uint64_t runs = 0;
    do {
        hearth_pool_run(pool, n, multiply, j);
        runs += n;
        now = hearth_clock_mono(clock);
    } while (now - from < 8);
    return (double)(j->rows * j->side * j->side) * (double)runs /
           ((double)(now - from) / 1000.0);
}

/* The same of all threads at their best. */
static double measure_speed(const hearth_kernels *k, hearth_pool *pool,
                            size_t hidden) {
    speed_job j = {.k = k, .rows = 64, .side = hidden < 512 ? hidden : 512};
    size_t n = hearth_pool_size(pool);
    hearth_clock clock = hearth_clock_system();
    float *all = hearth_mem_array(NULL, j.side * (j.side + 2 * n * j.rows),
                                  sizeof(*all));
    double best = 0.0;
    if (!all) return 0.0;
    memset(all, 0, j.side * (j.side + 2 * n * j.rows) * sizeof(*all));
    j.w = all;
    j.x = all + j.side * j.side;
    for (int i = 0; i < 6; i++) { /* the best of them: others may compute too */
        double rate = measure_once(&j, pool, &clock);
        if (rate > best) best = rate;
    }
    hearth_mem_free(NULL, all);
    return best;
}

/* What the chosen plan multiplies, layers that are done again included. */
static double seconds_per_epoch(const planning *p, const hearth_memplan *plan,
                                uint64_t tokens) {
    const hearth_model_config *c = hearth_model_get_config(p->f.wb.model);
    double speed = measure_speed(p->f.wb.kernels, p->f.wb.pool, c->hidden_size);
    return speed > 0 ? plan->choice.work * (double)tokens / speed : 0.0;
}

static void show(planning *p, const hearth_memplan *plan, uint64_t tokens) {
    size_t budget = (size_t)p->f.memory_budget;
    size_t seq =
        hearth_trainer_longest_seq(p->f.wb.model, p->f.wb.adapter,
                                   (size_t)p->records, &p->cfg, p->f.wb.pool);
    double s = seconds_per_epoch(p, plan, tokens);
    char text[32];
    hearth_train_flags_show_plan(p->cli, plan, budget, true);
    hearth_event_begin(p->cli, "estimate");
    hearth_event_u64(p->cli, "tokens_per_epoch", tokens);
    hearth_event_f64(p->cli, "seconds_per_epoch", s);
    hearth_event_u64(p->cli, "longest_seq", seq);
    hearth_event_end(p->cli);
    hearth_cli_say(p->cli, "an epoch of %llu tokens: about %.*f s",
                   (unsigned long long)tokens, s < 1 ? 3 : 1, s);
    const char *room = budget
                           ? hearth_memplan_format(budget, text, sizeof(text))
                           : "without a budget";
    if (seq)
        hearth_cli_say(p->cli, "longest --seq that fits %s: %zu", room, seq);
    else
        hearth_cli_say(p->cli, "no --seq fits %s", room);
}

/* With --data the records are read; without, --records of --seq tokens. */
static hearth_status make_plan(planning *p, hearth_memplan *plan,
                               uint64_t *tokens, hearth_error *err) {
    hearth_workbench *wb = &p->f.wb;
    hearth_dataset *ds = NULL;
    hearth_status st = hearth_workbench_open(
        wb, p->data ? HEARTH_WORKBENCH_TOKENIZER : 0, err);
    if (st != HEARTH_OK) return st;
    if ((st = hearth_train_flags_config(&p->f, &p->cfg, err)) != HEARTH_OK)
        return st;
    if ((st = hearth_train_flags_adapter(&p->f, err)) != HEARTH_OK) return st;
    if (!p->data) {
        *tokens = p->records * p->cfg.seq;
        return hearth_trainer_plan_sizes(plan, wb->model, wb->adapter,
                                         (size_t)p->records, &p->cfg, wb->pool,
                                         err);
    }
    st = hearth_workbench_dataset(wb, p->cli, p->data, false, &ds, err);
    if (st == HEARTH_OK) {
        *tokens = hearth_dataset_get_report(ds)->n_tokens;
        p->records = hearth_dataset_n_docs(ds);
        st = hearth_trainer_plan(plan, wb->model, wb->adapter, ds, &p->cfg,
                                 wb->pool, err);
    }
    hearth_dataset_free(ds);
    return st;
}

static int execute(planning *p) {
    hearth_error err = {0};
    hearth_memplan plan = HEARTH_MEMPLAN_INIT;
    uint64_t tokens = 0;
    int rc = HEARTH_EXIT_OK;
    hearth_status st = make_plan(p, &plan, &tokens, &err);
    if (plan.n) show(p, &plan, tokens);
    if (st != HEARTH_OK) rc = hearth_cli_fail(p->cli, st, &err, NULL);
    hearth_workbench_close(&p->f.wb);
    return rc;
}

int hearth_cmd_plan(hearth_cli *cli, int argc, char **argv) {
    planning p = {.cli = cli, .f = HEARTH_TRAIN_FLAGS_INIT, .records = 1000};
    const hearth_flag flags[] = {
        HEARTH_TRAIN_FLAGS(p.f),
        HEARTH_FLAG_STR("data", "FILE", "JSON lines to count", &p.data),
        HEARTH_FLAG_U64("records", "N", "without --data: records of --seq",
                        &p.records, 1, UINT32_MAX),
    };
    const hearth_usage u = {
        .command = "plan",
        .summary = "what a training run needs, before it runs",
        .arguments = "--model DIR [--data FILE] [flags of train]",
        .example = "hearth plan --model base --rank 8 --seq 256 "
                   "--memory-budget 512M",
        .flags = flags,
        .n_flags = sizeof(flags) / sizeof(*flags),
        .required = "model"};
    int rc;
    if (!hearth_cli_parse(cli, &u, argc, argv, &rc)) return rc;
    return execute(&p);
}

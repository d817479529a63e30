/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/cmd_plan.c - `hearth plan`: what a run holds and how long it
 * takes, before it runs. */
#include "client/cli/train_flags.h"
#include "client/train/trainer.h"
#include "common/file.h"

typedef struct {
    hearth_cli *cli;
    hearth_train_flags f;
    const char *data;
    uint64_t records;
    hearth_train_config cfg;
} planning;

/* What the chosen plan multiplies, layers that are done again included; or what
 * it reads, where that takes longer. */
static double seconds_per_epoch(const planning *p, const hearth_memplan *plan,
                                uint64_t tokens) {
    hearth_train_config as_planned = p->cfg;
    as_planned.base = plan->choice.base;
    double speed = hearth_trainer_speed(p->f.wb.model, &as_planned,
                                        plan->choice.max_tokens, p->f.wb.pool);
    double s = speed > 0 ? plan->choice.work * (double)tokens / speed : 0.0;
    double reading =
        plan->choice.read_token * (double)tokens / HEARTH_MEMPLAN_DISK_RATE;
    return speed > 0 && reading > s ? reading : s;
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

/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/cmd_eval.c - `hearth eval`. */
#include <string.h>

#include "client/cli/workbench.h"
#include "client/train/evaluate.h"
#include "common/file.h"

static bool stop_asked(void *ud) {
    (void)ud;
    return hearth_cli_interrupted();
}

static void show_progress(void *ud, uint64_t done, uint64_t total) {
    hearth_progress(ud, done, total, "records");
}

static void show(hearth_cli *cli, const hearth_eval_result *r) {
    hearth_progress_end(cli);
    hearth_event_begin(cli, "eval");
    hearth_event_f64(cli, "loss", r->loss);
    hearth_event_f64(cli, "perplexity", r->perplexity);
    hearth_event_f64(cli, "token_accuracy", r->token_accuracy);
    if (r->choices)
        hearth_event_f64(cli, "choice_accuracy",
                         (double)r->choice_hits / (double)r->choices);
    else
        hearth_event_raw(cli, "choice_accuracy", "null");
    hearth_event_u64(cli, "choices", r->choices);
    hearth_event_u64(cli, "tokens", r->tokens);
    hearth_event_u64(cli, "records", r->records);
    hearth_event_end(cli);
    hearth_cli_say(cli,
                   "loss %.4f, perplexity %.2f, token accuracy %.1f %% over "
                   "%llu tokens of %llu records",
                   r->loss, r->perplexity, 100.0 * r->token_accuracy,
                   (unsigned long long)r->tokens,
                   (unsigned long long)r->records);
    if (r->choices)
        hearth_cli_say(cli, "choice accuracy %.1f %% of %llu questions",
                       100.0 * (double)r->choice_hits / (double)r->choices,
                       (unsigned long long)r->choices);
}

static int execute(hearth_cli *cli, hearth_workbench *wb, const char *data,
                   uint64_t batch, bool streamed) {
    hearth_error err = {0};
    hearth_eval_result r;
    hearth_dataset *ds = NULL;
    char path[1024];
    int rc = HEARTH_EXIT_OK;
    hearth_evaluate_options opt = {.batch = (size_t)batch,
                                   .streamed = streamed,
                                   .stop = stop_asked,
                                   .progress = show_progress,
                                   .ud = cli};
    wb->cli = cli;
    hearth_status st = hearth_workbench_open(
        wb, HEARTH_WORKBENCH_TOKENIZER | HEARTH_WORKBENCH_ADAPTERS, &err);
    opt.reference_kernels = hearth_workbench_is_reference(wb);
    if (st == HEARTH_OK && hearth_file_is_dir(data)) {
        st = hearth_file_join(path, sizeof(path), data, "valid.jsonl");
        data = path;
    }
    if (st == HEARTH_OK)
        st = hearth_workbench_dataset(wb, cli, data, true, &ds, &err);
    if (st == HEARTH_OK) hearth_workbench_say_records(cli, data, ds);
    if (st == HEARTH_OK)
        st = hearth_evaluate(wb->model, wb->adapter, ds, &opt, wb->pool, &r,
                             NULL, &err);
    if (st == HEARTH_OK)
        show(cli, &r);
    else
        rc = hearth_cli_fail(cli, st, &err, NULL);
    hearth_dataset_free(ds);
    hearth_workbench_close(wb);
    return rc;
}

int hearth_cmd_eval(hearth_cli *cli, int argc, char **argv) {
    hearth_workbench wb = HEARTH_WORKBENCH_INIT;
    const char *data = NULL, *weights = "mapped";
    uint64_t batch = 8;
    const hearth_flag flags[] = {
        HEARTH_WORKBENCH_FLAGS(wb),
        HEARTH_WORKBENCH_RECORD_FLAGS(wb),
        HEARTH_FLAG_LIST("adapter", "DIR[:weight]", "may be given again",
                         &wb.adapters),
        HEARTH_FLAG_STR("data", "FILE|DIR",
                        "JSON lines, or a folder with "
                        "valid.jsonl",
                        &data),
        HEARTH_FLAG_U64("batch", "N", "records of a pass", &batch, 1, 65536),
        HEARTH_FLAG_CHOICE("weights", "mapped|streamed",
                           "all of the base, or two layers at a time",
                           &weights),
    };
    const hearth_usage u = {
        .command = "eval",
        .summary = "how well a model predicts records",
        .arguments = "--model DIR [--adapter DIR] --data FILE [flags]",
        .example = "hearth eval --model base --adapter my-adapter --data "
                   "valid.jsonl",
        .flags = flags,
        .n_flags = sizeof(flags) / sizeof(*flags),
        .required = "model data"};
    int rc;
    if (!hearth_cli_parse(cli, &u, argc, argv, &rc)) return rc;
    return execute(cli, &wb, data, batch, strcmp(weights, "streamed") == 0);
}

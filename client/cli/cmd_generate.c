/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/cmd_generate.c - `hearth generate`. */
#include <string.h>

#include "client/cli/workbench.h"
#include "client/infer/generate.h"
#include "client/tokenizer/chat_template.h"
#include "common/clock.h"

typedef struct {
    hearth_cli *cli;
    hearth_workbench wb;
    const char *prompt;
    hearth_cli_list stops;
    uint64_t max_tokens, top_k, seed, context;
    double temperature, top_p, repeat_penalty;
    bool ignore_eos;
} generating;

/* Text as it comes; an event for each piece with --json. */
static bool on_text(void *ud, const char *utf8, size_t n) {
    hearth_cli *cli = ud;
    if (cli->json) {
        hearth_event_begin(cli, "text");
        hearth_event_strn(cli, "text", utf8, n);
        hearth_event_end(cli);
    } else if (fwrite(utf8, 1, n, cli->out) != n || fflush(cli->out) != 0) {
        cli->out_failed = true;
    }
    return !cli->out_failed && !hearth_cli_interrupted();
}

/* A plain prompt as it is; with --template inside the template's markup. */
static hearth_status encode(generating *g, hearth_ids *ids, hearth_error *err) {
    size_t n = strlen(g->prompt);
    hearth_chat_template tmpl;
    if (strcmp(g->wb.template_name, "auto") == 0)
        return hearth_tokenizer_encode(g->wb.tokenizer, g->prompt, n, true, ids,
                                       err);
    hearth_status st =
        hearth_chat_template_parse(&tmpl, g->wb.template_name, err);
    if (st != HEARTH_OK) return st;
    hearth_turn turn = {tmpl == HEARTH_TEMPLATE_PLAIN ? HEARTH_ROLE_PROMPT
                                                      : HEARTH_ROLE_USER,
                        g->prompt, n};
    return hearth_chat_encode(g->wb.tokenizer, tmpl, &turn, 1,
                              HEARTH_CHAT_GENERATE, ids, NULL, err);
}

static const char *finish_name(hearth_finish f) {
    switch (f) {
    case HEARTH_FINISH_LENGTH: return "length";
    case HEARTH_FINISH_EOS: return "end";
    case HEARTH_FINISH_STOP: return "stop";
    case HEARTH_FINISH_CONTEXT: return "context";
    case HEARTH_FINISH_CALLBACK: break;
    }
    return "interrupted";
}

static void show_done(generating *g, const hearth_generate_result *r,
                      double seconds) {
    hearth_event_begin(g->cli, "done");
    hearth_event_u64(g->cli, "prompt_tokens", r->n_prompt);
    hearth_event_u64(g->cli, "tokens", r->n_tokens);
    hearth_event_str(g->cli, "finish", finish_name(r->finish));
    hearth_event_f64(g->cli, "seconds", seconds);
    hearth_event_end(g->cli);
    hearth_cli_say(g->cli, "%s", "");
}

static hearth_status run(generating *g, hearth_ids *ids, hearth_error *err) {
    hearth_generator *gen = NULL;
    hearth_generate_result r = {0};
    hearth_clock clock = hearth_clock_system();
    hearth_generate_options o = HEARTH_GENERATE_OPTIONS_INIT;
    o.max_tokens = (size_t)g->max_tokens;
    o.temperature = g->temperature;
    o.top_p = g->top_p;
    o.top_k = (uint32_t)g->top_k;
    o.repeat_penalty = g->repeat_penalty;
    o.seed = g->seed;
    o.stop = g->stops.v;
    o.n_stop = g->stops.n;
    o.ignore_eos = g->ignore_eos;

    g->wb.cli = g->cli;
    hearth_status st = hearth_workbench_open(
        &g->wb, HEARTH_WORKBENCH_TOKENIZER | HEARTH_WORKBENCH_ADAPTERS, err);
    if (st == HEARTH_OK) st = encode(g, ids, err);
    if (st == HEARTH_OK)
        st = hearth_generator_open(&gen, g->wb.model, g->wb.adapter,
                                   g->wb.tokenizer, (size_t)g->context,
                                   g->wb.pool, g->wb.kernels, NULL, err);
    int64_t from = hearth_clock_mono(&clock);
    if (st == HEARTH_OK)
        st = hearth_generator_run(gen, ids->id, ids->n, &o, on_text, g->cli, &r,
                                  err);
    if (st == HEARTH_OK)
        show_done(g, &r, (double)(hearth_clock_mono(&clock) - from) / 1000.0);
    hearth_generator_close(gen);
    return st;
}

static int execute(generating *g) {
    hearth_error err = {0};
    hearth_ids ids;
    hearth_ids_init(&ids, NULL);
    hearth_status st = run(g, &ids, &err);
    int rc = HEARTH_EXIT_OK;
    if (st != HEARTH_OK) rc = hearth_cli_fail(g->cli, st, &err, NULL);
    hearth_ids_free(&ids);
    hearth_workbench_close(&g->wb);
    return rc;
}

int hearth_cmd_generate(hearth_cli *cli, int argc, char **argv) {
    generating g = {.cli = cli,
                    .wb = HEARTH_WORKBENCH_INIT,
                    .prompt = "",
                    .max_tokens = 128,
                    .top_p = 1.0,
                    .repeat_penalty = 1.0,
                    .seed = 1};
    const hearth_flag flags[] = {
        HEARTH_WORKBENCH_FLAGS(g.wb),
        HEARTH_FLAG_LIST("adapter", "DIR[:weight]", "may be given again",
                         &g.wb.adapters),
        HEARTH_FLAG_STR("prompt", "TEXT", "what is continued", &g.prompt),
        HEARTH_FLAG_STR("template", "NAME", "put the prompt in this markup",
                        &g.wb.template_name),
        HEARTH_FLAG_U64("max-tokens", "N", "new tokens at most", &g.max_tokens,
                        1, 1u << 20),
        HEARTH_FLAG_F64("temperature", "X", "0 = always the likeliest",
                        &g.temperature, 0.0, 100.0),
        HEARTH_FLAG_F64("top-p", "X", "likeliest tokens of this mass", &g.top_p,
                        1e-6, 1.0),
        HEARTH_FLAG_U64("top-k", "N", "likeliest N tokens, 0 = all", &g.top_k,
                        0, UINT32_MAX),
        HEARTH_FLAG_F64("repeat-penalty", "X", "above 1: repeats less",
                        &g.repeat_penalty, 0.01, 100.0),
        HEARTH_FLAG_LIST("stop", "TEXT", "end before it; may be given again",
                         &g.stops),
        HEARTH_FLAG_U64("seed", "N", "of the draws", &g.seed, 0, UINT64_MAX),
        HEARTH_FLAG_U64("context", "N", "positions at most, 0 = the model's",
                        &g.context, 0, 1u << 22),
        HEARTH_FLAG_BOOL("ignore-eos", "go on after an end token",
                         &g.ignore_eos),
    };
    const hearth_usage u = {
        .command = "generate",
        .summary = "continue a text",
        .arguments = "--model DIR [--adapter DIR] --prompt TEXT [flags]",
        .example = "hearth generate --model base --adapter my-adapter "
                   "--prompt \"Today I\" --max-tokens 40",
        .flags = flags,
        .n_flags = sizeof(flags) / sizeof(*flags),
        .required = "model"};
    int rc;
    if (!hearth_cli_parse(cli, &u, argc, argv, &rc)) return rc;
    return execute(&g);
}

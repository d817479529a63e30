/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/cmd_generate.c - `hearth generate`. */
#include <string.h>

#include "client/cli/sampling.h"
#include "common/clock.h"

typedef struct {
    hearth_cli *cli;
    hearth_workbench wb;
    const char *prompt;
    hearth_sampling s;
} generating;

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
    hearth_sampling_end_of_turn(&g->s, g->wb.tokenizer, tmpl);
    hearth_turn turn = {tmpl == HEARTH_TEMPLATE_PLAIN ? HEARTH_ROLE_PROMPT
                                                      : HEARTH_ROLE_USER,
                        g->prompt, n};
    return hearth_chat_encode(g->wb.tokenizer, tmpl, &turn, 1,
                              HEARTH_CHAT_GENERATE, ids, NULL, err);
}

static hearth_status run(generating *g, hearth_ids *ids, hearth_error *err) {
    hearth_generator *gen = NULL;
    hearth_generate_result r = {0};
    hearth_clock clock = hearth_clock_system();

    g->wb.cli = g->cli;
    hearth_status st = hearth_workbench_open(
        &g->wb, HEARTH_WORKBENCH_TOKENIZER | HEARTH_WORKBENCH_ADAPTERS, err);
    if (st == HEARTH_OK) st = encode(g, ids, err);
    if (st == HEARTH_OK)
        st = hearth_generator_open(&gen, g->wb.model, g->wb.adapter,
                                   g->wb.tokenizer, (size_t)g->s.context,
                                   g->wb.pool, g->wb.kernels, NULL, err);
    hearth_generate_options o = hearth_sampling_options(&g->s);
    int64_t from = hearth_clock_mono(&clock);
    if (st == HEARTH_OK)
        st = hearth_generator_run(gen, ids->id, ids->n, &o,
                                  hearth_sampling_on_text, g->cli, &r, err);
    if (st == HEARTH_OK)
        hearth_sampling_done(
            g->cli, &r, (double)(hearth_clock_mono(&clock) - from) / 1000.0);
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
                    .s = HEARTH_SAMPLING_INIT};
    const hearth_flag flags[] = {
        HEARTH_WORKBENCH_FLAGS(g.wb),
        HEARTH_FLAG_LIST("adapter", "DIR[:weight]", "may be given again",
                         &g.wb.adapters),
        HEARTH_FLAG_STR("prompt", "TEXT", "what is continued", &g.prompt),
        HEARTH_FLAG_STR("template", "NAME", "put the prompt in this markup",
                        &g.wb.template_name),
        HEARTH_SAMPLING_FLAGS(g.s),
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

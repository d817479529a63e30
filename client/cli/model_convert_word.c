/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/model_convert_word.c - `hearth model convert`. */
#include <string.h>

#include "client/cli/model_words.h"
#include "client/model/model_convert.h"
#include "common/error.h"

static hearth_status convert(hearth_cli *cli, const char *dir, const char *type,
                             const char *out, hearth_error *err) {
    hearth_model *m = NULL;
    hearth_quant_type q;
    if (hearth_quant_parse(type, &q) != HEARTH_OK)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "--type %.20s: give f32, f16, bf16, q8_0 or "
                                "q4_0",
                                type);
    hearth_status st = hearth_model_open(&m, dir, NULL, err);
    if (st == HEARTH_OK) st = hearth_model_convert(m, q, out, NULL, err);
    hearth_model_close(m);
    if (st != HEARTH_OK) return st;
    hearth_event_begin(cli, "converted");
    hearth_event_str(cli, "out", out);
    hearth_event_str(cli, "type", hearth_quant_name(q));
    hearth_event_end(cli);
    hearth_cli_say(cli, "%s: written as %s", out, hearth_quant_name(q));
    return HEARTH_OK;
}

int hearth_model_word_convert(hearth_cli *cli, int argc, char **argv) {
    const char *dir = NULL, *type = "f16", *out = NULL;
    const hearth_flag flags[] = {
        HEARTH_FLAG_STR("model", "DIR|FILE", "Hugging Face folder or GGUF",
                        &dir),
        HEARTH_FLAG_STR("type", "TYPE", "f32, f16, bf16, q8_0 or q4_0", &type),
        HEARTH_FLAG_STR("out", "FILE", "the new .gguf file", &out)};
    const hearth_usage u = {
        .command = "model convert",
        .summary = "a model as one GGUF file",
        .arguments = "--model DIR --type q8_0 --out F.gguf",
        .example = "hearth model convert --model base --type q8_0 --out "
                   "base-q8_0.gguf",
        .flags = flags,
        .n_flags = sizeof(flags) / sizeof(*flags),
        .required = "model out"};
    hearth_error err = {0};
    int rc;
    if (!hearth_cli_parse(cli, &u, argc, argv, &rc)) return rc;
    size_t n = strlen(out);
    if (n < 6 || strcmp(out + n - 5, ".gguf") != 0)
        return hearth_cli_usage_error(cli, "--out must end in .gguf");
    hearth_status st = convert(cli, dir, type, out, &err);
    return st == HEARTH_OK ? HEARTH_EXIT_OK
                           : hearth_cli_fail(cli, st, &err, NULL);
}

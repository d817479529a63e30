/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/adapter_export_word.c - `hearth adapter export`. */
#include <stdlib.h>
#include <string.h>

#include "client/cli/adapter_words.h"
#include "client/cli/workbench.h"
#include "client/model/gguf_model.h"
#include "client/model/model_convert.h"
#include "client/model/model_merge.h"
#include "common/adapter_gguf.h"
#include "common/file.h"

typedef struct {
    hearth_cli *cli;
    hearth_workbench wb;
    const char *format, *type, *out;
} exporting;

static hearth_merge_type merge_type(const char *type) {
    if (strcmp(type, "f32") == 0) return HEARTH_MERGE_F32;
    if (strcmp(type, "f16") == 0) return HEARTH_MERGE_F16;
    if (strcmp(type, "bf16") == 0) return HEARTH_MERGE_BF16;
    return HEARTH_MERGE_AS_BASE;
}

static bool ends_in_gguf(const char *path) {
    size_t n = strlen(path);
    return n > 5 && strcmp(path + n - 5, ".gguf") == 0;
}

/* A GGUF file of the merged model, by way of a folder beside it that is gone
 * afterwards. */
static hearth_status merge_to_gguf(exporting *e, hearth_error *err) {
    char folder[1024];
    hearth_model *merged = NULL;
    hearth_quant_type q = HEARTH_QUANT_F16;
    size_t n = strlen(e->out);
    static const char tail[] = ".merging";
    if (n + sizeof(tail) > sizeof(folder))
        return hearth_error_set(err, HEARTH_ETOOBIG,
                                "the path of --out is too long");
    memcpy(folder, e->out, n);
    memcpy(folder + n, tail, sizeof(tail));
    if (hearth_file_exists(folder) || hearth_file_is_dir(folder))
        return hearth_error_set(err, HEARTH_EEXISTS,
                                "%.200s is in the way; remove it", folder);
    if (strcmp(e->type, "auto") != 0 &&
        hearth_quant_parse(e->type, &q) != HEARTH_OK)
        return hearth_error_set(err, HEARTH_EINVAL, "--type %.20s", e->type);
    hearth_status st = hearth_model_merge(e->wb.model, e->wb.adapter,
                                          HEARTH_MERGE_F32, folder, NULL, err);
    if (st == HEARTH_OK) st = hearth_model_open(&merged, folder, NULL, err);
    if (st == HEARTH_OK)
        st = hearth_model_convert(merged, q, e->out, NULL, err);
    hearth_model_close(merged);
    hearth_status removed =
        hearth_file_remove_tree(folder, st == HEARTH_OK ? err : NULL);
    return st == HEARTH_OK ? removed : st;
}

static hearth_status write_peft(exporting *e, hearth_error *err) {
    hearth_peft_info info = e->wb.info;
    if (e->wb.model) {
        size_t n = strlen(e->wb.model_dir);
        hearth_workbench_base_id(&e->wb, info.base_id);
        if (!info.base[0] && n < sizeof(info.base))
            memcpy(info.base, e->wb.model_dir, n + 1);
    }
    return hearth_adapter_save(e->wb.adapter, e->out, &info, err);
}

static hearth_status write_gguf(exporting *e, hearth_error *err) {
    const hearth_model_config *c = hearth_model_get_config(e->wb.model);
    hearth_adapter_gguf_info info = {.arch = hearth_gguf_model_arch(c)};
    if (!info.arch)
        return hearth_error_set(err, HEARTH_EUNSUPPORTED,
                                "GGUF has no word for this architecture; use "
                                "--format peft");
    if (hearth_gguf_model_permutes(c, HEARTH_TENSOR_Q))
        info.permuted = c->head_dim;
    return hearth_adapter_export_gguf(e->wb.adapter, &info, e->out, NULL, err);
}

static hearth_status export(exporting *e, hearth_error *err) {
    if (strcmp(e->format, "gguf") == 0) return write_gguf(e, err);
    if (strcmp(e->format, "peft") == 0) return write_peft(e, err);
    if (ends_in_gguf(e->out)) return merge_to_gguf(e, err);
    return hearth_model_merge(e->wb.model, e->wb.adapter, merge_type(e->type),
                              e->out, NULL, err);
}

/* Without a model the shapes of the file count. */
static hearth_status open_all(exporting *e, hearth_error *err) {
    if (e->wb.model_dir)
        return hearth_workbench_open(&e->wb, HEARTH_WORKBENCH_ADAPTERS, err);
    hearth_status st = hearth_adapter_load(&e->wb.adapter, e->wb.adapters.v[0],
                                           NULL, 0, &e->wb.info, NULL, err);
    if (st == HEARTH_OK)
        hearth_workbench_say_applied(e->cli, e->wb.adapters.v[0], &e->wb.info,
                                     1.0f);
    return st;
}

static bool is_one_of_the_adapters(const exporting *e) {
    char *out = realpath(e->out, NULL);
    bool same = false;
    for (size_t i = 0; out && i < e->wb.adapters.n; i++) {
        char *dir = realpath(e->wb.adapters.v[i], NULL);
        same = same || (dir && strcmp(dir, out) == 0);
        free(dir);
    }
    free(out);
    return same;
}

static int check(exporting *e) {
    bool peft = strcmp(e->format, "peft") == 0;
    bool merged = strcmp(e->format, "merged") == 0;
    if (!e->wb.model_dir && !peft)
        return hearth_cli_usage_error(e->cli, "--format %s needs --model",
                                      e->format);
    if (!e->wb.model_dir && e->wb.adapters.n > 1)
        return hearth_cli_usage_error(e->cli, "several adapters need --model");
    if (strcmp(e->type, "auto") != 0 && !merged)
        return hearth_cli_usage_error(e->cli, "--type is for --format merged");
    if (strcmp(e->format, "gguf") == 0 && !ends_in_gguf(e->out))
        return hearth_cli_usage_error(e->cli, "--out must end in .gguf");
    if (is_one_of_the_adapters(e))
        return hearth_cli_usage_error(
            e->cli, "--out is the folder of --adapter; choose another");
    return HEARTH_EXIT_OK;
}

static int execute(exporting *e) {
    hearth_error err = {0};
    int rc = check(e);
    if (rc != HEARTH_EXIT_OK) return rc;
    e->wb.cli = e->cli;
    hearth_status st = open_all(e, &err);
    if (st == HEARTH_OK) st = export(e, &err);
    if (st == HEARTH_OK) {
        hearth_event_begin(e->cli, "exported");
        hearth_event_str(e->cli, "out", e->out);
        hearth_event_str(e->cli, "format", e->format);
        hearth_event_u64(e->cli, "modules", e->wb.adapter->n_pairs);
        hearth_event_end(e->cli);
        hearth_cli_say(e->cli, "%s: %s, %zu modules", e->out, e->format,
                       e->wb.adapter->n_pairs);
    } else {
        rc = hearth_cli_fail(e->cli, st, &err, NULL);
    }
    hearth_workbench_close(&e->wb);
    return rc;
}

int hearth_adapter_word_export(hearth_cli *cli, int argc, char **argv) {
    exporting e = {.cli = cli, .wb = HEARTH_WORKBENCH_INIT, .type = "auto"};
    const hearth_flag flags[] = {
        HEARTH_WORKBENCH_FLAGS(e.wb),
        HEARTH_FLAG_LIST("adapter", "DIR[:weight]", "may be given again",
                         &e.wb.adapters),
        HEARTH_FLAG_CHOICE("format", "peft|gguf|merged",
                           "a folder for PEFT, a file for llama.cpp, a model",
                           &e.format),
        HEARTH_FLAG_CHOICE("type", "auto|f32|f16|bf16",
                           "of a merged model; auto: the base's (f16 in .gguf)",
                           &e.type),
        HEARTH_FLAG_STR("out", "DIR|FILE", "a folder; FILE.gguf for GGUF",
                        &e.out)};
    const hearth_usage u = {
        .command = "adapter export",
        .summary = "an adapter for PEFT, for llama.cpp, or merged",
        .arguments = "--adapter DIR --model DIR --format merged --out DIR",
        .example = "hearth adapter export --adapter my-adapter --model base "
                   "--format gguf --out my-adapter.gguf",
        .flags = flags,
        .n_flags = sizeof(flags) / sizeof(*flags),
        .required = "adapter format out"};
    int rc;
    if (!hearth_cli_parse(cli, &u, argc, argv, &rc)) return rc;
    return execute(&e);
}

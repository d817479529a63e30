/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/workbench.c - open what the flags name, in the order in which
 * errors are cheapest to find. */
#include "client/cli/workbench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "client/tokenizer/chat_template.h"
#include "common/adapter_combine.h"
#include "common/file.h"

#define DEFAULT_SEQ 256u

hearth_status hearth_workbench_combine(hearth_workbench *wb,
                                       const hearth_cli_list *list,
                                       hearth_adapter **out,
                                       hearth_error *err) {
    hearth_adapter *part[HEARTH_CLI_LIST_MAX] = {0};
    float weight[HEARTH_CLI_LIST_MAX];
    size_t n = list->n;
    hearth_status st = HEARTH_OK;
    *out = NULL;
    if (n == 0) return HEARTH_OK;
    for (size_t i = 0; i < n && st == HEARTH_OK; i++) {
        hearth_peft_info info;
        st = hearth_workbench_load(wb, list->v[i], &part[i], &weight[i], &info,
                                   err);
        if (i == 0) wb->info = info;
    }
    if (st == HEARTH_OK && n == 1 && !(weight[0] < 1.0f || weight[0] > 1.0f)) {
        *out = part[0];
        part[0] = NULL;
    } else if (st == HEARTH_OK) {
        st = hearth_adapter_combine(out, (const hearth_adapter *const *)part,
                                    weight, n, NULL, err);
    }
    for (size_t i = 0; i < n; i++) hearth_adapter_free(part[i]);
    return st;
}

hearth_status hearth_workbench_open(hearth_workbench *wb, unsigned parts,
                                    hearth_error *err) {
    wb->kernels = hearth_kernels_find(wb->kernels_name);
    if (!wb->kernels)
        return hearth_error_set(err, HEARTH_EUNSUPPORTED,
                                "kernels '%s' are not in this build; use "
                                "--kernels auto",
                                wb->kernels_name);
    hearth_status st =
        hearth_pool_open(&wb->pool, (size_t)wb->threads, NULL, err);
    if (st != HEARTH_OK) return st;
    st = hearth_model_open(&wb->model, wb->model_dir, NULL, err);
    if (st != HEARTH_OK) return st;
    uint64_t most = hearth_model_get_config(wb->model)->max_positions;
    if (wb->seq == 0) wb->seq = most < DEFAULT_SEQ ? most : DEFAULT_SEQ;
    if (parts & HEARTH_WORKBENCH_ADAPTERS)
        st = hearth_workbench_combine(wb, &wb->adapters, &wb->adapter, err);
    if (st == HEARTH_OK && parts & HEARTH_WORKBENCH_TOKENIZER)
        st = hearth_tokenizer_open(&wb->tokenizer, wb->model_dir, NULL, err);
    return st;
}

void hearth_workbench_close(hearth_workbench *wb) {
    hearth_tokenizer_close(wb->tokenizer);
    hearth_adapter_free(wb->adapter);
    hearth_model_close(wb->model);
    hearth_pool_close(wb->pool);
    wb->tokenizer = NULL;
    wb->adapter = NULL;
    wb->model = NULL;
    wb->pool = NULL;
}

/* Split "DIR:weight" when what follows the last colon is a number. */
static hearth_status split_weight(const char *text, char *dir, size_t cap,
                                  float *weight, hearth_error *err) {
    const char *colon = strrchr(text, ':');
    size_t n = strlen(text);
    char *end;
    *weight = 1.0f;
    if (colon && colon[1]) {
        double w = strtod(colon + 1, &end);
        if (!*end && isfinite(w)) {
            *weight = (float)w;
            n = (size_t)(colon - text);
        }
    }
    if (n >= cap)
        return hearth_error_set(err, HEARTH_ETOOBIG,
                                "the adapter's path is too long");
    memcpy(dir, text, n);
    dir[n] = 0;
    return HEARTH_OK;
}

void hearth_workbench_say_applied(hearth_cli *cli, const char *dir,
                                  const hearth_peft_info *info, float weight) {
    hearth_event_begin(cli, "adapter");
    hearth_event_str(cli, "adapter", dir);
    hearth_event_f64(cli, "weight", (double)weight);
    hearth_event_u64(cli, "applied", info->n_applied);
    hearth_event_u64(cli, "tensors", info->n_tensors);
    hearth_event_end(cli);
    const char *slash = strrchr(dir, '/'), *name = dir;
    if (slash && slash[1]) name = slash + 1;
    if (!cli->json)
        hearth_cli_note(cli, "adapter %.40s: applied %zu of %zu tensors", name,
                        info->n_applied, info->n_tensors);
}

hearth_status hearth_workbench_load(hearth_workbench *wb, const char *text,
                                    hearth_adapter **out, float *weight,
                                    hearth_peft_info *info, hearth_error *err) {
    char dir[1024], base[65];
    size_t n_modules = 0;
    *out = NULL;
    hearth_status st = split_weight(text, dir, sizeof(dir), weight, err);
    if (st != HEARTH_OK) return st;
    const hearth_module_info *modules =
        hearth_model_modules(wb->model, &n_modules);
    st = hearth_adapter_load(out, dir, modules, n_modules, info, NULL, err);
    if (st != HEARTH_OK) return st;
    hearth_workbench_base_id(wb, base);
    if (!info->base_id[0] || strcmp(base, info->base_id) == 0) {
        if (wb->cli) hearth_workbench_say_applied(wb->cli, dir, info, *weight);
        return HEARTH_OK;
    }
    hearth_adapter_free(*out);
    *out = NULL;
    return hearth_error_set(err, HEARTH_EMISMATCH,
                            "%s was trained on base %.16s.., %s is %.16s..; "
                            "give that base with --model",
                            dir, info->base_id, wb->model_dir, base);
}

void hearth_workbench_base_id(const hearth_workbench *wb, char out[65]) {
    hearth_model_base_id(wb->model, out);
}

bool hearth_workbench_is_reference(const hearth_workbench *wb) {
    return wb->kernels == hearth_kernels_reference();
}

static void note_report(hearth_cli *cli, const char *path,
                        const hearth_dataset_report *r, uint64_t seq) {
    if (r->n_truncated)
        hearth_cli_note(cli,
                        "%s: %llu of %llu records are longer than %llu tokens "
                        "and lost %llu; use a larger --seq to keep them whole",
                        path, (unsigned long long)r->n_truncated,
                        (unsigned long long)r->n_records,
                        (unsigned long long)seq,
                        (unsigned long long)r->n_tokens_cut);
    if (r->n_answers_cut)
        hearth_cli_note(cli,
                        "%s: %llu answers are too long by themselves and "
                        "lost their end",
                        path, (unsigned long long)r->n_answers_cut);
    if (r->n_answers_lost)
        hearth_cli_note(cli,
                        "%s: %llu earlier answers of conversations were "
                        "left out",
                        path, (unsigned long long)r->n_answers_lost);
    if (r->n_skipped)
        hearth_cli_note(cli, "%s: %llu records hold nothing to learn from",
                        path, (unsigned long long)r->n_skipped);
}

void hearth_workbench_say_records(hearth_cli *cli, const char *path,
                                  const hearth_dataset *ds) {
    const hearth_dataset_report *r = hearth_dataset_get_report(ds);
    hearth_event_begin(cli, "records");
    hearth_event_str(cli, "path", path);
    hearth_event_u64(cli, "records", r->n_records);
    hearth_event_u64(cli, "documents", r->n_documents);
    hearth_event_u64(cli, "tokens", r->n_tokens);
    hearth_event_u64(cli, "supervised", r->n_supervised);
    hearth_event_u64(cli, "split", r->n_split);
    hearth_event_u64(cli, "truncated", r->n_truncated);
    hearth_event_u64(cli, "tokens_cut", r->n_tokens_cut);
    hearth_event_u64(cli, "answers_cut", r->n_answers_cut);
    hearth_event_u64(cli, "answers_lost", r->n_answers_lost);
    hearth_event_u64(cli, "skipped", r->n_skipped);
    hearth_event_end(cli);
}

hearth_status hearth_workbench_dataset(hearth_workbench *wb, hearth_cli *cli,
                                       const char *path, bool all_choices,
                                       hearth_dataset **out,
                                       hearth_error *err) {
    hearth_dataset_config cfg = HEARTH_DATASET_CONFIG_INIT;
    const hearth_model_config *mc = hearth_model_get_config(wb->model);
    cfg.max_tokens = (size_t)wb->seq;
    cfg.all_choices = all_choices;
    cfg.loss_on =
        strcmp(wb->loss_on, "all") == 0 ? HEARTH_LOSS_ALL : HEARTH_LOSS_ANSWER;
    *out = NULL;
    hearth_status st =
        hearth_chat_template_parse(&cfg.tmpl, wb->template_name, err);
    if (st != HEARTH_OK)
        return hearth_error_set(err, st,
                                "--template %.40s: give auto, plain, chatml, "
                                "llama3, gemma or smollm",
                                wb->template_name);
    if (wb->seq > mc->max_positions)
        return hearth_error_set(err, HEARTH_ETOOBIG,
                                "--seq %llu is above the model's %lu "
                                "positions; use a shorter --seq",
                                (unsigned long long)wb->seq,
                                (unsigned long)mc->max_positions);
    st = hearth_dataset_from_jsonl(out, path, wb->tokenizer, &cfg, NULL, err);
    if (st == HEARTH_OK)
        note_report(cli, path, hearth_dataset_get_report(*out), wb->seq);
    return st;
}

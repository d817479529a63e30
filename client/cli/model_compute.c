/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/model_compute.c - `hearth model logits|gradients`: one pass over
 * given ids, for those who compare Hearth with something else. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/model_words.h"
#include "client/cli/workbench.h"
#include "client/tokenizer/ids.h"
#include "client/train/decoder.h"
#include "common/arena.h"
#include "common/mem.h"
#include "common/safetensors.h"

/* The ids of one or more documents, and everything that one pass holds. */
typedef struct {
    hearth_ids ids, start; /* start: where documents begin, then the end */
    bool store_bf16;       /* as hearth_decoder_shape */
    hearth_arena arena;
    hearth_decoder *dec;
    uint32_t *position, *doc_start;
    int32_t *label; /* the next id; none at the end of a document */
    hearth_stream stream;
} pass;

/* "1,2,3" into ids, documents apart by "/"; false for anything else. */
static bool parse_ids(const char *text, pass *p) {
    const char *at = text;
    if (hearth_ids_push(&p->start, 0) != HEARTH_OK) return false;
    for (;;) {
        char *end;
        if (*at < '0' || *at > '9') return false;
        errno = 0;
        long v = strtol(at, &end, 10);
        if (errno || v < 0 || v > INT32_MAX) return false;
        if (hearth_ids_push(&p->ids, (int32_t)v) != HEARTH_OK) return false;
        if (*end && *end != ',' && *end != '/') return false;
        if (*end != ',' &&
            hearth_ids_push(&p->start, (int32_t)p->ids.n) != HEARTH_OK)
            return false;
        if (!*end) return true;
        at = end + 1;
    }
}

static hearth_status check_ids(const hearth_workbench *wb,
                               const hearth_ids *ids, hearth_error *err) {
    uint32_t rows = hearth_model_get_config(wb->model)->vocab_size;
    for (size_t i = 0; i < ids->n; i++)
        if ((uint32_t)ids->id[i] >= rows)
            return hearth_error_set(err, HEARTH_EINVAL,
                                    "--ids: %ld is outside the vocabulary; "
                                    "give ids below %lu",
                                    (long)ids->id[i], (unsigned long)rows);
    return HEARTH_OK;
}

static hearth_status no_memory(size_t n, hearth_error *err) {
    return hearth_error_set(err, HEARTH_ENOMEM,
                            "no memory for %zu tokens; give fewer ids", n);
}

/* Positions and labels of the ids. */
static hearth_status make_stream(pass *p, hearth_error *err) {
    size_t n = p->ids.n, n_docs = p->start.n - 1;
    p->position = hearth_mem_array(NULL, n, sizeof(uint32_t));
    p->label = hearth_mem_array(NULL, n, sizeof(int32_t));
    p->doc_start = hearth_mem_array(NULL, n_docs + 1, sizeof(uint32_t));
    if (!p->position || !p->label || !p->doc_start) return no_memory(n, err);
    for (size_t k = 0; k <= n_docs; k++)
        p->doc_start[k] = (uint32_t)p->start.id[k];
    for (size_t k = 0; k < n_docs; k++)
        for (uint32_t i = p->doc_start[k]; i < p->doc_start[k + 1]; i++) {
            p->position[i] = i - p->doc_start[k];
            p->label[i] = i + 1 < p->doc_start[k + 1]
                              ? p->ids.id[i + 1]
                              : HEARTH_STREAM_UNSUPERVISED;
        }
    p->stream = (hearth_stream){.n = n,
                                .n_docs = n_docs,
                                .token = p->ids.id,
                                .doc_start = p->doc_start,
                                .position = p->position,
                                .label = p->label};
    return HEARTH_OK;
}

static hearth_status open_pass(pass *p, hearth_workbench *wb,
                               hearth_decoder_mode mode, hearth_error *err) {
    hearth_decoder_sizes sizes;
    hearth_decoder_shape shape = {
        .model = wb->model,
        .adapter = wb->adapter,
        .mode = mode,
        .max_tokens = p->ids.n,
        .round_parts = wb->kernels->pair_parts,
        .attention_parts = hearth_kernels_attention_parts(wb->kernels),
        .store_bf16 = p->store_bf16,
        .n_workers = hearth_pool_size(wb->pool)};
    hearth_status st = check_ids(wb, &p->ids, err);
    if (st == HEARTH_OK) st = make_stream(p, err);
    if (st == HEARTH_OK) st = hearth_decoder_plan(&shape, &sizes, err);
    if (st != HEARTH_OK) return st;
    if (hearth_arena_init(&p->arena, NULL, sizes.total) != HEARTH_OK)
        return no_memory(p->ids.n, err);
    return hearth_decoder_new(&p->dec, &shape, wb->pool, wb->kernels, &p->arena,
                              err);
}

static void close_pass(pass *p) {
    hearth_mem_free(NULL, p->position);
    hearth_mem_free(NULL, p->doc_start);
    hearth_mem_free(NULL, p->label);
    hearth_arena_free(&p->arena);
    hearth_ids_free(&p->ids);
    hearth_ids_free(&p->start);
}

static hearth_status write_logits(pass *p, size_t vocab, const char *out,
                                  hearth_error *err) {
    hearth_safetensors_writer *w = NULL;
    uint64_t dim[2] = {p->ids.n, vocab};
    size_t cells;
    if (!hearth_size_mul(p->ids.n, vocab, &cells)) return HEARTH_ETOOBIG;
    float *logits = hearth_mem_array(NULL, cells, sizeof(float));
    if (!logits) return no_memory(p->ids.n, err);
    hearth_status st = hearth_decoder_logits(p->dec, &p->stream, logits, err);
    if (st == HEARTH_OK) st = hearth_safetensors_writer_new(&w, out, NULL, err);
    if (st == HEARTH_OK)
        st = hearth_safetensors_writer_declare(w, "logits", HEARTH_DTYPE_F32, 2,
                                               dim, err);
    if (st == HEARTH_OK)
        st = hearth_safetensors_writer_write_f32(w, logits, cells, err);
    if (st == HEARTH_OK) st = hearth_safetensors_writer_finish(w, err);
    hearth_safetensors_writer_free(w);
    hearth_mem_free(NULL, logits);
    return st;
}

/* Every parameter's gradient of the sum of token losses, and that sum. */
static hearth_status write_gradients(pass *p, const char *out, hearth_loss *l,
                                     hearth_error *err) {
    hearth_safetensors_writer *w = NULL;
    const hearth_params *ps = hearth_decoder_params(p->dec);
    hearth_decoder_zero_grad(p->dec);
    hearth_status st = hearth_decoder_grad(p->dec, &p->stream, NULL, l, err);
    if (st == HEARTH_OK) st = hearth_safetensors_writer_new(&w, out, NULL, err);
    for (size_t i = 0; st == HEARTH_OK && i < ps->n_params; i++) {
        uint64_t n = ps->param[i].n;
        st = hearth_safetensors_writer_declare(w, ps->param[i].name,
                                               HEARTH_DTYPE_F32, 1, &n, err);
    }
    for (size_t i = 0; st == HEARTH_OK && i < ps->n_params; i++)
        st = hearth_safetensors_writer_write_f32(w, ps->param[i].grad,
                                                 ps->param[i].n, err);
    if (st == HEARTH_OK) st = hearth_safetensors_writer_finish(w, err);
    hearth_safetensors_writer_free(w);
    return st;
}

static int say_logits(hearth_cli *cli, const pass *p, size_t vocab,
                      const char *out) {
    hearth_event_begin(cli, "logits");
    hearth_event_str(cli, "out", out);
    hearth_event_u64(cli, "tokens", p->ids.n);
    hearth_event_u64(cli, "vocabulary", vocab);
    hearth_event_end(cli);
    hearth_cli_say(cli, "%s: logits of %zu tokens", out, p->ids.n);
    return HEARTH_EXIT_OK;
}

static int say_gradients(hearth_cli *cli, const hearth_loss *l,
                         const char *out) {
    hearth_event_begin(cli, "gradients");
    hearth_event_str(cli, "out", out);
    hearth_event_f64(cli, "loss_sum", l->loss_sum);
    hearth_event_u64(cli, "tokens", l->n_supervised);
    hearth_event_end(cli);
    hearth_cli_say(cli, "%s: gradients of a loss of %.6f over %llu tokens", out,
                   l->loss_sum, (unsigned long long)l->n_supervised);
    return HEARTH_EXIT_OK;
}

/* Both words: open, compute, say. */
static int compute(hearth_cli *cli, hearth_workbench *wb, pass *p,
                   hearth_decoder_mode mode, const char *out) {
    hearth_error err = {0};
    hearth_loss l = {0};
    bool gradients = mode != HEARTH_DECODER_INFER;
    wb->cli = cli;
    hearth_status st =
        hearth_workbench_open(wb, HEARTH_WORKBENCH_ADAPTERS, &err);
    if (st == HEARTH_OK) st = open_pass(p, wb, mode, &err);
    size_t vocab =
        st == HEARTH_OK ? hearth_model_get_config(wb->model)->vocab_size : 0;
    if (st == HEARTH_OK)
        st = gradients ? write_gradients(p, out, &l, &err)
                       : write_logits(p, vocab, out, &err);
    int rc = st != HEARTH_OK ? hearth_cli_fail(cli, st, &err, NULL)
             : gradients     ? say_gradients(cli, &l, out)
                             : say_logits(cli, p, vocab, out);
    hearth_workbench_close(wb);
    return rc;
}

static int run(hearth_cli *cli, hearth_workbench *wb, const char *list,
               hearth_decoder_mode mode, bool store_bf16, const char *out) {
    pass p = {.store_bf16 = store_bf16};
    hearth_ids_init(&p.ids, NULL);
    hearth_ids_init(&p.start, NULL);
    int rc = parse_ids(list, &p)
                 ? compute(cli, wb, &p, mode, out)
                 : hearth_cli_usage_error(cli, "--ids takes numbers with "
                                               "commas, documents apart by /");
    close_pass(&p);
    return rc;
}

int hearth_model_word_logits(hearth_cli *cli, int argc, char **argv) {
    hearth_workbench wb = HEARTH_WORKBENCH_INIT;
    const char *list = NULL, *out = NULL;
    const hearth_flag flags[] = {
        HEARTH_WORKBENCH_FLAGS(wb),
        HEARTH_FLAG_LIST("adapter", "DIR[:weight]", "may be given again",
                         &wb.adapters),
        HEARTH_FLAG_STR("ids", "1,2/3,4", "token ids; / parts documents",
                        &list),
        HEARTH_FLAG_STR("out", "FILE", "a safetensors file", &out)};
    const hearth_usage u = {
        .command = "model logits",
        .summary = "the logits of given tokens, to a file",
        .arguments = "--model DIR --ids 1,2,3 --out F.safetensors",
        .example = "hearth model logits --model base --ids 1,403,407 --out "
                   "logits.safetensors",
        .flags = flags,
        .n_flags = sizeof(flags) / sizeof(*flags),
        .required = "model ids out"};
    int rc;
    if (!hearth_cli_parse(cli, &u, argc, argv, &rc)) return rc;
    return run(cli, &wb, list, HEARTH_DECODER_INFER, false, out);
}

int hearth_model_word_gradients(hearth_cli *cli, int argc, char **argv) {
    hearth_workbench wb = HEARTH_WORKBENCH_INIT;
    const char *list = NULL, *out = NULL;
    bool store_bf16 = false;
    const hearth_flag flags[] = {
        HEARTH_WORKBENCH_FLAGS(wb),
        HEARTH_FLAG_LIST("adapter", "DIR[:weight]",
                         "gradients of its factors, not of the weights",
                         &wb.adapters),
        HEARTH_FLAG_STR("ids", "1,2/3,4", "token ids; / parts documents",
                        &list),
        HEARTH_FLAG_BOOL("store-bf16",
                         "keep activations in bfloat16 (kernels bf16)",
                         &store_bf16),
        HEARTH_FLAG_STR("out", "FILE", "a safetensors file", &out)};
    const hearth_usage u = {
        .command = "model gradients",
        .summary = "the gradients of given tokens' loss, to a file",
        .arguments = "--model DIR --ids 1,2,3 [--adapter DIR] --out F",
        .example = "hearth model gradients --model base --ids 1,403,407 --out "
                   "gradients.safetensors",
        .flags = flags,
        .n_flags = sizeof(flags) / sizeof(*flags),
        .required = "model ids out"};
    int rc;
    if (!hearth_cli_parse(cli, &u, argc, argv, &rc)) return rc;
    return run(cli, &wb, list,
               wb.adapters.n ? HEARTH_DECODER_LORA : HEARTH_DECODER_FULL,
               store_bf16, out);
}

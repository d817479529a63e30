/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/cmd_model.c - `hearth model create|inspect|logits`. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/workbench.h"
#include "client/tokenizer/chat_template.h"
#include "client/train/decoder.h"
#include "client/train/memplan.h"
#include "common/arena.h"
#include "common/bytes.h"
#include "common/mem.h"
#include "common/safetensors.h"

/* ---- create ---- */

static int create(hearth_cli *cli, int argc, char **argv) {
    const char *config = NULL, *tokenizer = NULL, *out = NULL;
    uint64_t seed = 1;
    const hearth_flag flags[] = {
        HEARTH_FLAG_STR("config", "FILE", "config.json", &config),
        HEARTH_FLAG_STR("tokenizer", "FILE", "tokenizer.json", &tokenizer),
        HEARTH_FLAG_U64("seed", "N", "of the weights", &seed, 0, UINT64_MAX),
        HEARTH_FLAG_STR("out", "DIR", "the new folder", &out)};
    const hearth_usage u = {
        .command = "model create",
        .summary = "a model with random weights",
        .arguments = "--config FILE --tokenizer FILE --out DIR [--seed N]",
        .example = "hearth model create --config config.json --tokenizer "
                   "tokenizer.json --seed 1 --out base",
        .flags = flags,
        .n_flags = sizeof(flags) / sizeof(*flags),
        .required = "config tokenizer out"};
    hearth_error err = {0};
    int rc;
    if (!hearth_cli_parse(cli, &u, argc, argv, &rc)) return rc;
    hearth_status st =
        hearth_model_create(config, tokenizer, seed, out, NULL, &err);
    if (st != HEARTH_OK) return hearth_cli_fail(cli, st, &err, NULL);
    hearth_event_begin(cli, "model_created");
    hearth_event_str(cli, "out", out);
    hearth_event_u64(cli, "seed", seed);
    hearth_event_end(cli);
    hearth_cli_say(cli, "%s: created", out);
    return HEARTH_EXIT_OK;
}

/* ---- inspect ---- */

static void show_model(hearth_cli *cli, const hearth_model *m) {
    const hearth_model_config *c = hearth_model_get_config(m);
    uint64_t n = hearth_model_config_parameters(c);
    char hex[65];
    hearth_hex_encode(hex, hearth_model_digest(m), 32);
    hearth_event_begin(cli, "model");
    hearth_event_str(cli, "architecture", c->architecture);
    hearth_event_u64(cli, "parameters", n);
    hearth_event_u64(cli, "vocab_size", c->vocab_size);
    hearth_event_u64(cli, "hidden_size", c->hidden_size);
    hearth_event_u64(cli, "layers", c->n_layers);
    hearth_event_u64(cli, "heads", c->n_heads);
    hearth_event_u64(cli, "kv_heads", c->n_kv_heads);
    hearth_event_u64(cli, "head_dim", c->head_dim);
    hearth_event_u64(cli, "ffn_size", c->ffn_size);
    hearth_event_u64(cli, "max_positions", c->max_positions);
    hearth_event_bool(cli, "tied", c->tied);
    hearth_event_str(cli, "base_id", hex);
    hearth_event_end(cli);
    hearth_cli_say(cli, "%s, %llu parameters", c->architecture,
                   (unsigned long long)n);
    hearth_cli_say(cli,
                   "%lu layers of width %lu (MLP %lu), %lu query and %lu "
                   "key-value heads of %lu",
                   (unsigned long)c->n_layers, (unsigned long)c->hidden_size,
                   (unsigned long)c->ffn_size, (unsigned long)c->n_heads,
                   (unsigned long)c->n_kv_heads, (unsigned long)c->head_dim);
    hearth_cli_say(cli, "vocabulary %lu, %lu positions, head %s",
                   (unsigned long)c->vocab_size,
                   (unsigned long)c->max_positions,
                   c->tied ? "tied to the embedding" : "of its own");
    hearth_cli_say(cli, "base id: %s", hex);
}

/* What a TASK.ini of `hearthd task create` says of its base. */
static hearth_status show_task_base(hearth_cli *cli, const hearth_model *m,
                                    const char *dir, hearth_error *err) {
    const hearth_model_config *c = hearth_model_get_config(m);
    char id[65], tokenizer[65], tmpl[65];
    uint8_t digest[32];
    hearth_tokenizer *t = NULL;
    hearth_status st = hearth_tokenizer_open(&t, dir, NULL, err);
    if (st != HEARTH_OK) return st;
    st = hearth_chat_template_digest(
        hearth_chat_template_resolve(HEARTH_TEMPLATE_AUTO, t), digest);
    hearth_hex_encode(id, hearth_model_digest(m), 32);
    hearth_hex_encode(tokenizer, hearth_tokenizer_digest(t), 32);
    hearth_hex_encode(tmpl, digest, 32);
    hearth_tokenizer_close(t);
    if (st != HEARTH_OK) return st;
    fprintf(cli->out,
            "[base]\nid = %s\ntokenizer = %s\ntemplate = %s\nlayers = %lu\n"
            "hidden = %lu\nheads = %lu\nkv_heads = %lu\nhead_dim = %lu\n"
            "ffn = %lu\n",
            id, tokenizer, tmpl, (unsigned long)c->n_layers,
            (unsigned long)c->hidden_size, (unsigned long)c->n_heads,
            (unsigned long)c->n_kv_heads, (unsigned long)c->head_dim,
            (unsigned long)c->ffn_size);
    return HEARTH_OK;
}

static int inspect(hearth_cli *cli, int argc, char **argv) {
    const char *dir = NULL;
    bool task = false;
    const hearth_flag flags[] = {
        HEARTH_FLAG_STR("model", "DIR", "Hugging Face folder", &dir),
        HEARTH_FLAG_BOOL("task", "the [base] section of a TASK.ini", &task)};
    const hearth_usage u = {.command = "model inspect",
                            .summary = "what a model is made of",
                            .arguments = "--model DIR [--task]",
                            .example = "hearth model inspect --model base",
                            .flags = flags,
                            .n_flags = 2,
                            .required = "model"};
    hearth_error err = {0};
    hearth_model *m = NULL;
    int rc;
    if (!hearth_cli_parse(cli, &u, argc, argv, &rc)) return rc;
    if (task && cli->json)
        return hearth_cli_usage_error(cli, "--task has no --json form");
    hearth_status st = hearth_model_open(&m, dir, NULL, &err);
    if (st == HEARTH_OK && task) st = show_task_base(cli, m, dir, &err);
    if (st != HEARTH_OK)
        rc = hearth_cli_fail(cli, st, &err, NULL);
    else if (!task)
        show_model(cli, m);
    hearth_model_close(m);
    return rc;
}

/* ---- logits ---- */

/* "1,2,3" into ids; false when it is anything else. */
static bool parse_ids(const char *text, hearth_ids *ids) {
    const char *p = text;
    for (;;) {
        char *end;
        if (*p < '0' || *p > '9') return false;
        errno = 0;
        long v = strtol(p, &end, 10);
        if (errno || v < 0 || v > INT32_MAX) return false;
        if (hearth_ids_push(ids, (int32_t)v) != HEARTH_OK) return false;
        if (!*end) return true;
        if (*end != ',') return false;
        p = end + 1;
    }
}

/* Everything that one forward pass holds. */
typedef struct {
    hearth_arena arena;
    hearth_decoder *dec;
    uint32_t *position;
    int32_t *label;
    float *logits; /* [n, vocab_size] */
    size_t vocab;
} pass;

static hearth_status forward(hearth_workbench *wb, const hearth_ids *ids,
                             pass *p, hearth_error *err) {
    size_t n = ids->n, cells;
    uint32_t start[2] = {0, (uint32_t)n};
    hearth_decoder_sizes sizes;
    hearth_decoder_shape shape = {.model = wb->model,
                                  .adapter = wb->adapter,
                                  .mode = HEARTH_DECODER_INFER,
                                  .max_tokens = n,
                                  .n_workers = hearth_pool_size(wb->pool)};
    p->vocab = hearth_model_get_config(wb->model)->vocab_size;
    hearth_status st = hearth_decoder_plan(&shape, &sizes, err);
    if (st != HEARTH_OK) return st;
    if (!hearth_size_mul(n, p->vocab, &cells)) return HEARTH_ETOOBIG;
    p->position = hearth_mem_array(NULL, n, sizeof(uint32_t));
    p->label = hearth_mem_array(NULL, n, sizeof(int32_t));
    p->logits = hearth_mem_array(NULL, cells, sizeof(float));
    if (!p->position || !p->label || !p->logits ||
        hearth_arena_init(&p->arena, NULL, sizes.total) != HEARTH_OK)
        return hearth_error_set(err, HEARTH_ENOMEM,
                                "no memory for %zu logits; give fewer ids",
                                cells);
    st = hearth_decoder_new(&p->dec, &shape, wb->pool, wb->kernels, &p->arena,
                            err);
    if (st != HEARTH_OK) return st;
    for (size_t i = 0; i < n; i++) {
        p->position[i] = (uint32_t)i;
        p->label[i] = HEARTH_STREAM_UNSUPERVISED;
    }
    hearth_stream s = {.n = n,
                       .n_docs = 1,
                       .token = ids->id,
                       .doc_start = start,
                       .position = p->position,
                       .label = p->label};
    return hearth_decoder_logits(p->dec, &s, p->logits, err);
}

static hearth_status check_ids(const hearth_workbench *wb,
                               const hearth_ids *ids, hearth_error *err) {
    uint32_t rows = hearth_model_get_config(wb->model)->vocab_size;
    for (size_t i = 0; i < ids->n; i++)
        if (ids->id[i] < 0 || (uint32_t)ids->id[i] >= rows)
            return hearth_error_set(err, HEARTH_EINVAL,
                                    "--ids: %ld is outside the vocabulary; "
                                    "give ids below %lu",
                                    (long)ids->id[i], (unsigned long)rows);
    return HEARTH_OK;
}

static hearth_status write_logits(const pass *p, size_t n, const char *out,
                                  hearth_error *err) {
    hearth_safetensors_writer *w = NULL;
    uint64_t dim[2] = {n, p->vocab};
    hearth_status st = hearth_safetensors_writer_new(&w, out, NULL, err);
    if (st == HEARTH_OK)
        st = hearth_safetensors_writer_declare(w, "logits", HEARTH_DTYPE_F32, 2,
                                               dim, err);
    if (st == HEARTH_OK)
        st = hearth_safetensors_writer_write_f32(w, p->logits, n * p->vocab,
                                                 err);
    if (st == HEARTH_OK) st = hearth_safetensors_writer_finish(w, err);
    hearth_safetensors_writer_free(w);
    return st;
}

static int run_logits(hearth_cli *cli, hearth_workbench *wb,
                      const hearth_ids *ids, const char *out) {
    hearth_error err = {0};
    pass p = {.vocab = 0};
    int rc = HEARTH_EXIT_OK;
    hearth_status st =
        hearth_workbench_open(wb, HEARTH_WORKBENCH_ADAPTERS, &err);
    if (st == HEARTH_OK) st = check_ids(wb, ids, &err);
    if (st == HEARTH_OK) st = forward(wb, ids, &p, &err);
    if (st == HEARTH_OK) st = write_logits(&p, ids->n, out, &err);
    if (st == HEARTH_OK) {
        hearth_event_begin(cli, "logits");
        hearth_event_str(cli, "out", out);
        hearth_event_u64(cli, "tokens", ids->n);
        hearth_event_u64(cli, "vocabulary", p.vocab);
        hearth_event_end(cli);
        hearth_cli_say(cli, "%s: logits of %zu tokens", out, ids->n);
    } else {
        rc = hearth_cli_fail(cli, st, &err, NULL);
    }
    hearth_mem_free(NULL, p.position);
    hearth_mem_free(NULL, p.label);
    hearth_mem_free(NULL, p.logits);
    hearth_arena_free(&p.arena);
    hearth_workbench_close(wb);
    return rc;
}

static int logits(hearth_cli *cli, int argc, char **argv) {
    hearth_workbench wb = HEARTH_WORKBENCH_INIT;
    const char *list = NULL, *out = NULL;
    hearth_ids ids;
    const hearth_flag flags[] = {
        HEARTH_WORKBENCH_FLAGS(wb),
        HEARTH_FLAG_LIST("adapter", "DIR[:weight]", "may be given again",
                         &wb.adapters),
        HEARTH_FLAG_STR("ids", "1,2,3", "token ids", &list),
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
    hearth_ids_init(&ids, NULL);
    rc = parse_ids(list, &ids)
             ? run_logits(cli, &wb, &ids, out)
             : hearth_cli_usage_error(cli, "--ids takes numbers with commas");
    hearth_ids_free(&ids);
    return rc;
}

int hearth_cmd_model(hearth_cli *cli, int argc, char **argv) {
    static const hearth_subcommand subs[] = {
        {"create", create, "a model with random weights"},
        {"inspect", inspect, "what a model is made of"},
        {"logits", logits, "the logits of given tokens, to a file"},
    };
    return hearth_cli_dispatch(cli, "model", subs, sizeof(subs) / sizeof(*subs),
                               argc, argv);
}

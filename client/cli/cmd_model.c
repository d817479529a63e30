/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/cmd_model.c - `hearth model`: create and inspect here, the other
 * words in files of their own. */
#include <string.h>

#include "client/cli/model_words.h"
#include "client/cli/workbench.h"
#include "client/tokenizer/chat_template.h"
#include "common/bytes.h"

/* ---- create ---- */

static int create(hearth_cli *cli, int argc, char **argv) {
    const char *config = NULL, *tokenizer = NULL, *out = NULL;
    const char *dtype = "f32";
    uint64_t seed = 1;
    const hearth_flag flags[] = {
        HEARTH_FLAG_STR("config", "FILE", "config.json", &config),
        HEARTH_FLAG_STR("tokenizer", "FILE", "tokenizer.json", &tokenizer),
        HEARTH_FLAG_U64("seed", "N", "of the weights", &seed, 0, UINT64_MAX),
        HEARTH_FLAG_CHOICE("dtype", "f32|f16|bf16", "of the weights", &dtype),
        HEARTH_FLAG_STR("out", "DIR", "the new folder", &out)};
    const hearth_usage u = {
        .command = "model create",
        .summary = "a model with random weights",
        .arguments = "--config FILE --tokenizer FILE --out DIR [--seed N] "
                     "[--dtype f32|f16|bf16]",
        .example = "hearth model create --config config.json --tokenizer "
                   "tokenizer.json --seed 1 --out base",
        .flags = flags,
        .n_flags = sizeof(flags) / sizeof(*flags),
        .required = "config tokenizer out"};
    hearth_error err = {0};
    int rc;
    if (!hearth_cli_parse(cli, &u, argc, argv, &rc)) return rc;
    hearth_dtype type = strcmp(dtype, "bf16") == 0  ? HEARTH_DTYPE_BF16
                        : strcmp(dtype, "f16") == 0 ? HEARTH_DTYPE_F16
                                                    : HEARTH_DTYPE_F32;
    hearth_status st =
        hearth_model_create_as(type, config, tokenizer, seed, out, NULL, &err);
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
    hearth_model_base_id(m, hex);
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
    if (c->fused_qkv)
        fprintf(cli->out, "modules = %s\n", c->fused_gate_up ? "phi3" : "gpt2");
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

int hearth_cmd_model(hearth_cli *cli, int argc, char **argv) {
    static const hearth_subcommand subs[] = {
        {"create", create, "a model with random weights"},
        {"inspect", inspect, "what a model is made of"},
        {"convert", hearth_model_word_convert, "a model as one GGUF file"},
        {"logits", hearth_model_word_logits,
         "the logits of given tokens, to a file"},
        {"gradients", hearth_model_word_gradients,
         "the gradients of given tokens' loss, to a file"},
    };
    return hearth_cli_dispatch(cli, "model", subs, sizeof(subs) / sizeof(*subs),
                               argc, argv);
}

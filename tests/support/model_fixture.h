/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/model_fixture.h - tiny random models and token streams. */
#ifndef HEARTH_TESTS_MODEL_FIXTURE_H
#define HEARTH_TESTS_MODEL_FIXTURE_H

#include "tests/support/cmocka_all.h"

#include "client/model/base_model.h"
#include "client/train/dataset.h"
#include "client/train/decoder.h"
#include "common/arena.h"
#include "common/file.h"
#include "common/philox.h"

/* Sizes of a tiny Llama; odd ones on purpose. */
typedef struct {
    unsigned vocab, hidden, ffn, layers, heads, kv_heads, head_dim;
    bool tied;
    double sigma; /* of the random weights */
} tiny_spec;

#define TINY_SPEC                                                              \
    { 67, 24, 40, 3, 6, 2, 4, false, 0.3 }

/* config.json text of a spec. */
static inline int tiny_config(const tiny_spec *s, char *out, size_t cap) {
    return snprintf(
        out, cap,
        "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\","
        "\"vocab_size\":%u,\"hidden_size\":%u,\"intermediate_size\":%u,"
        "\"num_hidden_layers\":%u,\"num_attention_heads\":%u,"
        "\"num_key_value_heads\":%u,\"head_dim\":%u,"
        "\"max_position_embeddings\":128,\"rms_norm_eps\":1e-5,"
        "\"rope_theta\":10000.0,\"tie_word_embeddings\":%s,"
        "\"initializer_range\":%.3f,\"bos_token_id\":1,\"eos_token_id\":2}",
        s->vocab, s->hidden, s->ffn, s->layers, s->heads, s->kv_heads,
        s->head_dim, s->tied ? "true" : "false", s->sigma);
}

/* config.json of a tiny model of each other family; windows are shorter than
 * the documents of the tests. */
#define TINY_ROTARY                                                            \
    "\"vocab_size\":67,\"hidden_size\":24,\"intermediate_size\":40,"           \
    "\"num_attention_heads\":6,\"num_key_value_heads\":2,\"head_dim\":4,"      \
    "\"max_position_embeddings\":128,\"rms_norm_eps\":1e-5,"                   \
    "\"initializer_range\":0.3,\"bos_token_id\":1,\"eos_token_id\":2"
#define TINY_FAMILIES 6
static const struct {
    const char *name, *config;
} tiny_family[TINY_FAMILIES] = {
    {"gpt2", "{\"architectures\":[\"GPT2LMHeadModel\"],\"vocab_size\":67,"
             "\"n_embd\":24,\"n_layer\":3,\"n_head\":4,\"n_positions\":128,"
             "\"n_inner\":40,\"initializer_range\":0.3}"},
    {"qwen2", "{\"architectures\":[\"Qwen2ForCausalLM\"],"
              "\"num_hidden_layers\":3,\"use_sliding_window\":true,"
              "\"sliding_window\":5,\"max_window_layers\":1," TINY_ROTARY "}"},
    {"gemma3", "{\"architectures\":[\"Gemma3ForCausalLM\"],"
               "\"num_hidden_layers\":7,\"sliding_window\":5,"
               "\"query_pre_attn_scalar\":9,\"rope_theta\":50000.0,"
               "\"rope_local_base_freq\":100.0," TINY_ROTARY "}"},
    {"qwen3", "{\"architectures\":[\"Qwen3ForCausalLM\"],"
              "\"num_hidden_layers\":3," TINY_ROTARY "}"},
    {"mistral",
     "{\"architectures\":[\"MistralForCausalLM\"],"
     "\"num_hidden_layers\":3,\"sliding_window\":5," TINY_ROTARY "}"},
    {"phi3", "{\"architectures\":[\"Phi3ForCausalLM\"],"
             "\"num_hidden_layers\":3,\"pad_token_id\":0," TINY_ROTARY "}"},
};

/* A random model of a config in a fresh folder dir [64]; remove both with
 * tiny_drop. */
static inline hearth_model *tiny_model_of(const char *config, uint64_t seed,
                                          char dir[64]) {
    char path[128];
    hearth_model *m = NULL;
    hearth_error err = {HEARTH_OK, ""};
    assert_non_null(hearth_test_dir(dir));
    (void)snprintf(path, sizeof(path), "%.63s/in.json", dir);
    assert_ok(hearth_file_write(path, config, strlen(config), 0644, &err));
    if (hearth_model_create(path, NULL, seed, dir, NULL, &err) != HEARTH_OK ||
        hearth_model_open(&m, dir, NULL, &err) != HEARTH_OK)
        fail_msg("%s", err.text);
    return m;
}

/* The same of a spec. */
static inline hearth_model *tiny_model(const tiny_spec *s, uint64_t seed,
                                       char dir[64]) {
    char config[1024];
    (void)tiny_config(s, config, sizeof(config));
    return tiny_model_of(config, seed, dir);
}

static inline void tiny_drop(hearth_model *m, const char *dir) {
    hearth_model_close(m);
    assert_ok(hearth_file_remove_tree(dir, NULL));
}

/* A stream of n_docs documents of random tokens; about one label in five is
 * left out. */
#define TINY_TOKENS 96
typedef struct {
    int32_t token[TINY_TOKENS], label[TINY_TOKENS];
    uint32_t position[TINY_TOKENS], doc_start[16];
    hearth_stream stream;
} tiny_stream;

static inline void tiny_stream_make(tiny_stream *t, const uint32_t *length,
                                    size_t n_docs, uint32_t vocab,
                                    uint64_t seed) {
    hearth_philox_key k = hearth_philox_key_make(seed, HEARTH_PHILOX_DATA);
    uint32_t at = 0;
    for (size_t d = 0; d < n_docs; d++) {
        t->doc_start[d] = at;
        for (uint32_t i = 0; i < length[d]; i++, at++) {
            assert_true(at < TINY_TOKENS);
            t->token[at] = (int32_t)hearth_philox_below(k, at, 0, vocab);
            t->position[at] = i;
            t->label[at] = (int32_t)hearth_philox_below(k, at, 1, vocab);
            if (i + 1 == length[d] || hearth_philox_below(k, at, 2, 5) == 0)
                t->label[at] = HEARTH_STREAM_UNSUPERVISED;
        }
    }
    t->doc_start[n_docs] = at;
    t->stream = (hearth_stream){at,           n_docs,      t->token,
                                t->doc_start, t->position, t->label};
}

/* A decoder with its arena. */
typedef struct {
    hearth_arena arena;
    hearth_decoder *dec;
} tiny_engine;

static inline void tiny_engine_open(tiny_engine *e, hearth_decoder_shape s,
                                    hearth_pool *pool,
                                    const hearth_kernels *k) {
    hearth_error err = {HEARTH_OK, ""};
    *e = (tiny_engine){.dec = NULL};
    s.n_workers = hearth_pool_size(pool);
    if (!s.max_tokens) s.max_tokens = TINY_TOKENS;
    size_t bytes = hearth_decoder_bytes(&s);
    assert_true(bytes < SIZE_MAX);
    assert_ok(hearth_arena_init(&e->arena, NULL, bytes));
    if (hearth_decoder_new(&e->dec, &s, pool, k, &e->arena, &err) != HEARTH_OK)
        fail_msg("%s", err.text);
    assert_int_equal(e->arena.used, bytes); /* the plan is exact */
}

static inline void tiny_engine_close(tiny_engine *e) {
    hearth_arena_free(&e->arena);
}

/* An adapter whose A and B are all random, so that every gradient differs
 * from zero. */
static inline hearth_adapter *tiny_adapter(const hearth_model *m,
                                           const hearth_lora_spec *spec,
                                           uint64_t seed) {
    hearth_adapter *a = NULL;
    size_t n;
    hearth_philox_key k = hearth_philox_key_make(seed, HEARTH_PHILOX_INIT);
    const hearth_module_info *info = hearth_model_modules(m, &n);
    assert_ok(hearth_adapter_new(&a, spec, info, n, NULL, NULL));
    for (size_t i = 0; i < a->n_values; i++)
        a->values[i] = (float)(0.3 * hearth_philox_normal(k, 0, i));
    return a;
}

#define TINY_RECORD_TOKENS 100

/* Records of so many tokens, TINY_RECORD_TOKENS at most, of a vocabulary of 67. */
static inline hearth_dataset *tiny_records(int32_t n_docs, int32_t n_tokens) {
    hearth_dataset_config cfg = HEARTH_DATASET_CONFIG_INIT;
    hearth_dataset *ds = NULL;
    assert_ok(hearth_dataset_new(&ds, &cfg, NULL, NULL));
    for (int32_t k = 0; k < n_docs; k++) {
        int32_t token[TINY_RECORD_TOKENS], label[TINY_RECORD_TOKENS];
        for (int32_t i = 0; i < n_tokens; i++)
            token[i] = 3 + (5 * i + k * i * i) % 60;
        for (int32_t i = 0; i < n_tokens; i++)
            label[i] = i + 1 < n_tokens ? token[i + 1] : -1;
        assert_ok(hearth_dataset_add_tokens(ds, token, label, (size_t)n_tokens,
                                            NULL));
    }
    return ds;
}

#endif /* HEARTH_TESTS_MODEL_FIXTURE_H */

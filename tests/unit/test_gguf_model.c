/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_gguf_model.c - client/model/gguf_model and model_convert:
 * folder to GGUF and back is the same model; every refusal names its cause. */
#include <math.h>

#include "tests/support/model_fixture.h"

#include "client/model/model_convert.h"
#include "common/bytes.h"
#include "common/gguf.h"

#define LLAMA3                                                                 \
    "\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0,"               \
    "\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"                        \
    "\"original_max_position_embeddings\":64},"
#define FAMILY(name_, more_)                                                   \
    "{\"architectures\":[\"" name_                                             \
    "\"],\"num_hidden_layers\":2," more_ TINY_ROTARY "}"

static const char *const configs[] = {
    FAMILY("LlamaForCausalLM", ""),
    FAMILY("LlamaForCausalLM", LLAMA3 "\"tie_word_embeddings\":true,"),
    FAMILY("LlamaForCausalLM",
           "\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":2.0},"),
    FAMILY("MistralForCausalLM", "\"sliding_window\":null,"),
    FAMILY("Qwen2ForCausalLM", ""),
    FAMILY("Qwen3ForCausalLM", ""),
    FAMILY("Phi3ForCausalLM", "\"pad_token_id\":0,\"sliding_window\":5,"),
    FAMILY("Phi3ForCausalLM", "\"pad_token_id\":0,\"sliding_window\":null,"),
    "{\"architectures\":[\"Gemma3ForCausalLM\"],\"num_hidden_layers\":7,"
    "\"sliding_window\":5,\"query_pre_attn_scalar\":4,\"rope_theta\":50000.0,"
    "\"rope_local_base_freq\":100.0," TINY_ROTARY "}",
    "{\"architectures\":[\"GPT2LMHeadModel\"],\"vocab_size\":67,\"n_embd\":24,"
    "\"n_layer\":3,\"n_head\":4,\"n_positions\":128,\"n_inner\":40,"
    "\"initializer_range\":0.3}",
};
#define N_CONFIGS (sizeof(configs) / sizeof(configs[0]))

static void path_in(const char *dir, char out[128]) {
    (void)snprintf(out, 128, "%.63s/m.gguf", dir);
}

static hearth_model *convert(const hearth_model *m, hearth_quant_type type,
                             const char *dir) {
    char path[128];
    hearth_error err = {HEARTH_OK, ""};
    hearth_model *g = NULL;
    path_in(dir, path);
    if (hearth_model_convert(m, type, path, NULL, &err) != HEARTH_OK ||
        hearth_model_open(&g, path, NULL, &err) != HEARTH_OK)
        fail_msg("%s", err.text);
    return g;
}

static void assert_near(double a, double b) {
    if (fabs(a - b) > 1e-7 * fabs(b)) fail_msg("%.9g is not %.9g", a, b);
}

static void assert_same_config(const hearth_model_config *a,
                               const hearth_model_config *b) {
    assert_int_equal(a->vocab_size, b->vocab_size);
    assert_int_equal(a->hidden_size, b->hidden_size);
    assert_int_equal(a->ffn_size, b->ffn_size);
    assert_int_equal(a->n_layers, b->n_layers);
    assert_int_equal(a->n_heads, b->n_heads);
    assert_int_equal(a->n_kv_heads, b->n_kv_heads);
    assert_int_equal(a->head_dim, b->head_dim);
    assert_int_equal(a->max_positions, b->max_positions);
    assert_int_equal(a->tied, b->tied);
    assert_int_equal(a->sliding_window, b->sliding_window);
    assert_int_equal(a->bos, b->bos);
    assert_int_equal(a->n_eos, b->n_eos);
    assert_memory_equal(a->local, b->local, b->n_layers);
    assert_near(a->norm_eps, b->norm_eps);
    assert_near(a->attn_scale, b->attn_scale);
    assert_near(a->embed_scale, b->embed_scale);
    for (uint32_t i = 0; !b->learned_positions && i < b->head_dim / 2; i++)
        for (int local = 0; local < 2; local++)
            assert_near(hearth_model_config_rope_speed(a, i, local),
                        hearth_model_config_rope_speed(b, i, local));
}

/* The greatest difference of two models' weights. */
static double apart(const hearth_model *a, const hearth_model *b) {
    const hearth_model_config *c = hearth_model_get_config(b);
    static hearth_real x[8192], y[8192];
    double most = 0;
    for (size_t i = 0; i < hearth_model_n_tensors(c); i++) {
        hearth_model_tensor t;
        hearth_model_tensor_at(c, i, &t);
        size_t n = (size_t)t.rows * t.cols;
        assert_true(n <= 8192);
        hearth_weight_copy(hearth_model_weight(a, t.role, t.layer), x);
        hearth_weight_copy(hearth_model_weight(b, t.role, t.layer), y);
        for (size_t k = 0; k < n; k++)
            most = fmax(most, fabs((double)x[k] - (double)y[k]));
    }
    return most;
}

static void every_family_comes_back(void **state) {
    char dir[64], again[64];
    (void)state;
    for (size_t i = 0; i < N_CONFIGS; i++) {
        hearth_model *m = tiny_model_of(configs[i], 5, dir);
        hearth_model *g = convert(m, HEARTH_QUANT_F32, dir);
        assert_same_config(hearth_model_get_config(g),
                           hearth_model_get_config(m));
        /* Gemma's norms lose what 1 + w rounds off. */
        assert_true(apart(g, m) <= 1.2e-7);
        /* and from GGUF to GGUF */
        assert_non_null(hearth_test_dir(again));
        hearth_model *h = convert(g, HEARTH_QUANT_F32, again);
        assert_same_config(hearth_model_get_config(h),
                           hearth_model_get_config(g));
        assert_true(apart(h, g) == 0);
        tiny_drop(h, again);
        hearth_model_close(g);
        tiny_drop(m, dir);
    }
}

/* Rows of 24 are no block of 32: those tensors become F16. */
static void short_rows_fall_back(void **state) {
    char dir[64], path[128];
    hearth_gguf *f = NULL;
    hearth_model *m = tiny_model_of(configs[0], 5, dir);
    (void)state;
    hearth_model *g = convert(m, HEARTH_QUANT_Q8_0, dir);
    assert_true(apart(g, m) < 1e-3);
    hearth_model_close(g);
    path_in(dir, path);
    assert_ok(hearth_gguf_open(&f, path, NULL, NULL));
    assert_int_equal(hearth_gguf_find(f, "token_embd.weight")->type,
                     HEARTH_QUANT_F16);
    assert_int_equal(hearth_gguf_find(f, "output_norm.weight")->type,
                     HEARTH_QUANT_F32);
    hearth_gguf_close(f);
    tiny_drop(m, dir);
}

static void convert_refuses_what_gguf_cannot_say(void **state) {
    char dir[64], path[128];
    hearth_error err;
    (void)state;
    for (size_t i = 0; i < TINY_FAMILIES; i++) {
        const char *name = tiny_family[i].name;
        bool cannot = strcmp(name, "qwen2") == 0 ||
                      strcmp(name, "mistral") == 0 ||
                      strcmp(name, "gemma3") == 0;
        if (!cannot) continue;
        hearth_model *m = tiny_model_of(tiny_family[i].config, 5, dir);
        path_in(dir, path);
        assert_int_equal(
            hearth_model_convert(m, HEARTH_QUANT_F32, path, NULL, &err),
            HEARTH_EUNSUPPORTED);
        assert_false(hearth_file_exists(path));
        tiny_drop(m, dir);
    }
    hearth_model *m = tiny_model_of(configs[0], 5, dir);
    path_in(dir, path);
    assert_int_equal(
        hearth_model_convert(m, HEARTH_QUANT_Q4_K, path, NULL, &err),
        HEARTH_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "Q4_K"));
    tiny_drop(m, dir);
}

/* ---- a converted file, changed ---- */

static uint8_t *find_name(hearth_buf *f, const char *name) {
    size_t n = strlen(name);
    for (size_t i = 0; i + 8 + n <= f->n; i++)
        if (hearth_load_le64(f->v + i) == n &&
            memcmp(f->v + i + 8, name, n) == 0)
            return f->v + i + 8;
    fail_msg("no %s", name);
    return NULL;
}

/* The name's last letter becomes a Z. */
static void spoil(hearth_buf *f, const char *name) {
    find_name(f, name)[strlen(name) - 1] = 'Z';
}

static void set_u32(hearth_buf *f, const char *key, uint32_t v) {
    hearth_store_le32(find_name(f, key) + strlen(key) + 4, v);
}

/* A key of n bytes of value, and another that keeps the data aligned. */
static void add_key(hearth_buf *f, const char *key, hearth_gguf_type type,
                    const void *value, size_t n) {
    uint8_t in[256] = {0};
    size_t k = strlen(key), at = 8 + k + 4 + n;
    hearth_store_le64(in, k);
    memcpy(in + 8, key, k);
    hearth_store_le32(in + 8 + k, (uint32_t)type);
    memcpy(in + 12 + k, value, n);
    size_t rest = 32 - (at + 8 + 3 + 4 + 8) % 32;
    hearth_store_le64(in + at, 3);
    memcpy(in + at + 8, "pad", 3);
    hearth_store_le32(in + at + 11, HEARTH_GGUF_STRING);
    hearth_store_le64(in + at + 15, rest);
    at += 23 + rest;
    assert_true(at <= sizeof(in) && at % 32 == 0);
    assert_ok(hearth_buf_append(f, in, at));
    memmove(f->v + 24 + at, f->v + 24, f->n - at - 24);
    memcpy(f->v + 24, in, at);
    hearth_store_le64(f->v + 16, hearth_load_le64(f->v + 16) + 2);
}

static void add_u32(hearth_buf *f, const char *key, uint32_t v) {
    uint8_t bytes[4];
    hearth_store_le32(bytes, v);
    add_key(f, key, HEARTH_GGUF_U32, bytes, 4);
}

static void add_text(hearth_buf *f, const char *key, const char *text) {
    uint8_t bytes[64];
    hearth_store_le64(bytes, strlen(text));
    memcpy(bytes + 8, text, strlen(text));
    add_key(f, key, HEARTH_GGUF_STRING, bytes, 8 + strlen(text));
}

typedef enum { SPOIL, SET, ADD, TEXT, RETYPE } change_kind;

static const struct {
    size_t config;
    change_kind kind;
    const char *name;
    uint32_t value;
    const char *text;
    hearth_status st;
    const char *says;
} changes[] = {
    {0, SPOIL, "general.architecture", 0, 0, HEARTH_EFORMAT, "architecture"},
    {0, SPOIL, "llama", 0, 0, HEARTH_EUNSUPPORTED, "llamZ"},
    {0, SPOIL, "llama.block_count", 0, 0, HEARTH_EFORMAT, "is missing"},
    {0, SET, "llama.block_count", 0, 0, HEARTH_EFORMAT, "out of range"},
    {0, RETYPE, "llama.block_count", 0, 0, HEARTH_EFORMAT, "whole number"},
    {0, SET, "llama.block_count", 1, 0, HEARTH_EFORMAT, "blk.1"},
    {0, SET, "llama.block_count", 3, 0, HEARTH_EFORMAT, "blk.2"},
    {0, SPOIL, "token_embd.weight", 0, 0, HEARTH_EFORMAT, "token_embd"},
    {0, SPOIL, "blk.1.attn_k.weight", 0, 0, HEARTH_EFORMAT, "attn_k"},
    {0, SPOIL, "output.weight", 0, 0, HEARTH_EFORMAT, "output.weighZ"},
    {0, SET, "llama.embedding_length", 16, 0, HEARTH_EFORMAT, "[67, 16]"},
    {0, SET, "llama.attention.head_count_kv", 4, 0, HEARTH_EFORMAT, "fit"},
    {0, SET, "llama.attention.key_length", 5, 0, HEARTH_EUNSUPPORTED, "odd"},
    {0, SET, "llama.attention.layer_norm_rms_epsilon", 0, 0, HEARTH_EFORMAT,
     "epsilon"},
    {0, SET, "llama.rope.dimension_count", 2, 0, HEARTH_EUNSUPPORTED, "part"},
    {0, RETYPE, "llama.rope.freq_base", 0, 0, HEARTH_EFORMAT, "not a number"},
    {0, TEXT, "llama.rope.scaling.type", 0, "yarn", HEARTH_EUNSUPPORTED,
     "none or linear"},
    {0, TEXT, "llama.rope.scaling.type", 0, "linear", HEARTH_EFORMAT,
     "scaling.factor"},
    {0, ADD, "llama.rope.scaling.type", 1, 0, HEARTH_EFORMAT, "not a string"},
    {2, SET, "llama.rope.scaling.factor", 0x3f000000, 0, HEARTH_EFORMAT,
     "below 1"},
    {1, TEXT, "llama.rope.scaling.type", 0, "linear", HEARTH_EFORMAT,
     "scaling.factor"},
    {0, ADD, "llama.expert_count", 8, 0, HEARTH_EUNSUPPORTED, "experts"},
    {0, ADD, "llama.rope.scale_linear", 2, 0, HEARTH_EUNSUPPORTED, "older"},
    {0, ADD, "llama.attention.causal", 0, 0, HEARTH_EUNSUPPORTED, "causal"},
    {8, SET, "gemma3.block_count", 6, 0, HEARTH_EFORMAT, "every layer"},
    {8, SPOIL, "gemma3.attention.sliding_window", 0, 0, HEARTH_EFORMAT,
     "sliding_window"},
};

static void change_file(hearth_buf *f, size_t i) {
    const char *name = changes[i].name;
    uint8_t no = 0;
    switch (changes[i].kind) {
    case SPOIL: spoil(f, name); return;
    case SET: set_u32(f, name, changes[i].value); return;
    case TEXT: add_text(f, name, changes[i].text); return;
    case RETYPE:
        spoil(f, name);
        add_text(f, name, "x");
        return;
    case ADD:
        if (strstr(name, "causal"))
            add_key(f, name, HEARTH_GGUF_BOOL, &no, 1);
        else
            add_u32(f, name, changes[i].value);
        return;
    }
}

/* The GGUF file of a config, in memory. */
static void make_image(const char *config, hearth_buf *out) {
    char dir[64], path[128];
    hearth_model *m = tiny_model_of(config, 5, dir);
    hearth_model_close(convert(m, HEARTH_QUANT_F32, dir));
    path_in(dir, path);
    assert_ok(hearth_file_read(out, path, 1 << 20, NULL));
    tiny_drop(m, dir);
}

static hearth_status open_image(const hearth_buf *f, hearth_model_config *c,
                                hearth_error *err) {
    char dir[64], path[128];
    hearth_model *m = NULL;
    *err = (hearth_error){HEARTH_OK, ""};
    assert_non_null(hearth_test_dir(dir));
    path_in(dir, path);
    assert_ok(hearth_file_write(path, f->v, f->n, 0644, NULL));
    hearth_status st = hearth_model_open(&m, path, NULL, err);
    if (m) *c = *hearth_model_get_config(m);
    tiny_drop(m, dir);
    return st;
}

static void changed_files_are_refused_by_name(void **state) {
    hearth_model_config c;
    hearth_error err;
    (void)state;
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        hearth_buf f = HEARTH_BUF_INIT(NULL);
        make_image(configs[changes[i].config], &f);
        change_file(&f, i);
        hearth_status st = open_image(&f, &c, &err);
        if (st != changes[i].st || !strstr(err.text, changes[i].says))
            fail_msg("%s, change %zu: %d, %s", changes[i].name, i, (int)st,
                     err.text);
        hearth_buf_free(&f);
    }
}

/* rope_freqs.weight is declared first, so its data comes first. */
static void divisors_are_checked(void **state) {
    hearth_model_config c;
    hearth_error err;
    hearth_gguf *g = NULL;
    hearth_buf f = HEARTH_BUF_INIT(NULL);
    (void)state;
    make_image(configs[1], &f);
    assert_ok(hearth_gguf_open_bytes(&g, f.v, f.n, "image", NULL, NULL));
    size_t at = (size_t)(hearth_gguf_find(g, "rope_freqs.weight")->data - f.v);
    hearth_gguf_close(g);
    assert_ok(open_image(&f, &c, &err));
    assert_int_equal(c.rope_kind, HEARTH_ROPE_FACTORS);
    hearth_store_le32(f.v + at, 0);
    assert_int_equal(open_image(&f, &c, &err), HEARTH_EFORMAT);
    assert_non_null(strstr(err.text, "divisor"));
    hearth_buf_free(&f);
}

/* Files of llama.cpp's converter have no pattern: every sixth is global. */
static void a_pattern_may_be_absent_or_a_number(void **state) {
    static const char key[] = "gemma3.attention.sliding_window_pattern";
    hearth_model_config c;
    hearth_error err;
    (void)state;
    for (uint32_t every = 0; every < 4; every += 3) {
        hearth_buf f = HEARTH_BUF_INIT(NULL);
        make_image(configs[8], &f);
        spoil(&f, key);
        if (every) add_u32(&f, key, every);
        assert_ok(open_image(&f, &c, &err));
        for (uint32_t l = 0; l < c.n_layers; l++)
            assert_int_equal(c.local[l], (l + 1) % (every ? every : 6) != 0);
        hearth_buf_free(&f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_family_comes_back),
        cmocka_unit_test(short_rows_fall_back),
        cmocka_unit_test(convert_refuses_what_gguf_cannot_say),
        cmocka_unit_test(changed_files_are_refused_by_name),
        cmocka_unit_test(divisors_are_checked),
        cmocka_unit_test(a_pattern_may_be_absent_or_a_number),
    };
    return cmocka_run_group_tests_name("client/model gguf", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_families.c - client/model: every family's config.json and
 * folder, shards, folders that are one GGUF file. */
#include <math.h>

#include "tests/support/cmocka_all.h"

#include "client/model/base_model.h"
#include "client/model/model_convert.h"
#include "client/model/tensor_source.h"
#include "client/train/weight.h"
#include "common/file.h"

#define SIZES                                                                  \
    "\"hidden_size\":64,\"intermediate_size\":96,\"num_hidden_layers\":7,"     \
    "\"num_attention_heads\":32,\"vocab_size\":512"
#define LLAMA   "{\"architectures\":[\"LlamaForCausalLM\"]," SIZES
#define QWEN2   "{\"architectures\":[\"Qwen2ForCausalLM\"]," SIZES
#define QWEN3   "{\"architectures\":[\"Qwen3ForCausalLM\"]," SIZES
#define GEMMA   "{\"architectures\":[\"Gemma3ForCausalLM\"]," SIZES
#define MISTRAL "{\"architectures\":[\"MistralForCausalLM\"]," SIZES
#define PHI3    "{\"architectures\":[\"Phi3ForCausalLM\"]," SIZES
#define GPT2                                                                   \
    "{\"architectures\":[\"GPT2LMHeadModel\"],\"n_embd\":64,\"n_layer\":7,"    \
    "\"n_head\":32,\"vocab_size\":512"

static const char *const families[] = {LLAMA, QWEN2,   QWEN3, GEMMA,
                                       PHI3,  MISTRAL, GPT2};
#define N_FAMILIES (sizeof(families) / sizeof(families[0]))

static hearth_error error;

static hearth_status parse(hearth_model_config *c, const char *head,
                           const char *more) {
    char text[1024];
    error = (hearth_error){HEARTH_OK, ""};
    (void)snprintf(text, sizeof(text), "%s%s}", head, more);
    return hearth_model_config_parse(c, text, strlen(text), "config.json", NULL,
                                     &error);
}

static bool same(double a, double b) {
    return fabs(a - b) <= 0.0;
}

/* Expected values: the attributes of transformers 4.57's config classes made
 * from the same keys. */
static void absent_keys_mean_what_transformers_takes(void **state) {
    static const struct {
        const char *head;
        uint32_t kv, head_dim, positions, window, n_local, ffn;
        double eps, theta, local;
        bool tied;
    } want[] = {
        {LLAMA, 32, 2, 2048, 0, 0, 96, 1e-6, 1e4, 0, false},
        {QWEN2, 32, 2, 32768, 0, 0, 96, 1e-6, 1e4, 0, false},
        {QWEN3, 32, 128, 32768, 0, 0, 96, 1e-6, 1e4, 0, false},
        {GEMMA, 4, 256, 131072, 4096, 6, 96, 1e-6, 1e6, 1e4, true},
        {MISTRAL, 8, 2, 131072, 4096, 7, 96, 1e-6, 1e4, 0, false},
        {PHI3, 32, 2, 4096, 0, 0, 96, 1e-5, 1e4, 0, false},
        {GPT2, 32, 2, 1024, 0, 0, 256, 1e-5, 0, 0, true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
        hearth_model_config c;
        uint32_t local = 0;
        assert_ok(parse(&c, want[i].head, ""));
        for (uint32_t l = 0; l < c.n_layers; l++) local += c.local[l];
        assert_int_equal(c.n_kv_heads, want[i].kv);
        assert_int_equal(c.head_dim, want[i].head_dim);
        assert_int_equal(c.max_positions, want[i].positions);
        assert_int_equal(c.sliding_window, want[i].window);
        assert_int_equal(local, want[i].n_local);
        assert_int_equal(c.ffn_size, want[i].ffn);
        assert_int_equal(c.tied, want[i].tied);
        assert_true(same(c.norm_eps, want[i].eps));
        assert_true(same(c.rope_theta, want[i].theta));
        assert_true(same(c.rope_theta_local, want[i].local));
    }
}

static void null_is_not_absent(void **state) {
    hearth_model_config c;
    (void)state;
    assert_ok(parse(&c, MISTRAL,
                    ",\"num_key_value_heads\":null,"
                    "\"sliding_window\":null"));
    assert_int_equal(c.n_kv_heads, 32);
    assert_int_equal(c.sliding_window, 0);
    assert_ok(parse(&c, QWEN2,
                    ",\"use_sliding_window\":true,"
                    "\"sliding_window\":null"));
    assert_int_equal(c.sliding_window, 0);
    assert_ok(parse(&c, GPT2, ",\"n_inner\":null"));
    assert_int_equal(c.ffn_size, 256);
}

static void windows_are_for_the_layers_that_slide(void **state) {
    hearth_model_config c;
    (void)state;
    assert_ok(parse(&c, QWEN2,
                    ",\"use_sliding_window\":true,\"sliding_window\""
                    ":9,\"max_window_layers\":5"));
    assert_int_equal(c.sliding_window, 9);
    assert_memory_equal(c.local, "\0\0\0\0\0\1\1", 7);
    assert_ok(parse(&c, GEMMA,
                    ",\"sliding_window\":8,"
                    "\"sliding_window_pattern\":3"));
    assert_memory_equal(c.local, "\1\1\0\1\1\0\1", 7);
    assert_ok(parse(&c, GEMMA,
                    ",\"layer_types\":[\"full_attention\","
                    "\"sliding_attention\",\"full_attention\","
                    "\"full_attention\",\"full_attention\","
                    "\"full_attention\",\"full_attention\"],"
                    "\"_sliding_window_pattern\":6"));
    assert_memory_equal(c.local, "\0\1\0\0\0\0\0", 7);
    assert_ok(parse(&c, PHI3, ",\"sliding_window\":8"));
    assert_memory_equal(c.local, "\1\1\1\1\1\1\1", 7);
}

static void gemma_reads_both_spellings_of_its_bases(void **state) {
    hearth_model_config old, new;
    (void)state;
    assert_ok(parse(&old, GEMMA,
                    ",\"rope_theta\":5e5,\"rope_local_base_freq\":2e4,"
                    "\"rope_scaling\":{\"rope_type\":\"linear\","
                    "\"factor\":8.0},\"query_pre_attn_scalar\":168"));
    assert_ok(parse(&new, GEMMA,
                    ",\"rope_parameters\":{\"full_attention\":{"
                    "\"rope_type\":\"linear\",\"factor\":8.0,"
                    "\"rope_theta\":5e5},\"sliding_attention\":{"
                    "\"rope_type\":\"default\",\"rope_theta\":2e4}},"
                    "\"query_pre_attn_scalar\":168"));
    assert_memory_equal(&old, &new, sizeof(old));
    assert_true(fabs(old.attn_scale - 1.0 / sqrt(168.0)) < 1e-15);
    assert_true(same(old.embed_scale, (double)sqrtf(64.0f)));
    /* scaling is for the layers that see all */
    assert_true(
        same(hearth_model_config_rope_speed(&old, 0, false), 1.0 / 8.0));
    assert_true(same(hearth_model_config_rope_speed(&old, 0, true), 1.0));
}

typedef struct {
    const char *head, *more, *field;
} refusal;

static void check_refusals(const refusal *bad, size_t n, hearth_status want) {
    for (size_t i = 0; i < n; i++) {
        hearth_model_config c;
        hearth_status st = parse(&c, bad[i].head, bad[i].more);
        if (st != want || !strstr(error.text, bad[i].field))
            fail_msg("%s: %s (%s)", bad[i].more, hearth_status_name(st),
                     error.text);
        assert_int_equal(c.hidden_size, 0);
    }
}

static void settings_that_change_results_are_refused(void **state) {
    static const refusal bad[] = {
        {GPT2, ",\"activation_function\":\"gelu\"", "activation_function"},
        {GPT2, ",\"activation_function\":\"relu\"", "activation_function"},
        {GPT2, ",\"scale_attn_weights\":false", "scale_attn_weights"},
        {GPT2, ",\"scale_attn_by_inverse_layer_idx\":true",
         "scale_attn_by_inverse_layer_idx"},
        {GPT2, ",\"reorder_and_upcast_attn\":true", "reorder_and_upcast_attn"},
        {GPT2, ",\"add_cross_attention\":true", "add_cross_attention"},
        {GPT2, ",\"quantization_config\":{\"bits\":4}", "quantization_config"},
        {GPT2, ",\"rope_theta\":1e4", "rope_theta"},
        {QWEN2, ",\"attention_bias\":true", "attention_bias"},
        {QWEN2, ",\"use_mrope\":true", "use_mrope"},
        {QWEN2,
         ",\"layer_types\":[\"chunked_attention\",\"\",\"\",\"\",\"\","
         "\"\",\"\"]",
         "layer_types"},
        {GEMMA, ",\"attn_logit_softcapping\":50.0", "attn_logit_softcapping"},
        {GEMMA, ",\"final_logit_softcapping\":30.0", "final_logit_softcapping"},
        {GEMMA, ",\"use_bidirectional_attention\":true",
         "use_bidirectional_attention"},
        {GEMMA, ",\"hidden_activation\":\"gelu\"", "hidden_activation"},
        {GEMMA,
         ",\"rope_parameters\":{\"full_attention\":{},"
         "\"sliding_attention\":{\"rope_type\":\"linear\",\"factor\":2}}",
         "rope_parameters"},
        {PHI3, ",\"rope_scaling\":{\"type\":\"longrope\"}", "rope_scaling"},
        {PHI3, ",\"partial_rotary_factor\":0.5", "partial_rotary_factor"},
        {MISTRAL, ",\"head_dim\":1024", "head_dim"},
        {MISTRAL,
         ",\"layer_types\":[\"full_attention\",\"full_attention\","
         "\"full_attention\",\"full_attention\",\"full_attention\","
         "\"full_attention\",\"sliding_attention\"]",
         "layer_types"},
        {"{\"architectures\":[\"Gemma3ForConditionalGeneration\"]", "",
         "pictures"},
    };
    (void)state;
    check_refusals(bad, sizeof(bad) / sizeof(bad[0]), HEARTH_EUNSUPPORTED);
}

static void wrong_values_are_named(void **state) {
    static const refusal bad[] = {
        {GPT2, ",\"n_inner\":0", "n_inner"},
        {GPT2, ",\"layer_norm_epsilon\":\"x\"", "layer_norm_epsilon"},
        {GPT2, ",\"n_positions\":-1", "n_positions"},
        {"{\"architectures\":[\"GPT2LMHeadModel\"],\"n_embd\":64,"
         "\"n_layer\":7,\"n_head\":30,\"vocab_size\":512",
         "", "n_embd"},
        {QWEN2, ",\"use_sliding_window\":3", "use_sliding_window"},
        {QWEN2, ",\"use_sliding_window\":true,\"max_window_layers\":\"x\"",
         "max_window_layers"},
        {QWEN2, ",\"layer_types\":[]", "layer_types"},
        {QWEN2, ",\"layer_types\":[1,2,3,4,5,6,7]", "layer_types"},
        {QWEN2,
         ",\"layer_types\":[\"sliding_attention\",\"full_attention\","
         "\"full_attention\",\"full_attention\",\"full_attention\","
         "\"full_attention\",\"full_attention\"]",
         "slides without"},
        {GEMMA, ",\"sliding_window\":null", "slides without"},
        {GEMMA, ",\"sliding_window\":0", "sliding_window"},
        {GEMMA, ",\"sliding_window_pattern\":0", "sliding_window_pattern"},
        {GEMMA, ",\"_sliding_window_pattern\":3", "_sliding_window_pattern"},
        {GEMMA, ",\"query_pre_attn_scalar\":2.5", "query_pre_attn_scalar"},
        {GEMMA, ",\"rope_local_base_freq\":0", "rope_local_base_freq"},
        {GEMMA, ",\"rope_parameters\":{\"full_attention\":{}}",
         "rope_parameters"},
        {LLAMA,
         ",\"rope_theta\":2e4,\"rope_scaling\":{\"rope_type\":"
         "\"default\",\"rope_theta\":3e4}",
         "rope_theta"},
    };
    (void)state;
    check_refusals(bad, sizeof(bad) / sizeof(bad[0]), HEARTH_EFORMAT);
}

static void written_configs_parse_to_the_same(void **state) {
    static const refusal more[] = {
        {LLAMA, ",\"head_dim\":10", ""},
        {GEMMA, ",\"sliding_window_pattern\":1", ""}, /* none slides */
        {GEMMA, ",\"query_pre_attn_scalar\":168", ""},
        {QWEN3, ",\"use_sliding_window\":true,\"max_window_layers\":2", ""},
        {MISTRAL, ",\"sliding_window\":null", ""},
        {PHI3, ",\"sliding_window\":2047", ""},
        {GPT2, ",\"n_inner\":100,\"tie_word_embeddings\":false", ""},
    };
    (void)state;
    for (size_t i = 0; i < N_FAMILIES + sizeof(more) / sizeof(more[0]); i++) {
        hearth_model_config a, b;
        hearth_buf out = HEARTH_BUF_INIT(NULL);
        const refusal *m = i < N_FAMILIES ? NULL : &more[i - N_FAMILIES];
        assert_ok(parse(&a, m ? m->head : families[i], m ? m->more : ""));
        assert_ok(hearth_model_config_write(&a, &out));
        assert_ok(hearth_model_config_parse(&b, hearth_buf_str(&out), out.n,
                                            "written", NULL, &error));
        assert_memory_equal(&a, &b, sizeof(a));
        hearth_buf_free(&out);
    }
}

/* ---- folders ---- */

static void make_folder(char dir[64], size_t family, hearth_dtype dtype) {
    char path[128], text[1024];
    (void)snprintf(text, sizeof(text), "%s%s}", families[family],
                   family == N_FAMILIES - 1 ? ",\"n_positions\":40"
                                            : ",\"head_dim\":4");
    assert_non_null(hearth_test_dir(dir));
    (void)snprintf(path, sizeof(path), "%s/c.json", dir);
    assert_ok(hearth_file_write(path, text, strlen(text), 0644, NULL));
    if (hearth_model_create_as(dtype, path, NULL, 5, dir, NULL, &error) != 0)
        fail_msg("%s", error.text);
}

static void open_ok(hearth_model **m, const char *dir) {
    if (hearth_model_open(m, dir, NULL, &error) != HEARTH_OK)
        fail_msg("%s", error.text);
}

/* The file rewritten as shards of names from[..]; drop: bytes of each name to
 * leave out at its front when it starts with the prefix. */
static void rewrite(const char *dir, const char *to, size_t part, size_t parts,
                    const char *prefix) {
    char in[128], out[128];
    hearth_safetensors *f = NULL;
    hearth_safetensors_writer *w = NULL;
    (void)snprintf(in, sizeof(in), "%s/model.safetensors", dir);
    (void)snprintf(out, sizeof(out), "%s/%s", dir, to);
    assert_ok(hearth_safetensors_open(&f, in, NULL, NULL));
    assert_ok(hearth_safetensors_writer_new(&w, out, NULL, NULL));
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = part; i < hearth_safetensors_count(f); i += parts) {
            const hearth_tensor *t = hearth_safetensors_at(f, i);
            size_t n = strlen(prefix);
            const char *name = t->name;
            if (n && strncmp(name, prefix, n) == 0) name += n;
            if (pass == 0)
                assert_ok(hearth_safetensors_writer_declare(
                    w, name, t->dtype, t->n_dims, t->dim, NULL));
            else
                assert_ok(hearth_safetensors_writer_write(
                    w, t->data, (size_t)t->n_bytes, NULL));
        }
    assert_ok(hearth_safetensors_writer_finish(w, NULL));
    hearth_safetensors_writer_free(w);
    hearth_safetensors_close(f);
}

static void every_family_is_created_and_opened(void **state) {
    static float a[64 * 256], b[64 * 256];
    static const uint32_t targets[] = {127, 127, 127, 127, 0x1c8, 127, 0xe8};
    static const uint32_t automatic[] = {5, 5, 5, 5, 128, 5, 128};
    (void)state;
    for (size_t i = 0; i < N_FAMILIES; i++) {
        char dir[64], file[128];
        hearth_model *m = NULL, *bare = NULL;
        bool gpt2 = i == N_FAMILIES - 1;
        make_folder(dir, i, i % 2 ? HEARTH_DTYPE_BF16 : HEARTH_DTYPE_F32);
        open_ok(&m, dir);
        assert_int_equal(hearth_model_targets(m), targets[i]);
        assert_int_equal(hearth_model_auto_targets(m), automatic[i]);
        const hearth_weight *norm =
            hearth_model_weight(m, HEARTH_TENSOR_NORM_ATTN, 6);
        float v[64];
        hearth_weight_copy(norm, v);
        assert_true(same((double)v[9], i == 3 ? 0.0 : 1.0));
        /* names without their prefix are the same model */
        rewrite(dir, "bare", 0, 1, gpt2 ? "transformer." : "model.");
        (void)snprintf(file, sizeof(file), "%s/model.safetensors", dir);
        char from[128];
        (void)snprintf(from, sizeof(from), "%s/bare", dir);
        assert_int_equal(rename(from, file), 0);
        open_ok(&bare, dir);
        hearth_weight_copy(hearth_model_weight(m, HEARTH_TENSOR_DOWN, 6), a);
        hearth_weight_copy(hearth_model_weight(bare, HEARTH_TENSOR_DOWN, 6), b);
        assert_memory_equal(a, b, 64 * 96 * sizeof(a[0]));
        hearth_model_close(bare);
        hearth_model_close(m);
        assert_ok(hearth_file_remove_tree(dir, NULL));
    }
}

/* An index that says of each tensor which of two shards has it; wrong: the
 * position of one entry that is changed. */
typedef enum { FITS, OTHER_SHARD, ONE_LESS, ONE_MORE } index_change;

static void write_index(const char *dir, index_change change) {
    char path[128];
    hearth_tensor_source *s = NULL;
    hearth_buf out = HEARTH_BUF_INIT(NULL);
    (void)snprintf(path, sizeof(path), "%s/model.safetensors.index.json", dir);
    assert_ok(hearth_tensor_source_open(&s, dir, NULL, NULL));
    assert_ok(hearth_buf_puts(&out, "{\"metadata\":{},\"weight_map\":{"));
    for (size_t i = 0; i < hearth_tensor_source_count(s); i++) {
        size_t part = i % 2;
        if (i == 4 && change == ONE_LESS) continue;
        if (i == 4 && change == OTHER_SHARD) part = 1;
        assert_ok(hearth_buf_printf(&out, "%s\"%s\":\"s%zu.safetensors\"",
                                    i ? "," : "",
                                    hearth_tensor_source_at(s, i)->name, part));
    }
    if (change == ONE_MORE)
        assert_ok(hearth_buf_puts(&out, ",\"ghost\":\"s0.safetensors\""));
    assert_ok(hearth_buf_puts(&out, "}}"));
    assert_ok(hearth_file_write(path, out.v, out.n, 0644, NULL));
    hearth_buf_free(&out);
    hearth_tensor_source_close(s);
}

static void shards_are_the_same_model(void **state) {
    char dir[64], one[128], kept[128];
    uint8_t digest[32];
    hearth_model *m = NULL;
    (void)state;
    make_folder(dir, 3, HEARTH_DTYPE_BF16);
    open_ok(&m, dir);
    memcpy(digest, hearth_model_digest(m), 32);
    hearth_model_close(m);
    rewrite(dir, "s0.safetensors", 0, 2, "");
    rewrite(dir, "s1.safetensors", 1, 2, "");
    (void)snprintf(one, sizeof(one), "%s/model.safetensors", dir);
    (void)snprintf(kept, sizeof(kept), "%s/kept", dir);
    for (int change = FITS; change <= ONE_MORE; change++) {
        static const char *const named[] = {"", "up_proj", "up_proj", "ghost"};
        write_index(dir, (index_change)change);
        assert_int_equal(rename(one, kept), 0);
        m = NULL;
        error = (hearth_error){HEARTH_OK, ""};
        hearth_status st = hearth_model_open(&m, dir, NULL, &error);
        assert_int_equal(st, change == FITS ? HEARTH_OK : HEARTH_EFORMAT);
        if (!strstr(error.text, named[change]))
            fail_msg("change %d: %s", change, error.text);
        if (m) assert_memory_equal(hearth_model_digest(m), digest, 32);
        hearth_model_close(m);
        assert_int_equal(rename(kept, one), 0);
    }
    assert_ok(hearth_file_remove_tree(dir, NULL));
}

static void a_folder_may_be_one_gguf_file(void **state) {
    char dir[64], path[128], id[65], gguf_id[65];
    hearth_model *m = NULL;
    (void)state;
    make_folder(dir, 1, HEARTH_DTYPE_F32);
    open_ok(&m, dir);
    hearth_model_base_id(m, id);
    (void)snprintf(path, sizeof(path), "%s/g", dir);
    assert_ok(hearth_file_mkdirs(path, NULL));
    (void)snprintf(path, sizeof(path), "%s/g/a.gguf", dir);
    if (hearth_model_convert(m, HEARTH_QUANT_F16, path, NULL, &error) != 0)
        fail_msg("%s", error.text);
    hearth_model_close(m);
    m = NULL;
    (void)snprintf(path, sizeof(path), "%s/g", dir);
    open_ok(&m, path);
    assert_non_null(strstr(hearth_model_dir(m), "a.gguf"));
    hearth_model_base_id(m, gguf_id);
    assert_string_equal(id, gguf_id);
    hearth_model_close(m);
    /* two of them: which? */
    (void)snprintf(path, sizeof(path), "%s/g/b.gguf", dir);
    assert_ok(hearth_file_write(path, "", 0, 0644, NULL));
    (void)snprintf(path, sizeof(path), "%s/g", dir);
    assert_int_equal(hearth_model_open(&m, path, NULL, &error), HEARTH_EINVAL);
    assert_null(m);
    assert_ok(hearth_file_remove_tree(dir, NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(absent_keys_mean_what_transformers_takes),
        cmocka_unit_test(null_is_not_absent),
        cmocka_unit_test(windows_are_for_the_layers_that_slide),
        cmocka_unit_test(gemma_reads_both_spellings_of_its_bases),
        cmocka_unit_test(settings_that_change_results_are_refused),
        cmocka_unit_test(wrong_values_are_named),
        cmocka_unit_test(written_configs_parse_to_the_same),
        cmocka_unit_test(every_family_is_created_and_opened),
        cmocka_unit_test(shards_are_the_same_model),
        cmocka_unit_test(a_folder_may_be_one_gguf_file),
    };
    return cmocka_run_group_tests_name("client/model families", tests, NULL,
                                       NULL);
}

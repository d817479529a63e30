/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_adapter_peft.c - common/adapter_peft.h */
#include <math.h>

#include "common/adapter_combine.h"
#include "common/adapter_peft.h"
#include "common/bytes.h"
#include "common/file.h"
#include "common/safetensors.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/fail_alloc.h"

static char folder[64];

static const hearth_module_info MODULES[] = {
    {"model.layers.0.self_attn.q_proj", 0, 0, 6, 6},
    {"model.layers.0.self_attn.v_proj", 0, 2, 6, 4},
    {"model.layers.1.self_attn.q_proj", 1, 0, 6, 6},
    {"model.layers.1.self_attn.v_proj", 1, 2, 6, 4},
};
#define N_MODULES 4

static int setup(void **state) {
    (void)state;
    return hearth_test_dir(folder) ? 0 : 1;
}

static int teardown(void **state) {
    (void)state;
    return hearth_file_remove_tree(folder, NULL) == HEARTH_OK ? 0 : 1;
}

static const char *path_of(const char *name) {
    static char path[200];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static hearth_adapter *make(uint32_t last_layers, bool freeze_a) {
    hearth_lora_spec spec = {2,           3.5f,  HEARTH_TARGETS_QV,
                             last_layers, false, freeze_a};
    uint8_t seed[32] = {9};
    hearth_adapter *a = NULL;
    assert_ok(hearth_adapter_new(&a, &spec, MODULES, N_MODULES, NULL, NULL));
    assert_ok(hearth_adapter_init_a_from_seed(a, seed));
    for (size_t i = 0; i < a->n_pairs; i++)
        for (size_t k = 0; k < (size_t)a->pair[i].out * 2; k++)
            a->pair[i].b[k] = (float)k * 0.25f - (float)i;
    return a;
}

static void peft_save_and_load_round_trip(void **state) {
    (void)state;
    hearth_peft_info info = {.base = "some/base", .base_id = "abcd"}, got;
    for (uint32_t last = 0; last < 2; last++) {
        hearth_adapter *a = make(last, true), *b = NULL;
        const char *dir = path_of("round");
        a->dropout = 0.125f;
        assert_ok(hearth_adapter_save(a, dir, &info, NULL));
        assert_ok(
            hearth_adapter_load(&b, dir, MODULES, N_MODULES, &got, NULL, NULL));
        assert_int_equal(a->n_values, b->n_values);
        assert_memory_equal(a->values, b->values, a->n_values * sizeof(float));
        assert_true(b->freeze_a && b->has_a_seed);
        assert_memory_equal(a->a_seed, b->a_seed, 32);
        assert_true(b->pair[0].alpha == 3.5f && b->dropout == 0.125f);
        assert_string_equal(got.base, "some/base");
        assert_string_equal(got.base_id, "abcd");
        assert_int_equal(got.rank, 2);
        assert_int_equal(got.targets, HEARTH_TARGETS_QV);
        assert_int_equal(got.n_applied, got.n_tensors);
        assert_int_equal(got.n_tensors, 2 * a->n_pairs);
        hearth_adapter_free(b);
        assert_ok(hearth_adapter_load(&b, dir, NULL, 0, NULL, NULL, NULL));
        assert_memory_equal(a->values, b->values, a->n_values * sizeof(float));
        hearth_adapter_free(a);
        hearth_adapter_free(b);
    }
}

static void peft_patterns_round_trip(void **state) {
    (void)state;
    hearth_adapter_pair shape[3] = {0};
    hearth_adapter *a = NULL, *b = NULL;
    for (int i = 0; i < 3; i++) {
        const hearth_module_info *m = &MODULES[i];
        memcpy(shape[i].module, m->name, strlen(m->name) + 1);
        shape[i].layer = m->layer;
        shape[i].target = m->target;
        shape[i].in = m->in;
        shape[i].out = m->out;
        shape[i].rank = 1 + (uint32_t)i;
        shape[i].alpha = 0.5f + (float)i;
    }
    assert_ok(hearth_adapter_new_shaped(&a, shape, 3, true, NULL, NULL));
    for (size_t i = 0; i < a->n_values; i++) a->values[i] = (float)i;
    assert_ok(hearth_adapter_save(a, path_of("patterns"), NULL, NULL));
    assert_ok(hearth_adapter_load(&b, path_of("patterns"), MODULES, N_MODULES,
                                  NULL, NULL, NULL));
    assert_ok(hearth_adapter_same_shape(a, b, NULL));
    assert_memory_equal(a->values, b->values, a->n_values * sizeof(float));
    hearth_adapter_free(a);
    hearth_adapter_free(b);
}

/* ---- folders made by hand ---- */

#define CONFIG(more)                                                           \
    "{\"peft_type\":\"LORA\",\"r\":2,\"lora_alpha\":4,"                        \
    "\"target_modules\":[\"q_proj\",\"v_proj\"]" more "}"

typedef struct {
    const char *name;
    hearth_dtype dtype;
    uint64_t rows, cols;
    float value;
} tensor;

#define Q0 "base_model.model.model.layers.0.self_attn.q_proj."
#define V0 "base_model.model.model.layers.0.self_attn.v_proj."
static const tensor GOOD[] = {{Q0 "lora_A.weight", 0, 2, 6, 1.0f},
                              {Q0 "lora_B.weight", 0, 6, 2, 2.0f}};

static void write_folder(const char *dir, const char *config, const tensor *t,
                         size_t n, const char *key, const char *value) {
    char path[300];
    hearth_safetensors_writer *w = NULL;
    assert_ok(hearth_file_mkdirs(dir, NULL));
    snprintf(path, sizeof(path), "%s/adapter_config.json", dir);
    assert_ok(hearth_file_write(path, config, strlen(config), 0644, NULL));
    snprintf(path, sizeof(path), "%s/adapter_model.safetensors", dir);
    assert_ok(hearth_safetensors_writer_new(&w, path, NULL, NULL));
    if (key) assert_ok(hearth_safetensors_writer_metadata(w, key, value, NULL));
    for (size_t i = 0; i < n; i++) {
        uint64_t dim[2] = {t[i].rows, t[i].cols};
        assert_ok(hearth_safetensors_writer_declare(w, t[i].name, t[i].dtype, 2,
                                                    dim, NULL));
    }
    for (size_t i = 0; i < n; i++)
        for (uint64_t k = 0; k < t[i].rows * t[i].cols; k++) {
            uint16_t half = 0x3f80; /* 1.0 as BF16 */
            assert_ok(t[i].dtype == HEARTH_DTYPE_F32
                          ? hearth_safetensors_writer_write_f32(w, &t[i].value,
                                                                1, NULL)
                          : hearth_safetensors_writer_write(w, &half, 2, NULL));
        }
    assert_ok(hearth_safetensors_writer_finish(w, NULL));
    hearth_safetensors_writer_free(w);
}

static hearth_status load_folder(const char *config, const tensor *t, size_t n,
                                 bool with_model) {
    hearth_adapter *a = NULL;
    hearth_error err = {0};
    write_folder(path_of("hand"), config, t, n, NULL, NULL);
    hearth_status st =
        hearth_adapter_load(&a, path_of("hand"), with_model ? MODULES : NULL,
                            with_model ? N_MODULES : 0, NULL, NULL, &err);
    assert_true((a != NULL) == (st == HEARTH_OK));
    if (st != HEARTH_OK) assert_true(err.text[0] != 0);
    hearth_adapter_free(a);
    return st;
}

static void peft_load_takes_what_peft_writes(void **state) {
    (void)state;
    const tensor in_memory[] = {{Q0 "lora_A.default.weight", 0, 2, 6, 1.0f},
                                {Q0 "lora_B.default.weight", 0, 6, 2, 2.0f}};
    const tensor half[] = {{Q0 "lora_A.weight", HEARTH_DTYPE_BF16, 2, 6, 0},
                           {Q0 "lora_B.weight", HEARTH_DTYPE_BF16, 6, 2, 0}};
    assert_ok(load_folder(CONFIG(""), GOOD, 2, true));
    assert_ok(load_folder(CONFIG(",\"new_key_of_peft\":7"), GOOD, 2, false));
    assert_ok(load_folder(CONFIG(""), in_memory, 2, true));
    assert_ok(load_folder(CONFIG(""), half, 2, true));
}

static void peft_load_is_strict_about_tensors(void **state) {
    (void)state;
    const tensor lonely[] = {GOOD[0]};
    const tensor stranger[] = {
        GOOD[0], GOOD[1], {"lm_head.weight", 0, 2, 2, 0.0f}};
    const tensor swapped[] = {{Q0 "lora_A.weight", 0, 6, 2, 1.0f},
                              {Q0 "lora_B.weight", 0, 2, 6, 1.0f}};
    const tensor uneven[] = {GOOD[0], {Q0 "lora_B.weight", 0, 6, 3, 1.0f}};
    const tensor rank[] = {{Q0 "lora_A.weight", 0, 3, 6, 1.0f},
                           {Q0 "lora_B.weight", 0, 6, 3, 1.0f}};
    const tensor twice[] = {GOOD[0],
                            {Q0 "lora_A.default.weight", 0, 2, 6, 1.0f}};
    const tensor nan[] = {GOOD[0], {Q0 "lora_B.weight", 0, 6, 2, NAN}};
    const tensor width[] = {{Q0 "lora_A.weight", 0, 2, 7, 1.0f}, GOOD[1]};
    const tensor v[] = {{V0 "lora_A.weight", 0, 2, 6, 1.0f},
                        {V0 "lora_B.weight", 0, 5, 2, 1.0f}};
    const tensor gpt2[] = {
        {"base_model.model.h.0.c_attn.lora_A.weight", 0, 2, 6, 1.0f},
        {"base_model.model.h.0.c_attn.lora_B.weight", 0, 6, 2, 1.0f}};
    assert_int_equal(load_folder(CONFIG(""), lonely, 1, true), HEARTH_EFORMAT);
    assert_int_equal(load_folder(CONFIG(""), stranger, 3, true),
                     HEARTH_EFORMAT);
    assert_int_equal(load_folder(CONFIG(""), swapped, 2, true), HEARTH_EFORMAT);
    assert_int_equal(load_folder(CONFIG(""), uneven, 2, true), HEARTH_EFORMAT);
    assert_int_equal(load_folder(CONFIG(""), rank, 2, true), HEARTH_EFORMAT);
    assert_int_equal(load_folder(CONFIG(""), twice, 2, true), HEARTH_EFORMAT);
    assert_int_equal(load_folder(CONFIG(""), GOOD, 0, true), HEARTH_EFORMAT);
    assert_int_equal(load_folder(CONFIG(""), nan, 2, true), HEARTH_ENONFINITE);
    assert_int_equal(load_folder(CONFIG(""), width, 2, true), HEARTH_EMISMATCH);
    assert_int_equal(load_folder(CONFIG(""), v, 2, true), HEARTH_EMISMATCH);
    assert_int_equal(load_folder(CONFIG(""), gpt2, 2, true), HEARTH_EMISMATCH);
    assert_int_equal(load_folder(CONFIG(""), gpt2, 2, false),
                     HEARTH_EUNSUPPORTED);
}

/* The writer has no integer types: a file by hand. */
static void peft_load_refuses_integers(void **state) {
    (void)state;
    const char head[] =
        "{\"" Q0 "lora_A.weight\":{\"dtype\":\"I32\",\"shape\":[2,6],"
        "\"data_offsets\":[0,48]},\"" Q0 "lora_B.weight\":{\"dtype\":\"F32\","
        "\"shape\":[6,2],\"data_offsets\":[48,96]}}";
    uint8_t file[8 + sizeof(head) - 1 + 96] = {0};
    char path[300];
    hearth_adapter *a = NULL;
    hearth_store_le64(file, sizeof(head) - 1);
    memcpy(file + 8, head, sizeof(head) - 1);
    write_folder(path_of("ints"), CONFIG(""), GOOD, 2, NULL, NULL);
    snprintf(path, sizeof(path), "%s/adapter_model.safetensors",
             path_of("ints"));
    assert_ok(hearth_file_write(path, file, sizeof(file), 0644, NULL));
    assert_int_equal(
        hearth_adapter_load(&a, path_of("ints"), NULL, 0, NULL, NULL, NULL),
        HEARTH_EUNSUPPORTED);
    assert_null(a);
}

static void peft_load_refuses_a_false_seed(void **state) {
    (void)state;
    hearth_adapter *a = NULL;
    char hex[65];
    memset(hex, '0', 64);
    hex[64] = 0;
    write_folder(path_of("seed"), CONFIG(""), GOOD, 2, "hearth.a_seed", hex);
    assert_int_equal(
        hearth_adapter_load(&a, path_of("seed"), NULL, 0, NULL, NULL, NULL),
        HEARTH_EFORMAT);
    write_folder(path_of("seed"), CONFIG(""), GOOD, 2, "hearth.a_seed", "zz");
    assert_int_equal(
        hearth_adapter_load(&a, path_of("seed"), NULL, 0, NULL, NULL, NULL),
        HEARTH_EFORMAT);
    assert_int_equal(
        hearth_adapter_load(&a, path_of("nowhere"), NULL, 0, NULL, NULL, NULL),
        HEARTH_ENOTFOUND);
    assert_null(a);
}

static hearth_status parse(const char *json) {
    hearth_peft_info info;
    hearth_error err = {0};
    hearth_status st =
        hearth_peft_config_parse(json, strlen(json), &info, NULL, NULL, &err);
    if (st != HEARTH_OK) assert_true(info.rank == 0 && err.text[0] != 0);
    return st;
}

static void peft_config_reads_defaults_and_strings(void **state) {
    (void)state;
    hearth_peft_info info;
    const char *least =
        "{\"peft_type\":\"LORA\",\"target_modules\":"
        "[\"self_attn.k_proj\",\"model.layers.0.mlp.up_proj\"]}";
    assert_ok(hearth_peft_config_parse(least, strlen(least), &info, NULL, NULL,
                                       NULL));
    assert_int_equal(info.rank, 8);
    assert_true(info.alpha == 8.0f && !info.rslora);
    assert_int_equal(info.targets, HEARTH_TARGET_BIT(1) | HEARTH_TARGET_BIT(5));
    assert_ok(parse("{\"peft_type\":\"LORA\",\"target_modules\":"
                    "\"all-linear\"}"));
    assert_ok(parse("{\"peft_type\":\"LORA\",\"target_modules\":\".*q.*\"}"));
    assert_ok(parse(CONFIG(",\"bias\":\"none\",\"modules_to_save\":null,"
                           "\"use_rslora\":true,\"layer_replication\":[],"
                           "\"lora_dropout\":0.1,\"use_dora\":false")));
}

static void peft_config_refuses(void **state) {
    (void)state;
    const char *const format[] = {
        "",
        "[]",
        "{",
        "{}",
        "{\"peft_type\":7}",
        "{\"peft_type\":\"LORA\"}",
        "{\"peft_type\":\"LORA\",\"target_modules\":[]}",
        "{\"peft_type\":\"LORA\",\"target_modules\":[1]}",
        "{\"peft_type\":\"LORA\",\"r\":0,\"target_modules\":[\"q_proj\"]}",
        "{\"peft_type\":\"LORA\",\"r\":1.5,\"target_modules\":[\"q_proj\"]}",
        "{\"peft_type\":\"LORA\",\"r\":1025,\"target_modules\":[\"q_proj\"]}",
        "{\"peft_type\":\"LORA\",\"lora_alpha\":0,"
        "\"target_modules\":[\"q_proj\"]}",
        "{\"peft_type\":\"LORA\",\"lora_alpha\":\"x\","
        "\"target_modules\":[\"q_proj\"]}",
        CONFIG(",\"lora_dropout\":1"),
        CONFIG(",\"lora_dropout\":[]"),
        CONFIG(",\"use_rslora\":1"),
        CONFIG(",\"bias\":3"),
        CONFIG(",\"use_dora\":\"no\""),
        CONFIG(",\"rank_pattern\":[]"),
        CONFIG(",\"rank_pattern\":{\"q_proj\":0}"),
        CONFIG(",\"rank_pattern\":{\"q_proj\":2.5}"),
        CONFIG(",\"alpha_pattern\":{\"q_proj\":\"x\"}"),
        CONFIG(",\"base_model_name_or_path\":3"),
        CONFIG(",\"r\":3")};
    const char *const unsupported[] = {
        "{\"peft_type\":\"IA3\",\"target_modules\":[\"q_proj\"]}",
        "{\"peft_type\":\"LORA\",\"target_modules\":[\"lm_head\"]}",
        "{\"peft_type\":\"LORA\",\"target_modules\":[\"attn\"]}",
        CONFIG(",\"bias\":\"all\""),
        CONFIG(",\"use_dora\":true"),
        CONFIG(",\"lora_bias\":true"),
        CONFIG(",\"modules_to_save\":[\"lm_head\"]"),
        CONFIG(",\"layer_replication\":[[0,1]]"),
        CONFIG(",\"rank_pattern\":{\"q{2}\":2}")};
    for (size_t i = 0; i < sizeof(format) / sizeof(*format); i++)
        if (parse(format[i]) != HEARTH_EFORMAT) fail_msg("case %zu", i);
    for (size_t i = 0; i < sizeof(unsupported) / sizeof(char *); i++)
        if (parse(unsupported[i]) != HEARTH_EUNSUPPORTED)
            fail_msg("case %zu", i);
    hearth_peft_info info;
    assert_int_equal(hearth_peft_config_parse("{", HEARTH_PEFT_CONFIG_LIMIT + 1,
                                              &info, NULL, NULL, NULL),
                     HEARTH_ETOOBIG);
}

static void peft_survives_refused_memory(void **state) {
    (void)state;
    write_folder(path_of("oom"), CONFIG(",\"rank_pattern\":{\"q_proj\":2}"),
                 GOOD, 2, NULL, NULL);
    for (size_t k = 1;; k++) {
        hearth_fail_alloc fa;
        hearth_alloc al = hearth_fail_alloc_init(&fa, k);
        hearth_adapter *a = NULL;
        hearth_status st = hearth_adapter_load(&a, path_of("oom"), MODULES,
                                               N_MODULES, NULL, &al, NULL);
        char out[200];
        snprintf(out, sizeof(out), "%s/oom_out", folder);
        if (st == HEARTH_OK) st = hearth_adapter_save(a, out, NULL, NULL);
        hearth_adapter_free(a);
        assert_int_equal(fa.live, 0);
        if (st == HEARTH_OK) break;
        assert_int_equal(st, HEARTH_ENOMEM);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(peft_save_and_load_round_trip),
        cmocka_unit_test(peft_patterns_round_trip),
        cmocka_unit_test(peft_load_takes_what_peft_writes),
        cmocka_unit_test(peft_load_is_strict_about_tensors),
        cmocka_unit_test(peft_load_refuses_integers),
        cmocka_unit_test(peft_load_refuses_a_false_seed),
        cmocka_unit_test(peft_config_reads_defaults_and_strings),
        cmocka_unit_test(peft_config_refuses),
        cmocka_unit_test(peft_survives_refused_memory),
    };
    return cmocka_run_group_tests_name("common/adapter_peft", tests, setup,
                                       teardown);
}

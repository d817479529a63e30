/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_lora_names.c - common/lora_names.h */
#include "common/lora_names.h"
#include "tests/support/cmocka_all.h"

static void lora_names_targets_parse_words_and_lists(void **state) {
    (void)state;
    const struct {
        const char *text;
        uint32_t mask;
    } good[] = {{"auto", 0x05},          {"attn", 0x0f}, {"all-linear", 0x7f},
                {"q_proj,v_proj", 0x05}, {"v,q", 0x05},  {"down_proj", 0x40},
                {"gate,up,down", 0x70}};
    const char *bad[] = {"", "q,", ",q", "q,q", "w", "auto,q", "q_proj v_proj"};
    uint32_t mask;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        assert_ok(hearth_targets_parse(good[i].text, &mask));
        assert_int_equal(mask, good[i].mask);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        assert_int_equal(hearth_targets_parse(bad[i], &mask), HEARTH_EINVAL);
        assert_int_equal(mask, 0);
    }
    assert_int_equal(hearth_targets_parse(NULL, &mask), HEARTH_EINVAL);
}

static void lora_names_targets_format_cuts_and_counts(void **state) {
    (void)state;
    char text[64];
    assert_int_equal(hearth_targets_format(0x05, text, sizeof(text)), 13);
    assert_string_equal(text, "q_proj,v_proj");
    assert_int_equal(hearth_targets_format(0x05, text, 8), 13);
    assert_string_equal(text, "q_proj,");
    assert_int_equal(hearth_targets_format(0x05, NULL, 0), 13);
    assert_string_equal(hearth_target_name(6), "down_proj");
    assert_string_equal(hearth_target_name(7), "?");
}

static void lora_names_module_round_trips(void **state) {
    (void)state;
    char name[HEARTH_LORA_MODULE_MAX];
    for (uint32_t layer = 0; layer < 1024; layer += 341)
        for (uint32_t t = 0; t < HEARTH_TARGET_COUNT; t++) {
            uint32_t l = 9999, u = 9999;
            assert_ok(hearth_lora_module_name(name, sizeof(name), layer, t));
            assert_ok(hearth_lora_module_parse(name, strlen(name), &l, &u));
            assert_true(l == layer && u == t);
        }
    assert_string_equal(name, "model.layers.1023.mlp.down_proj");
    assert_int_equal(hearth_lora_module_name(name, sizeof(name), 1024, 0),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_lora_module_name(name, sizeof(name), 0, 7),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_lora_module_name(name, 12, 0, 0), HEARTH_ETOOBIG);
    assert_string_equal(name, "");
}

static void lora_names_module_parse_takes_one_spelling(void **state) {
    (void)state;
    const char *bad[] = {"",
                         "model.layers.",
                         "model.layers.x.self_attn.q_proj",
                         "model.layers.00.self_attn.q_proj",
                         "model.layers.0.mlp.q_proj",
                         "model.layers.0.self_attn.q",
                         "model.layers.0.self_attn.q_proj.x",
                         "model.layers.1024.self_attn.q_proj",
                         "model.layers.99999999999999.self_attn.q_proj",
                         "transformer.h.0.attn.c_attn"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        uint32_t l = 7, t = 7;
        assert_int_equal(
            hearth_lora_module_parse(bad[i], strlen(bad[i]), &l, &t),
            HEARTH_EFORMAT);
        assert_true(l == 7 && t == 7);
    }
}

static void lora_names_peft_key_round_trips(void **state) {
    (void)state;
    char key[HEARTH_LORA_NAME_MAX], module[HEARTH_LORA_MODULE_MAX];
    hearth_lora_factor f;
    const char *m = "model.layers.0.self_attn.q_proj";
    assert_ok(hearth_lora_peft_key(key, sizeof(key), m, HEARTH_LORA_B));
    assert_string_equal(key, "base_model.model.model.layers.0.self_attn.q_proj."
                             "lora_B.weight");
    assert_ok(hearth_lora_peft_parse(key, strlen(key), module, &f));
    assert_string_equal(module, m);
    assert_int_equal(f, HEARTH_LORA_B);
    const char *in_memory = "base_model.model.x.lora_A.default.weight";
    assert_ok(hearth_lora_peft_parse(in_memory, strlen(in_memory), module, &f));
    assert_string_equal(module, "x");
    assert_int_equal(f, HEARTH_LORA_A);
    assert_int_equal(hearth_lora_peft_key(key, 20, m, HEARTH_LORA_A),
                     HEARTH_ETOOBIG);
    assert_string_equal(key, "");
}

static void lora_names_peft_parse_refuses_other_keys(void **state) {
    (void)state;
    char module[HEARTH_LORA_MODULE_MAX] = "kept", big[300];
    hearth_lora_factor f;
    const char *bad[] = {"",
                         "base_model.model.",
                         "x.lora_A.weight",
                         "base_model.model.lora_A.weight",
                         "base_model.model.x.lora_C.weight",
                         "base_model.model.x.weight",
                         "base_model.model..lora_A.weightx"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_int_equal(
            hearth_lora_peft_parse(bad[i], strlen(bad[i]), module, &f),
            HEARTH_EFORMAT);
    int n = snprintf(big, sizeof(big), "base_model.model.%0*d.lora_A.weight",
                     HEARTH_LORA_MODULE_MAX, 1);
    assert_int_equal(hearth_lora_peft_parse(big, (size_t)n, module, &f),
                     HEARTH_EFORMAT);
    assert_string_equal(module, "kept");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lora_names_targets_parse_words_and_lists),
        cmocka_unit_test(lora_names_targets_format_cuts_and_counts),
        cmocka_unit_test(lora_names_module_round_trips),
        cmocka_unit_test(lora_names_module_parse_takes_one_spelling),
        cmocka_unit_test(lora_names_peft_key_round_trips),
        cmocka_unit_test(lora_names_peft_parse_refuses_other_keys),
    };
    return cmocka_run_group_tests_name("common/lora_names", tests, NULL, NULL);
}

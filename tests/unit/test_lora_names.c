/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_lora_names.c - common/lora_names.h */
#include "common/lora_names.h"
#include "tests/support/cmocka_all.h"

static void lora_names_targets_parse_words_and_lists(void **state) {
    (void)state;
    const uint32_t llama = HEARTH_TARGETS_LINEAR, gpt2 = HEARTH_TARGETS_GPT2;
    const struct {
        const char *text;
        uint32_t offered, automatic, mask;
    } good[] = {{"auto", llama, 0x05, 0x05},
                {"attn", llama, 0x05, 0x0f},
                {"all-linear", llama, 0x05, 0x7f},
                {"q_proj,v_proj", llama, 0x05, 0x05},
                {"v,q", llama, 0x05, 0x05},
                {"down_proj", llama, 0x05, 0x40},
                {"gate,up,down", llama, 0x05, 0x70},
                {"auto", gpt2, 0x80, 0x80},
                {"attn", gpt2, 0x80, 0x88},
                {"all-linear", gpt2, 0x80, 0xe8},
                {"c_attn,c_proj", gpt2, 0x80, 0xc8},
                {"attn.c_proj,c_fc", gpt2, 0x80, 0x28},
                {"mlp.c_proj", gpt2, 0x80, 0x40},
                {"qkv_proj,gate_up", HEARTH_TARGETS_PHI3, 0x88, 0x180}};
    const char *bad[] = {"",       "q,",      ",q",     "q,q",          "w",
                         "auto,q", "lm_head", "c_attn", "q_proj v_proj"};
    const char *bad_gpt2[] = {"q_proj", "c_proj,mlp.c_proj", "wte"};
    uint32_t mask;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        assert_ok(hearth_targets_parse(good[i].text, good[i].offered,
                                       good[i].automatic, &mask));
        assert_int_equal(mask, good[i].mask);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        assert_int_equal(hearth_targets_parse(bad[i], llama, 0x05, &mask),
                         HEARTH_EINVAL);
        assert_int_equal(mask, 0);
    }
    for (size_t i = 0; i < sizeof(bad_gpt2) / sizeof(*bad_gpt2); i++)
        assert_int_equal(hearth_targets_parse(bad_gpt2[i], gpt2, 0x80, &mask),
                         HEARTH_EINVAL);
    assert_int_equal(hearth_targets_parse(NULL, llama, 5, &mask),
                     HEARTH_EINVAL);
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
    assert_string_equal(hearth_target_name(7), "qkv_proj");
    assert_string_equal(hearth_target_name(9), "?");
    assert_string_equal(hearth_target_peft_name(HEARTH_NAMES_LLAMA, 8),
                        "gate_up_proj");
    assert_string_equal(hearth_target_peft_name(HEARTH_NAMES_GPT2, 3),
                        "attn.c_proj");
    assert_string_equal(hearth_target_peft_name(HEARTH_NAMES_GPT2, 0), "?");
}

static void round_trip(hearth_lora_names names, uint32_t layer, uint32_t t) {
    char name[HEARTH_LORA_MODULE_MAX];
    uint32_t l = 9999, u = 9999;
    hearth_lora_names s =
        names == HEARTH_NAMES_GPT2 ? HEARTH_NAMES_LLAMA : HEARTH_NAMES_GPT2;
    assert_ok(hearth_lora_module_name(name, sizeof(name), names, layer, t));
    assert_ok(hearth_lora_module_parse(name, strlen(name), &s, &l, &u));
    assert_true(l == layer && u == t && s == names);
}

static void lora_names_module_round_trips(void **state) {
    (void)state;
    char name[HEARTH_LORA_MODULE_MAX];
    for (uint32_t layer = 0; layer < 1024; layer += 341)
        for (uint32_t t = 0; t < HEARTH_TARGET_COUNT; t++) {
            round_trip(HEARTH_NAMES_LLAMA, layer, t);
            if (HEARTH_TARGETS_GPT2 & HEARTH_TARGET_BIT(t))
                round_trip(HEARTH_NAMES_GPT2, layer, t);
        }
    assert_ok(hearth_lora_module_name(name, sizeof(name), HEARTH_NAMES_LLAMA,
                                      1023, HEARTH_TARGET_DOWN));
    assert_string_equal(name, "model.layers.1023.mlp.down_proj");
    assert_ok(hearth_lora_module_name(name, sizeof(name), HEARTH_NAMES_GPT2, 11,
                                      HEARTH_TARGET_QKV));
    assert_string_equal(name, "transformer.h.11.attn.c_attn");
    assert_int_equal(hearth_lora_module_name(name, sizeof(name),
                                             HEARTH_NAMES_LLAMA, 1024, 0),
                     HEARTH_EINVAL);
    assert_int_equal(
        hearth_lora_module_name(name, sizeof(name), HEARTH_NAMES_LLAMA, 0, 9),
        HEARTH_EINVAL);
    assert_int_equal(
        hearth_lora_module_name(name, sizeof(name), HEARTH_NAMES_GPT2, 0, 0),
        HEARTH_EINVAL);
    assert_int_equal(
        hearth_lora_module_name(name, 12, HEARTH_NAMES_LLAMA, 0, 0),
        HEARTH_ETOOBIG);
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
                         "transformer.h.0.attn.q_proj",
                         "transformer.h.0.mlp.c_attn"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        uint32_t l = 7, t = 7;
        hearth_lora_names names;
        assert_int_equal(
            hearth_lora_module_parse(bad[i], strlen(bad[i]), &names, &l, &t),
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

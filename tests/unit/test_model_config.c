/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_model_config.c - client/model/model_config.h */
#include <math.h>

#include "tests/support/cmocka_all.h"
#include "tests/support/fail_alloc.h"

#include "client/model/base_model.h"
#include "client/model/model_config.h"

#define BASE                                                                   \
    "\"architectures\":[\"LlamaForCausalLM\"],\"hidden_size\":64,"             \
    "\"intermediate_size\":172,\"num_hidden_layers\":2,"                       \
    "\"num_attention_heads\":8,\"vocab_size\":512"

static hearth_error error;

static hearth_status parse(hearth_model_config *c, const char *text) {
    error = (hearth_error){HEARTH_OK, ""};
    return hearth_model_config_parse(c, text, strlen(text), "config.json", NULL,
                                     &error);
}

static void parse_fills_the_defaults_of_the_family(void **state) {
    hearth_model_config c;
    (void)state;
    assert_ok(parse(&c, "{" BASE "}"));
    assert_int_equal(c.n_kv_heads, 8);
    assert_int_equal(c.head_dim, 8);
    assert_int_equal(c.max_positions, 2048);
    assert_int_equal(c.bos, -1);
    assert_int_equal(c.pad, -1);
    assert_int_equal(c.n_eos, 0);
    assert_false(c.tied);
    assert_true(c.rope_theta >= 1e4 && c.rope_theta <= 1e4);
    assert_true(c.norm_eps >= 1e-6 && c.norm_eps <= 1e-6);
    assert_string_equal(c.architecture, "LlamaForCausalLM");
    assert_string_equal(c.model_type, "llama");
    /* model_type alone is enough */
    assert_ok(parse(&c, "{\"model_type\":\"llama\",\"hidden_size\":64,"
                        "\"intermediate_size\":172,\"num_hidden_layers\":2,"
                        "\"num_attention_heads\":8,\"vocab_size\":512}"));
}

static void parse_reads_theta_at_both_places(void **state) {
    hearth_model_config c;
    (void)state;
    assert_ok(parse(&c, "{" BASE ",\"rope_theta\":5e5}"));
    assert_true(c.rope_theta >= 5e5 && c.rope_theta <= 5e5);
    assert_ok(parse(&c, "{" BASE ",\"rope_parameters\":{\"rope_theta\":3e5,"
                        "\"rope_type\":\"default\"}}"));
    assert_true(c.rope_theta >= 3e5 && c.rope_theta <= 3e5);
    assert_ok(parse(&c, "{" BASE ",\"rope_theta\":3e5,\"rope_parameters\":"
                        "{\"rope_theta\":3e5}}"));
    assert_int_equal(parse(&c, "{" BASE ",\"rope_theta\":2e5,"
                               "\"rope_parameters\":{\"rope_theta\":3e5}}"),
                     HEARTH_EFORMAT);
}

static void
parse_names_an_unknown_architecture_and_those_that_work(void **state) {
    hearth_model_config c;
    (void)state;
    assert_int_equal(parse(&c, "{\"architectures\":[\"MambaForCausalLM\"]}"),
                     HEARTH_EUNSUPPORTED);
    assert_non_null(strstr(error.text, "MambaForCausalLM"));
    assert_non_null(strstr(error.text, "LlamaForCausalLM"));
    assert_int_equal(parse(&c, "{\"model_type\":\"mamba\"}"),
                     HEARTH_EUNSUPPORTED);
    assert_int_equal(c.vocab_size, 0);
}

static void parse_refuses_what_would_change_results(void **state) {
    static const struct {
        const char *text, *field;
    } bad[] = {
        {"\"attention_bias\":true", "attention_bias"},
        {"\"mlp_bias\":true", "mlp_bias"},
        {"\"hidden_act\":\"gelu\"", "hidden_act"},
        {"\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":8}",
         "rope_scaling"},
        {"\"rope_scaling\":{\"type\":\"linear\",\"factor\":8,"
         "\"low_freq_factor\":1}",
         "rope_scaling"},
        {"\"rope_parameters\":{\"rope_theta\":1e4,"
         "\"partial_rotary_factor\":0.5}",
         "rope_parameters"},
        {"\"rope_parameters\":{\"rope_theta\":1e4,\"rope_type\":\"yarn\"}",
         "rope_parameters"},
        {"\"rope_parameters\":{\"rope_theta\":1e4,\"factor\":2}",
         "rope_parameters"},
        {"\"partial_rotary_factor\":0.5", "partial_rotary_factor"},
        {"\"attention_dropout\":0.1", "attention_dropout"},
        {"\"sliding_window\":128", "sliding_window"},
        {"\"quantization_config\":{}", "quantization_config"},
        {"\"embedding_multiplier\":12", "embedding_multiplier"},
    };
    hearth_model_config c;
    char text[512];
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        (void)snprintf(text, sizeof(text), "{" BASE ",%s}", bad[i].text);
        if (parse(&c, text) != HEARTH_EUNSUPPORTED)
            fail_msg("accepted %s", bad[i].text);
        assert_non_null(strstr(error.text, bad[i].field));
    }
    assert_ok(parse(&c,
                    "{" BASE ",\"attention_bias\":false,\"rope_scaling\":null,"
                    "\"attention_dropout\":0.0,\"sliding_window\":null,"
                    "\"torch_dtype\":\"bfloat16\",\"use_cache\":true}"));
}

static void parse_refuses_bad_values(void **state) {
    static const char *const bad[] = {
        "[]",
        "{",
        "{}",
        "{\"architectures\":[]}",
        "{\"architectures\":\"LlamaForCausalLM\"}",
        "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"gpt2\"}",
        "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":7}",
        "{\"architectures\":[\"LlamaForCausalLM\"]}",
        "{" BASE ",\"head_dim\":7}",
        "{" BASE ",\"head_dim\":0}",
        "{" BASE ",\"head_dim\":\"8\"}",
        "{" BASE ",\"head_dim\":100000}",
        "{" BASE ",\"num_key_value_heads\":3}",
        "{" BASE ",\"rms_norm_eps\":0}",
        "{" BASE ",\"rms_norm_eps\":\"x\"}",
        "{" BASE ",\"rope_theta\":-1}",
        "{" BASE ",\"rope_scaling\":3}",
        "{" BASE ",\"rope_scaling\":{\"type\":3}}",
        "{" BASE ",\"rope_scaling\":{\"rope_type\":3}}",
        "{" BASE ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":0.5}}",
        "{" BASE ",\"rope_scaling\":{\"type\":\"linear\"}}",
        "{" BASE ",\"rope_scaling\":{\"type\":\"linear\",\"rope_type\":"
        "\"default\"}}",
        "{" BASE ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":2},"
        "\"rope_parameters\":{\"type\":\"linear\",\"factor\":2}}",
        "{" BASE ",\"rope_scaling\":{\"type\":\"llama3\",\"factor\":8}}",
        "{" BASE ",\"rope_scaling\":{\"type\":\"llama3\",\"factor\":8,"
        "\"low_freq_factor\":4,\"high_freq_factor\":1,"
        "\"original_max_position_embeddings\":8192}}",
        "{" BASE ",\"hidden_act\":3}",
        "{" BASE ",\"tie_word_embeddings\":3}",
        "{" BASE ",\"bos_token_id\":512}",
        "{" BASE ",\"bos_token_id\":-2}",
        "{" BASE ",\"eos_token_id\":\"x\"}",
        "{" BASE ",\"eos_token_id\":[1,2,3,4,5,6,7,8,9]}",
        "{" BASE ",\"eos_token_id\":[600]}",
        "{" BASE ",\"max_position_embeddings\":1.5}",
        "{" BASE ",\"vocab_size\":1}", /* a duplicate key */
    };
    hearth_model_config c;
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (parse(&c, bad[i]) != HEARTH_EFORMAT)
            fail_msg("status %s for %s", hearth_status_name(error.status),
                     bad[i]);
        assert_int_equal(c.hidden_size, 0);
    }
}

static void write_round_trips(void **state) {
    hearth_model_config a, b;
    hearth_buf out = HEARTH_BUF_INIT(NULL);
    (void)state;
    assert_ok(parse(&a, "{" BASE ",\"rope_theta\":12345.678,\"rms_norm_eps\":"
                        "1e-5,\"tie_word_embeddings\":true,\"bos_token_id\":1,"
                        "\"eos_token_id\":[2,5],\"pad_token_id\":0,"
                        "\"num_key_value_heads\":2,\"head_dim\":10}"));
    assert_ok(hearth_model_config_write(&a, &out));
    assert_ok(parse(&b, hearth_buf_str(&out)));
    assert_memory_equal(&a, &b, sizeof(a));
    assert_true(hearth_model_config_is_eos(&b, 5));
    assert_false(hearth_model_config_is_eos(&b, 1));
    hearth_buf_free(&out);
}

#define LLAMA3                                                                 \
    "\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":32.0,"              \
    "\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"                        \
    "\"original_max_position_embeddings\":8192},\"rope_theta\":5e5,"           \
    "\"head_dim\":64"

static void speeds_follow_the_kind(void **state) {
    hearth_model_config c, again;
    hearth_buf out = HEARTH_BUF_INIT(NULL);
    (void)state;
    assert_ok(parse(&c, "{" BASE ",\"head_dim\":64}"));
    assert_true(fabs(hearth_model_config_rope_speed(&c, 16, false) - 1e-2) <
                1e-15);
    assert_ok(parse(&c, "{" BASE ",\"head_dim\":64,\"rope_scaling\":"
                        "{\"type\":\"linear\",\"factor\":4}}"));
    assert_true(fabs(hearth_model_config_rope_speed(&c, 16, false) - 25e-4) <
                1e-15);
    assert_ok(parse(&c, "{" BASE "," LLAMA3 "}"));
    for (uint32_t i = 0; i < 32; i++) { /* by wavelength, as in the source */
        double plain = pow(5e5, -(double)i / 32.0), want = plain;
        double wave = 2 * 3.141592653589793 / plain;
        double smooth = (8192.0 / wave - 1.0) / (4.0 - 1.0);
        if (wave > 8192.0 / 1.0)
            want = plain / 32.0;
        else if (wave >= 8192.0 / 4.0)
            want = (1 - smooth) * plain / 32.0 + smooth * plain;
        double got = hearth_model_config_rope_speed(&c, i, false);
        assert_true(fabs(got - want) <= 6e-8 * want); /* a float's rounding */
    }
    assert_ok(hearth_model_config_write(&c, &out));
    assert_ok(parse(&again, hearth_buf_str(&out)));
    assert_memory_equal(&c, &again, sizeof(c));
    hearth_buf_free(&out);
}

static void real_configs_are_read_or_refused_by_name(void **state) {
    static const struct {
        const char *name;
        hearth_status st;
        uint32_t layers;
    } file[] = {
        {"configs/Llama-3.2-1B.config.json", HEARTH_OK, 16},
        {"configs/SmolLM2-135M.config.json", HEARTH_OK, 30},
        {"configs/gpt2.config.json", HEARTH_EUNSUPPORTED, 0}, /* GPTQ */
        {"configs/gemma-3-270m-it.config.json", HEARTH_OK, 18},
        /* what another runtime made of them */
        {"configs/gemma-3-1b-it.mtk.config.json", HEARTH_EFORMAT, 0},
        {"configs/Llama-3.2-1B-Instruct.mtk.config.json", HEARTH_EUNSUPPORTED,
         0},
        {"configs/Qwen2.5-0.5B-Instruct.config.json", HEARTH_OK, 24},
    };
    char path[1024];
    (void)state;
    if (!hearth_test_data(path, sizeof(path), file[0].name)) skip();
    for (size_t i = 0; i < sizeof(file) / sizeof(file[0]); i++) {
        hearth_model_config c;
        assert_true(hearth_test_data(path, sizeof(path), file[i].name));
        if (hearth_model_config_load(&c, path, NULL, &error) != file[i].st)
            fail_msg("%s", error.text);
        assert_int_equal(c.n_layers, file[i].layers);
    }
}

static void parameters_are_counted(void **state) {
    hearth_model_config c;
    (void)state;
    assert_ok(parse(&c, "{" BASE ",\"tie_word_embeddings\":true}"));
    uint64_t layer = 4 * 64 * 64 + 3 * 64 * 172 + 2 * 64;
    assert_int_equal(hearth_model_config_parameters(&c),
                     512 * 64 + 2 * layer + 64);
    c.tied = false;
    assert_int_equal(hearth_model_config_parameters(&c),
                     2 * 512 * 64 + 2 * layer + 64);
    assert_int_equal(hearth_model_n_tensors(&c), 21);
}

static void allocation_failures_are_clean(void **state) {
    (void)state;
    for (size_t k = 1;; k++) {
        hearth_fail_alloc fa;
        hearth_alloc al = hearth_fail_alloc_init(&fa, k);
        hearth_model_config c;
        hearth_status st = hearth_model_config_parse(
            &c, "{" BASE "}", strlen("{" BASE "}"), "x", &al, NULL);
        assert_int_equal(fa.live, 0);
        if (st == HEARTH_OK) break;
        assert_int_equal(st, HEARTH_ENOMEM);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parse_fills_the_defaults_of_the_family),
        cmocka_unit_test(parse_reads_theta_at_both_places),
        cmocka_unit_test(
            parse_names_an_unknown_architecture_and_those_that_work),
        cmocka_unit_test(parse_refuses_what_would_change_results),
        cmocka_unit_test(parse_refuses_bad_values),
        cmocka_unit_test(write_round_trips),
        cmocka_unit_test(speeds_follow_the_kind),
        cmocka_unit_test(real_configs_are_read_or_refused_by_name),
        cmocka_unit_test(parameters_are_counted),
        cmocka_unit_test(allocation_failures_are_clean),
    };
    return cmocka_run_group_tests_name("client/model/model_config", tests, NULL,
                                       NULL);
}

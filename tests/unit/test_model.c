/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_model.c - client/model: open, create, save, digest */
#include <math.h>

#include "tests/support/fail_alloc.h"
#include "tests/support/model_fixture.h"

#include "common/safetensors.h"

static void write_text(const char *dir, const char *name, const char *text) {
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    assert_ok(hearth_file_write(path, text, strlen(text), 0644, NULL));
}

static void create_gives_the_same_bytes_for_a_seed(void **state) {
    char dir[2][64], path[2][128];
    hearth_buf b[2] = {HEARTH_BUF_INIT(NULL), HEARTH_BUF_INIT(NULL)};
    tiny_spec s = TINY_SPEC;
    (void)state;
    for (int i = 0; i < 2; i++) {
        hearth_model_close(tiny_model(&s, 7, dir[i]));
        (void)snprintf(path[i], sizeof(path[i]), "%s/model.safetensors",
                       dir[i]);
        assert_ok(hearth_file_read(&b[i], path[i], 1 << 20, NULL));
    }
    assert_int_equal(b[0].n, b[1].n);
    assert_memory_equal(b[0].v, b[1].v, b[0].n);
    /* and never over a model that is there */
    char config[128];
    (void)snprintf(config, sizeof(config), "%s/config.json", dir[0]);
    assert_int_equal(hearth_model_create(config, NULL, 1, dir[0], NULL, NULL),
                     HEARTH_EEXISTS);
    for (int i = 0; i < 2; i++) {
        hearth_buf_free(&b[i]);
        assert_ok(hearth_file_remove_tree(dir[i], NULL));
    }
}

static void create_draws_the_asked_spread(void **state) {
    char dir[64];
    tiny_spec s = TINY_SPEC;
    (void)state;
    hearth_model *m = tiny_model(&s, 3, dir);
    const hearth_weight *w = hearth_model_weight(m, HEARTH_TENSOR_EMBED, 0);
    size_t n = hearth_weight_rows(w) * hearth_weight_cols(w);
    hearth_real v[67 * 24];
    double sum = 0, square = 0;
    assert_int_equal(n, 67 * 24);
    hearth_weight_copy(w, v);
    for (size_t i = 0; i < n; i++) {
        sum += (double)v[i];
        square += (double)v[i] * (double)v[i];
    }
    assert_true(fabs(sum / (double)n) < 0.03);
    assert_true(fabs(sqrt(square / (double)n) - 0.3) < 0.02);
    hearth_weight_copy(hearth_model_weight(m, HEARTH_TENSOR_NORM_FINAL, 0), v);
    assert_true(v[5] >= 1 && v[5] <= 1);
    tiny_drop(m, dir);
}

static void tensors_come_in_canonical_order(void **state) {
    char dir[64];
    tiny_spec s = TINY_SPEC;
    hearth_model_tensor t;
    (void)state;
    hearth_model *m = tiny_model(&s, 3, dir);
    const hearth_model_config *c = hearth_model_get_config(m);
    assert_int_equal(hearth_model_n_tensors(c), 1 + 3 * 9 + 2);
    hearth_model_tensor_at(c, 0, &t);
    assert_string_equal(t.name, "model.embed_tokens.weight");
    hearth_model_tensor_at(c, 9, &t);
    assert_string_equal(t.name, "model.layers.0.mlp.down_proj.weight");
    assert_int_equal(t.rows, 24);
    assert_int_equal(t.cols, 40);
    hearth_model_tensor_at(c, 10, &t);
    assert_string_equal(t.name, "model.layers.1.input_layernorm.weight");
    hearth_model_tensor_at(c, 28, &t);
    assert_string_equal(t.name, "model.norm.weight");
    hearth_model_tensor_at(c, 29, &t);
    assert_string_equal(t.name, "lm_head.weight");
    hearth_model_tensor_at(c, 30, &t);
    assert_string_equal(t.name, "");
    for (size_t i = 0; i < hearth_model_n_tensors(c); i++) {
        hearth_model_tensor_at(c, i, &t);
        const hearth_weight *w = hearth_model_weight(m, t.role, t.layer);
        assert_int_equal(hearth_weight_rows(w), t.rows);
        assert_int_equal(hearth_weight_cols(w), t.cols);
    }
    size_t n;
    const hearth_module_info *info = hearth_model_modules(m, &n);
    assert_int_equal(n, 21);
    assert_string_equal(info[9].name, "model.layers.1.self_attn.v_proj");
    assert_int_equal(info[9].out, 8);
    assert_int_equal(info[9].in, 24);
    tiny_drop(m, dir);
}

static void digest_changes_with_config_and_weights(void **state) {
    char dir[4][64];
    uint8_t digest[4][32];
    tiny_spec s = TINY_SPEC;
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        if (i == 3) s.kv_heads = 6, s.heads = 6;
        hearth_model *m = tiny_model(&s, i == 2 ? 8 : 7, dir[i]);
        assert_non_null(hearth_model_digest(m));
        assert_ptr_equal(hearth_model_digest(m), hearth_model_digest(m));
        memcpy(digest[i], hearth_model_digest(m), 32);
        tiny_drop(m, dir[i]);
    }
    assert_memory_equal(digest[0], digest[1], 32);
    assert_memory_not_equal(digest[0], digest[2], 32);
    assert_memory_not_equal(digest[0], digest[3], 32);
}

/* Write a model file with a change: drop, add or misshape a tensor. */
typedef enum { AS_IT_IS, DROP, ADD, ROTARY, MISSHAPE, HEAD, HEAD_SAME } change;

static void rewrite(const hearth_model_config *c, const char *dir,
                    change what) {
    char path[256];
    float *zero = calloc(67 * 40, sizeof(float));
    hearth_safetensors_writer *w = NULL;
    size_t n = hearth_model_n_tensors(c);
    (void)snprintf(path, sizeof(path), "%s/model.safetensors", dir);
    assert_non_null(zero);
    assert_ok(hearth_safetensors_writer_new(&w, path, NULL, NULL));
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < n; i++) {
            hearth_model_tensor t;
            hearth_model_tensor_at(c, i, &t);
            if (what == DROP && i == 4) continue;
            uint64_t dim[2] = {t.rows + (what == MISSHAPE && i == 4 ? 1u : 0u),
                               t.cols};
            uint32_t n_dims = t.cols == 1 ? 1 : 2;
            size_t size = (size_t)(dim[0] * dim[1]);
            if (pass == 0)
                assert_ok(hearth_safetensors_writer_declare(
                    w, t.name, HEARTH_DTYPE_F32, n_dims, dim, NULL));
            else
                assert_ok(
                    hearth_safetensors_writer_write_f32(w, zero, size, NULL));
        }
        const uint64_t head[2] = {67, 24};
        const char *name = what == ADD ? "model.layers.0.bias"
                           : what == ROTARY
                               ? "model.layers.0.self_attn.rotary_emb.inv_freq"
                               : "lm_head.weight";
        zero[0] = pass == 1 && what == HEAD ? 1.0f : 0.0f;
        if (what == AS_IT_IS || what == DROP || what == MISSHAPE) continue;
        if (pass == 0)
            assert_ok(hearth_safetensors_writer_declare(
                w, name, HEARTH_DTYPE_F32, 2, head, NULL));
        else
            assert_ok(
                hearth_safetensors_writer_write_f32(w, zero, 67 * 24, NULL));
    }
    assert_ok(hearth_safetensors_writer_finish(w, NULL));
    hearth_safetensors_writer_free(w);
    free(zero);
}

static void open_names_tensors_that_do_not_fit(void **state) {
    static const struct {
        change what;
        hearth_status st;
        const char *name;
    } cases[] = {
        {AS_IT_IS, HEARTH_OK, ""},
        {DROP, HEARTH_EFORMAT, "model.layers.0.self_attn.v_proj.weight"},
        {ADD, HEARTH_EFORMAT, "model.layers.0.bias"},
        {ROTARY, HEARTH_OK, ""},
        {MISSHAPE, HEARTH_EFORMAT, "model.layers.0.self_attn.v_proj.weight"},
        {HEAD, HEARTH_EFORMAT, "lm_head.weight"},
        {HEAD_SAME, HEARTH_OK, ""},
    };
    char dir[64];
    tiny_spec s = TINY_SPEC;
    s.tied = true;
    (void)state;
    hearth_model *m = tiny_model(&s, 3, dir);
    hearth_model_config c = *hearth_model_get_config(m);
    hearth_model_close(m);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        hearth_error err = {HEARTH_OK, ""};
        rewrite(&c, dir, cases[i].what);
        m = NULL;
        hearth_status st = hearth_model_open(&m, dir, NULL, &err);
        if (st != cases[i].st) fail_msg("case %zu: %s", i, err.text);
        assert_int_equal(st == HEARTH_OK, m != NULL);
        assert_non_null(strstr(err.text, cases[i].name));
        hearth_model_close(m);
    }
    write_text(dir, "config.json", "{}");
    assert_int_equal(hearth_model_open(&m, dir, NULL, NULL), HEARTH_EFORMAT);
    assert_null(m);
    assert_int_equal(hearth_model_open(&m, "/no/such/dir", NULL, NULL),
                     HEARTH_ENOTFOUND);
    assert_int_equal(hearth_model_open(&m, "/no/model.gguf", NULL, NULL),
                     HEARTH_ENOTFOUND);
    assert_ok(hearth_file_remove_tree(dir, NULL));
}

static void save_round_trips(void **state) {
    char dir[64], out[128], path[256];
    const float *value[32];
    tiny_spec s = TINY_SPEC;
    (void)state;
    hearth_model *m = tiny_model(&s, 3, dir), *again = NULL;
    const hearth_model_config *c = hearth_model_get_config(m);
    size_t n = hearth_model_n_tensors(c);
    for (size_t i = 0; i < n; i++) {
        hearth_model_tensor t;
        hearth_model_tensor_at(c, i, &t);
        float *v = malloc((size_t)t.rows * t.cols * sizeof(*v));
        assert_non_null(v);
        hearth_weight_copy(hearth_model_weight(m, t.role, t.layer), v);
        value[i] = v;
    }
    write_text(dir, "tokenizer.json", "{}");
    (void)snprintf(out, sizeof(out), "%s/out", dir);
    assert_ok(hearth_model_save(c, value, dir, out, NULL, NULL));
    assert_ok(hearth_model_open(&again, out, NULL, NULL));
    assert_memory_equal(hearth_model_digest(m), hearth_model_digest(again), 32);
    (void)snprintf(path, sizeof(path), "%s/tokenizer.json", out);
    assert_true(hearth_file_exists(path));
    for (size_t i = 0; i < n; i++) free((void *)(uintptr_t)value[i]);
    hearth_model_close(again);
    tiny_drop(m, dir);
}

static void allocation_failures_are_clean(void **state) {
    char dir[64];
    tiny_spec s = TINY_SPEC;
    (void)state;
    hearth_model_close(tiny_model(&s, 3, dir));
    for (size_t k = 1;; k++) {
        hearth_fail_alloc fa;
        hearth_alloc al = hearth_fail_alloc_init(&fa, k);
        hearth_model *m = NULL;
        hearth_status st = hearth_model_open(&m, dir, &al, NULL);
        hearth_model_close(m);
        assert_int_equal(fa.live, 0);
        if (st == HEARTH_OK) break;
        assert_int_equal(st, HEARTH_ENOMEM);
    }
    assert_ok(hearth_file_remove_tree(dir, NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(create_gives_the_same_bytes_for_a_seed),
        cmocka_unit_test(create_draws_the_asked_spread),
        cmocka_unit_test(tensors_come_in_canonical_order),
        cmocka_unit_test(digest_changes_with_config_and_weights),
        cmocka_unit_test(open_names_tensors_that_do_not_fit),
        cmocka_unit_test(save_round_trips),
        cmocka_unit_test(allocation_failures_are_clean),
    };
    return cmocka_run_group_tests_name("client/model", tests, NULL, NULL);
}

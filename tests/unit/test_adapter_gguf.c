/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_adapter_gguf.c - common/adapter_gguf.h: names, shapes, order
 * of rows, and that alpha / rank times B is what the adapter means. */
#include <math.h>
#include <stdio.h>

#include "tests/support/cmocka_all.h"
#include "tests/support/fail_alloc.h"

#include "common/adapter_gguf.h"
#include "common/file.h"
#include "common/gguf.h"

#define HEAD 4u
static const hearth_module_info modules[] = {
    {"model.layers.0.self_attn.q_proj", 0, HEARTH_TARGET_Q, 6, 8},
    {"model.layers.0.self_attn.k_proj", 0, HEARTH_TARGET_K, 6, 4},
    {"model.layers.0.self_attn.v_proj", 0, HEARTH_TARGET_V, 6, 4},
    {"model.layers.0.mlp.down_proj", 0, HEARTH_TARGET_DOWN, 10, 6},
    {"transformer.h.0.attn.c_attn", 0, HEARTH_TARGET_QKV, 6, 18},
};
static const char *const words[] = {"attn_q", "attn_k", "attn_v", "ffn_down",
                                    "attn_qkv"};
#define N_MODULES (sizeof(modules) / sizeof(modules[0]))

static hearth_error error;

static hearth_adapter *make(bool rslora) {
    hearth_adapter *a = NULL;
    uint32_t targets = 0;
    for (size_t i = 0; i < N_MODULES; i++)
        targets |= HEARTH_TARGET_BIT(modules[i].target);
    hearth_lora_spec spec = {3, 6.0f, targets, 0, rslora, false};
    assert_ok(hearth_adapter_new(&a, &spec, modules, N_MODULES, NULL, &error));
    for (size_t i = 0; i < a->n_values; i++)
        a->values[i] = (float)((double)(i * 37 % 101) / 50.0 - 1.0);
    return a;
}

static const hearth_gguf_tensor *tensor(const hearth_gguf *g, size_t i,
                                        char factor) {
    char name[64];
    (void)snprintf(name, sizeof(name), "blk.0.%s.weight.lora_%c", words[i],
                   factor);
    const hearth_gguf_tensor *t = hearth_gguf_find(g, name);
    if (!t) fail_msg("no %s", name);
    assert_int_equal(t->type, HEARTH_QUANT_F32);
    return t;
}

static float at(const hearth_gguf_tensor *t, size_t i) {
    float x;
    hearth_quant_decode(t->type, t->data, i, 1, &x);
    return x;
}

/* B's row of the pair at row r of the file: pairs of neighbours when q and k
 * are permuted. */
static size_t from_row(const hearth_adapter_pair *p, uint32_t permuted,
                       size_t r) {
    static const size_t order[HEAD] = {0, 2, 1, 3};
    if (!permuted ||
        (p->target != HEARTH_TARGET_Q && p->target != HEARTH_TARGET_K))
        return r;
    return r / HEAD * HEAD + order[r % HEAD];
}

static void check_pair(const hearth_gguf *g, const hearth_adapter *a, size_t i,
                       uint32_t permuted, double alpha) {
    const hearth_adapter_pair *p = &a->pair[i];
    const hearth_gguf_tensor *A = tensor(g, i, 'a'), *B = tensor(g, i, 'b');
    assert_int_equal(A->ne[0], p->in);
    assert_int_equal(A->ne[1], p->rank);
    assert_int_equal(B->ne[0], p->rank);
    assert_int_equal(B->ne[1], p->out);
    for (size_t k = 0; k < (size_t)p->rank * p->in; k++)
        assert_true(at(A, k) == p->a[k]);
    for (size_t r = 0; r < p->out; r++)
        for (size_t k = 0; k < p->rank; k++) {
            double theirs = (double)at(B, r * p->rank + k) * alpha / p->rank;
            double ours = (double)p->b[from_row(p, permuted, r) * p->rank + k] *
                          (double)hearth_adapter_scale(a, p);
            if (fabs(theirs - ours) > 1e-6) fail_msg("%g %g", theirs, ours);
        }
}

static void export_and_check(const hearth_adapter *a, uint32_t permuted) {
    char dir[64], path[128];
    hearth_gguf *g = NULL;
    double alpha = 0;
    const char *s;
    size_t n;
    hearth_adapter_gguf_info info = {"llama", permuted};
    assert_non_null(hearth_test_dir(dir));
    (void)snprintf(path, sizeof(path), "%.63s/a.gguf", dir);
    if (hearth_adapter_export_gguf(a, &info, path, NULL, &error) != HEARTH_OK)
        fail_msg("%s", error.text);
    assert_ok(hearth_gguf_open(&g, path, NULL, &error));
    assert_int_equal(hearth_gguf_count(g), 2 * N_MODULES);
    assert_ok(hearth_gguf_string(g, "general.architecture", &s, &n));
    assert_memory_equal(s, "llama", n);
    assert_ok(hearth_gguf_string(g, "general.type", &s, &n));
    assert_memory_equal(s, "adapter", n);
    assert_ok(hearth_gguf_string(g, "adapter.type", &s, &n));
    assert_memory_equal(s, "lora", n);
    assert_ok(hearth_gguf_f64(g, "adapter.lora.alpha", &alpha));
    for (size_t i = 0; i < N_MODULES; i++) check_pair(g, a, i, permuted, alpha);
    hearth_gguf_close(g);
    assert_ok(hearth_file_remove_tree(dir, NULL));
}

static void files_mean_what_the_adapter_means(void **state) {
    (void)state;
    for (int rslora = 0; rslora < 2; rslora++)
        for (uint32_t permuted = 0; permuted <= HEAD; permuted += HEAD) {
            hearth_adapter *a = make(rslora);
            export_and_check(a, permuted);
            a->pair[2].alpha = 1.5f; /* an alpha pattern */
            export_and_check(a, permuted);
            hearth_adapter_free(a);
        }
}

static void export_refuses_what_is_wrong(void **state) {
    char dir[64], path[128];
    (void)state;
    assert_non_null(hearth_test_dir(dir));
    (void)snprintf(path, sizeof(path), "%.63s/a.gguf", dir);
    hearth_adapter *a = make(false);
    const uint32_t bad[] = {1, 8, 16};
    for (size_t i = 0; i < 3; i++) {
        hearth_adapter_gguf_info info = {"llama", bad[i]};
        assert_int_equal(
            hearth_adapter_export_gguf(a, &info, path, NULL, &error),
            HEARTH_EINVAL);
    }
    hearth_adapter_gguf_info info = {"llama", HEAD};
    assert_int_equal(
        hearth_adapter_export_gguf(a, &info, "/no/where/a.gguf", NULL, &error),
        HEARTH_ENOTFOUND);
    a->pair[0].alpha = 0;
    assert_int_equal(hearth_adapter_export_gguf(a, &info, path, NULL, &error),
                     HEARTH_EINVAL);
    assert_false(hearth_file_exists(path));
    hearth_adapter_free(a);
    assert_ok(hearth_file_remove_tree(dir, NULL));
}

static void allocation_failures_leave_no_file(void **state) {
    char dir[64], path[128];
    hearth_adapter *a = make(false);
    hearth_adapter_gguf_info info = {"llama", HEAD};
    (void)state;
    assert_non_null(hearth_test_dir(dir));
    (void)snprintf(path, sizeof(path), "%.63s/a.gguf", dir);
    for (size_t k = 1;; k++) {
        hearth_fail_alloc fa;
        hearth_alloc al = hearth_fail_alloc_init(&fa, k);
        hearth_status st =
            hearth_adapter_export_gguf(a, &info, path, &al, NULL);
        assert_int_equal(fa.live, 0);
        assert_int_equal(hearth_file_exists(path), st == HEARTH_OK);
        if (st == HEARTH_OK) break;
        assert_int_equal(st, HEARTH_ENOMEM);
    }
    hearth_adapter_free(a);
    assert_ok(hearth_file_remove_tree(dir, NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_mean_what_the_adapter_means),
        cmocka_unit_test(export_refuses_what_is_wrong),
        cmocka_unit_test(allocation_failures_leave_no_file),
    };
    return cmocka_run_group_tests_name("common/adapter_gguf", tests, NULL,
                                       NULL);
}

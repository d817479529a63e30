/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_decoder_work.c - what a pass of client/train/decoder.h does
 * not compute: products are counted by a kernel set that knows a matrix by its
 * address, layers by the gate. */
#include "tests/support/model_fixture.h"

#define LAYERS 5

static hearth_model *model;
static char dir[64];
static tiny_stream ts;

static int set_up(void **state) {
    static const uint32_t lengths[] = {20, 33, 30};
    tiny_spec s = TINY_SPEC;
    (void)state;
    s.layers = LAYERS;
    model = tiny_model(&s, 1, dir);
    tiny_stream_make(&ts, lengths, 3, s.vocab, 2);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    tiny_drop(model, dir);
    return 0;
}

/* ---- counting ---- */

/* Multiply-adds with the watched matrix, in units of one product of all tokens:
 * x W^T, forward or again, and dy W. */
static struct {
    uintptr_t from, to;
    size_t forward, backward;
} watched;

static bool is_watched(const float *b) {
    return (uintptr_t)b >= watched.from && (uintptr_t)b < watched.to;
}

static void count_nt(size_t m, size_t n, size_t k, float alpha, const float *a,
                     size_t lda, const float *b, size_t ldb, int add, float *c,
                     size_t ldc) {
    if (is_watched(b)) watched.forward += m * n * k;
    hearth_kernels_reference()->gemm_nt(m, n, k, alpha, a, lda, b, ldb, add, c,
                                        ldc);
}

static void count_nn(size_t m, size_t n, size_t k, float alpha, const float *a,
                     size_t lda, const float *b, size_t ldb, int add, float *c,
                     size_t ldc) {
    if (is_watched(b)) watched.backward += m * n * k;
    hearth_kernels_reference()->gemm_nn(m, n, k, alpha, a, lda, b, ldb, add, c,
                                        ldc);
}

static size_t exps;

static float count_exp(size_t n, const float *s, float shift, float *p) {
    exps++;
    return hearth_kernels_reference()->exp_shift(n, s, shift, p);
}

typedef struct {
    size_t forward, backward; /* products of all tokens */
    int gates, gates_forward; /* times that the gate was asked; without going
                                 back */
} work;

static bool count_gate(void *ud) {
    ++*(int *)ud;
    return true;
}

/* One forward and backward pass with adapters in the last layers, `again` of
 * which are recomputed, as seen by one matrix of one layer. */
static work work_of(size_t last, size_t again, hearth_tensor_role role,
                    size_t layer) {
    const hearth_weight *w = hearth_model_weight(model, role, (uint32_t)layer);
    size_t n = hearth_weight_rows(w) * hearth_weight_cols(w);
    hearth_lora_spec spec = {2,     4.0f, HEARTH_TARGETS_ATTN, (uint32_t)last,
                             false, false};
    hearth_adapter *a = tiny_adapter(model, &spec, 9);
    hearth_kernels k = *hearth_kernels_reference();
    hearth_loss l;
    tiny_engine e;
    work did = {0, 0, 0, 0};
    k.gemm_nt = count_nt;
    k.gemm_nn = count_nn;
    assert_false(hearth_weight_needs_tile(w)); /* so it keeps its address */
    const float *at = hearth_weight_rows_at(w, 0, 1, NULL);
    tiny_engine_open(&e,
                     (hearth_decoder_shape){.model = model,
                                            .adapter = a,
                                            .mode = HEARTH_DECODER_LORA,
                                            .recompute = again},
                     NULL, &k);
    hearth_decoder_set_gate(e.dec, count_gate, &did.gates_forward);
    assert_ok(hearth_decoder_loss(e.dec, &ts.stream, &l, NULL, NULL));
    hearth_decoder_set_gate(e.dec, count_gate, &did.gates);
    hearth_decoder_zero_grad(e.dec);
    watched.from = (uintptr_t)at;
    watched.to = (uintptr_t)(at + n);
    watched.forward = watched.backward = 0;
    assert_ok(hearth_decoder_grad(e.dec, &ts.stream, NULL, &l, NULL));
    did.forward = watched.forward / (n * ts.stream.n);
    did.backward = watched.backward / (n * ts.stream.n);
    assert_int_equal(watched.forward % (n * ts.stream.n), 0);
    assert_int_equal(watched.backward % (n * ts.stream.n), 0);
    tiny_engine_close(&e);
    hearth_adapter_free(a);
    return did;
}

/* ---- claims ---- */

static void nothing_below_the_lowest_adapter_goes_back(void **state) {
    static const hearth_tensor_role mlp[] = {HEARTH_TENSOR_DOWN,
                                             HEARTH_TENSOR_UP};
    (void)state;
    for (size_t last = 1; last <= LAYERS; last++)
        for (size_t layer = 0; layer < LAYERS; layer++)
            for (size_t again = 0; again <= LAYERS; again += LAYERS) {
                size_t lowest = LAYERS - last;
                work q = work_of(last, again, HEARTH_TENSOR_Q, layer);
                /* layers, the head (once or more often), adapted layers */
                assert_true(q.gates_forward > LAYERS);
                assert_int_equal(q.gates, q.gates_forward + (int)last);
                /* at the lowest nobody wants its input's gradient */
                assert_int_equal(q.backward, layer > lowest);
                bool twice =
                    again && layer >= lowest && layer + 1 < (size_t)LAYERS;
                assert_int_equal(q.forward, 1 + twice);
                for (size_t i = 0; i < 2; i++) {
                    work w = work_of(last, again, mlp[i], layer);
                    assert_int_equal(w.backward, layer >= lowest);
                }
            }
}

static void recompute_leaves_the_down_projection_out(void **state) {
    (void)state;
    for (size_t again = 0; again <= LAYERS; again++)
        for (size_t layer = 0; layer < LAYERS; layer++) {
            /* the first ones are run again, the last one never */
            bool twice = layer < again && layer + 1 < LAYERS;
            work up = work_of(LAYERS, again, HEARTH_TENSOR_UP, layer);
            work down = work_of(LAYERS, again, HEARTH_TENSOR_DOWN, layer);
            assert_int_equal(up.forward,
                             1 + twice); /* or this proves nothing */
            assert_int_equal(down.forward, 1);
        }
}

/* Softmaxes of a forward and backward pass, by calls; `kept` of the layers that
 * are run again keep what attention gave. */
static size_t exps_of(size_t again, size_t kept) {
    hearth_lora_spec spec = {2, 4.0f, HEARTH_TARGETS_ATTN, 0, false, false};
    hearth_adapter *a = tiny_adapter(model, &spec, 9);
    hearth_kernels k = *hearth_kernels_reference();
    hearth_loss l;
    tiny_engine e;
    k.exp_shift = count_exp;
    tiny_engine_open(&e,
                     (hearth_decoder_shape){.model = model,
                                            .adapter = a,
                                            .mode = HEARTH_DECODER_LORA,
                                            .recompute = again,
                                            .keep_attention = kept},
                     NULL, &k);
    hearth_decoder_zero_grad(e.dec);
    exps = 0;
    assert_ok(hearth_decoder_grad(e.dec, &ts.stream, NULL, &l, NULL));
    tiny_engine_close(&e);
    hearth_adapter_free(a);
    return exps;
}

static void kept_attention_is_not_run_again(void **state) {
    (void)state;
    size_t once = exps_of(0, 0), layer = exps_of(1, 0) - once;
    assert_true(layer > 0);
    for (size_t again = 0; again <= LAYERS; again++)
        for (size_t kept = 0; kept <= LAYERS; kept++) {
            size_t n = again < LAYERS ? again : LAYERS - 1;
            size_t left = n > kept ? n - kept : 0;
            assert_int_equal(exps_of(again, kept), once + left * layer);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_below_the_lowest_adapter_goes_back),
        cmocka_unit_test(recompute_leaves_the_down_projection_out),
        cmocka_unit_test(kept_attention_is_not_run_again),
    };
    return cmocka_run_group_tests_name("client/train/decoder work", tests,
                                       set_up, tear_down);
}

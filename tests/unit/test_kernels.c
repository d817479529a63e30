/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_kernels.c - client/train/kernels.h and weight.h: the fast set
 * against the reference, op by op. */
#include <math.h>

#include "tests/support/cmocka_all.h"

#include "client/train/kernels.h"
#include "client/train/weight.h"
#include "client/train/weight_private.h"
#include "common/philox.h"

#define MANY 20000

static float a[MANY], b[MANY], c[MANY], d[MANY], e[MANY], f[MANY];

static void fill(float *v, size_t n, uint64_t seed, double scale) {
    hearth_philox_key k = hearth_philox_key_make(seed, HEARTH_PHILOX_DATA);
    for (size_t i = 0; i < n; i++)
        v[i] = (float)(scale * hearth_philox_normal(k, 0, i));
}

/* Normalised mean squared error of got against want. */
static double nmse(const float *got, const float *want, size_t n) {
    double diff = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        double x = (double)got[i] - (double)want[i];
        diff += x * x;
        norm += (double)want[i] * (double)want[i];
    }
    return norm > 0 ? diff / norm : diff;
}

/* Observed: below 2e-14 (Zen 5, AVX-512 and Haswell kernels of OpenBLAS). */
#define LIMIT 1e-12

static void check(const char *op, size_t size, const float *got,
                  const float *want, size_t n) {
    double x = nmse(got, want, n);
    if (!(x <= LIMIT)) fail_msg("%s of size %zu: NMSE %.3g", op, size, x);
}

#define NEED_BLAS                                                              \
    const hearth_kernels *k = hearth_kernels_blas();                           \
    const hearth_kernels *r = hearth_kernels_reference();                      \
    (void)state;                                                               \
    if (!k) skip()

static void products_agree(void **state) {
    static const size_t shapes[][3] = {{1, 1, 1},    {3, 5, 7},   {16, 16, 8},
                                       {64, 33, 64}, {62, 62, 8}, {1, 100, 64},
                                       {100, 1, 64}, {7, 9, 130}};
    NEED_BLAS;
    for (size_t s = 0; s < sizeof(shapes) / sizeof(shapes[0]); s++)
        for (int add = 0; add < 2; add++) {
            size_t m = shapes[s][0], n = shapes[s][1], l = shapes[s][2];
            size_t ldc = n + 3, size = m * ldc;
            fill(a, m * (l + 2) + l * (m + 2), 1, 1);
            fill(b, n * (l + 1) + l * (n + 1), 2, 1);
            fill(c, size, 3, 1);
            memcpy(d, c, size * sizeof(*c));
            k->gemm_nt(m, n, l, 0.5f, a, l + 2, b, l + 1, add, c, ldc);
            r->gemm_nt(m, n, l, 0.5f, a, l + 2, b, l + 1, add, d, ldc);
            check("gemm_nt", s, c, d, size);
            k->gemm_nn(m, n, l, -2.0f, a, l + 2, b, n + 1, add, c, ldc);
            r->gemm_nn(m, n, l, -2.0f, a, l + 2, b, n + 1, add, d, ldc);
            check("gemm_nn", s, c, d, size);
            k->gemm_tn(m, n, l, 1.0f, a, m + 2, b, n + 1, add, c, ldc);
            r->gemm_tn(m, n, l, 1.0f, a, m + 2, b, n + 1, add, d, ldc);
            check("gemm_tn", s, c, d, size);
        }
}

static void products_of_nothing_do_nothing(void **state) {
    NEED_BLAS;
    c[0] = 3.0f;
    k->gemm_nt(0, 1, 1, 1, a, 1, b, 1, 0, c, 1);
    k->gemm_nn(1, 0, 1, 1, a, 1, b, 1, 0, c, 1);
    r->gemm_tn(0, 0, 1, 1, a, 1, b, 1, 0, c, 1);
    assert_true(c[0] >= 3.0f && c[0] <= 3.0f);
}

static void loops_agree(void **state) {
    NEED_BLAS;
    for (size_t n = 1; n <= 300; n += n < 40 ? 1 : 37) {
        fill(a, n, n, 1);
        fill(b, n, n + 1, 1);
        fill(c, n, n + 2, 1);
        float x = k->dot(n, a, b), y = r->dot(n, a, b);
        assert_true(fabs((double)x - (double)y) <= 1e-5 * (double)n);
        x = k->rms_inverse(n, a, 1e-5f);
        y = r->rms_inverse(n, a, 1e-5f);
        check("rms_inverse", n, &x, &y, 1);
        k->rmsnorm(n, a, b, 1e-5f, d);
        r->rmsnorm(n, a, b, 1e-5f, e);
        check("rmsnorm", n, d, e, n);
        k->rmsnorm_back(n, a, b, 1e-5f, c, d);
        r->rmsnorm_back(n, a, b, 1e-5f, c, e);
        check("rmsnorm_back", n, d, e, n);
        x = k->max(n, a);
        y = r->max(n, a);
        assert_true(x >= y && x <= y);
        x = k->exp_shift(n, a, y, d);
        y = r->exp_shift(n, a, y, e);
        check("exp_shift", n, d, e, n);
        check("sum of exp_shift", n, &x, &y, 1);
        k->swiglu(n, a, b, d);
        r->swiglu(n, a, b, e);
        check("swiglu", n, d, e, n);
        memcpy(d, a, n * sizeof(*a)); /* in place, as the decoder uses it */
        memcpy(e, b, n * sizeof(*b));
        k->swiglu_back(n, d, e, c, d, e);
        r->swiglu_back(n, a, b, c, a, b);
        check("swiglu_back dg", n, d, a, n);
        check("swiglu_back du", n, e, b, n);
        fill(a, 2 * n, n, 1);
        memcpy(d, a, 2 * n * sizeof(*a));
        k->rope(n, b, c, -1, d);
        r->rope(n, b, c, -1, a);
        check("rope", n, d, a, 2 * n);
        k->accumulate(n, c, d);
        r->accumulate(n, c, a);
        check("accumulate", n, d, a, n);
    }
}

static void exponential_is_accurate_and_keeps_nan(void **state) {
    NEED_BLAS;
    for (size_t i = 0; i < MANY; i++) a[i] = -87.0f * (float)i / (float)MANY;
    (void)k->exp_shift(MANY, a, 0, c);
    for (size_t i = 0; i < MANY; i++) {
        double want = exp((double)a[i]);
        assert_true(fabs((double)c[i] - want) <= 4e-7 * want);
    }
    for (size_t set = 0; set < 2; set++) {
        const hearth_kernels *s = set ? k : r;
        a[0] = -1e30f;
        a[1] = NAN;
        a[2] = 0;
        assert_true(isnan(s->exp_shift(3, a, 0, c)));
        assert_true(c[0] >= 0 && c[0] < 1e-37f && isnan(c[1]));
        s->swiglu(3, a, a, d);
        assert_true(isnan(d[1]));
    }
}

static void sets_are_found_by_name(void **state) {
    NEED_BLAS;
    assert_ptr_equal(hearth_kernels_find("reference"), r);
    assert_ptr_equal(hearth_kernels_find("blas"), k);
    assert_ptr_equal(hearth_kernels_find("auto"), k);
    assert_ptr_equal(hearth_kernels_default(), k);
    assert_null(hearth_kernels_find("cuda"));
    assert_non_null(strstr(hearth_kernels_describe(k), "OpenBLAS"));
    assert_non_null(strstr(hearth_kernels_describe(r), "reference"));
}

/* A weight of every stored type, all with the same bfloat16 values, against a
 * dense product; large enough for several tiles and chunks. */
#define ROWS   530 /* both sides: several tiles, several chunks */
#define COLS   540
#define TOKENS 70

static float dense[ROWS * COLS];
static unsigned char stored[ROWS * COLS * 4 + 1];
static float x[TOKENS * COLS], dy[TOKENS * ROWS];
static float y[TOKENS * ROWS], y_want[TOKENS * ROWS];
static float dx[TOKENS * COLS], dx_want[TOKENS * COLS];

static hearth_weight make_weight(hearth_weight_type type, size_t offset) {
    hearth_weight w = {
        .type = type, .rows = ROWS, .cols = COLS, .data = stored + offset};
    for (size_t i = 0; i < (size_t)ROWS * COLS; i++) {
        uint32_t bits;
        memcpy(&bits, &dense[i], 4);
        unsigned char *p = stored + offset + 4 * i;
        if (type == HEARTH_WEIGHT_BF16) {
            p = stored + offset + 2 * i;
            p[0] = (unsigned char)(bits >> 16);
            p[1] = (unsigned char)(bits >> 24);
        } else {
            memcpy(p, &dense[i], 4);
        }
    }
    return w;
}

static void weights_of_every_kind_agree(void **state) {
    const hearth_kernels *r = hearth_kernels_reference();
    static float tile[4 * HEARTH_WEIGHT_TILE_BYTES / sizeof(float)];
    (void)state;
    fill(dense, ROWS * COLS, 1, 1);
    for (size_t i = 0; i < (size_t)ROWS * COLS; i++) { /* to bfloat16 */
        uint32_t bits;
        memcpy(&bits, &dense[i], 4);
        bits &= 0xffff0000u;
        memcpy(&dense[i], &bits, 4);
    }
    fill(x, TOKENS * COLS, 2, 1);
    fill(dy, TOKENS * ROWS, 3, 1);
    r->gemm_nt(TOKENS, ROWS, COLS, 1, x, COLS, dense, COLS, 0, y_want, ROWS);
    r->gemm_nn(TOKENS, COLS, ROWS, 1, dy, ROWS, dense, COLS, 0, dx_want, COLS);
    for (size_t kind = 0; kind < 4; kind++) {
        hearth_weight_type type = kind == 0   ? HEARTH_WEIGHT_REAL
                                  : kind == 3 ? HEARTH_WEIGHT_BF16
                                              : HEARTH_WEIGHT_F32;
        hearth_weight w = make_weight(type, kind == 2 ? 1 : 0);
        if (type == HEARTH_WEIGHT_REAL) w.data = (unsigned char *)dense;
        assert_int_equal(hearth_weight_needs_tile(&w), kind >= 2);
        hearth_compute compute = {hearth_kernels_default(), NULL, tile};
        hearth_weight_forward(&compute, &w, TOKENS, x, COLS, y, ROWS, 0);
        check("forward", kind, y, y_want, TOKENS * ROWS);
        hearth_weight_backward(&compute, &w, TOKENS, dy, ROWS, dx, COLS, 0);
        check("backward", kind, dx, dx_want, TOKENS * COLS);
        hearth_weight_forward(&compute, &w, TOKENS, x, COLS, y, ROWS, 1);
        for (size_t i = 0; i < TOKENS * ROWS; i++) y[i] *= 0.5f;
        check("forward twice", kind, y, y_want, TOKENS * ROWS);
        hearth_weight_row(&w, 529, f);
        assert_memory_equal(f, dense + 529 * COLS, COLS * sizeof(float));
        assert_memory_equal(hearth_weight_rows_at(&w, 7, 2, f),
                            dense + 7 * COLS, 2 * COLS * sizeof(float));
    }
}

static void dense_gradient_adds_over_tokens(void **state) {
    const hearth_kernels *r = hearth_kernels_reference();
    hearth_compute compute = {hearth_kernels_default(), NULL, NULL};
    (void)state;
    fill(dy, TOKENS * 130, 3, 1);
    fill(x, TOKENS * 9, 2, 1);
    fill(c, 130 * 9, 5, 1);
    memcpy(d, c, sizeof(float) * 130 * 9);
    hearth_dense_gradient(&compute, 130, 9, TOKENS, 0.5f, dy, 130, x, 9, c);
    r->gemm_tn(130, 9, TOKENS, 0.5f, dy, 130, x, 9, 1, d, 9);
    check("dense_gradient", 0, c, d, 130 * 9);
    hearth_dense_gradient(&compute, 130, 9, 0, 1, dy, 130, x, 9, d);
    check("no tokens", 0, c, d, 130 * 9);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_agree),
        cmocka_unit_test(products_of_nothing_do_nothing),
        cmocka_unit_test(loops_agree),
        cmocka_unit_test(exponential_is_accurate_and_keeps_nan),
        cmocka_unit_test(sets_are_found_by_name),
        cmocka_unit_test(weights_of_every_kind_agree),
        cmocka_unit_test(dense_gradient_adds_over_tokens),
    };
    return cmocka_run_group_tests_name("client/train/kernels", tests, NULL,
                                       NULL);
}

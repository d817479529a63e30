/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_kernels.c - client/train/kernels.h and weight.h: the fast set
 * against the reference, op by op. */
#include <math.h>

#include "tests/support/cmocka_all.h"

#include "client/train/kernels.h"
#include "client/train/kernels_loops.h"
#include "client/train/weight.h"
#include "client/train/weight_private.h"
#include "common/philox.h"

#define MANY 40000

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

/* Every fast set of this build and machine: native, blas, and native with the
 * products of narrower vectors. */
static const hearth_kernels *fast[5];
static size_t n_fast;
static hearth_kernels narrower[3];

static int find_sets(void **state) {
    static const char *const vectors[3] = {"plain", "avx2", "avx512"};
    (void)state;
    if (hearth_kernels_native()) fast[n_fast++] = hearth_kernels_native();
    if (hearth_kernels_blas()) fast[n_fast++] = hearth_kernels_blas();
    for (size_t i = 0; i < 3 && hearth_kernels_native(); i++) {
        narrower[i] = *hearth_kernels_native();
        narrower[i].name = vectors[i];
        narrower[i].pair_panel = 0;
        if (hearth_kernels__fill_products(&narrower[i], vectors[i]))
            fast[n_fast++] = &narrower[i];
    }
    return 0;
}

static void products_of_a_set_agree(const hearth_kernels *k) {
    static const size_t shapes[][3] = {
        {1, 1, 1},    {3, 5, 7},    {16, 16, 8}, {64, 33, 64},  {62, 62, 8},
        {1, 100, 64}, {100, 1, 64}, {7, 9, 130}, {29, 65, 261}, {5, 32, 513}};
    const hearth_kernels *r = hearth_kernels_reference();
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

static void products_agree(void **state) {
    (void)state;
    for (size_t i = 0; i < n_fast; i++) products_of_a_set_agree(fast[i]);
}

/* Panels: what they hold, and their product, for every number of columns. */
static void panels_of_a_set_agree(const hearth_kernels *k) {
    enum { M = 17, LDW = 61, LDC = 40 };
    static float panel[HEARTH_PANEL_DEPTH * HEARTH_PANEL_MAX];
    const hearth_kernels *r = hearth_kernels_reference();
    assert_true(k->panel <= HEARTH_PANEL_MAX);
    for (size_t n = 1; n <= k->panel; n++) {
        size_t l = 1 + 7 * n % 60;
        fill(a, M * (l + 2), n, 1);
        fill(b, LDW * LDW, l, 1);
        for (int turned = 0; turned < 2; turned++) {
            size_t row = turned ? 1 : LDW, column = turned ? LDW : 1;
            (turned ? k->pack_turned : k->pack_straight)(n, l, b, LDW, panel);
            for (size_t i = 0; i < l; i++)
                for (size_t j = 0; j < k->panel; j++) {
                    float want = j < n ? b[i * row + j * column] : 0;
                    assert_memory_equal(&panel[i * k->panel + j], &want, 4);
                }
            fill(c, M * LDC, 3, 1);
            memcpy(d, c, sizeof(float) * M * LDC);
            k->gemm_panel(M, n, l, a, l + 2, panel, turned, c, LDC);
            (turned ? r->gemm_nt : r->gemm_nn)(M, n, l, 1, a, l + 2, b, LDW,
                                               turned, d, LDC);
            check("gemm_panel", n, c, d, (size_t)M * LDC);
        }
    }
}

static void panels_agree(void **state) {
    (void)state;
    for (size_t i = 0; i < n_fast; i++) panels_of_a_set_agree(fast[i]);
    assert_int_equal(hearth_kernels_reference()->panel, 0);
}

/* A row's sums do not depend on the rows beside it, nor a column's on the
 * columns: work may be cut anywhere. */
static void native_sums_do_not_depend_on_the_cut(void **state) {
    enum { M = 31, N = 70, K = 300 };
    (void)state;
    fill(a, M * K, 1, 1);
    fill(b, 64 * K, 2, 1);
    for (size_t i = 0; i < n_fast; i++) {
        const hearth_kernels *k = fast[i];
        if (!k->panel) continue;
        k->gemm_nn(M, 64, K, 1, a, K, b, 64, 0, c, N);
        for (size_t m = 4; m < M; m += 5) {
            k->gemm_nn(m, 64, K, 1, a, K, b, 64, 0, d, N);
            k->gemm_nn(M - m, 64, K, 1, a + m * K, K, b, 64, 0, d + m * N, N);
            for (size_t r = 0; r < M; r++)
                assert_memory_equal(c + r * N, d + r * N, 64 * sizeof(*c));
        }
    }
}

static void products_of_nothing_do_nothing(void **state) {
    (void)state;
    c[0] = 3.0f;
    for (size_t i = 0; i <= n_fast; i++) {
        const hearth_kernels *k = i ? fast[i - 1] : hearth_kernels_reference();
        k->gemm_nt(0, 1, 1, 1, a, 1, b, 1, 0, c, 1);
        k->gemm_nn(1, 0, 1, 1, a, 1, b, 1, 0, c, 1);
        k->gemm_tn(0, 0, 1, 1, a, 1, b, 1, 0, c, 1);
    }
    assert_true(c[0] >= 3.0f && c[0] <= 3.0f);
}

/* a: gate or input, b: up, c: gradient; results in place, as the decoder uses
 * them. */
static void gelu_loops_agree(const hearth_kernels *k, const hearth_kernels *r,
                             size_t n) {
    fill(a, n, n, 2);
    fill(b, n, n + 1, 1);
    k->geglu(n, a, b, d);
    r->geglu(n, a, b, e);
    check("geglu", n, d, e, n);
    k->gelu(n, a, d);
    r->gelu(n, a, e);
    check("gelu", n, d, e, n);
    memcpy(d, a, n * sizeof(*a));
    k->gelu_back(n, d, c, d);
    r->gelu_back(n, a, c, e);
    check("gelu_back", n, d, e, n);
    memcpy(d, a, n * sizeof(*a));
    memcpy(e, b, n * sizeof(*b));
    k->geglu_back(n, d, e, c, d, e);
    r->geglu_back(n, a, b, c, a, b);
    check("geglu_back dg", n, d, a, n);
    check("geglu_back du", n, e, b, n);
}

/* The mean is far from 0, so that it counts. */
static void layer_norms_agree(const hearth_kernels *k, const hearth_kernels *r,
                              size_t n) {
    float mean[2], x, y;
    fill(a, n, n, 1);
    fill(b, n, n + 1, 1);
    fill(f, n, n + 3, 1);
    for (size_t i = 0; i < n; i++) a[i] += 3.0f;
    x = k->layer_inverse(n, a, 1e-2f, &mean[0]);
    y = r->layer_inverse(n, a, 1e-2f, &mean[1]);
    check("layer_inverse", n, &x, &y, 1);
    check("mean", n, &mean[0], &mean[1], 1);
    k->layernorm(n, a, b, f, 1e-2f, d);
    r->layernorm(n, a, b, f, 1e-2f, e);
    check("layernorm", n, d, e, n);
    memcpy(d, f, n * sizeof(*f)); /* added to what is there */
    memcpy(e, f, n * sizeof(*f));
    k->layernorm_back(n, a, b, 1e-2f, c, d);
    r->layernorm_back(n, a, b, 1e-2f, c, e);
    check("layernorm_back", n, d, e, n);
}

/* By the definition, with libm. */
static void gelu_and_layer_norm_are_as_defined(void **state) {
    const hearth_kernels *r = hearth_kernels_reference();
    static const float v[4] = {-1.5f, 0.25f, 2.0f, 3.25f};
    static const float w[4] = {1, 2, 3, 4}, bias[4] = {-1, 0, 1, 2};
    (void)state;
    r->gelu(4, v, a);
    r->geglu(4, v, w, b);
    r->layernorm(4, v, w, bias, 0.5f, c); /* mean 1, variance 3.21875 */
    for (size_t i = 0; i < 4; i++) {
        double z = (double)v[i];
        double gelu =
            0.5 * z *
            (1 + tanh(0.7978845608028654 * (z + 0.044715 * z * z * z)));
        double norm = (z - 1) / sqrt(3.21875 + 0.5) * (double)w[i];
        assert_true(fabs((double)a[i] - gelu) <= 1e-6);
        assert_true(fabs((double)b[i] - gelu * (double)w[i]) <= 4e-6);
        assert_true(fabs((double)c[i] - norm - (double)bias[i]) <= 1e-5);
    }
}

/* The softmax down columns: a scores, b and c what belongs to the columns. */
static void columns_agree(const hearth_kernels *k, const hearth_kernels *r,
                          size_t n) {
    float *x[] = {d, e}, *sum = d + n, *want = e + n;
    const hearth_kernels *set[] = {k, r};
    for (int i = 0; i < 2; i++) {
        memcpy(x[i], b, n * sizeof(*b));
        set[i]->column_max(n, 0.3f, a, x[i]);
    }
    check("column_max", n, d, e, n);
    for (int i = 0; i < 2; i++) {
        memcpy(x[i], a, n * sizeof(*a));
        memcpy(x[i] + n, c, n * sizeof(*c));
        set[i]->column_exp(n, 0.3f, x[i], b, x[i] + n);
    }
    check("column_exp", n, d, e, n);
    check("sums of column_exp", n, sum, want, n);
    for (int i = 0; i < 2; i++) {
        memcpy(x[i], a, n * sizeof(*a));
        memcpy(x[i] + n, c, n * sizeof(*c));
        set[i]->column_back(n, 0.3f, b, c, a, x[i], x[i] + n);
    }
    check("column_back p", n, d, e, n);
    check("column_back g", n, sum, want, n);
}

static void loops_agree(void **state) {
    const hearth_kernels *r = hearth_kernels_reference();
    const hearth_kernels *k = n_fast ? fast[0] : r; /* all have the same */
    (void)state;
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
        columns_agree(k, r, n);
        k->swiglu(n, a, b, d);
        r->swiglu(n, a, b, e);
        check("swiglu", n, d, e, n);
        memcpy(d, a, n * sizeof(*a)); /* in place, as the decoder uses it */
        memcpy(e, b, n * sizeof(*b));
        k->swiglu_back(n, d, e, c, d, e);
        r->swiglu_back(n, a, b, c, a, b);
        check("swiglu_back dg", n, d, a, n);
        check("swiglu_back du", n, e, b, n);
        gelu_loops_agree(k, r, n);
        layer_norms_agree(k, r, n);
        fill(a, 2 * n, n, 1);
        fill(b, n, n + 1, 1);
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
    const hearth_kernels *r = hearth_kernels_reference();
    const hearth_kernels *k = n_fast ? fast[0] : r;
    (void)state;
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
    const hearth_kernels *r = hearth_kernels_reference();
    const hearth_kernels *native = hearth_kernels_native();
    const hearth_kernels *blas = hearth_kernels_blas();
    (void)state;
    assert_ptr_equal(hearth_kernels_find("reference"), r);
    assert_ptr_equal(hearth_kernels_find("native"), native);
    assert_ptr_equal(hearth_kernels_find("blas"), blas);
    assert_ptr_equal(hearth_kernels_find("auto"), hearth_kernels_default());
    assert_ptr_equal(hearth_kernels_default(), native ? native : r);
    assert_null(hearth_kernels_find("cuda"));
    assert_non_null(strstr(hearth_kernels_describe(r), "reference"));
    if (native) assert_non_null(strstr(hearth_kernels_describe(native), "own"));
    if (blas)
        assert_non_null(strstr(hearth_kernels_describe(blas), "OpenBLAS"));
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

/* The set that is the default, with and without products in parts. */
static hearth_kernels weight_set(size_t i) {
    hearth_kernels k = *hearth_kernels_default();
    if (i) k.pair_panel = 0;
    return k;
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
    for (size_t v = 0; v < 8; v++) {
        size_t kind = v / 2;
        hearth_weight_type type = kind == 0   ? HEARTH_WEIGHT_REAL
                                  : kind == 3 ? HEARTH_WEIGHT_BF16
                                              : HEARTH_WEIGHT_F32;
        hearth_weight w = make_weight(type, kind == 2 ? 1 : 0);
        if (type == HEARTH_WEIGHT_REAL) w.data = (unsigned char *)dense;
        assert_int_equal(hearth_weight_needs_tile(&w), kind >= 2);
        hearth_kernels set = weight_set(v % 2);
        hearth_compute compute = {.kernels = &set, .pool = NULL, .tile = tile};
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

/* The views' products against those of the dense matrix that a copy gives;
 * `dense` is what the copy must be. */
static void check_view(const char *name, const hearth_weight *w) {
    static float tile[4 * HEARTH_WEIGHT_TILE_BYTES / sizeof(float)];
    static float copy[ROWS * COLS];
    const hearth_kernels *r = hearth_kernels_reference();
    hearth_weight_copy(w, copy);
    check(name, 0, copy, dense, w->rows * w->cols);
    r->gemm_nt(TOKENS, w->rows, w->cols, 1, x, COLS, dense, w->cols, 0, y_want,
               ROWS);
    r->gemm_nn(TOKENS, w->cols, w->rows, 1, dy, ROWS, dense, w->cols, 0,
               dx_want, COLS);
    for (size_t t = 0; t < TOKENS; t++) {
        memset(y_want + t * ROWS + w->rows, 0, (ROWS - w->rows) * 4);
        memset(dx_want + t * COLS + w->cols, 0, (COLS - w->cols) * 4);
    }
    for (size_t i = 0; i < 2; i++) {
        hearth_kernels set = weight_set(i);
        hearth_compute compute = {.kernels = &set, .pool = NULL, .tile = tile};
        memset(y, 0, sizeof(y));
        memset(dx, 0, sizeof(dx));
        hearth_weight_forward(&compute, w, TOKENS, x, COLS, y, ROWS, 0);
        check(name, 1, y, y_want, TOKENS * ROWS);
        hearth_weight_backward(&compute, w, TOKENS, dy, ROWS, dx, COLS, 0);
        check(name, 2, dx, dx_want, TOKENS * COLS);
    }
    for (size_t i = 3; i < w->rows; i += 101) {
        hearth_weight_row(w, i, f);
        assert_memory_equal(f, copy + i * w->cols, w->cols * sizeof(float));
    }
    hearth_weight__convert(w, 5, 33, 70, f); /* no whole blocks */
    assert_memory_equal(f, copy + 5 * w->cols + 33, 70 * sizeof(float));
}

/* bfloat16 values, so that both 16-bit and 32-bit files can hold them. */
static void fill_dense(void) {
    fill(dense, ROWS * COLS, 1, 1);
    for (size_t i = 0; i < (size_t)ROWS * COLS; i++) {
        uint32_t bits;
        memcpy(&bits, &dense[i], 4);
        bits &= 0xffff0000u;
        memcpy(&dense[i], &bits, 4);
    }
    fill(x, TOKENS * COLS, 2, 1);
    fill(dy, TOKENS * ROWS, 3, 1);
}

/* Stored [COLS, ROWS], the shape that Conv1D has in a file. */
static void transposed_views_agree(void **state) {
    static float turned[ROWS * COLS];
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        fill_dense();
        for (size_t r = 0; r < ROWS; r++)
            for (size_t q = 0; q < COLS; q++)
                turned[q * ROWS + r] = dense[r * COLS + q];
        memcpy(dense, turned, sizeof(dense));
        hearth_weight w = make_weight(
            kind == 2 ? HEARTH_WEIGHT_BF16 : HEARTH_WEIGHT_F32, kind == 1);
        fill_dense();
        w.transposed = true;
        if (kind == 3) w.shift = 0.5f;
        for (size_t i = 0; kind == 3 && i < (size_t)ROWS * COLS; i++)
            dense[i] += 0.5f;
        assert_int_equal(hearth_weight_needs_tile(&w), kind > 0);
        check_view("transposed", &w);
    }
}

/* llama.cpp's order of q and k: pairs side by side within each head. */
static void permuted_and_shifted_views_agree(void **state) {
    enum { HEAD = 10 };
    static float mixed[ROWS * COLS];
    (void)state;
    fill_dense();
    for (size_t r = 0; r < ROWS; r++) {
        size_t head = r / HEAD, half = r % HEAD / (HEAD / 2);
        size_t pair = r % (HEAD / 2);
        memcpy(mixed + (head * HEAD + 2 * pair + half) * COLS, dense + r * COLS,
               COLS * sizeof(float));
    }
    hearth_weight w = {.type = HEARTH_WEIGHT_REAL,
                       .rows = ROWS,
                       .cols = COLS,
                       .data = (unsigned char *)mixed,
                       .permuted = HEAD};
    assert_true(hearth_weight_needs_tile(&w));
    check_view("permuted", &w);
    w.shift = -1.0f;
    for (size_t i = 0; i < (size_t)ROWS * COLS; i++) dense[i] -= 1.0f;
    check_view("permuted and shifted", &w);
}

/* Random blocks of every type.  512 columns: two blocks of 256, and rows that
 * end within a tile. */
static void quantised_views_agree(void **state) {
    enum { WIDE = 512 };
    (void)state;
    for (int t = HEARTH_QUANT_Q8_0; t < HEARTH_QUANT_COUNT; t++)
        for (uint32_t permuted = 0; permuted <= 10; permuted += 10) {
            hearth_quant_type type = (hearth_quant_type)t;
            size_t block = hearth_quant_bytes(type);
            size_t row_bytes = WIDE / hearth_quant_elements(type) * block;
            hearth_philox_key key =
                hearth_philox_key_make((uint64_t)t, HEARTH_PHILOX_DATA);
            fill_dense();
            for (size_t i = 0; i < ROWS * row_bytes; i++) /* halves: finite */
                stored[i] = (unsigned char)hearth_philox_below(key, 0, i, 0x38);
            hearth_weight w = {.type = HEARTH_WEIGHT_QUANT,
                               .rows = ROWS,
                               .cols = WIDE,
                               .data = stored,
                               .quant = type,
                               .permuted = permuted};
            for (size_t r = 0; r < ROWS; r++) {
                size_t in = r % 10, at = r;
                if (permuted) at = r - in + in % 5 * 2 + in / 5;
                hearth_quant_decode(type, stored + at * row_bytes, 0, WIDE,
                                    dense + r * WIDE);
            }
            check_view(hearth_quant_name(type), &w);
        }
}

/* Many rows, and so few that its tiles are of columns. */
static void dense_gradient_adds_over_tokens(void **state) {
    static const size_t shape[2][2] = {{130, 9}, {9, 530}};
    const hearth_kernels *r = hearth_kernels_reference();
    hearth_compute compute = {
        .kernels = hearth_kernels_default(), .pool = NULL, .tile = NULL};
    (void)state;
    for (int i = 0; i < 2; i++) {
        size_t m = shape[i][0], n = shape[i][1], all = m * n;
        assert_true(TOKENS * n <= sizeof(x) / sizeof(*x));
        fill(dy, TOKENS * m, 3, 1);
        fill(x, TOKENS * n, 2, 1);
        fill(c, all, 5, 1);
        memcpy(d, c, sizeof(float) * all);
        hearth_dense_gradient(&compute, m, n, TOKENS, 0.5f, dy, m, x, n, c);
        r->gemm_tn(m, n, TOKENS, 0.5f, dy, m, x, n, 1, d, n);
        check("dense_gradient", 0, c, d, all);
        hearth_dense_gradient(&compute, m, n, 0, 1, dy, m, x, n, d);
        check("no tokens", 0, c, d, all);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_agree),
        cmocka_unit_test(panels_agree),
        cmocka_unit_test(native_sums_do_not_depend_on_the_cut),
        cmocka_unit_test(products_of_nothing_do_nothing),
        cmocka_unit_test(loops_agree),
        cmocka_unit_test(gelu_and_layer_norm_are_as_defined),
        cmocka_unit_test(exponential_is_accurate_and_keeps_nan),
        cmocka_unit_test(sets_are_found_by_name),
        cmocka_unit_test(weights_of_every_kind_agree),
        cmocka_unit_test(transposed_views_agree),
        cmocka_unit_test(permuted_and_shifted_views_agree),
        cmocka_unit_test(quantised_views_agree),
        cmocka_unit_test(dense_gradient_adds_over_tokens),
    };
    return cmocka_run_group_tests_name("client/train/kernels", tests, find_sets,
                                       NULL);
}

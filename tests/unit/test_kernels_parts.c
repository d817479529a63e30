/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_kernels_parts.c - products of f32 numbers as sums of three
 * bfloat16 numbers: what the parts leave, and errors beside those of plain f32.
 * Nothing to test where the machine has no set that does it. */
#include <math.h>

#include "tests/support/cmocka_all.h"

#include "client/train/kernels.h"
#include "client/train/kernels_loops.h"
#include "client/train/weight.h"
#include "client/train/weight_private.h"
#include "common/half_float.h"
#include "common/philox.h"

#define ROWS   390
#define COLS   544
#define TOKENS 70
#define MANY   (ROWS * COLS)

static hearth_kernels parts, plain;
static bool there;

static float dense[MANY], x[TOKENS * COLS], dy[TOKENS * ROWS];
static float y[TOKENS * ROWS], dx[TOKENS * COLS];
static unsigned char stored[MANY * 4];
static float tile[2 * HEARTH_WEIGHT_TILE_BYTES / sizeof(float)];

/* Normal numbers of several magnitudes. */
static void fill(float *v, size_t n, uint64_t seed) {
    hearth_philox_key k = hearth_philox_key_make(seed, HEARTH_PHILOX_DATA);
    for (size_t i = 0; i < n; i++)
        v[i] = ldexpf((float)hearth_philox_normal(k, 0, i), (int)(i % 13) - 6);
}

static int find_set(void **state) {
    (void)state;
    if (!hearth_kernels_native()) return 0;
    parts = plain = *hearth_kernels_native();
    there = hearth_kernels__fill_pairs(&parts, "amx3");
    plain.pair_panel = 0;
    if (there) assert_int_equal(hearth_kernels_native()->pair_parts, 3);
    return 0;
}

static void three_parts_leave_next_to_nothing(void **state) {
    enum { N = 1003, APART = 1036 };
    static uint16_t out[3 * APART + 1];
    (void)state;
    if (!there) skip();
    fill(dense, N, 1);
    dense[7] = 0;
    dense[8] = -0.0f;
    dense[9] = 0x1.fffffep127f * 0.99f;
    for (size_t n = 1; n <= N; n += n < 40 ? 1 : 963) {
        memset(out, 0xff, sizeof(out));
        parts.round_rows(1, n, dense, N, out, 3 * APART);
        for (size_t i = 0; i < n; i++) {
            double sum = (double)hearth_bf16_to_f32(out[i]) +
                         (double)hearth_bf16_to_f32(out[APART + i]) +
                         (double)hearth_bf16_to_f32(out[2 * APART + i]);
            if (!(fabs(sum - (double)dense[i]) <=
                  0x1p-24 * fabs((double)dense[i])))
                fail_msg("%a became %a", (double)dense[i], sum);
        }
        size_t end =
            (n + HEARTH_PAIR_PAD - 1) / HEARTH_PAIR_PAD * HEARTH_PAIR_PAD;
        for (size_t p = 0; p < 3; p++) {
            for (size_t i = n; i < end; i++)
                assert_int_equal(out[p * APART + i], 0);
            assert_int_equal(out[p * APART + end], 0xffff);
        }
    }
}

/* Squares of errors against sums in double, and the largest of them as a share
 * of the sum of sizes. */
typedef struct {
    double squares, largest;
} errors;

/* c[m, n] against a[m, l] b, b_j the distance of columns, b_l that of rows. */
static errors compare(size_t m, size_t n, size_t l, const float *a, size_t lda,
                      const float *b, size_t b_l, size_t b_j, const float *c,
                      size_t ldc) {
    errors e = {0};
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = 0, size = 0;
            for (size_t k = 0; k < l; k++) {
                double p =
                    (double)a[i * lda + k] * (double)b[k * b_l + j * b_j];
                sum += p;
                size += fabs(p);
            }
            double off = fabs((double)c[i * ldc + j] - sum);
            e.squares += off * off;
            e.largest = fmax(e.largest, off / size);
        }
    return e;
}

/* Every number of columns, rows around the sizes of a tile, odd sums, both
 * layouts.  Panels are packed from parts that round_rows makes. */
static void panels_are_as_exact_as_f32(void **state) {
    enum { DEPTH = HEARTH_PANEL_DEPTH, LDC = 40 };
    static const size_t rows[] = {1, 15, 16, 17, 32, 33, 50};
    static uint32_t panel[3 * DEPTH * HEARTH_PANEL_MAX / 2];
    static uint16_t ra[64 * 3 * DEPTH], rb[DEPTH * 3 * DEPTH];
    (void)state;
    if (!there) skip();
    for (size_t n = 1; n <= parts.pair_panel; n++)
        for (int turned = 0; turned < 2; turned++) {
            size_t l = n % 4 ? 1 + 37 * n % 255 : DEPTH, m = rows[n % 7];
            size_t b_rows = turned ? n : l, b_cols = turned ? l : n;
            fill(x, m * l, n);
            fill(dense, b_rows * b_cols, n + 100);
            parts.round_rows(m, l, x, l, ra, 3 * DEPTH);
            parts.round_rows(b_rows, b_cols, dense, b_cols, rb, 3 * DEPTH);
            for (size_t p = 0; p < 3; p++)
                (turned ? parts.pack_pairs_turned : parts.pack_pairs_straight)(
                    n, l, rb + p * DEPTH, 3 * DEPTH,
                    panel + p * ((l + 31) / 32 * 16 * parts.pair_panel));
            for (size_t i = 0; i < 64 * LDC; i++) y[i] = 1;
            parts.gemm_pairs(m, n, l, ra, 3 * DEPTH, panel, 3, 0, y, LDC);
            errors got = compare(m, n, l, x, l, dense, turned ? 1 : n,
                                 turned ? l : 1, y, LDC);
            for (size_t i = 0; i < 64; i++) /* nothing beside the block */
                for (size_t j = i < m ? n : 0; j < LDC; j++)
                    assert_float_equal(y[i * LDC + j], 1, 0);
            /* Observed 3.4e-7; without the product of both second parts, 1e-5. */
            if (!(got.largest < 0x1p-20))
                fail_msg("%zu columns, sums of %zu: off by %.3g", n, l,
                         got.largest);
            memcpy(dx, y, sizeof(float) * m * LDC);
            parts.gemm_pairs(m, n, l, ra, 3 * DEPTH, panel, 3, 1, y, LDC);
            for (size_t i = 0; i < m; i++)
                for (size_t j = 0; j < n; j++)
                    assert_float_equal(y[i * LDC + j], 2 * dx[i * LDC + j],
                                       1e-3f + fabsf(1e-5f * dx[i * LDC + j]));
        }
}

/* Errors of forward and backward products, no larger than those of plain f32:
 * observed 0.5 to 0.75 of them. */
static void check_weight(const char *what, const hearth_weight *w) {
    errors e[2][2];
    hearth_weight_copy(w, dense);
    fill(x, TOKENS * COLS, 2);
    fill(dy, TOKENS * ROWS, 3);
    for (int i = 0; i < 2; i++) {
        const hearth_compute compute = {
            .kernels = i ? &plain : &parts, .pool = NULL, .tile = tile};
        hearth_weight_forward(&compute, w, TOKENS, x, w->cols, y, w->rows, 0);
        hearth_weight_backward(&compute, w, TOKENS, dy, w->rows, dx, w->cols,
                               0);
        e[i][0] = compare(TOKENS, w->rows, w->cols, x, w->cols, dense, 1,
                          w->cols, y, w->rows);
        e[i][1] = compare(TOKENS, w->cols, w->rows, dy, w->rows, dense, w->cols,
                          1, dx, w->cols);
    }
    for (int i = 0; i < 2; i++)
        if (!(e[0][i].squares <= e[1][i].squares && e[0][i].largest < 0x1p-20))
            fail_msg("%s: error %.3g (%.3g of the sizes), of f32 %.3g", what,
                     sqrt(e[0][i].squares), e[0][i].largest,
                     sqrt(e[1][i].squares));
}

static void weights_are_as_exact_as_f32(void **state) {
    static const hearth_quant_type quant[] = {
        HEARTH_QUANT_Q8_0, HEARTH_QUANT_Q4_0, HEARTH_QUANT_Q5_0,
        HEARTH_QUANT_Q5_1, HEARTH_QUANT_Q6_K};
    (void)state;
    if (!there) skip();
    fill((float *)(void *)stored, MANY, 5);
    for (int transposed = 0; transposed < 2; transposed++) {
        hearth_weight w = {.type = HEARTH_WEIGHT_F32,
                           .rows = ROWS,
                           .cols = COLS,
                           .data = stored,
                           .transposed = transposed};
        check_weight(transposed ? "transposed" : "f32", &w);
    }
    fill(dense, MANY, 6);
    (void)hearth_quant_encode(HEARTH_QUANT_BF16, dense, MANY, stored);
    check_weight("bf16", &(hearth_weight){.type = HEARTH_WEIGHT_BF16,
                                          .rows = ROWS,
                                          .cols = COLS,
                                          .data = stored});
    fill(dense, MANY, 7);
    (void)hearth_quant_encode(HEARTH_QUANT_F16, dense, MANY, stored);
    check_weight("f16", &(hearth_weight){.type = HEARTH_WEIGHT_F16,
                                         .rows = ROWS,
                                         .cols = COLS,
                                         .data = stored});
    hearth_philox_key key = hearth_philox_key_make(9, HEARTH_PHILOX_DATA);
    for (size_t i = 0; i < sizeof(stored); i++) /* all halves finite */
        stored[i] = (unsigned char)hearth_philox_below(key, 0, i, 0x38);
    for (size_t q = 0; q < sizeof(quant) / sizeof(*quant); q++) {
        hearth_weight w = {.type = HEARTH_WEIGHT_QUANT,
                           .quant = quant[q],
                           .rows = ROWS,
                           .cols = quant[q] == HEARTH_QUANT_Q6_K ? 512 : COLS,
                           .data = stored};
        check_weight(hearth_quant_name(quant[q]), &w);
        w.permuted = 10;
        check_weight("permuted", &w);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_parts_leave_next_to_nothing),
        cmocka_unit_test(panels_are_as_exact_as_f32),
        cmocka_unit_test(weights_are_as_exact_as_f32),
    };
    return cmocka_run_group_tests_name("train/kernels, parts", tests, find_set,
                                       NULL);
}

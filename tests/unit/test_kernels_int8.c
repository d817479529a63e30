/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_kernels_int8.c - products of 8-bit runs: every set gives the
 * bytes of the definition, and so do products of weights. */
#include <math.h>

#include "tests/support/cmocka_all.h"
#include "tests/support/int8_naive.h"

#include "client/train/kernels.h"
#include "client/train/kernels_loops.h"
#include "client/train/weight.h"
#include "client/train/weight_private.h"

#define RUN  HEARTH_INT8_RUN
#define RUNS HEARTH_INT8_RUNS
#define MOST 20 /* rows */

static float x[MOST * RUNS * RUN], c[MOST * 40], d[MOST * 40];
static hearth_int8_run a[MOST * RUNS];
static unsigned char w[HEARTH_PANEL_MAX * RUNS * STORED_RUN + 1];
static float panel[RUNS * HEARTH_PANEL_MAX * HEARTH_INT8_BYTES / 4 + 16];

static void fill(float *v, size_t n, uint64_t seed, double scale) {
    hearth_philox_key k = hearth_philox_key_make(seed, HEARTH_PHILOX_DATA);
    for (size_t i = 0; i < n; i++)
        v[i] = (float)(scale * hearth_philox_normal(k, 0, i));
}

/* The sets of this build and machine. */
static const char *const names[] = {"plain", "avx2", "avx512vnni", "i8mm"};
static hearth_kernels set[4];
static size_t n_sets;

static int find_sets(void **state) {
    (void)state;
    for (size_t i = 0; i < 4 && hearth_kernels_native(); i++) {
        set[n_sets] = *hearth_kernels_native();
        set[n_sets].name = names[i];
        if (hearth_kernels__fill_int8(&set[n_sets], names[i])) n_sets++;
    }
    return 0;
}

static void round_one(const hearth_kernels *k, const float *v,
                      hearth_int8_run *out) {
    k->round_int8(1, 1, v, RUN, out, 1);
}

/* The largest is 127, the others the nearest; a tie goes to the even one. */
static void rounding_is_to_nearest_even(void **state) {
    (void)state;
    for (size_t s = 0; s < n_sets; s++) {
        hearth_int8_run out;
        float v[RUN] = {0};
        v[0] = -254; /* the scale is 2 and the inverse exact */
        for (size_t i = 1; i < RUN; i++) v[i] = (float)i - 16;
        round_one(&set[s], v, &out);
        assert_true(out.scale >= 2 && out.scale <= 2);
        assert_int_equal(out.q[0], -127);
        for (size_t i = 1; i < RUN; i++)
            assert_int_equal(out.q[i], lrint(((double)i - 16) / 2));
        for (uint64_t trial = 0; trial < 200; trial++) {
            double most = 0;
            fill(v, RUN, trial, exp2((double)(trial % 60) * 3 - 90));
            round_one(&set[s], v, &out);
            for (size_t i = 0; i < RUN; i++)
                most = fmax(most, fabs((double)v[i]));
            assert_true(fabs((double)out.scale * 127 - most) <= 2e-7 * most);
            for (size_t i = 0; i < RUN; i++) {
                double off = (double)v[i] - (double)out.scale * out.q[i];
                assert_in_range(out.q[i] + 127, 0, 254);
                assert_true(fabs(off) <= (0.5 + 1e-4) * (double)out.scale);
            }
        }
    }
}

static void rounding_keeps_what_is_no_number(void **state) {
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    (void)state;
    for (size_t s = 0; s < n_sets; s++) {
        hearth_int8_run out, zero = {0};
        float v[RUN], y = 1;
        for (size_t i = 0; i < RUN; i++) v[i] = i % 2 ? 0x1.8p-101f : -0.0f;
        round_one(&set[s], v, &out);
        assert_memory_equal(&out, &zero, sizeof(out));
        v[3] = 0x1p-100f;
        round_one(&set[s], v, &out);
        assert_int_equal(out.q[3], 127);
        for (size_t i = 0; i < 3; i++) {
            const unsigned char *column = w;
            v[i * 15] = bad[i];
            round_one(&set[s], v, &out);
            assert_true(isnan(out.scale));
            memset(w, 0, STORED_RUN); /* even from weights of 0 */
            set[s].pack_int8(1, 1, &column, panel);
            set[s].gemm_int8(1, 1, 1, &out, 1, panel, 0, &y, 1);
            assert_true(isnan(y));
            v[i * 15] = 0;
        }
    }
}

/* Columns in no order, unaligned, and what lies beside the result untouched. */
static void check_product(const hearth_kernels *k, size_t m, size_t n,
                          size_t runs, int add) {
    enum { LDC = 40 };
    const unsigned char *column[HEARTH_PANEL_MAX];
    for (size_t j = 0; j < n; j++)
        column[j] = w + 1 + (j * 7 + 3) % HEARTH_PANEL_MAX * RUNS * STORED_RUN;
    fill(c, m * LDC, 5, 1e3);
    memcpy(d, c, m * LDC * sizeof(*c));
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++)
            d[i * LDC + j] = naive_product(runs, a + i * RUNS, column[j],
                                           add ? d[i * LDC + j] : 0);
    size_t used = runs * k->int8_panel * HEARTH_INT8_BYTES / 4;
    for (size_t i = 0; i < 16; i++) panel[used + i] = 3;
    k->pack_int8(n, runs, column, panel);
    for (size_t i = 0; i < 16; i++)
        assert_true(panel[used + i] >= 3 && panel[used + i] <= 3);
    k->gemm_int8(m, n, runs, a, RUNS, panel, add, c, LDC);
    if (memcmp(c, d, m * LDC * sizeof(*c)) != 0)
        fail_msg("%s: %zu rows, %zu columns, %zu runs, add %d: other bytes",
                 k->name, m, n, runs, add);
}

static void sets_give_the_bytes_of_the_definition(void **state) {
    (void)state;
    naive_weight(w + 1, HEARTH_PANEL_MAX * RUNS, 3);
    for (size_t s = 0; s < n_sets; s++) {
        const hearth_kernels *k = &set[s];
        assert_in_range(k->int8_panel, 1, HEARTH_PANEL_MAX);
        for (size_t n = 1; n <= k->int8_panel; n++)
            for (size_t m = 1; m <= MOST; m += 1 + n % 4) {
                fill(x, sizeof(x) / sizeof(*x), m * 100 + n, 2);
                k->round_int8(m, RUNS, x, RUNS * RUN, a, RUNS);
                check_product(k, m, n, 1 + (m + n) % RUNS, (int)(m + n) % 2);
            }
        fill(x, sizeof(x) / sizeof(*x), 7, 2);
        k->round_int8(MOST, RUNS, x, RUNS * RUN, a, RUNS);
        check_product(k, MOST, k->int8_panel, RUNS, 1);
        memset(w, 0x80, sizeof(w)); /* the largest sums: -128 everywhere */
        for (size_t i = 0; i < MOST * RUNS; i++) memset(a[i].q, 0x81, RUN);
        check_product(k, MOST, k->int8_panel, RUNS, 0);
        naive_weight(w + 1, HEARTH_PANEL_MAX * RUNS, 3);
    }
}

/* Sums may be cut between runs, and rows and columns anywhere. */
static void cuts_change_no_byte(void **state) {
    const unsigned char *column[HEARTH_PANEL_MAX], *later[HEARTH_PANEL_MAX];
    (void)state;
    naive_weight(w, HEARTH_PANEL_MAX * RUNS, 4);
    fill(x, sizeof(x) / sizeof(*x), 1, 1);
    for (size_t s = 0; s < n_sets; s++) {
        const hearth_kernels *k = &set[s];
        size_t n = k->int8_panel;
        k->round_int8(MOST, RUNS, x, RUNS * RUN, a, RUNS);
        for (size_t j = 0; j < n; j++) {
            column[j] = w + j * RUNS * STORED_RUN;
            later[j] = column[j] + 3 * STORED_RUN;
        }
        memset(c, 0, sizeof(c));
        memset(d, 0, sizeof(d));
        k->pack_int8(n, RUNS, column, panel);
        k->gemm_int8(MOST, n, RUNS, a, RUNS, panel, 0, c, 40);
        k->pack_int8(n, 3, column, panel);
        k->gemm_int8(7, n, 3, a, RUNS, panel, 0, d, 40);
        k->gemm_int8(MOST - 7, n, 3, a + 7 * RUNS, RUNS, panel, 0, d + 7 * 40,
                     40);
        k->pack_int8(n, RUNS - 3, later, panel);
        k->gemm_int8(MOST, n, RUNS - 3, a + 3, RUNS, panel, 1, d, 40);
        assert_memory_equal(c, d, sizeof(c));
    }
}

static void the_set_is_found_and_described(void **state) {
    const hearth_kernels *k = hearth_kernels_int8();
    hearth_kernels other = {0};
    (void)state;
    assert_ptr_equal(hearth_kernels_find("int8"), k);
    assert_ptr_not_equal(hearth_kernels_default(), k);
    assert_false(hearth_kernels__fill_int8(&other, "amx"));
    assert_int_equal(other.int8_panel, 0);
    assert_int_equal(hearth_kernels_reference()->int8_panel, 0);
    if (!k) return;
    assert_string_equal(k->name, "int8");
    assert_non_null(strstr(hearth_kernels_describe(k), "8 bits"));
    assert_int_equal(hearth_kernels_bf16()->int8_panel, 0);
    assert_int_equal(hearth_kernels_native()->int8_panel, 0);
    assert_ptr_equal(k->gemm_pairs, hearth_kernels_bf16()->gemm_pairs);
    assert_ptr_equal(k->gemm_int8, set[n_sets - 1].gemm_int8); /* the fastest */
}

/* ---- Products of weights ---- */

#define ROWS_W   290 /* several tiles, the last not full */
#define RUNS_W   19  /* two parts of a sum, and some */
#define COLS_W   (RUNS_W * RUN)
#define TOKENS_W 70

static unsigned char stored[ROWS_W * RUNS_W * STORED_RUN];
static float in[TOKENS_W * COLS_W], out[TOKENS_W * (ROWS_W + 1)];
static float want[TOKENS_W * (ROWS_W + 1)], back[TOKENS_W * COLS_W];
static float back_want[TOKENS_W * COLS_W];
static float tile[3 * HEARTH_WEIGHT_TILE_BYTES / sizeof(float)];
static _Alignas(8) uint16_t halves[TOKENS_W * 2 * COLS_W + 1];

/* Scales about 2^-8, so that nothing overflows. */
static hearth_weight make_view(uint32_t permuted) {
    naive_weight(stored, (size_t)ROWS_W * RUNS_W, 5);
    for (size_t i = 1; i < sizeof(stored); i += STORED_RUN)
        stored[i] = (unsigned char)((stored[i] & 0x83) | 0x1c);
    fill(in, TOKENS_W * COLS_W, 6, 1);
    return (hearth_weight){.type = HEARTH_WEIGHT_QUANT,
                           .quant = HEARTH_QUANT_Q8_0,
                           .rows = ROWS_W,
                           .cols = COLS_W,
                           .data = stored,
                           .permuted = permuted};
}

/* By the definition, on top of what is in `want`; one column more is kept. */
static void make_want(const hearth_weight *v, size_t tokens) {
    static hearth_int8_run row[RUNS_W];
    for (size_t t = 0; t < tokens; t++) {
        set[0].round_int8(1, RUNS_W, in + t * COLS_W, COLS_W, row, RUNS_W);
        for (size_t r = 0; r < ROWS_W; r++) {
            size_t i = r % 10, at = r;
            if (v->permuted) at = r - i + i % 5 * 2 + i / 5;
            float *y = want + t * (ROWS_W + 1) + r;
            *y = naive_product(RUNS_W, row, stored + at * RUNS_W * STORED_RUN,
                               *y);
        }
    }
}

static hearth_compute make_compute(hearth_pool *pool, size_t room) {
    return (hearth_compute){.kernels = hearth_kernels_int8(),
                            .pool = pool,
                            .tile = tile,
                            .halves = room ? halves : NULL,
                            .n_halves = room};
}

/* Whoever rounds the input, however the work is cut, whatever the order of the
 * file's rows. */
static void forward_products_are_the_definition(void **state) {
    const size_t room = sizeof(halves) / 2 - 1;
    const size_t rooms[] = {0, room, 100, room};
    (void)state;
    if (!hearth_kernels_int8()) skip();
    for (uint32_t permuted = 0; permuted <= 10; permuted += 10)
        for (size_t threads = 1; threads <= 3; threads += 2)
            for (size_t tokens = 4; tokens <= TOKENS_W; tokens += 33) {
                hearth_weight v = make_view(permuted);
                hearth_pool *pool;
                assert_int_equal(hearth_pool_open(&pool, threads, NULL, NULL),
                                 HEARTH_OK);
                for (size_t i = 0; i < 4; i++) {
                    int add = i % 2 != 0;
                    hearth_compute k = make_compute(pool, rooms[i]);
                    if (i == 3) k.halves++; /* may lie anywhere */
                    fill(out, sizeof(out) / sizeof(*out), 8, 1);
                    memcpy(want, out, sizeof(out));
                    for (size_t t = 0; !add && t < tokens; t++)
                        memset(want + t * (ROWS_W + 1), 0, ROWS_W * 4);
                    make_want(&v, tokens);
                    memset(halves, 0x55, sizeof(halves));
                    hearth_weight_forward(&k, &v, tokens, in, COLS_W, out,
                                          ROWS_W + 1, add);
                    assert_memory_equal(out, want, sizeof(out));
                    /* taken where it is large enough and aligned, else left */
                    assert_true((halves[1] != 0x5555) == (i == 1));
                    assert_true(halves[tokens * COLS_W] == 0x5555);
                }
                hearth_pool_close(pool);
            }
}

/* More rows than a tile can hold: in parts, and within the worker's own. */
static void many_tokens_change_no_byte(void **state) {
    enum { MANY = 1810, PART = 181, N = 256 };
    static float rows[MANY * RUNS * RUN], once[MANY * N], parts[PART * N];
    const size_t end = HEARTH_WEIGHT_TILE_BYTES / sizeof(float);
    (void)state;
    if (!hearth_kernels_int8()) skip();
    hearth_weight v = make_view(0);
    v.rows = N;
    v.cols = RUNS * RUN;
    fill(rows, sizeof(rows) / sizeof(*rows), 9, 1);
    hearth_compute k = make_compute(NULL, 0);
    for (size_t i = 0; i < 64; i++) tile[end + i] = 3;
    hearth_weight_forward(&k, &v, MANY, rows, v.cols, once, N, 0);
    for (size_t i = 0; i < 64; i++)
        assert_true(tile[end + i] >= 3 && tile[end + i] <= 3);
    for (size_t t = 0; t < MANY; t += PART) {
        hearth_weight_forward(&k, &v, PART, rows + t * v.cols, v.cols, parts, N,
                              0);
        assert_memory_equal(once + t * N, parts, sizeof(parts));
    }
}

/* Everything that is no forward product of a plain view in Q8_0. */
static void the_rest_is_as_in_bf16(void **state) {
    (void)state;
    if (!hearth_kernels_int8()) skip();
    for (int kind = 0; kind < 3; kind++) {
        hearth_weight v = make_view(0);
        hearth_compute eight = make_compute(NULL, 0), half = eight;
        half.kernels = hearth_kernels_bf16();
        if (kind == 1) v.shift = 1;
        if (kind == 2) v.quant = HEARTH_QUANT_Q4_0;
        for (size_t i = 0; kind == 2 && i < sizeof(stored); i++)
            stored[i] &= 0x37; /* whatever is a scale there: finite */
        size_t tokens = 30;
        hearth_weight_backward(&eight, &v, tokens, in, COLS_W, back, COLS_W, 0);
        hearth_weight_backward(&half, &v, tokens, in, COLS_W, back_want, COLS_W,
                               0);
        assert_memory_equal(back, back_want, tokens * COLS_W * sizeof(*back));
        hearth_weight_forward(&eight, &v, tokens, in, COLS_W, out, ROWS_W, 0);
        hearth_weight_forward(&half, &v, tokens, in, COLS_W, want, ROWS_W, 0);
        double diff = 0, norm = 0;
        for (size_t i = 0; i < tokens * ROWS_W; i++) {
            double e = (double)out[i] - (double)want[i];
            diff += e * e;
            norm += (double)want[i] * (double)want[i];
        }
        /* Observed: 4e-5 (x in 8 bits) where they differ. */
        if (kind) assert_true(diff <= 0);
        if (!kind) assert_true(diff > 1e-6 * norm && diff < 1e-4 * norm);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounding_is_to_nearest_even),
        cmocka_unit_test(rounding_keeps_what_is_no_number),
        cmocka_unit_test(sets_give_the_bytes_of_the_definition),
        cmocka_unit_test(cuts_change_no_byte),
        cmocka_unit_test(the_set_is_found_and_described),
        cmocka_unit_test(forward_products_are_the_definition),
        cmocka_unit_test(many_tokens_change_no_byte),
        cmocka_unit_test(the_rest_is_as_in_bf16),
    };
    return cmocka_run_group_tests_name("client/train/kernels int8", tests,
                                       find_sets, NULL);
}

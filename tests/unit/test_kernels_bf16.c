/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_kernels_bf16.c - products with factors in bfloat16: rounding,
 * panels, weights of every kind, threads, and what they do to gradients. */
#include <math.h>

#include "tests/support/model_fixture.h"

#include "client/train/kernels.h"
#include "client/train/kernels_loops.h"
#include "client/train/weight.h"
#include "client/train/weight_private.h"
#include "common/philox.h"

#define MANY 40000

static float a[MANY], b[MANY], c[MANY], d[MANY];
static uint16_t ra[MANY], rb[MANY];

static void fill(float *v, size_t n, uint64_t seed) {
    hearth_philox_key k = hearth_philox_key_make(seed, HEARTH_PHILOX_DATA);
    for (size_t i = 0; i < n; i++) v[i] = (float)hearth_philox_normal(k, 0, i);
}

static double nmse(const float *got, const float *want, size_t n) {
    double diff = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        double e = (double)got[i] - (double)want[i];
        diff += e * e;
        norm += (double)want[i] * (double)want[i];
    }
    return norm > 0 ? diff / norm : diff;
}

/* Sums run in another order than the reference's. */
static void check(const char *what, size_t n, const float *got,
                  const float *want) {
    double e = nmse(got, want, n);
    if (!(e <= 1e-12)) fail_msg("%s: NMSE %.3g", what, e);
}

/* The sets of this build and machine. */
static hearth_kernels set[5];
static size_t n_sets;

static int find_sets(void **state) {
    static const char *const name[] = {"plain", "avx2", "avx512bf16", "amx",
                                       "bfmmla"};
    (void)state;
    for (size_t i = 0; i < 5 && hearth_kernels_native(); i++) {
        set[n_sets] = *hearth_kernels_native();
        set[n_sets].name = name[i];
        if (hearth_kernels__fill_pairs(&set[n_sets], name[i])) n_sets++;
    }
    return 0;
}

/* The nearest bfloat16 by its definition: of the two around x, the nearer, the
 * even one in a tie. */
static uint16_t nearest(float x) {
    uint32_t u;
    memcpy(&u, &x, 4);
    uint32_t low = u & 0xffff0000u, high = low + 0x10000u;
    if (fabsf(x) < 0x1p-126f) return (uint16_t)(u >> 16 & 0x8000u);
    if (!isfinite(x)) return (uint16_t)(isnan(x) ? u >> 16 | 0x40 : u >> 16);
    uint32_t rest = u & 0xffffu;
    bool up = rest > 0x8000u || (rest == 0x8000u && (u >> 16 & 1));
    return (uint16_t)((up ? high : low) >> 16);
}

static float widened(uint16_t h) {
    uint32_t u = (uint32_t)h << 16;
    float x;
    memcpy(&x, &u, 4);
    return x;
}

static void rounding_is_to_nearest_even(void **state) {
    enum { N = 1003, LDO = 1004 };
    static const uint32_t special[] = {
        0,           0x80000000u, 0x7f800000u, 0xff800000u, 0x7f800001u,
        0x7fc12345u, 0x7f7fffffu, 0xff7fffffu, 0x3f808000u, 0x3f818000u,
        0x3f808001u, 0x00000001u, 0x807fffffu, 0x00800000u, 0x00ffffffu};
    (void)state;
    fill(a, N, 1);
    for (size_t i = 0; i < N; i++) a[i] = ldexpf(a[i], (int)(i % 200) - 100);
    memcpy(a + 20, special, sizeof(special));
    memcpy(a + N - 15, special, sizeof(special)); /* the end of a row */
    for (size_t s = 0; s < n_sets; s++) {
        memset(ra, 0xff, sizeof(ra));
        set[s].round_rows(1, N, a, N, ra, LDO);
        for (size_t i = 0; i < N; i++)
            if (ra[i] != nearest(a[i]))
                fail_msg("%s: %a gave %04x", set[s].name, (double)a[i],
                         (unsigned)ra[i]);
        assert_int_equal(ra[N], 0);
        assert_int_equal(ra[LDO], 0xffff);
    }
}

/* Every number of columns, odd and even sums, both layouts, an odd address. */
static void panels_of_a_set_agree(const hearth_kernels *k) {
    enum { M = 19, LDW = 63, LDC = 40, LDA = 64 };
    static uint32_t panel[HEARTH_PANEL_DEPTH * HEARTH_PANEL_MAX / 2];
    static unsigned char odd[2 * LDW * LDW + 1];
    const hearth_kernels *r = hearth_kernels_reference();
    assert_in_range(k->pair_panel, 1, HEARTH_PANEL_MAX);
    for (size_t n = 1; n <= k->pair_panel; n++) {
        size_t l = 1 + 7 * n % 61;
        fill(a, M * LDA, n);
        fill(b, LDW * LDW, l);
        k->round_rows(M, l, a, LDA, ra, LDA);
        k->round_rows(1, LDW * LDW, b, 0, rb, (LDW * LDW + 3) / 4 * 4);
        memcpy(odd + 1, rb, 2 * LDW * LDW);
        for (size_t i = 0; i < M; i++)
            for (size_t j = 0; j < LDA; j++)
                a[i * LDA + j] = j < l ? widened(ra[i * LDA + j]) : 0;
        for (size_t i = 0; i < LDW * LDW; i++) b[i] = widened(rb[i]);
        for (int turned = 0; turned < 2; turned++) {
            fill(c, M * LDC, 3);
            memcpy(d, c, sizeof(float) * M * LDC);
            (turned ? k->pack_pairs_turned
                    : k->pack_pairs_straight)(n, l, odd + 1, LDW, panel);
            k->gemm_pairs(M, n, l, ra, LDA, panel, 1, turned, c, LDC);
            (turned ? r->gemm_nt : r->gemm_nn)(M, n, l, 1, a, LDA, b, LDW,
                                               turned, d, LDC);
            check(k->name, (size_t)M * LDC, c, d);
        }
    }
}

static void panels_agree(void **state) {
    (void)state;
    for (size_t s = 0; s < n_sets; s++) panels_of_a_set_agree(&set[s]);
    assert_int_equal(hearth_kernels_reference()->pair_panel, 0);
    if (hearth_kernels_bf16())
        assert_int_equal(hearth_kernels_bf16()->pair_parts, 1);
}

#define ROWS   390
#define COLS   512
#define TOKENS 70

static float dense[ROWS * COLS];
static unsigned char stored[ROWS * COLS * 4 + 1];
static float x[TOKENS * COLS], dy[TOKENS * ROWS];
static float y[TOKENS * ROWS], y_want[TOKENS * ROWS], again[TOKENS * ROWS];
static float dx[TOKENS * COLS], dx_want[TOKENS * COLS];
static float tile[7 * HEARTH_WEIGHT_TILE_BYTES / sizeof(float)];

static void round_floats(size_t n, float *v) {
    for (size_t i = 0; i < n; i++) v[i] = widened(nearest(v[i]));
}

/* Each as the sum of two bfloat16 numbers. */
static void round_twice(size_t n, float *v) {
    for (size_t i = 0; i < n; i++) {
        float first = widened(nearest(v[i]));
        v[i] = first + widened(nearest(v[i] - first));
    }
}

/* What the products must be: those of rounded numbers, weights in so many
 * parts.  x and dy are rounded already, so that the second rounding is the
 * identity. */
static void make_wanted_in(const hearth_weight *w, size_t parts) {
    const hearth_kernels *r = hearth_kernels_reference();
    hearth_weight_copy(w, dense);
    (parts > 1 ? round_twice : round_floats)(w->rows * w->cols, dense);
    fill(x, TOKENS * COLS, 2);
    fill(dy, TOKENS * ROWS, 3);
    round_floats(TOKENS * COLS, x);
    round_floats(TOKENS * ROWS, dy);
    r->gemm_nt(TOKENS, w->rows, w->cols, 1, x, COLS, dense, w->cols, 0, y_want,
               ROWS);
    r->gemm_nn(TOKENS, w->cols, w->rows, 1, dy, ROWS, dense, w->cols, 0,
               dx_want, COLS);
}

static void make_wanted(const hearth_weight *w) {
    make_wanted_in(w, 1);
}

static void check_set(const char *name, const hearth_weight *w,
                      const hearth_compute *by) {
    hearth_weight_forward(by, w, TOKENS, x, COLS, y, ROWS, 0);
    check(name, TOKENS * ROWS, y, y_want);
    hearth_weight_backward(by, w, TOKENS, dy, ROWS, dx, COLS, 0);
    check(name, TOKENS * COLS, dx, dx_want);
    for (size_t i = 0; i < TOKENS * ROWS; i++) again[i] = 2 * y[i];
    hearth_weight_forward(by, w, TOKENS, x, COLS, y, ROWS, 1);
    check(name, TOKENS * ROWS, y, again);
}

static void check_view(const char *name, const hearth_weight *w) {
    for (size_t parts = 1; parts <= 2; parts++) {
        make_wanted_in(w, parts);
        for (size_t s = 0; s < n_sets; s++) {
            const hearth_compute by = {
                .kernels = &set[s], .tile = tile, .weight_parts = parts};
            check_set(name, w, &by);
        }
    }
}

/* Finite blocks of any type, and floats where one is asked for. */
static hearth_weight make_weight(hearth_weight_type type,
                                 hearth_quant_type quant, size_t offset) {
    hearth_weight w = {.type = type,
                       .rows = ROWS,
                       .cols = COLS,
                       .data = stored + offset,
                       .quant = quant};
    hearth_philox_key key =
        hearth_philox_key_make((uint64_t)quant, HEARTH_PHILOX_DATA);
    if (type == HEARTH_WEIGHT_QUANT) {
        for (size_t i = 0; i < sizeof(stored); i++)
            stored[i] = (unsigned char)hearth_philox_below(key, 0, i, 0x38);
        return w;
    }
    fill(dense, ROWS * COLS, 5);
    if (type == HEARTH_WEIGHT_BF16)
        (void)hearth_quant_encode(HEARTH_QUANT_BF16, dense, ROWS * COLS,
                                  stored + offset);
    else
        memcpy(stored + offset, dense, sizeof(dense));
    return w;
}

static void weights_of_every_kind_agree(void **state) {
    static const hearth_quant_type quant[] = {
        HEARTH_QUANT_Q8_0, HEARTH_QUANT_Q4_0, HEARTH_QUANT_Q4_K,
        HEARTH_QUANT_Q6_K};
    (void)state;
    if (!hearth_kernels_bf16()) skip();
    for (int transposed = 0; transposed < 2; transposed++)
        for (size_t offset = 0; offset < 2; offset++) {
            hearth_weight w =
                make_weight(HEARTH_WEIGHT_BF16, HEARTH_QUANT_BF16, offset);
            w.transposed = transposed;
            check_view("bf16", &w);
            w.shift = -1.0f;
            check_view("bf16, shifted", &w);
            w = make_weight(HEARTH_WEIGHT_F32, HEARTH_QUANT_F32, offset);
            w.transposed = transposed;
            check_view("f32", &w);
        }
    for (size_t i = 0; i < sizeof(quant) / sizeof(*quant); i++) {
        hearth_weight w = make_weight(HEARTH_WEIGHT_QUANT, quant[i], 0);
        check_view(hearth_quant_name(quant[i]), &w);
        w.permuted = 10;
        check_view("permuted", &w);
    }
}

/* Blocks of rows, as the cross-entropy walks the head; that the input
 * is rounded before changes no byte. */
static void blocks_of_rows_add_up(void **state) {
    static uint16_t halves[TOKENS * 2 * COLS];
    const hearth_compute compute = {.kernels = hearth_kernels_bf16(),
                                    .pool = NULL,
                                    .tile = tile,
                                    .halves = halves,
                                    .n_halves = sizeof(halves) / 2};
    static const size_t cut[] = {0, 100, 101, 357, ROWS};
    (void)state;
    if (!hearth_kernels_bf16()) skip();
    for (int kind = 0; kind < 3; kind++) {
        hearth_weight w =
            kind ? make_weight(HEARTH_WEIGHT_BF16, HEARTH_QUANT_BF16, 1)
                 : make_weight(HEARTH_WEIGHT_QUANT, HEARTH_QUANT_Q8_0, 0);
        w.transposed = kind == 2;
        make_wanted(&w);
        const uint16_t *rounded =
            hearth_compute_round(&compute, TOKENS, COLS, x, COLS);
        assert_ptr_equal(rounded, halves);
        for (size_t i = 0; i + 1 < sizeof(cut) / sizeof(*cut); i++) {
            size_t n = cut[i + 1] - cut[i];
            hearth_weight_rows_forward(&compute, 2, &w, cut[i], n, TOKENS, x,
                                       COLS, rounded, y + cut[i], ROWS);
            hearth_weight_rows_forward(&compute, 2, &w, cut[i], n, TOKENS, x,
                                       COLS, NULL, again + cut[i], ROWS);
            hearth_weight_rows_backward(&compute, 1, &w, cut[i], n, TOKENS,
                                        dy + cut[i], ROWS, dx, COLS, i > 0);
        }
        check("rows forward", TOKENS * ROWS, y, y_want);
        assert_memory_equal(y, again, sizeof(y));
        check("rows backward", TOKENS * COLS, dx, dx_want);
    }
}

static void threads_change_no_byte(void **state) {
    static const size_t threads[] = {1, 2, 3, 7};
    (void)state;
    if (!hearth_kernels_bf16()) skip();
    hearth_weight w = make_weight(HEARTH_WEIGHT_QUANT, HEARTH_QUANT_Q8_0, 0);
    make_wanted(&w);
    for (size_t i = 0; i < 4; i++) {
        hearth_pool *pool;
        assert_ok(hearth_pool_open(&pool, threads[i], NULL, NULL));
        const hearth_compute compute = {
            .kernels = hearth_kernels_bf16(), .pool = pool, .tile = tile};
        float *out = i ? y : y_want, *back = i ? dx : dx_want;
        hearth_weight_forward(&compute, &w, TOKENS, x, COLS, out, ROWS, 0);
        hearth_weight_backward(&compute, &w, TOKENS, dy, ROWS, back, COLS, 0);
        hearth_pool_close(pool);
    }
    assert_memory_equal(y, y_want, sizeof(y));
    assert_memory_equal(dx, dx_want, sizeof(dx));
}

/* Nor does it matter who rounds the input: each tile, or all before. */
static void rounding_once_changes_no_byte(void **state) {
    static uint16_t halves[TOKENS * (ROWS + COLS)];
    hearth_pool *pool;
    (void)state;
    if (!hearth_kernels_bf16()) skip();
    hearth_weight w = make_weight(HEARTH_WEIGHT_BF16, HEARTH_QUANT_BF16, 0);
    const size_t forward = hearth_compute_halves(TOKENS, COLS, 1);
    const size_t backward = hearth_compute_halves(TOKENS, ROWS, 1);
    assert_true(forward > backward && forward < TOKENS * (ROWS + COLS));
    fill(x, TOKENS * COLS, 7);
    fill(dy, TOKENS * ROWS, 8);
    assert_ok(hearth_pool_open(&pool, 3, NULL, NULL));
    /* no room, room for all, and a number too few */
    const size_t room[] = {0, forward, forward - 1};
    for (size_t i = 0; i < 3; i++) {
        const hearth_compute compute = {.kernels = hearth_kernels_bf16(),
                                        .pool = pool,
                                        .tile = tile,
                                        .halves = i ? halves : NULL,
                                        .n_halves = room[i]};
        memset(halves, 0xff, sizeof(halves)); /* no number */
        float *out = i ? y : y_want, *back = i ? dx : dx_want;
        hearth_weight_forward(&compute, &w, TOKENS, x, COLS, out, ROWS, 0);
        assert_int_equal(halves[0] != 0xffff, i == 1);
        hearth_weight_backward(&compute, &w, TOKENS, dy, ROWS, back, COLS, 0);
        assert_int_equal(halves[room[i]], 0xffff);
        if (!i) continue;
        assert_memory_equal(y, y_want, sizeof(y));
        assert_memory_equal(dx, dx_want, sizeof(dx));
    }
    hearth_pool_close(pool);
}

/* Nor that inputs of many tokens go through kept panels in several runs. */
static void many_tokens_change_no_byte(void **state) {
    enum { LONG = 1700 };
    const hearth_kernels *of[] = {hearth_kernels_bf16(),
                                  hearth_kernels_native()};
    (void)state;
    if (!of[0]) skip();
    hearth_weight w = make_weight(HEARTH_WEIGHT_QUANT, HEARTH_QUANT_Q8_0, 0);
    float *in = test_malloc(sizeof(float) * LONG * COLS);
    float *out[2] = {test_malloc(sizeof(float) * LONG * COLS),
                     test_malloc(sizeof(float) * LONG * COLS)};
    fill(in, LONG * COLS, 11);
    for (int i = 0; i < 2; i++) {
        size_t parts = of[i]->pair_parts ? of[i]->pair_parts : 1;
        size_t room = hearth_compute_halves(LONG, COLS, parts);
        uint16_t *halves = test_malloc(room * sizeof(*halves));
        for (int back = 0; back < 2; back++) {
            for (int once = 0; once < 2; once++) {
                const hearth_compute compute = {.kernels = of[i],
                                                .tile = tile,
                                                .halves = once ? halves : NULL,
                                                .n_halves = room};
                if (back)
                    hearth_weight_backward(&compute, &w, LONG, in, ROWS,
                                           out[once], COLS, 0);
                else
                    hearth_weight_forward(&compute, &w, LONG, in, COLS,
                                          out[once], ROWS, 0);
            }
            assert_memory_equal(out[0], out[1],
                                sizeof(float) * LONG * (back ? COLS : ROWS));
        }
        test_free(halves);
    }
    test_free(in);
    test_free(out[0]);
    test_free(out[1]);
}

/* Sets of this machine give the same bytes; so does any cut of the rows. */
static void sets_and_cuts_change_no_byte(void **state) {
    (void)state;
    hearth_weight w = make_weight(HEARTH_WEIGHT_BF16, HEARTH_QUANT_BF16, 0);
    make_wanted(&w);
    for (size_t s = 0; s < n_sets; s++) {
        const hearth_compute compute = {
            .kernels = &set[s], .pool = NULL, .tile = tile};
        if (strcmp(set[s].name, "bfmmla") == 0) continue; /* sums by fours */
        if (strcmp(set[s].name, "amx") == 0) continue; /* even and odd apart */
        hearth_weight_forward(&compute, &w, TOKENS, x, COLS, s ? y : y_want,
                              ROWS, 0);
        if (s) assert_memory_equal(y, y_want, sizeof(y));
        for (size_t m = 4; s && m < TOKENS; m += 9)
            hearth_weight_forward(&compute, &w, m, x, COLS, y, ROWS, 0);
        if (s) assert_memory_equal(y, y_want, sizeof(y));
    }
}

/* Every parameter's gradient points where the exact one does. */
static void gradients_keep_their_direction(void **state) {
    static const uint32_t lengths[] = {20, 1, 33, 12, 30};
    tiny_spec s = TINY_SPEC;
    s.sigma = 0.1; /* of 0.3 each layer multiplies any error */
    char dir[64];
    tiny_stream ts;
    hearth_lora_spec spec = {4, 2.0f, HEARTH_TARGETS_LINEAR, 0, false, false};
    hearth_loss l[2];
    (void)state;
    if (!hearth_kernels_bf16()) skip();
    hearth_model *model = tiny_model(&s, 1, dir);
    tiny_stream_make(&ts, lengths, 5, s.vocab, 2);
    for (int full = 0; full < 2; full++) {
        hearth_adapter *ad = full ? NULL : tiny_adapter(model, &spec, 9);
        hearth_decoder_shape shape = {.model = model,
                                      .adapter = ad,
                                      .mode = full ? HEARTH_DECODER_FULL
                                                   : HEARTH_DECODER_LORA};
        tiny_engine e[2];
        for (int i = 0; i < 2; i++) {
            tiny_engine_open(&e[i], shape, NULL,
                             i ? hearth_kernels_bf16()
                               : hearth_kernels_native());
            hearth_decoder_zero_grad(e[i].dec);
            assert_ok(
                hearth_decoder_grad(e[i].dec, &ts.stream, NULL, &l[i], NULL));
        }
        assert_true(fabs(l[0].loss_sum - l[1].loss_sum) <=
                    2e-3 * l[0].loss_sum);
        assert_true(fabs(l[0].loss_sum - l[1].loss_sum) > 0);
        const hearth_params *p = hearth_decoder_params(e[0].dec);
        const hearth_params *q = hearth_decoder_params(e[1].dec);
        for (size_t i = 0; i < p->n_params; i++) {
            double dot = 0, pp = 0, qq = 0;
            for (size_t j = 0; j < p->param[i].n; j++) {
                double u = (double)p->param[i].grad[j];
                double v = (double)q->param[i].grad[j];
                dot += u * v;
                pp += u * u;
                qq += v * v;
            }
            if (!(dot >= 0.999 * sqrt(pp * qq)))
                fail_msg("%s: cosine %.6f", p->param[i].name,
                         dot / sqrt(pp * qq));
        }
        tiny_engine_close(&e[0]);
        tiny_engine_close(&e[1]);
        hearth_adapter_free(ad);
    }
    tiny_drop(model, dir);
}

static void the_set_is_found_and_described(void **state) {
    const hearth_kernels *k = hearth_kernels_bf16();
    (void)state;
    assert_ptr_equal(hearth_kernels_find("bf16"), k);
    if (!k) return;
    assert_string_equal(k->name, "bf16");
    assert_non_null(strstr(hearth_kernels_describe(k), "bfloat16"));
    assert_true(hearth_kernels_bf16_is_fast() ==
                (strstr(hearth_kernels_describe(k), "amx") ||
                 strstr(hearth_kernels_describe(k), "avx512bf16") ||
                 strstr(hearth_kernels_describe(k), "bfmmla")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounding_is_to_nearest_even),
        cmocka_unit_test(panels_agree),
        cmocka_unit_test(weights_of_every_kind_agree),
        cmocka_unit_test(blocks_of_rows_add_up),
        cmocka_unit_test(threads_change_no_byte),
        cmocka_unit_test(rounding_once_changes_no_byte),
        cmocka_unit_test(many_tokens_change_no_byte),
        cmocka_unit_test(sets_and_cuts_change_no_byte),
        cmocka_unit_test(gradients_keep_their_direction),
        cmocka_unit_test(the_set_is_found_and_described),
    };
    return cmocka_run_group_tests_name("client/train/kernels bf16", tests,
                                       find_sets, NULL);
}

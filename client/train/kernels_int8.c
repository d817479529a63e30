/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/kernels_int8.c - products of runs of 32 numbers of 8 bits: what
 * rounds the left side, and the products for every machine and for AVX-512 VNNI.
 *
 * Why all sets give the same bytes: a run's sum of 32 products is an integer
 * below 2^20, so exact in any order and exact as a float; what follows,
 *
 *     y = y + (float)sum * (weight's scale * x's scale),
 *
 * is three roundings a run, in the order of the runs, and this file and
 * kernels_i8mm.c are built with -ffp-contract=off.  VPDPBUSD takes the left side
 * without a sign: it gets x + 128, and 128 times the sum of the weights is taken
 * off, which is exact as well.
 * Source: GGML's type Q8_0 (common/quant_blocks.h); Intel SDM, VPDPBUSD.
 */
#include "client/train/kernels.h"
#include "client/train/kernels_loops.h"

#ifndef HEARTH_FLOAT64

#include <string.h>

#include "common/half_float.h"
#include "common/bytes.h"

#define RUN    HEARTH_INT8_RUN
#define RUNS   HEARTH_INT8_RUNS
#define STORED ((size_t)34) /* bytes of a run of a weight: f16, 32 numbers */
#define SMALL  0x1p-100f    /* numbers of a run that are all smaller become 0 */
#if defined(__GNUC__)
#define BODY static inline __attribute__((always_inline))
#else
#define BODY static inline
#endif

float hearth_int8__scale(const unsigned char *stored) {
    return hearth_half_to_f32(hearth_load_le16(stored));
}

/* Sizes are compared as integers: of floats without a sign that is the same
 * order, and a NaN is the largest. */
static void round_run(const float *x, hearth_int8_run *out) {
    uint32_t most = 0, bits[RUN];
    float top, inverse;
    memcpy(bits, x, sizeof(bits));
    for (size_t i = 0; i < RUN; i++) {
        uint32_t size = bits[i] & 0x7fffffffu;
        most = size > most ? size : most;
    }
    memcpy(&top, &most, sizeof(top));
    if (!(top >= SMALL) || most >= 0x7f800000u) {
        bool finite = most < 0x7f800000u;
        uint32_t nan = 0x7fc00000u;
        memset(out, 0, sizeof(*out));
        if (!finite) memcpy(&out->scale, &nan, sizeof(nan));
        return;
    }
    inverse = 127 / top;
    out->scale = top / 127;
    for (size_t i = 0; i < RUN; i++) {
        /* 1.5 * 2^23: what is added to it is rounded to an integer, even in a
         * tie, and stands in its last bits. */
        float near = x[i] * inverse + 0x1.8p23f;
        memcpy(&bits[i], &near, sizeof(near));
    }
    for (size_t i = 0; i < RUN; i++)
        out->q[i] =
            (int8_t)((int32_t)(bits[i] & 0xff) - (int32_t)(bits[i] & 0x80) * 2);
}

static void round_rows(size_t m, size_t n_runs, const float *x, size_t ldx,
                       hearth_int8_run *out, size_t ldo) {
    for (size_t i = 0; i < m; i++)
        for (size_t r = 0; r < n_runs; r++)
            round_run(x + i * ldx + r * RUN, out + i * ldo + r);
}

/* ---- Every machine: a column of a run after the other ---- */

#define COLUMNS ((size_t)16)

typedef struct {
    float scale[COLUMNS];
    int8_t q[COLUMNS][RUN];
} plain_run;

_Static_assert(sizeof(plain_run) <= COLUMNS * HEARTH_INT8_BYTES, "fits");

static void pack_plain(size_t n, size_t n_runs, const unsigned char *const *w,
                       void *panel) {
    plain_run *out = panel;
    for (size_t r = 0; r < n_runs; r++) {
        memset(&out[r], 0, sizeof(out[r]));
        for (size_t j = 0; j < n; j++) {
            const unsigned char *at = w[j] + r * STORED;
            out[r].scale[j] = hearth_int8__scale(at);
            memcpy(out[r].q[j], at + 2, RUN);
        }
    }
}

BODY void multiply(size_t m, size_t n, size_t n_runs, const hearth_int8_run *a,
                   size_t lda, const void *panel, int add, float *c,
                   size_t ldc) {
    const plain_run *w = panel;
    for (size_t i = 0; i < m; i++)
        for (size_t r = 0; r < n_runs; r++) {
            const hearth_int8_run *x = a + i * lda + r;
            for (size_t j = 0; j < n; j++) {
                float *y = c + i * ldc + j, before = r || add ? *y : 0;
                int32_t sum = 0;
                for (size_t l = 0; l < RUN; l++)
                    sum += (int32_t)x->q[l] * (int32_t)w[r].q[j][l];
                *y = before + (float)sum * (w[r].scale[j] * x->scale);
            }
        }
}

static void gemm_plain(size_t m, size_t n, size_t n_runs,
                       const hearth_int8_run *a, size_t lda, const void *panel,
                       int add, float *c, size_t ldc) {
    multiply(m, n, n_runs, a, lda, panel, add, c, ldc);
}

static void fill_plain(hearth_kernels *k) {
    k->int8_panel = COLUMNS;
    k->round_int8 = round_rows;
    k->pack_int8 = pack_plain;
    k->gemm_int8 = gemm_plain;
}

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

__attribute__((target("avx2"))) static void
gemm_avx2(size_t m, size_t n, size_t n_runs, const hearth_int8_run *a,
          size_t lda, const void *panel, int add, float *c, size_t ldc) {
    multiply(m, n, n_runs, a, lda, panel, add, c, ldc);
}

/* ---- AVX-512 VNNI: 32 columns, four numbers of each side by side ---- */

#define WIDE ((size_t)32)
#define ROWS ((size_t)6)
#define VNNI                                                                   \
    __attribute__((target("avx512vnni,avx512f,avx512bw,avx512vl,avx2")))

typedef struct {
    float scale[WIDE];
    int32_t less[WIDE]; /* -128 times the sum of a column */
    int8_t q[RUN / 4][WIDE][4];
} wide_run;

_Static_assert(sizeof(wide_run) <= WIDE * HEARTH_INT8_BYTES, "fits");

/* ROWS rows of the left side: what a block of the product takes. */
typedef struct {
    float scale[RUNS][ROWS];
    uint8_t q[RUNS][ROWS][RUN]; /* with 128 added */
} wide_rows;

VNNI static void pack_vnni(size_t n, size_t n_runs,
                           const unsigned char *const *w, void *panel) {
    wide_run *out = panel;
    for (size_t r = 0; r < n_runs; r++) {
        memset(&out[r], 0, sizeof(out[r]));
        for (size_t j = 0; j < n; j++) {
            const unsigned char *at = w[j] + r * STORED;
            int8_t q[RUN];
            int32_t sum = 0;
            memcpy(q, at + 2, RUN);
            for (size_t l = 0; l < RUN; l++) sum += q[l];
            for (size_t l = 0; l < RUN; l += 4)
                memcpy(out[r].q[l / 4][j], q + l, 4);
            out[r].scale[j] = hearth_int8__scale(at);
            out[r].less[j] = -128 * sum;
        }
    }
}

VNNI static void take_rows(size_t m, size_t n_runs, const hearth_int8_run *a,
                           size_t lda, wide_rows *x) {
    for (size_t r = 0; r < n_runs; r++)
        for (size_t i = 0; i < m; i++) {
            const hearth_int8_run *from = a + i * lda + r;
            __m256i q = _mm256_loadu_si256((const void *)from->q);
            q = _mm256_xor_si256(q, _mm256_set1_epi8((char)0x80));
            _mm256_storeu_si256((void *)x->q[r][i], q);
            x->scale[r][i] = from->scale;
        }
}

VNNI static void block(size_t n_runs, const wide_rows *x, const wide_run *w,
                       __m512 y[ROWS][2]) {
    for (size_t r = 0; r < n_runs; r++, w++) {
        __m512i sum[ROWS][2];
        for (size_t i = 0; i < ROWS; i++)
            for (size_t v = 0; v < 2; v++)
                sum[i][v] = _mm512_loadu_si512(w->less + 16 * v);
        for (size_t g = 0; g < RUN / 4; g++) {
            __m512i w0 = _mm512_loadu_si512(w->q[g]);
            __m512i w1 = _mm512_loadu_si512(w->q[g] + 16);
            for (size_t i = 0; i < ROWS; i++) {
                int32_t four;
                memcpy(&four, x->q[r][i] + 4 * g, 4);
                __m512i q = _mm512_set1_epi32(four);
                sum[i][0] = _mm512_dpbusd_epi32(sum[i][0], q, w0);
                sum[i][1] = _mm512_dpbusd_epi32(sum[i][1], q, w1);
            }
        }
        for (size_t i = 0; i < ROWS; i++)
            for (size_t v = 0; v < 2; v++) {
                __m512 scale = _mm512_mul_ps(_mm512_loadu_ps(w->scale + 16 * v),
                                             _mm512_set1_ps(x->scale[r][i]));
                y[i][v] = _mm512_add_ps(
                    y[i][v],
                    _mm512_mul_ps(_mm512_cvtepi32_ps(sum[i][v]), scale));
            }
    }
}

VNNI static void gemm_vnni(size_t m, size_t n, size_t n_runs,
                           const hearth_int8_run *a, size_t lda,
                           const void *panel, int add, float *c, size_t ldc) {
    wide_rows x;
    __mmask16 in[2] = {(__mmask16)((1u << (n < 16 ? n : 16)) - 1),
                       (__mmask16)((1u << (n < 16 ? 0 : n - 16)) - 1)};
    memset(&x, 0, sizeof(x));
    for (size_t i = 0; i < m; i += ROWS) {
        size_t rows = m - i < ROWS ? m - i : ROWS;
        __m512 y[ROWS][2];
        take_rows(rows, n_runs, a + i * lda, lda, &x);
        for (size_t r = 0; r < ROWS; r++)
            for (size_t v = 0; v < 2; v++)
                y[r][v] = _mm512_maskz_loadu_ps(
                    add && r < rows ? in[v] : 0,
                    r < rows ? c + (i + r) * ldc + 16 * v : c);
        block(n_runs, &x, panel, y);
        for (size_t r = 0; r < rows; r++)
            for (size_t v = 0; v < 2; v++)
                _mm512_mask_storeu_ps(c + (i + r) * ldc + 16 * v, in[v],
                                      y[r][v]);
    }
}

static bool fill_x86(hearth_kernels *k, const char *set) {
    bool narrow = strcmp(set, "avx2") == 0 && __builtin_cpu_supports("avx2");
    bool wide = strcmp(set, "avx512vnni") == 0 &&
                __builtin_cpu_supports("avx512f") &&
                __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512vl") &&
                __builtin_cpu_supports("avx512vnni");
    if (!narrow && !wide) return false;
    fill_plain(k);
    k->gemm_int8 = narrow ? gemm_avx2 : gemm_vnni;
    if (!wide) return true;
    k->int8_panel = WIDE;
    k->pack_int8 = pack_vnni;
    return true;
}

#else

static bool fill_x86(hearth_kernels *k, const char *set) {
    (void)k, (void)set;
    return false;
}

#endif

bool hearth_kernels__fill_int8(hearth_kernels *k, const char *set) {
    hearth_kernels part = *k;
    fill_plain(&part);
    if (strcmp(set, "plain") != 0 && !fill_x86(&part, set) &&
        !(strcmp(set, "i8mm") == 0 && hearth_kernels__fill_i8mm(&part)))
        return false;
    *k = part;
    return true;
}

#endif

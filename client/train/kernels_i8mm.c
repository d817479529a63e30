/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/kernels_i8mm.c - products of runs of 32 numbers of 8 bits by the
 * matrix instruction of 64-bit Arm: SMMLA adds to a 2 x 2 block of int32 the
 * products of two rows and two columns of eight numbers each.
 *
 * Four of them make a run's sums for two rows and two columns, which are scaled
 * and added as kernels_int8.c says: to the byte what every other set gives.
 * Source: Arm Architecture Reference Manual, SMMLA (vector).
 */
#include "client/train/kernels.h"
#include "client/train/kernels_loops.h"

#if defined(__aarch64__) && defined(__GNUC__) && !defined(HEARTH_FLOAT64)

#include <arm_neon.h>
#include <string.h>
#if defined(__linux__)
#include <sys/auxv.h>
#endif

#define RUN         HEARTH_INT8_RUN
#define RUNS        HEARTH_INT8_RUNS
#define STORED      ((size_t)34) /* bytes of a run of a weight */
#define COLUMNS     ((size_t)16)
#define ROWS        ((size_t)8)
#define NEAR        ((size_t)2) /* pairs of columns whose sums are in registers */
#define STEPS       (RUN / 8)
#define MATRIX      __attribute__((target("arch=armv8.2-a+i8mm")))
#define HWCAP2_INT8 ((unsigned long)1 << 13) /* HWCAP2_I8MM of Linux */

#if defined(HWCAP2_I8MM)
_Static_assert(HWCAP2_I8MM == HWCAP2_INT8, "as the system's headers say");
#endif

/* Squares: of a pair of columns eight numbers each.  Scales as the sums lie:
 * both columns for the first row, both for the second. */
typedef struct {
    float scale[COLUMNS / 2][4];
    int8_t q[STEPS][COLUMNS / 2][16];
} panel_run;

_Static_assert(sizeof(panel_run) <= COLUMNS * HEARTH_INT8_BYTES, "fits");

/* The same of the left side's rows. */
typedef struct {
    float scale[ROWS / 2][4];
    int8_t q[STEPS][ROWS / 2][16];
} left_run;

static void pack(size_t n, size_t n_runs, const unsigned char *const *w,
                 void *panel) {
    panel_run *out = panel;
    for (size_t r = 0; r < n_runs; r++) {
        memset(&out[r], 0, sizeof(out[r]));
        for (size_t j = 0; j < n; j++) {
            const unsigned char *at = w[j] + r * STORED;
            float *scale = out[r].scale[j / 2] + j % 2;
            scale[0] = scale[2] = hearth_int8__scale(at);
            for (size_t s = 0; s < STEPS; s++)
                memcpy(out[r].q[s][j / 2] + j % 2 * 8, at + 2 + 8 * s, 8);
        }
    }
}

static void take_rows(size_t m, size_t n_runs, const hearth_int8_run *a,
                      size_t lda, left_run *x) {
    for (size_t r = 0; r < n_runs; r++)
        for (size_t i = 0; i < m; i++) {
            const hearth_int8_run *from = a + i * lda + r;
            float *scale = x[r].scale[i / 2] + i % 2 * 2;
            scale[0] = scale[1] = from->scale;
            for (size_t s = 0; s < STEPS; s++)
                memcpy(x[r].q[s][i / 2] + i % 2 * 8, from->q + 8 * s, 8);
        }
}

/* Pairs j .. j + NEAR - 1 of columns; out: squares [COLUMNS / 2][ROWS / 2]. */
MATRIX static void block(size_t n_runs, const left_run *x, const panel_run *w,
                         size_t j, float out[][ROWS / 2][4]) {
    float32x4_t y[NEAR][ROWS / 2];
    for (size_t v = 0; v < NEAR; v++)
        for (size_t i = 0; i < ROWS / 2; i++)
            y[v][i] = vld1q_f32(out[j + v][i]);
    for (size_t r = 0; r < n_runs; r++, x++, w++) {
        int32x4_t sum[NEAR][ROWS / 2];
        for (size_t v = 0; v < NEAR; v++)
            for (size_t i = 0; i < ROWS / 2; i++) sum[v][i] = vdupq_n_s32(0);
        for (size_t s = 0; s < STEPS; s++)
            for (size_t v = 0; v < NEAR; v++) {
                int8x16_t q = vld1q_s8(w->q[s][j + v]);
                for (size_t i = 0; i < ROWS / 2; i++)
                    sum[v][i] = vmmlaq_s32(sum[v][i], vld1q_s8(x->q[s][i]), q);
            }
        for (size_t v = 0; v < NEAR; v++)
            for (size_t i = 0; i < ROWS / 2; i++) {
                float32x4_t scale = vmulq_f32(vld1q_f32(w->scale[j + v]),
                                              vld1q_f32(x->scale[i]));
                y[v][i] = vaddq_f32(y[v][i],
                                    vmulq_f32(vcvtq_f32_s32(sum[v][i]), scale));
            }
    }
    for (size_t v = 0; v < NEAR; v++)
        for (size_t i = 0; i < ROWS / 2; i++) vst1q_f32(out[j + v][i], y[v][i]);
}

static void gemm(size_t m, size_t n, size_t n_runs, const hearth_int8_run *a,
                 size_t lda, const void *panel, int add, float *c, size_t ldc) {
    left_run x[RUNS];
    float out[COLUMNS / 2][ROWS / 2][4];
    memset(x, 0, sizeof(x));
    for (size_t i = 0; i < m; i += ROWS) {
        size_t rows = m - i < ROWS ? m - i : ROWS;
        take_rows(rows, n_runs, a + i * lda, lda, x);
        memset(out, 0, sizeof(out));
        for (size_t r = 0; add && r < rows; r++)
            for (size_t j = 0; j < n; j++)
                out[j / 2][r / 2][r % 2 * 2 + j % 2] = c[(i + r) * ldc + j];
        for (size_t j = 0; 2 * j < n; j += NEAR)
            block(n_runs, x, panel, j, out);
        for (size_t r = 0; r < rows; r++)
            for (size_t j = 0; j < n; j++)
                c[(i + r) * ldc + j] = out[j / 2][r / 2][r % 2 * 2 + j % 2];
    }
}

bool hearth_kernels__fill_i8mm(hearth_kernels *k) {
#if defined(__linux__)
    if (!(getauxval(AT_HWCAP2) & HWCAP2_INT8)) return false;
    k->int8_panel = COLUMNS;
    k->pack_int8 = pack;
    k->gemm_int8 = gemm;
    return true;
#else
    (void)k, (void)pack, (void)gemm;
    return false;
#endif
}

#else

bool hearth_kernels__fill_i8mm(hearth_kernels *k) {
    (void)k;
    return false;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/kernels_bfmmla.c - products of bfloat16 numbers by the matrix
 * instruction of 64-bit Arm: BFMMLA adds to a 2 x 2 block of f32 the products
 * of two rows and two columns of four numbers each.
 *
 * A panel is [ceil(k / 4)][COLUMNS / 2] squares of two columns and four
 * numbers.  Sums run by fours, with the instruction's own rounding, so results
 * agree with the other sets within a tolerance, not in every bit.
 * Source: Arm Architecture Reference Manual, BFMMLA (vector).
 */
#include "client/train/kernels.h"
#include "client/train/kernels_loops.h"

#if defined(__aarch64__) && defined(__GNUC__) && !defined(HEARTH_FLOAT64)

#include <arm_neon.h>
#include <string.h>
#if defined(__linux__)
#include <sys/auxv.h>
#endif

#define COLUMNS   ((size_t)12)
#define ROWS      ((size_t)8)
#define MATRIX    __attribute__((target("arch=armv8.2-a+bf16")))
#define HWCAP2_BF ((unsigned long)1 << 14) /* HWCAP2_BF16 of Linux */

typedef uint16_t loose_half __attribute__((aligned(1), may_alias));

/* One number of column j and row l of the product's right side. */
static void put(uint16_t *panel, size_t l, size_t j, uint16_t x) {
    panel[(l / 4 * (COLUMNS / 2) + j / 2) * 8 + j % 2 * 4 + l % 4] = x;
}

static void pack(size_t n, size_t k, const loose_half *w, size_t by_l,
                 size_t by_j, uint32_t *out) {
    uint16_t *panel = (uint16_t *)(void *)out;
    memset(panel, 0, (k + 3) / 4 * COLUMNS * 8);
    for (size_t l = 0; l < k; l++)
        for (size_t j = 0; j < n; j++) put(panel, l, j, w[l * by_l + j * by_j]);
}

static void pack_straight(size_t n, size_t k, const void *w, size_t ldw,
                          uint32_t *panel) {
    pack(n, k, w, ldw, 1, panel);
}

static void pack_turned(size_t n, size_t k, const void *w, size_t ldw,
                        uint32_t *panel) {
    pack(n, k, w, 1, ldw, panel);
}

/* ROWS rows of a, sums into out [ROWS][COLUMNS]. */
MATRIX static void block(size_t fours, const uint16_t *a, size_t lda,
                         const uint16_t *b, float *out) {
    float32x4_t sum[ROWS / 2][COLUMNS / 2];
    for (size_t i = 0; i < ROWS / 2; i++)
        for (size_t j = 0; j < COLUMNS / 2; j++) sum[i][j] = vdupq_n_f32(0);
    for (size_t l = 0; l < fours; l++, a += 4, b += 4 * COLUMNS) {
        bfloat16x8_t x[ROWS / 2];
        for (size_t i = 0; i < ROWS / 2; i++)
            x[i] = vreinterpretq_bf16_u16(vcombine_u16(
                vld1_u16(a + 2 * i * lda), vld1_u16(a + (2 * i + 1) * lda)));
        for (size_t j = 0; j < COLUMNS / 2; j++) {
            bfloat16x8_t y = vreinterpretq_bf16_u16(vld1q_u16(b + 8 * j));
            for (size_t i = 0; i < ROWS / 2; i++)
                sum[i][j] = vbfmmlaq_f32(sum[i][j], x[i], y);
        }
    }
    for (size_t i = 0; i < ROWS / 2; i++)
        for (size_t j = 0; j < COLUMNS / 2; j++) {
            vst1_f32(out + 2 * i * COLUMNS + 2 * j, vget_low_f32(sum[i][j]));
            vst1_f32(out + (2 * i + 1) * COLUMNS + 2 * j,
                     vget_high_f32(sum[i][j]));
        }
}

static void gemm(size_t m, size_t n, size_t k, const uint16_t *a, size_t lda,
                 const uint32_t *panel, size_t parts, int add, float *c,
                 size_t ldc) {
    (void)parts;
    float out[ROWS * COLUMNS];
    uint16_t last[ROWS * HEARTH_PANEL_DEPTH];
    size_t fours = (k + 3) / 4;
    for (size_t i = 0; i < m; i += ROWS) {
        size_t rows = m - i < ROWS ? m - i : ROWS, ld = lda;
        const uint16_t *from = a + i * lda;
        if (rows < ROWS) {
            memset(last, 0, sizeof(last));
            for (size_t r = 0; r < rows; r++)
                memcpy(last + r * HEARTH_PANEL_DEPTH, from + r * lda,
                       8 * fours);
            from = last;
            ld = HEARTH_PANEL_DEPTH;
        }
        block(fours, from, ld, (const uint16_t *)(const void *)panel, out);
        for (size_t r = 0; r < rows; r++)
            for (size_t j = 0; j < n; j++) {
                float *y = c + (i + r) * ldc + j;
                *y = out[r * COLUMNS + j] + (add ? *y : 0);
            }
    }
}

bool hearth_kernels__fill_bfmmla(hearth_kernels *k) {
#if defined(__linux__)
    if (!(getauxval(AT_HWCAP2) & HWCAP2_BF)) return false;
    k->pair_panel = COLUMNS;
    k->pair_parts = 1;
    k->pack_pairs_straight = pack_straight;
    k->pack_pairs_turned = pack_turned;
    k->gemm_pairs = gemm;
    return true;
#else
    (void)k, (void)pack_straight, (void)pack_turned, (void)gemm;
    return false;
#endif
}

#else

bool hearth_kernels__fill_bfmmla(hearth_kernels *k) {
    (void)k;
    return false;
}

#endif

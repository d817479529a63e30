/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/pairs_body.h - products of bfloat16 numbers with sums in f32,
 * for one width of vectors; after gemm_body.h, with its names and these:
 *
 *   PAIRS      name of the set       PAIR_ATTR  what compiles for it
 *   PAIR_MR    rows of the inner block
 *   PAIR_STEP  sum += odd a * odd b, then even a * even b, in each lane of 32
 *              bits (a: one pair in every lane)
 *   PAIR_ROUND n floats to bfloat16
 *
 * A panel is [ceil(k / 2)][NR] pairs: of column j the numbers 2 l (low half)
 * and 2 l + 1, so that rows of a bfloat16 file are turned word by word.
 */
#define PAIR_2(set, name) set##_##name
#define PAIR_1(set, name) PAIR_2(set, name)
#define PAIR(name)        PAIR_1(PAIRS, name)

PAIR_ATTR static void PAIR(round_rows)(size_t m, size_t n, const float *x,
                                       size_t ldx, uint16_t *out, size_t ldo) {
    size_t all = (n + HEARTH_PAIR_PAD - 1) / HEARTH_PAIR_PAD * HEARTH_PAIR_PAD;
    for (size_t i = 0; i < m; i++, x += ldx, out += ldo) {
        PAIR_ROUND(n, x, out);
        for (size_t j = n; j < all; j++) out[j] = 0;
    }
}

PAIR_ATTR static void PAIR(pack_straight)(size_t n, size_t k, const void *w,
                                          size_t ldw, uint32_t *panel) {
    const loose_half *row = w;
    for (size_t p = 0; p < k; p += 2, row += 2 * ldw, panel += NR) {
        uint16_t even[NR] = {0}, odd[NR] = {0};
        if (p + 17 < k) {
            __builtin_prefetch(row + 16 * ldw);
            __builtin_prefetch(row + 17 * ldw);
        }
        if (n == NR && p + 1 < k) {
            memcpy(even, row, sizeof(even));
            memcpy(odd, row + ldw, sizeof(odd));
        } else {
            memcpy(even, row, n * sizeof(*even));
            if (p + 1 < k) memcpy(odd, row + ldw, n * sizeof(*odd));
        }
        for (size_t j = 0; j < NR; j++)
            panel[j] = (uint32_t)even[j] | (uint32_t)odd[j] << 16;
    }
}

/* Where squares of pairs do not fit: the pairs from p on of columns j .. j +
 * n_j - 1. */
static void PAIR(turn_some)(size_t n, size_t k, const loose_half *w, size_t ldw,
                            size_t p, size_t pairs, size_t j, size_t n_j,
                            uint32_t *panel) {
    for (size_t r = j; r < j + n_j; r++)
        for (size_t q = p; q < p + pairs; q++) {
            uint32_t x = 0;
            if (r < n) x = w[r * ldw + 2 * q];
            if (r < n && 2 * q + 1 < k)
                x |= (uint32_t)w[r * ldw + 2 * q + 1] << 16;
            panel[q * NR + r] = x;
        }
}

PAIR_ATTR static void PAIR(pack_turned)(size_t n, size_t k, const void *w,
                                        size_t ldw, uint32_t *panel) {
    float square[VL * NR];
    size_t p = 0;
    for (; 2 * (p + VL) <= k; p += VL)
        for (size_t j = 0; j < NR; j += VL) {
            if (j + VL > n) {
                PAIR(turn_some)(n, k, w, ldw, p, VL, j, VL, panel);
                continue;
            }
            NAME(turn)
            ((const unsigned char *)w + 2 * (j * ldw + 2 * p), 2 * ldw, square);
            for (size_t i = 0; i < VL; i++)
                memcpy(panel + (p + i) * NR + j, square + i * NR, 4 * VL);
        }
    PAIR(turn_some)(n, k, w, ldw, p, (k + 1) / 2 - p, 0, NR, panel);
}

PAIR_ATTR BODY void PAIR(block)(const size_t mr, const size_t nv, size_t pairs,
                                const uint16_t *a, size_t lda,
                                const uint32_t *b, int add, float *c,
                                size_t ldc) {
    NAME(vec) sum[PAIR_MR][NV];
    for (size_t i = 0; i < mr; i++)
        for (size_t v = 0; v < nv; v++) sum[i][v] = (NAME(vec)){0};
    for (size_t l = 0; l < pairs; l++, b += NR, a += 2) {
        NAME(bits) bv[NV];
        for (size_t v = 0; v < nv; v++)
            memcpy(&bv[v], b + v * VL, sizeof(bv[v]));
        for (size_t i = 0; i < mr; i++) {
            uint32_t x;
            memcpy(&x, a + i * lda, sizeof(x));
            for (size_t v = 0; v < nv; v++) PAIR_STEP(sum[i][v], x, bv[v]);
        }
    }
    for (size_t i = 0; i < mr; i++)
        for (size_t v = 0; v < nv; v++) {
            NAME(vec) y = sum[i][v];
            if (add) y += NAME(load)(c + i * ldc + v * VL);
            memcpy(c + i * ldc + v * VL, &y, sizeof(y));
        }
}

/* Rows by constants: PAIR_MR, 4 and 1; returns how many were done. */
PAIR_ATTR BODY size_t PAIR(step)(size_t m, const size_t nv, size_t pairs,
                                 const uint16_t *a, size_t lda,
                                 const uint32_t *b, int add, float *c,
                                 size_t ldc) {
    if (m >= PAIR_MR) {
        PAIR(block)(PAIR_MR, nv, pairs, a, lda, b, add, c, ldc);
        return PAIR_MR;
    }
    if (m >= 4) {
        PAIR(block)(4, nv, pairs, a, lda, b, add, c, ldc);
        return 4;
    }
    PAIR(block)(1, nv, pairs, a, lda, b, add, c, ldc);
    return 1;
}

PAIR_ATTR static void PAIR(gemm)(size_t m, size_t n, size_t k,
                                 const uint16_t *a, size_t lda,
                                 const uint32_t *panel, size_t parts, int add,
                                 float *c, size_t ldc) {
    (void)parts;
    float part[PAIR_MR * NR];
    size_t pairs = (k + 1) / 2;
    for (size_t i = 0, done; i < m; i += done, a += done * lda) {
        float *row = c + i * ldc;
        if (n == NR) {
            done = PAIR(step)(m - i, NV, pairs, a, lda, panel, add, row, ldc);
            continue;
        }
        done = PAIR(step)(m - i, NV, pairs, a, lda, panel, 0, part, NR);
        for (size_t r = 0; r < done; r++)
            for (size_t j = 0; j < n; j++)
                row[r * ldc + j] =
                    part[r * NR + j] + (add ? row[r * ldc + j] : 0);
    }
}

static void PAIR(fill)(hearth_kernels *k) {
    k->pair_panel = NR;
    k->pair_parts = 1;
    k->round_rows = PAIR(round_rows);
    k->pack_pairs_straight = PAIR(pack_straight);
    k->pack_pairs_turned = PAIR(pack_turned);
    k->gemm_pairs = PAIR(gemm);
}

#undef PAIR_2
#undef PAIR_1
#undef PAIR
#undef PAIRS
#undef PAIR_ATTR
#undef PAIR_MR
#undef PAIR_STEP
#undef PAIR_ROUND

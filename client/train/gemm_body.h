/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/gemm_body.h - products of matrices for one width of vectors;
 * kernels_native.c includes it once a set, and pairs_body.h after it, with these
 * defined:
 *
 *   SET   name of the set      ATTR  what compiles for its instructions
 *   VL    floats of a vector   MR    rows of the inner block
 *   NV    vectors of its columns
 *
 * The inner block keeps MR x NV vectors of sums in registers; each step takes
 * NV vectors of b and MR single numbers of a.  Every sum runs over k in order,
 * so a result depends on neither the rows beside it nor who computes it.
 * Source: the loop order of Goto and van de Geijn, Anatomy of high-performance
 * matrix multiplication, ACM TOMS 34 (2008).
 */
#define NR                (VL * NV)
#define NAME_2(set, name) set##_##name
#define NAME_1(set, name) NAME_2(set, name)
#define NAME(name)        NAME_1(SET, name)

typedef float NAME(vec) __attribute__((vector_size(VL * 4)));
typedef uint32_t NAME(bits) __attribute__((vector_size(VL * 4)));

ATTR BODY NAME(vec) NAME(load)(const float *p) {
    NAME(vec) v;
    memcpy(&v, p, sizeof(v));
    return v;
}

/* c[mr, nv VL] = alpha a b, + c when add.  mr <= MR and nv <= NV are constants
 * where this goes. */
ATTR BODY void NAME(block)(const size_t mr, const size_t nv,
                           const product_part *p, const float *a, float *c,
                           size_t ldc) {
    NAME(vec) sum[MR][NV];
    for (size_t i = 0; i < mr; i++)
        for (size_t v = 0; v < nv; v++) sum[i][v] = (NAME(vec)){0};
    const float *b = p->b;
    for (size_t l = 0; l < p->k; l++, b += p->ldb, a += p->cs) {
        NAME(vec) bv[NV];
        for (size_t v = 0; v < nv; v++) bv[v] = NAME(load)(b + v * VL);
        for (size_t i = 0; i < mr; i++)
            for (size_t v = 0; v < nv; v++) sum[i][v] += a[i * p->rs] * bv[v];
    }
    for (size_t i = 0; i < mr; i++)
        for (size_t v = 0; v < nv; v++) {
            NAME(vec) y = sum[i][v] * p->alpha;
            if (p->add) y += NAME(load)(c + i * ldc + v * VL);
            memcpy(c + i * ldc + v * VL, &y, sizeof(y));
        }
}

/* As many rows as the largest block that fits; returns how many. */
ATTR BODY size_t NAME(step)(size_t m, const size_t nv, const product_part *p,
                            const float *a, float *c, size_t ldc) {
    if (m >= MR) {
        NAME(block)(MR, nv, p, a, c, ldc);
        return MR;
    }
    if (MR > 8 && m >= 8) {
        NAME(block)(8 < MR ? 8 : MR, nv, p, a, c, ldc);
        return 8;
    }
    if (MR > 4 && m >= 4) {
        NAME(block)(4 < MR ? 4 : MR, nv, p, a, c, ldc);
        return 4;
    }
    if (m >= 2) {
        NAME(block)(2, nv, p, a, c, ldc);
        return 2;
    }
    NAME(block)(1, nv, p, a, c, ldc);
    return 1;
}

ATTR static size_t NAME(wide)(size_t m, const product_part *p, const float *a,
                              float *c, size_t ldc) {
    return NAME(step)(m, NV, p, a, c, ldc);
}

ATTR static size_t NAME(slim)(size_t m, const product_part *p, const float *a,
                              float *c, size_t ldc) {
    return NAME(step)(m, 1, p, a, c, ldc);
}

/* m rows of n <= NR columns; part->b has NR of them. */
ATTR static void NAME(rows)(size_t m, size_t n, const product_part *p, float *c,
                            size_t ldc) {
    float part[MR * NR];
    for (size_t i = 0, done; i < m; i += done) {
        if (n == NR) {
            done = NAME(wide)(m - i, p, p->a + i * p->rs, c + i * ldc, ldc);
            continue;
        }
        size_t most = m - i < MR ? m - i : MR;
        for (size_t r = 0; p->add && r < most; r++)
            for (size_t j = 0; j < NR; j++)
                part[r * NR + j] = j < n ? c[(i + r) * ldc + j] : 0;
        done = (n <= VL ? NAME(slim) : NAME(wide))(most, p, p->a + i * p->rs,
                                                   part, NR);
        for (size_t r = 0; r < done; r++)
            memcpy(c + (i + r) * ldc, part + r * NR, n * sizeof(*c));
    }
}

static void NAME(pack_straight)(size_t n, size_t k, const float *w, size_t ldw,
                                float *panel) {
    for (size_t p = 0; p < k; p++) {
        const float *later = w + (p + 8 < k ? p + 8 : p) * ldw;
        for (size_t j = 0; j < n; j += 16) __builtin_prefetch(later + j);
        memcpy(panel + p * NR, w + p * ldw, n * sizeof(*w));
        for (size_t j = n; j < NR; j++) panel[p * NR + j] = 0;
    }
}

/* A square of VL x VL words, rows `stride` bytes apart, turned: log2(VL) times, the upper and the lower half of
 * the rows are interleaved. */
ATTR BODY void NAME(turn)(const unsigned char *w, size_t stride, float *out) {
    NAME(vec) x[VL], y[VL];
    for (size_t i = 0; i < VL; i++) memcpy(&x[i], w + i * stride, sizeof(x[i]));
    for (size_t s = 1; s < VL; s *= 2) {
        for (size_t i = 0; i < VL / 2; i++) {
            y[2 * i] = INTERLEAVE_LOW(x[i], x[i + VL / 2]);
            y[2 * i + 1] = INTERLEAVE_HIGH(x[i], x[i + VL / 2]);
        }
        memcpy(x, y, sizeof(x));
    }
    for (size_t i = 0; i < VL; i++) memcpy(out + i * NR, &x[i], sizeof(x[i]));
}

/* What is there of a square, turned: n columns of k numbers. */
ATTR static void NAME(turn_some)(size_t n, size_t k, const float *w, size_t ldw,
                                 float *out) {
    float square[VL * VL] = {0}, turned[VL * NR];
    for (size_t j = 0; j < n; j++)
        memcpy(square + j * VL, w + j * ldw, k * sizeof(*w));
    NAME(turn)((const unsigned char *)square, VL * sizeof(*w), turned);
    for (size_t i = 0; i < k; i++)
        memcpy(out + i * NR, turned + i * NR, VL * sizeof(*out));
}

ATTR static void NAME(pack_turned)(size_t n, size_t k, const float *w,
                                   size_t ldw, float *panel) {
    for (size_t p = 0; p < k; p += VL)
        for (size_t j = 0; j < NR; j += VL) {
            size_t n_k = k - p < VL ? k - p : VL;
            size_t n_j = j >= n ? 0 : n - j < VL ? n - j : VL;
            if (n_k == VL && n_j == VL) NAME(turn)
            ((const unsigned char *)(w + j * ldw + p), ldw * sizeof(*w),
             panel + p * NR + j);
            else NAME(turn_some)(n_j, n_k, w + (n_j ? j * ldw + p : 0), ldw,
                                 panel + p * NR + j);
        }
}

static void NAME(gemm_panel)(size_t m, size_t n, size_t k, const float *a,
                             size_t lda, const float *panel, int add, float *c,
                             size_t ldc) {
    product_part p = {k, a, lda, 1, panel, NR, 1, add};
    NAME(rows)(m, n, &p, c, ldc);
}

/* One row of STRIP columns, b as it lies: long runs of each of its rows. */
#define STRIP (4 * NR)
ATTR static void NAME(strip)(const product_part *p, const float *b, size_t ldb,
                             const float *a, float *c) {
    NAME(vec) sum[4 * NV];
    for (size_t v = 0; v < 4 * NV; v++) sum[v] = (NAME(vec)){0};
    for (size_t l = 0; l < p->k; l++, b += ldb, a += p->cs)
        for (size_t v = 0; v < 4 * NV; v++)
            sum[v] += *a * NAME(load)(b + v * VL);
    for (size_t v = 0; v < 4 * NV; v++) {
        NAME(vec) y = sum[v] * p->alpha;
        if (p->add) y += NAME(load)(c + v * VL);
        memcpy(c + v * VL, &y, sizeof(y));
    }
}

/* b [K, N], or [N, K] when turned. */
static void NAME(gemm)(size_t m, size_t n, size_t k, float alpha,
                       const float *a, size_t rs, size_t cs, const float *b,
                       size_t ldb, bool turned, int add, float *c, size_t ldc) {
    float panel[HEARTH_PANEL_DEPTH * NR];
    for (size_t k0 = 0; k0 < k || k0 == 0; k0 += HEARTH_PANEL_DEPTH) {
        size_t n_k = k - k0 < HEARTH_PANEL_DEPTH ? k - k0 : HEARTH_PANEL_DEPTH;
        product_part p = {n_k,   a + k0 * cs, rs,    cs,
                          panel, NR,          alpha, add || k0};
        size_t j = 0;
        for (; !turned && m < FEW_ROWS && j + STRIP <= n; j += STRIP)
            for (size_t i = 0; i < m; i++) NAME(strip)
        (&p, b + k0 * ldb + j, ldb, p.a + i * rs, c + i * ldc + j);
        for (; j < n; j += NR) {
            size_t n_j = n - j < NR ? n - j : NR;
            if (turned) {
                NAME(pack_turned)(n_j, n_k, b + j * ldb + k0, ldb, panel);
            } else if (m <= MR && n_j == NR) { /* used once: as it lies */
                p.b = b + k0 * ldb + j;
                p.ldb = ldb;
            } else {
                NAME(pack_straight)(n_j, n_k, b + k0 * ldb + j, ldb, panel);
                p.b = panel;
                p.ldb = NR;
            }
            NAME(rows)(m, n_j, &p, c + j, ldc);
        }
    }
}

/* Sums of a with DOTS rows of b, a lane for each VL-th number of a row. */
#define DOTS 8
ATTR BODY void NAME(dots)(const size_t dots, size_t k, const float *a,
                          const float *b, size_t ldb, float *out) {
    NAME(vec) sum[DOTS];
    for (size_t c = 0; c < dots; c++) sum[c] = (NAME(vec)){0};
    size_t l = 0;
    for (; l + VL <= k; l += VL) {
        NAME(vec) x = NAME(load)(a + l);
        for (size_t c = 0; c < dots; c++)
            sum[c] += x * NAME(load)(b + c * ldb + l);
    }
    for (size_t c = 0; c < dots; c++) {
        float lane[VL];
        memcpy(lane, &sum[c], sizeof(lane));
        for (size_t i = l; i < k; i++) lane[i - l] += a[i] * b[c * ldb + i];
        for (size_t w = VL / 2; w; w /= 2)
            for (size_t i = 0; i < w; i++) lane[i] += lane[i + w];
        out[c] = lane[0];
    }
}

/* Few rows: b is read once a row, as it lies. */
ATTR static void NAME(nt_few)(size_t n, size_t k, float alpha, const float *a,
                              const float *b, size_t ldb, int add, float *c) {
    float y[DOTS];
    for (size_t j = 0; j < n; j += DOTS) {
        size_t m = n - j < DOTS ? n - j : DOTS;
        if (m == DOTS) NAME(dots)(DOTS, k, a, b + j * ldb, ldb, y);
        for (size_t i = 0; m < DOTS && i < m; i++)
            NAME(dots)(1, k, a, b + (j + i) * ldb, ldb, y + i);
        for (size_t i = 0; i < m; i++)
            c[j + i] = alpha * y[i] + (add ? c[j + i] : 0);
    }
}

static void NAME(nt)(size_t m, size_t n, size_t k, float alpha, const float *a,
                     size_t lda, const float *b, size_t ldb, int add, float *c,
                     size_t ldc) {
    if (m >= FEW_ROWS)
        NAME(gemm)(m, n, k, alpha, a, lda, 1, b, ldb, true, add, c, ldc);
    for (size_t i = 0; m < FEW_ROWS && i < m; i++)
        NAME(nt_few)(n, k, alpha, a + i * lda, b, ldb, add, c + i * ldc);
}

static void NAME(nn)(size_t m, size_t n, size_t k, float alpha, const float *a,
                     size_t lda, const float *b, size_t ldb, int add, float *c,
                     size_t ldc) {
    NAME(gemm)(m, n, k, alpha, a, lda, 1, b, ldb, false, add, c, ldc);
}

static void NAME(tn)(size_t m, size_t n, size_t k, float alpha, const float *a,
                     size_t lda, const float *b, size_t ldb, int add, float *c,
                     size_t ldc) {
    NAME(gemm)(m, n, k, alpha, a, 1, lda, b, ldb, false, add, c, ldc);
}

static void NAME(fill)(hearth_kernels *k) {
    k->gemm_nt = NAME(nt);
    k->gemm_nn = NAME(nn);
    k->gemm_tn = NAME(tn);
    k->panel = NR;
    k->pack_straight = NAME(pack_straight);
    k->pack_turned = NAME(pack_turned);
    k->gemm_panel = NAME(gemm_panel);
}

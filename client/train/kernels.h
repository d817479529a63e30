/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/kernels.h - the table of inner loops; one table per kernel set.
 *
 * `reference`: + - * / sqrt and common/refmath only: the same bytes on every
 * IEEE machine.  `native`: our own products for the widest vectors of this
 * machine, and vectorised loops for the rest; it needs no library.  With AMX
 * products of weights and in attention take f32 as sums of three bfloat16
 * numbers.  `blas`: OpenBLAS for products (one BLAS thread per caller), native's
 * loops for the rest.  `bf16`: native, with products of weights whose factors
 * are rounded to bfloat16 and whose sums are f32.  `int8`, an experiment: bf16,
 * with forward products of Q8_0 weights in 8 bits.  Sets agree within the
 * tolerances in tests/unit/test_kernels.c.
 *
 * Letters: M rows, N columns, K inner; matrices row-major, ld* = elements
 * between rows.  No kernel allocates, branches on thread count or keeps state.
 * Threads: any number at once, on separate outputs.
 */
#ifndef HEARTH_CLIENT_TRAIN_KERNELS_H
#define HEARTH_CLIENT_TRAIN_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/train/real.h"

#define HEARTH_PANEL_MAX   ((size_t)32)
#define HEARTH_PANEL_DEPTH ((size_t)256)
#define HEARTH_PAIR_PAD    ((size_t)4) /* rows of bfloat16 are padded to this */
#define HEARTH_PAIR_STEP   ((size_t)32) /* and parts of panels to this */
#define HEARTH_INT8_RUN    ((size_t)32) /* numbers of 8 bits that share a scale */
#define HEARTH_INT8_RUNS   (HEARTH_PANEL_DEPTH / HEARTH_INT8_RUN)
#define HEARTH_INT8_BYTES                                                      \
    ((size_t)40) /* of a column's run in a panel, at most */

/* 32 numbers, each scale * q. */
typedef struct {
    float scale;
    int8_t q[HEARTH_INT8_RUN];
} hearth_int8_run;

typedef struct hearth_kernels {
    const char *name; /* "reference", "native", "blas", "bf16", "int8" */

    /* c[M,N] = alpha a[M,K] b[N,K]^T, + c when add. */
    void (*gemm_nt)(size_t m, size_t n, size_t k, hearth_real alpha,
                    const hearth_real *a, size_t lda, const hearth_real *b,
                    size_t ldb, int add, hearth_real *c, size_t ldc);
    /* c[M,N] = alpha a[M,K] b[K,N], + c when add. */
    void (*gemm_nn)(size_t m, size_t n, size_t k, hearth_real alpha,
                    const hearth_real *a, size_t lda, const hearth_real *b,
                    size_t ldb, int add, hearth_real *c, size_t ldc);
    /* c[M,N] = alpha a[K,M]^T b[K,N], + c when add. */
    void (*gemm_tn)(size_t m, size_t n, size_t k, hearth_real alpha,
                    const hearth_real *a, size_t lda, const hearth_real *b,
                    size_t ldb, int add, hearth_real *c, size_t ldc);

    /* Products whose right side is laid out by the caller, panel by panel, for
     * weights that must be converted in any case.  panel: columns of a panel,
     * at most HEARTH_PANEL_MAX; 0: the set has none of these.  A panel is
     * [k][panel] numbers, k <= HEARTH_PANEL_DEPTH. */
    size_t panel;
    /* panel[l][j] = w[l * ldw + j] for j < n <= panel, 0 beyond. */
    void (*pack_straight)(size_t n, size_t k, const hearth_real *w, size_t ldw,
                          hearth_real *out);
    /* panel[l][j] = w[j * ldw + l]: rows of w become columns. */
    void (*pack_turned)(size_t n, size_t k, const hearth_real *w, size_t ldw,
                        hearth_real *out);
    /* c[M, n] = a[M,K] panel[K, n], + c when add; n <= panel. */
    void (*gemm_panel)(size_t m, size_t n, size_t k, const hearth_real *a,
                       size_t lda, const hearth_real *panel, int add,
                       hearth_real *c, size_t ldc);

    /* The same with factors in bfloat16 and sums in f32.  pair_panel: columns
     * of a panel, at most HEARTH_PANEL_MAX; 0: the set has none of these.
     * pair_parts: 1, or 3 where a factor is the sum of three bfloat16 numbers,
     * so that products are as exact as those of f32, or 2: off by 2^-14 of
     * their sizes at most.  A panel is pair_parts
     * times k * pair_panel halves, k rounded up to a multiple of
     * HEARTH_PAIR_STEP: a part each, laid out as the set likes.  w:
     * little-endian bfloat16, perhaps unaligned. */
    size_t pair_panel, pair_parts;
    /* out[i][j] = x[i][j] to the nearest bfloat16, even in a tie; numbers below
     * the normal ones become 0; 0 up to a multiple of HEARTH_PAIR_PAD, which
     * ldo is.  Of several parts the next, ldo / pair_parts further on, is the
     * same of what the ones before leave. */
    void (*round_rows)(size_t m, size_t n, const hearth_real *x, size_t ldx,
                       uint16_t *out, size_t ldo);
    /* One part of a panel. */
    void (*pack_pairs_straight)(size_t n, size_t k, const void *w, size_t ldw,
                                uint32_t *panel);
    void (*pack_pairs_turned)(size_t n, size_t k, const void *w, size_t ldw,
                              uint32_t *panel);
    /* c[M, n] = a[M,K] panel[K, n], + c when add; a from round_rows, its parts
     * lda / pair_parts apart.  parts: that the panel has, pair_parts at most;
     * those that it lacks are 0. */
    void (*gemm_pairs)(size_t m, size_t n, size_t k, const uint16_t *a,
                       size_t lda, const uint32_t *panel, size_t parts, int add,
                       hearth_real *c, size_t ldc);

    /* Products of runs of 32 numbers of 8 bits with a scale each: of rounded
     * rows with weights in Q8_0 (common/quant_blocks.h), as the file has them.
     * A run's sum is exact; the runs are added in order, in f32, each as
     * sum * (weight's scale * row's scale): the same bytes from every set on
     * every machine.  int8_panel: columns of a panel, at most HEARTH_PANEL_MAX;
     * 0: the set has none of these.  Runs of a panel: HEARTH_INT8_RUNS at most;
     * its bytes: HEARTH_INT8_BYTES a run and column at most, aligned to 4. */
    size_t int8_panel;
    /* out[i][r] = run r of row i, its largest number 127 or -127, the others to
     * the nearest, even in a tie.  A run below 2^-100 becomes 0, one with a NaN
     * or an infinity a scale of NaN. */
    void (*round_int8)(size_t m, size_t n_runs, const hearth_real *x,
                       size_t ldx, hearth_int8_run *out, size_t ldo);
    /* w[j]: the first byte of column j's runs, perhaps unaligned; n of them. */
    void (*pack_int8)(size_t n, size_t n_runs, const unsigned char *const *w,
                      void *panel);
    /* c[M, n] = a[M, runs] panel[runs, n], or added to c, run by run. */
    void (*gemm_int8)(size_t m, size_t n, size_t n_runs,
                      const hearth_int8_run *a, size_t lda, const void *panel,
                      int add, hearth_real *c, size_t ldc);

    /* The set whose products by pairs attention takes beside this one's loops;
     * NULL: attention takes gemm_nt, gemm_nn and gemm_tn.  Where weights are
     * rounded to bfloat16 it has two parts: probabilities and their gradients in
     * one would cost gradients nearly as much again as the weights do. */
    const struct hearth_kernels *attention;

    /* y = x / sqrt(mean(x^2) + eps) * w, one row of n. */
    void (*rmsnorm)(size_t n, const hearth_real *x, const hearth_real *w,
                    hearth_real eps, hearth_real *y);
    /* dx += d loss / d x of rmsnorm, given dy; one row of n.  dw is not its
     * business: see scale_rstd. */
    void (*rmsnorm_back)(size_t n, const hearth_real *x, const hearth_real *w,
                         hearth_real eps, const hearth_real *dy,
                         hearth_real *dx);
    /* 1 / sqrt(mean(x^2) + eps). */
    hearth_real (*rms_inverse)(size_t n, const hearth_real *x, hearth_real eps);

    /* y = (x - mean) / sqrt(variance + eps) * w + bias, one row of n. */
    void (*layernorm)(size_t n, const hearth_real *x, const hearth_real *w,
                      const hearth_real *bias, hearth_real eps, hearth_real *y);
    /* dx += d loss / d x of layernorm, given dy. */
    void (*layernorm_back)(size_t n, const hearth_real *x, const hearth_real *w,
                           hearth_real eps, const hearth_real *dy,
                           hearth_real *dx);
    /* 1 / sqrt(variance + eps), and the mean. */
    hearth_real (*layer_inverse)(size_t n, const hearth_real *x,
                                 hearth_real eps, hearth_real *mean);

    /* p[i] = exp(s[i] - shift); returns the sum.  p may be s. */
    hearth_real (*exp_shift)(size_t n, const hearth_real *s, hearth_real shift,
                             hearth_real *p);
    /* The softmax down the columns of a matrix, row by row; n columns.
     * most[i] = max(most[i], scale x[i]). */
    void (*column_max)(size_t n, hearth_real scale, const hearth_real *x,
                       hearth_real *most);
    /* x[i] = exp(scale x[i] - shift[i]); sum[i] += x[i]. */
    void (*column_exp)(size_t n, hearth_real scale, hearth_real *x,
                       const hearth_real *shift, hearth_real *sum);
    /* Of a row of scores p and of the gradients g of its probabilities:
     * p[i] = exp(scale p[i] - shift[i]) inverse[i],
     * g[i] = p[i] (g[i] - dot[i]) scale. */
    void (*column_back)(size_t n, hearth_real scale, const hearth_real *shift,
                        const hearth_real *inverse, const hearth_real *dot,
                        hearth_real *p, hearth_real *g);
    /* Largest element; n > 0. */
    hearth_real (*max)(size_t n, const hearth_real *x);
    hearth_real (*dot)(size_t n, const hearth_real *x, const hearth_real *y);
    /* m = silu(g) * u. */
    void (*swiglu)(size_t n, const hearth_real *g, const hearth_real *u,
                   hearth_real *m);
    /* Given dm: dg, du.  dg may be g, du may be u. */
    void (*swiglu_back)(size_t n, const hearth_real *g, const hearth_real *u,
                        const hearth_real *dm, hearth_real *dg,
                        hearth_real *du);
    /* The same with the tanh approximation of gelu in the place of silu. */
    void (*geglu)(size_t n, const hearth_real *g, const hearth_real *u,
                  hearth_real *m);
    void (*geglu_back)(size_t n, const hearth_real *g, const hearth_real *u,
                       const hearth_real *dm, hearth_real *dg, hearth_real *du);
    /* m = gelu(u), tanh approximation; du from dm, du may be u. */
    void (*gelu)(size_t n, const hearth_real *u, hearth_real *m);
    void (*gelu_back)(size_t n, const hearth_real *u, const hearth_real *dm,
                      hearth_real *du);
    /* Rotate one head in place by half-split pairs (i, i + half); sign +1
     * forward, -1 backward.  cos, sin: [half] of this position. */
    void (*rope)(size_t half, const hearth_real *cos, const hearth_real *sin,
                 hearth_real sign, hearth_real *x);
    /* y += x. */
    void (*accumulate)(size_t n, const hearth_real *x, hearth_real *y);
} hearth_kernels;

/* pair_parts of k->attention; 0: it has none. */
static inline size_t hearth_kernels_attention_parts(const hearth_kernels *k) {
    return k->attention ? k->attention->pair_parts : 0;
}

/* Always there. */
const hearth_kernels *hearth_kernels_reference(void);

/* NULL in the float64 twin, or when the compiler lacks vector types. */
const hearth_kernels *hearth_kernels_native(void);

/* native with products of weights in bfloat16: the same bytes with the vector
 * instructions for it and without, but for numbers below the normal ones; AMX
 * and BFMMLA sum in another order.  NULL where native is. */
const hearth_kernels *hearth_kernels_bf16(void);

/* bf16 with forward products of Q8_0 weights in 8 bits; NULL where bf16 is. */
const hearth_kernels *hearth_kernels_int8(void);

/* Has this machine instructions that make bf16 faster than native? */
bool hearth_kernels_bf16_is_fast(void);

/* NULL when built without OpenBLAS, or in the float64 twin. */
const hearth_kernels *hearth_kernels_blas(void);

/* native when there is one, else reference. */
const hearth_kernels *hearth_kernels_default(void);

/* By name ("auto" = default); NULL when unknown or not built in. */
const hearth_kernels *hearth_kernels_find(const char *name);

/* Words about what runs the products, for doctor ("OpenBLAS 0.3.21 Haswell").
 * Static or static storage filled once. */
const char *hearth_kernels_describe(const hearth_kernels *k);

#endif /* HEARTH_CLIENT_TRAIN_KERNELS_H */

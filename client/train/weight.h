/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/weight.h - products with a weight nobody sees the pointer of.
 *
 * A hearth_weight is a view: a matrix [rows, cols] (rows = outputs) of some
 * stored type, mapped from a file or living in an arena.  Model code uses the
 * three products below and nothing else.  Stored types other than the compute
 * type are converted tile by tile into per-worker scratch of at most
 * HEARTH_WEIGHT_TILE_BYTES.
 *
 * Determinism: work is cut into tiles by shapes only; the bytes of a result do
 * not depend on the number of workers.
 * Threads: views are immutable; a hearth_compute belongs to one thread.
 * Errors: none; shapes are the caller's contract.
 */
#ifndef HEARTH_CLIENT_TRAIN_WEIGHT_H
#define HEARTH_CLIENT_TRAIN_WEIGHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/train/kernels.h"
#include "client/train/real.h"
#include "common/pool.h"

#define HEARTH_WEIGHT_TILE_BYTES ((size_t)524288)

typedef struct hearth_weight hearth_weight;

/* What every product needs: kernels, the pool (NULL: inline) and one tile of
 * scratch a worker.  tile may be NULL when hearth_weight_needs_tile is false
 * for every weight used; products then do without panels. */
typedef struct {
    const hearth_kernels *kernels;
    hearth_pool *pool;
    hearth_real *tile; /* [n_workers][HEARTH_WEIGHT_TILE_BYTES], aligned 64 */
    uint16_t *halves;  /* [n_halves] or NULL: room for one product's input in
                          bfloat16 or 8 bits, for kernels with pair_panel;
                          without it every tile rounds its own rows */
    size_t n_halves;
    const uint16_t *rounded; /* the input of hearth_weight_forward as
                                hearth_compute_round gave it for the same
                                tokens, where several weights take it; NULL:
                                every product rounds its own */
    size_t weight_parts; /* 2: kernels with pair_parts 1 take a weight of the
                            three products, where one bfloat16 number is not
                            enough for it, as the sum of two; 0, 1: they round
                            it */
} hearth_compute;

/* Numbers of halves that an input [n_tokens, n] takes in so many parts (the
 * kernels' pair_parts); SIZE_MAX: too many. */
size_t hearth_compute_halves(size_t n_tokens, size_t n, size_t parts);

/* The tile of one worker. */
hearth_real *hearth_compute_tile(const hearth_compute *c, size_t worker);

/* Must elements be converted before they can be multiplied? */
bool hearth_weight_needs_tile(const hearth_weight *w);

size_t hearth_weight_rows(const hearth_weight *w);
size_t hearth_weight_cols(const hearth_weight *w);

/* y[T, rows] = x[T, cols] W^T, or y += when add.  ldx, ldy: elements between
 * rows. */
void hearth_weight_forward(const hearth_compute *c, const hearth_weight *w,
                           size_t n_tokens, const hearth_real *x, size_t ldx,
                           hearth_real *y, size_t ldy, int add);

/* dx[T, cols] = dy[T, rows] W, or dx += when add. */
void hearth_weight_backward(const hearth_compute *c, const hearth_weight *w,
                            size_t n_tokens, const hearth_real *dy, size_t lddy,
                            hearth_real *dx, size_t lddx, int add);

/* out[m, n] += scale a[T, m]^T b[T, n]: the gradient of a dense weight or of
 * an adapter's factor.  Where m or n is at most 256, calls over runs of 64
 * tokens, in order, give the same bytes as one call. */
void hearth_dense_gradient(const hearth_compute *c, size_t m, size_t n,
                           size_t n_tokens, hearth_real scale,
                           const hearth_real *a, size_t lda,
                           const hearth_real *b, size_t ldb, hearth_real *out);

/* Rows first .. first + n - 1 as a matrix [n, cols] (leading dimension cols):
 * the weight itself, or a copy in scratch of n * cols elements.  For the
 * cross-entropy, which walks the head block by block. */
const hearth_real *hearth_weight_rows_at(const hearth_weight *w, size_t first,
                                         size_t n, hearth_real *scratch);

/* For kernel sets with pair_panel: x[T, n] rounded into the compute's room by
 * its pool (so from one thread at a time), for products that take the same
 * input many times.  Borrowed; the next product with c may overwrite it.  NULL:
 * the room is missing or too small, which costs time only. */
const uint16_t *hearth_compute_round(const hearth_compute *c, size_t n_tokens,
                                     size_t n, const hearth_real *x,
                                     size_t ldx);

/* For the same sets, on this worker alone: y[T, n] = x[T, cols] W^T, and
 * dx[T, cols] (+)= dy[T, n] W, with rows first .. first + n - 1 of W.  rounded:
 * x by hearth_compute_round, of the same n_tokens, or NULL.  They use the
 * worker's tile. */
void hearth_weight_rows_forward(const hearth_compute *c, size_t worker,
                                const hearth_weight *w, size_t first, size_t n,
                                size_t n_tokens, const hearth_real *x,
                                size_t ldx, const uint16_t *rounded,
                                hearth_real *y, size_t ldy);
void hearth_weight_rows_backward(const hearth_compute *c, size_t worker,
                                 const hearth_weight *w, size_t first, size_t n,
                                 size_t n_tokens, const hearth_real *dy,
                                 size_t lddy, hearth_real *dx, size_t lddx,
                                 int add);

/* Copy row i, as an embedding look-up does, to out[cols]. */
void hearth_weight_row(const hearth_weight *w, size_t i, hearth_real *out);

/* Copy all elements, row-major, to out[rows * cols]. */
void hearth_weight_copy(const hearth_weight *w, hearth_real *out);

/* The same with `add` added to each, in one rounding with what the file's order
 * asks for: a GGUF's Gemma norms come out as they are stored. */
void hearth_weight_copy_plus(const hearth_weight *w, hearth_real add,
                             hearth_real *out);

#endif /* HEARTH_CLIENT_TRAIN_WEIGHT_H */

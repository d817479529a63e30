/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/weight_private.h - inside of a weight view: for weight.c, and
 * for those who make views (model.c, decoder parameters), nobody else. */
#ifndef HEARTH_CLIENT_TRAIN_WEIGHT_PRIVATE_H
#define HEARTH_CLIENT_TRAIN_WEIGHT_PRIVATE_H

#include "client/train/weight.h"
#include "common/quant_blocks.h"

typedef enum {
    HEARTH_WEIGHT_F32, /* little-endian, perhaps unaligned, mapped */
    HEARTH_WEIGHT_F16,
    HEARTH_WEIGHT_BF16,
    HEARTH_WEIGHT_REAL, /* hearth_real of this build, aligned, in an arena */
    HEARTH_WEIGHT_QUANT /* blocks of common/quant_blocks.h */
} hearth_weight_type;

/* What the loaders know about a file's order is here, and only here: whoever
 * uses a view sees the canonical matrix [rows, cols]. */
struct hearth_weight {
    hearth_weight_type type;
    size_t rows, cols;         /* of the canonical matrix */
    const unsigned char *data; /* row-major, no padding */
    hearth_quant_type quant;   /* of HEARTH_WEIGHT_QUANT */
    bool transposed;           /* stored as [cols, rows]: GPT-2's Conv1D; never
                                  with permuted or blocks */
    uint32_t permuted; /* 0, or head_dim d: of each d rows the stored ones 2 j
                          + s are the canonical ones s d / 2 + j (GGUF's q and
                          k of Llama-class models) */
    float shift;       /* added to every element (GGUF's Gemma norms: -1) */
};

/* Elements of row r, columns first .. first + n - 1, as hearth_real. */
void hearth_weight__convert(const hearth_weight *w, size_t r, size_t first,
                            size_t n, hearth_real *out);

/* A pointer to rows from r on, or NULL when the type must be converted. */
const hearth_real *hearth_weight__direct(const hearth_weight *w, size_t r);

#endif /* HEARTH_CLIENT_TRAIN_WEIGHT_PRIVATE_H */

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

/* Stored bytes of n elements; whole blocks. */
static inline size_t hearth_weight__bytes(const hearth_weight *w, size_t n) {
    switch (w->type) {
    case HEARTH_WEIGHT_F16:
    case HEARTH_WEIGHT_BF16: return 2 * n;
    case HEARTH_WEIGHT_QUANT:
        return n / hearth_quant_elements(w->quant) *
               hearth_quant_bytes(w->quant);
    case HEARTH_WEIGHT_REAL: return sizeof(hearth_real) * n;
    case HEARTH_WEIGHT_F32: break;
    }
    return 4 * n;
}

/* Elements of row r, columns first .. first + n - 1, as hearth_real. */
void hearth_weight__convert(const hearth_weight *w, size_t r, size_t first,
                            size_t n, hearth_real *out);

/* A pointer to rows from r on, or NULL when the type must be converted. */
const hearth_real *hearth_weight__direct(const hearth_weight *w, size_t r);

/* Stored rows row .. row + n_r - 1 (of the canonical matrix, or of its transpose
 * where that is stored), from `first` n_c elements of each, in the canonical
 * order and with their shift: out [n_r, n_c]. */
void hearth_weight__stored_rows(const hearth_weight *w, size_t row, size_t n_r,
                                size_t first, size_t n_c, hearth_real *out);

/* The same in bfloat16, out [n_r, ld], parts ld / parts apart; false, nothing written, where that takes
 * a way over hearth_real: see hearth_quant_decode_bf16. */
bool hearth_weight__stored_halves(const hearth_weight *w, size_t row,
                                  size_t n_r, size_t first, size_t n_c,
                                  size_t parts, uint16_t *out, size_t ld);

/* Begin to fetch what stored_rows will read: rows and elements that do not exist
 * are left out.  Runs of a few lines, far from each other, are what the
 * processor does not foresee by itself. */
void hearth_weight__prefetch(const hearth_weight *w, size_t row, size_t n_r,
                             size_t first, size_t n_c);

/* A product in bfloat16, for sets with pair_panel. */
typedef struct {
    const hearth_kernels *kernels;
    size_t weight_parts; /* of hearth_compute */
    const hearth_weight *w;
    bool forward;        /* sums run over cols, else over rows */
    size_t first, n_sum; /* what of them is summed; in [T, n_sum] */
    const hearth_real *in;
    size_t ld_in;
    const uint16_t *rounded; /* in by hearth_compute_round; NULL: tiles do it */
    size_t n_tokens;         /* of it */
    hearth_real *out; /* its first column is column out0 of the product */
    size_t out0, ld_out;
    int add;
} hearth_pair_product;

/* Tokens t0 .. t0 + n_t - 1 and columns n0 .. n0 + n_n - 1 of it.  tile: of
 * this worker. */
void hearth_weight__pair_tile(const hearth_pair_product *p, size_t t0,
                              size_t n_t, size_t n0, size_t n_n,
                              hearth_real *tile);

/* Element `first`, which begins a block, of canonical row r where it is stored;
 * of a view of blocks. */
const unsigned char *hearth_weight__stored_at(const hearth_weight *w, size_t r,
                                              size_t first);

/* weight_int8.c: is a forward product with w by these kernels one in 8 bits? */
bool hearth_weight__takes_int8(const hearth_kernels *k, const hearth_weight *w);

/* The input of such a product rounded into the compute's room by its pool; NULL:
 * the room is missing or too small. */
const hearth_int8_run *hearth_weight__round_int8(const hearth_compute *c,
                                                 const hearth_pair_product *p);

/* As pair_tile.  rounded: by the above, or NULL. */
void hearth_weight__int8_tile(const hearth_pair_product *p,
                              const hearth_int8_run *rounded, size_t t0,
                              size_t n_t, size_t n0, size_t n_n,
                              hearth_real *tile);

#endif /* HEARTH_CLIENT_TRAIN_WEIGHT_PRIVATE_H */

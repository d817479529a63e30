/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/weight_private.h - inside of a weight view: for weight.c, and
 * for those who make views (model.c, decoder parameters), nobody else. */
#ifndef HEARTH_CLIENT_TRAIN_WEIGHT_PRIVATE_H
#define HEARTH_CLIENT_TRAIN_WEIGHT_PRIVATE_H

#include "client/train/weight.h"

typedef enum {
    HEARTH_WEIGHT_F32, /* little-endian, perhaps unaligned, mapped */
    HEARTH_WEIGHT_F16,
    HEARTH_WEIGHT_BF16,
    HEARTH_WEIGHT_REAL /* hearth_real of this build, aligned, in an arena */
} hearth_weight_type;

struct hearth_weight {
    hearth_weight_type type;
    size_t rows, cols;         /* [rows, cols], row-major, no padding */
    const unsigned char *data; /* [rows * cols * bytes of type] */
};

/* Elements of row r, columns first .. first + n - 1, as hearth_real. */
void hearth_weight__convert(const hearth_weight *w, size_t r, size_t first,
                            size_t n, hearth_real *out);

/* A pointer to rows from r on, or NULL when the type must be converted. */
const hearth_real *hearth_weight__direct(const hearth_weight *w, size_t r);

#endif /* HEARTH_CLIENT_TRAIN_WEIGHT_PRIVATE_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/base_copy.h - a frozen base held in fewer bits than its file has.
 *
 *     st = hearth_base_copy_settle(model, HEARTH_BASE_Q8_0, &type, err);
 *     ... a plan with hearth_base_copy_bytes(model, type) ...
 *     st = hearth_base_copy_open(&bc, model, type, pool, al, err);
 *     ... decoder with shape.base = bc ...
 *     hearth_base_copy_close(bc);
 *
 * Matrices of more bits are encoded once, when the copy is opened, in canonical
 * order; after that their part of the file is not needed.  Vectors, position
 * tables, and matrices whose rows are no multiple of the type's block or that
 * have no more bits already stay as the file has them.  With Q4_0 the embedding
 * and the head are held as Q8_0.
 *
 * The encoder is that of `hearth model convert`: the same type, the same bytes.
 *
 * Threads: immutable after open; opening computes on the pool.
 * Memory:  one arena, and while it is opened a tile of scratch for each worker.
 */
#ifndef HEARTH_TRAIN_BASE_COPY_H
#define HEARTH_TRAIN_BASE_COPY_H

#include <stdbool.h>
#include <stddef.h>

#include "client/model/base_model.h"
#include "client/train/base_type.h"
#include "client/train/weight.h"
#include "common/alloc.h"
#include "common/error.h"
#include "common/pool.h"
#include "common/status.h"

typedef struct hearth_base_copy hearth_base_copy;

/* Is a copy of this type smaller than the file's own?  FILE and AUTO: no. */
bool hearth_base_copy_helps(const hearth_model *m, hearth_base_type type);

/* What `asked` means for this model: HEARTH_BASE_FILE where the file is of that
 * type already (its layers, by elements); AUTO stays.
 * HEARTH_EUNSUPPORTED: the file's type has as few bits or fewer, or no matrix
 * has rows of whole blocks; err says what to give. */
HEARTH_MUST_CHECK hearth_status hearth_base_copy_settle(const hearth_model *m,
                                                        hearth_base_type asked,
                                                        hearth_base_type *out,
                                                        hearth_error *err);

/* Bytes that a copy takes; from shapes, nothing is read.  FILE: 0.  SIZE_MAX on
 * overflow. */
size_t hearth_base_copy_bytes(const hearth_model *m, hearth_base_type type);

/* Bytes of the matrices and position tables that are read from the file all the
 * same. */
size_t hearth_base_copy_left(const hearth_model *m, hearth_base_type type);

/* How tensor i (canonical order) is held: its view; without data where it is a
 * copy. */
hearth_weight hearth_base_copy__like(const hearth_model *m,
                                     hearth_base_type type, size_t i);

/* Read and encode; m is borrowed.  Its pages are let go behind.
 * HEARTH_ENOMEM; HEARTH_ENONFINITE: a matrix has a number that the type cannot
 * hold; HEARTH_EINVAL: a type that does not help. */
HEARTH_MUST_CHECK hearth_status hearth_base_copy_open(
    hearth_base_copy **out, const hearth_model *m, hearth_base_type type,
    hearth_pool *pool, const hearth_alloc *al, hearth_error *err);
void hearth_base_copy_close(hearth_base_copy *c); /* NULL: no-op */

/* The copy of tensor i; NULL: use the model's. */
const hearth_weight *hearth_base_copy_view(const hearth_base_copy *c, size_t i);

#endif /* HEARTH_TRAIN_BASE_COPY_H */

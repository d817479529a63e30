/* SPDX-License-Identifier: Apache-2.0 */
/* client/delta/delta.h - what training changed: adapter after minus adapter
 * before, over the part that the rule sends.
 *
 * Data flow:  trainer -> [delta] -> prepare -> upload
 *
 *     hearth_delta *dl;
 *     st = hearth_delta_new(&dl, before, after, HEARTH_PART_B, al, err);
 *     st = hearth_prepare(&p, ls, offer, hearth_delta_spans(dl),
 *                         hearth_delta_n_spans(dl), NULL, 0, rng, clock, err);
 *     hearth_delta_free(dl);                       // zeroizes
 *
 * Threads: a handle belongs to one thread at a time.
 * Memory:  4 bytes a coordinate, wiped before it is freed.
 */
#ifndef HEARTH_CLIENT_DELTA_DELTA_H
#define HEARTH_CLIENT_DELTA_DELTA_H

#include <stddef.h>

#include "common/adapter.h"
#include "common/alloc.h"
#include "common/error.h"
#include "common/span.h"

typedef struct hearth_delta hearth_delta;

/* after - before, one span per pair and factor, in the canonical flat order of
 * common/adapter.h.
 *
 * Both adapters must have the same pairs, ranks and shapes.
 *
 * Returns HEARTH_OK, *out is the caller's
 *         HEARTH_EINVAL     a NULL pointer or an unknown part
 *         HEARTH_EMISMATCH  the adapters differ in shape
 *         HEARTH_ENOMEM     nothing is kept
 */
HEARTH_MUST_CHECK
hearth_status hearth_delta_new(hearth_delta **out, const hearth_adapter *before,
                               const hearth_adapter *after, hearth_part part,
                               const hearth_alloc *al, hearth_error *err);

/* Wipes and frees.  NULL is a no-op. */
void hearth_delta_free(hearth_delta *dl);

/* The spans, borrowed: [hearth_delta_n_spans]. */
hearth_span *hearth_delta_spans(hearth_delta *dl);
size_t hearth_delta_n_spans(const hearth_delta *dl);

/* Coordinates in all. */
size_t hearth_delta_dim(const hearth_delta *dl);

#endif /* HEARTH_CLIENT_DELTA_DELTA_H */

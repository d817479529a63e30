/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/quantize.h - floats to integers with an exact bound.
 *
 * Data flow:  delta -> clip -> [quantize] -> + noise -> (mask) -> upload
 *
 * Each coordinate is scaled by a power of two and rounded up or down at random
 * so that its mean is kept.  The whole draw is repeated until the integer
 * vector has squared norm <= bound_sq, summed exactly.  That integer bound is
 * the sensitivity the accountant uses.
 *
 *     st = hearth_quantize(y, delta, n_spans, 14, bound_sq, rng, NULL);
 *     if (st != HEARTH_OK) abort_this_round();
 *
 * Threads: no shared state but the generator, which belongs to the caller.
 * Memory:  allocates nothing, keeps no pointer after it returns.
 * Source:  conditional rounding, Kairouz, Liu, Steinke, arXiv:2102.06387,
 *          section 4.
 */
#ifndef HEARTH_PRIVACY_QUANTIZE_H
#define HEARTH_PRIVACY_QUANTIZE_H

#include <stddef.h>
#include <stdint.h>

#include "common/rng.h"
#include "common/span.h"
#include "common/status.h"

#define HEARTH_QUANTIZE_TRIES        64
#define HEARTH_QUANTIZE_MAX_ELEMENTS ((size_t)1 << 28) /* over all spans */

/* What a call did.  It describes raw data: it stays on the device. */
typedef struct {
    unsigned n_tries; /* 1 .. HEARTH_QUANTIZE_TRIES */
} hearth_quantize_report;

/* Round the spans to integers, in order.
 *
 *   out        [sum of n]  integer units
 *   spans      [n_spans]   weight units, already clipped; not changed
 *   scale_exp  integer units per weight unit = 2^scale_exp, in
 *              [HEARTH_SIGMA_MIN_SCALE, HEARTH_SIGMA_MAX_SCALE]
 *   bound_sq   D_d^2, in [1, HEARTH_SIGMA_MAX_BOUND_SQ]
 *   report     filled on HEARTH_OK; may be NULL
 *
 * Returns HEARTH_OK
 *         HEARTH_EINVAL      a bad argument; out untouched
 *         HEARTH_ETOOBIG     too many elements (out untouched), or no draw met
 *                            the bound in HEARTH_QUANTIZE_TRIES tries (zeroed)
 *         HEARTH_ENONFINITE  a NaN or infinity; out is zeroed
 *         HEARTH_ERNG        no randomness; out is zeroed
 */
HEARTH_MUST_CHECK
hearth_status hearth_quantize(int32_t *out, const hearth_span *spans,
                              size_t n_spans, int scale_exp, uint64_t bound_sq,
                              hearth_rng *rng, hearth_quantize_report *report);

/* Round bounded coordinates: x[k] in [0, 1] becomes an integer in [0, s[k]]
 * with mean x[k] * s[k].
 *
 *   out, x, s  [n]  n <= HEARTH_SIGMA_MAX_COORDS, s[k] in
 *                   [1, HEARTH_SIGMA_MAX_COORD]
 *
 * Returns HEARTH_OK
 *         HEARTH_EINVAL      a bad argument or an x outside [0, 1]; out zeroed
 *                            when out is usable
 *         HEARTH_ETOOBIG     n too large; out untouched
 *         HEARTH_ENONFINITE  a NaN or infinity; out is zeroed
 *         HEARTH_ERNG        no randomness; out is zeroed
 */
HEARTH_MUST_CHECK
hearth_status hearth_quantize_coords(int32_t *out, const double *x,
                                     const uint32_t *s, size_t n,
                                     hearth_rng *rng);

#endif /* HEARTH_PRIVACY_QUANTIZE_H */

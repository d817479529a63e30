/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/sigma.h - the noise of a task as an exact fraction.
 *
 * The variance of the noise is sigma^2 = num / den in squared integer units,
 * Delta2^2 an integer, and z = sigma / Delta2.  A coordinator that wants a z
 * asks for the fraction here, puts the fraction into its offers, and a device
 * computes z back from the fraction: nobody trusts a rounded z.
 *
 *     uint64_t bound_sq, delta2_sq;
 *     hearth_sigma_bound_sq(0.07, 14, 160, &bound_sq);       // D_d^2
 *     hearth_sigma_delta2_sq(bound_sq, s, n_s, &delta2_sq);  // Delta2^2
 *     hearth_sigma_for_z(2.4, delta2_sq, &sigma_sq);
 *     z = hearth_sigma_z(sigma_sq, delta2_sq);               // >= 2.4
 *
 * Threads: pure functions.
 * Memory:  allocates nothing.
 * Source:  D_d^2: Kairouz, Liu, Steinke, The Distributed Discrete Gaussian
 *          Mechanism, arXiv:2102.06387, Theorem 1, with beta = exp(-1/2).
 */
#ifndef HEARTH_PRIVACY_SIGMA_H
#define HEARTH_PRIVACY_SIGMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

/* sigma^2 = num / den, in squared integer units. */
typedef struct {
    uint64_t num;
    uint64_t den;
} hearth_sigma_sq;

#define HEARTH_SIGMA_MAX_SQ       ((uint64_t)1 << 48) /* sigma <= 2^24 */
#define HEARTH_SIGMA_MAX_BOUND_SQ ((uint64_t)1 << 60) /* D_d, Delta2 <= 2^30 */
#define HEARTH_SIGMA_MAX_COORDS   16                  /* appended coordinates */
#define HEARTH_SIGMA_MAX_COORD    ((uint32_t)1 << 24) /* largest s_k */
#define HEARTH_SIGMA_MIN_SCALE    (-30) /* exponent of two of the scale */
#define HEARTH_SIGMA_MAX_SCALE    40

/* True when both samplers take this variance: num and den not 0, sigma^2
 * in (0, 2^48], and (floor(sigma) + 1) * den <= 2^32. */
bool hearth_sigma_ok(hearth_sigma_sq s);

/* The squared integer norm bound D_d^2 of a task: large enough that one
 * stochastic rounding of a vector clipped to clip_norm meets it with
 * probability >= 1 - exp(-1/2).
 *
 *   clip_norm  weight units, > 0
 *   scale_exp  integer units per weight unit = 2^scale_exp
 *   d          coordinates
 *
 * Returns HEARTH_OK, HEARTH_EINVAL, or HEARTH_ETOOBIG above
 * HEARTH_SIGMA_MAX_BOUND_SQ (*out is 0 then: take a smaller scale). */
HEARTH_MUST_CHECK
hearth_status hearth_sigma_bound_sq(double clip_norm, int scale_exp, size_t d,
                                    uint64_t *out);

/* Delta2^2 = D_d^2 + sum of s_k^2, exactly.  n_s <= HEARTH_SIGMA_MAX_COORDS and
 * every s_k in [1, HEARTH_SIGMA_MAX_COORD]; bound_sq may be 0 when n_s > 0 (a
 * round of coordinates only).
 * Returns HEARTH_OK, HEARTH_EINVAL, HEARTH_ETOOBIG (*out is 0 on failure). */
HEARTH_MUST_CHECK
hearth_status hearth_sigma_delta2_sq(uint64_t bound_sq, const uint32_t *s,
                                     size_t n_s, uint64_t *out);

/* The smallest convenient fraction with sigma^2 >= z^2 * delta2_sq: at most
 * 2^-19 (relative) above it.
 * Returns HEARTH_OK, HEARTH_EINVAL (z not finite or <= 0, delta2_sq == 0), or
 * HEARTH_ETOOBIG (out is 0/0 then). */
HEARTH_MUST_CHECK
hearth_status hearth_sigma_for_z(double z, uint64_t delta2_sq,
                                 hearth_sigma_sq *out);

/* z = sqrt(num / den / delta2_sq), rounded down; 0 for a bad argument. */
double hearth_sigma_z(hearth_sigma_sq s, uint64_t delta2_sq);

/* sigma as a double, for display; 0 for a bad argument. */
double hearth_sigma_value(hearth_sigma_sq s);

#endif /* HEARTH_PRIVACY_SIGMA_H */

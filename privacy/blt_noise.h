/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/blt_noise.h - the coordinator's own noise on what it releases.
 *
 * Data flow:  sum of noised uploads -> [+ blt_noise] -> server step -> release
 *
 * Correlated over the rounds by blt.h, in integers, on top of the noise that
 * each upload carries and never in its place: nothing here draws, replaces or
 * lowers a device's noise, and epsilon_coordinator does not change.  What it
 * buys is a second bound for whoever sees releases but not the round sums, if
 * the coordinator is honest and the rules of the pattern were enforced.
 *
 *     st = hearth_blt_noise_init(&m, &blt, &pattern, z, delta2_sq, d, state);
 *     each round:
 *         st = hearth_noise_draw(draw, d, m.sigma_sq, rng);
 *         if (st == HEARTH_OK) st = hearth_blt_noise_add(&m, sum, draw);
 *         if (st != HEARTH_OK) no_release();
 *     eps = hearth_zcdp_epsilon(hearth_blt_noise_rho(&m), delta);
 *
 * All rounds together are one Gaussian event of multiplier z, charged as a
 * whole before the first.
 *
 * Threads: no shared state; one caller for each mechanism.
 * Memory:  allocates nothing.  state is the caller's and secret: wipe it.
 * Source:  PRIVACY.md, section 11, has the proof for discrete noise.
 */
#ifndef HEARTH_PRIVACY_BLT_NOISE_H
#define HEARTH_PRIVACY_BLT_NOISE_H

#include <stddef.h>
#include <stdint.h>

#include "common/status.h"
#include "privacy/blt.h"
#include "privacy/sigma.h"

#define HEARTH_BLT_NOISE_MAX_GRID 16 /* finest grid: 2^-16 of an integer */

typedef struct {
    hearth_blt blt;
    hearth_blt_pattern pattern;
    size_t d;                 /* coordinates */
    double z;                 /* sigma / sens, as asked; never less */
    double delta2;            /* longest contribution, integers, rounded up */
    int grid_bits;            /* a draw counts in 2^-grid_bits */
    hearth_sigma_sq sigma_sq; /* of a draw, in squared grid units */
    double sens;              /* hearth_blt_sensitivity */
    double slack;             /* grid units: what rounding adds to it */
    uint32_t next;            /* round that comes next, from 0; at the end, or
                                 after a failure, pattern.rounds */
    double *state;            /* [n_buffers][d], borrowed */
} hearth_blt_noise;

/* The noise of a task before its first round.
 *
 *   z          sigma / sens(C) Delta2, > 0: the relation does not change it
 *   delta2_sq  Delta2^2, the squared bound of one upload, >= 1
 *   d          coordinates, >= 1
 *   state      [n_buffers * d], is zeroed; may be NULL with no buffers
 *
 * Returns HEARTH_OK, HEARTH_EINVAL, or HEARTH_ETOOBIG (sigma would pass 2^23,
 * or rounding could not be bounded: *m is zero then and adds nothing). */
HEARTH_MUST_CHECK
hearth_status hearth_blt_noise_init(hearth_blt_noise *m, const hearth_blt *b,
                                    const hearth_blt_pattern *p, double z,
                                    uint64_t delta2_sq, size_t d,
                                    double *state);

/* Add the noise of the next round to sum [d].
 *
 *   draw  [d]  fresh from hearth_noise_draw with m->sigma_sq; used once
 *
 * Fails closed: on failure sum is zeroed and m gives no more noise.
 * Returns HEARTH_OK
 *         HEARTH_EINVAL  a NULL pointer, or more rounds than the pattern has
 *         HEARTH_ERNG    a draw beyond 16 sigma: not what was asked for */
HEARTH_MUST_CHECK
hearth_status hearth_blt_noise_add(hearth_blt_noise *m, int64_t *sum,
                                   const int32_t *draw);

/* rho of all rounds by this noise alone, replace-one: 2 / z^2.  Infinity for a
 * mechanism that was not made. */
double hearth_blt_noise_rho(const hearth_blt_noise *m);

/* rho of all releases, replace-one, by the devices' noise and this together:
 * the smallest of the devices' alone (R1 of PRIVACY.md), this alone, and a bound
 * that splits a device's influence between them.  Never above the first.
 *
 *   z               of the devices' noise, > 0
 *   n_min           fewest devices of a round
 *   participations  of one device, so far
 *
 * Infinity for a bad argument. */
double hearth_blt_release_rho(const hearth_blt_noise *m, double z,
                              uint64_t n_min, uint32_t participations);

#endif /* HEARTH_PRIVACY_BLT_NOISE_H */

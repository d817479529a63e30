/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/noise.h - discrete Gaussian noise, as devices draw it.
 *
 * Data flow:  delta -> clip -> quantize -> [+ noise] -> (mask) -> upload
 *
 * Draws integers x with probability proportional to exp(-x^2 / (2 sigma^2)),
 * up to a statistical distance of 2^-105 a coordinate, in integer arithmetic
 * only (privacy/sampler.h; what defines the law is privacy/noise_exact.h).
 * The whole vector is drawn before any data is touched
 * (client/delta/prepare.c).
 *
 *     st = hearth_noise_draw(noise, d, sigma_sq, rng);
 *     if (st != HEARTH_OK) abort_this_round();
 *
 * Threads: no shared state but the generator, which belongs to the caller.
 * Memory:  allocates nothing; below 4 KiB of stack, wiped.
 * Forks:   no random byte outlives a call; the generator notices forks.
 */
#ifndef HEARTH_PRIVACY_NOISE_H
#define HEARTH_PRIVACY_NOISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/rng.h"
#include "common/status.h"
#include "privacy/sigma.h"

/* Fill out[n] with independent draws of variance parameter sigma_sq.
 *
 * Fails closed: on any failure out is zeroed and must not be used as noise.
 *
 * Returns HEARTH_OK
 *         HEARTH_EINVAL  a NULL pointer with n > 0, or a variance that
 *                        hearth_sigma_ok refuses; there is no zero noise
 *         HEARTH_ERNG    the generator failed, or gave what an honest one
 *                        gives with probability below 2^-200
 */
HEARTH_MUST_CHECK
hearth_status hearth_noise_draw(int32_t *out, size_t n, hearth_sigma_sq s,
                                hearth_rng *rng);

/* Does this program draw real noise from real entropy?  True here, always; the
 * test seam (tests/support/privacy_seam.c), which takes the place of this
 * object in tests and hearth-fleet, says false.  Programs that would refuse
 * what is marked not_private, or must mark it, ask this. */
bool hearth_noise_is_private(void);

#endif /* HEARTH_PRIVACY_NOISE_H */

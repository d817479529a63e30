/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/noise_exact.h - the normative sampler of the discrete Gaussian.
 *
 * Draws integers x with probability proportional to exp(-x^2 / (2 sigma^2)),
 * by integer arithmetic only: no floating point, no table, no tail cut, no
 * approximation of any size.  It defines what privacy/sampler.c has to give
 * and is what tests compare that one with.  Four times as slow, and the time
 * of a draw depends on the value drawn: devices use the other one.
 *
 * Threads: no shared state but the generator, which belongs to the caller.
 * Memory:  allocates nothing; about 1.2 KiB of stack, wiped.
 * Source:  Canonne, Kamath, Steinke, The Discrete Gaussian for Differential
 *          Privacy, arXiv:2004.00010, Algorithms 1 to 3.
 */
#ifndef HEARTH_PRIVACY_NOISE_EXACT_H
#define HEARTH_PRIVACY_NOISE_EXACT_H

#include <stddef.h>
#include <stdint.h>

#include "common/rng.h"
#include "common/status.h"
#include "privacy/sigma.h"

/* Fill out[n] with independent draws of variance parameter s.
 *
 *   n_bytes  random bytes that the draws used; may be NULL
 *
 * Fails closed: on any failure out is zeroed and must not be used as noise.
 *
 * Returns HEARTH_OK
 *         HEARTH_EINVAL  a NULL pointer with n > 0, or a variance that
 *                        hearth_sigma_ok refuses
 *         HEARTH_ERNG    the generator failed, or gave what an honest one
 *                        gives with probability below 2^-180 (a draw outside
 *                        int32, a loop that does not end)
 */
HEARTH_MUST_CHECK
hearth_status hearth_noise_exact_draw(int32_t *out, size_t n, hearth_sigma_sq s,
                                      hearth_rng *rng, uint64_t *n_bytes);

#endif /* HEARTH_PRIVACY_NOISE_EXACT_H */

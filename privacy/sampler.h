/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/sampler.h - the production sampler of the discrete Gaussian.
 *
 * x = +-(k Y + U): Y from a table in 128 bits, U uniform, kept with
 * probability exp(-U (U + 2 k Y) / (2 sigma^2)).  Integers only.  The law of a
 * coordinate is the one of noise_exact.h up to a statistical distance of
 * 2^-105 (PRIVACY.md, section 8), for every sigma of hearth_sigma_ok.
 *
 * Time: a trial takes the same branches and reads the same addresses whatever
 * it draws, but for one in 2^40, when 64 random bits do not decide and more
 * are drawn.  How many trials a vector takes does not depend on the values
 * that are kept.
 *
 * Threads: no shared state but the generator, which belongs to the caller.
 * Memory:  allocates nothing; below 4 KiB of stack, wiped.
 * Forks:   keeps no random byte from one call to the next, and asks the
 *          generator, which notices a fork, for at most 64 trials at a time.
 * Source:  Ducas, Durmus, Lepoint, Lyubashevsky, Lattice Signatures and
 *          Bimodal Gaussians, CRYPTO 2013, Algorithm 11 (k Y + U).
 */
#ifndef HEARTH_PRIVACY_SAMPLER_H
#define HEARTH_PRIVACY_SAMPLER_H

#include <stddef.h>
#include <stdint.h>

#include "common/rng.h"
#include "common/status.h"
#include "privacy/noise_scan.h"
#include "privacy/sigma.h"

/* What a call did. */
typedef struct {
    uint64_t n_bytes;  /* random bytes used */
    uint64_t n_trials; /* draws that became a coordinate, or were rejected */
    uint64_t n_ties;   /* trials that 64 bits did not decide */
} hearth_sampler_report;

/* Fill out[n] with independent draws of variance parameter s.
 *
 *   kind    HEARTH_NOISE_SCAN_BEST; others for tests: the same draws
 *   report  filled whenever the arguments are good; may be NULL
 *
 * Fails closed: on any failure out is zeroed and must not be used as noise.
 *
 * Returns HEARTH_OK
 *         HEARTH_EINVAL  a NULL pointer with n > 0, or a variance that
 *                        hearth_sigma_ok refuses
 *         HEARTH_ERNG    the generator failed, or gave what an honest one
 *                        gives with probability below 2^-200
 */
HEARTH_MUST_CHECK
hearth_status hearth_sampler_draw(int32_t *out, size_t n, hearth_sigma_sq s,
                                  hearth_rng *rng, hearth_noise_scan_kind kind,
                                  hearth_sampler_report *report);

#endif /* HEARTH_PRIVACY_SAMPLER_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/privacy_seam.h - what takes the place of privacy/noise.c and
 * common/rng.c in tests and hearth-fleet.
 *
 * The seam's object defines the same functions as those two, so that a program
 * links either the real ones or these, never both.  No shipped object knows it:
 * tests/check_symbols.py looks for the names below in libhearth, hearth and
 * hearthd.  What a program with the seam produces is not private:
 * hearth_noise_is_private() says false there.
 *
 *     hearth_seam_set(HEARTH_SEAM_NOISE_NONE, 7);   // before any rng is opened
 *
 * Without a call: real noise, seed 0.
 *
 * Threads: set while no other thread runs; handles as in rng.h.
 * Memory:  as in rng.h.
 */
#ifndef HEARTH_TESTS_SUPPORT_PRIVACY_SEAM_H
#define HEARTH_TESTS_SUPPORT_PRIVACY_SEAM_H

#include <stdint.h>

#include "common/rng.h"

/* What hearth_noise_draw gives.  The mutants are what tests of privacy must
 * be able to tell from the real thing. */
typedef enum {
    HEARTH_SEAM_NOISE_EXACT = 0, /* what ships, from the seeded bytes */
    HEARTH_SEAM_NOISE_NONE,      /* zeros */
    HEARTH_SEAM_NOISE_HALF,      /* mutant: half the sigma */
    HEARTH_SEAM_NOISE_REUSED     /* mutant: the same draw every time */
} hearth_seam_noise;

/* Set the noise and the seed of generators opened from now on.  Generator k
 * (0, 1, ...) opened after this call has stream (seed, k). */
void hearth_seam_set(hearth_seam_noise noise, uint64_t seed);

/* Make the next n calls of hearth_rng_bytes succeed and all after them fail
 * with HEARTH_ERNG; UINT64_MAX: never fail (the start). */
void hearth_seam_fail_after(uint64_t n_calls);

/* A generator with its own seed, whatever hearth_seam_set said: for virtual
 * devices whose order of opening may differ between runs. */
HEARTH_MUST_CHECK
hearth_status hearth_seam_rng_open(hearth_rng **out, uint64_t seed,
                                   uint64_t stream, const hearth_alloc *al,
                                   hearth_error *err);

/* A generator that gives script [n], n >= 1, again and again: for what honest
 * bytes do once in 2^40, and for generators that are stuck.  Borrowed. */
HEARTH_MUST_CHECK
hearth_status hearth_seam_rng_open_script(hearth_rng **out, const void *script,
                                          size_t n, const hearth_alloc *al,
                                          hearth_error *err);

/* Calls of hearth_rng_bytes so far: tests of order and of the failure loop. */
uint64_t hearth_seam_rng_calls(void);

#endif /* HEARTH_TESTS_SUPPORT_PRIVACY_SEAM_H */

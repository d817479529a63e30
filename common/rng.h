/* SPDX-License-Identifier: Apache-2.0 */
/* common/rng.h - random bytes for keys, tokens and noise.
 *
 * A buffered CTR_DRBG of mbedTLS, seeded from the system's entropy.  There is
 * no seed argument: nothing in a shipped object can make it deterministic.
 * (tests and hearth-fleet replace this object at link time, see
 * tests/support/privacy_seam.c.)
 *
 *     hearth_rng *rng;
 *     hearth_status st = hearth_rng_open(&rng, al, err);
 *     st = hearth_rng_bytes(rng, key, sizeof(key));
 *     hearth_rng_close(rng);
 *
 * Threads: a handle belongs to one thread at a time.
 * Memory:  HEARTH_RNG_BUFFER bytes, wiped as they are used and at close.
 * Forks:   a child of fork() notices its new process id, drops the buffer and
 *          reseeds, so parent and child never share bytes.
 */
#ifndef HEARTH_COMMON_RNG_H
#define HEARTH_COMMON_RNG_H

#include <stddef.h>
#include <stdint.h>

#include "common/alloc.h"
#include "common/error.h"
#include "common/status.h"

/* One refill: CTR_DRBG in calls of 8 bytes is ten times slower. */
#define HEARTH_RNG_BUFFER ((size_t)4096)

typedef struct hearth_rng hearth_rng;

/* Returns HEARTH_OK, HEARTH_ENOMEM, or HEARTH_ERNG when entropy fails. */
HEARTH_MUST_CHECK hearth_status hearth_rng_open(hearth_rng **out,
                                                const hearth_alloc *al,
                                                hearth_error *err);

/* Fill out [n].  HEARTH_ERNG: out is zeroed and the handle stays failed. */
HEARTH_MUST_CHECK hearth_status hearth_rng_bytes(hearth_rng *rng, void *out,
                                                 size_t n);

/* 64 uniform bits; same failures. */
HEARTH_MUST_CHECK hearth_status hearth_rng_u64(hearth_rng *rng, uint64_t *out);

/* Uniform in [0, n), n >= 1, without bias (rejection). */
HEARTH_MUST_CHECK hearth_status hearth_rng_below(hearth_rng *rng, uint64_t n,
                                                 uint64_t *out);

/* Wipe and free.  NULL is a no-op. */
void hearth_rng_close(hearth_rng *rng);

/* For mbedTLS' f_rng parameters: p is a hearth_rng.  0 or an mbedTLS error. */
int hearth_rng_mbedtls(void *p, unsigned char *out, size_t n);

#endif /* HEARTH_COMMON_RNG_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* common/secret.h - 32 bytes that must not be seen: an HMAC key, an upload
 * token.
 *
 * A digest, a public key and a seed that everyone gets have 32 bytes too, and
 * are plain arrays.  A secret has a type of its own, so that the compiler
 * refuses one in the place of the other, and so that a search for the type
 * finds every secret there is.  Whoever has one in a variable wipes it on
 * every path out:
 *
 *     hearth_secret key;
 *     hearth_status st = hearth_rng_bytes(rng, key.bytes, sizeof(key.bytes));
 *     if (st == HEARTH_OK) st = use(&key);
 *     hearth_secret_wipe(&key);
 *
 * No padding: messages and store rows hold exactly these bytes.  Keypairs have
 * a type of their own (common/sign.h); secrets that are text (cookies,
 * enrolment tokens, PEM) are char arrays, wiped with hearth_zeroize.
 *
 * Threads: no shared state.
 * Memory:  the caller's.
 */
#ifndef HEARTH_COMMON_SECRET_H
#define HEARTH_COMMON_SECRET_H

#include <stdbool.h>
#include <stdint.h>

#include "common/bytes.h"

#define HEARTH_SECRET_BYTES 32

typedef struct {
    uint8_t bytes[HEARTH_SECRET_BYTES];
} hearth_secret;

_Static_assert(sizeof(hearth_secret) == HEARTH_SECRET_BYTES, "no padding");

/* Zeros, in a way that no compiler removes. */
static inline void hearth_secret_wipe(hearth_secret *s) {
    hearth_zeroize(s->bytes, sizeof(s->bytes));
}

/* Equal?  In constant time. */
static inline bool hearth_secret_equal(const hearth_secret *a,
                                       const hearth_secret *b) {
    return hearth_bytes_equal_ct(a->bytes, b->bytes, sizeof(a->bytes));
}

#endif /* HEARTH_COMMON_SECRET_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* common/hash.h - SHA-256, HMAC-SHA-256, HKDF (over mbedTLS' PSA API).
 *
 *     uint8_t d[HEARTH_SHA256_BYTES];
 *     hearth_status st = hearth_sha256(d, p, n);
 *
 * Threads: no shared state after the first call, which initialises PSA once.
 * Errors:  HEARTH_ENOMEM or HEARTH_ERNG when PSA cannot start; out is zeroed.
 * Source:  FIPS 180-4, RFC 2104, RFC 5869.
 */
#ifndef HEARTH_COMMON_HASH_H
#define HEARTH_COMMON_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

#define HEARTH_SHA256_BYTES 32

/* A running hash.  Opaque; wiped by finish and free. */
typedef struct {
    uint64_t opaque[64]; /* psa_hash_operation_t lives here */
} hearth_sha256_state;

HEARTH_MUST_CHECK hearth_status hearth_sha256(uint8_t out[HEARTH_SHA256_BYTES],
                                              const void *p, size_t n);
HEARTH_MUST_CHECK hearth_status hearth_sha256_init(hearth_sha256_state *s);
HEARTH_MUST_CHECK hearth_status hearth_sha256_add(hearth_sha256_state *s,
                                                  const void *p, size_t n);
HEARTH_MUST_CHECK hearth_status
hearth_sha256_finish(hearth_sha256_state *s, uint8_t out[HEARTH_SHA256_BYTES]);
/* Drop a running hash; fine after finish or on a zeroed state. */
void hearth_sha256_free(hearth_sha256_state *s);

HEARTH_MUST_CHECK hearth_status
hearth_hmac_sha256(uint8_t out[HEARTH_SHA256_BYTES], const void *key,
                   size_t key_n, const void *p, size_t n);

/* out [n], n <= 255 * 32. */
HEARTH_MUST_CHECK hearth_status
hearth_hkdf_sha256(void *out, size_t n, const void *secret, size_t secret_n,
                   const void *salt, size_t salt_n, const char *info);

/* Start PSA now (any function here does it by itself).  Thread-safe. */
HEARTH_MUST_CHECK hearth_status hearth_hash_start(void);

#endif /* HEARTH_COMMON_HASH_H */

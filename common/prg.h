/* SPDX-License-Identifier: Apache-2.0 */
/* common/prg.h - a deterministic stream of bytes from a 32-byte seed.
 *
 * AES-256 in counter mode over zeroes: key = seed, counter block = big-endian
 * 128-bit block number.  The same bytes on every machine.  For A from a seed
 * (and masks, later); not for noise.
 *
 *     hearth_prg g;
 *     hearth_status st = hearth_prg_init(&g, seed);
 *     st = hearth_prg_bytes(&g, out, n);
 *     hearth_prg_free(&g);
 *
 * Threads: a state belongs to one thread at a time.
 * Source:  NIST SP 800-38A section 6.5.
 */
#ifndef HEARTH_COMMON_PRG_H
#define HEARTH_COMMON_PRG_H

#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

#define HEARTH_PRG_SEED_BYTES 32

typedef struct {
    uint64_t opaque[64]; /* psa_cipher_operation_t lives here */
    uint32_t key_id;
} hearth_prg;

HEARTH_MUST_CHECK hearth_status
hearth_prg_init(hearth_prg *g, const uint8_t seed[HEARTH_PRG_SEED_BYTES]);
/* The next n bytes of the stream. */
HEARTH_MUST_CHECK hearth_status hearth_prg_bytes(hearth_prg *g, void *out,
                                                 size_t n);
/* Wipe.  Fine on a zeroed state. */
void hearth_prg_free(hearth_prg *g);

#endif /* HEARTH_COMMON_PRG_H */

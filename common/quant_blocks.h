/* SPDX-License-Identifier: Apache-2.0 */
/* common/quant_blocks.h - blocks of quantised weights, as GGUF files hold them.
 *
 * A row of weights is cut into blocks of 32 (Q8_0 .. Q5_1) or 256 (the K types)
 * elements; each block has its own scale, and minimum where the type has one.
 *
 *     size_t bytes = cols / hearth_quant_elements(t) * hearth_quant_bytes(t);
 *     hearth_quant_decode(t, row, 0, cols, out);
 *
 * Threads: pure functions.
 * Memory:  allocates nothing.
 * Source:  the block layouts of GGUF, as in common/FORMATS.md.
 */
#ifndef HEARTH_COMMON_QUANT_BLOCKS_H
#define HEARTH_COMMON_QUANT_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

typedef enum {
    HEARTH_QUANT_F32,
    HEARTH_QUANT_F16,
    HEARTH_QUANT_BF16,
    HEARTH_QUANT_Q8_0,
    HEARTH_QUANT_Q4_0,
    HEARTH_QUANT_Q4_1,
    HEARTH_QUANT_Q5_0,
    HEARTH_QUANT_Q5_1,
    HEARTH_QUANT_Q4_K,
    HEARTH_QUANT_Q5_K,
    HEARTH_QUANT_Q6_K,
    HEARTH_QUANT_COUNT
} hearth_quant_type;

/* Elements of one block (1 for the float types) and its bytes. */
size_t hearth_quant_elements(hearth_quant_type t);
size_t hearth_quant_bytes(hearth_quant_type t);

/* "Q8_0"; "?" out of range.  Static. */
const char *hearth_quant_name(hearth_quant_type t);

/* The type of a name, upper or lower case.  HEARTH_EINVAL: none such. */
HEARTH_MUST_CHECK hearth_status hearth_quant_parse(const char *name,
                                                   hearth_quant_type *out);

/* out[n] = elements first .. first + n - 1 of a row.  first and n are
 * multiples of the block.  The row may be unaligned. */
void hearth_quant_decode(hearth_quant_type t, const uint8_t *row, size_t first,
                         size_t n, float *out);

/* The same rounded to the nearest bfloat16, even in a tie; what is below the
 * normal numbers becomes 0.  Of 2 or 3 parts the second, from out + apart on, is
 * the same of what the first leaves, and the third of what the second does.  False,
 * nothing written: neither this machine nor this type has a faster way than to
 * decode and to round. */
bool hearth_quant_decode_bf16(hearth_quant_type t, const uint8_t *row,
                              size_t first, size_t n, size_t parts,
                              uint16_t *out, size_t apart);

/* n elements in blocks from p on, with no more vectors than every machine has,
 * with AVX2, with AVX-512: inside of the above, and for tests, which hold them
 * together.  False, nothing written: not this type, or not on this machine. */
void hearth_quant__decode_plain(hearth_quant_type t, const uint8_t *p, size_t n,
                                float *x);
bool hearth_quant__decode_avx2(hearth_quant_type t, const uint8_t *p, size_t n,
                               float *x);
bool hearth_quant__decode_avx512(hearth_quant_type t, const uint8_t *p,
                                 size_t n, float *x);

/* out = the blocks of x[n], n a multiple of the block.  Float types, Q8_0 and
 * Q4_0; false and nothing written for the others, which Hearth only reads, and
 * for blocks of an x that is not finite. */
bool hearth_quant_encode(hearth_quant_type t, const float *x, size_t n,
                         uint8_t *out);

#endif /* HEARTH_COMMON_QUANT_BLOCKS_H */

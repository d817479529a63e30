/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/wide.h - 128-bit integers, for privacy/ only.
 *
 * Sums of squares and the acceptance test of the noise do not fit 64 bits, and
 * a silent overflow there is a privacy failure.  Both compilers of this
 * project have the type on 64-bit machines; a 32-bit one refuses to build.
 *
 * Threads: pure functions.
 */
#ifndef HEARTH_PRIVACY_WIDE_H
#define HEARTH_PRIVACY_WIDE_H

#include <stdint.h>

#if !defined(__SIZEOF_INT128__)
#error "privacy/ needs a compiler with 128-bit integers"
#endif

__extension__ typedef unsigned __int128 hearth_u128;

/* floor(sqrt(x)), by bits. */
static inline uint64_t hearth__isqrt(uint64_t x) {
    uint64_t root = 0;
    for (uint64_t bit = (uint64_t)1 << 31; bit; bit >>= 1) {
        uint64_t next = root | bit;
        if (next <= x / next) root = next;
    }
    return root;
}

#endif /* HEARTH_PRIVACY_WIDE_H */

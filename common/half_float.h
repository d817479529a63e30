/* SPDX-License-Identifier: Apache-2.0 */
/* common/half_float.h - numbers of 16 bits to binary32, for loops that
 * compilers turn into vectors.
 *
 * Threads: pure function.
 */
#ifndef HEARTH_COMMON_HALF_FLOAT_H
#define HEARTH_COMMON_HALF_FLOAT_H

#include <stdint.h>
#include <string.h>

/* Of an IEEE binary16, exact; a NaN keeps its bits.  Without branches, and
 * without arithmetic on numbers so small that processors stumble over them. */
static inline float hearth_half_to_f32(uint16_t h) {
    uint32_t sign = (h & 0x8000u) * 0x10000u, x = (h & 0x7fffu) * 0x2000u;
    uint32_t exponent = h & 0x7c00u, y;
    uint32_t tiny = x | 0x38800000u; /* 2^-14 + fraction */
    float f;
    memcpy(&f, &tiny, sizeof(f));
    f -= 0x1p-14f;
    memcpy(&tiny, &f, sizeof(f));
    y = x + 0x38000000u;
    y = exponent == 0x7c00u ? x | 0x7f800000u : y;
    y = exponent == 0 ? tiny : y;
    y |= sign;
    memcpy(&f, &y, sizeof(f));
    return f;
}

/* The same of a bfloat16, which is the upper half of a binary32. */
static inline float hearth_bf16_to_f32(uint16_t h) {
    uint32_t bits = (uint32_t)h << 16;
    float f;
    memcpy(&f, &bits, sizeof(f));
    return f;
}

#endif /* HEARTH_COMMON_HALF_FLOAT_H */

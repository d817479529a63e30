/* SPDX-License-Identifier: Apache-2.0 */
/* common/quant_avx512.c - blocks of the two most common types by vectors of 16
 * numbers, to f32 or at once to bfloat16: a weight is decoded for each product
 * that it takes part in, and the product itself takes little longer.
 *
 * The bytes are those of quant_blocks.c, and of that and then rounding: d q is
 * exact in f32 (11 and 8 bits), so no order or fusion could change it.
 */
#include "common/quant_blocks.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>
#include <string.h>

#define BLOCK 32u
#define BODY  static inline __attribute__((always_inline))
#define WIDE  __attribute__((target("avx512f,avx512bw,avx512vl,avx2,f16c")))
#define WIDE_BF16                                                              \
    __attribute__((target("avx512bf16,avx512f,avx512bw,avx512vl,avx2,f16c")))

WIDE BODY __m512 scale_of(const uint8_t *p) {
    __m128i d = _mm_cvtsi32_si128(p[0] | p[1] << 8);
    return _mm512_broadcastss_ps(_mm_cvtph_ps(d));
}

WIDE BODY __m128i load_16(const uint8_t *p) {
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

WIDE BODY __m512 times(__m512 d, __m128i q) {
    return _mm512_mul_ps(d, _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(q)));
}

/* One block: its first 16 numbers and its last. */
WIDE BODY void q8_0(const uint8_t *p, __m512 *x, __m512 *y) {
    __m512 d = scale_of(p);
    *x = times(d, load_16(p + 2));
    *y = times(d, load_16(p + 18));
}

WIDE BODY void q4_0(const uint8_t *p, __m512 *x, __m512 *y) {
    __m512 d = scale_of(p);
    __m128i q = load_16(p + 2), low = _mm_set1_epi8(15);
    __m128i eight = _mm_set1_epi8(8), high = _mm_srli_epi16(q, 4);
    *x = times(d, _mm_sub_epi8(_mm_and_si128(q, low), eight));
    *y = times(d, _mm_sub_epi8(_mm_and_si128(high, low), eight));
}

WIDE BODY void one(bool eight, const uint8_t *p, __m512 *x, __m512 *y) {
    if (eight)
        q8_0(p, x, y);
    else
        q4_0(p, x, y);
}

WIDE BODY void to_f32(const bool eight, const uint8_t *p, size_t n,
                      float *out) {
    __m512 x, y;
    for (size_t i = 0; i < n; i += BLOCK, p += eight ? 34 : 18) {
        one(eight, p, &x, &y);
        _mm512_storeu_ps(out + i, x);
        _mm512_storeu_ps(out + i + 16, y);
    }
}

/* x and y rounded to out; what that leaves of them. */
WIDE_BF16 BODY void store(__m512 *x, __m512 *y, uint16_t *out) {
    __m512bh both = _mm512_cvtne2ps_pbh(*y, *x);
    __m512i halves;
    memcpy(&halves, &both, sizeof(halves));
    _mm512_storeu_si512(out, halves);
    __m256i low = _mm512_castsi512_si256(halves);
    __m256i high = _mm512_extracti64x4_epi64(halves, 1);
    *x = _mm512_sub_ps(*x, _mm512_castsi512_ps(_mm512_slli_epi32(
                               _mm512_cvtepu16_epi32(low), 16)));
    *y = _mm512_sub_ps(*y, _mm512_castsi512_ps(_mm512_slli_epi32(
                               _mm512_cvtepu16_epi32(high), 16)));
}

WIDE_BF16 BODY void to_bf16(const bool eight, const uint8_t *p, size_t n,
                            const size_t parts, uint16_t *out, size_t apart) {
    __m512 x, y;
    for (size_t i = 0; i < n; i += BLOCK, p += eight ? 34 : 18) {
        one(eight, p, &x, &y);
        for (size_t part = 0; part < parts; part++)
            store(&x, &y, out + part * apart + i);
    }
}

/* One loop for each type and number of parts. */
WIDE static void decode(bool eight, const uint8_t *p, size_t n, float *out) {
    if (eight)
        to_f32(true, p, n, out);
    else
        to_f32(false, p, n, out);
}

WIDE_BF16 static void decode_bf16(bool eight, const uint8_t *p, size_t n,
                                  size_t parts, uint16_t *out, size_t apart) {
    if (parts == 1 && eight) to_bf16(true, p, n, 1, out, apart);
    if (parts == 1 && !eight) to_bf16(false, p, n, 1, out, apart);
    if (parts == 2 && eight) to_bf16(true, p, n, 2, out, apart);
    if (parts == 2 && !eight) to_bf16(false, p, n, 2, out, apart);
    if (parts == 3 && eight) to_bf16(true, p, n, 3, out, apart);
    if (parts == 3 && !eight) to_bf16(false, p, n, 3, out, apart);
}

static bool available(hearth_quant_type t) {
    return (t == HEARTH_QUANT_Q8_0 || t == HEARTH_QUANT_Q4_0) &&
           __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx2");
}

bool hearth_quant__decode_avx512(hearth_quant_type t, const uint8_t *p,
                                 size_t n, float *x) {
    if (!available(t)) return false;
    decode(t == HEARTH_QUANT_Q8_0, p, n, x);
    return true;
}

bool hearth_quant_decode_bf16(hearth_quant_type t, const uint8_t *row,
                              size_t first, size_t n, size_t parts,
                              uint16_t *out, size_t apart) {
    if (!available(t) || !__builtin_cpu_supports("avx512bf16")) return false;
    if (parts < 1 || parts > 3) return false;
    row += first / BLOCK * hearth_quant_bytes(t);
    decode_bf16(t == HEARTH_QUANT_Q8_0, row, n, parts, out, apart);
    return true;
}

#else

bool hearth_quant__decode_avx512(hearth_quant_type t, const uint8_t *p,
                                 size_t n, float *x) {
    (void)t, (void)p, (void)n, (void)x;
    return false;
}

bool hearth_quant_decode_bf16(hearth_quant_type t, const uint8_t *row,
                              size_t first, size_t n, size_t parts,
                              uint16_t *out, size_t apart) {
    (void)t, (void)row, (void)first, (void)n, (void)parts, (void)out;
    (void)apart;
    return false;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* common/quant_blocks.c - decode blocks; encode the types that Hearth writes.
 *
 * Layouts (little-endian, d and m are F16, q unsigned unless said):
 *   Q8_0  32: d, int8 q[32]                      x = d q
 *   Q4_0  32: d, q[32] of 4 bits                 x = d (q - 8)
 *   Q4_1  32: d, m, q[32] of 4 bits              x = d q + m
 *   Q5_0  32: d, u32 of fifth bits, 4 bits       x = d (q - 16)
 *   Q5_1  32: d, m, u32 of fifth bits, 4 bits    x = d q + m
 * where nibble j is element j, the high one element j + 16; and
 *   Q4_K 256: d, dmin, 12 bytes of 8 six-bit scales s and minima t, 4 bits
 *             x = d s q - dmin t, 32 elements a scale
 *   Q5_K 256: the same with 32 bytes of fifth bits
 *   Q6_K 256: 128 bytes of low 4 bits, 64 of high 2, int8 scale[16], d
 *             x = d s (q - 32), 16 elements a scale
 */
#include "common/quant_blocks.h"

#include <math.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "common/half_float.h"
#include "common/safetensors.h"

#define BLOCK 32u
#define SUPER 256u

static const struct {
    const char *name;
    uint16_t elements, bytes;
} TYPES[HEARTH_QUANT_COUNT] = {
    {"F32", 1, 4},      {"F16", 1, 2},      {"BF16", 1, 2},
    {"Q8_0", 32, 34},   {"Q4_0", 32, 18},   {"Q4_1", 32, 20},
    {"Q5_0", 32, 22},   {"Q5_1", 32, 24},   {"Q4_K", 256, 144},
    {"Q5_K", 256, 176}, {"Q6_K", 256, 210},
};

size_t hearth_quant_elements(hearth_quant_type t) {
    return TYPES[t].elements;
}

size_t hearth_quant_bytes(hearth_quant_type t) {
    return TYPES[t].bytes;
}

const char *hearth_quant_name(hearth_quant_type t) {
    return (unsigned)t < HEARTH_QUANT_COUNT ? TYPES[t].name : "?";
}

static char upper(char c) {
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

hearth_status hearth_quant_parse(const char *name, hearth_quant_type *out) {
    for (int t = 0; t < HEARTH_QUANT_COUNT; t++) {
        const char *a = TYPES[t].name, *b = name;
        while (*a && upper(*b) == *a) a++, b++;
        if (*a || *b) continue;
        *out = (hearth_quant_type)t;
        return HEARTH_OK;
    }
    return HEARTH_EINVAL;
}

#define BODY static inline __attribute__((always_inline))

/* Loops of a fixed length over copies, so that compilers make vectors of them:
 * `out` could otherwise overlap what is read. */

BODY float half(const uint8_t *p) {
    return hearth_half_to_f32((uint16_t)(p[0] | p[1] << 8));
}

BODY void decode_q8_0(const uint8_t *p, float *x) {
    float d = half(p), y[BLOCK];
    int8_t q[BLOCK];
    memcpy(q, p + 2, sizeof(q));
    for (unsigned i = 0; i < BLOCK; i++) y[i] = d * (float)q[i];
    memcpy(x, y, sizeof(y));
}

/* The four types of 32 elements in nibbles: d (q - zero) + m, with fifth bits
 * when `high` is not NULL. */
BODY void decode_nibbles(const uint8_t *p, const uint8_t *high, int zero,
                         float d, const float *m, float *x) {
    uint8_t q[16];
    int32_t v[BLOCK];
    float y[BLOCK];
    memcpy(q, p, sizeof(q));
    for (unsigned i = 0; i < 16; i++) v[i] = q[i] & 15;
    for (unsigned i = 0; i < 16; i++) v[16 + i] = q[i] >> 4;
    if (high) {
        uint32_t bits = (uint32_t)high[0] | (uint32_t)high[1] << 8 |
                        (uint32_t)high[2] << 16 | (uint32_t)high[3] << 24;
        for (unsigned i = 0; i < BLOCK; i++)
            v[i] |= (int32_t)((bits >> i & 1) << 4);
    }
    for (unsigned i = 0; i < BLOCK; i++) y[i] = d * (float)(v[i] - zero);
    if (m)
        for (unsigned i = 0; i < BLOCK; i++) y[i] += *m;
    memcpy(x, y, sizeof(y));
}

BODY void decode_q4_0(const uint8_t *p, float *x) {
    decode_nibbles(p + 2, NULL, 8, half(p), NULL, x);
}

BODY void decode_q4_1(const uint8_t *p, float *x) {
    float m = half(p + 2);
    decode_nibbles(p + 4, NULL, 0, half(p), &m, x);
}

BODY void decode_q5_0(const uint8_t *p, float *x) {
    decode_nibbles(p + 6, p + 2, 16, half(p), NULL, x);
}

BODY void decode_q5_1(const uint8_t *p, float *x) {
    float m = half(p + 2);
    decode_nibbles(p + 8, p + 4, 0, half(p), &m, x);
}

/* Scale and minimum j of the 12 packed bytes: the first four of each in the
 * low six bits of bytes 0-3 and 4-7, the others in nibbles of bytes 8-11 with
 * their top two bits above the first ones. */
BODY void k_scale(const uint8_t *p, unsigned j, float *s, float *m) {
    if (j < 4) {
        *s = (float)(p[j] & 63);
        *m = (float)(p[j + 4] & 63);
        return;
    }
    *s = (float)((p[j + 4] & 15) | (p[j - 4] >> 6) << 4);
    *m = (float)((p[j + 4] >> 4) | (p[j] >> 6) << 4);
}

/* high: 32 bytes of fifth bits, bit j of byte i for element 32 j + i; NULL:
 * Q4_K. */
BODY void decode_k(const uint8_t *p, const uint8_t *high, const uint8_t *q,
                   float *x) {
    float d = half(p), dmin = half(p + 2);
    for (unsigned j = 0; j < 8; j++, x += BLOCK) {
        float s, m;
        k_scale(p + 4, j, &s, &m);
        s *= d;
        m *= dmin;
        float y[BLOCK];
        uint8_t b[BLOCK], h[BLOCK] = {0};
        memcpy(b, q + j / 2 * BLOCK, sizeof(b));
        if (high) memcpy(h, high, sizeof(h));
        unsigned shift = j % 2 * 4;
        for (unsigned i = 0; i < BLOCK; i++) {
            int v = (b[i] >> shift & 15) | (h[i] >> j & 1) << 4;
            y[i] = s * (float)v - m;
        }
        memcpy(x, y, sizeof(y));
    }
}

/* Two halves of 128 elements; in each, four runs of 32 share bytes. */
BODY void decode_q6_k(const uint8_t *p, float *x) {
    float d = half(p + 208);
    for (unsigned e = 0; e < SUPER; e += 16) {
        unsigned h = e / 128, run = e % 128 / 32, i = e % 32;
        float s = d * (float)(int8_t)p[192 + e / 16], y[16];
        uint8_t low[16], high[16];
        memcpy(low, p + h * 64 + (run % 2) * 32 + i, sizeof(low));
        memcpy(high, p + 128 + h * 32 + i, sizeof(high));
        for (unsigned l = 0; l < 16; l++) {
            int v = low[l] >> (run / 2 * 4) & 15;
            v |= (high[l] >> (2 * run) & 3) << 4;
            y[l] = s * (float)(v - 32);
        }
        memcpy(x + e, y, sizeof(y));
    }
}

#define EACH_BLOCK(decode)                                                     \
    for (size_t i = 0; i < n; i += per, p += bytes) decode
BODY void decode_blocks(hearth_quant_type t, const uint8_t *p, size_t n,
                        float *x) {
    size_t per = TYPES[t].elements, bytes = TYPES[t].bytes;
    switch (t) {
    case HEARTH_QUANT_Q8_0: EACH_BLOCK(decode_q8_0(p, x + i)); return;
    case HEARTH_QUANT_Q4_0: EACH_BLOCK(decode_q4_0(p, x + i)); return;
    case HEARTH_QUANT_Q4_1: EACH_BLOCK(decode_q4_1(p, x + i)); return;
    case HEARTH_QUANT_Q5_0: EACH_BLOCK(decode_q5_0(p, x + i)); return;
    case HEARTH_QUANT_Q5_1: EACH_BLOCK(decode_q5_1(p, x + i)); return;
    case HEARTH_QUANT_Q4_K:
        EACH_BLOCK(decode_k(p, NULL, p + 16, x + i));
        return;
    case HEARTH_QUANT_Q5_K:
        EACH_BLOCK(decode_k(p, p + 16, p + 48, x + i));
        return;
    case HEARTH_QUANT_Q6_K: EACH_BLOCK(decode_q6_k(p, x + i)); return;
    case HEARTH_QUANT_F32:
    case HEARTH_QUANT_F16:
    case HEARTH_QUANT_BF16:
    case HEARTH_QUANT_COUNT: return;
    }
}

#if defined(__x86_64__)

/* The common types once more in AVX2.  Without fused products, so that the
 * bytes are those of every machine. */
#define AVX2 __attribute__((target("avx2")))

/* x[16] = s v - m for 16 signed bytes v; no m: NULL. */
AVX2 BODY void put_16(__m128i v, float s, const float *m, float *x) {
    __m256 scale = _mm256_set1_ps(s);
    __m256 a = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(v));
    __m256 b = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(v, 8)));
    a = _mm256_mul_ps(scale, a);
    b = _mm256_mul_ps(scale, b);
    if (m) {
        a = _mm256_sub_ps(a, _mm256_set1_ps(*m));
        b = _mm256_sub_ps(b, _mm256_set1_ps(*m));
    }
    _mm256_storeu_ps(x, a);
    _mm256_storeu_ps(x + 8, b);
}

AVX2 BODY __m128i load_16(const uint8_t *p) {
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

AVX2 BODY __m128i low_nibbles(__m128i v) {
    return _mm_and_si128(v, _mm_set1_epi8(15));
}

AVX2 BODY __m128i high_nibbles(__m128i v) {
    return low_nibbles(_mm_srli_epi16(v, 4));
}

AVX2 static void q8_0_avx2(const uint8_t *p, size_t n, float *x) {
    for (size_t i = 0; i < n; i += BLOCK, p += 34) {
        float d = half(p);
        put_16(load_16(p + 2), d, NULL, x + i);
        put_16(load_16(p + 18), d, NULL, x + i + 16);
    }
}

AVX2 static void q4_0_avx2(const uint8_t *p, size_t n, float *x) {
    __m128i eight = _mm_set1_epi8(8);
    for (size_t i = 0; i < n; i += BLOCK, p += 18) {
        __m128i q = load_16(p + 2);
        float d = half(p);
        put_16(_mm_sub_epi8(low_nibbles(q), eight), d, NULL, x + i);
        put_16(_mm_sub_epi8(high_nibbles(q), eight), d, NULL, x + i + 16);
    }
}

AVX2 static void q4_k_avx2(const uint8_t *p, size_t n, float *x) {
    for (size_t i = 0; i < n; i += SUPER, p += 144) {
        float d = half(p), dmin = half(p + 2);
        for (unsigned j = 0; j < 8; j++, x += BLOCK) {
            const uint8_t *q = p + 16 + j / 2 * BLOCK;
            __m128i a = load_16(q), b = load_16(q + 16);
            float s, m;
            k_scale(p + 4, j, &s, &m);
            s *= d;
            m *= dmin;
            put_16(j % 2 ? high_nibbles(a) : low_nibbles(a), s, &m, x);
            put_16(j % 2 ? high_nibbles(b) : low_nibbles(b), s, &m, x + 16);
        }
    }
}

AVX2 static void q6_k_avx2(const uint8_t *p, size_t n, float *x) {
    __m128i two = _mm_set1_epi8(0x30), zero = _mm_set1_epi8(32);
    for (size_t i = 0; i < n; i += SUPER, p += 210) {
        float d = half(p + 208);
        for (unsigned e = 0; e < SUPER; e += 16, x += 16) {
            unsigned h = e / 128, run = e % 128 / 32, at = e % 32;
            float s = d * (float)(int8_t)p[192 + e / 16];
            __m128i low = load_16(p + h * 64 + run % 2 * 32 + at);
            __m128i high = load_16(p + 128 + h * 32 + at);
            low = run < 2 ? low_nibbles(low) : high_nibbles(low);
            if (run < 2) /* bits 2 run and 2 run + 1 of each byte to 4 and 5 */
                high = _mm_slli_epi16(high, run ? 2 : 4);
            else if (run == 3)
                high = _mm_srli_epi16(high, 2);
            low = _mm_or_si128(low, _mm_and_si128(high, two));
            put_16(_mm_sub_epi8(low, zero), s, NULL, x);
        }
    }
}

bool hearth_quant__decode_avx2(hearth_quant_type t, const uint8_t *p, size_t n,
                               float *x) {
    if (!__builtin_cpu_supports("avx2")) return false;
    if (t == HEARTH_QUANT_Q8_0) q8_0_avx2(p, n, x);
    if (t == HEARTH_QUANT_Q4_0) q4_0_avx2(p, n, x);
    if (t == HEARTH_QUANT_Q4_K) q4_k_avx2(p, n, x);
    if (t == HEARTH_QUANT_Q6_K) q6_k_avx2(p, n, x);
    return t == HEARTH_QUANT_Q8_0 || t == HEARTH_QUANT_Q4_0 ||
           t == HEARTH_QUANT_Q4_K || t == HEARTH_QUANT_Q6_K;
}

#else

bool hearth_quant__decode_avx2(hearth_quant_type t, const uint8_t *p, size_t n,
                               float *x) {
    (void)t, (void)p, (void)n, (void)x;
    return false;
}

#endif

void hearth_quant__decode_plain(hearth_quant_type t, const uint8_t *p, size_t n,
                                float *x) {
    decode_blocks(t, p, n, x);
}

static void decode(hearth_quant_type t, const uint8_t *p, size_t n, float *x) {
    if (hearth_quant__decode_avx512(t, p, n, x)) return;
    if (hearth_quant__decode_avx2(t, p, n, x)) return;
    hearth_quant__decode_plain(t, p, n, x);
}

static hearth_dtype float_type(hearth_quant_type t) {
    if (t == HEARTH_QUANT_F16) return HEARTH_DTYPE_F16;
    if (t == HEARTH_QUANT_BF16) return HEARTH_DTYPE_BF16;
    return HEARTH_DTYPE_F32;
}

void hearth_quant_decode(hearth_quant_type t, const uint8_t *row, size_t first,
                         size_t n, float *out) {
    size_t per = TYPES[t].elements, bytes = TYPES[t].bytes;
    const uint8_t *p = row + first / per * bytes;
    if (per == 1) {
        hearth_dtype_to_f32(float_type(t), p, n, out);
        return;
    }
    decode(t, p, n, out);
}

/* 1 / d; 0 where it is none, so that a block of next to nothing is zeros. */
static float inverse_of(float d) {
    float inverse = fabsf(d) > 0 ? 1.0f / d : 0;
    return isfinite(inverse) ? inverse : 0;
}

static bool all_finite(const float *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i])) return false;
    return true;
}

/* d = max|x| / 127, q = round(x / d). */
static void encode_q8_0(const float *x, uint8_t *p) {
    float top = 0;
    for (unsigned i = 0; i < BLOCK; i++)
        top = fabsf(x[i]) > top ? fabsf(x[i]) : top;
    float d = top / 127.0f, inverse = inverse_of(d);
    hearth_dtype_from_f32(HEARTH_DTYPE_F16, &d, 1, p);
    for (unsigned i = 0; i < BLOCK; i++) {
        double y =
            (double)(x[i] * inverse); /* plus a half is exact in double */
        p[2 + i] = (uint8_t)(int8_t)(int)(y + copysign(0.5, y));
    }
}

/* The element furthest from zero becomes -8; q = floor(x / d + 8.5), at most
 * 15. */
static void encode_q4_0(const float *x, uint8_t *p) {
    float far = 0;
    for (unsigned i = 0; i < BLOCK; i++)
        if (fabsf(x[i]) > fabsf(far)) far = x[i];
    float d = far / -8.0f, inverse = inverse_of(d);
    hearth_dtype_from_f32(HEARTH_DTYPE_F16, &d, 1, p);
    for (unsigned i = 0; i < BLOCK / 2; i++) {
        int low = (int)(x[i] * inverse + 8.5f);
        int high = (int)(x[i + 16] * inverse + 8.5f);
        low = low > 15 ? 15 : low;
        high = high > 15 ? 15 : high;
        p[2 + i] = (uint8_t)(low | high << 4);
    }
}

bool hearth_quant_encode(hearth_quant_type t, const float *x, size_t n,
                         uint8_t *out) {
    size_t per = TYPES[t].elements, bytes = TYPES[t].bytes;
    if (per == 1) {
        hearth_dtype_from_f32(float_type(t), x, n, out);
        return true;
    }
    if (t != HEARTH_QUANT_Q8_0 && t != HEARTH_QUANT_Q4_0) return false;
    if (!all_finite(x, n)) return false;
    for (size_t i = 0; i < n; i += per, out += bytes)
        (t == HEARTH_QUANT_Q8_0 ? encode_q8_0 : encode_q4_0)(x + i, out);
    return true;
}

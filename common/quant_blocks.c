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

static float half(const uint8_t *p) {
    float x;
    hearth_dtype_to_f32(HEARTH_DTYPE_F16, p, 1, &x);
    return x;
}

static void decode_q8_0(const uint8_t *p, float *x) {
    float d = half(p);
    for (unsigned i = 0; i < BLOCK; i++) x[i] = d * (float)(int8_t)p[2 + i];
}

/* q of one nibble type, with its fifth bits when `high` is not NULL. */
static int nibble(const uint8_t *q, const uint8_t *high, unsigned i) {
    int v = i < 16 ? q[i] & 15 : q[i - 16] >> 4;
    if (high) v |= (high[i / 8] >> (i % 8) & 1) << 4;
    return v;
}

static void decode_q4_0(const uint8_t *p, float *x) {
    float d = half(p);
    for (unsigned i = 0; i < BLOCK; i++)
        x[i] = d * (float)(nibble(p + 2, NULL, i) - 8);
}

static void decode_q4_1(const uint8_t *p, float *x) {
    float d = half(p), m = half(p + 2);
    for (unsigned i = 0; i < BLOCK; i++)
        x[i] = d * (float)nibble(p + 4, NULL, i) + m;
}

static void decode_q5_0(const uint8_t *p, float *x) {
    float d = half(p);
    for (unsigned i = 0; i < BLOCK; i++)
        x[i] = d * (float)(nibble(p + 6, p + 2, i) - 16);
}

static void decode_q5_1(const uint8_t *p, float *x) {
    float d = half(p), m = half(p + 2);
    for (unsigned i = 0; i < BLOCK; i++)
        x[i] = d * (float)nibble(p + 8, p + 4, i) + m;
}

/* Scale and minimum j of the 12 packed bytes: the first four of each in the
 * low six bits of bytes 0-3 and 4-7, the others in nibbles of bytes 8-11 with
 * their top two bits above the first ones. */
static void k_scale(const uint8_t *p, unsigned j, float *s, float *m) {
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
static void decode_k(const uint8_t *p, const uint8_t *high, const uint8_t *q,
                     float *x) {
    float d = half(p), dmin = half(p + 2);
    for (unsigned j = 0; j < 8; j++, x += BLOCK) {
        float s, m;
        k_scale(p + 4, j, &s, &m);
        s *= d;
        m *= dmin;
        for (unsigned i = 0; i < BLOCK; i++) {
            uint8_t byte = q[j / 2 * BLOCK + i];
            int v = j % 2 ? byte >> 4 : byte & 15;
            if (high) v |= (high[i] >> j & 1) << 4;
            x[i] = s * (float)v - m;
        }
    }
}

/* Two halves of 128 elements; in each, four runs of 32 share bytes. */
static void decode_q6_k(const uint8_t *p, float *x) {
    float d = half(p + 208);
    for (unsigned e = 0; e < SUPER; e++) {
        unsigned h = e / 128, run = e % 128 / 32, i = e % 32;
        const uint8_t *low = p + h * 64 + (run % 2) * 32 + i;
        int v = run < 2 ? *low & 15 : *low >> 4;
        v |= (p[128 + h * 32 + i] >> (2 * run) & 3) << 4;
        x[e] = d * (float)(int8_t)p[192 + e / 16] * (float)(v - 32);
    }
}

static void decode_block(hearth_quant_type t, const uint8_t *p, float *x) {
    switch (t) {
    case HEARTH_QUANT_Q8_0: decode_q8_0(p, x); return;
    case HEARTH_QUANT_Q4_0: decode_q4_0(p, x); return;
    case HEARTH_QUANT_Q4_1: decode_q4_1(p, x); return;
    case HEARTH_QUANT_Q5_0: decode_q5_0(p, x); return;
    case HEARTH_QUANT_Q5_1: decode_q5_1(p, x); return;
    case HEARTH_QUANT_Q4_K: decode_k(p, NULL, p + 16, x); return;
    case HEARTH_QUANT_Q5_K: decode_k(p, p + 16, p + 48, x); return;
    case HEARTH_QUANT_Q6_K: decode_q6_k(p, x); return;
    case HEARTH_QUANT_F32:
    case HEARTH_QUANT_F16:
    case HEARTH_QUANT_BF16:
    case HEARTH_QUANT_COUNT: return;
    }
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
    for (size_t i = 0; i < n; i += per, p += bytes) decode_block(t, p, out + i);
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
    for (unsigned i = 0; i < BLOCK; i++) top = fmaxf(top, fabsf(x[i]));
    float d = top / 127.0f, inverse = inverse_of(d);
    hearth_dtype_from_f32(HEARTH_DTYPE_F16, &d, 1, p);
    for (unsigned i = 0; i < BLOCK; i++)
        p[2 + i] = (uint8_t)(int8_t)roundf(x[i] * inverse);
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

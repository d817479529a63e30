/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/noise_table.c - the contract is in noise_table.h; section 8 of
 * PRIVACY.md has the bounds, here is what they rest on.
 *
 * Every product below is of two numbers <= 2^123 = ONE, its result is cut to
 * the unit below, and series are those of exp(-x) for x in [0, 1]: terms
 * alternate and fall, so a cut series errs by less than the first term left
 * out.
 */
#include "privacy/noise_table.h"

#define ONE   ((hearth_u128)1 << HEARTH_NOISE_ONE_BITS)
#define TERMS 35 /* 1 / 35! < 2^-132 */

/* log2(e) in units of 2^-63. */
#define LOG2_E ((uint64_t)0xb8aa3b295c17f0bc)

/* 1 / n! in units of 2^-123. */
typedef struct {
    hearth_u128 c[TERMS];
} series;

static series series_make(void) {
    series s;
    s.c[0] = ONE;
    for (unsigned n = 1; n < TERMS; n++) s.c[n] = s.c[n - 1] / n;
    return s;
}

/* The upper and lower half of a 256-bit product. */
static hearth_u128 wide_mul(hearth_u128 a, hearth_u128 b, hearth_u128 *low) {
    uint64_t a0 = (uint64_t)a, a1 = (uint64_t)(a >> 64);
    uint64_t b0 = (uint64_t)b, b1 = (uint64_t)(b >> 64);
    hearth_u128 p00 = (hearth_u128)a0 * b0, p01 = (hearth_u128)a0 * b1;
    hearth_u128 p10 = (hearth_u128)a1 * b0, p11 = (hearth_u128)a1 * b1;
    hearth_u128 mid = (p00 >> 64) + (uint64_t)p01 + (uint64_t)p10;
    *low = mid << 64 | (uint64_t)p00;
    return p11 + (p01 >> 64) + (p10 >> 64) + (mid >> 64);
}

/* a b of two numbers in units of 2^-123, a and b <= ONE; rounded down. */
static hearth_u128 mul(hearth_u128 a, hearth_u128 b) {
    hearth_u128 low, high = wide_mul(a, b, &low);
    return high << (128 - HEARTH_NOISE_ONE_BITS) | low >> HEARTH_NOISE_ONE_BITS;
}

/* floor(2^128 rem / b) for rem < b < 2^64. */
static hearth_u128 fraction(uint64_t rem, uint64_t b) {
    hearth_u128 top = (hearth_u128)rem << 64;
    hearth_u128 rest = (hearth_u128)(uint64_t)(top % b) << 64;
    return (top / b) << 64 | rest / b;
}

/* exp(-x), x in [0, ONE]. */
static hearth_u128 exp_below_one(const series *s, hearth_u128 x) {
    hearth_u128 sum = s->c[TERMS - 1];
    for (unsigned n = TERMS - 1; n-- > 0;) sum = s->c[n] - mul(x, sum);
    return sum;
}

static hearth_u128 exp_of(const series *s, hearth_u128 a, uint64_t b) {
    if (a / b >= 90) return 0; /* exp(-90) < 2^-129 */
    unsigned whole = (unsigned)(a / b);
    hearth_u128 x = fraction((uint64_t)(a % b), b);
    hearth_u128 e = exp_below_one(s, x >> (128 - HEARTH_NOISE_ONE_BITS));
    hearth_u128 once = whole ? exp_below_one(s, ONE) : 0;
    while (whole--) e = mul(e, once);
    return e;
}

hearth_u128 hearth_noise_exp(hearth_u128 a, uint64_t b) {
    const series s = series_make();
    return exp_of(&s, a, b);
}

/* floor(2^250 / z) for z in [2^123, 2^127), bit by bit. */
static hearth_u128 inverse(hearth_u128 z) {
    hearth_u128 rest = 1, quotient = 0;
    for (int i = 0; i < 250; i++) {
        rest <<= 1; /* < 2 z < 2^128 */
        quotient <<= 1;
        if (rest >= z) rest -= z, quotient |= 1;
    }
    return quotient;
}

/* k: the smallest power of two with sigma / k < 8. */
static unsigned choose_k(hearth_sigma_sq s) {
    unsigned log2_k = 0;
    while (s.num / s.den >= (uint64_t)64 << (2 * log2_k)) log2_k++;
    return log2_k;
}

/* The weight of Y = i is exp(-i^2 k^2 den / (2 num)). */
static hearth_u128 weight(const hearth_noise_table *t, const series *e,
                          uint64_t i) {
    hearth_u128 unit = (hearth_u128)t->s.den << (2 * t->log2_k);
    return exp_of(e, unit * (i * i), 2 * t->s.num);
}

void hearth_noise_table_init(hearth_noise_table *t, hearth_sigma_sq s) {
    const series e = series_make();
    t->s = s;
    t->log2_k = choose_k(s);
    hearth_u128 total = 0;
    unsigned n = 0; /* values of Y that have a weight */
    for (; n < HEARTH_NOISE_TABLE_MAX; n++) {
        hearth_u128 w = weight(t, &e, n);
        if (w == 0) break;
        total += w;
        t->key[n] = (int64_t)(uint64_t)(total >> 64); /* sums, scaled below */
        t->low[n] = (uint64_t)total;
    }
    t->n = n - 1; /* the last value takes what is left */
    hearth_u128 inv = inverse(total);
    for (unsigned i = 0; i < t->n; i++) {
        hearth_u128 low, sum = (hearth_u128)(uint64_t)t->key[i] << 64;
        hearth_u128 high = wide_mul(sum | t->low[i], inv, &low);
        hearth_u128 at = high << 6 | low >> 122; /* 2^128 sum / total */
        t->key[i] = (int64_t)((uint64_t)(at >> 64) ^ (uint64_t)1 << 63);
        t->low[i] = (uint64_t)at;
    }
    t->n_padded = (t->n + HEARTH_NOISE_TABLE_LANE - 1) /
                  HEARTH_NOISE_TABLE_LANE * HEARTH_NOISE_TABLE_LANE;
    for (unsigned i = t->n; i < t->n_padded; i++)
        t->key[i] = INT64_MAX, t->low[i] = UINT64_MAX;
    t->slope = 0;
    if (t->log2_k == 0) return;
    /* k^2 / (2 sigma^2) is in (2^-7, 2^-5], so d is in (2^61, 2^63] and slope
     * below 2^63.6. */
    uint64_t d =
        (uint64_t)(fraction(s.den << (2 * t->log2_k), 2 * s.num) >> 60);
    t->slope = (uint64_t)(((hearth_u128)d * LOG2_E) >> 63);
}

unsigned hearth_noise_table_count(const hearth_noise_table *t, hearth_u128 r) {
    unsigned count = 0;
    for (unsigned i = 0; i < t->n; i++) {
        uint64_t high = (uint64_t)t->key[i] ^ (uint64_t)1 << 63;
        count += ((hearth_u128)high << 64 | t->low[i]) <= r;
    }
    return count;
}

/* (ln 2)^n / n! in units of 2^-64. */
static const uint64_t EXP2[] = {
    0xb17217f7d1cf79ac, 0x3d7f7bff058b1d51, 0x0e35846b82505fc6,
    0x0276556df749cee5, 0x005761ff9e299cc4, 0x000a184897c363c4,
    0x0000ffe5fe2c4586, 0x0000162c0223a5c8, 0x000001b5253d395e,
    0x0000001e4cf5158c, 0x00000001e8cac735, 0x000000001c3bd651,
    0x0000000001816193, 0x0000000000131496,
};
#define EXP2_TERMS (sizeof(EXP2) / sizeof(EXP2[0]))

static uint64_t mul_high(uint64_t a, uint64_t b) {
    return (uint64_t)(((hearth_u128)a * b) >> 64);
}

uint64_t hearth_noise_table_exp42(const hearth_noise_table *t, uint64_t w) {
    /* y = w log2(e) / (2 sigma^2) < 5 in units of 2^-59. */
    uint64_t y = (uint64_t)(((hearth_u128)w * t->slope) >> (2 * t->log2_k + 9));
    uint64_t f = y << 5, lost = EXP2[EXP2_TERMS - 1];
    for (size_t n = EXP2_TERMS - 1; n-- > 0;)
        lost = EXP2[n] - mul_high(f, lost);
    lost = mul_high(f, lost); /* 1 - 2^-f */
    return (((uint64_t)1 << 63) - (lost >> 1)) >> (y >> 59) >> 21;
}

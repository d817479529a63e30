/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/noise_exact.c - the contract is in noise_exact.h; this is why draws
 * are exact.
 *
 * Every decision is a comparison of a uniform integer with an integer.  With
 * sigma^2 = num / den and t = floor(sigma) + 1, a discrete Laplace draw y of
 * scale t is kept with probability exp(-g),
 *
 *     g = (|y| - sigma^2 / t)^2 / (2 sigma^2)
 *       = (|y| den t - num)^2 / (2 num den t^2),
 *
 * a fraction of integers.  hearth_sigma_ok keeps den t <= 2^32 and sigma <=
 * 2^24, and |y| < 2^31, so |y| den t < 2^63, the square fits 126 bits and the
 * denominator 114.  exp(-g) itself is never computed: Bernoulli(exp(-f)) for
 * f in [0, 1] comes from the alternating series (Algorithm 1), and
 * Bernoulli(f / k) = Bernoulli(f) and Bernoulli(1 / k).
 *
 * Loops that end with probability one have a cap, reached by an honest
 * generator with probability below 2^-180; reaching it is reported as a
 * failure of the generator, so a stuck one cannot hang a phone.
 */
#include "privacy/noise_exact.h"

#include <stdbool.h>

#include "common/bytes.h"
#include "privacy/wide.h"

#define POOL_BYTES   1024
#define SERIES_CAP   64   /* 1 / 64! < 2^-290 */
#define GEOM_CAP     256  /* exp(-256) < 2^-369 */
#define REJECT_CAP   2048 /* acceptance is at least 1/4 everywhere */
#define MAX_ABS_DRAW ((uint64_t)INT32_MAX)

/* Random bytes, bought in bulk.  After a failure `failed` stays set, every
 * draw is 0 and all loops below stop. */
typedef struct {
    hearth_rng *rng;
    size_t at;
    uint64_t n_bytes; /* handed out */
    bool failed;
    uint8_t byte[POOL_BYTES];
} pool;

/* The constants of one call. */
typedef struct {
    uint64_t t;        /* floor(sigma) + 1 */
    uint64_t den_t;    /* den * t <= 2^32 */
    uint64_t num;      /* of sigma^2 */
    hearth_u128 denom; /* 2 num den t^2 */
} law;

/* The next n_bytes <= 8 bytes, little-endian. */
static uint64_t take(pool *p, unsigned n_bytes) {
    if (!p->failed && p->at + n_bytes > POOL_BYTES) {
        p->failed = hearth_rng_bytes(p->rng, p->byte, POOL_BYTES) != HEARTH_OK;
        p->at = 0;
    }
    if (p->failed) return 0;
    p->n_bytes += n_bytes;
    uint64_t x = 0;
    for (unsigned i = 0; i < n_bytes; i++)
        x |= (uint64_t)p->byte[p->at++] << (8 * i);
    return x;
}

static unsigned bit_length(uint64_t x) {
    unsigned bits = 0;
    for (unsigned step = 32; step; step /= 2)
        if (x >> step) x >>= step, bits += step;
    return bits + (x != 0);
}

/* Uniform in [0, n), n >= 1: as many bits as n - 1 has, again when above. */
static uint64_t below_u64(pool *p, uint64_t n) {
    unsigned bits = bit_length(n - 1);
    if (bits == 0) return 0;
    for (int i = 0; i < REJECT_CAP && !p->failed; i++) {
        uint64_t x = take(p, (bits + 7) / 8) & (UINT64_MAX >> (64 - bits));
        if (x < n) return x;
    }
    p->failed = true;
    return 0;
}

static hearth_u128 below(pool *p, hearth_u128 n) {
    uint64_t top = (uint64_t)((n - 1) >> 64);
    if (top == 0 && n >> 64 == 0) return below_u64(p, (uint64_t)n);
    unsigned bits = bit_length(top);
    for (int i = 0; i < REJECT_CAP && !p->failed; i++) {
        uint64_t low = take(p, 8);
        uint64_t high = bits ? take(p, (bits + 7) / 8) : 0;
        if (bits) high &= UINT64_MAX >> (64 - bits);
        hearth_u128 x = (hearth_u128)high << 64 | low;
        if (x < n) return x;
    }
    p->failed = true;
    return 0;
}

/* True with probability exp(-num / den), 0 <= num <= den (Algorithm 1). */
static bool exp_below_one(pool *p, hearth_u128 num, hearth_u128 den) {
    for (unsigned k = 1; k < SERIES_CAP && !p->failed; k++) {
        bool go = below(p, den) < num && (k == 1 || below_u64(p, k) == 0);
        if (!go) return k & 1;
    }
    p->failed = true;
    return false;
}

/* True with probability exp(-num / den) for any num. */
static bool exp_any(pool *p, hearth_u128 num, hearth_u128 den) {
    for (hearth_u128 whole = num / den; whole; whole--)
        if (p->failed || !exp_below_one(p, 1, 1)) return false;
    return exp_below_one(p, num % den, den);
}

/* |y| and sign of a discrete Laplace draw of scale t (Algorithm 2). */
static uint64_t laplace(pool *p, uint64_t t, bool *negative) {
    for (int i = 0; i < REJECT_CAP && !p->failed; i++) {
        uint64_t u = below_u64(p, t);
        if (!exp_below_one(p, u, t)) continue;
        uint64_t v = 0;
        while (v < GEOM_CAP && !p->failed && exp_below_one(p, 1, 1)) v++;
        if (v == GEOM_CAP) break;
        *negative = take(p, 1) & 1;
        uint64_t y = u + t * v;
        if (!(*negative && y == 0)) return y;
    }
    p->failed = true;
    return 0;
}

/* One discrete Gaussian draw (Algorithm 3). */
static int32_t gauss(pool *p, const law *w) {
    for (int i = 0; i < REJECT_CAP && !p->failed; i++) {
        bool negative = false;
        uint64_t y = laplace(p, w->t, &negative);
        if (p->failed || y > MAX_ABS_DRAW) break;
        uint64_t left = y * w->den_t;
        uint64_t off = left > w->num ? left - w->num : w->num - left;
        if (exp_any(p, (hearth_u128)off * off, w->denom) && !p->failed)
            return negative ? -(int32_t)y : (int32_t)y;
    }
    p->failed = true;
    return 0;
}

hearth_status hearth_noise_exact_draw(int32_t *out, size_t n, hearth_sigma_sq s,
                                      hearth_rng *rng, uint64_t *n_bytes) {
    if (n_bytes) *n_bytes = 0;
    if ((!out && n) || !rng || !hearth_sigma_ok(s)) return HEARTH_EINVAL;
    law w;
    w.t = hearth__isqrt(s.num / s.den) + 1;
    w.den_t = s.den * w.t;
    w.num = s.num;
    w.denom = (hearth_u128)2 * s.num * w.den_t * w.t;

    pool p = {.rng = rng, .at = POOL_BYTES};
    for (size_t i = 0; i < n && !p.failed; i++) out[i] = gauss(&p, &w);
    bool failed = p.failed;
    if (n_bytes) *n_bytes = p.n_bytes;
    hearth_zeroize(&p, sizeof(p));
    if (failed && n) hearth_zeroize(out, n * sizeof(out[0]));
    return failed ? HEARTH_ERNG : HEARTH_OK;
}

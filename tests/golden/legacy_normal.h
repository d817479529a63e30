/* SPDX-License-Identifier: Apache-2.0 */
/* tests/golden/legacy_normal.h - the normal draws of the golden adapter.
 *
 * The golden file keeps the factors as F32, but its results were computed from
 * the doubles before rounding: a float normal draw times 0.1 (A) or 0.05 (B).
 * The draws are numpy's legacy stream (MT19937 with the polar method, seed 7),
 * which this makes again; the test checks that it rounds to what is stored.
 * Source: Matsumoto and Nishimura, Mersenne Twister, ACM TOMACS 8 (1998).
 */
#ifndef HEARTH_TESTS_LEGACY_NORMAL_H
#define HEARTH_TESTS_LEGACY_NORMAL_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct {
    uint32_t state[624];
    unsigned at;
    bool has_spare;
    double spare;
} legacy_normal;

static void legacy_normal_init(legacy_normal *g, uint32_t seed) {
    for (uint32_t i = 0; i < 624; i++) {
        g->state[i] = seed;
        seed = 1812433253u * (seed ^ (seed >> 30)) + i + 1;
    }
    g->at = 624;
    g->has_spare = false;
}

static void legacy_twist(legacy_normal *g) {
    for (unsigned i = 0; i < 624; i++) {
        uint32_t y = (g->state[i] & 0x80000000u) |
                     (g->state[(i + 1) % 624] & 0x7fffffffu);
        g->state[i] = g->state[(i + 397) % 624] ^ (y >> 1) ^
                      ((y & 1u) ? 0x9908b0dfu : 0u);
    }
    g->at = 0;
}

static uint32_t legacy_word(legacy_normal *g) {
    if (g->at == 624) legacy_twist(g);
    uint32_t y = g->state[g->at++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

/* Uniform in [0, 1), 53 bits from two words. */
static double legacy_uniform(legacy_normal *g) {
    uint32_t a = legacy_word(g) >> 5, b = legacy_word(g) >> 6;
    return ((double)a * 67108864.0 + (double)b) / 9007199254740992.0;
}

static double legacy_normal_next(legacy_normal *g) {
    double x, y, r;
    if (g->has_spare) {
        g->has_spare = false;
        return g->spare;
    }
    do {
        x = 2.0 * legacy_uniform(g) - 1.0;
        y = 2.0 * legacy_uniform(g) - 1.0;
        r = x * x + y * y;
    } while (r >= 1.0 || r <= 0.0);
    double f = sqrt(-2.0 * log(r) / r);
    g->spare = f * x;
    g->has_spare = true;
    return f * y;
}

#endif /* HEARTH_TESTS_LEGACY_NORMAL_H */

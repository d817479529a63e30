/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/int8_naive.h - products of 8-bit runs by their definition in
 * kernels.h, one number after the other; without a test framework, for the
 * programs that run in an emulator as well. */
#ifndef HEARTH_TESTS_SUPPORT_INT8_NAIVE_H
#define HEARTH_TESTS_SUPPORT_INT8_NAIVE_H

#include <math.h>

#include "client/train/kernels.h"
#include "common/philox.h"

#define STORED_RUN 34 /* bytes of 32 numbers of Q8_0 */

/* n runs of a Q8_0 weight: every number of 8 bits, -128 too; scales of both
 * signs from 2^-24, which is below the normal ones, to 2^15. */
static void naive_weight(unsigned char *w, size_t n, uint64_t seed) {
    hearth_philox_key k = hearth_philox_key_make(seed, HEARTH_PHILOX_DATA);
    for (size_t i = 0; i < n * STORED_RUN; i++) {
        w[i] = (unsigned char)hearth_philox_below(k, 0, i, 256);
        if (i % STORED_RUN == 1) w[i] &= 0xfb; /* no infinity */
    }
}

/* A finite binary16, by its definition. */
static float naive_half(const unsigned char *p) {
    int exponent = p[1] >> 2 & 31, fraction = (p[1] & 3) * 256 + p[0];
    float size = exponent ? ldexpf((float)(fraction + 1024), exponent - 25)
                          : ldexpf((float)fraction, -24);
    return p[1] & 0x80 ? -size : size;
}

/* y and the runs, in order; volatile: each rounding is one of its own. */
static float naive_product(size_t n_runs, const hearth_int8_run *a,
                           const unsigned char *w, float y) {
    for (size_t r = 0; r < n_runs; r++, w += STORED_RUN) {
        int32_t sum = 0;
        for (size_t l = 0; l < HEARTH_INT8_RUN; l++)
            sum += (int32_t)a[r].q[l] *
                   (w[2 + l] < 128 ? (int32_t)w[2 + l] : w[2 + l] - 256);
        volatile float scale = naive_half(w) * a[r].scale;
        volatile float term = (float)sum * scale;
        y += term;
    }
    return y;
}

#endif /* HEARTH_TESTS_SUPPORT_INT8_NAIVE_H */

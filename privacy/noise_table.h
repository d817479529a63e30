/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/noise_table.h - the constants of one call of the sampler: a table of
 * cumulative probabilities in 128 bits, and exp(-x) in fixed point.
 *
 * The noise is x = k Y + U with k a power of two, U uniform in [0, k) and Y a
 * half discrete Gaussian of s0 = sigma / k, which lies in [4, 8), or anywhere
 * below 8 when k = 1.  Errors of everything here are bounded in PRIVACY.md, section 8.
 *
 * Threads: pure functions.   Memory: allocates nothing.
 */
#ifndef HEARTH_PRIVACY_NOISE_TABLE_H
#define HEARTH_PRIVACY_NOISE_TABLE_H

#include <stdint.h>

#include "privacy/sigma.h"
#include "privacy/wide.h"

#define HEARTH_NOISE_TABLE_MAX  112 /* 8 * sqrt(2 * 90) = 107.3 */
#define HEARTH_NOISE_TABLE_LANE 8   /* the table is filled up to a multiple */

/* Fixed point of the wide functions: 1 is 2^123. */
#define HEARTH_NOISE_ONE_BITS 123

typedef struct {
    /* Threshold i is floor(2^128 P(Y <= i)), up to 2^-110 (PRIVACY.md, section 8).
     * key: its upper 64 bits with the top bit flipped, so that a signed
     * comparison orders them (few machines compare unsigned lanes). */
    int64_t key[HEARTH_NOISE_TABLE_MAX];
    uint64_t low[HEARTH_NOISE_TABLE_MAX]; /* its lower 64 bits */
    unsigned n;                           /* thresholds */
    unsigned n_padded;                    /* with HEARTH_NOISE_TABLE_LANE */
    unsigned log2_k;                      /* 0 .. 22 */
    uint64_t slope;    /* 2^68 log2(e) k^2 / (2 sigma^2); 0 when k = 1 */
    hearth_sigma_sq s; /* sigma^2 */
} hearth_noise_table;

/* Build the table of a variance that hearth_sigma_ok accepts. */
void hearth_noise_table_init(hearth_noise_table *t, hearth_sigma_sq s);

/* How many thresholds are <= r, for the 128 bits r: this is Y.  Looks at every
 * one, whatever r is. */
unsigned hearth_noise_table_count(const hearth_noise_table *t, hearth_u128 r);

/* 2^42 exp(-w / (2 sigma^2)) for w = U (U + 2 k Y), at most 1.02 below and
 * 0.02 above: a polynomial in 64 bits.  Time does not depend on w. */
uint64_t hearth_noise_table_exp42(const hearth_noise_table *t, uint64_t w);

/* exp(-a / b) in units of 2^-123, off by less than 50 of them; 0 from
 * a >= 90 b on.  b in [1, 2^58]; time depends on a and b. */
hearth_u128 hearth_noise_exp(hearth_u128 a, uint64_t b);

#endif /* HEARTH_PRIVACY_NOISE_TABLE_H */

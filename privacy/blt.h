/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/blt.h - noise whose sum over the rounds stays small: the matrix.
 *
 * A release after t rounds holds the sum of t updates.  Independent noise in
 * each round adds up in it; noise C^-1 Z, where Z is independent and C a lower
 * triangular matrix, takes most of an earlier round's noise back in later
 * ones.  What it protects is C G + Z (G: the rounds' sums), so the price is the
 * sensitivity of C.
 *
 * C is Toeplitz, given by d buffers (buffered linear Toeplitz, BLT):
 *
 *     c_0 = 1,  c_i = sum_j omega_j theta_j^(i-1)
 *
 * and so both C u and C^-1 v are computed round by round with d numbers of
 * state, never with the n x n matrix:
 *
 *     y = C^-1 v:  y_t = v_t - sum_j omega_j s_j;  s_j <- theta_j s_j + y_t
 *
 * Data flow:  blt.h (matrix, sensitivity) -> blt_noise.h (noise of a round)
 *
 *     hearth_blt_pattern p = { .rounds = 1000, .separation = 250,
 *                              .participations = 4 };
 *     st = hearth_blt_fit(&b, 4, &p);
 *     sigma = z * clip * hearth_blt_sensitivity(&b, &p);
 *
 * Threads: pure functions.
 * Memory:  allocates nothing; d numbers of state on the stack.
 * Source:  McMahan, Xu, Zhang, A Hassle-free Algorithm for Strong Differential
 *          Privacy in Federated Learning Systems (BLT-DP-FTRL),
 *          arXiv:2408.08868; Denisov, McMahan, Rush, Smith, Thakurta, Improved
 *          Differential Privacy for SGD via Optimal Private Linear Operators
 *          on Adaptive Streams, arXiv:2202.08312.
 */
#ifndef HEARTH_PRIVACY_BLT_H
#define HEARTH_PRIVACY_BLT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/status.h"

#define HEARTH_BLT_MAX_BUFFERS 8
#define HEARTH_BLT_MAX_ROUNDS  ((uint32_t)1 << 16)

/* The matrix C.  Usable (hearth_blt_ok) when c is non-negative and does not
 * grow: every theta in [0, 1], every omega >= 0, their sum at most 1. */
typedef struct {
    unsigned n_buffers; /* 0 (C is the identity) to HEARTH_BLT_MAX_BUFFERS */
    double theta[HEARTH_BLT_MAX_BUFFERS]; /* decay of a buffer, a round */
    double omega[HEARTH_BLT_MAX_BUFFERS]; /* its weight */
} hearth_blt;

/* In which rounds one device may take part.  Whoever claims a figure enforces
 * this. */
typedef struct {
    uint32_t rounds;         /* n, 1 to HEARTH_BLT_MAX_ROUNDS */
    uint32_t separation;     /* b >= 1: rounds from one to the next, at least */
    uint32_t participations; /* k >= 1, at most */
} hearth_blt_pattern;

/* Standard deviation of the noise, for draws Z of standard deviation 1. */
typedef struct {
    double max;  /* of the last, and noisiest, prefix sum of n rounds */
    double rms;  /* root mean square over the n prefix sums */
    double step; /* of the last, and noisiest, single round */
    double most; /* what a single round can be at most, for |Z| <= 1 */
} hearth_blt_error;

bool hearth_blt_ok(const hearth_blt *b);
bool hearth_blt_pattern_ok(const hearth_blt_pattern *p);

/* out[n] = first column of C, or of its inverse: both are Toeplitz.
 * Returns HEARTH_OK, or HEARTH_EINVAL (out untouched). */
HEARTH_MUST_CHECK
hearth_status hearth_blt_column(const hearth_blt *b, double *out, uint32_t n);
HEARTH_MUST_CHECK
hearth_status hearth_blt_inverse(const hearth_blt *b, double *out, uint32_t n);

/* sens(C): the most by which one device can move C G, in units of its largest
 * contribution to one round, over every pattern of rounds that p allows:
 *
 *     sens^2 = sum over rounds t of (sum_{i<k, ib<=t} c_(t-ib))^2
 *
 * Rounded up by 1e-9.  Infinity for a bad argument.  The proof that no other
 * pattern is worse is in blt.c. */
double hearth_blt_sensitivity(const hearth_blt *b, const hearth_blt_pattern *p);

/* Errors over n rounds.  Infinities for a bad argument. */
hearth_blt_error hearth_blt_errors(const hearth_blt *b, uint32_t n);

/* A matrix with n_buffers >= 1 for p: starts from the square root of the
 * prefix-sum matrix (blt.c) and looks for a smaller sens(C) times error.max.
 * Any result is as private as hearth_blt_sensitivity says; how good the search
 * is decides the error only.  Takes time as 4,000 n n_buffers.
 *
 * Returns HEARTH_OK, or HEARTH_EINVAL (out: the identity). */
HEARTH_MUST_CHECK
hearth_status hearth_blt_fit(hearth_blt *out, unsigned n_buffers,
                             const hearth_blt_pattern *p);

#endif /* HEARTH_PRIVACY_BLT_H */

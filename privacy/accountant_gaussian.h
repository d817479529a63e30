/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/accountant_gaussian.h - the exact figure for T Gaussian rounds
 * without sampling, or for one with.
 *
 * Shown beside the ledger's figure, never charged: it is exact for continuous
 * Gaussian noise; that the discrete one may use it is argued, not yet proved,
 * in PRIVACY.md.
 *
 *     eps = hearth_gaussian_epsilon(2.4 / 2, 5, 1e-5);      // 9.17
 *
 * Threads: pure functions.
 * Memory:  allocates nothing.
 * Source:  Balle and Wang, Improving the Gaussian Mechanism for Differential
 *          Privacy, arXiv:1805.06530, Theorem 8.
 */
#ifndef HEARTH_PRIVACY_ACCOUNTANT_GAUSSIAN_H
#define HEARTH_PRIVACY_ACCOUNTANT_GAUSSIAN_H

/* Smallest epsilon >= 0 with delta(epsilon) <= delta, after rounds rounds.
 *
 *   z       sigma over sensitivity, as hearth_dp_z gives it; > 0
 *   rounds  >= 0; 0 gives 0
 *   delta   in (0, 1)
 *
 * Error below 1e-9 relative (tested against 60-digit values).  Infinity for a
 * bad z or delta. */
double hearth_gaussian_epsilon(double z, double rounds, double delta);

/* log of delta(epsilon), epsilon >= 0.  0 (delta = 1) for a bad argument. */
double hearth_gaussian_log_delta(double z, double rounds, double epsilon);

/* The same for one round in which each device takes part with probability
 * rate in (0, 1]: the larger of removing and adding one.
 *
 * Source: the hockey-stick divergence of the mixture, as in PRIVACY.md. */
double hearth_gaussian_epsilon_sampled(double z, double rate, double delta);

#endif /* HEARTH_PRIVACY_ACCOUNTANT_GAUSSIAN_H */

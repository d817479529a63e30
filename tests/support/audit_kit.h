/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/audit_kit.h - what an attacker finds who has seen many runs of
 * a mechanism in two worlds, from one number of each run: its score, in
 * standard deviations of the noise.
 *
 *     double eps = audit_epsilon(score, n, 1e-5);   // score[2][n]
 *     assert_true(eps <= claim);
 *     assert_true(audit_mu_holds(audit_mu(score, n), 1 / z, n));
 *
 * Source: lower bounds by counting: Jagielski, Ullman, Oprea, Auditing
 * Differentially Private Machine Learning, arXiv:2006.07709.
 */
#ifndef HEARTH_TESTS_AUDIT_KIT_H
#define HEARTH_TESTS_AUDIT_KIT_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>

/* Largest p with which k or fewer of n are still as likely as 2.5 %, by
 * Chernoff's bound: never below the exact (Clopper-Pearson) limit. */
static inline double audit_at_most(size_t k, size_t n) {
    double q = (double)k / (double)n, low = q, high = 1;
    for (int i = 0; i < 60; i++) {
        double p = (low + high) / 2;
        double kl = (q > 0 ? q * log(q / p) : 0) +
                    (q < 1 ? (1 - q) * log((1 - q) / (1 - p)) : 0);
        if (kl * (double)n < log(1 / 0.025))
            low = p;
        else
            high = p;
    }
    return high;
}

/* A lower bound of epsilon: the best of 120 thresholds, both ways round.
 * score[0] without the device (or with its opposite), score[1] with it. */
static inline double audit_epsilon(double *const score[2], size_t n,
                                   double delta) {
    double best = 0;
    for (int t = -60; t < 60; t++) {
        size_t above[2] = {0, 0};
        for (int w = 0; w < 2; w++)
            for (size_t k = 0; k < n; k++) above[w] += score[w][k] > t * 0.1;
        double hit = 1 - audit_at_most(n - above[1], n) - delta;
        double miss = 1 - audit_at_most(above[0], n) - delta;
        if (hit > 0) best = fmax(best, log(hit / audit_at_most(above[0], n)));
        if (miss > 0)
            best = fmax(best, log(miss / audit_at_most(n - above[1], n)));
    }
    return best;
}

/* The distance of the worlds in standard deviations of what was seen. */
static inline double audit_mu(double *const score[2], size_t n) {
    double mean[2] = {0}, var = 0;
    for (int w = 0; w < 2; w++) {
        for (size_t k = 0; k < n; k++) mean[w] += score[w][k] / (double)n;
        for (size_t k = 0; k < n; k++)
            var += pow(score[w][k] - mean[w], 2) / (2 * (double)n);
    }
    return (mean[1] - mean[0]) / sqrt(var);
}

/* Within 2 % above and 5 % below, or four standard deviations of what n runs
 * show: (2 + mu^2 / 4) / n is the variance. */
static inline bool audit_mu_holds(double mu, double claim, size_t n) {
    double spread = 4 * sqrt((2 + claim * claim / 4) / (double)n);
    return mu <= claim + fmax(0.02 * claim, spread) &&
           mu >= claim - fmax(0.05 * claim, spread);
}

#endif /* HEARTH_TESTS_AUDIT_KIT_H */

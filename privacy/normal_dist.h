/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/normal_dist.h - tails of the normal distribution that keep their
 * digits.
 *
 * Threads: pure functions.
 * Memory:  allocates nothing.
 */
#ifndef HEARTH_PRIVACY_NORMAL_DIST_H
#define HEARTH_PRIVACY_NORMAL_DIST_H

/* Mills' ratio Phi(x) / phi(x), x <= 0: 1.2533 at 0, about 1 / -x far out. */
double hearth_normal_mills(double x);

/* log Phi(x) for every x; 1e-15 relative where Phi(x) < 1/2. */
double hearth_normal_log_cdf(double x);

#endif /* HEARTH_PRIVACY_NORMAL_DIST_H */

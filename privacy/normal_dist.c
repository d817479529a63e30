/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/normal_dist.c - the contract is in normal_dist.h. */
#include "privacy/normal_dist.h"

#include <math.h>

static const double SQRT_2PI = 2.5066282746310005024;
static const double LOG_SQRT_2PI = 0.91893853320467274178;
static const double SQRT_HALF = 0.70710678118654752440;

/* Near 0 by erfc, else by the continued fraction
 * 1/(t + 1/(t + 2/(t + 3/(t + ...)))), t = -x, from its tail.  The farther out,
 * the fewer terms: the error of n of them falls as exp(-t sqrt(8 n)). */
double hearth_normal_mills(double x) {
    double t = -x;
    if (t < 4) return SQRT_2PI * 0.5 * erfc(t * SQRT_HALF) * exp(0.5 * t * t);
    int n = t < 8 ? 200 : t < 25 ? 40 : 10;
    double f = t;
    for (int k = n; k >= 1; k--) f = t + (double)k / f;
    return 1.0 / f;
}

double hearth_normal_log_cdf(double x) {
    if (x > -25) return log(0.5 * erfc(-x * SQRT_HALF));
    return -0.5 * x * x - LOG_SQRT_2PI + log(hearth_normal_mills(x));
}

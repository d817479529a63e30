/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/accountant_gaussian.c - the contract is in accountant_gaussian.h.
 *
 * With mu = sqrt(T) / z, a = mu/2 - eps/mu and b = a - mu:
 *
 *     delta(eps) = Phi(a) - e^eps Phi(b) = phi(a) (M(a) - M(b)),
 *
 * because e^eps phi(b) = phi(a); M = Phi / phi is Mills' ratio.  This form
 * never overflows and keeps its digits however large epsilon is.  For a > 0
 * (delta above 1/3 or so) M(a) could overflow and Phi(a) is used directly.
 */
#include "privacy/accountant_gaussian.h"

#include <math.h>
#include <stdbool.h>

static const double SQRT_2PI = 2.5066282746310005024;
static const double SQRT_HALF = 0.70710678118654752440;

/* Phi(x) / phi(x) for x <= 0: near 0 by erfc, else by the continued fraction
 * 1/(t + 1/(t + 2/(t + 3/(t + ...)))), t = -x, from its tail. */
static double mills(double x) {
    double t = -x;
    if (t < 4) return SQRT_2PI * 0.5 * erfc(t * SQRT_HALF) * exp(0.5 * t * t);
    double f = t;
    for (int k = 200; k >= 1; k--) f = t + (double)k / f;
    return 1.0 / f;
}

static bool good(double z, double rounds) {
    return isfinite(z) && z > 0 && isfinite(rounds) && rounds >= 0;
}

static double log_delta_of(double mu, double epsilon) {
    double a = 0.5 * mu - epsilon / mu, b = a - mu;
    double log_phi_a = -0.5 * a * a - log(SQRT_2PI);
    if (a <= 0) return log_phi_a + log(mills(a) - mills(b));
    double phi_a = exp(log_phi_a);
    if (b <= 0) return log(0.5 * erfc(-a * SQRT_HALF) - phi_a * mills(b));
    /* epsilon < 0 only; not reached from the public functions. */
    return 0.0;
}

double hearth_gaussian_log_delta(double z, double rounds, double epsilon) {
    if (!good(z, rounds) || !isfinite(epsilon) || epsilon < 0) return 0.0;
    if (rounds == 0) return -(double)INFINITY;
    return log_delta_of(sqrt(rounds) / z, epsilon);
}

double hearth_gaussian_epsilon(double z, double rounds, double delta) {
    if (!good(z, rounds) || !(delta > 0 && delta < 1)) return (double)INFINITY;
    if (rounds == 0) return 0.0;
    double mu = sqrt(rounds) / z, target = log(delta);
    if (!isfinite(mu * mu)) return (double)INFINITY;
    if (log_delta_of(mu, 0.0) <= target) return 0.0;
    /* delta(eps) <= Phi(a), and Phi(-x) <= exp(-x^2 / 2): this is enough. */
    double lo = 0.0, hi = mu * (0.5 * mu + sqrt(-2 * target)) + 1e-300;
    for (int i = 0; i < 200 && hi - lo > hi * 1e-15; i++) {
        double mid = lo + 0.5 * (hi - lo);
        if (log_delta_of(mu, mid) <= target)
            hi = mid;
        else
            lo = mid;
    }
    return hi;
}

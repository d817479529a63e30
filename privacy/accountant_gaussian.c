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

#include "privacy/normal_dist.h"

static const double SQRT_2PI = 2.5066282746310005024;
static const double SQRT_HALF = 0.70710678118654752440;

static bool good(double z, double rounds) {
    return isfinite(z) && z > 0 && isfinite(rounds) && rounds >= 0;
}

static double log_delta_of(double mu, double epsilon) {
    double a = 0.5 * mu - epsilon / mu, b = a - mu;
    double log_phi_a = -0.5 * a * a - log(SQRT_2PI);
    if (a <= 0)
        return log_phi_a + log(hearth_normal_mills(a) - hearth_normal_mills(b));
    double phi_a = exp(log_phi_a);
    if (b <= 0)
        return log(0.5 * erfc(-a * SQRT_HALF) - phi_a * hearth_normal_mills(b));
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

/* P = (1 - q) N(0) + q N(1) against Q = N(0).  With e' the Gaussian's own loss
 * at the output where the mixture's is epsilon, delta = q delta_G(e'): the
 * unsampled figure at delta / q, put through e = log(1 - q + q e^e'). */
static double epsilon_remove(double z, double q, double delta) {
    if (delta >= q) return 0.0;
    double e = hearth_gaussian_epsilon(z, 1, delta / q);
    if (e > 300) return e + log(q + (1 - q) * exp(-e));
    return log1p(q * expm1(e));
}

/* The other way: e = -log(1 - q + q e^-e'), delta = q e^(e - e') delta_G(e'),
 * which falls with e'; epsilon is below -log(1 - q). */
static double epsilon_add(double z, double q, double delta) {
    double lo = 0.0, hi = hearth_gaussian_epsilon(z, 1, delta) + 1e-300;
    double mu = 1 / z, target = log(delta) - log(q);
    if (log_delta_of(mu, 0.0) <= target) return 0.0;
    for (int i = 0; i < 200 && hi - lo > hi * 1e-15; i++) {
        double mid = lo + 0.5 * (hi - lo);
        double e = -log1p(q * expm1(-mid));
        if (e - mid + log_delta_of(mu, mid) <= target)
            hi = mid;
        else
            lo = mid;
    }
    return -log1p(q * expm1(-hi));
}

double hearth_gaussian_epsilon_sampled(double z, double rate, double delta) {
    if (!good(z, 1) || !(rate > 0 && rate <= 1) || !(delta > 0 && delta < 1))
        return (double)INFINITY;
    if (rate == 1) return hearth_gaussian_epsilon(z, 1, delta);
    double remove = epsilon_remove(z, rate, delta);
    double add = epsilon_add(z, rate, delta);
    return remove > add ? remove : add;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/accountant_rdp.c - orders, Poisson sampling and the conversion; the
 * contract is in accountant_rdp.h.
 *
 * Orders ascend.  Renyi divergence never falls with the order, so with R the
 * divergence at an integer order below, T R + log(1 - 1/alpha) - ... is less
 * than order alpha can give; when that is no better than the best so far the
 * order is left out.  (Fractional orders have upper bounds only, which may
 * fall.)  Leaving one out can only make epsilon larger.
 */
#include "privacy/accountant_rdp.h"

#include <math.h>
#include <stdbool.h>

#include "privacy/accountant_rdp_private.h"
#include "privacy/normal_dist.h"

#define TENTHS     99u /* 1.1 .. 10.9 */
#define INTEGERS   53u /* 11 .. 63 */
#define SERIES_MAX 1000

double hearth_rdp_order(size_t i) {
    static const double LAST[] = {128, 256, 512, 1024};
    if (i < TENTHS) return 1 + (double)(i + 1) / 10;
    i -= TENTHS;
    if (i < INTEGERS) return 11 + (double)i;
    i -= INTEGERS;
    return i < sizeof(LAST) / sizeof(*LAST) ? LAST[i] : 0.0;
}

/* log of E_Q[(P/Q)^alpha], alpha an integer: the binomial expansion of the
 * mixture, whose terms are moments of a log-normal variable. */
static double log_moment_integer(double z, double q, double alpha) {
    double log_q = log(q), log_p = log1p(-q), choose = 0;
    double sum = -(double)INFINITY;
    for (double i = 0; i <= alpha; i++) {
        double term = choose + i * log_q + (alpha - i) * log_p +
                      i * (i - 1) / (2 * z * z);
        sum = hearth_rdp__log_add(sum, term);
        choose += log((alpha - i) / (i + 1)); /* -inf after the last term */
    }
    return sum;
}

/* The same for any alpha: at z0 both parts of the mixture are equal, and each
 * side of it has a binomial series that converges.  Absolute values of the
 * binomials are taken: the later terms alternate, so this bounds the sum. */
static double log_moment_fractional(double z, double q, double alpha) {
    const double inf = (double)INFINITY;
    double log_q = log(q), log_p = log1p(-q), choose = 0;
    double z0 = z * z * (log_p - log_q) + 0.5;
    double top = -inf, sum = 0, last_left = -inf, last_right = -inf;
    for (int k = 0; k < SERIES_MAX; k++) {
        double i = k, j = alpha - i;
        double a = choose + i * log_q + j * log_p + i * (i - 1) / (2 * z * z) +
                   hearth_normal_log_cdf((z0 - i) / z);
        double b = choose + j * log_q + i * log_p + j * (j - 1) / (2 * z * z) +
                   hearth_normal_log_cdf((j - z0) / z);
        double larger = a > b ? a : b;
        if (larger > top) {
            sum *= exp(top - larger);
            top = larger;
        }
        sum += exp(a - top) + exp(b - top);
        if (a < last_left && b < last_right && larger < top - 30)
            return top + log(sum);
        last_left = a;
        last_right = b;
        choose += log(fabs(j) / (i + 1));
    }
    return inf;
}

static bool good(double z, double q, double alpha) {
    return isfinite(z) && z > 0 && q > 0 && q <= 1 && isfinite(alpha) &&
           alpha > 1;
}

double hearth_rdp_poisson_divergence(double z, double q, double alpha) {
    if (!good(z, q, alpha)) return (double)INFINITY;
    if (q == 1) return alpha / (2 * z * z);
    double moment = alpha == floor(alpha) && alpha <= SERIES_MAX * 10.0
                        ? log_moment_integer(z, q, alpha)
                        : log_moment_fractional(z, q, alpha);
    /* NaN (overflow of both of two terms) must not pass for small. */
    return moment >= 0       ? moment / (alpha - 1)
           : moment > -1e-12 ? 0.0
                             : (double)INFINITY;
}

double hearth_rdp_to_epsilon(double divergence, double alpha, double delta) {
    if (!(divergence >= 0) || !(alpha > 1) || !(delta > 0 && delta < 1))
        return (double)INFINITY;
    /* delta <= sqrt(1 - exp(-KL)), and KL is at most any order's figure. */
    if (delta * delta + expm1(-divergence) > 0) return 0.0;
    if (!(alpha > 1.01)) return (double)INFINITY;
    double e =
        divergence + log1p(-1 / alpha) - log(delta * alpha) / (alpha - 1);
    return e > 0 ? e : 0.0;
}

typedef double divergence_of(hearth_rdp_moments *m, double z, double q,
                             double alpha);

static double poisson(hearth_rdp_moments *m, double z, double q, double alpha) {
    (void)m;
    return hearth_rdp_poisson_divergence(z, q, alpha);
}

static hearth_status best(hearth_rdp_answer *out, divergence_of *f, double z,
                          double q, double rounds, double delta) {
    if (!out) return HEARTH_EINVAL;
    *out = (hearth_rdp_answer){(double)INFINITY, 0};
    if (!good(z, q, 2) || !isfinite(rounds) || rounds < 0 ||
        !(delta > 0 && delta < 1))
        return HEARTH_EINVAL;
    hearth_rdp_moments m;
    hearth_rdp__moments_init(&m);
    double below = 0; /* divergence at an integer order below this one */
    for (size_t i = 0; i < HEARTH_RDP_ORDERS; i++) {
        double alpha = hearth_rdp_order(i);
        if (hearth_rdp_to_epsilon(below, alpha, delta) > out->epsilon) continue;
        double total = rounds * f(&m, z, q, alpha);
        double e = hearth_rdp_to_epsilon(total, alpha, delta);
        if (e < out->epsilon) *out = (hearth_rdp_answer){e, alpha};
        if (isfinite(total) && alpha == floor(alpha)) below = total;
    }
    return HEARTH_OK;
}

hearth_status hearth_rdp_poisson(hearth_rdp_answer *out, double z, double q,
                                 double rounds, double delta) {
    return best(out, poisson, z, q, rounds, delta);
}

hearth_status hearth_rdp_swor(hearth_rdp_answer *out, double z, double q,
                              double rounds, double delta) {
    return best(out, hearth_rdp__swor, z, q, rounds, delta);
}

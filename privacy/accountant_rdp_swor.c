/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/accountant_rdp_swor.c - a cohort of fixed size without replacement;
 * the contract is in accountant_rdp.h.
 *
 * Theorem 27 of arXiv:1808.00087 for a Gaussian with cgf(x) = x (x+1) / 2 z^2:
 *
 *     E[(P/Q)^alpha] <= 1 + q^2 C(alpha, 2) min(4 (e^f - 1), 2 e^f)
 *                         + sum_{i=3}^alpha q^i C(alpha, i)
 *                           min(4 sqrt(B(lo) B(hi)), 2 e^cgf(i-1)),
 *
 * f = 1 / z^2 (the divergence of order 2), lo and hi the even numbers around i
 * (i itself when even), and B(k) = E_Q[(G/Q - 1)^k] for G = N(1, z^2), Q =
 * N(0, z^2).  The paper writes B(k) as the k-th forward difference of e^cgf,
 * whose terms cancel; here it is integrated, all terms positive.
 */
#include <math.h>

#include "privacy/accountant_rdp.h"
#include "privacy/accountant_rdp_private.h"

static double cgf(double z, double x) {
    return x * (x + 1) / (2 * z * z);
}

/* log of |e^(s u) - 1|^k times e^(-(u + s/2)^2 / 2): the integrand at u, the
 * loss in units of its own deviation s = 1 / z. */
static double log_integrand(double s, double k, double u) {
    double t = fabs(u + s / 2), a = fabs(expm1(s * u));
    return a > 0 ? k * log(a) - 0.5 * t * t : -(double)INFINITY;
}

/* The peak on one side of 0, where the logarithm is concave: bisection on its
 * slope, k s e^(su) / (e^(su) - 1) - u - s/2, which falls. */
static double peak(double s, double k, double lo, double hi) {
    for (int i = 0; i < 60; i++) {
        double mid = 0.5 * (lo + hi);
        double slope = k * s / -expm1(-s * mid) - mid - s / 2;
        if (slope > 0)
            lo = mid;
        else
            hi = mid;
    }
    return 0.5 * (lo + hi);
}

/* Trapezoid rule around a peak.  Second derivative of the logarithm <= -1, so
 * 9.5 on either side holds all but 1e-19 of it; the rule's own error for such
 * an entire function at this step is below 1e-15. */
static double log_area(double s, double k, double at, double side) {
    const double step = 0.25, reach = 9.5;
    double top = log_integrand(s, k, at), sum = 0;
    double first = ceil((at - reach) / step), last = floor((at + reach) / step);
    for (double i = first; i <= last; i++) {
        double u = i * step;
        if (u * side > 0) sum += exp(log_integrand(s, k, u) - top);
    }
    return top + log(sum * step);
}

static double log_moment_about_one(double z, double k) {
    const double log_sqrt_2pi = 0.91893853320467274178;
    double s = 1 / z;
    double right = peak(s, k, 1e-12, k * s + sqrt(k) + 4);
    double left = peak(s, k, -sqrt(k) - s - 4, -1e-12);
    double area = log_area(s, k, right, 1);
    if (log_integrand(s, k, left) > area - 40)
        area = hearth_rdp__log_add(area, log_area(s, k, left, -1));
    return area - log_sqrt_2pi;
}

void hearth_rdp__moments_init(hearth_rdp_moments *m) {
    for (int i = 0; i <= HEARTH_RDP_SWOR_EXACT / 2; i++)
        m->even[i] = (double)NAN;
}

/* log B(k), k even. */
static double recall(hearth_rdp_moments *m, double z, int k) {
    double *at = &m->even[k / 2];
    if (isnan(*at)) *at = log_moment_about_one(z, k);
    return *at;
}

/* log of the bound, alpha an integer >= 1. */
static double log_moment(hearth_rdp_moments *m, double z, double q, int alpha) {
    if (alpha == 1) return 0;
    double f = 1 / (z * z), n = alpha, log_q = log(q);
    double choose = log(n * (n - 1) / 2), sum = 0;
    double a = log(4.0) + f + log1p(-exp(-f)), b = log(2.0) + f;
    sum = hearth_rdp__log_add(sum, 2 * log_q + choose + (a < b ? a : b));
    for (int i = 3; i <= alpha; i++) {
        double term = log(2.0) + cgf(z, i - 1);
        choose += log((n - i + 1) / i);
        if (alpha <= HEARTH_RDP_SWOR_EXACT) {
            int lo = i - i % 2, hi = i + i % 2;
            double mean = 0.5 * (recall(m, z, lo) + recall(m, z, hi));
            if (log(4.0) + mean < term) term = log(4.0) + mean;
        }
        sum = hearth_rdp__log_add(sum, i * log_q + choose + term);
    }
    return sum;
}

double hearth_rdp_swor_divergence(double z, double q, double alpha) {
    hearth_rdp_moments m;
    hearth_rdp__moments_init(&m);
    return hearth_rdp__swor(&m, z, q, alpha);
}

double hearth_rdp__swor(hearth_rdp_moments *m, double z, double q,
                        double alpha) {
    if (!isfinite(z) || !(z > 0) || !(q > 0 && q <= 1) || !(alpha > 1) ||
        alpha > 1e6)
        return (double)INFINITY;
    if (q == 1) return alpha / (2 * z * z);
    int below = (int)floor(alpha);
    double part = alpha - below, moment = log_moment(m, z, q, below);
    /* The cumulant generating function is convex: the chord is above it. */
    if (part > 0)
        moment = (1 - part) * moment + part * log_moment(m, z, q, below + 1);
    return moment >= 0 ? moment / (alpha - 1) : (double)INFINITY;
}

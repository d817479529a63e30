/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/accountant_zcdp.c - the contract is in accountant_zcdp.h.
 *
 * With u = log(alpha - 1) the bound of Proposition 12 becomes
 *
 *     f(u) = rho alpha + u - L - (log(delta) + L) / (alpha - 1),
 *     L = log(alpha) = log1p(e^u),
 *
 * which loses nothing near alpha = 1.  {u : f(u) <= epsilon} is an interval
 * for each epsilon (the exponent of delta as a function of alpha is convex),
 * so a golden-section search finds the minimum.  Any u gives a valid epsilon:
 * stopping early errs upwards only.
 */
#include "privacy/accountant_zcdp.h"

#include <math.h>

const char *hearth_dp_relation_name(hearth_dp_relation r) {
    switch (r) {
    case HEARTH_DP_ZERO_OUT: return "zero-out";
    case HEARTH_DP_REPLACE_ONE: return "replace-one";
    }
    return "unknown";
}

double hearth_dp_z(double z, hearth_dp_relation r) {
    if (!isfinite(z) || z <= 0) return 0.0;
    if (r == HEARTH_DP_ZERO_OUT) return z;
    return r == HEARTH_DP_REPLACE_ONE ? z / 2 : 0.0;
}

double hearth_zcdp_rho(double z, hearth_dp_relation r) {
    double effective = hearth_dp_z(z, r);
    if (effective <= 0) return (double)INFINITY;
    return 0.5 / (effective * effective);
}

static double bound(double u, double rho, double log_delta) {
    double above_one = exp(u), log_alpha = log1p(above_one);
    return rho * (1 + above_one) + u - log_alpha -
           (log_delta + log_alpha) / above_one;
}

double hearth_zcdp_epsilon(double rho, double delta) {
    if (!(delta > 0 && delta < 1) || isnan(rho) || rho < 0 || isinf(rho))
        return (double)INFINITY;
    /* KL <= rho, and total variation <= sqrt(1 - exp(-KL)). */
    if (rho <= -log1p(-delta * delta)) return 0.0;

    const double ratio = 0.61803398874989485; /* 1 / golden ratio */
    double log_delta = log(delta), lo = -40, hi = 40;
    double a = hi - ratio * (hi - lo), b = lo + ratio * (hi - lo);
    double fa = bound(a, rho, log_delta), fb = bound(b, rho, log_delta);
    for (int i = 0; i < 100; i++) {
        if (fa <= fb) {
            hi = b, b = a, fb = fa;
            a = hi - ratio * (hi - lo);
            fa = bound(a, rho, log_delta);
        } else {
            lo = a, a = b, fa = fb;
            b = lo + ratio * (hi - lo);
            fb = bound(b, rho, log_delta);
        }
    }
    double best = fa < fb ? fa : fb;
    return best > 0 ? best : 0.0;
}

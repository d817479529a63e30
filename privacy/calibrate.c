/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/calibrate.c - bisection on log z; the contract is in calibrate.h. */
#include "privacy/calibrate.h"

#include <math.h>

#include "privacy/accountant_gaussian.h"

static const double Z_LOW = 1e-4, Z_HIGH = 1e8;

const char *hearth_method_name(hearth_method m) {
    switch (m) {
    case HEARTH_METHOD_ZCDP: return "zcdp";
    case HEARTH_METHOD_EXACT: return "exact";
    }
    return "unknown";
}

double hearth_account_epsilon(double z, uint32_t rounds, double delta,
                              hearth_dp_relation r, hearth_method m) {
    double effective = hearth_dp_z(z, r);
    if (effective <= 0) return (double)INFINITY;
    if (m == HEARTH_METHOD_EXACT)
        return hearth_gaussian_epsilon(effective, (double)rounds, delta);
    if (m != HEARTH_METHOD_ZCDP) return (double)INFINITY;
    return hearth_zcdp_epsilon((double)rounds * hearth_zcdp_rho(z, r), delta);
}

hearth_status hearth_calibrate_z(double *z, double epsilon, double delta,
                                 uint32_t rounds, hearth_dp_relation r,
                                 hearth_method m) {
    if (!z) return HEARTH_EINVAL;
    *z = 0;
    if (!isfinite(epsilon) || epsilon <= 0 || !(delta > 0 && delta < 1) ||
        rounds == 0 || hearth_dp_z(1.0, r) <= 0 ||
        (m != HEARTH_METHOD_ZCDP && m != HEARTH_METHOD_EXACT))
        return HEARTH_EINVAL;
    double lo = Z_LOW, hi = Z_HIGH;
    if (!(hearth_account_epsilon(hi, rounds, delta, r, m) <= epsilon) ||
        hearth_account_epsilon(lo, rounds, delta, r, m) <= epsilon)
        return HEARTH_EUNSUPPORTED;
    while (hi > lo * (1 + 5e-10)) {
        double mid = sqrt(lo * hi);
        if (hearth_account_epsilon(mid, rounds, delta, r, m) <= epsilon)
            hi = mid;
        else
            lo = mid;
    }
    *z = hi; /* the side that was tested */
    return HEARTH_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/epsilons.c - the contract is in epsilons.h.
 *
 * The coordinator sees each upload by itself: one device's own noise hides it,
 * and replacing its data moves the vector by up to 2 Delta2, so z / 2.  The
 * release shows the sums: the variance of n_min - 1 other devices adds up, so
 * z sqrt(n_min - 1) / 2 (the device's own noise is given away in this count,
 * because the one who looks may be a participant who knows a share of it).
 */
#include "privacy/epsilons.h"

#include <math.h>
#include <stdbool.h>

#include "privacy/accountant_gaussian.h"
#include "privacy/accountant_zcdp.h"
#include "privacy/calibrate.h"

static bool query_ok(const hearth_epsilons_query *q) {
    return q && isfinite(q->z) && q->z > 0 && q->delta > 0 && q->delta < 1 &&
           q->n_devices > 0 && q->n_min > 0;
}

double hearth_noise_to_signal_local(double z, uint64_t d, uint64_t n) {
    if (!isfinite(z) || z <= 0 || n == 0) return (double)INFINITY;
    return z * sqrt((double)d / (double)n);
}

double hearth_noise_spread(uint64_t bound_sq, uint64_t delta2_sq) {
    if (bound_sq == 0 || delta2_sq == 0) return 1.0;
    if (delta2_sq < bound_sq) return (double)INFINITY;
    return sqrt((double)delta2_sq / (double)bound_sq);
}

static double release_epsilon(const hearth_epsilons_query *q, hearth_method m) {
    if (q->participations == 0) return 0.0;
    double z = q->z * sqrt((double)(q->n_min - 1));
    return hearth_account_epsilon(z, q->participations, q->delta,
                                  HEARTH_DP_REPLACE_ONE, m);
}

hearth_status hearth_epsilons_local(const hearth_epsilons_query *q,
                                    hearth_epsilons *out) {
    const double inf = (double)INFINITY;
    if (!out) return HEARTH_EINVAL;
    *out = (hearth_epsilons){.epsilon_coordinator = inf,
                             .epsilon_release = inf,
                             .epsilon_coordinator_exact = inf,
                             .epsilon_release_exact = inf,
                             .noise_to_signal = inf,
                             .rho_per_round = inf,
                             .relation =
                                 hearth_dp_relation_name(HEARTH_DP_REPLACE_ONE),
                             .unit = HEARTH_PRIVACY_UNIT};
    if (!query_ok(q)) return HEARTH_EINVAL;
    const hearth_dp_relation r = HEARTH_DP_REPLACE_ONE;
    uint32_t t = q->participations;
    out->epsilon_coordinator =
        hearth_account_epsilon(q->z, t, q->delta, r, HEARTH_METHOD_ZCDP);
    out->epsilon_coordinator_exact =
        hearth_account_epsilon(q->z, t, q->delta, r, HEARTH_METHOD_EXACT);
    out->epsilon_release = release_epsilon(q, HEARTH_METHOD_ZCDP);
    out->epsilon_release_exact = release_epsilon(q, HEARTH_METHOD_EXACT);
    out->noise_to_signal =
        hearth_noise_to_signal_local(q->z, q->d, q->n_devices) *
        hearth_noise_spread(q->bound_sq, q->delta2_sq);
    out->rho_per_round = hearth_zcdp_rho(q->z, r);
    out->delta = q->delta;
    out->participations = t;
    return HEARTH_OK;
}

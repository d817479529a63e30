/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/accountant_rdp_private.h - what the two files of accountant_rdp
 * share. */
#ifndef HEARTH_PRIVACY_ACCOUNTANT_RDP_PRIVATE_H
#define HEARTH_PRIVACY_ACCOUNTANT_RDP_PRIVATE_H

#include <math.h>

/* Orders above this use the simpler bound. */
#define HEARTH_RDP_SWOR_EXACT 256

/* Moments about one that were worked out already: log B(2 i) at i, NaN when
 * not yet.  Belongs to one z. */
typedef struct {
    double even[HEARTH_RDP_SWOR_EXACT / 2 + 1];
} hearth_rdp_moments;

void hearth_rdp__moments_init(hearth_rdp_moments *m);

/* hearth_rdp_swor_divergence that remembers moments between orders. */
double hearth_rdp__swor(hearth_rdp_moments *m, double z, double q,
                        double alpha);

/* log(e^a + e^b). */
static inline double hearth_rdp__log_add(double a, double b) {
    double hi = a > b ? a : b, lo = a > b ? b : a;
    if (lo == -(double)INFINITY) return hi;
    return hi + log1p(exp(lo - hi));
}

#endif /* HEARTH_PRIVACY_ACCOUNTANT_RDP_PRIVATE_H */

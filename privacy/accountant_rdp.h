/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/accountant_rdp.h - Renyi accounting of sampled Gaussian rounds.
 *
 * Renyi divergences of rounds add up; a sum is converted to epsilon once, at
 * the best of 156 orders: 1.1, 1.2 .. 10.9, 11 .. 63, 128, 256, 512, 1024 (the
 * usual ones, so that figures compare with other accountants').
 *
 *     st = hearth_rdp_poisson(&r, 1.0, 0.01, 1000, 1e-5);   // 2.10 at 7.8
 *
 * z here is sigma over how far one change moves the sum: the caller halves it
 * for replace-one (hearth_dp_z).
 *
 * Threads: pure functions.
 * Memory:  allocates nothing.
 */
#ifndef HEARTH_PRIVACY_ACCOUNTANT_RDP_H
#define HEARTH_PRIVACY_ACCOUNTANT_RDP_H

#include <stddef.h>

#include "common/status.h"

#define HEARTH_RDP_ORDERS 156u

typedef struct {
    double epsilon; /* infinity when nothing can be said */
    double order;   /* the one that gave it; 0: none */
} hearth_rdp_answer;

/* Order number i < HEARTH_RDP_ORDERS, ascending. */
double hearth_rdp_order(size_t i);

/* Renyi divergence of order alpha > 1 of one Poisson-sampled Gaussian round,
 * each device taken independently with probability q; add, remove or zero out
 * one.
 *
 * Integer alpha: exact.  Fractional alpha: a series of positive terms, an
 * upper bound that agrees to 1e-13 or so.  q = 1: alpha / (2 z^2).  Infinity
 * for a bad argument or a series that does not end.
 *
 * Source: Mironov, Talwar, Zhang, arXiv:1908.10530, section 3.3. */
double hearth_rdp_poisson_divergence(double z, double q, double alpha);

/* The same for a cohort of exactly a share q of all devices, drawn without
 * replacement; replace one.  An upper bound.
 *
 * Source: Wang, Balle, Kasiviswanathan, arXiv:1808.00087, Theorem 27 and, for
 * fractional orders, Corollary 10. */
double hearth_rdp_swor_divergence(double z, double q, double alpha);

/* epsilon at delta of a mechanism with this divergence, at order alpha > 1.
 *
 * Source: Canonne, Kamath, Steinke, arXiv:2004.00010, Proposition 12. */
double hearth_rdp_to_epsilon(double divergence, double alpha, double delta);

/* The best order's epsilon after rounds rounds.
 *
 *   z       > 0
 *   q       in (0, 1]
 *   rounds  >= 0
 *   delta   in (0, 1)
 *
 * Returns HEARTH_OK, or HEARTH_EINVAL (epsilon infinite). */
HEARTH_MUST_CHECK
hearth_status hearth_rdp_poisson(hearth_rdp_answer *out, double z, double q,
                                 double rounds, double delta);
HEARTH_MUST_CHECK
hearth_status hearth_rdp_swor(hearth_rdp_answer *out, double z, double q,
                              double rounds, double delta);

#endif /* HEARTH_PRIVACY_ACCOUNTANT_RDP_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/accountant_zcdp.h - zero-concentrated accounting: what the ledger
 * charges.
 *
 * A draw of discrete Gaussian noise with noise multiplier z satisfies rho-zCDP
 * with rho = 1 / (2 z^2) for one zeroed-out device, and rho = 2 / z^2 when one
 * device's data is replaced (it moves the sum twice as far: z / 2).  Charges
 * add up; a sum is converted to epsilon once.
 *
 *     double rho = 5 * hearth_zcdp_rho(2.4, HEARTH_DP_REPLACE_ONE);
 *     double eps = hearth_zcdp_epsilon(rho, 1e-5);          // 9.84
 *
 * Threads: pure functions.
 * Memory:  allocates nothing.
 * Source:  Bun and Steinke, arXiv:1605.02065; Canonne, Kamath, Steinke,
 *          arXiv:2004.00010, Theorem 4 and Proposition 12.
 */
#ifndef HEARTH_PRIVACY_ACCOUNTANT_ZCDP_H
#define HEARTH_PRIVACY_ACCOUNTANT_ZCDP_H

/* How two data sets may differ. */
typedef enum {
    HEARTH_DP_ZERO_OUT = 0,   /* one device's vector is replaced by 0 */
    HEARTH_DP_REPLACE_ONE = 1 /* ... by any other allowed vector */
} hearth_dp_relation;

/* "zero-out" or "replace-one"; "unknown" for another value.  Static. */
const char *hearth_dp_relation_name(hearth_dp_relation r);

/* The multiplier to account with: z, or z / 2 for replace-one.  Infinity is
 * never returned; a z that is not finite or <= 0 gives 0 (no privacy). */
double hearth_dp_z(double z, hearth_dp_relation r);

/* rho of one round.  Infinity when z is not finite or <= 0. */
double hearth_zcdp_rho(double z, hearth_dp_relation r);

/* epsilon of rho-zCDP at delta, minimised over all orders alpha > 1.
 *
 *   rho    >= 0; 0 gives 0, infinity gives infinity
 *   delta  in (0, 1); anything else gives infinity
 *
 * Never below the minimum; at most 1e-9 (relative) above it. */
double hearth_zcdp_epsilon(double rho, double delta);

#endif /* HEARTH_PRIVACY_ACCOUNTANT_ZCDP_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/calibrate.h - the smallest z that meets a target epsilon.
 *
 *     st = hearth_calibrate_z(&z, 10.0, 1e-5, 5, HEARTH_DP_REPLACE_ONE,
 *                             HEARTH_METHOD_ZCDP);
 *
 * Threads: pure functions.
 * Memory:  allocates nothing.
 */
#ifndef HEARTH_PRIVACY_CALIBRATE_H
#define HEARTH_PRIVACY_CALIBRATE_H

#include <stdint.h>

#include "common/status.h"
#include "privacy/accountant_zcdp.h"

typedef enum {
    HEARTH_METHOD_ZCDP = 0, /* what the ledger charges */
    HEARTH_METHOD_EXACT = 1 /* continuous Gaussian, closed form */
} hearth_method;

/* "zcdp" or "exact"; "unknown" otherwise.  Static. */
const char *hearth_method_name(hearth_method m);

/* epsilon of rounds rounds with multiplier z under relation r.  Infinity for a
 * bad argument. */
double hearth_account_epsilon(double z, uint32_t rounds, double delta,
                              hearth_dp_relation r, hearth_method m);

/* *z = the smallest multiplier, within 1e-9 relative, whose epsilon is <= the
 * target; the returned z always satisfies it.
 *
 *   epsilon > 0, delta in (0, 1), rounds >= 1
 *
 * Returns HEARTH_OK, HEARTH_EINVAL (*z = 0), or HEARTH_EUNSUPPORTED when no z
 * in [1e-4, 1e8] is the answer (*z = 0). */
HEARTH_MUST_CHECK
hearth_status hearth_calibrate_z(double *z, double epsilon, double delta,
                                 uint32_t rounds, hearth_dp_relation r,
                                 hearth_method m);

#endif /* HEARTH_PRIVACY_CALIBRATE_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/calibrate.h - the smallest z that meets a target epsilon.
 *
 *     st = hearth_calibrate_z(&z, 10.0, 1e-5, 5, HEARTH_DP_REPLACE_ONE,
 *                             HEARTH_METHOD_ZCDP);
 *
 * Threads: pure functions.
 * Memory:  as hearth_account.
 */
#ifndef HEARTH_PRIVACY_CALIBRATE_H
#define HEARTH_PRIVACY_CALIBRATE_H

#include <stdint.h>

#include "common/status.h"
#include "privacy/accountant.h"

/* query->z = the smallest multiplier whose epsilon is <= the target, and *out
 * the answer at that z, which always satisfies it.
 *
 *   epsilon  > 0
 *   query    everything but z is read
 *
 * Within 1e-9 relative of the smallest; 2e-5 for pld, whose grid differs a
 * little from z to z.
 *
 * Returns as hearth_account, and HEARTH_EUNSUPPORTED when no z in [1e-4, 1e8]
 * is the answer.  query->z is 0 then. */
HEARTH_MUST_CHECK
hearth_status hearth_calibrate(hearth_account_query *query, double epsilon,
                               hearth_account_answer *out,
                               const hearth_alloc *alloc, hearth_error *err);

/* The same without sampling and without memory: methods zcdp, exact and rdp.
 *
 * Returns HEARTH_OK, HEARTH_EINVAL (*z = 0), or HEARTH_EUNSUPPORTED when no z
 * in [1e-4, 1e8] is the answer (*z = 0). */
HEARTH_MUST_CHECK
hearth_status hearth_calibrate_z(double *z, double epsilon, double delta,
                                 uint32_t rounds, hearth_dp_relation r,
                                 hearth_method m);

#endif /* HEARTH_PRIVACY_CALIBRATE_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_task.h - a scenario as the TASK.ini of a coordinator, and
 * as the policy of the devices.
 *
 * Threads: pure functions.
 */
#ifndef HEARTH_TESTS_FLEET_TASK_H
#define HEARTH_TESTS_FLEET_TASK_H

#include "client/device/policy.h"
#include "tests/fleet/fleet_lab.h"

#define HEARTH_FLEET_TASK "fleet"

/* z that the offers of a run without noise name: the seam draws none. */
#define HEARTH_FLEET_NOMINAL_Z 2.0

/* Fewest and most devices of a round: the scenario's, or all. */
void hearth_fleet_task_count(const hearth_fleet_lab *lab, uint32_t *min,
                             uint32_t *max);

/* Append the TASK.ini.  HEARTH_OK, HEARTH_EINVAL, HEARTH_ENOMEM. */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_task_ini(hearth_buf *b, const hearth_fleet_lab *lab,
                                    bool control);

/* The policy of every virtual device.  Loosened where a simulation would
 * otherwise not run: cohort, spacing, participations, delta, and, because a
 * scenario may ask what a larger epsilon buys, the caps. */
void hearth_fleet_task_policy(hearth_policy *p,
                              const hearth_fleet_scenario *sc);

#endif /* HEARTH_TESTS_FLEET_TASK_H */

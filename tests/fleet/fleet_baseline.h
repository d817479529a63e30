/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_baseline.h - what federated training is compared with.
 *
 *   base     the model as it is
 *   local    each device alone: the same adapter, steps and rate as its
 *            federated training in all rounds together, kept where its own
 *            validation records were best
 *   central  one trainer over everybody's training records, the same adapter
 *            shape, until the pooled validation records stop improving; the
 *            adapter of the best point counts
 *
 * Threads: one; compute runs on lab->pool.
 */
#ifndef HEARTH_TESTS_FLEET_BASELINE_H
#define HEARTH_TESTS_FLEET_BASELINE_H

#include "tests/fleet/fleet_lab.h"
#include "tests/fleet/fleet_output.h"

/* Run the baselines that the scenario asks for and add their rows to o.
 * Errors as those of training and evaluation. */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_baselines_run(const hearth_fleet_lab *lab,
                                         hearth_fleet_output *o,
                                         hearth_error *err);

#endif /* HEARTH_TESTS_FLEET_BASELINE_H */

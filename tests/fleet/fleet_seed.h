/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_seed.h - everything of one seed: baselines, the federated
 * run, the control.
 *
 * Threads: one.
 */
#ifndef HEARTH_TESTS_FLEET_SEED_H
#define HEARTH_TESTS_FLEET_SEED_H

#include "tests/fleet/fleet_lab.h"
#include "tests/fleet/fleet_output.h"

/* Run one seed and write its files to dir.  quiet: nothing on stderr. */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_seed_run(const hearth_fleet_scenario *sc,
                                    const hearth_fleet_population *people,
                                    uint64_t seed, const char *dir, bool quiet,
                                    const hearth_alloc *al, hearth_error *err);

#endif /* HEARTH_TESTS_FLEET_SEED_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_run.h - a whole run: every seed, every method, one
 * directory of results.
 *
 *   DIR/scenario.ini   the scenario with every default written out
 *   DIR/run.json       seeds, version, kernels, people, parameters, when
 *   DIR/metrics.jsonl ..., DIR/report.html   see fleet_metrics.h
 *   DIR/seed-N/        the rows of one seed
 *
 * Threads: seeds run in processes of their own, `jobs` at a time.
 */
#ifndef HEARTH_TESTS_FLEET_RUN_H
#define HEARTH_TESTS_FLEET_RUN_H

#include "tests/fleet/fleet_records.h"
#include "tests/fleet/fleet_report.h"
#include "tests/fleet/fleet_scenario.h"

typedef struct {
    const char *scenario;    /* file */
    const char *const *sets; /* [n_sets] section.key=value */
    size_t n_sets;
    const char *out; /* directory; must not hold a run yet */
    bool quiet;
    bool resume; /* out may hold a part, or all, of this very run: what is
                    there is kept, seed by seed */
} hearth_fleet_run_options;

/* Read a scenario and work out what depends on more than the file: the noise
 * of an epsilon. Errors as hearth_fleet_scenario_load. */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_run_scenario(hearth_fleet_scenario **out,
                                        const char *path,
                                        const char *const *sets, size_t n_sets,
                                        const hearth_alloc *al,
                                        hearth_error *err);

/* What the scenario and its people must agree on before anything runs: the model
 * is there, and a round can have its fewest devices.
 * Returns HEARTH_OK, HEARTH_ENOTFOUND or HEARTH_EINVAL. */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_run_check(const hearth_fleet_scenario *sc,
                                     const hearth_fleet_population *people,
                                     hearth_error *err);

/* Run it all, write the report and append its table to text.
 * Returns HEARTH_OK, HEARTH_EEXISTS (out holds a run, or another one), or the error of the part
 * that failed; what was finished stays. */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_run(const hearth_fleet_run_options *opt,
                               hearth_buf *text, const hearth_alloc *al,
                               hearth_error *err);

/* Write report.html of a run directory and append its table to text. */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_run_report(const char *dir, hearth_buf *text,
                                      hearth_fleet_summary *summary,
                                      const hearth_alloc *al,
                                      hearth_error *err);

#endif /* HEARTH_TESTS_FLEET_RUN_H */

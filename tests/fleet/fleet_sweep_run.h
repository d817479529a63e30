/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_sweep_run.h - run every cell of a sweep.
 *
 *   DIR/sweep.ini      the scenario file as it was given
 *   DIR/cells/NAME/    the run of one cell (fleet_run.h)
 *   DIR/sweep.csv      a row for each cell that is there
 *   DIR/report.html    charts and a table of them
 *
 * Run again with the same DIR and it goes on where it was: finished cells, and
 * finished seeds of the others, are kept.
 *
 * Threads: as fleet_run.h.
 */
#ifndef HEARTH_TESTS_FLEET_SWEEP_RUN_H
#define HEARTH_TESTS_FLEET_SWEEP_RUN_H

#include "tests/fleet/fleet_run.h"
#include "tests/fleet/fleet_sweep.h"

/* Run what is missing, write the report, append its table to text.  opt->sets go
 * over the file and under a cell's own; opt->resume is taken as true.
 * A cell that fails is named on stderr and the others are run all the same; the
 * last failure is returned then.  Errors as hearth_fleet_run. */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_sweep_run(const hearth_fleet_run_options *opt,
                                     const hearth_fleet_sweep *sw,
                                     hearth_buf *text, const hearth_alloc *al,
                                     hearth_error *err);

/* Is dir one of a sweep? */
bool hearth_fleet_sweep_is_dir(const char *dir);

/* Write sweep.csv and report.html from the finished cells of dir, and append the
 * table to text.  HEARTH_ENOTFOUND: no cell is finished. */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_sweep_report(const char *dir, hearth_buf *text,
                                        const hearth_alloc *al,
                                        hearth_error *err);

#endif /* HEARTH_TESTS_FLEET_SWEEP_RUN_H */

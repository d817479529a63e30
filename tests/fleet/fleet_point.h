/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_point.h - one cell of a sweep as numbers, and all of them as
 * a table, a CSV file and a page with charts.
 *
 * Data flow:  cells' directories -> [fleet_point] -> sweep.csv, report.html
 *
 * What a cell reached is measured on the unseen people where there are any, else
 * on the devices' hold-outs.  Per seed: the mean over people of the loss after
 * the last round, and of the gain over the loss before the first (paired, person
 * by person).  A point is the mean over seeds with the range over seeds, because
 * a seed draws the noise; the interval over people stands beside it.
 *
 * Threads: pure but for reading files.   Memory: the caller's array and buffers.
 */
#ifndef HEARTH_TESTS_FLEET_POINT_H
#define HEARTH_TESTS_FLEET_POINT_H

#include <stddef.h>
#include <stdint.h>

#include "tests/fleet/fleet_metrics.h"
#include "tests/fleet/fleet_stats.h"

typedef struct {
    char name[128]; /* of the cell's folder */
    uint64_t devices, parameters, rounds;
    double z, clip, delta; /* z 0: no noise, not private */
    double epsilon_coordinator, epsilon_release, noise_to_signal; /* or NaN */
    size_t n_seeds, n_people;
    double base;                          /* loss before the first round */
    double loss, loss_low, loss_high;     /* mean, range over seeds */
    double gain, gain_low, gain_high;     /* the same of base - loss */
    hearth_fleet_interval gain_of_people; /* 95 %, over people */
} hearth_fleet_point;

/* Read the run directory dir; name is copied.
 * Errors as hearth_fleet_results_load, and HEARTH_EFORMAT where run.json,
 * scenario.ini or the losses of the first and the last round are not there. */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_point_load(hearth_fleet_point *out, const char *dir,
                                      const char *name, const hearth_alloc *al,
                                      hearth_error *err);

/* By parameters, clip (largest first), devices, and from much noise to none. */
void hearth_fleet_points_sort(hearth_fleet_point *p, size_t n);

/* Append a Markdown table, a CSV file, a page.  title and scenario (the text of
 * the scenario file) are escaped.  HEARTH_OK, HEARTH_ENOMEM. */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_points_text(hearth_buf *b,
                                       const hearth_fleet_point *p, size_t n);
HEARTH_MUST_CHECK
hearth_status hearth_fleet_points_csv(hearth_buf *b,
                                      const hearth_fleet_point *p, size_t n);
HEARTH_MUST_CHECK
hearth_status hearth_fleet_points_html(hearth_buf *b, const char *title,
                                       const char *scenario,
                                       const hearth_fleet_point *p, size_t n,
                                       const hearth_alloc *al);

#endif /* HEARTH_TESTS_FLEET_POINT_H */

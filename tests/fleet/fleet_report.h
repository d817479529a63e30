/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_report.h - what a run says: tables and report.html.
 *
 * The statistics: for each device the mean of its losses over the seeds is one
 * unit; a gain is the paired difference of two methods on the same devices; the
 * interval is a 95 % bootstrap over devices.
 *
 * Threads: pure.   Memory: appends to the caller's buffer, scratch from al.
 */
#ifndef HEARTH_TESTS_FLEET_REPORT_H
#define HEARTH_TESTS_FLEET_REPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"
#include "tests/fleet/fleet_metrics.h"
#include "tests/fleet/fleet_stats.h"

/* Last state of one method on one split. */
typedef struct {
    bool present;
    hearth_fleet_interval loss;         /* over devices */
    hearth_fleet_interval gain;         /* base minus this; n == 0: no base */
    hearth_fleet_interval over_control; /* control minus this; n == 0: none */
    size_t n_seeds;
} hearth_fleet_summary_cell;

typedef struct {
    hearth_fleet_summary_cell cell[HEARTH_FLEET_N_METHODS]
                                  [HEARTH_FLEET_N_SPLITS];
    double share_of_central; /* mean gain of federated / of central on the
                                hold-out; NaN when one is missing */
    double noise_to_signal, epsilon_coordinator,
        epsilon_release; /* last round */
    double epsilon_release_devices, epsilon_release_server,
        noise_to_signal_server; /* same; server 0: the releases have the
                                   devices' noise only */
} hearth_fleet_summary;

/* HEARTH_OK, HEARTH_ENOMEM, HEARTH_ENONFINITE. */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_summarise(hearth_fleet_summary *out,
                                     const hearth_fleet_results *r,
                                     const hearth_alloc *al);

/* Append the table for a terminal (Markdown, so that it can be pasted). */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_summary_text(hearth_buf *b,
                                        const hearth_fleet_summary *s);

/* Append the page: self-contained, light and dark, no script, no link out.
 * title and scenario (the resolved scenario's text) are escaped. */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_report_html(hearth_buf *b, const char *title,
                                       const char *scenario,
                                       const hearth_fleet_results *r,
                                       const hearth_alloc *al);

/* Append the head of a page, up to its title; a failed buffer stays failed. */
void hearth_fleet_page_head(hearth_buf *b, const char *title);

/* Append a table of several runs, one a row: dirs[i] gives its name. */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_compare_text(hearth_buf *b, const char *const *names,
                                        const hearth_fleet_summary *s,
                                        size_t n);

#endif /* HEARTH_TESTS_FLEET_REPORT_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_output.h - where the rows of one seed go.
 *
 * Rows are gathered in memory and written, atomically, when the seed is done;
 * the parent of several jobs joins their files in the order of the seeds.
 *
 * Threads: one.
 * Memory:  all rows of a seed.
 */
#ifndef HEARTH_TESTS_FLEET_OUTPUT_H
#define HEARTH_TESTS_FLEET_OUTPUT_H

#include "common/buf.h"
#include "tests/fleet/fleet_lab.h"
#include "tests/fleet/fleet_metrics.h"

/* In the order of the names below. */
enum {
    HEARTH_FLEET_OUT_METRICS,
    HEARTH_FLEET_OUT_CSV,
    HEARTH_FLEET_OUT_DEVICES,
    HEARTH_FLEET_OUT_BASELINES,
    HEARTH_FLEET_OUT_BASELINE_DEVICES,
    HEARTH_FLEET_N_OUT
};

typedef struct {
    uint64_t seed;
    bool quiet;
    hearth_buf buf[HEARTH_FLEET_N_OUT];
} hearth_fleet_output;

void hearth_fleet_output_init(hearth_fleet_output *o, uint64_t seed,
                              const hearth_alloc *al);
void hearth_fleet_output_free(hearth_fleet_output *o);

/* "metrics.jsonl" .. of an index above.  Static. */
const char *hearth_fleet_output_name(int index);

/* The rows of one measured round of the federated run: *row with the losses of
 * m, and one row a person. */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_output_round(hearth_fleet_output *o,
                                        const hearth_fleet_lab *lab,
                                        hearth_fleet_metric *row,
                                        const hearth_fleet_measure *m);

/* The rows of one measured baseline; people == true: also one a person. */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_output_baseline(
    hearth_fleet_output *o, const hearth_fleet_lab *lab,
    hearth_fleet_method method, hearth_fleet_split split, uint64_t step,
    const hearth_fleet_measure *m, bool people);

/* Write all files to dir. */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_output_write(const hearth_fleet_output *o,
                                        const char *dir, hearth_error *err);

/* Join the files of n seeds' folders into dir, in the order given. */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_output_join(const char *dir, const char *const *from,
                                       size_t n, const hearth_alloc *al,
                                       hearth_error *err);

/* Write b to dir/name; a buffer that failed is HEARTH_ENOMEM. */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_output_put(const char *dir, const char *name,
                                      const hearth_buf *b, hearth_error *err);

#endif /* HEARTH_TESTS_FLEET_OUTPUT_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_records.h - whose records are whose: load a file, cut it
 * into people, hold out some of each.
 *
 * Data flow:  file -> [fleet_records] -> devices' record stores, hold-outs
 *
 * A record is one line of JSON in a form that `hearth records import` reads, so
 * that a virtual device gets it through the very same import.
 *
 *     hearth_fleet_population *p;
 *     st = hearth_fleet_records_load(&p, &scenario, al, err);
 *     for (size_t i = 0; i < p->n_people; i++) use(&p->person[i]);
 *     hearth_fleet_population_free(p);
 *
 * Threads: immutable after load.
 * Memory:  all texts in memory, from al.
 */
#ifndef HEARTH_TESTS_FLEET_RECORDS_H
#define HEARTH_TESTS_FLEET_RECORDS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/alloc.h"
#include "common/error.h"
#include "common/status.h"
#include "tests/fleet/fleet_scenario.h"

#define HEARTH_FLEET_MAX_RECORDS ((size_t)1 << 22)
#define HEARTH_FLEET_MAX_BYTES   ((size_t)1 << 30)

/* One person's records.  line[0 .. n_train) may be trained on; the rest, to
 * n_lines, is held out.  An unseen person has n_train == 0. */
typedef struct {
    char *name;  /* role, person id, or "device-7" for iid */
    char **line; /* [n_lines] JSON, in the order of the records */
    size_t n_lines, n_train;
    size_t n_bytes; /* of all lines; what "largest" means */
    bool unseen;    /* takes no part; only evaluated */
} hearth_fleet_person;

/* Taking part first (largest first), then the unseen (largest first). */
typedef struct {
    hearth_fleet_person *person; /* [n_people] */
    size_t n_people, n_unseen;
    size_t n_found, n_small; /* people in the file; below min_records */
    const hearth_alloc *al;
} hearth_fleet_population;

/* Load and cut as the scenario's [records] says.
 *
 * Returns HEARTH_OK
 *         HEARTH_EINVAL    a NULL argument, or settings that contradict
 *         HEARTH_ENOTFOUND no such file, or fewer people than asked for
 *         HEARTH_EFORMAT   the file or its template; err says where
 *         HEARTH_ETOOBIG   above the limits of this header
 *         HEARTH_EUNSUPPORTED a partition of a later version
 *         HEARTH_EIO, HEARTH_ENOMEM */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_records_load(hearth_fleet_population **out,
                                        const hearth_fleet_scenario *sc,
                                        const hearth_alloc *al,
                                        hearth_error *err);

void hearth_fleet_population_free(hearth_fleet_population *p);

#endif /* HEARTH_TESTS_FLEET_RECORDS_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_sweep.h - the [sweep] sections of a scenario: one file, many
 * runs.
 *
 * Each section, [sweep] or [sweep.NAME], is a grid of its own: every combination
 * of the values of its keys is a cell, and a cell is a list of settings to put
 * over the rest of the file.
 *
 *     [sweep.devices]
 *     records.devices = 16,64,256
 *     privacy.epsilon = 0,2,10              ; 0: no noise
 *     [sweep.parameters]
 *     model.targets = q_proj,v_proj | attn  ; values with commas: put | between
 *
 * The first key varies slowest.  A cell that two sections name is there once.
 *
 *     hearth_fleet_sweep *sw;
 *     st = hearth_fleet_sweep_load(&sw, path, al, err);
 *     for (size_t i = 0; i < sw->n; i++) run(sw->cell[i].set ..);
 *     hearth_fleet_sweep_free(sw);
 *
 * Threads: immutable after load.   Memory: from al.
 */
#ifndef HEARTH_TESTS_FLEET_SWEEP_H
#define HEARTH_TESTS_FLEET_SWEEP_H

#include <stddef.h>

#include "common/alloc.h"
#include "common/error.h"
#include "common/status.h"

#define HEARTH_FLEET_MAX_CELLS     256
#define HEARTH_FLEET_MAX_CELL_SETS 8

typedef struct {
    char name[128]; /* of its folder: "devices-16_epsilon-2" */
    /* [n_sets] "records.devices=16": what --set takes */
    char set[HEARTH_FLEET_MAX_CELL_SETS][256];
    size_t n_sets;
} hearth_fleet_cell;

typedef struct {
    hearth_fleet_cell *cell; /* [n]; n == 0: the file sweeps nothing */
    size_t n;
    const hearth_alloc *al;
} hearth_fleet_sweep;

/* The cells of a scenario file.  Only the form of the sections is looked at: a
 * cell's settings are checked when it is parsed with the rest of the file.
 *
 * Returns HEARTH_OK
 *         HEARTH_ENOTFOUND  no such file
 *         HEARTH_EFORMAT    not settings, a key that is not section.key, an
 *                           empty value, two values with one folder name
 *         HEARTH_ETOOBIG    too many cells or keys, or too long a name
 *         HEARTH_EIO, HEARTH_ENOMEM */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_sweep_load(hearth_fleet_sweep **out,
                                      const char *path, const hearth_alloc *al,
                                      hearth_error *err);

/* The same from text [n]; name is used in messages. */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_sweep_parse(hearth_fleet_sweep **out,
                                       const char *name, const char *text,
                                       size_t n, const hearth_alloc *al,
                                       hearth_error *err);

void hearth_fleet_sweep_free(hearth_fleet_sweep *sw);

#endif /* HEARTH_TESTS_FLEET_SWEEP_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_world.h - one coordinator and its virtual devices.
 *
 * The coordinator's core and the devices' participants are the shipped code;
 * here are the keys, the task, the policy that lets a simulation happen, the
 * virtual clock, and who is slow or vanishes.
 *
 * A run is a sequence of events in virtual time: the device whose turn comes
 * first makes one tick of its participant, and its next turn is later by what
 * that tick costs its class (training by tokens_per_second, transfers by kbps)
 * or by what it asked to wait.  A device that accepts an offer draws its
 * randomness for that round from (seed, device, round) only, so the same round
 * has the same noise whatever happened before.
 *
 *     hearth_fleet_world *w;
 *     st = hearth_fleet_world_open(&w, &lab, seed, dir, control, err);
 *     while (!hearth_fleet_world_done(w)) {
 *         st = hearth_fleet_world_round(w, &row, err);   // one round
 *         st = hearth_fleet_world_adapter(w, &adapter, err);
 *     }
 *     hearth_fleet_world_close(w);
 *
 * Threads: one; compute runs on lab->pool.
 * Memory:  a database in memory for each device; one trainer at a time.
 */
#ifndef HEARTH_TESTS_FLEET_WORLD_H
#define HEARTH_TESTS_FLEET_WORLD_H

#include "tests/fleet/fleet_lab.h"
#include "tests/fleet/fleet_metrics.h"

typedef struct hearth_fleet_world hearth_fleet_world;

/* Make keys, coordinator (state under dir, emptied first), task and devices.
 * control: every delta is set to zero before it is clipped, and no time is
 * spent on training it.
 *
 * Returns HEARTH_OK, or the error of the part that failed. */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_world_open(hearth_fleet_world **out,
                                      const hearth_fleet_lab *lab,
                                      uint64_t seed, const char *dir,
                                      bool control, hearth_error *err);
void hearth_fleet_world_close(hearth_fleet_world *w);

/* The clip of the newest round; 0: none was opened yet. */
double hearth_fleet_world_clip(const hearth_fleet_world *w);

/* All rounds of the task are released, or too many failed. */
bool hearth_fleet_world_done(const hearth_fleet_world *w);

/* HEARTH_OK when every round that was asked for is released, else
 * HEARTH_ETIMEOUT with what the devices said last. */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_world_check(const hearth_fleet_world *w,
                                       hearth_error *err);

/* Let time pass until the present round is released or failed.  *row gets
 * everything but the losses, split and wall_seconds; its round counts the
 * rounds run so far, from 1.
 * Returns HEARTH_OK, HEARTH_ETIMEOUT (a round that never ends: err says what
 * the devices said last), or the error of the part that failed. */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_world_round(hearth_fleet_world *w,
                                       hearth_fleet_metric *row,
                                       hearth_error *err);

/* The adapter of the newest release; the caller's. */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_world_adapter(hearth_fleet_world *w,
                                         hearth_adapter **out,
                                         hearth_error *err);

/* Virtual seconds since the start. */
double hearth_fleet_world_seconds(const hearth_fleet_world *w);

#endif /* HEARTH_TESTS_FLEET_WORLD_H */

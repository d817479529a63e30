/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_release.h - the coordinator's own noise on its releases,
 * and the rules that its price assumes.
 *
 * Data flow:  sum of noised uploads -> [+ blt_noise] -> server step -> release
 *
 * hearth-fleet is linked with --wrap=hearth_server_opt_step: the coordinator's
 * core calls the function of this file, which adds the noise of privacy/
 * blt_noise.h to the sum and calls the real one.  What devices do, and what the
 * coordinator sees of them, is the same with and without it.  The sensitivity
 * holds for a device that rests `release_separation` rounds and takes part in at
 * most `release_participations`: the world gives a device that rests no turn,
 * its ledger refuses one more participation, and a release that broke either
 * rule ends the run.
 *
 * Threads: one.   Memory: n_buffers doubles a coordinate; wiped at the end.
 */
#ifndef HEARTH_TESTS_FLEET_RELEASE_H
#define HEARTH_TESTS_FLEET_RELEASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/server_opt.h"
#include "privacy/blt_noise.h"
#include "proto/messages.h"
#include "tests/fleet/fleet_metrics.h"
#include "tests/fleet/fleet_scenario.h"

#define HEARTH_FLEET_RELEASE_STREAM (UINT64_MAX - 1) /* of the seeded rng */

typedef struct hearth_fleet_release hearth_fleet_release;

/* The mechanism of a scenario for a task's bounds; state [n_buffers * d].
 * Returns HEARTH_OK, or what hearth_blt_noise_init returns. */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_release_mechanism(hearth_blt_noise *m,
                                             const hearth_fleet_scenario *sc,
                                             const hearth_wire_privacy *p,
                                             double *state);

/* Add noise to every server step from now until close.  One at a time.
 * Returns HEARTH_OK, HEARTH_EINVAL (a part of the vector would be seen without
 * it), HEARTH_ETOOBIG, HEARTH_ENOMEM. */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_release_open(hearth_fleet_release **out,
                                        const hearth_fleet_scenario *sc,
                                        const hearth_wire_privacy *p,
                                        uint64_t seed, size_t n_devices,
                                        const hearth_alloc *al,
                                        hearth_error *err);
void hearth_fleet_release_close(hearth_fleet_release *r);

/* Must this device leave the present round alone?  NULL: never. */
bool hearth_fleet_release_rests(const hearth_fleet_release *r, size_t device);

/* Its upload is in the present round.  NULL: nothing to remember. */
void hearth_fleet_release_took_part(hearth_fleet_release *r, size_t device);

/* The round is over: released, or failed and nobody's counts.
 * Returns HEARTH_OK, or HEARTH_EINVAL (the rules were broken, or a release had
 * no noise). */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_release_end_round(hearth_fleet_release *r,
                                             bool released, hearth_error *err);

/* Put the figures into a row that has those of the devices' noise alone.
 *   n_min           fewest devices of a round
 *   participations  of the device that spent most */
void hearth_fleet_release_figures(const hearth_fleet_release *r,
                                  hearth_fleet_metric *row, uint64_t n_min,
                                  uint32_t participations);

/* What the linker puts in the place of hearth_server_opt_step, and the real
 * one. */
hearth_status __real_hearth_server_opt_step(hearth_server_opt *o, float *next,
                                            const float *start,
                                            const int64_t *sum, size_t d,
                                            uint32_t n_devices, int scale_exp,
                                            double lr);
hearth_status __wrap_hearth_server_opt_step(hearth_server_opt *o, float *next,
                                            const float *start,
                                            const int64_t *sum, size_t d,
                                            uint32_t n_devices, int scale_exp,
                                            double lr);

#endif /* HEARTH_TESTS_FLEET_RELEASE_H */

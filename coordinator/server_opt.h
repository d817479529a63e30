/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/server_opt.h - from a sum of integers to the next release.
 *
 *     next[i] = start[i] + lr * sum[i] / (n * scale)
 *
 * in double, in canonical order, rounded to float once.  There is no momentum:
 * it would carry noise from round to round.  The state is part of a version: the
 * step count, and the clip of the next round where a task lets it follow the
 * norms (adapt_clip.h), so that both are published, and rolled back, together.
 *
 * Built with -ffp-contract=off: the same bytes on every IEEE machine.
 * Threads: pure functions.   Memory: allocates nothing.
 */
#ifndef HEARTH_COORDINATOR_SERVER_OPT_H
#define HEARTH_COORDINATOR_SERVER_OPT_H

#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

/* "HSOP" u32 version u32 kind u64 steps [f64 clip, in kind 2] */
#define HEARTH_SERVER_OPT_BYTES 28

typedef struct {
    uint64_t steps; /* server steps taken */
    double clip;    /* of the next round, where it follows the norms; 0: the
                       task's own */
} hearth_server_opt;

/* Returns the bytes used: 20, or 28 with a clip. */
size_t hearth_server_opt_save(const hearth_server_opt *o,
                              uint8_t out[HEARTH_SERVER_OPT_BYTES]);

/* HEARTH_OK, HEARTH_EFORMAT (a clip that is no positive number too), or
 * HEARTH_EVERSION; *o is zero on failure. */
HEARTH_MUST_CHECK
hearth_status hearth_server_opt_load(hearth_server_opt *o, const void *bytes,
                                     size_t n);

/* One step.
 *
 *   next, start  [d]  may be the same array
 *   sum          [d]  integers, 2^scale_exp a weight unit
 *   n_devices    contributions in the sum, >= 1
 *   lr           finite, > 0
 *
 * Returns HEARTH_OK
 *         HEARTH_EINVAL      a bad argument; next untouched
 *         HEARTH_ENONFINITE  a result left the floats; next untouched */
HEARTH_MUST_CHECK
hearth_status hearth_server_opt_step(hearth_server_opt *o, float *next,
                                     const float *start, const int64_t *sum,
                                     size_t d, uint32_t n_devices,
                                     int scale_exp, double lr);

#endif /* HEARTH_COORDINATOR_SERVER_OPT_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/schedule.h - the learning rate of each optimizer step.
 *
 * Steps count from 1.  Up to `warmup` the rate climbs in equal parts to the
 * peak; after it:
 *
 *   constant  peak
 *   linear    peak * (1 - p)                p = (step - warmup - 1) /
 *   cosine    peak * (1 + cos(pi p)) / 2        (total - warmup), in [0, 1)
 *
 * so the first step after warmup runs at the peak and no step runs at zero.
 * After the warmup these are the rates of transformers' get_linear_ and
 * get_cosine_schedule_with_warmup to the step; theirs starts at zero, so that
 * in the warmup each step has the rate that theirs gives the next one.
 *
 * Threads: pure functions.
 * Memory:  allocates nothing.  No libm: the same rate on every machine.
 */
#ifndef HEARTH_TRAIN_SCHEDULE_H
#define HEARTH_TRAIN_SCHEDULE_H

#include <stdint.h>

#include "common/status.h"

typedef enum {
    HEARTH_SCHEDULE_CONSTANT = 0,
    HEARTH_SCHEDULE_LINEAR = 1,
    HEARTH_SCHEDULE_COSINE = 2
} hearth_schedule_kind;

typedef struct {
    hearth_schedule_kind kind;
    double peak;     /* finite, >= 0 */
    uint64_t warmup; /* steps, may be 0; at most total */
    uint64_t total;  /* steps of the whole run, >= 1 */
} hearth_schedule;

/* HEARTH_OK or HEARTH_EINVAL. */
HEARTH_MUST_CHECK
hearth_status hearth_schedule_check(const hearth_schedule *s);

/* The rate of a step, 1 <= step.  Beyond total it stays at the last rate. */
double hearth_schedule_rate(const hearth_schedule *s, uint64_t step);

/* "constant", "linear", "cosine".  HEARTH_EINVAL leaves *kind untouched. */
HEARTH_MUST_CHECK
hearth_status hearth_schedule_parse(const char *text,
                                    hearth_schedule_kind *kind);
const char *hearth_schedule_name(hearth_schedule_kind kind);

#endif /* HEARTH_TRAIN_SCHEDULE_H */

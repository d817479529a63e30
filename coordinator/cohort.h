/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/cohort.h - one cohort in one stage: who may still come in.
 *
 * A stage has count{min,max} and time{min,max}.  It takes contributions until
 * max are counted or time.max is over, and may end once time.min is over and
 * min are counted.  Contributions that are being made durable are `pending`:
 * the list of survivors is fixed only when none is.
 *
 * Threads: pure functions of their arguments.
 */
#ifndef HEARTH_COORDINATOR_COHORT_H
#define HEARTH_COORDINATOR_COHORT_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    uint32_t count_min, count_max;     /* devices; 1 <= min <= max */
    uint64_t time_min_ms, time_max_ms; /* since the stage opened; min <= max */
} hearth_stage_window;

typedef enum {
    HEARTH_COHORT_OPEN = 1,    /* takes commits */
    HEARTH_COHORT_CLOSING = 2, /* takes none; waits for pending ones */
    HEARTH_COHORT_FIXED = 3,   /* survivor list is final, enough of them */
    HEARTH_COHORT_FAILED = 4   /* missed its minimum */
} hearth_cohort_phase;

typedef struct {
    uint32_t phase;                   /* hearth_cohort_phase */
    uint32_t invited, begun, aborted; /* devices */
    uint32_t pending, committed;      /* contributions */
} hearth_cohort;

/* A cohort that was just opened. */
hearth_cohort hearth_cohort_start(void);

/* Is there room for one more commit? */
bool hearth_cohort_has_room(const hearth_cohort *c,
                            const hearth_stage_window *w);

/* The cohort after age_ms since its stage opened: OPEN may become CLOSING, and
 * CLOSING with nothing pending becomes FIXED or FAILED.  stop ends it early
 * (task paused): FIXED when it has its minimum, else FAILED. */
hearth_cohort hearth_cohort_advance(hearth_cohort c,
                                    const hearth_stage_window *w,
                                    uint64_t age_ms, bool stop);

/* Age in ms at which advance may change something by time alone; UINT64_MAX
 * when only an event can. */
uint64_t hearth_cohort_wake(const hearth_cohort *c,
                            const hearth_stage_window *w, uint64_t age_ms);

#endif /* HEARTH_COORDINATOR_COHORT_H */

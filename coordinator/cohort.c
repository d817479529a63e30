/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/cohort.c - the window rule of one stage. */
#include "coordinator/cohort.h"

hearth_cohort hearth_cohort_start(void) {
    return (hearth_cohort){.phase = HEARTH_COHORT_OPEN};
}

bool hearth_cohort_has_room(const hearth_cohort *c,
                            const hearth_stage_window *w) {
    return c->phase == HEARTH_COHORT_OPEN &&
           (uint64_t)c->committed + c->pending < w->count_max;
}

hearth_cohort hearth_cohort_advance(hearth_cohort c,
                                    const hearth_stage_window *w,
                                    uint64_t age_ms, bool stop) {
    if (c.phase == HEARTH_COHORT_OPEN) {
        bool full = c.committed >= w->count_max;
        bool enough = c.committed >= w->count_min && age_ms >= w->time_min_ms;
        if (full || enough || stop || age_ms >= w->time_max_ms)
            c.phase = HEARTH_COHORT_CLOSING;
    }
    if (c.phase == HEARTH_COHORT_CLOSING && c.pending == 0)
        c.phase = c.committed >= w->count_min ? HEARTH_COHORT_FIXED
                                              : HEARTH_COHORT_FAILED;
    return c;
}

uint64_t hearth_cohort_wake(const hearth_cohort *c,
                            const hearth_stage_window *w, uint64_t age_ms) {
    if (c->phase != HEARTH_COHORT_OPEN) return UINT64_MAX;
    if (c->committed >= w->count_min && age_ms < w->time_min_ms)
        return w->time_min_ms;
    return w->time_max_ms;
}

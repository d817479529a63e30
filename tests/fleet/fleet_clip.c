/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_clip.c */
#include "tests/fleet/fleet_clip.h"

#include <string.h>

static struct {
    bool zero;
    uint64_t seen, clipped;
} now;

void hearth_fleet_clip_reset(bool zero) {
    now.zero = zero;
    now.seen = now.clipped = 0;
}

void hearth_fleet_clip_counts(uint64_t *seen, uint64_t *clipped) {
    *seen = now.seen;
    *clipped = now.clipped;
}

hearth_status __wrap_hearth_clip_l2(hearth_span *spans, size_t n_spans,
                                    float clip_norm,
                                    hearth_clip_report *report) {
    hearth_clip_report mine;
    for (size_t i = 0; now.zero && spans && i < n_spans; i++)
        if (spans[i].v) memset(spans[i].v, 0, spans[i].n * sizeof(float));
    hearth_status st = __real_hearth_clip_l2(spans, n_spans, clip_norm, &mine);
    if (st == HEARTH_OK) {
        now.seen++;
        now.clipped += mine.clipped;
        if (report) *report = mine;
    }
    return st;
}

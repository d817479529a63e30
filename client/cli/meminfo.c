/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/meminfo.c - when to look, and the largest of what was seen. */
#include "client/cli/meminfo.h"

#include "client/cli/meminfo_system.h"
#include "common/clock.h"

#define EVERY_MS       20
#define FILES_EVERY_MS 500
#define FILES_SHARE    100 /* a walk over all pages, so 1 % of the time at most */

static void raise_to(uint64_t *peak, uint64_t v) {
    if (v > *peak) *peak = v;
}

void hearth_meminfo_sample(hearth_meminfo *m, hearth_meminfo_look look) {
    hearth_clock clock = hearth_clock_system();
    int64_t now = hearth_clock_mono(&clock);
    if (look == HEARTH_LOOK_SOMETIMES && now - m->sampled_ms < EVERY_MS) return;
    m->sampled_ms = now;
    hearth_meminfo_now seen = hearth_meminfo__look();
    m->private_now = seen.private_bytes;
    raise_to(&m->private_peak, seen.private_bytes);
    raise_to(&m->rss_peak, seen.rss_peak);
    if (look != HEARTH_LOOK_ALL && now < m->files_next_ms) return;
    (void)hearth_meminfo__model_pages(m->model, &seen.file_bytes);
    raise_to(&m->file_peak, seen.file_bytes);
    int64_t end = hearth_clock_mono(&clock), rest = FILES_SHARE * (end - now);
    m->files_next_ms = end + (rest < FILES_EVERY_MS ? FILES_EVERY_MS : rest);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/meminfo.c - /proc/self/status: RssAnon, RssFile, VmHWM. */
#include "client/cli/meminfo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"

#define EVERY_MS 20

static void raise_to(uint64_t *peak, const char *kib) {
    uint64_t v = (uint64_t)strtoull(kib, NULL, 10) * 1024;
    if (v > *peak) *peak = v;
}

void hearth_meminfo_sample(hearth_meminfo *m, int force) {
    char line[128];
    hearth_clock clock = hearth_clock_system();
    int64_t now = hearth_clock_mono(&clock);
    if (!force && now - m->sampled_ms < EVERY_MS) return;
    m->sampled_ms = now;
    FILE *f = fopen("/proc/self/status", "r");
    if (!f) return;
    while (fgets(line, sizeof(line), f)) {
        if (strncmp(line, "RssAnon:", 8) == 0)
            raise_to(&m->private_peak, line + 8);
        else if (strncmp(line, "RssFile:", 8) == 0)
            raise_to(&m->file_peak, line + 8);
        else if (strncmp(line, "VmHWM:", 6) == 0)
            raise_to(&m->rss_peak, line + 6);
    }
    fclose(f);
}

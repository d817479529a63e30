/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/meminfo.c - /proc/self/status, and for the model's file
 * /proc/self/smaps: mappings that hold a tensor are told by their addresses. */
#include "client/cli/meminfo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"

#define EVERY_MS       20
#define FILES_EVERY_MS 500
#define FILES_SHARE    100 /* a walk over all pages, so 1 % of the time at most */

static void raise_to(uint64_t *peak, uint64_t v) {
    if (v > *peak) *peak = v;
}

/* "Name:   12 kB" in bytes when the line begins with the name. */
static bool read_field(const char *line, const char *name, uint64_t *bytes) {
    size_t n = strlen(name);
    if (strncmp(line, name, n) != 0) return false;
    *bytes = (uint64_t)strtoull(line + n, NULL, 10) * 1024;
    return true;
}

/* Resident pages of the mappings that hold the model; false: not told. */
static bool model_pages(const hearth_model *model, uint64_t *sum) {
    char line[512];
    bool ours = false, found = false;
    FILE *f = model ? fopen("/proc/self/smaps", "r") : NULL;
    if (!f) return false;
    *sum = 0;
    while (fgets(line, sizeof(line), f)) {
        uint64_t bytes;
        char *dash, *end;
        uintptr_t from = (uintptr_t)strtoull(line, &dash, 16), to = 0;
        if (dash != line && *dash == '-')
            to = (uintptr_t)strtoull(dash + 1, &end, 16);
        if (to) /* the first line of a mapping: "from-to flags .." */
            ours = hearth_model_is_within(model, from, to);
        else if (ours && read_field(line, "Rss:", &bytes)) {
            *sum += bytes;
            found = true;
        }
    }
    fclose(f);
    return found;
}

static void look_at_status(hearth_meminfo *m, uint64_t *files) {
    char line[128];
    uint64_t bytes, sum = 0;
    FILE *f = fopen("/proc/self/status", "r");
    if (!f) return;
    while (fgets(line, sizeof(line), f)) {
        if (read_field(line, "RssAnon:", &bytes) ||
            read_field(line, "RssShmem:", &bytes) ||
            read_field(line, "VmSwap:", &bytes))
            sum += bytes;
        else if (read_field(line, "VmHWM:", &bytes))
            raise_to(&m->rss_peak, bytes);
        else
            (void)read_field(line, "RssFile:", files);
    }
    fclose(f);
    m->private_now = sum;
    raise_to(&m->private_peak, sum);
}

void hearth_meminfo_sample(hearth_meminfo *m, hearth_meminfo_look look) {
    uint64_t files = 0;
    hearth_clock clock = hearth_clock_system();
    int64_t now = hearth_clock_mono(&clock);
    if (look == HEARTH_LOOK_SOMETIMES && now - m->sampled_ms < EVERY_MS) return;
    m->sampled_ms = now;
    look_at_status(m, &files);
    if (look != HEARTH_LOOK_ALL && now < m->files_next_ms) return;
    (void)model_pages(m->model, &files);
    raise_to(&m->file_peak, files);
    int64_t end = hearth_clock_mono(&clock), rest = FILES_SHARE * (end - now);
    m->files_next_ms = end + (rest < FILES_EVERY_MS ? FILES_EVERY_MS : rest);
}

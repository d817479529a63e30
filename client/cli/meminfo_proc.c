/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/meminfo_proc.c - /proc/self/status, and for the model's file
 * /proc/self/smaps: mappings that hold a tensor are told by their addresses. */
#include "client/cli/meminfo_system.h"

#if !defined(__APPLE__)

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "Name:   12 kB" in bytes when the line begins with the name. */
static bool read_field(const char *line, const char *name, uint64_t *bytes) {
    size_t n = strlen(name);
    if (strncmp(line, name, n) != 0) return false;
    *bytes = (uint64_t)strtoull(line + n, NULL, 10) * 1024;
    return true;
}

bool hearth_meminfo__model_pages(const hearth_model *model, uint64_t *sum) {
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

hearth_meminfo_now hearth_meminfo__look(void) {
    hearth_meminfo_now now = {0};
    char line[128];
    uint64_t bytes;
    FILE *f = fopen("/proc/self/status", "r");
    if (!f) return now;
    while (fgets(line, sizeof(line), f)) {
        if (read_field(line, "RssAnon:", &bytes) ||
            read_field(line, "RssShmem:", &bytes) ||
            read_field(line, "VmSwap:", &bytes))
            now.private_bytes += bytes;
        else if (!read_field(line, "VmHWM:", &now.rss_peak))
            (void)read_field(line, "RssFile:", &now.file_bytes);
    }
    fclose(f);
    return now;
}

#endif

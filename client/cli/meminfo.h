/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/meminfo.h - what the process really holds.
 *
 * Private memory is what this process alone holds: from /proc what is anonymous,
 * shared without a file, or swapped out; on macOS and iOS phys_footprint, which
 * is what an app's limit there counts (meminfo_apple.c, never run on a device;
 * it tells nothing of the model's file).  The peak is the largest of samples; it
 * misses nothing that lasts, since a run commits its arena when it is opened
 * and a step allocates nothing.
 *
 * Threads: one thread.   Memory: allocates nothing.
 */
#ifndef HEARTH_CLI_MEMINFO_H
#define HEARTH_CLI_MEMINFO_H

#include <stdbool.h>
#include <stdint.h>

#include "client/model/base_model.h"

/* In bytes; 0 where the system does not say. */
typedef struct {
    const hearth_model *model; /* whose file is looked after; NULL: none */
    uint64_t private_now;      /* at the last sample */
    uint64_t private_peak;
    uint64_t file_peak;    /* pages of the model's file in RAM; all mapped files
                              where the system tells no more */
    uint64_t rss_peak;     /* the system's own high-water mark of everything */
    int64_t sampled_ms;    /* when last */
    int64_t files_next_ms; /* when to look at the files again */
} hearth_meminfo;

typedef enum {
    HEARTH_LOOK_SOMETIMES, /* at most every 20 ms: may stand in a loop */
    HEARTH_LOOK_PRIVATE,   /* now, at the mappings now and then */
    HEARTH_LOOK_ALL,       /* now, at everything */
} hearth_meminfo_look;

void hearth_meminfo_sample(hearth_meminfo *m, hearth_meminfo_look look);

#endif /* HEARTH_CLI_MEMINFO_H */

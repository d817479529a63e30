/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/meminfo.h - what the process really holds, from /proc.
 *
 * Threads: one thread.   Memory: allocates nothing.
 */
#ifndef HEARTH_CLI_MEMINFO_H
#define HEARTH_CLI_MEMINFO_H

#include <stdint.h>

/* Peaks so far, in bytes; 0 where the system does not say. */
typedef struct {
    uint64_t private_peak; /* anonymous memory in RAM, sampled */
    uint64_t file_peak;    /* pages of mapped files in RAM, sampled */
    uint64_t rss_peak;     /* both, the system's own high-water mark */
    int64_t sampled_ms;    /* when last */
} hearth_meminfo;

/* Look now.  force false: at most every 20 ms, so it may stand in a loop. */
void hearth_meminfo_sample(hearth_meminfo *m, int force);

#endif /* HEARTH_CLI_MEMINFO_H */

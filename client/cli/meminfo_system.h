/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/meminfo_system.h - what a system says about this process:
 * meminfo_proc.c where there is /proc, meminfo_apple.c on macOS and iOS.
 *
 * Threads: any.   Memory: allocates nothing.
 */
#ifndef HEARTH_CLI_MEMINFO_SYSTEM_H
#define HEARTH_CLI_MEMINFO_SYSTEM_H

#include <stdbool.h>
#include <stdint.h>

#include "client/model/base_model.h"

/* In bytes; 0 where the system does not say. */
typedef struct {
    uint64_t private_bytes; /* what this process alone holds, now */
    uint64_t file_bytes;    /* pages of mapped files in RAM, now */
    uint64_t rss_peak;      /* of everything, since the process began */
} hearth_meminfo_now;

hearth_meminfo_now hearth_meminfo__look(void);

/* Resident pages of the mappings that hold the model, which may be NULL; false:
 * not told. */
bool hearth_meminfo__model_pages(const hearth_model *model, uint64_t *sum);

#endif /* HEARTH_CLI_MEMINFO_SYSTEM_H */

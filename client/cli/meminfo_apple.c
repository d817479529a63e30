/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/meminfo_apple.c - macOS and iOS: the task's own account.
 *
 * phys_footprint is what the system holds against an app's memory limit: dirty
 * and compressed pages, not the clean ones of mapped files; so it is private
 * memory as meminfo.h means it.  An older kernel fills less of the structure and
 * says so by the count.  Compiled and tested against stand-ins of the headers
 * only (tests/unit/test_meminfo_apple.c): never on a device.
 * Source: mach/task_info.h of XNU, TASK_VM_INFO.
 */
#include "client/cli/meminfo_system.h"

#if defined(__APPLE__)

#include <mach/mach.h>
#include <stddef.h>

#define WORDS_TO(field)                                                        \
    ((offsetof(task_vm_info_data_t, field) +                                   \
      sizeof(((task_vm_info_data_t *)0)->field)) /                             \
     sizeof(natural_t))

hearth_meminfo_now hearth_meminfo__look(void) {
    hearth_meminfo_now now = {0};
    task_vm_info_data_t info = {0};
    mach_msg_type_number_t words = TASK_VM_INFO_COUNT;
    if (task_info(mach_task_self(), TASK_VM_INFO, (task_info_t)&info, &words) !=
        KERN_SUCCESS)
        return now;
    if (words >= WORDS_TO(resident_size_peak))
        now.rss_peak = info.resident_size_peak;
    if (words >= WORDS_TO(phys_footprint))
        now.private_bytes = info.phys_footprint;
    return now;
}

bool hearth_meminfo__model_pages(const hearth_model *model, uint64_t *sum) {
    (void)model, (void)sum;
    return false;
}

#endif

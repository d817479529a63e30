/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/apple/mach/mach.h - stands in for Apple's header of that name:
 * what meminfo_apple.c uses of it, written from the public XNU sources, so that
 * the file is compiled and tested on other systems.  Nothing here was compared
 * with a device. */
#ifndef HEARTH_TESTS_APPLE_MACH_H
#define HEARTH_TESTS_APPLE_MACH_H

#include <stdint.h>

typedef int kern_return_t, integer_t;
typedef unsigned natural_t, mach_port_t, task_flavor_t, mach_msg_type_number_t;
typedef mach_port_t task_name_t;
typedef integer_t *task_info_t;
typedef uint64_t mach_vm_size_t, mach_vm_address_t;

#pragma pack(push, 4)
typedef struct {
    mach_vm_size_t virtual_size;
    integer_t region_count, page_size;
    mach_vm_size_t resident_size, resident_size_peak;
    mach_vm_size_t device, device_peak, internal, internal_peak;
    mach_vm_size_t external, external_peak, reusable, reusable_peak;
    mach_vm_size_t purgeable_volatile_pmap, purgeable_volatile_resident;
    mach_vm_size_t purgeable_volatile_virtual;
    mach_vm_size_t compressed, compressed_peak, compressed_lifetime;
    mach_vm_size_t phys_footprint;              /* revision 1 */
    mach_vm_address_t min_address, max_address; /* revision 2 */
} task_vm_info_data_t;
#pragma pack(pop)

#define KERN_SUCCESS 0
#define TASK_VM_INFO 22
#define TASK_VM_INFO_COUNT                                                     \
    ((mach_msg_type_number_t)(sizeof(task_vm_info_data_t) / sizeof(natural_t)))

mach_port_t mach_task_self(void);
kern_return_t task_info(task_name_t task, task_flavor_t flavor, task_info_t out,
                        mach_msg_type_number_t *count);

#endif /* HEARTH_TESTS_APPLE_MACH_H */

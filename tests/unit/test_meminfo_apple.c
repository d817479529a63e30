/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_meminfo_apple.c - client/cli/meminfo_apple.c and meminfo.c,
 * compiled against stand-ins of Apple's headers (tests/support/apple) and with a
 * task_info that says what a test wants. */
#include "tests/support/cmocka_all.h"

#include <mach/mach.h>

#include "client/cli/meminfo.h"
#include "client/cli/meminfo_system.h"

#define SELF ((mach_port_t)0x103)
#define OLD  36 /* words: up to compressed_lifetime */

/* What the system answers. */
static struct {
    kern_return_t status;
    uint64_t footprint, peak;
    mach_msg_type_number_t words;
    int calls;
} fake;

mach_port_t mach_task_self(void) {
    return SELF;
}

kern_return_t task_info(task_name_t task, task_flavor_t flavor, task_info_t out,
                        mach_msg_type_number_t *count) {
    fake.calls++;
    assert_int_equal(task, SELF);
    assert_int_equal(flavor, 22);
    assert_int_equal(*count, TASK_VM_INFO_COUNT);
    task_vm_info_data_t info = {.virtual_size = 1,
                                .resident_size = 2,
                                .resident_size_peak = fake.peak,
                                .device = 3,
                                .internal = 4,
                                .compressed_lifetime = 5,
                                .phys_footprint = fake.footprint,
                                .min_address = 6};
    memcpy(out, &info, sizeof(info)); /* filled even where it fails */
    *count = fake.words;
    return fake.status;
}

static void answer(kern_return_t status, uint64_t footprint, uint64_t peak,
                   mach_msg_type_number_t words) {
    fake.status = status;
    fake.footprint = footprint;
    fake.peak = peak;
    fake.words = words;
}

static void footprint_and_peak_come_through(void **state) {
    (void)state;
    answer(KERN_SUCCESS, (uint64_t)5 << 32, (uint64_t)9 << 32,
           TASK_VM_INFO_COUNT);
    hearth_meminfo_now now = hearth_meminfo__look();
    assert_true(now.private_bytes == (uint64_t)5 << 32);
    assert_true(now.rss_peak == (uint64_t)9 << 32);
    assert_true(now.file_bytes == 0);
}

static void what_is_not_told_is_0(void **state) {
    (void)state;
    answer(5, 100, 200, TASK_VM_INFO_COUNT); /* KERN_FAILURE */
    hearth_meminfo_now now = hearth_meminfo__look();
    assert_true(now.private_bytes == 0 && now.rss_peak == 0);
    answer(KERN_SUCCESS, 100, 200, OLD); /* without revision 1 */
    now = hearth_meminfo__look();
    assert_true(now.private_bytes == 0 && now.rss_peak == 200);
    answer(KERN_SUCCESS, 100, 200, OLD + 1); /* half of the number */
    assert_true(hearth_meminfo__look().private_bytes == 0);
    answer(KERN_SUCCESS, 100, 200, OLD + 2);
    assert_true(hearth_meminfo__look().private_bytes == 100);
    answer(KERN_SUCCESS, 100, 200, 7);
    assert_true(hearth_meminfo__look().rss_peak == 0);
    uint64_t pages = 3;
    assert_false(hearth_meminfo__model_pages(NULL, &pages));
    assert_true(pages == 3);
}

static void samples_keep_the_largest(void **state) {
    hearth_meminfo m = {0};
    (void)state;
    answer(KERN_SUCCESS, 300, 1000, TASK_VM_INFO_COUNT);
    hearth_meminfo_sample(&m, HEARTH_LOOK_ALL);
    answer(KERN_SUCCESS, 200, 1100, TASK_VM_INFO_COUNT);
    hearth_meminfo_sample(&m, HEARTH_LOOK_ALL);
    assert_true(m.private_now == 200 && m.private_peak == 300);
    assert_true(m.rss_peak == 1100 && m.file_peak == 0);
    answer(5, 900, 9000, TASK_VM_INFO_COUNT);
    hearth_meminfo_sample(&m, HEARTH_LOOK_PRIVATE);
    assert_true(m.private_peak == 300 && m.rss_peak == 1100);
    int before = fake.calls;
    hearth_meminfo_sample(&m, HEARTH_LOOK_ALL);
    assert_int_equal(fake.calls, before + 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(footprint_and_peak_come_through),
        cmocka_unit_test(what_is_not_told_is_0),
        cmocka_unit_test(samples_keep_the_largest),
    };
    return cmocka_run_group_tests_name("client/cli/meminfo_apple", tests, NULL,
                                       NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_memplan.c - client/train/memplan.h */
#include "client/train/memplan.h"
#include "tests/support/cmocka_all.h"

static void memplan_sums_by_kind(void **state) {
    (void)state;
    hearth_memplan p = HEARTH_MEMPLAN_INIT;
    hearth_memplan_add(&p, "a", HEARTH_MEM_PRIVATE, 10, 4);
    hearth_memplan_add(&p, "b", HEARTH_MEM_FILE, 1000, 1);
    hearth_memplan_add(&p, "c", HEARTH_MEM_PRIVATE, 0, 8);
    assert_int_equal(p.n, 3);
    assert_int_equal(p.private_bytes, 40);
    assert_int_equal(p.file_bytes, 1000);
    assert_ok(hearth_memplan_check(&p, 0, NULL));
    assert_ok(hearth_memplan_check(&p, 40, NULL));
}

static void memplan_refuses_with_the_numbers(void **state) {
    (void)state;
    hearth_memplan p = HEARTH_MEMPLAN_INIT;
    hearth_error err;
    hearth_memplan_add(&p, "records", HEARTH_MEM_PRIVATE, 1u << 20, 1);
    hearth_memplan_add(&p, "activations", HEARTH_MEM_PRIVATE, 3u << 20, 1);
    hearth_memplan_add(&p, "model file", HEARTH_MEM_FILE, 9u << 20, 1);
    assert_int_equal(hearth_memplan_check(&p, (4u << 20) - 1, &err),
                     HEARTH_ETOOBIG);
    assert_non_null(strstr(err.text, "4.0 MiB"));
    assert_non_null(strstr(err.text, "activations, 3.0 MiB"));
    assert_non_null(strstr(err.text, "--memory-budget 4M"));
    p.longest_seq = 77;
    assert_int_equal(hearth_memplan_check(&p, 1, &err), HEARTH_ETOOBIG);
    assert_non_null(strstr(err.text, "--seq 77 at most"));
}

static void memplan_bounds_the_file_where_it_counts(void **state) {
    (void)state;
    hearth_memplan p = HEARTH_MEMPLAN_INIT;
    hearth_error err;
    hearth_memplan_add(&p, "activations", HEARTH_MEM_PRIVATE, 3u << 20, 1);
    hearth_memplan_add(&p, "model file", HEARTH_MEM_FILE, 9u << 20, 1);
    assert_int_equal(hearth_memplan_bounded(&p), 3u << 20);
    assert_ok(hearth_memplan_check(&p, 3u << 20, NULL));
    p.file_counts = true;
    assert_int_equal(hearth_memplan_bounded(&p), 12u << 20);
    assert_ok(hearth_memplan_check(&p, 12u << 20, NULL));
    assert_int_equal(hearth_memplan_check(&p, (12u << 20) - 1, &err),
                     HEARTH_ETOOBIG);
    assert_non_null(strstr(err.text, "private memory and the model's file"));
    assert_non_null(strstr(err.text, "model file, 9.0 MiB"));
    assert_non_null(strstr(err.text, "--memory-budget 12M"));
    p.choice.streamed = true;
    assert_int_equal(hearth_memplan_check(&p, 1, &err), HEARTH_ETOOBIG);
    assert_non_null(strstr(err.text, "and a window of the streamed file"));
    hearth_memplan_add(&p, "records", HEARTH_MEM_PRIVATE, SIZE_MAX - (4u << 20),
                       1);
    assert_int_equal(hearth_memplan_bounded(&p), SIZE_MAX);
    assert_int_equal(hearth_memplan_check(&p, 0, &err), HEARTH_ETOOBIG);
    assert_non_null(strstr(err.text, "can address"));
}

static void memplan_overflow_is_never_allowed(void **state) {
    (void)state;
    hearth_memplan p = HEARTH_MEMPLAN_INIT;
    hearth_error err;
    hearth_memplan_add(&p, "a", HEARTH_MEM_PRIVATE, SIZE_MAX / 2, 3);
    assert_int_equal(p.private_bytes, SIZE_MAX);
    assert_int_equal(hearth_memplan_check(&p, 0, &err), HEARTH_ETOOBIG);
    p = (hearth_memplan)HEARTH_MEMPLAN_INIT;
    for (int i = 0; i <= HEARTH_MEMPLAN_MAX; i++)
        hearth_memplan_add(&p, "a", HEARTH_MEM_PRIVATE, 1, 1);
    assert_int_equal(p.n, HEARTH_MEMPLAN_MAX);
    assert_int_equal(hearth_memplan_check(&p, 0, &err), HEARTH_ETOOBIG);
}

static void memplan_format_picks_a_unit(void **state) {
    (void)state;
    char t[32];
    assert_string_equal(hearth_memplan_format(1023, t, 32), "1023 B");
    assert_string_equal(hearth_memplan_format(1536, t, 32), "1.5 KiB");
    assert_string_equal(hearth_memplan_format((size_t)5 << 30, t, 32),
                        "5.0 GiB");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memplan_sums_by_kind),
        cmocka_unit_test(memplan_refuses_with_the_numbers),
        cmocka_unit_test(memplan_bounds_the_file_where_it_counts),
        cmocka_unit_test(memplan_overflow_is_never_allowed),
        cmocka_unit_test(memplan_format_picks_a_unit),
    };
    return cmocka_run_group_tests_name("train/memplan", tests, NULL, NULL);
}

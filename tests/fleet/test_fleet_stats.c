/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/test_fleet_stats.c - tests/fleet/fleet_stats.h */
#include "tests/support/cmocka_all.h"

#include <math.h>

#include "common/philox.h"
#include "tests/fleet/fleet_stats.h"
#include "tests/support/fail_alloc.h"

static void stats_percentile_interpolates(void **state) {
    (void)state;
    double v[] = {4, 1, 3, 2, 5};
    assert_true(hearth_fleet_percentile(v, 5, 0.0) == 1.0);
    assert_true(hearth_fleet_percentile(v, 5, 1.0) == 5.0);
    assert_true(hearth_fleet_percentile(v, 5, 0.5) == 3.0);
    assert_true(fabs(hearth_fleet_percentile(v, 5, 0.1) - 1.4) < 1e-12);
    assert_true(hearth_fleet_percentile(v, 1, 0.9) == 1.0);
    assert_true(hearth_fleet_mean(v, 5) == 3.0);
    assert_true(hearth_fleet_mean(v, 0) == 0.0);
}

/* 200 samples of 30 normals with mean 1: a 95 % interval covers 1 in about 93 %
 * of them (the percentile bootstrap is a little short at n = 30). */
static void stats_bootstrap_covers_the_mean(void **state) {
    (void)state;
    hearth_philox_key key = hearth_philox_key_make(7, HEARTH_PHILOX_DATA);
    int covered = 0;
    for (uint64_t s = 0; s < 200; s++) {
        double v[30];
        hearth_fleet_interval iv;
        for (uint64_t i = 0; i < 30; i++)
            v[i] = 1.0 + 2.0 * hearth_philox_normal(key, s, i);
        assert_ok(hearth_fleet_bootstrap(&iv, v, 30, 500, 0.95, s, NULL));
        assert_true(iv.low < iv.mean && iv.mean < iv.high && iv.n == 30);
        covered += iv.low <= 1.0 && 1.0 <= iv.high;
    }
    assert_in_range(covered, 175, 198); /* observed 186 */
}

static void stats_bootstrap_is_a_function_of_its_seed(void **state) {
    (void)state;
    double v[] = {1.1, 2.04, 3.3, 4.71, 5.2, 6.6, 7.93};
    hearth_fleet_interval a, b, c;
    assert_ok(hearth_fleet_bootstrap(&a, v, 7, 1000, 0.95, 1, NULL));
    assert_ok(hearth_fleet_bootstrap(&b, v, 7, 1000, 0.95, 1, NULL));
    assert_ok(hearth_fleet_bootstrap(&c, v, 7, 1000, 0.95, 2, NULL));
    assert_memory_equal(&a, &b, sizeof(a));
    assert_true(a.low != c.low || a.high != c.high);
    double same[] = {0.5, 0.5, 0.5};
    assert_ok(hearth_fleet_bootstrap(&a, same, 3, 100, 0.95, 1, NULL));
    assert_true(a.low == 0.5 && a.high == 0.5 && a.mean == 0.5);
}

static void stats_bootstrap_refuses(void **state) {
    (void)state;
    double v[] = {1, 2}, bad[] = {1, (double)NAN};
    hearth_fleet_interval iv;
    assert_int_equal(hearth_fleet_bootstrap(&iv, v, 0, 10, .9, 1, NULL),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_fleet_bootstrap(&iv, v, 2, 0, .9, 1, NULL),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_fleet_bootstrap(&iv, v, 2, 10, 1., 1, NULL),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_fleet_bootstrap(&iv, NULL, 2, 10, .9, 1, NULL),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_fleet_bootstrap(&iv, bad, 2, 10, .9, 1, NULL),
                     HEARTH_ENONFINITE);
    hearth_fail_alloc fa;
    hearth_alloc al = hearth_fail_alloc_init(&fa, 1);
    assert_int_equal(hearth_fleet_bootstrap(&iv, v, 2, 10, .9, 1, &al),
                     HEARTH_ENOMEM);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stats_percentile_interpolates),
        cmocka_unit_test(stats_bootstrap_covers_the_mean),
        cmocka_unit_test(stats_bootstrap_is_a_function_of_its_seed),
        cmocka_unit_test(stats_bootstrap_refuses),
    };
    return cmocka_run_group_tests_name("tests/fleet/fleet_stats", tests, NULL,
                                       NULL);
}

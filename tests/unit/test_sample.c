/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_sample.c - client/infer/sample.h */
#include <math.h>

#include "tests/support/cmocka_all.h"

#include "client/infer/sample.h"
#include "common/philox.h"

#define N 6

/* Probabilities 0.4 0.3 0.15 0.1 0.04 0.01, not in order. */
static const double p[N] = {0.1, 0.4, 0.01, 0.3, 0.04, 0.15};
static float logits[N];
static uint32_t order[N];

static void set_logits(void) {
    for (size_t i = 0; i < N; i++) logits[i] = (float)(log(p[i]) + 7.0);
}

static void count(hearth_sample_rule rule, double *share) {
    hearth_philox_key k = hearth_philox_key_make(1, HEARTH_PHILOX_SAMPLE);
    memset(share, 0, N * sizeof(*share));
    for (size_t i = 0; i < 20000; i++) {
        int32_t t = hearth_sample_token(logits, N, order, &rule,
                                        hearth_philox_uniform(k, i, 0));
        assert_in_range(t, 0, N - 1);
        share[t] += 1.0 / 20000;
    }
}

static void check_shares(const double *got, const double *want, double total) {
    for (size_t i = 0; i < N; i++)
        assert_true(fabs(got[i] - want[i] / total) < 0.012);
}

static void zero_temperature_takes_the_first_largest(void **state) {
    hearth_sample_rule rule = {0, 0, 1};
    float equal[4] = {1, 3, 3, -INFINITY};
    (void)state;
    set_logits();
    assert_int_equal(hearth_sample_token(logits, N, order, &rule, 0.9), 1);
    assert_int_equal(hearth_sample_token(equal, 4, order, &rule, 0.9), 1);
}

static void shares_follow_the_probabilities(void **state) {
    double share[N], flat[N], sum = 0;
    (void)state;
    set_logits();
    count((hearth_sample_rule){1, 0, 1}, share);
    check_shares(share, p, 1);
    for (size_t i = 0; i < N; i++) sum += flat[i] = sqrt(p[i]);
    count((hearth_sample_rule){2, 0, 1}, share);
    check_shares(share, flat, sum);
}

static void top_k_and_top_p_keep_the_largest(void **state) {
    double share[N];
    const double two[N] = {0, 0.4, 0, 0.3, 0, 0};
    const double three[N] = {0, 0.4, 0, 0.3, 0, 0.15};
    (void)state;
    set_logits();
    count((hearth_sample_rule){1, 2, 1}, share);
    check_shares(share, two, 0.7);
    count((hearth_sample_rule){1, 0, 0.71}, share); /* 0.7 is not enough */
    check_shares(share, three, 0.85);
    count((hearth_sample_rule){1, 0, 0.69}, share);
    check_shares(share, two, 0.7);
    /* top-p is a share of what top-k kept: 0.7 of 0.85 needs two */
    count((hearth_sample_rule){1, 3, 0.8}, share);
    check_shares(share, two, 0.7);
    count((hearth_sample_rule){1, 0, 1e-9}, share);
    assert_true(share[1] > 0.999);
    count((hearth_sample_rule){1, 100, 1}, share);
    check_shares(share, p, 1);
}

static void every_draw_gives_a_token_that_may_come(void **state) {
    float few[4] = {0, -INFINITY, 1, -INFINITY};
    hearth_sample_rule rule = {1, 0, 1};
    (void)state;
    for (int k = 0; k < 4; k++) {
        rule.top_k = (uint32_t)k;
        for (double u = 0; u < 1; u += 0.0625) {
            int32_t t = hearth_sample_token(few, 4, order, &rule, u);
            assert_true(t == 0 || t == 2);
        }
        double last = 1 - 0x1p-53;
        int32_t t = hearth_sample_token(few, 4, order, &rule, last);
        assert_true(t == 0 || t == 2);
    }
}

static void numbers_that_are_not_finite_are_refused(void **state) {
    hearth_sample_rule rule = {1, 0, 1};
    float bad[3][2] = {{1, NAN}, {INFINITY, 1}, {-INFINITY, -INFINITY}};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(hearth_sample_token(bad[i], 2, order, &rule, 0.5), -1);
        rule.temperature = 0;
    }
    assert_int_equal(hearth_sample_token(bad[0], 0, order, &rule, 0.5), -1);
}

/* transformers keeps all that are no smaller than the k-th largest. */
static void top_k_keeps_all_that_equal_the_last(void **state) {
    static const float few[5] = {1, 3, 1, 2, 0};
    hearth_sample_rule rule = {1, 3, 1};
    uint32_t scratch[5], seen[5] = {0};
    (void)state;
    for (int i = 0; i < 1000; i++)
        seen[hearth_sample_token(few, 5, scratch, &rule, i / 1000.0)]++;
    assert_true(seen[0] && seen[1] && seen[2] && seen[3] && !seen[4]);
}

static void penalty_applies_once_and_towards_less(void **state) {
    float v[3] = {2, -2, 5};
    const int32_t seen[] = {0, 1, 0, 0, -1, 3, 1};
    (void)state;
    uint32_t mark[1] = {7};
    hearth_sample_penalize(v, 3, seen, 7, 2, mark);
    assert_true(fabs((double)v[0] - 1) < 1e-6);
    assert_true(fabs((double)v[1] + 4) < 1e-6);
    assert_true(fabs((double)v[2] - 5) < 1e-6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zero_temperature_takes_the_first_largest),
        cmocka_unit_test(shares_follow_the_probabilities),
        cmocka_unit_test(top_k_and_top_p_keep_the_largest),
        cmocka_unit_test(top_k_keeps_all_that_equal_the_last),
        cmocka_unit_test(every_draw_gives_a_token_that_may_come),
        cmocka_unit_test(numbers_that_are_not_finite_are_refused),
        cmocka_unit_test(penalty_applies_once_and_towards_less),
    };
    return cmocka_run_group_tests_name("client/infer/sample", tests, NULL,
                                       NULL);
}

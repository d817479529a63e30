/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_schedule.c - client/train/schedule.h, train_config.h */
#include <math.h>

#include "client/train/schedule.h"
#include "client/train/train_config.h"
#include "tests/support/cmocka_all.h"

static void near(double got, double want) {
    if (fabs(got - want) > 1e-14) fail_msg("%.17g is not %.17g", got, want);
}

static void schedule_warms_up_in_equal_parts(void **state) {
    (void)state;
    for (int k = 0; k < 3; k++) {
        hearth_schedule s = {(hearth_schedule_kind)k, 2.0, 4, 10};
        near(hearth_schedule_rate(&s, 1), 0.5);
        near(hearth_schedule_rate(&s, 4), 2.0);
        near(hearth_schedule_rate(&s, 5), 2.0); /* first step after it */
    }
}

static void schedule_falls_as_named(void **state) {
    (void)state;
    hearth_schedule s = {HEARTH_SCHEDULE_CONSTANT, 1.0, 0, 4};
    near(hearth_schedule_rate(&s, 4), 1.0);
    s.kind = HEARTH_SCHEDULE_LINEAR;
    near(hearth_schedule_rate(&s, 3), 0.5);
    near(hearth_schedule_rate(&s, 4), 0.25);
    near(hearth_schedule_rate(&s, 99), 0.25);
    s.kind = HEARTH_SCHEDULE_COSINE;
    near(hearth_schedule_rate(&s, 3), 0.5);
    near(hearth_schedule_rate(&s, 4), 0.5 * (1.0 - sqrt(0.5)));
    s.warmup = 4; /* all of it */
    near(hearth_schedule_rate(&s, 4), 1.0);
}

/* transformers/optimization.py, _get_linear_ and _get_cosine_schedule_with_
 * warmup_lr_lambda: the factor of a step counted from 0. */
static double transformers_rate(bool cosine, uint64_t step, uint64_t warmup,
                                uint64_t total) {
    double span = (double)(total > warmup ? total - warmup : 1);
    if (step < warmup) return (double)step / (double)warmup;
    if (!cosine) return fmax(0.0, (double)(total - step) / span);
    double progress = (double)(step - warmup) / span;
    return fmax(0.0, 0.5 * (1.0 + cos(3.14159265358979323846 * progress)));
}

static void schedule_is_that_of_transformers(void **state) {
    static const uint64_t shape[][2] = {{0, 1}, {0, 20}, {1, 20}, {7, 20}};
    (void)state;
    for (size_t i = 0; i < sizeof(shape) / sizeof(shape[0]); i++)
        for (int cosine = 0; cosine < 2; cosine++) {
            uint64_t w = shape[i][0], n = shape[i][1];
            hearth_schedule s = {cosine ? HEARTH_SCHEDULE_COSINE
                                        : HEARTH_SCHEDULE_LINEAR,
                                 1.0, w, n};
            for (uint64_t step = 1; step <= n; step++)
                near(hearth_schedule_rate(&s, step),
                     transformers_rate(cosine, step <= w ? step : step - 1, w,
                                       n));
        }
}

static void schedule_check_and_parse_refuse(void **state) {
    (void)state;
    hearth_schedule s = {HEARTH_SCHEDULE_LINEAR, 1.0, 0, 4};
    hearth_schedule_kind k = HEARTH_SCHEDULE_LINEAR;
    assert_ok(hearth_schedule_check(&s));
    s.warmup = 5;
    assert_int_equal(hearth_schedule_check(&s), HEARTH_EINVAL);
    s = (hearth_schedule){HEARTH_SCHEDULE_LINEAR, (double)NAN, 0, 4};
    assert_int_equal(hearth_schedule_check(&s), HEARTH_EINVAL);
    s = (hearth_schedule){HEARTH_SCHEDULE_LINEAR, 1.0, 0, 0};
    assert_int_equal(hearth_schedule_check(&s), HEARTH_EINVAL);
    s = (hearth_schedule){(hearth_schedule_kind)3, 1.0, 0, 4};
    assert_int_equal(hearth_schedule_check(&s), HEARTH_EINVAL);
    assert_ok(hearth_schedule_parse("cosine", &k));
    assert_int_equal(k, HEARTH_SCHEDULE_COSINE);
    assert_int_equal(hearth_schedule_parse("step", &k), HEARTH_EINVAL);
    assert_int_equal(hearth_schedule_parse(NULL, &k), HEARTH_EINVAL);
    assert_int_equal(k, HEARTH_SCHEDULE_COSINE);
    assert_string_equal(hearth_schedule_name(k), "cosine");
}

static void train_config_check_names_the_field(void **state) {
    (void)state;
    hearth_error err;
    const hearth_train_config good = HEARTH_TRAIN_CONFIG_INIT;
    assert_ok(hearth_train_config_check(&good, &err));
    hearth_train_config bad[11];
    for (size_t i = 0; i < 11; i++) bad[i] = good;
    bad[0].lr = (double)NAN;
    bad[1].batch = 0;
    bad[2].accum = 0;
    bad[3].seq = 1;
    bad[4].dropout = 1.0;
    bad[5].clip_grad = -1.0;
    bad[6].weight_decay = (double)INFINITY;
    bad[7].epochs = 0.0;
    bad[8].beta1 = 1.0;
    bad[9].beta2 = -0.1;
    bad[10].eps = 0.0;
    const char *const name[11] = {"--lr",           "--batch",   "--accum",
                                  "--seq",          "--dropout", "--clip-grad",
                                  "--weight-decay", "--epochs",  "--beta1",
                                  "--beta2",        "--eps"};
    for (size_t i = 0; i < 11; i++) {
        assert_int_equal(hearth_train_config_check(&bad[i], &err),
                         HEARTH_EINVAL);
        assert_non_null(strstr(err.text, name[i]));
    }
    hearth_train_config c = good;
    c.mode = HEARTH_TRAIN_FULL;
    c.dropout = 0.1;
    assert_int_equal(hearth_train_config_check(&c, &err), HEARTH_EINVAL);
    c = good;
    c.mode = (hearth_train_mode)7;
    assert_int_equal(hearth_train_config_check(&c, &err), HEARTH_EINVAL);
    c = good;
    c.schedule = (hearth_schedule_kind)7;
    assert_int_equal(hearth_train_config_check(&c, &err), HEARTH_EINVAL);
    c = good;
    c.steps = (uint64_t)UINT32_MAX + 1;
    assert_int_equal(hearth_train_config_check(&c, &err), HEARTH_EINVAL);
}

static void train_config_counts_steps(void **state) {
    (void)state;
    hearth_train_config c = HEARTH_TRAIN_CONFIG_INIT;
    c.batch = 4;
    c.accum = 2;
    c.epochs = 1.0;
    assert_int_equal(hearth_train_config_steps(&c, 16), 2);
    assert_int_equal(hearth_train_config_steps(&c, 17), 3);
    assert_int_equal(hearth_train_config_records(&c, 17), 17);
    c.epochs = 0.001;
    assert_int_equal(hearth_train_config_steps(&c, 17), 1);
    c.steps = 5;
    assert_int_equal(hearth_train_config_steps(&c, 17), 5);
    assert_int_equal(hearth_train_config_records(&c, 17), 40);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(schedule_warms_up_in_equal_parts),
        cmocka_unit_test(schedule_falls_as_named),
        cmocka_unit_test(schedule_is_that_of_transformers),
        cmocka_unit_test(schedule_check_and_parse_refuse),
        cmocka_unit_test(train_config_check_names_the_field),
        cmocka_unit_test(train_config_counts_steps),
    };
    return cmocka_run_group_tests_name("train/schedule", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_policy_file.c - client/device/policy_file.h */
#include "tests/support/cmocka_all.h"

#include <unistd.h>

#include "client/device/policy_file.h"

static hearth_error err;

static hearth_status parse(hearth_policy *p, const char *text) {
    return hearth_policy_file_parse(p, text, strlen(text), "policy.ini", &err);
}

static void file_reads_every_key(void **state) {
    (void)state;
    hearth_policy p;
    assert_ok(parse(&p, "[policy]\n"
                        "cohort_min = 16\n"
                        "noise_min = 2.4\n"
                        "dimension_max = 4000\n"
                        "noise_to_signal_max = 100\n"
                        "need_unmetered = no\n"
                        "need_charging = no\n"
                        "battery_min = 20\n"
                        "temperature_max = 45\n"
                        "delta = 1e-5\n"
                        "epsilon_task = 9\n"
                        "epsilon_window = 8\n"
                        "epsilon_lifetime = 20\n"
                        "spacing = 0s\n"
                        "participations = 5\n"));
    assert_true(p.cohort_min == 16 && p.noise_min == 2.4);
    assert_true(p.dimension_max == 4000 && p.noise_to_signal_max == 100);
    assert_true(!p.need_unmetered && !p.need_charging);
    assert_true(p.battery_min == 20 && p.temperature_max == 45);
    assert_true(p.ledger.delta == 1e-5 && p.ledger.epsilon_task == 9);
    assert_true(p.ledger.epsilon_window == 8);
    assert_true(p.ledger.epsilon_lifetime == 20);
    assert_true(p.ledger.spacing_ms == 0 && p.ledger.n_participations == 5);
    assert_true(p.ledger.window_ms == (int64_t)30 * 86400000);
}

static void file_lists_what_it_loosened(void **state) {
    (void)state;
    static const char *const WANT[] = {
        "cohort_min 16 instead of 32",
        "noise_to_signal_max 100 instead of 32",
        "need_unmetered no instead of yes",
        "need_charging no instead of yes",
        "battery_min 20 instead of 50",
        "temperature_max 45 instead of 40",
        "delta 1e-05 instead of 1e-06",
        "spacing 0.5 h instead of 24 h",
        "participations 9 instead of 8",
    };
    hearth_policy p;
    char text[128];
    assert_ok(parse(&p, "[policy]\ncohort_min=16\nnoise_min=2\n"
                        "noise_to_signal_max=100\nneed_unmetered=no\n"
                        "need_charging=no\nbattery_min=20\n"
                        "temperature_max=45\ndelta=1e-5\nspacing=30m\n"
                        "participations=9\ndimension_max=9\n"));
    for (size_t k = 0; k < sizeof(WANT) / sizeof(WANT[0]); k++) {
        assert_true(hearth_policy_file_loosened(&p, k, text, sizeof(text)));
        assert_string_equal(text, WANT[k]);
    }
    assert_false(hearth_policy_file_loosened(&p, 9, text, sizeof(text)));
    hearth_policy_defaults(&p);
    assert_false(hearth_policy_file_loosened(&p, 0, text, sizeof(text)));
    /* a policy that code loosened is listed too */
    p.noise_min = 1;
    p.ledger.epsilon_task = p.ledger.epsilon_window = 11;
    p.ledger.epsilon_lifetime = 31;
    p.dimension_max *= 2;
    assert_true(hearth_policy_file_loosened(&p, 4, text, sizeof(text)));
    assert_string_equal(text, "epsilon_lifetime 31 instead of 30");
}

static void file_never_loosens_the_caps(void **state) {
    (void)state;
    static const char *const BAD[] = {
        "[policy]\nnoise_min = 1.1\n",
        "[policy]\nepsilon_task = 10.1\n",
        "[policy]\nepsilon_window = 11\n",
        "[policy]\nepsilon_lifetime = 31\n",
    };
    for (size_t k = 0; k < 4; k++) {
        hearth_policy p, d;
        hearth_policy_defaults(&d);
        assert_int_equal(parse(&p, BAD[k]), HEARTH_EREFUSED);
        assert_non_null(strstr(err.text, "line 2"));
        assert_non_null(strstr(err.text, "may only be tightened"));
        assert_true(p.ledger.epsilon_task == d.ledger.epsilon_task &&
                    p.noise_min == d.noise_min);
    }
    hearth_policy p;
    assert_ok(parse(&p, "[policy]\nepsilon_task = 10\nnoise_min = 1.2\n"));
}

static void file_refuses_what_it_does_not_know(void **state) {
    (void)state;
    static const char *const BAD[] = {
        "[policy]\ncohort = 16\n",        "[polcy]\ncohort_min = 16\n",
        "[policy]\ncohort_min = 0\n",     "[policy]\ncohort_min = many\n",
        "[policy]\ndelta = 1.1e-5\n",     "[policy]\ndelta = 0\n",
        "[policy]\ndelta = nan\n",        "[policy]\nspacing = -1h\n",
        "[policy]\nparticipations = 0\n", "[policy]\nbattery_min = 101\n",
        "[policy]\nneed_charging = 2\n",  "[policy]\nepsilon_task = inf\n",
        "[policy]\nclip = off\n",
    };
    for (size_t k = 0; k < sizeof(BAD) / sizeof(BAD[0]); k++) {
        hearth_policy p;
        hearth_status st = parse(&p, BAD[k]);
        if (st != HEARTH_EFORMAT)
            fail_msg("%s: %s", BAD[k], hearth_status_name(st));
        assert_non_null(strstr(err.text, "policy.ini"));
        assert_true(p.cohort_min == 32);
    }
}

static void file_is_read_from_disk(void **state) {
    (void)state;
    hearth_policy p;
    char dir[64], path[96];
    assert_non_null(hearth_test_dir(dir));
    snprintf(path, sizeof(path), "%s/policy.ini", dir);
    assert_int_equal(hearth_policy_file_read(&p, path, &err), HEARTH_ENOTFOUND);
    assert_true(p.cohort_min == 32);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("[policy]\ncohort_min = 17\n", f);
    fclose(f);
    assert_ok(hearth_policy_file_read(&p, path, &err));
    assert_int_equal(p.cohort_min, 17);
    hearth_policy_defaults(&p);
    assert_ok(hearth_policy_file_of_state(&p, dir, &err));
    assert_int_equal(p.cohort_min, 17);
    unlink(path);
    assert_ok(hearth_policy_file_of_state(&p, dir, &err)); /* the defaults */
    assert_int_equal(p.cohort_min, 32);
    assert_int_equal(hearth_policy_file_of_state(NULL, dir, &err),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_policy_file_of_state(&p, NULL, &err),
                     HEARTH_EINVAL);
    rmdir(dir);
    assert_int_equal(hearth_policy_file_read(NULL, path, &err), HEARTH_EINVAL);
    assert_int_equal(hearth_policy_file_read(&p, NULL, &err), HEARTH_EINVAL);
    assert_int_equal(hearth_policy_file_parse(NULL, "", 0, "x", &err),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_policy_file_parse(&p, NULL, 1, "x", &err),
                     HEARTH_EINVAL);
    assert_ok(hearth_policy_file_parse(&p, "", 0, "x", &err));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(file_reads_every_key),
        cmocka_unit_test(file_lists_what_it_loosened),
        cmocka_unit_test(file_never_loosens_the_caps),
        cmocka_unit_test(file_refuses_what_it_does_not_know),
        cmocka_unit_test(file_is_read_from_disk),
    };
    return cmocka_run_group_tests_name("client/device/policy_file", tests, NULL,
                                       NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_accountant.c - privacy/accountant_zcdp.h,
 * accountant_gaussian.h, calibrate.h, epsilons.h */
#include "tests/support/cmocka_all.h"

#include <math.h>

#include "privacy/accountant_gaussian.h"
#include "privacy/accountant_zcdp.h"
#include "privacy/calibrate.h"
#include "privacy/epsilons.h"

static const double INF = (double)INFINITY;

static void near(double got, double want, double relative) {
    if (!(fabs(got - want) <= relative * fabs(want)))
        fail_msg("got %.12g, want %.12g", got, want);
}

/* ---- the table of an independent implementation ---- */

/* Split a line at commas, in place.  Returns the number of columns. */
static size_t split(char *line, char **col, size_t cap) {
    size_t n = 0;
    line[strcspn(line, "\r\n")] = 0;
    while (n < cap) {
        col[n++] = line;
        line = strchr(line, ',');
        if (!line) break;
        *line++ = 0;
    }
    return n;
}

static FILE *open_table(const char *name) {
    char path[512];
    if (!hearth_test_data(path, sizeof(path), name)) skip();
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    return f;
}

static void gaussian_matches_every_reference_row(void **state) {
    (void)state;
    FILE *f = open_table("privacy/dp_reference.csv");
    char line[1024], *c[24];
    int rows = 0;
    while (fgets(line, sizeof(line), f)) {
        size_t n = split(line, c, 24);
        if (n < 16 || strcmp(c[1], "gaussian") != 0) continue;
        double z = strtod(c[3], NULL), rounds = strtod(c[5], NULL);
        double delta = strtod(c[6], NULL), rdp = strtod(c[7], NULL);
        near(hearth_gaussian_epsilon(z, rounds, delta), strtod(c[15], NULL),
             1e-6);
        /* The table's orders are a grid, ours are not: never above it. */
        double zcdp = hearth_account_epsilon(
            z, (uint32_t)rounds, delta, HEARTH_DP_ZERO_OUT, HEARTH_METHOD_ZCDP);
        assert_true(zcdp <= rdp * (1 + 1e-6));
        assert_true(zcdp >= strtod(c[15], NULL));
        rows++;
    }
    fclose(f);
    assert_true(rows >= 12);
}

static void calibration_matches_every_reference_row(void **state) {
    (void)state;
    FILE *f = open_table("privacy/dp_calibration.csv");
    char line[1024], *c[16];
    int rows = 0;
    while (fgets(line, sizeof(line), f)) {
        size_t n = split(line, c, 16);
        if (n < 9 || strcmp(c[1], "gaussian") != 0) continue;
        double eps = strtod(c[2], NULL), delta = strtod(c[3], NULL), z;
        uint32_t rounds = (uint32_t)strtoul(c[5], NULL, 10);
        assert_ok(hearth_calibrate_z(&z, eps, delta, rounds, HEARTH_DP_ZERO_OUT,
                                     HEARTH_METHOD_EXACT));
        near(z, strtod(c[8], NULL), 1e-6);
        assert_true(hearth_account_epsilon(z, rounds, delta, HEARTH_DP_ZERO_OUT,
                                           HEARTH_METHOD_EXACT) <= eps);
        rows++;
    }
    fclose(f);
    assert_true(rows >= 5);
}

/* ---- numbers that a bare clone checks ---- */

/* Five rounds at z = 2.4, delta 1e-5, replace-one. */
static void epsilons_of_the_example(void **state) {
    (void)state;
    hearth_epsilons e;
    hearth_epsilons_query q = {.z = 2.4,
                               .delta = 1e-5,
                               .participations = 5,
                               .n_devices = 16,
                               .n_min = 16,
                               .d = 160};
    assert_ok(hearth_epsilons_local(&q, &e));
    near(e.epsilon_coordinator, 9.84, 5e-4);
    near(e.epsilon_coordinator_exact, 9.17, 5e-4);
    near(e.epsilon_release_exact, 1.9, 1e-2);
    near(e.noise_to_signal, 7.59, 1e-3);
    near(e.rho_per_round, 2 / (2.4 * 2.4), 1e-14);
    assert_string_equal(e.relation, "replace-one");
    assert_string_equal(e.unit, "device");
    double at_16 = e.epsilon_coordinator;
    q.n_devices = q.n_min = 1000;
    assert_ok(hearth_epsilons_local(&q, &e));
    assert_true(e.epsilon_coordinator == at_16); /* no amplification */
    near(e.epsilon_release_exact, 0.19, 1e-2);
    near(e.noise_to_signal, 0.96, 1e-3);
}

static void gaussian_agrees_with_itself_backwards(void **state) {
    (void)state;
    const double z[] = {0.1, 0.5, 1, 2.4, 30, 500}, t[] = {1, 5, 1000},
                 delta[] = {0.2, 1e-3, 1e-6, 1e-12, 1e-30};
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < 3; j++)
            for (int k = 0; k < 5; k++) {
                double eps = hearth_gaussian_epsilon(z[i], t[j], delta[k]);
                double back = hearth_gaussian_log_delta(z[i], t[j], eps);
                if (eps > 0)
                    near(back, log(delta[k]), 1e-7);
                else
                    assert_true(back <= log(delta[k]));
                double zcdp =
                    hearth_zcdp_epsilon(t[j] / (2 * z[i] * z[i]), delta[k]);
                assert_true(zcdp >= eps * (1 - 1e-9));
            }
}

static void epsilons_are_monotone(void **state) {
    (void)state;
    for (int m = HEARTH_METHOD_ZCDP; m <= HEARTH_METHOD_EXACT; m++) {
        double last = INF;
        for (double z = 0.2; z < 100; z *= 1.3) {
            double e = hearth_account_epsilon(z, 5, 1e-6, HEARTH_DP_REPLACE_ONE,
                                              (hearth_method)m);
            assert_true(e < last);
            last = e;
        }
        last = 0;
        for (uint32_t t = 1; t < 2000; t = t * 2 + 1) {
            double e = hearth_account_epsilon(2, t, 1e-6, HEARTH_DP_REPLACE_ONE,
                                              (hearth_method)m);
            assert_true(e > last);
            last = e;
        }
        last = INF;
        for (double d = 1e-12; d < 0.3; d *= 10) {
            double e = hearth_account_epsilon(2, 5, d, HEARTH_DP_REPLACE_ONE,
                                              (hearth_method)m);
            assert_true(e < last);
            last = e;
        }
    }
}

/* Minimised at least as well as a fine scan of orders. */
static void zcdp_minimum_beats_a_scan(void **state) {
    (void)state;
    const double rho[] = {1e-6, 0.003, 0.1, 1.7, 40, 1e4};
    for (int i = 0; i < 6; i++) {
        double best = INF, delta = 1e-6;
        for (double u = -12; u < 12; u += 1e-3) {
            double a = 1 + exp(u);
            double e = rho[i] * a + log1p(-1 / a) - log(delta * a) / (a - 1);
            best = e < best ? e : best;
        }
        double got = hearth_zcdp_epsilon(rho[i], delta);
        assert_true(got <= best * (1 + 1e-9) && got >= best * (1 - 1e-5));
    }
}

static void relations_halve_z(void **state) {
    (void)state;
    assert_true(hearth_dp_z(3, HEARTH_DP_ZERO_OUT) == 3);
    assert_true(hearth_dp_z(3, HEARTH_DP_REPLACE_ONE) == 1.5);
    assert_true(hearth_zcdp_rho(2, HEARTH_DP_ZERO_OUT) == 0.125);
    assert_true(hearth_zcdp_rho(2, HEARTH_DP_REPLACE_ONE) == 0.5);
    assert_string_equal(hearth_dp_relation_name(HEARTH_DP_ZERO_OUT),
                        "zero-out");
    assert_string_equal(hearth_dp_relation_name((hearth_dp_relation)7),
                        "unknown");
    assert_string_equal(hearth_method_name(HEARTH_METHOD_EXACT), "exact");
    assert_string_equal(hearth_method_name(HEARTH_METHOD_ZCDP), "zcdp");
    assert_string_equal(hearth_method_name((hearth_method)9), "unknown");
}

/* A bad argument never looks private. */
static void accountants_fail_towards_infinity(void **state) {
    (void)state;
    const hearth_dp_relation r = HEARTH_DP_REPLACE_ONE;
    const double bad_z[] = {0, -1, (double)NAN, INF};
    const double bad_delta[] = {0, 1, -1, (double)NAN};
    for (int i = 0; i < 4; i++) {
        assert_true(hearth_zcdp_rho(bad_z[i], r) == INF);
        assert_true(hearth_gaussian_epsilon(bad_z[i], 1, 1e-5) == INF);
        assert_true(hearth_gaussian_log_delta(bad_z[i], 1, 1) == 0);
        assert_true(hearth_account_epsilon(bad_z[i], 1, 1e-5, r,
                                           HEARTH_METHOD_EXACT) == INF);
        assert_true(hearth_zcdp_epsilon(1, bad_delta[i]) == INF);
        assert_true(hearth_gaussian_epsilon(1, 1, bad_delta[i]) == INF);
        assert_true(hearth_noise_to_signal_local(bad_z[i], 9, 9) == INF);
    }
    assert_true(hearth_dp_z(1, (hearth_dp_relation)5) == 0);
    assert_true(hearth_zcdp_epsilon(-1, 1e-5) == INF);
    assert_true(hearth_zcdp_epsilon((double)NAN, 1e-5) == INF);
    assert_true(hearth_zcdp_epsilon(INF, 1e-5) == INF);
    assert_true(hearth_zcdp_epsilon(0, 1e-5) == 0);
    assert_true(hearth_gaussian_epsilon(1, -1, 1e-5) == INF);
    assert_true(hearth_gaussian_epsilon(1, 0, 1e-5) == 0);
    assert_true(hearth_gaussian_epsilon(1e9, 1, 0.1) == 0);
    assert_true(hearth_gaussian_log_delta(1, 1, -1) == 0);
    assert_true(hearth_gaussian_log_delta(1, 0, 1) == -INF);
    assert_true(hearth_gaussian_epsilon(1e-200, 1, 1e-5) == INF);
    assert_true(hearth_account_epsilon(1, 1, 1e-5, r, (hearth_method)9) == INF);
    assert_true(hearth_noise_to_signal_local(1, 1, 0) == INF);
}

static void epsilons_reject_bad_queries(void **state) {
    (void)state;
    const hearth_epsilons_query good = {.z = 1,
                                        .delta = 1e-5,
                                        .participations = 1,
                                        .n_devices = 9,
                                        .n_min = 9,
                                        .d = 9};
    hearth_epsilons e;
    hearth_epsilons_query q = good;
    q.n_min = 1; /* nobody else's noise: no promise about the release */
    assert_ok(hearth_epsilons_local(&q, &e));
    assert_true(e.epsilon_release == INF && e.epsilon_coordinator < INF);
    q.participations = 0;
    assert_ok(hearth_epsilons_local(&q, &e));
    assert_true(e.epsilon_release == 0 && e.epsilon_coordinator == 0);
    for (int k = 0; k < 4; k++) {
        q = good;
        if (k == 0) q.z = 0;
        if (k == 1) q.delta = 0;
        if (k == 2) q.n_devices = 0;
        if (k == 3) q.n_min = 0;
        assert_int_equal(hearth_epsilons_local(&q, &e), HEARTH_EINVAL);
        assert_true(e.epsilon_coordinator == INF && e.epsilon_release == INF);
        assert_true(e.noise_to_signal == INF && e.rho_per_round == INF);
    }
    assert_int_equal(hearth_epsilons_local(NULL, &e), HEARTH_EINVAL);
    assert_int_equal(hearth_epsilons_local(&good, NULL), HEARTH_EINVAL);
}

static void calibration_reaches_its_target(void **state) {
    (void)state;
    const double eps[] = {0.05, 1, 10, 300};
    for (int i = 0; i < 4; i++)
        for (int m = 0; m < 2; m++)
            for (int r = 0; r < 2; r++) {
                double z;
                assert_ok(hearth_calibrate_z(&z, eps[i], 1e-6, 5,
                                             (hearth_dp_relation)r,
                                             (hearth_method)m));
                double at = hearth_account_epsilon(
                    z, 5, 1e-6, (hearth_dp_relation)r, (hearth_method)m);
                assert_true(at <= eps[i] && at >= eps[i] * (1 - 1e-6));
            }
}

static void calibration_rejects_bad_targets(void **state) {
    (void)state;
    const hearth_dp_relation r = HEARTH_DP_ZERO_OUT;
    const hearth_method m = HEARTH_METHOD_ZCDP;
    double z = 3;
    assert_int_equal(hearth_calibrate_z(&z, 0, 1e-5, 1, r, m), HEARTH_EINVAL);
    assert_true(z == 0);
    assert_int_equal(hearth_calibrate_z(&z, INF, 1e-5, 1, r, m), HEARTH_EINVAL);
    assert_int_equal(hearth_calibrate_z(&z, 1, 1, 1, r, m), HEARTH_EINVAL);
    assert_int_equal(hearth_calibrate_z(&z, 1, 1e-5, 0, r, m), HEARTH_EINVAL);
    assert_int_equal(
        hearth_calibrate_z(&z, 1, 1e-5, 1, (hearth_dp_relation)4, m),
        HEARTH_EINVAL);
    assert_int_equal(hearth_calibrate_z(&z, 1, 1e-5, 1, r, (hearth_method)4),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_calibrate_z(NULL, 1, 1e-5, 1, r, m), HEARTH_EINVAL);
    assert_int_equal(hearth_calibrate_z(&z, 1e-12, 1e-30, 1, r, m),
                     HEARTH_EUNSUPPORTED);
    assert_int_equal(hearth_calibrate_z(&z, 1e12, 1e-5, 1, r, m),
                     HEARTH_EUNSUPPORTED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gaussian_matches_every_reference_row),
        cmocka_unit_test(calibration_matches_every_reference_row),
        cmocka_unit_test(epsilons_of_the_example),
        cmocka_unit_test(gaussian_agrees_with_itself_backwards),
        cmocka_unit_test(epsilons_are_monotone),
        cmocka_unit_test(zcdp_minimum_beats_a_scan),
        cmocka_unit_test(relations_halve_z),
        cmocka_unit_test(accountants_fail_towards_infinity),
        cmocka_unit_test(epsilons_reject_bad_queries),
        cmocka_unit_test(calibration_reaches_its_target),
        cmocka_unit_test(calibration_rejects_bad_targets),
    };
    return cmocka_run_group_tests_name("privacy/accountants", tests, NULL,
                                       NULL);
}

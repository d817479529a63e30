/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_accountant_rdp.c - privacy/accountant_rdp.h,
 * accountant.h, calibrate.h: closed forms and Renyi, every reference row. */
#include "tests/support/dp_table.h"

#include <math.h>

#include "privacy/accountant_gaussian.h"
#include "privacy/accountant_rdp.h"
#include "privacy/calibrate.h"
#include "privacy/normal_dist.h"

static const double INF = (double)INFINITY;

static void near(const char *what, double got, double want, double relative) {
    if (!(fabs(got - want) <= relative * fabs(want)))
        fail_msg("%s: got %.12g, want %.12g", what, got, want);
}

/* ---- every row ---- */

static void rdp_row(const dp_row *r) {
    hearth_account_query q = dp_query(r, HEARTH_METHOD_RDP);
    hearth_account_answer a;
    assert_ok(hearth_account(&a, &q, NULL, NULL));
    near(r->id, a.epsilon, r->rdp, 1e-6);
    near(r->id, a.order, r->order, 1e-9);
}

static void exact_row(const dp_row *r) {
    if (!(r->exact > 0)) return;
    hearth_account_query q = dp_query(r, HEARTH_METHOD_EXACT);
    hearth_account_answer a;
    assert_ok(hearth_account(&a, &q, NULL, NULL));
    near(r->id, a.epsilon, r->exact, 1e-6);
}

static void rdp_and_exact_match_the_rows_written_here(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(DP_ROWS) / sizeof(*DP_ROWS); i++) {
        rdp_row(&DP_ROWS[i]);
        exact_row(&DP_ROWS[i]);
    }
}

static void rdp_matches_every_reference_row(void **state) {
    (void)state;
    assert_int_equal(dp_each_row(rdp_row), 69);
}

static void exact_matches_every_reference_row(void **state) {
    (void)state;
    assert_int_equal(dp_each_row(exact_row), 69);
}

/* The table's z come from a bisection to 1e-6 or so. */
static void calibrate_row(const dp_target *t) {
    const hearth_method m[] = {HEARTH_METHOD_RDP, HEARTH_METHOD_EXACT};
    for (int i = 0; i < 2; i++) {
        double want = i ? t->z_exact : t->z_rdp;
        if (!(want > 0)) continue;
        hearth_account_query q = {.mechanism = t->mechanism,
                                  .method = m[i],
                                  .rate = t->q,
                                  .rounds = (uint64_t)t->rounds,
                                  .delta = t->delta};
        hearth_account_answer a, again;
        assert_ok(hearth_calibrate(&q, t->epsilon, &a, NULL, NULL));
        if (!(q.z >= want * (1 - 1e-3) && q.z <= want * (1 + 2e-3)))
            fail_msg("%s: z %.9g, want %.9g", t->id, q.z, want);
        assert_ok(hearth_account(&again, &q, NULL, NULL));
        assert_true(again.epsilon <= t->epsilon);
        assert_true(again.epsilon == a.epsilon);
        q.z *= 1 - 1e-8; /* and it is the smallest */
        assert_ok(hearth_account(&again, &q, NULL, NULL));
        assert_true(again.epsilon > t->epsilon);
    }
}

static void calibration_matches_the_rows_written_here(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(DP_TARGETS) / sizeof(*DP_TARGETS); i++)
        calibrate_row(&DP_TARGETS[i]);
}

static void calibration_matches_every_reference_row(void **state) {
    (void)state;
    assert_int_equal(dp_each_target(calibrate_row), 20);
}

/* ---- what must hold without a table ---- */

static void orders_are_the_usual_ones(void **state) {
    (void)state;
    near("first", hearth_rdp_order(0), 1.1, 1e-15);
    near("tenths", hearth_rdp_order(98), 10.9, 1e-15);
    assert_true(hearth_rdp_order(99) == 11 && hearth_rdp_order(151) == 63);
    assert_true(hearth_rdp_order(152) == 128);
    assert_true(hearth_rdp_order(HEARTH_RDP_ORDERS - 1) == 1024);
    assert_true(hearth_rdp_order(HEARTH_RDP_ORDERS) == 0);
    for (size_t i = 1; i < HEARTH_RDP_ORDERS; i++)
        assert_true(hearth_rdp_order(i) > hearth_rdp_order(i - 1));
}

/* E[(P/Q)^alpha] by the trapezoid rule, for any alpha. */
static double divergence_by_integral(double z, double q, double alpha) {
    double sum = 0, step = z / 64, lo = -14 * z, hi = alpha + 14 * z;
    for (double x = lo; x < hi; x += step) {
        double ratio = 1 - q + q * exp((2 * x - 1) / (2 * z * z));
        sum += exp(alpha * log(ratio) - x * x / (2 * z * z));
    }
    double moment = sum * step / (z * 2.5066282746310005024);
    return log(moment) / (alpha - 1);
}

static void poisson_divergence_is_the_integral(void **state) {
    (void)state;
    const double z[] = {0.8, 2, 5}, q[] = {1e-3, 0.1, 0.5, 0.9, 1};
    const double alpha[] = {1.5, 2, 2.7, 5, 10.9, 13};
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 5; j++)
            for (int k = 0; k < 6; k++) {
                double got =
                    hearth_rdp_poisson_divergence(z[i], q[j], alpha[k]);
                double want = divergence_by_integral(z[i], q[j], alpha[k]);
                bool whole = alpha[k] == floor(alpha[k]) || q[j] == 1;
                /* Fractional: an upper bound, for absolute values are summed;
                 * small moments lose digits to 1. */
                assert_true(got >= want * (1 - 1e-9) - 1e-12);
                if (whole)
                    near("integer order", got, want, 1e-7 + 1e-13 / want);
            }
}

/* Theorem 27 for order 3 by hand: the second bound of i = 3 and both of 2. */
static void swor_divergence_of_small_orders(void **state) {
    (void)state;
    double z = 2, q = 0.1, f = 1 / (z * z), e = exp(f);
    double two = fmin(4 * (e - 1), 2 * e) * q * q;
    near("2", hearth_rdp_swor_divergence(z, q, 2), log1p(two), 1e-12);
    /* B(2), B(4): moments of e^N about 1. */
    double b2 = e - 1, b4 = exp(6 * f) - 4 * exp(3 * f) + 6 * e - 3;
    double three = fmin(4 * sqrt(b2 * b4), 2 * exp(3 * f)) * q * q * q;
    near("3", hearth_rdp_swor_divergence(z, q, 3), log1p(3 * two + three) / 2,
         1e-10);
    near("2.5 by the chord", 1.5 * hearth_rdp_swor_divergence(z, q, 2.5),
         0.5 * log1p(two) + 0.5 * log1p(3 * two + three), 1e-10);
    near("q = 1", hearth_rdp_swor_divergence(z, 1, 7), 7 / 8.0, 1e-14);
    /* More noise, smaller cohort: less; a higher order: more. */
    for (double a = 2; a < 300; a *= 1.7) {
        double at = hearth_rdp_swor_divergence(z, q, a);
        assert_true(hearth_rdp_swor_divergence(z * 1.1, q, a) < at);
        assert_true(hearth_rdp_swor_divergence(z, q / 1.1, a) < at);
        assert_true(hearth_rdp_swor_divergence(z, q, a * 1.1) >= at);
    }
}

static void conversion_is_proposition_12(void **state) {
    (void)state;
    double a = 5, r = 0.3, d = 1e-6;
    near("formula", hearth_rdp_to_epsilon(r, a, d),
         r + log(1 - 1 / a) - log(d * a) / (a - 1), 1e-14);
    assert_true(hearth_rdp_to_epsilon(0, a, d) == 0);
    assert_true(hearth_rdp_to_epsilon(1e-13, a, d) == 0);
    assert_true(hearth_rdp_to_epsilon(INF, a, d) == INF);
    assert_true(hearth_rdp_to_epsilon((double)NAN, a, d) == INF);
    assert_true(hearth_rdp_to_epsilon(r, 1, d) == INF);
    assert_true(hearth_rdp_to_epsilon(r, 1.005, d) == INF);
    assert_true(hearth_rdp_to_epsilon(r, a, 0) == INF);
}

static double rdp_of(hearth_mechanism m, double z, double q, uint64_t t,
                     double delta) {
    hearth_account_query query = {.mechanism = m,
                                  .method = HEARTH_METHOD_RDP,
                                  .relation = m == DP_S ? HEARTH_DP_REPLACE_ONE
                                                        : HEARTH_DP_ZERO_OUT,
                                  .z = z,
                                  .rate = q,
                                  .rounds = t,
                                  .delta = delta};
    hearth_account_answer a;
    assert_ok(hearth_account(&a, &query, NULL, NULL));
    return a.epsilon;
}

static void rdp_is_monotone_and_adds_up(void **state) {
    (void)state;
    const hearth_mechanism m[] = {DP_P, DP_S};
    const double z[] = {0.6, 1, 4}, q[] = {1e-3, 0.05, 0.4};
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 3; j++)
            for (int k = 0; k < 3; k++) {
                double e = rdp_of(m[i], z[j], q[k], 100, 1e-6);
                assert_true(rdp_of(m[i], z[j] * 1.05, q[k], 100, 1e-6) <= e);
                assert_true(rdp_of(m[i], z[j], q[k] / 1.05, 100, 1e-6) <= e);
                assert_true(rdp_of(m[i], z[j], q[k], 95, 1e-6) <= e);
                assert_true(rdp_of(m[i], z[j], q[k], 100, 1.1e-6) <= e);
                double half = rdp_of(m[i], z[j], q[k], 50, 1e-6);
                assert_true(rdp_of(m[i], z[j], q[k], 100, 2e-6) <= 2 * half);
            }
}

static void exact_sampled_goes_back(void **state) {
    (void)state;
    assert_true(hearth_gaussian_epsilon_sampled(1, 1e-5, 1e-4) == 0);
    near("rate 1", hearth_gaussian_epsilon_sampled(1.3, 1, 1e-6),
         hearth_gaussian_epsilon(1.3, 1, 1e-6), 1e-14);
    for (double q = 1e-4; q < 1; q *= 3)
        for (double z = 0.3; z < 10; z *= 2) {
            double e = hearth_gaussian_epsilon_sampled(z, q, 1e-6);
            assert_true(e <= hearth_gaussian_epsilon(z, 1, 1e-6));
            assert_true(hearth_gaussian_epsilon_sampled(z, q, 2e-6) <= e);
            assert_true(hearth_gaussian_epsilon_sampled(z * 1.01, q, 1e-6) <=
                        e);
            assert_true(hearth_gaussian_epsilon_sampled(z, q * 0.99, 1e-6) <=
                        e);
        }
    assert_true(hearth_gaussian_epsilon_sampled(0, 0.5, 1e-6) == INF);
    assert_true(hearth_gaussian_epsilon_sampled(1, 0, 1e-6) == INF);
    assert_true(hearth_gaussian_epsilon_sampled(1, 0.5, 1) == INF);
}

/* PRIVACY.md: N_Z(0, 64) against N(0, 64 - s) followed by a discrete Gaussian
 * of variance s centred there; the log-ratio is at most 8.1 e^(-2 pi^2 s). */
static double largest_log_ratio(double s) {
    const double pi = 3.14159265358979323846, var = 64, step = 1.0 / 64;
    double high = -INF, low = INF;
    for (int k = -40; k <= 40; k++) {
        double sum = 0;
        /* The integrand's bulk is at k (var - s) / var, with variance
         * s (var - s) / var. */
        for (double y = k - 14; y <= k + 14; y += step) {
            double z = 0;
            for (int j = (int)floor(y) - 12; j <= (int)floor(y) + 13; j++)
                z += exp(-(j - y) * (j - y) / (2 * s));
            sum += exp(-y * y / (2 * (var - s)) - (k - y) * (k - y) / (2 * s) +
                       k * (double)k / (2 * var)) /
                   z;
        }
        double ratio = log(sum * step * sqrt(2 * pi * s));
        high = fmax(high, ratio);
        low = fmin(low, ratio);
    }
    return high - low;
}

static void discrete_gaussian_is_a_function_of_a_continuous_one(void **state) {
    (void)state;
    const double pi = 3.14159265358979323846;
    const double s[] = {0.15, 0.25, 0.5, 1};
    for (int i = 0; i < 4; i++) {
        double r = largest_log_ratio(s[i]);
        /* 1e-12: what double precision can see. */
        if (!(r <= 8.1 * exp(-2 * pi * pi * s[i]) + 1e-12))
            fail_msg("s %g: %g", s[i], r);
    }
    assert_true(largest_log_ratio(0.15) > 1e-6); /* and it sees something */
    assert_true(8.1 * exp(-2 * pi * pi * 3.6) < 1.2e-30);
}

/* ---- refusals ---- */

static void refused(hearth_account_query q, hearth_status st,
                    const char *word) {
    hearth_account_answer a;
    hearth_error err = {HEARTH_OK, ""};
    assert_int_equal(hearth_account(&a, &q, NULL, &err), st);
    assert_true(a.epsilon == INF);
    if (!strstr(err.text, word)) fail_msg("'%s' lacks '%s'", err.text, word);
}

static void what_a_method_cannot_do_is_refused_by_name(void **state) {
    (void)state;
    hearth_account_query good = {.mechanism = DP_P,
                                 .method = HEARTH_METHOD_RDP,
                                 .z = 1,
                                 .rate = 0.1,
                                 .rounds = 10,
                                 .delta = 1e-6};
    hearth_account_query q = good;
    q.mechanism = DP_G;
    refused(q, HEARTH_EINVAL, "poisson_gaussian");
    q = good;
    q.relation = HEARTH_DP_REPLACE_ONE;
    refused(q, HEARTH_EUNSUPPORTED, "zero-out");
    q = good;
    q.mechanism = DP_S;
    refused(q, HEARTH_EUNSUPPORTED, "replace-one");
    q.relation = HEARTH_DP_REPLACE_ONE;
    q.method = HEARTH_METHOD_PLD;
    refused(q, HEARTH_EUNSUPPORTED, "pld cannot do swor_gaussian");
    q.method = HEARTH_METHOD_EXACT;
    refused(q, HEARTH_EUNSUPPORTED, "exact cannot do swor_gaussian");
    q = good;
    q.method = HEARTH_METHOD_EXACT;
    refused(q, HEARTH_EUNSUPPORTED, "1 round");
    q.method = HEARTH_METHOD_ZCDP;
    refused(q, HEARTH_EUNSUPPORTED, "zcdp");
    for (int i = 0; i < 7; i++) {
        q = good;
        if (i == 0) q.z = 0;
        if (i == 1) q.z = INF;
        if (i == 2) q.rate = 0;
        if (i == 3) q.rate = 1.1;
        if (i == 4) q.rounds = 0;
        if (i == 5) q.delta = 0;
        if (i == 6) q.delta = (double)NAN;
        refused(q, HEARTH_EINVAL, "ranges");
    }
    assert_int_equal(hearth_account(NULL, &good, NULL, NULL), HEARTH_EINVAL);
    hearth_rdp_answer r;
    assert_int_equal(hearth_rdp_poisson(&r, 1, 0, 1, 1e-6), HEARTH_EINVAL);
    assert_int_equal(hearth_rdp_swor(&r, 1, 0.1, -1, 1e-6), HEARTH_EINVAL);
    assert_true(hearth_rdp_poisson_divergence(-1, 0.1, 2) == INF);
    assert_true(hearth_rdp_swor_divergence(1, 0.1, 1) == INF);
}

static void names(void **state) {
    (void)state;
    assert_string_equal(hearth_mechanism_name(DP_G), "gaussian");
    assert_string_equal(hearth_mechanism_name(DP_P), "poisson_gaussian");
    assert_string_equal(hearth_mechanism_name(DP_S), "swor_gaussian");
    assert_string_equal(hearth_mechanism_name((hearth_mechanism)9), "unknown");
    assert_string_equal(hearth_method_name(HEARTH_METHOD_RDP), "rdp");
    assert_string_equal(hearth_method_name(HEARTH_METHOD_PLD), "pld");
}

static void normal_tails_keep_their_digits(void **state) {
    (void)state;
    near("0", hearth_normal_log_cdf(0), log(0.5), 1e-15);
    /* log Phi to 15 digits, by mpmath. */
    near("-10", hearth_normal_log_cdf(-10), -53.2312851505124, 1e-14);
    near("-25", hearth_normal_log_cdf(-25), -316.6394080080203, 1e-13);
    near("-40", hearth_normal_log_cdf(-40), -804.608442013754, 1e-13);
    near("-1000", hearth_normal_log_cdf(-1000), -500007.826694812, 1e-14);
    for (double x = -26; x < -3; x += 0.125)
        near("mills",
             log(hearth_normal_mills(x)) - x * x / 2 - 0.91893853320467274178,
             hearth_normal_log_cdf(x), 1e-12);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rdp_and_exact_match_the_rows_written_here),
        cmocka_unit_test(rdp_matches_every_reference_row),
        cmocka_unit_test(exact_matches_every_reference_row),
        cmocka_unit_test(calibration_matches_the_rows_written_here),
        cmocka_unit_test(calibration_matches_every_reference_row),
        cmocka_unit_test(orders_are_the_usual_ones),
        cmocka_unit_test(poisson_divergence_is_the_integral),
        cmocka_unit_test(swor_divergence_of_small_orders),
        cmocka_unit_test(conversion_is_proposition_12),
        cmocka_unit_test(rdp_is_monotone_and_adds_up),
        cmocka_unit_test(exact_sampled_goes_back),
        cmocka_unit_test(what_a_method_cannot_do_is_refused_by_name),
        cmocka_unit_test(discrete_gaussian_is_a_function_of_a_continuous_one),
        cmocka_unit_test(names),
        cmocka_unit_test(normal_tails_keep_their_digits),
    };
    return cmocka_run_group_tests_name("privacy/accountant_rdp", tests, NULL,
                                       NULL);
}

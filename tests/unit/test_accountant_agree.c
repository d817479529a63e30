/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_accountant_agree.c - accountants against themselves: epsilon
 * and back to delta, and rounds put together (A-eps).
 *
 * delta(epsilon(delta)) is within 1e-6 of delta itself, not of its logarithm,
 * where there is a formula for delta(epsilon): closed forms, zCDP, Renyi.  PLD
 * has none, and its epsilon is a grid's, within 1e-4: there the closed form says
 * that the delta behind its epsilon is never more than was asked. */
#include "tests/support/dp_table.h"

#include <math.h>

#include "privacy/accountant_gaussian.h"
#include "privacy/accountant_pld.h"
#include "privacy/accountant_rdp.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static const double DELTA[] = {0.2,   1e-3,  1e-6,   1e-10,
                               1e-30, 1e-80, 1e-200, 1e-300};

/* log_back is the log of delta(epsilon(delta)); log(x) - log(y) is the relative
 * difference of x and y when small. */
static void came_back(const char *what, double log_back, double delta) {
    if (!(fabs(log_back - log(delta)) <= 1e-6))
        fail_msg("%s: delta %g comes back %g off", what, delta,
                 expm1(log_back - log(delta)));
}

/* Near the tail's end delta falls by sqrt(2 |log delta|) / mu per unit of
 * epsilon, which is known to 1e-15: digits are left even at 1e-300. */
static void gaussian_comes_back(void **state) {
    (void)state;
    const double z[] = {0.1, 0.5, 1, 2.4, 30, 500}, t[] = {1, 5, 1000};
    for (size_t i = 0; i < COUNT(z) * COUNT(t) * COUNT(DELTA); i++) {
        double at = z[i % COUNT(z)], rounds = t[i / COUNT(z) % COUNT(t)];
        double delta = DELTA[i / COUNT(z) / COUNT(t)];
        double eps = hearth_gaussian_epsilon(at, rounds, delta);
        double back = hearth_gaussian_log_delta(at, rounds, eps);
        assert_true(back <= log(delta)); /* rounded against us */
        if (eps > 0) came_back("gaussian", back, delta);
    }
}

static double upper_tail(double x) {
    return 0.5 * erfc(x * 0.70710678118654752440);
}

/* delta of one sampled round, the larger of both directions: tails of the
 * mixture beyond the output whose loss is e. */
static double sampled_delta(double z, double q, double e) {
    double x = z * z * log((exp(e) - 1 + q) / q) + 0.5, share = exp(-e) - 1 + q;
    double remove =
        q * upper_tail((x - 1) / z) - (exp(e) - 1 + q) * upper_tail(x / z);
    if (!(share > 0)) return remove; /* no loss of adding is so large */
    x = z * z * log(share / q) + 0.5;
    double add = (1 - exp(e) * (1 - q)) * upper_tail(-x / z) -
                 exp(e) * q * upper_tail((1 - x) / z);
    return fmax(remove, add);
}

static void sampled_round_comes_back(void **state) {
    (void)state;
    const double z[] = {0.5, 1, 4}, q[] = {1e-3, 0.1, 0.7, 0.99};
    for (size_t i = 0; i < COUNT(z) * COUNT(q) * 4; i++) {
        double at = z[i % COUNT(z)], rate = q[i / COUNT(z) % COUNT(q)];
        double delta = DELTA[i / COUNT(z) / COUNT(q)];
        double eps = hearth_gaussian_epsilon_sampled(at, rate, delta);
        if (eps > 0)
            came_back("sampled", log(sampled_delta(at, rate, eps)), delta);
    }
}

/* Proposition 12 of arXiv:2004.00010 the other way round, at one order. */
static double log_delta_at(double divergence, double order, double epsilon) {
    return (order - 1) * (divergence - epsilon + log1p(-1 / order)) -
           log(order);
}

/* The least over all orders, of which u = log(order - 1) is scanned. */
static double zcdp_log_delta(double rho, double epsilon, double lo, double hi) {
    double step = (hi - lo) / 20000, best = 0, at = lo;
    for (double u = lo; u < hi; u += step) {
        double log_delta =
            log_delta_at(rho * (1 + exp(u)), 1 + exp(u), epsilon);
        if (log_delta < best) best = log_delta, at = u;
    }
    if (step < 1e-6) return best;
    return zcdp_log_delta(rho, epsilon, at - 2 * step, at + 2 * step);
}

static void zcdp_comes_back(void **state) {
    (void)state;
    const double rho[] = {1e-3, 0.1, 2.0 / 9, 5, 300};
    for (size_t i = 0; i < COUNT(rho) * COUNT(DELTA); i++) {
        double r = rho[i % COUNT(rho)], delta = DELTA[i / COUNT(rho)];
        double eps = hearth_zcdp_epsilon(r, delta);
        if (eps > 0) came_back("zcdp", zcdp_log_delta(r, eps, -12, 16), delta);
    }
}

static void rdp_comes_back(void **state) {
    (void)state;
    const double z[] = {0.8, 3}, q[] = {1e-3, 0.2, 1};
    for (size_t i = 0; i < COUNT(z) * COUNT(q) * 4 * 2; i++) {
        double at = z[i % 2], rate = q[i / 2 % 3], delta = DELTA[i / 6 % 4];
        bool swor = i / 24;
        hearth_rdp_answer a;
        assert_ok(swor ? hearth_rdp_swor(&a, at, rate, 100, delta)
                       : hearth_rdp_poisson(&a, at, rate, 100, delta));
        if (!(a.epsilon > 0)) continue;
        double best = 0;
        for (size_t k = 0; k < HEARTH_RDP_ORDERS; k++) {
            double order = hearth_rdp_order(k);
            double d = swor ? hearth_rdp_swor_divergence(at, rate, order)
                            : hearth_rdp_poisson_divergence(at, rate, order);
            best = fmin(best, log_delta_at(100 * d, order, a.epsilon));
        }
        came_back(swor ? "rdp swor" : "rdp poisson", best, delta);
    }
}

static void pld_promises_no_less_delta(void **state) {
    (void)state;
    const double z[] = {0.7, 4};
    const uint64_t t[] = {2, 30};
    for (size_t i = 0; i < 2 * 2 * 4; i++) {
        double delta = DELTA[1 + i / 4 % 4]; /* to 1e-30 */
        const hearth_pld_query q = {z[i % 2], 1, t[i / 2 % 2], delta, 0};
        hearth_pld_answer a;
        assert_ok(hearth_pld_poisson(&a, &q, NULL));
        double back =
            hearth_gaussian_log_delta(q.z, (double)q.rounds, a.epsilon);
        assert_true(back <= log(delta));
        assert_true(back >= log(delta) - 0.05); /* and little less */
    }
}

/* ---- rounds put together ---- */

static double epsilon_of(hearth_mechanism m, hearth_method method, double z,
                         uint64_t rounds, double delta) {
    const hearth_account_query q = {
        .mechanism = m,
        .method = method,
        .relation = m == DP_S ? HEARTH_DP_REPLACE_ONE : HEARTH_DP_ZERO_OUT,
        .z = z,
        .rate = m == DP_G ? 1 : 0.05,
        .rounds = rounds,
        .delta = delta};
    hearth_account_answer a;
    assert_ok(hearth_account(&a, &q, NULL, NULL));
    return a.epsilon;
}

/* Basic composition bounds every accountant: epsilon of T1 + T2 rounds at
 * delta1 + delta2 is at most the sum of both; and more rounds cost more. */
static void rounds_cost_no_more_together(void **state) {
    (void)state;
    static const struct {
        hearth_mechanism m;
        hearth_method method;
    } with[] = {{DP_G, HEARTH_METHOD_ZCDP}, {DP_G, HEARTH_METHOD_EXACT},
                {DP_G, HEARTH_METHOD_RDP},  {DP_P, HEARTH_METHOD_RDP},
                {DP_S, HEARTH_METHOD_RDP},  {DP_P, HEARTH_METHOD_PLD}};
    const uint64_t t[][2] = {{1, 2}, {3, 40}, {200, 7}};
    const double delta[][2] = {
        {1e-3, 1e-3}, {1e-6, 1e-6}, {1e-5, 1e-8}, {1e-10, 1e-10}};
    for (size_t i = 0; i < COUNT(with) * COUNT(t) * COUNT(delta); i++) {
        size_t w = i % COUNT(with), k = i / COUNT(with) % COUNT(t);
        const double *d = delta[i / COUNT(with) / COUNT(t)];
        hearth_mechanism m = with[w].m;
        hearth_method how = with[w].method;
        double one = epsilon_of(m, how, 1.5, t[k][0], d[0]),
               other = epsilon_of(m, how, 1.5, t[k][1], d[1]),
               all = epsilon_of(m, how, 1.5, t[k][0] + t[k][1], d[0] + d[1]);
        /* 1e-4: what pld's grid may add. */
        if (!(all <= (one + other) * (1 + 1e-4)))
            fail_msg("%s by %s, %u and %u rounds: %g > %g + %g",
                     hearth_mechanism_name(m), hearth_method_name(how),
                     (unsigned)t[k][0], (unsigned)t[k][1], all, one, other);
        double least = fmin(d[0], d[1]);
        double longer = epsilon_of(m, how, 1.5, t[k][0] + t[k][1], least);
        assert_true(longer > epsilon_of(m, how, 1.5, t[k][0], least));
        assert_true(longer > epsilon_of(m, how, 1.5, t[k][1], least));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gaussian_comes_back),
        cmocka_unit_test(sampled_round_comes_back),
        cmocka_unit_test(zcdp_comes_back),
        cmocka_unit_test(rdp_comes_back),
        cmocka_unit_test(pld_promises_no_less_delta),
        cmocka_unit_test(rounds_cost_no_more_together),
    };
    return cmocka_run_group_tests_name("privacy/accountants agree", tests, NULL,
                                       NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_accountant_ddg.c - sums of discrete Gaussians: every row of an
 * independent table (d, clip, scale, sigma of one device, n devices, T rounds)
 * against privacy/sigma.h and the accountants.
 *
 *     column                      compared with
 *     Delta2_int                  hearth_sigma_bound_sq; for beta = 0, which is
 *                                 not what we round by, as an upper bound
 *     rounding_inflation          its root over clip * scale
 *     noise_multiplier            hearth_sigma_z of n sigma^2
 *     eps_rdp, order              method rdp; method zcdp lies between it and
 *                                 the closed form
 *     eps_gauss_exact_minus3p6    method exact at sqrt(n sigma^2 - 3.6) / Delta2
 *     log10_tau                   the bound of PRIVACY.md, R1.  No code of ours
 *                                 computes tau: a device refuses sigma < 4,
 *                                 where it is below 1e-60
 *     min_modulus_bits_k6         nothing: it is for secure aggregation, and
 *                                 uploads are int32
 */
#include "tests/support/dp_table.h"

#include <math.h>

#include "privacy/sigma.h"

typedef struct {
    double d, n, clip, scale, sigma, rounds, delta, beta; /* of the round */
    double delta2, log10_tau, inflation, z, rdp, order;   /* what follows */
    double exact;                                         /* 0: none */
} ddg_row;

/* The first; no beta; tau seen and not; the largest and the smallest. */
static const ddg_row ROWS[] = {
    {1048576, 100, 1, 4096, 400, 1, 1e-6, 0.6065306597126334, 4128.4340857,
     -685809.36, 1.0079185, 0.968890363, 5.4119882, 5.8, 5.0657031},
    {1048576, 1000, 1, 1024, 33, 100, 1e-6, 0, 2048, -4666.7967, 2,
     0.5095466933, 294.05954, 1.3, 284.96906},
    {1048576, 1000, 1, 64, 2, 10, 1e-6, 0.6065306597126334, 516.542350635,
     -16.145258, 8.0709742, 0.1224402087, 466.59819, 1.2, 0},
    {1048576, 1000, 1, 16, 0.5, 1, 1e-6, 0.6065306597126334, 512.765053411,
     1.8765159, 32.047816, 0.03083554192, 78907743, 1.2, 0},
    {8388608, 10000, 1, 16384, 655, 2000, 1e-10, 0.6065306597126334,
     16448.4175578, -1838931.2, 1.0039317, 3.982145989, 137.51096, 1.6,
     133.71098},
    {1024, 100, 1, 256, 25, 50, 1e-5, 0.6065306597126334, 257.029181223,
     -2677.9467, 1.0040202, 0.9726522055, 59.705, 1.6, 56.648157},
};

static void within(const ddg_row *r, const char *what, double got, double low,
                   double high) {
    if (!(got >= low && got <= high))
        fail_msg("d %g n %g sigma %g: %s is %.12g, not in %.12g .. %.12g", r->d,
                 r->n, r->sigma, what, got, low, high);
}

static double account(const ddg_row *r, hearth_method m, double z,
                      double *order) {
    const hearth_account_query q = {.mechanism = DP_G,
                                    .method = m,
                                    .relation = HEARTH_DP_ZERO_OUT,
                                    .z = z,
                                    .rate = 1,
                                    .rounds = (uint64_t)r->rounds,
                                    .delta = r->delta};
    hearth_account_answer a;
    assert_ok(hearth_account(&a, &q, NULL, NULL));
    if (order) *order = a.order;
    return a.epsilon;
}

/* An integer, rounded up: at most 1 above the table's square. */
static void check_integers(const ddg_row *r) {
    uint64_t bound;
    const double digits = 1e-9, square = r->delta2 * r->delta2;
    assert_ok(
        hearth_sigma_bound_sq(r->clip, ilogb(r->scale), (size_t)r->d, &bound));
    if (!(r->beta > 0)) { /* never redrawn: the sure bound, and ours is less */
        within(r, "Delta2^2", (double)bound, 0.25 * square, square);
        bound = (uint64_t)ceil(square);
    }
    within(r, "Delta2^2", (double)bound, square * (1 - digits),
           square * (1 + digits) + 1);
    const double up = digits + 1 / square;
    double inflation = sqrt((double)bound) / (r->clip * r->scale);
    within(r, "inflation", inflation, r->inflation * (1 - 1e-7),
           r->inflation * (1 + 1e-7 + up));
    /* sigma^2 of the sum in sixteenths; z is rounded down. */
    hearth_sigma_sq s = {(uint64_t)(16 * r->n * r->sigma * r->sigma), 16};
    within(r, "z", hearth_sigma_z(s, bound), r->z * (1 - up),
           r->z * (1 + digits));
}

/* Returns whether tau is too small to see. */
static bool check_epsilons(const ddg_row *r) {
    double order, rdp = account(r, HEARTH_METHOD_RDP, r->z, &order);
    /* Every term of the bound has at most tau d more than the Gaussian's. */
    bool gaussian = r->rounds * r->d * pow(10, r->log10_tau) < 1e-8 * r->rdp;
    if (gaussian) {
        within(r, "rdp", rdp, r->rdp * (1 - 1e-6), r->rdp * (1 + 1e-6));
        within(r, "order", order, r->order - 1e-9, r->order + 1e-9);
        within(r, "zcdp", account(r, HEARTH_METHOD_ZCDP, r->z, NULL),
               account(r, HEARTH_METHOD_EXACT, r->z, NULL),
               r->rdp * (1 + 1e-6));
    } else { /* such noise is not Gaussian enough, and is refused */
        assert_true(r->sigma < 4 && rdp < r->rdp);
    }
    if (r->exact > 0) {
        double variance = r->n * r->sigma * r->sigma - 3.6;
        double e =
            account(r, HEARTH_METHOD_EXACT, sqrt(variance) / r->delta2, NULL);
        within(r, "exact", e, r->exact * (1 - 1e-6), r->exact * (1 + 1e-6));
    }
    return gaussian;
}

/* PRIVACY.md, R1: tau <= 10 n exp(-pi^2 sigma^2), below 1e-60 from sigma 4 on. */
static void check_tau(const ddg_row *r) {
    const double pi = 3.14159265358979323846;
    double bound =
        log10(10 * r->n) - pi * pi * r->sigma * r->sigma / 2.302585092994046;
    within(r, "log10 tau", r->log10_tau, -1e12, bound);
    if (r->sigma >= 4) assert_true(bound < -60);
}

static int n_gaussian, n_exact;

static void check(const ddg_row *r) {
    check_integers(r);
    n_gaussian += check_epsilons(r);
    n_exact += r->exact > 0;
    check_tau(r);
}

static void sums_match_the_rows_written_here(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(ROWS) / sizeof(*ROWS); i++) check(&ROWS[i]);
}

static void sums_match_every_reference_row(void **state) {
    (void)state;
    FILE *f = dp_open("privacy/ddg_reference.csv");
    char line[1024], *c[24];
    int rows = -1; /* the header */
    n_gaussian = n_exact = 0;
    while (fgets(line, sizeof(line), f)) {
        size_t n = dp_split(line, c, 24);
        if (rows++ < 0) continue;
        assert_int_equal(n, 16);
        double v[15];
        for (int i = 0; i < 15; i++) v[i] = strtod(c[i], NULL);
        const ddg_row r = {v[0], v[1], v[2],  v[3],  v[4],  v[5],  v[6], v[7],
                           v[8], v[9], v[10], v[11], v[12], v[13], v[14]};
        check(&r);
    }
    fclose(f);
    assert_int_equal(rows, 18);
    assert_int_equal(n_gaussian, 16); /* sigma 0.75 and 0.5 are not */
    assert_int_equal(n_exact, 15);
}

/* By hand: 0.09 + 1/4 + 0.3 + 1/2 = 1.14; 1 + 5/4 + 1 + sqrt(5)/2 = 4.37. */
static void the_bound_is_rounded_up(void **state) {
    (void)state;
    uint64_t bound;
    assert_ok(hearth_sigma_bound_sq(0.3, 0, 1, &bound));
    assert_int_equal(bound, 2);
    assert_ok(hearth_sigma_bound_sq(1, 0, 5, &bound));
    assert_int_equal(bound, 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bound_is_rounded_up),
        cmocka_unit_test(sums_match_the_rows_written_here),
        cmocka_unit_test(sums_match_every_reference_row),
    };
    return cmocka_run_group_tests_name("privacy/ddg table", tests, NULL, NULL);
}

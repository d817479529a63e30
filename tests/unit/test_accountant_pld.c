/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_accountant_pld.c - privacy/accountant_pld.h, loss_grid.h,
 * fft.h, and calibrate.h with method pld. */
#include "tests/support/dp_table.h"

#include <math.h>

#include "privacy/accountant_gaussian.h"
#include "privacy/accountant_pld.h"
#include "privacy/calibrate.h"
#include "privacy/fft.h"
#include "privacy/loss_grid.h"
#include "tests/support/fail_alloc.h"

static const double INF = (double)INFINITY;

/* ---- fft ---- */

static double noise(unsigned *seed) {
    *seed = *seed * 1664525u + 1013904223u;
    return (double)(*seed >> 8) / 16777216.0 - 0.5;
}

/* The frequency of x[2m + i], x[3m + i], in n-ths of a turn: by the header. */
static size_t frequency(size_t n, size_t m, size_t i) {
    size_t reversed = 0;
    for (size_t bit = 1; bit < m; bit *= 2)
        reversed = 2 * reversed + (i & bit ? 1 : 0);
    return n / m / 4 + reversed * (n / m);
}

static void direct_value(const double *x, size_t n, size_t k, double *re,
                         double *im) {
    *re = *im = 0;
    for (size_t j = 0; j < n; j++) {
        double t = 6.28318530717958647692 * (double)(j * k % n) / (double)n;
        *re += x[j] * cos(t);
        *im += x[j] * sin(t);
    }
}

static void fft_is_the_direct_transform(void **state) {
    (void)state;
    for (size_t n = 4; n <= 4096; n *= 2) {
        hearth_fft f;
        unsigned seed = 7;
        double *x = malloc(2 * n * sizeof(*x)), *a = x + n, re, im, total = 0;
        assert_non_null(x);
        assert_ok(hearth_fft_init(&f, n, NULL));
        for (size_t i = 0; i < n; i++) {
            a[i] = x[i] = noise(&seed);
            total += fabs(x[i]);
        }
        hearth_fft_forward(&f, a);
        /* (3.5 log2(n) - 5) u sum |x|, and the direct sum's own. */
        double bound = 60 * 1.2e-16 * total;
        direct_value(x, n, 0, &re, &im);
        assert_true(fabs(a[0] - re) <= bound);
        direct_value(x, n, n / 2, &re, &im);
        assert_true(fabs(a[1] - re) <= bound);
        for (size_t m = 1; m <= n / 4; m *= 2)
            for (size_t i = 0; i<m; i += m> 64 ? 37 : 1) {
                direct_value(x, n, frequency(n, m, i), &re, &im);
                assert_true(fabs(a[2 * m + i] - re) <= bound);
                assert_true(fabs(a[3 * m + i] - im) <= bound);
            }
        hearth_fft_inverse(&f, a);
        for (size_t i = 0; i < n; i++)
            assert_true(fabs(2 * a[i] / (double)n - x[i]) < 1e-14);
        hearth_fft_free(&f);
        free(x);
    }
}

/* Above one block, even and odd powers of 2: a shifted impulse is a wave,
 * exactly known; both ends of the range of frequencies keep their digits. */
static void fft_of_a_shifted_impulse(void **state) {
    (void)state;
    const double pi = 3.14159265358979323846;
    for (size_t n = 8192; n <= 262144; n *= 2) {
        hearth_fft f;
        double *x = calloc(n, sizeof(*x));
        assert_non_null(x);
        assert_ok(hearth_fft_init(&f, n, NULL));
        x[n / 2 + 3] = 1;
        hearth_fft_forward(&f, x);
        assert_true(fabs(x[0] - 1) < 1e-14 && fabs(x[1] + 1) < 1e-14);
        for (size_t m = 1; m <= n / 4; m *= 2)
            for (size_t i = 0; i < m; i++) {
                size_t k = frequency(n, m, i);
                double t = 2 * pi * (double)(k * (n / 2 + 3) % n) / (double)n;
                assert_true(fabs(x[2 * m + i] - cos(t)) < 1e-14);
                assert_true(fabs(x[3 * m + i] - sin(t)) < 1e-14);
                hearth_turn w = hearth_fft_turn(&f, m, i);
                double s =
                    sin(pi * (double)(2 * k < n ? k : n - k) / (double)n);
                assert_true(fabs(w.s - s) <= 1e-15 * s);
                assert_true(fabs(w.c - cos(pi * (double)k / (double)n)) <
                            1e-15);
            }
        hearth_fft_inverse(&f, x);
        for (size_t j = 0; j < n; j++) {
            double want = j == n / 2 + 3;
            assert_true(fabs(2 * x[j] / (double)n - want) < 1e-14);
        }
        hearth_fft_free(&f);
        free(x);
    }
}

static void fft_refuses_bad_lengths(void **state) {
    (void)state;
    hearth_fft f;
    const size_t bad[] = {0, 1, 2, 3, 6, 1000, (size_t)1 << 27};
    for (int i = 0; i < 7; i++) {
        assert_int_equal(hearth_fft_init(&f, bad[i], NULL), HEARTH_EINVAL);
        assert_null(f.wave);
    }
    hearth_fft_free(&f);
    hearth_fft_free(NULL);
    hearth_fail_alloc fa;
    hearth_alloc al = hearth_fail_alloc_init(&fa, 1);
    assert_int_equal(hearth_fft_init(&f, 8, &al), HEARTH_ENOMEM);
    assert_int_equal(fa.live, 0);
}

/* ---- one round's grid ---- */

static double hockey_stick(const hearth_loss_side *s, double h, double e) {
    double sum = s->infinite;
    for (size_t i = 0; i < s->n; i++) {
        double l = (double)(s->first + (int64_t)i) * h;
        if (l > e) sum -= s->mass[i] * expm1(e - l);
    }
    return sum;
}

/* delta(e) of the true mixture, from the unsampled closed form. */
static double true_delta(double z, double q, double e, bool add) {
    double share = q, inner;
    if (add) {
        share = 1 - (1 - q) * exp(e);
        if (!(share > 0)) return 0;
        inner = log(q) + e - log(share);
    } else {
        inner = log1p(expm1(e) / q);
    }
    return share * exp(hearth_gaussian_log_delta(z, 1, fmax(inner, 0)));
}

static void grid_is_exact_at_its_points_and_above_between(void **state) {
    (void)state;
    const double z[] = {0.4, 1, 6}, q[] = {1e-3, 0.2, 0.9, 1};
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 4; j++)
            for (int add = 0; add < 2; add++) {
                hearth_loss_grid g;
                double h = 0.01 * q[j] / z[i], mass = 0;
                assert_ok(
                    hearth_loss_grid_init(&g, z[i], q[j], 1e-16, h, NULL));
                const hearth_loss_side *s = add ? &g.add : &g.remove;
                for (size_t k = 0; k < s->n; k++) {
                    assert_true(s->mass[k] >= 0);
                    mass += s->mass[k];
                }
                assert_true(fabs(mass + s->infinite - 1) < 1e-12);
                for (int k = 0; k < 400; k += 7) {
                    double at = true_delta(z[i], q[j], k * h, add);
                    double got = hockey_stick(s, h, k * h);
                    if (!(fabs(got - at) <= 1e-9 * at + 1e-15))
                        fail_msg("z %g q %g add %d at %g: %.12g, truth %.12g",
                                 z[i], q[j], add, k * h, got, at);
                    /* Between: above the truth, and below the chord's worth
                     * of it. */
                    double mid = true_delta(z[i], q[j], (k + 0.5) * h, add);
                    got = hockey_stick(s, h, (k + 0.5) * h);
                    assert_true(got >= mid * (1 - 1e-9) - 1e-15);
                    assert_true(got <= at * (1 + 1e-9) + 1e-15);
                }
                hearth_loss_grid_free(&g);
            }
}

/* With a coarse cut the tails matter: still above the truth everywhere. */
static void grid_counts_its_tails_as_lost(void **state) {
    (void)state;
    for (int add = 0; add < 2; add++) {
        hearth_loss_grid g;
        double q = 0.5, h = 1e-3;
        assert_ok(hearth_loss_grid_init(&g, 1, q, 1e-2, h, NULL));
        const hearth_loss_side *s = add ? &g.add : &g.remove;
        assert_true(s->infinite > 1e-5);
        for (double e = 0; e < 8; e += 0.05)
            assert_true(hockey_stick(s, h, e) >=
                        true_delta(1, q, e, add) * (1 - 1e-9));
        hearth_loss_grid_free(&g);
    }
}

static void grid_refuses(void **state) {
    (void)state;
    hearth_loss_grid g;
    assert_int_equal(hearth_loss_grid_init(&g, 0, 0.1, 1e-9, 1e-3, NULL),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_loss_grid_init(&g, 1, 0, 1e-9, 1e-3, NULL),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_loss_grid_init(&g, 1, 0.1, 0.5, 1e-3, NULL),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_loss_grid_init(&g, 1, 0.1, 1e-9, 0, NULL),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_loss_grid_init(&g, 1, 0.1, 1e-9, 1e-9, NULL),
                     HEARTH_ETOOBIG);
    assert_true(hearth_loss_grid_points(1, 2, 1e-9, 1) == INF);
    hearth_loss_grid_free(&g);
    hearth_loss_grid_free(NULL);
}

/* ---- every row ---- */

/* Rules: truth (1 - 2e-4) - 1e-5 <= epsilon <= pld (1 + 1e-3) + 1e-4, never
 * below the optimistic figure; exact rows: never below exact - 1e-9, above by
 * at most 1e-4. */
static void check(const dp_row *r, double e) {
    double truth = r->exact > 0 ? r->exact : r->pld_fine;
    if (!(e >= truth * (1 - 2e-4) - 1e-5) || !(e >= r->optimistic))
        fail_msg("%s: %.10g is unsound, truth %.10g", r->id, e, truth);
    if (r->pld > 0 && !(e <= r->pld * (1 + 1e-3) + 1e-4))
        fail_msg("%s: %.10g is loose, table %.10g", r->id, e, r->pld);
    /* The table has 10 digits: 5e-11 relative is its own rounding. */
    if (r->exact > 0 && !(e >= r->exact * (1 - 5e-10) - 1e-9))
        fail_msg("%s: %.12g below exact %.12g", r->id, e, r->exact);
    if (r->exact > 0 && !(e <= r->exact + 1e-4))
        fail_msg("%s: %.12g above exact %.12g", r->id, e, r->exact);
}

static void pld_row(const dp_row *r) {
    hearth_account_answer a, rdp;
    hearth_account_query q = dp_query(r, HEARTH_METHOD_PLD);
    if (r->mechanism == DP_S) { /* refused, not approximated */
        assert_int_equal(hearth_account(&a, &q, NULL, NULL),
                         HEARTH_EUNSUPPORTED);
        return;
    }
    assert_ok(hearth_account(&a, &q, NULL, NULL));
    assert_true(a.interval > 0);
    check(r, a.epsilon);
    q.method = HEARTH_METHOD_RDP;
    assert_ok(hearth_account(&rdp, &q, NULL, NULL));
    if (!(a.epsilon <= rdp.epsilon)) fail_msg("%s: PLD above RDP", r->id);
}

static void pld_matches_the_rows_written_here(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(DP_ROWS) / sizeof(*DP_ROWS); i++)
        pld_row(&DP_ROWS[i]);
}

/* A checked build is thirty times as slow: it does one row of these. */
#ifdef NDEBUG
#define ONE_OF 1
#else
#define ONE_OF 5
#endif
static int turn;

static void pld_row_in_turn(const dp_row *r) {
    if (turn++ % ONE_OF == 0) pld_row(r);
}

static void pld_matches_every_reference_row(void **state) {
    (void)state;
    turn = 0;
    assert_int_equal(dp_each_row(pld_row_in_turn), 69);
}

static void calibrate_row(const dp_target *t) {
    hearth_account_query q = {.mechanism = t->mechanism,
                              .method = HEARTH_METHOD_PLD,
                              .rate = t->q,
                              .rounds = (uint64_t)t->rounds,
                              .delta = t->delta};
    hearth_account_answer a, again;
    assert_ok(hearth_calibrate(&q, t->epsilon, &a, NULL, NULL));
    double least =
        t->z_exact > 0 ? t->z_exact * (1 - 1e-9) : t->z_pld * (1 - 1e-3);
    if (!(q.z >= least && q.z <= t->z_pld * (1 + 2e-3)))
        fail_msg("%s: z %.9g, table %.9g", t->id, q.z, t->z_pld);
    assert_ok(hearth_account(&again, &q, NULL, NULL));
    assert_true(again.epsilon <= t->epsilon);
}

static void calibration_matches_the_rows_written_here(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(DP_TARGETS) / sizeof(*DP_TARGETS); i++)
        calibrate_row(&DP_TARGETS[i]);
}

static void calibrate_row_in_turn(const dp_target *t) {
    if (turn++ % ONE_OF == 0) calibrate_row(t);
}

static void calibration_matches_every_reference_row(void **state) {
    (void)state;
    turn = 0;
    assert_int_equal(dp_each_target(calibrate_row_in_turn), 20);
}

/* ---- what must hold without a table ---- */

static hearth_pld_answer pld(double z, double q, uint64_t rounds, double delta,
                             double interval) {
    hearth_pld_query query = {z, q, rounds, delta, interval};
    hearth_pld_answer a;
    assert_ok(hearth_pld_poisson(&a, &query, NULL));
    return a;
}

/* Composition by FFT of unsampled rounds, which has a closed form: one that no
 * one collapses to a single round. */
static void composed_gaussian_is_the_closed_form(void **state) {
    (void)state;
    const double z[] = {1, 5, 30}, delta[] = {1e-3, 1e-6, 1e-10, 1e-20};
    const uint64_t rounds[] = {2, 10, 300};
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            for (int k = 0; k < 4; k++) {
                double want =
                    hearth_gaussian_epsilon(z[i], (double)rounds[j], delta[k]);
                hearth_pld_answer a = pld(z[i], 1, rounds[j], delta[k], 0);
                if (!(a.epsilon >= want * (1 - 1e-9) - 1e-12) ||
                    !(a.epsilon <= want * (1 + 2e-4) + 1e-7))
                    fail_msg("z %g T %u delta %g: %.10g, truth %.10g", z[i],
                             (unsigned)rounds[j], delta[k], a.epsilon, want);
                assert_true(a.fft > 0 || want == 0);
            }
}

/* ---- both directions, by a direct convolution of our own ---- */

static double upper_tail(double x) {
    return 0.5 * erfc(x * 0.70710678118654752440);
}

/* delta(e) of one round for any e, from the outputs whose loss is above e. */
static double one_delta(double z, double q, bool add, double e) {
    double ratio = (exp(add ? -e : e) - 1 + q) / q, far = (double)INFINITY;
    double x = ratio > 0 ? z * z * log(ratio) + 0.5 : -far;
    if (add) { /* below x; P is the Gaussian alone */
        double at_0 = upper_tail(-x / z), at_1 = upper_tail((1 - x) / z);
        return at_0 - exp(e) * ((1 - q) * at_0 + q * at_1);
    }
    double at_0 = upper_tail(x / z), at_1 = upper_tail((x - 1) / z);
    return (1 - q) * at_0 + q * at_1 - exp(e) * at_0;
}

/* The same of several rounds: E over the first one's output x of delta of the
 * others at e - loss(x), by the trapezoid rule, which is exact to 1e-12 for
 * Gaussians at this step. */
static double direct_delta(double z, double q, bool add, int rounds, double e) {
    if (rounds == 1) return one_delta(z, q, add, e);
    double sum = 0, step = z / 4;
    for (double x = -8 * z; x < 1 + 8 * z; x += step) {
        double ratio = 1 - q + q * exp((2 * x - 1) / (2 * z * z));
        double p = exp(-x * x / (2 * z * z)) * (add ? 1 : ratio);
        double loss = add ? -log(ratio) : log(ratio);
        sum += p * direct_delta(z, q, add, rounds - 1, e - loss);
    }
    return sum * step / (z * 2.5066282746310005024);
}

static double direct_epsilon(double z, double q, bool add, int rounds,
                             double delta) {
    double lo = 0, hi = 64;
    if (direct_delta(z, q, add, rounds, 0) <= delta) return 0;
    for (int i = 0; i < 40; i++) {
        double mid = (lo + hi) / 2;
        if (direct_delta(z, q, add, rounds, mid) <= delta)
            hi = mid;
        else
            lo = mid;
    }
    return hi;
}

/* In every row of the tables removing a device costs more than adding one, so
 * epsilon alone would not show that adding is forgotten.  The asked interval is
 * so near to the first that all is done in one pass, and both are tight; adding
 * less so, for its losses end not far above epsilon. */
static void pld_has_both_directions(void **state) {
    (void)state;
    const double rows[][4] = {/* z, q, delta, interval */
                              {1, 0.3, 1e-5, 0.02},
                              {1, 0.9, 1e-3, 0.06},
                              {2, 0.5, 1e-6, 0.014},
                              {0.8, 0.1, 1e-4, 0.02},
                              {5, 0.2, 1e-3, 0.003}};
    for (int i = 0; i < 5; i++)
        for (int rounds = 1; rounds <= 3; rounds++) {
            const double *r = rows[i];
            hearth_pld_answer a = pld(r[0], r[1], (uint64_t)rounds, r[2], r[3]);
            double remove = direct_epsilon(r[0], r[1], false, rounds, r[2]),
                   add = direct_epsilon(r[0], r[1], true, rounds, r[2]);
            print_message("z %g q %g T %d: remove %.9g of %.9g, add %.9g of "
                          "%.9g\n",
                          r[0], r[1], rounds, a.epsilon_remove, remove,
                          a.epsilon_add, add);
            assert_true(a.interval == r[3] && add > 0.01 && add < remove * 0.9);
            assert_true(a.epsilon_remove >= remove * (1 - 1e-9));
            assert_true(a.epsilon_remove <= remove * (1 + 2e-3));
            assert_true(a.epsilon_add >= add * (1 - 1e-9));
            assert_true(a.epsilon_add <= add * (1 + 5e-2));
            assert_true(a.epsilon == fmax(a.epsilon_remove, a.epsilon_add));
        }
    /* True epsilon is 0 here; the grid says so of one direction only. */
    hearth_pld_answer a = pld(1, 1e-3, 2, 1e-3, 0);
    assert_true(a.epsilon_add > a.epsilon_remove && a.epsilon == a.epsilon_add);
}

static void pld_has_no_infinity(void **state) {
    (void)state;
    double want = hearth_gaussian_epsilon(0.05, 1000, 1e-6);
    hearth_pld_answer a = pld(0.05, 1, 1000, 1e-6, 0);
    assert_true(want > 2e5 && a.epsilon >= want && a.epsilon < want * 1.01);
    a = pld(0.05, 0.5, 100, 1e-6, 0);
    assert_true(a.epsilon > 5000 && a.epsilon < want);
    assert_true(pld(1, 0.1, 0, 1e-6, 0).epsilon == 0);
    assert_true(pld(1e4, 1e-3, 1, 1e-3, 0).epsilon == 0);
}

static void pld_is_monotone_and_adds_up(void **state) {
    (void)state;
    const double z[] = {0.6, 1, 4}, q[] = {1e-3, 0.05, 0.4};
    for (int j = 0; j < 3; j++)
        for (int k = 0; k < 3; k++) {
            /* The grid may add 1e-4: steps are larger than that. */
            double e = pld(z[j], q[k], 100, 1e-6, 0).epsilon;
            assert_true(pld(z[j] * 1.01, q[k], 100, 1e-6, 0).epsilon < e);
            assert_true(pld(z[j], q[k] / 1.01, 100, 1e-6, 0).epsilon < e);
            assert_true(pld(z[j], q[k], 97, 1e-6, 0).epsilon < e);
            assert_true(pld(z[j], q[k], 100, 1.1e-6, 0).epsilon < e);
            double half = pld(z[j], q[k], 50, 1e-6, 0).epsilon;
            assert_true(pld(z[j], q[k], 100, 2e-6, 0).epsilon <= 2 * half);
            /* A coarser grid is never better, beyond what tilts differ. */
            hearth_pld_answer fine = pld(z[j], q[k], 100, 1e-6, 0);
            hearth_pld_answer coarse =
                pld(z[j], q[k], 100, 1e-6, 4 * fine.interval);
            assert_true(coarse.epsilon >= fine.epsilon * (1 - 1e-6));
        }
}

/* Rows with a rare, large loss, whose windows are long: an asked interval is
 * used as it is; it is no coarser than the chosen one. */
static void pld_uses_the_asked_interval(void **state) {
    (void)state;
    const double rows[][4] = {
        {0.3, 0.01, 10, 1e-8}, {0.5, 1e-4, 5000, 1e-10}, {1, 0.01, 1000, 1e-5}};
    for (int i = 0; i < 3; i++) {
        const double *r = rows[i];
        hearth_pld_answer a = pld(r[0], r[1], (uint64_t)r[2], r[3], 4e-4);
        double e = pld(r[0], r[1], (uint64_t)r[2], r[3], 0).epsilon;
        assert_true(a.interval == 4e-4);
        assert_true(fabs(a.epsilon - e) < 1e-4 * e);
    }
}

static void pld_refuses(void **state) {
    (void)state;
    hearth_pld_answer a;
    hearth_pld_query good = {1, 0.1, 10, 1e-6, 0}, q;
    for (int i = 0; i < 6; i++) {
        q = good;
        if (i == 0) q.z = 0;
        if (i == 1) q.z = (double)NAN;
        if (i == 2) q.q = 0;
        if (i == 3) q.delta = 1;
        if (i == 4) q.interval = -1;
        if (i == 5) q.rounds = UINT64_MAX;
        assert_int_equal(hearth_pld_poisson(&a, &q, NULL), HEARTH_EINVAL);
        assert_true(a.epsilon == INF);
    }
    q = good;
    q.interval = 1e-9;
    assert_int_equal(hearth_pld_poisson(&a, &q, NULL), HEARTH_ETOOBIG);
    assert_true(a.epsilon == INF);
    assert_int_equal(hearth_pld_poisson(NULL, &q, NULL), HEARTH_EINVAL);
    assert_int_equal(hearth_pld_poisson(&a, NULL, NULL), HEARTH_EINVAL);
}

static void pld_survives_every_failed_allocation(void **state) {
    (void)state;
    hearth_pld_query q = {2, 0.2, 20, 1e-6, 0};
    size_t k = 1;
    for (;; k++) {
        hearth_fail_alloc fa;
        hearth_alloc al = hearth_fail_alloc_init(&fa, k);
        hearth_pld_answer a;
        hearth_status st = hearth_pld_poisson(&a, &q, &al);
        assert_int_equal(fa.live, 0);
        if (st == HEARTH_OK) break;
        assert_int_equal(st, HEARTH_ENOMEM);
        assert_true(a.epsilon == INF);
    }
    assert_true(k > 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fft_is_the_direct_transform),
        cmocka_unit_test(fft_of_a_shifted_impulse),
        cmocka_unit_test(fft_refuses_bad_lengths),
        cmocka_unit_test(grid_is_exact_at_its_points_and_above_between),
        cmocka_unit_test(grid_counts_its_tails_as_lost),
        cmocka_unit_test(grid_refuses),
        cmocka_unit_test(pld_matches_the_rows_written_here),
        cmocka_unit_test(pld_matches_every_reference_row),
        cmocka_unit_test(calibration_matches_the_rows_written_here),
        cmocka_unit_test(calibration_matches_every_reference_row),
        cmocka_unit_test(composed_gaussian_is_the_closed_form),
        cmocka_unit_test(pld_has_both_directions),
        cmocka_unit_test(pld_has_no_infinity),
        cmocka_unit_test(pld_is_monotone_and_adds_up),
        cmocka_unit_test(pld_uses_the_asked_interval),
        cmocka_unit_test(pld_refuses),
        cmocka_unit_test(pld_survives_every_failed_allocation),
    };
    return cmocka_run_group_tests_name("privacy/accountant_pld", tests, NULL,
                                       NULL);
}

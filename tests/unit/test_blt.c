/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_blt.c - privacy/blt.h, privacy/blt_noise.h.  The references
 * are dense: matrices written out, every pattern of rounds tried. */
#include "tests/support/cmocka_all.h"

#include <math.h>

#include "common/rng.h"
#include "privacy/accountant_zcdp.h"
#include "privacy/blt.h"
#include "privacy/blt_noise.h"
#include "privacy/noise.h"

/* The matrix of facts for n = 2000, b = 400, k = 5. */
static const hearth_blt FACTS = {
    4, {.510, .906, .994, 1.0}, {.206, .184, .102, .0074}};

static void near(double got, double want, double relative) {
    if (!(fabs(got - want) <= relative * fabs(want)))
        fail_msg("got %.12g, want %.12g", got, want);
}

static hearth_blt fitted(unsigned buffers, uint32_t n, uint32_t b, uint32_t k) {
    const hearth_blt_pattern p = {n, b, k};
    hearth_blt out;
    assert_ok(hearth_blt_fit(&out, buffers, &p));
    assert_true(hearth_blt_ok(&out));
    return out;
}

/* sens(C) times the error of the last sum: the noise at equal privacy. */
static double loss_of(const hearth_blt *b, const hearth_blt_pattern *p) {
    return hearth_blt_sensitivity(b, p) * hearth_blt_errors(b, p->rounds).max;
}

/* ---- the matrix ---- */

/* c_i as blt.h defines it, not as blt.c computes it. */
static double c_of(const hearth_blt *b, unsigned i) {
    double sum = 0.0;
    if (i == 0) return 1.0;
    for (unsigned j = 0; j < b->n_buffers; j++)
        sum += b->omega[j] * pow(b->theta[j], i - 1);
    return sum;
}

static void columns_are_inverse_matrices(void **state) {
    enum { N = 40 };
    double c[N], r[N];
    (void)state;
    const hearth_blt all[] = {FACTS, {0}, fitted(3, N, 10, 4)};
    for (size_t m = 0; m < 3; m++) {
        assert_ok(hearth_blt_column(&all[m], c, N));
        assert_ok(hearth_blt_inverse(&all[m], r, N));
        for (unsigned i = 0; i < N; i++) {
            near(c[i], c_of(&all[m], i), 1e-13);
            assert_true(!i || c[i] <= c[i - 1]);
            double product = 0.0; /* of C and C^-1 at (i, 0) */
            for (unsigned j = 0; j <= i; j++) product += c[i - j] * r[j];
            assert_true(fabs(product - (i ? 0.0 : 1.0)) < 1e-14);
        }
    }
}

static void errors_are_those_of_the_dense_matrix(void **state) {
    enum { N = 25 };
    double r[N], max = 0.0, sum = 0.0, step = 0.0;
    (void)state;
    assert_ok(hearth_blt_inverse(&FACTS, r, N));
    for (unsigned t = 0; t < N; t++) { /* row t of A C^-1 */
        double row = 0.0, single = 0.0;
        for (unsigned col = 0; col <= t; col++) {
            double a = 0.0;
            for (unsigned i = col; i <= t; i++) a += r[i - col];
            row += a * a;
            single += r[t - col] * r[t - col];
        }
        max = fmax(max, row);
        step = fmax(step, single);
        sum += row;
    }
    hearth_blt_error e = hearth_blt_errors(&FACTS, N);
    near(e.max, sqrt(max), 1e-12);
    near(e.rms, sqrt(sum / N), 1e-12);
    near(e.step, sqrt(step), 1e-12);
}

/* ---- sensitivity ---- */

/* Largest |C x|^2 over x in {-1, 0, 1}^n that takes part in rounds the pattern
 * allows: rounds from t on, left of them, column sums so far in v. */
static double worst(const double *c, const hearth_blt_pattern *p, uint32_t t,
                    uint32_t left, const double *v) {
    double best = 0.0, w[12];
    for (uint32_t r = 0; r < p->rounds; r++) best += v[r] * v[r];
    for (; left && t < p->rounds; t++)
        for (int sign = -1; sign <= 1; sign += 2) {
            for (uint32_t r = 0; r < p->rounds; r++)
                w[r] = v[r] + (r >= t ? sign * c[r - t] : 0.0);
            best = fmax(best, worst(c, p, t + p->separation, left - 1, w));
        }
    return best;
}

static void sensitivity_is_that_of_the_worst_pattern(void **state) {
    (void)state;
    const hearth_blt all[] = {FACTS,
                              {0},
                              {1, {1.0}, {1.0}}, /* prefix sums: no decay */
                              {2, {0.3, 0.0}, {0.2, 0.8}},
                              fitted(2, 9, 3, 3)};
    for (size_t m = 0; m < 5; m++)
        for (uint32_t n = 1; n <= 9; n++)
            for (uint32_t b = 1; b <= n; b++)
                for (uint32_t k = 1; k <= 5; k++) {
                    const hearth_blt_pattern p = {n, b, k};
                    double c[12], none[12] = {0};
                    for (unsigned i = 0; i < n; i++) c[i] = c_of(&all[m], i);
                    double want = sqrt(worst(c, &p, 0, k, none));
                    double got = hearth_blt_sensitivity(&all[m], &p);
                    assert_true(got >= want);
                    near(got, want, 3e-9);
                }
}

/* Vectors do no more than numbers: x_i in the plane, turned every way. */
static void sensitivity_covers_vectors(void **state) {
    enum { N = 6, TURNS = 24 };
    double c[N];
    const hearth_blt_pattern p = {N, 2, 3};
    (void)state;
    assert_ok(hearth_blt_column(&FACTS, c, N));
    for (int i = 0; i < TURNS; i++)
        for (int j = 0; j < TURNS; j++) {
            double a[3] = {0.0, i * 6.2831853 / TURNS, j * 6.2831853 / TURNS};
            double sum = 0.0;
            for (uint32_t r = 0; r < N; r++) {
                double x = 0.0, y = 0.0;
                for (uint32_t k = 0; k < 3 && 2 * k <= r; k++) {
                    x += c[r - 2 * k] * cos(a[k]);
                    y += c[r - 2 * k] * sin(a[k]);
                }
                sum += x * x + y * y;
            }
            assert_true(sqrt(sum) <= hearth_blt_sensitivity(&FACTS, &p));
        }
}

/* ---- how good ---- */

/* Independent noise, the square root 1/sqrt(1-x), and four buffers, of F10. */
static void noise_is_that_of_the_published_table(void **state) {
    static const struct {
        hearth_blt_pattern p;
        double independent, root, blt;
    } ROW[] = {{{1000, 1000, 1}, 31.6, 3.3, 3.3},
               {{1000, 250, 4}, 63.2, 7.9, 7.7},
               {{2000, 400, 5}, 100, 9.9, 9.4},
               {{2000, 100, 20}, 200, 32.1, 26.9}};
    static double c[2000];
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        const hearth_blt_pattern *p = &ROW[i].p;
        const hearth_blt same = {0};
        near(loss_of(&same, p), ROW[i].independent, 2e-3);
        double error = 0.0, sens = 0.0;
        for (uint32_t t = 0; t < p->rounds; t++) {
            c[t] = t ? c[t - 1] * (t - 0.5) / t : 1.0;
            error += c[t] * c[t]; /* A C^-1 = C for the square root */
            double v = 0.0;
            for (uint32_t k = 0; k < p->participations; k++)
                if (k * p->separation <= t) v += c[t - k * p->separation];
            sens += v * v;
        }
        near(sqrt(sens * error), ROW[i].root, 0.015);
        hearth_blt b = fitted(4, p->rounds, p->separation, p->participations);
        near(loss_of(&b, p), ROW[i].blt, 0.015);
        assert_true(loss_of(&b, p) < 1.001 * sqrt(sens * error));
    }
    near(loss_of(&FACTS, &ROW[2].p), 9.4, 0.01);
}

/* Error of the last and of the mean prefix sum, at one sensitivity.  A device
 * in every round is the exception: nothing beats independent noise there. */
static void correlated_noise_beats_independent(void **state) {
    (void)state;
    for (uint32_t n = 32; n <= 512; n *= 2)
        for (uint32_t k = 1; k <= 4; k *= 2)
            for (unsigned d = 1; d <= 4; d++) {
                const hearth_blt_pattern p = {n, n / k, k};
                const hearth_blt same = {0};
                hearth_blt b = fitted(d, n, n / k, k);
                double s = hearth_blt_sensitivity(&b, &p);
                double s0 = hearth_blt_sensitivity(&same, &p);
                hearth_blt_error e = hearth_blt_errors(&b, n);
                hearth_blt_error e0 = hearth_blt_errors(&same, n);
                assert_true(s * e.max < 0.6 * s0 * e0.max);
                assert_true(s * e.rms < 0.8 * s0 * e0.rms);
            }
    const hearth_blt_pattern always = {32, 1, 32};
    hearth_blt b = fitted(4, 32, 1, 32);
    near(loss_of(&b, &always), 32.0, 1e-3);
}

static void blt_refuses_bad_arguments(void **state) {
    const hearth_blt_pattern p = {10, 2, 3};
    hearth_blt out, bad[] = {{1, {1.01}, {0.5}},
                             {1, {-0.1}, {0.5}},
                             {1, {0.5}, {-0.1}},
                             {2, {0, 0}, {0.6, 0.5}},
                             {1, {(double)NAN}, {0.5}},
                             {1, {0.5}, {(double)NAN}},
                             {HEARTH_BLT_MAX_BUFFERS + 1, {0}, {0}}};
    const hearth_blt_pattern wrong[] = {
        {0, 1, 1}, {HEARTH_BLT_MAX_ROUNDS + 1, 1, 1}, {9, 0, 1}, {9, 1, 0}};
    double c[4] = {7, 7, 7, 7};
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(hearth_blt_ok(&bad[i]));
        assert_true(isinf(hearth_blt_sensitivity(&bad[i], &p)));
        assert_true(isinf(hearth_blt_errors(&bad[i], 9).max));
        assert_int_equal(hearth_blt_column(&bad[i], c, 4), HEARTH_EINVAL);
        assert_int_equal(hearth_blt_inverse(&bad[i], c, 4), HEARTH_EINVAL);
        assert_true(c[0] == 7 && c[3] == 7);
    }
    for (size_t i = 0; i < 4; i++) {
        assert_true(isinf(hearth_blt_sensitivity(&FACTS, &wrong[i])));
        assert_int_equal(hearth_blt_fit(&out, 2, &wrong[i]), HEARTH_EINVAL);
        assert_int_equal(out.n_buffers, 0);
    }
    assert_false(hearth_blt_ok(NULL));
    assert_int_equal(hearth_blt_fit(&out, 0, &p), HEARTH_EINVAL);
    assert_int_equal(hearth_blt_fit(NULL, 1, &p), HEARTH_EINVAL);
    assert_int_equal(hearth_blt_fit(&out, HEARTH_BLT_MAX_BUFFERS + 1, &p),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_blt_column(&FACTS, NULL, 1), HEARTH_EINVAL);
}

/* ---- the noise ---- */

enum { ROUNDS = 30, D = 50 };
static const hearth_blt_pattern PATTERN = {ROUNDS, 6, 5};
static const uint64_t DELTA2_SQ = UINT64_C(1638) * 1638;

/* A mechanism with real draws, kept in z[ROUNDS][D]; y[ROUNDS][D]: its noise. */
static void play(hearth_blt_noise *m, const hearth_blt *b, double *state,
                 int32_t (*z)[D], int64_t (*y)[D]) {
    hearth_rng *rng;
    assert_ok(hearth_rng_open(&rng, NULL, NULL));
    assert_ok(hearth_blt_noise_init(m, b, &PATTERN, 2.0, DELTA2_SQ, D, state));
    for (uint32_t t = 0; t < ROUNDS; t++) {
        for (int64_t i = 0; i < D; i++) y[t][i] = 100 * i;
        assert_ok(hearth_noise_draw(z[t], D, m->sigma_sq, rng));
        assert_ok(hearth_blt_noise_add(m, y[t], z[t]));
        for (int64_t i = 0; i < D; i++) y[t][i] -= 100 * i;
    }
    hearth_rng_close(rng);
}

/* C^-1 z by the dense matrix, but for the rounding of each round to an integer,
 * which C^-1 turns to at most the sum of its column. */
static void noise_is_the_inverse_times_draws(void **state) {
    static int32_t z[ROUNDS][D];
    static int64_t y[ROUNDS][D];
    double buffers[4 * D], r[ROUNDS];
    hearth_blt_noise m;
    (void)state;
    const hearth_blt all[] = {fitted(4, ROUNDS, 6, 5), {0}};
    for (size_t k = 0; k < 2; k++) {
        play(&m, &all[k], k ? NULL : buffers, z, y);
        assert_ok(hearth_blt_inverse(&all[k], r, ROUNDS));
        double grid = ldexp(1.0, m.grid_bits);
        double most =
            hearth_blt_errors(&all[k], ROUNDS).most * (0.5 + 1.0 / grid);
        for (uint32_t t = 0; t < ROUNDS; t++)
            for (size_t i = 0; i < D; i++) {
                double want = 0.0;
                for (uint32_t s = 0; s <= t; s++)
                    want += r[t - s] * z[s][i] / grid;
                assert_true(fabs((double)y[t][i] - want) <= most);
            }
    }
}

/* The other direction, which is what privacy rests on: C y gives the draws
 * back, up to the last rounding of the same round only and twice the error
 * that slack pays for. */
static void matrix_times_noise_gives_the_draws(void **state) {
    static int32_t z[ROUNDS][D];
    static int64_t y[ROUNDS][D];
    double buffers[4 * D], c[ROUNDS];
    hearth_blt_noise m;
    (void)state;
    const hearth_blt b = fitted(4, ROUNDS, 6, 5);
    play(&m, &b, buffers, z, y);
    assert_ok(hearth_blt_column(&b, c, ROUNDS));
    double grid = ldexp(1.0, m.grid_bits);
    double error = m.slack / sqrt((double)ROUNDS * D); /* of one coordinate */
    assert_true(error >= 0.5 && error < 1.0);
    for (uint32_t t = 0; t < ROUNDS; t++)
        for (size_t i = 0; i < D; i++) {
            double sum = 0.0;
            for (uint32_t s = 0; s <= t; s++) sum += c[t - s] * (double)y[s][i];
            assert_true(fabs(sum * grid - z[t][i]) <= grid / 2 + error);
        }
}

/* Two worlds: what the release says in one, the other says with draws moved by
 * no more than sens Delta2 on the grid, slack included. */
static void other_world_is_a_bounded_shift(void **state) {
    static int32_t z[ROUNDS][D], moved[ROUNDS][D];
    static int64_t y[ROUNDS][D];
    double buffers[4 * D], c[ROUNDS], norm = 0.0;
    hearth_blt_noise m;
    (void)state;
    const hearth_blt b = fitted(4, ROUNDS, 6, 5);
    play(&m, &b, buffers, z, y);
    assert_ok(hearth_blt_column(&b, c, ROUNDS));
    double grid = ldexp(1.0, m.grid_bits);
    const int64_t step = 2 * 1638; /* replace-one, along coordinate 7 */
    for (uint32_t t = 0; t < ROUNDS; t++) { /* C dG, to the grid */
        memcpy(moved[t], z[t], sizeof(moved[t]));
        double shift = 0.0;
        for (uint32_t k = 0; 6 * k <= t; k++)
            shift += c[t - 6 * k] * (double)step;
        moved[t][7] += (int32_t)floor(shift * grid + 0.5);
        double by = (double)moved[t][7] - (double)z[t][7];
        norm += by * by;
    }
    assert_true(sqrt(norm) <= 2.0 * (m.sens * m.delta2 * grid + m.slack));
    near(sqrt(norm), 2.0 * m.sens * m.delta2 * grid, 1e-6); /* and reaches it */
    hearth_blt_noise n;
    assert_ok(
        hearth_blt_noise_init(&n, &b, &PATTERN, 2.0, DELTA2_SQ, D, buffers));
    int differ = 0;
    for (uint32_t t = 0; t < ROUNDS; t++) {
        int64_t other[D] = {0};
        assert_ok(hearth_blt_noise_add(&n, other, moved[t]));
        int64_t want = y[t][7] + (t % 6 == 0 ? step : 0);
        assert_in_range(other[7] - want + 1, 0, 2); /* by the grid's rounding */
        differ += other[7] != want;
        other[7] = y[t][7];
        assert_memory_equal(other, y[t], sizeof(other));
    }
    assert_true(differ <= 3); /* one in 2^grid_bits */
}

static void sigma_pays_for_sensitivity_and_rounding(void **state) {
    double buffers[4 * D];
    hearth_blt_noise m;
    (void)state;
    for (double z = 0.1; z < 20.0; z *= 1.7)
        for (uint64_t bound = 1; bound < UINT64_C(1) << 30; bound *= 37) {
            assert_ok(hearth_blt_noise_init(&m, &FACTS, &PATTERN, z, bound, D,
                                            buffers));
            double grid = ldexp(1.0, m.grid_bits);
            double need = z * (m.sens * sqrt((double)bound) * grid + m.slack);
            assert_true(sqrt((double)m.sigma_sq.num) >= need);
            near(sqrt((double)m.sigma_sq.num), need, 1e-6 + 2.0 / need);
            assert_true(m.sens == hearth_blt_sensitivity(&FACTS, &PATTERN));
            assert_true(m.sigma_sq.den == 1 && m.sigma_sq.num <= 1ull << 46);
        }
    near(hearth_blt_noise_rho(&m), 2.0 / (m.z * m.z), 1e-12);
}

static void noise_fails_closed(void **state) {
    double buffers[4 * D];
    int64_t sum[D], zero[D] = {0};
    int32_t draw[D] = {0};
    hearth_blt_noise m;
    const hearth_blt_pattern two = {2, 1, 2};
    (void)state;
    assert_ok(hearth_blt_noise_init(&m, &FACTS, &two, 1.0, 100, D, buffers));
    assert_ok(hearth_blt_noise_add(&m, sum, draw));
    assert_ok(hearth_blt_noise_add(&m, sum, draw));
    sum[3] = 5; /* a third round */
    assert_int_equal(hearth_blt_noise_add(&m, sum, draw), HEARTH_EINVAL);
    assert_memory_equal(sum, zero, sizeof(sum));
    assert_ok(hearth_blt_noise_init(&m, &FACTS, &two, 1.0, 100, D, buffers));
    draw[D - 1] = INT32_MIN;
    sum[3] = 5;
    assert_int_equal(hearth_blt_noise_add(&m, sum, draw), HEARTH_ERNG);
    assert_memory_equal(sum, zero, sizeof(sum));
    draw[D - 1] = 0; /* it stays failed */
    assert_int_equal(hearth_blt_noise_add(&m, sum, draw), HEARTH_EINVAL);
    assert_int_equal(hearth_blt_noise_add(&m, sum, NULL), HEARTH_EINVAL);
    assert_int_equal(hearth_blt_noise_add(NULL, sum, draw), HEARTH_EINVAL);
}

static void noise_refuses_bad_arguments(void **state) {
    double buffers[4 * D];
    hearth_blt_noise m;
    const hearth_blt bad = {1, {0.5}, {1.5}};
    const hearth_blt_pattern none = {0, 1, 1};
    int64_t sum[1] = {1};
    (void)state;
#define INIT(...) hearth_blt_noise_init(&m, __VA_ARGS__)
    assert_int_equal(INIT(&bad, &PATTERN, 1, 9, D, buffers), HEARTH_EINVAL);
    assert_int_equal(INIT(&FACTS, &none, 1, 9, D, buffers), HEARTH_EINVAL);
    assert_int_equal(INIT(&FACTS, &PATTERN, 0, 9, D, buffers), HEARTH_EINVAL);
    assert_int_equal(INIT(&FACTS, &PATTERN, (double)NAN, 9, D, buffers),
                     HEARTH_EINVAL);
    assert_int_equal(INIT(&FACTS, &PATTERN, 1, 0, D, buffers), HEARTH_EINVAL);
    assert_int_equal(INIT(&FACTS, &PATTERN, 1, 9, 0, buffers), HEARTH_EINVAL);
    assert_int_equal(INIT(&FACTS, &PATTERN, 1, 9, D, NULL), HEARTH_EINVAL);
    assert_int_equal(INIT(&FACTS, &PATTERN, 1, UINT64_C(1) << 60, D, buffers),
                     HEARTH_ETOOBIG);
    assert_true(isinf(hearth_blt_noise_rho(&m)));
    assert_true(isinf(hearth_blt_release_rho(&m, 1.0, 8, 1)));
    assert_int_equal(hearth_blt_noise_add(&m, sum, &(int32_t){0}),
                     HEARTH_EINVAL);
#undef INIT
}

/* ---- both noises together ---- */

static void release_is_never_worse_than_the_devices_alone(void **state) {
    double buffers[4 * D];
    hearth_blt_noise m;
    (void)state;
    for (double z = 0.25; z <= 16.0; z *= 2.0) {
        assert_ok(hearth_blt_noise_init(&m, &FACTS, &PATTERN, z, DELTA2_SQ, D,
                                        buffers));
        double server = hearth_blt_noise_rho(&m);
        for (double zd = 0.25; zd <= 16.0; zd *= 2.0) {
            /* R1: rho = k 2 / (z^2 (n_min - 1)) */
            double devices = 5 * 2.0 / (zd * zd * 8.0);
            double both = hearth_blt_release_rho(&m, zd, 9, 5);
            assert_true(both <= devices * (1 + 1e-12));
            assert_true(both <= server);
            /* continuous noise: 1 / (1/a + 1/b), and no proof gives less */
            double ideal = 1.0 / (1.0 / devices + 1.0 / server);
            assert_true(both >= ideal && both <= 1.02 * ideal);
        }
        assert_true(hearth_blt_release_rho(&m, 1.0, 1, 5) == server);
        assert_true(hearth_blt_release_rho(&m, 1.0, 9, 0) == 0.0);
        /* One participation more than the pattern: only the devices count. */
        near(hearth_blt_release_rho(&m, 1.0, 9, 6), 6 * 2.0 / 8.0, 1e-12);
        assert_true(isinf(hearth_blt_release_rho(&m, 1.0, 1, 6)));
        assert_true(isinf(hearth_blt_release_rho(&m, 0.0, 9, 5)));
        assert_true(isinf(hearth_blt_release_rho(&m, 1.0, 0, 5)));
    }
}

/* With few integers the split's rounding is large, and is paid for: what the
 * bound says is the sum of the two parts, written out here once more. */
static void split_pays_for_its_rounding(void **state) {
    double buffers[4 * D];
    hearth_blt_noise m;
    (void)state;
    int better = 0;
    for (uint64_t bound = 10; bound < UINT64_C(1) << 30; bound *= 11) {
        assert_ok(hearth_blt_noise_init(&m, &FACTS, &PATTERN, 2.0, bound, D,
                                        buffers));
        const double devices = 5 * 2.0 / (1.5 * 1.5 * 8.0), server = 0.5;
        double share = server / (server + devices), half = sqrt(D) / 2.0;
        double grid = ldexp(1.0, m.grid_bits);
        double u = (share * 2.0 * m.delta2 + half); /* longest, integers */
        double v = ((1.0 - share) * 2.0 * m.delta2 + half);
        double a = u / (1.5 * sqrt(8.0) * m.delta2);
        double b =
            (m.sens * v * grid + 2.0 * m.slack) / sqrt((double)m.sigma_sq.num);
        double split = 5 * a * a / 2.0 + b * b / 2.0;
        double both = hearth_blt_release_rho(&m, 1.5, 9, 5);
        near(both, fmin(split, fmin(devices, server)), 2e-9);
        better += split < fmin(devices, server);
    }
    assert_in_range(better, 3, 7); /* of 8: not where Delta2 is tiny */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_inverse_matrices),
        cmocka_unit_test(errors_are_those_of_the_dense_matrix),
        cmocka_unit_test(sensitivity_is_that_of_the_worst_pattern),
        cmocka_unit_test(sensitivity_covers_vectors),
        cmocka_unit_test(noise_is_that_of_the_published_table),
        cmocka_unit_test(correlated_noise_beats_independent),
        cmocka_unit_test(blt_refuses_bad_arguments),
        cmocka_unit_test(noise_is_the_inverse_times_draws),
        cmocka_unit_test(matrix_times_noise_gives_the_draws),
        cmocka_unit_test(other_world_is_a_bounded_shift),
        cmocka_unit_test(sigma_pays_for_sensitivity_and_rounding),
        cmocka_unit_test(noise_fails_closed),
        cmocka_unit_test(noise_refuses_bad_arguments),
        cmocka_unit_test(release_is_never_worse_than_the_devices_alone),
        cmocka_unit_test(split_pays_for_its_rounding),
    };
    return cmocka_run_group_tests_name("privacy/blt", tests, NULL, NULL);
}

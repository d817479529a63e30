/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_seam_noise.c - privacy/noise.h: the exact sampler (compiled
 * into the seam) over seeded bytes, against the exact law.
 *
 * Seeds are fixed: a failure is a change of the code, never bad luck.  The
 * thresholds are those of independent runs with p >= 1e-6.
 */
#include "tests/support/cmocka_all.h"

#include <math.h>

#include "privacy/noise.h"
#include "tests/support/privacy_seam.h"

#define N 150000

/* Some variances: sigma = .5 1 1.28 3 16 64.5 1000 2^15 2^20, then fractions
 * with large denominators and the largest sigma, where overflow would show. */
static const hearth_sigma_sq LAWS[] = {
    {1, 4},
    {1, 1},
    {1024, 625},
    {9, 1},
    {256, 1},
    {16641, 4},
    {1000000, 1},
    {(uint64_t)1 << 30, 1},
    {(uint64_t)1 << 40, 1},
    {68719476737u, 65536}, /* sigma 1024 and a bit */
    {3, (uint64_t)1 << 30},
    {(uint64_t)1 << 48, 1},
};

static int32_t *draw(hearth_sigma_sq s, uint64_t stream, size_t n) {
    hearth_rng *rng = NULL;
    int32_t *x = malloc(n * sizeof(*x));
    assert_non_null(x);
    assert_ok(hearth_seam_rng_open(&rng, 20261120, stream, NULL, NULL));
    assert_ok(hearth_noise_draw(x, n, s, rng));
    hearth_rng_close(rng);
    return x;
}

/* Sum of exp(-x^2 / 2 sigma^2) over lo <= x < hi.  From sigma 500 on by the
 * integral between half integers: relative error below 1 / (24 sigma^2). */
static double mass(double sigma, double lo, double hi) {
    if (sigma >= 500) {
        double c = sigma * sqrt(2.0), k = sigma * sqrt(acos(-1.0) / 2);
        return k * (erf((hi - 0.5) / c) - erf((lo - 0.5) / c));
    }
    double sum = 0;
    for (double x = lo; x < hi; x++) sum += exp(-x * x / (2 * sigma * sigma));
    return sum;
}

/* The exact k-th moment (even) of the law. */
static double moment(double sigma, int k) {
    if (sigma >= 16) return k == 2 ? sigma * sigma : 3 * pow(sigma, 4);
    double sum = 0, total = 0;
    for (int x = -400; x <= 400; x++) {
        double p = exp(-(double)x * x / (2 * sigma * sigma));
        total += p;
        sum += p * pow((double)x, k);
    }
    return sum / total;
}

/* Standard score of a chi-square value with k degrees (Wilson-Hilferty). */
static double chi_score(double chi, double k) {
    double v = 2 / (9 * k);
    return (cbrt(chi / k) - (1 - v)) / sqrt(v);
}

static void count_bins(const int32_t *x, size_t n, double first, double width,
                       double *bin, size_t n_bins) {
    for (size_t i = 0; i < n; i++) {
        double at = floor(((double)x[i] - first) / width);
        if (at < 0) at = 0;
        if (at >= (double)n_bins) at = (double)n_bins - 1;
        bin[(size_t)at]++;
    }
}

static void check_chi_square(double sigma, const int32_t *x, size_t n) {
    enum { HALF = 30, BINS = 2 * HALF + 1 };
    double bin[BINS] = {0}, expect[BINS];
    double width = floor(sigma / 6) < 1 ? 1 : floor(sigma / 6);
    double first = -HALF * width - floor(width / 2);
    count_bins(x, n, first, width, bin, BINS);
    double reach = ceil(sigma * 40) + width * BINS;
    double total = mass(sigma, -reach, reach + 1);
    for (int b = 0; b < BINS; b++) {
        double lo = b == 0 ? -reach : first + b * width;
        double hi = b == BINS - 1 ? reach + 1 : first + (b + 1) * width;
        expect[b] = (double)n * mass(sigma, lo, hi) / total;
    }
    double chi = 0, got = 0, want = 0;
    int used = 0;
    for (int b = 0; b < BINS; b++) { /* merge up to 10 expected */
        got += bin[b], want += expect[b];
        if (want < 10 && b < BINS - 1) continue;
        if (want >= 10) chi += (got - want) * (got - want) / want, used++;
        got = want = 0;
    }
    if (used < 3) return;
    double score = chi_score(chi, used - 1);
    if (score > 4.75)
        fail_msg("sigma %g: chi-square %g over %d bins", sigma, chi, used);
}

static void noise_follows_the_exact_law(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof(LAWS) / sizeof(LAWS[0]); k++) {
        int32_t *x = draw(LAWS[k], k, N);
        check_chi_square(hearth_sigma_value(LAWS[k]), x, N);
        free(x);
    }
}

static void noise_has_the_exact_moments(void **state) {
    (void)state;
    for (size_t k = 0; k < sizeof(LAWS) / sizeof(LAWS[0]); k++) {
        double sigma = hearth_sigma_value(LAWS[k]), n = N;
        int32_t *x = draw(LAWS[k], 100 + k, N);
        double s1 = 0, s2 = 0, lag = 0, sign = 0, nonzero = 0;
        for (size_t i = 0; i < N; i++) {
            s1 += x[i];
            s2 += (double)x[i] * x[i];
            if (i) lag += (double)x[i] * x[i - 1];
            sign += x[i] > 0 ? 1 : x[i] < 0 ? -1 : 0;
            nonzero += x[i] != 0;
        }
        free(x);
        double m2 = moment(sigma, 2), m4 = moment(sigma, 4);
        if (m2 * n < 10) { /* almost always 0: nothing else to say */
            assert_true(nonzero < 10);
            continue;
        }
        double score[4] = {s1 / sqrt(n * m2),
                           (s2 - n * m2) / sqrt(n * (m4 - m2 * m2)),
                           lag / sqrt(n) / m2, sign / sqrt(nonzero)};
        for (int j = 0; j < 4; j++)
            if (!(fabs(score[j]) <= 5))
                fail_msg("sigma %g: score %d is %g", sigma, j, score[j]);
    }
}

/* Sum of 8 draws has the law of 8 sigma^2 (up to 1e-30 at this sigma). */
static void noise_adds_up(void **state) {
    (void)state;
    enum { M = 20000 };
    int32_t *x = draw((hearth_sigma_sq){36, 1}, 300, M * 8);
    int32_t *sum = malloc(M * sizeof(*sum));
    assert_non_null(sum);
    for (size_t i = 0; i < M; i++) {
        sum[i] = 0;
        for (size_t j = 0; j < 8; j++) sum[i] += x[i * 8 + j];
    }
    check_chi_square(sqrt(36.0 * 8), sum, M);
    free(sum);
    free(x);
}

/* Frozen: the same bytes give the same draws for ever. */
static void noise_draws_are_frozen(void **state) {
    (void)state;
    static const int32_t want[3][6] = {
        {-1, 1, 0, -1, 1, -1},
        {-55, -56, -13, 17, -26, 114},
        {-798709, -730623, -2325832, 792295, -157384, 779222},
    };
    const hearth_sigma_sq law[3] = {{1, 1}, {16641, 4}, {1ull << 40, 1}};
    for (int k = 0; k < 3; k++) {
        int32_t *x = draw(law[k], 400, 6);
        for (int i = 0; i < 6; i++)
            if (x[i] != want[k][i])
                fail_msg("law %d: %d %d %d %d %d %d", k, x[0], x[1], x[2], x[3],
                         x[4], x[5]);
        free(x);
    }
}

static void noise_fails_closed(void **state) {
    (void)state;
    enum { M = 200 };
    static int32_t x[M], zero[M];
    const hearth_sigma_sq s = {256, 1};
    uint64_t needed = 0;
    for (uint64_t k = 0;; k++) {
        hearth_rng *rng = NULL;
        assert_ok(hearth_seam_rng_open(&rng, 5, 5, NULL, NULL));
        for (size_t i = 0; i < M; i++) x[i] = 9;
        hearth_seam_fail_after(k);
        hearth_status st = hearth_noise_draw(x, M, s, rng);
        hearth_seam_fail_after(UINT64_MAX);
        hearth_rng_close(rng);
        needed = k;
        if (st == HEARTH_OK) break;
        assert_int_equal(st, HEARTH_ERNG);
        assert_memory_equal(x, zero, sizeof(x));
    }
    assert_true(needed > 2 && needed < 100); /* 1 KiB a call */
}

static void noise_rejects_broken_contract(void **state) {
    (void)state;
    hearth_rng *rng = NULL;
    int32_t x[1] = {3};
    assert_ok(hearth_seam_rng_open(&rng, 5, 5, NULL, NULL));
    const hearth_sigma_sq good = {4, 1}, none = {0, 1}, half = {1, 0},
                          big = {HEARTH_SIGMA_MAX_SQ + 1, 1};
    assert_int_equal(hearth_noise_draw(x, 1, none, rng), HEARTH_EINVAL);
    assert_int_equal(hearth_noise_draw(x, 1, half, rng), HEARTH_EINVAL);
    assert_int_equal(hearth_noise_draw(x, 1, big, rng), HEARTH_EINVAL);
    assert_int_equal(hearth_noise_draw(NULL, 1, good, rng), HEARTH_EINVAL);
    assert_int_equal(hearth_noise_draw(x, 1, good, NULL), HEARTH_EINVAL);
    assert_int_equal(x[0], 3);
    assert_ok(hearth_noise_draw(NULL, 0, good, rng));
    hearth_rng_close(rng);
}

/* The mutants of the seam are what these statistics must notice. */
static void noise_statistics_kill_the_mutants(void **state) {
    (void)state;
    const hearth_sigma_sq s = {256, 1};
    double sum[3] = {0};
    const hearth_seam_noise kind[3] = {HEARTH_SEAM_NOISE_NONE,
                                       HEARTH_SEAM_NOISE_HALF,
                                       HEARTH_SEAM_NOISE_EXACT};
    for (int k = 0; k < 3; k++) {
        hearth_seam_set(kind[k], 1);
        int32_t *x = draw(s, 500, 20000);
        for (size_t i = 0; i < 20000; i++) sum[k] += (double)x[i] * x[i];
        free(x);
        double score = (sum[k] / 256 - 20000) / sqrt(2.0 * 20000);
        assert_true(k == 2 ? fabs(score) < 5 : score < -50);
    }
    hearth_seam_set(HEARTH_SEAM_NOISE_REUSED, 1);
    int32_t *x = draw(s, 600, 50), *y = draw(s, 601, 50);
    assert_memory_equal(x, y, 50 * sizeof(*x));
    hearth_seam_set(HEARTH_SEAM_NOISE_EXACT, 1);
    int32_t *z = draw(s, 600, 50), *w = draw(s, 601, 50);
    assert_memory_not_equal(z, w, 50 * sizeof(*x));
    free(x), free(y), free(z), free(w);
    assert_false(hearth_noise_is_private());
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(noise_follows_the_exact_law),
        cmocka_unit_test(noise_has_the_exact_moments),
        cmocka_unit_test(noise_adds_up),
        cmocka_unit_test(noise_draws_are_frozen),
        cmocka_unit_test(noise_fails_closed),
        cmocka_unit_test(noise_rejects_broken_contract),
        cmocka_unit_test(noise_statistics_kill_the_mutants),
    };
    return cmocka_run_group_tests_name("privacy/noise", tests, NULL, NULL);
}

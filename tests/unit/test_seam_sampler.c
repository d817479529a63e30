/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_seam_sampler.c - both samplers over seeded bytes against the
 * exact law and against each other, at every magnitude of sigma: chi-square,
 * Kolmogorov-Smirnov, moments, sums, tables, failures.
 *
 * Seeds are fixed: a failure is a change of the code, never bad luck.  The
 * thresholds are those of independent runs with p >= 1e-6 or five standard
 * deviations.  HEARTH_TEST_SEED=n takes other seeds; what fails then is tried
 * once more with four times as many draws.
 */
#include "tests/support/cmocka_all.h"

#include <math.h>

#include "privacy/noise.h"
#include "privacy/noise_exact.h"
#include "privacy/noise_table.h"
#include "privacy/sampler.h"
#include "tests/support/privacy_seam.h"
#include "tests/unit/noise_vectors.h"

/* A checked build is thirty times as slow. */
#if defined(NDEBUG)
#define N 1000000
#else
#define N 50000
#endif
#define REACH 12.0 /* standard deviations; beyond: 1e-32 */

/* sigma = .5 1 1.28 3 16 64.5 1000 2^15 2^20, then where k changes, fractions
 * with large denominators, and the largest. */
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
#define ALWAYS 9
    {6399999, 100000}, /* just below 8: the longest table */
    {64, 1},           /* 8: the shortest, k = 2 */
    {68719476737u, 65536},
    {(uint64_t)1 << 48, 1},
};
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define N_LAWS   COUNT(LAWS)

typedef enum { PRODUCTION, NORMATIVE, N_SAMPLERS } which;

static hearth_status fill(which w, int32_t *x, size_t n, hearth_sigma_sq s,
                          hearth_rng *rng) {
    return w == PRODUCTION ? hearth_noise_draw(x, n, s, rng)
                           : hearth_noise_exact_draw(x, n, s, rng, NULL);
}

static int32_t *draw(which w, hearth_sigma_sq s, uint64_t stream, size_t n) {
    hearth_rng *rng = NULL;
    int32_t *x = malloc(n * sizeof(*x));
    assert_non_null(x);
    const char *other = getenv("HEARTH_TEST_SEED");
    uint64_t seed = other ? strtoull(other, NULL, 10) << 1 : 20261120;
    assert_ok(hearth_seam_rng_open(&rng, seed + w, stream, NULL, NULL));
    assert_ok(fill(w, x, n, s, rng));
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

/* ---- one histogram for S1 and S2 ---- */

typedef struct {
    double first, width; /* integers */
    size_t n_bins;
    double *got, *want; /* [n_bins] counts; ends take what is beyond */
} histogram;

static histogram histogram_make(double sigma, const int32_t *x, size_t n) {
    histogram h;
    h.width = floor(sigma / 40) < 1 ? 1 : floor(sigma / 40);
    double half = ceil(REACH * sigma / h.width);
    h.n_bins = (size_t)(2 * half + 1);
    h.first = -half * h.width - floor(h.width / 2);
    h.got = calloc(h.n_bins, sizeof(double));
    h.want = calloc(h.n_bins, sizeof(double));
    assert_non_null(h.got);
    assert_non_null(h.want);
    double total = 0;
    for (size_t b = 0; b < h.n_bins; b++) {
        double lo = h.first + (double)b * h.width;
        total += h.want[b] = mass(sigma, lo, lo + h.width);
    }
    for (size_t b = 0; b < h.n_bins; b++) h.want[b] *= (double)n / total;
    for (size_t i = 0; i < n; i++) {
        double at = floor(((double)x[i] - h.first) / h.width);
        at = at < 0 ? 0 : at >= (double)h.n_bins ? (double)h.n_bins - 1 : at;
        h.got[(size_t)at]++;
    }
    return h;
}

static void histogram_free(histogram *h) {
    free(h->got);
    free(h->want);
}

/* Standard score of a chi-square value (Wilson-Hilferty); 0 without degrees. */
static double score_of(double chi, int degrees) {
    if (degrees < 1) return 0;
    double k = degrees, v = 2 / (9 * k);
    return (cbrt(chi / k) - (1 - v)) / sqrt(v);
}

/* The same over bins merged up to 10 expected. */
static double chi_square_score(const histogram *h) {
    double chi = 0, got = 0, want = 0;
    int used = 0;
    for (size_t b = 0; b < h->n_bins; b++) {
        got += h->got[b], want += h->want[b];
        if (want < 10) continue;
        chi += (got - want) * (got - want) / want, used++;
        got = want = 0;
    }
    return score_of(chi, used - 1);
}

/* sqrt(n) times the largest distance of the cumulative sums. */
static double kolmogorov_smirnov(const histogram *h, size_t n) {
    double got = 0, want = 0, most = 0;
    for (size_t b = 0; b < h->n_bins; b++) {
        got += h->got[b], want += h->want[b];
        most = fmax(most, fabs(got - want));
    }
    return most / sqrt((double)n);
}

/* The exact k-th moment (even) of the law. */
static double moment(double sigma, int k) {
    const double m[9] = {1, 0, 1, 0, 3, 0, 15, 0, 105};
    if (sigma >= 16) return m[k] * pow(sigma, k);
    double sum = 0, total = 0;
    for (int x = -400; x <= 400; x++) {
        double p = exp(-(double)x * x / (2 * sigma * sigma));
        total += p;
        sum += p * pow((double)x, k);
    }
    return sum / total;
}

/* Largest standard score of mean, variance, fourth moment, correlation with
 * the draw before, and signs. */
static double worst_moment(double sigma, const int32_t *x, size_t count) {
    double n = (double)count, worst = 0;
    double s1 = 0, s2 = 0, s4 = 0, lag = 0, sign = 0, nonzero = 0;
    for (size_t i = 0; i < count; i++) {
        double v = x[i], sq = v * v;
        s1 += v, s2 += sq, s4 += sq * sq;
        if (i) lag += v * (double)x[i - 1];
        sign += x[i] > 0 ? 1 : x[i] < 0 ? -1 : 0;
        nonzero += x[i] != 0;
    }
    double m2 = moment(sigma, 2), m4 = moment(sigma, 4), m8 = moment(sigma, 8);
    double score[5] = {s1 / sqrt(n * m2),
                       (s2 - n * m2) / sqrt(n * (m4 - m2 * m2)),
                       (s4 - n * m4) / sqrt(n * (m8 - m4 * m4)),
                       lag / sqrt(n) / m2, sign / sqrt(nonzero)};
    for (int j = 0; j < 5; j++)
        worst = isnan(score[j]) ? HUGE_VAL : fmax(worst, fabs(score[j]));
    return worst;
}

/* False when n draws of a law do not look like it. */
static bool follows(which w, size_t law, uint64_t stream, size_t n) {
    double sigma = hearth_sigma_value(LAWS[law]);
    int32_t *x = draw(w, LAWS[law], stream, n);
    histogram h = histogram_make(sigma, x, n);
    double chi = chi_square_score(&h), ks = kolmogorov_smirnov(&h, n);
    double moments = worst_moment(sigma, x, n);
    bool good = chi <= 4.75 && ks <= 2.7 && moments <= 5;
    if (!good)
        print_message("sampler %d, sigma %g, %zu draws: chi-square score %g, "
                      "KS %g, moments %g\n",
                      (int)w, sigma, n, chi, ks, moments);
    histogram_free(&h);
    free(x);
    return good;
}

static void s1_to_s3_samplers_follow_the_law(void **state) {
    (void)state;
    bool again = getenv("HEARTH_TEST_SEED") != NULL;
    for (int w = 0; w < N_SAMPLERS; w++)
        for (size_t k = 0; k < N_LAWS; k++) {
            size_t n = k < ALWAYS ? N : N / 4;
            bool good = follows((which)w, k, k, n) ||
                        (again && follows((which)w, k, 1000 + k, 4 * n));
            assert_true(good);
        }
}

/* The oracle holds the production sampler: two samples of the same law, as
 * chi-square of two histograms, at arbitrary variances. */
static void samplers_agree_with_each_other(void **state) {
    (void)state;
    enum { ROUNDS = 12, M = N / 4 };
    uint64_t h = 88172645463325252u;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        h ^= h << 13, h ^= h >> 7, h ^= h << 17;
        uint64_t den = 1 + h % 200;
        hearth_sigma_sq s = {den / 3 + h % (den << (3 * round + 2)), den};
        assert_true(hearth_sigma_ok(s));
        double sigma = hearth_sigma_value(s), chi = 0, one = 0, other = 0;
        int32_t *x = draw(PRODUCTION, s, 400 + round, M);
        int32_t *y = draw(NORMATIVE, s, 400 + round, M);
        histogram a = histogram_make(sigma, x, M);
        histogram b = histogram_make(sigma, y, M);
        int used = 0;
        for (size_t k = 0; k < a.n_bins; k++) {
            one += a.got[k], other += b.got[k];
            if (one + other < 20) continue;
            chi += (one - other) * (one - other) / (one + other), used++;
            one = other = 0;
        }
        if (!(score_of(chi, used - 1) <= 4.75))
            fail_msg("sigma %g: chi-square %g over %d bins", sigma, chi, used);
        histogram_free(&a), histogram_free(&b);
        free(x), free(y);
    }
}

/* U and Y together must leave no trace: the position inside a cell of k is
 * uniform, up to 1e-30 for sigma >= 4 k. */
static void s1_cells_of_k_do_not_show(void **state) {
    (void)state;
    enum { BITS = 4 };
    const hearth_sigma_sq laws[] = {
        {256 * 64, 1}, {1000000, 1}, {(uint64_t)1 << 40, 1}};
    const int shift[] = {0, 3, 14}; /* k is 16 or more, 128, 2^18 */
    for (size_t k = 0; k < 3; k++) {
        int32_t *x = draw(PRODUCTION, laws[k], 200 + k, N);
        double count[1 << BITS] = {0}, chi = 0, want = (double)N / (1 << BITS);
        for (size_t i = 0; i < N; i++)
            count[((uint32_t)x[i] >> shift[k]) & ((1 << BITS) - 1)]++;
        for (int b = 0; b < 1 << BITS; b++)
            chi += (count[b] - want) * (count[b] - want) / want;
        free(x);
        assert_true(chi < 58); /* 15 degrees, p = 5e-7 */
    }
}

/* Do m sums of n draws have the law of n sigma^2? */
static bool sums_follow(which w, hearth_sigma_sq s, size_t n, uint64_t stream,
                        size_t m) {
    int32_t *x = draw(w, s, stream, m * n);
    for (size_t i = 0; i < m; i++) {
        int32_t sum = 0; /* <= 64 * 13 * 2^20, or 8 * 13 * 2^24 */
        for (size_t j = 0; j < n; j++) sum += x[i * n + j];
        x[i] = sum;
    }
    histogram h = histogram_make(hearth_sigma_value(s) * sqrt((double)n), x, m);
    double chi = chi_square_score(&h), ks = kolmogorov_smirnov(&h, m);
    if (!(chi <= 4.75 && ks <= 2.7))
        print_message("sampler %d, sigma %g, sums of %zu: chi-square score %g, "
                      "KS %g\n",
                      (int)w, hearth_sigma_value(s), n, chi, ks);
    histogram_free(&h);
    free(x);
    return chi <= 4.75 && ks <= 2.7;
}

/* S5: the sum of n draws has the law of n sigma^2: up to 1e-5 for sigma 1, up to
 * 1e-30 from sigma 3 on. */
static void s5_draws_add_up(void **state) {
    (void)state;
    static const struct {
        hearth_sigma_sq s;
        size_t n;
    } sums[] = {{{900, 1}, 8},
                {{900, 1}, 2},
                {{900, 1}, 64},
                {{1, 1}, 8},
                {{9, 1}, 3},
                {{16641, 4}, 5},
                {{1000000, 1}, 8},
                {{(uint64_t)1 << 30, 1}, 3},
                {{(uint64_t)1 << 40, 1}, 8},
                {{(uint64_t)1 << 48, 1}, 2}};
    const size_t m = N / 10;
    bool again = getenv("HEARTH_TEST_SEED") != NULL;
    for (int w = 0; w < N_SAMPLERS; w++)
        for (size_t k = 0; k < COUNT(sums); k++)
            assert_true(
                sums_follow((which)w, sums[k].s, sums[k].n, 300 + k, m) ||
                (again &&
                 sums_follow((which)w, sums[k].s, sums[k].n, 1300 + k, 4 * m)));
}

/* S4: draws that another program (make_noise_vectors.py, numbers of unlimited
 * size) made of the same bytes; for every kind of table scan. */
static void s4_draws_equal_the_oracle(void **state) {
    (void)state;
    for (size_t k = 0; k < COUNT(NOISE_DRAWN); k++)
        for (int kind = -1; kind <= HEARTH_NOISE_SCAN_AVX512; kind++) {
            hearth_rng *rng = NULL;
            int32_t x[NOISE_DRAWS];
            hearth_sigma_sq s = NOISE_DRAWN[k].s;
            assert_ok(hearth_seam_rng_open(&rng, 20261120, 400, NULL, NULL));
            if (kind < 0)
                assert_ok(
                    hearth_noise_exact_draw(x, NOISE_DRAWS, s, rng, NULL));
            else
                assert_ok(hearth_sampler_draw(x, NOISE_DRAWS, s, rng,
                                              (hearth_noise_scan_kind)kind,
                                              NULL));
            hearth_rng_close(rng);
            assert_memory_equal(x, NOISE_DRAWN[k].want[kind >= 0], sizeof(x));
        }
}

/* Distance of two numbers of 128 bits, up to 2^64. */
static double apart(hearth_u128 a, uint64_t high, uint64_t low) {
    hearth_u128 b = (hearth_u128)high << 64 | low;
    hearth_u128 d = a > b ? a - b : b - a;
    return d >> 64 ? 0x1p64 : (double)(uint64_t)d;
}

/* The bounds of PRIVACY.md section 8, against numbers of the same program. */
static void tables_meet_their_bounds(void **state) {
    (void)state;
    static hearth_noise_table t;
    for (size_t k = 0; k < COUNT(NOISE_THRESHOLDS); k++) {
        unsigned i = NOISE_THRESHOLDS[k].i;
        hearth_noise_table_init(&t, NOISE_THRESHOLDS[k].s);
        assert_true(i < t.n && t.n < HEARTH_NOISE_TABLE_MAX);
        uint64_t high = (uint64_t)t.key[i] ^ (uint64_t)1 << 63;
        assert_true(apart((hearth_u128)high << 64 | t.low[i],
                          NOISE_THRESHOLDS[k].high,
                          NOISE_THRESHOLDS[k].low) < 0x1p18); /* 2^-110 */
    }
    for (size_t k = 0; k < COUNT(NOISE_KEEPS); k++) {
        hearth_sigma_sq s = NOISE_KEEPS[k].s;
        uint64_t w = NOISE_KEEPS[k].w;
        hearth_noise_table_init(&t, s);
        hearth_u128 e = hearth_noise_exp((hearth_u128)w * s.den, 2 * s.num);
        assert_true(apart(e, NOISE_KEEPS[k].high, NOISE_KEEPS[k].low) < 50);
    }
}

/* What 42 bits say of exp, all over its range: at most 1.02 below and 0.02
 * above, so that ties are where PRIVACY.md says. */
static void exp42_meets_its_bound(void **state) {
    (void)state;
    static hearth_noise_table t;
    for (size_t k = 0; k < N_LAWS; k++) {
        hearth_sigma_sq s = LAWS[k];
        hearth_noise_table_init(&t, s);
        uint64_t most = ((uint64_t)1 << t.log2_k) - 1, h = 1;
        for (int i = 0; i < 400 && most; i++) {
            h = h * 6364136223846793005u + 1442695040888963407u;
            uint64_t u = (h >> 33) % (most + 1), y = (h >> 20) % (t.n + 1);
            uint64_t w = u * (u + 2 * (y << t.log2_k));
            hearth_u128 fast = hearth_noise_table_exp42(&t, w); /* 2^-42 */
            hearth_u128 e = hearth_noise_exp((hearth_u128)w * s.den, 2 * s.num);
            fast <<= 31, e >>= 50; /* 2^-73 */
            assert_true(fast <= e + (1u << 31) / 50);
            assert_true(e <= fast + (hearth_u128)(1.02 * 0x1p31));
        }
    }
}

/* All kinds of scan give the same for words at, just below and just above
 * every threshold, where 64 bits do and do not decide. */
static void scans_agree_at_every_threshold(void **state) {
    (void)state;
    static hearth_noise_table t;
    uint64_t r[HEARTH_NOISE_SCAN_LANES] = {0, UINT64_MAX};
    uint8_t y[2][HEARTH_NOISE_SCAN_LANES], tie[2][HEARTH_NOISE_SCAN_LANES];
    hearth_noise_table_init(&t, LAWS[ALWAYS]);
    for (unsigned i = 0; i < t.n; i++) {
        uint64_t high = (uint64_t)t.key[i] ^ (uint64_t)1 << 63;
        for (unsigned j = 0; j < 3; j++) r[2 + 3 * (i % 20) + j] = high + j - 1;
        hearth_noise_scan(&t, r, y[0], tie[0], HEARTH_NOISE_SCAN_PORTABLE);
        unsigned lane = 2 + 3 * (i % 20), n_equal = tie[0][lane + 1] != 0;
        assert_int_equal(n_equal, 1);
        if (high < UINT64_MAX - 1) { /* thresholds still apart */
            assert_int_equal(y[0][lane], i);
            assert_int_equal(y[0][lane + 1], i);
            assert_int_equal(y[0][lane + 2], i + 1);
        }
        for (int kind = 0; kind <= HEARTH_NOISE_SCAN_AVX512; kind++) {
            hearth_noise_scan(&t, r, y[1], tie[1],
                              (hearth_noise_scan_kind)kind);
            assert_memory_equal(y[0], y[1], sizeof(y[0]));
            for (unsigned j = 0; j < HEARTH_NOISE_SCAN_LANES; j++)
                assert_int_equal(!tie[0][j], !tie[1][j]);
        }
        hearth_u128 at = (hearth_u128)high << 64 | t.low[i];
        assert_int_equal(hearth_noise_table_count(&t, at), i + 1);
        assert_int_equal(hearth_noise_table_count(&t, at - 1), i);
    }
}

/* One draw from the words of a script. */
static int32_t draw_script(hearth_sigma_sq s, const uint64_t *word, size_t n,
                           hearth_sampler_report *rep) {
    hearth_rng *rng = NULL;
    int32_t x;
    assert_ok(hearth_seam_rng_open_script(&rng, word, 8 * n, NULL, NULL));
    assert_ok(hearth_sampler_draw(&x, 1, s, rng, HEARTH_NOISE_SCAN_BEST, rep));
    hearth_rng_close(rng);
    return x;
}

/* 64 bits that equal a threshold's do not decide: 64 more do, to the last. */
static void ties_of_y_take_more_bits(void **state) {
    (void)state;
    static hearth_noise_table t;
    hearth_sampler_report rep;
    hearth_noise_table_init(&t, LAWS[3]); /* sigma 3 */
    for (unsigned i = 0; i < 25; i++) {
        uint64_t high = (uint64_t)t.key[i] ^ (uint64_t)1 << 63;
        uint64_t word[4] = {0, high, 0, t.low[i]}; /* sign, Y; low half first */
        assert_int_equal(draw_script(LAWS[3], word, 4, &rep), i + 1);
        assert_true(rep.n_ties == 1 && rep.n_bytes == 32);
        word[2] = UINT64_MAX, word[3]--;
        assert_int_equal(draw_script(LAWS[3], word, 4, &rep), i);
        word[1]--;
        assert_int_equal(draw_script(LAWS[3], word, 4, &rep), i);
        assert_true(rep.n_ties == 0 && rep.n_bytes == 16);
    }
}

/* 42 bits next to exp's do not decide: 81 more do, to the last. */
static void ties_of_keeping_take_more_bits(void **state) {
    (void)state;
    hearth_sampler_report rep;
    for (uint64_t u = 1; u < 128; u++) { /* sigma 1000: k = 128; Y = 0 */
        hearth_u128 exact = hearth_noise_exp(u * u, 2000000);
        uint64_t r = (uint64_t)(exact >> 81);
        /* the bits after r, as the upper 81 of 86 that follow it */
        hearth_u128 rest = exact << 47;
        uint64_t word[8] = {0, 0, r << 22 | u};
        hearth_u128 last = rest - ((hearth_u128)1 << 47); /* one below */
        word[3] = (uint64_t)last, word[4] = (uint64_t)(last >> 64);
        assert_int_equal(draw_script(LAWS[6], word, 8, &rep), u);
        assert_true(rep.n_ties == 1 && rep.n_trials == 1);
        /* at it: rejected, and the next trial's U = 0 is kept */
        word[3] = (uint64_t)rest, word[4] = (uint64_t)(rest >> 64);
        assert_int_equal(draw_script(LAWS[6], word, 8, &rep), 0);
        assert_true(rep.n_ties == 1 && rep.n_trials == 2);
        /* next to it on both sides, whatever the bits */
        word[2] = (r - 1) << 22 | u;
        word[3] = word[4] = 0;
        assert_int_equal(draw_script(LAWS[6], word, 8, &rep), u);
        word[2] = (r + 2) << 22 | u;
        assert_int_equal(draw_script(LAWS[6], word, 8, &rep), 0);
        assert_true(rep.n_ties == 0 && rep.n_trials == 2);
    }
    const uint64_t sure[3] = {0, 0,
                              UINT64_MAX << 22}; /* U = 0: no bit needed */
    assert_int_equal(draw_script(LAWS[6], sure, 3, &rep), 0);
    assert_true(rep.n_ties == 0 && rep.n_trials == 1 && rep.n_bytes == 24);
}

/* A generator that says -0 for ever is reported, and not waited for. */
static void stuck_generators_are_failures(void **state) {
    (void)state;
    const uint64_t word[2] = {1, 0};
    hearth_rng *rng = NULL;
    int32_t x[3] = {9, 9, 9}, zero[3] = {0};
    assert_ok(hearth_seam_rng_open_script(&rng, word, 16, NULL, NULL));
    assert_int_equal(
        hearth_sampler_draw(x, 1, LAWS[3], rng, HEARTH_NOISE_SCAN_BEST, NULL),
        HEARTH_ERNG);
    assert_int_equal(x[0], 0);
    const uint8_t ones = 255; /* the largest of everything, for ever */
    hearth_rng_close(rng);
    assert_ok(hearth_seam_rng_open_script(&rng, &ones, 1, NULL, NULL));
    assert_int_equal(hearth_noise_exact_draw(x, 3, LAWS[3], rng, NULL),
                     HEARTH_ERNG);
    assert_memory_equal(x, zero, sizeof(x));
    hearth_rng_close(rng);
}

/* S6: every call of the generator fails once; nothing of the vector stays. */
static void s6_samplers_fail_closed(void **state) {
    (void)state;
    enum { M = 300 };
    static int32_t x[M], zero[M];
    for (int w = 0; w < N_SAMPLERS; w++) {
        uint64_t needed = 0;
        for (bool done = false; !done; needed++) {
            hearth_rng *rng = NULL;
            assert_ok(hearth_seam_rng_open(&rng, 5, 5, NULL, NULL));
            for (size_t i = 0; i < M; i++) x[i] = 9;
            hearth_seam_fail_after(needed);
            hearth_status st =
                fill((which)w, x, M, (hearth_sigma_sq){256, 1}, rng);
            hearth_seam_fail_after(UINT64_MAX);
            hearth_rng_close(rng);
            done = st == HEARTH_OK;
            if (done) break;
            assert_int_equal(st, HEARTH_ERNG);
            assert_memory_equal(x, zero, sizeof(x));
        }
        assert_true(needed > 4 && needed < 100);
    }
}

/* S6: rounds and devices never share noise: one generator goes on, two
 * generators differ.  (Forks and system entropy: test_noise.c.) */
static void s6_no_draw_twice(void **state) {
    (void)state;
    enum { M = 64 };
    hearth_rng *a = NULL, *b = NULL;
    int32_t x[4][M];
    assert_ok(hearth_seam_rng_open(&a, 6, 1, NULL, NULL));
    assert_ok(hearth_seam_rng_open(&b, 6, 2, NULL, NULL));
    for (int k = 0; k < 4; k++)
        assert_ok(hearth_noise_draw(x[k], M, LAWS[6], k < 3 ? a : b));
    for (int k = 0; k < 4; k++)
        for (int l = 0; l < k; l++)
            assert_memory_not_equal(x[k], x[l], sizeof(x[k]));
    hearth_rng_close(a);
    hearth_rng_close(b);
}

static void samplers_reject_broken_contract(void **state) {
    (void)state;
    hearth_rng *rng = NULL;
    int32_t x[1] = {3};
    assert_ok(hearth_seam_rng_open(&rng, 5, 5, NULL, NULL));
    const hearth_sigma_sq good = {4, 1}, bad[] = {{0, 1},
                                                  {1, 0},
                                                  {HEARTH_SIGMA_MAX_SQ + 1, 1},
                                                  {1, (1ull << 32) + 1}};
    for (int w = 0; w < N_SAMPLERS; w++) {
        for (size_t k = 0; k < 4; k++)
            assert_int_equal(fill((which)w, x, 1, bad[k], rng), HEARTH_EINVAL);
        assert_int_equal(fill((which)w, NULL, 1, good, rng), HEARTH_EINVAL);
        assert_int_equal(fill((which)w, x, 1, good, NULL), HEARTH_EINVAL);
        assert_int_equal(x[0], 3);
        assert_ok(fill((which)w, NULL, 0, good, rng));
    }
    hearth_rng_close(rng);
}

/* Random bytes a sample: 8 for Y and a bit of sign, 8 more when k > 1, over
 * the share of trials that are kept. */
static void random_bytes_are_reported(void **state) {
    (void)state;
    enum { M = 20000 };
    const struct {
        hearth_sigma_sq s;
        double least, most;
    } row[] = {
        {{49, 1}, 8.2, 9}, {{64, 1}, 16.2, 19}, {{1 << 20, 1}, 16.2, 19}};
    for (int k = 0; k < 3; k++) {
        hearth_sampler_report rep;
        hearth_rng *rng = NULL;
        int32_t *x = malloc(M * sizeof(*x));
        assert_non_null(x);
        assert_ok(hearth_seam_rng_open(&rng, 9, 9, NULL, NULL));
        assert_ok(hearth_sampler_draw(x, M, row[k].s, rng,
                                      HEARTH_NOISE_SCAN_BEST, &rep));
        double each = (double)rep.n_bytes / M;
        assert_true(each > row[k].least && each < row[k].most);
        assert_true(rep.n_trials >= M && rep.n_ties == 0);
        hearth_rng_close(rng);
        free(x);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(s1_to_s3_samplers_follow_the_law),
        cmocka_unit_test(samplers_agree_with_each_other),
        cmocka_unit_test(s1_cells_of_k_do_not_show),
        cmocka_unit_test(s4_draws_equal_the_oracle),
        cmocka_unit_test(tables_meet_their_bounds),
        cmocka_unit_test(exp42_meets_its_bound),
        cmocka_unit_test(scans_agree_at_every_threshold),
        cmocka_unit_test(s5_draws_add_up),
        cmocka_unit_test(ties_of_y_take_more_bits),
        cmocka_unit_test(ties_of_keeping_take_more_bits),
        cmocka_unit_test(stuck_generators_are_failures),
        cmocka_unit_test(s6_samplers_fail_closed),
        cmocka_unit_test(s6_no_draw_twice),
        cmocka_unit_test(samplers_reject_broken_contract),
        cmocka_unit_test(random_bytes_are_reported),
    };
    return cmocka_run_group_tests_name("privacy/sampler", tests, NULL, NULL);
}

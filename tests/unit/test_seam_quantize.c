/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_seam_quantize.c - privacy/quantize.h, privacy/sigma.h, with
 * the seeded generator. */
#include "tests/support/cmocka_all.h"

#include <math.h>

#include "privacy/quantize.h"
#include "privacy/sigma.h"
#include "tests/support/privacy_seam.h"

static hearth_rng *open_rng(uint64_t stream) {
    hearth_rng *rng = NULL;
    assert_ok(hearth_seam_rng_open(&rng, 11, stream, NULL, NULL));
    return rng;
}

static uint64_t squared(const int32_t *y, size_t n) {
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++) sum += (uint64_t)((int64_t)y[i] * y[i]);
    return sum;
}

static void quantize_keeps_the_mean(void **state) {
    (void)state;
    /* 10^4 roundings of each; 5 standard errors. */
    float v[] = {0.3f, -0.3f, 0.5f, 0.999f, -7.25f, 0.0f, 3.0f, 1e-3f};
    hearth_span s = {v, 8};
    hearth_rng *rng = open_rng(1);
    double sum[8] = {0};
    const int n = 10000;
    for (int k = 0; k < n; k++) {
        int32_t y[8];
        assert_ok(hearth_quantize(y, &s, 1, 0, 1000, rng, NULL));
        for (int i = 0; i < 8; i++) {
            sum[i] += y[i];
            assert_true(fabs((double)y[i] - (double)v[i]) < 1);
        }
    }
    for (int i = 0; i < 8; i++) {
        double frac = fabs((double)v[i]) - floor(fabs((double)v[i]));
        double se = sqrt(frac * (1 - frac) / n);
        if (fabs(sum[i] / n - (double)v[i]) > 5 * se + 1e-12)
            fail_msg("coordinate %d: mean %g", i, sum[i] / n);
    }
    hearth_rng_close(rng);
}

static void quantize_scales_by_powers_of_two(void **state) {
    (void)state;
    float v[] = {0.5f, -0.25f, 3.0f};
    int32_t y[3];
    hearth_span s[] = {{v, 2}, {NULL, 0}, {v + 2, 1}};
    hearth_rng *rng = open_rng(2);
    assert_ok(hearth_quantize(y, s, 3, 4, 48 * 48 + 8 * 8 + 16, rng, NULL));
    assert_true(y[0] == 8 && y[1] == -4 && y[2] == 48);
    float w[] = {1024.0f};
    s[0] = (hearth_span){w, 1};
    assert_ok(hearth_quantize(y, s, 1, -3, 128 * 128, rng, NULL));
    assert_int_equal(y[0], 128);
    hearth_rng_close(rng);
}

/* The promise that the accountant rests on: never above the bound, whatever
 * the vector; and the retry rate stays near exp(-1/2) at worst. */
static void quantize_never_exceeds_the_bound(void **state) {
    (void)state;
    static float v[400];
    static int32_t y[400];
    hearth_rng *rng = open_rng(3);
    unsigned tries = 0, calls = 0;
    for (int trial = 0; trial < 300; trial++) {
        size_t n = 1 + (size_t)trial;
        double norm2 = 0;
        for (size_t i = 0; i < n; i++) {
            uint64_t r;
            assert_ok(hearth_rng_u64(rng, &r));
            v[i] = (float)((double)(r >> 11) * 0x1p-53 - 0.5);
            norm2 += (double)v[i] * (double)v[i];
        }
        for (size_t i = 0; i < n; i++)
            v[i] = (float)((double)v[i] / sqrt(norm2) * 0.9999);
        uint64_t bound;
        int scale = trial % 12;
        assert_ok(hearth_sigma_bound_sq(1.0, scale, n, &bound));
        hearth_span s = {v, n};
        hearth_quantize_report rep;
        assert_ok(hearth_quantize(y, &s, 1, scale, bound, rng, &rep));
        assert_true(squared(y, n) <= bound);
        tries += rep.n_tries, calls++;
    }
    assert_true(tries <= calls * 3); /* 1 / (1 - e^-1/2) = 2.54 on average */
    hearth_rng_close(rng);
}

static void quantize_redraws_until_it_fits(void **state) {
    (void)state;
    float v[] = {0.5f, 0.5f, 0.5f}; /* fits only as 0,0,0: one draw in 8 */
    hearth_span s = {v, 3};
    hearth_rng *rng = open_rng(4);
    hearth_quantize_report rep;
    unsigned most = 0, sum = 0;
    for (int k = 0; k < 400; k++) {
        int32_t y[3];
        /* bound 1: 0,0,0 or one 1: half of all draws */
        assert_ok(hearth_quantize(y, &s, 1, 0, 1, rng, &rep));
        assert_true(squared(y, 3) <= 1);
        most = rep.n_tries > most ? rep.n_tries : most;
        sum += rep.n_tries;
    }
    assert_true(most > 3 && sum > 700 && sum < 900);
    hearth_rng_close(rng);
}

static void quantize_gives_up_after_64_tries(void **state) {
    (void)state;
    float v[] = {2.0f, 0.5f};
    int32_t y[2] = {5, 5}, zero[2] = {0};
    hearth_span s = {v, 2};
    hearth_rng *rng = open_rng(5);
    uint64_t before = hearth_seam_rng_calls();
    assert_int_equal(hearth_quantize(y, &s, 1, 0, 3, rng, NULL),
                     HEARTH_ETOOBIG);
    assert_memory_equal(y, zero, sizeof(y));
    assert_int_equal(hearth_seam_rng_calls() - before, HEARTH_QUANTIZE_TRIES);
    v[0] = 3e38f; /* far outside int32: never cast */
    y[0] = 5;
    assert_int_equal(hearth_quantize(y, &s, 1, 40, 3, rng, NULL),
                     HEARTH_ETOOBIG);
    assert_memory_equal(y, zero, sizeof(y));
    hearth_rng_close(rng);
}

static void quantize_accepts_exactly_the_bound(void **state) {
    (void)state;
    float v[] = {3.0f, -4.0f};
    int32_t y[2];
    hearth_span s = {v, 2};
    hearth_rng *rng = open_rng(6);
    assert_ok(hearth_quantize(y, &s, 1, 0, 25, rng, NULL));
    assert_int_equal(hearth_quantize(y, &s, 1, 0, 24, rng, NULL),
                     HEARTH_ETOOBIG);
    float big[] = {0x1p30f};
    s = (hearth_span){big, 1};
    assert_ok(
        hearth_quantize(y, &s, 1, 0, HEARTH_SIGMA_MAX_BOUND_SQ, rng, NULL));
    assert_int_equal(y[0], 1 << 30);
    hearth_rng_close(rng);
}

static void quantize_destroys_nan_and_inf(void **state) {
    (void)state;
    const float bad[] = {NAN, INFINITY, -INFINITY};
    hearth_rng *rng = open_rng(7);
    for (int k = 0; k < 3; k++) {
        /* behind a coordinate that alone fails the bound */
        float v[] = {1e30f, 0.5f, bad[k]};
        int32_t y[3] = {1, 2, 3}, zero[3] = {0};
        hearth_span s = {v, 3};
        assert_int_equal(hearth_quantize(y, &s, 1, 0, 10, rng, NULL),
                         HEARTH_ENONFINITE);
        assert_memory_equal(y, zero, sizeof(y));
    }
    hearth_rng_close(rng);
}

static void quantize_fails_closed_without_randomness(void **state) {
    (void)state;
    static float v[200];
    static int32_t y[200], zero[200];
    for (size_t i = 0; i < 200; i++) v[i] = 0.5f, y[i] = 1;
    hearth_span s = {v, 200};
    for (uint64_t k = 0; k < 4; k++) { /* the second needs 4 calls */
        hearth_rng *rng = open_rng(8);
        hearth_seam_fail_after(k);
        assert_int_equal(hearth_quantize(y, &s, 1, 0, 200, rng, NULL),
                         HEARTH_ERNG);
        assert_memory_equal(y, zero, sizeof(y));
        hearth_seam_fail_after(UINT64_MAX);
        hearth_rng_close(rng);
    }
}

static void quantize_rejects_broken_contract_untouched(void **state) {
    (void)state;
    float v[] = {1.0f};
    int32_t y[1] = {77};
    hearth_span ok = {v, 1}, null = {NULL, 1};
    hearth_span over[] = {{v, HEARTH_QUANTIZE_MAX_ELEMENTS}, {v, 1}};
    hearth_rng *rng = open_rng(9);
    const uint64_t top = HEARTH_SIGMA_MAX_BOUND_SQ;
    assert_int_equal(hearth_quantize(y, &ok, 1, 41, 9, rng, NULL), -1);
    assert_int_equal(hearth_quantize(y, &ok, 1, -31, 9, rng, NULL), -1);
    assert_int_equal(hearth_quantize(y, &ok, 1, 0, 0, rng, NULL), -1);
    assert_int_equal(hearth_quantize(y, &ok, 1, 0, top + 1, rng, NULL), -1);
    assert_int_equal(hearth_quantize(y, &ok, 1, 0, 9, NULL, NULL), -1);
    assert_int_equal(hearth_quantize(NULL, &ok, 1, 0, 9, rng, NULL), -1);
    assert_int_equal(hearth_quantize(y, NULL, 1, 0, 9, rng, NULL), -1);
    assert_int_equal(hearth_quantize(y, &null, 1, 0, 9, rng, NULL), -1);
    assert_int_equal(hearth_quantize(y, over, 2, 0, 9, rng, NULL),
                     HEARTH_ETOOBIG);
    assert_int_equal(y[0], 77);
    assert_ok(hearth_quantize(NULL, NULL, 0, 0, 9, rng, NULL));
    hearth_rng_close(rng);
}

static void coords_stay_in_range_and_keep_the_mean(void **state) {
    (void)state;
    const double x[] = {0.0, 1.0, 0.25, 0.999999};
    const uint32_t s[] = {10, 10, 3, HEARTH_SIGMA_MAX_COORD};
    hearth_rng *rng = open_rng(10);
    double sum = 0;
    for (int k = 0; k < 10000; k++) {
        int32_t y[4];
        assert_ok(hearth_quantize_coords(y, x, s, 4, rng));
        assert_true(y[0] == 0 && y[1] == 10);
        assert_true(y[2] >= 0 && y[2] <= 1);
        assert_true(y[3] >= 0 && y[3] <= (int32_t)s[3]);
        sum += y[2];
    }
    assert_true(fabs(sum / 10000 - 0.75) < 5 * sqrt(0.75 * 0.25 / 10000));
    hearth_rng_close(rng);
}

static void coords_reject_and_zero(void **state) {
    (void)state;
    hearth_rng *rng = open_rng(12);
    const uint32_t s[17] = {4, 4}, none[1] = {0}, huge[1] = {(1u << 24) + 1};
    const double low[] = {0.5, -0.001}, high[] = {0.5, 1.001},
                 nan[] = {0.5, (double)NAN}, inf[] = {0.5, (double)INFINITY},
                 x[17] = {0};
    const int32_t zero[2] = {0};
    int32_t y[2] = {1, 1};
    assert_int_equal(hearth_quantize_coords(y, low, s, 2, rng), HEARTH_EINVAL);
    assert_memory_equal(y, zero, sizeof(y));
    assert_int_equal(hearth_quantize_coords(y, high, s, 2, rng), HEARTH_EINVAL);
    assert_int_equal(hearth_quantize_coords(y, nan, s, 2, rng),
                     HEARTH_ENONFINITE);
    assert_int_equal(hearth_quantize_coords(y, inf, s, 2, rng),
                     HEARTH_ENONFINITE);
    assert_int_equal(hearth_quantize_coords(y, x, none, 1, rng), HEARTH_EINVAL);
    assert_int_equal(hearth_quantize_coords(y, x, huge, 1, rng), HEARTH_EINVAL);
    assert_int_equal(hearth_quantize_coords(y, x, s, 17, rng), HEARTH_ETOOBIG);
    assert_int_equal(hearth_quantize_coords(NULL, x, s, 1, rng), HEARTH_EINVAL);
    assert_int_equal(hearth_quantize_coords(y, NULL, s, 1, rng), HEARTH_EINVAL);
    assert_int_equal(hearth_quantize_coords(y, x, s, 2, NULL), HEARTH_EINVAL);
    hearth_seam_fail_after(1);
    y[0] = 3;
    assert_int_equal(hearth_quantize_coords(y, x, s, 2, rng), HEARTH_ERNG);
    assert_memory_equal(y, zero, sizeof(y));
    hearth_seam_fail_after(UINT64_MAX);
    assert_ok(hearth_quantize_coords(NULL, NULL, NULL, 0, rng));
    hearth_rng_close(rng);
}

/* ---- privacy/sigma.h ---- */

static void sigma_fraction_covers_the_asked_z(void **state) {
    (void)state;
    const double zs[] = {0.05, 0.7, 1.2, 2.4, 17.3, 1000};
    const uint64_t ds[] = {1, 2, 640, 1316000, 1ull << 40};
    for (size_t i = 0; i < 6; i++)
        for (size_t k = 0; k < 5; k++) {
            hearth_sigma_sq s;
            hearth_status st = hearth_sigma_for_z(zs[i], ds[k], &s);
            if (st == HEARTH_ETOOBIG) {
                assert_true(zs[i] * zs[i] * (double)ds[k] > 0x1p47);
                continue;
            }
            assert_ok(st);
            assert_true(hearth_sigma_ok(s));
            long double ratio =
                (long double)s.num / (long double)s.den / (long double)ds[k];
            long double want = (long double)zs[i] * (long double)zs[i];
            assert_true(ratio >= want && ratio <= want * (1 + 0x1p-19L));
            double z = hearth_sigma_z(s, ds[k]);
            assert_true((long double)z * (long double)z <= ratio);
            assert_true(z >= zs[i] * (1 - 1e-15));
        }
}

static void sigma_ok_guards_the_sampler(void **state) {
    (void)state;
    const uint64_t max = HEARTH_SIGMA_MAX_SQ;
    assert_false(hearth_sigma_ok((hearth_sigma_sq){0, 1}));
    assert_false(hearth_sigma_ok((hearth_sigma_sq){1, 0}));
    assert_true(hearth_sigma_ok((hearth_sigma_sq){max, 1}));
    assert_false(hearth_sigma_ok((hearth_sigma_sq){max + 1, 1}));
    assert_false(hearth_sigma_ok((hearth_sigma_sq){2 * max + 1, 2}));
    assert_true(hearth_sigma_ok((hearth_sigma_sq){1, 1ull << 32}));
    assert_false(hearth_sigma_ok((hearth_sigma_sq){1, (1ull << 32) + 1}));
    assert_true(hearth_sigma_ok((hearth_sigma_sq){1ull << 40, 1}));
    assert_false(hearth_sigma_ok((hearth_sigma_sq){UINT64_MAX, 1ull << 20}));
}

static void sigma_adds_up_delta2(void **state) {
    (void)state;
    uint64_t out = 9;
    const uint32_t s[] = {3, 4}, zero[] = {0}, huge[] = {(1u << 24) + 1};
    assert_ok(hearth_sigma_delta2_sq(100, s, 2, &out));
    assert_int_equal(out, 125);
    assert_ok(hearth_sigma_delta2_sq(0, s, 2, &out));
    assert_int_equal(out, 25);
    assert_int_equal(hearth_sigma_delta2_sq(0, NULL, 0, &out), HEARTH_EINVAL);
    assert_int_equal(out, 0);
    assert_int_equal(hearth_sigma_delta2_sq(1, zero, 1, &out), HEARTH_EINVAL);
    assert_int_equal(hearth_sigma_delta2_sq(1, huge, 1, &out), HEARTH_EINVAL);
    assert_int_equal(hearth_sigma_delta2_sq(1, s, 17, &out), HEARTH_EINVAL);
    assert_int_equal(
        hearth_sigma_delta2_sq(HEARTH_SIGMA_MAX_BOUND_SQ, s, 1, &out),
        HEARTH_ETOOBIG);
    assert_int_equal(hearth_sigma_delta2_sq(1, s, 1, NULL), HEARTH_EINVAL);
}

static void sigma_bound_matches_the_formula(void **state) {
    (void)state;
    uint64_t out;
    /* the reference row d = 2^20, c = 1, s = 4096: Delta2 = 4128.4340857 */
    assert_ok(hearth_sigma_bound_sq(1.0, 12, 1u << 20, &out));
    assert_float_equal((float)sqrt((double)out), 4128.4341f, 1e-3f);
    assert_int_equal(hearth_sigma_bound_sq(0, 12, 5, &out), HEARTH_EINVAL);
    assert_int_equal(hearth_sigma_bound_sq((double)NAN, 12, 5, &out),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_sigma_bound_sq(1, 41, 5, &out), HEARTH_EINVAL);
    assert_int_equal(hearth_sigma_bound_sq(1, 0, 0, &out), HEARTH_EINVAL);
    assert_int_equal(hearth_sigma_bound_sq(1, 31, 5, &out), HEARTH_ETOOBIG);
    assert_int_equal(out, 0);
    hearth_sigma_sq s;
    assert_int_equal(hearth_sigma_for_z(0, 5, &s), HEARTH_EINVAL);
    assert_int_equal(hearth_sigma_for_z(1, 0, &s), HEARTH_EINVAL);
    assert_int_equal(hearth_sigma_for_z((double)INFINITY, 5, &s),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_sigma_for_z(1e9, 1 << 30, &s), HEARTH_ETOOBIG);
    assert_true(hearth_sigma_z(s, 5) == 0 && hearth_sigma_value(s) == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantize_keeps_the_mean),
        cmocka_unit_test(quantize_scales_by_powers_of_two),
        cmocka_unit_test(quantize_never_exceeds_the_bound),
        cmocka_unit_test(quantize_redraws_until_it_fits),
        cmocka_unit_test(quantize_gives_up_after_64_tries),
        cmocka_unit_test(quantize_accepts_exactly_the_bound),
        cmocka_unit_test(quantize_destroys_nan_and_inf),
        cmocka_unit_test(quantize_fails_closed_without_randomness),
        cmocka_unit_test(quantize_rejects_broken_contract_untouched),
        cmocka_unit_test(coords_stay_in_range_and_keep_the_mean),
        cmocka_unit_test(coords_reject_and_zero),
        cmocka_unit_test(sigma_fraction_covers_the_asked_z),
        cmocka_unit_test(sigma_ok_guards_the_sampler),
        cmocka_unit_test(sigma_adds_up_delta2),
        cmocka_unit_test(sigma_bound_matches_the_formula),
    };
    return cmocka_run_group_tests_name("privacy/quantize", tests, NULL, NULL);
}

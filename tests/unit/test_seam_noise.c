/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_seam_noise.c - privacy/noise.h (compiled into the seam) over
 * seeded bytes: which sampler it is, how it fails, and that simple statistics
 * notice the seam's mutants.  The law itself is test_seam_sampler.c's.
 */
#include "tests/support/cmocka_all.h"

#include <math.h>

#include "privacy/noise.h"
#include "privacy/sampler.h"
#include "tests/support/privacy_seam.h"

static int32_t *draw(hearth_sigma_sq s, uint64_t stream, size_t n) {
    hearth_rng *rng = NULL;
    int32_t *x = malloc(n * sizeof(*x));
    assert_non_null(x);
    assert_ok(hearth_seam_rng_open(&rng, 20261120, stream, NULL, NULL));
    assert_ok(hearth_noise_draw(x, n, s, rng));
    hearth_rng_close(rng);
    return x;
}

/* What devices send is the production sampler and nothing else, for every
 * branch of it: the same bytes give the same draws. */
static void noise_is_the_production_sampler(void **state) {
    (void)state;
    enum { M = 100 };
    const hearth_sigma_sq law[4] = {
        {1, 1}, {16641, 4}, {1ull << 40, 1}, {3, 1ull << 30}};
    for (int k = 0; k < 4; k++) {
        hearth_rng *rng = NULL;
        int32_t want[M], *x = draw(law[k], 400, M);
        assert_ok(hearth_seam_rng_open(&rng, 20261120, 400, NULL, NULL));
        assert_ok(hearth_sampler_draw(want, M, law[k], rng,
                                      HEARTH_NOISE_SCAN_PORTABLE, NULL));
        hearth_rng_close(rng);
        assert_memory_equal(x, want, sizeof(want));
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
    assert_true(needed > 2 && needed < 100); /* a block a call */
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
        cmocka_unit_test(noise_is_the_production_sampler),
        cmocka_unit_test(noise_fails_closed),
        cmocka_unit_test(noise_rejects_broken_contract),
        cmocka_unit_test(noise_statistics_kill_the_mutants),
    };
    return cmocka_run_group_tests_name("privacy/noise", tests, NULL, NULL);
}

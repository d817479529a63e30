/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_seam_bounds.c - clip and round together, on vectors of every
 * kind: what the noise is scaled to is never passed, whatever came in. */
#include "tests/support/cmocka_all.h"

#include <math.h>

#include "privacy/clip.h"
#include "privacy/quantize.h"
#include "privacy/sigma.h"
#include "tests/support/privacy_seam.h"

/* A checked build is slower. */
#ifdef NDEBUG
#define VECTORS 10000
#define LONGEST 1000000
#define AS_LONG 35 /* vectors of just that length: five of each kind */
#else
#define VECTORS 1000
#define LONGEST 100000
#define AS_LONG 7
#endif
#define ONE_LONG_OF 50 /* 1 .. LONGEST; the others 1 .. 1024 */
#define ROUNDINGS   10000

static hearth_rng *rng;

static uint64_t word(void) {
    uint64_t r;
    assert_ok(hearth_rng_u64(rng, &r));
    return r;
}

static double uniform(void) { /* [-0.5, 0.5) */
    return (double)(word() >> 11) * 0x1p-53 - 0.5;
}

static float from_bits(uint32_t bits) {
    float v;
    memcpy(&v, &bits, sizeof(v));
    return v;
}

/* Kinds of coordinates that a delta should not have, and has one day. */
enum { PLAIN, DENORMAL, HUGE_ONES, ANY_BITS, ZEROS, ONE_ONLY, HALVES, KINDS };

static float coordinate(int kind, size_t i) {
    switch (kind) {
    case PLAIN: return (float)uniform();
    case DENORMAL: return from_bits((uint32_t)word() & 0x807fffffu);
    case HUGE_ONES: return (float)(uniform() * 6e38);
    case ANY_BITS: /* all magnitudes, no NaN */
        return from_bits((uint32_t)word() & 0xff7fffffu);
    case ONE_ONLY: return i == 0 ? -3e38f : 0.0f;
    case HALVES: return 0.5f;
    default: return 0.0f;
    }
}

static double norm(const float *v, size_t n) {
    long double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (long double)v[i] * (long double)v[i];
    return (double)sqrtl(sum);
}

/* |a / |a| - b / |b||. */
static double turned(const float *a, const float *b, size_t n) {
    double na = norm(a, n), nb = norm(b, n), sum = 0;
    if (na == 0 || nb == 0) return na == nb ? 0 : 1;
    for (size_t i = 0; i < n; i++)
        sum += pow((double)a[i] / na - (double)b[i] / nb, 2);
    return sqrt(sum);
}

/* Clip and round v [n], whose copy is raw: bounds and direction. */
static void check(float *v, const float *raw, int32_t *y, size_t n, float clip,
                  int scale) {
    const size_t half = n / 3;
    hearth_span s[] = {{v, half}, {v + half, n - half}};
    uint64_t bound, sum = 0;
    assert_ok(hearth_clip_l2(s, 2, clip, NULL));
    assert_true(norm(v, n) <= (double)clip);
    assert_true(turned(raw, v, n) <= 1e-6);
    assert_ok(hearth_sigma_bound_sq((double)clip, scale, n, &bound));
    assert_ok(hearth_quantize(y, s, 2, scale, bound, rng, NULL));
    for (size_t i = 0; i < n; i++) {
        assert_true(fabs((double)y[i] - ldexp((double)v[i], scale)) < 1);
        sum += (uint64_t)((int64_t)y[i] * y[i]); /* <= 2^60 in all */
    }
    assert_true(sum <= bound);
}

/* 1 .. most on a log scale. */
static size_t any_length(double most) {
    return (size_t)exp2(log2(most) * (uniform() + 0.5));
}

/* HEARTH_C1_LONG=1: every vector may be as long as it gets (two minutes). */
static void c1_no_vector_passes_the_bound(void **state) {
    (void)state;
    size_t one_of = getenv("HEARTH_C1_LONG") ? 1 : ONE_LONG_OF, coordinates = 0;
    float *v = calloc(LONGEST, sizeof(*v)), *raw = calloc(LONGEST, sizeof(*v));
    int32_t *y = calloc(LONGEST, sizeof(*y));
    assert_true(v && raw && y);
    for (size_t k = 0; k < VECTORS; k++) {
        int kind = (int)(k % KINDS);
        size_t n = k < AS_LONG               ? LONGEST
                   : k / KINDS % one_of == 0 ? any_length(LONGEST)
                                             : any_length(1024);
        coordinates += n;
        float clip = (float)exp2(20 * uniform());
        int scale = (int)floor(14 - log2((double)clip) + 12 * uniform());
        for (size_t i = 0; i < n; i++) v[i] = raw[i] = coordinate(kind, i);
        check(v, raw, y, n, clip, scale);
    }
    print_message("%d vectors of %zu coordinates in all\n", VECTORS,
                  coordinates);
    free(v), free(raw), free(y);
}

static void c1_nan_and_infinity_leave_zeros(void **state) {
    (void)state;
    const float bad[] = {NAN, INFINITY, -INFINITY};
    float v[50];
    const float zero[50] = {0};
    for (size_t k = 0; k < 300; k++) {
        size_t n = 1 + k % 50;
        for (size_t i = 0; i < n; i++) v[i] = coordinate((int)(k % KINDS), i);
        v[word() % n] = bad[k % 3];
        hearth_span s = {v, n};
        assert_int_equal(hearth_clip_l2(&s, 1, 1.0f, NULL), HEARTH_ENONFINITE);
        assert_memory_equal(v, zero, n * sizeof(*v));
    }
}

/* beta = exp(-1/2) is what D_d is made for: a bound, and most vectors are far
 * below it. */
static void r1_redraws_are_within_beta(void **state) {
    (void)state;
    const size_t size[] = {1, 4, 64, 256};
    const double units[] = {0.5, 0.25, 7.5, 1.0 / 16};
    for (size_t k = 0; k < 4; k++) {
        float v[256];
        int32_t y[256];
        double tries = 0, n = (double)size[k], clip = units[k] * sqrt(n);
        uint64_t bound;
        for (size_t i = 0; i < size[k]; i++) v[i] = (float)units[k];
        hearth_span s = {v, size[k]};
        assert_ok(hearth_sigma_bound_sq(clip, 0, size[k], &bound));
        for (int r = 0; r < ROUNDINGS; r++) {
            hearth_quantize_report rep;
            assert_ok(hearth_quantize(y, &s, 1, 0, bound, rng, &rep));
            tries += rep.n_tries;
        }
        double rate = (tries - ROUNDINGS) / tries;
        print_message("%zu coordinates of %g: %.4f drawn again\n", size[k],
                      units[k], rate);
        assert_true(rate <= exp(-0.5) + 5 * sqrt(0.25 / tries));
    }
}

static int setup(void **state) {
    (void)state;
    return hearth_seam_rng_open(&rng, 20261121, 9, NULL, NULL);
}

static int teardown(void **state) {
    (void)state;
    hearth_rng_close(rng);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(c1_no_vector_passes_the_bound),
        cmocka_unit_test(c1_nan_and_infinity_leave_zeros),
        cmocka_unit_test(r1_redraws_are_within_beta),
    };
    return cmocka_run_group_tests_name("privacy bounds", tests, setup,
                                       teardown);
}

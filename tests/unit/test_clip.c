/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_clip.c - privacy/clip.h */
#include "tests/support/cmocka_all.h"

#include <float.h>
#include <math.h>

#include "privacy/clip.h"

/* Norm of the floats as stored, in a wider type than the code under test. */
static long double wide_norm(const hearth_span *s, size_t n_spans) {
    long double sum = 0;
    for (size_t k = 0; k < n_spans; k++)
        for (size_t i = 0; i < s[k].n; i++)
            sum += (long double)s[k].v[i] * (long double)s[k].v[i];
    return sqrtl(sum);
}

static uint32_t next_seed(uint32_t *seed) {
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static void clip_treats_spans_as_one_vector(void **state) {
    (void)state;
    float a[] = {6.0f}, b[] = {0.0f, -8.0f}; /* joint norm 10 */
    hearth_span s[] = {{a, 1}, {NULL, 0}, {b, 2}};
    hearth_clip_report rep;
    assert_ok(hearth_clip_l2(s, 3, 5.0f, &rep));
    assert_true(rep.clipped && rep.norm == 10.0);
    assert_float_equal(a[0], 3.0f, 1e-5f);
    assert_float_equal(b[1], -4.0f, 1e-5f);
}

static void clip_keeps_short_vector_bit_for_bit(void **state) {
    (void)state;
    float a[] = {1.0f - 0x1p-21f, 0x1p-149f, -0.0f}, before[3];
    hearth_span s = {a, 3};
    hearth_clip_report rep;
    memcpy(before, a, sizeof(a));
    assert_ok(hearth_clip_l2(&s, 1, 1.0f, &rep));
    assert_memory_equal(a, before, sizeof(a));
    assert_true(!rep.clipped && rep.scale == 1.0);
    a[0] = 1.0f - 0x1p-23f; /* within the margin: scaled */
    assert_ok(hearth_clip_l2(&s, 1, 1.0f, &rep));
    assert_true(rep.clipped && a[0] < 1.0f - 0x1p-23f);
}

static void clip_bound_is_strict_after_rounding(void **state) {
    (void)state;
    const double near[] = {1e-6, 0.7, 1 - 1e-7, 1.0, 1 + 1e-7, 5.0};
    static float v[4096];
    uint32_t seed = 2026;
    for (int trial = 0; trial < 1200; trial++) {
        hearth_span s = {v, 1 + (size_t)trial * 3};
        for (size_t i = 0; i < s.n; i++)
            v[i] =
                ldexpf((float)next_seed(&seed) - 8388608.0f, trial % 90 - 60);
        float c = (float)((double)wide_norm(&s, 1) * near[trial % 6]);
        assert_ok(hearth_clip_l2(&s, 1, c, NULL));
        if (wide_norm(&s, 1) > (long double)c)
            fail_msg("trial %d is over the bound", trial);
    }
}

static void clip_keeps_direction(void **state) {
    (void)state;
    float v[256], before[256];
    uint32_t seed = 7;
    for (size_t i = 0; i < 256; i++)
        before[i] = v[i] = (float)next_seed(&seed) - 8388608.0f;
    hearth_span s = {v, 256};
    assert_ok(hearth_clip_l2(&s, 1, 0.07f, NULL));
    double dot = 0, x = 0, y = 0;
    for (size_t i = 0; i < 256; i++) {
        dot += (double)v[i] * (double)before[i];
        x += (double)v[i] * (double)v[i];
        y += (double)before[i] * (double)before[i];
    }
    assert_true(dot / sqrt(x) / sqrt(y) > 1 - 1e-6);
}

static void clip_scales_largest_floats(void **state) {
    (void)state;
    float a[] = {-FLT_MAX, FLT_MAX}; /* squares overflow float, not double */
    hearth_span s = {a, 2};
    assert_ok(hearth_clip_l2(&s, 1, 2.0f, NULL));
    assert_float_equal(a[0], -1.4142135f, 1e-5f);
    assert_float_equal(a[1], 1.4142135f, 1e-5f);
}

static void clip_destroys_update_with_nan_or_inf(void **state) {
    (void)state;
    const float bad[] = {NAN, INFINITY, -INFINITY}, zero[3] = {0};
    for (size_t k = 0; k < 3; k++) {
        float a[3] = {bad[k], 2.0f, FLT_MAX};
        hearth_span s[] = {{a, 2}, {a + 2, 1}};
        assert_int_equal(hearth_clip_l2(s, 2, 1.0f, NULL), HEARTH_ENONFINITE);
        assert_memory_equal(a, zero, sizeof(a));
    }
}

static void clip_rejects_broken_contract_untouched(void **state) {
    (void)state;
    float a[] = {9.0f};
    const size_t max = HEARTH_CLIP_MAX_ELEMENTS;
    hearth_span ok = {a, 1}, null = {NULL, 1};
    hearth_span wraps[] = {{a, SIZE_MAX}, {a, 2}};
    hearth_span over[] = {{a, max}, {a, 1}}, full[] = {{a, max}, {NULL, 1}};
    const float bad[] = {0.0f, -1.0f, NAN, INFINITY, 1e-31f};
    for (size_t k = 0; k < 5; k++)
        assert_int_equal(hearth_clip_l2(&ok, 1, bad[k], NULL), HEARTH_EINVAL);
    assert_int_equal(hearth_clip_l2(&null, 1, 1.0f, NULL), HEARTH_EINVAL);
    assert_int_equal(hearth_clip_l2(NULL, 1, 1.0f, NULL), HEARTH_EINVAL);
    assert_int_equal(hearth_clip_l2(wraps, 2, 1.0f, NULL), HEARTH_ETOOBIG);
    assert_int_equal(hearth_clip_l2(over, 2, 1.0f, NULL), HEARTH_ETOOBIG);
    assert_int_equal(hearth_clip_l2(full, 2, 1.0f, NULL), HEARTH_EINVAL);
    assert_true(a[0] == 9.0f);
    assert_ok(hearth_clip_l2(NULL, 0, 1.0f, NULL));
    assert_ok(hearth_clip_l2(&ok, 1, HEARTH_CLIP_MIN_NORM, NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clip_treats_spans_as_one_vector),
        cmocka_unit_test(clip_keeps_short_vector_bit_for_bit),
        cmocka_unit_test(clip_bound_is_strict_after_rounding),
        cmocka_unit_test(clip_keeps_direction),
        cmocka_unit_test(clip_scales_largest_floats),
        cmocka_unit_test(clip_destroys_update_with_nan_or_inf),
        cmocka_unit_test(clip_rejects_broken_contract_untouched),
    };
    return cmocka_run_group_tests_name("privacy/clip", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_refmath.c - common/refmath.h against libm in long double,
 * and against frozen bits, so that every machine must agree. */
#include <math.h>

#include "tests/support/cmocka_all.h"

#include "common/philox.h"
#include "common/refmath.h"

static double rel(double got, long double want) {
    long double d = (long double)got - want;
    if (d < 0) d = -d;
    if (want < 0) want = -want;
    return want > 0 ? (double)(d / want) : (double)d;
}

static void refmath_agrees_with_libm(void **state) {
    (void)state;
    hearth_philox_key k = hearth_philox_key_make(1, HEARTH_PHILOX_DATA);
    const double ulp = 0x1p-52;
    for (uint64_t i = 0; i < 100000; i++) {
        double u = hearth_philox_uniform(k, 0, i) - 0.5;
        double x = u * 1400, y = u * 2e6, z = u * 8;
        if (rel(hearth_ref_exp(x), expl((long double)x)) > 2 * ulp)
            fail_msg("exp(%a)", x);
        double big = hearth_ref_exp(x);
        if (rel(hearth_ref_log(big), logl((long double)big)) > 2 * ulp)
            fail_msg("log(%a)", big);
        if (fabs(hearth_ref_sin(y) - (double)sinl((long double)y)) > 2 * ulp)
            fail_msg("sin(%a)", y);
        if (fabs(hearth_ref_cos(y) - (double)cosl((long double)y)) > 2 * ulp)
            fail_msg("cos(%a)", y);
        if (rel(hearth_ref_tanh(z), tanhl((long double)z)) > 8 * ulp)
            fail_msg("tanh(%a)", z);
    }
}

static void refmath_handles_the_edges(void **state) {
    (void)state;
    assert_true(hearth_ref_exp(0) == 1.0 && hearth_ref_exp(-1e9) == 0.0);
    assert_true(isinf(hearth_ref_exp(710)) && isnan(hearth_ref_exp(nan(""))));
    assert_true(hearth_ref_log(1) == 0.0 && isnan(hearth_ref_log(-1)));
    assert_true(isinf(hearth_ref_log(0)) && isinf(hearth_ref_log(1e308 * 10)));
    assert_true(rel(hearth_ref_log(0x1p-1074), -744.4400719213812621L) < 1e-15);
    assert_true(isnan(hearth_ref_sin(0x1p31)) && isnan(hearth_ref_cos(1e300)));
    assert_true(hearth_ref_tanh(100) == 1.0 && hearth_ref_tanh(-100) == -1.0);
    assert_true(isnan(hearth_ref_tanh(nan(""))));
    assert_true(rel(hearth_ref_pow(10000, 0.375), powl(10000, 0.375L)) < 1e-14);
    assert_true(hearth_ref_sqrt(2) == 0x1.6a09e667f3bcdp+0);
}

/* Printed once by this code on x86-64; the same on every IEEE machine. */
static void refmath_bits_are_frozen(void **state) {
    (void)state;
    assert_true(hearth_ref_exp(1.5) == 0x1.1ed3fe64fc541p+2);
    assert_true(hearth_ref_log(3.0) == 0x1.193ea7aad030bp+0);
    assert_true(hearth_ref_sin(10.0) == -0x1.1689ef5f34f53p-1);
    assert_true(hearth_ref_cos(10.0) == -0x1.ad9ac890c6b1fp-1);
    assert_true(hearth_ref_tanh(0.5) == 0x1.d9353d7568af3p-2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refmath_agrees_with_libm),
        cmocka_unit_test(refmath_handles_the_edges),
        cmocka_unit_test(refmath_bits_are_frozen),
    };
    return cmocka_run_group_tests_name("common/refmath", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_optimizer.c - client/train/optimizer.h */
#include <math.h>

#include "client/train/optimizer.h"
#include "tests/support/cmocka_all.h"

static void optimizer_first_step_by_hand(void **state) {
    (void)state;
    /* m = 0.1 g, v = 0.001 g^2; both corrections give g and |g|: the step is
     * lr * sign(g), after the decay. */
    float w[3] = {1.0f, -2.0f, 0.5f}, g[3] = {4.0f, -0.25f, 0.0f};
    float m[3], v[3];
    hearth_adamw_config c = HEARTH_ADAMW_CONFIG_INIT;
    hearth_optimizer o;
    c.weight_decay = 0.5;
    hearth_optimizer_span s[2] = {{w, g, 2, true}, {w + 2, g + 2, 1, false}};
    assert_ok(hearth_optimizer_init(&o, &c, m, v, 3));
    assert_ok(hearth_optimizer_step(&o, s, 2, 0.1, 1.0, NULL));
    assert_true(fabs((double)w[0] - (0.95 - 0.1)) < 1e-6);
    assert_true(fabs((double)w[1] - (-1.9 + 0.1)) < 1e-6);
    assert_true(w[2] == 0.5f); /* no gradient, no decay */
    assert_true(fabs((double)m[0] - 0.4) < 1e-6);
    assert_true(fabs((double)v[0] - 0.016) < 1e-6);
    assert_int_equal(o.t, 1);
}

/* The generator's numbers: (lcg >> 8) / 2^23 - 1, exact in float. */
static uint32_t lcg_state;
static float lcg(void) {
    lcg_state = lcg_state * 1664525u + 1013904223u;
    return (float)(lcg_state >> 8) / 8388608.0f - 1.0f;
}

static void optimizer_follows_torch(void **state) {
    (void)state;
    FILE *f = fopen("tests/golden/adamw.txt", "r");
    char line[512], *p;
    float w[7], g[7], m[7], v[7];
    hearth_adamw_config c = {0.9, 0.99, 1e-8, 0.1};
    hearth_optimizer o;
    hearth_optimizer_span s[2] = {{w, g, 3, true}, {w + 3, g + 3, 4, true}};
    double worst = 0;
    int steps = 0;
    assert_non_null(f);
    lcg_state = 137;
    for (int i = 0; i < 7; i++) w[i] = lcg();
    assert_ok(hearth_optimizer_init(&o, &c, m, v, 7));
    while (fgets(line, sizeof(line), f)) {
        if (line[0] == '#') continue;
        for (int i = 0; i < 7; i++) g[i] = 3.0f * lcg();
        double norm = hearth_optimizer_grad_norm(s, 2, 1.0);
        double want = strtod(line, &p);
        assert_true(fabs(norm - want) < 1e-5 * want);
        assert_ok(hearth_optimizer_step(
            &o, s, 2, 3e-2, hearth_optimizer_clip_factor(norm, 1.5), NULL));
        for (int i = 0; i < 7; i++) {
            double d = fabs((double)w[i] - strtod(p, &p));
            if (d > worst) worst = d;
        }
        steps++;
    }
    fclose(f);
    assert_int_equal(steps, 12);
    /* observed 6.0e-8 (x86-64, gcc 12), half a unit of float at 1 */
    if (worst > 3e-7) fail_msg("off by %g", worst);
}

static void optimizer_is_the_same_for_any_threads(void **state) {
    (void)state;
    enum { N = 100000 };
    static float w[4][N], g[N], m[N], v[N];
    const size_t threads[4] = {1, 2, 3, 7};
    double norm0 = 0;
    for (int k = 0; k < 4; k++) {
        hearth_pool *pool = NULL;
        hearth_adamw_config c = HEARTH_ADAMW_CONFIG_INIT;
        hearth_optimizer o;
        assert_ok(hearth_pool_open(&pool, threads[k], NULL, NULL));
        lcg_state = 9;
        for (int i = 0; i < N; i++) w[k][i] = lcg();
        hearth_optimizer_span s[2] = {{w[k], g, 40000, true},
                                      {w[k] + 40000, g + 40000, N - 40000, 0}};
        assert_ok(hearth_optimizer_init(&o, &c, m, v, N));
        for (int t = 0; t < 3; t++) {
            for (int i = 0; i < N; i++) g[i] = lcg();
            double norm = hearth_optimizer_grad_norm(s, 2, 0.5);
            if (k == 0 && t == 0) norm0 = norm;
            if (t == 0) assert_memory_equal(&norm, &norm0, sizeof(norm));
            assert_ok(hearth_optimizer_step(&o, s, 2, 0.01, 0.5, pool));
        }
        hearth_pool_close(pool);
        assert_memory_equal(w[0], w[k], sizeof(w[0]));
    }
}

static void optimizer_clip_factor_is_torchs(void **state) {
    (void)state;
    assert_true(hearth_optimizer_clip_factor(5.0, 0.0) == 1.0);
    assert_true(hearth_optimizer_clip_factor(0.5, 1.0) == 1.0);
    assert_true(hearth_optimizer_clip_factor(2.0, 1.0) == 1.0 / (2.0 + 1e-6));
    assert_true(hearth_optimizer_clip_factor(0.0, 1.0) == 1.0);
}

static void optimizer_refuses_untouched(void **state) {
    (void)state;
    float w[2] = {1, 2}, g[2] = {1, 1}, m[2], v[2];
    hearth_adamw_config c = HEARTH_ADAMW_CONFIG_INIT, bad = c;
    hearth_optimizer o;
    bad.beta1 = 1.0;
    assert_int_equal(hearth_optimizer_init(&o, &bad, m, v, 2), HEARTH_EINVAL);
    bad = c;
    bad.eps = 0.0;
    assert_int_equal(hearth_optimizer_init(&o, &bad, m, v, 2), HEARTH_EINVAL);
    bad = c;
    bad.weight_decay = (double)NAN;
    assert_int_equal(hearth_optimizer_init(&o, &bad, m, v, 2), HEARTH_EINVAL);
    assert_int_equal(hearth_optimizer_init(&o, &c, NULL, v, 2), HEARTH_EINVAL);
    assert_ok(hearth_optimizer_init(&o, &c, m, v, 2));
    hearth_optimizer_span one = {w, g, 1, true}, null = {NULL, g, 2, true};
    hearth_optimizer_span two = {w, g, 2, true}, three = {w, g, 3, true};
    const hearth_optimizer_span *s[] = {&one, &null, &three};
    for (int i = 0; i < 3; i++)
        assert_int_equal(hearth_optimizer_step(&o, s[i], 1, 0.1, 1.0, NULL),
                         HEARTH_EINVAL);
    assert_int_equal(hearth_optimizer_step(&o, &two, 1, -0.1, 1.0, NULL),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_optimizer_step(&o, &two, 1, 0.1, (double)NAN, NULL),
                     HEARTH_EINVAL);
    hearth_optimizer_span wraps[] = {{w, g, 3, true}, {w, g, SIZE_MAX, true}};
    assert_int_equal(hearth_optimizer_step(&o, wraps, 2, 0.1, 1.0, NULL),
                     HEARTH_EINVAL);
    assert_true(w[0] == 1.0f && w[1] == 2.0f && o.t == 0);
    assert_int_equal(hearth_optimizer_bytes(10), 80);
    assert_int_equal(hearth_optimizer_bytes(SIZE_MAX / 4), SIZE_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(optimizer_first_step_by_hand),
        cmocka_unit_test(optimizer_follows_torch),
        cmocka_unit_test(optimizer_is_the_same_for_any_threads),
        cmocka_unit_test(optimizer_clip_factor_is_torchs),
        cmocka_unit_test(optimizer_refuses_untouched),
    };
    return cmocka_run_group_tests_name("train/optimizer", tests, NULL, NULL);
}

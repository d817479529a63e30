/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_merge.c - client/model/model_merge.h: merged and unmerged
 * models give the same logits, for every family. */
#include <math.h>

#include "client/model/model_merge.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/model_fixture.h"

#define N_TOKENS 11
#define VOCAB    67

static void logits_of(const hearth_model *m, hearth_adapter *a, float *out) {
    static const uint32_t length[] = {7, 4};
    tiny_stream s;
    tiny_engine e;
    tiny_stream_make(&s, length, 2, VOCAB, 3);
    tiny_engine_open(&e,
                     (hearth_decoder_shape){.model = m,
                                            .adapter = a,
                                            .mode = HEARTH_DECODER_INFER},
                     NULL, hearth_kernels_default());
    assert_ok(hearth_decoder_logits(e.dec, &s.stream, out, NULL));
    tiny_engine_close(&e);
}

/* Largest difference over the largest value. */
static double distance(const float *a, const float *b) {
    double top = 0, worst = 0;
    for (size_t i = 0; i < (size_t)N_TOKENS * VOCAB; i++) {
        worst = fmax(worst, fabs((double)a[i] - (double)b[i]));
        top = fmax(top, fabs((double)b[i]));
    }
    return worst / top;
}

/* An adapter with two ranks and two alphas on all that the family offers. */
static hearth_adapter *mixed_adapter(const hearth_model *m, bool rslora) {
    size_t n = 0;
    const hearth_module_info *info = hearth_model_modules(m, &n);
    hearth_adapter_pair *shape = calloc(n, sizeof(*shape));
    hearth_adapter *a = NULL;
    hearth_philox_key k = hearth_philox_key_make(6, HEARTH_PHILOX_INIT);
    assert_non_null(shape);
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(shape[i].module, sizeof(shape[i].module), "%s",
                       info[i].name);
        shape[i].layer = info[i].layer;
        shape[i].target = info[i].target;
        shape[i].in = info[i].in;
        shape[i].out = info[i].out;
        shape[i].rank = i % 3 ? 2 : 5;
        shape[i].alpha = i % 2 ? 3.0f : 1.5f;
    }
    assert_ok(hearth_adapter_new_shaped(&a, shape, n, rslora, NULL, NULL));
    for (size_t i = 0; i < a->n_values; i++)
        a->values[i] = (float)(0.2 * hearth_philox_normal(k, 0, i));
    free(shape);
    return a;
}

static void one_family(const char *config, bool rslora) {
    static float plain[N_TOKENS * VOCAB], want[N_TOKENS * VOCAB],
        got[N_TOKENS * VOCAB];
    static const struct {
        hearth_merge_type type;
        double limit;
    } row[] = {{HEARTH_MERGE_AS_BASE, 2e-5},
               {HEARTH_MERGE_F32, 2e-5},
               {HEARTH_MERGE_F16, 2e-2},
               {HEARTH_MERGE_BF16, 2e-1}};
    char dir[64], out[96];
    hearth_model *m = tiny_model_of(config, 8, dir), *merged = NULL;
    hearth_adapter *a = mixed_adapter(m, rslora);
    logits_of(m, NULL, plain);
    logits_of(m, a, want);
    assert_true(distance(plain, want) > 0.05);
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        (void)snprintf(out, sizeof(out), "%s/merged%zu", dir, i);
        assert_ok(hearth_model_merge(m, a, row[i].type, out, NULL, NULL));
        assert_ok(hearth_model_open(&merged, out, NULL, NULL));
        logits_of(merged, NULL, got);
        if (!(distance(got, want) <= row[i].limit))
            fail_msg("%.40s: %g", config, distance(got, want));
        hearth_model_close(merged);
    }
    hearth_adapter_free(a);
    tiny_drop(m, dir);
}

static void merged_equals_unmerged(void **state) {
    tiny_spec s = TINY_SPEC;
    char config[1024];
    (void)state;
    (void)tiny_config(&s, config, sizeof(config));
    one_family(config, false);
    one_family(config, true);
    for (size_t i = 0; i < TINY_FAMILIES; i++)
        one_family(tiny_family[i].config, false);
}

static void what_does_not_fit_is_refused(void **state) {
    tiny_spec s = TINY_SPEC;
    char config[1024], dir[64], out[96];
    hearth_error err;
    (void)state;
    (void)tiny_config(&s, config, sizeof(config));
    hearth_model *m = tiny_model_of(config, 8, dir);
    hearth_adapter *a = mixed_adapter(m, false);
    (void)snprintf(out, sizeof(out), "%s/merged", dir);
    assert_int_equal(
        hearth_model_merge(NULL, a, HEARTH_MERGE_F32, out, NULL, NULL),
        HEARTH_EINVAL);
    assert_int_equal(
        hearth_model_merge(m, a, HEARTH_MERGE_F32, dir, NULL, &err),
        HEARTH_EEXISTS);
    a->pair[0].out--;
    assert_int_equal(
        hearth_model_merge(m, a, HEARTH_MERGE_F32, out, NULL, &err),
        HEARTH_EMISMATCH);
    a->pair[0].out++;
    a->pair[1].b[0] = 1e9f; /* more than F16 holds */
    assert_int_equal(
        hearth_model_merge(m, a, HEARTH_MERGE_F16, out, NULL, &err),
        HEARTH_ENONFINITE);
    assert_non_null(strstr(err.text, "--type f32"));
    assert_ok(hearth_model_merge(m, a, HEARTH_MERGE_F32, out, NULL, &err));
    hearth_adapter_free(a);
    tiny_drop(m, dir);
}

static void refused_memory_is_clean(void **state) {
    char dir[64], out[96];
    (void)state;
    hearth_model *m = tiny_model_of(tiny_family[0].config, 8, dir);
    hearth_adapter *a = mixed_adapter(m, false);
    (void)snprintf(out, sizeof(out), "%s/merged", dir);
    for (size_t k = 1;; k++) {
        hearth_fail_alloc fa;
        hearth_alloc al = hearth_fail_alloc_init(&fa, k);
        hearth_status st =
            hearth_model_merge(m, a, HEARTH_MERGE_F32, out, &al, NULL);
        assert_int_equal(fa.live, 0);
        if (st == HEARTH_OK) break;
        assert_int_equal(st, HEARTH_ENOMEM);
    }
    hearth_adapter_free(a);
    tiny_drop(m, dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merged_equals_unmerged),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(refused_memory_is_clean),
    };
    return cmocka_run_group_tests_name("client/model/model_merge", tests, NULL,
                                       NULL);
}

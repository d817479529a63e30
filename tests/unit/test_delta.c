/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_delta.c - client/delta/delta.h */
#include "tests/support/cmocka_all.h"

#include "client/delta/delta.h"
#include "tests/support/fail_alloc.h"

static const hearth_module_info MODULES[] = {
    {"model.layers.1.self_attn.v_proj", 1, HEARTH_TARGET_V, 3, 2},
    {"model.layers.0.self_attn.v_proj", 0, HEARTH_TARGET_V, 3, 2},
};

static hearth_adapter *adapter(uint32_t rank, float start) {
    hearth_lora_spec spec = {.rank = rank,
                             .alpha = 2,
                             .targets = HEARTH_TARGET_BIT(HEARTH_TARGET_V)};
    hearth_adapter *a = NULL;
    assert_ok(hearth_adapter_new(&a, &spec, MODULES, 2, NULL, NULL));
    for (size_t i = 0; i < a->n_values; i++)
        a->values[i] = start * (float)(i + 1);
    return a;
}

/* The spans in a row are flatten(after) - flatten(before). */
static void delta_is_after_minus_before(void **state) {
    (void)state;
    hearth_adapter *x = adapter(2, 1.0f), *y = adapter(2, 1.5f);
    const hearth_part parts[] = {HEARTH_PART_A, HEARTH_PART_B, HEARTH_PART_AB};
    for (int k = 0; k < 3; k++) {
        float a[64], b[64];
        size_t d = hearth_adapter_dim(x, parts[k]), at = 0;
        hearth_delta *dl = NULL;
        assert_ok(hearth_adapter_flatten(x, parts[k], a, d));
        assert_ok(hearth_adapter_flatten(y, parts[k], b, d));
        assert_ok(hearth_delta_new(&dl, x, y, parts[k], NULL, NULL));
        assert_int_equal(hearth_delta_dim(dl), d);
        const hearth_span *s = hearth_delta_spans(dl);
        for (size_t i = 0; i < hearth_delta_n_spans(dl); i++)
            for (size_t j = 0; j < s[i].n; j++, at++)
                assert_true(s[i].v[j] == b[at] - a[at]);
        assert_int_equal(at, d);
        hearth_delta_free(dl);
    }
    hearth_adapter_free(x);
    hearth_adapter_free(y);
}

static void delta_refuses_other_shapes(void **state) {
    (void)state;
    hearth_adapter *x = adapter(2, 1), *y = adapter(1, 1), *z = adapter(2, 1);
    hearth_delta *dl = (hearth_delta *)1;
    hearth_error err;
    assert_int_equal(hearth_delta_new(&dl, x, y, HEARTH_PART_B, NULL, &err),
                     HEARTH_EMISMATCH);
    assert_null(dl);
    z->rslora = true;
    assert_int_equal(hearth_delta_new(&dl, x, z, HEARTH_PART_B, NULL, &err),
                     HEARTH_EMISMATCH);
    z->rslora = false;
    z->pair[1].layer = 5;
    assert_int_equal(hearth_delta_new(&dl, x, z, HEARTH_PART_B, NULL, &err),
                     HEARTH_EMISMATCH);
    assert_int_equal(hearth_delta_new(&dl, x, NULL, HEARTH_PART_B, NULL, &err),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_delta_new(&dl, NULL, x, HEARTH_PART_B, NULL, &err),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_delta_new(&dl, x, x, (hearth_part)0, NULL, &err),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_delta_new(&dl, x, x, (hearth_part)4, NULL, &err),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_delta_new(NULL, x, x, HEARTH_PART_B, NULL, &err),
                     HEARTH_EINVAL);
    hearth_delta_free(NULL);
    hearth_adapter_free(x);
    hearth_adapter_free(y);
    hearth_adapter_free(z);
}

static void delta_survives_every_failed_allocation(void **state) {
    (void)state;
    hearth_adapter *x = adapter(2, 1), *y = adapter(2, 2);
    for (size_t k = 1;; k++) {
        hearth_fail_alloc fa;
        hearth_alloc al = hearth_fail_alloc_init(&fa, k);
        hearth_delta *dl = NULL;
        hearth_status st =
            hearth_delta_new(&dl, x, y, HEARTH_PART_AB, &al, NULL);
        hearth_delta_free(dl);
        assert_int_equal(fa.live, 0);
        if (st == HEARTH_OK) break;
        assert_int_equal(st, HEARTH_ENOMEM);
    }
    hearth_adapter_free(x);
    hearth_adapter_free(y);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delta_is_after_minus_before),
        cmocka_unit_test(delta_refuses_other_shapes),
        cmocka_unit_test(delta_survives_every_failed_allocation),
    };
    return cmocka_run_group_tests_name("client/delta/delta", tests, NULL, NULL);
}

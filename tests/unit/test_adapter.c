/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_adapter.c - common/adapter.h, adapter_combine.h,
 * adapter_digest.h */
#include <math.h>

#include "common/adapter.h"
#include "common/adapter_combine.h"
#include "common/adapter_digest.h"
#include "common/bytes.h"
#include "common/hash.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/fail_alloc.h"

/* Two layers, all targets, sides that tell in from out; worst order first. */
#define N_MODULES 14
static char names[N_MODULES][HEARTH_LORA_MODULE_MAX];

static void make_modules(hearth_module_info *m) {
    for (uint32_t i = 0; i < N_MODULES; i++) {
        uint32_t layer = 1 - i / 7, target = 6 - i % 7;
        assert_ok(hearth_lora_module_name(names[i], sizeof(names[i]),
                                          HEARTH_NAMES_LLAMA, layer, target));
        m[i] = (hearth_module_info){names[i], layer, target, 4 + target,
                                    2 + layer + target};
    }
}

static hearth_adapter *make(hearth_lora_spec spec) {
    hearth_module_info m[N_MODULES];
    hearth_adapter *a = NULL;
    make_modules(m);
    assert_ok(hearth_adapter_new(&a, &spec, m, N_MODULES, NULL, NULL));
    return a;
}

static const hearth_lora_spec QV = {2, 4.0f, HEARTH_TARGETS_QV, 0, 0, 0};

static void adapter_new_sorts_into_canonical_order(void **state) {
    (void)state;
    hearth_lora_spec spec = QV;
    spec.targets = HEARTH_TARGETS_LINEAR;
    hearth_adapter *a = make(spec);
    assert_int_equal(a->n_pairs, 14);
    for (uint32_t i = 0; i < 14; i++) {
        assert_int_equal(a->pair[i].layer, i / 7);
        assert_int_equal(a->pair[i].target, i % 7);
        assert_true(a->pair[i].a ==
                    (i ? a->pair[i - 1].b + (size_t)a->pair[i - 1].out * 2
                       : a->values));
    }
    assert_int_equal(a->n_values, hearth_adapter_dim(a, HEARTH_PART_AB));
    hearth_adapter_free(a);
}

static void adapter_new_keeps_the_last_layers(void **state) {
    (void)state;
    hearth_lora_spec spec = QV;
    spec.last_layers = 1;
    hearth_adapter *a = make(spec);
    assert_int_equal(a->n_pairs, 2);
    assert_int_equal(a->pair[0].layer, 1);
    hearth_adapter_free(a);
    spec.last_layers = 9;
    a = make(spec);
    assert_int_equal(a->n_pairs, 4);
    hearth_adapter_free(a);
}

static void adapter_new_refuses_bad_specs(void **state) {
    (void)state;
    hearth_module_info m[N_MODULES];
    hearth_adapter *a = NULL;
    hearth_error err;
    make_modules(m);
    hearth_lora_spec spec[5] = {QV, QV, QV, QV, QV};
    spec[0].rank = 0;
    spec[1].alpha = NAN;
    spec[2].alpha = -1.0f;
    spec[3].targets = 0;
    spec[4].targets = 0x80;
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(hearth_adapter_new(&a, &spec[i], m, 14, NULL, &err),
                         HEARTH_EINVAL);
        assert_null(a);
        assert_true(err.text[0] != 0);
    }
    spec[0] = QV;
    spec[0].rank = HEARTH_ADAPTER_MAX_RANK + 1;
    assert_int_equal(hearth_adapter_new(&a, &spec[0], m, 14, NULL, NULL),
                     HEARTH_ETOOBIG);
    m[3].in = HEARTH_ADAPTER_MAX_SIDE + 1;
    spec[0] = QV;
    spec[0].targets = HEARTH_TARGETS_LINEAR;
    assert_int_equal(hearth_adapter_new(&a, &spec[0], m, 14, NULL, NULL),
                     HEARTH_ETOOBIG);
    make_modules(m);
    m[1] = m[0];
    m[1].name = "another name";
    assert_int_equal(hearth_adapter_new(&a, &spec[0], m, 14, NULL, NULL),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_adapter_new(&a, &spec[0], NULL, 0, NULL, NULL),
                     HEARTH_EINVAL);
}

static void adapter_new_refuses_too_many_values(void **state) {
    (void)state;
    hearth_module_info m = {"model.layers.0.self_attn.q_proj", 0, 0,
                            HEARTH_ADAPTER_MAX_SIDE, HEARTH_ADAPTER_MAX_SIDE};
    hearth_lora_spec spec = QV;
    hearth_adapter *a = NULL;
    spec.rank = 129; /* 129 * 2^21 > 2^28 */
    assert_int_equal(hearth_adapter_new(&a, &spec, &m, 1, NULL, NULL),
                     HEARTH_ETOOBIG);
    assert_null(a);
}

static void adapter_new_survives_refused_memory(void **state) {
    (void)state;
    hearth_module_info m[N_MODULES];
    make_modules(m);
    for (size_t k = 1;; k++) {
        hearth_fail_alloc fa;
        hearth_alloc al = hearth_fail_alloc_init(&fa, k);
        hearth_adapter *a = NULL, *b = NULL;
        hearth_status st = hearth_adapter_new(&a, &QV, m, 14, &al, NULL);
        if (st == HEARTH_OK) st = hearth_adapter_clone(&b, a, &al, NULL);
        hearth_adapter_free(a);
        hearth_adapter_free(b);
        assert_int_equal(fa.live, 0);
        if (st == HEARTH_OK) break;
        assert_int_equal(st, HEARTH_ENOMEM);
        assert_true(k < 100);
    }
}

/* Values from the definition in adapter.h, computed with another program. */
static void adapter_a_from_seed_matches_the_vector(void **state) {
    (void)state;
    static const float want[10] = {
        0x1.edc1a4p-3f,  0x1.2ec978p-2f, 0x1.29bb8ep-2f,  -0x1.621a66p-2f,
        -0x1.6dfa68p-2f, 0x1.7d17e4p-2f, -0x1.cf14eap-4f, -0x1.efba44p-3f,
        -0x1.9b8a8p-2f,  -0x1.fda74cp-4f};
    hearth_module_info m[] = {{"model.layers.0.self_attn.v_proj", 0, 2, 5, 3},
                              {"model.layers.3.mlp.down_proj", 3, 6, 172, 64}};
    hearth_adapter_pair shape[2] = {0};
    hearth_adapter *a = NULL;
    uint8_t seed[32], digest[32];
    char hex[65];
    for (int i = 0; i < 2; i++) {
        memcpy(shape[i].module, m[i].name, strlen(m[i].name) + 1);
        shape[i].layer = m[i].layer;
        shape[i].target = m[i].target;
        shape[i].rank = i ? 4 : 2;
        shape[i].in = m[i].in;
        shape[i].out = m[i].out;
        shape[i].alpha = 1.0f;
    }
    assert_ok(hearth_adapter_seed_from_number(1, seed));
    hearth_hex_encode(hex, seed, 32);
    assert_string_equal(hex, "9f1a9eb013045abe470000f959e0253bfe66d3a928b9209d"
                             "c1d758215f9a64dc");
    assert_ok(hearth_adapter_new_shaped(&a, shape, 2, false, NULL, NULL));
    a->pair[0].b[0] = 3.0f;
    assert_ok(hearth_adapter_init_a_from_seed(a, seed));
    assert_memory_equal(a->pair[0].a, want, sizeof(want));
    assert_true(a->has_a_seed && a->pair[0].b[0] == 0.0f);
    /* x86 and Arm are little-endian: the floats are the bytes that count. */
    assert_ok(hearth_sha256(digest, a->pair[1].a, 4 * 172 * sizeof(float)));
    hearth_hex_encode(hex, digest, 32);
    assert_string_equal(hex, "1c7c27e264a4f233700a0ecf43d8421f303a2170c45174f5"
                             "ae8d6d5324cda674");
    hearth_adapter_free(a);
}

static void adapter_a_stays_in_its_range(void **state) {
    (void)state;
    hearth_adapter *a = make(QV);
    uint8_t seed[32] = {7};
    double sum = 0;
    size_t n = 0;
    assert_ok(hearth_adapter_init_a_from_seed(a, seed));
    for (size_t i = 0; i < a->n_pairs; i++)
        for (size_t k = 0; k < (size_t)2 * a->pair[i].in; k++, n++) {
            double side = 1.0 / sqrt((double)a->pair[i].in);
            assert_true(fabs((double)a->pair[i].a[k]) <= side);
            sum += (double)a->pair[i].a[k];
        }
    assert_true(fabs(sum / (double)n) < 0.2);
    hearth_adapter_free(a);
}

static void adapter_flatten_follows_the_order(void **state) {
    (void)state;
    hearth_adapter *a = make(QV), *b = make(QV);
    size_t n = hearth_adapter_dim(a, HEARTH_PART_AB);
    size_t na = hearth_adapter_dim(a, HEARTH_PART_A);
    size_t nb = hearth_adapter_dim(a, HEARTH_PART_B);
    float flat[256];
    assert_true(n == na + nb && n <= 256);
    for (size_t i = 0; i < n; i++) a->values[i] = (float)i;
    assert_ok(hearth_adapter_flatten(a, HEARTH_PART_AB, flat, n));
    assert_memory_equal(flat, a->values, n * sizeof(float));
    assert_ok(hearth_adapter_flatten(a, HEARTH_PART_B, flat, nb));
    assert_true(flat[0] == a->pair[0].b[0]);
    assert_true(flat[nb - 1] == a->pair[3].b[2 * a->pair[3].out - 1]);
    assert_ok(hearth_adapter_unflatten(b, HEARTH_PART_B, flat, nb));
    assert_ok(hearth_adapter_flatten(a, HEARTH_PART_A, flat, na));
    assert_ok(hearth_adapter_unflatten(b, HEARTH_PART_A, flat, na));
    assert_memory_equal(a->values, b->values, n * sizeof(float));
    assert_int_equal(hearth_adapter_flatten(a, HEARTH_PART_A, flat, na + 1),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_adapter_unflatten(b, HEARTH_PART_A, flat, na - 1),
                     HEARTH_EINVAL);
    hearth_span s[8];
    assert_int_equal(hearth_adapter_spans(a, HEARTH_PART_AB, s, 8), 8);
    assert_true(s[1].v == a->pair[0].b && s[1].n == (size_t)2 * a->pair[0].out);
    assert_int_equal(hearth_adapter_spans(a, HEARTH_PART_B, s, 1), 4);
    hearth_adapter_free(a);
    hearth_adapter_free(b);
}

static void adapter_scale_knows_rslora(void **state) {
    (void)state;
    hearth_lora_spec spec = {4, 8.0f, HEARTH_TARGETS_QV, 0, false, false};
    hearth_adapter *a = make(spec);
    assert_true(hearth_adapter_scale(a, &a->pair[0]) == 2.0f);
    a->rslora = true;
    assert_true(hearth_adapter_scale(a, &a->pair[0]) == 4.0f);
    hearth_adapter_free(a);
}

static void adapter_same_shape_names_the_difference(void **state) {
    (void)state;
    hearth_adapter *a = make(QV), *b = make(QV);
    hearth_error err;
    assert_ok(hearth_adapter_same_shape(a, b, &err));
    b->pair[1].alpha = 5.0f;
    assert_int_equal(hearth_adapter_same_shape(a, b, &err), HEARTH_EMISMATCH);
    assert_non_null(strstr(err.text, "v_proj"));
    hearth_adapter_free(b);
    b = make(QV);
    b->pair[2].rank = 3;
    assert_int_equal(hearth_adapter_same_shape(a, b, &err), HEARTH_EMISMATCH);
    assert_non_null(strstr(err.text, "rank 3"));
    b->pair[2].rank = 2;
    b->pair[2].out++;
    assert_int_equal(hearth_adapter_same_shape(a, b, &err), HEARTH_EMISMATCH);
    b->pair[2].out--;
    hearth_adapter_free(b);
    hearth_lora_spec spec = QV;
    spec.rslora = true;
    b = make(spec);
    assert_int_equal(hearth_adapter_same_shape(a, b, &err), HEARTH_EMISMATCH);
    hearth_adapter_free(b);
    spec = QV;
    spec.targets = HEARTH_TARGET_BIT(0) | HEARTH_TARGET_BIT(1);
    b = make(spec);
    assert_int_equal(hearth_adapter_same_shape(a, b, &err), HEARTH_EMISMATCH);
    hearth_adapter_free(a);
    hearth_adapter_free(b);
}

static void adapter_check_finite_finds_nan(void **state) {
    (void)state;
    hearth_adapter *a = make(QV);
    assert_ok(hearth_adapter_check_finite(a));
    a->values[a->n_values - 1] = NAN;
    assert_int_equal(hearth_adapter_check_finite(a), HEARTH_ENONFINITE);
    hearth_adapter_free(a);
}

/* Row o, column i of scale * B A. */
static double product(const hearth_adapter *a, const char *module, uint32_t o,
                      uint32_t i) {
    for (size_t k = 0; k < a->n_pairs; k++) {
        const hearth_adapter_pair *p = &a->pair[k];
        double sum = 0;
        if (strcmp(p->module, module) != 0) continue;
        for (uint32_t r = 0; r < p->rank; r++)
            sum += (double)p->b[(size_t)o * p->rank + r] *
                   (double)p->a[(size_t)r * p->in + i];
        return sum * (double)hearth_adapter_scale(a, p);
    }
    return 0.0;
}

static void adapter_combine_adds_the_products(void **state) {
    (void)state;
    hearth_lora_spec other = {3, 6.0f, HEARTH_TARGETS_ATTN, 1, true, false};
    hearth_adapter *a = make(QV), *b = make(other), *c = NULL;
    const hearth_adapter *parts[] = {a, b};
    const float weights[] = {0.5f, -2.0f};
    for (size_t i = 0; i < a->n_values; i++)
        a->values[i] = (float)((int)(i * 37 % 11) - 5);
    for (size_t i = 0; i < b->n_values; i++)
        b->values[i] = (float)((int)(i * 29 % 13) - 6);
    assert_ok(hearth_adapter_combine(&c, parts, weights, 2, NULL, NULL));
    assert_int_equal(c->n_pairs, 6);
    for (size_t k = 0; k < c->n_pairs; k++)
        for (uint32_t o = 0; o < c->pair[k].out; o++)
            for (uint32_t i = 0; i < c->pair[k].in; i++) {
                const char *m = c->pair[k].module;
                double want =
                    0.5 * product(a, m, o, i) - 2.0 * product(b, m, o, i);
                assert_true(fabs(product(c, m, o, i) - want) < 1e-3);
            }
    hearth_adapter_free(c);
    const float bad[] = {1.0f, INFINITY};
    assert_int_equal(hearth_adapter_combine(&c, parts, bad, 2, NULL, NULL),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_adapter_combine(&c, parts, weights, 0, NULL, NULL),
                     HEARTH_EINVAL);
    b->pair[0].in++;
    assert_int_equal(hearth_adapter_combine(&c, parts, weights, 2, NULL, NULL),
                     HEARTH_EMISMATCH);
    b->pair[0].in--;
    hearth_adapter_free(a);
    hearth_adapter_free(b);
}

static void adapter_digest_is_the_hash_of_its_text(void **state) {
    (void)state;
    hearth_lora_spec spec = {1, 2.0f, HEARTH_TARGET_BIT(2), 0, false, true};
    hearth_adapter *a = make(spec);
    hearth_base_identity base = {{1}, {2}, {3}};
    hearth_payload_terms terms = {1 << 16, 1, 5000, 5009, 1, {3}};
    hearth_buf text = HEARTH_BUF_INIT(NULL);
    uint8_t seed[32] = {0}, want[32], got[32];
    assert_ok(hearth_adapter_init_a_from_seed(a, seed));

    assert_ok(hearth_adapter_space_text(a, &base, &text));
    assert_non_null(strstr(hearth_buf_str(&text), "hearth.space.v1\n"));
    assert_non_null(strstr(hearth_buf_str(&text),
                           "target model.layers.0.self_attn.v_proj 4 6\n"));
    assert_non_null(strstr(hearth_buf_str(&text), "a seed 00000000"));
    assert_ok(hearth_sha256(want, text.v, text.n));
    assert_ok(hearth_adapter_space_digest(a, &base, got));
    assert_memory_equal(want, got, 32);

    hearth_buf_clear(&text);
    assert_ok(hearth_adapter_shape_text(a, &text));
    assert_string_equal(
        hearth_buf_str(&text),
        "hearth.shape.v1\nrslora 0\n"
        "rank model.layers.0.self_attn.v_proj 1 alpha 40000000\n"
        "rank model.layers.1.self_attn.v_proj 1 alpha 40000000\n");
    assert_ok(hearth_sha256(want, text.v, text.n));
    assert_ok(hearth_adapter_shape_digest(a, got));
    assert_memory_equal(want, got, 32);

    hearth_buf_clear(&text);
    assert_ok(hearth_adapter_payload_text(a, HEARTH_PART_B, &terms, &text));
    assert_string_equal(
        hearth_buf_str(&text),
        "hearth.payload.v1\n"
        "tensor model.layers.0.self_attn.v_proj.lora_B 4 1 at 0\n"
        "tensor model.layers.1.self_attn.v_proj.lora_B 5 1 at 4\n"
        "coordinate 3 at 9\nscale 65536 / 1\nbound2 5000\ndelta2 5009\n");
    assert_ok(hearth_sha256(want, text.v, text.n));
    assert_ok(hearth_adapter_payload_digest(a, HEARTH_PART_B, &terms, got));
    assert_memory_equal(want, got, 32);
    hearth_buf_free(&text);
    hearth_adapter_free(a);
}

static void adapter_digest_changes_with_every_part(void **state) {
    (void)state;
    hearth_adapter *a = make(QV);
    hearth_base_identity base = {{1}, {2}, {3}};
    uint8_t first[32], other[32], seed[32] = {5};
    assert_ok(hearth_adapter_space_digest(a, &base, first));
    for (int i = 0; i < 3; i++) {
        hearth_base_identity changed = base;
        *(i == 0   ? changed.checkpoint
          : i == 1 ? changed.tokenizer
                   : changed.chat_template) ^= 1;
        assert_ok(hearth_adapter_space_digest(a, &changed, other));
        assert_memory_not_equal(first, other, 32);
    }
    assert_ok(hearth_adapter_init_a_from_seed(a, seed));
    assert_ok(hearth_adapter_space_digest(a, &base, other));
    assert_memory_equal(first, other, 32); /* A trains: its start is no part */
    a->freeze_a = true;
    assert_ok(hearth_adapter_space_digest(a, &base, other));
    assert_memory_not_equal(first, other, 32);
    hearth_adapter_free(a);
}

static void adapter_digest_refuses_bad_terms(void **state) {
    (void)state;
    hearth_adapter *a = make(QV);
    hearth_payload_terms t = {1, 1, 1, 1, 0, {0}};
    uint8_t out[32], zero[32] = {0};
    assert_ok(hearth_adapter_payload_digest(a, HEARTH_PART_B, &t, out));
    assert_int_equal(hearth_adapter_payload_digest(a, (hearth_part)0, &t, out),
                     HEARTH_EINVAL);
    t.scale_den = 0;
    assert_int_equal(hearth_adapter_payload_digest(a, HEARTH_PART_B, &t, out),
                     HEARTH_EINVAL);
    t.scale_den = 1;
    t.n_coords = HEARTH_PAYLOAD_MAX_COORDS + 1;
    assert_int_equal(hearth_adapter_payload_digest(a, HEARTH_PART_B, &t, out),
                     HEARTH_EINVAL);
    assert_memory_equal(out, zero, 32);
    assert_int_equal(hearth_adapter_space_digest(a, NULL, out), HEARTH_EINVAL);
    assert_int_equal(hearth_adapter_shape_digest(NULL, out), HEARTH_EINVAL);
    hearth_adapter_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adapter_new_sorts_into_canonical_order),
        cmocka_unit_test(adapter_new_keeps_the_last_layers),
        cmocka_unit_test(adapter_new_refuses_bad_specs),
        cmocka_unit_test(adapter_new_refuses_too_many_values),
        cmocka_unit_test(adapter_new_survives_refused_memory),
        cmocka_unit_test(adapter_a_from_seed_matches_the_vector),
        cmocka_unit_test(adapter_a_stays_in_its_range),
        cmocka_unit_test(adapter_flatten_follows_the_order),
        cmocka_unit_test(adapter_scale_knows_rslora),
        cmocka_unit_test(adapter_same_shape_names_the_difference),
        cmocka_unit_test(adapter_check_finite_finds_nan),
        cmocka_unit_test(adapter_combine_adds_the_products),
        cmocka_unit_test(adapter_digest_is_the_hash_of_its_text),
        cmocka_unit_test(adapter_digest_changes_with_every_part),
        cmocka_unit_test(adapter_digest_refuses_bad_terms),
    };
    return cmocka_run_group_tests_name("common/adapter", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/golden/test_gradients_f64.c - the float64 twin's gradients against
 * finite differences of its own loss. */
#include <math.h>

#include "tests/support/model_fixture.h"

#define STEP 1e-5
/* Central differences err by about STEP^2 and rounding / STEP; seen: below
 * 3e-8 of a tensor's largest gradient. */
#define LIMIT  1e-6
#define PROBES 2

static const uint32_t lengths[] = {9, 1, 17};

static double loss_at(tiny_engine *e, const hearth_stream *s,
                      const hearth_dropout *dropout) {
    hearth_loss l;
    /* Only the gradient call knows dropout. */
    if (dropout)
        assert_ok(hearth_decoder_grad(e->dec, s, dropout, &l, NULL));
    else
        assert_ok(hearth_decoder_loss(e->dec, s, &l, NULL, NULL));
    return l.loss_sum;
}

static double largest(const hearth_param *p) {
    double m = 0;
    for (size_t i = 0; i < p->n; i++) m = fmax(m, fabs(p->grad[i]));
    return m;
}

/* Norm weights and biases of a new model are all alike: make them differ. */
static void disturb_vectors(const hearth_params *ps) {
    hearth_philox_key k = hearth_philox_key_make(6, HEARTH_PHILOX_STATS);
    for (size_t i = 0; i < ps->n_params; i++)
        for (size_t e = 0; !ps->param[i].decay && e < ps->param[i].n; e++)
            ps->param[i].value[e] += 0.3 * hearth_philox_normal(k, i, e);
}

/* Probe some elements of every parameter. */
static void check(const hearth_model *m, hearth_adapter *a, bool recompute,
                  const hearth_dropout *dropout) {
    tiny_stream t;
    tiny_engine e;
    hearth_philox_key k = hearth_philox_key_make(5, HEARTH_PHILOX_STATS);
    const hearth_model_config *c = hearth_model_get_config(m);
    tiny_stream_make(&t, lengths, 3, c->vocab_size, 3);
    tiny_engine_open(&e,
                     (hearth_decoder_shape){
                         .model = m,
                         .adapter = a,
                         .mode = a ? HEARTH_DECODER_LORA : HEARTH_DECODER_FULL,
                         .recompute = recompute ? SIZE_MAX : 0,
                         .dropout = dropout != NULL},
                     NULL, hearth_kernels_reference());
    const hearth_params *ps = hearth_decoder_params(e.dec);
    disturb_vectors(ps);
    double *want = calloc(ps->n_elements, sizeof(*want));
    assert_non_null(want);
    hearth_decoder_zero_grad(e.dec);
    hearth_loss l;
    assert_ok(hearth_decoder_grad(e.dec, &t.stream, dropout, &l, NULL));
    memcpy(want, ps->param[0].grad, ps->n_elements * sizeof(*want));
    const double *grad = want;
    for (size_t i = 0; i < ps->n_params; grad += ps->param[i].n, i++) {
        hearth_param *p = &ps->param[i];
        memcpy(p->grad, grad, p->n * sizeof(*grad));
        double scale = largest(p);
        assert_true(scale > 0);
        for (size_t probe = 0; probe < PROBES; probe++) {
            size_t at = (size_t)hearth_philox_below(k, i, probe, p->n);
            double keep = p->value[at];
            p->value[at] = keep + STEP;
            double up = loss_at(&e, &t.stream, dropout);
            p->value[at] = keep - STEP;
            double down = loss_at(&e, &t.stream, dropout);
            p->value[at] = keep;
            double got = grad[at], numeric = (up - down) / (2 * STEP);
            if (!(fabs(got - numeric) <= LIMIT * scale))
                fail_msg("%s[%zu]: gradient %.12g, difference %.12g", p->name,
                         at, got, numeric);
        }
    }
    free(want);
    tiny_engine_close(&e);
}

static void full_mode(void **state) {
    (void)state;
    for (int tied = 0; tied < 2; tied++) {
        char dir[64];
        tiny_spec s = TINY_SPEC;
        s.tied = tied;
        hearth_model *m = tiny_model(&s, 1, dir);
        check(m, NULL, false, NULL);
        check(m, NULL, true, NULL);
        tiny_drop(m, dir);
    }
}

static void lora_on(uint32_t targets, uint32_t last_layers, bool rslora,
                    bool freeze_a, const hearth_dropout *dropout) {
    char dir[64];
    tiny_spec s = TINY_SPEC;
    hearth_lora_spec spec = {3, 5.0f, targets, last_layers, rslora, freeze_a};
    hearth_model *m = tiny_model(&s, 2, dir);
    hearth_adapter *a = tiny_adapter(m, &spec, 4);
    check(m, a, rslora, dropout);
    hearth_adapter_free(a);
    tiny_drop(m, dir);
}

/* More rows in the head than one block of logits takes. */
static void large_vocabulary(void **state) {
    char dir[64];
    tiny_spec s = {1100, 12, 16, 1, 2, 1, 6, true, 0.5};
    hearth_lora_spec spec = {1, 2.0f, HEARTH_TARGETS_QV, 0, false, false};
    (void)state;
    hearth_model *m = tiny_model(&s, 6, dir);
    hearth_adapter *a = tiny_adapter(m, &spec, 4);
    check(m, NULL, false, NULL);
    check(m, a, false, NULL);
    hearth_adapter_free(a);
    tiny_drop(m, dir);
}

static void lora_on_each_target_alone(void **state) {
    (void)state;
    for (uint32_t t = 0; t <= HEARTH_TARGET_DOWN; t++)
        lora_on(HEARTH_TARGET_BIT(t), 2, false, false, NULL);
}

static void lora_on_all_targets(void **state) {
    (void)state;
    lora_on(HEARTH_TARGETS_LINEAR, 0, false, false, NULL);
    lora_on(HEARTH_TARGETS_LINEAR, 1, true, true, NULL);
}

static void every_family(void **state) {
    (void)state;
    for (size_t i = 0; i < TINY_FAMILIES; i++) {
        char dir[64];
        hearth_model *m = tiny_model_of(tiny_family[i].config, 9, dir);
        hearth_lora_spec spec = {2, 5.0f,  hearth_model_targets(m),
                                 0, false, false};
        hearth_adapter *a = tiny_adapter(m, &spec, 4);
        hearth_dropout d = {0.4f, 11, 3, 100};
        check(m, NULL, false, NULL);
        check(m, NULL, true, NULL);
        check(m, a, false, NULL);
        check(m, a, true, &d);
        hearth_adapter_free(a);
        tiny_drop(m, dir);
    }
}

/* Layers that take one input with adapters of several ranks, some with none. */
static void lora_of_unequal_ranks(void **state) {
    char dir[64];
    tiny_spec s = TINY_SPEC;
    hearth_lora_spec spec = {3, 5.0f, HEARTH_TARGETS_LINEAR, 0, false, false};
    hearth_dropout d = {0.4f, 11, 3, 100};
    (void)state;
    hearth_model *m = tiny_model(&s, 2, dir);
    hearth_adapter *a = tiny_adapter(m, &spec, 4);
    size_t n = 0;
    for (size_t i = 0; i < a->n_pairs; i++) {
        hearth_adapter_pair p = a->pair[i];
        if (p.layer == 0 && p.target == HEARTH_TARGET_K) continue;
        if (p.layer == 1 && p.target == HEARTH_TARGET_Q) continue;
        p.rank = 1 + (p.layer + p.target) % 3;
        a->pair[n++] = p;
    }
    assert_true(n < a->n_pairs);
    a->n_pairs = n;
    check(m, a, false, NULL);
    check(m, a, false, &d);
    hearth_adapter_free(a);
    tiny_drop(m, dir);
}

static void lora_with_dropout(void **state) {
    hearth_dropout d = {0.4f, 11, 3, 100};
    (void)state;
    lora_on(HEARTH_TARGETS_LINEAR, 0, false, false, &d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_mode),
        cmocka_unit_test(large_vocabulary),
        cmocka_unit_test(lora_on_each_target_alone),
        cmocka_unit_test(lora_on_all_targets),
        cmocka_unit_test(lora_of_unequal_ranks),
        cmocka_unit_test(lora_with_dropout),
        cmocka_unit_test(every_family),
    };
    return cmocka_run_group_tests_name("golden/gradients_f64", tests, NULL,
                                       NULL);
}

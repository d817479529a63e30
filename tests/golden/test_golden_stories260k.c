/* SPDX-License-Identifier: Apache-2.0 */
/* tests/golden/test_golden_stories260k.c - a real model against float64
 * goldens: logits, loss, every gradient, LoRA logits and gradients.
 *
 * Built twice: on float (limits 1e-4, normwise per tensor) and, with
 * HEARTH_FLOAT64, on double (1e-9).  The golden tensors are stored as F32, so
 * the double build rounds its results to float before comparing: what is left
 * is the difference of the computations.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "client/train/decoder.h"
#include "common/file.h"
#include "common/json.h"
#include "common/safetensors.h"
#include "tests/golden/legacy_normal.h"

#ifdef HEARTH_FLOAT64
#define LIMIT 1e-9
#else
#define LIMIT 1e-4
#endif

#define MAX_TOKENS 64

typedef struct {
    hearth_model *model;
    hearth_safetensors *golden;
    hearth_json *json;
    int32_t token[MAX_TOKENS], label[MAX_TOKENS];
    uint32_t position[MAX_TOKENS], doc_start[2];
    hearth_stream stream;
    double loss, loss_lora;
} fixture;

static fixture fx;

static const char *data_path(char *out, size_t cap, const char *name) {
    const char *dir = getenv("HEARTH_TEST_DATA");
    (void)snprintf(out, cap, "%s/models/stories260K/%s", dir ? dir : "", name);
    return out;
}

static void read_golden_json(void) {
    char path[1024];
    hearth_error err = {HEARTH_OK, ""};
    assert_int_equal(
        hearth_json_load(&fx.json,
                         data_path(path, sizeof(path), "golden/golden.json"),
                         1 << 20, NULL, &err),
        HEARTH_OK);
    const hearth_json_value *root = hearth_json_root(fx.json);
    const hearth_json_value *v =
        hearth_json_first(hearth_json_get(root, "input_ids"));
    size_t n = 0;
    for (; v; v = hearth_json_next(v), n++) {
        int64_t id = 0;
        assert_true(n < MAX_TOKENS);
        assert_int_equal(hearth_json_i64(v, &id), HEARTH_OK);
        fx.token[n] = (int32_t)id;
        fx.position[n] = (uint32_t)n;
    }
    for (size_t i = 0; i < n; i++)
        fx.label[i] = i + 1 < n ? fx.token[i + 1] : -1;
    fx.doc_start[1] = (uint32_t)n;
    fx.stream =
        (hearth_stream){n, 1, fx.token, fx.doc_start, fx.position, fx.label};
    assert_int_equal(hearth_json_f64(hearth_json_get(root, "loss"), &fx.loss),
                     HEARTH_OK);
    assert_int_equal(
        hearth_json_f64(hearth_json_get(root, "loss_lora"), &fx.loss_lora),
        HEARTH_OK);
}

static int set_up(void **state) {
    char path[1024];
    hearth_error err = {HEARTH_OK, ""};
    (void)state;
    if (!hearth_file_exists(data_path(path, sizeof(path), "config.json"))) {
        print_message("SKIPPED: %s is not there; set HEARTH_TEST_DATA\n", path);
        return 0;
    }
    if (hearth_model_open(&fx.model, data_path(path, sizeof(path), "."), NULL,
                          &err) != HEARTH_OK) {
        print_message("%s\n", err.text);
        return -1;
    }
    if (hearth_safetensors_open(
            &fx.golden,
            data_path(path, sizeof(path), "golden/golden.safetensors"), NULL,
            &err) != HEARTH_OK) {
        print_message("%s\n", err.text);
        return -1;
    }
    read_golden_json();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    hearth_model_close(fx.model);
    hearth_safetensors_close(fx.golden);
    hearth_json_free(fx.json);
    return 0;
}

/* The golden tensor as floats, to be freed. */
static float *golden(const char *name, size_t n) {
    const hearth_tensor *t = hearth_safetensors_find(fx.golden, name);
    if (!t) fail_msg("no golden tensor %s", name);
    assert_int_equal(t->n_elements, n);
    float *v = malloc(n * sizeof(*v));
    assert_non_null(v);
    assert_int_equal(hearth_tensor_read_f32(t, 0, n, v), HEARTH_OK);
    return v;
}

/* ||got * scale - want|| / ||want||, got rounded to float as want was. */
static double distance(const hearth_real *got, double scale, const float *want,
                       size_t n) {
    double diff = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        double g = (double)(float)((double)got[i] * scale), w = (double)want[i];
        diff += (g - w) * (g - w);
        norm += w * w;
    }
    return norm > 0 ? sqrt(diff / norm) : sqrt(diff);
}

/* Compare with the golden called prefix + name; returns the distance. */
static double compare(const char *prefix, const char *name,
                      const hearth_real *got, double scale, size_t n) {
    char key[256];
    (void)snprintf(key, sizeof(key), "%s%s", prefix, name);
    float *want = golden(key, n);
    double d = distance(got, scale, want, n);
    free(want);
    if (!(d <= LIMIT)) fail_msg("%s: distance %.3g above %.1g", key, d, LIMIT);
    return d;
}

/* A decoder in its own arena. */
typedef struct {
    hearth_arena arena;
    hearth_pool *pool;
    hearth_decoder *dec;
} engine;

static void engine_open(engine *e, hearth_decoder_shape s, size_t n_threads,
                        const hearth_kernels *k) {
    hearth_error err = {HEARTH_OK, ""};
    *e = (engine){0};
    s.model = fx.model;
    s.n_workers = n_threads;
    if (!s.max_tokens) s.max_tokens = MAX_TOKENS;
    assert_int_equal(hearth_pool_open(&e->pool, n_threads, NULL, &err),
                     HEARTH_OK);
    size_t bytes = hearth_decoder_bytes(&s);
    assert_true(bytes < SIZE_MAX);
    assert_int_equal(hearth_arena_init(&e->arena, NULL, bytes), HEARTH_OK);
    if (hearth_decoder_new(&e->dec, &s, e->pool, k, &e->arena, &err) !=
        HEARTH_OK)
        fail_msg("%s", err.text);
    assert_int_equal(e->arena.used, bytes); /* the plan is exact */
}

static void engine_close(engine *e) {
    hearth_pool_close(e->pool);
    hearth_arena_free(&e->arena);
}

static const hearth_kernels *kernel_set(size_t i) {
    if (i == 0) return hearth_kernels_reference();
    if (i == 1) return hearth_kernels_native();
    return i == 2 ? hearth_kernels_blas() : NULL;
}

static hearth_adapter *golden_adapter(void) {
    hearth_lora_spec spec = {4, 8.0f, HEARTH_TARGETS_QV, 0, false, false};
    hearth_adapter *a = NULL;
    size_t n;
    char key[256];
    const hearth_module_info *m = hearth_model_modules(fx.model, &n);
    assert_int_equal(hearth_adapter_new(&a, &spec, m, n, NULL, NULL),
                     HEARTH_OK);
    for (size_t i = 0; i < a->n_pairs; i++) {
        hearth_adapter_pair *p = &a->pair[i];
        size_t n_a = (size_t)p->rank * p->in, n_b = (size_t)p->rank * p->out;
        (void)snprintf(key, sizeof(key), "lora.%s.lora_A.weight", p->module);
        float *v = golden(key, n_a);
        memcpy(p->a, v, n_a * sizeof(*v));
        free(v);
        (void)snprintf(key, sizeof(key), "lora.%s.lora_B.weight", p->module);
        v = golden(key, n_b);
        memcpy(p->b, v, n_b * sizeof(*v));
        free(v);
    }
    return a;
}

/* The factors before they were rounded to F32: the twin's own copies take
 * them.  Canonical order is the order in which they were drawn. */
static void use_unrounded_factors(engine *e, const hearth_adapter *a) {
#ifdef HEARTH_FLOAT64
    legacy_normal g;
    const hearth_params *p = hearth_decoder_params(e->dec);
    legacy_normal_init(&g, 7);
    for (size_t i = 0; i < p->n_params; i++) {
        const hearth_adapter_pair *pair = &a->pair[i / 2];
        const float *stored = i % 2 ? pair->b : pair->a;
        for (size_t k = 0; k < p->param[i].n; k++) {
            double draw = (double)(float)legacy_normal_next(&g);
            double v = draw * (i % 2 ? 0.05 : 0.1);
            assert_true((float)v >= stored[k] && (float)v <= stored[k]);
            p->param[i].value[k] = v;
        }
    }
#else
    (void)e;
    (void)a;
    (void)legacy_normal_init;
    (void)legacy_normal_next;
#endif
}

static void check_logits(hearth_adapter *a, const char *name) {
    for (size_t set = 0; set < 3; set++) {
        const hearth_kernels *k = kernel_set(set);
        if (!k) continue;
        engine e;
        engine_open(&e,
                    (hearth_decoder_shape){.adapter = a,
                                           .mode = a ? HEARTH_DECODER_LORA
                                                     : HEARTH_DECODER_INFER},
                    1, k);
        if (a) use_unrounded_factors(&e, a);
        size_t n = fx.stream.n * 512;
        hearth_real *logits = malloc(n * sizeof(*logits));
        assert_non_null(logits);
        assert_int_equal(hearth_decoder_logits(e.dec, &fx.stream, logits, NULL),
                         HEARTH_OK);
        double d = compare("", name, logits, 1, n);
        print_message("%s, %s: distance %.2g\n", name, k->name, d);
        free(logits);
        engine_close(&e);
    }
}

/* Loss and every gradient, mean over tokens as in the golden file. */
static void check_gradients(hearth_adapter *a, const char *prefix, double loss,
                            bool recompute) {
    for (size_t set = 0; set < 3; set++) {
        const hearth_kernels *k = kernel_set(set);
        if (!k) continue;
        hearth_loss got;
        engine e;
        double worst = 0;
        engine_open(&e,
                    (hearth_decoder_shape){
                        .adapter = a,
                        .mode = a ? HEARTH_DECODER_LORA : HEARTH_DECODER_FULL,
                        .recompute = recompute ? SIZE_MAX : 0,
                        .mlp_rows = recompute ? 64 : 0},
                    1, k);
        if (a) use_unrounded_factors(&e, a);
        hearth_decoder_zero_grad(e.dec);
        assert_int_equal(
            hearth_decoder_grad(e.dec, &fx.stream, NULL, &got, NULL),
            HEARTH_OK);
        assert_int_equal(got.n_supervised, fx.stream.n - 1);
        double mean = got.loss_sum / (double)got.n_supervised;
        if (!(fabs(mean - loss) <= LIMIT * loss))
            fail_msg("loss %.12g, golden %.12g", mean, loss);
        const hearth_params *p = hearth_decoder_params(e.dec);
        assert_true(p->n_params > 0);
        for (size_t i = 0; i < p->n_params; i++) {
            double d = compare(prefix, p->param[i].name, p->param[i].grad,
                               1.0 / (double)got.n_supervised, p->param[i].n);
            worst = d > worst ? d : worst;
        }
        print_message("%s %s%s: %zu tensors, loss %.12f, worst %.2g\n", prefix,
                      k->name, recompute ? " recompute" : "", p->n_params, mean,
                      worst);
        engine_close(&e);
    }
}

/* Six documents: cuts of the golden text, one a single token. */
#define PACKED 260

typedef struct {
    int32_t token[PACKED], label[PACKED];
    uint32_t position[PACKED], doc_start[7];
    hearth_stream stream;
} packed;

static void make_packed(packed *p) {
    static const struct {
        size_t first, n;
    } cut[6] = {{0, 62}, {5, 40}, {0, 1}, {10, 52}, {0, 62}, {3, 33}};
    size_t at = 0;
    for (size_t d = 0; d < 6; d++) {
        p->doc_start[d] = (uint32_t)at;
        for (size_t i = 0; i < cut[d].n; i++, at++) {
            p->token[at] = fx.token[cut[d].first + i];
            p->position[at] = (uint32_t)i;
            p->label[at] =
                i + 1 < cut[d].n ? fx.token[cut[d].first + i + 1] : -1;
        }
    }
    p->doc_start[6] = (uint32_t)at;
    assert_true(at <= PACKED);
    p->stream =
        (hearth_stream){at, 6, p->token, p->doc_start, p->position, p->label};
}

/* Document d alone, with its own doc_start. */
static hearth_stream one_document(const packed *p, size_t d, uint32_t *start) {
    size_t first = p->doc_start[d];
    start[0] = 0;
    start[1] = p->doc_start[d + 1] - p->doc_start[d];
    return (hearth_stream){
        start[1],        1, p->token + first, start, p->position + first,
        p->label + first};
}

/* Gradients of the packed stream, to be freed; *loss is its loss sum. */
static hearth_real *packed_gradient(const packed *p, hearth_adapter *a,
                                    size_t n_threads, const hearth_kernels *k,
                                    bool one_by_one, double *loss, size_t *n) {
    engine e;
    hearth_loss got;
    uint32_t start[2];
    engine_open(&e,
                (hearth_decoder_shape){.adapter = a,
                                       .mode = a ? HEARTH_DECODER_LORA
                                                 : HEARTH_DECODER_FULL,
                                       .max_tokens = PACKED},
                n_threads, k);
    hearth_decoder_zero_grad(e.dec);
    *loss = 0;
    for (size_t d = 0; d < (one_by_one ? 6u : 1u); d++) {
        hearth_stream s = one_by_one ? one_document(p, d, start) : p->stream;
        assert_int_equal(hearth_decoder_grad(e.dec, &s, NULL, &got, NULL),
                         HEARTH_OK);
        *loss += got.loss_sum;
    }
    const hearth_params *params = hearth_decoder_params(e.dec);
    hearth_real *copy = malloc(params->n_elements * sizeof(*copy));
    assert_non_null(copy);
    *n = 0;
    for (size_t i = 0; i < params->n_params; i++) {
        memcpy(copy + *n, params->param[i].grad,
               params->param[i].n * sizeof(*copy));
        *n += params->param[i].n;
    }
    engine_close(&e);
    return copy;
}

static void check_threads(hearth_adapter *a) {
    static const size_t threads[] = {1, 2, 3, 7};
    packed p;
    make_packed(&p);
    for (size_t set = 0; set < 3; set++) {
        hearth_real *first = NULL;
        double loss0 = 0, loss;
        size_t n;
        if (!kernel_set(set)) continue;
        for (size_t i = 0; i < 4; i++) {
            hearth_real *g = packed_gradient(&p, a, threads[i], kernel_set(set),
                                             false, &loss, &n);
            if (i == 0) {
                first = g;
                loss0 = loss;
                continue;
            }
            assert_memory_equal(&loss, &loss0, sizeof(loss));
            if (memcmp(g, first, n * sizeof(*g)) != 0)
                fail_msg("%zu threads give other bytes", threads[i]);
            free(g);
        }
        free(first);
    }
}

static void check_packing(hearth_adapter *a) {
    packed p;
    make_packed(&p);
    for (size_t set = 0; set < 3; set++) {
        double loss, alone, diff = 0, norm = 0;
        size_t n, m;
        if (!kernel_set(set)) continue;
        hearth_real *g =
            packed_gradient(&p, a, 2, kernel_set(set), false, &loss, &n);
        hearth_real *h =
            packed_gradient(&p, a, 2, kernel_set(set), true, &alone, &m);
        assert_int_equal(n, m);
        for (size_t i = 0; i < n; i++) {
            double d = (double)g[i] - (double)h[i];
            diff += d * d;
            norm += (double)h[i] * (double)h[i];
        }
        print_message("packed against alone: loss %.2g, gradient %.2g\n",
                      fabs(loss - alone) / alone, sqrt(diff / norm));
        assert_true(fabs(loss - alone) <= 1e-5 * alone);
        assert_true(sqrt(diff) <= 1e-5 * sqrt(norm));
        free(g);
        free(h);
    }
}

#define NEED_DATA                                                              \
    if (!fx.model) skip()

static void logits_match(void **state) {
    (void)state;
    NEED_DATA;
    check_logits(NULL, "logits");
}

static void full_gradients_match(void **state) {
    (void)state;
    NEED_DATA;
    check_gradients(NULL, "grad.", fx.loss, false);
    check_gradients(NULL, "grad.", fx.loss, true);
}

static void lora_logits_match(void **state) {
    (void)state;
    NEED_DATA;
    hearth_adapter *a = golden_adapter();
    check_logits(a, "logits_lora");
    hearth_adapter_free(a);
}

static void lora_gradients_match(void **state) {
    (void)state;
    NEED_DATA;
    hearth_adapter *a = golden_adapter();
    check_gradients(a, "loragrad.", fx.loss_lora, false);
    check_gradients(a, "loragrad.", fx.loss_lora, true);
    hearth_adapter_free(a);
}

static void threads_give_the_same_bytes(void **state) {
    (void)state;
    NEED_DATA;
    hearth_adapter *a = golden_adapter();
    check_threads(NULL);
    check_threads(a);
    hearth_adapter_free(a);
}

static void packing_changes_nothing(void **state) {
    (void)state;
    NEED_DATA;
    hearth_adapter *a = golden_adapter();
    check_packing(NULL);
    check_packing(a);
    hearth_adapter_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_match),
        cmocka_unit_test(full_gradients_match),
        cmocka_unit_test(lora_logits_match),
        cmocka_unit_test(lora_gradients_match),
        cmocka_unit_test(threads_give_the_same_bytes),
        cmocka_unit_test(packing_changes_nothing),
    };
    return cmocka_run_group_tests_name("golden/stories260k", tests, set_up,
                                       tear_down);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_decoder.c - client/train/decoder.h */
#include <math.h>

#include "tests/support/model_fixture.h"

#include "common/safetensors.h"

static const uint32_t lengths[] = {20, 1, 33, 12, 30};
#define N_DOCS 5

static hearth_model *model;
static char dir[64];
static tiny_stream ts;

static int set_up(void **state) {
    tiny_spec s = TINY_SPEC;
    (void)state;
    model = tiny_model(&s, 1, dir);
    tiny_stream_make(&ts, lengths, N_DOCS, s.vocab, 2);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    tiny_drop(model, dir);
    return 0;
}

static hearth_adapter *adapter(uint32_t targets, uint32_t last, bool freeze_a) {
    hearth_lora_spec spec = {2, 4.0f, targets, last, false, freeze_a};
    return tiny_adapter(model, &spec, 9);
}

static hearth_decoder_shape shape(hearth_adapter *a) {
    return (hearth_decoder_shape){.model = model,
                                  .adapter = a,
                                  .mode = a ? HEARTH_DECODER_LORA
                                            : HEARTH_DECODER_FULL};
}

/* Gradients of one call, to be freed. */
static float *gradient(hearth_decoder_shape s, hearth_pool *pool,
                       const hearth_kernels *k, const hearth_stream *stream,
                       const hearth_dropout *drop, hearth_loss *l, size_t *n) {
    tiny_engine e;
    s.dropout = drop != NULL;
    tiny_engine_open(&e, s, pool, k);
    hearth_decoder_zero_grad(e.dec);
    assert_ok(hearth_decoder_grad(e.dec, stream, drop, l, NULL));
    const hearth_params *p = hearth_decoder_params(e.dec);
    *n = p->n_elements;
    float *g = malloc(*n * sizeof(*g));
    assert_non_null(g);
    memcpy(g, p->param[0].grad, *n * sizeof(*g)); /* one block, in order */
    tiny_engine_close(&e);
    return g;
}

static double distance(const float *a, const float *b, size_t n) {
    double diff = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)a[i] - (double)b[i];
        diff += d * d;
        norm += (double)b[i] * (double)b[i];
    }
    return sqrt(diff / norm);
}

static void params_are_canonical_and_point_into_the_adapter(void **state) {
    tiny_engine e;
    (void)state;
    hearth_adapter *a = adapter(HEARTH_TARGETS_QV, 1, false);
    tiny_engine_open(&e, shape(a), NULL, hearth_kernels_default());
    const hearth_params *p = hearth_decoder_params(e.dec);
    assert_int_equal(p->n_params, 4);
    assert_string_equal(p->param[0].name,
                        "model.layers.2.self_attn.q_proj.lora_A.weight");
    assert_string_equal(p->param[3].name,
                        "model.layers.2.self_attn.v_proj.lora_B.weight");
    assert_ptr_equal(p->param[1].value, a->pair[0].b);
    assert_int_equal(p->n_elements, hearth_adapter_dim(a, HEARTH_PART_AB));
    tiny_engine_close(&e);
    hearth_adapter_free(a);

    a = adapter(HEARTH_TARGETS_QV, 0, true);
    tiny_engine_open(&e, shape(a), NULL, hearth_kernels_default());
    p = hearth_decoder_params(e.dec);
    assert_int_equal(p->n_params, 6);
    for (size_t i = 0; i < 6; i++)
        assert_non_null(strstr(p->param[i].name, "lora_B"));
    tiny_engine_close(&e);
    hearth_adapter_free(a);

    tiny_engine_open(&e, shape(NULL), NULL, hearth_kernels_default());
    p = hearth_decoder_params(e.dec);
    assert_int_equal(p->n_elements, hearth_model_config_parameters(
                                        hearth_model_get_config(model)));
    assert_false(p->param[1].decay); /* a norm */
    assert_true(p->param[2].decay);
    tiny_engine_close(&e);
}

static void frozen_a_changes_no_gradient_of_b(void **state) {
    hearth_loss l;
    size_t n, m, at = 0, bt = 0;
    (void)state;
    hearth_adapter *a = adapter(HEARTH_TARGETS_LINEAR, 0, false);
    const hearth_kernels *k = hearth_kernels_default();
    float *both = gradient(shape(a), NULL, k, &ts.stream, NULL, &l, &n);
    a->freeze_a = true;
    float *only = gradient(shape(a), NULL, k, &ts.stream, NULL, &l, &m);
    for (size_t i = 0; i < a->n_pairs; i++) {
        at += (size_t)a->pair[i].rank * a->pair[i].in;
        size_t n_b = (size_t)a->pair[i].rank * a->pair[i].out;
        assert_memory_equal(both + at, only + bt, n_b * sizeof(float));
        at += n_b;
        bt += n_b;
    }
    assert_int_equal(at, n);
    assert_int_equal(bt, m);
    free(both);
    free(only);
    hearth_adapter_free(a);
}

static void gradient_is_the_same_for_threads_and_recompute(void **state) {
    (void)state;
    for (int full = 0; full < 2; full++) {
        hearth_adapter *a =
            full ? NULL : adapter(HEARTH_TARGETS_LINEAR, 2, false);
        hearth_dropout drop = {0.25f, 3, 1, 40};
        float *first = NULL;
        for (size_t i = 0; i < 8; i++) {
            hearth_pool *pool = NULL;
            hearth_loss l;
            size_t n;
            hearth_decoder_shape s = shape(a);
            s.recompute = i >= 4 ? SIZE_MAX : 0;
            assert_ok(hearth_pool_open(&pool, 1 + 2 * (i % 4), NULL, NULL));
            float *g = gradient(s, pool, hearth_kernels_default(), &ts.stream,
                                &drop, &l, &n);
            if (!first)
                first = g;
            else {
                assert_memory_equal(g, first, n * sizeof(*g));
                free(g);
            }
            hearth_pool_close(pool);
        }
        free(first);
        hearth_adapter_free(a);
    }
}

static void dropout_does_not_depend_on_packing(void **state) {
    hearth_dropout drop = {0.5f, 7, 2, 10};
    hearth_loss l;
    size_t n;
    double sum = 0;
    (void)state;
    hearth_adapter *a = adapter(HEARTH_TARGETS_LINEAR, 0, false);
    const hearth_kernels *k = hearth_kernels_default();
    float *packed = gradient(shape(a), NULL, k, &ts.stream, &drop, &l, &n);
    float *added = calloc(n, sizeof(*added));
    assert_non_null(added);
    for (uint32_t d = 0; d < N_DOCS; d++) {
        hearth_loss one;
        uint32_t at = ts.doc_start[d], start[2] = {0, ts.doc_start[d + 1] - at};
        hearth_stream s = {
            start[1], 1, ts.token + at, start, ts.position + at, ts.label + at};
        drop.record_base = 10 + d;
        float *g = gradient(shape(a), NULL, k, &s, &drop, &one, &n);
        for (size_t i = 0; i < n; i++) added[i] += g[i];
        sum += one.loss_sum;
        free(g);
    }
    assert_true(fabs(sum - l.loss_sum) <= 1e-5 * sum);
    assert_true(distance(added, packed, n) <= 1e-5);
    /* other seeds, steps and records draw other masks */
    const hearth_dropout other[] = {
        {0.5f, 8, 2, 10}, {0.5f, 7, 3, 10}, {0.5f, 7, 2, 11}};
    for (size_t i = 0; i < 3; i++) {
        float *g = gradient(shape(a), NULL, k, &ts.stream, &other[i], &l, &n);
        assert_true(distance(g, packed, n) > 1e-2);
        free(g);
    }
    free(packed);
    free(added);
    hearth_adapter_free(a);
}

static void reference_and_default_kernels_agree(void **state) {
    (void)state;
    for (int full = 0; full < 2; full++) {
        hearth_loss l, m;
        size_t n;
        hearth_adapter *a = full ? NULL : adapter(HEARTH_TARGETS_LINEAR, 0, 0);
        float *g = gradient(shape(a), NULL, hearth_kernels_default(),
                            &ts.stream, NULL, &l, &n);
        float *h = gradient(shape(a), NULL, hearth_kernels_reference(),
                            &ts.stream, NULL, &m, &n);
        assert_true(distance(g, h, n) <= 1e-5); /* seen: 1e-6 */
        assert_true(fabs(l.loss_sum - m.loss_sum) <= 1e-5 * m.loss_sum);
        free(g);
        free(h);
        hearth_adapter_free(a);
    }
}

static void loss_counts_what_is_supervised(void **state) {
    tiny_engine e;
    hearth_loss l, g;
    double doc[N_DOCS], sum = 0;
    uint64_t labels = 0, hits = 0;
    static float logits[TINY_TOKENS * 67];
    (void)state;
    hearth_adapter *a = adapter(HEARTH_TARGETS_QV, 0, false);
    tiny_engine_open(&e, shape(a), NULL, hearth_kernels_default());
    assert_ok(hearth_decoder_loss(e.dec, &ts.stream, &l, doc, NULL));
    assert_ok(hearth_decoder_grad(e.dec, &ts.stream, NULL, &g, NULL));
    assert_memory_equal(&l, &g, sizeof(l));
    assert_ok(hearth_decoder_logits(e.dec, &ts.stream, logits, NULL));
    double want = 0;
    for (size_t i = 0; i < ts.stream.n; i++) {
        const float *row = logits + i * 67;
        double z = 0;
        size_t best = 0;
        if (ts.label[i] < 0) continue;
        for (size_t v = 0; v < 67; v++) {
            z += exp((double)row[v]);
            if (row[v] > row[best]) best = v;
        }
        labels++;
        hits += best == (size_t)ts.label[i];
        want += log(z) - (double)row[ts.label[i]];
    }
    for (size_t d = 0; d < N_DOCS; d++) sum += doc[d];
    assert_int_equal(l.n_supervised, labels);
    assert_int_equal(l.n_correct, hits);
    assert_true(fabs(l.loss_sum - want) <= 1e-5 * want);
    assert_true(fabs(sum - l.loss_sum) <= 1e-12 * want);
    assert_true(fabs(doc[1]) <= 0); /* one token predicts nothing */
    tiny_engine_close(&e);
    hearth_adapter_free(a);
}

static void a_stream_without_labels_costs_nothing(void **state) {
    tiny_engine e;
    hearth_loss l;
    tiny_stream t = ts;
    (void)state;
    for (size_t i = 0; i < TINY_TOKENS; i++) t.label[i] = -1;
    t.stream.label = t.label;
    tiny_engine_open(&e, shape(NULL), NULL, hearth_kernels_default());
    assert_ok(hearth_decoder_grad(e.dec, &t.stream, NULL, &l, NULL));
    assert_true(l.n_supervised == 0 && fabs(l.loss_sum) <= 0);
    const hearth_params *p = hearth_decoder_params(e.dec);
    for (size_t i = 0; i < p->n_elements; i++)
        assert_true(fabs((double)p->param[0].grad[i]) <= 0);
    tiny_engine_close(&e);
}

/* The model again, every weight cut to its upper 16 bits, stored as dtype. */
static hearth_model *cut_model(hearth_dtype dtype, char out[64]) {
    char path[128], config[128];
    hearth_safetensors_writer *w = NULL;
    hearth_model *m = NULL;
    const hearth_model_config *c = hearth_model_get_config(model);
    hearth_buf text = HEARTH_BUF_INIT(NULL);
    assert_non_null(hearth_test_dir(out));
    (void)snprintf(path, sizeof(path), "%s/model.safetensors", out);
    (void)snprintf(config, sizeof(config), "%s/config.json", out);
    assert_ok(hearth_model_config_write(c, &text));
    assert_ok(hearth_file_write(config, text.v, text.n, 0644, NULL));
    hearth_buf_free(&text);
    assert_ok(hearth_safetensors_writer_new(&w, path, NULL, NULL));
    for (size_t pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < hearth_model_n_tensors(c); i++) {
            static float v[67 * 40];
            hearth_model_tensor t;
            hearth_model_tensor_at(c, i, &t);
            size_t n = (size_t)t.rows * t.cols;
            uint64_t dim[2] = {t.rows, t.cols};
            hearth_weight_copy(hearth_model_weight(model, t.role, t.layer), v);
            if (pass == 0)
                assert_ok(hearth_safetensors_writer_declare(
                    w, t.name, dtype, t.cols == 1 ? 1 : 2, dim, NULL));
            for (size_t k = 0; pass == 1 && k < n; k++) {
                uint32_t bits;
                uint8_t b[4];
                memcpy(&bits, &v[k], 4);
                bits &= 0xffff0000u;
                b[0] = b[1] = 0;
                b[2] = (uint8_t)(bits >> 16);
                b[3] = (uint8_t)(bits >> 24);
                size_t skip_n = dtype == HEARTH_DTYPE_BF16 ? 2 : 0;
                assert_ok(hearth_safetensors_writer_write(w, b + skip_n,
                                                          4 - skip_n, NULL));
            }
        }
    assert_ok(hearth_safetensors_writer_finish(w, NULL));
    hearth_safetensors_writer_free(w);
    assert_ok(hearth_model_open(&m, out, NULL, NULL));
    return m;
}

static void sixteen_bit_weights_give_what_their_values_give(void **state) {
    float *g[2];
    hearth_loss l[2];
    size_t n;
    (void)state;
    for (int i = 0; i < 2; i++) {
        char folder[64];
        hearth_model *m =
            cut_model(i ? HEARTH_DTYPE_BF16 : HEARTH_DTYPE_F32, folder);
        hearth_adapter *a = adapter(HEARTH_TARGETS_LINEAR, 0, false);
        hearth_decoder_shape s = shape(a);
        s.model = m;
        g[i] = gradient(s, NULL, hearth_kernels_default(), &ts.stream, NULL,
                        &l[i], &n);
        hearth_adapter_free(a);
        tiny_drop(m, folder);
    }
    assert_true(fabs(l[0].loss_sum - l[1].loss_sum) <= 1e-6 * l[0].loss_sum);
    assert_true(distance(g[0], g[1], n) <= 1e-6);
    free(g[0]);
    free(g[1]);
}

/* The cache gives what one pass over the whole context gives. */
static void extend_equals_logits(void **state) {
    tiny_engine e;
    static float logits[TINY_TOKENS * 67], last[67];
    (void)state;
    hearth_adapter *a = adapter(HEARTH_TARGETS_LINEAR, 0, false);
    hearth_decoder_shape s = shape(a);
    s.mode = HEARTH_DECODER_INFER;
    s.max_context = 40;
    tiny_engine_open(&e, s, NULL, hearth_kernels_default());
    uint32_t start[2] = {0, 33}, at = ts.doc_start[2];
    hearth_stream one = {33, 1, ts.token + at, start, ts.position + at, NULL};
    assert_ok(hearth_decoder_logits(e.dec, &one, logits, NULL));
    static const size_t step[] = {5, 1, 1, 20, 6};
    size_t n = 0;
    for (size_t i = 0; i < 5; i++) {
        assert_ok(
            hearth_decoder_extend(e.dec, one.token + n, step[i], last, NULL));
        n += step[i];
        assert_int_equal(hearth_decoder_context(e.dec), n);
        assert_true(distance(last, logits + (n - 1) * 67, 67) <= 1e-5);
    }
    hearth_decoder_rewind(e.dec, 10);
    assert_ok(hearth_decoder_extend(e.dec, one.token + 10, 1, last, NULL));
    assert_true(distance(last, logits + 10 * 67, 67) <= 1e-5);
    assert_int_equal(hearth_decoder_extend(e.dec, one.token, 30, last, NULL),
                     HEARTH_ETOOBIG);
    assert_int_equal(hearth_decoder_context(e.dec), 11);
    assert_int_equal(hearth_decoder_extend(e.dec, one.token, 0, last, NULL),
                     HEARTH_EINVAL);
    hearth_decoder_rewind(e.dec, 100);
    assert_int_equal(hearth_decoder_context(e.dec), 11);
    hearth_loss l;
    assert_int_equal(hearth_decoder_grad(e.dec, &ts.stream, NULL, &l, NULL),
                     HEARTH_ESTATE);
    tiny_engine_close(&e);
    hearth_adapter_free(a);
}

static void streams_that_break_the_contract_are_refused(void **state) {
    tiny_engine e;
    hearth_loss l;
    float one[67];
    hearth_error err = {HEARTH_OK, ""};
    (void)state;
    tiny_engine_open(&e, shape(NULL), NULL, hearth_kernels_default());
    for (int i = 0; i < 9; i++) {
        tiny_stream t = ts;
        t.stream.token = t.token;
        t.stream.label = t.label;
        t.stream.position = t.position;
        t.stream.doc_start = t.doc_start;
        hearth_status want = HEARTH_EINVAL;
        if (i == 0) t.token[3] = 67;
        if (i == 1) t.token[3] = -1;
        if (i == 2) t.label[3] = 67;
        if (i == 3) t.label[3] = -2;
        if (i == 4) t.position[3] = 4;
        if (i == 5) t.doc_start[0] = 1;
        if (i == 6) { /* an empty document between two */
            memmove(t.doc_start + 2, t.doc_start + 1,
                    N_DOCS * sizeof(*t.doc_start));
            t.stream.n_docs++;
        }
        if (i == 7) t.stream.n = 0;
        if (i == 8) t.stream.n = TINY_TOKENS + 1, want = HEARTH_ETOOBIG;
        assert_int_equal(hearth_decoder_grad(e.dec, &t.stream, NULL, &l, &err),
                         want);
        assert_int_equal(err.status, want);
    }
    hearth_dropout drop = {0.5f, 1, 1, 1};
    assert_int_equal(hearth_decoder_grad(e.dec, &ts.stream, &drop, &l, NULL),
                     HEARTH_EINVAL); /* not planned */
    assert_int_equal(hearth_decoder_extend(e.dec, ts.token, 1, one, NULL),
                     HEARTH_ESTATE); /* no cache */
    tiny_engine_close(&e);
}

static void documents_longer_than_the_model_are_refused(void **state) {
    static int32_t token[130], label[130];
    static uint32_t position[130];
    uint32_t start[2] = {0, 129};
    tiny_engine e;
    hearth_loss l;
    (void)state;
    for (uint32_t i = 0; i < 130; i++) position[i] = i;
    hearth_decoder_shape s = shape(NULL);
    s.max_tokens = 130;
    tiny_engine_open(&e, s, NULL, hearth_kernels_default());
    hearth_stream t = {129, 1, token, start, position, label};
    assert_int_equal(hearth_decoder_loss(e.dec, &t, &l, NULL, NULL),
                     HEARTH_ETOOBIG);
    t.n = start[1] = 128;
    assert_ok(hearth_decoder_loss(e.dec, &t, &l, NULL, NULL));
    tiny_engine_close(&e);
}

static void numbers_that_are_not_finite_are_an_error(void **state) {
    tiny_engine e;
    hearth_loss l;
    (void)state;
    for (size_t set = 0; set < 2; set++) {
        hearth_adapter *a = adapter(HEARTH_TARGETS_QV, 1, false);
        a->pair[1].b[3] = NAN;
        tiny_engine_open(&e, shape(a), NULL,
                         set ? hearth_kernels_default()
                             : hearth_kernels_reference());
        assert_int_equal(hearth_decoder_grad(e.dec, &ts.stream, NULL, &l, NULL),
                         HEARTH_ENONFINITE);
        assert_int_equal(hearth_decoder_loss(e.dec, &ts.stream, &l, NULL, NULL),
                         HEARTH_ENONFINITE);
        tiny_engine_close(&e);
        hearth_adapter_free(a);
    }
}

static void plans_that_make_no_sense_are_refused(void **state) {
    hearth_decoder_sizes sizes;
    hearth_error err = {HEARTH_OK, ""};
    (void)state;
    hearth_adapter *a = adapter(HEARTH_TARGETS_QV, 0, false);
    hearth_decoder_shape good = shape(a), s;
    good.max_tokens = 8;
    good.n_workers = 1;
    assert_ok(hearth_decoder_plan(&good, &sizes, &err));
    assert_int_equal(sizes.total, hearth_decoder_bytes(&good));
    for (int i = 0; i < 10; i++) {
        hearth_status want = HEARTH_EINVAL;
        s = good;
        if (i == 0) s.model = NULL;
        if (i == 1) s.max_tokens = 0;
        if (i == 2) s.n_workers = 0;
        if (i == 3) s.n_workers = 1000;
        if (i == 4) s.mode = HEARTH_DECODER_FULL;
        if (i == 5) s.adapter = NULL;
        if (i == 6) s.max_context = 129, want = HEARTH_ETOOBIG;
        if (i == 7)
            s.max_tokens = HEARTH_DECODER_MAX_TOKENS + 1, want = HEARTH_ETOOBIG;
        if (i == 8) s.mlp_rows = 63;
        if (i == 9) s.head_rows = 48;
        assert_int_equal(hearth_decoder_plan(&s, &sizes, &err), want);
        assert_int_equal(sizes.total, 0);
        assert_true(hearth_decoder_bytes(&s) == SIZE_MAX);
    }
    for (int i = 0; i < 5; i++) {
        hearth_adapter_pair keep = a->pair[2], *p = &a->pair[2];
        if (i == 0) p->in++;
        if (i == 1) p->out++;
        if (i == 2) p->rank = 0;
        if (i == 3) p->layer = 7;
        if (i == 4) *p = a->pair[1];
        err = (hearth_error){HEARTH_OK, ""};
        assert_int_equal(hearth_decoder_plan(&good, &sizes, &err),
                         HEARTH_EINVAL);
        assert_non_null(strstr(err.text, p->module));
        a->pair[2] = keep;
    }
    hearth_adapter_free(a);
}

static void memory_that_is_too_small_is_refused(void **state) {
    hearth_arena arena;
    hearth_decoder *dec = NULL;
    hearth_decoder_shape s = shape(NULL);
    hearth_pool *pool = NULL;
    (void)state;
    s.max_tokens = 8;
    s.n_workers = 1;
    size_t n = hearth_decoder_bytes(&s);
    for (size_t bytes = 64; bytes < n; bytes += n / 7) {
        assert_ok(hearth_arena_init(&arena, NULL, bytes));
        assert_int_equal(hearth_decoder_new(&dec, &s, NULL,
                                            hearth_kernels_default(), &arena,
                                            NULL),
                         HEARTH_ENOMEM);
        assert_null(dec);
        assert_int_equal(arena.used, 0);
        hearth_arena_free(&arena);
    }
    assert_ok(hearth_pool_open(&pool, 2, NULL, NULL));
    assert_ok(hearth_arena_init(&arena, NULL, n));
    assert_int_equal(hearth_decoder_new(&dec, &s, pool,
                                        hearth_kernels_default(), &arena, NULL),
                     HEARTH_EINVAL); /* more threads than planned */
    hearth_arena_free(&arena);
    hearth_pool_close(pool);
}

static void a_store_in_bf16_needs_less_and_its_kernels(void **state) {
    hearth_decoder_sizes kept, stored, again, both;
    hearth_decoder *dec;
    hearth_arena arena;
    (void)state;
    hearth_adapter *a = adapter(HEARTH_TARGETS_QV, 0, false);
    hearth_decoder_shape s = shape(a);
    s.max_tokens = 64;
    s.n_workers = 1;
    assert_ok(hearth_decoder_plan(&s, &kept, NULL));
    s.store_bf16 = true;
    assert_ok(hearth_decoder_plan(&s, &stored, NULL));
    s.recompute = SIZE_MAX; /* nothing is stored */
    assert_ok(hearth_decoder_plan(&s, &both, NULL));
    s.store_bf16 = false;
    assert_ok(hearth_decoder_plan(&s, &again, NULL));
    assert_memory_equal(&both, &again, sizeof(again));
    /* two of three layers are stored, in somewhat more than half */
    double saved = (double)(kept.activations - stored.activations);
    double all = (double)(kept.activations - again.activations);
    assert_true(saved > 0.3 * all && saved < 0.5 * all);
    s.store_bf16 = true;
    assert_ok(hearth_arena_init(&arena, NULL, hearth_decoder_bytes(&s)));
    assert_int_equal(hearth_decoder_new(&dec, &s, NULL,
                                        hearth_kernels_reference(), &arena,
                                        NULL),
                     HEARTH_EINVAL);
    assert_null(dec);
    hearth_arena_free(&arena);
    hearth_adapter_free(a);
}

static void recompute_and_inference_need_less(void **state) {
    hearth_decoder_sizes kept, one, again, same, whole, parts, infer, attention;
    hearth_decoder_sizes down, parts_of_down;
    (void)state;
    hearth_adapter *a = adapter(HEARTH_TARGETS_QV, 0, false);
    hearth_decoder_shape s = shape(a);
    s.max_tokens = 64;
    s.n_workers = 1;
    assert_ok(hearth_decoder_plan(&s, &kept, NULL));
    s.recompute = 1;
    assert_ok(hearth_decoder_plan(&s, &one, NULL));
    s.recompute = 2; /* of three layers: the last one never does */
    assert_ok(hearth_decoder_plan(&s, &again, NULL));
    s.recompute = SIZE_MAX;
    assert_ok(hearth_decoder_plan(&s, &same, NULL));
    assert_memory_equal(&same, &again, sizeof(again));
    s.keep_attention = 1;
    assert_ok(hearth_decoder_plan(&s, &attention, NULL));
    assert_true(attention.activations > again.activations &&
                attention.activations < one.activations);
    s.keep_attention = 0;
    s.max_tokens = 256;
    assert_ok(hearth_decoder_plan(&s, &whole, NULL));
    s.mlp_rows = 64;
    assert_ok(hearth_decoder_plan(&s, &parts, NULL));
    hearth_adapter *linear = adapter(HEARTH_TARGETS_LINEAR, 0, false);
    s.adapter = linear;
    assert_ok(hearth_decoder_plan(&s, &parts_of_down, NULL));
    s.mlp_rows = 0;
    assert_ok(hearth_decoder_plan(&s, &down, NULL));
    s.adapter = a;
    s.mlp_rows = 256; /* the same as all */
    assert_ok(hearth_decoder_plan(&s, &same, NULL));
    assert_memory_equal(&same, &whole, sizeof(whole));
    s.max_tokens = 64;
    s.mlp_rows = 0;
    s.mode = HEARTH_DECODER_INFER;
    assert_ok(hearth_decoder_plan(&s, &infer, NULL));
    assert_true(again.activations * 2 < kept.activations);
    assert_int_equal(kept.activations - one.activations,
                     one.activations - again.activations);
    assert_true(parts.activations < whole.activations);
    assert_true(parts.scratch <= whole.scratch); /* attention needs as much */
    assert_true(parts_of_down.scratch < down.scratch);
    assert_true(down.scratch > whole.scratch); /* m is kept beside dm */
    assert_true(infer.activations < again.activations);
    assert_int_equal(infer.gradients, hearth_arena_need(1, 4));
    hearth_adapter_free(linear);
    hearth_adapter_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(params_are_canonical_and_point_into_the_adapter),
        cmocka_unit_test(frozen_a_changes_no_gradient_of_b),
        cmocka_unit_test(gradient_is_the_same_for_threads_and_recompute),
        cmocka_unit_test(dropout_does_not_depend_on_packing),
        cmocka_unit_test(reference_and_default_kernels_agree),
        cmocka_unit_test(loss_counts_what_is_supervised),
        cmocka_unit_test(a_stream_without_labels_costs_nothing),
        cmocka_unit_test(sixteen_bit_weights_give_what_their_values_give),
        cmocka_unit_test(extend_equals_logits),
        cmocka_unit_test(streams_that_break_the_contract_are_refused),
        cmocka_unit_test(documents_longer_than_the_model_are_refused),
        cmocka_unit_test(numbers_that_are_not_finite_are_an_error),
        cmocka_unit_test(plans_that_make_no_sense_are_refused),
        cmocka_unit_test(memory_that_is_too_small_is_refused),
        cmocka_unit_test(recompute_and_inference_need_less),
        cmocka_unit_test(a_store_in_bf16_needs_less_and_its_kernels),
    };
    return cmocka_run_group_tests_name("client/train/decoder", tests, set_up,
                                       tear_down);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_base_copy.c - client/train/base_copy.h: what a copy holds,
 * that it trains as a file of its type does, and what a budget makes of it. */
#include "tests/support/model_fixture.h"

#include <math.h>

#include "client/model/model_convert.h"
#include "client/train/base_copy.h"
#include "client/train/checkpoint.h"
#include "client/train/trainer.h"
#include "client/train/weight_private.h"
#include "common/mem.h"
#include "tests/support/fail_alloc.h"

#define VOCAB    67
#define N_DOCS   6
#define N_TOKENS 40

#define WIDE                                                                   \
    "\"vocab_size\":67,\"hidden_size\":64,\"intermediate_size\":96,"           \
    "\"num_attention_heads\":4,\"num_key_value_heads\":2,\"head_dim\":16,"     \
    "\"num_hidden_layers\":3,\"max_position_embeddings\":128,"                 \
    "\"rms_norm_eps\":1e-5,\"initializer_range\":0.1,\"bos_token_id\":1,"      \
    "\"eos_token_id\":2"
#define N_FAMILIES 5
static const char *const family[N_FAMILIES] = {
    "{\"architectures\":[\"LlamaForCausalLM\"],"
    "\"tie_word_embeddings\":false," WIDE "}",
    "{\"architectures\":[\"Qwen2ForCausalLM\"]," WIDE "}",
    "{\"architectures\":[\"Gemma3ForCausalLM\"],\"sliding_window\":5,"
    "\"query_pre_attn_scalar\":16," WIDE "}",
    "{\"architectures\":[\"Phi3ForCausalLM\"],\"pad_token_id\":0," WIDE "}",
    /* transposed matrices; rows of 40 are no whole blocks */
    "{\"architectures\":[\"GPT2LMHeadModel\"],\"vocab_size\":67,"
    "\"n_embd\":64,\"n_layer\":2,\"n_head\":4,\"n_positions\":128,"
    "\"n_inner\":40,\"initializer_range\":0.1}",
};

static hearth_dataset *ds;
static char dir[64];

static int set_up(void **state) {
    (void)state;
    assert_non_null(hearth_test_dir(dir));
    ds = tiny_records(N_DOCS, N_TOKENS);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    hearth_dataset_free(ds);
    assert_ok(hearth_file_remove_tree(dir, NULL));
    return 0;
}

/* The same weights as a file of one type; NULL: GGUF cannot say the family. */
static hearth_model *converted(const hearth_model *m, hearth_quant_type type) {
    char path[128];
    hearth_model *out = NULL;
    (void)snprintf(path, sizeof(path), "%.63s/%d.gguf", dir, (int)type);
    if (hearth_model_convert(m, type, path, NULL, NULL) == HEARTH_OK)
        assert_ok(hearth_model_open(&out, path, NULL, NULL));
    return out;
}

static hearth_adapter *adapter_for(const hearth_model *m) {
    hearth_lora_spec spec = {2, 4.0f, hearth_model_targets(m), 0, false, false};
    return tiny_adapter(m, &spec, 9);
}

static hearth_train_config settings(hearth_base_type base) {
    hearth_train_config c = HEARTH_TRAIN_CONFIG_INIT;
    c.steps = 3;
    c.batch = 2;
    c.lr = 1e-2;
    c.base = base;
    return c;
}

/* ---- what is held ---- */

static hearth_quant_type wanted_type(const hearth_model_tensor *t,
                                     hearth_base_type base) {
    static const hearth_quant_type types[] = {
        HEARTH_QUANT_F32, HEARTH_QUANT_F32,  HEARTH_QUANT_F32,
        HEARTH_QUANT_F16, HEARTH_QUANT_BF16, HEARTH_QUANT_Q8_0,
        HEARTH_QUANT_Q4_0};
    bool outer =
        t->role == HEARTH_TENSOR_EMBED || t->role == HEARTH_TENSOR_HEAD;
    return base == HEARTH_BASE_Q4_0 && outer ? HEARTH_QUANT_Q8_0 : types[base];
}

/* Each row of a copy, against the encoder's over the canonical row. */
static void check_rows(const hearth_weight *from, const hearth_weight *view,
                       hearth_quant_type type, const char *name) {
    hearth_real row[256];
    float x[256];
    uint8_t block[1024];
    size_t cols = from->cols, bytes = cols / hearth_quant_elements(type) *
                                      hearth_quant_bytes(type);
    assert_true(cols <= 256 && view->cols == cols && view->rows == from->rows);
    assert_int_equal(hearth_weight__bytes(view, cols), bytes);
    assert_false(view->transposed || view->permuted);
    for (size_t r = 0; r < from->rows; r++) {
        hearth_weight_row(from, r, row);
        for (size_t c = 0; c < cols; c++) x[c] = (float)row[c];
        assert_true(hearth_quant_encode(type, x, cols, block));
        if (memcmp(block, view->data + r * bytes, bytes) != 0)
            fail_msg("%s: row %zu differs", name, r);
    }
}

/* How many matrices are copies; `threads` do it. */
static size_t check_copy(const hearth_model *m, hearth_base_type base,
                         size_t threads) {
    const hearth_model_config *c = hearth_model_get_config(m);
    hearth_base_copy *bc = NULL;
    hearth_pool *pool = NULL;
    size_t n = 0, left = 0;
    assert_ok(hearth_pool_open(&pool, threads, NULL, NULL));
    assert_ok(hearth_base_copy_open(&bc, m, base, pool, NULL, NULL));
    for (size_t i = 0; i < hearth_model_n_tensors(c); i++) {
        hearth_model_tensor t;
        hearth_model_tensor_at(c, i, &t);
        const hearth_weight *w = hearth_model_weight(m, t.role, t.layer);
        const hearth_weight *view = hearth_base_copy_view(bc, i);
        hearth_quant_type type = wanted_type(&t, base);
        bool place = t.role == HEARTH_TENSOR_POSITION;
        bool whole = t.cols > 1 && t.cols % hearth_quant_elements(type) == 0;
        assert_true((view != NULL) == (whole && !place));
        if (view) check_rows(w, view, type, t.name);
        if (!view && t.cols > 1)
            left += hearth_weight__bytes(w, w->rows * w->cols);
        n += view != NULL;
    }
    assert_int_equal(left, hearth_base_copy_left(m, base));
    hearth_base_copy_close(bc);
    hearth_pool_close(pool);
    return n;
}

static void copy_is_what_the_encoder_makes_of_canonical_rows(void **state) {
    static const hearth_base_type types[] = {
        HEARTH_BASE_F16, HEARTH_BASE_BF16, HEARTH_BASE_Q8_0, HEARTH_BASE_Q4_0};
    (void)state;
    for (size_t i = 0; i < N_FAMILIES; i++) {
        char folder[64];
        hearth_model *m = tiny_model_of(family[i], 7 + i, folder);
        hearth_model *g = converted(m, HEARTH_QUANT_F32); /* permuted rows */
        for (size_t k = 0; k < 4; k++) {
            size_t n = check_copy(m, types[k], 1 + k % 3);
            assert_true(n >= 6);
            if (g) assert_int_equal(check_copy(g, types[k], 2), n);
        }
        hearth_model_close(g);
        tiny_drop(m, folder);
    }
}

/* ---- what may be asked for ---- */

static void check_settle(const hearth_model *m, hearth_base_type asked,
                         int want, const char *says) {
    hearth_base_type got = HEARTH_BASE_AUTO;
    hearth_error err = {HEARTH_OK, ""};
    hearth_status st = hearth_base_copy_settle(m, asked, &got, &err);
    if (!says) {
        assert_ok(st);
        assert_int_equal(got, want);
        return;
    }
    assert_int_equal(st, HEARTH_EUNSUPPORTED);
    if (!strstr(err.text, says)) fail_msg("%s", err.text);
    assert_null(strchr(err.text, '\n'));
}

static void only_narrower_types_are_copies(void **state) {
    char folder[64];
    hearth_model *m = tiny_model_of(family[0], 3, folder), *g;
    (void)state;
    check_settle(m, HEARTH_BASE_FILE, HEARTH_BASE_FILE, NULL);
    check_settle(m, HEARTH_BASE_AUTO, HEARTH_BASE_AUTO, NULL);
    check_settle(m, HEARTH_BASE_F32, HEARTH_BASE_FILE, NULL);
    for (int t = HEARTH_BASE_F16; t <= HEARTH_BASE_Q4_0; t++)
        check_settle(m, (hearth_base_type)t, t, NULL);
    g = converted(m, HEARTH_QUANT_BF16);
    check_settle(g, HEARTH_BASE_BF16, HEARTH_BASE_FILE, NULL);
    check_settle(g, HEARTH_BASE_Q8_0, HEARTH_BASE_Q8_0, NULL);
    check_settle(g, HEARTH_BASE_F32, 0, "is BF16");
    check_settle(g, HEARTH_BASE_F16, 0, "give q8_0 or q4_0");
    hearth_model_close(g);
    g = converted(m, HEARTH_QUANT_Q8_0);
    check_settle(g, HEARTH_BASE_Q8_0, HEARTH_BASE_FILE, NULL);
    check_settle(g, HEARTH_BASE_Q4_0, HEARTH_BASE_Q4_0, NULL);
    check_settle(g, HEARTH_BASE_BF16, 0, "or give q4_0");
    hearth_model_close(g);
    g = converted(m, HEARTH_QUANT_Q4_0);
    check_settle(g, HEARTH_BASE_Q4_0, HEARTH_BASE_FILE, NULL);
    check_settle(g, HEARTH_BASE_Q8_0, 0, "leave --base-type out");
    assert_int_equal(hearth_base_copy_open(&(hearth_base_copy *){NULL}, g,
                                           HEARTH_BASE_Q8_0, NULL, NULL, NULL),
                     HEARTH_EINVAL);
    hearth_model_close(g);
    tiny_drop(m, folder);
    tiny_spec odd = TINY_SPEC; /* rows of 24 and 40 */
    m = tiny_model(&odd, 3, folder);
    check_settle(m, HEARTH_BASE_Q8_0, 0, "rows of whole Q8_0 blocks");
    check_settle(m, HEARTH_BASE_BF16, HEARTH_BASE_BF16, NULL);
    assert_false(hearth_base_copy_helps(m, HEARTH_BASE_Q8_0));
    tiny_drop(m, folder);
}

static void modes_and_places_without_a_copy_refuse_one(void **state) {
    char folder[64];
    hearth_model *m = tiny_model_of(family[0], 3, folder);
    hearth_adapter *a = adapter_for(m);
    hearth_train_config c = settings(HEARTH_BASE_Q8_0);
    hearth_memplan p;
    hearth_error err;
    (void)state;
    c.weights = HEARTH_WEIGHTS_STREAMED;
    assert_int_equal(hearth_trainer_plan(&p, m, a, ds, &c, NULL, &err),
                     HEARTH_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "--weights mapped"));
    c.base = HEARTH_BASE_F32; /* no copy: streamed as ever */
    assert_ok(hearth_trainer_plan(&p, m, a, ds, &c, NULL, NULL));
    assert_true(p.choice.streamed);
    c.base = HEARTH_BASE_AUTO;
    assert_ok(hearth_trainer_plan(&p, m, a, ds, &c, NULL, NULL));
    assert_true(p.choice.streamed);
    c.weights = HEARTH_WEIGHTS_MAPPED;
    c.mode = HEARTH_TRAIN_FULL;
    assert_int_equal(hearth_trainer_plan(&p, m, NULL, ds, &c, NULL, &err),
                     HEARTH_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "leave --base-type out"));
    c = settings((hearth_base_type)7);
    assert_int_equal(hearth_trainer_plan(&p, m, a, ds, &c, NULL, &err),
                     HEARTH_EINVAL);
    hearth_adapter_free(a);
    tiny_drop(m, folder);
}

/* The model opened again with an element of a layer's matrix overwritten. */
static hearth_model *spoiled(hearth_model *m, const char *folder, float x) {
    hearth_model_file f;
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    const hearth_weight *w = hearth_model_weight(m, HEARTH_TENSOR_DOWN, 1);
    assert_ok(hearth_model_file_at(m, 0, &f));
    size_t at = (size_t)(w->data - f.bytes) + 777 * sizeof(x);
    assert_ok(hearth_buf_append(&b, f.bytes, f.n));
    memcpy(b.v + at, &x, sizeof(x));
    hearth_model_close(m);
    assert_ok(hearth_file_write(f.path, b.v, b.n, 0644, NULL));
    hearth_buf_free(&b);
    assert_ok(hearth_model_open(&m, folder, NULL, NULL));
    return m;
}

static void numbers_that_the_type_cannot_hold_are_refused(void **state) {
    static const struct {
        float x;
        hearth_base_type type;
        bool fits;
    } cases[] = {{NAN, HEARTH_BASE_Q8_0, false},
                 {INFINITY, HEARTH_BASE_BF16, false},
                 {NAN, HEARTH_BASE_F16, false},
                 {65504.0f, HEARTH_BASE_F16, true},
                 {-65600.0f, HEARTH_BASE_F16, false},
                 {65504.0f * 127, HEARTH_BASE_Q8_0, true},
                 {65600.0f * 127, HEARTH_BASE_Q8_0, false},
                 {-65504.0f * 8, HEARTH_BASE_Q4_0, true},
                 {65600.0f * 8, HEARTH_BASE_Q4_0, false},
                 {0x1.fep127f, HEARTH_BASE_BF16, true}};
    char folder[64];
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        hearth_error err;
        hearth_base_copy *bc = NULL;
        hearth_model *m = tiny_model_of(family[1], 3, folder);
        m = spoiled(m, folder, cases[i].x);
        hearth_status st =
            hearth_base_copy_open(&bc, m, cases[i].type, NULL, NULL, &err);
        if ((st == HEARTH_OK) != cases[i].fits) fail_msg("case %zu", i);
        if (st != HEARTH_OK) {
            assert_int_equal(st, HEARTH_ENONFINITE);
            assert_non_null(strstr(err.text, "'model.layers.1.mlp.down_"));
            assert_null(bc);
        }
        hearth_base_copy_close(bc);
        tiny_drop(m, folder);
    }
}

static void copy_survives_every_refused_allocation(void **state) {
    char folder[64];
    hearth_model *m = tiny_model_of(family[0], 3, folder);
    (void)state;
    for (size_t k = 1;; k++) {
        hearth_fail_alloc fa;
        hearth_alloc al = hearth_fail_alloc_init(&fa, k);
        hearth_base_copy *bc = NULL;
        hearth_status st =
            hearth_base_copy_open(&bc, m, HEARTH_BASE_Q8_0, NULL, &al, NULL);
        hearth_base_copy_close(bc);
        assert_int_equal(fa.live, 0);
        if (st == HEARTH_OK) break;
        assert_int_equal(st, HEARTH_ENOMEM);
        assert_null(bc);
        assert_true(k < 10);
    }
    tiny_drop(m, folder);
}

/* ---- what it trains ---- */

typedef struct {
    double loss[3];
    hearth_adapter *a;
} outcome;

static outcome train(const hearth_model *m, hearth_train_config c,
                     hearth_base_type held) {
    outcome o = {.a = adapter_for(m)};
    hearth_trainer *t = NULL;
    hearth_error err = {HEARTH_OK, ""};
    if (hearth_trainer_open(&t, m, o.a, ds, &c, NULL, NULL, &err) != HEARTH_OK)
        fail_msg("%s", err.text);
    assert_int_equal(hearth_trainer_memplan(t)->choice.base, held);
    for (size_t i = 0; i < 3; i++) {
        hearth_train_event ev;
        assert_ok(hearth_trainer_tick(t, &ev, NULL));
        o.loss[i] = ev.loss;
    }
    hearth_trainer_close(t);
    return o;
}

/* Losses and values: the same bytes, or losses that differ by so much. */
static void check_same(outcome x, outcome y, double within, const char *name) {
    for (size_t i = 0; i < 3; i++)
        if (!(fabs(x.loss[i] - y.loss[i]) <= within))
            fail_msg("%s: loss %zu is %a and %a", name, i, x.loss[i],
                     y.loss[i]);
    if (!(within > 0))
        assert_memory_equal(x.a->values, y.a->values,
                            x.a->n_values * sizeof(float));
}

static void q8_0_copy_trains_as_a_q8_0_file_does(void **state) {
    (void)state;
    for (size_t i = 0; i < N_FAMILIES; i++) {
        char folder[64];
        hearth_model *m = tiny_model_of(family[i], 3, folder);
        /* the file of the last family has what is no whole block as F16 */
        hearth_model *g = i < 4 ? converted(m, HEARTH_QUANT_Q8_0) : NULL;
        for (int k = 0; g && k < 4; k++) {
            hearth_train_config copy = settings(HEARTH_BASE_Q8_0), file;
            copy.reference_kernels = k == 1;
            copy.bf16 = k >= 2;
            copy.int8 = k == 3;
            if (k >= 2 && !hearth_kernels_bf16()) continue;
            file = copy;
            file.base = HEARTH_BASE_FILE;
            outcome held = train(m, copy, HEARTH_BASE_Q8_0);
            outcome want = train(g, file, HEARTH_BASE_FILE);
            check_same(held, want, 0, family[i]);
            hearth_adapter_free(held.a);
            hearth_adapter_free(want.a);
        }
        hearth_model_close(g);
        tiny_drop(m, folder);
    }
}

/* A folder with what a copy stands for, in F32. */
static hearth_model *dense_twin(const hearth_model *m, hearth_base_type base) {
    const hearth_model_config *c = hearth_model_get_config(m);
    size_t n = hearth_model_n_tensors(c);
    hearth_base_copy *bc = NULL;
    hearth_model *out = NULL;
    char path[128];
    float **value = calloc(n, sizeof(*value));
    hearth_real *x = calloc(1 << 20, sizeof(*x));
    assert_ok(hearth_base_copy_open(&bc, m, base, NULL, NULL, NULL));
    for (size_t i = 0; i < n; i++) {
        hearth_model_tensor t;
        hearth_model_tensor_at(c, i, &t);
        size_t all = (size_t)t.rows * t.cols;
        const hearth_weight *w = hearth_base_copy_view(bc, i);
        hearth_weight_copy(w ? w : hearth_model_weight(m, t.role, t.layer), x);
        value[i] = calloc(all, sizeof(float));
        for (size_t k = 0; k < all; k++) value[i][k] = (float)x[k];
    }
    (void)snprintf(path, sizeof(path), "%.63s/twin", dir);
    assert_ok(hearth_model_save(c, (const float *const *)value, NULL, path,
                                NULL, NULL));
    assert_ok(hearth_model_open(&out, path, NULL, NULL));
    for (size_t i = 0; i < n; i++) free(value[i]);
    free(value);
    free(x);
    hearth_base_copy_close(bc);
    return out;
}

static void copies_train_as_their_dense_twins_do(void **state) {
    static const hearth_base_type types[] = {HEARTH_BASE_Q4_0,
#ifdef NDEBUG /* a checked build tries one */
                                             HEARTH_BASE_F16, HEARTH_BASE_BF16,
                                             HEARTH_BASE_Q8_0
#endif
    };
    (void)state;
    for (size_t i = 0; i < N_FAMILIES; i++)
        for (size_t k = 0; k < sizeof(types) / sizeof(*types); k++) {
            char folder[64], path[128];
            hearth_model *m = tiny_model_of(family[i], 3, folder);
            hearth_model *d = dense_twin(m, types[k]);
            hearth_train_config c = settings(types[k]);
            c.reference_kernels = true;
            outcome copy = train(m, c, types[k]);
            c.base = HEARTH_BASE_FILE;
            outcome twin = train(d, c, HEARTH_BASE_FILE);
            outcome file = train(m, c, HEARTH_BASE_FILE);
            /* seen: 0; 4e-5 where the model is stored across its rows */
            check_same(copy, twin, 1e-3, family[i]);
            check_same(copy, file, 0.5, "near the file");
            assert_true(fabs(copy.loss[2] - file.loss[2]) > 0);
            hearth_adapter_free(copy.a);
            hearth_adapter_free(twin.a);
            hearth_adapter_free(file.a);
            hearth_model_close(d);
            tiny_drop(m, folder);
            (void)snprintf(path, sizeof(path), "%.63s/twin", dir);
            assert_ok(hearth_file_remove_tree(path, NULL));
        }
}

static void a_checkpoint_fits_the_type_it_was_made_with(void **state) {
    char folder[64], path[128];
    hearth_model *m = tiny_model_of(family[0], 3, folder);
    hearth_adapter *a = adapter_for(m);
    hearth_error err;
    (void)state;
    (void)snprintf(path, sizeof(path), "%.63s/ck", dir);
    /* F32 is the file's own: no copy, the same run */
    for (int from = HEARTH_BASE_FILE; from <= HEARTH_BASE_Q4_0; from++)
        for (int to = HEARTH_BASE_FILE; to <= HEARTH_BASE_Q4_0; to++) {
            hearth_trainer *t = NULL;
            hearth_train_config c = settings((hearth_base_type)from);
            assert_ok(hearth_trainer_open(&t, m, a, ds, &c, NULL, NULL, NULL));
            assert_ok(hearth_checkpoint_save(t, path, NULL));
            hearth_trainer_close(t);
            c.base = (hearth_base_type)to;
            assert_ok(hearth_trainer_open(&t, m, a, ds, &c, NULL, NULL, NULL));
            bool same = from == to ||
                        (from <= HEARTH_BASE_F32 && to <= HEARTH_BASE_F32);
            assert_int_equal(hearth_checkpoint_load(t, path, &err),
                             same ? HEARTH_OK : HEARTH_EMISMATCH);
            hearth_trainer_close(t);
        }
    hearth_adapter_free(a);
    tiny_drop(m, folder);
}

/* ---- what a budget makes of it ---- */

static size_t item_bytes(const hearth_memplan *p, const char *name) {
    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->item[i].name, name) == 0) return p->item[i].bytes;
    return SIZE_MAX;
}

static void the_plan_names_the_copy_and_what_is_left(void **state) {
    char folder[64];
    hearth_model *m = tiny_model_of(family[4], 3, folder);
    hearth_adapter *a = adapter_for(m);
    hearth_memplan file, p;
    hearth_train_config c = settings(HEARTH_BASE_FILE);
    (void)state;
    assert_ok(hearth_trainer_plan(&file, m, a, ds, &c, NULL, NULL));
    c.base = HEARTH_BASE_Q4_0;
    assert_ok(hearth_trainer_plan(&p, m, a, ds, &c, NULL, NULL));
    size_t copy = hearth_base_copy_bytes(m, HEARTH_BASE_Q4_0);
    assert_int_equal(item_bytes(&p, "base weights as Q4_0"), copy);
    assert_int_equal(p.private_bytes, file.private_bytes + copy);
    assert_int_equal(p.open_bytes, file.open_bytes + copy);
    /* positions [128, 64] and two c_proj [64, 40] of F32 */
    assert_int_equal(p.file_bytes, 4 * (128 * 64 + 2 * 64 * 40));
    assert_int_equal(item_bytes(&p, "model file"), p.file_bytes);
    assert_false(p.choice.streamed);
    assert_int_equal(hearth_base_copy_bytes(m, HEARTH_BASE_FILE), 0);
    assert_true(hearth_trainer_speed(m, &c, 64, NULL) > 0);
    hearth_adapter_free(a);
    tiny_drop(m, folder);
}

typedef struct {
    hearth_model *m;
    hearth_adapter *a;
    hearth_train_config c;
} deep;

static hearth_memplan plan_of(const deep *d, size_t budget) {
    hearth_memplan p;
    hearth_train_config c = d->c;
    c.memory_budget = budget;
    hearth_status st = hearth_trainer_plan(&p, d->m, d->a, ds, &c, NULL, NULL);
    assert_int_equal(st, budget == 1 ? HEARTH_ETOOBIG : HEARTH_OK);
    return p;
}

static void check_place(const deep *d, size_t budget, hearth_base_type base,
                        bool streamed) {
    hearth_memplan p = plan_of(d, budget);
    if (p.choice.base != base || p.choice.streamed != streamed)
        fail_msg("%zu bytes: %s, streamed %d", budget,
                 hearth_base_type_name(p.choice.base), p.choice.streamed);
}

/* The least that a named type needs, and with it what auto takes there and one
 * byte below. */
static void auto_takes_the_file_then_q8_0_then_q4_0_then_streams(void **state) {
    tiny_spec s = {VOCAB, 64, 192, 64, 4, 2, 16, true, 0.1};
    char folder[64];
    hearth_model *m = tiny_model(&s, 3, folder);
    hearth_lora_spec lora = {2, 4.0f, HEARTH_TARGETS_QV, 0, false, false};
    deep d = {m, tiny_adapter(m, &lora, 9), settings(HEARTH_BASE_FILE)};
    (void)state;
    d.c.weights = HEARTH_WEIGHTS_MAPPED;
    hearth_memplan file = plan_of(&d, 1);
    size_t mapped = file.private_bytes + file.file_bytes;
    d.c.weights = HEARTH_WEIGHTS_AUTO;
    d.c.base = HEARTH_BASE_Q8_0;
    size_t q8 = plan_of(&d, 1).private_bytes;
    d.c.base = HEARTH_BASE_Q4_0;
    size_t q4 = plan_of(&d, 1).private_bytes;
    assert_true(mapped > q8 && q8 > q4);
    check_place(&d, q4, HEARTH_BASE_Q4_0, false);

    d.c.base = HEARTH_BASE_AUTO;
    check_place(&d, 0, HEARTH_BASE_FILE, false);
    check_place(&d, mapped, HEARTH_BASE_FILE, false);
    check_place(&d, mapped - 1, HEARTH_BASE_Q8_0, false);
    check_place(&d, q8, HEARTH_BASE_Q8_0, false);
    check_place(&d, q8 - 1, HEARTH_BASE_Q4_0, false);
    check_place(&d, q4, HEARTH_BASE_Q4_0, false);
    check_place(&d, q4 - 1, HEARTH_BASE_FILE, true);
    assert_true(plan_of(&d, 1).choice.streamed);
    /* where the file does not count a copy would only cost */
    d.c.weights = HEARTH_WEIGHTS_MAPPED;
    check_place(&d, file.private_bytes, HEARTH_BASE_FILE, false);
    assert_int_equal(plan_of(&d, 1).choice.base, HEARTH_BASE_FILE);
    /* and without asking there is none */
    d.c.weights = HEARTH_WEIGHTS_AUTO;
    d.c.base = HEARTH_BASE_FILE;
    check_place(&d, mapped - 1, HEARTH_BASE_FILE, true);
    hearth_adapter_free(d.a);
    tiny_drop(m, folder);
}

static void auto_copies_only_what_is_wider(void **state) {
    tiny_spec s = {VOCAB, 64, 192, 24, 4, 2, 16, true, 0.1};
    char folder[64];
    hearth_model *m = tiny_model(&s, 3, folder);
    hearth_model *g = converted(m, HEARTH_QUANT_Q8_0);
    deep d = {g, adapter_for(g), settings(HEARTH_BASE_FILE)};
    (void)state;
    d.c.weights = HEARTH_WEIGHTS_MAPPED;
    hearth_memplan file = plan_of(&d, 1);
    size_t mapped = file.private_bytes + file.file_bytes;
    d.c.weights = HEARTH_WEIGHTS_AUTO;
    d.c.base = HEARTH_BASE_AUTO;
    check_place(&d, mapped, HEARTH_BASE_FILE, false);
    check_place(&d, mapped - 1, HEARTH_BASE_Q4_0, false);
    d.c.memory_budget = mapped - 1; /* and it trains */
    hearth_train_config c = d.c;
    outcome o = train(g, c, HEARTH_BASE_Q4_0);
    hearth_adapter_free(o.a);
    hearth_adapter_free(d.a);
    hearth_model_close(g);
    tiny_drop(m, folder);
}

static void every_type_has_a_name(void **state) {
    (void)state;
    assert_string_equal(hearth_base_type_name(HEARTH_BASE_FILE), "file");
    assert_string_equal(hearth_base_type_name(HEARTH_BASE_Q4_0), "q4_0");
    assert_string_equal(hearth_base_type_name((hearth_base_type)7), "?");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copy_is_what_the_encoder_makes_of_canonical_rows),
        cmocka_unit_test(only_narrower_types_are_copies),
        cmocka_unit_test(modes_and_places_without_a_copy_refuse_one),
        cmocka_unit_test(numbers_that_the_type_cannot_hold_are_refused),
        cmocka_unit_test(copy_survives_every_refused_allocation),
        cmocka_unit_test(q8_0_copy_trains_as_a_q8_0_file_does),
        cmocka_unit_test(copies_train_as_their_dense_twins_do),
        cmocka_unit_test(a_checkpoint_fits_the_type_it_was_made_with),
        cmocka_unit_test(the_plan_names_the_copy_and_what_is_left),
        cmocka_unit_test(auto_takes_the_file_then_q8_0_then_q4_0_then_streams),
        cmocka_unit_test(auto_copies_only_what_is_wider),
        cmocka_unit_test(every_type_has_a_name),
    };
    return cmocka_run_group_tests_name("client/train/base_copy", tests, set_up,
                                       tear_down);
}

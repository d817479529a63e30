/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_train_bytes.c - client/train/trainer.h: a run's values,
 * moments and counters are the same bytes for any number of threads, for each
 * kernel set, kind of base, mapped or streamed, with everything kept or as much
 * as possible done again.  Wide enough for several blocks of every product, and
 * records longer than a tile of rows. */
#include "client/model/model_convert.h"
#include "client/train/checkpoint.h"
#include "client/train/trainer.h"
#include "tests/support/model_fixture.h"

#define N_DOCS  2
#define LONGEST 100
#define VOCAB   600
#define STEPS   2
#ifdef NDEBUG
#define N_COUNTS 4
#else /* a checked build runs fewer */
#define N_COUNTS 2
#endif

static const size_t COUNTS[N_COUNTS] = {
#ifdef NDEBUG
    1, 2, 3, 7
#else
    1, 3
#endif
};

static char dir[64];
static hearth_dataset *records;

static int setup(void **state) {
    static const int32_t lengths[N_DOCS] = {LONGEST, 88};
    hearth_dataset_config cfg = HEARTH_DATASET_CONFIG_INIT;
    hearth_philox_key k = hearth_philox_key_make(8, HEARTH_PHILOX_DATA);
    (void)state;
    if (!hearth_test_dir(dir)) return 1;
    if (hearth_dataset_new(&records, &cfg, NULL, NULL) != HEARTH_OK) return 1;
    for (uint64_t d = 0; d < N_DOCS; d++) {
        int32_t token[LONGEST], label[LONGEST], n = lengths[d];
        for (int32_t i = 0; i < n; i++)
            token[i] = (int32_t)hearth_philox_below(k, d, (uint64_t)i, VOCAB);
        for (int32_t i = 0; i < n; i++)
            label[i] = i + 1 < n && i % 4 ? token[i + 1] : -1;
        if (hearth_dataset_add_tokens(records, token, label, (size_t)n, NULL) !=
            HEARTH_OK)
            return 1;
    }
    return 0;
}

static int teardown(void **state) {
    (void)state;
    hearth_dataset_free(records);
    return hearth_file_remove_tree(dir, NULL) == HEARTH_OK ? 0 : 1;
}

/* How one run is made. */
typedef struct {
    const hearth_model *model;
    bool reference, bf16, streamed;
    bool int8;  /* with bf16 */
    bool drops; /* with dropout adapters of one input work each alone */
    bool again; /* in the least memory that a plan can do with */
    size_t threads;
} way;

static hearth_train_config settings(const way *w) {
    hearth_train_config c = HEARTH_TRAIN_CONFIG_INIT;
    c.steps = STEPS;
    c.lr = 1e-2;
    c.dropout = w->drops ? 0.1 : 0;
    c.reference_kernels = w->reference;
    c.bf16 = w->bf16;
    c.int8 = w->int8;
    c.weights = w->streamed ? HEARTH_WEIGHTS_STREAMED : HEARTH_WEIGHTS_MAPPED;
    return c;
}

/* The budget of the smallest plan: a budget of nothing names it. */
static size_t least_budget(const hearth_adapter *a, hearth_pool *pool,
                           const way *w, hearth_train_config c) {
    hearth_memplan plan;
    c.memory_budget = 1;
    assert_int_equal(
        hearth_trainer_plan(&plan, w->model, a, records, &c, pool, NULL),
        HEARTH_ETOOBIG);
    return hearth_memplan_bounded(&plan);
}

/* The plan is the one that was asked for, whatever the threads. */
static void check_choice(const hearth_trainer *t, const way *w) {
    const hearth_memplan_choice *c = &hearth_trainer_memplan(t)->choice;
    size_t layers =
        hearth_model_get_config(w->model)->n_layers; /* the top one is kept */
    assert_int_equal(c->micro_batch, 1);
    assert_int_equal(c->recompute, w->again ? layers - 1 : 0);
    assert_int_equal(c->mlp_rows, w->again ? 64 : 0);
}

/* From the checkpoint, if there is one, to the end of step `last`; then what
 * the run is goes to the checkpoint, and to out. */
static void train_to(const way *w, uint64_t last, hearth_buf *out) {
    char path[128];
    hearth_lora_spec spec = {3, 6.0f, HEARTH_TARGETS_LINEAR, 0, false, false};
    hearth_train_config c = settings(w);
    hearth_train_event ev = {0};
    hearth_pool *pool = NULL;
    hearth_trainer *t = NULL;
    hearth_error err = {HEARTH_OK, ""};
    hearth_adapter *a = tiny_adapter(w->model, &spec, 4);
    (void)snprintf(path, sizeof(path), "%.63s/checkpoint.bin", dir);
    assert_ok(hearth_pool_open(&pool, w->threads, NULL, NULL));
    if (w->again) c.memory_budget = least_budget(a, pool, w, c);
    if (hearth_trainer_open(&t, w->model, a, records, &c, pool, NULL, &err) !=
        HEARTH_OK)
        fail_msg("%s", err.text);
    check_choice(t, w);
    if (hearth_file_exists(path))
        assert_ok(hearth_checkpoint_load(t, path, NULL));
    while (ev.step < last) assert_ok(hearth_trainer_tick(t, &ev, NULL));
    assert_true((hearth_trainer_bytes_read(t) > 0) == w->streamed);
    assert_ok(hearth_checkpoint_save(t, path, NULL));
    hearth_buf_clear(out);
    assert_ok(hearth_file_read(out, path, 1 << 24, NULL));
    if (last == STEPS) assert_ok(hearth_file_remove(path, NULL));
    hearth_trainer_close(t);
    hearth_pool_close(pool);
    hearth_adapter_free(a);
}

static void train(const way *w, hearth_buf *out) {
    train_to(w, STEPS, out);
}

static bool equal(const hearth_buf *a, const hearth_buf *b) {
    return a->n == b->n && memcmp(a->v, b->v, a->n) == 0;
}

/* One thread and everything in memory, against every number of threads, mapped
 * and streamed with recomputing; those two alone with one number each. */
static void compare(const char *name, way w) {
    hearth_buf want = HEARTH_BUF_INIT(NULL), got = HEARTH_BUF_INIT(NULL);
    w.threads = 1;
    train(&w, &want);
    for (int k = 0; k < 4; k++)
        for (size_t i = k ? 0 : 1; i < N_COUNTS; i++) {
            if ((k == 1 || k == 2) && i != (size_t)k % N_COUNTS) continue;
            w.streamed = k & 1;
            w.again = k & 2;
            w.threads = COUNTS[i];
            train(&w, &got);
            if (!equal(&want, &got))
                fail_msg("%s, %s%s, %zu threads: other bytes", name,
                         w.streamed ? "streamed" : "mapped",
                         w.again ? ", recomputing" : "", w.threads);
        }
    hearth_buf_free(&want);
    hearth_buf_free(&got);
}

static hearth_model *make_model(char folder[64]) {
    tiny_spec s = {VOCAB, 64, 288, 3, 4, 2, 16, true, 0.1};
#ifndef NDEBUG
    s.ffn = 160;
#endif
    return tiny_model(&s, 3, folder);
}

/* The same weights as a file of one type. */
static hearth_model *converted(const hearth_model *m, hearth_quant_type type) {
    char path[128];
    hearth_model *out = NULL;
    (void)snprintf(path, sizeof(path), "%.63s/%d.gguf", dir, (int)type);
    assert_ok(hearth_model_convert(m, type, path, NULL, NULL));
    assert_ok(hearth_model_open(&out, path, NULL, NULL));
    return out;
}

static void bytes_are_the_same_in_f32(void **state) {
    char folder[64];
    hearth_model *m = make_model(folder);
    hearth_model *q = converted(m, HEARTH_QUANT_Q8_0);
    (void)state;
    compare("f32", (way){.model = m, .drops = true});
    compare("q8_0", (way){.model = q});
    hearth_model_close(q);
    tiny_drop(m, folder);
}

static void bytes_are_the_same_in_bf16(void **state) {
    char folder[64];
    (void)state;
    if (!hearth_kernels_bf16()) skip();
    hearth_model *m = make_model(folder);
    hearth_model *h = converted(m, HEARTH_QUANT_BF16);
    hearth_model *q = converted(m, HEARTH_QUANT_Q4_0);
    compare("bf16 products, bf16",
            (way){.model = h, .bf16 = true, .drops = true});
    hearth_model *e = converted(m, HEARTH_QUANT_Q8_0);
    compare("bf16 products, q4_0", (way){.model = q, .bf16 = true});
    compare("int8 products, q8_0",
            (way){.model = e, .bf16 = true, .int8 = true, .drops = true});
    hearth_model_close(e);
    hearth_model_close(h);
    hearth_model_close(q);
    tiny_drop(m, folder);
}

/* For loops that are slow. */
static hearth_model *make_small(char folder[64]) {
    tiny_spec s = {VOCAB, 32, 40, 2, 4, 2, 8, false, 0.1};
    return tiny_model(&s, 3, folder);
}

static void bytes_are_the_same_with_reference_kernels(void **state) {
    char folder[64];
    (void)state;
    hearth_model *m = make_small(folder);
    compare("reference", (way){.model = m, .reference = true, .drops = true});
    tiny_drop(m, folder);
}

/* Stopped between its steps, and gone on with in another way. */
static void bytes_are_the_same_after_a_change_of_plan(void **state) {
    hearth_buf want = HEARTH_BUF_INIT(NULL), got = HEARTH_BUF_INIT(NULL);
    char folder[64];
    (void)state;
    hearth_model *m = make_model(folder);
    way keep = {.model = m, .threads = 1, .drops = true};
    way other = keep;
    other.threads = 3;
    other.streamed = other.again = true;
    train(&keep, &want);
    for (int k = 0; k < 2; k++) {
        train_to(k ? &other : &keep, 1, &got);
        train(k ? &keep : &other, &got);
        assert_true(equal(&want, &got));
    }
    hearth_buf_free(&want);
    hearth_buf_free(&got);
    tiny_drop(m, folder);
}

/* Else the tests above would compare a run with itself. */
static void bytes_differ_between_kernel_sets(void **state) {
    hearth_buf run[3] = {HEARTH_BUF_INIT(NULL), HEARTH_BUF_INIT(NULL),
                         HEARTH_BUF_INIT(NULL)};
    char folder[64];
    hearth_model *m = make_small(folder);
    (void)state;
    train(&(way){.model = m, .threads = 1}, &run[0]);
    train(&(way){.model = m, .threads = 1, .reference = true}, &run[1]);
    if (hearth_kernels_native()) assert_false(equal(&run[0], &run[1]));
    if (hearth_kernels_bf16()) {
        train(&(way){.model = m, .threads = 1, .bf16 = true}, &run[2]);
        assert_false(equal(&run[0], &run[2]));
    }
    for (int i = 0; i < 3; i++) hearth_buf_free(&run[i]);
    tiny_drop(m, folder);
}

/* A checkpoint names its products: what one kind began no other goes on with. */
static void int8_is_a_run_of_its_own(void **state) {
    hearth_buf run[2] = {HEARTH_BUF_INIT(NULL), HEARTH_BUF_INIT(NULL)};
    char folder[64];
    (void)state;
    if (!hearth_kernels_int8()) skip();
    hearth_model *m = make_small(folder);
    hearth_model *e = converted(m, HEARTH_QUANT_Q8_0);
    for (int i = 0; i < 2; i++)
        train(&(way){.model = e, .threads = 1, .bf16 = true, .int8 = i},
              &run[i]);
    assert_false(equal(&run[0], &run[1]));
    assert_int_equal(run[0].n, run[1].n);
    const char *v[] = {(const char *)run[0].v, (const char *)run[1].v};
    size_t head = 96; /* then the values, and a digest of all */
    assert_memory_not_equal(v[0] + 64, v[1] + 64, 32); /* the run's digest */
    assert_memory_not_equal(v[0] + head, v[1] + head, run[0].n - head - 32);
    for (int i = 0; i < 2; i++) hearth_buf_free(&run[i]);
    hearth_model_close(e);
    tiny_drop(m, folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_the_same_in_f32),
        cmocka_unit_test(bytes_are_the_same_in_bf16),
        cmocka_unit_test(bytes_are_the_same_with_reference_kernels),
        cmocka_unit_test(bytes_are_the_same_after_a_change_of_plan),
        cmocka_unit_test(bytes_differ_between_kernel_sets),
        cmocka_unit_test(int8_is_a_run_of_its_own),
    };
    return cmocka_run_group_tests_name("client/train/trainer bytes", tests,
                                       setup, teardown);
}

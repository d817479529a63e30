/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_train_draws.c - the random draws of training are functions of
 * seed, purpose, step, record, layer, target and element, and of nothing else:
 * client/train/{lora_layer.c,batch.h,trainer.h}, common/adapter.h.
 *
 * The masks of dropout are seen through adapters whose A is the identity, on
 * ones: the inner product is then the mask over 1 - p.  That the backward pass
 * takes the masks of the forward pass: golden.gradients_f64; that threads,
 * plans and stops change no byte of a run: unit.train_bytes, unit.resume. */
#include <math.h>

#include "client/train/batch.h"
#include "client/train/decoder_private.h"
#include "client/train/trainer.h"
#include "tests/support/model_fixture.h"

#define N_LAYERS 3
#define WIDE     40 /* the largest input: of down */
#define ROWS     24
#define IN       24 /* the input of all others */
#define DRAWS    (ROWS * IN)
#define MANY     TINY_TOKENS /* more than a tile of rows */

static char dir[64];
static hearth_model *model;
static hearth_adapter *adapter;
static hearth_real ones[MANY * WIDE], out[HEARTH_LINEAR_GROUP][MANY * WIDE];

static int setup(void **state) {
    tiny_spec s = TINY_SPEC;
    hearth_lora_spec spec = {WIDE, WIDE, HEARTH_TARGETS_LINEAR, 0, 0, false};
    (void)state;
    assert_true(s.layers == N_LAYERS && s.hidden == IN && s.ffn == WIDE);
    model = tiny_model(&s, 3, dir);
    adapter = tiny_adapter(model, &spec, 4);
    for (size_t i = 0; i < adapter->n_pairs; i++) {
        hearth_adapter_pair *p = &adapter->pair[i];
        for (size_t r = 0; r < p->rank; r++)
            for (size_t c = 0; c < p->in; c++)
                p->a[r * p->in + c] = r == c ? 1.0f : 0.0f;
    }
    for (size_t i = 0; i < MANY * WIDE; i++) ones[i] = 1;
    return 0;
}

static int teardown(void **state) {
    (void)state;
    hearth_adapter_free(adapter);
    tiny_drop(model, dir);
    return 0;
}

static void engine_open(tiny_engine *e, hearth_pool *pool,
                        const hearth_kernels *k) {
    hearth_decoder_shape s = {.model = model,
                              .adapter = adapter,
                              .mode = HEARTH_DECODER_LORA,
                              .dropout = true};
    tiny_engine_open(e, s, pool, k);
}

/* One module's draws in one step. */
typedef struct {
    hearth_dropout drop;
    size_t layer;
    hearth_target target;
} draw;

static const draw BASE = {{0.5f, 7, 2, 10}, 1, HEARTH_TARGET_V};

/* 1 where an element is kept; rows first .. first + n - 1 of the stream, in a
 * product with all targets that take the same input. */
static void masks(tiny_engine *e, const draw *d, const hearth_stream *s,
                  size_t first, size_t n, unsigned char *kept) {
    const hearth_lora_pair *pair = e->dec->layer[d->layer].lora[d->target];
    const hearth_pass p = {.n = n,
                           .first = first,
                           .n_docs = s->n_docs,
                           .doc_start = s->doc_start,
                           .position = s->position,
                           .dropout = &d->drop};
    double scale = 1.0 / (1.0 - (double)d->drop.p);
    size_t shared = hearth_decoder__shares(d->target), at = 0, n_parts = 0;
    size_t ld = e->dec->t_width[shared];
    hearth_linear part[HEARTH_LINEAR_GROUP];
    for (uint32_t u = 0; u <= HEARTH_TARGET_DOWN; u++) {
        if (hearth_decoder__shares(u) != shared) continue;
        if (u < (uint32_t)d->target)
            at += e->dec->layer[d->layer].lora[u]->rank;
        part[n_parts] = (hearth_linear){(hearth_target)u, out[n_parts], NULL};
        n_parts++;
    }
    hearth_linear__forward(e->dec, &p, d->layer, part, n_parts, ones, 0);
    const hearth_real *t =
        hearth_decoder__slot(e->dec, d->layer)->t[shared] + first * ld + at;
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < pair->in; c++) {
            double v = (double)t[i * ld + c];
            assert_true(v == 0 || fabs(v - scale) < 1e-5 * scale);
            kept[i * pair->in + c] = v > 0;
        }
}

/* The draws of one document of ROWS tokens. */
static void draws_of(tiny_engine *e, const draw *d, unsigned char kept[DRAWS]) {
    uint32_t start[2] = {0, ROWS}, position[ROWS];
    for (uint32_t i = 0; i < ROWS; i++) position[i] = i;
    hearth_stream s = {
        .n = ROWS, .n_docs = 1, .doc_start = start, .position = position};
    masks(e, d, &s, 0, ROWS, kept);
}

/* Do n pairs of coins agree in about half of the cases?  Five deviations. */
static bool unrelated(const unsigned char *a, const unsigned char *b,
                      size_t n) {
    size_t same = 0;
    for (size_t i = 0; i < n; i++) same += a[i] == b[i];
    return fabs((double)same - 0.5 * (double)n) < 2.5 * sqrt((double)n);
}

/* One coordinate changed; in the last two, two of them exchanged or shifted. */
static const draw OTHERS[] = {
    {{0.5f, 8, 2, 10}, 1, HEARTH_TARGET_V},                /* seed */
    {{0.5f, 7 + (1ull << 32), 2, 10}, 1, HEARTH_TARGET_V}, /* its upper half */
    {{0.5f, 7, 3, 10}, 1, HEARTH_TARGET_V},                /* step */
    {{0.5f, 7, 2 + 65536, 10}, 1, HEARTH_TARGET_V},        /* far away */
    {{0.5f, 7, 2, 11}, 1, HEARTH_TARGET_V},                /* record */
    {{0.5f, 7, 2, 10 + 65536}, 1, HEARTH_TARGET_V},        /* far away */
    {{0.5f, 7, 10, 2}, 1, HEARTH_TARGET_V},                /* exchanged */
    {{0.5f, 7, 3, 9}, 1, HEARTH_TARGET_V},                 /* the same sum */
};
#define N_OTHERS  (sizeof(OTHERS) / sizeof(OTHERS[0]))
#define N_TARGETS 6 /* q k v o gate up, whose inputs are as wide */
#define N_DRAWS   (N_OTHERS + N_LAYERS * N_TARGETS)

static void every_coordinate_holds_draws_apart(void **state) {
    static unsigned char kept[N_DRAWS][DRAWS];
    tiny_engine e;
    (void)state;
    engine_open(&e, NULL, hearth_kernels_default());
    for (size_t i = 0; i < N_DRAWS; i++) {
        draw d = i < N_OTHERS ? OTHERS[i] : BASE;
        if (i >= N_OTHERS) {
            d.layer = (i - N_OTHERS) / N_TARGETS;
            d.target = (hearth_target)((i - N_OTHERS) % N_TARGETS);
        }
        draws_of(&e, &d, kept[i]);
    }
    for (size_t i = 0; i < N_DRAWS; i++)
        for (size_t j = 0; j < i; j++)
            if (!unrelated(kept[i], kept[j], DRAWS))
                fail_msg("draws %zu and %zu are related", j, i);
    tiny_engine_close(&e);
}

/* Elements: the next ones, those of the next word or block, of the next row. */
static void elements_are_drawn_apart(void **state) {
    static unsigned char kept[DRAWS];
    tiny_engine e;
    (void)state;
    engine_open(&e, NULL, hearth_kernels_default());
    draws_of(&e, &BASE, kept);
    for (size_t shift = 1; shift <= 4 * IN; shift++)
        if (!unrelated(kept, kept + shift, DRAWS - shift))
            fail_msg("elements %zu apart are related", shift);
    tiny_engine_close(&e);
}

static void as_many_are_dropped_as_asked(void **state) {
    static const float rates[] = {0.1f, 0.5f, 0.9f};
    static unsigned char kept[DRAWS];
    tiny_engine e;
    (void)state;
    engine_open(&e, NULL, hearth_kernels_default());
    for (size_t r = 0; r < 3; r++) {
        double p = (double)rates[r], n = 0, dropped = 0;
        for (uint32_t record = 0; record < 20; record++) {
            draw d = BASE;
            d.drop.p = rates[r];
            d.drop.record_base = record;
            draws_of(&e, &d, kept);
            for (size_t i = 0; i < DRAWS; i++, n++) dropped += !kept[i];
        }
        assert_true(fabs(dropped - p * n) < 5 * sqrt(p * (1 - p) * n));
    }
    tiny_engine_close(&e);
}

/* No two keys of small seeds and purposes are alike. */
static void purposes_have_keys_of_their_own(void **state) {
    uint64_t key[4 * 7];
    (void)state;
    for (uint64_t seed = 0; seed < 4; seed++)
        for (int p = HEARTH_PHILOX_INIT; p <= HEARTH_PHILOX_DATA; p++) {
            hearth_philox_key k =
                hearth_philox_key_make(seed, (hearth_philox_purpose)p);
            size_t at = (size_t)(seed * 7) + (size_t)(p - 1);
            key[at] = (uint64_t)k.v[1] << 32 | k.v[0];
            for (size_t i = 0; i < at; i++) assert_true(key[i] != key[at]);
        }
}

static const uint32_t LENGTHS[] = {9, ROWS, 1, 62};
#define N_DOCS 4

/* Record 11 alone, against record 11 as the second of four documents: for
 * threads, kernel sets, a part of the pass, and a second time. */
static void draws_depend_on_nothing_else(void **state) {
    static const size_t threads[] = {1, 2, 3, 7};
    static unsigned char alone[DRAWS], want[MANY * IN], got[MANY * IN];
    const hearth_kernels *set[] = {hearth_kernels_default(),
                                   hearth_kernels_reference(),
                                   hearth_kernels_bf16()};
    tiny_stream ts;
    draw second = BASE;
    (void)state;
    tiny_stream_make(&ts, LENGTHS, N_DOCS, 67, 2);
    second.drop.record_base = 11;
    for (size_t i = 0; i < 12; i++) {
        tiny_engine e;
        hearth_pool *pool = NULL;
        if (!set[i / 4]) continue;
        assert_ok(hearth_pool_open(&pool, threads[i % 4], NULL, NULL));
        engine_open(&e, pool, set[i / 4]);
        draws_of(&e, &second, alone);
        masks(&e, &BASE, &ts.stream, 0, MANY, got);
        if (i == 0) memcpy(want, got, sizeof(want));
        assert_memory_equal(got, want, sizeof(want));
        assert_memory_equal(got + LENGTHS[0] * IN, alone, DRAWS);
        for (size_t first = 0; first < MANY; first += 32)
            masks(&e, &BASE, &ts.stream, first, 32, got + first * IN);
        assert_memory_equal(got, want, sizeof(want));
        tiny_engine_close(&e);
        hearth_pool_close(pool);
    }
}

/* ---- where adapters start ---- */

static hearth_adapter *started(uint32_t targets, uint32_t last, uint64_t n) {
    hearth_lora_spec spec = {4, 4.0f, targets, last, 0, false};
    uint8_t seed[HEARTH_ADAPTER_SEED_BYTES];
    hearth_adapter *a = NULL;
    size_t n_modules;
    const hearth_module_info *m = hearth_model_modules(model, &n_modules);
    assert_ok(hearth_adapter_new(&a, &spec, m, n_modules, NULL, NULL));
    assert_ok(hearth_adapter_seed_from_number(n, seed));
    assert_ok(hearth_adapter_init_a_from_seed(a, seed));
    return a;
}

/* Every module and seed has an A of its own, whatever else is adapted. */
static void start_is_of_seed_and_module_alone(void **state) {
    hearth_adapter *all = started(HEARTH_TARGETS_LINEAR, 0, 1);
    hearth_adapter *few = started(HEARTH_TARGETS_QV, 2, 1);
    hearth_adapter *other = started(HEARTH_TARGETS_LINEAR, 0, 2);
    size_t found = 0;
    (void)state;
    for (size_t i = 0; i < all->n_pairs; i++) {
        const hearth_adapter_pair *p = &all->pair[i];
        for (size_t j = 0; j < all->n_pairs; j++) {
            const hearth_adapter_pair *q = &all->pair[j];
            const float *of_other = other->pair[j].a;
            if (i != j) assert_true(p->a[0] != q->a[0] && p->a[9] != q->a[9]);
            assert_true(p->a[0] != of_other[0] && p->a[9] != of_other[9]);
        }
        for (size_t j = 0; j < few->n_pairs; j++) {
            const hearth_adapter_pair *q = &few->pair[j];
            if (strcmp(p->module, q->module) != 0) continue;
            assert_memory_equal(p->a, q->a, 4 * p->in * sizeof(*p->a));
            found++;
        }
    }
    assert_int_equal(found, 4); /* q and v of two layers */
    hearth_adapter_free(all);
    hearth_adapter_free(few);
    hearth_adapter_free(other);
}

/* ---- the order of records ---- */

static hearth_dataset *make_dataset(void) {
    hearth_dataset_config cfg = HEARTH_DATASET_CONFIG_INIT;
    hearth_philox_key k = hearth_philox_key_make(9, HEARTH_PHILOX_DATA);
    hearth_dataset *ds = NULL;
    assert_ok(hearth_dataset_new(&ds, &cfg, NULL, NULL));
    for (uint64_t d = 0; d < 12; d++) {
        int32_t token[16], label[16], n = 5 + (int32_t)d % 8;
        for (int32_t i = 0; i < n; i++)
            token[i] = (int32_t)hearth_philox_below(k, d, (uint64_t)i, 67);
        for (int32_t i = 0; i < n; i++)
            label[i] = i + 1 < n ? token[i + 1] : -1;
        assert_ok(hearth_dataset_add_tokens(ds, token, label, (size_t)n, NULL));
    }
    return ds;
}

/* Two epochs of records, by micro-batches of so many. */
static void order_of(const hearth_dataset *ds, uint64_t seed, size_t batch,
                     uint32_t order[24]) {
    hearth_batch_config cfg = {batch, seed, true, true};
    hearth_batcher *b = NULL;
    hearth_micro_batch mb;
    assert_ok(hearth_batcher_open(&b, ds, &cfg, NULL, NULL));
    for (size_t at = 0; at < 24; at += mb.stream.n_docs) {
        hearth_batcher_next(b, 24 - at, &mb);
        memcpy(order + at, mb.record, mb.stream.n_docs * sizeof(*order));
    }
    hearth_batcher_close(b);
}

static void order_is_of_seed_and_epoch_alone(void **state) {
    uint32_t order[3][24], other[24];
    hearth_dataset *ds = make_dataset();
    (void)state;
    for (uint64_t seed = 0; seed < 3; seed++) {
        order_of(ds, seed, 1, order[seed]);
        for (size_t batch = 2; batch < 10; batch++) {
            order_of(ds, seed, batch, other);
            assert_memory_equal(order[seed], other, sizeof(other));
        }
    }
    for (size_t i = 0; i < 6; i++)
        for (size_t j = 0; j < i; j++)
            assert_memory_not_equal(order[i / 2] + i % 2 * 12,
                                    order[j / 2] + j % 2 * 12,
                                    12 * sizeof(**order));
    hearth_dataset_free(ds);
}

/* ---- runs: other groups of the same records, other plans ---- */

typedef struct {
    size_t batch, accum;
    bool alone, again; /* no packing; the least memory that does */
} grouping;

static hearth_train_config settings(const grouping *g) {
    hearth_train_config c = HEARTH_TRAIN_CONFIG_INIT;
    c.steps = 4;
    c.lr = 1e-2;
    c.dropout = 0.3;
    c.batch = g->batch;
    c.accum = g->accum;
    c.pack = !g->alone;
    return c;
}

/* A run of 12 records, 3 a step; the values that it leaves. */
static hearth_adapter *train(const hearth_train_config *asked, bool again) {
    hearth_lora_spec spec = {2, 4.0f, HEARTH_TARGETS_LINEAR, 0, 0, false};
    hearth_train_config c = *asked;
    hearth_memplan plan;
    hearth_trainer *t = NULL;
    hearth_train_event ev = {0};
    hearth_dataset *ds = make_dataset();
    hearth_adapter *a = tiny_adapter(model, &spec, 5);
    if (again) {
        c.memory_budget = 1; /* refused, with the smallest plan */
        assert_int_equal(
            hearth_trainer_plan(&plan, model, a, ds, &c, NULL, NULL),
            HEARTH_ETOOBIG);
        c.memory_budget = plan.private_bytes;
    }
    assert_ok(hearth_trainer_open(&t, model, a, ds, &c, NULL, NULL, NULL));
    assert_int_equal(hearth_trainer_memplan(t)->choice.recompute,
                     again ? N_LAYERS - 1 : 0);
    do assert_ok(hearth_trainer_tick(t, &ev, NULL));
    while (ev.kind != HEARTH_TRAIN_DONE);
    hearth_trainer_close(t);
    hearth_dataset_free(ds);
    return a;
}

static double distance(const hearth_adapter *a, const hearth_adapter *b) {
    double d = 0, n = 0;
    for (size_t i = 0; i < a->n_values; i++) {
        double x = (double)a->values[i], y = (double)b->values[i];
        d += (x - y) * (x - y);
        n += x * x;
    }
    return sqrt(d / n);
}

/* Other orders of summing, the same draws. */
static void groups_and_plans_change_nothing(void **state) {
    static const grouping groups[] = {{3, 1, false, false},
                                      {1, 3, false, false},
                                      {3, 1, true, false},
                                      {3, 1, false, true},
                                      {1, 3, false, true}};
    (void)state;
    hearth_train_config c = settings(&groups[0]);
    hearth_adapter *want = train(&c, false);
    for (size_t i = 1; i < 5; i++) {
        hearth_train_config other = settings(&groups[i]);
        hearth_adapter *got = train(&other, groups[i].again);
        if (!(distance(want, got) < 1e-5)) /* seen: 4e-7 */
            fail_msg("group %zu: %g", i, distance(want, got));
        hearth_adapter_free(got);
    }
    /* other masks, in the same order of records, are far from that */
    c.shuffle = false;
    hearth_adapter *kept = train(&c, false);
    c.seed = 2;
    hearth_adapter *got = train(&c, false);
    assert_true(distance(kept, got) > 1e-3);
    hearth_adapter_free(want);
    hearth_adapter_free(kept);
    hearth_adapter_free(got);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_coordinate_holds_draws_apart),
        cmocka_unit_test(elements_are_drawn_apart),
        cmocka_unit_test(as_many_are_dropped_as_asked),
        cmocka_unit_test(purposes_have_keys_of_their_own),
        cmocka_unit_test(draws_depend_on_nothing_else),
        cmocka_unit_test(start_is_of_seed_and_module_alone),
        cmocka_unit_test(order_is_of_seed_and_epoch_alone),
        cmocka_unit_test(groups_and_plans_change_nothing),
    };
    return cmocka_run_group_tests_name("client/train draws", tests, setup,
                                       teardown);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_planner.c - client/train/planner.h, by way of trainer.h: what
 * a budget makes of a run. */
#include <math.h>

#include "tests/support/planner_fixture.h"

#include "client/model/model_convert.h"
#include "common/mem.h"

#define LAYERS 6

static hearth_model *model;
static hearth_dataset *ds;
static char dir[64];

static int set_up(void **state) {
    tiny_spec s = {67, 32, 96, LAYERS, 4, 2, 8, true, 0.3};
    (void)state;
    model = tiny_model(&s, 1, dir);
    ds = tiny_records(N_DOCS, N_TOKENS);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    hearth_dataset_free(ds);
    tiny_drop(model, dir);
    return 0;
}

static hearth_adapter *adapter(uint32_t last) {
    hearth_lora_spec spec = {2,    4.0f,  HEARTH_TARGETS_LINEAR,
                             last, false, false};
    return tiny_adapter(model, &spec, 9);
}

/* The smallest plan, which a budget of one byte is told. */
static hearth_memplan least(const hearth_adapter *a, hearth_train_config c) {
    hearth_memplan p;
    hearth_error err;
    c.memory_budget = 1;
    assert_int_equal(hearth_trainer_plan(&p, model, a, ds, &c, NULL, &err),
                     HEARTH_ETOOBIG);
    assert_int_equal(p.longest_seq, 0);
    assert_non_null(strstr(err.text, "records of any length"));
    return p;
}

static void without_a_budget_the_fastest_is_planned(void **state) {
    (void)state;
    hearth_memplan p;
    hearth_train_config c = settings();
    hearth_adapter *a = adapter(0), *last = adapter(2);
    assert_ok(hearth_trainer_plan(&p, model, a, ds, &c, NULL, NULL));
    assert_int_equal(p.choice.micro_batch, 4);
    assert_int_equal(p.choice.max_tokens, 4 * N_TOKENS);
    assert_int_equal(p.choice.layers, LAYERS);
    assert_int_equal(p.choice.recompute, 0);
    assert_int_equal(p.choice.mlp_rows, 0);
    double work = p.choice.work;
    assert_true(work > 0);
    assert_ok(hearth_trainer_plan(&p, model, last, ds, &c, NULL, NULL));
    assert_int_equal(p.choice.layers, 2);
    assert_true(p.choice.work < work);
    c.pack = false;
    assert_ok(hearth_trainer_plan(&p, model, a, ds, &c, NULL, NULL));
    assert_int_equal(p.choice.max_tokens, N_TOKENS);
    hearth_adapter_free(last);
    hearth_adapter_free(a);
}

/* Ways to run that a walk through the budgets comes by. */
typedef struct {
    size_t ways, some_layers, kept, parts, micro_batches;
} walk_result;

static walk_result walk(size_t batch) {
    hearth_memplan p, full;
    hearth_train_config c = settings();
    hearth_adapter *a = adapter(0);
    walk_result r = {0};
    c.batch = batch;
    c.accum = 1;
    size_t low = least(a, c).private_bytes;
    assert_ok(hearth_trainer_plan(&full, model, a, ds, &c, NULL, NULL));
    double work = full.choice.work, first = work;
    for (int i = 0; i <= STEPS; i++) {
        c.memory_budget =
            full.private_bytes - (full.private_bytes - low) * (size_t)i / STEPS;
        assert_ok(hearth_trainer_plan(&p, model, a, ds, &c, NULL, NULL));
        assert_true(p.private_bytes <= c.memory_budget);
        assert_true(p.choice.work >= work);
        if (i == 0) {
            assert_int_equal(p.private_bytes, full.private_bytes);
            assert_int_equal(p.choice.recompute, full.choice.recompute);
            assert_int_equal(p.choice.micro_batch, full.choice.micro_batch);
        }
        r.ways += p.choice.work > work;
        r.some_layers +=
            p.choice.recompute > 0 && p.choice.recompute < LAYERS - 1;
        assert_true(p.choice.keep_attention <= p.choice.recompute);
        if (p.choice.keep_attention) {
            hearth_plan_request q = {.model = model, .adapter = a, .cfg = &c};
            hearth_memplan_choice none = p.choice;
            none.keep_attention = 0;
            hearth_planner__estimate(&q, &none);
            assert_true(none.work > p.choice.work);
            r.kept++;
        }
        r.parts += p.choice.mlp_rows > 0;
        r.micro_batches += p.choice.micro_batch < batch;
        work = p.choice.work;
    }
    assert_int_equal(p.private_bytes, low);
    assert_int_equal(p.choice.micro_batch, 1);
    assert_int_equal(p.choice.recompute, LAYERS - 1);
    assert_true(work > first * 1.1 && work < first * 2);
    hearth_adapter_free(a);
    return r;
}

static void a_smaller_budget_costs_time_and_fits(void **state) {
    (void)state;
    walk_result one = walk(1), four = walk(4);
    assert_true(one.ways > 3 && one.some_layers > 3 && one.kept > 0 &&
                one.parts > 0);
    assert_true(four.ways > 3 && four.micro_batches > 3);
}

static void
a_budget_below_the_least_is_refused_with_what_would_do(void **state) {
    (void)state;
    hearth_memplan p, want;
    hearth_error err;
    char text[64];
    hearth_train_config c = settings();
    hearth_adapter *a = adapter(0);
    want = least(a, c);
    c.memory_budget = want.private_bytes - 1;
    assert_int_equal(hearth_trainer_plan(&p, model, a, ds, &c, NULL, &err),
                     HEARTH_ETOOBIG);
    assert_int_equal(p.private_bytes, want.private_bytes);
    assert_true(p.longest_seq >= 8 && p.longest_seq < N_TOKENS);
    snprintf(text, sizeof(text), "--memory-budget %zuM, or --seq %zu at most",
             (want.private_bytes - 1) / 1048576 + 1, p.longest_seq);
    assert_non_null(strstr(err.text, text));
    assert_null(strchr(err.text, '\n'));
    c.memory_budget++;
    assert_ok(hearth_trainer_plan(&p, model, a, ds, &c, NULL, NULL));
    hearth_adapter_free(a);
}

static void the_longest_record_fits_and_one_more_token_does_not(void **state) {
    (void)state;
    hearth_memplan p;
    hearth_train_config c = settings();
    hearth_adapter *a = adapter(0);
    c.seq = 32;
    c.batch = 1;
    assert_ok(hearth_trainer_plan_sizes(&p, model, a, 10, &c, NULL, NULL));
    c.memory_budget = p.private_bytes;
    size_t seq = hearth_trainer_longest_seq(model, a, 10, &c, NULL);
    assert_true(seq > 32 && seq < 128); /* recomputing makes room */
    c.seq = seq;
    assert_ok(hearth_trainer_plan_sizes(&p, model, a, 10, &c, NULL, NULL));
    c.seq++;
    assert_int_equal(
        hearth_trainer_plan_sizes(&p, model, a, 10, &c, NULL, NULL),
        HEARTH_ETOOBIG);
    assert_int_equal(p.longest_seq, seq);
    c.memory_budget = 1;
    assert_int_equal(hearth_trainer_longest_seq(model, a, 10, &c, NULL), 0);
    c.memory_budget = 0; /* the model's positions are the limit */
    assert_int_equal(hearth_trainer_longest_seq(model, a, 10, &c, NULL), 128);
    c.epochs = 0;
    c.steps = 0;
    assert_int_equal(hearth_trainer_longest_seq(model, a, 10, &c, NULL), 0);
    hearth_adapter_free(a);
}

static void full_mode_recomputes_but_keeps_the_mlp_whole(void **state) {
    (void)state;
    hearth_memplan p, small;
    hearth_train_config c = settings();
    c.mode = HEARTH_TRAIN_FULL;
    c.dropout = 0;
    assert_ok(hearth_trainer_plan(&p, model, NULL, ds, &c, NULL, NULL));
    small = least(NULL, c);
    assert_true(small.private_bytes < p.private_bytes);
    assert_int_equal(small.choice.mlp_rows, 0);
    assert_int_equal(small.choice.recompute, LAYERS - 1);
    size_t usual = p.choice.head_rows;
    while (p.private_bytes > small.private_bytes) {
        c.memory_budget = p.private_bytes - 1;
        assert_ok(hearth_trainer_plan(&p, model, NULL, ds, &c, NULL, NULL));
        assert_int_equal(p.choice.head_rows, usual);
    }
}

/* Sums what is asked for and counts a block's header too. */
static size_t asked;

static void *count_alloc(void *ud, size_t n) {
    (void)ud;
    asked += n;
    return malloc(n);
}

static void *count_resize(void *ud, void *p, size_t n) {
    (void)ud;
    asked += n;
    return realloc(p, n);
}

static void count_free(void *ud, void *p) {
    (void)ud;
    free(p);
}

/* A run under a budget (0: none): the adapter, and its plan. */
static hearth_adapter *train(size_t budget, hearth_memplan *p) {
    hearth_train_config c = settings();
    hearth_trainer *t = NULL;
    hearth_train_event ev = {0};
    hearth_alloc al = {count_alloc, count_resize, count_free, NULL};
    hearth_adapter *a = adapter(0);
    c.memory_budget = budget;
    c.steps = c.accum = 1;
    asked = 0;
    assert_ok(hearth_trainer_open(&t, model, a, ds, &c, NULL, &al, NULL));
    *p = *hearth_trainer_memplan(t);
    assert_true(asked >= p->open_bytes);
    assert_true(asked - p->open_bytes <= 16384); /* handles, lists */
    asked = 0;
    while (ev.kind != HEARTH_TRAIN_DONE)
        assert_ok(hearth_trainer_tick(t, &ev, NULL));
    assert_int_equal(asked, 0);
    hearth_trainer_close(t);
    return a;
}

static void every_plan_trains_the_same_values(void **state) {
    (void)state;
    hearth_memplan full, p;
    hearth_adapter *want = train(0, &full);
    size_t n = want->n_values, low = 0, halved = 0;
    hearth_train_config c = settings();
    low = least(want, c).private_bytes;
    for (size_t i = 0; i < 3; i++) {
        size_t budget = low + (full.private_bytes - low) * i * 2 / 5;
        hearth_adapter *got = train(budget, &p);
        double diff = 0, norm = 0;
        if (p.choice.micro_batch == full.choice.micro_batch)
            assert_memory_equal(got->values, want->values, n * sizeof(float));
        else
            halved++;
        for (size_t k = 0; k < n; k++) {
            double d = (double)got->values[k] - (double)want->values[k];
            diff += d * d;
            norm += (double)want->values[k] * (double)want->values[k];
        }
        assert_true(sqrt(diff / norm) < 1e-4);
        hearth_adapter_free(got);
    }
    assert_true(halved > 0);
    hearth_adapter_free(want);
}

/* Records of 100 tokens in micro-batches of one: as many as are at most 512 go
 * through the layers together, where the budget has room for them. */
static void short_micro_batches_of_a_step_are_one_pass(void **state) {
    static const size_t accum[] = {1, 2, 3, 4, 5, 8};
    static const size_t want[] = {1, 2, 2, 4, 4, 4};
    (void)state;
    hearth_memplan p;
    hearth_adapter *a = adapter(0);
    for (size_t i = 0; i < 6; i++) {
        hearth_train_config c = settings();
        c.batch = 1;
        c.accum = accum[i];
        c.memory_budget = (size_t)1 << 30;
        assert_ok(hearth_trainer_plan(&p, model, a, ds, &c, NULL, NULL));
        assert_int_equal(p.choice.micro_batch, want[i]);
        assert_int_equal(p.choice.recompute, 0);
        assert_int_equal(p.choice.head_rows, 256); /* mapped: no need */
        c.pack = false;
        assert_ok(hearth_trainer_plan(&p, model, a, ds, &c, NULL, NULL));
        assert_int_equal(p.choice.max_tokens, N_TOKENS);
        c.pack = true;
        c.memory_budget = 0;
        assert_ok(hearth_trainer_plan(&p, model, a, ds, &c, NULL, NULL));
        assert_int_equal(p.choice.micro_batch, 1);
        c.memory_budget = least(a, c).private_bytes;
        assert_ok(hearth_trainer_plan(&p, model, a, ds, &c, NULL, NULL));
        assert_int_equal(p.choice.micro_batch, 1);
    }
    hearth_adapter_free(a);
}

/* The values of two steps in passes of one record and of more. */
static void passes_of_more_train_the_same_values(void **state) {
    (void)state;
    float *want = NULL;
    for (int merged = 0; merged < 2; merged++) {
        hearth_train_config c = settings();
        hearth_train_event ev = {0};
        hearth_trainer *t = NULL;
        hearth_adapter *a = adapter(0);
        c.batch = 1;
        c.accum = 5; /* a pass of four, a pass of one */
        c.memory_budget = merged ? (size_t)1 << 30 : 0;
        assert_ok(hearth_trainer_open(&t, model, a, ds, &c, NULL, NULL, NULL));
        while (ev.kind != HEARTH_TRAIN_DONE)
            assert_ok(hearth_trainer_tick(t, &ev, NULL));
        assert_int_equal(ev.micro, merged ? 4 : 10);
        hearth_trainer_close(t);
        double diff = 0, norm = 0;
        for (size_t i = 0; want && i < a->n_values; i++) {
            double d = (double)a->values[i] - (double)want[i];
            diff += d * d;
            norm += (double)want[i] * (double)want[i];
        }
        if (want) assert_true(sqrt(diff / norm) < 1e-4);
        if (!want) {
            want = malloc(a->n_values * sizeof(*want));
            assert_non_null(want);
            memcpy(want, a->values, a->n_values * sizeof(*want));
        }
        hearth_adapter_free(a);
    }
    free(want);
}

/* At this width storing costs less than making again, and only where products
 * round does it come into question. */
static void bf16_stores_before_it_makes_again(void **state) {
    tiny_spec s = {67, 256, 512, 2, 4, 2, 64, true, 0.1};
    hearth_lora_spec spec = {2, 4.0f, HEARTH_TARGETS_QV, 0, false, false};
    hearth_train_config c = settings();
    hearth_memplan all, p;
    char folder[64];
    (void)state;
    if (!hearth_kernels_bf16()) skip();
    hearth_model *m = tiny_model(&s, 3, folder);
    hearth_adapter *a = tiny_adapter(m, &spec, 9);
    c.bf16 = true;
    c.batch = 1;
    c.weights = HEARTH_WEIGHTS_MAPPED;
    assert_ok(hearth_trainer_plan(&all, m, a, ds, &c, NULL, NULL));
    assert_false(all.choice.store_bf16);
    p = all;
    while (!p.choice.store_bf16) { /* smaller blocks may do at first */
        assert_int_equal(p.choice.recompute, 0);
        c.memory_budget = p.private_bytes - 1;
        assert_ok(hearth_trainer_plan(&p, m, a, ds, &c, NULL, NULL));
    }
    assert_int_equal(p.choice.recompute, 0);
    assert_true(p.choice.work > all.choice.work);
    size_t stored = p.private_bytes;
    while (p.choice.recompute == 0) {
        c.memory_budget = p.private_bytes - 1;
        assert_ok(hearth_trainer_plan(&p, m, a, ds, &c, NULL, NULL));
        assert_true(p.choice.store_bf16 || p.choice.recompute == 1);
    }
    c.bf16 = false;
    c.memory_budget = stored;
    assert_ok(hearth_trainer_plan(&p, m, a, ds, &c, NULL, NULL));
    assert_false(p.choice.store_bf16);
    hearth_adapter_free(a);
    tiny_drop(m, folder);
}

/* A byte less than everything needs costs no layer where smaller blocks give as
 * much, the cheaper of the two first; what they save is there to the byte, and
 * mode full leaves the head's as they are. */
static void smaller_blocks_go_before_a_layer(void **state) {
    hearth_lora_spec spec = {2, 4.0f, HEARTH_TARGETS_QV, 0, false, false};
    hearth_train_config c = settings();
    hearth_memplan p, before;
    char folder[64];
    size_t tiles = 0, groups = 0, all;
    (void)state;
    hearth_model *m = tiny_model_of(
        "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\","
        "\"vocab_size\":67,\"hidden_size\":64,\"intermediate_size\":512,"
        "\"num_hidden_layers\":3,\"num_attention_heads\":4,"
        "\"num_key_value_heads\":2,\"head_dim\":16,"
        "\"max_position_embeddings\":1024,\"rms_norm_eps\":1e-5,"
        "\"rope_theta\":10000.0,\"tie_word_embeddings\":true,"
        "\"initializer_range\":0.3,\"bos_token_id\":1,\"eos_token_id\":2}",
        1, folder);
    hearth_adapter *a = tiny_adapter(m, &spec, 9);
    c.weights = HEARTH_WEIGHTS_MAPPED;
    assert_ok(hearth_trainer_plan(&p, m, a, ds, &c, NULL, NULL));
    assert_int_equal(p.choice.head_rows, 256);
    assert_false(p.choice.small_tiles);
    for (all = p.private_bytes; !p.choice.recompute;) {
        before = p;
        c.memory_budget = p.private_bytes - 1;
        assert_ok(hearth_trainer_plan(&p, m, a, ds, &c, NULL, NULL));
        assert_true(p.private_bytes <= c.memory_budget);
        assert_true(p.choice.work >= before.choice.work);
        tiles += p.choice.small_tiles && !p.choice.recompute;
        groups += p.choice.head_rows < 256 && !p.choice.recompute;
    }
    assert_true(tiles > 0 && groups > 0);
    c.memory_budget = 1;
    assert_int_equal(hearth_trainer_plan(&p, m, a, ds, &c, NULL, NULL),
                     HEARTH_ETOOBIG);
    assert_int_equal(p.choice.head_rows, HEARTH_DECODER_ROWS);
    assert_true(p.choice.small_tiles && p.private_bytes < all);
    c.mode = HEARTH_TRAIN_FULL;
    c.dropout = 0;
    assert_int_equal(hearth_trainer_plan(&p, m, NULL, ds, &c, NULL, NULL),
                     HEARTH_ETOOBIG);
    assert_int_equal(p.choice.head_rows, 256);
    assert_true(p.choice.small_tiles);
    hearth_adapter_free(a);
    tiny_drop(m, folder);
}

/* Not for weights that it does nothing for; with others it plans as bf16. */
static void int8_is_for_weights_in_q8_0(void **state) {
    tiny_spec s = {67, 64, 96, 2, 4, 2, 16, true, 0.1};
    hearth_lora_spec spec = {2, 4.0f, HEARTH_TARGETS_QV, 0, false, false};
    hearth_train_config c = settings();
    hearth_memplan p, like;
    hearth_model *q = NULL;
    hearth_error err;
    char folder[64], path[128];
    (void)state;
    if (!hearth_kernels_int8()) skip();
    hearth_model *m = tiny_model(&s, 3, folder);
    hearth_adapter *a = tiny_adapter(m, &spec, 9);
    c.int8 = true;
    assert_int_equal(hearth_trainer_plan(&p, m, a, ds, &c, NULL, &err),
                     HEARTH_EINVAL);
    c.bf16 = true;
    assert_int_equal(hearth_trainer_plan(&p, m, a, ds, &c, NULL, &err),
                     HEARTH_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "Q8_0"));
    (void)snprintf(path, sizeof(path), "%.63s/q8_0.gguf", folder);
    assert_ok(hearth_model_convert(m, HEARTH_QUANT_Q8_0, path, NULL, NULL));
    assert_ok(hearth_model_open(&q, path, NULL, NULL));
    assert_ok(hearth_trainer_plan(&p, q, a, ds, &c, NULL, NULL));
    assert_true(hearth_trainer_speed(q, &c, 64, NULL) > 0);
    c.int8 = false;
    assert_ok(hearth_trainer_plan(&like, q, a, ds, &c, NULL, NULL));
    assert_int_equal(p.private_bytes, like.private_bytes);
    hearth_model_close(q);
    assert_ok(hearth_file_remove(path, NULL));
    hearth_adapter_free(a);
    tiny_drop(m, folder);
}

/* ---- how long ---- */

/* For every kind of products, on one thread and on two. */
static void speed_is_measured_with_the_runs_own_products(void **state) {
    hearth_train_config c = settings();
    hearth_pool *two = NULL;
    (void)state;
    assert_ok(hearth_pool_open(&two, 2, NULL, NULL));
    for (int i = 0; i < 4; i++) {
        c.reference_kernels = i == 1;
        c.bf16 = i == 2;
        hearth_pool *pool = i == 3 ? two : NULL;
        bool able = i != 2 || hearth_kernels_bf16();
        assert_true((hearth_trainer_speed(model, &c, 64, pool) > 0) == able);
        assert_true((hearth_trainer_speed(model, &c, 100000, pool) > 0) ==
                    able);
        assert_false(hearth_trainer_speed(model, &c, 0, pool) > 0);
    }
    hearth_pool_close(two);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_budget_the_fastest_is_planned),
        cmocka_unit_test(a_smaller_budget_costs_time_and_fits),
        cmocka_unit_test(
            a_budget_below_the_least_is_refused_with_what_would_do),
        cmocka_unit_test(the_longest_record_fits_and_one_more_token_does_not),
        cmocka_unit_test(bf16_stores_before_it_makes_again),
        cmocka_unit_test(smaller_blocks_go_before_a_layer),
        cmocka_unit_test(int8_is_for_weights_in_q8_0),
        cmocka_unit_test(full_mode_recomputes_but_keeps_the_mlp_whole),
        cmocka_unit_test(every_plan_trains_the_same_values),
        cmocka_unit_test(short_micro_batches_of_a_step_are_one_pass),
        cmocka_unit_test(passes_of_more_train_the_same_values),
        cmocka_unit_test(speed_is_measured_with_the_runs_own_products),
    };
    return cmocka_run_group_tests_name("client/train/planner", tests, set_up,
                                       tear_down);
}

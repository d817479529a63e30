/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_planner_streamed.c - client/train/planner.h, by way of
 * trainer.h: where the weights are, and in which order a step takes them. */
#include <math.h>

#include "tests/support/planner_fixture.h"

static hearth_dataset *ds;

static int set_up(void **state) {
    (void)state;
    ds = tiny_records(N_DOCS, N_TOKENS);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    hearth_dataset_free(ds);
    return 0;
}

/* ---- mapped or streamed ---- */

/* Deep: two layers and a window are far less than the file. */
typedef struct {
    char dir[64];
    hearth_model *m;
    hearth_adapter *a;
    hearth_train_config c;
} deep;

static void deep_open(deep *d, hearth_train_weights weights) {
    tiny_spec s = {67, 32, 96, 24, 4, 2, 8, true, 0.3};
    hearth_lora_spec spec = {2, 4.0f, HEARTH_TARGETS_LINEAR, 0, false, false};
    d->m = tiny_model(&s, 1, d->dir);
    d->a = tiny_adapter(d->m, &spec, 9);
    d->c = settings();
    d->c.weights = weights;
}

static void deep_close(deep *d) {
    hearth_adapter_free(d->a);
    tiny_drop(d->m, d->dir);
}

static hearth_status deep_plan(const deep *d, size_t budget, hearth_memplan *p,
                               hearth_error *err) {
    hearth_train_config c = d->c;
    bool full = c.mode == HEARTH_TRAIN_FULL;
    c.memory_budget = budget;
    return hearth_trainer_plan(p, d->m, full ? NULL : d->a, ds, &c, NULL, err);
}

static void auto_is_mapped_while_the_file_is_within_the_budget(void **state) {
    (void)state;
    deep d;
    hearth_memplan p, free_plan;
    deep_open(&d, HEARTH_WEIGHTS_AUTO);
    assert_ok(deep_plan(&d, 0, &free_plan, NULL));
    assert_false(free_plan.choice.streamed);
    size_t whole = free_plan.private_bytes + free_plan.file_bytes;
    assert_int_equal(hearth_memplan_bounded(&free_plan), whole);
    assert_ok(deep_plan(&d, whole, &p, NULL));
    assert_false(p.choice.streamed);
    assert_int_equal(p.choice.recompute, 0);
    assert_int_equal(p.choice.micro_batch, 4);
    assert_ok(deep_plan(&d, whole - 1, &p, NULL)); /* paid in time first */
    assert_false(p.choice.streamed);
    assert_true(p.choice.work > free_plan.choice.work);
    /* down to the smallest that is mapped, and below it */
    d.c.weights = HEARTH_WEIGHTS_MAPPED;
    assert_int_equal(deep_plan(&d, 1, &p, NULL), HEARTH_ETOOBIG);
    size_t mapped = p.private_bytes + p.file_bytes;
    assert_int_equal(hearth_memplan_bounded(&p), p.private_bytes);
    d.c.weights = HEARTH_WEIGHTS_AUTO;
    assert_ok(deep_plan(&d, mapped, &p, NULL));
    assert_false(p.choice.streamed);
    assert_ok(deep_plan(&d, mapped - 1, &p, NULL));
    assert_true(p.choice.streamed);
    assert_int_equal(hearth_memplan_bounded(&p),
                     p.private_bytes + p.file_bytes);
    assert_true(hearth_memplan_bounded(&p) <= mapped - 1);
    deep_close(&d);
}

static void mapped_and_full_leave_the_file_out_of_the_budget(void **state) {
    (void)state;
    deep d;
    hearth_memplan p, want;
    deep_open(&d, HEARTH_WEIGHTS_MAPPED);
    assert_ok(deep_plan(&d, 0, &want, NULL));
    assert_ok(deep_plan(&d, want.private_bytes, &p, NULL));
    assert_int_equal(p.choice.recompute, 0);
    d.c.weights = HEARTH_WEIGHTS_AUTO;
    d.c.mode = HEARTH_TRAIN_FULL;
    d.c.dropout = 0;
    assert_ok(deep_plan(&d, 0, &want, NULL));
    assert_ok(deep_plan(&d, want.private_bytes, &p, NULL));
    assert_int_equal(p.choice.recompute, 0);
    assert_false(p.choice.streamed);
    assert_int_equal(deep_plan(&d, 1, &p, NULL), HEARTH_ETOOBIG);
    assert_false(p.choice.streamed);
    deep_close(&d);
}

/* The window counts: to the byte, and the refusal names a budget that works. */
static void check_least(deep *d) {
    hearth_memplan least, p;
    hearth_error err;
    char text[80];
    assert_int_equal(deep_plan(d, 1, &least, &err), HEARTH_ETOOBIG);
    assert_true(least.choice.streamed);
    assert_int_equal(least.longest_seq, 0);
    assert_non_null(strstr(err.text, "and a window of the streamed file"));
    size_t need = hearth_memplan_bounded(&least);
    assert_int_equal(need, least.private_bytes + least.file_bytes);
    assert_true(least.file_bytes > 0);
    assert_ok(deep_plan(d, need, &p, NULL));
    assert_int_equal(hearth_memplan_bounded(&p), need);
    assert_int_equal(deep_plan(d, need - 1, &p, &err), HEARTH_ETOOBIG);
    snprintf(text, sizeof(text), "--memory-budget %zuM, or --seq %zu at most",
             (need - 1) / 1048576 + 1, p.longest_seq);
    assert_non_null(strstr(err.text, text));
    assert_true(p.longest_seq >= 8 && p.longest_seq < N_TOKENS);
}

static void
the_least_budget_is_that_of_streaming_with_its_window(void **state) {
    (void)state;
    deep d;
    deep_open(&d, HEARTH_WEIGHTS_STREAMED);
    check_least(&d);
    d.c.weights = HEARTH_WEIGHTS_AUTO;
    check_least(&d);
    deep_close(&d);
}

static void of_streamed_plans_the_fastest_that_fits_is_taken(void **state) {
    (void)state;
    deep d;
    hearth_memplan p, want;
    deep_open(&d, HEARTH_WEIGHTS_STREAMED);
    assert_ok(deep_plan(&d, 0, &want, NULL));
    assert_true(want.choice.streamed);
    size_t all = hearth_memplan_bounded(&want);
    assert_ok(deep_plan(&d, all, &p, NULL));
    assert_int_equal(p.choice.recompute, 0);
    assert_int_equal(p.choice.micro_batch, 4);
    assert_ok(deep_plan(&d, all - 1, &p, NULL));
    assert_true(p.choice.work > want.choice.work);
    assert_true(p.choice.recompute < 8);
    deep_close(&d);
}

static void the_longest_record_may_need_streaming(void **state) {
    (void)state;
    deep d;
    hearth_memplan p;
    hearth_adapter *a;
    deep_open(&d, HEARTH_WEIGHTS_AUTO);
    a = d.a;
    d.c.batch = 1;
    d.c.seq = 48;
    d.c.memory_budget = 1;
    assert_int_equal(
        hearth_trainer_plan_sizes(&p, d.m, a, 10, &d.c, NULL, NULL),
        HEARTH_ETOOBIG);
    d.c.memory_budget = hearth_memplan_bounded(&p);
    size_t seq = hearth_trainer_longest_seq(d.m, a, 10, &d.c, NULL);
    assert_true(seq >= 48 && seq < 64);
    d.c.seq = seq;
    assert_ok(hearth_trainer_plan_sizes(&p, d.m, a, 10, &d.c, NULL, NULL));
    assert_true(p.choice.streamed);
    d.c.seq++;
    assert_int_equal(
        hearth_trainer_plan_sizes(&p, d.m, a, 10, &d.c, NULL, NULL),
        HEARTH_ETOOBIG);
    deep_close(&d);
}

static void a_planned_stream_is_what_runs(void **state) {
    (void)state;
    deep d;
    hearth_memplan p;
    hearth_trainer *t = NULL;
    hearth_train_event ev;
    deep_open(&d, HEARTH_WEIGHTS_AUTO);
    assert_int_equal(deep_plan(&d, 1, &p, NULL), HEARTH_ETOOBIG);
    d.c.memory_budget = hearth_memplan_bounded(&p);
    assert_ok(hearth_trainer_open(&t, d.m, d.a, ds, &d.c, NULL, NULL, NULL));
    assert_true(hearth_trainer_memplan(t)->choice.streamed);
    assert_ok(hearth_trainer_tick(t, &ev, NULL));
    assert_true(hearth_trainer_bytes_read(t) > 0);
    hearth_trainer_close(t);
    d.c.memory_budget = 0;
    assert_ok(hearth_trainer_open(&t, d.m, d.a, ds, &d.c, NULL, NULL, NULL));
    assert_ok(hearth_trainer_tick(t, &ev, NULL));
    assert_int_equal(hearth_trainer_bytes_read(t), 0);
    hearth_trainer_close(t);
    deep_close(&d);
}

/* ---- the order of a step ---- */

/* With streamed weights a pass is as many micro-batches as there are: each layer
 * is read once for all of them, however many tokens they have. */
static void streamed_micro_batches_of_a_step_are_one_pass(void **state) {
    static const size_t accum[] = {1, 2, 3, 5, 8};
    (void)state;
    deep d;
    hearth_memplan p, one;
    deep_open(&d, HEARTH_WEIGHTS_STREAMED);
    d.c.batch = 1;
    for (size_t i = 0; i < 5; i++) {
        d.c.accum = accum[i];
        assert_ok(deep_plan(&d, 0, &one, NULL));
        assert_int_equal(one.choice.passes, accum[i]);
        assert_ok(deep_plan(&d, (size_t)1 << 30, &p, NULL));
        assert_int_equal(p.choice.passes, 1);
        assert_int_equal(p.choice.micro_batch, accum[i]);
        assert_int_equal(p.choice.micro_batches, accum[i]);
        assert_int_equal(p.choice.recompute, 0);
        double fewer = one.choice.read_bytes / p.choice.read_bytes;
        assert_true(fewer > 0.8 * (double)accum[i] &&
                    fewer <= (double)accum[i]);
        assert_true(accum[i] == 1 || p.choice.work < one.choice.work);
    }
    d.c.pack = false;
    d.c.batch = 2; /* its records go alone */
    assert_ok(deep_plan(&d, 0, &p, NULL));
    assert_int_equal(p.choice.passes, 16);
    d.c.batch = 1;
    assert_ok(deep_plan(&d, (size_t)1 << 30, &p, NULL));
    assert_int_equal(p.choice.passes, 8);
    assert_int_equal(p.choice.max_tokens, N_TOKENS);
    d.c.pack = true;
    d.c.batch = d.c.accum = (size_t)1 << 20; /* found in time, all the same */
    assert_ok(deep_plan(&d, (size_t)1 << 27, &p, NULL));
    assert_true(p.choice.passes > 1 && p.choice.micro_batch > 1);
    d.c.weights = HEARTH_WEIGHTS_MAPPED;
    d.c.batch = 1;
    d.c.accum = 8;
    assert_ok(deep_plan(&d, (size_t)1 << 30, &p, NULL));
    assert_int_equal(p.choice.micro_batch, 4); /* 512 tokens at most */
    assert_true(p.choice.read_bytes <= 0);
    assert_ok(deep_plan(&d, 0, &p, NULL));
    assert_int_equal(p.choice.passes, one.choice.passes);
    assert_true(p.choice.work < one.choice.work); /* nothing is copied */
    deep_close(&d);
}

/* Every number of passes has budgets of its own; none is exceeded, and each plan
 * is the cheapest of those that fit. */
static void a_smaller_budget_takes_a_step_in_more_passes(void **state) {
    (void)state;
    deep d;
    hearth_memplan p, low, high;
    size_t orders = 0, passes = 1;
    double cost = 0;
    deep_open(&d, HEARTH_WEIGHTS_STREAMED);
    hearth_plan_request q = {.cfg = &d.c};
    d.c.batch = 1;
    d.c.accum = 6;
    assert_int_equal(deep_plan(&d, 1, &low, NULL), HEARTH_ETOOBIG);
    assert_ok(deep_plan(&d, (size_t)1 << 30, &high, NULL));
    size_t least = hearth_memplan_bounded(&low);
    size_t most = hearth_memplan_bounded(&high);
    for (size_t i = 0; i <= 4 * STEPS; i++) {
        size_t budget = most - (most - least) * i / (4 * STEPS);
        assert_ok(deep_plan(&d, budget, &p, NULL));
        assert_true(hearth_memplan_bounded(&p) <= budget);
        assert_true(hearth_planner__cost(&q, &p.choice) >= cost);
        cost = hearth_planner__cost(&q, &p.choice);
        orders += p.choice.passes != passes;
        passes = p.choice.passes;
    }
    assert_int_equal(p.choice.passes, 6);
    assert_true(orders >= 2);
    deep_close(&d);
}

/* Reading hides behind computing only while that takes longer. */
static void reading_that_takes_longer_is_what_a_plan_costs(void **state) {
    (void)state;
    hearth_train_config c = settings();
    hearth_plan_request q = {.cfg = &c};
    hearth_memplan_choice few = {.work = 1e9, .read_token = 1e6};
    hearth_memplan_choice many = {.work = 1e9, .read_token = 1e8};
    assert_true(hearth_planner__cost(&q, &few) <= 1e9);
    assert_true(hearth_planner__cost(&q, &many) > 2e9);
}

/* Two steps of 8 records: values, the last loss, and what they read. */
static hearth_adapter *run_order(const deep *d, size_t batch, size_t budget,
                                 double *loss, hearth_memplan *p) {
    hearth_train_config c = d->c;
    hearth_lora_spec spec = {2, 4.0f, HEARTH_TARGETS_LINEAR, 0, false, false};
    hearth_train_event ev = {0};
    hearth_trainer *t = NULL;
    uint64_t before = 0;
    hearth_adapter *a = tiny_adapter(d->m, &spec, 9);
    c.batch = batch;
    c.accum = 8 / batch;
    c.memory_budget = budget;
    assert_ok(hearth_trainer_open(&t, d->m, a, ds, &c, NULL, NULL, NULL));
    *p = *hearth_trainer_memplan(t);
    while (ev.kind != HEARTH_TRAIN_DONE) {
        assert_ok(hearth_trainer_tick(t, &ev, NULL));
        if (ev.kind == HEARTH_TRAIN_STEP) before = hearth_trainer_bytes_read(t);
    }
    assert_int_equal(ev.micro, 2 * p->choice.passes);
    *loss = ev.loss;
    double read = (double)(hearth_trainer_bytes_read(t) - before);
    if (p->choice.streamed)
        assert_true(fabs(read / p->choice.read_bytes - 1) < 0.02);
    hearth_trainer_close(t);
    return a;
}

/* Layer-outer and micro-batch-outer train the same values, but for the order of
 * sums; and one order the same bytes, mapped or streamed. */
static void both_orders_train_the_same_values(void **state) {
    (void)state;
    deep d;
    hearth_memplan layer, micro, mapped;
    double loss[3], diff = 0, norm = 0;
    deep_open(&d, HEARTH_WEIGHTS_STREAMED);
    hearth_adapter *a = run_order(&d, 1, (size_t)1 << 30, &loss[0], &layer);
    hearth_adapter *b = run_order(&d, 1, 0, &loss[1], &micro);
    d.c.weights = HEARTH_WEIGHTS_MAPPED;
    hearth_adapter *same = run_order(&d, 8, 0, &loss[2], &mapped);
    assert_int_equal(layer.choice.passes, 1);
    assert_true(layer.choice.head_rows >= 8 * N_TOKENS);
    assert_int_equal(micro.choice.passes, 8);
    assert_true(micro.choice.read_bytes > 6 * layer.choice.read_bytes);
    assert_memory_equal(a->values, same->values, a->n_values * sizeof(float));
    assert_memory_equal(&loss[0], &loss[2], sizeof(loss[0]));
    assert_true(fabs(loss[0] - loss[1]) < 1e-5 * fabs(loss[0]));
    for (size_t i = 0; i < a->n_values; i++) {
        double off = (double)a->values[i] - (double)b->values[i];
        diff += off * off;
        norm += (double)b->values[i] * (double)b->values[i];
    }
    assert_true(sqrt(diff / norm) < 1e-4);
    hearth_adapter_free(a);
    hearth_adapter_free(b);
    hearth_adapter_free(same);
    deep_close(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(auto_is_mapped_while_the_file_is_within_the_budget),
        cmocka_unit_test(mapped_and_full_leave_the_file_out_of_the_budget),
        cmocka_unit_test(the_least_budget_is_that_of_streaming_with_its_window),
        cmocka_unit_test(of_streamed_plans_the_fastest_that_fits_is_taken),
        cmocka_unit_test(the_longest_record_may_need_streaming),
        cmocka_unit_test(a_planned_stream_is_what_runs),
        cmocka_unit_test(streamed_micro_batches_of_a_step_are_one_pass),
        cmocka_unit_test(a_smaller_budget_takes_a_step_in_more_passes),
        cmocka_unit_test(reading_that_takes_longer_is_what_a_plan_costs),
        cmocka_unit_test(both_orders_train_the_same_values),
    };
    return cmocka_run_group_tests_name("client/train/planner, streamed", tests,
                                       set_up, tear_down);
}

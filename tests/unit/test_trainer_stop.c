/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_trainer_stop.c - client/train/trainer.h where a step does not
 * end: a stop between layers, and streamed weights whose file fails.  Compared
 * bit for bit with runs that nothing disturbed. */
#include <fcntl.h>
#include <sys/stat.h>

#include "client/train/checkpoint.h"
#include "client/train/evaluate.h"
#include "client/train/trainer.h"
#include "tests/support/model_fixture.h"

#define N_DOCS 9

static char folder[64];
static hearth_model *model;

static int setup(void **state) {
    tiny_spec spec = {40, 16, 24, 3, 4, 2, 4, true, 0.3};
    (void)state;
    model = tiny_model(&spec, 3, folder);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    tiny_drop(model, folder);
    return 0;
}

static hearth_dataset *make_dataset(void) {
    hearth_dataset_config cfg = HEARTH_DATASET_CONFIG_INIT;
    hearth_dataset *ds = NULL;
    assert_ok(hearth_dataset_new(&ds, &cfg, NULL, NULL));
    for (int32_t k = 0; k < N_DOCS; k++) {
        int32_t token[16], label[16], n = 6 + k;
        for (int32_t i = 0; i < n; i++) token[i] = 3 + (5 * i + k % 3) % 30;
        for (int32_t i = 0; i < n; i++)
            label[i] = i + 1 < n && i > 1 ? token[i + 1] : -1;
        assert_ok(hearth_dataset_add_tokens(ds, token, label, (size_t)n, NULL));
    }
    return ds;
}

/* A run, and what it is compared by. */
typedef struct {
    hearth_dataset *ds;
    hearth_adapter *adapter;
    hearth_pool *pool;
    hearth_trainer *t;
} rig;

static void rig_open(rig *r, bool streamed, size_t threads) {
    hearth_train_config c = HEARTH_TRAIN_CONFIG_INIT;
    hearth_lora_spec spec = {2, 4.0f, HEARTH_TARGETS_LINEAR, 0, 0, false};
    c.steps = 4;
    c.batch = 3;
    c.accum = 2;
    c.lr = 2e-2;
    c.dropout = 0.2;
    c.weights = streamed ? HEARTH_WEIGHTS_STREAMED : HEARTH_WEIGHTS_MAPPED;
    r->ds = make_dataset();
    r->adapter = tiny_adapter(model, &spec, 4);
    r->pool = NULL;
    assert_ok(hearth_pool_open(&r->pool, threads, NULL, NULL));
    assert_ok(hearth_trainer_open(&r->t, model, r->adapter, r->ds, &c, r->pool,
                                  NULL, NULL));
}

static void rig_close(rig *r) {
    hearth_trainer_close(r->t);
    hearth_pool_close(r->pool);
    hearth_adapter_free(r->adapter);
    hearth_dataset_free(r->ds);
}

static hearth_status tick_to(rig *r, uint64_t step, hearth_error *err) {
    hearth_train_event ev = {0};
    hearth_status st = HEARTH_OK;
    uint64_t done, tokens;
    hearth_trainer_progress(r->t, &done, &tokens);
    while (st == HEARTH_OK && done < step) {
        st = hearth_trainer_tick(r->t, &ev, err);
        done = ev.step;
    }
    return st;
}

/* Everything a run is: values, moments, counters. */
static void snapshot(const rig *r, hearth_buf *out) {
    char path[128];
    (void)snprintf(path, sizeof(path), "%.63s/checkpoint.bin", folder);
    assert_ok(hearth_checkpoint_save(r->t, path, NULL));
    out->n = 0;
    assert_ok(hearth_file_read(out, path, 1 << 20, NULL));
}

static void same(const hearth_buf *a, const hearth_buf *b) {
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->v, b->v, a->n);
}

typedef struct {
    int asked, stop_at;
} gate_count;

static bool count_gate(void *ud) {
    gate_count *g = ud;
    return ++g->asked != g->stop_at;
}

static void stop_within_a_layer_leaves_no_trace(void **state) {
    (void)state;
    for (int streamed = 0; streamed < 2; streamed++) {
        rig calm, r;
        hearth_buf want = HEARTH_BUF_INIT(NULL), got = HEARTH_BUF_INIT(NULL);
        rig_open(&calm, false, 1);
        rig_open(&r, streamed, 2);
        /* at the first layer, in the second micro-batch, at the last one */
        static const int stops[] = {1, 4, 7, 9, 14};
        for (uint64_t step = 0; step < 4; step++) {
            gate_count g = {0, 0};
            hearth_error err = {HEARTH_OK, ""};
            snapshot(&calm, &want);
            hearth_trainer_set_gate(r.t, count_gate, &g);
            for (size_t k = 0; k < 5; k++) {
                g = (gate_count){0, stops[k]};
                assert_int_equal(tick_to(&r, step + 1, &err),
                                 HEARTH_ECANCELLED);
                assert_int_equal(g.asked, stops[k]);
                snapshot(&r, &got); /* and not in the middle of a step */
                same(&got, &want);
            }
            hearth_trainer_set_gate(r.t, NULL, NULL);
            assert_ok(tick_to(&r, step + 1, NULL));
            assert_ok(tick_to(&calm, step + 1, NULL));
        }
        snapshot(&calm, &want);
        snapshot(&r, &got);
        same(&got, &want);
        hearth_buf_free(&want);
        hearth_buf_free(&got);
        rig_close(&r);
        rig_close(&calm);
    }
}

static void dropped_step_begins_again(void **state) {
    rig calm, r;
    hearth_train_event ev;
    hearth_buf want = HEARTH_BUF_INIT(NULL), got = HEARTH_BUF_INIT(NULL);
    (void)state;
    rig_open(&calm, false, 1);
    rig_open(&r, false, 1);
    hearth_trainer_drop_step(r.t); /* none: nothing happens */
    assert_ok(hearth_trainer_tick(r.t, &ev, NULL));
    assert_int_equal(ev.kind, HEARTH_TRAIN_MICRO);
    hearth_trainer_drop_step(r.t);
    hearth_trainer_drop_step(r.t);
    snapshot(&calm, &want);
    snapshot(&r, &got);
    same(&got, &want);
    assert_ok(tick_to(&r, 4, NULL));
    assert_ok(tick_to(&calm, 4, NULL));
    snapshot(&calm, &want);
    snapshot(&r, &got);
    same(&got, &want);
    hearth_buf_free(&want);
    hearth_buf_free(&got);
    rig_close(&r);
    rig_close(&calm);
}

static void streamed_run_gives_the_bytes_of_mapped(void **state) {
    rig calm;
    hearth_buf want = HEARTH_BUF_INIT(NULL), got = HEARTH_BUF_INIT(NULL);
    (void)state;
    rig_open(&calm, false, 1);
    assert_ok(tick_to(&calm, 4, NULL));
    snapshot(&calm, &want);
    assert_int_equal(hearth_trainer_bytes_read(calm.t), 0);
    for (size_t threads = 1; threads < 4; threads++) {
        rig r;
        rig_open(&r, true, threads);
        assert_ok(tick_to(&r, 4, NULL));
        snapshot(&r, &got);
        same(&got, &want);
        assert_true(hearth_trainer_bytes_read(r.t) > 0);
        rig_close(&r);
    }
    hearth_buf_free(&want);
    hearth_buf_free(&got);
    rig_close(&calm);
}

static void changed_file_drops_the_step_only(void **state) {
    rig calm, r;
    char path[128];
    struct stat sb;
    hearth_error err = {HEARTH_OK, ""};
    hearth_buf want = HEARTH_BUF_INIT(NULL), got = HEARTH_BUF_INIT(NULL);
    (void)state;
    (void)snprintf(path, sizeof(path), "%.63s/model.safetensors", folder);
    rig_open(&calm, false, 1);
    rig_open(&r, true, 1);
    assert_ok(tick_to(&r, 2, NULL));
    assert_ok(tick_to(&calm, 2, NULL));
    snapshot(&calm, &want);
    assert_int_equal(stat(path, &sb), 0);
    struct timespec was[2] = {sb.st_atim, sb.st_mtim};
    struct timespec now[2] = {sb.st_atim, {sb.st_mtim.tv_sec - 5, 0}};
    assert_int_equal(utimensat(AT_FDCWD, path, now, 0), 0);
    assert_int_equal(tick_to(&r, 4, &err), HEARTH_EMISMATCH);
    assert_non_null(strstr(err.text, "changed while it was read"));
    snapshot(&r, &got);
    same(&got, &want);
    assert_int_equal(utimensat(AT_FDCWD, path, was, 0), 0);
    assert_ok(tick_to(&r, 4, NULL));
    assert_ok(tick_to(&calm, 4, NULL));
    snapshot(&calm, &want);
    snapshot(&r, &got);
    same(&got, &want);
    hearth_buf_free(&want);
    hearth_buf_free(&got);
    rig_close(&r);
    rig_close(&calm);
}

static size_t item_bytes(const hearth_memplan *p, const char *name) {
    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->item[i].name, name) == 0) return p->item[i].bytes;
    return 0;
}

static void plan_names_the_buffer_and_the_window(void **state) {
    hearth_memplan mapped, streamed;
    hearth_train_config c = HEARTH_TRAIN_CONFIG_INIT;
    hearth_lora_spec spec = {2, 4.0f, HEARTH_TARGETS_LINEAR, 0, 0, false};
    hearth_adapter *a = tiny_adapter(model, &spec, 4);
    hearth_error err = {HEARTH_OK, ""};
    (void)state;
    c.seq = 16;
    assert_ok(hearth_trainer_plan_sizes(&mapped, model, a, 5, &c, NULL, NULL));
    c.weights = HEARTH_WEIGHTS_STREAMED;
    assert_ok(
        hearth_trainer_plan_sizes(&streamed, model, a, 5, &c, NULL, NULL));
    size_t buffer = item_bytes(&streamed, "stream buffer");
    assert_int_equal(buffer, hearth_weight_stream_bytes(model, 1));
    assert_int_equal(streamed.private_bytes - mapped.private_bytes, buffer);
    assert_int_equal(item_bytes(&mapped, "stream buffer"), 0);
    assert_int_equal(item_bytes(&streamed, "window of the file"),
                     hearth_weight_stream_window(model, 1));
    c.mode = HEARTH_TRAIN_FULL;
    assert_int_equal(
        hearth_trainer_plan_sizes(&streamed, model, NULL, 5, &c, NULL, &err),
        HEARTH_EUNSUPPORTED);
    hearth_adapter_free(a);
}

static void streamed_evaluation_gives_the_numbers_of_mapped(void **state) {
    hearth_eval_result a, b;
    hearth_evaluate_options opt = {.batch = 2};
    hearth_dataset *ds = make_dataset();
    (void)state;
    assert_ok(hearth_evaluate(model, NULL, ds, &opt, NULL, &a, NULL, NULL));
    opt.streamed = true;
    assert_ok(hearth_evaluate(model, NULL, ds, &opt, NULL, &b, NULL, NULL));
    assert_memory_equal(&a, &b, sizeof(a));
    hearth_dataset_free(ds);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stop_within_a_layer_leaves_no_trace),
        cmocka_unit_test(dropped_step_begins_again),
        cmocka_unit_test(streamed_run_gives_the_bytes_of_mapped),
        cmocka_unit_test(changed_file_drops_the_step_only),
        cmocka_unit_test(plan_names_the_buffer_and_the_window),
        cmocka_unit_test(streamed_evaluation_gives_the_numbers_of_mapped),
    };
    return cmocka_run_group_tests_name("client/train/trainer", tests, setup,
                                       teardown);
}

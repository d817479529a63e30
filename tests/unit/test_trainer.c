/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_trainer.c - client/train/trainer.h, evaluate.h,
 * checkpoint.h, on a tiny model with random weights. */
#include <math.h>

#include "client/train/checkpoint.h"
#include "client/train/evaluate.h"
#include "client/train/trainer.h"
#include "common/file.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/fail_alloc.h"

#define N_DOCS 9

static const char CONFIG[] =
    "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\","
    "\"hidden_act\":\"silu\",\"hidden_size\":16,\"intermediate_size\":24,"
    "\"num_hidden_layers\":2,\"num_attention_heads\":4,"
    "\"num_key_value_heads\":2,\"head_dim\":4,\"max_position_embeddings\":64,"
    "\"rms_norm_eps\":1e-05,\"rope_theta\":10000.0,"
    "\"tie_word_embeddings\":true,\"vocab_size\":40,\"bos_token_id\":1,"
    "\"eos_token_id\":2,\"initializer_range\":0.3,\"torch_dtype\":\"float32\"}";

static char folder[64], model_dir[128];
static hearth_model *model;

static int setup(void **state) {
    char config[128];
    (void)state;
    if (!hearth_test_dir(folder)) return 1;
    snprintf(config, sizeof(config), "%s/config.json", folder);
    snprintf(model_dir, sizeof(model_dir), "%s/model", folder);
    if (hearth_file_write(config, CONFIG, strlen(CONFIG), 0644, NULL) != 0 ||
        hearth_model_create(config, NULL, 3, model_dir, NULL, NULL) != 0)
        return 1;
    return hearth_model_open(&model, model_dir, NULL, NULL) == HEARTH_OK ? 0
                                                                         : 1;
}

static int teardown(void **state) {
    (void)state;
    hearth_model_close(model);
    return hearth_file_remove_tree(folder, NULL) == HEARTH_OK ? 0 : 1;
}

/* Made-up records of 6 to 14 tokens with a pattern that can be learnt. */
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

static hearth_adapter *make_adapter(bool freeze_a) {
    hearth_lora_spec spec = {2, 4.0f, HEARTH_TARGETS_LINEAR, 0, 0, freeze_a};
    uint8_t seed[32] = {1};
    size_t n = 0;
    hearth_adapter *a = NULL;
    const hearth_module_info *m = hearth_model_modules(model, &n);
    assert_ok(hearth_adapter_new(&a, &spec, m, n, NULL, NULL));
    assert_ok(hearth_adapter_init_a_from_seed(a, seed));
    return a;
}

static hearth_train_config settings(void) {
    hearth_train_config c = HEARTH_TRAIN_CONFIG_INIT;
    c.steps = 6;
    c.batch = 3;
    c.accum = 2;
    c.lr = 2e-2;
    c.schedule = HEARTH_SCHEDULE_LINEAR;
    return c;
}

/* Ticks until done or failure; the last loss goes to *loss. */
static hearth_status finish(hearth_trainer *t, double *loss,
                            hearth_error *err) {
    hearth_train_event ev = {0};
    hearth_status st;
    do {
        st = hearth_trainer_tick(t, &ev, err);
        if (st == HEARTH_OK && ev.kind != HEARTH_TRAIN_MICRO) *loss = ev.loss;
    } while (st == HEARTH_OK && ev.kind != HEARTH_TRAIN_DONE);
    return st;
}

/* A whole run; the trained adapter. */
static hearth_adapter *train(const hearth_train_config *c, size_t threads,
                             double *loss) {
    hearth_pool *pool = NULL;
    hearth_trainer *t = NULL;
    hearth_dataset *ds = make_dataset();
    hearth_adapter *a = make_adapter(false);
    assert_ok(hearth_pool_open(&pool, threads, NULL, NULL));
    assert_ok(hearth_trainer_open(&t, model, a, ds, c, pool, NULL, NULL));
    assert_ok(finish(t, loss, NULL));
    hearth_trainer_close(t);
    hearth_dataset_free(ds);
    hearth_pool_close(pool);
    return a;
}

static double difference(const hearth_adapter *a, const hearth_adapter *b) {
    double d = 0, n = 0;
    for (size_t i = 0; i < a->n_values; i++) {
        double x = (double)a->values[i], y = (double)b->values[i];
        d += (x - y) * (x - y);
        n += x * x;
    }
    return sqrt(d / n);
}

static void trainer_same_bytes_for_any_threads(void **state) {
    (void)state;
    const size_t threads[] = {1, 2, 3, 7};
    for (int reference = 0; reference < 2; reference++) {
        hearth_train_config c = settings();
        double loss = 0, first = 0;
        c.dropout = 0.2;
        c.reference_kernels = reference;
        hearth_adapter *want = train(&c, threads[0], &first);
        for (int k = 1; k < 4; k++) {
            hearth_adapter *got = train(&c, threads[k], &loss);
            assert_memory_equal(want->values, got->values,
                                want->n_values * sizeof(float));
            assert_memory_equal(&first, &loss, sizeof(loss));
            hearth_adapter_free(got);
        }
        hearth_adapter_free(want);
    }
}

static void trainer_learns(void **state) {
    (void)state;
    hearth_train_config c = settings();
    double loss = 0;
    hearth_eval_result before, after;
    hearth_dataset *ds = make_dataset();
    assert_ok(
        hearth_evaluate(model, NULL, ds, NULL, NULL, &before, NULL, NULL));
    c.steps = 40;
    hearth_adapter *a = train(&c, 2, &loss);
    assert_ok(hearth_evaluate(model, a, ds, NULL, NULL, &after, NULL, NULL));
    assert_true(after.loss < before.loss - 1.0);
    assert_true(after.token_accuracy > before.token_accuracy);
    assert_int_equal(after.records, N_DOCS);
    assert_false(a->has_a_seed);
    hearth_adapter_free(a);
    hearth_dataset_free(ds);
}

/* Packing and accumulation only regroup the same sums. */
static void trainer_packing_and_accumulation_change_nothing(void **state) {
    (void)state;
    hearth_train_config c = settings(), d = settings();
    double x = 0, y = 0;
    hearth_adapter *want = train(&c, 1, &x);
    d.pack = false;
    hearth_adapter *got = train(&d, 1, &y);
    assert_true(difference(want, got) < 1e-4 && fabs(x - y) < 1e-5);
    hearth_adapter_free(got);
    d = settings();
    d.batch = 6;
    d.accum = 1;
    got = train(&d, 1, &y);
    assert_true(difference(want, got) < 1e-4 && fabs(x - y) < 1e-5);
    hearth_adapter_free(got);
    hearth_adapter_free(want);
}

static void trainer_freezes_a(void **state) {
    (void)state;
    hearth_train_config c = settings();
    hearth_trainer *t = NULL;
    double loss = 0;
    hearth_dataset *ds = make_dataset();
    hearth_adapter *a = make_adapter(true), *fresh = make_adapter(true);
    assert_ok(hearth_trainer_open(&t, model, a, ds, &c, NULL, NULL, NULL));
    assert_ok(finish(t, &loss, NULL));
    for (size_t i = 0; i < a->n_pairs; i++) {
        hearth_adapter_pair *p = &a->pair[i], *q = &fresh->pair[i];
        assert_memory_equal(p->a, q->a, p->rank * p->in * sizeof(float));
        assert_memory_not_equal(p->b, q->b, p->rank * p->out * sizeof(float));
    }
    assert_true(a->has_a_seed);
    hearth_trainer_close(t);
    hearth_adapter_free(a);
    hearth_adapter_free(fresh);
    hearth_dataset_free(ds);
}

static void trainer_counts_the_last_short_step(void **state) {
    (void)state;
    hearth_train_config c = settings();
    hearth_trainer *t = NULL;
    hearth_train_event ev = {0};
    hearth_dataset *ds = make_dataset();
    hearth_adapter *a = make_adapter(false);
    c.steps = 0;
    c.epochs = 1.0;
    c.batch = 2;
    c.accum = 2; /* 9 records: 4, 4, 1 */
    assert_ok(hearth_trainer_open(&t, model, a, ds, &c, NULL, NULL, NULL));
    uint64_t micros = 0, records = 0;
    do {
        assert_ok(hearth_trainer_tick(t, &ev, NULL));
        micros++;
        if (ev.kind != HEARTH_TRAIN_MICRO) records += ev.records;
    } while (ev.kind != HEARTH_TRAIN_DONE);
    assert_int_equal(ev.steps, 3);
    assert_int_equal(ev.records, 1);
    assert_int_equal(records, N_DOCS);
    assert_int_equal(micros, 5);
    assert_int_equal(hearth_trainer_tick(t, &ev, NULL), HEARTH_ESTATE);
    hearth_trainer_close(t);
    hearth_adapter_free(a);
    hearth_dataset_free(ds);
}

static void trainer_refuses_a_small_budget_with_numbers(void **state) {
    (void)state;
    hearth_train_config c = settings();
    hearth_trainer *t = NULL;
    hearth_memplan plan;
    hearth_error err;
    hearth_fail_alloc fa;
    hearth_alloc al = hearth_fail_alloc_init(&fa, 0);
    hearth_dataset *ds = make_dataset();
    hearth_adapter *a = make_adapter(false);
    assert_ok(hearth_trainer_plan(&plan, model, a, ds, &c, NULL, &err));
    c.memory_budget = plan.private_bytes;
    assert_ok(hearth_trainer_plan(&plan, model, a, ds, &c, NULL, &err));
    c.memory_budget = 1 << 20;
    assert_int_equal(hearth_trainer_open(&t, model, a, ds, &c, NULL, &al, &err),
                     HEARTH_ETOOBIG);
    assert_null(t);
    assert_int_equal(fa.calls, 0);
    assert_non_null(strstr(err.text, "MiB"));
    hearth_adapter_free(a);
    hearth_dataset_free(ds);
}

static void trainer_refuses_wrong_arguments(void **state) {
    (void)state;
    hearth_train_config c = settings();
    hearth_dataset_config dc = HEARTH_DATASET_CONFIG_INIT;
    hearth_trainer *t = NULL;
    hearth_dataset *ds = make_dataset(), *empty = NULL;
    hearth_adapter *a = make_adapter(false);
    assert_ok(hearth_dataset_new(&empty, &dc, NULL, NULL));
    assert_int_equal(
        hearth_trainer_open(&t, model, a, empty, &c, NULL, NULL, NULL),
        HEARTH_EINVAL);
    assert_int_equal(
        hearth_trainer_open(&t, model, NULL, ds, &c, NULL, NULL, NULL),
        HEARTH_EINVAL);
    c.warmup = 7;
    assert_int_equal(
        hearth_trainer_open(&t, model, a, ds, &c, NULL, NULL, NULL),
        HEARTH_EINVAL);
    c.warmup = 0;
    c.mode = HEARTH_TRAIN_FULL;
    assert_int_equal(
        hearth_trainer_open(&t, model, a, ds, &c, NULL, NULL, NULL),
        HEARTH_EINVAL);
    assert_null(t);
    hearth_adapter_free(a);
    hearth_dataset_free(ds);
    hearth_dataset_free(empty);
}

static void trainer_survives_refused_memory(void **state) {
    (void)state;
    hearth_train_config c = settings();
    hearth_dataset *ds = make_dataset();
    for (size_t k = 1;; k++) {
        hearth_fail_alloc fa;
        hearth_alloc al = hearth_fail_alloc_init(&fa, k);
        hearth_trainer *t = NULL;
        hearth_adapter *a = make_adapter(false);
        hearth_status st =
            hearth_trainer_open(&t, model, a, ds, &c, NULL, &al, NULL);
        size_t opened = fa.calls;
        double loss;
        if (st == HEARTH_OK) assert_ok(finish(t, &loss, NULL));
        assert_int_equal(fa.calls, opened); /* a tick allocates nothing */
        hearth_trainer_close(t);
        hearth_adapter_free(a);
        assert_int_equal(fa.live, 0);
        if (st == HEARTH_OK) break;
        assert_int_equal(st, HEARTH_ENOMEM);
    }
    hearth_dataset_free(ds);
}

static void trainer_stops_at_a_nan_before_the_values(void **state) {
    (void)state;
    hearth_train_config c = settings();
    hearth_trainer *t = NULL;
    hearth_train_event ev;
    hearth_error err;
    hearth_dataset *ds = make_dataset();
    hearth_adapter *a = make_adapter(false), *before = NULL;
    a->pair[3].b[0] = NAN;
    assert_ok(hearth_adapter_clone(&before, a, NULL, NULL));
    assert_ok(hearth_trainer_open(&t, model, a, ds, &c, NULL, NULL, &err));
    assert_int_equal(hearth_trainer_tick(t, &ev, &err), HEARTH_ENONFINITE);
    assert_non_null(strstr(err.text, "step 1, record "));
    assert_memory_equal(before->values, a->values, a->n_values * sizeof(float));
    assert_int_equal(hearth_trainer_tick(t, &ev, &err), HEARTH_ENONFINITE);
    assert_non_null(strstr(err.text, "training stopped"));
    hearth_trainer_close(t);
    hearth_adapter_free(a);
    hearth_adapter_free(before);
    hearth_dataset_free(ds);
}

/* The loss is fine, B being zero, but the gradient of B overflows. */
static void trainer_stops_at_a_gradient_that_overflows(void **state) {
    (void)state;
    hearth_train_config c = settings();
    hearth_trainer *t = NULL;
    hearth_train_event ev;
    hearth_error err;
    hearth_dataset *ds = make_dataset();
    hearth_adapter *a = make_adapter(true);
    c.accum = 1;
    for (size_t i = 0; i < a->n_pairs; i++) {
        hearth_adapter_pair *p = &a->pair[i];
        p->alpha = 1e6f;
        for (size_t k = 0; k < (size_t)p->rank * p->in; k++) p->a[k] *= 1e37f;
    }
    assert_ok(hearth_trainer_open(&t, model, a, ds, &c, NULL, NULL, &err));
    assert_int_equal(hearth_trainer_tick(t, &ev, &err), HEARTH_ENONFINITE);
    assert_non_null(strstr(err.text, "the gradient"));
    assert_true(a->pair[0].b[0] == 0.0f);
    hearth_trainer_close(t);
    hearth_adapter_free(a);
    hearth_dataset_free(ds);
}

static void trainer_loss_is_the_mean_over_supervised_tokens(void **state) {
    (void)state;
    hearth_train_config c = settings();
    hearth_trainer *t = NULL;
    hearth_train_event ev;
    hearth_eval_result r;
    hearth_dataset *ds = make_dataset();
    hearth_adapter *a = make_adapter(false);
    c.batch = N_DOCS;
    c.accum = 1;
    assert_ok(hearth_evaluate(model, a, ds, NULL, NULL, &r, NULL, NULL));
    assert_ok(hearth_trainer_open(&t, model, a, ds, &c, NULL, NULL, NULL));
    assert_ok(hearth_trainer_tick(t, &ev, NULL));
    assert_true(fabs(ev.loss - r.loss) < 1e-5);
    assert_int_equal(ev.supervised, r.tokens);
    hearth_trainer_close(t);
    hearth_adapter_free(a);
    hearth_dataset_free(ds);
}

static void trainer_full_mode_saves_a_model_that_learnt(void **state) {
    (void)state;
    hearth_train_config c = settings();
    hearth_trainer *t = NULL;
    hearth_model *trained = NULL;
    hearth_eval_result inside, outside;
    char out[128];
    double loss = 0;
    hearth_dataset *ds = make_dataset();
    c.mode = HEARTH_TRAIN_FULL;
    c.steps = 20;
    c.eval_tokens = 14;
    assert_ok(hearth_trainer_open(&t, model, NULL, ds, &c, NULL, NULL, NULL));
    assert_ok(finish(t, &loss, NULL));
    assert_ok(hearth_trainer_evaluate(t, ds, NULL, &inside, NULL));
    snprintf(out, sizeof(out), "%s/full", folder);
    assert_ok(hearth_trainer_save_model(t, out, NULL));
    hearth_trainer_close(t);
    assert_ok(hearth_model_open(&trained, out, NULL, NULL));
    assert_ok(
        hearth_evaluate(trained, NULL, ds, NULL, NULL, &outside, NULL, NULL));
    assert_true(fabs(inside.loss - outside.loss) < 1e-5);
    assert_true(outside.loss < 1.5);
    hearth_model_close(trained);
    hearth_dataset_free(ds);
}

/* ---- evaluation ---- */

static void evaluate_does_not_depend_on_the_batch(void **state) {
    (void)state;
    hearth_dataset *ds = make_dataset();
    hearth_adapter *a = make_adapter(false);
    hearth_eval_result r[3];
    const size_t batch[] = {1, 4, 100};
    for (size_t i = 0; i < a->n_values; i++)
        a->values[i] = 0.05f * (float)((int)(i % 7) - 3);
    for (int i = 0; i < 3; i++) {
        hearth_evaluate_options o = {.batch = batch[i]};
        assert_ok(hearth_evaluate(model, a, ds, &o, NULL, &r[i], NULL, NULL));
        assert_true(fabs(r[i].loss - r[0].loss) < 1e-6);
        assert_int_equal(r[i].tokens, r[0].tokens);
        assert_int_equal(r[i].hits, r[0].hits);
    }
    assert_true(fabs(r[0].perplexity - exp(r[0].loss)) < 1e-9);
    hearth_adapter_free(a);
    hearth_dataset_free(ds);
}

static bool say_stop(void *ud) {
    (void)ud;
    return true;
}

static void evaluate_refuses(void **state) {
    (void)state;
    hearth_dataset_config dc = HEARTH_DATASET_CONFIG_INIT;
    hearth_dataset *ds = make_dataset(), *mute = NULL;
    hearth_adapter *a = make_adapter(false);
    hearth_eval_result r;
    hearth_error err;
    hearth_evaluate_options stop = {.stop = say_stop};
    int32_t token[2] = {3, 4}, label[2] = {-1, -1};
    assert_ok(hearth_dataset_new(&mute, &dc, NULL, NULL));
    assert_int_equal(
        hearth_evaluate(model, NULL, mute, NULL, NULL, &r, NULL, &err),
        HEARTH_EINVAL);
    assert_ok(hearth_dataset_add_tokens(mute, token, label, 2, NULL));
    assert_int_equal(
        hearth_evaluate(model, NULL, mute, NULL, NULL, &r, NULL, &err),
        HEARTH_EINVAL);
    assert_int_equal(
        hearth_evaluate(model, NULL, ds, &stop, NULL, &r, NULL, &err),
        HEARTH_ECANCELLED);
    a->values[0] = a->pair[0].b[0] = INFINITY;
    assert_int_equal(hearth_evaluate(model, a, ds, NULL, NULL, &r, NULL, &err),
                     HEARTH_ENONFINITE);
    assert_int_equal(r.tokens, 0);
    for (size_t k = 1;; k++) {
        hearth_fail_alloc fa;
        hearth_alloc al = hearth_fail_alloc_init(&fa, k);
        hearth_status st =
            hearth_evaluate(model, NULL, ds, NULL, NULL, &r, &al, NULL);
        assert_int_equal(fa.live, 0);
        if (st == HEARTH_OK) break;
        assert_int_equal(st, HEARTH_ENOMEM);
    }
    hearth_adapter_free(a);
    hearth_dataset_free(ds);
    hearth_dataset_free(mute);
}

/* ---- checkpoints ---- */

/* A run stopped after `stop` steps and resumed from its file. */
static hearth_adapter *train_in_two(const hearth_train_config *c, int stop,
                                    const char *path) {
    hearth_dataset *ds = make_dataset();
    hearth_adapter *a = make_adapter(false);
    hearth_trainer *t = NULL;
    hearth_train_event ev;
    double loss;
    uint64_t steps, tokens;
    assert_ok(hearth_trainer_open(&t, model, a, ds, c, NULL, NULL, NULL));
    for (int s = 0; s < stop; s++) do
            assert_ok(hearth_trainer_tick(t, &ev, NULL));
        while (ev.kind == HEARTH_TRAIN_MICRO);
    assert_ok(hearth_checkpoint_save(t, path, NULL));
    hearth_trainer_close(t);
    hearth_adapter_free(a);
    a = make_adapter(false);
    assert_ok(hearth_trainer_open(&t, model, a, ds, c, NULL, NULL, NULL));
    assert_ok(hearth_checkpoint_load(t, path, NULL));
    hearth_trainer_progress(t, &steps, &tokens);
    assert_int_equal(steps, stop);
    assert_ok(finish(t, &loss, NULL));
    hearth_trainer_close(t);
    hearth_dataset_free(ds);
    return a;
}

static void checkpoint_resumes_bit_for_bit(void **state) {
    (void)state;
    hearth_train_config c = settings();
    char path[128];
    double loss = 0;
    c.dropout = 0.1;
    snprintf(path, sizeof(path), "%s/checkpoint.bin", folder);
    hearth_adapter *want = train(&c, 1, &loss);
    for (int stop = 0; stop < 6; stop += 2) {
        hearth_adapter *got = train_in_two(&c, stop, path);
        assert_memory_equal(want->values, got->values,
                            want->n_values * sizeof(float));
        hearth_adapter_free(got);
    }
    hearth_adapter_free(want);
}

/* The file with one byte changed, or cut, and what loading it says. */
static hearth_status load_changed(hearth_trainer *t, const char *path,
                                  size_t at, int flip, size_t keep) {
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    char changed[160];
    assert_ok(hearth_file_read(&b, path, 1 << 20, NULL));
    snprintf(changed, sizeof(changed), "%s.changed", path);
    b.v[at] = (unsigned char)(b.v[at] ^ flip);
    assert_ok(hearth_file_write(changed, b.v, keep ? keep : b.n, 0600, NULL));
    hearth_buf_free(&b);
    return hearth_checkpoint_load(t, changed, NULL);
}

static void checkpoint_refuses_what_does_not_fit(void **state) {
    (void)state;
    hearth_train_config c = settings();
    char path[128];
    hearth_trainer *t = NULL;
    hearth_train_event ev;
    hearth_error err;
    hearth_dataset *ds = make_dataset();
    hearth_adapter *a = make_adapter(false);
    snprintf(path, sizeof(path), "%s/refuse.bin", folder);
    assert_ok(hearth_trainer_open(&t, model, a, ds, &c, NULL, NULL, NULL));
    assert_int_equal(hearth_checkpoint_load(t, path, NULL), HEARTH_ENOTFOUND);
    assert_ok(hearth_checkpoint_save(t, path, NULL));
    assert_int_equal(load_changed(t, path, 0, 1, 0), HEARTH_EFORMAT);
    assert_int_equal(load_changed(t, path, 0, 0, 40), HEARTH_EFORMAT);
    assert_int_equal(load_changed(t, path, 8, 1, 0), HEARTH_EVERSION);
    assert_int_equal(load_changed(t, path, 100, 1, 0), HEARTH_EDIGEST);
    assert_int_equal(load_changed(t, path, 0, 0, 400), HEARTH_EDIGEST);
    assert_ok(hearth_trainer_tick(t, &ev, NULL));
    assert_int_equal(hearth_checkpoint_load(t, path, NULL), HEARTH_ESTATE);
    assert_int_equal(hearth_checkpoint_save(t, path, NULL), HEARTH_ESTATE);
    hearth_trainer_close(t);
    c.lr *= 2; /* another run */
    assert_ok(hearth_trainer_open(&t, model, a, ds, &c, NULL, NULL, NULL));
    assert_int_equal(hearth_checkpoint_load(t, path, &err), HEARTH_EMISMATCH);
    hearth_trainer_close(t);
    c = settings();
    int32_t token[2] = {3, 4}, label[2] = {4, -1}; /* other records */
    assert_ok(hearth_dataset_add_tokens(ds, token, label, 2, NULL));
    assert_ok(hearth_trainer_open(&t, model, a, ds, &c, NULL, NULL, NULL));
    assert_int_equal(hearth_checkpoint_load(t, path, &err), HEARTH_EMISMATCH);
    hearth_trainer_close(t);
    hearth_adapter_free(a);
    hearth_dataset_free(ds);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trainer_same_bytes_for_any_threads),
        cmocka_unit_test(trainer_learns),
        cmocka_unit_test(trainer_packing_and_accumulation_change_nothing),
        cmocka_unit_test(trainer_freezes_a),
        cmocka_unit_test(trainer_counts_the_last_short_step),
        cmocka_unit_test(trainer_refuses_a_small_budget_with_numbers),
        cmocka_unit_test(trainer_refuses_wrong_arguments),
        cmocka_unit_test(trainer_survives_refused_memory),
        cmocka_unit_test(trainer_stops_at_a_nan_before_the_values),
        cmocka_unit_test(trainer_stops_at_a_gradient_that_overflows),
        cmocka_unit_test(trainer_loss_is_the_mean_over_supervised_tokens),
        cmocka_unit_test(trainer_full_mode_saves_a_model_that_learnt),
        cmocka_unit_test(evaluate_does_not_depend_on_the_batch),
        cmocka_unit_test(evaluate_refuses),
        cmocka_unit_test(checkpoint_resumes_bit_for_bit),
        cmocka_unit_test(checkpoint_refuses_what_does_not_fit),
    };
    return cmocka_run_group_tests_name("train/trainer", tests, setup, teardown);
}

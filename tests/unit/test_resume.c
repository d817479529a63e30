/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_resume.c - client/train/checkpoint.h: a run that was stopped
 * and went on gives the bytes of one that was not, whatever the threads. */
#include "client/train/checkpoint.h"
#include "client/train/trainer.h"
#include "tests/support/model_fixture.h"

#define N_DOCS  7
#define STOPS   20 /* random moments of a run */
#define N_COUNT 4

static const size_t THREADS[N_COUNT] = {1, 2, 3, 7};

typedef struct {
    hearth_model *model;
    hearth_dataset *ds;
    char dir[64], path[128];
    hearth_train_config cfg;
    bool full; /* train every weight */
} world;

static hearth_dataset *make_dataset(void) {
    hearth_dataset_config cfg = HEARTH_DATASET_CONFIG_INIT;
    hearth_dataset *ds = NULL;
    hearth_philox_key k = hearth_philox_key_make(9, HEARTH_PHILOX_DATA);
    assert_ok(hearth_dataset_new(&ds, &cfg, NULL, NULL));
    for (uint32_t d = 0; d < N_DOCS; d++) {
        int32_t token[24], label[24], n = 5 + (int32_t)(3 * d) % 17;
        for (int32_t i = 0; i < n; i++)
            token[i] = (int32_t)hearth_philox_below(k, d, (uint64_t)i, 67u);
        for (int32_t i = 0; i < n; i++)
            label[i] = i + 1 < n && i > 1 ? token[i + 1] : -1;
        assert_ok(hearth_dataset_add_tokens(ds, token, label, (size_t)n, NULL));
    }
    return ds;
}

static void world_open(world *w, const char *config, bool full) {
    memset(w, 0, sizeof(*w));
    w->model = tiny_model_of(config, 5, w->dir);
    w->ds = make_dataset();
    w->full = full;
    (void)snprintf(w->path, sizeof(w->path), "%s/checkpoint.bin", w->dir);
    w->cfg = (hearth_train_config)HEARTH_TRAIN_CONFIG_INIT;
    w->cfg.mode = full ? HEARTH_TRAIN_FULL : HEARTH_TRAIN_LORA;
    w->cfg.steps = 7;
    w->cfg.batch = 2;
    w->cfg.accum = 2;
    w->cfg.lr = 1e-2;
    w->cfg.warmup = 2;
    w->cfg.schedule = HEARTH_SCHEDULE_COSINE;
    w->cfg.weight_decay = 0.1;
    w->cfg.dropout = full ? 0.0 : 0.1;
}

static void world_close(world *w) {
    hearth_dataset_free(w->ds);
    tiny_drop(w->model, w->dir);
}

/* One life of a process: opens everything, goes on from the checkpoint when
 * there is one, runs ticks micro-batches (0: to the end) and writes a
 * checkpoint after each step.  True: the run is complete; its last
 * checkpoint, which holds values and moments, is in `out`. */
static bool live(const world *w, size_t threads, uint64_t ticks,
                 hearth_buf *out) {
    hearth_lora_spec spec = HEARTH_LORA_SPEC_INIT;
    hearth_pool *pool = NULL;
    hearth_trainer *t = NULL;
    hearth_train_event ev = {0};
    spec.rank = 3;
    spec.targets = hearth_model_auto_targets(w->model);
    hearth_adapter *a = w->full ? NULL : tiny_adapter(w->model, &spec, 4);
    assert_ok(hearth_pool_open(&pool, threads, NULL, NULL));
    assert_ok(
        hearth_trainer_open(&t, w->model, a, w->ds, &w->cfg, pool, NULL, NULL));
    if (hearth_file_exists(w->path))
        assert_ok(hearth_checkpoint_load(t, w->path, NULL));
    for (uint64_t i = 0; !hearth_trainer_is_done(t) && (!ticks || i < ticks);
         i++) {
        assert_ok(hearth_trainer_tick(t, &ev, NULL));
        if (ev.kind != HEARTH_TRAIN_MICRO)
            assert_ok(hearth_checkpoint_save(t, w->path, NULL));
    }
    bool done = hearth_trainer_is_done(t);
    hearth_trainer_close(t);
    hearth_adapter_free(a);
    hearth_pool_close(pool);
    if (done) {
        hearth_buf_clear(out);
        assert_ok(hearth_file_read(out, w->path, 1 << 24, NULL));
        assert_ok(hearth_file_remove(w->path, NULL));
    }
    return done;
}

/* Undisturbed with each number of threads, then stopped at random moments (in
 * the middle of steps too) with the same or other numbers after each. */
static void same_bytes(world *w, uint64_t stops, uint64_t seed) {
    hearth_philox_key k = hearth_philox_key_make(seed, HEARTH_PHILOX_DATA);
    hearth_buf want = HEARTH_BUF_INIT(NULL), got = HEARTH_BUF_INIT(NULL);
    assert_true(live(w, 1, 0, &want));
    for (size_t i = 1; i < N_COUNT; i++) {
        assert_true(live(w, THREADS[i], 0, &got));
        assert_int_equal(got.n, want.n);
        assert_memory_equal(got.v, want.v, want.n);
    }
    for (uint64_t s = 0; s < stops; s++) {
        bool change = s % 2 == 1;
        size_t threads = THREADS[s / 2 % N_COUNT];
        for (uint64_t life = 0, at = s;; life++) {
            uint64_t ticks = hearth_philox_below(k, s, life, 9) + 1;
            if (life == 30) ticks = 0; /* one that never got through a step */
            if (change) threads = THREADS[at++ % N_COUNT];
            if (live(w, threads, ticks, &got)) break;
        }
        assert_int_equal(got.n, want.n);
        assert_memory_equal(got.v, want.v, want.n);
    }
    hearth_buf_free(&want);
    hearth_buf_free(&got);
}

static void lora_resumes_at_any_moment(void **state) {
    tiny_spec s = TINY_SPEC;
    char config[1024];
    world w;
    (void)state;
    (void)tiny_config(&s, config, sizeof(config));
    world_open(&w, config, false);
    same_bytes(&w, STOPS, 1);
    world_close(&w);
}

static void full_mode_resumes_too(void **state) {
    world w;
    (void)state;
    world_open(&w, tiny_family[0].config, true);
    same_bytes(&w, 4, 2);
    world_close(&w);
}

static void every_family_resumes(void **state) {
    (void)state;
    for (size_t i = 0; i < TINY_FAMILIES; i++) {
        world w;
        world_open(&w, tiny_family[i].config, false);
        w.cfg.steps = 3;
        same_bytes(&w, 2, 3 + i);
        world_close(&w);
    }
}

static void memo_comes_back(void **state) {
    tiny_spec s = TINY_SPEC;
    char config[1024];
    world w;
    (void)state;
    (void)tiny_config(&s, config, sizeof(config));
    world_open(&w, config, false);
    for (int again = 0; again < 2; again++) {
        hearth_lora_spec spec = HEARTH_LORA_SPEC_INIT;
        hearth_adapter *a = tiny_adapter(w.model, &spec, 4);
        hearth_trainer *t = NULL;
        assert_ok(hearth_trainer_open(&t, w.model, a, w.ds, &w.cfg, NULL, NULL,
                                      NULL));
        hearth_train_memo *m = hearth_trainer_memo(t);
        if (again) {
            assert_ok(hearth_checkpoint_load(t, w.path, NULL));
            assert_true(m->best_loss == 1.25 && m->has_best);
            assert_int_equal(m->bad_evals, 3);
        } else {
            assert_true(m->best_loss > 1e308 && !m->has_best);
            *m = (hearth_train_memo){1.25, 3, true};
            assert_ok(hearth_checkpoint_save(t, w.path, NULL));
        }
        hearth_trainer_close(t);
        hearth_adapter_free(a);
    }
    world_close(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lora_resumes_at_any_moment),
        cmocka_unit_test(full_mode_resumes_too),
        cmocka_unit_test(every_family_resumes),
        cmocka_unit_test(memo_comes_back),
    };
    return cmocka_run_group_tests_name("client/train/checkpoint", tests, NULL,
                                       NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_client_training.c - the installed C API while a round trains:
 * what the app says, stops and sets. */
#include "tests/support/client_kit.h"

#include <pthread.h>
#include <stdatomic.h>

#include "client/train/kernels.h"

/* An app may say how the phone is as often as it likes: training goes on. */
static void client_trains_on_while_conditions_are_said(void **state) {
    (void)state;
    world w;
    hearth_client_tick t = HEARTH_CLIENT_TICK_INIT;
    open_world(&w);
    assert_ok(join(&w));
    add_notes(&w, 40);
    say_good_conditions(&w);
    for (int i = 0; i < 120 && t.kind != HEARTH_TICK_COMMITTED; i++) {
        assert_ok(hearth_client_sync(w.c, &t, &w.err));
        hearth_virtual_clock_advance(&w.f.time, t.wait_ms);
        say_good_conditions(&w);
    }
    assert_int_equal(t.kind, HEARTH_TICK_COMMITTED);
    close_world(&w);
}

static void client_waits_while_a_person_uses_the_phone(void **state) {
    (void)state;
    world w;
    hearth_client_tick t = HEARTH_CLIENT_TICK_INIT;
    hearth_client_conditions now = HEARTH_CLIENT_CONDITIONS_INIT;
    open_world(&w);
    assert_ok(join(&w));
    add_notes(&w, 40);
    now.charging = now.unmetered = 1;
    now.battery_percent = 80;
    now.temperature_c = 20;
    for (int k = 0; k < 2; k++) {
        say_good_conditions(&w);
        if (k == 0) assert_true(until(&w, HEARTH_TICK_ACCEPTED, &t));
        now.foreground = k == 0;
        now.power_saving = k == 1;
        assert_ok(hearth_client_set_conditions(w.c, &now, &w.err));
        assert_true(until(&w, HEARTH_TICK_WAIT, &t));
        assert_true(t.wait_ms > 0);
    }
    /* an app built before these fields: as if they were 0 */
    now.struct_size = offsetof(hearth_client_conditions, foreground);
    assert_ok(hearth_client_set_conditions(w.c, &now, &w.err));
    assert_true(until(&w, HEARTH_TICK_COMMITTED, &t));
    now.struct_size--;
    assert_int_equal(hearth_client_set_conditions(w.c, &now, &w.err),
                     HEARTH_EINVAL);
    close_world(&w);
}

/* The conditions as they are, and a stop at look number stop_at. */
typedef struct {
    hearth_client *c;
    int looks, stop_at;
} stopping_source;

static hearth_status read_and_stop(void *ud, hearth_conditions *out,
                                   hearth_error *err) {
    stopping_source *s = ud;
    (void)err;
    *out = (hearth_conditions){.charging = true};
    if (++s->looks == s->stop_at) hearth_client_stop(s->c);
    return HEARTH_OK;
}

static void client_stop_ends_training_within_a_layer(void **state) {
    (void)state;
    world w;
    hearth_client_tick t = HEARTH_CLIENT_TICK_INIT;
    open_world(&w);
    assert_ok(join(&w));
    add_notes(&w, 40);
    stopping_source s = {w.c, 0, 0};
    w.c->conditions = (hearth_conditions_source){read_and_stop, &s};
    assert_true(until(&w, HEARTH_TICK_TRAIN, &t));
    hearth_client_stop(w.c); /* between two ticks: ends nothing */
    assert_ok(hearth_client_sync(w.c, &t, &w.err));
    assert_int_equal(t.kind, HEARTH_TICK_TRAIN);
    hearth_virtual_clock_advance(&w.f.time, 2000);
    s.stop_at = s.looks + 1;
    assert_ok(hearth_client_sync(w.c, &t, &w.err));
    assert_int_equal(t.kind, HEARTH_TICK_RETRY);
    assert_int_equal(t.wait_ms, 0);
    assert_non_null(strstr(t.reason, "training was stopped"));
    assert_true(until(&w, HEARTH_TICK_COMMITTED, &t));
    assert_int_equal(w.f.n_altered, 0);
    close_world(&w);
}

typedef struct {
    hearth_client *c;
    atomic_bool done;
} stopper;

static void *meddle_always(void *ud) {
    stopper *s = ud;
    hearth_client_conditions now = HEARTH_CLIENT_CONDITIONS_INIT;
    now.charging = now.unmetered = 1;
    now.battery_percent = 80;
    while (!atomic_load(&s->done)) {
        hearth_client_stop(s->c);
        assert_ok(hearth_client_set_conditions(s->c, &now, NULL));
    }
    return NULL;
}

/* Stops and conditions may come from another thread while a tick trains (run
 * under TSan); when they end, the round goes on. */
static void client_trains_while_another_thread_meddles(void **state) {
    (void)state;
    world w;
    stopper s;
    pthread_t other;
    hearth_client_tick t = HEARTH_CLIENT_TICK_INIT;
    open_world(&w);
    assert_ok(join(&w));
    add_notes(&w, 40);
    say_good_conditions(&w);
    assert_true(until(&w, HEARTH_TICK_ACCEPTED, &t));
    s.c = w.c;
    atomic_init(&s.done, false);
    assert_int_equal(pthread_create(&other, NULL, meddle_always, &s), 0);
    for (int i = 0; i < 30 && !w.f.committed; i++) {
        assert_ok(hearth_client_sync(w.c, &t, &w.err));
        hearth_virtual_clock_advance(&w.f.time, t.wait_ms);
    }
    atomic_store(&s.done, true);
    assert_int_equal(pthread_join(other, NULL), 0);
    for (int i = 0; i < 200 && !w.f.committed; i++) {
        assert_ok(hearth_client_sync(w.c, &t, &w.err));
        hearth_virtual_clock_advance(&w.f.time, t.wait_ms);
    }
    assert_true(w.f.committed);
    assert_int_equal(w.f.n_altered, 0);
    close_world(&w);
}

static void client_takes_settings_of_training(void **state) {
    (void)state;
    world w;
    hearth_client *c = NULL;
    hearth_client_config cfg = HEARTH_CLIENT_CONFIG_INIT;
    const hearth_client_config init = HEARTH_CLIENT_CONFIG_INIT;
    open_world(&w);
    assert_true(w.c->slow_down);
    assert_false(w.c->bf16);
    const struct {
        int32_t compute, energy, duty, threads;
    } bad[] = {{3, 0, 0, 0},  {-1, 0, 0, 0},  {0, 2, 0, 0}, {0, -1, 0, 0},
               {0, 0, -1, 0}, {0, 0, 101, 0}, {0, 0, 0, -1}};
    cfg.state_dir = w.dir;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        cfg.compute = bad[i].compute;
        cfg.energy = bad[i].energy;
        cfg.duty_percent = bad[i].duty;
        cfg.slow_threads = bad[i].threads;
        assert_int_equal(hearth_client_open(&c, &cfg, &w.err), HEARTH_EINVAL);
        assert_null(c);
    }
    cfg = init;
    cfg.state_dir = w.dir;
    cfg.compute = HEARTH_CLIENT_COMPUTE_BF16;
    cfg.duty_percent = 25;
    cfg.slow_threads = 3;
    assert_int_equal(hearth_client_open(&c, &cfg, &w.err),
                     hearth_kernels_bf16() ? HEARTH_OK : HEARTH_EUNSUPPORTED);
    if (c) {
        assert_true(c->bf16);
        assert_float_equal(c->duty, 0.25, 1e-9);
        assert_int_equal(c->slow_threads, 3);
    }
    hearth_client_close(c);
    /* an app built before these fields: f32, and only pauses */
    cfg.struct_size = offsetof(hearth_client_config, compute);
    assert_ok(hearth_client_open(&c, &cfg, &w.err));
    assert_false(c->bf16 || c->slow_down);
    hearth_client_close(c);
    cfg.struct_size--;
    assert_int_equal(hearth_client_open(&c, &cfg, &w.err), HEARTH_EINVAL);
    close_world(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(client_trains_on_while_conditions_are_said),
        cmocka_unit_test(client_waits_while_a_person_uses_the_phone),
        cmocka_unit_test(client_stop_ends_training_within_a_layer),
        cmocka_unit_test(client_trains_while_another_thread_meddles),
        cmocka_unit_test(client_takes_settings_of_training),
    };
    return cmocka_run_group_tests_name("client/api training", tests, NULL,
                                       NULL);
}

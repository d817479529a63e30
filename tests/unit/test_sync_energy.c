/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_sync_energy.c - how the training of a round treats its device:
 * client/net/sync.h over a fake sysfs, with memory budgets, stops and bfloat16.
 * What was trained is compared bit for bit with a run that nothing disturbed. */
#include "client/net/sync_private.h"
#include "client/train/kernels.h"
#include "common/adapter_digest.h"
#include "tests/support/fake_coord.h"
#include "tests/support/fake_sysfs.h"
#include "tests/support/pool_probe.h"

#define MANY  400u /* ticks that are always enough for one round */
#define STEPS 6u

/* A device whose conditions are files, and whose clock goes on by `pace` each
 * time that it is asked. */
typedef struct {
    fake_coord f;
    fake_device d;
    char root[64];
    hearth_conditions_source src;
    int64_t pace, mono;
    int reads, unplug_at; /* looks at the conditions; 0: never */
    int asks, stop_at;    /* at layers; 0: never */
    int asks_at_unplug;
    int64_t slept;
    int n_rests; /* after each, stop is asked once more */
    int n_slow, n_pauses, n_runs;
} world;

static hearth_status read_files(void *ud, hearth_conditions *out,
                                hearth_error *err) {
    world *w = ud;
    w->reads++;
    if (w->reads == w->unplug_at) {
        fake_sysfs_plug(w->root, false);
        w->asks_at_unplug = w->asks;
    }
    return w->src.read(w->src.ud, out, err);
}

static bool stop(void *ud) {
    world *w = ud;
    return ++w->asks == w->stop_at;
}

static void rest(void *ud, int64_t ms) {
    world *w = ud;
    w->slept += ms;
    w->n_rests++;
    w->mono += ms;
}

static void changed(void *ud, const hearth_energy_state *now) {
    world *w = ud;
    if (now->action == HEARTH_ENERGY_RUN) w->n_runs++;
    if (now->action == HEARTH_ENERGY_THROTTLE) w->n_slow++;
    if (now->action == HEARTH_ENERGY_PAUSE) w->n_pauses++;
}

static int64_t wall(void *ud) {
    return ((world *)ud)->f.time.wall_ms;
}

static int64_t mono(void *ud) {
    world *w = ud;
    return w->f.time.mono_ms + (w->mono += w->pace);
}

static void world_open(world *w, bool deep) {
    memset(w, 0, sizeof(*w));
    fake_sysfs_open(w->root);
    assert_ok(hearth_conditions_linux(&w->src, w->root, NULL));
    if (deep)
        fake_coord_open_deep(&w->f);
    else
        fake_coord_open(&w->f);
    w->f.offer.local.steps = STEPS;
}

/* A fresh device with the settings of `like`; NULL: none. */
static void device_open(world *w, const fake_device *like) {
    w->reads = w->asks = w->unplug_at = w->stop_at = 0;
    w->slept = w->n_rests = w->n_slow = w->n_pauses = w->n_runs = 0;
    fake_device_open(&w->d, &w->f, 40);
    w->d.policy.noise_to_signal_max = 1e9;
    if (like) {
        w->d.pool = like->pool;
        w->d.memory_budget = like->memory_budget;
        w->d.bf16 = like->bf16;
        w->d.base = like->base;
        w->d.energy = like->energy;
    }
    w->d.source = (hearth_conditions_source){read_files, w};
    w->d.clock = (hearth_clock){wall, mono, w};
    w->d.energy.stop = stop;
    w->d.energy.sleep = rest;
    w->d.energy.changed = changed;
    w->d.energy.ud = w;
    fake_device_restart(&w->d);
}

static void world_close(world *w) {
    fake_coord_close(&w->f);
    hearth_conditions_linux_free(&w->src);
    assert_ok(hearth_file_remove_tree(w->root, NULL));
}

static hearth_sync_event tick(world *w) {
    hearth_sync_event ev;
    hearth_error err = {HEARTH_OK, ""};
    if (hearth_sync_tick(w->d.sync, &ev, &err) != HEARTH_OK)
        fail_msg("tick: %s", err.text);
    return ev;
}

static bool is_pause(const hearth_sync_event *ev) {
    return ev->kind == HEARTH_SYNC_WAIT && ev->n_steps > 0;
}

/* A fresh device, up to where it begins to train. */
static void begin(world *w, const fake_device *like) {
    hearth_sync_event ev;
    device_open(w, like);
    assert_true(fake_device_until(&w->d, HEARTH_SYNC_TRAIN, MANY, &ev));
}

/* Train to the end, passing the time of waits and plugging in at a pause; the
 * digest of what was trained. */
static void train(world *w, uint8_t digest[32]) {
    hearth_sync_event ev;
    for (unsigned i = 0; i < MANY && w->d.sync->state != ST_PREPARE; i++) {
        ev = tick(w);
        if (ev.kind == HEARTH_SYNC_GAVE_UP) fail_msg("%s", ev.reason.text);
        if (is_pause(&ev)) fake_sysfs_plug(w->root, true);
        hearth_virtual_clock_advance(&w->f.time, ev.wait_ms);
    }
    assert_int_equal(w->d.sync->state, ST_PREPARE);
    assert_ok(hearth_adapter_values_digest(w->d.sync->adapter, HEARTH_PART_B,
                                           digest));
}

static void calm(world *w, const fake_device *like, uint8_t digest[32]) {
    device_open(w, like);
    train(w, digest);
    assert_int_equal(w->n_pauses, 0);
    fake_device_close(&w->d);
}

/* Unplug at look k, for every k of a training: it pauses within one layer, and
 * trains the same. */
static void sync_pauses_within_a_layer_and_trains_the_same(void **state) {
    (void)state;
    world w;
    uint8_t want[32], got[32];
    bool over = false;
    world_open(&w, false);
    calm(&w, NULL, want);
    int paused = 0;
    for (int k = 1; !over; k++) {
        hearth_sync_event ev = {0};
        assert_true(k < (int)MANY);
        begin(&w, NULL);
        w.pace = 1001; /* each gate looks */
        w.unplug_at = w.reads + k;
        while (w.d.sync->state == ST_TRAIN && !is_pause(&ev)) ev = tick(&w);
        over = !is_pause(&ev);
        if (!over) {
            paused++;
            assert_int_equal(w.asks, w.asks_at_unplug); /* not a layer more */
            assert_non_null(strstr(ev.reason.text, "unplugged"));
            assert_in_range(ev.wait_ms, 1, 30000);
            assert_int_equal(w.n_pauses, 1);
        }
        w.pace = 0;
        train(&w, got);
        assert_memory_equal(got, want, 32);
        assert_int_equal(w.n_runs, over ? 0 : 1);
        fake_device_close(&w.d);
    }
    assert_true(paused > (int)STEPS * 3); /* in the middle of steps, too */
    world_close(&w);
}

/* The same for stops: the tick says so, and the next one goes on. */
static void sync_stops_within_a_layer_and_trains_the_same(void **state) {
    (void)state;
    world w;
    uint8_t want[32], got[32];
    bool over = false;
    world_open(&w, false);
    calm(&w, NULL, want);
    for (int k = 1; !over; k++) {
        hearth_sync_event ev = {.kind = HEARTH_SYNC_TRAIN};
        assert_true(k < (int)MANY);
        begin(&w, NULL);
        w.stop_at = w.asks + k;
        while (w.d.sync->state == ST_TRAIN && ev.kind == HEARTH_SYNC_TRAIN)
            ev = tick(&w);
        over = ev.kind == HEARTH_SYNC_TRAIN;
        if (!over) {
            assert_int_equal(w.asks, w.stop_at); /* not a layer more */
            assert_int_equal(ev.kind, HEARTH_SYNC_RETRY);
            assert_int_equal(ev.reason.status, HEARTH_ECANCELLED);
            assert_int_equal(ev.wait_ms, 0);
        }
        train(&w, got);
        assert_memory_equal(got, want, 32);
        fake_device_close(&w.d);
    }
    world_close(&w);
}

/* Warm: half of the threads and of the time, and no flapping. */
static void sync_slows_down_when_warm(void **state) {
    (void)state;
    world w;
    uint8_t want[32], got[32];
    hearth_sync_event ev;
    fake_device like = {.energy = {.slow_down = true, .duty = 0.25}};
    world_open(&w, false);
    w.f.offer.local.steps = 40;
    assert_ok(hearth_pool_open(&like.pool, 4, NULL, NULL));
    calm(&w, &like, want);
    fake_sysfs_heat(w.root, 36); /* 40 is the policy's */
    begin(&w, &like);
    const hearth_governor *g = hearth_sync_governor(w.d.sync);
    w.pace = 2;
    w.asks = 0;
    for (int i = 0; i < 10; i++) {
        ev = tick(&w);
        assert_int_equal(ev.kind, HEARTH_SYNC_TRAIN);
        w.mono += 3600000; /* not worked */
    }
    int64_t worked = (int64_t)2 * (w.asks - w.n_rests); /* between gates */
    assert_int_equal(w.n_slow, 1);
    assert_int_equal(hearth_governor_threads(g), 2);
    int64_t rested = w.slept + 2 * w.n_rests; /* as the clock says */
    assert_in_range(rested, 3 * worked * 9 / 10, 3 * worked * 11 / 10);
    fake_sysfs_heat(w.root, 33.5); /* not cool enough */
    for (int i = 0; i < 3; i++) {
        hearth_virtual_clock_advance(&w.f.time, 6000);
        (void)tick(&w);
    }
    assert_int_equal(w.n_runs, 0);
    fake_sysfs_heat(w.root, 33);
    hearth_virtual_clock_advance(&w.f.time, 6000);
    (void)tick(&w);
    assert_int_equal(w.n_runs, 1);
    assert_int_equal(hearth_governor_threads(g), 4);
    w.pace = 0;
    train(&w, got);
    assert_memory_equal(got, want, 32);
    fake_device_close(&w.d);
    /* the pool is the app's again when the training is over */
    fake_sysfs_heat(w.root, 36);
    device_open(&w, &like);
    train(&w, got);
    assert_int_equal(pool_probe_count(like.pool), 2);
    assert_true(fake_device_until(&w.d, HEARTH_SYNC_PREPARED, 1, &ev));
    assert_int_equal(pool_probe_count(like.pool), 4);
    fake_device_close(&w.d);
    /* without it: full speed up to the threshold, where it pauses */
    like.energy.slow_down = false;
    fake_sysfs_heat(w.root, 39.9);
    calm(&w, &like, got);
    assert_int_equal(w.n_slow, 0);
    assert_memory_equal(got, want, 32);
    hearth_pool_close(like.pool);
    world_close(&w);
}

/* The device's policy holds while training, whatever energy says. */
static void sync_keeps_to_the_policy_while_training(void **state) {
    (void)state;
    static const struct {
        const char *file, *bad, *still_bad, *good, *word;
    } row[] = {
        {"power_supply/BAT0/capacity", "49\n", "54\n", "55\n", "battery low"},
        {"thermal/thermal_zone0/temp", "40000\n", "38500\n", "38000\n", "hot"},
        {"power_supply/BAT0/status", "Discharging\n", "Discharging\n", "Full\n",
         "unplugged"},
        {"power_supply/BAT0/capacity", "many\n", "some\n", "80\n", "unknown"},
    };
    world w;
    hearth_sync_event ev;
    world_open(&w, false);
    for (size_t i = 0; i < sizeof(row) / sizeof(*row); i++) {
        begin(&w, NULL);
        for (int k = 0; k < 2; k++) {
            fake_sysfs_put(w.root, row[i].file,
                           k ? row[i].still_bad : row[i].bad);
            hearth_virtual_clock_advance(&w.f.time, 6000);
            ev = tick(&w);
            assert_true(is_pause(&ev));
            assert_non_null(strstr(ev.reason.text, row[i].word));
        }
        assert_int_equal(w.n_pauses, 1);
        fake_sysfs_put(w.root, row[i].file, row[i].good);
        hearth_virtual_clock_advance(&w.f.time, 6000);
        ev = tick(&w);
        assert_int_equal(ev.kind, HEARTH_SYNC_TRAIN);
        fake_sysfs_put(w.root, "power_supply/BAT0/capacity", "80\n");
        fake_sysfs_heat(w.root, 25);
        fake_sysfs_plug(w.root, true);
        fake_device_close(&w.d);
    }
    world_close(&w);
}

/* A pause that outlasts the round ends it, and the coordinator is told. */
static void sync_gives_up_a_round_that_ended_in_a_pause(void **state) {
    (void)state;
    world w;
    hearth_sync_event ev;
    world_open(&w, false);
    begin(&w, NULL);
    fake_sysfs_plug(w.root, false);
    hearth_virtual_clock_advance(&w.f.time, 2000);
    ev = tick(&w);
    assert_true(is_pause(&ev));
    w.f.time.wall_ms = (int64_t)w.f.offer.deadline_ms;
    ev = tick(&w);
    assert_int_equal(ev.kind, HEARTH_SYNC_GAVE_UP);
    assert_null(hearth_sync_trainer(w.d.sync));
    (void)tick(&w);
    assert_int_equal(w.f.abort.reason, HEARTH_ABORT_DEADLINE);
    assert_int_equal(fake_device_charges(&w.d), 0);
    fake_device_close(&w.d);
    world_close(&w);
}

static size_t plan_of(world *w, bool *streamed) {
    hearth_sync_event ev;
    assert_true(fake_device_until(&w->d, HEARTH_SYNC_TRAIN, MANY, &ev));
    const hearth_memplan *p =
        hearth_trainer_memplan(hearth_sync_trainer(w->d.sync));
    *streamed = p->choice.streamed;
    assert_true(p->file_counts);
    size_t held = 0; /* of the participant itself */
    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->item[i].name, "held beside the run") == 0)
            held = p->item[i].bytes;
    assert_true(held > hearth_tokenizer_bytes(w->f.tokenizer));
    return hearth_memplan_bounded(p);
}

/* A model that does not fit the budget is streamed, and trains the same. */
static void sync_streams_what_does_not_fit(void **state) {
    (void)state;
    world w;
    uint8_t want[32], got[32];
    bool streamed;
    fake_device like = {.memory_budget = 0};
    hearth_sync_event ev;
    world_open(&w, true);
    w.f.offer.local.steps = 2;
    device_open(&w, NULL);
    size_t mapped = plan_of(&w, &streamed);
    assert_false(streamed);
    train(&w, want);
    fake_device_close(&w.d);
    like.memory_budget = mapped; /* just enough */
    device_open(&w, &like);
    assert_int_equal(plan_of(&w, &streamed), mapped);
    assert_false(streamed);
    fake_device_close(&w.d);
    /* less and less: layers recompute first, then it is streamed */
    size_t bounded = mapped;
    do {
        like.memory_budget = like.memory_budget / 10 * 9;
        assert_true(like.memory_budget > mapped / 16);
        device_open(&w, &like);
        bounded = plan_of(&w, &streamed);
        if (!streamed) fake_device_close(&w.d);
    } while (!streamed);
    assert_true(bounded <= like.memory_budget);
    w.stop_at = w.asks + 70; /* in the middle of a step */
    train(&w, got);
    assert_true(w.asks > w.stop_at);
    assert_true(hearth_trainer_bytes_read(hearth_sync_trainer(w.d.sync)) > 0);
    assert_memory_equal(got, want, 32);
    fake_device_close(&w.d);
    like.memory_budget = (size_t)1 << 20; /* what is held alone is more */
    device_open(&w, &like);
    assert_true(fake_device_until(&w.d, HEARTH_SYNC_GAVE_UP, MANY, &ev));
    assert_int_equal(ev.reason.status, HEARTH_ETOOBIG);
    fake_device_close(&w.d);
    world_close(&w);
}

/* Killed in the middle and begun again, bfloat16 trains the same bytes; and not
 * those of f32. */
static void sync_computes_in_bfloat16(void **state) {
    (void)state;
    world w;
    uint8_t f32[32], want[32], got[32];
    hearth_sync_event ev;
    hearth_error err = {HEARTH_OK, ""};
    fake_device like = {.bf16 = true};
    if (!hearth_kernels_bf16()) skip();
    world_open(&w, false);
    calm(&w, NULL, f32);
    calm(&w, &like, want);
    assert_memory_not_equal(f32, want, 32);
    begin(&w, &like);
    while (ev.step < STEPS / 2) ev = tick(&w);
    fake_device_restart(&w.d);
    train(&w, got);
    assert_memory_equal(got, want, 32);
    assert_true(fake_device_until(&w.d, HEARTH_SYNC_PREPARED, 2, &ev));
    fake_device_restart(&w.d);
    assert_true(fake_device_until(&w.d, HEARTH_SYNC_COMMITTED, MANY, &ev));
    assert_int_equal(w.f.n_altered, 0);
    assert_int_equal(fake_device_charges(&w.d), 1);
    hearth_sync_close(w.d.sync);
    w.d.sync = NULL;
    w.d.reference_kernels = true;
    assert_int_equal(fake_device_sync_open(&w.d, NULL, &err),
                     HEARTH_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "f32"));
    fake_device_close(&w.d);
    world_close(&w);
}

/* A round over a copy of the base; a type that the file cannot be held in is
 * refused before any round. */
static void sync_trains_on_a_copy_of_the_base(void **state) {
    (void)state;
    world w;
    uint8_t f32[32], want[32], got[32];
    hearth_error err = {HEARTH_OK, ""};
    fake_device like = {.base = HEARTH_BASE_BF16};
    world_open(&w, false);
    calm(&w, NULL, f32);
    calm(&w, &like, want);
    assert_memory_not_equal(f32, want, 32);
    begin(&w, &like);
    const hearth_memplan *p =
        hearth_trainer_memplan(hearth_sync_trainer(w.d.sync));
    assert_int_equal(p->choice.base, HEARTH_BASE_BF16);
    train(&w, got);
    assert_memory_equal(got, want, 32);
    hearth_sync_close(w.d.sync);
    w.d.sync = NULL;
    w.d.base = HEARTH_BASE_Q8_0; /* rows of 16 and 24 */
    assert_int_equal(fake_device_sync_open(&w.d, NULL, &err),
                     HEARTH_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "leave --base-type out"));
    fake_device_close(&w.d);
    world_close(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sync_pauses_within_a_layer_and_trains_the_same),
        cmocka_unit_test(sync_stops_within_a_layer_and_trains_the_same),
        cmocka_unit_test(sync_slows_down_when_warm),
        cmocka_unit_test(sync_keeps_to_the_policy_while_training),
        cmocka_unit_test(sync_gives_up_a_round_that_ended_in_a_pause),
        cmocka_unit_test(sync_streams_what_does_not_fit),
        cmocka_unit_test(sync_computes_in_bfloat16),
        cmocka_unit_test(sync_trains_on_a_copy_of_the_base),
    };
    return cmocka_run_group_tests_name("client/net/sync energy", tests, NULL,
                                       NULL);
}

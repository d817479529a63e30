/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_energy.c - client/device/energy.h: a table of looks, and a
 * governor over a fake sysfs with a clock that stands still. */
#include "client/device/energy.h"
#include "tests/support/fake_sysfs.h"
#include "tests/support/pool_probe.h"

/* One look: time, what the device does, and what follows. */
typedef struct {
    int64_t ms;
    double battery; /* percent; below 0: none */
    bool charging;
    double celsius; /* below 0: no sensor */
    bool foreground, saving;
    hearth_energy_action action;
    hearth_energy_reason reason;
} look_row;

#define RUN    HEARTH_ENERGY_RUN
#define SLOW   HEARTH_ENERGY_THROTTLE
#define PAUSE  HEARTH_ENERGY_PAUSE
#define WHY(x) HEARTH_ENERGY_##x

static void play(const char *name, const hearth_energy_policy *p,
                 const look_row *row, size_t n) {
    hearth_energy_state s = {.begun = false};
    for (size_t i = 0; i < n; i++) {
        hearth_conditions c = {.has_battery = row[i].battery >= 0,
                               .battery_percent = row[i].battery,
                               .charging = row[i].charging,
                               .has_temperature = row[i].celsius >= 0,
                               .temperature_c = row[i].celsius,
                               .foreground = row[i].foreground,
                               .power_saving = row[i].saving};
        s = hearth_energy_next(s, &c, p, row[i].ms);
        if (s.action != row[i].action || s.reason != row[i].reason)
            fail_msg("%s, row %zu: action %d, %s", name, i, (int)s.action,
                     hearth_energy_reason_word(s.reason));
    }
}
#define PLAY(name, p, rows) play(name, p, rows, sizeof(rows) / sizeof(*rows))

static void energy_follows_the_battery_with_two_marks(void **state) {
    hearth_energy_policy p = HEARTH_ENERGY_POLICY_INIT;
    static const look_row rows[] = {
        {0, 80, true, -1, false, false, RUN, WHY(FINE)},
        {1000, 80, false, -1, false, false, SLOW, WHY(ON_BATTERY)},
        {2000, 30, false, -1, false, false, SLOW, WHY(ON_BATTERY)},
        {3000, 29.9, false, -1, false, false, PAUSE, WHY(BATTERY)},
        {99000, 34, false, -1, false, false, PAUSE, WHY(BATTERY)},
        {99001, 35, false, -1, false, false, SLOW, WHY(ON_BATTERY)},
        {99002, 34, false, -1, false, false, SLOW, WHY(ON_BATTERY)},
        {99003, 20, false, -1, false, false, PAUSE, WHY(BATTERY)},
        {199000, 20, true, -1, false, false, RUN, WHY(FINE)}, /* plugged in */
        {199001, -1, true, -1, false, false, RUN, WHY(FINE)}, /* mains */
    };
    (void)state;
    PLAY("battery", &p, rows);
    p.throttle_on_battery = false;
    p.battery_pause = p.battery_resume = 0;
    static const look_row never[] = {
        {0, 0, false, -1, false, false, RUN, WHY(FINE)}};
    PLAY("no floor", &p, never);
}

static void energy_waits_for_the_charger(void **state) {
    hearth_energy_policy p = HEARTH_ENERGY_POLICY_INIT;
    static const look_row rows[] = {
        {0, 90, true, -1, false, false, RUN, WHY(FINE)},
        {10, 90, false, -1, false, false, PAUSE, WHY(UNPLUGGED)},
        {20, 90, true, -1, false, false, PAUSE, WHY(UNPLUGGED)}, /* held */
        {5009, 90, true, -1, false, false, PAUSE, WHY(UNPLUGGED)},
        {5010, 90, true, -1, false, false, RUN, WHY(FINE)},
        {5011, 90, false, -1, false, false, PAUSE,
         WHY(UNPLUGGED)}, /* at once */
        {20000, -1, true, -1, false, false, RUN, WHY(FINE)},
    };
    (void)state;
    p.need_charging = true;
    PLAY("charger", &p, rows);
}

static void energy_cools_by_a_margin(void **state) {
    hearth_energy_policy p = HEARTH_ENERGY_POLICY_INIT;
    static const look_row rows[] = {
        {0, -1, true, 74.9, false, false, RUN, WHY(FINE)},
        {10000, -1, true, 75, false, false, SLOW, WHY(WARM)},
        {20000, -1, true, 71, false, false, SLOW, WHY(WARM)},
        {30000, -1, true, 84.9, false, false, SLOW, WHY(WARM)},
        {40000, -1, true, 85, false, false, PAUSE, WHY(HOT)},
        {50000, -1, true, 80.1, false, false, PAUSE, WHY(HOT)},
        {60000, -1, true, 80, false, false, SLOW, WHY(WARM)},
        {70000, -1, true, 70.1, false, false, SLOW, WHY(WARM)},
        {80000, -1, true, 70, false, false, RUN, WHY(FINE)},
        {81000, -1, true, 90, false, false, PAUSE, WHY(HOT)},
        {82000, -1, true, -1, false, false, PAUSE, WHY(HOT)}, /* held */
        {90000, -1, true, -1, false, false, RUN, WHY(FINE)},  /* no sensor */
    };
    (void)state;
    PLAY("warmth", &p, rows);
}

static void energy_leaves_the_device_to_its_person(void **state) {
    hearth_energy_policy p = HEARTH_ENERGY_POLICY_INIT;
    static const look_row slow[] = {
        {0, 90, true, 30, true, false, SLOW, WHY(FOREGROUND)},
        {9000, 90, true, 30, false, true, PAUSE, WHY(SAVING)},
        {19000, 90, true, 30, false, false, RUN, WHY(FINE)}};
    static const look_row pause[] = {
        {0, 90, true, 30, true, false, PAUSE, WHY(FOREGROUND)}};
    (void)state;
    PLAY("in use", &p, slow);
    p.pause_in_foreground = true;
    PLAY("in use, pause", &p, pause);
}

static void energy_holds_the_floor_on_the_charger_too(void **state) {
    hearth_energy_policy p = HEARTH_ENERGY_POLICY_INIT;
    static const look_row rows[] = {
        {0, 30, true, -1, false, false, RUN, WHY(FINE)},
        {1000, 29, true, -1, false, false, PAUSE, WHY(BATTERY)},
        {9000, 34, true, -1, false, false, PAUSE, WHY(BATTERY)},
        {10000, 35, true, -1, false, false, RUN, WHY(FINE)},
        {20000, -1, true, -1, false, false, RUN, WHY(FINE)}}; /* none */
    (void)state;
    p.battery_on_charger = true;
    PLAY("floor on the charger", &p, rows);
}

static void energy_policy_follows_from_limits(void **state) {
    hearth_energy_limits l = {true, 50, 40, 5, 0.25, 3};
    hearth_energy_policy p = hearth_energy_policy_of(&l);
    (void)state;
    assert_true(hearth_energy_policy_is_valid(&p));
    assert_true(p.need_charging && p.throttle_on_battery);
    assert_false(p.battery_on_charger || p.pause_in_foreground);
    assert_float_equal(p.battery_pause, 50, 0);
    assert_float_equal(p.battery_resume, 55, 0);
    assert_float_equal(p.hot, 40, 0);
    assert_float_equal(p.warm, 35, 0);
    assert_float_equal(p.duty, 0.25, 0);
    assert_int_equal(p.threads, 3);
    l.battery_min = 98; /* no room for 5 percent */
    p = hearth_energy_policy_of(&l);
    assert_true(hearth_energy_policy_is_valid(&p));
    assert_float_equal(p.battery_resume, 100, 0);
}

static void energy_pauses_when_it_knows_nothing(void **state) {
    hearth_energy_policy p = HEARTH_ENERGY_POLICY_INIT;
    hearth_energy_state s = {.begun = false};
    hearth_conditions worst;
    (void)state;
    s = hearth_energy_next(s, NULL, &p, 5);
    assert_int_equal(s.action, PAUSE);
    assert_int_equal(s.reason, HEARTH_ENERGY_UNKNOWN);
    hearth_conditions_worst(&worst);
    s = hearth_energy_next((hearth_energy_state){.begun = false}, &worst, &p,
                           5);
    assert_int_equal(s.action, PAUSE);
}

static void energy_policy_is_checked(void **state) {
    const hearth_energy_policy good = HEARTH_ENERGY_POLICY_INIT;
    hearth_energy_policy p = good;
    (void)state;
    assert_true(hearth_energy_policy_is_valid(&p));
    p.duty = 0;
    assert_false(hearth_energy_policy_is_valid(&p));
    p.duty = 1.1;
    assert_false(hearth_energy_policy_is_valid(&p));
    p = good;
    p.battery_resume = 29;
    assert_false(hearth_energy_policy_is_valid(&p));
    p.battery_resume = 101;
    assert_false(hearth_energy_policy_is_valid(&p));
    p = good;
    p.hot = 74;
    assert_false(hearth_energy_policy_is_valid(&p));
    p = good;
    p.margin = -1;
    assert_false(hearth_energy_policy_is_valid(&p));
    p = good;
    p.hold_ms = -1;
    assert_false(hearth_energy_policy_is_valid(&p));
    p = good;
    p.battery_pause = -1;
    assert_false(hearth_energy_policy_is_valid(&p));
}

static void rest_makes_work_its_share(void **state) {
    (void)state;
    assert_float_equal(hearth_energy_rest_ms(0.5, 100), 100, 1e-9);
    assert_float_equal(hearth_energy_rest_ms(0.25, 100), 300, 1e-9);
    assert_float_equal(hearth_energy_rest_ms(1, 100), 0, 0);
    assert_float_equal(hearth_energy_rest_ms(0.5, -3), 0, 0);
}

/* ---- a governor ---- */

typedef struct {
    hearth_virtual_clock time;
    int64_t slept;
    int stop_after; /* sleeps until stop is asked; 0: never */
    int n_sleeps, n_changes;
    bool stop;
    hearth_energy_action last;
    char root[64];
    int plug_at; /* sleep after which the charger is plugged in; 0: never */
} world;

static void world_sleep(void *ud, int64_t ms) {
    world *w = ud;
    w->slept += ms;
    hearth_virtual_clock_advance(&w->time, ms);
    w->n_sleeps++;
    if (w->plug_at && w->n_sleeps == w->plug_at) fake_sysfs_plug(w->root, true);
    if (w->stop_after && w->n_sleeps == w->stop_after) w->stop = true;
}

static bool world_stop(void *ud) {
    return ((world *)ud)->stop;
}

static void world_changed(void *ud, const hearth_energy_state *now) {
    world *w = ud;
    w->n_changes++;
    w->last = now->action;
}

static void world_open(world *w, hearth_governor *g,
                       hearth_conditions_source *src, bool need_charging) {
    *w = (world){.n_sleeps = 0};
    fake_sysfs_open(w->root);
    assert_ok(hearth_conditions_linux(src, w->root, NULL));
    hearth_governor_config cfg = {.conditions = *src,
                                  .policy = HEARTH_ENERGY_POLICY_INIT,
                                  .clock = hearth_clock_virtual(&w->time),
                                  .sleep = world_sleep,
                                  .stop = world_stop,
                                  .changed = world_changed,
                                  .ud = w};
    cfg.policy.need_charging = need_charging;
    hearth_governor_init(g, &cfg);
}

static void world_close(world *w, hearth_conditions_source *src) {
    hearth_conditions_linux_free(src);
    assert_ok(hearth_file_remove_tree(w->root, NULL));
}

/* Layers of ms each. */
static void work(world *w, hearth_governor *g, int layers, int64_t ms) {
    for (int i = 0; i < layers; i++) {
        assert_true(hearth_governor_gate(g));
        hearth_virtual_clock_advance(&w->time, ms);
    }
}

static void unplugged_run_pauses_and_goes_on_with_the_charger(void **state) {
    world w;
    hearth_governor g;
    hearth_conditions_source src;
    (void)state;
    world_open(&w, &g, &src, true);
    work(&w, &g, 5, 300);
    assert_int_equal(w.slept, 0);
    assert_int_equal(w.n_changes, 0); /* running is nothing new */
    fake_sysfs_plug(w.root, false);
    work(&w, &g, 1, 300); /* looked 300 ms ago or less than a second */
    w.plug_at = 60;
    work(&w, &g, 3, 400);
    assert_int_equal(w.n_changes, 2);
    assert_int_equal(w.last, RUN);
    /* plugged in after 60 slices of 200 ms, seen at the next look */
    assert_in_range(w.slept, 60 * 200, 60 * 200 + 1000);
    world_close(&w, &src);
}

static void pause_ends_at_once_when_told_to_stop(void **state) {
    world w;
    hearth_governor g;
    hearth_conditions_source src;
    (void)state;
    world_open(&w, &g, &src, true);
    fake_sysfs_plug(w.root, false);
    w.stop_after = 7;
    assert_false(hearth_governor_gate(&g));
    assert_int_equal(w.n_sleeps, 7);
    assert_false(hearth_governor_gate(&g)); /* and stays so, without a look */
    assert_int_equal(w.n_sleeps, 7);
    world_close(&w, &src);
}

static void hot_device_works_half_of_the_time(void **state) {
    world w;
    hearth_governor g;
    hearth_conditions_source src;
    (void)state;
    world_open(&w, &g, &src, false);
    fake_sysfs_heat(w.root, 76);
    work(&w, &g, 1, 3);
    assert_int_equal(w.last, SLOW);
    work(&w, &g, 1000, 3); /* layers shorter than a rest */
    assert_in_range(w.slept, 3000 - 10, 3000 + 10);
    fake_sysfs_heat(w.root, 90);
    w.stop_after = w.n_sleeps + 30;
    while (hearth_governor_gate(&g)) hearth_virtual_clock_advance(&w.time, 400);
    assert_int_equal(w.last, PAUSE);
    world_close(&w, &src);
}

static void unreadable_sysfs_pauses(void **state) {
    world w;
    hearth_governor g;
    hearth_conditions_source src;
    (void)state;
    world_open(&w, &g, &src, false);
    fake_sysfs_put(w.root, "power_supply/BAT0/capacity", "many\n");
    w.stop_after = 3;
    assert_false(hearth_governor_gate(&g));
    assert_int_equal(w.last, PAUSE);
    assert_int_equal(g.state.reason, HEARTH_ENERGY_UNKNOWN);
    world_close(&w, &src);
}

static void governor_without_conditions_only_stops(void **state) {
    world w = {.stop = false};
    hearth_governor g;
    hearth_governor_config cfg = {.policy = HEARTH_ENERGY_POLICY_INIT,
                                  .clock = hearth_clock_virtual(&w.time),
                                  .stop = world_stop,
                                  .ud = &w};
    (void)state;
    hearth_governor_init(&g, &cfg);
    assert_true(hearth_governor_gate(&g));
    w.stop = true;
    assert_false(hearth_governor_gate(&g));
}

static void slowed_run_takes_fewer_threads(void **state) {
    world w;
    hearth_governor g;
    hearth_conditions_source src;
    hearth_pool *pool = NULL;
    (void)state;
    assert_ok(hearth_pool_open(&pool, 4, NULL, NULL));
    world_open(&w, &g, &src, false);
    assert_int_equal(hearth_governor_threads(&g), 1); /* no pool */
    g.cfg.pool = pool;
    g.cfg.policy.threads = 3;
    work(&w, &g, 1, 3);
    assert_int_equal(hearth_governor_threads(&g), 4);
    fake_sysfs_heat(w.root, 76);
    work(&w, &g, 1, 1000);
    work(&w, &g, 1, 3);
    assert_int_equal(w.last, SLOW);
    assert_int_equal(hearth_governor_threads(&g), 3);
    assert_int_equal(pool_probe_count(pool), 3);
    g.cfg.policy.threads = 9; /* more than there are */
    assert_int_equal(hearth_governor_threads(&g), 4);
    g.cfg.policy.threads = 3;
    fake_sysfs_heat(w.root, 60);
    work(&w, &g, 20, 1000);
    assert_int_equal(w.last, RUN);
    assert_int_equal(hearth_governor_threads(&g), 4);
    assert_int_equal(pool_probe_count(pool), 4);
    world_close(&w, &src);
    hearth_pool_close(pool);
}

/* A run in ticks: a pause is for the caller to wait for, and nothing is rested
 * for the time between two ticks, but for all work in them. */
static void governor_can_be_left_and_taken_up(void **state) {
    world w;
    hearth_governor g;
    hearth_conditions_source src;
    (void)state;
    world_open(&w, &g, &src, true);
    g.cfg.leave_on_pause = true;
    fake_sysfs_plug(w.root, false);
    assert_false(hearth_governor_gate(&g));
    assert_false(g.stopped);
    assert_int_equal(w.n_sleeps, 0);
    hearth_governor_leave(&g);
    hearth_virtual_clock_advance(&w.time, 5000);
    fake_sysfs_plug(w.root, true);
    fake_sysfs_heat(w.root, 76);
    for (int tick = 0; tick < 100; tick++) {
        work(&w, &g, 3, 3);
        hearth_governor_leave(&g);
        hearth_governor_leave(&g); /* once is as good as twice */
        hearth_virtual_clock_advance(&w.time, 60000);
    }
    assert_int_equal(w.last, SLOW);
    assert_in_range(w.slept, 900 - 15, 900 + 15); /* 100 x 3 x 3 ms */
    w.stop = true;
    assert_false(hearth_governor_gate(&g));
    assert_true(g.stopped);
    world_close(&w, &src);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(energy_follows_the_battery_with_two_marks),
        cmocka_unit_test(energy_waits_for_the_charger),
        cmocka_unit_test(energy_cools_by_a_margin),
        cmocka_unit_test(energy_leaves_the_device_to_its_person),
        cmocka_unit_test(energy_holds_the_floor_on_the_charger_too),
        cmocka_unit_test(energy_policy_follows_from_limits),
        cmocka_unit_test(energy_pauses_when_it_knows_nothing),
        cmocka_unit_test(energy_policy_is_checked),
        cmocka_unit_test(rest_makes_work_its_share),
        cmocka_unit_test(unplugged_run_pauses_and_goes_on_with_the_charger),
        cmocka_unit_test(pause_ends_at_once_when_told_to_stop),
        cmocka_unit_test(hot_device_works_half_of_the_time),
        cmocka_unit_test(unreadable_sysfs_pauses),
        cmocka_unit_test(governor_without_conditions_only_stops),
        cmocka_unit_test(slowed_run_takes_fewer_threads),
        cmocka_unit_test(governor_can_be_left_and_taken_up),
    };
    return cmocka_run_group_tests_name("client/device/energy", tests, NULL,
                                       NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_seam_participation.c - a coordinator that asks as often as it
 * likes, and the device's ledger, which alone says how often it may: spacing,
 * rounds of a task, epsilon of a task, of a window and of a life.  Each test
 * lifts every rule but its own, goes through hearth_prepare, and finds nothing
 * charged where it was refused. */
#include "tests/support/cmocka_all.h"

#include <unistd.h>

#include "client/delta/ledger_store.h"
#include "client/delta/prepare.h"
#include "privacy/accountant_zcdp.h"
#include "tests/support/offer_fixture.h"
#include "tests/support/privacy_seam.h"

#define DAY ((int64_t)86400000)

typedef struct {
    char dir[64], path[96];
    hearth_db *db;
    hearth_ledger_store *ls;
    hearth_virtual_clock vc;
    hearth_rng *rng;
    uint64_t round; /* of the newest offer */
    hearth_error err;
} world;

/* Rules that refuse nothing. */
static hearth_ledger_rules lax(void) {
    return (hearth_ledger_rules){.delta = 1e-6,
                                 .epsilon_task = 1e9,
                                 .epsilon_window = 1e9,
                                 .epsilon_lifetime = 1e9,
                                 .window_ms = 30 * DAY,
                                 .n_participations = UINT32_MAX};
}

/* Just enough for n rounds of the fixture's z = 3. */
static double epsilon_of(uint32_t n) {
    return hearth_zcdp_epsilon(n * 2.0 / 9, 1e-6) * (1 + 1e-6);
}

static void open_with(world *w, hearth_ledger_rules rules) {
    hearth_ledger_store_close(w->ls);
    assert_ok(hearth_ledger_store_open(&w->ls, w->db, &rules, "coord.example",
                                       hearth_clock_virtual(&w->vc), NULL,
                                       &w->err));
}

static int setup(void **state) {
    world *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    assert_non_null(hearth_test_dir(w->dir));
    snprintf(w->path, sizeof(w->path), "%s/client.db", w->dir);
    w->vc.wall_ms = 1000 * DAY;
    hearth_seam_set(HEARTH_SEAM_NOISE_EXACT, 3);
    assert_ok(hearth_rng_open(&w->rng, NULL, NULL));
    assert_ok(hearth_db_open(&w->db, w->path, NULL, &w->err));
    *state = w;
    return 0;
}

static int teardown(void **state) {
    world *w = *state;
    hearth_ledger_store_close(w->ls);
    hearth_db_close(w->db);
    hearth_rng_close(w->rng);
    const char *const suffix[] = {"", "-wal", "-shm"};
    for (int i = 0; i < 3; i++) {
        char p[128];
        snprintf(p, sizeof(p), "%s%s", w->path, suffix[i]);
        unlink(p);
    }
    rmdir(w->dir);
    free(w);
    return 0;
}

/* A new round of this task: prepared, and sent when sends is true. */
static hearth_status ask(world *w, const char *task, bool sends) {
    float v[6] = {0.1f};
    double c[1] = {0.5};
    const hearth_span span = {v, 6};
    hearth_offer o = hearth_offer_fixture();
    hearth_prepared *p = NULL;
    memset(o.task, 0, sizeof(o.task));
    memcpy(o.task, task, strlen(task));
    o.round = ++w->round;
    hearth_status st = hearth_prepare(&p, w->ls, &o, &span, 1, c, 1, w->rng,
                                      hearth_clock_virtual(&w->vc), &w->err);
    if (st == HEARTH_OK && sends) st = hearth_prepared_sending(p, &w->err);
    if (st == HEARTH_OK && !sends)
        st = hearth_ledger_store_void(w->ls, hearth_prepared_key(p), &w->err);
    hearth_prepared_free(p);
    return st;
}

static uint32_t charged(world *w) {
    hearth_ledger_sums s;
    assert_ok(hearth_ledger_store_sums(w->ls, "diary", &s, &w->err));
    return s.n_lifetime;
}

static void accepts(world *w, const char *task) {
    uint32_t n = charged(w);
    if (ask(w, task, true) != HEARTH_OK) fail_msg("%s", w->err.text);
    assert_int_equal(charged(w), n + 1);
}

static void refuses(world *w, const char *task, const char *words) {
    uint32_t n = charged(w);
    assert_int_equal(ask(w, task, true), HEARTH_EREFUSED);
    if (!strstr(w->err.text, words)) fail_msg("%s", w->err.text);
    assert_int_equal(charged(w), n);
}

static void spacing_holds_between_rounds_of_a_task(void **state) {
    world *w = *state;
    hearth_ledger_rules r = lax();
    r.spacing_ms = DAY;
    open_with(w, r);
    accepts(w, "diary");
    refuses(w, "diary", "since the last round");
    w->vc.wall_ms += DAY - 1;
    refuses(w, "diary", "since the last round");
    accepts(w, "sleep"); /* each task has a spacing of its own */
    w->vc.wall_ms += 1;
    accepts(w, "diary");
    w->vc.wall_ms -= 40 * DAY; /* a clock set back helps nobody */
    refuses(w, "diary", "since the last round");
}

static void a_task_gets_k_rounds_for_ever(void **state) {
    world *w = *state;
    hearth_ledger_rules r = lax();
    r.n_participations = 3;
    open_with(w, r);
    assert_ok(ask(w, "diary", false)); /* taken back: counts for nothing */
    for (int i = 0; i < 3; i++) accepts(w, "diary");
    refuses(w, "diary", "rounds of this task");
    w->vc.wall_ms += 4000 * DAY;
    open_with(w, r); /* neither years nor a restart */
    refuses(w, "diary", "rounds of this task");
    accepts(w, "sleep");
}

static void a_task_gets_its_epsilon_for_ever(void **state) {
    world *w = *state;
    hearth_ledger_rules r = lax();
    r.epsilon_task = epsilon_of(2);
    open_with(w, r);
    accepts(w, "diary");
    accepts(w, "diary");
    refuses(w, "diary", "epsilon of this task");
    w->vc.wall_ms += 4000 * DAY;
    refuses(w, "diary", "epsilon of this task");
    accepts(w, "sleep");
}

static void a_window_gets_its_epsilon_over_all_tasks(void **state) {
    world *w = *state;
    hearth_ledger_rules r = lax();
    r.epsilon_window = epsilon_of(2);
    open_with(w, r);
    accepts(w, "diary");
    w->vc.wall_ms += 10 * DAY;
    accepts(w, "sleep");
    refuses(w, "meals", "last 30 days");
    w->vc.wall_ms += 20 * DAY - 1;
    refuses(w, "meals", "last 30 days");
    w->vc.wall_ms += 1; /* the first is 30 days old */
    accepts(w, "meals");
    refuses(w, "diary", "last 30 days");
}

static void a_life_gets_its_epsilon_over_all_tasks(void **state) {
    world *w = *state;
    hearth_ledger_rules r = lax();
    r.epsilon_lifetime = epsilon_of(3);
    open_with(w, r);
    const char *const tasks[] = {"diary", "sleep", "meals"};
    for (int i = 0; i < 3; i++) {
        accepts(w, tasks[i]);
        w->vc.wall_ms += 400 * DAY;
    }
    refuses(w, "steps", "life");
    w->vc.wall_ms += 4000 * DAY;
    open_with(w, r);
    refuses(w, "steps", "life");
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(spacing_holds_between_rounds_of_a_task),
        T(a_task_gets_k_rounds_for_ever),
        T(a_task_gets_its_epsilon_for_ever),
        T(a_window_gets_its_epsilon_over_all_tasks),
        T(a_life_gets_its_epsilon_over_all_tasks),
    };
#undef T
    return cmocka_run_group_tests_name("privacy/ledger participation", tests,
                                       NULL, NULL);
}

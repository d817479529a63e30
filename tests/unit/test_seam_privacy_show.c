/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_seam_privacy_show.c - what `hearth privacy` says of a ledger:
 * what became of each charge, what is spent, what cannot be undone. */
#include "tests/support/cmocka_all.h"

#include <unistd.h>

#include "client/cli/cli.h"
#include "client/delta/ledger_store.h"
#include "client/delta/prepare.h"
#include "privacy/accountant_zcdp.h"
#include "tests/support/offer_fixture.h"
#include "tests/support/privacy_seam.h"

#define DAY        ((int64_t)86400000)
#define MANY_TASKS 40

/* Lax: what the ledger holds is up to the test, not to the rules. */
static const hearth_ledger_rules RULES = {.delta = 1e-6,
                                          .epsilon_task = 1e9,
                                          .epsilon_window = 1e9,
                                          .epsilon_lifetime = 1e9,
                                          .window_ms = 30 * DAY,
                                          .n_participations = UINT32_MAX};

typedef struct {
    char dir[64], path[96], policy[96];
    hearth_db *db;
    hearth_ledger_store *ls;
    hearth_virtual_clock vc;
    hearth_rng *rng;
    char *said; /* by the last show() */
    size_t n_said;
    hearth_error err;
} world;

static int setup(void **state) {
    world *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    assert_non_null(hearth_test_dir(w->dir));
    snprintf(w->path, sizeof(w->path), "%s/client.db", w->dir);
    snprintf(w->policy, sizeof(w->policy), "%s/policy.ini", w->dir);
    /* The program reads the real clock. */
    hearth_clock real = hearth_clock_system();
    w->vc.wall_ms = hearth_clock_wall(&real) - 40 * DAY;
    hearth_seam_set(HEARTH_SEAM_NOISE_EXACT, 3);
    assert_ok(hearth_rng_open(&w->rng, NULL, NULL));
    assert_ok(hearth_db_open(&w->db, w->path, NULL, &w->err));
    assert_ok(hearth_ledger_store_open(&w->ls, w->db, &RULES, "coord.example",
                                       hearth_clock_virtual(&w->vc), NULL,
                                       &w->err));
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
    unlink(w->policy);
    rmdir(w->dir);
    free(w->said);
    free(w);
    return 0;
}

/* Prepare a round of a task; version tells offers of one round apart. */
static hearth_prepared *charge(world *w, const char *task, uint64_t round,
                               int version) {
    float v[6] = {0.1f};
    double c[1] = {0.5};
    const hearth_span span = {v, 6};
    hearth_offer o = hearth_offer_fixture();
    hearth_prepared *p = NULL;
    memset(o.task, 0, sizeof(o.task));
    memcpy(o.task, task, strlen(task));
    o.round = round;
    o.deadline_ms += (uint64_t)version;
    if (hearth_prepare(&p, w->ls, &o, &span, 1, c, 1, w->rng,
                       hearth_clock_virtual(&w->vc), &w->err) != HEARTH_OK)
        fail_msg("%s", w->err.text);
    return p;
}

static void send_round(world *w, const char *task, uint64_t round) {
    hearth_prepared *p = charge(w, task, round, 0);
    assert_ok(hearth_prepared_sending(p, &w->err));
    assert_ok(hearth_prepared_finish(p, &w->err));
    hearth_prepared_free(p);
}

static void take_back(world *w, hearth_prepared *p) {
    assert_ok(hearth_ledger_store_void(w->ls, hearth_prepared_key(p), &w->err));
    hearth_prepared_free(p);
}

/* What the program says now, for a person or a program. */
static void show(world *w, bool json) {
    char *argv[] = {"hearth",  "privacy", "show",
                    "--state", w->dir,    json ? "--json" : NULL};
    free(w->said);
    w->said = NULL;
    FILE *out = open_memstream(&w->said, &w->n_said);
    assert_non_null(out);
    int rc = hearth_cli_main(json ? 6 : 5, argv, out, stderr);
    fclose(out);
    assert_int_equal(rc, HEARTH_EXIT_OK);
}

/* The line that begins with this, NUL-terminated in a copy. */
static const char *line(const world *w, const char *begin) {
    static char copy[1024];
    for (const char *at = w->said; at && *at;) {
        const char *end = strchr(at, '\n');
        size_t n = end ? (size_t)(end - at) : strlen(at);
        if (strncmp(at, begin, strlen(begin)) == 0 && n < sizeof(copy)) {
            memcpy(copy, at, n);
            copy[n] = '\0';
            return copy;
        }
        at = end ? end + 1 : at + n;
    }
    fail_msg("no line begins with '%s' in:\n%s", begin, w->said);
    return "";
}

static void holds(const char *text, const char *part) {
    if (!strstr(text, part)) fail_msg("'%s' is not in '%s'", part, text);
}

/* Row seq of the ledger is in this state. */
static void row_is(world *w, unsigned seq, const char *what, bool voided) {
    char begin[64], state[96];
    snprintf(begin, sizeof(begin), "{\"event\":\"charge\",\"row\":%u,", seq);
    snprintf(state, sizeof(state), "\"voided\":%s,\"state\":\"%s\"",
             voided ? "true" : "false", what);
    holds(line(w, begin), state);
}

static double number(const char *text, const char *key) {
    char name[64];
    snprintf(name, sizeof(name), "\"%s\":", key);
    const char *at = strstr(text, name);
    if (!at) fail_msg("no %s in '%s'", key, text);
    return at ? strtod(at + strlen(name), NULL) : 0;
}

static void budget_is(world *w, const char *window, unsigned n) {
    char begin[160];
    snprintf(begin, sizeof(begin), "{\"event\":\"budget\",\"window\":\"%s\",",
             window);
    const char *text = line(w, begin);
    assert_true(number(text, "participations") == n);
    double want = hearth_zcdp_epsilon(n * 2.0 / 9, 1e-6); /* z = 3 */
    double off = number(text, "epsilon_coordinator") - want;
    assert_true(off <= 1e-4 * want && off >= -1e-4 * want);
}

static const char TAKEN[] = "taken back, nothing was sent";

static void a_row_goes_from_ready_to_sent(void **state) {
    world *w = *state;
    hearth_prepared *p = charge(w, "diary", 7, 0);
    show(w, true);
    row_is(w, 1, "not sent yet", false);
    assert_ok(hearth_prepared_sending(p, &w->err));
    show(w, true);
    row_is(w, 1, "being sent", false);
    assert_ok(hearth_prepared_finish(p, &w->err));
    hearth_prepared_free(p);
    show(w, true);
    row_is(w, 1, "sent", false);
    budget_is(w, "diary", 1);
    show(w, false);
    holds(w->said, "diary round 7 to coord.example: 8 noised numbers, z 3, ");
    holds(w->said, "(sent)");
    holds(w->said, "What was sent cannot be taken back");
    holds(w->said, "unit device");
}

/* The same round has two rows, and each its own fate. */
static void a_changed_offer_after_sending_shows_both(void **state) {
    world *w = *state;
    hearth_prepared *old = charge(w, "diary", 7, 0);
    assert_ok(hearth_prepared_sending(old, &w->err));
    hearth_prepared *p = charge(w, "diary", 7, 1);
    show(w, true);
    row_is(w, 1, "sent", false);
    row_is(w, 2, "not sent yet", false);
    budget_is(w, "diary", 2);
    budget_is(w, "lifetime", 2);
    assert_ok(hearth_prepared_sending(p, &w->err));
    show(w, true);
    row_is(w, 1, "sent", false);
    row_is(w, 2, "being sent", false);
    hearth_prepared_free(p);
    hearth_prepared_free(old);
}

/* Unsent, the older charge is taken back: row 2 says so, row 3 is the new. */
static void a_changed_offer_before_sending_takes_back(void **state) {
    world *w = *state;
    hearth_prepared_free(charge(w, "diary", 7, 0));
    hearth_prepared *p = charge(w, "diary", 7, 1);
    show(w, true);
    row_is(w, 1, TAKEN, true);
    row_is(w, 3, "not sent yet", false);
    budget_is(w, "diary", 1);
    take_back(w, p);
    hearth_prepared_free(charge(w, "diary", 7, 2));
    show(w, true); /* charged again after all was taken back */
    row_is(w, 1, TAKEN, true);
    row_is(w, 3, TAKEN, true);
    row_is(w, 5, "not sent yet", false);
    budget_is(w, "lifetime", 1);
}

static void what_was_taken_back_costs_nothing(void **state) {
    world *w = *state;
    take_back(w, charge(w, "diary", 7, 0));
    show(w, true);
    row_is(w, 1, TAKEN, true);
    budget_is(w, "lifetime", 0);
    assert_null(strstr(w->said, "\"window\":\"diary\""));
    show(w, false);
    holds(w->said, TAKEN);
    assert_null(strstr(w->said, "cannot be taken back"));
}

/* Two rounds fill the task's cap; the first of them is older than the window. */
static void a_spent_budget_is_shown_as_spent(void **state) {
    world *w = *state;
    send_round(w, "diary", 1);
    w->vc.wall_ms += 39 * DAY;
    send_round(w, "diary", 2);
    FILE *f = fopen(w->policy, "w");
    assert_non_null(f);
    double cap = hearth_zcdp_epsilon(2 * 2.0 / 9, 1e-6);
    assert_true(
        fprintf(f, "[policy]\ndelta = 1e-6\nepsilon_task = %.17g\n", cap) > 0);
    assert_int_equal(fclose(f), 0);
    show(w, true);
    budget_is(w, "diary", 2);
    budget_is(w, "lifetime", 2);
    budget_is(w, "30 days", 1);
    assert_true(number(line(w, "{\"event\":\"budget\",\"window\":\"diary\","),
                       "cap") == cap);
    show(w, false);
    holds(line(w, "  diary "), " spent (100 %), 2 participations");
    holds(line(w, "  last 30 days "), ", 1 participations");
}

/* However many tasks there were, each has its line. */
static void no_task_is_left_out(void **state) {
    world *w = *state;
    char name[16];
    for (unsigned i = 0; i < MANY_TASKS; i++) {
        snprintf(name, sizeof(name), "task%02u", i);
        send_round(w, name, 1);
    }
    send_round(w, "task00", 2);
    show(w, true);
    for (unsigned i = 0; i < MANY_TASKS; i++) {
        snprintf(name, sizeof(name), "task%02u", i);
        budget_is(w, name, i ? 1 : 2);
    }
    budget_is(w, "lifetime", MANY_TASKS + 1);
    size_t n = 0;
    for (const char *at = w->said; (at = strstr(at, "\"budget\"")) != NULL;
         at++)
        n++;
    assert_int_equal(n, MANY_TASKS + 2);
}

static void a_row_has_its_own_state(void **state) {
    world *w = *state;
    hearth_prepared_state s;
    take_back(w, charge(w, "diary", 7, 0));
    assert_ok(hearth_ledger_store_row_state(w->ls, 1, &s, &w->err));
    assert_int_equal(s, HEARTH_PREPARED_VOIDED);
    for (uint64_t seq = 2; seq < 4; seq++) /* the void, and none at all */
        assert_int_equal(hearth_ledger_store_row_state(w->ls, seq, &s, &w->err),
                         HEARTH_ENOTFOUND);
    assert_int_equal(hearth_ledger_store_row_state(NULL, 1, &s, &w->err),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_ledger_store_row_state(w->ls, 1, NULL, &w->err),
                     HEARTH_EINVAL);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        EACH(a_row_goes_from_ready_to_sent),
        EACH(a_changed_offer_after_sending_shows_both),
        EACH(a_changed_offer_before_sending_takes_back),
        EACH(what_was_taken_back_costs_nothing),
        EACH(a_spent_budget_is_shown_as_spent),
        EACH(no_task_is_left_out),
        EACH(a_row_has_its_own_state),
    };
    return cmocka_run_group_tests_name("cli/privacy_show", tests, NULL, NULL);
}

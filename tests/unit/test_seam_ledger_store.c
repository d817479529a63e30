/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_seam_ledger_store.c - client/delta/ledger_store.h: rows that
 * were tampered with, versions, and what a killed process leaves. */
/* Ordinary builds have no failpoints; here the two sources that matter are
 * compiled with them, in the place of the library's. */
#ifndef HEARTH_FAILPOINTS
#define HEARTH_FAILPOINTS 1
#include "client/delta/ledger_store.c"
#include "common/failpoint.c"
#endif

#include "tests/support/cmocka_all.h"

#include <math.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/delta/ledger_store.h"
#include "client/delta/prepare.h"
#include "common/failpoint_names.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/offer_fixture.h"
#include "tests/support/privacy_seam.h"

#define DAY ((int64_t)86400000)

static const hearth_ledger_rules RULES = {.delta = 1e-6,
                                          .epsilon_task = 10,
                                          .epsilon_window = 10,
                                          .epsilon_lifetime = 30,
                                          .window_ms = 30 * DAY,
                                          .spacing_ms = 0,
                                          .n_participations = 8};

static char dir[64], path[96];
static hearth_virtual_clock vc = {.wall_ms = 1000 * DAY};

static hearth_db *open_db(void) {
    hearth_db *db = NULL;
    assert_ok(hearth_db_open(&db, path, NULL, NULL));
    return db;
}

static hearth_status open_ledger(hearth_ledger_store **ls, hearth_db *db) {
    return hearth_ledger_store_open(ls, db, &RULES, "coord.example",
                                    hearth_clock_virtual(&vc), NULL, NULL);
}

/* Prepare round `round` and leave it in the given state. */
static hearth_status one_round(hearth_ledger_store *ls, uint64_t round,
                               hearth_prepared_state until) {
    float v[6] = {0.1f, 0.2f, 0.3f};
    double c[1] = {1};
    hearth_span span = {v, 6};
    hearth_offer o = hearth_offer_fixture();
    hearth_prepared *p = NULL;
    hearth_rng *rng = NULL;
    o.round = round;
    hearth_status st = hearth_seam_rng_open(&rng, round, 0, NULL, NULL);
    if (st == HEARTH_OK)
        st = hearth_prepare(&p, ls, &o, &span, 1, c, 1, rng,
                            hearth_clock_virtual(&vc), NULL);
    if (st == HEARTH_OK && until >= HEARTH_PREPARED_SENDING &&
        until != HEARTH_PREPARED_VOIDED)
        st = hearth_prepared_sending(p, NULL);
    if (st == HEARTH_OK && until == HEARTH_PREPARED_FINISHED)
        st = hearth_prepared_finish(p, NULL);
    if (st == HEARTH_OK && until == HEARTH_PREPARED_VOIDED)
        st = hearth_ledger_store_void(ls, hearth_prepared_key(p), NULL);
    hearth_prepared_free(p);
    hearth_rng_close(rng);
    return st;
}

static void remove_files(void) {
    const char *const suffix[] = {"", "-wal", "-shm"};
    for (int i = 0; i < 3; i++) {
        char p[128];
        snprintf(p, sizeof(p), "%s%s", path, suffix[i]);
        unlink(p);
    }
}

static int setup(void **state) {
    (void)state;
    assert_non_null(hearth_test_dir(dir));
    snprintf(path, sizeof(path), "%s/client.db", dir);
    vc.wall_ms = 1000 * DAY;
    return 0;
}

static int teardown(void **state) {
    (void)state;
    remove_files();
    rmdir(dir);
    return 0;
}

/* Three charges, the second taken back: four rows. */
static void fill(hearth_db *db) {
    hearth_ledger_store *ls = NULL;
    assert_ok(open_ledger(&ls, db));
    assert_ok(one_round(ls, 1, HEARTH_PREPARED_FINISHED));
    vc.wall_ms += DAY;
    assert_ok(one_round(ls, 2, HEARTH_PREPARED_VOIDED));
    vc.wall_ms += DAY;
    assert_ok(one_round(ls, 3, HEARTH_PREPARED_SENDING));
    hearth_ledger_store_close(ls);
}

/* ---- tampering ---- */

static const char UNLOCK[] = "DROP TRIGGER ledger_no_update;"
                             "DROP TRIGGER ledger_no_delete;"
                             "PRAGMA foreign_keys = OFF;";

static void ledger_refuses_updates_and_deletes(void **state) {
    (void)state;
    hearth_db *db = open_db();
    fill(db);
    assert_int_not_equal(
        hearth_db_exec(db, "UPDATE ledger_row SET rho = 0.1", NULL), HEARTH_OK);
    assert_int_not_equal(hearth_db_exec(db, "DELETE FROM ledger_row", NULL),
                         HEARTH_OK);
    hearth_ledger_store *ls = NULL;
    assert_ok(open_ledger(&ls, db));
    assert_ok(hearth_ledger_store_verify(ls, NULL));
    hearth_ledger_store_close(ls);
    hearth_db_close(db);
}

static void ledger_notices_every_change(void **state) {
    (void)state;
    static const struct {
        const char *sql;
        hearth_status want;
    } CASES[] = {
        {"UPDATE ledger_row SET rho = rho / 2 WHERE seq = 1", HEARTH_EDIGEST},
        {"UPDATE ledger_row SET time_ms = time_ms - 1 WHERE seq = 2",
         HEARTH_EDIGEST},
        {"UPDATE ledger_row SET task = 'other' WHERE seq = 4", HEARTH_EDIGEST},
        {"UPDATE ledger_row SET payload = zeroblob(32) WHERE seq = 1",
         HEARTH_EDIGEST},
        {"UPDATE ledger_row SET kind = 2, voids = 1 WHERE seq = 4",
         HEARTH_EDIGEST},
        {"DELETE FROM ledger_row WHERE seq = 1", HEARTH_EDIGEST},
        {"DELETE FROM ledger_row WHERE seq = 2", HEARTH_EDIGEST},
        {"DELETE FROM ledger_row WHERE seq = 4", HEARTH_EDIGEST}, /* newest */
        {"DELETE FROM ledger_row", HEARTH_EDIGEST},
        {"UPDATE ledger_row SET seq = 9 WHERE seq = 4", HEARTH_EDIGEST},
        {"UPDATE ledger_row SET rho = -1 WHERE seq = 1", HEARTH_EFORMAT},
        {"UPDATE ledger_row SET task = '' WHERE seq = 1", HEARTH_EFORMAT},
        {"UPDATE ledger_row SET hash = zeroblob(31) WHERE seq = 1",
         HEARTH_EFORMAT},
        {"UPDATE ledger_row SET cohort = -1 WHERE seq = 1", HEARTH_EFORMAT},
        {"UPDATE ledger_row SET task = hex(zeroblob(64)) WHERE seq = 1",
         HEARTH_EFORMAT},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        hearth_db *db = open_db();
        hearth_ledger_store *ls = NULL, *kept = NULL;
        fill(db);
        assert_ok(open_ledger(&kept, db));
        assert_ok(hearth_db_exec(db, UNLOCK, NULL));
        assert_ok(hearth_db_exec(db, CASES[i].sql, NULL));
        hearth_error err;
        hearth_status st = hearth_ledger_store_open(
            &ls, db, &RULES, NULL, hearth_clock_virtual(&vc), NULL, &err);
        if (st != CASES[i].want || ls || err.text[0] == 0)
            fail_msg("%s: %s", CASES[i].sql, hearth_status_name(st));
        /* a store that is open already charges nothing either */
        if (strstr(CASES[i].sql, "= 4") == NULL)
            assert_int_not_equal(one_round(kept, 50, HEARTH_PREPARED_READY),
                                 HEARTH_OK);
        hearth_ledger_store_close(kept);
        hearth_db_close(db);
        remove_files();
    }
}

static void changed_bytes_are_not_sent(void **state) {
    (void)state;
    hearth_db *db = open_db();
    hearth_ledger_store *ls = NULL;
    hearth_prepared *p = NULL;
    hearth_round_key k;
    fill(db);
    assert_ok(open_ledger(&ls, db));
    assert_ok(hearth_db_exec(
        db, "UPDATE prepared SET bytes = zeroblob(32) WHERE seq = 4", NULL));
    assert_ok(hearth_round_key_init(&k, "diary", 3, 0, 0));
    assert_int_equal(hearth_prepared_load(&p, ls, &k, NULL), HEARTH_EDIGEST);
    assert_null(p);
    hearth_ledger_store_close(ls);
    hearth_db_close(db);
}

static void ledger_refuses_later_versions_untouched(void **state) {
    (void)state;
    static const char *const LATER[] = {"SELECT 1", "SELECT 1", "SELECT 1",
                                        "SELECT 1", "SELECT 1"};
    hearth_db *db = open_db();
    hearth_ledger_store *ls = NULL;
    assert_ok(hearth_db_migrate(db, "ledger", LATER, 5, NULL));
    assert_int_equal(open_ledger(&ls, db), HEARTH_EVERSION);
    hearth_db_close(db);
}

static void ledger_open_checks_its_arguments(void **state) {
    (void)state;
    hearth_db *db = open_db();
    hearth_ledger_store *ls = NULL;
    hearth_clock clock = hearth_clock_virtual(&vc);
    char longer[HEARTH_LEDGER_NAME_MAX + 1];
    memset(longer, 'x', sizeof(longer));
    longer[HEARTH_LEDGER_NAME_MAX] = 0;
#define OPEN(db_, rules_, name_)                                               \
    hearth_ledger_store_open(&ls, db_, rules_, name_, clock, NULL, NULL)
    assert_int_equal(OPEN(NULL, &RULES, "c"), HEARTH_EINVAL);
    assert_int_equal(OPEN(db, NULL, "c"), HEARTH_EINVAL);
    assert_int_equal(OPEN(db, &RULES, longer), HEARTH_EINVAL);
    for (int k = 0; k < 7; k++) {
        hearth_ledger_rules r = RULES;
        if (k == 0) r.delta = 0;
        if (k == 1) r.epsilon_task = (double)INFINITY;
        if (k == 2) r.epsilon_window = 0;
        if (k == 3) r.epsilon_lifetime = (double)NAN;
        if (k == 4) r.window_ms = 0;
        if (k == 5) r.spacing_ms = -1;
        if (k == 6) r.n_participations = 0;
        assert_int_equal(OPEN(db, &r, "c"), HEARTH_EINVAL);
    }
#undef OPEN
    hearth_round_key key = {.task = "x"};
    hearth_prepared_state ps;
    hearth_ledger_sums sums;
    assert_int_equal(hearth_ledger_store_state(NULL, &key, &ps, NULL), -1);
    assert_int_equal(hearth_ledger_store_void(NULL, &key, NULL), -1);
    assert_int_equal(hearth_ledger_store_sums(NULL, "x", &sums, NULL), -1);
    assert_int_equal(hearth_ledger_store_each(NULL, NULL, NULL, NULL), -1);
    assert_int_equal(hearth_ledger_store_verify(NULL, NULL), -1);
    assert_int_equal(hearth_ledger_store_erase_all(NULL, NULL, NULL), -1);
    hearth_ledger_store_close(NULL);
    hearth_db_close(db);
}

typedef struct {
    int rows, voided;
    char text[256];
} listing;

static hearth_status list_row(void *ud, const hearth_ledger_row *row,
                              bool voided) {
    listing *l = ud;
    l->rows++;
    l->voided += voided;
    size_t n = strlen(l->text);
    snprintf(l->text + n, sizeof(l->text) - n, "%d:%d:%d ", (int)row->seq,
             (int)row->kind, (int)row->voids);
    return row->seq == 99 ? HEARTH_ECANCELLED : HEARTH_OK;
}

static void ledger_lists_what_happened(void **state) {
    (void)state;
    hearth_db *db = open_db();
    hearth_ledger_store *ls = NULL;
    listing l = {0};
    fill(db);
    assert_ok(open_ledger(&ls, db));
    assert_true(hearth_ledger_store_rules(ls)->epsilon_lifetime == 30);
    assert_ok(hearth_ledger_store_each(ls, list_row, &l, NULL));
    assert_string_equal(l.text, "1:1:0 2:1:0 3:2:2 4:1:0 ");
    assert_int_equal(l.voided, 1);
    hearth_ledger_store_close(ls);
    hearth_db_close(db);
}

/* A clock set back neither breaks the chain nor reopens a window. */
static void ledger_time_never_runs_backwards(void **state) {
    (void)state;
    hearth_db *db = open_db();
    hearth_ledger_store *ls = NULL;
    hearth_ledger_sums s;
    fill(db);
    vc.wall_ms = DAY;
    assert_ok(open_ledger(&ls, db));
    assert_ok(one_round(ls, 9, HEARTH_PREPARED_SENDING));
    assert_ok(hearth_ledger_store_verify(ls, NULL));
    assert_ok(hearth_ledger_store_sums(ls, "diary", &s, NULL));
    assert_true(s.n_window == 3 && s.last_ms == 1002 * DAY);
    hearth_ledger_store_close(ls);
    hearth_db_close(db);
}

/* ---- a process that dies ---- */

static const char *const NAMES[] = {
#define X(name) name,
    HEARTH_FAILPOINTS_DEVICE(X)
#undef X
};

/* In the child: one round to the end, or to its void; killed somewhere.  What
 * would have left the device is written to fd. */
static void run_child(const char *name, bool voids, int fd) {
    hearth_db *db = NULL;
    hearth_ledger_store *ls = NULL;
    hearth_prepared *p = NULL;
    hearth_rng *rng = NULL;
    float v[6] = {0.1f, 0.2f, 0.3f};
    double c[1] = {1};
    hearth_span span = {v, 6};
    hearth_offer o = hearth_offer_fixture();
    if (hearth_db_open(&db, path, NULL, NULL) || open_ledger(&ls, db) ||
        hearth_rng_open(&rng, NULL, NULL))
        _exit(3);
    setenv("HEARTH_FAILPOINT", name, 1);
    if (hearth_prepare(&p, ls, &o, &span, 1, c, 1, rng,
                       hearth_clock_virtual(&vc), NULL))
        _exit(4);
    if (voids) {
        if (hearth_ledger_store_void(ls, hearth_prepared_key(p), NULL))
            _exit(5);
        _exit(0);
    }
    if (hearth_prepared_sending(p, NULL)) _exit(6);
    const uint8_t *bytes;
    size_t n;
    hearth_prepared_bytes(p, &bytes, &n, NULL);
    if (write(fd, bytes, n) != (ssize_t)n) _exit(7);
    if (hearth_prepared_finish(p, NULL)) _exit(8);
    _exit(0);
}

/* After the restart: whatever left is charged exactly once, and what is sent
 * again are the same bytes. */
static void check_after(const uint8_t *sent, size_t n_sent, const char *name) {
    hearth_db *db = open_db();
    hearth_ledger_store *ls = NULL;
    hearth_prepared *p = NULL;
    hearth_ledger_sums s;
    hearth_round_key k;
    assert_ok(open_ledger(&ls, db));
    assert_ok(hearth_ledger_store_sums(ls, "diary", &s, NULL));
    assert_true(s.n_lifetime <= 1);
    if (n_sent && s.n_lifetime != 1) fail_msg("%s: sent, not charged", name);
    assert_ok(hearth_round_key_init(&k, "diary", 7, 0, 0));
    hearth_status st = hearth_prepared_load(&p, ls, &k, NULL);
    if (st == HEARTH_OK) {
        assert_int_equal(s.n_lifetime, 1);
        const uint8_t *bytes;
        size_t n;
        assert_ok(hearth_prepared_sending(p, NULL));
        hearth_prepared_bytes(p, &bytes, &n, NULL);
        assert_int_equal(n, 32);
        if (n_sent) assert_memory_equal(bytes, sent, n_sent);
        hearth_prepared_free(p);
    } else {
        assert_true(st == HEARTH_ENOTFOUND || st == HEARTH_ESTATE);
        if (st == HEARTH_ENOTFOUND) assert_int_equal(s.n_lifetime, 0);
    }
    hearth_ledger_store_close(ls);
    hearth_db_close(db);
}

static void killed_anywhere_is_charged_exactly_once(void **state) {
    (void)state;
    int killed = 0;
    for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
        if (strncmp(NAMES[i], "prepare.", 8) != 0) continue;
        int fd[2];
        assert_int_equal(pipe(fd), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            run_child(NAMES[i], strstr(NAMES[i], "void") != NULL, fd[1]);
        close(fd[1]);
        uint8_t sent[64];
        ssize_t n = read(fd[0], sent, sizeof(sent));
        close(fd[0]);
        int status = 0;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
            fail_msg("%s: was not reached (%d)", NAMES[i], status);
        killed++;
        check_after(sent, n > 0 ? (size_t)n : 0, NAMES[i]);
        remove_files();
    }
    assert_int_equal(killed, 9);
}

typedef struct {
    uint64_t value;
    bool gone; /* it cannot be reached */
} counter;

static hearth_status raise_counter(void *ud, uint64_t at_least,
                                   uint64_t *value) {
    counter *c = ud;
    if (c->gone) return HEARTH_ENET;
    if (c->value < at_least) c->value = at_least;
    *value = c->value;
    return HEARTH_OK;
}

/* A copy of the database, taken before a round and put back after it. */
static void counter_shows_a_restored_copy(void **state) {
    (void)state;
    hearth_ledger_store *ls = NULL;
    hearth_error err = {HEARTH_OK, ""};
    char copy[128];
    counter c = {0, false};
    const hearth_ledger_counter up = {raise_counter, &c};
    snprintf(copy, sizeof(copy), "%s.copy", path);
    (void)remove(copy);
    remove_files();
    hearth_db *db = open_db();
    assert_ok(open_ledger(&ls, db));
    assert_ok(hearth_ledger_store_set_counter(ls, up, NULL));
    assert_ok(one_round(ls, 1, HEARTH_PREPARED_FINISHED));
    assert_int_equal(c.value, 1); /* raised before the bytes left */
    assert_ok(hearth_db_backup(db, copy, NULL));
    assert_ok(one_round(ls, 2, HEARTH_PREPARED_READY));
    assert_int_equal(c.value, 1); /* charged, none left: behind, harmless */
    c.gone = true;
    assert_int_equal(one_round(ls, 2, HEARTH_PREPARED_SENDING), HEARTH_EBUSY);
    assert_int_equal(one_round(ls, 3, HEARTH_PREPARED_READY), HEARTH_EBUSY);
    c.gone = false;
    assert_ok(one_round(ls, 2, HEARTH_PREPARED_SENDING));
    assert_int_equal(c.value, 2);
    assert_ok(hearth_ledger_store_set_counter(ls, up, NULL));
    assert_int_equal(hearth_ledger_store_set_counter(
                         ls, (hearth_ledger_counter){NULL, NULL}, NULL),
                     HEARTH_ESTATE); /* it had one */
    assert_int_equal(hearth_ledger_store_set_counter(NULL, up, NULL),
                     HEARTH_EINVAL);
    hearth_ledger_store_close(ls);
    hearth_db_close(db);

    remove_files();
    assert_int_equal(rename(copy, path), 0);
    db = open_db();
    assert_ok(open_ledger(&ls, db)); /* from inside all is well */
    assert_int_equal(hearth_ledger_store_set_counter(ls, up, &err),
                     HEARTH_EDIGEST);
    assert_non_null(strstr(err.text, "older copy"));
    assert_int_equal(one_round(ls, 2, HEARTH_PREPARED_READY), HEARTH_EDIGEST);
    hearth_ledger_store_close(ls);
    hearth_db_close(db);
}

/* A copy taken before bytes left, put back after: it may send the same bytes
 * again, but not take their charge back. */
static void counter_keeps_the_charge_of_what_left(void **state) {
    (void)state;
    hearth_ledger_store *ls = NULL;
    hearth_round_key k;
    hearth_ledger_sums sums;
    hearth_prepared_state s;
    char copy[128];
    uint64_t n_sent = 0;
    counter c = {0, false};
    const hearth_ledger_counter up = {raise_counter, &c};
    const hearth_offer o = hearth_offer_fixture();
    assert_ok(hearth_round_key_init(&k, o.task, 1, o.cohort, o.stage));
    snprintf(copy, sizeof(copy), "%s.copy", path);
    for (int way = 0; way < 3; way++) {
        c = (counter){0, false};
        (void)remove(copy);
        remove_files();
        hearth_db *db = open_db();
        assert_ok(open_ledger(&ls, db));
        assert_ok(hearth_ledger_store_set_counter(ls, up, NULL));
        assert_ok(one_round(ls, 1, HEARTH_PREPARED_READY));
        assert_ok(hearth_db_backup(db, copy, NULL));
        assert_ok(one_round(ls, 1, HEARTH_PREPARED_SENDING));
        hearth_ledger_store_close(ls);
        hearth_db_close(db);
        remove_files();
        assert_int_equal(rename(copy, path), 0);
        db = open_db();
        assert_ok(open_ledger(&ls, db));
        assert_ok(hearth_ledger_store_set_counter(ls, up, NULL));
        c.gone = way == 1; /* it may have left: the same */
        if (way < 2)
            assert_int_equal(hearth_ledger_store_void(ls, &k, NULL),
                             HEARTH_ESTATE);
        else
            assert_ok(hearth_ledger_store_erase_all(ls, &n_sent, NULL));
        assert_int_equal(n_sent, way == 2);
        assert_ok(hearth_ledger_store_state(ls, &k, &s, NULL));
        assert_int_equal(s, HEARTH_PREPARED_FINISHED); /* bytes erased */
        assert_ok(hearth_ledger_store_sums(ls, o.task, &sums, NULL));
        assert_int_equal(sums.n_lifetime, 1);
        hearth_ledger_store_close(ls);
        hearth_db_close(db);
    }
}

/* Another program opens the folder of an app that has a counter: it may read,
 * and erase bytes; it spends nothing and takes nothing back. */
static void ledger_wants_the_counter_it_had(void **state) {
    (void)state;
    const hearth_ledger_counter none = {NULL, NULL};
    hearth_ledger_store *ls = NULL;
    hearth_error err = {HEARTH_OK, ""};
    hearth_ledger_sums sums;
    hearth_round_key k;
    hearth_prepared_state s;
    uint64_t n_sent = 0;
    counter c = {0, false};
    const hearth_ledger_counter up = {raise_counter, &c};
    const hearth_offer o = hearth_offer_fixture();
    assert_ok(hearth_round_key_init(&k, o.task, 1, o.cohort, o.stage));
    for (int way = 0; way < 2; way++) {
        remove_files();
        c = (counter){0, false};
        hearth_db *db = open_db();
        assert_ok(open_ledger(&ls, db));
        assert_ok(hearth_ledger_store_set_counter(ls, none, NULL));
        assert_ok(hearth_ledger_store_set_counter(ls, up, NULL));
        assert_ok(one_round(ls, 1, HEARTH_PREPARED_READY));
        hearth_ledger_store_close(ls);

        assert_ok(open_ledger(&ls, db));
        assert_int_equal(hearth_ledger_store_set_counter(ls, none, &err),
                         HEARTH_ESTATE);
        assert_non_null(strstr(err.text, "take part from that app"));
        assert_int_equal(one_round(ls, 2, HEARTH_PREPARED_READY),
                         HEARTH_ESTATE);
        assert_int_equal(one_round(ls, 1, HEARTH_PREPARED_SENDING),
                         HEARTH_ESTATE);
        if (way == 0)
            assert_int_equal(hearth_ledger_store_void(ls, &k, NULL),
                             HEARTH_ESTATE);
        else
            assert_ok(hearth_ledger_store_erase_all(ls, &n_sent, NULL));
        assert_int_equal(n_sent, way == 1);
        assert_ok(hearth_ledger_store_state(ls, &k, &s, NULL));
        assert_int_equal(s, HEARTH_PREPARED_FINISHED); /* bytes erased */
        assert_ok(hearth_ledger_store_sums(ls, o.task, &sums, NULL));
        assert_int_equal(sums.n_lifetime, 1);
        assert_int_equal(c.value, 0);
        hearth_ledger_store_close(ls);

        assert_ok(open_ledger(&ls, db)); /* the app itself goes on */
        assert_ok(hearth_ledger_store_set_counter(ls, up, NULL));
        assert_ok(one_round(ls, 2, HEARTH_PREPARED_SENDING));
        assert_int_equal(c.value, 2);
        hearth_ledger_store_close(ls);
        hearth_db_close(db);
    }
}

/* A ledger of the schema before the counter was remembered: its rows stay, it
 * goes on without a counter, and remembers one from the next time it has it. */
static void ledger_takes_the_former_schema_along(void **state) {
    (void)state;
    hearth_ledger_store *ls = NULL;
    hearth_ledger_sums sums;
    const hearth_ledger_counter none = {NULL, NULL};
    hearth_db *db = open_db();
    fill(db);
    assert_ok(hearth_db_exec(
        db,
        "DROP TABLE ledger_counter;"
        "UPDATE hearth_schema SET version = 1 WHERE module = 'ledger'",
        NULL));
    hearth_db_close(db);

    db = open_db();
    assert_ok(open_ledger(&ls, db));
    assert_ok(hearth_ledger_store_set_counter(ls, none, NULL));
    assert_ok(
        hearth_ledger_store_sums(ls, hearth_offer_fixture().task, &sums, NULL));
    assert_int_equal(sums.n_lifetime, 2);
    assert_ok(one_round(ls, 4, HEARTH_PREPARED_SENDING));
    counter c = {0, false};
    assert_ok(hearth_ledger_store_set_counter(
        ls, (hearth_ledger_counter){raise_counter, &c}, NULL));
    hearth_ledger_store_close(ls);
    assert_ok(open_ledger(&ls, db));
    assert_int_equal(hearth_ledger_store_set_counter(ls, none, NULL),
                     HEARTH_ESTATE);
    hearth_ledger_store_close(ls);
    hearth_db_close(db);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(ledger_refuses_updates_and_deletes),
        T(ledger_notices_every_change),
        T(changed_bytes_are_not_sent),
        T(ledger_refuses_later_versions_untouched),
        T(ledger_open_checks_its_arguments),
        T(ledger_lists_what_happened),
        T(ledger_time_never_runs_backwards),
        T(counter_shows_a_restored_copy),
        T(counter_keeps_the_charge_of_what_left),
        T(ledger_wants_the_counter_it_had),
        T(ledger_takes_the_former_schema_along),
        T(killed_anywhere_is_charged_exactly_once),
    };
#undef T
    return cmocka_run_group_tests_name("client/delta/ledger_store", tests, NULL,
                                       NULL);
}

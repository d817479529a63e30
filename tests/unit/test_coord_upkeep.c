/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_coord_upkeep.c - what happens to a round from outside: its
 * task is paused, the clock was set back while nobody served, its key must be
 * in no file once it is closed. */
#include "tests/support/coord_kit.h"

#include <dirent.h>
#include <sys/resource.h>

#include "coordinator/round.h"

static const int32_t V[KIT_D] = {1, -1, 2, -2, 3, -3, 4, -4};

static hearth_coord_store *store_of(kit *k) {
    hearth_coord_store *s = NULL;
    char path[256];
    assert_ok(hearth_coord_db_path(path, sizeof(path), k->state));
    assert_ok(
        hearth_coord_store_open(&s, path, HEARTH_STORE_DURABLE, NULL, NULL));
    return s;
}

static hearth_round_row last_round(kit *k) {
    hearth_round_row row;
    assert_ok(hearth_coord_store_last_round(hearth_coord_get_store(k->c),
                                            "demo", &row, NULL));
    return row;
}

static void set_state(kit *k, uint32_t state) {
    hearth_coord_store *s = store_of(k);
    assert_ok(hearth_coord_store_set_task_state(s, "demo", state, NULL));
    hearth_coord_store_close(s);
    kit_advance(k, 1500); /* it is taken up within a second */
}

static void pause_ends_the_round_early(void **state) {
    (void)state;
    kit k;
    hearth_offer o;
    kit_open(&k, NULL);
    kit_task(&k, "demo", "2,9", "5m,10m", 9);
    assert_int_equal(kit_take_part(&k, "a", V), 200);
    assert_int_equal(kit_take_part(&k, "b", V), 200);
    assert_int_equal(last_round(&k).phase, HEARTH_ROUND_OPEN);
    set_state(&k, HEARTH_TASK_PAUSED); /* enough have committed */
    assert_int_equal(last_round(&k).phase, HEARTH_ROUND_RELEASED);
    assert_int_equal(last_round(&k).counted, 2);
    assert_false(kit_offer(&k, "c", &o));

    set_state(&k, HEARTH_TASK_ACTIVE);
    assert_true(kit_offer(&k, "c", &o));
    assert_int_equal(o.round, 2);
    assert_int_equal(kit_upload(&k, &o, V), 200);
    set_state(&k, HEARTH_TASK_PAUSED); /* too few: none is counted */
    assert_int_equal(last_round(&k).phase, HEARTH_ROUND_FAILED);
    kit_close(&k);
}

/* A restart with a clock that lies an hour back does not keep the round open
 * for another hour. */
static void round_ends_in_time_when_the_clock_was_set_back(void **state) {
    (void)state;
    kit k;
    hearth_offer o;
    kit_open(&k, NULL);
    kit_task(&k, "demo", "2,9", "0s,10m", 9);
    assert_true(kit_offer(&k, "a", &o));
    hearth_coord_close(k.c);
    k.c = NULL;
    k.vc.wall_ms -= 3600000;
    assert_ok(kit_start(&k));
    assert_true(kit_offer(&k, "a", &o));
    assert_int_equal(o.deadline_ms, (uint64_t)k.vc.wall_ms + 600000);
    kit_advance(&k, 599999);
    assert_int_equal(last_round(&k).phase, HEARTH_ROUND_OPEN);
    kit_advance(&k, 1);
    assert_int_equal(last_round(&k).phase, HEARTH_ROUND_FAILED);
    kit_close(&k);
}

static bool file_holds(const char *path, const uint8_t *what, size_t n) {
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    bool found = false;
    if (hearth_file_read(&b, path, (size_t)64 << 20, NULL) == HEARTH_OK)
        for (size_t i = 0; i + n <= b.n && !found; i++)
            found = memcmp(b.v + i, what, n) == 0;
    hearth_buf_free(&b);
    return found;
}

static bool store_holds(kit *k, const uint8_t *what, size_t n) {
    static const char *const end[] = {"", "-wal"};
    char path[256], full[300];
    bool found = false;
    assert_ok(hearth_coord_db_path(path, sizeof(path), k->state));
    for (size_t i = 0; i < 2; i++) {
        snprintf(full, sizeof(full), "%s%s", path, end[i]);
        found = found || file_holds(full, what, n);
    }
    return found;
}

static void key_of_a_closed_round_is_in_no_file(void **state) {
    (void)state;
    for (int fails = 0; fails < 2; fails++) {
        kit k;
        hearth_offer o;
        kit_open(&k, NULL);
        kit_task(&k, "demo", "1,1", "0s,10m", 9);
        assert_true(kit_offer(&k, "a", &o));
        hearth_secret key;
        assert_true(last_round(&k).has_key);
        assert_ok(hearth_coord_store_round_key(hearth_coord_get_store(k.c),
                                               "demo", 1, &key, NULL));
        assert_true(store_holds(&k, key.bytes, sizeof(key.bytes)));
        if (fails)
            kit_advance(&k, 600000);
        else
            assert_int_equal(kit_upload(&k, &o, V), 200);
        assert_int_equal(last_round(&k).phase,
                         fails ? HEARTH_ROUND_FAILED : HEARTH_ROUND_RELEASED);
        assert_false(store_holds(&k, key.bytes, sizeof(key.bytes)));
        kit_close(&k);
    }
}

/* Rows of a table of the coordinator's, of round 1 where it has rounds. */
static int64_t rows_in(kit *k, const char *table, bool of_round) {
    hearth_db *db = NULL;
    hearth_stmt *q = NULL;
    bool has = false;
    char path[256], sql[120];
    assert_ok(hearth_coord_db_path(path, sizeof(path), k->state));
    snprintf(sql, sizeof(sql), "SELECT count(*) FROM %s%s", table,
             of_round ? " WHERE round = 1" : "");
    assert_ok(hearth_db_open(&db, path, NULL, NULL));
    assert_ok(hearth_db_prepare(db, &q, sql, NULL));
    assert_ok(hearth_stmt_step(q, &has, NULL));
    int64_t n = hearth_stmt_i64(q, 0);
    hearth_stmt_free(q);
    hearth_db_close(db);
    return n;
}

/* Is the folder of round 1 there, and does a file of it hold these bytes? */
static bool spool_holds(kit *k, const uint8_t *what, size_t n, bool *there) {
    char path[160], file[512];
    snprintf(path, sizeof(path), "%s/spool/demo/1", k->state);
    DIR *d = opendir(path);
    bool found = false;
    *there = d != NULL;
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        snprintf(file, sizeof(file), "%s/%s", path, e->d_name);
        found = found || file_holds(file, what, n);
    }
    if (d) closedir(d);
    return found;
}

/* PRIVACY.md, D2: an upload is in no file once its round is over, however that
 * ended; who took part is not known any more either. */
static void an_upload_goes_with_its_round(void **state) {
    (void)state;
    uint8_t bytes[4 * KIT_D];
    kit_bytes(bytes, V);
    for (int fails = 0; fails < 2; fails++) {
        kit k;
        bool there;
        kit_open(&k, NULL);
        kit_task(&k, "demo", "2,2", "0s,10m", 9);
        assert_int_equal(kit_take_part(&k, "a", V), 200);
        assert_true(spool_holds(&k, bytes, sizeof(bytes), &there));
        assert_int_equal(rows_in(&k, "participation", true), 1);
        if (fails)
            kit_advance(&k, 600000);
        else
            assert_int_equal(kit_take_part(&k, "b", V), 200);
        assert_int_equal(last_round(&k).phase,
                         fails ? HEARTH_ROUND_FAILED : HEARTH_ROUND_RELEASED);
        assert_false(spool_holds(&k, bytes, sizeof(bytes), &there));
        assert_false(there);
        assert_false(store_holds(&k, bytes, sizeof(bytes)));
        assert_int_equal(rows_in(&k, "participation", true), 0);
        assert_int_equal(rows_in(&k, "contributions", true), fails ? 1 : 2);
        kit_close(&k);
    }
}

/* Digests and token hashes of a round stay for eight more rounds, so that a
 * commit whose reply was lost gets the same reply. */
static void commits_go_after_eight_more_rounds(void **state) {
    (void)state;
    kit k;
    char device[16];
    kit_open(&k, NULL);
    kit_task(&k, "demo", "1,1", "0s,10m", 99);
    for (int round = 1; round <= 10; round++) {
        snprintf(device, sizeof(device), "d%d", round);
        assert_int_equal(kit_take_part(&k, device, V), 200);
        assert_int_equal(last_round(&k).round, round);
        assert_int_equal(rows_in(&k, "contributions", true), round <= 9);
    }
    kit_close(&k);
}

/* A spacing tag goes when someone takes part after its time. */
static void spacing_tags_go(void **state) {
    (void)state;
    kit k;
    char ini[2048];
    kit_open(&k, NULL);
    kit_ini(ini, sizeof(ini), "demo", "1,1", "0s,10m", 9, NULL);
    memcpy(strstr(ini, "spacing = 0s"), "spacing = 9h", 12);
    assert_ok(hearth_coord_task_create(k.c, "t", ini, strlen(ini), &k.err));
    assert_int_equal(kit_take_part(&k, "a", V), 200);
    assert_int_equal(kit_take_part(&k, "b", V), 200);
    assert_int_equal(rows_in(&k, "cooldown", false), 2);
    kit_advance(&k, 9 * 3600000 - 1);
    assert_int_equal(kit_take_part(&k, "c", V), 200);
    assert_int_equal(rows_in(&k, "cooldown", false), 3);
    kit_advance(&k, 1);
    assert_int_equal(kit_take_part(&k, "d", V), 200);
    assert_int_equal(rows_in(&k, "cooldown", false), 2); /* c and d */
    kit_close(&k);
}

static hearth_status tidy_now(void *ud, const hearth_task_row *row) {
    (void)row;
    return hearth_coord_store_tidy(ud, NULL);
}

/* A reader in the way (a backup, a list) is no failure, and what it kept from
 * being erased goes with the next round. */
static void tidy_leaves_readers_alone(void **state) {
    (void)state;
    kit k;
    hearth_offer o;
    kit_open(&k, NULL);
    kit_task(&k, "demo", "1,1", "0s,10m", 9);
    assert_true(kit_offer(&k, "a", &o));
    hearth_coord_store *reader = store_of(&k), *s = store_of(&k);
    assert_ok(hearth_coord_store_tasks(reader, tidy_now, s, NULL));
    assert_int_equal(kit_upload(&k, &o, V), 200);
    assert_ok(hearth_coord_store_tidy(s, NULL));
    hearth_coord_store_close(reader);
    hearth_coord_store_close(s);
    kit_close(&k);
}

/* Work of a job, and once more when it closed a round: as if the database had
 * said "failed" about a transaction that is on the disk. */
static kit *retried;
static unsigned n_retries;

static void submit_twice(void *ud, void (*work)(void *), void (*done)(void *),
                         void *arg) {
    (void)ud;
    uint32_t before = retried->c ? last_round(retried).phase : 0;
    work(arg);
    if (before == HEARTH_ROUND_OPEN || before == HEARTH_ROUND_FIXING) {
        uint32_t now = last_round(retried).phase;
        if (now == HEARTH_ROUND_RELEASED || now == HEARTH_ROUND_FAILED) {
            n_retries++;
            work(arg);
        }
    }
    done(arg);
}

static void closing_a_round_twice_closes_it_once(void **state) {
    (void)state;
    kit k;
    hearth_offer o;
    hearth_coord_task_status ts;
    hearth_coord_config cfg;
    memset(&cfg, 0, sizeof(cfg));
    cfg.io.submit = submit_twice;
    retried = &k;
    n_retries = 0;
    kit_open(&k, &cfg);
    kit_task(&k, "demo", "1,1", "0s,10m", 9);
    assert_int_equal(kit_take_part(&k, "a", V), 200);
    assert_int_equal(n_retries, 1);
    assert_ok(hearth_coord_task_get_status(k.c, "demo", &ts));
    assert_true(ts.rounds_released == 1 && ts.sequence == 2);
    assert_true(kit_offer(&k, "b", &o));
    assert_int_equal(o.start_sequence, 2);
    kit_advance(&k, 600000);
    assert_int_equal(n_retries, 2);
    assert_ok(hearth_coord_task_get_status(k.c, "demo", &ts));
    assert_true(ts.rounds_released == 1 && ts.rounds_failed == 1);
    assert_true(kit_offer(&k, "b", &o)); /* it goes on */
    assert_int_equal(o.round, 3);
    kit_close(&k);
}

/* Jobs that run when the test says so. */
static struct {
    void (*work)(void *);
    void (*done)(void *);
    void *arg;
} held;

static void hold(void *ud, void (*work)(void *), void (*done)(void *),
                 void *arg) {
    (void)ud;
    assert_null(held.work);
    held.work = work;
    held.done = done;
    held.arg = arg;
}

static bool run_held(void) {
    void (*work)(void *) = held.work;
    if (!work) return false;
    held.work = NULL;
    work(held.arg);
    held.done(held.arg);
    return true;
}

/* Everything but the reply of the commit, which comes when its job ran. */
static void send_all(kit *k, const char *device, const char *task,
                     kit_reply *r) {
    static hearth_checkin_reply rp;
    uint8_t bytes[4 * KIT_D];
    kit_bytes(bytes, V);
    assert_int_equal(kit_checkin(k, device, &rp), 200);
    for (uint32_t i = 0; i < rp.n_offers; i++) {
        if (strcmp(rp.offers[i].task, task) != 0) continue;
        assert_int_equal(kit_begin(k, &rp.offers[i], bytes, sizeof(bytes), r),
                         200);
        assert_int_equal(
            kit_append(k, &rp.offers[i], 0, bytes, sizeof(bytes), r), 200);
        r->status = 0;
        (void)kit_commit(k, &rp.offers[i], bytes, sizeof(bytes), r);
        return;
    }
    fail_msg("%s has no offer of %s", device, task);
}

static void busy_task_does_not_hold_off_another(void **state) {
    (void)state;
    static kit_reply r[24];
    kit k;
    hearth_coord_task_status ts;
    hearth_coord_config cfg;
    char id[8];
    unsigned n = 0;
    memset(&cfg, 0, sizeof(cfg));
    memset(r, 0, sizeof(r));
    memset(&held, 0, sizeof(held));
    cfg.io.submit = hold;
    kit_open(&k, &cfg);
    kit_task(&k, "busy", "20,20", "0s,10m", 9);
    kit_task(&k, "demo", "1,1", "0s,10m", 9);
    send_all(&k, "a", "demo", &r[n++]);
    do { /* a new commit of the busy one before every job ends */
        snprintf(id, sizeof(id), "b%u", n);
        send_all(&k, id, "busy", &r[n++]);
        assert_true(run_held());
        assert_ok(hearth_coord_task_get_status(k.c, "demo", &ts));
    } while (ts.rounds_released == 0 && n < 15);
    assert_int_equal(ts.rounds_released, 1);
    while (run_held()) continue;
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(r[i].status, 200); /* nobody was forgotten */
        kit_reply_free(&r[i]);
    }
    kit_close(&k);
}

/* Out of descriptors for a moment: the device is asked to come back, and its
 * contribution is not given up. */
static void commit_waits_for_a_file_descriptor(void **state) {
    (void)state;
    kit k;
    hearth_offer o;
    kit_reply r = {0};
    uint8_t bytes[4 * KIT_D];
    struct rlimit before, none;
    kit_bytes(bytes, V);
    kit_open(&k, NULL);
    kit_task(&k, "demo", "1,1", "0s,10m", 9);
    assert_true(kit_offer(&k, "a", &o));
    assert_int_equal(kit_begin(&k, &o, bytes, sizeof(bytes), &r), 200);
    assert_int_equal(kit_append(&k, &o, 0, bytes, sizeof(bytes), &r), 200);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int status = kit_commit(&k, &o, bytes, sizeof(bytes), &r);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(status, 500);
    assert_int_equal(kit_commit(&k, &o, bytes, sizeof(bytes), &r), 200);
    assert_int_equal(last_round(&k).phase, HEARTH_ROUND_RELEASED);
    kit_reply_free(&r);
    kit_close(&k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pause_ends_the_round_early),
        cmocka_unit_test(round_ends_in_time_when_the_clock_was_set_back),
        cmocka_unit_test(key_of_a_closed_round_is_in_no_file),
        cmocka_unit_test(an_upload_goes_with_its_round),
        cmocka_unit_test(commits_go_after_eight_more_rounds),
        cmocka_unit_test(spacing_tags_go),
        cmocka_unit_test(tidy_leaves_readers_alone),
        cmocka_unit_test(closing_a_round_twice_closes_it_once),
        cmocka_unit_test(busy_task_does_not_hold_off_another),
        cmocka_unit_test(commit_waits_for_a_file_descriptor),
    };
    return cmocka_run_group_tests_name("coordinator/upkeep", tests, NULL, NULL);
}

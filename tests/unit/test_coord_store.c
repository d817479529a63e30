/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_coord_store.c - the store refuses what would break the
 * promise, even when the code above it were wrong. */
#include "common/db.h"
#include "coordinator/round.h"
#include "tests/support/coord_kit.h"

static const hearth_secret KEY = {{7, 6, 5}};
static hearth_coord_store *S;
static char dir[64];

static int open_store(void **state) {
    char path[96];
    (void)state;
    assert_non_null(hearth_test_dir(dir));
    snprintf(path, sizeof(path), "%s/db", dir);
    assert_ok(
        hearth_coord_store_open(&S, path, HEARTH_STORE_NO_SYNC, NULL, NULL));
    return 0;
}

static int close_store(void **state) {
    (void)state;
    hearth_coord_store_close(S);
    assert_ok(hearth_file_remove_tree(dir, NULL));
    return 0;
}

static void put_round(uint64_t number) {
    hearth_round_row row;
    memset(&row, 0, sizeof(row));
    snprintf(row.task, sizeof(row.task), "t");
    row.round = number;
    row.phase = HEARTH_ROUND_OPEN;
    row.opened_ms = row.stage_opened_ms = 5;
    row.start_sequence = 1;
    assert_ok(hearth_coord_store_open_round(S, &row, &KEY, NULL));
}

static hearth_contrib_row contrib(uint64_t round, uint8_t name) {
    hearth_contrib_row row;
    memset(&row, 0, sizeof(row));
    memset(row.token_hash, name, 32);
    snprintf(row.task, sizeof(row.task), "t");
    row.round = round;
    return row;
}

/* An upload that was begun. */
static hearth_contrib_row begun(uint64_t round, uint8_t name) {
    hearth_contrib_row row = contrib(round, name);
    uint8_t tag[32];
    memset(tag, name, 32);
    assert_ok(hearth_coord_store_invite(S, &row, tag, NULL));
    assert_int_equal(hearth_coord_store_invite(S, &row, tag, NULL),
                     HEARTH_EEXISTS);
    row.state = HEARTH_CONTRIB_BEGUN;
    row.length = 32;
    assert_ok(hearth_coord_store_set_contrib(S, &row, NULL));
    return row;
}

static void commit_needs_an_open_round(void **state) {
    (void)state;
    hearth_contrib_row rows[3], back;
    uint32_t n[5];
    put_round(1);
    put_round(2);
    rows[0] = begun(1, 1);
    rows[1] = begun(2, 2);
    rows[2] = contrib(1, 99); /* nobody */
    /* One bad row, and none of the batch is committed. */
    assert_int_equal(hearth_coord_store_commit(S, rows, 3, NULL),
                     HEARTH_ESTATE);
    assert_ok(hearth_coord_store_contrib(S, rows[0].token_hash, &back, NULL));
    assert_int_equal(back.state, HEARTH_CONTRIB_BEGUN);
    assert_ok(hearth_coord_store_fix_round(S, "t", 2, 0, NULL));
    assert_int_equal(hearth_coord_store_commit(S, rows, 2, NULL),
                     HEARTH_ESTATE);
    assert_ok(hearth_coord_store_commit(S, rows, 1, NULL));
    assert_int_equal(hearth_coord_store_commit(S, rows, 1, NULL),
                     HEARTH_ESTATE); /* not twice */
    assert_ok(hearth_coord_store_count(S, "t", 1, 0, n, NULL));
    assert_int_equal(n[HEARTH_CONTRIB_COMMITTED], 1);
    /* What is committed can not be changed any more. */
    rows[0].state = HEARTH_CONTRIB_ABORTED;
    assert_int_equal(hearth_coord_store_set_contrib(S, &rows[0], NULL),
                     HEARTH_ENOTFOUND);
}

static void checkpoint_counts_a_row_once(void **state) {
    (void)state;
    hearth_contrib_row rows[2], out[4];
    uint64_t number;
    size_t n;
    put_round(1);
    rows[0] = begun(1, 1);
    rows[1] = begun(1, 2);
    assert_ok(hearth_coord_store_commit(S, rows, 1, NULL));
    assert_ok(hearth_coord_store_checkpoint(S, "t", 1, 0, &number, NULL));
    assert_int_equal(number, 0);
    /* A row that is not committed can not be in a sum. */
    assert_int_equal(
        hearth_coord_store_set_checkpoint(S, "t", 1, 0, 1, rows, 2, NULL),
        HEARTH_ESTATE);
    assert_ok(hearth_coord_store_checkpoint(S, "t", 1, 0, &number, NULL));
    assert_int_equal(number, 0);
    assert_ok(
        hearth_coord_store_set_checkpoint(S, "t", 1, 0, 1, rows, 1, NULL));
    assert_int_equal(
        hearth_coord_store_set_checkpoint(S, "t", 1, 0, 2, rows, 1, NULL),
        HEARTH_ESTATE);
    assert_ok(hearth_coord_store_checkpoint(S, "t", 1, 0, &number, NULL));
    assert_int_equal(number, 1);
    assert_ok(hearth_coord_store_committed(S, "t", 1, 0, false, NULL, out, 4,
                                           &n, NULL));
    assert_int_equal(n, 0);
    assert_ok(hearth_coord_store_committed(S, "t", 1, 0, true, NULL, out, 4, &n,
                                           NULL));
    assert_int_equal(n, 1);
    assert_int_equal(out[0].folded_in, 1);
    assert_ok(hearth_coord_store_committed(
        S, "t", 1, 0, true, out[0].token_hash, out, 4, &n, NULL));
    assert_int_equal(n, 0);
}

static void rounds_close_once_and_lose_their_key(void **state) {
    (void)state;
    hearth_round_row row;
    hearth_publication p;
    const hearth_task_row task = {.name = "t", .state = HEARTH_TASK_ACTIVE};
    uint64_t n;
    memset(&p, 0, sizeof(p));
    snprintf(p.row.task, sizeof(p.row.task), "t");
    p.row.sequence = 1;
    p.manifest = (const uint8_t *)"m";
    p.manifest_n = 1;
    p.new_task = &task;
    p.new_key = &KEY;
    p.ini = "ini";
    p.ini_n = 3;
    assert_ok(hearth_coord_store_publish(S, &p, NULL));
    assert_int_equal(hearth_coord_store_publish(S, &p, NULL), HEARTH_EEXISTS);
    p.new_task = NULL;
    assert_int_equal(hearth_coord_store_publish(S, &p, NULL), HEARTH_EEXISTS);

    assert_int_equal(hearth_coord_store_last_round(S, "t", &row, NULL),
                     HEARTH_ENOTFOUND);
    put_round(1);
    p.row.sequence = 2;
    p.close_round = 1;
    assert_int_equal(hearth_coord_store_publish(S, &p, NULL), HEARTH_ESTATE);
    assert_int_equal(
        hearth_coord_store_release(S, "t", 2, &p.row, NULL, NULL, NULL),
        HEARTH_ENOTFOUND); /* all or nothing */
    snprintf(p.row.task, sizeof(p.row.task), "t");
    p.row.sequence = 2;
    assert_ok(hearth_coord_store_fix_round(S, "t", 1, 2, NULL));
    assert_int_equal(hearth_coord_store_fix_round(S, "t", 1, 2, NULL),
                     HEARTH_ESTATE);
    p.done = true;
    assert_ok(hearth_coord_store_publish(S, &p, NULL));
    assert_ok(hearth_coord_store_last_round(S, "t", &row, NULL));
    assert_true(row.phase == HEARTH_ROUND_RELEASED && !row.has_key);
    assert_true(row.sequence == 2 && row.counted == 2);
    assert_int_equal(hearth_coord_store_fail_round(S, "t", 1, 9, NULL),
                     HEARTH_ESTATE);
    hearth_task_row t;
    assert_ok(hearth_coord_store_task(S, "t", &t, NULL, NULL));
    assert_int_equal(t.state, HEARTH_TASK_DONE);
    put_round(2);
    assert_ok(hearth_coord_store_fail_round(S, "t", 2, 9, NULL));
    assert_ok(
        hearth_coord_store_count_rounds(S, "t", HEARTH_ROUND_FAILED, &n, NULL));
    assert_int_equal(n, 1);
    hearth_contrib_row c = begun(1, 4);
    assert_ok(hearth_coord_store_prune(S, "t", 2, NULL));
    assert_int_equal(hearth_coord_store_contrib(S, c.token_hash, &c, NULL),
                     HEARTH_ENOTFOUND);
}

static hearth_status count_rounds(void *ud, const hearth_round_row *row) {
    (*(uint64_t *)ud) += row->round;
    return HEARTH_OK;
}

static hearth_status stop_at_first(void *ud, const hearth_round_row *row) {
    (void)row;
    (*(uint64_t *)ud)++;
    return HEARTH_ECANCELLED;
}

/* Exactly the bytes that were put in, or zeros and why. */
static void keys_are_given_whole_or_not_at_all(void **state) {
    (void)state;
    const hearth_secret none = {{0}};
    hearth_secret key = KEY;
    hearth_publication p;
    const hearth_task_row task = {.name = "t", .state = HEARTH_TASK_ACTIVE};
    char path[96];
    hearth_db *db = NULL;
    memset(&p, 0, sizeof(p));
    snprintf(p.row.task, sizeof(p.row.task), "t");
    p.row.sequence = 1;
    p.manifest = (const uint8_t *)"m";
    p.manifest_n = 1;
    p.new_task = &task;
    p.new_key = &KEY;
    p.ini = "ini";
    assert_int_equal(hearth_coord_store_cooldown_key(S, "t", &key, NULL),
                     HEARTH_ENOTFOUND);
    assert_true(hearth_secret_equal(&key, &none));
    assert_ok(hearth_coord_store_publish(S, &p, NULL));
    assert_ok(hearth_coord_store_cooldown_key(S, "t", &key, NULL));
    assert_true(hearth_secret_equal(&key, &KEY));

    assert_int_equal(hearth_coord_store_round_key(S, "t", 1, &key, NULL),
                     HEARTH_ENOTFOUND);
    assert_true(hearth_secret_equal(&key, &none));
    put_round(1);
    put_round(2);
    assert_ok(hearth_coord_store_fail_round(S, "t", 1, 9, NULL));
    assert_int_equal(hearth_coord_store_round_key(S, "t", 1, &key, NULL),
                     HEARTH_ENOTFOUND);
    assert_ok(hearth_coord_store_round_key(S, "t", 2, &key, NULL));
    assert_true(hearth_secret_equal(&key, &KEY));

    snprintf(path, sizeof(path), "%s/db", dir);
    assert_ok(hearth_db_open(&db, path, NULL, NULL));
    assert_ok(hearth_db_exec(db,
                             "UPDATE tasks SET cooldown_key = zeroblob(31);"
                             "UPDATE rounds SET key = zeroblob(33)"
                             " WHERE round = 2",
                             NULL));
    hearth_db_close(db);
    assert_int_equal(hearth_coord_store_cooldown_key(S, "t", &key, NULL),
                     HEARTH_EFORMAT);
    assert_true(hearth_secret_equal(&key, &none));
    key = KEY;
    assert_int_equal(hearth_coord_store_round_key(S, "t", 2, &key, NULL),
                     HEARTH_EFORMAT);
    assert_true(hearth_secret_equal(&key, &none));
}

static void walks_and_spacing(void **state) {
    (void)state;
    uint64_t sum = 0, calls = 0;
    const uint8_t tag[32] = {1};
    bool ready;
    put_round(1);
    put_round(2);
    assert_ok(hearth_coord_store_rounds(S, "t", count_rounds, &sum, NULL));
    assert_int_equal(sum, 3);
    assert_int_equal(
        hearth_coord_store_rounds(S, "t", stop_at_first, &calls, NULL),
        HEARTH_ECANCELLED);
    assert_int_equal(calls, 1);
    static const struct {
        int64_t now;
        bool remember, ready;
    } t[] = {
        {1000, false, true}, /* only asked */
        {1000, true, true},  {1099, true, false}, {1100, true, true},
        {1199, true, false}, {1001, true, false}, /* a small step back */
        {999, true, true},   {1098, true, false}, /* a clock that was wrong */
        {1099, false, true},
    };
    for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
        assert_ok(hearth_coord_store_cooldown(S, "t", tag, t[i].now, 100,
                                              t[i].remember, &ready, NULL));
        assert_int_equal(ready, t[i].ready);
    }
    assert_int_equal(
        hearth_coord_store_cooldown(S, "t", tag, -1, 100, true, &ready, NULL),
        HEARTH_EINVAL);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, open_store, close_store)
    const struct CMUnitTest tests[] = {
        T(commit_needs_an_open_round),
        T(checkpoint_counts_a_row_once),
        T(rounds_close_once_and_lose_their_key),
        T(keys_are_given_whole_or_not_at_all),
        T(walks_and_spacing),
    };
    return cmocka_run_group_tests_name("coordinator/store", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_db.c - common/db.h */
#include "tests/support/cmocka_all.h"

#include <pthread.h>
#include <sys/stat.h>

#include "common/db.h"
#include "common/file.h"

static char dir[64], path[128];

static int make_dir(void **state) {
    (void)state;
    if (!hearth_test_dir(dir)) return -1;
    return hearth_file_join(path, sizeof(path), dir, "t.db") == HEARTH_OK ? 0
                                                                          : -1;
}

static int drop_dir(void **state) {
    (void)state;
    return hearth_file_remove_tree(dir, NULL) == HEARTH_OK ? 0 : -1;
}

static const char *const steps[] = {
    "CREATE TABLE t(k INTEGER PRIMARY KEY, v TEXT UNIQUE, b BLOB)",
    "CREATE TABLE u(x REAL)"};

static int64_t count(hearth_db *db) {
    hearth_stmt *q;
    bool row;
    assert_ok(hearth_db_prepare(db, &q, "SELECT count(*) FROM t", NULL));
    assert_ok(hearth_stmt_step(q, &row, NULL));
    int64_t n = hearth_stmt_i64(q, 0);
    hearth_stmt_free(q);
    return n;
}

static hearth_status insert(hearth_db *db, const char *v) {
    hearth_stmt *q;
    assert_ok(
        hearth_db_prepare(db, &q, "INSERT INTO t(v,b) VALUES(?1,?2)", NULL));
    hearth_stmt_bind_str(q, 1, v);
    hearth_stmt_bind_blob(q, 2, v, strlen(v));
    hearth_status st = hearth_stmt_run(q, NULL);
    hearth_stmt_free(q);
    return st;
}

static void db_migrates_once_and_refuses_newer(void **state) {
    (void)state;
    hearth_db *db;
    assert_ok(hearth_db_open(&db, path, NULL, NULL));
    assert_ok(hearth_db_migrate(db, "m", steps, 1, NULL));
    assert_ok(hearth_db_migrate(db, "m", steps, 2, NULL));
    assert_ok(hearth_db_migrate(db, "m", steps, 2, NULL));
    assert_int_equal(hearth_db_migrate(db, "m", steps, 1, NULL),
                     HEARTH_EVERSION);
    static const char *const broken[] = {"CREATE TABLE broken("};
    assert_true(hearth_db_migrate(db, "n", broken, 1, NULL) != HEARTH_OK);
    assert_ok(insert(db, "a"));
    assert_int_equal(insert(db, "a"), HEARTH_EEXISTS);
    hearth_db_close(db);
    hearth_db_close(NULL);
}

enum { MANY_STEPS = 24 };
static char step_text[MANY_STEPS][48];
static const char *many_steps[MANY_STEPS];

static void *migrate_all(void *ud) {
    hearth_error *err = ud;
    hearth_db *db = NULL;
    char p[128];
    hearth_status st = hearth_file_join(p, sizeof(p), dir, "raced.db");
    if (st == HEARTH_OK) st = hearth_db_open(&db, p, NULL, err);
    if (st == HEARTH_OK)
        st = hearth_db_migrate(db, "m", many_steps, MANY_STEPS, err);
    err->status = st;
    hearth_db_close(db);
    return NULL;
}

/* Two programs that start on a new state at once: each step is run once. */
static void db_is_migrated_once_by_two_at_once(void **state) {
    (void)state;
    for (int i = 0; i < MANY_STEPS; i++) {
        snprintf(step_text[i], sizeof(step_text[i]), "CREATE TABLE t%d(x)", i);
        many_steps[i] = step_text[i];
    }
    for (int round = 0; round < 5; round++) {
        pthread_t other;
        hearth_error a = {HEARTH_OK, ""}, b = {HEARTH_OK, ""};
        assert_int_equal(pthread_create(&other, NULL, migrate_all, &a), 0);
        migrate_all(&b);
        assert_int_equal(pthread_join(other, NULL), 0);
        if (a.status != HEARTH_OK) fail_msg("%s", a.text);
        if (b.status != HEARTH_OK) fail_msg("%s", b.text);
        static const char *const file[] = {"raced.db", "raced.db-wal",
                                           "raced.db-shm"};
        for (size_t i = 0; i < 3; i++) {
            char p[128];
            assert_ok(hearth_file_join(p, sizeof(p), dir, file[i]));
            assert_ok(hearth_file_remove(p, NULL));
        }
    }
}

static void db_transactions_nest(void **state) {
    (void)state;
    hearth_db *db;
    assert_ok(hearth_db_open(&db, path, NULL, NULL));
    int64_t n = count(db);
    assert_ok(hearth_db_begin(db, NULL));
    assert_ok(hearth_db_begin(db, NULL));
    assert_ok(insert(db, "n1"));
    assert_ok(hearth_db_commit(db, NULL));
    assert_ok(hearth_db_commit(db, NULL));
    assert_int_equal(count(db), n + 1);
    assert_ok(hearth_db_begin(db, NULL));
    assert_ok(insert(db, "n2"));
    assert_ok(hearth_db_begin(db, NULL));
    hearth_db_rollback(db);
    assert_int_equal(hearth_db_commit(db, NULL), HEARTH_ESTATE);
    assert_int_equal(count(db), n + 1);
    assert_int_equal(hearth_db_commit(db, NULL), HEARTH_ESTATE);
    hearth_db_rollback(db);
    hearth_db_close(db);
}

static void db_reads_back_what_was_bound(void **state) {
    (void)state;
    hearth_db *db;
    hearth_stmt *q;
    bool row;
    size_t n;
    assert_ok(hearth_db_open(&db, ":memory:", NULL, NULL));
    assert_ok(
        hearth_db_prepare(db, &q, "SELECT ?1, ?2, ?3, ?4, ?5, NULL", NULL));
    hearth_stmt_bind_i64(q, 1, INT64_MIN);
    hearth_stmt_bind_f64(q, 2, 0.1);
    hearth_stmt_bind_text(q, 3, "a\0b", 3);
    hearth_stmt_bind_blob(q, 4, "xyz", 3);
    hearth_stmt_bind_blob(q, 5, NULL, 0);
    assert_ok(hearth_stmt_step(q, &row, NULL));
    assert_true(row && hearth_stmt_i64(q, 0) == INT64_MIN);
    assert_true(hearth_stmt_f64(q, 1) == 0.1);
    assert_memory_equal(hearth_stmt_text(q, 2, &n), "a\0b", 3);
    assert_int_equal(n, 3);
    assert_memory_equal(hearth_stmt_blob(q, 3, &n), "xyz", 3);
    hearth_stmt_blob(q, 4, &n);
    assert_true(n == 0 && !hearth_stmt_is_null(q, 4));
    assert_true(hearth_stmt_is_null(q, 5));
    assert_string_equal(hearth_stmt_text(q, 5, NULL), "");
    hearth_stmt_reset(q);
    hearth_stmt_bind_i64(q, 99, 1);
    assert_int_equal(hearth_stmt_step(q, &row, NULL), HEARTH_EINVAL);
    hearth_stmt_free(q);
    hearth_error e;
    assert_true(hearth_db_prepare(db, &q, "SELEC", &e) != HEARTH_OK);
    assert_null(q);
    hearth_db_close(db);
}

static void db_refuses_what_is_no_database(void **state) {
    (void)state;
    char p[128];
    hearth_db *db;
    hearth_error e;
    assert_ok(hearth_file_join(p, sizeof(p), dir, "junk"));
    assert_ok(hearth_file_write(p, "this is not a database at all, no", 33,
                                0644, NULL));
    assert_int_equal(hearth_db_open(&db, p, NULL, &e), HEARTH_EFORMAT);
    assert_null(db);
    assert_non_null(strstr(e.text, "junk"));
    assert_int_equal(hearth_db_open(&db, "/nonexistent/x.db", NULL, &e),
                     HEARTH_EIO);
}

static bool file_holds(const char *p, const char *word) {
    hearth_file f;
    bool found = false;
    if (hearth_file_map(&f, p, NULL) != HEARTH_OK) return false;
    for (size_t i = 0; i + strlen(word) <= f.n && !found; i++)
        found = !memcmp(f.v + i, word, strlen(word));
    hearth_file_unmap(&f);
    return found;
}

static void db_scrub_leaves_no_deleted_byte(void **state) {
    (void)state;
    hearth_db *db;
    char wal[160], copy[160];
    snprintf(wal, sizeof(wal), "%s-wal", path);
    snprintf(copy, sizeof(copy), "%s.copy", path);
    assert_ok(hearth_db_open(&db, path, NULL, NULL));
    assert_ok(insert(db, "CANARY-7f3a"));
    assert_true(file_holds(path, "CANARY-7f3a") ||
                file_holds(wal, "CANARY-7f3a"));
    assert_ok(hearth_db_exec(db, "DELETE FROM t WHERE v='CANARY-7f3a'", NULL));
    assert_int_equal(hearth_db_changes(db), 1);
    assert_ok(hearth_db_scrub(db, NULL));
    assert_false(file_holds(path, "CANARY-7f3a"));
    assert_false(file_holds(wal, "CANARY-7f3a"));
    assert_ok(hearth_db_backup(db, copy, NULL));
    assert_true(hearth_db_backup(db, copy, NULL) != HEARTH_OK);
    hearth_db_close(db);
    assert_ok(hearth_db_open(&db, copy, NULL, NULL));
    assert_true(count(db) > 0);
    hearth_db_close(db);
}

static unsigned mode_of(const char *p) {
    struct stat sb;
    return stat(p, &sb) == 0 ? (unsigned)sb.st_mode & 0777u : 0u;
}

/* Records, keys and cookies are in it: nobody else may read it. */
static void db_files_are_private(void **state) {
    (void)state;
    hearth_db *db;
    hearth_stmt *q;
    bool row;
    char p[128], beside[160];
    mode_t old = umask(0);
    assert_ok(hearth_file_join(p, sizeof(p), dir, "private.db"));
    assert_ok(hearth_db_open(&db, p, NULL, NULL));
    assert_int_equal(mode_of(p), 0600);
    snprintf(beside, sizeof(beside), "%s-wal", p);
    assert_int_equal(mode_of(beside), 0600);
    snprintf(beside, sizeof(beside), "%s-shm", p);
    assert_int_equal(mode_of(beside), 0600);
    snprintf(beside, sizeof(beside), "%s.copy", p);
    assert_ok(hearth_db_backup(db, beside, NULL));
    assert_int_equal(mode_of(beside), 0600);
    assert_ok(hearth_db_prepare(db, &q, "PRAGMA temp_store", NULL));
    assert_ok(hearth_stmt_step(q, &row, NULL));
    assert_true(row && hearth_stmt_i64(q, 0) == 2); /* memory, not /tmp */
    hearth_stmt_free(q);
    hearth_db_close(db);
    umask(old);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(db_migrates_once_and_refuses_newer),
        cmocka_unit_test(db_is_migrated_once_by_two_at_once),
        cmocka_unit_test(db_transactions_nest),
        cmocka_unit_test(db_reads_back_what_was_bound),
        cmocka_unit_test(db_refuses_what_is_no_database),
        cmocka_unit_test(db_scrub_leaves_no_deleted_byte),
        cmocka_unit_test(db_files_are_private),
    };
    return cmocka_run_group_tests_name("common/db", tests, make_dir, drop_dir);
}

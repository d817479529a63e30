/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_record_store.c - client/records/record_store.h */
#include "tests/support/cmocka_all.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/delta/ledger_entry.h"
#include "client/device/policy.h"
#include "client/personal/personal_store.h"
#include "client/records/destroy.h"
#include "client/records/record_store.h"
#include "common/file.h"

#define CANARY "the heron by the canal knew my pulse was 47"

static char dir[64], db_path[128];
static hearth_virtual_clock now;
static hearth_db *db;
static hearth_record_store *rs;

static int open_store(void **state) {
    (void)state;
    now = (hearth_virtual_clock){1000000, 0};
    if (!hearth_test_dir(dir)) return -1;
    if (hearth_file_join(db_path, sizeof(db_path), dir, "client.db") ||
        hearth_db_open(&db, db_path, NULL, NULL))
        return -1;
    return hearth_record_store_open(&rs, db, dir, hearth_clock_virtual(&now),
                                    NULL, NULL) == HEARTH_OK
               ? 0
               : -1;
}

static int close_store(void **state) {
    (void)state;
    hearth_record_store_close(rs);
    hearth_db_close(db);
    rs = NULL;
    db = NULL;
    return hearth_file_remove_tree(dir, NULL) == HEARTH_OK ? 0 : -1;
}

static void add(const char *id, const char *text, const char *purpose,
                int64_t keep_ms) {
    char line[256];
    hearth_error err = {HEARTH_OK, ""};
    hearth_record_options opt = HEARTH_RECORD_OPTIONS_INIT;
    opt.purpose = purpose;
    opt.keep_ms = keep_ms;
    int n = snprintf(line, sizeof(line), "{\"id\":\"%s\",\"text\":\"%s\"}", id,
                     text);
    if (hearth_record_store_add(rs, line, (size_t)n, &opt, NULL, &err))
        fail_msg("%s", err.text);
}

static uint64_t count(hearth_split split, const char *purpose) {
    uint64_t n = 999;
    assert_ok(hearth_record_store_count(rs, split, purpose, &n, NULL));
    return n;
}

static void write_file(const char *name, const char *text) {
    char path[256];
    assert_ok(hearth_file_join(path, sizeof(path), dir, name));
    assert_ok(hearth_file_write(path, text, strlen(text), 0600, NULL));
}

static bool there(const char *name) {
    char path[256];
    assert_ok(hearth_file_join(path, sizeof(path), dir, name));
    return hearth_file_exists(path);
}

/* How often CANARY stands in any byte of any file below path. */
static size_t canaries(const char *path) {
    size_t found = 0;
    DIR *d = opendir(path);
    struct dirent *e;
    assert_non_null(d);
    while ((e = readdir(d)) != NULL) {
        char child[512];
        hearth_buf b = HEARTH_BUF_INIT(NULL);
        if (e->d_name[0] == '.') continue;
        assert_ok(hearth_file_join(child, sizeof(child), path, e->d_name));
        if (hearth_file_is_dir(child)) {
            found += canaries(child);
            continue;
        }
        assert_ok(hearth_file_read(&b, child, 1 << 26, NULL));
        for (size_t i = 0; i + sizeof(CANARY) - 1 <= b.n; i++)
            found += memcmp(b.v + i, CANARY, sizeof(CANARY) - 1) == 0;
        hearth_buf_free(&b);
    }
    closedir(d);
    return found;
}

typedef struct {
    char ids[512];
    size_t n;
} seen;

static hearth_status see(void *ud, const hearth_record *rec, const char *line,
                         size_t n, hearth_error *err) {
    seen *s = ud;
    (void)line;
    (void)n;
    (void)err;
    size_t at = strlen(s->ids);
    snprintf(s->ids + at, sizeof(s->ids) - at, "%s ", rec->id);
    s->n++;
    return HEARTH_OK;
}

static void store_keeps_and_splits(void **state) {
    (void)state;
    seen all = {"", 0}, train = {"", 0}, held = {"", 0}, fed = {"", 0};
    add("b", "two", NULL, 0);
    add("a", "one", HEARTH_PURPOSE_FEDERATED, 0);
    for (int i = 0; i < 20; i++) {
        char id[8];
        snprintf(id, sizeof(id), "r%d", i);
        add(id, "x", NULL, 0);
    }
    assert_ok(
        hearth_record_store_each(rs, HEARTH_SPLIT_ALL, NULL, see, &all, NULL));
    assert_ok(hearth_record_store_each(rs, HEARTH_SPLIT_TRAIN, NULL, see,
                                       &train, NULL));
    assert_ok(hearth_record_store_each(rs, HEARTH_SPLIT_HOLDOUT, NULL, see,
                                       &held, NULL));
    assert_ok(hearth_record_store_each(
        rs, HEARTH_SPLIT_ALL, HEARTH_PURPOSE_FEDERATED, see, &fed, NULL));
    assert_int_equal(all.n, 22);
    assert_int_equal(train.n + held.n, 22);
    assert_true(held.n > 0 && train.n > held.n);
    assert_memory_equal(all.ids, "a b r0 r1 r10 ", 14); /* by id */
    assert_string_equal(fed.ids, "a ");
    assert_int_equal(count(HEARTH_SPLIT_HOLDOUT, NULL), held.n);
    assert_int_equal(count(HEARTH_SPLIT_ALL, "other"), 0);
}

static void store_refuses_doubles_and_bad_words(void **state) {
    (void)state;
    const char *line = "{\"text\":\"a\"}";
    char id[HEARTH_RECORD_MAX_ID + 1], again[HEARTH_RECORD_MAX_ID + 1];
    hearth_record_options opt = HEARTH_RECORD_OPTIONS_INIT;
    size_t n = strlen(line);
    assert_ok(hearth_record_store_add(rs, line, n, NULL, id, NULL));
    assert_int_equal(hearth_record_store_add(rs, line, n, NULL, again, NULL),
                     HEARTH_EEXISTS);
    assert_string_equal(id, again);
    opt.purpose = "Not A Word";
    assert_int_equal(hearth_record_store_add(rs, line, n, &opt, id, NULL),
                     HEARTH_EINVAL);
    opt.purpose = "";
    assert_int_equal(hearth_record_store_add(rs, line, n, &opt, id, NULL),
                     HEARTH_EINVAL);
    opt.purpose = NULL;
    opt.keep_ms = -1;
    assert_int_equal(hearth_record_store_add(rs, line, n, &opt, id, NULL),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_record_store_add(rs, "{}", 2, NULL, id, NULL),
                     HEARTH_EFORMAT);
    assert_int_equal(hearth_record_store_add(rs, NULL, 2, NULL, id, NULL),
                     HEARTH_EINVAL);
    assert_int_equal(
        hearth_record_store_each(rs, HEARTH_SPLIT_ALL, NULL, NULL, NULL, NULL),
        HEARTH_EINVAL);
    assert_int_equal(hearth_record_store_list(rs, NULL, NULL, NULL),
                     HEARTH_EINVAL);
    assert_int_equal(
        hearth_record_store_count(rs, HEARTH_SPLIT_ALL, NULL, NULL, NULL),
        HEARTH_EINVAL);
    assert_int_equal(count(HEARTH_SPLIT_ALL, NULL), 1);
    hearth_record_store *none = rs;
    assert_int_equal(hearth_record_store_open(&none, NULL, dir,
                                              hearth_clock_virtual(&now), NULL,
                                              NULL),
                     HEARTH_EINVAL);
    assert_null(none);
}

static void import_is_all_or_nothing(void **state) {
    (void)state;
    char path[256];
    hearth_import_report r;
    hearth_error err = {HEARTH_OK, ""};
    hearth_record_options opt = HEARTH_RECORD_OPTIONS_INIT;
    opt.purpose = HEARTH_PURPOSE_FEDERATED;
    write_file("in.jsonl", "{\"text\":\"a\"}\n{\"text\":\"b\"}\n{\"text\":1}");
    assert_ok(hearth_file_join(path, sizeof(path), dir, "in.jsonl"));
    assert_int_equal(hearth_record_store_import(rs, path, &opt, &r, &err),
                     HEARTH_EFORMAT);
    assert_non_null(strstr(err.text, "in.jsonl:3"));
    assert_int_equal(r.n_added, 0);
    assert_int_equal(count(HEARTH_SPLIT_ALL, NULL), 0);
    write_file("in.jsonl", "{\"text\":\"a\"}\n{\"text\":\"b\"}\n");
    assert_ok(hearth_record_store_import(rs, path, NULL, &r, NULL));
    assert_int_equal(r.n_added, 2);
    assert_int_equal(count(HEARTH_SPLIT_ALL, HEARTH_PURPOSE_FEDERATED), 0);
    assert_ok(hearth_record_store_import(rs, path, &opt, &r, NULL));
    assert_int_equal(r.n_added, 0);
    assert_int_equal(r.n_duplicate, 2); /* and now with more consent */
    assert_int_equal(count(HEARTH_SPLIT_ALL, HEARTH_PURPOSE_FEDERATED), 2);
    assert_int_equal(hearth_record_store_import(rs, NULL, &opt, &r, NULL),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_record_store_import(rs, "/no/such", &opt, &r, NULL),
                     HEARTH_ENOTFOUND);
}

typedef struct {
    size_t n;
    hearth_record_info last;
    char purposes[64];
} listed;

static hearth_status take_info(void *ud, const hearth_record_info *info,
                               hearth_error *err) {
    listed *l = ud;
    (void)err;
    l->n++;
    l->last = *info;
    snprintf(l->purposes, sizeof(l->purposes), "%s", info->purposes);
    return HEARTH_OK;
}

static void list_tells_purposes_and_expiry(void **state) {
    (void)state;
    listed l = {0};
    add("a", "x", "personal", 5000);
    assert_ok(
        hearth_record_store_consent(rs, "a", "federated", true, NULL, NULL));
    assert_ok(hearth_record_store_list(rs, take_info, &l, NULL));
    assert_int_equal(l.n, 1);
    assert_string_equal(l.purposes, "federated,personal");
    assert_int_equal(l.last.added_ms, 1000000);
    assert_int_equal(l.last.expires_ms, 1005000);
    assert_int_equal(l.last.form, HEARTH_FORM_TEXT);
}

static void expired_records_are_not_used_and_go(void **state) {
    (void)state;
    hearth_forget_report r;
    add("a", "x", NULL, 5000);
    add("b", "y", NULL, 0);
    hearth_virtual_clock_advance(&now, 4999);
    assert_int_equal(count(HEARTH_SPLIT_ALL, NULL), 2);
    hearth_virtual_clock_advance(&now, 1);
    assert_int_equal(count(HEARTH_SPLIT_ALL, NULL), 1);
    assert_ok(hearth_record_store_expire(rs, &r, NULL));
    assert_int_equal(r.n_records, 1);
    assert_ok(hearth_record_store_expire(rs, &r, NULL));
    assert_int_equal(r.n_records, 0);
    assert_int_equal(hearth_record_store_forget(rs, "a", &r, NULL),
                     HEARTH_ENOTFOUND);
}

/* An app that never takes part in a round forgets as well. */
static void expired_records_go_at_the_next_start(void **state) {
    (void)state;
    add("a", CANARY, "personal", 5000);
    hearth_virtual_clock_advance(&now, 5000);
    hearth_record_store_close(rs);
    assert_ok(hearth_record_store_open(&rs, db, dir, hearth_clock_virtual(&now),
                                       NULL, NULL));
    assert_int_equal(canaries(dir), 0);
}

/* FEDERATION section 14: plant a sentence, make everything that training would
 * make of it, forget, and search every byte of the state directory. */
static void forget_leaves_no_byte(void **state) {
    (void)state;
    hearth_forget_report r;
    bool wanted = true;
    add("before", "something else", NULL, 0);
    assert_ok(hearth_db_exec(
        db,
        "CREATE TABLE sync_training(kept INTEGER, note TEXT);"
        "INSERT INTO sync_training VALUES(0, '" CANARY "'), (1, 'keep')",
        NULL));
    assert_ok(hearth_record_store_register_rows(rs, "sync_training", "kept", 0,
                                                NULL));
    assert_ok(
        hearth_record_store_register_rows(rs, "not_made_yet", "x", 0, NULL));
    assert_ok(hearth_record_store_register_file(rs, HEARTH_ARTIFACT_ADAPTER,
                                                "old_adapter", NULL));
    write_file("old_adapter", "older than the record");
    for (int i = 0; i < 40; i++) { /* several pages, the canary in one */
        char id[16], text[200];
        snprintf(id, sizeof(id), "n%d", i);
        snprintf(text, sizeof(text), "%s %d %0100d", i == 17 ? CANARY : "-", i,
                 i);
        add(i == 17 ? "canary" : id, text, "federated", 0);
    }
    assert_ok(hearth_record_store_register_file(rs, HEARTH_ARTIFACT_CHECKPOINT,
                                                "ckpt", NULL));
    char sub[256];
    assert_ok(hearth_file_join(sub, sizeof(sub), dir, "ckpt/deep"));
    assert_ok(hearth_file_mkdirs(sub, NULL));
    write_file("ckpt/deep/state", "optimizer " CANARY);
    assert_ok(hearth_record_store_register_file(rs, HEARTH_ARTIFACT_ADAPTER,
                                                "adapter.safetensors", NULL));
    write_file("adapter.safetensors", "weights " CANARY);
    write_file("adapter.safetensors.tmp.abc123", "half-written " CANARY);
    assert_true(canaries(dir) >= 5);
    hearth_virtual_clock_advance(&now, 1);

    assert_ok(hearth_record_store_forget(rs, "canary", &r, NULL));
    assert_int_equal(canaries(dir), 0);
    assert_int_equal(r.n_records, 1);
    assert_int_equal(r.n_files, 3);
    assert_int_equal(r.n_rows, 1);
    assert_int_equal(r.since_ms, 1000000);
    assert_false(there("ckpt"));
    assert_false(there("adapter.safetensors"));
    assert_true(there("old_adapter")); /* can not know the record */
    assert_ok(hearth_record_store_retrain_wanted(rs, &wanted, NULL));
    assert_true(wanted);
    assert_ok(hearth_record_store_set_retrain(rs, false, NULL));
    assert_ok(hearth_record_store_retrain_wanted(rs, &wanted, NULL));
    assert_false(wanted);
    assert_int_equal(count(HEARTH_SPLIT_ALL, NULL), 40);

    assert_ok(hearth_record_store_forget(rs, NULL, &r, NULL)); /* all */
    assert_int_equal(r.n_records, 40);
    assert_int_equal(count(HEARTH_SPLIT_ALL, NULL), 0);
    assert_false(there("old_adapter"));
}

/* A prepared delta and a personal adapter in client.db, as prepare and personal
 * make them, each with the canary in its bytes. */
static void make_derived(void) {
    hearth_ledger_store *ls;
    hearth_policy policy;
    hearth_ledger_charge c = {.rho = 0.1, .z = 4.0, .d = 1};
    hearth_policy_defaults(&policy);
    assert_ok(hearth_ledger_store_open(&ls, db, &policy.ledger, "c",
                                       hearth_clock_virtual(&now), NULL, NULL));
    assert_ok(hearth_round_key_init(&c.key, "task", 1, 0, 0));
    c.bytes = (const uint8_t *)CANARY;
    c.n = sizeof(CANARY) - 1;
    assert_ok(hearth_ledger_store__charge(ls, &c, now.wall_ms, NULL));
    hearth_ledger_store_close(ls);
    assert_ok(hearth_personal_store_init(db, NULL));
    assert_ok(hearth_db_exec(db,
                             "INSERT INTO personal_own(task, sequence, adapter,"
                             " trained_ms) VALUES('task', 1, '" CANARY "', 0)",
                             NULL));
}

static int64_t ask(const char *sql) {
    hearth_stmt *q;
    bool row;
    assert_ok(hearth_db_prepare(db, &q, sql, NULL));
    assert_ok(hearth_stmt_step(q, &row, NULL));
    int64_t n = hearth_stmt_i64(q, 0);
    hearth_stmt_free(q);
    return n;
}

static void forget_erases_prepared_deltas_and_adapters(void **state) {
    (void)state;
    hearth_forget_report r;
    for (int broken = 0; broken < 2; broken++) {
        add("a", CANARY, "federated", 0);
        make_derived();
        assert_true(canaries(dir) >= 3);
        if (broken) { /* a ledger that does not verify must not keep bytes */
            assert_ok(hearth_db_exec(db,
                                     "DROP TRIGGER ledger_no_update;"
                                     "UPDATE ledger_row SET rho = 0",
                                     NULL));
        }
        int64_t rows = ask("SELECT count(*) FROM ledger_row");
        assert_ok(hearth_record_store_forget(rs, "a", &r, NULL));
        assert_int_equal(canaries(dir), 0);
        assert_int_equal(r.n_prepared, 1);
        assert_int_equal(r.n_adapters, 1);
        assert_int_equal(ask("SELECT count(*) FROM personal_stale"), 1);
        /* A charge is never erased; an unsent one is taken back by a row. */
        assert_int_equal(ask("SELECT count(*) FROM ledger_row"),
                         rows + !broken);
    }
}

/* An app's counter: `kept`, or out of reach. */
static hearth_status tell_counter(void *ud, uint64_t at_least,
                                  uint64_t *value) {
    const uint64_t *kept = ud;
    *value = *kept > at_least ? *kept : at_least;
    return *kept == UINT64_MAX ? HEARTH_EBUSY : HEARTH_OK;
}

/* Where only the app's counter knows whether bytes have left, their charge is
 * taken back when it says that none has, and never without asking it. */
static void forget_asks_the_counter_about_charges(void **state) {
    (void)state;
    static const struct {
        bool given;
        uint64_t value; /* past the row that make_derived writes, or before */
        bool voided;
    } way[] = {
        {true, 0, true},           /* nothing has left */
        {true, 1000, false},       /* an older copy: it may have */
        {true, UINT64_MAX, false}, /* cannot be asked */
        {false, 0, false},         /* another program, without the counter */
    };
    hearth_forget_report r;
    for (size_t i = 0; i < 4; i++) {
        uint64_t kept = way[i].value;
        now.wall_ms += (int64_t)40 * 86400000;
        hearth_record_store_set_counter(
            rs, way[i].given ? (hearth_ledger_counter){tell_counter, &kept}
                             : (hearth_ledger_counter){NULL, NULL});
        add("a", CANARY, "federated", 0);
        if (i)
            assert_ok(hearth_db_exec(db, "DELETE FROM ledger_counter", NULL));
        make_derived();
        assert_ok(hearth_db_exec(
            db, "INSERT OR IGNORE INTO ledger_counter VALUES(1)", NULL));
        int64_t rows = ask("SELECT count(*) FROM ledger_row");
        assert_ok(hearth_record_store_forget(rs, "a", &r, NULL));
        assert_int_equal(canaries(dir), 0);
        assert_int_equal(r.n_prepared, 1);
        assert_int_equal(r.n_sent, !way[i].voided);
        assert_int_equal(ask("SELECT count(*) FROM ledger_row"),
                         rows + way[i].voided);
    }
}

static void failed_forget_keeps_the_record(void **state) {
    (void)state;
    hearth_forget_report r;
    hearth_error err = {HEARTH_OK, ""};
    char path[256];
    add("a", CANARY, NULL, 0);
    assert_ok(hearth_record_store_register_file(rs, HEARTH_ARTIFACT_ADAPTER,
                                                "d1/d2", NULL));
    /* Folders deeper than destroy goes. */
    assert_ok(hearth_file_join(path, sizeof(path), dir,
                               "d1/d2/3/4/5/6/7/8/9/10/11/12"));
    assert_ok(hearth_file_mkdirs(path, NULL));
    assert_int_equal(hearth_record_store_forget(rs, "a", &r, &err),
                     HEARTH_ETOOBIG);
    assert_int_equal(count(HEARTH_SPLIT_ALL, NULL), 1);
    assert_ok(hearth_file_join(path, sizeof(path), dir, "d1/d2/3"));
    assert_ok(hearth_file_remove_tree(path, NULL));
    assert_ok(hearth_record_store_forget(rs, "a", &r, &err));
    assert_int_equal(canaries(dir), 0);
}

/* A participant's mark and the record go together or not at all: otherwise one
 * that starts in between trains on the record and nobody notices. */
static void forget_takes_mark_and_record_at_once(void **state) {
    (void)state;
    hearth_forget_report r;
    add("a", CANARY, "federated", 0);
    assert_ok(hearth_db_exec(db,
                             "CREATE TABLE sync_training(one INTEGER);"
                             "INSERT INTO sync_training VALUES(1);"
                             "CREATE TRIGGER held BEFORE DELETE ON record BEGIN"
                             " SELECT RAISE(ABORT, 'held'); END",
                             NULL));
    assert_ok(
        hearth_record_store_register_rows(rs, "sync_training", "one", 1, NULL));
    assert_true(hearth_record_store_forget(rs, "a", &r, NULL) != HEARTH_OK);
    assert_int_equal(ask("SELECT count(*) FROM sync_training"), 1);
    assert_ok(hearth_db_exec(db, "DROP TRIGGER held", NULL));
    assert_ok(hearth_record_store_forget(rs, "a", &r, NULL));
    assert_int_equal(ask("SELECT count(*) FROM sync_training"), 0);
    assert_int_equal(canaries(dir), 0);
}

/* A delta prepared while the rest is being destroyed does not survive. */
static void forget_erases_what_comes_in_between(void **state) {
    (void)state;
    hearth_forget_report r;
    add("a", "x", "federated", 0);
    make_derived();
    assert_ok(hearth_db_exec(
        db,
        "CREATE TABLE sync_training(one INTEGER);"
        "INSERT INTO sync_training VALUES(1);"
        "CREATE TRIGGER late AFTER DELETE ON sync_training BEGIN"
        " INSERT INTO personal_own(task, sequence, adapter, trained_ms)"
        " VALUES('late', 1, x'00', 0); END",
        NULL));
    assert_ok(
        hearth_record_store_register_rows(rs, "sync_training", "one", 1, NULL));
    assert_ok(hearth_record_store_forget(rs, "a", &r, NULL));
    assert_int_equal(ask("SELECT count(*) FROM personal_own"), 0);
    assert_int_equal(r.n_adapters, 2);
}

static void busy_database_is_cleaned_later(void **state) {
    (void)state;
    hearth_db *other;
    hearth_stmt *q;
    bool row;
    hearth_forget_report r;
    add("a", CANARY, NULL, 0);
    add("b", "other", NULL, 0);
    assert_ok(hearth_db_open(&other, db_path, NULL, NULL));
    assert_ok(hearth_db_prepare(other, &q, "SELECT id FROM record", NULL));
    assert_ok(hearth_stmt_step(q, &row, NULL)); /* a reader holds its view */
    assert_int_equal(hearth_record_store_forget(rs, "a", &r, NULL),
                     HEARTH_EBUSY);
    assert_int_equal(count(HEARTH_SPLIT_ALL, NULL), 1); /* it is forgotten */
    hearth_stmt_free(q);
    hearth_db_close(other);
    hearth_record_store_close(rs); /* the next start cleans */
    assert_ok(hearth_record_store_open(&rs, db, dir, hearth_clock_virtual(&now),
                                       NULL, NULL));
    assert_int_equal(canaries(dir), 0);
}

static void busy_consent_is_cleaned_later(void **state) {
    (void)state;
    hearth_db *other;
    hearth_stmt *q;
    bool row;
    hearth_forget_report r;
    add("a", "x", "federated", 0);
    make_derived();
    assert_ok(hearth_db_exec(db, "PRAGMA busy_timeout=10", NULL));
    assert_ok(hearth_db_open(&other, db_path, NULL, NULL));
    assert_ok(hearth_db_prepare(other, &q, "SELECT id FROM record", NULL));
    assert_ok(hearth_stmt_step(q, &row, NULL));
    assert_int_equal(
        hearth_record_store_consent(rs, "a", "federated", false, &r, NULL),
        HEARTH_EBUSY);
    hearth_stmt_free(q);
    hearth_db_close(other);
    hearth_record_store_close(rs);
    assert_ok(hearth_record_store_open(&rs, db, dir, hearth_clock_virtual(&now),
                                       NULL, NULL));
    assert_int_equal(canaries(dir), 0);
}

static void consent_taken_back_destroys_what_was_made(void **state) {
    (void)state;
    hearth_forget_report r;
    add("a", "x", "federated", 0);
    add("b", "y", "federated", 0);
    assert_ok(hearth_record_store_register_file(rs, HEARTH_ARTIFACT_ADAPTER,
                                                "adapter", NULL));
    write_file("adapter", "weights");
    assert_ok(
        hearth_record_store_consent(rs, "a", "federated", false, &r, NULL));
    assert_int_equal(r.n_files, 1);
    assert_false(there("adapter"));
    assert_int_equal(count(HEARTH_SPLIT_ALL, NULL), 2);
    assert_int_equal(count(HEARTH_SPLIT_ALL, "federated"), 1);
    assert_ok(
        hearth_record_store_consent(rs, NULL, "study-7", true, NULL, NULL));
    assert_int_equal(count(HEARTH_SPLIT_ALL, "study-7"), 2);
    assert_ok(
        hearth_record_store_consent(rs, NULL, "study-7", false, &r, NULL));
    assert_int_equal(count(HEARTH_SPLIT_ALL, "study-7"), 0);
    assert_int_equal(
        hearth_record_store_consent(rs, "zz", "study-7", true, &r, NULL),
        HEARTH_ENOTFOUND);
    assert_int_equal(
        hearth_record_store_consent(rs, "a", "A B", true, &r, NULL),
        HEARTH_EINVAL);
}

static void registrations_stay_inside(void **state) {
    (void)state;
    static const char *const bad[] = {"",     "/etc/passwd", "../x", "a/../b",
                                      "a//b", "a/",          ".",    "./a"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_int_equal(hearth_record_store_register_file(
                             rs, HEARTH_ARTIFACT_ADAPTER, bad[i], NULL),
                         HEARTH_EINVAL);
    assert_ok(hearth_record_store_register_file(rs, HEARTH_ARTIFACT_ADAPTER,
                                                "a/..b/c.d", NULL));
    assert_int_equal(
        hearth_record_store_register_rows(rs, "x\" OR 1", "y", 0, NULL),
        HEARTH_EINVAL);
    assert_int_equal(hearth_record_store_register_rows(rs, "x", "1y", 0, NULL),
                     HEARTH_EINVAL);
    hearth_record_store *bare;
    assert_ok(hearth_record_store_open(&bare, db, NULL,
                                       hearth_clock_virtual(&now), NULL, NULL));
    assert_int_equal(hearth_record_store_register_file(
                         bare, HEARTH_ARTIFACT_ADAPTER, "a", NULL),
                     HEARTH_EINVAL);
    hearth_record_store_close(bare);
    hearth_record_store_close(NULL);
}

static void destroy_never_follows_links(void **state) {
    (void)state;
    char target[256], link[256];
    uint64_t n = 0;
    write_file("target", CANARY);
    assert_ok(hearth_file_join(target, sizeof(target), dir, "target"));
    assert_ok(hearth_file_join(link, sizeof(link), dir, "link"));
    assert_int_equal(symlink(target, link), 0);
    assert_ok(hearth_destroy_path(link, &n, NULL));
    assert_int_equal(n, 1);
    assert_true(there("target"));
    assert_int_equal(canaries(dir), 1);
    assert_ok(hearth_file_join(link, sizeof(link), dir, "other_name"));
    assert_int_equal(chmod(target, 0400), 0);
    assert_int_equal(linkat(AT_FDCWD, target, AT_FDCWD, link, 0), 0);
    assert_ok(hearth_destroy_path(target, &n, NULL));
    assert_int_equal(canaries(dir), 0); /* under its other name too */
    assert_true(there("other_name"));
    assert_ok(hearth_destroy_path(target, &n, NULL)); /* gone: fine */
    assert_int_equal(n, 2);
    assert_int_equal(hearth_destroy_path(NULL, &n, NULL), HEARTH_EINVAL);
    assert_int_equal(hearth_destroy_path("", &n, NULL), HEARTH_EINVAL);
}

#define WITH_STORE(f)                                                          \
    cmocka_unit_test_setup_teardown(f, open_store, close_store)

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_STORE(store_keeps_and_splits),
        WITH_STORE(store_refuses_doubles_and_bad_words),
        WITH_STORE(import_is_all_or_nothing),
        WITH_STORE(list_tells_purposes_and_expiry),
        WITH_STORE(expired_records_are_not_used_and_go),
        WITH_STORE(expired_records_go_at_the_next_start),
        WITH_STORE(forget_leaves_no_byte),
        WITH_STORE(forget_erases_prepared_deltas_and_adapters),
        WITH_STORE(forget_asks_the_counter_about_charges),
        WITH_STORE(failed_forget_keeps_the_record),
        WITH_STORE(forget_takes_mark_and_record_at_once),
        WITH_STORE(forget_erases_what_comes_in_between),
        WITH_STORE(busy_database_is_cleaned_later),
        WITH_STORE(busy_consent_is_cleaned_later),
        WITH_STORE(consent_taken_back_destroys_what_was_made),
        WITH_STORE(registrations_stay_inside),
        WITH_STORE(destroy_never_follows_links),
    };
    return cmocka_run_group_tests_name("client/record_store", tests, NULL,
                                       NULL);
}

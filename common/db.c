/* SPDX-License-Identifier: Apache-2.0 */
/* common/db.c - the contract is in db.h. */
#include "common/db.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <sqlite3.h>

#include "common/clock.h"
#include "common/mem.h"

struct hearth_db {
    hearth_alloc al;
    sqlite3 *sql;
    unsigned nesting;
    bool broken; /* an inner rollback happened */
};

struct hearth_stmt {
    hearth_db *db;
    sqlite3_stmt *s;
    int bind_rc; /* first failure of a bind */
};

static hearth_status status_of(int rc) {
    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE: return HEARTH_OK;
    case SQLITE_NOMEM: return HEARTH_ENOMEM;
    case SQLITE_FULL: return HEARTH_ENOSPACE;
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return HEARTH_EBUSY;
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT: return HEARTH_EFORMAT;
    case SQLITE_TOOBIG: return HEARTH_ETOOBIG;
    case SQLITE_CANTOPEN: return HEARTH_EIO;
    case SQLITE_CONSTRAINT:
        return rc == SQLITE_CONSTRAINT_UNIQUE ||
                       rc == SQLITE_CONSTRAINT_PRIMARYKEY
                   ? HEARTH_EEXISTS
                   : HEARTH_EINVAL;
    case SQLITE_RANGE:
    case SQLITE_MISUSE: return HEARTH_EINVAL;
    default: return HEARTH_EIO;
    }
}

/* SQLite's own message names tables and columns, never bound values. */
static hearth_status fail(hearth_db *db, int rc, hearth_error *err) {
    hearth_status st = status_of(rc);
    const char *hint = st == HEARTH_ENOSPACE ? "; free some space and try again"
                       : st == HEARTH_EBUSY
                           ? "; another process uses it: wait or stop it"
                       : st == HEARTH_EFORMAT ? "; restore it from a backup"
                                              : "";
    return hearth_error_set(
        err, st, "database: %s%s",
        db->sql ? sqlite3_errmsg(db->sql) : sqlite3_errstr(rc), hint);
}

hearth_status hearth_db_exec(hearth_db *db, const char *sql,
                             hearth_error *err) {
    int rc = sqlite3_exec(db->sql, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? HEARTH_OK : fail(db, rc, err);
}

/* A new database is its owner's alone, whatever the umask; SQLite gives its log
 * and shared memory the mode of the database.  A failure is left for SQLite to
 * explain. */
static bool create_private(const char *path) {
    if (strcmp(path, ":memory:") == 0) return false;
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return false;
    (void)close(fd);
    return true;
}

#define BUSY_MS  5000 /* as long as another process may hold the database */
#define PAUSE_MS 10

static const char set_up_sql[] =
    "PRAGMA secure_delete=ON;"
    "PRAGMA temp_store=MEMORY;"
    "PRAGMA journal_mode=WAL;"
    "PRAGMA synchronous=FULL;"
    "PRAGMA foreign_keys=ON;"
    "PRAGMA trusted_schema=OFF;"
    "CREATE TABLE IF NOT EXISTS hearth_schema("
    "module TEXT PRIMARY KEY, version INTEGER NOT NULL)";

/* When two connections turn a new database to WAL, SQLite fails one of them at
 * once instead of letting it wait, so the wait is here.
 * Source: sqlite.org/c3ref/busy_handler.html, on deadlocks. */
static hearth_status set_up(hearth_db *db, hearth_error *err) {
    hearth_clock clock = hearth_clock_system();
    int64_t end = hearth_clock_mono(&clock) + BUSY_MS;
    sqlite3_busy_timeout(db->sql, BUSY_MS);
    hearth_status st = hearth_db_exec(db, set_up_sql, err);
    while (st == HEARTH_EBUSY && hearth_clock_mono(&clock) < end) {
        (void)sqlite3_sleep(PAUSE_MS);
        st = hearth_db_exec(db, set_up_sql, err);
    }
    return st;
}

hearth_status hearth_db_open(hearth_db **out, const char *path,
                             const hearth_alloc *al, hearth_error *err) {
    *out = NULL;
    hearth_db *db = hearth_mem_new(al, sizeof(*db));
    if (!db) return hearth_error_set(err, HEARTH_ENOMEM, "out of memory");
    db->al = *hearth_mem_or_default(al);
    (void)create_private(path);
    int rc = sqlite3_open_v2(path, &db->sql,
                             SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
                                 SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
                             NULL);
    hearth_status st = rc == SQLITE_OK ? HEARTH_OK : fail(db, rc, err);
    if (st == HEARTH_OK) st = set_up(db, err);
    if (st != HEARTH_OK) {
        hearth_error_prefix(err, "%s", path);
        hearth_db_close(db);
        return st;
    }
    *out = db;
    return HEARTH_OK;
}

void hearth_db_close(hearth_db *db) {
    if (!db) return;
    sqlite3_close_v2(db->sql);
    hearth_alloc al = db->al;
    al.free(al.ud, db);
}

static hearth_status schema_version(hearth_db *db, const char *module,
                                    size_t *version, hearth_error *err) {
    hearth_stmt *q;
    bool row;
    *version = 0;
    hearth_status st = hearth_db_prepare(
        db, &q, "SELECT version FROM hearth_schema WHERE module=?1", err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, module);
    st = hearth_stmt_step(q, &row, err);
    if (st == HEARTH_OK && row) *version = (size_t)hearth_stmt_i64(q, 0);
    hearth_stmt_free(q);
    return st;
}

static hearth_status run_step(hearth_db *db, const char *module,
                              const char *step, size_t version,
                              hearth_error *err) {
    hearth_stmt *q = NULL;
    size_t now = 0;
    hearth_status st = hearth_db_begin(db, err);
    if (st != HEARTH_OK) return st;
    st = schema_version(db, module, &now, err);
    if (st == HEARTH_OK && now >= version) /* another process was first */
        return hearth_db_commit(db, err);
    if (st == HEARTH_OK) st = hearth_db_exec(db, step, err);
    if (st == HEARTH_OK)
        st = hearth_db_prepare(db, &q,
                               "INSERT INTO hearth_schema VALUES(?1, ?2) ON "
                               "CONFLICT(module) DO UPDATE SET version=?2",
                               err);
    if (st == HEARTH_OK) {
        hearth_stmt_bind_str(q, 1, module);
        hearth_stmt_bind_i64(q, 2, (int64_t)version);
        st = hearth_stmt_run(q, err);
    }
    hearth_stmt_free(q);
    if (st == HEARTH_OK) return hearth_db_commit(db, err);
    hearth_db_rollback(db);
    return st;
}

hearth_status hearth_db_migrate(hearth_db *db, const char *module,
                                const char *const *steps, size_t n_steps,
                                hearth_error *err) {
    size_t version;
    hearth_status st = schema_version(db, module, &version, err);
    if (st != HEARTH_OK) return st;
    if (version > n_steps)
        return hearth_error_set(err, HEARTH_EVERSION,
                                "database: %s tables have version %zu, this "
                                "build knows %zu; use a newer Hearth",
                                module, version, n_steps);
    for (size_t i = version; i < n_steps && st == HEARTH_OK; i++)
        st = run_step(db, module, steps[i], i + 1, err);
    return st;
}

hearth_status hearth_db_begin(hearth_db *db, hearth_error *err) {
    if (db->nesting == 0) {
        hearth_status st = hearth_db_exec(db, "BEGIN IMMEDIATE", err);
        if (st != HEARTH_OK) return st;
        db->broken = false;
    }
    db->nesting++;
    return HEARTH_OK;
}

hearth_status hearth_db_commit(hearth_db *db, hearth_error *err) {
    if (db->nesting == 0)
        return hearth_error_set(err, HEARTH_ESTATE, "no transaction is open");
    if (--db->nesting > 0) return HEARTH_OK;
    if (db->broken) {
        sqlite3_exec(db->sql, "ROLLBACK", NULL, NULL, NULL);
        return hearth_error_set(err, HEARTH_ESTATE,
                                "an inner transaction was rolled back");
    }
    hearth_status st = hearth_db_exec(db, "COMMIT", err);
    if (st != HEARTH_OK) sqlite3_exec(db->sql, "ROLLBACK", NULL, NULL, NULL);
    return st;
}

void hearth_db_rollback(hearth_db *db) {
    if (db->nesting == 0) return;
    db->broken = true;
    if (--db->nesting == 0) sqlite3_exec(db->sql, "ROLLBACK", NULL, NULL, NULL);
}

hearth_status hearth_db_prepare(hearth_db *db, hearth_stmt **out,
                                const char *sql, hearth_error *err) {
    *out = NULL;
    hearth_stmt *s = hearth_mem_new(&db->al, sizeof(*s));
    if (!s) return hearth_error_set(err, HEARTH_ENOMEM, "out of memory");
    s->db = db;
    int rc = sqlite3_prepare_v2(db->sql, sql, -1, &s->s, NULL);
    if (rc != SQLITE_OK) {
        hearth_status st = fail(db, rc, err);
        hearth_mem_free(&db->al, s);
        return st;
    }
    *out = s;
    return HEARTH_OK;
}

static void note_bind(hearth_stmt *s, int rc) {
    if (rc != SQLITE_OK && s->bind_rc == SQLITE_OK) s->bind_rc = rc;
}

void hearth_stmt_bind_i64(hearth_stmt *s, int i, int64_t v) {
    note_bind(s, sqlite3_bind_int64(s->s, i, v));
}

void hearth_stmt_bind_f64(hearth_stmt *s, int i, double v) {
    note_bind(s, sqlite3_bind_double(s->s, i, v));
}

void hearth_stmt_bind_text(hearth_stmt *s, int i, const char *v, size_t n) {
    note_bind(s, sqlite3_bind_text64(s->s, i, v ? v : "", n, SQLITE_TRANSIENT,
                                     SQLITE_UTF8));
}

void hearth_stmt_bind_str(hearth_stmt *s, int i, const char *v) {
    hearth_stmt_bind_text(s, i, v, strlen(v));
}

void hearth_stmt_bind_blob(hearth_stmt *s, int i, const void *v, size_t n) {
    if (n)
        note_bind(s, sqlite3_bind_blob64(s->s, i, v, n, SQLITE_TRANSIENT));
    else
        note_bind(s, sqlite3_bind_zeroblob(s->s, i, 0));
}

void hearth_stmt_bind_null(hearth_stmt *s, int i) {
    note_bind(s, sqlite3_bind_null(s->s, i));
}

hearth_status hearth_stmt_step(hearth_stmt *s, bool *row, hearth_error *err) {
    *row = false;
    if (s->bind_rc != SQLITE_OK)
        return hearth_error_set(err, status_of(s->bind_rc), "database: %s",
                                sqlite3_errstr(s->bind_rc));
    int rc = sqlite3_step(s->s);
    *row = rc == SQLITE_ROW;
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? HEARTH_OK
                                                 : fail(s->db, rc, err);
}

hearth_status hearth_stmt_run(hearth_stmt *s, hearth_error *err) {
    bool row;
    hearth_status st;
    do st = hearth_stmt_step(s, &row, err);
    while (st == HEARTH_OK && row);
    return st;
}

void hearth_stmt_reset(hearth_stmt *s) {
    sqlite3_reset(s->s);
    sqlite3_clear_bindings(s->s);
    s->bind_rc = SQLITE_OK;
}

int64_t hearth_stmt_i64(hearth_stmt *s, int i) {
    return sqlite3_column_int64(s->s, i);
}

double hearth_stmt_f64(hearth_stmt *s, int i) {
    return sqlite3_column_double(s->s, i);
}

const char *hearth_stmt_text(hearth_stmt *s, int i, size_t *n) {
    const char *t = (const char *)sqlite3_column_text(s->s, i);
    if (n) *n = t ? (size_t)sqlite3_column_bytes(s->s, i) : 0;
    return t ? t : "";
}

const void *hearth_stmt_blob(hearth_stmt *s, int i, size_t *n) {
    const void *b = sqlite3_column_blob(s->s, i);
    *n = b ? (size_t)sqlite3_column_bytes(s->s, i) : 0;
    return b ? b : "";
}

bool hearth_stmt_is_null(hearth_stmt *s, int i) {
    return sqlite3_column_type(s->s, i) == SQLITE_NULL;
}

void hearth_stmt_free(hearth_stmt *s) {
    if (!s) return;
    sqlite3_finalize(s->s);
    hearth_mem_free(&s->db->al, s);
}

int64_t hearth_db_last_rowid(hearth_db *db) {
    return sqlite3_last_insert_rowid(db->sql);
}

int64_t hearth_db_changes(hearth_db *db) {
    return sqlite3_changes64(db->sql);
}

hearth_status hearth_db_scrub(hearth_db *db, hearth_error *err) {
    hearth_status st =
        hearth_db_exec(db, "PRAGMA wal_checkpoint(TRUNCATE); VACUUM;", err);
    if (st != HEARTH_OK) return st;
    return hearth_db_exec(db, "PRAGMA wal_checkpoint(TRUNCATE)", err);
}

hearth_status hearth_db_backup(hearth_db *db, const char *path,
                               hearth_error *err) {
    hearth_stmt *q;
    hearth_status st = hearth_db_prepare(db, &q, "VACUUM INTO ?1", err);
    if (st != HEARTH_OK) return st;
    bool mine = create_private(path); /* an empty file is filled */
    hearth_stmt_bind_str(q, 1, path);
    st = hearth_stmt_run(q, err);
    hearth_stmt_free(q);
    if (st != HEARTH_OK && mine) (void)unlink(path);
    return st;
}

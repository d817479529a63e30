/* SPDX-License-Identifier: Apache-2.0 */
/* client/api/db_none.c - common/db.h for a library built without SQLite: there
 * is no database, and whoever asks for one is told so.  Only hearth_db_open can
 * be reached; the others are here so that the rest of the client links. */
#include "common/db.h"

static hearth_status none(hearth_error *err) {
    return hearth_error_set(err, HEARTH_EUNSUPPORTED,
                            "built without SQLite: no records, ledger or sync; "
                            "build with -DHEARTH_WITH_SQLITE=ON");
}

hearth_status hearth_db_open(hearth_db **out, const char *path,
                             const hearth_alloc *al, hearth_error *err) {
    (void)path;
    (void)al;
    *out = NULL;
    return none(err);
}

void hearth_db_close(hearth_db *db) {
    (void)db;
}

hearth_status hearth_db_migrate(hearth_db *db, const char *module,
                                const char *const *steps, size_t n_steps,
                                hearth_error *err) {
    (void)db;
    (void)module;
    (void)steps;
    (void)n_steps;
    return none(err);
}

hearth_status hearth_db_exec(hearth_db *db, const char *sql,
                             hearth_error *err) {
    (void)db;
    (void)sql;
    return none(err);
}

hearth_status hearth_db_begin(hearth_db *db, hearth_error *err) {
    (void)db;
    return none(err);
}

hearth_status hearth_db_commit(hearth_db *db, hearth_error *err) {
    (void)db;
    return none(err);
}

void hearth_db_rollback(hearth_db *db) {
    (void)db;
}

hearth_status hearth_db_prepare(hearth_db *db, hearth_stmt **out,
                                const char *sql, hearth_error *err) {
    (void)db;
    (void)sql;
    *out = NULL;
    return none(err);
}

void hearth_stmt_bind_i64(hearth_stmt *s, int i, int64_t v) {
    (void)s;
    (void)i;
    (void)v;
}

void hearth_stmt_bind_f64(hearth_stmt *s, int i, double v) {
    (void)s;
    (void)i;
    (void)v;
}

void hearth_stmt_bind_text(hearth_stmt *s, int i, const char *v, size_t n) {
    (void)s;
    (void)i;
    (void)v;
    (void)n;
}

void hearth_stmt_bind_str(hearth_stmt *s, int i, const char *v) {
    (void)s;
    (void)i;
    (void)v;
}

void hearth_stmt_bind_blob(hearth_stmt *s, int i, const void *v, size_t n) {
    (void)s;
    (void)i;
    (void)v;
    (void)n;
}

void hearth_stmt_bind_null(hearth_stmt *s, int i) {
    (void)s;
    (void)i;
}

hearth_status hearth_stmt_step(hearth_stmt *s, bool *row, hearth_error *err) {
    (void)s;
    *row = false;
    return none(err);
}

hearth_status hearth_stmt_run(hearth_stmt *s, hearth_error *err) {
    (void)s;
    return none(err);
}

void hearth_stmt_reset(hearth_stmt *s) {
    (void)s;
}

int64_t hearth_stmt_i64(hearth_stmt *s, int i) {
    (void)s;
    (void)i;
    return 0;
}

double hearth_stmt_f64(hearth_stmt *s, int i) {
    (void)s;
    (void)i;
    return 0.0;
}

const char *hearth_stmt_text(hearth_stmt *s, int i, size_t *n) {
    (void)s;
    (void)i;
    if (n) *n = 0;
    return "";
}

const void *hearth_stmt_blob(hearth_stmt *s, int i, size_t *n) {
    (void)s;
    (void)i;
    if (n) *n = 0;
    return NULL;
}

bool hearth_stmt_is_null(hearth_stmt *s, int i) {
    (void)s;
    (void)i;
    return true;
}

void hearth_stmt_free(hearth_stmt *s) {
    (void)s;
}

int64_t hearth_db_last_rowid(hearth_db *db) {
    (void)db;
    return 0;
}

int64_t hearth_db_changes(hearth_db *db) {
    (void)db;
    return 0;
}

hearth_status hearth_db_scrub(hearth_db *db, hearth_error *err) {
    (void)db;
    return none(err);
}

hearth_status hearth_db_backup(hearth_db *db, const char *path,
                               hearth_error *err) {
    (void)db;
    (void)path;
    return none(err);
}

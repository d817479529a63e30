/* SPDX-License-Identifier: Apache-2.0 */
/* client/personal/personal_store.c - the contracts are in personal_store.h and,
 * for the functions without a model, personal.h. */
#include "client/personal/personal_store.h"

#include <string.h>

#include "common/failpoint.h"

static const char *const steps[] = {
    "CREATE TABLE personal_release("
    " task TEXT PRIMARY KEY, sequence INTEGER NOT NULL,"
    " manifest BLOB NOT NULL, payload BLOB NOT NULL, digest BLOB NOT NULL,"
    " space BLOB NOT NULL,"
    " installed_ms INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE personal_own("
    " task TEXT PRIMARY KEY, sequence INTEGER NOT NULL,"
    " adapter BLOB NOT NULL, trained_ms INTEGER NOT NULL,"
    " own INTEGER NOT NULL DEFAULT 1) WITHOUT ROWID;"
    "CREATE TABLE personal_stale(task TEXT PRIMARY KEY) WITHOUT ROWID"};

hearth_status hearth_personal_store_init(hearth_db *db, hearth_error *err) {
    return hearth_db_migrate(db, "personal", steps, 1, err);
}

static hearth_status insert(hearth_db *db, const hearth_release *m,
                            const hearth_buf *manifest,
                            const hearth_buf *payload, int64_t now_ms,
                            hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_status st =
        hearth_db_prepare(db, &q,
                          "INSERT OR REPLACE INTO personal_release"
                          " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                          err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, m->task);
    hearth_stmt_bind_i64(q, 2, (int64_t)m->sequence);
    hearth_stmt_bind_blob(q, 3, manifest->v, manifest->n);
    hearth_stmt_bind_blob(q, 4, payload->v, payload->n);
    hearth_stmt_bind_blob(q, 5, m->content_sha256, 32);
    hearth_stmt_bind_blob(q, 6, m->space.space_digest, 32);
    hearth_stmt_bind_i64(q, 7, now_ms);
    st = hearth_stmt_run(q, err);
    hearth_stmt_free(q);
    return st;
}

hearth_status hearth_personal_store_put(hearth_db *db, const hearth_release *m,
                                        const hearth_buf *manifest,
                                        const hearth_buf *payload,
                                        int64_t now_ms, hearth_error *err) {
    hearth_personal_info info;
    hearth_status st = hearth_db_begin(db, err);
    if (st != HEARTH_OK) return st;
    st = hearth_personal_info_get(&info, db, m->task, err);
    if (st == HEARTH_OK && info.sequence > m->sequence)
        st = hearth_error_set(err, HEARTH_EREPLAY,
                              "release %llu of %s is older than the installed "
                              "%llu; it is not used",
                              (unsigned long long)m->sequence, m->task,
                              (unsigned long long)info.sequence);
    if (st == HEARTH_OK) st = insert(db, m, manifest, payload, now_ms, err);
    if (st == HEARTH_OK) HEARTH_FAILPOINT("install.before_commit");
    if (st == HEARTH_OK)
        st = hearth_db_commit(db, err);
    else
        hearth_db_rollback(db);
    if (st == HEARTH_OK) HEARTH_FAILPOINT("install.after_commit");
    return st;
}

/* One row of two or fewer blobs. */
static hearth_status read_row(hearth_db *db, const char *sql, const char *task,
                              hearth_buf *first, hearth_buf *second,
                              hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_buf *to[] = {first, second};
    bool row = false;
    hearth_status st = hearth_db_prepare(db, &q, sql, err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, task);
    st = hearth_stmt_step(q, &row, err);
    if (st == HEARTH_OK && !row)
        st = hearth_error_set(err, HEARTH_ENOTFOUND,
                              "nothing is installed for task %s; run `hearth "
                              "sync`",
                              task);
    for (int i = 0; st == HEARTH_OK && i < 2 && to[i]; i++) {
        size_t n = 0;
        const void *v = hearth_stmt_blob(q, i, &n);
        st = hearth_buf_append(to[i], v, n);
    }
    hearth_stmt_free(q);
    return st;
}

hearth_status hearth_personal_store_get(hearth_db *db, const char *task,
                                        hearth_buf *manifest,
                                        hearth_buf *payload,
                                        hearth_error *err) {
    return read_row(db,
                    "SELECT manifest, payload FROM personal_release"
                    " WHERE task = ?1",
                    task, manifest, payload, err);
}

hearth_status hearth_personal_store_get_own(hearth_db *db, const char *task,
                                            hearth_buf *values,
                                            hearth_error *err) {
    return read_row(db, "SELECT adapter FROM personal_own WHERE task = ?1",
                    task, values, NULL, err);
}

hearth_status hearth_personal_store_put_own(hearth_db *db, const char *task,
                                            uint64_t sequence, const void *v,
                                            size_t n, int64_t now_ms,
                                            hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_status st = hearth_db_begin(db, err);
    if (st != HEARTH_OK) return st;
    st = hearth_db_prepare(
        db, &q, "INSERT OR REPLACE INTO personal_own VALUES(?1, ?2, ?3, ?4, 1)",
        err);
    if (st == HEARTH_OK) {
        hearth_stmt_bind_str(q, 1, task);
        hearth_stmt_bind_i64(q, 2, (int64_t)sequence);
        hearth_stmt_bind_blob(q, 3, v, n);
        hearth_stmt_bind_i64(q, 4, now_ms);
        st = hearth_stmt_run(q, err);
        hearth_stmt_free(q);
    }
    if (st == HEARTH_OK)
        st = hearth_db_prepare(
            db, &q, "DELETE FROM personal_stale WHERE task = ?1", err);
    if (st == HEARTH_OK) {
        hearth_stmt_bind_str(q, 1, task);
        st = hearth_stmt_run(q, err);
        hearth_stmt_free(q);
    }
    if (st == HEARTH_OK) return hearth_db_commit(db, err);
    hearth_db_rollback(db);
    return st;
}

hearth_status hearth_personal_info_get(hearth_personal_info *out, hearth_db *db,
                                       const char *task, hearth_error *err) {
    hearth_stmt *q = NULL;
    bool row = false;
    *out = (hearth_personal_info){0};
    hearth_status st = hearth_db_prepare(
        db, &q,
        "SELECT r.sequence, r.installed_ms, r.digest,"
        " (SELECT count(*) FROM personal_own o WHERE o.task = ?1),"
        " (SELECT count(*) FROM personal_stale s WHERE s.task = ?1)"
        " FROM (SELECT 1) LEFT JOIN personal_release r ON r.task = ?1",
        err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, task);
    st = hearth_stmt_step(q, &row, err);
    if (st == HEARTH_OK && row) {
        size_t n = 0;
        out->sequence = (uint64_t)hearth_stmt_i64(q, 0);
        out->installed_ms = hearth_stmt_i64(q, 1);
        const void *d = hearth_stmt_blob(q, 2, &n);
        if (d && n == 32) memcpy(out->digest, d, 32);
        out->has_personal = hearth_stmt_i64(q, 3) > 0;
        out->personal_stale = hearth_stmt_i64(q, 4) > 0;
    }
    hearth_stmt_free(q);
    return st;
}

hearth_status hearth_personal_newest(char task[HEARTH_PROTO_TASK_CAP],
                                     hearth_db *db, hearth_error *err) {
    hearth_stmt *q = NULL;
    bool row = false;
    task[0] = '\0';
    hearth_status st =
        hearth_db_prepare(db, &q,
                          "SELECT task FROM personal_release"
                          " ORDER BY installed_ms DESC, task LIMIT 1",
                          err);
    if (st != HEARTH_OK) return st;
    st = hearth_stmt_step(q, &row, err);
    if (st == HEARTH_OK && row) {
        size_t n = 0;
        const char *t = hearth_stmt_text(q, 0, &n);
        if (n < HEARTH_PROTO_TASK_CAP) memcpy(task, t, n + 1);
    }
    hearth_stmt_free(q);
    return st;
}

hearth_status hearth_personal_store_list(hearth_db *db,
                                         hearth_checkin_task *out, size_t cap,
                                         uint32_t *n, hearth_error *err) {
    hearth_stmt *q = NULL;
    bool row = false;
    *n = 0;
    hearth_status st =
        hearth_db_prepare(db, &q,
                          "SELECT task, sequence, space FROM personal_release"
                          " ORDER BY installed_ms DESC, task",
                          err);
    if (st != HEARTH_OK) return st;
    while (*n < cap && (st = hearth_stmt_step(q, &row, err)) == HEARTH_OK &&
           row) {
        size_t n_task = 0, n_space = 0;
        const char *task = hearth_stmt_text(q, 0, &n_task);
        const void *space = hearth_stmt_blob(q, 2, &n_space);
        if (n_task >= HEARTH_PROTO_TASK_CAP || n_space != 32) continue;
        out[*n] = (hearth_checkin_task){{0}, {0}, 0};
        memcpy(out[*n].task, task, n_task);
        memcpy(out[*n].space_digest, space, 32);
        out[(*n)++].have_sequence = (uint64_t)hearth_stmt_i64(q, 1);
    }
    hearth_stmt_free(q);
    return st;
}

hearth_status hearth_personal_forget(hearth_db *db, hearth_error *err) {
    hearth_status st = hearth_db_begin(db, err);
    if (st != HEARTH_OK) return st;
    st = hearth_db_exec(db,
                        "INSERT OR IGNORE INTO personal_stale"
                        " SELECT task FROM personal_own;"
                        "DELETE FROM personal_own",
                        err);
    if (st == HEARTH_OK) return hearth_db_commit(db, err);
    hearth_db_rollback(db);
    return st;
}

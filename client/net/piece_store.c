/* SPDX-License-Identifier: Apache-2.0 */
/* client/net/piece_store.c - the contract is in piece_store.h. */
#include "client/net/piece_store.h"

static const char *const steps[] = {
    "CREATE TABLE release_piece("
    " task TEXT NOT NULL, digest BLOB NOT NULL, at INTEGER NOT NULL,"
    " bytes BLOB NOT NULL, PRIMARY KEY(task, at)) WITHOUT ROWID"};

hearth_status hearth_piece_store_init(hearth_db *db, hearth_error *err) {
    return hearth_db_migrate(db, "release_piece", steps, 1, err);
}

hearth_status hearth_piece_store_have(hearth_db *db, const char *task,
                                      const uint8_t *digest, uint64_t *n,
                                      hearth_error *err) {
    hearth_stmt *q = NULL;
    bool row = false;
    *n = 0;
    hearth_status st =
        hearth_db_prepare(db, &q,
                          "SELECT coalesce(sum(length(bytes)), 0)"
                          " FROM release_piece WHERE task = ?1 AND digest = ?2",
                          err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, task);
    hearth_stmt_bind_blob(q, 2, digest, 32);
    st = hearth_stmt_step(q, &row, err);
    if (st == HEARTH_OK && row) *n = (uint64_t)hearth_stmt_i64(q, 0);
    hearth_stmt_free(q);
    return st;
}

static hearth_status insert(hearth_db *db, const char *task,
                            const uint8_t *digest, uint64_t at,
                            const uint8_t *v, size_t n, hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_status st = hearth_db_prepare(
        db, &q, "INSERT INTO release_piece VALUES(?1, ?2, ?3, ?4)", err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, task);
    hearth_stmt_bind_blob(q, 2, digest, 32);
    hearth_stmt_bind_i64(q, 3, (int64_t)at);
    hearth_stmt_bind_blob(q, 4, v, n);
    st = hearth_stmt_run(q, err);
    hearth_stmt_free(q);
    return st;
}

hearth_status hearth_piece_store_add(hearth_db *db, const char *task,
                                     const uint8_t *digest, uint64_t at,
                                     const uint8_t *v, size_t n,
                                     hearth_error *err) {
    uint64_t have = 0;
    hearth_status st = hearth_db_begin(db, err);
    if (st != HEARTH_OK) return st;
    if (at == 0)
        st = hearth_piece_store_drop(db, task, err);
    else
        st = hearth_piece_store_have(db, task, digest, &have, err);
    if (st == HEARTH_OK && have != at) st = HEARTH_ESTATE;
    if (st == HEARTH_OK) st = insert(db, task, digest, at, v, n, err);
    if (st == HEARTH_OK) return hearth_db_commit(db, err);
    hearth_db_rollback(db);
    return st;
}

hearth_status hearth_piece_store_join(hearth_db *db, const char *task,
                                      const uint8_t *digest, hearth_buf *out,
                                      hearth_error *err) {
    hearth_stmt *q = NULL;
    bool row = false;
    hearth_status st = hearth_db_prepare(
        db, &q,
        "SELECT bytes FROM release_piece WHERE task = ?1 AND digest = ?2"
        " ORDER BY at",
        err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, task);
    hearth_stmt_bind_blob(q, 2, digest, 32);
    while ((st = hearth_stmt_step(q, &row, err)) == HEARTH_OK && row) {
        size_t n = 0;
        const void *v = hearth_stmt_blob(q, 0, &n);
        if ((st = hearth_buf_append(out, v, n)) != HEARTH_OK) break;
    }
    hearth_stmt_free(q);
    return st;
}

hearth_status hearth_piece_store_drop(hearth_db *db, const char *task,
                                      hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_status st = hearth_db_prepare(
        db, &q, "DELETE FROM release_piece WHERE task = ?1", err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, task);
    st = hearth_stmt_run(q, err);
    hearth_stmt_free(q);
    return st;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* common/db.h - SQLite: one place that opens, migrates and binds.
 *
 * WAL, synchronous=FULL, foreign keys, busy timeout 5 s, secure_delete on,
 * temporary tables in memory; files made here have mode 0600.
 * SQL text is always a constant; values are always bound.
 *
 *     hearth_db *db;
 *     st = hearth_db_open(&db, path, al, err);
 *     st = hearth_db_migrate(db, "records", steps, n_steps, err);
 *     hearth_stmt *q;
 *     st = hearth_db_prepare(db, &q, "SELECT id FROM t WHERE k = ?1", err);
 *     hearth_stmt_bind_i64(q, 1, k);
 *     while ((st = hearth_stmt_step(q, &row, err)) == HEARTH_OK && row) ...
 *     hearth_stmt_free(q);
 *
 * Files *_store.c use this instead of sqlite3.h.
 * Threads: a handle belongs to one thread at a time.
 * Errors:  ENOSPACE (disk full), EBUSY (locked), EFORMAT (not a database, or
 *          corrupt), EVERSION (schema newer than this build), EIO, ENOMEM,
 *          EEXISTS (a UNIQUE constraint).
 */
#ifndef HEARTH_COMMON_DB_H
#define HEARTH_COMMON_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/alloc.h"
#include "common/error.h"
#include "common/status.h"

typedef struct hearth_db hearth_db;
typedef struct hearth_stmt hearth_stmt;

/* Open or create.  path ":memory:" keeps all in memory. */
HEARTH_MUST_CHECK hearth_status hearth_db_open(hearth_db **out,
                                               const char *path,
                                               const hearth_alloc *al,
                                               hearth_error *err);
void hearth_db_close(hearth_db *db);

/* Bring the tables of `module` to version n_steps: step i (0-based) is run
 * once, each in its own transaction.  A database with more steps than n_steps
 * is refused untouched with HEARTH_EVERSION.  Steps are append-only. */
HEARTH_MUST_CHECK hearth_status hearth_db_migrate(hearth_db *db,
                                                  const char *module,
                                                  const char *const *steps,
                                                  size_t n_steps,
                                                  hearth_error *err);

/* Run statements without values or rows. */
HEARTH_MUST_CHECK hearth_status hearth_db_exec(hearth_db *db, const char *sql,
                                               hearth_error *err);

/* BEGIN IMMEDIATE / COMMIT / ROLLBACK.  May nest: only the outermost commits;
 * a rollback inside makes the outermost commit fail with HEARTH_ESTATE. */
HEARTH_MUST_CHECK hearth_status hearth_db_begin(hearth_db *db,
                                                hearth_error *err);
HEARTH_MUST_CHECK hearth_status hearth_db_commit(hearth_db *db,
                                                 hearth_error *err);
void hearth_db_rollback(hearth_db *db);

HEARTH_MUST_CHECK hearth_status hearth_db_prepare(hearth_db *db,
                                                  hearth_stmt **out,
                                                  const char *sql,
                                                  hearth_error *err);

/* Bind parameter i (from 1).  Text and blobs are copied.  A failed bind is
 * reported by the next step. */
void hearth_stmt_bind_i64(hearth_stmt *s, int i, int64_t v);
void hearth_stmt_bind_f64(hearth_stmt *s, int i, double v);
void hearth_stmt_bind_text(hearth_stmt *s, int i, const char *v, size_t n);
void hearth_stmt_bind_str(hearth_stmt *s, int i, const char *v);
void hearth_stmt_bind_blob(hearth_stmt *s, int i, const void *v, size_t n);
void hearth_stmt_bind_null(hearth_stmt *s, int i);

/* Advance: *row says whether there is one. */
HEARTH_MUST_CHECK hearth_status hearth_stmt_step(hearth_stmt *s, bool *row,
                                                 hearth_error *err);
/* Run to the end; rows are dropped. */
HEARTH_MUST_CHECK hearth_status hearth_stmt_run(hearth_stmt *s,
                                                hearth_error *err);
/* Ready to bind and step again; bindings are cleared. */
void hearth_stmt_reset(hearth_stmt *s);

/* Column i (from 0) of the present row.  Text and blobs are borrowed until the
 * next step, reset or free; text is NUL-terminated, "" for NULL. */
int64_t hearth_stmt_i64(hearth_stmt *s, int i);
double hearth_stmt_f64(hearth_stmt *s, int i);
const char *hearth_stmt_text(hearth_stmt *s, int i, size_t *n);
const void *hearth_stmt_blob(hearth_stmt *s, int i, size_t *n);
bool hearth_stmt_is_null(hearth_stmt *s, int i);

/* NULL is a no-op. */
void hearth_stmt_free(hearth_stmt *s);

int64_t hearth_db_last_rowid(hearth_db *db);
/* Rows changed by the last INSERT, UPDATE or DELETE. */
int64_t hearth_db_changes(hearth_db *db);

/* Leave no deleted byte behind: truncate the WAL, VACUUM, truncate again. */
HEARTH_MUST_CHECK hearth_status hearth_db_scrub(hearth_db *db,
                                                hearth_error *err);

/* Copy a consistent snapshot to path (which must not exist). */
HEARTH_MUST_CHECK hearth_status hearth_db_backup(hearth_db *db,
                                                 const char *path,
                                                 hearth_error *err);

#endif /* HEARTH_COMMON_DB_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/coord_store.c - the store in SQLite: tasks, rounds, releases.
 * Contributions are in contrib_store.c.
 *
 * Nothing orders participation and contributions alike: both tables are keyed
 * by keyed hashes and have no row numbers.
 */
#include "coordinator/coord_store.h"

#include <string.h>

#include "common/db.h"
#include "common/error.h"
#include "common/mem.h"
#include "coordinator/round.h"
#include "coordinator/store_db.h"

static const char *const STEPS[] = {
    "CREATE TABLE tasks(name TEXT PRIMARY KEY, state INTEGER NOT NULL,"
    " created_ms INTEGER NOT NULL, a_seed BLOB NOT NULL,"
    " cooldown_key BLOB NOT NULL, ini BLOB NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE rounds(task TEXT NOT NULL, round INTEGER NOT NULL,"
    " phase INTEGER NOT NULL, stage INTEGER NOT NULL,"
    " opened_ms INTEGER NOT NULL, stage_opened_ms INTEGER NOT NULL,"
    " closed_ms INTEGER NOT NULL, start_sequence INTEGER NOT NULL,"
    " counted INTEGER NOT NULL, sequence INTEGER NOT NULL, key BLOB,"
    " PRIMARY KEY(task, round)) WITHOUT ROWID;"
    "CREATE TABLE participation(task TEXT NOT NULL, round INTEGER NOT NULL,"
    " tag BLOB NOT NULL, PRIMARY KEY(task, round, tag)) WITHOUT ROWID;"
    "CREATE TABLE contributions(token_hash BLOB PRIMARY KEY,"
    " task TEXT NOT NULL, round INTEGER NOT NULL, cohort INTEGER NOT NULL,"
    " stage INTEGER NOT NULL, state INTEGER NOT NULL,"
    " length INTEGER NOT NULL, sha256 BLOB NOT NULL,"
    " folded_in INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX contributions_by_round ON contributions(task, round, cohort,"
    " state, folded_in, token_hash);"
    "CREATE TABLE checkpoints(task TEXT NOT NULL, round INTEGER NOT NULL,"
    " cohort INTEGER NOT NULL, number INTEGER NOT NULL,"
    " PRIMARY KEY(task, round, cohort)) WITHOUT ROWID;"
    "CREATE TABLE releases(task TEXT NOT NULL, sequence INTEGER NOT NULL,"
    " created_ms INTEGER NOT NULL, round INTEGER NOT NULL,"
    " manifest_digest BLOB NOT NULL, content_sha256 BLOB NOT NULL,"
    " manifest BLOB NOT NULL, optimizer BLOB NOT NULL,"
    " PRIMARY KEY(task, sequence)) WITHOUT ROWID;"
    "CREATE TABLE cooldown(task TEXT NOT NULL, tag BLOB NOT NULL,"
    " until_ms INTEGER NOT NULL, PRIMARY KEY(task, tag)) WITHOUT ROWID;"
    "CREATE INDEX cooldown_by_time ON cooldown(until_ms);",
};

hearth_status hearth_coord_store_open(hearth_coord_store **out,
                                      const char *path, hearth_store_sync sync,
                                      const hearth_alloc *al,
                                      hearth_error *err) {
    hearth_coord_store *s;
    hearth_status st;
    *out = NULL;
    if (!(s = hearth_mem_new(al, sizeof(*s))))
        return hearth_error_set(err, HEARTH_ENOMEM, "%s: out of memory", path);
    s->al = al;
    if ((st = hearth_db_open(&s->db, path, al, err)) != HEARTH_OK) goto done;
    if (sync == HEARTH_STORE_LAZY)
        st = hearth_db_exec(s->db, "PRAGMA synchronous=NORMAL", err);
    else if (sync == HEARTH_STORE_NO_SYNC)
        st = hearth_db_exec(s->db, "PRAGMA synchronous=OFF", err);
    if (st == HEARTH_OK)
        st = hearth_db_migrate(s->db, "coordinator", STEPS,
                               sizeof(STEPS) / sizeof(STEPS[0]), err);
done:
    if (st != HEARTH_OK) {
        hearth_coord_store_close(s);
        return st;
    }
    *out = s;
    return HEARTH_OK;
}

void hearth_coord_store_close(hearth_coord_store *s) {
    if (!s) return;
    hearth_db_close(s->db);
    hearth_mem_free(s->al, s);
}

/* ---- helpers (store_db.h) ---- */

void hearth_store__text(char *to, size_t cap, hearth_stmt *q, int column) {
    size_t n = 0;
    const char *s = hearth_stmt_text(q, column, &n);
    if (n >= cap) n = cap - 1;
    memcpy(to, s, n);
    memset(to + n, 0, cap - n);
}

hearth_status hearth_store__blob(void *to, size_t n, hearth_stmt *q, int column,
                                 hearth_error *err) {
    size_t have = 0;
    const void *p = hearth_stmt_blob(q, column, &have);
    if (have != n || (n && !p))
        return hearth_error_set(err, HEARTH_EFORMAT,
                                "coordinator database: a value has the wrong "
                                "length; restore it from a backup");
    memcpy(to, p, n);
    return HEARTH_OK;
}

hearth_status hearth_store__append(hearth_buf *to, hearth_stmt *q, int column) {
    size_t n = 0;
    const void *p = hearth_stmt_blob(q, column, &n);
    return n ? hearth_buf_append(to, p, n) : HEARTH_OK;
}

hearth_status hearth_store__run(hearth_stmt *q, hearth_error *err) {
    hearth_status st = hearth_stmt_run(q, err);
    hearth_stmt_free(q);
    return st;
}

hearth_status hearth_store__one(hearth_stmt *q, const char *what,
                                hearth_error *err) {
    bool row = false;
    hearth_status st = hearth_stmt_step(q, &row, err);
    if (st == HEARTH_OK && !row)
        st = hearth_error_set(err, HEARTH_ENOTFOUND,
                              "no such %s; list them to see what there is",
                              what);
    return st;
}

hearth_status hearth_store__end(hearth_coord_store *s, hearth_status st,
                                hearth_error *err) {
    if (st == HEARTH_OK) return hearth_db_commit(s->db, err);
    hearth_db_rollback(s->db);
    return st;
}

/* ---- tasks ---- */

static hearth_status read_task(hearth_stmt *q, hearth_task_row *row,
                               hearth_error *err) {
    memset(row, 0, sizeof(*row));
    hearth_store__text(row->name, sizeof(row->name), q, 0);
    row->state = (uint32_t)hearth_stmt_i64(q, 1);
    row->created_ms = hearth_stmt_i64(q, 2);
    return hearth_store__blob(row->a_seed, 32, q, 3, err);
}

hearth_status hearth_coord_store_tasks(hearth_coord_store *s,
                                       hearth_task_row_fn fn, void *ud,
                                       hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_task_row row;
    bool more = false;
    hearth_status st =
        hearth_db_prepare(s->db, &q,
                          "SELECT name, state, created_ms, a_seed FROM tasks"
                          " ORDER BY name",
                          err);
    while (st == HEARTH_OK) {
        st = hearth_stmt_step(q, &more, err);
        if (st != HEARTH_OK || !more) break;
        st = read_task(q, &row, err);
        if (st == HEARTH_OK) st = fn(ud, &row);
    }
    hearth_stmt_free(q);
    return st;
}

hearth_status hearth_coord_store_task(hearth_coord_store *s, const char *name,
                                      hearth_task_row *row, hearth_buf *text,
                                      hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_status st = hearth_db_prepare(
        s->db, &q,
        "SELECT name, state, created_ms, a_seed, ini FROM tasks"
        " WHERE name = ?1",
        err);
    memset(row, 0, sizeof(*row));
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, name);
    st = hearth_store__one(q, "task", err);
    if (st == HEARTH_OK) st = read_task(q, row, err);
    if (st == HEARTH_OK && text) st = hearth_store__append(text, q, 4);
    hearth_stmt_free(q);
    return st;
}

/* Column 0 of the one row of q, which is freed; zeros when it fails. */
static hearth_status take_secret(hearth_stmt *q, const char *what,
                                 hearth_secret *key, hearth_error *err) {
    hearth_status st = hearth_store__one(q, what, err);
    memset(key, 0, sizeof(*key));
    if (st == HEARTH_OK)
        st = hearth_store__blob(key->bytes, sizeof(key->bytes), q, 0, err);
    hearth_stmt_free(q);
    return st;
}

hearth_status hearth_coord_store_cooldown_key(hearth_coord_store *s,
                                              const char *task,
                                              hearth_secret *key,
                                              hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_status st = hearth_db_prepare(
        s->db, &q, "SELECT cooldown_key FROM tasks WHERE name = ?1", err);
    memset(key, 0, sizeof(*key));
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, task);
    return take_secret(q, "task", key, err);
}

hearth_status hearth_coord_store_set_task_state(hearth_coord_store *s,
                                                const char *name,
                                                uint32_t state,
                                                hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_status st = hearth_db_prepare(
        s->db, &q, "UPDATE tasks SET state = ?2 WHERE name = ?1", err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, name);
    hearth_stmt_bind_i64(q, 2, state);
    st = hearth_store__run(q, err);
    if (st == HEARTH_OK && hearth_db_changes(s->db) != 1)
        st = hearth_error_set(err, HEARTH_ENOTFOUND,
                              "no task '%s'; see hearthd task list", name);
    return st;
}

/* ---- rounds ---- */

#define ROUND_COLUMNS                                                          \
    "task, round, phase, stage, opened_ms, stage_opened_ms, closed_ms,"        \
    " start_sequence, counted, sequence"

static void read_round(hearth_stmt *q, hearth_round_row *row) {
    memset(row, 0, sizeof(*row));
    hearth_store__text(row->task, sizeof(row->task), q, 0);
    row->round = (uint64_t)hearth_stmt_i64(q, 1);
    row->phase = (uint32_t)hearth_stmt_i64(q, 2);
    row->stage = (uint32_t)hearth_stmt_i64(q, 3);
    row->opened_ms = hearth_stmt_i64(q, 4);
    row->stage_opened_ms = hearth_stmt_i64(q, 5);
    row->closed_ms = hearth_stmt_i64(q, 6);
    row->start_sequence = (uint64_t)hearth_stmt_i64(q, 7);
    row->counted = (uint32_t)hearth_stmt_i64(q, 8);
    row->sequence = (uint64_t)hearth_stmt_i64(q, 9);
    row->has_key = hearth_stmt_i64(q, 10) != 0;
}

hearth_status hearth_coord_store_rounds(hearth_coord_store *s, const char *task,
                                        hearth_round_row_fn fn, void *ud,
                                        hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_round_row row;
    bool more = false;
    hearth_status st = hearth_db_prepare(s->db, &q,
                                         "SELECT " ROUND_COLUMNS
                                         ", key IS NOT NULL FROM rounds"
                                         " WHERE task = ?1 ORDER BY round",
                                         err);
    if (st == HEARTH_OK) hearth_stmt_bind_str(q, 1, task);
    while (st == HEARTH_OK) {
        st = hearth_stmt_step(q, &more, err);
        if (st != HEARTH_OK || !more) break;
        read_round(q, &row);
        st = fn(ud, &row);
    }
    hearth_stmt_free(q);
    return st;
}

hearth_status hearth_coord_store_last_round(hearth_coord_store *s,
                                            const char *task,
                                            hearth_round_row *row,
                                            hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_status st = hearth_db_prepare(
        s->db, &q,
        "SELECT " ROUND_COLUMNS ", key IS NOT NULL FROM rounds"
        " WHERE task = ?1 ORDER BY round DESC LIMIT 1",
        err);
    memset(row, 0, sizeof(*row));
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, task);
    st = hearth_store__one(q, "round", err);
    if (st == HEARTH_OK) read_round(q, row);
    hearth_stmt_free(q);
    return st;
}

hearth_status hearth_coord_store_count_rounds(hearth_coord_store *s,
                                              const char *task, uint32_t phase,
                                              uint64_t *n, hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_status st = hearth_db_prepare(
        s->db, &q, "SELECT count(*) FROM rounds WHERE task = ?1 AND phase = ?2",
        err);
    *n = 0;
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, task);
    hearth_stmt_bind_i64(q, 2, phase);
    st = hearth_store__one(q, "round", err);
    if (st == HEARTH_OK) *n = (uint64_t)hearth_stmt_i64(q, 0);
    hearth_stmt_free(q);
    return st;
}

hearth_status hearth_coord_store_open_round(hearth_coord_store *s,
                                            const hearth_round_row *row,
                                            const hearth_secret *key,
                                            hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_status st = hearth_db_prepare(
        s->db, &q,
        "INSERT INTO rounds(" ROUND_COLUMNS
        ", key) VALUES(?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, 0, 0, ?8)",
        err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, row->task);
    hearth_stmt_bind_i64(q, 2, (int64_t)row->round);
    hearth_stmt_bind_i64(q, 3, row->phase);
    hearth_stmt_bind_i64(q, 4, row->stage);
    hearth_stmt_bind_i64(q, 5, row->opened_ms);
    hearth_stmt_bind_i64(q, 6, row->stage_opened_ms);
    hearth_stmt_bind_i64(q, 7, (int64_t)row->start_sequence);
    hearth_stmt_bind_blob(q, 8, key->bytes, sizeof(key->bytes));
    return hearth_store__run(q, err);
}

hearth_status hearth_coord_store_round_key(hearth_coord_store *s,
                                           const char *task, uint64_t round,
                                           hearth_secret *key,
                                           hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_status st =
        hearth_db_prepare(s->db, &q,
                          "SELECT key FROM rounds WHERE task = ?1"
                          " AND round = ?2 AND key IS NOT NULL",
                          err);
    memset(key, 0, sizeof(*key));
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, task);
    hearth_stmt_bind_i64(q, 2, (int64_t)round);
    return take_secret(q, "open round", key, err);
}

hearth_status hearth_coord_store_fix_round(hearth_coord_store *s,
                                           const char *task, uint64_t round,
                                           uint32_t counted,
                                           hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_status st =
        hearth_db_prepare(s->db, &q,
                          "UPDATE rounds SET phase = ?3, counted = ?4"
                          " WHERE task = ?1 AND round = ?2 AND phase = ?5",
                          err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, task);
    hearth_stmt_bind_i64(q, 2, (int64_t)round);
    hearth_stmt_bind_i64(q, 3, HEARTH_ROUND_FIXING);
    hearth_stmt_bind_i64(q, 4, counted);
    hearth_stmt_bind_i64(q, 5, HEARTH_ROUND_OPEN);
    st = hearth_store__run(q, err);
    if (st == HEARTH_OK && hearth_db_changes(s->db) != 1)
        st = hearth_error_set(err, HEARTH_ESTATE,
                              "round %llu of '%s' is not open",
                              (unsigned long long)round, task);
    return st;
}

/* A closed round keeps no key and no list of who took part. */
static hearth_status close_round(hearth_coord_store *s, const char *task,
                                 uint64_t round, uint32_t phase,
                                 int64_t closed_ms, uint64_t sequence,
                                 hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_status st = hearth_db_prepare(
        s->db, &q,
        "UPDATE rounds SET phase = ?3, closed_ms = ?4, sequence = ?5,"
        " key = NULL WHERE task = ?1 AND round = ?2"
        " AND (phase = 2 OR (phase = 1 AND ?3 = 4))",
        err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, task);
    hearth_stmt_bind_i64(q, 2, (int64_t)round);
    hearth_stmt_bind_i64(q, 3, phase);
    hearth_stmt_bind_i64(q, 4, closed_ms);
    hearth_stmt_bind_i64(q, 5, (int64_t)sequence);
    st = hearth_store__run(q, err);
    if (st == HEARTH_OK && hearth_db_changes(s->db) != 1)
        return hearth_error_set(err, HEARTH_ESTATE,
                                "round %llu of '%s' can not be closed now",
                                (unsigned long long)round, task);
    if (st == HEARTH_OK)
        st = hearth_db_prepare(
            s->db, &q,
            "DELETE FROM participation WHERE task = ?1 AND round = ?2", err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, task);
    hearth_stmt_bind_i64(q, 2, (int64_t)round);
    return hearth_store__run(q, err);
}

_Static_assert(HEARTH_ROUND_OPEN == 1 && HEARTH_ROUND_FIXING == 2 &&
                   HEARTH_ROUND_FAILED == 4,
               "the numbers in close_round");

hearth_status hearth_coord_store_fail_round(hearth_coord_store *s,
                                            const char *task, uint64_t round,
                                            int64_t closed_ms,
                                            hearth_error *err) {
    hearth_status st = hearth_db_begin(s->db, err);
    if (st != HEARTH_OK) return st;
    st = close_round(s, task, round, HEARTH_ROUND_FAILED, closed_ms, 0, err);
    return hearth_store__end(s, st, err);
}

/* ---- releases ---- */

static hearth_status read_release(hearth_stmt *q, hearth_release_row *row,
                                  hearth_error *err) {
    hearth_status st;
    memset(row, 0, sizeof(*row));
    hearth_store__text(row->task, sizeof(row->task), q, 0);
    row->sequence = (uint64_t)hearth_stmt_i64(q, 1);
    row->created_ms = hearth_stmt_i64(q, 2);
    row->round = (uint64_t)hearth_stmt_i64(q, 3);
    st = hearth_store__blob(row->manifest_digest, 32, q, 4, err);
    if (st == HEARTH_OK)
        st = hearth_store__blob(row->content_sha256, 32, q, 5, err);
    return st;
}

#define RELEASE_COLUMNS                                                        \
    "task, sequence, created_ms, round, manifest_digest, content_sha256"

hearth_status hearth_coord_store_releases(hearth_coord_store *s,
                                          const char *task,
                                          hearth_release_row_fn fn, void *ud,
                                          hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_release_row row;
    bool more = false;
    hearth_status st = hearth_db_prepare(s->db, &q,
                                         "SELECT " RELEASE_COLUMNS
                                         " FROM releases WHERE task = ?1"
                                         " ORDER BY sequence",
                                         err);
    if (st == HEARTH_OK) hearth_stmt_bind_str(q, 1, task);
    while (st == HEARTH_OK) {
        st = hearth_stmt_step(q, &more, err);
        if (st != HEARTH_OK || !more) break;
        st = read_release(q, &row, err);
        if (st == HEARTH_OK) st = fn(ud, &row);
    }
    hearth_stmt_free(q);
    return st;
}

hearth_status hearth_coord_store_release(hearth_coord_store *s,
                                         const char *task, uint64_t sequence,
                                         hearth_release_row *row,
                                         hearth_buf *manifest,
                                         hearth_buf *optimizer,
                                         hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_status st = hearth_db_prepare(
        s->db, &q,
        "SELECT " RELEASE_COLUMNS ", manifest, optimizer FROM releases"
        " WHERE task = ?1 AND (sequence = ?2 OR ?2 = 0)"
        " ORDER BY sequence DESC LIMIT 1",
        err);
    memset(row, 0, sizeof(*row));
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, task);
    hearth_stmt_bind_i64(q, 2, (int64_t)sequence);
    st = hearth_store__one(q, "release", err);
    if (st == HEARTH_OK) st = read_release(q, row, err);
    if (st == HEARTH_OK && manifest) st = hearth_store__append(manifest, q, 6);
    if (st == HEARTH_OK && optimizer)
        st = hearth_store__append(optimizer, q, 7);
    hearth_stmt_free(q);
    return st;
}

static hearth_status insert_task(hearth_coord_store *s,
                                 const hearth_publication *p,
                                 hearth_error *err) {
    hearth_stmt *q = NULL;
    const hearth_task_row *t = p->new_task;
    hearth_status st = hearth_db_prepare(
        s->db, &q,
        "INSERT INTO tasks(name, state, created_ms, a_seed, cooldown_key, ini)"
        " VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
        err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, t->name);
    hearth_stmt_bind_i64(q, 2, t->state);
    hearth_stmt_bind_i64(q, 3, t->created_ms);
    hearth_stmt_bind_blob(q, 4, t->a_seed, sizeof(t->a_seed));
    hearth_stmt_bind_blob(q, 5, p->new_key->bytes, sizeof(p->new_key->bytes));
    hearth_stmt_bind_blob(q, 6, p->ini, p->ini_n);
    return hearth_store__run(q, err);
}

static hearth_status insert_release(hearth_coord_store *s,
                                    const hearth_publication *p,
                                    hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_status st = hearth_db_prepare(
        s->db, &q,
        "INSERT INTO releases(" RELEASE_COLUMNS ", manifest, optimizer)"
        " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, p->row.task);
    hearth_stmt_bind_i64(q, 2, (int64_t)p->row.sequence);
    hearth_stmt_bind_i64(q, 3, p->row.created_ms);
    hearth_stmt_bind_i64(q, 4, (int64_t)p->row.round);
    hearth_stmt_bind_blob(q, 5, p->row.manifest_digest, 32);
    hearth_stmt_bind_blob(q, 6, p->row.content_sha256, 32);
    hearth_stmt_bind_blob(q, 7, p->manifest, p->manifest_n);
    hearth_stmt_bind_blob(q, 8, p->optimizer ? (const void *)p->optimizer : "",
                          p->optimizer_n);
    return hearth_store__run(q, err);
}

hearth_status hearth_coord_store_publish(hearth_coord_store *s,
                                         const hearth_publication *p,
                                         hearth_error *err) {
    hearth_status st = hearth_db_begin(s->db, err);
    if (st != HEARTH_OK) return st;
    if (p->new_task) st = insert_task(s, p, err);
    if (st == HEARTH_OK) st = insert_release(s, p, err);
    if (st == HEARTH_OK && p->close_round)
        st = close_round(s, p->row.task, p->close_round, HEARTH_ROUND_RELEASED,
                         p->row.created_ms, p->row.sequence, err);
    if (st == HEARTH_OK && p->done)
        st = hearth_coord_store_set_task_state(s, p->row.task, HEARTH_TASK_DONE,
                                               err);
    return hearth_store__end(s, st, err);
}

hearth_status hearth_coord_store_tidy(hearth_coord_store *s,
                                      hearth_error *err) {
    /* It holds off writers while it waits for readers: not for long. */
    hearth_status st = hearth_db_exec(s->db, "PRAGMA busy_timeout=50", err);
    if (st == HEARTH_OK)
        st = hearth_db_exec(s->db, "PRAGMA wal_checkpoint(TRUNCATE)", err);
    hearth_status back = hearth_db_exec(s->db, "PRAGMA busy_timeout=5000", err);
    if (st == HEARTH_EBUSY) st = HEARTH_OK;
    return st == HEARTH_OK ? back : st;
}

hearth_status hearth_coord_store_version(hearth_coord_store *s, int64_t *v,
                                         hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_status st = hearth_db_prepare(s->db, &q, "PRAGMA data_version", err);
    *v = 0;
    if (st != HEARTH_OK) return st;
    st = hearth_store__one(q, "version", err);
    if (st == HEARTH_OK) *v = hearth_stmt_i64(q, 0);
    hearth_stmt_free(q);
    return st;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/contrib_store.c - invitations, contributions, checkpoints and
 * spacing in SQLite; contract in coord_store.h. */
#include <string.h>

#include "common/error.h"
#include "coordinator/round.h"
#include "coordinator/store_db.h"

#define COLUMNS                                                                \
    "token_hash, task, round, cohort, stage, state, length, sha256, folded_in"

static hearth_status read_row(hearth_stmt *q, hearth_contrib_row *row,
                              hearth_error *err) {
    hearth_status st;
    memset(row, 0, sizeof(*row));
    if ((st = hearth_store__blob(row->token_hash, 32, q, 0, err)) != HEARTH_OK)
        return st;
    hearth_store__text(row->task, sizeof(row->task), q, 1);
    row->round = (uint64_t)hearth_stmt_i64(q, 2);
    row->cohort = (uint32_t)hearth_stmt_i64(q, 3);
    row->stage = (uint32_t)hearth_stmt_i64(q, 4);
    row->state = (uint32_t)hearth_stmt_i64(q, 5);
    row->length = (uint64_t)hearth_stmt_i64(q, 6);
    row->folded_in = (uint64_t)hearth_stmt_i64(q, 8);
    return hearth_store__blob(row->sha256, 32, q, 7, err);
}

static hearth_status insert_tag(hearth_coord_store *s,
                                const hearth_contrib_row *row,
                                const uint8_t tag[32], hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_status st = hearth_db_prepare(
        s->db, &q,
        "INSERT INTO participation(task, round, tag) VALUES(?1, ?2, ?3)", err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, row->task);
    hearth_stmt_bind_i64(q, 2, (int64_t)row->round);
    hearth_stmt_bind_blob(q, 3, tag, 32);
    return hearth_store__run(q, err);
}

hearth_status hearth_coord_store_invite(hearth_coord_store *s,
                                        const hearth_contrib_row *row,
                                        const uint8_t tag[32],
                                        hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_status st = hearth_db_begin(s->db, err);
    if (st != HEARTH_OK) return st;
    st = insert_tag(s, row, tag, err);
    if (st == HEARTH_OK)
        st = hearth_db_prepare(s->db, &q,
                               "INSERT INTO contributions(" COLUMNS ")"
                               " VALUES(?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, 0)",
                               err);
    if (st == HEARTH_OK) {
        const uint8_t none[32] = {0};
        hearth_stmt_bind_blob(q, 1, row->token_hash, 32);
        hearth_stmt_bind_str(q, 2, row->task);
        hearth_stmt_bind_i64(q, 3, (int64_t)row->round);
        hearth_stmt_bind_i64(q, 4, row->cohort);
        hearth_stmt_bind_i64(q, 5, row->stage);
        hearth_stmt_bind_i64(q, 6, HEARTH_CONTRIB_INVITED);
        hearth_stmt_bind_blob(q, 7, none, 32);
        st = hearth_store__run(q, err);
    }
    return hearth_store__end(s, st, err);
}

hearth_status hearth_coord_store_contrib(hearth_coord_store *s,
                                         const uint8_t token_hash[32],
                                         hearth_contrib_row *row,
                                         hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_status st = hearth_db_prepare(
        s->db, &q,
        "SELECT " COLUMNS " FROM contributions WHERE token_hash = ?1", err);
    memset(row, 0, sizeof(*row));
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_blob(q, 1, token_hash, 32);
    st = hearth_store__one(q, "upload", err);
    if (st == HEARTH_OK) st = read_row(q, row, err);
    hearth_stmt_free(q);
    return st;
}

hearth_status hearth_coord_store_set_contrib(hearth_coord_store *s,
                                             const hearth_contrib_row *row,
                                             hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_status st = hearth_db_prepare(
        s->db, &q,
        "UPDATE contributions SET state = ?2, length = ?3, sha256 = ?4"
        " WHERE token_hash = ?1 AND state <> ?5",
        err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_blob(q, 1, row->token_hash, 32);
    hearth_stmt_bind_i64(q, 2, row->state);
    hearth_stmt_bind_i64(q, 3, (int64_t)row->length);
    hearth_stmt_bind_blob(q, 4, row->sha256, 32);
    hearth_stmt_bind_i64(q, 5, HEARTH_CONTRIB_COMMITTED);
    st = hearth_store__run(q, err);
    if (st == HEARTH_OK && hearth_db_changes(s->db) != 1)
        st = hearth_error_set(err, HEARTH_ENOTFOUND, "no such open upload");
    return st;
}

/* One row; it stays as it is unless its round still takes commits. */
static hearth_status commit_one(hearth_coord_store *s, hearth_stmt *q,
                                const hearth_contrib_row *row,
                                hearth_error *err) {
    hearth_status st;
    hearth_stmt_reset(q);
    hearth_stmt_bind_blob(q, 1, row->token_hash, 32);
    hearth_stmt_bind_i64(q, 2, HEARTH_CONTRIB_COMMITTED);
    hearth_stmt_bind_i64(q, 3, HEARTH_CONTRIB_BEGUN);
    hearth_stmt_bind_i64(q, 4, HEARTH_ROUND_OPEN);
    if ((st = hearth_stmt_run(q, err)) != HEARTH_OK) return st;
    if (hearth_db_changes(s->db) == 1) return HEARTH_OK;
    return hearth_error_set(err, HEARTH_ESTATE,
                            "a contribution is not open for commit");
}

hearth_status hearth_coord_store_commit(hearth_coord_store *s,
                                        const hearth_contrib_row *rows,
                                        size_t n, hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_status st = hearth_db_begin(s->db, err);
    if (st != HEARTH_OK) return st;
    st = hearth_db_prepare(
        s->db, &q,
        "UPDATE contributions SET state = ?2 WHERE token_hash = ?1"
        " AND state = ?3 AND EXISTS (SELECT 1 FROM rounds WHERE"
        " rounds.task = contributions.task AND"
        " rounds.round = contributions.round AND rounds.phase = ?4)",
        err);
    for (size_t i = 0; st == HEARTH_OK && i < n; i++)
        st = commit_one(s, q, &rows[i], err);
    hearth_stmt_free(q);
    return hearth_store__end(s, st, err);
}

hearth_status hearth_coord_store_count(hearth_coord_store *s, const char *task,
                                       uint64_t round, uint32_t cohort,
                                       uint32_t counts[5], hearth_error *err) {
    hearth_stmt *q = NULL;
    bool more = false;
    hearth_status st = hearth_db_prepare(
        s->db, &q,
        "SELECT state, count(*) FROM contributions"
        " WHERE task = ?1 AND round = ?2 AND cohort = ?3 GROUP BY state",
        err);
    memset(counts, 0, 5 * sizeof(*counts));
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, task);
    hearth_stmt_bind_i64(q, 2, (int64_t)round);
    hearth_stmt_bind_i64(q, 3, cohort);
    while ((st = hearth_stmt_step(q, &more, err)) == HEARTH_OK && more) {
        int64_t state = hearth_stmt_i64(q, 0);
        if (state >= 0 && state < 5)
            counts[state] = (uint32_t)hearth_stmt_i64(q, 1);
    }
    hearth_stmt_free(q);
    return st;
}

hearth_status hearth_coord_store_committed(hearth_coord_store *s,
                                           const char *task, uint64_t round,
                                           uint32_t cohort, bool folded,
                                           const uint8_t *after,
                                           hearth_contrib_row *rows, size_t cap,
                                           size_t *n, hearth_error *err) {
    hearth_stmt *q = NULL;
    bool more = false;
    hearth_status st = hearth_db_prepare(
        s->db, &q,
        "SELECT " COLUMNS " FROM contributions WHERE task = ?1 AND round = ?2"
        " AND cohort = ?3 AND state = ?4 AND (folded_in > 0) = ?5"
        " AND (?6 IS NULL OR token_hash > ?6) ORDER BY token_hash LIMIT ?7",
        err);
    *n = 0;
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, task);
    hearth_stmt_bind_i64(q, 2, (int64_t)round);
    hearth_stmt_bind_i64(q, 3, cohort);
    hearth_stmt_bind_i64(q, 4, HEARTH_CONTRIB_COMMITTED);
    hearth_stmt_bind_i64(q, 5, folded ? 1 : 0);
    if (after)
        hearth_stmt_bind_blob(q, 6, after, 32);
    else
        hearth_stmt_bind_null(q, 6);
    hearth_stmt_bind_i64(q, 7, (int64_t)cap);
    while (*n < cap && (st = hearth_stmt_step(q, &more, err)) == HEARTH_OK &&
           more)
        if ((st = read_row(q, &rows[(*n)++], err)) != HEARTH_OK) break;
    hearth_stmt_free(q);
    return st;
}

/* ---- checkpoints ---- */

hearth_status hearth_coord_store_checkpoint(hearth_coord_store *s,
                                            const char *task, uint64_t round,
                                            uint32_t cohort, uint64_t *number,
                                            hearth_error *err) {
    hearth_stmt *q = NULL;
    bool row = false;
    hearth_status st =
        hearth_db_prepare(s->db, &q,
                          "SELECT number FROM checkpoints"
                          " WHERE task = ?1 AND round = ?2 AND cohort = ?3",
                          err);
    *number = 0;
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, task);
    hearth_stmt_bind_i64(q, 2, (int64_t)round);
    hearth_stmt_bind_i64(q, 3, cohort);
    st = hearth_stmt_step(q, &row, err);
    if (st == HEARTH_OK && row) *number = (uint64_t)hearth_stmt_i64(q, 0);
    hearth_stmt_free(q);
    return st;
}

static hearth_status mark_folded(hearth_coord_store *s, uint64_t number,
                                 const hearth_contrib_row *rows, size_t n,
                                 hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_status st = hearth_db_prepare(
        s->db, &q,
        "UPDATE contributions SET folded_in = ?2 WHERE token_hash = ?1"
        " AND state = ?3 AND folded_in = 0",
        err);
    for (size_t i = 0; st == HEARTH_OK && i < n; i++) {
        hearth_stmt_reset(q);
        hearth_stmt_bind_blob(q, 1, rows[i].token_hash, 32);
        hearth_stmt_bind_i64(q, 2, (int64_t)number);
        hearth_stmt_bind_i64(q, 3, HEARTH_CONTRIB_COMMITTED);
        st = hearth_stmt_run(q, err);
        if (st == HEARTH_OK && hearth_db_changes(s->db) != 1)
            st = hearth_error_set(err, HEARTH_ESTATE,
                                  "a contribution is folded already");
    }
    hearth_stmt_free(q);
    return st;
}

hearth_status hearth_coord_store_set_checkpoint(hearth_coord_store *s,
                                                const char *task,
                                                uint64_t round, uint32_t cohort,
                                                uint64_t number,
                                                const hearth_contrib_row *rows,
                                                size_t n, hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_status st = hearth_db_begin(s->db, err);
    if (st != HEARTH_OK) return st;
    st = hearth_db_prepare(
        s->db, &q,
        "INSERT INTO checkpoints(task, round, cohort, number)"
        " VALUES(?1, ?2, ?3, ?4) ON CONFLICT(task, round, cohort)"
        " DO UPDATE SET number = excluded.number",
        err);
    if (st == HEARTH_OK) {
        hearth_stmt_bind_str(q, 1, task);
        hearth_stmt_bind_i64(q, 2, (int64_t)round);
        hearth_stmt_bind_i64(q, 3, cohort);
        hearth_stmt_bind_i64(q, 4, (int64_t)number);
        st = hearth_store__run(q, err);
    }
    if (st == HEARTH_OK) st = mark_folded(s, number, rows, n, err);
    return hearth_store__end(s, st, err);
}

/* ---- spacing ---- */

static hearth_status cooldown_until(hearth_coord_store *s, const char *task,
                                    const uint8_t tag[32], int64_t *until,
                                    hearth_error *err) {
    hearth_stmt *q = NULL;
    bool row = false;
    hearth_status st = hearth_db_prepare(
        s->db, &q, "SELECT until_ms FROM cooldown WHERE task = ?1 AND tag = ?2",
        err);
    *until = INT64_MIN;
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, task);
    hearth_stmt_bind_blob(q, 2, tag, 32);
    st = hearth_stmt_step(q, &row, err);
    if (st == HEARTH_OK && row) *until = hearth_stmt_i64(q, 0);
    hearth_stmt_free(q);
    return st;
}

static hearth_status store_cooldown(hearth_coord_store *s, const char *task,
                                    const uint8_t tag[32], int64_t now_ms,
                                    int64_t until_ms, hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_status st = hearth_db_prepare(
        s->db, &q, "DELETE FROM cooldown WHERE until_ms <= ?1", err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_i64(q, 1, now_ms);
    if ((st = hearth_store__run(q, err)) != HEARTH_OK) return st;
    st = hearth_db_prepare(
        s->db, &q,
        "INSERT INTO cooldown(task, tag, until_ms) VALUES(?1, ?2, ?3)"
        " ON CONFLICT(task, tag) DO UPDATE SET until_ms = excluded.until_ms",
        err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, task);
    hearth_stmt_bind_blob(q, 2, tag, 32);
    hearth_stmt_bind_i64(q, 3, until_ms);
    return hearth_store__run(q, err);
}

hearth_status hearth_coord_store_cooldown(hearth_coord_store *s,
                                          const char *task,
                                          const uint8_t tag[32], int64_t now_ms,
                                          int64_t spacing_ms, bool remember,
                                          bool *ready, hearth_error *err) {
    int64_t until;
    hearth_status st;
    *ready = false;
    if (spacing_ms < 0 || now_ms < 0) return HEARTH_EINVAL;
    if ((st = hearth_db_begin(s->db, err)) != HEARTH_OK) return st;
    st = cooldown_until(s, task, tag, &until, err);
    /* Further ahead than a spacing and a jump of its length can explain: it was
     * written by a clock that was wrong. */
    bool wrong = st == HEARTH_OK && until > now_ms &&
                 until - now_ms > spacing_ms &&
                 until - now_ms - spacing_ms > spacing_ms;
    if (st == HEARTH_OK && (until <= now_ms || wrong)) {
        if (remember)
            st = store_cooldown(s, task, tag, now_ms, now_ms + spacing_ms, err);
        *ready = st == HEARTH_OK;
    }
    st = hearth_store__end(s, st, err);
    if (st != HEARTH_OK) *ready = false;
    return st;
}

hearth_status hearth_coord_store_prune(hearth_coord_store *s, const char *task,
                                       uint64_t keep_from, hearth_error *err) {
    static const char *const sql[] = {
        "DELETE FROM contributions WHERE task = ?1 AND round < ?2",
        "DELETE FROM checkpoints WHERE task = ?1 AND round < ?2"};
    hearth_status st = hearth_db_begin(s->db, err);
    if (st != HEARTH_OK) return st;
    for (size_t i = 0; st == HEARTH_OK && i < 2; i++) {
        hearth_stmt *q = NULL;
        st = hearth_db_prepare(s->db, &q, sql[i], err);
        if (st != HEARTH_OK) break;
        hearth_stmt_bind_str(q, 1, task);
        hearth_stmt_bind_i64(q, 2, (int64_t)keep_from);
        st = hearth_store__run(q, err);
    }
    return hearth_store__end(s, st, err);
}

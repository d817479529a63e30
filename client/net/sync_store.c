/* SPDX-License-Identifier: Apache-2.0 */
/* client/net/sync_store.c - the contract is in sync_store.h. */
#include "client/net/sync_store.h"

#include <stdio.h>
#include <string.h>

#include "client/net/reply.h"

#define KEEP_ROUNDS 256 /* rows of history */

static const char *const steps[] = {
    "CREATE TABLE sync_session("
    " id INTEGER PRIMARY KEY CHECK(id = 1), cookie TEXT NOT NULL,"
    " not_before_ms INTEGER NOT NULL, wait_ms INTEGER NOT NULL,"
    " window INTEGER NOT NULL, a_min INTEGER NOT NULL, a_max INTEGER NOT NULL,"
    " r_min INTEGER NOT NULL, r_max INTEGER NOT NULL, skew_ms INTEGER NOT NULL,"
    " checkin_ms INTEGER NOT NULL, note TEXT NOT NULL,"
    " note_ms INTEGER NOT NULL);"
    "CREATE TABLE sync_round("
    " id INTEGER PRIMARY KEY, task TEXT NOT NULL, round INTEGER NOT NULL,"
    " cohort INTEGER NOT NULL, stage INTEGER NOT NULL, phase INTEGER NOT NULL,"
    " since_ms INTEGER NOT NULL, time_ms INTEGER NOT NULL, offer BLOB,"
    " reason TEXT NOT NULL, UNIQUE(task, round, cohort, stage));"
    "CREATE TABLE sync_training(one INTEGER PRIMARY KEY CHECK(one = 1))"};

hearth_status hearth_sync_store_init(hearth_db *db, hearth_error *err) {
    return hearth_db_migrate(db, "sync", steps, 1, err);
}

static void take_text(hearth_stmt *q, int i, char *out, size_t cap) {
    size_t n = 0;
    const char *s = hearth_stmt_text(q, i, &n);
    if (n >= cap) n = 0;
    memcpy(out, s, n);
    out[n] = '\0';
}

hearth_status hearth_sync_session_load(hearth_sync_session *out, hearth_db *db,
                                       hearth_error *err) {
    hearth_stmt *q = NULL;
    bool row = false;
    *out = (hearth_sync_session){.retry = hearth_retry_default};
    hearth_status st = hearth_db_prepare(
        db, &q,
        "SELECT cookie, not_before_ms, wait_ms, window, a_min, a_max, r_min,"
        " r_max, skew_ms, checkin_ms, note, note_ms FROM sync_session",
        err);
    if (st != HEARTH_OK) return st;
    st = hearth_stmt_step(q, &row, err);
    if (st == HEARTH_OK && row) {
        take_text(q, 0, out->cookie, sizeof(out->cookie));
        out->not_before_ms = hearth_stmt_i64(q, 1);
        out->wait_ms = hearth_stmt_i64(q, 2);
        out->window = hearth_stmt_i64(q, 3) != 0;
        out->retry.accepted_min_ms = (uint64_t)hearth_stmt_i64(q, 4);
        out->retry.accepted_max_ms = (uint64_t)hearth_stmt_i64(q, 5);
        out->retry.refused_min_ms = (uint64_t)hearth_stmt_i64(q, 6);
        out->retry.refused_max_ms = (uint64_t)hearth_stmt_i64(q, 7);
        out->skew_ms = hearth_stmt_i64(q, 8);
        out->checkin_ms = hearth_stmt_i64(q, 9);
        take_text(q, 10, out->note, sizeof(out->note));
        out->note_ms = hearth_stmt_i64(q, 11);
    }
    hearth_stmt_free(q);
    return st;
}

hearth_status hearth_sync_session_save(const hearth_sync_session *s,
                                       hearth_db *db, hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_status st =
        hearth_db_prepare(db, &q,
                          "INSERT OR REPLACE INTO sync_session VALUES(1, ?1,"
                          " ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
                          err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, s->cookie);
    hearth_stmt_bind_i64(q, 2, s->not_before_ms);
    hearth_stmt_bind_i64(q, 3, s->wait_ms);
    hearth_stmt_bind_i64(q, 4, s->window);
    hearth_stmt_bind_i64(q, 5, (int64_t)s->retry.accepted_min_ms);
    hearth_stmt_bind_i64(q, 6, (int64_t)s->retry.accepted_max_ms);
    hearth_stmt_bind_i64(q, 7, (int64_t)s->retry.refused_min_ms);
    hearth_stmt_bind_i64(q, 8, (int64_t)s->retry.refused_max_ms);
    hearth_stmt_bind_i64(q, 9, s->skew_ms);
    hearth_stmt_bind_i64(q, 10, s->checkin_ms);
    hearth_stmt_bind_str(q, 11, s->note);
    hearth_stmt_bind_i64(q, 12, s->note_ms);
    st = hearth_stmt_run(q, err);
    hearth_stmt_free(q);
    return st;
}

static void bind_key(hearth_stmt *q, const hearth_offer *o) {
    hearth_stmt_bind_str(q, 1, o->task);
    hearth_stmt_bind_i64(q, 2, (int64_t)o->round);
    hearth_stmt_bind_i64(q, 3, (int64_t)o->cohort);
    hearth_stmt_bind_i64(q, 4, (int64_t)o->stage);
}

static hearth_status put_row(hearth_db *db, const hearth_offer *o,
                             hearth_sync_round_phase phase, int64_t now_ms,
                             const char *reason, const hearth_buf *bytes,
                             hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_status st = hearth_db_prepare(
        db, &q,
        "INSERT INTO sync_round(task, round, cohort, stage, phase, since_ms,"
        " time_ms, offer, reason) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7, ?8)"
        " ON CONFLICT(task, round, cohort, stage) DO UPDATE SET"
        " phase = excluded.phase, time_ms = excluded.time_ms,"
        " offer = excluded.offer, reason = excluded.reason",
        err);
    if (st != HEARTH_OK) return st;
    bind_key(q, o);
    hearth_stmt_bind_i64(q, 5, (int64_t)phase);
    hearth_stmt_bind_i64(q, 6, now_ms);
    if (bytes->n)
        hearth_stmt_bind_blob(q, 7, bytes->v, bytes->n);
    else
        hearth_stmt_bind_null(q, 7);
    hearth_stmt_bind_str(q, 8, reason ? reason : "");
    st = hearth_stmt_run(q, err);
    hearth_stmt_free(q);
    return st;
}

hearth_status hearth_sync_round_put(hearth_db *db, const hearth_offer *o,
                                    hearth_sync_round_phase phase,
                                    int64_t now_ms, const char *reason,
                                    const hearth_alloc *al, hearth_error *err) {
    hearth_buf bytes = HEARTH_BUF_INIT(al);
    hearth_stmt *q = NULL;
    hearth_status st = HEARTH_OK;
    if (phase == HEARTH_SYNC_ROUND_ACCEPTED)
        st = hearth_encode_offer(&bytes, o);
    if (st == HEARTH_OK) st = hearth_db_begin(db, err);
    if (st != HEARTH_OK) goto done;
    st = put_row(db, o, phase, now_ms, reason, &bytes, err);
    if (st == HEARTH_OK)
        st = hearth_db_prepare(
            db, &q,
            "DELETE FROM sync_round WHERE phase <> 1 AND id <="
            " (SELECT max(id) FROM sync_round) - ?1",
            err);
    if (st == HEARTH_OK) {
        hearth_stmt_bind_i64(q, 1, KEEP_ROUNDS);
        st = hearth_stmt_run(q, err);
        hearth_stmt_free(q);
    }
    if (st == HEARTH_OK)
        st = hearth_db_commit(db, err);
    else
        hearth_db_rollback(db);
done:
    hearth_buf_free(&bytes); /* holds the upload token: wiped */
    return st;
}

hearth_status hearth_sync_round_get(hearth_db *db, const hearth_offer *o,
                                    bool *known, hearth_sync_round_phase *phase,
                                    hearth_error *err) {
    hearth_stmt *q = NULL;
    *known = false;
    hearth_status st = hearth_db_prepare(
        db, &q,
        "SELECT phase FROM sync_round WHERE task = ?1 AND round = ?2"
        " AND cohort = ?3 AND stage = ?4",
        err);
    if (st != HEARTH_OK) return st;
    bind_key(q, o);
    st = hearth_stmt_step(q, known, err);
    if (st == HEARTH_OK && *known)
        *phase = (hearth_sync_round_phase)hearth_stmt_i64(q, 0);
    hearth_stmt_free(q);
    return st;
}

hearth_status hearth_sync_round_active(hearth_db *db, hearth_offer *o,
                                       int64_t *since_ms, bool *found,
                                       hearth_error *err) {
    hearth_stmt *q = NULL;
    bool row = false, broken = false;
    *found = false;
    hearth_status st = hearth_db_prepare(
        db, &q,
        "SELECT since_ms, offer FROM sync_round WHERE phase = 1"
        " ORDER BY id DESC LIMIT 1",
        err);
    if (st != HEARTH_OK) return st;
    st = hearth_stmt_step(q, &row, err);
    if (st == HEARTH_OK && row) {
        size_t n = 0;
        const void *v = hearth_stmt_blob(q, 1, &n);
        *since_ms = hearth_stmt_i64(q, 0);
        *found = v && hearth_decode_offer(o, v, n, NULL) == HEARTH_OK;
        broken = !*found;
    }
    hearth_stmt_free(q);
    if (st == HEARTH_OK && broken)
        st = hearth_db_exec(db,
                            "UPDATE sync_round SET phase = 3, offer = NULL,"
                            " reason = 'the stored offer is damaged'"
                            " WHERE phase = 1",
                            err);
    return st;
}

hearth_status hearth_sync_round_each(hearth_db *db, uint32_t limit,
                                     hearth_sync_round_visit visit, void *ud,
                                     hearth_error *err) {
    hearth_stmt *q = NULL;
    bool row = false;
    hearth_status st = hearth_db_prepare(
        db, &q,
        "SELECT task, round, phase, time_ms, reason FROM sync_round"
        " ORDER BY time_ms DESC, id DESC LIMIT ?1",
        err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_i64(q, 1, (int64_t)limit);
    while ((st = hearth_stmt_step(q, &row, err)) == HEARTH_OK && row) {
        hearth_sync_round_row r = {{0}, 0, 0, 0, {0}};
        take_text(q, 0, r.task, sizeof(r.task));
        r.round = (uint64_t)hearth_stmt_i64(q, 1);
        r.phase = (hearth_sync_round_phase)hearth_stmt_i64(q, 2);
        r.time_ms = hearth_stmt_i64(q, 3);
        take_text(q, 4, r.reason, sizeof(r.reason));
        if ((st = visit(ud, &r)) != HEARTH_OK) break;
    }
    hearth_stmt_free(q);
    return st;
}

hearth_status hearth_sync_training_mark(hearth_db *db, bool on,
                                        hearth_error *err) {
    return hearth_db_exec(db,
                          on ? "INSERT OR IGNORE INTO sync_training VALUES(1)"
                             : "DELETE FROM sync_training",
                          err);
}

hearth_status hearth_sync_training_marked(hearth_db *db, bool *on,
                                          hearth_error *err) {
    hearth_stmt *q = NULL;
    *on = false;
    hearth_status st =
        hearth_db_prepare(db, &q, "SELECT 1 FROM sync_training", err);
    if (st != HEARTH_OK) return st;
    st = hearth_stmt_step(q, on, err);
    hearth_stmt_free(q);
    return st;
}

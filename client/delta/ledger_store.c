/* SPDX-License-Identifier: Apache-2.0 */
/* client/delta/ledger_store.c - the contract is in ledger_store.h.
 *
 * Two tables.  ledger_row is append-only: triggers refuse UPDATE and DELETE,
 * and the chain is checked on every read, so a row that was changed by other
 * means is noticed before the next charge.  prepared holds bytes by the seq of
 * their charge; erasing sets bytes to NULL (secure_delete overwrites the page)
 * and empties the write-ahead log.
 */
#include "client/delta/ledger_store.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "client/delta/ledger_entry.h"
#include "common/bytes.h"
#include "common/failpoint.h"
#include "common/hash.h"
#include "common/mem.h"
#include "privacy/accountant_zcdp.h"

struct hearth_ledger_store {
    hearth_alloc alloc;
    hearth_db *db; /* borrowed */
    hearth_ledger_rules rules;
    hearth_clock clock;
    hearth_ledger_counter counter; /* raise is NULL: none */
    char coordinator[HEARTH_LEDGER_NAME_MAX];
};

static const char *const STEPS[] = {
    "CREATE TABLE ledger_row("
    " seq INTEGER PRIMARY KEY, kind INTEGER NOT NULL, voids INTEGER NOT NULL,"
    " time_ms INTEGER NOT NULL, task TEXT NOT NULL, coordinator TEXT NOT NULL,"
    " round INTEGER NOT NULL, cohort INTEGER NOT NULL, stage INTEGER NOT NULL,"
    " rho REAL NOT NULL, z REAL NOT NULL, d INTEGER NOT NULL,"
    " payload BLOB NOT NULL, previous BLOB NOT NULL, hash BLOB NOT NULL);"
    "CREATE UNIQUE INDEX ledger_voids ON ledger_row(voids) WHERE voids <> 0;"
    "CREATE TRIGGER ledger_no_update BEFORE UPDATE ON ledger_row BEGIN"
    " SELECT RAISE(ABORT, 'the ledger is append-only'); END;"
    "CREATE TRIGGER ledger_no_delete BEFORE DELETE ON ledger_row BEGIN"
    " SELECT RAISE(ABORT, 'the ledger is append-only'); END;"
    "CREATE TABLE prepared("
    " seq INTEGER PRIMARY KEY REFERENCES ledger_row(seq), task TEXT NOT NULL,"
    " round INTEGER NOT NULL, cohort INTEGER NOT NULL, stage INTEGER NOT NULL,"
    " offer BLOB NOT NULL, state INTEGER NOT NULL, bytes BLOB);"
    "CREATE INDEX prepared_key ON prepared(task, round, cohort, stage);",
    /* A row: it was compared with an app's counter. */
    "CREATE TABLE ledger_counter(one INTEGER PRIMARY KEY CHECK(one = 1))"};

#define ROW_COLUMNS                                                            \
    "seq, kind, voids, time_ms, task, coordinator, round, cohort, stage, rho," \
    " z, d, payload, previous, hash"

hearth_status hearth_round_key_init(hearth_round_key *key, const char *task,
                                    uint64_t round, uint32_t cohort,
                                    uint32_t stage) {
    if (!key || !task) return HEARTH_EINVAL;
    size_t n = strnlen(task, HEARTH_LEDGER_NAME_MAX);
    if (n == 0 || n == HEARTH_LEDGER_NAME_MAX) return HEARTH_EINVAL;
    memset(key, 0, sizeof(*key));
    memcpy(key->task, task, n);
    key->round = round;
    key->cohort = cohort;
    key->stage = stage;
    return HEARTH_OK;
}

/* ---- rows ---- */

static bool read_text(hearth_stmt *q, int i, char out[HEARTH_LEDGER_NAME_MAX]) {
    size_t n = 0;
    const char *s = hearth_stmt_text(q, i, &n);
    if (n >= HEARTH_LEDGER_NAME_MAX || memchr(s, 0, n)) return false;
    memset(out, 0, HEARTH_LEDGER_NAME_MAX);
    memcpy(out, s, n);
    return true;
}

static bool read_hash(hearth_stmt *q, int i, uint8_t out[32]) {
    size_t n = 0;
    const void *p = hearth_stmt_blob(q, i, &n);
    if (!p || n != 32) return false;
    memcpy(out, p, 32);
    return true;
}

static bool read_u32(hearth_stmt *q, int i, uint32_t *out) {
    int64_t v = hearth_stmt_i64(q, i);
    *out = (uint32_t)v;
    return v >= 0 && v <= (int64_t)UINT32_MAX;
}

static bool read_row(hearth_stmt *q, hearth_ledger_row *r) {
    memset(r, 0, sizeof(*r));
    r->seq = (uint64_t)hearth_stmt_i64(q, 0);
    r->kind = (hearth_ledger_kind)hearth_stmt_i64(q, 1);
    r->voids = (uint64_t)hearth_stmt_i64(q, 2);
    r->time_ms = hearth_stmt_i64(q, 3);
    r->round = (uint64_t)hearth_stmt_i64(q, 6);
    r->rho = hearth_stmt_f64(q, 9);
    r->z = hearth_stmt_f64(q, 10);
    r->d = (uint64_t)hearth_stmt_i64(q, 11);
    return read_text(q, 4, r->task) && read_text(q, 5, r->coordinator) &&
           read_u32(q, 7, &r->cohort) && read_u32(q, 8, &r->stage) &&
           read_hash(q, 12, r->payload) && read_hash(q, 13, r->previous) &&
           read_hash(q, 14, r->hash);
}

static hearth_status broken(hearth_status st, uint64_t seq, hearth_error *err) {
    if (st != HEARTH_EDIGEST && st != HEARTH_EFORMAT)
        return hearth_error_set(err, st, "privacy ledger: cannot be checked");
    return hearth_error_set(
        err, st,
        "privacy ledger: row %llu was changed or removed outside hearth; this "
        "device takes part in nothing until its backup is restored",
        (unsigned long long)seq);
}

/* Does r follow `before` (NULL: is it a first row)? */
static hearth_status check_next(const hearth_ledger_row *r,
                                const hearth_ledger_row *before) {
    if (!before) return hearth_ledger_check(r, 0, NULL, INT64_MIN);
    return hearth_ledger_check(r, before->seq, before->hash, before->time_ms);
}

hearth_status hearth_ledger_store_each(hearth_ledger_store *ls,
                                       hearth_ledger_visit visit, void *ud,
                                       hearth_error *err) {
    static const char SQL[] =
        "SELECT " ROW_COLUMNS ", EXISTS(SELECT 1 FROM ledger_row AS v"
        " WHERE v.voids = ledger_row.seq) FROM ledger_row ORDER BY seq";
    hearth_stmt *q = NULL;
    hearth_ledger_row two[2];
    size_t n = 0;
    bool has = false;
    if (!ls || !visit) return HEARTH_EINVAL;
    hearth_status st = hearth_db_prepare(ls->db, &q, SQL, err);
    while (st == HEARTH_OK &&
           (st = hearth_stmt_step(q, &has, err)) == HEARTH_OK && has) {
        hearth_ledger_row *r = &two[n % 2],
                          *before = n ? &two[1 - n % 2] : NULL;
        n++;
        st = read_row(q, r) ? check_next(r, before) : HEARTH_EFORMAT;
        if (st != HEARTH_OK) {
            st = broken(st, n, err);
            break;
        }
        st = visit(ud, r, hearth_stmt_i64(q, 15) != 0);
    }
    hearth_stmt_free(q);
    return st;
}

static hearth_status visit_nothing(void *ud, const hearth_ledger_row *row,
                                   bool voided) {
    (void)ud, (void)row, (void)voided;
    return HEARTH_OK;
}

/* Removing the newest rows leaves a right chain; their bytes remember them. */
static hearth_status check_tail(hearth_ledger_store *ls, hearth_error *err) {
    hearth_stmt *q = NULL;
    bool has = false;
    hearth_status st = hearth_db_prepare(
        ls->db, &q,
        "SELECT p.seq FROM prepared AS p LEFT JOIN ledger_row AS r"
        " ON r.seq = p.seq WHERE r.seq IS NULL LIMIT 1",
        err);
    if (st == HEARTH_OK) st = hearth_stmt_step(q, &has, err);
    if (st == HEARTH_OK && has)
        st = broken(HEARTH_EDIGEST, (uint64_t)hearth_stmt_i64(q, 0), err);
    hearth_stmt_free(q);
    return st;
}

hearth_status hearth_ledger_store_verify(hearth_ledger_store *ls,
                                         hearth_error *err) {
    if (!ls) return HEARTH_EINVAL;
    hearth_status st = hearth_ledger_store_each(ls, visit_nothing, NULL, err);
    return st == HEARTH_OK ? check_tail(ls, err) : st;
}

/* ---- open ---- */

static bool rules_ok(const hearth_ledger_rules *r) {
    return r->delta > 0 && r->delta < 1 && isfinite(r->epsilon_task) &&
           r->epsilon_task > 0 && isfinite(r->epsilon_window) &&
           r->epsilon_window > 0 && isfinite(r->epsilon_lifetime) &&
           r->epsilon_lifetime > 0 && r->window_ms > 0 && r->spacing_ms >= 0 &&
           r->n_participations > 0;
}

hearth_status hearth_ledger_store_open(hearth_ledger_store **out, hearth_db *db,
                                       const hearth_ledger_rules *rules,
                                       const char *coordinator,
                                       hearth_clock clock,
                                       const hearth_alloc *al,
                                       hearth_error *err) {
    if (out) *out = NULL;
    if (!coordinator) coordinator = "";
    if (!out || !db || !rules || !rules_ok(rules) || !clock.wall_ms ||
        strnlen(coordinator, HEARTH_LEDGER_NAME_MAX) == HEARTH_LEDGER_NAME_MAX)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "privacy ledger: bad argument");
    hearth_ledger_store *ls = hearth_mem_new(al, sizeof(*ls));
    if (!ls)
        return hearth_error_set(err, HEARTH_ENOMEM,
                                "privacy ledger: out of memory");
    ls->alloc = *hearth_mem_or_default(al);
    ls->db = db;
    ls->rules = *rules;
    ls->clock = clock;
    memcpy(ls->coordinator, coordinator, strlen(coordinator));
    hearth_status st = hearth_db_migrate(db, "ledger", STEPS,
                                         sizeof(STEPS) / sizeof(STEPS[0]), err);
    if (st == HEARTH_OK) st = hearth_ledger_store_verify(ls, err);
    if (st != HEARTH_OK) {
        hearth_ledger_store_close(ls);
        return st;
    }
    *out = ls;
    return HEARTH_OK;
}

void hearth_ledger_store_close(hearth_ledger_store *ls) {
    if (!ls) return;
    hearth_alloc al = ls->alloc;
    hearth_mem_free(&al, ls);
}

const hearth_ledger_rules *
hearth_ledger_store_rules(const hearth_ledger_store *ls) {
    return &ls->rules;
}

const hearth_alloc *hearth_ledger_store__alloc(const hearth_ledger_store *ls) {
    return &ls->alloc;
}

/* ---- sums ---- */

typedef struct {
    hearth_ledger_sums sums;
    const char *task;
    int64_t window_ms, now_ms;
} summing;

static hearth_status add_to_sums(void *ud, const hearth_ledger_row *row,
                                 bool voided) {
    summing *s = ud;
    bool counts = row->kind == HEARTH_LEDGER_CHARGE && !voided;
    hearth_ledger_sums_add(&s->sums, row, counts, s->task, s->window_ms,
                           s->now_ms);
    return HEARTH_OK;
}

/* Number, hash and time of the newest row; seq 0 when there is none. */
static hearth_status last_row(hearth_ledger_store *ls, hearth_ledger_row *out,
                              hearth_error *err) {
    hearth_stmt *q = NULL;
    bool has = false;
    memset(out, 0, sizeof(*out));
    out->time_ms = INT64_MIN;
    hearth_status st = hearth_db_prepare(
        ls->db, &q,
        "SELECT " ROW_COLUMNS " FROM ledger_row ORDER BY seq DESC LIMIT 1",
        err);
    if (st == HEARTH_OK) st = hearth_stmt_step(q, &has, err);
    if (st == HEARTH_OK && has && !read_row(q, out))
        st = broken(HEARTH_EFORMAT, (uint64_t)hearth_stmt_i64(q, 0), err);
    hearth_stmt_free(q);
    return st;
}

static hearth_status sums_at(hearth_ledger_store *ls, const char *task,
                             int64_t now_ms, hearth_ledger_sums *out,
                             hearth_error *err) {
    hearth_ledger_row last;
    hearth_status st = last_row(ls, &last, err);
    if (st != HEARTH_OK) return st;
    summing s = {.task = task,
                 .window_ms = ls->rules.window_ms,
                 .now_ms = now_ms > last.time_ms ? now_ms : last.time_ms};
    hearth_ledger_sums_init(&s.sums);
    st = hearth_ledger_store_each(ls, add_to_sums, &s, err);
    if (st == HEARTH_OK) *out = s.sums;
    return st;
}

hearth_status hearth_ledger_store_sums(hearth_ledger_store *ls,
                                       const char *task,
                                       hearth_ledger_sums *out,
                                       hearth_error *err) {
    if (!ls || !task || !out) return HEARTH_EINVAL;
    hearth_ledger_sums_init(out);
    return sums_at(ls, task, hearth_clock_wall(&ls->clock), out, err);
}

/* ---- writing ---- */

static hearth_status insert_row(hearth_ledger_store *ls,
                                const hearth_ledger_row *r, hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_status st = hearth_db_prepare(
        ls->db, &q,
        "INSERT INTO ledger_row(" ROW_COLUMNS ") VALUES(?1, ?2, ?3, ?4, ?5, ?6,"
        " ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_i64(q, 1, (int64_t)r->seq);
    hearth_stmt_bind_i64(q, 2, (int64_t)r->kind);
    hearth_stmt_bind_i64(q, 3, (int64_t)r->voids);
    hearth_stmt_bind_i64(q, 4, r->time_ms);
    hearth_stmt_bind_str(q, 5, r->task);
    hearth_stmt_bind_str(q, 6, r->coordinator);
    hearth_stmt_bind_i64(q, 7, (int64_t)r->round);
    hearth_stmt_bind_i64(q, 8, r->cohort);
    hearth_stmt_bind_i64(q, 9, r->stage);
    hearth_stmt_bind_f64(q, 10, r->rho);
    hearth_stmt_bind_f64(q, 11, r->z);
    hearth_stmt_bind_i64(q, 12, (int64_t)r->d);
    hearth_stmt_bind_blob(q, 13, r->payload, 32);
    hearth_stmt_bind_blob(q, 14, r->previous, 32);
    hearth_stmt_bind_blob(q, 15, r->hash, 32);
    st = hearth_stmt_run(q, err);
    hearth_stmt_free(q);
    return st;
}

/* Number, link, seal and insert; row->time_ms is moved up when the clock was
 * set back. */
static hearth_status append_row(hearth_ledger_store *ls, hearth_ledger_row *row,
                                hearth_error *err) {
    hearth_ledger_row last;
    hearth_status st = last_row(ls, &last, err);
    if (st != HEARTH_OK) return st;
    row->seq = last.seq + 1;
    if (row->time_ms < last.time_ms) row->time_ms = last.time_ms;
    memcpy(row->coordinator, ls->coordinator, sizeof(row->coordinator));
    st = hearth_ledger_seal(row, last.seq ? last.hash : NULL);
    if (st != HEARTH_OK)
        return hearth_error_set(err, st, "privacy ledger: cannot seal a row");
    return insert_row(ls, row, err);
}

static hearth_status set_state(hearth_ledger_store *ls, uint64_t seq,
                               hearth_prepared_state to, hearth_error *err) {
    hearth_stmt *q = NULL;
    bool erase = to == HEARTH_PREPARED_FINISHED || to == HEARTH_PREPARED_VOIDED;
    hearth_status st = hearth_db_prepare(
        ls->db, &q,
        erase ? "UPDATE prepared SET state = ?2, bytes = NULL WHERE seq = ?1"
              : "UPDATE prepared SET state = ?2 WHERE seq = ?1",
        err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_i64(q, 1, (int64_t)seq);
    hearth_stmt_bind_i64(q, 2, (int64_t)to);
    st = hearth_stmt_run(q, err);
    hearth_stmt_free(q);
    return st;
}

/* The checkpoint copies erased pages out of the log and cuts it. */
void hearth_ledger_store_flush(hearth_ledger_store *ls) {
    hearth_status st =
        hearth_db_exec(ls->db, "PRAGMA wal_checkpoint(TRUNCATE)", NULL);
    (void)st;
}

/* Inside a transaction: take back charge seq, unsent, and erase its bytes. */
static hearth_status void_seq(hearth_ledger_store *ls,
                              const hearth_round_key *key, uint64_t seq,
                              int64_t now_ms, hearth_error *err) {
    hearth_ledger_row row = {.kind = HEARTH_LEDGER_VOID,
                             .voids = seq,
                             .time_ms = now_ms,
                             .round = key->round,
                             .cohort = key->cohort,
                             .stage = key->stage};
    memcpy(row.task, key->task, sizeof(row.task));
    hearth_status st = append_row(ls, &row, err);
    if (st != HEARTH_OK) return st;
    return set_state(ls, seq, HEARTH_PREPARED_VOIDED, err);
}

static hearth_status end_transaction(hearth_ledger_store *ls, hearth_status st,
                                     hearth_error *err) {
    if (st == HEARTH_OK) return hearth_db_commit(ls->db, err);
    hearth_db_rollback(ls->db);
    return st;
}

/* ---- the app's counter ---- */

/* Was this ledger ever compared with a counter? */
static hearth_status is_watched(hearth_ledger_store *ls, bool *is,
                                hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_status st =
        hearth_db_prepare(ls->db, &q, "SELECT 1 FROM ledger_counter", err);
    if (st == HEARTH_OK) st = hearth_stmt_step(q, is, err);
    hearth_stmt_free(q);
    return st;
}

static hearth_status check_no_counter(hearth_ledger_store *ls,
                                      hearth_error *err) {
    bool watched = false;
    hearth_status st = is_watched(ls, &watched, err);
    if (st == HEARTH_OK && watched)
        st = hearth_error_set(
            err, HEARTH_ESTATE,
            "privacy ledger: the app that keeps it compares it with a counter "
            "of its own; take part from that app, nothing is sent without it");
    return st;
}

/* Raised before bytes leave and after their charge is durable: a process that
 * dies between the two leaves a counter that is behind, which is harmless. */
static hearth_status check_counter(hearth_ledger_store *ls, uint64_t at_least,
                                   hearth_error *err) {
    hearth_ledger_row last;
    uint64_t value = 0;
    if (!ls->counter.raise) return check_no_counter(ls, err);
    hearth_status st = last_row(ls, &last, err);
    if (st != HEARTH_OK) return st;
    if (ls->counter.raise(ls->counter.ud, at_least, &value) != HEARTH_OK ||
        value < at_least)
        return hearth_error_set(err, HEARTH_EBUSY,
                                "privacy ledger: the app's counter cannot be "
                                "reached; nothing is sent until it can");
    if (value > last.seq)
        return hearth_error_set(
            err, HEARTH_EDIGEST,
            "privacy ledger: it ends at row %llu, the app's counter says %llu: "
            "an older copy was restored, and nothing is sent from it; put the "
            "newest copy of the state folder back",
            (unsigned long long)last.seq, (unsigned long long)value);
    return HEARTH_OK;
}

/* A copy that was taken before `sending` and put back after it believes that no
 * byte has left.  The counter, raised at `sending`, knows better; one that
 * cannot be asked, or is not given here, may know better. */
static bool may_have_left(hearth_ledger_store *ls, uint64_t seq) {
    uint64_t value = 0;
    if (!ls->counter.raise) return check_no_counter(ls, NULL) != HEARTH_OK;
    return ls->counter.raise(ls->counter.ud, 0, &value) != HEARTH_OK ||
           value >= seq;
}

hearth_status hearth_ledger_store_set_counter(hearth_ledger_store *ls,
                                              hearth_ledger_counter counter,
                                              hearth_error *err) {
    if (!ls) return HEARTH_EINVAL;
    ls->counter = counter;
    bool watched = false;
    hearth_status st = is_watched(ls, &watched, err);
    if (st == HEARTH_OK && counter.raise && !watched)
        st = hearth_db_exec(
            ls->db, "INSERT OR IGNORE INTO ledger_counter VALUES(1)", err);
    return st == HEARTH_OK ? check_counter(ls, 0, err) : st;
}

/* ---- prepared bytes ---- */

static hearth_status copy_bytes(hearth_ledger_store *ls, hearth_stmt *q,
                                hearth_ledger_entry *e, hearth_error *err) {
    uint8_t digest[32];
    size_t n = 0;
    const void *p = hearth_stmt_blob(q, 4, &n);
    e->bytes = hearth_mem_new(&ls->alloc, n);
    if (!e->bytes)
        return hearth_error_set(err, HEARTH_ENOMEM, "prepare: out of memory");
    e->n = n;
    if (n) memcpy(e->bytes, p, n);
    hearth_status st = hearth_sha256(digest, e->bytes, n);
    if (st == HEARTH_OK && memcmp(digest, e->payload, 32) != 0)
        st =
            hearth_error_set(err, HEARTH_EDIGEST,
                             "prepare: stored bytes differ from those charged; "
                             "they are not sent");
    return st;
}

hearth_status hearth_ledger_store__load(hearth_ledger_store *ls,
                                        const hearth_round_key *key,
                                        bool with_bytes,
                                        hearth_ledger_entry *out,
                                        hearth_error *err) {
    hearth_stmt *q = NULL;
    bool has = false;
    memset(out, 0, sizeof(*out));
    hearth_status st = hearth_db_prepare(
        ls->db, &q,
        "SELECT p.seq, p.state, p.offer, r.payload, p.bytes FROM prepared AS p"
        " JOIN ledger_row AS r ON r.seq = p.seq WHERE p.task = ?1 AND"
        " p.round = ?2 AND p.cohort = ?3 AND p.stage = ?4"
        " ORDER BY p.seq DESC LIMIT 1",
        err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, key->task);
    hearth_stmt_bind_i64(q, 2, (int64_t)key->round);
    hearth_stmt_bind_i64(q, 3, key->cohort);
    hearth_stmt_bind_i64(q, 4, key->stage);
    st = hearth_stmt_step(q, &has, err);
    if (st == HEARTH_OK && !has)
        st = hearth_error_set(err, HEARTH_ENOTFOUND,
                              "prepare: nothing is prepared for this round");
    if (st == HEARTH_OK) {
        out->seq = (uint64_t)hearth_stmt_i64(q, 0);
        out->state = (hearth_prepared_state)hearth_stmt_i64(q, 1);
        if (!read_hash(q, 2, out->offer) || !read_hash(q, 3, out->payload))
            st = hearth_error_set(err, HEARTH_EDIGEST,
                                  "prepare: the stored row is damaged");
        else if (with_bytes && !hearth_stmt_is_null(q, 4))
            st = copy_bytes(ls, q, out, err);
    }
    hearth_stmt_free(q);
    if (st != HEARTH_OK) hearth_ledger_store__entry_free(ls, out);
    return st;
}

void hearth_ledger_store__entry_free(hearth_ledger_store *ls,
                                     hearth_ledger_entry *e) {
    if (e->bytes) hearth_zeroize(e->bytes, e->n);
    hearth_mem_free(&ls->alloc, e->bytes);
    memset(e, 0, sizeof(*e));
}

static hearth_status retire_old(hearth_ledger_store *ls,
                                const hearth_ledger_charge *c, int64_t now_ms,
                                hearth_error *err) {
    hearth_ledger_entry old;
    hearth_status st =
        hearth_ledger_store__load(ls, &c->key, false, &old, NULL);
    if (st == HEARTH_ENOTFOUND) return HEARTH_OK;
    if (st != HEARTH_OK)
        return hearth_error_set(err, st, "prepare: cannot read the ledger");
    bool live = old.state == HEARTH_PREPARED_READY ||
                old.state == HEARTH_PREPARED_SENDING;
    if (live && memcmp(old.offer, c->offer, 32) == 0)
        return hearth_error_set(err, HEARTH_EEXISTS,
                                "prepare: this offer is prepared already");
    if (old.state == HEARTH_PREPARED_READY && !may_have_left(ls, old.seq))
        return void_seq(ls, &c->key, old.seq, now_ms, err);
    if (live) return set_state(ls, old.seq, HEARTH_PREPARED_FINISHED, err);
    return HEARTH_OK;
}

static hearth_status refuse(const hearth_ledger_verdict *v, hearth_error *err) {
    static const char *const WHAT[] = {"",
                                       "epsilon of this task",
                                       "epsilon of the last 30 days",
                                       "epsilon of this device's life",
                                       "number of rounds of this task",
                                       "milliseconds since the last round"};
    return hearth_error_set(err, HEARTH_EREFUSED,
                            "privacy ledger: %s would be %.6g, this device's "
                            "rule says %.6g; nothing was charged or sent",
                            WHAT[v->rule], v->would_be, v->cap);
}

static hearth_status check_rules(hearth_ledger_store *ls,
                                 const hearth_ledger_charge *c, int64_t now_ms,
                                 hearth_error *err) {
    hearth_ledger_sums sums;
    hearth_ledger_verdict v;
    hearth_status st = sums_at(ls, c->key.task, now_ms, &sums, err);
    if (st != HEARTH_OK) return st;
    if (!hearth_ledger_allows(&ls->rules, &sums, c->rho, now_ms, &v))
        return refuse(&v, err);
    return HEARTH_OK;
}

static hearth_status insert_prepared(hearth_ledger_store *ls,
                                     const hearth_ledger_charge *c,
                                     uint64_t seq, hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_status st = hearth_db_prepare(
        ls->db, &q,
        "INSERT INTO prepared(seq, task, round, cohort, stage, offer, state,"
        " bytes) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_i64(q, 1, (int64_t)seq);
    hearth_stmt_bind_str(q, 2, c->key.task);
    hearth_stmt_bind_i64(q, 3, (int64_t)c->key.round);
    hearth_stmt_bind_i64(q, 4, c->key.cohort);
    hearth_stmt_bind_i64(q, 5, c->key.stage);
    hearth_stmt_bind_blob(q, 6, c->offer, 32);
    hearth_stmt_bind_i64(q, 7, HEARTH_PREPARED_READY);
    hearth_stmt_bind_blob(q, 8, c->bytes, c->n);
    st = hearth_stmt_run(q, err);
    hearth_stmt_free(q);
    return st;
}

static hearth_status charge_inside(hearth_ledger_store *ls,
                                   const hearth_ledger_charge *c,
                                   int64_t now_ms, hearth_error *err) {
    hearth_status st = check_counter(ls, 0, err);
    if (st == HEARTH_OK) st = retire_old(ls, c, now_ms, err);
    if (st == HEARTH_OK) st = check_rules(ls, c, now_ms, err);
    if (st != HEARTH_OK) return st;
    hearth_ledger_row row = {.kind = HEARTH_LEDGER_CHARGE,
                             .time_ms = now_ms,
                             .round = c->key.round,
                             .cohort = c->key.cohort,
                             .stage = c->key.stage,
                             .rho = c->rho,
                             .z = c->z,
                             .d = c->d};
    memcpy(row.task, c->key.task, sizeof(row.task));
    memcpy(row.payload, c->payload, sizeof(row.payload));
    st = append_row(ls, &row, err);
    if (st != HEARTH_OK) return st;
    HEARTH_FAILPOINT("prepare.after_charge");
    return insert_prepared(ls, c, row.seq, err);
}

hearth_status hearth_ledger_store__charge(hearth_ledger_store *ls,
                                          const hearth_ledger_charge *c,
                                          int64_t now_ms, hearth_error *err) {
    hearth_status st = hearth_db_begin(ls->db, err);
    if (st != HEARTH_OK) return st;
    st = charge_inside(ls, c, now_ms, err);
    HEARTH_FAILPOINT("prepare.before_commit");
    st = end_transaction(ls, st, err);
    HEARTH_FAILPOINT("prepare.after_commit");
    return st;
}

static hearth_status state_of(hearth_ledger_store *ls, uint64_t seq,
                              hearth_prepared_state *out, hearth_error *err) {
    hearth_stmt *q = NULL;
    bool has = false;
    hearth_status st = hearth_db_prepare(
        ls->db, &q, "SELECT state FROM prepared WHERE seq = ?1", err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_i64(q, 1, (int64_t)seq);
    st = hearth_stmt_step(q, &has, err);
    if (st == HEARTH_OK && !has)
        st = hearth_error_set(err, HEARTH_ENOTFOUND,
                              "prepare: nothing is prepared for this round");
    if (st == HEARTH_OK) *out = (hearth_prepared_state)hearth_stmt_i64(q, 0);
    hearth_stmt_free(q);
    return st;
}

static hearth_status advance_inside(hearth_ledger_store *ls, uint64_t seq,
                                    hearth_prepared_state to,
                                    hearth_error *err) {
    hearth_prepared_state now;
    hearth_status st = state_of(ls, seq, &now, err);
    if (st != HEARTH_OK || now == to) return st;
    bool live = now == HEARTH_PREPARED_READY || now == HEARTH_PREPARED_SENDING;
    if (live && to == HEARTH_PREPARED_SENDING &&
        (st = check_counter(ls, seq, err)) != HEARTH_OK)
        return st;
    bool known =
        to == HEARTH_PREPARED_SENDING || to == HEARTH_PREPARED_FINISHED;
    if (!live || !known)
        return hearth_error_set(err, HEARTH_ESTATE,
                                "prepare: this round is over; its bytes are "
                                "erased");
    return set_state(ls, seq, to, err);
}

hearth_status hearth_ledger_store__advance(hearth_ledger_store *ls,
                                           uint64_t seq,
                                           hearth_prepared_state to,
                                           hearth_error *err) {
    hearth_status st = hearth_db_begin(ls->db, err);
    if (st != HEARTH_OK) return st;
    st = advance_inside(ls, seq, to, err);
    bool sending = to == HEARTH_PREPARED_SENDING;
    if (sending) HEARTH_FAILPOINT("prepare.before_sending");
    if (!sending) HEARTH_FAILPOINT("prepare.before_finish");
    st = end_transaction(ls, st, err);
    if (sending) HEARTH_FAILPOINT("prepare.after_sending");
    if (!sending) HEARTH_FAILPOINT("prepare.after_finish");
    if (st == HEARTH_OK && !sending) hearth_ledger_store_flush(ls);
    return st;
}

hearth_status hearth_ledger_store_state(hearth_ledger_store *ls,
                                        const hearth_round_key *key,
                                        hearth_prepared_state *out,
                                        hearth_error *err) {
    hearth_ledger_entry e;
    if (!ls || !key || !out) return HEARTH_EINVAL;
    hearth_status st = hearth_ledger_store__load(ls, key, false, &e, err);
    if (st == HEARTH_OK) *out = e.state;
    return st;
}

hearth_status hearth_ledger_store_row_state(hearth_ledger_store *ls,
                                            uint64_t seq,
                                            hearth_prepared_state *out,
                                            hearth_error *err) {
    if (!ls || !out) return HEARTH_EINVAL;
    return state_of(ls, seq, out, err);
}

hearth_status hearth_ledger_store_void(hearth_ledger_store *ls,
                                       const hearth_round_key *key,
                                       hearth_error *err) {
    hearth_ledger_entry e;
    if (!ls || !key) return HEARTH_EINVAL;
    hearth_status st = hearth_db_begin(ls->db, err);
    if (st != HEARTH_OK) return st;
    st = hearth_ledger_store__load(ls, key, false, &e, err);
    bool ready = st == HEARTH_OK && e.state == HEARTH_PREPARED_READY;
    bool left = ready && may_have_left(ls, e.seq);
    if (left) /* only the bytes go */
        st = set_state(ls, e.seq, HEARTH_PREPARED_FINISHED, err);
    else if (ready)
        st = void_seq(ls, key, e.seq, hearth_clock_wall(&ls->clock), err);
    else if (st == HEARTH_OK)
        st = HEARTH_ESTATE;
    HEARTH_FAILPOINT("prepare.before_void");
    st = end_transaction(ls, st, err);
    HEARTH_FAILPOINT("prepare.after_void");
    if (st == HEARTH_OK) hearth_ledger_store_flush(ls);
    if (st == HEARTH_ESTATE || (st == HEARTH_OK && left))
        st = hearth_error_set(err, HEARTH_ESTATE,
                              "privacy ledger: bytes of this round may have "
                              "left the device; its charge stays");
    return st;
}

/* ---- forget ---- */

/* The oldest preparation that still has bytes.  *has false: none. */
static hearth_status next_with_bytes(hearth_ledger_store *ls,
                                     hearth_round_key *key, uint64_t *seq,
                                     hearth_prepared_state *state, bool *has,
                                     hearth_error *err) {
    hearth_stmt *q = NULL;
    memset(key, 0, sizeof(*key));
    hearth_status st = hearth_db_prepare(
        ls->db, &q,
        "SELECT seq, state, task, round, cohort, stage FROM prepared"
        " WHERE bytes IS NOT NULL ORDER BY seq LIMIT 1",
        err);
    if (st == HEARTH_OK) st = hearth_stmt_step(q, has, err);
    if (st == HEARTH_OK && *has) {
        *seq = (uint64_t)hearth_stmt_i64(q, 0);
        *state = (hearth_prepared_state)hearth_stmt_i64(q, 1);
        key->round = (uint64_t)hearth_stmt_i64(q, 3);
        if (!read_text(q, 2, key->task) || !read_u32(q, 4, &key->cohort) ||
            !read_u32(q, 5, &key->stage))
            st = broken(HEARTH_EFORMAT, *seq, err);
    }
    hearth_stmt_free(q);
    return st;
}

static hearth_status erase_inside(hearth_ledger_store *ls, uint64_t *n_sent,
                                  hearth_error *err) {
    hearth_round_key key;
    hearth_prepared_state state = HEARTH_PREPARED_READY;
    uint64_t seq = 0;
    bool has = false;
    int64_t now = hearth_clock_wall(&ls->clock);
    hearth_status st;
    while ((st = next_with_bytes(ls, &key, &seq, &state, &has, err)) ==
               HEARTH_OK &&
           has) {
        if (state == HEARTH_PREPARED_READY && !may_have_left(ls, seq)) {
            st = void_seq(ls, &key, seq, now, err);
        } else {
            st = set_state(ls, seq, HEARTH_PREPARED_FINISHED, err);
            ++*n_sent;
        }
        if (st != HEARTH_OK) break;
    }
    return st;
}

hearth_status hearth_ledger_store_erase_all(hearth_ledger_store *ls,
                                            uint64_t *n_sent,
                                            hearth_error *err) {
    uint64_t count = 0;
    if (n_sent) *n_sent = 0;
    if (!ls) return HEARTH_EINVAL;
    hearth_status st = hearth_db_begin(ls->db, err);
    if (st != HEARTH_OK) return st;
    st = erase_inside(ls, &count, err);
    st = end_transaction(ls, st, err);
    if (st != HEARTH_OK) return st;
    if (n_sent) *n_sent = count;
    hearth_ledger_store_flush(ls);
    return HEARTH_OK;
}

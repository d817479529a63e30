/* SPDX-License-Identifier: Apache-2.0 */
/* client/records/record_store.c - putting records in and reading them.
 *
 * A record is kept as the line it came as and parsed again when it is read: one
 * representation, and nothing to migrate when a form grows.
 */
#include "client/records/record_store.h"

#include <string.h>

#include "client/records/record_store_parts.h"
#include "common/bytes.h"
#include "common/error.h"
#include "common/mem.h"

/* AUTOINCREMENT: a number is never used again, so that an artifact registered
 * before a record was added is known to be older than it. */
static const char *const STEPS[] = {
    "CREATE TABLE record(seq INTEGER PRIMARY KEY AUTOINCREMENT,"
    " id TEXT NOT NULL UNIQUE, form INTEGER NOT NULL, line BLOB NOT NULL,"
    " added_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL,"
    " holdout INTEGER NOT NULL);"
    "CREATE TABLE record_consent("
    " seq INTEGER NOT NULL REFERENCES record(seq) ON DELETE CASCADE,"
    " purpose TEXT NOT NULL, given_ms INTEGER NOT NULL,"
    " PRIMARY KEY(seq, purpose)) WITHOUT ROWID;"
    "CREATE TABLE record_artifact(path TEXT PRIMARY KEY,"
    " kind INTEGER NOT NULL, newest_seq INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE record_rows(tbl TEXT NOT NULL, col TEXT NOT NULL,"
    " value INTEGER NOT NULL, PRIMARY KEY(tbl, col, value)) WITHOUT ROWID;"
    "CREATE TABLE record_mark(name TEXT PRIMARY KEY) WITHOUT ROWID"};

hearth_status hearth_record_store_open(hearth_record_store **out, hearth_db *db,
                                       const char *state_dir,
                                       hearth_clock clock,
                                       const hearth_alloc *al,
                                       hearth_error *err) {
    if (out) *out = NULL;
    if (!out || !db || !clock.wall_ms)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "record store: no database");
    hearth_record_store *rs = hearth_mem_new(al, sizeof(*rs));
    if (!rs) goto no_memory;
    rs->al = *hearth_mem_or_default(al);
    rs->db = db;
    rs->clock = clock;
    if (state_dir && !(rs->state_dir = hearth_mem_strdup(al, state_dir)))
        goto no_memory;
    hearth_status st = hearth_db_migrate(db, "records", STEPS,
                                         sizeof(STEPS) / sizeof(STEPS[0]), err);
    if (st == HEARTH_OK) st = hearth_record_store__scrub_pending(rs, err);
    /* What cannot go now is not read either, and is tried again. */
    if (st == HEARTH_OK &&
        hearth_record_store_expire(rs, NULL, NULL) == HEARTH_ENOMEM)
        st = HEARTH_ENOMEM;
    if (st != HEARTH_OK) {
        hearth_record_store_close(rs);
        return st;
    }
    *out = rs;
    return HEARTH_OK;
no_memory:
    hearth_record_store_close(rs);
    return hearth_error_set(err, HEARTH_ENOMEM,
                            "out of memory for the record store");
}

void hearth_record_store_set_counter(hearth_record_store *rs,
                                     hearth_ledger_counter counter) {
    rs->counter = counter;
}

void hearth_record_store_close(hearth_record_store *rs) {
    if (!rs) return;
    hearth_alloc al = rs->al;
    hearth_mem_free(&al, rs->state_dir);
    hearth_mem_free(&al, rs);
}

hearth_status hearth_record_store__run1(hearth_record_store *rs,
                                        const char *sql, int64_t v,
                                        hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_status st = hearth_db_prepare(rs->db, &q, sql, err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_i64(q, 1, v);
    st = hearth_stmt_run(q, err);
    hearth_stmt_free(q);
    return st;
}

hearth_status hearth_record_store__find(hearth_record_store *rs, const char *id,
                                        int64_t *seq, int64_t *added_ms,
                                        hearth_error *err) {
    hearth_stmt *q = NULL;
    bool row = false;
    hearth_status st = hearth_db_prepare(
        rs->db, &q, "SELECT seq, added_ms FROM record WHERE id = ?1", err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, id);
    st = hearth_stmt_step(q, &row, err);
    if (st == HEARTH_OK && row) {
        *seq = hearth_stmt_i64(q, 0);
        *added_ms = hearth_stmt_i64(q, 1);
    }
    hearth_stmt_free(q);
    if (st == HEARTH_OK && !row)
        st = hearth_error_set(
            err, HEARTH_ENOTFOUND,
            "no record has this id; see `hearth records list`");
    return st;
}

/* ---- putting in ---- */

static hearth_status give_consent(hearth_record_store *rs, int64_t seq,
                                  const char *purpose, int64_t now,
                                  hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_status st = hearth_db_prepare(
        rs->db, &q, "INSERT OR IGNORE INTO record_consent VALUES(?1, ?2, ?3)",
        err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_i64(q, 1, seq);
    hearth_stmt_bind_str(q, 2, purpose);
    hearth_stmt_bind_i64(q, 3, now);
    st = hearth_stmt_run(q, err);
    hearth_stmt_free(q);
    return st;
}

static hearth_status insert(hearth_record_store *rs, const hearth_record *rec,
                            const char *line, size_t n, int64_t now,
                            int64_t expires, hearth_error *err) {
    hearth_stmt *q = NULL;
    bool holdout = false;
    hearth_status st = hearth_record_is_holdout(rec->id, &holdout);
    if (st == HEARTH_OK)
        st = hearth_db_prepare(rs->db, &q,
                               "INSERT INTO record(id, form, line, added_ms,"
                               " expires_ms, holdout)"
                               " VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
                               err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, rec->id);
    hearth_stmt_bind_i64(q, 2, rec->form);
    hearth_stmt_bind_blob(q, 3, line, n);
    hearth_stmt_bind_i64(q, 4, now);
    hearth_stmt_bind_i64(q, 5, expires);
    hearth_stmt_bind_i64(q, 6, holdout);
    st = hearth_stmt_run(q, err);
    hearth_stmt_free(q);
    return st;
}

/* A record that is there already gets the newer line's expiry; its purpose is
 * added by the caller. */
static hearth_status renew(hearth_record_store *rs, const char *id,
                           int64_t expires, hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_status st = hearth_db_prepare(
        rs->db, &q, "UPDATE record SET expires_ms = ?2 WHERE id = ?1", err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, id);
    hearth_stmt_bind_i64(q, 2, expires);
    st = hearth_stmt_run(q, err);
    hearth_stmt_free(q);
    return st;
}

typedef struct {
    hearth_record_store *rs;
    const hearth_record_options *opt;
    hearth_import_report *report; /* NULL: a second one is an error */
    int64_t now, expires;
} adding;

static hearth_status add_parsed(void *ud, const hearth_record *rec,
                                const char *line, size_t n, hearth_error *err) {
    adding *a = ud;
    const char *purpose =
        a->opt->purpose ? a->opt->purpose : HEARTH_PURPOSE_PERSONAL;
    int64_t seq = 0, added = 0;
    hearth_status st =
        hearth_record_store__find(a->rs, rec->id, &seq, &added, NULL);
    if (st == HEARTH_OK && !a->report)
        return hearth_error_set(err, HEARTH_EEXISTS,
                                "this record is there already");
    if (st == HEARTH_OK) {
        a->report->n_duplicate++;
        st = renew(a->rs, rec->id, a->expires, err);
    } else if (st == HEARTH_ENOTFOUND) {
        st = insert(a->rs, rec, line, n, a->now, a->expires, err);
        seq = hearth_db_last_rowid(a->rs->db);
        if (a->report) a->report->n_added++;
    }
    if (st != HEARTH_OK) return st;
    return give_consent(a->rs, seq, purpose, a->now, err);
}

static hearth_status start_adding(adding *a, hearth_error *err) {
    const hearth_record_options *o = a->opt;
    if (o->keep_ms < 0 || (o->purpose && !hearth_record_purpose_ok(o->purpose)))
        return hearth_error_set(err, HEARTH_EINVAL,
                                "a purpose is 1 to 32 of a-z, 0-9, '_', '.', "
                                "'-', and a time to keep is not negative");
    a->now = hearth_clock_wall(&a->rs->clock);
    a->expires = 0;
    if (o->keep_ms)
        a->expires =
            a->now > INT64_MAX - o->keep_ms ? INT64_MAX : a->now + o->keep_ms;
    return hearth_db_begin(a->rs->db, err);
}

static hearth_status finish_adding(adding *a, hearth_status st,
                                   hearth_error *err) {
    if (st == HEARTH_OK) return hearth_db_commit(a->rs->db, err);
    hearth_db_rollback(a->rs->db);
    if (a->report) *a->report = (hearth_import_report){0, 0};
    return st;
}

hearth_status hearth_record_store_add(hearth_record_store *rs, const char *line,
                                      size_t n,
                                      const hearth_record_options *opt,
                                      char id[HEARTH_RECORD_MAX_ID + 1],
                                      hearth_error *err) {
    const hearth_record_options defaults = HEARTH_RECORD_OPTIONS_INIT;
    hearth_record rec = HEARTH_RECORD_INIT;
    if (id) id[0] = '\0';
    if (!rs || !line)
        return hearth_error_set(err, HEARTH_EINVAL, "no record given");
    adding a = {rs, opt ? opt : &defaults, NULL, 0, 0};
    hearth_status st =
        hearth_record_parse(&rec, line, n, a.opt->form, NULL, &rs->al, err);
    if (st != HEARTH_OK) return st;
    if ((st = start_adding(&a, err)) == HEARTH_OK)
        st = finish_adding(&a, add_parsed(&a, &rec, line, n, err), err);
    if (id && (st == HEARTH_OK || st == HEARTH_EEXISTS))
        memcpy(id, rec.id, sizeof(rec.id));
    hearth_record_free(&rec);
    return st;
}

hearth_status hearth_record_store_import(hearth_record_store *rs,
                                         const char *path,
                                         const hearth_record_options *opt,
                                         hearth_import_report *report,
                                         hearth_error *err) {
    const hearth_record_options defaults = HEARTH_RECORD_OPTIONS_INIT;
    hearth_import_report none = {0, 0};
    if (report) *report = none;
    if (!rs || !path)
        return hearth_error_set(err, HEARTH_EINVAL, "no file given");
    adding a = {rs, opt ? opt : &defaults, report ? report : &none, 0, 0};
    hearth_status st = start_adding(&a, err);
    if (st != HEARTH_OK) return st;
    st = hearth_record_each_line(path, a.opt->form, add_parsed, &a, &rs->al,
                                 err);
    return finish_adding(&a, st, err);
}

/* ---- reading ---- */

static void fill_info(hearth_stmt *q, hearth_record_info *info) {
    *info = (hearth_record_info){
        .id = hearth_stmt_text(q, 0, NULL),
        .form = (hearth_record_form)hearth_stmt_i64(q, 1),
        .purposes = hearth_stmt_text(q, 6, NULL),
        .added_ms = hearth_stmt_i64(q, 3),
        .expires_ms = hearth_stmt_i64(q, 4),
        .line_bytes = (size_t)hearth_stmt_i64(q, 2),
        .holdout = hearth_stmt_i64(q, 5) != 0,
    };
}

hearth_status hearth_record_store_list(hearth_record_store *rs,
                                       hearth_record_list_fn fn, void *ud,
                                       hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_record_info info;
    bool row = false;
    if (!rs || !fn)
        return hearth_error_set(err, HEARTH_EINVAL, "record store: no reader");
    hearth_status st = hearth_db_prepare(
        rs->db, &q,
        "SELECT id, form, length(line), added_ms, expires_ms, holdout,"
        " (SELECT group_concat(purpose) FROM (SELECT purpose FROM"
        "  record_consent c WHERE c.seq = r.seq ORDER BY purpose))"
        " FROM record r WHERE expires_ms = 0 OR expires_ms > ?1 ORDER BY seq",
        err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_i64(q, 1, hearth_clock_wall(&rs->clock));
    while ((st = hearth_stmt_step(q, &row, err)) == HEARTH_OK && row) {
        fill_info(q, &info);
        if ((st = fn(ud, &info, err)) != HEARTH_OK) break;
    }
    hearth_stmt_free(q);
    return st;
}

/* Rows of one split and purpose: column 0 is the line. */
static hearth_status select_records(hearth_record_store *rs, hearth_stmt **q,
                                    const char *sql, hearth_split split,
                                    const char *purpose, hearth_error *err) {
    hearth_status st = hearth_db_prepare(rs->db, q, sql, err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_i64(*q, 1, hearth_clock_wall(&rs->clock));
    hearth_stmt_bind_i64(*q, 2,
                         split == HEARTH_SPLIT_ALL       ? -1
                         : split == HEARTH_SPLIT_HOLDOUT ? 1
                                                         : 0);
    if (purpose)
        hearth_stmt_bind_str(*q, 3, purpose);
    else
        hearth_stmt_bind_null(*q, 3);
    return HEARTH_OK;
}

#define WHERE_USABLE                                                           \
    " FROM record r WHERE (expires_ms = 0 OR expires_ms > ?1)"                 \
    " AND (?2 < 0 OR holdout = ?2) AND (?3 IS NULL OR EXISTS (SELECT 1 FROM"   \
    " record_consent c WHERE c.seq = r.seq AND c.purpose = ?3))"

hearth_status hearth_record_store_each(hearth_record_store *rs,
                                       hearth_split split, const char *purpose,
                                       hearth_record_fn fn, void *ud,
                                       hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_record rec = HEARTH_RECORD_INIT;
    bool row = false;
    if (!rs || !fn)
        return hearth_error_set(err, HEARTH_EINVAL, "record store: no reader");
    hearth_status st = select_records(
        rs, &q, "SELECT line, form, id" WHERE_USABLE " ORDER BY id", split,
        purpose, err);
    while (st == HEARTH_OK &&
           (st = hearth_stmt_step(q, &row, err)) == HEARTH_OK && row) {
        size_t n = 0;
        const char *line = hearth_stmt_blob(q, 0, &n);
        hearth_record_form form = (hearth_record_form)hearth_stmt_i64(q, 1);
        const char *id = hearth_stmt_text(q, 2, NULL);
        st = hearth_record_parse(&rec, line ? line : "", n, form, id, &rs->al,
                                 err);
        if (st == HEARTH_OK) st = fn(ud, &rec, line, n, err);
        hearth_record_free(&rec);
    }
    hearth_stmt_free(q);
    return st;
}

hearth_status hearth_record_store_count(hearth_record_store *rs,
                                        hearth_split split, const char *purpose,
                                        uint64_t *n, hearth_error *err) {
    hearth_stmt *q = NULL;
    bool row = false;
    if (!rs || !n)
        return hearth_error_set(err, HEARTH_EINVAL, "record store: no counter");
    *n = 0;
    hearth_status st = select_records(rs, &q, "SELECT count(*)" WHERE_USABLE,
                                      split, purpose, err);
    if (st == HEARTH_OK) st = hearth_stmt_step(q, &row, err);
    if (st == HEARTH_OK && row) *n = (uint64_t)hearth_stmt_i64(q, 0);
    hearth_stmt_free(q);
    return st;
}

/* ---- consent ---- */

static hearth_status give_all(hearth_record_store *rs, const char *purpose,
                              int64_t now, hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_status st = hearth_db_prepare(rs->db, &q,
                                         "INSERT OR IGNORE INTO record_consent"
                                         " SELECT seq, ?1, ?2 FROM record",
                                         err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, purpose);
    hearth_stmt_bind_i64(q, 2, now);
    st = hearth_stmt_run(q, err);
    hearth_stmt_free(q);
    return st;
}

/* seq < 0: of all records. */
static hearth_status take_back(hearth_record_store *rs, int64_t seq,
                               const char *purpose, hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_status st =
        hearth_db_prepare(rs->db, &q,
                          "DELETE FROM record_consent WHERE purpose = ?2"
                          " AND (?1 < 0 OR seq = ?1)",
                          err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_i64(q, 1, seq);
    hearth_stmt_bind_str(q, 2, purpose);
    st = hearth_stmt_run(q, err);
    hearth_stmt_free(q);
    return st;
}

hearth_status hearth_record_store_consent(hearth_record_store *rs,
                                          const char *id, const char *purpose,
                                          bool give,
                                          hearth_forget_report *report,
                                          hearth_error *err) {
    hearth_forget_report none = {0};
    int64_t seq = -1, added = 0;
    hearth_status st;
    if (report) *report = none;
    if (!rs || !hearth_record_purpose_ok(purpose))
        return hearth_error_set(err, HEARTH_EINVAL,
                                "a purpose is 1 to 32 of a-z, 0-9, '_', '.', "
                                "'-'");
    if (id && (st = hearth_record_store__find(rs, id, &seq, &added, err)) !=
                  HEARTH_OK)
        return st;
    if (give) {
        int64_t now = hearth_clock_wall(&rs->clock);
        return id ? give_consent(rs, seq, purpose, now, err)
                  : give_all(rs, purpose, now, err);
    }
    if (!report) report = &none;
    st = take_back(rs, seq, purpose, err); /* first: no new training on it */
    if (st == HEARTH_OK)
        st = hearth_record_store__destroy_derived(rs, seq < 0 ? 0 : seq, report,
                                                  err);
    if (st != HEARTH_OK) return st;
    return hearth_record_store__end_derived(rs, NULL, 0, report, err);
}

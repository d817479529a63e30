/* SPDX-License-Identifier: Apache-2.0 */
/* client/records/record_forget.c - taking records out, with all that was made
 * of them.
 *
 * Order: first what was derived is destroyed; then, in one transaction, the
 * record, the rows registered (the mark of a training that runs in another
 * process is one) and what was derived in the meantime; then the database's
 * files are scrubbed.  A crash or failure between leaves the record in place
 * and less derived from it: asking again finishes the work.
 *
 * Why one transaction: a participant sets its mark, reads the records, trains,
 * prepares, and looks for the mark before it sends.  A mark set before the
 * transaction is gone at that look, one set after it read no such record; a
 * delta prepared before the transaction is erased by it, one after it comes to
 * that look.
 *
 * An artifact carries the highest record number at the time it was registered.
 * What has a lower number than a record can not have been trained on it.
 */
#include <stdio.h>
#include <string.h>

#include "client/records/destroy.h"
#include "client/records/forget_derived.h"
#include "client/records/record_store_parts.h"
#include "common/error.h"
#include "common/file.h"

#define MARK_RETRAIN "retrain"
#define MARK_SCRUB   "scrub" /* deleted bytes may still be in the files */

/* ---- registered artifacts ---- */

/* Relative, no empty part, no "..": it can not leave the state directory. */
static bool is_inside(const char *path) {
    size_t n = 0;
    if (!path || !*path || strlen(path) > 512) return false;
    for (const char *p = path;; p++) {
        if (*p && *p != '/') {
            n++;
            continue;
        }
        if (!n || (n == 2 && p[-1] == '.' && p[-2] == '.') ||
            (n == 1 && p[-1] == '.'))
            return false;
        if (!*p) return true;
        n = 0;
    }
}

static bool is_name(const char *s) {
    size_t n = 0;
    for (; s && s[n] && n <= 32; n++) {
        bool letter = (s[n] >= 'a' && s[n] <= 'z') || s[n] == '_';
        if (!letter && !(n && s[n] >= '0' && s[n] <= '9')) return false;
    }
    return n >= 1 && n <= 32;
}

hearth_status hearth_record_store_register_file(hearth_record_store *rs,
                                                hearth_artifact_kind kind,
                                                const char *path,
                                                hearth_error *err) {
    hearth_stmt *q = NULL;
    if (!rs || !rs->state_dir || !is_inside(path))
        return hearth_error_set(err, HEARTH_EINVAL,
                                "only files under the state directory can be "
                                "registered, by their path in it");
    hearth_status st = hearth_db_prepare(
        rs->db, &q,
        "INSERT OR REPLACE INTO record_artifact"
        " VALUES(?1, ?2, (SELECT coalesce(max(seq), 0) FROM record))",
        err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, path);
    hearth_stmt_bind_i64(q, 2, kind);
    st = hearth_stmt_run(q, err);
    hearth_stmt_free(q);
    return st;
}

hearth_status hearth_record_store_register_rows(hearth_record_store *rs,
                                                const char *table,
                                                const char *column,
                                                int64_t value,
                                                hearth_error *err) {
    hearth_stmt *q = NULL;
    if (!rs || !is_name(table) || !is_name(column))
        return hearth_error_set(err, HEARTH_EINVAL,
                                "names of registered rows are small letters, "
                                "digits and '_'");
    hearth_status st = hearth_db_prepare(
        rs->db, &q, "INSERT OR IGNORE INTO record_rows VALUES(?1, ?2, ?3)",
        err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, table);
    hearth_stmt_bind_str(q, 2, column);
    hearth_stmt_bind_i64(q, 3, value);
    st = hearth_stmt_run(q, err);
    hearth_stmt_free(q);
    return st;
}

/* Destroy the files of artifacts that may hold record `seq`. */
static hearth_status destroy_files(hearth_record_store *rs, int64_t seq,
                                   hearth_forget_report *report,
                                   hearth_error *err) {
    hearth_stmt *q = NULL;
    char full[1024];
    bool row = false;
    hearth_status st = hearth_db_prepare(
        rs->db, &q, "SELECT path FROM record_artifact WHERE newest_seq >= ?1",
        err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_i64(q, 1, seq);
    while ((st = hearth_stmt_step(q, &row, err)) == HEARTH_OK && row) {
        const char *path = hearth_stmt_text(q, 0, NULL);
        if (!rs->state_dir || !is_inside(path)) {
            st = hearth_error_set(err, HEARTH_EINVAL,
                                  "a registered file can not be reached; open "
                                  "the store with its state directory");
            break;
        }
        st = hearth_file_join(full, sizeof(full), rs->state_dir, path);
        if (st == HEARTH_OK)
            st = hearth_destroy_path(full, &report->n_files, err);
        if (st != HEARTH_OK) break;
    }
    hearth_stmt_free(q);
    if (st != HEARTH_OK) return st;
    return hearth_record_store__run1(
        rs, "DELETE FROM record_artifact WHERE newest_seq >= ?1", seq, err);
}

static hearth_status has_table(hearth_record_store *rs, const char *name,
                               bool *has, hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_status st = hearth_db_prepare(
        rs->db, &q,
        "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1", err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, name);
    st = hearth_stmt_step(q, has, err);
    hearth_stmt_free(q);
    return st;
}

/* Delete the rows of one registration.  Both names were checked when they were
 * registered and are checked again: they become part of a statement. */
static hearth_status delete_rows(hearth_record_store *rs, const char *table,
                                 const char *column, int64_t value,
                                 hearth_forget_report *report,
                                 hearth_error *err) {
    char sql[160];
    bool has = false;
    if (!is_name(table) || !is_name(column))
        return hearth_error_set(err, HEARTH_EFORMAT,
                                "a registered table has a broken name; restore "
                                "the database from a backup");
    hearth_status st = has_table(rs, table, &has, err);
    if (st != HEARTH_OK || !has) return st;
    (void)snprintf(sql, sizeof(sql), "DELETE FROM \"%s\" WHERE \"%s\" = ?1",
                   table, column);
    st = hearth_record_store__run1(rs, sql, value, err);
    if (st == HEARTH_OK) report->n_rows += (uint64_t)hearth_db_changes(rs->db);
    return st;
}

static hearth_status destroy_rows(hearth_record_store *rs,
                                  hearth_forget_report *report,
                                  hearth_error *err) {
    hearth_stmt *q = NULL;
    char table[40], column[40];
    bool row = false;
    hearth_status st = hearth_db_prepare(
        rs->db, &q, "SELECT tbl, col, value FROM record_rows", err);
    while (st == HEARTH_OK &&
           (st = hearth_stmt_step(q, &row, err)) == HEARTH_OK && row) {
        (void)snprintf(table, sizeof(table), "%.39s",
                       hearth_stmt_text(q, 0, NULL));
        (void)snprintf(column, sizeof(column), "%.39s",
                       hearth_stmt_text(q, 1, NULL));
        st = delete_rows(rs, table, column, hearth_stmt_i64(q, 2), report, err);
    }
    hearth_stmt_free(q);
    return st;
}

/* ---- marks ---- */

static hearth_status set_mark(hearth_record_store *rs, const char *name,
                              bool on, hearth_error *err) {
    hearth_stmt *q = NULL;
    hearth_status st =
        hearth_db_prepare(rs->db, &q,
                          on ? "INSERT OR IGNORE INTO record_mark VALUES(?1)"
                             : "DELETE FROM record_mark WHERE name = ?1",
                          err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, name);
    st = hearth_stmt_run(q, err);
    hearth_stmt_free(q);
    return st;
}

static hearth_status get_mark(hearth_record_store *rs, const char *name,
                              bool *on, hearth_error *err) {
    hearth_stmt *q = NULL;
    *on = false;
    hearth_status st = hearth_db_prepare(
        rs->db, &q, "SELECT 1 FROM record_mark WHERE name = ?1", err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, name);
    st = hearth_stmt_step(q, on, err);
    hearth_stmt_free(q);
    return st;
}

hearth_status hearth_record_store_set_retrain(hearth_record_store *rs,
                                              bool wanted, hearth_error *err) {
    if (!rs) return hearth_error_set(err, HEARTH_EINVAL, "no record store");
    return set_mark(rs, MARK_RETRAIN, wanted, err);
}

hearth_status hearth_record_store_retrain_wanted(hearth_record_store *rs,
                                                 bool *wanted,
                                                 hearth_error *err) {
    if (!rs || !wanted)
        return hearth_error_set(err, HEARTH_EINVAL, "no record store");
    return get_mark(rs, MARK_RETRAIN, wanted, err);
}

hearth_status hearth_record_store__scrub_pending(hearth_record_store *rs,
                                                 hearth_error *err) {
    bool pending = false;
    hearth_status st = get_mark(rs, MARK_SCRUB, &pending, err);
    if (st != HEARTH_OK || !pending) return st;
    st = hearth_record_store_scrub(rs, NULL);
    return st == HEARTH_EBUSY ? HEARTH_OK : st; /* tried again next time */
}

/* ---- forget ---- */

hearth_status hearth_record_store__destroy_derived(hearth_record_store *rs,
                                                   int64_t seq,
                                                   hearth_forget_report *report,
                                                   hearth_error *err) {
    hearth_status st = set_mark(rs, MARK_SCRUB, true, err);
    if (st == HEARTH_OK) st = destroy_files(rs, seq, report, err);
    if (st == HEARTH_OK)
        st = hearth_forget_derived(rs->db, rs->clock, rs->counter, &rs->al,
                                   report, err);
    return st;
}

hearth_status hearth_record_store__end_derived(hearth_record_store *rs,
                                               const char *del, int64_t value,
                                               hearth_forget_report *report,
                                               hearth_error *err) {
    hearth_status st = hearth_db_begin(rs->db, err);
    if (st != HEARTH_OK) return st;
    st = destroy_rows(rs, report, err);
    if (st == HEARTH_OK)
        st = hearth_forget_derived(rs->db, rs->clock, rs->counter, &rs->al,
                                   report, err);
    if (st == HEARTH_OK) st = hearth_record_store_set_retrain(rs, true, err);
    if (st == HEARTH_OK && del)
        st = hearth_record_store__run1(rs, del, value, err);
    if (st == HEARTH_OK)
        st = hearth_db_commit(rs->db, err);
    else
        hearth_db_rollback(rs->db);
    return st == HEARTH_OK ? hearth_record_store_scrub(rs, err) : st;
}

/* Empty the write-ahead log.  The checkpoint says in its first column whether
 * a reader kept it from that. */
static hearth_status empty_log(hearth_record_store *rs, hearth_error *err) {
    hearth_stmt *q = NULL;
    bool row = false, busy = true;
    hearth_status st =
        hearth_db_prepare(rs->db, &q, "PRAGMA wal_checkpoint(TRUNCATE)", err);
    if (st == HEARTH_OK) st = hearth_stmt_step(q, &row, err);
    if (st == HEARTH_OK && row) busy = hearth_stmt_i64(q, 0) != 0;
    hearth_stmt_free(q);
    if (st == HEARTH_OK && busy)
        return hearth_error_set(err, HEARTH_EBUSY,
                                "forgotten, but another process reads the "
                                "database: stop it; its files are cleaned when "
                                "hearth runs next");
    return st;
}

hearth_status hearth_record_store_scrub(hearth_record_store *rs,
                                        hearth_error *err) {
    if (!rs) return hearth_error_set(err, HEARTH_EINVAL, "no record store");
    hearth_status st = empty_log(rs, err);
    if (st == HEARTH_OK) st = hearth_db_scrub(rs->db, err);
    if (st == HEARTH_OK) st = empty_log(rs, err);
    return st == HEARTH_OK ? set_mark(rs, MARK_SCRUB, false, err) : st;
}

/* How many records match, the lowest number and the oldest time of them. */
static hearth_status survey(hearth_record_store *rs, const char *where,
                            int64_t value, int64_t *seq,
                            hearth_forget_report *report, hearth_error *err) {
    hearth_stmt *q = NULL;
    bool row = false;
    hearth_status st = hearth_db_prepare(rs->db, &q, where, err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_i64(q, 1, value);
    st = hearth_stmt_step(q, &row, err);
    if (st == HEARTH_OK && row) {
        report->n_records = (uint64_t)hearth_stmt_i64(q, 0);
        *seq = hearth_stmt_i64(q, 1);
        report->since_ms = hearth_stmt_i64(q, 2);
    }
    hearth_stmt_free(q);
    return st;
}

#define SURVEY                                                                 \
    "SELECT count(*), coalesce(min(seq), 0), coalesce(min(added_ms), 0)"       \
    " FROM record WHERE "

/* Forget the records that `where` selects by ?1. */
static hearth_status forget_where(hearth_record_store *rs, const char *look,
                                  const char *del, int64_t value, bool all,
                                  hearth_forget_report *report,
                                  hearth_error *err) {
    int64_t seq = 0;
    hearth_status st = survey(rs, look, value, &seq, report, err);
    if (st != HEARTH_OK || (!report->n_records && !all)) return st;
    st = hearth_record_store__destroy_derived(rs, all ? 0 : seq, report, err);
    if (st != HEARTH_OK) return st;
    return hearth_record_store__end_derived(rs, del, value, report, err);
}

hearth_status hearth_record_store_forget(hearth_record_store *rs,
                                         const char *id,
                                         hearth_forget_report *report,
                                         hearth_error *err) {
    hearth_forget_report none;
    int64_t seq = 0, added = 0;
    hearth_status st;
    if (!report) report = &none;
    memset(report, 0, sizeof(*report));
    if (!rs) return hearth_error_set(err, HEARTH_EINVAL, "no record store");
    if (!id)
        return forget_where(rs, SURVEY "seq >= ?1",
                            "DELETE FROM record WHERE seq >= ?1", 0, true,
                            report, err);
    if ((st = hearth_record_store__find(rs, id, &seq, &added, err)) !=
        HEARTH_OK)
        return st;
    return forget_where(rs, SURVEY "seq = ?1",
                        "DELETE FROM record WHERE seq = ?1", seq, false, report,
                        err);
}

hearth_status hearth_record_store_expire(hearth_record_store *rs,
                                         hearth_forget_report *report,
                                         hearth_error *err) {
    hearth_forget_report none;
    if (!report) report = &none;
    memset(report, 0, sizeof(*report));
    if (!rs) return hearth_error_set(err, HEARTH_EINVAL, "no record store");
    return forget_where(
        rs, SURVEY "expires_ms <> 0 AND expires_ms <= ?1",
        "DELETE FROM record WHERE expires_ms <> 0 AND expires_ms <= ?1",
        hearth_clock_wall(&rs->clock), false, report, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* client/records/forget_derived.c - the contract is in forget_derived.h. */
#include "client/records/forget_derived.h"

#include "client/delta/ledger_store.h"
#include "client/device/policy.h"
#include "client/personal/personal.h"
#include "client/personal/personal_store.h"
#include "common/error.h"

/* One number of a constant query; 0 when the table is not there. */
static hearth_status ask(hearth_db *db, const char *table, const char *sql,
                         int64_t *n, hearth_error *err) {
    hearth_stmt *q = NULL;
    bool row = false;
    *n = 0;
    hearth_status st = hearth_db_prepare(
        db, &q,
        "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1", err);
    if (st != HEARTH_OK) return st;
    hearth_stmt_bind_str(q, 1, table);
    st = hearth_stmt_step(q, &row, err);
    hearth_stmt_free(q);
    if (st != HEARTH_OK || !row) return st;
    if ((st = hearth_db_prepare(db, &q, sql, err)) != HEARTH_OK) return st;
    st = hearth_stmt_step(q, &row, err);
    if (st == HEARTH_OK && row) *n = hearth_stmt_i64(q, 0);
    hearth_stmt_free(q);
    return st;
}

/* The app's counter does not keep bytes from being erased: one that is ahead,
 * or out of reach, decides only about their charges. */
static hearth_status heed_counter(hearth_ledger_store *ls,
                                  hearth_ledger_counter counter,
                                  hearth_error *err) {
    if (!counter.raise) return HEARTH_OK;
    hearth_status st = hearth_ledger_store_set_counter(ls, counter, err);
    if (st != HEARTH_EDIGEST && st != HEARTH_EBUSY) return st;
    hearth_error_clear(err);
    return HEARTH_OK;
}

static hearth_status erase_prepared(hearth_db *db, hearth_clock clock,
                                    hearth_ledger_counter counter,
                                    const hearth_alloc *al,
                                    hearth_forget_report *report,
                                    hearth_error *err) {
    hearth_ledger_store *ls = NULL;
    hearth_policy policy;
    int64_t n = 0;
    uint64_t n_sent = 0;
    hearth_status st =
        ask(db, "prepared",
            "SELECT count(*) FROM prepared WHERE bytes IS NOT NULL", &n, err);
    if (st != HEARTH_OK || !n) return st;
    hearth_policy_defaults(&policy); /* erasing charges nothing: any rules do */
    st =
        hearth_ledger_store_open(&ls, db, &policy.ledger, NULL, clock, al, err);
    if (st == HEARTH_OK) st = heed_counter(ls, counter, err);
    if (st == HEARTH_OK) st = hearth_ledger_store_erase_all(ls, &n_sent, err);
    hearth_ledger_store_close(ls);
    if (st == HEARTH_EDIGEST || st == HEARTH_EFORMAT || st == HEARTH_EVERSION) {
        n_sent = (uint64_t)n;
        st = hearth_db_exec(
            db, "UPDATE prepared SET bytes = NULL WHERE bytes IS NOT NULL",
            err);
    }
    if (st != HEARTH_OK) return st;
    report->n_prepared += (uint64_t)n;
    report->n_sent += n_sent;
    return HEARTH_OK;
}

hearth_status hearth_forget_derived(hearth_db *db, hearth_clock clock,
                                    hearth_ledger_counter counter,
                                    const hearth_alloc *al,
                                    hearth_forget_report *report,
                                    hearth_error *err) {
    int64_t n = 0;
    hearth_status st = erase_prepared(db, clock, counter, al, report, err);
    if (st == HEARTH_OK)
        st = ask(db, "personal_own", "SELECT count(*) FROM personal_own", &n,
                 err);
    if (st != HEARTH_OK || !n) return st;
    if ((st = hearth_personal_store_init(db, err)) != HEARTH_OK) return st;
    if ((st = hearth_personal_forget(db, err)) != HEARTH_OK) return st;
    report->n_adapters += (uint64_t)n;
    return HEARTH_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* client/records/record_store_parts.h - inside of the record store, shared by
 * record_store.c (putting in, reading) and record_forget.c (taking out). */
#ifndef HEARTH_RECORDS_RECORD_STORE_PARTS_H
#define HEARTH_RECORDS_RECORD_STORE_PARTS_H

#include "client/records/record_store.h"

struct hearth_record_store {
    hearth_alloc al;
    hearth_db *db;
    hearth_clock clock;
    hearth_ledger_counter counter; /* of the app; raise NULL: none */
    char *state_dir;               /* NULL: no files */
};

/* Sequence number and time of a record; HEARTH_ENOTFOUND. */
hearth_status hearth_record_store__find(hearth_record_store *rs, const char *id,
                                        int64_t *seq, int64_t *added_ms,
                                        hearth_error *err);

/* Destroy what lies in files, adapters and prepared deltas and was trained on
 * a record of number `seq` or later.  Sets the mark that a scrub is due. */
hearth_status hearth_record_store__destroy_derived(hearth_record_store *rs,
                                                   int64_t seq,
                                                   hearth_forget_report *report,
                                                   hearth_error *err);

/* The second half, in one transaction: delete the registered rows, destroy what
 * was derived since the first half, and run `del` with `value` (NULL: nothing).
 * Then scrub.  See record_forget.c for why. */
hearth_status hearth_record_store__end_derived(hearth_record_store *rs,
                                               const char *del, int64_t value,
                                               hearth_forget_report *report,
                                               hearth_error *err);

/* Scrub when an earlier forget could not; HEARTH_OK also while it still can
 * not. */
hearth_status hearth_record_store__scrub_pending(hearth_record_store *rs,
                                                 hearth_error *err);

/* Prepare, bind one number, run. */
hearth_status hearth_record_store__run1(hearth_record_store *rs,
                                        const char *sql, int64_t v,
                                        hearth_error *err);

#endif /* HEARTH_RECORDS_RECORD_STORE_PARTS_H */

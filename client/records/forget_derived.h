/* SPDX-License-Identifier: Apache-2.0 */
/* client/records/forget_derived.h - what other parts of the client made of
 * records and keep in client.db.
 *
 * One list for `forget`, so that nothing is forgotten by forget: a part that
 * begins to keep something trained on records adds its call here.
 *
 * Threads: the thread of the database.
 */
#ifndef HEARTH_RECORDS_FORGET_DERIVED_H
#define HEARTH_RECORDS_FORGET_DERIVED_H

#include "client/records/record_store.h"

/* Erase personal adapters (marking them for retraining) and the bytes of every
 * prepared delta; adds to the report.  Unsent charges are voided, others stay.
 * With a ledger that does not verify, or a counter (raise NULL: none) that is
 * ahead of it, cannot be reached, or is missing, the bytes are erased all the
 * same, and only charges that the counter knows to be unsent are voided. */
HEARTH_MUST_CHECK
hearth_status hearth_forget_derived(hearth_db *db, hearth_clock clock,
                                    hearth_ledger_counter counter,
                                    const hearth_alloc *al,
                                    hearth_forget_report *report,
                                    hearth_error *err);

#endif /* HEARTH_RECORDS_FORGET_DERIVED_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* client/records/record_store.h - the private records of one device, in
 * client.db.
 *
 * Data flow:  import/add -> [record_store] -> train/dataset
 *
 * Keeps each record as the line it came as, with the purposes its person
 * consented to and the day it expires; takes it away again without a trace.
 * What training makes of records (adapters, optimizer states, checkpoints,
 * prepared deltas) is registered here as an artifact, so that forgetting a
 * record also destroys everything on this device that was trained on it.
 *
 *     hearth_record_store *rs;
 *     st = hearth_record_store_open(&rs, db, state_dir, clock, al, err);
 *     hearth_record_options opt = HEARTH_RECORD_OPTIONS_INIT;
 *     opt.purpose = "federated";
 *     st = hearth_record_store_add(rs, line, n, &opt, id, err);
 *     st = hearth_record_store_forget(rs, id, &report, err);
 *
 * Threads: one at a time, the thread of its database.
 * Memory:  from al; record texts are zeroed before they are freed.
 */
#ifndef HEARTH_RECORDS_RECORD_STORE_H
#define HEARTH_RECORDS_RECORD_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/delta/ledger_store.h"
#include "client/records/record.h"
#include "common/alloc.h"
#include "common/clock.h"
#include "common/db.h"
#include "common/status.h"

typedef struct hearth_record_store hearth_record_store;

/* How a record is put in. */
typedef struct {
    hearth_record_form form; /* AUTO: by its keys */
    const char *purpose;     /* consent; NULL means HEARTH_PURPOSE_PERSONAL */
    int64_t keep_ms;         /* from now; 0 = until forgotten */
} hearth_record_options;

#define HEARTH_RECORD_OPTIONS_INIT                                             \
    { HEARTH_FORM_AUTO, NULL, 0 }

/* What list shows of a record; borrowed for the call. */
typedef struct {
    const char *id;
    hearth_record_form form;
    const char *purposes; /* sorted, comma between */
    int64_t added_ms;     /* wall clock */
    int64_t expires_ms;   /* wall clock; 0 = never */
    size_t line_bytes;
    bool holdout;
} hearth_record_info;

typedef struct {
    uint64_t n_added;
    uint64_t n_duplicate; /* the id is there already: its text stays, its
                             expiry is the newer one, and the purpose is
                             added to those it has (only _consent takes one
                             back) */
} hearth_import_report;

typedef struct {
    uint64_t n_records;
    uint64_t n_files;    /* registered files destroyed */
    uint64_t n_rows;     /* registered rows deleted */
    uint64_t n_adapters; /* personal adapters erased */
    uint64_t n_prepared; /* prepared deltas whose bytes were erased */
    uint64_t n_sent;     /* of those, may have left: the charge stays */
    int64_t since_ms;    /* when the oldest of the records was added */
} hearth_forget_report;

typedef enum {
    HEARTH_SPLIT_ALL,
    HEARTH_SPLIT_TRAIN,  /* not in the hold-out */
    HEARTH_SPLIT_HOLDOUT /* see hearth_record_is_holdout */
} hearth_split;

/* Open over db (borrowed; must outlive the store), creating the tables; records
 * past their expiry are forgotten (_expire).
 *
 *   state_dir  the folder that registered files lie in; NULL: files can not be
 *              registered.  Copied.
 *   clock      copied.
 *
 * Returns HEARTH_OK, HEARTH_EINVAL, HEARTH_ENOMEM, or as hearth_db_migrate. */
HEARTH_MUST_CHECK
hearth_status hearth_record_store_open(hearth_record_store **out, hearth_db *db,
                                       const char *state_dir,
                                       hearth_clock clock,
                                       const hearth_alloc *al,
                                       hearth_error *err);

/* The counter of the app that the privacy ledger is compared with, if it has
 * one (hearth_ledger_store_set_counter).  Forgetting asks it whether bytes of a
 * prepared delta may have left; without it, in a ledger that had one, every
 * charge stays.  Copied; its ud must outlive the store. */
void hearth_record_store_set_counter(hearth_record_store *rs,
                                     hearth_ledger_counter counter);

/* Close; the database stays open.  NULL is a no-op. */
void hearth_record_store_close(hearth_record_store *rs);

/* Put one line [n] in.  id (may be NULL) gets the record's id.
 *
 * Returns HEARTH_OK
 *         HEARTH_EINVAL   a NULL argument, a purpose that is not a word, a
 *                         negative keep_ms
 *         HEARTH_EEXISTS  a record of this id is there; nothing changed
 *         HEARTH_EFORMAT, HEARTH_ETOOBIG  as hearth_record_parse
 *         or as common/db.h; nothing is stored then
 */
HEARTH_MUST_CHECK
hearth_status hearth_record_store_add(hearth_record_store *rs, const char *line,
                                      size_t n,
                                      const hearth_record_options *opt,
                                      char id[HEARTH_RECORD_MAX_ID + 1],
                                      hearth_error *err);

/* Put a JSON-lines file in: all of it or, on any error, nothing.  Errors name
 * file and line. */
HEARTH_MUST_CHECK
hearth_status hearth_record_store_import(hearth_record_store *rs,
                                         const char *path,
                                         const hearth_record_options *opt,
                                         hearth_import_report *report,
                                         hearth_error *err);

/* Called for each record in the order it was added; info is borrowed. */
typedef hearth_status (*hearth_record_list_fn)(void *ud,
                                               const hearth_record_info *info,
                                               hearth_error *err);

/* List records that have not expired. */
HEARTH_MUST_CHECK
hearth_status hearth_record_store_list(hearth_record_store *rs,
                                       hearth_record_list_fn fn, void *ud,
                                       hearth_error *err);

/* Read records that have not expired and may be used for purpose (NULL: any),
 * in the order of their ids, so that a data set does not depend on the order of
 * import.  fn gets the parsed record and its line, borrowed. */
HEARTH_MUST_CHECK
hearth_status hearth_record_store_each(hearth_record_store *rs,
                                       hearth_split split, const char *purpose,
                                       hearth_record_fn fn, void *ud,
                                       hearth_error *err);

/* How many records _each would give. */
HEARTH_MUST_CHECK
hearth_status hearth_record_store_count(hearth_record_store *rs,
                                        hearth_split split, const char *purpose,
                                        uint64_t *n, hearth_error *err);

/* Give (or take back) consent of one record (id NULL: of all) for a purpose.
 * Taking it back destroys the artifacts trained on it, as forget does; the
 * record stays.  HEARTH_ENOTFOUND when id is not there. */
HEARTH_MUST_CHECK
hearth_status hearth_record_store_consent(hearth_record_store *rs,
                                          const char *id, const char *purpose,
                                          bool give,
                                          hearth_forget_report *report,
                                          hearth_error *err);

/* Forget one record, or all (id NULL), and destroy what was trained on it:
 * registered files are overwritten, fsynced and removed, registered rows are
 * deleted, personal adapters and the bytes of prepared deltas are erased, the
 * personal adapter is marked for retraining, and the database is scrubbed so
 * that no byte of it stays in any file of the state directory.  The charges of
 * the ledger stay.  What went into a release already can not be withdrawn.
 *
 *   report  may be NULL.
 *
 * Returns HEARTH_OK
 *         HEARTH_ENOTFOUND  no such record; nothing changed
 *         HEARTH_EIO        a file could not be destroyed: the record is kept,
 *                           so that a second call tries again
 *         HEARTH_EBUSY      another process reads the database: rows are gone,
 *                           bytes may remain in its files; call _scrub
 *         or as common/db.h
 */
HEARTH_MUST_CHECK
hearth_status hearth_record_store_forget(hearth_record_store *rs,
                                         const char *id,
                                         hearth_forget_report *report,
                                         hearth_error *err);

/* Clean the database's files of deleted bytes; forget does it by itself.
 * HEARTH_EBUSY while another process reads the database. */
HEARTH_MUST_CHECK
hearth_status hearth_record_store_scrub(hearth_record_store *rs,
                                        hearth_error *err);

/* Forget the records past their expiry, in the same way.  Called by _open, and by
 * sync before it reads records. */
HEARTH_MUST_CHECK
hearth_status hearth_record_store_expire(hearth_record_store *rs,
                                         hearth_forget_report *report,
                                         hearth_error *err);

/* What a registered artifact is. */
typedef enum {
    HEARTH_ARTIFACT_ADAPTER = 1,
    HEARTH_ARTIFACT_OPTIMIZER = 2,
    HEARTH_ARTIFACT_CHECKPOINT = 3
} hearth_artifact_kind;

/* Register a file or folder under the state directory that is about to be
 * written by training on records of this store.  Register before the first byte
 * is written; registering again renews it.
 *
 *   path  relative to state_dir, no ".." in it.
 *
 * Forgetting a record destroys every artifact registered or renewed at or after
 * the moment the record was added: a little too much rather than too little.
 *
 * Returns HEARTH_OK, HEARTH_EINVAL (a bad path, or no state_dir), or as
 * common/db.h. */
HEARTH_MUST_CHECK
hearth_status hearth_record_store_register_file(hearth_record_store *rs,
                                                hearth_artifact_kind kind,
                                                const char *path,
                                                hearth_error *err);

/* Register rows of a table of the same database: forgetting any record runs
 * DELETE FROM table WHERE column = value.  Kept in the database, so that every
 * process that forgets knows it.  Names are [a-z_][a-z0-9_]{0,31}; a table that
 * does not exist is passed over.  Call it when the table is made.  The tables of
 * ledger and personal adapters are known and need no registration.
 *
 *     st = hearth_record_store_register_rows(rs, "sync_training", "kept", 0,
 *                                            err);
 */
HEARTH_MUST_CHECK
hearth_status hearth_record_store_register_rows(hearth_record_store *rs,
                                                const char *table,
                                                const char *column,
                                                int64_t value,
                                                hearth_error *err);

/* Whether forgetting asked for the personal adapter to be trained anew. */
HEARTH_MUST_CHECK
hearth_status hearth_record_store_retrain_wanted(hearth_record_store *rs,
                                                 bool *wanted,
                                                 hearth_error *err);

/* Set or clear that mark. */
HEARTH_MUST_CHECK
hearth_status hearth_record_store_set_retrain(hearth_record_store *rs,
                                              bool wanted, hearth_error *err);

#endif /* HEARTH_RECORDS_RECORD_STORE_H */

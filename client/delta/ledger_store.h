/* SPDX-License-Identifier: Apache-2.0 */
/* client/delta/ledger_store.h - the privacy ledger in client.db.
 *
 * Append-only, hash-chained (privacy/ledger.h), fsynced, one for all tasks and
 * enrolments of this device.  The bytes of a prepared delta lie beside it, and
 * bytes and charge are written in one transaction.
 *
 *     hearth_ledger_rules rules = policy.ledger;
 *     st = hearth_ledger_store_open(&ls, db, &rules, "coord.example", clock,
 *                                   al, err);
 *     st = hearth_ledger_store_sums(ls, task, &sums, err);
 *
 * What a prepared row goes through:
 *
 *     (absent) --prepare--> ready --sending--> sending --finish--> (bytes gone)
 *                             |
 *                             +--void--> voided (bytes gone, charge taken back)
 *
 * Nothing leaves the device before `sending` is durable, so a charge in state
 * `ready` may be taken back and no other may.
 *
 * Threads: a handle belongs to one thread at a time, the thread of its db.
 * Memory:  rows are read one at a time.
 */
#ifndef HEARTH_CLIENT_DELTA_LEDGER_STORE_H
#define HEARTH_CLIENT_DELTA_LEDGER_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/db.h"
#include "common/error.h"
#include "privacy/ledger.h"

typedef struct hearth_ledger_store hearth_ledger_store;

/* What one message of a round is keyed by on the device. */
typedef struct {
    char task[HEARTH_LEDGER_NAME_MAX];
    uint64_t round;
    uint32_t cohort;
    uint32_t stage;
} hearth_round_key;

/* Fill a key.  Returns HEARTH_OK, or HEARTH_EINVAL for a NULL, empty or too
 * long task. */
HEARTH_MUST_CHECK
hearth_status hearth_round_key_init(hearth_round_key *key, const char *task,
                                    uint64_t round, uint32_t cohort,
                                    uint32_t stage);

typedef enum {
    HEARTH_PREPARED_READY = 1,    /* charged; no byte has left */
    HEARTH_PREPARED_SENDING = 2,  /* bytes may have left */
    HEARTH_PREPARED_FINISHED = 3, /* committed or given up; bytes erased */
    HEARTH_PREPARED_VOIDED = 4    /* taken back unsent; bytes erased */
} hearth_prepared_state;

/* Open (create the tables when absent) and check the whole chain.
 *
 *   db           borrowed; must outlive the store
 *   rules        copied; caps enforced inside the charging transaction
 *   coordinator  who receives, for the person who reads the ledger; NULL = ""
 *   clock        copied
 *
 * Returns HEARTH_OK, *out is the caller's
 *         HEARTH_EINVAL   a NULL pointer, a name that is too long, bad rules
 *         HEARTH_EDIGEST  the chain is broken: rows were changed or removed
 *         HEARTH_EFORMAT  a row holds impossible values
 *         HEARTH_EVERSION written by a later program
 *         HEARTH_EIO, HEARTH_EBUSY, HEARTH_ENOMEM
 */
HEARTH_MUST_CHECK
hearth_status hearth_ledger_store_open(hearth_ledger_store **out, hearth_db *db,
                                       const hearth_ledger_rules *rules,
                                       const char *coordinator,
                                       hearth_clock clock,
                                       const hearth_alloc *al,
                                       hearth_error *err);

/* A number of the app's that only grows and lies where a copy of the state
 * directory cannot take it back: a counter of the phone's secure hardware, a row
 * on the app's own server.  Raise it to at_least (0: only read it) and say what
 * it is now, >= at_least. */
typedef struct {
    hearth_status (*raise)(void *ud, uint64_t at_least, uint64_t *value);
    void *ud;
} hearth_ledger_counter;

/* Compare the ledger with a counter from now on: here, before each charge, and
 * before bytes may leave, when it is raised to the number of their charge.  So
 * an older copy of the ledger cannot spend again what was spent, nor take back a
 * charge whose bytes left after the copy was taken.
 *
 * The ledger remembers that it had a counter: from then on whoever opens it
 * without one (raise NULL, or this function not called) may read it and erase
 * prepared bytes, but spends nothing and takes no charge back.
 *
 * Returns HEARTH_OK
 *         HEARTH_EINVAL  ls is NULL
 *         HEARTH_EDIGEST the counter is ahead: an older copy was restored
 *         HEARTH_EBUSY   the counter cannot be reached: come back
 *         HEARTH_ESTATE  raise is NULL, and the ledger had a counter before
 *         or as common/db.h; the counter is set also then
 * The same come from hearth_prepare and hearth_prepared_sending. */
HEARTH_MUST_CHECK
hearth_status hearth_ledger_store_set_counter(hearth_ledger_store *ls,
                                              hearth_ledger_counter counter,
                                              hearth_error *err);

/* Close.  NULL is a no-op; the db stays open. */
void hearth_ledger_store_close(hearth_ledger_store *ls);

/* The sums that a new charge of task would be judged by, now. */
HEARTH_MUST_CHECK
hearth_status hearth_ledger_store_sums(hearth_ledger_store *ls,
                                       const char *task,
                                       hearth_ledger_sums *out,
                                       hearth_error *err);

/* Called for each row in order; voided is set for a charge that was taken
 * back.  Return other than HEARTH_OK to stop with that status. */
typedef hearth_status (*hearth_ledger_visit)(void *ud,
                                             const hearth_ledger_row *row,
                                             bool voided);
HEARTH_MUST_CHECK
hearth_status hearth_ledger_store_each(hearth_ledger_store *ls,
                                       hearth_ledger_visit visit, void *ud,
                                       hearth_error *err);

/* Read every row again and check the chain: as hearth_ledger_store_open. */
HEARTH_MUST_CHECK
hearth_status hearth_ledger_store_verify(hearth_ledger_store *ls,
                                         hearth_error *err);

/* State of the newest preparation of a key.  HEARTH_ENOTFOUND when none. */
HEARTH_MUST_CHECK
hearth_status hearth_ledger_store_state(hearth_ledger_store *ls,
                                        const hearth_round_key *key,
                                        hearth_prepared_state *out,
                                        hearth_error *err);

/* State of the preparation that ledger row seq paid for: an older row of a key
 * whose offer changed has its own.  HEARTH_ENOTFOUND when none. */
HEARTH_MUST_CHECK
hearth_status hearth_ledger_store_row_state(hearth_ledger_store *ls,
                                            uint64_t seq,
                                            hearth_prepared_state *out,
                                            hearth_error *err);

/* Take back the charge of a key whose bytes never left (state ready): a void
 * row is appended and the bytes are erased.
 * Returns HEARTH_OK, HEARTH_ENOTFOUND, HEARTH_ESTATE (a byte may have left). */
HEARTH_MUST_CHECK
hearth_status hearth_ledger_store_void(hearth_ledger_store *ls,
                                       const hearth_round_key *key,
                                       hearth_error *err);

/* For `forget`: erase the bytes of every preparation.  Unsent ones are voided;
 * for the others, and for those that only a missing counter could tell to be
 * unsent, the charge stays.  *n_sent, when not NULL, counts the charges that
 * cannot be taken back. */
HEARTH_MUST_CHECK
hearth_status hearth_ledger_store_erase_all(hearth_ledger_store *ls,
                                            uint64_t *n_sent,
                                            hearth_error *err);

/* Cut the write-ahead log, so that erased bytes are in no file.  finish, void
 * and erase_all do it themselves unless the caller holds a transaction open:
 * then call this after its commit.  Best effort (a reader elsewhere may hold
 * the log back until the next time); nothing to report. */
void hearth_ledger_store_flush(hearth_ledger_store *ls);

/* The rules given at open.  Borrowed. */
const hearth_ledger_rules *
hearth_ledger_store_rules(const hearth_ledger_store *ls);

#endif /* HEARTH_CLIENT_DELTA_LEDGER_STORE_H */

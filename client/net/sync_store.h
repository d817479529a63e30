/* SPDX-License-Identifier: Apache-2.0 */
/* client/net/sync_store.h - what a participant must not forget, in client.db.
 *
 *   sync_session   one row: cookie, when to come back, the last retry window,
 *                  the coordinator's clock, words about the last trouble
 *   sync_round     a row per round that was accepted, refused or finished; the
 *                  offer's bytes are kept while it is under way only
 *   sync_training  a row while training data are in memory; `forget` deletes
 *                  it (record_store), which is how the trainer notices
 *
 * Private to client/net and the programs' status.
 * Threads: as common/db.h.
 */
#ifndef HEARTH_CLIENT_NET_SYNC_STORE_H
#define HEARTH_CLIENT_NET_SYNC_STORE_H

#include "common/db.h"
#include "proto/messages.h"

typedef struct {
    char cookie[HEARTH_PROTO_COOKIE_CAP]; /* "" = none */
    int64_t not_before_ms; /* nothing is asked before; Unix ms, our clock */
    int64_t wait_ms;       /* the wait that set it: a clock set back cannot make
                              the device sleep longer than this */
    bool window;           /* the wait is the coordinator's, not our own */
    hearth_retry retry;    /* last window given */
    int64_t skew_ms;       /* coordinator's clock minus ours */
    int64_t checkin_ms;    /* last successful check-in; 0 = never */
    char note[252];        /* last trouble, for a person; "" = none */
    int64_t note_ms;
} hearth_sync_session;

typedef enum {
    HEARTH_SYNC_ROUND_ACCEPTED = 1,
    HEARTH_SYNC_ROUND_COMMITTED = 2,
    HEARTH_SYNC_ROUND_GAVE_UP = 3,
    HEARTH_SYNC_ROUND_REFUSED = 4
} hearth_sync_round_phase;

/* Make the tables. */
HEARTH_MUST_CHECK
hearth_status hearth_sync_store_init(hearth_db *db, hearth_error *err);

/* Read (zero and the default window when there is none yet) and write. */
HEARTH_MUST_CHECK
hearth_status hearth_sync_session_load(hearth_sync_session *out, hearth_db *db,
                                       hearth_error *err);
HEARTH_MUST_CHECK
hearth_status hearth_sync_session_save(const hearth_sync_session *s,
                                       hearth_db *db, hearth_error *err);

/* Put a round in its phase; reason (may be NULL) is words for a person.  In
 * ACCEPTED the offer is kept, in any other phase its bytes are erased. */
HEARTH_MUST_CHECK
hearth_status hearth_sync_round_put(hearth_db *db, const hearth_offer *o,
                                    hearth_sync_round_phase phase,
                                    int64_t now_ms, const char *reason,
                                    const hearth_alloc *al, hearth_error *err);

/* The phase of an offer's round; *known is false when it was never seen. */
HEARTH_MUST_CHECK
hearth_status hearth_sync_round_get(hearth_db *db, const hearth_offer *o,
                                    bool *known, hearth_sync_round_phase *phase,
                                    hearth_error *err);

/* The round under way, and since when; *found is false when there is none.  A
 * stored offer that does not decode is dropped. */
HEARTH_MUST_CHECK
hearth_status hearth_sync_round_active(hearth_db *db, hearth_offer *o,
                                       int64_t *since_ms, bool *found,
                                       hearth_error *err);

/* A row of the history, newest first. */
typedef struct {
    char task[HEARTH_PROTO_TASK_CAP];
    uint64_t round;
    hearth_sync_round_phase phase;
    int64_t time_ms; /* when it came to that phase */
    char reason[252];
} hearth_sync_round_row;
typedef hearth_status (*hearth_sync_round_visit)(
    void *ud, const hearth_sync_round_row *row);
HEARTH_MUST_CHECK
hearth_status hearth_sync_round_each(hearth_db *db, uint32_t limit,
                                     hearth_sync_round_visit visit, void *ud,
                                     hearth_error *err);

/* Mark that records are in memory; ask whether the mark is still there; take it
 * away. */
HEARTH_MUST_CHECK
hearth_status hearth_sync_training_mark(hearth_db *db, bool on,
                                        hearth_error *err);
HEARTH_MUST_CHECK
hearth_status hearth_sync_training_marked(hearth_db *db, bool *on,
                                          hearth_error *err);

#endif /* HEARTH_CLIENT_NET_SYNC_STORE_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/coord_store.h - what the coordinator remembers.
 *
 * Tasks, rounds, contributions (round, token hash), participation (round,
 * HMAC(round key, device)) and releases.  Participation and contribution share
 * no key, and the round key that could join them is erased when the round
 * closes.  Uploaded bytes and accumulators are files, not rows
 * (coordinator/intake.h, aggregate.h).
 *
 * Rows hold no secret: keys have functions of their own, for the few callers
 * that need them, and those wipe what they get (common/secret.h).
 *
 * This header is the interface; coord_store.c keeps it in SQLite, and another
 * implementation can take its place.  Every function is one transaction.
 *
 * Threads: a handle belongs to one thread at a time.  The coordinator has two
 *          on one file: the owner's (durable = false: a crash may lose the last
 *          invitations, which devices then repeat) and the job's (durable =
 *          true: a returned HEARTH_OK survives a power cut).
 * Errors:  those of common/db.h; HEARTH_ENOTFOUND for a row that is not there.
 */
#ifndef HEARTH_COORDINATOR_COORD_STORE_H
#define HEARTH_COORDINATOR_COORD_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/alloc.h"
#include "common/buf.h"
#include "common/secret.h"
#include "common/status.h"
#include "proto/limits.h"
#include "proto/messages.h"

typedef struct hearth_coord_store hearth_coord_store;

/* Sync of a handle. */
typedef enum {
    HEARTH_STORE_DURABLE, /* every commit reaches the disk */
    HEARTH_STORE_LAZY,    /* commits are atomic, the last may be lost */
    HEARTH_STORE_NO_SYNC  /* simulation */
} hearth_store_sync;

HEARTH_MUST_CHECK
hearth_status hearth_coord_store_open(hearth_coord_store **out,
                                      const char *path, hearth_store_sync sync,
                                      const hearth_alloc *al,
                                      hearth_error *err);
void hearth_coord_store_close(hearth_coord_store *s); /* NULL: no-op */

/* ---- tasks ---- */

typedef enum {
    HEARTH_TASK_ACTIVE = 1,
    HEARTH_TASK_PAUSED = 2,
    HEARTH_TASK_DONE = 3 /* all rounds released */
} hearth_task_state;

typedef struct {
    char name[HEARTH_PROTO_TASK_CAP];
    uint32_t state; /* hearth_task_state */
    int64_t created_ms;
    uint8_t a_seed[32]; /* public: devices get it */
} hearth_task_row;

/* Calls fn for each row, in order of name (of number below); a failure of fn
 * ends the walk and is returned. */
typedef hearth_status (*hearth_task_row_fn)(void *ud,
                                            const hearth_task_row *row);
HEARTH_MUST_CHECK
hearth_status hearth_coord_store_tasks(hearth_coord_store *s,
                                       hearth_task_row_fn fn, void *ud,
                                       hearth_error *err);
/* Row and INI text (appended to text; may be NULL). */
HEARTH_MUST_CHECK
hearth_status hearth_coord_store_task(hearth_coord_store *s, const char *name,
                                      hearth_task_row *row, hearth_buf *text,
                                      hearth_error *err);
/* The key of a task's spacing tags.  Returns HEARTH_OK, HEARTH_ENOTFOUND (no
 * such task), or HEARTH_EFORMAT (damaged); *key is zeros then. */
HEARTH_MUST_CHECK
hearth_status hearth_coord_store_cooldown_key(hearth_coord_store *s,
                                              const char *task,
                                              hearth_secret *key,
                                              hearth_error *err);
HEARTH_MUST_CHECK
hearth_status hearth_coord_store_set_task_state(hearth_coord_store *s,
                                                const char *name,
                                                uint32_t state,
                                                hearth_error *err);

/* ---- rounds ---- */

typedef struct {
    char task[HEARTH_PROTO_TASK_CAP];
    uint64_t round;    /* from 1, failed ones counted */
    uint32_t phase;    /* hearth_round_phase */
    uint32_t stage;    /* from 0 */
    int64_t opened_ms; /* of the first stage */
    int64_t stage_opened_ms;
    int64_t closed_ms;       /* 0 while it is open */
    uint64_t start_sequence; /* release it started from */
    uint32_t counted;        /* contributions in the sum, once fixed */
    uint64_t sequence;       /* release it became; 0 = none */
    bool has_key;            /* false once closed */
} hearth_round_row;

typedef hearth_status (*hearth_round_row_fn)(void *ud,
                                             const hearth_round_row *row);
HEARTH_MUST_CHECK
hearth_status hearth_coord_store_rounds(hearth_coord_store *s, const char *task,
                                        hearth_round_row_fn fn, void *ud,
                                        hearth_error *err);
/* The newest round of a task. */
HEARTH_MUST_CHECK
hearth_status hearth_coord_store_last_round(hearth_coord_store *s,
                                            const char *task,
                                            hearth_round_row *row,
                                            hearth_error *err);
/* Number of rounds of a task in a phase. */
HEARTH_MUST_CHECK
hearth_status hearth_coord_store_count_rounds(hearth_coord_store *s,
                                              const char *task, uint32_t phase,
                                              uint64_t *n, hearth_error *err);
/* key: of the round's tokens and tags, until it closes */
HEARTH_MUST_CHECK
hearth_status hearth_coord_store_open_round(hearth_coord_store *s,
                                            const hearth_round_row *row,
                                            const hearth_secret *key,
                                            hearth_error *err);
/* The key of a round that is not closed.  Returns HEARTH_OK, HEARTH_ENOTFOUND
 * (no such round, or closed), or HEARTH_EFORMAT (damaged); *key is zeros
 * then. */
HEARTH_MUST_CHECK
hearth_status hearth_coord_store_round_key(hearth_coord_store *s,
                                           const char *task, uint64_t round,
                                           hearth_secret *key,
                                           hearth_error *err);
/* OPEN -> FIXING with the number of survivors: no commit after this. */
HEARTH_MUST_CHECK
hearth_status hearth_coord_store_fix_round(hearth_coord_store *s,
                                           const char *task, uint64_t round,
                                           uint32_t counted, hearth_error *err);
/* -> FAILED: key erased, participation deleted. */
HEARTH_MUST_CHECK
hearth_status hearth_coord_store_fail_round(hearth_coord_store *s,
                                            const char *task, uint64_t round,
                                            int64_t closed_ms,
                                            hearth_error *err);

/* ---- invitations and contributions ---- */

typedef enum {
    HEARTH_CONTRIB_INVITED = 1,
    HEARTH_CONTRIB_BEGUN = 2,
    HEARTH_CONTRIB_COMMITTED = 3, /* acknowledged */
    HEARTH_CONTRIB_ABORTED = 4    /* given up by the device */
} hearth_contrib_state;

typedef struct {
    uint8_t token_hash[32]; /* SHA-256 of the upload token */
    char task[HEARTH_PROTO_TASK_CAP];
    uint64_t round;
    uint32_t cohort, stage, state; /* hearth_contrib_state */
    uint64_t length;               /* bytes, once begun */
    uint8_t sha256[32];            /* of the bytes, once begun */
    uint64_t folded_in;            /* checkpoint it is part of; 0 = none yet */
} hearth_contrib_row;

/* Record that a device (tag = HMAC(round key, device)) was invited with a
 * token.  Returns HEARTH_EEXISTS when the tag is there already: nothing is
 * written then. */
HEARTH_MUST_CHECK
hearth_status hearth_coord_store_invite(hearth_coord_store *s,
                                        const hearth_contrib_row *row,
                                        const uint8_t tag[32],
                                        hearth_error *err);
HEARTH_MUST_CHECK
hearth_status hearth_coord_store_contrib(hearth_coord_store *s,
                                         const uint8_t token_hash[32],
                                         hearth_contrib_row *row,
                                         hearth_error *err);
/* Set state, length and sha256 of a row from *row. */
HEARTH_MUST_CHECK
hearth_status hearth_coord_store_set_contrib(hearth_coord_store *s,
                                             const hearth_contrib_row *row,
                                             hearth_error *err);
/* BEGUN -> COMMITTED for n rows in one transaction (group commit).  Fails as a
 * whole with HEARTH_ESTATE when a round among them is not OPEN. */
HEARTH_MUST_CHECK
hearth_status hearth_coord_store_commit(hearth_coord_store *s,
                                        const hearth_contrib_row *rows,
                                        size_t n, hearth_error *err);
/* How many rows of a cohort are in each state: counts[state], [5]. */
HEARTH_MUST_CHECK
hearth_status hearth_coord_store_count(hearth_coord_store *s, const char *task,
                                       uint64_t round, uint32_t cohort,
                                       uint32_t counts[5], hearth_error *err);
/* Up to cap COMMITTED rows with folded_in = checkpoint (0: not folded yet), by
 * token hash, from after the hash `after` (NULL: the first). */
HEARTH_MUST_CHECK
hearth_status hearth_coord_store_committed(hearth_coord_store *s,
                                           const char *task, uint64_t round,
                                           uint32_t cohort, bool folded,
                                           const uint8_t *after,
                                           hearth_contrib_row *rows, size_t cap,
                                           size_t *n, hearth_error *err);

/* ---- checkpoints of accumulators ---- */

/* Newest checkpoint of a cohort's accumulator; 0 = none. */
HEARTH_MUST_CHECK
hearth_status hearth_coord_store_checkpoint(hearth_coord_store *s,
                                            const char *task, uint64_t round,
                                            uint32_t cohort, uint64_t *number,
                                            hearth_error *err);
/* Make `number` the newest and mark n rows as part of it: one transaction. */
HEARTH_MUST_CHECK
hearth_status hearth_coord_store_set_checkpoint(hearth_coord_store *s,
                                                const char *task,
                                                uint64_t round, uint32_t cohort,
                                                uint64_t number,
                                                const hearth_contrib_row *rows,
                                                size_t n, hearth_error *err);

/* ---- releases ---- */

typedef struct {
    char task[HEARTH_PROTO_TASK_CAP];
    uint64_t sequence;
    int64_t created_ms;
    uint64_t round; /* it came from; 0 = start or rollback */
    uint8_t manifest_digest[32], content_sha256[32];
} hearth_release_row;

typedef hearth_status (*hearth_release_row_fn)(void *ud,
                                               const hearth_release_row *row);
HEARTH_MUST_CHECK
hearth_status hearth_coord_store_releases(hearth_coord_store *s,
                                          const char *task,
                                          hearth_release_row_fn fn, void *ud,
                                          hearth_error *err);
/* Row, signed manifest and optimizer state (appended; may be NULL).  sequence 0
 * asks for the newest. */
HEARTH_MUST_CHECK
hearth_status hearth_coord_store_release(hearth_coord_store *s,
                                         const char *task, uint64_t sequence,
                                         hearth_release_row *row,
                                         hearth_buf *manifest,
                                         hearth_buf *optimizer,
                                         hearth_error *err);

/* What one publication writes. */
typedef struct {
    hearth_release_row row;
    const uint8_t *manifest; /* signed bytes */
    size_t manifest_n;
    const uint8_t
        *optimizer; /* state of the server step, part of the version */
    size_t optimizer_n;
    const hearth_task_row *new_task; /* creation: this task too, or NULL */
    const hearth_secret *new_key;    /* of its spacing tags */
    const char *ini;                 /* its text */
    size_t ini_n;
    uint64_t close_round; /* this round becomes RELEASED, key erased; 0: none */
    bool done;            /* and the task becomes DONE */
} hearth_publication;

/* One transaction.  HEARTH_EEXISTS when the sequence or the new task is there,
 * HEARTH_ESTATE when close_round is not FIXING. */
HEARTH_MUST_CHECK
hearth_status hearth_coord_store_publish(hearth_coord_store *s,
                                         const hearth_publication *p,
                                         hearth_error *err);

/* ---- spacing ---- */

/* True in *ready when tag (HMAC(cooldown key, device)) may be invited at now:
 * spacing_ms have passed since it last was.  remember: this is an invitation.
 * A memory that is more than two spacings ahead is one of a clock that was
 * wrong, and does not count.  Rows of the past are deleted. */
HEARTH_MUST_CHECK
hearth_status hearth_coord_store_cooldown(hearth_coord_store *s,
                                          const char *task,
                                          const uint8_t tag[32], int64_t now_ms,
                                          int64_t spacing_ms, bool remember,
                                          bool *ready, hearth_error *err);

/* ---- upkeep ---- */

/* Delete contributions of rounds before `keep_from` of a task. */
HEARTH_MUST_CHECK
hearth_status hearth_coord_store_prune(hearth_coord_store *s, const char *task,
                                       uint64_t keep_from, hearth_error *err);

/* Empty the store's write-ahead log: rows that were deleted, round keys among
 * them, are in no file after this.  With another handle in the middle of a read
 * it is left for the next time, and HEARTH_OK. */
HEARTH_MUST_CHECK
hearth_status hearth_coord_store_tidy(hearth_coord_store *s, hearth_error *err);

/* Changes whenever another handle or process wrote. */
HEARTH_MUST_CHECK
hearth_status hearth_coord_store_version(hearth_coord_store *s, int64_t *v,
                                         hearth_error *err);

#endif /* HEARTH_COORDINATOR_COORD_STORE_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/coord_impl.h - private to the coordinator core: its state, and
 * what its files offer one another.
 *
 *   coordinator.c  open, close, recover, dispatch, tick
 *   coord_tasks.c  tasks in memory, rounds opened, moved and closed
 *   checkin.c      who is invited to what
 *   intake.c       begin, append, commit, abort
 *   coord_jobs.c   slow work, one job at a time
 *   coord_reply.c  replies and retry windows
 *   downloads.c    releases
 *
 * Threads: everything belongs to the owner thread but what a job works on:
 *          c->durable, c->job and the accumulators of c->job.task, which are
 *          the job's from submit to done.
 */
#ifndef HEARTH_COORDINATOR_COORD_IMPL_H
#define HEARTH_COORDINATOR_COORD_IMPL_H

#include "common/error.h"
#include "coordinator/aggregate.h"
#include "coordinator/coordinator.h"
#include "coordinator/round.h"
#include "coordinator/task.h"

#define HEARTH_COORD_PATH_CAP 1024u
#define HEARTH_COORD_QUEUE    256u /* commits that wait; more get BUSY */
#define HEARTH_COORD_BATCH    64u  /* commits of one transaction */
#define HEARTH_COORD_MAX_FOLD 256u
#define HEARTH_COORD_KEEP_ROUNDS                                               \
    8u /* closed rounds whose commits can be
                                       replayed */
#define HEARTH_COORD_RETRY_JOB_MS 1000

/* A task that is being served. */
typedef struct {
    hearth_task task;
    hearth_task_row row;
    hearth_release_row newest;  /* release */
    uint64_t released, failed;  /* rounds so far */
    uint64_t round_number;      /* 0: none yet */
    uint64_t start_sequence;    /* of that round */
    hearth_secret round_key;    /* while it is open; else zeros */
    hearth_secret cooldown_key; /* of the spacing tags */
    hearth_round round;
    bool must_fail;         /* a FAIL job is due */
    bool fixed;             /* survivors are recorded */
    uint32_t late, refused; /* of the round, for metrics */
    uint64_t synced_round;  /* whose folders are on disk; the job's */
    uint32_t unfolded[HEARTH_ROUND_MAX_COHORTS]; /* committed, not summed */
    hearth_accumulator acc[HEARTH_ROUND_MAX_COHORTS];
} hearth_coord_task;

/* A commit on its way to the disk. */
typedef struct {
    hearth_contrib_row row;
    hearth_coord_task *task;
    hearth_reply_fn reply;
    void *ud;
    hearth_status st; /* of its bytes */
} hearth_coord_commit;

typedef enum {
    HEARTH_JOB_NONE,
    HEARTH_JOB_COMMIT,  /* verify, fsync, record a batch */
    HEARTH_JOB_FIX,     /* record the survivors */
    HEARTH_JOB_FOLD,    /* add up to checkpoint_every uploads, checkpoint */
    HEARTH_JOB_PUBLISH, /* server step, sign, record */
    HEARTH_JOB_FAIL     /* record the failure, drop the bytes */
} hearth_job_kind;

typedef struct {
    hearth_job_kind kind;
    bool out;
    hearth_coord_task *task;
    uint32_t cohort;
    int64_t now_ms, wall_ms;
    size_t n; /* COMMIT: in batch; FOLD: how many were folded */
    hearth_coord_commit batch[HEARTH_COORD_BATCH];
    hearth_contrib_row rows[HEARTH_COORD_MAX_FOLD];
    hearth_release_row published;
    hearth_status st;
    hearth_error err;
} hearth_coord_job;

struct hearth_coord {
    hearth_coord_config cfg;
    hearth_alloc alloc;
    char dir[HEARTH_COORD_PATH_CAP];
    int lock_fd;
    hearth_coord_store *store;   /* owner thread */
    hearth_coord_store *durable; /* jobs */
    int64_t base_wall_ms, base_mono_ms;
    int64_t last_reload_ms, data_version;
    int64_t job_not_before_ms; /* after a failure of the system */
    size_t n_tasks;
    hearth_coord_task *task[HEARTH_PROTO_MAX_TASKS];
    size_t queue_head, queue_n;
    hearth_coord_commit queue[HEARTH_COORD_QUEUE]; /* ring */
    bool pumping;
    bool commit_last; /* the last job was a COMMIT: another kind goes next */
    hearth_coord_job job;
    hearth_coord_counters counters;
};

/* ---- coordinator.c ---- */

/* Time of the rounds: wall clock at open plus what the monotonic clock counted
 * since, so that a jump of the wall clock moves no deadline. */
int64_t hearth_coord__now(const hearth_coord *c);
/* <dir>/spool/<task>/<round>[/<name>] */
HEARTH_MUST_CHECK
hearth_status hearth_coord__spool_path(const hearth_coord *c, char *out,
                                       size_t cap, const char *task,
                                       uint64_t round, const char *name);
/* ... of an upload */
HEARTH_MUST_CHECK
hearth_status hearth_coord__upload_path(const hearth_coord *c, char *out,
                                        size_t cap,
                                        const hearth_contrib_row *row);
/* ... of a checkpoint */
HEARTH_MUST_CHECK
hearth_status hearth_coord__acc_path(const hearth_coord *c, char *out,
                                     size_t cap, const hearth_coord_task *t,
                                     uint32_t cohort, uint64_t number);

/* ---- coord_tasks.c ---- */

hearth_coord_task *hearth_coord__find(hearth_coord *c, const char *task);
/* Take over what the store says: new tasks, states, newest releases. */
HEARTH_MUST_CHECK
hearth_status hearth_coord__reload(hearth_coord *c, hearth_error *err);
void hearth_coord__free_tasks(hearth_coord *c);
/* One event of the round machine, its actions noted in t. */
uint32_t hearth_coord__event(hearth_coord *c, hearth_coord_task *t,
                             uint32_t kind, uint32_t cohort, uint32_t stage,
                             hearth_round_actions *act);
/* Open the next round if the task may have one: HEARTH_ESTATE when not. */
HEARTH_MUST_CHECK
hearth_status hearth_coord__open_round(hearth_coord *c, hearth_coord_task *t,
                                       hearth_error *err);
/* The round is over: forget what was in memory for it. */
void hearth_coord__close_round(hearth_coord_task *t);

/* ---- coord_jobs.c ---- */

/* Start jobs until none is due or one is out. */
void hearth_coord__pump(hearth_coord *c);
bool hearth_coord__commit_waits(const hearth_coord *c,
                                const uint8_t token_hash[32]);

/* ---- coord_reply.c ---- */

void hearth_coord__reply_error(hearth_coord *c, hearth_reply_fn reply, void *ud,
                               uint32_t reason, uint64_t offset,
                               const char *message);
void hearth_coord__reply_offset(hearth_coord *c, hearth_reply_fn reply,
                                void *ud, uint64_t offset);
void hearth_coord__reply_committed(hearth_coord *c, const hearth_coord_task *t,
                                   hearth_reply_fn reply, void *ud);
void hearth_coord__reply_ack(hearth_coord *c, hearth_reply_fn reply, void *ud);
/* A body that was encoded with status st. */
void hearth_coord__reply_body(hearth_coord *c, hearth_reply_fn reply, void *ud,
                              hearth_status st, const hearth_buf *body);
/* The reason that a status of ours shows to a device. */
uint32_t hearth_coord__reason(hearth_status st);

/* ---- checkin.c, intake.c, downloads.c ---- */

/* Is this a device, and one that was not revoked or erased? */
bool hearth_coord__allowed(const hearth_coord *c, const hearth_peer *peer);
void hearth_coord__checkin(hearth_coord *c, const hearth_http_request *rq,
                           hearth_reply_fn reply, void *ud);
void hearth_coord__begin(hearth_coord *c, const hearth_http_request *rq,
                         const hearth_secret *token, hearth_reply_fn reply,
                         void *ud);
void hearth_coord__offset(hearth_coord *c, const hearth_secret *token,
                          hearth_reply_fn reply, void *ud);
void hearth_coord__append(hearth_coord *c, const hearth_http_request *rq,
                          const hearth_secret *token, hearth_reply_fn reply,
                          void *ud);
void hearth_coord__commit(hearth_coord *c, const hearth_http_request *rq,
                          const hearth_secret *token, hearth_reply_fn reply,
                          void *ud);
void hearth_coord__abort(hearth_coord *c, const hearth_http_request *rq,
                         const hearth_secret *token, hearth_reply_fn reply,
                         void *ud);
void hearth_coord__download(hearth_coord *c, const hearth_http_request *rq,
                            const char *task, uint64_t sequence, bool payload,
                            hearth_reply_fn reply, void *ud);
/* Cut an upload back to nothing after its digest did not match. */
void hearth_coord__reset_upload(hearth_coord *c, const hearth_contrib_row *row);

#endif /* HEARTH_COORDINATOR_COORD_IMPL_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/intake.c - uploads: begin, append, commit, abort.
 *
 * The spool file is the journal: its length is the offset.  A commit is handed
 * to a job (coord_jobs.c), which checks the bytes, makes them durable and
 * records the row; the reply follows.  A token whose commit is on its way
 * answers BUSY to everything else.
 *
 * Every request may be repeated: the same bytes get the same reply, other
 * bytes under the same token are refused.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/error.h"
#include "common/failpoint.h"
#include "common/file.h"
#include "common/hash.h"
#include "coordinator/coord_impl.h"

/* One request about one token. */
typedef struct {
    hearth_coord *c;
    hearth_reply_fn reply;
    void *ud;
    hearth_contrib_row row;
    hearth_coord_task *task; /* NULL when it is served no more */
    bool current;            /* the row's round is the task's present one */
    char path[HEARTH_COORD_PATH_CAP];
} upload;

static void refuse(upload *u, uint32_t reason, const char *message) {
    u->c->counters.commits_refused++;
    if (u->task && u->current &&
        (reason == HEARTH_REASON_FULL || reason == HEARTH_REASON_CLOSED))
        u->task->late++;
    hearth_coord__reply_error(u->c, u->reply, u->ud, reason, 0, message);
}

static void refuse_offset(upload *u, uint32_t reason, uint64_t offset) {
    hearth_coord__reply_error(u->c, u->reply, u->ud, reason, offset,
                              "go on at the offset of this reply");
}

static void refuse_closed(upload *u) {
    refuse(u, HEARTH_REASON_CLOSED,
           "the round is over; drop this delta and check in again");
}

static void refuse_status(upload *u, hearth_status st, const char *message) {
    refuse(u, hearth_coord__reason(st), message);
}

/* Find the row of a token.  False: the reply was given. */
static bool find(upload *u, hearth_coord *c, const hearth_secret *token,
                 hearth_reply_fn reply, void *ud) {
    uint8_t hash[32];
    hearth_status st;
    memset(u, 0, sizeof(*u));
    u->c = c;
    u->reply = reply;
    u->ud = ud;
    st = hearth_sha256(hash, token->bytes, sizeof(token->bytes));
    if (st == HEARTH_OK)
        st = hearth_coord_store_contrib(c->store, hash, &u->row, NULL);
    if (st == HEARTH_OK)
        st = hearth_coord__upload_path(c, u->path, sizeof(u->path), &u->row);
    if (st != HEARTH_OK) {
        refuse_status(u, st, "no such upload token; check in again");
        return false;
    }
    u->task = hearth_coord__find(c, u->row.task);
    if (u->task) {
        (void)hearth_coord__event(c, u->task, HEARTH_ROUND_EV_TICK, 0, 0, NULL);
        u->current = u->task->round_number == u->row.round;
    }
    if (hearth_coord__commit_waits(c, hash)) {
        hearth_coord__reply_error(c, reply, ud, HEARTH_REASON_BUSY, 0,
                                  "the commit of this upload is on its way");
        return false;
    }
    return true;
}

static bool round_takes(const upload *u) {
    return u->task && u->current && !u->task->must_fail &&
           u->task->round.phase == HEARTH_ROUND_OPEN &&
           u->task->round.stage == u->row.stage &&
           u->task->round.cohort[u->row.cohort].phase == HEARTH_COHORT_OPEN;
}

static hearth_status file_size(const char *path, uint64_t *n) {
    struct stat sb;
    *n = 0;
    if (stat(path, &sb) != 0)
        return errno == ENOENT ? HEARTH_ENOTFOUND : HEARTH_EIO;
    *n = (uint64_t)sb.st_size;
    return HEARTH_OK;
}

/* ---- begin ---- */

/* Do the announced numbers fit the offer?  NONE, or why not. */
static uint32_t check_begin(const upload *u, const hearth_begin_request *b) {
    const hearth_task *t = &u->task->task;
    if (b->round != u->row.round || b->cohort != u->row.cohort ||
        b->stage != u->row.stage)
        return HEARTH_REASON_ALTERED;
    if (memcmp(b->payload_digest, t->space.payload_digest, 32) != 0)
        return HEARTH_REASON_ALTERED;
    return b->length == t->payload_bytes ? HEARTH_REASON_NONE
                                         : HEARTH_REASON_TOO_BIG;
}

/* An empty spool file, then the row that says what will be in it. */
static void begin_new(upload *u, const hearth_begin_request *b) {
    hearth_coord *c = u->c;
    uint32_t no;
    uint64_t need = b->length + c->cfg.disk_reserve;
    uint64_t have = hearth_file_free_bytes(c->dir);
    int fd;

    if ((have && have < need) || HEARTH_FAILPOINT_ERROR("begin.after_file")) {
        hearth_log_write(c->cfg.log, HEARTH_LOG_ERROR, "intake",
                         "state=disk_full free=%llu hint=\"make room\"",
                         (unsigned long long)have);
        refuse(u, HEARTH_REASON_DISK, "no room for uploads now; come back");
        return;
    }
    no = hearth_coord__event(c, u->task, HEARTH_ROUND_EV_BEGIN, u->row.cohort,
                             u->row.stage, NULL);
    if (no == HEARTH_REASON_CLOSED) {
        refuse_closed(u);
        return;
    }
    if (no != HEARTH_REASON_NONE) {
        refuse(u, no, "the round has enough; check in again later");
        return;
    }
    fd = open(u->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        refuse_status(u, hearth_error_from_errno(errno),
                      "the upload can not be stored now; come back");
        return;
    }
    (void)close(fd);
    HEARTH_FAILPOINT("begin.after_file");
    u->row.state = HEARTH_CONTRIB_BEGUN;
    u->row.length = b->length;
    memcpy(u->row.sha256, b->sha256, 32);
    hearth_status st = hearth_coord_store_set_contrib(c->store, &u->row, NULL);
    if (st != HEARTH_OK) {
        refuse_status(u, st, "the upload can not be recorded now; come back");
        return;
    }
    c->counters.begins++;
    hearth_coord__reply_offset(c, u->reply, u->ud, 0);
}

/* The same upload again: go on where it was. */
static void begin_again(upload *u) {
    uint64_t size = 0;
    const hearth_coord_task *t = u->task;
    hearth_status st;
    if (!hearth_cohort_has_room(&t->round.cohort[u->row.cohort],
                                &t->task.round.stage[u->row.stage])) {
        refuse(u, HEARTH_REASON_FULL,
               "the round has enough; check in again later");
        return;
    }
    st = file_size(u->path, &size);
    if (st == HEARTH_ENOTFOUND) { /* the row was kept, the file was not */
        int fd = open(u->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        st = fd < 0 ? hearth_error_from_errno(errno) : HEARTH_OK;
        if (fd >= 0) (void)close(fd);
    }
    if (st != HEARTH_OK)
        refuse_status(u, HEARTH_EIO, "the upload can not be read; come back");
    else
        hearth_coord__reply_offset(u->c, u->reply, u->ud, size);
}

void hearth_coord__begin(hearth_coord *c, const hearth_http_request *rq,
                         const hearth_secret *token, hearth_reply_fn reply,
                         void *ud) {
    hearth_begin_request b;
    hearth_error err;
    uint32_t no;
    upload u;
    hearth_error_clear(&err);
    hearth_status st =
        hearth_decode_begin_request(&b, rq->body, rq->body_n, &err);
    if (st != HEARTH_OK) {
        hearth_coord__reply_error(c, reply, ud, hearth_coord__reason(st), 0,
                                  err.text);
        return;
    }
    if (!find(&u, c, token, reply, ud)) return;
    bool same =
        u.row.state == HEARTH_CONTRIB_INVITED ||
        (b.length == u.row.length && memcmp(b.sha256, u.row.sha256, 32) == 0);
    if (u.row.state == HEARTH_CONTRIB_ABORTED)
        refuse(&u, HEARTH_REASON_ABORTED, "this upload was given up before");
    else if (!same)
        refuse(&u, HEARTH_REASON_ALTERED,
               "this token announced other bytes before; drop this delta");
    else if (u.row.state == HEARTH_CONTRIB_COMMITTED)
        hearth_coord__reply_offset(c, reply, ud, u.row.length);
    else if (!round_takes(&u))
        refuse_closed(&u);
    else if ((no = check_begin(&u, &b)) != HEARTH_REASON_NONE)
        refuse(&u, no, "length, place or payload differ from the offer");
    else if (u.row.state == HEARTH_CONTRIB_BEGUN)
        begin_again(&u);
    else
        begin_new(&u, &b);
}

/* ---- offset and append ---- */

void hearth_coord__offset(hearth_coord *c, const hearth_secret *token,
                          hearth_reply_fn reply, void *ud) {
    uint64_t size = 0;
    upload u;
    if (!find(&u, c, token, reply, ud)) return;
    if (u.row.state == HEARTH_CONTRIB_COMMITTED) {
        hearth_coord__reply_offset(c, reply, ud, u.row.length);
    } else if (u.row.state == HEARTH_CONTRIB_ABORTED) {
        refuse(&u, HEARTH_REASON_ABORTED, "this upload was given up before");
    } else if (!round_takes(&u)) {
        refuse_closed(&u);
    } else if (u.row.state != HEARTH_CONTRIB_BEGUN) {
        refuse(&u, HEARTH_REASON_UNKNOWN, "begin this upload first");
    } else {
        if (file_size(u.path, &size) != HEARTH_OK) size = 0;
        hearth_coord__reply_offset(c, reply, ud, size);
    }
}

/* Write n bytes at offset, or nothing at all. */
static hearth_status write_at(const char *path, uint64_t offset,
                              const uint8_t *p, size_t n) {
    size_t done = 0;
    hearth_status st = HEARTH_OK;
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return hearth_error_from_errno(errno);
    while (st == HEARTH_OK && done < n) {
        ssize_t k =
            pwrite(fd, p + done, n - done, (off_t)(offset + (uint64_t)done));
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0)
            st = k < 0 ? hearth_error_from_errno(errno) : HEARTH_EIO;
        else
            done += (size_t)k;
    }
    if (HEARTH_FAILPOINT_ERROR("append.after_write")) st = HEARTH_ENOSPACE;
    if (st != HEARTH_OK && ftruncate(fd, (off_t)offset) != 0) st = HEARTH_EIO;
    (void)close(fd);
    return st;
}

static void append(upload *u, const hearth_http_request *rq) {
    uint64_t size = 0;
    hearth_status st = file_size(u->path, &size);
    if (st != HEARTH_OK && st != HEARTH_ENOTFOUND) {
        refuse_status(u, st, "the upload can not be read; come back");
        return;
    }
    if (st == HEARTH_ENOTFOUND || rq->upload_offset != size) {
        refuse_offset(u, HEARTH_REASON_OFFSET, size);
        return;
    }
    if (rq->body_n > u->row.length - size) {
        refuse(u, HEARTH_REASON_TOO_BIG,
               "more bytes than were announced; begin says how many");
        return;
    }
    st = write_at(u->path, size, rq->body, rq->body_n);
    HEARTH_FAILPOINT("append.after_write");
    if (st != HEARTH_OK) {
        refuse_status(u, st, "the upload can not be stored now; come back");
        return;
    }
    u->c->counters.appends++;
    u->c->counters.append_bytes += rq->body_n;
    hearth_coord__reply_offset(u->c, u->reply, u->ud, size + rq->body_n);
}

void hearth_coord__append(hearth_coord *c, const hearth_http_request *rq,
                          const hearth_secret *token, hearth_reply_fn reply,
                          void *ud) {
    upload u;
    if (!rq->has_upload_offset) {
        hearth_coord__reply_error(c, reply, ud, HEARTH_REASON_BAD_MESSAGE, 0,
                                  "an append needs Upload-Offset");
        return;
    }
    if (rq->body_n > HEARTH_PROTO_MAX_APPEND) {
        hearth_coord__reply_error(c, reply, ud, HEARTH_REASON_TOO_BIG, 0,
                                  "send at most 1 MiB at once");
        return;
    }
    if (!find(&u, c, token, reply, ud)) return;
    if (u.row.state == HEARTH_CONTRIB_COMMITTED)
        refuse_offset(&u, HEARTH_REASON_OFFSET, u.row.length);
    else if (u.row.state == HEARTH_CONTRIB_ABORTED)
        refuse(&u, HEARTH_REASON_ABORTED, "this upload was given up before");
    else if (!round_takes(&u))
        refuse_closed(&u);
    else if (u.row.state != HEARTH_CONTRIB_BEGUN)
        refuse(&u, HEARTH_REASON_UNKNOWN, "begin this upload first");
    else
        append(&u, rq);
}

/* ---- commit ---- */

static void enqueue(upload *u) {
    hearth_coord *c = u->c;
    hearth_coord_commit *q;
    uint32_t no;
    if (c->queue_n == HEARTH_COORD_QUEUE) {
        hearth_coord__reply_error(c, u->reply, u->ud, HEARTH_REASON_BUSY, 0,
                                  "too many commits at once; come back");
        return;
    }
    no = hearth_coord__event(c, u->task, HEARTH_ROUND_EV_COMMIT, u->row.cohort,
                             u->row.stage, NULL);
    if (no == HEARTH_REASON_FULL) {
        refuse(u, no, "the round has enough; drop this delta");
        return;
    }
    if (no != HEARTH_REASON_NONE) {
        refuse_closed(u);
        return;
    }
    q = &c->queue[(c->queue_head + c->queue_n++) % HEARTH_COORD_QUEUE];
    *q = (hearth_coord_commit){u->row, u->task, u->reply, u->ud, HEARTH_OK};
    hearth_coord__pump(c);
}

static void commit(upload *u, const hearth_commit_request *cm) {
    uint64_t size = 0;
    if (memcmp(cm->sha256, u->row.sha256, 32) != 0) {
        refuse(u, HEARTH_REASON_ALTERED,
               "the digest is not the one that was announced");
        return;
    }
    if (u->row.state == HEARTH_CONTRIB_COMMITTED) {
        u->c->counters.commits_replayed++;
        hearth_coord__reply_committed(u->c, u->task, u->reply, u->ud);
        return;
    }
    if (!round_takes(u)) {
        refuse_closed(u);
        return;
    }
    if (file_size(u->path, &size) != HEARTH_OK) size = 0;
    if (size != u->row.length)
        refuse_offset(u, HEARTH_REASON_OFFSET, size);
    else
        enqueue(u);
}

void hearth_coord__commit(hearth_coord *c, const hearth_http_request *rq,
                          const hearth_secret *token, hearth_reply_fn reply,
                          void *ud) {
    hearth_commit_request cm;
    hearth_error err;
    upload u;
    hearth_error_clear(&err);
    hearth_status st =
        hearth_decode_commit_request(&cm, rq->body, rq->body_n, &err);
    if (st != HEARTH_OK) {
        hearth_coord__reply_error(c, reply, ud, hearth_coord__reason(st), 0,
                                  err.text);
        return;
    }
    if (!find(&u, c, token, reply, ud)) return;
    if (u.row.state == HEARTH_CONTRIB_ABORTED)
        refuse(&u, HEARTH_REASON_ABORTED, "this upload was given up before");
    else if (u.row.state == HEARTH_CONTRIB_INVITED)
        refuse(&u, HEARTH_REASON_UNKNOWN, "begin this upload first");
    else
        commit(&u, &cm);
}

void hearth_coord__reset_upload(hearth_coord *c,
                                const hearth_contrib_row *row) {
    char path[HEARTH_COORD_PATH_CAP];
    if (hearth_coord__upload_path(c, path, sizeof(path), row) != HEARTH_OK)
        return;
    if (truncate(path, 0) != 0)
        hearth_log_write(c->cfg.log, HEARTH_LOG_WARN, "intake",
                         "state=not_truncated hint=\"check the spool folder\"");
}

/* ---- abort ---- */

void hearth_coord__abort(hearth_coord *c, const hearth_http_request *rq,
                         const hearth_secret *token, hearth_reply_fn reply,
                         void *ud) {
    hearth_abort_request ab;
    hearth_error err;
    upload u;
    hearth_error_clear(&err);
    hearth_status st =
        hearth_decode_abort_request(&ab, rq->body, rq->body_n, &err);
    if (st != HEARTH_OK) {
        hearth_coord__reply_error(c, reply, ud, hearth_coord__reason(st), 0,
                                  err.text);
        return;
    }
    if (!find(&u, c, token, reply, ud)) return;
    if (u.row.state == HEARTH_CONTRIB_COMMITTED) {
        refuse(&u, HEARTH_REASON_ALTERED,
               "it was accepted and can not be taken back");
        return;
    }
    if (u.row.state != HEARTH_CONTRIB_ABORTED) {
        u.row.state = HEARTH_CONTRIB_ABORTED;
        st = hearth_coord_store_set_contrib(c->store, &u.row, NULL);
        if (st == HEARTH_OK) st = hearth_file_remove(u.path, NULL);
        if (st != HEARTH_OK) {
            refuse_status(&u, st, "can not be recorded now; come back");
            return;
        }
        if (u.task && u.current)
            (void)hearth_coord__event(c, u.task, HEARTH_ROUND_EV_ABORT,
                                      u.row.cohort, u.row.stage, NULL);
        c->counters.aborts++;
        hearth_log_write(c->cfg.log, HEARTH_LOG_INFO, "intake",
                         "task=%s round=%llu state=aborted reason=%u bucket=%u",
                         u.row.task, (unsigned long long)u.row.round, ab.reason,
                         ab.bucket);
    }
    hearth_coord__reply_ack(c, reply, ud);
}

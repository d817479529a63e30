/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/coord_jobs.c - slow work, one job at a time.
 *
 * A job's `work` runs on a thread of the caller's choice and touches only
 * c->durable, c->job and the accumulators of its task; its `done` runs on the
 * owner thread.  As only one job is out, no two of them share anything.
 *
 * Order on disk, which is the whole promise:
 *   COMMIT   spool file synced, then its row, then the reply
 *   FOLD     checkpoint file renamed into place, then one transaction that
 *            makes it current and marks its contributions, then files go
 *   FIX      the round stops taking commits in the store before it is summed
 *   PUBLISH  content file, then one transaction for release and round
 *   FAIL     the round is failed in the store before its bytes go
 * A restart finds one of the states between two steps and goes on from it.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/error.h"
#include "common/failpoint.h"
#include "common/file.h"
#include "common/mem.h"
#include "coordinator/coord_impl.h"
#include "coordinator/registry.h"
#include "coordinator/server_opt.h"

bool hearth_coord__commit_waits(const hearth_coord *c,
                                const uint8_t token_hash[32]) {
    for (size_t i = 0; i < c->queue_n; i++) {
        size_t at = (c->queue_head + i) % HEARTH_COORD_QUEUE;
        if (memcmp(c->queue[at].row.token_hash, token_hash, 32) == 0)
            return true;
    }
    if (!c->job.out || c->job.kind != HEARTH_JOB_COMMIT) return false;
    for (size_t i = 0; i < c->job.n; i++)
        if (memcmp(c->job.batch[i].row.token_hash, token_hash, 32) == 0)
            return true;
    return false;
}

static hearth_upload_check check_of(const hearth_coord_task *t,
                                    const hearth_contrib_row *row) {
    return (hearth_upload_check){t->task.payload_bytes, t->task.range,
                                 row->sha256};
}

/* ---- COMMIT ---- */

static hearth_status sync_file(const char *path) {
    hearth_status st = HEARTH_OK;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return HEARTH_EIO;
    if (fsync(fd) != 0) st = HEARTH_EIO;
    if (close(fd) != 0) st = HEARTH_EIO;
    return st;
}

/* The folder of a round, and once a round the folders above it. */
static hearth_status sync_folders(hearth_coord *c, hearth_coord_task *t,
                                  uint64_t round) {
    char path[HEARTH_COORD_PATH_CAP];
    hearth_status st = hearth_coord__spool_path(c, path, sizeof(path),
                                                t->task.name, round, NULL);
    if (st == HEARTH_OK) st = hearth_file_sync_dir(path, NULL);
    for (int up = 0; st == HEARTH_OK && t->synced_round != round && up < 3;
         up++) {
        char *slash = strrchr(path, '/');
        if (!slash) break;
        *slash = '\0';
        st = hearth_file_sync_dir(path, NULL);
    }
    if (st == HEARTH_OK) t->synced_round = round;
    return st;
}

static hearth_status check_one(hearth_coord *c, hearth_coord_commit *m) {
    char path[HEARTH_COORD_PATH_CAP];
    hearth_upload_check check = check_of(m->task, &m->row);
    hearth_status st =
        hearth_coord__upload_path(c, path, sizeof(path), &m->row);
    if (st == HEARTH_OK) st = hearth_upload_verify(path, &check, NULL);
    if (st == HEARTH_OK && !c->cfg.no_sync) st = sync_file(path);
    if (st == HEARTH_OK && !c->cfg.no_sync)
        st = sync_folders(c, m->task, m->row.round);
    return st;
}

static void work_commit(hearth_coord *c) {
    hearth_coord_job *j = &c->job;
    size_t good = 0;
    HEARTH_FAILPOINT("commit.before_sync");
    for (size_t i = 0; i < j->n; i++) {
        j->batch[i].st = check_one(c, &j->batch[i]);
        if (j->batch[i].st == HEARTH_OK) j->rows[good++] = j->batch[i].row;
    }
    HEARTH_FAILPOINT("commit.before_row");
    if (good)
        j->st = hearth_coord_store_commit(c->durable, j->rows, good, &j->err);
    HEARTH_FAILPOINT("commit.after_row");
}

/* Give a place back that was held for a commit. */
static void give_up(hearth_coord *c, hearth_coord_commit *m) {
    (void)hearth_coord__event(c, m->task, HEARTH_ROUND_EV_UNCOMMIT,
                              m->row.cohort, m->row.stage, NULL);
    c->counters.commits_refused++;
    m->task->refused++;
}

static void refuse_range(hearth_coord *c, hearth_coord_commit *m) {
    char path[HEARTH_COORD_PATH_CAP];
    m->row.state = HEARTH_CONTRIB_ABORTED;
    hearth_status st = hearth_coord_store_set_contrib(c->store, &m->row, NULL);
    if (st == HEARTH_OK &&
        hearth_coord__upload_path(c, path, sizeof(path), &m->row) == HEARTH_OK)
        st = hearth_file_remove(path, NULL);
    (void)hearth_coord__event(c, m->task, HEARTH_ROUND_EV_ABORT, m->row.cohort,
                              m->row.stage, NULL);
    hearth_log_write(c->cfg.log, HEARTH_LOG_WARN, "intake",
                     "task=%s round=%llu state=out_of_range status=%s "
                     "hint=\"a device sends what no honest one sends\"",
                     m->row.task, (unsigned long long)m->row.round,
                     hearth_status_name(st));
    hearth_coord__reply_error(c, m->reply, m->ud, HEARTH_REASON_RANGE, 0,
                              "a coordinate is out of range");
}

static void done_one(hearth_coord *c, hearth_coord_commit *m) {
    if (m->st == HEARTH_OK) m->st = c->job.st;
    if (m->st == HEARTH_OK) {
        m->task->unfolded[m->row.cohort]++;
        (void)hearth_coord__event(c, m->task, HEARTH_ROUND_EV_COMMITTED,
                                  m->row.cohort, m->row.stage, NULL);
        c->counters.commits_accepted++;
        hearth_coord__reply_committed(c, m->task, m->reply, m->ud);
        return;
    }
    give_up(c, m);
    if (m->st == HEARTH_ETOOBIG) {
        refuse_range(c, m);
    } else if (m->st == HEARTH_EDIGEST) {
        hearth_coord__reset_upload(c, &m->row);
        hearth_coord__reply_error(c, m->reply, m->ud, HEARTH_REASON_DIGEST, 0,
                                  "the bytes are not those announced; send "
                                  "them again from the start");
    } else {
        hearth_coord__reply_error(c, m->reply, m->ud,
                                  hearth_coord__reason(m->st), 0,
                                  "the upload can not be recorded now; come "
                                  "back");
    }
}

static void done_commit(hearth_coord *c) {
    for (size_t i = 0; i < c->job.n; i++) done_one(c, &c->job.batch[i]);
}

/* ---- FOLD ---- */

/* The accumulator of a cohort as its newest checkpoint has it. */
static hearth_status load_acc(hearth_coord *c, hearth_coord_task *t, uint32_t k,
                              hearth_error *err) {
    hearth_accumulator *a = &t->acc[k];
    char path[HEARTH_COORD_PATH_CAP];
    uint64_t number = 0;
    hearth_status st;
    if (a->sum) return HEARTH_OK;
    st = hearth_accumulator_init(a, (size_t)(t->task.payload_bytes / 4),
                                 &c->alloc);
    if (st == HEARTH_OK)
        st = hearth_coord_store_checkpoint(c->durable, t->task.name,
                                           t->round_number, k, &number, err);
    if (st == HEARTH_OK && number) {
        st = hearth_coord__acc_path(c, path, sizeof(path), t, k, number);
        if (st == HEARTH_OK) st = hearth_accumulator_load(a, path, err);
        if (st == HEARTH_OK && a->number != number)
            st =
                hearth_error_set(err, HEARTH_EFORMAT,
                                 "%s: not the checkpoint it is named as", path);
    }
    if (st != HEARTH_OK) hearth_accumulator_free(a);
    return st;
}

static hearth_status fold_rows(hearth_coord *c, hearth_accumulator *a) {
    hearth_coord_job *j = &c->job;
    char path[HEARTH_COORD_PATH_CAP];
    for (size_t i = 0; i < j->n; i++) {
        hearth_upload_check check = check_of(j->task, &j->rows[i]);
        hearth_status st =
            hearth_coord__upload_path(c, path, sizeof(path), &j->rows[i]);
        if (st == HEARTH_OK)
            st = hearth_accumulator_add(a, path, &check, &j->err);
        if (st != HEARTH_OK) return st;
    }
    return HEARTH_OK;
}

/* Make the sum the newest checkpoint and drop what it replaces. */
static hearth_status checkpoint(hearth_coord *c, hearth_accumulator *a) {
    hearth_coord_job *j = &c->job;
    char path[HEARTH_COORD_PATH_CAP];
    hearth_status st;
    a->number++;
    st = hearth_coord__acc_path(c, path, sizeof(path), j->task, j->cohort,
                                a->number);
    if (st == HEARTH_OK) st = hearth_accumulator_save(a, path, &j->err);
    HEARTH_FAILPOINT("fold.after_file");
    if (st == HEARTH_OK)
        st = hearth_coord_store_set_checkpoint(
            c->durable, j->task->task.name, j->task->round_number, j->cohort,
            a->number, j->rows, j->n, &j->err);
    HEARTH_FAILPOINT("fold.after_row");
    if (st != HEARTH_OK) return st;
    for (size_t i = 0; i < j->n; i++)
        if (hearth_coord__upload_path(c, path, sizeof(path), &j->rows[i]) ==
            HEARTH_OK)
            (void)unlink(path); /* a leftover is removed at the next start */
    if (a->number > 1 &&
        hearth_coord__acc_path(c, path, sizeof(path), j->task, j->cohort,
                               a->number - 1) == HEARTH_OK)
        (void)unlink(path);
    HEARTH_FAILPOINT("fold.after_delete");
    return HEARTH_OK;
}

static void work_fold(hearth_coord *c) {
    hearth_coord_job *j = &c->job;
    hearth_coord_task *t = j->task;
    hearth_accumulator *a = &t->acc[j->cohort];
    j->st = load_acc(c, t, j->cohort, &j->err);
    if (j->st == HEARTH_OK)
        j->st = hearth_coord_store_committed(
            c->durable, t->task.name, t->round_number, j->cohort, false, NULL,
            j->rows, c->cfg.checkpoint_every, &j->n, &j->err);
    if (j->st == HEARTH_OK && j->n) {
        j->st = fold_rows(c, a);
        if (j->st == HEARTH_OK) j->st = checkpoint(c, a);
        /* What is in memory may be ahead of the store now: read it again. */
        if (j->st != HEARTH_OK) hearth_accumulator_free(a);
    }
}

/* ---- FIX, PUBLISH, FAIL ---- */

static hearth_status count_committed(hearth_coord *c, hearth_coord_task *t,
                                     uint32_t *n, hearth_error *err) {
    *n = 0;
    for (uint32_t k = 0; k < t->task.round.n_cohorts; k++) {
        uint32_t by_state[5];
        hearth_status st = hearth_coord_store_count(
            c->durable, t->task.name, t->round_number, k, by_state, err);
        if (st != HEARTH_OK) return st;
        *n += by_state[HEARTH_CONTRIB_COMMITTED];
    }
    return HEARTH_OK;
}

static void work_fix(hearth_coord *c) {
    hearth_coord_job *j = &c->job;
    uint32_t n;
    HEARTH_FAILPOINT("fix.before_row");
    j->st = count_committed(c, j->task, &n, &j->err);
    if (j->st == HEARTH_OK)
        j->st = hearth_coord_store_fix_round(c->durable, j->task->task.name,
                                             j->task->round_number, n, &j->err);
    HEARTH_FAILPOINT("fix.after_row");
}

/* Remove the bytes of a closed round, old rows, and what the log of the store
 * still holds of its key. */
static void drop_round(hearth_coord *c, hearth_coord_task *t) {
    char path[HEARTH_COORD_PATH_CAP];
    uint64_t round = t->round_number;
    hearth_status st = hearth_coord__spool_path(c, path, sizeof(path),
                                                t->task.name, round, NULL);
    if (st == HEARTH_OK) st = hearth_file_remove_tree(path, NULL);
    if (st == HEARTH_OK && round > HEARTH_COORD_KEEP_ROUNDS)
        st = hearth_coord_store_prune(c->durable, t->task.name,
                                      round - HEARTH_COORD_KEEP_ROUNDS, NULL);
    if (st == HEARTH_OK) st = hearth_coord_store_tidy(c->durable, NULL);
    if (st != HEARTH_OK) /* tried again at the next start */
        hearth_log_write(c->cfg.log, HEARTH_LOG_WARN, "round",
                         "task=%s round=%llu state=not_cleaned status=%s "
                         "hint=\"check the disk\"",
                         t->task.name, (unsigned long long)round,
                         hearth_status_name(st));
}

/* Did a transaction that seemed to fail reach the disk after all?  Then the
 * round is closed already, and trying again would find it so for ever. */
static bool closed_as(hearth_coord *c, const hearth_coord_task *t,
                      uint32_t phase) {
    hearth_round_row row;
    return hearth_coord_store_last_round(c->durable, t->task.name, &row,
                                         NULL) == HEARTH_OK &&
           row.round == t->round_number && row.phase == phase;
}

static void work_fail(hearth_coord *c) {
    hearth_coord_job *j = &c->job;
    HEARTH_FAILPOINT("fail.before_row");
    j->st = hearth_coord_store_fail_round(c->durable, j->task->task.name,
                                          j->task->round_number, j->wall_ms,
                                          &j->err);
    HEARTH_FAILPOINT("fail.after_row");
    if (j->st == HEARTH_ESTATE && closed_as(c, j->task, HEARTH_ROUND_FAILED))
        j->st = HEARTH_OK;
    if (j->st == HEARTH_OK) drop_round(c, j->task);
}

/* The sum over cohorts: that of the only one, or a new one in *own. */
static hearth_status whole_sum(hearth_coord *c, hearth_coord_task *t,
                               hearth_accumulator *own,
                               const hearth_accumulator **sum,
                               hearth_error *err) {
    hearth_status st = HEARTH_OK;
    for (uint32_t k = 0; st == HEARTH_OK && k < t->task.round.n_cohorts; k++)
        st = load_acc(c, t, k, err);
    *sum = &t->acc[0];
    if (st != HEARTH_OK || t->task.round.n_cohorts == 1) return st;
    st = hearth_accumulator_init(own, t->acc[0].n, &c->alloc);
    for (uint32_t k = 0; st == HEARTH_OK && k < t->task.round.n_cohorts; k++)
        st = hearth_accumulator_merge(own, &t->acc[k]);
    *sum = own;
    return st;
}

/* Every acknowledged contribution is in the sum, and the release it started
 * from is still the newest: else nothing may be published. */
static hearth_status check_publish(hearth_coord *c, hearth_coord_task *t,
                                   const hearth_accumulator *sum,
                                   hearth_release_row *newest,
                                   hearth_buf *optimizer, hearth_error *err) {
    uint32_t n = 0;
    hearth_status st = count_committed(c, t, &n, err);
    if (st == HEARTH_OK)
        st = hearth_coord_store_release(c->durable, t->task.name, 0, newest,
                                        NULL, optimizer, err);
    if (st == HEARTH_OK && sum->counted != n)
        st =
            hearth_error_set(err, HEARTH_EFORMAT,
                             "round %llu of '%s': the sum holds another "
                             "number of contributions than were accepted",
                             (unsigned long long)t->round_number, t->task.name);
    if (st == HEARTH_OK && newest->sequence != t->start_sequence)
        st =
            hearth_error_set(err, HEARTH_EREPLAY,
                             "round %llu of '%s' started from a release that "
                             "was rolled back",
                             (unsigned long long)t->round_number, t->task.name);
    return st;
}

static hearth_status step(hearth_coord *c, hearth_coord_task *t,
                          const hearth_accumulator *sum,
                          const hearth_release_row *newest,
                          hearth_server_opt *opt, uint8_t sha256[32],
                          hearth_error *err) {
    size_t d = (size_t)t->task.privacy.d;
    float *v = hearth_mem_array(&c->alloc, d, sizeof(*v));
    hearth_status st = v ? HEARTH_OK : HEARTH_ENOMEM;
    if (st == HEARTH_OK)
        st = hearth_registry_get_content(c->dir, newest->content_sha256, v, d,
                                         err);
    if (st == HEARTH_OK)
        st = hearth_server_opt_step(
            opt, v, v, sum->sum, d, (uint32_t)sum->counted,
            t->task.privacy.scale_exp, t->task.server_lr);
    if (st == HEARTH_OK)
        st = hearth_registry_put_content(c->dir, v, d, sha256, err);
    hearth_mem_free(&c->alloc, v);
    return st;
}

/* The clip of the next round, from the bits of this one. */
static void next_clip(const hearth_task *t, const hearth_accumulator *sum,
                      hearth_server_opt *opt) {
    if (!t->adapt.on) return;
    opt->clip = t->privacy.n_coords == 0
                    ? t->privacy.clip
                    : hearth_adapt_clip_next(
                          &t->adapt, t->privacy.clip, sum->sum[t->privacy.d],
                          t->privacy.coord_max[0], (uint32_t)sum->counted);
}

static hearth_status publish(hearth_coord *c, hearth_coord_task *t,
                             const hearth_accumulator *sum, hearth_error *err) {
    hearth_buf old = HEARTH_BUF_INIT(&c->alloc);
    uint8_t opt_bytes[HEARTH_SERVER_OPT_BYTES];
    hearth_registry_entry e;
    hearth_publication p;
    hearth_release_row newest;
    hearth_server_opt opt;
    hearth_status st;

    memset(&e, 0, sizeof(e));
    memset(&p, 0, sizeof(p));
    st = check_publish(c, t, sum, &newest, &old, err);
    if (st == HEARTH_OK) st = hearth_server_opt_load(&opt, old.v, old.n);
    hearth_buf_free(&old);
    if (st == HEARTH_OK)
        st = step(c, t, sum, &newest, &opt, e.content_sha256, err);
    if (st != HEARTH_OK) return st;
    next_clip(&t->task, sum, &opt);
    e.task = &t->task;
    e.parent = newest.sequence;
    e.sequence = newest.sequence + 1;
    e.round = p.close_round = t->round_number;
    e.rounds = (uint32_t)t->released + 1;
    e.devices = (uint32_t)sum->counted;
    e.created_ms = c->job.wall_ms;
    e.ttl_ms = c->cfg.release_ttl_ms;
    e.not_private = c->cfg.not_private;
    p.optimizer = opt_bytes;
    p.optimizer_n = hearth_server_opt_save(&opt, opt_bytes);
    p.done = e.rounds >= t->task.rounds;
    st = hearth_registry_publish(c->durable, c->cfg.release_key, &e, &p,
                                 &c->alloc, err);
    if (st == HEARTH_OK) c->job.published = p.row;
    return st;
}

static void work_publish(hearth_coord *c) {
    hearth_coord_job *j = &c->job;
    const hearth_accumulator *sum = NULL;
    hearth_accumulator own;
    memset(&own, 0, sizeof(own));
    if (closed_as(c, j->task, HEARTH_ROUND_RELEASED)) {
        j->st = hearth_coord_store_release(c->durable, j->task->task.name, 0,
                                           &j->published, NULL, NULL, &j->err);
    } else {
        j->st = whole_sum(c, j->task, &own, &sum, &j->err);
        if (j->st == HEARTH_OK) j->st = publish(c, j->task, sum, &j->err);
    }
    if (j->st == HEARTH_OK) drop_round(c, j->task);
    HEARTH_FAILPOINT("publish.after_delete");
    hearth_accumulator_free(&own);
}

/* ---- what comes of them ---- */

/* A failure of the system is tried again; any other means that the round can
 * not be released with everything that was acknowledged: it fails. */
static void job_failed(hearth_coord *c, hearth_coord_job *j) {
    bool retry = hearth_status_class(j->st) == HEARTH_FAULT_SYSTEM;
    hearth_log_write(
        c->cfg.log, HEARTH_LOG_ERROR, "round",
        "task=%s round=%llu status=%s next=%s what=\"%s\"", j->task->task.name,
        (unsigned long long)j->task->round_number, hearth_status_name(j->st),
        retry ? "retry" : "fail", j->err.text);
    if (retry || j->kind == HEARTH_JOB_FAIL)
        c->job_not_before_ms = hearth_coord__now(c) + HEARTH_COORD_RETRY_JOB_MS;
    else
        (void)hearth_coord__event(c, j->task, HEARTH_ROUND_EV_FAIL, 0, 0, NULL);
}

static void done_fold(hearth_coord *c, hearth_coord_job *j) {
    uint32_t *left = &j->task->unfolded[j->cohort];
    if (j->n < c->cfg.checkpoint_every || *left < j->n)
        *left = 0;
    else
        *left -= (uint32_t)j->n;
    c->counters.checkpoints++;
}

static void done_publish(hearth_coord *c, hearth_coord_job *j) {
    hearth_coord_task *t = j->task;
    (void)hearth_coord__event(c, t, HEARTH_ROUND_EV_RELEASE, 0, 0, NULL);
    hearth_coord__close_round(t);
    t->newest = j->published;
    t->released++;
    if (t->released >= t->task.rounds) t->row.state = HEARTH_TASK_DONE;
    c->counters.rounds_released++;
    hearth_log_write(c->cfg.log, HEARTH_LOG_INFO, "round",
                     "task=%s round=%llu state=released sequence=%llu",
                     t->task.name, (unsigned long long)t->round_number,
                     (unsigned long long)t->newest.sequence);
}

static void done_fail(hearth_coord *c, hearth_coord_job *j) {
    hearth_coord__close_round(j->task);
    j->task->failed++;
    c->counters.rounds_failed++;
    hearth_log_write(c->cfg.log, HEARTH_LOG_WARN, "round",
                     "task=%s round=%llu state=failed hint=\"nothing of it was "
                     "counted\"",
                     j->task->task.name,
                     (unsigned long long)j->task->round_number);
}

static void job_work(void *arg) {
    hearth_coord *c = arg;
    switch (c->job.kind) {
    case HEARTH_JOB_COMMIT: work_commit(c); break;
    case HEARTH_JOB_FIX: work_fix(c); break;
    case HEARTH_JOB_FOLD: work_fold(c); break;
    case HEARTH_JOB_PUBLISH: work_publish(c); break;
    case HEARTH_JOB_FAIL: work_fail(c); break;
    case HEARTH_JOB_NONE: break;
    }
}

static void job_done(void *arg) {
    hearth_coord *c = arg;
    hearth_coord_job *j = &c->job;
    c->counters.jobs++;
    if (j->kind == HEARTH_JOB_COMMIT)
        done_commit(c);
    else if (j->st != HEARTH_OK)
        job_failed(c, j);
    else if (j->kind == HEARTH_JOB_FIX)
        j->task->fixed = true;
    else if (j->kind == HEARTH_JOB_FOLD)
        done_fold(c, j);
    else if (j->kind == HEARTH_JOB_PUBLISH)
        done_publish(c, j);
    else if (j->kind == HEARTH_JOB_FAIL)
        done_fail(c, j);
    j->kind = HEARTH_JOB_NONE;
    j->out = false;
    hearth_coord__pump(c);
}

/* ---- which one is next ---- */

static void take_commits(hearth_coord *c) {
    hearth_coord_job *j = &c->job;
    j->n = 0;
    while (c->queue_n && j->n < HEARTH_COORD_BATCH) {
        hearth_coord_commit m = c->queue[c->queue_head];
        c->queue_head = (c->queue_head + 1) % HEARTH_COORD_QUEUE;
        c->queue_n--;
        if (m.task->must_fail || m.task->round.phase != HEARTH_ROUND_OPEN ||
            m.task->round_number != m.row.round)
            hearth_coord__reply_error(c, m.reply, m.ud, HEARTH_REASON_CLOSED, 0,
                                      "the round is over; drop this delta");
        else
            j->batch[j->n++] = m;
    }
}

static hearth_job_kind next_of_task(hearth_coord *c, hearth_coord_task *t,
                                    uint32_t *cohort) {
    if (t->must_fail) return HEARTH_JOB_FAIL;
    if (t->round.phase != HEARTH_ROUND_OPEN &&
        t->round.phase != HEARTH_ROUND_FIXING)
        return HEARTH_JOB_NONE;
    if (t->round.phase == HEARTH_ROUND_FIXING && !t->fixed)
        return HEARTH_JOB_FIX;
    for (uint32_t k = 0; k < t->task.round.n_cohorts; k++) {
        if (t->unfolded[k] == 0) continue;
        if (!t->fixed && t->unfolded[k] < c->cfg.checkpoint_every) continue;
        *cohort = k;
        return HEARTH_JOB_FOLD;
    }
    return t->fixed ? HEARTH_JOB_PUBLISH : HEARTH_JOB_NONE;
}

static bool pick_commits(hearth_coord *c) {
    hearth_coord_job *j = &c->job;
    while (c->queue_n) {
        take_commits(c);
        if (j->n == 0) continue;
        j->kind = HEARTH_JOB_COMMIT;
        return true;
    }
    return false;
}

static bool pick_of_tasks(hearth_coord *c) {
    hearth_coord_job *j = &c->job;
    if (j->now_ms < c->job_not_before_ms) return false;
    for (size_t i = 0; i < c->n_tasks; i++) {
        j->kind = next_of_task(c, c->task[i], &j->cohort);
        j->task = c->task[i];
        if (j->kind != HEARTH_JOB_NONE) return true;
    }
    return false;
}

/* Commits and the rest take turns: devices wait for commits, but a task with
 * many of them must not hold off the rounds of another. */
static bool pick(hearth_coord *c) {
    hearth_coord_job *j = &c->job;
    j->kind = HEARTH_JOB_NONE;
    j->st = HEARTH_OK;
    j->n = 0;
    hearth_error_clear(&j->err);
    j->now_ms = hearth_coord__now(c);
    j->wall_ms = hearth_clock_wall(&c->cfg.clock);
    bool commits = !c->commit_last;
    for (int turn = 0; turn < 2; turn++, commits = !commits)
        if (commits ? pick_commits(c) : pick_of_tasks(c)) {
            c->commit_last = commits;
            return true;
        }
    return false;
}

void hearth_coord__pump(hearth_coord *c) {
    if (c->pumping) return;
    c->pumping = true;
    while (!c->job.out && pick(c)) {
        c->job.out = true;
        c->cfg.io.submit(c->cfg.io.ud, job_work, job_done, c);
    }
    c->pumping = false;
}

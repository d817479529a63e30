/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/coord_tasks.c - the tasks being served, and their open rounds.
 *
 * What is in memory can always be made again from the store: a task is read
 * back with its newest round, and the counts of that round are those of its
 * rows.
 */
#include <string.h>

#include "common/bytes.h"
#include "common/failpoint.h"
#include "common/file.h"
#include "common/mem.h"
#include "coordinator/coord_impl.h"
#include "coordinator/registry.h"

hearth_coord_task *hearth_coord__find(hearth_coord *c, const char *task) {
    for (size_t i = 0; i < c->n_tasks; i++)
        if (strcmp(c->task[i]->task.name, task) == 0) return c->task[i];
    return NULL;
}

void hearth_coord__close_round(hearth_coord_task *t) {
    for (uint32_t k = 0; k < HEARTH_ROUND_MAX_COHORTS; k++)
        hearth_accumulator_free(&t->acc[k]);
    hearth_secret_wipe(&t->round_key);
    memset(t->unfolded, 0, sizeof(t->unfolded));
    t->must_fail = t->fixed = false;
}

static void free_task(hearth_coord *c, hearth_coord_task *t) {
    if (!t) return;
    hearth_coord__close_round(t);
    hearth_zeroize(t, sizeof(*t)); /* the spacing key */
    hearth_mem_free(&c->alloc, t);
}

void hearth_coord__free_tasks(hearth_coord *c) {
    for (size_t i = 0; i < c->n_tasks; i++) free_task(c, c->task[i]);
    c->n_tasks = 0;
}

uint32_t hearth_coord__event(hearth_coord *c, hearth_coord_task *t,
                             uint32_t kind, uint32_t cohort, uint32_t stage,
                             hearth_round_actions *act) {
    hearth_round_actions ours;
    hearth_round_event ev = {.kind = kind, .cohort = cohort, .stage = stage};
    if (!act) act = &ours;
    ev.now_ms = (uint64_t)hearth_coord__now(c);
    t->round = hearth_round_step(&t->task.round, t->round, &ev, act);
    if (act->fail) t->must_fail = true;
    if (act->fail && kind != HEARTH_ROUND_EV_FAIL) /* whoever sent it knows */
        hearth_log_write(c->cfg.log, HEARTH_LOG_WARN, "round",
                         "task=%s round=%llu state=failing hint=\"too few "
                         "devices committed before the stage ended\"",
                         t->task.name, (unsigned long long)t->round_number);
    return act->refuse;
}

/* ---- rounds ---- */

static hearth_status make_spool(const hearth_coord *c,
                                const hearth_coord_task *t, uint64_t round,
                                hearth_error *err) {
    char path[HEARTH_COORD_PATH_CAP];
    hearth_status st = hearth_coord__spool_path(c, path, sizeof(path),
                                                t->task.name, round, NULL);
    return st == HEARTH_OK ? hearth_file_mkdirs(path, err) : st;
}

hearth_status hearth_coord__open_round(hearth_coord *c, hearth_coord_task *t,
                                       hearth_error *err) {
    hearth_round_row row;
    hearth_round next;
    hearth_secret key;
    hearth_status st;

    if (t->round.phase == HEARTH_ROUND_OPEN ||
        t->round.phase == HEARTH_ROUND_FIXING || t->must_fail ||
        t->row.state != HEARTH_TASK_ACTIVE || t->released >= t->task.rounds ||
        !c->cfg.release_key)
        return HEARTH_ESTATE;
    memset(&next, 0, sizeof(next));
    memset(&row, 0, sizeof(row));
    hearth_round_event ev = {.kind = HEARTH_ROUND_EV_OPEN,
                             .now_ms = (uint64_t)hearth_coord__now(c)};
    next = hearth_round_step(&t->task.round, next, &ev, NULL);
    memcpy(row.task, t->task.name, sizeof(row.task));
    /* Never a number that a device may know: after a restored backup the
     * sequence, raised by hand above what was lost, says where to go on. */
    row.round = t->round_number + 1;
    if (row.round < t->newest.sequence) row.round = t->newest.sequence;
    row.phase = HEARTH_ROUND_OPEN;
    row.opened_ms = (int64_t)next.opened_ms;
    row.stage_opened_ms = (int64_t)next.stage_opened_ms;
    row.start_sequence = t->newest.sequence;
    st = hearth_registry_task_state(c->store, &t->task, row.start_sequence,
                                    &c->alloc, err);
    if (st == HEARTH_OK)
        st = hearth_rng_bytes(c->cfg.rng, key.bytes, sizeof(key.bytes));
    if (st == HEARTH_OK) st = make_spool(c, t, row.round, err);
    if (st == HEARTH_OK)
        st = hearth_coord_store_open_round(c->store, &row, &key, err);
    if (st != HEARTH_OK) {
        hearth_secret_wipe(&key);
        return st;
    }
    HEARTH_FAILPOINT("round.after_open");

    hearth_coord__close_round(t);
    t->round = next;
    t->round_number = row.round;
    t->start_sequence = row.start_sequence;
    t->late = t->refused = 0;
    t->round_key = key;
    hearth_secret_wipe(&key);
    hearth_log_write(c->cfg.log, HEARTH_LOG_INFO, "round",
                     "task=%s round=%llu state=open", t->task.name,
                     (unsigned long long)t->round_number);
    return HEARTH_OK;
}

/* ---- from the store ---- */

static hearth_status load_counts(hearth_coord *c, hearth_coord_task *t,
                                 hearth_error *err) {
    for (uint32_t k = 0; k < t->task.round.n_cohorts; k++) {
        uint32_t n[5];
        hearth_cohort *h = &t->round.cohort[k];
        hearth_status st = hearth_coord_store_count(c->store, t->task.name,
                                                    t->round_number, k, n, err);
        if (st != HEARTH_OK) return st;
        *h = hearth_cohort_start();
        h->committed = n[HEARTH_CONTRIB_COMMITTED];
        h->begun = n[HEARTH_CONTRIB_BEGUN] + h->committed;
        h->invited = n[HEARTH_CONTRIB_INVITED] + h->begun;
        h->aborted = n[HEARTH_CONTRIB_ABORTED];
        if (t->round.phase == HEARTH_ROUND_FIXING)
            h->phase = HEARTH_COHORT_FIXED;
        t->unfolded[k] = h->committed; /* at most: folding finds out */
    }
    return HEARTH_OK;
}

static hearth_status load_round(hearth_coord *c, hearth_coord_task *t,
                                hearth_error *err) {
    hearth_round_row row;
    hearth_status st =
        hearth_coord_store_last_round(c->store, t->task.name, &row, err);
    if (st == HEARTH_ENOTFOUND) return HEARTH_OK;
    if (st != HEARTH_OK) return st;
    t->round_number = row.round;
    t->start_sequence = row.start_sequence;
    t->round.phase = row.phase;
    t->round.stage = row.stage;
    t->round.opened_ms = (uint64_t)row.opened_ms;
    t->round.stage_opened_ms = (uint64_t)row.stage_opened_ms;
    /* A clock that was set back meanwhile: the stage starts once more, instead
     * of standing still until the clock is where it was. */
    uint64_t now = (uint64_t)hearth_coord__now(c);
    if (t->round.opened_ms > now) t->round.opened_ms = now;
    if (t->round.stage_opened_ms > now) t->round.stage_opened_ms = now;
    t->round.now_ms = t->round.stage_opened_ms;
    t->fixed = row.phase == HEARTH_ROUND_FIXING;
    if (row.has_key)
        st = hearth_coord_store_round_key(c->store, t->task.name, row.round,
                                          &t->round_key, err);
    /* The terms of the round are those of the release it started from. */
    if (st == HEARTH_OK)
        st = hearth_registry_task_state(c->store, &t->task, row.start_sequence,
                                        &c->alloc, err);
    if (st == HEARTH_OK &&
        (row.phase == HEARTH_ROUND_OPEN || row.phase == HEARTH_ROUND_FIXING))
        st = make_spool(c, t, row.round, err);
    return st == HEARTH_OK ? load_counts(c, t, err) : st;
}

static hearth_status refresh(hearth_coord *c, hearth_coord_task *t,
                             hearth_error *err) {
    const char *name = t->task.name;
    hearth_status st = hearth_coord_store_release(c->store, name, 0, &t->newest,
                                                  NULL, NULL, err);
    if (st == HEARTH_OK)
        st = hearth_coord_store_count_rounds(
            c->store, name, HEARTH_ROUND_RELEASED, &t->released, err);
    if (st == HEARTH_OK)
        st = hearth_coord_store_count_rounds(
            c->store, name, HEARTH_ROUND_FAILED, &t->failed, err);
    return st;
}

/* A round whose release is no longer the newest (a rollback, a re-signing, a
 * restored backup) can not be published, and devices that hold the newest turn
 * it down: without this it would stand open, for nobody, until its time is up.
 */
static void fail_if_outdated(hearth_coord *c, hearth_coord_task *t) {
    if (t->round.phase != HEARTH_ROUND_OPEN &&
        t->round.phase != HEARTH_ROUND_FIXING)
        return;
    if (t->newest.sequence == t->start_sequence) return;
    hearth_log_write(c->cfg.log, HEARTH_LOG_WARN, "round",
                     "task=%s round=%llu state=failing hint=\"release %llu, "
                     "which it started from, is not the newest any more\"",
                     t->task.name, (unsigned long long)t->round_number,
                     (unsigned long long)t->start_sequence);
    (void)hearth_coord__event(c, t, HEARTH_ROUND_EV_FAIL, 0, 0, NULL);
}

static hearth_status load_task(hearth_coord *c, const hearth_task_row *row,
                               hearth_error *err) {
    hearth_buf ini = HEARTH_BUF_INIT(&c->alloc);
    hearth_coord_task *t = hearth_mem_new(&c->alloc, sizeof(*t));
    hearth_status st = t ? HEARTH_OK : HEARTH_ENOMEM;
    if (st == HEARTH_OK)
        st = hearth_coord_store_task(c->store, row->name, &t->row, &ini, err);
    if (st == HEARTH_OK)
        st = hearth_coord_store_cooldown_key(c->store, row->name,
                                             &t->cooldown_key, err);
    if (st == HEARTH_OK)
        st = hearth_task_parse(&t->task, row->name, hearth_buf_str(&ini), ini.n,
                               row->a_seed, &c->alloc, err);
    if (st == HEARTH_OK) st = refresh(c, t, err);
    if (st == HEARTH_OK) st = load_round(c, t, err);
    if (st == HEARTH_OK) {
        fail_if_outdated(c, t);
        c->task[c->n_tasks++] = t;
    } else {
        free_task(c, t);
    }
    hearth_buf_free(&ini);
    return st;
}

typedef struct {
    hearth_coord *c;
    hearth_error *err;
} walk;

static hearth_status each_task(void *ud, const hearth_task_row *row) {
    walk *w = ud;
    hearth_coord_task *t = hearth_coord__find(w->c, row->name);
    if (t) {
        hearth_status st = refresh(w->c, t, w->err);
        t->row.state = row->state;
        if (st == HEARTH_OK) fail_if_outdated(w->c, t);
        return st;
    }
    if (w->c->n_tasks == HEARTH_PROTO_MAX_TASKS) {
        hearth_log_write(w->c->cfg.log, HEARTH_LOG_ERROR, "task",
                         "task=%s state=ignored hint=\"one coordinator serves "
                         "%u tasks at most\"",
                         row->name, HEARTH_PROTO_MAX_TASKS);
        return HEARTH_OK;
    }
    return load_task(w->c, row, w->err);
}

hearth_status hearth_coord__reload(hearth_coord *c, hearth_error *err) {
    walk w = {c, err};
    int64_t v = 0;
    hearth_status st = hearth_coord_store_version(c->store, &v, err);
    if (st != HEARTH_OK) return st;
    if (c->data_version == v && c->last_reload_ms) return HEARTH_OK;
    st = hearth_coord_store_tasks(c->store, each_task, &w, err);
    if (st == HEARTH_OK) {
        c->data_version = v;
        c->last_reload_ms = hearth_coord__now(c);
    }
    return st;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/coordinator.c - open, recover, dispatch, tick, close. */
#include "coordinator/coordinator.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/error.h"
#include "common/failpoint.h"
#include "common/file.h"
#include "common/mem.h"
#include "coordinator/coord_impl.h"
#include "coordinator/registry.h"
#include "coordinator/routes.h"
#include "coordinator/task_derive.h"

#define TICK_MIN_MS   10
#define TICK_MAX_MS   1000
#define MINUTE        60000u
#define DISK_RESERVE  ((uint64_t)64 << 20)
#define RELOAD_MS     1000
#define DATABASE_FILE "coordinator.db"

int64_t hearth_coord__now(const hearth_coord *c) {
    int64_t passed = hearth_clock_mono(&c->cfg.clock) - c->base_mono_ms;
    int64_t now = c->base_wall_ms + (passed > 0 ? passed : 0);
    return now > 0 ? now : 0;
}

/* ---- paths ---- */

static hearth_status fits(int n, size_t cap) {
    return n > 0 && (size_t)n < cap ? HEARTH_OK : HEARTH_ETOOBIG;
}

hearth_status hearth_coord_db_path(char *out, size_t cap, const char *dir) {
    return hearth_file_join(out, cap, dir, DATABASE_FILE);
}

hearth_status hearth_coord__spool_path(const hearth_coord *c, char *out,
                                       size_t cap, const char *task,
                                       uint64_t round, const char *name) {
    return fits(snprintf(out, cap, "%s/spool/%s/%" PRIu64 "%s%s", c->dir, task,
                         round, name ? "/" : "", name ? name : ""),
                cap);
}

hearth_status hearth_coord__upload_path(const hearth_coord *c, char *out,
                                        size_t cap,
                                        const hearth_contrib_row *row) {
    char name[72];
    hearth_hex_encode(name, row->token_hash, 32);
    memcpy(name + 64, ".up", 4);
    return hearth_coord__spool_path(c, out, cap, row->task, row->round, name);
}

hearth_status hearth_coord__acc_path(const hearth_coord *c, char *out,
                                     size_t cap, const hearth_coord_task *t,
                                     uint32_t cohort, uint64_t number) {
    char name[64];
    (void)snprintf(name, sizeof(name), "acc.%" PRIu32 ".%" PRIu64, cohort,
                   number);
    return hearth_coord__spool_path(c, out, cap, t->task.name, t->round_number,
                                    name);
}

/* ---- recovery: leftovers of a crash ---- */

/* Should a file of an open round's folder stay? */
static bool keep_file(hearth_coord *c, const hearth_coord_task *t,
                      const char *name) {
    hearth_contrib_row row;
    uint8_t hash[32];
    if (strlen(name) == 67 && strcmp(name + 64, ".up") == 0 &&
        hearth_hex_decode(hash, 32, name, 64) == HEARTH_OK) {
        hearth_status st =
            hearth_coord_store_contrib(c->store, hash, &row, NULL);
        if (st == HEARTH_ENOTFOUND) return false;
        return st != HEARTH_OK ||
               (row.folded_in == 0 && row.state != HEARTH_CONTRIB_ABORTED);
    }
    for (uint32_t k = 0; k < t->task.round.n_cohorts; k++) {
        char acc[64];
        uint64_t number = 0;
        if (hearth_coord_store_checkpoint(c->store, t->task.name,
                                          t->round_number, k, &number,
                                          NULL) != HEARTH_OK)
            return true;
        (void)snprintf(acc, sizeof(acc), "acc.%" PRIu32 ".%" PRIu64, k, number);
        if (number && strcmp(acc, name) == 0) return true;
    }
    return false;
}

static void clean_round(hearth_coord *c, const hearth_coord_task *t,
                        const char *path) {
    char file[HEARTH_COORD_PATH_CAP + 256];
    DIR *d = opendir(path);
    struct dirent *e;
    while (d && (e = readdir(d)) != NULL) {
        if (e->d_name[0] == '.' || keep_file(c, t, e->d_name)) continue;
        if (hearth_file_join(file, sizeof(file), path, e->d_name) == HEARTH_OK)
            (void)unlink(file);
    }
    if (d) closedir(d);
}

/* Drop the folders of closed rounds; tidy the one of the open round. */
static void clean_task(hearth_coord *c, const hearth_coord_task *t) {
    char path[HEARTH_COORD_PATH_CAP], round[HEARTH_COORD_PATH_CAP + 256];
    char open_name[32] = "";
    DIR *d;
    struct dirent *e;
    if (fits(snprintf(path, sizeof(path), "%s/spool/%s", c->dir, t->task.name),
             sizeof(path)) != HEARTH_OK)
        return;
    if (t->round.phase == HEARTH_ROUND_OPEN ||
        t->round.phase == HEARTH_ROUND_FIXING)
        (void)snprintf(open_name, sizeof(open_name), "%" PRIu64,
                       t->round_number);
    d = opendir(path);
    while (d && (e = readdir(d)) != NULL) {
        if (e->d_name[0] == '.' || hearth_file_join(round, sizeof(round), path,
                                                    e->d_name) != HEARTH_OK)
            continue;
        if (strcmp(e->d_name, open_name) == 0)
            clean_round(c, t, round);
        else if (hearth_file_remove_tree(round, NULL) != HEARTH_OK)
            hearth_log_write(c->cfg.log, HEARTH_LOG_WARN, "recover",
                             "task=%s state=leftover hint=\"check the spool "
                             "folder\"",
                             t->task.name);
    }
    if (d) closedir(d);
}

/* ---- open and close ---- */

static void fill_defaults(hearth_coord_config *cfg) {
    hearth_retry *r = &cfg->retry;
    if (!cfg->io.submit) cfg->io = hearth_coord_io_inline();
    if (r->accepted_max_ms == 0 && r->refused_max_ms == 0)
        *r = (hearth_retry){MINUTE, 5 * MINUTE, MINUTE, 5 * MINUTE};
    if (cfg->release_ttl_ms == 0) cfg->release_ttl_ms = HEARTH_REGISTRY_TTL_MS;
    if (cfg->checkpoint_every == 0) cfg->checkpoint_every = 64;
    if (cfg->checkpoint_every > HEARTH_COORD_MAX_FOLD)
        cfg->checkpoint_every = HEARTH_COORD_MAX_FOLD;
    if (cfg->disk_reserve == 0) cfg->disk_reserve = DISK_RESERVE;
}

static bool retry_ok(const hearth_retry *r) {
    return r->accepted_min_ms <= r->accepted_max_ms &&
           r->refused_min_ms <= r->refused_max_ms &&
           r->accepted_max_ms <= HEARTH_PROTO_MAX_WINDOW &&
           r->refused_max_ms <= HEARTH_PROTO_MAX_WINDOW;
}

static hearth_status take_lock(hearth_coord *c, hearth_error *err) {
    char path[HEARTH_COORD_PATH_CAP];
    hearth_status st = hearth_file_join(path, sizeof(path), c->dir, "lock");
    if (st != HEARTH_OK) return st;
    c->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (c->lock_fd < 0)
        return hearth_error_set(
            err, HEARTH_EIO, "%s: can not be written; check its owner", path);
    if (flock(c->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return hearth_error_set(err, HEARTH_EBUSY,
                                "%s: another hearthd serves this folder; stop "
                                "it first",
                                c->dir);
    return HEARTH_OK;
}

static hearth_status open_stores(hearth_coord *c, hearth_error *err) {
    char path[HEARTH_COORD_PATH_CAP];
    bool no = c->cfg.no_sync;
    hearth_status st = hearth_coord_db_path(path, sizeof(path), c->dir);
    if (st == HEARTH_OK)
        st = hearth_coord_store_open(
            &c->durable, path, no ? HEARTH_STORE_NO_SYNC : HEARTH_STORE_DURABLE,
            &c->alloc, err);
    if (st == HEARTH_OK)
        st = hearth_coord_store_open(
            &c->store, path, no ? HEARTH_STORE_NO_SYNC : HEARTH_STORE_LAZY,
            &c->alloc, err);
    return st;
}

static hearth_status make_folders(hearth_coord *c, hearth_error *err) {
    static const char *const names[] = {"spool", "releases"};
    char path[HEARTH_COORD_PATH_CAP];
    hearth_status st = hearth_file_mkdirs(c->dir, err);
    for (size_t i = 0; st == HEARTH_OK && i < 2; i++) {
        st = hearth_file_join(path, sizeof(path), c->dir, names[i]);
        if (st == HEARTH_OK) st = hearth_file_mkdirs(path, err);
    }
    return st;
}

hearth_status hearth_coord_open(hearth_coord **out,
                                const hearth_coord_config *cfg,
                                hearth_error *err) {
    hearth_coord *c;
    hearth_status st;
    if (!out) return HEARTH_EINVAL;
    *out = NULL;
    if (!cfg || !cfg->dir || !cfg->rng || !cfg->clock.wall_ms ||
        !cfg->clock.mono_ms || !retry_ok(&cfg->retry) ||
        strlen(cfg->dir) + 256 > HEARTH_COORD_PATH_CAP)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "coordinator: incomplete or bad settings");
    if (!(c = hearth_mem_new(cfg->al, sizeof(*c))))
        return hearth_error_set(err, HEARTH_ENOMEM, "out of memory");
    c->cfg = *cfg;
    c->alloc = *hearth_mem_or_default(cfg->al);
    c->cfg.al = &c->alloc;
    c->lock_fd = -1;
    memcpy(c->dir, cfg->dir, strlen(cfg->dir) + 1);
    c->cfg.dir = c->dir;
    fill_defaults(&c->cfg);
    c->base_wall_ms = hearth_clock_wall(&cfg->clock);
    c->base_mono_ms = hearth_clock_mono(&cfg->clock);
    if ((st = make_folders(c, err)) == HEARTH_OK) st = take_lock(c, err);
    if (st == HEARTH_OK) st = open_stores(c, err);
    if (st == HEARTH_OK) st = hearth_coord__reload(c, err);
    if (st != HEARTH_OK) {
        hearth_coord_close(c);
        return st;
    }
    for (size_t i = 0; i < c->n_tasks; i++) clean_task(c, c->task[i]);
    *out = c;
    return HEARTH_OK;
}

void hearth_coord_close(hearth_coord *c) {
    hearth_alloc al;
    if (!c) return;
    while (c->queue_n) {
        hearth_coord_commit *m = &c->queue[c->queue_head];
        c->queue_head = (c->queue_head + 1) % HEARTH_COORD_QUEUE;
        c->queue_n--;
        hearth_coord__reply_error(c, m->reply, m->ud, HEARTH_REASON_BUSY, 0,
                                  "the coordinator stops; come back");
    }
    hearth_coord__free_tasks(c);
    hearth_coord_store_close(c->store);
    hearth_coord_store_close(c->durable);
    if (c->lock_fd >= 0) (void)close(c->lock_fd);
    al = c->alloc;
    hearth_zeroize(c, sizeof(*c));
    hearth_mem_free(&al, c);
}

static void inline_submit(void *ud, void (*work)(void *), void (*done)(void *),
                          void *arg) {
    (void)ud;
    work(arg);
    done(arg);
}

hearth_coord_io hearth_coord_io_inline(void) {
    return (hearth_coord_io){inline_submit, NULL};
}

bool hearth_coord_busy(const hearth_coord *c) {
    return c->job.out;
}

/* ---- requests ---- */

static void not_found(hearth_coord *c, uint32_t kind, hearth_reply_fn reply,
                      void *ud) {
    hearth_coord__reply_error(
        c, reply, ud,
        kind == HEARTH_ROUTE_METHOD ? HEARTH_REASON_BAD_MESSAGE
                                    : HEARTH_REASON_UNKNOWN,
        0,
        kind == HEARTH_ROUTE_METHOD ? "this path takes another method"
                                    : "no such path; see proto/PROTOCOL.md");
}

void hearth_coord_handle(hearth_coord *c, const hearth_http_request *rq,
                         hearth_reply_fn reply, void *ud) {
    hearth_route r;
    hearth_route_parse(&r, rq->method, rq->path);
    c->counters.requests++;
    if (rq->body_n > HEARTH_PROTO_MAX_BODY && r.kind != HEARTH_ROUTE_APPEND) {
        hearth_coord__reply_error(c, reply, ud, HEARTH_REASON_TOO_BIG, 0,
                                  "the message is too large");
        hearth_secret_wipe(&r.token);
        return;
    }
    switch (r.kind) {
    case HEARTH_ROUTE_CHECKIN: hearth_coord__checkin(c, rq, reply, ud); break;
    case HEARTH_ROUTE_MANIFEST:
    case HEARTH_ROUTE_PAYLOAD:
        hearth_coord__download(c, rq, r.task, r.sequence,
                               r.kind == HEARTH_ROUTE_PAYLOAD, reply, ud);
        break;
    case HEARTH_ROUTE_BEGIN:
        hearth_coord__begin(c, rq, &r.token, reply, ud);
        break;
    case HEARTH_ROUTE_OFFSET:
        hearth_coord__offset(c, &r.token, reply, ud);
        break;
    case HEARTH_ROUTE_APPEND:
        hearth_coord__append(c, rq, &r.token, reply, ud);
        break;
    case HEARTH_ROUTE_COMMIT:
        hearth_coord__commit(c, rq, &r.token, reply, ud);
        break;
    case HEARTH_ROUTE_ABORT:
        hearth_coord__abort(c, rq, &r.token, reply, ud);
        break;
    default:
        if (!c->cfg.hook.handle ||
            !c->cfg.hook.handle(c->cfg.hook.ud, rq, &c->cfg.retry, reply, ud))
            not_found(c, r.kind, reply, ud);
    }
    hearth_secret_wipe(&r.token);
    hearth_coord__pump(c);
}

int64_t hearth_coord_tick(hearth_coord *c) {
    int64_t now = hearth_coord__now(c), wait = TICK_MAX_MS;
    if (now - c->last_reload_ms >= RELOAD_MS && !c->job.out) {
        hearth_error err;
        hearth_error_clear(&err);
        if (hearth_coord__reload(c, &err) != HEARTH_OK)
            hearth_log_write(c->cfg.log, HEARTH_LOG_ERROR, "coordinator",
                             "state=not_reloaded what=\"%s\"", err.text);
    }
    for (size_t i = 0; i < c->n_tasks; i++) {
        hearth_round_actions act;
        hearth_coord_task *t = c->task[i];
        bool stop = t->row.state == HEARTH_TASK_PAUSED &&
                    t->round.phase == HEARTH_ROUND_OPEN;
        (void)hearth_coord__event(
            c, t, stop ? HEARTH_ROUND_EV_STOP : HEARTH_ROUND_EV_TICK, 0, 0,
            &act);
        if (act.wake_ms != UINT64_MAX && act.wake_ms < (uint64_t)now + 1000)
            wait = act.wake_ms > (uint64_t)now
                       ? (int64_t)(act.wake_ms - (uint64_t)now)
                       : TICK_MIN_MS;
    }
    hearth_coord__pump(c);
    return wait < TICK_MIN_MS ? TICK_MIN_MS : wait;
}

/* ---- the rest ---- */

hearth_status hearth_coord_task_create(hearth_coord *c, const char *name,
                                       const char *ini_text, size_t n,
                                       hearth_error *err) {
    hearth_task_env env;
    hearth_status st;
    if (c->job.out)
        return hearth_error_set(err, HEARTH_EBUSY,
                                "task create: busy; try again");
    memset(&env, 0, sizeof(env));
    env.store = c->durable;
    env.dir = c->dir;
    env.release_key = c->cfg.release_key;
    env.clock = c->cfg.clock;
    env.rng = c->cfg.rng;
    env.release_ttl_ms = c->cfg.release_ttl_ms;
    env.not_private = c->cfg.not_private;
    env.al = &c->alloc;
    st = hearth_task_create(&env, name, ini_text, n, err);
    return st == HEARTH_OK ? hearth_coord__reload(c, err) : st;
}

hearth_coord_store *hearth_coord_get_store(hearth_coord *c) {
    return c->store;
}

hearth_status hearth_coord_task_get_status(hearth_coord *c, const char *task,
                                           hearth_coord_task_status *out) {
    const hearth_coord_task *t = hearth_coord__find(c, task);
    hearth_wire_privacy p;
    memset(out, 0, sizeof(*out));
    if (!t) return HEARTH_ENOTFOUND;
    out->round = t->round_number;
    out->sequence = t->newest.sequence;
    out->open = t->round.phase == HEARTH_ROUND_OPEN;
    for (uint32_t k = 0; k < t->task.round.n_cohorts; k++) {
        out->invited += t->round.cohort[k].invited;
        out->begun += t->round.cohort[k].begun;
        out->accepted += t->round.cohort[k].committed;
        out->failed += t->round.cohort[k].aborted;
    }
    out->late = t->late;
    out->rounds_released = t->released;
    out->rounds_failed = t->failed;
    p = t->task.privacy;
    out->clip = p.clip;
    if (hearth_task_epsilons(&t->task, (uint32_t)t->released,
                             t->task.round.stage[0].count_min,
                             &p) == HEARTH_OK) {
        out->epsilon_coordinator = p.epsilon_coordinator;
        out->epsilon_release = p.epsilon_release;
        out->noise_to_signal = p.noise_to_signal;
    }
    return HEARTH_OK;
}

void hearth_coord_get_counters(const hearth_coord *c,
                               hearth_coord_counters *out) {
    *out = c->counters;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/coordinator.h - the coordinator without sockets.
 *
 * Data flow:  proto over TLS -> [routes -> intake -> round -> aggregate ->
 *             server_opt -> registry] -> signed release
 *
 * hearthd puts TLS and HTTP before it, hearth-fleet and tests call it
 * directly: requests in, replies out, time and randomness given.  Nothing here
 * opens a socket, starts a thread or asks what time it is by itself.
 *
 *     hearth_coord_config cfg = {.dir = "state", .release_key = key, ...};
 *     st = hearth_coord_open(&c, &cfg, &err);
 *     hearth_coord_handle(c, &request, on_reply, ud);
 *     wait = hearth_coord_tick(c);                  // at least that often
 *     hearth_coord_close(c);
 *
 * Promise: an acknowledged contribution is counted exactly once in a released
 * sum, or its round is declared failed and none is counted, whatever is killed
 * when.  README.md says how.
 *
 * Threads: one owner thread calls everything here.  Slow work (fsync, digests,
 *          folding) goes through cfg.io, one job at a time; its `work` may run
 *          on any thread, its `done` must run on the owner thread.
 * Memory:  fixed + 8 bytes per parameter of each open accumulator; nothing
 *          grows with devices or uploads.
 */
#ifndef HEARTH_COORDINATOR_COORDINATOR_H
#define HEARTH_COORDINATOR_COORDINATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/rng.h"
#include "common/sign.h"
#include "coordinator/coord_store.h"
#include "proto/messages.h"

typedef struct hearth_coord hearth_coord; /* opaque; one owner thread */

/* ---- requests and replies ---- */

typedef enum {
    HEARTH_PEER_NONE,        /* nobody in particular */
    HEARTH_PEER_DEVICE_CERT, /* verified client certificate */
    HEARTH_PEER_COOKIE       /* verified session cookie */
} hearth_peer_kind;

/* Who asks, as the listener established it. */
typedef struct {
    hearth_peer_kind kind;
    char device_id[HEARTH_PROTO_DEVICE_CAP]; /* "" for NONE */
} hearth_peer;

/* One request.  Everything is borrowed until handle returns.
 *
 * The body of a PATCH may be handed over in pieces as it arrives: each piece is
 * a request of its own whose upload_offset is where that piece goes.  All
 * other bodies are whole and at most HEARTH_PROTO_MAX_BODY. */
typedef struct {
    const char *method;        /* "GET" "HEAD" "POST" "PATCH" */
    const char *path;          /* starts with '/', no query, not decoded */
    const char *if_none_match; /* header or NULL */
    const char *range;         /* "bytes=a-b" | "bytes=a-", or NULL */
    const char *if_range;      /* ETag or NULL */
    bool has_upload_offset;
    uint64_t upload_offset; /* bytes */
    const uint8_t *body;    /* [body_n] */
    size_t body_n;          /* bytes */
    hearth_peer peer;
} hearth_http_request;

/* The reply.  Everything is borrowed until the callback returns, except that a
 * file named by `file` never changes while it exists.  The body is body, or,
 * when file is not NULL, file_n bytes of that file from file_offset. */
typedef struct {
    int status;                /* HTTP */
    const char *content_type;  /* NULL when there is no body */
    const char *etag;          /* with its quotes, or NULL */
    const char *cache_control; /* or NULL */
    bool has_upload_offset;
    uint64_t upload_offset;
    bool has_range; /* 206: file_offset .. file_offset + file_n - 1 of total */
    uint64_t total; /* bytes of the whole resource */
    const uint8_t *body;
    size_t body_n;
    const char *file; /* path or NULL */
    uint64_t file_offset, file_n;
} hearth_http_response;

/* Called exactly once per handle, on the owner thread: before handle returns,
 * or from a later `done` of io. */
typedef void (*hearth_reply_fn)(void *ud, const hearth_http_response *rp);

/* Append the body of a reply to out, reading the file if it is one: for tests
 * and in-process transports.  Returns HEARTH_OK, HEARTH_ENOMEM, HEARTH_EIO. */
HEARTH_MUST_CHECK
hearth_status hearth_http_response_body(const hearth_http_response *rp,
                                        hearth_buf *out);

/* ---- what the coordinator needs ---- */

/* Runs work (on any thread), then done (on the owner thread), in order. */
typedef struct {
    void (*submit)(void *ud, void (*work)(void *arg), void (*done)(void *arg),
                   void *arg);
    void *ud;
} hearth_coord_io;

/* Runs work and done inside submit: for tests, fleet and command lines. */
hearth_coord_io hearth_coord_io_inline(void);

/* Requests that the daemon answers itself, and cookies (coordinator/auth).
 * Any member may be NULL. */
typedef struct {
    /* /v1/keyset, /v1/enroll, /v1/renew.  True: reply was or will be called
     * exactly once.  False: not mine, and reply was not called. */
    bool (*handle)(void *ud, const hearth_http_request *rq,
                   const hearth_retry *retry, hearth_reply_fn reply,
                   void *reply_ud);
    /* Session cookie for a device.  Returns HEARTH_OK or any failure, which
     * leaves the reply without one. */
    hearth_status (*cookie)(void *ud, const char *device_id, int64_t now_ms,
                            char out[HEARTH_PROTO_COOKIE_CAP]);
    /* False: a revoked device, which gets 403 at check-in. */
    bool (*allowed)(void *ud, const char *device_id);
    void *ud;
} hearth_coord_hook;

typedef struct {
    const char *dir; /* state folder, made if absent; copied */
    const hearth_sign_keypair *release_key; /* borrowed till close; NULL: may
                               not publish (then serving rounds is refused) */
    hearth_clock clock;
    hearth_rng *rng;           /* round keys, seeds; borrowed; owner thread */
    hearth_coord_io io;        /* submit NULL: inline */
    hearth_coord_hook hook;    /* zeroed: none */
    hearth_retry retry;        /* default window; all zero: 1..5 minutes */
    uint64_t release_ttl_ms;   /* expiry of a manifest; 0: 90 days */
    uint32_t checkpoint_every; /* contributions folded a checkpoint; 0: 64 */
    uint64_t disk_reserve;     /* bytes to leave free on disk; 0: 64 MiB */
    bool no_sync;           /* simulation only: skip fsync; no promise left */
    bool not_private;       /* test seam only: mark offers and releases */
    const hearth_log *log;  /* borrowed; may be NULL */
    const hearth_alloc *al; /* borrowed; NULL: default */
} hearth_coord_config;

/* Open (create) the state under cfg->dir and recover: load checkpoints, refold
 * committed uploads, finish what a crash interrupted, remove leftovers.
 *
 * Returns HEARTH_OK
 *         HEARTH_EINVAL   NULL or incomplete config
 *         HEARTH_EBUSY    another process serves this folder
 *         HEARTH_EVERSION HEARTH_EFORMAT  not our state, or newer: untouched
 *         HEARTH_EIO HEARTH_ENOSPACE HEARTH_ENOMEM HEARTH_ERNG
 * and *out is NULL on failure. */
HEARTH_MUST_CHECK
hearth_status hearth_coord_open(hearth_coord **out,
                                const hearth_coord_config *cfg,
                                hearth_error *err);

/* Close.  Only when no io job is out (hearth_coord_busy is false) and every
 * reply was given; commits that wait for a job are answered with BUSY.  NULL is
 * a no-op. */
void hearth_coord_close(hearth_coord *c);

/* True while an io job is out. */
bool hearth_coord_busy(const hearth_coord *c);

/* Answer one request (proto/PROTOCOL.md lists them). */
void hearth_coord_handle(hearth_coord *c, const hearth_http_request *rq,
                         hearth_reply_fn reply, void *ud);

/* Let time pass: deadlines, folding, new tasks of the store.  Returns ms until
 * it wants to be called again, 10 .. 1000. */
int64_t hearth_coord_tick(hearth_coord *c);

/* Create a task from the text of a TASK.ini (coordinator/task.h) and publish
 * its first release.  name is for messages.  Returns as hearth_task_create. */
HEARTH_MUST_CHECK
hearth_status hearth_coord_task_create(hearth_coord *c, const char *name,
                                       const char *ini_text, size_t n,
                                       hearth_error *err);

/* The store of the owner thread, to list tasks, rounds and releases. */
hearth_coord_store *hearth_coord_get_store(hearth_coord *c);

/* <dir>/coordinator.db: what `hearthd task` and others open with
 * hearth_coord_store_open while the daemon serves.  HEARTH_ETOOBIG. */
HEARTH_MUST_CHECK
hearth_status hearth_coord_db_path(char *out, size_t cap, const char *dir);

/* ---- for metrics and the fleet ---- */

typedef struct {
    uint64_t round;    /* 0: none was opened yet */
    uint64_t sequence; /* newest release */
    bool open;         /* a round takes uploads */
    uint32_t invited;  /* offers given in that round */
    uint32_t begun;    /* uploads begun */
    uint32_t accepted; /* commits acknowledged */
    uint32_t late;     /* refused as full or closed */
    uint32_t failed;   /* given up, or refused for their content */
    uint64_t rounds_released, rounds_failed;     /* of the task so far */
    double epsilon_coordinator, epsilon_release; /* spent so far by a device
                                    that took part in every released round */
    double clip;                                 /* of the newest round */
    double noise_to_signal; /* same, with count.min devices */
} hearth_coord_task_status;

/* HEARTH_OK, or HEARTH_ENOTFOUND with *out zero. */
HEARTH_MUST_CHECK
hearth_status hearth_coord_task_get_status(hearth_coord *c, const char *task,
                                           hearth_coord_task_status *out);

/* Counters since open. */
typedef struct {
    uint64_t requests, checkins, offers, begins, appends, append_bytes;
    uint64_t commits_accepted, commits_replayed, commits_refused, aborts;
    uint64_t rounds_released, rounds_failed, jobs, checkpoints;
} hearth_coord_counters;

void hearth_coord_get_counters(const hearth_coord *c,
                               hearth_coord_counters *out);

#endif /* HEARTH_COORDINATOR_COORDINATOR_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/listener.h - sockets: accept, TLS, HTTP, time limits.
 *
 * Data flow:  libuv -> [listener: tls -> http] -> app.handle -> reply
 *
 * One request of a connection is dealt with at a time: while its reply is
 * being made or sent, nothing more is read from that socket, so a peer that
 * sends faster than it reads is slowed by TCP and not by our memory.  A long
 * upload is handed on in pieces of HEARTH_HTTP_BODY bytes, each as a request
 * of its own (coordinator.h); the reply to the last one, or to the first that
 * fails, is the reply of the whole.
 *
 * Threads: everything on the thread of the loop.
 * Memory:  at most 48 KiB a connection, TLS included.
 */
#ifndef HEARTH_COORDINATOR_LISTENER_H
#define HEARTH_COORDINATOR_LISTENER_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "common/log.h"
#include "coordinator/coordinator.h"
#include "coordinator/tls.h"

typedef struct hearth_listener hearth_listener;

/* Who answers. */
typedef struct {
    void (*handle)(void *ud, const hearth_http_request *rq,
                   hearth_reply_fn reply, void *reply_ud);
    /* Whose session cookie is this?  HEARTH_OK fills id.  May be NULL. */
    hearth_status (*cookie)(void *ud, const char *cookie,
                            char id[HEARTH_PROTO_DEVICE_CAP]);
    void *ud;
} hearth_listener_app;

typedef struct {
    const char *host;       /* numeric address to bind */
    int port;               /* 0: any free one */
    hearth_tls_server *tls; /* borrowed; NULL: plain HTTP (metrics only) */
    hearth_listener_app app;
    hearth_retry retry;       /* in errors that the listener itself answers */
    unsigned max_connections; /* 0: 1024; more wait in the backlog */
    /* Limits in ms; 0 takes the value in brackets. */
    int64_t handshake_ms; /* from accept to the end of TLS [10 s] */
    int64_t head_ms;      /* first byte of a request to end of head [10 s] */
    int64_t idle_ms;      /* silence in a body, a reply, between them [60 s] */
    int64_t request_ms;   /* a request from first byte to last [10 min] */
    const hearth_log *log;
    const hearth_alloc *al;
} hearth_listener_config;

/* Counters since open; gauges at the end. */
typedef struct {
    uint64_t accepted, handshakes, handshakes_failed, requests, timeouts;
    uint64_t replies[6]; /* by first digit of the status; 0 unused */
    uint64_t bytes_in, bytes_out;
    unsigned connections; /* now */
} hearth_listener_counters;

/* Bind and listen.
 *
 * Returns HEARTH_OK
 *         HEARTH_EINVAL  incomplete config or not a numeric address
 *         HEARTH_EBUSY   the address is in use
 *         HEARTH_ENOMEM HEARTH_ENET */
HEARTH_MUST_CHECK
hearth_status hearth_listener_open(hearth_listener **out, uv_loop_t *loop,
                                   const hearth_listener_config *cfg,
                                   hearth_error *err);

int hearth_listener_port(const hearth_listener *l);

/* Accept no more; end each connection as soon as it is between requests.
 * After grace_ms the rest is cut.  The loop must go on to run. */
void hearth_listener_stop(hearth_listener *l, int64_t grace_ms);

/* True once stop has ended: nothing of l is left in the loop. */
bool hearth_listener_stopped(const hearth_listener *l);

/* Free.  Only when stopped. NULL is a no-op. */
void hearth_listener_close(hearth_listener *l);

void hearth_listener_get_counters(const hearth_listener *l,
                                  hearth_listener_counters *out);

#endif /* HEARTH_COORDINATOR_LISTENER_H */

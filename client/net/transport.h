/* SPDX-License-Identifier: Apache-2.0 */
/* client/net/transport.h - how the device asks the coordinator: one request at
 * a time, through a table of callbacks.
 *
 * Everything above (enrolment, download, upload, sync) knows only this table,
 * so that tests and hearth-fleet put an in-process coordinator behind it and a
 * phone may put its own HTTP stack there.  transport_curl.c is the real one.
 *
 *     hearth_http_req rq = HEARTH_HTTP_REQ_INIT;
 *     rq.method = HEARTH_HTTP_GET;
 *     rq.path = "/v1/keyset";
 *     hearth_http_resp rp;
 *     hearth_http_resp_init(&rp, al);
 *     st = hearth_transport_request(tr, &rq, &rp, err);
 *     if (st == HEARTH_OK && rp.status == 200) use(rp.body.v, rp.body.n);
 *     hearth_http_resp_free(&rp);
 *
 * Threads: a transport belongs to one thread at a time; cancel alone may be
 *          called from any thread while a request is running.
 * Memory:  a response body is held by resp->body, or handed to the sink piece
 *          by piece; never more than max_body bytes either way.
 * Source:  our own.
 */
#ifndef HEARTH_CLIENT_NET_TRANSPORT_H
#define HEARTH_CLIENT_NET_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/alloc.h"
#include "common/buf.h"
#include "common/error.h"
#include "common/status.h"

typedef enum {
    HEARTH_HTTP_GET,
    HEARTH_HTTP_POST,
    HEARTH_HTTP_HEAD,
    HEARTH_HTTP_PATCH
} hearth_http_method;

/* Most bytes of a reply that is read into memory, unless the call says more. */
#define HEARTH_HTTP_BODY_CAP ((size_t)1 << 20)

/* Receives a piece of a 200 or 206 body, in order; another status never reaches
 * it.  A failure ends the request with that status.  A transport that cannot
 * stream fills resp->body as ever: hearth_transport_request then hands that to
 * the sink in one piece. */
typedef hearth_status (*hearth_http_sink)(void *ud, const uint8_t *p, size_t n);

/* What to ask.  Everything is borrowed for the length of the call. */
typedef struct {
    hearth_http_method method;
    const char *path;      /* starts with '/'; no host, no query, ASCII */
    const char *cookie;    /* session cookie to send, or NULL */
    bool use_cert;         /* ask as the device: check-in, renewal; else the
                              certificate is not shown: uploads are nobody's */
    const uint8_t *body;   /* [n_body] for POST and PATCH */
    size_t n_body;         /* bytes */
    int64_t upload_offset; /* value of Upload-Offset, or -1 for none */
    uint64_t range_from;   /* first byte wanted */
    uint64_t range_n;      /* bytes wanted from there; 0 = no Range header */
    const char *if_range;  /* ETag that must still match, or NULL */
    size_t max_body; /* cap of the reply's body in bytes; 0 = the default */
    hearth_http_sink sink; /* NULL: into resp->body */
    void *sink_ud;
    uint32_t timeout_ms; /* whole request; 0 = 60 s without progress */
} hearth_http_req;

#define HEARTH_HTTP_REQ_INIT                                                   \
    {                                                                          \
        HEARTH_HTTP_GET, NULL, NULL, false, NULL, 0, -1, 0, 0, NULL, 0, NULL,  \
            NULL, 0                                                            \
    }

/* What came back. */
typedef struct {
    int status;            /* HTTP status, 100..599 */
    hearth_buf body;       /* body when no sink took it (always for errors) */
    int64_t upload_offset; /* Upload-Offset of the reply, or -1 */
    char etag[80];         /* "" when absent or longer */
} hearth_http_resp;

void hearth_http_resp_init(hearth_http_resp *rp, const hearth_alloc *al);
void hearth_http_resp_free(hearth_http_resp *rp);

/* Take note of one header line of a reply, [n] bytes with or without its line
 * end: Upload-Offset and ETag are kept, others ignored, and of either a
 * malformed or oversized one is ignored too.  For transports. */
void hearth_http_resp_header(hearth_http_resp *rp, const char *line, size_t n);

/* "GET", "POST", "HEAD" or "PATCH".  Static. */
const char *hearth_http_method_name(hearth_http_method m);

/* The table.  Any member but request may be NULL. */
typedef struct {
    /* One request, to its end.  resp is initialised and empty.
     * Returns HEARTH_OK        a reply came, whatever its HTTP status
     *         HEARTH_ENET  no reply: resolve, connect, TLS, time-out
     *         HEARTH_ESIGNATURE  the peer's key is not one of the pins
     *         HEARTH_ECANCELLED  cancel was called
     *         HEARTH_ETOOBIG   the body passed max_body
     *         HEARTH_EFORMAT   the reply is not HTTP as we need it
     *         HEARTH_ENOMEM, or what the sink returned */
    hearth_status (*request)(void *ud, const hearth_http_req *rq,
                             hearth_http_resp *rp, hearth_error *err);
    /* End the running request, or the next one if none runs.  Any thread. */
    void (*cancel)(void *ud);
    /* Forget a cancel that no request has seen. */
    void (*rearm)(void *ud);
    void *ud;
} hearth_transport;

/* Check rq, empty rp, ask.  Returns what request returns, or HEARTH_EINVAL for
 * a table, request or path that breaks the contract above. */
HEARTH_MUST_CHECK
hearth_status hearth_transport_request(const hearth_transport *tr,
                                       const hearth_http_req *rq,
                                       hearth_http_resp *rp, hearth_error *err);

/* Cancel, when the table can. */
void hearth_transport_cancel(const hearth_transport *tr);

#endif /* HEARTH_CLIENT_NET_TRANSPORT_H */

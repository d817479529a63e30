/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/http.h - HTTP/1.1 on the server's side, without a socket.
 *
 * Data flow:  tls -> [bytes in -> request events] -> listener -> coordinator
 *
 * Bytes go in, events come out: a whole request, a piece of an upload, or an
 * error that names its status code.  Everything is capped before it is kept:
 * the request line and headers together, their number, each value that is
 * read, and the body by route.  A body of unknown length (chunked) is refused,
 * so that there is one way to tell where a request ends.
 *
 *     size_t used;
 *     switch (hearth_http_feed(h, p, n, &used)) {
 *     case HEARTH_HTTP_MORE:     // all of p was used
 *     case HEARTH_HTTP_PIECE:    // h->body [body_n] of a long upload
 *     case HEARTH_HTTP_REQUEST:  // whole, or the last piece
 *     case HEARTH_HTTP_ERROR:    // answer h->error_status, then close
 *     }
 *
 * Threads: a parser belongs to one thread at a time.
 * Memory:  about 2 KiB, and HEARTH_HTTP_BODY more while a body is being read.
 * Source:  RFC 9110, RFC 9112; parsing by llhttp.
 */
#ifndef HEARTH_COORDINATOR_HTTP_H
#define HEARTH_COORDINATOR_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/alloc.h"
#include "common/buf.h"
#include "common/status.h"
#include "proto/limits.h"

#define HEARTH_HTTP_MAX_HEAD    8192 /* bytes of request line and headers */
#define HEARTH_HTTP_MAX_HEADERS 48
#define HEARTH_HTTP_MAX_PATH    255
#define HEARTH_HTTP_BODY        8192 /* most of a whole body; size of a piece */

/* The head of a request, as far as it is read. */
typedef struct {
    char method[8]; /* "GET" "HEAD" "POST" "PATCH" */
    char path[HEARTH_HTTP_MAX_PATH + 1];
    char if_none_match[80], range[64], if_range[80]; /* "" when absent */
    char cookie[HEARTH_PROTO_COOKIE_CAP]; /* of "Cookie: hearth=...", or "" */
    uint64_t length;                      /* Content-Length; 0 when absent */
    uint64_t upload_offset;
    bool has_upload_offset;
    bool expect_continue; /* wants "100 Continue" before it sends the body */
    bool keep_alive;
} hearth_http_head;

typedef enum {
    HEARTH_HTTP_MORE,
    HEARTH_HTTP_CONTINUE, /* head is in, client waits for 100 Continue */
    HEARTH_HTTP_PIECE,
    HEARTH_HTTP_REQUEST,
    HEARTH_HTTP_ERROR
} hearth_http_event;

typedef struct hearth_http hearth_http;

/* Returns HEARTH_OK or HEARTH_ENOMEM. */
HEARTH_MUST_CHECK
hearth_status hearth_http_new(hearth_http **out, const hearth_alloc *al);
void hearth_http_free(hearth_http *h);

/* Parse bytes.  *used of them were taken; the rest must be given again after
 * the event was dealt with.
 *
 * After PIECE the next call goes on with the body.  After REQUEST the caller
 * answers and calls hearth_http_next first.  After ERROR nothing more can be
 * parsed: every further call returns ERROR. */
hearth_http_event hearth_http_feed(hearth_http *h, const uint8_t *p, size_t n,
                                   size_t *used);

/* The body bytes of the present event, and where they lie in the whole body.
 * Borrowed until the next feed or next. */
const uint8_t *hearth_http_body(const hearth_http *h, size_t *n, uint64_t *at);

/* The head; complete from CONTINUE, PIECE or REQUEST on. */
const hearth_http_head *hearth_http_get_head(const hearth_http *h);

/* Status of an ERROR event: 400 405 411 413 414 431 501 503 505. */
int hearth_http_error_status(const hearth_http *h);

/* Ready for the next request on the same connection. */
void hearth_http_next(hearth_http *h);

/* True between the first byte of a request and its end. */
bool hearth_http_in_request(const hearth_http *h);
/* True once the head of the present request is complete. */
bool hearth_http_head_done(const hearth_http *h);

/* Most bytes of body that a request may have; *stream: it comes in pieces. */
uint64_t hearth_http_body_cap(const hearth_http_head *head, bool *stream);

/* What a reply's head says. */
typedef struct {
    int status;
    const char *content_type, *etag, *cache_control; /* or NULL */
    uint64_t length;                                 /* Content-Length */
    bool has_upload_offset, has_range, close;
    uint64_t upload_offset;
    uint64_t range_from, range_total; /* length bytes from range_from */
} hearth_http_reply_head;

/* Append the head of a reply.  Returns HEARTH_OK or HEARTH_ENOMEM. */
HEARTH_MUST_CHECK
hearth_status hearth_http_write_head(hearth_buf *out,
                                     const hearth_http_reply_head *r);

/* "Not Found" and the like. Static; "Unknown" for others. */
const char *hearth_http_status_text(int status);

#endif /* HEARTH_COORDINATOR_HTTP_H */

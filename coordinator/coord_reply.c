/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/coord_reply.c - every reply carries a retry window. */
#include <stdio.h>
#include <string.h>

#include "common/file.h"
#include "coordinator/coord_impl.h"
#include "coordinator/routes.h"

static void send_body(hearth_reply_fn reply, void *ud, int status,
                      const hearth_buf *body, const uint64_t *offset) {
    hearth_http_response rp;
    memset(&rp, 0, sizeof(rp));
    rp.status = status;
    rp.content_type = HEARTH_PROTO_CONTENT_TYPE;
    rp.cache_control = "no-store";
    rp.body = body->v;
    rp.body_n = body->n;
    if (offset) {
        rp.has_upload_offset = true;
        rp.upload_offset = *offset;
    }
    reply(ud, &rp);
}

static void send_empty(hearth_reply_fn reply, void *ud, int status) {
    const hearth_buf none = HEARTH_BUF_INIT(NULL);
    send_body(reply, ud, status, &none, NULL);
}

uint32_t hearth_coord__reason(hearth_status st) {
    switch (st) {
    case HEARTH_OK: return HEARTH_REASON_NONE;
    case HEARTH_EVERSION: return HEARTH_REASON_VERSION;
    case HEARTH_ETOOBIG: return HEARTH_REASON_TOO_BIG;
    case HEARTH_ENOTFOUND: return HEARTH_REASON_UNKNOWN;
    case HEARTH_EDIGEST: return HEARTH_REASON_DIGEST;
    case HEARTH_EAUTH: return HEARTH_REASON_CREDENTIAL;
    case HEARTH_ENOSPACE: return HEARTH_REASON_DISK;
    case HEARTH_EBUSY: return HEARTH_REASON_BUSY;
    case HEARTH_EFORMAT:
    case HEARTH_EINVAL: return HEARTH_REASON_BAD_MESSAGE;
    default: return HEARTH_REASON_INTERNAL;
    }
}

void hearth_coord__reply_error(hearth_coord *c, hearth_reply_fn reply, void *ud,
                               uint32_t reason, uint64_t offset,
                               const char *message) {
    hearth_buf body = HEARTH_BUF_INIT(&c->alloc);
    hearth_error_reply rp;
    bool tell =
        reason == HEARTH_REASON_OFFSET || reason == HEARTH_REASON_DIGEST;
    int status = hearth_route_http_status(reason);

    memset(&rp, 0, sizeof(rp));
    rp.reason = reason;
    rp.offset = tell ? offset : 0;
    rp.retry = c->cfg.retry;
    (void)snprintf(rp.message, sizeof(rp.message), "%s", message);
    if (hearth_encode_error_reply(&body, &rp) == HEARTH_OK)
        send_body(reply, ud, status, &body, tell ? &offset : NULL);
    else
        send_empty(reply, ud, 500);
    hearth_buf_free(&body);
}

void hearth_coord__reply_body(hearth_coord *c, hearth_reply_fn reply, void *ud,
                              hearth_status st, const hearth_buf *body) {
    if (st == HEARTH_OK)
        send_body(reply, ud, 200, body, NULL);
    else
        hearth_coord__reply_error(c, reply, ud, HEARTH_REASON_INTERNAL, 0,
                                  "the reply could not be made; come back");
}

void hearth_coord__reply_offset(hearth_coord *c, hearth_reply_fn reply,
                                void *ud, uint64_t offset) {
    hearth_buf body = HEARTH_BUF_INIT(&c->alloc);
    hearth_offset_reply rp = {.offset = offset, .retry = c->cfg.retry};
    if (hearth_encode_offset_reply(&body, &rp) == HEARTH_OK)
        send_body(reply, ud, 200, &body, &offset);
    else
        send_empty(reply, ud, 500);
    hearth_buf_free(&body);
}

void hearth_coord__reply_committed(hearth_coord *c, const hearth_coord_task *t,
                                   hearth_reply_fn reply, void *ud) {
    hearth_buf body = HEARTH_BUF_INIT(&c->alloc);
    hearth_commit_reply rp;
    memset(&rp, 0, sizeof(rp));
    rp.state = HEARTH_COMMIT_ACCEPTED;
    rp.retry = c->cfg.retry;
    if (t && t->task.spacing_ms > rp.retry.accepted_min_ms) {
        uint64_t more = t->task.spacing_ms - rp.retry.accepted_min_ms;
        rp.retry.accepted_min_ms += more;
        rp.retry.accepted_max_ms += more;
    }
    if (rp.retry.accepted_min_ms > HEARTH_PROTO_MAX_WINDOW)
        rp.retry.accepted_min_ms = HEARTH_PROTO_MAX_WINDOW;
    if (rp.retry.accepted_max_ms > HEARTH_PROTO_MAX_WINDOW)
        rp.retry.accepted_max_ms = HEARTH_PROTO_MAX_WINDOW;
    hearth_coord__reply_body(c, reply, ud,
                             hearth_encode_commit_reply(&body, &rp), &body);
    hearth_buf_free(&body);
}

void hearth_coord__reply_ack(hearth_coord *c, hearth_reply_fn reply, void *ud) {
    hearth_buf body = HEARTH_BUF_INIT(&c->alloc);
    hearth_ack_reply rp = {.retry = c->cfg.retry};
    hearth_coord__reply_body(c, reply, ud, hearth_encode_ack_reply(&body, &rp),
                             &body);
    hearth_buf_free(&body);
}

hearth_status hearth_http_response_body(const hearth_http_response *rp,
                                        hearth_buf *out) {
    uint8_t piece[2048];
    uint64_t left;
    FILE *f;
    if (!rp->file) return hearth_buf_append(out, rp->body, rp->body_n);
    if (!(f = fopen(rp->file, "rb"))) return HEARTH_EIO;
    hearth_status st = HEARTH_OK;
    if (fseek(f, (long)rp->file_offset, SEEK_SET) != 0) st = HEARTH_EIO;
    for (left = rp->file_n; left && st == HEARTH_OK;) {
        size_t n = left < sizeof(piece) ? (size_t)left : sizeof(piece);
        if (fread(piece, 1, n, f) != n)
            st = HEARTH_EIO;
        else
            st = hearth_buf_append(out, piece, n);
        left -= n;
    }
    fclose(f);
    return st;
}

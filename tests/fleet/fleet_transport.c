/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_transport.c - io is inline, so a reply is there when handle
 * returns, or after a few ticks when a group of commits is waited for. */
#include "tests/fleet/fleet_transport.h"

#include <stdio.h>
#include <string.h>

#define COOKIE "fleet-"

/* Where the reply callback leaves what it was given. */
typedef struct {
    hearth_http_resp *rp;
    const hearth_http_req *rq;
    hearth_status st;
    bool called;
} catcher;

static void on_reply(void *ud, const hearth_http_response *r) {
    catcher *c = ud;
    c->called = true;
    c->rp->status = r->status;
    c->rp->upload_offset =
        r->has_upload_offset ? (int64_t)r->upload_offset : -1;
    if (r->etag && strlen(r->etag) < sizeof(c->rp->etag))
        memcpy(c->rp->etag, r->etag, strlen(r->etag) + 1);
    c->st = c->rq->method == HEARTH_HTTP_HEAD
                ? HEARTH_OK
                : hearth_http_response_body(r, &c->rp->body);
}

static void make_range(char out[64], const hearth_http_req *rq) {
    (void)snprintf(out, 64, "bytes=%llu-%llu",
                   (unsigned long long)rq->range_from,
                   (unsigned long long)(rq->range_from + rq->range_n - 1));
}

static hearth_status request(void *ud, const hearth_http_req *rq,
                             hearth_http_resp *rp, hearth_error *err) {
    hearth_fleet_link *link = ud;
    char range[64];
    catcher c = {rp, rq, HEARTH_OK, false};
    hearth_http_request q = {.method = hearth_http_method_name(rq->method),
                             .path = rq->path,
                             .if_range = rq->if_range,
                             .has_upload_offset = rq->upload_offset >= 0,
                             .body = rq->body,
                             .body_n = rq->n_body};
    if (q.has_upload_offset) q.upload_offset = (uint64_t)rq->upload_offset;
    if (rq->range_n) {
        make_range(range, rq);
        q.range = range;
    }
    /* The listener believes a certificate, or a cookie that it gave. */
    bool cookie = rq->cookie && !strncmp(rq->cookie, COOKIE, strlen(COOKIE)) &&
                  !strcmp(rq->cookie + strlen(COOKIE), link->device_id);
    if (cookie || rq->use_cert) {
        q.peer.kind = cookie ? HEARTH_PEER_COOKIE : HEARTH_PEER_DEVICE_CERT;
        memcpy(q.peer.device_id, link->device_id, sizeof(q.peer.device_id));
    }
    hearth_coord_handle(link->coord, &q, on_reply, &c);
    for (int i = 0; i < 100 && !c.called; i++)
        (void)hearth_coord_tick(link->coord);
    link->requests++;
    link->bytes_up += rq->n_body;
    link->bytes_down += rp->body.n;
    if (!c.called)
        return hearth_error_set(err, HEARTH_ENET,
                                "the coordinator did not answer %s", rq->path);
    return c.st;
}

hearth_transport hearth_fleet_transport(hearth_fleet_link *link) {
    hearth_transport t = {.request = request, .ud = link};
    return t;
}

/* ---- the hook ---- */

static bool hook_handle(void *ud, const hearth_http_request *rq,
                        const hearth_retry *retry, hearth_reply_fn reply,
                        void *reply_ud) {
    const hearth_fleet_keyset *ks = ud;
    hearth_http_response r = {0};
    (void)retry;
    if (strcmp(rq->path, "/v1/keyset") != 0) return false;
    r.status = 200;
    r.content_type = HEARTH_PROTO_CONTENT_TYPE;
    r.body = ks->keyset;
    r.body_n = ks->n;
    reply(reply_ud, &r);
    return true;
}

static hearth_status hook_cookie(void *ud, const char *device_id,
                                 int64_t now_ms,
                                 char out[HEARTH_PROTO_COOKIE_CAP]) {
    (void)ud, (void)now_ms;
    (void)snprintf(out, HEARTH_PROTO_COOKIE_CAP, COOKIE "%s", device_id);
    return HEARTH_OK;
}

hearth_coord_hook hearth_fleet_hook(const hearth_fleet_keyset *keyset) {
    hearth_coord_hook h = {.handle = hook_handle, .cookie = hook_cookie};
    h.ud = (void *)(uintptr_t)keyset; /* read only behind the hook */
    return h;
}

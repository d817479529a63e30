/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/downloads.c - GET of manifests and contents.
 *
 * What has a number never changes: it may be cached for ever and resumed by
 * range, with its digest as the entity tag.
 */
#include <stdio.h>
#include <string.h>

#include "common/bytes.h"
#include "coordinator/coord_impl.h"
#include "coordinator/registry.h"
#include "coordinator/routes.h"

#define TAG_CAP 67u /* quotes, 64 digits, NUL */

static void make_tag(char tag[TAG_CAP], const uint8_t digest[32]) {
    tag[0] = '"';
    hearth_hex_encode(tag + 1, digest, 32);
    tag[65] = '"';
    tag[66] = '\0';
}

/* 304 when the caller has it already. */
static bool unchanged(const hearth_http_request *rq, hearth_http_response *rp) {
    if (!rq->if_none_match || strcmp(rq->if_none_match, rp->etag) != 0)
        return false;
    rp->status = 304;
    return true;
}

static void send_manifest(const hearth_http_request *rq,
                          hearth_http_response *rp, const hearth_buf *manifest,
                          hearth_reply_fn reply, void *ud) {
    if (!unchanged(rq, rp)) {
        rp->content_type = HEARTH_PROTO_CONTENT_TYPE;
        rp->body = manifest->v;
        rp->body_n = manifest->n;
        rp->total = manifest->n;
    }
    reply(ud, rp);
}

static void send_payload(hearth_coord *c, const hearth_http_request *rq,
                         hearth_http_response *rp, const uint8_t sha256[32],
                         uint64_t total, hearth_reply_fn reply, void *ud) {
    char path[HEARTH_COORD_PATH_CAP + 128];
    bool whole = rq->if_range && strcmp(rq->if_range, rp->etag) != 0;
    if (unchanged(rq, rp)) {
        reply(ud, rp);
        return;
    }
    if (hearth_registry_path(path, sizeof(path), c->dir, sha256) != HEARTH_OK) {
        hearth_coord__reply_error(c, reply, ud, HEARTH_REASON_INTERNAL, 0,
                                  "the state folder has too long a name");
        return;
    }
    rp->content_type = "application/octet-stream";
    rp->file = path;
    rp->file_n = rp->total = total;
    if (rq->range && !whole) {
        hearth_status st =
            hearth_route_range(rq->range, total, &rp->file_offset, &rp->file_n);
        if (st == HEARTH_OK) {
            rp->status = 206;
            rp->has_range = true;
        } else if (st == HEARTH_EINVAL) {
            rp->status = 416;
            rp->file = NULL;
            rp->file_n = rp->file_offset = 0;
            rp->content_type = NULL;
        }
    }
    reply(ud, rp);
}

void hearth_coord__download(hearth_coord *c, const hearth_http_request *rq,
                            const char *task, uint64_t sequence, bool payload,
                            hearth_reply_fn reply, void *ud) {
    hearth_buf manifest = HEARTH_BUF_INIT(&c->alloc);
    hearth_coord_task *t = hearth_coord__find(c, task);
    hearth_http_response rp;
    hearth_release_row row;
    char tag[TAG_CAP];
    hearth_status st;

    if (!hearth_coord__allowed(c, &rq->peer)) {
        hearth_coord__reply_error(c, reply, ud, HEARTH_REASON_CREDENTIAL, 0,
                                  "check in first: releases need a cookie");
        return;
    }
    st = t ? hearth_coord_store_release(c->store, task, sequence, &row,
                                        payload ? NULL : &manifest, NULL, NULL)
           : HEARTH_ENOTFOUND;
    if (st != HEARTH_OK) {
        hearth_coord__reply_error(c, reply, ud, hearth_coord__reason(st), 0,
                                  st == HEARTH_ENOTFOUND
                                      ? "no such release; check in again"
                                      : "the release can not be read");
        goto done;
    }
    memset(&rp, 0, sizeof(rp));
    rp.status = 200;
    rp.etag = tag;
    rp.cache_control =
        sequence ? "private, max-age=31536000, immutable" : "private, no-cache";
    make_tag(tag, payload ? row.content_sha256 : row.manifest_digest);
    if (payload)
        send_payload(c, rq, &rp, row.content_sha256, 4 * t->task.privacy.d,
                     reply, ud);
    else
        send_manifest(rq, &rp, &manifest, reply, ud);
done:
    hearth_buf_free(&manifest);
}

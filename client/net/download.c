/* SPDX-License-Identifier: Apache-2.0 */
/* client/net/download.c - the contract is in download.h.
 *
 * Pieces are asked for by an explicit byte range with If-Range on the content's
 * own digest.  A server that cannot do ranges, or holds something else by now,
 * answers 200 with the whole: that is taken from byte 0 and the old pieces go.
 * Whatever came, the digest of the signed manifest decides at the end.
 */
#include "client/net/download.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/net/piece_store.h"
#include "common/bytes.h"
#include "common/hash.h"
#include "privacy/noise.h"

static hearth_status get(const hearth_download *d, hearth_http_req *rq,
                         const char *what, hearth_http_resp *rp,
                         hearth_reply_info *rep, hearth_error *err) {
    char path[160], label[128];
    *rep = (hearth_reply_info){.retry = hearth_retry_default};
    if (!hearth_task_name_ok(d->task)) return HEARTH_EINVAL;
    (void)snprintf(path, sizeof(path), "/v1/releases/%s/%" PRIu64 "/%s",
                   d->task, d->sequence, what);
    (void)snprintf(label, sizeof(label), "release %" PRIu64 " of %s",
                   d->sequence, d->task);
    rq->path = path;
    rq->cookie = d->cookie && *d->cookie ? d->cookie : NULL;
    rq->use_cert = !rq->cookie;
    hearth_status st = hearth_transport_request(d->tr, rq, rp, err);
    if (st == HEARTH_OK) st = hearth_reply_check(rp, label, rep, err);
    return st;
}

hearth_status hearth_download_verify(const hearth_download *d,
                                     const uint8_t *manifest, size_t n,
                                     hearth_release *out, hearth_error *err) {
    hearth_status st = hearth_release_open(out, manifest, n, d->keyset,
                                           (uint64_t)d->now_ms, err);
    if (st != HEARTH_OK) return st;
    if (strcmp(out->task, d->task) != 0)
        st = hearth_error_set(err, HEARTH_EMISMATCH,
                              "a release of task %s was sent for task %s; tell "
                              "the operator",
                              out->task, d->task);
    else if (out->sequence != d->sequence || out->sequence < d->have_sequence)
        st = hearth_error_set(
            err, HEARTH_EREPLAY,
            "release %" PRIu64 " of %s came where %" PRIu64
            " (not below %" PRIu64 ") was due; it is not used",
            out->sequence, d->task, d->sequence, d->have_sequence);
    else if (out->content_bytes > HEARTH_DOWNLOAD_MAX_PAYLOAD)
        st = hearth_error_set(err, HEARTH_ETOOBIG,
                              "release %" PRIu64 " of %s holds %" PRIu64
                              " bytes, above the cap of this device",
                              out->sequence, d->task, out->content_bytes);
    else if (out->not_private && hearth_noise_is_private())
        st = hearth_error_set(err, HEARTH_EREFUSED,
                              "release %" PRIu64 " of %s was made without "
                              "privacy, for tests only; it is not used",
                              out->sequence, d->task);
    if (st != HEARTH_OK) *out = (hearth_release){0};
    return st;
}

hearth_status
hearth_download_manifest(const hearth_download *d, const uint8_t *digest,
                         hearth_buf *manifest, hearth_release *out,
                         hearth_reply_info *rep, hearth_error *err) {
    hearth_http_req rq = HEARTH_HTTP_REQ_INIT;
    hearth_http_resp rp;
    uint8_t is[32];
    rq.max_body = HEARTH_PROTO_MAX_BODY;
    hearth_http_resp_init(&rp, d->al);
    hearth_status st = get(d, &rq, "manifest", &rp, rep, err);
    if (st == HEARTH_OK) st = hearth_sha256(is, rp.body.v, rp.body.n);
    if (st == HEARTH_OK && digest && memcmp(is, digest, 32) != 0)
        st = hearth_error_set(err, HEARTH_EDIGEST,
                              "release %" PRIu64 " of %s is not the one that "
                              "the check-in named",
                              d->sequence, d->task);
    if (st == HEARTH_OK)
        st = hearth_download_verify(d, rp.body.v, rp.body.n, out, err);
    if (st == HEARTH_OK) st = hearth_buf_append(manifest, rp.body.v, rp.body.n);
    hearth_http_resp_free(&rp);
    return st;
}

/* Where the next bytes go, or that the reply is no answer to our question. */
static hearth_status place(const hearth_http_resp *rp, const hearth_release *m,
                           uint64_t have, uint64_t *at, hearth_error *err) {
    *at = rp->status == 206 ? have : 0;
    if ((rp->status == 206 || rp->status == 200) && rp->body.n > 0 &&
        rp->body.n <= m->content_bytes - *at)
        return HEARTH_OK;
    return hearth_error_set(err, HEARTH_EFORMAT,
                            "release %" PRIu64 " of %s: the reply does not fit "
                            "the request; it is asked for again",
                            m->sequence, m->task);
}

hearth_status hearth_download_piece(const hearth_download *d,
                                    const hearth_release *m, bool *done,
                                    hearth_reply_info *rep, hearth_error *err) {
    uint64_t have = 0, at = 0;
    char etag[68];
    *done = false;
    *rep = (hearth_reply_info){.retry = hearth_retry_default};
    hearth_status st =
        hearth_piece_store_have(d->db, d->task, m->content_sha256, &have, err);
    if (st != HEARTH_OK) return st;
    if (have >= m->content_bytes) {
        *done = true;
        return HEARTH_OK;
    }
    etag[0] = '"';
    hearth_hex_encode(etag + 1, m->content_sha256, 32);
    memcpy(etag + 65, "\"", 2);
    hearth_http_req rq = HEARTH_HTTP_REQ_INIT;
    hearth_http_resp rp;
    hearth_http_resp_init(&rp, d->al);
    rq.range_from = have;
    rq.range_n = m->content_bytes - have;
    if (rq.range_n > HEARTH_DOWNLOAD_PIECE) rq.range_n = HEARTH_DOWNLOAD_PIECE;
    rq.if_range = etag;
    rq.max_body = (size_t)m->content_bytes;
    st = get(d, &rq, "payload", &rp, rep, err);
    if (st == HEARTH_OK) st = place(&rp, m, have, &at, err);
    if (st == HEARTH_OK)
        st = hearth_piece_store_add(d->db, d->task, m->content_sha256, at,
                                    rp.body.v, rp.body.n, err);
    if (st == HEARTH_OK) *done = at + rp.body.n >= m->content_bytes;
    hearth_http_resp_free(&rp);
    return st;
}

hearth_status hearth_download_finish(const hearth_download *d,
                                     const hearth_release *m,
                                     hearth_buf *payload, hearth_error *err) {
    uint8_t is[32];
    hearth_status st = hearth_piece_store_join(d->db, d->task,
                                               m->content_sha256, payload, err);
    if (st == HEARTH_OK) st = hearth_sha256(is, payload->v, payload->n);
    if (st != HEARTH_OK) return st;
    if (payload->n == m->content_bytes && !memcmp(is, m->content_sha256, 32))
        return HEARTH_OK;
    hearth_buf_free(payload);
    st = hearth_piece_store_drop(d->db, d->task, err);
    if (st != HEARTH_OK) return st;
    return hearth_error_set(err, HEARTH_EDIGEST,
                            "release %" PRIu64 " of %s: the content is not "
                            "what was signed; it was dropped",
                            m->sequence, m->task);
}

hearth_status hearth_download_drop(hearth_db *db, const char *task,
                                   hearth_error *err) {
    return hearth_piece_store_drop(db, task, err);
}

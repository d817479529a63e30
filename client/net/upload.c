/* SPDX-License-Identifier: Apache-2.0 */
/* client/net/upload.c - the contract is in upload.h.
 *
 * Every function that sends takes the prepared delta itself and asks it for
 * its bytes, so there is no pointer that could be swapped for other bytes, and
 * the bytes are there only after "they may leave" was made durable.
 */
#include "client/net/upload.h"

#include <stdio.h>
#include <string.h>

#include "common/bytes.h"

/* "/v1/uploads/<64 hex>" and a tail. */
static void make_path(char out[128], const hearth_upload *u, const char *tail) {
    const hearth_secret *token = &u->offer->upload_token;
    char hex[2 * sizeof(token->bytes) + 1];
    hearth_hex_encode(hex, token->bytes, sizeof(token->bytes));
    (void)snprintf(out, 128, "/v1/uploads/%s%s", hex, tail);
    hearth_zeroize(hex, sizeof(hex));
}

/* Ask and check the reply's status; rp holds the body on HEARTH_OK. */
static hearth_status ask(const hearth_upload *u, hearth_http_req *rq,
                         const char *tail, const char *what,
                         hearth_http_resp *rp, hearth_reply_info *rep,
                         hearth_error *err) {
    char path[128];
    *rep = (hearth_reply_info){.retry = hearth_retry_default};
    make_path(path, u, tail);
    rq->path = path;
    rq->cookie = NULL; /* the token is all: who sends is nobody's business */
    rq->use_cert = false;
    hearth_status st = hearth_transport_request(u->tr, rq, rp, err);
    if (st == HEARTH_OK) st = hearth_reply_check(rp, what, rep, err);
    hearth_zeroize(path, sizeof(path));
    return st;
}

static hearth_status bad_reply(const char *what, hearth_error *err) {
    return hearth_error_set(err, HEARTH_EFORMAT,
                            "%s: the reply is not what the protocol says; "
                            "update this program or tell the operator",
                            what);
}

/* Read an offset reply; the offset must lie within the upload. */
static hearth_status take_offset(const hearth_http_resp *rp, uint64_t length,
                                 const char *what, uint64_t *offset,
                                 hearth_reply_info *rep, hearth_error *err) {
    hearth_offset_reply r;
    if (hearth_decode_offset_reply(&r, rp->body.v, rp->body.n, NULL) !=
            HEARTH_OK ||
        r.offset > length)
        return bad_reply(what, err);
    *offset = r.offset;
    rep->has_retry = true;
    rep->retry = r.retry;
    return HEARTH_OK;
}

static hearth_status get_bytes(const hearth_prepared *p, const uint8_t **v,
                               size_t *n, uint8_t digest[32],
                               hearth_error *err) {
    hearth_prepared_bytes(p, v, n, digest);
    if (*v) return HEARTH_OK;
    return hearth_error_set(err, HEARTH_ESTATE,
                            "this delta may not be sent (yet)");
}

hearth_status hearth_upload_begin(const hearth_upload *u,
                                  const hearth_prepared *p, uint64_t *offset,
                                  hearth_reply_info *rep, hearth_error *err) {
    const uint8_t *v;
    size_t n;
    const hearth_offer *o = u->offer;
    hearth_begin_request m = {
        .round = o->round, .cohort = o->cohort, .stage = o->stage};
    *rep = (hearth_reply_info){.retry = hearth_retry_default};
    hearth_status st = get_bytes(p, &v, &n, m.sha256, err);
    if (st != HEARTH_OK) return st;
    m.length = n;
    memcpy(m.payload_digest, o->space.payload_digest, 32);

    hearth_buf body = HEARTH_BUF_INIT(u->al);
    hearth_http_resp rp;
    hearth_http_resp_init(&rp, u->al);
    st = hearth_encode_begin_request(&body, &m);
    if (st == HEARTH_OK) {
        hearth_http_req rq = HEARTH_HTTP_REQ_INIT;
        rq.method = HEARTH_HTTP_POST;
        rq.body = body.v;
        rq.n_body = body.n;
        st = ask(u, &rq, "", "begin upload", &rp, rep, err);
    }
    if (st == HEARTH_OK)
        st = take_offset(&rp, n, "begin upload", offset, rep, err);
    hearth_http_resp_free(&rp);
    hearth_buf_free(&body);
    return st;
}

hearth_status hearth_upload_ask(const hearth_upload *u, uint64_t *offset,
                                hearth_reply_info *rep, hearth_error *err) {
    hearth_http_req rq = HEARTH_HTTP_REQ_INIT;
    hearth_http_resp rp;
    hearth_http_resp_init(&rp, u->al);
    rq.method = HEARTH_HTTP_HEAD;
    hearth_status st = ask(u, &rq, "", "ask for the offset", &rp, rep, err);
    if (st == HEARTH_OK && rp.upload_offset < 0)
        st = bad_reply("ask for the offset", err);
    if (st == HEARTH_OK) *offset = (uint64_t)rp.upload_offset;
    hearth_http_resp_free(&rp);
    return st;
}

hearth_status hearth_upload_append(const hearth_upload *u,
                                   const hearth_prepared *p, uint64_t *offset,
                                   hearth_reply_info *rep, hearth_error *err) {
    const uint8_t *v;
    size_t n;
    *rep = (hearth_reply_info){.retry = hearth_retry_default};
    hearth_status st = get_bytes(p, &v, &n, NULL, err);
    if (st != HEARTH_OK) return st;
    if (*offset > n) return HEARTH_EINVAL;
    size_t left = n - (size_t)*offset;
    hearth_http_req rq = HEARTH_HTTP_REQ_INIT;
    hearth_http_resp rp;
    hearth_http_resp_init(&rp, u->al);
    rq.method = HEARTH_HTTP_PATCH;
    rq.upload_offset = (int64_t)*offset;
    rq.body = v + *offset;
    rq.n_body = left < HEARTH_UPLOAD_CHUNK ? left : HEARTH_UPLOAD_CHUNK;
    st = ask(u, &rq, "", "send", &rp, rep, err);
    if (st == HEARTH_OK) {
        st = take_offset(&rp, n, "send", offset, rep, err);
    } else if (st == HEARTH_ESTATE && rep->reason == HEARTH_REASON_OFFSET &&
               rep->offset <= n) {
        *offset = rep->offset; /* it knows better what it has */
        st = HEARTH_OK;
    } else if (st == HEARTH_ESTATE) {
        st = bad_reply("send", err);
    }
    hearth_http_resp_free(&rp);
    return st;
}

hearth_status hearth_upload_commit(const hearth_upload *u,
                                   const hearth_prepared *p,
                                   hearth_reply_info *rep, hearth_error *err) {
    const uint8_t *v;
    size_t n;
    hearth_commit_request m;
    hearth_commit_reply r;
    *rep = (hearth_reply_info){.retry = hearth_retry_default};
    hearth_status st = get_bytes(p, &v, &n, m.sha256, err);
    if (st != HEARTH_OK) return st;
    hearth_buf body = HEARTH_BUF_INIT(u->al);
    hearth_http_resp rp;
    hearth_http_resp_init(&rp, u->al);
    st = hearth_encode_commit_request(&body, &m);
    if (st == HEARTH_OK) {
        hearth_http_req rq = HEARTH_HTTP_REQ_INIT;
        rq.method = HEARTH_HTTP_POST;
        rq.body = body.v;
        rq.n_body = body.n;
        st = ask(u, &rq, "/commit", "commit", &rp, rep, err);
    }
    if (st == HEARTH_OK && (hearth_decode_commit_reply(&r, rp.body.v, rp.body.n,
                                                       NULL) != HEARTH_OK ||
                            r.state != HEARTH_COMMIT_ACCEPTED))
        st = bad_reply("commit", err);
    if (st == HEARTH_OK) {
        rep->has_retry = true;
        rep->retry = r.retry;
    }
    hearth_http_resp_free(&rp);
    hearth_buf_free(&body);
    return st;
}

hearth_time_bucket hearth_upload_bucket(int64_t spent_ms) {
    if (spent_ms < 60000) return HEARTH_BUCKET_MINUTE;
    if (spent_ms < 600000) return HEARTH_BUCKET_TEN_MINUTES;
    if (spent_ms < 3600000) return HEARTH_BUCKET_HOUR;
    return HEARTH_BUCKET_LONGER;
}

hearth_status hearth_upload_abort(const hearth_upload *u,
                                  hearth_abort_reason reason, int64_t spent_ms,
                                  hearth_reply_info *rep, hearth_error *err) {
    hearth_abort_request m = {(uint32_t)reason,
                              (uint32_t)hearth_upload_bucket(spent_ms)};
    hearth_buf body = HEARTH_BUF_INIT(u->al);
    hearth_http_resp rp;
    *rep = (hearth_reply_info){.retry = hearth_retry_default};
    hearth_http_resp_init(&rp, u->al);
    hearth_status st = hearth_encode_abort_request(&body, &m);
    if (st == HEARTH_OK) {
        hearth_http_req rq = HEARTH_HTTP_REQ_INIT;
        rq.method = HEARTH_HTTP_POST;
        rq.body = body.v;
        rq.n_body = body.n;
        st = ask(u, &rq, "/abort", "give up", &rp, rep, err);
    }
    hearth_http_resp_free(&rp);
    hearth_buf_free(&body);
    return st;
}

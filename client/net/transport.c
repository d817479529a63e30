/* SPDX-License-Identifier: Apache-2.0 */
/* client/net/transport.c - what all transports share: the check of a request
 * before it goes out, and of the two headers that we read.  A path is ours, but
 * the task name in it came from the coordinator, so it is checked here once
 * for every transport. */
#include "client/net/transport.h"

#include <string.h>
#include <strings.h>

void hearth_http_resp_init(hearth_http_resp *rp, const hearth_alloc *al) {
    *rp = (hearth_http_resp){0};
    rp->body = (hearth_buf)HEARTH_BUF_INIT(al);
    rp->upload_offset = -1;
}

void hearth_http_resp_free(hearth_http_resp *rp) {
    if (rp) hearth_buf_free(&rp->body);
}

const char *hearth_http_method_name(hearth_http_method m) {
    static const char *const name[] = {"GET", "POST", "HEAD", "PATCH"};
    return (unsigned)m < 4 ? name[m] : "?";
}

/* Unreserved characters of RFC 3986 and '/', nothing that needs escaping. */
static bool path_ok(const char *p) {
    if (!p || p[0] != '/') return false;
    size_t n = strlen(p);
    if (n > 512 || strstr(p, "..") || strstr(p, "//")) return false;
    return strspn(p, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                     "0123456789-._~/") == n;
}

/* A header value that cannot start another header. */
static bool value_ok(const char *v) {
    if (!v) return true;
    for (size_t i = 0; v[i]; i++)
        if ((unsigned char)v[i] <= 0x20 || (unsigned char)v[i] >= 0x7f ||
            i >= 4096)
            return false;
    return true;
}

/* The value after "name:", without white space at either end. */
static const char *header_value(const char *line, size_t n, const char *name,
                                size_t *n_value) {
    size_t k = strlen(name);
    if (n < k + 1 || strncasecmp(line, name, k) != 0 || line[k] != ':')
        return NULL;
    const char *v = line + k + 1, *end = line + n;
    while (v < end && (*v == ' ' || *v == '\t')) v++;
    while (end > v && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' ' ||
                       end[-1] == '\t'))
        end--;
    *n_value = (size_t)(end - v);
    return v;
}

void hearth_http_resp_header(hearth_http_resp *rp, const char *line, size_t n) {
    size_t k;
    const char *v = header_value(line, n, "upload-offset", &k);
    if (v && k > 0 && k <= 18) {
        int64_t x = 0;
        for (size_t i = 0; i < k; i++) {
            if (v[i] < '0' || v[i] > '9') return;
            x = x * 10 + (v[i] - '0');
        }
        rp->upload_offset = x;
    }
    v = header_value(line, n, "etag", &k);
    if (v && k < sizeof(rp->etag) && !memchr(v, 0, k)) {
        memcpy(rp->etag, v, k);
        rp->etag[k] = '\0';
        if (!value_ok(rp->etag)) rp->etag[0] = '\0';
    }
}

static bool request_ok(const hearth_http_req *rq) {
    if ((unsigned)rq->method > HEARTH_HTTP_PATCH || !path_ok(rq->path))
        return false;
    if (!value_ok(rq->cookie) || !value_ok(rq->if_range)) return false;
    if (!rq->body && rq->n_body) return false;
    bool has_body =
        rq->method == HEARTH_HTTP_POST || rq->method == HEARTH_HTTP_PATCH;
    if (rq->n_body && !has_body) return false;
    return rq->range_from <= UINT64_MAX - rq->range_n;
}

hearth_status hearth_transport_request(const hearth_transport *tr,
                                       const hearth_http_req *rq,
                                       hearth_http_resp *rp,
                                       hearth_error *err) {
    if (!tr || !tr->request || !rq || !rp || !request_ok(rq))
        return hearth_error_set(err, HEARTH_EINVAL,
                                "request to the coordinator is malformed; "
                                "check the task name and the server address");
    const hearth_alloc *al = rp->body.al;
    hearth_http_resp_free(rp);
    hearth_http_resp_init(rp, al);
    hearth_status st = tr->request(tr->ud, rq, rp, err);
    if (st == HEARTH_OK && (rp->status < 100 || rp->status > 599))
        st = hearth_error_set(err, HEARTH_EFORMAT,
                              "reply without an HTTP status; check that the "
                              "server address is a Hearth coordinator");
    size_t cap = rq->max_body ? rq->max_body : HEARTH_HTTP_BODY_CAP;
    if (st == HEARTH_OK && rp->body.n > cap)
        st = hearth_error_set(err, HEARTH_ETOOBIG,
                              "reply above %zu bytes was dropped", cap);
    if (st == HEARTH_OK && rq->sink && rp->body.n &&
        (rp->status == 200 || rp->status == 206)) {
        st = rq->sink(rq->sink_ud, rp->body.v, rp->body.n);
        hearth_buf_clear(&rp->body);
    }
    if (st != HEARTH_OK) hearth_buf_clear(&rp->body);
    return st;
}

void hearth_transport_cancel(const hearth_transport *tr) {
    if (tr && tr->cancel) tr->cancel(tr->ud);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/routes.c - exact matching, no decoding, no trailing slash. */
#include "coordinator/routes.h"

#include <string.h>

#include "common/bytes.h"

#define MAX_PATH 256u

static bool digit(char c) {
    return c >= '0' && c <= '9';
}

/* Decimal without sign or leading zero, up to 2^53. */
static bool read_number(const char *s, size_t n, uint64_t *v) {
    *v = 0;
    if (n == 0 || n > 16 || (n > 1 && s[0] == '0')) return false;
    for (size_t i = 0; i < n; i++) {
        if (!digit(s[i])) return false;
        *v = *v * 10 + (uint64_t)(s[i] - '0');
    }
    return *v <= HEARTH_PROTO_MAX_SEQUENCE;
}

/* The part up to the next '/', which is skipped; the rest in *rest. */
static size_t segment(const char *s, const char **rest) {
    const char *slash = strchr(s, '/');
    size_t n = slash ? (size_t)(slash - s) : strlen(s);
    *rest = slash ? slash + 1 : NULL;
    return n;
}

static uint32_t only(const char *method, const char *wanted, uint32_t kind) {
    return strcmp(method, wanted) == 0 ? kind : HEARTH_ROUTE_METHOD;
}

/* {task}/{sequence}/manifest|payload */
static void parse_release(hearth_route *r, const char *method, const char *s) {
    const char *seq, *what, *rest;
    size_t n = segment(s, &seq);
    if (!seq || n == 0 || n >= sizeof(r->task)) return;
    memcpy(r->task, s, n);
    if (!hearth_task_name_ok(r->task)) return;
    n = segment(seq, &what);
    if (!what) return;
    if (!(n == 6 && memcmp(seq, "latest", 6) == 0) &&
        (!read_number(seq, n, &r->sequence) || r->sequence == 0))
        return;
    (void)segment(what, &rest);
    if (rest) return;
    if (strcmp(what, "manifest") == 0)
        r->kind = only(method, "GET", HEARTH_ROUTE_MANIFEST);
    else if (strcmp(what, "payload") == 0)
        r->kind = only(method, "GET", HEARTH_ROUTE_PAYLOAD);
}

/* {token}[/commit|/abort] */
static void parse_upload(hearth_route *r, const char *method, const char *s) {
    const char *rest;
    size_t n = segment(s, &rest);
    if (hearth_hex_decode(r->token.bytes, sizeof(r->token.bytes), s, n) !=
        HEARTH_OK)
        return;
    if (rest && strcmp(rest, "commit") == 0) {
        r->kind = only(method, "POST", HEARTH_ROUTE_COMMIT);
    } else if (rest && strcmp(rest, "abort") == 0) {
        r->kind = only(method, "POST", HEARTH_ROUTE_ABORT);
    } else if (!rest) {
        if (strcmp(method, "POST") == 0)
            r->kind = HEARTH_ROUTE_BEGIN;
        else if (strcmp(method, "HEAD") == 0)
            r->kind = HEARTH_ROUTE_OFFSET;
        else
            r->kind = only(method, "PATCH", HEARTH_ROUTE_APPEND);
    }
}

void hearth_route_parse(hearth_route *r, const char *method, const char *path) {
    memset(r, 0, sizeof(*r));
    if (!method || !path || strlen(path) > MAX_PATH) return;
    if (strcmp(path, "/v1/keyset") == 0)
        r->kind = only(method, "GET", HEARTH_ROUTE_KEYSET);
    else if (strcmp(path, "/v1/enroll") == 0)
        r->kind = only(method, "POST", HEARTH_ROUTE_ENROLL);
    else if (strcmp(path, "/v1/renew") == 0)
        r->kind = only(method, "POST", HEARTH_ROUTE_RENEW);
    else if (strcmp(path, "/v1/checkin") == 0)
        r->kind = only(method, "POST", HEARTH_ROUTE_CHECKIN);
    else if (strncmp(path, "/v1/releases/", 13) == 0)
        parse_release(r, method, path + 13);
    else if (strncmp(path, "/v1/uploads/", 12) == 0)
        parse_upload(r, method, path + 12);
}

int hearth_route_http_status(uint32_t reason) {
    switch (reason) {
    case HEARTH_REASON_NONE: return 200;
    case HEARTH_REASON_BAD_MESSAGE: return 400;
    case HEARTH_REASON_CREDENTIAL: return 401;
    case HEARTH_REASON_EXPIRED: return 403;
    case HEARTH_REASON_UNKNOWN: return 404;
    case HEARTH_REASON_FULL:
    case HEARTH_REASON_OFFSET:
    case HEARTH_REASON_DIGEST:
    case HEARTH_REASON_ALTERED: return 409;
    case HEARTH_REASON_CLOSED:
    case HEARTH_REASON_ABORTED: return 410;
    case HEARTH_REASON_TOO_BIG: return 413;
    case HEARTH_REASON_RANGE: return 422;
    case HEARTH_REASON_VERSION: return 426;
    case HEARTH_REASON_DISK:
    case HEARTH_REASON_BUSY: return 503;
    default: return 500;
    }
}

hearth_status hearth_route_range(const char *range, uint64_t total,
                                 uint64_t *first, uint64_t *n) {
    uint64_t a, b;
    const char *dash;
    *first = 0;
    *n = total;
    if (!range || strncmp(range, "bytes=", 6) != 0) return HEARTH_EFORMAT;
    range += 6;
    dash = strchr(range, '-');
    if (!dash || !read_number(range, (size_t)(dash - range), &a))
        return HEARTH_EFORMAT;
    b = HEARTH_PROTO_MAX_SEQUENCE;
    if (dash[1] && (!read_number(dash + 1, strlen(dash + 1), &b) || b < a))
        return HEARTH_EFORMAT;
    if (a >= total) return HEARTH_EINVAL;
    *first = a;
    *n = (b < total - 1 ? b : total - 1) - a + 1;
    return HEARTH_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/http.c - the contract is in http.h.
 *
 * llhttp keeps no copies: it reports spans of what it was fed, and a name or
 * value may come in several.  Each is collected in one fixed array; what does
 * not fit there is an error for the headers that are read, and ignored for the
 * others.  The head is fed in slices of at most what is left of its cap, so a
 * head that never ends stops at the cap.  While a body is read, a slice is at
 * most the free part of the body array, so a span always fits.
 */
#include "coordinator/http.h"

#include <stdio.h>
#include <string.h>

#include <llhttp.h>

#include "common/bytes.h"
#include "common/mem.h"

#define NAME_CAP  32
#define VALUE_CAP 512

/* Headers that are read; any other is skipped. */
typedef enum {
    FIELD_NONE,
    FIELD_IF_NONE_MATCH,
    FIELD_RANGE,
    FIELD_IF_RANGE,
    FIELD_COOKIE,
    FIELD_UPLOAD_OFFSET,
    FIELD_EXPECT,
    FIELD_LENGTH, /* llhttp reads it; here only its presence is noted */
    FIELD_ENCODING,
    FIELD_COUNT
} field;

static const char *const FIELD_NAMES[FIELD_COUNT] = {
    "",         "if-none-match",  "range",
    "if-range", "cookie",         "upload-offset",
    "expect",   "content-length", "transfer-encoding"};

struct hearth_http {
    hearth_alloc al;
    llhttp_t parser;
    hearth_http_head head;
    char name[NAME_CAP], value[VALUE_CAP];
    size_t name_n, value_n, path_n; /* may pass the caps: then too long */
    size_t head_bytes, n_headers;
    unsigned seen; /* bit per field: a second one is an error */
    uint8_t *body; /* [HEARTH_HTTP_BODY] or NULL */
    size_t body_n;
    uint64_t body_at; /* of body[0] in the whole body */
    int error;        /* HTTP status, 0 while all is well */
    bool started, head_done, announced, done, stream;
};

/* ---- callbacks of llhttp: 0 goes on, anything else stops --------------- */

static hearth_http *self(llhttp_t *p) {
    return p->data;
}

static int fail(hearth_http *h, int status) {
    if (!h->error) h->error = status;
    return HPE_USER;
}

static size_t collect(char *to, size_t cap, size_t n_now, const char *at,
                      size_t n) {
    for (size_t i = 0; i < n && n_now + i < cap; i++) to[n_now + i] = at[i];
    return n_now + n;
}

static int on_begin(llhttp_t *p) {
    self(p)->started = true;
    return 0;
}

static int on_url(llhttp_t *p, const char *at, size_t n) {
    hearth_http *h = self(p);
    h->path_n = collect(h->head.path, HEARTH_HTTP_MAX_PATH, h->path_n, at, n);
    return h->path_n > HEARTH_HTTP_MAX_PATH ? fail(h, 414) : 0;
}

static int on_name(llhttp_t *p, const char *at, size_t n) {
    hearth_http *h = self(p);
    h->name_n = collect(h->name, sizeof(h->name), h->name_n, at, n);
    return 0;
}

static int on_value(llhttp_t *p, const char *at, size_t n) {
    hearth_http *h = self(p);
    h->value_n = collect(h->value, sizeof(h->value), h->value_n, at, n);
    return 0;
}

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static field field_of(const hearth_http *h) {
    for (int f = FIELD_NONE + 1; f < FIELD_COUNT; f++) {
        const char *want = FIELD_NAMES[f];
        size_t i = 0;
        if (h->name_n != strlen(want)) continue;
        while (i < h->name_n && lower(h->name[i]) == want[i]) i++;
        if (i == h->name_n) return (field)f;
    }
    return FIELD_NONE;
}

/* The collected value into out, printable ASCII only. */
static bool take_value(const hearth_http *h, char *out, size_t cap) {
    if (h->value_n >= cap || h->value_n >= VALUE_CAP) return false;
    for (size_t i = 0; i < h->value_n; i++)
        if (h->value[i] < 0x20 || h->value[i] > 0x7e) return false;
    memcpy(out, h->value, h->value_n);
    out[h->value_n] = '\0';
    return true;
}

/* "Cookie: a=b; hearth=X; c=d": X, or "" when there is none. */
static bool take_cookie(const hearth_http *h, char *out, size_t cap) {
    static const char key[] = "hearth=";
    char all[VALUE_CAP];
    if (!take_value(h, all, sizeof(all))) return false;
    for (const char *p = all; p && *p;) {
        while (*p == ' ' || *p == ';') p++;
        const char *end = strchr(p, ';');
        size_t n = end ? (size_t)(end - p) : strlen(p);
        if (n >= sizeof(key) - 1 && memcmp(p, key, sizeof(key) - 1) == 0) {
            n -= sizeof(key) - 1;
            if (n >= cap) return false;
            memcpy(out, p + sizeof(key) - 1, n);
            out[n] = '\0';
            return true;
        }
        p = end;
    }
    return true;
}

static bool take_number(const hearth_http *h, uint64_t *out) {
    uint64_t v = 0;
    if (h->value_n == 0 || h->value_n > 18) return false;
    for (size_t i = 0; i < h->value_n; i++) {
        if (h->value[i] < '0' || h->value[i] > '9') return false;
        v = v * 10 + (uint64_t)(h->value[i] - '0');
    }
    *out = v;
    return true;
}

static bool take_field(hearth_http *h, field f) {
    hearth_http_head *d = &h->head;
    switch (f) {
    case FIELD_IF_NONE_MATCH:
        return take_value(h, d->if_none_match, sizeof(d->if_none_match));
    case FIELD_RANGE: return take_value(h, d->range, sizeof(d->range));
    case FIELD_IF_RANGE: return take_value(h, d->if_range, sizeof(d->if_range));
    case FIELD_COOKIE: return take_cookie(h, d->cookie, sizeof(d->cookie));
    case FIELD_UPLOAD_OFFSET:
        d->has_upload_offset = true;
        return take_number(h, &d->upload_offset);
    case FIELD_EXPECT:
        d->expect_continue =
            h->value_n == 12 && memcmp(h->value, "100-continue", 12) == 0;
        return d->expect_continue;
    default: return true;
    }
}

static int on_header(llhttp_t *p) {
    hearth_http *h = self(p);
    field f = field_of(h);
    if (++h->n_headers > HEARTH_HTTP_MAX_HEADERS) return fail(h, 431);
    if (f != FIELD_NONE) {
        if (h->seen & (1u << f)) return fail(h, 400);
        h->seen |= 1u << f;
        if (!take_field(h, f)) return fail(h, 400);
    }
    h->name_n = h->value_n = 0;
    return 0;
}

static bool path_ok(const char *path) {
    if (path[0] != '/') return false;
    for (const char *c = path; *c; c++)
        if (*c <= 0x20 || *c > 0x7e || *c == '\\' || *c == '%') return false;
    return true;
}

static int on_head_end(llhttp_t *p) {
    hearth_http *h = self(p);
    hearth_http_head *d = &h->head;
    const char *name = llhttp_method_name((llhttp_method_t)p->method);
    bool get = p->method == HTTP_GET || p->method == HTTP_HEAD;
    d->path[h->path_n] = '\0';
    (void)snprintf(d->method, sizeof(d->method), "%.7s", name);
    d->length = (h->seen & (1u << FIELD_LENGTH)) ? p->content_length : 0;
    d->keep_alive = llhttp_should_keep_alive(p) != 0;
    if (p->http_major != 1) return fail(h, 505);
    if (!get && p->method != HTTP_POST && p->method != HTTP_PATCH)
        return fail(h, 405);
    if (p->upgrade) return fail(h, 501);
    if (!path_ok(d->path)) return fail(h, 400);
    if (h->seen & (1u << FIELD_ENCODING)) return fail(h, 411);
    if (!get && !(h->seen & (1u << FIELD_LENGTH))) return fail(h, 411);
    if (d->length > hearth_http_body_cap(d, &h->stream)) return fail(h, 413);
    if (d->length > 0 && !h->body) {
        h->body = hearth_mem_array(&h->al, HEARTH_HTTP_BODY, 1);
        if (!h->body) return fail(h, 503);
    }
    h->head_done = true;
    return 0;
}

static int on_body(llhttp_t *p, const char *at, size_t n) {
    hearth_http *h = self(p);
    if (n > HEARTH_HTTP_BODY - h->body_n) return fail(h, 413);
    memcpy(h->body + h->body_n, at, n);
    h->body_n += n;
    return 0;
}

static int on_end(llhttp_t *p) {
    self(p)->done = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t CALLBACKS = {
    .on_message_begin = on_begin,
    .on_url = on_url,
    .on_header_field = on_name,
    .on_header_value = on_value,
    .on_header_value_complete = on_header,
    .on_headers_complete = on_head_end,
    .on_body = on_body,
    .on_message_complete = on_end,
};

/* ---- the parser -------------------------------------------------------- */

/* Bodies and heads hold tokens and cookies. */
static void drop_body(hearth_http *h) {
    if (h->body) hearth_zeroize(h->body, HEARTH_HTTP_BODY);
    hearth_mem_free(&h->al, h->body);
    h->body = NULL;
}

static void reset(hearth_http *h) {
    hearth_zeroize(&h->head, sizeof(h->head));
    hearth_zeroize(h->value, sizeof(h->value));
    h->name_n = h->value_n = h->path_n = 0;
    h->head_bytes = h->n_headers = h->body_n = 0;
    h->seen = 0;
    h->body_at = 0;
    h->started = h->head_done = h->announced = h->done = h->stream = false;
}

hearth_status hearth_http_new(hearth_http **out, const hearth_alloc *al) {
    const hearth_alloc *hooks = hearth_mem_or_default(al);
    hearth_http *h = hearth_mem_new(hooks, sizeof(*h));
    *out = h;
    if (!h) return HEARTH_ENOMEM;
    h->al = *hooks;
    llhttp_init(&h->parser, HTTP_REQUEST, &CALLBACKS);
    h->parser.data = h;
    return HEARTH_OK;
}

void hearth_http_free(hearth_http *h) {
    if (!h) return;
    hearth_alloc al = h->al;
    drop_body(h);
    hearth_zeroize(h, sizeof(*h));
    hearth_mem_free(&al, h);
}

/* How much of n may be given to llhttp at once. */
static size_t slice(const hearth_http *h, size_t n) {
    size_t room = h->head_done ? HEARTH_HTTP_BODY - h->body_n
                               : HEARTH_HTTP_MAX_HEAD - h->head_bytes;
    return n < room ? n : room;
}

/* One slice into llhttp; returns how many bytes it took. */
static size_t parse_slice(hearth_http *h, const uint8_t *p, size_t n) {
    bool in_head = !h->head_done;
    llhttp_errno_t rc = llhttp_execute(&h->parser, (const char *)p, n);
    size_t took = n;
    if (rc != HPE_OK) {
        const char *at = llhttp_get_error_pos(&h->parser);
        if (at) took = (size_t)(at - (const char *)p);
        if (took > n) took = n;
    }
    if (in_head) h->head_bytes += took;
    if (rc != HPE_OK && rc != HPE_PAUSED && !h->error) h->error = 400;
    return took;
}

hearth_http_event hearth_http_feed(hearth_http *h, const uint8_t *p, size_t n,
                                   size_t *used) {
    *used = 0;
    if (h->error) return HEARTH_HTTP_ERROR;
    if (h->done) return HEARTH_HTTP_REQUEST;
    if (h->head_done && h->body_n == HEARTH_HTTP_BODY) { /* was a piece */
        h->body_at += h->body_n;
        h->body_n = 0;
    }
    while (*used < n) {
        size_t m = slice(h, n - *used);
        if (m == 0) { /* only a head can be without room here */
            h->error = 431;
            return HEARTH_HTTP_ERROR;
        }
        *used += parse_slice(h, p + *used, m);
        if (h->error) return HEARTH_HTTP_ERROR;
        if (h->done) return HEARTH_HTTP_REQUEST;
        if (h->head_done && h->head.expect_continue && !h->announced &&
            h->head.length > 0) {
            h->announced = true;
            return HEARTH_HTTP_CONTINUE;
        }
        if (h->head_done && h->body_n == HEARTH_HTTP_BODY)
            return HEARTH_HTTP_PIECE;
    }
    return HEARTH_HTTP_MORE;
}

const uint8_t *hearth_http_body(const hearth_http *h, size_t *n, uint64_t *at) {
    *n = h->body_n;
    if (at) *at = h->body_at;
    return h->body;
}

const hearth_http_head *hearth_http_get_head(const hearth_http *h) {
    return &h->head;
}

int hearth_http_error_status(const hearth_http *h) {
    return h->error;
}

void hearth_http_next(hearth_http *h) {
    if (h->error) return;
    drop_body(h);
    reset(h);
    llhttp_resume(&h->parser);
}

bool hearth_http_in_request(const hearth_http *h) {
    return h->started && !h->done;
}

bool hearth_http_head_done(const hearth_http *h) {
    return h->head_done;
}

uint64_t hearth_http_body_cap(const hearth_http_head *head, bool *stream) {
    static const char uploads[] = "/v1/uploads/";
    bool upload = strncmp(head->path, uploads, sizeof(uploads) - 1) == 0;
    *stream = false;
    if (strcmp(head->method, "PATCH") == 0) {
        *stream = upload;
        return upload ? HEARTH_PROTO_MAX_APPEND : 0;
    }
    if (strcmp(head->method, "POST") == 0) return upload ? 1024 : 8192;
    return 0;
}

/* ---- replies ----------------------------------------------------------- */

const char *hearth_http_status_text(int status) {
    static const struct {
        int status;
        const char *text;
    } map[] = {{100, "Continue"},
               {200, "OK"},
               {201, "Created"},
               {204, "No Content"},
               {206, "Partial Content"},
               {304, "Not Modified"},
               {400, "Bad Request"},
               {401, "Unauthorized"},
               {403, "Forbidden"},
               {404, "Not Found"},
               {405, "Method Not Allowed"},
               {408, "Request Timeout"},
               {409, "Conflict"},
               {410, "Gone"},
               {411, "Length Required"},
               {413, "Content Too Large"},
               {414, "URI Too Long"},
               {416, "Range Not Satisfiable"},
               {422, "Unprocessable Content"},
               {426, "Upgrade Required"},
               {429, "Too Many Requests"},
               {431, "Request Header Fields Too Large"},
               {500, "Internal Server Error"},
               {501, "Not Implemented"},
               {503, "Service Unavailable"},
               {505, "HTTP Version Not Supported"},
               {507, "Insufficient Storage"}};
    for (size_t i = 0; i < sizeof(map) / sizeof(map[0]); i++)
        if (map[i].status == status) return map[i].text;
    return "Unknown";
}

hearth_status hearth_http_write_head(hearth_buf *out,
                                     const hearth_http_reply_head *r) {
    (void)hearth_buf_printf(out, "HTTP/1.1 %d %s\r\n", r->status,
                            hearth_http_status_text(r->status));
    if (r->content_type)
        (void)hearth_buf_printf(out, "Content-Type: %s\r\n", r->content_type);
    if (r->etag) (void)hearth_buf_printf(out, "ETag: %s\r\n", r->etag);
    if (r->cache_control)
        (void)hearth_buf_printf(out, "Cache-Control: %s\r\n", r->cache_control);
    if (r->has_upload_offset)
        (void)hearth_buf_printf(out, "Upload-Offset: %llu\r\n",
                                (unsigned long long)r->upload_offset);
    if (r->has_range && r->length > 0)
        (void)hearth_buf_printf(
            out, "Content-Range: bytes %llu-%llu/%llu\r\n",
            (unsigned long long)r->range_from,
            (unsigned long long)(r->range_from + r->length - 1),
            (unsigned long long)r->range_total);
    if (r->status != 304 && r->status != 204)
        (void)hearth_buf_printf(out, "Content-Length: %llu\r\n",
                                (unsigned long long)r->length);
    if (r->close) (void)hearth_buf_puts(out, "Connection: close\r\n");
    (void)hearth_buf_puts(out, "\r\n");
    return out->failed ? HEARTH_ENOMEM : HEARTH_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/listener.c - the contract is in listener.h.
 *
 * Each connection is a small machine driven by pump(): it takes plaintext
 * until the parser has something to hand on, and stops while `waiting` (the
 * app has the request) or `writing` (the kernel has our bytes).  A connection
 * is freed when its handle is closed and no reply is owed to it: the app may
 * still hold a pointer to one whose peer has gone.
 */
#include "coordinator/listener.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/error.h"
#include "common/mem.h"
#include "coordinator/http.h"

#define READ_BYTES  16384 /* from a socket at once; one buffer for all */
#define PLAIN_BYTES 4096  /* decrypted at once */
#define FILE_BYTES  8192  /* of a file sent at once */
#define BACKLOG     256
#define SWEEP_MS    250
#define LINGER_MS   1000

typedef struct connection {
    hearth_listener *l;
    uv_tcp_t tcp;
    uv_write_t write;
    hearth_tls *tls; /* NULL: plain */
    hearth_http *http;
    hearth_buf rest;    /* plaintext that the parser has not taken yet */
    hearth_buf sending; /* what the kernel is being given */
    char id[HEARTH_X509_ID_MAX + 1]; /* of the certificate, or "" */
    int file;                        /* -1: none */
    uint64_t file_left, file_at;
    uint64_t started_ms, deadline_ms; /* loop time */
    bool piece;                       /* the event handed on was no last one */
    bool waiting, writing, closing, closed, end_after_write;
    bool pumping;   /* pump is on the stack: replies only set flags */
    bool lingering; /* said goodbye: reads and drops until the peer closes */
    bool skip;      /* the reply is out: drop the rest of the body */
    bool known;     /* the peer's certificate was looked at */
    struct connection *prev, *next;
} connection;

struct hearth_listener {
    hearth_alloc al;
    uv_loop_t *loop;
    uv_tcp_t server;
    uv_timer_t sweep;
    hearth_listener_config cfg;
    connection *first;
    unsigned n_open; /* handles not yet closed */
    int port;
    bool listening, stopping, full;
    uint64_t cut_ms; /* loop time at which stop cuts what is left */
    hearth_listener_counters count;
    char read_buffer[READ_BYTES];
};

static void pump(connection *c);
static void linger(connection *c);
static void end(connection *c);

/* ---- life of a connection ---------------------------------------------- */

static void forget(connection *c) {
    hearth_listener *l = c->l;
    if (!c->closed || c->waiting) return; /* a reply is still owed to it */
    if (c->prev)
        c->prev->next = c->next;
    else
        l->first = c->next;
    if (c->next) c->next->prev = c->prev;
    hearth_mem_free(&l->al, c);
}

static void accept_one(hearth_listener *l);

static void on_closed(uv_handle_t *h) {
    connection *c = h->data;
    hearth_listener *l = c->l;
    c->closed = true;
    l->n_open--;
    l->count.connections--;
    hearth_tls_free(c->tls);
    hearth_http_free(c->http);
    hearth_buf_free(&c->rest);
    hearth_buf_free(&c->sending);
    if (c->file >= 0) (void)close(c->file);
    c->tls = NULL;
    c->http = NULL;
    c->file = -1;
    forget(c);
    if (l->full && !l->stopping) {
        l->full = false;
        accept_one(l);
    }
}

static void end(connection *c) {
    if (c->closing) return;
    c->closing = true;
    uv_close((uv_handle_t *)&c->tcp, on_closed);
}

static void set_deadline(connection *c, int64_t ms) {
    c->deadline_ms = uv_now(c->l->loop) + (uint64_t)ms;
}

/* ---- writing ----------------------------------------------------------- */

static void next_file_piece(connection *c);

static void on_written(uv_write_t *w, int status) {
    connection *c = w->data;
    hearth_buf_free(&c->sending);
    c->writing = false;
    if (c->closing) return;
    if (status < 0) {
        end(c);
        return;
    }
    if (c->lingering) return; /* that was the goodbye: its time runs */
    set_deadline(c, c->l->cfg.idle_ms);
    if (c->file >= 0)
        next_file_piece(c);
    else if (c->end_after_write)
        linger(c);
    else
        pump(c);
}

/* Give the kernel what is ready.  True when something was. */
static bool flush(connection *c) {
    if (c->closing || c->writing) return false;
    if (c->tls) hearth_tls_output_move(c->tls, &c->sending);
    if (c->sending.n == 0) {
        hearth_buf_free(&c->sending);
        return false;
    }
    uv_buf_t b = uv_buf_init((char *)c->sending.v, (unsigned)c->sending.n);
    c->write.data = c;
    c->l->count.bytes_out += c->sending.n;
    if (uv_write(&c->write, (uv_stream_t *)&c->tcp, &b, 1, on_written) != 0) {
        end(c);
        return false;
    }
    c->writing = true;
    return true;
}

/* Put bytes on their way; they leave with the next flush. */
static bool put(connection *c, const void *p, size_t n) {
    hearth_status st = c->tls ? hearth_tls_write(c->tls, p, n)
                              : hearth_buf_append(&c->sending, p, n);
    if (st != HEARTH_OK) end(c);
    return st == HEARTH_OK;
}

static void close_file(connection *c) {
    (void)close(c->file);
    c->file = -1;
}

static void next_file_piece(connection *c) {
    uint8_t piece[FILE_BYTES / 4];
    for (int i = 0; i < 4 && c->file_left > 0; i++) {
        size_t want = sizeof(piece);
        if (want > c->file_left) want = (size_t)c->file_left;
        ssize_t got = pread(c->file, piece, want, (off_t)c->file_at);
        if (got <= 0) { /* the length is promised: only a cut can say so */
            end(c);
            return;
        }
        c->file_at += (uint64_t)got;
        c->file_left -= (uint64_t)got;
        if (!put(c, piece, (size_t)got)) return;
    }
    if (c->file_left == 0) close_file(c);
    (void)flush(c);
}

/* ---- replies ----------------------------------------------------------- */

static bool put_head(connection *c, const hearth_http_response *rp,
                     uint64_t length) {
    hearth_buf b = HEARTH_BUF_INIT(&c->l->al);
    hearth_http_reply_head h = {.status = rp->status,
                                .content_type = rp->content_type,
                                .etag = rp->etag,
                                .cache_control = rp->cache_control,
                                .length = length,
                                .has_upload_offset = rp->has_upload_offset,
                                .upload_offset = rp->upload_offset,
                                .has_range = rp->has_range,
                                .range_from = rp->file_offset,
                                .range_total = rp->total,
                                .close = c->end_after_write};
    bool ok = hearth_http_write_head(&b, &h) == HEARTH_OK && put(c, b.v, b.n);
    hearth_buf_free(&b);
    return ok;
}

static void count_reply(hearth_listener *l, int status) {
    int digit = status / 100;
    l->count.replies[digit >= 1 && digit <= 5 ? digit : 5]++;
}

/* Send rp as the reply to the present request. */
static void send_reply(connection *c, const hearth_http_response *rp) {
    const hearth_http_head *head = hearth_http_get_head(c->http);
    bool bare = strcmp(head->method, "HEAD") == 0 || rp->status == 304;
    uint64_t length = rp->file ? rp->file_n : rp->body_n;
    if (!head->keep_alive || c->l->stopping) c->end_after_write = true;
    count_reply(c->l, rp->status);
    if (rp->file && !bare && length > 0) {
        c->file = open(rp->file, O_RDONLY | O_CLOEXEC);
        c->file_at = rp->file_offset;
        c->file_left = rp->file_n;
        if (c->file < 0) {
            end(c);
            return;
        }
    }
    if (!put_head(c, rp, length)) return;
    if (!bare && !rp->file && rp->body_n > 0 && !put(c, rp->body, rp->body_n))
        return;
    set_deadline(c, c->l->cfg.idle_ms);
    if (c->file >= 0)
        next_file_piece(c);
    else
        (void)flush(c);
}

/* A reply of the listener itself: something was wrong with the bytes. */
static void send_error(connection *c, int status, uint32_t reason) {
    hearth_buf b = HEARTH_BUF_INIT(&c->l->al);
    hearth_http_response rp = {0};
    hearth_error_reply er = {.reason = reason, .retry = c->l->cfg.retry};
    (void)snprintf(er.message, sizeof(er.message), "%s",
                   hearth_http_status_text(status));
    if (hearth_encode_error_reply(&b, &er) != HEARTH_OK) hearth_buf_clear(&b);
    rp.status = status;
    rp.content_type = HEARTH_PROTO_CONTENT_TYPE;
    rp.cache_control = "no-store";
    rp.body = b.v;
    rp.body_n = b.n;
    c->end_after_write = true;
    send_reply(c, &rp);
    hearth_buf_free(&b);
}

/* The request was dealt with: be ready for the next. */
static void finish_request(connection *c) {
    c->skip = false;
    hearth_http_next(c->http);
    set_deadline(c, c->l->cfg.idle_ms);
}

static void on_reply(void *ud, const hearth_http_response *rp) {
    connection *c = ud;
    c->waiting = false;
    if (c->closing) {
        forget(c);
        return;
    }
    if (c->piece && rp->status < 300) { /* go on with the upload */
        set_deadline(c, c->l->cfg.idle_ms);
    } else {
        send_reply(c, rp);
        if (c->closing) return;
        if (c->piece)
            c->skip = true;
        else
            finish_request(c);
    }
    pump(c);
}

/* ---- requests ---------------------------------------------------------- */

static void identify(connection *c, const hearth_http_head *head,
                     hearth_peer *peer) {
    hearth_listener *l = c->l;
    if (c->tls && !c->known) {
        c->known = hearth_tls_peer(c->tls, c->id) != HEARTH_ENOMEM;
    }
    memset(peer, 0, sizeof(*peer));
    if (c->id[0]) {
        peer->kind = HEARTH_PEER_DEVICE_CERT;
        (void)snprintf(peer->device_id, sizeof(peer->device_id), "%s", c->id);
    } else if (head->cookie[0] && l->cfg.app.cookie &&
               l->cfg.app.cookie(l->cfg.app.ud, head->cookie,
                                 peer->device_id) == HEARTH_OK) {
        peer->kind = HEARTH_PEER_COOKIE;
    }
}

static const char *or_null(const char *s) {
    return s[0] ? s : NULL;
}

static void dispatch(connection *c, bool last) {
    const hearth_http_head *head = hearth_http_get_head(c->http);
    hearth_http_request rq = {0};
    uint64_t at = 0;
    rq.method = head->method;
    rq.path = head->path;
    rq.if_none_match = or_null(head->if_none_match);
    rq.range = or_null(head->range);
    rq.if_range = or_null(head->if_range);
    rq.body = hearth_http_body(c->http, &rq.body_n, &at);
    if (!rq.body) rq.body = (const uint8_t *)""; /* empty, not absent */
    rq.has_upload_offset = head->has_upload_offset;
    rq.upload_offset = head->upload_offset + at;
    identify(c, head, &rq.peer);
    c->piece = !last;
    c->waiting = true;
    if (last) c->l->count.requests++;
    c->l->cfg.app.handle(c->l->cfg.app.ud, &rq, on_reply, c);
}

static uint32_t reason_of(int status) {
    return status == 413 || status == 414 || status == 431
               ? HEARTH_REASON_TOO_BIG
               : HEARTH_REASON_BAD_MESSAGE;
}

/* One event of the parser.  False: stop for now. */
static bool take_event(connection *c, hearth_http_event ev) {
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    switch (ev) {
    case HEARTH_HTTP_MORE: return true;
    case HEARTH_HTTP_CONTINUE:
        if (put(c, go_on, sizeof(go_on) - 1)) (void)flush(c);
        return false;
    case HEARTH_HTTP_PIECE:
        if (c->skip) return true;
        dispatch(c, false);
        return false;
    case HEARTH_HTTP_REQUEST:
        if (c->skip) {
            finish_request(c);
            return true;
        }
        dispatch(c, true);
        return false;
    default:
        send_error(c, hearth_http_error_status(c->http),
                   reason_of(hearth_http_error_status(c->http)));
        return false;
    }
}

/* Plaintext into c->rest.  False: there is none now. */
static bool more_plaintext(connection *c) {
    uint8_t plain[PLAIN_BYTES];
    size_t n = 0;
    bool was = hearth_tls_established(c->tls);
    hearth_status st = hearth_tls_read(c->tls, plain, sizeof(plain), &n);
    if (!was && hearth_tls_established(c->tls)) {
        c->l->count.handshakes++;
        set_deadline(c, c->l->cfg.idle_ms);
    }
    if (st != HEARTH_OK) {
        if (!was) c->l->count.handshakes_failed++;
        c->end_after_write = true; /* an alert may be on its way */
        if (!flush(c) && !c->writing) end(c);
        return false;
    }
    if (n == 0) return false;
    if (hearth_buf_append(&c->rest, plain, n) != HEARTH_OK) {
        end(c);
        return false;
    }
    return true;
}

static void drop_front(hearth_buf *b, size_t n) {
    if (n == b->n) {
        hearth_buf_free(b);
    } else {
        memmove(b->v, b->v + n, b->n - n);
        b->n -= n;
    }
}

static void note_progress(connection *c, bool was_in_request) {
    uint64_t now = uv_now(c->l->loop);
    if (!was_in_request && hearth_http_in_request(c->http)) {
        c->started_ms = now;
        set_deadline(c, c->l->cfg.head_ms);
    }
    if (hearth_http_head_done(c->http) && hearth_http_in_request(c->http)) {
        uint64_t last = c->started_ms + (uint64_t)c->l->cfg.request_ms;
        set_deadline(c, c->l->cfg.idle_ms);
        if (c->deadline_ms > last) c->deadline_ms = last;
    }
}

/* May bytes of this connection be looked at now? */
static bool ready(const connection *c) {
    return !c->closing && !c->waiting && !c->writing && !c->end_after_write;
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *b);

static void on_alloc(uv_handle_t *h, size_t want, uv_buf_t *b) {
    connection *c = h->data;
    (void)want;
    *b = uv_buf_init(c->l->read_buffer, READ_BYTES);
}

static void start_reading(connection *c) {
    if (c->closing) return;
    int rc = uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
    if (rc != 0 && rc != UV_EALREADY) end(c);
}

static void drive(connection *c) {
    while (ready(c)) {
        size_t used = 0;
        bool was = hearth_http_in_request(c->http);
        if (c->rest.n == 0 && !(c->tls && more_plaintext(c))) {
            if (!ready(c) || flush(c)) break;
            if (c->l->stopping && !hearth_http_in_request(c->http)) {
                end(c);
                return;
            }
            start_reading(c);
            return;
        }
        hearth_http_event ev =
            hearth_http_feed(c->http, c->rest.v, c->rest.n, &used);
        drop_front(&c->rest, used);
        note_progress(c, was);
        (void)take_event(c, ev);
    }
    if (!c->closing && !c->lingering)
        (void)uv_read_stop((uv_stream_t *)&c->tcp);
}

static void pump(connection *c) {
    if (c->pumping) return; /* a reply inside of handle: the loop goes on */
    c->pumping = true;
    drive(c);
    c->pumping = false;
}

/* Say goodbye, then read and drop until the peer closes too: to close with
 * unread bytes would reset the connection, and our last reply could be lost. */
static void linger(connection *c) {
    if (!c->lingering) {
        c->lingering = true;
        set_deadline(c, LINGER_MS);
        if (c->tls) hearth_tls_close_notify(c->tls);
        (void)flush(c);
        start_reading(c);
    }
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *b) {
    connection *c = s->data;
    if (n == 0) return;
    if (n < 0) {
        end(c);
        return;
    }
    c->l->count.bytes_in += (uint64_t)n;
    if (c->lingering) return;
    hearth_status st = c->tls ? hearth_tls_give(c->tls, b->base, (size_t)n)
                              : hearth_buf_append(&c->rest, b->base, (size_t)n);
    if (st != HEARTH_OK) {
        end(c);
        return;
    }
    pump(c);
}

/* ---- accepting --------------------------------------------------------- */

static connection *connection_new(hearth_listener *l) {
    connection *c = hearth_mem_new(&l->al, sizeof(*c));
    if (!c) return NULL;
    c->l = l;
    c->file = -1;
    c->rest = c->sending = (hearth_buf)HEARTH_BUF_INIT(&l->al);
    if (hearth_http_new(&c->http, &l->al) != HEARTH_OK ||
        (l->cfg.tls && hearth_tls_new(&c->tls, l->cfg.tls) != HEARTH_OK) ||
        uv_tcp_init(l->loop, &c->tcp) != 0) {
        hearth_http_free(c->http);
        hearth_tls_free(c->tls);
        hearth_mem_free(&l->al, c);
        return NULL;
    }
    c->tcp.data = c;
    c->next = l->first;
    if (l->first) l->first->prev = c;
    l->first = c;
    l->n_open++;
    l->count.connections++;
    return c;
}

static void accept_one(hearth_listener *l) {
    if (l->count.connections >= l->cfg.max_connections) {
        l->full = true; /* libuv stops polling until the next accept */
        return;
    }
    connection *c = connection_new(l);
    if (!c) {
        l->full = true;
        hearth_log_write(l->cfg.log, HEARTH_LOG_WARN, "listener",
                         "no memory for a connection; it waits");
        return;
    }
    if (uv_accept((uv_stream_t *)&l->server, (uv_stream_t *)&c->tcp) != 0) {
        end(c);
        return;
    }
    l->count.accepted++;
    (void)uv_tcp_nodelay(&c->tcp, 1); /* a handshake is 60 ms slower without */
    set_deadline(c, c->tls ? l->cfg.handshake_ms : l->cfg.head_ms);
    pump(c);
}

static void on_connection(uv_stream_t *s, int status) {
    hearth_listener *l = s->data;
    if (status == 0 && !l->stopping) accept_one(l);
}

/* ---- time -------------------------------------------------------------- */

static void on_timeout(connection *c) {
    c->l->count.timeouts++;
    if (c->lingering) c->l->count.timeouts--; /* its normal end */
    bool head = !c->lingering && hearth_http_in_request(c->http) &&
                !hearth_http_head_done(c->http) && !c->writing;
    if (head && (!c->tls || hearth_tls_established(c->tls)))
        send_error(c, 408, HEARTH_REASON_BAD_MESSAGE);
    else
        end(c);
}

static void on_own_closed(uv_handle_t *h) {
    hearth_listener *l = h->data;
    l->n_open--;
}

static void on_sweep(uv_timer_t *t) {
    hearth_listener *l = t->data;
    uint64_t now = uv_now(l->loop);
    bool cut = l->stopping && now >= l->cut_ms;
    for (connection *c = l->first, *next; c; c = next) {
        next = c->next;
        if (c->closing) continue;
        bool between = ready(c) && !hearth_http_in_request(c->http);
        if (cut || (l->stopping && (between || c->lingering)))
            end(c);
        else if (now >= c->deadline_ms && !c->waiting)
            on_timeout(c);
    }
    if (l->full && !l->stopping &&
        l->count.connections < l->cfg.max_connections) {
        l->full = false;
        accept_one(l);
    }
    if (l->stopping && !l->first && !uv_is_closing((uv_handle_t *)t))
        uv_close((uv_handle_t *)t, on_own_closed);
}

/* ---- open and close ---------------------------------------------------- */

static int64_t or_default(int64_t v, int64_t fallback) {
    return v > 0 ? v : fallback;
}

static void fill_defaults(hearth_listener_config *c) {
    c->max_connections = c->max_connections ? c->max_connections : 1024;
    c->handshake_ms = or_default(c->handshake_ms, 10000);
    c->head_ms = or_default(c->head_ms, 10000);
    c->idle_ms = or_default(c->idle_ms, 60000);
    c->request_ms = or_default(c->request_ms, 600000);
}

static int listen_on(hearth_listener *l, const struct sockaddr *addr) {
    struct sockaddr_storage bound;
    int n = (int)sizeof(bound), rc = uv_tcp_init(l->loop, &l->server);
    if (rc != 0) return rc;
    l->server.data = l;
    l->listening = true;
    l->n_open++;
    if ((rc = uv_tcp_bind(&l->server, addr, 0)) != 0) return rc;
    rc = uv_listen((uv_stream_t *)&l->server, BACKLOG, on_connection);
    if (rc != 0) return rc;
    memset(&bound, 0, sizeof(bound));
    rc = uv_tcp_getsockname(&l->server, (struct sockaddr *)&bound, &n);
    if (rc != 0) return rc;
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&bound;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&bound;
    l->port = ntohs(bound.ss_family == AF_INET ? v4->sin_port : v6->sin6_port);
    return 0;
}

hearth_status hearth_listener_open(hearth_listener **out, uv_loop_t *loop,
                                   const hearth_listener_config *cfg,
                                   hearth_error *err) {
    struct sockaddr_storage addr;
    if (out) *out = NULL;
    if (!out || !loop || !cfg || !cfg->host || !cfg->app.handle)
        return hearth_error_set(err, HEARTH_EINVAL, "listener: no settings");
    if (uv_ip4_addr(cfg->host, cfg->port, (struct sockaddr_in *)&addr) != 0 &&
        uv_ip6_addr(cfg->host, cfg->port, (struct sockaddr_in6 *)&addr) != 0)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "'%s' is not an address to listen on; give "
                                "one like 127.0.0.1 or ::",
                                cfg->host);
    const hearth_alloc *al = hearth_mem_or_default(cfg->al);
    hearth_listener *l = hearth_mem_new(al, sizeof(*l));
    if (!l) return hearth_error_set(err, HEARTH_ENOMEM, "listener: no memory");
    l->al = *al;
    l->loop = loop;
    l->cfg = *cfg;
    fill_defaults(&l->cfg);
    l->sweep.data = l;
    (void)uv_timer_init(loop, &l->sweep);
    l->n_open++;
    (void)uv_timer_start(&l->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
    int rc = listen_on(l, (const struct sockaddr *)&addr);
    if (rc == 0) {
        *out = l;
        return HEARTH_OK;
    }
    hearth_listener_stop(l, 0);
    while (!hearth_listener_stopped(l)) (void)uv_run(loop, UV_RUN_ONCE);
    hearth_listener_close(l);
    return hearth_error_set(err,
                            rc == UV_EADDRINUSE ? HEARTH_EBUSY : HEARTH_ENET,
                            "cannot listen on %s port %d: %s; choose another "
                            "[server] listen in the settings",
                            cfg->host, cfg->port, uv_strerror(rc));
}

int hearth_listener_port(const hearth_listener *l) {
    return l->port;
}

void hearth_listener_stop(hearth_listener *l, int64_t grace_ms) {
    if (l->stopping) return;
    l->stopping = true;
    l->cut_ms = uv_now(l->loop) + (uint64_t)grace_ms;
    if (l->listening) uv_close((uv_handle_t *)&l->server, on_own_closed);
    l->listening = false;
    (void)uv_timer_start(&l->sweep, on_sweep, 0, SWEEP_MS / 5);
}

bool hearth_listener_stopped(const hearth_listener *l) {
    return l->stopping && !l->first && l->n_open == 0;
}

void hearth_listener_close(hearth_listener *l) {
    if (!l) return;
    hearth_alloc al = l->al;
    hearth_mem_free(&al, l);
}

void hearth_listener_get_counters(const hearth_listener *l,
                                  hearth_listener_counters *out) {
    *out = l->count;
}

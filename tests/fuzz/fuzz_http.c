/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz_http.c - any bytes from a socket: the caps hold, pieces of a
 * body are contiguous, and how the bytes were cut changes nothing.
 * Input: the bytes of a connection. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What a connection amounted to, folded into numbers. */
typedef struct {
    uint64_t requests, body_bytes, hash;
    int error;
} outcome;

static uint64_t fold(uint64_t h, const void *p, size_t n) {
    const uint8_t *b = p;
    for (size_t i = 0; i < n; i++) h = (h ^ b[i]) * 0x100000001b3u;
    return h;
}

static void check_head(const hearth_http_head *d) {
    bool stream = false;
    if (d->path[0] != '/' || !memchr(d->path, 0, sizeof(d->path))) abort();
    if (d->length > hearth_http_body_cap(d, &stream)) abort();
    if (!memchr(d->cookie, 0, sizeof(d->cookie))) abort();
    if (!memchr(d->range, 0, sizeof(d->range))) abort();
}

static void take(const hearth_http *h, outcome *o, uint64_t *next) {
    size_t n = 0;
    uint64_t at = 0;
    const uint8_t *body = hearth_http_body(h, &n, &at);
    check_head(hearth_http_get_head(h));
    if (n > HEARTH_HTTP_BODY || (n && at != *next)) abort();
    *next += n;
    o->body_bytes += n;
    if (n) o->hash = fold(o->hash, body, n);
}

static outcome run(const uint8_t *data, size_t size, size_t step) {
    outcome o = {0, 0, 0xcbf29ce484222325u, 0};
    hearth_http *h = NULL;
    uint64_t next = 0;
    size_t at = 0;
    if (hearth_http_new(&h, NULL) != HEARTH_OK) return o;
    while (at < size) {
        size_t used = 0, m = size - at < step ? size - at : step;
        hearth_http_event ev = hearth_http_feed(h, data + at, m, &used);
        if (used > m) abort();
        at += used;
        if (ev == HEARTH_HTTP_MORE && used != m) abort();
        if (ev == HEARTH_HTTP_ERROR) {
            o.error = hearth_http_error_status(h);
            if (o.error < 400 || o.error > 599) abort();
            o.error = 1; /* of two faults either may be seen first */
            break;
        }
        if (ev == HEARTH_HTTP_PIECE) take(h, &o, &next);
        if (ev == HEARTH_HTTP_REQUEST) {
            const hearth_http_head *d = hearth_http_get_head(h);
            take(h, &o, &next);
            if (next != d->length) abort();
            o.hash = fold(o.hash, d, sizeof(*d));
            o.requests++;
            next = 0;
            bool last = !d->keep_alive;
            hearth_http_next(h);
            if (last) break;
        }
    }
    hearth_http_free(h);
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    outcome whole = run(data, size, size ? size : 1), bits = run(data, size, 1);
    outcome parts = run(data, size, 7);
    if (memcmp(&whole, &bits, sizeof(whole)) != 0) abort();
    if (memcmp(&whole, &parts, sizeof(whole)) != 0) abort();
    return 0;
}

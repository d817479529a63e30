/* SPDX-License-Identifier: Apache-2.0 */
/* proto/mp_scan.c - one pass, one counter a level.
 *
 * left[] holds how many values are still to come at each open level.  A
 * container is entered only when its values could fit in the bytes that
 * remain (one byte each at least), so the sum of all counts is bounded by n,
 * and no number here can overflow.
 */
#include "proto/mp_scan.h"

#include <stdbool.h>

#include "common/bytes.h"
#include "common/error.h"
#include "proto/limits.h"

/* What a first byte announces. */
typedef struct {
    bool ok, container;
    size_t header; /* bytes of length or value after the first byte */
    size_t count;  /* payload bytes, or values of a container */
} head;

static size_t load_be(const uint8_t *p, size_t n) {
    size_t v = 0;
    for (size_t i = 0; i < n; i++) v = v << 8 | p[i];
    return v;
}

/* A header whose length takes w bytes; each count stands for `per` values. */
static head sized(const uint8_t *p, size_t left, size_t w, size_t per,
                  bool container) {
    head h = {false, container, w, 0};
    if (left < 1 + w) return h;
    h.count = load_be(p + 1, w);
    if (per == 2 && h.count > left) return h; /* so that twice it is exact */
    h.count *= per;
    h.ok = true;
    return h;
}

static head read_head(const uint8_t *p, size_t left) {
    uint8_t b = p[0];
    head none = {true, false, 0, 0}, bad = {false, false, 0, 0};
    if (b <= 0x7f || b >= 0xe0) return none;
    if (b <= 0x8f) return (head){true, true, 0, (size_t)(b & 15) * 2};
    if (b <= 0x9f) return (head){true, true, 0, (size_t)(b & 15)};
    if (b <= 0xbf) return (head){true, false, 0, (size_t)(b & 31)};
    switch (b) {
    case 0xc0: /* nil, false, true */
    case 0xc2:
    case 0xc3: return none;
    case 0xc4: /* bin, str */
    case 0xd9: return sized(p, left, 1, 1, false);
    case 0xc5:
    case 0xda: return sized(p, left, 2, 1, false);
    case 0xc6:
    case 0xdb: return sized(p, left, 4, 1, false);
    case 0xcc: /* integers and floats: the value is the payload */
    case 0xd0: return (head){true, false, 0, 1};
    case 0xcd:
    case 0xd1: return (head){true, false, 0, 2};
    case 0xca:
    case 0xce:
    case 0xd2: return (head){true, false, 0, 4};
    case 0xcb:
    case 0xcf:
    case 0xd3: return (head){true, false, 0, 8};
    case 0xdc: return sized(p, left, 2, 1, true);
    case 0xdd: return sized(p, left, 4, 1, true);
    case 0xde: return sized(p, left, 2, 2, true);
    case 0xdf: return sized(p, left, 4, 2, true);
    default: return bad; /* 0xc1 and extensions */
    }
}

static hearth_status broken(hearth_error *err, size_t at, const char *why) {
    return hearth_error_set(err, HEARTH_EFORMAT,
                            "msgpack: %s at byte %zu; the sender is broken",
                            why, at);
}

static hearth_status too_much(hearth_error *err, const char *what, size_t max) {
    return hearth_error_set(err, HEARTH_ETOOBIG,
                            "msgpack: more than %zu %s; the sender is broken",
                            max, what);
}

hearth_status hearth_mp_scan(const uint8_t *bytes, size_t n,
                             hearth_mp_scan_report *report, hearth_error *err) {
    size_t left[HEARTH_PROTO_MAX_DEPTH + 1] = {1}, at = 0, nodes = 0;
    unsigned depth = 0, deepest = 0; /* level 0 holds the one value */

    if (!bytes)
        return hearth_error_set(err, HEARTH_EINVAL, "msgpack: no bytes given");
    if (n > HEARTH_PROTO_MAX_BODY)
        return too_much(err, "bytes", HEARTH_PROTO_MAX_BODY);
    for (;;) {
        while (left[depth] == 0) {
            if (depth == 0) {
                if (at != n) return broken(err, at, "bytes after the value");
                if (report) *report = (hearth_mp_scan_report){nodes, deepest};
                return HEARTH_OK;
            }
            depth--;
        }
        left[depth]--;
        if (at == n) return broken(err, at, "truncated");
        if (++nodes > HEARTH_PROTO_MAX_NODES)
            return too_much(err, "values", HEARTH_PROTO_MAX_NODES);
        if (depth + 1 > deepest) deepest = depth + 1;

        head h = read_head(bytes + at, n - at);
        if (!h.ok) return broken(err, at, "truncated or not allowed");
        at += 1 + h.header;
        if (h.count > n - at) return broken(err, at, "a length beyond the end");
        if (!h.container) {
            at += h.count;
        } else {
            if (depth + 1 > HEARTH_PROTO_MAX_DEPTH - 1)
                return too_much(err, "levels", HEARTH_PROTO_MAX_DEPTH);
            left[++depth] = h.count;
        }
    }
}

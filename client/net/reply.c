/* SPDX-License-Identifier: Apache-2.0 */
/* client/net/reply.c - the contract is in reply.h.  A peer's words reach a
 * terminal only through hearth_reply_clean, so that no reply can move a cursor
 * or start a second log line. */
#include "client/net/reply.h"

#include <string.h>

const hearth_retry hearth_retry_default = {720000, 1080000, 11520000, 17280000};

/* Uniform in [lo, hi], both at least the floor; neither is above the cap. */
static hearth_status draw(int64_t lo, int64_t hi, hearth_rng *rng,
                          int64_t *wait_ms) {
    if (lo < HEARTH_RETRY_FLOOR_MS) lo = HEARTH_RETRY_FLOOR_MS;
    if (hi < lo) hi = lo;
    uint64_t x = 0;
    *wait_ms = hi;
    hearth_status st = hearth_rng_below(rng, (uint64_t)(hi - lo) + 1, &x);
    if (st == HEARTH_OK) *wait_ms = lo + (int64_t)x;
    return st;
}

/* A window's bound as a signed number that cannot wrap. */
static int64_t bound(uint64_t ms) {
    return ms > HEARTH_PROTO_MAX_WINDOW ? HEARTH_RETRY_CAP_MS : (int64_t)ms;
}

hearth_status hearth_retry_draw(const hearth_retry *w, bool accepted,
                                hearth_rng *rng, int64_t *wait_ms) {
    if (!w) w = &hearth_retry_default;
    if (accepted)
        return draw(bound(w->accepted_min_ms), bound(w->accepted_max_ms), rng,
                    wait_ms);
    return draw(bound(w->refused_min_ms), bound(w->refused_max_ms), rng,
                wait_ms);
}

hearth_status hearth_retry_backoff(uint32_t n_failures, hearth_rng *rng,
                                   int64_t *wait_ms) {
    uint32_t k = n_failures > 0 ? n_failures - 1 : 0;
    int64_t mid = k < 10 ? (int64_t)1000 << k : 900000;
    if (mid > 900000) mid = 900000;
    return draw(mid * 4 / 5, mid * 6 / 5, rng, wait_ms);
}

void hearth_reply_clean(char *out, size_t cap, const char *words, size_t n) {
    size_t k = 0;
    if (cap == 0) return;
    for (size_t i = 0; i < n && words[i] && k + 1 < cap; i++) {
        unsigned char c = (unsigned char)words[i];
        bool ok = c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
        out[k++] = ok ? (char)c : '.';
    }
    out[k] = '\0';
}

static hearth_status by_reason(uint32_t reason) {
    switch (reason) {
    case HEARTH_REASON_FULL:
    case HEARTH_REASON_CLOSED:
    case HEARTH_REASON_ALTERED:
    case HEARTH_REASON_RANGE:
    case HEARTH_REASON_ABORTED: return HEARTH_EPEERREFUSED;
    case HEARTH_REASON_CREDENTIAL: return HEARTH_EAUTH;
    case HEARTH_REASON_EXPIRED: return HEARTH_EEXPIRED;
    case HEARTH_REASON_UNKNOWN: return HEARTH_ENOTFOUND;
    case HEARTH_REASON_VERSION: return HEARTH_EVERSION;
    case HEARTH_REASON_DIGEST: return HEARTH_EDIGEST;
    case HEARTH_REASON_OFFSET: return HEARTH_ESTATE;
    case HEARTH_REASON_TOO_BIG: return HEARTH_ETOOBIG;
    case HEARTH_REASON_DISK:
    case HEARTH_REASON_BUSY:
    case HEARTH_REASON_INTERNAL: return HEARTH_EBUSY;
    default: return HEARTH_EFORMAT;
    }
}

static hearth_status by_status(int status) {
    switch (status) {
    case 401:
    case 403: return HEARTH_EAUTH;
    case 404: return HEARTH_ENOTFOUND;
    case 409:
    case 410: return HEARTH_EPEERREFUSED;
    case 413: return HEARTH_ETOOBIG;
    case 408:
    case 429: return HEARTH_EBUSY;
    default: return status >= 500 ? HEARTH_EBUSY : HEARTH_EFORMAT;
    }
}

hearth_status hearth_reply_check(const hearth_http_resp *rp, const char *what,
                                 hearth_reply_info *info, hearth_error *err) {
    hearth_error_reply e;
    *info = (hearth_reply_info){.http_status = rp->status,
                                .retry = hearth_retry_default};
    if (rp->status >= 200 && rp->status < 300) return HEARTH_OK;
    if (rp->status >= 400 && rp->body.n &&
        hearth_decode_error_reply(&e, rp->body.v, rp->body.n, NULL) ==
            HEARTH_OK) {
        char words[120];
        info->reason = e.reason;
        info->offset = e.offset;
        info->has_retry = true;
        info->retry = e.retry;
        hearth_reply_clean(words, sizeof(words), e.message, strlen(e.message));
        return hearth_error_set(err, by_reason(e.reason), "%s: %s%s%s", what,
                                hearth_reason_name(e.reason),
                                words[0] ? ": " : "", words);
    }
    return hearth_error_set(err, by_status(rp->status),
                            "%s: the coordinator answered HTTP %d", what,
                            rp->status);
}

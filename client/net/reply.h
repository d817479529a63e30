/* SPDX-License-Identifier: Apache-2.0 */
/* client/net/reply.h - what every reply of the coordinator has in common: its
 * HTTP status as one of our codes, and the retry window.
 *
 * The window is the coordinator's way to spread devices out: separate for
 * accepted and refused, and the device draws uniformly inside it, so that a
 * restart of the coordinator is not met by all devices at once.
 *
 *     st = hearth_reply_check(&rp, "check-in", &info, err);
 *     if (info.has_retry) hearth_retry_draw(&info.retry, false, rng, &wait);
 *
 * Threads: pure functions.  Memory: allocates nothing.
 */
#ifndef HEARTH_CLIENT_NET_REPLY_H
#define HEARTH_CLIENT_NET_REPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "client/net/transport.h"
#include "common/rng.h"
#include "proto/messages.h"

/* No wait is shorter or longer than this, whatever a reply says. */
#define HEARTH_RETRY_FLOOR_MS ((int64_t)100)
#define HEARTH_RETRY_CAP_MS   ((int64_t)HEARTH_PROTO_MAX_WINDOW)

/* Filled by every call that got a reply. */
typedef struct {
    int http_status;    /* 0 = no reply */
    uint32_t reason;    /* hearth_reason of a refusal; NONE without one */
    uint64_t offset;    /* where to go on, when reason is OFFSET */
    bool has_retry;     /* the reply had a window */
    hearth_retry retry; /* it, or the default */
} hearth_reply_info;

/* Used until a reply brought another: 15 min and 4 h, each +-20 %. */
extern const hearth_retry hearth_retry_default;

/* A uniform draw in the accepted or the refused pair, in ms, within the floor
 * and the cap.  Returns HEARTH_OK, or HEARTH_ERNG with *wait_ms the longest. */
HEARTH_MUST_CHECK
hearth_status hearth_retry_draw(const hearth_retry *w, bool accepted,
                                hearth_rng *rng, int64_t *wait_ms);

/* The wait after n_failures requests in a row that got no reply: a draw around
 * 1 s, 2 s, 4 s .. 15 min.  Returns as hearth_retry_draw. */
HEARTH_MUST_CHECK
hearth_status hearth_retry_backoff(uint32_t n_failures, hearth_rng *rng,
                                   int64_t *wait_ms);

/* What a reply means.  2xx is HEARTH_OK.  A refusal that carries our error
 * message gives, by its reason:
 *   HEARTH_EPEERREFUSED  full, closed, altered, out of range, given up before
 *   HEARTH_EAUTH         credential        HEARTH_EEXPIRED  expired
 *   HEARTH_ENOTFOUND     unknown           HEARTH_EVERSION  version
 *   HEARTH_EDIGEST       digest            HEARTH_ESTATE    offset
 *   HEARTH_ETOOBIG       too big           HEARTH_EFORMAT   bad message
 *   HEARTH_EBUSY         disk, busy, internal: come back
 * and without one, by status: 401 403 EAUTH, 404 ENOTFOUND, 409 410
 * EPEERREFUSED, 413 ETOOBIG, 408 429 5xx EBUSY, else EFORMAT.
 * `what` names the request in err; info (not NULL) is always filled. */
HEARTH_MUST_CHECK
hearth_status hearth_reply_check(const hearth_http_resp *rp, const char *what,
                                 hearth_reply_info *info, hearth_error *err);

/* The first n bytes of words from a peer with every control character and
 * quote replaced: safe for a terminal and a log line.  out is [cap]. */
void hearth_reply_clean(char *out, size_t cap, const char *words, size_t n);

#endif /* HEARTH_CLIENT_NET_REPLY_H */

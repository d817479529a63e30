/* SPDX-License-Identifier: Apache-2.0 */
/* client/net/reply.h - what every reply of the coordinator has in common: the
 * HTTP status as one of our codes, and the retry window.
 *
 * The window is the coordinator's way to spread devices out: separate for
 * accepted and refused, and the device draws uniformly inside it, so that a
 * restart of the coordinator is not met by all devices at once.
 *
 * Threads: pure functions.  Memory: allocates nothing.
 */
#ifndef HEARTH_CLIENT_NET_REPLY_H
#define HEARTH_CLIENT_NET_REPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "client/net/transport.h"
#include "common/rng.h"

/* Bounds in ms, inclusive.  max >= min. */
typedef struct {
    int64_t accepted_min_ms, accepted_max_ms;
    int64_t refused_min_ms, refused_max_ms;
} hearth_retry_window;

/* No window asks for less or more than this, whatever a reply says. */
#define HEARTH_RETRY_FLOOR_MS ((int64_t)100)
#define HEARTH_RETRY_CAP_MS   ((int64_t)7 * 24 * 3600 * 1000)

/* Filled by every call that got a reply. */
typedef struct {
    int http_status; /* 0 = no reply */
    bool has_retry;  /* retry was in the reply */
    hearth_retry_window retry;
} hearth_reply_info;

/* Used where a reply brought no window: 15 min and 4 h, +-20 %. */
extern const hearth_retry_window hearth_retry_default;

/* Clamp both pairs into [floor, cap] and order them. */
void hearth_retry_clamp(hearth_retry_window *w);

/* A uniform draw in [min, max] of the accepted or the refused pair, ms.
 * Returns HEARTH_OK or HEARTH_ERNG with *wait_ms = max. */
HEARTH_MUST_CHECK
hearth_status hearth_retry_draw(const hearth_retry_window *w, bool accepted,
                                hearth_rng *rng, int64_t *wait_ms);

/* The status that an HTTP status stands for: 2xx OK; 401 and 403 EAUTH; 404
 * ENOTFOUND; 409, 410 and 422 EPEERREFUSED; 413 ETOOBIG; 426 EVERSION; 408, 425,
 * 429 and 5xx EBUSY; anything else EFORMAT.  `what` names the request in err,
 * and the words of the reply's own error, cleaned, are added to it. */
HEARTH_MUST_CHECK
hearth_status hearth_reply_check(const hearth_http_resp *rp, const char *what,
                                 hearth_reply_info *rep, hearth_error *err);

#endif /* HEARTH_CLIENT_NET_REPLY_H */

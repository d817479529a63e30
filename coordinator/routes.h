/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/routes.h - which request is which (proto/PROTOCOL.md).
 *
 * Threads: pure functions.
 */
#ifndef HEARTH_COORDINATOR_ROUTES_H
#define HEARTH_COORDINATOR_ROUTES_H

#include <stdbool.h>
#include <stdint.h>

#include "common/secret.h"
#include "common/status.h"
#include "proto/messages.h"

typedef enum {
    HEARTH_ROUTE_NONE = 0, /* 404 */
    HEARTH_ROUTE_METHOD,   /* 405: the path is right, the method is not */
    HEARTH_ROUTE_KEYSET,   /* GET /v1/keyset */
    HEARTH_ROUTE_ENROLL,   /* POST /v1/enroll */
    HEARTH_ROUTE_RENEW,    /* POST /v1/renew */
    HEARTH_ROUTE_CHECKIN,  /* POST /v1/checkin */
    HEARTH_ROUTE_MANIFEST, /* GET /v1/releases/{task}/{sequence}/manifest */
    HEARTH_ROUTE_PAYLOAD,  /* GET /v1/releases/{task}/{sequence}/payload */
    HEARTH_ROUTE_BEGIN,    /* POST /v1/uploads/{token} */
    HEARTH_ROUTE_OFFSET,   /* HEAD /v1/uploads/{token} */
    HEARTH_ROUTE_APPEND,   /* PATCH /v1/uploads/{token} */
    HEARTH_ROUTE_COMMIT,   /* POST /v1/uploads/{token}/commit */
    HEARTH_ROUTE_ABORT     /* POST /v1/uploads/{token}/abort */
} hearth_route_kind;

typedef struct {
    uint32_t kind; /* hearth_route_kind */
    char task[HEARTH_PROTO_TASK_CAP];
    uint64_t sequence;   /* 0 = "latest" */
    hearth_secret token; /* decoded from 64 hex digits */
} hearth_route;

/* Parse.  Anything that is not exactly one of the paths above is NONE.  The
 * caller wipes r->token, whatever the kind. */
void hearth_route_parse(hearth_route *r, const char *method, const char *path);

/* The HTTP status that goes with a reason. */
int hearth_route_http_status(uint32_t reason);

/* "bytes=a-b" or "bytes=a-" of a resource of total bytes: *first and *n.
 * Returns HEARTH_OK, or HEARTH_EFORMAT (ignore the header: whole resource), or
 * HEARTH_EINVAL (416: it starts beyond the end). */
HEARTH_MUST_CHECK
hearth_status hearth_route_range(const char *range, uint64_t total,
                                 uint64_t *first, uint64_t *n);

#endif /* HEARTH_COORDINATOR_ROUTES_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* proto/mp_scan.h - walk msgpack bytes before a library may see them.
 *
 * Five bytes can claim a map of 2^28 pairs, and a decoder that believes them
 * reserves gigabytes.  The scan reads every header once, keeps no tree, and
 * passes only what is one complete value whose containers can hold no more
 * than the bytes that follow, with bounded depth and number of values.
 *
 *     st = hearth_mp_scan(bytes, n, NULL, &err);
 *     if (st == HEARTH_OK) ... unpack ...
 *
 * Threads: pure function.
 * Memory:  fixed, under 300 bytes of stack.
 * Source:  msgpack specification (format overview), 2.0.
 */
#ifndef HEARTH_PROTO_MP_SCAN_H
#define HEARTH_PROTO_MP_SCAN_H

#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

typedef struct {
    size_t nodes;       /* values, containers and keys included */
    unsigned max_depth; /* 1 for a scalar */
} hearth_mp_scan_report;

/* Check that the n bytes are exactly one msgpack value within limits.h.
 *
 * Extension types and the never-used byte 0xc1 are refused.  report may be
 * NULL.
 * Returns HEARTH_OK
 *         HEARTH_EINVAL   bytes is NULL
 *         HEARTH_ETOOBIG  n above HEARTH_PROTO_MAX_BODY, too deep, or too many
 *                         values
 *         HEARTH_EFORMAT  empty, truncated, a container larger than the rest,
 *                         an extension, or bytes after the value */
HEARTH_MUST_CHECK
hearth_status hearth_mp_scan(const uint8_t *bytes, size_t n,
                             hearth_mp_scan_report *report, hearth_error *err);

#endif /* HEARTH_PROTO_MP_SCAN_H */

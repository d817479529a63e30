/* SPDX-License-Identifier: Apache-2.0 */
/* proto/limits.h - every cap on what a peer may send, in one place.
 *
 * Each number is checked before memory is reserved for what it limits.  A
 * limit may be raised in a minor version, never lowered.
 *
 * Threads, Memory: constants only.
 */
#ifndef HEARTH_PROTO_LIMITS_H
#define HEARTH_PROTO_LIMITS_H

#include <stddef.h>
#include <stdint.h>

/* The one protocol version of this build; proto/negotiate.h picks. */
#define HEARTH_PROTO_MAJOR 1u

/* Bytes of a message body, other than the raw bytes of an upload or a release
 * payload. */
#define HEARTH_PROTO_MAX_BODY ((size_t)64 << 10)

/* Raw bytes of one PATCH of an upload.  Longer uploads take several. */
#define HEARTH_PROTO_MAX_APPEND ((size_t)1 << 20)

/* Nesting and number of msgpack values of one body (proto/mp_scan.h). */
#define HEARTH_PROTO_MAX_DEPTH 16u
#define HEARTH_PROTO_MAX_NODES 8192u

/* Storage of the strings in messages, in bytes with their NUL. */
#define HEARTH_PROTO_TASK_CAP    64u   /* [a-z0-9][a-z0-9._-]* */
#define HEARTH_PROTO_DEVICE_CAP  64u   /* assigned id, SAN of the certificate */
#define HEARTH_PROTO_TOKEN_CAP   128u  /* one-time enrolment token */
#define HEARTH_PROTO_COOKIE_CAP  256u  /* session cookie */
#define HEARTH_PROTO_PEM_CAP     4096u /* a CSR or certificate */
#define HEARTH_PROTO_PURPOSE_CAP 32u   /* purpose that needs consent */
#define HEARTH_PROTO_TEXT_CAP    256u  /* words for a person */
#define HEARTH_PROTO_PIN_CAP     64u   /* "sha256//" + base64 */

/* Entries of lists. */
#define HEARTH_PROTO_MAX_VERSIONS     16u
#define HEARTH_PROTO_MAX_TASKS        16u /* of one check-in */
#define HEARTH_PROTO_MAX_OFFERS       4u
#define HEARTH_PROTO_MAX_RELEASE_KEYS 8u
#define HEARTH_PROTO_MAX_PINS         8u
#define HEARTH_PROTO_MAX_COORDS       16u /* bounded coordinates after a delta */

/* Payload of one upload: d + coordinates, each an int32. */
#define HEARTH_PROTO_MAX_DIM ((uint64_t)1 << 26)

/* Other numbers of an offer. */
#define HEARTH_PROTO_MAX_COHORT   1000000u /* devices */
#define HEARTH_PROTO_MAX_COHORTS  64u      /* cohorts of one round */
#define HEARTH_PROTO_MAX_STAGES   8u
#define HEARTH_PROTO_MAX_ROUNDS   100000u
#define HEARTH_PROTO_MAX_WINDOW   ((uint64_t)7 * 86400 * 1000) /* ms, retry */
#define HEARTH_PROTO_MAX_MS       ((uint64_t)1 << 53) /* any time or duration */
#define HEARTH_PROTO_MAX_SEQUENCE ((uint64_t)1 << 53)

#endif /* HEARTH_PROTO_LIMITS_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* proto/fields.h - private to proto/: each message described by a table.
 *
 * One row a field: its key, its type, where it lies in the struct and what
 * range it may have.  encode.c and decode.c walk the same rows, so that the two
 * can not disagree.
 *
 * Threads: constants and pure functions.
 */
#ifndef HEARTH_PROTO_FIELDS_H
#define HEARTH_PROTO_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/status.h"

typedef enum {
    HEARTH_FIELD_U32,   /* uint32_t in [lo, hi] */
    HEARTH_FIELD_U64,   /* uint64_t in [lo, hi] */
    HEARTH_FIELD_I32,   /* int32_t, |value| <= hi */
    HEARTH_FIELD_F64,   /* finite double in [flo, fhi] */
    HEARTH_FIELD_BOOL,  /* bool */
    HEARTH_FIELD_STR,   /* char[size], NUL-terminated UTF-8, lo .. size - 1 */
    HEARTH_FIELD_BIN,   /* uint8_t[size], exactly */
    HEARTH_FIELD_MAP,   /* a nested struct: sub */
    HEARTH_FIELD_BYTES, /* const uint8_t * into the input, 1 .. max of them; the
                           number (uint32_t) is at count_offset */
    /* Lists: at `offset` an array of elements of `size` bytes, their number (a
     * uint32_t, lo .. max) at `count_offset`. */
    HEARTH_FIELD_U32S, /* each in [0, hi] */
    HEARTH_FIELD_STRS,
    HEARTH_FIELD_BINS,
    HEARTH_FIELD_MAPS
} hearth_field_type;

struct hearth_fields;

typedef struct {
    const char *key;
    hearth_field_type type;
    size_t offset, size;
    uint64_t lo, hi;
    double flo, fhi;
    size_t count_offset;
    uint32_t max;
    const struct hearth_fields *sub;
} hearth_field;

typedef struct hearth_fields {
    const char *name; /* for messages */
    size_t size;      /* of the struct */
    const hearth_field *field;
    size_t n;
    bool (*check)(const void *m); /* what spans fields; NULL: nothing */
} hearth_fields;

/* Rows of every message and of the two signed bodies. */
extern const hearth_fields hearth_fields_enroll_request,
    hearth_fields_enroll_reply, hearth_fields_renew_request,
    hearth_fields_checkin_request, hearth_fields_checkin_reply,
    hearth_fields_offer, hearth_fields_begin_request,
    hearth_fields_offset_reply, hearth_fields_commit_request,
    hearth_fields_commit_reply, hearth_fields_abort_request,
    hearth_fields_ack_reply, hearth_fields_error_reply, hearth_fields_keyset,
    hearth_fields_release, hearth_fields_envelope;

/* The envelope of proto/signed.h.  body is borrowed from the input. */
#define HEARTH_ENVELOPE_BODY_MAX 16384u
typedef struct {
    char kind[16];
    uint8_t key[65], sig[64];
    uint32_t body_n;
    const uint8_t *body;
} hearth_envelope;

/* Are all values in range?  HEARTH_OK, HEARTH_EINVAL, HEARTH_ENONFINITE. */
HEARTH_MUST_CHECK
hearth_status hearth_fields_check(const hearth_fields *t, const void *m);

/* Append *m as one map, with the version as its first key. */
HEARTH_MUST_CHECK
hearth_status hearth_fields_encode(hearth_buf *buf, const hearth_fields *t,
                                   const void *m);

/* Read one map of n bytes into *m (t->size bytes). */
HEARTH_MUST_CHECK
hearth_status hearth_fields_decode(void *m, const hearth_fields *t,
                                   const uint8_t *bytes, size_t n,
                                   hearth_error *err);

#endif /* HEARTH_PROTO_FIELDS_H */

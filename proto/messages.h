/* SPDX-License-Identifier: Apache-2.0 */
/* proto/messages.h - every message of the wire as a plain struct.
 *
 * A message travels as one msgpack map with short string keys
 * (proto/PROTOCOL.md lists them); these structs are its decoded form.  They
 * own nothing: strings are arrays with a NUL, lists are arrays with a count,
 * so a struct can be copied and compared.  The large ones do not belong on a
 * small stack.
 *
 *     hearth_begin_request rq = {.round = 7, ...};
 *     st = hearth_encode_begin_request(&buf, &rq);              // append
 *     st = hearth_decode_begin_request(&rq, bytes, n, &err);    // strict
 *
 * Units: times and durations in ms, `_ms`; absolute times since 1970-01-01
 * UTC; integers of a payload in steps of 1/scale weight units; losses do not
 * occur.
 *
 * Threads: pure data.
 * Source:  FEDERATION decisions, restated in proto/PROTOCOL.md.
 */
#ifndef HEARTH_PROTO_MESSAGES_H
#define HEARTH_PROTO_MESSAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/secret.h"
#include "common/status.h"
#include "proto/limits.h"

#define HEARTH_DIGEST_BYTES       32u
#define HEARTH_PROTO_CONTENT_TYPE "application/msgpack"

/* How deltas are averaged (coordinator/lora_rules.h). */
typedef enum {
    HEARTH_RULE_FFA = 1,  /* B only; A frozen from its seed */
    HEARTH_RULE_FEDIT = 2 /* A and B */
} hearth_rule;

/* Who must not learn what (PRIVACY.md). */
typedef enum {
    HEARTH_MODE_LOCAL = 1,      /* each delta is private by itself */
    HEARTH_MODE_DISTRIBUTED = 2 /* only the sum is; needs secure aggregation */
} hearth_mode;

typedef enum {
    HEARTH_RELATION_REPLACE_ONE = 1, /* account with z / 2 */
    HEARTH_RELATION_ZERO_OUT = 2     /* account with z */
} hearth_relation;

typedef enum { HEARTH_UNIT_DEVICE = 1 } hearth_unit;

typedef enum {
    HEARTH_WIRE_SCHEDULE_CONSTANT = 1,
    HEARTH_WIRE_SCHEDULE_LINEAR = 2,
    HEARTH_WIRE_SCHEDULE_COSINE = 3
} hearth_wire_schedule;

typedef enum {
    HEARTH_WIRE_LOSS_ANSWER = 1, /* supervise the answer only */
    HEARTH_WIRE_LOSS_ALL = 2
} hearth_wire_loss;

/* Why a request was not granted, for programs; the words are in `message`. */
typedef enum {
    HEARTH_REASON_NONE = 0,
    HEARTH_REASON_BAD_MESSAGE = 1, /* does not decode, or a field is off */
    HEARTH_REASON_VERSION = 2,     /* no protocol version in common */
    HEARTH_REASON_CREDENTIAL = 3,  /* no or wrong certificate or cookie */
    HEARTH_REASON_UNKNOWN = 4,     /* no such token, release or path */
    HEARTH_REASON_FULL = 5,        /* the round has enough: send nothing */
    HEARTH_REASON_CLOSED = 6,      /* the round is over: drop this delta */
    HEARTH_REASON_OFFSET = 7,      /* `offset` says where to go on */
    HEARTH_REASON_DIGEST = 8,      /* bytes differ from their digest: start
                                       again at offset 0 with the same bytes */
    HEARTH_REASON_ALTERED = 9,     /* a different upload under this token */
    HEARTH_REASON_RANGE = 10,      /* a coordinate is out of range */
    HEARTH_REASON_TOO_BIG = 11,    /* above a limit or the agreed length */
    HEARTH_REASON_DISK = 12,       /* no room now: come back */
    HEARTH_REASON_BUSY = 13,       /* the same request is being worked on */
    HEARTH_REASON_INTERNAL = 14,   /* the coordinator failed: come back */
    HEARTH_REASON_ABORTED = 15,    /* the device gave this upload up before */
    HEARTH_REASON_EXPIRED = 16     /* enrolment token or certificate too old */
} hearth_reason;

/* Why a device gives an upload up: one of few, and never data dependent
 * beyond that. */
typedef enum {
    HEARTH_ABORT_POLICY = 1,     /* the device's policy refused the offer */
    HEARTH_ABORT_CONDITIONS = 2, /* battery, network, heat, user */
    HEARTH_ABORT_DEADLINE = 3,
    HEARTH_ABORT_RECORDS = 4, /* too few, or no consent */
    HEARTH_ABORT_ERROR = 5    /* anything that failed */
} hearth_abort_reason;

/* How long it took until then. */
typedef enum {
    HEARTH_BUCKET_MINUTE = 1, /* under a minute */
    HEARTH_BUCKET_TEN_MINUTES = 2,
    HEARTH_BUCKET_HOUR = 3,
    HEARTH_BUCKET_LONGER = 4
} hearth_time_bucket;

/* When to come back: a time drawn uniformly in the window that applies.  Every
 * reply has one.  0 <= min <= max <= HEARTH_PROTO_MAX_WINDOW. */
typedef struct {
    uint64_t accepted_min_ms, accepted_max_ms;
    uint64_t refused_min_ms, refused_max_ms;
} hearth_retry;

/* ---- enrolment and renewal ---- */

typedef struct {
    char token[HEARTH_PROTO_TOKEN_CAP];
    char csr_pem[HEARTH_PROTO_PEM_CAP];
} hearth_enroll_request;

typedef struct {
    char csr_pem[HEARTH_PROTO_PEM_CAP];
} hearth_renew_request;

/* Reply to both. */
typedef struct {
    char device_id[HEARTH_PROTO_DEVICE_CAP];
    char cert_pem[HEARTH_PROTO_PEM_CAP];
    char ca_pem[HEARTH_PROTO_PEM_CAP];
    hearth_retry retry;
} hearth_enroll_reply;

/* ---- check-in ---- */

/* A task that the device knows already. */
typedef struct {
    char task[HEARTH_PROTO_TASK_CAP];
    uint8_t space_digest[HEARTH_DIGEST_BYTES];
    uint64_t have_sequence; /* newest release installed; 0 = none */
} hearth_checkin_task;

/* What the device has, so that only tasks that fit are offered.  A digest of
 * zeros means "none".  tasks may be empty: a device learns of a task from its
 * first offer or release. */
typedef struct {
    uint32_t n_versions;
    uint32_t versions[HEARTH_PROTO_MAX_VERSIONS]; /* majors understood */
    uint8_t base_digest[HEARTH_DIGEST_BYTES];
    uint8_t tokenizer_digest[HEARTH_DIGEST_BYTES];
    uint32_t n_tasks;
    hearth_checkin_task tasks[HEARTH_PROTO_MAX_TASKS];
} hearth_checkin_request;

/* Settings of the training on the device. */
typedef struct {
    uint32_t steps; /* optimizer steps */
    uint32_t batch; /* documents of seq tokens a step, > 0 */
    uint32_t seq;   /* tokens, > 0 */
    double lr;
    uint32_t schedule; /* hearth_wire_schedule */
    uint32_t warmup;   /* steps */
    double weight_decay;
    uint32_t loss; /* hearth_wire_loss */
} hearth_local_training;

/* What is averaged: which base, which modules, which A. */
typedef struct {
    uint8_t base_digest[HEARTH_DIGEST_BYTES];
    uint8_t tokenizer_digest[HEARTH_DIGEST_BYTES];
    uint8_t template_digest[HEARTH_DIGEST_BYTES]; /* zeros = no template */
    uint32_t targets;     /* mask of HEARTH_TARGET_BIT */
    uint32_t rank;        /* of every pair */
    uint32_t last_layers; /* adapt the last K layers only; 0 = all */
    double alpha;         /* exactly a float */
    bool rslora;
    uint32_t rule;                             /* hearth_rule */
    uint8_t a_seed[32];                        /* of A (common/adapter.h) */
    uint8_t a_digest[HEARTH_DIGEST_BYTES];     /* values digest of that A */
    uint8_t space_digest[HEARTH_DIGEST_BYTES]; /* common/adapter_digest.h */
    uint8_t shape_digest[HEARTH_DIGEST_BYTES];
    uint8_t payload_digest[HEARTH_DIGEST_BYTES]; /* layout, scale and bounds */
} hearth_wire_space;

/* How a delta becomes integers, and how much noise they get.  Delta2 =
 * sqrt(delta2_squared) is the enforced norm of the whole integer vector. */
typedef struct {
    uint64_t d;        /* trained parameters in the payload */
    uint32_t n_coords; /* bounded coordinates after them */
    uint32_t coord_max[HEARTH_PROTO_MAX_COORDS]; /* s_k, integer */
    double clip;       /* L2 norm in weight units, exactly a float */
    int32_t scale_exp; /* integers per weight unit = 2^scale_exp, -30..40 */
    uint64_t bound_squared;          /* D_d^2: of the delta part, integer */
    uint64_t delta2_squared;         /* D_d^2 + sum s_k^2 */
    uint64_t sigma2_num, sigma2_den; /* sigma^2 of each coordinate, integer
                                        domain; >= z^2 delta2_squared */
    double z;                        /* sigma / Delta2 */
    uint32_t mode;                   /* hearth_mode */
    uint32_t relation;               /* hearth_relation */
    uint32_t unit;                   /* hearth_unit */
    double delta;                    /* of both epsilons below; for display */
    double noise_to_signal;     /* z sqrt(d / n_min): noise on the mean in units
                                   of the clip */
    double epsilon_coordinator; /* over `rounds` participations */
    double epsilon_release;     /* over `rounds`, with n_min devices each */
} hearth_wire_privacy;

/* An invitation to one stage of one round.  It does not change while the
 * round lasts: the same device asking again gets the same bytes. */
typedef struct {
    char task[HEARTH_PROTO_TASK_CAP];
    char purpose[HEARTH_PROTO_PURPOSE_CAP]; /* consent needed for it */
    uint64_t round;
    uint32_t cohort, stage; /* from 0 */
    hearth_wire_space space;
    hearth_wire_privacy privacy;
    hearth_local_training local;
    uint64_t start_sequence;         /* release to start from, >= 1 */
    uint32_t cohort_min, cohort_max; /* devices counted in this cohort */
    uint32_t n_min;                  /* the stage's count.min */
    uint32_t rounds;                 /* of the task, all in all */
    uint32_t min_examples;           /* fewer records: do not take part */
    uint64_t spacing_ms;             /* between two participations */
    uint64_t deadline_ms;            /* absolute; no commit after it */
    hearth_secret upload_token;      /* one use; 64 hex digits in the URL */
    bool not_private; /* test seam only: shipped clients refuse it */
} hearth_offer;

/* The newest release of a task. */
typedef struct {
    char task[HEARTH_PROTO_TASK_CAP];
    uint64_t sequence;
    uint8_t manifest_digest[HEARTH_DIGEST_BYTES]; /* of the signed bytes */
} hearth_release_ref;

typedef struct {
    uint32_t version; /* major that both sides speak from now on */
    char cookie[HEARTH_PROTO_COOKIE_CAP]; /* "" = none given */
    uint64_t now_ms; /* coordinator's clock, to read deadlines with */
    uint32_t n_offers;
    hearth_offer offers[HEARTH_PROTO_MAX_OFFERS];
    uint32_t n_releases;
    hearth_release_ref releases[HEARTH_PROTO_MAX_TASKS];
    hearth_retry retry;
} hearth_checkin_reply;

/* ---- uploads ---- */

typedef struct {
    uint64_t round;
    uint32_t cohort, stage;
    uint64_t length;                             /* bytes, 4 (d + n_coords) */
    uint8_t sha256[HEARTH_DIGEST_BYTES];         /* of all bytes */
    uint8_t payload_digest[HEARTH_DIGEST_BYTES]; /* of the offer */
} hearth_begin_request;

/* Reply to begin and append: how many bytes the coordinator has. */
typedef struct {
    uint64_t offset;
    hearth_retry retry;
} hearth_offset_reply;

typedef struct {
    uint8_t sha256[HEARTH_DIGEST_BYTES];
} hearth_commit_request;

typedef enum { HEARTH_COMMIT_ACCEPTED = 1 } hearth_commit_state;

typedef struct {
    uint32_t state; /* hearth_commit_state: durable, counted once or never */
    hearth_retry retry;
} hearth_commit_reply;

typedef struct {
    uint32_t reason; /* hearth_abort_reason */
    uint32_t bucket; /* hearth_time_bucket */
} hearth_abort_request;

/* Reply to abort: done, nothing to say. */
typedef struct {
    hearth_retry retry;
} hearth_ack_reply;

/* Body of every reply whose HTTP status is 400 or more. */
typedef struct {
    uint32_t reason; /* hearth_reason */
    uint64_t offset; /* where to go on; 0 unless reason is OFFSET */
    char message[HEARTH_PROTO_TEXT_CAP];
    hearth_retry retry;
} hearth_error_reply;

/* ---- encode and decode ---- */

/* X(struct name without hearth_) for every body on the wire. */
#define HEARTH_MESSAGE_MAP(X)                                                  \
    X(enroll_request)                                                          \
    X(enroll_reply)                                                            \
    X(renew_request)                                                           \
    X(checkin_request)                                                         \
    X(checkin_reply)                                                           \
    X(offer)                                                                   \
    X(begin_request)                                                           \
    X(offset_reply)                                                            \
    X(commit_request)                                                          \
    X(commit_reply)                                                            \
    X(abort_request)                                                           \
    X(ack_reply)                                                               \
    X(error_reply)

/* hearth_encode_<message>: append the message to buf.
 *
 * Returns HEARTH_OK
 *         HEARTH_EINVAL      NULL, a count above its limit, a string without
 *                            NUL or not UTF-8, a number out of its range
 *         HEARTH_ENONFINITE  a NaN or infinity
 *         HEARTH_ENOMEM      and in every failure buf is as it was
 *
 * hearth_decode_<message>: read exactly n bytes into *m.
 *
 * Strict: every key once, no other key, no byte after the map, canonical
 * encodings only, so decode(b) = x implies encode(x) = b.
 * Returns HEARTH_OK
 *         HEARTH_EINVAL   m or bytes is NULL
 *         HEARTH_ETOOBIG  n above HEARTH_PROTO_MAX_BODY
 *         HEARTH_EVERSION a major version this build does not know
 *         HEARTH_EFORMAT  anything else wrong with the bytes
 *         HEARTH_ENOMEM   and in every failure *m is zero */
#define X(name)                                                                \
    HEARTH_MUST_CHECK hearth_status hearth_encode_##name(                      \
        hearth_buf *buf, const hearth_##name *m);                              \
    HEARTH_MUST_CHECK hearth_status hearth_decode_##name(                      \
        hearth_##name *m, const uint8_t *bytes, size_t n, hearth_error *err);
HEARTH_MESSAGE_MAP(X)
#undef X

/* SHA-256 of the encoded offer: what a prepared delta is bound to.
 * Returns as hearth_encode_offer. */
HEARTH_MUST_CHECK
hearth_status hearth_offer_digest(const hearth_offer *offer,
                                  uint8_t out[HEARTH_DIGEST_BYTES]);

/* Short words for a reason, e.g. "closed".  Static; "?" when unknown. */
const char *hearth_reason_name(uint32_t reason);

/* True for "[a-z0-9][a-z0-9._-]*" of 1 to HEARTH_PROTO_TASK_CAP - 1 bytes:
 * what a task may be called, safe in a path and in a URL. */
bool hearth_task_name_ok(const char *name);

#endif /* HEARTH_PROTO_MESSAGES_H */

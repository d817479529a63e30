/* SPDX-License-Identifier: Apache-2.0 */
/* proto/fields.c - the tables: key, type, place and range of every field.
 *
 * proto/PROTOCOL.md says the same in words.  The order of rows is the order on
 * the wire.
 */
#include "proto/fields.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "common/lora_names.h"
#include "proto/messages.h"
#include "proto/signed.h"

#define AT(S, f)     offsetof(hearth_##S, f)
#define SIZE(S, f)   sizeof(((hearth_##S *)0)->f)
#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

#define U32(k, S, f, min_, max_)                                               \
    {                                                                          \
        .key = k, .type = HEARTH_FIELD_U32, .offset = AT(S, f), .lo = (min_),  \
        .hi = (max_)                                                           \
    }
#define U64(k, S, f, min_, max_)                                               \
    {                                                                          \
        .key = k, .type = HEARTH_FIELD_U64, .offset = AT(S, f), .lo = (min_),  \
        .hi = (max_)                                                           \
    }
#define I32(k, S, f, max_)                                                     \
    { .key = k, .type = HEARTH_FIELD_I32, .offset = AT(S, f), .hi = (max_) }
#define F64(k, S, f, min_, max_)                                               \
    {                                                                          \
        .key = k, .type = HEARTH_FIELD_F64, .offset = AT(S, f), .flo = (min_), \
        .fhi = (max_)                                                          \
    }
#define FLAG(k, S, f)                                                          \
    { .key = k, .type = HEARTH_FIELD_BOOL, .offset = AT(S, f) }
#define STR(k, S, f, min_)                                                     \
    {                                                                          \
        .key = k, .type = HEARTH_FIELD_STR, .offset = AT(S, f),                \
        .size = SIZE(S, f), .lo = (min_)                                       \
    }
#define BIN(k, S, f)                                                           \
    {                                                                          \
        .key = k, .type = HEARTH_FIELD_BIN, .offset = AT(S, f),                \
        .size = SIZE(S, f)                                                     \
    }
#define MAP(k, S, f, t)                                                        \
    { .key = k, .type = HEARTH_FIELD_MAP, .offset = AT(S, f), .sub = &(t) }
#define LIST(k, T, S, f, n_, min_, max_, hi_, t)                               \
    {                                                                          \
        .key = k, .type = HEARTH_FIELD_##T, .offset = AT(S, f),                \
        .size = SIZE(S, f[0]), .count_offset = AT(S, n_), .lo = (min_),        \
        .max = (max_), .hi = (hi_), .sub = (t)                                 \
    }
#define TABLE(S, name_, fields_, check_)                                       \
    const hearth_fields hearth_fields_##S = {.name = name_,                    \
                                             .size = sizeof(hearth_##S),       \
                                             .field = fields_,                 \
                                             .n = COUNT(fields_),              \
                                             .check = check_}
#define PART(S, name_, fields_, check_)                                        \
    static const hearth_fields part_##S = {.name = name_,                      \
                                           .size = sizeof(hearth_##S),         \
                                           .field = fields_,                   \
                                           .n = COUNT(fields_),                \
                                           .check = check_}

#define MS  HEARTH_PROTO_MAX_MS
#define SEQ HEARTH_PROTO_MAX_SEQUENCE

/* ---- parts ---- */

static const hearth_field retry_rows[] = {
    U64("a0", retry, accepted_min_ms, 0, HEARTH_PROTO_MAX_WINDOW),
    U64("a1", retry, accepted_max_ms, 0, HEARTH_PROTO_MAX_WINDOW),
    U64("r0", retry, refused_min_ms, 0, HEARTH_PROTO_MAX_WINDOW),
    U64("r1", retry, refused_max_ms, 0, HEARTH_PROTO_MAX_WINDOW),
};
static bool retry_check(const void *m) {
    const hearth_retry *r = m;
    return r->accepted_min_ms <= r->accepted_max_ms &&
           r->refused_min_ms <= r->refused_max_ms;
}
PART(retry, "retry", retry_rows, retry_check);

static const hearth_field local_rows[] = {
    U32("steps", local_training, steps, 1, 1000000),
    U32("batch", local_training, batch, 1, 65536),
    U32("seq", local_training, seq, 1, 1u << 20),
    F64("lr", local_training, lr, 0, 1e6),
    U32("sched", local_training, schedule, 1, 3),
    U32("warmup", local_training, warmup, 0, 1000000),
    F64("wd", local_training, weight_decay, 0, 1e6),
    U32("loss", local_training, loss, 1, 2),
};
PART(local_training, "local", local_rows, NULL);

/* Doubles that stand for floats. */
static bool is_float(double v) {
    return v > 0 && v <= (double)FLT_MAX && (double)(float)v == v;
}

static const hearth_field space_rows[] = {
    BIN("base", wire_space, base_digest),
    BIN("tok", wire_space, tokenizer_digest),
    BIN("tmpl", wire_space, template_digest),
    U32("targets", wire_space, targets, 1, HEARTH_TARGETS_ANY),
    U32("rank", wire_space, rank, 1, 1024),
    U32("last", wire_space, last_layers, 0, 1024),
    F64("alpha", wire_space, alpha, 0, (double)FLT_MAX),
    FLAG("rslora", wire_space, rslora),
    U32("rule", wire_space, rule, 1, 2),
    BIN("a_seed", wire_space, a_seed),
    BIN("a_sha", wire_space, a_digest),
    BIN("space", wire_space, space_digest),
    BIN("shape", wire_space, shape_digest),
    BIN("payload", wire_space, payload_digest),
};
static bool space_check(const void *m) {
    return is_float(((const hearth_wire_space *)m)->alpha);
}
PART(wire_space, "space", space_rows, space_check);

static const hearth_field privacy_rows[] = {
    U64("d", wire_privacy, d, 0, HEARTH_PROTO_MAX_DIM),
    LIST("coords", U32S, wire_privacy, coord_max, n_coords, 0,
         HEARTH_PROTO_MAX_COORDS, 1u << 24, NULL),
    F64("clip", wire_privacy, clip, 0, (double)FLT_MAX),
    I32("scale", wire_privacy, scale_exp, 40),
    U64("bound2", wire_privacy, bound_squared, 0, (uint64_t)1 << 60),
    U64("delta2", wire_privacy, delta2_squared, 1, (uint64_t)1 << 60),
    U64("s2n", wire_privacy, sigma2_num, 1, UINT64_MAX),
    U64("s2d", wire_privacy, sigma2_den, 1, UINT64_MAX),
    F64("z", wire_privacy, z, DBL_MIN, 1e9),
    U32("mode", wire_privacy, mode, 1, 2),
    U32("rel", wire_privacy, relation, 1, 2),
    U32("unit", wire_privacy, unit, 1, 1),
    F64("delta", wire_privacy, delta, DBL_MIN, 1),
    F64("nts", wire_privacy, noise_to_signal, 0, DBL_MAX),
    F64("eps_c", wire_privacy, epsilon_coordinator, 0, DBL_MAX),
    F64("eps_r", wire_privacy, epsilon_release, 0, DBL_MAX),
};
static bool privacy_check(const void *m) {
    const hearth_wire_privacy *p = m;
    uint64_t sum = p->bound_squared; /* <= 2^60 + 16 * 2^48: no overflow */
    for (uint32_t k = 0; k < p->n_coords; k++) {
        if (p->coord_max[k] == 0) return false;
        sum += (uint64_t)p->coord_max[k] * p->coord_max[k];
    }
    if ((p->d == 0) != (p->bound_squared == 0)) return false;
    return p->d + p->n_coords > 0 && sum == p->delta2_squared &&
           is_float(p->clip) && p->scale_exp >= -30 && p->delta < 1;
}
PART(wire_privacy, "privacy", privacy_rows, privacy_check);

static const hearth_field checkin_task_rows[] = {
    STR("task", checkin_task, task, 1),
    BIN("space", checkin_task, space_digest),
    U64("have", checkin_task, have_sequence, 0, SEQ),
};
static bool checkin_task_check(const void *m) {
    return hearth_task_name_ok(((const hearth_checkin_task *)m)->task);
}
PART(checkin_task, "task", checkin_task_rows, checkin_task_check);

static const hearth_field release_ref_rows[] = {
    STR("task", release_ref, task, 1),
    U64("seq", release_ref, sequence, 1, SEQ),
    BIN("sha", release_ref, manifest_digest),
};
static bool release_ref_check(const void *m) {
    return hearth_task_name_ok(((const hearth_release_ref *)m)->task);
}
PART(release_ref, "release", release_ref_rows, release_ref_check);

/* ---- messages ---- */

static const hearth_field enroll_request_rows[] = {
    STR("token", enroll_request, token, 1),
    STR("csr", enroll_request, csr_pem, 1),
};
TABLE(enroll_request, "enroll request", enroll_request_rows, NULL);

static const hearth_field enroll_reply_rows[] = {
    STR("id", enroll_reply, device_id, 1),
    STR("cert", enroll_reply, cert_pem, 1),
    STR("ca", enroll_reply, ca_pem, 1),
    MAP("retry", enroll_reply, retry, part_retry),
};
TABLE(enroll_reply, "enroll reply", enroll_reply_rows, NULL);

static const hearth_field renew_request_rows[] = {
    STR("csr", renew_request, csr_pem, 1),
};
TABLE(renew_request, "renew request", renew_request_rows, NULL);

static const hearth_field checkin_request_rows[] = {
    LIST("versions", U32S, checkin_request, versions, n_versions, 1,
         HEARTH_PROTO_MAX_VERSIONS, UINT32_MAX, NULL),
    BIN("base", checkin_request, base_digest),
    BIN("tok", checkin_request, tokenizer_digest),
    LIST("tasks", MAPS, checkin_request, tasks, n_tasks, 0,
         HEARTH_PROTO_MAX_TASKS, 0, &part_checkin_task),
};
TABLE(checkin_request, "check-in request", checkin_request_rows, NULL);

static const hearth_field offer_rows[] = {
    STR("task", offer, task, 1),
    STR("purpose", offer, purpose, 1),
    U64("round", offer, round, 1, SEQ),
    U32("cohort", offer, cohort, 0, HEARTH_PROTO_MAX_COHORTS - 1),
    U32("stage", offer, stage, 0, HEARTH_PROTO_MAX_STAGES - 1),
    MAP("space", offer, space, part_wire_space),
    MAP("privacy", offer, privacy, part_wire_privacy),
    MAP("local", offer, local, part_local_training),
    U64("start", offer, start_sequence, 1, SEQ),
    U32("c_min", offer, cohort_min, 1, HEARTH_PROTO_MAX_COHORT),
    U32("c_max", offer, cohort_max, 1, HEARTH_PROTO_MAX_COHORT),
    U32("n_min", offer, n_min, 1, HEARTH_PROTO_MAX_COHORT),
    U32("rounds", offer, rounds, 1, HEARTH_PROTO_MAX_ROUNDS),
    U32("examples", offer, min_examples, 0, 1u << 30),
    U64("spacing", offer, spacing_ms, 0, MS),
    U64("deadline", offer, deadline_ms, 0, MS),
    BIN("token", offer, upload_token),
    FLAG("not_private", offer, not_private),
};
static bool offer_check(const void *m) {
    const hearth_offer *o = m;
    return hearth_task_name_ok(o->task) && o->cohort_min <= o->cohort_max;
}
TABLE(offer, "offer", offer_rows, offer_check);

static const hearth_field checkin_reply_rows[] = {
    U32("version", checkin_reply, version, 1, UINT32_MAX),
    STR("cookie", checkin_reply, cookie, 0),
    U64("now", checkin_reply, now_ms, 0, MS),
    LIST("offers", MAPS, checkin_reply, offers, n_offers, 0,
         HEARTH_PROTO_MAX_OFFERS, 0, &hearth_fields_offer),
    LIST("releases", MAPS, checkin_reply, releases, n_releases, 0,
         HEARTH_PROTO_MAX_TASKS, 0, &part_release_ref),
    MAP("retry", checkin_reply, retry, part_retry),
};
TABLE(checkin_reply, "check-in reply", checkin_reply_rows, NULL);

static const hearth_field begin_request_rows[] = {
    U64("round", begin_request, round, 1, SEQ),
    U32("cohort", begin_request, cohort, 0, HEARTH_PROTO_MAX_COHORTS - 1),
    U32("stage", begin_request, stage, 0, HEARTH_PROTO_MAX_STAGES - 1),
    U64("length", begin_request, length, 4,
        4 * (HEARTH_PROTO_MAX_DIM + HEARTH_PROTO_MAX_COORDS)),
    BIN("sha", begin_request, sha256),
    BIN("payload", begin_request, payload_digest),
};
TABLE(begin_request, "begin request", begin_request_rows, NULL);

static const hearth_field offset_reply_rows[] = {
    U64("offset", offset_reply, offset, 0, UINT64_MAX),
    MAP("retry", offset_reply, retry, part_retry),
};
TABLE(offset_reply, "offset reply", offset_reply_rows, NULL);

static const hearth_field commit_request_rows[] = {
    BIN("sha", commit_request, sha256),
};
TABLE(commit_request, "commit request", commit_request_rows, NULL);

static const hearth_field commit_reply_rows[] = {
    U32("state", commit_reply, state, 1, 1),
    MAP("retry", commit_reply, retry, part_retry),
};
TABLE(commit_reply, "commit reply", commit_reply_rows, NULL);

static const hearth_field abort_request_rows[] = {
    U32("reason", abort_request, reason, 1, 5),
    U32("bucket", abort_request, bucket, 1, 4),
};
TABLE(abort_request, "abort request", abort_request_rows, NULL);

static const hearth_field ack_reply_rows[] = {
    MAP("retry", ack_reply, retry, part_retry),
};
TABLE(ack_reply, "reply", ack_reply_rows, NULL);

static const hearth_field error_reply_rows[] = {
    U32("reason", error_reply, reason, 1, UINT32_MAX),
    U64("offset", error_reply, offset, 0, UINT64_MAX),
    STR("message", error_reply, message, 0),
    MAP("retry", error_reply, retry, part_retry),
};
TABLE(error_reply, "error reply", error_reply_rows, NULL);

/* ---- signed ---- */

static const hearth_field keyset_rows[] = {
    U64("version", keyset, version, 1, SEQ),
    U64("issued", keyset, issued_ms, 0, MS),
    U64("expires", keyset, expires_ms, 1, MS),
    LIST("release_keys", BINS, keyset, release_keys, n_release_keys, 1,
         HEARTH_PROTO_MAX_RELEASE_KEYS, 0, NULL),
    LIST("pins", STRS, keyset, pins, n_pins, 1, HEARTH_PROTO_MAX_PINS, 0, NULL),
    STR("ca", keyset, device_ca_pem, 1),
};
TABLE(keyset, "keyset", keyset_rows, NULL);

static const hearth_field release_rows[] = {
    STR("task", release, task, 1),
    U64("seq", release, sequence, 1, SEQ),
    U64("parent", release, parent, 0, SEQ),
    U64("content_of", release, content_of, 1, SEQ),
    U64("created", release, created_ms, 0, MS),
    U64("expires", release, expires_ms, 1, MS),
    U64("round", release, round, 0, SEQ),
    U32("rounds", release, rounds, 0, HEARTH_PROTO_MAX_ROUNDS),
    U32("devices", release, devices, 0,
        HEARTH_PROTO_MAX_COHORT *HEARTH_PROTO_MAX_COHORTS),
    U64("bytes", release, content_bytes, 0, 4 * HEARTH_PROTO_MAX_DIM),
    BIN("sha", release, content_sha256),
    MAP("space", release, space, part_wire_space),
    MAP("privacy", release, privacy, part_wire_privacy),
    FLAG("not_private", release, not_private),
};
static bool release_check(const void *m) {
    const hearth_release *r = m;
    return hearth_task_name_ok(r->task) && r->parent < r->sequence &&
           r->content_of <= r->sequence && r->content_bytes == 4 * r->privacy.d;
}
TABLE(release, "release", release_rows, release_check);

static const hearth_field envelope_rows[] = {
    STR("kind", envelope, kind, 1),
    {.key = "body",
     .type = HEARTH_FIELD_BYTES,
     .offset = AT(envelope, body),
     .count_offset = AT(envelope, body_n),
     .lo = 1,
     .max = HEARTH_ENVELOPE_BODY_MAX},
    BIN("key", envelope, key),
    BIN("sig", envelope, sig),
};
TABLE(envelope, "signed envelope", envelope_rows, NULL);

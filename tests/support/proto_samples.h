/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/proto_samples.h - one valid value of every message, with every
 * field set to something that is not zero.  Frozen: the golden vectors are
 * made of them. */
#ifndef HEARTH_TESTS_PROTO_SAMPLES_H
#define HEARTH_TESTS_PROTO_SAMPLES_H

#include <stdio.h>
#include <string.h>

#include "proto/messages.h"
#include "proto/signed.h"

static inline void sample_digest(uint8_t *d, uint8_t first) {
    for (uint8_t i = 0; i < 32; i++) d[i] = (uint8_t)(first + i);
}

static inline hearth_retry sample_retry(void) {
    return (hearth_retry){1000, 2000, 60000, 90000};
}

static inline void sample_space(hearth_wire_space *s) {
    sample_digest(s->base_digest, 1);
    sample_digest(s->tokenizer_digest, 2);
    sample_digest(s->template_digest, 3);
    s->targets = 5;
    s->rank = 4;
    s->last_layers = 2;
    s->alpha = 8;
    s->rslora = true;
    s->rule = HEARTH_RULE_FFA;
    sample_digest(s->a_seed, 4);
    sample_digest(s->a_digest, 5);
    sample_digest(s->space_digest, 6);
    sample_digest(s->shape_digest, 7);
    sample_digest(s->payload_digest, 8);
}

static inline void sample_privacy(hearth_wire_privacy *p) {
    p->d = 160;
    p->n_coords = 2;
    p->coord_max[0] = 3;
    p->coord_max[1] = 4;
    p->clip = 0.0625;
    p->scale_exp = -3;
    p->bound_squared = 1000;
    p->delta2_squared = 1025;
    p->sigma2_num = 5905;
    p->sigma2_den = 1;
    p->z = 2.4;
    p->mode = HEARTH_MODE_LOCAL;
    p->relation = HEARTH_RELATION_REPLACE_ONE;
    p->unit = HEARTH_UNIT_DEVICE;
    p->delta = 1e-5;
    p->noise_to_signal = 7.5;
    p->epsilon_coordinator = 9.75;
    p->epsilon_release = 1.875;
}

static inline void sample_offer(hearth_offer *o) {
    memset(o, 0, sizeof(*o));
    snprintf(o->task, sizeof(o->task), "diary-v1");
    snprintf(o->purpose, sizeof(o->purpose), "train");
    o->round = 7;
    o->cohort = 1;
    o->stage = 2;
    sample_space(&o->space);
    sample_privacy(&o->privacy);
    /* One by one: a struct literal may leave anything in its padding. */
    o->local.steps = 2;
    o->local.batch = 8;
    o->local.seq = 128;
    o->local.lr = 0.02;
    o->local.schedule = HEARTH_WIRE_SCHEDULE_COSINE;
    o->local.warmup = 1;
    o->local.weight_decay = 0.5;
    o->local.loss = HEARTH_WIRE_LOSS_ANSWER;
    o->start_sequence = 6;
    o->cohort_min = 16;
    o->cohort_max = 32;
    o->n_min = 16;
    o->rounds = 5;
    o->min_examples = 4;
    o->spacing_ms = 86400000;
    o->deadline_ms = 1700000600000;
    sample_digest(o->upload_token.bytes, 9);
    o->not_private = true;
}

static inline void sample_enroll_request(hearth_enroll_request *m) {
    memset(m, 0, sizeof(*m));
    snprintf(m->token, sizeof(m->token), "token-1");
    snprintf(m->csr_pem, sizeof(m->csr_pem), "-----BEGIN-----\nabc\n");
}

static inline void sample_renew_request(hearth_renew_request *m) {
    memset(m, 0, sizeof(*m));
    snprintf(m->csr_pem, sizeof(m->csr_pem), "-----BEGIN-----\nabc\n");
}

static inline void sample_enroll_reply(hearth_enroll_reply *m) {
    memset(m, 0, sizeof(*m));
    snprintf(m->device_id, sizeof(m->device_id), "d-0011");
    snprintf(m->cert_pem, sizeof(m->cert_pem), "cert");
    snprintf(m->ca_pem, sizeof(m->ca_pem), "ca");
    m->retry = sample_retry();
}

static inline void sample_checkin_request(hearth_checkin_request *m) {
    memset(m, 0, sizeof(*m));
    m->n_versions = 2;
    m->versions[0] = 1;
    m->versions[1] = 2;
    sample_digest(m->base_digest, 1);
    sample_digest(m->tokenizer_digest, 2);
    m->n_tasks = 1;
    snprintf(m->tasks[0].task, sizeof(m->tasks[0].task), "diary-v1");
    sample_digest(m->tasks[0].space_digest, 6);
    m->tasks[0].have_sequence = 6;
}

static inline void sample_checkin_reply(hearth_checkin_reply *m) {
    memset(m, 0, sizeof(*m));
    m->version = 1;
    snprintf(m->cookie, sizeof(m->cookie), "cookie");
    m->now_ms = 1700000000000;
    m->n_offers = 1;
    sample_offer(&m->offers[0]);
    m->n_releases = 1;
    snprintf(m->releases[0].task, sizeof(m->releases[0].task), "diary-v1");
    m->releases[0].sequence = 6;
    sample_digest(m->releases[0].manifest_digest, 10);
    m->retry = sample_retry();
}

static inline void sample_begin_request(hearth_begin_request *m) {
    memset(m, 0, sizeof(*m));
    m->round = 7;
    m->cohort = 1;
    m->stage = 2;
    m->length = 648;
    sample_digest(m->sha256, 11);
    sample_digest(m->payload_digest, 8);
}

static inline void sample_offset_reply(hearth_offset_reply *m) {
    memset(m, 0, sizeof(*m));
    m->offset = 300;
    m->retry = sample_retry();
}

static inline void sample_commit_request(hearth_commit_request *m) {
    memset(m, 0, sizeof(*m));
    sample_digest(m->sha256, 11);
}

static inline void sample_commit_reply(hearth_commit_reply *m) {
    memset(m, 0, sizeof(*m));
    m->state = HEARTH_COMMIT_ACCEPTED;
    m->retry = sample_retry();
}

static inline void sample_abort_request(hearth_abort_request *m) {
    memset(m, 0, sizeof(*m));
    m->reason = HEARTH_ABORT_CONDITIONS;
    m->bucket = HEARTH_BUCKET_HOUR;
}

static inline void sample_ack_reply(hearth_ack_reply *m) {
    memset(m, 0, sizeof(*m));
    m->retry = sample_retry();
}

static inline void sample_error_reply(hearth_error_reply *m) {
    memset(m, 0, sizeof(*m));
    m->reason = HEARTH_REASON_OFFSET;
    m->offset = 12;
    snprintf(m->message, sizeof(m->message), "go on at 12");
    m->retry = sample_retry();
}

static inline void sample_keyset(hearth_keyset *m) {
    memset(m, 0, sizeof(*m));
    m->version = 3;
    m->issued_ms = 1700000000000;
    m->expires_ms = 1800000000000;
    m->n_release_keys = 1;
    m->release_keys[0][0] = 4;
    sample_digest(m->release_keys[0] + 1, 12);
    sample_digest(m->release_keys[0] + 33, 13);
    m->n_pins = 1;
    snprintf(m->pins[0], sizeof(m->pins[0]), "sha256//AAAA");
    snprintf(m->device_ca_pem, sizeof(m->device_ca_pem), "ca");
}

static inline void sample_release(hearth_release *m) {
    memset(m, 0, sizeof(*m));
    snprintf(m->task, sizeof(m->task), "diary-v1");
    m->sequence = 6;
    m->parent = 5;
    m->content_of = 6;
    m->created_ms = 1700000000000;
    m->expires_ms = 1707776000000;
    m->round = 7;
    m->rounds = 5;
    m->devices = 17;
    m->content_bytes = 640;
    sample_digest(m->content_sha256, 14);
    sample_space(&m->space);
    sample_privacy(&m->privacy);
    m->not_private = true;
}

#endif /* HEARTH_TESTS_PROTO_SAMPLES_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/checkin.c - who is invited to what.
 *
 * A device's place in a round is a function of the round key and its id: the
 * tag says that it takes part, the token lets it upload, and neither can be
 * told from the other once the key is erased.  So a device that lost the reply
 * asks again and gets the very same offer, and none gets a second place.
 */
#include <string.h>

#include "common/bytes.h"
#include "common/error.h"
#include "common/failpoint.h"
#include "common/hash.h"
#include "common/mem.h"
#include "coordinator/coord_impl.h"
#include "coordinator/place.h"
#include "proto/negotiate.h"

static void fill_offer(const hearth_coord *c, const hearth_coord_task *t,
                       uint32_t cohort, const hearth_secret *token,
                       hearth_offer *o) {
    const hearth_task *k = &t->task;
    const hearth_stage_window *w = &k->round.stage[t->round.stage];
    memset(o, 0, sizeof(*o));
    memcpy(o->task, k->name, sizeof(o->task));
    memcpy(o->purpose, k->purpose, sizeof(o->purpose));
    o->round = t->round_number;
    o->cohort = cohort;
    o->stage = t->round.stage;
    o->space = k->space;
    o->privacy = k->privacy;
    o->local = k->local;
    o->start_sequence = t->start_sequence;
    o->cohort_min = w->count_min;
    o->cohort_max = w->count_max;
    o->n_min = w->count_min;
    o->rounds = k->rounds;
    o->min_examples = k->min_examples;
    o->spacing_ms = k->spacing_ms;
    o->deadline_ms = hearth_round_deadline(&k->round, &t->round);
    o->upload_token = *token;
    o->not_private = c->cfg.not_private;
}

/* Has the spacing since the last invitation passed?  remember: and this is
 * one. */
static hearth_status spaced(hearth_coord *c, hearth_coord_task *t,
                            const char *device, bool remember, bool *ready) {
    uint8_t tag[32];
    int64_t now = hearth_coord__now(c);
    hearth_status st;
    *ready = true;
    if (t->task.spacing_ms == 0) return HEARTH_OK;
    st = hearth_place_spacing(tag, &t->cooldown_key, device);
    if (st != HEARTH_OK) return st;
    return hearth_coord_store_cooldown(c->store, t->task.name, tag, now,
                                       (int64_t)t->task.spacing_ms, remember,
                                       ready, NULL);
}

/* A first invitation, when the round has a place.  *granted stays false, with
 * HEARTH_OK, when it has none. */
static hearth_status invite_new(hearth_coord *c, hearth_coord_task *t,
                                const char *device,
                                const uint8_t token_hash[32], uint32_t *cohort,
                                bool *granted) {
    hearth_round before = t->round;
    hearth_round_actions act;
    hearth_contrib_row row;
    uint8_t tag[32];
    bool ready = false;
    hearth_status st;

    if (hearth_coord__event(c, t, HEARTH_ROUND_EV_INVITE, 0, 0, &act) !=
        HEARTH_REASON_NONE)
        return HEARTH_OK;
    memset(&row, 0, sizeof(row));
    memcpy(row.token_hash, token_hash, 32);
    memcpy(row.task, t->task.name, sizeof(row.task));
    row.round = t->round_number;
    row.cohort = act.cohort;
    row.stage = t->round.stage;
    st = hearth_place_tag(tag, &t->round_key, device);
    if (st == HEARTH_OK) st = spaced(c, t, device, true, &ready);
    if (st == HEARTH_OK && ready)
        st = hearth_coord_store_invite(c->store, &row, tag, NULL);
    if (st != HEARTH_OK || !ready) {
        t->round.cohort[act.cohort].invited = before.cohort[act.cohort].invited;
        return st;
    }
    HEARTH_FAILPOINT("invite.after_row");
    c->counters.offers++;
    *cohort = act.cohort;
    *granted = true;
    return HEARTH_OK;
}

/* The offer of a device in the open round of a task, made or repeated. */
static hearth_status offer_one(hearth_coord *c, hearth_coord_task *t,
                               const char *device, hearth_offer *offer,
                               bool *granted) {
    hearth_secret token;
    uint8_t token_hash[32];
    hearth_contrib_row row;
    uint32_t cohort = 0;
    hearth_status st;

    *granted = false;
    if (t->round.phase != HEARTH_ROUND_OPEN || t->must_fail) return HEARTH_OK;
    st = hearth_place_token(&token, &t->round_key, device);
    if (st == HEARTH_OK)
        st = hearth_sha256(token_hash, token.bytes, sizeof(token.bytes));
    if (st == HEARTH_OK)
        st = hearth_coord_store_contrib(c->store, token_hash, &row, NULL);
    if (st == HEARTH_OK) { /* it was invited before */
        *granted = row.state == HEARTH_CONTRIB_INVITED ||
                   row.state == HEARTH_CONTRIB_BEGUN;
        cohort = row.cohort;
    } else if (st == HEARTH_ENOTFOUND) {
        st = invite_new(c, t, device, token_hash, &cohort, granted);
    }
    if (st == HEARTH_OK && *granted) fill_offer(c, t, cohort, &token, offer);
    hearth_secret_wipe(&token);
    return st;
}

/* Is this the device's base?  A task without a tokenizer digest takes any. */
static bool fits(const hearth_coord_task *t, const hearth_checkin_request *rq) {
    static const uint8_t none[32];
    const hearth_wire_space *s = &t->task.space;
    if (memcmp(s->base_digest, rq->base_digest, 32) != 0) return false;
    return memcmp(s->tokenizer_digest, none, 32) == 0 ||
           memcmp(s->tokenizer_digest, rq->tokenizer_digest, 32) == 0;
}

/* A device that names the task must mean the same space. */
static bool same_space(const hearth_coord_task *t,
                       const hearth_checkin_request *rq) {
    for (uint32_t i = 0; i < rq->n_tasks; i++)
        if (strcmp(rq->tasks[i].task, t->task.name) == 0)
            return memcmp(rq->tasks[i].space_digest, t->task.space.space_digest,
                          32) == 0;
    return true;
}

/* Open a round if one is due, but only for a device that may take part: a round
 * that starts for nobody fails. */
static hearth_status maybe_open(hearth_coord *c, hearth_coord_task *t,
                                const char *device) {
    bool ready = false;
    hearth_status st;
    if (t->round.phase == HEARTH_ROUND_OPEN) return HEARTH_OK;
    st = spaced(c, t, device, false, &ready);
    if (st != HEARTH_OK || !ready) return st;
    st = hearth_coord__open_round(c, t, NULL);
    return st == HEARTH_ESTATE ? HEARTH_OK : st;
}

static hearth_status fill_task(hearth_coord *c, hearth_coord_task *t,
                               const hearth_checkin_request *rq,
                               const char *device, hearth_checkin_reply *rp) {
    hearth_release_ref *ref;
    hearth_status st;
    bool granted = false;

    if (!fits(t, rq) || !same_space(t, rq)) return HEARTH_OK;
    if (rp->n_releases < HEARTH_PROTO_MAX_TASKS) {
        ref = &rp->releases[rp->n_releases++];
        memcpy(ref->task, t->task.name, sizeof(ref->task));
        ref->sequence = t->newest.sequence;
        memcpy(ref->manifest_digest, t->newest.manifest_digest, 32);
    }
    if (rp->n_offers == HEARTH_PROTO_MAX_OFFERS) return HEARTH_OK;
    (void)hearth_coord__event(c, t, HEARTH_ROUND_EV_TICK, 0, 0, NULL);
    st = maybe_open(c, t, device);
    if (st != HEARTH_OK) return st;
    st = offer_one(c, t, device, &rp->offers[rp->n_offers], &granted);
    if (st == HEARTH_OK && granted) rp->n_offers++;
    return st;
}

static hearth_status answer(hearth_coord *c, const hearth_http_request *rq,
                            const hearth_checkin_request *in,
                            hearth_checkin_reply *rp) {
    const char *device = rq->peer.device_id;
    rp->now_ms = (uint64_t)hearth_coord__now(c);
    rp->retry = c->cfg.retry;
    if (c->cfg.hook.cookie &&
        c->cfg.hook.cookie(c->cfg.hook.ud, device,
                           hearth_clock_wall(&c->cfg.clock),
                           rp->cookie) != HEARTH_OK)
        rp->cookie[0] = '\0';
    for (size_t i = 0; i < c->n_tasks; i++) {
        hearth_status st = fill_task(c, c->task[i], in, device, rp);
        if (st != HEARTH_OK) return st;
    }
    return HEARTH_OK;
}

static void checkin(hearth_coord *c, const hearth_http_request *rq,
                    hearth_checkin_request *in, hearth_checkin_reply *rp,
                    hearth_reply_fn reply, void *ud) {
    hearth_buf body = HEARTH_BUF_INIT(&c->alloc);
    hearth_error err;
    hearth_error_clear(&err);
    hearth_status st =
        hearth_decode_checkin_request(in, rq->body, rq->body_n, &err);
    if (st == HEARTH_OK)
        st = hearth_negotiate(in->versions, in->n_versions, &rp->version, &err);
    if (st != HEARTH_OK) {
        hearth_coord__reply_error(c, reply, ud, hearth_coord__reason(st), 0,
                                  err.text);
        return;
    }
    c->counters.checkins++;
    st = answer(c, rq, in, rp);
    if (st == HEARTH_OK) st = hearth_encode_checkin_reply(&body, rp);
    if (st == HEARTH_OK)
        hearth_coord__reply_body(c, reply, ud, st, &body);
    else
        hearth_coord__reply_error(c, reply, ud, hearth_coord__reason(st), 0,
                                  "the coordinator can not answer now; come "
                                  "back later");
    hearth_buf_free(&body);
}

bool hearth_coord__allowed(const hearth_coord *c, const hearth_peer *peer) {
    if (peer->kind == HEARTH_PEER_NONE || peer->device_id[0] == '\0')
        return false;
    return !c->cfg.hook.allowed ||
           c->cfg.hook.allowed(c->cfg.hook.ud, peer->device_id);
}

void hearth_coord__checkin(hearth_coord *c, const hearth_http_request *rq,
                           hearth_reply_fn reply, void *ud) {
    hearth_checkin_request *in = NULL;
    hearth_checkin_reply *rp = NULL;

    if (!hearth_coord__allowed(c, &rq->peer)) {
        hearth_coord__reply_error(c, reply, ud, HEARTH_REASON_CREDENTIAL, 0,
                                  "a check-in needs the device's certificate; "
                                  "enrol again");
        return;
    }
    in = hearth_mem_new(&c->alloc, sizeof(*in));
    rp = hearth_mem_new(&c->alloc, sizeof(*rp));
    if (in && rp)
        checkin(c, rq, in, rp, reply, ud);
    else
        hearth_coord__reply_error(c, reply, ud, HEARTH_REASON_INTERNAL, 0,
                                  "out of memory; come back later");
    if (rp) hearth_zeroize(rp, sizeof(*rp));
    hearth_mem_free(&c->alloc, rp);
    hearth_mem_free(&c->alloc, in);
}

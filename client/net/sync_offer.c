/* SPDX-License-Identifier: Apache-2.0 */
/* client/net/sync_offer.c - decide about an offer: does it fit what is on this
 * device, does the policy agree?  The coordinator's words are checked against
 * our own computation before the policy sees them. */
#include "client/net/sync_private.h"

#include <stdio.h>
#include <string.h>

#include "common/failpoint.h"
#include "common/mem.h"

/* Rank, targets, A, digests and payload, computed from our own model. */
static hearth_status fits(hearth_sync *s, const hearth_offer *o,
                          hearth_error *err) {
    hearth_adapter *a = NULL;
    hearth_status st =
        hearth_space_adapter(&a, &o->space, &s->local, &s->alloc, err);
    if (st == HEARTH_OK)
        st = hearth_space_check_payload(a, &o->space, &o->privacy, err);
    hearth_adapter_free(a);
    return st;
}

hearth_conditions hearth_sync__conditions(const hearth_sync *s) {
    hearth_conditions now;
    if (s->cfg.conditions.read(s->cfg.conditions.ud, &now, NULL) != HEARTH_OK)
        hearth_conditions_worst(&now);
    return now;
}

hearth_status hearth_sync__ask_policy(hearth_sync *s, const hearth_offer *o,
                                      bool *later, hearth_error *err) {
    hearth_ledger_sums sums;
    uint64_t n_train = 0, n_all = 0;
    hearth_forget_report gone;
    hearth_status st = hearth_record_store_expire(s->cfg.records, &gone, err);
    if (st == HEARTH_EBUSY) st = HEARTH_OK; /* another process reads */
    if (st == HEARTH_OK)
        st = hearth_ledger_store_sums(s->ledger, o->task, &sums, err);
    if (st == HEARTH_OK)
        st = hearth_record_store_count(s->cfg.records, HEARTH_SPLIT_TRAIN,
                                       o->purpose, &n_train, err);
    if (st == HEARTH_OK)
        st = hearth_record_store_count(s->cfg.records, HEARTH_SPLIT_ALL,
                                       o->purpose, &n_all, err);
    if (st != HEARTH_OK) return st;
    const hearth_conditions now = hearth_sync__conditions(s);
    hearth_policy_facts facts = {.sums = &sums,
                                 .conditions = &now,
                                 .has_consent = n_all > 0,
                                 .n_examples = n_train,
                                 .now_ms = hearth_sync__now(s)};
    hearth_refusals *r = hearth_mem_new(&s->alloc, sizeof(*r));
    if (!r) return HEARTH_ENOMEM;
    st = hearth_policy_check(s->cfg.policy, o, &facts, r);
    if (st == HEARTH_EREFUSED && r->n > 0) {
        char text[160];
        hearth_refusal_text(&r->item[0], text, sizeof(text));
        *later = hearth_refusals_pass(r);
        if (r->n > 1)
            (void)hearth_error_set(err, st, "%s (and %zu more of its limits)",
                                   text, (size_t)r->n - 1);
        else
            (void)hearth_error_set(err, st, "%s", text);
    }
    hearth_mem_free(&s->alloc, r);
    return st;
}

/* Remember a refusal for good and report it; or only for now. */
static hearth_status refuse(hearth_sync *s, const hearth_offer *o,
                            hearth_status why, bool later,
                            hearth_sync_event *ev, hearth_error *err) {
    hearth_status st = HEARTH_OK;
    ev->kind = HEARTH_SYNC_REFUSED;
    memcpy(ev->task, o->task, sizeof(ev->task));
    ev->round = o->round;
    ev->reason = *err;
    ev->reason.status = why;
    memcpy(s->session.note, err->text, sizeof(s->session.note));
    s->session.note_ms = hearth_sync__now(s);
    hearth_error_clear(err);
    s->next_offer++;
    if (later) return HEARTH_OK;
    *s->offer = *o;
    s->since_ms = hearth_sync__now(s);
    s->abort_reason =
        why == HEARTH_EREFUSED ? HEARTH_ABORT_POLICY : HEARTH_ABORT_ERROR;
    s->state = ST_ABORT;
    st = hearth_sync_round_put(s->cfg.db, o, HEARTH_SYNC_ROUND_REFUSED,
                               s->since_ms, ev->reason.text, &s->alloc, err);
    return st;
}

static hearth_status accept(hearth_sync *s, const hearth_offer *o,
                            hearth_sync_event *ev, hearth_error *err) {
    *s->offer = *o;
    s->since_ms = hearth_sync__now(s);
    hearth_status st =
        hearth_sync_round_put(s->cfg.db, o, HEARTH_SYNC_ROUND_ACCEPTED,
                              s->since_ms, NULL, &s->alloc, err);
    if (st != HEARTH_OK) return st;
    HEARTH_FAILPOINT("sync.after_accept");
    s->has_offer = true;
    s->asked = true;
    s->n_restart = s->n_stuck = 0;
    s->state = ST_START;
    ev->kind = HEARTH_SYNC_ACCEPTED;
    hearth_sync__label(s, ev);
    hearth_log_write(s->cfg.log, HEARTH_LOG_INFO, "sync",
                     "task=%s round=%llu state=accepted", o->task,
                     (unsigned long long)o->round);
    return HEARTH_OK;
}

/* One offer that was not seen before. */
static hearth_status consider(hearth_sync *s, const hearth_offer *o,
                              hearth_sync_event *ev, hearth_error *err) {
    hearth_personal_info info;
    bool later = false;
    hearth_status st = hearth_personal_info_get(&info, s->cfg.db, o->task, err);
    if (st != HEARTH_OK) return st;
    if (info.sequence < o->start_sequence) {
        if (s->want_sequence == o->start_sequence &&
            strcmp(s->want_task, o->task) == 0) {
            s->next_offer++; /* it was asked for and did not come */
            return HEARTH_OK;
        }
        memcpy(s->want_task, o->task, sizeof(s->want_task));
        s->want_sequence = o->start_sequence;
        s->want_has_digest = false;
        s->state = ST_MANIFEST;
        return hearth_sync__manifest(s, ev, err);
    }
    if (info.sequence > o->start_sequence)
        st = hearth_error_set(err, HEARTH_EREPLAY,
                              "round %llu of %s starts from release %llu, this "
                              "device has %llu already",
                              (unsigned long long)o->round, o->task,
                              (unsigned long long)o->start_sequence,
                              (unsigned long long)info.sequence);
    if (st == HEARTH_OK) st = fits(s, o, err);
    if (st == HEARTH_OK) st = hearth_sync__ask_policy(s, o, &later, err);
    if (hearth_sync__own_fault(st) || st == HEARTH_EBUSY) return st;
    if (st != HEARTH_OK) return refuse(s, o, st, later, ev, err);
    return accept(s, o, ev, err);
}

hearth_status hearth_sync__offers(hearth_sync *s, hearth_sync_event *ev,
                                  hearth_error *err) {
    ev->kind = HEARTH_SYNC_WAIT;
    s->state = ST_OFFERS;
    while (s->next_offer < s->reply->n_offers) {
        const hearth_offer *o = &s->reply->offers[s->next_offer];
        hearth_sync_round_phase phase;
        bool known = false;
        bool other = s->task && strcmp(s->task, o->task) != 0;
        if (!other && !hearth_sync__late(s, o)) {
            hearth_status st =
                hearth_sync_round_get(s->cfg.db, o, &known, &phase, err);
            if (st != HEARTH_OK) return st;
            if (!known) {
                st = consider(s, o, ev, err);
                if (st != HEARTH_OK || ev->kind != HEARTH_SYNC_WAIT) return st;
                continue;
            }
        }
        s->next_offer++;
    }
    hearth_status st = hearth_sync__rest(s, false, err);
    ev->wait_ms = hearth_sync_wait_ms(s);
    return st;
}

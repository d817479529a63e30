/* SPDX-License-Identifier: Apache-2.0 */
/* client/net/sync_private.h - inside the participant: its state and the parts
 * of its machine.  For client/net/sync*.c only.
 *
 *   sync.c          open, close, tick, waiting, check-in
 *   sync_release.c  RELEASES -> MANIFEST -> PIECE (install)
 *   sync_offer.c    OFFERS: fits, policy, accept
 *   sync_train.c    START -> TRAIN -> PREPARE
 *   sync_send.c     BEGIN -> APPEND -> COMMIT, or ABORT
 *
 * Each step does one bounded thing, fills the event and sets the next state.
 * It returns an error only for what this device itself cannot do.
 */
#ifndef HEARTH_CLIENT_NET_SYNC_PRIVATE_H
#define HEARTH_CLIENT_NET_SYNC_PRIVATE_H

#include "client/delta/prepare.h"
#include "client/net/download.h"
#include "client/net/reply.h"
#include "client/net/sync.h"
#include "client/net/sync_store.h"
#include "client/net/upload.h"
#include "client/personal/personal.h"
#include "client/personal/space.h"
#include "client/train/trainer.h"

typedef enum {
    ST_KEYSET, /* no keyset given: ask for it */
    ST_IDLE,   /* next: check in */
    ST_RELEASES,
    ST_MANIFEST,
    ST_PIECE,
    ST_OFFERS,
    ST_START,
    ST_TRAIN,
    ST_PREPARE,
    ST_BEGIN,
    ST_APPEND,
    ST_COMMIT,
    ST_ABORT
} hearth_sync_state;

struct hearth_sync {
    hearth_sync_config cfg; /* strings below are ours */
    hearth_alloc alloc;
    char *state_dir, *base_name, *server, *root_pin, *task;
    hearth_keyset *keyset; /* verified; n_pins 0 until it came */
    uint8_t template_digest[32];
    hearth_chat_template tmpl;
    hearth_ledger_store *ledger;
    hearth_personal personal;
    hearth_space_local local;
    hearth_sync_session session;
    hearth_sync_state state;
    uint32_t n_failures; /* requests in a row without a reply */

    hearth_checkin_reply *reply; /* of this cycle */
    uint32_t next_release, next_offer;

    char want_task[HEARTH_PROTO_TASK_CAP]; /* release under way */
    uint64_t want_sequence;
    bool want_has_digest;
    uint8_t want_digest[32];
    hearth_release *release;
    hearth_buf manifest;

    hearth_offer *offer; /* the round under way */
    bool has_offer;
    bool asked;       /* the policy of this process, about that offer */
    int64_t since_ms; /* when it was accepted */
    hearth_adapter *start, *adapter;
    hearth_dataset *dataset;
    hearth_trainer *trainer;
    hearth_governor governor; /* of the trainer */
    uint32_t ticks;           /* of training, to look around now and then */
    hearth_prepared *prepared;
    uint64_t offset;
    uint32_t n_stuck;   /* requests that moved nothing */
    uint32_t n_restart; /* uploads that began again */
    uint32_t n_auth;    /* cookies in a row that were not taken */
    hearth_abort_reason abort_reason;
};

int64_t hearth_sync__now(const hearth_sync *s); /* Unix ms, our clock */

/* Past the deadline of the round, by the coordinator's clock? */
bool hearth_sync__late(const hearth_sync *s, const hearth_offer *o);

/* Nothing is to be done for wait_ms; window: the coordinator asked for it. */
HEARTH_MUST_CHECK
hearth_status hearth_sync__sleep(hearth_sync *s, int64_t wait_ms, bool window,
                                 hearth_error *err);

/* The same, drawn from the last window. */
HEARTH_MUST_CHECK
hearth_status hearth_sync__draw(hearth_sync *s, bool accepted,
                                hearth_error *err);

/* Take note of a reply: its window becomes the last one. */
void hearth_sync__heard(hearth_sync *s, const hearth_reply_info *info);

/* A request failed with st; err holds the words.  Sets when to come back, makes
 * the event a RETRY, and returns HEARTH_OK, or st when it is this device's own
 * failure.  The state stays: the same step is done again. */
HEARTH_MUST_CHECK
hearth_status hearth_sync__failed(hearth_sync *s, hearth_status st,
                                  const hearth_reply_info *info,
                                  hearth_sync_event *ev, hearth_error *err);

/* This round is over for us without a contribution: erase what was prepared,
 * remember why, and report `reason` next unless `silent`. */
HEARTH_MUST_CHECK
hearth_status hearth_sync__give_up(hearth_sync *s, hearth_abort_reason reason,
                                   bool silent, const hearth_error *why,
                                   hearth_sync_event *ev, hearth_error *err);

/* The cycle is over: drop its reply, sleep, go to IDLE. */
HEARTH_MUST_CHECK
hearth_status hearth_sync__rest(hearth_sync *s, bool accepted,
                                hearth_error *err);

/* Ask the policy about an offer, which is not charged yet.  HEARTH_EREFUSED with
 * words; *later when the same offer may pass at another moment. */
HEARTH_MUST_CHECK
hearth_status hearth_sync__ask_policy(hearth_sync *s, const hearth_offer *o,
                                      bool *later, hearth_error *err);

/* What the device is doing now; the worst case when it cannot say. */
hearth_conditions hearth_sync__conditions(const hearth_sync *s);

/* Free what training holds. */
HEARTH_MUST_CHECK
hearth_status hearth_sync__drop_training(hearth_sync *s, hearth_error *err);

void hearth_sync__label(const hearth_sync *s, hearth_sync_event *ev);

/* Is st the device's own failure, so that tick must return it? */
bool hearth_sync__own_fault(hearth_status st);

/* The steps. */
typedef hearth_status (*hearth_sync_step)(hearth_sync *s, hearth_sync_event *ev,
                                          hearth_error *err);
hearth_status hearth_sync__releases(hearth_sync *s, hearth_sync_event *ev,
                                    hearth_error *err);
hearth_status hearth_sync__manifest(hearth_sync *s, hearth_sync_event *ev,
                                    hearth_error *err);
hearth_status hearth_sync__piece(hearth_sync *s, hearth_sync_event *ev,
                                 hearth_error *err);
hearth_status hearth_sync__offers(hearth_sync *s, hearth_sync_event *ev,
                                  hearth_error *err);
hearth_status hearth_sync__start(hearth_sync *s, hearth_sync_event *ev,
                                 hearth_error *err);
hearth_status hearth_sync__train(hearth_sync *s, hearth_sync_event *ev,
                                 hearth_error *err);
hearth_status hearth_sync__prepare(hearth_sync *s, hearth_sync_event *ev,
                                   hearth_error *err);
hearth_status hearth_sync__begin(hearth_sync *s, hearth_sync_event *ev,
                                 hearth_error *err);
hearth_status hearth_sync__append(hearth_sync *s, hearth_sync_event *ev,
                                  hearth_error *err);
hearth_status hearth_sync__commit(hearth_sync *s, hearth_sync_event *ev,
                                  hearth_error *err);
hearth_status hearth_sync__abort(hearth_sync *s, hearth_sync_event *ev,
                                 hearth_error *err);

#endif /* HEARTH_CLIENT_NET_SYNC_PRIVATE_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* client/net/sync.h - the participant: one device taking part in rounds.
 *
 *   IDLE -> CHECKIN -> (per offer) BASE -> TRAIN -> PREPARE
 *        -> BEGIN -> APPEND -> COMMIT -> IDLE ... INSTALL of a new release
 *
 * Tick style: the app owns the thread and calls hearth_sync_tick; each call
 * does one bounded thing, at most one HTTP request or one micro-batch, and says
 * how long nothing needs to be done.  Stopping is not calling it any more.
 *
 * Everything that must survive a killed process is in client.db before it is
 * acted upon: the accepted offer, the prepared bytes together with their
 * charge, the retry window, the pieces of a download, the installed release.
 * Training is not: it starts over, from the same offer.  A device that dies
 * after the charge sends the very bytes that were charged, never new ones.
 *
 *     while (hearth_sync_tick(s, &ev, &err) == HEARTH_OK) {
 *         if (ev.kind == HEARTH_SYNC_WAIT) sleep_ms(ev.wait_ms);
 *     }
 *
 * Training stops within a layer: when the device's conditions want a pause, or
 * when energy.stop says so.  The step in progress is dropped and begins again at
 * a later tick, with the same numbers as if nothing had happened.
 *
 * Threads: one thread at a time; hearth_transport_cancel may come from another.
 * Memory:  between rounds a few KiB; during one the trainer's arena, freed
 *          before the upload starts.
 */
#ifndef HEARTH_CLIENT_NET_SYNC_H
#define HEARTH_CLIENT_NET_SYNC_H

#include "client/delta/ledger_store.h"
#include "client/device/conditions.h"
#include "client/device/energy.h"
#include "client/device/policy.h"
#include "client/model/base_model.h"
#include "client/net/transport.h"
#include "client/records/record_store.h"
#include "client/tokenizer/chat_template.h"
#include "client/tokenizer/tokenizer.h"
#include "client/train/trainer.h"
#include "common/clock.h"
#include "common/db.h"
#include "common/log.h"
#include "common/pool.h"
#include "common/rng.h"

typedef struct hearth_sync hearth_sync;

/* Degrees: slow down from so far below the policy's temperature_max, and so far
 * below a threshold until it is left.  A phone's battery warms by a few. */
#define HEARTH_SYNC_SLOW_BEFORE 5.0
#define HEARTH_SYNC_MARGIN      2.0

/* How a round's training treats the device.  In any case it pauses as the
 * policy's conditions say (need_charging, battery_min, temperature_max), while a
 * person uses the device and while it saves power: within one layer, the step in
 * progress being dropped.  Zero: that, and full speed otherwise. */
typedef struct {
    bool slow_down;   /* when warm or on battery: duty and threads below */
    double duty;      /* share of the time, in (0, 1]; 0 = 0.5 */
    uint32_t threads; /* at most; 0 = half of the pool's */
    /* Callbacks, on the thread of tick; each may be NULL. */
    bool (*stop)(void *ud); /* asked at every layer: true ends the tick */
    void (*changed)(void *ud, const hearth_energy_state *now);
    void (*sleep)(void *ud, int64_t ms); /* NULL: the system's */
    void *ud;
} hearth_sync_energy;

/* All pointers are borrowed until close, but for strings and bytes: copied. */
typedef struct {
    hearth_db *db;                /* client.db, open */
    hearth_record_store *records; /* in the same database */
    const hearth_model *model;    /* base */
    const hearth_tokenizer *tokenizer;
    hearth_chat_template chat_template; /* AUTO = the model's own */
    const hearth_policy *policy;
    hearth_conditions_source conditions;
    const hearth_transport *transport; /* pinned; its cancel is honoured */
    hearth_clock clock;
    hearth_rng *rng;
    hearth_pool *pool; /* NULL = this thread only */
    const hearth_alloc *al;
    const char *state_dir; /* NULL: no PEFT folder of installed releases */
    const char *base_name; /* the base as the user named it, for messages */
    const char *server;    /* the coordinator, for the ledger and messages */
    const char *root_pin;  /* "sha256//.." of the root key */
    const uint8_t *keyset; /* [n_keyset] signed keyset; NULL = asked for over
                              the transport at the first tick */
    size_t n_keyset;
    size_t memory_budget;          /* bytes for training, the base's weights
                                      included; 0 = 512 MiB.  A base that does
                                      not fit is streamed */
    hearth_sync_energy energy;     /* pauses and slowing down */
    bool bf16;                     /* products of weights in bfloat16 */
    hearth_base_type base;         /* hold a narrower copy of the base */
    const char *task;              /* take part in this task only; NULL = any */
    const hearth_log *log;         /* may be NULL */
    bool reference_kernels;        /* the same bytes on every IEEE machine */
    hearth_ledger_counter counter; /* of the app; raise NULL = none */
} hearth_sync_config;

/* What one tick did. */
typedef enum {
    HEARTH_SYNC_WAIT,      /* nothing to do for wait_ms; n_steps > 0: training
                              is paused, reason says why */
    HEARTH_SYNC_CHECKIN,   /* checked in; n_offers */
    HEARTH_SYNC_REFUSED,   /* an offer was refused; reason says why */
    HEARTH_SYNC_ACCEPTED,  /* an offer was taken and stored */
    HEARTH_SYNC_DOWNLOAD,  /* a manifest or a piece of a release came */
    HEARTH_SYNC_INSTALLED, /* a release is in use now; sequence */
    HEARTH_SYNC_TRAIN,     /* a micro-batch; step, n_steps, loss */
    HEARTH_SYNC_PREPARED,  /* bytes and charge are stored */
    HEARTH_SYNC_UPLOAD,    /* began or appended; sent, total */
    HEARTH_SYNC_COMMITTED, /* the coordinator has it, durably */
    HEARTH_SYNC_GAVE_UP,   /* this round is over for us; reason */
    HEARTH_SYNC_RETRY /* a request failed; tried again in wait_ms; reason */
} hearth_sync_kind;

/* Stays on the device: loss is a number about the user's data. */
typedef struct {
    hearth_sync_kind kind;
    int64_t wait_ms;   /* until the next tick has something to do; 0 = now */
    char task[64];     /* "" when the event is about none */
    uint64_t round;    /* 0 when about none */
    uint64_t sequence; /* of a release */
    uint32_t n_offers;
    uint32_t step, n_steps;
    double loss;          /* mean nats a supervised token of the micro-batch */
    uint64_t sent, total; /* bytes */
    hearth_error reason;  /* of REFUSED, GAVE_UP, RETRY, a pause */
} hearth_sync_event;

/* Open a participant over a state; picks up whatever was under way.
 * Returns HEARTH_EINVAL, HEARTH_ESIGNATURE (keyset), HEARTH_EUNSUPPORTED (bf16
 * with the reference kernels, or without kernels for it; a base type that the
 * model's file cannot be held in), HEARTH_EIO,
 * HEARTH_ENOMEM */
HEARTH_MUST_CHECK
hearth_status hearth_sync_open(hearth_sync **out, const hearth_sync_config *cfg,
                               hearth_error *err);

/* One bounded step.  What the network or a peer does wrong becomes an event
 * (RETRY, GAVE_UP, REFUSED) with a time to come back; an error is returned only
 * when this device cannot go on: HEARTH_EIO or HEARTH_ENOSPACE on the database,
 * HEARTH_ENOMEM, HEARTH_ERNG.  After an error the state on disk is sound and
 * tick may be called again. */
HEARTH_MUST_CHECK
hearth_status hearth_sync_tick(hearth_sync *s, hearth_sync_event *ev,
                               hearth_error *err);

/* ms until tick has something to do; 0 = now. */
int64_t hearth_sync_wait_ms(const hearth_sync *s);

/* Come back now rather than at the end of the retry window (`sync --once` of a
 * user who asks).  Does not cut a window that the coordinator gave. */
void hearth_sync_hint_now(hearth_sync *s);

/* What trains for the round under way, to read its plan and numbers; NULL when
 * nothing does.  Borrowed until the next tick. */
const hearth_trainer *hearth_sync_trainer(const hearth_sync *s);

/* Who decides when it runs.  Borrowed; meaningful while there is a trainer. */
const hearth_governor *hearth_sync_governor(const hearth_sync *s);

/* Short word for an event kind, e.g. "train".  Static. */
const char *hearth_sync_kind_name(hearth_sync_kind k);

/* Close; NULL is a no-op.  What was under way stays in the database. */
void hearth_sync_close(hearth_sync *s);

#endif /* HEARTH_CLIENT_NET_SYNC_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* hearth/model.h - take part in rounds, in ticks, and see what is in use.
 *
 *     hearth_client_tick ev = HEARTH_CLIENT_TICK_INIT;
 *     while (app_may_run() && hearth_client_sync(c, &ev, &err) == HEARTH_OK)
 *         if (ev.wait_ms > 0) come_back_in(ev.wait_ms);
 *
 * One tick is one HTTP request or one micro-batch of training.  To stop, do not
 * call again; to stop at once, hearth_client_stop.  Training looks at the
 * conditions every second, between two layers of the model: it pauses and slows
 * down by itself (hearth_client_config, energy).  After the process
 * died, open and tick again: the same prepared bytes are sent, never others.
 *
 * Threads: as hearth/client.h.
 */
#ifndef HEARTH_MODEL_H
#define HEARTH_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include "hearth/client.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a tick did.  New values may be added. */
typedef enum {
    HEARTH_TICK_WAIT,      /* nothing to do for wait_ms; with n_steps above 0
                              training is paused, and reason says why */
    HEARTH_TICK_CHECKIN,   /* asked the coordinator for offers */
    HEARTH_TICK_REFUSED,   /* an offer was refused; reason says why */
    HEARTH_TICK_ACCEPTED,  /* an offer was taken */
    HEARTH_TICK_DOWNLOAD,  /* part of a release came */
    HEARTH_TICK_INSTALLED, /* a better adapter is in use now */
    HEARTH_TICK_TRAIN,     /* one micro-batch; step of n_steps, loss */
    HEARTH_TICK_PREPARED,  /* clipped, noised, charged to the ledger */
    HEARTH_TICK_UPLOAD,    /* part of it was sent */
    HEARTH_TICK_COMMITTED, /* the coordinator has it */
    HEARTH_TICK_GAVE_UP,   /* this round is over for this device; reason */
    HEARTH_TICK_RETRY      /* a request failed, or hearth_client_stop ended the
                              tick; again in wait_ms; reason */
} hearth_tick_kind;

/* Filled by hearth_client_sync; set struct_size first (the INIT does). */
typedef struct {
    size_t struct_size;
    int64_t wait_ms;   /* until the next tick has something to do; 0 = now */
    uint64_t round;    /* 0 when about none */
    uint64_t sequence; /* of a release; 0 when about none */
    uint64_t sent;     /* bytes */
    uint64_t total;    /* bytes */
    double loss;       /* about this device's records: keep it here */
    int32_t kind;      /* hearth_tick_kind */
    uint32_t step;
    uint32_t n_steps;
    uint32_t n_offers;
    char task[64];
    char reason[256]; /* words for a person, or "" */
} hearth_client_tick;

#define HEARTH_CLIENT_TICK_INIT                                                \
    {                                                                          \
        sizeof(hearth_client_tick), 0, 0, 0, 0, 0, 0.0, 0, 0, 0, 0, {0}, {     \
            0                                                                  \
        }                                                                      \
    }

/* One bounded step of taking part.
 *
 * Returns HEARTH_OK         whatever the network or the coordinator did: kind
 *         HEARTH_EINVAL     a NULL, or a bad struct_size
 *         HEARTH_ESTATE     not joined; or the ledger had a counter, and the
 *                           config has none
 *         HEARTH_EBUSY      another process takes part with this state
 *         HEARTH_ENOTFOUND, HEARTH_EFORMAT  the base model is gone or changed
 *         HEARTH_EDIGEST    the ledger was changed, or (counter in the config)
 *                           an older copy of it was restored
 *         HEARTH_EIO, HEARTH_ENOSPACE, HEARTH_ENOMEM, HEARTH_ERNG
 * After an error the state on disk is sound; call again later. */
HEARTH_API HEARTH_MUST_CHECK hearth_status hearth_client_sync(
    hearth_client *c, hearth_client_tick *tick, hearth_error *err);

/* What the phone can say about itself; the device's policy asks for it.
 * Fields that are not known are negative. */
typedef struct {
    size_t struct_size;
    int32_t charging;        /* 1, 0 */
    int32_t unmetered;       /* 1, 0 */
    int32_t battery_percent; /* 0..100 */
    int32_t temperature_c;   /* of the battery, degrees Celsius */
    /* 1, 0; not known counts as 0.  Training waits while one is 1. */
    int32_t foreground;   /* a person uses the phone now */
    int32_t power_saving; /* its battery saver is on */
} hearth_client_conditions;

#define HEARTH_CLIENT_CONDITIONS_INIT                                          \
    { sizeof(hearth_client_conditions), -1, -1, -1, -1, -1, -1 }

/* Say how the phone is; holds until said again.  Checked before an offer is
 * accepted, while training and, for the network, before bytes are sent.  Any
 * thread may call it, at any time: a tick that trains heeds it within a second
 * and one layer of the model. */
HEARTH_API HEARTH_MUST_CHECK hearth_status hearth_client_set_conditions(
    hearth_client *c, const hearth_client_conditions *now, hearth_error *err);

/* What this device agrees to.  Start from the INIT, which asks the library for
 * its default everywhere.  Anything may be tightened; a smaller cohort, spacing,
 * a delta up to 1e-5 and the conditions may be loosened (for tests, and for
 * studies whose people agreed); the caps of epsilon and the least noise may not,
 * and nothing sends a delta without clipping and noise. */
typedef struct {
    size_t struct_size;
    uint64_t dimension_max;     /* numbers of one upload; 0 = default */
    int64_t spacing_ms;         /* between two rounds of a task; -1 = default */
    double noise_min;           /* sigma over sensitivity; 0 = default 1.2 */
    double noise_to_signal_max; /* 0 = default 32 */
    double delta;               /* of the epsilons; 0 = default 1e-6 */
    double epsilon_task;        /* at most; 0 = default 10 */
    double epsilon_30_days;     /* at most; 0 = default 10 */
    double epsilon_lifetime;    /* at most; 0 = default 30 */
    uint32_t cohort_min;        /* devices of a round; 0 = default 32 */
    uint32_t participations;    /* rounds of one task; 0 = default 8 */
    int32_t need_unmetered;     /* 1, 0; -1 = default 1 */
    int32_t need_charging;      /* 1, 0; -1 = default 1 */
    int32_t battery_min;        /* percent; -1 = default 50 */
    int32_t temperature_max;    /* degrees Celsius; -1 = default 40 */
} hearth_client_policy;

#define HEARTH_CLIENT_POLICY_INIT                                              \
    {                                                                          \
        sizeof(hearth_client_policy), 0, -1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0,  \
            0, -1, -1, -1, -1                                                  \
    }

/* Set the policy of this handle (it is not stored).  Before the first sync.
 * Returns HEARTH_OK
 *         HEARTH_EINVAL    a value out of range
 *         HEARTH_EREFUSED  loosens what may only be tightened; nothing changed
 *         HEARTH_ESTATE    a sync has begun */
HEARTH_API HEARTH_MUST_CHECK hearth_status hearth_client_set_policy(
    hearth_client *c, const hearth_client_policy *policy, hearth_error *err);

/* Where this device stands. */
typedef struct {
    size_t struct_size;
    uint64_t records;        /* kept */
    uint64_t participations; /* charged so far */
    uint64_t sequence;       /* release in use; 0 = the base alone */
    double epsilon_30_days;  /* epsilon_coordinator, at delta below */
    double epsilon_lifetime;
    double delta;
    int32_t joined; /* 1, 0 */
    int32_t phase;  /* 0 idle, 1 in a round, 2 delta waits to be sent */
    char task[64];  /* of the release in use */
    char server[256];
    char device_id[64];
} hearth_client_info;

#define HEARTH_CLIENT_INFO_INIT                                                \
    {                                                                          \
        sizeof(hearth_client_info), 0, 0, 0, 0.0, 0.0, 0.0, 0, 0, {0}, {0}, {  \
            0                                                                  \
        }                                                                      \
    }

HEARTH_API HEARTH_MUST_CHECK hearth_status hearth_client_status(
    hearth_client *c, hearth_client_info *out, hearth_error *err);

#ifdef __cplusplus
}
#endif

#endif /* HEARTH_MODEL_H */

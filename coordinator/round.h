/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/round.h - a round as a pure function (state, event) -> (state,
 * actions).
 *
 * A round has cohorts and a list of stages; synchronous `local` is one cohort
 * with one stage, and secure aggregation will be more stages of the same
 * machine.  Sockets, clocks and disks are outside: events say what happened
 * and when, actions say what must be done, and nothing else is kept.
 *
 *     hearth_round_actions act;
 *     round = hearth_round_step(&spec, round, &event, &act);
 *     if (act.refuse) ... else if (act.fix) ...
 *
 * Rules that hold in every state (tests/fuzz/fuzz_round.c checks them):
 * no commit is accepted after a cohort's list is fixed; a cohort never counts
 * more than count.max; a round is released only if every cohort was fixed with
 * at least count.min; RELEASED and FAILED are final.
 *
 * Threads: pure functions.
 */
#ifndef HEARTH_COORDINATOR_ROUND_H
#define HEARTH_COORDINATOR_ROUND_H

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/cohort.h"
#include "proto/limits.h"
#include "proto/messages.h"

#define HEARTH_ROUND_MAX_COHORTS 8u

/* What does not change while a round lasts. */
typedef struct {
    uint32_t n_cohorts; /* 1 .. HEARTH_ROUND_MAX_COHORTS */
    uint32_t n_stages;  /* 1 .. HEARTH_PROTO_MAX_STAGES */
    hearth_stage_window stage[HEARTH_PROTO_MAX_STAGES];
    uint32_t max_invited; /* offers a cohort: count.max times over_select */
} hearth_round_spec;

typedef enum {
    HEARTH_ROUND_IDLE = 0,     /* not opened */
    HEARTH_ROUND_OPEN = 1,     /* a stage takes contributions */
    HEARTH_ROUND_FIXING = 2,   /* lists are final; being recorded, folded */
    HEARTH_ROUND_RELEASED = 3, /* its sum is in a release */
    HEARTH_ROUND_FAILED = 4    /* nothing of it is counted */
} hearth_round_phase;

typedef struct {
    uint32_t phase;                      /* hearth_round_phase */
    uint32_t stage;                      /* from 0 */
    uint64_t opened_ms, stage_opened_ms; /* absolute, of the events */
    uint64_t now_ms;                     /* of the last event; never falls */
    hearth_cohort cohort[HEARTH_ROUND_MAX_COHORTS];
} hearth_round;

typedef enum {
    HEARTH_ROUND_EV_OPEN = 1,  /* IDLE -> OPEN */
    HEARTH_ROUND_EV_INVITE,    /* a device that fits checked in */
    HEARTH_ROUND_EV_BEGIN,     /* an upload wants to begin */
    HEARTH_ROUND_EV_COMMIT,    /* a whole upload wants to be counted */
    HEARTH_ROUND_EV_COMMITTED, /* ... it is durable now */
    HEARTH_ROUND_EV_UNCOMMIT,  /* ... it was refused, or could not be stored */
    HEARTH_ROUND_EV_ABORT,     /* a device gave up before its commit */
    HEARTH_ROUND_EV_TICK,      /* time passed */
    HEARTH_ROUND_EV_STOP,      /* the task was paused */
    HEARTH_ROUND_EV_RELEASE,   /* the release is published */
    HEARTH_ROUND_EV_FAIL       /* it cannot be published */
} hearth_round_event_kind;

typedef struct {
    uint32_t kind;   /* hearth_round_event_kind */
    uint64_t now_ms; /* absolute; a clock that went back counts as standing */
    uint32_t cohort; /* BEGIN COMMIT COMMITTED UNCOMMIT ABORT */
    uint32_t stage;
} hearth_round_event;

/* What to do after a step. */
typedef struct {
    uint32_t refuse;  /* hearth_reason; NONE: the event was granted */
    uint32_t cohort;  /* INVITE granted: the cohort to invite to */
    bool next_stage;  /* a further stage opened: invite its cohorts again */
    bool fix;         /* record the survivors, fold, publish, then RELEASE */
    bool fail;        /* record the failure, drop everything */
    uint64_t wake_ms; /* absolute: send TICK then; UINT64_MAX: no need */
} hearth_round_actions;

/* HEARTH_OK, or HEARTH_EINVAL for a spec that breaks the ranges above. */
HEARTH_MUST_CHECK
hearth_status hearth_round_spec_check(const hearth_round_spec *spec);

/* The next state.  An event that does not fit the state is refused and changes
 * nothing but now_ms.  act may be NULL. */
hearth_round hearth_round_step(const hearth_round_spec *spec, hearth_round r,
                               const hearth_round_event *ev,
                               hearth_round_actions *act);

/* Absolute time after which no commit of the present stage is accepted. */
uint64_t hearth_round_deadline(const hearth_round_spec *spec,
                               const hearth_round *r);

const char *hearth_round_phase_name(uint32_t phase);

#endif /* HEARTH_COORDINATOR_ROUND_H */

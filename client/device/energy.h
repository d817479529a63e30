/* SPDX-License-Identifier: Apache-2.0 */
/* client/device/energy.h - when training may run, and how hard.
 *
 * Data flow:  conditions -> [energy] -> pause, threads and duty of a run
 *
 * hearth_energy_next is a pure function, a step of a small state machine.  A
 * governor asks it now and then and carries it out between the layers of a run:
 *
 *     hearth_governor g;
 *     hearth_governor_init(&g, &cfg);           // source, policy, callbacks
 *     hearth_trainer_set_gate(t, hearth_governor_gate, &g);
 *
 * Less work is taken up at once; more work only after the conditions left
 * their threshold by a margin and hold_ms passed, so that a device near a
 * threshold does not flap.
 *
 * Threads: hearth_energy_next has no state of its own; a governor belongs to
 *          the thread of its run, which is that of its pool.
 * Memory:  allocates nothing.
 */
#ifndef HEARTH_CLIENT_DEVICE_ENERGY_H
#define HEARTH_CLIENT_DEVICE_ENERGY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/device/conditions.h"
#include "common/clock.h"
#include "common/pool.h"

typedef enum {
    HEARTH_ENERGY_RUN,
    HEARTH_ENERGY_THROTTLE, /* at most `threads`, `duty` of the time */
    HEARTH_ENERGY_PAUSE
} hearth_energy_action;

/* Why not RUN; where several apply, the first. */
typedef enum {
    HEARTH_ENERGY_FINE,
    HEARTH_ENERGY_UNKNOWN,    /* the conditions cannot be read: pause */
    HEARTH_ENERGY_HOT,        /* pause */
    HEARTH_ENERGY_BATTERY,    /* on battery and below its floor: pause */
    HEARTH_ENERGY_UNPLUGGED,  /* need_charging: pause */
    HEARTH_ENERGY_SAVING,     /* the system saves power: pause */
    HEARTH_ENERGY_FOREGROUND, /* a person uses the device: as the policy says */
    HEARTH_ENERGY_WARM,       /* throttle */
    HEARTH_ENERGY_ON_BATTERY  /* throttle_on_battery: throttle */
} hearth_energy_reason;

/* Start from HEARTH_ENERGY_POLICY_INIT. */
typedef struct {
    bool need_charging;
    bool battery_on_charger;  /* the battery's floor holds on the charger too */
    bool pause_in_foreground; /* false: throttle */
    bool throttle_on_battery;
    double battery_pause;  /* percent: pause below; 0: never */
    double battery_resume; /* percent: go on from here; >= battery_pause */
    double warm, hot;      /* Celsius: throttle, pause from here */
    double margin;         /* degrees below a threshold until it is left */
    double duty;           /* share of the time, in (0, 1] */
    uint32_t threads;      /* at most while throttled; 0: all */
    int64_t hold_ms;       /* between a change and one to more work */
} hearth_energy_policy;

#define HEARTH_ENERGY_POLICY_INIT                                              \
    {                                                                          \
        .pause_in_foreground = false, .throttle_on_battery = true,             \
        .battery_pause = 30, .battery_resume = 35, .warm = 75, .hot = 85,      \
        .margin = 5, .duty = 0.5, .threads = 0, .hold_ms = 5000,               \
    }

/* What a person says about it. */
typedef struct {
    bool need_charging;
    double battery_min;     /* percent, 0..100: pause below */
    double temperature_max; /* Celsius: pause from here */
    double slow_before;     /* degrees below that from which it slows down */
    double duty;            /* share of the time while slowed down, (0, 1] */
    uint32_t threads;       /* at most while slowed down */
} hearth_energy_limits;

/* The policy of such limits: it goes on 5 percent above battery_min. */
hearth_energy_policy
hearth_energy_policy_of(const hearth_energy_limits *limits);

/* Where a run stands; zero before the first call. */
typedef struct {
    hearth_energy_action action;
    hearth_energy_reason reason;
    int64_t since_ms; /* of the last change of action */
    bool begun;
    bool is_hot, is_warm, is_low; /* thresholds that were not left yet */
} hearth_energy_state;

/* Is every number of a policy in its range? */
bool hearth_energy_policy_is_valid(const hearth_energy_policy *p);

/* The state after looking at the conditions at now_ms (monotonic); now NULL:
 * they are not known.  Pure. */
hearth_energy_state hearth_energy_next(hearth_energy_state s,
                                       const hearth_conditions *now,
                                       const hearth_energy_policy *p,
                                       int64_t now_ms);

/* How long to rest after worked_ms, so that `duty` of the time is work. */
double hearth_energy_rest_ms(double duty, double worked_ms);

/* "hot", "unplugged", ..; static. */
const char *hearth_energy_reason_word(hearth_energy_reason r);

/* What a governor needs; everything is borrowed and copied at init. */
typedef struct {
    hearth_conditions_source conditions; /* read NULL: only stop is asked */
    hearth_energy_policy policy;
    hearth_clock clock;
    hearth_pool *pool; /* slowed down, policy.threads of it work; NULL: none */
    int64_t look_ms;   /* between two looks at the conditions; 0: 1000 */
    /* A pause ends the gate, as a stop does, and is not slept through: for runs
     * that are asked again later. */
    bool leave_on_pause;
    void (*sleep)(void *ud, int64_t ms); /* NULL: the system's */
    bool (*stop)(void *ud);              /* at every layer; NULL: never */
    /* The action or its reason changed. */
    void (*changed)(void *ud, const hearth_energy_state *now);
    void *ud;
} hearth_governor_config;

typedef struct {
    hearth_governor_config cfg;
    hearth_energy_state state;
    int64_t looked_ms, woke_ms; /* last look; end of the last rest */
    double owed_ms;             /* rest that is due */
    bool begun, has_worked;
    bool is_left; /* no gate since hearth_governor_leave */
    bool stopped; /* the last gate ended because stop said so */
} hearth_governor;

void hearth_governor_init(hearth_governor *g,
                          const hearth_governor_config *cfg);

/* A hearth_gate_fn over a hearth_governor: returns when work may go on, false
 * when stop said so, or at a pause with leave_on_pause.  Pauses and rests happen
 * in here, in slices of at most look_ms, and hold no lock and no core. */
bool hearth_governor_gate(void *governor);

/* The run is left for a while: rest is owed for the work until now and not for
 * the time until the next gate. */
void hearth_governor_leave(hearth_governor *g);

/* Threads that may work now; 1 without a pool. */
size_t hearth_governor_threads(const hearth_governor *g);

#endif /* HEARTH_CLIENT_DEVICE_ENERGY_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* client/device/energy.c - the contract is in energy.h.
 *
 * Each threshold is a latch of its own: it closes at its value and opens only a
 * margin away, so the answer to "may I run" depends on the past through three
 * bits and a time, and a table can test all of it.
 */
#include "client/device/energy.h"

#include <time.h>

#define LEAST_MS 5              /* a shorter rest is saved up */
#define SLICE_MS ((int64_t)200) /* of a rest, between two questions to stop */

bool hearth_energy_policy_is_valid(const hearth_energy_policy *p) {
    return p->battery_pause >= 0 && p->battery_resume >= p->battery_pause &&
           p->battery_resume <= 100 && p->hot >= p->warm && p->margin >= 0 &&
           p->duty > 0 && p->duty <= 1 && p->hold_ms >= 0;
}

hearth_energy_policy
hearth_energy_policy_of(const hearth_energy_limits *limits) {
    hearth_energy_policy p = HEARTH_ENERGY_POLICY_INIT;
    p.need_charging = limits->need_charging;
    p.battery_pause = limits->battery_min;
    p.battery_resume = limits->battery_min < 95 ? limits->battery_min + 5 : 100;
    p.hot = limits->temperature_max;
    p.warm = limits->temperature_max - limits->slow_before;
    p.duty = limits->duty;
    p.threads = limits->threads;
    return p;
}

static bool latch(bool was, double value, double close, double open) {
    return was ? value > open : value >= close;
}

/* What the conditions ask for, whatever was before but for the latches. */
static hearth_energy_reason assess(hearth_energy_state *s,
                                   const hearth_conditions *c,
                                   const hearth_energy_policy *p) {
    if (!c) return HEARTH_ENERGY_UNKNOWN;
    bool has = c->has_temperature;
    double t = c->temperature_c, empty = 100 - c->battery_percent;
    s->is_hot = has && latch(s->is_hot, t, p->hot, p->hot - p->margin);
    s->is_warm = has && latch(s->is_warm, t, p->warm, p->warm - p->margin);
    bool on_battery = c->has_battery && !c->charging;
    bool floored = on_battery || (c->has_battery && p->battery_on_charger);
    /* strictly below the floor closes, at the upper mark opens */
    s->is_low = floored && (s->is_low ? empty > 100 - p->battery_resume
                                      : empty > 100 - p->battery_pause);
    if (s->is_hot) return HEARTH_ENERGY_HOT;
    if (s->is_low) return HEARTH_ENERGY_BATTERY;
    if (p->need_charging && !c->charging) return HEARTH_ENERGY_UNPLUGGED;
    if (c->power_saving) return HEARTH_ENERGY_SAVING;
    if (c->foreground) return HEARTH_ENERGY_FOREGROUND;
    if (s->is_warm) return HEARTH_ENERGY_WARM;
    if (p->throttle_on_battery && on_battery) return HEARTH_ENERGY_ON_BATTERY;
    return HEARTH_ENERGY_FINE;
}

static hearth_energy_action action_of(hearth_energy_reason r,
                                      const hearth_energy_policy *p) {
    switch (r) {
    case HEARTH_ENERGY_FINE: return HEARTH_ENERGY_RUN;
    case HEARTH_ENERGY_FOREGROUND:
        return p->pause_in_foreground ? HEARTH_ENERGY_PAUSE
                                      : HEARTH_ENERGY_THROTTLE;
    case HEARTH_ENERGY_WARM:
    case HEARTH_ENERGY_ON_BATTERY: return HEARTH_ENERGY_THROTTLE;
    case HEARTH_ENERGY_UNKNOWN:
    case HEARTH_ENERGY_HOT:
    case HEARTH_ENERGY_BATTERY:
    case HEARTH_ENERGY_UNPLUGGED:
    case HEARTH_ENERGY_SAVING: break;
    }
    return HEARTH_ENERGY_PAUSE;
}

hearth_energy_state hearth_energy_next(hearth_energy_state s,
                                       const hearth_conditions *now,
                                       const hearth_energy_policy *p,
                                       int64_t now_ms) {
    hearth_energy_reason reason = assess(&s, now, p);
    hearth_energy_action action = action_of(reason, p);
    if (s.begun && action < s.action && now_ms - s.since_ms < p->hold_ms)
        return s; /* more work: not yet */
    if (!s.begun || action != s.action) s.since_ms = now_ms;
    s.begun = true;
    s.action = action;
    s.reason = reason;
    return s;
}

double hearth_energy_rest_ms(double duty, double worked_ms) {
    return worked_ms > 0 && duty < 1 ? worked_ms * (1 - duty) / duty : 0;
}

const char *hearth_energy_reason_word(hearth_energy_reason r) {
    switch (r) {
    case HEARTH_ENERGY_FINE: return "fine";
    case HEARTH_ENERGY_UNKNOWN: return "conditions unknown";
    case HEARTH_ENERGY_HOT: return "hot";
    case HEARTH_ENERGY_BATTERY: return "battery low";
    case HEARTH_ENERGY_UNPLUGGED: return "unplugged";
    case HEARTH_ENERGY_SAVING: return "power saving is on";
    case HEARTH_ENERGY_FOREGROUND: return "in use";
    case HEARTH_ENERGY_WARM: return "warm";
    case HEARTH_ENERGY_ON_BATTERY: return "on battery";
    }
    return "unknown";
}

static void sleep_system(void *ud, int64_t ms) {
    struct timespec t = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000L};
    (void)ud;
    (void)nanosleep(&t, NULL); /* a signal ends it early: stop is asked then */
}

void hearth_governor_init(hearth_governor *g,
                          const hearth_governor_config *cfg) {
    *g = (hearth_governor){.cfg = *cfg};
    if (g->cfg.look_ms <= 0) g->cfg.look_ms = 1000;
    if (!g->cfg.sleep) g->cfg.sleep = sleep_system;
}

static bool stopped(hearth_governor *g) {
    g->stopped = g->cfg.stop && g->cfg.stop(g->cfg.ud);
    return g->stopped;
}

size_t hearth_governor_threads(const hearth_governor *g) {
    size_t all = hearth_pool_size(g->cfg.pool), most = g->cfg.policy.threads;
    bool slow = g->state.action == HEARTH_ENERGY_THROTTLE;
    return slow && most && most < all ? most : all;
}

/* Look at the conditions, unless that was done just now. */
static void look(hearth_governor *g) {
    hearth_conditions c;
    const hearth_conditions *now = &c;
    int64_t at = hearth_clock_mono(&g->cfg.clock);
    if (!g->cfg.conditions.read) return;
    if (g->begun && at - g->looked_ms < g->cfg.look_ms) return;
    if (g->cfg.conditions.read(g->cfg.conditions.ud, &c, NULL) != HEARTH_OK)
        now = NULL;
    hearth_energy_state was = g->state;
    g->state = hearth_energy_next(was, now, &g->cfg.policy, at);
    g->looked_ms = at;
    g->begun = true;
    if (was.action == g->state.action && was.reason == g->state.reason) return;
    if (g->cfg.pool) hearth_pool_limit(g->cfg.pool, hearth_governor_threads(g));
    if (g->cfg.changed) g->cfg.changed(g->cfg.ud, &g->state);
}

/* Sleep for ms; false: stop. */
static bool rest(hearth_governor *g, int64_t ms) {
    for (; ms > 0; ms -= SLICE_MS) {
        g->cfg.sleep(g->cfg.ud, ms < SLICE_MS ? ms : SLICE_MS);
        if (stopped(g)) return false;
    }
    return true;
}

/* Rest for what the work since the last rest costs.  Layers are shorter than a
 * sleep is exact, so what is owed adds up, and what was slept is taken off. */
static bool pay(hearth_governor *g, int64_t worked_ms) {
    g->owed_ms += hearth_energy_rest_ms(g->cfg.policy.duty, (double)worked_ms);
    if (g->owed_ms < LEAST_MS) return true;
    int64_t from = hearth_clock_mono(&g->cfg.clock);
    if (!rest(g, (int64_t)g->owed_ms)) return false;
    g->owed_ms -= (double)(hearth_clock_mono(&g->cfg.clock) - from);
    return true;
}

bool hearth_governor_gate(void *governor) {
    hearth_governor *g = governor;
    int64_t came = hearth_clock_mono(&g->cfg.clock);
    int64_t worked = g->is_left ? 0 : came - g->woke_ms;
    if (stopped(g)) return false;
    bool first = !g->has_worked;
    look(g);
    while (g->state.action == HEARTH_ENERGY_PAUSE) {
        g->has_worked = false; /* a pause is rest enough */
        if (g->cfg.leave_on_pause || !rest(g, g->cfg.look_ms)) return false;
        look(g);
        first = true;
    }
    g->woke_ms = came;
    g->is_left = false;
    if (g->state.action != HEARTH_ENERGY_THROTTLE || first)
        g->owed_ms = 0;
    else if (!pay(g, worked))
        return false;
    g->has_worked = true;
    g->woke_ms = hearth_clock_mono(&g->cfg.clock);
    return true;
}

void hearth_governor_leave(hearth_governor *g) {
    int64_t now = hearth_clock_mono(&g->cfg.clock);
    if (g->has_worked && !g->is_left)
        g->owed_ms += hearth_energy_rest_ms(g->cfg.policy.duty,
                                            (double)(now - g->woke_ms));
    g->is_left = true;
}

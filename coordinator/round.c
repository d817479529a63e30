/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/round.c - the round machine.
 *
 * Every step lets time pass first, then applies the event, then looks whether
 * the cohorts changed the round.  So an event that arrives after a deadline is
 * judged by the state after that deadline, whichever came first.
 */
#include "coordinator/round.h"

hearth_status hearth_round_spec_check(const hearth_round_spec *spec) {
    if (!spec || spec->n_cohorts < 1 ||
        spec->n_cohorts > HEARTH_ROUND_MAX_COHORTS || spec->n_stages < 1 ||
        spec->n_stages > HEARTH_PROTO_MAX_STAGES || spec->max_invited < 1)
        return HEARTH_EINVAL;
    for (uint32_t i = 0; i < spec->n_stages; i++) {
        const hearth_stage_window *w = &spec->stage[i];
        if (w->count_min < 1 || w->count_min > w->count_max ||
            w->count_max > HEARTH_PROTO_MAX_COHORT ||
            w->time_min_ms > w->time_max_ms || w->time_max_ms < 1 ||
            w->time_max_ms > HEARTH_PROTO_MAX_MS)
            return HEARTH_EINVAL;
    }
    return spec->max_invited < spec->stage[0].count_min ? HEARTH_EINVAL
                                                        : HEARTH_OK;
}

static uint64_t age_of(const hearth_round *r) {
    return r->now_ms > r->stage_opened_ms ? r->now_ms - r->stage_opened_ms : 0;
}

/* The devices of the next stage are the survivors of this one. */
static void open_next_stage(hearth_round *r, uint32_t n_cohorts) {
    r->stage++;
    r->stage_opened_ms = r->now_ms;
    for (uint32_t k = 0; k < n_cohorts; k++) {
        uint32_t invited = r->cohort[k].committed;
        r->cohort[k] = hearth_cohort_start();
        r->cohort[k].invited = invited;
    }
}

/* Let every cohort move, then the round with them. */
static void settle(const hearth_round_spec *spec, hearth_round *r, bool stop,
                   hearth_round_actions *act) {
    uint32_t fixed = 0, failed = 0;
    if (r->phase != HEARTH_ROUND_OPEN) return;
    for (uint32_t k = 0; k < spec->n_cohorts; k++) {
        r->cohort[k] = hearth_cohort_advance(
            r->cohort[k], &spec->stage[r->stage], age_of(r), stop);
        if (r->cohort[k].phase == HEARTH_COHORT_FIXED) fixed++;
        if (r->cohort[k].phase == HEARTH_COHORT_FAILED) failed++;
    }
    if (failed) {
        r->phase = HEARTH_ROUND_FAILED;
        act->fail = true;
    } else if (fixed == spec->n_cohorts && r->stage + 1 < spec->n_stages) {
        open_next_stage(r, spec->n_cohorts);
        act->next_stage = true;
    } else if (fixed == spec->n_cohorts) {
        r->phase = HEARTH_ROUND_FIXING;
        act->fix = true;
    }
}

/* NONE when a commit of this cohort and stage would be granted now. */
static uint32_t room(const hearth_round_spec *spec, const hearth_round *r,
                     const hearth_round_event *ev) {
    if (r->phase != HEARTH_ROUND_OPEN || ev->cohort >= spec->n_cohorts ||
        ev->stage != r->stage ||
        r->cohort[ev->cohort].phase != HEARTH_COHORT_OPEN)
        return HEARTH_REASON_CLOSED;
    return hearth_cohort_has_room(&r->cohort[ev->cohort],
                                  &spec->stage[r->stage])
               ? HEARTH_REASON_NONE
               : HEARTH_REASON_FULL;
}

/* Invite to the cohort with the fewest, the first of equals. */
static uint32_t invite(const hearth_round_spec *spec, hearth_round *r,
                       hearth_round_actions *act) {
    const hearth_stage_window *w = &spec->stage[0];
    uint32_t best = HEARTH_ROUND_MAX_COHORTS;
    if (r->phase != HEARTH_ROUND_OPEN || r->stage != 0)
        return HEARTH_REASON_CLOSED;
    for (uint32_t k = 0; k < spec->n_cohorts; k++) {
        const hearth_cohort *c = &r->cohort[k];
        if (!hearth_cohort_has_room(c, w) || c->invited >= spec->max_invited)
            continue;
        if (best == HEARTH_ROUND_MAX_COHORTS ||
            c->invited < r->cohort[best].invited)
            best = k;
    }
    if (best == HEARTH_ROUND_MAX_COHORTS) return HEARTH_REASON_FULL;
    r->cohort[best].invited++;
    act->cohort = best;
    return HEARTH_REASON_NONE;
}

/* A contribution that was pending, or could be: CLOSED when there is none. */
static uint32_t finish(const hearth_round_spec *spec, hearth_round *r,
                       const hearth_round_event *ev) {
    hearth_cohort *c;
    if (r->phase != HEARTH_ROUND_OPEN || ev->cohort >= spec->n_cohorts ||
        ev->stage != r->stage)
        return HEARTH_REASON_CLOSED;
    c = &r->cohort[ev->cohort];
    if (ev->kind == HEARTH_ROUND_EV_ABORT) {
        if (c->invited <= c->committed + c->pending)
            return HEARTH_REASON_CLOSED;
        c->invited--; /* someone else may have the place */
        c->aborted++;
        return HEARTH_REASON_NONE;
    }
    if (c->pending == 0) return HEARTH_REASON_CLOSED;
    c->pending--;
    if (ev->kind == HEARTH_ROUND_EV_COMMITTED) c->committed++;
    return HEARTH_REASON_NONE;
}

static uint32_t apply(const hearth_round_spec *spec, hearth_round *r,
                      const hearth_round_event *ev, hearth_round_actions *act) {
    uint32_t refuse;
    switch (ev->kind) {
    case HEARTH_ROUND_EV_OPEN:
        if (r->phase != HEARTH_ROUND_IDLE) return HEARTH_REASON_CLOSED;
        r->phase = HEARTH_ROUND_OPEN;
        r->opened_ms = r->stage_opened_ms = r->now_ms;
        for (uint32_t k = 0; k < spec->n_cohorts; k++)
            r->cohort[k] = hearth_cohort_start();
        return HEARTH_REASON_NONE;
    case HEARTH_ROUND_EV_INVITE: return invite(spec, r, act);
    case HEARTH_ROUND_EV_BEGIN:
        refuse = room(spec, r, ev);
        if (refuse == HEARTH_REASON_NONE) r->cohort[ev->cohort].begun++;
        return refuse;
    case HEARTH_ROUND_EV_COMMIT:
        refuse = room(spec, r, ev);
        if (refuse == HEARTH_REASON_NONE) r->cohort[ev->cohort].pending++;
        return refuse;
    case HEARTH_ROUND_EV_COMMITTED:
    case HEARTH_ROUND_EV_UNCOMMIT:
    case HEARTH_ROUND_EV_ABORT: return finish(spec, r, ev);
    case HEARTH_ROUND_EV_TICK:
    case HEARTH_ROUND_EV_STOP: return HEARTH_REASON_NONE;
    case HEARTH_ROUND_EV_RELEASE:
        /* Not in the step that fixes it: nothing is summed yet. */
        if (r->phase != HEARTH_ROUND_FIXING || act->fix)
            return HEARTH_REASON_CLOSED;
        r->phase = HEARTH_ROUND_RELEASED;
        return HEARTH_REASON_NONE;
    case HEARTH_ROUND_EV_FAIL:
        if (r->phase != HEARTH_ROUND_OPEN && r->phase != HEARTH_ROUND_FIXING)
            return HEARTH_REASON_CLOSED;
        r->phase = HEARTH_ROUND_FAILED;
        act->fail = true;
        act->fix = false;
        return HEARTH_REASON_NONE;
    default: return HEARTH_REASON_BAD_MESSAGE;
    }
}

static uint64_t wake(const hearth_round_spec *spec, const hearth_round *r) {
    uint64_t at = UINT64_MAX;
    if (r->phase != HEARTH_ROUND_OPEN) return at;
    for (uint32_t k = 0; k < spec->n_cohorts; k++) {
        uint64_t w = hearth_cohort_wake(&r->cohort[k], &spec->stage[r->stage],
                                        age_of(r));
        if (w != UINT64_MAX && r->stage_opened_ms + w < at)
            at = r->stage_opened_ms + w;
    }
    return at;
}

hearth_round hearth_round_step(const hearth_round_spec *spec, hearth_round r,
                               const hearth_round_event *ev,
                               hearth_round_actions *act) {
    hearth_round_actions ours = {0};
    if (!act) act = &ours;
    *act = ours;
    if (ev->now_ms > r.now_ms) r.now_ms = ev->now_ms;
    settle(spec, &r, false, act);
    act->refuse = apply(spec, &r, ev, act);
    settle(spec, &r, ev->kind == HEARTH_ROUND_EV_STOP, act);
    act->wake_ms = wake(spec, &r);
    return r;
}

uint64_t hearth_round_deadline(const hearth_round_spec *spec,
                               const hearth_round *r) {
    uint32_t s = r->stage < spec->n_stages ? r->stage : spec->n_stages - 1;
    return r->stage_opened_ms + spec->stage[s].time_max_ms;
}

const char *hearth_round_phase_name(uint32_t phase) {
    static const char *const name[] = {"idle", "open", "fixing", "released",
                                       "failed"};
    return phase < sizeof(name) / sizeof(name[0]) ? name[phase] : "?";
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz_round.c - any sequence of events leaves the round machine's
 * rules standing.
 *
 * Input: 8 bytes of spec, then 4 bytes an event: kind, cohort | stage << 4,
 * time to add (u16).
 */
#include <stdlib.h>
#include <string.h>

#include "coordinator/round.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok) {
    if (!ok) abort();
}

static void check_counts(const hearth_round_spec *spec, const hearth_round *r) {
    const hearth_stage_window *w = &spec->stage[r->stage];
    for (uint32_t k = 0; k < spec->n_cohorts; k++) {
        const hearth_cohort *c = &r->cohort[k];
        require((uint64_t)c->committed + c->pending <= w->count_max);
        if (c->phase == HEARTH_COHORT_FIXED)
            require(c->committed >= w->count_min && c->pending == 0);
    }
}

static void check_step(const hearth_round_spec *spec, const hearth_round *a,
                       const hearth_round *b, const hearth_round_event *ev,
                       const hearth_round_actions *act) {
    bool final =
        a->phase == HEARTH_ROUND_RELEASED || a->phase == HEARTH_ROUND_FAILED;
    if (final) require(b->phase == a->phase);
    require(b->now_ms >= a->now_ms && b->stage >= a->stage);
    require(b->stage < spec->n_stages);
    /* Nothing is accepted once the lists are final. */
    if (a->phase == HEARTH_ROUND_FIXING || final)
        require(memcmp(a->cohort, b->cohort, sizeof(a->cohort)) == 0);
    if (ev->kind == HEARTH_ROUND_EV_COMMIT && act->refuse == 0)
        require(a->phase == HEARTH_ROUND_OPEN);
    require(!(act->fix && act->fail));
    require(act->fix == (b->phase == HEARTH_ROUND_FIXING &&
                         a->phase != HEARTH_ROUND_FIXING));
    require(act->fail == (b->phase == HEARTH_ROUND_FAILED &&
                          a->phase != HEARTH_ROUND_FAILED));
    if (b->phase == HEARTH_ROUND_FIXING || b->phase == HEARTH_ROUND_RELEASED)
        for (uint32_t k = 0; k < spec->n_cohorts; k++)
            require(b->cohort[k].phase == HEARTH_COHORT_FIXED);
    /* While it is open something can always end it: time, or a job. */
    if (b->phase == HEARTH_ROUND_OPEN && act->wake_ms == UINT64_MAX) {
        bool waits = false;
        for (uint32_t k = 0; k < spec->n_cohorts; k++)
            waits = waits || b->cohort[k].pending > 0;
        require(waits);
    }
    if (b->phase != HEARTH_ROUND_IDLE) check_counts(spec, b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hearth_round_spec spec;
    hearth_round r;
    uint64_t now = 1000;
    if (size < 8) return 0;
    memset(&spec, 0, sizeof(spec));
    memset(&r, 0, sizeof(r));
    spec.n_cohorts = data[0] % (HEARTH_ROUND_MAX_COHORTS + 2);
    spec.n_stages = data[1] % (HEARTH_PROTO_MAX_STAGES + 2);
    spec.max_invited = data[2];
    for (uint32_t i = 0; i < HEARTH_PROTO_MAX_STAGES; i++)
        spec.stage[i] = (hearth_stage_window){data[3] + i, data[4] + i,
                                              data[5] * 16u, data[6] * 64u + i};
    if (hearth_round_spec_check(&spec) != HEARTH_OK) return 0;
    for (size_t i = 8; i + 4 <= size; i += 4) {
        hearth_round_actions act;
        hearth_round_event ev = {.kind = data[i] % 14u,
                                 .cohort = data[i + 1] & 15u,
                                 .stage = data[i + 1] >> 4};
        now += data[i + 2] | (uint64_t)data[i + 3] << 8;
        ev.now_ms = data[i + 3] == 255 ? now - 100 : now; /* back as well */
        hearth_round next = hearth_round_step(&spec, r, &ev, &act);
        check_step(&spec, &r, &next, &ev, &act);
        r = next;
    }
    return 0;
}

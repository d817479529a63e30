/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/offer_fixture.h - an offer that every default policy accepts,
 * with numbers that fit each other, for tests of policy and prepare. */
#ifndef HEARTH_TESTS_OFFER_FIXTURE_H
#define HEARTH_TESTS_OFFER_FIXTURE_H

#include <math.h>
#include <string.h>

#include "privacy/epsilons.h"
#include "privacy/sigma.h"
#include "proto/messages.h"

/* Compute again what follows from d, clip, scale, coordinates, z, n_min,
 * rounds and delta.  Returns false for numbers that have no offer. */
static inline bool hearth_offer_fixture_finish(hearth_offer *o) {
    hearth_wire_privacy *p = &o->privacy;
    hearth_sigma_sq s;
    hearth_epsilons e;
    p->bound_squared = 0;
    if (p->d && hearth_sigma_bound_sq(p->clip, p->scale_exp, (size_t)p->d,
                                      &p->bound_squared) != HEARTH_OK)
        return false;
    if (hearth_sigma_delta2_sq(p->bound_squared, p->coord_max, p->n_coords,
                               &p->delta2_squared) != HEARTH_OK ||
        hearth_sigma_for_z(p->z, p->delta2_squared, &s) != HEARTH_OK)
        return false;
    p->sigma2_num = s.num;
    p->sigma2_den = s.den;
    const hearth_epsilons_query q = {.z = p->z,
                                     .delta = p->delta,
                                     .participations = o->rounds,
                                     .n_devices = o->n_min,
                                     .n_min = o->n_min,
                                     .d = p->d,
                                     .bound_sq = p->bound_squared,
                                     .delta2_sq = p->delta2_squared};
    if (hearth_epsilons_local(&q, &e) != HEARTH_OK) return false;
    p->epsilon_coordinator = e.epsilon_coordinator;
    p->epsilon_release = e.epsilon_release;
    p->noise_to_signal = e.noise_to_signal;
    return true;
}

/* 6 parameters, 2 bounded coordinates, z = 3, 5 rounds, 64 devices. */
static inline hearth_offer hearth_offer_fixture(void) {
    hearth_offer o;
    memset(&o, 0, sizeof(o));
    memcpy(o.task, "diary", 6);
    memcpy(o.purpose, "research", 9);
    o.round = 7;
    memset(o.space.base_digest, 1, sizeof(o.space.base_digest));
    memset(o.space.tokenizer_digest, 2, sizeof(o.space.tokenizer_digest));
    memset(o.space.space_digest, 3, sizeof(o.space.space_digest));
    memset(o.space.shape_digest, 4, sizeof(o.space.shape_digest));
    memset(o.space.payload_digest, 5, sizeof(o.space.payload_digest));
    o.space.targets = 4;
    o.space.rank = 1;
    o.space.alpha = 2;
    o.space.rule = HEARTH_RULE_FFA;
    o.privacy = (hearth_wire_privacy){.d = 6,
                                      .n_coords = 2,
                                      .coord_max = {100, 50},
                                      .clip = 0.5,
                                      .scale_exp = 10,
                                      .z = 3,
                                      .mode = HEARTH_MODE_LOCAL,
                                      .relation = HEARTH_RELATION_REPLACE_ONE,
                                      .unit = HEARTH_UNIT_DEVICE,
                                      .delta = 1e-6};
    o.local = (hearth_local_training){.steps = 2,
                                      .batch = 8,
                                      .seq = 128,
                                      .lr = 0.02,
                                      .schedule = HEARTH_WIRE_SCHEDULE_CONSTANT,
                                      .loss = HEARTH_WIRE_LOSS_ANSWER};
    o.start_sequence = 1;
    o.cohort_min = o.n_min = 64;
    o.cohort_max = 80;
    o.rounds = 5;
    o.min_examples = 10;
    o.spacing_ms = 86400000;
    o.deadline_ms = 1790000000000u;
    memset(o.upload_token.bytes, 9, sizeof(o.upload_token.bytes));
    (void)hearth_offer_fixture_finish(&o);
    return o;
}

#endif /* HEARTH_TESTS_OFFER_FIXTURE_H */

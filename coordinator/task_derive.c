/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/task_derive.c - bounds, noise, digests and epsilons of a task.
 *
 * All privacy numbers come from privacy/, the same functions that the device
 * uses to check the offer.
 */
#include "coordinator/task_derive.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "common/adapter_digest.h"
#include "common/error.h"
#include "common/mem.h"
#include "coordinator/lora_rules.h"
#include "privacy/epsilons.h"
#include "privacy/sigma.h"

/* Tails beyond this many sigma do not happen: P < 2^-180 a coordinate. */
#define RANGE_SIGMAS 16.0

uint32_t hearth_task_targets(hearth_task_modules m, uint32_t *automatic) {
    *automatic = m == HEARTH_TASK_LLAMA ? HEARTH_TARGETS_QV
                                        : HEARTH_TARGET_BIT(HEARTH_TARGET_QKV);
    if (m == HEARTH_TASK_GPT2) return HEARTH_TARGETS_GPT2;
    return m == HEARTH_TASK_PHI3 ? HEARTH_TARGETS_PHI3 : HEARTH_TARGETS_LINEAR;
}

static hearth_status list_modules(hearth_module_info **out, size_t *n,
                                  char (**names)[HEARTH_LORA_MODULE_MAX],
                                  const hearth_task_base *b,
                                  const hearth_alloc *al) {
    uint32_t q = b->heads * b->head_dim, kv = b->kv_heads * b->head_dim;
    const uint32_t in[HEARTH_TARGET_COUNT] = {b->hidden, b->hidden, b->hidden,
                                              q,         b->hidden, b->hidden,
                                              b->ffn,    b->hidden, b->hidden};
    const uint32_t to[HEARTH_TARGET_COUNT] = {
        q,      kv,        kv,         b->hidden, b->ffn,
        b->ffn, b->hidden, q + 2 * kv, 2 * b->ffn};
    uint32_t automatic, has = hearth_task_targets(b->modules, &automatic);
    hearth_lora_names style =
        b->modules == HEARTH_TASK_GPT2 ? HEARTH_NAMES_GPT2 : HEARTH_NAMES_LLAMA;
    size_t cap = (size_t)b->layers * HEARTH_TARGET_COUNT;
    *n = 0;
    *out = hearth_mem_array(al, cap, sizeof(**out));
    *names = hearth_mem_array(al, cap, sizeof(**names));
    if (!*out || !*names) return HEARTH_ENOMEM;
    for (size_t i = 0; i < cap; i++) {
        uint32_t layer = (uint32_t)(i / HEARTH_TARGET_COUNT);
        uint32_t target = (uint32_t)(i % HEARTH_TARGET_COUNT);
        if (!(has & HEARTH_TARGET_BIT(target))) continue;
        char *name = (*names)[*n];
        hearth_status st = hearth_lora_module_name(name, sizeof(**names), style,
                                                   layer, target);
        if (st != HEARTH_OK) return st;
        (*out)[(*n)++] =
            (hearth_module_info){name, layer, target, in[target], to[target]};
    }
    return HEARTH_OK;
}

hearth_status hearth_task_adapter(hearth_adapter **out, const hearth_task *t,
                                  const hearth_alloc *al, hearth_error *err) {
    char(*names)[HEARTH_LORA_MODULE_MAX] = NULL;
    hearth_module_info *modules = NULL;
    hearth_lora_spec spec = HEARTH_LORA_SPEC_INIT;
    const hearth_lora_rule *rule = hearth_lora_rule_get(t->space.rule);
    size_t n = 0;
    hearth_status st;

    *out = NULL;
    if (!rule) return hearth_error_set(err, HEARTH_EINVAL, "task: no rule");
    if ((st = list_modules(&modules, &n, &names, &t->base, al)) != HEARTH_OK)
        goto done;
    spec.rank = t->space.rank;
    spec.alpha = (float)t->space.alpha;
    spec.targets = t->space.targets;
    spec.last_layers = t->space.last_layers;
    spec.rslora = t->space.rslora;
    spec.freeze_a = rule->freeze_a;
    if ((st = hearth_adapter_new(out, &spec, modules, n, al, err)) != HEARTH_OK)
        goto done;
    st = hearth_adapter_init_a_from_seed(*out, t->space.a_seed);

done:
    if (st != HEARTH_OK) {
        hearth_adapter_free(*out);
        *out = NULL;
    }
    hearth_mem_free(al, names);
    hearth_mem_free(al, modules);
    return st;
}

bool hearth_task_ring_ok(uint64_t n, double bound, double sigma) {
    double most = (double)n * bound + 8 * sqrt((double)n) * sigma;
    return isfinite(most) && most < 0x1p31;
}

/* Bounds and noise at one scale; false when it does not fit. */
static bool fits(hearth_task *t, int exp) {
    hearth_wire_privacy *p = &t->privacy;
    hearth_sigma_sq s;
    uint64_t bound = 0, delta2 = 0;
    double sigma, reach;
    if (hearth_sigma_bound_sq(p->clip, exp, (size_t)p->d, &bound) != HEARTH_OK)
        return false;
    if (p->n_coords)
        p->coord_max[0] = hearth_adapt_clip_coord(&t->adapt, bound);
    if (hearth_sigma_delta2_sq(bound, p->coord_max, p->n_coords, &delta2) !=
            HEARTH_OK ||
        hearth_sigma_for_z(p->z, delta2, &s) != HEARTH_OK ||
        !hearth_sigma_ok(s))
        return false;
    sigma = hearth_sigma_value(s);
    reach = sqrt((double)delta2) + RANGE_SIGMAS * sigma;
    double most = sqrt((double)bound);
    if (most < p->coord_max[0]) most = p->coord_max[0];
    if (!hearth_task_ring_ok(t->round.stage[0].count_max, most, sigma) ||
        reach >= 0x1p31 - 1)
        return false;
    p->scale_exp = exp;
    p->bound_squared = bound;
    p->delta2_squared = delta2;
    p->sigma2_num = s.num;
    p->sigma2_den = s.den;
    t->range = (int64_t)ceil(reach);
    return true;
}

static hearth_status derive_noise(hearth_task *t, hearth_error *err) {
    int exp = t->scale_most;
    if (t->scale_given && !fits(t, exp))
        return hearth_error_set(
            err, HEARTH_ETOOBIG,
            "[privacy] scale = %d: a sum of %u uploads could leave 32 bits "
            "(n C s + 8 sqrt(n) sigma) with clip %g; leave scale out, or lower "
            "it, count or [clip] ceiling",
            exp, t->round.stage[0].count_max, t->privacy.clip);
    for (; !t->scale_given && !fits(t, exp); exp--)
        if (exp <= HEARTH_SIGMA_MIN_SCALE)
            return hearth_error_set(
                err, HEARTH_ETOOBIG,
                "[cohort] count: no scale keeps a sum of %u uploads in 32 "
                "bits; lower count, clip or noise",
                t->round.stage[0].count_max);
    return HEARTH_OK;
}

static double wire_finite(double v) {
    return isfinite(v) && v >= 0 ? v : DBL_MAX;
}

hearth_status hearth_task_epsilons(const hearth_task *t, uint32_t rounds,
                                   uint32_t n_devices, hearth_wire_privacy *p) {
    hearth_epsilons e;
    hearth_epsilons_query q = {.z = p->z,
                               .delta = p->delta,
                               .participations = rounds,
                               .n_devices = n_devices,
                               .n_min = t->round.stage[0].count_min,
                               .d = p->d,
                               .bound_sq = p->bound_squared,
                               .delta2_sq = p->delta2_squared};
    hearth_status st = hearth_epsilons_local(&q, &e);
    if (st != HEARTH_OK) return st;
    p->epsilon_coordinator = wire_finite(e.epsilon_coordinator);
    p->epsilon_release = wire_finite(e.epsilon_release);
    p->noise_to_signal = wire_finite(e.noise_to_signal);
    return HEARTH_OK;
}

static hearth_status derive_payload(hearth_task *t, const hearth_adapter *a,
                                    hearth_part part) {
    const hearth_wire_privacy *p = &t->privacy;
    hearth_payload_terms terms;
    memset(&terms, 0, sizeof(terms));
    terms.scale_num = p->scale_exp > 0 ? (uint64_t)1 << p->scale_exp : 1;
    terms.scale_den = p->scale_exp < 0 ? (uint64_t)1 << -p->scale_exp : 1;
    terms.bound_squared = p->bound_squared;
    terms.delta2_squared = p->delta2_squared;
    terms.n_coords = p->n_coords;
    memcpy(terms.coord_max, p->coord_max, sizeof(terms.coord_max));
    return hearth_adapter_payload_digest(a, part, &terms,
                                         t->space.payload_digest);
}

static hearth_status derive_digests(hearth_task *t, const hearth_adapter *a) {
    hearth_wire_space *s = &t->space;
    hearth_base_identity base;
    hearth_status st;

    memcpy(base.checkpoint, s->base_digest, 32);
    memcpy(base.tokenizer, s->tokenizer_digest, 32);
    memcpy(base.chat_template, s->template_digest, 32);
    st = hearth_adapter_values_digest(a, HEARTH_PART_A, s->a_digest);
    if (st == HEARTH_OK)
        st = hearth_adapter_space_digest(a, &base, s->space_digest);
    if (st == HEARTH_OK) st = hearth_adapter_shape_digest(a, s->shape_digest);
    return st;
}

_Static_assert(HEARTH_PAYLOAD_MAX_COORDS == HEARTH_PROTO_MAX_COORDS,
               "the wire carries what a payload may hold");

/* What follows from the clip that is set. */
static hearth_status derive_round(hearth_task *t, uint64_t steps,
                                  const hearth_adapter *a, hearth_part part,
                                  hearth_error *err) {
    hearth_wire_privacy *p = &t->privacy;
    memset(p->coord_max, 0, sizeof(p->coord_max));
    p->n_coords = hearth_adapt_clip_asks(&t->adapt, steps);
    t->payload_bytes = 4 * (p->d + p->n_coords);
    hearth_status st = derive_noise(t, err);
    if (st == HEARTH_OK) st = derive_payload(t, a, part);
    if (st == HEARTH_OK)
        st = hearth_task_epsilons(t, t->rounds, t->round.stage[0].count_min, p);
    return st;
}

/* Every clip that the task may come to must have numbers that fit. */
static hearth_status derive_ends(hearth_task *t, const hearth_adapter *a,
                                 hearth_part part, hearth_error *err) {
    const double ends[] = {t->adapt.top, t->adapt.floor};
    hearth_status st = HEARTH_OK;
    for (int i = 0; t->adapt.on && st == HEARTH_OK && i < 2; i++) {
        t->privacy.clip = ends[i];
        st = derive_round(t, 0, a, part, err);
    }
    if (t->adapt.on) t->privacy.clip = t->adapt.start;
    return st;
}

hearth_status hearth_task_set_clip(hearth_task *t, double clip, uint64_t steps,
                                   const hearth_alloc *al, hearth_error *err) {
    const hearth_lora_rule *rule = hearth_lora_rule_get(t->space.rule);
    hearth_adapter *a = NULL;
    hearth_task next = *t;
    if (!t->adapt.on || !rule) return HEARTH_OK;
    next.privacy.clip = hearth_adapt_clip_within(&t->adapt, clip);
    if (next.privacy.clip == t->privacy.clip &&
        t->privacy.n_coords == hearth_adapt_clip_asks(&t->adapt, steps))
        return HEARTH_OK;
    hearth_status st = hearth_task_adapter(&a, t, al, err);
    if (st == HEARTH_OK) st = derive_round(&next, steps, a, rule->part, err);
    if (st == HEARTH_OK) *t = next;
    hearth_adapter_free(a);
    return st;
}

hearth_status hearth_task_derive(hearth_task *t, const hearth_alloc *al,
                                 hearth_error *err) {
    const hearth_lora_rule *rule = hearth_lora_rule_get(t->space.rule);
    hearth_adapter *a = NULL;
    hearth_status st = hearth_round_spec_check(&t->round);
    if (st != HEARTH_OK || !rule)
        return hearth_error_set(err, HEARTH_EFORMAT,
                                "[cohort]: count and time do not go together; "
                                "need 1 <= min <= max");
    if ((st = hearth_task_adapter(&a, t, al, err)) != HEARTH_OK) return st;
    t->privacy.d = hearth_adapter_dim(a, rule->part);
    t->privacy.relation = HEARTH_RELATION_REPLACE_ONE;
    t->privacy.unit = HEARTH_UNIT_DEVICE;
    if (t->privacy.d > HEARTH_PROTO_MAX_DIM)
        st =
            hearth_error_set(err, HEARTH_ETOOBIG,
                             "[adapter]: %llu parameters are above %llu; lower "
                             "rank or take fewer targets",
                             (unsigned long long)t->privacy.d,
                             (unsigned long long)HEARTH_PROTO_MAX_DIM);
    if (st == HEARTH_OK) st = derive_digests(t, a);
    if (st == HEARTH_OK) st = derive_ends(t, a, rule->part, err);
    if (st == HEARTH_OK) st = derive_round(t, 0, a, rule->part, err);
    hearth_adapter_free(a);
    return st;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* client/device/policy.c - the contract is in policy.h.
 *
 * One small function per field, all in one table.  A comparison is written so
 * that NaN refuses.
 */
#include "client/device/policy.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "client/delta/terms.h"
#include "client/records/record.h"
#include "privacy/accountant_zcdp.h"
#include "privacy/epsilons.h"
#include "privacy/noise.h"

#define DAY_MS ((int64_t)86400 * 1000)

static const double SIGMA_MIN = 4; /* below, rounding effects need a proof */

/* What the checks look at. */
typedef struct {
    const hearth_policy *p;
    const hearth_offer *o;
    const hearth_policy_facts *f;
    hearth_terms terms; /* zero unless terms_status is HEARTH_OK */
    double z;           /* ours where the terms allow, else the offer's */
    hearth_status terms_status;
    hearth_error terms_error;
} exam;

void hearth_policy_defaults(hearth_policy *p) {
    *p = (hearth_policy){.cohort_min = 32,
                         .noise_min = 1.2,
                         .dimension_max = (uint64_t)1 << 24,
                         .noise_to_signal_max = 32,
                         .need_unmetered = true,
                         .need_charging = true,
                         .battery_min = 50,
                         .temperature_max = 40,
                         .ledger = {.delta = 1e-6,
                                    .epsilon_task = 10,
                                    .epsilon_window = 10,
                                    .epsilon_lifetime = 30,
                                    .window_ms = 30 * DAY_MS,
                                    .spacing_ms = DAY_MS,
                                    .n_participations = 8}};
}

static void say(char text[64], const char *fmt, ...) HEARTH_PRINTF(2, 3);
static void say(char text[64], const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, 64, fmt, ap);
    va_end(ap);
    if (n < 0) text[0] = 0;
}

/* Value at least (most) limit?  Says both. */
static bool at_least(double value, double limit, hearth_refusal *r) {
    say(r->offered, "%.6g", value);
    say(r->allowed, "at least %.6g", limit);
    return value >= limit;
}

static bool at_most(double value, double limit, hearth_refusal *r) {
    say(r->offered, "%.6g", value);
    say(r->allowed, "at most %.6g", limit);
    return value <= limit;
}

static bool is_true(bool ok, const char *offered, const char *allowed,
                    hearth_refusal *r) {
    say(r->offered, "%s", offered);
    say(r->allowed, "%s", allowed);
    return ok;
}

/* The smallest number of devices that the offer lets count. */
static bool check_cohort(const exam *x, hearth_refusal *r) {
    uint32_t n =
        x->o->cohort_min < x->o->n_min ? x->o->cohort_min : x->o->n_min;
    return at_least(n, x->p->cohort_min, r);
}

static bool check_noise(const exam *x, hearth_refusal *r) {
    /* The offer's word, and what its integers give: both must do. */
    double z = x->o->privacy.z < x->z ? x->o->privacy.z : x->z;
    return at_least(z, x->p->noise_min, r);
}

static bool check_sigma(const exam *x, hearth_refusal *r) {
    hearth_sigma_sq s = {x->o->privacy.sigma2_num, x->o->privacy.sigma2_den};
    return at_least(hearth_sigma_value(s), SIGMA_MIN, r);
}

/* Another mode, relation or unit has a field of its own. */
static bool check_terms(const exam *x, hearth_refusal *r) {
    const char *text = x->terms_error.text;
    if (strncmp(text, "offer: ", 7) == 0) text += 7;
    say(r->offered, "%.*s", (int)strcspn(text, ";"), text);
    say(r->allowed, "numbers that fit each other");
    return x->terms_status == HEARTH_OK ||
           x->terms_status == HEARTH_EUNSUPPORTED;
}

static bool check_relation(const exam *x, hearth_refusal *r) {
    const hearth_wire_privacy *p = &x->o->privacy;
    bool ok = p->relation == HEARTH_RELATION_REPLACE_ONE &&
              p->mode == HEARTH_MODE_LOCAL;
    const char *offered = p->relation == HEARTH_RELATION_ZERO_OUT ? "zero-out"
                          : p->relation == HEARTH_RELATION_REPLACE_ONE
                              ? "replace-one, another mode"
                              : "unknown";
    return is_true(ok, offered, "replace-one, mode local", r);
}

static bool check_unit(const exam *x, hearth_refusal *r) {
    return is_true(x->o->privacy.unit == HEARTH_UNIT_DEVICE, "another unit",
                   HEARTH_PRIVACY_UNIT, r);
}

static bool check_not_private(const exam *x, hearth_refusal *r) {
    return is_true(!x->o->not_private || !hearth_noise_is_private(),
                   "not private", "private", r);
}

static bool check_delta(const exam *x, hearth_refusal *r) {
    double delta = x->o->privacy.delta;
    return at_most(delta > 0 ? delta : (double)NAN, x->p->ledger.delta, r);
}

static bool check_claim(const exam *x, hearth_refusal *r) {
    const hearth_wire_privacy *w = &x->o->privacy;
    hearth_epsilons e;
    hearth_epsilons_query q = {.z = x->z,
                               .delta = w->delta,
                               .participations = x->o->rounds,
                               .n_devices = x->o->n_min,
                               .n_min = x->o->n_min,
                               .d = w->d,
                               .bound_sq = x->terms.bound_sq,
                               .delta2_sq = x->terms.delta2_sq};
    hearth_status st = hearth_epsilons_local(&q, &e);
    const double slack = 1 - 1e-6;
    if (!at_least(w->epsilon_coordinator, e.epsilon_coordinator * slack, r))
        return false;
    if (!at_least(w->epsilon_release, e.epsilon_release * slack, r))
        return false;
    if (!at_least(w->noise_to_signal, e.noise_to_signal * slack, r))
        return false;
    return st == HEARTH_OK;
}

static bool check_ledger(const exam *x, hearth_ledger_rule rule,
                         hearth_refusal *r) {
    hearth_ledger_verdict v;
    double rho = hearth_zcdp_rho(x->z, HEARTH_DP_REPLACE_ONE);
    bool ok = hearth_ledger_allows_rule(rule, &x->p->ledger, x->f->sums, rho,
                                        x->f->now_ms, &v);
    if (rule == HEARTH_LEDGER_SPACING) {
        say(r->offered, "%.6g h after the last", v.would_be / 3.6e6);
        say(r->allowed, "at least %.6g h", v.cap / 3.6e6);
    } else {
        (void)at_most(v.would_be, v.cap, r);
    }
    return ok;
}

static bool check_task(const exam *x, hearth_refusal *r) {
    return check_ledger(x, HEARTH_LEDGER_TASK, r);
}

static bool check_window(const exam *x, hearth_refusal *r) {
    return check_ledger(x, HEARTH_LEDGER_WINDOW, r);
}

static bool check_lifetime(const exam *x, hearth_refusal *r) {
    return check_ledger(x, HEARTH_LEDGER_LIFETIME, r);
}

static bool check_participations(const exam *x, hearth_refusal *r) {
    return check_ledger(x, HEARTH_LEDGER_PARTICIPATIONS, r);
}

static bool check_spacing(const exam *x, hearth_refusal *r) {
    return check_ledger(x, HEARTH_LEDGER_SPACING, r);
}

static bool check_dimension(const exam *x, hearth_refusal *r) {
    const hearth_wire_privacy *w = &x->o->privacy;
    say(r->offered, "%llu", (unsigned long long)w->d);
    say(r->allowed, "at most %llu", (unsigned long long)x->p->dimension_max);
    return w->d <= x->p->dimension_max;
}

static bool check_noise_to_signal(const exam *x, hearth_refusal *r) {
    double ratio =
        hearth_noise_to_signal_local(x->z, x->o->privacy.d, x->o->n_min) *
        hearth_noise_spread(x->terms.bound_sq, x->terms.delta2_sq);
    return at_most(ratio, x->p->noise_to_signal_max, r);
}

static bool check_examples(const exam *x, hearth_refusal *r) {
    say(r->offered, "a task for %lu records",
        (unsigned long)x->o->min_examples);
    say(r->allowed, "at most the %llu it has",
        (unsigned long long)x->f->n_examples);
    return x->f->n_examples >= x->o->min_examples;
}

static bool check_consent(const exam *x, hearth_refusal *r) {
    char purpose[HEARTH_PROTO_PURPOSE_CAP + 1] = {0};
    memcpy(purpose, x->o->purpose, HEARTH_PROTO_PURPOSE_CAP);
    /* It comes from a peer and is shown on a terminal: words only. */
    if (!hearth_record_purpose_ok(purpose))
        return is_true(false, "no word", "purposes with consent", r);
    /* What is for this device alone, nobody may name as his purpose. */
    if (strcmp(purpose, HEARTH_PURPOSE_PERSONAL) == 0)
        return is_true(false, purpose, "purposes that may leave it", r);
    return is_true(x->f->has_consent, purpose, "purposes with consent", r);
}

static bool check_network(const exam *x, hearth_refusal *r) {
    return is_true(!x->p->need_unmetered || !x->f->conditions->metered,
                   "metered network", "unmetered only", r);
}

static bool check_charging(const exam *x, hearth_refusal *r) {
    return is_true(!x->p->need_charging || x->f->conditions->charging,
                   "on battery", "only while charging", r);
}

static bool check_battery(const exam *x, hearth_refusal *r) {
    return !x->f->conditions->has_battery ||
           at_least(x->f->conditions->battery_percent, x->p->battery_min, r);
}

static bool check_temperature(const exam *x, hearth_refusal *r) {
    return !x->f->conditions->has_temperature ||
           at_most(x->f->conditions->temperature_c, x->p->temperature_max, r);
}

typedef struct {
    const char *name; /* as in the policy file where it has a key */
    bool (*check)(const exam *x, hearth_refusal *r);
    bool momentary; /* the same offer may be accepted later */
} field_rule;

static const field_rule FIELDS[HEARTH_POLICY_N_FIELDS] = {
    [HEARTH_POLICY_COHORT] = {"cohort_min", check_cohort, false},
    [HEARTH_POLICY_NOISE] = {"noise_min", check_noise, false},
    [HEARTH_POLICY_SIGMA] = {"sigma", check_sigma, false},
    [HEARTH_POLICY_TERMS] = {"terms", check_terms, false},
    [HEARTH_POLICY_RELATION] = {"relation", check_relation, false},
    [HEARTH_POLICY_UNIT] = {"unit", check_unit, false},
    [HEARTH_POLICY_NOT_PRIVATE] = {"not_private", check_not_private, false},
    [HEARTH_POLICY_DELTA] = {"delta", check_delta, false},
    [HEARTH_POLICY_EPSILON_CLAIM] = {"epsilon_claim", check_claim, false},
    [HEARTH_POLICY_EPSILON_TASK] = {"epsilon_task", check_task, false},
    [HEARTH_POLICY_EPSILON_WINDOW] = {"epsilon_window", check_window, false},
    [HEARTH_POLICY_EPSILON_LIFETIME] = {"epsilon_lifetime", check_lifetime,
                                        false},
    [HEARTH_POLICY_PARTICIPATIONS] = {"participations", check_participations,
                                      false},
    [HEARTH_POLICY_SPACING] = {"spacing", check_spacing, true},
    [HEARTH_POLICY_DIMENSION] = {"dimension_max", check_dimension, false},
    [HEARTH_POLICY_NOISE_TO_SIGNAL] = {"noise_to_signal_max",
                                       check_noise_to_signal, false},
    [HEARTH_POLICY_EXAMPLES] = {"examples", check_examples, true},
    [HEARTH_POLICY_CONSENT] = {"consent", check_consent, true},
    [HEARTH_POLICY_NETWORK] = {"need_unmetered", check_network, true},
    [HEARTH_POLICY_CHARGING] = {"need_charging", check_charging, true},
    [HEARTH_POLICY_BATTERY] = {"battery_min", check_battery, true},
    [HEARTH_POLICY_TEMPERATURE] = {"temperature_max", check_temperature, true},
};

static bool field_ok(hearth_policy_field f) {
    return (unsigned)f < HEARTH_POLICY_N_FIELDS;
}

const char *hearth_policy_field_name(hearth_policy_field f) {
    return field_ok(f) ? FIELDS[f].name : "unknown";
}

hearth_status hearth_policy_check(const hearth_policy *p,
                                  const hearth_offer *offer,
                                  const hearth_policy_facts *facts,
                                  hearth_refusals *out) {
    if (!out) return HEARTH_EINVAL;
    memset(out, 0, sizeof(*out));
    if (!p || !offer || !facts || !facts->sums || !facts->conditions)
        return HEARTH_EINVAL;
    exam x = {.p = p, .o = offer, .f = facts};
    x.terms_status = hearth_terms_read(&x.terms, offer, &x.terms_error);
    x.z = x.terms_status == HEARTH_OK ? x.terms.z : offer->privacy.z;
    for (int i = 0; i < HEARTH_POLICY_N_FIELDS; i++) {
        hearth_refusal r = {.field = (hearth_policy_field)i};
        if (!FIELDS[i].check(&x, &r)) out->item[out->n++] = r;
    }
    return out->n ? HEARTH_EREFUSED : HEARTH_OK;
}

void hearth_refusal_text(const hearth_refusal *r, char *text, size_t n) {
    int got =
        snprintf(text, n, "%s: offered %s, this device wants %s",
                 hearth_policy_field_name(r->field), r->offered, r->allowed);
    if (got < 0 && n) text[0] = 0;
}

bool hearth_refusals_pass(const hearth_refusals *r) {
    for (size_t i = 0; i < r->n; i++)
        if (!field_ok(r->item[i].field) || !FIELDS[r->item[i].field].momentary)
            return false;
    return true;
}

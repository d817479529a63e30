/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_policy.c - client/device/policy.h, client/delta/terms.h: one
 * test for each field, refused alone, at its edge. */
#include "tests/support/cmocka_all.h"

#include <math.h>

#include "client/delta/terms.h"
#include "client/device/policy.h"
#include "privacy/accountant_zcdp.h"
#include "tests/support/offer_fixture.h"

#define DAY ((int64_t)86400000)
#define NOW (1000 * DAY)

/* All that a check looks at; each test changes one thing. */
typedef struct {
    hearth_policy policy;
    hearth_offer offer;
    hearth_ledger_sums sums;
    hearth_conditions conditions;
    hearth_policy_facts facts;
    hearth_refusals out;
} world;

static void setup(world *w) {
    memset(w, 0, sizeof(*w));
    hearth_policy_defaults(&w->policy);
    w->offer = hearth_offer_fixture();
    hearth_ledger_sums_init(&w->sums);
    w->conditions = (hearth_conditions){.has_battery = true,
                                        .battery_percent = 50,
                                        .charging = true,
                                        .has_temperature = true,
                                        .temperature_c = 40};
    w->facts = (hearth_policy_facts){.sums = &w->sums,
                                     .conditions = &w->conditions,
                                     .has_consent = true,
                                     .n_examples = 10,
                                     .now_ms = NOW};
}

static hearth_status check(world *w) {
    return hearth_policy_check(&w->policy, &w->offer, &w->facts, &w->out);
}

static void accepted(world *w) {
    if (check(w) != HEARTH_OK) {
        char text[256];
        hearth_refusal_text(&w->out.item[0], text, sizeof(text));
        fail_msg("refused: %s", text);
    }
}

/* Exactly one refusal, of this field, with these words. */
static void refused(world *w, hearth_policy_field f, const char *words) {
    assert_int_equal(check(w), HEARTH_EREFUSED);
    char text[256];
    hearth_refusal_text(&w->out.item[0], text, sizeof(text));
    if (w->out.n != 1 || w->out.item[0].field != f)
        fail_msg("%zu refusals, the first: %s", w->out.n, text);
    assert_string_equal(text, words);
}

static void policy_accepts_at_every_edge(void **state) {
    (void)state;
    world w;
    setup(&w);
    accepted(&w);
    w.offer.cohort_min = w.offer.n_min = 32;
    w.offer.privacy.z = 3;
    assert_true(hearth_offer_fixture_finish(&w.offer));
    accepted(&w);
}

static void policy_refuses_small_cohort(void **state) {
    (void)state;
    world w;
    setup(&w);
    w.offer.cohort_min = 31;
    refused(&w, HEARTH_POLICY_COHORT,
            "cohort_min: offered 31, this device wants at least 32");
    setup(&w);
    w.offer.n_min = 31; /* a large cohort of which few need to count */
    assert_true(hearth_offer_fixture_finish(&w.offer));
    refused(&w, HEARTH_POLICY_COHORT,
            "cohort_min: offered 31, this device wants at least 32");
}

static void policy_refuses_little_noise(void **state) {
    (void)state;
    world w;
    setup(&w);
    w.offer.privacy.z = 1.19;
    w.policy.ledger.epsilon_task = w.policy.ledger.epsilon_window = 20;
    assert_true(hearth_offer_fixture_finish(&w.offer));
    refused(&w, HEARTH_POLICY_NOISE,
            "noise_min: offered 1.19, this device wants at least 1.2");
    w.offer.privacy.z = 1.2;
    assert_true(hearth_offer_fixture_finish(&w.offer));
    accepted(&w);
}

/* A clip may change by round, its bit come and go: what is judged is the z that
 * the integers give, and that has to stay what was promised. */
static void policy_sees_z_behind_every_clip(void **state) {
    (void)state;
    world w;
    hearth_terms t;
    for (int i = 0; i < 12; i++) {
        setup(&w);
        w.offer.privacy.clip = ldexp(1, i - 6);
        w.offer.privacy.n_coords = (uint32_t)(i % 2);
        w.offer.privacy.coord_max[0] = i % 2 ? 1u << i : 0;
        w.offer.privacy.coord_max[1] = 0;
        assert_true(hearth_offer_fixture_finish(&w.offer));
        accepted(&w);
        assert_ok(hearth_terms_read(&t, &w.offer, NULL));
        assert_true(t.clip_bit == (i % 2 == 1));
        assert_true(t.z >= 3 && t.z < 3.0001);
        /* The bit is added, and the noise of the round before it kept. */
        hearth_wire_privacy *p = &w.offer.privacy;
        p->n_coords = 2;
        p->coord_max[0] = p->coord_max[1] = 1u << 14;
        assert_ok(hearth_sigma_delta2_sq(p->bound_squared, p->coord_max, 2,
                                         &p->delta2_squared));
        assert_int_equal(check(&w), HEARTH_EREFUSED);
        assert_int_equal(w.out.item[0].field, HEARTH_POLICY_TERMS);
        assert_non_null(strstr(w.out.item[0].offered, "z promises more"));
    }
}

static void policy_refuses_coarse_integers(void **state) {
    (void)state;
    world w;
    setup(&w);
    w.offer.privacy.scale_exp = -30; /* everything rounds to nothing */
    w.offer.privacy.n_coords = 0;
    w.offer.privacy.d = 1;
    w.offer.privacy.z = 3.9;
    assert_true(hearth_offer_fixture_finish(&w.offer));
    w.offer.privacy.bound_squared = w.offer.privacy.delta2_squared = 1;
    hearth_sigma_sq s;
    assert_ok(hearth_sigma_for_z(3.9, 1, &s));
    w.offer.privacy.sigma2_num = s.num, w.offer.privacy.sigma2_den = s.den;
    refused(&w, HEARTH_POLICY_SIGMA,
            "sigma: offered 3.9, this device wants at least 4");
}

static void policy_refuses_contradicting_terms(void **state) {
    (void)state;
    world w;
    setup(&w);
    w.offer.privacy.delta2_squared++;
    refused(&w, HEARTH_POLICY_TERMS,
            "terms: offered Delta2 is not what its parts add up to, "
            "this device wants numbers that fit each other");
    setup(&w);
    w.offer.privacy.sigma2_num -= w.offer.privacy.sigma2_num / 1000;
    refused(&w, HEARTH_POLICY_TERMS,
            "terms: offered z promises more noise than sigma gives, "
            "this device wants numbers that fit each other");
}

static void policy_refuses_other_relation(void **state) {
    (void)state;
    world w;
    setup(&w);
    w.offer.privacy.relation = HEARTH_RELATION_ZERO_OUT;
    refused(&w, HEARTH_POLICY_RELATION,
            "relation: offered zero-out, this device wants replace-one, mode "
            "local");
    setup(&w);
    w.offer.privacy.mode = HEARTH_MODE_DISTRIBUTED;
    refused(&w, HEARTH_POLICY_RELATION,
            "relation: offered replace-one, another mode, this device wants "
            "replace-one, mode local");
}

static void policy_refuses_other_unit(void **state) {
    (void)state;
    world w;
    setup(&w);
    w.offer.privacy.unit = 2;
    refused(&w, HEARTH_POLICY_UNIT,
            "unit: offered another unit, this device wants device");
}

static void policy_refuses_test_offers(void **state) {
    (void)state;
    world w;
    setup(&w);
    w.offer.not_private = true;
    refused(&w, HEARTH_POLICY_NOT_PRIVATE,
            "not_private: offered not private, this device wants private");
}

static void policy_refuses_large_delta(void **state) {
    (void)state;
    world w;
    setup(&w);
    w.offer.privacy.delta = 1.1e-6;
    assert_true(hearth_offer_fixture_finish(&w.offer));
    refused(&w, HEARTH_POLICY_DELTA,
            "delta: offered 1.1e-06, this device wants at most 1e-06");
}

static void policy_refuses_understated_epsilons(void **state) {
    (void)state;
    world w;
    for (int k = 0; k < 3; k++) {
        setup(&w);
        hearth_wire_privacy *p = &w.offer.privacy;
        if (k == 0) p->epsilon_coordinator *= 0.999;
        if (k == 1) p->epsilon_release *= 0.999;
        if (k == 2) p->noise_to_signal *= 0.999;
        assert_int_equal(check(&w), HEARTH_EREFUSED);
        assert_int_equal(w.out.n, 1);
        assert_int_equal(w.out.item[0].field, HEARTH_POLICY_EPSILON_CLAIM);
    }
    w.offer.privacy.epsilon_release = (double)NAN;
    assert_int_equal(check(&w), HEARTH_EREFUSED);
}

static void policy_refuses_spent_task_budget(void **state) {
    (void)state;
    world w;
    setup(&w);
    w.sums.rho_task = w.sums.rho_lifetime = 1.4;
    w.sums.n_task = w.sums.n_lifetime = 1;
    w.sums.last_task_ms = NOW - 60 * DAY;
    assert_int_equal(check(&w), HEARTH_EREFUSED);
    assert_int_equal(w.out.n, 1);
    assert_int_equal(w.out.item[0].field, HEARTH_POLICY_EPSILON_TASK);
    char text[256], want[256];
    double eps = hearth_zcdp_epsilon(1.4 + 2.0 / 9, 1e-6);
    hearth_refusal_text(&w.out.item[0], text, sizeof(text));
    snprintf(want, sizeof(want),
             "epsilon_task: offered %.6g, this device wants at most 10", eps);
    assert_string_equal(text, want);
}

static void policy_refuses_spent_window(void **state) {
    (void)state;
    world w;
    setup(&w);
    w.sums.rho_window = w.sums.rho_lifetime = 1.4;
    assert_int_equal(check(&w), HEARTH_EREFUSED);
    assert_int_equal(w.out.n, 1);
    assert_int_equal(w.out.item[0].field, HEARTH_POLICY_EPSILON_WINDOW);
}

static void policy_refuses_spent_life(void **state) {
    (void)state;
    world w;
    setup(&w);
    w.sums.rho_lifetime = 9;
    assert_int_equal(check(&w), HEARTH_EREFUSED);
    assert_int_equal(w.out.n, 1);
    assert_int_equal(w.out.item[0].field, HEARTH_POLICY_EPSILON_LIFETIME);
}

static void policy_refuses_ninth_participation(void **state) {
    (void)state;
    world w;
    setup(&w);
    w.sums.n_task = 8;
    w.sums.last_task_ms = NOW - 60 * DAY;
    refused(&w, HEARTH_POLICY_PARTICIPATIONS,
            "participations: offered 9, this device wants at most 8");
    w.sums.n_task = 7;
    accepted(&w);
}

static void policy_refuses_short_spacing(void **state) {
    (void)state;
    world w;
    setup(&w);
    w.sums.n_task = 1;
    w.sums.last_task_ms = NOW - DAY / 2;
    refused(&w, HEARTH_POLICY_SPACING,
            "spacing: offered 12 h after the last, this device wants at least "
            "24 h");
    assert_true(hearth_refusals_pass(&w.out));
    w.sums.last_task_ms = NOW - DAY;
    accepted(&w);
}

static void policy_refuses_large_payload(void **state) {
    (void)state;
    world w;
    setup(&w);
    w.policy.dimension_max = 5;
    refused(&w, HEARTH_POLICY_DIMENSION,
            "dimension_max: offered 6, this device wants at most 5");
    w.policy.dimension_max = 6;
    accepted(&w);
}

static void policy_refuses_hopeless_noise(void **state) {
    (void)state;
    world w;
    setup(&w);
    w.offer.privacy.d = 1 << 20; /* z sqrt(d / n) = 3 * 128 */
    assert_true(hearth_offer_fixture_finish(&w.offer));
    refused(
        &w, HEARTH_POLICY_NOISE_TO_SIGNAL,
        "noise_to_signal_max: offered 388.542, this device wants at most 32");
}

static void policy_refuses_too_few_examples(void **state) {
    (void)state;
    world w;
    setup(&w);
    w.facts.n_examples = 9;
    refused(&w, HEARTH_POLICY_EXAMPLES,
            "examples: offered a task for 10 records, this device wants at "
            "most the 9 it has");
}

static void policy_refuses_without_consent(void **state) {
    (void)state;
    world w;
    setup(&w);
    w.facts.has_consent = false;
    refused(&w, HEARTH_POLICY_CONSENT,
            "consent: offered research, this device wants purposes with "
            "consent");
    memset(w.offer.purpose, 'x', sizeof(w.offer.purpose)); /* no NUL */
    assert_int_equal(check(&w), HEARTH_EREFUSED);
}

/* Records are kept for "personal" unless someone says otherwise: a task that
 * calls itself so would take them all. */
static void policy_refuses_the_personal_purpose(void **state) {
    (void)state;
    world w;
    setup(&w);
    memset(w.offer.purpose, 0, sizeof(w.offer.purpose));
    memcpy(w.offer.purpose, "personal", 8);
    refused(&w, HEARTH_POLICY_CONSENT,
            "consent: offered personal, this device wants purposes that may "
            "leave it");
    memcpy(w.offer.purpose, "\033[2Jx", 5); /* nothing for a terminal */
    refused(&w, HEARTH_POLICY_CONSENT,
            "consent: offered no word, this device wants purposes with "
            "consent");
    memset(w.offer.purpose, 0, sizeof(w.offer.purpose));
    assert_int_equal(check(&w), HEARTH_EREFUSED);
}

static void policy_refuses_metered_network(void **state) {
    (void)state;
    world w;
    setup(&w);
    w.conditions.metered = true;
    refused(&w, HEARTH_POLICY_NETWORK,
            "need_unmetered: offered metered network, this device wants "
            "unmetered only");
    assert_true(hearth_refusals_pass(&w.out));
    w.policy.need_unmetered = false;
    accepted(&w);
}

static void policy_refuses_on_battery(void **state) {
    (void)state;
    world w;
    setup(&w);
    w.conditions.charging = false;
    refused(&w, HEARTH_POLICY_CHARGING,
            "need_charging: offered on battery, this device wants only while "
            "charging");
    w.policy.need_charging = false;
    accepted(&w);
}

static void policy_refuses_low_battery(void **state) {
    (void)state;
    world w;
    setup(&w);
    w.conditions.battery_percent = 49;
    refused(&w, HEARTH_POLICY_BATTERY,
            "battery_min: offered 49, this device wants at least 50");
    w.conditions.has_battery = false;
    accepted(&w);
}

static void policy_refuses_heat(void **state) {
    (void)state;
    world w;
    setup(&w);
    w.conditions.temperature_c = 40.5;
    refused(&w, HEARTH_POLICY_TEMPERATURE,
            "temperature_max: offered 40.5, this device wants at most 40");
    w.conditions.temperature_c = (double)NAN;
    assert_int_equal(check(&w), HEARTH_EREFUSED);
    w.conditions.has_temperature = false;
    accepted(&w);
}

static void policy_lists_every_refusal(void **state) {
    (void)state;
    world w;
    setup(&w);
    hearth_conditions_worst(&w.conditions);
    w.facts.has_consent = false;
    assert_int_equal(check(&w), HEARTH_EREFUSED);
    assert_int_equal(w.out.n, 5);
    assert_true(hearth_refusals_pass(&w.out));
    w.offer.cohort_min = 2;
    assert_int_equal(check(&w), HEARTH_EREFUSED);
    assert_int_equal(w.out.n, 6);
    assert_false(hearth_refusals_pass(&w.out));
    for (int f = 0; f < HEARTH_POLICY_N_FIELDS; f++)
        assert_string_not_equal(
            hearth_policy_field_name((hearth_policy_field)f), "unknown");
    assert_string_equal(hearth_policy_field_name(HEARTH_POLICY_N_FIELDS),
                        "unknown");
}

static void policy_refuses_without_facts(void **state) {
    (void)state;
    world w;
    setup(&w);
    assert_int_equal(hearth_policy_check(NULL, &w.offer, &w.facts, &w.out), -1);
    assert_int_equal(hearth_policy_check(&w.policy, NULL, &w.facts, &w.out),
                     -1);
    assert_int_equal(hearth_policy_check(&w.policy, &w.offer, NULL, &w.out),
                     -1);
    assert_int_equal(hearth_policy_check(&w.policy, &w.offer, &w.facts, NULL),
                     -1);
    w.facts.sums = NULL;
    assert_int_equal(check(&w), HEARTH_EINVAL);
    setup(&w);
    w.facts.conditions = NULL;
    assert_int_equal(check(&w), HEARTH_EINVAL);
}

/* ---- client/delta/terms.h ---- */

static void terms_read_what_the_integers_say(void **state) {
    (void)state;
    hearth_offer o = hearth_offer_fixture();
    hearth_terms t;
    hearth_error err;
    assert_ok(hearth_terms_read(&t, &o, &err));
    assert_true(t.d == 6 && t.n_coords == 2 && t.s[0] == 100 && t.s[1] == 50);
    assert_true(t.clip == 0.5f && t.scale_exp == 10);
    assert_true(t.delta2_sq == t.bound_sq + 100 * 100 + 50 * 50);
    assert_true(t.z >= 3 * (1 - 1e-15) && t.z < 3 * (1 + 1e-5));
    assert_true(fabs(t.rho - 2 / (t.z * t.z)) < 1e-15);
    o.privacy.z = 1; /* promises less than it gives: fine, ours is charged */
    assert_ok(hearth_terms_read(&t, &o, &err));
    assert_true(t.z > 2.9);
}

static void terms_refuse_each_contradiction(void **state) {
    (void)state;
    for (int k = 0; k < 15; k++) {
        hearth_offer o = hearth_offer_fixture();
        hearth_wire_privacy *p = &o.privacy;
        hearth_status want = HEARTH_EFORMAT;
        hearth_terms t;
        hearth_error err;
        switch (k) {
        case 0:
            p->d = HEARTH_PROTO_MAX_DIM + 1;
            want = HEARTH_ETOOBIG;
            break;
        case 1:
            p->n_coords = HEARTH_SIGMA_MAX_COORDS + 1;
            want = HEARTH_ETOOBIG;
            break;
        case 2: p->d = p->n_coords = 0; break;
        case 3: p->d = 0; break;
        case 4: p->bound_squared = 0; break;
        case 5:
            p->bound_squared = HEARTH_SIGMA_MAX_BOUND_SQ + 1;
            want = HEARTH_ETOOBIG;
            break;
        case 6: p->coord_max[1] = 0; break;
        case 7: p->clip = (double)NAN; break;
        case 8: p->clip = 0; break;
        case 9: p->clip = 1e300; break;
        case 10: p->scale_exp = 41; break;
        case 11: p->sigma2_num = 0; break;
        case 12: p->sigma2_den = 0; break;
        case 13: p->z = (double)INFINITY; break;
        case 14:
            p->unit = 0;
            want = HEARTH_EUNSUPPORTED;
            break;
        }
        hearth_status st = hearth_terms_read(&t, &o, &err);
        if (st != want || err.status != want || t.rho != 0)
            fail_msg("case %d: %s", k, hearth_status_name(st));
    }
    hearth_terms t;
    assert_int_equal(hearth_terms_read(&t, NULL, NULL), HEARTH_EINVAL);
    assert_int_equal(hearth_terms_read(NULL, NULL, NULL), HEARTH_EINVAL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(policy_accepts_at_every_edge),
        cmocka_unit_test(policy_refuses_small_cohort),
        cmocka_unit_test(policy_refuses_little_noise),
        cmocka_unit_test(policy_sees_z_behind_every_clip),
        cmocka_unit_test(policy_refuses_coarse_integers),
        cmocka_unit_test(policy_refuses_contradicting_terms),
        cmocka_unit_test(policy_refuses_other_relation),
        cmocka_unit_test(policy_refuses_other_unit),
        cmocka_unit_test(policy_refuses_test_offers),
        cmocka_unit_test(policy_refuses_large_delta),
        cmocka_unit_test(policy_refuses_understated_epsilons),
        cmocka_unit_test(policy_refuses_spent_task_budget),
        cmocka_unit_test(policy_refuses_spent_window),
        cmocka_unit_test(policy_refuses_spent_life),
        cmocka_unit_test(policy_refuses_ninth_participation),
        cmocka_unit_test(policy_refuses_short_spacing),
        cmocka_unit_test(policy_refuses_large_payload),
        cmocka_unit_test(policy_refuses_hopeless_noise),
        cmocka_unit_test(policy_refuses_too_few_examples),
        cmocka_unit_test(policy_refuses_without_consent),
        cmocka_unit_test(policy_refuses_the_personal_purpose),
        cmocka_unit_test(policy_refuses_metered_network),
        cmocka_unit_test(policy_refuses_on_battery),
        cmocka_unit_test(policy_refuses_low_battery),
        cmocka_unit_test(policy_refuses_heat),
        cmocka_unit_test(policy_lists_every_refusal),
        cmocka_unit_test(policy_refuses_without_facts),
        cmocka_unit_test(terms_read_what_the_integers_say),
        cmocka_unit_test(terms_refuse_each_contradiction),
    };
    return cmocka_run_group_tests_name("client/device/policy", tests, NULL,
                                       NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_ledger.c - privacy/ledger.h: rows, chain, windows, caps. */
#include "tests/support/cmocka_all.h"

#include <math.h>

#include "privacy/accountant_zcdp.h"
#include "privacy/ledger.h"

#define DAY ((int64_t)86400000)

static const hearth_ledger_rules RULES = {.delta = 1e-6,
                                          .epsilon_task = 10,
                                          .epsilon_window = 10,
                                          .epsilon_lifetime = 30,
                                          .window_ms = 30 * DAY,
                                          .spacing_ms = DAY,
                                          .n_participations = 8};

static hearth_ledger_row charge(uint64_t seq, int64_t time_ms, double rho) {
    hearth_ledger_row r = {.seq = seq,
                           .kind = HEARTH_LEDGER_CHARGE,
                           .time_ms = time_ms,
                           .round = 7,
                           .cohort = 1,
                           .stage = 2,
                           .rho = rho,
                           .z = 2.4,
                           .d = 160};
    memcpy(r.task, "diary", 6);
    memcpy(r.coordinator, "coord.example", 14);
    memset(r.payload, 0x5a, 32);
    return r;
}

static void ledger_chain_checks(void **state) {
    (void)state;
    hearth_ledger_row a = charge(1, 1000, 0.1), b = charge(2, 1000, 0.2);
    assert_ok(hearth_ledger_seal(&a, NULL));
    assert_ok(hearth_ledger_seal(&b, a.hash));
    assert_ok(hearth_ledger_check(&a, 0, NULL, INT64_MIN));
    assert_ok(hearth_ledger_check(&b, 1, a.hash, 1000));
    /* out of order, out of link, out of time */
    assert_int_equal(hearth_ledger_check(&b, 0, NULL, INT64_MIN),
                     HEARTH_EDIGEST);
    assert_int_equal(hearth_ledger_check(&b, 1, b.hash, 1000), HEARTH_EDIGEST);
    assert_int_equal(hearth_ledger_check(&b, 2, a.hash, 1000), HEARTH_EDIGEST);
    assert_int_equal(hearth_ledger_check(&b, 1, a.hash, 1001), HEARTH_EDIGEST);
}

/* Every field is under the hash: change any, and the row is refused. */
static void ledger_hash_covers_every_field(void **state) {
    (void)state;
    hearth_ledger_row good = charge(2, 1000, 0.1);
    uint8_t prev[32];
    memset(prev, 3, 32);
    assert_ok(hearth_ledger_seal(&good, prev));
    assert_ok(hearth_ledger_check(&good, 1, prev, 0));
    for (int k = 0; k < 12; k++) {
        hearth_ledger_row r = good;
        switch (k) {
        case 0:
            r.kind = HEARTH_LEDGER_VOID;
            r.voids = 1;
            break;
        case 1: r.time_ms++; break;
        case 2: r.task[0] = 'D'; break;
        case 3: r.coordinator[0] = 'C'; break;
        case 4: r.round++; break;
        case 5: r.cohort++; break;
        case 6: r.stage++; break;
        case 7: r.rho = 0.1000001; break;
        case 8: r.z = 2.5; break;
        case 9: r.d++; break;
        case 10: r.payload[31] ^= 1; break;
        case 11: r.hash[0] ^= 1; break;
        }
        if (hearth_ledger_check(&r, 1, prev, 0) != HEARTH_EDIGEST)
            fail_msg("change %d was not noticed", k);
    }
    /* text cannot slide from one field into the next */
    hearth_ledger_row x = good, y = good;
    memcpy(x.task, "ab", 3), memcpy(x.coordinator, "c", 2);
    memcpy(y.task, "a", 2), memcpy(y.coordinator, "bc", 3);
    assert_ok(hearth_ledger_seal(&x, prev));
    assert_ok(hearth_ledger_seal(&y, prev));
    assert_memory_not_equal(x.hash, y.hash, 32);
}

static void ledger_refuses_impossible_rows(void **state) {
    (void)state;
    for (int k = 0; k < 11; k++) {
        hearth_ledger_row r = charge(2, 1000, 0.1);
        switch (k) {
        case 0: r.seq = 0; break;
        case 1: r.task[0] = 0; break;
        case 2: memset(r.task, 'x', sizeof(r.task)); break;
        case 3: memset(r.coordinator, 'x', sizeof(r.coordinator)); break;
        case 4: r.rho = (double)NAN; break;
        case 5: r.rho = 0; break;
        case 6: r.rho = -1; break;
        case 7: r.z = (double)INFINITY; break;
        case 8: r.kind = (hearth_ledger_kind)3; break;
        case 9: r.voids = 1; break;
        case 10:
            r.kind = HEARTH_LEDGER_VOID;
            r.voids = 2; /* itself */
            break;
        }
        assert_int_equal(hearth_ledger_seal(&r, NULL), HEARTH_EINVAL);
        assert_int_equal(hearth_ledger_check(&r, 1, NULL, 0), HEARTH_EFORMAT);
    }
}

static void add(hearth_ledger_sums *s, const char *task, int64_t at, double rho,
                int64_t now) {
    hearth_ledger_row r = charge(1, at, rho);
    memset(r.task, 0, sizeof(r.task));
    memcpy(r.task, task, strlen(task));
    hearth_ledger_sums_add(s, &r, true, "diary", RULES.window_ms, now);
}

static void ledger_windows_sum_rho(void **state) {
    (void)state;
    hearth_ledger_sums s;
    int64_t now = 100 * DAY;
    hearth_ledger_sums_init(&s);
    add(&s, "diary", 10 * DAY, 0.5, now);     /* long ago */
    add(&s, "diary", now - 29 * DAY, 1, now); /* in the window */
    add(&s, "other", now - 30 * DAY, 2, now); /* just out of it */
    add(&s, "other", now - 30 * DAY + 1, 4, now);
    hearth_ledger_row v = charge(9, now, 0);
    hearth_ledger_sums_add(&s, &v, false, "diary", RULES.window_ms, now);
    assert_true(s.rho_task == 1.5 && s.n_task == 2);
    assert_true(s.rho_window == 5 && s.n_window == 2);
    assert_true(s.rho_lifetime == 7.5 && s.n_lifetime == 4);
    assert_true(s.last_task_ms == now - 29 * DAY && s.last_ms == now);
}

/* One refusal for each rule, by itself, and its edge. */
static void ledger_rules_refuse_one_by_one(void **state) {
    (void)state;
    hearth_ledger_verdict v;
    const double rho = 0.5;
    const int64_t now = 400 * DAY;
    double fits = hearth_zcdp_epsilon(3 * rho, RULES.delta);
    hearth_ledger_rules r = RULES;
    hearth_ledger_sums s;
    hearth_ledger_sums_init(&s);
    assert_true(hearth_ledger_allows(&r, &s, rho, now, &v));
    assert_int_equal(v.rule, HEARTH_LEDGER_OK);

    add(&s, "diary", now - 100 * DAY, rho, now);
    add(&s, "diary", now - 90 * DAY, rho, now);
    r.epsilon_task = fits * (1 + 1e-9);
    assert_true(hearth_ledger_allows(&r, &s, rho, now, &v));
    r.epsilon_task = fits * (1 - 1e-9);
    assert_false(hearth_ledger_allows(&r, &s, rho, now, &v));
    assert_int_equal(v.rule, HEARTH_LEDGER_TASK);
    assert_true(v.would_be == fits && v.cap == r.epsilon_task);

    r = RULES;
    hearth_ledger_sums_init(&s);
    add(&s, "other", now - DAY, 2 * rho, now);
    r.epsilon_window = fits * (1 - 1e-9);
    assert_false(hearth_ledger_allows(&r, &s, rho, now, &v));
    assert_int_equal(v.rule, HEARTH_LEDGER_WINDOW);

    r = RULES;
    hearth_ledger_sums_init(&s);
    add(&s, "other", DAY, 2 * rho, now);
    r.epsilon_lifetime = fits * (1 - 1e-9);
    assert_false(hearth_ledger_allows(&r, &s, rho, now, &v));
    assert_int_equal(v.rule, HEARTH_LEDGER_LIFETIME);

    r = RULES;
    hearth_ledger_sums_init(&s);
    add(&s, "diary", DAY, 1e-3, now);
    r.n_participations = 1;
    assert_false(hearth_ledger_allows(&r, &s, 1e-3, now, &v));
    assert_int_equal(v.rule, HEARTH_LEDGER_PARTICIPATIONS);
    assert_true(v.would_be == 2 && v.cap == 1);

    r = RULES;
    hearth_ledger_sums_init(&s);
    add(&s, "diary", now - DAY + 1, 1e-3, now);
    assert_false(hearth_ledger_allows(&r, &s, 1e-3, now, &v));
    assert_int_equal(v.rule, HEARTH_LEDGER_SPACING);
    assert_true(hearth_ledger_allows(&r, &s, 1e-3, now + 1, NULL));
}

/* Eight rounds at the smallest z of the default policy do not fit; the caps
 * hold even where the count would allow more. */
static void ledger_default_caps_hold(void **state) {
    (void)state;
    double rho = hearth_zcdp_rho(1.2, HEARTH_DP_REPLACE_ONE);
    hearth_ledger_sums s;
    int taken = 0;
    hearth_ledger_sums_init(&s);
    for (int day = 1; day < 40; day++) {
        if (!hearth_ledger_allows(&RULES, &s, rho, day * DAY, NULL)) continue;
        add(&s, "diary", day * DAY, rho, day * DAY);
        taken++;
    }
    assert_int_equal(taken, 1);
    assert_false(hearth_ledger_allows(&RULES, &s, (double)NAN, 90 * DAY, NULL));
    assert_false(
        hearth_ledger_allows(&RULES, &s, (double)INFINITY, 90 * DAY, NULL));
    assert_false(hearth_ledger_allows_rule((hearth_ledger_rule)99, &RULES, &s,
                                           0, 0, NULL));
}

static void ledger_clock_set_back_reopens_nothing(void **state) {
    (void)state;
    hearth_ledger_sums s;
    hearth_ledger_sums_init(&s);
    add(&s, "diary", 500 * DAY, 1, 500 * DAY);
    assert_true(hearth_ledger_now(&s, DAY) == 500 * DAY);
    assert_true(hearth_ledger_now(&s, 501 * DAY) == 501 * DAY);
    /* spacing is not met by a clock that went back */
    assert_false(hearth_ledger_allows_rule(HEARTH_LEDGER_SPACING, &RULES, &s, 1,
                                           10 * DAY, NULL));
    /* the furthest times do not overflow */
    hearth_ledger_sums_init(&s);
    add(&s, "diary", INT64_MIN, 1, INT64_MAX);
    assert_true(s.n_window == 0);
    assert_true(hearth_ledger_allows_rule(HEARTH_LEDGER_SPACING, &RULES, &s, 1,
                                          INT64_MAX, NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ledger_chain_checks),
        cmocka_unit_test(ledger_hash_covers_every_field),
        cmocka_unit_test(ledger_refuses_impossible_rows),
        cmocka_unit_test(ledger_windows_sum_rho),
        cmocka_unit_test(ledger_rules_refuse_one_by_one),
        cmocka_unit_test(ledger_default_caps_hold),
        cmocka_unit_test(ledger_clock_set_back_reopens_nothing),
    };
    return cmocka_run_group_tests_name("privacy/ledger", tests, NULL, NULL);
}

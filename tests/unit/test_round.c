/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_round.c - coordinator/{cohort,round,lora_rules,server_opt,
 * routes}.h: the parts without a disk. */
#include "coordinator/lora_rules.h"
#include "coordinator/round.h"
#include "coordinator/routes.h"
#include "coordinator/server_opt.h"
#include "tests/support/cmocka_all.h"

#include <math.h>

static hearth_round_spec spec_of(uint32_t min, uint32_t max, uint64_t t0,
                                 uint64_t t1) {
    hearth_round_spec s = {
        .n_cohorts = 1, .n_stages = 1, .max_invited = max + 1};
    s.stage[0] = (hearth_stage_window){min, max, t0, t1};
    return s;
}

static uint32_t at(const hearth_round_spec *s, hearth_round *r, uint32_t kind,
                   uint64_t now, hearth_round_actions *act) {
    hearth_round_event ev = {.kind = kind, .now_ms = now, .stage = r->stage};
    hearth_round_actions ours;
    if (!act) act = &ours;
    *r = hearth_round_step(s, *r, &ev, act);
    return act->refuse;
}

static void commit(const hearth_round_spec *s, hearth_round *r, uint64_t now,
                   hearth_round_actions *act) {
    assert_int_equal(at(s, r, HEARTH_ROUND_EV_COMMIT, now, NULL), 0);
    assert_int_equal(at(s, r, HEARTH_ROUND_EV_COMMITTED, now, act), 0);
}

static void round_fixes_after_min_time_with_min_count(void **state) {
    (void)state;
    hearth_round_spec s = spec_of(2, 4, 100, 1000);
    hearth_round r = {0};
    hearth_round_actions act;
    assert_ok(hearth_round_spec_check(&s));
    assert_int_equal(at(&s, &r, HEARTH_ROUND_EV_OPEN, 50, &act), 0);
    assert_int_equal(act.wake_ms, 1050);
    commit(&s, &r, 60, NULL);
    commit(&s, &r, 70, &act);
    assert_false(act.fix);
    assert_int_equal(act.wake_ms, 150); /* may end when time.min is over */
    (void)at(&s, &r, HEARTH_ROUND_EV_TICK, 149, &act);
    assert_false(act.fix);
    (void)at(&s, &r, HEARTH_ROUND_EV_TICK, 150, &act);
    assert_true(act.fix);
    assert_int_equal(r.phase, HEARTH_ROUND_FIXING);
    assert_int_equal(act.wake_ms, UINT64_MAX);
    assert_int_equal(at(&s, &r, HEARTH_ROUND_EV_COMMIT, 151, NULL),
                     HEARTH_REASON_CLOSED);
    assert_int_equal(at(&s, &r, HEARTH_ROUND_EV_RELEASE, 152, &act), 0);
    assert_int_equal(r.phase, HEARTH_ROUND_RELEASED);
    assert_int_equal(at(&s, &r, HEARTH_ROUND_EV_FAIL, 152, &act),
                     HEARTH_REASON_CLOSED);
}

static void round_fixes_at_max_count_and_fails_at_max_time(void **state) {
    (void)state;
    hearth_round_spec s = spec_of(2, 2, 100, 1000);
    hearth_round r = {0};
    hearth_round_actions act;
    (void)at(&s, &r, HEARTH_ROUND_EV_OPEN, 0, NULL);
    commit(&s, &r, 1, NULL);
    assert_int_equal(at(&s, &r, HEARTH_ROUND_EV_BEGIN, 1, NULL), 0);
    assert_int_equal(at(&s, &r, HEARTH_ROUND_EV_COMMIT, 2, NULL), 0);
    assert_int_equal(at(&s, &r, HEARTH_ROUND_EV_BEGIN, 2, NULL),
                     HEARTH_REASON_FULL);
    assert_int_equal(at(&s, &r, HEARTH_ROUND_EV_COMMIT, 2, NULL),
                     HEARTH_REASON_FULL);
    (void)at(&s, &r, HEARTH_ROUND_EV_COMMITTED, 3, &act);
    assert_true(act.fix);

    r = (hearth_round){0};
    (void)at(&s, &r, HEARTH_ROUND_EV_OPEN, 0, NULL);
    commit(&s, &r, 1, NULL);
    /* One is pending at the deadline: wait for it, take no other. */
    assert_int_equal(at(&s, &r, HEARTH_ROUND_EV_COMMIT, 999, NULL), 0);
    (void)at(&s, &r, HEARTH_ROUND_EV_TICK, 1000, &act);
    assert_true(!act.fail && !act.fix);
    assert_int_equal(at(&s, &r, HEARTH_ROUND_EV_COMMIT, 1001, NULL),
                     HEARTH_REASON_CLOSED);
    hearth_round kept = r;
    (void)at(&s, &r, HEARTH_ROUND_EV_COMMITTED, 1002, &act);
    assert_true(act.fix);
    r = kept;
    (void)at(&s, &r, HEARTH_ROUND_EV_UNCOMMIT, 1002, &act);
    assert_true(act.fail);
    assert_int_equal(r.phase, HEARTH_ROUND_FAILED);
    assert_int_equal(at(&s, &r, HEARTH_ROUND_EV_OPEN, 1003, NULL),
                     HEARTH_REASON_CLOSED);
}

static void round_invites_fairly_and_takes_places_back(void **state) {
    (void)state;
    hearth_round_spec s = spec_of(1, 2, 10, 1000);
    hearth_round r = {0};
    hearth_round_actions act;
    s.n_cohorts = 2;
    (void)at(&s, &r, HEARTH_ROUND_EV_OPEN, 0, NULL);
    for (uint32_t i = 0; i < 6; i++) {
        assert_int_equal(at(&s, &r, HEARTH_ROUND_EV_INVITE, 1, &act), 0);
        assert_int_equal(act.cohort, i % 2);
    }
    assert_int_equal(at(&s, &r, HEARTH_ROUND_EV_INVITE, 1, &act),
                     HEARTH_REASON_FULL);
    assert_int_equal(at(&s, &r, HEARTH_ROUND_EV_ABORT, 1, NULL), 0);
    assert_int_equal(at(&s, &r, HEARTH_ROUND_EV_INVITE, 1, &act), 0);
    assert_int_equal(act.cohort, 0);
    assert_int_equal(at(&s, &r, 99, 1, NULL), HEARTH_REASON_BAD_MESSAGE);
    /* Both cohorts must be fixed; one that fails fails the round. */
    commit(&s, &r, 2, &act);
    (void)at(&s, &r, HEARTH_ROUND_EV_TICK, 500, &act);
    assert_true(!act.fix && r.cohort[0].phase == HEARTH_COHORT_FIXED);
    (void)at(&s, &r, HEARTH_ROUND_EV_TICK, 1000, &act);
    assert_true(act.fail);
}

static void round_runs_stages_in_order(void **state) {
    (void)state;
    hearth_round_spec s = spec_of(1, 1, 0, 100);
    hearth_round r = {0};
    hearth_round_actions act;
    s.n_stages = 2;
    s.stage[1] = (hearth_stage_window){1, 1, 0, 50};
    (void)at(&s, &r, HEARTH_ROUND_EV_OPEN, 0, NULL);
    commit(&s, &r, 10, &act);
    assert_true(act.next_stage && !act.fix);
    assert_int_equal(r.stage, 1);
    assert_int_equal(hearth_round_deadline(&s, &r), 60);
    hearth_round_event late = {.kind = HEARTH_ROUND_EV_COMMIT, .now_ms = 11};
    assert_int_equal(hearth_round_step(&s, r, &late, &act).stage, 1);
    assert_int_equal(act.refuse, HEARTH_REASON_CLOSED); /* of stage 0 */
    assert_int_equal(at(&s, &r, HEARTH_ROUND_EV_INVITE, 11, NULL),
                     HEARTH_REASON_CLOSED);
    commit(&s, &r, 12, &act);
    assert_true(act.fix);
}

static void round_stops_early_and_ignores_a_clock_that_goes_back(void **state) {
    (void)state;
    hearth_round_spec s = spec_of(1, 9, 500, 1000);
    hearth_round r = {0}, empty;
    hearth_round_actions act;
    (void)at(&s, &r, HEARTH_ROUND_EV_OPEN, 5000, NULL);
    empty = r;
    commit(&s, &r, 5001, NULL);
    (void)at(&s, &r, HEARTH_ROUND_EV_TICK, 10, &act);
    assert_true(r.now_ms == 5001 && !act.fail);
    (void)at(&s, &r, HEARTH_ROUND_EV_STOP, 5002, &act);
    assert_true(act.fix);
    (void)at(&s, &empty, HEARTH_ROUND_EV_STOP, 5002, &act);
    assert_true(act.fail);
}

static void round_spec_is_checked(void **state) {
    (void)state;
    hearth_round_spec s = spec_of(1, 2, 0, 10), bad;
    assert_ok(hearth_round_spec_check(&s));
    assert_int_equal(hearth_round_spec_check(NULL), HEARTH_EINVAL);
#define BAD(field, value)                                                      \
    bad = s;                                                                   \
    bad.field = (value);                                                       \
    assert_int_equal(hearth_round_spec_check(&bad), HEARTH_EINVAL)
    BAD(n_cohorts, 0);
    BAD(n_cohorts, HEARTH_ROUND_MAX_COHORTS + 1);
    BAD(n_stages, 0);
    BAD(n_stages, HEARTH_PROTO_MAX_STAGES + 1);
    BAD(max_invited, 0);
    BAD(stage[0].count_min, 0);
    BAD(stage[0].count_min, 3);
    BAD(stage[0].count_max, HEARTH_PROTO_MAX_COHORT + 1);
    BAD(stage[0].time_min_ms, 11);
    BAD(stage[0].time_max_ms, 0);
    assert_string_equal(hearth_round_phase_name(HEARTH_ROUND_FIXING), "fixing");
    assert_string_equal(hearth_round_phase_name(99), "?");
}

static void rules_say_what_goes_together(void **state) {
    (void)state;
    hearth_error err;
    const hearth_lora_rule *ffa = hearth_lora_rule_find("ffa");
    const hearth_lora_rule *it = hearth_lora_rule_get(HEARTH_RULE_FEDIT);
    assert_ptr_equal(ffa, hearth_lora_rule_get(HEARTH_RULE_FFA));
    assert_int_equal(ffa->part, HEARTH_PART_B);
    assert_int_equal(it->part, HEARTH_PART_AB);
    assert_true(ffa->freeze_a && !it->freeze_a);
    assert_ok(hearth_lora_rule_check(ffa, HEARTH_MODE_LOCAL, &err));
    assert_ok(hearth_lora_rule_check(it, HEARTH_MODE_LOCAL, &err));
    assert_int_equal(hearth_lora_rule_check(ffa, HEARTH_MODE_DISTRIBUTED, &err),
                     HEARTH_EUNSUPPORTED);
    assert_int_equal(hearth_lora_rule_check(ffa, 9, &err), HEARTH_EINVAL);
    assert_int_equal(hearth_lora_rule_check(NULL, 1, &err), HEARTH_EINVAL);
    const char *const later[] = {"rolora", "fedsa", "median", "normbound",
                                 "flora",  "fedex", "hetlora"};
    for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++)
        assert_int_equal(hearth_lora_rule_check(hearth_lora_rule_find(later[i]),
                                                HEARTH_MODE_LOCAL, &err),
                         HEARTH_EUNSUPPORTED);
    assert_null(hearth_lora_rule_find("none"));
    assert_null(hearth_lora_rule_find(NULL));
    assert_null(hearth_lora_rule_get(0));
}

/* Averaging A and B apart is not averaging B A: by how much, for one number. */
static void fedit_average_is_inexact_where_ffa_is_exact(void **state) {
    (void)state;
    hearth_server_opt o = {0};
    const float start[2] = {0, 0}; /* one coordinate of A, one of B */
    const int64_t both[2] = {(1 + 3) * 1024, (2 + 6) * 1024};
    const int64_t b_only[1] = {(2 + 6) * 1024};
    float ab[2], b[1];
    assert_ok(hearth_server_opt_step(&o, ab, start, both, 2, 2, 10, 1));
    assert_true(ab[0] == 2 && ab[1] == 4);
    assert_true(ab[0] * ab[1] == 8); /* the mean of 1*2 and 3*6 is 10 */
    assert_ok(hearth_server_opt_step(&o, b, start, b_only, 1, 2, 10, 1));
    assert_true(3 * b[0] == (3 * 2 + 3 * 6) / 2); /* with A fixed at 3 */
    assert_int_equal(o.steps, 2);
}

static void server_step_refuses_and_keeps(void **state) {
    (void)state;
    hearth_server_opt o = {0}, back;
    float v[2] = {1, 3e38f}, next[2] = {7, 7};
    const int64_t sum[2] = {1, INT64_C(1) << 52};
    uint8_t bytes[HEARTH_SERVER_OPT_BYTES];
    assert_int_equal(hearth_server_opt_step(NULL, next, v, sum, 2, 1, 0, 1),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_server_opt_step(&o, NULL, v, sum, 2, 1, 0, 1),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_server_opt_step(&o, next, v, sum, 2, 0, 0, 1),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_server_opt_step(&o, next, v, sum, 2, 1, 0, 0),
                     HEARTH_EINVAL);
    assert_int_equal(
        hearth_server_opt_step(&o, next, v, sum, 2, 1, 0, (double)NAN),
        HEARTH_EINVAL);
    assert_int_equal(hearth_server_opt_step(&o, next, v, sum, 2, 1, -30, 1e30),
                     HEARTH_ENONFINITE);
    assert_true(next[0] == 7 && next[1] == 7 && o.steps == 0);
    assert_ok(
        hearth_server_opt_step(&o, v, v, sum, 1, 4, -1, 2)); /* in place */
    assert_true(v[0] == 2);
    size_t n = hearth_server_opt_save(&o, bytes);
    assert_int_equal(n, 20);
    assert_ok(hearth_server_opt_load(&back, bytes, n));
    assert_int_equal(back.steps, 1);
    bytes[4] = 2;
    assert_int_equal(hearth_server_opt_load(&back, bytes, n), HEARTH_EVERSION);
    bytes[4] = 1;
    bytes[8] = 9;
    assert_int_equal(hearth_server_opt_load(&back, bytes, n), HEARTH_EFORMAT);
    assert_int_equal(hearth_server_opt_load(&back, bytes, 3), HEARTH_EFORMAT);
    bytes[0] = 'x';
    assert_int_equal(hearth_server_opt_load(&back, bytes, n), HEARTH_EFORMAT);
}

static void routes_match_exactly(void **state) {
    (void)state;
    static const char token[] =
        "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    static const struct {
        const char *method, *path;
        uint32_t kind;
    } t[] = {
        {"GET", "/v1/keyset", HEARTH_ROUTE_KEYSET},
        {"POST", "/v1/keyset", HEARTH_ROUTE_METHOD},
        {"POST", "/v1/enroll", HEARTH_ROUTE_ENROLL},
        {"POST", "/v1/renew", HEARTH_ROUTE_RENEW},
        {"POST", "/v1/checkin", HEARTH_ROUTE_CHECKIN},
        {"GET", "/v1/releases/a-b/7/manifest", HEARTH_ROUTE_MANIFEST},
        {"GET", "/v1/releases/a-b/latest/payload", HEARTH_ROUTE_PAYLOAD},
        {"POST", "/v1/releases/a-b/7/payload", HEARTH_ROUTE_METHOD},
        {"GET", "/v1/releases/a-b/07/payload", HEARTH_ROUTE_NONE},
        {"GET", "/v1/releases/a-b/0/payload", HEARTH_ROUTE_NONE},
        {"GET", "/v1/releases/a-b/99999999999999999/payload", 0},
        {"GET", "/v1/releases/A/7/payload", HEARTH_ROUTE_NONE},
        {"GET", "/v1/releases//7/payload", HEARTH_ROUTE_NONE},
        {"GET", "/v1/releases/a/7/payload/", HEARTH_ROUTE_NONE},
        {"GET", "/v1/releases/a/7", HEARTH_ROUTE_NONE},
        {"GET", "/v1/releases/a", HEARTH_ROUTE_NONE},
        {"GET", "/v1/releases/../7/payload", HEARTH_ROUTE_NONE},
        {"GET", "/v1/keyset/", HEARTH_ROUTE_NONE},
        {"GET", "", HEARTH_ROUTE_NONE},
        {"POST", "/v1/uploads/xx", HEARTH_ROUTE_NONE},
    };
    hearth_route r;
    for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        hearth_route_parse(&r, t[i].method, t[i].path);
        if (r.kind != t[i].kind) fail_msg("%s %s", t[i].method, t[i].path);
    }
    static const struct {
        const char *method, *tail;
        uint32_t kind;
    } u[] = {
        {"POST", "", HEARTH_ROUTE_BEGIN},
        {"HEAD", "", HEARTH_ROUTE_OFFSET},
        {"PATCH", "", HEARTH_ROUTE_APPEND},
        {"GET", "", HEARTH_ROUTE_METHOD},
        {"POST", "/commit", HEARTH_ROUTE_COMMIT},
        {"POST", "/abort", HEARTH_ROUTE_ABORT},
        {"PATCH", "/abort", HEARTH_ROUTE_METHOD},
        {"POST", "/other", HEARTH_ROUTE_NONE},
    };
    for (size_t i = 0; i < sizeof(u) / sizeof(u[0]); i++) {
        char path[128];
        snprintf(path, sizeof(path), "/v1/uploads/%s%s", token, u[i].tail);
        hearth_route_parse(&r, u[i].method, path);
        if (r.kind != u[i].kind) fail_msg("%s %s", u[i].method, path);
        assert_int_equal(r.token.bytes[31], 0xff);
    }
    hearth_route_parse(&r, NULL, "/v1/keyset");
    assert_int_equal(r.kind, 0);
    assert_int_equal(hearth_route_http_status(HEARTH_REASON_NONE), 200);
    assert_int_equal(hearth_route_http_status(HEARTH_REASON_EXPIRED), 403);
    assert_int_equal(hearth_route_http_status(12345), 500);
}

static void ranges_are_read(void **state) {
    (void)state;
    uint64_t a, n;
    assert_ok(hearth_route_range("bytes=0-", 10, &a, &n));
    assert_true(a == 0 && n == 10);
    assert_ok(hearth_route_range("bytes=3-99", 10, &a, &n));
    assert_true(a == 3 && n == 7);
    assert_int_equal(hearth_route_range("bytes=10-", 10, &a, &n),
                     HEARTH_EINVAL);
    const char *const bad[] = {"bytes=5-4", "bytes=-5", "bytes=a-b",
                               "items=1-",  "bytes=5",  "bytes=1-2,4-5"};
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(hearth_route_range(bad[i], 10, &a, &n),
                         HEARTH_EFORMAT);
    assert_int_equal(hearth_route_range(NULL, 10, &a, &n), HEARTH_EFORMAT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_fixes_after_min_time_with_min_count),
        cmocka_unit_test(round_fixes_at_max_count_and_fails_at_max_time),
        cmocka_unit_test(round_invites_fairly_and_takes_places_back),
        cmocka_unit_test(round_runs_stages_in_order),
        cmocka_unit_test(round_stops_early_and_ignores_a_clock_that_goes_back),
        cmocka_unit_test(round_spec_is_checked),
        cmocka_unit_test(rules_say_what_goes_together),
        cmocka_unit_test(fedit_average_is_inexact_where_ffa_is_exact),
        cmocka_unit_test(server_step_refuses_and_keeps),
        cmocka_unit_test(routes_match_exactly),
        cmocka_unit_test(ranges_are_read),
    };
    return cmocka_run_group_tests_name("coordinator/round", tests, NULL, NULL);
}

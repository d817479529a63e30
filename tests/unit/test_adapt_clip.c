/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_adapt_clip.c - a clip that follows a quantile of the norms:
 * the step, the settings, what z and the epsilons make of it, and where the
 * clip is after rounds, restarts, kills and rollbacks. */
#include <float.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/delta/terms.h"
#include "coordinator/adapt_clip.h"
#include "coordinator/server_opt.h"
#include "privacy/accountant_zcdp.h"
#include "privacy/epsilons.h"
#include "privacy/sigma.h"
#include "tests/support/coord_kit.h"

static const hearth_adapt_clip A = {true, 0.5,        0.5,      0.2,
                                    0.1,  0.5 / 64.0, 0.5 * 64, 0};

static double after(const hearth_adapt_clip *a, double clip, double share) {
    return hearth_adapt_clip_next(a, clip, (int64_t)(share * 1e6), 1000, 1000);
}

static void clip_moves_towards_the_quantile(void **state) {
    (void)state;
    const float all = (float)(0.5 * exp(-0.1)), none = (float)(0.5 * exp(0.1));
    assert_true(fabs(after(&A, 0.5, 1) / (double)all - 1) < 1e-6);
    assert_true(fabs(after(&A, 0.5, 0) / (double)none - 1) < 1e-6);
    assert_true(after(&A, 0.5, 0.5) == 0.5);
    assert_true(after(&A, 0.5, 0.6) < 0.5 && after(&A, 0.5, 0.4) > 0.5);
    /* Noise beyond [0, 1] moves it no further than all or none. */
    assert_true(after(&A, 0.5, 9) == after(&A, 0.5, 1));
    assert_true(after(&A, 0.5, -9) == after(&A, 0.5, 0));
    /* What is kept is a float, as the wire wants it. */
    double c = after(&A, 0.3, 0.2);
    assert_true(c == (double)(float)c);
}

static void clip_stays_within_its_limits(void **state) {
    (void)state;
    double up = A.top, down = A.floor;
    assert_true(after(&A, up, 0) == (double)(float)up);
    assert_true(after(&A, down, 1) == (double)(float)down);
    assert_true(hearth_adapt_clip_within(&A, 1e30) == A.top);
    assert_true(hearth_adapt_clip_within(&A, 1e-30) == A.floor);
    assert_true(hearth_adapt_clip_within(&A, 0) == A.start);
    assert_true(hearth_adapt_clip_within(&A, (double)NAN) == A.start);
    assert_true(hearth_adapt_clip_next(&A, 0.4, 5, 0, 3) == (double)0.4f);
    assert_true(hearth_adapt_clip_next(&A, 0.4, 5, 3, 0) == (double)0.4f);
    assert_int_equal(hearth_adapt_clip_coord(&A, 0), 0);
    assert_int_equal(hearth_adapt_clip_coord(&A, 1), 1);
    assert_int_equal(hearth_adapt_clip_coord(&A, 900 * 900), 300);
    assert_int_equal(hearth_adapt_clip_coord(&A, (uint64_t)1 << 60),
                     HEARTH_SIGMA_MAX_COORD);
    hearth_adapt_clip bad = A;
    bad.share = 1;
    assert_int_equal(hearth_adapt_clip_coord(&bad, 900), 0);
    bad.freeze = 3;
    assert_true(hearth_adapt_clip_asks(&bad, 2));
    assert_false(hearth_adapt_clip_asks(&bad, 3));
    bad.on = false;
    assert_false(hearth_adapt_clip_asks(&bad, 0));
}

/* Norms 1 .. 100 and no noise: from far below and far above the clip comes to
 * rest at the quantile, within what one step moves it. */
static void clip_converges_to_the_quantile(void **state) {
    (void)state;
    const double quantile[] = {0.5, 0.9, 0.1}, start[] = {0.02, 4000};
    for (int q = 0; q < 3; q++)
        for (int s = 0; s < 2; s++) {
            hearth_adapt_clip a = {true, 1,    quantile[q], 0.2,
                                   0.1,  1e-3, 1e5,         0};
            double clip = start[s];
            for (int round = 0; round < 400; round++) {
                int64_t within = 0;
                for (int norm = 1; norm <= 100; norm++) within += norm <= clip;
                clip = hearth_adapt_clip_next(&a, clip, within * 7, 7, 100);
            }
            assert_true(fabs(clip - 100 * quantile[q]) < 3);
        }
}

/* ---- settings ---- */

static hearth_status parse(hearth_task *t, const char *extra,
                           hearth_error *err) {
    char ini[2048];
    const uint8_t seed[32] = {9};
    kit_ini(ini, sizeof(ini), "demo", "16,32", "60s,10m", 5, extra);
    return hearth_task_parse(t, "T.ini", ini, strlen(ini), seed, NULL, err);
}

static void settings_are_strict(void **state) {
    (void)state;
    static const struct {
        const char *text, *word;
        hearth_status want;
    } bad[] = {
        {"[clip]\nrate = 0.2\n", "without a quantile", HEARTH_EFORMAT},
        {"[clip]\nfreeze = 2\n", "without a quantile", HEARTH_EFORMAT},
        {"[clip]\nquantile = 0\n", "quantile", HEARTH_EFORMAT},
        {"[clip]\nquantile = 1\n", "quantile", HEARTH_EFORMAT},
        {"[clip]\nquantile = nan\n", "quantile", HEARTH_EFORMAT},
        {"[clip]\nquantile = 0.5\nrate = 3\n", "rate", HEARTH_EFORMAT},
        {"[clip]\nquantile = 0.5\nshare = 0.6\n", "share", HEARTH_EFORMAT},
        {"[clip]\nquantile = 0.5\nfloor = 0.6\n", "above", HEARTH_EFORMAT},
        {"[clip]\nquantile = 0.5\nceiling = 0.4\n", "below", HEARTH_EFORMAT},
        {"[clip]\nquantile = 0.5\nfreeze = -1\n", "freeze", HEARTH_EFORMAT},
        {"[clip]\nquantile = 0.5\nspeed = 1\n", "speed", HEARTH_EFORMAT},
        {"[clip]\nquantile = 0.5\nceiling = 1e9\n", "ceiling", HEARTH_ETOOBIG},
    };
    hearth_task t;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        hearth_error err;
        hearth_error_clear(&err);
        assert_int_equal(parse(&t, bad[i].text, &err), bad[i].want);
        if (!strstr(err.text, bad[i].word))
            fail_msg("'%s' does not say %s", err.text, bad[i].word);
    }
    assert_ok(parse(&t, "[clip]\nquantile = 0.5\n", NULL));
    assert_true(t.adapt.rate == 0.2 && t.adapt.share == 0.1 &&
                t.adapt.freeze == 0 && t.adapt.start == 0.5);
    assert_true(t.adapt.floor == 0.5 / 64 && t.adapt.top == 32);
    assert_ok(parse(&t, NULL, NULL));
    assert_false(t.adapt.on);
    assert_int_equal(t.privacy.n_coords, 0);
}

/* What a device makes of the terms of a round. */
static hearth_terms terms_of(const hearth_task *t) {
    hearth_offer o;
    hearth_terms out;
    memset(&o, 0, sizeof(o));
    o.privacy = t->privacy;
    assert_ok(hearth_terms_read(&out, &o, NULL));
    return out;
}

/* The clip changes, the bit comes and goes: z, rho and both epsilons stay.
 * 9.84 at z 2.4, 5 rounds, delta 1e-5 is the figure of PRIVACY.md. */
static void epsilon_does_not_see_the_clip(void **state) {
    (void)state;
    hearth_task fixed, t;
    assert_ok(parse(&fixed, NULL, NULL));
    assert_ok(parse(&t, "[clip]\nquantile = 0.5\nfreeze = 4\n", NULL));
    const double clip[] = {0.5, 0.25, 0.01, 3, 31.5, 1e9};
    for (size_t i = 0; i < sizeof(clip) / sizeof(*clip); i++) {
        assert_ok(hearth_task_set_clip(&t, clip[i], 1, NULL, NULL));
        const hearth_wire_privacy *p = &t.privacy;
        const hearth_terms at = terms_of(&t);
        assert_true(p->clip == (clip[i] < 32 ? (double)(float)clip[i] : 32));
        assert_true(at.clip_bit && p->n_coords == 1);
        uint64_t s = p->coord_max[0];
        assert_true(p->delta2_squared == p->bound_squared + s * s);
        double share = (double)(s * s) / (double)p->delta2_squared;
        assert_true(share <= 0.1 && (share > 0.095 || s < 20));
        assert_true(p->z == 2.4 && at.z >= 2.4 && at.z < 2.4 * 1.0001);
        assert_true(fabs(at.rho - 2 / (2.4 * 2.4)) < 1e-4);
        assert_true(p->epsilon_coordinator ==
                        fixed.privacy.epsilon_coordinator &&
                    p->epsilon_release == fixed.privacy.epsilon_release);
        assert_true(fabs(hearth_zcdp_epsilon(5 * at.rho, 1e-5) - 9.84) < 5e-3);
        assert_true(
            fabs(p->noise_to_signal / fixed.privacy.noise_to_signal /
                     hearth_noise_spread(p->bound_squared, p->delta2_squared) -
                 1) < 1e-12);
        assert_int_equal(t.payload_bytes, 4 * (KIT_D + 1));
    }
    /* Frozen: no bit, and the task is the one that never had one. */
    assert_ok(hearth_task_set_clip(&t, 0.5, 4, NULL, NULL));
    assert_memory_equal(&t.privacy, &fixed.privacy, sizeof(t.privacy));
    assert_memory_equal(&t.space, &fixed.space, sizeof(t.space));
    assert_int_equal(t.payload_bytes, fixed.payload_bytes);
    /* A fixed clip can not be moved. */
    assert_ok(hearth_task_set_clip(&fixed, 3, 1, NULL, NULL));
    assert_true(fixed.privacy.clip == 0.5);
}

static void state_is_read_back_or_refused(void **state) {
    (void)state;
    hearth_server_opt o = {7, 0.25}, back;
    uint8_t b[HEARTH_SERVER_OPT_BYTES];
    assert_int_equal(hearth_server_opt_save(&o, b), 28);
    assert_ok(hearth_server_opt_load(&back, b, 28));
    assert_true(back.steps == 7 && back.clip == 0.25);
    assert_int_equal(hearth_server_opt_load(&back, b, 20), HEARTH_EFORMAT);
    assert_true(back.steps == 0 && back.clip == 0);
    for (int i = 20; i < 28; i++) b[i] = 0xff; /* NaN */
    assert_int_equal(hearth_server_opt_load(&back, b, 28), HEARTH_EFORMAT);
    for (int i = 20; i < 28; i++) b[i] = 0;
    assert_int_equal(hearth_server_opt_load(&back, b, 28), HEARTH_EFORMAT);
    o.clip = 0;
    assert_int_equal(hearth_server_opt_save(&o, b), 20);
    assert_ok(hearth_server_opt_load(&back, b, 20));
    assert_true(back.clip == 0);
    assert_int_equal(hearth_server_opt_load(&back, b, 28), HEARTH_EFORMAT);
}

/* ---- rounds ---- */

#define CLIP_TASK "[clip]\nquantile = 0.5\nrate = 0.2\n"

static void open_round_kit(kit *k, const char *extra) {
    kit_open(k, NULL);
    kit_task_extra(k, "demo", "2,2", "0s,10m", 9, extra);
}

/* Upload a unit vector and this value of the bit's coordinate, if the offer has one. */
static int send_bit(kit *k, const hearth_offer *o, int32_t bit) {
    uint8_t bytes[4 * (KIT_D + 1)] = {0};
    size_t n = 4 * (KIT_D + o->privacy.n_coords);
    kit_reply r = {0};
    bytes[0] = 1; /* so that every release has a content of its own */
    hearth_store_le32(bytes + 4 * KIT_D, (uint32_t)bit);
    int status = kit_begin(k, o, bytes, n, &r);
    if (status == 200) status = kit_append(k, o, 0, bytes, n, &r);
    if (status == 200) status = kit_commit(k, o, bytes, n, &r);
    kit_reply_free(&r);
    return status;
}

/* One round of two devices, each with this share of s; the clip it had. */
static double play_round(kit *k, double share) {
    static const char *const who[] = {"a", "b"};
    hearth_offer o;
    for (int i = 0; i < 2; i++) {
        assert_true(kit_offer(k, who[i], &o));
        int32_t bit = (int32_t)lround(share * o.privacy.coord_max[0]);
        assert_int_equal(send_bit(k, &o, bit), 200);
    }
    return o.privacy.clip;
}

static double now(kit *k) {
    hearth_offer o;
    assert_true(kit_offer(k, "a", &o));
    assert_true(o.privacy.z == 2.4);
    return o.privacy.clip;
}

static bool close_to(double a, double b) {
    return fabs(a / b - 1) < 1e-5;
}

static void rounds_move_the_clip(void **state) {
    (void)state;
    kit k;
    hearth_release rel;
    hearth_coord_task_status ts;
    float v[KIT_D];
    open_round_kit(&k, CLIP_TASK);
    assert_true(play_round(&k, 1) == 0.5); /* all within: shrink */
    assert_true(close_to(now(&k), 0.5 * exp(-0.1)));
    assert_true(close_to(play_round(&k, 0), 0.5 * exp(-0.1)));
    assert_true(close_to(now(&k), 0.5)); /* none: grow */
    (void)play_round(&k, 3);             /* noise, cut to [0, 1] */
    assert_true(close_to(now(&k), 0.5 * exp(-0.1)));
    /* A release says with which clip it was made. */
    kit_release(&k, "demo", 0, &rel, v);
    assert_true(close_to(rel.privacy.clip, 0.5));
    assert_int_equal(rel.privacy.n_coords, 1);
    for (size_t i = 1; i < KIT_D; i++) assert_true(v[i] == 0); /* not the bit */
    assert_ok(hearth_coord_task_get_status(k.c, "demo", &ts));
    assert_true(close_to(ts.clip, 0.5 * exp(-0.1)) && ts.noise_to_signal > 0);
    kit_close(&k);
}

static void a_round_keeps_its_clip(void **state) {
    (void)state;
    kit k;
    hearth_offer before, again;
    open_round_kit(&k, CLIP_TASK);
    (void)play_round(&k, 1);
    assert_true(kit_offer(&k, "a", &before));
    kit_restart(&k);
    assert_true(kit_offer(&k, "a", &again));
    assert_memory_equal(&before.privacy, &again.privacy,
                        sizeof(before.privacy));
    assert_memory_equal(&before.space, &again.space, sizeof(before.space));
    assert_int_equal(send_bit(&k, &again, 0), 200);
    /* A round that fails moves nothing. */
    kit_advance(&k, 601000);
    kit_advance(&k, 2000);
    assert_true(now(&k) == before.privacy.clip);
    assert_true(kit_offer(&k, "a", &again));
    assert_int_equal(again.round, before.round + 1);
    kit_close(&k);
}

static void frozen_clip_has_no_bit(void **state) {
    (void)state;
    kit k;
    hearth_offer o;
    open_round_kit(&k, CLIP_TASK "freeze = 2\n");
    (void)play_round(&k, 0);
    (void)play_round(&k, 0);
    for (int i = 0; i < 2; i++) {
        assert_true(kit_offer(&k, "a", &o));
        assert_int_equal(o.privacy.n_coords, 0);
        assert_true(o.privacy.delta2_squared == o.privacy.bound_squared);
        assert_true(close_to(play_round(&k, 0), 0.5 * exp(0.2)));
        kit_restart(&k);
    }
    kit_close(&k);
}

/* The clip is part of a version: an older version brings its own back. */
static void rollback_takes_the_clip_along(void **state) {
    (void)state;
    kit k;
    hearth_coord_store *s;
    hearth_release rel;
    uint64_t seq = 0;
    char path[256];
    float v[KIT_D];
    open_round_kit(&k, CLIP_TASK);
    (void)play_round(&k, 0); /* release 2 */
    (void)play_round(&k, 0); /* release 3 */
    assert_true(close_to(now(&k), 0.5 * exp(0.2)));
    assert_ok(hearth_coord_db_path(path, sizeof(path), k.state));
    assert_ok(
        hearth_coord_store_open(&s, path, HEARTH_STORE_DURABLE, NULL, NULL));
    hearth_task_env env = kit_env(&k, s);
    assert_ok(hearth_registry_rollback(&env, "demo", 2, &seq, &k.err));
    hearth_coord_store_close(s);
    kit_release(&k, "demo", 4, &rel, v);
    assert_true(close_to(rel.privacy.clip, 0.5)); /* of the round behind it */
    kit_advance(&k, 601000);                      /* the open round fails */
    kit_advance(&k, 2000);
    assert_true(close_to(now(&k), 0.5 * exp(0.1)));
    kit_close(&k);
}

#ifdef HEARTH_FAILPOINTS

/* Commit the second device of a round in a child that dies at `point`. */
static void die_at(kit *k, const char *point) {
    hearth_offer o;
    int status = 0;
    hearth_coord_close(k->c);
    k->c = NULL;
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        setenv("HEARTH_FAILPOINT", point, 1);
        if (kit_start(k) != HEARTH_OK || !kit_offer(k, "b", &o)) _exit(3);
        (void)send_bit(k, &o, 0);
        _exit(4);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_ok(kit_start(k));
    kit_advance(k, 2000);
}

static void killed_between_rounds_keeps_the_clip(void **state) {
    (void)state;
    static const char *const points[] = {
        "fix.after_row", "publish.before_content", "publish.before_row",
        "publish.after_row", "publish.after_delete"};
    for (size_t i = 0; i < sizeof(points) / sizeof(*points); i++) {
        kit k;
        hearth_offer o;
        hearth_release rel;
        float v[KIT_D];
        open_round_kit(&k, CLIP_TASK);
        assert_true(kit_offer(&k, "a", &o));
        assert_int_equal(send_bit(&k, &o, 0), 200);
        die_at(&k, points[i]);
        /* The round is released once, whoever did it, and moved once. */
        kit_release(&k, "demo", 0, &rel, v);
        assert_int_equal(rel.sequence, 2);
        if (!close_to(now(&k), 0.5 * exp(0.1)))
            fail_msg("%s: clip %g", points[i], now(&k));
        kit_close(&k);
    }
}

#else

static void killed_between_rounds_keeps_the_clip(void **state) {
    (void)state;
    printf("SKIPPED: configure with -DHEARTH_FAILPOINTS=ON\n");
    skip();
}

#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clip_moves_towards_the_quantile),
        cmocka_unit_test(clip_stays_within_its_limits),
        cmocka_unit_test(clip_converges_to_the_quantile),
        cmocka_unit_test(settings_are_strict),
        cmocka_unit_test(epsilon_does_not_see_the_clip),
        cmocka_unit_test(state_is_read_back_or_refused),
        cmocka_unit_test(rounds_move_the_clip),
        cmocka_unit_test(a_round_keeps_its_clip),
        cmocka_unit_test(frozen_clip_has_no_bit),
        cmocka_unit_test(rollback_takes_the_clip_along),
        cmocka_unit_test(killed_between_rounds_keeps_the_clip),
    };
    return cmocka_run_group_tests_name("coordinator/adapt_clip", tests, NULL,
                                       NULL);
}

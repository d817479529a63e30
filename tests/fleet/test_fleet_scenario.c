/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/test_fleet_scenario.c - tests/fleet/fleet_scenario.h */
#include "tests/support/cmocka_all.h"

#include "tests/fleet/fleet_scenario.h"
#include "tests/support/fail_alloc.h"

#define BASIC                                                                  \
    "[run]\nname = t\n[model]\npath = /m\n[records]\npath = r.jsonl\n"         \
    "partition = field:role\n[privacy]\nclip = 1\n"

static hearth_status parse(hearth_fleet_scenario **sc, const char *text,
                           const char *set, hearth_error *err) {
    return hearth_fleet_scenario_parse(sc, "t.ini", "/dir", text, strlen(text),
                                       &set, set != NULL, NULL, err);
}

static void scenario_fills_defaults_and_paths(void **state) {
    hearth_fleet_scenario *sc;
    (void)state;
    assert_ok(parse(&sc, BASIC, NULL, NULL));
    assert_string_equal(sc->records_path, "/dir/r.jsonl");
    assert_string_equal(sc->model_path, "/m");
    assert_string_equal(sc->field, "role");
    assert_int_equal(sc->n_seeds, 1);
    assert_int_equal(sc->n_classes, 1);
    assert_string_equal(sc->device_class[0].name, "phone");
    assert_int_equal(sc->epochs, 1);
    assert_true(sc->base && sc->local && sc->central && !sc->control);
    hearth_fleet_scenario_free(sc, NULL);
    setenv("FLEET_TEST_ROOT", "/data", 1);
    assert_ok(parse(&sc, BASIC, "records.path=$FLEET_TEST_ROOT/x", NULL));
    assert_string_equal(sc->records_path, "/data/x");
    hearth_fleet_scenario_free(sc, NULL);
    assert_ok(parse(&sc, BASIC, "records.path=${FLEET_TEST_ROOT}x", NULL));
    assert_string_equal(sc->records_path, "/datax");
    hearth_fleet_scenario_free(sc, NULL);
}

static void scenario_sets_win_and_are_checked(void **state) {
    hearth_fleet_scenario *sc;
    hearth_error err = {0};
    (void)state;
    assert_ok(parse(&sc, BASIC "[device.slow]\nshare = 1\n",
                    "device.slow.dropout=0.25", NULL));
    assert_true(sc->device_class[0].dropout == 0.25);
    hearth_fleet_scenario_free(sc, NULL);
    const char *sets[] = {"run.rounds=3", "run.rounds=7"}; /* the last wins */
    assert_ok(hearth_fleet_scenario_parse(&sc, "t", "/", BASIC, strlen(BASIC),
                                          sets, 2, NULL, NULL));
    assert_int_equal(sc->rounds, 7);
    hearth_fleet_scenario_free(sc, NULL);
    assert_int_equal(parse(&sc, BASIC, "rounds=3", &err), HEARTH_EINVAL);
    assert_int_equal(parse(&sc, BASIC, "run.rounds", &err), HEARTH_EINVAL);
    assert_int_equal(parse(&sc, BASIC, "run.rounds=1\n[x]", &err),
                     HEARTH_EINVAL);
    assert_int_equal(parse(&sc, BASIC, "run.ruonds=3", &err), HEARTH_EFORMAT);
    assert_non_null(strstr(err.text, "did you mean 'rounds'"));
}

static void scenario_refuses_and_names_the_key(void **state) {
    static const struct {
        const char *set;
        hearth_status st;
        const char *says;
    } BAD[] = {
        {"run.seeds=1,x", HEARTH_EFORMAT, "seeds"},
        {"run.seeds=1,1", HEARTH_EFORMAT, "twice"},
        {"run.rounds=0", HEARTH_EFORMAT, "rounds"},
        {"model.rule=flora", HEARTH_EUNSUPPORTED, "ffa"},
        {"model.path=$NO_SUCH_VARIABLE_X/m", HEARTH_ENOTFOUND, "NO_SUCH"},
        {"model.path=$/m", HEARTH_EFORMAT, "NAME"},
        {"records.form=xml", HEARTH_EFORMAT, "form"},
        {"records.partition=dirichlet:0.3:topic", HEARTH_EUNSUPPORTED, "later"},
        {"records.partition=by", HEARTH_EFORMAT, "partition"},
        {"records.partition=iid", HEARTH_EFORMAT, "devices"},
        {"records.holdout=last:1.5", HEARTH_EFORMAT, "holdout"},
        {"records.unseen_devices=-1", HEARTH_EFORMAT, "unseen"},
        {"records.unseen_devices=every:1", HEARTH_EFORMAT, "every:N"},
        {"records.holdout=none", HEARTH_EFORMAT, "unseen_devices"},
        {"cohort.count=0%,50%", HEARTH_EFORMAT, "count"},
        {"cohort.count=90%,50%", HEARTH_EFORMAT, "count"},
        {"cohort.count=50%,9", HEARTH_EFORMAT, "count"},
        {"train.schedule=step", HEARTH_EFORMAT, "schedule"},
        {"train.loss=some", HEARTH_EFORMAT, "loss"},
        {"cohort.count=9,3", HEARTH_EFORMAT, "count"},
        {"cohort.time=10m,60s", HEARTH_EFORMAT, "time"},
        {"privacy.mode=distributed", HEARTH_EUNSUPPORTED, "secure"},
        {"privacy.mode=local", HEARTH_EFORMAT, "noise"},
        {"privacy.mode=maybe", HEARTH_EFORMAT, "mode"},
        {"privacy.clip=0", HEARTH_EFORMAT, "clip"},
        {"privacy.release_noise=2", HEARTH_EFORMAT, "never in its place"},
        {"privacy.release_noise=-1", HEARTH_EFORMAT, "release_noise"},
        {"privacy.release_buffers=9", HEARTH_EFORMAT, "release_buffers"},
        {"privacy.release_buffers=-1", HEARTH_EFORMAT, "release_buffers"},
        {"privacy.release_separation=0", HEARTH_EFORMAT, "separation"},
        {"privacy.release_participations=0", HEARTH_EFORMAT, "participations"},
        {"device.a.availability=diurnal", HEARTH_EUNSUPPORTED, "always"},
        {"sweep.privacy.noise=0,1", HEARTH_EINVAL, "in the file"},
        {"baseline.central_trains=c", HEARTH_EFORMAT, "central_trains"},
        {"run.name="
         "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
         "xxxxxxxxxxxx",
         HEARTH_ETOOBIG, "name"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++) {
        hearth_fleet_scenario *sc;
        hearth_error err = {0};
        hearth_status st = parse(&sc, BASIC, BAD[i].set, &err);
        if (st != BAD[i].st || sc || !strstr(err.text, BAD[i].says))
            fail_msg("%s: %d %s", BAD[i].set, st, err.text);
    }
    hearth_fleet_scenario *sc;
    hearth_error err = {0};
    assert_int_equal(parse(&sc, "[run]\nname = t\n", NULL, &err),
                     HEARTH_ENOTFOUND); /* no model path */
    assert_int_equal(
        parse(&sc, BASIC "[train]\nsteps = 1\nepochs = 1\n", NULL, &err),
        HEARTH_EFORMAT);
    assert_int_equal(parse(&sc, BASIC "[sweeps]\na.b = 1\n", NULL, &err),
                     HEARTH_EFORMAT);
    assert_int_equal(hearth_fleet_scenario_load(&sc, "/nonexistent.ini", NULL,
                                                0, NULL, NULL),
                     HEARTH_ENOTFOUND);
}

static void scenario_iid_has_no_people(void **state) {
    static const char *const SET[] = {"records.piece=2",
                                      "records.unseen_devices=every:3"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        hearth_fleet_scenario *sc;
        hearth_error err = {0};
        const char *sets[] = {"records.partition=iid", "records.devices=4",
                              SET[i]};
        assert_int_equal(hearth_fleet_scenario_parse(&sc, "t", "/", BASIC,
                                                     strlen(BASIC), sets, 3,
                                                     NULL, &err),
                         HEARTH_EFORMAT);
        assert_non_null(strstr(err.text, "field:NAME"));
    }
}

/* Shares, pieces, unseen people by every:N and no hold-out survive writing; the
 * sweep is for fleet_sweep. */
static void scenario_reads_back_the_settings_of_a_sweep(void **state) {
    hearth_fleet_scenario *a, *b;
    hearth_buf text = HEARTH_BUF_INIT(NULL);
    static const char SWEPT[] =
        "[run]\nname = t\n[model]\npath = /m\n[records]\npath = /r.jsonl\n"
        "partition = field:role\npiece = 3\nholdout = none\nunseen_devices = "
        "every:12\n[privacy]\nclip = 1\n[cohort]\ncount = 93.75%,100%\n"
        "[sweep]\nprivacy.noise = 0,1\n[sweep.two]\nmodel.targets = a | b\n";
    (void)state;
    hearth_error err = {0};
    if (parse(&a, SWEPT, NULL, &err)) fail_msg("%s", err.text);
    assert_true(a->share_min == 0.9375 && a->share_max == 1.0);
    assert_int_equal(a->unseen_every, 12);
    assert_int_equal(a->piece, 3);
    assert_int_equal(a->holdout, HEARTH_FLEET_HOLDOUT_NONE);
    assert_ok(hearth_fleet_scenario_write(&text, a));
    assert_non_null(strstr(hearth_buf_str(&text), "count = 93.75%,100%\n"));
    assert_null(strstr(hearth_buf_str(&text), "sweep"));
    if (parse(&b, hearth_buf_str(&text), NULL, &err)) fail_msg("%s", err.text);
    assert_true(b->share_min == 0.9375 && b->share_max == 1.0);
    assert_int_equal(b->unseen_every, 12);
    assert_int_equal(b->piece, 3);
    assert_int_equal(b->holdout, HEARTH_FLEET_HOLDOUT_NONE);
    hearth_fleet_scenario_free(a, NULL);
    hearth_fleet_scenario_free(b, NULL);
    hearth_buf_free(&text);
}

static void scenario_reads_back_what_it_writes(void **state) {
    hearth_fleet_scenario *a, *b;
    hearth_buf text = HEARTH_BUF_INIT(NULL), again = HEARTH_BUF_INIT(NULL);
    const char *ex = hearth_fleet_scenario_example();
    (void)state;
    assert_ok(parse(&a, ex, NULL, NULL)); /* without any variable */
    assert_int_equal(a->n_seeds, 3);
    assert_true(a->noise == 2.4 && a->clip == 0.07 && a->rank == 1);
    assert_ok(hearth_fleet_scenario_write(&text, a));
    assert_non_null(strstr(hearth_buf_str(&text), "time = 0s,1h\n"));
    assert_ok(hearth_fleet_scenario_parse(&b, "again", "/elsewhere",
                                          hearth_buf_str(&text), text.n, NULL,
                                          0, NULL, NULL));
    assert_ok(hearth_fleet_scenario_write(&again, b));
    assert_string_equal(hearth_buf_str(&text), hearth_buf_str(&again));
    hearth_buf_free(&text);
    hearth_buf_free(&again);
    hearth_fleet_scenario_free(a, NULL);
    hearth_fleet_scenario_free(b, NULL);
}

/* Off, nothing is written; on, it comes on top of the devices' noise only. */
static void scenario_reads_release_noise(void **state) {
    static const char *const SETS[] = {"privacy.mode=local",
                                       "privacy.noise=2",
                                       "run.rounds=10",
                                       "privacy.release_noise=1.5",
                                       "privacy.release_separation=4",
                                       "privacy.clip_quantile=0.5",
                                       "run.rounds=70000"};
    hearth_fleet_scenario *a, *b;
    hearth_buf text = HEARTH_BUF_INIT(NULL);
    hearth_error err = {0};
    (void)state;
#define PARSE(out, n)                                                          \
    hearth_fleet_scenario_parse(out, "t", "/", BASIC, strlen(BASIC), SETS, n,  \
                                NULL, &err)
    assert_ok(PARSE(&a, 3));
    assert_true(a->release_noise == 0.0);
    assert_ok(hearth_fleet_scenario_write(&text, a));
    assert_null(strstr(hearth_buf_str(&text), "release_"));
    hearth_fleet_scenario_free(a, NULL);
    hearth_buf_clear(&text);
    assert_ok(PARSE(&a, 5));
    assert_true(a->release_noise == 1.5);
    assert_int_equal(a->release_buffers, 4);
    assert_int_equal(a->release_participations, 3); /* rounds 1, 5, 9 */
    assert_ok(hearth_fleet_scenario_write(&text, a));
    assert_ok(parse(&b, hearth_buf_str(&text), NULL, &err));
    assert_true(b->release_noise == 1.5);
    assert_int_equal(b->release_separation, 4);
    assert_int_equal(b->release_participations, 3);
    hearth_fleet_scenario_free(a, NULL);
    hearth_fleet_scenario_free(b, NULL);
    assert_int_equal(PARSE(&a, 6), HEARTH_EFORMAT);
    assert_non_null(strstr(err.text, "clip_quantile = 0"));
    const char *many[] = {SETS[0], SETS[1], SETS[3], SETS[6]};
    assert_int_equal(hearth_fleet_scenario_parse(&a, "t", "/", BASIC,
                                                 strlen(BASIC), many, 4, NULL,
                                                 &err),
                     HEARTH_ETOOBIG);
#undef PARSE
    hearth_buf_free(&text);
}

static void scenario_survives_every_failed_allocation(void **state) {
    (void)state;
    for (size_t k = 1;; k++) {
        hearth_fail_alloc fa;
        hearth_alloc al = hearth_fail_alloc_init(&fa, k);
        const char *set = "run.rounds=3";
        hearth_fleet_scenario *sc;
        hearth_status st = hearth_fleet_scenario_parse(
            &sc, "t", "/", BASIC, strlen(BASIC), &set, 1, &al, NULL);
        hearth_fleet_scenario_free(sc, &al);
        assert_int_equal(fa.live, 0);
        if (st == HEARTH_OK) break;
        assert_int_equal(st, HEARTH_ENOMEM);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scenario_fills_defaults_and_paths),
        cmocka_unit_test(scenario_sets_win_and_are_checked),
        cmocka_unit_test(scenario_refuses_and_names_the_key),
        cmocka_unit_test(scenario_iid_has_no_people),
        cmocka_unit_test(scenario_reads_back_the_settings_of_a_sweep),
        cmocka_unit_test(scenario_reads_back_what_it_writes),
        cmocka_unit_test(scenario_reads_release_noise),
        cmocka_unit_test(scenario_survives_every_failed_allocation),
    };
    return cmocka_run_group_tests_name("tests/fleet/fleet_scenario", tests,
                                       NULL, NULL);
}

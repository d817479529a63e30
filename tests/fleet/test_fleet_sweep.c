/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/test_fleet_sweep.c - tests/fleet/fleet_sweep.h and fleet_point.h */
#include "tests/support/cmocka_all.h"

#include <math.h>

#include "common/file.h"
#include "tests/fleet/fleet_point.h"
#include "tests/fleet/fleet_sweep.h"
#include "tests/support/fail_alloc.h"

static hearth_status parse(hearth_fleet_sweep **sw, const char *text,
                           hearth_error *err) {
    return hearth_fleet_sweep_parse(sw, "s.ini", text, strlen(text), NULL, err);
}

static void sweep_is_every_combination(void **state) {
    hearth_fleet_sweep *sw;
    (void)state;
    assert_ok(parse(&sw,
                    "[sweep]\nrecords.devices = 16, 64\nprivacy.epsilon = "
                    "0,2.5\n",
                    NULL));
    assert_int_equal(sw->n, 4);
    assert_string_equal(sw->cell[0].name, "devices-16_epsilon-0");
    assert_int_equal(sw->cell[0].n_sets, 2);
    assert_string_equal(sw->cell[0].set[0], "records.devices=16");
    assert_string_equal(sw->cell[0].set[1], "privacy.mode=none");
    assert_string_equal(sw->cell[1].name, "devices-16_epsilon-2.5");
    assert_string_equal(sw->cell[1].set[1], "privacy.epsilon=2.5");
    assert_string_equal(sw->cell[2].set[0], "records.devices=64");
    assert_string_equal(sw->cell[3].name, "devices-64_epsilon-2.5");
    hearth_fleet_sweep_free(sw);
}

static void sweep_adds_its_sections(void **state) {
    hearth_fleet_sweep *sw;
    (void)state;
    assert_ok(parse(&sw,
                    "[run]\nname = x\n[sweep.a]\nprivacy.noise = 1,2\n"
                    "[sweep.b]\nprivacy.noise = 2,3\n"
                    "[sweep.c]\nmodel.targets = q_proj,v_proj | attn\n",
                    NULL));
    assert_int_equal(sw->n, 5); /* noise 2 is there once */
    assert_string_equal(sw->cell[2].set[0], "privacy.noise=3");
    assert_string_equal(sw->cell[3].name, "targets-q_proj+v_proj");
    assert_string_equal(sw->cell[3].set[0], "model.targets=q_proj,v_proj");
    assert_string_equal(sw->cell[4].set[0], "model.targets=attn");
    hearth_fleet_sweep_free(sw);
    assert_ok(parse(&sw, "[run]\nname = x\n", NULL));
    assert_int_equal(sw->n, 0);
    hearth_fleet_sweep_free(sw);
}

#define LONG_VALUE                                                             \
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" \
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define EIGHT "1,2,3,4,5,6,7,8"
#define MANY  EIGHT "," EIGHT "," EIGHT "," EIGHT "," EIGHT "," EIGHT "," EIGHT

static void sweep_refuses_and_says_where(void **state) {
    static const struct {
        const char *text;
        hearth_status st;
        const char *says;
    } BAD[] = {
        {"[sweep]\nnoise = 1\n", HEARTH_EFORMAT, "s.ini:2"},
        {"[sweep]\nprivacy. = 1\n", HEARTH_EFORMAT, "section.key"},
        {"[sweep]\n.noise = 1\n", HEARTH_EFORMAT, "section.key"},
        {"[sweep]\nsweep.a = 1\n", HEARTH_EFORMAT, "section.key"},
        {"[sweep]\nprivacy.noise = 1,,2\n", HEARTH_EFORMAT, "empty value"},
        {"[sweep]\nprivacy.noise =\n", HEARTH_EFORMAT, "empty value"},
        {"[sweep]\na.b = x/y | x:y\n", HEARTH_EFORMAT, "share the folder"},
        {"[swep]\na.b = 1\n", HEARTH_EFORMAT, "did you mean"},
        {"[sweep]\na.b = " LONG_VALUE "\n", HEARTH_ETOOBIG, "folder"},
        {"[sweep]\na.b = " MANY "," EIGHT ",9\n", HEARTH_ETOOBIG, "64 values"},
        {"[sweep]\na.a = " EIGHT "\na.b = " EIGHT "\na.c = " EIGHT "\n",
         HEARTH_ETOOBIG, "256 cells"},
        {"[sweep]\na.a=1\na.b=1\na.c=1\na.d=1\na.e=1\na.f=1\na.g=1\na.h=1\n",
         HEARTH_ETOOBIG, "7 keys"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++) {
        hearth_fleet_sweep *sw;
        hearth_error err = {0};
        if (parse(&sw, BAD[i].text, &err) != BAD[i].st || sw ||
            !strstr(err.text, BAD[i].says))
            fail_msg("case %zu: %s", i, err.text);
    }
    hearth_fleet_sweep *sw;
    assert_int_equal(
        hearth_fleet_sweep_load(&sw, "/nonexistent.ini", NULL, NULL),
        HEARTH_ENOTFOUND);
}

static void sweep_survives_every_failed_allocation(void **state) {
    static const char TEXT[] = "[sweep]\na.b = 1,2\nprivacy.noise = 0,1\n";
    (void)state;
    for (size_t k = 1;; k++) {
        hearth_fail_alloc fa;
        hearth_alloc al = hearth_fail_alloc_init(&fa, k);
        hearth_fleet_sweep *sw;
        hearth_status st = hearth_fleet_sweep_parse(
            &sw, "s", TEXT, sizeof(TEXT) - 1, &al, NULL);
        hearth_fleet_sweep_free(sw);
        assert_int_equal(fa.live, 0);
        if (st == HEARTH_OK) break;
        assert_int_equal(st, HEARTH_ENOMEM);
    }
}

/* ---- points ---- */

static char dir[64];

static void put(const char *name, const char *text) {
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    assert_ok(hearth_file_write(path, text, strlen(text), 0644, NULL));
}

static void put_scenario(const char *privacy) {
    char text[512];
    snprintf(text, sizeof(text),
             "[run]\nname = t\nrounds = 2\n[model]\npath = /m\n[records]\npath "
             "= /r\npartition = field:a\n[privacy]\nclip = 2\n%s",
             privacy);
    put("scenario.ini", text);
    put("run.json", "{\"devices\":16,\"parameters\":160}\n");
}

/* Two seeds, two unseen people: seed s begins at 5 and ends at 5 - s / 10; a
 * hold-out row that must not count. */
static void put_rows(void) {
    hearth_buf m = HEARTH_BUF_INIT(NULL), d = HEARTH_BUF_INIT(NULL);
    for (uint64_t seed = 1; seed <= 2; seed++)
        for (uint64_t round = 0; round <= 2; round += 2) {
            double down = round ? (double)seed / 10.0 : 0.0;
            hearth_fleet_metric row = {0};
            row.seed = seed;
            row.round = round;
            row.split = HEARTH_FLEET_UNSEEN;
            row.loss = 5.0 - down;
            row.epsilon_coordinator = round ? 10.0 : (double)NAN;
            row.epsilon_release = round ? 2.0 : (double)NAN;
            row.noise_to_signal = round ? 3.5 : (double)NAN;
            (void)hearth_fleet_metric_json(&m, &row);
            for (int i = 0; i < 2; i++) {
                hearth_fleet_device_row r = {
                    seed, round, HEARTH_FLEET_UNSEEN, "a", 4.5 - down, 9};
                if (i) r.device[0] = 'b', r.loss = 5.5 - down;
                (void)hearth_fleet_device_json(&d, &r);
            }
            hearth_fleet_device_row held = {seed, round, HEARTH_FLEET_HOLDOUT,
                                            "c",  9.0,   9};
            (void)hearth_fleet_device_json(&d, &held);
        }
    assert_false(m.failed || d.failed);
    put("metrics.jsonl", hearth_buf_str(&m));
    put("devices.jsonl", hearth_buf_str(&d));
    hearth_buf_free(&m);
    hearth_buf_free(&d);
}

static void point_is_mean_and_range_over_seeds(void **state) {
    hearth_fleet_point p;
    hearth_error err = {0};
    (void)state;
    put_scenario("mode = local\nnoise = 1.5\n");
    put_rows();
    assert_ok(hearth_fleet_point_load(&p, dir, "cell", NULL, &err));
    assert_string_equal(p.name, "cell");
    assert_int_equal(p.devices, 16);
    assert_int_equal(p.parameters, 160);
    assert_int_equal(p.n_seeds, 2);
    assert_int_equal(p.n_people, 2);
    assert_float_equal(p.z, 1.5, 0.0);
    assert_float_equal(p.base, 5.0, 1e-12);
    assert_float_equal(p.loss, 4.85, 1e-12);
    assert_float_equal(p.loss_low, 4.8, 1e-12);
    assert_float_equal(p.loss_high, 4.9, 1e-12);
    assert_float_equal(p.gain, 0.15, 1e-12);
    assert_float_equal(p.gain_low, 0.1, 1e-12);
    assert_float_equal(p.gain_high, 0.2, 1e-12);
    assert_float_equal(p.gain_of_people.mean, 0.15, 1e-12);
    assert_float_equal(p.epsilon_coordinator, 10.0, 0.0);
    assert_float_equal(p.epsilon_release, 2.0, 0.0);
    assert_float_equal(p.noise_to_signal, 3.5, 0.0);
}

static void point_refuses_what_is_missing(void **state) {
    hearth_fleet_point p;
    hearth_error err = {0};
    (void)state;
    put_scenario("");
    put_rows();
    put("run.json", "{\"devices\":16}\n");
    assert_int_equal(hearth_fleet_point_load(&p, dir, "cell", NULL, &err),
                     HEARTH_EFORMAT);
    assert_non_null(strstr(err.text, "'parameters'"));
    put_scenario("");
    put("devices.jsonl", "{\"seed\":1,\"round\":0,\"split\":\"unseen\","
                         "\"device\":\"a\",\"loss\":"
                         "1,\"tokens\":1}\n");
    assert_int_equal(hearth_fleet_point_load(&p, dir, "cell", NULL, &err),
                     HEARTH_EFORMAT);
    assert_non_null(strstr(err.text, "missing"));
}

static hearth_fleet_point point(uint64_t parameters, uint64_t devices,
                                double z) {
    hearth_fleet_point p = {0};
    snprintf(p.name, sizeof(p.name), "p%u-n%u", (unsigned)parameters,
             (unsigned)devices);
    p.parameters = parameters;
    p.devices = devices;
    p.z = z;
    p.n_seeds = 3;
    p.clip = 2.0;
    p.base = 5.0;
    p.epsilon_coordinator = z > 0.0 ? 10.0 / z : (double)NAN;
    p.epsilon_release = z > 0.0 ? 2.0 / z : (double)NAN;
    p.noise_to_signal =
        z > 0.0 ? z * sqrt((double)parameters / (double)devices) : (double)NAN;
    p.gain = 0.5 - z;
    p.gain_low = p.gain - 0.1;
    p.gain_high = p.gain + 0.1;
    p.loss = 5.0 - p.gain;
    p.loss_low = p.loss - 0.1;
    p.loss_high = p.loss + 0.1;
    return p;
}

static void points_are_sorted_and_drawn(void **state) {
    hearth_fleet_point p[] = {point(160, 64, 0.0), point(960, 64, 1.0),
                              point(160, 64, 1.0), point(160, 16, 4.0),
                              point(160, 64, 0.2)};
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    (void)state;
    hearth_fleet_points_sort(p, 5);
    assert_int_equal(p[0].devices, 16);
    assert_true(p[1].z == 1.0 && p[2].z == 0.2 && p[3].z == 0.0);
    assert_int_equal(p[4].parameters, 960);
    assert_ok(hearth_fleet_points_text(&b, p, 5));
    assert_non_null(strstr(hearth_buf_str(&b),
                           "| 160 | 2 | 64 | none | none | none | none | 4.500 "
                           "[4.400, 4.600] | +0.500 [+0.400, +0.600]"));
    hearth_buf_clear(&b);
    assert_ok(hearth_fleet_points_csv(&b, p, 5));
    assert_non_null(strstr(hearth_buf_str(&b), "p160-n64,64,160,0,3,"));
    hearth_buf_clear(&b);
    assert_ok(hearth_fleet_points_html(&b, "a & b", "x < y", p, 5, NULL));
    const char *html = hearth_buf_str(&b);
    assert_non_null(strstr(html, "a &amp; b"));
    assert_non_null(strstr(html, "x &lt; y"));
    assert_non_null(strstr(html, "16 devices"));
    assert_non_null(strstr(html, "960 parameters"));
    assert_non_null(strstr(html, ">no noise</text>"));
    assert_non_null(strstr(html, "<polygon class=\"s0\"")); /* loss 8.5 */
    assert_null(strstr(html, "nan"));
    assert_null(strstr(html, "inf"));
    hearth_buf_clear(&b);
    assert_ok(hearth_fleet_points_html(&b, "t", "s", p, 0, NULL));
    assert_non_null(strstr(hearth_buf_str(&b), "Nothing was measured"));
    hearth_buf_free(&b);
}

static int make_dir(void **state) {
    (void)state;
    return hearth_test_dir(dir) ? 0 : -1;
}

static int remove_dir(void **state) {
    (void)state;
    return hearth_file_remove_tree(dir, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sweep_is_every_combination),
        cmocka_unit_test(sweep_adds_its_sections),
        cmocka_unit_test(sweep_refuses_and_says_where),
        cmocka_unit_test(sweep_survives_every_failed_allocation),
        cmocka_unit_test(point_is_mean_and_range_over_seeds),
        cmocka_unit_test(point_refuses_what_is_missing),
        cmocka_unit_test(points_are_sorted_and_drawn),
    };
    return cmocka_run_group_tests_name("tests/fleet/fleet_sweep", tests,
                                       make_dir, remove_dir);
}

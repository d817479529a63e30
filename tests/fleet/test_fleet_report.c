/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/test_fleet_report.c - tests/fleet/fleet_metrics.h, fleet_chart.h
 * and fleet_report.h */
#include "tests/support/cmocka_all.h"

#include <math.h>

#include "common/file.h"
#include "common/philox.h"
#include "tests/fleet/fleet_chart.h"
#include "tests/fleet/fleet_report.h"
#include "tests/support/fail_alloc.h"

enum { ROUNDS = 5, SEEDS = 3, DEVICES = 20 };

/* Device i starts at 4 + i / 100 and gains `gain` in all. */
static double loss_of(size_t i, double gain) {
    return 4.0 + (double)i / 100.0 - gain;
}

static void put_file(const char *dir, const char *name, hearth_buf *b) {
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    assert_false(b->failed);
    assert_ok(hearth_file_write(path, hearth_buf_str(b), b->n, 0644, NULL));
    hearth_buf_clear(b);
}

static void put_rounds(hearth_buf *metrics, hearth_buf *devices) {
    hearth_philox_key key = hearth_philox_key_make(3, HEARTH_PHILOX_DATA);
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        for (uint64_t r = 0; r <= ROUNDS; r++) {
            double gain = 0.1 * (double)r;
            double jitter = 0.02 * hearth_philox_uniform(key, seed, r);
            hearth_fleet_metric m = {seed,
                                     r,
                                     HEARTH_FLEET_HOLDOUT,
                                     loss_of(10, gain) - jitter,
                                     3.5,
                                     4.5,
                                     50,
                                     45 + seed,
                                     r == 2,
                                     4,
                                     640 * 45,
                                     9000,
                                     60.0 * (double)r,
                                     1.5,
                                     1.0,
                                     4.3,
                                     2.0 * (double)r,
                                     0.7 * (double)r,
                                     0.0,
                                     0.0,
                                     0.0};
            if (!r) m.epsilon_coordinator = m.epsilon_release = (double)NAN;
            (void)hearth_fleet_metric_json(metrics, &m);
            for (size_t i = 0; i < DEVICES; i++) {
                hearth_fleet_device_row d = {
                    seed, r, HEARTH_FLEET_HOLDOUT, "", loss_of(i, gain), 100};
                snprintf(d.device, sizeof(d.device), "device %zu", i);
                (void)hearth_fleet_device_json(devices, &d);
            }
        }
}

static void put_baselines(hearth_buf *rows, hearth_buf *devices) {
    static const struct {
        hearth_fleet_method m;
        double gain;
    } B[] = {{HEARTH_FLEET_BASE, 0.0},
             {HEARTH_FLEET_LOCAL, 0.2},
             {HEARTH_FLEET_CENTRAL, 0.8},
             {HEARTH_FLEET_CONTROL, -0.05}};
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        for (uint64_t s = 0; s < 10; s++) {
            hearth_fleet_baseline_row v = {seed,
                                           HEARTH_FLEET_CENTRAL,
                                           HEARTH_FLEET_VALID,
                                           s * 20,
                                           3.2 + 0.8 * exp(-(double)s / 3) +
                                               0.01 * (double)seed,
                                           (double)NAN,
                                           (double)NAN};
            (void)hearth_fleet_baseline_json(rows, &v);
        }
        for (uint64_t r = 0; r <= ROUNDS; r++) {
            hearth_fleet_baseline_row v = {
                seed,       HEARTH_FLEET_CONTROL,   HEARTH_FLEET_HOLDOUT,
                r,          4.1 + 0.01 * (double)r, (double)NAN,
                (double)NAN};
            (void)hearth_fleet_baseline_json(rows, &v);
        }
        for (size_t b = 0; b < 4; b++)
            for (size_t i = 0; i < DEVICES; i++) {
                hearth_fleet_baseline_device d = {seed,
                                                  B[b].m,
                                                  HEARTH_FLEET_HOLDOUT,
                                                  "",
                                                  loss_of(i, B[b].gain),
                                                  100};
                snprintf(d.device, sizeof(d.device), "device %zu", i);
                (void)hearth_fleet_baseline_device_json(devices, &d);
            }
    }
}

/* A run directory of made-up numbers. */
static void make_run(const char *dir) {
    hearth_buf a = HEARTH_BUF_INIT(NULL), b = HEARTH_BUF_INIT(NULL);
    put_rounds(&a, &b);
    put_file(dir, "metrics.jsonl", &a);
    put_file(dir, "devices.jsonl", &b);
    put_baselines(&a, &b);
    put_file(dir, "baselines.jsonl", &a);
    put_file(dir, "baseline_devices.jsonl", &b);
    hearth_buf_free(&a);
    hearth_buf_free(&b);
}

static void metrics_read_back_what_was_written(void **state) {
    char dir[64];
    hearth_fleet_results r;
    hearth_error err = {0};
    (void)state;
    assert_non_null(hearth_test_dir(dir));
    make_run(dir);
    assert_ok(hearth_fleet_results_load(&r, dir, NULL, &err));
    assert_int_equal(r.n_metrics, SEEDS * (ROUNDS + 1));
    assert_int_equal(r.n_devices, SEEDS * (ROUNDS + 1) * DEVICES);
    assert_int_equal(r.n_baseline_devices, SEEDS * 4 * DEVICES);
    assert_true(isnan(r.metric[0].epsilon_coordinator));
    assert_true(r.metric[1].epsilon_coordinator == 2.0);
    assert_int_equal(r.metric[1].devices_accepted, 46);
    assert_string_equal(r.device[3].device, "device 3");
    hearth_fleet_results_free(&r);
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    hearth_fleet_metric m = {0};
    m.loss = (double)NAN;
    assert_ok(hearth_fleet_metric_csv_header(&b));
    assert_ok(hearth_fleet_metric_csv(&b, &m));
    assert_string_equal(
        hearth_buf_str(&b),
        "seed,round,split,loss,loss_p10,loss_p90,devices_invited,"
        "devices_accepted,devices_late,devices_failed,bytes_up,bytes_down,"
        "virtual_seconds,wall_seconds,clip_fraction,noise_to_signal,"
        "epsilon_coordinator,epsilon_release\n"
        "0,0,holdout,,0,0,0,0,0,0,0,0,0,0,0,0,0,0\n");
    hearth_buf_clear(&b);
    /* The coordinator's own noise: in JSON, and only where there is some. */
    assert_ok(hearth_fleet_metric_json(&b, &m));
    assert_null(strstr(hearth_buf_str(&b), "server"));
    assert_null(strstr(hearth_buf_str(&b), "epsilon_release_"));
    hearth_buf_clear(&b);
    m.epsilon_release_devices = (double)INFINITY;
    assert_ok(hearth_fleet_metric_json(&b, &m));
    assert_null(strstr(hearth_buf_str(&b), "epsilon_release_devices"));
    hearth_buf_clear(&b);
    m.epsilon_release_devices = 3.0;
    m.epsilon_release_server = 4.0;
    m.noise_to_signal_server = 5.0;
    assert_ok(hearth_fleet_metric_json(&b, &m));
    put_file(dir, "metrics.jsonl", &b);
    assert_ok(hearth_fleet_results_load(&r, dir, NULL, &err));
    assert_true(r.metric[0].epsilon_release_devices == 3.0);
    assert_true(r.metric[0].epsilon_release_server == 4.0);
    assert_true(r.metric[0].noise_to_signal_server == 5.0);
    hearth_fleet_results_free(&r);
    (void)hearth_fleet_metric_csv(&b, &m);
    assert_string_equal(hearth_buf_str(&b),
                        "0,0,holdout,,0,0,0,0,0,0,0,0,0,0,0,0,0,0\n");
    hearth_buf_free(&b);
    assert_ok(hearth_file_remove_tree(dir, NULL));
}

static void metrics_refuse_broken_files(void **state) {
    char dir[64];
    hearth_fleet_results r;
    hearth_error err = {0};
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    (void)state;
    assert_non_null(hearth_test_dir(dir));
    assert_int_equal(hearth_fleet_results_load(&r, dir, NULL, &err),
                     HEARTH_ENOTFOUND);
    (void)hearth_buf_puts(&b, "\n{\"seed\":1}\n");
    put_file(dir, "metrics.jsonl", &b);
    assert_int_equal(hearth_fleet_results_load(&r, dir, NULL, &err),
                     HEARTH_EFORMAT);
    assert_non_null(strstr(err.text, ":2: field 'round'"));
    (void)hearth_buf_puts(&b, "nonsense\n");
    put_file(dir, "metrics.jsonl", &b);
    assert_int_equal(hearth_fleet_results_load(&r, dir, NULL, &err),
                     HEARTH_EFORMAT);
    hearth_fleet_metric m = {0};
    (void)hearth_fleet_metric_json(&b, &m);
    put_file(dir, "metrics.jsonl", &b);
    (void)hearth_buf_printf(&b,
                            "{\"seed\":1,\"round\":1,\"split\":\"holdout\","
                            "\"device\":\"%064d\",\"loss\":1,\"tokens\":1}\n",
                            1);
    put_file(dir, "devices.jsonl", &b); /* a name of 64 bytes: one too many */
    assert_int_equal(hearth_fleet_results_load(&r, dir, NULL, &err),
                     HEARTH_EFORMAT);
    assert_non_null(strstr(err.text, "'device'"));
    hearth_buf_free(&b);
    assert_ok(hearth_file_remove_tree(dir, NULL));
}

static void summary_pairs_devices(void **state) {
    char dir[64];
    hearth_fleet_results r;
    hearth_fleet_summary s;
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    (void)state;
    assert_non_null(hearth_test_dir(dir));
    make_run(dir);
    assert_ok(hearth_fleet_results_load(&r, dir, NULL, NULL));
    assert_ok(hearth_fleet_summarise(&s, &r, NULL));
    const hearth_fleet_summary_cell *f =
        &s.cell[HEARTH_FLEET_FEDERATED][HEARTH_FLEET_HOLDOUT];
    assert_true(f->present && f->loss.n == DEVICES && f->n_seeds == SEEDS);
    assert_true(fabs(f->gain.mean - 0.5) < 1e-6);   /* %.9g was in between */
    assert_true(f->gain.high - f->gain.low < 1e-6); /* paired: no spread */
    assert_true(f->loss.high - f->loss.low > 0.01); /* unpaired: spread */
    assert_true(fabs(f->over_control.mean - 0.55) < 1e-6);
    assert_true(fabs(s.share_of_central - 0.625) < 1e-6);
    assert_true(s.epsilon_coordinator == 10.0);
    assert_false(s.cell[HEARTH_FLEET_LOCAL][HEARTH_FLEET_UNSEEN].present);
    assert_ok(hearth_fleet_summary_text(&b, &s));
    assert_non_null(strstr(hearth_buf_str(&b), "| holdout | federated | 20 | 3 "
                                               "|"));
    assert_non_null(strstr(hearth_buf_str(&b), "62.5 %"));
    assert_null(strstr(hearth_buf_str(&b), "coordinator's noise"));
    s.epsilon_release_server = 4.5;
    assert_ok(hearth_fleet_summary_text(&b, &s));
    assert_non_null(strstr(hearth_buf_str(&b), "coordinator's alone 4.500"));
    const char *name = "one";
    assert_ok(hearth_fleet_compare_text(&b, &name, &s, 1));
    hearth_buf_free(&b);
    hearth_fleet_results_free(&r);
    assert_ok(hearth_file_remove_tree(dir, NULL));
}

/* $FLEET_REPORT_SAMPLE: also write the page there, to look at. */
static void report_is_one_page_without_links_out(void **state) {
    char dir[64];
    hearth_fleet_results r;
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    const char *sample = getenv("FLEET_REPORT_SAMPLE");
    (void)state;
    assert_non_null(hearth_test_dir(dir));
    make_run(dir);
    assert_ok(hearth_fleet_results_load(&r, dir, NULL, NULL));
    assert_ok(hearth_fleet_report_html(&b, "a <title>", "[run] & x", &r, NULL));
    const char *s = hearth_buf_str(&b);
    assert_non_null(strstr(s, "a &lt;title&gt;"));
    assert_non_null(strstr(s, "[run] &amp; x"));
    assert_non_null(strstr(s, "prefers-color-scheme:dark"));
    assert_non_null(strstr(s, "noise-only control, hold-out"));
    assert_non_null(strstr(s, "own validation split"));
    assert_null(strstr(s, "<script"));
    assert_null(strstr(s, "http"));
    assert_null(strstr(s, "nan"));
    if (sample) assert_ok(hearth_file_write(sample, s, b.n, 0644, NULL));
    hearth_buf_free(&b);
    hearth_fleet_results_free(&r);
    hearth_fleet_results none = {0};
    assert_ok(hearth_fleet_report_html(&b, "t", "", &none, NULL));
    assert_non_null(strstr(hearth_buf_str(&b), "Nothing was measured."));
    assert_non_null(strstr(hearth_buf_str(&b), "not private"));
    hearth_buf_free(&b);
    assert_ok(hearth_file_remove_tree(dir, NULL));
}

static void chart_steps_are_nice_and_gaps_stay_gaps(void **state) {
    const double x[] = {0, 1, 2, 3}, y[] = {1, (double)NAN, 2, 3};
    hearth_fleet_series s = {.label = "a & b", .x = x, .y = y, .n = 4};
    hearth_fleet_chart c = {.title = "t",
                            .x_label = "x",
                            .y_label = "y",
                            .series = &s,
                            .n_series = 1};
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    (void)state;
    assert_true(hearth_fleet_nice_step(1.0, 5) == 0.2);
    assert_true(hearth_fleet_nice_step(9.0, 6) == 2.0);
    assert_true(hearth_fleet_nice_step(0.031, 6) == 0.01);
    assert_ok(hearth_fleet_chart_svg(&b, &c));
    const char *path = strstr(hearth_buf_str(&b), "d=\"M");
    assert_non_null(path);
    assert_non_null(strchr(path + 4, 'M')); /* the pen was lifted once */
    assert_non_null(strstr(hearth_buf_str(&b), "a &amp; b"));
    c.n_series = HEARTH_FLEET_CHART_MAX_SERIES + 1;
    assert_int_equal(hearth_fleet_chart_svg(&b, &c), HEARTH_EINVAL);
    hearth_buf_free(&b);
}

static void report_survives_every_failed_allocation(void **state) {
    char dir[64];
    (void)state;
    assert_non_null(hearth_test_dir(dir));
    make_run(dir);
    for (size_t k = 1;; k += 1 + k / 2) { /* thousands: every one is slow */
        hearth_fail_alloc fa;
        hearth_alloc al = hearth_fail_alloc_init(&fa, k);
        hearth_fleet_results r;
        hearth_buf b = HEARTH_BUF_INIT(&al);
        hearth_status st = hearth_fleet_results_load(&r, dir, &al, NULL);
        if (st == HEARTH_OK)
            st = hearth_fleet_report_html(&b, "t", "", &r, &al);
        hearth_fleet_results_free(&r);
        hearth_buf_free(&b);
        assert_int_equal(fa.live, 0);
        if (st == HEARTH_OK) break;
        assert_int_equal(st, HEARTH_ENOMEM);
    }
    assert_ok(hearth_file_remove_tree(dir, NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metrics_read_back_what_was_written),
        cmocka_unit_test(metrics_refuse_broken_files),
        cmocka_unit_test(summary_pairs_devices),
        cmocka_unit_test(report_is_one_page_without_links_out),
        cmocka_unit_test(chart_steps_are_nice_and_gaps_stay_gaps),
        cmocka_unit_test(report_survives_every_failed_allocation),
    };
    return cmocka_run_group_tests_name("tests/fleet/fleet_report", tests, NULL,
                                       NULL);
}

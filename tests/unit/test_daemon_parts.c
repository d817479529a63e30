/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_daemon_parts.c - coordinator/work_queue.h, metrics.h, and
 * what auth.h, tls.h and daemon.h do when something is missing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "coordinator/daemon.h"
#include "coordinator/metrics.h"
#include "coordinator/tls.h"
#include "coordinator/work_queue.h"
#include "tests/support/fail_alloc.h"

/* ---- work queue ---- */

typedef struct {
    hearth_work_queue *q;
    int number, running;
    int worked[8], done[8];
    int n_worked, n_done;
} jobs;

static jobs *js;

static void work(void *arg) {
    js->running++;
    if (js->running != 1) abort(); /* one at a time */
    js->worked[js->n_worked++] = *(int *)arg;
    js->running--;
}

static void done(void *arg) {
    static int late = 7;
    js->done[js->n_done++] = *(int *)arg;
    if (*(int *)arg == 1) /* a job may bring the next */
        hearth_work_queue_io(js->q).submit(js->q, work, done, &late);
}

static void queue_keeps_order_and_runs_one_at_a_time(void **state) {
    (void)state;
    static int id[] = {0, 1, 2, 3, 4};
    uv_loop_t loop;
    hearth_work_queue q;
    jobs j = {&q, 0, 0, {0}, {0}, 0, 0};
    js = &j;
    assert_int_equal(uv_loop_init(&loop), 0);
    hearth_work_queue_init(&q, &loop, NULL);
    hearth_coord_io io = hearth_work_queue_io(&q);
    assert_false(hearth_work_queue_busy(&q));
    for (int i = 0; i < 5; i++) io.submit(io.ud, work, done, &id[i]);
    assert_true(hearth_work_queue_busy(&q));
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_false(hearth_work_queue_busy(&q));
    assert_int_equal(j.n_done, 6);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(j.worked[i], i);
        assert_int_equal(j.done[i], i);
    }
    assert_int_equal(j.done[5], 7);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void queue_runs_at_once_without_memory(void **state) {
    (void)state;
    static int id = 3;
    uv_loop_t loop;
    hearth_work_queue q;
    hearth_fail_alloc fa;
    hearth_alloc al = hearth_fail_alloc_init(&fa, 1);
    jobs j = {&q, 0, 0, {0}, {0}, 0, 0};
    js = &j;
    assert_int_equal(uv_loop_init(&loop), 0);
    hearth_work_queue_init(&q, &loop, &al);
    hearth_work_queue_io(&q).submit(&q, work, done, &id);
    assert_int_equal(j.n_done, 1);
    assert_int_equal(uv_loop_close(&loop), 0);
}

/* ---- metrics ---- */

static void metrics_have_help_type_and_value(void **state) {
    (void)state;
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    hearth_metrics m;
    memset(&m, 0, sizeof(m));
    m.listener.connections = 3;
    m.listener.replies[4] = 9;
    m.auth.enrolled_again = 2;
    m.coord.rounds_failed = 5;
    m.uptime_ms = 61500;
    assert_int_equal(hearth_metrics_write(&b, &m), HEARTH_OK);
    const char *text = hearth_buf_str(&b);
    assert_non_null(strstr(text, "hearthd_uptime_seconds 61\n"));
    assert_non_null(strstr(text, "hearthd_connections 3\n"));
    assert_non_null(strstr(text, "hearthd_replies_total{class=\"4xx\"} 9\n"));
    assert_non_null(
        strstr(text, "hearthd_enrolments_total{outcome=\"again\"} 2\n"));
    assert_non_null(
        strstr(text, "hearthd_rounds_total{outcome=\"failed\"} 5\n"));
    /* Every sample follows a HELP and a TYPE of its name. */
    for (const char *p = text; *p; p = strchr(p, '\n') + 1) {
        char name[64], help[80];
        if (p[0] == '#') continue;
        size_t n = strcspn(p, " {");
        assert_true(n < sizeof(name));
        memcpy(name, p, n);
        name[n] = '\0';
        (void)snprintf(help, sizeof(help), "# TYPE %s ", name);
        assert_non_null(strstr(text, help));
    }
    hearth_buf_free(&b);
}

static void metrics_report_a_lack_of_memory(void **state) {
    (void)state;
    hearth_fail_alloc fa;
    hearth_alloc al = hearth_fail_alloc_init(&fa, 1);
    hearth_buf b = HEARTH_BUF_INIT(&al);
    hearth_metrics m;
    memset(&m, 0, sizeof(m));
    assert_int_equal(hearth_metrics_write(&b, &m), HEARTH_ENOMEM);
    hearth_buf_free(&b);
}

/* ---- opening with what is missing ---- */

static void auth_survives_every_failed_allocation(void **state) {
    (void)state;
    hearth_rng *rng = NULL;
    hearth_sign_keypair *ca = NULL;
    hearth_virtual_clock v = {1795219200000, 0};
    assert_int_equal(hearth_rng_open(&rng, NULL, NULL), HEARTH_OK);
    assert_int_equal(hearth_sign_generate(&ca, rng, NULL, NULL), HEARTH_OK);
    for (size_t k = 1;; k++) {
        hearth_fail_alloc fa;
        hearth_alloc al = hearth_fail_alloc_init(&fa, k);
        hearth_auth_config c = {0};
        hearth_auth *a = NULL;
        c.db_path = ":memory:";
        c.keyset = (const uint8_t *)"k";
        c.keyset_n = 1;
        c.ca = ca;
        c.ca_pem = "";
        c.clock = hearth_clock_virtual(&v);
        c.al = &al;
        hearth_status st = hearth_auth_open(&a, &c, NULL);
        hearth_auth_close(a);
        assert_int_equal(fa.live, 0);
        if (st == HEARTH_OK) break;
        assert_int_equal(st, HEARTH_ENOMEM);
        assert_null(a);
        assert_true(k < 200);
    }
    hearth_sign_free(ca);
    hearth_rng_close(rng);
}

static void daemon_names_the_file_that_is_missing(void **state) {
    (void)state;
    uv_loop_t loop;
    hearth_daemon *d = NULL;
    hearth_error err = {HEARTH_OK, ""};
    static hearth_server_config c;
    char dir[] = "/tmp/hearth_daemon_XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof(path), "%s/hearthd.ini", dir);
    assert_int_equal(hearth_server_config_parse(&c, path, "", 0, NULL, &err),
                     HEARTH_OK);
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(hearth_daemon_open(&d, &loop, &c, NULL, &err),
                     HEARTH_ENOTFOUND);
    assert_null(d);
    assert_non_null(strstr(err.text, "release.key"));
    assert_int_equal(uv_loop_close(&loop), 0); /* nothing is left in it */
    (void)rmdir(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(queue_keeps_order_and_runs_one_at_a_time),
        cmocka_unit_test(queue_runs_at_once_without_memory),
        cmocka_unit_test(metrics_have_help_type_and_value),
        cmocka_unit_test(metrics_report_a_lack_of_memory),
        cmocka_unit_test(auth_survives_every_failed_allocation),
        cmocka_unit_test(daemon_names_the_file_that_is_missing),
    };
    return cmocka_run_group_tests_name("coordinator/daemon", tests, NULL, NULL);
}

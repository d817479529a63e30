/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_server_config.c - coordinator/server_config.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "common/error.h"
#include "coordinator/server_config.h"

static hearth_server_config cfg;
static hearth_error err;

static hearth_status parse(const char *text) {
    return hearth_server_config_parse(&cfg, "/srv/hearth/hearthd.ini", text,
                                      strlen(text), NULL, &err);
}

static void config_of_an_empty_file_is_the_defaults(void **state) {
    (void)state;
    assert_int_equal(parse(""), HEARTH_OK);
    assert_string_equal(cfg.host, "127.0.0.1");
    assert_int_equal(cfg.port, 8443);
    assert_string_equal(cfg.state, "/srv/hearth/state");
    assert_string_equal(cfg.tls_key, "/srv/hearth/keys/tls.key");
    assert_int_equal(cfg.certificate_days, 90);
    assert_int_equal(cfg.retry.accepted_min_ms, 60000);
    assert_int_equal(cfg.disk_reserve, 64 << 20);
    assert_string_equal(cfg.metrics_host, "");
    assert_int_equal(cfg.log_level, HEARTH_LOG_INFO);
}

static void config_reads_what_is_given(void **state) {
    (void)state;
    assert_int_equal(
        parse("[server]\nlisten = [::]:0\nstate = /var/lib/x\n"
              "max_connections = 7\nidle_timeout = 90s\n"
              "[keys]\ntls = /etc/t.key\n"
              "[devices]\ncookie_lifetime = 10m\ncertificate_days = 30\n"
              "[rounds]\nretry_accepted = 1s, 2s\ncheckpoint_every = 3\n"
              "[metrics]\nlisten = 127.0.0.1:9464\n[log]\nlevel = debug\n"),
        HEARTH_OK);
    assert_string_equal(cfg.host, "::");
    assert_int_equal(cfg.port, 0);
    assert_string_equal(cfg.state, "/var/lib/x");
    assert_int_equal(cfg.max_connections, 7);
    assert_int_equal(cfg.idle_ms, 90000);
    assert_string_equal(cfg.tls_key, "/etc/t.key");
    assert_int_equal(cfg.cookie_ttl_ms, 600000);
    assert_int_equal(cfg.retry.accepted_max_ms, 2000);
    assert_int_equal(cfg.checkpoint_every, 3);
    assert_int_equal(cfg.metrics_port, 9464);
    assert_int_equal(cfg.log_level, HEARTH_LOG_DEBUG);
}

static void config_errors_name_file_line_and_key(void **state) {
    (void)state;
    static const struct {
        const char *text, *says;
    } c[] = {
        {"[server]\nlisten = here\n", "hearthd.ini:2: [server] listen"},
        {"[server]\nlisten = ::1:8443\n", "listen"},
        {"[server]\nlisten = 127.0.0.1:70000\n", "listen"},
        {"[server]\nmax_connections = 0\n", "max_connections"},
        {"[server]\nidle_timeout = 3\n", "idle_timeout"},
        {"[server]\nidle_timeout = 20d\n", "idle_timeout"},
        {"[server]\nstate =\n", "state"},
        {"[server]\nlisen = 1.2.3.4:1\n", "did you mean 'listen'"},
        {"[sever]\nlisten = 1.2.3.4:1\n", "sever"},
        {"[rounds]\nretry_refused = 5s\n", "retry_refused"},
        {"[rounds]\nretry_refused = 5s,1s\n", "retry_refused"},
        {"[rounds]\nretry_refused = 5s,30d\n", "retry_refused"},
        {"[log]\nlevel = loud\n", "level"},
        {"[log]\nlevel = info\nlevel = warn\n", "level"},
    };
    for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
        hearth_status st = parse(c[i].text);
        if (hearth_status_class(st) != HEARTH_FAULT_PEER)
            fail_msg("case %zu: status %d", i, (int)st);
        if (!strstr(err.text, c[i].says))
            fail_msg("case %zu: '%s' does not say '%s'", i, err.text,
                     c[i].says);
        assert_int_equal(cfg.port, 0); /* zeroed */
    }
    assert_int_equal(
        hearth_server_config_load(&cfg, "/nonexistent/x.ini", NULL, &err),
        HEARTH_ENOTFOUND);
}

static void config_finds_its_folder(void **state) {
    (void)state;
    assert_int_equal(
        hearth_server_config_parse(&cfg, "hearthd.ini", "", 0, NULL, &err), 0);
    assert_string_equal(cfg.state, "./state");
    assert_int_equal(
        hearth_server_config_parse(&cfg, "/h.ini", "", 0, NULL, &err), 0);
    assert_true(cfg.state[0] == '/');
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(config_of_an_empty_file_is_the_defaults),
        cmocka_unit_test(config_reads_what_is_given),
        cmocka_unit_test(config_errors_name_file_line_and_key),
        cmocka_unit_test(config_finds_its_folder),
    };
    return cmocka_run_group_tests_name("coordinator/server_config", tests, NULL,
                                       NULL);
}

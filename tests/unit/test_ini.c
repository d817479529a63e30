/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_ini.c - common/ini.h */
#include "tests/support/cmocka_all.h"
#include "tests/support/fail_alloc.h"

#include "common/ini.h"

static const hearth_ini_key keys[] = {{"task", "rounds"}, {"task", "clip"},
                                      {"task", "name"},   {"task", "wait"},
                                      {"task", "on"},     {"device.*", "share"},
                                      {"free", "*"}};

static hearth_status parse(hearth_ini **ini, const char *text,
                           hearth_error *e) {
    return hearth_ini_parse(ini, "T.ini", text, strlen(text), keys, 7, NULL, e);
}

static void ini_reads_typed_values(void **state) {
    (void)state;
    hearth_ini *ini;
    int64_t i, ms;
    double f;
    bool b;
    const char *s;
    const int64_t seven = 7;
    assert_ok(parse(&ini,
                    "# comment\n[task]\r\nrounds = 5\r\nclip=0.07\n"
                    "name = demo\nwait = 10m\non = yes\n\n[device.old]\n"
                    "share = 0.5\n[free]\nanything = x\n",
                    NULL));
    assert_ok(hearth_ini_get_i64(ini, "task", "rounds", 1, 9, NULL, &i, NULL));
    assert_ok(hearth_ini_get_f64(ini, "task", "clip", 0, 1, NULL, &f, NULL));
    assert_ok(hearth_ini_get_str(ini, "task", "name", NULL, &s, NULL));
    assert_ok(hearth_ini_get_duration(ini, "task", "wait", NULL, &ms, NULL));
    assert_ok(hearth_ini_get_bool(ini, "task", "on", NULL, &b, NULL));
    assert_true(i == 5 && f == 0.07 && ms == 600000 && b);
    assert_string_equal(s, "demo");
    assert_string_equal(hearth_ini_get(ini, "device.old", "share"), "0.5");
    assert_int_equal(hearth_ini_line(ini, "task", "rounds"), 3);
    assert_ok(hearth_ini_get_i64(ini, "task", "x", 0, 9, &seven, &i, NULL));
    assert_true(i == 7);
    hearth_error e;
    assert_int_equal(
        hearth_ini_get_i64(ini, "task", "rounds", 6, 9, NULL, &i, &e),
        HEARTH_EFORMAT);
    assert_string_equal(e.text,
                        "T.ini:3: rounds = 5: want a whole number from 6 to 9");
    assert_int_equal(hearth_ini_get_i64(ini, "task", "y", 6, 9, NULL, &i, &e),
                     HEARTH_ENOTFOUND);
    assert_int_equal(hearth_ini_get_bool(ini, "task", "rounds", NULL, &b, &e),
                     HEARTH_EFORMAT);
    assert_int_equal(
        hearth_ini_get_duration(ini, "task", "clip", NULL, &ms, &e),
        HEARTH_EFORMAT);
    assert_int_equal(hearth_ini_size(ini), 7);
    hearth_ini_free(ini);
}

static void refused(const char *text, const char *words) {
    hearth_ini *ini;
    hearth_error e;
    assert_int_equal(parse(&ini, text, &e), HEARTH_EFORMAT);
    assert_null(ini);
    if (!strstr(e.text, words)) fail_msg("'%s' lacks '%s'", e.text, words);
}

static void ini_refuses_what_inih_lets_pass(void **state) {
    (void)state;
    char text[1400] = "[task]\nname = ";
    refused("[task]\nrounds=1\nrounds=2\n", "T.ini:3: key 'rounds' stands on "
                                            "line 2 already");
    refused("[task]\nroundz=1\n", "unknown key 'roundz'; did you mean "
                                  "'rounds'?");
    refused("[tusk]\nrounds=1\n", "unknown section 'tusk'; did you mean "
                                  "'task'?");
    refused("[task]\nqqqqqqqqqqqq=1\n", "unknown key 'qqqqqqqqqqqq'; remove");
    refused("[task]\nname = a\n  b\n", "T.ini:3: line starts with a space");
    refused("[task]\njust words\n", "T.ini:2: not 'key = value'");
    refused("[device.]\nshare=1\n", "unknown section");
    refused("\xff", "not UTF-8");
    memset(text + 14, 'a', 300);
    refused(text, "too long");
    memset(text, ';', 1200);
    text[1200] = '\0';
    hearth_ini *ini;
    assert_int_equal(parse(&ini, text, NULL), HEARTH_ETOOBIG);
    assert_int_equal(hearth_ini_parse(&ini, "T.ini", "[task]\nname=a\0b", 16,
                                      keys, 7, NULL, NULL),
                     HEARTH_EFORMAT);
    assert_int_equal(hearth_ini_parse(&ini, "T.ini", text,
                                      HEARTH_INI_MAX_BYTES + 1, keys, 7, NULL,
                                      NULL),
                     HEARTH_ETOOBIG);
    assert_int_equal(
        hearth_ini_load(&ini, "/nonexistent/x.ini", keys, 7, NULL, NULL),
        HEARTH_ENOTFOUND);
    memset(text, ';', 900);
    text[900] = '\0';
    assert_ok(parse(&ini, text, NULL)); /* a long comment is fine */
    hearth_ini_free(ini);
}

static void parse_numbers_strictly(void **state) {
    (void)state;
    int64_t i;
    double f;
    assert_ok(hearth_parse_i64("-9223372036854775808", &i));
    assert_true(i == INT64_MIN);
    static const char *const bad_i[] = {
        "", "-", "1x", " 1", "1.0", "9223372036854775808", "0x10"};
    for (size_t k = 0; k < 7; k++)
        if (hearth_parse_i64(bad_i[k], &i) != HEARTH_EFORMAT)
            fail_msg("accepted %s", bad_i[k]);
    static const struct {
        const char *s;
        double v;
    } good[] = {{"0.07", 0.07},   {"2.4", 2.4},   {"1e-6", 1e-6},
                {"-3.5E2", -350}, {"2e-2", 2e-2}, {".5", 0.5},
                {"0", 0},         {"5.", 5},      {"1e300", 1e300}};
    for (size_t k = 0; k < sizeof(good) / sizeof(*good); k++) {
        assert_ok(hearth_parse_f64(good[k].s, &f));
        if (f < good[k].v * (1 - 1e-15) - 1e-320 ||
            f > good[k].v * (1 + 1e-15) + 1e-320) {
            if (good[k].v >= 0) fail_msg("%s gave %a", good[k].s, f);
        }
    }
    static const char *const bad_f[] = {"",    ".",     "1e",  "1e999", "nan",
                                        "inf", "1.2.3", "1 2", "0x1p3", "--1"};
    for (size_t k = 0; k < 10; k++)
        if (hearth_parse_f64(bad_f[k], &f) != HEARTH_EFORMAT)
            fail_msg("accepted %s", bad_f[k]);
    static const char *const bad_d[] = {
        "", "10", "m", "1w", "1m2", "-1s", "99999999999999s"};
    for (size_t k = 0; k < 7; k++)
        if (hearth_parse_duration(bad_d[k], &i) != HEARTH_EFORMAT)
            fail_msg("accepted %s", bad_d[k]);
    assert_ok(hearth_parse_duration("90d", &i));
    assert_true(i == 90 * 86400000LL);
}

static void ini_survives_every_refused_allocation(void **state) {
    (void)state;
    const char t[] = "[task]\nrounds = 5\nname = x\n";
    for (size_t k = 1;; k++) {
        hearth_fail_alloc fa;
        hearth_alloc al = hearth_fail_alloc_init(&fa, k);
        hearth_ini *ini;
        hearth_status st = hearth_ini_parse(&ini, "T.ini", t, sizeof(t) - 1,
                                            keys, 7, &al, NULL);
        hearth_ini_free(ini);
        assert_int_equal(fa.live, 0);
        if (st == HEARTH_OK) break;
        assert_int_equal(st, HEARTH_ENOMEM);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ini_reads_typed_values),
        cmocka_unit_test(ini_refuses_what_inih_lets_pass),
        cmocka_unit_test(parse_numbers_strictly),
        cmocka_unit_test(ini_survives_every_refused_allocation),
    };
    return cmocka_run_group_tests_name("common/ini", tests, NULL, NULL);
}

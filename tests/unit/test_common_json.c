/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_common_json.c - common/{json,jsonpull}.h */
#include "tests/support/cmocka_all.h"
#include "tests/support/fail_alloc.h"

#include "common/buf.h"
#include "common/json.h"
#include "common/jsonpull.h"

static hearth_status parse(const char *text, hearth_error *e) {
    hearth_json *j;
    hearth_status st = hearth_json_parse(&j, "t", text, strlen(text), NULL, e);
    hearth_json_free(j);
    return st;
}

static void json_reads_types(void **state) {
    (void)state;
    const char t[] = "{\"i\":-42,\"f\":0.5,\"s\":\"\\u00e9\\ud83d\\ude00\","
                     "\"b\":true,\"n\":null,\"a\":[1,2],\"big\":1e300}";
    hearth_json *j;
    int64_t i;
    double f;
    bool b;
    const char *s;
    assert_ok(hearth_json_parse(&j, "t", t, sizeof(t) - 1, NULL, NULL));
    const hearth_json_value *r = hearth_json_root(j);
    assert_ok(hearth_json_i64(hearth_json_get(r, "i"), &i));
    assert_true(i == -42);
    assert_ok(hearth_json_f64(hearth_json_get(r, "f"), &f));
    assert_true(f == 0.5);
    assert_ok(hearth_json_str(hearth_json_get(r, "s"), &s));
    assert_string_equal(s, "\xC3\xA9\xF0\x9F\x98\x80");
    assert_ok(hearth_json_bool(hearth_json_get(r, "b"), &b));
    assert_true(b);
    assert_int_equal(hearth_json_type_of(hearth_json_get(r, "n")),
                     HEARTH_JSON_NULL);
    assert_int_equal(hearth_json_type_of(hearth_json_get(r, "x")),
                     HEARTH_JSON_NONE);
    assert_int_equal(hearth_json_size(hearth_json_get(r, "a")), 2);
    assert_int_equal(hearth_json_size(r), 7);
    assert_int_equal(hearth_json_i64(hearth_json_get(r, "f"), &i),
                     HEARTH_EFORMAT);
    assert_int_equal(hearth_json_i64(hearth_json_get(r, "big"), &i),
                     HEARTH_EFORMAT);
    assert_int_equal(hearth_json_str(hearth_json_get(r, "i"), &s),
                     HEARTH_EFORMAT);
    assert_int_equal(hearth_json_bool(NULL, &b), HEARTH_EFORMAT);
    assert_int_equal(hearth_json_f64(NULL, &f), HEARTH_EFORMAT);
    assert_string_equal(hearth_json_key(hearth_json_first(r)), "i");
    assert_null(hearth_json_next(NULL));
    hearth_json_free(j);
}

static void json_refuses_with_line(void **state) {
    (void)state;
    hearth_error e;
    assert_int_equal(parse("{\"a\":1,\n\"b\":}", &e), HEARTH_EFORMAT);
    assert_non_null(strstr(e.text, "t:2:"));
    assert_int_equal(parse("{\"a\":1,\"b\":{\"c\":1,\"c\":2}}", &e),
                     HEARTH_EFORMAT);
    assert_non_null(strstr(e.text, "'c' stands twice"));
    assert_int_equal(parse("\"a\\u0000b\"", &e), HEARTH_EFORMAT);
    assert_int_equal(parse("\"a\\\\u0000b\"", &e), HEARTH_OK);
}

static void jsonpull_follows_rfc8259(void **state) {
    (void)state;
    static const char *const good[] = {
        "1",           "-0.5e+10",     "\"\"", "[]",  "{}",
        " [ 1 , 2 ] ", "{\"a\":[{}]}", "true", "null"};
    static const char *const bad[] = {"",
                                      "01",
                                      "1.",
                                      "+1",
                                      ".5",
                                      "1e",
                                      "[1,]",
                                      "{\"a\"}",
                                      "{\"a\":}",
                                      "{\"a\":1,}",
                                      "{1:2}",
                                      "[1 2]",
                                      "1 2",
                                      "tru",
                                      "\"a",
                                      "\"\x01\"",
                                      "\"\\x\"",
                                      "\"\\u12\"",
                                      "\"\xff\"",
                                      "[",
                                      "]",
                                      "\"\\ud800\"",
                                      "\"\\udc00\"",
                                      "\"\\ud800\\u0041\"",
                                      "nul",
                                      "{\"a\":1]",
                                      "-"};
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
        if (parse(good[i], NULL) != HEARTH_OK) fail_msg("refused %s", good[i]);
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        if (parse(bad[i], NULL) != HEARTH_EFORMAT)
            fail_msg("accepted %s", bad[i]);
}

static void jsonpull_walks_and_skips(void **state) {
    (void)state;
    const char t[] = "{\"skip\":{\"x\":[1,{\"y\":2}]},\"k\\u0065y\":\"v\\n\","
                     "\"n\":12}";
    hearth_jsonpull p;
    char out[8];
    size_t n;
    int64_t i;
    double f;
    hearth_jsonpull_init(&p, t, sizeof(t) - 1);
    assert_int_equal(hearth_jsonpull_next(&p), HEARTH_JSONPULL_OBJECT);
    assert_int_equal(hearth_jsonpull_next(&p), HEARTH_JSONPULL_KEY);
    assert_true(hearth_jsonpull_is(&p, "skip"));
    assert_true(hearth_jsonpull_skip(&p));
    assert_int_equal(hearth_jsonpull_next(&p), HEARTH_JSONPULL_KEY);
    assert_true(hearth_jsonpull_is(&p, "key"));
    assert_false(hearth_jsonpull_is(&p, "ke"));
    assert_false(hearth_jsonpull_is(&p, "keyy"));
    assert_int_equal(hearth_jsonpull_next(&p), HEARTH_JSONPULL_STRING);
    assert_ok(hearth_jsonpull_string(&p, out, sizeof(out), &n));
    assert_int_equal(n, 2);
    assert_memory_equal(out, "v\n", 2);
    assert_int_equal(hearth_jsonpull_string(&p, out, 1, &n), HEARTH_ETOOBIG);
    assert_int_equal(hearth_jsonpull_next(&p), HEARTH_JSONPULL_KEY);
    assert_int_equal(hearth_jsonpull_next(&p), HEARTH_JSONPULL_NUMBER);
    assert_ok(hearth_jsonpull_i64(&p, &i));
    assert_ok(hearth_jsonpull_f64(&p, &f));
    assert_true(i == 12 && f == 12.0);
    assert_int_equal(hearth_jsonpull_next(&p), HEARTH_JSONPULL_OBJECT_END);
    assert_int_equal(hearth_jsonpull_next(&p), HEARTH_JSONPULL_END);
}

static void json_limits_hold(void **state) {
    (void)state;
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    for (int extra = 0; extra < 2; extra++) {
        hearth_buf_clear(&b);
        int depth = HEARTH_JSON_MAX_DEPTH + extra;
        for (int i = 0; i < depth; i++) assert_ok(hearth_buf_putc(&b, '['));
        for (int i = 0; i < depth; i++) assert_ok(hearth_buf_putc(&b, ']'));
        assert_int_equal(parse(hearth_buf_str(&b), NULL),
                         extra ? HEARTH_EFORMAT : HEARTH_OK);
    }
    hearth_jsonpull p;
    int64_t v;
    double d;
    const char *big = "9223372036854775808", *min = "-9223372036854775808";
    hearth_jsonpull_init(&p, big, strlen(big));
    assert_int_equal(hearth_jsonpull_next(&p), HEARTH_JSONPULL_NUMBER);
    assert_int_equal(hearth_jsonpull_i64(&p, &v), HEARTH_EFORMAT);
    hearth_jsonpull_init(&p, min, strlen(min));
    assert_int_equal(hearth_jsonpull_next(&p), HEARTH_JSONPULL_NUMBER);
    assert_ok(hearth_jsonpull_i64(&p, &v));
    assert_true(v == INT64_MIN);
    hearth_jsonpull_init(&p, "1e999", 5);
    assert_int_equal(hearth_jsonpull_next(&p), HEARTH_JSONPULL_NUMBER);
    assert_int_equal(hearth_jsonpull_f64(&p, &d), HEARTH_EFORMAT);
    hearth_json *j;
    assert_int_equal(
        hearth_json_parse(&j, "t", big, HEARTH_JSON_MAX_BYTES + 1, NULL, NULL),
        HEARTH_ETOOBIG);
    hearth_buf_free(&b);
}

static void json_survives_every_refused_allocation(void **state) {
    (void)state;
    for (size_t k = 1;; k++) {
        hearth_fail_alloc fa;
        hearth_alloc al = hearth_fail_alloc_init(&fa, k);
        hearth_json *j;
        const char t[] = "{\"a\":{\"b\":1,\"c\":2},\"d\":3}";
        hearth_status st =
            hearth_json_parse(&j, "t", t, sizeof(t) - 1, &al, NULL);
        hearth_json_free(j);
        assert_int_equal(fa.live, 0);
        if (st == HEARTH_OK) break;
        assert_int_equal(st, HEARTH_ENOMEM);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_reads_types),
        cmocka_unit_test(json_refuses_with_line),
        cmocka_unit_test(jsonpull_follows_rfc8259),
        cmocka_unit_test(jsonpull_walks_and_skips),
        cmocka_unit_test(json_limits_hold),
        cmocka_unit_test(json_survives_every_refused_allocation),
    };
    return cmocka_run_group_tests_name("common/json", tests, NULL, NULL);
}

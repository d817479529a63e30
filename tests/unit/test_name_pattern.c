/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_name_pattern.c - common/name_pattern.h */
#include "common/name_pattern.h"

#include <string.h>

#include "tests/support/cmocka_all.h"

static const char Q0[] = "model.layers.0.self_attn.q_proj";
static const char Q10[] = "model.layers.10.self_attn.q_proj";

static bool match(const char *pattern, const char *name) {
    bool m = false;
    assert_int_equal(hearth_name_pattern_match(pattern, name, &m), HEARTH_OK);
    return m;
}

static void names_and_their_ends_match(void **state) {
    (void)state;
    assert_true(match(Q0, Q0));
    assert_true(match("q_proj", Q0));
    assert_true(match("self_attn.q_proj", Q0));
    assert_true(match("0.self_attn.q_proj", Q0));
    assert_false(match("0.self_attn.q_proj", Q10)); /* no dot before it */
    assert_false(match("proj", Q0));
    assert_false(match("model.layers.0", Q0));
    assert_false(match("k_proj", Q0));
    assert_false(match(Q10, Q0));
}

/* Every row agrees with Python's re.match("(.*\.)?(KEY)$", name). */
static void expressions_match_as_in_python(void **state) {
    static const struct {
        const char *pattern;
        bool q0, q10;
    } row[] = {
        {".*q_proj", true, true},
        {"^model.layers.0.*", true, false},
        {"^layers.0.*", false, false},
        {"layers\\.0\\..*", true, false},
        {"layers\\.\\d\\..*q_proj", true, false},
        {"layers\\.\\d+\\..*q_proj$", true, true},
        {"layers.[0-3].self_attn.(q|v)_proj", true, false},
        {"layers.[^0].*", false, true}, /* the dot takes the second digit */
        {".*(q_proj|k_proj)", true, true},
        {"(?:q|k|)_proj", true, true},
        {"(self_attn|mlp)\\.q_proj", true, true},
        {"layers.10?.self_attn.q_proj", false, true},
        {"layers.1?0.self_attn.q_proj", true, true},
        {"(layers|\\.|0)+self_attn.q_proj", true, false},
        {"\\w+_attn.*?q_proj", true, true},
        {"[\\d]0.self_attn.q_proj", false, true},
        {"q_proj|k_proj", true, true},
        {"", false, false},
        {"()*q_proj", true, true},
        {"(a*)*q_proj", true, true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        if (match(row[i].pattern, Q0) != row[i].q0 ||
            match(row[i].pattern, Q10) != row[i].q10)
            fail_msg("%s", row[i].pattern);
    }
}

static void other_expressions_are_refused(void **state) {
    static const char *const bad[] = {
        "a{2}",  "(?=a)",       "(?P<x>a)", "[a",    "(a", "a)",
        "*a",    "a**",         "a|*",      "\\",    "]",  "}",
        "[z-a]", "[[:alpha:]]", "\\b",      "[\\b]", "(",  "a++"};
    char longest[400];
    bool m = true;
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (hearth_name_pattern_match(bad[i], Q0, &m) != HEARTH_EUNSUPPORTED)
            fail_msg("%s", bad[i]);
    assert_false(m);
    memset(longest, 'a', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = 0;
    assert_int_equal(hearth_name_pattern_match(longest, Q0, &m),
                     HEARTH_ETOOBIG);
    assert_int_equal(
        hearth_name_pattern_match("[0][1][2]\\d[4][5]\\w[7][8]", Q0, &m),
        HEARTH_ETOOBIG);                           /* nine classes */
    for (size_t n = 0; n < sizeof(longest); n++) { /* full at each place */
        hearth_status st;
        memset(longest, '|', n);
        longest[n] = 0;
        st = hearth_name_pattern_match(longest, Q0, &m);
        assert_true(st == HEARTH_OK || st == HEARTH_ETOOBIG);
    }
    memset(longest, '(', sizeof(longest) - 1);
    assert_int_equal(hearth_name_pattern_match(longest, Q0, &m),
                     HEARTH_ETOOBIG);
    assert_int_equal(hearth_name_pattern_match(NULL, Q0, &m), HEARTH_EINVAL);
    assert_int_equal(hearth_name_pattern_match("a", NULL, &m), HEARTH_EINVAL);
    assert_int_equal(hearth_name_pattern_match("a", Q0, NULL), HEARTH_EINVAL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_their_ends_match),
        cmocka_unit_test(expressions_match_as_in_python),
        cmocka_unit_test(other_expressions_are_refused),
    };
    return cmocka_run_group_tests_name("common/name_pattern", tests, NULL,
                                       NULL);
}

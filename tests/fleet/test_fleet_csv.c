/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/test_fleet_csv.c - tests/fleet/fleet_csv.h and fleet_template.h */
#include "tests/support/cmocka_all.h"

#include "tests/fleet/fleet_csv.h"
#include "tests/fleet/fleet_template.h"
#include "tests/support/fail_alloc.h"

static hearth_fleet_csv *parse(const char *text) {
    hearth_fleet_csv *t = NULL;
    hearth_error err = {0};
    if (hearth_fleet_csv_parse(&t, "t.csv", text, strlen(text), NULL, &err) !=
        HEARTH_OK)
        fail_msg("%s", err.text);
    return t;
}

static void csv_reads_quotes_crlf_and_bom(void **state) {
    (void)state;
    hearth_fleet_csv *t = parse("\xef\xbb\xbf,who,\"what, when\"\r\n"
                                "0,ann,\"a \"\"b\"\"\nc\"\r\n1,,\r\n");
    assert_int_equal(hearth_fleet_csv_columns(t), 3);
    assert_int_equal(hearth_fleet_csv_rows(t), 2);
    assert_string_equal(hearth_fleet_csv_name(t, 0), "");
    assert_int_equal(hearth_fleet_csv_column(t, "what, when"), 2);
    assert_int_equal(hearth_fleet_csv_column(t, ""), HEARTH_FLEET_CSV_NONE);
    assert_string_equal(hearth_fleet_csv_cell(t, 0, 2), "a \"b\"\nc");
    assert_string_equal(hearth_fleet_csv_cell(t, 1, 1), "");
    assert_string_equal(hearth_fleet_csv_guess(t, "whoo"), "who");
    hearth_fleet_csv_free(t);
    t = parse("a,b\n1,2"); /* no last newline */
    assert_string_equal(hearth_fleet_csv_cell(t, 0, 1), "2");
    hearth_fleet_csv_free(t);
    t = parse("a\n\n"); /* one column: an empty line is an empty cell */
    assert_int_equal(hearth_fleet_csv_rows(t), 1);
    hearth_fleet_csv_free(t);
    t = parse("a,b\n1,2\n\n"); /* more columns: an empty last line is none */
    assert_int_equal(hearth_fleet_csv_rows(t), 1);
    hearth_fleet_csv_free(t);
}

static void csv_refuses_what_is_no_table(void **state) {
    static const char *const BAD[] = {"",           "a,b\n1\n",  "a,b\n1,2,3\n",
                                      "a,a\n1,2\n", "a\n\"x",    "a\n\"x\"y\n",
                                      "a\nx\"y\n",  "a\n\xff\n", "a,b\n\n1,2"};
    (void)state;
    for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++) {
        hearth_fleet_csv *t;
        hearth_error err = {0};
        hearth_status st = hearth_fleet_csv_parse(&t, "t.csv", BAD[i],
                                                  strlen(BAD[i]), NULL, &err);
        if (st != HEARTH_EFORMAT || t) fail_msg("case %zu", i);
        assert_non_null(strstr(err.text, "t.csv:"));
    }
    hearth_error err = {0};
    hearth_fleet_csv *t;
    assert_int_equal(
        hearth_fleet_csv_parse(&t, "t", "a,b\n\"x\"y1", 9, NULL, &err),
        HEARTH_EFORMAT);
    assert_non_null(strstr(err.text, "behind a quote"));
    assert_int_equal(hearth_fleet_csv_parse(&t, "t", "a\0b", 3, NULL, NULL),
                     HEARTH_EFORMAT);
    assert_int_equal(hearth_fleet_csv_parse(&t, "t", NULL, 3, NULL, NULL),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_fleet_csv_parse(&t, "t", "a",
                                            HEARTH_FLEET_CSV_MAX_BYTES + 1,
                                            NULL, NULL),
                     HEARTH_ETOOBIG);
    assert_int_equal(
        hearth_fleet_csv_load(&t, "/nonexistent/x.csv", NULL, NULL),
        HEARTH_ENOTFOUND);
}

static void csv_counts_columns_up_to_the_limit(void **state) {
    static char text[2 * HEARTH_FLEET_CSV_MAX_COLUMNS + 8];
    hearth_fleet_csv *t;
    (void)state;
    memset(text, ',', HEARTH_FLEET_CSV_MAX_COLUMNS); /* max + 1 cells */
    assert_int_equal(hearth_fleet_csv_parse(&t, "t", text,
                                            HEARTH_FLEET_CSV_MAX_COLUMNS, NULL,
                                            NULL),
                     HEARTH_ETOOBIG);
    assert_ok(hearth_fleet_csv_parse(
        &t, "t", text, HEARTH_FLEET_CSV_MAX_COLUMNS - 1, NULL, NULL));
    assert_int_equal(hearth_fleet_csv_columns(t), HEARTH_FLEET_CSV_MAX_COLUMNS);
    hearth_fleet_csv_free(t);
}

static void csv_survives_every_failed_allocation(void **state) {
    (void)state;
    for (size_t k = 1;; k++) {
        hearth_fail_alloc fa;
        hearth_alloc al = hearth_fail_alloc_init(&fa, k);
        hearth_fleet_csv *t;
        hearth_status st =
            hearth_fleet_csv_parse(&t, "t", "a,b\n1,2\n", 8, &al, NULL);
        hearth_fleet_csv_free(t);
        assert_int_equal(fa.live, 0);
        if (st == HEARTH_OK) break;
        assert_int_equal(st, HEARTH_ENOMEM);
    }
}

/* ---- templates ---- */

static hearth_status render(const char *csv, const char *text, size_t row,
                            char *out, size_t cap, bool *used) {
    hearth_fleet_csv *t = parse(csv);
    hearth_fleet_template *tm;
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    hearth_error err = {0};
    hearth_status st = hearth_fleet_template_parse(&tm, "t.txt", text,
                                                   strlen(text), t, NULL, &err);
    *used = false;
    if (st == HEARTH_OK)
        st = hearth_fleet_template_render(tm, row, &b, used, &err);
    snprintf(out, cap, "%s", st == HEARTH_OK ? hearth_buf_str(&b) : err.text);
    hearth_buf_free(&b);
    hearth_fleet_template_free(tm);
    hearth_fleet_csv_free(t);
    return st;
}

static const char DAYS[] = "who,steps,slept,HAPPY,SAD\n"
                           "a,1234.0,450,1.0,0.0\n"
                           "b,10,,1,1\n"
                           "c,,60,0,0\n"
                           "d,x,60,1,0\n";

static void template_fills_cells_numbers_and_options(void **state) {
    static const char T[] = "# a comment\n{who} took {steps:0} steps[, slept "
                            "{slept/60:1} hours].\n---\n{any:HAPPY,SAD=low}";
    char out[256];
    bool used;
    (void)state;
    assert_ok(render(DAYS, T, 0, out, sizeof(out), &used));
    assert_true(used);
    assert_string_equal(out, "{\"prompt\":\"a took 1234 steps, slept 7.5 "
                             "hours.\",\"completion\":\"happy\"}");
    assert_ok(render(DAYS, T, 1, out, sizeof(out), &used));
    assert_string_equal(out, "{\"prompt\":\"b took 10 steps.\","
                             "\"completion\":\"happy, low\"}");
    assert_ok(render(DAYS, T, 2, out, sizeof(out), &used));
    assert_false(used); /* no steps, no mood */
    assert_string_equal(out, "");
    assert_int_equal(render(DAYS, T, 3, out, sizeof(out), &used),
                     HEARTH_EFORMAT);
    assert_non_null(strstr(out, "row 5, column 'steps'"));
    assert_ok(
        render(DAYS, "\\[{who}\\] \\# \\\\\nx", 1, out, sizeof(out), &used));
    assert_string_equal(out, "{\"text\":\"[b] # \\\\\\nx\"}");
    assert_ok(render(DAYS, "{who} {slept}", 1, out, sizeof(out), &used));
    assert_false(used); /* a cell outside brackets is empty */
    assert_ok(render(DAYS, "[{slept}]", 1, out, sizeof(out), &used));
    assert_false(used); /* nothing is left */
}

static void template_refuses_and_says_where(void **state) {
    static const struct {
        const char *text, *says;
    } BAD[] = {
        {"{stesp}", "did you mean 'steps'"},
        {"{zzzzzzzz}", "no column"},
        {"{steps", "never ends"},
        {"a\n[x", "never ends"},
        {"[[x]]", "inside brackets"},
        {"x]", "too many"},
        {"}", "too many"},
        {"{steps:7}", "decimals"},
        {"{steps/0:1}", "divisor"},
        {"---\n---", "second ---"},
        {"[x\n---\n]", "never ends"},
        {"{any:HAPY}", "HAPPY"},
    };
    char out[300];
    bool used;
    (void)state;
    for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++) {
        if (render(DAYS, BAD[i].text, 0, out, sizeof(out), &used) !=
                HEARTH_EFORMAT ||
            !strstr(out, BAD[i].says))
            fail_msg("case %zu: %s", i, out);
    }
}

static void template_holds_its_limits(void **state) {
    static char big[HEARTH_FLEET_TEMPLATE_MAX_BYTES + 2], out[300];
    bool used;
    (void)state;
    memset(big, 'x', sizeof(big) - 1);
    assert_int_equal(render(DAYS, big, 0, out, sizeof(out), &used),
                     HEARTH_ETOOBIG);
    big[0] = '\0';
    for (size_t i = 0; i < HEARTH_FLEET_TEMPLATE_MAX_PIECES + 1; i++)
        memcpy(big + i * 5, "{who}", 6);
    assert_int_equal(render(DAYS, big, 0, out, sizeof(out), &used),
                     HEARTH_ETOOBIG);
    big[HEARTH_FLEET_TEMPLATE_MAX_PIECES * 5] = '\0';
    assert_ok(render(DAYS, big, 0, out, sizeof(out), &used));
}

static void template_survives_every_failed_allocation(void **state) {
    static const char T[] = "{who} [{slept:1}]\n---\n{any:HAPPY,SAD=low}";
    (void)state;
    for (size_t k = 1;; k++) {
        hearth_fail_alloc fa;
        hearth_alloc al = hearth_fail_alloc_init(&fa, k);
        hearth_fleet_csv *t = parse(DAYS);
        hearth_fleet_template *tm = NULL;
        hearth_buf b = HEARTH_BUF_INIT(&al);
        bool used;
        hearth_status st =
            hearth_fleet_template_parse(&tm, "t", T, strlen(T), t, &al, NULL);
        if (st == HEARTH_OK)
            st = hearth_fleet_template_render(tm, 0, &b, &used, NULL);
        hearth_buf_free(&b);
        hearth_fleet_template_free(tm);
        hearth_fleet_csv_free(t);
        assert_int_equal(fa.live, 0);
        if (st == HEARTH_OK) break;
        assert_int_equal(st, HEARTH_ENOMEM);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(csv_reads_quotes_crlf_and_bom),
        cmocka_unit_test(csv_refuses_what_is_no_table),
        cmocka_unit_test(csv_counts_columns_up_to_the_limit),
        cmocka_unit_test(csv_survives_every_failed_allocation),
        cmocka_unit_test(template_fills_cells_numbers_and_options),
        cmocka_unit_test(template_refuses_and_says_where),
        cmocka_unit_test(template_holds_its_limits),
        cmocka_unit_test(template_survives_every_failed_allocation),
    };
    return cmocka_run_group_tests_name("tests/fleet/fleet_csv", tests, NULL,
                                       NULL);
}

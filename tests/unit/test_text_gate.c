/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_text_gate.c - client/infer/text_gate.h */
#include "tests/support/cmocka_all.h"
#include "tests/support/fail_alloc.h"

#include "client/infer/text_gate.h"
#include "common/bytes.h"

typedef struct {
    char text[256];
    size_t n, calls, stop_after;
} sink;

static bool collect(void *ud, const char *utf8, size_t n) {
    sink *s = ud;
    assert_true(hearth_utf8_valid(utf8, n)); /* never half a character */
    assert_true(n > 0 && s->n + n < sizeof(s->text));
    memcpy(s->text + s->n, utf8, n);
    s->n += n;
    s->text[s->n] = '\0';
    s->calls++;
    return s->calls != s->stop_after;
}

/* Push bytes in pieces of `piece`, finish, and give what came out. */
static const char *run(sink *s, const char *bytes, size_t piece,
                       const char *const *stop, size_t n_stop, bool *stopped) {
    hearth_text_gate g;
    size_t n = strlen(bytes);
    hearth_text_gate_init(&g, NULL);
    hearth_text_gate_start(&g, stop, n_stop, collect, s);
    for (size_t at = 0; at < n; at += piece)
        assert_ok(hearth_text_gate_push(&g, bytes + at,
                                        n - at < piece ? n - at : piece));
    hearth_text_gate_finish(&g);
    if (stopped) *stopped = g.stopped;
    hearth_text_gate_free(&g);
    return s->text;
}

static void text_comes_out_in_whole_characters(void **state) {
    const char *text = "a \xc3\xa9 \xe2\x82\xac \xf0\x9f\x99\x82 z";
    (void)state;
    for (size_t piece = 1; piece < 8; piece++) {
        sink s = {.n = 0};
        assert_string_equal(run(&s, text, piece, NULL, 0, NULL), text);
    }
}

static void hopeless_bytes_become_the_replacement_character(void **state) {
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"a\x80z", "a\xef\xbf\xbdz"},
        {"\xff", "\xef\xbf\xbd"},
        {"\xc0\xafz", "\xef\xbf\xbd\xef\xbf\xbdz"},
        {"\xe2\x28", "\xef\xbf\xbd("},
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xf4\x90\x80\x80",
         "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xf0\x9f\x99z", "\xef\xbf\xbdz"}, /* one for what began */
        {"\xe2\x82\xe2\x82z", "\xef\xbf\xbd\xef\xbf\xbdz"},
        {"ok\xf0\x9f\x99", "ok"}, /* incomplete at the end: dropped */
        {"ok\xe0", "ok"},
        {"ok\xed\x9f", "ok"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (size_t piece = 1; piece < 5; piece++) {
            sink s = {.n = 0};
            assert_string_equal(run(&s, cases[i].in, piece, NULL, 0, NULL),
                                cases[i].out);
        }
}

static void stop_strings_never_come_out(void **state) {
    static const char *const stop[] = {"<|end|>", "\n\n", "\xe2\x82\xac!"};
    static const struct {
        const char *in, *out;
        bool stopped;
    } cases[] = {
        {"hello<|end|>more", "hello", true},
        {"a<|e<|end|>", "a<|e", true},
        {"a<|e", "a<|e", false}, /* held, then given at the end */
        {"line\nnext\n\nx", "line\nnext", true},
        {"cost \xe2\x82\xac 5 \xe2\x82\xac!", "cost \xe2\x82\xac 5 ", true},
        {"<|end|>", "", true},
        {"nothing", "nothing", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (size_t piece = 1; piece < 14; piece++) {
            sink s = {.n = 0};
            bool stopped = false;
            assert_string_equal(run(&s, cases[i].in, piece, stop, 3, &stopped),
                                cases[i].out);
            assert_int_equal(stopped, cases[i].stopped);
        }
}

static void nothing_comes_after_the_app_said_stop(void **state) {
    sink s = {.stop_after = 2};
    (void)state;
    assert_string_equal(run(&s, "abcdef", 1, NULL, 0, NULL), "ab");
    hearth_text_gate g; /* and without a callback nothing happens at all */
    hearth_text_gate_init(&g, NULL);
    hearth_text_gate_start(&g, NULL, 0, NULL, NULL);
    assert_ok(hearth_text_gate_push(&g, "abc", 3));
    assert_int_equal(g.held.n, 0);
    hearth_text_gate_finish(&g);
    hearth_text_gate_free(&g);
}

static void allocation_failures_are_clean(void **state) {
    (void)state;
    for (size_t k = 1;; k++) {
        hearth_fail_alloc fa;
        hearth_alloc al = hearth_fail_alloc_init(&fa, k);
        hearth_text_gate g;
        hearth_text_gate_init(&g, &al);
        hearth_text_gate_start(&g, NULL, 0, NULL, NULL);
        hearth_status st = hearth_text_gate_push(&g, "x\xff", 2);
        hearth_text_gate_free(&g);
        assert_int_equal(fa.live, 0);
        if (st == HEARTH_OK) break;
        assert_int_equal(st, HEARTH_ENOMEM);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_comes_out_in_whole_characters),
        cmocka_unit_test(hopeless_bytes_become_the_replacement_character),
        cmocka_unit_test(stop_strings_never_come_out),
        cmocka_unit_test(nothing_comes_after_the_app_said_stop),
        cmocka_unit_test(allocation_failures_are_clean),
    };
    return cmocka_run_group_tests_name("client/infer/text_gate", tests, NULL,
                                       NULL);
}

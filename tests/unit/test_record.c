/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_record.c - client/records/record.h */
#include "tests/support/cmocka_all.h"

#include "client/records/record.h"
#include "common/buf.h"
#include "common/file.h"
#include "tests/support/fail_alloc.h"

static hearth_record parse(const char *line) {
    hearth_record rec;
    hearth_error err = {HEARTH_OK, ""};
    if (hearth_record_parse(&rec, line, strlen(line), HEARTH_FORM_AUTO, "f:1",
                            NULL, &err) != HEARTH_OK)
        fail_msg("%s", err.text);
    return rec;
}

static void expect_turn(const hearth_turn *t, hearth_role role,
                        const char *text) {
    assert_int_equal(t->role, role);
    assert_int_equal(t->n, strlen(text));
    assert_memory_equal(t->text, text, t->n);
}

static void record_reads_the_five_forms(void **state) {
    (void)state;
    hearth_record r = parse("{\"text\":\"a\\u00e9\"}");
    assert_int_equal(r.form, HEARTH_FORM_TEXT);
    expect_turn(&r.turn[0], HEARTH_ROLE_TEXT, "a\xC3\xA9");
    hearth_record_free(&r);
    r = parse(" {\"completion\":\"c\",\"prompt\":\"\"} ");
    assert_int_equal(r.form, HEARTH_FORM_PROMPT);
    expect_turn(&r.turn[0], HEARTH_ROLE_PROMPT, "");
    expect_turn(&r.turn[1], HEARTH_ROLE_COMPLETION, "c");
    hearth_record_free(&r);
    r = parse("{\"messages\":[{\"role\":\"system\",\"content\":\"s\"},"
              "{\"role\":\"user\",\"content\":\"u\"},"
              "{\"role\":\"assistant\",\"content\":\"a\"}]}");
    assert_int_equal(r.form, HEARTH_FORM_MESSAGES);
    assert_int_equal(r.n_turns, 3);
    expect_turn(&r.turn[0], HEARTH_ROLE_SYSTEM, "s");
    expect_turn(&r.turn[2], HEARTH_ROLE_ASSISTANT, "a");
    hearth_record_free(&r);
    r = parse("{\"instruction\":\"i\",\"input\":\"\",\"output\":\"o\"}");
    assert_int_equal(r.n_turns, 2);
    expect_turn(&r.turn[1], HEARTH_ROLE_OUTPUT, "o");
    hearth_record_free(&r);
    r = parse("{\"instruction\":\"i\",\"input\":\"n\",\"output\":\"o\"}");
    expect_turn(&r.turn[1], HEARTH_ROLE_INPUT, "n");
    hearth_record_free(&r);
    r = parse("{\"question\":\"q\",\"choices\":[\"x\",\"y\"],\"answer\":1}");
    assert_int_equal(r.form, HEARTH_FORM_CHOICES);
    expect_turn(&r.turn[1], HEARTH_ROLE_CHOICE, "y");
    expect_turn(&r.choice[0], HEARTH_ROLE_CHOICE, "x");
    assert_int_equal(r.n_choices, 2);
    assert_int_equal(r.answer, 1);
    hearth_record_free(&r);
    hearth_record_free(&r);
    hearth_record_free(NULL);
}

static void record_id_is_of_the_content(void **state) {
    (void)state;
    hearth_record a = parse("{\"prompt\":\"p\",\"completion\":\"\\u0063\"}");
    hearth_record b = parse("{ \"completion\":\"c\", \"prompt\":\"p\" }");
    hearth_record c = parse("{\"prompt\":\"pc\",\"completion\":\"c\"}");
    hearth_record d = parse("{\"id\":\"my-1\",\"text\":\"c\"}");
    assert_int_equal(strlen(a.id), 64);
    assert_string_equal(a.id, b.id);
    assert_string_not_equal(a.id, c.id);
    assert_string_equal(d.id, "my-1");
    hearth_record_free(&a);
    hearth_record_free(&b);
    hearth_record_free(&c);
    hearth_record_free(&d);
    a = parse("{\"question\":\"q\",\"choices\":[\"x\",\"y\"],\"answer\":1}");
    b = parse("{\"question\":\"q\",\"choices\":[\"z\",\"y\"],\"answer\":1}");
    assert_string_not_equal(a.id, b.id); /* other choices count too */
    hearth_record_free(&a);
    hearth_record_free(&b);
}

static const struct {
    const char *line, *word;
    hearth_record_form form;
    hearth_status st;
} REFUSALS[] = {
    {"", "JSON", 0, HEARTH_EFORMAT},
    {"{", "JSON", 0, HEARTH_EFORMAT},
    {"{\"text\":\"a\"} x", "JSON", 0, HEARTH_EFORMAT},
    {"{\"text\":\"a\",\"text\":\"b\"}", "once", 0, HEARTH_EFORMAT},
    {"{\"text\":\"a\\u0000b\"}", "JSON", 0, HEARTH_EFORMAT},
    {"{\"text\":\"\xFF\"}", "UTF-8", 0, HEARTH_EFORMAT},
    {"[\"text\"]", "object", 0, HEARTH_EFORMAT},
    {"{}", "five forms", 0, HEARTH_EFORMAT},
    {"{\"text\":1}", "text", 0, HEARTH_EFORMAT},
    {"{\"text\":\"\"}", "empty", 0, HEARTH_EFORMAT},
    {"{\"text\":\"a\",\"label\":1}", "label", 0, HEARTH_EFORMAT},
    {"{\"text\":\"a\",\"prompt\":\"b\"}", "two forms", 0, HEARTH_EFORMAT},
    {"{\"text\":\"a\"}", "messages", HEARTH_FORM_MESSAGES, HEARTH_EFORMAT},
    {"{\"prompt\":\"a\"}", "completion", 0, HEARTH_EFORMAT},
    {"{\"prompt\":null,\"completion\":\"a\"}", "prompt", 0, HEARTH_EFORMAT},
    {"{\"prompt\":\"a\",\"completion\":\"\"}", "empty", 0, HEARTH_EFORMAT},
    {"{\"messages\":{}}", "array", 0, HEARTH_EFORMAT},
    {"{\"messages\":[]}", "assistant", 0, HEARTH_EFORMAT},
    {"{\"messages\":[1]}", "object", 0, HEARTH_EFORMAT},
    {"{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}", "assistant", 0,
     HEARTH_EFORMAT},
    {"{\"messages\":[{\"role\":\"robot\",\"content\":\"a\"}]}", "role", 0,
     HEARTH_EFORMAT},
    {"{\"messages\":[{\"role\":\"assistant\"}]}", "content", 0, HEARTH_EFORMAT},
    {"{\"messages\":[{\"role\":\"user\",\"content\":\"a\",\"name\":1}]}",
     "name", 0, HEARTH_EFORMAT},
    {"{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},"
     "{\"role\":\"system\",\"content\":\"a\"}]}",
     "system", 0, HEARTH_EFORMAT},
    {"{\"instruction\":\"a\"}", "output", 0, HEARTH_EFORMAT},
    {"{\"instruction\":1,\"output\":\"a\"}", "instruction", 0, HEARTH_EFORMAT},
    {"{\"instruction\":\"a\",\"input\":1,\"output\":\"a\"}", "input", 0,
     HEARTH_EFORMAT},
    {"{\"question\":\"a\",\"choices\":[\"x\"],\"answer\":0}", "choices", 0,
     HEARTH_EFORMAT},
    {"{\"question\":\"a\",\"choices\":[\"x\",\"y\"],\"answer\":2}", "answer", 0,
     HEARTH_EFORMAT},
    {"{\"question\":\"a\",\"choices\":[\"x\",\"y\"],\"answer\":-1}", "answer",
     0, HEARTH_EFORMAT},
    {"{\"question\":\"a\",\"choices\":[\"x\",1],\"answer\":0}", "choice", 0,
     HEARTH_EFORMAT},
    {"{\"question\":1,\"choices\":[\"x\",\"y\"],\"answer\":0}", "question", 0,
     HEARTH_EFORMAT},
    {"{\"id\":\"a b\",\"text\":\"a\"}", "id", 0, HEARTH_EFORMAT},
    {"{\"id\":7,\"text\":\"a\"}", "id", 0, HEARTH_EFORMAT},
    {"{\"id\":\"\",\"text\":\"a\"}", "id", 0, HEARTH_EFORMAT},
};

static void record_refuses_by_place_without_quoting(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(REFUSALS) / sizeof(*REFUSALS); i++) {
        hearth_record rec;
        hearth_error err = {HEARTH_OK, ""};
        const char *line = REFUSALS[i].line;
        hearth_status st = hearth_record_parse(
            &rec, line, strlen(line), REFUSALS[i].form, "diary:7", NULL, &err);
        if (st != REFUSALS[i].st || !strstr(err.text, REFUSALS[i].word) ||
            strncmp(err.text, "diary:7: ", 9) != 0)
            fail_msg("refusal %zu (%s): %s", i, REFUSALS[i].word, err.text);
        assert_null(rec.store);
        assert_int_equal(rec.n_turns, 0);
    }
}

/* A record of n messages, or n choices. */
static char *many(const char *head, const char *item, const char *tail,
                  size_t n) {
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    hearth_buf_puts(&b, head);
    for (size_t i = 0; i < n; i++)
        hearth_buf_printf(&b, "%s%s", i ? "," : "", item);
    hearth_buf_puts(&b, tail);
    return (char *)b.v;
}

static void expect_limit(const char *head, const char *item, const char *tail,
                         size_t limit) {
    for (size_t extra = 0; extra < 2; extra++) {
        char *line = many(head, item, tail, limit + extra);
        hearth_record rec;
        assert_int_equal(hearth_record_parse(&rec, line, strlen(line),
                                             HEARTH_FORM_AUTO, NULL, NULL,
                                             NULL),
                         extra ? HEARTH_ETOOBIG : HEARTH_OK);
        hearth_record_free(&rec);
        free(line);
    }
}

static void record_limits_are_exact(void **state) {
    (void)state;
    expect_limit("{\"messages\":[",
                 "{\"role\":\"assistant\",\"content\":\"a\"}", "]}",
                 HEARTH_RECORD_MAX_TURNS);
    expect_limit("{\"question\":\"q\",\"answer\":0,\"choices\":[", "\"a\"",
                 "]}", HEARTH_RECORD_MAX_CHOICES);
    size_t n = HEARTH_RECORD_MAX_LINE + 1;
    char *line = malloc(n);
    assert_non_null(line);
    memset(line, 'x', n);
    memcpy(line, "{\"text\":\"", 9);
    line[n - 3] = '"';
    line[n - 2] = '}';
    line[n - 1] = ' ';
    hearth_record rec;
    assert_ok(hearth_record_parse(&rec, line, n - 1, 0, NULL, NULL, NULL));
    hearth_record_free(&rec);
    assert_int_equal(hearth_record_parse(&rec, line, n, 0, NULL, NULL, NULL),
                     HEARTH_ETOOBIG);
    free(line);
    assert_int_equal(hearth_record_parse(NULL, "{}", 2, 0, NULL, NULL, NULL),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_record_parse(&rec, NULL, 2, 0, NULL, NULL, NULL),
                     HEARTH_EINVAL);
}

static void holdout_takes_one_in_five(void **state) {
    (void)state;
    char id[16];
    size_t held = 0;
    bool holdout;
    for (int i = 0; i < 1000; i++) {
        snprintf(id, sizeof(id), "r%d", i);
        assert_ok(hearth_record_is_holdout(id, &holdout));
        held += holdout;
    }
    assert_in_range(held, 150, 250);
    /* Fixed for ever: SHA-256("r6") begins 25f1c790f16f423d, which 5 divides. */
    assert_ok(hearth_record_is_holdout("r6", &holdout));
    assert_true(holdout);
    assert_ok(hearth_record_is_holdout("abc", &holdout)); /* ba7816bf8f01cfea */
    assert_false(holdout);
    assert_int_equal(hearth_record_is_holdout(NULL, &holdout), HEARTH_EINVAL);
}

static void forms_have_names(void **state) {
    (void)state;
    hearth_record_form f;
    for (int i = 0; i <= HEARTH_FORM_CHOICES; i++) {
        assert_ok(hearth_record_form_parse(
            &f, hearth_record_form_name((hearth_record_form)i), NULL));
        assert_int_equal(f, i);
    }
    assert_int_equal(hearth_record_form_parse(&f, "csv", NULL), HEARTH_EINVAL);
    assert_string_equal(hearth_record_form_name((hearth_record_form)99),
                        "auto");
}

static void record_survives_lack_of_memory(void **state) {
    (void)state;
    const char *line =
        "{\"question\":\"q\",\"choices\":[\"x\",\"y\"],\"answer\":1}";
    for (size_t k = 1;; k++) {
        hearth_fail_alloc fa;
        hearth_alloc al = hearth_fail_alloc_init(&fa, k);
        hearth_record rec;
        hearth_status st =
            hearth_record_parse(&rec, line, strlen(line), 0, NULL, &al, NULL);
        hearth_record_free(&rec);
        assert_int_equal(fa.live, 0);
        if (st == HEARTH_OK) break;
        assert_int_equal(st, HEARTH_ENOMEM);
    }
}

static hearth_status count_one(void *ud, const hearth_record *rec,
                               const char *line, size_t n, hearth_error *err) {
    size_t *count = ud;
    (void)err;
    assert_int_equal(rec->n_turns, 1);
    assert_true(n > 0 && line[0] == '{');
    return ++*count == 99 ? HEARTH_ECANCELLED : HEARTH_OK;
}

static void lines_of_a_file_are_named(void **state) {
    (void)state;
    char dir[64], path[128];
    size_t count = 0;
    hearth_error err = {HEARTH_OK, ""};
    assert_non_null(hearth_test_dir(dir));
    assert_ok(hearth_file_join(path, sizeof(path), dir, "d.jsonl"));
    const char *good = "{\"text\":\"a\"}\n\n  \n{\"text\":\"b\"}\r\n{\"text\":"
                       "\"c\"}";
    assert_ok(hearth_file_write(path, good, strlen(good), 0600, NULL));
    assert_ok(hearth_record_each_line(path, 0, count_one, &count, NULL, NULL));
    assert_int_equal(count, 3);
    count = 98; /* what the callback says is what comes back */
    assert_int_equal(
        hearth_record_each_line(path, 0, count_one, &count, NULL, NULL),
        HEARTH_ECANCELLED);
    const char *bad = "{\"text\":\"a\"}\n\n{\"txt\":\"secret words\"}\n";
    assert_ok(hearth_file_write(path, bad, strlen(bad), 0600, NULL));
    assert_int_equal(
        hearth_record_each_line(path, 0, count_one, &count, NULL, &err),
        HEARTH_EFORMAT);
    assert_non_null(strstr(err.text, "d.jsonl:3: "));
    assert_null(strstr(err.text, "secret"));
    assert_ok(hearth_file_remove_tree(dir, NULL));
    assert_int_equal(
        hearth_record_each_line(path, 0, count_one, &count, NULL, &err),
        HEARTH_ENOTFOUND);
    assert_int_equal(hearth_record_each_line(NULL, 0, count_one, 0, NULL, NULL),
                     HEARTH_EINVAL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(record_reads_the_five_forms),
        cmocka_unit_test(record_id_is_of_the_content),
        cmocka_unit_test(record_refuses_by_place_without_quoting),
        cmocka_unit_test(record_limits_are_exact),
        cmocka_unit_test(holdout_takes_one_in_five),
        cmocka_unit_test(forms_have_names),
        cmocka_unit_test(record_survives_lack_of_memory),
        cmocka_unit_test(lines_of_a_file_are_named),
    };
    return cmocka_run_group_tests_name("client/record", tests, NULL, NULL);
}

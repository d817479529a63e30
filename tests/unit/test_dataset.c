/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_dataset.c - client/train/dataset.h
 *
 * The tokenizer has one token a character: the id of 'a' is 97, begin is 1, end
 * is 2. */
#include "tests/support/cmocka_all.h"

#include "client/train/dataset.h"
#include "client/train/dataset_records.h"
#include "common/file.h"
#include "tests/support/fail_alloc.h"

static hearth_tokenizer *tok;

static int make_tokenizer(void **state) {
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    (void)state;
    hearth_buf_puts(&b,
                    "{\"added_tokens\":[{\"id\":1,\"content\":\"<s>\","
                    "\"special\":true},{\"id\":2,\"content\":\"</s>\","
                    "\"special\":true}],\"post_processor\":{\"type\":"
                    "\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{"
                    "\"id\":\"<s>\",\"type_id\":0}},{\"Sequence\":{\"id\":"
                    "\"A\",\"type_id\":0}}]},\"decoder\":{\"type\":\"Fuse\"},"
                    "\"model\":{\"vocab\":{");
    for (int c = 'a'; c <= 'z'; c++) hearth_buf_printf(&b, "\"%c\":%d,", c, c);
    hearth_buf_puts(&b, "\" \":32},\"merges\":[]}}");
    hearth_status st = hearth_tokenizer_parse(&tok, hearth_buf_str(&b), b.n,
                                              NULL, 0, NULL, NULL);
    hearth_buf_free(&b);
    return st == HEARTH_OK ? 0 : -1;
}

static int drop_tokenizer(void **state) {
    (void)state;
    hearth_tokenizer_close(tok);
    return 0;
}

static hearth_dataset *make(size_t max_tokens, hearth_loss_on loss_on) {
    hearth_dataset_config cfg = HEARTH_DATASET_CONFIG_INIT;
    hearth_dataset *ds = NULL;
    cfg.tmpl = HEARTH_TEMPLATE_PLAIN;
    cfg.max_tokens = max_tokens;
    cfg.loss_on = loss_on;
    assert_ok(hearth_dataset_new(&ds, &cfg, NULL, NULL));
    return ds;
}

static void add(hearth_dataset *ds, const char *line) {
    hearth_record rec;
    assert_ok(hearth_record_parse(&rec, line, strlen(line), HEARTH_FORM_AUTO,
                                  NULL, NULL, NULL));
    assert_ok(hearth_dataset_add_record(ds, tok, &rec, NULL));
    hearth_record_free(&rec);
}

/* Tokens as letters (begin '<', end '>'), labels likewise, '.' for none. */
static void expect(const hearth_dataset *ds, size_t i, const char *tokens,
                   const char *labels) {
    hearth_document d = hearth_dataset_doc(ds, i);
    char got_t[64], got_l[64];
    assert_true(d.n < sizeof(got_t));
    for (size_t k = 0; k < d.n; k++) {
        int32_t t = d.token[k], l = d.label[k];
        got_t[k] = (char)(t == 1 ? '<' : t == 2 ? '>' : t);
        got_l[k] = (char)(l < 0 ? '.' : l == 1 ? '<' : l == 2 ? '>' : l);
    }
    got_t[d.n] = got_l[d.n] = 0;
    assert_string_equal(got_t, tokens);
    assert_string_equal(got_l, labels);
}

static void labels_are_the_next_token_of_the_answer(void **state) {
    (void)state;
    hearth_dataset *ds = make(16, HEARTH_LOSS_ANSWER);
    add(ds, "{\"prompt\":\"ab\",\"completion\":\"cd\"}");
    add(ds, "{\"text\":\"xyz\"}");
    assert_int_equal(hearth_dataset_n_docs(ds), 2);
    expect(ds, 0, "<ab cd>", ".. cd>.");
    expect(ds, 1, "<xyz>", "xyz>.");
    const hearth_dataset_report *r = hearth_dataset_get_report(ds);
    assert_int_equal(r->n_records, 2);
    assert_int_equal(r->n_tokens, 12);
    assert_int_equal(r->n_supervised, 8);
    assert_int_equal(r->n_truncated + r->n_split + r->n_skipped, 0);
    assert_int_equal(hearth_dataset_doc(ds, 1).record, 1);
    hearth_dataset_free(ds);
    ds = make(16, HEARTH_LOSS_ALL);
    add(ds, "{\"prompt\":\"ab\",\"completion\":\"cd\"}");
    expect(ds, 0, "<ab cd>", "ab cd>.");
    hearth_dataset_free(ds);
}

static void long_text_is_split_and_loses_nothing(void **state) {
    (void)state;
    hearth_dataset *ds = make(8, HEARTH_LOSS_ANSWER);
    add(ds, "{\"text\":\"abcdefghijklm\"}");
    assert_int_equal(hearth_dataset_n_docs(ds), 2);
    expect(ds, 0, "<abcdefg", "abcdefg.");
    expect(ds, 1, "ghijklm>", "hijklm>.");
    const hearth_dataset_report *r = hearth_dataset_get_report(ds);
    assert_int_equal(r->n_split, 1);
    assert_int_equal(r->n_tokens_cut, 0);
    assert_int_equal(r->n_supervised, 14); /* each token once */
    assert_int_equal(hearth_dataset_doc(ds, 1).record, 0);
    hearth_dataset_free(ds);
}

static void long_prompt_is_cut_before_the_answer(void **state) {
    (void)state;
    hearth_dataset *ds = make(8, HEARTH_LOSS_ANSWER);
    add(ds, "{\"prompt\":\"abcdefg\",\"completion\":\" xy\"}");
    /* An answer of 7 with its end token: only the begin token is left. */
    add(ds, "{\"prompt\":\"abc\",\"completion\":\" vwxyz\"}");
    expect(ds, 0, "<efg xy>", "... xy>.");
    expect(ds, 1, "< vwxyz>", " vwxyz>.");
    const hearth_dataset_report *r = hearth_dataset_get_report(ds);
    assert_int_equal(r->n_truncated, 2);
    assert_int_equal(r->n_tokens_cut, 4 + 3);
    assert_int_equal(r->n_answers_cut + r->n_answers_lost, 0);
    hearth_dataset_free(ds);
}

static void only_an_answer_alone_too_long_loses_its_end(void **state) {
    (void)state;
    hearth_dataset *ds = make(8, HEARTH_LOSS_ANSWER);
    add(ds, "{\"prompt\":\"abcd\",\"completion\":\" uvwxyz\"}");
    expect(ds, 0, "<d uvwxy", ". uvwxy.");
    const hearth_dataset_report *r = hearth_dataset_get_report(ds);
    assert_int_equal(r->n_truncated, 1);
    assert_int_equal(r->n_answers_cut, 1);
    assert_int_equal(r->n_answers_lost, 0);
    assert_int_equal(r->n_tokens_cut, 5);
    hearth_dataset_free(ds);
}

static void left_out_earlier_answers_are_counted(void **state) {
    (void)state;
    hearth_dataset *ds = make(24, HEARTH_LOSS_ANSWER);
    hearth_record rec = HEARTH_RECORD_INIT;
    hearth_turn turn[] = {{HEARTH_ROLE_PROMPT, "aaaaaaaa", 8},
                          {HEARTH_ROLE_COMPLETION, " bbb", 4},
                          {HEARTH_ROLE_PROMPT, " cccccccccccccc", 15},
                          {HEARTH_ROLE_COMPLETION, " ddd", 4}};
    rec.form = HEARTH_FORM_MESSAGES;
    rec.turn = turn;
    rec.n_turns = 4;
    assert_ok(hearth_dataset_add_record(ds, tok, &rec, NULL));
    const hearth_dataset_report *r = hearth_dataset_get_report(ds);
    expect(ds, 0, "<bbb cccccccccccccc ddd>", "bbb............... ddd>.");
    assert_int_equal(r->n_answers_cut, 1);
    assert_int_equal(r->n_answers_lost, 0);
    turn[2].text = " cccccccccccccccccc";
    turn[2].n = 19;
    assert_ok(hearth_dataset_add_record(ds, tok, &rec, NULL));
    assert_int_equal(r->n_answers_lost, 1);
    assert_int_equal(r->n_truncated, 2);
    hearth_dataset_free(ds);
}

static void choices_become_documents_of_their_own(void **state) {
    (void)state;
    hearth_dataset_config cfg = HEARTH_DATASET_CONFIG_INIT;
    hearth_dataset *ds = NULL;
    hearth_record rec = HEARTH_RECORD_INIT;
    hearth_turn turn[] = {{HEARTH_ROLE_PROMPT, "q", 1},
                          {HEARTH_ROLE_COMPLETION, " y", 2}};
    hearth_turn choice[] = {{HEARTH_ROLE_COMPLETION, " x", 2},
                            {HEARTH_ROLE_COMPLETION, " y", 2}};
    cfg.all_choices = true;
    cfg.no_end = true;
    assert_ok(hearth_dataset_new(&ds, &cfg, NULL, NULL));
    rec.form = HEARTH_FORM_CHOICES;
    rec.turn = turn;
    rec.n_turns = 2;
    rec.choice = choice;
    rec.n_choices = 2;
    rec.answer = 1;
    assert_ok(hearth_dataset_add_record(ds, tok, &rec, NULL));
    assert_int_equal(hearth_dataset_n_docs(ds), 2);
    expect(ds, 0, "<q x", ". x.");
    expect(ds, 1, "<q y", ". y.");
    hearth_document d = hearth_dataset_doc(ds, 1);
    assert_int_equal(d.choice, 1);
    assert_int_equal(d.n_choices, 2);
    assert_int_equal(d.answer, 1);
    assert_int_equal(d.record, 0);
    assert_int_equal(hearth_dataset_get_report(ds)->n_records, 1);
    hearth_dataset_free(ds);
}

static void ready_tokens_are_taken_as_they_are(void **state) {
    (void)state;
    hearth_dataset *ds = make(8, HEARTH_LOSS_ANSWER);
    const int32_t t[9] = {1, 2, 3}, l[9] = {-1, 3, -1};
    assert_ok(hearth_dataset_add_tokens(ds, t, l, 3, NULL));
    assert_int_equal(hearth_dataset_get_report(ds)->n_supervised, 1);
    assert_int_equal(hearth_dataset_add_tokens(ds, t, l, 2, NULL),
                     HEARTH_EINVAL); /* the last has a label */
    assert_int_equal(hearth_dataset_add_tokens(ds, t, l, 0, NULL),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_dataset_add_tokens(ds, t, l, 9, NULL),
                     HEARTH_EINVAL);
    hearth_dataset_free(ds);
}

static void dataset_refuses_and_stays_as_it_was(void **state) {
    (void)state;
    hearth_dataset_config cfg = HEARTH_DATASET_CONFIG_INIT;
    hearth_dataset *ds = NULL;
    hearth_record rec = HEARTH_RECORD_INIT;
    const char *line = "{\"prompt\":\"ab\",\"completion\":\"c!\"}";
    cfg.max_tokens = HEARTH_DATASET_MIN_TOKENS - 1;
    assert_int_equal(hearth_dataset_new(&ds, &cfg, NULL, NULL), HEARTH_EINVAL);
    assert_null(ds);
    ds = make(HEARTH_DATASET_MIN_TOKENS, HEARTH_LOSS_ANSWER);
    assert_int_equal(hearth_dataset_add_record(ds, tok, &rec, NULL),
                     HEARTH_EINVAL);
    assert_ok(
        hearth_record_parse(&rec, line, strlen(line), 0, NULL, NULL, NULL));
    assert_int_equal(hearth_dataset_add_record(ds, tok, &rec, NULL),
                     HEARTH_EFORMAT); /* '!' is in no token */
    hearth_record_free(&rec);
    assert_int_equal(hearth_dataset_get_report(ds)->n_records, 0);
    assert_int_equal(hearth_dataset_n_docs(ds), 0);
    hearth_dataset_free(ds);
    hearth_dataset_free(NULL);
}

static void files_and_stores_give_data_sets(void **state) {
    (void)state;
    char dir[64], path[128];
    hearth_dataset_config cfg = HEARTH_DATASET_CONFIG_INIT;
    hearth_dataset *ds = NULL;
    hearth_db *db;
    hearth_record_store *rs;
    hearth_error err = {HEARTH_OK, ""};
    assert_non_null(hearth_test_dir(dir));
    assert_ok(hearth_file_join(path, sizeof(path), dir, "d.jsonl"));
    const char *two = "{\"text\":\"ab\"}\n{\"text\":\"cd\"}\n";
    assert_ok(hearth_file_write(path, two, strlen(two), 0600, NULL));
    assert_ok(hearth_dataset_from_jsonl(&ds, path, tok, &cfg, NULL, NULL));
    assert_int_equal(hearth_dataset_n_docs(ds), 2);
    hearth_dataset_free(ds);
    assert_ok(hearth_db_open(&db, ":memory:", NULL, NULL));
    assert_ok(hearth_record_store_open(&rs, db, NULL, hearth_clock_system(),
                                       NULL, NULL));
    assert_ok(hearth_record_store_import(rs, path, NULL, NULL, NULL));
    assert_ok(hearth_dataset_from_store(&ds, rs, HEARTH_SPLIT_ALL, "personal",
                                        tok, &cfg, NULL, NULL));
    assert_int_equal(hearth_dataset_n_docs(ds), 2);
    hearth_dataset_free(ds);
    assert_ok(hearth_dataset_from_store(&ds, rs, HEARTH_SPLIT_ALL, "federated",
                                        tok, &cfg, NULL, NULL));
    assert_int_equal(hearth_dataset_n_docs(ds), 0);
    hearth_dataset_free(ds);
    /* "!" is no token: passed over here, an error in a file. */
    const char *odd = "{\"text\":\"a!\"}\n";
    assert_ok(hearth_file_write(path, odd, strlen(odd), 0600, NULL));
    assert_ok(hearth_record_store_import(rs, path, NULL, NULL, NULL));
    assert_ok(hearth_dataset_from_store(&ds, rs, HEARTH_SPLIT_ALL, "personal",
                                        tok, &cfg, NULL, NULL));
    assert_int_equal(hearth_dataset_n_docs(ds), 2);
    assert_int_equal(hearth_dataset_get_report(ds)->n_refused, 1);
    hearth_dataset_free(ds);
    assert_int_equal(
        hearth_dataset_from_jsonl(&ds, path, tok, &cfg, NULL, &err),
        HEARTH_EFORMAT);
    hearth_record_store_close(rs);
    hearth_db_close(db);
    assert_ok(hearth_file_write(path, "\n", 1, 0600, NULL));
    assert_int_equal(
        hearth_dataset_from_jsonl(&ds, path, tok, &cfg, NULL, &err),
        HEARTH_EFORMAT);
    assert_null(ds);
    assert_ok(hearth_file_remove_tree(dir, NULL));
    assert_int_equal(
        hearth_dataset_from_jsonl(&ds, path, tok, &cfg, NULL, &err),
        HEARTH_ENOTFOUND);
    assert_int_equal(
        hearth_dataset_from_jsonl(&ds, NULL, tok, &cfg, NULL, &err),
        HEARTH_EINVAL);
    assert_int_equal(hearth_dataset_from_store(&ds, NULL, HEARTH_SPLIT_ALL,
                                               NULL, tok, &cfg, NULL, &err),
                     HEARTH_EINVAL);
}

static void dataset_survives_lack_of_memory(void **state) {
    (void)state;
    hearth_record rec;
    const char *line = "{\"question\":\"q\",\"choices\":[\"x\",\"y\"],"
                       "\"answer\":1}";
    assert_ok(
        hearth_record_parse(&rec, line, strlen(line), 0, NULL, NULL, NULL));
    /* Roles of choices need letters that this tokenizer lacks. */
    rec.turn[0].role = HEARTH_ROLE_PROMPT;
    for (size_t i = 0; i < 2; i++) rec.choice[i].role = HEARTH_ROLE_COMPLETION;
    for (size_t k = 1;; k++) {
        hearth_fail_alloc fa;
        hearth_alloc al = hearth_fail_alloc_init(&fa, k);
        hearth_dataset_config cfg = HEARTH_DATASET_CONFIG_INIT;
        hearth_dataset *ds = NULL;
        cfg.all_choices = true;
        hearth_status st = hearth_dataset_new(&ds, &cfg, &al, NULL);
        if (st == HEARTH_OK) {
            st = hearth_dataset_add_record(ds, tok, &rec, NULL);
            if (st != HEARTH_OK) assert_int_equal(hearth_dataset_n_docs(ds), 0);
        }
        hearth_dataset_free(ds);
        assert_int_equal(fa.live, 0);
        if (st == HEARTH_OK) break;
        assert_int_equal(st, HEARTH_ENOMEM);
    }
    hearth_record_free(&rec);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(labels_are_the_next_token_of_the_answer),
        cmocka_unit_test(long_text_is_split_and_loses_nothing),
        cmocka_unit_test(long_prompt_is_cut_before_the_answer),
        cmocka_unit_test(only_an_answer_alone_too_long_loses_its_end),
        cmocka_unit_test(left_out_earlier_answers_are_counted),
        cmocka_unit_test(choices_become_documents_of_their_own),
        cmocka_unit_test(ready_tokens_are_taken_as_they_are),
        cmocka_unit_test(dataset_refuses_and_stays_as_it_was),
        cmocka_unit_test(files_and_stores_give_data_sets),
        cmocka_unit_test(dataset_survives_lack_of_memory),
    };
    return cmocka_run_group_tests_name("client/dataset", tests, make_tokenizer,
                                       drop_tokenizer);
}

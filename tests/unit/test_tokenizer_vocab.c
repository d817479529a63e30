/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_tokenizer_vocab.c - client/tokenizer/tokenizer_vocab.c: a
 * folder with vocab.json and merges.txt.  The same on a real vocabulary is
 * compared with the tokenizers package in tests/oracle/oracle_tokenizer.py. */
#include <stdio.h>
#include <unistd.h>

#include "tests/support/cmocka_all.h"

#include "client/tokenizer/tokenizer.h"
#include "common/file.h"
#include "tests/support/fail_alloc.h"

#define SPACE "\xC4\xA0" /* GPT-2's space */
#define VOCAB                                                                  \
    "{\"a\":0,\"b\":1,\"ab\":2,\"1\":3,\"2\":4,\"12\":5,\"" SPACE "\":6,"      \
    "\"" SPACE "a\":7,\"\xC3\x83\":8,\"\xC2\xA9\":9,\"e\":10,\"\xC3\x8C\":11," \
    "\"\xC4\xA3\":12,\"<|endoftext|>\":13}"
#define MERGES "#version: 0.2\r\na b\r\n\n1 2\n" SPACE " a"
#define GPT2   "{\"tokenizer_class\":\"GPT2TokenizerFast\"}"

static hearth_error error;

/* Texts of the files; NULL: no such file. */
typedef struct {
    const char *vocab, *merges, *config, *model, *added;
} folder;

static void put_file(const char *dir, const char *name, const char *text) {
    char path[128];
    if (!text) return;
    (void)snprintf(path, sizeof(path), "%.63s/%s", dir, name);
    assert_ok(hearth_file_write(path, text, strlen(text), 0644, &error));
}

static void write_folder(const folder *f, char dir[64]) {
    assert_non_null(hearth_test_dir(dir));
    put_file(dir, "vocab.json", f->vocab);
    put_file(dir, "merges.txt", f->merges);
    put_file(dir, "tokenizer_config.json", f->config);
    put_file(dir, "config.json", f->model);
    put_file(dir, "added_tokens.json", f->added);
}

static hearth_status try_open(const folder *f, hearth_tokenizer **t) {
    char dir[64];
    write_folder(f, dir);
    error = (hearth_error){HEARTH_OK, ""};
    hearth_status st = hearth_tokenizer_open(t, dir, NULL, &error);
    assert_true((st == HEARTH_OK) == (*t != NULL));
    if (st == HEARTH_EFORMAT || st == HEARTH_EUNSUPPORTED)
        assert_int_equal(strncmp(error.text, dir, strlen(dir)), 0);
    assert_ok(hearth_file_remove_tree(dir, NULL));
    return st;
}

static hearth_tokenizer *open_of(const folder *f) {
    hearth_tokenizer *t = NULL;
    if (try_open(f, &t) != HEARTH_OK) fail_msg("%s", error.text);
    return t;
}

static void expect_ids(const hearth_tokenizer *t, const char *text,
                       const int32_t *want, size_t n) {
    hearth_ids ids;
    hearth_ids_init(&ids, NULL);
    assert_ok(hearth_tokenizer_encode(t, text, strlen(text), true, &ids, NULL));
    assert_int_equal(ids.n, n);
    assert_memory_equal(ids.id, want, n * sizeof(*want));
    hearth_ids_free(&ids);
}

#define EXPECT(t, text, ...)                                                   \
    do {                                                                       \
        const int32_t want_[] = {__VA_ARGS__};                                 \
        expect_ids(t, text, want_, sizeof(want_) / sizeof(want_[0]));          \
    } while (0)

static void gpt2_splits_and_merges(void **state) {
    (void)state;
    folder f = {VOCAB, MERGES, GPT2, NULL, NULL};
    hearth_tokenizer *t = open_of(&f);
    EXPECT(t, "ab 12 a", 2, 6, 5, 7);
    EXPECT(t, "1212", 5, 5);
    EXPECT(t, "e\xCC\x81", 10, 11, 12); /* not composed */
    EXPECT(t, "a<|endoftext|>", 0, 13);
    assert_true(hearth_tokenizer_is_special(t, 13));
    assert_int_equal(hearth_tokenizer_eos(t), 13);
    hearth_tokenizer_close(t);
    f.config = NULL; /* the model's type stands for the class */
    f.model = "{\"x\":[1],\"model_type\":\"gpt2\"}";
    t = open_of(&f);
    EXPECT(t, "1212", 5, 5);
    hearth_tokenizer_close(t);
}

static void qwen2_composes_and_takes_digits_one_by_one(void **state) {
    (void)state;
    folder f = {VOCAB, MERGES,
                "{\"add_prefix_space\":false,\"added_tokens_decoder\":{"
                "\"13\":{\"content\":\"<|endoftext|>\",\"special\":true},"
                "\"14\":{\"content\":\"<|im_end|>\",\"special\":true}},"
                "\"eos_token\":\"<|im_end|>\",\"chat_template\":\"x\","
                "\"tokenizer_class\":\"Qwen2Tokenizer\"}",
                NULL, "{}"};
    hearth_tokenizer *t = open_of(&f);
    EXPECT(t, "1212", 3, 4, 3, 4);
    EXPECT(t, "e\xCC\x81", 8, 9); /* U+00E9 */
    EXPECT(t, "a<|im_end|>", 0, 14);
    assert_int_equal(hearth_tokenizer_eos(t), 14);
    assert_int_equal(hearth_tokenizer_vocab_size(t), 15);
    assert_non_null(hearth_tokenizer_template_digest(t));
    hearth_tokenizer_close(t);
}

static void what_changes_ids_is_refused_by_name(void **state) {
    static const struct {
        const char *word;
        folder f;
    } c[] = {
        {"of a \"LlamaTokenizer\" is not read",
         {VOCAB, MERGES, "{\"tokenizer_class\":\"LlamaTokenizer\"}", NULL,
          NULL}},
        {"of a \"opt\" is not read",
         {VOCAB, MERGES, "{}", "{\"model_type\":\"opt\"}", NULL}},
        {"nothing says which tokenizer",
         {VOCAB, MERGES, "{}", "{\"model_type\":1}", NULL}},
        {"nothing says which tokenizer", {VOCAB, MERGES, NULL, "[", NULL}},
        {"nothing says which tokenizer", {VOCAB, MERGES, NULL, NULL, NULL}},
        {"add_prefix_space of",
         {VOCAB, MERGES, "{\"add_prefix_space\":true}", NULL, NULL}},
        {"add_bos_token of",
         {VOCAB, MERGES, "{\"add_bos_token\":true}", NULL, NULL}},
        {"add_eos_token of",
         {VOCAB, MERGES, "{\"add_eos_token\":true}", NULL, NULL}},
        {"added_tokens.json without", {VOCAB, MERGES, GPT2, NULL, "{}"}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
        hearth_tokenizer *t = NULL;
        if (try_open(&c[i].f, &t) != HEARTH_EUNSUPPORTED ||
            !strstr(error.text, c[i].word) ||
            !strstr(error.text, "save_pretrained"))
            fail_msg("%s: %s", c[i].word, error.text);
    }
}

static void broken_files_are_refused(void **state) {
    static const struct {
        const char *word;
        folder f;
    } c[] = {
        {"merges.txt is missing", {VOCAB, NULL, GPT2, NULL, NULL}},
        {"vocab.json is broken", {"[]", MERGES, GPT2, NULL, NULL}},
        {"vocab.json is broken", {"{\"a\":\"b\"}", MERGES, GPT2, NULL, NULL}},
        {"vocab.json is broken", {"{\"a\":0", MERGES, GPT2, NULL, NULL}},
        {"vocab.json is broken", {"{\"a\":0} 1", MERGES, GPT2, NULL, NULL}},
        {"vocab.json is broken",
         {"{\"<|endoftext|>\":1.5}", MERGES, GPT2, NULL, NULL}},
        {"tokenizer_config.json is broken", {VOCAB, MERGES, "[]", NULL, NULL}},
        {"tokenizer_config.json is broken",
         {VOCAB, MERGES, "{\"a\":}", NULL, NULL}},
        {"tokenizer_config.json is broken",
         {VOCAB, MERGES, "{\"tokenizer_class\":1}", NULL, NULL}},
        {"tokenizer_config.json is broken",
         {VOCAB, MERGES, "{} {}", NULL, NULL}},
        {"tokenizer_config.json is broken",
         {VOCAB, MERGES, "{\"added_tokens_decoder\":[]}", NULL, NULL}},
        {"tokenizer_config.json is broken",
         {VOCAB, MERGES, "{\"added_tokens_decoder\":{\"x\":{}}}", NULL, NULL}},
        {"tokenizer_config.json is broken",
         {VOCAB, MERGES, "{\"added_tokens_decoder\":{\"1\":1}}", NULL, NULL}},
        {"tokenizer_config.json is broken",
         {VOCAB, MERGES, "{\"added_tokens_decoder\":{\"1\":{\"a\":}}}", NULL,
          NULL}},
        {"tokenizer_config.json is broken",
         {VOCAB, MERGES, "{\"added_tokens_decoder\":{\"1\":{\"a\":1} 2}}", NULL,
          NULL}},
        {"put together: tokenizer.json",
         {VOCAB, "a z", GPT2, NULL, NULL}}, /* no such token */
        {"put together: tokenizer.json",
         {VOCAB, MERGES,
          "{\"tokenizer_class\":\"GPT2Tokenizer\",\"added_tokens_decoder\":{"
          "\"1\":{}}}",
          NULL, NULL}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
        hearth_tokenizer *t = NULL;
        if (try_open(&c[i].f, &t) != HEARTH_EFORMAT ||
            !strstr(error.text, c[i].word))
            fail_msg("%zu, %s: %s", i, c[i].word, error.text);
    }
}

static void folders_without_a_vocabulary_are_told_apart(void **state) {
    (void)state;
    char dir[64], path[128];
    hearth_tokenizer *t = NULL;
    assert_non_null(hearth_test_dir(dir));
    assert_int_equal(hearth_tokenizer_open(&t, dir, NULL, &error),
                     HEARTH_ENOTFOUND);
    put_file(dir, "tokenizer.model", "x");
    assert_int_equal(hearth_tokenizer_open(&t, dir, NULL, &error),
                     HEARTH_EUNSUPPORTED);
    assert_non_null(strstr(error.text, "tokenizer.model by itself"));
    put_file(dir, "vocab.json", VOCAB);
    put_file(dir, "merges.txt", MERGES);
    put_file(dir, "tokenizer_config.json", GPT2);
    (void)snprintf(path, sizeof(path), "%.63s/merges.txt", dir);
    assert_int_equal(truncate(path, (off_t)HEARTH_TOKENIZER_MAX_FILE + 1), 0);
    assert_int_equal(hearth_tokenizer_open(&t, dir, NULL, &error),
                     HEARTH_ETOOBIG);
    assert_non_null(strstr(error.text, "merges.txt is above 64 MiB"));
    assert_null(t);
    assert_ok(hearth_file_remove_tree(dir, NULL));
}

static void lack_of_memory_is_survived(void **state) {
    (void)state;
    const folder f = {VOCAB, MERGES, GPT2, NULL, NULL};
    char dir[64];
    write_folder(&f, dir);
    for (size_t k = 1;; k++) {
        hearth_fail_alloc fa;
        hearth_alloc al = hearth_fail_alloc_init(&fa, k);
        hearth_tokenizer *t = NULL;
        hearth_status st = hearth_tokenizer_open(&t, dir, &al, &error);
        hearth_tokenizer_close(t);
        assert_int_equal(fa.live, 0);
        if (st == HEARTH_OK) break;
        assert_int_equal(st, HEARTH_ENOMEM);
        assert_true(error.text[0]);
        assert_true(k < 300);
    }
    assert_ok(hearth_file_remove_tree(dir, NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gpt2_splits_and_merges),
        cmocka_unit_test(qwen2_composes_and_takes_digits_one_by_one),
        cmocka_unit_test(what_changes_ids_is_refused_by_name),
        cmocka_unit_test(broken_files_are_refused),
        cmocka_unit_test(folders_without_a_vocabulary_are_told_apart),
        cmocka_unit_test(lack_of_memory_is_survived),
    };
    return cmocka_run_group_tests_name("client/tokenizer/tokenizer_vocab",
                                       tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_convert_tokenizer.c - client/model/convert_tokenizer.h: what
 * GGUF's words say is read back as the same tokenizer. */
#include <stdio.h>

#include "tests/support/cmocka_all.h"
#include "tests/support/fail_alloc.h"

#include "client/model/convert_tokenizer.h"
#include "client/tokenizer/tokenizer.h"
#include "common/file.h"

#define BYTES                                                                  \
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}"
#define WORDS(digits_)                                                         \
    "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\","           \
    "\"pattern\":{\"Regex\":\"(?i:'s|'t|'re|'ve|'m|'ll|'d)|"                   \
    "[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}" digits_                 \
    "| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|"           \
    "\\\\s+(?!\\\\S)|\\\\s+\"},\"behavior\":\"Isolated\",\"invert\":false},"   \
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"                      \
    "\"use_regex\":false}]}"
#define DIGITS                                                                 \
    "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\","          \
    "\"individual_digits\":true}," BYTES "]}"
#define ADDED                                                                  \
    "\"added_tokens\":[{\"id\":6,\"content\":\"<end>\",\"special\":true,"      \
    "\"normalized\":false},{\"id\":7,\"content\":\"#\",\"special\":false,"     \
    "\"normalized\":false}],"
#define BPE(pre_, more_, merges_)                                              \
    "{" ADDED "\"normalizer\":null,\"pre_tokenizer\":" pre_                    \
    ",\"post_processor\":null,\"decoder\":{\"type\":\"ByteLevel\"},"           \
    "\"model\":{\"type\":\"BPE\"," more_ "\"vocab\":{\"a\":0,\"b\":1,"         \
    "\"ab\":2,\"1\":3,\"abab\":4,\"\\u0120\":5},\"merges\":" merges_ "}}"
#define PAIRS "[[\"a\",\"b\"],[\"ab\",\"ab\"]]"
#define SPM(normalizer_, pre_)                                                 \
    "{\"added_tokens\":[{\"id\":0,\"content\":\"<unk>\",\"special\":true},"    \
    "{\"id\":1,\"content\":\"<s>\",\"special\":true}],\"normalizer\":"         \
    "{\"type\":\"Sequence\",\"normalizers\":[" normalizer_                     \
    "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},"                    \
    "\"content\":\"\\u2581\"}]},\"pre_tokenizer\":" pre_ ","                   \
    "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":["         \
    "{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}},"                       \
    "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"pair\":[],"                \
    "\"special_tokens\":{\"<s>\":{\"id\":\"<s>\",\"ids\":[1],"                 \
    "\"tokens\":[\"<s>\"]}}},\"decoder\":{\"type\":\"Fuse\"},\"model\":{"      \
    "\"type\":\"BPE\","                                                        \
    "\"unk_token\":\"<unk>\",\"fuse_unk\":true,\"byte_fallback\":true,"        \
    "\"vocab\":{\"<unk>\":0,\"<s>\":1,\"<0x41>\":2,\"\\u2581\":3,\"a\":4,"     \
    "\"b\":5,\"ab\":6,\"\\u2581ab\":7,\"ba\":8},"                              \
    "\"merges\":[\"b a\",\"a b\",\"\\u2581 ab\"]}}"
#define PREPEND "{\"type\":\"Prepend\",\"prepend\":\"\\u2581\"},"

#define N_WORDS 10

static hearth_error error;

typedef struct {
    char dir[64], path[128];
    bool done;
    hearth_gguf *g;
} made;

static made make(const char *json, uint32_t n_vocab) {
    made m = {.done = false};
    hearth_gguf_writer *w = NULL;
    assert_non_null(hearth_test_dir(m.dir));
    (void)snprintf(m.path, sizeof(m.path), "%.63s/t.gguf", m.dir);
    assert_ok(hearth_gguf_writer_new(&w, m.path, NULL, &error));
    hearth_gguf_put_string(w, "general.architecture", "llama", 5);
    if (strstr(json, "<s>"))
        hearth_gguf_put_u32(w, "tokenizer.ggml.bos_token_id", 1);
    if (hearth_convert_tokenizer_json(w, json, strlen(json), n_vocab, &m.done,
                                      NULL, &error) != HEARTH_OK)
        fail_msg("%s", error.text);
    assert_ok(hearth_gguf_writer_finish(w, &error));
    hearth_gguf_writer_free(w);
    assert_ok(hearth_gguf_open(&m.g, m.path, NULL, &error));
    return m;
}

static void drop(made *m) {
    hearth_gguf_close(m->g);
    assert_ok(hearth_file_remove_tree(m->dir, NULL));
}

static void assert_string_key(const hearth_gguf *g, const char *key,
                              const char *text) {
    const char *s;
    size_t n;
    assert_ok(hearth_gguf_string(g, key, &s, &n));
    assert_int_equal(n, strlen(text));
    assert_memory_equal(s, text, n);
}

/* Both tokenizers give the same ids. */
static void assert_same_ids(const char *json, const char *path) {
    static const char *const texts[] = {"ab abab#a1b 11", "  ba<end>ab", "A",
                                        "bab ab"};
    hearth_tokenizer *a = NULL, *b = NULL;
    hearth_ids x, y;
    if (hearth_tokenizer_parse(&a, json, strlen(json), NULL, 0, NULL, &error) ||
        hearth_tokenizer_open(&b, path, NULL, &error))
        fail_msg("%s", error.text);
    for (size_t i = 0; i < 4; i++) {
        hearth_ids_init(&x, NULL);
        hearth_ids_init(&y, NULL);
        size_t n = strlen(texts[i]);
        hearth_status s =
            hearth_tokenizer_encode(a, texts[i], n, true, &x, NULL);
        hearth_status t =
            hearth_tokenizer_encode(b, texts[i], n, true, &y, NULL);
        assert_int_equal(s, t);
        assert_int_equal(x.n, y.n);
        if (x.n) assert_memory_equal(x.id, y.id, x.n * sizeof(*x.id));
        hearth_ids_free(&x);
        hearth_ids_free(&y);
    }
    hearth_tokenizer_close(a);
    hearth_tokenizer_close(b);
}

static void byte_levels_have_names(void **state) {
    static const struct {
        const char *json, *pre;
    } good[] = {
        {BPE(BYTES, "", PAIRS), "gpt-2"},
        {BPE(BYTES, "", "[\"a b\",\"ab ab\"]"), "gpt-2"},
        {BPE(DIGITS, "", PAIRS), "smollm"},
        {BPE(WORDS(""), "", PAIRS), "qwen2"},
        {BPE(WORDS("{1,3}"), "\"ignore_merges\":true,", PAIRS), "llama-bpe"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        made m = make(good[i].json, N_WORDS);
        assert_true(m.done);
        assert_string_key(m.g, "tokenizer.ggml.model", "gpt2");
        assert_string_key(m.g, "tokenizer.ggml.pre", good[i].pre);
        assert_same_ids(good[i].json, m.path);
        drop(&m);
    }
}

static void lists_are_as_long_as_the_model(void **state) {
    static const double types[N_WORDS] = {1, 1, 1, 1, 1, 1, 3, 4, 5, 5};
    hearth_gguf_array a;
    const char *s;
    size_t n;
    double x;
    (void)state;
    made m = make(BPE(BYTES, "", PAIRS), N_WORDS);
    assert_ok(hearth_gguf_array_open(m.g, "tokenizer.ggml.tokens", &a));
    assert_int_equal(a.n, N_WORDS);
    for (size_t i = 0; i < N_WORDS; i++)
        assert_true(hearth_gguf_array_string(&a, &s, &n));
    assert_memory_equal(s, "[PAD9]", n);
    assert_ok(hearth_gguf_array_open(m.g, "tokenizer.ggml.token_type", &a));
    for (size_t i = 0; i < N_WORDS; i++) {
        assert_true(hearth_gguf_array_number(&a, &x));
        assert_true(x == types[i]);
    }
    assert_ok(hearth_gguf_array_open(m.g, "tokenizer.ggml.merges", &a));
    assert_int_equal(a.n, 2);
    assert_true(hearth_gguf_array_string(&a, &s, &n));
    assert_memory_equal(s, "a b", n);
    drop(&m);
}

static void byte_fallback_becomes_scores(void **state) {
    static const double scores[9] = {-4, -4, -4, -4, -4, -4, -1, -2, 0};
    static const struct {
        const char *json;
        bool prefix;
    } good[] = {
        {SPM(PREPEND, "null"), true},
        {SPM("", "null"), false},
        {SPM("", "{\"type\":\"Split\",\"pattern\":{\"String\":\" \"},"
                 "\"behavior\":\"MergedWithPrevious\",\"invert\":false}"),
         false},
    };
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        hearth_gguf_array a;
        bool on = false;
        double x;
        made m = make(good[i].json, N_WORDS);
        assert_true(m.done);
        assert_string_key(m.g, "tokenizer.ggml.model", "llama");
        assert_ok(hearth_gguf_bool(m.g, "tokenizer.ggml.add_bos_token", &on));
        assert_true(on);
        assert_ok(
            hearth_gguf_bool(m.g, "tokenizer.ggml.add_space_prefix", &on));
        assert_int_equal(on, good[i].prefix);
        assert_ok(hearth_gguf_array_open(m.g, "tokenizer.ggml.scores", &a));
        for (size_t k = 0; k < 9; k++) {
            assert_true(hearth_gguf_array_number(&a, &x));
            assert_true(x == scores[k]);
        }
        assert_ok(hearth_gguf_array_open(m.g, "tokenizer.ggml.token_type", &a));
        const double types[4] = {2, 3, 6, 1};
        for (size_t k = 0; k < 4; k++) {
            assert_true(hearth_gguf_array_number(&a, &x));
            assert_true(x == types[k]);
        }
        assert_same_ids(good[i].json, m.path);
        drop(&m);
    }
}

static void what_has_no_name_is_not_written(void **state) {
    static const char *const odd[] = {
        BPE("{\"type\":\"Whitespace\"}", "", PAIRS),
        BPE("{\"type\":\"ByteLevel\",\"add_prefix_space\":true}", "", PAIRS),
        BPE("{\"type\":\"ByteLevel\",\"use_regex\":false}", "", PAIRS),
        BPE("{\"type\":\"Split\",\"pattern\":{\"Regex\":\"x\"}}", "", PAIRS),
        BPE(BYTES, "\"ignore_merges\":true,", PAIRS),
        BPE(WORDS("{1,3}"), "\"ignore_merges\":false,", PAIRS),
        BPE(BYTES, "\"end_of_word_suffix\":\"</w>\",", PAIRS),
        BPE("null", "", PAIRS),
        "{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",0.5]]}}",
        "{\"normalizer\":{\"type\":\"Lowercase\"},\"model\":{}}",
        "{\"post_processor\":{\"type\":\"BertProcessing\"},\"model\":{}}",
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":10},\"merges\":[]}}",
    };
    uint64_t id;
    (void)state;
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        made m = make(odd[i], N_WORDS);
        if (m.done) fail_msg("case %zu has a name", i);
        assert_int_equal(
            hearth_gguf_u64(m.g, "tokenizer.ggml.unknown_token_id", &id),
            HEARTH_ENOTFOUND);
        drop(&m);
    }
}

static void broken_texts_are_errors(void **state) {
    static const char *const bad[] = {
        "",
        "[]",
        "{\"model\":3}",
        "{\"model\":{\"vocab\":[]}}",
        "{\"model\":{\"vocab\":{\"a\":\"b\"}}}",
        "{\"model\":{\"vocab\":{},\"merges\":{}}}",
        "{\"model\":{\"vocab\":{},\"merges\":[\"a\"]}}",
        "{\"model\":{\"vocab\":{},\"merges\":[[\"a\"]]}}",
        "{\"model\":{\"vocab\":{},\"merges\":[[\"a\",\"b\",\"c\"]]}}",
        "{\"added_tokens\":{}}",
        "{\"added_tokens\":[{\"id\":1.5}]}",
        "{\"version\":",
    };
    char dir[64], path[128];
    bool done = true;
    (void)state;
    assert_non_null(hearth_test_dir(dir));
    (void)snprintf(path, sizeof(path), "%.63s/t.gguf", dir);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        hearth_gguf_writer *w = NULL;
        assert_ok(hearth_gguf_writer_new(&w, path, NULL, NULL));
        hearth_status st = hearth_convert_tokenizer_json(
            w, bad[i], strlen(bad[i]), N_WORDS, &done, NULL, &error);
        if (st != HEARTH_EFORMAT || done) fail_msg("case %zu: %d", i, (int)st);
        hearth_gguf_writer_free(w);
    }
    assert_ok(hearth_file_remove_tree(dir, NULL));
}

static void allocation_failures_are_clean(void **state) {
    static const char json[] = SPM(PREPEND, "null");
    char dir[64], path[128];
    (void)state;
    assert_non_null(hearth_test_dir(dir));
    (void)snprintf(path, sizeof(path), "%.63s/t.gguf", dir);
    for (size_t k = 1;; k++) {
        hearth_fail_alloc fa;
        hearth_alloc al = hearth_fail_alloc_init(&fa, k);
        hearth_gguf_writer *w = NULL;
        bool done;
        assert_ok(hearth_gguf_writer_new(&w, path, NULL, NULL));
        hearth_status st = hearth_convert_tokenizer_json(
            w, json, strlen(json), N_WORDS, &done, &al, NULL);
        hearth_gguf_writer_free(w);
        assert_int_equal(fa.live, 0);
        if (st == HEARTH_OK) break;
        assert_int_equal(st, HEARTH_ENOMEM);
    }
    assert_ok(hearth_file_remove_tree(dir, NULL));
}

static void copies_are_equal(void **state) {
    (void)state;
    made m = make(SPM(PREPEND, "null"), N_WORDS);
    char path[128];
    hearth_gguf_writer *w = NULL;
    (void)snprintf(path, sizeof(path), "%.63s/copy.gguf", m.dir);
    assert_ok(hearth_gguf_writer_new(&w, path, NULL, NULL));
    hearth_gguf_put_string(w, "general.architecture", "llama", 5);
    hearth_gguf_put_u32(w, "tokenizer.ggml.bos_token_id", 1);
    hearth_convert_tokenizer_copy(w, m.g);
    assert_ok(hearth_gguf_writer_finish(w, NULL));
    hearth_gguf_writer_free(w);
    assert_same_ids(SPM(PREPEND, "null"), path);
    drop(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(byte_levels_have_names),
        cmocka_unit_test(lists_are_as_long_as_the_model),
        cmocka_unit_test(byte_fallback_becomes_scores),
        cmocka_unit_test(what_has_no_name_is_not_written),
        cmocka_unit_test(broken_texts_are_errors),
        cmocka_unit_test(allocation_failures_are_clean),
        cmocka_unit_test(copies_are_equal),
    };
    return cmocka_run_group_tests_name("client/model/convert_tokenizer", tests,
                                       NULL, NULL);
}

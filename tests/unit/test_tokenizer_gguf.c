/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_tokenizer_gguf.c - client/tokenizer/tokenizer_gguf.c: the
 * vocabulary of a GGUF file.  Expected ids follow by hand from the merges; the
 * same rules on real vocabularies are compared with other programs in
 * tests/golden/test_golden_tokenizer.c. */
#include <math.h>
#include <stdio.h>

#include "tests/support/cmocka_all.h"

#include "client/tokenizer/tokenizer.h"
#include "common/file.h"
#include "common/gguf_writer.h"
#include "tests/support/fail_alloc.h"

#define KEY(name)   "tokenizer.ggml." name
#define MARK        "\xE2\x96\x81" /* SentencePiece's space */
#define SPACE       "\xC4\xA0"     /* GPT-2's space */
#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

/* What is written; NULL and -1: nothing. */
typedef struct {
    const char *model, *pre;
    const char *const *tokens;
    const float *scores;
    const int32_t *types;
    const char *const *merges;
    size_t n_tokens, n_scores, n_types, n_merges;
    int bos, eos, unk;
    int add_bos, add_eos, prefix;
    const char *wrong_type; /* this key is written as a number */
} vocab;

static const char *const PIECES[] = {"<unk>",   "<s>",  "</s>", "<0x0A>",
                                     MARK,      "a",    "b",    "ab",
                                     MARK "ab", "abab", "##",   "#"};
static const float SCORES[] = {0, 0, 0, 0, -9, -9, -9, -1, -1.5F, -2, 0, -9};
static const int32_t PIECE_TYPES[] = {2, 3, 3, 6, 1, 1, 1, 1, 1, 5, 4, 1};
static const vocab SPM = {
    "llama", NULL, PIECES, SCORES, PIECE_TYPES, NULL, 12, 12,   12,
    0,       1,    2,      0,      -1,          -1,   -1, NULL,
};

static const char *const WORDS[] = {
    "a",  "b",     "ab",       "1",        "2", "12",  SPACE,      SPACE "a",
    "##", "<end>", "\xC3\x83", "\xC2\xA9", "e", "bba", "\xC3\x8C", "\xC4\xA3"};
static const int32_t WORD_TYPES[] = {1, 1, 1, 1, 1, 1, 1, 1,
                                     4, 3, 1, 1, 1, 1, 1, 1};
static const char *const MERGES[] = {"a b", "1 2", SPACE " a"};
static const vocab BPE = {
    "gpt2", "gpt-2", WORDS, NULL, WORD_TYPES, MERGES, 16, 0,    16,
    3,      -1,      9,     -1,   -1,         -1,     -1, NULL,
};

static hearth_error error;

static void put_strings(hearth_gguf_writer *w, const char *key,
                        const char *const *s, size_t n) {
    hearth_gguf_put_array(w, key, HEARTH_GGUF_STRING, n);
    for (size_t i = 0; i < n; i++)
        hearth_gguf_item_string(w, s[i], strlen(s[i]));
}

static void put_lists(hearth_gguf_writer *w, const vocab *v) {
    if (v->tokens) put_strings(w, KEY("tokens"), v->tokens, v->n_tokens);
    if (v->merges) put_strings(w, KEY("merges"), v->merges, v->n_merges);
    if (v->scores) {
        hearth_gguf_put_array(w, KEY("scores"), HEARTH_GGUF_F32, v->n_scores);
        for (size_t i = 0; i < v->n_scores; i++)
            hearth_gguf_item_f32(w, v->scores[i]);
    }
    if (v->types) {
        hearth_gguf_put_array(w, KEY("token_type"), HEARTH_GGUF_I32,
                              v->n_types);
        for (size_t i = 0; i < v->n_types; i++)
            hearth_gguf_item_i32(w, v->types[i]);
    }
}

static void put_settings(hearth_gguf_writer *w, const vocab *v) {
    const struct {
        const char *key;
        int v;
    } id[] = {{KEY("bos_token_id"), v->bos},
              {KEY("eos_token_id"), v->eos},
              {KEY("unknown_token_id"), v->unk}},
      flag[] = {{KEY("add_bos_token"), v->add_bos},
                {KEY("add_eos_token"), v->add_eos},
                {KEY("add_space_prefix"), v->prefix}};
    if (v->model)
        hearth_gguf_put_string(w, KEY("model"), v->model, strlen(v->model));
    if (v->pre) hearth_gguf_put_string(w, KEY("pre"), v->pre, strlen(v->pre));
    if (v->wrong_type) hearth_gguf_put_u32(w, v->wrong_type, 1);
    for (int i = 0; i < 3; i++) {
        if (id[i].v >= 0) hearth_gguf_put_u32(w, id[i].key, (uint32_t)id[i].v);
        if (flag[i].v >= 0) hearth_gguf_put_bool(w, flag[i].key, flag[i].v);
    }
}

/* A GGUF file of v in a new folder. */
static void write_file(const vocab *v, char dir[64], char path[128]) {
    hearth_gguf_writer *w = NULL;
    assert_non_null(hearth_test_dir(dir));
    (void)snprintf(path, 128, "%.63s/v.gguf", dir);
    assert_ok(hearth_gguf_writer_new(&w, path, NULL, &error));
    put_settings(w, v);
    put_lists(w, v);
    assert_ok(hearth_gguf_writer_finish(w, &error));
    hearth_gguf_writer_free(w);
}

static hearth_status try_open(const vocab *v, hearth_tokenizer **t) {
    char dir[64], path[128];
    write_file(v, dir, path);
    error = (hearth_error){HEARTH_OK, ""};
    hearth_status st = hearth_tokenizer_open(t, path, NULL, &error);
    assert_true((st == HEARTH_OK) == (*t != NULL));
    assert_ok(hearth_file_remove_tree(dir, NULL));
    return st;
}

static hearth_tokenizer *open_of(const vocab *v) {
    hearth_tokenizer *t = NULL;
    if (try_open(v, &t) != HEARTH_OK) fail_msg("%s", error.text);
    return t;
}

static void expect_ids(const hearth_tokenizer *t, const char *text,
                       unsigned flags, const int32_t *want, size_t n) {
    hearth_ids ids;
    hearth_ids_init(&ids, NULL);
    assert_ok(
        hearth_tokenizer_encode_with(t, text, strlen(text), flags, &ids, NULL));
    if (ids.n != n || (n && memcmp(ids.id, want, n * sizeof(*want)) != 0))
        fail_msg(
            "'%s' gave %zu ids: %d %d %d %d", text, ids.n,
            ids.n > 0 ? (int)ids.id[0] : -1, ids.n > 1 ? (int)ids.id[1] : -1,
            ids.n > 2 ? (int)ids.id[2] : -1, ids.n > 3 ? (int)ids.id[3] : -1);
    hearth_ids_free(&ids);
}

#define EXPECT(t, text, flags, ...)                                            \
    do {                                                                       \
        const int32_t want_[] = {__VA_ARGS__};                                 \
        expect_ids(t, text, flags, want_, COUNT(want_));                       \
    } while (0)

static void sentencepiece_merges_by_score(void **state) {
    (void)state;
    float other[12];
    vocab v = SPM;
    hearth_tokenizer *t = open_of(&v);
    EXPECT(t, "ab abab", 0, 8, 8, 7); /* MARK ab before abab */
    EXPECT(t, "ab\nz", 0, 8, 3, 0);   /* a byte token; the unknown one */
    hearth_tokenizer_close(t);
    memcpy(other, SCORES, sizeof(other));
    other[9] = -1.2F; /* now abab comes first */
    v.scores = other;
    t = open_of(&v);
    EXPECT(t, "ab abab", 0, 8, 4, 9);
    hearth_tokenizer_close(t);
}

/* Equal scores: the longer left part first, then the longer right one, then
 * the lower id. */
static void equal_scores_go_by_length(void **state) {
    static const char *const tokens[] = {"a",  "b",   "c", "bc",
                                         "ab", "abc", "d", "bcd"};
    static const float zero[8] = {0};
    vocab v = {"llama", NULL, tokens, zero, NULL, NULL, 8, 8,   0,
               0,       -1,   -1,     -1,   -1,   -1,   0, NULL};
    (void)state;
    hearth_tokenizer *t = open_of(&v);
    EXPECT(t, "abc", 0, 5);
    EXPECT(t, "abcd", 0, 0, 7); /* b c, as the lower id; bc d before a bc */
    hearth_tokenizer_close(t);
}

/* A text is cut before its spaces only where no token has one inside. */
static void a_space_inside_a_token_is_kept(void **state) {
    static const char *const tokens[] = {
        MARK, "a", "b", "a" MARK, "a" MARK "b", MARK MARK, MARK "b"};
    static const float scores[] = {-9, -9, -9, -2, -1, -3, -4};
    vocab v = {"llama", NULL, tokens, scores, NULL, NULL, 7, 7,   0,
               0,       -1,   -1,     -1,     -1,   -1,   0, NULL};
    (void)state;
    hearth_tokenizer *t = open_of(&v);
    EXPECT(t, "a ba  b", 0, 4, 3, 6);
    hearth_tokenizer_close(t);
    v.n_tokens = v.n_scores = 3; /* the space, a and b by themselves */
    t = open_of(&v);
    EXPECT(t, " a b", 0, 0, 1, 0, 2);
    hearth_tokenizer_close(t);
}

static void sentencepiece_flags_are_followed(void **state) {
    (void)state;
    vocab v = SPM;
    hearth_tokenizer *t = open_of(&v); /* a BOS unless it says otherwise */
    EXPECT(t, "ab", HEARTH_TOKENIZE_SPECIAL, 1, 8);
    assert_int_equal(hearth_tokenizer_bos(t), 1);
    assert_int_equal(hearth_tokenizer_eos(t), 2);
    assert_int_equal(hearth_tokenizer_unk(t), 0);
    hearth_tokenizer_close(t);
    v.add_bos = 0;
    v.add_eos = 1;
    v.prefix = 0;
    t = open_of(&v);
    EXPECT(t, "ab ab", HEARTH_TOKENIZE_SPECIAL, 7, 8, 2);
    hearth_buf out = HEARTH_BUF_INIT(NULL);
    const int32_t ids[] = {8, 7, 3, 2};
    assert_ok(hearth_tokenizer_decode(t, ids, 4, true, &out, NULL));
    assert_string_equal(hearth_buf_str(&out), " abab\n"); /* no prefix to cut */
    hearth_tokenizer_close(t);
    v.prefix = 1;
    t = open_of(&v);
    hearth_buf_clear(&out);
    assert_ok(hearth_tokenizer_decode(t, ids, 4, true, &out, NULL));
    assert_string_equal(hearth_buf_str(&out), "abab\n");
    hearth_buf_free(&out);
    hearth_tokenizer_close(t);
}

static void types_make_added_tokens(void **state) {
    (void)state;
    vocab v = SPM;
    hearth_tokenizer *t = open_of(&v);
    EXPECT(t, "ab##</s>ab", HEARTH_TOKENIZE_ADDED, 8, 10, 2, 8);
    EXPECT(t, "##", 0, 4, 10);  /* a user's token is made by merges as well */
    EXPECT(t, "</s>", 0, 4, 0); /* a control token is not */
    assert_true(hearth_tokenizer_is_special(t, 0));
    assert_true(hearth_tokenizer_is_special(t, 2));
    assert_false(hearth_tokenizer_is_special(t, 10));
    assert_false(hearth_tokenizer_is_special(t, 3));
    hearth_tokenizer_close(t);
    v.types = NULL; /* all are plain then */
    t = open_of(&v);
    EXPECT(t, "#", HEARTH_TOKENIZE_ADDED, 4, 11);
    assert_false(hearth_tokenizer_is_special(t, 1));
    hearth_tokenizer_close(t);
}

static void byte_level_splits_as_pre_says(void **state) {
    static const struct {
        const char *pre;
        int32_t digits[8]; /* of "1212 12", then -1 */
    } c[] = {
        {"gpt-2", {5, 5, 6, 5, -1}},
        {"smollm", {3, 4, 3, 4, 6, 3, 4, -1}},
        {"qwen2", {3, 4, 3, 4, 6, 3, 4, -1}},
        {"llama-bpe", {5, 3, 4, 6, 5, -1}},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(c); i++) {
        vocab v = BPE;
        size_t n = 0;
        v.pre = c[i].pre;
        hearth_tokenizer *t = open_of(&v);
        while (c[i].digits[n] >= 0) n++;
        expect_ids(t, "1212 12", 0, c[i].digits, n);
        EXPECT(t, "ab a", 0, 2, 7);
        hearth_tokenizer_close(t);
    }
}

/* Qwen composes; Llama 3 takes whole words, and puts a BOS. */
static void pre_brings_its_other_rules(void **state) {
    (void)state;
    vocab v = BPE;
    hearth_tokenizer *t = open_of(&v);
    EXPECT(t, "e\xCC\x81", 0, 12, 14, 15);
    EXPECT(t, "bba", HEARTH_TOKENIZE_SPECIAL, 1, 1, 0);
    hearth_tokenizer_close(t);
    v.pre = "qwen2";
    t = open_of(&v);
    EXPECT(t, "e\xCC\x81", 0, 10, 11); /* U+00E9 */
    hearth_tokenizer_close(t);
    v.pre = "llama3";
    v.bos = 9;
    t = open_of(&v);
    EXPECT(t, "bba", HEARTH_TOKENIZE_SPECIAL, 9, 13);
    hearth_tokenizer_close(t);
}

static void byte_level_ends_and_types(void **state) {
    (void)state;
    vocab v = BPE;
    v.add_bos = v.add_eos = 1;
    v.bos = 9; /* the same token at both ends */
    hearth_tokenizer *t = open_of(&v);
    EXPECT(t, "ab", HEARTH_TOKENIZE_SPECIAL, 9, 2, 9);
    EXPECT(t, "ab##<end>", HEARTH_TOKENIZE_ADDED, 2, 8, 9);
    assert_true(hearth_tokenizer_is_special(t, 9));
    assert_false(hearth_tokenizer_is_special(t, 8));
    hearth_tokenizer_close(t);
    v.bos = 0;
    t = open_of(&v);
    EXPECT(t, "ab", HEARTH_TOKENIZE_SPECIAL, 0, 2, 9);
    assert_int_equal(hearth_tokenizer_bos(t), 0);
    assert_int_equal(hearth_tokenizer_vocab_size(t), 16);
    hearth_tokenizer_close(t);
    v.bos = v.eos = -1; /* flags without ids do nothing */
    t = open_of(&v);
    EXPECT(t, "ab", HEARTH_TOKENIZE_SPECIAL, 2);
    assert_int_equal(hearth_tokenizer_bos(t), -1);
    hearth_tokenizer_close(t);
}

/* ---- what is refused ---- */

static void expect_refusal(const vocab *v, hearth_status st, const char *word) {
    hearth_tokenizer *t = NULL;
    hearth_status got = try_open(v, &t);
    if (got != st || !strstr(error.text, word) ||
        !strstr(error.text, "v.gguf: "))
        fail_msg("%s: %s: %s", word, hearth_status_name(got), error.text);
}

static void unknown_kinds_are_named(void **state) {
    (void)state;
    vocab v = BPE;
    v.pre = "mystery";
    expect_refusal(&v, HEARTH_EUNSUPPORTED,
                   "\"mystery\" is not supported; use a file with gpt-2, "
                   "phi-2, roberta-bpe, llama-bpe, llama3, llama-v3, qwen2, "
                   "deepseek-r1-qwen, smollm, starcoder, refact or codeshell");
    v.pre = NULL;
    expect_refusal(&v, HEARTH_EUNSUPPORTED, "tokenizer.ggml.pre \"\"");
    v.model = "bert";
    expect_refusal(&v, HEARTH_EUNSUPPORTED, "\"bert\"");
    v.model = NULL;
    expect_refusal(&v, HEARTH_EUNSUPPORTED, "no tokenizer inside");
}

static void broken_lists_are_refused(void **state) {
    static const char *const wrong_text[] = {"\xFF"}, *const none[] = {""},
                             *const twice[] = {"a", "a"},
                             *const far[] = {"a z"};
    static const int32_t many = 7;
    static const float nan_[] = {NAN};
    (void)state;
    const struct {
        const char *word;
        vocab v;
    } c[] = {
        {"no list of tokens", {.model = "llama", .n_tokens = 0}},
        {"no list of tokens",
         {.model = "llama", .tokens = twice, .n_tokens = 0}},
        {"not UTF-8", {.model = "llama", .tokens = wrong_text, .n_tokens = 1}},
        {"as many types",
         {.model = "llama",
          .tokens = twice,
          .n_tokens = 2,
          .types = &many,
          .n_types = 1}},
        {"unknown type",
         {.model = "llama",
          .tokens = none,
          .n_tokens = 1,
          .types = &many,
          .n_types = 1}},
        {"as many scores", {.model = "llama", .tokens = none, .n_tokens = 1}},
        {"as many scores",
         {.model = "llama",
          .tokens = twice,
          .n_tokens = 2,
          .scores = nan_,
          .n_scores = 1}},
        {"not a number",
         {.model = "llama",
          .tokens = none,
          .n_tokens = 1,
          .scores = nan_,
          .n_scores = 1}},
        {"no list of merges",
         {.model = "gpt2", .pre = "gpt-2", .tokens = none, .n_tokens = 1}},
        {"merge is not UTF-8",
         {.model = "gpt2",
          .pre = "gpt-2",
          .tokens = none,
          .n_tokens = 1,
          .merges = wrong_text,
          .n_merges = 1}},
        {"not in the vocabulary",
         {.model = "gpt2",
          .pre = "gpt-2",
          .tokens = twice,
          .n_tokens = 1,
          .merges = far,
          .n_merges = 1}},
        {"there twice",
         {.model = "gpt2",
          .pre = "gpt-2",
          .tokens = twice,
          .n_tokens = 2,
          .merges = far,
          .n_merges = 1}},
    };
    for (size_t i = 0; i < COUNT(c); i++) {
        vocab v = c[i].v;
        v.bos = v.eos = v.unk = v.add_bos = v.add_eos = v.prefix = -1;
        expect_refusal(&v, HEARTH_EFORMAT, c[i].word);
    }
}

static void wrong_settings_are_refused(void **state) {
    static const char *const ids[] = {
        KEY("bos_token_id"),  KEY("token_type"),       KEY("add_bos_token"),
        KEY("add_eos_token"), KEY("add_space_prefix"), KEY("scores"),
        KEY("tokens")};
    static const char *const words[] = {"not in the list",  "as many types",
                                        "true nor false",   "true nor false",
                                        "true nor false",   "as many scores",
                                        "no list of tokens"};
    (void)state;
    vocab v = SPM;
    v.eos = 12; /* one beyond the list */
    expect_refusal(&v, HEARTH_EFORMAT, "not in the list");
    v.eos = 11;
    hearth_tokenizer_close(open_of(&v));
    for (size_t i = 1; i < COUNT(ids); i++) {
        v = SPM;
        v.wrong_type = ids[i];
        if (i == 1) v.types = NULL;
        if (i == 5) v.scores = NULL;
        if (i == 6) v.tokens = NULL;
        expect_refusal(&v, HEARTH_EFORMAT, words[i]);
    }
}

static void sizes_have_limits(void **state) {
    (void)state;
    char dir[64], path[128], piece[HEARTH_TOKENIZER_MAX_PIECE + 2];
    const char *one[] = {piece};
    hearth_tokenizer *t = NULL;
    hearth_gguf_writer *w = NULL;
    vocab v = BPE;
    v.tokens = one;
    v.types = NULL;
    v.n_tokens = 1;
    v.n_merges = 0;
    v.eos = -1;
    for (size_t extra = 0; extra < 2; extra++) {
        memset(piece, 'x', HEARTH_TOKENIZER_MAX_PIECE + extra);
        piece[HEARTH_TOKENIZER_MAX_PIECE + extra] = 0;
        assert_int_equal(try_open(&v, &t), extra ? HEARTH_ETOOBIG : HEARTH_OK);
        hearth_tokenizer_close(t);
    }
    assert_non_null(hearth_test_dir(dir));
    (void)snprintf(path, sizeof(path), "%.63s/v.gguf", dir);
    assert_ok(hearth_gguf_writer_new(&w, path, NULL, &error));
    hearth_gguf_put_string(w, KEY("model"), "llama", 5);
    hearth_gguf_put_array(w, KEY("tokens"), HEARTH_GGUF_STRING,
                          HEARTH_TOKENIZER_MAX_VOCAB + 1);
    for (size_t i = 0; i <= HEARTH_TOKENIZER_MAX_VOCAB; i++)
        hearth_gguf_item_string(w, "", 0);
    assert_ok(hearth_gguf_writer_finish(w, &error));
    hearth_gguf_writer_free(w);
    assert_int_equal(hearth_tokenizer_open(&t, path, NULL, &error),
                     HEARTH_ETOOBIG);
    assert_non_null(strstr(error.text, "tokens"));
    assert_ok(hearth_file_remove_tree(dir, NULL));
}

static void lack_of_memory_is_survived(void **state) {
    (void)state;
    char dir[64], path[128];
    write_file(&SPM, dir, path);
    for (size_t k = 1;; k++) {
        hearth_fail_alloc fa;
        hearth_alloc al = hearth_fail_alloc_init(&fa, k);
        hearth_tokenizer *t = NULL;
        hearth_status st = hearth_tokenizer_open(&t, path, &al, &error);
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
        cmocka_unit_test(sentencepiece_merges_by_score),
        cmocka_unit_test(equal_scores_go_by_length),
        cmocka_unit_test(a_space_inside_a_token_is_kept),
        cmocka_unit_test(sentencepiece_flags_are_followed),
        cmocka_unit_test(types_make_added_tokens),
        cmocka_unit_test(byte_level_splits_as_pre_says),
        cmocka_unit_test(pre_brings_its_other_rules),
        cmocka_unit_test(byte_level_ends_and_types),
        cmocka_unit_test(unknown_kinds_are_named),
        cmocka_unit_test(broken_lists_are_refused),
        cmocka_unit_test(wrong_settings_are_refused),
        cmocka_unit_test(sizes_have_limits),
        cmocka_unit_test(lack_of_memory_is_survived),
    };
    return cmocka_run_group_tests_name("client/tokenizer/tokenizer_gguf", tests,
                                       NULL, NULL);
}

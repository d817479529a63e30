/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_tokenizer.c - client/tokenizer/tokenizer.h */
#include "tests/support/cmocka_all.h"

#include "client/tokenizer/tokenizer.h"
#include "common/file.h"
#include "common/json.h"
#include "tests/support/fail_alloc.h"

/* ---- small tokenizers ---- */

#define FILE_OF(added, norm, pre, post, dec, model)                            \
    "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,"               \
    "\"added_tokens\":[" added "],\"normalizer\":" norm                        \
    ",\"pre_tokenizer\":" pre ",\"post_processor\":" post ",\"decoder\":" dec  \
    ",\"model\":" model "}"
#define ADDED(id, text, special)                                               \
    "{\"id\":" id ",\"content\":\"" text "\",\"single_word\":false,"           \
    "\"lstrip\":false,\"rstrip\":false,\"normalized\":false,"                  \
    "\"special\":" special "}"
#define FUSE "{\"type\":\"Fuse\"}"
#define BYTE_LEVEL                                                             \
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":"     \
    "true,\"use_regex\":false}"
#define BPE(more, vocab, merges)                                               \
    "{\"type\":\"BPE\",\"dropout\":null," more "\"vocab\":{" vocab             \
    "},\"merges\":[" merges "]}"
#define TEMPLATE                                                               \
    "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":"  \
    "\"<s>\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},"     \
    "{\"SpecialToken\":{\"id\":\"</s>\",\"type_id\":0}}],\"pair\":[],"         \
    "\"special_tokens\":{\"<s>\":{\"id\":\"<s>\",\"ids\":[0],\"tokens\":"      \
    "[\"<s>\"]},\"</s>\":{\"id\":\"</s>\",\"ids\":[1],\"tokens\":"             \
    "[\"</s>\"]}}}"
/* a=3 b=4 c=5 ab=6 bc=7 abc=8 _=9 */
#define ABC                                                                    \
    BPE("\"unk_token\":\"<unk>\",\"fuse_unk\":true,",                          \
        "\"<s>\":0,\"</s>\":1,\"<unk>\":2,\"a\":3,\"b\":4,\"c\":5,\"ab\":6,"   \
        "\"bc\":7,\"abc\":8,\"_\":9",                                          \
        "\"b c\",\"a bc\",[\"a\",\"b\"]")
#define TINY                                                                   \
    FILE_OF(ADDED("0", "<s>", "true") "," ADDED("1", "</s>", "true"), "null",  \
            "null", TEMPLATE, FUSE, ABC)

#define WITH_MODEL(model) FILE_OF("", "null", "null", "null", FUSE, model)

static hearth_tokenizer *parse(const char *json) {
    hearth_tokenizer *t = NULL;
    hearth_error err = {HEARTH_OK, ""};
    hearth_status st =
        hearth_tokenizer_parse(&t, json, strlen(json), NULL, 0, NULL, &err);
    if (st != HEARTH_OK) fail_msg("%s", err.text);
    return t;
}

/* Encode with flags and compare with n expected ids. */
static void expect_ids(const hearth_tokenizer *t, const char *text,
                       unsigned flags, const int32_t *want, size_t n) {
    hearth_ids ids;
    hearth_ids_init(&ids, NULL);
    assert_ok(
        hearth_tokenizer_encode_with(t, text, strlen(text), flags, &ids, NULL));
    if (ids.n != n || (n && memcmp(ids.id, want, n * sizeof(*want)) != 0))
        fail_msg("'%s' gave %zu ids, first %d", text, ids.n,
                 ids.n ? (int)ids.id[0] : -1);
    hearth_ids_free(&ids);
}

#define EXPECT(t, text, flags, ...)                                            \
    do {                                                                       \
        const int32_t want_[] = {__VA_ARGS__};                                 \
        expect_ids(t, text, flags, want_, sizeof(want_) / sizeof(*want_));     \
    } while (0)

static void tokenizer_merges_by_rank_then_place(void **state) {
    (void)state;
    hearth_tokenizer *t = parse(TINY);
    EXPECT(t, "abc", 0, 8);       /* b c first, then a bc */
    EXPECT(t, "aab", 0, 3, 6);    /* only a b applies */
    EXPECT(t, "abcabc", 0, 8, 8); /* both, left to right */
    EXPECT(t, "bca", 0, 7, 3);
    EXPECT(t, "xya", 0, 2, 3); /* unknown ones are fused */
    EXPECT(t, "xay", 0, 2, 3, 2);
    expect_ids(t, "", 0, NULL, 0);
    EXPECT(t, "", HEARTH_TOKENIZE_SPECIAL, 0, 1);
    EXPECT(t, "ab", HEARTH_TOKENIZE_SPECIAL, 0, 6, 1);
    assert_int_equal(hearth_tokenizer_bos(t), 0);
    assert_int_equal(hearth_tokenizer_eos(t), 1);
    assert_int_equal(hearth_tokenizer_unk(t), 2);
    assert_int_equal(hearth_tokenizer_vocab_size(t), 10);
    hearth_tokenizer_close(t);
}

static void tokenizer_drops_offers_that_changed(void **state) {
    (void)state;
    hearth_tokenizer *t = parse(WITH_MODEL(
        BPE("", "\"a\":0,\"b\":1,\"c\":2,\"bc\":3,\"ab\":4,\"abc\":5,\"aa\":6",
            "\"b c\",\"a b\",\"a bc\",\"a a\"")));
    EXPECT(t, "abc", 0, 5);    /* when "a b" is due, its b is "bc" */
    EXPECT(t, "aaa", 0, 6, 0); /* equal ranks: from the left */
    EXPECT(t, "aaaaa", 0, 6, 6, 0);
    hearth_tokenizer_close(t);
}

static void tokenizer_takes_control_tokens_only_when_told(void **state) {
    (void)state;
    hearth_tokenizer *t = parse(TINY);
    EXPECT(t, "a</s>b", HEARTH_TOKENIZE_ADDED, 3, 1, 4);
    EXPECT(t, "a</s>b", 0, 3, 2, 4);
    EXPECT(t, "<s>", HEARTH_TOKENIZE_ADDED, 0);
    assert_true(hearth_tokenizer_is_special(t, 1));
    assert_false(hearth_tokenizer_is_special(t, 3));
    assert_false(hearth_tokenizer_is_special(t, -1));
    hearth_tokenizer_close(t);
}

static void tokenizer_takes_longest_added_token(void **state) {
    (void)state;
    hearth_tokenizer *t = parse(FILE_OF(
        ADDED("10", "aa", "false") "," ADDED("11", "aab", "false") "," ADDED(
            "12", "a", "false") "," ADDED("3", "b", "true"),
        "null", "null", "null", FUSE, BPE("", "\"a\":12,\"b\":3", "")));
    EXPECT(t, "aabaaab", HEARTH_TOKENIZE_ADDED, 11, 10, 12, 3);
    hearth_tokenizer_close(t);
}

static void tokenizer_prepends_unless_text_continues(void **state) {
    (void)state;
    hearth_tokenizer *t = parse(
        FILE_OF("",
                "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":"
                "\"Prepend\",\"prepend\":\"_\"},{\"type\":\"Replace\","
                "\"pattern\":{\"String\":\" \"},\"content\":\"_\"}]}",
                "null", "null",
                "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\","
                "\"pattern\":{\"String\":\"_\"},\"content\":\" \"},{\"type\":"
                "\"ByteFallback\"}," FUSE ",{\"type\":\"Strip\",\"content\":"
                "\" \",\"start\":1,\"stop\":0}]}",
                ABC));
    EXPECT(t, "a b", 0, 9, 3, 9, 4);
    EXPECT(t, "a b", HEARTH_TOKENIZE_CONTINUES, 3, 9, 4);
    expect_ids(t, "", 0, NULL, 0); /* as the tokenizers library */
    expect_ids(t, "", HEARTH_TOKENIZE_CONTINUES, NULL, 0);
    const int32_t ids[] = {9, 3, 9, 4};
    hearth_buf out = HEARTH_BUF_INIT(NULL);
    assert_ok(hearth_tokenizer_decode(t, ids, 4, true, &out, NULL));
    assert_string_equal(hearth_buf_str(&out), "a b");
    hearth_buf_clear(&out);
    assert_ok(hearth_tokenizer_piece(t, 9, &out, NULL)); /* keeps its space */
    assert_string_equal(hearth_buf_str(&out), " ");
    hearth_buf_free(&out);
    hearth_tokenizer_close(t);
}

static void tokenizer_metaspace_is_replace_and_prepend(void **state) {
    (void)state;
    hearth_tokenizer *t = parse(FILE_OF(
        ADDED("1", "</s>", "true"), "null",
        "{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":"
        "\"first\",\"split\":false}",
        "null",
        "{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":"
        "\"always\",\"split\":true}",
        ABC));
    EXPECT(t, "a b", 0, 9, 3, 9, 4);
    EXPECT(t, " a", 0, 9, 3); /* a mark is there already */
    EXPECT(t, "a</s>b", HEARTH_TOKENIZE_ADDED, 9, 3, 1, 4);
    const int32_t ids[] = {9, 3, 9, 4};
    hearth_buf out = HEARTH_BUF_INIT(NULL);
    assert_ok(hearth_tokenizer_decode(t, ids, 4, true, &out, NULL));
    assert_string_equal(hearth_buf_str(&out), "a b");
    hearth_buf_free(&out);
    hearth_tokenizer_close(t);
}

static void tokenizer_falls_back_to_bytes(void **state) {
    (void)state;
    hearth_tokenizer *t = parse(FILE_OF(
        "", "null", "null", "null",
        "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"ByteFallback\"}," FUSE
        "]}",
        BPE("\"unk_token\":\"?\",\"byte_fallback\":true,",
            "\"?\":0,\"<0xC3>\":1,\"<0xA9>\":2,\"a\":3", "")));
    EXPECT(t, "a\xC3\xA9", 0, 3, 1, 2);
    EXPECT(t, "\xC3\xA8z", 0, 0, 0); /* a byte is missing: unknown, not fused */
    const int32_t ids[] = {1, 2};
    hearth_buf out = HEARTH_BUF_INIT(NULL);
    assert_ok(hearth_tokenizer_decode(t, ids, 2, true, &out, NULL));
    assert_string_equal(hearth_buf_str(&out), "\xC3\xA9");
    hearth_buf_clear(&out);
    assert_ok(hearth_tokenizer_piece(t, 1, &out, NULL)); /* half a character */
    assert_int_equal(out.n, 1);
    hearth_buf_free(&out);
    hearth_tokenizer_close(t);
}

static void tokenizer_spells_bytes_as_gpt2_does(void **state) {
    (void)state;
    hearth_tokenizer *t = parse(FILE_OF(
        ADDED("5", "x\xC4\xA0", "true"), "null", BYTE_LEVEL, "null", BYTE_LEVEL,
        BPE("",
            "\"\xC4\xA0\":0,\"a\":1,\"\xC4\xA0"
            "a\":2,\"\xC4\x8A\":3,\"\xC3\x83\":4,\"\xC4\xA5\":6",
            "\"\xC4\xA0 a\"")));
    EXPECT(t, " a\na", 0, 2, 3, 1);
    EXPECT(t, "\xC3\x83", HEARTH_TOKENIZE_CONTINUES, 4, 6);
    hearth_tokenizer_close(t);
}

static void tokenizer_splits_before_merging(void **state) {
    (void)state;
    hearth_tokenizer *t = parse(FILE_OF(
        "", "null",
        "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\","
        "\"pattern\":{\"Regex\":\"b+|c\"},\"behavior\":\"Isolated\","
        "\"invert\":false},{\"type\":\"Digits\",\"individual_digits\":true}]}",
        "null", FUSE, ABC));
    EXPECT(t, "abcab", 0, 3, 4, 5, 3, 4); /* no merge crosses a split */
    hearth_tokenizer_close(t);
    t = parse(FILE_OF("", "null",
                      "{\"type\":\"ByteLevel\",\"add_prefix_space\":true,"
                      "\"use_regex\":true}",
                      "{\"type\":\"ByteLevel\"}", "{\"type\":\"ByteLevel\"}",
                      BPE("\"ignore_merges\":true,",
                          "\"\xC4\xA0\":0,\"a\":1,\"b\":2,\"\xC4\xA0"
                          "ab\":3",
                          "")));
    EXPECT(t, "ab ab", 0, 3, 3); /* whole words without merges */
    EXPECT(t, "aba", 0, 0, 1, 2, 1);
    EXPECT(t, " ab", 0, 3); /* the space is there already */
    hearth_tokenizer_close(t);
}

/* ---- what is refused ---- */

static hearth_status parse_status(const char *json, hearth_error *err) {
    hearth_tokenizer *t = NULL;
    hearth_status st =
        hearth_tokenizer_parse(&t, json, strlen(json), NULL, 0, NULL, err);
    assert_true((st == HEARTH_OK) == (t != NULL));
    hearth_tokenizer_close(t);
    return st;
}

typedef struct {
    const char *json, *word; /* word: the error names it */
    hearth_status st;
} refusal;

#define WITH_NORM(norm)   FILE_OF("", norm, "null", "null", FUSE, ABC)
#define WITH_PRE(pre)     FILE_OF("", "null", pre, "null", FUSE, ABC)
#define WITH_POST(post)   FILE_OF("", "null", "null", post, FUSE, ABC)
#define WITH_DEC(dec)     FILE_OF("", "null", "null", "null", dec, ABC)
#define WITH_ADDED(added) FILE_OF(added, "null", "null", "null", FUSE, ABC)

static const refusal REFUSALS[] = {
    {"", "JSON", HEARTH_EFORMAT},
    {"[1]", "JSON", HEARTH_EFORMAT},
    {"{}", "model", HEARTH_EFORMAT},
    {TINY "x", "JSON", HEARTH_EFORMAT},
    {"{\"colour\":1}", "colour", HEARTH_EUNSUPPORTED},
    {"{\"version\":\"2.0\"}", "version", HEARTH_EUNSUPPORTED},
    {"{\"version\":\"1.0\",\"version\":\"1.0\"}", "twice", HEARTH_EFORMAT},
    {"{\"model\":" ABC "}", "decoder", HEARTH_EUNSUPPORTED},
    {WITH_DEC("null"), "decoder", HEARTH_EUNSUPPORTED},
    {WITH_MODEL("{\"type\":\"Unigram\"}"), "BPE", HEARTH_EUNSUPPORTED},
    {WITH_MODEL("{\"size\":1}"), "size", HEARTH_EUNSUPPORTED},
    {WITH_MODEL("{\"dropout\":0.1}"), "dropout", HEARTH_EUNSUPPORTED},
    {WITH_MODEL("{\"continuing_subword_prefix\":\"#\"}"), "prefix",
     HEARTH_EUNSUPPORTED},
    {WITH_MODEL("{\"end_of_word_suffix\":\"#\"}"), "suffix",
     HEARTH_EUNSUPPORTED},
    {WITH_MODEL("{\"fuse_unk\":1}"), "true nor false", HEARTH_EFORMAT},
    {WITH_MODEL(BPE("", "", "")), "empty", HEARTH_EFORMAT},
    {WITH_MODEL(BPE("", "\"a\":0.5", "")), "whole", HEARTH_EFORMAT},
    {WITH_MODEL(BPE("", "\"a\":-1", "")), "negative", HEARTH_EFORMAT},
    {WITH_MODEL(BPE("", "\"a\":1048576", "")), "ids", HEARTH_ETOOBIG},
    {WITH_MODEL(BPE("", "\"a\":5000", "")), "gaps", HEARTH_EFORMAT},
    {WITH_MODEL(BPE("", "\"a\":0,\"b\":0", "")), "same id", HEARTH_EFORMAT},
    {WITH_MODEL(BPE("", "\"a\":0,\"a\":1", "")), "twice", HEARTH_EFORMAT},
    {WITH_MODEL(BPE("\"unk_token\":\"z\",", "\"a\":0", "")), "unk_token",
     HEARTH_EFORMAT},
    {WITH_MODEL(BPE("", "\"a\":0", "\"a b\"")), "merge", HEARTH_EFORMAT},
    {WITH_MODEL(BPE("", "\"a\":0", "\"ab\"")), "merge", HEARTH_EFORMAT},
    {WITH_MODEL(BPE("", "\"a\":0", "1")), "merge", HEARTH_EFORMAT},
    {WITH_MODEL(BPE("", "\"a\":0", "[\"a\"]")), "merge", HEARTH_EFORMAT},
    {WITH_ADDED("{\"id\":20}"), "content", HEARTH_EFORMAT},
    {WITH_ADDED("{\"id\":20,\"content\":\"\"}"), "empty", HEARTH_EFORMAT},
    {WITH_ADDED("{\"id\":20,\"content\":\"x\",\"single_word\":1}"),
     "true nor false", HEARTH_EFORMAT},
    {WITH_ADDED("{\"id\":20,\"shape\":1}"), "field", HEARTH_EUNSUPPORTED},
    {WITH_ADDED(ADDED("20", "x", "true") "," ADDED("20", "x", "true")), "twice",
     HEARTH_EFORMAT},
    {WITH_NORM("{\"type\":\"BertNormalizer\"}"), "BertNormalizer",
     HEARTH_EUNSUPPORTED},
    {WITH_NORM("{\"type\":\"Prepend\"}"), "lacks", HEARTH_EFORMAT},
    {WITH_NORM("{\"prepend\":\"a\"}"), "type", HEARTH_EFORMAT},
    {WITH_NORM("{\"type\":\"Prepend\",\"volume\":1}"), "volume",
     HEARTH_EUNSUPPORTED},
    {WITH_NORM("{\"type\":\"Prepend\",\"prepend\":"
               "\"aaaaaaaaaabbbbbbbbbbccccccccccddd\"}"),
     "bytes", HEARTH_ETOOBIG},
    {WITH_NORM("{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"[a[b]]\"},"
               "\"content\":\"\"}"),
     "class inside", HEARTH_EUNSUPPORTED},
    {WITH_NORM("{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"\\\\h\"},"
               "\"content\":\"\"}"),
     "\\h", HEARTH_EUNSUPPORTED},
    {WITH_NORM("{\"type\":\"Replace\",\"pattern\":{\"String\":\"\"},"
               "\"content\":\"\"}"),
     "empty", HEARTH_EFORMAT},
    {WITH_NORM("{\"type\":\"Sequence\"}"), "Sequence", HEARTH_EFORMAT},
    {WITH_NORM("1"), "rule", HEARTH_EFORMAT},
    {WITH_PRE("{\"type\":\"UnicodeScripts\"}"), "UnicodeScripts",
     HEARTH_EUNSUPPORTED},
    {WITH_PRE("{\"type\":\"Split\",\"pattern\":{\"String\":\"\"},"
              "\"behavior\":\"Isolated\"}"),
     "pattern", HEARTH_EFORMAT},
    {WITH_PRE("{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\"},"
              "\"behavior\":\"Halved\"}"),
     "Halved", HEARTH_EUNSUPPORTED},
    {WITH_PRE("{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"},"
              "\"behavior\":\"Isolated\"}"),
     "pattern", HEARTH_EFORMAT},
    {WITH_PRE("{\"type\":\"Sequence\",\"pretokenizers\":[" BYTE_LEVEL
              ",{\"type\":\"Digits\",\"individual_digits\":true}]}"),
     "after ByteLevel", HEARTH_EUNSUPPORTED},
    {WITH_POST("{\"type\":\"BertProcessing\",\"sep\":1}"), "sep",
     HEARTH_EUNSUPPORTED},
    {WITH_POST("{\"type\":\"TemplateProcessing\"}"), "single", HEARTH_EFORMAT},
    {WITH_POST("{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":"
               "{\"id\":\"<z>\",\"type_id\":0}}]}"),
     "unknown token", HEARTH_EFORMAT},
    {WITH_POST("{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":"
               "{\"id\":\"<s>\",\"type_id\":0}}]}"),
     "leaves out", HEARTH_EFORMAT},
    {WITH_DEC("{\"type\":\"WordPiece\"}"), "WordPiece", HEARTH_EUNSUPPORTED},
    {WITH_DEC("{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}"),
     "Strip", HEARTH_EUNSUPPORTED},
};

static void tokenizer_refuses_by_name(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(REFUSALS) / sizeof(*REFUSALS); i++) {
        hearth_error err = {HEARTH_OK, ""};
        hearth_status st = parse_status(REFUSALS[i].json, &err);
        if (st != REFUSALS[i].st || !strstr(err.text, REFUSALS[i].word))
            fail_msg("refusal %zu (%s): %s: %s", i, REFUSALS[i].word,
                     hearth_status_name(st), err.text);
    }
}

static void tokenizer_limits_are_exact(void **state) {
    (void)state;
    char piece[HEARTH_TOKENIZER_MAX_PIECE + 2], json[2 * sizeof(piece) + 400];
    for (size_t extra = 0; extra < 2; extra++) {
        size_t n = HEARTH_TOKENIZER_MAX_PIECE + extra;
        memset(piece, 'x', n);
        piece[n] = 0;
        snprintf(json, sizeof(json),
                 "{\"decoder\":" FUSE ",\"model\":{\"vocab\":{\"%s\":0},"
                 "\"merges\":[]}}",
                 piece);
        assert_int_equal(parse_status(json, NULL),
                         extra ? HEARTH_ETOOBIG : HEARTH_OK);
    }
    hearth_tokenizer *t = parse(TINY);
    hearth_ids ids;
    hearth_ids_init(&ids, NULL);
    static char big[HEARTH_TOKENIZER_MAX_TEXT + 1];
    memset(big, 'c', sizeof(big));
    assert_int_equal(
        hearth_tokenizer_encode(t, big, sizeof(big), true, &ids, NULL),
        HEARTH_ETOOBIG);
    assert_int_equal(ids.n, 0);
    /* A long word takes n log n, not n^2: this would run for minutes. */
    memset(big, 'a', 200000);
    for (size_t i = 1; i < 200000; i += 2) big[i] = 'b';
    assert_ok(hearth_tokenizer_encode(t, big, 200000, false, &ids, NULL));
    assert_int_equal(ids.n, 100000);
    hearth_ids_free(&ids);
    hearth_tokenizer_close(t);
    assert_int_equal(hearth_tokenizer_parse(&t, TINY,
                                            HEARTH_TOKENIZER_MAX_FILE + 1, NULL,
                                            0, NULL, NULL),
                     HEARTH_ETOOBIG);
}

static void tokenizer_rejects_bad_calls(void **state) {
    (void)state;
    hearth_tokenizer *t = NULL, *tiny = parse(TINY);
    hearth_ids ids;
    hearth_buf out = HEARTH_BUF_INIT(NULL);
    int32_t bad = 10;
    hearth_ids_init(&ids, NULL);
    assert_int_equal(hearth_tokenizer_open(NULL, "x", NULL, NULL),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_tokenizer_open(&t, NULL, NULL, NULL),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_tokenizer_open(&t, "/no/such/file", NULL, NULL),
                     HEARTH_ENOTFOUND);
    assert_null(t);
    assert_int_equal(hearth_tokenizer_encode(tiny, "\xFF", 1, true, &ids, NULL),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_tokenizer_encode(NULL, "a", 1, true, &ids, NULL),
                     HEARTH_EINVAL);
    assert_int_equal(hearth_tokenizer_decode(tiny, &bad, 1, true, &out, NULL),
                     HEARTH_EINVAL);
    bad = -1;
    assert_int_equal(hearth_tokenizer_piece(tiny, bad, &out, NULL),
                     HEARTH_EINVAL);
    assert_int_equal(out.n, 0);
    hearth_tokenizer_close(tiny);
    /* No unknown token and no bytes: the text can not be expressed, and what
     * the list held stays. */
    tiny = parse(FILE_OF(ADDED("1", "<s>", "true"), "null", "null", "null",
                         FUSE, BPE("", "\"a\":0", "")));
    assert_ok(hearth_ids_push(&ids, 7));
    assert_int_equal(
        hearth_tokenizer_encode(tiny, "a<s>z", 5, true, &ids, NULL),
        HEARTH_EFORMAT);
    assert_int_equal(ids.n, 1);
    hearth_tokenizer_close(tiny);
    hearth_tokenizer_close(NULL);
    hearth_ids_free(&ids);
    hearth_ids_free(NULL);
}

static void tokenizer_reads_names_of_ends(void **state) {
    (void)state;
    static const struct {
        const char *config;
        int32_t bos, eos;
        hearth_status st;
    } c[] = {
        {"{\"bos_token\":\"a\",\"eos_token\":{\"lstrip\":false,\"content\":"
         "\"b\"}}",
         3, 4, HEARTH_OK},
        {"{\"bos_token\":null,\"x\":{\"eos_token\":\"a\"}}", 0, 1, HEARTH_OK},
        {"{\"eos_token\":\"nowhere\"}", 0, -1, HEARTH_OK},
        {"{\"eos_token\":5}", 0, 0, HEARTH_EFORMAT},
        {"{\"eos_token\":\"a\"", 0, 0, HEARTH_EFORMAT},
        {"[]", 0, 0, HEARTH_EFORMAT},
    };
    for (size_t i = 0; i < sizeof(c) / sizeof(*c); i++) {
        hearth_tokenizer *t = NULL;
        hearth_status st =
            hearth_tokenizer_parse(&t, TINY, strlen(TINY), c[i].config,
                                   strlen(c[i].config), NULL, NULL);
        assert_int_equal(st, c[i].st);
        if (st != HEARTH_OK) continue;
        assert_int_equal(hearth_tokenizer_bos(t), c[i].bos);
        assert_int_equal(hearth_tokenizer_eos(t), c[i].eos);
        hearth_tokenizer_close(t);
    }
}

static void tokenizer_survives_lack_of_memory(void **state) {
    (void)state;
    const char *json = FILE_OF(
        ADDED("0", "<s>", "true"),
        "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":"
        "\"_\"}",
        "{\"type\":\"Digits\",\"individual_digits\":true}", "null", FUSE, ABC);
    for (size_t k = 1;; k++) {
        hearth_fail_alloc fa;
        hearth_alloc al = hearth_fail_alloc_init(&fa, k);
        hearth_tokenizer *t = NULL;
        hearth_ids ids;
        hearth_buf out = HEARTH_BUF_INIT(&al);
        hearth_ids_init(&ids, &al);
        hearth_status st =
            hearth_tokenizer_parse(&t, json, strlen(json), NULL, 0, &al, NULL);
        if (st == HEARTH_OK)
            st = hearth_tokenizer_encode(t, "ab c", 4, true, &ids, NULL);
        if (st == HEARTH_OK)
            st = hearth_tokenizer_decode(t, ids.id, ids.n, true, &out, NULL);
        hearth_tokenizer_close(t);
        hearth_ids_free(&ids);
        hearth_buf_free(&out);
        assert_int_equal(fa.live, 0);
        if (st == HEARTH_OK) break;
        assert_int_equal(st, HEARTH_ENOMEM);
        assert_true(k < 100);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokenizer_merges_by_rank_then_place),
        cmocka_unit_test(tokenizer_drops_offers_that_changed),
        cmocka_unit_test(tokenizer_takes_control_tokens_only_when_told),
        cmocka_unit_test(tokenizer_takes_longest_added_token),
        cmocka_unit_test(tokenizer_prepends_unless_text_continues),
        cmocka_unit_test(tokenizer_metaspace_is_replace_and_prepend),
        cmocka_unit_test(tokenizer_falls_back_to_bytes),
        cmocka_unit_test(tokenizer_spells_bytes_as_gpt2_does),
        cmocka_unit_test(tokenizer_splits_before_merging),
        cmocka_unit_test(tokenizer_refuses_by_name),
        cmocka_unit_test(tokenizer_limits_are_exact),
        cmocka_unit_test(tokenizer_rejects_bad_calls),
        cmocka_unit_test(tokenizer_reads_names_of_ends),
        cmocka_unit_test(tokenizer_survives_lack_of_memory),
    };
    return cmocka_run_group_tests_name("client/tokenizer", tests, NULL, NULL);
}

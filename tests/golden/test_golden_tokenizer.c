/* SPDX-License-Identifier: Apache-2.0 */
/* tests/golden/test_golden_tokenizer.c - real tokenizers against ids that other
 * programs made: the test data's stories260K, Llama 2 and GPT-2. */
#include "tests/support/cmocka_all.h"

#include "client/tokenizer/tokenizer.h"
#include "common/file.h"
#include "common/json.h"
#include "tests/support/count_alloc.h"

static hearth_tokenizer *open_data(const char *name, size_t *file_bytes) {
    char path[512];
    hearth_tokenizer *t = NULL;
    hearth_file f = HEARTH_FILE_INIT;
    hearth_error err = {HEARTH_OK, ""};
    if (!hearth_test_data(path, sizeof(path), name)) skip();
    assert_ok(hearth_file_map(&f, path, NULL));
    *file_bytes = f.n;
    hearth_file_unmap(&f);
    if (hearth_tokenizer_open(&t, path, NULL, &err) != HEARTH_OK)
        fail_msg("%s", err.text);
    return t;
}

/* While it is read, and after it, a tokenizer.json takes at most 1.5 times its
 * size; the file itself is only mapped.  A small one may take PATTERN more: what
 * the pre_tokenizer's pattern is compiled to has the same size in all. */
#define SMALL   ((size_t)1 << 20)
#define PATTERN ((size_t)64 << 10)

static void loading_stays_within_its_memory(void **state) {
    static const char *const name[] = {
        "models/stories260K/tokenizer.json", "tokenizers/gpt2/tokenizer.json",
        "tokenizers/llama2/tokenizer.json",
        "tokenizers/small-torchtune/tiny_bpe_tokenizer.json"};
    (void)state;
    for (size_t i = 0; i <= sizeof(name) / sizeof(name[0]); i++) {
        char path[512] = "deploy/demo/model/tokenizer.json";
        hearth_count_alloc count = {0, 0};
        hearth_alloc al = hearth_count_alloc_init(&count);
        hearth_tokenizer *t = NULL;
        hearth_file f = HEARTH_FILE_INIT;
        hearth_error err = {HEARTH_OK, ""};
        if (i > 0 && !hearth_test_data(path, sizeof(path), name[i - 1]))
            continue;
        assert_ok(hearth_file_map(&f, path, &err));
        if (hearth_tokenizer_open(&t, path, &al, &err) != HEARTH_OK)
            fail_msg("%s", err.text);
        size_t limit = f.n + f.n / 2 + (f.n < SMALL ? PATTERN : 0);
        if (count.peak > limit)
            fail_msg("%s: %zu bytes for a file of %zu", path, count.peak, f.n);
        assert_true(count.live >= hearth_tokenizer_bytes(t));
        hearth_tokenizer_close(t);
        assert_int_equal(count.live, 0);
        hearth_file_unmap(&f);
    }
}

static void expect_round_trip(const hearth_tokenizer *t, const char *text,
                              size_t n, const hearth_ids *ids) {
    hearth_buf out = HEARTH_BUF_INIT(NULL);
    assert_ok(hearth_tokenizer_decode(t, ids->id, ids->n, true, &out, NULL));
    if (out.n != n || (n && memcmp(out.v, text, n) != 0))
        fail_msg("'%.*s' decodes to '%s'", (int)n, text, hearth_buf_str(&out));
    hearth_buf_free(&out);
}

/* tokenizer_vectors.json: [{"text": s, "ids": [..]}] */
static void stories260k_gives_its_vectors(void **state) {
    (void)state;
    char path[512];
    size_t bytes = 0, count = 0;
    hearth_json *j = NULL;
    hearth_ids ids;
    hearth_tokenizer *t =
        open_data("models/stories260K/tokenizer.json", &bytes);
    assert_true(hearth_tokenizer_bytes(t) <= bytes + bytes / 2);
    if (!hearth_test_data(path, sizeof(path),
                          "models/stories260K/tokenizer_vectors.json"))
        skip();
    assert_ok(hearth_json_load(&j, path, 1 << 20, NULL, NULL));
    hearth_ids_init(&ids, NULL);
    for (const hearth_json_value *v = hearth_json_first(hearth_json_root(j)); v;
         v = hearth_json_next(v), count++) {
        const char *text = NULL;
        const hearth_json_value *want = hearth_json_get(v, "ids");
        size_t i = 0;
        assert_ok(hearth_json_str(hearth_json_get(v, "text"), &text));
        hearth_ids_clear(&ids);
        assert_ok(
            hearth_tokenizer_encode(t, text, strlen(text), true, &ids, NULL));
        /* The program that made these puts a prefix before the empty text; the
         * tokenizers library, whose file this is, does not. */
        if (!*text) {
            assert_int_equal(ids.n, 1);
            continue;
        }
        assert_int_equal(ids.n, hearth_json_size(want));
        for (const hearth_json_value *w = hearth_json_first(want); w;
             w = hearth_json_next(w), i++) {
            int64_t id = -1;
            assert_ok(hearth_json_i64(w, &id));
            assert_int_equal(ids.id[i], id);
        }
        expect_round_trip(t, text, strlen(text), &ids);
    }
    assert_true(count >= 6);
    hearth_ids_free(&ids);
    hearth_json_free(j);
    hearth_tokenizer_close(t);
}

/* One line of a .out file: decimal ids with blanks between. */
static size_t parse_line(const char **at, int32_t *id, size_t cap) {
    size_t n = 0;
    char *end;
    while (**at && **at != '\n') {
        long v = strtol(*at, &end, 10);
        if (end == *at) break;
        assert_true(n < cap);
        id[n++] = (int32_t)v;
        *at = end;
    }
    while (**at && **at != '\n') ++*at;
    if (**at) ++*at;
    return n;
}

/* Texts of .inp (each ended by the separator) against lines of .out.  The number of entries is
 * printed. */
static void run_on(hearth_tokenizer *t, const char *vectors) {
    static const char sep[] = "\n__ggml_vocab_test__\n";
    char path[512], file[128];
    size_t count = 0;
    hearth_buf in = HEARTH_BUF_INIT(NULL), out = HEARTH_BUF_INIT(NULL);
    hearth_ids ids;
    static int32_t want[4096];
    snprintf(file, sizeof(file), "tokenizers/vectors/%s.inp", vectors);
    if (!hearth_test_data(path, sizeof(path), file)) skip();
    assert_ok(hearth_file_read(&in, path, 1 << 20, NULL));
    snprintf(file, sizeof(file), "tokenizers/vectors/%s.out", vectors);
    if (!hearth_test_data(path, sizeof(path), file)) skip();
    assert_ok(hearth_file_read(&out, path, 1 << 20, NULL));
    hearth_ids_init(&ids, NULL);
    const char *text = hearth_buf_str(&in), *line = hearth_buf_str(&out), *end;
    for (; (end = strstr(text, sep)) != NULL;
         text = end + sizeof(sep) - 1, count++) {
        size_t n = (size_t)(end - text);
        size_t n_want = parse_line(&line, want, 4096);
        hearth_ids_clear(&ids);
        assert_ok(hearth_tokenizer_encode(t, text, n, false, &ids, NULL));
        if (ids.n != n_want ||
            memcmp(ids.id, want, n_want * sizeof(*want)) != 0) {
            fail_msg("entry %zu '%.*s'", count, (int)n, text);
        }
        expect_round_trip(t, text, n, &ids);
    }
    assert_true(count >= 40);
    print_message("%s: %zu of %zu vectors\n", vectors, count, count);
    hearth_ids_free(&ids);
    hearth_buf_free(&in);
    hearth_buf_free(&out);
    hearth_tokenizer_close(t);
}

static void run_vectors(const char *name, const char *vectors) {
    size_t bytes = 0;
    hearth_tokenizer *t = open_data(name, &bytes);
    assert_true(hearth_tokenizer_bytes(t) <= bytes + bytes / 2);
    run_on(t, vectors);
}

static void append_data(hearth_buf *out, const char *name) {
    char path[512];
    if (!hearth_test_data(path, sizeof(path), name)) skip();
    assert_ok(hearth_file_read(out, path, 16 << 20, NULL));
}

/* What Qwen publishes as tokenizer.json, put together from its vocab.json and
 * merges.txt. */
static void qwen2_json(hearth_buf *out, const char *pattern) {
    hearth_buf merges = HEARTH_BUF_INIT(NULL);
    const char *comma = "";
    (void)hearth_buf_puts(
        out, "{\"version\":\"1.0\",\"added_tokens\":[],\"normalizer\":{"
             "\"type\":\"NFC\"},\"pre_tokenizer\":{\"type\":\"Sequence\","
             "\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{"
             "\"Regex\":");
    (void)hearth_buf_json_string(out, pattern, strlen(pattern));
    (void)hearth_buf_puts(
        out, "},\"behavior\":\"Isolated\",\"invert\":false},{\"type\":"
             "\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":"
             "false,\"use_regex\":false}]},\"post_processor\":null,"
             "\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":"
             "false,\"trim_offsets\":false,\"use_regex\":false},\"model\":{"
             "\"type\":\"BPE\",\"vocab\":");
    append_data(out, "tokenizers/qwen2/vocab.json");
    (void)hearth_buf_puts(out, ",\"merges\":[");
    append_data(&merges, "tokenizers/qwen2/merges.txt");
    for (const char *p = hearth_buf_str(&merges), *end; *p; p = end + 1) {
        end = strchr(p, '\n');
        assert_non_null(end);
        if (*p == '#' || end == p) continue; /* "#version" */
        (void)hearth_buf_puts(out, comma);
        (void)hearth_buf_json_string(out, p, (size_t)(end - p));
        comma = ",";
    }
    assert_ok(hearth_buf_puts(out, "]}}"));
    hearth_buf_free(&merges);
}

static void qwen2_gives_its_vectors(void **state) {
    static const char *const vectors[] = {"ggml-vocab-qwen2.gguf",
                                          "ggml-vocab-deepseek-r1-qwen.gguf"};
    (void)state;
    for (int i = 0; i < 2; i++) {
        hearth_buf json = HEARTH_BUF_INIT(NULL);
        hearth_tokenizer *t = NULL;
        hearth_error err = {HEARTH_OK, ""};
        qwen2_json(&json,
                   "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
                   "\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|"
                   "\\s+(?!\\S)|\\s+");
        if (hearth_tokenizer_parse(&t, hearth_buf_str(&json), json.n, NULL, 0,
                                   NULL, &err) != HEARTH_OK)
            fail_msg("%s", err.text);
        run_on(t, vectors[i]);
        hearth_buf_free(&json);
    }
}

static void llama2_gives_spm_vectors(void **state) {
    (void)state;
    run_vectors("tokenizers/llama2/tokenizer.json",
                "ggml-vocab-llama-spm.gguf");
}

static void gpt2_gives_bpe_vectors(void **state) {
    (void)state;
    run_vectors("tokenizers/gpt2/tokenizer.json", "ggml-vocab-gpt-2.gguf");
}

static void gguf_vocabularies_give_their_vectors(void **state) {
    static const char *const name[] = {"gpt-2", "llama-spm", "phi-3"};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        char path[512], file[128];
        hearth_tokenizer *t = NULL;
        hearth_error err = {HEARTH_OK, ""};
        (void)snprintf(file, sizeof(file), "formats/ggml-vocab-%s.gguf",
                       name[i]);
        if (!hearth_test_data(path, sizeof(path), file)) skip();
        if (hearth_tokenizer_open(&t, path, NULL, &err) != HEARTH_OK)
            fail_msg("%s", err.text);
        (void)snprintf(file, sizeof(file), "ggml-vocab-%s.gguf", name[i]);
        run_on(t, file);
    }
}

/* ---- Llama 3, whose file lists "base64 rank" ---- */

static size_t decode64(const char *s, size_t n, uint8_t *out) {
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = 0;
    size_t have = 0, k = 0;
    for (size_t i = 0; i < n && s[i] != '='; i++) {
        const char *d = strchr(digits, s[i]);
        assert_non_null(d);
        bits = bits << 6 | (uint32_t)(d - digits);
        have += 6;
        if (have < 8) continue;
        have -= 8;
        out[k++] = (uint8_t)(bits >> have);
    }
    return k;
}

/* Bytes in GPT-2's alphabet. */
static size_t spell(const uint8_t *b, size_t n, char *out) {
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t c = b[i];
        if (c <= 32)
            c += 256;
        else if (c >= 127 && c <= 160)
            c += 289 - 127;
        else if (c == 173)
            c = 323;
        if (c >= 0x80) {
            out[k++] = (char)(unsigned char)(0xC0 | c >> 6);
            out[k++] = (char)(unsigned char)(0x80 | (c & 0x3F));
        } else {
            out[k++] = (char)c;
        }
    }
    return k;
}

typedef struct {
    int32_t left, right;
    size_t at, n_left, n; /* in the spelt texts */
} cut;

static int by_parts(const void *x, const void *y) {
    const cut *a = x, *b = y;
    if (a->left != b->left) return a->left < b->left ? -1 : 1;
    return a->right < b->right ? -1 : a->right > b->right;
}

/* Merges of one token: its cuts into two tokens, by their ranks. */
static void put_cuts(hearth_buf *out, const hearth_tokenizer *t, const char *s,
                     size_t n, const char **comma) {
    cut list[256];
    size_t n_cuts = 0;
    for (size_t i = 1; i < n; i++) {
        if (((unsigned char)s[i] & 0xC0) == 0x80) continue;
        int32_t l = hearth_tokenizer_id(t, s, i);
        int32_t r = hearth_tokenizer_id(t, s + i, n - i);
        if (l < 0 || r < 0) continue;
        assert_true(n_cuts < 256);
        list[n_cuts++] = (cut){l, r, 0, i, n};
    }
    if (n_cuts) qsort(list, n_cuts, sizeof(*list), by_parts);
    for (size_t i = 0; i < n_cuts; i++) {
        (void)hearth_buf_printf(out, "%s[", *comma);
        (void)hearth_buf_json_string(out, s, list[i].n_left);
        (void)hearth_buf_puts(out, ",");
        (void)hearth_buf_json_string(out, s + list[i].n_left,
                                     n - list[i].n_left);
        assert_ok(hearth_buf_puts(out, "]"));
        *comma = ",";
    }
}

/* Calls for every line: the vocabulary, or with t the merges. */
static void put_ranks(hearth_buf *out, const char *p,
                      const hearth_tokenizer *t) {
    uint8_t raw[512];
    char s[1024], *end;
    const char *comma = "";
    while (*p) {
        const char *space = strchr(p, ' ');
        assert_non_null(space);
        assert_true(space - p < 600);
        size_t n = spell(raw, decode64(p, (size_t)(space - p), raw), s);
        long rank = strtol(space + 1, &end, 10);
        p = *end ? end + 1 : end;
        if (t) {
            put_cuts(out, t, s, n, &comma);
            continue;
        }
        (void)hearth_buf_puts(out, comma);
        (void)hearth_buf_json_string(out, s, n);
        assert_ok(hearth_buf_printf(out, ":%ld", rank));
        comma = ",";
    }
}

static void llama3_gives_its_vectors(void **state) {
    static const char head[] =
        "{\"version\":\"1.0\",\"normalizer\":null,\"pre_tokenizer\":{\"type\":"
        "\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{"
        "\"Regex\":\"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]"
        "?"
        "\\\\p{L}+|\\\\p{N}{1,3}| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|"
        "\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"},\"behavior\":"
        "\"Isolated\","
        "\"invert\":false},{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
        "\"use_regex\":false}]},\"decoder\":{\"type\":\"ByteLevel\"},\"model\":"
        "{"
        "\"type\":\"BPE\",\"ignore_merges\":true,\"vocab\":{";
    hearth_buf ranks = HEARTH_BUF_INIT(NULL), json = HEARTH_BUF_INIT(NULL);
    hearth_tokenizer *t = NULL;
    hearth_error err = {HEARTH_OK, ""};
    (void)state;
    append_data(&ranks, "tokenizers/llama3/tokenizer.model");
    assert_ok(hearth_buf_puts(&json, head));
    put_ranks(&json, hearth_buf_str(&ranks), NULL);
    assert_ok(hearth_buf_puts(&json, "},\"merges\":["));
    size_t had = json.n;
    assert_ok(hearth_buf_puts(&json, "]}}"));
    if (hearth_tokenizer_parse(&t, hearth_buf_str(&json), json.n, NULL, 0, NULL,
                               &err) != HEARTH_OK)
        fail_msg("%s", err.text);
    json.n = had;
    put_ranks(&json, hearth_buf_str(&ranks), t);
    hearth_tokenizer_close(t);
    assert_ok(hearth_buf_puts(&json, "]}}"));
    if (hearth_tokenizer_parse(&t, hearth_buf_str(&json), json.n, NULL, 0, NULL,
                               &err) != HEARTH_OK)
        fail_msg("%s", err.text);
    run_on(t, "ggml-vocab-llama-bpe.gguf");
    hearth_buf_free(&json);
    hearth_buf_free(&ranks);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loading_stays_within_its_memory),
        cmocka_unit_test(stories260k_gives_its_vectors),
        cmocka_unit_test(llama2_gives_spm_vectors),
        cmocka_unit_test(gpt2_gives_bpe_vectors),
        cmocka_unit_test(qwen2_gives_its_vectors),
        cmocka_unit_test(llama3_gives_its_vectors),
        cmocka_unit_test(gguf_vocabularies_give_their_vectors),
    };
    return cmocka_run_group_tests_name("golden/tokenizer", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* client/tokenizer/tokenizer_gguf.c - a GGUF file's vocabulary; the contract is
 * in tokenizer_source.h.
 *
 * Source: keys and token types as in the GGUF specification; the order of
 *         merges made from scores as transformers' SentencePiece converter has
 *         it (score, then length of the left and of the right part, all
 *         falling).
 */
#include <stdlib.h>
#include <string.h>

#include "client/tokenizer/tokenizer_parts.h"
#include "client/tokenizer/tokenizer_source.h"
#include "common/bytes.h"
#include "common/error.h"
#include "common/mem.h"

#define SPLIT(regex_)                                                          \
    "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\","           \
    "\"pattern\":{\"Regex\":\"" regex_                                         \
    "\"},\"behavior\":\"Isolated\",\"invert\":false},{\"type\":"               \
    "\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}]}"
#define WORDS(digits_)                                                         \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|"    \
    "\\\\p{N}" digits_ "| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|"            \
    "\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"
#define BYTES                                                                  \
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}"
#define DIGITS                                                                 \
    "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\","          \
    "\"individual_digits\":true}," BYTES "]}"
#define NFC "{\"type\":\"NFC\"}"

static const tokenizer_pre PRE[] = {
    {"gpt-2", "null", BYTES, false, false},
    {"phi-2", "null", BYTES, false, false},
    {"roberta-bpe", "null", BYTES, false, false},
    {"llama-bpe", "null", SPLIT(WORDS("{1,3}")), true, true},
    {"llama3", "null", SPLIT(WORDS("{1,3}")), true, true},
    {"llama-v3", "null", SPLIT(WORDS("{1,3}")), true, true},
    {"qwen2", NFC, SPLIT(WORDS("")), false, false},
    {"deepseek-r1-qwen", NFC, SPLIT(WORDS("")), false, false},
    {"smollm", "null", DIGITS, false, false},
    {"starcoder", "null", DIGITS, false, false},
    {"refact", "null", DIGITS, false, false},
    {"codeshell", "null", DIGITS, false, false},
};
#define N_PRE (sizeof(PRE) / sizeof(PRE[0]))

enum {
    TOKEN_NORMAL = 1,
    TOKEN_UNKNOWN = 2,
    TOKEN_CONTROL = 3,
    TOKEN_USER = 4,
    TOKEN_UNUSED = 5
};

const tokenizer_pre *hearth_tokenizer__pre(const char *name, size_t n) {
    for (size_t i = 0; i < N_PRE; i++)
        if (strlen(PRE[i].name) == n && memcmp(PRE[i].name, name, n) == 0)
            return &PRE[i];
    return NULL;
}

typedef struct {
    const hearth_gguf *g;
    hearth_buf *json, *config;
    hearth_error *err;
    size_t n_tokens;
    const char **text; /* [n_tokens] borrowed from g */
    size_t *len;       /* [n_tokens] */
    uint8_t *type;     /* [n_tokens] TOKEN_* */
    bool spm, prefix;
    const tokenizer_pre *pre;
    hearth_status st; /* of writing */
} source;

static hearth_status bad(source *s, const char *what) {
    return hearth_error_set(s->err, HEARTH_EFORMAT,
                            "the vocabulary in the GGUF file is broken: %s; "
                            "take the file from its publisher again",
                            what);
}

static void put(source *s, const char *text) {
    if (s->st == HEARTH_OK) s->st = hearth_buf_puts(s->json, text);
}

static void put_string(source *s, const char *text, size_t n) {
    if (s->st == HEARTH_OK) s->st = hearth_buf_json_string(s->json, text, n);
}

static void put_number(source *s, size_t n) {
    if (s->st == HEARTH_OK) s->st = hearth_buf_printf(s->json, "%zu", n);
}

static void put_token(source *s, size_t id) {
    put_string(s, s->text[id], s->len[id]);
}

/* ---- reading ---- */

static hearth_status read_model(source *s) {
    const char *name = "", *pre = "";
    size_t n = 0, n_pre = 0;
    if (hearth_gguf_string(s->g, "tokenizer.ggml.model", &name, &n) !=
        HEARTH_OK)
        return hearth_error_set(s->err, HEARTH_EUNSUPPORTED,
                                "the GGUF file has no tokenizer inside; use "
                                "one that has");
    s->spm = n == 5 && memcmp(name, "llama", 5) == 0;
    if (s->spm) return HEARTH_OK;
    if (n != 4 || memcmp(name, "gpt2", 4) != 0)
        return hearth_error_set(s->err, HEARTH_EUNSUPPORTED,
                                "a GGUF tokenizer of model \"%.*s\" is not "
                                "supported; use one of gpt2 or llama",
                                n > 40 ? 40 : (int)n, name);
    if (hearth_gguf_string(s->g, "tokenizer.ggml.pre", &pre, &n_pre) !=
        HEARTH_OK)
        n_pre = 0;
    s->pre = hearth_tokenizer__pre(pre, n_pre);
    if (s->pre) return HEARTH_OK;
    return hearth_error_set(
        s->err, HEARTH_EUNSUPPORTED,
        "tokenizer.ggml.pre \"%.*s\" is not supported; use a file with gpt-2, "
        "phi-2, roberta-bpe, llama-bpe, llama3, llama-v3, qwen2, "
        "deepseek-r1-qwen, smollm, starcoder, refact or codeshell",
        n_pre > 40 ? 40 : (int)n_pre, pre);
}

static hearth_status read_types(source *s) {
    hearth_gguf_array a;
    double v;
    memset(s->type, TOKEN_NORMAL, s->n_tokens);
    hearth_status st =
        hearth_gguf_array_open(s->g, "tokenizer.ggml.token_type", &a);
    if (st == HEARTH_ENOTFOUND) return HEARTH_OK;
    if (st != HEARTH_OK || a.n != s->n_tokens)
        return bad(s, "as many types as tokens are needed");
    for (size_t i = 0; i < s->n_tokens; i++) {
        if (!hearth_gguf_array_number(&a, &v) || !(v >= 0 && v <= 6) ||
            v > (double)(uint8_t)v)
            return bad(s, "a token has an unknown type");
        s->type[i] = (uint8_t)v;
    }
    return HEARTH_OK;
}

static hearth_status read_tokens(source *s) {
    hearth_gguf_array a;
    if (hearth_gguf_array_open(s->g, "tokenizer.ggml.tokens", &a) !=
            HEARTH_OK ||
        a.type != HEARTH_GGUF_STRING || !a.n)
        return bad(s, "no list of tokens");
    if (a.n > HEARTH_TOKENIZER_MAX_VOCAB)
        return hearth_error_set(s->err, HEARTH_ETOOBIG,
                                "a vocabulary above %zu tokens; use a smaller "
                                "one",
                                HEARTH_TOKENIZER_MAX_VOCAB);
    s->n_tokens = (size_t)a.n;
    s->text = hearth_mem_array(s->json->al, s->n_tokens, sizeof(*s->text));
    s->len = hearth_mem_array(s->json->al, s->n_tokens, sizeof(*s->len));
    s->type = hearth_mem_array(s->json->al, s->n_tokens, 1);
    if (!s->text || !s->len || !s->type) return HEARTH_ENOMEM;
    for (size_t i = 0; i < s->n_tokens; i++)
        if (!hearth_gguf_array_string(&a, &s->text[i], &s->len[i]) ||
            !hearth_utf8_valid(s->text[i], s->len[i]))
            return bad(s, "a token is not UTF-8");
    return read_types(s);
}

/* An id by key: -1 where there is none. */
static hearth_status read_id(source *s, const char *key, int64_t *id) {
    uint64_t v = 0;
    hearth_status st = hearth_gguf_u64(s->g, key, &v);
    *id = -1;
    if (st == HEARTH_ENOTFOUND) return HEARTH_OK;
    if (st != HEARTH_OK || v >= s->n_tokens)
        return bad(s, "a special token's id is not in the list");
    *id = (int64_t)v;
    return HEARTH_OK;
}

/* A flag of another type stops the writing. */
static bool read_flag(source *s, const char *key, bool otherwise) {
    bool v = otherwise;
    if (hearth_gguf_bool(s->g, key, &v) == HEARTH_EMISMATCH &&
        s->st == HEARTH_OK)
        s->st = bad(s, "a setting is neither true nor false");
    return v;
}

/* ---- writing ---- */

/* Phi-3's control tokens take the white space after them along, but for those
 * of Llama. */
static bool takes_space(const source *s, size_t id) {
    static const char *const plain[] = {"<unk>", "<s>", "<|endoftext|>"};
    const char *arch = "";
    size_t n = 0;
    if (hearth_gguf_string(s->g, "general.architecture", &arch, &n) !=
            HEARTH_OK ||
        n != 4 || memcmp(arch, "phi3", 4) != 0 || !s->spm)
        return false;
    for (size_t i = 0; i < 3; i++)
        if (strlen(plain[i]) == s->len[id] &&
            memcmp(plain[i], s->text[id], s->len[id]) == 0)
            return false;
    return true;
}

static void put_added(source *s) {
    bool first = true;
    put(s, "{\"version\":\"1.0\",\"added_tokens\":[");
    for (size_t i = 0; i < s->n_tokens; i++) {
        bool special =
            s->type[i] == TOKEN_CONTROL || s->type[i] == TOKEN_UNKNOWN;
        if (!special && s->type[i] != TOKEN_USER) continue;
        put(s, first ? "{\"id\":" : ",{\"id\":");
        first = false;
        put_number(s, i);
        put(s, ",\"content\":");
        put_token(s, i);
        put(s, special ? ",\"special\":true" : ",\"special\":false");
        put(s, takes_space(s, i) ? ",\"rstrip\":true" : ",\"rstrip\":false");
        put(s, ",\"normalized\":false}");
    }
    put(s, "]");
}

static void put_template_token(source *s, int64_t id) {
    if (id < 0) return;
    put(s, "{\"SpecialToken\":{\"id\":");
    put_token(s, (size_t)id);
    put(s, ",\"type_id\":0}}");
}

static void put_named(source *s, int64_t id) {
    if (id < 0) return;
    put_token(s, (size_t)id);
    put(s, ":{\"id\":");
    put_token(s, (size_t)id);
    put(s, ",\"ids\":[");
    put_number(s, (size_t)id);
    put(s, "],\"tokens\":[");
    put_token(s, (size_t)id);
    put(s, "]}");
}

static void put_template(source *s, int64_t bos, int64_t eos) {
    if (!read_flag(s, "tokenizer.ggml.add_bos_token",
                   s->spm || s->pre->add_bos))
        bos = -1;
    if (!read_flag(s, "tokenizer.ggml.add_eos_token", false)) eos = -1;
    if (bos < 0 && eos < 0) return;
    put(s, ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[");
    put_template_token(s, bos);
    put(s, bos < 0 ? "" : ",");
    put(s, "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}");
    put(s, eos < 0 ? "" : ",");
    put_template_token(s, eos);
    put(s, "],\"special_tokens\":{");
    put_named(s, bos);
    if (bos >= 0 && eos >= 0 && bos != eos) put(s, ",");
    if (bos != eos) put_named(s, eos);
    put(s, "}}");
}

static void put_rules(source *s) {
    if (s->spm) {
        put(s, ",\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[");
        if (s->prefix)
            put(s, "{\"type\":\"Prepend\",\"prepend\":\"\xE2\x96\x81\"},");
        put(s, "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},"
               "\"content\":\"\xE2\x96\x81\"}]}"
               ",\"pre_tokenizer\":null"
               ",\"decoder\":{\"type\":\"Sequence\",\"decoders\":["
               "{\"type\":\"Replace\",\"pattern\":{\"String\":\"\xE2\x96\x81\"}"
               ",\"content\":\" \"},{\"type\":\"ByteFallback\"},"
               "{\"type\":\"Fuse\"}");
        if (s->prefix)
            put(s, ",{\"type\":\"Strip\",\"content\":\" \",\"start\":1,"
                   "\"stop\":0}");
        put(s, "]}");
        return;
    }
    put(s, ",\"normalizer\":");
    put(s, s->pre->normalizer);
    put(s, ",\"pre_tokenizer\":");
    put(s, s->pre->pre_tokenizer);
    put(s, ",\"decoder\":{\"type\":\"ByteLevel\"}");
}

static hearth_status put_model(source *s, int64_t unk) {
    put(s, ",\"model\":{\"type\":\"BPE\",\"ignore_merges\":");
    put(s, s->pre && s->pre->ignore_merges ? "true" : "false");
    if (s->spm) put(s, ",\"byte_fallback\":true,\"fuse_unk\":true");
    if (unk >= 0) {
        put(s, ",\"unk_token\":");
        put_token(s, (size_t)unk);
    }
    put(s, ",\"vocab\":{");
    for (size_t i = 0; i < s->n_tokens; i++) {
        put(s, i ? "," : "");
        put_token(s, i);
        put(s, ":");
        put_number(s, i);
    }
    put(s, "},\"merges\":[");
    return s->st;
}

/* ---- merges ---- */

static hearth_status put_listed_merges(source *s) {
    hearth_gguf_array a;
    const char *m;
    size_t n;
    if (hearth_gguf_array_open(s->g, "tokenizer.ggml.merges", &a) !=
            HEARTH_OK ||
        a.type != HEARTH_GGUF_STRING)
        return bad(s, "no list of merges");
    for (uint64_t i = 0; s->st == HEARTH_OK && i < a.n; i++) {
        if (!hearth_gguf_array_string(&a, &m, &n) || !hearth_utf8_valid(m, n))
            return bad(s, "a merge is not UTF-8");
        put(s, i ? "," : "");
        put_string(s, m, n);
    }
    return s->st;
}

typedef struct {
    float score;
    uint32_t n_left, n_right; /* characters */
    uint32_t id, left, right;
} scored;

static int by_score(const void *x, const void *y) {
    const scored *a = x, *b = y;
    if (a->score < b->score || a->score > b->score)
        return a->score > b->score ? -1 : 1;
    if (a->n_left != b->n_left) return a->n_left > b->n_left ? -1 : 1;
    if (a->n_right != b->n_right) return a->n_right > b->n_right ? -1 : 1;
    if (a->id != b->id) return a->id < b->id ? -1 : 1;
    if (a->left != b->left) return a->left < b->left ? -1 : 1;
    return a->right < b->right ? -1 : a->right > b->right;
}

static uint32_t characters(const char *s, size_t n) {
    uint32_t count = 0;
    for (size_t i = 0; i < n; i++)
        if (((unsigned char)s[i] & 0xC0) != 0x80) count++;
    return count;
}

/* All ways to cut token id into two tokens of t. */
static hearth_status cut_token(const source *s, const hearth_tokenizer *t,
                               size_t id, float score, hearth_buf *out) {
    const char *text = s->text[id];
    size_t n = s->len[id];
    hearth_status st = HEARTH_OK;
    if (s->type[id] != TOKEN_NORMAL && s->type[id] != TOKEN_USER &&
        s->type[id] != TOKEN_UNUSED)
        return st;
    for (size_t i = 1; st == HEARTH_OK && i < n; i++) {
        if (((unsigned char)text[i] & 0xC0) == 0x80) continue;
        int32_t left = hearth_tokenizer_id(t, text, i);
        int32_t right = left < 0 ? -1 : hearth_tokenizer_id(t, text + i, n - i);
        if (right < 0) continue;
        scored m = {
            score,        characters(text, i), characters(text + i, n - i),
            (uint32_t)id, (uint32_t)left,      (uint32_t)right};
        st = hearth_buf_append(out, &m, sizeof(m));
    }
    return st;
}

/* Merges of a vocabulary with scores.  The text made so far, closed, is a
 * tokenizer without merges: it looks the parts up. */
static hearth_status put_scored_merges(source *s) {
    hearth_gguf_array a;
    hearth_tokenizer *t = NULL;
    hearth_buf list = HEARTH_BUF_INIT(s->json->al);
    size_t had = s->json->n;
    double score;
    if (hearth_gguf_array_open(s->g, "tokenizer.ggml.scores", &a) !=
            HEARTH_OK ||
        a.n != s->n_tokens)
        return bad(s, "as many scores as tokens are needed");
    put(s, "]}}");
    if (s->st == HEARTH_OK)
        s->st = hearth_tokenizer_parse(&t, hearth_buf_str(s->json), s->json->n,
                                       NULL, 0, s->json->al, s->err);
    s->json->n = had;
    for (size_t i = 0; s->st == HEARTH_OK && i < s->n_tokens; i++) {
        if (!hearth_gguf_array_number(&a, &score) || !(score - score == 0))
            s->st = bad(s, "a score is not a number");
        else
            s->st = cut_token(s, t, i, (float)score, &list);
    }
    hearth_tokenizer_close(t);
    scored *m = (scored *)(void *)list.v;
    size_t n = list.n / sizeof(*m);
    if (s->st == HEARTH_OK && n) qsort(m, n, sizeof(*m), by_score);
    for (size_t i = 0; s->st == HEARTH_OK && i < n; i++) {
        put(s, i ? ",[" : "[");
        put_token(s, m[i].left);
        put(s, ",");
        put_token(s, m[i].right);
        put(s, "]");
    }
    hearth_buf_free(&list);
    return s->st;
}

static hearth_status put_config(source *s, int64_t bos, int64_t eos) {
    hearth_buf *c = s->config;
    hearth_status st = hearth_buf_puts(c, "{\"bos_token\":");
    for (int i = 0; i < 2; i++) {
        int64_t id = i ? eos : bos;
        if (st == HEARTH_OK && i) st = hearth_buf_puts(c, ",\"eos_token\":");
        if (st != HEARTH_OK) break;
        st = id < 0 ? hearth_buf_puts(c, "null")
                    : hearth_buf_json_string(c, s->text[id], s->len[id]);
    }
    return st == HEARTH_OK ? hearth_buf_puts(c, "}") : st;
}

static hearth_status write_all(source *s) {
    int64_t bos, eos, unk;
    hearth_status st;
    if ((st = read_model(s)) != HEARTH_OK ||
        (st = read_tokens(s)) != HEARTH_OK ||
        (st = read_id(s, "tokenizer.ggml.bos_token_id", &bos)) != HEARTH_OK ||
        (st = read_id(s, "tokenizer.ggml.eos_token_id", &eos)) != HEARTH_OK ||
        (st = read_id(s, "tokenizer.ggml.unknown_token_id", &unk)) != HEARTH_OK)
        return st;
    s->prefix = read_flag(s, "tokenizer.ggml.add_space_prefix", true);
    put_added(s);
    put_rules(s);
    put_template(s, bos, eos);
    if ((st = put_model(s, unk)) != HEARTH_OK) return st;
    st = s->spm ? put_scored_merges(s) : put_listed_merges(s);
    if (st != HEARTH_OK) return st;
    put(s, "]}}");
    return s->st == HEARTH_OK ? put_config(s, bos, eos) : s->st;
}

/* Keys of a tokenizer.json inside: the format's own, and ours. */
#define JSON_KEY   "tokenizer.huggingface.json"
#define CONFIG_KEY "hearth.tokenizer_config"

hearth_status hearth_tokenizer__from_gguf(hearth_tokenizer **out,
                                          const hearth_gguf *g,
                                          const hearth_alloc *al,
                                          hearth_error *err) {
    const char *json = NULL, *config = NULL;
    size_t n_json = 0, n_config = 0;
    hearth_buf made = HEARTH_BUF_INIT(al), settings = HEARTH_BUF_INIT(al);
    hearth_status st = HEARTH_OK;
    *out = NULL;
    if (hearth_gguf_string(g, CONFIG_KEY, &config, &n_config) != HEARTH_OK)
        config = NULL, n_config = 0;
    if (hearth_gguf_string(g, JSON_KEY, &json, &n_json) != HEARTH_OK) {
        st = hearth_tokenizer__of_gguf(g, &made, &settings, err);
        json = hearth_buf_str(&made);
        n_json = made.n;
        config = hearth_buf_str(&settings);
        n_config = settings.n;
    }
    if (st == HEARTH_OK) {
        st = hearth_tokenizer_parse(out, json, n_json, config, n_config, al,
                                    err);
        if (st == HEARTH_EFORMAT && made.n)
            (void)hearth_error_prefix(err, "the vocabulary put into text");
    } else if (st == HEARTH_ENOMEM) {
        (void)hearth_error_set(err, st,
                               "out of memory for the tokenizer; "
                               "close something and try again");
    }
    hearth_buf_free(&made);
    hearth_buf_free(&settings);
    return st;
}

hearth_status hearth_tokenizer__of_gguf(const hearth_gguf *g, hearth_buf *json,
                                        hearth_buf *config, hearth_error *err) {
    source s;
    memset(&s, 0, sizeof(s));
    s.g = g;
    s.json = json;
    s.config = config;
    s.err = err;
    hearth_status st = write_all(&s);
    hearth_mem_free(json->al, s.type);
    hearth_mem_free(json->al, s.len);
    hearth_mem_free(json->al, s.text);
    return st;
}

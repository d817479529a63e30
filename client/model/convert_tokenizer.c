/* SPDX-License-Identifier: Apache-2.0 */
/* client/model/convert_tokenizer.c - the contract is in convert_tokenizer.h. */
#include "client/model/convert_tokenizer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/error.h"
#include "common/jsonpull.h"
#include "common/mem.h"

#define MAX_MERGE ((size_t)2100) /* bytes of both parts and the gap */
#define PREFIX    "tokenizer.ggml."
#define WORDS(digits_)                                                         \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{"          \
    "N}" digits_                                                               \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

enum { NORMAL = 1, UNKNOWN, CONTROL, USER, UNUSED, BYTE };

typedef struct {
    const char *text; /* NULL: no token has this id */
    size_t n;
    float score;
    uint8_t type;
} piece;

typedef struct {
    hearth_jsonpull p;
    char key[32]; /* the last member's name, "" when longer */
    char *text;   /* arena of the tokens' texts */
    size_t text_n;
    piece *piece; /* [n_vocab] */
    uint32_t n_vocab;
    uint32_t *sorted; /* ids by text, [n_sorted] */
    size_t n_sorted;
    hearth_jsonpull merges; /* at the list's start; text NULL: none */
    uint64_t n_merges;
    const char *words, *unk; /* rule of the Split, "llama-bpe" or "qwen2" */
    size_t unk_n;
    bool odd; /* GGUF has no word for something */
    bool byte_fallback, byte_level, digits, prefix, prefix_space, plain_bytes;
    bool ignore_merges, single, after, add_bos, add_eos;
    bool broken;
} vocabulary;

static bool is(const vocabulary *v, const char *s) {
    return hearth_jsonpull_is(&v->p, s);
}

static bool key_is(const vocabulary *v, const char *s) {
    return strcmp(v->key, s) == 0;
}

static hearth_jsonpull_event next(vocabulary *v) {
    hearth_jsonpull_event e = hearth_jsonpull_next(&v->p);
    size_t n = 0;
    if (e == HEARTH_JSONPULL_ERROR) v->broken = true;
    if (e != HEARTH_JSONPULL_KEY) return e;
    if (hearth_jsonpull_string(&v->p, v->key, sizeof(v->key) - 1, &n)) n = 0;
    v->key[n] = '\0';
    return e;
}

/* Show every event of the value that follows. */
static void visit(vocabulary *v,
                  void (*see)(vocabulary *, hearth_jsonpull_event)) {
    size_t depth = v->p.depth;
    do {
        hearth_jsonpull_event e = next(v);
        if (!v->broken) see(v, e);
    } while (!v->broken && v->p.depth > depth);
}

static void see_normalizer(vocabulary *v, hearth_jsonpull_event e) {
    if (e != HEARTH_JSONPULL_STRING || !key_is(v, "type")) return;
    if (is(v, "Prepend"))
        v->prefix = true;
    else if (!is(v, "Sequence") && !is(v, "NFC") && !is(v, "Replace"))
        v->odd = true;
}

static void see_pre_type(vocabulary *v) {
    if (is(v, "ByteLevel"))
        v->byte_level = true;
    else if (is(v, "Digits"))
        v->digits = true;
    else if (is(v, "Metaspace"))
        v->prefix = true;
    else if (!is(v, "Sequence") && !is(v, "Split"))
        v->odd = true;
}

static void see_pre(vocabulary *v, hearth_jsonpull_event e) {
    if (e == HEARTH_JSONPULL_TRUE && key_is(v, "add_prefix_space"))
        v->prefix_space = true;
    if (e == HEARTH_JSONPULL_FALSE && key_is(v, "use_regex"))
        v->plain_bytes = true;
    if (e == HEARTH_JSONPULL_FALSE && key_is(v, "individual_digits"))
        v->odd = true;
    if (e != HEARTH_JSONPULL_STRING) return;
    if (key_is(v, "type")) see_pre_type(v);
    if (key_is(v, "prepend_scheme")) v->prefix = !is(v, "never");
    if (!key_is(v, "Regex")) return;
    if (is(v, WORDS("{1,3}")))
        v->words = "llama-bpe";
    else if (is(v, WORDS("")))
        v->words = "qwen2";
    else
        v->odd = true;
}

/* A template's `single`: what stands before and after the text. */
static void see_post(vocabulary *v, hearth_jsonpull_event e) {
    if (e == HEARTH_JSONPULL_STRING && key_is(v, "type") &&
        !is(v, "Sequence") && !is(v, "ByteLevel") &&
        !is(v, "TemplateProcessing"))
        v->odd = true;
    if (e != HEARTH_JSONPULL_KEY) return;
    if (key_is(v, "single")) v->single = true;
    if (key_is(v, "pair") || key_is(v, "special_tokens")) v->single = false;
    if (!v->single) return;
    if (key_is(v, "Sequence")) v->after = true;
    if (key_is(v, "SpecialToken")) *(v->after ? &v->add_eos : &v->add_bos) = 1;
}

/* The present string, into the arena. */
static const char *keep(vocabulary *v, size_t *n) {
    char *to = v->text + v->text_n;
    *n = 0;
    if (hearth_jsonpull_string(&v->p, to, v->p.token_n, n)) v->broken = true;
    v->text_n += *n;
    return to;
}

static piece *piece_of(vocabulary *v, int64_t id) {
    if (id >= 0 && id < (int64_t)v->n_vocab) return &v->piece[id];
    v->odd = true;
    return NULL;
}

static void read_vocab(vocabulary *v) {
    if (next(v) != HEARTH_JSONPULL_OBJECT) v->broken = true;
    while (!v->broken && next(v) == HEARTH_JSONPULL_KEY) {
        int64_t id = -1;
        piece p = {.type = NORMAL};
        p.text = keep(v, &p.n);
        if (next(v) != HEARTH_JSONPULL_NUMBER ||
            hearth_jsonpull_i64(&v->p, &id) != HEARTH_OK)
            v->broken = true;
        piece *to = piece_of(v, id);
        if (to && !to->text) *to = p; /* an added token says more */
    }
}

static void read_added(vocabulary *v) {
    if (next(v) != HEARTH_JSONPULL_ARRAY) v->broken = true;
    while (!v->broken && next(v) == HEARTH_JSONPULL_OBJECT) {
        int64_t id = -1;
        piece p = {.type = USER};
        while (!v->broken && next(v) == HEARTH_JSONPULL_KEY) {
            hearth_jsonpull_event e = hearth_jsonpull_next(&v->p);
            if (e == HEARTH_JSONPULL_ERROR) v->broken = true;
            if (e == HEARTH_JSONPULL_NUMBER && key_is(v, "id") &&
                hearth_jsonpull_i64(&v->p, &id) != HEARTH_OK)
                v->broken = true;
            if (e == HEARTH_JSONPULL_STRING && key_is(v, "content"))
                p.text = keep(v, &p.n);
            if (e == HEARTH_JSONPULL_TRUE && key_is(v, "special"))
                p.type = CONTROL;
        }
        piece *to = v->broken || !p.text ? NULL : piece_of(v, id);
        if (to) *to = p;
    }
}

/* One merge as "left right" into out [MAX_MERGE]; *gap: where the space is.
 * false at the end, or when it is broken. */
static bool next_merge(hearth_jsonpull *p, char *out, size_t *n, size_t *gap) {
    hearth_jsonpull_event e = hearth_jsonpull_next(p);
    if (e == HEARTH_JSONPULL_STRING) {
        if (hearth_jsonpull_string(p, out, MAX_MERGE, n) || *n < 3)
            return false;
        const char *space = memchr(out + 1, ' ', *n - 1);
        if (!space) return false;
        *gap = (size_t)(space - out);
        return true;
    }
    if (e != HEARTH_JSONPULL_ARRAY ||
        hearth_jsonpull_next(p) != HEARTH_JSONPULL_STRING ||
        hearth_jsonpull_string(p, out, MAX_MERGE - 1, gap) ||
        hearth_jsonpull_next(p) != HEARTH_JSONPULL_STRING)
        return false;
    out[*gap] = ' ';
    if (hearth_jsonpull_string(p, out + *gap + 1, MAX_MERGE - *gap - 1, n))
        return false;
    *n += *gap + 1;
    return hearth_jsonpull_next(p) == HEARTH_JSONPULL_ARRAY_END;
}

static void read_merges(vocabulary *v) {
    char merge[MAX_MERGE];
    size_t n, gap, depth = v->p.depth;
    if (next(v) != HEARTH_JSONPULL_ARRAY) {
        v->broken = true;
        return;
    }
    v->merges = v->p;
    while (next_merge(&v->p, merge, &n, &gap)) v->n_merges++;
    if (v->p.depth != depth) v->broken = true; /* it stopped before the end */
}

static void read_model_value(vocabulary *v) {
    hearth_jsonpull_event e = next(v);
    bool on = e == HEARTH_JSONPULL_TRUE;
    if (key_is(v, "byte_fallback")) v->byte_fallback = on;
    if (key_is(v, "ignore_merges")) v->ignore_merges = on;
    if (e == HEARTH_JSONPULL_OBJECT || e == HEARTH_JSONPULL_ARRAY)
        v->broken |= !hearth_jsonpull_skip(&v->p);
    if (e != HEARTH_JSONPULL_STRING) return;
    if (key_is(v, "type") && !is(v, "BPE")) v->odd = true;
    if (key_is(v, "unk_token")) v->unk = keep(v, &v->unk_n);
    if (v->p.token_n && (key_is(v, "continuing_subword_prefix") ||
                         key_is(v, "end_of_word_suffix")))
        v->odd = true;
}

static void read_model(vocabulary *v) {
    if (next(v) != HEARTH_JSONPULL_OBJECT) v->broken = true;
    while (!v->broken && !v->odd && next(v) == HEARTH_JSONPULL_KEY) {
        if (key_is(v, "vocab"))
            read_vocab(v);
        else if (key_is(v, "merges"))
            read_merges(v);
        else
            read_model_value(v);
    }
}

static void read_all(vocabulary *v) {
    if (next(v) != HEARTH_JSONPULL_OBJECT) v->broken = true;
    while (!v->broken && !v->odd && next(v) == HEARTH_JSONPULL_KEY) {
        if (key_is(v, "added_tokens"))
            read_added(v);
        else if (key_is(v, "normalizer"))
            visit(v, see_normalizer);
        else if (key_is(v, "pre_tokenizer"))
            visit(v, see_pre);
        else if (key_is(v, "post_processor"))
            visit(v, see_post);
        else if (key_is(v, "model"))
            read_model(v);
        else if (!hearth_jsonpull_skip(&v->p))
            v->broken = true;
    }
}

/* tokenizer.ggml.pre of what was read; NULL: it has no name. */
static const char *pre_name(const vocabulary *v) {
    const char *name = v->words;
    if (v->odd || !v->merges.text) return NULL;
    if (v->byte_fallback)
        return v->byte_level || v->words || v->digits ? NULL : "default";
    if (!v->byte_level || v->prefix_space || v->prefix) return NULL;
    if (v->words && v->digits) return NULL;
    if (!v->words && v->plain_bytes) return NULL;
    if (!name) name = v->digits ? "smollm" : "gpt-2";
    /* llama.cpp takes whole words from the list for this name only. */
    return v->ignore_merges == (strcmp(name, "llama-bpe") == 0) ? name : NULL;
}

static int compare(const piece *a, const char *text, size_t n) {
    int c = memcmp(a->text, text, a->n < n ? a->n : n);
    return c ? c : (a->n > n) - (a->n < n);
}

typedef struct {
    uint32_t id;
    const piece *p;
} place;

static int by_text(const void *x, const void *y) {
    const place *a = x, *b = y;
    return compare(a->p, b->p->text, b->p->n);
}

static piece *find(vocabulary *v, const char *text, size_t n) {
    size_t low = 0, high = v->n_sorted;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int c = compare(&v->piece[v->sorted[mid]], text, n);
        if (c == 0) return &v->piece[v->sorted[mid]];
        if (c < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

static bool sort(vocabulary *v, const hearth_alloc *al) {
    place *order = hearth_mem_array(al, v->n_vocab, sizeof(*order));
    v->sorted = hearth_mem_array(al, v->n_vocab, sizeof(*v->sorted));
    for (uint32_t i = 0; order && i < v->n_vocab; i++)
        if (v->piece[i].text) order[v->n_sorted++] = (place){i, &v->piece[i]};
    if (order) qsort(order, v->n_sorted, sizeof(*order), by_text);
    for (size_t i = 0; order && v->sorted && i < v->n_sorted; i++)
        v->sorted[i] = order[i].id;
    bool fine = order && v->sorted;
    hearth_mem_free(al, order);
    return fine;
}

/* Scores of the tokens that merges make, and types of bytes. */
static void score(vocabulary *v) {
    hearth_jsonpull p = v->merges;
    char merge[MAX_MERGE];
    size_t n, gap;
    for (uint32_t i = 0; i < v->n_vocab; i++) {
        piece *t = &v->piece[i];
        t->score = -(float)v->n_merges - 1.0f;
        if (t->text && t->n == 6 && memcmp(t->text, "<0x", 3) == 0)
            t->type = BYTE;
    }
    for (uint64_t i = 0; next_merge(&p, merge, &n, &gap); i++) {
        memmove(merge + gap, merge + gap + 1, n - gap - 1);
        piece *t = find(v, merge, n - 1);
        if (t && t->score < -(float)v->n_merges) t->score = -(float)i;
    }
}

static void put_text(hearth_gguf_writer *w, const char *key, const char *s) {
    hearth_gguf_put_string(w, key, s, strlen(s));
}

static void put_pieces(hearth_gguf_writer *w, const vocabulary *v) {
    hearth_gguf_put_array(w, PREFIX "tokens", HEARTH_GGUF_STRING, v->n_vocab);
    for (uint32_t i = 0; i < v->n_vocab; i++) {
        char pad[24];
        int n = snprintf(pad, sizeof(pad), "[PAD%u]", (unsigned)i);
        const piece *t = &v->piece[i];
        hearth_gguf_item_string(w, t->text ? t->text : pad,
                                t->text ? t->n : (size_t)n);
    }
    hearth_gguf_put_array(w, PREFIX "token_type", HEARTH_GGUF_I32, v->n_vocab);
    for (uint32_t i = 0; i < v->n_vocab; i++)
        hearth_gguf_item_i32(w, v->piece[i].text ? v->piece[i].type : UNUSED);
    if (!v->byte_fallback) return;
    hearth_gguf_put_array(w, PREFIX "scores", HEARTH_GGUF_F32, v->n_vocab);
    for (uint32_t i = 0; i < v->n_vocab; i++)
        hearth_gguf_item_f32(w, v->piece[i].score);
}

static void put_merges(hearth_gguf_writer *w, const vocabulary *v) {
    hearth_jsonpull p = v->merges;
    char merge[MAX_MERGE];
    size_t n, gap;
    hearth_gguf_put_array(w, PREFIX "merges", HEARTH_GGUF_STRING, v->n_merges);
    while (next_merge(&p, merge, &n, &gap))
        hearth_gguf_item_string(w, merge, n);
}

static void put_all(hearth_gguf_writer *w, vocabulary *v, const char *pre) {
    piece *unk = v->unk ? find(v, v->unk, v->unk_n) : NULL;
    if (unk) unk->type = UNKNOWN;
    if (v->byte_fallback) score(v);
    put_text(w, PREFIX "model", v->byte_fallback ? "llama" : "gpt2");
    put_text(w, PREFIX "pre", pre);
    put_pieces(w, v);
    if (!v->byte_fallback) put_merges(w, v);
    if (unk)
        hearth_gguf_put_u32(w, PREFIX "unknown_token_id",
                            (uint32_t)(unk - v->piece));
    hearth_gguf_put_bool(w, PREFIX "add_bos_token", v->add_bos);
    hearth_gguf_put_bool(w, PREFIX "add_eos_token", v->add_eos);
    if (v->byte_fallback)
        hearth_gguf_put_bool(w, PREFIX "add_space_prefix", v->prefix);
}

static hearth_status convert(hearth_gguf_writer *w, vocabulary *v, bool *done,
                             const hearth_alloc *al, hearth_error *err) {
    if (v->piece && v->text) read_all(v);
    if (v->broken)
        return hearth_error_set(err, HEARTH_EFORMAT,
                                "tokenizer.json: line %zu is not as such a "
                                "file has it; download the model again",
                                hearth_jsonpull_line(&v->p));
    const char *pre = pre_name(v);
    *done = pre != NULL;
    if (!v->piece || !v->text || (pre && !sort(v, al)))
        return hearth_error_set(err, HEARTH_ENOMEM,
                                "tokenizer.json: out of memory; close other "
                                "programs and try again");
    if (pre) put_all(w, v, pre);
    return HEARTH_OK;
}

hearth_status hearth_convert_tokenizer_json(hearth_gguf_writer *w,
                                            const char *json, size_t n,
                                            uint32_t n_vocab, bool *done,
                                            const hearth_alloc *al,
                                            hearth_error *err) {
    vocabulary v = {.n_vocab = n_vocab};
    *done = false;
    al = hearth_mem_or_default(al);
    v.text = hearth_mem_array(al, n + 1, 1);
    v.piece = hearth_mem_array(al, n_vocab, sizeof(*v.piece));
    for (uint32_t i = 0; v.piece && i < n_vocab; i++) v.piece[i] = (piece){0};
    hearth_jsonpull_init(&v.p, json, n);
    hearth_status st = convert(w, &v, done, al, err);
    hearth_mem_free(al, v.sorted);
    hearth_mem_free(al, v.piece);
    hearth_mem_free(al, v.text);
    return st;
}

static void copy_array(hearth_gguf_writer *w, const hearth_gguf *g,
                       const char *key) {
    hearth_gguf_array a;
    const char *s;
    size_t n;
    double x = 0;
    if (hearth_gguf_array_open(g, key, &a) != HEARTH_OK) return;
    hearth_gguf_type type = a.type == HEARTH_GGUF_STRING ? HEARTH_GGUF_STRING
                            : a.type == HEARTH_GGUF_F32  ? HEARTH_GGUF_F32
                                                         : HEARTH_GGUF_I32;
    hearth_gguf_put_array(w, key, type, a.n);
    for (uint64_t i = 0; i < a.n; i++) {
        if (hearth_gguf_array_string(&a, &s, &n)) {
            hearth_gguf_item_string(w, s, n);
            continue;
        }
        if (!hearth_gguf_array_number(&a, &x) || !(fabs(x) < 1e9)) x = 0;
        if (type == HEARTH_GGUF_F32)
            hearth_gguf_item_f32(w, (float)x);
        else
            hearth_gguf_item_i32(w, (int32_t)x);
    }
}

void hearth_convert_tokenizer_copy(hearth_gguf_writer *w,
                                   const hearth_gguf *g) {
    static const char *const texts[] = {
        PREFIX "model", PREFIX "pre", "tokenizer.chat_template",
        "tokenizer.huggingface.json", "hearth.tokenizer_config"};
    static const char *const arrays[] = {PREFIX "tokens", PREFIX "token_type",
                                         PREFIX "scores", PREFIX "merges"};
    static const char *const flags[] = {
        PREFIX "add_bos_token", PREFIX "add_eos_token",
        PREFIX "add_space_prefix", PREFIX "remove_extra_whitespaces"};
    const char *s;
    size_t n;
    bool on;
    uint64_t id;
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        if (hearth_gguf_string(g, texts[i], &s, &n) == HEARTH_OK)
            hearth_gguf_put_string(w, texts[i], s, n);
    for (size_t i = 0; i < sizeof(arrays) / sizeof(*arrays); i++)
        copy_array(w, g, arrays[i]);
    for (size_t i = 0; i < sizeof(flags) / sizeof(*flags); i++)
        if (hearth_gguf_bool(g, flags[i], &on) == HEARTH_OK)
            hearth_gguf_put_bool(w, flags[i], on);
    if (hearth_gguf_u64(g, PREFIX "unknown_token_id", &id) == HEARTH_OK &&
        id <= INT32_MAX)
        hearth_gguf_put_u32(w, PREFIX "unknown_token_id", (uint32_t)id);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* client/tokenizer/tokenizer_load.c - tokenizer.json to tables.
 *
 * The text is read three times and never copied: COUNT finds the sizes, so
 * that one arena of the right size is taken; TOKENS fills vocabulary and added
 * tokens; REST reads what refers to tokens by name (merges, templates), in
 * whatever order the file has them.  All passes run the same code, so what was
 * counted is what is filled.
 */
#include <stdlib.h>
#include <string.h>

#include "client/tokenizer/tokenizer_parts.h"
#include "common/bytes.h"
#include "common/error.h"
#include "common/mem.h"

typedef enum { PASS_COUNT, PASS_TOKENS, PASS_REST } load_pass;

typedef struct {
    hearth_tokenizer *t;
    hearth_jsonpull p;
    hearth_error *err;
    load_pass pass;
    size_t n_vocab, n_added, n_merges, text_bytes, max_id; /* of COUNT */
    bool have_model, have_vocab, have_merges, have_decoder;
    unsigned seen_top, seen_model; /* bit per key: duplicates are refused */
    char unk[HEARTH_TOKENIZER_MAX_PIECE];
    size_t unk_n;
    bool have_unk;
} loader;

static hearth_status bad(loader *l, const char *what) {
    return hearth_error_set(l->err, HEARTH_EFORMAT,
                            "tokenizer.json:%zu: %s; take the file from the "
                            "model's publisher again",
                            hearth_jsonpull_line(&l->p), what);
}

static hearth_status unsupported(loader *l, const char *what) {
    return hearth_error_set(l->err, HEARTH_EUNSUPPORTED,
                            "tokenizer.json:%zu: %s is not supported; use a "
                            "BPE tokenizer without it",
                            hearth_jsonpull_line(&l->p), what);
}

static hearth_status too_big(loader *l, const char *what, size_t limit) {
    return hearth_error_set(l->err, HEARTH_ETOOBIG,
                            "tokenizer.json:%zu: more than %zu %s; use a "
                            "smaller tokenizer",
                            hearth_jsonpull_line(&l->p), limit, what);
}

/* ---- vocabulary ---- */

/* Enter s [n] as token id.  The same text with the same id again is accepted:
 * added tokens repeat the vocabulary. */
static hearth_status put_token(loader *l, const char *s, size_t n, int64_t id) {
    hearth_tokenizer *t = l->t;
    size_t have_n;
    const char *have = hearth_tokenizer__text(t, (size_t)id, &have_n);
    if (have && have_n == n && memcmp(have, s, n) == 0) return HEARTH_OK;
    if (have) return bad(l, "two tokens have the same id");
    if (hearth_tokenizer_id(t, s, n) >= 0)
        return bad(l, "a token is there twice");
    if (n + 2 > t->text_cap - t->text_n) return bad(l, "broken token text");
    unsigned char *at = t->text + t->text_n;
    at[0] = (unsigned char)(n & 0xFF);
    at[1] = (unsigned char)(n >> 8);
    memcpy(at + 2, s, n);
    t->at[id] = (uint32_t)t->text_n;
    t->text_n += n + 2;
    size_t slot = hearth_tokenizer__text_slot(s, n, t->n_vocab_slots);
    while (t->vocab_slot[slot])
        if (++slot == t->n_vocab_slots) slot = 0;
    t->vocab_slot[slot] = (uint32_t)id + 1;
    return HEARTH_OK;
}

static hearth_status count_token(loader *l, size_t n, int64_t id) {
    if (n > HEARTH_TOKENIZER_MAX_PIECE)
        return too_big(l, "bytes in a token", HEARTH_TOKENIZER_MAX_PIECE);
    if (id < 0) return bad(l, "a token's id is negative");
    if ((uint64_t)id >= HEARTH_TOKENIZER_MAX_VOCAB)
        return too_big(l, "token ids", HEARTH_TOKENIZER_MAX_VOCAB);
    l->text_bytes += n + 2; /* < 2^26 file bytes x 3: no overflow */
    if ((size_t)id > l->max_id) l->max_id = (size_t)id;
    return HEARTH_OK;
}

/* "vocab": { text: id } */
static hearth_status read_vocab(loader *l) {
    char s[HEARTH_TOKENIZER_MAX_PIECE];
    size_t n = 0;
    int64_t id = 0;
    hearth_jsonpull_event ev;
    hearth_status st = HEARTH_OK;
    if (hearth_jsonpull_next(&l->p) != HEARTH_JSONPULL_OBJECT)
        return bad(l, "\"vocab\" is not an object");
    l->have_vocab = true;
    while ((ev = hearth_jsonpull_next(&l->p)) == HEARTH_JSONPULL_KEY) {
        if (hearth_jsonpull_string(&l->p, s, sizeof(s), &n) != HEARTH_OK)
            return too_big(l, "bytes in a token", HEARTH_TOKENIZER_MAX_PIECE);
        if (hearth_jsonpull_next(&l->p) != HEARTH_JSONPULL_NUMBER ||
            hearth_jsonpull_i64(&l->p, &id) != HEARTH_OK)
            return bad(l, "a token's id is not a whole number");
        if (l->pass == PASS_COUNT) {
            st = count_token(l, n, id);
            l->n_vocab++;
        } else if (l->pass == PASS_TOKENS) {
            st = put_token(l, s, n, id);
        }
        if (st != HEARTH_OK) return st;
    }
    return ev == HEARTH_JSONPULL_OBJECT_END ? HEARTH_OK : bad(l, "broken JSON");
}

/* ---- added tokens ---- */

typedef struct {
    char s[HEARTH_TOKENIZER_MAX_PIECE];
    size_t n;
    int64_t id;
    bool have_text, special;
    unsigned flags; /* ADDED_* */
} added_token;

static hearth_status added_flag(loader *l, added_token *a, unsigned flag) {
    hearth_jsonpull_event ev = hearth_jsonpull_next(&l->p);
    if (ev != HEARTH_JSONPULL_TRUE && ev != HEARTH_JSONPULL_FALSE)
        return bad(l, "an added token's flag is neither true nor false");
    bool on = ev == HEARTH_JSONPULL_TRUE;
    if (!flag)
        a->special = on;
    else if (on)
        a->flags |= flag;
    return HEARTH_OK;
}

static hearth_status added_field(loader *l, added_token *a) {
    if (hearth_jsonpull_is(&l->p, "id")) {
        if (hearth_jsonpull_next(&l->p) != HEARTH_JSONPULL_NUMBER ||
            hearth_jsonpull_i64(&l->p, &a->id) != HEARTH_OK)
            return bad(l, "an added token's id is not a whole number");
        return HEARTH_OK;
    }
    if (hearth_jsonpull_is(&l->p, "content")) {
        if (hearth_jsonpull_next(&l->p) != HEARTH_JSONPULL_STRING)
            return bad(l, "an added token's content is not a string");
        a->have_text = true;
        if (hearth_jsonpull_string(&l->p, a->s, sizeof(a->s), &a->n) !=
            HEARTH_OK)
            return too_big(l, "bytes in a token", HEARTH_TOKENIZER_MAX_PIECE);
        return a->n ? HEARTH_OK : bad(l, "an added token is empty");
    }
    if (hearth_jsonpull_is(&l->p, "special")) return added_flag(l, a, 0);
    if (hearth_jsonpull_is(&l->p, "normalized"))
        return added_flag(l, a, ADDED_NORMALIZED);
    if (hearth_jsonpull_is(&l->p, "single_word"))
        return added_flag(l, a, ADDED_SINGLE);
    if (hearth_jsonpull_is(&l->p, "lstrip"))
        return added_flag(l, a, ADDED_LSTRIP);
    if (hearth_jsonpull_is(&l->p, "rstrip"))
        return added_flag(l, a, ADDED_RSTRIP);
    return unsupported(l, "an unknown field of an added token");
}

static hearth_status put_added(loader *l, const added_token *a) {
    hearth_tokenizer *t = l->t;
    if (l->pass == PASS_COUNT) {
        if (++l->n_added > TOKENIZER_MAX_ADDED)
            return too_big(l, "added tokens", TOKENIZER_MAX_ADDED);
        return count_token(l, a->n, a->id);
    }
    if (l->pass == PASS_REST) return HEARTH_OK;
    size_t n = 0;
    hearth_status st = put_token(l, a->s, a->n, a->id);
    if (st != HEARTH_OK) return st;
    for (size_t i = 0; i < t->n_added; i++)
        if (t->added[i].id == (uint32_t)a->id)
            return bad(l, "an added token is there twice");
    tokenizer_added *e = &t->added[t->n_added++];
    e->s = hearth_tokenizer__text(t, (size_t)a->id, &n);
    e->n = (uint16_t)n;
    e->id = (uint32_t)a->id;
    e->flags = (uint8_t)a->flags;
    if (a->special)
        t->special[a->id / 8] |= (uint8_t)(1u << ((unsigned)a->id % 8));
    return HEARTH_OK;
}

static hearth_status read_added(loader *l) {
    hearth_jsonpull_event ev;
    if (hearth_jsonpull_next(&l->p) != HEARTH_JSONPULL_ARRAY)
        return bad(l, "\"added_tokens\" is not an array");
    while ((ev = hearth_jsonpull_next(&l->p)) == HEARTH_JSONPULL_OBJECT) {
        added_token a = {{0}, 0, -1, false, false, 0};
        hearth_status st = HEARTH_OK;
        while (st == HEARTH_OK &&
               (ev = hearth_jsonpull_next(&l->p)) == HEARTH_JSONPULL_KEY)
            st = added_field(l, &a);
        if (st != HEARTH_OK) return st;
        if (ev != HEARTH_JSONPULL_OBJECT_END) return bad(l, "broken JSON");
        if (!a.have_text || a.id < 0)
            return bad(l, "an added token has no id or no content");
        if ((st = put_added(l, &a)) != HEARTH_OK) return st;
    }
    return ev == HEARTH_JSONPULL_ARRAY_END ? HEARTH_OK
                                           : bad(l, "broken added_tokens");
}

/* Normalized tokens are found by what the normalizer makes of them. */
static hearth_status normalize_added(hearth_tokenizer *t, hearth_error *err) {
    hearth_buf one = HEARTH_BUF_INIT(&t->al);
    hearth_status st = HEARTH_OK;
    size_t at = 0;
    if (!t->n_before_added) return st; /* they stay as they are */
    for (size_t i = 0; st == HEARTH_OK && i < t->n_added; i++) {
        tokenizer_added *a = &t->added[i];
        if (!(a->flags & ADDED_NORMALIZED)) continue;
        st = hearth_tokenizer__normalize(t, 0, t->n_before_added, a->s, a->n, 0,
                                         true, &one, err);
        if (st == HEARTH_OK && one.n > UINT16_MAX) st = HEARTH_ETOOBIG;
        if (st == HEARTH_OK)
            st = hearth_buf_append(&t->added_text, one.v, one.n);
        a->n = (uint16_t)one.n;
    }
    hearth_buf_free(&one);
    for (size_t i = 0; st == HEARTH_OK && i < t->n_added; i++) {
        tokenizer_added *a = &t->added[i];
        if (!(a->flags & ADDED_NORMALIZED)) continue;
        a->s = hearth_buf_str(&t->added_text) + at;
        at += a->n;
    }
    return st;
}

/* Raw ones first, then by first byte, longest first: the first that matches is
 * the right one.  Those that normalizing emptied are dropped. */
static int added_order(const void *x, const void *y) {
    const tokenizer_added *a = x, *b = y;
    int p = a->flags & ADDED_NORMALIZED, q = b->flags & ADDED_NORMALIZED;
    if (p != q) return p - q;
    unsigned char c = a->n ? (unsigned char)a->s[0] : 0;
    unsigned char d = b->n ? (unsigned char)b->s[0] : 0;
    if (c != d) return c < d ? -1 : 1;
    if (a->n != b->n) return a->n > b->n ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

static void sort_added(hearth_tokenizer *t) {
    size_t kept = 0;
    for (size_t i = 0; i < t->n_added; i++) {
        if (t->added[i].n) t->added[kept++] = t->added[i];
    }
    t->n_added = kept;
    if (kept) qsort(t->added, kept, sizeof(*t->added), added_order);
    while (t->n_raw < kept && !(t->added[t->n_raw].flags & ADDED_NORMALIZED))
        t->n_raw++;
}

/* ---- merges ---- */

/* Whether a and b are tokens that make a token together. */
static bool find_merge(const hearth_tokenizer *t, const char *a, size_t n_a,
                       const char *b, size_t n_b, tokenizer_merge *m) {
    char both[2 * HEARTH_TOKENIZER_MAX_PIECE];
    if (n_a > HEARTH_TOKENIZER_MAX_PIECE || n_b > HEARTH_TOKENIZER_MAX_PIECE)
        return false;
    memcpy(both, a, n_a);
    memcpy(both + n_a, b, n_b);
    int32_t left = hearth_tokenizer_id(t, a, n_a);
    int32_t right = hearth_tokenizer_id(t, b, n_b);
    int32_t result = hearth_tokenizer_id(t, both, n_a + n_b);
    if (left < 0 || right < 0 || result < 0) return false;
    *m = (tokenizer_merge){(uint32_t)left, (uint32_t)right, (uint32_t)result};
    return true;
}

/* Enter the next merge; a pair given twice counts where it was given last. */
static void put_merge(hearth_tokenizer *t, tokenizer_merge m) {
    uint32_t rank = (uint32_t)t->n_merges++;
    size_t slot =
        hearth_tokenizer__pair_slot(m.left, m.right, t->n_merge_slots);
    t->merge[rank] = m;
    for (; t->merge_slot[slot]; slot = (slot + 1) % t->n_merge_slots) {
        const tokenizer_merge *had = &t->merge[t->merge_slot[slot] - 1];
        if (had->left == m.left && had->right == m.right) break;
    }
    t->merge_slot[slot] = rank + 1;
}

/* "left right".  Tokens may hold spaces themselves: the space between them is
 * the first one that leaves two known tokens. */
static hearth_status merge_of_string(loader *l) {
    char s[2 * HEARTH_TOKENIZER_MAX_PIECE];
    size_t n = 0;
    tokenizer_merge m;
    if (hearth_jsonpull_string(&l->p, s, sizeof(s), &n) != HEARTH_OK)
        return too_big(l, "bytes in a merge", sizeof(s));
    if (n < 3 || !memchr(s + 1, ' ', n - 2))
        return bad(l, "a merge is not two tokens with a space between");
    if (l->pass != PASS_REST) return HEARTH_OK;
    for (size_t i = 1; i + 1 < n; i++) {
        if (s[i] != ' ') continue;
        if (!find_merge(l->t, s, i, s + i + 1, n - i - 1, &m)) continue;
        put_merge(l->t, m);
        return HEARTH_OK;
    }
    return bad(l, "a merge names a token that is not in the vocabulary");
}

/* ["left", "right"] */
static hearth_status merge_of_array(loader *l) {
    char a[HEARTH_TOKENIZER_MAX_PIECE], b[HEARTH_TOKENIZER_MAX_PIECE];
    size_t n_a = 0, n_b = 0;
    if (hearth_jsonpull_next(&l->p) != HEARTH_JSONPULL_STRING ||
        hearth_jsonpull_string(&l->p, a, sizeof(a), &n_a) != HEARTH_OK ||
        hearth_jsonpull_next(&l->p) != HEARTH_JSONPULL_STRING ||
        hearth_jsonpull_string(&l->p, b, sizeof(b), &n_b) != HEARTH_OK ||
        hearth_jsonpull_next(&l->p) != HEARTH_JSONPULL_ARRAY_END)
        return bad(l, "a merge is not an array of two tokens");
    if (l->pass != PASS_REST) return HEARTH_OK;
    tokenizer_merge m;
    if (!find_merge(l->t, a, n_a, b, n_b, &m))
        return bad(l, "a merge names a token that is not in the vocabulary");
    put_merge(l->t, m);
    return HEARTH_OK;
}

static hearth_status read_merges(loader *l) {
    hearth_jsonpull_event ev;
    hearth_status st;
    if (hearth_jsonpull_next(&l->p) != HEARTH_JSONPULL_ARRAY)
        return bad(l, "\"merges\" is not an array");
    l->have_merges = true;
    for (;;) {
        ev = hearth_jsonpull_next(&l->p);
        if (ev == HEARTH_JSONPULL_ARRAY_END) return HEARTH_OK;
        if (ev == HEARTH_JSONPULL_STRING)
            st = merge_of_string(l);
        else if (ev == HEARTH_JSONPULL_ARRAY)
            st = merge_of_array(l);
        else
            return bad(l, "a merge is neither a string nor an array");
        if (st != HEARTH_OK) return st;
        if (l->pass == PASS_COUNT &&
            ++l->n_merges > HEARTH_TOKENIZER_MAX_MERGES)
            return too_big(l, "merges", HEARTH_TOKENIZER_MAX_MERGES);
    }
}

/* ---- model ---- */

/* A value that must be off: null, "", false or 0. */
static hearth_status must_be_off(loader *l, const char *name) {
    double v;
    switch (hearth_jsonpull_next(&l->p)) {
    case HEARTH_JSONPULL_NULL:
    case HEARTH_JSONPULL_FALSE: return HEARTH_OK;
    case HEARTH_JSONPULL_STRING:
        if (l->p.token_n == 0) return HEARTH_OK;
        break;
    case HEARTH_JSONPULL_NUMBER:
        if (hearth_jsonpull_f64(&l->p, &v) == HEARTH_OK && !(v > 0 || v < 0))
            return HEARTH_OK;
        break;
    default: break;
    }
    return unsupported(l, name);
}

static hearth_status model_flag(loader *l, bool *out) {
    hearth_jsonpull_event ev = hearth_jsonpull_next(&l->p);
    if (ev != HEARTH_JSONPULL_TRUE && ev != HEARTH_JSONPULL_FALSE)
        return bad(l, "a setting of the model is neither true nor false");
    *out = ev == HEARTH_JSONPULL_TRUE;
    return HEARTH_OK;
}

static hearth_status model_unk(loader *l) {
    hearth_jsonpull_event ev = hearth_jsonpull_next(&l->p);
    if (ev == HEARTH_JSONPULL_NULL) return HEARTH_OK;
    if (ev != HEARTH_JSONPULL_STRING ||
        hearth_jsonpull_string(&l->p, l->unk, sizeof(l->unk), &l->unk_n) !=
            HEARTH_OK)
        return bad(l, "\"unk_token\" is not a token");
    l->have_unk = true;
    return HEARTH_OK;
}

static hearth_status model_type(loader *l) {
    if (hearth_jsonpull_next(&l->p) != HEARTH_JSONPULL_STRING)
        return bad(l, "the model's type is not a string");
    if (!hearth_jsonpull_is(&l->p, "BPE"))
        return unsupported(l, "a model of another type than BPE");
    return HEARTH_OK;
}

static const char *const MODEL_KEY[] = {
    "type",     "dropout",       "unk_token",     "continuing_subword_prefix",
    "fuse_unk", "byte_fallback", "ignore_merges", "end_of_word_suffix",
    "vocab",    "merges"};
#define N_MODEL_KEYS (sizeof(MODEL_KEY) / sizeof(MODEL_KEY[0]))

static hearth_status model_field(loader *l, size_t key) {
    switch (key) {
    case 0: return model_type(l);
    case 1: return must_be_off(l, "dropout in the model");
    case 2: return model_unk(l);
    case 3: return must_be_off(l, "a continuing_subword_prefix");
    case 4: return model_flag(l, &l->t->fuse_unk);
    case 5: return model_flag(l, &l->t->byte_fallback);
    case 6: return model_flag(l, &l->t->ignore_merges);
    case 7: return must_be_off(l, "an end_of_word_suffix");
    case 8: return read_vocab(l);
    default: return read_merges(l);
    }
}

/* Which of the names the present key is; refuses unknown and repeated ones. */
static hearth_status find_key(loader *l, const char *const *name, size_t n,
                              unsigned *seen, const char *where, size_t *key) {
    for (*key = 0; *key < n; (*key)++)
        if (hearth_jsonpull_is(&l->p, name[*key])) break;
    if (*key == n)
        return hearth_error_set(
            l->err, HEARTH_EUNSUPPORTED,
            "tokenizer.json:%zu: unknown field \"%.*s\" %s is not supported; "
            "use a tokenizer without it",
            hearth_jsonpull_line(&l->p),
            l->p.token_n > 40 ? 40 : (int)l->p.token_n, l->p.token, where);
    if (*seen >> *key & 1) return bad(l, "a field is there twice");
    *seen |= 1u << *key;
    return HEARTH_OK;
}

static hearth_status read_model(loader *l) {
    hearth_jsonpull_event ev;
    hearth_status st;
    size_t key;
    if (hearth_jsonpull_next(&l->p) != HEARTH_JSONPULL_OBJECT)
        return bad(l, "\"model\" is not an object");
    l->have_model = true;
    while ((ev = hearth_jsonpull_next(&l->p)) == HEARTH_JSONPULL_KEY) {
        st = find_key(l, MODEL_KEY, N_MODEL_KEYS, &l->seen_model,
                      "of the model", &key);
        if (st == HEARTH_OK) st = model_field(l, key);
        if (st != HEARTH_OK) return st;
    }
    return ev == HEARTH_JSONPULL_OBJECT_END ? HEARTH_OK : bad(l, "broken JSON");
}

/* ---- the whole file ---- */

static const char *const TOP_KEY[] = {
    "version",       "truncation",     "padding", "added_tokens", "normalizer",
    "pre_tokenizer", "post_processor", "decoder", "model"};
#define N_TOP_KEYS (sizeof(TOP_KEY) / sizeof(TOP_KEY[0]))

static hearth_status read_rules(loader *l, tokenizer_section section) {
    if (section == SECTION_DECODER) l->have_decoder = true;
    if (l->pass == PASS_REST)
        return hearth_tokenizer__read_section(l->t, &l->p, section, l->err);
    return hearth_jsonpull_skip(&l->p) ? HEARTH_OK : bad(l, "broken JSON");
}

static hearth_status top_field(loader *l, size_t key) {
    switch (key) {
    case 0:
        if (hearth_jsonpull_next(&l->p) != HEARTH_JSONPULL_STRING)
            return bad(l, "\"version\" is not a string");
        if (!hearth_jsonpull_is(&l->p, "1.0"))
            return unsupported(l, "a version other than 1.0");
        return HEARTH_OK;
    case 1: /* how long a text may be, and filling up, is the trainer's say */
    case 2:
        return hearth_jsonpull_skip(&l->p) ? HEARTH_OK : bad(l, "broken JSON");
    case 3: return read_added(l);
    case 4: return read_rules(l, SECTION_NORMALIZER);
    case 5: return read_rules(l, SECTION_PRE_TOKENIZER);
    case 6: return read_rules(l, SECTION_POST_PROCESSOR);
    case 7: return read_rules(l, SECTION_DECODER);
    default: return read_model(l);
    }
}

static hearth_status read_pass(loader *l, const char *json, size_t n,
                               load_pass pass) {
    hearth_jsonpull_event ev;
    hearth_status st;
    size_t key;
    l->pass = pass;
    l->seen_top = l->seen_model = 0;
    hearth_jsonpull_init(&l->p, json, n);
    if (hearth_jsonpull_next(&l->p) != HEARTH_JSONPULL_OBJECT)
        return bad(l, "not a JSON object");
    while ((ev = hearth_jsonpull_next(&l->p)) == HEARTH_JSONPULL_KEY) {
        st =
            find_key(l, TOP_KEY, N_TOP_KEYS, &l->seen_top, "of the file", &key);
        if (st == HEARTH_OK) st = top_field(l, key);
        if (st != HEARTH_OK) return st;
    }
    if (ev != HEARTH_JSONPULL_OBJECT_END ||
        hearth_jsonpull_next(&l->p) != HEARTH_JSONPULL_END)
        return bad(l, "broken JSON");
    if (!l->have_model || !l->have_vocab || !l->have_merges)
        return bad(l, "no model with a vocabulary and merges");
    if (!l->n_vocab) return bad(l, "the vocabulary is empty");
    if (!l->have_decoder) return unsupported(l, "a file without a decoder");
    return HEARTH_OK;
}

/* One arena for all tables.  Slots are half as many again as entries. */
static hearth_status take_tables(loader *l) {
    hearth_tokenizer *t = l->t;
    size_t n_tokens = l->n_vocab + l->n_added;
    /* Ids with many holes would make tables larger than the file. */
    if (l->max_id / 4 > n_tokens + 64)
        return bad(l, "token ids leave too many gaps");
    t->n_ids = l->max_id + 1;
    t->text_cap = l->text_bytes + 1;
    t->text_n = 1;
    t->n_vocab_slots = n_tokens + n_tokens / 2 + 1;
    t->n_merge_slots = l->n_merges + l->n_merges / 2 + 1;
    size_t need = hearth_arena_need(t->n_ids, sizeof(*t->at)) +
                  hearth_arena_need(t->text_cap, 1) +
                  hearth_arena_need(t->n_vocab_slots, sizeof(*t->vocab_slot)) +
                  hearth_arena_need(l->n_merges, sizeof(*t->merge)) +
                  hearth_arena_need(t->n_merge_slots, sizeof(*t->merge_slot)) +
                  hearth_arena_need(l->n_added, sizeof(*t->added)) +
                  hearth_arena_need(t->n_ids / 8 + 1, 1);
    hearth_status st = hearth_arena_init(&t->arena, &t->al, need);
    if (st != HEARTH_OK) return st;
    t->at = hearth_arena_take(&t->arena, t->n_ids, sizeof(*t->at));
    t->text = hearth_arena_take(&t->arena, t->text_cap, 1);
    t->vocab_slot =
        hearth_arena_take(&t->arena, t->n_vocab_slots, sizeof(*t->vocab_slot));
    t->merge = hearth_arena_take(&t->arena, l->n_merges, sizeof(*t->merge));
    t->merge_slot =
        hearth_arena_take(&t->arena, t->n_merge_slots, sizeof(*t->merge_slot));
    t->added = hearth_arena_take(&t->arena, l->n_added, sizeof(*t->added));
    t->special = hearth_arena_take(&t->arena, t->n_ids / 8 + 1, 1);
    if (!t->at || !t->text || !t->vocab_slot || !t->merge || !t->merge_slot ||
        !t->added || !t->special)
        return HEARTH_ENOMEM;
    return HEARTH_OK;
}

static void find_bytes(hearth_tokenizer *t) {
    static const char hex[] = "0123456789ABCDEF";
    for (unsigned b = 0; b < 256; b++) {
        char s[6] = {'<', '0', 'x', hex[b >> 4], hex[b & 15], '>'};
        size_t n = 6;
        if (t->byte_level)
            n = hearth_tokenizer__put_utf8(
                s, hearth_tokenizer__byte_to_char((uint8_t)b));
        t->byte_id[b] = hearth_tokenizer_id(t, s, n);
    }
}

/* ---- where words may be cut ---- */

#define MARK "\xE2\x96\x81"

static bool is_mark(const char *s) {
    return memcmp(s, MARK, 3) == 0;
}

size_t hearth_tokenizer__next_mark(const char *s, size_t n) {
    for (size_t i = 1; i + 3 <= n; i++)
        if (is_mark(s + i) && (i < 3 || !is_mark(s + i - 3))) return i;
    return n;
}

/* A merge that joins something to a space gives a token with a space inside. */
static bool mark_starts(const hearth_tokenizer *t) {
    if (t->byte_level || t->ignore_merges ||
        hearth_tokenizer_id(t, MARK, 3) < 0)
        return false;
    for (size_t i = 0; i < t->n_merges; i++) {
        size_t n = 0;
        const char *s = hearth_tokenizer__text(t, t->merge[i].result, &n);
        if (s && n && hearth_tokenizer__next_mark(s, n) < n) return false;
    }
    return true;
}

hearth_status hearth_tokenizer__load(hearth_tokenizer *t, const char *json,
                                     size_t n, hearth_error *err) {
    loader *l = hearth_mem_new(&t->al, sizeof(*l));
    hearth_status st;
    if (!l) return HEARTH_ENOMEM;
    l->t = t;
    l->err = err;
    if ((st = read_pass(l, json, n, PASS_COUNT)) != HEARTH_OK ||
        (st = take_tables(l)) != HEARTH_OK ||
        (st = read_pass(l, json, n, PASS_TOKENS)) != HEARTH_OK ||
        (st = read_pass(l, json, n, PASS_REST)) != HEARTH_OK)
        goto done;
    t->unk = l->have_unk ? hearth_tokenizer_id(t, l->unk, l->unk_n) : -1;
    if (l->have_unk && t->unk < 0) {
        st = bad(l, "\"unk_token\" is not in the vocabulary");
        goto done;
    }
    find_bytes(t);
    t->mark_starts = mark_starts(t);
    if ((st = normalize_added(t, err)) == HEARTH_OK) sort_added(t);
done:
    hearth_mem_free(&t->al, l);
    return st;
}

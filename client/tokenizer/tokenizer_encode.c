/* SPDX-License-Identifier: Apache-2.0 */
/* client/tokenizer/tokenizer_encode.c - text to ids.
 *
 * added tokens -> normalizer -> splits -> symbols -> merges.
 *
 * Merges: all adjacent pairs that can merge wait in a heap ordered by rank,
 * then by position; the best is taken, its two neighbours are looked up anew.
 * An entry is stale when the symbols it was made for have changed; like the
 * tokenizers library it still counts when the pair there now gives the same
 * token.  Each merge removes a symbol and adds at most two entries, so a word
 * of n symbols takes O(n log n) and at most 3 n entries are ever made.
 */
#include <string.h>

#include "client/tokenizer/tokenizer_parts.h"
#include "common/bytes.h"
#include "common/error.h"
#include "common/mem.h"

typedef struct {
    int32_t id; /* -1: merged away */
    int32_t prev, next;
} symbol;

typedef struct {
    uint32_t rank, at, result;
} candidate;

/* Working memory of one call. */
typedef struct {
    const hearth_tokenizer *t;
    hearth_ids *out;
    hearth_error *err;
    unsigned flags;
    size_t splits_done; /* cursors made */
    tokenizer_regex_cursor *cursor[TOKENIZER_MAX_RULES];
    symbol *sym; /* [n_sym of cap_sym] */
    size_t n_sym, cap_sym;
    candidate *heap; /* [n_heap of 2 * cap_sym] */
    size_t n_heap;
} encoder;

/* ---- the heap ---- */

static bool before(const candidate *a, const candidate *b) {
    return a->rank < b->rank || (a->rank == b->rank && a->at < b->at);
}

static void heap_push(encoder *e, candidate c) {
    size_t i = e->n_heap++;
    while (i > 0 && before(&c, &e->heap[(i - 1) / 2])) {
        e->heap[i] = e->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    e->heap[i] = c;
}

static candidate heap_pop(encoder *e) {
    candidate top = e->heap[0], last = e->heap[--e->n_heap];
    size_t i = 0, child;
    while ((child = 2 * i + 1) < e->n_heap) {
        if (child + 1 < e->n_heap &&
            before(&e->heap[child + 1], &e->heap[child]))
            child++;
        if (!before(&e->heap[child], &last)) break;
        e->heap[i] = e->heap[child];
        i = child;
    }
    e->heap[i] = last;
    return top;
}

/* ---- merging one word ---- */

static void offer(encoder *e, int32_t at) {
    if (at < 0 || e->sym[at].next < 0) return;
    int64_t rank =
        hearth_tokenizer__rank(e->t, e->sym[at].id, e->sym[e->sym[at].next].id);
    if (rank < 0) return;
    heap_push(
        e, (candidate){(uint32_t)rank, (uint32_t)at, e->t->merge[rank].result});
}

static void merge_symbols(encoder *e) {
    e->n_heap = 0;
    for (size_t i = 0; i + 1 < e->n_sym; i++) offer(e, (int32_t)i);
    while (e->n_heap) {
        candidate c = heap_pop(e);
        symbol *s = &e->sym[c.at];
        if (s->id < 0 || s->next < 0) continue;
        symbol *gone = &e->sym[s->next];
        int64_t rank = hearth_tokenizer__rank(e->t, s->id, gone->id);
        if (rank < 0 || e->t->merge[rank].result != c.result) continue;
        s->id = (int32_t)c.result;
        s->next = gone->next;
        if (gone->next >= 0) e->sym[gone->next].prev = (int32_t)c.at;
        gone->id = -1;
        offer(e, s->prev);
        offer(e, (int32_t)c.at);
    }
}

/* Room for n symbols and their candidates.  Blocks are wiped, not resized:
 * symbols are the text in another spelling. */
static hearth_status reserve(encoder *e, size_t n) {
    const hearth_alloc *al = e->out->al;
    if (n <= e->cap_sym) return HEARTH_OK;
    if (e->sym) hearth_zeroize(e->sym, e->cap_sym * sizeof(*e->sym));
    if (e->heap) hearth_zeroize(e->heap, 2 * e->cap_sym * sizeof(*e->heap));
    hearth_mem_free(al, e->sym);
    hearth_mem_free(al, e->heap);
    e->cap_sym = 0;
    n += n / 2 + 16; /* n <= 3 * MAX_TEXT: no overflow */
    e->sym = hearth_mem_array(al, n, sizeof(*e->sym));
    e->heap = hearth_mem_array(al, 2 * n, sizeof(*e->heap));
    if (!e->sym || !e->heap) {
        hearth_mem_free(al, e->sym);
        hearth_mem_free(al, e->heap);
        e->sym = NULL;
        e->heap = NULL;
        return HEARTH_ENOMEM;
    }
    e->cap_sym = n;
    return HEARTH_OK;
}

static void add_symbol(encoder *e, int32_t id) {
    size_t i = e->n_sym++;
    e->sym[i] = (symbol){id, (int32_t)i - 1, -1};
    if (i) e->sym[i - 1].next = (int32_t)i;
}

/* What becomes of a character (or byte) that is no token. */
static hearth_status add_unknown(encoder *e) {
    const hearth_tokenizer *t = e->t;
    if (t->unk < 0)
        return hearth_error_set(e->err, HEARTH_EFORMAT,
                                "the text has a character that this tokenizer "
                                "can not express; use one with byte fallback");
    if (t->fuse_unk && e->n_sym && e->sym[e->n_sym - 1].id == t->unk)
        return HEARTH_OK;
    add_symbol(e, t->unk);
    return HEARTH_OK;
}

static hearth_status add_character(encoder *e, const char *s, size_t n) {
    const hearth_tokenizer *t = e->t;
    int32_t id = hearth_tokenizer_id(t, s, n);
    bool bytes = t->byte_fallback;
    if (id >= 0) {
        add_symbol(e, id);
        return HEARTH_OK;
    }
    for (size_t i = 0; i < n; i++)
        if (t->byte_id[(unsigned char)s[i]] < 0) bytes = false;
    if (!bytes) return add_unknown(e);
    for (size_t i = 0; i < n; i++)
        add_symbol(e, t->byte_id[(unsigned char)s[i]]);
    return HEARTH_OK;
}

static hearth_status add_bytes(encoder *e, const char *s, size_t n) {
    for (size_t i = 0; i < n; i++) {
        int32_t id = e->t->byte_id[(unsigned char)s[i]];
        if (id >= 0) {
            add_symbol(e, id);
            continue;
        }
        hearth_status st = add_unknown(e);
        if (st != HEARTH_OK) return st;
    }
    return HEARTH_OK;
}

/* With ignore_merges a word that is a token is that token.  -1: it is not. */
static int32_t whole_word(const hearth_tokenizer *t, const char *s, size_t n) {
    char spelt[HEARTH_TOKENIZER_MAX_PIECE];
    size_t n_spelt = 0;
    if (!t->ignore_merges || n > sizeof(spelt) / 2) return -1;
    if (!t->byte_level) return hearth_tokenizer_id(t, s, n);
    for (size_t i = 0; i < n; i++)
        n_spelt += hearth_tokenizer__put_utf8(
            spelt + n_spelt,
            hearth_tokenizer__byte_to_char((unsigned char)s[i]));
    return hearth_tokenizer_id(t, spelt, n_spelt);
}

static hearth_status encode_word(encoder *e, const char *s, size_t n) {
    uint32_t c;
    hearth_status st;
    int32_t whole = whole_word(e->t, s, n);
    if (whole >= 0) return hearth_ids_push(e->out, whole);
    if ((st = reserve(e, n)) != HEARTH_OK) return st;
    e->n_sym = 0;
    if (e->t->byte_level) {
        if ((st = add_bytes(e, s, n)) != HEARTH_OK) return st;
    } else {
        for (size_t i = 0, step; i < n; i += step) {
            step = hearth_tokenizer__utf8(s + i, &c);
            if ((st = add_character(e, s + i, step)) != HEARTH_OK) return st;
        }
    }
    merge_symbols(e);
    for (size_t i = 0; i < e->n_sym; i++) {
        if (e->sym[i].id < 0) continue;
        if ((st = hearth_ids_push(e->out, e->sym[i].id)) != HEARTH_OK)
            return st;
    }
    return HEARTH_OK;
}

/* ---- splitting ---- */

/* Split s [n] by pattern `level`, every match and every gap a piece, and each
 * piece by the next pattern; what no pattern is left for is a word. */
static hearth_status encode_split(encoder *e, const char *s, size_t n,
                                  size_t level) {
    size_t at = 0, start, end;
    hearth_status st;
    if (!n) return HEARTH_OK;
    if (level == e->t->n_splits) return encode_word(e, s, n);
    while (at < n) {
        st = hearth_tokenizer_regex_find(e->cursor[level], s, n, at, &start,
                                         &end);
        if (st == HEARTH_ETOOBIG)
            return hearth_error_set(e->err, st,
                                    "the tokenizer's pattern needs too many "
                                    "steps for this text; split the text");
        if (st != HEARTH_OK) return st;
        if ((st = encode_split(e, s + at, start - at, level + 1)) != HEARTH_OK)
            return st;
        if ((st = encode_split(e, s + start, end - start, level + 1)) !=
            HEARTH_OK)
            return st;
        at = end;
    }
    return HEARTH_OK;
}

/* ---- normalizing ---- */

hearth_status hearth_tokenizer__replace(const tokenizer_rule *r, const char *in,
                                        size_t n, hearth_buf *out) {
    size_t done = 0;
    hearth_status st;
    for (size_t i = 0; i + r->n_from <= n;) {
        if (in[i] != r->from[0] || memcmp(in + i, r->from, r->n_from) != 0) {
            i++;
            continue;
        }
        if ((st = hearth_buf_append(out, in + done, i - done)) != HEARTH_OK ||
            (st = hearth_buf_append(out, r->to, r->n_to)) != HEARTH_OK)
            return st;
        done = i += r->n_from;
    }
    return hearth_buf_append(out, in + done, n - done);
}

static hearth_status normalize_step(const encoder *e, const tokenizer_rule *r,
                                    const hearth_buf *in, bool first,
                                    hearth_buf *out) {
    const char *s = hearth_buf_str(in);
    bool has = in->n >= r->n_to && memcmp(s, r->to, r->n_to) == 0;
    bool prepend = !(e->flags & HEARTH_TOKENIZE_CONTINUES);
    hearth_status st = HEARTH_OK;
    if (r->kind == RULE_REPLACE)
        return hearth_tokenizer__replace(r, s, in->n, out);
    if (r->kind == RULE_NORMAL_FORM)
        return hearth_tokenizer__normal_form((tokenizer_form)r->start, s, in->n,
                                             e->out->al, out);
    if (r->kind == RULE_PREPEND_UNLESS) prepend = prepend && !has;
    if (r->kind == RULE_PREPEND_FIRST) prepend = prepend && !has && first;
    if (prepend) st = hearth_buf_append(out, r->to, r->n_to);
    return st == HEARTH_OK ? hearth_buf_append(out, s, in->n) : st;
}

/* One stretch of text between added tokens. */
static hearth_status encode_stretch(encoder *e, const char *s, size_t n,
                                    bool first) {
    hearth_buf buf[2] = {HEARTH_BUF_INIT(e->out->al),
                         HEARTH_BUF_INIT(e->out->al)};
    size_t now = 0;
    if (!e->t->n_normal) return encode_split(e, s, n, 0);
    hearth_status st = hearth_buf_append(&buf[0], s, n);
    for (size_t i = 0; st == HEARTH_OK && i < e->t->n_normal; i++) {
        hearth_buf_clear(&buf[!now]);
        st = normalize_step(e, &e->t->normal[i], &buf[now], first, &buf[!now]);
        now = !now;
        if (st == HEARTH_OK && buf[now].n > 3 * HEARTH_TOKENIZER_MAX_TEXT)
            st = hearth_error_set(e->err, HEARTH_ETOOBIG,
                                  "the text grows too much when normalized; "
                                  "split the text");
    }
    if (st == HEARTH_OK)
        st = encode_split(e, hearth_buf_str(&buf[now]), buf[now].n, 0);
    hearth_buf_free(&buf[0]);
    hearth_buf_free(&buf[1]);
    return st;
}

/* The added token that starts at s, or -1; the longest when several do. */
static int32_t added_at(const hearth_tokenizer *t, const char *s, size_t n,
                        size_t *n_token) {
    size_t low = 0, high = t->n_added, n_text;
    unsigned char c = (unsigned char)s[0];
    while (low < high) { /* first token whose first byte is not below c */
        size_t mid = low + (high - low) / 2;
        const char *text = hearth_tokenizer__text(t, t->added[mid], &n_text);
        if ((unsigned char)text[0] < c)
            low = mid + 1;
        else
            high = mid;
    }
    for (; low < t->n_added; low++) {
        const char *text = hearth_tokenizer__text(t, t->added[low], &n_text);
        if ((unsigned char)text[0] != c) break;
        if (n_text <= n && memcmp(text, s, n_text) == 0) {
            *n_token = n_text;
            return (int32_t)t->added[low];
        }
    }
    return -1;
}

static hearth_status encode_text(encoder *e, const char *s, size_t n) {
    size_t done = 0, n_token = 0;
    hearth_status st;
    if (!n) /* a tokenizer that prepends gives the empty text one token */
        return encode_stretch(e, s, n, true);
    for (size_t i = 0; e->flags & HEARTH_TOKENIZE_ADDED && i < n;) {
        int32_t id = added_at(e->t, s + i, n - i, &n_token);
        if (id < 0) {
            i++;
            continue;
        }
        if (i > done &&
            (st = encode_stretch(e, s + done, i - done, !done)) != HEARTH_OK)
            return st;
        if ((st = hearth_ids_push(e->out, id)) != HEARTH_OK) return st;
        done = i += n_token;
    }
    return done < n ? encode_stretch(e, s + done, n - done, !done) : HEARTH_OK;
}

static hearth_status encode_all(encoder *e, const char *s, size_t n) {
    const hearth_tokenizer *t = e->t;
    bool special = e->flags & HEARTH_TOKENIZE_SPECIAL;
    hearth_status st = HEARTH_OK;
    for (; e->splits_done < t->n_splits; e->splits_done++) {
        st = hearth_tokenizer_regex_cursor_new(&e->cursor[e->splits_done],
                                               t->split[e->splits_done]);
        if (st != HEARTH_OK) return st;
    }
    for (size_t i = 0; special && i < t->n_before; i++)
        if ((st = hearth_ids_push(e->out, t->before[i])) != HEARTH_OK)
            return st;
    if ((st = encode_text(e, s, n)) != HEARTH_OK) return st;
    for (size_t i = 0; special && i < t->n_after; i++)
        if ((st = hearth_ids_push(e->out, t->after[i])) != HEARTH_OK) return st;
    return HEARTH_OK;
}

hearth_status hearth_tokenizer_encode_with(const hearth_tokenizer *t,
                                           const char *text, size_t n,
                                           unsigned flags, hearth_ids *ids,
                                           hearth_error *err) {
    if (!t || !ids || (!text && n))
        return hearth_error_set(err, HEARTH_EINVAL, "nothing to encode");
    if (n > HEARTH_TOKENIZER_MAX_TEXT)
        return hearth_error_set(err, HEARTH_ETOOBIG,
                                "a text above %zu MiB; split it",
                                HEARTH_TOKENIZER_MAX_TEXT >> 20);
    if (!text) text = "";
    if (!hearth_utf8_valid(text, n))
        return hearth_error_set(err, HEARTH_EINVAL,
                                "the text is not UTF-8; convert it first");
    encoder e = {0};
    size_t had = ids->n;
    e.t = t;
    e.out = ids;
    e.err = err;
    e.flags = flags;
    hearth_status st = encode_all(&e, text, n);
    for (size_t i = 0; i < e.splits_done; i++)
        hearth_tokenizer_regex_cursor_free(e.cursor[i]);
    if (e.sym) hearth_zeroize(e.sym, e.cap_sym * sizeof(*e.sym));
    if (e.heap) hearth_zeroize(e.heap, 2 * e.cap_sym * sizeof(*e.heap));
    hearth_mem_free(ids->al, e.sym);
    hearth_mem_free(ids->al, e.heap);
    if (st == HEARTH_OK) return st;
    ids->n = had;
    if (st == HEARTH_ENOMEM)
        return hearth_error_set(err, st,
                                "out of memory for this text; "
                                "split it");
    return st;
}

hearth_status hearth_tokenizer_encode(const hearth_tokenizer *t,
                                      const char *text, size_t n,
                                      bool add_special, hearth_ids *ids,
                                      hearth_error *err) {
    unsigned flags = HEARTH_TOKENIZE_ADDED;
    if (add_special) flags |= HEARTH_TOKENIZE_SPECIAL;
    return hearth_tokenizer_encode_with(t, text, n, flags, ids, err);
}

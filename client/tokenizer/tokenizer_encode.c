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

static hearth_status encode_piece(encoder *e, const char *s, size_t n) {
    uint32_t c;
    hearth_status st;
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

/* SentencePiece's text is one long word.  Where no merge can join a space to
 * what stands before it, cutting there changes no id: each piece is merged by
 * itself, in a heap of a few entries. */
static hearth_status encode_word(encoder *e, const char *s, size_t n) {
    int32_t whole = whole_word(e->t, s, n);
    if (whole >= 0) return hearth_ids_push(e->out, whole);
    if (!e->t->mark_starts) return encode_piece(e, s, n);
    hearth_status st = HEARTH_OK;
    for (size_t len; st == HEARTH_OK && n > 0; s += len, n -= len) {
        len = hearth_tokenizer__next_mark(s, n);
        st = encode_piece(e, s, len);
    }
    return st;
}

/* ---- splitting ---- */

static hearth_status encode_split(encoder *e, const char *s, size_t n,
                                  size_t level);

/* A stretch that a pattern matched, or one between matches. */
typedef struct {
    size_t start, end;
    bool match;
} stretch;

/* The stretch that begins at `from`; found holds the next match. */
static hearth_status next_stretch(encoder *e, const char *s, size_t n,
                                  size_t level, size_t from, stretch *found,
                                  stretch *out) {
    const tokenizer_split *sp = &e->t->split[level];
    hearth_status st = HEARTH_OK;
    if (found->end <= from)
        st = hearth_tokenizer_regex_find(e->cursor[level], s, n, from,
                                         &found->start, &found->end);
    if (st == HEARTH_ETOOBIG)
        return hearth_error_set(e->err, st,
                                "the tokenizer's pattern needs too many "
                                "steps for this text; split the text");
    bool gap = found->start > from;
    *out = (stretch){from, gap ? found->start : found->end, gap == sp->invert};
    return st;
}

/* Join stretches as the behavior says: whether next goes on in piece. */
static bool joins(tokenizer_behavior behavior, const stretch *piece,
                  const stretch *next) {
    switch (behavior) {
    case SPLIT_MERGED_PREVIOUS: return next->match && !piece->match;
    case SPLIT_MERGED_NEXT: return piece->match && !next->match;
    case SPLIT_CONTIGUOUS: return piece->match == next->match;
    default: return false;
    }
}

/* Split s [n] by pattern `level`, and each piece by the next pattern; what no
 * pattern is left for is a word.  A joined piece counts as what came last, so
 * that it takes one neighbour only. */
static hearth_status encode_split(encoder *e, const char *s, size_t n,
                                  size_t level) {
    stretch found = {0, 0, false}, piece = {0, 0, false}, next;
    hearth_status st;
    if (!n) return HEARTH_OK;
    if (level == e->t->n_splits) return encode_word(e, s, n);
    tokenizer_behavior behavior = e->t->split[level].behavior;
    for (size_t at = 0; at < n; at = next.end) {
        st = next_stretch(e, s, n, level, at, &found, &next);
        if (st != HEARTH_OK) return st;
        if (piece.end && joins(behavior, &piece, &next)) {
            piece.end = next.end;
            piece.match = next.match;
            continue;
        }
        st = encode_split(e, s + piece.start, piece.end - piece.start,
                          level + 1);
        if (st != HEARTH_OK) return st;
        piece = next;
        if (behavior == SPLIT_REMOVED && next.match)
            piece.start = piece.end; /* nothing of it is left */
    }
    return encode_split(e, s + piece.start, piece.end - piece.start, level + 1);
}

/* ---- added tokens ---- */

/* The added token of list [n_list] that starts at s, or NULL; the longest when
 * several do. */
static const tokenizer_added *added_at(const tokenizer_added *list,
                                       size_t n_list, const char *s, size_t n) {
    size_t low = 0, high = n_list;
    unsigned char c = (unsigned char)s[0];
    while (low < high) { /* first token whose first byte is not below c */
        size_t mid = low + (high - low) / 2;
        if ((unsigned char)list[mid].s[0] < c)
            low = mid + 1;
        else
            high = mid;
    }
    for (; low < n_list && (unsigned char)list[low].s[0] == c; low++)
        if (list[low].n <= n && memcmp(list[low].s, s, list[low].n) == 0)
            return &list[low];
    return NULL;
}

/* Whether no word goes on at either side of s[start, end). */
static bool stands_alone(const char *s, size_t n, size_t start, size_t end) {
    uint32_t c;
    if (end < n) {
        (void)hearth_tokenizer__utf8(s + end, &c);
        if (hearth_tokenizer__is_word(c)) return false;
    }
    if (!start) return true;
    while (start > 1 && ((unsigned char)s[start - 1] & 0xC0) == 0x80) start--;
    (void)hearth_tokenizer__utf8(s + start - 1, &c);
    return !hearth_tokenizer__is_word(c);
}

typedef hearth_status (*encode_rest)(encoder *e, const char *s, size_t n,
                                     bool first);

/* Cut s [n] at the tokens of list, and hand what is between them to rest. */
static hearth_status cut_added(encoder *e, const tokenizer_added *list,
                               size_t n_list, const char *s, size_t n,
                               bool first, encode_rest rest) {
    size_t done = 0;
    hearth_status st;
    if (!n_list) return rest(e, s, n, first);
    for (size_t i = 0; i < n;) {
        const tokenizer_added *a = e->flags & HEARTH_TOKENIZE_ADDED
                                       ? added_at(list, n_list, s + i, n - i)
                                       : NULL;
        size_t start = i, end;
        if (!a) {
            if (!(e->flags & HEARTH_TOKENIZE_ADDED)) break;
            i++;
            continue;
        }
        i = end = start + a->n;
        if (a->flags & ADDED_SINGLE && !stands_alone(s, n, start, end))
            continue;
        if (a->flags & ADDED_LSTRIP)
            start = hearth_tokenizer__trimmed(s, start);
        if (a->flags & ADDED_RSTRIP)
            end += hearth_tokenizer__spaces(s + end, n - end);
        if (start > done &&
            (st = rest(e, s + done, start - done, first && !done)) != HEARTH_OK)
            return st;
        if ((st = hearth_ids_push(e->out, (int32_t)a->id)) != HEARTH_OK)
            return st;
        done = end;
    }
    return done < n || !n ? rest(e, s + done, n - done, first && !done)
                          : HEARTH_OK;
}

/* What is between all added tokens: prefixes, then words. */
static hearth_status encode_plain(encoder *e, const char *s, size_t n,
                                  bool first) {
    const hearth_tokenizer *t = e->t;
    hearth_buf buf = HEARTH_BUF_INIT(e->out->al);
    if (!n || t->n_before_added == t->n_normal) return encode_split(e, s, n, 0);
    hearth_status st = hearth_tokenizer__normalize(
        t, t->n_before_added, t->n_normal, s, n, e->flags, first, &buf, e->err);
    if (st == HEARTH_OK) st = encode_split(e, hearth_buf_str(&buf), buf.n, 0);
    hearth_buf_free(&buf);
    return st;
}

/* One stretch between the added tokens of the raw text. */
static hearth_status encode_stretch(encoder *e, const char *s, size_t n,
                                    bool first) {
    const hearth_tokenizer *t = e->t;
    const tokenizer_added *list = t->added + t->n_raw;
    size_t n_list = t->n_added - t->n_raw;
    hearth_buf buf = HEARTH_BUF_INIT(e->out->al);
    if (!n) return HEARTH_OK; /* as the tokenizers library: not even a prefix */
    if (!t->n_before_added)
        return cut_added(e, list, n_list, s, n, first, encode_plain);
    hearth_status st = hearth_tokenizer__normalize(
        t, 0, t->n_before_added, s, n, e->flags, first, &buf, e->err);
    if (st == HEARTH_OK)
        st = cut_added(e, list, n_list, hearth_buf_str(&buf), buf.n, first,
                       encode_plain);
    hearth_buf_free(&buf);
    return st;
}

static hearth_status encode_all(encoder *e, const char *s, size_t n) {
    const hearth_tokenizer *t = e->t;
    bool special = e->flags & HEARTH_TOKENIZE_SPECIAL;
    hearth_status st = HEARTH_OK;
    for (; e->splits_done < t->n_splits; e->splits_done++) {
        st = hearth_tokenizer_regex_cursor_new(&e->cursor[e->splits_done],
                                               t->split[e->splits_done].regex);
        if (st != HEARTH_OK) return st;
    }
    for (size_t i = 0; special && i < t->n_before; i++)
        if ((st = hearth_ids_push(e->out, t->before[i])) != HEARTH_OK)
            return st;
    st = cut_added(e, t->added, t->n_raw, s, n,
                   !(e->flags & HEARTH_TOKENIZE_LATER), encode_stretch);
    if (st != HEARTH_OK) return st;
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

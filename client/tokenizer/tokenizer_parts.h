/* SPDX-License-Identifier: Apache-2.0 */
/* client/tokenizer/tokenizer_parts.h - inside of a tokenizer, shared by its
 * sources only.
 *
 * All tables live in one arena and are open-addressing hash tables with linear
 * probing, filled to two thirds, so that they stay near the size of the file.
 * Nothing here changes after loading.
 */
#ifndef HEARTH_TOKENIZER_TOKENIZER_PARTS_H
#define HEARTH_TOKENIZER_TOKENIZER_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/tokenizer/template_source.h"
#include "client/tokenizer/tokenizer.h"
#include "client/tokenizer/tokenizer_regex.h"
#include "common/arena.h"
#include "common/buf.h"
#include "common/gguf.h"
#include "common/hash.h"
#include "common/jsonpull.h"

#define TOKENIZER_MAX_ADDED ((size_t)16384)
#define TOKENIZER_MAX_RULES 8  /* of one kind */
#define TOKENIZER_RULE_TEXT 32 /* bytes of a pattern or replacement */

/* One step of a normalizer or decoder. */
typedef enum {
    RULE_REPLACE,        /* from -> to, everywhere */
    RULE_PREPEND,        /* to, always */
    RULE_PREPEND_UNLESS, /* to, unless the text starts with it */
    RULE_PREPEND_FIRST,  /* the same, only where the whole text begins */
    RULE_BYTE_FALLBACK,  /* <0xNN> is that byte */
    RULE_FORM,           /* Unicode normal form: `form` */
    RULE_LOWERCASE,      /* every character by itself */
    RULE_STRIP_SPACE,    /* white space at the start (start) and end (stop) */
    RULE_REPLACE_REGEX,  /* what `regex` matches -> to */
    RULE_STRIP           /* up to `start` copies of `from` at the start, and
                            `stop` at the end, of the whole text */
} tokenizer_rule_kind;

typedef struct {
    tokenizer_rule_kind kind;
    uint8_t n_from, n_to;
    uint8_t start, stop;
    uint8_t form;           /* TOKENIZER_FORM_*, or-ed together */
    tokenizer_regex *regex; /* owned */
    char from[TOKENIZER_RULE_TEXT], to[TOKENIZER_RULE_TEXT];
} tokenizer_rule;

enum { TOKENIZER_FORM_COMPOSE = 1, TOKENIZER_FORM_COMPAT = 2 };

/* What a Split does with what its pattern matches. */
typedef enum {
    SPLIT_ISOLATED,
    SPLIT_REMOVED,
    SPLIT_MERGED_PREVIOUS,
    SPLIT_MERGED_NEXT,
    SPLIT_CONTIGUOUS
} tokenizer_behavior;

typedef struct {
    tokenizer_regex *regex; /* owned */
    tokenizer_behavior behavior;
    bool invert; /* the gaps are the matches */
} tokenizer_split;

/* How an added token is looked for. */
enum {
    ADDED_NORMALIZED = 1, /* in the normalized text, normalized itself */
    ADDED_LSTRIP = 2,     /* takes the white space before it along */
    ADDED_RSTRIP = 4,     /* and after it */
    ADDED_SINGLE = 8      /* only where no word goes on at either side */
};

typedef struct {
    const char *s; /* [n] of the tables, or of added_text */
    uint32_t id;
    uint16_t n;
    uint8_t flags;
} tokenizer_added;

typedef struct {
    uint32_t left, right, result; /* ids; the index is the rank */
} tokenizer_merge;

struct hearth_tokenizer {
    hearth_alloc al;
    hearth_arena arena;
    uint8_t digest[HEARTH_SHA256_BYTES];
    hearth_template_source own_template; /* the model's */

    size_t n_ids;        /* highest id + 1 */
    uint32_t *at;        /* [n_ids] place in text; 0: no such id */
    unsigned char *text; /* at each place u16 length, then the bytes */
    size_t text_n;       /* bytes used; starts at 1, so that 0 is free */
    size_t text_cap;
    uint32_t *vocab_slot; /* [n_vocab_slots] id + 1, or 0 */
    size_t n_vocab_slots;
    tokenizer_merge *merge; /* [n_merges] */
    size_t n_merges;
    uint32_t *merge_slot; /* [n_merge_slots] rank + 1, or 0 */
    size_t n_merge_slots;
    int32_t byte_id[256]; /* token of a byte, or -1 */

    tokenizer_added *added; /* [n_added] those looked for in the raw text,
                               then the normalized ones; each part by first
                               byte, longest first */
    size_t n_added, n_raw;  /* n_raw: of the first part */
    hearth_buf added_text;  /* normalized texts */
    uint8_t *special;       /* [n_ids / 8 + 1] bit set */

    bool byte_level;    /* pieces are spelt in GPT-2's byte alphabet */
    bool byte_fallback; /* unknown characters become byte tokens */
    bool fuse_unk, ignore_merges;
    bool mark_starts; /* no merge joins SentencePiece's space to what stands
                           before it, but to another one */
    int32_t unk, bos, eos;

    tokenizer_rule normal[TOKENIZER_MAX_RULES], decode[TOKENIZER_MAX_RULES];
    size_t n_normal, n_decode;
    size_t n_before_added; /* rules of the normalizer: the rest of normal[] is
                              the pre_tokenizer's */
    bool decode_byte_level;
    tokenizer_split split[TOKENIZER_MAX_RULES];
    size_t n_splits;
    int32_t before[TOKENIZER_MAX_RULES], after[TOKENIZER_MAX_RULES];
    size_t n_before, n_after; /* template ids around the text */
};

/* Bytes of a token as the file spells it; NULL when there is no such id. */
const char *hearth_tokenizer__text(const hearth_tokenizer *t, size_t id,
                                   size_t *n);

/* Rank of a pair, or -1. */
int64_t hearth_tokenizer__rank(const hearth_tokenizer *t, int32_t left,
                               int32_t right);

/* Where pair hashes to in a table of n slots, n > 0. */
size_t hearth_tokenizer__pair_slot(uint32_t left, uint32_t right, size_t n);

/* Where a text hashes to in a table of n slots, n > 0. */
size_t hearth_tokenizer__text_slot(const char *s, size_t n_s, size_t n);

/* GPT-2's byte alphabet: the code point a byte is spelt as, and back (-1 when
 * the code point spells no byte). */
uint32_t hearth_tokenizer__byte_to_char(uint8_t b);
int hearth_tokenizer__char_to_byte(uint32_t c);

/* One UTF-8 character of well-formed text at s; returns its length. */
size_t hearth_tokenizer__utf8(const char *s, uint32_t *c);

/* Spell code point c < 0x800 in UTF-8; returns its length, 1 or 2. */
size_t hearth_tokenizer__put_utf8(char out[2], uint32_t c);

/* Replace `from` by `to` in in[n], appended to out. */
hearth_status hearth_tokenizer__replace(const tokenizer_rule *r, const char *in,
                                        size_t n, hearth_buf *out);

/* Apply normal[from, to) to s [n]; the result is in out (emptied first), which
 * has out->al.  flags as of an encode; first: the whole text begins here.
 * HEARTH_ETOOBIG (err says why), HEARTH_ENOMEM. */
hearth_status hearth_tokenizer__normalize(const hearth_tokenizer *t,
                                          size_t from, size_t to, const char *s,
                                          size_t n, unsigned flags, bool first,
                                          hearth_buf *out, hearth_error *err);

/* Whether c is white space, and part of a word, as regular expressions of the
 * tokenizers library mean \\s and \\w. */
bool hearth_tokenizer__is_space(uint32_t c);
bool hearth_tokenizer__is_word(uint32_t c);

/* Where s [n], n > 0, has the first SentencePiece space that does not follow
 * another one, but not at its start; n when there is none. */
size_t hearth_tokenizer__next_mark(const char *s, size_t n);

/* White space at the start of s [n], and where that at its end begins. */
size_t hearth_tokenizer__spaces(const char *s, size_t n);
size_t hearth_tokenizer__trimmed(const char *s, size_t n);

/* The vocabulary of a GGUF file; errors as hearth_tokenizer_parse. */
hearth_status hearth_tokenizer__from_gguf(hearth_tokenizer **out,
                                          const hearth_gguf *g,
                                          const hearth_alloc *al,
                                          hearth_error *err);

/* What tokenizer_rules.c reads: the four rule sections. */
typedef enum {
    SECTION_NORMALIZER,
    SECTION_PRE_TOKENIZER,
    SECTION_POST_PROCESSOR,
    SECTION_DECODER
} tokenizer_section;

/* Read the value that follows (an object or null) into t's rules.  lookup is
 * complete: post-processor templates name tokens. */
hearth_status hearth_tokenizer__read_section(hearth_tokenizer *t,
                                             hearth_jsonpull *p,
                                             tokenizer_section section,
                                             hearth_error *err);

/* Fill t from json; the tables are taken from t->arena, sized here. */
hearth_status hearth_tokenizer__load(hearth_tokenizer *t, const char *json,
                                     size_t n, hearth_error *err);

#endif /* HEARTH_TOKENIZER_TOKENIZER_PARTS_H */

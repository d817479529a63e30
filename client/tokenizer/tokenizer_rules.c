/* SPDX-License-Identifier: Apache-2.0 */
/* client/tokenizer/tokenizer_rules.c - the four rule sections of a
 * tokenizer.json: normalizer, pre_tokenizer, post_processor, decoder.
 *
 * Every rule is an object with a "type" that may come last, so fields are
 * collected first and the rule is applied at its end; the members of a Sequence
 * apply themselves, in order, before it ends.  What is not done exactly is
 * refused by name.
 */
#include <string.h>

#include "client/tokenizer/tokenizer_parts.h"
#include "common/bytes.h"
#include "common/error.h"

/* GPT-2's split into words: Radford et al., Language Models are Unsupervised
 * Multitask Learners, 2019 (encoder.py of its release). */
static const char GPT2_WORDS[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|"
    "\\s+(?!\\S)|\\s+";

/* Whitespace: runs of word characters, and of what is neither they nor white
 * space.  \w as the tokenizers library has it. */
#define WORD                                                                   \
    "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{200C}\\x{200D}\\x{24B6}-\\x{24E9}"   \
    "\\x{1F130}-\\x{1F149}\\x{1F150}-\\x{1F169}\\x{1F170}-\\x{1F189}"
static const char WORDS[] = "[" WORD "]+|[^\\s" WORD "]+";
static const char PUNCTUATION[] = "[!-/:-@\\[-`{-~\\p{P}]";

enum { MAX_NESTING = 3 };

/* Fields of a rule that hold text. */
enum {
    F_TYPE,
    F_PREPEND,
    F_CONTENT,
    F_REPLACEMENT,
    F_BEHAVIOR,
    F_SCHEME,
    F_STRING, /* pattern.String */
    F_REGEX,  /* pattern.Regex */
    N_TEXTS
};
static const char *const TEXT_NAME[] = {
    "type", "prepend", "content", "replacement", "behavior", "prepend_scheme"};

/* Fields that are true or false: -1 while absent. */
enum {
    F_PREFIX,
    F_TRIM,
    F_USE_REGEX,
    F_INVERT,
    F_SPLIT,
    F_DIGITS,
    F_LEFT,
    F_RIGHT,
    N_FLAGS
};
static const char *const FLAG_NAME[] = {
    "add_prefix_space",  "trim_offsets", "use_regex",  "invert", "split",
    "individual_digits", "strip_left",   "strip_right"};

typedef struct {
    hearth_jsonpull text[N_TEXTS]; /* the reader as it stood at the string */
    bool have[N_TEXTS];
    int flag[N_FLAGS];
    int64_t start, stop;
    bool sequence, templ;
} rule_fields;

typedef struct {
    hearth_tokenizer *t;
    hearth_jsonpull *p;
    hearth_error *err;
    tokenizer_section section;
    bool fused; /* of the decoder */
} rule_reader;

static hearth_status bad(rule_reader *r, const char *what) {
    return hearth_error_set(r->err, HEARTH_EFORMAT,
                            "tokenizer.json:%zu: %s; take the file from the "
                            "model's publisher again",
                            hearth_jsonpull_line(r->p), what);
}

static hearth_status unsupported(rule_reader *r, const char *what) {
    return hearth_error_set(r->err, HEARTH_EUNSUPPORTED,
                            "tokenizer.json:%zu: %s is not supported; use a "
                            "BPE tokenizer without it",
                            hearth_jsonpull_line(r->p), what);
}

/* The same, naming a word of the file. */
static hearth_status unsupported_word(rule_reader *r, const char *what,
                                      const hearth_jsonpull *word) {
    return hearth_error_set(r->err, HEARTH_EUNSUPPORTED,
                            "tokenizer.json:%zu: %s \"%.*s\" is not supported; "
                            "use a BPE tokenizer without it",
                            hearth_jsonpull_line(r->p), what,
                            word->token_n > 40 ? 40 : (int)word->token_n,
                            word->token);
}

/* ---- collecting fields ---- */

static hearth_status read_text(rule_reader *r, rule_fields *f, int which) {
    if (f->have[which]) return bad(r, "a field is there twice");
    if (hearth_jsonpull_next(r->p) != HEARTH_JSONPULL_STRING)
        return bad(r, "a field of a rule is not a string");
    f->text[which] = *r->p;
    f->have[which] = true;
    return HEARTH_OK;
}

static hearth_status read_flag(rule_reader *r, rule_fields *f, int which) {
    hearth_jsonpull_event ev = hearth_jsonpull_next(r->p);
    if (ev != HEARTH_JSONPULL_TRUE && ev != HEARTH_JSONPULL_FALSE)
        return bad(r, "a field of a rule is neither true nor false");
    f->flag[which] = ev == HEARTH_JSONPULL_TRUE;
    return HEARTH_OK;
}

static hearth_status read_count(rule_reader *r, int64_t *out) {
    if (hearth_jsonpull_next(r->p) != HEARTH_JSONPULL_NUMBER ||
        hearth_jsonpull_i64(r->p, out) != HEARTH_OK || *out < 0 || *out > 255)
        return bad(r, "a count is not a whole number from 0 to 255");
    return HEARTH_OK;
}

/* "pattern": {"String": s} or {"Regex": s} */
static hearth_status read_pattern(rule_reader *r, rule_fields *f) {
    hearth_status st;
    if (hearth_jsonpull_next(r->p) != HEARTH_JSONPULL_OBJECT ||
        hearth_jsonpull_next(r->p) != HEARTH_JSONPULL_KEY)
        return bad(r, "a pattern is not an object");
    if (hearth_jsonpull_is(r->p, "String"))
        st = read_text(r, f, F_STRING);
    else if (hearth_jsonpull_is(r->p, "Regex"))
        st = read_text(r, f, F_REGEX);
    else
        return unsupported_word(r, "a pattern of kind", r->p);
    if (st != HEARTH_OK) return st;
    if (hearth_jsonpull_next(r->p) != HEARTH_JSONPULL_OBJECT_END)
        return bad(r, "a pattern has more than one kind");
    return HEARTH_OK;
}

/* ---- templates ---- */

static hearth_status add_template_token(rule_reader *r, bool *text_seen) {
    char name[256];
    size_t n = 0;
    hearth_tokenizer *t = r->t;
    if (hearth_jsonpull_next(r->p) != HEARTH_JSONPULL_STRING ||
        hearth_jsonpull_string(r->p, name, sizeof(name), &n) != HEARTH_OK)
        return bad(r, "a template's token has no name");
    int32_t id = hearth_tokenizer_id(t, name, n);
    if (id < 0) return bad(r, "a template names an unknown token");
    size_t *count = *text_seen ? &t->n_after : &t->n_before;
    if (*count == TOKENIZER_MAX_RULES)
        return hearth_error_set(r->err, HEARTH_ETOOBIG,
                                "tokenizer.json: a template with more than %d "
                                "tokens; use a simpler tokenizer",
                                TOKENIZER_MAX_RULES);
    (*text_seen ? t->after : t->before)[(*count)++] = id;
    return HEARTH_OK;
}

/* {"id": name, "type_id": n}, already inside the object. */
static hearth_status template_part(rule_reader *r, bool special,
                                   bool *text_seen) {
    hearth_jsonpull_event ev;
    hearth_status st = HEARTH_OK;
    if (hearth_jsonpull_next(r->p) != HEARTH_JSONPULL_OBJECT)
        return bad(r, "a template's part is not an object");
    while ((ev = hearth_jsonpull_next(r->p)) == HEARTH_JSONPULL_KEY) {
        if (special && hearth_jsonpull_is(r->p, "id"))
            st = add_template_token(r, text_seen);
        else if (!hearth_jsonpull_skip(r->p))
            st = bad(r, "broken JSON");
        if (st != HEARTH_OK) return st;
    }
    if (!special && *text_seen) return bad(r, "a template has the text twice");
    if (!special) *text_seen = true;
    return ev == HEARTH_JSONPULL_OBJECT_END ? HEARTH_OK : bad(r, "broken JSON");
}

/* "single": [ {"SpecialToken": {..}}, {"Sequence": {..}}, .. ] */
static hearth_status read_single(rule_reader *r) {
    hearth_jsonpull_event ev;
    hearth_status st;
    bool text_seen = false;
    if (hearth_jsonpull_next(r->p) != HEARTH_JSONPULL_ARRAY)
        return bad(r, "a template is not an array");
    if (r->t->n_before || r->t->n_after)
        return unsupported(r, "a second template");
    while ((ev = hearth_jsonpull_next(r->p)) == HEARTH_JSONPULL_OBJECT) {
        if (hearth_jsonpull_next(r->p) != HEARTH_JSONPULL_KEY)
            return bad(r, "a template's part is empty");
        bool special = hearth_jsonpull_is(r->p, "SpecialToken");
        if (!special && !hearth_jsonpull_is(r->p, "Sequence"))
            return unsupported_word(r, "a template part", r->p);
        if ((st = template_part(r, special, &text_seen)) != HEARTH_OK)
            return st;
        if (hearth_jsonpull_next(r->p) != HEARTH_JSONPULL_OBJECT_END)
            return bad(r, "a template's part has two kinds");
    }
    if (ev != HEARTH_JSONPULL_ARRAY_END) return bad(r, "broken template");
    return text_seen ? HEARTH_OK : bad(r, "a template leaves out the text");
}

/* "ids": [n] must be the one id the name has in the vocabulary. */
static hearth_status check_ids(rule_reader *r, int32_t id) {
    int64_t got = -1;
    if (hearth_jsonpull_next(r->p) != HEARTH_JSONPULL_ARRAY ||
        hearth_jsonpull_next(r->p) != HEARTH_JSONPULL_NUMBER ||
        hearth_jsonpull_i64(r->p, &got) != HEARTH_OK || got != id ||
        hearth_jsonpull_next(r->p) != HEARTH_JSONPULL_ARRAY_END)
        return unsupported(r, "a template token that is not the one token of "
                              "its name");
    return HEARTH_OK;
}

/* "special_tokens": { name: {"id", "ids", "tokens"} } */
static hearth_status check_special_tokens(rule_reader *r) {
    hearth_jsonpull_event ev;
    if (hearth_jsonpull_next(r->p) != HEARTH_JSONPULL_OBJECT)
        return bad(r, "special_tokens is not an object");
    while ((ev = hearth_jsonpull_next(r->p)) == HEARTH_JSONPULL_KEY) {
        char name[256];
        size_t n = 0;
        if (hearth_jsonpull_string(r->p, name, sizeof(name), &n) != HEARTH_OK)
            return bad(r, "a special token's name is too long");
        int32_t id = hearth_tokenizer_id(r->t, name, n);
        if (hearth_jsonpull_next(r->p) != HEARTH_JSONPULL_OBJECT)
            return bad(r, "a special token is not an object");
        while ((ev = hearth_jsonpull_next(r->p)) == HEARTH_JSONPULL_KEY) {
            hearth_status st = HEARTH_OK;
            if (hearth_jsonpull_is(r->p, "ids"))
                st = check_ids(r, id);
            else if (!hearth_jsonpull_skip(r->p))
                st = bad(r, "broken JSON");
            if (st != HEARTH_OK) return st;
        }
        if (ev != HEARTH_JSONPULL_OBJECT_END) return bad(r, "broken JSON");
    }
    return ev == HEARTH_JSONPULL_OBJECT_END ? HEARTH_OK : bad(r, "broken JSON");
}

/* ---- applying a rule ---- */

static hearth_status rule_text(rule_reader *r, const rule_fields *f, int which,
                               char out[TOKENIZER_RULE_TEXT], uint8_t *n_out) {
    size_t n = 0;
    if (!f->have[which]) return bad(r, "a rule lacks a text it needs");
    if (hearth_jsonpull_string(&f->text[which], out, TOKENIZER_RULE_TEXT, &n) !=
        HEARTH_OK)
        return hearth_error_set(r->err, HEARTH_ETOOBIG,
                                "tokenizer.json:%zu: a rule's text is above %d "
                                "bytes; use a simpler tokenizer",
                                hearth_jsonpull_line(r->p),
                                TOKENIZER_RULE_TEXT);
    *n_out = (uint8_t)n;
    return HEARTH_OK;
}

static tokenizer_rule *new_rule(rule_reader *r, tokenizer_rule_kind kind) {
    hearth_tokenizer *t = r->t;
    bool decoder = r->section == SECTION_DECODER;
    size_t *n = decoder ? &t->n_decode : &t->n_normal;
    if (*n == TOKENIZER_MAX_RULES) return NULL;
    tokenizer_rule *rule = (decoder ? t->decode : t->normal) + (*n)++;
    memset(rule, 0, sizeof(*rule));
    rule->kind = kind;
    return rule;
}

static hearth_status too_many(rule_reader *r) {
    return hearth_error_set(r->err, HEARTH_ETOOBIG,
                            "tokenizer.json:%zu: more than %d rules of a kind; "
                            "use a simpler tokenizer",
                            hearth_jsonpull_line(r->p), TOKENIZER_MAX_RULES);
}

static hearth_status pattern_text(rule_reader *r, const rule_fields *f,
                                  char out[TOKENIZER_REGEX_MAX_PATTERN],
                                  size_t *n) {
    if (hearth_jsonpull_string(&f->text[F_REGEX], out,
                               TOKENIZER_REGEX_MAX_PATTERN, n) == HEARTH_OK)
        return HEARTH_OK;
    return hearth_error_set(r->err, HEARTH_ETOOBIG,
                            "tokenizer.json:%zu: a pattern is above %zu "
                            "bytes; use a simpler tokenizer",
                            hearth_jsonpull_line(r->p),
                            TOKENIZER_REGEX_MAX_PATTERN);
}

static hearth_status add_replace(rule_reader *r, const rule_fields *f) {
    tokenizer_rule *rule = new_rule(r, RULE_REPLACE);
    hearth_status st;
    if (!rule) return too_many(r);
    if (f->have[F_REGEX] && r->section == SECTION_DECODER)
        return unsupported(r, "Replace by a regex in a decoder");
    if (f->have[F_REGEX]) {
        char pattern[TOKENIZER_REGEX_MAX_PATTERN];
        size_t n = 0;
        st = pattern_text(r, f, pattern, &n);
        if (st == HEARTH_OK)
            st = hearth_tokenizer_regex_new(&rule->regex, pattern, n, &r->t->al,
                                            r->err);
        rule->kind = RULE_REPLACE_REGEX;
        return st == HEARTH_OK
                   ? rule_text(r, f, F_CONTENT, rule->to, &rule->n_to)
                   : st;
    }
    st = rule_text(r, f, F_STRING, rule->from, &rule->n_from);
    if (st == HEARTH_OK) st = rule_text(r, f, F_CONTENT, rule->to, &rule->n_to);
    if (st == HEARTH_OK && !rule->n_from)
        return bad(r, "Replace has an empty pattern");
    return st;
}

static hearth_status add_prepend(rule_reader *r, tokenizer_rule_kind kind,
                                 const char *text, size_t n) {
    tokenizer_rule *rule = new_rule(r, kind);
    if (!rule) return too_many(r);
    memcpy(rule->to, text, n);
    rule->n_to = (uint8_t)n;
    return HEARTH_OK;
}

static hearth_status add_split(rule_reader *r, const char *pattern, size_t n,
                               tokenizer_behavior behavior, bool invert) {
    hearth_tokenizer *t = r->t;
    if (t->byte_level) return unsupported(r, "a split after ByteLevel");
    if (t->n_splits == TOKENIZER_MAX_RULES) return too_many(r);
    tokenizer_split *s = &t->split[t->n_splits];
    hearth_status st =
        hearth_tokenizer_regex_new(&s->regex, pattern, n, &t->al, r->err);
    s->behavior = behavior;
    s->invert = invert;
    if (st == HEARTH_OK) t->n_splits++;
    return st;
}

/* A pattern that matches just s [n]. */
static hearth_status add_split_string(rule_reader *r, const char *s, size_t n,
                                      tokenizer_behavior behavior,
                                      bool invert) {
    char pattern[2 * TOKENIZER_RULE_TEXT];
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)s[i] < 0x80 &&
            !hearth_tokenizer__is_word((uint32_t)s[i]))
            pattern[k++] = '\\';
        pattern[k++] = s[i];
    }
    return add_split(r, pattern, k, behavior, invert);
}

static hearth_status read_behavior(rule_reader *r, const rule_fields *f,
                                   tokenizer_behavior *out) {
    static const char *const name[] = {"Isolated", "Removed",
                                       "MergedWithPrevious", "MergedWithNext",
                                       "Contiguous"};
    const hearth_jsonpull *b = &f->text[F_BEHAVIOR];
    *out = SPLIT_ISOLATED;
    if (!f->have[F_BEHAVIOR]) return HEARTH_OK;
    for (int i = 0; i < 5; i++)
        if (hearth_jsonpull_is(b, name[i])) {
            *out = (tokenizer_behavior)i;
            return HEARTH_OK;
        }
    return unsupported_word(r, "behavior", b);
}

/* Metaspace: " " becomes the replacement, one more in front. */
static hearth_status apply_metaspace(rule_reader *r, const rule_fields *f) {
    char mark[TOKENIZER_RULE_TEXT];
    uint8_t n = 0;
    tokenizer_rule_kind kind = RULE_PREPEND_UNLESS;
    bool prepend = f->flag[F_PREFIX] != 0;
    hearth_status st = rule_text(r, f, F_REPLACEMENT, mark, &n);
    if (st != HEARTH_OK) return st;
    if (f->have[F_SCHEME]) {
        const hearth_jsonpull *s = &f->text[F_SCHEME];
        prepend = !hearth_jsonpull_is(s, "never");
        if (hearth_jsonpull_is(s, "first"))
            kind = RULE_PREPEND_FIRST;
        else if (prepend && !hearth_jsonpull_is(s, "always"))
            return unsupported_word(r, "prepend_scheme", s);
    }
    if (r->t->n_splits) return unsupported(r, "Metaspace after a split");
    tokenizer_rule *rule = new_rule(r, RULE_REPLACE);
    if (!rule) return too_many(r);
    bool decoder = r->section == SECTION_DECODER;
    memcpy(decoder ? rule->from : rule->to, mark, n);
    (decoder ? rule->to : rule->from)[0] = ' ';
    rule->n_from = decoder ? n : 1;
    rule->n_to = decoder ? 1 : n;
    if (!n) return bad(r, "Metaspace has an empty replacement");
    if (!decoder) {
        if (prepend && (st = add_prepend(r, kind, mark, n)) != HEARTH_OK)
            return st;
        return f->flag[F_SPLIT] != 0
                   ? add_split_string(r, mark, n, SPLIT_MERGED_NEXT, false)
                   : HEARTH_OK;
    }
    if (!prepend) return HEARTH_OK;
    r->fused = true;
    if (!(rule = new_rule(r, RULE_STRIP))) return too_many(r);
    rule->from[0] = ' ';
    rule->n_from = rule->start = 1;
    return HEARTH_OK;
}

static hearth_status apply_normalizer(rule_reader *r, const rule_fields *f) {
    const hearth_jsonpull *type = &f->text[F_TYPE];
    char text[TOKENIZER_RULE_TEXT];
    uint8_t n = 0;
    if (hearth_jsonpull_is(type, "Replace")) return add_replace(r, f);
    if (hearth_jsonpull_is(type, "Prepend")) {
        hearth_status st = rule_text(r, f, F_PREPEND, text, &n);
        return st == HEARTH_OK ? add_prepend(r, RULE_PREPEND, text, n) : st;
    }
    static const char *const form[] = {"NFD", "NFC", "NFKD", "NFKC"};
    tokenizer_rule_kind kind = RULE_FORM;
    if (hearth_jsonpull_is(type, "Lowercase")) kind = RULE_LOWERCASE;
    if (hearth_jsonpull_is(type, "Strip")) kind = RULE_STRIP_SPACE;
    for (unsigned i = 0; i < 4; i++)
        if (hearth_jsonpull_is(type, form[i])) n = (uint8_t)(i + 1);
    if (kind == RULE_FORM && !n) return unsupported_word(r, "normalizer", type);
    tokenizer_rule *rule = new_rule(r, kind);
    if (!rule) return too_many(r);
    rule->form = (uint8_t)(n ? n - 1 : 0);
    rule->start = f->flag[F_LEFT] == 1;
    rule->stop = f->flag[F_RIGHT] == 1;
    return HEARTH_OK;
}

/* A string to split at that the normalizer has replaced can not occur. */
static bool never_occurs(const hearth_tokenizer *t, const hearth_jsonpull *s) {
    char text[TOKENIZER_RULE_TEXT];
    size_t n = 0;
    if (hearth_jsonpull_string(s, text, sizeof(text), &n) != HEARTH_OK)
        return false;
    for (size_t i = 0; i < t->n_normal; i++) {
        const tokenizer_rule *r = &t->normal[i];
        if (r->kind == RULE_REPLACE && n == 1 && r->n_from == 1 &&
            r->from[0] == text[0] && !memchr(r->to, text[0], r->n_to))
            return true;
    }
    return false;
}

static hearth_status apply_split(rule_reader *r, const rule_fields *f) {
    char pattern[TOKENIZER_REGEX_MAX_PATTERN];
    size_t n = 0;
    if (f->have[F_STRING] && never_occurs(r->t, &f->text[F_STRING]))
        return HEARTH_OK;
    tokenizer_behavior behavior;
    hearth_status st = read_behavior(r, f, &behavior);
    bool invert = f->flag[F_INVERT] == 1;
    if (st != HEARTH_OK) return st;
    if (f->have[F_STRING]) {
        char text[TOKENIZER_RULE_TEXT];
        uint8_t n_text = 0;
        st = rule_text(r, f, F_STRING, text, &n_text);
        if (st == HEARTH_OK && !n_text) return bad(r, "Split has no pattern");
        return st == HEARTH_OK
                   ? add_split_string(r, text, n_text, behavior, invert)
                   : st;
    }
    if (!f->have[F_REGEX]) return bad(r, "Split has no pattern");
    if ((st = pattern_text(r, f, pattern, &n)) != HEARTH_OK) return st;
    return add_split(r, pattern, n, behavior, invert);
}

static hearth_status apply_byte_level(rule_reader *r, const rule_fields *f) {
    hearth_tokenizer *t = r->t;
    hearth_status st = HEARTH_OK;
    if (f->flag[F_PREFIX] != 0) {
        if (t->n_splits)
            return unsupported(r, "add_prefix_space after a split");
        st = add_prepend(r, RULE_PREPEND_UNLESS, " ", 1);
    }
    if (st == HEARTH_OK && f->flag[F_USE_REGEX] != 0)
        st = add_split(r, GPT2_WORDS, sizeof(GPT2_WORDS) - 1, SPLIT_ISOLATED,
                       false);
    if (st == HEARTH_OK && t->byte_level)
        return unsupported(r, "ByteLevel twice");
    t->byte_level = true;
    return st;
}

static hearth_status apply_pre_tokenizer(rule_reader *r, const rule_fields *f) {
    tokenizer_behavior behavior;
    const hearth_jsonpull *type = &f->text[F_TYPE];
    if (hearth_jsonpull_is(type, "ByteLevel")) return apply_byte_level(r, f);
    if (hearth_jsonpull_is(type, "Metaspace")) return apply_metaspace(r, f);
    if (hearth_jsonpull_is(type, "Split")) return apply_split(r, f);
    if (hearth_jsonpull_is(type, "Digits"))
        return f->flag[F_DIGITS] == 1
                   ? add_split(r, "\\p{N}", 5, SPLIT_ISOLATED, false)
                   : add_split(r, "\\p{N}+", 6, SPLIT_ISOLATED, false);
    if (hearth_jsonpull_is(type, "WhitespaceSplit"))
        return add_split(r, "\\s+", 3, SPLIT_REMOVED, false);
    if (hearth_jsonpull_is(type, "Whitespace"))
        return add_split(r, WORDS, sizeof(WORDS) - 1, SPLIT_REMOVED, true);
    if (hearth_jsonpull_is(type, "Punctuation")) {
        hearth_status st = read_behavior(r, f, &behavior);
        return st == HEARTH_OK
                   ? add_split(r, PUNCTUATION, sizeof(PUNCTUATION) - 1,
                               behavior, false)
                   : st;
    }
    return unsupported_word(r, "pre_tokenizer", type);
}

static hearth_status apply_strip(rule_reader *r, const rule_fields *f) {
    tokenizer_rule *rule = new_rule(r, RULE_STRIP);
    if (!rule) return too_many(r);
    if (!r->fused) return unsupported(r, "Strip before Fuse");
    rule->start = (uint8_t)f->start;
    rule->stop = (uint8_t)f->stop;
    hearth_status st = rule_text(r, f, F_CONTENT, rule->from, &rule->n_from);
    if (st == HEARTH_OK && !rule->n_from)
        return bad(r, "Strip has an empty content");
    return st;
}

static hearth_status apply_decoder(rule_reader *r, const rule_fields *f) {
    const hearth_jsonpull *type = &f->text[F_TYPE];
    if (hearth_jsonpull_is(type, "Strip")) return apply_strip(r, f);
    if (r->fused) return unsupported_word(r, "after Fuse the decoder", type);
    if (hearth_jsonpull_is(type, "Replace")) return add_replace(r, f);
    if (hearth_jsonpull_is(type, "Metaspace")) return apply_metaspace(r, f);
    if (hearth_jsonpull_is(type, "ByteFallback"))
        return new_rule(r, RULE_BYTE_FALLBACK) ? HEARTH_OK : too_many(r);
    if (hearth_jsonpull_is(type, "Fuse"))
        r->fused = true;
    else if (hearth_jsonpull_is(type, "ByteLevel"))
        r->t->decode_byte_level = true;
    else
        return unsupported_word(r, "decoder", type);
    return HEARTH_OK;
}

static hearth_status apply_post(rule_reader *r, const rule_fields *f) {
    const hearth_jsonpull *type = &f->text[F_TYPE];
    if (hearth_jsonpull_is(type, "ByteLevel")) return HEARTH_OK; /* offsets */
    if (hearth_jsonpull_is(type, "TemplateProcessing"))
        return f->templ ? HEARTH_OK : bad(r, "a template without \"single\"");
    return unsupported_word(r, "post_processor", type);
}

static hearth_status apply(rule_reader *r, const rule_fields *f) {
    if (!f->have[F_TYPE]) return bad(r, "a rule has no type");
    bool sequence = hearth_jsonpull_is(&f->text[F_TYPE], "Sequence");
    if (sequence != f->sequence)
        return bad(r, sequence ? "a Sequence without its members"
                               : "members in a rule that is no Sequence");
    if (sequence) return HEARTH_OK;
    switch (r->section) {
    case SECTION_NORMALIZER: return apply_normalizer(r, f);
    case SECTION_PRE_TOKENIZER: return apply_pre_tokenizer(r, f);
    case SECTION_POST_PROCESSOR: return apply_post(r, f);
    default: return apply_decoder(r, f);
    }
}

/* ---- reading rules ---- */

static hearth_status read_rule(rule_reader *r, int nesting);

static hearth_status read_members(rule_reader *r, int nesting) {
    hearth_jsonpull_event ev;
    if (nesting == MAX_NESTING) return unsupported(r, "a deep Sequence");
    if (hearth_jsonpull_next(r->p) != HEARTH_JSONPULL_ARRAY)
        return bad(r, "a Sequence's members are not an array");
    while ((ev = hearth_jsonpull_next(r->p)) == HEARTH_JSONPULL_OBJECT) {
        hearth_status st = read_rule(r, nesting + 1);
        if (st != HEARTH_OK) return st;
    }
    return ev == HEARTH_JSONPULL_ARRAY_END
               ? HEARTH_OK
               : bad(r, "a member of a Sequence is not a rule");
}

static hearth_status read_field(rule_reader *r, rule_fields *f, int nesting) {
    static const char *const members[] = {"normalizers", "pretokenizers",
                                          "processors", "decoders"};
    hearth_jsonpull *p = r->p;
    for (int i = 0; i < F_STRING; i++)
        if (hearth_jsonpull_is(p, TEXT_NAME[i])) return read_text(r, f, i);
    for (int i = 0; i < N_FLAGS; i++)
        if (hearth_jsonpull_is(p, FLAG_NAME[i])) return read_flag(r, f, i);
    if (hearth_jsonpull_is(p, "pattern")) return read_pattern(r, f);
    if (hearth_jsonpull_is(p, "start")) return read_count(r, &f->start);
    if (hearth_jsonpull_is(p, "stop")) return read_count(r, &f->stop);
    if (hearth_jsonpull_is(p, members[r->section])) {
        if (f->sequence) return bad(r, "a field is there twice");
        f->sequence = true;
        return read_members(r, nesting);
    }
    if (r->section == SECTION_POST_PROCESSOR) {
        if (hearth_jsonpull_is(p, "single")) {
            f->templ = true;
            return read_single(r);
        }
        if (hearth_jsonpull_is(p, "special_tokens"))
            return check_special_tokens(r);
        if (hearth_jsonpull_is(p, "pair")) /* two texts at once: never used */
            return hearth_jsonpull_skip(p) ? HEARTH_OK : bad(r, "broken JSON");
    }
    return unsupported_word(r, "a rule's field", p);
}

/* One rule whose object has been opened. */
static hearth_status read_rule(rule_reader *r, int nesting) {
    rule_fields f;
    hearth_jsonpull_event ev;
    memset(&f, 0, sizeof(f));
    for (int i = 0; i < N_FLAGS; i++) f.flag[i] = -1;
    while ((ev = hearth_jsonpull_next(r->p)) == HEARTH_JSONPULL_KEY) {
        hearth_status st = read_field(r, &f, nesting);
        if (st != HEARTH_OK) return st;
    }
    if (ev != HEARTH_JSONPULL_OBJECT_END) return bad(r, "broken JSON");
    return apply(r, &f);
}

hearth_status hearth_tokenizer__read_section(hearth_tokenizer *t,
                                             hearth_jsonpull *p,
                                             tokenizer_section section,
                                             hearth_error *err) {
    rule_reader r = {t, p, err, section, false};
    hearth_jsonpull_event ev = hearth_jsonpull_next(p);
    if (ev == HEARTH_JSONPULL_NULL)
        return section == SECTION_DECODER
                   ? unsupported(&r, "a file without a decoder")
                   : HEARTH_OK;
    if (ev != HEARTH_JSONPULL_OBJECT) return bad(&r, "a rule is no object");
    if (section != SECTION_NORMALIZER) return read_rule(&r, 0);
    if (t->n_normal || t->n_splits)
        return unsupported(&r, "a normalizer after the pre_tokenizer");
    hearth_status st = read_rule(&r, 0);
    t->n_before_added = t->n_normal;
    return st;
}

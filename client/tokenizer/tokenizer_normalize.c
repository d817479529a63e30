/* SPDX-License-Identifier: Apache-2.0 */
/* client/tokenizer/tokenizer_normalize.c - what happens to a text before it is
 * split: replacing, prefixes, Unicode's normal forms.
 *
 * Source: Unicode Standard Annex 15 for the normal forms, by utf8proc.
 */
#include <string.h>

#include <utf8proc.h>

#include "client/tokenizer/tokenizer_parts.h"
#include "common/bytes.h"
#include "common/error.h"
#include "common/mem.h"

bool hearth_tokenizer__is_space(uint32_t c) {
    return (c >= 9 && c <= 13) || c == 32 || c == 0x85 || c == 0xA0 ||
           c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
           c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool hearth_tokenizer__is_word(uint32_t c) {
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC: return true;
    default: break;
    }
    return c == 0x200C || c == 0x200D || (c >= 0x24B6 && c <= 0x24E9) ||
           (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) ||
           (c >= 0x1F170 && c <= 0x1F189);
}

size_t hearth_tokenizer__spaces(const char *s, size_t n) {
    size_t at = 0;
    while (at < n) {
        uint32_t c;
        size_t step = hearth_tokenizer__utf8(s + at, &c);
        if (!hearth_tokenizer__is_space(c)) break;
        at += step;
    }
    return at;
}

size_t hearth_tokenizer__trimmed(const char *s, size_t n) {
    while (n) {
        uint32_t c;
        size_t at = n - 1;
        while (at && ((unsigned char)s[at] & 0xC0) == 0x80) at--;
        (void)hearth_tokenizer__utf8(s + at, &c);
        if (!hearth_tokenizer__is_space(c)) break;
        n = at;
    }
    return n;
}

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

static hearth_status replace_regex(const tokenizer_rule *r, const char *in,
                                   size_t n, hearth_buf *out,
                                   hearth_error *err) {
    tokenizer_regex_cursor *c = NULL;
    size_t at = 0, start, end;
    hearth_status st = hearth_tokenizer_regex_cursor_new(&c, r->regex);
    while (st == HEARTH_OK && at < n) {
        st = hearth_tokenizer_regex_find(c, in, n, at, &start, &end);
        if (st == HEARTH_ETOOBIG)
            st = hearth_error_set(err, st,
                                  "the tokenizer's pattern needs too many "
                                  "steps for this text; split the text");
        if (st == HEARTH_OK) st = hearth_buf_append(out, in + at, start - at);
        if (st == HEARTH_OK && end > start)
            st = hearth_buf_append(out, r->to, r->n_to);
        at = end;
    }
    hearth_tokenizer_regex_cursor_free(c);
    return st;
}

static hearth_status put_char(hearth_buf *out, utf8proc_int32_t c) {
    utf8proc_uint8_t s[4];
    utf8proc_ssize_t n = utf8proc_encode_char(c, s);
    return hearth_buf_append(out, s, (size_t)n);
}

/* Below U+0300 nothing composes: such text is in form C already. */
static bool in_form(const char *s, size_t n, unsigned form) {
    unsigned char limit = form == TOKENIZER_FORM_COMPOSE ? 0xCC : 0x80;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c >= limit) return false;
    }
    return true;
}

static hearth_status normal_form(const char *s, size_t n, unsigned form,
                                 hearth_buf *out) {
    int options = UTF8PROC_STABLE;
    if (in_form(s, n, form)) return hearth_buf_append(out, s, n);
    options |=
        form & TOKENIZER_FORM_COMPOSE ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
    if (form & TOKENIZER_FORM_COMPAT) options |= UTF8PROC_COMPAT;
    const utf8proc_uint8_t *in = (const utf8proc_uint8_t *)s;
    utf8proc_ssize_t len = utf8proc_decompose(in, (utf8proc_ssize_t)n, NULL, 0,
                                              (utf8proc_option_t)options);
    if (len < 0) return HEARTH_ETOOBIG;
    size_t cap = (size_t)len + 1;
    utf8proc_int32_t *c = hearth_mem_array(out->al, cap, sizeof(*c));
    hearth_status st = HEARTH_OK;
    if (!c) return HEARTH_ENOMEM;
    len = utf8proc_decompose(in, (utf8proc_ssize_t)n, c, len,
                             (utf8proc_option_t)options);
    if (len > 0)
        len = utf8proc_normalize_utf32(c, len, (utf8proc_option_t)options);
    if (len < 0) st = HEARTH_ETOOBIG;
    for (utf8proc_ssize_t i = 0; st == HEARTH_OK && i < len; i++)
        st = put_char(out, c[i]);
    hearth_zeroize(c, cap * sizeof(*c));
    hearth_mem_free(out->al, c);
    return st;
}

/* U+0130 is the one character whose lower case is two. */
static hearth_status lowercase(const char *s, size_t n, hearth_buf *out) {
    hearth_status st = HEARTH_OK;
    for (size_t i = 0; st == HEARTH_OK && i < n;) {
        uint32_t c;
        i += hearth_tokenizer__utf8(s + i, &c);
        if (c == 0x130)
            st = hearth_buf_append(out, "i\xCC\x87", 3);
        else
            st = put_char(out, utf8proc_tolower((utf8proc_int32_t)c));
    }
    return st;
}

static hearth_status prepend(const tokenizer_rule *r, const char *s, size_t n,
                             unsigned flags, bool first, hearth_buf *out) {
    bool has = n >= r->n_to && memcmp(s, r->to, r->n_to) == 0;
    bool want = !(flags & HEARTH_TOKENIZE_CONTINUES);
    hearth_status st = HEARTH_OK;
    if (r->kind == RULE_PREPEND_UNLESS) want = want && !has;
    if (r->kind == RULE_PREPEND_FIRST) want = want && !has && first;
    if (want) st = hearth_buf_append(out, r->to, r->n_to);
    return st == HEARTH_OK ? hearth_buf_append(out, s, n) : st;
}

static hearth_status step(const tokenizer_rule *r, const char *s, size_t n,
                          unsigned flags, bool first, hearth_buf *out,
                          hearth_error *err) {
    size_t from = 0;
    switch (r->kind) {
    case RULE_REPLACE: return hearth_tokenizer__replace(r, s, n, out);
    case RULE_REPLACE_REGEX: return replace_regex(r, s, n, out, err);
    case RULE_FORM: return normal_form(s, n, r->form, out);
    case RULE_LOWERCASE: return lowercase(s, n, out);
    case RULE_STRIP_SPACE:
        if (r->start) from = hearth_tokenizer__spaces(s, n);
        if (r->stop) n = from + hearth_tokenizer__trimmed(s + from, n - from);
        return hearth_buf_append(out, s + from, n - from);
    default: return prepend(r, s, n, flags, first, out);
    }
}

hearth_status hearth_tokenizer__normalize(const hearth_tokenizer *t,
                                          size_t from, size_t to, const char *s,
                                          size_t n, unsigned flags, bool first,
                                          hearth_buf *out, hearth_error *err) {
    hearth_buf next = HEARTH_BUF_INIT(out->al);
    hearth_buf_clear(out);
    hearth_status st = hearth_buf_append(out, s, n);
    for (size_t i = from; st == HEARTH_OK && i < to; i++) {
        hearth_buf_clear(&next);
        st = step(&t->normal[i], hearth_buf_str(out), out->n, flags, first,
                  &next, err);
        hearth_buf had = *out;
        *out = next;
        next = had;
        if (st == HEARTH_OK && out->n > 3 * HEARTH_TOKENIZER_MAX_TEXT)
            st = hearth_error_set(err, HEARTH_ETOOBIG,
                                  "the text grows too much when normalized; "
                                  "split the text");
    }
    hearth_buf_free(&next);
    return st;
}

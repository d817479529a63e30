/* SPDX-License-Identifier: Apache-2.0 */
/* client/tokenizer/tokenizer_regex.c - the contract is in tokenizer_regex.h.
 *
 * Patterns are written for Oniguruma with Ruby's rules.  What differs there is
 * put into PCRE2's words (white space without U+180E, ^ and $ at every line) or
 * refused (classes inside classes, \h).  The just-in-time compiler is used
 * where the system lets it: phones forbid pages that are writable and
 * executable, and the interpreter gives the same matches.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "client/tokenizer/tokenizer_regex.h"

#include <pcre2.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/mem.h"

#define MAX_STEPS      10000000u /* of one match attempt */
#define MAX_DEPTH      100000u
#define MAX_HEAP_KIB   16384u
#define MAX_CODE_BYTES ((size_t)1 << 20)

struct tokenizer_regex {
    hearth_alloc al;
    pcre2_general_context *general;
    pcre2_match_context *match;
    pcre2_code *code;
};

struct tokenizer_regex_cursor {
    const tokenizer_regex *r;
    pcre2_match_data *data;
};

static void *take(size_t n, void *ud) {
    hearth_alloc *al = ud;
    return al->alloc(al->ud, n);
}

static void give(void *p, void *ud) {
    hearth_alloc *al = ud;
    if (p) al->free(al->ud, p);
}

void hearth_tokenizer_regex_free(tokenizer_regex *r) {
    if (!r) return;
    hearth_alloc al = r->al;
    if (r->code) pcre2_code_free(r->code);
    if (r->match) pcre2_match_context_free(r->match);
    if (r->general) pcre2_general_context_free(r->general);
    hearth_mem_free(&al, r);
}

#define SPACE                                                                  \
    "\\t-\\r "                                                                 \
    "\\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}"    \
    "\\x{205F}\\x{3000}"

/* Put pattern [n] into PCRE2's words. */
static hearth_status translate(const char *pattern, size_t n, hearth_buf *out,
                               hearth_error *err) {
    hearth_status st = HEARTH_OK;
    bool in_class = false;
    for (size_t i = 0; st == HEARTH_OK && i < n; i++) {
        char c = pattern[i], next = i + 1 < n ? pattern[i + 1] : 0;
        if (c == '\\' && (next == 'h' || next == 'H' || next == 'R' ||
                          next == 'X' || next == 'K' || next == 'G'))
            return hearth_error_set(err, HEARTH_EUNSUPPORTED,
                                    "\\%c in the tokenizer's pattern is not "
                                    "supported; use a BPE tokenizer without it",
                                    next);
        if (in_class && (c == '[' || (c == '&' && next == '&')))
            return hearth_error_set(err, HEARTH_EUNSUPPORTED,
                                    "a class inside a class of the tokenizer's "
                                    "pattern is not supported; use a BPE "
                                    "tokenizer without it");
        if (c == '\\' && next == 's') {
            st = hearth_buf_puts(out, in_class ? SPACE : "[" SPACE "]");
            i++;
        } else if (c == '\\' && next == 'S' && !in_class) {
            st = hearth_buf_puts(out, "[^" SPACE "]");
            i++;
        } else if (c == '\\' && next) {
            st = hearth_buf_append(out, pattern + i++, 2);
        } else {
            if (c == '[') in_class = true;
            if (c == ']') in_class = false;
            st = hearth_buf_putc(out, (unsigned char)c);
        }
    }
    return st;
}

static hearth_status compile(tokenizer_regex *r, const char *pattern, size_t n,
                             hearth_error *err) {
    int code = 0;
    PCRE2_SIZE at = 0, bytes = 0;
    pcre2_compile_context *ctx = pcre2_compile_context_create(r->general);
    if (!ctx) return HEARTH_ENOMEM;
    (void)pcre2_set_newline(ctx, PCRE2_NEWLINE_LF);
    r->code = pcre2_compile((PCRE2_SPTR)pattern, n,
                            PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE |
                                PCRE2_NEVER_BACKSLASH_C,
                            &code, &at, ctx);
    pcre2_compile_context_free(ctx);
    if (!r->code && code == PCRE2_ERROR_HEAP_FAILED) return HEARTH_ENOMEM;
    if (!r->code)
        return hearth_error_set(
            err, HEARTH_EFORMAT,
            "the pre_tokenizer's pattern is wrong at its character %zu; "
            "take the tokenizer.json from the model's publisher again",
            (size_t)at);
    if (pcre2_pattern_info(r->code, PCRE2_INFO_SIZE, &bytes) != 0 ||
        bytes > MAX_CODE_BYTES)
        return hearth_error_set(err, HEARTH_ETOOBIG,
                                "the pre_tokenizer's pattern is too complex; "
                                "use a tokenizer with a simpler one");
    (void)pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE); /* if it can */
    return HEARTH_OK;
}

hearth_status hearth_tokenizer_regex_new(tokenizer_regex **out,
                                         const char *pattern, size_t n,
                                         const hearth_alloc *al,
                                         hearth_error *err) {
    hearth_status st = HEARTH_ENOMEM;
    hearth_buf text = HEARTH_BUF_INIT(al);
    *out = NULL;
    if (n > TOKENIZER_REGEX_MAX_PATTERN)
        return hearth_error_set(err, HEARTH_ETOOBIG,
                                "the pre_tokenizer's pattern is longer than "
                                "%zu bytes; use a tokenizer with a simpler one",
                                TOKENIZER_REGEX_MAX_PATTERN);
    tokenizer_regex *r = hearth_mem_new(al, sizeof(*r));
    if (!r) return HEARTH_ENOMEM;
    r->al = *hearth_mem_or_default(al);
    r->general = pcre2_general_context_create(take, give, &r->al);
    if (r->general) r->match = pcre2_match_context_create(r->general);
    if (!r->match) goto done;
    if ((st = translate(pattern, n, &text, err)) != HEARTH_OK ||
        (st = compile(r, hearth_buf_str(&text), text.n, err)) != HEARTH_OK)
        goto done;
    pcre2_set_match_limit(r->match, MAX_STEPS);
    pcre2_set_depth_limit(r->match, MAX_DEPTH);
    pcre2_set_heap_limit(r->match, MAX_HEAP_KIB);
    *out = r;
    r = NULL;
done:
    hearth_buf_free(&text);
    hearth_tokenizer_regex_free(r);
    return st;
}

hearth_status hearth_tokenizer_regex_cursor_new(tokenizer_regex_cursor **out,
                                                const tokenizer_regex *r) {
    tokenizer_regex_cursor *c = hearth_mem_new(&r->al, sizeof(*c));
    *out = NULL;
    if (!c) return HEARTH_ENOMEM;
    c->r = r;
    c->data = pcre2_match_data_create_from_pattern(r->code, r->general);
    if (!c->data) {
        hearth_mem_free(&r->al, c);
        return HEARTH_ENOMEM;
    }
    *out = c;
    return HEARTH_OK;
}

void hearth_tokenizer_regex_cursor_free(tokenizer_regex_cursor *c) {
    if (!c) return;
    const tokenizer_regex *r = c->r;
    pcre2_match_data_free(c->data);
    hearth_mem_free(&r->al, c);
}

hearth_status hearth_tokenizer_regex_find(tokenizer_regex_cursor *c,
                                          const char *text, size_t n,
                                          size_t from, size_t *start,
                                          size_t *end) {
    *start = *end = n;
    int rc =
        pcre2_match(c->r->code, (PCRE2_SPTR)text, n, from,
                    PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, c->data, c->r->match);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(c->r->code, (PCRE2_SPTR)text, n, from,
                         PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY | PCRE2_NO_JIT,
                         c->data, c->r->match);
    if (rc == PCRE2_ERROR_NOMATCH) return HEARTH_OK;
    if (rc == PCRE2_ERROR_NOMEMORY) return HEARTH_ENOMEM;
    if (rc < 0) return HEARTH_ETOOBIG;
    PCRE2_SIZE *place = pcre2_get_ovector_pointer(c->data);
    if (place[0] < from || place[1] <= place[0] || place[1] > n)
        return HEARTH_ETOOBIG; /* \K can move the start: refuse such patterns */
    *start = place[0];
    *end = place[1];
    return HEARTH_OK;
}

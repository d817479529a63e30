/* SPDX-License-Identifier: Apache-2.0 */
/* client/tokenizer/tokenizer_unicode.c - Unicode normal forms.
 *
 * Source: Unicode Standard Annex 15, by utf8proc.
 */
#include <utf8proc.h>

#include "client/tokenizer/tokenizer_parts.h"
#include "common/bytes.h"
#include "common/mem.h"

static utf8proc_option_t options(tokenizer_form form) {
    int o = UTF8PROC_STABLE;
    o |= form == FORM_NFC || form == FORM_NFKC ? UTF8PROC_COMPOSE
                                               : UTF8PROC_DECOMPOSE;
    if (form == FORM_NFKC || form == FORM_NFKD) o |= UTF8PROC_COMPAT;
    return (utf8proc_option_t)o;
}

static bool is_ascii(const char *s, size_t n) {
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] >= 0x80) return false;
    return true;
}

hearth_status hearth_tokenizer__normal_form(tokenizer_form form, const char *s,
                                            size_t n, const hearth_alloc *al,
                                            hearth_buf *out) {
    if (is_ascii(s, n)) return hearth_buf_append(out, s, n);
    const utf8proc_uint8_t *u = (const utf8proc_uint8_t *)s;
    utf8proc_option_t o = options(form);
    utf8proc_ssize_t len = (utf8proc_ssize_t)n;
    utf8proc_ssize_t want = utf8proc_decompose(u, len, NULL, 0, o);
    if (want < 0) return HEARTH_EINVAL;
    size_t cells = (size_t)want + 1; /* one for the ending zero of reencode */
    al = hearth_mem_or_default(al);
    utf8proc_int32_t *code = hearth_mem_array(al, cells, sizeof(*code));
    if (!code) return HEARTH_ENOMEM;
    want = utf8proc_decompose(u, len, code, want, o);
    if (want >= 0) want = utf8proc_reencode(code, want, o);
    hearth_status st =
        want < 0 ? HEARTH_EINVAL : hearth_buf_append(out, code, (size_t)want);
    hearth_zeroize(code, cells * sizeof(*code)); /* a person's text */
    hearth_mem_free(al, code);
    return st;
}

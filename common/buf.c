/* SPDX-License-Identifier: Apache-2.0 */
/* common/buf.c - the contract is in buf.h. */
#include "common/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/bytes.h"
#include "common/mem.h"

hearth_status hearth_buf_reserve(hearth_buf *b, size_t n) {
    size_t want, cap = b->cap ? b->cap : 64;
    if (!hearth_size_add(b->n, n, &want) || want == SIZE_MAX) goto fail;
    want += 1; /* the NUL */
    if (want <= b->cap) return HEARTH_OK;
    while (cap < want) {
        if (cap > SIZE_MAX / 2)
            cap = want;
        else
            cap *= 2;
    }
    /* Not resize: what is left behind may be secret, so it is wiped. */
    unsigned char *v = hearth_mem_array(b->al, cap, 1);
    if (!v) goto fail;
    if (b->n) memcpy(v, b->v, b->n);
    if (b->v) hearth_zeroize(b->v, b->cap);
    hearth_mem_free(b->al, b->v);
    b->v = v;
    b->cap = cap;
    return HEARTH_OK;
fail:
    b->failed = true;
    return HEARTH_ENOMEM;
}

hearth_status hearth_buf_append(hearth_buf *b, const void *p, size_t n) {
    hearth_status st = hearth_buf_reserve(b, n);
    if (st != HEARTH_OK) return st;
    if (n) memcpy(b->v + b->n, p, n);
    b->n += n;
    b->v[b->n] = '\0';
    return HEARTH_OK;
}

hearth_status hearth_buf_puts(hearth_buf *b, const char *s) {
    return hearth_buf_append(b, s, strlen(s));
}

hearth_status hearth_buf_putc(hearth_buf *b, unsigned char c) {
    return hearth_buf_append(b, &c, 1);
}

hearth_status hearth_buf_printf(hearth_buf *b, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0) {
        b->failed = true;
        return HEARTH_EINVAL;
    }
    hearth_status st = hearth_buf_reserve(b, (size_t)n);
    if (st != HEARTH_OK) return st;
    va_start(ap, fmt);
    vsnprintf((char *)b->v + b->n, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->n += (size_t)n;
    return HEARTH_OK;
}

/* Bytes of the well-formed character at s [n], 0 when there is none. */
static size_t utf8_char(const char *s, size_t n) {
    for (size_t k = 1; k <= 4 && k <= n; k++)
        if (hearth_utf8_valid(s, k)) return k;
    return 0;
}

hearth_status hearth_buf_json_string(hearth_buf *b, const char *s, size_t n) {
    size_t start = b->n;
    hearth_status st = hearth_buf_putc(b, '"');
    for (size_t i = 0; i < n && st == HEARTH_OK;) {
        unsigned char c = (unsigned char)s[i];
        size_t k = c < 0x80 ? 1 : utf8_char(s + i, n - i);
        if (c == '"' || c == '\\')
            st = hearth_buf_printf(b, "\\%c", c);
        else if (c == '\n')
            st = hearth_buf_puts(b, "\\n");
        else if (c == '\t')
            st = hearth_buf_puts(b, "\\t");
        else if (c == '\r')
            st = hearth_buf_puts(b, "\\r");
        else if (c < 0x20 || c == 0x7f)
            st = hearth_buf_printf(b, "\\u%04x", (unsigned)c);
        else if (k)
            st = hearth_buf_append(b, s + i, k);
        else
            st = hearth_buf_puts(b, "\xEF\xBF\xBD");
        i += k ? k : 1;
    }
    if (st == HEARTH_OK) st = hearth_buf_putc(b, '"');
    if (st != HEARTH_OK && b->v) {
        b->n = start;
        b->v[start] = '\0';
    }
    return st;
}

const char *hearth_buf_str(const hearth_buf *b) {
    return b->v ? (const char *)b->v : "";
}

void hearth_buf_clear(hearth_buf *b) {
    b->n = 0;
    b->failed = false;
    if (b->v) b->v[0] = '\0';
}

void hearth_buf_free(hearth_buf *b) {
    if (b->v) hearth_zeroize(b->v, b->cap);
    hearth_mem_free(b->al, b->v);
    b->v = NULL;
    b->n = b->cap = 0;
    b->failed = false;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* common/buf.h - a byte buffer that grows.
 *
 *     hearth_buf b = HEARTH_BUF_INIT(al);
 *     hearth_status st = hearth_buf_printf(&b, "{\"step\":%d}", i);
 *     ... b.v, b.n ...
 *     hearth_buf_free(&b);
 *
 * A failed append leaves the buffer as it was and sets b.failed, so a run of
 * appends may be checked once at its end.
 * Threads: one at a time.
 * Memory:  owns v; always NUL-terminated when v is not NULL.
 */
#ifndef HEARTH_COMMON_BUF_H
#define HEARTH_COMMON_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/alloc.h"
#include "common/error.h"
#include "common/status.h"

typedef struct {
    unsigned char *v;       /* [n], then a NUL; NULL while nothing was added */
    size_t n, cap;          /* bytes */
    const hearth_alloc *al; /* NULL: default; borrowed */
    bool failed;            /* an append ran out of memory */
} hearth_buf;

#define HEARTH_BUF_INIT(al_)                                                   \
    { NULL, 0, 0, (al_), false }

/* Append; HEARTH_ENOMEM leaves the content unchanged. */
hearth_status hearth_buf_append(hearth_buf *b, const void *p, size_t n);
hearth_status hearth_buf_puts(hearth_buf *b, const char *s);
hearth_status hearth_buf_putc(hearth_buf *b, unsigned char c);
hearth_status hearth_buf_printf(hearth_buf *b, const char *fmt, ...)
    HEARTH_PRINTF(2, 3);

/* Append s [n] as a JSON string with its quotes.  Bytes that are not UTF-8
 * become U+FFFD. */
hearth_status hearth_buf_json_string(hearth_buf *b, const char *s, size_t n);

/* Make room for n more bytes without adding them. */
HEARTH_MUST_CHECK hearth_status hearth_buf_reserve(hearth_buf *b, size_t n);

/* The text as a C string; "" when empty. Borrowed. */
const char *hearth_buf_str(const hearth_buf *b);

/* n = 0, keep the memory. */
void hearth_buf_clear(hearth_buf *b);

/* Wipe and free; usable again afterwards. */
void hearth_buf_free(hearth_buf *b);

#endif /* HEARTH_COMMON_BUF_H */

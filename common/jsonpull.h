/* SPDX-License-Identifier: Apache-2.0 */
/* common/jsonpull.h - read a large JSON text token by token.
 *
 * The text is never copied; strings are unescaped into the caller's buffer
 * only when asked.  Strict RFC 8259: valid UTF-8, no control characters in
 * strings, nothing after the value, depth <= HEARTH_JSONPULL_MAX_DEPTH.
 *
 *     hearth_jsonpull p;
 *     hearth_jsonpull_init(&p, text, n);
 *     while ((ev = hearth_jsonpull_next(&p)) > HEARTH_JSONPULL_END) ...
 *     if (ev == HEARTH_JSONPULL_ERROR) ... hearth_jsonpull_line(&p) ...
 *
 * Threads: one at a time.   Memory: allocates nothing.
 */
#ifndef HEARTH_COMMON_JSONPULL_H
#define HEARTH_COMMON_JSONPULL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

#define HEARTH_JSONPULL_MAX_DEPTH 64

typedef enum {
    HEARTH_JSONPULL_ERROR, /* sticky */
    HEARTH_JSONPULL_END,   /* the whole text was one good value */
    HEARTH_JSONPULL_OBJECT,
    HEARTH_JSONPULL_OBJECT_END,
    HEARTH_JSONPULL_ARRAY,
    HEARTH_JSONPULL_ARRAY_END,
    HEARTH_JSONPULL_KEY, /* a member's name; its value follows */
    HEARTH_JSONPULL_STRING,
    HEARTH_JSONPULL_NUMBER,
    HEARTH_JSONPULL_TRUE,
    HEARTH_JSONPULL_FALSE,
    HEARTH_JSONPULL_NULL
} hearth_jsonpull_event;

typedef struct {
    const char *text;  /* [n] */
    size_t n, at;      /* bytes; at = next byte to read */
    const char *token; /* KEY and STRING: between the quotes, escaped;
                             NUMBER: its digits */
    size_t token_n;    /* bytes */
    bool escaped;      /* token holds backslashes */
    size_t depth;      /* containers open now */
    unsigned char kind[HEARTH_JSONPULL_MAX_DEPTH]; /* 'o' or 'a' */
    unsigned char state;
} hearth_jsonpull;

void hearth_jsonpull_init(hearth_jsonpull *p, const char *text, size_t n);

hearth_jsonpull_event hearth_jsonpull_next(hearth_jsonpull *p);

/* After an event that opened a container or gave a KEY: skip to its end (for
 * a KEY: over its value).  False on a broken text. */
bool hearth_jsonpull_skip(hearth_jsonpull *p);

/* Unescape the present KEY or STRING into out [cap]; *n = bytes written (no
 * NUL).  token_n bytes always suffice.  HEARTH_ETOOBIG when cap is short. */
HEARTH_MUST_CHECK hearth_status hearth_jsonpull_string(const hearth_jsonpull *p,
                                                       char *out, size_t cap,
                                                       size_t *n);

/* Is the present KEY or STRING equal to s?  Works for escaped ones too. */
bool hearth_jsonpull_is(const hearth_jsonpull *p, const char *s);

/* The present NUMBER as an integer or a double. HEARTH_EFORMAT when it has a
 * fraction (i64) or is out of range. */
HEARTH_MUST_CHECK hearth_status hearth_jsonpull_i64(const hearth_jsonpull *p,
                                                    int64_t *out);
HEARTH_MUST_CHECK hearth_status hearth_jsonpull_f64(const hearth_jsonpull *p,
                                                    double *out);

/* Line (from 1) of the present position, for messages. */
size_t hearth_jsonpull_line(const hearth_jsonpull *p);

#endif /* HEARTH_COMMON_JSONPULL_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* client/tokenizer/tokenizer_regex.h - the pre-tokenizer's patterns, over
 * PCRE2.
 *
 * A pattern comes from a file and is hostile: length, compiled size, matching
 * steps and memory are bounded.
 *
 * Threads: a compiled pattern is immutable and may be shared; a cursor belongs
 *          to one thread.
 * Memory:  from al, PCRE2's own included.
 */
#ifndef HEARTH_TOKENIZER_TOKENIZER_REGEX_H
#define HEARTH_TOKENIZER_TOKENIZER_REGEX_H

#include <stddef.h>

#include "common/alloc.h"
#include "common/error.h"
#include "common/status.h"

#define TOKENIZER_REGEX_MAX_PATTERN ((size_t)2048) /* bytes */

typedef struct tokenizer_regex tokenizer_regex;
typedef struct tokenizer_regex_cursor tokenizer_regex_cursor;

/* Compile pattern [n] with Unicode classes.  HEARTH_EFORMAT for a pattern that
 * PCRE2 refuses, HEARTH_ETOOBIG, HEARTH_ENOMEM. */
HEARTH_MUST_CHECK
hearth_status hearth_tokenizer_regex_new(tokenizer_regex **out,
                                         const char *pattern, size_t n,
                                         const hearth_alloc *al,
                                         hearth_error *err);
void hearth_tokenizer_regex_free(tokenizer_regex *r);

/* Working memory for matches of r. */
HEARTH_MUST_CHECK
hearth_status hearth_tokenizer_regex_cursor_new(tokenizer_regex_cursor **out,
                                                const tokenizer_regex *r);
void hearth_tokenizer_regex_cursor_free(tokenizer_regex_cursor *c);

/* The next match that is not empty in text [n] (well-formed UTF-8) from `from`
 * on: its place is [*start, *end).  *start = *end = n when there is none.
 * HEARTH_ETOOBIG when the pattern needs more steps than allowed,
 * HEARTH_ENOMEM. */
HEARTH_MUST_CHECK
hearth_status hearth_tokenizer_regex_find(tokenizer_regex_cursor *c,
                                          const char *text, size_t n,
                                          size_t from, size_t *start,
                                          size_t *end);

#endif /* HEARTH_TOKENIZER_TOKENIZER_REGEX_H */

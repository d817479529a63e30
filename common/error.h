/* SPDX-License-Identifier: Apache-2.0 */
/* common/error.h - fill a hearth_error with words for a person.
 *
 * Text says what, where, and ends in what to do next.  Never put record text,
 * tokens, deltas, norms or keys into it.
 *
 *     return hearth_error_set(err, HEARTH_EFORMAT,
 *                             "%s: no tensor 'x'; export the model again", p);
 *
 * Threads: no shared state.
 * Memory:  allocates nothing; long text is cut at a UTF-8 boundary.
 */
#ifndef HEARTH_COMMON_ERROR_H
#define HEARTH_COMMON_ERROR_H

#include "common/status.h"

#if defined(__GNUC__)
#define HEARTH_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define HEARTH_PRINTF(f, a)
#endif

/* Write status and text into err (NULL: nothing is written).  Returns st, so
 * that a failing function can `return hearth_error_set(...)`. */
hearth_status hearth_error_set(hearth_error *err, hearth_status st,
                               const char *fmt, ...) HEARTH_PRINTF(3, 4);

/* Put "prefix: " before the text that err holds already.  Returns
 * err->status, or HEARTH_EINVAL when err is NULL. */
hearth_status hearth_error_prefix(hearth_error *err, const char *fmt, ...)
    HEARTH_PRINTF(2, 3);

/* Set err to HEARTH_OK and an empty text.  NULL is a no-op. */
void hearth_error_clear(hearth_error *err);

/* The status that fits an errno value: ENOMEM, ENOSPACE, ENOTFOUND, EEXISTS,
 * else EIO. */
hearth_status hearth_error_from_errno(int errno_value);

#endif /* HEARTH_COMMON_ERROR_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* common/error.c - the contract is in error.h. */
#include "common/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Cut a NUL-terminated text that vsnprintf shortened back to whole UTF-8
 * characters: drop trailing continuation bytes and the lead they belong to,
 * when that sequence is not complete. */
static void trim_utf8(char *s) {
    size_t n = strlen(s), back = 0;
    while (back < n && back < 4 &&
           ((unsigned char)s[n - 1 - back] & 0xC0) == 0x80)
        back++;
    if (back >= n) return;
    unsigned char lead = (unsigned char)s[n - 1 - back];
    size_t want = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : lead >= 0xC0 ? 1 : 0;
    if (back < want) s[n - 1 - back] = '\0';
}

hearth_status hearth_error_set(hearth_error *err, hearth_status st,
                               const char *fmt, ...) {
    if (!err) return st;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(err->text, sizeof(err->text), fmt, ap);
    va_end(ap);
    err->status = st;
    if (n < 0)
        err->text[0] = '\0';
    else if ((size_t)n >= sizeof(err->text))
        trim_utf8(err->text);
    return st;
}

hearth_status hearth_error_prefix(hearth_error *err, const char *fmt, ...) {
    if (!err) return HEARTH_EINVAL;
    char tail[sizeof(err->text)], head[sizeof(err->text)];
    memcpy(tail, err->text, sizeof(tail));
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(head, sizeof(head), fmt, ap);
    va_end(ap);
    if (n < 0) return err->status;
    return hearth_error_set(err, err->status, "%s: %s", head, tail);
}

void hearth_error_clear(hearth_error *err) {
    if (!err) return;
    err->status = HEARTH_OK;
    err->text[0] = '\0';
}

hearth_status hearth_error_from_errno(int errno_value) {
    switch (errno_value) {
    case ENOMEM: return HEARTH_ENOMEM;
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return HEARTH_ENOSPACE;
    case ENOENT: return HEARTH_ENOTFOUND;
    case EEXIST: return HEARTH_EEXISTS;
    default: return HEARTH_EIO;
    }
}

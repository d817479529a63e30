/* SPDX-License-Identifier: Apache-2.0 */
/* client/records/record_lines.c - records of a JSON-lines file. */
#include <stdio.h>
#include <string.h>

#include "client/records/record.h"
#include "common/error.h"
#include "common/file.h"

/* "name:line" without the folders: what a person looks for. */
static void put_where(char *out, size_t cap, const char *path, size_t line) {
    const char *name = strrchr(path, '/');
    name = name && name[1] ? name + 1 : path;
    (void)snprintf(out, cap, "%.180s:%zu", name, line);
}

static bool is_blank(const char *s, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (s[i] != ' ' && s[i] != '\t' && s[i] != '\r') return false;
    return true;
}

hearth_status hearth_record_each_line(const char *path, hearth_record_form form,
                                      hearth_record_fn fn, void *ud,
                                      const hearth_alloc *al,
                                      hearth_error *err) {
    hearth_file f = HEARTH_FILE_INIT;
    hearth_record rec = HEARTH_RECORD_INIT;
    char where[224];
    if (!path || !fn)
        return hearth_error_set(err, HEARTH_EINVAL, "no file given");
    hearth_status st = hearth_file_map(&f, path, err);
    if (st != HEARTH_OK) return st;
    const char *s = (const char *)f.v;
    size_t line = 0;
    for (size_t at = 0; st == HEARTH_OK && at < f.n; line++) {
        const char *end = memchr(s + at, '\n', f.n - at);
        size_t n = end ? (size_t)(end - (s + at)) : f.n - at;
        if (!is_blank(s + at, n)) {
            put_where(where, sizeof(where), path, line + 1);
            st = hearth_record_parse(&rec, s + at, n, form, where, al, err);
            if (st == HEARTH_OK) st = fn(ud, &rec, s + at, n, err);
            hearth_record_free(&rec);
        }
        at += n + 1;
    }
    hearth_file_unmap(&f);
    return st;
}

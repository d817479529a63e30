/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_csv.c - one pass, in place, over a private copy.
 *
 * An unquoted cell is the copy itself; a quoted one is squeezed to the left,
 * which never runs past what was read.  The separator after a cell becomes its
 * NUL once the parser has looked at it, so no cell needs memory of its own.
 */
#include "tests/fleet/fleet_csv.h"

#include <string.h>

#include "common/bytes.h"
#include "common/file.h"
#include "common/ini.h"
#include "common/mem.h"

struct hearth_fleet_csv {
    char *text;        /* the copy */
    const char **cell; /* [n_columns * (n_rows + 1)], header first */
    size_t n_columns, n_rows;
    const hearth_alloc *al;
};

/* Where the parser is.  at may equal n: text[n] is a NUL of ours. */
typedef struct {
    hearth_fleet_csv *t;
    const char *name;
    size_t at, n;
    size_t line;
    size_t n_cells, cap;
    hearth_error *err;
} reader;

static hearth_status bad(const reader *r, size_t line, const char *what) {
    return hearth_error_set(r->err, HEARTH_EFORMAT,
                            "%s:%zu: %s; mend the file or export it again",
                            r->name, line, what);
}

static hearth_status push_cell(reader *r, const char *start) {
    if (r->n_cells == HEARTH_FLEET_CSV_MAX_CELLS)
        return hearth_error_set(r->err, HEARTH_ETOOBIG,
                                "%s: more than %zu cells; cut the file",
                                r->name, HEARTH_FLEET_CSV_MAX_CELLS);
    if (r->n_cells == r->cap) {
        size_t cap = r->cap ? r->cap * 2 : 256;
        const char **c =
            hearth_mem_resize(r->t->al, (void *)r->t->cell, cap, sizeof(*c));
        if (!c)
            return hearth_error_set(r->err, HEARTH_ENOMEM,
                                    "%s: out of memory; use a smaller file",
                                    r->name);
        r->t->cell = c;
        r->cap = cap;
    }
    r->t->cell[r->n_cells++] = start;
    return HEARTH_OK;
}

/* Read one cell; *last = a row ends here.  Leaves at behind the separator. */
static hearth_status read_cell(reader *r, bool *last) {
    char *s = r->t->text;
    size_t start = r->at, out = start, line = r->line;
    if (s[r->at] == '"') {
        r->at++;
        for (;; r->at++) {
            if (r->at >= r->n) return bad(r, line, "a quote never ends");
            if (s[r->at] == '"') {
                if (s[r->at + 1] != '"') break;
                r->at++;
            }
            if (s[r->at] == '\n') r->line++;
            s[out++] = s[r->at];
        }
        r->at++;
    } else {
        while (r->at < r->n && s[r->at] != ',' && s[r->at] != '\n') {
            if (s[r->at] == '"') return bad(r, line, "a quote inside a cell");
            if (s[r->at] == '\r' && (r->at + 1 == r->n || s[r->at + 1] == '\n'))
                break;
            s[out++] = s[r->at++];
        }
    }
    if (r->at < r->n && s[r->at] == '\r' &&
        (r->at + 1 == r->n || s[r->at + 1] == '\n'))
        r->at++;
    char end = r->at < r->n ? s[r->at] : '\n';
    if (end != ',' && end != '\n') return bad(r, line, "text behind a quote");
    *last = end == '\n';
    if (r->at < r->n) r->at++;
    if (*last) r->line++;
    s[out] = '\0';
    return push_cell(r, s + start);
}

static hearth_status read_row(reader *r) {
    size_t first = r->n_cells, line = r->line;
    bool last = false, comma;
    do {
        hearth_status st = read_cell(r, &last);
        if (st != HEARTH_OK) return st;
        comma = !last;
    } while (comma);
    size_t n = r->n_cells - first;
    if (!r->t->n_columns) {
        if (n > HEARTH_FLEET_CSV_MAX_COLUMNS)
            return hearth_error_set(r->err, HEARTH_ETOOBIG,
                                    "%s: more than %zu columns; cut the file",
                                    r->name, HEARTH_FLEET_CSV_MAX_COLUMNS);
        r->t->n_columns = n;
    } else if (n != r->t->n_columns) {
        return bad(r, line, "a row of another width than the header");
    }
    return HEARTH_OK;
}

static hearth_status check_names(const reader *r) {
    const hearth_fleet_csv *t = r->t;
    for (size_t i = 0; i < t->n_columns; i++)
        for (size_t k = 0; k < i; k++)
            if (t->cell[i][0] && !strcmp(t->cell[i], t->cell[k]))
                return bad(r, 1, "a column name twice");
    return HEARTH_OK;
}

static hearth_status read_all(reader *r) {
    hearth_status st;
    while (r->at < r->n) {
        if (r->t->n_columns > 1 && r->t->text[r->at] == '\n' &&
            r->at + 1 == r->n)
            break;
        if ((st = read_row(r)) != HEARTH_OK) return st;
    }
    if (!r->t->n_columns)
        return bad(r, 1, "no header row with the column names");
    r->t->n_rows = r->n_cells / r->t->n_columns - 1;
    return check_names(r);
}

hearth_status hearth_fleet_csv_parse(hearth_fleet_csv **out, const char *name,
                                     const char *text, size_t n,
                                     const hearth_alloc *al,
                                     hearth_error *err) {
    if (out) *out = NULL;
    if (!out || !text) return HEARTH_EINVAL;
    if (n > HEARTH_FLEET_CSV_MAX_BYTES)
        return hearth_error_set(err, HEARTH_ETOOBIG,
                                "%s: larger than %zu bytes; cut the file", name,
                                HEARTH_FLEET_CSV_MAX_BYTES);
    if (n >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) text += 3, n -= 3;
    reader r = {NULL, name, 0, n, 1, 0, 0, err};
    if (memchr(text, 0, n)) return bad(&r, 1, "a NUL byte; not a CSV file");
    if (!hearth_utf8_valid(text, n)) return bad(&r, 1, "not UTF-8");
    hearth_fleet_csv *t = hearth_mem_new(al, sizeof(*t));
    if (t) t->text = hearth_mem_strndup(al, text, n);
    if (!t || !t->text) {
        hearth_mem_free(al, t);
        return hearth_error_set(err, HEARTH_ENOMEM,
                                "%s: out of memory; use a smaller file", name);
    }
    t->al = al;
    r.t = t;
    hearth_status st = read_all(&r);
    if (st != HEARTH_OK) {
        hearth_fleet_csv_free(t);
        return st;
    }
    *out = t;
    return HEARTH_OK;
}

hearth_status hearth_fleet_csv_load(hearth_fleet_csv **out, const char *path,
                                    const hearth_alloc *al, hearth_error *err) {
    hearth_file f = HEARTH_FILE_INIT;
    if (!out || !path) return HEARTH_EINVAL;
    *out = NULL;
    hearth_status st = hearth_file_map(&f, path, err);
    if (st != HEARTH_OK) return st;
    st = hearth_fleet_csv_parse(out, path, f.n ? (const char *)f.v : "", f.n,
                                al, err);
    hearth_file_unmap(&f);
    return st;
}

void hearth_fleet_csv_free(hearth_fleet_csv *t) {
    if (!t) return;
    hearth_mem_free(t->al, t->text);
    hearth_mem_free(t->al, (void *)t->cell);
    hearth_mem_free(t->al, t);
}

size_t hearth_fleet_csv_rows(const hearth_fleet_csv *t) {
    return t->n_rows;
}

size_t hearth_fleet_csv_columns(const hearth_fleet_csv *t) {
    return t->n_columns;
}

const char *hearth_fleet_csv_name(const hearth_fleet_csv *t, size_t i) {
    return t->cell[i];
}

size_t hearth_fleet_csv_column(const hearth_fleet_csv *t, const char *name) {
    for (size_t i = 0; i < t->n_columns; i++)
        if (name[0] && !strcmp(t->cell[i], name)) return i;
    return HEARTH_FLEET_CSV_NONE;
}

const char *hearth_fleet_csv_guess(const hearth_fleet_csv *t,
                                   const char *name) {
    return hearth_did_you_mean(name, t->cell, t->n_columns);
}

const char *hearth_fleet_csv_cell(const hearth_fleet_csv *t, size_t row,
                                  size_t column) {
    return t->cell[(row + 1) * t->n_columns + column];
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_template.c - a template is compiled to a flat list of
 * pieces; optional parts are two markers around a run of them, and rendering
 * rolls the output back to the first marker when something in it was empty. */
#include "tests/fleet/fleet_template.h"

#include <stdint.h>
#include <string.h>

#include "common/file.h"
#include "common/ini.h"
#include "common/mem.h"

typedef enum { LITERAL, CELL, NUMBER, ANY, OPEN, CLOSE, SPLIT } piece_kind;

/* One of {any:..}. */
typedef struct {
    size_t column;
    char *word;
} choice;

typedef struct {
    piece_kind kind;
    char *text; /* LITERAL */
    size_t column;
    double divisor; /* NUMBER */
    int decimals;
    choice *any; /* [n_any] */
    size_t n_any;
} piece;

struct hearth_fleet_template {
    piece *p; /* [n], room for the maximum */
    size_t n;
    bool has_split;
    const hearth_fleet_csv *table; /* borrowed: outlives the template */
    const hearth_alloc *al;
};

typedef struct {
    hearth_fleet_template *t;
    const char *name, *text;
    size_t n, at, line;
    bool in_brackets;
    hearth_buf literal;
    hearth_error *err;
} parser;

static hearth_status bad(const parser *p, const char *what,
                         const char *detail) {
    return hearth_error_set(p->err, HEARTH_EFORMAT,
                            "%s:%zu: %s%s; see tests/fleet/fleet_template.h",
                            p->name, p->line, what, detail);
}

static hearth_status no_memory(const parser *p) {
    return hearth_error_set(p->err, HEARTH_ENOMEM,
                            "%s: out of memory; close something", p->name);
}

static hearth_status push(parser *p, piece_kind kind, piece **out) {
    if (p->t->n == HEARTH_FLEET_TEMPLATE_MAX_PIECES)
        return hearth_error_set(p->err, HEARTH_ETOOBIG,
                                "%s: more than %zu pieces; make it shorter",
                                p->name, HEARTH_FLEET_TEMPLATE_MAX_PIECES);
    piece *q = &p->t->p[p->t->n++];
    q->kind = kind;
    if (out) *out = q;
    return HEARTH_OK;
}

static hearth_status flush_literal(parser *p) {
    piece *q = NULL;
    if (p->literal.failed) return no_memory(p);
    if (!p->literal.n) return HEARTH_OK;
    hearth_status st = push(p, LITERAL, &q);
    if (st != HEARTH_OK) return st;
    q->text =
        hearth_mem_strndup(p->t->al, hearth_buf_str(&p->literal), p->literal.n);
    hearth_buf_clear(&p->literal);
    return q->text ? HEARTH_OK : no_memory(p);
}

static hearth_status find_column(const parser *p, const char *name,
                                 size_t *column) {
    *column = hearth_fleet_csv_column(p->t->table, name);
    if (*column != HEARTH_FLEET_CSV_NONE) return HEARTH_OK;
    const char *guess = hearth_fleet_csv_guess(p->t->table, name);
    return hearth_error_set(
        p->err, HEARTH_EFORMAT, "%s:%zu: no column '%.60s'%s%.60s%s", p->name,
        p->line, name, guess ? "; did you mean '" : " in the table's header",
        guess ? guess : "", guess ? "'?" : "; look at its first line");
}

/* "A,B=word,C" */
static hearth_status parse_any(parser *p, char *list, piece *q) {
    size_t n = 1;
    for (const char *c = list; *c; c++) n += *c == ',';
    q->any = hearth_mem_array(p->t->al, n, sizeof(*q->any));
    if (!q->any) return no_memory(p);
    for (char *at = list; at;) {
        char *next = strchr(at, ','), *word;
        if (next) *next++ = '\0';
        word = strchr(at, '=');
        if (word) *word++ = '\0';
        choice *c = &q->any[q->n_any];
        hearth_status st = find_column(p, at, &c->column);
        if (st != HEARTH_OK) return st;
        c->word = hearth_mem_strdup(p->t->al, word ? word : at);
        if (!c->word) return no_memory(p);
        for (char *w = c->word; *w && !word; w++)
            if (*w >= 'A' && *w <= 'Z') *w = (char)(*w - 'A' + 'a');
        q->n_any++;
        at = next;
    }
    return HEARTH_OK;
}

/* "column", "column:1", "column/60:1" */
static hearth_status parse_cell(parser *p, char *body, piece *q) {
    char *colon = strrchr(body, ':'), *slash;
    if (!colon) return find_column(p, body, &q->column);
    *colon++ = '\0';
    int64_t decimals;
    if (hearth_parse_i64(colon, &decimals) != HEARTH_OK || decimals < 0 ||
        decimals > 6)
        return bad(p, "decimals are 0 to 6, not ", colon);
    q->kind = NUMBER;
    q->decimals = (int)decimals;
    q->divisor = 1.0;
    slash = strrchr(body, '/');
    if (slash && hearth_parse_f64(slash + 1, &q->divisor) == HEARTH_OK) {
        if (!(q->divisor > 0.0)) return bad(p, "a divisor must be above 0", "");
        *slash = '\0';
    }
    return find_column(p, body, &q->column);
}

static hearth_status parse_brace(parser *p) {
    char body[1024];
    const char *start = p->text + p->at + 1;
    const char *end = memchr(start, '}', p->n - p->at - 1);
    if (!end || memchr(start, '\n', (size_t)(end - start)))
        return bad(p, "a brace never ends on its line", "");
    size_t n = (size_t)(end - start);
    if (n >= sizeof(body)) return bad(p, "a brace of over 1,000 bytes", "");
    memcpy(body, start, n);
    body[n] = '\0';
    p->at += n + 2;
    piece *q = NULL;
    hearth_status st = flush_literal(p);
    if (st == HEARTH_OK) st = push(p, CELL, &q);
    if (st != HEARTH_OK) return st;
    if (strncmp(body, "any:", 4) != 0) return parse_cell(p, body, q);
    q->kind = ANY;
    return parse_any(p, body + 4, q);
}

static hearth_status parse_bracket(parser *p, char c) {
    if ((c == '[') == p->in_brackets)
        return bad(p, c == '[' ? "brackets inside brackets" : "a ] too many",
                   "");
    p->in_brackets = c == '[';
    p->at++;
    hearth_status st = flush_literal(p);
    return st == HEARTH_OK ? push(p, c == '[' ? OPEN : CLOSE, NULL) : st;
}

static hearth_status parse_line(parser *p) {
    while (p->at < p->n && p->text[p->at] != '\n') {
        char c = p->text[p->at];
        hearth_status st = HEARTH_OK;
        if (c == '{') {
            st = parse_brace(p);
        } else if (c == '[' || c == ']') {
            st = parse_bracket(p, c);
        } else if (c == '}') {
            st = bad(p, "a } too many", "");
        } else if (c != '\r') {
            if (c == '\\' && p->at + 1 < p->n &&
                memchr("\\{}[]#-", p->text[p->at + 1], 7))
                c = p->text[++p->at];
            (void)hearth_buf_putc(&p->literal, (unsigned char)c);
            p->at++;
        } else {
            p->at++;
        }
        if (st != HEARTH_OK) return st;
    }
    return HEARTH_OK;
}

/* True and at moved behind it, when the line at `at` is exactly "---". */
static bool take_split(parser *p) {
    size_t left = p->n - p->at;
    const char *s = p->text + p->at;
    if (left < 3 || memcmp(s, "---", 3) != 0) return false;
    if (left > 3 && s[3] != '\n') return false;
    p->at += 3;
    return true;
}

static hearth_status parse_template(parser *p) {
    bool first = true; /* no line of this part yet: no newline before */
    hearth_status st;
    for (p->line = 1; p->at < p->n; p->line++) {
        if (p->text[p->at] == '#') {
            const char *end = memchr(p->text + p->at, '\n', p->n - p->at);
            p->at = end ? (size_t)(end - p->text) : p->n;
        } else if (take_split(p)) {
            if (p->t->has_split) return bad(p, "a second ---", "");
            if (p->in_brackets) return bad(p, "a bracket never ends", "");
            p->t->has_split = first = true;
            if ((st = flush_literal(p)) != HEARTH_OK) return st;
            if ((st = push(p, SPLIT, NULL)) != HEARTH_OK) return st;
        } else {
            if (!first) (void)hearth_buf_putc(&p->literal, '\n');
            first = false;
            if ((st = parse_line(p)) != HEARTH_OK) return st;
        }
        p->at += p->at < p->n; /* the newline */
    }
    if (p->in_brackets) return bad(p, "a bracket never ends", "");
    return flush_literal(p);
}

hearth_status hearth_fleet_template_parse(
    hearth_fleet_template **out, const char *name, const char *text, size_t n,
    const hearth_fleet_csv *table, const hearth_alloc *al, hearth_error *err) {
    if (out) *out = NULL;
    if (!out || !text || !table) return HEARTH_EINVAL;
    parser p = {NULL, name, text, n, 0, 1, false, HEARTH_BUF_INIT(al), err};
    if (n > HEARTH_FLEET_TEMPLATE_MAX_BYTES)
        return hearth_error_set(err, HEARTH_ETOOBIG,
                                "%s: more than %zu bytes; make it shorter",
                                name, HEARTH_FLEET_TEMPLATE_MAX_BYTES);
    hearth_fleet_template *t = hearth_mem_new(al, sizeof(*t));
    if (!t) return no_memory(&p);
    t->al = al;
    t->table = table;
    t->p =
        hearth_mem_array(al, HEARTH_FLEET_TEMPLATE_MAX_PIECES, sizeof(*t->p));
    p.t = t;
    hearth_status st = t->p ? parse_template(&p) : no_memory(&p);
    hearth_buf_free(&p.literal);
    if (st == HEARTH_OK)
        *out = t;
    else
        hearth_fleet_template_free(t);
    return st;
}

hearth_status hearth_fleet_template_load(hearth_fleet_template **out,
                                         const char *path,
                                         const hearth_fleet_csv *table,
                                         const hearth_alloc *al,
                                         hearth_error *err) {
    hearth_buf b = HEARTH_BUF_INIT(al);
    if (!out || !path) return HEARTH_EINVAL;
    *out = NULL;
    hearth_status st =
        hearth_file_read(&b, path, HEARTH_FLEET_TEMPLATE_MAX_BYTES, err);
    if (st == HEARTH_OK)
        st = hearth_fleet_template_parse(out, path, hearth_buf_str(&b), b.n,
                                         table, al, err);
    hearth_buf_free(&b);
    return st;
}

void hearth_fleet_template_free(hearth_fleet_template *t) {
    if (!t) return;
    for (size_t i = 0; t->p && i < t->n; i++) {
        hearth_mem_free(t->al, t->p[i].text);
        for (size_t k = 0; k < t->p[i].n_any; k++)
            hearth_mem_free(t->al, t->p[i].any[k].word);
        hearth_mem_free(t->al, t->p[i].any);
    }
    hearth_mem_free(t->al, t->p);
    hearth_mem_free(t->al, t);
}

/* ---- rendering ---- */

static hearth_status not_a_number(const hearth_fleet_template *t, size_t row,
                                  size_t column, hearth_error *err) {
    return hearth_error_set(err, HEARTH_EFORMAT,
                            "row %zu, column '%.60s': not a number; use "
                            "{column} without a format",
                            row + 2, hearth_fleet_csv_name(t->table, column));
}

/* *empty = the piece has nothing to say in this row. */
static hearth_status render_any(const hearth_fleet_template *t, const piece *q,
                                size_t row, hearth_buf *b, bool *empty,
                                hearth_error *err) {
    size_t n = 0;
    for (size_t i = 0; i < q->n_any; i++) {
        const char *v = hearth_fleet_csv_cell(t->table, row, q->any[i].column);
        double x = 0.0;
        if (v[0] && hearth_parse_f64(v, &x) != HEARTH_OK)
            return not_a_number(t, row, q->any[i].column, err);
        if (!(x > 0.0)) continue;
        (void)hearth_buf_printf(b, "%s%s", n ? ", " : "", q->any[i].word);
        n++;
    }
    *empty = !n;
    return HEARTH_OK;
}

static hearth_status render_cell(const hearth_fleet_template *t, const piece *q,
                                 size_t row, hearth_buf *b, bool *empty,
                                 hearth_error *err) {
    const char *v = hearth_fleet_csv_cell(t->table, row, q->column);
    double x;
    *empty = !v[0];
    if (*empty) return HEARTH_OK;
    if (q->kind == CELL) return hearth_buf_puts(b, v);
    if (hearth_parse_f64(v, &x) != HEARTH_OK)
        return not_a_number(t, row, q->column, err);
    return hearth_buf_printf(b, "%.*f", q->decimals, x / q->divisor);
}

/* Render one part from piece *i up to SPLIT or the end.  *used = false when a
 * cell outside brackets was empty or nothing came out. */
static hearth_status render_part(const hearth_fleet_template *t, size_t *i,
                                 size_t row, hearth_buf *b, bool *used,
                                 hearth_error *err) {
    size_t mark = 0;
    bool optional = false, drop = false, empty = false;
    for (*used = true; *i < t->n && t->p[*i].kind != SPLIT; ++*i) {
        const piece *q = &t->p[*i];
        hearth_status st = HEARTH_OK;
        empty = false;
        switch (q->kind) {
        case LITERAL: st = hearth_buf_puts(b, q->text); break;
        case ANY: st = render_any(t, q, row, b, &empty, err); break;
        case CELL:
        case NUMBER: st = render_cell(t, q, row, b, &empty, err); break;
        case OPEN: mark = b->n, optional = true, drop = false; break;
        case CLOSE:
            if (drop && b->v) b->n = mark, b->v[mark] = '\0';
            optional = false;
            break;
        case SPLIT: break;
        }
        if (st != HEARTH_OK) return st;
        if (empty && optional) drop = true;
        if (empty && !optional) *used = false;
    }
    if (!b->n) *used = false;
    return HEARTH_OK;
}

hearth_status hearth_fleet_template_render(const hearth_fleet_template *t,
                                           size_t row, hearth_buf *out,
                                           bool *used, hearth_error *err) {
    hearth_buf a = HEARTH_BUF_INIT(t->al), b = HEARTH_BUF_INIT(t->al);
    bool second = true;
    size_t i = 0, before = out->n;
    hearth_status st = render_part(t, &i, row, &a, used, err);
    if (st == HEARTH_OK && t->has_split) {
        i++;
        st = render_part(t, &i, row, &b, &second, err);
    }
    *used = *used && second;
    if (st == HEARTH_OK && *used) {
        (void)hearth_buf_puts(out,
                              t->has_split ? "{\"prompt\":" : "{\"text\":");
        (void)hearth_buf_json_string(out, hearth_buf_str(&a), a.n);
        if (t->has_split) {
            (void)hearth_buf_puts(out, ",\"completion\":");
            (void)hearth_buf_json_string(out, hearth_buf_str(&b), b.n);
        }
        (void)hearth_buf_puts(out, "}");
    }
    if (st == HEARTH_OK && (a.failed || b.failed || out->failed))
        st = hearth_error_set(err, HEARTH_ENOMEM,
                              "out of memory in a template; close something");
    if (st != HEARTH_OK && out->v) out->n = before, out->v[before] = '\0';
    hearth_buf_free(&a);
    hearth_buf_free(&b);
    return st;
}

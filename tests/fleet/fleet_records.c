/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_records.c - three readers (strings in JSON lines, records in
 * JSON lines, CSV rows through a template) fill one list of people; cutting it
 * is the same for all.  Sorting is stable and ties go to who came first, so that
 * the same file gives the same devices everywhere. */
#include "tests/fleet/fleet_records.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/bytes.h"
#include "common/file.h"
#include "common/hash.h"
#include "common/json.h"
#include "common/jsonpull.h"
#include "common/mem.h"
#include "common/philox.h"
#include "tests/fleet/fleet_csv.h"
#include "tests/fleet/fleet_template.h"

#define NAME_MAX_BYTES 63 /* of a person: what devices.jsonl has room for */

typedef struct {
    char *text, *order; /* order NULL: file order */
    size_t index;
} entry;

typedef struct {
    char *name;
    entry *e; /* [n] */
    size_t n, cap, n_bytes, index;
} group;

typedef struct {
    const hearth_fleet_scenario *sc;
    const hearth_alloc *al;
    hearth_error *err;
    group *g; /* [n] */
    size_t n, cap, last;
    size_t n_records, n_bytes;
} loader;

static hearth_status no_memory(const loader *l) {
    return hearth_error_set(l->err, HEARTH_ENOMEM,
                            "%s: out of memory; use fewer records",
                            l->sc->records_path);
}

static hearth_status find_group(loader *l, const char *name, group **out) {
    if (l->last < l->n && !strcmp(l->g[l->last].name, name)) {
        *out = &l->g[l->last];
        return HEARTH_OK;
    }
    size_t i = 0;
    while (i < l->n && strcmp(l->g[i].name, name) != 0) i++;
    if (i == l->n) {
        if (strlen(name) > NAME_MAX_BYTES)
            return hearth_error_set(l->err, HEARTH_ETOOBIG,
                                    "%s: a value of '%s' has more than %d "
                                    "bytes; partition by another field",
                                    l->sc->records_path, l->sc->field,
                                    NAME_MAX_BYTES);
        if (l->n == l->cap) {
            size_t cap = l->cap ? l->cap * 2 : 64;
            group *g = hearth_mem_resize(l->al, l->g, cap, sizeof(*g));
            if (!g) return no_memory(l);
            l->g = g;
            l->cap = cap;
        }
        l->g[i] = (group){0};
        l->g[i].name = hearth_mem_strdup(l->al, name);
        if (!l->g[i].name) return no_memory(l);
        l->g[i].index = i;
        l->n++;
    }
    l->last = i;
    *out = &l->g[i];
    return HEARTH_OK;
}

/* Add one record line [n] to a person. */
static hearth_status add(loader *l, const char *name, const char *text,
                         size_t n, const char *order) {
    group *g = NULL;
    hearth_status st = find_group(l, name, &g);
    if (st != HEARTH_OK) return st;
    if (l->n_records == HEARTH_FLEET_MAX_RECORDS ||
        n > HEARTH_FLEET_MAX_BYTES - l->n_bytes)
        return hearth_error_set(l->err, HEARTH_ETOOBIG,
                                "%s: more than %zu records or %zu bytes; cut "
                                "the file",
                                l->sc->records_path, HEARTH_FLEET_MAX_RECORDS,
                                HEARTH_FLEET_MAX_BYTES);
    if (g->n == g->cap) {
        size_t cap = g->cap ? g->cap * 2 : 32;
        entry *e = hearth_mem_resize(l->al, g->e, cap, sizeof(*e));
        if (!e) return no_memory(l);
        g->e = e;
        g->cap = cap;
    }
    entry *e = &g->e[g->n];
    *e = (entry){hearth_mem_strndup(l->al, text, n), NULL, l->n_records};
    if (!e->text) return no_memory(l);
    g->n++; /* from here on it is freed with the rest */
    if (order) e->order = hearth_mem_strdup(l->al, order);
    if (order && !e->order) return no_memory(l);
    g->n_bytes += n;
    l->n_bytes += n;
    l->n_records++;
    return HEARTH_OK;
}

/* ---- JSON lines ---- */

static hearth_status bad_line(const loader *l, size_t line, const char *what,
                              const char *field) {
    return hearth_error_set(l->err, HEARTH_EFORMAT,
                            "%s:%zu: %s '%s'; mend the file or [records]",
                            l->sc->records_path, line, what, field);
}

/* A string member of the line's object, or NULL when there is no such one. */
static const char *member(const hearth_json *j, const char *name) {
    const char *v = NULL;
    if (hearth_json_str(hearth_json_get(hearth_json_root(j), name), &v) !=
        HEARTH_OK)
        return NULL;
    return v;
}

static hearth_status add_string(loader *l, const char *who, const char *text,
                                const char *order) {
    hearth_buf b = HEARTH_BUF_INIT(l->al);
    (void)hearth_buf_puts(&b, "{\"text\":");
    (void)hearth_buf_json_string(&b, text, strlen(text));
    (void)hearth_buf_puts(&b, "}");
    hearth_status st =
        b.failed ? no_memory(l) : add(l, who, hearth_buf_str(&b), b.n, order);
    hearth_buf_free(&b);
    return st;
}

static hearth_status add_texts(loader *l, const hearth_json *j, size_t line,
                               const char *who, const char *order) {
    const char *field = l->sc->text_field, *text;
    const hearth_json_value *v = hearth_json_get(hearth_json_root(j), field);
    if (hearth_json_type_of(v) == HEARTH_JSON_STRING) {
        if (hearth_json_str(v, &text) != HEARTH_OK || !text[0])
            return bad_line(l, line, "an empty string in field", field);
        return add_string(l, who, text, order);
    }
    if (hearth_json_type_of(v) != HEARTH_JSON_ARRAY)
        return bad_line(l, line, "no string or list of strings in field",
                        field);
    for (v = hearth_json_first(v); v; v = hearth_json_next(v)) {
        if (hearth_json_str(v, &text) != HEARTH_OK)
            return bad_line(l, line, "something other than strings in field",
                            field);
        if (!text[0]) continue; /* nothing to train on */
        hearth_status st = add_string(l, who, text, order);
        if (st != HEARTH_OK) return st;
    }
    return HEARTH_OK;
}

/* The line without the members that are the fleet's business: records are read
 * strictly, so the device must not see them. */
static hearth_status add_record(loader *l, const char *s, size_t n, size_t line,
                                const char *who, const char *order) {
    hearth_jsonpull p;
    hearth_buf b = HEARTH_BUF_INIT(l->al);
    size_t members = 0;
    hearth_status st = HEARTH_OK;
    hearth_jsonpull_init(&p, s, n);
    if (hearth_jsonpull_next(&p) != HEARTH_JSONPULL_OBJECT)
        st = bad_line(l, line, "not an object with field", l->sc->field);
    (void)hearth_buf_putc(&b, '{');
    while (st == HEARTH_OK && hearth_jsonpull_next(&p) == HEARTH_JSONPULL_KEY) {
        size_t start = (size_t)(p.token - s) - 1;
        bool ours = hearth_jsonpull_is(&p, l->sc->field) ||
                    hearth_jsonpull_is(&p, l->sc->order);
        if (!hearth_jsonpull_skip(&p)) break;
        if (ours) continue;
        (void)hearth_buf_puts(&b, members++ ? "," : "");
        (void)hearth_buf_append(&b, s + start, p.at - start);
    }
    (void)hearth_buf_putc(&b, '}');
    if (st == HEARTH_OK && b.failed) st = no_memory(l);
    if (st == HEARTH_OK) st = add(l, who, hearth_buf_str(&b), b.n, order);
    hearth_buf_free(&b);
    return st;
}

static hearth_status take_line(loader *l, const char *s, size_t n,
                               size_t line) {
    const hearth_fleet_scenario *sc = l->sc;
    hearth_json *j = NULL;
    const char *who = "", *order = NULL;
    hearth_status st =
        hearth_json_parse(&j, sc->records_path, s, n, l->al, NULL);
    if (st == HEARTH_ENOMEM) return no_memory(l);
    if (st != HEARTH_OK) return bad_line(l, line, "not JSON with", "fields");
    if (sc->partition == HEARTH_FLEET_BY_FIELD && !(who = member(j, sc->field)))
        st = bad_line(l, line, "no string in field", sc->field);
    else if (sc->order[0] && !(order = member(j, sc->order)))
        st = bad_line(l, line, "no string in field", sc->order);
    else if (sc->form == HEARTH_FLEET_FORM_TEXT)
        st = add_texts(l, j, line, who, order);
    else
        st = add_record(l, s, n, line, who, order);
    hearth_json_free(j);
    return st;
}

static hearth_status load_lines(loader *l) {
    hearth_file f = HEARTH_FILE_INIT;
    hearth_status st = hearth_file_map(&f, l->sc->records_path, l->err);
    const char *s = (const char *)f.v;
    size_t at = 0;
    for (size_t line = 1; st == HEARTH_OK && at < f.n; line++) {
        const char *end = memchr(s + at, '\n', f.n - at);
        size_t n = (end ? (size_t)(end - s) : f.n) - at;
        if (n) st = take_line(l, s + at, n, line);
        at += n + 1;
    }
    hearth_file_unmap(&f);
    return st;
}

/* ---- CSV ---- */

static hearth_status find_column(loader *l, const hearth_fleet_csv *t,
                                 const char *key, const char *name,
                                 size_t *column) {
    *column = hearth_fleet_csv_column(t, name);
    if (*column != HEARTH_FLEET_CSV_NONE) return HEARTH_OK;
    const char *guess = hearth_fleet_csv_guess(t, name);
    return hearth_error_set(
        l->err, HEARTH_EFORMAT,
        "%s: no column '%s', which [records] %s names; %s%s",
        l->sc->records_path, name, key,
        guess ? "did you mean " : "look at its first line", guess ? guess : "");
}

static hearth_status take_rows(loader *l, const hearth_fleet_csv *t,
                               const hearth_fleet_template *tm, size_t who,
                               size_t order) {
    hearth_buf b = HEARTH_BUF_INIT(l->al);
    hearth_status st = HEARTH_OK;
    for (size_t r = 0; r < hearth_fleet_csv_rows(t) && st == HEARTH_OK; r++) {
        bool used;
        hearth_buf_clear(&b);
        st = hearth_fleet_template_render(tm, r, &b, &used, l->err);
        if (st != HEARTH_OK || !used) continue;
        st =
            add(l,
                who == HEARTH_FLEET_CSV_NONE ? ""
                                             : hearth_fleet_csv_cell(t, r, who),
                hearth_buf_str(&b), b.n,
                order == HEARTH_FLEET_CSV_NONE
                    ? NULL
                    : hearth_fleet_csv_cell(t, r, order));
    }
    hearth_buf_free(&b);
    return st;
}

static hearth_status load_csv(loader *l) {
    const hearth_fleet_scenario *sc = l->sc;
    hearth_fleet_csv *t = NULL;
    hearth_fleet_template *tm = NULL;
    size_t who = HEARTH_FLEET_CSV_NONE, order = HEARTH_FLEET_CSV_NONE;
    hearth_status st =
        hearth_fleet_csv_load(&t, sc->records_path, l->al, l->err);
    if (st != HEARTH_OK) goto done;
    st = hearth_fleet_template_load(&tm, sc->template_path, t, l->al, l->err);
    if (st != HEARTH_OK) goto done;
    if (sc->partition == HEARTH_FLEET_BY_FIELD)
        st = find_column(l, t, "partition", sc->field, &who);
    if (st == HEARTH_OK && sc->order[0])
        st = find_column(l, t, "order", sc->order, &order);
    if (st == HEARTH_OK) st = take_rows(l, t, tm, who, order);

done:
    hearth_fleet_template_free(tm);
    hearth_fleet_csv_free(t);
    return st;
}

/* ---- cutting ---- */

static int by_order(const void *a, const void *b) {
    const entry *x = a, *y = b;
    int c = x->order && y->order ? strcmp(x->order, y->order) : 0;
    return c ? c : (x->index > y->index) - (x->index < y->index);
}

static int by_size(const void *a, const void *b) {
    const group *x = a, *y = b;
    if (x->n_bytes != y->n_bytes) return x->n_bytes < y->n_bytes ? 1 : -1;
    return (x->index > y->index) - (x->index < y->index);
}

/* Deal the one group of iid out to the devices (and the unseen), shuffled. */
static hearth_status deal(loader *l) {
    size_t people = l->sc->devices + l->sc->unseen_devices;
    if (l->n != 1) return HEARTH_OK; /* nothing was read */
    group all = l->g[0];
    uint32_t *index = hearth_mem_array(l->al, all.n, sizeof(*index));
    if (!index) return no_memory(l);
    for (size_t i = 0; i < all.n; i++) index[i] = (uint32_t)i;
    hearth_philox_shuffle(hearth_philox_key_make(1, HEARTH_PHILOX_FLEET), 0,
                          index, all.n);
    hearth_status st = HEARTH_OK;
    l->g[0] = (group){0};
    l->n = l->last = 0;
    l->n_records = l->n_bytes = 0;
    for (size_t i = 0; i < all.n && st == HEARTH_OK; i++) {
        char name[32];
        const entry *e = &all.e[index[i]];
        hearth_buf b = HEARTH_BUF_INIT(l->al);
        (void)hearth_buf_printf(&b, "device-%zu", i % people);
        size_t n = b.n < sizeof(name) - 1 ? b.n : sizeof(name) - 1;
        memcpy(name, hearth_buf_str(&b), n);
        name[n] = '\0';
        st = b.failed ? no_memory(l)
                      : add(l, name, e->text, strlen(e->text), e->order);
        hearth_buf_free(&b);
    }
    for (size_t i = 0; i < all.n; i++) {
        hearth_mem_free(l->al, all.e[i].text);
        hearth_mem_free(l->al, all.e[i].order);
    }
    hearth_mem_free(l->al, all.e);
    hearth_mem_free(l->al, all.name);
    hearth_mem_free(l->al, index);
    return st;
}

static hearth_status is_held(const char *text, double share, bool *held) {
    uint8_t d[HEARTH_SHA256_BYTES];
    hearth_status st = hearth_sha256(d, text, strlen(text));
    *held = (double)(hearth_load_be64(d) >> 11) * 0x1p-53 < share;
    return st;
}

/* Move a group's lines into a person: trained ones first, order kept. */
static hearth_status fill_person(hearth_fleet_person *p, group *g,
                                 const hearth_fleet_scenario *sc,
                                 const hearth_alloc *al) {
    p->line = hearth_mem_array(al, g->n, sizeof(*p->line));
    if (!p->line) return HEARTH_ENOMEM;
    size_t held = (size_t)(sc->holdout_share * (double)g->n + 0.5);
    if (!held) held = 1;
    if (held >= g->n) held = g->n - 1;
    if (sc->holdout == HEARTH_FLEET_HOLDOUT_NONE) held = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < g->n; i++) {
            bool out = i >= g->n - held;
            hearth_status st = HEARTH_OK;
            if (sc->holdout == HEARTH_FLEET_HOLDOUT_HASH && pass == 0)
                st = is_held(g->e[i].text, sc->holdout_share, &out);
            if (st != HEARTH_OK) return st;
            if (!g->e[i].text || (pass == 0 && out)) continue;
            p->line[p->n_lines++] = g->e[i].text;
            g->e[i].text = NULL;
        }
        if (pass == 0) p->n_train = p->n_lines;
    }
    if (p->unseen) p->n_train = 0;
    p->n_bytes = g->n_bytes;
    p->name = g->name;
    g->name = NULL;
    return HEARTH_OK;
}

static hearth_status too_few(const loader *l, size_t have, size_t want) {
    return hearth_error_set(
        l->err, HEARTH_ENOTFOUND,
        "%s: %zu people with at least %u records, %zu asked "
        "for; lower devices, unseen_devices or min_records",
        l->sc->records_path, have, l->sc->min_records, want);
}

/* Drop the small, keep the order; returns how many are left. */
static size_t drop_small(loader *l) {
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++) {
        if (l->g[i].n < l->sc->min_records || l->g[i].n < 2) continue;
        group swap = l->g[n];
        l->g[n++] = l->g[i];
        l->g[i] = swap;
    }
    return n;
}

/* Move each k-th of the first n groups behind the others; returns how many. */
static hearth_status unseen_last(loader *l, size_t n, size_t k,
                                 size_t *unseen) {
    group *g = hearth_mem_array(l->al, n + 1, sizeof(*g));
    size_t seen = 0, at = 0;
    if (!g) return no_memory(l);
    *unseen = n / k;
    for (size_t i = 0; i < n; i++)
        g[i % k == k - 1 ? n - *unseen + at++ : seen++] = l->g[i];
    for (size_t i = 0; i < n; i++) l->g[i] = g[i];
    hearth_mem_free(l->al, g);
    return HEARTH_OK;
}

/* Piece k of a person: its name is theirs with "/k". */
static hearth_status take_piece(loader *l, group *from, size_t k, group *out) {
    const size_t size = l->sc->piece;
    hearth_buf b = HEARTH_BUF_INIT(l->al);
    (void)hearth_buf_printf(&b, "%s/%zu", from->name, k + 1);
    *out = (group){0};
    if (!b.failed && b.n <= NAME_MAX_BYTES)
        out->name = hearth_mem_strdup(l->al, hearth_buf_str(&b));
    bool too_long = !b.failed && b.n > NAME_MAX_BYTES;
    hearth_buf_free(&b);
    if (too_long)
        return hearth_error_set(l->err, HEARTH_ETOOBIG,
                                "%s: '%.40s' and a number have more than %d "
                                "bytes; use shorter names",
                                l->sc->records_path, from->name,
                                NAME_MAX_BYTES);
    out->e = hearth_mem_array(l->al, size, sizeof(*out->e));
    if (!out->name || !out->e) {
        hearth_mem_free(l->al, out->name);
        hearth_mem_free(l->al, out->e);
        *out = (group){0};
        return no_memory(l);
    }
    for (size_t i = 0; i < size; i++) {
        out->e[i] = from->e[k * size + i];
        from->e[k * size + i] = (entry){NULL, NULL, 0};
        out->n_bytes += strlen(out->e[i].text);
    }
    out->n = out->cap = size;
    return HEARTH_OK;
}

/* Put the pieces of the first n groups, shuffled, before the unseen that follow
 * them: what is left over at a person's end is not used.  *n is then how many
 * pieces there are. */
static hearth_status cut_pieces(loader *l, size_t *n, size_t unseen) {
    size_t total = 0, at = 0;
    hearth_status st = HEARTH_OK;
    for (size_t i = 0; i < *n; i++) {
        qsort(l->g[i].e, l->g[i].n, sizeof(*l->g[i].e), by_order);
        total += l->g[i].n / l->sc->piece;
    }
    group *g = hearth_mem_array(l->al, total + l->n + 1, sizeof(*g));
    uint32_t *index = hearth_mem_array(l->al, total + 1, sizeof(*index));
    if (!g || !index) {
        hearth_mem_free(l->al, g);
        hearth_mem_free(l->al, index);
        return no_memory(l);
    }
    for (size_t i = 0; i < total; i++) index[i] = (uint32_t)i;
    hearth_philox_shuffle(hearth_philox_key_make(1, HEARTH_PHILOX_FLEET), 0,
                          index, total);
    for (size_t i = 0; i < *n && st == HEARTH_OK; i++)
        for (size_t k = 0; k < l->g[i].n / l->sc->piece && st == HEARTH_OK; k++)
            st = take_piece(l, &l->g[i], k, &g[index[at++]]);
    for (size_t i = 0; i < unseen; i++) g[total + i] = l->g[*n + i];
    /* The people that were cut, and the small, go last: they are only freed. */
    for (size_t i = 0; i < *n; i++) g[total + unseen + i] = l->g[i];
    for (size_t i = *n + unseen; i < l->n; i++) g[total + i] = l->g[i];
    hearth_mem_free(l->al, index);
    hearth_mem_free(l->al, l->g);
    l->g = g;
    l->n += total;
    *n = total;
    return st;
}

/* Who takes part and who is unseen: the first *taking groups, and *unseen groups
 * from *unseen_at on. */
static hearth_status choose(loader *l, hearth_fleet_population *p,
                            size_t *taking, size_t *unseen, size_t *unseen_at) {
    const hearth_fleet_scenario *sc = l->sc;
    size_t n = drop_small(l), rest;
    hearth_status st = HEARTH_OK;
    p->n_small = l->n - n;
    *unseen = sc->unseen_devices;
    if (sc->unseen_share > 0.0)
        *unseen = (size_t)(sc->unseen_share * (double)n + 0.5);
    if (sc->unseen_every) st = unseen_last(l, n, sc->unseen_every, unseen);
    rest = n > *unseen ? n - *unseen : 0;
    if (st == HEARTH_OK && sc->piece && rest)
        st = cut_pieces(l, &rest, *unseen);
    if (st != HEARTH_OK) return st;
    *taking = sc->devices ? sc->devices : rest;
    if (!*taking || *taking > rest)
        return too_few(l, rest + *unseen, *taking + *unseen);
    bool fixed = sc->unseen_every || sc->piece;
    *unseen_at = fixed ? rest : *taking;
    return HEARTH_OK;
}

static hearth_status cut(loader *l, hearth_fleet_population *p) {
    const hearth_fleet_scenario *sc = l->sc;
    size_t unseen = 0, taking = 0, unseen_at = 0;
    p->n_found = l->n;
    if (l->n) qsort(l->g, l->n, sizeof(*l->g), by_size);
    hearth_status st = choose(l, p, &taking, &unseen, &unseen_at);
    if (st != HEARTH_OK) return st;
    if (taking + unseen > HEARTH_FLEET_MAX_DEVICES)
        return hearth_error_set(l->err, HEARTH_ETOOBIG,
                                "%s: %zu devices; set [records] devices to at "
                                "most %d",
                                sc->records_path, taking,
                                HEARTH_FLEET_MAX_DEVICES);
    p->person = hearth_mem_array(l->al, taking + unseen, sizeof(*p->person));
    if (!p->person) return no_memory(l);
    for (size_t i = 0; i < taking + unseen; i++) {
        group *g = &l->g[i < taking ? i : unseen_at + i - taking];
        qsort(g->e, g->n, sizeof(*g->e), by_order);
        p->n_people = i + 1;
        p->person[i].unseen = i >= taking;
        st = fill_person(&p->person[i], g, sc, l->al);
        if (st != HEARTH_OK) return st == HEARTH_ENOMEM ? no_memory(l) : st;
    }
    p->n_unseen = unseen;
    return HEARTH_OK;
}

hearth_status hearth_fleet_records_load(hearth_fleet_population **out,
                                        const hearth_fleet_scenario *sc,
                                        const hearth_alloc *al,
                                        hearth_error *err) {
    if (out) *out = NULL;
    if (!out || !sc) return HEARTH_EINVAL;
    loader l = {sc, al, err, NULL, 0, 0, 0, 0, 0};
    hearth_fleet_population *p = hearth_mem_new(al, sizeof(*p));
    if (!p) return no_memory(&l);
    p->al = al;
    hearth_status st =
        sc->form == HEARTH_FLEET_FORM_TEMPLATE ? load_csv(&l) : load_lines(&l);
    if (st == HEARTH_OK && sc->partition == HEARTH_FLEET_IID) st = deal(&l);
    if (st == HEARTH_OK) st = cut(&l, p);
    for (size_t i = 0; i < l.n; i++) {
        for (size_t k = 0; k < l.g[i].n; k++) {
            hearth_mem_free(al, l.g[i].e[k].text);
            hearth_mem_free(al, l.g[i].e[k].order);
        }
        hearth_mem_free(al, l.g[i].e);
        hearth_mem_free(al, l.g[i].name);
    }
    hearth_mem_free(al, l.g);
    if (st == HEARTH_OK)
        *out = p;
    else
        hearth_fleet_population_free(p);
    return st;
}

void hearth_fleet_population_free(hearth_fleet_population *p) {
    if (!p) return;
    for (size_t i = 0; i < p->n_people; i++) {
        for (size_t k = 0; k < p->person[i].n_lines; k++)
            hearth_mem_free(p->al, p->person[i].line[k]);
        hearth_mem_free(p->al, p->person[i].line);
        hearth_mem_free(p->al, p->person[i].name);
    }
    hearth_mem_free(p->al, p->person);
    hearth_mem_free(p->al, p);
}

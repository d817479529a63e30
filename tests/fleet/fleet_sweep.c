/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_sweep.c - an odometer over the keys of each section. */
#include "tests/fleet/fleet_sweep.h"

#include <stdbool.h>
#include <string.h>

#include "common/buf.h"
#include "common/file.h"
#include "common/ini.h"
#include "common/mem.h"
#include "tests/fleet/fleet_scenario.h"

#define MAX_VALUES 64

/* A key of a section with its values, which point into text. */
typedef struct {
    const char *key;
    char text[HEARTH_INI_MAX_LINE + 1];
    const char *value[MAX_VALUES];
    size_t n;
    unsigned line;
} axis;

typedef struct {
    hearth_fleet_sweep *sw;
    const hearth_ini *ini;
    const char *name;
    axis a[HEARTH_FLEET_MAX_CELL_SETS - 1]; /* one is left for mode = none */
    size_t n;
    hearth_error *err;
} grid;

static hearth_status fail(const grid *g, hearth_status st, unsigned line,
                          const char *what, const char *key) {
    return hearth_error_set(g->err, st, "%s:%u: sweep of '%.60s': %s", g->name,
                            line, key, what);
}

static char *trim(char *s) {
    size_t n = strlen(s);
    while (n && s[n - 1] == ' ') s[--n] = '\0';
    while (*s == ' ') s++;
    return s;
}

static hearth_status read_axis(grid *g, const char *key, const char *value,
                               unsigned line) {
    const char *dot = strrchr(key, '.');
    if (!dot || dot == key || !dot[1] || !strncmp(key, "sweep", 5))
        return fail(g, HEARTH_EFORMAT, line,
                    "write it as section.key, such as privacy.noise", key);
    if (g->n == HEARTH_FLEET_MAX_CELL_SETS - 1)
        return fail(g, HEARTH_ETOOBIG, line,
                    "more than 7 keys; make two sections of them", key);
    axis *a = &g->a[g->n++];
    a->key = key;
    a->line = line;
    a->n = 0;
    memcpy(a->text, value, strlen(value) + 1); /* a line is shorter */
    const char between = strchr(value, '|') ? '|' : ',';
    for (char *at = a->text; at;) {
        char *next = strchr(at, between);
        if (next) *next++ = '\0';
        if (a->n == MAX_VALUES)
            return fail(g, HEARTH_ETOOBIG, line,
                        "more than 64 values; use fewer", key);
        a->value[a->n] = trim(at);
        if (!a->value[a->n++][0])
            return fail(g, HEARTH_EFORMAT, line,
                        "an empty value; put one between the commas", key);
        at = next;
    }
    return HEARTH_OK;
}

/* Is this a noise or an epsilon of nothing? */
static bool is_no_noise(const char *key, const char *value) {
    double v;
    return (!strcmp(key, "privacy.noise") || !strcmp(key, "privacy.epsilon")) &&
           hearth_parse_f64(value, &v) == HEARTH_OK && !(v > 0.0);
}

/* Letters, digits, dots and signs of a value; anything else becomes '+'. */
static void put_name(hearth_buf *b, const char *value) {
    for (; *value; value++) {
        char c = *value;
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
        (void)hearth_buf_putc(b, plain ? (unsigned char)c : '+');
    }
}

static hearth_status add_set(const grid *g, hearth_fleet_cell *c,
                             const char *key, const char *value) {
    size_t k = strlen(key), v = strlen(value);
    if (k + v + 2 > sizeof(c->set[0]))
        return fail(g, HEARTH_ETOOBIG, g->a[0].line,
                    "too long a value; make it shorter", key);
    char *s = c->set[c->n_sets++];
    memcpy(s, key, k);
    s[k] = '=';
    memcpy(s + k + 1, value, v + 1);
    return HEARTH_OK;
}

static hearth_status fill_cell(const grid *g, const size_t *at,
                               hearth_fleet_cell *c) {
    hearth_buf b = HEARTH_BUF_INIT(g->sw->al);
    hearth_status st = HEARTH_OK;
    bool quiet = false;
    *c = (hearth_fleet_cell){0};
    for (size_t i = 0; i < g->n && st == HEARTH_OK; i++) {
        const axis *a = &g->a[i];
        const char *value = a->value[at[i]];
        (void)hearth_buf_printf(&b, "%s%s-", i ? "_" : "",
                                strrchr(a->key, '.') + 1);
        put_name(&b, value);
        if (is_no_noise(a->key, value))
            quiet = true;
        else
            st = add_set(g, c, a->key, value);
    }
    if (st == HEARTH_OK && quiet) st = add_set(g, c, "privacy.mode", "none");
    if (st == HEARTH_OK && b.failed) st = HEARTH_ENOMEM;
    if (st == HEARTH_OK && b.n >= sizeof(c->name))
        st = fail(g, HEARTH_ETOOBIG, g->a[0].line,
                  "the folder of a cell gets too long a name; use shorter "
                  "values or fewer keys",
                  g->a[0].key);
    if (st == HEARTH_OK) memcpy(c->name, hearth_buf_str(&b), b.n + 1);
    hearth_buf_free(&b);
    return st;
}

/* Keep a cell, unless it is there: the same name must mean the same settings. */
static hearth_status keep(const grid *g, const hearth_fleet_cell *c) {
    hearth_fleet_sweep *sw = g->sw;
    for (size_t i = 0; i < sw->n; i++) {
        const hearth_fleet_cell *o = &sw->cell[i];
        if (strcmp(o->name, c->name) != 0) continue;
        bool same = o->n_sets == c->n_sets;
        for (size_t k = 0; same && k < c->n_sets; k++)
            same = !strcmp(o->set[k], c->set[k]);
        if (same) return HEARTH_OK;
        return hearth_error_set(
            g->err, HEARTH_EFORMAT,
            "%s: two cells would share the folder %s; give values that differ "
            "in letters or digits",
            g->name, c->name);
    }
    if (sw->n == HEARTH_FLEET_MAX_CELLS)
        return hearth_error_set(g->err, HEARTH_ETOOBIG,
                                "%s: more than %d cells; sweep fewer values",
                                g->name, HEARTH_FLEET_MAX_CELLS);
    sw->cell[sw->n++] = *c;
    return HEARTH_OK;
}

/* Every combination of the values of one section. */
static hearth_status expand(const grid *g) {
    size_t at[HEARTH_FLEET_MAX_CELL_SETS] = {0};
    hearth_fleet_cell c;
    while (g->n) {
        hearth_status st = fill_cell(g, at, &c);
        if (st == HEARTH_OK) st = keep(g, &c);
        if (st != HEARTH_OK) return st;
        size_t i = g->n;
        while (i && ++at[i - 1] == g->a[i - 1].n) at[--i] = 0;
        if (!i) break;
    }
    return HEARTH_OK;
}

static hearth_status read_sections(grid *g) {
    const char *now = "";
    hearth_status st = HEARTH_OK;
    for (size_t i = 0; i < hearth_ini_size(g->ini) && st == HEARTH_OK; i++) {
        const char *section, *key, *value;
        unsigned line;
        hearth_ini_at(g->ini, i, &section, &key, &value, &line);
        if (strcmp(section, "sweep") != 0 && strncmp(section, "sweep.", 6) != 0)
            continue;
        if (strcmp(section, now) != 0) {
            st = expand(g);
            g->n = 0;
            now = section;
        }
        if (st == HEARTH_OK) st = read_axis(g, key, value, line);
    }
    return st == HEARTH_OK ? expand(g) : st;
}

hearth_status hearth_fleet_sweep_parse(hearth_fleet_sweep **out,
                                       const char *name, const char *text,
                                       size_t n, const hearth_alloc *al,
                                       hearth_error *err) {
    hearth_ini *ini = NULL;
    grid *g = NULL;
    size_t n_keys;
    const hearth_ini_key *keys = hearth_fleet_scenario_keys(&n_keys);
    *out = NULL;
    hearth_status st =
        hearth_ini_parse(&ini, name, text, n, keys, n_keys, al, err);
    if (st != HEARTH_OK) return st;
    hearth_fleet_sweep *sw = hearth_mem_new(al, sizeof(*sw));
    g = hearth_mem_new(al, sizeof(*g));
    if (sw) sw->al = al;
    if (sw)
        sw->cell =
            hearth_mem_array(al, HEARTH_FLEET_MAX_CELLS, sizeof(*sw->cell));
    if (!sw || !g || !sw->cell) {
        st = hearth_error_set(err, HEARTH_ENOMEM,
                              "%s: out of memory; close something", name);
    } else {
        g->sw = sw;
        g->ini = ini;
        g->name = name;
        g->err = err;
        st = read_sections(g);
    }
    hearth_mem_free(al, g);
    hearth_ini_free(ini);
    if (st == HEARTH_OK)
        *out = sw;
    else
        hearth_fleet_sweep_free(sw);
    return st;
}

hearth_status hearth_fleet_sweep_load(hearth_fleet_sweep **out,
                                      const char *path, const hearth_alloc *al,
                                      hearth_error *err) {
    hearth_buf b = HEARTH_BUF_INIT(al);
    *out = NULL;
    hearth_status st = hearth_file_read(&b, path, HEARTH_INI_MAX_BYTES, err);
    if (st == HEARTH_OK)
        st = hearth_fleet_sweep_parse(out, path, hearth_buf_str(&b), b.n, al,
                                      err);
    hearth_buf_free(&b);
    return st;
}

void hearth_fleet_sweep_free(hearth_fleet_sweep *sw) {
    if (!sw) return;
    hearth_mem_free(sw->al, sw->cell);
    hearth_mem_free(sw->al, sw);
}

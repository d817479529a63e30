/* SPDX-License-Identifier: Apache-2.0 */
/* common/name_pattern.c - the pattern becomes a small program; all its states
 * run over the name at once, so that no pattern can take long. */
#include "common/name_pattern.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MAX_OPS     200
#define MAX_CLASSES 8
#define MAX_DEPTH   16

typedef enum {
    OP_BYTE,  /* one byte: x */
    OP_ANY,   /* one byte but a line feed */
    OP_CLASS, /* one byte of class x */
    OP_SPLIT, /* go on at x and at y */
    OP_JUMP,  /* go on at x */
    OP_BEGIN, /* only at the begin of the name */
    OP_END,   /* only at its end */
    OP_MATCH
} op_code;

typedef struct {
    uint8_t code;
    uint16_t x, y;
} op;

typedef struct {
    op at[MAX_OPS];
    uint16_t n;
    uint32_t set[MAX_CLASSES][8]; /* a bit per byte value */
    uint16_t n_sets;
    const char *p; /* being read */
    int depth;
    hearth_status st; /* the first thing that was wrong */
} program;

static void refuse(program *g, hearth_status st) {
    if (g->st == HEARTH_OK) g->st = st;
}

static uint16_t emit(program *g, op_code code, size_t x, size_t y) {
    if (g->n == MAX_OPS) {
        refuse(g, HEARTH_ETOOBIG);
        return 0;
    }
    g->at[g->n] = (op){(uint8_t)code, (uint16_t)x, (uint16_t)y};
    return g->n++;
}

/* Room for one operation in front of [from, n): jumps into it move along. */
static void insert(program *g, uint16_t from, op what) {
    if (g->n == MAX_OPS) {
        refuse(g, HEARTH_ETOOBIG);
        return;
    }
    memmove(&g->at[from + 1], &g->at[from],
            (size_t)(g->n - from) * sizeof(g->at[0]));
    g->n++;
    for (uint16_t i = (uint16_t)(from + 1); i < g->n; i++) {
        op *o = &g->at[i];
        if (o->code != OP_SPLIT && o->code != OP_JUMP) continue;
        if (o->x >= from) o->x++;
        if (o->code == OP_SPLIT && o->y >= from) o->y++;
    }
    g->at[from] = what;
}

static void set_range(uint32_t set[8], unsigned from, unsigned to) {
    for (unsigned c = from; c <= to && c < 256; c++)
        set[c / 32] |= (uint32_t)1 << (c % 32);
}

static bool is_punctuation(char c) {
    return c && strchr(".\\-_[](){}|*+?^$/ ", c) != NULL;
}

/* What stands behind a backslash, into a set.  False: not known. */
static bool escape_into(uint32_t set[8], char c) {
    if (c == 'd' || c == 'w') set_range(set, '0', '9');
    if (c == 'w') {
        set_range(set, 'a', 'z');
        set_range(set, 'A', 'Z');
        set_range(set, '_', '_');
    }
    if (c == 's') {
        set_range(set, ' ', ' ');
        set_range(set, '\t', '\r');
    }
    if (is_punctuation(c)) set_range(set, (unsigned char)c, (unsigned char)c);
    return c == 'd' || c == 'w' || c == 's' || is_punctuation(c);
}

/* A fresh class; its number, or 0 with an error noted. */
static uint16_t new_set(program *g) {
    if (g->n_sets == MAX_CLASSES) {
        refuse(g, HEARTH_ETOOBIG);
        return 0;
    }
    return g->n_sets++;
}

/* "[a-z0-9_]": p stands behind the bracket. */
static void read_class(program *g) {
    uint16_t number = new_set(g);
    uint32_t *set = g->set[number];
    bool not = *g->p == '^', first = true;
    if (not ) g->p++;
    for (; g->st == HEARTH_OK && (*g->p != ']' || first); first = false) {
        unsigned char c = (unsigned char)*g->p++, to = c;
        if (!c || c == '[') {
            refuse(g, HEARTH_EUNSUPPORTED);
            return;
        }
        if (c == '\\') {
            if (!*g->p || !escape_into(set, *g->p++))
                refuse(g, HEARTH_EUNSUPPORTED);
            continue;
        }
        if (g->p[0] == '-' && g->p[1] && g->p[1] != ']') {
            to = (unsigned char)g->p[1];
            g->p += 2;
            if (to < c || to == '\\') refuse(g, HEARTH_EUNSUPPORTED);
        }
        set_range(set, c, to);
    }
    if (g->st != HEARTH_OK) return;
    g->p++;
    for (int i = 0; not &&i < 8; i++) set[i] = ~set[i];
    (void)emit(g, OP_CLASS, number, 0);
}

static void read_choice(program *g);

/* One thing that a star could follow. */
static void read_atom(program *g) {
    char c = *g->p++;
    uint16_t number;
    switch (c) {
    case '.': (void)emit(g, OP_ANY, 0, 0); return;
    case '[': read_class(g); return;
    case '\\':
        if (is_punctuation(*g->p)) {
            (void)emit(g, OP_BYTE, (unsigned char)*g->p++, 0);
            return;
        }
        number = new_set(g);
        if (g->st != HEARTH_OK) return;
        if (!*g->p || !escape_into(g->set[number], *g->p++))
            refuse(g, HEARTH_EUNSUPPORTED);
        (void)emit(g, OP_CLASS, number, 0);
        return;
    case '(':
        if (*g->p == '?' && g->p[1] != ':') refuse(g, HEARTH_EUNSUPPORTED);
        if (*g->p == '?') g->p += 2;
        if (++g->depth > MAX_DEPTH) refuse(g, HEARTH_ETOOBIG);
        if (g->st == HEARTH_OK) read_choice(g);
        g->depth--;
        if (g->st == HEARTH_OK && *g->p++ != ')')
            refuse(g, HEARTH_EUNSUPPORTED);
        return;
    case '^': (void)emit(g, OP_BEGIN, 0, 0); return;
    case '$': (void)emit(g, OP_END, 0, 0); return;
    case '*':
    case '+':
    case '?':
    case '{':
    case ']':
    case '}': refuse(g, HEARTH_EUNSUPPORTED); return;
    default: (void)emit(g, OP_BYTE, (unsigned char)c, 0); return;
    }
}

static void read_sequence(program *g) {
    while (g->st == HEARTH_OK && *g->p && *g->p != '|' && *g->p != ')') {
        uint16_t from = g->n;
        read_atom(g);
        if (g->st != HEARTH_OK) return;
        char c = *g->p;
        if (c != '*' && c != '+' && c != '?') continue;
        g->p++;
        if (*g->p == '?') g->p++; /* lazy: the same set of names */
        if (c == '+') {
            (void)emit(g, OP_SPLIT, from, g->n + 1u);
            continue;
        }
        insert(g, from, (op){OP_SPLIT, (uint16_t)(from + 1), 0});
        if (c == '*') (void)emit(g, OP_JUMP, from, 0);
        if (g->st != HEARTH_OK) return; /* no place: from may be the end */
        g->at[from].y = g->n;
    }
}

static void read_choice(program *g) {
    uint16_t from = g->n;
    read_sequence(g);
    while (g->st == HEARTH_OK && *g->p == '|') {
        g->p++;
        insert(g, from, (op){OP_SPLIT, (uint16_t)(from + 1), 0});
        uint16_t over = emit(g, OP_JUMP, 0, 0);
        if (g->st != HEARTH_OK) return; /* no place: from may be the end */
        g->at[from].y = g->n;
        read_choice(g);
        g->at[over].x = g->n;
    }
}

typedef struct {
    uint16_t at[MAX_OPS], n;
    uint32_t seen[(MAX_OPS + 31) / 32];
} states;

/* Add a state and all that follow it without reading a byte. */
static void add(const program *g, states *s, uint16_t start, bool begin,
                bool end) {
    uint16_t todo[2 * MAX_OPS + 1], n = 0; /* every op pushes two at most */
    todo[n++] = start;
    while (n) {
        uint16_t i = todo[--n];
        if (s->seen[i / 32] & ((uint32_t)1 << (i % 32))) continue;
        s->seen[i / 32] |= (uint32_t)1 << (i % 32);
        s->at[s->n++] = i;
        const op *o = &g->at[i];
        if (o->code == OP_SPLIT) {
            todo[n++] = o->y;
            todo[n++] = o->x;
        }
        if (o->code == OP_JUMP) todo[n++] = o->x;
        if ((o->code == OP_BEGIN && begin) || (o->code == OP_END && end))
            todo[n++] = (uint16_t)(i + 1);
    }
}

static bool reads(const program *g, const op *o, unsigned char c) {
    if (o->code == OP_BYTE) return o->x == c;
    if (o->code == OP_ANY) return c != '\n';
    return o->code == OP_CLASS &&
           g->set[o->x][c / 32] & ((uint32_t)1 << (c % 32));
}

static bool run(const program *g, const char *name) {
    states s[2] = {{.n = 0}, {.n = 0}};
    for (size_t i = 0;; i++) {
        states *now = &s[i % 2], *next = &s[(i + 1) % 2];
        bool begin = i == 0, end = !name[i];
        memset(next, 0, sizeof(*next));
        if (begin || name[i - 1] == '.') add(g, now, 0, begin, end);
        for (uint16_t k = 0; end && k < now->n; k++)
            if (g->at[now->at[k]].code == OP_MATCH) return true;
        if (end) return false;
        for (uint16_t k = 0; k < now->n; k++)
            if (reads(g, &g->at[now->at[k]], (unsigned char)name[i]))
                add(g, next, (uint16_t)(now->at[k] + 1), false, !name[i + 1]);
    }
}

hearth_status hearth_name_pattern_match(const char *pattern, const char *name,
                                        bool *matches) {
    program g;
    if (!pattern || !name || !matches) return HEARTH_EINVAL;
    *matches = false;
    memset(&g, 0, sizeof(g));
    g.p = pattern;
    read_choice(&g);
    if (g.st == HEARTH_OK && *g.p) refuse(&g, HEARTH_EUNSUPPORTED);
    (void)emit(&g, OP_MATCH, 0, 0);
    if (g.st == HEARTH_OK) *matches = run(&g, name);
    return g.st;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* client/cli/args.c - flags by a table: a flag is known, typed and in range,
 * or the command does not start. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/cli.h"
#include "client/cli/cli_private.h"

/* Letters to change, add or drop to get from a to b; long words are far. */
static size_t distance(const char *a, const char *b) {
    size_t row[40], n = strlen(a), m = strlen(b);
    if (n >= 40 || m >= 40) return 40;
    for (size_t j = 0; j <= m; j++) row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[m];
}

bool hearth_cli__closer(const char *word, const char *candidate, size_t *best) {
    size_t d = distance(word, candidate);
    /* "--out" for "--output": a prefix is close as well. */
    size_t n = strlen(word);
    if (n >= 3 && strncmp(word, candidate, n) == 0 && d > 2) d = 2;
    if (d > 2 || d >= *best || d >= strlen(candidate)) return false;
    *best = d;
    return true;
}

static const char *suggest(const hearth_usage *u, const char *word) {
    const char *found = NULL;
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < u->n_flags; i++)
        if (hearth_cli__closer(word, u->flags[i].name, &best))
            found = u->flags[i].name;
    if (hearth_cli__closer(word, "json", &best)) found = "json";
    if (hearth_cli__closer(word, "help", &best)) found = "help";
    return found;
}

/* ---- values ---- */

static bool parse_u64(const char *s, uint64_t *out, const char **end) {
    char *e;
    if (*s < '0' || *s > '9') return false;
    errno = 0;
    unsigned long long v = strtoull(s, &e, 10);
    *out = (uint64_t)v;
    *end = e;
    return errno == 0;
}

/* A number with a unit of a table "k=1024"; the unit may be absent. */
typedef struct {
    const char *name;
    uint64_t factor;
} unit;

static bool parse_units(const char *s, const unit *units, size_t n,
                        uint64_t *out) {
    const char *end;
    uint64_t v;
    if (!parse_u64(s, &v, &end)) return false;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(end, units[i].name) != 0) continue;
        if (v > UINT64_MAX / units[i].factor) return false;
        *out = v * units[i].factor;
        return true;
    }
    return false;
}

static bool parse_bytes(const char *s, uint64_t *out) {
    static const unit units[] = {
        {"", 1},         {"K", 1024},      {"k", 1024},       {"KiB", 1024},
        {"M", 1u << 20}, {"m", 1u << 20},  {"MiB", 1u << 20}, {"G", 1u << 30},
        {"g", 1u << 30}, {"GiB", 1u << 30}};
    return parse_units(s, units, sizeof(units) / sizeof(*units), out);
}

static bool parse_duration(const char *s, uint64_t *out) {
    static const unit units[] = {{"ms", 1},    {"s", 1000},    {"", 1000},
                                 {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    return parse_units(s, units, sizeof(units) / sizeof(*units), out);
}

static bool is_choice(const char *words, const char *s) {
    size_t n = strlen(s);
    for (const char *p = words; n;) {
        size_t k = strcspn(p, "|");
        if (k == n && memcmp(p, s, n) == 0) return true;
        if (!p[k]) break;
        p += k + 1;
    }
    return false;
}

/* Put the text of a value where the flag wants it.  NULL, or what is wrong. */
static const char *store(const hearth_flag *f, const char *s) {
    const char *end = "";
    uint64_t u = 0;
    switch (f->kind) {
    case HEARTH_FLAG_IS_STR: *(const char **)f->dst = s; return NULL;
    case HEARTH_FLAG_IS_CHOICE:
        if (!is_choice(f->metavar, s)) return "is none of the words it takes";
        *(const char **)f->dst = s;
        return NULL;
    case HEARTH_FLAG_IS_LIST: {
        hearth_cli_list *l = f->dst;
        if (l->n == HEARTH_CLI_LIST_MAX) return "is given too often";
        l->v[l->n++] = s;
        return NULL;
    }
    case HEARTH_FLAG_IS_U64:
        if (!parse_u64(s, &u, &end) || *end) return "is not a whole number";
        break;
    case HEARTH_FLAG_IS_BYTES:
        if (!parse_bytes(s, &u)) return "is not a size such as 512M";
        break;
    case HEARTH_FLAG_IS_DURATION:
        if (!parse_duration(s, &u)) return "is not a time such as 10m";
        break;
    case HEARTH_FLAG_IS_F64: {
        char *e;
        double d = strtod(s, &e);
        if (e == s || *e || !isfinite(d)) return "is not a number";
        if (!(d >= f->min_f && d <= f->max_f)) return "is out of range";
        *(double *)f->dst = d;
        return NULL;
    }
    case HEARTH_FLAG_IS_BOOL: return "takes no value";
    }
    if (u < f->min || u > f->max) return "is out of range";
    *(uint64_t *)f->dst = u;
    return NULL;
}

/* ---- the command line ---- */

#define MAX_FLAGS 64

typedef struct {
    hearth_cli *cli;
    const hearth_usage *u;
    bool seen[MAX_FLAGS];
    int rc;
} parsing;

static bool usage_fail(parsing *p, const char *fmt, ...) HEARTH_PRINTF(2, 3);

static bool usage_fail(parsing *p, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    hearth_cli__usage_text(p->cli, fmt, ap);
    va_end(ap);
    p->rc = HEARTH_EXIT_USAGE;
    return false;
}

static const hearth_flag *find(const parsing *p, const char *name, size_t n,
                               bool *negated) {
    for (size_t i = 0; i < p->u->n_flags; i++) {
        const hearth_flag *f = &p->u->flags[i];
        size_t k = strlen(f->name);
        *negated = false;
        if (k == n && memcmp(f->name, name, n) == 0) return f;
        *negated = true;
        if (f->kind == HEARTH_FLAG_IS_BOOL && n == k + 3 &&
            memcmp(name, "no-", 3) == 0 && memcmp(name + 3, f->name, k) == 0)
            return f;
    }
    return NULL;
}

static bool unknown(parsing *p, const char *name, size_t n) {
    char word[64];
    size_t k = n < sizeof(word) - 1 ? n : sizeof(word) - 1;
    memcpy(word, name, k);
    word[k] = 0;
    const char *close = suggest(p->u, word);
    if (close)
        return usage_fail(p, "unknown flag --%s; did you mean --%s?", word,
                          close);
    return usage_fail(p, "unknown flag --%s", word);
}

/* One "--name[=value]"; *i moves over a value in the next word. */
static bool take_flag(parsing *p, int argc, char **argv, int *i) {
    const char *name = argv[*i] + 2;
    size_t n = strcspn(name, "=");
    const char *value = name[n] ? name + n + 1 : NULL;
    bool negated;
    const hearth_flag *f = find(p, name, n, &negated);
    if (!f) return unknown(p, name, n);

    size_t at = (size_t)(f - p->u->flags);
    if (p->seen[at] && f->kind != HEARTH_FLAG_IS_LIST)
        return usage_fail(p, "--%s is given twice", f->name);
    p->seen[at] = true;
    if (f->kind == HEARTH_FLAG_IS_BOOL) {
        if (value) return usage_fail(p, "--%s takes no value", f->name);
        *(bool *)f->dst = !negated;
        return true;
    }
    if (!value && *i + 1 < argc && strncmp(argv[*i + 1], "--", 2) != 0)
        value = argv[++*i];
    if (!value)
        return usage_fail(p, "--%s needs a value: %s", f->name, f->metavar);
    const char *wrong = store(f, value);
    if (!wrong) return true;
    if (f->kind == HEARTH_FLAG_IS_CHOICE)
        return usage_fail(p, "--%s %.60s is none of %s", f->name, value,
                          f->metavar);
    if (f->kind == HEARTH_FLAG_IS_U64 && strcmp(wrong, "is out of range") == 0)
        return usage_fail(p, "--%s %.60s is not between %llu and %llu", f->name,
                          value, (unsigned long long)f->min,
                          (unsigned long long)f->max);
    if (f->kind == HEARTH_FLAG_IS_F64 && strcmp(wrong, "is out of range") == 0)
        return usage_fail(p, "--%s %.60s is not between %g and %g", f->name,
                          value, f->min_f, f->max_f);
    return usage_fail(p, "--%s %.60s %s", f->name, value, wrong);
}

static bool take_positional(parsing *p, const char *word) {
    hearth_cli_list *l = p->u->positional;
    size_t most = p->u->max_positional;
    if (most > HEARTH_CLI_LIST_MAX) most = HEARTH_CLI_LIST_MAX;
    if (!l || l->n >= most)
        return usage_fail(p, "unexpected argument '%.60s'", word);
    l->v[l->n++] = word;
    return true;
}

static bool check_required(parsing *p) {
    const char *r = p->u->required ? p->u->required : "";
    for (r += strspn(r, " "); *r; r += strspn(r, " ")) {
        size_t n = strcspn(r, " ");
        bool negated;
        const hearth_flag *f = find(p, r, n, &negated);
        if (f && !p->seen[f - p->u->flags])
            return usage_fail(p, "--%s %s is missing", f->name,
                              f->metavar ? f->metavar : "");
        r += n;
    }
    if (p->u->positional && p->u->positional->n < p->u->min_positional)
        return usage_fail(p, "usage: hearth %s %s", p->u->command,
                          p->u->arguments);
    return true;
}

static bool wants_help(int argc, char **argv) {
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

bool hearth_cli_parse(hearth_cli *cli, const hearth_usage *u, int argc,
                      char **argv, int *exit_code) {
    parsing p = {.cli = cli, .u = u, .rc = HEARTH_EXIT_OK};
    bool flags_end = false, ok = true;
    cli->command = u->command;
    *exit_code = HEARTH_EXIT_OK;
    if (wants_help(argc, argv)) {
        hearth_cli__print_help(cli, u);
        return false;
    }
    if (u->n_flags > MAX_FLAGS)
        ok = usage_fail(&p, "this command has too many flags");
    for (int i = 1; i < argc && ok; i++) {
        if (flags_end || argv[i][0] != '-' || !argv[i][1])
            ok = take_positional(&p, argv[i]);
        else if (strcmp(argv[i], "--") == 0)
            flags_end = true;
        else if (strcmp(argv[i], "--json") == 0)
            cli->json = true;
        else if (argv[i][1] != '-')
            ok = usage_fail(&p, "unknown flag %.60s; flags begin with --",
                            argv[i]);
        else
            ok = take_flag(&p, argc, argv, &i);
    }
    if (ok) ok = check_required(&p);
    *exit_code = p.rc;
    return ok;
}

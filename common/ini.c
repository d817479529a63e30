/* SPDX-License-Identifier: Apache-2.0 */
/* common/ini.c - the contract is in ini.h.
 *
 * inih cuts long lines silently and joins indented lines to the value before;
 * so the text is checked line by line first, and what inih then reports is
 * known to be whole.
 */
#include "common/ini.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include <ini.h>

#include "common/buf.h"
#include "common/bytes.h"
#include "common/file.h"
#include "common/mem.h"

typedef struct {
    char *section, *key, *value;
    unsigned line;
} ini_entry;

struct hearth_ini {
    const hearth_alloc *al;
    char *name;
    ini_entry *entry;
    size_t n, cap;
    /* only while parsing */
    const hearth_ini_key *keys;
    size_t n_keys;
    const char *text;
    size_t text_n, at; /* reader position */
    unsigned line;
    hearth_error *err;
    hearth_status failed;
};

/* ---- numbers and durations ------------------------------------------- */

hearth_status hearth_parse_i64(const char *s, int64_t *out) {
    bool neg = *s == '-';
    uint64_t v = 0, limit = (uint64_t)INT64_MAX + (neg ? 1 : 0);
    if (*s == '-' || *s == '+') s++;
    if (!*s) return HEARTH_EFORMAT;
    for (; *s; s++) {
        if (*s < '0' || *s > '9') return HEARTH_EFORMAT;
        uint64_t d = (uint64_t)(*s - '0');
        if (v > (limit - d) / 10) return HEARTH_EFORMAT;
        v = v * 10 + d;
    }
    *out = neg ? (int64_t)(0 - v) : (int64_t)v;
    return HEARTH_OK;
}

/* a * 10^e.  Correctly rounded for a < 2^53 and |e| <= 22 (both factors are
 * exact, one rounding; Clinger 1990), within a few ulp beyond. */
static double scale10(double a, int e) {
    static const double p10[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                 1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    for (; e > 22; e -= 22) a *= p10[22];
    for (; e < -22; e += 22) a /= p10[22];
    return e < 0 ? a / p10[-e] : a * p10[e];
}

hearth_status hearth_parse_f64(const char *s, double *out) {
    bool neg = *s == '-', any = false;
    uint64_t m = 0;
    int e = 0, x = 0;
    if (*s == '-' || *s == '+') s++;
    for (bool dot = false; *s; s++) {
        if (*s == '.' && !dot) {
            dot = true;
        } else if (*s >= '0' && *s <= '9') {
            any = true;
            bool room = m < UINT64_MAX / 10 - 1;
            if (room) m = m * 10 + (uint64_t)(*s - '0');
            e += (room ? 0 : 1) - (dot ? 1 : 0);
        } else
            break;
        if (e > 4096 || e < -4096) return HEARTH_EFORMAT;
    }
    if (!any) return HEARTH_EFORMAT;
    if (*s == 'e' || *s == 'E') {
        bool xneg = s[1] == '-';
        s += s[1] == '-' || s[1] == '+' ? 2 : 1;
        if (!*s) return HEARTH_EFORMAT;
        for (; *s >= '0' && *s <= '9'; s++)
            if ((x = x * 10 + (*s - '0')) > 4096) return HEARTH_EFORMAT;
        if (xneg) x = -x;
    }
    if (*s) return HEARTH_EFORMAT;
    double v = m ? scale10((double)m, e + x) : 0.0;
    if (!(v <= 1.7976931348623157e308)) return HEARTH_EFORMAT;
    *out = neg ? -v : v;
    return HEARTH_OK;
}

hearth_status hearth_parse_duration(const char *s, int64_t *out_ms) {
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {
        {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    int64_t v = 0;
    size_t i = 0;
    for (; s[i] >= '0' && s[i] <= '9'; i++) {
        if (i > 12) return HEARTH_EFORMAT;
        v = v * 10 + (s[i] - '0');
    }
    if (i == 0) return HEARTH_EFORMAT;
    for (size_t u = 0; u < sizeof(units) / sizeof(*units); u++)
        if (!strcmp(s + i, units[u].unit)) {
            if (v > INT64_MAX / units[u].ms) return HEARTH_EFORMAT;
            *out_ms = v * units[u].ms;
            return HEARTH_OK;
        }
    return HEARTH_EFORMAT;
}

/* ---- did you mean ------------------------------------------------------ */

#define WORD_MAX 32

/* Levenshtein distance; SIZE_MAX for words longer than WORD_MAX. */
static size_t edit_distance(const char *a, const char *b) {
    size_t n = strlen(a), m = strlen(b), row[WORD_MAX + 1];
    if (n > WORD_MAX || m > WORD_MAX) return SIZE_MAX;
    for (size_t j = 0; j <= m; j++) row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diag = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t up = row[j], best = diag + (a[i - 1] != b[j - 1]);
            if (up + 1 < best) best = up + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            diag = up;
            row[j] = best;
        }
    }
    return row[m];
}

const char *hearth_did_you_mean(const char *word, const char *const *list,
                                size_t n) {
    size_t near = strlen(word) / 3 + 1;
    const char *found = NULL;
    for (size_t i = 0; i < n; i++) {
        size_t d = edit_distance(word, list[i]);
        if (d <= near) {
            near = d ? d - 1 : 0;
            found = list[i];
            if (!d) break;
        }
    }
    return found;
}

/* ---- what is allowed ---------------------------------------------------- */

static bool section_matches(const char *allowed, const char *section) {
    size_t n = strlen(allowed);
    if (n >= 2 && !strcmp(allowed + n - 2, ".*"))
        return !strncmp(allowed, section, n - 1) && section[n - 1] != '\0';
    return !strcmp(allowed, section);
}

/* Nearest allowed section (key NULL) or key of that section. */
static const char *suggest(const hearth_ini *ini, const char *section,
                           const char *key) {
    const char *list[128];
    size_t n = 0;
    for (size_t i = 0; i < ini->n_keys && n < 128; i++)
        if (!key)
            list[n++] = ini->keys[i].section;
        else if (section_matches(ini->keys[i].section, section))
            list[n++] = ini->keys[i].key;
    return hearth_did_you_mean(key ? key : section, list, n);
}

static hearth_status check_known(hearth_ini *ini, const char *section,
                                 const char *key, unsigned line) {
    bool known_section = false;
    for (size_t i = 0; i < ini->n_keys; i++) {
        if (!section_matches(ini->keys[i].section, section)) continue;
        known_section = true;
        if (!strcmp(ini->keys[i].key, "*") || !strcmp(ini->keys[i].key, key))
            return HEARTH_OK;
    }
    const char *what = known_section ? "key" : "section";
    const char *bad = known_section ? key : section;
    const char *guess = suggest(ini, section, known_section ? key : NULL);
    if (guess)
        return hearth_error_set(ini->err, HEARTH_EFORMAT,
                                "%s:%u: unknown %s '%.40s'; did you mean '%s'?",
                                ini->name, line, what, bad, guess);
    return hearth_error_set(ini->err, HEARTH_EFORMAT,
                            "%s:%u: unknown %s '%.40s'; remove it", ini->name,
                            line, what, bad);
}

/* ---- parsing ------------------------------------------------------------ */

static const ini_entry *find(const hearth_ini *ini, const char *section,
                             const char *key) {
    for (size_t i = 0; i < ini->n; i++)
        if (!strcmp(ini->entry[i].section, section) &&
            !strcmp(ini->entry[i].key, key))
            return &ini->entry[i];
    return NULL;
}

static hearth_status add_entry(hearth_ini *ini, const char *section,
                               const char *key, const char *value) {
    const ini_entry *old = find(ini, section, key);
    if (old)
        return hearth_error_set(
            ini->err, HEARTH_EFORMAT,
            "%s:%u: key '%.40s' stands on line %u already; keep one", ini->name,
            ini->line, key, old->line);
    hearth_status st = check_known(ini, section, key, ini->line);
    if (st != HEARTH_OK) return st;
    if (ini->n == ini->cap) {
        size_t cap = ini->cap ? ini->cap * 2 : 32;
        ini_entry *e = hearth_mem_resize(ini->al, ini->entry, cap, sizeof(*e));
        if (!e) return HEARTH_ENOMEM;
        ini->entry = e;
        ini->cap = cap;
    }
    ini_entry *e = &ini->entry[ini->n];
    e->section = hearth_mem_strdup(ini->al, section);
    e->key = hearth_mem_strdup(ini->al, key);
    e->value = hearth_mem_strdup(ini->al, value);
    e->line = ini->line;
    ini->n++;
    return e->section && e->key && e->value ? HEARTH_OK : HEARTH_ENOMEM;
}

static int on_entry(void *ud, const char *section, const char *key,
                    const char *value) {
    hearth_ini *ini = ud;
    if (ini->failed != HEARTH_OK) return 0; /* inih goes on after a failure */
    ini->failed = add_entry(ini, section, key, value);
    return ini->failed == HEARTH_OK;
}

/* One line for inih, whole: check_lines has bounded its length. */
static char *next_line(char *out, int cap, void *ud) {
    hearth_ini *ini = ud;
    if (ini->at >= ini->text_n || cap < 2) return NULL;
    size_t n = 0;
    ini->line++;
    while (ini->at < ini->text_n && n + 1 < (size_t)cap) {
        char c = ini->text[ini->at++];
        if (c != '\r') out[n++] = c;
        if (c == '\n') break;
    }
    out[n] = '\0';
    return out;
}

/* inih's buffer (INI_MAX_LINE) is 200 bytes in Debian's build: it would cut a
 * longer line and report the rest as an error or lose it. */
#define INIH_LINE ((size_t)197)

/* Split what is too long for inih ourselves: refuse instead of losing. */
static hearth_status check_lines(hearth_ini *ini) {
    unsigned line = 1;
    size_t start = 0;
    for (size_t i = 0; i <= ini->text_n; i++) {
        if (i < ini->text_n && ini->text[i] == '\0')
            return hearth_error_set(ini->err, HEARTH_EFORMAT,
                                    "%s:%u: a NUL byte; save it as text",
                                    ini->name, line);
        if (i < ini->text_n && ini->text[i] != '\n') continue;
        size_t n = i - start;
        const char *s = ini->text + start;
        size_t lead = 0;
        while (lead < n && (s[lead] == ' ' || s[lead] == '\t')) lead++;
        bool comment = lead < n && (s[lead] == ';' || s[lead] == '#');
        if (n > INIH_LINE && !comment)
            return hearth_error_set(
                ini->err, HEARTH_EFORMAT,
                "%s:%u: line of %zu bytes is too long; at most %zu", ini->name,
                line, n, INIH_LINE);
        if (n > HEARTH_INI_MAX_LINE)
            return hearth_error_set(ini->err, HEARTH_ETOOBIG,
                                    "%s:%u: comment is too long; at most %zu",
                                    ini->name, line, HEARTH_INI_MAX_LINE);
        if (lead && lead < n && !comment && s[lead] != '\r')
            return hearth_error_set(
                ini->err, HEARTH_EFORMAT,
                "%s:%u: line starts with a space; put it at the margin",
                ini->name, line);
        start = i + 1;
        line++;
    }
    return HEARTH_OK;
}

/* Long comments would upset inih: blank them in a copy of the text. */
static void blank_comments(char *text, size_t n) {
    bool at_margin = true, comment = false;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (c == '\n') {
            at_margin = true;
            comment = false;
            continue;
        }
        if (at_margin && (c == ';' || c == '#')) comment = true;
        if (c != ' ' && c != '\t') at_margin = false;
        if (comment) text[i] = ' ';
    }
}

static hearth_status run_inih(hearth_ini *ini) {
    char *copy = hearth_mem_strndup(ini->al, ini->text, ini->text_n);
    if (!copy) return HEARTH_ENOMEM;
    blank_comments(copy, ini->text_n);
    ini->text = copy;
    int rc = ini_parse_stream(next_line, ini, on_entry, ini);
    hearth_mem_free(ini->al, copy);
    ini->text = NULL;
    if (ini->failed != HEARTH_OK) return ini->failed;
    if (rc > 0)
        return hearth_error_set(
            ini->err, HEARTH_EFORMAT,
            "%s:%d: not 'key = value' or '[section]'; mend the line", ini->name,
            rc);
    return rc < 0 ? HEARTH_ENOMEM : HEARTH_OK;
}

hearth_status hearth_ini_parse(hearth_ini **out, const char *name,
                               const char *text, size_t n,
                               const hearth_ini_key *keys, size_t n_keys,
                               const hearth_alloc *al, hearth_error *err) {
    *out = NULL;
    if (n > HEARTH_INI_MAX_BYTES)
        return hearth_error_set(err, HEARTH_ETOOBIG,
                                "%s: larger than %zu bytes", name,
                                HEARTH_INI_MAX_BYTES);
    if (!hearth_utf8_valid(text, n))
        return hearth_error_set(err, HEARTH_EFORMAT,
                                "%s: not UTF-8; save it as UTF-8", name);
    hearth_ini *ini = hearth_mem_new(al, sizeof(*ini));
    if (!ini) return hearth_error_set(err, HEARTH_ENOMEM, "out of memory");
    ini->al = al;
    ini->name = hearth_mem_strdup(al, name);
    ini->keys = keys;
    ini->n_keys = n_keys;
    ini->text = text;
    ini->text_n = n;
    ini->err = err;
    hearth_status st = ini->name ? check_lines(ini) : HEARTH_ENOMEM;
    if (st == HEARTH_OK) st = run_inih(ini);
    if (st == HEARTH_ENOMEM) hearth_error_set(err, st, "out of memory");
    ini->err = NULL;
    if (st != HEARTH_OK) {
        hearth_ini_free(ini);
        return st;
    }
    *out = ini;
    return HEARTH_OK;
}

hearth_status hearth_ini_load(hearth_ini **out, const char *path,
                              const hearth_ini_key *keys, size_t n_keys,
                              const hearth_alloc *al, hearth_error *err) {
    hearth_buf b = HEARTH_BUF_INIT(al);
    *out = NULL;
    hearth_status st = hearth_file_read(&b, path, HEARTH_INI_MAX_BYTES, err);
    if (st == HEARTH_OK)
        st = hearth_ini_parse(out, path, hearth_buf_str(&b), b.n, keys, n_keys,
                              al, err);
    hearth_buf_free(&b);
    return st;
}

void hearth_ini_free(hearth_ini *ini) {
    if (!ini) return;
    for (size_t i = 0; i < ini->n; i++) {
        hearth_mem_free(ini->al, ini->entry[i].section);
        hearth_mem_free(ini->al, ini->entry[i].key);
        hearth_mem_free(ini->al, ini->entry[i].value);
    }
    hearth_mem_free(ini->al, ini->entry);
    hearth_mem_free(ini->al, ini->name);
    hearth_mem_free(ini->al, ini);
}

/* ---- reading ------------------------------------------------------------ */

const char *hearth_ini_get(const hearth_ini *ini, const char *section,
                           const char *key) {
    const ini_entry *e = find(ini, section, key);
    return e ? e->value : NULL;
}

unsigned hearth_ini_line(const hearth_ini *ini, const char *section,
                         const char *key) {
    const ini_entry *e = find(ini, section, key);
    return e ? e->line : 0;
}

static hearth_status missing(const hearth_ini *ini, const char *section,
                             const char *key, hearth_error *err) {
    return hearth_error_set(err, HEARTH_ENOTFOUND,
                            "%s: '%s' is missing in [%s]; add it", ini->name,
                            key, section);
}

static hearth_status bad_value(const hearth_ini *ini, const ini_entry *e,
                               hearth_error *err, const char *want) {
    return hearth_error_set(err, HEARTH_EFORMAT, "%s:%u: %s = %.40s: want %s",
                            ini->name, e->line, e->key, e->value, want);
}

hearth_status hearth_ini_get_str(const hearth_ini *ini, const char *section,
                                 const char *key, const char *fallback,
                                 const char **out, hearth_error *err) {
    const char *v = hearth_ini_get(ini, section, key);
    if (!v && !fallback) return missing(ini, section, key, err);
    *out = v ? v : fallback;
    return HEARTH_OK;
}

hearth_status hearth_ini_get_i64(const hearth_ini *ini, const char *section,
                                 const char *key, int64_t min, int64_t max,
                                 const int64_t *fallback, int64_t *out,
                                 hearth_error *err) {
    const ini_entry *e = find(ini, section, key);
    char want[96];
    int64_t v;
    if (!e && !fallback) return missing(ini, section, key, err);
    if (!e) {
        *out = *fallback;
        return HEARTH_OK;
    }
    snprintf(want, sizeof(want), "a whole number from %lld to %lld",
             (long long)min, (long long)max);
    if (hearth_parse_i64(e->value, &v) != HEARTH_OK || v < min || v > max)
        return bad_value(ini, e, err, want);
    *out = v;
    return HEARTH_OK;
}

hearth_status hearth_ini_get_f64(const hearth_ini *ini, const char *section,
                                 const char *key, double min, double max,
                                 const double *fallback, double *out,
                                 hearth_error *err) {
    const ini_entry *e = find(ini, section, key);
    char want[96];
    double v;
    if (!e && !fallback) return missing(ini, section, key, err);
    if (!e) {
        *out = *fallback;
        return HEARTH_OK;
    }
    snprintf(want, sizeof(want), "a number from %g to %g", min, max);
    if (hearth_parse_f64(e->value, &v) != HEARTH_OK || v < min || v > max)
        return bad_value(ini, e, err, want);
    *out = v;
    return HEARTH_OK;
}

hearth_status hearth_ini_get_bool(const hearth_ini *ini, const char *section,
                                  const char *key, const bool *fallback,
                                  bool *out, hearth_error *err) {
    static const char *const yes[] = {"yes", "true", "on", "1"};
    static const char *const no[] = {"no", "false", "off", "0"};
    const ini_entry *e = find(ini, section, key);
    if (!e && !fallback) return missing(ini, section, key, err);
    if (!e) {
        *out = *fallback;
        return HEARTH_OK;
    }
    for (size_t i = 0; i < 4; i++) {
        if (!strcmp(e->value, yes[i])) return *out = true, HEARTH_OK;
        if (!strcmp(e->value, no[i])) return *out = false, HEARTH_OK;
    }
    return bad_value(ini, e, err, "yes or no");
}

hearth_status hearth_ini_get_duration(const hearth_ini *ini,
                                      const char *section, const char *key,
                                      const int64_t *fallback, int64_t *out_ms,
                                      hearth_error *err) {
    const ini_entry *e = find(ini, section, key);
    if (!e && !fallback) return missing(ini, section, key, err);
    if (!e) {
        *out_ms = *fallback;
        return HEARTH_OK;
    }
    if (hearth_parse_duration(e->value, out_ms) != HEARTH_OK)
        return bad_value(ini, e, err,
                         "a duration such as 500ms, 60s, 10m, 24h");
    return HEARTH_OK;
}

size_t hearth_ini_size(const hearth_ini *ini) {
    return ini->n;
}

void hearth_ini_at(const hearth_ini *ini, size_t i, const char **section,
                   const char **key, const char **value, unsigned *line) {
    *section = ini->entry[i].section;
    *key = ini->entry[i].key;
    *value = ini->entry[i].value;
    *line = ini->entry[i].line;
}

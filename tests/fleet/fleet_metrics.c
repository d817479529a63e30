/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_metrics.c - rows are written by hand and read back through
 * common/json, a line at a time; one table of fields serves both ways, so that
 * what is written can be read. */
#include "tests/fleet/fleet_metrics.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "common/file.h"
#include "common/json.h"
#include "common/mem.h"

static const char *const SPLITS[] = {"holdout", "unseen", "valid"};
static const char *const METHODS[] = {"base", "local", "central", "control",
                                      "federated"};

const char *hearth_fleet_split_name(hearth_fleet_split s) {
    return (unsigned)s < HEARTH_FLEET_N_SPLITS ? SPLITS[s] : "?";
}

const char *hearth_fleet_method_name(hearth_fleet_method m) {
    return (unsigned)m < HEARTH_FLEET_N_METHODS ? METHODS[m] : "?";
}

/* ---- fields ---- */

/* OPTIONAL: a positive number, or absent (0, infinite); never in CSV. */
typedef enum { U64, F64, OPTIONAL, SPLIT, METHOD, TEXT } field_kind;

typedef struct {
    const char *name;
    field_kind kind;
    size_t offset;
} field;

#define AT(type, member) offsetof(type, member)
static const field METRIC[] = {
    {"seed", U64, AT(hearth_fleet_metric, seed)},
    {"round", U64, AT(hearth_fleet_metric, round)},
    {"split", SPLIT, AT(hearth_fleet_metric, split)},
    {"loss", F64, AT(hearth_fleet_metric, loss)},
    {"loss_p10", F64, AT(hearth_fleet_metric, loss_p10)},
    {"loss_p90", F64, AT(hearth_fleet_metric, loss_p90)},
    {"devices_invited", U64, AT(hearth_fleet_metric, devices_invited)},
    {"devices_accepted", U64, AT(hearth_fleet_metric, devices_accepted)},
    {"devices_late", U64, AT(hearth_fleet_metric, devices_late)},
    {"devices_failed", U64, AT(hearth_fleet_metric, devices_failed)},
    {"bytes_up", U64, AT(hearth_fleet_metric, bytes_up)},
    {"bytes_down", U64, AT(hearth_fleet_metric, bytes_down)},
    {"virtual_seconds", F64, AT(hearth_fleet_metric, virtual_seconds)},
    {"wall_seconds", F64, AT(hearth_fleet_metric, wall_seconds)},
    {"clip_fraction", F64, AT(hearth_fleet_metric, clip_fraction)},
    {"noise_to_signal", F64, AT(hearth_fleet_metric, noise_to_signal)},
    {"epsilon_coordinator", F64, AT(hearth_fleet_metric, epsilon_coordinator)},
    {"epsilon_release", F64, AT(hearth_fleet_metric, epsilon_release)},
    {"epsilon_release_devices", OPTIONAL,
     AT(hearth_fleet_metric, epsilon_release_devices)},
    {"epsilon_release_server", OPTIONAL,
     AT(hearth_fleet_metric, epsilon_release_server)},
    {"noise_to_signal_server", OPTIONAL,
     AT(hearth_fleet_metric, noise_to_signal_server)},
};
static const field DEVICE[] = {
    {"seed", U64, AT(hearth_fleet_device_row, seed)},
    {"round", U64, AT(hearth_fleet_device_row, round)},
    {"split", SPLIT, AT(hearth_fleet_device_row, split)},
    {"device", TEXT, AT(hearth_fleet_device_row, device)},
    {"loss", F64, AT(hearth_fleet_device_row, loss)},
    {"tokens", U64, AT(hearth_fleet_device_row, tokens)},
};
static const field BASELINE[] = {
    {"seed", U64, AT(hearth_fleet_baseline_row, seed)},
    {"method", METHOD, AT(hearth_fleet_baseline_row, method)},
    {"split", SPLIT, AT(hearth_fleet_baseline_row, split)},
    {"step", U64, AT(hearth_fleet_baseline_row, step)},
    {"loss", F64, AT(hearth_fleet_baseline_row, loss)},
    {"loss_p10", F64, AT(hearth_fleet_baseline_row, loss_p10)},
    {"loss_p90", F64, AT(hearth_fleet_baseline_row, loss_p90)},
};
static const field BASELINE_DEVICE[] = {
    {"seed", U64, AT(hearth_fleet_baseline_device, seed)},
    {"method", METHOD, AT(hearth_fleet_baseline_device, method)},
    {"split", SPLIT, AT(hearth_fleet_baseline_device, split)},
    {"device", TEXT, AT(hearth_fleet_baseline_device, device)},
    {"loss", F64, AT(hearth_fleet_baseline_device, loss)},
    {"tokens", U64, AT(hearth_fleet_baseline_device, tokens)},
};
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define TEXT_CAP 64 /* of every TEXT field */

/* ---- writing ---- */

/* Does this row lack the field? */
static bool absent(const field *f, const void *row) {
    double x;
    if (f->kind != OPTIONAL) return false;
    memcpy(&x, (const char *)row + f->offset, sizeof(x));
    return !(x > 0.0 && isfinite(x));
}

static void put_value(hearth_buf *b, const field *f, const void *row,
                      const char *null, const char *quote) {
    const char *at = (const char *)row + f->offset;
    double x;
    uint64_t u;
    switch (f->kind) {
    case U64:
        memcpy(&u, at, sizeof(u));
        (void)hearth_buf_printf(b, "%llu", (unsigned long long)u);
        break;
    case OPTIONAL:
    case F64:
        memcpy(&x, at, sizeof(x));
        if (isfinite(x))
            (void)hearth_buf_printf(b, "%.9g", x);
        else
            (void)hearth_buf_puts(b, null);
        break;
    case SPLIT: {
        hearth_fleet_split s;
        memcpy(&s, at, sizeof(s));
        (void)hearth_buf_printf(b, "%s%s%s", quote, hearth_fleet_split_name(s),
                                quote);
        break;
    }
    case METHOD: {
        hearth_fleet_method m;
        memcpy(&m, at, sizeof(m));
        (void)hearth_buf_printf(b, "%s%s%s", quote, hearth_fleet_method_name(m),
                                quote);
        break;
    }
    case TEXT: (void)hearth_buf_json_string(b, at, strlen(at)); break;
    }
}

static hearth_status put_json(hearth_buf *b, const field *f, size_t n,
                              const void *row) {
    for (size_t i = 0; i < n; i++) {
        if (absent(&f[i], row)) continue;
        (void)hearth_buf_printf(b, "%s\"%s\":", i ? "," : "{", f[i].name);
        put_value(b, &f[i], row, "null", "\"");
    }
    (void)hearth_buf_puts(b, "}\n");
    return b->failed ? HEARTH_ENOMEM : HEARTH_OK;
}

hearth_status hearth_fleet_metric_json(hearth_buf *b,
                                       const hearth_fleet_metric *m) {
    return put_json(b, METRIC, COUNT(METRIC), m);
}

hearth_status hearth_fleet_metric_csv(hearth_buf *b,
                                      const hearth_fleet_metric *m) {
    for (size_t i = 0; i < COUNT(METRIC); i++) {
        if (METRIC[i].kind == OPTIONAL) continue;
        if (i) (void)hearth_buf_putc(b, ',');
        put_value(b, &METRIC[i], m, "", "");
    }
    (void)hearth_buf_putc(b, '\n');
    return b->failed ? HEARTH_ENOMEM : HEARTH_OK;
}

hearth_status hearth_fleet_metric_csv_header(hearth_buf *b) {
    for (size_t i = 0; i < COUNT(METRIC); i++)
        if (METRIC[i].kind != OPTIONAL)
            (void)hearth_buf_printf(b, "%s%s", i ? "," : "", METRIC[i].name);
    (void)hearth_buf_putc(b, '\n');
    return b->failed ? HEARTH_ENOMEM : HEARTH_OK;
}

hearth_status hearth_fleet_device_json(hearth_buf *b,
                                       const hearth_fleet_device_row *r) {
    return put_json(b, DEVICE, COUNT(DEVICE), r);
}

hearth_status hearth_fleet_baseline_json(hearth_buf *b,
                                         const hearth_fleet_baseline_row *r) {
    return put_json(b, BASELINE, COUNT(BASELINE), r);
}

hearth_status
hearth_fleet_baseline_device_json(hearth_buf *b,
                                  const hearth_fleet_baseline_device *r) {
    return put_json(b, BASELINE_DEVICE, COUNT(BASELINE_DEVICE), r);
}

/* ---- reading ---- */

/* Index of text in list, or n. */
static size_t index_of(const char *text, const char *const *list, size_t n) {
    size_t i = 0;
    while (i < n && strcmp(text, list[i]) != 0) i++;
    return i;
}

static bool take_value(const field *f, const hearth_json_value *v, char *at) {
    const char *text;
    double x = (double)NAN;
    int64_t u;
    switch (f->kind) {
    case U64:
        if (hearth_json_i64(v, &u) != HEARTH_OK || u < 0) return false;
        memcpy(at, &(uint64_t){(uint64_t)u}, sizeof(uint64_t));
        return true;
    case OPTIONAL:
        if (!v) return true; /* the row is zeros */
        if (hearth_json_f64(v, &x) != HEARTH_OK) return false;
        memcpy(at, &x, sizeof(x));
        return true;
    case F64:
        if (hearth_json_type_of(v) != HEARTH_JSON_NULL &&
            hearth_json_f64(v, &x) != HEARTH_OK)
            return false;
        memcpy(at, &x, sizeof(x));
        return true;
    case SPLIT: {
        if (hearth_json_str(v, &text) != HEARTH_OK) return false;
        size_t i = index_of(text, SPLITS, HEARTH_FLEET_N_SPLITS);
        hearth_fleet_split s = (hearth_fleet_split)i;
        memcpy(at, &s, sizeof(s));
        return i < HEARTH_FLEET_N_SPLITS;
    }
    case METHOD: {
        if (hearth_json_str(v, &text) != HEARTH_OK) return false;
        size_t i = index_of(text, METHODS, HEARTH_FLEET_N_METHODS);
        hearth_fleet_method m = (hearth_fleet_method)i;
        memcpy(at, &m, sizeof(m));
        return i < HEARTH_FLEET_N_METHODS;
    }
    case TEXT: {
        if (hearth_json_str(v, &text) != HEARTH_OK) return false;
        size_t n = strlen(text);
        if (n >= TEXT_CAP) return false;
        memcpy(at, text, n + 1);
        return true;
    }
    }
    return false;
}

/* A table of rows that grows. */
typedef struct {
    const field *f;
    size_t n_fields, row_bytes;
    char *rows;
    size_t n, cap;
} table;

static hearth_status table_room(table *t, const hearth_alloc *al,
                                const char *path, hearth_error *err) {
    if (t->n == HEARTH_FLEET_MAX_ROWS)
        return hearth_error_set(err, HEARTH_ETOOBIG,
                                "%s: too many rows; use a smaller run", path);
    if (t->n < t->cap) return HEARTH_OK;
    size_t cap = t->cap ? t->cap * 2 : 64;
    char *rows = hearth_mem_resize(al, t->rows, cap, t->row_bytes);
    if (!rows)
        return hearth_error_set(err, HEARTH_ENOMEM,
                                "%s: out of memory; use a smaller run", path);
    t->rows = rows;
    t->cap = cap;
    return HEARTH_OK;
}

static hearth_status take_line(table *t, const char *path, size_t line,
                               const char *s, size_t n, const hearth_alloc *al,
                               hearth_error *err) {
    hearth_json *j = NULL;
    hearth_status st = table_room(t, al, path, err);
    if (st != HEARTH_OK) return st;
    st = hearth_json_parse(&j, path, s, n, al, err);
    if (st == HEARTH_ENOMEM) return st;
    if (st != HEARTH_OK)
        return hearth_error_set(err, HEARTH_EFORMAT,
                                "%s:%zu: not a JSON object; run it again", path,
                                line);
    char *row = t->rows + t->n * t->row_bytes;
    memset(row, 0, t->row_bytes);
    for (size_t i = 0; i < t->n_fields && st == HEARTH_OK; i++)
        if (!take_value(&t->f[i],
                        hearth_json_get(hearth_json_root(j), t->f[i].name),
                        row + t->f[i].offset))
            st = hearth_error_set(err, HEARTH_EFORMAT,
                                  "%s:%zu: field '%s' is missing or of another "
                                  "type; run it again",
                                  path, line, t->f[i].name);
    hearth_json_free(j);
    t->n += st == HEARTH_OK;
    return st;
}

static hearth_status take_file(table *t, const char *dir, const char *name,
                               bool required, const hearth_alloc *al,
                               hearth_error *err) {
    char path[1024];
    hearth_file f = HEARTH_FILE_INIT;
    hearth_status st = hearth_file_join(path, sizeof(path), dir, name);
    if (st != HEARTH_OK)
        return hearth_error_set(err, st, "%s: too long a path; move it", dir);
    if (!required && !hearth_file_exists(path)) return HEARTH_OK;
    if ((st = hearth_file_map(&f, path, err)) != HEARTH_OK) return st;
    const char *s = (const char *)f.v;
    size_t at = 0;
    for (size_t line = 1; at < f.n && st == HEARTH_OK; line++) {
        const char *end = memchr(s + at, '\n', f.n - at);
        size_t n = (end ? (size_t)(end - s) : f.n) - at;
        if (n) st = take_line(t, path, line, s + at, n, al, err);
        at += n + 1;
    }
    hearth_file_unmap(&f);
    return st;
}

hearth_status hearth_fleet_results_load(hearth_fleet_results *out,
                                        const char *dir, const hearth_alloc *al,
                                        hearth_error *err) {
    table m = {METRIC, COUNT(METRIC), sizeof(hearth_fleet_metric), 0, 0, 0};
    table d = {DEVICE, COUNT(DEVICE), sizeof(hearth_fleet_device_row), 0, 0, 0};
    table b = {
        BASELINE, COUNT(BASELINE), sizeof(hearth_fleet_baseline_row), 0, 0, 0};
    table e = {BASELINE_DEVICE,
               COUNT(BASELINE_DEVICE),
               sizeof(hearth_fleet_baseline_device),
               0,
               0,
               0};
    hearth_status st;
    *out = (hearth_fleet_results){0};
    out->al = al;
    st = take_file(&m, dir, "metrics.jsonl", true, al, err);
    if (st == HEARTH_OK)
        st = take_file(&d, dir, "devices.jsonl", false, al, err);
    if (st == HEARTH_OK)
        st = take_file(&b, dir, "baselines.jsonl", false, al, err);
    if (st == HEARTH_OK)
        st = take_file(&e, dir, "baseline_devices.jsonl", false, al, err);
    out->metric = (hearth_fleet_metric *)(void *)m.rows;
    out->n_metrics = m.n;
    out->device = (hearth_fleet_device_row *)(void *)d.rows;
    out->n_devices = d.n;
    out->baseline = (hearth_fleet_baseline_row *)(void *)b.rows;
    out->n_baselines = b.n;
    out->baseline_device = (hearth_fleet_baseline_device *)(void *)e.rows;
    out->n_baseline_devices = e.n;
    if (st != HEARTH_OK) hearth_fleet_results_free(out);
    return st;
}

void hearth_fleet_results_free(hearth_fleet_results *r) {
    if (!r) return;
    hearth_mem_free(r->al, r->metric);
    hearth_mem_free(r->al, r->device);
    hearth_mem_free(r->al, r->baseline);
    hearth_mem_free(r->al, r->baseline_device);
    *r = (hearth_fleet_results){0};
}

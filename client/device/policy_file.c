/* SPDX-License-Identifier: Apache-2.0 */
/* client/device/policy_file.c - the contract is in policy_file.h. */
#include "client/device/policy_file.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/file.h"
#include "common/ini.h"
#include "proto/limits.h"

static const char SECTION[] = "policy";

static const hearth_ini_key KEYS[] = {
    {"policy", "cohort_min"},     {"policy", "noise_min"},
    {"policy", "dimension_max"},  {"policy", "noise_to_signal_max"},
    {"policy", "need_unmetered"}, {"policy", "need_charging"},
    {"policy", "battery_min"},    {"policy", "temperature_max"},
    {"policy", "delta"},          {"policy", "epsilon_task"},
    {"policy", "epsilon_window"}, {"policy", "epsilon_lifetime"},
    {"policy", "spacing"},        {"policy", "participations"},
};

static hearth_status get_f64(const hearth_ini *ini, const char *key, double min,
                             double max, double *v, hearth_error *err) {
    double fallback = *v;
    return hearth_ini_get_f64(ini, SECTION, key, min, max, &fallback, v, err);
}

static hearth_status get_u32(const hearth_ini *ini, const char *key,
                             int64_t min, int64_t max, uint32_t *v,
                             hearth_error *err) {
    int64_t fallback = *v, got = 0;
    hearth_status st =
        hearth_ini_get_i64(ini, SECTION, key, min, max, &fallback, &got, err);
    if (st == HEARTH_OK) *v = (uint32_t)got;
    return st;
}

/* One that may only be tightened: at least (most) its default. */
static hearth_status get_tight(const hearth_ini *ini, const char *key,
                               bool at_least, double *v, hearth_error *err) {
    double wall = *v;
    hearth_status st = get_f64(ini, key, 1e-9, 1e9, v, err);
    if (st == HEARTH_OK && (at_least ? *v < wall : *v > wall))
        st = hearth_error_set(err, HEARTH_EREFUSED,
                              "policy line %u: %s may only be tightened from "
                              "%.6g; remove the line",
                              hearth_ini_line(ini, SECTION, key), key, wall);
    return st;
}

static hearth_status read_terms(hearth_policy *p, const hearth_ini *ini,
                                hearth_error *err) {
    int64_t dim = (int64_t)p->dimension_max, fallback = dim;
    hearth_status st = get_u32(ini, "cohort_min", 1, HEARTH_PROTO_MAX_COHORT,
                               &p->cohort_min, err);
    if (st == HEARTH_OK)
        st = get_tight(ini, "noise_min", true, &p->noise_min, err);
    if (st == HEARTH_OK)
        st = hearth_ini_get_i64(ini, SECTION, "dimension_max", 1,
                                (int64_t)HEARTH_PROTO_MAX_DIM, &fallback, &dim,
                                err);
    if (st == HEARTH_OK)
        st = get_f64(ini, "noise_to_signal_max", 1e-6, 1e6,
                     &p->noise_to_signal_max, err);
    p->dimension_max = (uint64_t)dim;
    return st;
}

static hearth_status read_conditions(hearth_policy *p, const hearth_ini *ini,
                                     hearth_error *err) {
    bool unmetered = p->need_unmetered, charging = p->need_charging;
    hearth_status st = hearth_ini_get_bool(ini, SECTION, "need_unmetered",
                                           &unmetered, &p->need_unmetered, err);
    if (st == HEARTH_OK)
        st = hearth_ini_get_bool(ini, SECTION, "need_charging", &charging,
                                 &p->need_charging, err);
    if (st == HEARTH_OK)
        st = get_f64(ini, "battery_min", 0, 100, &p->battery_min, err);
    if (st == HEARTH_OK)
        st = get_f64(ini, "temperature_max", 0, 120, &p->temperature_max, err);
    return st;
}

static hearth_status read_ledger(hearth_ledger_rules *r, const hearth_ini *ini,
                                 hearth_error *err) {
    int64_t spacing = r->spacing_ms;
    hearth_status st = get_f64(ini, "delta", 1e-30,
                               HEARTH_POLICY_FILE_MAX_DELTA, &r->delta, err);
    if (st == HEARTH_OK)
        st = get_tight(ini, "epsilon_task", false, &r->epsilon_task, err);
    if (st == HEARTH_OK)
        st = get_tight(ini, "epsilon_window", false, &r->epsilon_window, err);
    if (st == HEARTH_OK)
        st = get_tight(ini, "epsilon_lifetime", false, &r->epsilon_lifetime,
                       err);
    if (st == HEARTH_OK)
        st = hearth_ini_get_duration(ini, SECTION, "spacing", &spacing,
                                     &r->spacing_ms, err);
    if (st == HEARTH_OK)
        st = get_u32(ini, "participations", 1, HEARTH_PROTO_MAX_ROUNDS,
                     &r->n_participations, err);
    return st;
}

static hearth_status take(hearth_policy *out, hearth_ini *ini,
                          hearth_error *err) {
    hearth_policy p = *out;
    hearth_status st = read_terms(&p, ini, err);
    if (st == HEARTH_OK) st = read_conditions(&p, ini, err);
    if (st == HEARTH_OK) st = read_ledger(&p.ledger, ini, err);
    if (st == HEARTH_OK) *out = p;
    hearth_ini_free(ini);
    return st;
}

hearth_status hearth_policy_file_read(hearth_policy *out, const char *path,
                                      hearth_error *err) {
    hearth_ini *ini = NULL;
    if (!out) return HEARTH_EINVAL;
    hearth_policy_defaults(out);
    if (!path) return HEARTH_EINVAL;
    hearth_status st = hearth_ini_load(
        &ini, path, KEYS, sizeof(KEYS) / sizeof(KEYS[0]), NULL, err);
    return st == HEARTH_OK ? take(out, ini, err) : st;
}

hearth_status hearth_policy_file_of_state(hearth_policy *out, const char *dir,
                                          hearth_error *err) {
    char path[1100];
    if (!out) return HEARTH_EINVAL;
    hearth_policy_defaults(out);
    if (!dir) return HEARTH_EINVAL;
    hearth_status st = hearth_file_join(path, sizeof(path), dir, "policy.ini");
    if (st != HEARTH_OK || !hearth_file_exists(path)) return st;
    return hearth_policy_file_read(out, path, err);
}

hearth_status hearth_policy_file_parse(hearth_policy *out, const char *text,
                                       size_t n, const char *name,
                                       hearth_error *err) {
    hearth_ini *ini = NULL;
    if (!out) return HEARTH_EINVAL;
    hearth_policy_defaults(out);
    if ((!text && n) || !name) return HEARTH_EINVAL;
    hearth_status st = hearth_ini_parse(
        &ini, name, text, n, KEYS, sizeof(KEYS) / sizeof(KEYS[0]), NULL, err);
    return st == HEARTH_OK ? take(out, ini, err) : st;
}

/* ---- what was loosened ---- */

typedef struct {
    size_t skip; /* lines to pass over */
    bool found;
    char *text;
    size_t n;
} listing;

static void line(listing *l, bool loosened, const char *fmt, ...)
    HEARTH_PRINTF(3, 4);
static void line(listing *l, bool loosened, const char *fmt, ...) {
    if (!loosened || l->found) return;
    if (l->skip) {
        l->skip--;
        return;
    }
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(l->text, l->n, fmt, ap);
    va_end(ap);
    if (n < 0 && l->n) l->text[0] = 0;
    l->found = true;
}

static void list_ledger(listing *l, const hearth_ledger_rules *p,
                        const hearth_ledger_rules *d) {
    line(l, p->delta > d->delta, "delta %.3g instead of %.3g", p->delta,
         d->delta);
    line(l, p->spacing_ms < d->spacing_ms, "spacing %.6g h instead of %.6g h",
         (double)p->spacing_ms / 3.6e6, (double)d->spacing_ms / 3.6e6);
    line(l, p->n_participations > d->n_participations,
         "participations %lu instead of %lu",
         (unsigned long)p->n_participations,
         (unsigned long)d->n_participations);
    line(l, p->epsilon_task > d->epsilon_task,
         "epsilon_task %.6g instead of %.6g", p->epsilon_task, d->epsilon_task);
    line(l, p->epsilon_window > d->epsilon_window,
         "epsilon_window %.6g instead of %.6g", p->epsilon_window,
         d->epsilon_window);
    line(l, p->epsilon_lifetime > d->epsilon_lifetime,
         "epsilon_lifetime %.6g instead of %.6g", p->epsilon_lifetime,
         d->epsilon_lifetime);
}

bool hearth_policy_file_loosened(const hearth_policy *p, size_t k, char *text,
                                 size_t n) {
    hearth_policy d;
    listing l = {.skip = k, .text = text, .n = n};
    hearth_policy_defaults(&d);
    line(&l, p->cohort_min < d.cohort_min, "cohort_min %lu instead of %lu",
         (unsigned long)p->cohort_min, (unsigned long)d.cohort_min);
    line(&l, p->noise_min < d.noise_min, "noise_min %.6g instead of %.6g",
         p->noise_min, d.noise_min);
    line(&l, p->dimension_max > d.dimension_max,
         "dimension_max %llu instead of %llu",
         (unsigned long long)p->dimension_max,
         (unsigned long long)d.dimension_max);
    line(&l, p->noise_to_signal_max > d.noise_to_signal_max,
         "noise_to_signal_max %.6g instead of %.6g", p->noise_to_signal_max,
         d.noise_to_signal_max);
    line(&l, d.need_unmetered && !p->need_unmetered,
         "need_unmetered no instead of yes");
    line(&l, d.need_charging && !p->need_charging,
         "need_charging no instead of yes");
    line(&l, p->battery_min < d.battery_min, "battery_min %.6g instead of %.6g",
         p->battery_min, d.battery_min);
    line(&l, p->temperature_max > d.temperature_max,
         "temperature_max %.6g instead of %.6g", p->temperature_max,
         d.temperature_max);
    list_ledger(&l, &p->ledger, &d.ledger);
    return l.found;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_point.c - rows of one run to one point of a sweep. */
#include "tests/fleet/fleet_point.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/json.h"
#include "common/mem.h"
#include "tests/fleet/fleet_scenario.h"

enum { N_DRAWS = 10000 };

/* One person: sums over the seeds. */
typedef struct {
    const char *name; /* borrowed from the rows */
    double gain;
    size_t n_before, n_after;
} person;

/* One seed: sums over people. */
typedef struct {
    uint64_t seed, last; /* last: its last measured round */
    double before, after;
    size_t n_before, n_after;
} seed_sum;

typedef struct {
    const hearth_fleet_results *r;
    hearth_fleet_split split;
    person *p; /* [n_people] */
    size_t n_people;
    seed_sum seed[HEARTH_FLEET_MAX_SEEDS];
    size_t n_seeds;
} tally;

static hearth_fleet_split split_of(const hearth_fleet_results *r) {
    for (size_t i = 0; i < r->n_devices; i++)
        if (r->device[i].split == HEARTH_FLEET_UNSEEN)
            return HEARTH_FLEET_UNSEEN;
    return HEARTH_FLEET_HOLDOUT;
}

static person *find_person(tally *t, const char *name) {
    for (size_t i = 0; i < t->n_people; i++)
        if (!strcmp(t->p[i].name, name)) return &t->p[i];
    t->p[t->n_people] = (person){name, 0.0, 0, 0};
    return &t->p[t->n_people++];
}

static seed_sum *find_seed(tally *t, uint64_t seed) {
    for (size_t i = 0; i < t->n_seeds; i++)
        if (t->seed[i].seed == seed) return &t->seed[i];
    if (t->n_seeds == HEARTH_FLEET_MAX_SEEDS) return NULL;
    t->seed[t->n_seeds] = (seed_sum){seed, 0, 0.0, 0.0, 0, 0};
    return &t->seed[t->n_seeds++];
}

/* Sum up; false when a first or a last loss is missing. */
static bool add_rows(tally *t) {
    for (size_t i = 0; i < t->r->n_devices; i++) {
        const hearth_fleet_device_row *d = &t->r->device[i];
        seed_sum *s = d->split == t->split ? find_seed(t, d->seed) : NULL;
        if (s && d->round > s->last) s->last = d->round;
    }
    for (size_t i = 0; i < t->r->n_devices; i++) {
        const hearth_fleet_device_row *d = &t->r->device[i];
        seed_sum *s = d->split == t->split ? find_seed(t, d->seed) : NULL;
        if (!s || (d->round && d->round != s->last)) continue;
        person *p = find_person(t, d->device);
        if (d->round) {
            s->after += d->loss, s->n_after++;
            p->gain -= d->loss, p->n_after++;
        } else {
            s->before += d->loss, s->n_before++;
            p->gain += d->loss, p->n_before++;
        }
    }
    for (size_t i = 0; i < t->n_seeds; i++)
        if (!t->seed[i].n_after || t->seed[i].n_after != t->seed[i].n_before)
            return false;
    for (size_t i = 0; i < t->n_people; i++)
        if (t->p[i].n_after != t->p[i].n_before) return false;
    return t->n_seeds > 0;
}

static void widen(double *low, double *high, double v, bool first) {
    if (first || v < *low) *low = v;
    if (first || v > *high) *high = v;
}

static hearth_status means(hearth_fleet_point *out, const tally *t,
                           const hearth_alloc *al) {
    double *v = hearth_mem_array(al, t->n_people, sizeof(*v));
    if (!v) return HEARTH_ENOMEM;
    out->n_seeds = t->n_seeds;
    out->n_people = t->n_people;
    for (size_t i = 0; i < t->n_seeds; i++) {
        const seed_sum *s = &t->seed[i];
        double before = s->before / (double)s->n_before;
        double after = s->after / (double)s->n_after;
        out->base += before / (double)t->n_seeds;
        out->loss += after / (double)t->n_seeds;
        widen(&out->loss_low, &out->loss_high, after, i == 0);
        widen(&out->gain_low, &out->gain_high, before - after, i == 0);
    }
    out->gain = out->base - out->loss;
    for (size_t i = 0; i < t->n_people; i++)
        v[i] = t->p[i].gain / (double)t->p[i].n_after;
    hearth_status st = hearth_fleet_bootstrap(
        &out->gain_of_people, v, t->n_people, N_DRAWS, 0.95, 1, al);
    hearth_mem_free(al, v);
    return st;
}

/* Of the last round of any seed that says one. */
static void privacy_of(hearth_fleet_point *out, const hearth_fleet_results *r) {
    uint64_t last = 0;
    out->epsilon_coordinator = out->epsilon_release = out->noise_to_signal =
        (double)NAN;
    for (size_t i = 0; i < r->n_metrics; i++) {
        const hearth_fleet_metric *m = &r->metric[i];
        if (m->round < last || !isfinite(m->epsilon_coordinator)) continue;
        last = m->round;
        out->epsilon_coordinator = m->epsilon_coordinator;
        out->epsilon_release = m->epsilon_release;
        out->noise_to_signal = m->noise_to_signal;
    }
}

static hearth_status read_count(const hearth_json *j, const char *name,
                                uint64_t *out, const char *path,
                                hearth_error *err) {
    int64_t v = 0;
    if (hearth_json_i64(hearth_json_get(hearth_json_root(j), name), &v) !=
            HEARTH_OK ||
        v < 0)
        return hearth_error_set(err, HEARTH_EFORMAT,
                                "%s: field '%s' is missing or wrong; run the "
                                "cell again",
                                path, name);
    *out = (uint64_t)v;
    return HEARTH_OK;
}

static hearth_status read_facts(hearth_fleet_point *out, const char *dir,
                                const hearth_alloc *al, hearth_error *err) {
    char path[1100];
    hearth_json *j = NULL;
    hearth_fleet_scenario *sc = NULL;
    hearth_status st = hearth_file_join(path, sizeof(path), dir, "run.json");
    if (st == HEARTH_OK) st = hearth_json_load(&j, path, 1 << 20, al, err);
    if (st == HEARTH_OK)
        st = read_count(j, "devices", &out->devices, path, err);
    if (st == HEARTH_OK)
        st = read_count(j, "parameters", &out->parameters, path, err);
    hearth_json_free(j);
    if (st == HEARTH_OK)
        st = hearth_file_join(path, sizeof(path), dir, "scenario.ini");
    if (st == HEARTH_OK)
        st = hearth_fleet_scenario_load(&sc, path, NULL, 0, al, err);
    if (st != HEARTH_OK) return st;
    out->rounds = sc->rounds;
    out->z = sc->privacy == HEARTH_FLEET_PRIVACY_LOCAL ? sc->noise : 0.0;
    out->clip = sc->clip;
    out->delta = sc->delta;
    hearth_fleet_scenario_free(sc, al);
    return HEARTH_OK;
}

hearth_status hearth_fleet_point_load(hearth_fleet_point *out, const char *dir,
                                      const char *name, const hearth_alloc *al,
                                      hearth_error *err) {
    hearth_fleet_results r;
    *out = (hearth_fleet_point){0};
    if (strlen(name) >= sizeof(out->name))
        return hearth_error_set(err, HEARTH_ETOOBIG,
                                "%s: too long a name; rename it", name);
    memcpy(out->name, name, strlen(name) + 1);
    hearth_status st = read_facts(out, dir, al, err);
    if (st != HEARTH_OK) return st;
    if ((st = hearth_fleet_results_load(&r, dir, al, err)) != HEARTH_OK)
        return st;
    tally *t = hearth_mem_new(al, sizeof(*t));
    if (t) t->p = hearth_mem_array(al, r.n_devices + 1, sizeof(*t->p));
    if (!t || !t->p) {
        st = hearth_error_set(err, HEARTH_ENOMEM,
                              "%s: out of memory; close something", dir);
    } else {
        t->r = &r;
        t->split = split_of(&r);
        if (add_rows(t))
            st = means(out, t, al);
        else
            st = hearth_error_set(err, HEARTH_EFORMAT,
                                  "%s/devices.jsonl: losses before the first "
                                  "or after the last round are missing; run "
                                  "the cell again",
                                  dir);
        privacy_of(out, &r);
    }
    if (t) hearth_mem_free(al, t->p);
    hearth_mem_free(al, t);
    hearth_fleet_results_free(&r);
    return st;
}

static int order(double a, double b) {
    return (a > b) - (a < b);
}

static int by_shape(const void *a, const void *b) {
    const hearth_fleet_point *x = a, *y = b;
    if (x->parameters != y->parameters)
        return x->parameters < y->parameters ? -1 : 1;
    if (order(x->clip, y->clip)) return order(y->clip, x->clip);
    if (x->devices != y->devices) return x->devices < y->devices ? -1 : 1;
    int c = order(y->z, x->z);
    return c ? c : strcmp(x->name, y->name);
}

void hearth_fleet_points_sort(hearth_fleet_point *p, size_t n) {
    if (n) qsort(p, n, sizeof(*p), by_shape);
}

/* ---- tables ---- */

static void put_number(hearth_buf *b, double v) {
    if (isfinite(v))
        (void)hearth_buf_printf(b, " %.3g |", v);
    else
        (void)hearth_buf_puts(b, " none |");
}

hearth_status hearth_fleet_points_text(hearth_buf *b,
                                       const hearth_fleet_point *p, size_t n) {
    (void)hearth_buf_puts(
        b, "| parameters | clip | devices | z | epsilon_coordinator | "
           "epsilon_release "
           "| noise-to-signal | loss [seeds] | gain over base [seeds] | gain, "
           "95 % over people | seeds |\n"
           "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- "
           "|\n");
    for (size_t i = 0; i < n; i++) {
        (void)hearth_buf_printf(b, "| %llu | %.3g | %llu |",
                                (unsigned long long)p[i].parameters, p[i].clip,
                                (unsigned long long)p[i].devices);
        put_number(b, p[i].z > 0.0 ? p[i].z : (double)NAN);
        put_number(b, p[i].epsilon_coordinator);
        put_number(b, p[i].epsilon_release);
        put_number(b, p[i].noise_to_signal);
        (void)hearth_buf_printf(
            b,
            " %.3f [%.3f, %.3f] | %+.3f [%+.3f, %+.3f] | [%+.3f, %+.3f] | %zu "
            "|\n",
            p[i].loss, p[i].loss_low, p[i].loss_high, p[i].gain, p[i].gain_low,
            p[i].gain_high, p[i].gain_of_people.low, p[i].gain_of_people.high,
            p[i].n_seeds);
    }
    return b->failed ? HEARTH_ENOMEM : HEARTH_OK;
}

static void put_field(hearth_buf *b, double v) {
    (void)hearth_buf_putc(b, ',');
    if (isfinite(v)) (void)hearth_buf_printf(b, "%.9g", v);
}

hearth_status hearth_fleet_points_csv(hearth_buf *b,
                                      const hearth_fleet_point *p, size_t n) {
    (void)hearth_buf_puts(
        b, "cell,devices,parameters,rounds,seeds,people,clip,delta,z,"
           "epsilon_coordinator,epsilon_release,noise_to_signal,base_loss,loss,"
           "loss_low,loss_high,gain,gain_low,gain_high,gain_people_low,"
           "gain_people_high\n");
    for (size_t i = 0; i < n; i++) {
        const double v[] = {p[i].clip,
                            p[i].delta,
                            p[i].z,
                            p[i].epsilon_coordinator,
                            p[i].epsilon_release,
                            p[i].noise_to_signal,
                            p[i].base,
                            p[i].loss,
                            p[i].loss_low,
                            p[i].loss_high,
                            p[i].gain,
                            p[i].gain_low,
                            p[i].gain_high,
                            p[i].gain_of_people.low,
                            p[i].gain_of_people.high};
        (void)hearth_buf_printf(b, "%s,%llu,%llu,%llu,%zu,%zu", p[i].name,
                                (unsigned long long)p[i].devices,
                                (unsigned long long)p[i].parameters,
                                (unsigned long long)p[i].rounds, p[i].n_seeds,
                                p[i].n_people);
        for (size_t k = 0; k < sizeof(v) / sizeof(v[0]); k++)
            put_field(b, v[k]);
        (void)hearth_buf_putc(b, '\n');
    }
    return b->failed ? HEARTH_ENOMEM : HEARTH_OK;
}

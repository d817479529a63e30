/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_summary.c - rows to units to intervals.
 *
 * A unit is a device: its losses are averaged over the seeds first, so that an
 * interval says how sure the mean over people is.  Methods are compared on the
 * devices that both have. */
#include "tests/fleet/fleet_report.h"

#include <math.h>
#include <string.h>

#include "common/mem.h"

enum { N_DRAWS = 10000 };

/* One (method, split, device): the sum over seeds. */
typedef struct {
    hearth_fleet_method method;
    hearth_fleet_split split;
    char device[64];
    double sum;
    size_t n;
} unit;

typedef struct {
    unit *u; /* [n] */
    size_t n, cap;
    const hearth_alloc *al;
} units;

static unit *unit_find(const units *us, hearth_fleet_method m,
                       hearth_fleet_split s, const char *device) {
    for (size_t i = 0; i < us->n; i++)
        if (us->u[i].method == m && us->u[i].split == s &&
            !strcmp(us->u[i].device, device))
            return &us->u[i];
    return NULL;
}

static hearth_status unit_add(units *us, hearth_fleet_method m,
                              hearth_fleet_split s, const char *device,
                              double loss) {
    if (!isfinite(loss)) return HEARTH_ENONFINITE;
    unit *u = unit_find(us, m, s, device);
    if (!u) {
        if (us->n == us->cap) {
            size_t cap = us->cap ? us->cap * 2 : 128;
            u = hearth_mem_resize(us->al, us->u, cap, sizeof(*u));
            if (!u) return HEARTH_ENOMEM;
            us->u = u;
            us->cap = cap;
        }
        u = &us->u[us->n++];
        *u = (unit){m, s, {0}, 0.0, 0};
        memcpy(u->device, device, strlen(device) + 1);
    }
    u->sum += loss;
    u->n++;
    return HEARTH_OK;
}

/* The round a seed's run ended at on one split. */
static uint64_t last_round(const hearth_fleet_results *r, uint64_t seed,
                           hearth_fleet_split split) {
    uint64_t last = 0;
    for (size_t i = 0; i < r->n_devices; i++)
        if (r->device[i].seed == seed && r->device[i].split == split &&
            r->device[i].round > last)
            last = r->device[i].round;
    return last;
}

static hearth_status collect(units *us, const hearth_fleet_results *r) {
    uint64_t seed = 0, last[HEARTH_FLEET_N_SPLITS] = {0};
    bool known = false;
    for (size_t i = 0; i < r->n_devices; i++) {
        const hearth_fleet_device_row *d = &r->device[i];
        if (!known || d->seed != seed) {
            seed = d->seed;
            known = true;
            for (int s = 0; s < HEARTH_FLEET_N_SPLITS; s++)
                last[s] = last_round(r, seed, (hearth_fleet_split)s);
        }
        if (d->round != last[d->split] || !d->round) continue;
        hearth_status st =
            unit_add(us, HEARTH_FLEET_FEDERATED, d->split, d->device, d->loss);
        if (st != HEARTH_OK) return st;
    }
    for (size_t i = 0; i < r->n_baseline_devices; i++) {
        const hearth_fleet_baseline_device *d = &r->baseline_device[i];
        hearth_status st =
            unit_add(us, d->method, d->split, d->device, d->loss);
        if (st != HEARTH_OK) return st;
    }
    return HEARTH_OK;
}

/* Bootstrap of a - b over the devices that both have; b < 0: of a alone. */
static hearth_status interval(hearth_fleet_interval *out, const units *us,
                              int a, int b, hearth_fleet_split split) {
    size_t n = 0;
    double *v = hearth_mem_array(us->al, us->n + 1, sizeof(*v));
    *out = (hearth_fleet_interval){0};
    if (!v) return HEARTH_ENOMEM;
    for (size_t i = 0; i < us->n; i++) {
        const unit *u = &us->u[i], *w = NULL;
        if ((int)u->method != a || u->split != split) continue;
        if (b >= 0 &&
            !(w = unit_find(us, (hearth_fleet_method)b, split, u->device)))
            continue;
        v[n++] = u->sum / (double)u->n - (w ? w->sum / (double)w->n : 0.0);
    }
    hearth_status st =
        n ? hearth_fleet_bootstrap(out, v, n, N_DRAWS, 0.95, 1, us->al)
          : HEARTH_OK;
    hearth_mem_free(us->al, v);
    return st;
}

static void count_seeds(hearth_fleet_summary *out, const units *us) {
    for (size_t i = 0; i < us->n; i++) {
        hearth_fleet_summary_cell *c =
            &out->cell[us->u[i].method][us->u[i].split];
        if (us->u[i].n > c->n_seeds) c->n_seeds = us->u[i].n;
    }
}

static void privacy_of(hearth_fleet_summary *out,
                       const hearth_fleet_results *r) {
    uint64_t last = 0;
    out->noise_to_signal = out->epsilon_coordinator = out->epsilon_release =
        (double)NAN;
    for (size_t i = 0; i < r->n_metrics; i++) {
        const hearth_fleet_metric *m = &r->metric[i];
        if (m->round < last || !isfinite(m->epsilon_coordinator)) continue;
        last = m->round;
        out->noise_to_signal = m->noise_to_signal;
        out->epsilon_coordinator = m->epsilon_coordinator;
        out->epsilon_release = m->epsilon_release;
        out->epsilon_release_devices = m->epsilon_release_devices > 0.0
                                           ? m->epsilon_release_devices
                                           : (double)INFINITY;
        out->epsilon_release_server = m->epsilon_release_server;
        out->noise_to_signal_server = m->noise_to_signal_server;
    }
}

hearth_status hearth_fleet_summarise(hearth_fleet_summary *out,
                                     const hearth_fleet_results *r,
                                     const hearth_alloc *al) {
    units us = {NULL, 0, 0, al};
    *out = (hearth_fleet_summary){0};
    hearth_status st = collect(&us, r);
    for (int m = 0; m < HEARTH_FLEET_N_METHODS && st == HEARTH_OK; m++) {
        for (int s = 0; s < HEARTH_FLEET_N_SPLITS && st == HEARTH_OK; s++) {
            hearth_fleet_summary_cell *c = &out->cell[m][s];
            hearth_fleet_split split = (hearth_fleet_split)s;
            st = interval(&c->loss, &us, m, -1, split);
            c->present = c->loss.n > 0;
            if (st == HEARTH_OK && m != HEARTH_FLEET_BASE)
                st = interval(&c->gain, &us, HEARTH_FLEET_BASE, m, split);
            if (st == HEARTH_OK && m != HEARTH_FLEET_CONTROL)
                st = interval(&c->over_control, &us, HEARTH_FLEET_CONTROL, m,
                              split);
        }
    }
    if (st == HEARTH_OK) {
        const hearth_fleet_interval *
            fed = &out->cell[HEARTH_FLEET_FEDERATED][HEARTH_FLEET_HOLDOUT].gain,
           *all = &out->cell[HEARTH_FLEET_CENTRAL][HEARTH_FLEET_HOLDOUT].gain;
        out->share_of_central = fed->n && all->n && all->mean > 0.0
                                    ? fed->mean / all->mean
                                    : (double)NAN;
        count_seeds(out, &us);
        privacy_of(out, r);
    }
    hearth_mem_free(al, us.u);
    return st;
}

static void put_interval(hearth_buf *b, const hearth_fleet_interval *v) {
    if (v->n)
        (void)hearth_buf_printf(b, " %.4f [%.4f, %.4f] |", v->mean, v->low,
                                v->high);
    else
        (void)hearth_buf_puts(b, " - |");
}

hearth_status hearth_fleet_summary_text(hearth_buf *b,
                                        const hearth_fleet_summary *s) {
    static const hearth_fleet_method ORDER[] = {
        HEARTH_FLEET_BASE, HEARTH_FLEET_LOCAL, HEARTH_FLEET_FEDERATED,
        HEARTH_FLEET_CENTRAL, HEARTH_FLEET_CONTROL};
    (void)hearth_buf_puts(
        b, "| split | method | devices | seeds | loss (nats/token) [95 %] | "
           "gain over base [95 %] | gain over noise-only control [95 %] |\n"
           "| --- | --- | --- | --- | --- | --- | --- |\n");
    for (int k = 0; k < HEARTH_FLEET_N_SPLITS; k++)
        for (size_t i = 0; i < sizeof(ORDER) / sizeof(ORDER[0]); i++) {
            const hearth_fleet_summary_cell *c = &s->cell[ORDER[i]][k];
            if (!c->present) continue;
            (void)hearth_buf_printf(
                b, "| %s | %s | %zu | %zu |",
                hearth_fleet_split_name((hearth_fleet_split)k),
                hearth_fleet_method_name(ORDER[i]), c->loss.n, c->n_seeds);
            put_interval(b, &c->loss);
            put_interval(b, &c->gain);
            put_interval(b, &c->over_control);
            (void)hearth_buf_putc(b, '\n');
        }
    (void)hearth_buf_putc(b, '\n');
    if (isfinite(s->share_of_central))
        (void)hearth_buf_printf(b,
                                "federated recovers %.1f %% of central's gain "
                                "on the hold-out\n",
                                100.0 * s->share_of_central);
    if (isfinite(s->epsilon_coordinator))
        (void)hearth_buf_printf(
            b,
            "epsilon_coordinator %.3f, epsilon_release %.3f, "
            "noise_to_signal %.3f (replace-one, unit device; delta and rounds "
            "as in the scenario)\n",
            s->epsilon_coordinator, s->epsilon_release, s->noise_to_signal);
    else
        (void)hearth_buf_puts(b, "no noise: not private (simulator only)\n");
    if (s->epsilon_release_server > 0.0)
        (void)hearth_buf_printf(
            b,
            "the coordinator's noise on the releases, on top of the devices': "
            "noise_to_signal %.3f; epsilon_release by the devices' noise alone "
            "%.3f, by the coordinator's alone %.3f (for those who see releases "
            "only, if the coordinator is honest); epsilon_coordinator does not "
            "change\n",
            s->noise_to_signal_server, s->epsilon_release_devices,
            s->epsilon_release_server);
    return b->failed ? HEARTH_ENOMEM : HEARTH_OK;
}

hearth_status hearth_fleet_compare_text(hearth_buf *b, const char *const *names,
                                        const hearth_fleet_summary *s,
                                        size_t n) {
    (void)hearth_buf_puts(
        b, "| run | federated loss | gain over base [95 %] | of central's gain "
           "| gain over control [95 %] | epsilon_coordinator | "
           "epsilon_release |\n| --- | --- | --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < n; i++) {
        const hearth_fleet_summary_cell *c =
            &s[i].cell[HEARTH_FLEET_FEDERATED][HEARTH_FLEET_HOLDOUT];
        (void)hearth_buf_printf(b, "| %s | %.4f |", names[i], c->loss.mean);
        put_interval(b, &c->gain);
        if (isfinite(s[i].share_of_central))
            (void)hearth_buf_printf(b, " %.1f %% |",
                                    100.0 * s[i].share_of_central);
        else
            (void)hearth_buf_puts(b, " - |");
        put_interval(b, &c->over_control);
        if (isfinite(s[i].epsilon_coordinator))
            (void)hearth_buf_printf(b, " %.3f | %.3f |\n",
                                    s[i].epsilon_coordinator,
                                    s[i].epsilon_release);
        else
            (void)hearth_buf_puts(b, " none | none |\n");
    }
    return b->failed ? HEARTH_ENOMEM : HEARTH_OK;
}

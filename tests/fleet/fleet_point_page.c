/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_point_page.c - the page of a sweep: three charts, a table. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "tests/fleet/fleet_chart.h"
#include "tests/fleet/fleet_point.h"
#include "tests/fleet/fleet_report.h"

enum {
    MAX_LINES = 6, /* and the two reference lines */
    MAX_OF_LINE = 64
};

typedef double (*x_of)(const hearth_fleet_point *p);

/* The points of one line, and its label. */
typedef struct {
    double x[MAX_OF_LINE], y[MAX_OF_LINE], low[MAX_OF_LINE], high[MAX_OF_LINE];
    size_t n;
    char label[64];
} line;

typedef struct {
    const hearth_fleet_point *p; /* [n], sorted */
    size_t n;
    line l[MAX_LINES + 2];
    hearth_fleet_series q[MAX_LINES + 2];
    size_t n_lines;
} page;

static double x_coordinator(const hearth_fleet_point *p) {
    return p->z > 0.0 ? p->epsilon_coordinator : (double)INFINITY;
}

static double x_release(const hearth_fleet_point *p) {
    return p->z > 0.0 ? p->epsilon_release : (double)INFINITY;
}

/* Cells that one line may join. */
static bool alike(const hearth_fleet_point *a, const hearth_fleet_point *b) {
    return a->parameters == b->parameters && !(a->clip < b->clip) &&
           !(a->clip > b->clip);
}

/* A cell with the parameters and the clip that most have; NULL without any. */
static const hearth_fleet_point *usual(const page *g) {
    const hearth_fleet_point *best = NULL;
    size_t most = 0;
    for (size_t i = 0; i < g->n; i++) {
        size_t n = 0;
        for (size_t k = 0; k < g->n; k++) n += alike(&g->p[k], &g->p[i]);
        if (n > most) most = n, best = &g->p[i];
    }
    return best;
}

static line *new_line(page *g, int colour, bool dashed) {
    line *l = &g->l[g->n_lines];
    l->n = 0;
    g->q[g->n_lines++] = (hearth_fleet_series){.label = l->label,
                                               .x = l->x,
                                               .y = l->y,
                                               .low = dashed ? NULL : l->low,
                                               .high = dashed ? NULL : l->high,
                                               .dashed = dashed,
                                               .whiskers = !dashed,
                                               .colour = colour};
    return l;
}

static void add_point(line *l, double x, double y, double low, double high) {
    if (l->n == MAX_OF_LINE || isnan(x)) return;
    l->x[l->n] = x;
    l->y[l->n] = y;
    l->low[l->n] = low;
    l->high[l->n++] = high;
}

/* A level across the whole frame. */
static void add_level(page *g, const char *label, double y, int colour) {
    double x0 = (double)NAN;
    for (size_t s = 0; s < g->n_lines; s++)
        for (size_t i = 0; i < g->l[s].n; i++)
            if (isfinite(g->l[s].x[i]) && !(g->l[s].x[i] >= x0))
                x0 = g->l[s].x[i];
    if (!isfinite(y) || !isfinite(x0)) return;
    line *l = new_line(g, colour, true);
    (void)snprintf(l->label, sizeof(l->label), "%s", label);
    add_point(l, x0, y, y, y);
    add_point(l, (double)INFINITY, y, y, y);
}

static void finish_lines(page *g, size_t n_shifted) {
    for (size_t s = 0; s < g->n_lines; s++) {
        g->q[s].n = g->l[s].n;
        if (s < n_shifted)
            g->q[s].shift = 7.0 * ((double)s - (double)(n_shifted - 1) / 2.0);
    }
}

/* A line for each number of devices; those with the usual parameters. */
static void device_lines(page *g, x_of x, double *base, double *quiet) {
    const hearth_fleet_point *like = usual(g);
    uint64_t devices = 0;
    line *l = NULL;
    *base = *quiet = (double)NAN;
    g->n_lines = 0;
    for (size_t i = 0; i < g->n; i++) {
        const hearth_fleet_point *p = &g->p[i];
        if (!alike(p, like)) continue;
        if (!l || p->devices != devices) {
            if (g->n_lines == MAX_LINES) break; /* the table has them */
            l = new_line(g, (int)g->n_lines, false);
            (void)snprintf(l->label, sizeof(l->label), "%llu devices",
                           (unsigned long long)p->devices);
            devices = p->devices;
        }
        add_point(l, x(p), p->loss, p->loss_low, p->loss_high);
        *base = p->base;
        if (!(p->z > 0.0) && !(p->loss >= *quiet)) *quiet = p->loss;
    }
}

static hearth_status epsilon_chart(hearth_buf *b, page *g, x_of x,
                                   const char *name) {
    char title[160], label[96];
    double base, quiet;
    const hearth_fleet_point *like = usual(g);
    device_lines(g, x, &base, &quiet);
    size_t n = g->n_lines;
    add_level(g, "base model", base, 7);
    add_level(g, "best without noise", quiet, 6);
    finish_lines(g, n);
    (void)snprintf(title, sizeof(title),
                   "Loss against %s, %llu parameters, clip %.3g", name,
                   like ? (unsigned long long)like->parameters : 0,
                   like ? like->clip : 0.0);
    (void)snprintf(label, sizeof(label), "%s (replace-one)", name);
    const hearth_fleet_chart c = {
        .title = title,
        .x_label = label,
        .y_label = "nats per token",
        .series = g->q,
        .n_series = g->n_lines,
        .x_log = true,
        .x_end = "no noise",
        /* Far above the base all is lost: an arrow says so. */
        .y_max = isfinite(base) && isfinite(quiet) && base > quiet
                     ? base + 4.0 * (base - quiet)
                     : 0.0};
    return hearth_fleet_chart_svg(b, &c);
}

/* All cells with noise: what is gained at which noise-to-signal. */
static hearth_status ratio_chart(hearth_buf *b, page *g) {
    const hearth_fleet_point *last = NULL;
    line *l = NULL;
    double best = 0.0;
    g->n_lines = 0;
    for (size_t i = 0; i < g->n; i++) {
        const hearth_fleet_point *p = &g->p[i];
        best = fmax(best, p->gain);
        if (!(p->z > 0.0)) continue;
        if (!last || !alike(p, last)) {
            if (g->n_lines == MAX_LINES) break;
            l = new_line(g, (int)g->n_lines, false);
            (void)snprintf(l->label, sizeof(l->label),
                           "%llu parameters, clip %.3g",
                           (unsigned long long)p->parameters, p->clip);
            last = p;
        }
        /* Upside down, so that up is worse in every chart. */
        add_point(l, p->noise_to_signal, -p->gain, -p->gain_high, -p->gain_low);
    }
    size_t n = g->n_lines;
    add_level(g, "base model", 0.0, 7);
    finish_lines(g, 0);
    for (size_t s = 0; s < n; s++) g->q[s].no_line = true;
    const hearth_fleet_chart c = {
        .title = "Loss above the base model against noise-to-signal, "
                 "z sqrt(d / n); below 0 something was learned",
        .x_label = "noise-to-signal of a round",
        .y_label = "nats per token",
        .series = g->q,
        .n_series = g->n_lines,
        .x_log = true,
        .y_max = best > 0.0 ? 4.0 * best : 0.0};
    return hearth_fleet_chart_svg(b, &c);
}

static void put_cell(hearth_buf *b, double v) {
    if (isfinite(v))
        (void)hearth_buf_printf(b, "<td>%.3g</td>", v);
    else
        (void)hearth_buf_puts(b, "<td>none</td>");
}

static void put_points(hearth_buf *b, const hearth_fleet_point *p, size_t n) {
    (void)hearth_buf_puts(
        b, "<div class=\"wrap\"><table><tr><th>parameters</th><th>clip</th>"
           "<th>devices</th>"
           "<th>z</th><th>epsilon_coordinator</th><th>epsilon_release</th>"
           "<th>noise-to-signal</th><th>loss</th><th>gain over base</th>"
           "<th>seeds</th></tr>\n");
    for (size_t i = 0; i < n; i++) {
        (void)hearth_buf_printf(b,
                                "<tr><td>%llu</td><td>%.3g</td><td>%llu</td>",
                                (unsigned long long)p[i].parameters, p[i].clip,
                                (unsigned long long)p[i].devices);
        put_cell(b, p[i].z > 0.0 ? p[i].z : (double)NAN);
        put_cell(b, p[i].epsilon_coordinator);
        put_cell(b, p[i].epsilon_release);
        put_cell(b, p[i].noise_to_signal);
        (void)hearth_buf_printf(
            b,
            "<td>%.3f <small>[%.3f, %.3f]</small></td><td>%+.3f <small>[%+.3f, "
            "%+.3f]</small></td><td>%zu</td></tr>\n",
            p[i].loss, p[i].loss_low, p[i].loss_high, p[i].gain, p[i].gain_low,
            p[i].gain_high, p[i].n_seeds);
    }
    (void)hearth_buf_puts(b, "</table></div>\n");
}

hearth_status hearth_fleet_points_html(hearth_buf *b, const char *title,
                                       const char *scenario,
                                       const hearth_fleet_point *p, size_t n,
                                       const hearth_alloc *al) {
    page *g = hearth_mem_new(al, sizeof(*g));
    if (!g) return HEARTH_ENOMEM;
    g->p = p;
    g->n = n;
    hearth_fleet_page_head(b, title);
    hearth_status st =
        epsilon_chart(b, g, x_coordinator, "epsilon_coordinator");
    if (st == HEARTH_OK) st = epsilon_chart(b, g, x_release, "epsilon_release");
    if (st == HEARTH_OK) st = ratio_chart(b, g);
    (void)hearth_buf_puts(
        b,
        "<p class=\"sub\">Dots are means over seeds, whiskers the range over "
        "seeds; an arrow at the top is a point above the frame. Dots of one "
        "epsilon are drawn side by side.</p>\n<h2>Cells</h2>\n");
    put_points(b, p, n);
    (void)hearth_buf_puts(
        b, "<p class=\"sub\">Nats per supervised token, mean over people; in "
           "brackets the range over seeds. epsilon: replace-one, the unit is a "
           "device, delta and rounds as in the scenario.</p>\n"
           "<h2>Scenario</h2>\n<pre>");
    (void)hearth_fleet_html_text(b, scenario);
    (void)hearth_buf_puts(b, "</pre>\n</body></html>\n");
    hearth_mem_free(al, g);
    return st == HEARTH_OK && b->failed ? HEARTH_ENOMEM : st;
}

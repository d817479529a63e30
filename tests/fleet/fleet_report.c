/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_report.c - report.html: rows become series, series become
 * charts.  No script and no link out: the page can be mailed. */
#include "tests/fleet/fleet_report.h"

#include <math.h>

#include "common/mem.h"
#include "tests/fleet/fleet_chart.h"

enum { MAX_POINTS = 4096 };

static const char STYLE[] =
    "<style>\n"
    ":root{--bg:#fff;--fg:#1b1e23;--dim:#626a75;--rule:#dfe3e8;--card:#f6f7f9;"
    "--c0:#0b6bcb;--c1:#c2410c;--c2:#15803d;--c3:#7c3aed;--c4:#b0891b;"
    "--c5:#be185d;--c6:#0e7490;--c7:#57534e}\n"
    "@media(prefers-color-scheme:dark){:root{--bg:#14171b;--fg:#e6e9ed;"
    "--dim:#98a2ae;--rule:#2c333b;--card:#1c2127;--c0:#63b3ff;--c1:#ff9a62;"
    "--c2:#5bd68a;--c3:#b79bff;--c4:#e5c158;--c5:#ff82b4;--c6:#4fd0e6;"
    "--c7:#b8b2ac}}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0 auto;max-width:860px;padding:28px 22px 60px;"
    "background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,sans-serif}\n"
    "h1{font-size:1.6em;margin:0 0 4px}h2{font-size:1.15em;margin:34px 0 8px}\n"
    "p.sub{color:var(--dim);margin:0 0 20px}div+p.sub{margin-top:12px}\n"
    "table{border-collapse:collapse;width:100%;font-size:13px}\n"
    "th,td{text-align:left;padding:5px 9px;border-bottom:1px solid var(--rule);"
    "font-variant-numeric:tabular-nums}th{color:var(--dim);font-weight:600}\n"
    "td small{color:var(--dim)}.wrap{overflow-x:auto}\n"
    "figure{margin:16px 0;padding:14px 14px 6px;background:var(--card);"
    "border-radius:10px}figcaption{font-weight:600;margin-bottom:6px}\n"
    "svg{display:block;width:100%;height:auto}\n"
    ".grid{stroke:var(--rule)}.axis{stroke:var(--dim)}\n"
    ".tick,.label{fill:var(--dim);font-size:12px;font-family:inherit}\n"
    ".line{fill:none;stroke-width:2;stroke-linejoin:round}"
    ".line.dash{stroke-dasharray:6 4}.band{opacity:.16}"
    ".whisker{fill:none;stroke-width:1.3;opacity:.75}\n"
    ".none{color:var(--dim)}.legend{margin:8px 0 6px;font-size:13px}"
    ".legend span{margin-right:16px;white-space:nowrap}\n"
    ".key{display:inline-block;width:18px;border-top:3px solid;"
    "vertical-align:middle;margin-right:6px}.key.dash{border-top-style:dashed}"
    "\n"
    "pre{background:var(--card);border-radius:10px;padding:14px;"
    "overflow-x:auto;font-size:12.5px}\n";

static void put_style(hearth_buf *b) {
    (void)hearth_buf_puts(b, STYLE);
    for (int i = 0; i < 8; i++)
        (void)hearth_buf_printf(b,
                                "path.s%d{stroke:var(--c%d)}polygon.s%d,"
                                "circle.s%d{fill:var(--c%d)}i.s%d{border-color:"
                                "var(--c%d)}\n",
                                i, i, i, i, i, i, i);
    (void)hearth_buf_puts(b, "</style>\n");
}

void hearth_fleet_page_head(hearth_buf *b, const char *title) {
    (void)hearth_buf_puts(b, "<!doctype html>\n<html lang=\"en\"><head>"
                             "<meta charset=\"utf-8\"><meta name=\"viewport\" "
                             "content=\"width=device-width\">\n<title>");
    (void)hearth_fleet_html_text(b, title);
    (void)hearth_buf_puts(b, " - hearth-fleet</title>\n");
    put_style(b);
    (void)hearth_buf_puts(b, "</head><body>\n<h1>");
    (void)hearth_fleet_html_text(b, title);
    (void)hearth_buf_puts(b, "</h1>\n<p class=\"sub\">hearth-fleet: virtual "
                             "devices, the real client and coordinator "
                             "code</p>\n");
}

/* ---- rows to series ---- */

/* A mean over seeds with the range over seeds, by x. */
typedef struct {
    double x[MAX_POINTS], y[MAX_POINTS], low[MAX_POINTS], high[MAX_POINTS];
    size_t count[MAX_POINTS];
    size_t n;
} curve;

static void curve_add(curve *c, double x, double y) {
    size_t i = 0;
    if (!isfinite(y)) return;
    while (i < c->n && c->x[i] < x) i++;
    if (i < c->n && !(c->x[i] > x)) {
        c->y[i] += y;
        c->low[i] = fmin(c->low[i], y);
        c->high[i] = fmax(c->high[i], y);
        c->count[i]++;
        return;
    }
    if (c->n == MAX_POINTS) return; /* the chart shows the first 4,096 */
    for (size_t k = c->n; k > i; k--) {
        c->x[k] = c->x[k - 1], c->y[k] = c->y[k - 1];
        c->low[k] = c->low[k - 1], c->high[k] = c->high[k - 1];
        c->count[k] = c->count[k - 1];
    }
    c->x[i] = x, c->y[i] = c->low[i] = c->high[i] = y;
    c->count[i] = 1;
    c->n++;
}

static hearth_fleet_series curve_series(curve *c, const char *label, int colour,
                                        bool band) {
    for (size_t i = 0; i < c->n; i++) c->y[i] /= (double)c->count[i];
    hearth_fleet_series s = {
        .label = label, .x = c->x, .y = c->y, .n = c->n, .colour = colour};
    if (band) s.low = c->low, s.high = c->high;
    return s;
}

/* A straight dashed line at y over the x of another series. */
static hearth_fleet_series flat(curve *c, const char *label, double x1,
                                double y, int colour) {
    c->n = 0;
    curve_add(c, 0.0, y);
    curve_add(c, x1, y);
    hearth_fleet_series s = curve_series(c, label, colour, false);
    s.dashed = true;
    return s;
}

static void loss_curves(const hearth_fleet_results *r, curve *c,
                        hearth_fleet_split split) {
    for (size_t i = 0; i < r->n_metrics; i++)
        if (r->metric[i].split == split)
            curve_add(c, (double)r->metric[i].round, r->metric[i].loss);
}

static void baseline_curve(const hearth_fleet_results *r, curve *c,
                           hearth_fleet_method m, hearth_fleet_split split) {
    for (size_t i = 0; i < r->n_baselines; i++)
        if (r->baseline[i].method == m && r->baseline[i].split == split)
            curve_add(c, (double)r->baseline[i].step, r->baseline[i].loss);
}

/* Scratch of one page. */
typedef struct {
    curve c[HEARTH_FLEET_CHART_MAX_SERIES];
} scratch;

static void wipe(scratch *s) {
    for (size_t i = 0; i < HEARTH_FLEET_CHART_MAX_SERIES; i++) s->c[i].n = 0;
}

static hearth_status loss_chart(hearth_buf *b, const hearth_fleet_results *r,
                                const hearth_fleet_summary *sum, scratch *s) {
    static const struct {
        hearth_fleet_method m;
        const char *label;
        int colour;
    } LINES[] = {{HEARTH_FLEET_BASE, "base", 7},
                 {HEARTH_FLEET_LOCAL, "local only", 4},
                 {HEARTH_FLEET_CENTRAL, "central", 2}};
    hearth_fleet_series q[HEARTH_FLEET_CHART_MAX_SERIES];
    size_t n = 0;
    wipe(s);
    loss_curves(r, &s->c[0], HEARTH_FLEET_HOLDOUT);
    loss_curves(r, &s->c[1], HEARTH_FLEET_UNSEEN);
    baseline_curve(r, &s->c[2], HEARTH_FLEET_CONTROL, HEARTH_FLEET_HOLDOUT);
    double x1 = s->c[0].n ? s->c[0].x[s->c[0].n - 1] : 1.0;
    q[n++] = curve_series(&s->c[0], "federated, hold-out", 0, true);
    if (s->c[1].n)
        q[n++] = curve_series(&s->c[1], "federated, unseen people", 6, true);
    if (s->c[2].n)
        q[n++] =
            curve_series(&s->c[2], "noise-only control, hold-out", 1, true);
    for (size_t i = 0; i < 3; i++) {
        const hearth_fleet_summary_cell *c =
            &sum->cell[LINES[i].m][HEARTH_FLEET_HOLDOUT];
        if (!c->present) continue;
        q[n] = flat(&s->c[3 + i], LINES[i].label, x1, c->loss.mean,
                    LINES[i].colour);
        n++;
    }
    const hearth_fleet_chart c = {.title = "Loss by round (mean over devices; "
                                           "band: range over seeds)",
                                  .x_label = "round",
                                  .y_label = "nats per token",
                                  .series = q,
                                  .n_series = n};
    return hearth_fleet_chart_svg(b, &c);
}

static hearth_status device_chart(hearth_buf *b, const hearth_fleet_results *r,
                                  scratch *s) {
    static const char *const LABEL[] = {"invited", "accepted", "late",
                                        "failed"};
    static const int COLOUR[] = {7, 0, 4, 1};
    hearth_fleet_series q[4];
    wipe(s);
    for (size_t i = 0; i < r->n_metrics; i++) {
        const hearth_fleet_metric *m = &r->metric[i];
        if (m->split != HEARTH_FLEET_HOLDOUT || !m->round) continue;
        curve_add(&s->c[0], (double)m->round, (double)m->devices_invited);
        curve_add(&s->c[1], (double)m->round, (double)m->devices_accepted);
        curve_add(&s->c[2], (double)m->round, (double)m->devices_late);
        curve_add(&s->c[3], (double)m->round, (double)m->devices_failed);
    }
    for (size_t i = 0; i < 4; i++)
        q[i] = curve_series(&s->c[i], LABEL[i], COLOUR[i], i == 1);
    const hearth_fleet_chart c = {.title =
                                      "Devices per round (mean over seeds)",
                                  .x_label = "round",
                                  .y_label = "devices",
                                  .series = q,
                                  .n_series = 4,
                                  .y_from_zero = true};
    return hearth_fleet_chart_svg(b, &c);
}

static hearth_status epsilon_chart(hearth_buf *b, const hearth_fleet_results *r,
                                   scratch *s) {
    hearth_fleet_series q[4];
    size_t n = 2;
    wipe(s);
    for (size_t i = 0; i < r->n_metrics; i++) {
        const hearth_fleet_metric *m = &r->metric[i];
        if (m->split != HEARTH_FLEET_HOLDOUT || !m->round) continue;
        curve_add(&s->c[0], (double)m->round, m->epsilon_coordinator);
        curve_add(&s->c[1], (double)m->round, m->epsilon_release);
        if (!(m->epsilon_release_server > 0.0)) continue;
        if (m->epsilon_release_devices > 0.0) /* else infinite */
            curve_add(&s->c[2], (double)m->round, m->epsilon_release_devices);
        curve_add(&s->c[3], (double)m->round, m->epsilon_release_server);
    }
    if (!s->c[0].n) {
        (void)hearth_buf_puts(
            b,
            "<figure><figcaption>Privacy spent</figcaption><p class=\"none\">"
            "No noise was drawn: this run is not private. Only the simulator "
            "can do that.</p></figure>\n");
        return b->failed ? HEARTH_ENOMEM : HEARTH_OK;
    }
    q[0] = curve_series(&s->c[0], "epsilon_coordinator", 0, false);
    q[1] = curve_series(&s->c[1], "epsilon_release", 3, false);
    if (s->c[2].n)
        q[n++] = curve_series(&s->c[2], "epsilon_release, devices' noise alone",
                              4, false);
    if (s->c[3].n)
        q[n++] = curve_series(
            &s->c[3], "epsilon_release, coordinator's noise alone", 2, false);
    const hearth_fleet_chart c = {.title = "Privacy spent by a device, "
                                           "replace-one (ledger: zCDP)",
                                  .x_label = "round",
                                  .y_label = "epsilon",
                                  .series = q,
                                  .n_series = n,
                                  .y_from_zero = true};
    return hearth_fleet_chart_svg(b, &c);
}

static hearth_status central_chart(hearth_buf *b, const hearth_fleet_results *r,
                                   scratch *s) {
    hearth_fleet_series q[1];
    wipe(s);
    baseline_curve(r, &s->c[0], HEARTH_FLEET_CENTRAL, HEARTH_FLEET_VALID);
    if (!s->c[0].n) return HEARTH_OK;
    q[0] = curve_series(&s->c[0], "central, its own validation split", 2, true);
    const hearth_fleet_chart c = {.title = "Central training: validation loss "
                                           "until it stops improving",
                                  .x_label = "optimizer step",
                                  .y_label = "nats per token",
                                  .series = q,
                                  .n_series = 1};
    return hearth_fleet_chart_svg(b, &c);
}

/* ---- the table ---- */

static void cell_interval(hearth_buf *b, const hearth_fleet_interval *v) {
    if (v->n)
        (void)hearth_buf_printf(b, "<td>%.4f <small>[%.4f, %.4f]</small></td>",
                                v->mean, v->low, v->high);
    else
        (void)hearth_buf_puts(b, "<td>-</td>");
}

static void put_table(hearth_buf *b, const hearth_fleet_summary *s) {
    (void)hearth_buf_puts(
        b, "<div class=\"wrap\"><table><tr><th>split</th><th>method</th>"
           "<th>devices</th><th>loss</th><th>gain over base</th>"
           "<th>gain over noise-only control</th></tr>\n");
    for (int k = 0; k < HEARTH_FLEET_N_SPLITS; k++)
        for (int m = 0; m < HEARTH_FLEET_N_METHODS; m++) {
            const hearth_fleet_summary_cell *c = &s->cell[m][k];
            if (!c->present) continue;
            (void)hearth_buf_printf(
                b, "<tr><td>%s</td><td>%s</td><td>%zu</td>",
                hearth_fleet_split_name((hearth_fleet_split)k),
                hearth_fleet_method_name((hearth_fleet_method)m), c->loss.n);
            cell_interval(b, &c->loss);
            cell_interval(b, &c->gain);
            cell_interval(b, &c->over_control);
            (void)hearth_buf_puts(b, "</tr>\n");
        }
    (void)hearth_buf_puts(
        b, "</table></div>\n<p class=\"sub\">Nats per supervised token; mean "
           "over devices of the mean over seeds; in brackets the 95 % interval "
           "of a paired bootstrap over devices.</p>\n");
    if (isfinite(s->share_of_central))
        (void)hearth_buf_printf(b,
                                "<p>Federated recovers <b>%.1f %%</b> of "
                                "central's gain on the hold-out.</p>\n",
                                100.0 * s->share_of_central);
    if (isfinite(s->epsilon_coordinator))
        (void)hearth_buf_printf(
            b,
            "<p>epsilon_coordinator <b>%.3f</b>, epsilon_release <b>%.3f</b>, "
            "noise-to-signal <b>%.3f</b>; replace-one, the unit is a device, "
            "delta and rounds as in the scenario.</p>\n",
            s->epsilon_coordinator, s->epsilon_release, s->noise_to_signal);
    if (s->epsilon_release_server > 0.0)
        (void)hearth_buf_printf(
            b,
            "<p>The coordinator added noise of its own to the releases, on top "
            "of the devices': noise-to-signal <b>%.3f</b>. epsilon_release by "
            "the devices' noise alone <b>%.3f</b>, by the coordinator's alone "
            "<b>%.3f</b>, which holds for those who see releases only, if the "
            "coordinator is honest. epsilon_coordinator does not change.</p>\n",
            s->noise_to_signal_server, s->epsilon_release_devices,
            s->epsilon_release_server);
}

hearth_status hearth_fleet_report_html(hearth_buf *b, const char *title,
                                       const char *scenario,
                                       const hearth_fleet_results *r,
                                       const hearth_alloc *al) {
    hearth_fleet_summary sum;
    hearth_status st = hearth_fleet_summarise(&sum, r, al);
    scratch *s = hearth_mem_new(al, sizeof(*s));
    if (st == HEARTH_OK && !s) st = HEARTH_ENOMEM;
    if (st != HEARTH_OK) goto done;
    hearth_fleet_page_head(b, title);
    put_table(b, &sum);
    (void)hearth_buf_puts(b, "<h2>Rounds</h2>\n");
    if ((st = loss_chart(b, r, &sum, s)) != HEARTH_OK) goto done;
    if ((st = device_chart(b, r, s)) != HEARTH_OK) goto done;
    if ((st = epsilon_chart(b, r, s)) != HEARTH_OK) goto done;
    if ((st = central_chart(b, r, s)) != HEARTH_OK) goto done;
    (void)hearth_buf_puts(b, "<h2>Scenario</h2>\n<pre>");
    (void)hearth_fleet_html_text(b, scenario);
    (void)hearth_buf_puts(b, "</pre>\n</body></html>\n");
    if (b->failed) st = HEARTH_ENOMEM;

done:
    hearth_mem_free(al, s);
    return st;
}

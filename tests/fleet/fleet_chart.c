/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_chart.c - one fixed frame, no script. */
#include "tests/fleet/fleet_chart.h"

#include <math.h>
#include <stdio.h>

/* The frame, in SVG units. */
enum {
    WIDTH = 760,
    HEIGHT = 330,
    LEFT = 66,
    RIGHT = 16,
    TOP = 14,
    BOTTOM = 46,
    END = 84 /* width of the column of x = infinity */
};

/* Data coordinates of the frame's corners; x is log10 where the axis is. */
typedef struct {
    double x0, x1, y0, y1;
    double right; /* of the part with an axis */
    bool x_log;
} frame;

hearth_status hearth_fleet_html_text(hearth_buf *b, const char *s) {
    for (; *s; s++) {
        switch (*s) {
        case '&': (void)hearth_buf_puts(b, "&amp;"); break;
        case '<': (void)hearth_buf_puts(b, "&lt;"); break;
        case '>': (void)hearth_buf_puts(b, "&gt;"); break;
        case '"': (void)hearth_buf_puts(b, "&quot;"); break;
        case '\'': (void)hearth_buf_puts(b, "&#39;"); break;
        default: (void)hearth_buf_putc(b, (unsigned char)*s);
        }
    }
    return b->failed ? HEARTH_ENOMEM : HEARTH_OK;
}

double hearth_fleet_nice_step(double span, int n_max) {
    double raw = span / (double)n_max;
    double power = pow(10.0, floor(log10(raw)));
    double part = raw / power;
    double nice = part <= 1.0   ? 1.0
                  : part <= 2.0 ? 2.0
                  : part <= 5.0 ? 5.0
                                : 10.0;
    return nice * power;
}

static void widen(double *low, double *high, double v) {
    if (!isfinite(v)) return;
    if (!(v >= *low)) *low = v;
    if (!(v <= *high)) *high = v;
}

static bool above(const hearth_fleet_chart *c, double y) {
    return c->y_max > 0.0 && y > c->y_max;
}

static double clamp_y(const hearth_fleet_chart *c, double y) {
    return above(c, y) ? c->y_max : y;
}

/* The range of all points that are drawn. */
static void reach(const hearth_fleet_chart *c, frame *f) {
    for (size_t s = 0; s < c->n_series; s++) {
        const hearth_fleet_series *q = &c->series[s];
        for (size_t i = 0; i < q->n; i++) {
            if (!isfinite(q->y[i]) || isnan(q->x[i])) continue;
            widen(&f->x0, &f->x1, c->x_log ? log10(q->x[i]) : q->x[i]);
            widen(&f->y0, &f->y1, clamp_y(c, q->y[i]));
            if (q->low) widen(&f->y0, &f->y1, clamp_y(c, q->low[i]));
            if (q->high) widen(&f->y0, &f->y1, clamp_y(c, q->high[i]));
        }
    }
}

/* False when there is nothing to draw. */
static bool fit(const hearth_fleet_chart *c, frame *f) {
    *f = (frame){(double)NAN, (double)NAN,   (double)NAN,
                 (double)NAN, WIDTH - RIGHT, c->x_log};
    reach(c, f);
    if (c->x_log && c->x_end) f->right -= END;
    if (!isfinite(f->x0) || !isfinite(f->y0)) return false;
    if (c->y_from_zero && f->y0 > 0.0) f->y0 = 0.0;
    if (!(f->x1 > f->x0)) f->x0 -= 0.5, f->x1 += 0.5;
    if (c->x_log) { /* room for whiskers beside each other */
        double side = (f->x1 - f->x0) * 0.05;
        f->x0 -= side, f->x1 += side;
    }
    double pad =
        f->y1 > f->y0 ? (f->y1 - f->y0) * 0.06 : fmax(fabs(f->y1) * 0.1, 0.01);
    f->y1 += pad;
    if (!(c->y_from_zero && f->y0 >= 0.0)) f->y0 -= pad;
    return true;
}

/* x in SVG units; infinity stands in the middle of its column. */
static double px(const frame *f, double x) {
    if (isinf(x)) return WIDTH - RIGHT - END / 2;
    if (f->x_log) x = log10(x);
    return LEFT + (x - f->x0) / (f->x1 - f->x0) * (f->right - LEFT);
}

static double py(const frame *f, double y) {
    return HEIGHT - BOTTOM -
           (y - f->y0) / (f->y1 - f->y0) * (HEIGHT - TOP - BOTTOM);
}

static int decimals_of(double step) {
    int d = 0;
    while (d < 6 && fabs(step - floor(step + 0.5)) > 1e-9 * fabs(step))
        step *= 10.0, d++;
    return d;
}

static void put_x_tick(hearth_buf *b, double x, const char *text) {
    (void)hearth_buf_printf(b,
                            "<text class=\"tick\" x=\"%.1f\" y=\"%d\" "
                            "text-anchor=\"middle\">%s</text>\n",
                            x, HEIGHT - BOTTOM + 18, text);
}

static void put_x_number(hearth_buf *b, const frame *f, double x,
                         int decimals) {
    char text[32];
    (void)snprintf(text, sizeof(text), "%.*f", decimals, x);
    put_x_tick(b, px(f, x), text);
}

/* 1, 2 and 5 times the powers of ten on a logarithmic axis; only the powers
 * where that gets crowded. */
static void draw_log_ticks(hearth_buf *b, const frame *f) {
    static const double PART[] = {1.0, 2.0, 5.0};
    int n = f->x1 - f->x0 > 4.0 ? 1 : 3;
    for (int e = (int)floor(f->x0); e <= (int)ceil(f->x1); e++)
        for (int i = 0; i < n; i++) {
            double x = PART[i] * pow(10.0, e);
            if (log10(x) >= f->x0 && log10(x) <= f->x1)
                put_x_number(b, f, x, e < 0 ? -e : 0);
        }
}

static void draw_x_ticks(hearth_buf *b, const hearth_fleet_chart *c,
                         const frame *f) {
    if (c->x_log) {
        draw_log_ticks(b, f);
        if (c->x_end) put_x_tick(b, px(f, (double)INFINITY), c->x_end);
        return;
    }
    double step = fmax(hearth_fleet_nice_step(f->x1 - f->x0, 10), 1.0);
    for (double k = ceil(f->x0 / step); k * step <= f->x1; k += 1.0)
        put_x_number(b, f, k * step, 0);
}

static void draw_axes(hearth_buf *b, const hearth_fleet_chart *c,
                      const frame *f) {
    double step = hearth_fleet_nice_step(f->y1 - f->y0, 6);
    int d = decimals_of(step);
    for (double k = ceil(f->y0 / step); k * step <= f->y1; k += 1.0) {
        double y = py(f, k * step);
        (void)hearth_buf_printf(
            b,
            "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>"
            "<text class=\"tick\" x=\"%d\" y=\"%.1f\" "
            "text-anchor=\"end\">%.*f</text>\n",
            LEFT, WIDTH - RIGHT, y, y, LEFT - 8, y + 4, d, k * step);
    }
    draw_x_ticks(b, c, f);
    (void)hearth_buf_printf(
        b,
        "<line class=\"axis\" x1=\"%d\" x2=\"%d\" y1=\"%d\" "
        "y2=\"%d\"/>\n",
        LEFT, WIDTH - RIGHT, HEIGHT - BOTTOM, HEIGHT - BOTTOM);
    (void)hearth_buf_printf(
        b, "<text class=\"label\" x=\"%d\" y=\"%d\" text-anchor=\"middle\">",
        (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8);
    (void)hearth_fleet_html_text(b, c->x_label);
    (void)hearth_buf_printf(
        b,
        "</text><text class=\"label\" transform=\"rotate(-90)"
        "\" x=\"%d\" y=\"14\" text-anchor=\"middle\">",
        -(TOP + HEIGHT - BOTTOM) / 2);
    (void)hearth_fleet_html_text(b, c->y_label);
    (void)hearth_buf_puts(b, "</text>\n");
}

static void draw_band(hearth_buf *b, const hearth_fleet_series *q,
                      const frame *f) {
    size_t n = 0;
    (void)hearth_buf_printf(b, "<polygon class=\"band s%d\" points=\"",
                            q->colour);
    for (size_t i = 0; i < q->n; i++)
        if (isfinite(q->high[i]) && isfinite(q->low[i]))
            (void)hearth_buf_printf(b, "%s%.1f,%.1f", n++ ? " " : "",
                                    px(f, q->x[i]), py(f, q->high[i]));
    for (size_t i = q->n; i-- > 0;)
        if (isfinite(q->high[i]) && isfinite(q->low[i]))
            (void)hearth_buf_printf(b, " %.1f,%.1f", px(f, q->x[i]),
                                    py(f, q->low[i]));
    (void)hearth_buf_puts(b, "\"/>\n");
}

static void draw_path(hearth_buf *b, const hearth_fleet_chart *c,
                      const hearth_fleet_series *q, const frame *f) {
    bool pen = false;
    (void)hearth_buf_printf(b, "<path class=\"line s%d%s\" d=\"", q->colour,
                            q->dashed ? " dash" : "");
    for (size_t i = 0; i < q->n; i++) {
        bool far = isinf(q->x[i]) && !q->dashed;
        if (!isfinite(q->y[i]) || isnan(q->x[i]) || far) {
            pen = false;
            continue;
        }
        (void)hearth_buf_printf(b, "%c%.1f %.1f", pen ? 'L' : 'M',
                                px(f, q->x[i]) + q->shift,
                                py(f, clamp_y(c, q->y[i])));
        pen = true;
    }
    (void)hearth_buf_puts(b, "\"/>\n");
}

static void draw_whisker(hearth_buf *b, const hearth_fleet_chart *c,
                         const hearth_fleet_series *q, size_t i,
                         const frame *f) {
    double x = px(f, q->x[i]) + q->shift;
    double low = py(f, clamp_y(c, q->low[i]));
    double high = py(f, clamp_y(c, q->high[i]));
    (void)hearth_buf_printf(
        b,
        "<path class=\"whisker s%d\" d=\"M%.1f %.1fV%.1fM%.1f %.1fh6M%.1f "
        "%.1fh6\"/>",
        q->colour, x, low, high, x - 3.0, low, x - 3.0, high);
}

/* A dot, or an arrow where the frame ends below the point. */
static void draw_dot(hearth_buf *b, const hearth_fleet_chart *c,
                     const hearth_fleet_series *q, size_t i, const frame *f) {
    double x = px(f, q->x[i]) + q->shift;
    if (above(c, q->y[i]))
        (void)hearth_buf_printf(b,
                                "<polygon class=\"s%d\" points=\"%.1f,%d "
                                "%.1f,%d %.1f,%d\"/>",
                                q->colour, x - 5.0, TOP + 9, x + 5.0, TOP + 9,
                                x, TOP);
    else
        (void)hearth_buf_printf(
            b, "<circle class=\"dot s%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"/>",
            q->colour, x, py(f, q->y[i]), q->whiskers ? 3.2 : 2.5);
}

static void draw_line(hearth_buf *b, const hearth_fleet_chart *c,
                      const hearth_fleet_series *q, const frame *f) {
    if (!q->no_line) draw_path(b, c, q, f);
    for (size_t i = 0; i < q->n && q->n <= 40 && !q->dashed; i++) {
        if (!isfinite(q->y[i]) || isnan(q->x[i])) continue;
        if (q->whiskers && q->low && q->high && !above(c, q->low[i]))
            draw_whisker(b, c, q, i, f);
        draw_dot(b, c, q, i, f);
    }
}

static void draw_legend(hearth_buf *b, const hearth_fleet_chart *c) {
    (void)hearth_buf_puts(b, "<p class=\"legend\">");
    for (size_t s = 0; s < c->n_series; s++) {
        (void)hearth_buf_printf(b, "<span><i class=\"key s%d%s\"></i>",
                                c->series[s].colour,
                                c->series[s].dashed ? " dash" : "");
        (void)hearth_fleet_html_text(b, c->series[s].label);
        (void)hearth_buf_puts(b, "</span> ");
    }
    (void)hearth_buf_puts(b, "</p>\n");
}

hearth_status hearth_fleet_chart_svg(hearth_buf *b,
                                     const hearth_fleet_chart *c) {
    frame f;
    if (!b || !c || c->n_series > HEARTH_FLEET_CHART_MAX_SERIES)
        return HEARTH_EINVAL;
    (void)hearth_buf_puts(b, "<figure><figcaption>");
    (void)hearth_fleet_html_text(b, c->title);
    (void)hearth_buf_puts(b, "</figcaption>\n");
    if (!fit(c, &f)) {
        (void)hearth_buf_puts(b, "<p class=\"none\">Nothing was measured.</p>"
                                 "</figure>\n");
        return b->failed ? HEARTH_ENOMEM : HEARTH_OK;
    }
    (void)hearth_buf_printf(
        b, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", WIDTH,
        HEIGHT);
    (void)hearth_fleet_html_text(b, c->title);
    (void)hearth_buf_puts(b, "\">\n");
    draw_axes(b, c, &f);
    for (size_t s = 0; s < c->n_series; s++)
        if (c->series[s].low && c->series[s].high && !c->series[s].whiskers)
            draw_band(b, &c->series[s], &f);
    for (size_t s = 0; s < c->n_series; s++) draw_line(b, c, &c->series[s], &f);
    (void)hearth_buf_puts(b, "</svg>\n");
    draw_legend(b, c);
    (void)hearth_buf_puts(b, "</figure>\n");
    return b->failed ? HEARTH_ENOMEM : HEARTH_OK;
}

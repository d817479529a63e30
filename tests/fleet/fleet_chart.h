/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_chart.h - a line chart as inline SVG.
 *
 * Colours are CSS classes s0..s7 of the page, so that light and dark mode share
 * one drawing.  Series may have a band (low, high), or whiskers.  Points whose y
 * is NaN are gaps.  Ticks are "nice" numbers (1, 2 or 5 times a power of ten).
 * With a logarithmic x axis a point at infinity stands in a column of its own at
 * the right, under the words x_end; no line leads there.
 *
 * Threads: pure.   Memory: appends to the caller's buffer.
 */
#ifndef HEARTH_TESTS_FLEET_CHART_H
#define HEARTH_TESTS_FLEET_CHART_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"

#define HEARTH_FLEET_CHART_MAX_SERIES 8

/* x, y, low, high are [n]; low and high may be NULL. All borrowed. */
typedef struct {
    const char *label;
    const double *x, *y, *low, *high;
    size_t n;
    bool dashed;
    int colour;    /* 0..7: class of the page's palette */
    bool whiskers; /* low and high as whiskers, not as a band */
    bool no_line;  /* dots alone */
    double shift;  /* of the drawing to the right, in SVG units */
} hearth_fleet_series;

typedef struct {
    const char *title, *x_label, *y_label;
    const hearth_fleet_series *series; /* [n_series] */
    size_t n_series;
    bool y_from_zero;
    bool x_log;        /* x > 0, or infinity */
    const char *x_end; /* with x_log: what infinity is called, or NULL */
    double y_max;      /* 0: none; above it a point is an arrow at the top,
                          and its line leads there */
} hearth_fleet_chart;

/* Append <figure> .. </figure>.  A chart without a finite point says so in
 * words.  HEARTH_OK, HEARTH_EINVAL, HEARTH_ENOMEM. */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_chart_svg(hearth_buf *b,
                                     const hearth_fleet_chart *c);

/* Append s with & < > " and ' escaped. */
hearth_status hearth_fleet_html_text(hearth_buf *b, const char *s);

/* A step of 1, 2 or 5 times a power of ten that cuts span into at most n_max
 * parts; span > 0, n_max >= 1. */
double hearth_fleet_nice_step(double span, int n_max);

#endif /* HEARTH_TESTS_FLEET_CHART_H */

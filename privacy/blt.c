/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/blt.c - the contract is in blt.h; this is why the sensitivity holds.
 *
 * One device takes part in rounds t_0 < t_1 < .. < t_(m-1), m <= k, each at
 * least b after the one before, and moves G there by vectors x_i of length at
 * most 1.  With C_t column t of C,
 *
 *     |C dG|^2 = sum_ij <C_(t_i), C_(t_j)> <x_i, x_j>
 *             <= sum_ij <C_(t_i), C_(t_j)>        as C >= 0 and |x_i| <= 1.
 *
 * For i <= j let g = t_j - t_i.  Then
 *
 *     <C_(t_i), C_(t_j)> = sum over m from 0 to n-1-t_j of c_(m+g) c_m.
 *
 * c >= 0 does not grow with its index, so this does not grow with g, nor, as
 * terms fall away, with t_j.  The rules give g >= (j-i) b and t_j >= j b, so
 * the product is at most <C_(ib), C_(jb)>: no pattern is worse than the rounds
 * 0, b, 2b, .., and more participations only add terms that are not negative.
 * x_i = one fixed unit vector reaches it.  tests/unit/test_blt.c compares with
 * every pattern of small n.
 *
 * c does not grow: c_(i+1) <= c_i for i >= 1 since theta <= 1, and c_1 = the
 * sum of omega <= 1 = c_0.
 *
 * Every term of the sum is >= 0, so a rounding is relative: at most 2n + 2d
 * in a filter's output, twice that in its square, n in the sum, below
 * 2^19 2^-53 in all for n <= 2^16.  GUARD is larger.
 */
#include "privacy/blt.h"

#include <math.h>
#include <stddef.h>

static const double GUARD = 1.0 + 1e-9;

bool hearth_blt_ok(const hearth_blt *b) {
    double sum = 0.0;
    if (!b || b->n_buffers > HEARTH_BLT_MAX_BUFFERS) return false;
    for (unsigned j = 0; j < b->n_buffers; j++) {
        if (!(b->theta[j] >= 0.0 && b->theta[j] <= 1.0)) return false;
        if (!(b->omega[j] >= 0.0)) return false;
        sum += b->omega[j];
    }
    return sum <= 1.0;
}

bool hearth_blt_pattern_ok(const hearth_blt_pattern *p) {
    return p && p->rounds >= 1 && p->rounds <= HEARTH_BLT_MAX_ROUNDS &&
           p->separation >= 1 && p->participations >= 1;
}

/* One round of y = C u. */
static double forward(const hearth_blt *b, double *s, double u) {
    double y = u;
    for (unsigned j = 0; j < b->n_buffers; j++) {
        y += b->omega[j] * s[j];
        s[j] = b->theta[j] * s[j] + u;
    }
    return y;
}

/* One round of y = C^-1 v. */
static double backward(const hearth_blt *b, double *s, double v) {
    double y = v;
    for (unsigned j = 0; j < b->n_buffers; j++) y -= b->omega[j] * s[j];
    for (unsigned j = 0; j < b->n_buffers; j++) s[j] = b->theta[j] * s[j] + y;
    return y;
}

static bool column_args(const hearth_blt *b, const double *out, uint32_t n) {
    return hearth_blt_ok(b) && n <= HEARTH_BLT_MAX_ROUNDS && (out || !n);
}

hearth_status hearth_blt_column(const hearth_blt *b, double *out, uint32_t n) {
    double s[HEARTH_BLT_MAX_BUFFERS] = {0};
    if (!column_args(b, out, n)) return HEARTH_EINVAL;
    for (uint32_t t = 0; t < n; t++) out[t] = forward(b, s, t ? 0.0 : 1.0);
    return HEARTH_OK;
}

hearth_status hearth_blt_inverse(const hearth_blt *b, double *out, uint32_t n) {
    double s[HEARTH_BLT_MAX_BUFFERS] = {0};
    if (!column_args(b, out, n)) return HEARTH_EINVAL;
    for (uint32_t t = 0; t < n; t++) out[t] = backward(b, s, t ? 0.0 : 1.0);
    return HEARTH_OK;
}

/* C applied to the worst pattern: 1 in the rounds 0, b, .., (k-1) b. */
double hearth_blt_sensitivity(const hearth_blt *b,
                              const hearth_blt_pattern *p) {
    double s[HEARTH_BLT_MAX_BUFFERS] = {0}, sum = 0.0;
    if (!hearth_blt_ok(b) || !hearth_blt_pattern_ok(p)) return (double)INFINITY;
    for (uint32_t t = 0; t < p->rounds; t++) {
        bool part =
            t % p->separation == 0 && t / p->separation < p->participations;
        double v = forward(b, s, part ? 1.0 : 0.0);
        sum += v * v;
    }
    return sqrt(sum) * GUARD;
}

/* A C^-1 (A: ones on and below the diagonal) is Toeplitz too; its column is the
 * running sum of the inverse's, so row t has the first t + 1 of them. */
hearth_blt_error hearth_blt_errors(const hearth_blt *b, uint32_t n) {
    const double inf = (double)INFINITY;
    double s[HEARTH_BLT_MAX_BUFFERS] = {0};
    double prefix = 0.0, row = 0.0, all = 0.0, step = 0.0, most = 0.0;
    if (!hearth_blt_ok(b) || n < 1 || n > HEARTH_BLT_MAX_ROUNDS)
        return (hearth_blt_error){inf, inf, inf, inf};
    for (uint32_t t = 0; t < n; t++) {
        double r = backward(b, s, t ? 0.0 : 1.0);
        prefix += r;
        step += r * r;
        most += fabs(r);
        row += prefix * prefix;
        all += row;
    }
    return (hearth_blt_error){sqrt(row), sqrt(all / (double)n), sqrt(step),
                              most};
}

/* ---- the fit ---- */

/* The square root of the prefix-sum matrix has c_i = binom(2i, i) / 4^i, which
 * is the moment E[u^(i-1)] of the measure (1/pi) sqrt(u / (1-u)) du on [0, 1]
 * (Wallis' integral; its mass is c_1 = 1/2).  [0, 1] is cut where 1 - u falls by
 * the same factor, from 1 to 1/n, and each piece becomes one buffer: its mass
 * is omega, its mean is theta.  With u = sin^2 x the two integrals are
 *     mass:        (x - sin x cos x) / pi
 *     mass x mean: (3x/4 - sin(2x)/2 + sin(4x)/16) / pi */
static double mass_below(double x) {
    return (x - sin(x) * cos(x)) / 3.14159265358979323846;
}

static double moment_below(double x) {
    return (0.75 * x - 0.5 * sin(2.0 * x) + 0.0625 * sin(4.0 * x)) /
           3.14159265358979323846;
}

static void square_root(hearth_blt *b, unsigned n_buffers, uint32_t n) {
    double low = 0.0;
    *b = (hearth_blt){.n_buffers = n_buffers};
    for (unsigned j = 0; j < n_buffers; j++) {
        double rest =
            j + 1 == n_buffers
                ? 0.0
                : pow((double)n + 1.0, -(double)(j + 1) / (double)n_buffers);
        double high = asin(sqrt(1.0 - rest));
        double mass = mass_below(high) - mass_below(low);
        b->omega[j] = mass;
        b->theta[j] = fmin(
            fmax((moment_below(high) - moment_below(low)) / mass, 0.0), 1.0);
        low = high;
    }
}

/* What the search makes smaller: the noise of the last prefix sum at a given
 * privacy.  x[2j] = log(1 - theta_j), x[2j+1] = log(omega_j). */
typedef struct {
    hearth_blt_pattern p;
    unsigned n;
} goal;

static hearth_blt at(const goal *g, const double *x) {
    hearth_blt b = {.n_buffers = g->n};
    for (unsigned j = 0; j < g->n; j++) {
        b.theta[j] = 1.0 - exp(x[2 * j]);
        b.omega[j] = exp(x[2 * j + 1]);
    }
    return b;
}

static double value(const goal *g, const double *x) {
    const hearth_blt b = at(g, x);
    if (!hearth_blt_ok(&b)) return (double)INFINITY;
    return hearth_blt_sensitivity(&b, &g->p) *
           hearth_blt_errors(&b, g->p.rounds).max;
}

/* Try a step each way along every axis, and keep what helps. */
static double explore(const goal *g, double *x, double best, double step) {
    for (unsigned i = 0; i < 2 * g->n; i++) {
        double old = x[i];
        for (int way = -1; way <= 1; way += 2) {
            x[i] = old + way * step;
            double v = value(g, x);
            if (v < best) {
                best = v;
                old = x[i];
                break;
            }
        }
        x[i] = old;
    }
    return best;
}

/* Coordinate search: halve the step when no axis helps. */
static void search(const goal *g, double *x) {
    enum { TURNS = 250 };
    double best = value(g, x), step = 0.5;
    for (int turn = 0; turn < TURNS && step > 1e-4; turn++) {
        double found = explore(g, x, best, step);
        if (!(found < best)) step *= 0.5;
        best = found;
    }
}

hearth_status hearth_blt_fit(hearth_blt *out, unsigned n_buffers,
                             const hearth_blt_pattern *p) {
    double x[2 * HEARTH_BLT_MAX_BUFFERS];
    if (!out) return HEARTH_EINVAL;
    *out = (hearth_blt){0};
    if (n_buffers < 1 || n_buffers > HEARTH_BLT_MAX_BUFFERS ||
        !hearth_blt_pattern_ok(p))
        return HEARTH_EINVAL;
    const goal g = {*p, n_buffers};
    square_root(out, n_buffers, p->rounds);
    for (unsigned j = 0; j < n_buffers; j++) {
        x[2 * j] = log(fmax(1.0 - out->theta[j], 1e-9));
        x[2 * j + 1] = log(fmax(out->omega[j], 1e-9));
    }
    search(&g, x);
    *out = at(&g, x);
    return hearth_blt_ok(out) ? HEARTH_OK : HEARTH_EINVAL;
}

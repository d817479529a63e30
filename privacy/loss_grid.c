/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/loss_grid.c - the contract is in loss_grid.h.
 *
 * With E(x) = P(x)/Q(x) = 1 - q + q e^v, v = (2x - 1) / 2z^2, the loss of the
 * remove direction is log E, which rises with x, and that of the add direction
 * is -log E.  Between the outputs where log E is i h and (i + 1) h, the mass
 * dP at x goes up by the share
 *
 *     (1 - e^(ih) / E) / (1 - e^-h)            (remove, dP = E phi dx)
 *     (1 - E e^-(i+1)h) / (1 - e^-h)           (add, dP = phi dx)
 *
 * and down by the rest: the only split that keeps sum P and sum e^-loss P.
 * These shares are integrated by Gauss's rule: all terms are positive, while
 * the usual form, a second difference of hockey-stick values, loses 1e-16 / h
 * of the whole in every point.
 */
#include "privacy/loss_grid.h"

#include <math.h>
#include <stdbool.h>

#include "common/mem.h"
#include "privacy/normal_dist.h"

/* Gauss-Legendre nodes and weights on [-1, 1]. */
typedef struct {
    int n;
    double node[5], weight[5];
} rule;

static const rule TWO = {
    2, {-0.57735026918962576451, 0.57735026918962576451}, {1, 1}};
static const rule THREE = {
    3,
    {-0.77459666924148337704, 0, 0.77459666924148337704},
    {0.55555555555555555556, 0.88888888888888888889, 0.55555555555555555556}};
static const rule FIVE = {5,
                          {-0.90617984593866399280, -0.53846931010568309104, 0,
                           0.53846931010568309104, 0.90617984593866399280},
                          {0.23692688505618908751, 0.47862867049936646804,
                           0.56888888888888888889, 0.47862867049936646804,
                           0.23692688505618908751}};

/* The mechanism, the stretch of outputs that is resolved, and its losses. */
typedef struct {
    double z, q, h, x0, x1, l0, l1;
    double unit; /* the length over which every density here is smooth */
    double step; /* 1 - e^-h */
} shape;

static double loss_at(const shape *s, double x) {
    double v = (2 * x - 1) / (2 * s->z * s->z);
    if (v > 300) return v + log(s->q + (1 - s->q) * exp(-v));
    return s->q == 1 ? v : log1p(s->q * expm1(v));
}

/* The output with this loss, kept inside [x0, x1]. */
static double output_at(const shape *s, double loss) {
    double z2 = s->z * s->z, v;
    if (s->q == 1) {
        v = loss;
    } else if (loss > 300) {
        v = loss - log(s->q);
    } else {
        double share = expm1(loss) / s->q;
        if (share <= -1) return s->x0;
        v = log1p(share);
    }
    double x = z2 * v + 0.5;
    return x < s->x0 ? s->x0 : x > s->x1 ? s->x1 : x;
}

static shape shape_of(double z, double q, double tail, double h) {
    double t = sqrt(-2 * log(tail)); /* Phi(-t) <= tail / 2 */
    shape s = {.z = z, .q = q, .h = h, .x0 = -z * t, .x1 = 1 + z * t};
    s.unit = z * z / (1 + z);
    s.step = -expm1(-h);
    s.l0 = loss_at(&s, s.x0);
    s.l1 = loss_at(&s, s.x1);
    return s;
}

static bool good(double z, double q, double tail, double h) {
    return isfinite(z) && z > 0 && q > 0 && q <= 1 && tail > 0 && tail < 0.1 &&
           isfinite(h) && h > 0;
}

double hearth_loss_grid_points(double z, double q, double tail, double h) {
    if (!good(z, q, tail, h)) return (double)INFINITY;
    shape s = shape_of(z, q, tail, h);
    return ceil(s.l1 / h) - floor(s.l0 / h) + 1;
}

/* What an interval gives to its lower and upper loss, in both directions. */
typedef struct {
    double remove_down, remove_up, add_down, add_up;
} parts;

static double unit_share(double x) {
    return x < 0 ? 0.0 : x > 1 ? 1.0 : x;
}

/* Add the mass of outputs [a, b], all with losses in [i h, (i + 1) h]. */
static void integrate(const shape *s, double low, double a, double b,
                      parts *p) {
    double width = b - a, z2 = s->z * s->z;
    const rule *r = width <= 0.001 * s->unit  ? &TWO
                    : width <= 0.02 * s->unit ? &THREE
                                              : &FIVE;
    double panels = r == &FIVE ? ceil(width / (0.1 * s->unit)) : 1;
    double half = width / (2 * panels), e_low = exp(low),
           e_high = exp(-low - s->h);
    for (double k = 0; k < panels; k++)
        for (int j = 0; j < r->n; j++) {
            double x = a + (2 * k + 1 + r->node[j]) * half;
            double v = (2 * x - 1) / (2 * z2), phi, lifted, up, fall;
            if (v < 300) {
                double e = 1 - s->q + s->q * exp(v);
                phi = exp(-x * x / (2 * z2));
                lifted = phi * e;
                up = 1 - e_low / e;
                fall = 1 - e * e_high;
            } else {
                double l = loss_at(s, x);
                phi = exp(-x * x / (2 * z2));
                lifted = exp(l - x * x / (2 * z2));
                up = -expm1(low - l);
                fall = -expm1(l - low - s->h);
            }
            double w = r->weight[j] * half;
            double ru = unit_share(up / s->step),
                   au = unit_share(fall / s->step);
            p->remove_up += w * lifted * ru;
            p->remove_down += w * lifted * (1 - ru);
            p->add_up += w * phi * au;
            p->add_down += w * phi * (1 - au);
        }
}

/* Scale the masses to what is left of 1.  Quadrature is off by 1e-12 or so; if
 * it ever were by more, what is missing counts as lost. */
static void normalise(hearth_loss_side *side) {
    double sum = 0, rest = 1 - side->infinite;
    for (size_t i = 0; i < side->n; i++) sum += side->mass[i];
    if (fabs(sum - rest) <= 1e-9) {
        for (size_t i = 0; i < side->n; i++) side->mass[i] *= rest / sum;
    } else if (sum < rest) {
        side->infinite = 1 - sum;
    }
}

/* Outputs beyond the stretch: where the loss is large they are lost, where it
 * is small they join the lowest resolved interval's upper end. */
static void add_tails(const shape *s, hearth_loss_grid *g) {
    double low = exp(hearth_normal_log_cdf(s->x0 / s->z));
    double low_1 = exp(hearth_normal_log_cdf((s->x0 - 1) / s->z));
    double high = exp(hearth_normal_log_cdf(-s->x1 / s->z));
    double high_1 = exp(hearth_normal_log_cdf((1 - s->x1) / s->z));
    g->remove.infinite = (1 - s->q) * high + s->q * high_1;
    g->remove.mass[1] += (1 - s->q) * low + s->q * low_1;
    g->add.infinite = low;
    g->add.mass[1] += high;
}

static void fill(const shape *s, hearth_loss_grid *g) {
    double norm = 1 / (s->z * 2.5066282746310005024);
    size_t n = g->remove.n;
    int64_t first = g->remove.first;
    double a = s->x0;
    for (size_t i = 0; i + 1 < n; i++) {
        double low = (double)(first + (int64_t)i) * s->h;
        double b = i + 2 == n
                       ? s->x1
                       : output_at(s, (double)(first + (int64_t)i + 1) * s->h);
        parts p = {0};
        if (b > a) integrate(s, low, a, b, &p);
        g->remove.mass[i] += norm * p.remove_down;
        g->remove.mass[i + 1] += norm * p.remove_up;
        g->add.mass[n - 1 - i] += norm * p.add_up;
        g->add.mass[n - 2 - i] += norm * p.add_down;
        a = b > a ? b : a;
    }
}

hearth_status hearth_loss_grid_init(hearth_loss_grid *out, double z, double q,
                                    double tail, double h,
                                    const hearth_alloc *alloc) {
    if (!out) return HEARTH_EINVAL;
    *out = (hearth_loss_grid){0};
    if (!good(z, q, tail, h)) return HEARTH_EINVAL;
    shape s = shape_of(z, q, tail, h);
    double points = hearth_loss_grid_points(z, q, tail, h);
    if (!(points <= (double)HEARTH_LOSS_GRID_MAX)) return HEARTH_ETOOBIG;
    out->al = *hearth_mem_or_default(alloc);
    size_t n = (size_t)points < 2 ? 2 : (size_t)points;
    double *both = hearth_mem_array(&out->al, 2 * n, sizeof(*both));
    if (!both) {
        *out = (hearth_loss_grid){0};
        return HEARTH_ENOMEM;
    }
    out->h = h;
    int64_t first = (int64_t)floor(s.l0 / h);
    out->remove = (hearth_loss_side){both, n, first, 0};
    out->add = (hearth_loss_side){both + n, n, -(first + (int64_t)n - 1), 0};
    fill(&s, out);
    add_tails(&s, out);
    normalise(&out->remove);
    normalise(&out->add);
    return HEARTH_OK;
}

void hearth_loss_grid_free(hearth_loss_grid *g) {
    if (!g || !g->remove.mass) return;
    hearth_mem_free(&g->al, g->remove.mass);
    *g = (hearth_loss_grid){0};
}

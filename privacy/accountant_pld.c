/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/accountant_pld.c - the contract is in accountant_pld.h, the argument
 * that every step errs upwards in PRIVACY.md.
 *
 * One direction: p_i are the masses of one round at losses l_i, K(t) the log of
 * sum p_i e^(t l_i).  Every t > 0 gives epsilon <= (T K(t) - log delta) / t =:
 * e_t; t is chosen to make that small.  The tilted masses p_i e^(t l_i - K) are
 * composed instead of p: their sum of T has its mean near e_t, so the part that
 * decides about delta is the bulk, not a tail of 1e-10 under the round-off of
 * the FFT.  A composed mass w at l stands for w e^(-t (l - e_t)) delta.  All
 * figures below are shares of delta; nothing overflows at any epsilon.
 */
#include "privacy/accountant_pld.h"

#include <math.h>
#include <stdbool.h>

#include "common/mem.h"
#include "privacy/fft.h"
#include "privacy/loss_grid.h"

#define ROUGH_POINTS 8192.0
#define FINE_POINTS  524288.0  /* 2^19, when the interval is ours to choose */
#define FFT_FINE     524288.0  /* 2^19, the same */
#define FFT_MAX      4194304.0 /* 2^22, when it was asked for */
#define CHAIN        64u
#define MOST_FINER   64.0 /* a pass than the one before */

static const double SHARE_CUT = 1e-9; /* of delta: what a cut may cost */
static const double FOLD = 1e-5;      /* of delta: what folding may add */
/* Of a bound that is known: where the next window begins, and where epsilon is
 * expected at least.  Lower costs points, too high costs a transform. */
static const double LAND = 0.75, READ = 0.97;

/* sum p_i e^(t l_i) over one block of n <= CHAIN, scaled by e^(-t l_first),
 * with its first two derivatives in units of h. */
typedef struct {
    double f0, f1, f2;
} block_sums;

static block_sums block_of(const double *p, size_t n, double r) {
    block_sums s = {0, 0, 0};
    for (size_t i = n; i-- > 0;) {
        s.f2 = r * (s.f2 + 2 * s.f1 + s.f0);
        s.f1 = r * (s.f1 + s.f0);
        s.f0 = r * s.f0 + p[i];
    }
    return s;
}

/* The same without derivatives, in four chains. */
static double block_sum(const double *p, size_t n, double r) {
    double r2 = r * r, r4 = r2 * r2, a = 0, b = 0, c = 0, d = 0;
    if (n % 4) return block_of(p, n, r).f0;
    for (size_t i = n; i > 0; i -= 4) {
        a = a * r4 + p[i - 4];
        b = b * r4 + p[i - 3];
        c = c * r4 + p[i - 2];
        d = d * r4 + p[i - 1];
    }
    return (a + r * b) + r2 * (c + r * d);
}

typedef struct {
    double k, mean, variance; /* log of the sum; of the tilted loss */
} moments;

static size_t chain_length(double t, double h) {
    double n = 600 / (fabs(t) * h + 1e-300);
    return n >= CHAIN ? CHAIN : n < 1 ? 1 : (size_t)n;
}

static moments moments_of(const hearth_loss_side *s, double h, double t) {
    size_t step = chain_length(t, h);
    double r = step > 1 ? exp(t * h) : 1;
    double top = -(double)INFINITY, m0 = 0, m1 = 0, m2 = 0;
    for (size_t i = 0; i < s->n; i += step) {
        size_t n = s->n - i < step ? s->n - i : step;
        block_sums b = block_of(s->mass + i, n, r);
        if (!(b.f0 > 1e-290)) continue; /* too small to weigh */
        double at = (double)(s->first + (int64_t)i);
        double log_b = log(b.f0) + t * h * at;
        if (log_b > top) {
            double shrink = exp(top - log_b);
            m0 *= shrink, m1 *= shrink, m2 *= shrink;
            top = log_b;
        }
        double w = exp(log_b - top), first = b.f1 / b.f0;
        m0 += w;
        m1 += w * (first + at);
        m2 += w * (b.f2 / b.f0 + 2 * at * first + at * at);
    }
    double mean = m1 / m0, variance = m2 / m0 - mean * mean;
    return (moments){top + log(m0), mean * h,
                     variance > 0 ? variance * h * h : 0};
}

static double log_mgf(const hearth_loss_side *s, double h, double t) {
    size_t step = chain_length(t, h);
    double r = step > 1 ? exp(t * h) : 1, top = -(double)INFINITY, m0 = 0;
    for (size_t i = 0; i < s->n; i += step) {
        size_t n = s->n - i < step ? s->n - i : step;
        double b = block_sum(s->mass + i, n, r);
        if (!(b > 0)) continue;
        double log_b = log(b) + t * h * (double)(s->first + (int64_t)i);
        if (log_b > top) {
            m0 *= exp(top - log_b);
            top = log_b;
        }
        m0 += exp(log_b - top);
    }
    return top + log(m0);
}

/* A tilt: e_t, and mean and deviation of the tilted sum. */
typedef struct {
    double t, epsilon, mean, deviation;
} tilt;

static tilt tilt_at(const hearth_loss_side *s, double h, double rounds,
                    double log_delta, double t) {
    moments m = moments_of(s, h, t);
    return (tilt){t, (rounds * m.k - log_delta) / t, rounds * m.mean,
                  sqrt(rounds * m.variance)};
}

/* t in [lo, hi] where the mean of the tilted sum is `mean`, or, when that is
 * NaN, e_t: there e_t is least (its slope is t T K' - T K + log delta, which
 * rises with t). */
static tilt choose_tilt(const hearth_loss_side *s, double h, double rounds,
                        double log_delta, double mean, double lo, double hi) {
    for (int i = 0; i < 60 && hi > lo * 1.005; i++) {
        tilt c = tilt_at(s, h, rounds, log_delta, sqrt(lo * hi));
        if (c.mean > (isnan(mean) ? c.epsilon : mean))
            hi = c.t;
        else
            lo = c.t;
    }
    return tilt_at(s, h, rounds, log_delta, hi);
}

/* Masses in order of loss, (first + k) h at m[(start + k) % n]; each stands for
 * (m, or 0 when that is below, + slack) scale e^(-t (loss - epsilon)). */
typedef struct {
    const double *m;
    size_t n, start;
    int64_t first;
    double slack, scale, t, epsilon;
} masses;

/* epsilon where lost + sum over l_j > epsilon of m_j (1 - e^(epsilon - l_j)) is
 * 1.  0 when even epsilon = 0 is below 1; the lowest loss when that one is. */
static double read_off(const masses *s, double h, double lost) {
    if (!(lost < 1)) return (double)INFINITY;
    double mass = 0, damped = 0, fade = exp(-h);
    for (size_t k = s->n, at = s->start + k; k-- > 0;) {
        double loss = (double)(s->first + (int64_t)k) * h;
        if (lost + mass - damped > 1) {
            double up = log((lost + mass - 1) / damped);
            double e = loss + (up < 0 ? 0 : up > h ? h : up);
            return e > 0 ? e : 0.0;
        }
        if (loss <= 0) return 0.0;
        at--;
        double m = s->m[at < s->n ? at : at - s->n];
        m = ((m > 0 ? m : 0) + s->slack) * s->scale;
        if (s->t > 0) m *= exp(-s->t * (loss - s->epsilon));
        mass += m;
        damped = fade * (damped + m);
        /* Now of the point below: e^(l_(k-1) - l_j). */
    }
    double bottom = (double)s->first * h;
    return bottom > 0 ? bottom : 0.0;
}

/* ---- the composed window ---- */

/* Where a window begins, and where epsilon is expected at least. */
typedef struct {
    double land, read;
} aim;

typedef struct {
    int64_t first; /* index of its lowest loss */
    size_t n;      /* a power of two */
    double lost;   /* share of delta above it */
} window;

/* A window of the tilted sum from `land` upwards, below which epsilon will not
 * be read.  Above its top at most SHARE_CUT of delta is left, by Chernoff's
 * bound at t + x for the best of a few x.  What is outside folds into it and
 * only adds; so that it adds less than FOLD of delta above `read`, the window's
 * length l has
 *
 *     from below:  e^(-t l) / delta <= FOLD,
 *     from above:  e^(t (e_t - read)) Pr~[L > read + l] <= FOLD,
 *
 * because a mass w moved down by l weighs e^(t l) times as much. */
static bool choose_window(const hearth_loss_side *s, double h, double rounds,
                          const tilt *c, double k, aim to, double log_delta,
                          double most, window *w) {
    static const double STEPS[] = {0, 1, 1.5, 2, 3, 4, 5, 7, 10, 16};
    double top = (double)INFINITY, reach = top;
    double log_cut = c->t * c->epsilon - log(SHARE_CUT);
    double log_fold = c->t * (c->epsilon - to.read) - log(FOLD);
    for (size_t i = 0; i < sizeof(STEPS) / sizeof(*STEPS); i++) {
        double x = STEPS[i] / (c->deviation + 1e-300);
        double up = rounds * (log_mgf(s, h, c->t + x) - k);
        top = fmin(top, (log_cut + up) / (c->t + x));
        if (i > 0) reach = fmin(reach, (log_fold + up) / x - to.read);
    }
    reach = fmax(reach, -(log_delta + log(FOLD)) / c->t);
    double n = ceil(fmax(top - to.land, reach) / h) + 2;
    if (!(n <= most) || !(fabs(to.land / h) < 9e15)) return false;
    w->first = (int64_t)floor(to.land / h);
    w->n = 4;
    while ((double)w->n < n) w->n *= 2;
    w->lost = SHARE_CUT;
    return true;
}

/* Tilted masses of one round, as sums of tails: with J the index of the loss
 * less `centre`,
 *
 *     E[w^J] - 1 = (w - 1) (sum_{m >= 0} w^m Pr[J > m]
 *                           - sum_{m < 0} w^m Pr[J <= m]),
 *
 * and these tails are what is folded into x [n].  Returns E|J|, their total. */
static double fold_tails(const hearth_loss_side *s, double h, double t,
                         double k, int64_t centre, double *x, size_t n) {
    int64_t size = (int64_t)n, low = s->first - centre;
    int64_t high = low + (int64_t)s->n - 1, at = (low % size + size) % size;
    double sum = 0, total = 0;
    for (int64_t j = low; j < 0; j++) {
        size_t i = (size_t)(j - low);
        if (j <= high && s->mass[i] > 0)
            sum += s->mass[i] * exp(t * h * (double)(j + centre) - k);
        x[at] -= sum;
        total += sum;
        if (++at == size) at = 0;
    }
    sum = 0;
    at = high > 0 ? high % size : 0;
    for (int64_t j = high; j > 0; j--) {
        size_t i = (size_t)(j - low);
        if (j >= low && s->mass[i] > 0)
            sum += s->mass[i] * exp(t * h * (double)(j + centre) - k);
        if (--at < 0) at = size - 1;
        x[at] += sum;
        total += sum;
    }
    return total;
}

/* log(1 + x), |x| about 1 or less, within 3 2^-53 of itself: what rounding 1 + x
 * drops is exact.  Three times as fast as log1p. */
static double log_1_plus(double x) {
    double near = 1 + x;
    return log(near) + (x - (near - 1)) / near;
}

/* *re + i *im = (1 + y)^rounds; returns |1 + y|^(rounds - 1), or 0 when both are
 * below e^-100.  By logarithms: y is known to a share of itself, and so is
 * rounds log(1 + y), where powers of 1 + y would lose rounds times 1e-16. */
static double power_of(double yr, double yi, double rounds, double *re,
                       double *im) {
    double size = yr * (2 + yr) + yi * yi;
    double log_size = size > -1 ? 0.5 * log_1_plus(size) : -(double)INFINITY;
    *re = *im = 0;
    if (!((rounds - 1) * log_size > -100)) return 0;
    double angle = rounds * atan2(yi, 1 + yr);
    double all = exp(rounds * log_size);
    *re = all * cos(angle);
    *im = all * sin(angle);
    return all / sqrt(1 + size);
}

/* One frequency f of the folded tails, *re + i *im = X(f), becomes that of the
 * sum of all rounds; turn is half of f.  Returns what the error of this power
 * may be, see self_convolve. */
static double power_at(hearth_turn turn, double g, double rounds, double a,
                       double *re, double *im) {
    const double u = 1.1102230246251565e-16;
    double wr = -2 * turn.s * turn.s, wi = 2 * turn.s * turn.c;
    double yr = wr * *re - wi * *im, yi = wr * *im + wi * *re;
    double below = power_of(yr, yi, rounds, re, im);
    double off =
        (g + 11 * u) * 2 * fabs(turn.s) * a + 8 * u * (fabs(yr) + fabs(yi));
    return below * (rounds * off + 4 * u + g);
}

/* From the folded tails in x [n] to the masses of the sum of all rounds, times
 * n / 2, circularly.  Returns a bound of the error of every mass: with
 * u = 2^-53, g = (3.5 log2(n) - 5) u the error of a transform per unit of input,
 * a = E|J| and w = e^(2 pi i f), w - 1 = 2 i sin(pi f) e^(i pi f) is within 8 u
 * of itself, so y(f) within (g + 11 u) |w - 1| a of the truth; the power within
 * |1 + y|^(T-1) T (that + 8 u |y|) + 4 u; the inverse adds g of the mean of all
 * powers. */
static double self_convolve(const hearth_fft *f, double *x, double rounds,
                            double a) {
    const double u = 1.1102230246251565e-16;
    const hearth_turn half = {0, 1};       /* of f = 1/2 */
    double g = 2 * u, error = 0, none = 0; /* n is 4 at least */
    for (size_t i = f->n; i > 4; i /= 2) g += 3.5 * u;
    hearth_fft_forward(f, x);
    x[0] = 1;
    error += 4 * u + g + power_at(half, g, rounds, a, &x[1], &none);
    for (size_t m = 1; m <= f->n / 4; m *= 2)
        for (size_t i = 0; i < m; i++)
            error += 2 * power_at(hearth_fft_turn(f, m, i), g, rounds, a,
                                  &x[2 * m + i], &x[3 * m + i]);
    hearth_fft_inverse(f, x);
    return error / (double)f->n;
}

/* epsilon by tilt c, read at to.land or above; to.land when it is there or
 * below. */
static hearth_status compose_at(double *epsilon, size_t *fft_n,
                                const hearth_loss_side *s, double h,
                                const hearth_pld_query *q, tilt c, aim to,
                                const hearth_alloc *al) {
    double rounds = (double)q->rounds, log_delta = log(q->delta);
    double k = log_mgf(s, h, c.t);
    c.epsilon = (rounds * k - log_delta) / c.t;
    double lost = -expm1(rounds * log1p(-s->infinite)) / q->delta;
    window w = {0, 0, 0};
    hearth_fft f = {0};
    if (!choose_window(s, h, rounds, &c, k, to, log_delta,
                       q->interval > 0 ? FFT_MAX : FFT_FINE, &w))
        return HEARTH_ETOOBIG;
    double *x = hearth_mem_array(al, w.n, sizeof(*x));
    if (!x) return HEARTH_ENOMEM;
    hearth_status st = hearth_fft_init(&f, w.n, al);
    if (st == HEARTH_OK) {
        int64_t centre = (int64_t)(c.mean / rounds / h), size = (int64_t)w.n;
        int64_t at = (w.first - centre * (int64_t)q->rounds) % size;
        double a = fold_tails(s, h, c.t, k, centre, x, w.n);
        double slack = self_convolve(&f, x, rounds, a);
        double unit = (double)w.n / 2; /* x is times this */
        masses m = {.m = x,
                    .n = w.n,
                    .start = (size_t)(at < 0 ? at + size : at),
                    .first = w.first,
                    .slack = slack * unit,
                    .scale = 1 / unit,
                    .t = c.t,
                    .epsilon = c.epsilon};
        *epsilon = read_off(&m, h, lost + w.lost);
        if (w.n > *fft_n) *fft_n = w.n;
    }
    hearth_fft_free(&f);
    hearth_mem_free(al, x);
    return st;
}

/* What is known of one direction: an upper bound of epsilon, NaN at first, and
 * the tilt that gave it. */
typedef struct {
    tilt c;
    double epsilon;
} known;

/* Every tilt gives an upper bound; a good one has its mean near epsilon.  With
 * a rare but large loss (small rates) the first guess, Chernoff's e_t, is far
 * above it, and the tilt is chosen again from the bound found. */
static hearth_status compose(known *d, size_t *fft_n, const hearth_loss_side *s,
                             double h, const hearth_pld_query *q,
                             const hearth_alloc *al) {
    double rounds = (double)q->rounds, log_delta = log(q->delta);
    bool first = isnan(d->epsilon);
    tilt c = first ? choose_tilt(s, h, rounds, log_delta, d->epsilon, 1e-9, 1e9)
                   : choose_tilt(s, h, rounds, log_delta, d->epsilon,
                                 d->c.t / 2, d->c.t * 8);
    double best = (double)INFINITY;
    aim to = {LAND * d->epsilon, READ * d->epsilon};
    if (first) to.land = to.read = fmax(c.mean - 4 * c.deviation, 0);
    for (int i = 0; i < 8; i++) {
        double e = (double)INFINITY;
        hearth_status st = compose_at(&e, fft_n, s, h, q, c, to, al);
        if (st != HEARTH_OK) return st;
        /* Below `read` by 2 / t, e^2 times FOLD may have been added. */
        bool bottom = e <= to.land + 2 * h || c.t * (to.read - e) > 2;
        bool settled = e > best * (1 - 1e-4);
        if (e < best) best = e;
        if (best <= 0) break;
        if (!bottom && (settled || c.t * (c.epsilon - best) < 5)) break;
        tilt next = choose_tilt(s, h, rounds, log_delta, best, c.t / 1000, c.t);
        /* Nearly the same tilt would find the same again. */
        if (!bottom && next.t > 0.95 * c.t) break;
        c = next;
        to.land = bottom ? fmin(to.land / 2, LAND * best) : LAND * best;
        to.read = fmax(READ * best, to.land);
        if (bottom) to.read = to.land;
    }
    *d = (known){c, best};
    return HEARTH_OK;
}

/* One round: the grid itself, in shares of delta. */
static void one_round(known *d, const hearth_loss_side *s, double h,
                      double delta) {
    if (isnan(d->epsilon))
        d->c = choose_tilt(s, h, 1, log(delta), d->epsilon, 1e-9, 1e9);
    masses m = {.m = s->mass, .n = s->n, .first = s->first, .scale = 1 / delta};
    d->epsilon = read_off(&m, h, s->infinite / delta);
}

/* ---- the grid ---- */

/* What is cut of one round's outputs: so little that all rounds together lose
 * SHARE_CUT of delta. */
static double tail_of(const hearth_pld_query *q) {
    return SHARE_CUT * q->delta / (double)q->rounds;
}

/* The interval at which splitting losses between grid points adds at most
 * about `room` to epsilon: a split adds at most t (t + 1) h^2 / 8 to K(t), so
 * T (t + 1) h^2 / 8 to epsilon. */
static double interval_for(double room, double rounds, double t) {
    return sqrt(8 * room / (rounds * (t + 1)));
}

/* What the grid adds to the larger direction should be 1e-4 of epsilon (and
 * 2e-5 in all, where there is a closed form to compare with); the smaller one
 * has half the distance to spare. */
static double choose_interval(const hearth_pld_query *q, const known *remove,
                              const known *add, double range) {
    double most = fmax(fmax(remove->epsilon, add->epsilon), 1e-6);
    double rounds = (double)q->rounds, room = 1e-4 * most;
    if (q->rounds == 1) room = fmin(room, 2e-5);
    double h = fmin(
        interval_for(room + 0.5 * (most - remove->epsilon), rounds,
                     remove->c.t),
        interval_for(room + 0.5 * (most - add->epsilon), rounds, add->c.t));
    double span = 14 * fmax(remove->c.deviation, add->c.deviation);
    return fmax(h, fmax(range, span) / FINE_POINTS);
}

/* One pass with interval h; remove and add are improved. */
static hearth_status run(hearth_pld_answer *out, const hearth_pld_query *q,
                         known *remove, known *add, double h,
                         const hearth_alloc *al) {
    hearth_loss_grid g;
    hearth_status st = hearth_loss_grid_init(&g, q->z, q->q, tail_of(q), h, al);
    if (st != HEARTH_OK) return st;
    size_t fft = 0;
    if (q->rounds == 1) {
        one_round(remove, &g.remove, h, q->delta);
        one_round(add, &g.add, h, q->delta);
    } else {
        st = compose(remove, &fft, &g.remove, h, q, al);
        /* A bound that a coarser grid gave is good enough when it is the
         * smaller one. */
        if (st == HEARTH_OK && !(add->epsilon <= remove->epsilon))
            st = compose(add, &fft, &g.add, h, q, al);
    }
    if (st == HEARTH_OK)
        *out = (hearth_pld_answer){fmax(remove->epsilon, add->epsilon),
                                   remove->epsilon,
                                   add->epsilon,
                                   h,
                                   g.remove.n,
                                   fft};
    hearth_loss_grid_free(&g);
    return st;
}

/* The range of losses, and a first interval: a share of one round's deviation,
 * as far as a few thousand points go. */
static double rough_interval(const hearth_pld_query *q, double *range) {
    double tail = tail_of(q);
    double r = hearth_loss_grid_points(q->z, q->q, tail, 1.0);
    if (r < 1000) r = 1e-9 * hearth_loss_grid_points(q->z, q->q, tail, 1e-9);
    double deviation = q->q * sqrt(expm1(1 / (q->z * q->z)));
    *range = r;
    return fmin(fmax(r / ROUGH_POINTS, 0.2 * deviation), r / 256);
}

/* From h towards an asked interval, in equal steps by at most MOST_FINER. */
static double step_to(double h, double last) {
    double steps = ceil(log(h / last) / log(MOST_FINER));
    return steps > 1 ? h * pow(last / h, 1 / steps) : last;
}

/* Passes with ever finer grids, each starting from what the last one found,
 * until the interval is fine enough for the epsilon it gave. */
static hearth_status refine(hearth_pld_answer *out, const hearth_pld_query *q,
                            const hearth_alloc *al) {
    known remove = {{0, 0, 0, 0}, (double)NAN}, add = remove;
    double range, least = 0, passed = 0, h = rough_interval(q, &range);
    if (q->interval > 0 && h < 4 * q->interval) h = q->interval;
    for (int i = 0; i < 40; i++) {
        hearth_status st = run(out, q, &remove, &add, h, al);
        if (st == HEARTH_ETOOBIG && !(q->interval > 0) && i < 20) {
            h *= 2;
            least = h;
            if (passed > 0 && h > 0.6 * passed) break; /* no finer than it */
            continue;
        }
        if (st != HEARTH_OK) return st;
        passed = h;
        double next =
            q->interval > 0
                ? q->interval
                : fmax(choose_interval(q, &remove, &add, range), least);
        if (next > 0.6 * h || (q->interval > 0 && h <= q->interval)) break;
        h = q->interval > 0 ? step_to(h, next) : fmax(next, h / 16);
    }
    return HEARTH_OK;
}

hearth_status hearth_pld_poisson(hearth_pld_answer *out,
                                 const hearth_pld_query *query,
                                 const hearth_alloc *alloc) {
    const double inf = (double)INFINITY;
    if (!out) return HEARTH_EINVAL;
    *out = (hearth_pld_answer){inf, inf, inf, 0, 0, 0};
    if (!query || !isfinite(query->z) || query->z < 1e-6 || query->z > 1e12 ||
        !(query->q > 0 && query->q <= 1) ||
        !(query->delta > 0 && query->delta < 1) ||
        query->rounds > (uint64_t)1 << 40 ||
        !(query->interval >= 0 && query->interval < 1e12))
        return HEARTH_EINVAL;
    if (query->rounds == 0) {
        *out = (hearth_pld_answer){0, 0, 0, 0, 0, 0};
        return HEARTH_OK;
    }
    hearth_pld_answer a = *out;
    hearth_status st = refine(&a, query, hearth_mem_or_default(alloc));
    if (st == HEARTH_OK) *out = a;
    return st;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/fft.c - the contract is in fft.h.
 *
 * The transform is the remainder of the polynomial sum x_j X^j by each
 * X - e^(2 pi i f), found by halving: a remainder by X^2h - r^2, with lower half
 * a and upper half b, has the remainders a + r b by X^h - r and a - r b by
 * X^h + r.  Real numbers start from X^n - 1 and take
 *
 *     X^2h - 1 = (X^h - 1)(X^h + 1)          one addition, one subtraction,
 *     X^2m + 1 = (X^m - i)(X^m + i)          nothing: x_j + i x_(j+m) is the
 *                                            remainder by the first, and the
 *                                            second is its conjugate.
 *
 * From X^m - i on the halves are complex, with one r for a whole block: the
 * blocks are the nodes of a binary tree with root 1 and children 2k, 2k + 1,
 * and r = e^(i pi f), f = 1/2^(d+2) + reversed bits of k - 2^d at depth d.  An
 * even node and the next one differ by half a turn in f, and r by i, so only
 * those of even nodes are stored, node k at k / 2.
 *
 * Error.  Every output is a sum of inputs times one unit factor for each level
 * on the way, so relative errors u = 2^-53 along a way add up.  A twiddle is
 * within 2.5 u: its angle, at most pi/4, within 1.1 u, its sine and cosine each
 * within 1 ulp <= u.  A complex product adds sqrt(5) u (Brent, Percival,
 * Zimmermann, Math. Comp. 76, 2007).  A pass of two levels multiplies once and
 * adds twice, 2 + 2.5 + sqrt(5) = 6.74 u, 3.37 u a level.  One complex level,
 * where their number is odd, multiplies by sqrt(1/2) (1 + i), within 0.71 u, and
 * adds once: 3.95 u.  One of real numbers has 1 u.  On every way the first level
 * is real and the next costs nothing, or all are real: with L = log2(n) at most
 * 1 + 3.37 (L - 2) u, or 1 + 3.95 + 3.37 (L - 3) u, and the terms of order u^2
 * fit in what 3.5 L - 5 has more.  The inverse takes the same steps backwards:
 * an output is the real or imaginary part of such a sum over one of each
 * conjugate pair.
 */
#include "privacy/fft.h"

#include <math.h>
#include <stdbool.h>

#include "common/mem.h"

#define BLOCK 2048u /* complex numbers that stay in the first cache */

static const double PI = 3.14159265358979323846;

/* e^(i pi f), 0 < f < 2 and a short binary fraction, by angles up to pi/4: both
 * parts have all digits. */
static hearth_turn turn_at(double f) {
    int quarters = (int)(2 * f);
    double rest = f - 0.5 * quarters; /* exact, as all here but the angle */
    bool past = rest > 0.25;
    double angle = PI * (past ? 0.5 - rest : rest), c = cos(angle),
           s = sin(angle);
    hearth_turn w = past ? (hearth_turn){s, c} : (hearth_turn){c, s};
    for (; quarters > 0; quarters--) w = (hearth_turn){-w.s, w.c};
    return w;
}

/* wave [n / 4], and behind it the cubes of its first half. */
static void fill(hearth_turn *wave, size_t n) {
    wave[0] = (hearth_turn){sqrt(0.5), sqrt(0.5)};
    for (size_t m = 1; m < n / 4; m *= 2) {
        size_t reversed = 0; /* of i, as a number below m */
        for (size_t i = 0; i < m; i++) {
            /* Even nodes 2m + 2i: one depth below that of m. */
            double f = (0.125 + 0.5 * (double)reversed) / (double)m;
            wave[m + i] = turn_at(f);
            if (m < n / 8) wave[n / 4 + m + i] = turn_at(3 * f);
            size_t bit = m >> 1;
            for (; reversed & bit; bit >>= 1) reversed ^= bit;
            reversed ^= bit;
        }
    }
}

hearth_status hearth_fft_init(hearth_fft *f, size_t n,
                              const hearth_alloc *alloc) {
    if (!f) return HEARTH_EINVAL;
    *f = (hearth_fft){0};
    if (n < 4 || (n & (n - 1)) || n > (size_t)1 << HEARTH_FFT_MAX_LOG2)
        return HEARTH_EINVAL;
    f->al = *hearth_mem_or_default(alloc);
    f->wave = hearth_mem_array(&f->al, n / 4 + n / 8, sizeof(*f->wave));
    if (!f->wave) return HEARTH_ENOMEM;
    f->n = n;
    fill(f->wave, n);
    return HEARTH_OK;
}

void hearth_fft_free(hearth_fft *f) {
    if (!f || !f->wave) return;
    hearth_mem_free(&f->al, f->wave);
    *f = (hearth_fft){0};
}

/* r of a node's first child, its square, which is r of the node, its cube. */
typedef struct {
    hearth_turn w1, w2, w3;
} turns;

static turns turns_of(const hearth_fft *f, size_t node) {
    hearth_turn w1 = f->wave[node], w2 = f->wave[node / 2];
    if (node > 1 && node % 2) w2 = (hearth_turn){-w2.s, w2.c};
    return (turns){w1, w2, f->wave[f->n / 4 + node]};
}

/* Two levels over one block of 4 h. */
static inline void split_block(turns t, size_t h, double *restrict re,
                               double *restrict im) {
    double *restrict re1 = re + h, *restrict im1 = im + h;
    double *restrict re2 = re1 + h, *restrict im2 = im1 + h;
    double *restrict re3 = re2 + h, *restrict im3 = im2 + h;
    for (size_t k = 0; k < h; k++) {
        double ar = re1[k] * t.w1.c - im1[k] * t.w1.s;
        double ai = re1[k] * t.w1.s + im1[k] * t.w1.c;
        double br = re2[k] * t.w2.c - im2[k] * t.w2.s;
        double bi = re2[k] * t.w2.s + im2[k] * t.w2.c;
        double cr = re3[k] * t.w3.c - im3[k] * t.w3.s;
        double ci = re3[k] * t.w3.s + im3[k] * t.w3.c;
        double pr = re[k] + br, pi = im[k] + bi;
        double qr = re[k] - br, qi = im[k] - bi;
        double xr = ar + cr, xi = ai + ci, yr = ar - cr, yi = ai - ci;
        re[k] = pr + xr, im[k] = pi + xi;
        re1[k] = pr - xr, im1[k] = pi - xi;
        re2[k] = qr - yi, im2[k] = qi + yr;
        re3[k] = qr + yi, im3[k] = qi - yr;
    }
}

/* Its inverse, times 4. */
static inline void join_block(turns t, size_t h, double *restrict re,
                              double *restrict im) {
    double *restrict re1 = re + h, *restrict im1 = im + h;
    double *restrict re2 = re1 + h, *restrict im2 = im1 + h;
    double *restrict re3 = re2 + h, *restrict im3 = im2 + h;
    for (size_t k = 0; k < h; k++) {
        double pr = re[k] + re1[k], pi = im[k] + im1[k];
        double qr = re2[k] + re3[k], qi = im2[k] + im3[k];
        double xr = re[k] - re1[k], xi = im[k] - im1[k];
        double yr = im2[k] - im3[k], yi = re3[k] - re2[k];
        double ar = xr + yr, ai = xi + yi, cr = xr - yr, ci = xi - yi;
        double br = pr - qr, bi = pi - qi;
        re[k] = pr + qr, im[k] = pi + qi;
        re1[k] = ar * t.w1.c + ai * t.w1.s, im1[k] = ai * t.w1.c - ar * t.w1.s;
        re2[k] = br * t.w2.c + bi * t.w2.s, im2[k] = bi * t.w2.c - br * t.w2.s;
        re3[k] = cr * t.w3.c + ci * t.w3.s, im3[k] = ci * t.w3.c - cr * t.w3.s;
    }
}

/* All levels below one node, over a block of n, a power of 4. */
static void split(const hearth_fft *f, size_t node, size_t n, double *re,
                  double *im) {
    if (n > BLOCK) {
        size_t h = n / 4;
        split_block(turns_of(f, node), h, re, im);
        for (size_t k = 0; k < 4; k++)
            split(f, 4 * node + k, h, re + k * h, im + k * h);
        return;
    }
    for (size_t h = n / 4; h > 1; h /= 4, node *= 4)
        for (size_t i = 0, k = node; i < n; i += 4 * h, k++)
            split_block(turns_of(f, k), h, re + i, im + i);
    for (size_t i = 0; i + 4 <= n; i += 4)
        split_block(turns_of(f, node + i / 4), 1, re + i, im + i);
}

static void join(const hearth_fft *f, size_t node, size_t n, double *re,
                 double *im) {
    if (n > BLOCK) {
        size_t h = n / 4;
        for (size_t k = 0; k < 4; k++)
            join(f, 4 * node + k, h, re + k * h, im + k * h);
        join_block(turns_of(f, node), h, re, im);
        return;
    }
    size_t last = node * (n / 4); /* first node of the last pass */
    for (size_t i = 0; i + 4 <= n; i += 4)
        join_block(turns_of(f, last + i / 4), 1, re + i, im + i);
    for (size_t h = 4; h < n; h *= 4) {
        last /= 4;
        for (size_t i = 0, k = last; i < n; i += 4 * h, k++)
            join_block(turns_of(f, k), h, re + i, im + i);
    }
}

/* x, y = x + y, x - y */
static void add_halves(double *restrict x, double *restrict y, size_t n) {
    for (size_t k = 0; k < n; k++) {
        double sum = x[k] + y[k];
        y[k] = x[k] - y[k];
        x[k] = sum;
    }
}

/* y *= w, n complex numbers */
static void rotate(hearth_turn w, double *restrict re, double *restrict im,
                   size_t n) {
    for (size_t k = 0; k < n; k++) {
        double t = re[k] * w.c - im[k] * w.s;
        im[k] = re[k] * w.s + im[k] * w.c;
        re[k] = t;
    }
}

static bool power_of_4(size_t m) {
    return (m & 0x5555555555555555u) != 0;
}

void hearth_fft_forward(const hearth_fft *f, double *x) {
    for (size_t m = f->n / 4; m; m /= 2) {
        double *re = x + 2 * m, *im = re + m;
        size_t h = m / 2;
        add_halves(x, re, 2 * m);
        if (power_of_4(m)) {
            split(f, 1, m, re, im);
            continue;
        }
        rotate(f->wave[0], re + h, im + h, h);
        add_halves(re, re + h, h);
        add_halves(im, im + h, h);
        split(f, 2, h, re, im);
        split(f, 3, h, re + h, im + h);
    }
    add_halves(x, x + 1, 1);
}

void hearth_fft_inverse(const hearth_fft *f, double *x) {
    const hearth_turn back = {f->wave[0].c, -f->wave[0].s};
    x[0] *= 0.5;
    x[1] *= 0.5;
    add_halves(x, x + 1, 1);
    for (size_t m = 1; m <= f->n / 4; m *= 2) {
        double *re = x + 2 * m, *im = re + m;
        size_t h = m / 2;
        if (power_of_4(m)) {
            join(f, 1, m, re, im);
        } else {
            join(f, 2, h, re, im);
            join(f, 3, h, re + h, im + h);
            add_halves(re, re + h, h);
            add_halves(im, im + h, h);
            rotate(back, re + h, im + h, h);
        }
        add_halves(x, re, 2 * m);
    }
}

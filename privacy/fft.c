/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/fft.c - decimation in time; the contract is in fft.h.
 *
 * Passes of length m up to BLOCK run block by block, so that a block stays in
 * the cache; the passes above run over the whole array.
 */
#include "privacy/fft.h"

#include <math.h>
#include <stdbool.h>

#include "common/mem.h"

#define BLOCK 8192u

static const double PI = 3.14159265358979323846;

hearth_status hearth_fft_init(hearth_fft *f, size_t n,
                              const hearth_alloc *alloc) {
    if (!f) return HEARTH_EINVAL;
    *f = (hearth_fft){0};
    if (n == 0 || (n & (n - 1)) || n > (size_t)1 << HEARTH_FFT_MAX_LOG2)
        return HEARTH_EINVAL;
    f->al = *hearth_mem_or_default(alloc);
    f->wave = hearth_mem_array(&f->al, 2 * n, sizeof(*f->wave));
    if (!f->wave) return HEARTH_ENOMEM;
    f->n = n;
    double *re = f->wave, *im = f->wave + n;
    for (size_t k = 0, half = n / 2; k < half; k++) {
        double angle = 2 * PI * (double)k / (double)n;
        re[half + k] = cos(angle);
        im[half + k] = -sin(angle);
    }
    for (size_t half = n / 4; half; half /= 2)
        for (size_t k = 0; k < half; k++) {
            re[half + k] = re[2 * half + 2 * k];
            im[half + k] = im[2 * half + 2 * k];
        }
    return HEARTH_OK;
}

void hearth_fft_free(hearth_fft *f) {
    if (!f || !f->wave) return;
    hearth_mem_free(&f->al, f->wave);
    *f = (hearth_fft){0};
}

static void swap(double *x, size_t i, size_t j) {
    double t = x[i];
    x[i] = x[j];
    x[j] = t;
}

/* x[i] <-> x[bits of i reversed]; j counts reversed. */
static void reverse_bits(size_t n, double *re, double *im) {
    for (size_t i = 1, j = 0; i < n; i++) {
        size_t bit = n >> 1;
        for (; j & bit; bit >>= 1) j ^= bit;
        j ^= bit;
        if (i < j) swap(re, i, j), swap(im, i, j);
    }
}

/* One butterfly pass over pairs of halves of one block of 2 half. */
static void pass(size_t half, const double *restrict c,
                 const double *restrict s, double *restrict re0,
                 double *restrict im0, double *restrict re1,
                 double *restrict im1) {
    for (size_t k = 0; k < half; k++) {
        double tr = re1[k] * c[k] - im1[k] * s[k];
        double ti = re1[k] * s[k] + im1[k] * c[k];
        re1[k] = re0[k] - tr;
        im1[k] = im0[k] - ti;
        re0[k] += tr;
        im0[k] += ti;
    }
}

/* Two passes at once, of half and 2 half, over one block of 4 half: half the
 * traffic to memory.  The second pass turns its upper quarter by one more right
 * angle, -i. */
static void double_pass(size_t half, const double *restrict c1,
                        const double *restrict s1, const double *restrict c2,
                        const double *restrict s2, double *restrict re,
                        double *restrict im) {
    double *restrict re1 = re + half, *restrict im1 = im + half;
    double *restrict re2 = re1 + half, *restrict im2 = im1 + half;
    double *restrict re3 = re2 + half, *restrict im3 = im2 + half;
    for (size_t k = 0; k < half; k++) {
        double ar = re1[k] * c1[k] - im1[k] * s1[k];
        double ai = re1[k] * s1[k] + im1[k] * c1[k];
        double br = re3[k] * c1[k] - im3[k] * s1[k];
        double bi = re3[k] * s1[k] + im3[k] * c1[k];
        double p0r = re[k] + ar, p0i = im[k] + ai;
        double p1r = re[k] - ar, p1i = im[k] - ai;
        double p2r = re2[k] + br, p2i = im2[k] + bi;
        double p3r = re2[k] - br, p3i = im2[k] - bi;
        double xr = p2r * c2[k] - p2i * s2[k], xi = p2r * s2[k] + p2i * c2[k];
        double yr = p3r * c2[k] - p3i * s2[k], yi = p3r * s2[k] + p3i * c2[k];
        re[k] = p0r + xr, im[k] = p0i + xi;
        re2[k] = p0r - xr, im2[k] = p0i - xi;
        re1[k] = p1r + yi, im1[k] = p1i - yr;
        re3[k] = p1r - yi, im3[k] = p1i + yr;
    }
}

static void passes(const hearth_fft *f, double *re, double *im, size_t n,
                   size_t from, size_t to) {
    const double *c = f->wave, *s = f->wave + f->n;
    size_t half = from;
    for (; 2 * half < to; half *= 4)
        for (size_t i = 0; i < n; i += 4 * half)
            double_pass(half, c + half, s + half, c + 2 * half, s + 2 * half,
                        re + i, im + i);
    for (; half < to; half *= 2)
        for (size_t i = 0; i < n; i += 2 * half)
            pass(half, c + half, s + half, re + i, im + i, re + i + half,
                 im + i + half);
}

void hearth_fft_forward(const hearth_fft *f, double *re, double *im) {
    size_t n = f->n, block = n < BLOCK ? n : BLOCK;
    reverse_bits(n, re, im);
    for (size_t i = 0; i < n; i += block)
        passes(f, re + i, im + i, block, 1, block);
    passes(f, re, im, n, block, n);
}

/* Swapping the parts before and after conjugates twice. */
void hearth_fft_inverse(const hearth_fft *f, double *re, double *im) {
    hearth_fft_forward(f, im, re);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/fft.h - discrete Fourier transform of real numbers in double
 * precision, for the composition of privacy losses.
 *
 * Written here because the usual library is GPL.  Radix 4, in place, blocked
 * for the cache; twiddles from sin and cos, none from a recurrence.
 *
 *     hearth_fft f;
 *     st = hearth_fft_init(&f, 1024, NULL);
 *     hearth_fft_forward(&f, x);       // X(f) = sum x_j e^(2 pi i j f)
 *     ...
 *     hearth_fft_inverse(&f, x);       // n / 2 times the inverse
 *     hearth_fft_free(&f);
 *
 * Order of the transform: x[0] is X(0) and x[1] is X(1/2), both real.  For
 * m = 1, 2, 4 .. n / 4 and i < m, x[2m + i] + i x[3m + i] is X(f) at the
 * frequency f (in turns, a multiple of 1/n) that hearth_fft_turn knows.  Of f
 * and 1 - f, whose values are conjugate, one is there.
 *
 * Error: each output of a forward transform is within
 * (3.5 log2(n) - 5) 2^-53 sum |x_j| of the truth; each of an inverse, in units
 * of the true inverse, within as much of the mean of all n |X(f)|.
 *
 * Threads: an initialised hearth_fft is read only; several may use it.
 * Memory:  3 n / 4 doubles of twiddles.
 */
#ifndef HEARTH_PRIVACY_FFT_H
#define HEARTH_PRIVACY_FFT_H

#include <stddef.h>

#include "common/alloc.h"
#include "common/status.h"

#define HEARTH_FFT_MAX_LOG2 26u

/* A point of the unit circle. */
typedef struct {
    double c, s;
} hearth_turn;

typedef struct {
    size_t n;          /* a power of two */
    hearth_turn *wave; /* [n / 4], and their cubes [n / 8]: see fft.c */
    hearth_alloc al;
} hearth_fft;

/* n: a power of two in 4 .. 2^HEARTH_FFT_MAX_LOG2.  alloc NULL: malloc.
 *
 * Returns HEARTH_OK, HEARTH_EINVAL or HEARTH_ENOMEM (f zeroed). */
HEARTH_MUST_CHECK
hearth_status hearth_fft_init(hearth_fft *f, size_t n,
                              const hearth_alloc *alloc);

/* NULL and a zeroed f are no-ops. */
void hearth_fft_free(hearth_fft *f);

/* Transform x [n] in place, to the order above. */
void hearth_fft_forward(const hearth_fft *f, double *x);

/* From the order above to x [n]: n / 2 times the inverse of forward. */
void hearth_fft_inverse(const hearth_fft *f, double *x);

/* cos and sin of pi f, f in (0, 1) the frequency of x[2m + i] and x[3m + i]:
 * 1/4m + the bits of i reversed behind the point.  Each within 4 2^-53 of
 * itself. */
static inline hearth_turn hearth_fft_turn(const hearth_fft *f, size_t m,
                                          size_t i) {
    hearth_turn w = f->wave[(m + i) / 2];
    return i % 2 ? (hearth_turn){-w.s, w.c} : w; /* half a turn of f more */
}

#endif /* HEARTH_PRIVACY_FFT_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/fft.h - discrete Fourier transform in double precision, for the
 * composition of privacy losses.
 *
 * Written here because the usual library is GPL.  Radix 2, in place, blocked
 * for the cache; twiddles from sin and cos, none from a recurrence.
 *
 *     hearth_fft f;
 *     st = hearth_fft_init(&f, 1024, NULL);
 *     hearth_fft_forward(&f, re, im);       // X_k = sum x_j e^(-2 pi i jk / n)
 *     ...
 *     hearth_fft_inverse(&f, re, im);       // n times the inverse
 *     hearth_fft_free(&f);
 *
 * Error: each output of a forward transform is within
 * 4 log2(n) 2^-53 sum |x_j| of the truth.
 *
 * Threads: an initialised hearth_fft is read only; several may use it.
 * Memory:  2 n doubles of twiddles.
 */
#ifndef HEARTH_PRIVACY_FFT_H
#define HEARTH_PRIVACY_FFT_H

#include <stddef.h>

#include "common/alloc.h"
#include "common/status.h"

#define HEARTH_FFT_MAX_LOG2 26u

typedef struct {
    size_t n;     /* a power of two */
    double *wave; /* [2, n]: cos, then -sin, of 2 pi k / m at m / 2 + k, for
                     m = 2, 4 .. n and k < m / 2 */
    hearth_alloc al;
} hearth_fft;

/* n: a power of two in 1 .. 2^HEARTH_FFT_MAX_LOG2.  alloc NULL: malloc.
 *
 * Returns HEARTH_OK, HEARTH_EINVAL or HEARTH_ENOMEM (f zeroed). */
HEARTH_MUST_CHECK
hearth_status hearth_fft_init(hearth_fft *f, size_t n,
                              const hearth_alloc *alloc);

/* NULL and a zeroed f are no-ops. */
void hearth_fft_free(hearth_fft *f);

/* Transform re [n] and im [n] in place. */
void hearth_fft_forward(const hearth_fft *f, double *re, double *im);

/* Transform with the other sign: n times the inverse of forward. */
void hearth_fft_inverse(const hearth_fft *f, double *re, double *im);

#endif /* HEARTH_PRIVACY_FFT_H */

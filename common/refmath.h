/* SPDX-License-Identifier: Apache-2.0 */
/* common/refmath.h - exp, log, sin, cos, tanh from + - * / only.
 *
 * The same bytes on every IEEE machine (built with -ffp-contract=off), unlike
 * libm.  Accurate to about 1 ulp of double over the stated ranges: good for
 * reference kernels and for A, seeds and samplers of training; never for
 * privacy noise.  (tanh: within 8 ulp.)
 *
 * Threads: pure functions.
 */
#ifndef HEARTH_COMMON_REFMATH_H
#define HEARTH_COMMON_REFMATH_H

/* exp(x): 0 below -745.2, infinity above 709.8; NaN stays NaN. */
double hearth_ref_exp(double x);
/* Natural log: -infinity at 0, NaN below. */
double hearth_ref_log(double x);
/* sin and cos for |x| <= 2^30; NaN beyond and for infinities. */
double hearth_ref_sin(double x);
double hearth_ref_cos(double x);
double hearth_ref_tanh(double x);
/* base^e = exp(e * log(base)), base > 0. */
double hearth_ref_pow(double base, double e);
/* Correctly rounded by IEEE 754; a name for the compiler's sqrt. */
double hearth_ref_sqrt(double x);

#endif /* HEARTH_COMMON_REFMATH_H */

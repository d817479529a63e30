/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/sigma.c - fractions for sigma^2; the contract is in sigma.h.
 *
 * Everything that privacy rests on rounds against us: the bound up, sigma up,
 * z down.  Products of two u64 go through 128 bits.
 */
#include "privacy/sigma.h"

#include <math.h>

#include "privacy/wide.h"

bool hearth_sigma_ok(hearth_sigma_sq s) {
    if (s.num == 0 || s.den == 0) return false;
    if (s.num / s.den > HEARTH_SIGMA_MAX_SQ) return false;
    if (s.num / s.den == HEARTH_SIGMA_MAX_SQ && s.num % s.den) return false;
    hearth_u128 span = (hearth_u128)(hearth__isqrt(s.num / s.den) + 1) * s.den;
    return span <= (hearth_u128)1 << 32;
}

hearth_status hearth_sigma_bound_sq(double clip_norm, int scale_exp, size_t d,
                                    uint64_t *out) {
    if (!out) return HEARTH_EINVAL;
    *out = 0;
    if (!isfinite(clip_norm) || clip_norm <= 0 || d == 0 ||
        scale_exp < HEARTH_SIGMA_MIN_SCALE ||
        scale_exp > HEARTH_SIGMA_MAX_SCALE)
        return HEARTH_EINVAL;
    double length = ldexp(clip_norm, scale_exp), root = sqrt((double)d);
    /* beta = exp(-1/2), so sqrt(2 ln(1/beta)) = 1. */
    double likely = length * length + (double)d / 4 + length + root / 2;
    double always = (length + root) * (length + root);
    double bound = ceil(likely < always ? likely : always);
    if (!(bound <= (double)HEARTH_SIGMA_MAX_BOUND_SQ)) return HEARTH_ETOOBIG;
    *out = bound < 1 ? 1 : (uint64_t)bound;
    return HEARTH_OK;
}

hearth_status hearth_sigma_delta2_sq(uint64_t bound_sq, const uint32_t *s,
                                     size_t n_s, uint64_t *out) {
    if (!out) return HEARTH_EINVAL;
    *out = 0;
    if ((n_s && !s) || n_s > HEARTH_SIGMA_MAX_COORDS || (!bound_sq && !n_s))
        return HEARTH_EINVAL;
    if (bound_sq > HEARTH_SIGMA_MAX_BOUND_SQ) return HEARTH_ETOOBIG;
    uint64_t sum = bound_sq; /* <= 2^60 + 16 * 2^48: cannot wrap */
    for (size_t k = 0; k < n_s; k++) {
        if (s[k] == 0 || s[k] > HEARTH_SIGMA_MAX_COORD) return HEARTH_EINVAL;
        sum += (uint64_t)s[k] * s[k];
    }
    if (sum > HEARTH_SIGMA_MAX_BOUND_SQ) return HEARTH_ETOOBIG;
    *out = sum;
    return HEARTH_OK;
}

hearth_status hearth_sigma_for_z(double z, uint64_t delta2_sq,
                                 hearth_sigma_sq *out) {
    if (!out) return HEARTH_EINVAL;
    *out = (hearth_sigma_sq){0, 0};
    if (!isfinite(z) || z <= 0 || delta2_sq == 0) return HEARTH_EINVAL;
    /* Three roundings below 2^-52 each: the factor makes up for them. */
    double want = z * z * (double)delta2_sq * (1.0 + 0x1p-49);
    if (!(want <= (double)HEARTH_SIGMA_MAX_SQ)) return HEARTH_ETOOBIG;
    /* Take the smallest power of two as denominator that keeps the rounding
     * of num below 2^-19, as far as the sampler allows. */
    uint64_t den = 1;
    while (want * (double)den < 0x1p20 && den < (uint64_t)1 << 30) den *= 2;
    hearth_sigma_sq s = {(uint64_t)ceil(want * (double)den), den};
    if (!hearth_sigma_ok(s)) return HEARTH_ETOOBIG;
    *out = s;
    return HEARTH_OK;
}

double hearth_sigma_z(hearth_sigma_sq s, uint64_t delta2_sq) {
    if (!s.num || !s.den || !delta2_sq) return 0.0;
    double ratio = (double)s.num / (double)s.den / (double)delta2_sq;
    return sqrt(ratio * (1.0 - 0x1p-50)) * (1.0 - 0x1p-52);
}

double hearth_sigma_value(hearth_sigma_sq s) {
    if (!s.num || !s.den) return 0.0;
    return sqrt((double)s.num / (double)s.den);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* common/refmath.c - the contract is in refmath.h.
 *
 * Only + - * / and sqrt, which IEEE 754 rounds correctly, in a fixed order and
 * without fused operations (-ffp-contract=off): so every machine agrees.
 * Argument reductions use a high part with trailing zeroes, so that k * high
 * is exact (Cody and Waite, Software Manual for the Elementary Functions).
 */
#include "common/refmath.h"

#include <math.h> /* sqrt, INFINITY, NAN: no function that libm approximates */
#include <stdint.h>
#include <string.h>

static const double LN2_HI = 0x1.62e42fefa0000p-1; /* 33 bits */
static const double LN2_LO = 0x1.cf79abc9e3b3ap-40;

static double from_bits(uint64_t b) {
    double d;
    memcpy(&d, &b, sizeof(d));
    return d;
}

static uint64_t to_bits(double d) {
    uint64_t b;
    memcpy(&b, &d, sizeof(b));
    return b;
}

/* 2^k for -1022 <= k <= 1023. */
static double power_of_two(int k) {
    return from_bits((uint64_t)(k + 1023) << 52);
}

double hearth_ref_exp(double x) {
    if (x != x) return x;
    if (x > 709.782712893384) return (double)INFINITY;
    if (x < -745.1332191019412) return 0.0;
    double kf = x * 1.4426950408889634;
    int k = (int)(kf < 0 ? kf - 0.5 : kf + 0.5);
    double r = (x - (double)k * LN2_HI) - (double)k * LN2_LO;
    /* |r| <= ln2/2: Taylor to r^14 leaves less than 2^-60 of the sum. */
    double p = 1.0;
    for (int i = 14; i >= 1; i--) p = 1.0 + r * p / (double)i;
    if (k > 1000) return p * power_of_two(1000) * power_of_two(k - 1000);
    if (k < -1000) return p * power_of_two(-1000) * power_of_two(k + 1000);
    return p * power_of_two(k);
}

double hearth_ref_log(double x) {
    if (x != x || x < 0) return (double)NAN;
    if (x == 0) return -(double)INFINITY;
    if (x == (double)INFINITY) return x;
    int e = 0;
    if (x < 0x1p-1022) {
        x *= 0x1p54;
        e = -54;
    }
    uint64_t b = to_bits(x);
    e += (int)(b >> 52) - 1023;
    double m = from_bits((b & 0xFFFFFFFFFFFFFu) | (uint64_t)1023 << 52);
    if (m > 1.4142135623730951) {
        m *= 0.5;
        e++;
    }
    /* log m = 2 atanh(s), s = (m-1)/(m+1), |s| < 0.1716: terms to s^23. */
    double s = (m - 1.0) / (m + 1.0), s2 = s * s, sum = 0.0;
    for (int i = 23; i >= 3; i -= 2) sum = s2 * (1.0 / (double)i + sum);
    double tail = 2.0 * s * sum + (double)e * LN2_LO;
    return (double)e * LN2_HI + (2.0 * s + tail);
}

static const double PIO2_1 = 0x1.921fb54400000p+0; /* 33 bits each */
static const double PIO2_2 = 0x1.0b4611a600000p-34;
static const double PIO2_3 = 0x1.3198a2e037073p-69;

/* sin of |r| <= pi/4 + a little, r = hi + lo. */
static double sin_kernel(double r, double lo) {
    double r2 = r * r, p = 0.0;
    for (int i = 19; i >= 3; i -= 2) p = r2 * (1.0 - p) / (double)(i * (i - 1));
    /* p = 1 - sin(r)/r by nested terms; cos(r) carries lo. */
    return r - r * p + lo * (1.0 - 0.5 * r2);
}

static double cos_kernel(double r, double lo) {
    double r2 = r * r, p = 0.0;
    for (int i = 20; i >= 2; i -= 2) p = r2 * (1.0 - p) / (double)(i * (i - 1));
    return 1.0 - (p + r * lo);
}

/* sin when quadrant = 0, cos when 1 (cos x = sin(x + pi/2)). */
static double sin_cos(double x, int quadrant) {
    if (!(x <= 0x1p30 && x >= -0x1p30)) return (double)NAN;
    double kf = x * 0.6366197723675814;
    int64_t k = (int64_t)(kf < 0 ? kf - 0.5 : kf + 0.5);
    double y = (x - (double)k * PIO2_1) - (double)k * PIO2_2;
    double z = (double)k * PIO2_3;
    double r = y - z, lo = (y - r) - z;
    switch ((k + quadrant) & 3) {
    case 0: return sin_kernel(r, lo);
    case 1: return cos_kernel(r, lo);
    case 2: return -sin_kernel(r, lo);
    default: return -cos_kernel(r, lo);
    }
}

double hearth_ref_sin(double x) {
    return sin_cos(x, 0);
}

double hearth_ref_cos(double x) {
    return sin_cos(x, 1);
}

double hearth_ref_tanh(double x) {
    if (x != x) return x;
    double a = x < 0 ? -x : x, t;
    if (a > 20.0) {
        t = 1.0;
    } else if (a < 0.02) {
        double a2 = a * a; /* series: exp would lose the small difference */
        t = a *
            (1.0 - a2 * (1.0 / 3.0 - a2 * (2.0 / 15.0 - a2 * (17.0 / 315.0))));
    } else {
        double e = hearth_ref_exp(-2.0 * a);
        t = (1.0 - e) / (1.0 + e);
    }
    return x < 0 ? -t : t;
}

double hearth_ref_pow(double base, double e) {
    return hearth_ref_exp(e * hearth_ref_log(base));
}

double hearth_ref_sqrt(double x) {
    return sqrt(x);
}

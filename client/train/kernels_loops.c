/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/kernels_loops.c - loops that compilers turn into vector code,
 * written once and compiled for several vector sets.
 *
 * Reductions keep LANES partial sums that are added in one written order, so
 * no flag that reorders floating point is needed.
 */
#include "client/train/kernels_loops.h"

#ifndef HEARTH_FLOAT64

#include <math.h>
#include <stdint.h>
#include <string.h>

#define LANES ((size_t)16)

#if defined(__GNUC__)
#define BODY static inline __attribute__((always_inline))
#else
#define BODY static inline
#endif

/* The lanes, added pairwise. */
BODY float fold(float *lane) {
    for (size_t w = LANES / 2; w; w /= 2)
        for (size_t i = 0; i < w; i++) lane[i] += lane[i + w];
    return lane[0];
}

BODY float dot_body(size_t n, const float *x, const float *y) {
    float lane[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t l = 0; l < LANES; l++) lane[l] += x[i + l] * y[i + l];
    for (size_t l = 0; i < n; i++, l++) lane[l] += x[i] * y[i];
    return fold(lane);
}

BODY float rms_inverse_body(size_t n, const float *x, float eps) {
    return 1.0f / sqrtf(dot_body(n, x, x) / (float)n + eps);
}

BODY void rmsnorm_body(size_t n, const float *x, const float *w, float eps,
                       float *y) {
    float r = rms_inverse_body(n, x, eps);
    for (size_t i = 0; i < n; i++) y[i] = x[i] * r * w[i];
}

BODY void rmsnorm_back_body(size_t n, const float *x, const float *w, float eps,
                            const float *dy, float *dx) {
    float r = rms_inverse_body(n, x, eps), lane[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t l = 0; l < LANES; l++)
            lane[l] += dy[i + l] * w[i + l] * x[i + l];
    for (size_t l = 0; i < n; i++, l++) lane[l] += dy[i] * w[i] * x[i];
    float mean = fold(lane) * r / (float)n;
    for (i = 0; i < n; i++) dx[i] += r * (dy[i] * w[i] - x[i] * r * mean);
}

BODY float layer_inverse_body(size_t n, const float *x, float eps,
                              float *mean) {
    float lane[LANES] = {0}, square[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t l = 0; l < LANES; l++) lane[l] += x[i + l];
    for (size_t l = 0; i < n; i++, l++) lane[l] += x[i];
    float m = fold(lane) / (float)n;
    for (i = 0; i + LANES <= n; i += LANES)
        for (size_t l = 0; l < LANES; l++)
            square[l] += (x[i + l] - m) * (x[i + l] - m);
    for (size_t l = 0; i < n; i++, l++) square[l] += (x[i] - m) * (x[i] - m);
    *mean = m;
    return 1.0f / sqrtf(fold(square) / (float)n + eps);
}

BODY void layernorm_body(size_t n, const float *x, const float *w,
                         const float *bias, float eps, float *y) {
    float mean, r = layer_inverse_body(n, x, eps, &mean);
    for (size_t i = 0; i < n; i++) y[i] = (x[i] - mean) * r * w[i] + bias[i];
}

BODY void layernorm_back_body(size_t n, const float *x, const float *w,
                              float eps, const float *dy, float *dx) {
    float mean, r = layer_inverse_body(n, x, eps, &mean);
    float sum[LANES] = {0}, lane[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t l = 0; l < LANES; l++) {
            float g = dy[i + l] * w[i + l];
            sum[l] += g;
            lane[l] += g * (x[i + l] - mean);
        }
    for (size_t l = 0; i < n; i++, l++) {
        float g = dy[i] * w[i];
        sum[l] += g;
        lane[l] += g * (x[i] - mean);
    }
    float g = fold(sum) / (float)n, gh = fold(lane) * r / (float)n;
    for (i = 0; i < n; i++)
        dx[i] += r * (dy[i] * w[i] - g - (x[i] - mean) * r * gh);
}

/* exp for |x| up to about 87, clamped there; NaN stays NaN.  2^n from the
 * exponent bits, a degree-6 polynomial on [-ln2/2, ln2/2]; error below 2 ulp.
 * Source: the polynomial of Cephes expf. */
BODY float fast_exp(float x) {
    const float round = 12582912.0f; /* 1.5 * 2^23: adding it makes integers */
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    float shifted = x * 1.44269504f + round;
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof(bits));
    float n = shifted - round;
    float r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    bits = (bits + 127u) << 23; /* the low bits of shifted hold n */
    float scale;
    memcpy(&scale, &bits, sizeof(scale));
    return p * scale;
}

/* 1 / (1 + e^-x); below -80 that of -80, 2e-35.  The reciprocal without a
 * division, which takes as long as all the rest: a first guess by taking bits
 * from a constant (5 % off), then y (1 + e + e^2), e = 1 - d y, whose error is
 * the third power of that before, twice: 6e-8.  Source of the step: Householder's
 * method of the second order for 1 / y - d. */
BODY float logistic(float x) {
    float d = 1.0f + fast_exp(x < -80.0f ? 80.0f : -x), y;
    uint32_t bits;
    memcpy(&bits, &d, sizeof(bits));
    bits = 0x7ef31000u - bits;
    memcpy(&y, &bits, sizeof(y));
    for (int i = 0; i < 2; i++) {
        float e = 1.0f - d * y;
        y += y * (e + e * e);
    }
    return y;
}

BODY float exp_shift_body(size_t n, const float *s, float shift, float *p) {
    float lane[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        float e[LANES];
        for (size_t l = 0; l < LANES; l++) e[l] = fast_exp(s[i + l] - shift);
        for (size_t l = 0; l < LANES; l++) lane[l] += e[l];
        memcpy(p + i, e, sizeof(e));
    }
    for (size_t l = 0; i < n; i++, l++) {
        p[i] = fast_exp(s[i] - shift);
        lane[l] += p[i];
    }
    return fold(lane);
}

BODY void column_max_body(size_t n, float scale, const float *x, float *most) {
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        float m[LANES];
        memcpy(m, most + i, sizeof(m));
        for (size_t l = 0; l < LANES; l++) {
            float y = scale * x[i + l];
            m[l] = y > m[l] ? y : m[l];
        }
        memcpy(most + i, m, sizeof(m));
    }
    for (; i < n; i++)
        if (scale * x[i] > most[i]) most[i] = scale * x[i];
}

BODY void column_exp_body(size_t n, float scale, float *x, const float *shift,
                          float *sum) {
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        float e[LANES], s[LANES];
        memcpy(s, sum + i, sizeof(s));
        for (size_t l = 0; l < LANES; l++)
            e[l] = fast_exp(scale * x[i + l] - shift[i + l]);
        for (size_t l = 0; l < LANES; l++) s[l] += e[l];
        memcpy(x + i, e, sizeof(e));
        memcpy(sum + i, s, sizeof(s));
    }
    for (; i < n; i++) {
        x[i] = fast_exp(scale * x[i] - shift[i]);
        sum[i] += x[i];
    }
}

BODY void column_back_body(size_t n, float scale, const float *shift,
                           const float *inverse, const float *dot, float *p,
                           float *g) {
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        float e[LANES], d[LANES];
        for (size_t l = 0; l < LANES; l++)
            e[l] = fast_exp(scale * p[i + l] - shift[i + l]) * inverse[i + l];
        for (size_t l = 0; l < LANES; l++)
            d[l] = e[l] * (g[i + l] - dot[i + l]) * scale;
        memcpy(p + i, e, sizeof(e));
        memcpy(g + i, d, sizeof(d));
    }
    for (; i < n; i++) {
        p[i] = fast_exp(scale * p[i] - shift[i]) * inverse[i];
        g[i] = p[i] * (g[i] - dot[i]) * scale;
    }
}

BODY float max_body(size_t n, const float *x) {
    float lane[LANES], m = x[0];
    size_t i = 0;
    for (size_t l = 0; l < LANES; l++) lane[l] = m;
    for (; i + LANES <= n; i += LANES)
        for (size_t l = 0; l < LANES; l++)
            lane[l] = x[i + l] > lane[l] ? x[i + l] : lane[l];
    for (; i < n; i++) m = x[i] > m ? x[i] : m;
    for (size_t l = 0; l < LANES; l++) m = lane[l] > m ? lane[l] : m;
    return m;
}

BODY void swiglu_body(size_t n, const float *g, const float *u, float *m) {
    for (size_t i = 0; i < n; i++) m[i] = g[i] * logistic(g[i]) * u[i];
}

/* Lanes of the gate a, the other half b and the gradient d of their product, to
 * the gradients of a and b. */
BODY void swiglu_back_lanes(float *a, float *b, const float *d) {
    for (size_t l = 0; l < LANES; l++) {
        float x = a[l], s = logistic(x);
        a[l] = d[l] * b[l] * (s * (1.0f + x * (1.0f - s)));
        b[l] = d[l] * (x * s);
    }
}

/* In blocks with their own copies, because outputs may be the inputs. */
#define GATED_BACK(lanes)                                                      \
    do {                                                                       \
        float a[LANES], b[LANES], d[LANES];                                    \
        size_t i = 0;                                                          \
        for (; i + LANES <= n; i += LANES) {                                   \
            memcpy(a, g + i, sizeof(a));                                       \
            memcpy(b, u + i, sizeof(b));                                       \
            memcpy(d, dm + i, sizeof(d));                                      \
            lanes(a, b, d);                                                    \
            memcpy(dg + i, a, sizeof(a));                                      \
            memcpy(du + i, b, sizeof(b));                                      \
        }                                                                      \
        for (size_t l = 0; l < LANES; l++) {                                   \
            a[l] = i + l < n ? g[i + l] : 0;                                   \
            b[l] = i + l < n ? u[i + l] : 0;                                   \
            d[l] = i + l < n ? dm[i + l] : 0;                                  \
        }                                                                      \
        if (i < n) lanes(a, b, d);                                             \
        for (size_t l = 0; i + l < n; l++) {                                   \
            dg[i + l] = a[l];                                                  \
            du[i + l] = b[l];                                                  \
        }                                                                      \
    } while (0)

BODY void swiglu_back_body(size_t n, const float *g, const float *u,
                           const float *dm, float *dg, float *du) {
    GATED_BACK(swiglu_back_lanes);
}

/* As gelu_one of kernels_reference.c. */
BODY float gelu_one(float x, float *slope) {
    const float k2 = 1.59576912f, a = 0.044715f;
    float s = logistic(k2 * (x + a * x * x * x));
    *slope = s + x * s * (1.0f - s) * k2 * (1.0f + 3.0f * a * x * x);
    return x * s;
}

BODY void geglu_body(size_t n, const float *g, const float *u, float *m) {
    float slope;
    for (size_t i = 0; i < n; i++) m[i] = gelu_one(g[i], &slope) * u[i];
}

BODY void geglu_back_lanes(float *a, float *b, const float *d) {
    for (size_t l = 0; l < LANES; l++) {
        float slope, y = gelu_one(a[l], &slope);
        a[l] = d[l] * b[l] * slope;
        b[l] = d[l] * y;
    }
}

BODY void geglu_back_body(size_t n, const float *g, const float *u,
                          const float *dm, float *dg, float *du) {
    GATED_BACK(geglu_back_lanes);
}

BODY void gelu_body(size_t n, const float *u, float *m) {
    float slope;
    for (size_t i = 0; i < n; i++) m[i] = gelu_one(u[i], &slope);
}

BODY void gelu_back_body(size_t n, const float *u, const float *dm, float *du) {
    for (size_t i = 0; i < n; i++) {
        float slope;
        (void)gelu_one(u[i], &slope);
        du[i] = dm[i] * slope;
    }
}

BODY void rope_body(size_t half, const float *cosine, const float *sine,
                    float sign, float *x) {
    for (size_t i = 0; i < half; i++) {
        float a = x[i], b = x[i + half], s = sign * sine[i];
        x[i] = a * cosine[i] - b * s;
        x[i + half] = b * cosine[i] + a * s;
    }
}

BODY void accumulate_body(size_t n, const float *x, float *y) {
    for (size_t i = 0; i < n; i++) y[i] += x[i];
}

/* One set of functions: ATTR says for which vectors, SET names it. */
/* clang-format off */
#define DEFINE_LOOPS(SET, ATTR)                                               \
    ATTR static float SET##_dot(size_t n, const float *x, const float *y) {   \
        return dot_body(n, x, y);                                             \
    }                                                                         \
    ATTR static float SET##_rms(size_t n, const float *x, float eps) {        \
        return rms_inverse_body(n, x, eps);                                   \
    }                                                                         \
    ATTR static void SET##_norm(size_t n, const float *x, const float *w,     \
                                float eps, float *y) {                        \
        rmsnorm_body(n, x, w, eps, y);                                        \
    }                                                                         \
    ATTR static void SET##_norm_back(size_t n, const float *x,                \
                                     const float *w, float eps,               \
                                     const float *dy, float *dx) {            \
        rmsnorm_back_body(n, x, w, eps, dy, dx);                              \
    }                                                                         \
    ATTR static void SET##_layer(size_t n, const float *x, const float *w,    \
                                 const float *b, float eps, float *y) {       \
        layernorm_body(n, x, w, b, eps, y);                                   \
    }                                                                         \
    ATTR static void SET##_layer_back(size_t n, const float *x,               \
                                      const float *w, float eps,              \
                                      const float *dy, float *dx) {           \
        layernorm_back_body(n, x, w, eps, dy, dx);                            \
    }                                                                         \
    ATTR static float SET##_layer_inverse(size_t n, const float *x, float eps,\
                                          float *mean) {                      \
        return layer_inverse_body(n, x, eps, mean);                           \
    }                                                                         \
    ATTR static float SET##_exp(size_t n, const float *s, float shift,        \
                                float *p) {                                   \
        return exp_shift_body(n, s, shift, p);                                \
    }                                                                         \
    ATTR static void SET##_column_max(size_t n, float scale, const float *x,  \
                                      float *most) {                          \
        column_max_body(n, scale, x, most);                                   \
    }                                                                         \
    ATTR static void SET##_column_exp(size_t n, float scale, float *x,        \
                                      const float *shift, float *sum) {       \
        column_exp_body(n, scale, x, shift, sum);                             \
    }                                                                         \
    ATTR static void SET##_column_back(size_t n, float scale,                 \
                                       const float *shift,                    \
                                       const float *inverse,                  \
                                       const float *dot, float *p, float *g) {\
        column_back_body(n, scale, shift, inverse, dot, p, g);                \
    }                                                                         \
    ATTR static float SET##_max(size_t n, const float *x) {                   \
        return max_body(n, x);                                                \
    }                                                                         \
    ATTR static void SET##_swiglu(size_t n, const float *g, const float *u,   \
                                  float *m) {                                 \
        swiglu_body(n, g, u, m);                                              \
    }                                                                         \
    ATTR static void SET##_swiglu_back(size_t n, const float *g,              \
                                       const float *u, const float *dm,       \
                                       float *dg, float *du) {                \
        swiglu_back_body(n, g, u, dm, dg, du);                                \
    }                                                                         \
    ATTR static void SET##_geglu(size_t n, const float *g, const float *u,    \
                                 float *m) {                                  \
        geglu_body(n, g, u, m);                                               \
    }                                                                         \
    ATTR static void SET##_geglu_back(size_t n, const float *g,               \
                                      const float *u, const float *dm,        \
                                      float *dg, float *du) {                 \
        geglu_back_body(n, g, u, dm, dg, du);                                 \
    }                                                                         \
    ATTR static void SET##_gelu(size_t n, const float *u, float *m) {         \
        gelu_body(n, u, m);                                                   \
    }                                                                         \
    ATTR static void SET##_gelu_back(size_t n, const float *u,                \
                                     const float *dm, float *du) {            \
        gelu_back_body(n, u, dm, du);                                         \
    }                                                                         \
    ATTR static void SET##_rope(size_t half, const float *c, const float *s,  \
                                float sign, float *x) {                       \
        rope_body(half, c, s, sign, x);                                       \
    }                                                                         \
    ATTR static void SET##_accumulate(size_t n, const float *x, float *y) {   \
        accumulate_body(n, x, y);                                             \
    }                                                                         \
    static const char *SET##_fill(hearth_kernels *k) {                        \
        k->dot = SET##_dot;                                                   \
        k->rms_inverse = SET##_rms;                                           \
        k->rmsnorm = SET##_norm;                                              \
        k->rmsnorm_back = SET##_norm_back;                                    \
        k->exp_shift = SET##_exp;                                             \
        k->column_max = SET##_column_max;                                     \
        k->column_exp = SET##_column_exp;                                     \
        k->column_back = SET##_column_back;                                   \
        k->max = SET##_max;                                                   \
        k->swiglu = SET##_swiglu;                                             \
        k->swiglu_back = SET##_swiglu_back;                                   \
        k->layernorm = SET##_layer;                                           \
        k->layernorm_back = SET##_layer_back;                                 \
        k->layer_inverse = SET##_layer_inverse;                               \
        k->geglu = SET##_geglu;                                               \
        k->geglu_back = SET##_geglu_back;                                     \
        k->gelu = SET##_gelu;                                                 \
        k->gelu_back = SET##_gelu_back;                                       \
        k->rope = SET##_rope;                                                 \
        k->accumulate = SET##_accumulate;                                     \
        return #SET;                                                          \
    }
/* clang-format on */

#define NO_ATTRIBUTE
DEFINE_LOOPS(plain, NO_ATTRIBUTE)

#if defined(__GNUC__) && defined(__x86_64__)

#define FOR_AVX2   __attribute__((target("avx2,fma")))
#define FOR_AVX512 __attribute__((target("avx512f,avx512dq,avx512vl,avx2,fma")))

DEFINE_LOOPS(avx2, FOR_AVX2)
DEFINE_LOOPS(avx512, FOR_AVX512)

const char *hearth_kernels__fill_loops(hearth_kernels *k) {
    if (__builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        return avx512_fill(k);
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return avx2_fill(k);
    return plain_fill(k);
}

#else

const char *hearth_kernels__fill_loops(hearth_kernels *k) {
    return plain_fill(k);
}

#endif
#else

typedef int hearth_kernels_loops_unused; /* the float64 twin has none */

#endif

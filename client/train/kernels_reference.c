/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/kernels_reference.c - the naive kernels: + - * / sqrt and
 * common/refmath, in one written order; built with -ffp-contract=off, so the
 * same bytes on every IEEE machine.  In the float64 twin they are the oracle.
 */
#include "client/train/kernels.h"

#include <string.h>

#include "common/refmath.h"

typedef hearth_real real;

static real root(real x) {
    return (real)hearth_ref_sqrt((double)x);
}

static real exponential(real x) {
    return (real)hearth_ref_exp((double)x);
}

static void clear(size_t m, size_t n, real *c, size_t ldc) {
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) c[i * ldc + j] = 0;
}

static void gemm_nt(size_t m, size_t n, size_t k, real alpha, const real *a,
                    size_t lda, const real *b, size_t ldb, int add, real *c,
                    size_t ldc) {
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            real sum = 0;
            for (size_t l = 0; l < k; l++)
                sum += a[i * lda + l] * b[j * ldb + l];
            c[i * ldc + j] = alpha * sum + (add ? c[i * ldc + j] : 0);
        }
}

/* Row by row, so that the inner loop runs along memory. */
static void gemm_nn(size_t m, size_t n, size_t k, real alpha, const real *a,
                    size_t lda, const real *b, size_t ldb, int add, real *c,
                    size_t ldc) {
    if (!add) clear(m, n, c, ldc);
    for (size_t i = 0; i < m; i++)
        for (size_t l = 0; l < k; l++) {
            real x = alpha * a[i * lda + l];
            for (size_t j = 0; j < n; j++) c[i * ldc + j] += x * b[l * ldb + j];
        }
}

static void gemm_tn(size_t m, size_t n, size_t k, real alpha, const real *a,
                    size_t lda, const real *b, size_t ldb, int add, real *c,
                    size_t ldc) {
    if (!add) clear(m, n, c, ldc);
    for (size_t l = 0; l < k; l++)
        for (size_t i = 0; i < m; i++) {
            real x = alpha * a[l * lda + i];
            for (size_t j = 0; j < n; j++) c[i * ldc + j] += x * b[l * ldb + j];
        }
}

static real dot(size_t n, const real *x, const real *y) {
    real sum = 0;
    for (size_t i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}

static real rms_inverse(size_t n, const real *x, real eps) {
    return 1 / root(dot(n, x, x) / (real)n + eps);
}

static void rmsnorm(size_t n, const real *x, const real *w, real eps, real *y) {
    real r = rms_inverse(n, x, eps);
    for (size_t i = 0; i < n; i++) y[i] = x[i] * r * w[i];
}

/* With h = x r, r = 1 / sqrt(mean(x^2) + eps) and g = dy w:
 * dx = r (g - h mean(g h)). */
static void rmsnorm_back(size_t n, const real *x, const real *w, real eps,
                         const real *dy, real *dx) {
    real r = rms_inverse(n, x, eps), mean = 0;
    for (size_t i = 0; i < n; i++) mean += dy[i] * w[i] * (x[i] * r);
    mean /= (real)n;
    for (size_t i = 0; i < n; i++)
        dx[i] += r * (dy[i] * w[i] - x[i] * r * mean);
}

static real layer_inverse(size_t n, const real *x, real eps, real *mean) {
    real sum = 0, square = 0;
    for (size_t i = 0; i < n; i++) sum += x[i];
    *mean = sum / (real)n;
    for (size_t i = 0; i < n; i++) square += (x[i] - *mean) * (x[i] - *mean);
    return 1 / root(square / (real)n + eps);
}

static void layernorm(size_t n, const real *x, const real *w, const real *bias,
                      real eps, real *y) {
    real mean, r = layer_inverse(n, x, eps, &mean);
    for (size_t i = 0; i < n; i++) y[i] = (x[i] - mean) * r * w[i] + bias[i];
}

/* With h = (x - mean) r and g = dy w: dx = r (g - mean(g) - h mean(g h)).
 * Ba, Kiros, Hinton, Layer Normalization, arXiv:1607.06450. */
static void layernorm_back(size_t n, const real *x, const real *w, real eps,
                           const real *dy, real *dx) {
    real mean, r = layer_inverse(n, x, eps, &mean), g = 0, gh = 0;
    for (size_t i = 0; i < n; i++) {
        g += dy[i] * w[i];
        gh += dy[i] * w[i] * ((x[i] - mean) * r);
    }
    g /= (real)n;
    gh /= (real)n;
    for (size_t i = 0; i < n; i++)
        dx[i] += r * (dy[i] * w[i] - g - (x[i] - mean) * r * gh);
}

static real exp_shift(size_t n, const real *s, real shift, real *p) {
    real sum = 0;
    for (size_t i = 0; i < n; i++) {
        p[i] = exponential(s[i] - shift);
        sum += p[i];
    }
    return sum;
}

static void column_max(size_t n, real scale, const real *x, real *most) {
    for (size_t i = 0; i < n; i++)
        if (scale * x[i] > most[i]) most[i] = scale * x[i];
}

static void column_exp(size_t n, real scale, real *x, const real *shift,
                       real *sum) {
    for (size_t i = 0; i < n; i++) {
        x[i] = exponential(scale * x[i] - shift[i]);
        sum[i] += x[i];
    }
}

static void column_back(size_t n, real scale, const real *shift,
                        const real *inverse, const real *dot, real *p,
                        real *g) {
    for (size_t i = 0; i < n; i++) {
        p[i] = exponential(scale * p[i] - shift[i]) * inverse[i];
        g[i] = p[i] * (g[i] - dot[i]) * scale;
    }
}

static real largest(size_t n, const real *x) {
    real m = x[0];
    for (size_t i = 1; i < n; i++)
        if (x[i] > m) m = x[i];
    return m;
}

static real sigmoid(real x) {
    return 1 / (1 + exponential(-x));
}

static void swiglu(size_t n, const real *g, const real *u, real *m) {
    for (size_t i = 0; i < n; i++) m[i] = g[i] * sigmoid(g[i]) * u[i];
}

/* silu'(g) = s (1 + g (1 - s)), s = sigmoid(g). */
static void swiglu_back(size_t n, const real *g, const real *u, const real *dm,
                        real *dg, real *du) {
    for (size_t i = 0; i < n; i++) {
        real x = g[i], s = sigmoid(x), d = dm[i], up = u[i];
        dg[i] = d * up * (s * (1 + x * (1 - s)));
        du[i] = d * (x * s);
    }
}

/* With z = 2 k (x + a x^3), k = sqrt(2 / pi), a = 0.044715:
 * 0.5 x (1 + tanh(z / 2)) = x sigmoid(z).  Hendrycks and Gimpel, Gaussian
 * Error Linear Units, arXiv:1606.08415.  *slope = its derivative. */
static real gelu_one(real x, real *slope) {
    const real k2 = (real)1.5957691216057308, a = (real)0.044715;
    real s = sigmoid(k2 * (x + a * x * x * x));
    *slope = s + x * s * (1 - s) * k2 * (1 + 3 * a * x * x);
    return x * s;
}

static void geglu(size_t n, const real *g, const real *u, real *m) {
    real slope;
    for (size_t i = 0; i < n; i++) m[i] = gelu_one(g[i], &slope) * u[i];
}

static void geglu_back(size_t n, const real *g, const real *u, const real *dm,
                       real *dg, real *du) {
    for (size_t i = 0; i < n; i++) {
        real slope, d = dm[i], up = u[i], y = gelu_one(g[i], &slope);
        dg[i] = d * up * slope;
        du[i] = d * y;
    }
}

static void gelu(size_t n, const real *u, real *m) {
    real slope;
    for (size_t i = 0; i < n; i++) m[i] = gelu_one(u[i], &slope);
}

static void gelu_back(size_t n, const real *u, const real *dm, real *du) {
    for (size_t i = 0; i < n; i++) {
        real slope;
        (void)gelu_one(u[i], &slope);
        du[i] = dm[i] * slope;
    }
}

static void rope(size_t half, const real *cos, const real *sin, real sign,
                 real *x) {
    for (size_t i = 0; i < half; i++) {
        real a = x[i], b = x[i + half], s = sign * sin[i];
        x[i] = a * cos[i] - b * s;
        x[i + half] = b * cos[i] + a * s;
    }
}

static void accumulate(size_t n, const real *x, real *y) {
    for (size_t i = 0; i < n; i++) y[i] += x[i];
}

static const hearth_kernels reference = {
    .name = "reference",
    .gemm_nt = gemm_nt,
    .gemm_nn = gemm_nn,
    .gemm_tn = gemm_tn,
    .rmsnorm = rmsnorm,
    .rmsnorm_back = rmsnorm_back,
    .rms_inverse = rms_inverse,
    .layernorm = layernorm,
    .layernorm_back = layernorm_back,
    .layer_inverse = layer_inverse,
    .exp_shift = exp_shift,
    .column_max = column_max,
    .column_exp = column_exp,
    .column_back = column_back,
    .max = largest,
    .dot = dot,
    .swiglu = swiglu,
    .swiglu_back = swiglu_back,
    .geglu = geglu,
    .geglu_back = geglu_back,
    .gelu = gelu,
    .gelu_back = gelu_back,
    .rope = rope,
    .accumulate = accumulate,
};

const hearth_kernels *hearth_kernels_reference(void) {
    return &reference;
}

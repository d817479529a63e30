/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/kernels_blas.c - products by OpenBLAS, one BLAS thread per
 * caller; the rest as loops that compilers turn into vector code.
 *
 * Reductions keep LANES partial sums that are added in one written order, so
 * no flag that reorders floating point is needed.
 */
#include "client/train/kernels.h"

#if defined(HEARTH_WITH_OPENBLAS) && !defined(HEARTH_FLOAT64)

#include <cblas.h>
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define LANES ((size_t)16)

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char description[128];

/* Below this much work a call into BLAS costs more than the product. */
#define SMALL_WORK ((size_t)2048)

static int small(size_t m, size_t n, size_t k) {
    return m * n * k <= SMALL_WORK;
}

static void gemm_nt(size_t m, size_t n, size_t k, float alpha, const float *a,
                    size_t lda, const float *b, size_t ldb, int add, float *c,
                    size_t ldc) {
    if (!m || !n) return;
    if (small(m, n, k)) {
        hearth_kernels_reference()->gemm_nt(m, n, k, alpha, a, lda, b, ldb, add,
                                            c, ldc);
        return;
    }
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)m, (blasint)n,
                (blasint)k, alpha, a, (blasint)lda, b, (blasint)ldb,
                add ? 1.0f : 0.0f, c, (blasint)ldc);
}

static void gemm_nn(size_t m, size_t n, size_t k, float alpha, const float *a,
                    size_t lda, const float *b, size_t ldb, int add, float *c,
                    size_t ldc) {
    if (!m || !n) return;
    if (small(m, n, k)) {
        hearth_kernels_reference()->gemm_nn(m, n, k, alpha, a, lda, b, ldb, add,
                                            c, ldc);
        return;
    }
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)m,
                (blasint)n, (blasint)k, alpha, a, (blasint)lda, b, (blasint)ldb,
                add ? 1.0f : 0.0f, c, (blasint)ldc);
}

static void gemm_tn(size_t m, size_t n, size_t k, float alpha, const float *a,
                    size_t lda, const float *b, size_t ldb, int add, float *c,
                    size_t ldc) {
    if (!m || !n) return;
    if (small(m, n, k)) {
        hearth_kernels_reference()->gemm_tn(m, n, k, alpha, a, lda, b, ldb, add,
                                            c, ldc);
        return;
    }
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (blasint)m, (blasint)n,
                (blasint)k, alpha, a, (blasint)lda, b, (blasint)ldb,
                add ? 1.0f : 0.0f, c, (blasint)ldc);
}

/* The lanes, added pairwise. */
static float fold(float *lane) {
    for (size_t w = LANES / 2; w; w /= 2)
        for (size_t i = 0; i < w; i++) lane[i] += lane[i + w];
    return lane[0];
}

static float dot(size_t n, const float *x, const float *y) {
    float lane[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t l = 0; l < LANES; l++) lane[l] += x[i + l] * y[i + l];
    for (size_t l = 0; i < n; i++, l++) lane[l] += x[i] * y[i];
    return fold(lane);
}

static float rms_inverse(size_t n, const float *x, float eps) {
    return 1.0f / sqrtf(dot(n, x, x) / (float)n + eps);
}

static void rmsnorm(size_t n, const float *x, const float *w, float eps,
                    float *y) {
    float r = rms_inverse(n, x, eps);
    for (size_t i = 0; i < n; i++) y[i] = x[i] * r * w[i];
}

static void rmsnorm_back(size_t n, const float *x, const float *w, float eps,
                         const float *dy, float *dx) {
    float r = rms_inverse(n, x, eps), lane[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t l = 0; l < LANES; l++)
            lane[l] += dy[i + l] * w[i + l] * x[i + l];
    for (size_t l = 0; i < n; i++, l++) lane[l] += dy[i] * w[i] * x[i];
    float mean = fold(lane) * r / (float)n;
    for (i = 0; i < n; i++) dx[i] += r * (dy[i] * w[i] - x[i] * r * mean);
}

/* exp for |x| up to about 87, clamped there; NaN stays NaN.  2^n from the
 * exponent bits, a degree-6 polynomial on [-ln2/2, ln2/2]; error below 2 ulp.
 * Source: the polynomial of Cephes expf. */
static inline float fast_exp(float x) {
    const float round = 12582912.0f; /* 1.5 * 2^23: adds make integers */
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
    bits = (bits + 127u) << 23; /* low bits of shifted hold n */
    float scale;
    memcpy(&scale, &bits, sizeof(scale));
    return p * scale;
}

static float exp_shift(size_t n, const float *s, float shift, float *p) {
    float lane[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t l = 0; l < LANES; l++) {
            float e = fast_exp(s[i + l] - shift);
            p[i + l] = e;
            lane[l] += e;
        }
    for (size_t l = 0; i < n; i++, l++) {
        p[i] = fast_exp(s[i] - shift);
        lane[l] += p[i];
    }
    return fold(lane);
}

static float largest(size_t n, const float *x) {
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

static void swiglu(size_t n, const float *g, const float *u, float *m) {
    for (size_t i = 0; i < n; i++)
        m[i] = g[i] / (1.0f + fast_exp(-g[i])) * u[i];
}

static void swiglu_back(size_t n, const float *g, const float *u,
                        const float *dm, float *dg, float *du) {
    for (size_t i = 0; i < n; i++) {
        float x = g[i], s = 1.0f / (1.0f + fast_exp(-x)), d = dm[i], up = u[i];
        dg[i] = d * up * (s * (1.0f + x * (1.0f - s)));
        du[i] = d * (x * s);
    }
}

static void rope(size_t half, const float *cosine, const float *sine,
                 float sign, float *x) {
    for (size_t i = 0; i < half; i++) {
        float a = x[i], b = x[i + half], s = sign * sine[i];
        x[i] = a * cosine[i] - b * s;
        x[i + half] = b * cosine[i] + a * s;
    }
}

static void accumulate(size_t n, const float *x, float *y) {
    for (size_t i = 0; i < n; i++) y[i] += x[i];
}

static const hearth_kernels blas = {
    "blas",       gemm_nt,     gemm_nn,   gemm_tn,    rmsnorm,
    rmsnorm_back, rms_inverse, exp_shift, largest,    dot,
    swiglu,       swiglu_back, rope,      accumulate,
};

static void start(void) {
    openblas_set_num_threads(1);
    (void)snprintf(description, sizeof(description), "%.80s, core %.30s",
                   openblas_get_config(), openblas_get_corename());
}

const hearth_kernels *hearth_kernels_blas(void) {
    (void)pthread_once(&once, start);
    return &blas;
}

const char *hearth_kernels_describe(const hearth_kernels *k) {
    if (k == &blas) {
        (void)pthread_once(&once, start);
        return description;
    }
    return "reference kernels: plain C, one fixed order of operations";
}

#else

const hearth_kernels *hearth_kernels_blas(void) {
    return NULL;
}

const char *hearth_kernels_describe(const hearth_kernels *k) {
    (void)k;
    return "reference kernels: plain C, one fixed order of operations";
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/kernels_blas.c - products by OpenBLAS, one BLAS thread per
 * caller; the rest from kernels_loops. */
#include "client/train/kernels.h"
#include "client/train/kernels_loops.h"

#if defined(HEARTH_WITH_OPENBLAS) && !defined(HEARTH_FLOAT64)

#include <cblas.h>
#include <pthread.h>
#include <stdio.h>

static pthread_once_t once = PTHREAD_ONCE_INIT; /* guards both below */
static hearth_kernels blas;
static char description[160];

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

static void start(void) {
    blas.name = "blas";
    blas.gemm_nt = gemm_nt;
    blas.gemm_nn = gemm_nn;
    blas.gemm_tn = gemm_tn;
    const char *loops = hearth_kernels__fill_loops(&blas);
    openblas_set_num_threads(1);
    (void)snprintf(description, sizeof(description), "%.80s, core %.30s; %s",
                   openblas_get_config(), openblas_get_corename(), loops);
}

const hearth_kernels *hearth_kernels_blas(void) {
    (void)pthread_once(&once, start);
    return &blas;
}

const char *hearth_kernels__describe_blas(void) {
    (void)pthread_once(&once, start);
    return description;
}

#else

const hearth_kernels *hearth_kernels_blas(void) {
    return NULL;
}

const char *hearth_kernels__describe_blas(void) {
    return "";
}

#endif

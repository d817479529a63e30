/* SPDX-License-Identifier: Apache-2.0 */
/* tests/bench/bench_gemm.c - our products against OpenBLAS, turn by turn on
 * one thread: CPU time, so that other jobs on the machine count little.
 *
 * Prints one CSV row per shape and product: medians of RUNS turns, the median
 * of the turns' ratios (above 1: ours is faster), and our GFLOP/s.
 *
 * usage: OPENBLAS_NUM_THREADS=1 bench_gemm */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "client/train/kernels.h"
#include "common/philox.h"

#define RUNS  11
#define WORK  2e6 /* multiplications of a turn */
#define MOST  ((size_t)1024 * 4864)
#define SHAPE (sizeof(shape) / sizeof(shape[0]))

static float a[MOST], b[MOST], c[MOST];

/* M, N, K: layers of 256 tokens, adapters of rank 8, heads of attention. */
static const size_t shape[][3] = {
    {256, 896, 896}, {256, 4864, 896}, {256, 896, 4864}, {256, 768, 768},
    {256, 640, 640}, {256, 8, 896},    {256, 896, 8},    {896, 8, 256},
    {128, 128, 64},  {128, 64, 128},   {128, 128, 8},    {128, 8, 128},
    {1, 896, 896}};

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return 1e6 * (double)t.tv_sec + 1e-3 * (double)t.tv_nsec;
}

static int compare(const void *x, const void *y) {
    double p = *(const double *)x, q = *(const double *)y;
    return (p > q) - (p < q);
}

static double median(double *v) {
    qsort(v, RUNS, sizeof(*v), compare);
    return v[RUNS / 2];
}

static double turn(const hearth_kernels *k, int op, const size_t s[3]) {
    size_t m = s[0], n = s[1], l = s[2];
    size_t calls = (size_t)(WORK / (double)(m * n * l)) + 1;
    double t = now_us();
    for (size_t i = 0; i < calls; i++) {
        if (op == 0) k->gemm_nt(m, n, l, 1, a, l, b, l, 0, c, n);
        if (op == 1) k->gemm_nn(m, n, l, 1, a, l, b, n, 0, c, n);
        if (op == 2) k->gemm_tn(m, n, l, 1, a, m, b, n, 0, c, n);
    }
    return (now_us() - t) / (double)calls;
}

int main(void) {
    static const char *const op_name[3] = {"nt", "nn", "tn"};
    const hearth_kernels *blas = hearth_kernels_blas();
    const hearth_kernels *native = hearth_kernels_native();
    if (!blas || !native) {
        (void)fprintf(stderr, "bench_gemm: this build lacks one of the sets\n");
        return 2;
    }
    hearth_philox_key k = hearth_philox_key_make(1, HEARTH_PHILOX_DATA);
    for (size_t i = 0; i < MOST; i++) {
        a[i] = (float)hearth_philox_normal(k, 0, i);
        b[i] = a[MOST - 1 - i] + a[i / 2];
    }
    printf("# %s\n# %s\n", hearth_kernels_describe(blas),
           hearth_kernels_describe(native));
    printf("m,n,k,product,blas_us,native_us,ratio,native_gflops\n");
    for (size_t s = 0; s < SHAPE; s++)
        for (int op = 0; op < 3; op++) {
            double x[RUNS], y[RUNS], ratio[RUNS];
            for (size_t i = 0; i < RUNS; i++) {
                x[i] = turn(blas, op, shape[s]);
                y[i] = turn(native, op, shape[s]);
                ratio[i] = x[i] / y[i];
            }
            double work = 2.0 * (double)shape[s][0] * (double)shape[s][1] *
                          (double)shape[s][2];
            double mine = median(y);
            printf("%zu,%zu,%zu,%s,%.1f,%.1f,%.2f,%.1f\n", shape[s][0],
                   shape[s][1], shape[s][2], op_name[op], median(x), mine,
                   median(ratio), work / mine / 1e3);
        }
    return 0;
}

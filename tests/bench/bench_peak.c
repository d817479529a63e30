/* SPDX-License-Identifier: Apache-2.0 */
/* tests/bench/bench_peak.c - what three ideals reach on this machine, now.
 *
 *     bench_peak [THREADS [MILLISECONDS]]
 *
 * One JSON line: GFLOP/s of OpenBLAS' sgemm, c[256, 4864] = a[256, 896]
 * b[4864, 896]^T (the shape that training ratios refer to), of vdpbf16ps and
 * of tdpbf16ps alone in registers (0 where the machine has none).
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cblas.h>

#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#define BF16_PEAK 1
#endif

extern void openblas_set_num_threads(int n);

enum { M = 256, N = 4864, K = 896 };

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The fastest product within the time. */
static double sgemm_gflops(double budget_s) {
    float *a = calloc(M * K, sizeof(*a)), *b = calloc(N * K, sizeof(*b));
    float *c = calloc(M * N, sizeof(*c));
    double best = 1e30, end;
    if (!a || !b || !c) exit(1);
    for (size_t i = 0; i < M * K; i++) a[i] = (float)(i % 7) * 0.25F;
    for (size_t i = 0; i < N * K; i++) b[i] = (float)(i % 5) * 0.25F;
    end = now_s() + budget_s;
    do {
        double t = now_s();
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, M, N, K, 1, a, K,
                    b, K, 0, c, N);
        t = now_s() - t;
        best = t < best ? t : best;
    } while (now_s() < end);
    free(a);
    free(b);
    free(c);
    return 2.0 * M * N * K / best / 1e9;
}

typedef struct {
    double budget_s, gflops;
} peak_job;

#ifdef BF16_PEAK
#define ROUNDS 20000
#define SUMS   16

__attribute__((target("avx512f,avx512bf16"))) static void *bf16_run(void *ud) {
    peak_job *j = ud;
    __m512bh x = (__m512bh)_mm512_set1_epi32(0x3F803F80);
    __m512 sum[SUMS];
    double best = 1e30, end = now_s() + j->budget_s;
    for (int i = 0; i < SUMS; i++) sum[i] = _mm512_setzero_ps();
    do {
        double t = now_s();
        for (int r = 0; r < ROUNDS; r++)
            for (int i = 0; i < SUMS; i++)
                sum[i] = _mm512_dpbf16_ps(sum[i], x, x);
        t = now_s() - t;
        best = t < best ? t : best;
    } while (now_s() < end);
    for (int i = 1; i < SUMS; i++) sum[0] = _mm512_add_ps(sum[0], sum[i]);
    /* 16 sums of two products an instruction; the sum keeps the loop alive */
    j->gflops = 64.0 * SUMS * ROUNDS / best / 1e9 +
                (_mm512_reduce_add_ps(sum[0]) < 0 ? 1 : 0);
    return NULL;
}

static int has_bf16(void) {
    return __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bf16");
}

/* Four sums of 16 x 16, each of 32 products, from two tiles of each factor. */
__attribute__((target("amx-tile,amx-bf16"))) static void *amx_run(void *ud) {
    static const struct {
        unsigned char palette, start, reserved[14];
        unsigned short bytes[16];
        unsigned char rows[16];
    } tiles = {.palette = 1,
               .bytes = {64, 64, 64, 64, 64, 64, 64, 64},
               .rows = {16, 16, 16, 16, 16, 16, 16, 16}};
    peak_job *j = ud;
    double best = 1e30, end = now_s() + j->budget_s;
    _tile_loadconfig(&tiles); /* which zeroes all of them */
    do {
        double t = now_s();
        for (int r = 0; r < ROUNDS; r++) {
            _tile_dpbf16ps(0, 4, 6);
            _tile_dpbf16ps(1, 4, 7);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
        }
        t = now_s() - t;
        best = t < best ? t : best;
    } while (now_s() < end);
    _tile_release();
    j->gflops = 4 * 2.0 * 16 * 16 * 32 * ROUNDS / best / 1e9;
    return NULL;
}

/* The instructions, and the system's leave to use them. */
static int has_amx(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
    return (d >> 22 & 1) && (d >> 24 & 1) &&
           syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */,
                   18 /* tile data */) == 0;
}
#else
static void *bf16_run(void *ud) {
    return ud;
}
static void *amx_run(void *ud) {
    return ud;
}
static int has_bf16(void) {
    return 0;
}
static int has_amx(void) {
    return 0;
}
#endif

/* All threads at once. */
static double together(void *(*run)(void *), size_t threads, double budget_s) {
    pthread_t id[64];
    peak_job job[64];
    double sum = 0;
    for (size_t i = 0; i < threads; i++) {
        job[i] = (peak_job){budget_s, 0};
        if (pthread_create(&id[i], NULL, run, &job[i])) exit(1);
    }
    for (size_t i = 0; i < threads; i++) {
        pthread_join(id[i], NULL);
        sum += job[i].gflops;
    }
    return sum;
}

int main(int argc, char **argv) {
    size_t threads = argc > 1 ? (size_t)strtoul(argv[1], NULL, 10) : 2;
    double budget_s = argc > 2 ? strtod(argv[2], NULL) / 1e3 : 0.5;
    if (threads < 1 || threads > 64) {
        fprintf(stderr, "usage: bench_peak [THREADS [MILLISECONDS]]\n");
        return 2;
    }
    openblas_set_num_threads((int)threads);
    double sgemm = sgemm_gflops(budget_s);
    double bf16 = has_bf16() ? together(bf16_run, threads, budget_s) : 0;
    double amx = has_amx() ? together(amx_run, threads, budget_s) : 0;
    printf("{\"threads\":%zu,\"sgemm_gflops\":%.1f,\"bf16_gflops\":%.1f,"
           "\"amx_gflops\":%.1f}\n",
           threads, sgemm, bf16, amx);
    return 0;
}

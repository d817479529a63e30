/* SPDX-License-Identifier: Apache-2.0 */
/* tests/bench/bench_gemm.c - our products against OpenBLAS, turn by turn on
 * one thread: CPU time, so that other jobs on the machine count little.
 *
 * Prints one CSV row per shape and product: medians of 11 turns, the median of
 * the turns' ratios (above 1: ours is faster), and our GFLOP/s.  First plain
 * products in f32, then whole products with weights of each stored type (their
 * conversion included) in f32 and in bfloat16, all against f32 in OpenBLAS.
 *
 * usage: OPENBLAS_NUM_THREADS=1 bench_gemm [plain|native|bf16] [TURNS] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/train/kernels.h"
#include "client/train/weight.h"
#include "client/train/weight_private.h"
#include "common/philox.h"

#define RUNS  11
#define WORK  2e6 /* multiplications of a turn */
#define MOST  ((size_t)32768 * 896)
#define SHAPE (sizeof(shape) / sizeof(shape[0]))
#define LAYER (sizeof(layer) / sizeof(layer[0]))

static float a[MOST], b[MOST], c[MOST];
static unsigned char stored[4 * MOST];
static float tile[HEARTH_WEIGHT_TILE_BYTES / sizeof(float)];
static size_t n_runs = RUNS;

/* M, N, K: layers of 256 tokens, adapters of rank 8, heads of attention. */
static const size_t shape[][3] = {
    {256, 896, 896}, {256, 4864, 896}, {256, 896, 4864}, {256, 768, 768},
    {256, 640, 640}, {256, 8, 896},    {256, 896, 8},    {896, 8, 256},
    {128, 128, 64},  {128, 64, 128},   {128, 128, 8},    {128, 8, 128},
    {128, 16, 128},  {128, 32, 128},   {1, 896, 896},    {1, 4864, 896}};

/* Tokens, outputs, inputs: layers, and a part of a head. */
static const size_t layer[][3] = {
    {256, 896, 896}, {256, 4864, 896}, {256, 896, 4864}, {256, 32768, 896}};

static const struct {
    const char *name;
    hearth_weight_type type;
    hearth_quant_type quant;
} kind[] = {{"f32", HEARTH_WEIGHT_F32, HEARTH_QUANT_F32},
            {"bf16", HEARTH_WEIGHT_BF16, HEARTH_QUANT_BF16},
            {"q8_0", HEARTH_WEIGHT_QUANT, HEARTH_QUANT_Q8_0},
            {"q4_0", HEARTH_WEIGHT_QUANT, HEARTH_QUANT_Q4_0},
            {"q4_k", HEARTH_WEIGHT_QUANT, HEARTH_QUANT_Q4_K},
            {"q6_k", HEARTH_WEIGHT_QUANT, HEARTH_QUANT_Q6_K}};

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
    qsort(v, n_runs, sizeof(*v), compare);
    return v[n_runs / 2];
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

static void say(const size_t s[3], double *x, double *y, double *ratio) {
    double work = 2.0 * (double)s[0] * (double)s[1] * (double)s[2];
    double mine = median(y);
    printf("%.1f,%.1f,%.2f,%.1f\n", median(x), mine, median(ratio),
           work / mine / 1e3);
    (void)fflush(stdout);
}

static void plain(const hearth_kernels *blas, const hearth_kernels *native) {
    static const char *const op_name[3] = {"nt", "nn", "tn"};
    double x[RUNS], y[RUNS], ratio[RUNS];
    printf("m,n,k,product,blas_us,native_us,ratio,native_gflops\n");
    for (size_t s = 0; s < SHAPE; s++)
        for (int op = 0; op < 3; op++) {
            for (size_t i = 0; i < n_runs; i++) {
                x[i] = turn(blas, op, shape[s]);
                y[i] = turn(native, op, shape[s]);
                ratio[i] = x[i] / y[i];
            }
            printf("%zu,%zu,%zu,%s,", shape[s][0], shape[s][1], shape[s][2],
                   op_name[op]);
            say(shape[s], x, y, ratio);
        }
}

static double weight_turn(const hearth_kernels *k, const hearth_weight *w,
                          size_t m, int back) {
    const hearth_compute compute = {.kernels = k, .pool = NULL, .tile = tile};
    double t = now_us();
    if (back)
        hearth_weight_backward(&compute, w, m, a, w->rows, c, w->cols, 0);
    else
        hearth_weight_forward(&compute, w, m, a, w->cols, c, w->rows, 0);
    return now_us() - t;
}

/* Bytes below 0x38, so that every half is a finite number. */
static void store(size_t t, size_t n) {
    if (kind[t].type != HEARTH_WEIGHT_QUANT) {
        (void)hearth_quant_encode(kind[t].quant, b, n, stored);
        return;
    }
    for (size_t i = 0; i < 2 * n; i++)
        stored[i] = (unsigned char)(i * 2654435761u >> 7 & 0x37);
}

static void weights(const hearth_kernels *blas, const hearth_kernels *set) {
    double x[RUNS], y[RUNS], ratio[RUNS];
    for (size_t s = 0; s < LAYER; s++)
        for (size_t t = 0; t < sizeof(kind) / sizeof(kind[0]); t++) {
            const size_t *l = layer[s], back_shape[3] = {l[0], l[2], l[1]};
            hearth_weight w = {.type = kind[t].type,
                               .quant = kind[t].quant,
                               .rows = l[1],
                               .cols = l[2],
                               .data = stored};
            if (l[2] % hearth_quant_elements(kind[t].quant)) continue;
            store(t, l[1] * l[2]);
            for (int back = 0; back < 2; back++) {
                for (size_t i = 0; i < n_runs; i++) {
                    x[i] = turn(blas, back, back ? back_shape : l);
                    y[i] = weight_turn(set, &w, l[0], back);
                    ratio[i] = x[i] / y[i];
                }
                printf("%zu,%zu,%zu,%s,%s,%s,", l[0], l[1], l[2],
                       back ? "dx" : "forward", kind[t].name, set->name);
                say(l, x, y, ratio);
            }
        }
}

int main(int argc, char **argv) {
    const hearth_kernels *blas = hearth_kernels_blas();
    const hearth_kernels *native = hearth_kernels_native();
    const char *what = argc > 1 ? argv[1] : "";
    if (!blas || !native) {
        (void)fprintf(stderr, "bench_gemm: this build lacks one of the sets\n");
        return 2;
    }
    if (argc > 2 && argv[2][0] >= '1' && argv[2][0] <= '9')
        n_runs = (size_t)(argv[2][0] - '0');
    hearth_philox_key k = hearth_philox_key_make(1, HEARTH_PHILOX_DATA);
    for (size_t i = 0; i < 65536; i++)
        a[i] = (float)hearth_philox_normal(k, 0, i);
    for (size_t i = 65536; i < MOST; i++)
        a[i] = a[i * 7919 % 65536] + a[i >> 12];
    for (size_t i = 0; i < MOST; i++) b[i] = a[MOST - 1 - i] + a[i / 2];
    printf("# %s\n# %s\n# %s\n", hearth_kernels_describe(blas),
           hearth_kernels_describe(native),
           hearth_kernels_describe(hearth_kernels_bf16()));
    if (!*what || strcmp(what, "plain") == 0) plain(blas, native);
    printf("tokens,outputs,inputs,product,weights,kernels,blas_us,our_us,ratio,"
           "our_gflops\n");
    if (!*what || strcmp(what, "native") == 0) weights(blas, native);
    if (!*what || strcmp(what, "bf16") == 0)
        weights(blas, hearth_kernels_bf16());
    return 0;
}

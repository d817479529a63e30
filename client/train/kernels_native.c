/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/kernels_native.c - our own products, without a library: one
 * body (gemm_body.h) for several widths of vectors, chosen at run time; the
 * rest from kernels_loops. */
#include "client/train/kernels.h"
#include "client/train/kernels_loops.h"

#if !defined(HEARTH_FLOAT64) && defined(__GNUC__)

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define BODY     static inline __attribute__((always_inline))
#define FEW_ROWS ((size_t)4) /* below, packing costs more than it gives */

static pthread_once_t once = PTHREAD_ONCE_INIT; /* guards both below */
static hearth_kernels native;
static char description[80];

/* One run over k: a[i * rs + l * cs] and b[l * ldb + j]. */
typedef struct {
    size_t k;
    const float *a;
    size_t rs, cs;
    const float *b;
    size_t ldb;
    float alpha;
    int add;
} product_part;

#define SET  plain
#define ATTR /* what the compiler's own flags allow: SSE2, NEON */
#define VL   4
#if defined(__aarch64__)
#define MR 8
#define NV 2
#else
#define MR 4
#define NV 2
#endif
#define INTERLEAVE_LOW(x, y)  __builtin_shufflevector(x, y, 0, 4, 1, 5)
#define INTERLEAVE_HIGH(x, y) __builtin_shufflevector(x, y, 2, 6, 3, 7)
#include "client/train/gemm_body.h"

#if defined(__x86_64__)

#define SET  avx2
#define ATTR __attribute__((target("avx2,fma")))
#define VL   8
#define MR   6
#define NV   2
#define INTERLEAVE_LOW(x, y)                                                   \
    __builtin_shufflevector(x, y, 0, 8, 1, 9, 2, 10, 3, 11)
#define INTERLEAVE_HIGH(x, y)                                                  \
    __builtin_shufflevector(x, y, 4, 12, 5, 13, 6, 14, 7, 15)
#include "client/train/gemm_body.h"

#define SET  avx512
#define ATTR __attribute__((target("avx512f,avx512dq,avx512vl,avx2,fma")))
#define VL   16
#define MR   14
#define NV   2
#define INTERLEAVE_LOW(x, y)                                                   \
    __builtin_shufflevector(x, y, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, \
                            22, 7, 23)
#define INTERLEAVE_HIGH(x, y)                                                  \
    __builtin_shufflevector(x, y, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13,    \
                            29, 14, 30, 15, 31)
#include "client/train/gemm_body.h"

#endif

bool hearth_kernels__fill_products(hearth_kernels *k, const char *set) {
    bool plain = strcmp(set, "plain") == 0;
    if (plain) plain_fill(k);
#if defined(__x86_64__)
    bool narrow = strcmp(set, "avx2") == 0 && __builtin_cpu_supports("avx2") &&
                  __builtin_cpu_supports("fma");
    bool wide = strcmp(set, "avx512") == 0 &&
                __builtin_cpu_supports("avx512f") &&
                __builtin_cpu_supports("avx512dq") &&
                __builtin_cpu_supports("avx512vl");
    if (narrow) avx2_fill(k);
    if (wide) avx512_fill(k);
    return plain || narrow || wide;
#else
    return plain;
#endif
}

static void start(void) {
    native.name = "native";
    const char *set = hearth_kernels__fill_loops(&native);
    (void)hearth_kernels__fill_products(&native, set);
    (void)snprintf(description, sizeof(description),
                   "own products and loops; %s", set);
}

const hearth_kernels *hearth_kernels_native(void) {
    (void)pthread_once(&once, start);
    return &native;
}

const char *hearth_kernels__describe_native(void) {
    (void)pthread_once(&once, start);
    return description;
}

#else

#ifndef HEARTH_FLOAT64
bool hearth_kernels__fill_products(hearth_kernels *k, const char *set) {
    (void)k;
    (void)set;
    return false;
}
#endif

const hearth_kernels *hearth_kernels_native(void) {
    return NULL;
}

const char *hearth_kernels__describe_native(void) {
    return "";
}

#endif

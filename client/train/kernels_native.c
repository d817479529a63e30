/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/kernels_native.c - our own products, without a library: bodies
 * (gemm_body.h, pairs_body.h) for several widths of vectors, chosen at run
 * time; the rest from kernels_loops. */
#include "client/train/kernels.h"
#include "client/train/kernels_loops.h"

#if !defined(HEARTH_FLOAT64) && defined(__GNUC__)

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define BODY     static inline __attribute__((always_inline))
#define FEW_ROWS ((size_t)4) /* below, packing costs more than it gives */

static pthread_once_t once = PTHREAD_ONCE_INIT; /* guards all below */
static hearth_kernels native, in_pairs, two_parts, in_bytes;
static char description[80], pair_description[80], byte_description[80];
static bool fast_pairs;

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

/* A number of 16 bits wherever it lies. */
typedef uint16_t loose_half __attribute__((aligned(1), may_alias));

/* As the instructions of AVX-512 do it, for every other set. */
BODY void round_numbers(size_t n, const float *x, uint16_t *out) {
    for (size_t i = 0; i < n; i++) {
        uint32_t u;
        memcpy(&u, x + i, sizeof(u));
        uint32_t size = u & 0x7fffffffu, near = u + 0x7fffu + (u >> 16 & 1);
        near = size < 0x00800000u ? u & 0x80000000u : near;
        near = size > 0x7f800000u ? u | 0x00400000u : near;
        out[i] = (uint16_t)(near >> 16);
    }
}

/* Products of two bfloat16 numbers are exact in f32. */
#define EXPANDED_STEP(sum, pair, b)                                            \
    do {                                                                       \
        NAME(bits) x_ = (NAME(bits)){0} + (pair), odd_ = {0};                  \
        odd_ += 0xffff0000u;                                                   \
        (sum) += (NAME(vec))(x_ & odd_) * (NAME(vec))((b)&odd_);               \
        (sum) += (NAME(vec))(x_ << 16) * (NAME(vec))((b) << 16);               \
    } while (0)

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
#define PAIRS      plain_pairs
#define PAIR_ATTR  /* none */
#define PAIR_MR    MR
#define PAIR_STEP  EXPANDED_STEP
#define PAIR_ROUND round_numbers
#include "client/train/pairs_body.h"
#include "client/train/gemm_body_end.h"

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
#define PAIRS      avx2_pairs
#define PAIR_ATTR  __attribute__((target("avx2,fma")))
#define PAIR_MR    MR
#define PAIR_STEP  EXPANDED_STEP
#define PAIR_ROUND round_numbers
#include "client/train/pairs_body.h"
#include "client/train/gemm_body_end.h"

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

#define FOR_BF16                                                               \
    __attribute__((                                                            \
        target("avx512bf16,avx512bw,avx512f,avx512dq,avx512vl,avx2,fma")))

FOR_BF16 BODY void round_by_instruction(size_t n, const float *x,
                                        uint16_t *out) {
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __m256bh y = _mm512_cvtneps_pbh(_mm512_loadu_ps(x + i));
        memcpy(out + i, &y, sizeof(y));
    }
    round_numbers(n - i, x + i, out + i);
}

#define BF16_STEP(sum, pair, b)                                                \
    ((sum) = (NAME(vec))_mm512_dpbf16_ps(                                      \
         (__m512)(sum), (__m512bh)_mm512_set1_epi32((int)(pair)),              \
         (__m512bh)(b)))
#define PAIRS      avx512bf16
#define PAIR_ATTR  FOR_BF16
#define PAIR_MR    14
#define PAIR_STEP  BF16_STEP
#define PAIR_ROUND round_by_instruction
#include "client/train/pairs_body.h"
#include "client/train/gemm_body_end.h"

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

bool hearth_kernels__fill_pairs(hearth_kernels *k, const char *set) {
    bool plain = strcmp(set, "plain") == 0;
    if (plain) plain_pairs_fill(k);
#if defined(__x86_64__)
    bool narrow = strcmp(set, "avx2") == 0 && __builtin_cpu_supports("avx2") &&
                  __builtin_cpu_supports("fma");
    size_t parts = strcmp(set, "amx3") == 0   ? 3
                   : strcmp(set, "amx2") == 0 ? 2
                                              : 1;
    bool tiles = parts > 1 || strcmp(set, "amx") == 0;
    bool wide = (tiles || strcmp(set, "avx512bf16") == 0) &&
                __builtin_cpu_supports("avx512f") &&
                __builtin_cpu_supports("avx512dq") &&
                __builtin_cpu_supports("avx512vl") &&
                __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512bf16");
    if (narrow) avx2_pairs_fill(k);
    hearth_kernels part = *k;
    if (wide) avx512bf16_fill(&part);
    if (tiles && !(wide && hearth_kernels__fill_amx(&part, parts)))
        return false;
    if (wide) *k = part;
    return plain || narrow || wide;
#else
    if (plain || strcmp(set, "bfmmla") != 0) return plain;
    hearth_kernels part = *k;
    plain_pairs_fill(&part);
    if (!hearth_kernels__fill_bfmmla(&part)) return false;
    *k = part;
    return true;
#endif
}

/* The fastest first; "plain" is everywhere. */
static void start_bytes(void) {
    static const char *const set[] = {"i8mm", "avx512vnni", "avx2", "plain"};
    size_t i = 0;
    in_bytes = in_pairs;
    in_bytes.name = "int8";
    while (i < 3 && !hearth_kernels__fill_int8(&in_bytes, set[i])) i++;
    if (i == 3) (void)hearth_kernels__fill_int8(&in_bytes, set[i]);
    (void)snprintf(byte_description, sizeof(byte_description),
                   "Q8_0 forward in 8 bits (%s), the rest as bf16", set[i]);
}

static void start(void) {
    native.name = "native";
    const char *set = hearth_kernels__fill_loops(&native);
    (void)hearth_kernels__fill_products(&native, set);
    in_pairs = two_parts = native;
    bool parts = hearth_kernels__fill_pairs(&native, "amx3");
    if (parts) native.attention = &native;
    if (hearth_kernels__fill_pairs(&two_parts, "amx2"))
        in_pairs.attention = &two_parts;
    (void)snprintf(description, sizeof(description),
                   "own products and loops; %s%s", set,
                   parts ? ", amx (f32 as three bfloat16 numbers)" : "");
    in_pairs.name = "bf16";
    fast_pairs = hearth_kernels__fill_pairs(&in_pairs, set = "amx") ||
                 hearth_kernels__fill_pairs(&in_pairs, set = "avx512bf16") ||
                 hearth_kernels__fill_pairs(&in_pairs, set = "bfmmla");
    if (!fast_pairs && !hearth_kernels__fill_pairs(&in_pairs, set = "avx2"))
        (void)hearth_kernels__fill_pairs(&in_pairs, set = "plain");
    (void)snprintf(pair_description, sizeof(pair_description),
                   "own products, bfloat16 with f32 sums; %s", set);
    start_bytes();
}

const hearth_kernels *hearth_kernels_native(void) {
    (void)pthread_once(&once, start);
    return &native;
}

const hearth_kernels *hearth_kernels_bf16(void) {
    (void)pthread_once(&once, start);
    return &in_pairs;
}

const hearth_kernels *hearth_kernels_int8(void) {
    (void)pthread_once(&once, start);
    return &in_bytes;
}

bool hearth_kernels_bf16_is_fast(void) {
    (void)pthread_once(&once, start);
    return fast_pairs;
}

const char *hearth_kernels__describe_native(void) {
    (void)pthread_once(&once, start);
    return description;
}

const char *hearth_kernels__describe_bf16(void) {
    (void)pthread_once(&once, start);
    return pair_description;
}

const char *hearth_kernels__describe_int8(void) {
    (void)pthread_once(&once, start);
    return byte_description;
}

#else

#ifndef HEARTH_FLOAT64
bool hearth_kernels__fill_products(hearth_kernels *k, const char *set) {
    (void)k;
    (void)set;
    return false;
}

bool hearth_kernels__fill_pairs(hearth_kernels *k, const char *set) {
    (void)k;
    (void)set;
    return false;
}
#endif

const hearth_kernels *hearth_kernels_native(void) {
    return NULL;
}

const hearth_kernels *hearth_kernels_bf16(void) {
    return NULL;
}

const hearth_kernels *hearth_kernels_int8(void) {
    return NULL;
}

bool hearth_kernels_bf16_is_fast(void) {
    return false;
}

const char *hearth_kernels__describe_native(void) {
    return "";
}

const char *hearth_kernels__describe_bf16(void) {
    return "";
}

const char *hearth_kernels__describe_int8(void) {
    return "";
}

#endif

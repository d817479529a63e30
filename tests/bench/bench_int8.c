/* SPDX-License-Identifier: Apache-2.0 */
/* tests/bench/bench_int8.c - does a forward pass in int8 pay?
 *
 *     bench_int8 [TOKENS]
 *
 * Times y = x W^T at the shapes of Qwen2.5-0.5B on one core, in microseconds:
 * from a Q8_0 file as training computes it in bfloat16, and under --compute int8
 * (kernels_int8.c: VPDPBUSD, or SMMLA on Arm; W as it is, a scale for each 32
 * numbers).  "vectors": bf16 without AMX or BFMMLA.  "difference": between bf16
 * and int8.
 *
 * With AMX also what is not built into Hearth, an experiment by TDPBSSD: x
 * rounded to 8 bits with one scale a token, W with one a row, sums exact in 32
 * bits, scaled at the end.  "requant": W comes from Q8_0, whose scales of 32
 * numbers each the tiles cannot use, and is rounded to its row's; "stored": a
 * file would hold it so.  What either costs in learning: BENCH.md.
 */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/train/kernels_loops.h"
#include "client/train/weight.h"
#include "client/train/weight_private.h"
#include "common/mem.h"

#define TURNS   15
#define COLUMNS 32 /* of a panel */
#define STEP    64 /* numbers of the sum in one product of tiles */
#define BLOCK   34 /* bytes of 32 numbers of Q8_0: scale in f16, then the rest */

typedef struct {
    size_t m, n, k; /* tokens, outputs, inputs */
    float *x, *y, *sx, *sw;
    unsigned char *w; /* Q8_0 */
    int8_t *xq, *rows, *panel;
    void *tile;
    uint16_t *halves;
} shape;

/* Seconds, the best of TURNS. */
typedef struct {
    double round, requant, pack, product, bf16, vectors, int8;
} times;

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void keep_best(double *best, double t) {
    if (*best <= 0 || t < *best) *best = t;
}

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define WITH __attribute__((target("amx-tile,amx-int8,avx512f,avx512bw,f16c")))

/* 16 numbers over a scale, to the nearest of -127 .. 127. */
WITH static __m128i to_int8(__m512 x, __m512 inverse) {
    return _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(x, inverse)));
}

WITH static void round_tokens(const shape *s) {
    for (size_t i = 0; i < s->m; i++) {
        const float *x = s->x + i * s->k;
        __m512 most = _mm512_setzero_ps();
        for (size_t c = 0; c < s->k; c += 16)
            most = _mm512_max_ps(most, _mm512_abs_ps(_mm512_loadu_ps(x + c)));
        float top = _mm512_reduce_max_ps(most);
        __m512 inverse = _mm512_set1_ps(top > 0 ? 127 / top : 0);
        s->sx[i] = top / 127;
        for (size_t c = 0; c < s->k; c += 16)
            _mm_storeu_si128((__m128i *)(void *)(s->xq + i * s->k + c),
                             to_int8(_mm512_loadu_ps(x + c), inverse));
    }
}

WITH static __m512i sixteen(const unsigned char *at) {
    return _mm512_cvtepi8_epi32(
        _mm_loadu_si128((const __m128i *)(const void *)at));
}

/* Row r of W to rows[j], rounded to the row's scale. */
WITH static void requant_row(const shape *s, size_t r, size_t j) {
    const unsigned char *w = s->w + r * s->k / 32 * BLOCK;
    int8_t *out = s->rows + j * s->k;
    float top = 0;
    for (size_t b = 0; b < s->k / 32; b++) {
        const unsigned char *at = w + b * BLOCK;
        __m512i most = _mm512_max_epi32(_mm512_abs_epi32(sixteen(at + 2)),
                                        _mm512_abs_epi32(sixteen(at + 18)));
        uint16_t half;
        memcpy(&half, at, 2);
        float t = _cvtsh_ss(half) * (float)_mm512_reduce_max_epi32(most);
        if (t > top) top = t;
    }
    s->sw[r] = top / 127;
    for (size_t b = 0; b < s->k / 16; b++) {
        const unsigned char *at = w + b / 2 * BLOCK;
        uint16_t half;
        memcpy(&half, at, 2);
        __m512 scale = _mm512_set1_ps(_cvtsh_ss(half) * 127 / top);
        __m512 v = _mm512_cvtepi32_ps(sixteen(at + 2 + b % 2 * 16));
        _mm_storeu_si128((__m128i *)(void *)(out + b * 16), to_int8(v, scale));
    }
}

/* rows [COLUMNS, k] to the panel: four numbers of each column side by side. */
WITH static void pack(const shape *s) {
    for (size_t c = 0; c < s->k; c += 4)
        for (size_t j = 0; j < COLUMNS; j++)
            memcpy(s->panel + c * COLUMNS + j * 4, s->rows + j * s->k + c, 4);
}

WITH static void scale_out(const shape *s, const int32_t *sum, size_t i,
                           size_t n0) {
    for (size_t r = 0; r < 32; r++)
        for (size_t c = 0; c < COLUMNS; c += 16) {
            __m512 v =
                _mm512_cvtepi32_ps(_mm512_load_si512(sum + r * COLUMNS + c));
            v = _mm512_mul_ps(v, _mm512_set1_ps(s->sx[i + r]));
            v = _mm512_mul_ps(v, _mm512_loadu_ps(s->sw + n0 + c));
            _mm512_storeu_ps(s->y + (i + r) * s->n + n0 + c, v);
        }
}

WITH static void multiply(const shape *s, size_t n0) {
    static const struct {
        unsigned char palette, start, reserved[14];
        unsigned short bytes[16];
        unsigned char rows[16];
    } tiles = {.palette = 1,
               .bytes = {64, 64, 64, 64, 64, 64, 64, 64},
               .rows = {16, 16, 16, 16, 16, 16, 16, 16}};
    _Alignas(64) int32_t sum[32 * COLUMNS];
    _tile_loadconfig(&tiles);
    for (size_t i = 0; i < s->m; i += 32) {
        const int8_t *a = s->xq + i * s->k, *b = s->panel;
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
        for (size_t c = 0; c < s->k; c += STEP) {
            _tile_loadd(4, a + c, s->k);
            _tile_loadd(6, b + c * COLUMNS, 4 * COLUMNS);
            _tile_dpbssd(0, 4, 6);
            _tile_loadd(7, b + c * COLUMNS + 64, 4 * COLUMNS);
            _tile_dpbssd(1, 4, 7);
            _tile_loadd(5, a + 16 * s->k + c, s->k);
            _tile_dpbssd(2, 5, 6);
            _tile_dpbssd(3, 5, 7);
        }
        _tile_stored(0, sum, 4 * COLUMNS);
        _tile_stored(1, sum + 16, 4 * COLUMNS);
        _tile_stored(2, sum + 16 * COLUMNS, 4 * COLUMNS);
        _tile_stored(3, sum + 16 * COLUMNS + 16, 4 * COLUMNS);
        scale_out(s, sum, i, n0);
    }
    _tile_release();
}

static void tiles_turn(const shape *s, times *t) {
    double requant = 0, packing = 0, product = 0, at = now_s();
    round_tokens(s);
    keep_best(&t->round, now_s() - at);
    for (size_t n0 = 0; n0 < s->n; n0 += COLUMNS) {
        double from = now_s();
        for (size_t j = 0; j < COLUMNS; j++) requant_row(s, n0 + j, j);
        double decoded = now_s();
        pack(s);
        double packed = now_s();
        multiply(s, n0);
        requant += decoded - from;
        packing += packed - decoded;
        product += now_s() - packed;
    }
    keep_best(&t->requant, requant);
    keep_best(&t->pack, packing);
    keep_best(&t->product, product);
}

#else

static void tiles_turn(const shape *s, times *t) {
    (void)s, (void)t;
}

#endif

/* As training does it. */
static void own_turn(const hearth_kernels *k, const shape *s, double *best) {
    hearth_weight w = {.type = HEARTH_WEIGHT_QUANT,
                       .quant = HEARTH_QUANT_Q8_0,
                       .rows = s->n,
                       .cols = s->k,
                       .data = s->w};
    hearth_compute c = {.kernels = k,
                        .tile = s->tile,
                        .halves = s->halves,
                        .n_halves =
                            hearth_compute_halves(s->m, s->k, k->pair_parts)};
    double at = now_s();
    hearth_weight_forward(&c, &w, s->m, s->x, s->k, s->y, s->n, 0);
    keep_best(best, now_s() - at);
}

/* bf16 without instructions for matrices: what int8 is against where these are
 * not. */
static const hearth_kernels *by_vectors(void) {
    static const char *const set[] = {"avx512bf16", "avx2", "plain"};
    static hearth_kernels k;
    k = *hearth_kernels_bf16();
    for (size_t i = 0; i < 3; i++)
        if (hearth_kernels__fill_pairs(&k, set[i])) break;
    return &k;
}

static void *room(size_t bytes) {
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!p) exit(1);
    memset(p, 0, bytes);
    return p;
}

static shape make(size_t m, size_t n, size_t k) {
    shape s = {.m = m, .n = n, .k = k};
    s.x = room(m * k * sizeof(float));
    s.y = room(m * n * sizeof(float));
    s.sx = room(m * sizeof(float));
    s.sw = room(n * sizeof(float));
    s.w = room(n * k / 32 * BLOCK);
    s.xq = room(m * k);
    s.rows = room(COLUMNS * k);
    s.panel = room(COLUMNS * k);
    s.tile = room(HEARTH_WEIGHT_TILE_BYTES);
    s.halves = room(2 * hearth_compute_halves(m, k, 1));
    for (size_t i = 0; i < m * k; i++)
        s.x[i] = (float)((i * 2654435761u >> 8) % 1000) / 1000 - 0.5f;
    for (size_t i = 0; i < n * k / 32 * BLOCK; i++)
        s.w[i] = (unsigned char)(i * 2654435761u >> 7 & 0x37);
    return s;
}

/* By how much two roundings differ, as a share of the norm. */
static double difference(const float *a, const float *b, size_t n) {
    double diff = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)a[i] - (double)b[i];
        diff += d * d;
        norm += (double)a[i] * (double)a[i];
    }
    return norm > 0 ? sqrt(diff / norm) : 0;
}

static void run(bool tiles, size_t m, size_t n, size_t k) {
    shape s = make(m, n, k);
    times t = {0};
    float *want = room(m * n * sizeof(float));
    for (int i = 0; i < TURNS; i++) {
        if (tiles) tiles_turn(&s, &t);
        own_turn(by_vectors(), &s, &t.vectors);
        own_turn(hearth_kernels_bf16(), &s, &t.bf16);
        memcpy(want, s.y, m * n * sizeof(float));
        own_turn(hearth_kernels_int8(), &s, &t.int8);
    }
    printf("%zu,%zu,%zu,%.0f,%.0f,%.0f,%.2f,%.2f,%.1e", m, n, k, 1e6 * t.bf16,
           1e6 * t.vectors, 1e6 * t.int8, t.bf16 / t.int8, t.vectors / t.int8,
           difference(want, s.y, m * n));
    double stored = t.round + t.pack + t.product, requant = stored + t.requant;
    if (tiles)
        printf(",%.0f,%.0f,%.0f,%.0f,%.2f,%.2f", 1e6 * t.round, 1e6 * t.requant,
               1e6 * t.pack, 1e6 * t.product, t.bf16 / requant,
               t.bf16 / stored);
    puts("");
    free(want);
    free(s.x);
    free(s.y);
    free(s.sx);
    free(s.sw);
    free(s.w);
    free(s.xq);
    free(s.rows);
    free(s.panel);
    free(s.tile);
    free(s.halves);
}

int main(int argc, char **argv) {
    size_t m = argc > 1 ? (size_t)strtoul(argv[1], NULL, 10) : 256;
    const hearth_kernels *k = hearth_kernels_bf16();
    if (!m || m % 32 || m > 4096) {
        (void)fprintf(stderr, "bench_int8: TOKENS is a multiple of 32\n");
        return 2;
    }
    if (!k) {
        puts("# this build has no products in bfloat16");
        return 0;
    }
    bool tiles = strstr(hearth_kernels_describe(k), "amx") != NULL;
    printf("# %s\n# %s\n", hearth_kernels_describe(k),
           hearth_kernels_describe(hearth_kernels_int8()));
    printf("tokens,outputs,inputs,bf16,vectors,int8,gain,gain_vectors,"
           "difference%s\n",
           tiles ? ",tiles_round,tiles_requant,tiles_pack,tiles_products,"
                   "gain_requant,gain_stored"
                 : "");
    run(tiles, m, 896, 896);
    run(tiles, m, 4864, 896);
    run(tiles, m, 896, 4864);
    return 0;
}

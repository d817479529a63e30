/* SPDX-License-Identifier: Apache-2.0 */
/* tests/arm/arm_kernels.c - products of every set of this machine against the
 * reference; without a test framework, so that a cross compiler and an emulator
 * suffice (tests/arm.sh). */
#include <stdio.h>
#include <string.h>

#include "client/train/kernels.h"
#include "client/train/kernels_loops.h"
#include "common/philox.h"

#define MANY 40000

static float a[MANY], b[MANY], c[MANY], d[MANY], f[MANY];
static uint16_t ra[MANY], rb[MANY];
static int failures;

static void fill(float *v, size_t n, uint64_t seed) {
    hearth_philox_key k = hearth_philox_key_make(seed, HEARTH_PHILOX_DATA);
    for (size_t i = 0; i < n; i++) v[i] = (float)hearth_philox_normal(k, 0, i);
}

static double check(const char *what, const char *set, size_t n) {
    double diff = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        double e = (double)c[i] - (double)d[i];
        diff += e * e;
        norm += (double)d[i] * (double)d[i];
    }
    if (diff <= 1e-12 * norm) return diff / norm;
    printf("FAILED: %s, %s: NMSE %.3g\n", set, what, diff / norm);
    failures++;
    return 1;
}

static void plain_products(const hearth_kernels *k) {
    static const size_t shape[][3] = {{1, 1, 1},    {3, 5, 7},   {1, 100, 64},
                                      {17, 33, 20}, {30, 30, 8}, {9, 33, 261},
                                      {2, 200, 70}, {20, 8, 40}};
    const hearth_kernels *r = hearth_kernels_reference();
    double most = 0, e;
    for (size_t s = 0; s < sizeof(shape) / sizeof(shape[0]); s++)
        for (int add = 0; add < 2; add++) {
            size_t m = shape[s][0], n = shape[s][1], l = shape[s][2];
            fill(a, m * l, 1);
            fill(b, n * l, 2);
            fill(c, m * n, 3);
            memcpy(d, c, m * n * sizeof(*c));
            k->gemm_nt(m, n, l, 0.5f, a, l, b, l, add, c, n);
            r->gemm_nt(m, n, l, 0.5f, a, l, b, l, add, d, n);
            if ((e = check("a b^T", k->name, m * n)) > most) most = e;
            k->gemm_nn(m, n, l, 2, a, l, b, n, add, c, n);
            r->gemm_nn(m, n, l, 2, a, l, b, n, add, d, n);
            if ((e = check("a b", k->name, m * n)) > most) most = e;
            k->gemm_tn(m, n, l, 1, a, m, b, n, add, c, n);
            r->gemm_tn(m, n, l, 1, a, m, b, n, add, d, n);
            if ((e = check("a^T b", k->name, m * n)) > most) most = e;
        }
    printf("%s: f32 products agree, NMSE at most %.2g\n", k->name, most);
}

static float widened(uint16_t h) {
    uint32_t u = (uint32_t)h << 16;
    float x;
    memcpy(&x, &u, 4);
    return x;
}

/* Every number of columns, odd and even sums, both layouts. */
static void pair_products(const hearth_kernels *k) {
    enum { M = 19, LDW = 64, LDC = 40, LDA = 64 };
    static uint32_t panel[HEARTH_PANEL_DEPTH * HEARTH_PANEL_MAX / 2];
    const hearth_kernels *r = hearth_kernels_reference();
    double most = 0, e;
    fill(f, LDW * LDW, 7);
    for (size_t n = 1; n <= k->pair_panel; n++)
        for (size_t l = 1; l <= LDA; l += 9 + n % 5) {
            fill(a, M * LDA, n);
            k->round_rows(M, l, a, LDA, ra, LDA);
            k->round_rows(1, LDW * LDW, f, 0, rb, LDW * LDW);
            for (size_t i = 0; i < M; i++)
                for (size_t j = 0; j < l; j++)
                    a[i * LDA + j] = widened(ra[i * LDA + j]);
            for (size_t i = 0; i < LDW * LDW; i++) b[i] = widened(rb[i]);
            for (int turned = 0; turned < 2; turned++) {
                fill(c, M * LDC, 3);
                memcpy(d, c, sizeof(float) * M * LDC);
                (turned ? k->pack_pairs_turned
                        : k->pack_pairs_straight)(n, l, rb, LDW, panel);
                k->gemm_pairs(M, n, l, ra, LDA, panel, 1, turned, c, LDC);
                (turned ? r->gemm_nt : r->gemm_nn)(M, n, l, 1, a, LDA, b, LDW,
                                                   turned, d, LDC);
                e = check("bfloat16", k->name, (size_t)M * LDC);
                if (e > most) most = e;
            }
        }
    printf("%s: bfloat16 products agree, NMSE at most %.2g\n", k->name, most);
}

/* The argument, if there is one: a set that this machine must have. */
int main(int argc, char **argv) {
    static const char *const pairs[] = {"plain", "bfmmla"};
    if (!hearth_kernels_native()) return 2;
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    printf("%s\n%s\n", hearth_kernels_describe(hearth_kernels_native()),
           hearth_kernels_describe(hearth_kernels_bf16()));
    plain_products(hearth_kernels_native());
    for (size_t i = 0; i < 2; i++) {
        hearth_kernels k = *hearth_kernels_native();
        k.name = pairs[i];
        if (hearth_kernels__fill_pairs(&k, pairs[i]))
            pair_products(&k);
        else
            printf("%s: not on this machine\n", pairs[i]);
        if (k.pair_panel == 0 && argc > 1 && strcmp(argv[1], pairs[i]) == 0)
            failures++;
    }
    return failures != 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/arm/arm_kernels.c - products of every set of this machine against the
 * reference; without a test framework, so that a cross compiler and an emulator
 * suffice (tests/arm.sh). */
#include <stdio.h>
#include <string.h>

#include "client/train/kernels.h"
#include "client/train/kernels_loops.h"
#include "common/philox.h"
#include "tests/support/int8_naive.h"

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

/* Every number of columns, to the byte. */
static void byte_products(const hearth_kernels *k) {
    enum { M = 19, RUNS = HEARTH_INT8_RUNS, LDC = 40 };
    static unsigned char w[HEARTH_PANEL_MAX * HEARTH_INT8_RUNS * STORED_RUN];
    static hearth_int8_run x[M * RUNS];
    static float
        panel[HEARTH_INT8_RUNS * HEARTH_PANEL_MAX * HEARTH_INT8_BYTES / 4];
    const unsigned char *column[HEARTH_PANEL_MAX];
    naive_weight(w, HEARTH_PANEL_MAX * RUNS, 3);
    for (size_t j = 0; j < HEARTH_PANEL_MAX; j++)
        column[j] = w + j * RUNS * STORED_RUN;
    for (size_t n = 1; n <= k->int8_panel; n++)
        for (size_t m = 1; m <= M; m++) {
            size_t runs = 1 + (m + n) % RUNS;
            int add = (int)(m % 2);
            fill(a, (size_t)M * RUNS * HEARTH_INT8_RUN, m * 100 + n);
            fill(c, M * LDC, 3);
            memcpy(d, c, sizeof(float) * M * LDC);
            k->round_int8(m, RUNS, a, RUNS * HEARTH_INT8_RUN, x, RUNS);
            k->pack_int8(n, runs, column, panel);
            k->gemm_int8(m, n, runs, x, RUNS, panel, add, c, LDC);
            for (size_t i = 0; i < m; i++)
                for (size_t j = 0; j < n; j++)
                    d[i * LDC + j] =
                        naive_product(runs, x + i * RUNS, column[j],
                                      add ? d[i * LDC + j] : 0);
            if (memcmp(c, d, sizeof(float) * M * LDC) == 0) continue;
            printf("FAILED: %s: 8-bit products of %zu rows and %zu columns\n",
                   k->name, m, n);
            failures++;
            return;
        }
    printf("%s: 8-bit products agree to the byte\n", k->name);
}

/* Arguments: the sets that this machine must have, and has to choose. */
static bool is_wanted(int argc, char **argv, const char *name) {
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], name) == 0) return true;
    return false;
}

static void try_bytes(int argc, char **argv) {
    static const char *const sets[] = {"plain", "i8mm"};
    const char *words = hearth_kernels_describe(hearth_kernels_int8());
    for (size_t i = 0; i < 2; i++) {
        hearth_kernels k = *hearth_kernels_native();
        k.name = sets[i];
        bool found = hearth_kernels__fill_int8(&k, sets[i]);
        if (found)
            byte_products(&k);
        else
            printf("%s: not on this machine\n", sets[i]);
        if (i && (found != is_wanted(argc, argv, sets[i]) ||
                  found != (strstr(words, sets[i]) != NULL))) {
            printf("FAILED: %s: expected otherwise; %s\n", sets[i], words);
            failures++;
        }
    }
}

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
        if (k.pair_panel == 0 && is_wanted(argc, argv, pairs[i])) failures++;
    }
    try_bytes(argc, argv);
    return failures != 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/bench/bench_noise.c - time of the noise, and of all that happens to a
 * delta before it leaves.
 *
 *     bench_noise [MILLIONS]
 *
 * One CSV line a case, CPU time of this process, so that a shared machine
 * disturbs less; median and minimum of RUNS.  limit: the share of the time
 * that the generator alone needs for the same number of random bytes, of the
 * minima, as a disturbed median says nothing.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "privacy/clip.h"
#include "privacy/noise_exact.h"
#include "privacy/quantize.h"
#include "privacy/sampler.h"

#define RUNS    5
#define SAMPLES ((size_t)1 << 17)

static const double SIGMAS[] = {0.5,  1,    1.28,  3,       4,
                                7.9,  8,    16,    64.5,    256,
                                1000, 4096, 32768, 1 << 20, 1 << 24};

static hearth_rng *rng;
static double byte_ns; /* of the generator */

static double now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void check(hearth_status st) {
    if (st == HEARTH_OK) return;
    fprintf(stderr, "bench_noise: %s\n", hearth_status_name(st));
    exit(1);
}

static void *array(size_t n, size_t size) {
    void *p = calloc(n, size);
    if (!p) exit(1);
    return p;
}

/* sampler: 0 exact, else 1 + hearth_noise_scan_kind.  Random bytes used. */
static uint64_t draw(int sampler, int32_t *x, size_t n, hearth_sigma_sq s) {
    uint64_t bytes = 0;
    hearth_sampler_report rep;
    if (sampler == 0) {
        check(hearth_noise_exact_draw(x, n, s, rng, &bytes));
        return bytes;
    }
    check(hearth_sampler_draw(x, n, s, rng,
                              (hearth_noise_scan_kind)(sampler - 1), &rep));
    return rep.n_bytes;
}

static void bench_sampler(const char *name, int sampler, double sigma,
                          int32_t *x) {
    hearth_sigma_sq s;
    double t[RUNS], n = (double)SAMPLES, bytes = 0;
    check(hearth_sigma_for_z(sigma * (1 - 1e-7), 1, &s));
    draw(sampler, x, 1000, s);
    for (int k = 0; k < RUNS; k++) {
        t[k] = now_ns();
        bytes = (double)draw(sampler, x, SAMPLES, s) / n;
        t[k] = (now_ns() - t[k]) / n;
    }
    qsort(t, RUNS, sizeof(*t), compare);
    printf("%s,%g,%.1f,%.1f,%d,%.2f,%.3f\n", name, sigma, t[RUNS / 2], t[0],
           RUNS, bytes, bytes * byte_ns / t[0]);
    fflush(stdout);
}

/* A small vector pays for the tables: one draw of 160. */
static void bench_small(int32_t *x) {
    double t[RUNS];
    const hearth_sigma_sq s = {1000000, 1};
    for (int k = 0; k < RUNS; k++) {
        t[k] = now_ns();
        for (int i = 0; i < 200; i++) draw(1, x, 160, s);
        t[k] = (now_ns() - t[k]) / 200;
    }
    qsort(t, RUNS, sizeof(*t), compare);
    printf("# 160 coordinates at once: %.1f us\n", t[RUNS / 2] / 1e3);
}

static void bench_bytes(void) {
    double t[RUNS];
    static unsigned char b[1032];
    for (int k = 0; k < RUNS; k++) {
        t[k] = now_ns();
        for (int i = 0; i < 4096; i++)
            check(hearth_rng_bytes(rng, b, sizeof(b)));
        t[k] = (now_ns() - t[k]) / 4096 / sizeof(b);
    }
    qsort(t, RUNS, sizeof(*t), compare);
    byte_ns = t[0];
    printf("rng,byte,%.3f,%.3f,%d,1,1\n", t[RUNS / 2], t[0], RUNS);
}

enum { NOISE, CLIP, ROUND, ADD, ALL, PARTS };

/* As client/delta/prepare.c: noise (what noise.c calls), clip, round, add.
 * part in ns, random bytes used. */
static void pipeline(size_t n, const float *from, float *v, int32_t *noise,
                     int32_t *y, double part[PARTS], double bytes[PARTS]) {
    hearth_sampler_report drawn;
    hearth_quantize_report rounded;
    uint64_t bound, delta2;
    hearth_sigma_sq s;
    check(hearth_sigma_bound_sq(1.0, 14, n, &bound));
    check(hearth_sigma_delta2_sq(bound, NULL, 0, &delta2));
    check(hearth_sigma_for_z(2.4, delta2, &s));
    for (size_t i = 0; i < n; i++) v[i] = from[i];
    hearth_span span = {v, n};
    double t0 = now_ns();
    check(
        hearth_sampler_draw(noise, n, s, rng, HEARTH_NOISE_SCAN_BEST, &drawn));
    double t1 = now_ns();
    check(hearth_clip_l2(&span, 1, 1.0f, NULL));
    double t2 = now_ns();
    check(hearth_quantize(y, &span, 1, 14, bound, rng, &rounded));
    double t3 = now_ns();
    for (size_t i = 0; i < n; i++)
        y[i] = (int32_t)((uint32_t)y[i] + (uint32_t)noise[i]);
    double t4 = now_ns();
    part[NOISE] = t1 - t0, part[CLIP] = t2 - t1, part[ROUND] = t3 - t2;
    part[ADD] = t4 - t3, part[ALL] = t4 - t0;
    bytes[NOISE] = (double)drawn.n_bytes;
    bytes[ROUND] = 8 * (double)n * rounded.n_tries;
    bytes[ALL] = bytes[NOISE] + bytes[ROUND];
}

static void bench_pipeline(size_t n) {
    static const char *name[PARTS] = {"noise", "clip", "round", "add", "all"};
    float *from = array(n, sizeof(*from)), *v = array(n, sizeof(*v));
    int32_t *noise = array(n, sizeof(*noise)), *y = array(n, sizeof(*y));
    double t[PARTS][RUNS], part[PARTS], bytes[PARTS] = {0};
    uint32_t seed = 1;
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        from[i] = (float)((double)(seed >> 8) * 0x1p-24 - 0.5);
    }
    for (int k = 0; k < RUNS; k++) {
        pipeline(n, from, v, noise, y, part, bytes);
        for (int j = 0; j < PARTS; j++) t[j][k] = part[j];
    }
    for (int j = 0; j < PARTS; j++) {
        qsort(t[j], RUNS, sizeof(double), compare);
        printf("delta_%s,%zu,%.1f,%.1f,%d,%.2f,%.3f\n", name[j], n,
               t[j][RUNS / 2] / 1e6, t[j][0] / 1e6, RUNS, bytes[j] / (double)n,
               bytes[j] * byte_ns / t[j][0]);
    }
    free(from), free(v), free(noise), free(y);
}

int main(int argc, char **argv) {
    char *end = NULL;
    long millions = argc > 1 ? strtol(argv[1], &end, 10) : 4;
    if (millions < 1 || millions > 64 || (end && *end)) {
        fprintf(stderr, "usage: bench_noise [MILLIONS of coordinates]\n");
        return 2;
    }
    static const char *name[5] = {"exact", "best", "portable", "avx2",
                                  "avx512"};
    int32_t *x = array(SAMPLES, sizeof(*x));
    check(hearth_rng_open(&rng, NULL, NULL));
    printf("what,sigma,median_ns,min_ns,n,random_bytes,limit\n"
           "# a coordinate; rows delta_*: ms for that many coordinates\n");
    bench_bytes();
    for (int k = 0; k < 5; k++)
        for (size_t i = 0; i < sizeof(SIGMAS) / sizeof(*SIGMAS); i++)
            if (k == 0 ||
                hearth_noise_scan_has((hearth_noise_scan_kind)(k - 1)))
                bench_sampler(name[k], k, SIGMAS[i], x);
    bench_small(x);
    bench_pipeline((size_t)millions << 20);
    hearth_rng_close(rng);
    free(x);
    return 0;
}

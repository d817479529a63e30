/* SPDX-License-Identifier: Apache-2.0 */
/* tests/bench/bench_timing.c - does the time of a draw tell how large it was?
 *
 *     bench_timing [THOUSANDS of draws]
 *
 * Two classes of draws of one coordinate: |x| > sigma and the others.  Welch's t
 * between their times, over all draws and over those below each of 20
 * percentiles, since interruptions hide what is behind them; the largest |t|
 * counts.  Below 4.5 nothing is seen.  The exact sampler, whose time does depend
 * on its value, is there to show that this program sees.
 *
 * One draw is one trial and what follows a rejection, with the table at hand:
 * making the table takes long and depends on sigma alone.
 *
 * Exit 0: the sampler in use stays below 4.5 and the exact one does not.
 *
 * Source: O. Reparaz, J. Balasch, I. Verbauwhede, Dude, is my code constant
 * time?, DATE 2017.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "privacy/noise_exact.h"

/* The shipped source: its trials are not public. */
#include "privacy/sampler.c"

#define CROPS  20
#define LIMIT  4.5
#define FEWEST 1000 /* draws of a class that a t is made of */

typedef struct {
    size_t n;
    double *ns, *sorted; /* [n] */
    unsigned char *large;
} run;

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void check(hearth_status st) {
    if (st == HEARTH_OK) return;
    fprintf(stderr, "bench_timing: %s\n", hearth_status_name(st));
    exit(2);
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Welch's t between the classes, of draws that took less than limit. */
static double welch(const run *r, double limit) {
    double n[2] = {0}, mean[2] = {0}, m2[2] = {0};
    for (size_t i = 0; i < r->n; i++) {
        if (!(r->ns[i] < limit)) continue;
        int c = r->large[i];
        double off = r->ns[i] - mean[c];
        n[c] += 1;
        mean[c] += off / n[c];
        m2[c] += off * (r->ns[i] - mean[c]);
    }
    if (n[0] < FEWEST || n[1] < FEWEST) return 0;
    double v = m2[0] / (n[0] * (n[0] - 1)) + m2[1] / (n[1] * (n[1] - 1));
    return v > 0 ? (mean[1] - mean[0]) / sqrt(v) : 0;
}

static hearth_status draw(sampler *p, int32_t *x) {
    while (run_block(p, x, 1, HEARTH_NOISE_SCAN_BEST) == 0 && !p->failed) {
    }
    return p->failed ? HEARTH_ERNG : HEARTH_OK;
}

static void measure(run *r, int exact, double sigma, hearth_rng *rng) {
    hearth_sigma_sq s;
    sampler p = {.rng = rng};
    int32_t x;
    check(hearth_sigma_for_z(sigma * (1 - 1e-7), 1, &s));
    hearth_noise_table_init(&p.table, s);
    for (size_t i = 0; i < r->n + 1000; i++) { /* the first are to warm up */
        size_t at = i < 1000 ? 0 : i - 1000;
        uint64_t t0 = now_ns();
        hearth_status st =
            exact ? hearth_noise_exact_draw(&x, 1, s, rng, NULL) : draw(&p, &x);
        uint64_t t1 = now_ns();
        check(st);
        r->ns[at] = r->sorted[at] = (double)(t1 - t0);
        r->large[at] = fabs((double)x) > sigma;
    }
    qsort(r->sorted, r->n, sizeof(*r->sorted), compare);
}

/* The largest |t| of one sampler at one sigma. */
static double largest(run *r, int exact, double sigma, hearth_rng *rng) {
    measure(r, exact, sigma, rng);
    double all = welch(r, HUGE_VAL), worst = all;
    for (int k = 1; k <= CROPS; k++) {
        double share = 1 - pow(0.5, 10.0 * k / CROPS);
        double t = welch(r, r->sorted[(size_t)(share * (double)r->n)]);
        if (fabs(t) > fabs(worst)) worst = t;
    }
    size_t n_large = 0;
    for (size_t i = 0; i < r->n; i++) n_large += r->large[i];
    printf("%s,%g,%zu,%.3f,%.0f,%.2f,%.2f\n", exact ? "exact" : "in use", sigma,
           r->n, (double)n_large / (double)r->n, r->sorted[r->n / 2], all,
           worst);
    fflush(stdout);
    return fabs(worst);
}

int main(int argc, char **argv) {
    static const double SIGMAS[] = {1, 16, 1000};
    char *end = NULL;
    long thousands = argc > 1 ? strtol(argv[1], &end, 10) : 1000;
    if (thousands < 10 || thousands > 100000 || (end && *end)) {
        fprintf(stderr, "usage: bench_timing [THOUSANDS of draws]\n");
        return 2;
    }
    hearth_rng *rng = NULL;
    run r = {.n = (size_t)thousands * 1000};
    r.ns = calloc(r.n, sizeof(*r.ns));
    r.sorted = calloc(r.n, sizeof(*r.sorted));
    r.large = calloc(r.n, 1);
    if (!r.ns || !r.sorted || !r.large) return 2;
    check(hearth_rng_open(&rng, NULL, NULL));
    printf("sampler,sigma,draws,large,median_ns,t,largest_t\n");
    bool fine = true;
    for (size_t i = 0; i < sizeof(SIGMAS) / sizeof(*SIGMAS); i++) {
        if (largest(&r, 0, SIGMAS[i], rng) >= LIMIT) fine = false;
        run few = r;
        few.n = r.n / 10;
        if (largest(&few, 1, SIGMAS[i], rng) < LIMIT) fine = false;
    }
    printf("# %s\n", fine ? "nothing is seen" : "TIME TELLS, or sees nothing");
    hearth_rng_close(rng);
    free(r.ns), free(r.sorted), free(r.large);
    return fine ? 0 : 1;
}

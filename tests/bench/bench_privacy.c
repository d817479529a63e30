/* SPDX-License-Identifier: Apache-2.0 */
/* tests/bench/bench_privacy.c - time of the accountants.
 *
 *     bench_privacy
 *
 * One CSV line a case, CPU time of this process, so that a shared machine
 * disturbs less.  ratio: to an FFT of 2^16 real numbers of the same run.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "privacy/accountant_pld.h"
#include "privacy/calibrate.h"
#include "privacy/fft.h"

#define RUNS 7

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* z, q, rounds, delta: small noise, tiny rates, most rounds, large rates. */
static const double CASES[][4] = {
    {0.3, 1e-4, 1000, 1e-6},   {0.3, 0.01, 10, 1e-8},
    {0.5, 1e-4, 5000, 1e-10},  {0.5, 0.01, 500, 1e-5},
    {0.8, 0.001, 20000, 1e-5}, {1, 1e-4, 20000, 1e-10},
    {1, 0.01, 1000, 1e-5},     {1, 0.5, 20, 1e-6},
    {2, 0.01, 20000, 1e-6},    {3, 0.1, 1000, 1e-6},
    {5, 0.5, 500, 1e-6},       {20, 0.99, 20000, 1e-5},
};
/* Cohorts of fixed size: the rows of the reference table. */
static const double COHORTS[][4] = {
    {1, 1e-4, 20000, 1e-6}, {1, 0.01, 1000, 1e-5},  {0.8, 0.001, 5000, 1e-6},
    {2, 0.1, 200, 1e-6},    {3, 0.02, 5000, 1e-6},  {5, 0.5, 100, 1e-8},
    {10, 0.1, 2000, 1e-6},  {20, 0.3, 20000, 1e-5},
};
static const double TARGETS[][4] = {
    /* epsilon, q, rounds, delta */
    {1, 0.001, 1000, 1e-6}, {8, 0.001, 20000, 1e-6}, {1, 1e-4, 20000, 1e-8},
    {2, 0.01, 500, 1e-5},   {4, 0.5, 50, 1e-6},
};

static double unit_ms;

static double fft_ms(void) {
    hearth_fft f;
    double *x = calloc((size_t)1 << 16, sizeof(*x)), best = 1e30;
    if (!x || hearth_fft_init(&f, (size_t)1 << 16, NULL) != HEARTH_OK) exit(1);
    for (int i = 0; i < 20; i++) {
        double t = now_ms();
        hearth_fft_forward(&f, x);
        t = now_ms() - t;
        best = t < best ? t : best;
    }
    hearth_fft_free(&f);
    free(x);
    return best;
}

/* what: rdp, swor_rdp, pld, pld_1e-4, calibrate_rdp, calibrate_pld. */
static double once(const char *what, const double *c) {
    bool calibrate = what[0] == 'c', swor = what[0] == 's';
    hearth_method m = what[calibrate ? 10 : 0] == 'r' || swor
                          ? HEARTH_METHOD_RDP
                          : HEARTH_METHOD_PLD;
    /* A cohort of fixed size is replace-one: its z is over the norm bound. */
    hearth_account_query q = {
        .mechanism = swor ? HEARTH_MECHANISM_SWOR : HEARTH_MECHANISM_POISSON,
        .method = m,
        .relation = swor ? HEARTH_DP_REPLACE_ONE : HEARTH_DP_ZERO_OUT,
        .z = swor ? 2 * c[0] : c[0],
        .rate = c[1],
        .rounds = (uint64_t)c[2],
        .delta = c[3],
        .interval = !swor && what[3] == '_' ? 1e-4 : 0};
    hearth_account_answer a;
    double t = now_ms();
    hearth_status st = calibrate ? hearth_calibrate(&q, c[0], &a, NULL, NULL)
                                 : hearth_account(&a, &q, NULL, NULL);
    t = now_ms() - t;
    if (st != HEARTH_OK) exit(1);
    return t;
}

static void bench(const char *what, const double (*cases)[4], size_t n) {
    double all[16];
    for (size_t i = 0; i < n; i++) {
        double t[RUNS];
        (void)once(what, cases[i]);
        for (int k = 0; k < RUNS; k++) t[k] = once(what, cases[i]);
        qsort(t, RUNS, sizeof(*t), compare);
        all[i] = t[RUNS / 2];
        printf("%s,%g/%g/%g/%g,%.3f,%.3f,%d,%.1f\n", what, cases[i][0],
               cases[i][1], cases[i][2], cases[i][3], t[RUNS / 2], t[0], RUNS,
               t[RUNS / 2] / unit_ms);
        fflush(stdout);
    }
    qsort(all, n, sizeof(*all), compare);
    printf("%s,all,%.3f,%.3f,%d,%.1f\n", what, all[n / 2], all[n - 1], (int)n,
           all[n / 2] / unit_ms);
}

int main(void) {
    size_t cases = sizeof(CASES) / sizeof(*CASES);
    size_t targets = sizeof(TARGETS) / sizeof(*TARGETS);
    unit_ms = fft_ms();
    printf("what,z/q/rounds/delta,median_ms,min_ms,n,ratio_to_fft_2^16\n"
           "# rows `all`: the median and the largest of the medians\n"
           "fft,65536,%.3f,%.3f,20,1.0\n",
           unit_ms, unit_ms);
    bench("rdp", CASES, cases);
    bench("swor_rdp", COHORTS, sizeof(COHORTS) / sizeof(*COHORTS));
    bench("pld", CASES, cases);
    bench("pld_1e-4", CASES, cases);
    bench("calibrate_rdp", TARGETS, targets);
    bench("calibrate_pld", TARGETS, targets);
    return 0;
}

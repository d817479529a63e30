/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_stats.c - sums run in index order, draws come from Philox:
 * the same interval on every machine. */
#include "tests/fleet/fleet_stats.h"

#include <math.h>
#include <stdlib.h>

#include "common/mem.h"
#include "common/philox.h"

double hearth_fleet_mean(const double *v, size_t n) {
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) sum += v[i];
    return n ? sum / (double)n : 0.0;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double sorted_percentile(const double *v, size_t n, double p) {
    double at = p * (double)(n - 1);
    size_t i = (size_t)at;
    if (i + 1 >= n) return v[n - 1];
    return v[i] + (at - (double)i) * (v[i + 1] - v[i]);
}

double hearth_fleet_percentile(double *v, size_t n, double p) {
    qsort(v, n, sizeof(*v), by_value);
    return sorted_percentile(v, n, p);
}

hearth_status hearth_fleet_bootstrap(hearth_fleet_interval *out,
                                     const double *v, size_t n, size_t n_draws,
                                     double level, uint64_t seed,
                                     const hearth_alloc *al) {
    *out = (hearth_fleet_interval){0};
    if (!v || !n || !n_draws || !(level > 0.0 && level < 1.0))
        return HEARTH_EINVAL;
    for (size_t i = 0; i < n; i++)
        if (!isfinite(v[i])) return HEARTH_ENONFINITE;
    double *mean = hearth_mem_array(al, n_draws, sizeof(*mean));
    if (!mean) return HEARTH_ENOMEM;
    hearth_philox_key key = hearth_philox_key_make(seed, HEARTH_PHILOX_STATS);
    for (size_t d = 0; d < n_draws; d++) {
        double sum = 0.0;
        for (size_t i = 0; i < n; i++)
            sum += v[hearth_philox_below(key, d, i, n)];
        mean[d] = sum / (double)n;
    }
    qsort(mean, n_draws, sizeof(*mean), by_value);
    out->mean = hearth_fleet_mean(v, n);
    out->low = sorted_percentile(mean, n_draws, (1.0 - level) / 2);
    out->high = sorted_percentile(mean, n_draws, 1.0 - (1.0 - level) / 2);
    out->n = n;
    hearth_mem_free(al, mean);
    return HEARTH_OK;
}

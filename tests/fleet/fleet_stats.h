/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_stats.h - means, percentiles, the paired bootstrap.
 *
 * Threads: pure functions.
 * Memory:  the caller's arrays and alloc.
 */
#ifndef HEARTH_TESTS_FLEET_STATS_H
#define HEARTH_TESTS_FLEET_STATS_H

#include <stddef.h>
#include <stdint.h>

#include "common/alloc.h"
#include "common/status.h"

/* Mean of v [n]; 0 for n == 0.  Summed in order. */
double hearth_fleet_mean(const double *v, size_t n);

/* The p-th percentile, 0 <= p <= 1, of v [n], n >= 1, by linear interpolation
 * between order statistics (type 7 of Hyndman and Fan, 1996).  v is sorted in
 * place. */
double hearth_fleet_percentile(double *v, size_t n, double p);

/* A mean and an interval that covers it. */
typedef struct {
    double mean, low, high;
    size_t n; /* units resampled */
} hearth_fleet_interval;

/* Percentile bootstrap of the mean of v [n]: units are drawn with replacement
 * n_draws times; low and high are the (1 - level) / 2 tails.  For a paired
 * comparison v holds the differences, one a unit.  The same seed gives the
 * same interval on every machine.
 *
 * Returns HEARTH_OK
 *         HEARTH_EINVAL      n or n_draws is 0, or level outside (0, 1)
 *         HEARTH_ENONFINITE  v holds a NaN or an infinity
 *         HEARTH_ENOMEM
 * Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13. */
HEARTH_MUST_CHECK
hearth_status hearth_fleet_bootstrap(hearth_fleet_interval *out,
                                     const double *v, size_t n, size_t n_draws,
                                     double level, uint64_t seed,
                                     const hearth_alloc *al);

#endif /* HEARTH_TESTS_FLEET_STATS_H */

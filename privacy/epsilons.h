/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/epsilons.h - the two epsilons and the noise-to-signal ratio, computed
 * in one place for offers, tables, status, fleet and demo.
 *
 * epsilon_coordinator: what the coordinator can learn about one device.
 * epsilon_release:     what a holder of a released adapter can learn about it.
 * Both: replace-one, unit = everything one device holds, no amplification by
 * sampling, mode `local` (every upload carries its own full noise).
 *
 *     hearth_epsilons e;
 *     hearth_epsilons_query q = { .z = 2.4, .delta = 1e-5, .participations = 5,
 *                                 .n_devices = 16, .n_min = 16, .d = 160 };
 *     st = hearth_epsilons_local(&q, &e);
 *
 * Threads: pure functions.
 * Memory:  allocates nothing.
 */
#ifndef HEARTH_PRIVACY_EPSILONS_H
#define HEARTH_PRIVACY_EPSILONS_H

#include <stdint.h>

#include "common/status.h"

/* What the unit of every figure is, for tables and offers. */
#define HEARTH_PRIVACY_UNIT "device"

typedef struct {
    double z;                /* sigma / Delta2 in the integer domain, > 0 */
    double delta;            /* in (0, 1) */
    uint32_t participations; /* rounds one device takes part in; 0 gives 0s */
    uint64_t n_devices;      /* devices averaged in a round, >= 1 */
    uint64_t n_min;          /* count.min of the stage, >= 1 */
    uint64_t d;              /* noised coordinates of the delta */
    uint64_t bound_sq;       /* D_d^2 and Delta2^2: what appended coordinates */
    uint64_t delta2_sq;      /* add to the noise; 0: there are none */
} hearth_epsilons_query;

typedef struct {
    double epsilon_coordinator;       /* zCDP: what the ledger charges */
    double epsilon_release;           /* zCDP; infinity when n_min is 1 */
    double epsilon_coordinator_exact; /* continuous Gaussian, shown beside */
    double epsilon_release_exact;     /* same */
    double noise_to_signal;           /* z sqrt(d / n_devices) Delta2 / D_d */
    double rho_per_round;             /* 2 / z^2: the charge of one round */
    double delta;                     /* as asked */
    uint32_t participations;          /* as asked */
    const char *relation;             /* "replace-one" */
    const char *unit;                 /* HEARTH_PRIVACY_UNIT */
} hearth_epsilons;

/* The figures of a task in mode `local`.
 *
 * epsilon_release accounts with z sqrt(n_min - 1) / 2 over the round sums:
 * each participant may know its own noise, so n_min - 1 devices' noise hides
 * the one.
 *
 * Returns HEARTH_OK, or HEARTH_EINVAL (out: infinities, so that a caller who
 * ignores the status prints no privacy). */
HEARTH_MUST_CHECK
hearth_status hearth_epsilons_local(const hearth_epsilons_query *q,
                                    hearth_epsilons *out);

/* Length of the noise on the mean of n devices in units of the clip, mode
 * `local`: z sqrt(d / n).  Infinity when n is 0 or z is bad. */
double hearth_noise_to_signal_local(double z, uint64_t d, uint64_t n);

/* Delta2 / D_d: how much longer the noise is for the coordinates that are
 * appended to the delta.  1 when either is 0, infinity when they contradict. */
double hearth_noise_spread(uint64_t bound_sq, uint64_t delta2_sq);

#endif /* HEARTH_PRIVACY_EPSILONS_H */

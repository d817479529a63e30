/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/accountant_pld.h - privacy loss distributions: the tight figure for
 * Poisson-sampled Gaussian rounds.
 *
 * One round's loss is put on a grid (privacy/loss_grid.h), tilted so that the
 * losses that matter for delta are the likely ones, composed with itself by
 * FFT, and read off.  Everything that is cut or rounded is counted against us,
 * the round-off of the FFT included; PRIVACY.md has the argument.
 *
 *     st = hearth_pld_poisson(&r, &(hearth_pld_query){.z = 1, .q = 0.01,
 *                             .rounds = 1000, .delta = 1e-5}, NULL);  // 1.8282
 *
 * Threads: pure functions.
 * Memory:  up to 2^22 grid points and 2^22 points of FFT; about 10 MiB for
 *          usual arguments.
 * Source:  Doroshenko et al., arXiv:2207.04380; Koskela, Jalko, Honkela,
 *          arXiv:1906.03049 (FFT); tilting: Chernoff's, as in PRIVACY.md.
 */
#ifndef HEARTH_PRIVACY_ACCOUNTANT_PLD_H
#define HEARTH_PRIVACY_ACCOUNTANT_PLD_H

#include <stddef.h>
#include <stdint.h>

#include "common/alloc.h"
#include "common/status.h"

typedef struct {
    double z;        /* sigma over how far one change moves the sum, > 0 */
    double q;        /* in (0, 1] */
    uint64_t rounds; /* 0 gives 0 */
    double delta;    /* in (0, 1) */
    double interval; /* grid; 0: chosen so that the grid adds about 1e-4
                        of epsilon at most, as far as 2^19 points let it */
} hearth_pld_query;

typedef struct {
    double epsilon;        /* the larger of both directions */
    double epsilon_remove; /* each */
    double epsilon_add;
    double interval; /* that was used */
    size_t points;   /* of one round's grid */
    size_t fft;      /* of the larger transform; 0: none was needed */
} hearth_pld_answer;

/* An upper bound of epsilon; never infinite for good arguments.
 *
 * Returns HEARTH_OK, HEARTH_EINVAL, HEARTH_ETOOBIG (the asked interval needs
 * too many points) or HEARTH_ENOMEM; epsilon is infinite then. */
HEARTH_MUST_CHECK
hearth_status hearth_pld_poisson(hearth_pld_answer *out,
                                 const hearth_pld_query *query,
                                 const hearth_alloc *alloc);

#endif /* HEARTH_PRIVACY_ACCOUNTANT_PLD_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/loss_grid.h - the privacy loss of one Poisson-sampled Gaussian round
 * as masses on a grid, never more optimistic than the truth.
 *
 * The loss at an output x is log P(x)/Q(x) with P the world that x came from.
 * Removing a device: P = (1-q) N(0, z^2) + q N(1, z^2), Q = N(0, z^2); adding
 * one: the reverse, whose loss is minus the other's.
 *
 * A loss between two grid points is split between them so that both P's and
 * Q's mass are kept ("connect the dots"): of all distributions on the grid that
 * are at least as bad as the truth this is the best.
 *
 * Source: Doroshenko, Ghazi, Kamath, Kumar, Manurangsi, arXiv:2207.04380,
 * section 3.  The proof for the form computed here is in PRIVACY.md.
 *
 * Threads: one grid belongs to one thread.
 * Memory:  2 n doubles.
 */
#ifndef HEARTH_PRIVACY_LOSS_GRID_H
#define HEARTH_PRIVACY_LOSS_GRID_H

#include <stddef.h>
#include <stdint.h>

#include "common/alloc.h"
#include "common/status.h"

#define HEARTH_LOSS_GRID_MAX ((size_t)1 << 22)

/* Masses at losses (first + i) h, i < n. */
typedef struct {
    double *mass;
    size_t n;
    int64_t first;
    double infinite; /* mass of outcomes that are counted as lost */
} hearth_loss_side;

typedef struct {
    double h;
    hearth_loss_side remove, add;
    hearth_alloc al;
} hearth_loss_grid;

/* Points that a grid of interval h would have; a double, may be huge. */
double hearth_loss_grid_points(double z, double q, double tail, double h);

/* Make the grid.
 *
 *   z     > 0, finite
 *   q     in (0, 1]
 *   tail  in (0, 0.1): outcomes beyond this probability on either side are
 *         not resolved; those whose loss could be large count as infinite
 *   h     > 0: distance of grid points
 *   alloc NULL: malloc
 *
 * Each side's masses and `infinite` sum to 1 within 1e-12.
 * Returns HEARTH_OK, HEARTH_EINVAL, HEARTH_ETOOBIG (more than
 * HEARTH_LOSS_GRID_MAX points) or HEARTH_ENOMEM; out is zeroed then. */
HEARTH_MUST_CHECK
hearth_status hearth_loss_grid_init(hearth_loss_grid *out, double z, double q,
                                    double tail, double h,
                                    const hearth_alloc *alloc);

/* NULL and a zeroed grid are no-ops. */
void hearth_loss_grid_free(hearth_loss_grid *g);

#endif /* HEARTH_PRIVACY_LOSS_GRID_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/adapt_clip.h - let the clip follow a quantile of the norms.
 *
 * Each device appends one bit to its upload: was the norm of its delta within
 * the clip?  The bit is one more coordinate of the same noised vector, so the
 * coordinator learns only a noisy sum of bits, and the pair costs what one
 * Gaussian release of norm Delta2 costs:
 *
 *     Delta2^2 = D_d^2 + s^2,  s = D_d sqrt(share / (1 - share))
 *     b        = sum of the coordinate / (n s), cut to [0, 1]
 *     next     = clip exp(-rate (b - quantile)), cut to [floor, ceiling]
 *
 * The noise of the delta grows by 1 / sqrt(1 - share); b has the standard
 * deviation z / sqrt(share n).  Everything here is post-processing of noised
 * sums.
 *
 * Threads: pure functions.
 * Memory:  allocates nothing.
 * Source:  Andrew, Thakkar, McMahan, Ramaswamy, Differentially Private Learning
 *          with Adaptive Clipping, arXiv:1905.03871, section 2.
 */
#ifndef HEARTH_COORDINATOR_ADAPT_CLIP_H
#define HEARTH_COORDINATOR_ADAPT_CLIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* [clip] of a TASK.ini. */
typedef struct {
    bool on;
    double start;      /* [privacy] clip: of the first round */
    double quantile;   /* share of norms within the clip that is wanted */
    double rate;       /* eta, > 0 */
    double share;      /* of Delta2^2 that belongs to the bit, in (0, 1) */
    double floor, top; /* the clip stays between them */
    uint32_t freeze;   /* server steps after which it stays; 0: never */
} hearth_adapt_clip;

/* Largest value s of the coordinate beside a delta of squared norm bound_sq, in
 * [1, HEARTH_SIGMA_MAX_COORD]; 0 for a bad argument. */
uint32_t hearth_adapt_clip_coord(const hearth_adapt_clip *a, uint64_t bound_sq);

/* Does a round after `steps` server steps carry the bit? */
bool hearth_adapt_clip_asks(const hearth_adapt_clip *a, uint64_t steps);

/* The clip of the next round, exactly a float: from the clip of this round, the
 * sum of its bits' coordinate, s and the number of contributions.  `clip` comes
 * back, within the limits, when n or s is 0. */
double hearth_adapt_clip_next(const hearth_adapt_clip *a, double clip,
                              int64_t sum, uint32_t s, uint32_t n);

/* Any clip (0, NaN: none yet) as one that this task may use: a float. */
double hearth_adapt_clip_within(const hearth_adapt_clip *a, double clip);

#endif /* HEARTH_COORDINATOR_ADAPT_CLIP_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/adapt_clip.c - the contract is in adapt_clip.h.
 *
 * The exponential is refmath's, so that a clip is the same bytes on every
 * machine, as the release beside it is.  b is cut to [0, 1] before it is used:
 * one round moves the clip by a factor in [exp(-rate), exp(rate)] at most,
 * whatever the noise was.
 */
#include "coordinator/adapt_clip.h"

#include <math.h>

#include "common/refmath.h"
#include "privacy/sigma.h"

uint32_t hearth_adapt_clip_coord(const hearth_adapt_clip *a,
                                 uint64_t bound_sq) {
    if (!(a->share > 0 && a->share < 1) || bound_sq == 0) return 0;
    double s = floor(sqrt((double)bound_sq * a->share / (1 - a->share)));
    if (s < 1) return 1;
    return s < (double)HEARTH_SIGMA_MAX_COORD ? (uint32_t)s
                                              : HEARTH_SIGMA_MAX_COORD;
}

bool hearth_adapt_clip_asks(const hearth_adapt_clip *a, uint64_t steps) {
    return a->on && (a->freeze == 0 || steps < a->freeze);
}

double hearth_adapt_clip_within(const hearth_adapt_clip *a, double clip) {
    if (!(clip > 0)) clip = a->start;
    if (clip > a->top) clip = a->top;
    if (clip < a->floor) clip = a->floor;
    return (double)(float)clip;
}

double hearth_adapt_clip_next(const hearth_adapt_clip *a, double clip,
                              int64_t sum, uint32_t s, uint32_t n) {
    clip = hearth_adapt_clip_within(a, clip);
    if (n == 0 || s == 0) return clip;
    double b = (double)sum / ((double)n * (double)s);
    if (b < 0) b = 0;
    if (b > 1) b = 1;
    double next = clip * hearth_ref_exp(-a->rate * (b - a->quantile));
    return hearth_adapt_clip_within(a, next);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/clip.c - the contract is in clip.h; here is why the bound is strict.
 *
 * The square of a float is exact in double, so only the additions round: over
 * at most 2^28 terms the computed norm is off by less than 2^-25 (relative).
 * Storing a scaled value as float adds at most 2^-24.  MARGIN covers both.
 * A value that underflows to a subnormal errs by 2^-150 absolutely; over 2^28
 * elements that is 2^-136 in norm, below the margin of the smallest clip_norm.
 * Never build with -ffast-math: it removes the test for NaN.
 */
#include "privacy/clip.h"

#include <math.h>
#include <string.h>

static const double MARGIN = 0x1p-22;

static hearth_status check_spans(const hearth_span *spans, size_t n_spans) {
    if (!spans && n_spans) return HEARTH_EINVAL;
    size_t room = HEARTH_CLIP_MAX_ELEMENTS; /* counts down: cannot wrap */
    for (size_t s = 0; s < n_spans; s++) {
        if (!spans[s].v && spans[s].n) return HEARTH_EINVAL;
        if (spans[s].n > room) return HEARTH_ETOOBIG;
        room -= spans[s].n;
    }
    return HEARTH_OK;
}

/* One fixed order of additions: the same delta clips to the same bytes. */
static double squared_norm(const hearth_span *spans, size_t n_spans) {
    double total = 0.0;
    for (size_t s = 0; s < n_spans; s++)
        for (size_t i = 0; i < spans[s].n; i++) {
            double x = (double)spans[s].v[i];
            total += x * x;
        }
    return total;
}

static void destroy(hearth_span *spans, size_t n_spans) {
    for (size_t s = 0; s < n_spans; s++)
        if (spans[s].n) memset(spans[s].v, 0, spans[s].n * sizeof(float));
}

static void scale_by(hearth_span *spans, size_t n_spans, double factor) {
    for (size_t s = 0; s < n_spans; s++)
        for (size_t i = 0; i < spans[s].n; i++)
            spans[s].v[i] = (float)((double)spans[s].v[i] * factor);
}

hearth_status hearth_clip_l2(hearth_span *spans, size_t n_spans,
                             float clip_norm, hearth_clip_report *report) {
    if (!isfinite(clip_norm) || clip_norm < HEARTH_CLIP_MIN_NORM)
        return HEARTH_EINVAL;
    hearth_status st = check_spans(spans, n_spans);
    if (st != HEARTH_OK) return st;

    /* 2^28 squares of finite floats stay below 2^284: a sum that is not
     * finite means that some element is not. */
    double sum = squared_norm(spans, n_spans);
    if (!isfinite(sum)) {
        destroy(spans, n_spans);
        return HEARTH_ENONFINITE;
    }

    hearth_clip_report rep = {sqrt(sum), 1.0, false};
    double target = (double)clip_norm * (1.0 - MARGIN);
    if (rep.norm > target) {
        rep.scale = target / rep.norm;
        rep.clipped = true;
        scale_by(spans, n_spans, rep.scale);
    }
    if (report) *report = rep;
    return HEARTH_OK;
}

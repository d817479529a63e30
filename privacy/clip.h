/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/clip.h - bound the L2 norm of one device's update.
 *
 * Data flow:  delta -> [clip] -> quantize -> + noise -> (mask) -> upload
 *
 * The noise of a round is scaled to the most that one device can move the sum.
 * In floats that most is clip_norm; it is enforced here, strictly, so that the
 * rounding of quantize.h rarely has to be drawn twice.  What the accountant
 * trusts is the integer norm that quantize.h enforces afterwards.
 *
 *     hearth_span delta[] = { { b0, n0 }, { b1, n1 } };
 *     hearth_clip_report rep;
 *     hearth_status st = hearth_clip_l2(delta, 2, 0.07f, &rep);
 *     if (st != HEARTH_OK) return st;              // nothing may be sent
 *
 * Threads: no shared state; calls on disjoint spans may run at once.
 * Memory:  allocates nothing, keeps no pointer after it returns.
 * Source:  flat clipping, McMahan et al., Learning Differentially Private
 *          Recurrent Language Models, ICLR 2018, arXiv:1710.06963.
 */
#ifndef HEARTH_PRIVACY_CLIP_H
#define HEARTH_PRIVACY_CLIP_H

#include <stdbool.h>
#include <stddef.h>

#include "common/span.h"
#include "common/status.h"

/* Limits that the rounding argument in clip.c needs. */
#define HEARTH_CLIP_MAX_ELEMENTS ((size_t)1 << 28) /* over all spans */
#define HEARTH_CLIP_MIN_NORM     1e-30f

/* What a call did.  It describes raw data: it stays on the device. */
typedef struct {
    double norm;  /* L2 norm of the input, in weight units */
    double scale; /* factor applied, in (0, 1] */
    bool clipped; /* scale < 1 */
} hearth_clip_report;

/* Scale the spans in place until their joint L2 norm is at most clip_norm.
 *
 *   spans      [n_spans]  one vector in pieces; pieces must not overlap.
 *   clip_norm  weight units, finite, >= HEARTH_CLIP_MIN_NORM.
 *   report     filled on HEARTH_OK; may be NULL.
 *
 * A vector shorter than clip_norm * (1 - 2^-22) keeps every bit; any other is
 * scaled to that length.  The floats as stored then satisfy the bound in exact
 * arithmetic, not only up to rounding.
 *
 * Returns HEARTH_OK
 *         HEARTH_EINVAL      bad clip_norm or a NULL pointer; spans untouched
 *         HEARTH_ETOOBIG     above HEARTH_CLIP_MAX_ELEMENTS; spans untouched
 *         HEARTH_ENONFINITE  a NaN or infinity was found; all spans are zeroed
 */
HEARTH_MUST_CHECK
hearth_status hearth_clip_l2(hearth_span *spans, size_t n_spans,
                             float clip_norm, hearth_clip_report *report);

#endif /* HEARTH_PRIVACY_CLIP_H */

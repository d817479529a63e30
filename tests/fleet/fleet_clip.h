/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fleet_clip.h - look at, and replace, what is clipped.
 *
 * hearth-fleet is linked with --wrap=hearth_clip_l2, so delta/prepare calls the
 * function of this file, which calls the real one.  It counts what the device
 * itself never reports, and, for the noise-only control, sets the delta to zero
 * first: the noise was drawn before, so the control gets the very same draws.
 *
 * Threads: one.
 */
#ifndef HEARTH_TESTS_FLEET_CLIP_H
#define HEARTH_TESTS_FLEET_CLIP_H

#include <stdbool.h>
#include <stdint.h>

#include "privacy/clip.h"

/* Count from 0 again; zero == true: every delta becomes zero. */
void hearth_fleet_clip_reset(bool zero);

/* Deltas seen since the reset, and how many of them were longer than the
 * clip. */
void hearth_fleet_clip_counts(uint64_t *seen, uint64_t *clipped);

/* What the linker puts in the place of hearth_clip_l2, and the real one. */
hearth_status __real_hearth_clip_l2(hearth_span *spans, size_t n_spans,
                                    float clip_norm,
                                    hearth_clip_report *report);
hearth_status __wrap_hearth_clip_l2(hearth_span *spans, size_t n_spans,
                                    float clip_norm,
                                    hearth_clip_report *report);

#endif /* HEARTH_TESTS_FLEET_CLIP_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* privacy/noise_scan.h - look up many random words in a table at once.
 *
 * Every word is compared with every threshold: neither the branches taken nor
 * the addresses read depend on the words.
 *
 * Threads: pure functions.   Memory: allocates nothing.
 */
#ifndef HEARTH_PRIVACY_NOISE_SCAN_H
#define HEARTH_PRIVACY_NOISE_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "privacy/noise_table.h"

#define HEARTH_NOISE_SCAN_LANES 64 /* words at once */

typedef enum {
    HEARTH_NOISE_SCAN_BEST = 0, /* what this machine does fastest */
    HEARTH_NOISE_SCAN_PORTABLE, /* C without vector instructions asked for */
    HEARTH_NOISE_SCAN_AVX2,
    HEARTH_NOISE_SCAN_AVX512
} hearth_noise_scan_kind;

/* Can this machine do it?  BEST and PORTABLE: always. */
bool hearth_noise_scan_has(hearth_noise_scan_kind kind);

/* For each word r [LANES]: y = thresholds whose upper 64 bits are < r, and
 * tie != 0 when the upper 64 bits of some threshold equal r, which is when 64
 * bits do not decide.  All kinds give the same; a kind that this machine
 * cannot do counts as PORTABLE. */
void hearth_noise_scan(const hearth_noise_table *t,
                       const uint64_t r[HEARTH_NOISE_SCAN_LANES],
                       uint8_t y[HEARTH_NOISE_SCAN_LANES],
                       uint8_t tie[HEARTH_NOISE_SCAN_LANES],
                       hearth_noise_scan_kind kind);

#endif /* HEARTH_PRIVACY_NOISE_SCAN_H */

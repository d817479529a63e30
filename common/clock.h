/* SPDX-License-Identifier: Apache-2.0 */
/* common/clock.h - what time it is, as a callback table.
 *
 * Programs use hearth_clock_system(); the fleet and tests use a virtual one.
 *
 * Threads: the system clock is safe from any; a virtual one belongs to its
 *          owner's thread.
 */
#ifndef HEARTH_COMMON_CLOCK_H
#define HEARTH_COMMON_CLOCK_H

#include <stdint.h>

typedef struct {
    int64_t (*wall_ms)(void *ud); /* ms since 1970-01-01 UTC; may jump */
    int64_t (*mono_ms)(void *ud); /* ms since some start; never goes back */
    void *ud;
} hearth_clock;

/* The machine's clock.  In builds with HEARTH_FAILPOINTS the environment
 * variable HEARTH_CLOCK_OFFSET_MS is added to the wall clock. */
hearth_clock hearth_clock_system(void);

/* A clock that stands still until told. */
typedef struct {
    int64_t wall_ms, mono_ms;
} hearth_virtual_clock;

/* A table over v, which must outlive it. */
hearth_clock hearth_clock_virtual(hearth_virtual_clock *v);

/* Move both times forward. */
void hearth_virtual_clock_advance(hearth_virtual_clock *v, int64_t ms);

int64_t hearth_clock_wall(const hearth_clock *c);
int64_t hearth_clock_mono(const hearth_clock *c);

/* "2026-11-20T22:51:07Z" of a wall time into out [21]. */
void hearth_clock_format(char out[21], int64_t wall_ms);

#endif /* HEARTH_COMMON_CLOCK_H */

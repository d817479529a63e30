/* SPDX-License-Identifier: Apache-2.0 */
/* common/clock.c - the contract is in clock.h. */
#include "common/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static int64_t read_clock(clockid_t id) {
    struct timespec t;
    if (clock_gettime(id, &t)) return 0;
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int64_t system_wall(void *ud) {
    (void)ud;
    int64_t now = read_clock(CLOCK_REALTIME);
#ifdef HEARTH_FAILPOINTS
    const char *offset = getenv("HEARTH_CLOCK_OFFSET_MS");
    if (offset) now += strtoll(offset, NULL, 10);
#endif
    return now;
}

static int64_t system_mono(void *ud) {
    (void)ud;
    return read_clock(CLOCK_MONOTONIC);
}

hearth_clock hearth_clock_system(void) {
    return (hearth_clock){system_wall, system_mono, NULL};
}

static int64_t virtual_wall(void *ud) {
    return ((hearth_virtual_clock *)ud)->wall_ms;
}

static int64_t virtual_mono(void *ud) {
    return ((hearth_virtual_clock *)ud)->mono_ms;
}

hearth_clock hearth_clock_virtual(hearth_virtual_clock *v) {
    return (hearth_clock){virtual_wall, virtual_mono, v};
}

void hearth_virtual_clock_advance(hearth_virtual_clock *v, int64_t ms) {
    v->wall_ms += ms;
    v->mono_ms += ms;
}

int64_t hearth_clock_wall(const hearth_clock *c) {
    return c->wall_ms(c->ud);
}

int64_t hearth_clock_mono(const hearth_clock *c) {
    return c->mono_ms(c->ud);
}

void hearth_clock_format(char out[21], int64_t wall_ms) {
    time_t t = (time_t)(wall_ms / 1000);
    struct tm tm;
    if (wall_ms < 0 || !gmtime_r(&t, &tm) ||
        strftime(out, 21, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        snprintf(out, 21, "%s", "unknown time");
}

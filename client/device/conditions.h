/* SPDX-License-Identifier: Apache-2.0 */
/* client/device/conditions.h - what the device is doing now: power, warmth,
 * network.
 *
 * A table of one callback, because each platform answers differently.  The
 * Linux one reads a sysfs tree, whose root a test may replace.
 *
 *     hearth_conditions_source src;
 *     st = hearth_conditions_linux(&src, "/sys", al);
 *     st = src.read(src.ud, &now, err);
 *     hearth_conditions_linux_free(&src);
 *
 * Threads: a source belongs to one thread at a time.
 * Memory:  a copy of the root's path.
 */
#ifndef HEARTH_CLIENT_DEVICE_CONDITIONS_H
#define HEARTH_CLIENT_DEVICE_CONDITIONS_H

#include <stdbool.h>

#include "common/alloc.h"
#include "common/error.h"

typedef struct {
    bool has_battery;       /* false: runs from the mains */
    double battery_percent; /* 0..100; 100 without a battery */
    bool charging;          /* on external power; true without a battery */
    bool metered;           /* some active network costs by volume */
    bool has_temperature;   /* false: no sensor */
    double temperature_c;   /* hottest sensor; 0 without one */
    /* What only apps know; Linux says no. */
    bool foreground;   /* a person uses the device now */
    bool power_saving; /* the system's battery saver is on */
} hearth_conditions;

/* How to ask.  read returns HEARTH_OK, or HEARTH_EIO and HEARTH_EFORMAT when
 * the answer cannot be had; *out then holds the worst case, which every policy
 * refuses. */
typedef struct {
    hearth_status (*read)(void *ud, hearth_conditions *out, hearth_error *err);
    void *ud;
} hearth_conditions_source;

/* The worst case: battery empty, not charging, metered, hot, in use,
 * saving power. */
void hearth_conditions_worst(hearth_conditions *out);

/* Linux.  root: a sysfs tree, normally "/sys"; copied.
 * class/power_supply gives power, class/thermal the temperature, class/net the
 * active links (mobile ones, uevent DEVTYPE=wwan, count as metered; the kernel
 * knows no other metering).  A tree without a power_supply is a mains machine.
 * Returns HEARTH_OK, HEARTH_EINVAL, HEARTH_ENOMEM, HEARTH_ENOTFOUND (no such
 * folder). */
HEARTH_MUST_CHECK
hearth_status hearth_conditions_linux(hearth_conditions_source *out,
                                      const char *root, const hearth_alloc *al);

/* Free what hearth_conditions_linux made.  A zeroed source is a no-op. */
void hearth_conditions_linux_free(hearth_conditions_source *src);

/* Always the same answer: for apps that ask the platform themselves, and for
 * tests.  fixed is borrowed and may change between reads. */
hearth_conditions_source
hearth_conditions_fixed(const hearth_conditions *fixed);

#endif /* HEARTH_CLIENT_DEVICE_CONDITIONS_H */

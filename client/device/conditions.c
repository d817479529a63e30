/* SPDX-License-Identifier: Apache-2.0 */
/* client/device/conditions.c - what does not depend on the platform; the
 * contract is in conditions.h. */
#include "client/device/conditions.h"

#include <stdint.h>

void hearth_conditions_worst(hearth_conditions *out) {
    *out = (hearth_conditions){.has_battery = true,
                               .battery_percent = 0,
                               .charging = false,
                               .metered = true,
                               .has_temperature = true,
                               .temperature_c = 1000,
                               .foreground = true,
                               .power_saving = true};
}

static hearth_status read_fixed(void *ud, hearth_conditions *out,
                                hearth_error *err) {
    (void)err;
    *out = *(const hearth_conditions *)ud;
    return HEARTH_OK;
}

hearth_conditions_source
hearth_conditions_fixed(const hearth_conditions *fixed) {
    /* read_fixed only reads through it. */
    return (hearth_conditions_source){read_fixed, (void *)(uintptr_t)fixed};
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fuzz_fleet_scenario.c - any bytes in: an error, or a scenario
 * that reads back as what it wrote. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fleet/fleet_scenario.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hearth_fleet_scenario *a, *b;
    hearth_buf one = HEARTH_BUF_INIT(NULL), two = HEARTH_BUF_INIT(NULL);
    if (hearth_fleet_scenario_parse(&a, "f", "/d", (const char *)data, size,
                                    NULL, 0, NULL, NULL) != HEARTH_OK)
        return 0;
    if (hearth_fleet_scenario_write(&one, a) != HEARTH_OK) abort();
    /* A written path may be longer than a settings line can be. */
    if (hearth_fleet_scenario_parse(&b, "g", "/", hearth_buf_str(&one), one.n,
                                    NULL, 0, NULL, NULL) == HEARTH_OK) {
        if (hearth_fleet_scenario_write(&two, b) != HEARTH_OK) abort();
        if (one.n != two.n || memcmp(one.v, two.v, one.n) != 0) abort();
        hearth_fleet_scenario_free(b, NULL);
    }
    hearth_buf_free(&one);
    hearth_buf_free(&two);
    hearth_fleet_scenario_free(a, NULL);
    return 0;
}

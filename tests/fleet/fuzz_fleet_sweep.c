/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fleet/fuzz_fleet_sweep.c - any bytes in: an error, or cells with names
 * of their own that are fit for a folder and settings of section.key=value. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fleet/fleet_sweep.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_cell(const hearth_fleet_cell *c) {
    if (!c->name[0] || c->name[0] == '.' || strchr(c->name, '/')) abort();
    if (!c->n_sets || c->n_sets > HEARTH_FLEET_MAX_CELL_SETS) abort();
    for (size_t i = 0; i < c->n_sets; i++) {
        const char *eq = strchr(c->set[i], '=');
        if (!eq || eq == c->set[i] || !eq[1]) abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hearth_fleet_sweep *sw;
    if (hearth_fleet_sweep_parse(&sw, "f", (const char *)data, size, NULL,
                                 NULL) != HEARTH_OK)
        return 0;
    if (sw->n > HEARTH_FLEET_MAX_CELLS) abort();
    for (size_t i = 0; i < sw->n; i++) {
        check_cell(&sw->cell[i]);
        for (size_t k = 0; k < i; k++)
            if (!strcmp(sw->cell[i].name, sw->cell[k].name)) abort();
    }
    hearth_fleet_sweep_free(sw);
    return 0;
}

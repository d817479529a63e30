/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz_mp_scan.c - what the scan passes, msgpack-c unpacks without
 * asking for more than its share of memory, and the counts are honest. */
#include <stdlib.h>

#include "proto/limits.h"
#include "proto/mp_scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hearth_mp_scan_report rep = {0, 0};
    hearth_error err;
    hearth_status st = hearth_mp_scan(data, size, &rep, &err);
    if (st == HEARTH_OK) {
        /* Every value is at least one byte, every level one value. */
        if (rep.nodes == 0 || rep.nodes > size) abort();
        if (rep.max_depth > rep.nodes) abort();
        if (rep.max_depth > HEARTH_PROTO_MAX_DEPTH) abort();
        /* A prefix of one value is no value. */
        if (hearth_mp_scan(data, size - 1, NULL, NULL) == HEARTH_OK) abort();
    } else if (st != HEARTH_EFORMAT && st != HEARTH_ETOOBIG) {
        abort();
    }
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/compile_fail/prepared_written.c - writing through the bytes that a
 * right object lends. */
/* expect: read-only | const-qualified */
#include "client/delta/prepare.h"

void try_it(const hearth_prepared *p);

void try_it(const hearth_prepared *p) {
    const uint8_t *bytes;
    size_t n;
    hearth_prepared_bytes(p, &bytes, &n, NULL);
    bytes[0] = 1;
}

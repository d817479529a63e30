/* SPDX-License-Identifier: Apache-2.0 */
/* tests/compile_fail/prepared_poked.c - other bytes in a right object. */
/* expect: incomplete type | incomplete definition */
#include "client/delta/prepare.h"

void try_it(hearth_prepared *p, uint8_t *bytes);

void try_it(hearth_prepared *p, uint8_t *bytes) {
    p->entry.bytes = bytes;
}

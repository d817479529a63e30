/* SPDX-License-Identifier: Apache-2.0 */
/* tests/compile_fail/prepared_allocated.c - one's own object on the heap. */
/* expect: incomplete type | invalid application of 'sizeof' */
#include <stdlib.h>

#include "client/delta/prepare.h"

hearth_prepared *try_it(void);

hearth_prepared *try_it(void) {
    return malloc(sizeof(hearth_prepared));
}

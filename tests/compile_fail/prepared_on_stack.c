/* SPDX-License-Identifier: Apache-2.0 */
/* tests/compile_fail/prepared_on_stack.c - one's own object. */
/* expect: storage size | incomplete type */
#include "client/delta/prepare.h"

int try_it(void);

int try_it(void) {
    hearth_prepared mine;
    return sizeof(mine) > 0;
}

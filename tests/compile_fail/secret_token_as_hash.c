/* SPDX-License-Identifier: Apache-2.0 */
/* tests/compile_fail/secret_token_as_hash.c - a token in the place of the
 * digest that is stored of it. */
/* expect: incompatible pointer type */
#include "coordinator/coord_store.h"

hearth_status try_it(hearth_coord_store *s, const hearth_secret *token,
                     hearth_contrib_row *row);

hearth_status try_it(hearth_coord_store *s, const hearth_secret *token,
                     hearth_contrib_row *row) {
    return hearth_coord_store_contrib(s, token, row, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/compile_fail/secret_as_tag.c - a token made where a tag is stored. */
/* expect: incompatible pointer type */
#include "coordinator/place.h"

hearth_status try_it(uint8_t tag[32], const hearth_secret *key);

hearth_status try_it(uint8_t tag[32], const hearth_secret *key) {
    return hearth_place_token(tag, key, "d-1");
}

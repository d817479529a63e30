/* SPDX-License-Identifier: Apache-2.0 */
/* tests/compile_fail/secret_ok_use.c - the right way compiles, so that the
 * other files fail for their own reason. */
#include "coordinator/place.h"

hearth_status use(uint8_t tag[32], const hearth_secret *key);

hearth_status use(uint8_t tag[32], const hearth_secret *key) {
    hearth_secret token;
    hearth_status st = hearth_place_token(&token, key, "d-1");
    if (st == HEARTH_OK) st = hearth_place_tag(tag, key, "d-1");
    hearth_secret_wipe(&token);
    return st;
}

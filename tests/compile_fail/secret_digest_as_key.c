/* SPDX-License-Identifier: Apache-2.0 */
/* tests/compile_fail/secret_digest_as_key.c - something public of 32 bytes in
 * the place of a key. */
/* expect: incompatible pointer type */
#include "coordinator/place.h"

hearth_status try_it(uint8_t tag[32], const uint8_t digest[32]);

hearth_status try_it(uint8_t tag[32], const uint8_t digest[32]) {
    return hearth_place_tag(tag, digest, "d-1");
}

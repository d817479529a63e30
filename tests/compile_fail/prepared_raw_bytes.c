/* SPDX-License-Identifier: Apache-2.0 */
/* tests/compile_fail/prepared_raw_bytes.c - bytes in the place of a prepared
 * delta. */
/* expect: incompatible pointer type */
#include "client/net/upload.h"

hearth_status try_it(const hearth_upload *u, const uint8_t *bytes,
                     hearth_reply_info *rep);

hearth_status try_it(const hearth_upload *u, const uint8_t *bytes,
                     hearth_reply_info *rep) {
    uint64_t offset = 0;
    return hearth_upload_append(u, bytes, &offset, rep, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/compile_fail/prepared_floats.c - a delta that was not prepared. */
/* expect: incompatible pointer type */
#include "client/delta/delta.h"
#include "client/net/upload.h"

hearth_status try_it(const hearth_upload *u, const hearth_delta *dl,
                     hearth_reply_info *rep);

hearth_status try_it(const hearth_upload *u, const hearth_delta *dl,
                     hearth_reply_info *rep) {
    uint64_t offset = 0;
    return hearth_upload_begin(u, dl, &offset, rep, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* proto/messages.c - small things about messages. */
#include "proto/messages.h"

#include "common/bytes.h"
#include "common/hash.h"

hearth_status hearth_offer_digest(const hearth_offer *offer,
                                  uint8_t out[HEARTH_DIGEST_BYTES]) {
    hearth_buf b = HEARTH_BUF_INIT(NULL);
    hearth_status st = hearth_encode_offer(&b, offer);
    if (st == HEARTH_OK) st = hearth_sha256(out, b.v, b.n);
    hearth_buf_free(&b);
    return st;
}

const char *hearth_reason_name(uint32_t reason) {
    static const char *const name[] = {
        "none",   "bad message", "version",  "credential", "unknown", "full",
        "closed", "offset",      "digest",   "altered",    "range",   "too big",
        "disk",   "busy",        "internal", "aborted",    "expired"};
    return reason < sizeof(name) / sizeof(name[0]) ? name[reason] : "?";
}

bool hearth_task_name_ok(const char *name) {
    size_t n = 0;
    if (!name) return false;
    for (; name[n]; n++) {
        char c = name[n];
        bool word = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!word && (n == 0 || (c != '.' && c != '_' && c != '-')))
            return false;
        if (n + 1 >= HEARTH_PROTO_TASK_CAP) return false;
    }
    return n > 0;
}

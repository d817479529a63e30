/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/token.c - 256 random bits: no guess limit is needed, and a plain
 * hash is enough to store, because there is nothing to try out. */
#include "coordinator/token.h"

#include <string.h>

#include "common/secret.h"

hearth_status hearth_token_new(char text[HEARTH_TOKEN_CHARS], hearth_rng *rng) {
    hearth_secret raw;
    if (!text || !rng) return HEARTH_EINVAL;
    text[0] = '\0';
    hearth_status st = hearth_rng_bytes(rng, raw.bytes, sizeof(raw.bytes));
    if (st != HEARTH_OK) return st;
    memcpy(text, HEARTH_TOKEN_PREFIX, sizeof(HEARTH_TOKEN_PREFIX) - 1);
    hearth_hex_encode(text + sizeof(HEARTH_TOKEN_PREFIX) - 1, raw.bytes,
                      sizeof(raw.bytes));
    hearth_secret_wipe(&raw);
    return HEARTH_OK;
}

bool hearth_token_ok(const char *text) {
    size_t head = sizeof(HEARTH_TOKEN_PREFIX) - 1;
    if (!text || strlen(text) != HEARTH_TOKEN_CHARS - 1) return false;
    if (memcmp(text, HEARTH_TOKEN_PREFIX, head) != 0) return false;
    return strspn(text + head, "0123456789abcdef") == 64;
}

hearth_status hearth_token_hash(uint8_t hash[HEARTH_SHA256_BYTES],
                                const char *text) {
    if (!hash || !hearth_token_ok(text)) return HEARTH_EFORMAT;
    return hearth_sha256(hash, text, strlen(text));
}

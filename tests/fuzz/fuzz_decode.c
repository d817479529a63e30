/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz_decode.c - every message: decode(b) = x means encode(x) = b,
 * and a refusal leaves zeroes.
 *
 * Input: one byte that picks the message, then its bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "proto/messages.h"
#include "proto/signed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok) {
    if (!ok) abort();
}

static void check_refusal(hearth_status st, const void *m, size_t n) {
    const unsigned char *p = m;
    require(st == HEARTH_EFORMAT || st == HEARTH_ETOOBIG ||
            st == HEARTH_EVERSION);
    for (size_t i = 0; i < n; i++) require(p[i] == 0);
}

#define X(name)                                                                \
    static void check_##name(const uint8_t *p, size_t n) {                     \
        static hearth_##name m;                                                \
        hearth_error err;                                                      \
        hearth_buf b = HEARTH_BUF_INIT(NULL);                                  \
        hearth_status st = hearth_decode_##name(&m, p, n, &err);               \
        if (st == HEARTH_OK) {                                                 \
            require(hearth_encode_##name(&b, &m) == HEARTH_OK);                \
            require(b.n == n && memcmp(b.v, p, n) == 0);                       \
        } else {                                                               \
            require(err.text[0] != 0 && err.status == st);                     \
            check_refusal(st, &m, sizeof(m));                                  \
        }                                                                      \
        hearth_buf_free(&b);                                                   \
    }
HEARTH_MESSAGE_MAP(X)
X(keyset)
X(release)
#undef X

/* The envelope, with the key that it claims as the trusted one: what opens
 * has a good signature and is not expired. */
static void check_signed(const uint8_t *p, size_t n) {
    static hearth_keyset ks, trust;
    static hearth_release rel;
    const uint64_t late = HEARTH_PROTO_MAX_MS;
    uint8_t key[HEARTH_SIGN_PUBLIC_BYTES];
    hearth_error err;
    if (hearth_signed_claimed_key(p, n, key, &err) != HEARTH_OK) {
        require(hearth_keyset_open(&ks, p, n, key, 1, &err) != HEARTH_OK);
        return;
    }
    trust.n_release_keys = 1;
    memcpy(trust.release_keys[0], key, sizeof(key));
    bool is_keyset = hearth_keyset_open(&ks, p, n, key, 1, &err) == HEARTH_OK;
    bool is_release =
        hearth_release_open(&rel, p, n, &trust, 1, &err) == HEARTH_OK;
    require(!(is_keyset && is_release));
    if (is_keyset)
        require(hearth_keyset_open(&ks, p, n, key, late, &err) ==
                HEARTH_EEXPIRED);
    if (is_release)
        require(hearth_release_open(&rel, p, n, &trust, late, &err) ==
                HEARTH_EEXPIRED);
    key[9] ^= 1; /* somebody else's key */
    require(hearth_keyset_open(&ks, p, n, key, 1, &err) != HEARTH_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static void (*const check[])(const uint8_t *, size_t) = {
#define X(name) check_##name,
        HEARTH_MESSAGE_MAP(X)
#undef X
            check_keyset,
        check_release,
        check_signed,
    };
    if (size < 2) return 0;
    check[data[0] % (sizeof(check) / sizeof(check[0]))](data + 1, size - 1);
    return 0;
}

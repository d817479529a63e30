/* SPDX-License-Identifier: Apache-2.0 */
/* common/hash.c - the contract is in hash.h.
 *
 * PSA is started once, under pthread_once: psa_crypto_init() is idempotent but
 * not promised to be safe when two threads run it at the same time.
 */
#include "common/hash.h"

#include <pthread.h>
#include <string.h>

#include <psa/crypto.h>

#include "common/bytes.h"

_Static_assert(sizeof(psa_hash_operation_t) <= sizeof(hearth_sha256_state),
               "the opaque state must hold PSA's");

static pthread_once_t once = PTHREAD_ONCE_INIT;
static psa_status_t start_status = PSA_ERROR_BAD_STATE;

static void start_psa(void) {
    start_status = psa_crypto_init();
}

static hearth_status from_psa(psa_status_t st) {
    if (st == PSA_SUCCESS) return HEARTH_OK;
    return st == PSA_ERROR_INSUFFICIENT_MEMORY ? HEARTH_ENOMEM : HEARTH_ERNG;
}

hearth_status hearth_hash_start(void) {
    if (pthread_once(&once, start_psa)) return HEARTH_ENOMEM;
    return from_psa(start_status);
}

static psa_hash_operation_t *op_of(hearth_sha256_state *s) {
    return (psa_hash_operation_t *)(void *)s->opaque;
}

hearth_status hearth_sha256_init(hearth_sha256_state *s) {
    memset(s, 0, sizeof(*s));
    hearth_status st = hearth_hash_start();
    if (st != HEARTH_OK) return st;
    return from_psa(psa_hash_setup(op_of(s), PSA_ALG_SHA_256));
}

hearth_status hearth_sha256_add(hearth_sha256_state *s, const void *p,
                                size_t n) {
    if (!n) return HEARTH_OK;
    return from_psa(psa_hash_update(op_of(s), p, n));
}

hearth_status hearth_sha256_finish(hearth_sha256_state *s,
                                   uint8_t out[HEARTH_SHA256_BYTES]) {
    size_t n;
    hearth_status st =
        from_psa(psa_hash_finish(op_of(s), out, HEARTH_SHA256_BYTES, &n));
    if (st != HEARTH_OK) memset(out, 0, HEARTH_SHA256_BYTES);
    hearth_sha256_free(s);
    return st;
}

void hearth_sha256_free(hearth_sha256_state *s) {
    psa_hash_abort(op_of(s));
    hearth_zeroize(s, sizeof(*s));
}

hearth_status hearth_sha256(uint8_t out[HEARTH_SHA256_BYTES], const void *p,
                            size_t n) {
    hearth_sha256_state s;
    hearth_status st = hearth_sha256_init(&s);
    if (st == HEARTH_OK) st = hearth_sha256_add(&s, p, n);
    if (st == HEARTH_OK) return hearth_sha256_finish(&s, out);
    hearth_sha256_free(&s);
    memset(out, 0, HEARTH_SHA256_BYTES);
    return st;
}

/* HMAC from its definition, RFC 2104: PSA would copy the key into a slot that
 * a fixed-size table limits. */
hearth_status hearth_hmac_sha256(uint8_t out[HEARTH_SHA256_BYTES],
                                 const void *key, size_t key_n, const void *p,
                                 size_t n) {
    uint8_t pad[64] = {0}, inner[HEARTH_SHA256_BYTES];
    hearth_sha256_state s;
    hearth_status st = HEARTH_OK;
    if (key_n > sizeof(pad))
        st = hearth_sha256(pad, key, key_n);
    else if (key_n)
        memcpy(pad, key, key_n);
    for (size_t i = 0; i < sizeof(pad); i++) pad[i] ^= 0x36;
    if (st == HEARTH_OK) st = hearth_sha256_init(&s);
    if (st == HEARTH_OK) {
        st = hearth_sha256_add(&s, pad, sizeof(pad));
        if (st == HEARTH_OK) st = hearth_sha256_add(&s, p, n);
        hearth_status fin = hearth_sha256_finish(&s, inner);
        if (st == HEARTH_OK) st = fin;
    }
    for (size_t i = 0; i < sizeof(pad); i++) pad[i] ^= 0x36 ^ 0x5c;
    if (st == HEARTH_OK) st = hearth_sha256_init(&s);
    if (st == HEARTH_OK) {
        st = hearth_sha256_add(&s, pad, sizeof(pad));
        if (st == HEARTH_OK) st = hearth_sha256_add(&s, inner, sizeof(inner));
        hearth_status fin = hearth_sha256_finish(&s, out);
        if (st == HEARTH_OK) st = fin;
    }
    if (st != HEARTH_OK) memset(out, 0, HEARTH_SHA256_BYTES);
    hearth_zeroize(pad, sizeof(pad));
    hearth_zeroize(inner, sizeof(inner));
    return st;
}

hearth_status hearth_hkdf_sha256(void *out, size_t n, const void *secret,
                                 size_t secret_n, const void *salt,
                                 size_t salt_n, const char *info) {
    uint8_t prk[HEARTH_SHA256_BYTES], t[HEARTH_SHA256_BYTES];
    uint8_t block[HEARTH_SHA256_BYTES + 256 + 1], *o = out;
    size_t info_n = strlen(info), done = 0, t_n = 0;
    if (n > 255 * sizeof(t)) return HEARTH_ETOOBIG;
    if (info_n > 256) return HEARTH_EINVAL;
    hearth_status st = hearth_hmac_sha256(prk, salt, salt_n, secret, secret_n);
    for (uint8_t i = 1; done < n && st == HEARTH_OK; i++) {
        memcpy(block, t, t_n);
        memcpy(block + t_n, info, info_n);
        block[t_n + info_n] = i;
        st = hearth_hmac_sha256(t, prk, sizeof(prk), block, t_n + info_n + 1);
        t_n = sizeof(t);
        size_t take = n - done < t_n ? n - done : t_n;
        if (st == HEARTH_OK) memcpy(o + done, t, take);
        done += take;
    }
    if (st != HEARTH_OK) hearth_zeroize(out, n);
    hearth_zeroize(prk, sizeof(prk));
    hearth_zeroize(t, sizeof(t));
    hearth_zeroize(block, sizeof(block));
    return st;
}

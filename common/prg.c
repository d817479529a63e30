/* SPDX-License-Identifier: Apache-2.0 */
/* common/prg.c - the contract is in prg.h. */
#include "common/prg.h"

#include <string.h>

#include <psa/crypto.h>

#include "common/bytes.h"
#include "common/hash.h"
#include "common/psa_lock.h"

_Static_assert(sizeof(psa_cipher_operation_t) <=
                   sizeof(((hearth_prg *)0)->opaque),
               "the opaque state must hold PSA's");
_Static_assert(sizeof(psa_key_id_t) <= sizeof(uint32_t), "key ids fit");

static psa_cipher_operation_t *op_of(hearth_prg *g) {
    return (psa_cipher_operation_t *)(void *)g->opaque;
}

static hearth_status from_psa(psa_status_t st) {
    if (st == PSA_SUCCESS) return HEARTH_OK;
    return st == PSA_ERROR_INSUFFICIENT_MEMORY ? HEARTH_ENOMEM : HEARTH_ERNG;
}

hearth_status hearth_prg_init(hearth_prg *g,
                              const uint8_t seed[HEARTH_PRG_SEED_BYTES]) {
    static const uint8_t iv[16] = {0};
    memset(g, 0, sizeof(*g));
    hearth_status st = hearth_hash_start();
    if (st != HEARTH_OK) return st;
    psa_key_attributes_t attr = PSA_KEY_ATTRIBUTES_INIT;
    psa_set_key_type(&attr, PSA_KEY_TYPE_AES);
    psa_set_key_algorithm(&attr, PSA_ALG_CTR);
    psa_set_key_usage_flags(&attr, PSA_KEY_USAGE_ENCRYPT);
    psa_key_id_t id = 0;
    hearth_psa_lock();
    st = from_psa(psa_import_key(&attr, seed, HEARTH_PRG_SEED_BYTES, &id));
    if (st == HEARTH_OK) {
        g->key_id = (uint32_t)id;
        st = from_psa(psa_cipher_encrypt_setup(op_of(g), id, PSA_ALG_CTR));
    }
    hearth_psa_unlock();
    if (st == HEARTH_OK)
        st = from_psa(psa_cipher_set_iv(op_of(g), iv, sizeof(iv)));
    if (st != HEARTH_OK) hearth_prg_free(g);
    return st;
}

hearth_status hearth_prg_bytes(hearth_prg *g, void *out, size_t n) {
    static const uint8_t zero[1024] = {0};
    uint8_t *o = out;
    while (n) {
        size_t k = n < sizeof(zero) ? n : sizeof(zero), got = 0;
        hearth_status st =
            from_psa(psa_cipher_update(op_of(g), zero, k, o, k, &got));
        if (st != HEARTH_OK) return st;
        if (got != k) return HEARTH_ERNG; /* CTR has no buffering */
        o += k;
        n -= k;
    }
    return HEARTH_OK;
}

void hearth_prg_free(hearth_prg *g) {
    psa_cipher_abort(op_of(g));
    if (g->key_id) {
        hearth_psa_lock();
        psa_destroy_key((psa_key_id_t)g->key_id);
        hearth_psa_unlock();
    }
    hearth_zeroize(g, sizeof(*g));
}

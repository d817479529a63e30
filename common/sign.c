/* SPDX-License-Identifier: Apache-2.0 */
/* common/sign.c - the contract is in sign.h; this is why it holds.
 *
 * A P-256 private key in DER (RFC 5915) has one layout of 121 bytes: fixed
 * bytes around the scalar and the public point.  The keypair is those bytes.
 * They go to the PSA API as the scalar, to TLS and X.509 as they are, and to a
 * file as PEM, so no private field of the crypto library is ever touched.
 * The public point is always derived from the scalar, also after loading: a
 * file whose two halves disagree is refused.
 *
 * The PSA key store of mbedTLS 2.28 is not safe for threads.  Every call that
 * touches a key slot happens under hearth_psa_lock.
 */
#include "common/sign.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <mbedtls/pk.h>
#include <mbedtls/version.h>
#include <psa/crypto.h>
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
#include <mbedtls/psa_util.h>
#endif

#include "common/bytes.h"
#include "common/error.h"
#include "common/hash.h"
#include "common/mem.h"
#include "common/psa_lock.h"
#include "common/tls_compat.h"

#define SCALAR_AT 7
#define POINT_AT  56

struct hearth_sign_keypair {
    hearth_alloc al;
    uint8_t der[HEARTH_SIGN_DER_BYTES];
};

static const uint8_t DER_HEAD[SCALAR_AT] = {0x30, 0x77, 0x02, 0x01,
                                            0x01, 0x04, 0x20};
static const uint8_t DER_MID[POINT_AT - SCALAR_AT - 32] = {
    0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d,
    0x03, 0x01, 0x07, 0xa1, 0x44, 0x03, 0x42, 0x00};
static const uint8_t
    SPKI_HEAD[HEARTH_SIGN_SPKI_BYTES - HEARTH_SIGN_PUBLIC_BYTES] = {
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48,
        0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
        0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00};

static const char PEM_HEAD[] = "-----BEGIN EC PRIVATE KEY-----\n";
static const char PEM_TAIL[] = "-----END EC PRIVATE KEY-----\n";

/* Deterministic signing and verifying meet in the same plain ECDSA. */
#define SIGN_ALG   PSA_ALG_DETERMINISTIC_ECDSA(PSA_ALG_SHA_256)
#define VERIFY_ALG PSA_ALG_ECDSA(PSA_ALG_SHA_256)

/* Import a key for one use.  The caller holds the lock and destroys *id. */
static psa_status_t import_key(psa_key_id_t *id, bool secret,
                               const uint8_t *bytes, size_t n) {
    psa_key_attributes_t at = PSA_KEY_ATTRIBUTES_INIT;
    if (hearth_hash_start() != HEARTH_OK) return PSA_ERROR_INSUFFICIENT_MEMORY;
    if (secret) {
        psa_set_key_type(&at,
                         PSA_KEY_TYPE_ECC_KEY_PAIR(PSA_ECC_FAMILY_SECP_R1));
        psa_set_key_usage_flags(&at, PSA_KEY_USAGE_SIGN_MESSAGE);
        psa_set_key_algorithm(&at, SIGN_ALG);
    } else {
        psa_set_key_type(&at,
                         PSA_KEY_TYPE_ECC_PUBLIC_KEY(PSA_ECC_FAMILY_SECP_R1));
        psa_set_key_usage_flags(&at, PSA_KEY_USAGE_VERIFY_MESSAGE);
        psa_set_key_algorithm(&at, VERIFY_ALG);
    }
    psa_set_key_bits(&at, 256);
    return psa_import_key(&at, bytes, n, id);
}

/* Fill der from a scalar.  EFORMAT when it is 0 or not below the order. */
static hearth_status fill(hearth_sign_keypair *k, const uint8_t scalar[32]) {
    psa_key_id_t id = 0;
    size_t n = 0;
    memcpy(k->der, DER_HEAD, sizeof(DER_HEAD));
    memcpy(k->der + SCALAR_AT, scalar, 32);
    memcpy(k->der + SCALAR_AT + 32, DER_MID, sizeof(DER_MID));
    hearth_psa_lock();
    psa_status_t ps = import_key(&id, true, scalar, 32);
    if (ps == PSA_SUCCESS) {
        ps = psa_export_public_key(id, k->der + POINT_AT,
                                   HEARTH_SIGN_PUBLIC_BYTES, &n);
        (void)psa_destroy_key(id);
    }
    hearth_psa_unlock();
    if (ps == PSA_ERROR_INVALID_ARGUMENT) return HEARTH_EFORMAT;
    if (ps != PSA_SUCCESS || n != HEARTH_SIGN_PUBLIC_BYTES)
        return HEARTH_ENOMEM;
    return HEARTH_OK;
}

static hearth_sign_keypair *keypair_new(const hearth_alloc *al) {
    const hearth_alloc *hooks = hearth_mem_or_default(al);
    hearth_sign_keypair *k = hearth_mem_new(hooks, sizeof(*k));
    if (k) k->al = *hooks;
    return k;
}

void hearth_sign_free(hearth_sign_keypair *k) {
    if (!k) return;
    hearth_alloc al = k->al;
    hearth_zeroize(k, sizeof(*k));
    hearth_mem_free(&al, k);
}

hearth_status hearth_sign_generate(hearth_sign_keypair **out, hearth_rng *rng,
                                   const hearth_alloc *al, hearth_error *err) {
    uint8_t scalar[32];
    hearth_status st = HEARTH_EFORMAT;
    if (out) *out = NULL;
    if (!out || !rng)
        return hearth_error_set(err, HEARTH_EINVAL, "no generator for a key");
    hearth_sign_keypair *k = keypair_new(al);
    if (!k) return hearth_error_set(err, HEARTH_ENOMEM, "no memory for a key");
    /* A scalar is out of range once in 2^32 draws; four in a row never are. */
    for (int i = 0; i < 4 && st == HEARTH_EFORMAT; i++) {
        st = hearth_rng_bytes(rng, scalar, sizeof(scalar));
        if (st == HEARTH_OK) st = fill(k, scalar);
    }
    hearth_zeroize(scalar, sizeof(scalar));
    if (st == HEARTH_EFORMAT) st = HEARTH_ERNG;
    if (st != HEARTH_OK) {
        hearth_sign_free(k);
        return hearth_error_set(err, st, "cannot make a key: %s; try again",
                                hearth_status_text(st));
    }
    *out = k;
    return HEARTH_OK;
}

/* The scalar of a parsed private key, when it is a P-256 key. */
static hearth_status scalar_of(const char *pem_z, size_t n,
                               uint8_t der[HEARTH_SIGN_DER_BYTES]) {
    uint8_t tmp[256];
    mbedtls_pk_context pk;
    hearth_status st = HEARTH_EFORMAT;
    mbedtls_pk_init(&pk);
    if (HEARTH_PK_PARSE_KEY(&pk, (const unsigned char *)pem_z, n + 1) == 0) {
        int w = mbedtls_pk_write_key_der(&pk, tmp, sizeof(tmp));
        const uint8_t *p = w > 0 ? tmp + sizeof(tmp) - (size_t)w : tmp;
        if (w == HEARTH_SIGN_DER_BYTES &&
            memcmp(p, DER_HEAD, sizeof(DER_HEAD)) == 0 &&
            memcmp(p + SCALAR_AT + 32, DER_MID, sizeof(DER_MID)) == 0) {
            memcpy(der, p, HEARTH_SIGN_DER_BYTES);
            st = HEARTH_OK;
        }
    }
    mbedtls_pk_free(&pk);
    hearth_zeroize(tmp, sizeof(tmp));
    return st;
}

#define PEM_INPUT_MAX 2048

hearth_status hearth_sign_from_pem(hearth_sign_keypair **out, const char *pem,
                                   size_t n, const hearth_alloc *al,
                                   hearth_error *err) {
    char text[PEM_INPUT_MAX + 1];
    uint8_t der[HEARTH_SIGN_DER_BYTES];
    hearth_sign_keypair *k = NULL;
    hearth_status st = HEARTH_EFORMAT;

    if (out) *out = NULL;
    if (!out || !pem)
        return hearth_error_set(err, HEARTH_EINVAL, "no key text given");
    if (n <= PEM_INPUT_MAX) {
        memcpy(text, pem, n);
        text[n] = '\0';
        st = hearth_hash_start(); /* 3.x blinds with the PSA generator */
        if (st == HEARTH_OK) st = scalar_of(text, n, der);
        hearth_zeroize(text, sizeof(text));
    }
    if (st != HEARTH_OK) goto done;
    if (!(k = keypair_new(al))) {
        st = HEARTH_ENOMEM;
        goto done;
    }
    st = fill(k, der + SCALAR_AT);
    if (st == HEARTH_OK && memcmp(k->der, der, sizeof(der)) != 0)
        st = HEARTH_EFORMAT;

done:
    hearth_zeroize(der, sizeof(der));
    if (st != HEARTH_OK) {
        hearth_sign_free(k);
        return hearth_error_set(
            err, st, "not an unencrypted P-256 private key in PEM form%s",
            st == HEARTH_EFORMAT ? "; make one with `hearthd init`" : "");
    }
    *out = k;
    return HEARTH_OK;
}

hearth_status hearth_sign_to_pem(const hearth_sign_keypair *k,
                                 char pem[HEARTH_SIGN_PEM_MAX]) {
    char b64[HEARTH_BASE64_LEN(HEARTH_SIGN_DER_BYTES) + 1];
    size_t n = sizeof(b64) - 1, at = sizeof(PEM_HEAD) - 1;
    if (!k || !pem) return HEARTH_EINVAL;
    hearth_base64_encode(b64, k->der, sizeof(k->der));
    memcpy(pem, PEM_HEAD, at);
    for (size_t i = 0; i < n; i += 64) { /* 164 characters: three lines */
        size_t m = n - i < 64 ? n - i : 64;
        memcpy(pem + at, b64 + i, m);
        at += m;
        pem[at++] = '\n';
    }
    memcpy(pem + at, PEM_TAIL, sizeof(PEM_TAIL));
    hearth_zeroize(b64, sizeof(b64));
    return HEARTH_OK;
}

hearth_status hearth_sign_load_pem(hearth_sign_keypair **out, const char *path,
                                   const hearth_alloc *al, hearth_error *err) {
    char text[PEM_INPUT_MAX + 1];
    size_t n = 0;
    if (out) *out = NULL;
    if (!out || !path)
        return hearth_error_set(err, HEARTH_EINVAL, "no key file named");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return hearth_error_set(err, hearth_error_from_errno(errno),
                                "%s: cannot open the key file: %s", path,
                                strerror(errno));
    for (ssize_t got = 1; got > 0 && n < sizeof(text); n += (size_t)got) {
        got = read(fd, text + n, sizeof(text) - n);
        if (got < 0) {
            int e = errno;
            (void)close(fd);
            hearth_zeroize(text, sizeof(text));
            return hearth_error_set(err, HEARTH_EIO, "%s: cannot read: %s",
                                    path, strerror(e));
        }
    }
    (void)close(fd);
    hearth_status st = hearth_sign_from_pem(out, text, n, al, err);
    hearth_zeroize(text, sizeof(text));
    if (st != HEARTH_OK) (void)hearth_error_prefix(err, "%s", path);
    return st;
}

static bool write_all(int fd, const char *p, size_t n) {
    while (n > 0) {
        ssize_t w = write(fd, p, n);
        if (w < 0 && errno == EINTR) continue;
        if (w <= 0) return false;
        p += w;
        n -= (size_t)w;
    }
    return fsync(fd) == 0;
}

hearth_status hearth_sign_save_pem(const hearth_sign_keypair *k,
                                   const char *path, hearth_error *err) {
    char pem[HEARTH_SIGN_PEM_MAX];
    if (!k || !path)
        return hearth_error_set(err, HEARTH_EINVAL, "no key or no file named");
    hearth_status st = hearth_sign_to_pem(k, pem);
    if (st != HEARTH_OK) return st;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        hearth_zeroize(pem, sizeof(pem));
        return hearth_error_set(err, hearth_error_from_errno(errno),
                                "%s: cannot create the key file: %s", path,
                                strerror(errno));
    }
    bool ok = write_all(fd, pem, strlen(pem));
    int e = errno;
    hearth_zeroize(pem, sizeof(pem));
    if (close(fd) != 0) ok = false;
    if (ok) return HEARTH_OK;
    (void)unlink(path);
    return hearth_error_set(err, hearth_error_from_errno(e),
                            "%s: cannot write the key: %s", path, strerror(e));
}

const uint8_t *hearth_sign_public(const hearth_sign_keypair *k) {
    return k->der + POINT_AT;
}

const uint8_t *hearth_sign__der(const hearth_sign_keypair *k) {
    return k->der;
}

hearth_status hearth_sign_bytes(const hearth_sign_keypair *k, const void *msg,
                                size_t n, uint8_t sig[HEARTH_SIGN_SIG_BYTES]) {
    static const uint8_t none[1] = {0};
    psa_key_id_t id = 0;
    size_t got = 0;
    if (!k || !sig || (!msg && n)) return HEARTH_EINVAL;
    hearth_psa_lock();
    psa_status_t ps = import_key(&id, true, k->der + SCALAR_AT, 32);
    if (ps == PSA_SUCCESS) {
        ps = psa_sign_message(id, SIGN_ALG, n ? msg : none, n, sig,
                              HEARTH_SIGN_SIG_BYTES, &got);
        (void)psa_destroy_key(id);
    }
    hearth_psa_unlock();
    if (ps == PSA_SUCCESS && got == HEARTH_SIGN_SIG_BYTES) return HEARTH_OK;
    memset(sig, 0, HEARTH_SIGN_SIG_BYTES);
    return HEARTH_ENOMEM;
}

hearth_status hearth_sign_verify(const uint8_t pub[HEARTH_SIGN_PUBLIC_BYTES],
                                 const void *msg, size_t n,
                                 const uint8_t sig[HEARTH_SIGN_SIG_BYTES]) {
    static const uint8_t none[1] = {0};
    psa_key_id_t id = 0;
    hearth_status st = HEARTH_OK;
    if (!pub || !sig || (!msg && n)) return HEARTH_EINVAL;
    if (pub[0] != 0x04) return HEARTH_EFORMAT; /* only this form is ours */
    hearth_psa_lock();
    psa_status_t ps = import_key(&id, false, pub, HEARTH_SIGN_PUBLIC_BYTES);
    if (ps == PSA_SUCCESS) {
        ps = psa_verify_message(id, VERIFY_ALG, n ? msg : none, n, sig,
                                HEARTH_SIGN_SIG_BYTES);
        (void)psa_destroy_key(id);
        if (ps != PSA_SUCCESS)
            st = ps == PSA_ERROR_INSUFFICIENT_MEMORY ? HEARTH_ENOMEM
                                                     : HEARTH_ESIGNATURE;
    } else {
        st = ps == PSA_ERROR_INVALID_ARGUMENT ? HEARTH_EFORMAT : HEARTH_ENOMEM;
    }
    hearth_psa_unlock();
    return st;
}

void hearth_sign_spki(const uint8_t pub[HEARTH_SIGN_PUBLIC_BYTES],
                      uint8_t spki[HEARTH_SIGN_SPKI_BYTES]) {
    memcpy(spki, SPKI_HEAD, sizeof(SPKI_HEAD));
    memcpy(spki + sizeof(SPKI_HEAD), pub, HEARTH_SIGN_PUBLIC_BYTES);
}

hearth_status hearth_sign_from_spki(const uint8_t *spki, size_t n,
                                    uint8_t pub[HEARTH_SIGN_PUBLIC_BYTES]) {
    if (!spki || n != HEARTH_SIGN_SPKI_BYTES ||
        memcmp(spki, SPKI_HEAD, sizeof(SPKI_HEAD)) != 0 ||
        spki[sizeof(SPKI_HEAD)] != 0x04)
        return HEARTH_EFORMAT;
    memcpy(pub, spki + sizeof(SPKI_HEAD), HEARTH_SIGN_PUBLIC_BYTES);
    return HEARTH_OK;
}

hearth_status hearth_sign_pin(const uint8_t pub[HEARTH_SIGN_PUBLIC_BYTES],
                              char pin[HEARTH_SIGN_PIN_CHARS]) {
    uint8_t spki[HEARTH_SIGN_SPKI_BYTES], digest[32];
    if (!pub || !pin) return HEARTH_EINVAL;
    hearth_sign_spki(pub, spki);
    hearth_status st = hearth_sha256(digest, spki, sizeof(spki));
    if (st != HEARTH_OK) return HEARTH_ENOMEM;
    memcpy(pin, "sha256//", 8);
    hearth_base64_encode(pin + 8, digest, sizeof(digest));
    return HEARTH_OK;
}

bool hearth_sign_pin_matches(const uint8_t pub[HEARTH_SIGN_PUBLIC_BYTES],
                             const char *pin) {
    char own[HEARTH_SIGN_PIN_CHARS];
    return pin && hearth_sign_pin(pub, own) == HEARTH_OK &&
           strcmp(own, pin) == 0;
}

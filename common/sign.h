/* SPDX-License-Identifier: Apache-2.0 */
/* common/sign.h - P-256 keys: make, keep, sign, verify, pin.
 *
 * Everything Hearth signs (keysets, releases, certificate requests) is signed
 * with ECDSA over the curve P-256 and SHA-256 of the exact bytes.  A public
 * key is the uncompressed point 0x04 || X || Y, a signature is r || s, both
 * big-endian, both of fixed length.  Signing is deterministic (RFC 6979): a bad random moment can not leak
 * the key.
 *
 *     hearth_sign_keypair *k = NULL;
 *     st = hearth_sign_generate(&k, rng, &al, &err);
 *     st = hearth_sign_bytes(k, msg, n, sig);
 *     st = hearth_sign_verify(hearth_sign_public(k), msg, n, sig);
 *     hearth_sign_free(k);
 *
 * Threads: a keypair is immutable; any threads may sign and verify at once
 *          (they take turns inside: the crypto library has one key store).
 * Memory:  the keypair comes from the caller's hooks and is zeroized before it
 *          is freed; nothing else is kept.
 * Source:  FIPS 186-4 section 6; RFC 6979; RFC 5915 (private key file);
 *          RFC 5480 (public key info); RFC 7469 section 2.4 (pin).
 */
#ifndef HEARTH_COMMON_SIGN_H
#define HEARTH_COMMON_SIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/alloc.h"
#include "common/rng.h"
#include "common/status.h"

#define HEARTH_SIGN_PUBLIC_BYTES 65 /* 0x04 || X[32] || Y[32] */
#define HEARTH_SIGN_SIG_BYTES    64 /* r[32] || s[32] */
#define HEARTH_SIGN_PIN_CHARS    53 /* "sha256//" + 44 base64 + NUL */
#define HEARTH_SIGN_PEM_MAX      512
#define HEARTH_SIGN_SPKI_BYTES   91  /* DER SubjectPublicKeyInfo of P-256 */
#define HEARTH_SIGN_DER_BYTES    121 /* DER ECPrivateKey of P-256 */

typedef struct hearth_sign_keypair hearth_sign_keypair; /* secret; opaque */

/* A fresh key from rng.  *out is the caller's: hearth_sign_free.
 *
 * Returns HEARTH_OK, HEARTH_EINVAL (NULL argument), HEARTH_ENOMEM, or what
 * rng returned; on failure *out is NULL. */
HEARTH_MUST_CHECK
hearth_status hearth_sign_generate(hearth_sign_keypair **out, hearth_rng *rng,
                                   const hearth_alloc *al, hearth_error *err);

/* Read a private key from PEM text ("EC PRIVATE KEY" or unencrypted PKCS 8).
 *
 *   pem  [n] n counts the text without a NUL, at most 2 KiB
 *
 * Returns HEARTH_OK
 *         HEARTH_EINVAL   a NULL argument
 *         HEARTH_EFORMAT  no PEM, no private key, or not a P-256 key
 *         HEARTH_ENOMEM   */
HEARTH_MUST_CHECK
hearth_status hearth_sign_from_pem(hearth_sign_keypair **out, const char *pem,
                                   size_t n, const hearth_alloc *al,
                                   hearth_error *err);

/* Write the private key as "EC PRIVATE KEY" PEM, NUL-terminated.
 * Secret: the caller zeroizes the text.
 * Returns HEARTH_OK or HEARTH_EINVAL (a NULL argument). */
HEARTH_MUST_CHECK
hearth_status hearth_sign_to_pem(const hearth_sign_keypair *k,
                                 char pem[HEARTH_SIGN_PEM_MAX]);

/* hearth_sign_from_pem over a file.  Also returns what reading it returned. */
HEARTH_MUST_CHECK
hearth_status hearth_sign_load_pem(hearth_sign_keypair **out, const char *path,
                                   const hearth_alloc *al, hearth_error *err);

/* Write the key to a new file of mode 0600, fsynced; never replaces a file.
 *
 * Returns HEARTH_OK, HEARTH_EINVAL (a NULL argument), HEARTH_EEXISTS (the file
 * is there: it is left alone), or HEARTH_EIO (nothing is left behind). */
HEARTH_MUST_CHECK
hearth_status hearth_sign_save_pem(const hearth_sign_keypair *k,
                                   const char *path, hearth_error *err);

/* Zeroize and free.  NULL is a no-op. */
void hearth_sign_free(hearth_sign_keypair *k);

/* The public half, [HEARTH_SIGN_PUBLIC_BYTES], borrowed from k. */
const uint8_t *hearth_sign_public(const hearth_sign_keypair *k);

/* Secret, for TLS and X.509 only: the DER ECPrivateKey, borrowed from k,
 * [HEARTH_SIGN_DER_BYTES]. */
const uint8_t *hearth_sign__der(const hearth_sign_keypair *k);

/* Sign the n bytes of msg.  msg may be NULL only when n is 0.
 * Returns HEARTH_OK, HEARTH_EINVAL, or HEARTH_ENOMEM (the crypto library
 * failed; sig is zeroed). */
HEARTH_MUST_CHECK
hearth_status hearth_sign_bytes(const hearth_sign_keypair *k, const void *msg,
                                size_t n, uint8_t sig[HEARTH_SIGN_SIG_BYTES]);

/* Check a signature over the n bytes of msg.
 *
 * Returns HEARTH_OK         it is pub's signature over exactly these bytes
 *         HEARTH_EINVAL     a NULL argument
 *         HEARTH_EFORMAT    pub is not a point on P-256
 *         HEARTH_ESIGNATURE the signature does not match */
HEARTH_MUST_CHECK
hearth_status hearth_sign_verify(const uint8_t pub[HEARTH_SIGN_PUBLIC_BYTES],
                                 const void *msg, size_t n,
                                 const uint8_t sig[HEARTH_SIGN_SIG_BYTES]);

/* The DER SubjectPublicKeyInfo of a public key: what a pin hashes. */
void hearth_sign_spki(const uint8_t pub[HEARTH_SIGN_PUBLIC_BYTES],
                      uint8_t spki[HEARTH_SIGN_SPKI_BYTES]);

/* Inverse of hearth_sign_spki: HEARTH_OK, or HEARTH_EFORMAT for any bytes that
 * are not the P-256 SubjectPublicKeyInfo. */
HEARTH_MUST_CHECK
hearth_status hearth_sign_from_spki(const uint8_t *spki, size_t n,
                                    uint8_t pub[HEARTH_SIGN_PUBLIC_BYTES]);

/* The pin "sha256//<base64 of SHA-256 of the SPKI>", as curl takes it.
 * Returns HEARTH_OK, HEARTH_EINVAL, or HEARTH_ENOMEM. */
HEARTH_MUST_CHECK
hearth_status hearth_sign_pin(const uint8_t pub[HEARTH_SIGN_PUBLIC_BYTES],
                              char pin[HEARTH_SIGN_PIN_CHARS]);

/* Whether pin names pub.  False as well for anything that is not a pin. */
bool hearth_sign_pin_matches(const uint8_t pub[HEARTH_SIGN_PUBLIC_BYTES],
                             const char *pin);

#endif /* HEARTH_COMMON_SIGN_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* common/x509.h - certificate requests and certificates of Hearth.
 *
 * Three kinds of certificate, all P-256 and SHA-256:
 *   the device CA        self-signed; signs device certificates only
 *   the server's         self-signed for a host name; devices pin its key
 *   a device's           issued by the CA from the device's request; its one
 *                        dNSName subject alternative name is the assigned id
 *
 * A request (CSR) proves that its sender holds the key; the name in it is
 * ignored, the id is assigned by whoever issues.  Times are given by the
 * caller, never taken from the machine's clock.
 *
 *     st = hearth_x509_csr_new(csr, key, rng, &err);            // device
 *     st = hearth_x509_csr_verify(csr, strlen(csr), pub, &err); // coordinator
 *     st = hearth_x509_issue(cert, ca, ca_pem, pub, "d-17..", now, 90, rng, ..);
 *
 * Threads: no shared state but the crypto library's (see sign.h).
 * Memory:  PEM text goes into the caller's fixed arrays; nothing is kept.
 * Source:  RFC 2986 (requests), RFC 5280 (certificates).
 */
#ifndef HEARTH_COMMON_X509_H
#define HEARTH_COMMON_X509_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/rng.h"
#include "common/sign.h"
#include "common/status.h"

#define HEARTH_X509_PEM_MAX     2048 /* one certificate or request, with NUL */
#define HEARTH_X509_ID_MAX      63   /* characters of a device id */
#define HEARTH_X509_HOST_MAX    253
#define HEARTH_X509_DEVICE_DAYS 90

/* What a certificate says. */
typedef struct {
    char
        id[HEARTH_X509_HOST_MAX + 1]; /* first dNSName; "" when there is none */
    int64_t not_before_ms;            /* since 1970-01-01 UTC */
    int64_t not_after_ms;
    uint8_t pub[HEARTH_SIGN_PUBLIC_BYTES];
    bool is_ca;
} hearth_x509_info;

/* A request for a certificate over key, as PEM, signed by it.
 * Returns HEARTH_OK, HEARTH_EINVAL (a NULL argument), HEARTH_ENOMEM (pem is
 * empty). */
HEARTH_MUST_CHECK
hearth_status hearth_x509_csr_new(char pem[HEARTH_X509_PEM_MAX],
                                  const hearth_sign_keypair *key,
                                  hearth_rng *rng, hearth_error *err);

/* Check a request and its signature.
 *
 *   pem  [n] hostile; n without a NUL
 *   pub  the key it proves, zeroed on failure
 *
 * Returns HEARTH_OK
 *         HEARTH_EINVAL   a NULL argument
 *         HEARTH_ETOOBIG  n >= HEARTH_X509_PEM_MAX
 *         HEARTH_EFORMAT  not a PEM request, or not a P-256 key
 *         HEARTH_ESIGNATURE  the signature is not by the key in it */
HEARTH_MUST_CHECK
hearth_status hearth_x509_csr_verify(const char *pem, size_t n,
                                     uint8_t pub[HEARTH_SIGN_PUBLIC_BYTES],
                                     hearth_error *err);

/* A self-signed CA certificate for key: path length 0, signs certificates.
 *   name  1..63 characters of [A-Za-z0-9 .-]
 * Returns HEARTH_OK, HEARTH_EINVAL (NULL, bad name or time), HEARTH_ENOMEM. */
HEARTH_MUST_CHECK
hearth_status hearth_x509_self_ca(char pem[HEARTH_X509_PEM_MAX],
                                  const hearth_sign_keypair *key,
                                  const char *name, int64_t now_ms,
                                  unsigned days, hearth_rng *rng,
                                  hearth_error *err);

/* A self-signed server certificate for key.
 *   host  a DNS name or an address in text form, <= HEARTH_X509_HOST_MAX
 * Returns as hearth_x509_self_ca. */
HEARTH_MUST_CHECK
hearth_status hearth_x509_self_server(char pem[HEARTH_X509_PEM_MAX],
                                      const hearth_sign_keypair *key,
                                      const char *host, int64_t now_ms,
                                      unsigned days, hearth_rng *rng,
                                      hearth_error *err);

/* A device certificate: pub, valid from now for days, SAN = device_id.
 *
 *   ca, ca_pem  the CA's key and its certificate
 *   device_id   1..HEARTH_X509_ID_MAX characters of [a-z0-9-]
 *   now_ms      the start is put an hour earlier, for devices whose clock lags
 *
 * Returns HEARTH_OK
 *         HEARTH_EINVAL   NULL, bad id or time
 *         HEARTH_EFORMAT  ca_pem is not a certificate of ca, or pub no point
 *         HEARTH_ENOMEM  */
HEARTH_MUST_CHECK
hearth_status hearth_x509_issue(char pem[HEARTH_X509_PEM_MAX],
                                const hearth_sign_keypair *ca,
                                const char *ca_pem,
                                const uint8_t pub[HEARTH_SIGN_PUBLIC_BYTES],
                                const char *device_id, int64_t now_ms,
                                unsigned days, hearth_rng *rng,
                                hearth_error *err);

/* Read one certificate, PEM or DER; nothing about it is verified.
 * Returns HEARTH_OK, HEARTH_EINVAL, HEARTH_ETOOBIG (n >=
 * HEARTH_X509_PEM_MAX), HEARTH_EFORMAT (not one certificate, or not P-256);
 * info is zeroed on failure. */
HEARTH_MUST_CHECK
hearth_status hearth_x509_read(hearth_x509_info *info, const void *cert,
                               size_t n, hearth_error *err);

/* Read a certificate and verify it against one CA at one moment.
 *
 * Returns HEARTH_OK
 *         HEARTH_EINVAL, HEARTH_ETOOBIG, HEARTH_EFORMAT  as hearth_x509_read
 *         HEARTH_ESIGNATURE  not issued by this CA, itself a CA, or tampered
 *                            with
 *         HEARTH_EEXPIRED    it or the CA is outside its time; info is filled all the same */
HEARTH_MUST_CHECK
hearth_status hearth_x509_verify(hearth_x509_info *info, const void *cert,
                                 size_t n, const char *ca_pem, int64_t now_ms,
                                 hearth_error *err);

#endif /* HEARTH_COMMON_X509_H */

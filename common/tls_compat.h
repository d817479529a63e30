/* SPDX-License-Identifier: Apache-2.0 */
/* common/tls_compat.h - what differs between mbedTLS 2.28 and 3.x, in one
 * place.  Include it after the mbedtls headers; it includes none itself. */
#ifndef HEARTH_COMMON_TLS_COMPAT_H
#define HEARTH_COMMON_TLS_COMPAT_H

#if MBEDTLS_VERSION_NUMBER >= 0x03000000
/* Parsing a private key wants randomness, for blinding only. */
#define HEARTH_PK_PARSE_KEY(pk, p, n)                                          \
    mbedtls_pk_parse_key((pk), (p), (n), NULL, 0, mbedtls_psa_get_random,      \
                         MBEDTLS_PSA_RANDOM_STATE)
#else
#define HEARTH_PK_PARSE_KEY(pk, p, n)                                          \
    mbedtls_pk_parse_key((pk), (p), (n), NULL, 0)
#endif

/* 3.x marks fields that we read as private; 2.28 does not know the mark. */
#ifndef MBEDTLS_PRIVATE
#define MBEDTLS_PRIVATE(member) member
#endif

#if MBEDTLS_VERSION_NUMBER >= 0x03020000
#define HEARTH_SSL_CONF_MIN_TLS12(c)                                           \
    mbedtls_ssl_conf_min_tls_version((c), MBEDTLS_SSL_VERSION_TLS1_2)
#else
#define HEARTH_SSL_CONF_MIN_TLS12(c)                                           \
    mbedtls_ssl_conf_min_version((c), MBEDTLS_SSL_MAJOR_VERSION_3,             \
                                 MBEDTLS_SSL_MINOR_VERSION_3)
#endif

#endif /* HEARTH_COMMON_TLS_COMPAT_H */

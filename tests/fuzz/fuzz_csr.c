/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz_csr.c - any bytes as certificate request, as certificate (of
 * a CA that is known here) and as private key: a status, no crash, and nothing
 * left behind by a failure. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/error.h"
#include "common/x509.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A throwaway CA, valid from 2020 to 2200; its key was not kept.  It issued
 * the corpus inputs issued*. */
static const char CA[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBTDCB9KADAgECAhRaoudI2cZNcYMLpcFrUg91e06MxDAKBggqhkjOPQQDAjAS\n"
    "MRAwDgYDVQQDDAdmdXp6IGNhMCAXDTIwMDEwMTAwMDAwMFoYDzIyMDAwMTAxMDAw\n"
    "MDAwWjASMRAwDgYDVQQDDAdmdXp6IGNhMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcD\n"
    "QgAEIlxjJjxruuW0qAJcm6v2BLjzcrmfP7FhLkGogw2LMIQumSfCKf5PygJ6A+PL\n"
    "9mOKlO9Mm/5gGpqG1mabSp+X16MmMCQwEgYDVR0TAQH/BAgwBgEB/wIBADAOBgNV\n"
    "HQ8BAf8EBAMCAQYwCgYIKoZIzj0EAwIDRwAwRAIgbHtECcoHF3g2DE58WYXUT8Oi\n"
    "fy0X1qj8o340WOITV/YCIDEBldMq1jbpabF0zUMP5kKoEvZc8uYftLSjVnRbF1gm\n"
    "-----END CERTIFICATE-----\n";

/* The certificate against that CA in 2030: what is good or only out of its
 * time says what a plain reading says. */
static void check_verify(const uint8_t *data, size_t size,
                         const hearth_x509_info *plain) {
    static const hearth_x509_info zero_info;
    hearth_x509_info info;
    hearth_error err = {HEARTH_OK, ""};
    const int64_t now_ms = 1893456000000; /* 2030-01-01 */
    hearth_status st = hearth_x509_verify(&info, data, size, CA, now_ms, &err);
    bool in_time =
        plain->not_before_ms <= now_ms && now_ms <= plain->not_after_ms;
    if (st == HEARTH_OK && (!in_time || info.is_ca)) abort();
    if (st == HEARTH_EEXPIRED && in_time) abort();
    bool same = memcmp(&info, plain, sizeof(info)) == 0;
    bool none = memcmp(&info, &zero_info, sizeof(info)) == 0;
    if (st == HEARTH_OK || st == HEARTH_EEXPIRED ? !same : !none) abort();
    if (st != HEARTH_OK && !err.text[0]) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const hearth_x509_info zero_info;
    static const uint8_t zero[HEARTH_SIGN_PUBLIC_BYTES];
    uint8_t pub[HEARTH_SIGN_PUBLIC_BYTES];
    hearth_x509_info info;
    hearth_sign_keypair *k = NULL;
    hearth_error err = {HEARTH_OK, ""};
    const char *text = (const char *)data;

    hearth_status st = hearth_x509_csr_verify(text, size, pub, &err);
    if (st == HEARTH_OK ? pub[0] != 4 : memcmp(pub, zero, sizeof(pub)) != 0)
        abort();
    if (st != HEARTH_OK && !err.text[0]) abort();

    st = hearth_x509_read(&info, data, size, &err);
    if (st == HEARTH_OK
            ? info.pub[0] != 4 || !memchr(info.id, 0, sizeof(info.id))
            : memcmp(&info, &zero_info, sizeof(info)) != 0)
        abort();

    check_verify(data, size, &info);

    st = hearth_sign_from_pem(&k, text, size, NULL, &err);
    if ((st == HEARTH_OK) != (k != NULL)) abort();
    hearth_sign_free(k);
    return 0;
}

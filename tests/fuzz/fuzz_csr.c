/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz_csr.c - any bytes as certificate request, certificate and
 * private key: a status, no crash, and nothing left behind by a failure. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/error.h"
#include "common/x509.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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

    st = hearth_sign_from_pem(&k, text, size, NULL, &err);
    if ((st == HEARTH_OK) != (k != NULL)) abort();
    hearth_sign_free(k);
    return 0;
}

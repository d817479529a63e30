/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz_cookie.c - any text as a session cookie: only those that were
 * made with the key name a device.
 * Input: 'N' and an id: a fresh cookie, which must be accepted, and no longer
 * once a byte is changed; anything else: a cookie as it is. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/auth.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW ((int64_t)1795219200000)

static hearth_auth *auth(void) {
    static hearth_auth *a;
    static hearth_virtual_clock v = {NOW, 0};
    hearth_auth_config c = {0};
    hearth_rng *rng = NULL;
    hearth_sign_keypair *ca = NULL;
    if (a) return a;
    if (hearth_rng_open(&rng, NULL, NULL) != HEARTH_OK) abort();
    if (hearth_sign_generate(&ca, rng, NULL, NULL) != HEARTH_OK) abort();
    hearth_rng_close(rng);
    c.db_path = ":memory:";
    c.keyset = (const uint8_t *)"k";
    c.keyset_n = 1;
    c.ca = ca;
    c.ca_pem = "";
    memset(c.cookie_key.bytes, 7, sizeof(c.cookie_key.bytes));
    c.clock = hearth_clock_virtual(&v);
    if (hearth_auth_open(&a, &c, NULL) != HEARTH_OK) abort();
    return a;
}

static void round_trip(const char *id) {
    char cookie[HEARTH_PROTO_COOKIE_CAP], back[HEARTH_PROTO_DEVICE_CAP];
    if (hearth_auth_cookie_new(auth(), id, NOW, cookie) != HEARTH_OK) return;
    if (hearth_auth_cookie_check(auth(), cookie, NOW, back) != HEARTH_OK)
        abort();
    if (strcmp(back, id) != 0) abort();
    size_t n = strlen(cookie);
    cookie[n / 2] = cookie[n / 2] == '0' ? '1' : '0';
    if (hearth_auth_cookie_check(auth(), cookie, NOW, back) == HEARTH_OK)
        abort();
    if (back[0]) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char text[300], id[HEARTH_PROTO_DEVICE_CAP];
    if (size >= sizeof(text)) return 0;
    if (size) memcpy(text, data, size);
    text[size] = '\0';
    if (text[0] == 'N') {
        round_trip(text + 1);
        return 0;
    }
    hearth_status st = hearth_auth_cookie_check(auth(), text, NOW, id);
    if (st == HEARTH_OK ? !id[0] : id[0] != 0) abort();
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz_server_config.c - any hearthd.ini: accepted with values in
 * range, or refused in words with nothing left. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/error.h"
#include "coordinator/server_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static hearth_server_config c, zero;
    hearth_error err = {HEARTH_OK, ""};
    hearth_status st = hearth_server_config_parse(
        &c, "dir/hearthd.ini", (const char *)data, size, NULL, &err);
    if (st != HEARTH_OK) {
        if (!err.text[0] || memcmp(&c, &zero, sizeof(c)) != 0) abort();
        return 0;
    }
    if (c.port < 0 || c.port > 65535 || !c.host[0]) abort();
    if (!c.state[0] || !c.tls_key[0] || !c.keyset[0]) abort();
    if (c.max_connections < 1 || c.certificate_days < 1) abort();
    if (c.retry.accepted_min_ms > c.retry.accepted_max_ms) abort();
    if (c.retry.refused_max_ms > HEARTH_PROTO_MAX_WINDOW) abort();
    if (c.idle_ms < 0 || c.cookie_ttl_ms < 0) abort();
    return 0;
}

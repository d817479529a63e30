/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz_model_config.c - any bytes in: an error, or a config whose
 * written form parses to the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client/model/model_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hearth_model_config a, b;
    hearth_buf out = HEARTH_BUF_INIT(NULL);
    hearth_error err = {HEARTH_OK, ""};
    hearth_status st = hearth_model_config_parse(&a, (const char *)data, size,
                                                 "input", NULL, &err);
    if (st != HEARTH_OK) {
        if (err.status != st || a.hidden_size) abort();
        return 0;
    }
    if (hearth_model_config_write(&a, &out) != HEARTH_OK) abort();
    if (hearth_model_config_parse(&b, hearth_buf_str(&out), out.n, "written",
                                  NULL, &err) != HEARTH_OK)
        abort();
    if (memcmp(&a, &b, sizeof(a)) != 0) abort();
    hearth_buf_free(&out);
    return 0;
}

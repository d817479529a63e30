/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz_safetensors.c - any bytes in: an error, or tensors that tile
 * the data and can be read and found. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const hearth_safetensors *st, const uint8_t *data,
                  size_t size) {
    uint64_t sum = 8 + hearth_load_le64(data);
    for (size_t i = 0; i < hearth_safetensors_count(st); i++) {
        const hearth_tensor *t = hearth_safetensors_at(st, i);
        float v[8];
        if (hearth_safetensors_find(st, t->name) != t) abort();
        if (t->data < data || t->data + t->n_bytes > data + size) abort();
        sum += t->n_bytes;
        for (uint64_t e = 0; e < t->n_elements && e < 64; e += 8) {
            size_t n = t->n_elements - e < 8 ? (size_t)(t->n_elements - e) : 8;
            hearth_status s = hearth_tensor_read_f32(t, e, n, v);
            if ((s == HEARTH_OK) != (t->dtype != HEARTH_DTYPE_OTHER)) abort();
        }
    }
    if (sum != size) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hearth_safetensors *st = NULL;
    hearth_error err = {HEARTH_OK, ""};
    hearth_status s =
        hearth_safetensors_open_bytes(&st, data, size, "input", NULL, &err);
    if (s == HEARTH_OK) check(st, data, size);
    if (s != HEARTH_OK && (st || err.status != s)) abort();
    hearth_safetensors_close(st);
    return 0;
}

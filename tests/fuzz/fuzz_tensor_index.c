/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz_tensor_index.c - any text as the index of a sharded model: an
 * error, or plain file names that every entry points at. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client/model/tensor_source.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
    size_t n, largest;
} counter;

static hearth_status count(void *ud, const char *tensor, size_t shard) {
    counter *c = ud;
    if (!tensor) abort();
    c->n++;
    if (shard > c->largest) c->largest = shard;
    return HEARTH_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hearth_tensor_index x;
    hearth_error err = {HEARTH_OK, ""};
    counter c = {0, 0};
    hearth_status st = hearth_tensor_index_parse(
        &x, (const char *)data, size, "input", count, &c, NULL, &err);
    if (st != HEARTH_OK && (x.shard || err.status != st)) abort();
    if (st == HEARTH_OK) {
        if (c.n != x.n_tensors || c.largest >= x.n_shards) abort();
        for (size_t i = 0; i < x.n_shards; i++) {
            if (strchr(x.shard[i], '/') || x.shard[i][0] == '.') abort();
            if (i && strcmp(x.shard[i - 1], x.shard[i]) >= 0) abort();
        }
    }
    hearth_tensor_index_free(&x, NULL);
    return 0;
}

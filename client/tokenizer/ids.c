/* SPDX-License-Identifier: Apache-2.0 */
/* client/tokenizer/ids.c - the contract is in ids.h. */
#include "client/tokenizer/ids.h"

#include <string.h>

#include "common/bytes.h"
#include "common/mem.h"

void hearth_ids_init(hearth_ids *ids, const hearth_alloc *al) {
    *ids = (hearth_ids){NULL, 0, 0, al};
}

void hearth_ids_clear(hearth_ids *ids) {
    ids->n = 0;
}

/* A new block and a wiped old one, instead of a resize: realloc would leave a
 * copy of the ids behind. */
static hearth_status grow(hearth_ids *ids) {
    size_t cap = ids->cap < 64 ? 64 : ids->cap * 2;
    int32_t *id;
    if (cap < ids->cap) return HEARTH_ENOMEM;
    id = hearth_mem_array(ids->al, cap, sizeof(*id));
    if (!id) return HEARTH_ENOMEM;
    if (ids->n) memcpy(id, ids->id, ids->n * sizeof(*id));
    if (ids->id) hearth_zeroize(ids->id, ids->cap * sizeof(*id));
    hearth_mem_free(ids->al, ids->id);
    ids->id = id;
    ids->cap = cap;
    return HEARTH_OK;
}

hearth_status hearth_ids_push(hearth_ids *ids, int32_t id) {
    if (ids->n == ids->cap) {
        hearth_status st = grow(ids);
        if (st != HEARTH_OK) return st;
    }
    ids->id[ids->n++] = id;
    return HEARTH_OK;
}

void hearth_ids_free(hearth_ids *ids) {
    if (!ids) return;
    if (ids->id) hearth_zeroize(ids->id, ids->cap * sizeof(*ids->id));
    hearth_mem_free(ids->al, ids->id);
    *ids = (hearth_ids){NULL, 0, 0, ids->al};
}

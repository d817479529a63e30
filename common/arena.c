/* SPDX-License-Identifier: Apache-2.0 */
/* common/arena.c - the contract is in arena.h. */
#include "common/arena.h"

#include <stdint.h>
#include <string.h>

#include "common/mem.h"

size_t hearth_arena_need(size_t n, size_t size) {
    size_t bytes, padded;
    if (!hearth_size_mul(n, size, &bytes)) return SIZE_MAX;
    if (!hearth_size_add(bytes, HEARTH_ARENA_ALIGN - 1, &padded))
        return SIZE_MAX;
    return padded / HEARTH_ARENA_ALIGN * HEARTH_ARENA_ALIGN;
}

hearth_status hearth_arena_init(hearth_arena *a, const hearth_alloc *al,
                                size_t n_bytes) {
    memset(a, 0, sizeof(*a));
    a->al = *hearth_mem_or_default(al);
    size_t size = hearth_arena_need(n_bytes, 1), total;
    if (!hearth_size_add(size, HEARTH_ARENA_ALIGN, &total))
        return HEARTH_ENOMEM;
    a->block = a->al.alloc(a->al.ud, total);
    if (!a->block) return HEARTH_ENOMEM;
    memset(a->block, 0, total); /* commits every page now */
    uintptr_t at = (uintptr_t)a->block, off = at % HEARTH_ARENA_ALIGN;
    a->base = (unsigned char *)a->block + (off ? HEARTH_ARENA_ALIGN - off : 0);
    a->size = size;
    return HEARTH_OK;
}

void *hearth_arena_take(hearth_arena *a, size_t n, size_t size) {
    size_t need = hearth_arena_need(n, size);
    if (need > a->size - a->used) return NULL;
    void *p = a->base + a->used;
    a->used += need;
    if (a->used > a->peak) a->peak = a->used;
    memset(p, 0, need);
    return p;
}

void hearth_arena_reset(hearth_arena *a, size_t mark) {
    if (mark <= a->used) a->used = mark;
}

void hearth_arena_free(hearth_arena *a) {
    if (a->block) a->al.free(a->al.ud, a->block);
    memset(a, 0, sizeof(*a));
}

/* SPDX-License-Identifier: Apache-2.0 */
/* common/arena.h - one block of memory, handed out front to back.
 *
 * One arena per lifetime (model, step): sized by a plan, committed at open,
 * reset instead of freed.
 *
 *     hearth_arena a;
 *     hearth_status st = hearth_arena_init(&a, al, plan_bytes);
 *     float *x = hearth_arena_take(&a, n, sizeof(*x));   // NULL: plan wrong
 *     hearth_arena_free(&a);
 *
 * Threads: one at a time.
 * Memory:  one block, touched at init so that later use cannot fail.
 */
#ifndef HEARTH_COMMON_ARENA_H
#define HEARTH_COMMON_ARENA_H

#include <stddef.h>

#include "common/alloc.h"
#include "common/status.h"

/* Every block starts on this boundary: a cache line, and AVX-512's vector. */
#define HEARTH_ARENA_ALIGN ((size_t)64)

typedef struct {
    unsigned char *base; /* aligned start */
    size_t size, used;   /* bytes; used is a multiple of HEARTH_ARENA_ALIGN */
    size_t peak;         /* largest used since init */
    void *block;         /* what the allocator gave */
    hearth_alloc al;
} hearth_arena;

/* Bytes that one take of n elements of size bytes uses, alignment included;
 * SIZE_MAX when it overflows.  A plan is a sum of these. */
size_t hearth_arena_need(size_t n, size_t size);

/* Reserve and touch n_bytes.  Returns HEARTH_OK or HEARTH_ENOMEM with an empty
 * arena. */
HEARTH_MUST_CHECK hearth_status hearth_arena_init(hearth_arena *a,
                                                  const hearth_alloc *al,
                                                  size_t n_bytes);

/* n elements of size bytes, zeroed.  NULL when the arena is full. */
void *hearth_arena_take(hearth_arena *a, size_t n, size_t size);

/* Forget every block since mark (0: all).  mark is an earlier a->used. */
void hearth_arena_reset(hearth_arena *a, size_t mark);

/* Give the memory back.  A zeroed arena is fine. */
void hearth_arena_free(hearth_arena *a);

#endif /* HEARTH_COMMON_ARENA_H */

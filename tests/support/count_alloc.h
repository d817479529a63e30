/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/count_alloc.h - an allocator that counts the bytes it holds.
 *
 *     hearth_count_alloc count = {0, 0};
 *     hearth_alloc al = hearth_count_alloc_init(&count);
 *     st = thing_open(&t, &al, NULL);
 *     assert_true(count.peak <= limit);
 *
 * Counts what was asked for, not what malloc adds.  Threads: one.
 */
#ifndef HEARTH_TESTS_COUNT_ALLOC_H
#define HEARTH_TESTS_COUNT_ALLOC_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "common/alloc.h"

typedef struct {
    size_t live, peak; /* bytes */
} hearth_count_alloc;

/* What stands before each block; the union aligns what follows it. */
typedef union {
    size_t n;
    max_align_t align;
} hearth_count_head;

static inline void *hearth_count_resize(void *ud, void *p, size_t n) {
    hearth_count_alloc *c = ud;
    hearth_count_head *h = p ? (hearth_count_head *)p - 1 : NULL;
    size_t had = h ? h->n : 0;
    if (n > SIZE_MAX - sizeof(*h) || !(h = realloc(h, n + sizeof(*h))))
        return NULL;
    h->n = n;
    c->live += n - had;
    /* Growing a block may take both at once. */
    if (c->live + had > c->peak) c->peak = c->live + had;
    return h + 1;
}

static inline void *hearth_count_new(void *ud, size_t n) {
    return hearth_count_resize(ud, NULL, n);
}

static inline void hearth_count_free(void *ud, void *p) {
    hearth_count_alloc *c = ud;
    if (!p) return;
    hearth_count_head *h = (hearth_count_head *)p - 1;
    c->live -= h->n;
    free(h);
}

/* A table over c, which must outlive it. */
static inline hearth_alloc hearth_count_alloc_init(hearth_count_alloc *c) {
    return (hearth_alloc){hearth_count_new, hearth_count_resize,
                          hearth_count_free, c};
}

#endif /* HEARTH_TESTS_COUNT_ALLOC_H */

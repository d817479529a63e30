/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/fail_alloc.h - an allocator that refuses the k-th call.
 *
 *     for (size_t k = 1;; k++) {
 *         hearth_fail_alloc fa;
 *         hearth_alloc al = hearth_fail_alloc_init(&fa, k);
 *         hearth_status st = thing_open(&t, &al, NULL);
 *         thing_close(t);
 *         assert_int_equal(fa.live, 0);          // nothing leaked
 *         if (st == HEARTH_OK) break;            // k was past the last call
 *         assert_int_equal(st, HEARTH_ENOMEM);
 *     }
 *
 * Threads: counters are atomic.
 */
#ifndef HEARTH_TESTS_FAIL_ALLOC_H
#define HEARTH_TESTS_FAIL_ALLOC_H

#include <stdatomic.h>
#include <stddef.h>

#include "common/alloc.h"

typedef struct {
    atomic_size_t calls; /* allocations asked for */
    size_t refuse;       /* number of the call to refuse, from 1; 0: none */
    atomic_long live;    /* blocks not freed yet */
} hearth_fail_alloc;

/* A table over fa, which must outlive it. */
hearth_alloc hearth_fail_alloc_init(hearth_fail_alloc *fa, size_t refuse);

#endif /* HEARTH_TESTS_FAIL_ALLOC_H */

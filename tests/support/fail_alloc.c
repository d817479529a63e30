/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/fail_alloc.c - the contract is in fail_alloc.h. */
#include "tests/support/fail_alloc.h"

#include <stdlib.h>

static void *fa_alloc(void *ud, size_t n) {
    hearth_fail_alloc *fa = ud;
    if (atomic_fetch_add(&fa->calls, 1) + 1 == fa->refuse) return NULL;
    void *p = malloc(n ? n : 1);
    if (p) atomic_fetch_add(&fa->live, 1);
    return p;
}

static void *fa_resize(void *ud, void *p, size_t n) {
    hearth_fail_alloc *fa = ud;
    if (!p) return fa_alloc(ud, n);
    if (atomic_fetch_add(&fa->calls, 1) + 1 == fa->refuse) return NULL;
    return realloc(p, n ? n : 1);
}

static void fa_free(void *ud, void *p) {
    hearth_fail_alloc *fa = ud;
    if (p) atomic_fetch_sub(&fa->live, 1);
    free(p);
}

hearth_alloc hearth_fail_alloc_init(hearth_fail_alloc *fa, size_t refuse) {
    atomic_init(&fa->calls, 0);
    atomic_init(&fa->live, 0);
    fa->refuse = refuse;
    return (hearth_alloc){fa_alloc, fa_resize, fa_free, fa};
}

/* SPDX-License-Identifier: Apache-2.0 */
/* common/mem.h - checked use of hearth_alloc.
 *
 *     float *v = hearth_mem_array(al, n, sizeof(*v));   // zeroed
 *     if (!v) return HEARTH_ENOMEM;
 *     ...
 *     hearth_mem_free(al, v);
 *
 * Every function takes al = NULL as "malloc, realloc, free".
 * Threads: as safe as the hooks.
 */
#ifndef HEARTH_COMMON_MEM_H
#define HEARTH_COMMON_MEM_H

#include <stdbool.h>
#include <stddef.h>

#include "common/alloc.h"

/* malloc, realloc, free.  Static; never NULL. */
const hearth_alloc *hearth_mem_default(void);

/* al itself, or the default when al is NULL. */
const hearth_alloc *hearth_mem_or_default(const hearth_alloc *al);

/* *out = a * b (or a + b).  False, with *out = SIZE_MAX, when it overflows. */
bool hearth_size_mul(size_t a, size_t b, size_t *out);
bool hearth_size_add(size_t a, size_t b, size_t *out);

/* n elements of size bytes, zeroed.  NULL when out of memory or n * size
 * overflows.  n == 0 gives a block of one byte, so NULL always means failure. */
void *hearth_mem_array(const hearth_alloc *al, size_t n, size_t size);

/* One zeroed block of n_bytes. */
void *hearth_mem_new(const hearth_alloc *al, size_t n_bytes);

/* Resize p (NULL: allocate) to n elements of size bytes; new bytes are not
 * set.  NULL on failure, with p still valid. */
void *hearth_mem_resize(const hearth_alloc *al, void *p, size_t n, size_t size);

/* Copy n bytes and add a NUL. */
char *hearth_mem_strndup(const hearth_alloc *al, const char *s, size_t n);
char *hearth_mem_strdup(const hearth_alloc *al, const char *s);

/* p may be NULL. */
void hearth_mem_free(const hearth_alloc *al, void *p);

#endif /* HEARTH_COMMON_MEM_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* common/alloc.h - the app's memory hooks; installed as hearth/alloc.h.
 *
 * Given at open, kept in the handle, never global.  SQLite, libcurl and
 * mbedTLS keep their own allocators.
 */
#ifndef HEARTH_COMMON_ALLOC_H
#define HEARTH_COMMON_ALLOC_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Any thread may call the hooks.  Blocks are aligned like malloc's; NULL means
 * out of memory.  Part of the ABI: this struct never grows. */
typedef struct {
    void *(*alloc)(void *ud, size_t n_bytes);
    void *(*resize)(void *ud, void *p, size_t n_bytes); /* p may be NULL */
    void (*free)(void *ud, void *p);                    /* p may be NULL */
    void *ud;
} hearth_alloc;

#ifdef __cplusplus
}
#endif

#endif /* HEARTH_COMMON_ALLOC_H */

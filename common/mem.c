/* SPDX-License-Identifier: Apache-2.0 */
/* common/mem.c - the contract is in mem.h. */
#include "common/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void *std_alloc(void *ud, size_t n_bytes) {
    (void)ud;
    return malloc(n_bytes ? n_bytes : 1);
}

static void *std_resize(void *ud, void *p, size_t n_bytes) {
    (void)ud;
    return realloc(p, n_bytes ? n_bytes : 1);
}

static void std_free(void *ud, void *p) {
    (void)ud;
    free(p);
}

const hearth_alloc *hearth_mem_default(void) {
    static const hearth_alloc std = {std_alloc, std_resize, std_free, NULL};
    return &std;
}

const hearth_alloc *hearth_mem_or_default(const hearth_alloc *al) {
    return al ? al : hearth_mem_default();
}

bool hearth_size_mul(size_t a, size_t b, size_t *out) {
    bool ok = b == 0 || a <= SIZE_MAX / b;
    *out = ok ? a * b : SIZE_MAX;
    return ok;
}

bool hearth_size_add(size_t a, size_t b, size_t *out) {
    bool ok = a <= SIZE_MAX - b;
    *out = ok ? a + b : SIZE_MAX;
    return ok;
}

void *hearth_mem_array(const hearth_alloc *al, size_t n, size_t size) {
    size_t bytes;
    if (!hearth_size_mul(n, size, &bytes)) return NULL;
    al = hearth_mem_or_default(al);
    void *p = al->alloc(al->ud, bytes ? bytes : 1);
    if (p) memset(p, 0, bytes);
    return p;
}

void *hearth_mem_new(const hearth_alloc *al, size_t n_bytes) {
    return hearth_mem_array(al, 1, n_bytes);
}

void *hearth_mem_resize(const hearth_alloc *al, void *p, size_t n,
                        size_t size) {
    size_t bytes;
    if (!hearth_size_mul(n, size, &bytes)) return NULL;
    al = hearth_mem_or_default(al);
    return al->resize(al->ud, p, bytes ? bytes : 1);
}

char *hearth_mem_strndup(const hearth_alloc *al, const char *s, size_t n) {
    size_t bytes;
    if (!hearth_size_add(n, 1, &bytes)) return NULL;
    char *p = hearth_mem_new(al, bytes);
    if (p && n) memcpy(p, s, n);
    return p;
}

char *hearth_mem_strdup(const hearth_alloc *al, const char *s) {
    return hearth_mem_strndup(al, s, strlen(s));
}

void hearth_mem_free(const hearth_alloc *al, void *p) {
    al = hearth_mem_or_default(al);
    al->free(al->ud, p);
}

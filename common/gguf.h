/* SPDX-License-Identifier: Apache-2.0 */
/* common/gguf.h - read GGUF files: settings and tensors.
 *
 *     hearth_gguf *g = NULL;
 *     if (hearth_gguf_open(&g, path, al, &err) != HEARTH_OK) ...
 *     uint64_t layers;
 *     st = hearth_gguf_u64(g, "llama.block_count", &layers);
 *     const hearth_gguf_tensor *t = hearth_gguf_find(g, "output_norm.weight");
 *     hearth_gguf_close(g);
 *
 * The file is mapped and nothing of it is trusted: counts are compared with
 * the bytes that are left before anything is reserved, names and keys are
 * unique, tensors lie inside the file, aligned and apart from each other.
 * Versions 2 and 3, little-endian.
 *
 * Threads: an open reader is immutable and may be shared.
 * Source:  GGUF, as in common/FORMATS.md.
 */
#ifndef HEARTH_COMMON_GGUF_H
#define HEARTH_COMMON_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/alloc.h"
#include "common/quant_blocks.h"
#include "common/status.h"

#define HEARTH_GGUF_MAX_TENSORS ((uint64_t)100000)
#define HEARTH_GGUF_MAX_KEYS    ((uint64_t)10000)
#define HEARTH_GGUF_MAX_NAME    ((uint64_t)255) /* bytes of a key or name */
#define HEARTH_GGUF_MAX_DIMS    4u
#define HEARTH_GGUF_ALIGNMENT   32u /* unless general.alignment says else */

/* Types of values, by the numbers of the format. */
typedef enum {
    HEARTH_GGUF_U8 = 0,
    HEARTH_GGUF_I8 = 1,
    HEARTH_GGUF_U16 = 2,
    HEARTH_GGUF_I16 = 3,
    HEARTH_GGUF_U32 = 4,
    HEARTH_GGUF_I32 = 5,
    HEARTH_GGUF_F32 = 6,
    HEARTH_GGUF_BOOL = 7,
    HEARTH_GGUF_STRING = 8,
    HEARTH_GGUF_ARRAY = 9,
    HEARTH_GGUF_U64 = 10,
    HEARTH_GGUF_I64 = 11,
    HEARTH_GGUF_F64 = 12
} hearth_gguf_type;

/* One tensor.  ne[0] runs fastest: the columns.  Belongs to the reader. */
typedef struct {
    const char *name;                  /* NUL-terminated */
    uint32_t n_dims;                   /* 1 .. 4 */
    uint64_t ne[HEARTH_GGUF_MAX_DIMS]; /* 1 beyond n_dims */
    hearth_quant_type type;
    const uint8_t *data; /* [n_bytes] aligned as the file says */
    uint64_t n_bytes;
} hearth_gguf_tensor;

typedef struct hearth_gguf hearth_gguf;

/* Map and check the file at path.  Errors leave *out NULL:
 * HEARTH_EFORMAT       the bytes break the format (err says where)
 * HEARTH_EUNSUPPORTED  another version or byte order, a tensor of a type that
 *                      is not read, by its name; arrays of arrays
 * HEARTH_ETOOBIG       a count or name above a limit of this header
 * HEARTH_ENOMEM, HEARTH_ENOTFOUND, HEARTH_EIO   the system's */
HEARTH_MUST_CHECK hearth_status hearth_gguf_open(hearth_gguf **out,
                                                 const char *path,
                                                 const hearth_alloc *al,
                                                 hearth_error *err);

/* As open, over n bytes in memory, which must outlive the reader.  `what`
 * names them in errors. */
HEARTH_MUST_CHECK hearth_status hearth_gguf_open_bytes(
    hearth_gguf **out, const uint8_t *bytes, size_t n, const char *what,
    const hearth_alloc *al, hearth_error *err);
void hearth_gguf_close(hearth_gguf *g); /* NULL is a no-op */

/* The mapped file [*n], borrowed; NULL when opened over bytes. */
const uint8_t *hearth_gguf_bytes(const hearth_gguf *g, size_t *n);

/* Tensors in the order of their names (bytewise). */
size_t hearth_gguf_count(const hearth_gguf *g);
const hearth_gguf_tensor *hearth_gguf_at(const hearth_gguf *g, size_t i);
const hearth_gguf_tensor *hearth_gguf_find(const hearth_gguf *g,
                                           const char *name); /* or NULL */

/* The value of a key, when it is there and of a fitting type: any integer type
 * that holds a number >= 0; any float or integer type; bool; string [*n]
 * (UTF-8 is not checked; borrowed, not NUL-terminated).
 * HEARTH_ENOTFOUND  no such key;  HEARTH_EMISMATCH  of another type
 * and the output is untouched. */
HEARTH_MUST_CHECK hearth_status hearth_gguf_u64(const hearth_gguf *g,
                                                const char *key, uint64_t *out);
HEARTH_MUST_CHECK hearth_status hearth_gguf_f64(const hearth_gguf *g,
                                                const char *key, double *out);
HEARTH_MUST_CHECK hearth_status hearth_gguf_bool(const hearth_gguf *g,
                                                 const char *key, bool *out);
HEARTH_MUST_CHECK hearth_status hearth_gguf_string(const hearth_gguf *g,
                                                   const char *key,
                                                   const char **out, size_t *n);

/* An array, read in order. */
typedef struct {
    hearth_gguf_type type; /* of its elements */
    uint64_t n, at;        /* elements in all, and read */
    const uint8_t *next;
} hearth_gguf_array;

/* HEARTH_ENOTFOUND, HEARTH_EMISMATCH (no array) as above. */
HEARTH_MUST_CHECK hearth_status hearth_gguf_array_open(const hearth_gguf *g,
                                                       const char *key,
                                                       hearth_gguf_array *out);

/* The next element as a number; false at the end or for strings. */
bool hearth_gguf_array_number(hearth_gguf_array *a, double *out);

/* The next string [*n], borrowed; false at the end or for numbers. */
bool hearth_gguf_array_string(hearth_gguf_array *a, const char **out,
                              size_t *n);

#endif /* HEARTH_COMMON_GGUF_H */

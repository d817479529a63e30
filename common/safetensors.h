/* SPDX-License-Identifier: Apache-2.0 */
/* common/safetensors.h - read and write safetensors files.
 *
 *     hearth_safetensors *st = NULL;
 *     if (hearth_safetensors_open(&st, path, al, &err) != HEARTH_OK) ...
 *     const hearth_tensor *t = hearth_safetensors_find(st, "model.norm.weight");
 *     hearth_tensor_read_f32(t, 0, t->n_elements, out);
 *     hearth_safetensors_close(st);
 *
 * Reading maps the file; nothing of it is trusted: the header is at most
 * HEARTH_SAFETENSORS_MAX_HEADER bytes, names are unique, tensors lie back to
 * back without gap or overlap and end exactly at the end of the file.  Tensor
 * bytes may be unaligned: never cast hearth_tensor.data.
 *
 * Threads: an open reader is immutable and may be shared; a writer belongs to
 * one thread.
 * Source:  safetensors format, as in common/FORMATS.md.
 */
#ifndef HEARTH_COMMON_SAFETENSORS_H
#define HEARTH_COMMON_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/alloc.h"
#include "common/status.h"

#define HEARTH_SAFETENSORS_MAX_HEADER  ((uint64_t)100000000) /* bytes */
#define HEARTH_SAFETENSORS_MAX_TENSORS ((size_t)100000)
#define HEARTH_SAFETENSORS_MAX_DIMS    8u
#define HEARTH_SAFETENSORS_MAX_NAME    255u /* bytes, without the NUL */

/* Element types of the format.  Only F32, F16 and BF16 can be read as numbers;
 * the others are listed so that their sizes can be checked. */
typedef enum {
    HEARTH_DTYPE_F32,
    HEARTH_DTYPE_F16,
    HEARTH_DTYPE_BF16,
    HEARTH_DTYPE_OTHER /* any other type of the format: carried, not read */
} hearth_dtype;

/* One tensor, row-major.  Everything in it belongs to the reader. */
typedef struct {
    const char *name; /* UTF-8, NUL-terminated */
    hearth_dtype dtype;
    uint32_t n_dims; /* 0: a scalar */
    uint64_t dim[HEARTH_SAFETENSORS_MAX_DIMS];
    uint64_t n_elements;
    const uint8_t *data; /* [n_bytes], perhaps unaligned, little-endian */
    uint64_t n_bytes;
} hearth_tensor;

typedef struct hearth_safetensors hearth_safetensors;
typedef struct hearth_safetensors_writer hearth_safetensors_writer;

/* Bytes of one element: 4 or 2; 0 for HEARTH_DTYPE_OTHER. */
size_t hearth_dtype_bytes(hearth_dtype t);

/* "F32", "F16", "BF16" or "other".  Static. */
const char *hearth_dtype_name(hearth_dtype t);

/* Map and check the file at path.  Errors leave *out NULL:
 * HEARTH_EFORMAT     the bytes break the format (err says which tensor)
 * HEARTH_ETOOBIG     header, tensor count or name above a limit here
 * HEARTH_ENOMEM, HEARTH_ENOTFOUND, HEARTH_EIO   the system's */
HEARTH_MUST_CHECK hearth_status
hearth_safetensors_open(hearth_safetensors **out, const char *path,
                        const hearth_alloc *al, hearth_error *err);

/* As open, over n bytes in memory, which must outlive the reader.  `what`
 * names them in errors. */
HEARTH_MUST_CHECK hearth_status hearth_safetensors_open_bytes(
    hearth_safetensors **out, const uint8_t *bytes, size_t n, const char *what,
    const hearth_alloc *al, hearth_error *err);

/* NULL is a no-op. */
void hearth_safetensors_close(hearth_safetensors *st);

/* The mapped file [*n], borrowed; NULL when opened over bytes. */
const uint8_t *hearth_safetensors_bytes(const hearth_safetensors *st,
                                        size_t *n);

/* Tensors in the order of their names (bytewise). */
size_t hearth_safetensors_count(const hearth_safetensors *st);
const hearth_tensor *hearth_safetensors_at(const hearth_safetensors *st,
                                           size_t i);

/* NULL when there is no such tensor. */
const hearth_tensor *hearth_safetensors_find(const hearth_safetensors *st,
                                             const char *name);

/* Value of a key of __metadata__, NUL-terminated; NULL when absent. */
const char *hearth_safetensors_metadata(const hearth_safetensors *st,
                                        const char *key);

/* Convert elements first .. first + n - 1 to float.  HEARTH_EINVAL when the
 * range is outside the tensor or the type is HEARTH_DTYPE_OTHER. */
HEARTH_MUST_CHECK hearth_status hearth_tensor_read_f32(const hearth_tensor *t,
                                                       uint64_t first, size_t n,
                                                       float *out);

/* n elements of little-endian bytes to floats.  Exact.  dtype not OTHER. */
void hearth_dtype_to_f32(hearth_dtype dtype, const uint8_t *bytes, size_t n,
                         float *out);

/* The reverse, rounded to nearest, ties to even; NaN stays NaN, what is too
 * large becomes infinite.  dtype not OTHER. */
void hearth_dtype_from_f32(hearth_dtype dtype, const float *x, size_t n,
                           uint8_t *bytes);

/* Writing: new, declare every tensor, write their bytes in that order in
 * pieces of any size, finish.  The file appears at path only at finish, by
 * rename; free before that removes what was written.
 *
 * Errors of all writer functions: HEARTH_EINVAL (duplicate name, a call out of
 * order, more or fewer bytes than declared), HEARTH_ETOOBIG, HEARTH_ENOMEM,
 * HEARTH_EIO, HEARTH_ENOSPACE.  After an error only free is useful. */
HEARTH_MUST_CHECK hearth_status
hearth_safetensors_writer_new(hearth_safetensors_writer **out, const char *path,
                              const hearth_alloc *al, hearth_error *err);
HEARTH_MUST_CHECK hearth_status hearth_safetensors_writer_metadata(
    hearth_safetensors_writer *w, const char *key, const char *value,
    hearth_error *err);
HEARTH_MUST_CHECK hearth_status hearth_safetensors_writer_declare(
    hearth_safetensors_writer *w, const char *name, hearth_dtype dtype,
    uint32_t n_dims, const uint64_t *dim, hearth_error *err);
HEARTH_MUST_CHECK hearth_status
hearth_safetensors_writer_write(hearth_safetensors_writer *w, const void *bytes,
                                size_t n, hearth_error *err);
/* n floats as F32 little-endian. */
HEARTH_MUST_CHECK hearth_status hearth_safetensors_writer_write_f32(
    hearth_safetensors_writer *w, const float *v, size_t n, hearth_error *err);
HEARTH_MUST_CHECK hearth_status hearth_safetensors_writer_finish(
    hearth_safetensors_writer *w, hearth_error *err);
void hearth_safetensors_writer_free(hearth_safetensors_writer *w);

#endif /* HEARTH_COMMON_SAFETENSORS_H */

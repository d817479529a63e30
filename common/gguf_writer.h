/* SPDX-License-Identifier: Apache-2.0 */
/* common/gguf_writer.h - write a GGUF file (version 3), tensor by tensor.
 *
 *     st = hearth_gguf_writer_new(&w, path, al, err);
 *     hearth_gguf_put_string(w, "general.architecture", "llama", 5);
 *     hearth_gguf_put_u32(w, "llama.block_count", 4);
 *     st = hearth_gguf_writer_declare(w, "output_norm.weight", F32, 1, ne, err);
 *     st = hearth_gguf_writer_write(w, bytes, n, err);   // in declared order
 *     st = hearth_gguf_writer_finish(w, err);            // the file appears
 *     hearth_gguf_writer_free(w);                        // without: none does
 *
 * Keys come before tensors, all tensors are declared before the first byte of
 * data.  Keys that do not fit memory are remembered and reported by finish.
 *
 * Threads: a writer belongs to one thread.
 * Memory:  keys and names; tensors stream.
 * Source:  GGUF, as in common/FORMATS.md.
 */
#ifndef HEARTH_COMMON_GGUF_WRITER_H
#define HEARTH_COMMON_GGUF_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/alloc.h"
#include "common/gguf.h"
#include "common/status.h"

typedef struct hearth_gguf_writer hearth_gguf_writer;

/* HEARTH_ENOTFOUND (no such folder), HEARTH_ENOMEM, HEARTH_EIO, and *out is
 * NULL. */
HEARTH_MUST_CHECK hearth_status hearth_gguf_writer_new(hearth_gguf_writer **out,
                                                       const char *path,
                                                       const hearth_alloc *al,
                                                       hearth_error *err);
/* NULL is a no-op.  An unfinished file is removed. */
void hearth_gguf_writer_free(hearth_gguf_writer *w);

/* Keys.  Each is given once. */
void hearth_gguf_put_u32(hearth_gguf_writer *w, const char *key, uint32_t v);
void hearth_gguf_put_f32(hearth_gguf_writer *w, const char *key, float v);
void hearth_gguf_put_bool(hearth_gguf_writer *w, const char *key, bool v);
void hearth_gguf_put_string(hearth_gguf_writer *w, const char *key,
                            const char *s, size_t n);

/* An array key of n elements, which follow by one call of _item each. */
void hearth_gguf_put_array(hearth_gguf_writer *w, const char *key,
                           hearth_gguf_type type, uint64_t n);
void hearth_gguf_item_i32(hearth_gguf_writer *w, int32_t v);
void hearth_gguf_item_f32(hearth_gguf_writer *w, float v);
void hearth_gguf_item_bool(hearth_gguf_writer *w, bool v);
void hearth_gguf_item_string(hearth_gguf_writer *w, const char *s, size_t n);

/* The next tensor: ne[0] runs fastest and is a multiple of the type's block.
 * HEARTH_EINVAL, HEARTH_ENOMEM. */
HEARTH_MUST_CHECK hearth_status hearth_gguf_writer_declare(
    hearth_gguf_writer *w, const char *name, hearth_quant_type type,
    uint32_t n_dims, const uint64_t *ne, hearth_error *err);

/* The next bytes of data; a tensor may come in pieces, none spans two.
 * HEARTH_EINVAL (more than declared), HEARTH_EIO, HEARTH_ENOSPACE. */
HEARTH_MUST_CHECK hearth_status hearth_gguf_writer_write(hearth_gguf_writer *w,
                                                         const void *bytes,
                                                         size_t n,
                                                         hearth_error *err);

/* The next floats of a tensor, encoded as its type; n is a multiple of its
 * block and at most 4096.  HEARTH_EUNSUPPORTED for types that are only read,
 * and for quantised types when a float is not finite. */
HEARTH_MUST_CHECK hearth_status hearth_gguf_writer_floats(hearth_gguf_writer *w,
                                                          const float *x,
                                                          size_t n,
                                                          hearth_error *err);

/* HEARTH_EINVAL when data is missing; else as write. */
HEARTH_MUST_CHECK hearth_status hearth_gguf_writer_finish(hearth_gguf_writer *w,
                                                          hearth_error *err);

#endif /* HEARTH_COMMON_GGUF_WRITER_H */

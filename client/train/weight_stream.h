/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/weight_stream.h - train a model that does not fit in memory.
 *
 *     st = hearth_weight_stream_open(&ws, model, n_workers, al, err);
 *     ... decoder with shape.stream = ws ...
 *     hearth_weight_stream_close(ws);
 *
 * The matrices of two layers are in memory at a time: while one computes, one
 * thread reads the next.  Rows of the embedding are read for the tokens of the
 * stream only, the head block by block, by whoever asks.  The file is read with
 * pread and the page cache is dropped behind, so what a run holds is what
 * hearth_weight_stream_bytes says (private) and a window of the file
 * (hearth_weight_stream_window).
 *
 * Views are those of the model but for where their bytes are, so results are
 * the same bytes as with mapped weights.
 *
 * Errors: a file that cannot be read, or that changed since it was opened
 * (size, time of last change), is remembered until the next _begin; what was
 * read meanwhile is zeros, and nothing made of it may be kept.
 *
 * Threads: _acquire, _release, _begin and _row belong to the thread of the
 *          decoder; _head is for the workers of its pool, each with its own
 *          number.
 * Memory:  everything at open.
 */
#ifndef HEARTH_CLIENT_TRAIN_WEIGHT_STREAM_H
#define HEARTH_CLIENT_TRAIN_WEIGHT_STREAM_H

#include <stddef.h>
#include <stdint.h>

#include "client/model/base_model.h"
#include "client/train/weight.h"
#include "common/alloc.h"
#include "common/error.h"
#include "common/status.h"

typedef struct hearth_weight_stream hearth_weight_stream;

#define HEARTH_WEIGHT_STREAM_NONE SIZE_MAX /* no such layer */
#define HEARTH_WEIGHT_STREAM_ROWS                                              \
    ((size_t)64) /* rows that are wanted before the first of them is read */

/* Bytes of the buffers: two layers, a block of the head a worker, a row of the
 * embedding; from shapes and stored types, nothing is read.  SIZE_MAX on
 * overflow. */
size_t hearth_weight_stream_bytes(const hearth_model *m, size_t n_workers);

/* Bytes of the file that are in memory for us at most beside the buffers: what
 * the thread asked the system to read ahead and has not copied yet, a block of
 * the head a worker and the next one, and HEARTH_WEIGHT_STREAM_ROWS rows.  They
 * are clean pages of the page cache: a memory limit of a control group counts
 * them, the process's resident set does not. */
size_t hearth_weight_stream_window(const hearth_model *m, size_t n_workers);

/* Bytes that one pass of a run reads, forward and back to layer `lowest`, of
 * n_tokens tokens, with the whole head `head_reads` times.  The two layers that
 * a pass leaves in memory are where the next one begins. */
uint64_t hearth_weight_stream_pass_bytes(const hearth_model *m, size_t lowest,
                                         size_t n_tokens, size_t head_reads);

/* Open the files of m, which is borrowed, and start the thread.
 * HEARTH_ENOMEM, HEARTH_EIO, HEARTH_ENOTFOUND, HEARTH_ETOOBIG (a path);
 * HEARTH_EFORMAT: a file has another size than when the model was opened. */
HEARTH_MUST_CHECK hearth_status hearth_weight_stream_open(
    hearth_weight_stream **out, const hearth_model *m, size_t n_workers,
    const hearth_alloc *al, hearth_error *err);
void hearth_weight_stream_close(hearth_weight_stream *s); /* NULL: no-op */

/* Let go what the page cache has of the files. */
void hearth_weight_stream_forget(const hearth_weight_stream *s);

/* The matrix of a target in a layer, NULL when the family has none: its bytes
 * are there between _acquire and _release only. */
const hearth_weight *hearth_weight_stream_view(const hearth_weight_stream *s,
                                               uint32_t target, size_t layer);

/* A new pass: forget the last one's error. */
void hearth_weight_stream_begin(hearth_weight_stream *s);

/* Wait for a layer and take it; at most one is taken at a time.  `next` is
 * what will be asked for after it, to be read meanwhile; HEARTH_WEIGHT_STREAM_NONE:
 * not known.  HEARTH_EIO or HEARTH_EMISMATCH (the file changed): nothing is
 * taken. */
HEARTH_MUST_CHECK hearth_status hearth_weight_stream_acquire(
    hearth_weight_stream *s, size_t layer, size_t next, hearth_error *err);
void hearth_weight_stream_release(hearth_weight_stream *s); /* none: no-op */

/* Row i of the embedding (HEARTH_TENSOR_EMBED) or of the positions
 * (HEARTH_TENSOR_POSITION) to out[cols]; zeros after an error.  _want asks the
 * system for it ahead, at most HEARTH_WEIGHT_STREAM_ROWS rows. */
void hearth_weight_stream_row_want(hearth_weight_stream *s,
                                   hearth_tensor_role role, size_t i);
void hearth_weight_stream_row(hearth_weight_stream *s, hearth_tensor_role role,
                              size_t i, hearth_real *out);

/* Stored bytes of rows first .. first + n - 1 of the head, in the worker's own
 * buffer until its next call; zeros after an error.  n is at most
 * HEARTH_WEIGHT_TILE_BYTES / sizeof(hearth_real) / columns. */
const unsigned char *hearth_weight_stream_head(hearth_weight_stream *s,
                                               size_t worker, size_t first,
                                               size_t n);

/* What went wrong since _begin: HEARTH_OK, HEARTH_EIO, HEARTH_EMISMATCH. */
HEARTH_MUST_CHECK hearth_status
hearth_weight_stream_check(hearth_weight_stream *s, hearth_error *err);

/* Bytes read from the files since open. */
uint64_t hearth_weight_stream_bytes_read(const hearth_weight_stream *s);

#endif /* HEARTH_CLIENT_TRAIN_WEIGHT_STREAM_H */

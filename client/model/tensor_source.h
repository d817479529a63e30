/* SPDX-License-Identifier: Apache-2.0 */
/* client/model/tensor_source.h - the tensors of a model folder, in one file or
 * in shards.
 *
 *     hearth_tensor_source *s = NULL;
 *     st = hearth_tensor_source_open(&s, "dir", al, err);
 *     const hearth_tensor *t = hearth_tensor_source_find(s, "model.norm.weight");
 *     hearth_tensor_source_close(s);
 *
 * A folder has model.safetensors, or model.safetensors.index.json and the
 * shards that its weight_map names.  Every file is mapped; nothing is copied.
 * The index is not trusted: shards are plain file names of the same folder,
 * and map and shards must name the same tensors, each once.
 *
 * Threads: immutable after open.
 * Source:  the index as Hugging Face writes it (common/FORMATS.md).
 */
#ifndef HEARTH_CLIENT_MODEL_TENSOR_SOURCE_H
#define HEARTH_CLIENT_MODEL_TENSOR_SOURCE_H

#include <stddef.h>

#include "common/alloc.h"
#include "common/safetensors.h"
#include "common/status.h"

#define HEARTH_TENSOR_SOURCE_MAX_SHARDS ((size_t)1024)
#define HEARTH_TENSOR_SOURCE_MAX_NAME   ((size_t)160) /* of a shard, with NUL */

typedef struct hearth_tensor_source hearth_tensor_source;

/* The parsed index: for the opener and for the fuzz target. */
typedef struct {
    size_t n_shards;
    char (*shard)[HEARTH_TENSOR_SOURCE_MAX_NAME]; /* [n_shards], sorted */
    size_t n_tensors;                             /* entries of weight_map */
} hearth_tensor_index;

/* Called for every entry of weight_map, in the file's order.  A status other
 * than HEARTH_OK ends the walk and is returned. */
typedef hearth_status (*hearth_tensor_index_fn)(void *ud, const char *tensor,
                                                size_t shard);

/* Parse n bytes of an index; `what` names them in errors.  First all shards
 * are listed, then fn (NULL: none) hears of each entry.
 * HEARTH_EFORMAT  not JSON, no weight_map, a shard that is no plain file name
 * HEARTH_ETOOBIG  more shards than above, a longer name;  HEARTH_ENOMEM
 * *out is zero on error; else free it. */
HEARTH_MUST_CHECK hearth_status
hearth_tensor_index_parse(hearth_tensor_index *out, const char *json, size_t n,
                          const char *what, hearth_tensor_index_fn fn, void *ud,
                          const hearth_alloc *al, hearth_error *err);
void hearth_tensor_index_free(hearth_tensor_index *x, const hearth_alloc *al);

/* Open the files of a folder.  Errors leave *out NULL: those of
 * hearth_safetensors_open and hearth_tensor_index_parse, and HEARTH_EFORMAT
 * when index and shards disagree. */
HEARTH_MUST_CHECK hearth_status
hearth_tensor_source_open(hearth_tensor_source **out, const char *dir,
                          const hearth_alloc *al, hearth_error *err);
void hearth_tensor_source_close(hearth_tensor_source *s); /* NULL: no-op */

/* The files, in the order of their names: bytes [*n] as they are mapped and the
 * name in the folder, both borrowed. */
size_t hearth_tensor_source_n_files(const hearth_tensor_source *s);
const uint8_t *hearth_tensor_source_file(const hearth_tensor_source *s,
                                         size_t i, size_t *n,
                                         const char **name);

/* All tensors, shard by shard in the order of names. */
size_t hearth_tensor_source_count(const hearth_tensor_source *s);
const hearth_tensor *hearth_tensor_source_at(const hearth_tensor_source *s,
                                             size_t i);

/* NULL when there is no such tensor. */
const hearth_tensor *hearth_tensor_source_find(const hearth_tensor_source *s,
                                               const char *name);

#endif /* HEARTH_CLIENT_MODEL_TENSOR_SOURCE_H */

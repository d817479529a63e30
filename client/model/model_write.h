/* SPDX-License-Identifier: Apache-2.0 */
/* client/model/model_write.h - what model_save and model_create share. */
#ifndef HEARTH_CLIENT_MODEL_MODEL_WRITE_H
#define HEARTH_CLIENT_MODEL_MODEL_WRITE_H

#include "client/model/base_model.h"
#include "common/safetensors.h"

/* Write tensor i, rows * cols floats, in any number of pieces. */
typedef hearth_status (*hearth_model__fill)(void *ud,
                                            hearth_safetensors_writer *w,
                                            size_t i,
                                            const hearth_model_tensor *t,
                                            hearth_error *err);

/* dir/model.safetensors, all tensors in canonical order, atomically. */
HEARTH_MUST_CHECK hearth_status hearth_model__write_tensors(
    const hearth_model_config *c, const char *dir, hearth_dtype dtype,
    hearth_model__fill fill, void *ud, const hearth_alloc *al,
    hearth_error *err);

/* dir/config.json. */
HEARTH_MUST_CHECK hearth_status
hearth_model__write_config(const hearth_model_config *c, const char *dir,
                           const hearth_alloc *al, hearth_error *err);

/* A copy of the file `from` as dir/name. */
HEARTH_MUST_CHECK hearth_status hearth_model__copy_file(const char *from,
                                                        const char *dir,
                                                        const char *name,
                                                        const hearth_alloc *al,
                                                        hearth_error *err);

/* The tokenizer's and other files of src_dir that travel with a model. */
HEARTH_MUST_CHECK hearth_status hearth_model__copy_sides(const char *src_dir,
                                                         const char *dir,
                                                         const hearth_alloc *al,
                                                         hearth_error *err);

#endif /* HEARTH_CLIENT_MODEL_MODEL_WRITE_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* client/model/gguf_sides.h - the tokenizer that a GGUF file brings along, as
 * the files of a Hugging Face folder.
 *
 * Threads: no shared state.
 * Memory:  the GGUF file mapped.
 */
#ifndef HEARTH_CLIENT_MODEL_GGUF_SIDES_H
#define HEARTH_CLIENT_MODEL_GGUF_SIDES_H

#include "common/alloc.h"
#include "common/status.h"

/* Write tokenizer.json, tokenizer_config.json and chat_template.jinja into dir
 * from the keys of model_convert.h, those that are there.  Nothing, and
 * HEARTH_OK, when path is a folder.  Errors as hearth_gguf_open and
 * hearth_file_write. */
HEARTH_MUST_CHECK hearth_status hearth_gguf_copy_sides(const char *path,
                                                       const char *dir,
                                                       const hearth_alloc *al,
                                                       hearth_error *err);

#endif /* HEARTH_CLIENT_MODEL_GGUF_SIDES_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* client/model/model_convert.h - write an opened model as a GGUF file that
 * llama.cpp and Hearth read.
 *
 *     st = hearth_model_convert(m, HEARTH_QUANT_Q8_0, "m.gguf", al, &err);
 *
 * Threads: the model is only read.
 * Memory:  one row of the widest tensor, and the header; tensors stream.
 */
#ifndef HEARTH_CLIENT_MODEL_MODEL_CONVERT_H
#define HEARTH_CLIENT_MODEL_MODEL_CONVERT_H

#include "client/model/base_model.h"
#include "common/gguf_writer.h"

/* Keys that hold files of the source folder, where it has them: GGUF's own for
 * tokenizer.json, and ours for tokenizer_config.json.  With them
 * hearth_tokenizer_open reads the GGUF file as it reads the folder; llama.cpp
 * reads tokenizer.ggml.* (convert_tokenizer.h), or for a tokenizer that GGUF
 * has no words for a file without a vocabulary. */
#define HEARTH_GGUF_KEY_TOKENIZER        "tokenizer.huggingface.json"
#define HEARTH_GGUF_KEY_TOKENIZER_CONFIG "hearth.tokenizer_config"
#define HEARTH_GGUF_KEY_CHAT_TEMPLATE    "tokenizer.chat_template"
#define HEARTH_GGUF_KEY_BASE_ID          "hearth.base_id" /* digest in hex */

/* Write m with every matrix as `type`: F32, F16, BF16, Q8_0 or Q4_0; matrices
 * whose rows are no multiple of the block become F16, vectors and position
 * tables stay F32.
 * HEARTH_EUNSUPPORTED  a type that is only read; a setting that GGUF cannot
 *                      say (sliding windows but Gemma's, another score scale)
 * HEARTH_ENOMEM, HEARTH_EIO, HEARTH_ENOSPACE */
HEARTH_MUST_CHECK hearth_status hearth_model_convert(const hearth_model *m,
                                                     hearth_quant_type type,
                                                     const char *out,
                                                     const hearth_alloc *al,
                                                     hearth_error *err);

#endif /* HEARTH_CLIENT_MODEL_MODEL_CONVERT_H */

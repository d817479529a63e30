/* SPDX-License-Identifier: Apache-2.0 */
/* client/tokenizer/tokenizer_source.h - tokenizers that are stored in other
 * forms, put into the words of a tokenizer.json: a GGUF file's vocabulary, a
 * folder's vocab.json and merges.txt.
 *
 * Memory: the text that is made is about twice the size of the vocabulary; it
 *         is the caller's, and is needed until it has been read.
 */
#ifndef HEARTH_TOKENIZER_TOKENIZER_SOURCE_H
#define HEARTH_TOKENIZER_TOKENIZER_SOURCE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"
#include "common/error.h"
#include "common/gguf.h"
#include "common/status.h"

/* Append a tokenizer.json to json and a tokenizer_config.json to config from
 * g's tokenizer.ggml.*; both have the same allocator.
 *
 * model "gpt2": byte-level BPE, split as tokenizer.ggml.pre says.  "llama":
 * SentencePiece; merges are made from the scores as transformers' converter
 * orders them.  Token types: control and unknown become special added tokens,
 * user defined ones added tokens.
 *
 * HEARTH_EUNSUPPORTED  no vocabulary, another model (bert, t5), an unknown pre:
 *                      by name, with the list of those that work
 * HEARTH_EFORMAT       lists of different lengths, text that is not UTF-8, an
 *                      id outside the vocabulary
 * HEARTH_ETOOBIG, HEARTH_ENOMEM */
HEARTH_MUST_CHECK
hearth_status hearth_tokenizer__of_gguf(const hearth_gguf *g, hearth_buf *json,
                                        hearth_buf *config, hearth_error *err);

/* Append a tokenizer.json made of vocab.json [n_vocab], merges.txt [n_merges]
 * and tokenizer_config.json [n_config].
 *
 * HEARTH_EUNSUPPORTED  the settings' tokenizer_class is neither GPT2Tokenizer
 *                      nor Qwen2Tokenizer (nor their Fast kinds)
 * HEARTH_EFORMAT       broken settings or merges
 * HEARTH_ENOMEM */
HEARTH_MUST_CHECK
hearth_status hearth_tokenizer__of_vocab(const char *vocab, size_t n_vocab,
                                         const char *merges, size_t n_merges,
                                         const char *config, size_t n_config,
                                         hearth_buf *json, hearth_error *err);

/* The pre_tokenizer's members of a GGUF's pre name, or NULL. */
typedef struct {
    const char *name, *normalizer, *pre_tokenizer;
    bool ignore_merges, add_bos;
} tokenizer_pre;
const tokenizer_pre *hearth_tokenizer__pre(const char *name, size_t n);

#endif /* HEARTH_TOKENIZER_TOKENIZER_SOURCE_H */

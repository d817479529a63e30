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

#include "client/tokenizer/tokenizer.h"
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

/* Texts of a folder's files; NULL where there is no such file. */
typedef struct {
    const char *vocab, *merges; /* vocab.json and merges.txt: never NULL */
    const char *config, *model; /* tokenizer_config.json, config.json */
    size_t n_vocab, n_merges, n_config, n_model; /* bytes */
    bool added_file; /* there is an added_tokens.json */
} tokenizer_vocab;

/* Append a tokenizer.json made of v to json.  Its rules are those of the
 * tokenizer_class of the settings, else of the model_type of config.json:
 * GPT2Tokenizer, Qwen2Tokenizer (and their Fast kinds), gpt2, qwen2, qwen3.
 *
 * HEARTH_EUNSUPPORTED  another class or none, settings that change ids, added
 *                      tokens that only added_tokens.json lists: by name, with
 *                      what to do
 * HEARTH_EFORMAT       broken settings or vocabulary
 * HEARTH_ENOMEM */
HEARTH_MUST_CHECK
hearth_status hearth_tokenizer__of_vocab(const tokenizer_vocab *v,
                                         hearth_buf *json, hearth_error *err);

/* Open folder dir, which has no tokenizer.json.  HEARTH_ENOTFOUND (err is left
 * as it was) without a vocab.json or tokenizer.model; HEARTH_EUNSUPPORTED for a
 * tokenizer.model by itself; else as of_vocab and hearth_tokenizer_parse. */
HEARTH_MUST_CHECK
hearth_status hearth_tokenizer__from_folder(hearth_tokenizer **out,
                                            const char *dir,
                                            const hearth_alloc *al,
                                            hearth_error *err);

/* The pre_tokenizer's members of a GGUF's pre name, or NULL. */
typedef struct {
    const char *name, *normalizer, *pre_tokenizer;
    bool ignore_merges, add_bos;
} tokenizer_pre;
const tokenizer_pre *hearth_tokenizer__pre(const char *name, size_t n);

#endif /* HEARTH_TOKENIZER_TOKENIZER_SOURCE_H */

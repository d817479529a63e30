/* SPDX-License-Identifier: Apache-2.0 */
/* client/model/convert_tokenizer.h - a tokenizer in GGUF's own words
 * (tokenizer.ggml.*), so that llama.cpp splits text as the folder does.
 *
 * Byte-level BPE becomes model "gpt2" with the `pre` name of its rule for
 * splitting (gpt-2, llama-bpe, qwen2, smollm); BPE with byte fallback becomes
 * "llama", where a token's score is minus the rank of the first merge that
 * makes it.
 *
 * Threads: pure functions but for the writer.
 * Memory:  about twice the text, while it runs.
 */
#ifndef HEARTH_CLIENT_MODEL_CONVERT_TOKENIZER_H
#define HEARTH_CLIENT_MODEL_CONVERT_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/gguf_writer.h"

/* Write the keys of the tokenizer.json text json [n] for a model of n_vocab
 * words; ids that no token has become unused ones.
 *
 *   done  whether GGUF can say this tokenizer.  false: it splits or
 *         normalises in a way that has no name there, or has more words than
 *         the model; no key was written.
 *
 * HEARTH_EFORMAT  not JSON, or a tokenizer.json of a wrong form
 * HEARTH_ENOMEM */
HEARTH_MUST_CHECK hearth_status hearth_convert_tokenizer_json(
    hearth_gguf_writer *w, const char *json, size_t n, uint32_t n_vocab,
    bool *done, const hearth_alloc *al, hearth_error *err);

/* Copy the keys of a tokenizer from one file to another. */
void hearth_convert_tokenizer_copy(hearth_gguf_writer *w, const hearth_gguf *g);

#endif /* HEARTH_CLIENT_MODEL_CONVERT_TOKENIZER_H */

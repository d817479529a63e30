/* SPDX-License-Identifier: Apache-2.0 */
/* client/tokenizer/tokenizer.h - text to token ids and back.
 *
 * Data flow:  records -> [tokenizer] -> train/dataset;  generate -> [pieces]
 *
 * Reads the tokenizer.json of a Hugging Face folder: model BPE, with byte
 * fallback (Llama 2, stories260K, Gemma) or byte-level (GPT-2 and ours).  What
 * a file asks for and this reader does not do exactly is an error that names
 * it; nothing is guessed.
 *
 * Understood:  normalizer     null, NFC, NFD, NFKC, NFKD, Lowercase, Strip,
 *                             Prepend, Replace (string, regex), Sequence
 *              pre_tokenizer  null, ByteLevel, Metaspace, Split (all
 *                             behaviors), Digits, Punctuation, Whitespace,
 *                             WhitespaceSplit, Sequence
 *              post_processor null, TemplateProcessing, ByteLevel, Sequence
 *              decoder        Replace (string), ByteFallback, Fuse, Strip,
 *                             ByteLevel, Metaspace, Sequence
 *              added_tokens   with lstrip, rstrip, single_word, normalized
 *
 *     hearth_tokenizer *t;
 *     hearth_ids ids;
 *     hearth_ids_init(&ids, NULL);
 *     st = hearth_tokenizer_open(&t, "model-dir", NULL, err);
 *     st = hearth_tokenizer_encode(t, "I slept well", 12, true, &ids, err);
 *
 * Threads: immutable after open; any number of threads may share one, each
 *          with its own hearth_ids.
 * Memory:  one arena of at most 1.5 times the file (sized by a first pass);
 *          the file itself is mapped only while it is being read.
 * Source:  merge order as in Sennrich et al., Neural Machine Translation of
 *          Rare Words with Subword Units, ACL 2016, arXiv:1508.07909; field
 *          meanings as in the tokenizers library's serialised form.
 */
#ifndef HEARTH_TOKENIZER_TOKENIZER_H
#define HEARTH_TOKENIZER_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/tokenizer/ids.h"
#include "common/alloc.h"
#include "common/buf.h"
#include "common/status.h"

#define HEARTH_TOKENIZER_MAX_FILE   ((size_t)64 << 20) /* bytes */
#define HEARTH_TOKENIZER_MAX_VOCAB  ((size_t)1 << 20)  /* highest id + 1 */
#define HEARTH_TOKENIZER_MAX_MERGES ((size_t)1 << 21)
#define HEARTH_TOKENIZER_MAX_PIECE  ((size_t)1024)     /* bytes of a token */
#define HEARTH_TOKENIZER_MAX_TEXT   ((size_t)16 << 20) /* bytes per encode */

typedef struct hearth_tokenizer hearth_tokenizer; /* immutable after open */

/* How to encode; or-ed together. */
enum {
    HEARTH_TOKENIZE_SPECIAL = 1,   /* add what the post-processor's template
                                     adds (BOS, EOS) */
    HEARTH_TOKENIZE_ADDED = 2,     /* recognise added tokens such as <|im_end|>
                                     in the text; never set it for text that a
                                     person or a peer wrote */
    HEARTH_TOKENIZE_CONTINUES = 4, /* the text goes on from earlier text: no
                                      Prepend at its start */
    HEARTH_TOKENIZE_LATER = 8 /* the text follows an added token: Prepend, but
                                 not what only the first text of all gets */
};

/* Open a tokenizer.json, the folder that holds one (or vocab.json and
 * merges.txt of a GPT-2 or Qwen2 tokenizer), or the vocabulary of a GGUF file
 * (a path that ends in ".gguf").
 *
 *   path  UTF-8.  Of a folder, tokenizer_config.json is read as well when it is
 *         there, for bos_token, eos_token and the chat template.
 *   out   the caller's: hearth_tokenizer_close.  NULL on failure.
 *
 * Returns HEARTH_OK
 *         HEARTH_EINVAL        out or path is NULL
 *         HEARTH_ENOTFOUND     no such file
 *         HEARTH_ETOOBIG       above a limit of this header
 *         HEARTH_EFORMAT       not JSON, a field is missing or of a wrong type,
 *                              a merge or template names an unknown token
 *         HEARTH_EUNSUPPORTED  asks for something this reader does not do
 *         HEARTH_ENOMEM, HEARTH_EIO
 */
HEARTH_MUST_CHECK
hearth_status hearth_tokenizer_open(hearth_tokenizer **out, const char *path,
                                    const hearth_alloc *al, hearth_error *err);

/* The same from memory: json [n_json] as in tokenizer.json, config [n_config]
 * as in tokenizer_config.json or NULL.  Both are read during the call only. */
HEARTH_MUST_CHECK
hearth_status hearth_tokenizer_parse(hearth_tokenizer **out, const char *json,
                                     size_t n_json, const char *config,
                                     size_t n_config, const hearth_alloc *al,
                                     hearth_error *err);

/* NULL is a no-op. */
void hearth_tokenizer_close(hearth_tokenizer *t);

/* Append the ids of text [n] to ids: SPECIAL when add_special, and ADDED.  This
 * is what other tools do by default; for private text, whose author must not
 * be able to write control tokens, use hearth_tokenizer_encode_with.
 *
 * Returns HEARTH_OK
 *         HEARTH_EINVAL   a NULL argument, or text that is not UTF-8
 *         HEARTH_ETOOBIG  above HEARTH_TOKENIZER_MAX_TEXT
 *         HEARTH_EFORMAT  a character is in no token, and the tokenizer has
 *                         neither byte fallback nor an unknown token
 *         HEARTH_ENOMEM
 * On failure ids keeps the length it had.
 */
HEARTH_MUST_CHECK
hearth_status hearth_tokenizer_encode(const hearth_tokenizer *t,
                                      const char *text, size_t n,
                                      bool add_special, hearth_ids *ids,
                                      hearth_error *err);

/* The same with flags HEARTH_TOKENIZE_*. */
HEARTH_MUST_CHECK
hearth_status hearth_tokenizer_encode_with(const hearth_tokenizer *t,
                                           const char *text, size_t n,
                                           unsigned flags, hearth_ids *ids,
                                           hearth_error *err);

/* Append the text of id [n] to out.  Tokens marked special are left out when
 * skip_special.  Byte tokens give their byte as it is: a sequence cut inside a
 * character gives bytes that are not UTF-8.
 *
 * Returns HEARTH_OK, HEARTH_EINVAL (NULL, or an id outside the vocabulary; out
 * keeps the length it had), HEARTH_ENOMEM. */
HEARTH_MUST_CHECK
hearth_status hearth_tokenizer_decode(const hearth_tokenizer *t,
                                      const int32_t *id, size_t n,
                                      bool skip_special, hearth_buf *out,
                                      hearth_error *err);

/* Append the bytes that one token adds to a text already begun (a leading
 * space stays): what a generator feeds its UTF-8 assembler with.  Errors as
 * above. */
HEARTH_MUST_CHECK
hearth_status hearth_tokenizer_piece(const hearth_tokenizer *t, int32_t id,
                                     hearth_buf *out, hearth_error *err);

/* Number of ids: the highest one + 1. */
size_t hearth_tokenizer_vocab_size(const hearth_tokenizer *t);

/* Id of a token by its text, exactly as tokenizer.json spells it; -1 if none. */
int32_t hearth_tokenizer_id(const hearth_tokenizer *t, const char *piece,
                            size_t n);

/* Ids of the begin, end and unknown tokens; -1 where there is none.  Begin and
 * end come from tokenizer_config.json, else from well-known names. */
int32_t hearth_tokenizer_bos(const hearth_tokenizer *t);
int32_t hearth_tokenizer_eos(const hearth_tokenizer *t);
int32_t hearth_tokenizer_unk(const hearth_tokenizer *t);

/* Whether id is an added token marked special. */
bool hearth_tokenizer_is_special(const hearth_tokenizer *t, int32_t id);

/* SHA-256 [32] over the bytes of tokenizer.json.  Borrowed from t. */
const uint8_t *hearth_tokenizer_digest(const hearth_tokenizer *t);

/* SHA-256 [32] of the model's own chat template (template_source.h), or NULL:
 * it has none.  Borrowed from t. */
const uint8_t *hearth_tokenizer_template_digest(const hearth_tokenizer *t);

/* Bytes of memory held, all of it. */
size_t hearth_tokenizer_bytes(const hearth_tokenizer *t);

#endif /* HEARTH_TOKENIZER_TOKENIZER_H */

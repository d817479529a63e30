/* SPDX-License-Identifier: Apache-2.0 */
/* client/infer/generate.h - text from a model, token by token.
 *
 *     hearth_generate_options o = HEARTH_GENERATE_OPTIONS_INIT;
 *     hearth_generator *g = NULL;
 *     hearth_generator_open(&g, model, adapter, tokenizer, 512, pool, kernels,
 *                           al, &err);
 *     hearth_generator_run(g, ids, n_ids, &o, on_text, ud, &result, &err);
 *     hearth_generator_close(g);
 *
 * temperature 0 is greedy: the first largest logit.  Otherwise, in this order:
 * repeat penalty, temperature, top-k, top-p, one Philox draw a token: the same
 * seed gives the same text.  Text reaches the callback in whole UTF-8
 * characters, and never a part of a stop string.
 *
 * Threads: a generator belongs to one thread; model and tokenizer are shared.
 * Memory:  planned at open; run allocates only for the text of one piece.
 */
#ifndef HEARTH_CLIENT_INFER_GENERATE_H
#define HEARTH_CLIENT_INFER_GENERATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/model/base_model.h"
#include "client/tokenizer/tokenizer.h"
#include "client/train/kernels.h"
#include "common/adapter.h"
#include "common/alloc.h"
#include "common/pool.h"
#include "common/status.h"

#define HEARTH_GENERATE_MAX_STOPS 16u
#define HEARTH_GENERATE_MAX_STOP  256u /* bytes of one stop string */

typedef struct hearth_generator hearth_generator;

typedef struct {
    size_t max_tokens;     /* new tokens at most */
    double temperature;    /* >= 0; 0: greedy */
    double top_p;          /* (0, 1]; 1: off */
    uint32_t top_k;        /* 0: off */
    double repeat_penalty; /* > 0; 1: off.  Divides positive, multiplies
                              negative logits of tokens in the window */
    size_t repeat_window;  /* last tokens looked at, prompt included; SIZE_MAX:
                              all of them, as transformers does */
    uint64_t seed;
    const char *const *stop; /* [n_stop] UTF-8, not empty */
    size_t n_stop;
    bool ignore_eos;
    const int32_t *end; /* [n_end] more tokens that end the text, beside the
                           model's own end tokens */
    size_t n_end;
} hearth_generate_options;

#define HEARTH_GENERATE_OPTIONS_INIT                                           \
    { 128, 0.0, 1.0, 0, 1.0, SIZE_MAX, 0, NULL, 0, false, NULL, 0 }

typedef enum {
    HEARTH_FINISH_LENGTH, /* max_tokens reached */
    HEARTH_FINISH_EOS,
    HEARTH_FINISH_STOP,    /* a stop string came up; it is not in the text */
    HEARTH_FINISH_CONTEXT, /* no position left */
    HEARTH_FINISH_CALLBACK /* the callback said stop */
} hearth_finish;

typedef struct {
    size_t n_prompt, n_tokens; /* tokens read, tokens made */
    hearth_finish finish;
} hearth_generate_result;

/* utf8 [n] is whole characters, not NUL-terminated.  Return false to stop. */
typedef bool (*hearth_generate_fn)(void *ud, const char *utf8, size_t n);

/* max_context: positions at most (prompt and text), 0: the model's maximum, at
 * most 4096.  adapter and tokenizer may be NULL (without a tokenizer there is
 * no text and stop strings are refused).  Everything given must outlive the generator.
 * Errors: those of hearth_decoder_plan, HEARTH_ENOMEM. */
HEARTH_MUST_CHECK hearth_status hearth_generator_open(
    hearth_generator **out, const hearth_model *model, hearth_adapter *adapter,
    const hearth_tokenizer *tokenizer, size_t max_context, hearth_pool *pool,
    const hearth_kernels *kernels, const hearth_alloc *al, hearth_error *err);
void hearth_generator_close(hearth_generator *g); /* NULL is a no-op */

/* Go on with another adapter (NULL: the base alone): the base is not read
 * again, the cached context is forgotten.  Memory grows only to what the
 * largest adapter so far needs.
 * HEARTH_EINVAL (an adapter of another model) and HEARTH_ENOMEM leave the
 * generator as it was. */
HEARTH_MUST_CHECK hearth_status hearth_generator_set_adapter(
    hearth_generator *g, hearth_adapter *adapter, hearth_error *err);

/* Forget the cached context: needed after the adapter's values changed. */
void hearth_generator_forget(hearth_generator *g);

/* Continue the prompt [n].  A prefix that the cache holds already is not
 * computed again.  on_text may be NULL.
 * HEARTH_EINVAL  options out of range, an empty prompt, an id out of range
 * HEARTH_ETOOBIG prompt longer than the context, too many or long stops
 * HEARTH_ENONFINITE  logits are not finite;  HEARTH_ENOMEM */
HEARTH_MUST_CHECK hearth_status hearth_generator_run(
    hearth_generator *g, const int32_t *prompt, size_t n,
    const hearth_generate_options *o, hearth_generate_fn on_text, void *ud,
    hearth_generate_result *out, hearth_error *err);

/* Ids of the last run: prompt, then new tokens.  Borrowed until the next. */
const int32_t *hearth_generator_tokens(const hearth_generator *g, size_t *n);

#endif /* HEARTH_CLIENT_INFER_GENERATE_H */

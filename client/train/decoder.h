/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/decoder.h - forward and backward of a decoder-only model.
 *
 *     hearth_decoder_shape s = {.model = m, .adapter = a,
 *                               .mode = HEARTH_DECODER_LORA,
 *                               .max_tokens = 512, .n_workers = 2};
 *     hearth_arena_init(&arena, al, hearth_decoder_bytes(&s));
 *     hearth_decoder_new(&dec, &s, pool, kernels, &arena, &err);
 *     hearth_decoder_zero_grad(dec);
 *     hearth_decoder_grad(dec, &stream, NULL, &loss);
 *     optimizer over hearth_decoder_params(dec) ...
 *
 * A decoder lives in its arena and ends with it; nothing is allocated after
 * new.  Nothing below the lowest adapter is differentiated, no gradient is made
 * for a frozen weight, and the head runs only at supervised positions, in
 * blocks: logits of a whole stream never exist in training.
 *
 * Numbers: the same build, kernels, plan and stream give the same bytes for
 * any number of workers.
 * Threads: a decoder belongs to one thread at a time; the model is shared.
 * Memory:  every buffer comes from the arena; hearth_decoder_bytes is exact.
 */
#ifndef HEARTH_CLIENT_TRAIN_DECODER_H
#define HEARTH_CLIENT_TRAIN_DECODER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/model/base_model.h"
#include "client/train/base_copy.h"
#include "client/train/kernels.h"
#include "client/train/params.h"
#include "client/train/real.h"
#include "client/train/stream.h"
#include "client/train/weight_stream.h"
#include "common/adapter.h"
#include "common/arena.h"
#include "common/pool.h"
#include "common/status.h"

#define HEARTH_DECODER_MAX_TOKENS ((size_t)1 << 22)
#define HEARTH_DECODER_ROWS       ((size_t)64) /* tokens of a row-wise tile */
#define HEARTH_DECODER_HEAD_ROWS  ((size_t)32) /* the fewest of head_rows */

typedef struct hearth_decoder hearth_decoder;

typedef enum {
    HEARTH_DECODER_INFER, /* loss, logits and cached generation only */
    HEARTH_DECODER_LORA,  /* gradients of the adapter */
    HEARTH_DECODER_FULL   /* gradients of every weight; no adapter */
} hearth_decoder_mode;

/* What is planned before memory.  Zero what is not used. */
typedef struct {
    const hearth_model *model; /* borrowed for the decoder's life */
    hearth_adapter *adapter;   /* borrowed too; NULL: none.  Training changes
                                  its values through hearth_decoder_params */
    hearth_decoder_mode mode;
    size_t max_tokens;  /* tokens of one stream, or of one extend */
    size_t max_context; /* positions of the key-value cache; 0: no cache */
    size_t n_workers;   /* >= hearth_pool_size of the pool used */
    bool dropout;       /* hearth_decoder_grad may be given dropout */
    size_t round_parts; /* pair_parts of the kernels: room to round a product's
                           input once; 0: none */
    size_t attention_parts; /* the same of their `attention`; 0: none */
    /* Less memory for more time; the gradients are the same bytes, but with
     * store_bf16. */
    size_t recompute; /* layers, from the lowest that is differentiated, that
                         keep only their input and run again in the backward
                         pass.  Never the last one: nothing overwrites what it
                         shares before it is differentiated */
    size_t keep_attention; /* of these, from the topmost down, that keep what
                              attention gives too, so that it is not run again */
    size_t mlp_rows;       /* tokens that the MLP handles at once, a multiple of
                         HEARTH_DECODER_ROWS; 0: all */
    bool store_bf16;  /* keep in bfloat16 what is not made again (but the last
                         layer, whose arrays are not overwritten): about half
                         the memory.  Wants kernels that compute in bfloat16 */
    bool small_tiles; /* attention goes back by tiles of fewer keys */
    size_t head_rows; /* supervised tokens that go through the head at once, a
                          multiple of HEARTH_DECODER_HEAD_ROWS; 0: the usual, 256
                          or fewer in a wide model.  More read the head fewer
                          times, in more memory */
    hearth_weight_stream *stream; /* borrowed: read the layers' weights as they
                                     are needed, for as many workers; NULL: use
                                     the mapped ones */
    const hearth_base_copy *base; /* borrowed: in place of the model's matrices
                                     where it has them; NULL: none.  Mode lora or
                                     infer, without a stream */
} hearth_decoder_shape;

/* Bytes by purpose; total is their sum and what the arena needs. */
typedef struct {
    size_t parameters;  /* full mode: the trained copy of the weights */
    size_t gradients;   /* of what is trained */
    size_t activations; /* kept from forward to backward */
    size_t scratch;     /* per-worker tiles, layer temporaries */
    size_t cache;       /* keys and values of generation */
    size_t tables;      /* rotary angles, norms, names, the handle */
    size_t total;
    size_t head_rows; /* not bytes: those of the shape, or the usual ones */
} hearth_decoder_sizes;

/* Total of hearth_decoder_plan; SIZE_MAX when the shape is not valid. */
size_t hearth_decoder_bytes(const hearth_decoder_shape *s);

/* Fill *out without allocating or reading a weight.
 * HEARTH_EINVAL  no model, no tokens or workers, rows not a multiple, an
 *                adapter in full mode, no adapter in LoRA mode, or one that
 *                does not fit the model (err names the module)
 * HEARTH_EUNSUPPORTED full mode of a model with quantised weights, or with a
 *                weight stream
 * HEARTH_ETOOBIG more than HEARTH_DECODER_MAX_TOKENS tokens, a cache longer
 *                than the model's max_positions, or a size overflow */
HEARTH_MUST_CHECK hearth_status
hearth_decoder_plan(const hearth_decoder_shape *s, hearth_decoder_sizes *out,
                    hearth_error *err);

/* Build a decoder in the arena.  pool NULL: everything inline.  Errors of
 * plan, and HEARTH_ENOMEM when the arena has less room than planned; *out is
 * then NULL. */
HEARTH_MUST_CHECK hearth_status hearth_decoder_new(
    hearth_decoder **out, const hearth_decoder_shape *s, hearth_pool *pool,
    const hearth_kernels *kernels, hearth_arena *arena, hearth_error *err);

/* What is trained: n_params 0 in infer mode.  Borrowed. */
const hearth_params *hearth_decoder_params(const hearth_decoder *dec);

/* All gradients to zero. */
void hearth_decoder_zero_grad(hearth_decoder *dec);

typedef struct {
    double loss_sum;       /* nats, over supervised tokens */
    uint64_t n_supervised; /* tokens with a label */
    uint64_t n_correct;    /* of them, where the largest logit is the label */
} hearth_loss;

/* Forward only.  doc_loss [n_docs], NULL or filled with the loss sum of each
 * document.
 * HEARTH_EINVAL  the stream breaks its contract (positions, token or label
 *                out of range, documents empty or out of order)
 * HEARTH_ETOOBIG more than max_tokens tokens, or a document longer than the
 *                model's max_positions
 * HEARTH_ENONFINITE the loss is not a finite number
 * HEARTH_EIO, HEARTH_EMISMATCH  the stream of weights failed
 * HEARTH_ECANCELLED  the gate said so */
HEARTH_MUST_CHECK hearth_status hearth_decoder_loss(hearth_decoder *dec,
                                                    const hearth_stream *s,
                                                    hearth_loss *out,
                                                    double *doc_loss,
                                                    hearth_error *err);

/* Dropout on the adapter's inputs.  A draw depends on seed, step, the record's
 * number (record_base + document index), layer, target and element only. */
typedef struct {
    float p; /* 0 <= p < 1 */
    uint64_t seed;
    uint32_t step;
    uint32_t record_base;
} hearth_dropout;

/* Forward and backward: adds the gradient of the SUM of token losses to the
 * gradient buffers.  dropout NULL: none.  Errors of hearth_decoder_loss, HEARTH_EINVAL
 * for dropout that was not planned, HEARTH_ESTATE in infer mode; after ENONFINITE the gradients are not to be
 * used. */
HEARTH_MUST_CHECK hearth_status hearth_decoder_grad(
    hearth_decoder *dec, const hearth_stream *s, const hearth_dropout *dropout,
    hearth_loss *out, hearth_error *err);

/* logits [n, vocab_size] of every position, into the caller's memory.  This and
 * _extend: HEARTH_EUNSUPPORTED with a weight stream. */
HEARTH_MUST_CHECK hearth_status hearth_decoder_logits(hearth_decoder *dec,
                                                      const hearth_stream *s,
                                                      hearth_real *logits,
                                                      hearth_error *err);

/* Asked between layers, forward and backward, and as often in the head, on the
 * thread of the call: a decoder does nothing until it returns.  False ends the pass with
 * HEARTH_ECANCELLED, and what it made is not to be used. */
typedef bool (*hearth_gate_fn)(void *ud);
void hearth_decoder_set_gate(hearth_decoder *dec, hearth_gate_fn fn, void *ud);

/* Generation: append n tokens (at most max_tokens) to the cached context and
 * give the logits [vocab_size] after the last one.  HEARTH_ESTATE without a
 * cache, HEARTH_ETOOBIG when the context is full; the context is then
 * unchanged. */
HEARTH_MUST_CHECK hearth_status hearth_decoder_extend(hearth_decoder *dec,
                                                      const int32_t *token,
                                                      size_t n,
                                                      hearth_real *logits,
                                                      hearth_error *err);

/* Tokens in the cached context, and cutting it back to n of them. */
size_t hearth_decoder_context(const hearth_decoder *dec);
void hearth_decoder_rewind(hearth_decoder *dec, size_t n);

#endif /* HEARTH_CLIENT_TRAIN_DECODER_H */

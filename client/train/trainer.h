/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/trainer.h - training, one micro-batch a call.
 *
 * The app decides when to go on: a tick does the forward and backward of one
 * micro-batch, and after the last of a step the optimizer too.  Between ticks
 * nothing runs and everything can be saved (checkpoint.h) or dropped.
 *
 *     st = hearth_trainer_plan(&plan, model, adapter, ds, &cfg, pool, err);
 *     st = hearth_trainer_open(&t, model, adapter, ds, &cfg, pool, al, err);
 *     do st = hearth_trainer_tick(t, &ev, err);
 *     while (st == HEARTH_OK && ev.kind != HEARTH_TRAIN_DONE);
 *     hearth_trainer_close(t);              // adapter holds the result
 *
 * Gradients are sums over supervised tokens; a step divides once by the number
 * of supervised tokens in all its micro-batches, so accumulation and packing
 * change nothing.
 *
 * Threads: one thread at a time; compute runs on pool.  The same bytes for any
 *          number of threads.
 * Memory:  planned and committed at _open (open_bytes of the plan); a tick
 *          allocates nothing.
 */
#ifndef HEARTH_TRAIN_TRAINER_H
#define HEARTH_TRAIN_TRAINER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/model/base_model.h"
#include "client/train/dataset.h"
#include "client/train/decoder.h"
#include "client/train/evaluate.h"
#include "client/train/memplan.h"
#include "client/train/train_config.h"
#include "common/adapter.h"
#include "common/alloc.h"
#include "common/error.h"
#include "common/pool.h"
#include "common/status.h"

typedef struct hearth_trainer hearth_trainer;

typedef enum {
    HEARTH_TRAIN_MICRO = 0, /* a micro-batch inside a step */
    HEARTH_TRAIN_STEP = 1,  /* a step is complete */
    HEARTH_TRAIN_DONE = 2   /* the last step of the run is complete */
} hearth_train_event_kind;

typedef struct {
    hearth_train_event_kind kind;
    uint64_t step, steps;  /* steps complete; of the run */
    uint64_t micro;        /* micro-batches of this run so far */
    double loss;           /* mean over supervised tokens of the step, nats;
                             of the micro-batch while kind is MICRO */
    double lr;             /* rate of the step */
    double grad_norm;      /* L2 norm of the mean gradient before clipping */
    uint64_t tokens;       /* tokens of the step so far, supervised or not */
    uint64_t supervised;   /* of those, supervised */
    uint64_t records;      /* records of the step so far */
    uint64_t total_tokens; /* of the run */
} hearth_train_event;

/* Name and count every buffer of a run; nothing is allocated or read.
 * adapter is NULL in mode full.
 * Of all ways to run the same steps (memplan.h, choice) the fastest that fits
 * cfg's budget is planned; without a budget the fastest of all.
 * Returns HEARTH_OK, HEARTH_EINVAL (cfg), HEARTH_EUNSUPPORTED (mode full with
 * streamed weights or a base type, a base type that hearth_base_copy_settle
 * refuses or with streamed weights, int8 without weights in Q8_0), or
 * HEARTH_ETOOBIG when the budget is too small for every way: err has the smallest that would do and the longest
 * record that this one has room for; *plan is the smallest plan. */
HEARTH_MUST_CHECK
hearth_status hearth_trainer_plan(hearth_memplan *plan,
                                  const hearth_model *model,
                                  const hearth_adapter *adapter,
                                  const hearth_dataset *ds,
                                  const hearth_train_config *cfg,
                                  hearth_pool *pool, hearth_error *err);

/* The same without a data set: for batch records of exactly seq tokens and
 * n_records of them. */
HEARTH_MUST_CHECK
hearth_status hearth_trainer_plan_sizes(hearth_memplan *plan,
                                        const hearth_model *model,
                                        const hearth_adapter *adapter,
                                        size_t n_records,
                                        const hearth_train_config *cfg,
                                        hearth_pool *pool, hearth_error *err);

/* The longest records, in tokens, that fit cfg's budget one by one; 0: not even
 * 8 tokens do. */
size_t hearth_trainer_longest_seq(const hearth_model *model,
                                  const hearth_adapter *adapter,
                                  size_t n_records,
                                  const hearth_train_config *cfg,
                                  const hearth_pool *pool);

/* Multiply-adds a second in products of n_tokens (of 256 at most) with the
 * model's weights, as cfg's runs compute them on the pool; a plan's choice.work
 * times the tokens over it is about the time that they take, where reading
 * choice.read_token times the tokens does not take longer.  Measured now, for
 * some 40 ms and a few MiB; 0: no memory, or no kernels.  Reads no weight. */
double hearth_trainer_speed(const hearth_model *model,
                            const hearth_train_config *cfg, size_t n_tokens,
                            hearth_pool *pool);

/* Plan, compare with the budget, commit the memory.  Everything given is
 * borrowed until _close; adapter is trained in place (mode lora); pool may be
 * NULL.
 * Returns as _plan, as hearth_weight_stream_open with streamed weights, as
 * hearth_base_copy_open with a copy of the base, or HEARTH_ENOMEM;
 * *out is NULL on failure. */
HEARTH_MUST_CHECK
hearth_status
hearth_trainer_open(hearth_trainer **out, const hearth_model *model,
                    hearth_adapter *adapter, const hearth_dataset *ds,
                    const hearth_train_config *cfg, hearth_pool *pool,
                    const hearth_alloc *al, hearth_error *err);

/* One pass: a micro-batch, a part of one or several, as the plan's
 * choice.micro_batch says.  After HEARTH_TRAIN_DONE: HEARTH_ESTATE.
 * HEARTH_ECANCELLED (the gate), HEARTH_EIO, HEARTH_EMISMATCH (the file of
 * streamed weights): the step in progress is dropped, with all its micro-batches;
 * the next tick begins it again, and the run is as if it never began.
 * HEARTH_ENONFINITE: loss or gradient became NaN or infinite; err names the
 * record's number and the step; values are those before the step, and every
 * later tick fails the same way. */
HEARTH_MUST_CHECK
hearth_status hearth_trainer_tick(hearth_trainer *t, hearth_train_event *ev,
                                  hearth_error *err);

/* Asked between layers of a tick, on its thread (decoder.h): may wait, and false
 * ends the tick with HEARTH_ECANCELLED.  NULL: none. */
void hearth_trainer_set_gate(hearth_trainer *t, hearth_gate_fn fn, void *ud);

/* Forget the step in progress: as before it began.  A no-op between steps. */
void hearth_trainer_drop_step(hearth_trainer *t);

/* Bytes of the base that were read; 0 with mapped weights. */
uint64_t hearth_trainer_bytes_read(const hearth_trainer *t);

/* Steps complete and tokens seen, e.g. after a checkpoint was loaded. */
void hearth_trainer_progress(const hearth_trainer *t, uint64_t *steps,
                             uint64_t *tokens);

/* What the caller of a run must remember beside its numbers: kept by _trainer,
 * written and read with checkpoints, never looked at here. */
typedef struct {
    double best_loss;   /* lowest validation loss; infinite: none yet */
    uint64_t bad_evals; /* evaluations in a row without a new best */
    bool has_best;      /* the values of best_loss have been saved */
} hearth_train_memo;
hearth_train_memo *hearth_trainer_memo(hearth_trainer *t);

/* Are all steps complete?  Then _tick is HEARTH_ESTATE. */
bool hearth_trainer_is_done(const hearth_trainer *t);

/* Evaluate the values as they are now, between steps, with the run's own
 * decoder (cfg->eval_tokens made room).  Errors as hearth_evaluate, and
 * HEARTH_ETOOBIG for a record longer than the room. */
HEARTH_MUST_CHECK
hearth_status hearth_trainer_evaluate(hearth_trainer *t,
                                      const hearth_dataset *ds,
                                      const hearth_evaluate_options *opt,
                                      hearth_eval_result *r, hearth_error *err);

/* The plan that _open committed, and the budget that it was made for, in bytes;
 * 0: none. */
const hearth_memplan *hearth_trainer_memplan(const hearth_trainer *t);
size_t hearth_trainer_budget(const hearth_trainer *t);

/* Mode full: write the trained model as a Hugging Face folder. */
HEARTH_MUST_CHECK
hearth_status hearth_trainer_save_model(const hearth_trainer *t,
                                        const char *dir, hearth_error *err);

void hearth_trainer_close(hearth_trainer *t);

#endif /* HEARTH_TRAIN_TRAINER_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/planner.h - of the plans that fit a budget, the fastest.
 *
 *   request -> [list the items of one choice] -> [search the choices] -> plan
 *
 * Every choice gives the same losses; what differs is what is kept from forward
 * to backward and what is done again.  Gradients are the same too, but where
 * --compute bf16 keeps activations in bfloat16.  Only trainer_plan.c and
 * planner.c are behind this; everybody else uses trainer.h.
 *
 * Threads: no shared state.   Memory: allocates nothing, reads no weight.
 */
#ifndef HEARTH_TRAIN_PLANNER_H
#define HEARTH_TRAIN_PLANNER_H

#include "client/model/base_model.h"
#include "client/train/dataset.h"
#include "client/train/memplan.h"
#include "client/train/train_config.h"
#include "common/adapter.h"
#include "common/error.h"
#include "common/pool.h"

/* What is asked for; all of it borrowed. */
typedef struct {
    const hearth_model *model;
    const hearth_adapter *adapter; /* NULL in mode full */
    const hearth_train_config *cfg;
    hearth_base_type base; /* cfg->base, settled for the model */
    const hearth_pool *pool;
    const hearth_dataset *ds; /* NULL: n_records of cfg->seq tokens */
    size_t n_records;
    size_t seq; /* cut longer records to so many tokens; 0: they are cut */
} hearth_plan_request;

/* trainer_plan.c: the items of one choice, whatever the budget.  Errors of
 * hearth_decoder_plan. */
HEARTH_MUST_CHECK
hearth_status hearth_planner__list(const hearth_plan_request *q,
                                   const hearth_memplan_choice *choice,
                                   hearth_memplan *out, hearth_error *err);

/* The fastest plan within q->cfg->memory_budget; without a budget the fastest
 * of all whose passes are micro-batches.  Within a budget a pass may be several
 * micro-batches of a step: mapped while they are short, streamed as many as
 * there are, to read each layer once for all of them.  With HEARTH_WEIGHTS_AUTO
 * a mapped plan that fits is taken before one with a copy of the base
 * (HEARTH_BASE_AUTO), and that before any streamed one: streaming reads the
 * model twice a pass, at a speed of the disk that nobody knows here, where
 * recomputing adds about a third.
 * HEARTH_ETOOBIG: none fits; *out is then the smallest, with the longest record
 * that the budget has room for. */
HEARTH_MUST_CHECK
hearth_status hearth_planner__search(const hearth_plan_request *q,
                                     hearth_memplan *out, hearth_error *err);

/* The longest records, in tokens, for which some plan fits; 0: not even 8. */
size_t hearth_planner__longest(const hearth_plan_request *q);

/* Fill micro_batches, passes, read_bytes, read_token and work from what was
 * chosen.  work: multiply-adds of one token, forward, backward and what is done
 * again; each visit of a weight costs as much as a few tokens, and each byte
 * read as its copying. */
void hearth_planner__estimate(const hearth_plan_request *q,
                              hearth_memplan_choice *choice);

/* What a choice costs, in multiply-adds of one token: its work, or reading at
 * 2 GB/s where that takes longer than an assumed processor computes. */
double hearth_planner__cost(const hearth_plan_request *q,
                            const hearth_memplan_choice *choice);

#endif /* HEARTH_TRAIN_PLANNER_H */

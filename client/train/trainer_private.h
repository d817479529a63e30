/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/trainer_private.h - the state that trainer, its plan and
 * checkpoints share.  Include it nowhere else. */
#ifndef HEARTH_TRAIN_TRAINER_PRIVATE_H
#define HEARTH_TRAIN_TRAINER_PRIVATE_H

#include "client/train/batch.h"
#include "client/train/decoder.h"
#include "client/train/optimizer.h"
#include "client/train/trainer.h"
#include "client/train/weight_stream.h"
#include "common/arena.h"

struct hearth_trainer {
    hearth_train_config cfg;
    const hearth_model *model;
    hearth_adapter *adapter; /* NULL in mode full */
    const hearth_dataset *ds;
    hearth_pool *pool;
    hearth_alloc al;
    hearth_memplan plan;
    hearth_arena arena; /* decoder, then the optimizer's moments */
    hearth_decoder *dec;
    hearth_weight_stream *stream; /* NULL: mapped weights */
    hearth_base_copy *base;       /* NULL: the base is as its file has it */
    size_t max_tokens;            /* of one stream through dec */
    const hearth_params *params;
    hearth_optimizer_span *span; /* [params->n_params] */
    hearth_optimizer opt;
    hearth_schedule schedule;
    hearth_batcher *batcher;

    uint64_t records_total; /* of the run */
    uint64_t step;          /* complete */
    uint64_t micro;
    uint64_t total_tokens;
    bool failed; /* a NaN was met */
    hearth_train_memo memo;

    /* The step in progress. */
    uint64_t step_records; /* taken so far; 0 between steps */
    uint64_t step_tokens, step_supervised;
    double step_loss; /* sum over supervised tokens */

    bool in_step;
    /* Where the run was when it began, to go back to. */
    uint64_t before_cursor, before_micro, before_tokens;
};

/* What is trained, in elements. */
size_t hearth_trainer__n_trained(const hearth_model *model,
                                 const hearth_adapter *adapter,
                                 const hearth_train_config *cfg);

/* What computes a run; NULL: bfloat16 where this build has none of it. */
const hearth_kernels *hearth_trainer__kernels(const hearth_train_config *cfg);

/* The decoder of a run over passes of at most max_tokens. */
hearth_decoder_shape hearth_trainer__shape(const hearth_model *model,
                                           hearth_adapter *adapter,
                                           const hearth_train_config *cfg,
                                           const hearth_memplan_choice *choice,
                                           size_t max_tokens,
                                           const hearth_pool *pool);

#endif /* HEARTH_TRAIN_TRAINER_PRIVATE_H */

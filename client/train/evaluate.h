/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/evaluate.h - how well a model predicts records.
 *
 *     st = hearth_evaluate(model, adapter, ds, NULL, pool, &r, al, err);
 *     r.loss;                                   // nats a supervised token
 *
 * Nothing here leaves the device: numbers that do go through delta/prepare.
 *
 * Threads: one call at a time on one pool; model and adapter are only read.
 * Memory:  one decoder in mode infer, freed before it returns.
 */
#ifndef HEARTH_TRAIN_EVALUATE_H
#define HEARTH_TRAIN_EVALUATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/model/base_model.h"
#include "client/train/dataset.h"
#include "common/adapter.h"
#include "common/alloc.h"
#include "common/error.h"
#include "common/pool.h"
#include "common/status.h"

typedef struct {
    size_t batch; /* records of one pass; 0 = 8 */
    bool reference_kernels;
    bool streamed; /* read the weights as they are needed (weight_stream.h) */
    bool (*stop)(void *ud); /* asked between passes; NULL = never */
    void (*progress)(void *ud, uint64_t done, uint64_t total); /* or NULL */
    void *ud;
} hearth_evaluate_options;

typedef struct {
    double loss;           /* mean over supervised tokens, nats */
    double perplexity;     /* exp(loss) */
    double token_accuracy; /* supervised tokens whose argmax is right */
    uint64_t tokens;       /* supervised tokens */
    uint64_t hits;         /* of those, right */
    uint64_t records;      /* records with a supervised token */
    uint64_t choices;      /* questions with choices */
    uint64_t choice_hits;  /* of those, the right choice has the largest
                              log-probability, summed over its tokens */
} hearth_eval_result;

/* Evaluate over every record of ds.  adapter and opt may be NULL.
 * Returns HEARTH_OK
 *         HEARTH_EINVAL      nothing supervised in ds
 *         HEARTH_ENONFINITE  a record's loss is NaN or infinite; err names it
 *         HEARTH_ECANCELLED  stop said so
 *         HEARTH_ENOMEM      *r is zero in every failure */
HEARTH_MUST_CHECK
hearth_status hearth_evaluate(const hearth_model *model,
                              const hearth_adapter *adapter,
                              const hearth_dataset *ds,
                              const hearth_evaluate_options *opt,
                              hearth_pool *pool, hearth_eval_result *r,
                              const hearth_alloc *al, hearth_error *err);

#endif /* HEARTH_TRAIN_EVALUATE_H */

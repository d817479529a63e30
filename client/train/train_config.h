/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/train_config.h - the settings of one training run.
 *
 * Threads: plain data.
 */
#ifndef HEARTH_TRAIN_TRAIN_CONFIG_H
#define HEARTH_TRAIN_TRAIN_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/train/base_type.h"
#include "client/train/schedule.h"
#include "common/error.h"
#include "common/status.h"

typedef enum { HEARTH_TRAIN_LORA = 0, HEARTH_TRAIN_FULL = 1 } hearth_train_mode;

/* Where the base's weights are, and what a memory budget bounds. */
typedef enum {
    HEARTH_WEIGHTS_MAPPED = 0, /* a mapped file; private memory alone */
    HEARTH_WEIGHTS_STREAMED,   /* read as they are needed; private memory and
                                  the window of the file.  Mode lora */
    HEARTH_WEIGHTS_AUTO,       /* with a budget: mapped when private memory and
                                  the whole file are within it, else streamed;
                                  mode full and no budget: mapped */
} hearth_train_weights;

/* Start from HEARTH_TRAIN_CONFIG_INIT. */
typedef struct {
    hearth_train_mode mode;
    uint64_t steps; /* optimizer steps; 0 = from epochs */
    double epochs;  /* used when steps is 0; > 0 */
    size_t batch;   /* records of a micro-batch */
    size_t accum;   /* micro-batches of a step */
    size_t seq;     /* tokens of a record at most (the data set was cut so) */
    double lr;      /* peak rate */
    hearth_schedule_kind schedule;
    uint64_t warmup; /* steps */
    double weight_decay;
    double clip_grad; /* L2 norm of the mean gradient; 0 = off */
    double beta1, beta2, eps;
    double dropout; /* on the input of LoRA A, in [0, 1) */
    bool shuffle, pack;
    uint64_t seed;
    size_t memory_budget; /* bytes of what `weights` says; 0 = no limit */
    bool reference_kernels;
    bool bf16; /* products of weights in bfloat16, sums in f32 */
    bool int8; /* with bf16, an experiment: forward products of layers' weights
                  in Q8_0 in 8 bits */
    hearth_train_weights weights;
    hearth_base_type base; /* anything but FILE: mode lora */
    size_t eval_tokens;    /* room for records of so many tokens, for
                           hearth_trainer_evaluate; 0: never called */
    size_t held_bytes; /* private memory of the caller that lasts as long as the
                           run and is planned with it */
} hearth_train_config;

#define HEARTH_TRAIN_CONFIG_INIT                                               \
    {                                                                          \
        .mode = HEARTH_TRAIN_LORA, .epochs = 1.0, .batch = 1, .accum = 1,      \
        .seq = 256, .lr = 2e-4, .schedule = HEARTH_SCHEDULE_CONSTANT,          \
        .clip_grad = 1.0, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8,           \
        .shuffle = true, .pack = true, .seed = 1,                              \
    }

/* Every field in its range?  HEARTH_OK, HEARTH_EINVAL with err naming the field
 * and its value, or HEARTH_EUNSUPPORTED for bf16 without the native kernels.  int8 asks more of
 * the model: see hearth_trainer_plan. */
HEARTH_MUST_CHECK
hearth_status hearth_train_config_check(const hearth_train_config *cfg,
                                        hearth_error *err);

/* Optimizer steps of the run over n_records records an epoch: cfg->steps, or
 * ceil(epochs * n_records / (batch * accum)), at least 1. */
uint64_t hearth_train_config_steps(const hearth_train_config *cfg,
                                   size_t n_records);

/* Records that the run takes in all; the last step of a run given in epochs
 * may hold fewer than batch * accum. */
uint64_t hearth_train_config_records(const hearth_train_config *cfg,
                                     size_t n_records);

#endif /* HEARTH_TRAIN_TRAIN_CONFIG_H */

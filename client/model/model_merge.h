/* SPDX-License-Identifier: Apache-2.0 */
/* client/model/model_merge.h - a model with an adapter worked into its weights.
 *
 *     st = hearth_model_merge(m, a, HEARTH_MERGE_AS_BASE, "out", al, &err);
 *
 * Each adapted weight becomes W + scale B A, summed in double and rounded once
 * to the type written; the others are copied.
 *
 * Threads: model and adapter are only read.
 * Memory:  tensors stream, a row at a time; a whole matrix where the format
 *          stores them transposed (GPT-2).
 */
#ifndef HEARTH_CLIENT_MODEL_MODEL_MERGE_H
#define HEARTH_CLIENT_MODEL_MODEL_MERGE_H

#include "client/model/base_model.h"
#include "common/adapter.h"
#include "common/alloc.h"
#include "common/status.h"

/* Type of the tensors written. */
typedef enum {
    HEARTH_MERGE_AS_BASE, /* each as in the base; F32 where it is quantised */
    HEARTH_MERGE_F32,
    HEARTH_MERGE_F16,
    HEARTH_MERGE_BF16
} hearth_merge_type;

/* Write a Hugging Face folder: config.json, model.safetensors, and the
 * tokenizer files of the base's folder, or those inside its GGUF file.
 *
 * HEARTH_EEXISTS    out_dir has a model.safetensors already
 * HEARTH_EMISMATCH  the adapter is of another model
 * HEARTH_ENONFINITE a merged weight is NaN or above what its type holds
 * HEARTH_ENOMEM, HEARTH_EIO, HEARTH_ENOSPACE; model.safetensors appears only
 * when it is complete. */
HEARTH_MUST_CHECK hearth_status hearth_model_merge(
    const hearth_model *m, const hearth_adapter *a, hearth_merge_type type,
    const char *out_dir, const hearth_alloc *al, hearth_error *err);

#endif /* HEARTH_CLIENT_MODEL_MODEL_MERGE_H */

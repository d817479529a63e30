/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/params.h - what is trained, as an ordered list of spans.
 *
 * The decoder fills it; the optimizer walks it.  Order: LoRA in the canonical
 * flat order of common/adapter.h (A is left out under freeze-a); full mode in
 * the canonical tensor order of client/model/base_model.h.
 */
#ifndef HEARTH_CLIENT_TRAIN_PARAMS_H
#define HEARTH_CLIENT_TRAIN_PARAMS_H

#include <stdbool.h>
#include <stddef.h>

#include "client/train/real.h"

/* One tensor.  value is what the next forward pass reads: write it in place. */
typedef struct {
    const char *name;   /* "model.layers.0.self_attn.q_proj.lora_A.weight" */
    hearth_real *value; /* [n] row-major */
    hearth_real *grad;  /* [n] accumulated by hearth_decoder_grad */
    size_t n;
    bool decay; /* weight decay applies: false for norm weights */
} hearth_param;

typedef struct {
    size_t n_params;
    hearth_param *param; /* [n_params] */
    size_t n_elements;   /* sum of param[].n */
} hearth_params;

#endif /* HEARTH_CLIENT_TRAIN_PARAMS_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/evaluate_private.h - evaluation with a decoder that is there
 * already: the trainer's, so that a validation needs no second one. */
#ifndef HEARTH_TRAIN_EVALUATE_PRIVATE_H
#define HEARTH_TRAIN_EVALUATE_PRIVATE_H

#include "client/train/decoder.h"
#include "client/train/evaluate.h"

/* As hearth_evaluate, in streams of at most max_tokens.  HEARTH_ETOOBIG when a
 * record is longer than that. */
HEARTH_MUST_CHECK
hearth_status hearth_evaluate__with(hearth_decoder *dec, size_t max_tokens,
                                    const hearth_dataset *ds,
                                    const hearth_evaluate_options *opt,
                                    hearth_eval_result *r,
                                    const hearth_alloc *al, hearth_error *err);

#endif /* HEARTH_TRAIN_EVALUATE_PRIVATE_H */

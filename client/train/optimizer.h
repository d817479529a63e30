/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/optimizer.h - AdamW with decoupled weight decay.
 *
 * For every element, step t counted from 1, g the mean gradient:
 *
 *   w -= lr * weight_decay * w
 *   m  = beta1 m + (1 - beta1) g        v = beta2 v + (1 - beta2) g^2
 *   w -= lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
 *
 * The order of the operations is PyTorch's (torch.optim.AdamW, foreach off),
 * so curves agree to rounding.  Elements do not touch each other: the result
 * is the same for any number of threads.
 *
 * Threads: one call at a time on one optimizer; the work is cut over pool.
 * Memory:  m and v are the caller's (hearth_optimizer_bytes).
 * Source:  Loshchilov and Hutter, Decoupled Weight Decay Regularization,
 *          ICLR 2019, arXiv:1711.05101, algorithm 2.
 */
#ifndef HEARTH_TRAIN_OPTIMIZER_H
#define HEARTH_TRAIN_OPTIMIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/pool.h"
#include "common/status.h"

typedef struct {
    double beta1, beta2; /* in [0, 1) */
    double eps;          /* > 0 */
    double weight_decay; /* >= 0 */
} hearth_adamw_config;

#define HEARTH_ADAMW_CONFIG_INIT                                               \
    { 0.9, 0.999, 1e-8, 0.0 }

/* One run of trained values with its gradient; all borrowed. */
typedef struct {
    float *value;      /* [n] */
    const float *grad; /* [n] */
    size_t n;
    bool decay; /* weight decay applies */
} hearth_optimizer_span;

typedef struct {
    hearth_adamw_config cfg;
    float *m, *v; /* [n]: first and second moments, over all spans in order */
    size_t n;
    uint64_t t; /* steps taken */
} hearth_optimizer;

/* Bytes of m and v together for n trained values; SIZE_MAX on overflow. */
size_t hearth_optimizer_bytes(size_t n);

/* Start at step 0 with zero moments.  m and v have room for n floats each.
 * Returns HEARTH_OK or HEARTH_EINVAL. */
HEARTH_MUST_CHECK
hearth_status hearth_optimizer_init(hearth_optimizer *o,
                                    const hearth_adamw_config *cfg, float *m,
                                    float *v, size_t n);

/* L2 norm of all gradients, times scale: summed in double in one fixed order
 * (blocks of 4096, then block by block), whatever the pool. */
double hearth_optimizer_grad_norm(const hearth_optimizer_span *spans,
                                  size_t n_spans, double scale);

/* The factor that brings norm down to at most max_norm: PyTorch's
 * min(1, max_norm / (norm + 1e-6)); 1 when max_norm is 0 (no clipping). */
double hearth_optimizer_clip_factor(double norm, double max_norm);

/* One step.  The gradient used is float(grad * grad_scale); grad itself stays.
 *
 *   spans  [n_spans]  the same in every call; their lengths sum to o->n
 *   lr     finite, >= 0
 *   pool   NULL = on this thread
 *
 * Returns HEARTH_OK, or HEARTH_EINVAL with nothing changed. */
HEARTH_MUST_CHECK
hearth_status hearth_optimizer_step(hearth_optimizer *o,
                                    const hearth_optimizer_span *spans,
                                    size_t n_spans, double lr,
                                    double grad_scale, hearth_pool *pool);

#endif /* HEARTH_TRAIN_OPTIMIZER_H */

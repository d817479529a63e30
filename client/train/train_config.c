/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/train_config.c - ranges of the settings, and how long a run is.
 */
#include "client/train/train_config.h"

#include <math.h>

#include "client/train/decoder.h"
#include "client/train/kernels.h"

static hearth_status bad(hearth_error *err, const char *field, double value,
                         const char *range) {
    return hearth_error_set(err, HEARTH_EINVAL, "--%s %g is not %s", field,
                            value, range);
}

/* NaN fails every comparison, so the tests are written to be true when good. */
static hearth_status check_rates(const hearth_train_config *c,
                                 hearth_error *err) {
    if (!(c->lr >= 0.0 && c->lr <= 1e3))
        return bad(err, "lr", c->lr, "a rate from 0 to 1000");
    if (!(c->weight_decay >= 0.0 && c->weight_decay <= 1e3))
        return bad(err, "weight-decay", c->weight_decay, "from 0 to 1000");
    if (!(c->clip_grad >= 0.0 && isfinite(c->clip_grad)))
        return bad(err, "clip-grad", c->clip_grad, "0 (off) or a norm");
    if (!(c->dropout >= 0.0 && c->dropout < 1.0))
        return bad(err, "dropout", c->dropout, "from 0 to below 1");
    if (!(c->beta1 >= 0.0 && c->beta1 < 1.0))
        return bad(err, "beta1", c->beta1, "from 0 to below 1");
    if (!(c->beta2 >= 0.0 && c->beta2 < 1.0))
        return bad(err, "beta2", c->beta2, "from 0 to below 1");
    if (!(c->eps > 0.0 && isfinite(c->eps)))
        return bad(err, "eps", c->eps, "above 0");
    if (c->mode == HEARTH_TRAIN_FULL && c->dropout > 0.0)
        return bad(err, "dropout", c->dropout, "for --mode full");
    return HEARTH_OK;
}

hearth_status hearth_train_config_check(const hearth_train_config *c,
                                        hearth_error *err) {
    if (!c) return HEARTH_EINVAL;
    if (c->mode != HEARTH_TRAIN_LORA && c->mode != HEARTH_TRAIN_FULL)
        return bad(err, "mode", (double)c->mode, "lora or full");
    if (c->steps > UINT32_MAX)
        return bad(err, "steps", (double)c->steps, "below 2^32");
    if (c->steps == 0 && !(c->epochs > 0.0 && c->epochs <= 1e6))
        return bad(err, "epochs", c->epochs, "above 0, to 1000000");
    if (c->batch < 1 || c->batch > HEARTH_DECODER_MAX_TOKENS)
        return bad(err, "batch", (double)c->batch, "from 1 to 4194304");
    if (c->accum < 1 || c->accum > HEARTH_DECODER_MAX_TOKENS)
        return bad(err, "accum", (double)c->accum, "from 1 to 4194304");
    if (c->seq < 2 || c->seq > HEARTH_DECODER_MAX_TOKENS)
        return bad(err, "seq", (double)c->seq, "from 2 to 4194304");
    if ((unsigned)c->schedule > (unsigned)HEARTH_SCHEDULE_COSINE)
        return bad(err, "schedule", (double)c->schedule,
                   "constant, linear or cosine");
    if (c->bf16 && (c->reference_kernels || !hearth_kernels_bf16()))
        return hearth_error_set(err, HEARTH_EUNSUPPORTED,
                                "bfloat16 needs the native kernels; use "
                                "--compute f32, or --kernels auto");
    if (c->int8 && !c->bf16)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "int8 is a kind of bf16; set both");
    if ((unsigned)c->base > (unsigned)HEARTH_BASE_Q4_0)
        return bad(err, "base-type", (double)c->base,
                   "file, auto, f32, f16, bf16, q8_0 or q4_0");
    if (c->base != HEARTH_BASE_FILE && c->mode == HEARTH_TRAIN_FULL)
        return hearth_error_set(err, HEARTH_EUNSUPPORTED,
                                "full fine-tuning trains the weights of the "
                                "file; leave --base-type out, or train LoRA");
    return check_rates(c, err);
}

uint64_t hearth_train_config_records(const hearth_train_config *c,
                                     size_t n_records) {
    uint64_t per_step = (uint64_t)c->batch * c->accum;
    if (c->steps) return c->steps * per_step;
    double n = ceil(c->epochs * (double)n_records);
    return n < 1.0 ? 1 : (uint64_t)n;
}

uint64_t hearth_train_config_steps(const hearth_train_config *c,
                                   size_t n_records) {
    uint64_t per_step = (uint64_t)c->batch * c->accum;
    if (c->steps) return c->steps;
    return (hearth_train_config_records(c, n_records) - 1) / per_step + 1;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/decoder_bind.c - weights, adapters and tables of a decoder. */
#include <stdio.h>
#include <string.h>

#include "client/train/decoder_private.h"
#include "common/refmath.h"

/* Angles position * speed, in double whatever hearth_real is. */
static void fill_rotary(hearth_decoder *d) {
    uint32_t half = d->c->head_dim / 2;
    for (uint32_t i = 0; i < half; i++) {
        double speed = hearth_model_config_rope_speed(d->c, i);
        for (size_t p = 0; p < d->n_positions; p++) {
            double angle = (double)p * speed;
            d->cos[p * half + i] = (hearth_real)hearth_ref_cos(angle);
            d->sin[p * half + i] = (hearth_real)hearth_ref_sin(angle);
        }
    }
}

/* Frozen weights: views of the model, and converted norms. */
static void bind_frozen(hearth_decoder *d) {
    size_t width = d->c->hidden_size;
    for (uint32_t l = 0; l < d->c->n_layers; l++) {
        hearth_layer *layer = &d->layer[l];
        for (int t = 0; t < HEARTH_TARGET_COUNT; t++)
            layer->w[t] =
                hearth_model_weight(d->model, (hearth_tensor_role)t, l);
        layer->norm_attn = d->norm + (size_t)2 * l * width;
        layer->norm_mlp = layer->norm_attn + width;
        hearth_weight_copy(
            hearth_model_weight(d->model, HEARTH_TENSOR_NORM_ATTN, l),
            layer->norm_attn);
        hearth_weight_copy(
            hearth_model_weight(d->model, HEARTH_TENSOR_NORM_MLP, l),
            layer->norm_mlp);
    }
    d->norm_final = d->norm + (size_t)2 * d->c->n_layers * width;
    hearth_weight_copy(
        hearth_model_weight(d->model, HEARTH_TENSOR_NORM_FINAL, 0),
        d->norm_final);
    d->embed = hearth_model_weight(d->model, HEARTH_TENSOR_EMBED, 0);
    d->head = hearth_model_weight(d->model, HEARTH_TENSOR_HEAD, 0);
}

/* Full mode: where a trained tensor and its gradient are used. */
static void bind_tensor(hearth_decoder *d, const hearth_model_tensor *t,
                        const hearth_weight *w, hearth_real *value,
                        hearth_real *grad) {
    hearth_layer *layer = &d->layer[t->layer];
    switch (t->role) {
    case HEARTH_TENSOR_EMBED:
        d->embed = w;
        d->grad_embed = grad;
        if (d->c->tied) d->head = w, d->grad_head = grad;
        return;
    case HEARTH_TENSOR_HEAD:
        d->head = w;
        d->grad_head = grad;
        return;
    case HEARTH_TENSOR_NORM_FINAL:
        d->norm_final = value;
        d->grad_norm_final = grad;
        return;
    case HEARTH_TENSOR_NORM_ATTN:
        layer->norm_attn = value;
        layer->grad_norm_attn = grad;
        return;
    case HEARTH_TENSOR_NORM_MLP:
        layer->norm_mlp = value;
        layer->grad_norm_mlp = grad;
        return;
    default: layer->w[t->role] = w; layer->grad_w[t->role] = grad;
    }
}

static void bind_full(hearth_decoder *d) {
    size_t at = 0;
    for (size_t i = 0; i < d->params.n_params; i++) {
        hearth_model_tensor t;
        hearth_model_tensor_at(d->c, i, &t);
        size_t n = (size_t)t.rows * t.cols;
        hearth_real *value = d->value + at, *grad = d->grad + at;
        hearth_weight_copy(hearth_model_weight(d->model, t.role, t.layer),
                           value);
        d->own[i] = (hearth_weight){HEARTH_WEIGHT_REAL, t.rows, t.cols,
                                    (const unsigned char *)value};
        bind_tensor(d, &t, &d->own[i], value, grad);
        (void)snprintf(d->name[i], sizeof(d->name[i]), "%s", t.name);
        d->params.param[i] =
            (hearth_param){d->name[i], value, grad, n, t.cols != 1};
        at += n;
    }
}

/* A factor as hearth_real: the adapter's own floats, so that training changes
 * the adapter itself; a copy in the float64 twin. */
static hearth_real *bind_factor(hearth_decoder *d, float *from, size_t n,
                                size_t *used) {
#ifdef HEARTH_FLOAT64
    hearth_real *to = d->value + *used;
    for (size_t i = 0; i < n; i++) to[i] = (double)from[i];
    *used += n;
    return to;
#else
    (void)d;
    (void)n;
    (void)used;
    return from;
#endif
}

/* One trained factor: its gradient's place and its entry in params. */
static hearth_real *add_factor(hearth_decoder *d, const char *module,
                               char factor, hearth_real *value, size_t n,
                               size_t *index, size_t *at) {
    hearth_real *grad = d->grad + *at;
    char *name = d->name[*index];
    (void)snprintf(name, sizeof(d->name[0]), "%s.lora_%c.weight", module,
                   factor);
    d->params.param[*index] = (hearth_param){name, value, grad, n, true};
    (*index)++;
    *at += n;
    return grad;
}

static void bind_adapter(hearth_decoder *d, hearth_adapter *a) {
    size_t used = 0, index = 0, at = 0;
    bool train = d->shape.mode == HEARTH_DECODER_LORA;
    for (size_t i = 0; i < a->n_pairs; i++) {
        hearth_adapter_pair *p = &a->pair[i];
        hearth_lora_pair *own = &d->pair[i];
        size_t n_a = (size_t)p->rank * p->in, n_b = (size_t)p->out * p->rank;
        *own = (hearth_lora_pair){.rank = p->rank,
                                  .in = p->in,
                                  .out = p->out,
                                  .layer = p->layer,
                                  .target = p->target,
                                  .scale =
                                      (hearth_real)hearth_adapter_scale(a, p)};
        own->a = bind_factor(d, p->a, n_a, &used);
        own->b = bind_factor(d, p->b, n_b, &used);
        if (train && !a->freeze_a)
            own->grad_a =
                add_factor(d, p->module, 'A', own->a, n_a, &index, &at);
        if (train)
            own->grad_b =
                add_factor(d, p->module, 'B', own->b, n_b, &index, &at);
        d->layer[p->layer].lora[p->target] = own;
    }
}

void hearth_decoder__bind(hearth_decoder *d) {
    fill_rotary(d);
    if (d->shape.mode == HEARTH_DECODER_FULL)
        bind_full(d);
    else
        bind_frozen(d);
    if (d->shape.adapter) bind_adapter(d, d->shape.adapter);
}

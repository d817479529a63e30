/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/decoder_bind.c - weights, adapters and tables of a decoder. */
#include <stdio.h>
#include <string.h>

#include "client/train/decoder_private.h"
#include "common/refmath.h"

/* Angles position * speed, in double whatever hearth_real is. */
static void fill_rotary(hearth_decoder *d, int table) {
    uint32_t half = d->c->head_dim / 2;
    for (uint32_t i = 0; d->cos[table] && i < half; i++) {
        double speed = hearth_model_config_rope_speed(d->c, i, table == 1);
        for (size_t p = 0; p < d->n_positions; p++) {
            double angle = (double)p * speed;
            d->cos[table][p * half + i] = (hearth_real)hearth_ref_cos(angle);
            d->sin[table][p * half + i] = (hearth_real)hearth_ref_sin(angle);
        }
    }
}

/* The norm that a role belongs to, NULL for others; *is_bias: its bias. */
static hearth_norm *norm_of(hearth_decoder *d, const hearth_model_tensor *t,
                            bool *is_bias) {
    hearth_layer *layer = &d->layer[t->layer];
    *is_bias = t->role == HEARTH_TENSOR_NORM_ATTN_BIAS ||
               t->role == HEARTH_TENSOR_NORM_MLP_BIAS ||
               t->role == HEARTH_TENSOR_NORM_FINAL_BIAS;
    if (t->role == HEARTH_TENSOR_NORM_FINAL ||
        t->role == HEARTH_TENSOR_NORM_FINAL_BIAS)
        return &d->norm_final;
    if (t->role == HEARTH_TENSOR_NORM_ATTN_BIAS) return &layer->norm[NORM_ATTN];
    if (t->role == HEARTH_TENSOR_NORM_MLP_BIAS) return &layer->norm[NORM_MLP];
    if (t->role >= HEARTH_TENSOR_NORM_ATTN && t->role <= HEARTH_TENSOR_NORM_K)
        return &layer->norm[t->role - HEARTH_TENSOR_NORM_ATTN];
    return NULL;
}

/* Where a vector is used: value [rows], its gradient in full mode. */
static void bind_vector(hearth_decoder *d, const hearth_model_tensor *t,
                        hearth_real *value, hearth_real *grad) {
    hearth_layer *layer = &d->layer[t->layer];
    bool is_bias;
    hearth_norm *norm = norm_of(d, t, &is_bias);
    if (norm && is_bias) {
        norm->bias = value;
        norm->grad_bias = grad;
    } else if (norm) {
        norm->w = value;
        norm->grad_w = grad;
    } else {
        layer->bias[t->role - HEARTH_TENSOR_BIAS] = value;
        layer->grad_bias[t->role - HEARTH_TENSOR_BIAS] = grad;
    }
}

/* Where a matrix is used. */
static void bind_matrix(hearth_decoder *d, const hearth_model_tensor *t,
                        const hearth_weight *w, hearth_real *grad) {
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
    case HEARTH_TENSOR_POSITION:
        d->place = w;
        d->grad_place = grad;
        return;
    default: layer->w[t->role] = w; layer->grad_w[t->role] = grad;
    }
}

/* Frozen weights: views of the model or of its copy, and converted vectors.  Of a
 * streamed model and of what was copied nothing of the file stays in memory. */
static void bind_frozen(hearth_decoder *d) {
    hearth_real *next = d->vectors;
    bool let_go = d->shape.stream || d->shape.base;
    if (let_go) hearth_model_expect(d->model, true);
    for (size_t i = 0; i < hearth_model_n_tensors(d->c); i++) {
        hearth_model_tensor t;
        hearth_model_tensor_at(d->c, i, &t);
        const hearth_weight *w = hearth_model_weight(d->model, t.role, t.layer);
        bool is_bias;
        if (!hearth_decoder__is_vector(&t)) {
            if (d->shape.stream && t.role < HEARTH_TENSOR_BIAS)
                w = hearth_weight_stream_view(d->shape.stream, (uint32_t)t.role,
                                              t.layer);
            if (d->shape.base && hearth_base_copy_view(d->shape.base, i))
                w = hearth_base_copy_view(d->shape.base, i);
            bind_matrix(d, &t, w, NULL);
            continue;
        }
        bool one =
            d->c->norm_kind == HEARTH_NORM_RMS_ONE && norm_of(d, &t, &is_bias);
        hearth_weight_copy_plus(w, one ? 1 : 0, next);
        bind_vector(d, &t, next, NULL);
        next += t.rows;
        /* the system maps more than the few bytes that were read */
        if (let_go) hearth_model_forget_pages(d->model);
    }
    if (!let_go) return;
    hearth_model_expect(d->model, false);
    if (d->shape.stream) hearth_weight_stream_forget(d->shape.stream);
}

/* Full mode: trained copies and their gradients.  Where one is added to a norm
 * weight, the kernels get a second copy that hearth_norm__refresh fills. */
static void bind_full(hearth_decoder *d) {
    size_t at = 0;
    hearth_real *next = d->vectors;
    for (size_t i = 0; i < d->params.n_params; i++) {
        hearth_model_tensor t;
        hearth_model_tensor_at(d->c, i, &t);
        size_t n = (size_t)t.rows * t.cols;
        hearth_real *value = d->value + at, *grad = d->grad + at;
        bool is_bias, is_vector = hearth_decoder__is_vector(&t);
        hearth_weight_copy(hearth_model_weight(d->model, t.role, t.layer),
                           value);
        d->own[i] = (hearth_weight){.type = HEARTH_WEIGHT_REAL,
                                    .rows = t.rows,
                                    .cols = t.cols,
                                    .data = (const unsigned char *)value};
        hearth_norm *norm = norm_of(d, &t, &is_bias);
        if (is_vector)
            bind_vector(d, &t, value, grad);
        else
            bind_matrix(d, &t, &d->own[i], grad);
        if (norm && d->vectors) {
            norm->own = value;
            norm->w = next;
            next += t.rows;
        }
        (void)snprintf(d->name[i], sizeof(d->name[i]), "%s", t.name);
        d->params.param[i] =
            (hearth_param){d->name[i], value, grad, n, !is_vector};
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
    fill_rotary(d, 0);
    fill_rotary(d, 1);
    if (d->shape.mode == HEARTH_DECODER_FULL)
        bind_full(d);
    else
        bind_frozen(d);
    if (d->shape.adapter) bind_adapter(d, d->shape.adapter);
}

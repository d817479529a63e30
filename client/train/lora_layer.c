/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/lora_layer.c - a linear layer with an optional bias and adapter:
 * y = x W^T + bias + scale (drop(x) A^T) B^T.
 *
 * The inner t = drop(x) A^T is kept in the slot: it is what B's gradient needs.
 * Source: Hu et al., LoRA, arXiv:2106.09685; dropout on the adapter's input
 * as in PEFT.
 */
#include "client/train/decoder_private.h"
#include "common/philox.h"

/* One adapter applied to rows of x. */
typedef struct {
    const hearth_decoder *d;
    const hearth_pass *p;
    const hearth_lora_pair *pair;
    const hearth_real *x, *dy;
    hearth_real *t, *y, *dx;
} adapter_job;

/* The document that row i belongs to: largest k with doc_start[k] <= i. */
static size_t find_doc(const hearth_pass *p, size_t i) {
    size_t lo = 0, hi = p->n_docs;
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;
        if (p->doc_start[mid] <= i)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

/* out = in * mask / (1 - p) for row i of p.  Element e of a document draws word
 * e % 4 of the block e / 4, so a row's mask does not depend on packing.
 * (layer 8 + target is one number a module: target 8, gate_up, exists only
 * where target 0 does not.) */
static void drop_row(const hearth_lora_pair *pair, const hearth_pass *p,
                     size_t i, const hearth_real *in, hearth_real *out,
                     bool add) {
    const hearth_dropout *dr = p->dropout;
    hearth_philox_key key =
        hearth_philox_key_make(dr->seed, HEARTH_PHILOX_DROPOUT);
    uint32_t word[4] = {0};
    uint32_t limit = (uint32_t)((double)dr->p * 4294967296.0);
    hearth_real keep = (hearth_real)(1.0 / (1.0 - (double)dr->p));
    size_t row = p->first + i, doc = find_doc(p, row);
    uint64_t e = (uint64_t)(row - p->doc_start[doc]) * pair->in;
    for (size_t c = 0; c < pair->in; c++, e++) {
        if (c == 0 || e % 4 == 0) {
            uint64_t block = e / 4;
            uint32_t counter[4] = {(uint32_t)block,
                                   (pair->layer * 8u + pair->target) |
                                       (uint32_t)(block >> 32) << 16,
                                   dr->record_base + (uint32_t)doc, dr->step};
            hearth_philox4x32(key, counter, word);
        }
        hearth_real v = word[e % 4] < limit ? 0 : in[c] * keep;
        out[c] = add ? out[c] + v : v;
    }
}

static void forward_rows(void *ud, size_t first, size_t n) {
    const adapter_job *j = ud;
    const hearth_kernels *k = j->d->compute.kernels;
    size_t in = j->pair->in, out = j->pair->out, r = j->pair->rank;
    const hearth_real *x = j->x + first * in;
    if (j->p->dropout) {
        for (size_t i = 0; i < n; i++)
            drop_row(j->pair, j->p, first + i, x + i * in,
                     j->d->xd + (first + i) * in, false);
        x = j->d->xd + first * in;
    }
    hearth_real *t = j->t + first * r;
    k->gemm_nt(n, r, in, 1, x, in, j->pair->a, in, 0, t, r);
    if (j->y)
        k->gemm_nt(n, out, r, j->pair->scale, t, r, j->pair->b, r, 1,
                   j->y + first * out, out);
}

/* y += bias in every row; out: its width. */
typedef struct {
    const hearth_decoder *d;
    const hearth_real *bias;
    size_t out;
    hearth_real *y;
} bias_job;

static void bias_rows(void *ud, size_t first, size_t n) {
    const bias_job *j = ud;
    for (size_t i = first; i < first + n; i++)
        j->d->compute.kernels->accumulate(j->out, j->bias, j->y + i * j->out);
}

/* Where t of the first row of p lies. */
static hearth_real *inner_rows(const hearth_decoder *d, const hearth_pass *p,
                               size_t l, hearth_target target) {
    const hearth_lora_pair *pair = d->layer[l].lora[target];
    hearth_real *t = hearth_decoder__slot(d, l)->t[target];
    return pair ? t + p->first * pair->rank : NULL;
}

void hearth_linear__forward(hearth_decoder *d, const hearth_pass *p, size_t l,
                            hearth_target target, const hearth_real *x,
                            hearth_real *y, int add) {
    const hearth_weight *w = d->layer[l].w[target];
    size_t in = hearth_weight_cols(w), out = hearth_weight_rows(w);
    bias_job b = {d, d->layer[l].bias[target], out, y};
    hearth_weight_forward(&d->compute, w, p->n, x, in, y, out, add);
    if (b.bias) hearth_decoder__rows(d, p->n, bias_rows, &b);
    adapter_job j = {.d = d,
                     .p = p,
                     .pair = d->layer[l].lora[target],
                     .x = x,
                     .t = inner_rows(d, p, l, target),
                     .y = y};
    if (j.pair) hearth_decoder__rows(d, p->n, forward_rows, &j);
}

void hearth_linear__inner(hearth_decoder *d, const hearth_pass *p, size_t l,
                          hearth_target target, const hearth_real *x) {
    adapter_job j = {.d = d,
                     .p = p,
                     .pair = d->layer[l].lora[target],
                     .x = x,
                     .t = inner_rows(d, p, l, target)};
    if (j.pair) hearth_decoder__rows(d, p->n, forward_rows, &j);
}

/* dt = scale dy B, and the dropped-out input again for A's gradient. */
static void backward_rows(void *ud, size_t first, size_t n) {
    const adapter_job *j = ud;
    size_t in = j->pair->in, out = j->pair->out, r = j->pair->rank;
    j->d->compute.kernels->gemm_nn(n, r, out, j->pair->scale,
                                   j->dy + first * out, out, j->pair->b, r, 0,
                                   j->d->dt + first * r, r);
    if (j->p->dropout && j->pair->grad_a)
        for (size_t i = first; i < first + n; i++)
            drop_row(j->pair, j->p, i, j->x + i * in, j->d->xd + i * in, false);
}

/* dx += mask(dt A). */
static void input_rows(void *ud, size_t first, size_t n) {
    const adapter_job *j = ud;
    const hearth_kernels *k = j->d->compute.kernels;
    size_t in = j->pair->in, r = j->pair->rank;
    const hearth_real *dt = j->d->dt + first * r;
    if (!j->p->dropout) {
        k->gemm_nn(n, in, r, 1, dt, r, j->pair->a, in, 1, j->dx + first * in,
                   in);
        return;
    }
    hearth_real *xd = j->d->xd + first * in;
    k->gemm_nn(n, in, r, 1, dt, r, j->pair->a, in, 0, xd, in);
    for (size_t i = 0; i < n; i++)
        drop_row(j->pair, j->p, first + i, xd + i * in,
                 j->dx + (first + i) * in, true);
}

static void adapter_backward(hearth_decoder *d, const adapter_job *job) {
    adapter_job j = *job;
    const hearth_lora_pair *pair = j.pair;
    size_t r = pair->rank, n = j.p->n;
    bool need_dt = pair->grad_a || j.dx;
    if (pair->grad_b)
        hearth_dense_gradient(&d->compute, pair->out, r, n, pair->scale, j.dy,
                              pair->out, j.t, r, pair->grad_b);
    if (need_dt) hearth_decoder__rows(d, n, backward_rows, &j);
    if (pair->grad_a)
        hearth_dense_gradient(&d->compute, r, pair->in, n, 1, d->dt, r,
                              j.p->dropout ? d->xd : j.x, pair->in,
                              pair->grad_a);
    if (j.dx) hearth_decoder__rows(d, n, input_rows, &j);
}

void hearth_linear__backward(hearth_decoder *d, const hearth_pass *p, size_t l,
                             hearth_target target, const hearth_real *x,
                             const hearth_real *dy, hearth_real *dx, int add) {
    const hearth_layer *layer = &d->layer[l];
    const hearth_weight *w = layer->w[target];
    size_t in = hearth_weight_cols(w), out = hearth_weight_rows(w);
    if (dx) hearth_weight_backward(&d->compute, w, p->n, dy, out, dx, in, add);
    if (layer->grad_w[target])
        hearth_dense_gradient(&d->compute, out, in, p->n, 1, dy, out, x, in,
                              layer->grad_w[target]);
    for (size_t i = 0; layer->grad_bias[target] && i < p->n; i++)
        d->compute.kernels->accumulate(out, dy + i * out,
                                       layer->grad_bias[target]);
    if (layer->lora[target]) {
        adapter_job j = {.d = d,
                         .p = p,
                         .pair = layer->lora[target],
                         .x = x,
                         .dy = dy,
                         .t = inner_rows(d, p, l, target),
                         .dx = dx};
        adapter_backward(d, &j);
    }
}

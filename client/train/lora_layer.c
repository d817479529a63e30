/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/lora_layer.c - linear layers with an optional bias and adapter,
 * y = x W^T + bias + scale (drop(x) A^T) B^T; several that take the same x, as
 * those of queries, keys and values, share the adapters' products with it.
 *
 * The inner t = drop(x) A^T is kept in the slot: it is what B's gradient needs.
 * Source: Hu et al., LoRA, arXiv:2106.09685; dropout on the adapter's input
 * as in PEFT.
 */
#include <string.h>

#include "client/train/decoder_private.h"
#include "common/philox.h"

/* One of the adapters of a group. */
typedef struct {
    const hearth_lora_pair *pair;
    const hearth_real *dy;
    hearth_real *y;
    size_t at; /* its first column in t and dt, its first row in factors */
} member;

/* Adapters of layers that take the same input, side by side: their A, one below
 * the other, take part in one product for t, one for their gradient and one for
 * dx.  With dropout, whose masks differ, a group has one member. */
typedef struct {
    hearth_decoder *d;
    const hearth_pass *p;
    member of[HEARTH_LINEAR_GROUP];
    size_t n, in, rank; /* rank: of all together */
    const hearth_real *x;
    hearth_real *t, *dx; /* t: first column of the first member */
    size_t ld_t;
    const hearth_real *a; /* [rank, in] */
} group;

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

/* x, or what dropout leaves of it, for rows from first on. */
static const hearth_real *dropped(const group *g, size_t first, size_t n) {
    const hearth_real *x = g->x + first * g->in;
    if (!g->p->dropout) return x;
    hearth_real *xd = g->d->xd + first * g->in;
    for (size_t i = 0; i < n; i++)
        drop_row(g->of[0].pair, g->p, first + i, x + i * g->in, xd + i * g->in,
                 false);
    return xd;
}

static void forward_rows(void *ud, size_t first, size_t n) {
    const group *g = ud;
    const hearth_kernels *k = g->d->compute.kernels;
    hearth_real *t = g->t + first * g->ld_t;
    k->gemm_nt(n, g->rank, g->in, 1, dropped(g, first, n), g->in, g->a, g->in,
               0, t, g->ld_t);
    for (size_t m = 0; m < g->n; m++) {
        const hearth_lora_pair *pair = g->of[m].pair;
        if (g->of[m].y)
            k->gemm_nt(n, pair->out, pair->rank, pair->scale, t + g->of[m].at,
                       g->ld_t, pair->b, pair->rank, 1,
                       g->of[m].y + first * pair->out, pair->out);
    }
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

/* The columns of t before those of a target: of adapters that share it. */
static size_t column_of(const hearth_layer *layer, hearth_target target) {
    size_t at = 0;
    for (uint32_t u = 0; u < (uint32_t)target; u++)
        if (layer->lora[u] && hearth_decoder__shares(u) ==
                                  hearth_decoder__shares((uint32_t)target))
            at += layer->lora[u]->rank;
    return at;
}

/* Those of n parts from *next on that are adapted; with dropout one of them. */
static group take_group(hearth_decoder *d, const hearth_pass *p, size_t l,
                        const hearth_linear *part, size_t n, size_t *next) {
    const hearth_layer *layer = &d->layer[l];
    group g = {.d = d, .p = p};
    for (; *next < n && !(p->dropout && g.n); ++*next) {
        const hearth_linear *one = &part[*next];
        hearth_lora_pair *pair = layer->lora[one->target];
        if (!pair) continue;
        size_t shared = hearth_decoder__shares(one->target);
        if (!g.n) {
            g.in = pair->in;
            g.ld_t = d->t_width[shared];
            g.t = hearth_decoder__slot(d, l)->t[shared] + p->first * g.ld_t +
                  column_of(layer, one->target);
        }
        g.of[g.n++] = (member){pair, one->dy, one->y, g.rank};
        g.rank += pair->rank;
    }
    return g;
}

/* Their factors A, one below the other. */
static const hearth_real *gather(const group *g) {
    if (g->n == 1) return g->of[0].pair->a;
    for (size_t m = 0; m < g->n; m++) {
        const hearth_lora_pair *pair = g->of[m].pair;
        memcpy(g->d->factors + g->of[m].at * g->in, pair->a,
               pair->rank * g->in * sizeof(*pair->a));
    }
    return g->d->factors;
}

static void adapters_forward(hearth_decoder *d, const hearth_pass *p, size_t l,
                             const hearth_linear *part, size_t n,
                             const hearth_real *x) {
    for (size_t next = 0; next < n;) {
        group g = take_group(d, p, l, part, n, &next);
        if (!g.n) continue;
        g.x = x;
        g.a = gather(&g);
        hearth_decoder__rows(d, p->n, forward_rows, &g);
    }
}

/* How the weight of a target is multiplied.  Under bf16 that of the values is
 * not rounded where its type is finer: it is a hundredth of a layer's weights,
 * and rounding it turned gradients more than rounding gate, up or down did
 * (README.md, "What bf16 rounds"). */
static hearth_compute compute_of(const hearth_decoder *d, uint32_t target) {
    hearth_compute c = d->compute;
    c.weight_parts = target == HEARTH_TARGET_V ? 2 : 1;
    return c;
}

/* The input of several weights, rounded once.  Sets that take some weights in 8
 * bits round for each of them, into the same room. */
static const uint16_t *rounded_input(const hearth_decoder *d,
                                     const hearth_pass *p, size_t l,
                                     const hearth_linear *part, size_t n,
                                     const hearth_real *x) {
    const hearth_kernels *k = d->compute.kernels;
    if (n < 2 || !k->pair_panel || k->int8_panel) return NULL;
    size_t in = hearth_weight_cols(d->layer[l].w[part[0].target]);
    return hearth_compute_round(&d->compute, p->n, in, x, in);
}

void hearth_linear__forward(hearth_decoder *d, const hearth_pass *p, size_t l,
                            const hearth_linear *part, size_t n,
                            const hearth_real *x, int add) {
    const uint16_t *rounded = rounded_input(d, p, l, part, n, x);
    for (size_t i = 0; i < n; i++) {
        const hearth_weight *w = d->layer[l].w[part[i].target];
        size_t in = hearth_weight_cols(w), out = hearth_weight_rows(w);
        bias_job b = {d, d->layer[l].bias[part[i].target], out, part[i].y};
        hearth_compute c = compute_of(d, part[i].target);
        c.rounded = rounded;
        hearth_weight_forward(&c, w, p->n, x, in, part[i].y, out, add);
        if (b.bias) hearth_decoder__rows(d, p->n, bias_rows, &b);
    }
    adapters_forward(d, p, l, part, n, x);
}

void hearth_linear__inner(hearth_decoder *d, const hearth_pass *p, size_t l,
                          hearth_target target, const hearth_real *x) {
    adapters_forward(d, p, l, &(hearth_linear){.target = target}, 1, x);
}

/* dt = scale dy B, and the dropped-out input again for A's gradient. */
static void backward_rows(void *ud, size_t first, size_t n) {
    const group *g = ud;
    for (size_t m = 0; m < g->n; m++) {
        const hearth_lora_pair *pair = g->of[m].pair;
        g->d->compute.kernels->gemm_nn(
            n, pair->rank, pair->out, pair->scale,
            g->of[m].dy + first * pair->out, pair->out, pair->b, pair->rank, 0,
            g->d->dt + first * g->rank + g->of[m].at, g->rank);
    }
    if (g->p->dropout && g->of[0].pair->grad_a) (void)dropped(g, first, n);
}

/* dx += mask(dt A). */
static void input_rows(void *ud, size_t first, size_t n) {
    const group *g = ud;
    const hearth_kernels *k = g->d->compute.kernels;
    const hearth_real *dt = g->d->dt + first * g->rank;
    hearth_real *dx = g->dx + first * g->in;
    if (!g->p->dropout) {
        k->gemm_nn(n, g->in, g->rank, 1, dt, g->rank, g->a, g->in, 1, dx,
                   g->in);
        return;
    }
    hearth_real *xd = g->d->xd + first * g->in;
    k->gemm_nn(n, g->in, g->rank, 1, dt, g->rank, g->a, g->in, 0, xd, g->in);
    for (size_t i = 0; i < n; i++)
        drop_row(g->of[0].pair, g->p, first + i, xd + i * g->in, dx + i * g->in,
                 true);
}

/* A's gradients into one matrix, or back. */
static void move_gradients(const group *g, bool back) {
    for (size_t m = 0; m < g->n; m++) {
        const hearth_lora_pair *pair = g->of[m].pair;
        hearth_real *here = g->d->factors + g->of[m].at * g->in;
        memcpy(back ? pair->grad_a : here, back ? here : pair->grad_a,
               pair->rank * g->in * sizeof(*here));
    }
}

/* A's gradients += dt^T x; those of several are moved, not summed apart, so
 * that the parts of a pass add up to what the whole would. */
static void gradient_a(const group *g) {
    hearth_decoder *d = g->d;
    bool several = g->n > 1;
    if (several) move_gradients(g, false);
    hearth_dense_gradient(&d->compute, g->rank, g->in, g->p->n, 1, d->dt,
                          g->rank, g->p->dropout ? d->xd : g->x, g->in,
                          several ? d->factors : g->of[0].pair->grad_a);
    if (several) move_gradients(g, true);
}

static void adapters_backward(group *g) {
    hearth_decoder *d = g->d;
    bool grad_a = g->of[0].pair->grad_a; /* of all or of none */
    for (size_t m = 0; m < g->n; m++) {
        const hearth_lora_pair *pair = g->of[m].pair;
        if (pair->grad_b)
            hearth_dense_gradient(&d->compute, pair->out, pair->rank, g->p->n,
                                  pair->scale, g->of[m].dy, pair->out,
                                  g->t + g->of[m].at, g->ld_t, pair->grad_b);
    }
    if (grad_a || g->dx) hearth_decoder__rows(d, g->p->n, backward_rows, g);
    if (grad_a) gradient_a(g);
    if (!g->dx) return;
    g->a = gather(g);
    hearth_decoder__rows(d, g->p->n, input_rows, g);
}

/* The weight's gradient and what it hands back. */
static void weight_backward(hearth_decoder *d, const hearth_pass *p, size_t l,
                            const hearth_linear *part, const hearth_real *x,
                            hearth_real *dx, int add) {
    const hearth_layer *layer = &d->layer[l];
    const hearth_weight *w = layer->w[part->target];
    size_t in = hearth_weight_cols(w), out = hearth_weight_rows(w);
    hearth_real *grad = layer->grad_w[part->target];
    hearth_real *grad_bias = layer->grad_bias[part->target];
    hearth_compute c = compute_of(d, part->target);
    if (dx) hearth_weight_backward(&c, w, p->n, part->dy, out, dx, in, add);
    if (grad)
        hearth_dense_gradient(&d->compute, out, in, p->n, 1, part->dy, out, x,
                              in, grad);
    for (size_t i = 0; grad_bias && i < p->n; i++)
        d->compute.kernels->accumulate(out, part->dy + i * out, grad_bias);
}

void hearth_linear__backward(hearth_decoder *d, const hearth_pass *p, size_t l,
                             const hearth_linear *part, size_t n,
                             const hearth_real *x, hearth_real *dx) {
    for (size_t i = 0; i < n; i++)
        weight_backward(d, p, l, &part[i], x, dx, i > 0);
    for (size_t next = 0; next < n;) {
        group g = take_group(d, p, l, part, n, &next);
        if (!g.n) continue;
        g.x = x;
        g.dx = dx;
        adapters_backward(&g);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/decoder_layer.c - one Llama block, forward and backward.
 *
 *   mid = x + o(attention(rope(q(h)), rope(k(h)), v(h))),   h = norm(x)
 *   out = mid + down(silu(gate(h)) * up(h)),                h = norm(mid)
 */
#include <string.h>

#include "client/train/decoder_private.h"

/* Row-wise work with up to four arrays. */
typedef struct {
    const hearth_decoder *d;
    const hearth_pass *p;
    const hearth_real *x, *w, *dy;
    hearth_real *y, *z;
    hearth_real sign;
} rows_job;

typedef struct {
    hearth_rows_fn fn;
    void *ud;
    size_t n;
} rows_tile;

static void run_rows(void *ud, size_t tile, size_t worker) {
    const rows_tile *t = ud;
    size_t first = tile * HEARTH_DECODER_ROWS, left = t->n - first;
    (void)worker;
    t->fn(t->ud, first,
          left < HEARTH_DECODER_ROWS ? left : HEARTH_DECODER_ROWS);
}

void hearth_decoder__rows(const hearth_decoder *d, size_t n_tokens,
                          hearth_rows_fn fn, void *ud) {
    rows_tile t = {fn, ud, n_tokens};
    hearth_pool_run(d->compute.pool,
                    (n_tokens + HEARTH_DECODER_ROWS - 1) / HEARTH_DECODER_ROWS,
                    run_rows, &t);
}

hearth_slot *hearth_decoder__slot(const hearth_decoder *d, size_t l) {
    if (d->n_slots == 1 || l < d->lowest) return &d->slot[0];
    return &d->slot[l - d->lowest];
}

static hearth_real eps(const hearth_decoder *d) {
    return (hearth_real)d->c->norm_eps;
}

static void norm_rows(void *ud, size_t first, size_t n) {
    const rows_job *j = ud;
    size_t width = j->d->c->hidden_size;
    for (size_t i = first; i < first + n; i++)
        j->d->compute.kernels->rmsnorm(width, j->x + i * width, j->w, eps(j->d),
                                       j->y + i * width);
}

void hearth_norm__forward(const hearth_decoder *d, size_t n,
                          const hearth_real *x, const hearth_real *w,
                          hearth_real *y) {
    rows_job j = {.d = d, .x = x, .w = w, .y = y};
    hearth_decoder__rows(d, n, norm_rows, &j);
}

static void norm_back_rows(void *ud, size_t first, size_t n) {
    const rows_job *j = ud;
    size_t width = j->d->c->hidden_size;
    for (size_t i = first; i < first + n; i++)
        j->d->compute.kernels->rmsnorm_back(width, j->x + i * width, j->w,
                                            eps(j->d), j->dy + i * width,
                                            j->y + i * width);
}

void hearth_norm__backward(const hearth_decoder *d, size_t n,
                           const hearth_real *x, const hearth_real *w,
                           const hearth_real *dy, hearth_real *dx,
                           hearth_real *dw) {
    size_t width = d->c->hidden_size;
    rows_job j = {.d = d, .x = x, .w = w, .dy = dy, .y = dx};
    hearth_decoder__rows(d, n, norm_back_rows, &j);
    for (size_t i = 0; dw && i < n; i++) { /* in row order, on one thread */
        const hearth_real *xi = x + i * width, *di = dy + i * width;
        hearth_real r = d->compute.kernels->rms_inverse(width, xi, eps(d));
        for (size_t c = 0; c < width; c++) dw[c] += di[c] * (xi[c] * r);
    }
}

static void rotate(const rows_job *j, size_t row, hearth_real *x,
                   size_t n_heads) {
    size_t hd = j->d->c->head_dim, half = hd / 2;
    size_t at =
        (j->p->position ? j->p->position[row] : j->p->past + row) * half;
    for (size_t h = 0; h < n_heads; h++)
        j->d->compute.kernels->rope(half, j->d->cos + at, j->d->sin + at,
                                    j->sign, x + h * hd);
}

/* y: queries, z: keys. */
static void rope_rows(void *ud, size_t first, size_t n) {
    const rows_job *j = ud;
    const hearth_model_config *c = j->d->c;
    size_t q_ld = (size_t)c->n_heads * c->head_dim;
    size_t kv_ld = (size_t)c->n_kv_heads * c->head_dim;
    for (size_t i = first; i < first + n; i++) {
        rotate(j, i, j->y + i * q_ld, c->n_heads);
        rotate(j, i, j->z + i * kv_ld, c->n_kv_heads);
    }
}

static void rope(const hearth_decoder *d, const hearth_pass *p, hearth_real *q,
                 hearth_real *k, hearth_real sign) {
    rows_job j = {.d = d, .p = p, .y = q, .z = k, .sign = sign};
    hearth_decoder__rows(d, p->n, rope_rows, &j);
}

/* m = silu(g) u. */
static void swiglu_rows(void *ud, size_t first, size_t n) {
    const rows_job *j = ud;
    size_t f = j->d->c->ffn_size, at = first * f;
    j->d->compute.kernels->swiglu(n * f, j->x + at, j->w + at, j->y + at);
}

static void swiglu(const hearth_decoder *d, size_t n, const hearth_slot *s) {
    rows_job j = {.d = d, .x = s->g, .w = s->u, .y = d->m};
    hearth_decoder__rows(d, n, swiglu_rows, &j);
}

/* g, u become their gradients. */
static void swiglu_back_rows(void *ud, size_t first, size_t n) {
    const rows_job *j = ud;
    size_t f = j->d->c->ffn_size, at = first * f;
    j->d->compute.kernels->swiglu_back(n * f, j->y + at, j->z + at, j->dy + at,
                                       j->y + at, j->z + at);
}

/* The slot as this pass uses it: keys and values in the cache if cached. */
static hearth_slot use_slot(const hearth_decoder *d, const hearth_pass *p,
                            size_t l) {
    hearth_slot s = *hearth_decoder__slot(d, l);
    if (p->cached) {
        size_t layer = d->shape.max_context * d->c->n_kv_heads * d->c->head_dim;
        s.k = d->cache_k + l * layer;
        s.v = d->cache_v + l * layer;
    }
    return s;
}

void hearth_layer__forward(hearth_decoder *d, const hearth_pass *p, size_t l,
                           bool for_backward) {
    const hearth_layer *w = &d->layer[l];
    const hearth_real *x = d->input[l];
    hearth_slot s = use_slot(d, p, l);
    size_t bytes = p->n * d->c->hidden_size * sizeof(*x);
    size_t kv = (size_t)d->c->n_kv_heads * d->c->head_dim;
    hearth_real *k = s.k + p->past * kv, *v = s.v + p->past * kv;
    hearth_norm__forward(d, p->n, x, w->norm_attn, d->h);
    hearth_linear__forward(d, p, l, HEARTH_TARGET_Q, d->h, s.q, 0);
    hearth_linear__forward(d, p, l, HEARTH_TARGET_K, d->h, k, 0);
    hearth_linear__forward(d, p, l, HEARTH_TARGET_V, d->h, v, 0);
    rope(d, p, s.q, k, 1);
    hearth_attention__forward(d, p, &s);
    memcpy(s.mid, x, bytes);
    hearth_linear__forward(d, p, l, HEARTH_TARGET_O, s.o, s.mid, 1);
    hearth_norm__forward(d, p->n, s.mid, w->norm_mlp, d->h);
    hearth_linear__forward(d, p, l, HEARTH_TARGET_GATE, d->h, s.g, 0);
    hearth_linear__forward(d, p, l, HEARTH_TARGET_UP, d->h, s.u, 0);
    swiglu(d, p->n, &s);
    if (for_backward) {
        hearth_linear__inner(d, p, l, HEARTH_TARGET_DOWN, d->m);
        return;
    }
    memcpy(d->input[l + 1], s.mid, bytes);
    hearth_linear__forward(d, p, l, HEARTH_TARGET_DOWN, d->m, d->input[l + 1],
                           1);
}

static bool any_adapted(const hearth_layer *w, hearth_target from,
                        hearth_target to) {
    for (int t = (int)from; t <= (int)to; t++)
        if (w->lora[t]) return true;
    return false;
}

/* dx: gradient of the output -> of mid.  below: is that wanted at all? */
static void mlp_backward(hearth_decoder *d, const hearth_pass *p, size_t l,
                         const hearth_slot *s, bool below) {
    const hearth_layer *w = &d->layer[l];
    bool inner = below || any_adapted(w, HEARTH_TARGET_GATE, HEARTH_TARGET_UP);
    hearth_real *dh = below ? d->dh : NULL;
    if (w->lora[HEARTH_TARGET_DOWN] || w->grad_w[HEARTH_TARGET_DOWN])
        swiglu(d, p->n, s);
    hearth_linear__backward(d, p, l, HEARTH_TARGET_DOWN, d->m, d->dx,
                            inner ? d->dm : NULL, 0);
    if (!inner) return;
    rows_job j = {.d = d, .y = s->g, .z = s->u, .dy = d->dm};
    hearth_decoder__rows(d, p->n, swiglu_back_rows, &j);
    hearth_norm__forward(d, p->n, s->mid, w->norm_mlp, d->h);
    hearth_linear__backward(d, p, l, HEARTH_TARGET_GATE, d->h, s->g, dh, 0);
    hearth_linear__backward(d, p, l, HEARTH_TARGET_UP, d->h, s->u, dh, 1);
    if (below)
        hearth_norm__backward(d, p->n, s->mid, w->norm_mlp, d->dh, d->dx,
                              w->grad_norm_mlp);
}

/* dx: gradient of mid -> of the input.  below: is that wanted at all? */
static void attention_backward(hearth_decoder *d, const hearth_pass *p,
                               size_t l, const hearth_slot *s, bool below) {
    const hearth_layer *w = &d->layer[l];
    bool inner = below || any_adapted(w, HEARTH_TARGET_Q, HEARTH_TARGET_V);
    hearth_real *dh = below ? d->dh : NULL;
    hearth_linear__backward(d, p, l, HEARTH_TARGET_O, s->o, d->dx,
                            inner ? d->d_o : NULL, 0);
    if (!inner) return;
    hearth_attention__backward(d, p, s);
    rope(d, p, d->dq, d->dk, -1);
    hearth_norm__forward(d, p->n, d->input[l], w->norm_attn, d->h);
    hearth_linear__backward(d, p, l, HEARTH_TARGET_Q, d->h, d->dq, dh, 0);
    hearth_linear__backward(d, p, l, HEARTH_TARGET_K, d->h, d->dk, dh, 1);
    hearth_linear__backward(d, p, l, HEARTH_TARGET_V, d->h, d->dv, dh, 1);
    if (below)
        hearth_norm__backward(d, p->n, d->input[l], w->norm_attn, d->dh, d->dx,
                              w->grad_norm_attn);
}

void hearth_layer__backward(hearth_decoder *d, const hearth_pass *p, size_t l) {
    bool below = l > d->lowest || d->shape.mode == HEARTH_DECODER_FULL;
    bool attention =
        below || any_adapted(&d->layer[l], HEARTH_TARGET_Q, HEARTH_TARGET_O);
    if (d->shape.recompute) hearth_layer__forward(d, p, l, true);
    const hearth_slot *s = hearth_decoder__slot(d, l);
    mlp_backward(d, p, l, s, attention);
    if (attention) attention_backward(d, p, l, s, below);
}

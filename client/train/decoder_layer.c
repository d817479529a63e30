/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/decoder_layer.c - one block, forward and backward.
 *
 *   mid = x + post(o(attention(turn(q(h)), turn(k(h)), v(h)))),  h = norm(x)
 *   out = mid + post(down(act(gate(h)) * up(h))),                h = norm(mid)
 *
 * turn: the norm of each head where the family has one, then the rotation of
 * positions; post: a norm where the family has sandwiches; act: silu or gelu,
 * without a gate for GPT-2.
 */
#include <string.h>

#include "client/train/decoder_private.h"

/* Row-wise work with up to four arrays. */
typedef struct {
    const hearth_decoder *d;
    const hearth_pass *p;
    const hearth_real *x, *w, *dy;
    hearth_real *y, *z, *part[3]; /* part: pieces of fused rows */
    size_t width[3];
    bool local;
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
    size_t above = d->c->n_layers - 1 - l;
    return &d->slot[above < d->n_slots ? above : d->n_slots - 1];
}

bool hearth_decoder__is_recomputed(const hearth_decoder *d, size_t l) {
    return d->c->n_layers - 1 - l >= d->n_slots;
}

const hearth_slot *hearth_decoder__kept(const hearth_decoder *d, size_t l) {
    size_t above = d->c->n_layers - 1 - l;
    bool has = above >= d->n_slots && above - d->n_slots < d->n_kept;
    return has ? &d->kept[above - d->n_slots] : NULL;
}

static size_t q_width(const hearth_decoder *d) {
    return (size_t)d->c->n_heads * d->c->head_dim;
}

static size_t kv_width(const hearth_decoder *d) {
    return (size_t)d->c->n_kv_heads * d->c->head_dim;
}

static void rotate(const rows_job *j, size_t row, hearth_real *x,
                   size_t n_heads) {
    size_t hd = j->d->c->head_dim, half = hd / 2, table = j->local;
    size_t at =
        (j->p->position ? j->p->position[row] : j->p->past + row) * half;
    for (size_t h = 0; h < n_heads; h++)
        j->d->compute.kernels->rope(half, j->d->cos[table] + at,
                                    j->d->sin[table] + at, j->sign, x + h * hd);
}

/* y: queries, z: keys. */
static void rope_rows(void *ud, size_t first, size_t n) {
    const rows_job *j = ud;
    for (size_t i = first; i < first + n; i++) {
        rotate(j, i, j->y + i * q_width(j->d), j->d->c->n_heads);
        rotate(j, i, j->z + i * kv_width(j->d), j->d->c->n_kv_heads);
    }
}

static void rope(const hearth_decoder *d, const hearth_pass *p, size_t l,
                 hearth_real *q, hearth_real *k, hearth_real sign) {
    rows_job j = {.d = d, .p = p, .y = q, .z = k, .sign = sign};
    j.local = d->c->local[l] && d->c->rope_theta_local > 0;
    if (!d->c->learned_positions) hearth_decoder__rows(d, p->n, rope_rows, &j);
}

/* Fused rows to their parts, or (sign < 0) the parts to fused rows. */
static void split_rows(void *ud, size_t first, size_t n) {
    const rows_job *j = ud;
    size_t ld = j->width[0] + j->width[1] + j->width[2];
    for (size_t i = first; i < first + n; i++) {
        hearth_real *row = j->y + i * ld;
        for (size_t k = 0; k < 3 && j->part[k]; k++) {
            hearth_real *part = j->part[k] + i * j->width[k];
            size_t bytes = j->width[k] * sizeof(*row);
            memcpy(j->sign < 0 ? row : part, j->sign < 0 ? part : row, bytes);
            row += j->width[k];
        }
    }
}

static void split_qkv(const hearth_decoder *d, size_t n, hearth_real *q,
                      hearth_real *k, hearth_real *v, hearth_real sign) {
    rows_job j = {.d = d,
                  .y = d->fused,
                  .part = {q, k, v},
                  .width = {q_width(d), kv_width(d), kv_width(d)},
                  .sign = sign};
    hearth_decoder__rows(d, n, split_rows, &j);
}

static void split_gate_up(const hearth_decoder *d, size_t n, hearth_real *g,
                          hearth_real *u, hearth_real sign) {
    rows_job j = {.d = d,
                  .y = d->fused,
                  .part = {g, u, NULL},
                  .width = {d->c->ffn_size, d->c->ffn_size, 0},
                  .sign = sign};
    hearth_decoder__rows(d, n, split_rows, &j);
}

/* m = act(g) u, or act(u). */
static void activate_rows(void *ud, size_t first, size_t n) {
    const rows_job *j = ud;
    const hearth_kernels *k = j->d->compute.kernels;
    size_t f = j->d->c->ffn_size, at = first * f;
    switch (j->d->c->mlp_kind) {
    case HEARTH_MLP_SWIGLU:
        k->swiglu(n * f, j->x + at, j->w + at, j->y + at);
        return;
    case HEARTH_MLP_GEGLU:
        k->geglu(n * f, j->x + at, j->w + at, j->y + at);
        return;
    case HEARTH_MLP_GELU: k->gelu(n * f, j->w + at, j->y + at); return;
    }
}

static void activate(const hearth_decoder *d, size_t n, const hearth_slot *s) {
    rows_job j = {.d = d, .x = s->g, .w = s->u, .y = d->m};
    hearth_decoder__rows(d, n, activate_rows, &j);
}

/* g, u become their gradients. */
static void activate_back_rows(void *ud, size_t first, size_t n) {
    const rows_job *j = ud;
    const hearth_kernels *k = j->d->compute.kernels;
    size_t f = j->d->c->ffn_size, at = first * f;
    hearth_real *g = j->y, *u = j->z + at;
    const hearth_real *dm = j->dy + at;
    switch (j->d->c->mlp_kind) {
    case HEARTH_MLP_SWIGLU:
        k->swiglu_back(n * f, g + at, u, dm, g + at, u);
        return;
    case HEARTH_MLP_GEGLU:
        k->geglu_back(n * f, g + at, u, dm, g + at, u);
        return;
    case HEARTH_MLP_GELU: k->gelu_back(n * f, u, dm, u); return;
    }
}

/* The slot as this pass uses it: keys and values in the cache if cached, what
 * attention gives where it is kept. */
static hearth_slot use_slot(const hearth_decoder *d, const hearth_pass *p,
                            size_t l) {
    hearth_slot s = *hearth_decoder__slot(d, l);
    const hearth_slot *kept = hearth_decoder__kept(d, l);
    if (kept) {
        s.o = kept->o;
        s.top = kept->top;
        s.inverse = kept->inverse;
    }
    if (p->cached) {
        size_t layer = d->shape.max_context * kv_width(d);
        s.k = d->cache_k + l * layer;
        s.v = d->cache_v + l * layer;
    }
    return s;
}

static size_t window_of(const hearth_decoder *d, size_t l) {
    return d->c->local[l] ? d->c->sliding_window : 0;
}

/* Queries, keys and values of h, ready for attention. */
static void project(hearth_decoder *d, const hearth_pass *p, size_t l,
                    const hearth_slot *s) {
    const hearth_layer *w = &d->layer[l];
    size_t hd = d->c->head_dim;
    hearth_real *k = s->k + p->past * kv_width(d);
    hearth_real *v = s->v + p->past * kv_width(d);
    hearth_real *q_in = s->q_in ? s->q_in : s->q, *k_in = s->k_in ? s->k_in : k;
    if (d->c->fused_qkv) {
        const hearth_linear fused = {HEARTH_TARGET_QKV, .y = d->fused};
        hearth_linear__forward(d, p, l, &fused, 1, d->h, 0);
        split_qkv(d, p->n, q_in, k_in, v, 1);
    } else {
        const hearth_linear part[] = {{HEARTH_TARGET_Q, .y = q_in},
                                      {HEARTH_TARGET_K, .y = k_in},
                                      {HEARTH_TARGET_V, .y = v}};
        hearth_linear__forward(d, p, l, part, 3, d->h, 0);
    }
    if (d->c->qk_norm) {
        hearth_norm__forward(d, &w->norm[NORM_Q], p->n * d->c->n_heads, hd,
                             q_in, s->q);
        hearth_norm__forward(d, &w->norm[NORM_K], p->n * d->c->n_kv_heads, hd,
                             k_in, k);
    }
    rope(d, p, l, s->q, k, 1);
}

/* y = residual + the target's output, through its norm where there is one;
 * `kept` holds the output before that norm. */
static void add_block(hearth_decoder *d, const hearth_pass *p, size_t l,
                      hearth_target target, const hearth_real *x,
                      const hearth_norm *post, hearth_real *kept,
                      const hearth_real *residual, hearth_real *y) {
    size_t width = d->c->hidden_size, n = p->n * width;
    if (!post->w) {
        memmove(y, residual, n * sizeof(*y));
        hearth_linear__forward(d, p, l, &(hearth_linear){target, .y = y}, 1, x,
                               1);
        return;
    }
    hearth_linear__forward(d, p, l, &(hearth_linear){target, .y = kept}, 1, x,
                           0);
    hearth_norm__forward(d, post, p->n, width, kept, d->dn);
    memmove(y, residual, n * sizeof(*y));
    d->compute.kernels->accumulate(n, d->dn, y);
}

/* input[l] -> mid.  kept: what attention itself gives is there already. */
static void attention_forward(hearth_decoder *d, const hearth_pass *p, size_t l,
                              const hearth_slot *s, bool kept) {
    const hearth_layer *w = &d->layer[l];
    const hearth_real *x = d->input[l];
    hearth_norm__forward(d, &w->norm[NORM_ATTN], p->n, d->c->hidden_size, x,
                         d->h);
    project(d, p, l, s);
    if (!kept) hearth_attention__forward(d, p, s, window_of(d, l));
    add_block(d, p, l, HEARTH_TARGET_O, s->o, &w->norm[POST_ATTN], s->o_out, x,
              s->mid);
}

/* The part of a pass's rows that the MLP handles next; n is 0 after the last.
 * Parts start at multiples of a row-wise tile, so that tiles and the sums of
 * gradients are those of the whole. */
static hearth_pass next_part(const hearth_decoder *d, const hearth_pass *p,
                             size_t first) {
    hearth_pass part = *p;
    size_t left = p->n - first;
    part.first = first;
    part.n = left <= d->mlp_rows + HEARTH_MLP_TAIL ? left : d->mlp_rows;
    return part;
}

/* A slot seen from the first row of a part on, as far as the MLP uses it. */
static hearth_slot slot_of_part(const hearth_decoder *d, const hearth_slot *s,
                                const hearth_pass *part) {
    hearth_slot of = *s;
    of.mid += part->first * d->c->hidden_size;
    if (s->down_out) of.down_out += part->first * d->c->hidden_size;
    if (s->part) return of;
    if (s->g) of.g += part->first * d->c->ffn_size;
    of.u += part->first * d->c->ffn_size;
    return of;
}

/* mid -> gate and up. */
static void into_mlp(hearth_decoder *d, const hearth_pass *part, size_t l,
                     const hearth_slot *s) {
    hearth_norm__forward(d, &d->layer[l].norm[NORM_MLP], part->n,
                         d->c->hidden_size, s->mid, d->h);
    if (d->c->fused_gate_up) {
        const hearth_linear fused = {HEARTH_TARGET_GATE_UP, .y = d->fused};
        hearth_linear__forward(d, part, l, &fused, 1, d->h, 0);
        split_gate_up(d, part->n, s->g, s->u, 1);
    } else {
        const hearth_linear both[] = {{HEARTH_TARGET_GATE, .y = s->g},
                                      {HEARTH_TARGET_UP, .y = s->u}};
        size_t skip = d->c->mlp_kind == HEARTH_MLP_GELU;
        hearth_linear__forward(d, part, l, both + skip, 2 - skip, d->h, 0);
    }
}

/* mid -> input[l + 1]. */
static void mlp_forward(hearth_decoder *d, const hearth_pass *p, size_t l,
                        const hearth_slot *s) {
    hearth_pass part = next_part(d, p, 0);
    for (; part.n; part = next_part(d, p, part.first + part.n)) {
        hearth_slot of = slot_of_part(d, s, &part);
        into_mlp(d, &part, l, &of);
        activate(d, part.n, &of);
        add_block(d, &part, l, HEARTH_TARGET_DOWN, d->m,
                  &d->layer[l].norm[POST_MLP], of.down_out, of.mid,
                  d->input[l + 1] + part.first * d->c->hidden_size);
        if (hearth_decoder__is_stored(d, p, l))
            hearth_store__put_mlp(d, &part, &of);
    }
}

void hearth_layer__forward(hearth_decoder *d, const hearth_pass *p, size_t l) {
    hearth_slot s = use_slot(d, p, l);
    attention_forward(d, p, l, &s, false);
    if (hearth_decoder__is_stored(d, p, l))
        hearth_store__put_attention(d, p, &s);
    mlp_forward(d, p, l, &s);
}

#define IN_ATTENTION (HEARTH_TARGETS_ATTN & ~HEARTH_TARGET_BIT(HEARTH_TARGET_O))
#define INTO_MLP                                                               \
    (HEARTH_TARGET_BIT(HEARTH_TARGET_GATE) |                                   \
     HEARTH_TARGET_BIT(HEARTH_TARGET_UP) |                                     \
     HEARTH_TARGET_BIT(HEARTH_TARGET_GATE_UP))

static bool any_adapted(const hearth_layer *w, uint32_t targets) {
    for (uint32_t t = 0; t < HEARTH_TARGET_COUNT; t++)
        if (w->lora[t] && targets & HEARTH_TARGET_BIT(t)) return true;
    return false;
}

/* The gradient of a block's output before its norm: dy itself, or dn. */
static const hearth_real *behind_post(hearth_decoder *d, size_t n,
                                      const hearth_norm *post,
                                      const hearth_real *kept,
                                      const hearth_real *dy) {
    size_t width = d->c->hidden_size;
    if (!post->w) return dy;
    memset(d->dn, 0, n * width * sizeof(*d->dn));
    hearth_norm__backward(d, post, n, width, kept, dy, d->dn);
    return d->dn;
}

/* Run a part of the MLP again for its backward pass.  down's output is wanted
 * only where a norm follows it. */
static void mlp_again(hearth_decoder *d, const hearth_pass *part, size_t l,
                      const hearth_slot *s) {
    const hearth_layer *w = &d->layer[l];
    bool post = w->norm[POST_MLP].w;
    into_mlp(d, part, l, s);
    if (post || w->lora[HEARTH_TARGET_DOWN] || w->grad_w[HEARTH_TARGET_DOWN])
        activate(d, part->n, s);
    if (post)
        hearth_linear__forward(
            d, part, l, &(hearth_linear){HEARTH_TARGET_DOWN, .y = s->down_out},
            1, d->m, 0);
    else
        hearth_linear__inner(d, part, l, HEARTH_TARGET_DOWN, d->m);
}

/* gate's and up's gradients (in s) -> dh, NULL: not wanted. */
static void into_mlp_backward(hearth_decoder *d, const hearth_pass *part,
                              size_t l, const hearth_slot *s, hearth_real *dh) {
    if (d->c->fused_gate_up) {
        split_gate_up(d, part->n, s->g, s->u, -1);
        const hearth_linear fused = {HEARTH_TARGET_GATE_UP, .dy = d->fused};
        hearth_linear__backward(d, part, l, &fused, 1, d->h, dh);
        return;
    }
    const hearth_linear both[] = {{HEARTH_TARGET_GATE, .dy = s->g},
                                  {HEARTH_TARGET_UP, .dy = s->u}};
    size_t skip = d->c->mlp_kind == HEARTH_MLP_GELU;
    hearth_linear__backward(d, part, l, both + skip, 2 - skip, d->h, dh);
}

/* One part of mlp_backward; dx: its rows. */
static void part_backward(hearth_decoder *d, const hearth_pass *part, size_t l,
                          const hearth_slot *s, bool again, bool below,
                          hearth_real *dx) {
    const hearth_layer *w = &d->layer[l];
    size_t width = d->c->hidden_size;
    bool inner = below || any_adapted(w, INTO_MLP);
    if (again)
        mlp_again(d, part, l, s);
    else if (w->lora[HEARTH_TARGET_DOWN] || w->grad_w[HEARTH_TARGET_DOWN])
        activate(d, part->n, s);
    const hearth_real *dy =
        behind_post(d, part->n, &w->norm[POST_MLP], s->down_out, dx);
    const hearth_linear down = {HEARTH_TARGET_DOWN, .dy = dy};
    hearth_linear__backward(d, part, l, &down, 1, d->m, inner ? d->dm : NULL);
    if (!inner) return;
    rows_job j = {.d = d, .y = s->g, .z = s->u, .dy = d->dm};
    hearth_decoder__rows(d, part->n, activate_back_rows, &j);
    if (!again)
        hearth_norm__forward(d, &w->norm[NORM_MLP], part->n, width, s->mid,
                             d->h);
    into_mlp_backward(d, part, l, s, below ? d->dh : NULL);
    if (below)
        hearth_norm__backward(d, &w->norm[NORM_MLP], part->n, width, s->mid,
                              d->dh, dx);
}

/* dx: gradient of the output -> of mid.  below: is that wanted at all? */
static void mlp_backward(hearth_decoder *d, const hearth_pass *p, size_t l,
                         const hearth_slot *s, bool below) {
    bool stored = hearth_decoder__is_stored(d, p, l);
    bool again = hearth_decoder__is_recomputed(d, l) || (s->part && !stored);
    hearth_pass part = next_part(d, p, 0);
    for (; part.n; part = next_part(d, p, part.first + part.n)) {
        hearth_slot of = slot_of_part(d, s, &part);
        if (stored) hearth_store__get_mlp(d, &part, &of);
        part_backward(d, &part, l, &of, again, below,
                      d->dx + part.first * d->c->hidden_size);
    }
}

/* dq, dk, dv through rotation, norms and projections. */
static void project_backward(hearth_decoder *d, const hearth_pass *p, size_t l,
                             const hearth_slot *s, hearth_real *dh) {
    const hearth_layer *w = &d->layer[l];
    size_t hd = d->c->head_dim;
    rope(d, p, l, d->dq, d->dk, -1);
    if (d->c->qk_norm) {
        hearth_norm__backward_inplace(d, &w->norm[NORM_Q], p->n * d->c->n_heads,
                                      hd, s->q_in, d->dq);
        hearth_norm__backward_inplace(
            d, &w->norm[NORM_K], p->n * d->c->n_kv_heads, hd, s->k_in, d->dk);
    }
    hearth_norm__forward(d, &w->norm[NORM_ATTN], p->n, d->c->hidden_size,
                         d->input[l], d->h);
    if (d->c->fused_qkv) {
        split_qkv(d, p->n, d->dq, d->dk, d->dv, -1);
        const hearth_linear fused = {HEARTH_TARGET_QKV, .dy = d->fused};
        hearth_linear__backward(d, p, l, &fused, 1, d->h, dh);
        return;
    }
    const hearth_linear part[] = {{HEARTH_TARGET_Q, .dy = d->dq},
                                  {HEARTH_TARGET_K, .dy = d->dk},
                                  {HEARTH_TARGET_V, .dy = d->dv}};
    hearth_linear__backward(d, p, l, part, 3, d->h, dh);
}

/* dx: gradient of mid -> of the input.  below: is that wanted at all? */
static void attention_backward(hearth_decoder *d, const hearth_pass *p,
                               size_t l, const hearth_slot *s, bool below) {
    const hearth_layer *w = &d->layer[l];
    bool inner = below || any_adapted(w, IN_ATTENTION);
    const hearth_real *dy =
        behind_post(d, p->n, &w->norm[POST_ATTN], s->o_out, d->dx);
    const hearth_linear o = {HEARTH_TARGET_O, .dy = dy};
    hearth_linear__backward(d, p, l, &o, 1, s->o, inner ? d->d_o : NULL);
    if (!inner) return;
    hearth_attention__backward(d, p, s, window_of(d, l));
    project_backward(d, p, l, s, below ? d->dh : NULL);
    if (below)
        hearth_norm__backward(d, &w->norm[NORM_ATTN], p->n, d->c->hidden_size,
                              d->input[l], d->dh, d->dx);
}

void hearth_layer__backward(hearth_decoder *d, const hearth_pass *p, size_t l) {
    bool below = l > d->lowest || d->shape.mode == HEARTH_DECODER_FULL;
    bool attention = below || any_adapted(&d->layer[l], HEARTH_TARGETS_ATTN);
    const hearth_slot s = use_slot(d, p, l);
    if (hearth_decoder__is_recomputed(d, l))
        attention_forward(d, p, l, &s, hearth_decoder__kept(d, l));
    if (hearth_decoder__is_stored(d, p, l))
        hearth_store__get_attention(d, p, &s);
    mlp_backward(d, p, l, &s, attention);
    if (attention) attention_backward(d, p, l, &s, below);
}

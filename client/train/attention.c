/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/attention.c - grouped-query causal attention inside documents.
 *
 * A block of query rows sees all its keys at once (those in the window of a
 * sliding layer); only that block of scores
 * exists, per worker.  The backward pass makes the probabilities again from
 * each row's maximum and sum.  One tile is one (document, key-value head) and runs
 * its query heads and blocks in order, so sums have one order.
 * Source: Dao et al., FlashAttention, arXiv:2205.14135 (backward equations).
 */
#include <string.h>

#include "client/train/decoder_private.h"

typedef struct {
    const hearth_decoder *d;
    const hearth_pass *p;
    const hearth_slot *s;
    size_t q_ld, kv_ld;
    hearth_real scale;
    size_t window; /* keys that a query sees at most; SIZE_MAX: all */
} attention_job;

/* A block of queries of one head. */
typedef struct {
    size_t first, n; /* rows of the pass */
    size_t head, kv_head;
    size_t key0;   /* row of the first key that the first row sees */
    size_t n_keys; /* keys from there to the last that the last row sees */
    size_t seen;   /* those that the first row sees */
} block;

size_t hearth_attention__aux(const hearth_decoder *d) {
    return 2 * d->query_rows * d->n_keys + d->query_rows;
}

static attention_job make_job(const hearth_decoder *d, const hearth_pass *p,
                              const hearth_slot *s, size_t window) {
    return (attention_job){.d = d,
                           .p = p,
                           .s = s,
                           .q_ld = (size_t)d->c->n_heads * d->c->head_dim,
                           .kv_ld = (size_t)d->c->n_kv_heads * d->c->head_dim,
                           .scale = (hearth_real)d->c->attn_scale,
                           .window = window ? window : SIZE_MAX};
}

/* The query block that starts at `row` (within its document). */
static block make_block(const attention_job *j, size_t doc, size_t head,
                        size_t row) {
    size_t start = j->p->doc_start[doc];
    size_t len = j->p->doc_start[doc + 1] - start;
    block b = {.first = start + row,
               .n = len - row < j->d->query_rows ? len - row : j->d->query_rows,
               .head = head,
               .kv_head = head / (j->d->c->n_heads / j->d->c->n_kv_heads)};
    size_t all = j->p->past + row + 1; /* keys up to the first row's own */
    b.seen = all < j->window ? all : j->window;
    b.key0 = start + (all - b.seen); /* a cache holds one document, at 0 */
    b.n_keys = b.seen + b.n - 1;
    return b;
}

/* The keys [*from, *to) of the block that row i sees. */
static void span_of(const attention_job *j, const block *b, size_t i,
                    size_t *from, size_t *to) {
    *to = b->seen + i;
    *from = *to > j->window ? *to - j->window : 0;
}

static void forward_block(const attention_job *j, const block *b,
                          hearth_real *score) {
    const hearth_kernels *k = j->d->compute.kernels;
    size_t hd = j->d->c->head_dim, n_heads = j->d->c->n_heads;
    const hearth_real *q = j->s->q + b->first * j->q_ld + b->head * hd;
    const hearth_real *key = j->s->k + b->key0 * j->kv_ld + b->kv_head * hd;
    const hearth_real *value = j->s->v + b->key0 * j->kv_ld + b->kv_head * hd;
    hearth_real *o = j->s->o + b->first * j->q_ld + b->head * hd;
    k->gemm_nt(b->n, b->n_keys, hd, j->scale, q, j->q_ld, key, j->kv_ld, 0,
               score, b->n_keys);
    for (size_t i = 0; i < b->n; i++) {
        hearth_real *row = score + i * b->n_keys;
        size_t from, to;
        span_of(j, b, i, &from, &to);
        hearth_real top = k->max(to - from, row + from);
        hearth_real sum = k->exp_shift(to - from, row + from, top, row + from);
        hearth_real inverse = 1 / sum;
        for (size_t l = 0; l < from; l++) row[l] = 0;
        for (size_t l = from; l < to; l++) row[l] *= inverse;
        for (size_t l = to; l < b->n_keys; l++) row[l] = 0;
        if (!j->s->top) continue; /* inference keeps nothing */
        j->s->top[(b->first + i) * n_heads + b->head] = top;
        j->s->inverse[(b->first + i) * n_heads + b->head] = inverse;
    }
    k->gemm_nn(b->n, hd, b->n_keys, 1, score, b->n_keys, value, j->kv_ld, 0, o,
               j->q_ld);
}

static void forward_tile(void *ud, size_t tile, size_t worker) {
    const attention_job *j = ud;
    size_t n_heads = j->d->c->n_heads;
    size_t doc = tile / n_heads, head = tile % n_heads;
    hearth_real *score = j->d->aux + worker * j->d->aux_reals;
    size_t len = j->p->doc_start[doc + 1] - j->p->doc_start[doc];
    for (size_t row = 0; row < len; row += j->d->query_rows) {
        block b = make_block(j, doc, head, row);
        forward_block(j, &b, score);
    }
}

void hearth_attention__forward(hearth_decoder *d, const hearth_pass *p,
                               const hearth_slot *s, size_t window) {
    attention_job j = make_job(d, p, s, window);
    hearth_pool_run(d->compute.pool, p->n_docs * d->c->n_heads, forward_tile,
                    &j);
}

/* P from scores and the kept maximum and sum, then dS = P (dP - D) scale, where
 * D = dO . O of the row.  P stays in p, dS replaces dP. */
static void score_gradient(const attention_job *j, const block *b,
                           hearth_real *p, hearth_real *dp) {
    const hearth_kernels *k = j->d->compute.kernels;
    size_t hd = j->d->c->head_dim, n_heads = j->d->c->n_heads;
    for (size_t i = 0; i < b->n; i++) {
        size_t row = b->first + i, at = row * j->q_ld + b->head * hd;
        size_t from, to;
        span_of(j, b, i, &from, &to);
        hearth_real *pi = p + i * b->n_keys, *di = dp + i * b->n_keys;
        hearth_real top = j->s->top[row * n_heads + b->head];
        hearth_real inverse = j->s->inverse[row * n_heads + b->head];
        hearth_real dot = k->dot(hd, j->d->d_o + at, j->s->o + at);
        (void)k->exp_shift(to - from, pi + from, top, pi + from);
        for (size_t l = 0; l < from; l++) pi[l] = di[l] = 0;
        for (size_t l = from; l < to; l++) {
            pi[l] *= inverse;
            di[l] = pi[l] * (di[l] - dot) * j->scale;
        }
        for (size_t l = to; l < b->n_keys; l++) pi[l] = di[l] = 0;
    }
}

static void backward_block(const attention_job *j, const block *b,
                           hearth_real *p, hearth_real *dp) {
    const hearth_decoder *d = j->d;
    const hearth_kernels *k = d->compute.kernels;
    size_t hd = d->c->head_dim, m = b->n_keys;
    size_t at_q = b->first * j->q_ld + b->head * hd;
    size_t at_k = b->key0 * j->kv_ld + b->kv_head * hd;
    const hearth_real *q = j->s->q + at_q, *d_o = d->d_o + at_q;
    k->gemm_nt(b->n, m, hd, j->scale, q, j->q_ld, j->s->k + at_k, j->kv_ld, 0,
               p, m);
    k->gemm_nt(b->n, m, hd, 1, d_o, j->q_ld, j->s->v + at_k, j->kv_ld, 0, dp,
               m);
    score_gradient(j, b, p, dp);
    k->gemm_tn(m, hd, b->n, 1, p, m, d_o, j->q_ld, 1, d->dv + at_k, j->kv_ld);
    k->gemm_nn(b->n, hd, m, 1, dp, m, j->s->k + at_k, j->kv_ld, 0, d->dq + at_q,
               j->q_ld);
    k->gemm_tn(m, hd, b->n, 1, dp, m, q, j->q_ld, 1, d->dk + at_k, j->kv_ld);
}

static void backward_tile(void *ud, size_t tile, size_t worker) {
    const attention_job *j = ud;
    const hearth_decoder *d = j->d;
    size_t n_kv = d->c->n_kv_heads, hd = d->c->head_dim;
    size_t doc = tile / n_kv, kv = tile % n_kv, group = d->c->n_heads / n_kv;
    size_t start = j->p->doc_start[doc];
    size_t len = j->p->doc_start[doc + 1] - start;
    hearth_real *p = d->aux + worker * d->aux_reals;
    hearth_real *dp = p + d->query_rows * d->n_keys;
    for (size_t i = start; i < start + len; i++) {
        memset(d->dk + i * j->kv_ld + kv * hd, 0, hd * sizeof(*d->dk));
        memset(d->dv + i * j->kv_ld + kv * hd, 0, hd * sizeof(*d->dv));
    }
    for (size_t g = 0; g < group; g++)
        for (size_t row = 0; row < len; row += d->query_rows) {
            block b = make_block(j, doc, kv * group + g, row);
            backward_block(j, &b, p, dp);
        }
}

void hearth_attention__backward(hearth_decoder *d, const hearth_pass *p,
                                const hearth_slot *s, size_t window) {
    attention_job j = make_job(d, p, s, window);
    hearth_pool_run(d->compute.pool, p->n_docs * d->c->n_kv_heads,
                    backward_tile, &j);
}

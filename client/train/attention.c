/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/attention.c - grouped-query causal attention inside documents.
 *
 * A block of query rows meets its keys tile by tile, with a running maximum and
 * sum for each row: scores of one tile exist at a time, per worker, whatever
 * the length.  Tiles that no row of the block sees (later keys, keys before the
 * window, other documents) are never made.  The backward pass makes the
 * probabilities again from each row's maximum and sum: its tiles are of as many
 * keys, or with small_tiles of half as many, and dQ is summed over runs of half a
 * tile in any case, so that they give the same bytes.
 *
 * Where kernels have a set for it, products are by pairs of bfloat16 numbers
 * (attention_pairs.c); the cut into tasks is the same.
 *
 * Forward, a task is some blocks of one head of a document; their outputs are
 * their own.  Backward it is a share of the query heads of one key-value head:
 * each share has its own dK and dV, added in the order of the shares.
 * Source: Dao et al., FlashAttention, arXiv:2205.14135.
 */
#include <string.h>

#include "client/train/attention_private.h"
#include "common/refmath.h"

#define MAX_QUERIES ((size_t)128) /* rows of a block, in long documents */
#define FEW_QUERIES ((size_t)64)  /* the same in short ones: less is masked */
#define LONG        ((size_t)512) /* tokens of a long document */
#define MAX_KEYS    ((size_t)256) /* keys of a tile */
#define KEY_RUN     ((size_t)128) /* keys whose share of dQ is one sum */
#define MAX_STRIPS  ((size_t)8)   /* tasks that share a head of a document */
#define WANT_TASKS  ((size_t)8)

typedef hearth_attention_job attention_job;
typedef hearth_attention_block block;

/* Some of its keys. */
typedef struct {
    size_t first, n;
} keys;

static size_t min_size(size_t a, size_t b) {
    return a < b ? a : b;
}

void hearth_attention__derive(hearth_decoder *d) {
    bool is_long = d->shape.max_tokens >= LONG;
    d->query_rows =
        min_size(d->shape.max_tokens, is_long ? MAX_QUERIES : FEW_QUERIES);
    d->n_keys = min_size(d->n_positions, MAX_KEYS);
    d->back_keys =
        min_size(d->n_keys, d->shape.small_tiles ? KEY_RUN : MAX_KEYS);
}

size_t hearth_attention__aux(const hearth_decoder *d) {
    size_t back = 2 * d->back_keys; /* P and dP */
    size_t vectors = d->query_rows * (back > d->n_keys ? back : d->n_keys);
    size_t pairs = hearth_attention_pairs__aux(d);
    return vectors > pairs ? vectors : pairs;
}

size_t hearth_attention__halves(const hearth_decoder *d) {
    return hearth_attention_pairs__halves(d, d->shape.max_tokens);
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

static size_t length_of(const attention_job *j, size_t doc) {
    return j->p->doc_start[doc + 1] - j->p->doc_start[doc];
}

static size_t block_rows(const attention_job *j, size_t length) {
    if (j->room.most) return hearth_attention_pairs__queries(j->d);
    return length < LONG ? FEW_QUERIES : MAX_QUERIES;
}

/* First key that the query whose own key is `own` sees. */
static size_t first_key(const attention_job *j, const block *b, size_t own) {
    size_t before = own - b->doc_key;
    return before < j->window ? b->doc_key : own + 1 - j->window;
}

/* The query block that starts at `row` of its document. */
static block make_block(const attention_job *j, size_t doc, size_t head,
                        size_t row) {
    size_t start = j->p->doc_start[doc], len = length_of(j, doc);
    size_t hd = j->d->c->head_dim;
    size_t group = j->d->c->n_heads / j->d->c->n_kv_heads;
    block b = {.first = start + row,
               .n = min_size(len - row, block_rows(j, len)),
               .at_kv = head / group * hd,
               .head = head,
               .doc_key = start, /* a cache holds one document, at 0 */
               .own_key = start + j->p->past + row};
    b.at_q = b.first * j->q_ld + head * hd;
    b.lo = first_key(j, &b, b.own_key);
    b.hi = b.own_key + b.n;
    return b;
}

static keys keys_from(const block *b, size_t first, size_t most) {
    return (keys){first, min_size(most, b->hi - first)};
}

/* The part [*from, *to) of a tile that row i of the block sees; may be empty.
 */
static void span_of(const attention_job *j, const block *b, keys t, size_t i,
                    size_t *from, size_t *to) {
    size_t own = b->own_key + i, lo = first_key(j, b, own);
    *to = own < t.first ? 0 : min_size(own + 1 - t.first, t.n);
    *from = lo < t.first ? 0 : min_size(lo - t.first, *to);
}

static void clear_outside(hearth_real *row, size_t from, size_t to, size_t n) {
    for (size_t l = 0; l < from; l++) row[l] = 0;
    for (size_t l = to; l < n; l++) row[l] = 0;
}

/* Scores of one tile become exp(score - top); what came before (the sums, and
 * the output unless this tile is the first) is scaled to the new maxima. */
static void fold_tile(const attention_job *j, const block *b, keys t,
                      hearth_real *score, hearth_real *top, hearth_real *sum) {
    const hearth_kernels *k = j->d->compute.kernels;
    size_t hd = j->d->c->head_dim;
    for (size_t i = 0; i < b->n; i++) {
        hearth_real *row = score + i * t.n;
        size_t from, to;
        span_of(j, b, t, i, &from, &to);
        clear_outside(row, from, to, t.n);
        if (from == to) continue;
        hearth_real most = k->max(to - from, row + from);
        if (most > top[i]) {
            double step = (double)top[i] - (double)most;
            hearth_real shrink = (hearth_real)hearth_ref_exp(step);
            hearth_real *o = j->s->o + b->at_q + i * j->q_ld;
            top[i] = most;
            sum[i] *= shrink;
            for (size_t c = 0; t.first > b->lo && c < hd; c++) o[c] *= shrink;
        }
        sum[i] += k->exp_shift(to - from, row + from, top[i], row + from);
    }
}

static void forward_block(const attention_job *j, const block *b,
                          hearth_real *score) {
    const hearth_kernels *k = j->d->compute.kernels;
    size_t hd = j->d->c->head_dim, n_heads = j->d->c->n_heads;
    hearth_real top[MAX_QUERIES], sum[MAX_QUERIES] = {0};
    hearth_real *o = j->s->o + b->at_q;
    for (size_t i = 0; i < b->n; i++) top[i] = -HEARTH_REAL_MAX;
    keys t = keys_from(b, b->lo, MAX_KEYS);
    for (; t.n; t = keys_from(b, t.first + t.n, MAX_KEYS)) {
        size_t at = t.first * j->kv_ld + b->at_kv;
        k->gemm_nt(b->n, t.n, hd, j->scale, j->s->q + b->at_q, j->q_ld,
                   j->s->k + at, j->kv_ld, 0, score, t.n);
        fold_tile(j, b, t, score, top, sum);
        k->gemm_nn(b->n, hd, t.n, 1, score, t.n, j->s->v + at, j->kv_ld,
                   t.first > b->lo, o, j->q_ld);
    }
    for (size_t i = 0; i < b->n; i++) {
        hearth_real inverse = 1 / sum[i];
        for (size_t c = 0; c < hd; c++) o[i * j->q_ld + c] *= inverse;
        if (!j->s->top) continue; /* inference keeps nothing */
        j->s->top[(b->first + i) * n_heads + b->head] = top[i];
        j->s->inverse[(b->first + i) * n_heads + b->head] = inverse;
    }
}

static void forward_task(void *ud, size_t task, size_t worker) {
    const attention_job *j = ud;
    size_t group = j->d->c->n_heads / j->d->c->n_kv_heads;
    size_t n_heads = j->room.n * group, strip = task % j->strips;
    size_t head = j->room.first * group + task / j->strips % n_heads;
    size_t doc = task / j->strips / n_heads, len = length_of(j, doc);
    size_t rows = block_rows(j, len);
    hearth_real *score = j->d->aux + worker * j->d->aux_reals;
    for (size_t row = strip * rows; row < len; row += j->strips * rows) {
        block b = make_block(j, doc, head, row);
        if (j->room.most)
            hearth_attention_pairs__forward(j, &b, worker);
        else
            forward_block(j, &b, score);
    }
}

/* Some key-value heads after the other: as many as there is room for. */
static void run_heads(attention_job *j, size_t tasks_of_head,
                      hearth_pool_fn task) {
    size_t n_kv = j->d->c->n_kv_heads, step = j->room.most;
    for (size_t kv = 0; kv < n_kv; kv += j->room.n) {
        if (step) {
            hearth_attention_pairs__round(j, kv, min_size(step, n_kv - kv));
        } else {
            j->room.n = n_kv;
        }
        hearth_pool_run(j->d->compute.pool,
                        j->p->n_docs * j->room.n * tasks_of_head, task, j);
    }
}

void hearth_attention__forward(hearth_decoder *d, const hearth_pass *p,
                               const hearth_slot *s, size_t window) {
    attention_job j = make_job(d, p, s, window);
    size_t n = p->n_docs * d->c->n_heads;
    j.strips = n < 2 * WANT_TASKS ? MAX_STRIPS : 1;
    hearth_attention_pairs__begin(&j, false);
    run_heads(&j, d->c->n_heads / d->c->n_kv_heads * j.strips, forward_task);
}

/* P from scores and the kept maximum and sum, then dS = P (dP - D) scale, where
 * D = dO . O of the row.  P stays in p, dS replaces dP. */
static void score_gradient(const attention_job *j, const block *b, keys t,
                           const hearth_real *dots, hearth_real *p,
                           hearth_real *dp) {
    const hearth_kernels *k = j->d->compute.kernels;
    size_t n_heads = j->d->c->n_heads;
    for (size_t i = 0; i < b->n; i++) {
        size_t at = (b->first + i) * n_heads + b->head, from, to;
        hearth_real *pi = p + i * t.n, *di = dp + i * t.n;
        hearth_real inverse = j->s->inverse[at], dot = dots[i];
        span_of(j, b, t, i, &from, &to);
        clear_outside(pi, from, to, t.n);
        clear_outside(di, from, to, t.n);
        (void)k->exp_shift(to - from, pi + from, j->s->top[at], pi + from);
        for (size_t l = from; l < to; l++) {
            pi[l] *= inverse;
            di[l] = pi[l] * (di[l] - dot) * j->scale;
        }
    }
}

/* What a tile adds to dQ. */
static void add_queries(const attention_job *j, const block *b, keys t,
                        const hearth_real *ds, const hearth_real *key) {
    const hearth_decoder *d = j->d;
    size_t hd = d->c->head_dim;
    for (size_t i = 0; i < t.n; i += KEY_RUN)
        d->compute.kernels->gemm_nn(b->n, hd, min_size(KEY_RUN, t.n - i), 1,
                                    ds + i, t.n, key + i * j->kv_ld, j->kv_ld,
                                    t.first + i > b->lo, d->dq + b->at_q,
                                    j->q_ld);
}

/* dk, dv: of the task, row 0 of the pass. */
static void backward_block(const attention_job *j, const block *b,
                           hearth_real *p, hearth_real *dk, hearth_real *dv) {
    const hearth_decoder *d = j->d;
    const hearth_kernels *k = d->compute.kernels;
    size_t hd = d->c->head_dim;
    const hearth_real *q = j->s->q + b->at_q, *d_o = d->d_o + b->at_q;
    hearth_real *dp = p + d->query_rows * d->back_keys, dots[MAX_QUERIES];
    size_t most = d->shape.small_tiles ? KEY_RUN : MAX_KEYS;
    for (size_t i = 0; i < b->n; i++)
        dots[i] =
            k->dot(hd, d_o + i * j->q_ld, j->s->o + b->at_q + i * j->q_ld);
    keys t = keys_from(b, b->lo, most);
    for (; t.n; t = keys_from(b, t.first + t.n, most)) {
        size_t at = t.first * j->kv_ld + b->at_kv, m = t.n;
        const hearth_real *key = j->s->k + at;
        k->gemm_nt(b->n, m, hd, j->scale, q, j->q_ld, key, j->kv_ld, 0, p, m);
        k->gemm_nt(b->n, m, hd, 1, d_o, j->q_ld, j->s->v + at, j->kv_ld, 0, dp,
                   m);
        score_gradient(j, b, t, dots, p, dp);
        k->gemm_tn(m, hd, b->n, 1, p, m, d_o, j->q_ld, 1, dv + at, j->kv_ld);
        add_queries(j, b, t, dp, key);
        k->gemm_tn(m, hd, b->n, 1, dp, m, q, j->q_ld, 1, dk + at, j->kv_ld);
    }
}

/* Where a share puts its dK [T, KV] and, behind it, its dV: the first into dk
 * and dv themselves, others into the two [T, D] that wait for the projections'
 * backward pass, by turns. */
static hearth_real *share_rows(const attention_job *j, size_t share) {
    size_t pair = 2 * j->p->n * j->kv_ld, turn = (share - 1) / 2;
    return (share % 2 ? j->d->h : j->d->dh) + turn * pair;
}

static size_t count_shares(const hearth_decoder *d, size_t kv_width) {
    size_t group = d->c->n_heads / d->c->n_kv_heads;
    size_t want = (WANT_TASKS + d->c->n_kv_heads - 1) / d->c->n_kv_heads;
    size_t room = 1 + 2 * (d->c->hidden_size / (2 * kv_width));
    return min_size(min_size(group, want), room);
}

static void backward_task(void *ud, size_t task, size_t worker) {
    const attention_job *j = ud;
    const hearth_decoder *d = j->d;
    size_t n_kv = j->room.n, hd = d->c->head_dim;
    size_t group = d->c->n_heads / d->c->n_kv_heads, share = task % j->shares;
    size_t kv = j->room.first + task / j->shares % n_kv;
    size_t doc = task / j->shares / n_kv;
    size_t start = j->p->doc_start[doc], len = length_of(j, doc);
    hearth_real *p = d->aux + worker * d->aux_reals;
    hearth_real *dk = share ? share_rows(j, share) : d->dk;
    hearth_real *dv = share ? dk + j->p->n * j->kv_ld : d->dv;
    for (size_t i = start; i < start + len; i++) {
        memset(dk + i * j->kv_ld + kv * hd, 0, hd * sizeof(*dk));
        memset(dv + i * j->kv_ld + kv * hd, 0, hd * sizeof(*dv));
    }
    size_t g = group * share / j->shares;
    for (; g < group * (share + 1) / j->shares; g++)
        for (size_t row = 0; row < len; row += block_rows(j, len)) {
            block b = make_block(j, doc, kv * group + g, row);
            if (j->room.most)
                hearth_attention_pairs__backward(j, &b, worker, dk, dv);
            else
                backward_block(j, &b, p, dk, dv);
        }
}

static void add_shares(void *ud, size_t first, size_t n) {
    const attention_job *j = ud;
    const hearth_kernels *k = j->d->compute.kernels;
    size_t at = first * j->kv_ld, behind = j->p->n * j->kv_ld;
    for (size_t share = 1; share < j->shares; share++) {
        const hearth_real *from = share_rows(j, share) + at;
        k->accumulate(n * j->kv_ld, from, j->d->dk + at);
        k->accumulate(n * j->kv_ld, from + behind, j->d->dv + at);
    }
}

void hearth_attention__backward(hearth_decoder *d, const hearth_pass *p,
                                const hearth_slot *s, size_t window) {
    attention_job j = make_job(d, p, s, window);
    j.shares = count_shares(d, j.kv_ld);
    hearth_attention_pairs__begin(&j, true);
    run_heads(&j, j.shares, backward_task);
    if (j.shares > 1) hearth_decoder__rows(d, p->n, add_shares, &j);
}

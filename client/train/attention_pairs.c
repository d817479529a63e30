/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/attention_pairs.c - blocks of attention whose products are by
 * pairs of bfloat16 numbers (kernels.h), f32 numbers in as many parts as the
 * set has.
 *
 * Everything is turned: scores are [keys, queries].  So keys and values are
 * always the left factor, whose rows are rounded once for all queries of their
 * heads; a block of queries makes its panels once for all its keys; and of
 * scores and their gradients, which exist for one tile only, the same rounded
 * rows are the left factor of dK and dV and give the panels of O and dQ:
 *
 *   S^T  = K Q^T          P^T  = exp(S^T scale - top)      O^T  += V^T P^T
 *   dP^T = V dO^T         dS^T = P^T (dP^T - D) scale      dQ^T += K^T dS^T
 *   dV  += P^T dO         dK  += dS^T Q
 *
 * Rows of a tile are then keys, and what belongs to a query (maximum, sum, D)
 * is a vector along the row.
 *
 * With small_tiles a tile goes back in two parts.  They give the same bytes: dQ
 * is summed over runs of KEY_RUN keys in any case, and dK and dV are the keys'
 * own.
 */
#include <string.h>

#include "client/train/attention_private.h"
#include "client/train/pairs.h"

#define MANY_QUERIES ((size_t)128) /* rows of a block */
#define FEW_QUERIES  ((size_t)64)  /* the same for long heads */
#define LONG_HEAD    ((size_t)64)
#define MAX_KEYS     ((size_t)128) /* keys of a tile */
#define KEY_RUN      ((size_t)64)  /* keys whose share of dQ is one sum */
#define MIN_HEAD     ((size_t)32)  /* shorter heads fill no tile of a product */
#define MIN_TOKENS   ((size_t)32)
#define STRIP        ((size_t)256) /* tokens that a task rounds */
#define TILE_HALVES  (HEARTH_WEIGHT_TILE_BYTES / sizeof(uint16_t))

typedef hearth_attention_job job;
typedef hearth_attention_block block;

static size_t min_size(size_t a, size_t b) {
    return a < b ? a : b;
}

static size_t max_size(size_t a, size_t b) {
    return a > b ? a : b;
}

size_t hearth_attention_pairs__queries(const hearth_decoder *d) {
    return d->c->head_dim > LONG_HEAD ? FEW_QUERIES : MANY_QUERIES;
}

/* One head's rows of keys and values, and its keys turned. */
static size_t head_halves(const hearth_decoder *d, size_t n, bool back) {
    size_t rows = (back ? 2 : 1) * n * hearth_pairs_pitch(d->c->head_dim);
    size_t turned = d->c->head_dim * hearth_pairs_pitch(n);
    return d->shape.attention_parts * (rows + turned);
}

size_t hearth_attention_pairs__halves(const hearth_decoder *d, size_t n) {
    size_t hd = d->c->head_dim;
    if (hd < MIN_HEAD || hd > HEARTH_PANEL_DEPTH) return 0;
    /* Passes of fewer tokens fit too: rows of 64 numbers have a pitch of 96,
     * those of 68 one of 68. */
    return head_halves(d, n, true) + d->shape.attention_parts * hd * 32;
}

/* Keys of a tile, at most. */
static size_t most_keys(const hearth_decoder *d, bool back) {
    bool parts = back && d->shape.small_tiles;
    return min_size(d->n_positions, parts ? KEY_RUN : MAX_KEYS);
}

size_t hearth_attention_pairs__aux(const hearth_decoder *d) {
    if (!d->shape.attention_parts) return 0;
    size_t most = hearth_attention_pairs__queries(d);
    size_t queries = min_size(d->shape.max_tokens, most);
    size_t tiles = max_size(most_keys(d, false), 2 * most_keys(d, true));
    return queries * (tiles + d->c->head_dim);
}

/* ---- what a worker's tile of scratch holds, in halves ---- */

typedef struct {
    uint16_t *q, *d_o;                   /* panels: sums over the head */
    uint16_t *q_straight, *d_o_straight; /* the same: sums over queries */
    uint16_t *rows;       /* rounded: queries first, then a tile of scores */
    uint16_t *panels;     /* of these scores; behind the rows */
    size_t ld, ld_scores; /* of the rows */
} scratch;

/* n: queries.  Returns the halves that it takes. */
static size_t lay_out(scratch *x, const hearth_kernels *k, size_t n, size_t hd,
                      uint16_t *at) {
    size_t turned = hearth_pairs_panels(k, k->pair_parts, n, hd);
    size_t straight = hearth_pairs_panels(k, k->pair_parts, hd, n);
    size_t scores, panels = 2 * turned + 2 * straight;
    x->ld = k->pair_parts * hearth_pairs_pitch(hd);
    x->ld_scores = k->pair_parts * hearth_pairs_pitch(n);
    scores = MAX_KEYS * x->ld_scores;
    if (at) {
        x->q = at;
        x->d_o = x->q + turned;
        x->q_straight = x->d_o + turned;
        x->d_o_straight = x->q_straight + straight;
        x->rows = x->d_o_straight + straight;
        x->panels = x->rows + scores;
    }
    return panels +
           max_size(n * x->ld, scores + hearth_pairs_panels(k, k->pair_parts, n,
                                                            MAX_KEYS));
}

static scratch open_scratch(const job *j, const block *b, size_t worker) {
    const hearth_compute *c = &j->d->compute;
    scratch x;
    (void)lay_out(&x, j->d->pairs, b->n, j->d->c->head_dim,
                  (uint16_t *)(void *)hearth_compute_tile(c, worker));
    return x;
}

/* Panels of n columns from rounded rows: one a column and n_s numbers long, or
 * n_s rows of n. */
static void make_panels(const hearth_kernels *k, bool turned, size_t n,
                        size_t n_s, const uint16_t *rows, size_t ld,
                        uint16_t *panels) {
    size_t part = ld / k->pair_parts;
    for (size_t i = 0; i < n; i += k->pair_panel)
        hearth_pairs_pack(
            k, k->pair_parts, turned, min_size(k->pair_panel, n - i), n_s,
            (const unsigned char *)(rows + i * (turned ? ld : 1)), ld,
            part * sizeof(*rows),
            panels + hearth_pairs_panels(k, k->pair_parts, i, n_s));
}

/* c[m, n] (+)= a[m, n_s] panels[n_s, n]. */
static void multiply(const hearth_kernels *k, size_t m, size_t n, size_t n_s,
                     const uint16_t *a, size_t lda, uint16_t *panels, int add,
                     hearth_real *c, size_t ldc) {
    for (size_t i = 0; i < n; i += k->pair_panel)
        k->gemm_pairs(
            m, min_size(k->pair_panel, n - i), n_s, a, lda,
            (uint32_t *)(void *)(panels +
                                 hearth_pairs_panels(k, k->pair_parts, i, n_s)),
            k->pair_parts, add, c + i, ldc);
}

/* ---- keys and values ---- */

void hearth_attention_pairs__begin(hearth_attention_job *j, bool back) {
    const hearth_decoder *d = j->d;
    const hearth_kernels *k = d->pairs;
    size_t hd = d->c->head_dim, n = j->p->n;
    hearth_attention_room *r = &j->room;
    scratch none;
    *r = (hearth_attention_room){.back = back};
    if (!k || !d->compute.halves || !d->compute.tile) return;
    if (k->pair_parts != d->shape.attention_parts || j->p->past ||
        n < MIN_TOKENS || !hearth_attention_pairs__halves(d, n))
        return;
    if (lay_out(&none, k, hearth_attention_pairs__queries(d), hd, NULL) >
        TILE_HALVES)
        return;
    r->ld_rows = k->pair_parts * hearth_pairs_pitch(hd);
    r->ld_turned = k->pair_parts * hearth_pairs_pitch(n);
    r->head = head_halves(d, n, back);
    r->most = min_size(d->compute.n_halves / r->head, d->c->n_kv_heads);
}

typedef struct {
    const uint16_t *k, *v, *turned; /* of row 0 */
} rounded;

static rounded head_of(const job *j, size_t kv) {
    const hearth_attention_room *r = &j->room;
    uint16_t *at = j->d->compute.halves + (kv - r->first) * r->head;
    size_t rows = j->p->n * r->ld_rows;
    return (rounded){at, at + rows, at + (r->back ? 2 : 1) * rows};
}

/* Columns of x [n][ld] as rounded rows, from row `first` on. */
static void round_turned(const hearth_kernels *k, size_t first, size_t n,
                         size_t columns, const hearth_real *x, size_t ld,
                         uint16_t *out, size_t ldo) {
    hearth_real column[STRIP];
    for (size_t c = 0; c < columns; c++) {
        for (size_t i = 0; i < n; i++) column[i] = x[(first + i) * ld + c];
        k->round_rows(1, n, column, n, out + c * ldo + first, ldo);
    }
}

static void round_task(void *ud, size_t task, size_t worker) {
    const job *j = ud;
    const hearth_kernels *k = j->d->pairs;
    const hearth_attention_room *r = &j->room;
    size_t head = task % r->n, first = task / r->n * STRIP;
    size_t n = min_size(STRIP, j->p->n - first), hd = j->d->c->head_dim;
    size_t at = first * j->kv_ld + (r->first + head) * hd;
    uint16_t *rows = j->d->compute.halves + head * r->head;
    uint16_t *turned = rows + (r->back ? 2 : 1) * j->p->n * r->ld_rows;
    (void)worker;
    k->round_rows(n, hd, j->s->k + at, j->kv_ld, rows + first * r->ld_rows,
                  r->ld_rows);
    if (r->back)
        k->round_rows(n, hd, j->s->v + at, j->kv_ld,
                      rows + (j->p->n + first) * r->ld_rows, r->ld_rows);
    round_turned(k, first, n, hd,
                 (r->back ? j->s->k : j->s->v) + (r->first + head) * hd,
                 j->kv_ld, turned, r->ld_turned);
}

void hearth_attention_pairs__round(hearth_attention_job *j, size_t first,
                                   size_t n) {
    j->room.first = first;
    j->room.n = n;
    hearth_pool_run(j->d->compute.pool, n * ((j->p->n + STRIP - 1) / STRIP),
                    round_task, j);
}

/* ---- one tile: keys first .. first + n - 1 ---- */

typedef struct {
    size_t first, n;
} keys;

static keys keys_from(const block *b, size_t first) {
    return (keys){first, min_size(MAX_KEYS, b->hi - first)};
}

/* Going back: the same, or a part of it. */
static keys back_from(const job *j, const block *b, size_t first) {
    keys t = keys_from(b, first);
    if (j->d->shape.small_tiles) t.n = min_size(KEY_RUN, t.n);
    return t;
}

/* The queries [*from, *to) of the block that see a key; may be none. */
static void seen_by(const job *j, const block *b, size_t key, size_t *from,
                    size_t *to) {
    *from = key > b->own_key ? key - b->own_key : 0;
    *to = b->n;
    if (b->own_key + b->n - 1 - key >= j->window) /* not the last one */
        *to = key + j->window > b->own_key ? key + j->window - b->own_key : 0;
    if (*from > *to) *from = *to;
}

static void clear_outside(hearth_real *row, size_t from, size_t to, size_t n) {
    for (size_t i = 0; i < from; i++) row[i] = 0;
    for (size_t i = to; i < n; i++) row[i] = 0;
}

/* S^T and dP^T of a tile: a [keys, head] by the panels of queries.  Of a panel's
 * queries the last sees most: keys behind that one's are left out. */
static void scores(const job *j, const block *b, keys t, const uint16_t *a,
                   uint16_t *panels, hearth_real *s) {
    const hearth_kernels *k = j->d->pairs;
    size_t hd = j->d->c->head_dim, ld = j->room.ld_rows;
    for (size_t i = 0; i < b->n; i += k->pair_panel) {
        size_t n = min_size(k->pair_panel, b->n - i);
        size_t end = b->own_key + i + n; /* behind the last key seen */
        if (end > t.first)
            multiply(k, min_size(t.n, end - t.first), n, hd, a + t.first * ld,
                     ld, panels + hearth_pairs_panels(k, k->pair_parts, i, hd),
                     0, s + i, b->n);
    }
}

/* Scores of a tile become P^T; top and sum go on, *shrink is what everything
 * before is to be scaled by.  Returns whether that is not 1 everywhere. */
static bool fold_tile(const job *j, const block *b, keys t, hearth_real *s,
                      hearth_real *top, hearth_real *sum, hearth_real *shrink) {
    const hearth_kernels *k = j->d->pairs;
    hearth_real before[MANY_QUERIES];
    size_t n = b->n, from, to;
    bool moved = false;
    memcpy(before, top, n * sizeof(*before));
    for (size_t r = 0; r < t.n; r++) {
        seen_by(j, b, t.first + r, &from, &to);
        k->column_max(to - from, j->scale, s + r * n + from, top + from);
    }
    for (size_t i = 0; i < n; i++) { /* nothing seen: nothing to scale */
        shrink[i] = before[i] > -HEARTH_REAL_MAX ? before[i] - top[i] : 0;
        moved = moved || shrink[i] < 0;
    }
    (void)k->exp_shift(n, shrink, 0, shrink);
    for (size_t i = 0; i < n; i++) sum[i] *= shrink[i];
    for (size_t r = 0; r < t.n; r++) {
        seen_by(j, b, t.first + r, &from, &to);
        clear_outside(s + r * n, from, to, n);
        k->column_exp(to - from, j->scale, s + r * n + from, top + from,
                      sum + from);
    }
    return moved;
}

/* Scores and dP^T of a tile become P^T and dS^T. */
static void score_gradient(const job *j, const block *b, keys t,
                           const hearth_real *top, const hearth_real *inverse,
                           const hearth_real *dots, hearth_real *s,
                           hearth_real *ds) {
    const hearth_kernels *k = j->d->pairs;
    size_t n = b->n, from, to;
    for (size_t r = 0; r < t.n; r++) {
        hearth_real *p = s + r * n, *g = ds + r * n;
        seen_by(j, b, t.first + r, &from, &to);
        clear_outside(p, from, to, n);
        clear_outside(g, from, to, n);
        k->column_back(to - from, j->scale, top + from, inverse + from,
                       dots + from, p + from, g + from);
    }
}

/* ---- blocks ---- */

void hearth_attention_pairs__forward(const hearth_attention_job *j,
                                     const hearth_attention_block *b,
                                     size_t worker) {
    const hearth_decoder *d = j->d;
    const hearth_kernels *k = d->pairs;
    size_t hd = d->c->head_dim, n = b->n, n_heads = d->c->n_heads;
    const rounded kv = head_of(j, b->at_kv / hd);
    const scratch x = open_scratch(j, b, worker);
    hearth_real top[MANY_QUERIES], sum[MANY_QUERIES], shrink[MANY_QUERIES];
    hearth_real *s = d->aux + worker * d->aux_reals;
    hearth_real *o = s + n * most_keys(d, false);
    for (size_t i = 0; i < n; i++) {
        top[i] = -HEARTH_REAL_MAX;
        sum[i] = 0;
    }
    k->round_rows(n, hd, j->s->q + b->at_q, j->q_ld, x.rows, x.ld);
    make_panels(k, true, n, hd, x.rows, x.ld, x.q);
    for (keys t = keys_from(b, b->lo); t.n; t = keys_from(b, t.first + t.n)) {
        scores(j, b, t, kv.k, x.q, s);
        bool scale = fold_tile(j, b, t, s, top, sum, shrink);
        for (size_t c = 0; scale && t.first > b->lo && c < hd; c++)
            for (size_t i = 0; i < n; i++) o[c * n + i] *= shrink[i];
        k->round_rows(t.n, n, s, n, x.rows, x.ld_scores);
        make_panels(k, false, n, t.n, x.rows, x.ld_scores, x.panels);
        multiply(k, hd, n, t.n, kv.turned + t.first, j->room.ld_turned,
                 x.panels, t.first > b->lo, o, n);
    }
    for (size_t i = 0; i < n; i++) {
        hearth_real inverse = 1 / sum[i];
        hearth_real *out = j->s->o + b->at_q + i * j->q_ld;
        for (size_t c = 0; c < hd; c++) out[c] = o[c * n + i] * inverse;
        if (!j->s->top) continue; /* inference keeps nothing */
        j->s->top[(b->first + i) * n_heads + b->head] = top[i];
        j->s->inverse[(b->first + i) * n_heads + b->head] = inverse;
    }
}

/* Panels of the block's queries and of their outputs' gradients. */
static void query_panels(const job *j, const block *b, const scratch *x) {
    const hearth_kernels *k = j->d->pairs;
    size_t hd = j->d->c->head_dim;
    k->round_rows(b->n, hd, j->s->q + b->at_q, j->q_ld, x->rows, x->ld);
    make_panels(k, true, b->n, hd, x->rows, x->ld, x->q);
    make_panels(k, false, hd, b->n, x->rows, x->ld, x->q_straight);
    k->round_rows(b->n, hd, j->d->d_o + b->at_q, j->q_ld, x->rows, x->ld);
    make_panels(k, true, b->n, hd, x->rows, x->ld, x->d_o);
    make_panels(k, false, hd, b->n, x->rows, x->ld, x->d_o_straight);
}

/* What a tile, rounded in x's rows, adds to dQ^T. */
static void add_queries(const job *j, const block *b, keys t, const scratch *x,
                        const uint16_t *turned, hearth_real *dq) {
    const hearth_kernels *k = j->d->pairs;
    size_t hd = j->d->c->head_dim;
    for (size_t i = 0; i < t.n; i += KEY_RUN) {
        size_t n = min_size(KEY_RUN, t.n - i);
        make_panels(k, false, b->n, n, x->rows + i * x->ld_scores, x->ld_scores,
                    x->panels);
        multiply(k, hd, b->n, n, turned + t.first + i, j->room.ld_turned,
                 x->panels, t.first + i > b->lo, dq, b->n);
    }
}

void hearth_attention_pairs__backward(const hearth_attention_job *j,
                                      const hearth_attention_block *b,
                                      size_t worker, hearth_real *dk,
                                      hearth_real *dv) {
    const hearth_decoder *d = j->d;
    const hearth_kernels *k = d->pairs;
    size_t hd = d->c->head_dim, n = b->n, n_heads = d->c->n_heads;
    const rounded kv = head_of(j, b->at_kv / hd);
    const scratch x = open_scratch(j, b, worker);
    hearth_real top[MANY_QUERIES], inverse[MANY_QUERIES], dots[MANY_QUERIES];
    hearth_real *s = d->aux + worker * d->aux_reals;
    size_t most = most_keys(d, true);
    hearth_real *ds = s + n * most, *dq = ds + n * most;
    keys t = back_from(j, b, b->lo);
    for (size_t i = 0; i < n; i++) {
        size_t at = b->at_q + i * j->q_ld;
        top[i] = j->s->top[(b->first + i) * n_heads + b->head];
        inverse[i] = j->s->inverse[(b->first + i) * n_heads + b->head];
        dots[i] = k->dot(hd, d->d_o + at, j->s->o + at);
    }
    query_panels(j, b, &x);
    for (; t.n; t = back_from(j, b, t.first + t.n)) {
        size_t to = t.first * j->kv_ld + b->at_kv;
        scores(j, b, t, kv.k, x.q, s);
        scores(j, b, t, kv.v, x.d_o, ds);
        score_gradient(j, b, t, top, inverse, dots, s, ds);
        k->round_rows(t.n, n, s, n, x.rows, x.ld_scores);
        multiply(k, t.n, hd, n, x.rows, x.ld_scores, x.d_o_straight, 1, dv + to,
                 j->kv_ld);
        k->round_rows(t.n, n, ds, n, x.rows, x.ld_scores);
        multiply(k, t.n, hd, n, x.rows, x.ld_scores, x.q_straight, 1, dk + to,
                 j->kv_ld);
        add_queries(j, b, t, &x, kv.turned, dq);
    }
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < hd; c++)
            d->dq[b->at_q + i * j->q_ld + c] = dq[c * n + i];
}

/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/cross_entropy.c - head and loss together: attention over the
 * vocabulary.
 *
 * The vocabulary is cut into a few parts, by shapes only; a worker takes a part
 * and goes once over its blocks of head rows for all supervised rows.  A block
 * is converted once, gives logits and, while it is in cache, its share of the
 * input's gradient; a running maximum and sum per row keep both exact.  Parts
 * are then put together in their order, so the bytes do not depend on who
 * computed them.  More rows than d->ce_rows go in groups, which bounds the
 * memory; a row's numbers do not depend on the group that it is in.  The head's
 * own gradient (full mode) takes a second pass with the kept log-sum-exp.
 * Source: the running maximum as in Milakov and Gimelshein, Online normalizer
 * calculation for softmax, arXiv:1805.02867.
 */
#include "client/train/decoder_private.h"
#include "common/refmath.h"

#define TILE_REALS     (HEARTH_WEIGHT_TILE_BYTES / sizeof(hearth_real))
#define MAX_VOCAB_ROWS ((size_t)256)
#define MAX_GROUP      ((size_t)256)     /* rows of one group, usually */
#define GROUP_REALS    ((size_t)524288)  /* of its gradient */
#define PART_REALS     ((size_t)1048576) /* of gradients of all parts but one */
#define MERGE_ROWS     ((size_t)16)

/* One group of supervised rows. */
typedef struct {
    hearth_decoder *d;
    size_t first, n;      /* of the supervised rows */
    const int32_t *label; /* of the whole stream; row[] picks */
    bool with_grad;
    size_t n_blocks;         /* of d->vocab_rows rows of the head */
    size_t begin, end;       /* of a part's blocks, those of this turn */
    const uint16_t *rounded; /* the inputs of this group, or NULL */
} ce_job;

static size_t min_size(size_t a, size_t b) {
    return a < b ? a : b;
}

static size_t ceil_div(size_t a, size_t b) {
    return a / b + (a % b != 0);
}

void hearth_cross_entropy__derive(hearth_decoder *d) {
    size_t width = d->c->hidden_size, vocab = d->c->vocab_size;
    size_t group = min_size(GROUP_REALS / width / 32 * 32, MAX_GROUP);
    if (group < 64) group = 64;
    size_t parts = 7 * group * width <= PART_REALS ? 8 : 4;
    size_t rows = min_size(TILE_REALS / width, MAX_VOCAB_ROWS);
    if (rows > 32) rows = rows / 32 * 32; /* whole panels */
    d->ce_rows = d->shape.head_rows ? d->shape.head_rows : group;
    d->ce_most = min_size(d->ce_rows + HEARTH_MLP_TAIL, d->shape.max_tokens);
    d->vocab_rows = min_size(rows, ceil_div(vocab, parts));
    d->vocab_parts = min_size(parts, ceil_div(vocab, d->vocab_rows));
}

size_t hearth_cross_entropy__aux(const hearth_decoder *d) {
    return d->ce_most * d->vocab_rows;
}

static size_t label_of(const ce_job *j, size_t i) {
    return (size_t)j->label[j->d->row[j->first + i]];
}

/* A block of n rows of the head as numbers that products take, on this worker. */
static const hearth_real *block_rows(const hearth_decoder *d, size_t worker,
                                     const hearth_weight *block, size_t n) {
    return hearth_weight_rows_at(block, 0, n,
                                 hearth_compute_tile(&d->compute, worker));
}

/* Rows first .. first + n - 1 of the head for this worker. */
static const hearth_real *head_rows(const hearth_decoder *d, size_t worker,
                                    size_t first, size_t n) {
    hearth_weight block = hearth_decoder__head_rows(d, worker, first, n);
    return block_rows(d, worker, &block, n);
}

/* [n, D] gradients of a part; the first part's are in dh itself. */
static hearth_real *part_gradient(const ce_job *j, size_t part) {
    size_t width = j->d->c->hidden_size;
    if (!part) return j->d->dh + j->first * width;
    return j->d->part_dh + (part - 1) * j->d->ce_most * width;
}

/* Fold logits [n, m] of vocabulary rows v0.. into the part's maximum and sum;
 * with a gradient they become exp(logit - maximum) and dh [n, D], that of the
 * blocks before, is scaled to the new maximum. */
static void fold_block(const ce_job *j, size_t part, bool fresh, size_t v0,
                       size_t m, hearth_real *logits, hearth_real *dh) {
    const hearth_decoder *d = j->d;
    const hearth_kernels *k = d->compute.kernels;
    size_t width = d->c->hidden_size;
    hearth_real *top = d->part_top + part * d->ce_most;
    double *sum = d->part_sum + part * d->ce_most;
    for (size_t i = 0; i < j->n; i++) {
        hearth_real *row = logits + i * m, most = k->max(m, row);
        size_t label = label_of(j, i);
        if (label >= v0 && label < v0 + m) d->row_target[i] = row[label - v0];
        if (fresh) {
            top[i] = most;
            sum[i] = 0;
        } else if (most > top[i]) {
            double shrink = hearth_ref_exp((double)(top[i] - most));
            top[i] = most;
            sum[i] *= shrink;
            for (size_t c = 0; j->with_grad && c < width; c++)
                dh[i * width + c] *= (hearth_real)shrink;
        }
        sum[i] += (double)k->exp_shift(m, row, top[i], row);
    }
}

static void part_tile(void *ud, size_t part, size_t worker) {
    const ce_job *j = ud;
    const hearth_decoder *d = j->d;
    const hearth_kernels *k = d->compute.kernels;
    size_t width = d->c->hidden_size, vocab = d->c->vocab_size;
    size_t from = part * j->n_blocks / d->vocab_parts;
    size_t to = (part + 1) * j->n_blocks / d->vocab_parts;
    size_t begin = from + j->begin, end = min_size(from + j->end, to);
    const hearth_real *h = d->h + j->first * width;
    hearth_real *logits = d->aux + worker * d->aux_reals;
    hearth_real *dh = j->with_grad ? part_gradient(j, part) : NULL;
    for (size_t b = begin; b < end; b++) {
        size_t v0 = b * d->vocab_rows, m = min_size(d->vocab_rows, vocab - v0);
        hearth_weight block = hearth_decoder__head_rows(d, worker, v0, m);
        const hearth_real *w = NULL; /* stays NULL: products in bfloat16 */
        if (k->pair_panel) {
            hearth_weight_rows_forward(&d->compute, worker, &block, 0, m, j->n,
                                       h, width, j->rounded, logits, m);
        } else {
            w = block_rows(d, worker, &block, m);
            k->gemm_nt(j->n, m, width, 1, h, width, w, width, 0, logits, m);
        }
        fold_block(j, part, b == from, v0, m, logits, dh);
        if (!dh) continue;
        if (w)
            k->gemm_nn(j->n, width, m, 1, logits, m, w, width, b > from, dh,
                       width);
        else
            hearth_weight_rows_backward(&d->compute, worker, &block, 0, m, j->n,
                                        logits, m, dh, width, b > from);
    }
}

/* dh [D] = the parts' gradients of row i, each scaled, - W[label]. */
static void merge_gradient(const ce_job *j, size_t i, hearth_real top,
                           double sum, size_t worker) {
    const hearth_decoder *d = j->d;
    size_t width = d->c->hidden_size;
    hearth_real *dh = part_gradient(j, 0) + i * width;
    for (size_t p = 0; p < d->vocab_parts; p++) {
        const hearth_real *part = part_gradient(j, p) + i * width;
        double shift = (double)(d->part_top[p * d->ce_most + i] - top);
        hearth_real scale = (hearth_real)(hearth_ref_exp(shift) / sum);
        for (size_t c = 0; c < width; c++)
            dh[c] = p ? dh[c] + scale * part[c] : scale * part[c];
    }
    const hearth_real *w = head_rows(d, worker, label_of(j, i), 1);
    for (size_t c = 0; c < width; c++) dh[c] -= w[c];
}

/* Loss, log-sum-exp, hit and gradient of some rows from what the parts have. */
static void merge_tile(void *ud, size_t tile, size_t worker) {
    const ce_job *j = ud;
    const hearth_decoder *d = j->d;
    size_t first = tile * MERGE_ROWS, end = min_size(first + MERGE_ROWS, j->n);
    for (size_t i = first; i < end; i++) {
        hearth_real top = d->part_top[i];
        double sum = 0;
        for (size_t p = 1; p < d->vocab_parts; p++) {
            hearth_real other = d->part_top[p * d->ce_most + i];
            if (other > top) top = other;
        }
        for (size_t p = 0; p < d->vocab_parts; p++) {
            size_t at = p * d->ce_most + i;
            sum += d->part_sum[at] *
                   hearth_ref_exp((double)(d->part_top[at] - top));
        }
        size_t row = j->first + i;
        double log_sum = hearth_ref_log(sum);
        d->row_loss[row] = (double)top - (double)d->row_target[i] + log_sum;
        d->row_lse[row] = top + (hearth_real)log_sum;
        d->row_hit[row] = d->row_target[i] >= top;
        if (j->with_grad) merge_gradient(j, i, top, sum, worker);
    }
}

/* dW of one block of the vocabulary: (softmax - one-hot)^T h. */
static void head_tile(void *ud, size_t tile, size_t worker) {
    const ce_job *j = ud;
    const hearth_decoder *d = j->d;
    const hearth_kernels *k = d->compute.kernels;
    size_t width = d->c->hidden_size, v0 = tile * d->vocab_rows;
    size_t m = min_size(d->vocab_rows, d->c->vocab_size - v0);
    hearth_real *p = d->aux + worker * d->aux_reals;
    const hearth_real *w = head_rows(d, worker, v0, m);
    const hearth_real *h = d->h + j->first * width;
    k->gemm_nt(j->n, m, width, 1, h, width, w, width, 0, p, m);
    for (size_t i = 0; i < j->n; i++) {
        size_t label = label_of(j, i);
        (void)k->exp_shift(m, p + i * m, d->row_lse[j->first + i], p + i * m);
        if (label >= v0 && label < v0 + m) p[i * m + label - v0] -= 1;
    }
    k->gemm_tn(m, width, j->n, 1, p, m, h, width, 1, d->grad_head + v0 * width,
               width);
}

/* Blocks of a part that cost at most what a layer does, between two questions
 * to the gate. */
static size_t blocks_of_turn(const hearth_decoder *d) {
    size_t layer = 0, all = d->vocab_parts * d->vocab_rows * d->c->hidden_size;
    for (int t = 0; t < HEARTH_TARGET_COUNT; t++)
        if (d->layer[0].w[t])
            layer += hearth_weight_rows(d->layer[0].w[t]) *
                     hearth_weight_cols(d->layer[0].w[t]);
    return layer > all ? layer / all : 1;
}

/* All blocks for one group. */
static hearth_status run_parts(ce_job *j, hearth_error *err) {
    hearth_decoder *d = j->d;
    size_t most = ceil_div(j->n_blocks, d->vocab_parts);
    size_t turn = blocks_of_turn(d);
    for (j->begin = 0; j->begin < most; j->begin = j->end) {
        j->end = min_size(j->begin + turn, most);
        hearth_status st = hearth_decoder__ask(d, err);
        if (st != HEARTH_OK) return st;
        hearth_pool_run(d->compute.pool, d->vocab_parts, part_tile, j);
    }
    return HEARTH_OK;
}

hearth_status hearth_cross_entropy__run(hearth_decoder *d, size_t n,
                                        const int32_t *label, bool with_grad,
                                        hearth_error *err) {
    size_t width = d->c->hidden_size;
    ce_job j = {.d = d,
                .label = label,
                .with_grad = with_grad,
                .n_blocks = ceil_div(d->c->vocab_size, d->vocab_rows)};
    for (; j.first < n; j.first += j.n) {
        j.n = n - j.first <= d->ce_most ? n - j.first : d->ce_rows;
        if (d->compute.kernels->pair_panel)
            j.rounded = hearth_compute_round(&d->compute, j.n, width,
                                             d->h + j.first * width, width);
        hearth_status st = run_parts(&j, err);
        if (st != HEARTH_OK) return st;
        hearth_pool_run(d->compute.pool, ceil_div(j.n, MERGE_ROWS), merge_tile,
                        &j);
        if (with_grad && d->grad_head)
            hearth_pool_run(d->compute.pool, j.n_blocks, head_tile, &j);
    }
    return HEARTH_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/cross_entropy.c - head and loss together, block by block.
 *
 * For the input's gradient the head is attention over the vocabulary: one pass
 * over its rows with a running maximum gives loss and gradient; only one block
 * of logits exists per worker.  The head's own gradient (full mode) takes a
 * second pass with the kept log-sum-exp.
 * Source: the running maximum as in Milakov and Gimelshein, Online normalizer
 * calculation for softmax, arXiv:1805.02867.
 */
#include "client/train/decoder_private.h"
#include "common/refmath.h"

#define ROWS HEARTH_DECODER_ROWS

typedef struct {
    hearth_decoder *d;
    size_t n;             /* supervised rows */
    const int32_t *label; /* of the whole stream; row[] picks */
    bool with_grad;
    size_t head_rows; /* vocabulary rows of one tile of the head's gradient */
} ce_job;

/* Running state of one block of rows. */
typedef struct {
    hearth_real top[HEARTH_DECODER_ROWS];    /* largest logit so far */
    double sum[HEARTH_DECODER_ROWS];         /* of exp(logit - top) */
    hearth_real target[HEARTH_DECODER_ROWS]; /* logit of the label */
} ce_state;

size_t hearth_cross_entropy__aux(const hearth_decoder *d) {
    return HEARTH_DECODER_ROWS * d->vocab_rows;
}

static size_t label_of(const ce_job *j, size_t row) {
    return (size_t)j->label[j->d->row[row]];
}

/* Fold one block of logits [n, m] of vocabulary rows v0.. into the state; with
 * a gradient the logits become exp(logit - top) and dh is rescaled. */
static void fold_block(const ce_job *j, ce_state *s, size_t first, size_t n,
                       size_t v0, size_t m, hearth_real *logits) {
    const hearth_kernels *k = j->d->compute.kernels;
    size_t width = j->d->c->hidden_size;
    for (size_t i = 0; i < n; i++) {
        hearth_real *row = logits + i * m, top = k->max(m, row);
        size_t label = label_of(j, first + i);
        if (label >= v0 && label < v0 + m) s->target[i] = row[label - v0];
        if (v0 == 0 || top > s->top[i]) {
            double shrink =
                v0 == 0 ? 0 : hearth_ref_exp((double)(s->top[i] - top));
            s->top[i] = top;
            s->sum[i] *= shrink;
            for (size_t c = 0; v0 && j->with_grad && c < width; c++)
                j->d->dh[(first + i) * width + c] *= (hearth_real)shrink;
        }
        s->sum[i] += (double)k->exp_shift(m, row, s->top[i], row);
    }
}

/* dh = dh / sum - W[label]; loss, log-sum-exp and hit of each row. */
static void finish_rows(const ce_job *j, const ce_state *s, size_t first,
                        size_t n, hearth_real *scratch) {
    hearth_decoder *d = j->d;
    size_t width = d->c->hidden_size;
    for (size_t i = 0; i < n; i++) {
        size_t row = first + i;
        double log_sum = hearth_ref_log(s->sum[i]);
        d->row_loss[row] = (double)s->top[i] - (double)s->target[i] + log_sum;
        d->row_lse[row] = s->top[i] + (hearth_real)log_sum;
        d->row_hit[row] = s->target[i] >= s->top[i];
        if (!j->with_grad) continue;
        hearth_real *dh = d->dh + row * width;
        hearth_real inverse = (hearth_real)(1.0 / s->sum[i]);
        const hearth_real *w =
            hearth_weight_rows_at(d->head, label_of(j, row), 1, scratch);
        for (size_t c = 0; c < width; c++) dh[c] = dh[c] * inverse - w[c];
    }
}

static void loss_tile(void *ud, size_t tile, size_t worker) {
    const ce_job *j = ud;
    hearth_decoder *d = j->d;
    const hearth_kernels *k = d->compute.kernels;
    size_t width = d->c->hidden_size, vocab = d->c->vocab_size;
    size_t first = tile * ROWS, n = j->n - first < ROWS ? j->n - first : ROWS;
    hearth_real *logits = d->aux + worker * d->aux_reals;
    hearth_real *scratch = hearth_compute_tile(&d->compute, worker);
    const hearth_real *h = d->h + first * width;
    ce_state s = {.sum = {0}};
    for (size_t v0 = 0; v0 < vocab; v0 += d->vocab_rows) {
        size_t m = vocab - v0 < d->vocab_rows ? vocab - v0 : d->vocab_rows;
        const hearth_real *w = hearth_weight_rows_at(d->head, v0, m, scratch);
        k->gemm_nt(n, m, width, 1, h, width, w, width, 0, logits, m);
        fold_block(j, &s, first, n, v0, m, logits);
        if (j->with_grad)
            k->gemm_nn(n, width, m, 1, logits, m, w, width, v0 > 0,
                       d->dh + first * width, width);
    }
    finish_rows(j, &s, first, n, scratch);
}

/* dW of vocabulary rows v0..: (softmax - one-hot)^T h over all rows. */
static void head_tile(void *ud, size_t tile, size_t worker) {
    const ce_job *j = ud;
    hearth_decoder *d = j->d;
    const hearth_kernels *k = d->compute.kernels;
    size_t width = d->c->hidden_size, vocab = d->c->vocab_size;
    size_t v0 = tile * j->head_rows;
    size_t m = vocab - v0 < j->head_rows ? vocab - v0 : j->head_rows;
    hearth_real *p = d->aux + worker * d->aux_reals;
    hearth_real *scratch = hearth_compute_tile(&d->compute, worker);
    const hearth_real *w = hearth_weight_rows_at(d->head, v0, m, scratch);
    for (size_t first = 0; first < j->n; first += ROWS) {
        size_t n = j->n - first < ROWS ? j->n - first : ROWS;
        const hearth_real *h = d->h + first * width;
        k->gemm_nt(n, m, width, 1, h, width, w, width, 0, p, m);
        for (size_t i = 0; i < n; i++) {
            size_t label = label_of(j, first + i);
            (void)k->exp_shift(m, p + i * m, d->row_lse[first + i], p + i * m);
            if (label >= v0 && label < v0 + m) p[i * m + label - v0] -= 1;
        }
        k->gemm_tn(m, width, n, 1, p, m, h, width, 1, d->grad_head + v0 * width,
                   width);
    }
}

void hearth_cross_entropy__run(hearth_decoder *d, size_t n,
                               const int32_t *label, bool with_grad) {
    ce_job j = {d, n, label, with_grad,
                d->vocab_rows < ROWS ? d->vocab_rows : ROWS};
    hearth_pool_run(d->compute.pool, (n + ROWS - 1) / ROWS, loss_tile, &j);
    if (with_grad && d->grad_head)
        hearth_pool_run(d->compute.pool,
                        (d->c->vocab_size + j.head_rows - 1) / j.head_rows,
                        head_tile, &j);
}

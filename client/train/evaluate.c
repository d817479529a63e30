/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/evaluate.c - two passes over the records: the answers that are
 * to be learnt (their loss is the result), then the wrong choices of questions
 * (only compared).  A choice is scored by its log-probability, summed over its
 * tokens: the number that papers and other tools report. */
#include "client/train/evaluate.h"

#include <math.h>
#include <string.h>

#include "client/train/decoder.h"
#include "client/train/evaluate_private.h"
#include "client/train/kernels.h"
#include "client/train/stream.h"
#include "common/arena.h"
#include "common/bytes.h"
#include "common/mem.h"
#include "common/refmath.h"

#define DEFAULT_BATCH 8

typedef struct {
    const hearth_dataset *ds;
    const hearth_evaluate_options *opt;
    hearth_adapter adapter; /* a view: the decoder's shape wants it writable */
    hearth_alloc al;
    hearth_error *err;
    hearth_arena arena;           /* empty when the decoder is the caller's */
    hearth_weight_stream *stream; /* NULL: mapped, or the caller's */
    hearth_decoder *dec;
    size_t batch, n_docs, max_tokens;
    uint64_t done;
    double *score; /* [n_docs] minus log-probability; NaN: nothing to score */
    /* The stream being laid out. */
    hearth_stream s;
    int32_t *token, *label;
    uint32_t *position, *doc_start;
    uint32_t *doc;    /* [batch] index of each document in it */
    double *doc_loss; /* [batch] */
} evaluation;

static size_t n_supervised(const hearth_document *d) {
    size_t n = 0;
    for (size_t i = 0; i < d->n; i++) n += d->label[i] >= 0;
    return n;
}

static bool is_wrong_choice(const hearth_document *d) {
    return d->n_choices && d->choice != d->answer;
}

static hearth_status take(evaluation *e) {
    e->score = hearth_mem_array(&e->al, e->n_docs, sizeof(double));
    e->token = hearth_mem_array(&e->al, e->max_tokens, sizeof(int32_t));
    e->label = hearth_mem_array(&e->al, e->max_tokens, sizeof(int32_t));
    e->position = hearth_mem_array(&e->al, e->max_tokens, sizeof(uint32_t));
    e->doc_start = hearth_mem_array(&e->al, e->batch + 1, sizeof(uint32_t));
    e->doc = hearth_mem_array(&e->al, e->batch, sizeof(uint32_t));
    e->doc_loss = hearth_mem_array(&e->al, e->batch, sizeof(double));
    return e->score && e->token && e->label && e->position && e->doc_start &&
                   e->doc && e->doc_loss
               ? HEARTH_OK
               : HEARTH_ENOMEM;
}

static void give_back(evaluation *e) {
    if (e->token) hearth_zeroize(e->token, e->max_tokens * sizeof(int32_t));
    if (e->label) hearth_zeroize(e->label, e->max_tokens * sizeof(int32_t));
    hearth_mem_free(&e->al, e->score);
    hearth_mem_free(&e->al, e->token);
    hearth_mem_free(&e->al, e->label);
    hearth_mem_free(&e->al, e->position);
    hearth_mem_free(&e->al, e->doc_start);
    hearth_mem_free(&e->al, e->doc);
    hearth_mem_free(&e->al, e->doc_loss);
    hearth_arena_free(&e->arena);
    hearth_weight_stream_close(e->stream);
}

static void lay(evaluation *e, size_t i, const hearth_document *d) {
    size_t at = e->s.n;
    memcpy(e->token + at, d->token, d->n * sizeof(int32_t));
    memcpy(e->label + at, d->label, d->n * sizeof(int32_t));
    for (size_t k = 0; k < d->n; k++) e->position[at + k] = (uint32_t)k;
    e->doc[e->s.n_docs] = (uint32_t)i;
    e->doc_start[e->s.n_docs++] = (uint32_t)at;
    e->s.n += d->n;
    e->doc_start[e->s.n_docs] = (uint32_t)e->s.n;
}

/* Run what is laid out; total may be NULL. */
static hearth_status flush(evaluation *e, hearth_loss *total) {
    hearth_loss loss;
    if (e->s.n_docs == 0) return HEARTH_OK;
    if (e->opt->stop && e->opt->stop(e->opt->ud))
        return hearth_error_set(e->err, HEARTH_ECANCELLED, "stopped");
    e->s.token = e->token;
    e->s.label = e->label;
    e->s.position = e->position;
    e->s.doc_start = e->doc_start;
    hearth_status st =
        hearth_decoder_loss(e->dec, &e->s, &loss, e->doc_loss, e->err);
    if (st == HEARTH_ENONFINITE)
        return hearth_error_set(
            e->err, st,
            "the loss is not a finite number in records %llu to %llu; check "
            "the model with: hearth model inspect",
            (unsigned long long)hearth_dataset_doc(e->ds, e->doc[0]).record + 1,
            (unsigned long long)hearth_dataset_doc(e->ds,
                                                   e->doc[e->s.n_docs - 1])
                    .record +
                1);
    if (st != HEARTH_OK) return st;
    for (size_t k = 0; k < e->s.n_docs; k++)
        e->score[e->doc[k]] = e->doc_loss[k];
    if (total) {
        total->loss_sum += loss.loss_sum;
        total->n_supervised += loss.n_supervised;
        total->n_correct += loss.n_correct;
    }
    e->done += e->s.n_docs;
    if (e->opt->progress) e->opt->progress(e->opt->ud, e->done, e->n_docs);
    e->s.n = e->s.n_docs = 0;
    return HEARTH_OK;
}

/* One pass over the wrong choices, or over everything else. */
static hearth_status pass(evaluation *e, bool wrong, hearth_loss *total) {
    for (size_t i = 0; i < e->n_docs; i++) {
        hearth_document d = hearth_dataset_doc(e->ds, i);
        if (is_wrong_choice(&d) != wrong || n_supervised(&d) == 0) continue;
        hearth_status st = HEARTH_OK;
        if (e->s.n_docs == e->batch || d.n > e->max_tokens - e->s.n)
            st = flush(e, total);
        if (st != HEARTH_OK) return st;
        lay(e, i, &d);
    }
    return flush(e, total);
}

/* Choices of a question are neighbours: is the right one the likeliest? */
static void count_choices(const evaluation *e, hearth_eval_result *r) {
    for (size_t i = 0; i < e->n_docs;) {
        hearth_document d = hearth_dataset_doc(e->ds, i);
        double best = (double)INFINITY;
        uint32_t chosen = UINT32_MAX, seen = 0;
        size_t j = i;
        for (; j < e->n_docs; j++) {
            hearth_document c = hearth_dataset_doc(e->ds, j);
            if (c.record != d.record || c.n_choices == 0) break;
            seen++;
            if (e->score[j] < best) {
                best = e->score[j];
                chosen = c.choice;
            }
        }
        if (seen > 1) {
            r->choices++;
            r->choice_hits += chosen == d.answer;
        }
        i = j > i ? j : i + 1;
    }
}

static uint64_t count_records(const evaluation *e) {
    uint64_t n = 0, last = UINT64_MAX;
    for (size_t i = 0; i < e->n_docs; i++) {
        hearth_document d = hearth_dataset_doc(e->ds, i);
        if (d.record == last || n_supervised(&d) == 0) continue;
        last = d.record;
        n++;
    }
    return n;
}

static hearth_status open_decoder(evaluation *e, const hearth_model *model,
                                  bool adapted, hearth_pool *pool) {
    const hearth_kernels *k = e->opt->reference_kernels
                                  ? hearth_kernels_reference()
                                  : hearth_kernels_default();
    hearth_decoder_shape shape = {.model = model,
                                  .adapter = adapted ? &e->adapter : NULL,
                                  .mode = HEARTH_DECODER_INFER,
                                  .max_tokens = e->max_tokens,
                                  .round_parts = k->pair_parts,
                                  .attention_parts =
                                      hearth_kernels_attention_parts(k),
                                  .n_workers = hearth_pool_size(pool)};
    hearth_decoder_sizes sizes;
    hearth_status st = HEARTH_OK;
    if (e->opt->streamed)
        st = hearth_weight_stream_open(&e->stream, model, shape.n_workers,
                                       &e->al, e->err);
    if (st != HEARTH_OK) return st;
    shape.stream = e->stream;
    st = hearth_decoder_plan(&shape, &sizes, e->err);
    if (st != HEARTH_OK) return st;
    st = hearth_arena_init(&e->arena, &e->al, sizes.total);
    if (st != HEARTH_OK)
        return hearth_error_set(e->err, st,
                                "no memory to evaluate; use a shorter --seq or "
                                "a smaller --batch");
    return hearth_decoder_new(&e->dec, &shape, pool, k, &e->arena, e->err);
}

static hearth_status run(evaluation *e, hearth_eval_result *r) {
    hearth_loss total = {0};
    hearth_status st = pass(e, false, &total);
    if (st == HEARTH_OK && total.n_supervised == 0)
        return hearth_error_set(e->err, HEARTH_EINVAL,
                                "no record has a token to score; check the "
                                "records, or use --loss-on all");
    if (st == HEARTH_OK) st = pass(e, true, NULL);
    if (st != HEARTH_OK) return st;
    double n = (double)total.n_supervised;
    r->loss = total.loss_sum / n;
    r->perplexity = hearth_ref_exp(r->loss);
    r->tokens = total.n_supervised;
    r->hits = total.n_correct;
    r->token_accuracy = (double)total.n_correct / n;
    r->records = count_records(e);
    count_choices(e, r);
    return HEARTH_OK;
}

/* What both entries share, once the decoder and max_tokens are settled. */
static hearth_status score(evaluation *e, hearth_eval_result *r) {
    hearth_status st = take(e);
    if (st != HEARTH_OK)
        return hearth_error_set(e->err, st,
                                "no memory to evaluate; use a smaller --batch");
    for (size_t i = 0; i < e->n_docs; i++) e->score[i] = (double)NAN;
    st = run(e, r);
    if (st != HEARTH_OK) memset(r, 0, sizeof(*r));
    return st;
}

static hearth_status start(evaluation *e, const hearth_dataset *ds,
                           const hearth_evaluate_options *opt,
                           const hearth_alloc *al, hearth_error *err) {
    static const hearth_evaluate_options none = {0};
    memset(e, 0, sizeof(*e));
    e->ds = ds;
    e->opt = opt ? opt : &none;
    e->err = err;
    e->al = *hearth_mem_or_default(al);
    e->batch = e->opt->batch ? e->opt->batch : DEFAULT_BATCH;
    e->n_docs = hearth_dataset_n_docs(ds);
    if (e->n_docs > 0) return HEARTH_OK;
    return hearth_error_set(err, HEARTH_EINVAL,
                            "no records to evaluate; add some first");
}

hearth_status hearth_evaluate(const hearth_model *model,
                              const hearth_adapter *adapter,
                              const hearth_dataset *ds,
                              const hearth_evaluate_options *opt,
                              hearth_pool *pool, hearth_eval_result *r,
                              const hearth_alloc *al, hearth_error *err) {
    evaluation e;
    if (!r) return HEARTH_EINVAL;
    memset(r, 0, sizeof(*r));
    if (!model || !ds) return HEARTH_EINVAL;
    hearth_status st = start(&e, ds, opt, al, err);
    if (st != HEARTH_OK) return st;
    if (adapter) e.adapter = *adapter;
    if (!hearth_size_mul(hearth_dataset_longest(ds), e.batch, &e.max_tokens))
        return hearth_error_set(err, HEARTH_ETOOBIG, "--batch is too large");
    st = open_decoder(&e, model, adapter != NULL, pool);
    if (st == HEARTH_OK) st = score(&e, r);
    give_back(&e);
    return st;
}

hearth_status hearth_evaluate__with(hearth_decoder *dec, size_t max_tokens,
                                    const hearth_dataset *ds,
                                    const hearth_evaluate_options *opt,
                                    hearth_eval_result *r,
                                    const hearth_alloc *al, hearth_error *err) {
    evaluation e;
    memset(r, 0, sizeof(*r));
    hearth_status st = start(&e, ds, opt, al, err);
    if (st != HEARTH_OK) return st;
    if (hearth_dataset_longest(ds) > max_tokens)
        return hearth_error_set(err, HEARTH_ETOOBIG,
                                "a record of %zu tokens is longer than the "
                                "run's %zu; use a larger --batch or a shorter "
                                "--seq",
                                hearth_dataset_longest(ds), max_tokens);
    e.dec = dec;
    e.max_tokens = max_tokens;
    st = score(&e, r);
    give_back(&e);
    return st;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/decoder.c - a pass over a stream: embed, layers, loss, back. */
#include "client/train/decoder.h"

#include <math.h>
#include <string.h>

#include "client/train/decoder_private.h"
#include "common/error.h"

hearth_status hearth_decoder_new(hearth_decoder **out,
                                 const hearth_decoder_shape *s,
                                 hearth_pool *pool,
                                 const hearth_kernels *kernels,
                                 hearth_arena *arena, hearth_error *err) {
    hearth_decoder shape;
    hearth_decoder_sizes sizes;
    *out = NULL;
    hearth_status st = hearth_decoder__check(&shape, s, err);
    if (st != HEARTH_OK) return st;
    if (hearth_pool_size(pool) > s->n_workers)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "the pool has more threads than were planned; "
                                "fix the call");
    if (s->store_bf16 && kernels->pair_parts != 1)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "activations are stored in bfloat16 only by "
                                "kernels that compute in it; use kernels "
                                "bf16");
    size_t mark = arena->used;
    hearth_decoder *d = hearth_arena_take(arena, 1, sizeof(*d));
    if (d) {
        *d = shape;
        d->compute.kernels = kernels;
        d->pairs = kernels->attention;
        d->compute.pool = pool;
    }
    if (!d || !hearth_decoder__layout(d, arena, &sizes)) {
        hearth_arena_reset(arena, mark);
        return hearth_error_set(err, HEARTH_ENOMEM,
                                "the arena is smaller than the plan; fix the "
                                "call");
    }
    hearth_decoder__bind(d);
    *out = d;
    return HEARTH_OK;
}

const hearth_params *hearth_decoder_params(const hearth_decoder *dec) {
    return &dec->params;
}

void hearth_decoder_set_gate(hearth_decoder *dec, hearth_gate_fn fn, void *ud) {
    dec->gate = fn;
    dec->gate_ud = ud;
}

void hearth_decoder_zero_grad(hearth_decoder *dec) {
    memset(dec->grad, 0, dec->params.n_elements * sizeof(*dec->grad));
}

static hearth_status bad_stream(hearth_error *err, const char *text) {
    return hearth_error_set(err, HEARTH_EINVAL,
                            "token stream: %s; fix the caller", text);
}

static hearth_status check_docs(const hearth_decoder *d, const hearth_stream *s,
                                hearth_error *err) {
    if (!s->n_docs || s->doc_start[0] != 0 || s->doc_start[s->n_docs] != s->n)
        return bad_stream(err, "documents do not cover it");
    for (size_t k = 0; k < s->n_docs; k++) {
        uint32_t first = s->doc_start[k], end = s->doc_start[k + 1];
        if (end <= first || end > s->n)
            return bad_stream(err, "a document is empty or out of order");
        if (end - first > d->c->max_positions)
            return hearth_error_set(err, HEARTH_ETOOBIG,
                                    "a document has more tokens than the "
                                    "model has positions (%u); cut it",
                                    (unsigned)d->c->max_positions);
        for (uint32_t i = first; i < end; i++)
            if (s->position[i] != i - first)
                return bad_stream(err, "positions do not count documents");
    }
    return HEARTH_OK;
}

static hearth_status check_tokens(const hearth_decoder *d, const int32_t *id,
                                  size_t n, int32_t least, hearth_error *err) {
    for (size_t i = 0; i < n; i++)
        if (id[i] < least || id[i] >= (int32_t)d->c->vocab_size)
            return bad_stream(err,
                              "a token or label is outside the vocabulary");
    return HEARTH_OK;
}

static hearth_status check_stream(const hearth_decoder *d,
                                  const hearth_stream *s, bool labels,
                                  hearth_error *err) {
    hearth_status st;
    if (!s->n || s->n > d->shape.max_tokens)
        return hearth_error_set(err, s->n ? HEARTH_ETOOBIG : HEARTH_EINVAL,
                                "token stream of %zu tokens, planned for 1 to "
                                "%zu; plan for more",
                                s->n, d->shape.max_tokens);
    if ((st = check_docs(d, s, err)) != HEARTH_OK) return st;
    if ((st = check_tokens(d, s->token, s->n, 0, err)) != HEARTH_OK) return st;
    if (!labels) return HEARTH_OK;
    return check_tokens(d, s->label, s->n, HEARTH_STREAM_UNSUPERVISED, err);
}

static hearth_pass pass_of(const hearth_stream *s) {
    return (hearth_pass){.n = s->n,
                         .n_docs = s->n_docs,
                         .doc_start = s->doc_start,
                         .position = s->position};
}

/* The position of row i of a pass. */
static size_t position_of(const hearth_pass *p, size_t i) {
    return p->position ? p->position[i] : p->past + i;
}

/* A row of the embedding or of the positions. */
static void table_row(const hearth_decoder *d, hearth_tensor_role role,
                      size_t i, hearth_real *out) {
    if (d->shape.stream)
        hearth_weight_stream_row(d->shape.stream, role, i, out);
    else
        hearth_weight_row(role == HEARTH_TENSOR_EMBED ? d->embed : d->place, i,
                          out);
}

hearth_weight hearth_decoder__head_rows(const hearth_decoder *d, size_t worker,
                                        size_t first, size_t n) {
    hearth_weight rows = *d->head;
    rows.rows = n;
    if (d->shape.stream)
        rows.data =
            hearth_weight_stream_head(d->shape.stream, worker, first, n);
    else
        rows.data += first * hearth_weight__bytes(d->head, d->head->cols);
    return rows;
}

/* x = scale embedding (+ the position's row, by way of d->h's first row). */
static void embed_row(hearth_decoder *d, const hearth_pass *p, int32_t token,
                      size_t i) {
    size_t width = d->c->hidden_size;
    hearth_real *x = d->input[0] + i * width;
    table_row(d, HEARTH_TENSOR_EMBED, (size_t)token, x);
    if (d->c->embed_scale < 1 || d->c->embed_scale > 1)
        for (size_t c = 0; c < width; c++)
            x[c] *= (hearth_real)d->c->embed_scale;
    if (!d->place) return;
    table_row(d, HEARTH_TENSOR_POSITION, position_of(p, i), d->h);
    d->compute.kernels->accumulate(width, d->h, x);
}

/* What optimizer steps changed since the last pass. */
static void refresh_norms(hearth_decoder *d) {
    for (size_t l = 0; l < d->c->n_layers; l++)
        for (int i = 0; i < NORM_COUNT; i++)
            hearth_norm__refresh(&d->layer[l].norm[i],
                                 i == NORM_Q || i == NORM_K
                                     ? d->c->head_dim
                                     : d->c->hidden_size);
    hearth_norm__refresh(&d->norm_final, d->c->hidden_size);
}

hearth_status hearth_decoder__ask(const hearth_decoder *d, hearth_error *err) {
    if (!d->gate || d->gate(d->gate_ud)) return HEARTH_OK;
    return hearth_error_set(err, HEARTH_ECANCELLED,
                            "stopped between layers; the step in progress is "
                            "dropped");
}

/* Ready layer l: the gate, and its weights.  `next` is what the pass asks for
 * after it. */
static hearth_status enter_layer(hearth_decoder *d, size_t l, size_t next,
                                 hearth_error *err) {
    hearth_status st = hearth_decoder__ask(d, err);
    if (st != HEARTH_OK || !d->shape.stream) return st;
    return hearth_weight_stream_acquire(d->shape.stream, l, next, err);
}

static void leave_layer(hearth_decoder *d) {
    if (d->shape.stream) hearth_weight_stream_release(d->shape.stream);
}

/* The rows of all tokens; streamed, the system reads some of them ahead. */
static void embed_rows(hearth_decoder *d, const hearth_pass *p,
                       const int32_t *token) {
    size_t wanted = 0;
    for (size_t i = 0; i < p->n; i++) {
        for (; d->shape.stream && wanted < p->n &&
               wanted < i + HEARTH_WEIGHT_STREAM_ROWS;
             wanted++)
            hearth_weight_stream_row_want(d->shape.stream, HEARTH_TENSOR_EMBED,
                                          (size_t)token[wanted]);
        embed_row(d, p, token[i], i);
    }
}

/* Embedding and all layers: input[L] is the result.  Going back, the last layer
 * comes again, then those before it. */
static hearth_status forward(hearth_decoder *d, const hearth_pass *p,
                             const int32_t *token, hearth_error *err) {
    size_t n = d->c->n_layers;
    hearth_status st = HEARTH_OK;
    if (d->norm_final.own) refresh_norms(d);
    if (d->shape.stream) hearth_weight_stream_begin(d->shape.stream);
    embed_rows(d, p, token);
    for (size_t l = 0; st == HEARTH_OK && l < n; l++) {
        size_t next = l + 1 < n ? l + 1 : p->back && l ? l - 1 : 0;
        st = enter_layer(d, l, next, err);
        if (st == HEARTH_OK) hearth_layer__forward(d, p, l);
        leave_layer(d);
    }
    return st;
}

/* h[k] = norm of the k-th supervised row; returns how many there are. */
static size_t gather_supervised(hearth_decoder *d, const hearth_stream *s) {
    size_t n = 0, width = d->c->hidden_size;
    const hearth_real *x = d->input[d->c->n_layers];
    for (size_t i = 0; i < s->n; i++)
        if (s->label[i] != HEARTH_STREAM_UNSUPERVISED)
            d->row[n++] = (uint32_t)i;
    for (size_t k = 0; k < n; k++)
        hearth_norm__row(d, &d->norm_final, width, x + d->row[k] * width,
                         d->h + k * width);
    return n;
}

/* Sums in row order. */
static hearth_status sum_loss(const hearth_decoder *d, const hearth_stream *s,
                              size_t n, hearth_loss *out, double *doc_loss,
                              hearth_error *err) {
    size_t doc = 0;
    *out = (hearth_loss){0};
    for (size_t k = 0; doc_loss && k < s->n_docs; k++) doc_loss[k] = 0;
    for (size_t k = 0; k < n; k++) {
        out->loss_sum += d->row_loss[k];
        out->n_correct += d->row_hit[k];
        while (d->row[k] >= s->doc_start[doc + 1]) doc++;
        if (doc_loss) doc_loss[doc] += d->row_loss[k];
    }
    out->n_supervised = n;
    if (!isfinite(out->loss_sum))
        return hearth_error_set(err, HEARTH_ENONFINITE,
                                "the loss is not a finite number; lower the "
                                "learning rate or check the model");
    return HEARTH_OK;
}

/* Supervised rows through the head.  A stream that failed anywhere in the pass
 * so far ends it: its numbers are made of zeros. */
static hearth_status run_head(hearth_decoder *d, const hearth_stream *s,
                              size_t n, bool with_grad, hearth_error *err) {
    hearth_status st =
        hearth_cross_entropy__run(d, n, s->label, with_grad, err);
    if (st != HEARTH_OK || !d->shape.stream) return st;
    return hearth_weight_stream_check(d->shape.stream, err);
}

hearth_status hearth_decoder_loss(hearth_decoder *dec, const hearth_stream *s,
                                  hearth_loss *out, double *doc_loss,
                                  hearth_error *err) {
    *out = (hearth_loss){0};
    hearth_status st = check_stream(dec, s, true, err);
    if (st != HEARTH_OK) return st;
    hearth_pass p = pass_of(s);
    st = forward(dec, &p, s->token, err);
    if (st != HEARTH_OK) return st;
    size_t n = gather_supervised(dec, s);
    st = run_head(dec, s, n, false, err);
    return st == HEARTH_OK ? sum_loss(dec, s, n, out, doc_loss, err) : st;
}

/* dx from the head's gradient at the supervised rows, through the last norm. */
static void start_backward(hearth_decoder *d, size_t n_tokens, size_t n) {
    size_t width = d->c->hidden_size;
    const hearth_real *x = d->input[d->c->n_layers];
    memset(d->dx, 0, n_tokens * width * sizeof(*d->dx));
    for (size_t i = 0; i < n; i++) {
        size_t at = d->row[i] * width;
        const hearth_real *dy = d->dh + i * width;
        hearth_norm__row_back(d, &d->norm_final, width, x + at, dy, d->dx + at);
        hearth_norm__row_grad(d, &d->norm_final, width, x + at, dy);
    }
}

/* Full mode: gradients of the embedding and of the position table. */
static void embed_backward(hearth_decoder *d, const hearth_pass *p,
                           const int32_t *token) {
    size_t width = d->c->hidden_size;
    for (size_t i = 0; i < p->n; i++) {
        hearth_real *dx = d->dx + i * width;
        if (d->grad_place)
            d->compute.kernels->accumulate(
                width, dx, d->grad_place + position_of(p, i) * width);
        if (d->c->embed_scale < 1 || d->c->embed_scale > 1)
            for (size_t c = 0; c < width; c++)
                dx[c] *= (hearth_real)d->c->embed_scale;
        d->compute.kernels->accumulate(
            width, dx, d->grad_embed + (size_t)token[i] * width);
    }
}

static hearth_status backward(hearth_decoder *d, const hearth_pass *p,
                              const int32_t *token, size_t n_supervised,
                              hearth_error *err) {
    hearth_status st = HEARTH_OK;
    start_backward(d, p->n, n_supervised);
    for (size_t l = d->c->n_layers; st == HEARTH_OK && l-- > d->lowest;) {
        st = enter_layer(d, l, l > d->lowest ? l - 1 : 0, err);
        if (st == HEARTH_OK) hearth_layer__backward(d, p, l);
        leave_layer(d);
    }
    if (st == HEARTH_OK && d->grad_embed) embed_backward(d, p, token);
    return st;
}

hearth_status hearth_decoder_grad(hearth_decoder *dec, const hearth_stream *s,
                                  const hearth_dropout *dropout,
                                  hearth_loss *out, hearth_error *err) {
    *out = (hearth_loss){0};
    if (dec->shape.mode == HEARTH_DECODER_INFER)
        return hearth_error_set(err, HEARTH_ESTATE,
                                "this decoder was planned without gradients; "
                                "plan it for training");
    bool drops = dropout && dropout->p > 0.0f;
    if (drops && (!dec->shape.dropout || !(dropout->p < 1.0f)))
        return hearth_error_set(err, HEARTH_EINVAL,
                                "dropout was not planned or is not below 1; "
                                "fix the call");
    hearth_status st = check_stream(dec, s, true, err);
    if (st != HEARTH_OK) return st;
    hearth_pass p = pass_of(s);
    /* Full mode has no adapter, hence nothing to drop. */
    p.dropout = drops && dec->shape.adapter ? dropout : NULL;
    p.back = true;
    st = forward(dec, &p, s->token, err);
    if (st != HEARTH_OK) return st;
    size_t n = gather_supervised(dec, s);
    st = run_head(dec, s, n, true, err);
    if (st == HEARTH_OK) st = sum_loss(dec, s, n, out, NULL, err);
    if (st == HEARTH_OK && n) st = backward(dec, &p, s->token, n, err);
    if (st != HEARTH_OK) *out = (hearth_loss){0};
    return st;
}

static hearth_status streamed(hearth_error *err) {
    return hearth_error_set(err, HEARTH_EUNSUPPORTED,
                            "streamed weights are for training and evaluation; "
                            "use mapped ones to generate");
}

hearth_status hearth_decoder_logits(hearth_decoder *dec, const hearth_stream *s,
                                    hearth_real *logits, hearth_error *err) {
    hearth_status st = check_stream(dec, s, false, err);
    if (st != HEARTH_OK) return st;
    if (dec->shape.stream) return streamed(err);
    hearth_pass p = pass_of(s);
    st = forward(dec, &p, s->token, err);
    if (st != HEARTH_OK) return st;
    hearth_norm__forward(dec, &dec->norm_final, s->n, dec->c->hidden_size,
                         dec->input[dec->c->n_layers], dec->h);
    hearth_weight_forward(&dec->compute, dec->head, s->n, dec->h,
                          dec->c->hidden_size, logits, dec->c->vocab_size, 0);
    return HEARTH_OK;
}

hearth_status hearth_decoder_extend(hearth_decoder *dec, const int32_t *token,
                                    size_t n, hearth_real *logits,
                                    hearth_error *err) {
    size_t width = dec->c->hidden_size;
    if (!dec->cache_k)
        return hearth_error_set(err, HEARTH_ESTATE,
                                "this decoder was planned without a context; "
                                "plan max_context");
    if (dec->shape.stream) return streamed(err);
    if (!n) return bad_stream(err, "no token");
    if (n > dec->shape.max_tokens || n > dec->shape.max_context - dec->context)
        return hearth_error_set(err, HEARTH_ETOOBIG,
                                "the context of %zu positions is full; start "
                                "again or plan a longer one",
                                dec->shape.max_context);
    hearth_status st = check_tokens(dec, token, n, 0, err);
    if (st != HEARTH_OK) return st;
    dec->one_doc[0] = 0;
    dec->one_doc[1] = (uint32_t)n;
    hearth_pass p = {.n = n,
                     .n_docs = 1,
                     .doc_start = dec->one_doc,
                     .past = dec->context,
                     .cached = true};
    st = forward(dec, &p, token, err);
    if (st != HEARTH_OK) return st;
    dec->context += n;
    hearth_norm__row(dec, &dec->norm_final, width,
                     dec->input[dec->c->n_layers] + (n - 1) * width, dec->h);
    hearth_weight_forward(&dec->compute, dec->head, 1, dec->h, width, logits,
                          dec->c->vocab_size, 0);
    return HEARTH_OK;
}

size_t hearth_decoder_context(const hearth_decoder *dec) {
    return dec->context;
}

void hearth_decoder_rewind(hearth_decoder *dec, size_t n) {
    if (n < dec->context) dec->context = n;
}

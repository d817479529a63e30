/* SPDX-License-Identifier: Apache-2.0 */
/* client/infer/generate.c - prefill, sample, emit whole characters. */
#include "client/infer/generate.h"

#include <math.h>
#include <string.h>

#include "client/infer/sample.h"
#include "client/infer/text_gate.h"
#include "client/train/decoder.h"
#include "common/arena.h"
#include "common/bytes.h"
#include "common/error.h"
#include "common/mem.h"
#include "common/philox.h"

#define PREFILL         ((size_t)128) /* tokens of one prompt pass */
#define DEFAULT_CONTEXT ((size_t)4096)

struct hearth_generator {
    hearth_alloc al;
    const hearth_model *model;
    const hearth_model_config *c;
    const hearth_tokenizer *tokenizer;
    hearth_pool *pool;
    const hearth_kernels *kernels;
    hearth_arena arena;
    hearth_decoder *dec;
    float *logits;   /* [vocab_size] */
    uint32_t *order; /* [vocab_size] */
    int32_t *token;  /* [max_context] prompt and new tokens */
    size_t n, max_context;
    hearth_buf piece;
    hearth_text_gate gate;
};

static hearth_status no_memory(hearth_error *err) {
    return hearth_error_set(err, HEARTH_ENOMEM,
                            "no memory to generate; use a shorter context");
}

static size_t min_size(size_t a, size_t b) {
    return a < b ? a : b;
}

/* A decoder with this adapter in the place of the one that is there.  The old
 * one's memory is used again when the new one fits into it. */
static hearth_status make_decoder(hearth_generator *g, hearth_adapter *adapter,
                                  hearth_error *err) {
    hearth_decoder_sizes sizes;
    hearth_arena fresh = {0};
    hearth_decoder_shape s = {.model = g->model,
                              .adapter = adapter,
                              .mode = HEARTH_DECODER_INFER,
                              .max_tokens = min_size(PREFILL, g->max_context),
                              .max_context = g->max_context,
                              .n_workers = hearth_pool_size(g->pool)};
    hearth_status st = hearth_decoder_plan(&s, &sizes, err);
    if (st != HEARTH_OK) return st;
    if (sizes.total > g->arena.size) {
        if (hearth_arena_init(&fresh, &g->al, sizes.total) != HEARTH_OK)
            return no_memory(err);
        hearth_arena_free(&g->arena);
        g->arena = fresh;
    }
    hearth_arena_reset(&g->arena, 0);
    g->n = 0;
    g->dec = NULL;
    return hearth_decoder_new(&g->dec, &s, g->pool, g->kernels, &g->arena, err);
}

static hearth_status build(hearth_generator *g, hearth_adapter *adapter,
                           hearth_error *err) {
    hearth_status st = make_decoder(g, adapter, err);
    if (st != HEARTH_OK) return st;
    g->logits = hearth_mem_array(&g->al, g->c->vocab_size, sizeof(*g->logits));
    g->order = hearth_mem_array(&g->al, g->c->vocab_size, sizeof(*g->order));
    g->token = hearth_mem_array(&g->al, g->max_context, sizeof(*g->token));
    return g->logits && g->order && g->token ? HEARTH_OK : no_memory(err);
}

hearth_status hearth_generator_open(
    hearth_generator **out, const hearth_model *model, hearth_adapter *adapter,
    const hearth_tokenizer *tokenizer, size_t max_context, hearth_pool *pool,
    const hearth_kernels *kernels, const hearth_alloc *al, hearth_error *err) {
    *out = NULL;
    al = hearth_mem_or_default(al);
    hearth_generator *g = hearth_mem_new(al, sizeof(*g));
    if (!g) return no_memory(err);
    g->al = *al;
    g->model = model;
    g->c = hearth_model_get_config(model);
    g->pool = pool;
    g->kernels = kernels;
    g->tokenizer = tokenizer;
    g->max_context = max_context
                         ? max_context
                         : min_size(DEFAULT_CONTEXT, g->c->max_positions);
    g->piece = (hearth_buf)HEARTH_BUF_INIT(&g->al);
    hearth_text_gate_init(&g->gate, &g->al);
    hearth_status st = build(g, adapter, err);
    if (st != HEARTH_OK) {
        hearth_generator_close(g);
        return st;
    }
    *out = g;
    return HEARTH_OK;
}

void hearth_generator_close(hearth_generator *g) {
    if (!g) return;
    hearth_alloc al = g->al;
    hearth_buf_free(&g->piece);
    hearth_text_gate_free(&g->gate);
    hearth_arena_free(&g->arena);
    hearth_mem_free(&al, g->logits);
    hearth_mem_free(&al, g->order);
    hearth_mem_free(&al, g->token);
    hearth_mem_free(&al, g);
}

hearth_status hearth_generator_set_adapter(hearth_generator *g,
                                           hearth_adapter *adapter,
                                           hearth_error *err) {
    if (!g) return HEARTH_EINVAL;
    return make_decoder(g, adapter, err);
}

void hearth_generator_forget(hearth_generator *g) {
    hearth_decoder_rewind(g->dec, 0);
    g->n = 0;
}

const int32_t *hearth_generator_tokens(const hearth_generator *g, size_t *n) {
    *n = g->n;
    return g->token;
}

static hearth_status check_options(const hearth_generator *g,
                                   const hearth_generate_options *o,
                                   hearth_error *err) {
    if (!(o->temperature >= 0) || !isfinite(o->temperature) ||
        !(o->top_p > 0 && o->top_p <= 1) || !(o->repeat_penalty > 0) ||
        !isfinite(o->repeat_penalty) || (o->n_stop && !o->stop))
        return hearth_error_set(err, HEARTH_EINVAL,
                                "temperature must be >= 0, top-p in (0, 1], "
                                "repeat-penalty > 0; correct the option");
    if (o->n_stop && !g->tokenizer)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "stop strings need a tokenizer; open one");
    if (o->n_stop > HEARTH_GENERATE_MAX_STOPS)
        return hearth_error_set(err, HEARTH_ETOOBIG,
                                "more than %u stop strings; give fewer",
                                HEARTH_GENERATE_MAX_STOPS);
    for (size_t i = 0; i < o->n_stop; i++) {
        size_t n = strlen(o->stop[i]);
        if (n == 0 || n > HEARTH_GENERATE_MAX_STOP)
            return hearth_error_set(err, n ? HEARTH_ETOOBIG : HEARTH_EINVAL,
                                    "a stop string must have 1 to %u bytes; "
                                    "change it",
                                    HEARTH_GENERATE_MAX_STOP);
        if (!hearth_utf8_valid(o->stop[i], n))
            return hearth_error_set(err, HEARTH_EINVAL,
                                    "a stop string is not UTF-8; change it");
    }
    return HEARTH_OK;
}

/* Take the prompt: keep what the cache already holds of it (but compute at
 * least its last token), run the rest. */
static hearth_status prefill(hearth_generator *g, const int32_t *prompt,
                             size_t n, hearth_error *err) {
    size_t same = 0, cached = min_size(hearth_decoder_context(g->dec), g->n);
    if (!n || n > g->max_context)
        return hearth_error_set(err, n ? HEARTH_ETOOBIG : HEARTH_EINVAL,
                                "a prompt of %zu tokens does not fit 1 to %zu; "
                                "change the prompt or the context",
                                n, g->max_context);
    while (same < cached && same < n - 1 && g->token[same] == prompt[same])
        same++;
    hearth_decoder_rewind(g->dec, same);
    g->n = same;
    while (g->n < n) {
        size_t m = min_size(PREFILL, n - g->n);
        hearth_status st =
            hearth_decoder_extend(g->dec, prompt + g->n, m, g->logits, err);
        if (st != HEARTH_OK) return st;
        memmove(g->token + g->n, prompt + g->n, m * sizeof(*prompt));
        g->n += m;
    }
    return HEARTH_OK;
}

static hearth_status choose(hearth_generator *g,
                            const hearth_generate_options *o, size_t step,
                            int32_t *id, hearth_error *err) {
    hearth_sample_rule rule = {o->temperature, o->top_k, o->top_p};
    hearth_philox_key key =
        hearth_philox_key_make(o->seed, HEARTH_PHILOX_SAMPLE);
    size_t window = min_size(o->repeat_window, g->n);
    if (o->repeat_penalty < 1 || o->repeat_penalty > 1)
        hearth_sample_penalize(g->logits, g->c->vocab_size,
                               g->token + g->n - window, window,
                               o->repeat_penalty, g->order);
    *id = hearth_sample_token(g->logits, g->c->vocab_size, g->order, &rule,
                              hearth_philox_uniform(key, step, 0));
    if (*id < 0)
        return hearth_error_set(err, HEARTH_ENONFINITE,
                                "the model gives no finite logits; check the "
                                "model and the adapter");
    return HEARTH_OK;
}

/* Text of one token through the gate. */
static hearth_status emit(hearth_generator *g, int32_t id, hearth_error *err) {
    if (!g->tokenizer) return HEARTH_OK;
    hearth_buf_clear(&g->piece);
    hearth_status st = hearth_tokenizer_piece(g->tokenizer, id, &g->piece, err);
    if (st == HEARTH_EINVAL) return HEARTH_OK; /* an id without text */
    if (st != HEARTH_OK) return st;
    st = hearth_text_gate_push(&g->gate, hearth_buf_str(&g->piece), g->piece.n);
    return st == HEARTH_OK ? st : no_memory(err);
}

static bool is_end(const hearth_generator *g, const hearth_generate_options *o,
                   int32_t id) {
    for (size_t i = 0; i < o->n_end; i++)
        if (o->end[i] == id) return true;
    return hearth_model_config_is_eos(g->c, id);
}

/* One new token: sample, emit, extend.  False ends the run. */
static bool step(hearth_generator *g, const hearth_generate_options *o,
                 hearth_generate_result *out, hearth_status *st,
                 hearth_error *err) {
    int32_t id = 0;
    if (out->n_tokens == o->max_tokens) return false;
    if (g->n == g->max_context) {
        out->finish = HEARTH_FINISH_CONTEXT;
        return false;
    }
    if ((*st = choose(g, o, out->n_tokens, &id, err)) != HEARTH_OK)
        return false;
    if (!o->ignore_eos && is_end(g, o, id)) {
        out->finish = HEARTH_FINISH_EOS;
        return false;
    }
    g->token[g->n++] = id;
    out->n_tokens++;
    if ((*st = emit(g, id, err)) != HEARTH_OK) return false;
    if (g->gate.stopped || g->gate.cancelled) {
        out->finish =
            g->gate.stopped ? HEARTH_FINISH_STOP : HEARTH_FINISH_CALLBACK;
        return false;
    }
    if (out->n_tokens == o->max_tokens) return false; /* spare a pass */
    *st = hearth_decoder_extend(g->dec, &id, 1, g->logits, err);
    return *st == HEARTH_OK;
}

hearth_status hearth_generator_run(hearth_generator *g, const int32_t *prompt,
                                   size_t n, const hearth_generate_options *o,
                                   hearth_generate_fn on_text, void *ud,
                                   hearth_generate_result *out,
                                   hearth_error *err) {
    *out = (hearth_generate_result){.finish = HEARTH_FINISH_LENGTH};
    hearth_status st = check_options(g, o, err);
    if (st == HEARTH_OK) st = prefill(g, prompt, n, err);
    if (st != HEARTH_OK) return st;
    out->n_prompt = n;
    hearth_text_gate_start(&g->gate, o->stop, o->n_stop, on_text, ud);
    while (step(g, o, out, &st, err)) {
    }
    if (st == HEARTH_OK && out->finish != HEARTH_FINISH_STOP)
        hearth_text_gate_finish(&g->gate);
    return st;
}

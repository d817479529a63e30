/* SPDX-License-Identifier: Apache-2.0 */
/* client/train/decoder_plan.c - sizes first, memory after, by the same code.
 *
 * hearth_decoder__layout runs twice: without an arena it counts, with one it
 * takes; so the plan cannot differ from what is used.
 */
#include <string.h>

#include "client/train/decoder_private.h"
#include "common/error.h"
#include "common/mem.h"

#define TILE_REALS  (HEARTH_WEIGHT_TILE_BYTES / sizeof(hearth_real))
#define MAX_WORKERS ((size_t)HEARTH_POOL_MAX_THREADS)

typedef struct {
    hearth_arena *arena; /* NULL: count only */
    size_t *bytes;       /* the purpose being counted */
    bool failed;
} layout;

static size_t min_size(size_t a, size_t b) {
    return a < b ? a : b;
}

static size_t max_size(size_t a, size_t b) {
    return a > b ? a : b;
}

static void *take(layout *b, size_t n, size_t size) {
    size_t need = hearth_arena_need(n ? n : 1, size);
    if (!hearth_size_add(*b->bytes, need, b->bytes)) b->failed = true;
    if (!b->arena || b->failed) return NULL;
    void *p = hearth_arena_take(b->arena, n ? n : 1, size);
    if (!p) b->failed = true;
    return p;
}

/* rows x cols reals. */
static hearth_real *reals(layout *b, size_t rows, size_t cols) {
    size_t n;
    if (!hearth_size_mul(rows, cols, &n)) b->failed = true;
    return take(b, n, sizeof(hearth_real));
}

static hearth_status bad_pair(const hearth_adapter_pair *p, hearth_error *err) {
    return hearth_error_set(err, HEARTH_EINVAL,
                            "adapter module '%s' does not fit this model; use "
                            "the base model that the adapter was made for",
                            p->module);
}

static hearth_status check_adapter(const hearth_decoder_shape *s,
                                   hearth_error *err) {
    size_t n_modules, at = 0;
    const hearth_module_info *info = hearth_model_modules(s->model, &n_modules);
    for (size_t i = 0; i < s->adapter->n_pairs; i++, at++) {
        const hearth_adapter_pair *p = &s->adapter->pair[i];
        /* modules and pairs are both in canonical order, each once */
        while (at < n_modules &&
               (info[at].layer != p->layer || info[at].target != p->target))
            at++;
        if (at == n_modules || !p->rank || p->rank > HEARTH_ADAPTER_MAX_RANK ||
            p->in != info[at].in || p->out != info[at].out ||
            strcmp(p->module, info[at].name) != 0)
            return bad_pair(p, err);
    }
    return HEARTH_OK;
}

static bool any_quantised(const hearth_model *m) {
    const hearth_model_config *c = hearth_model_get_config(m);
    for (size_t i = 0; i < hearth_model_n_tensors(c); i++) {
        hearth_model_tensor t;
        hearth_model_tensor_at(c, i, &t);
        if (hearth_model_weight(m, t.role, t.layer)->type ==
            HEARTH_WEIGHT_QUANT)
            return true;
    }
    return false;
}

static hearth_status check_mode(const hearth_decoder_shape *s,
                                hearth_error *err) {
    bool adapted = s->adapter && s->adapter->n_pairs;
    if (s->mode == HEARTH_DECODER_FULL && s->adapter)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "full mode takes no adapter; merge it first");
    if (s->mode == HEARTH_DECODER_FULL && s->stream)
        return hearth_error_set(err, HEARTH_EUNSUPPORTED,
                                "full fine-tuning holds every weight; use "
                                "--weights mapped, or train LoRA");
    if (s->mode == HEARTH_DECODER_FULL && any_quantised(s->model))
        return hearth_error_set(err, HEARTH_EUNSUPPORTED,
                                "full fine-tuning needs F32, F16 or BF16 "
                                "weights and these are quantised; train LoRA, "
                                "or give the model's original files");
    if (s->mode == HEARTH_DECODER_LORA && !adapted)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "LoRA mode needs an adapter; make one first");
    return adapted ? check_adapter(s, err) : HEARTH_OK;
}

/* Block sizes and counts that follow from shapes alone. */
static void derive(hearth_decoder *d) {
    const hearth_decoder_shape *s = &d->shape;
    const hearth_model_config *c = d->c;
    d->n_positions = min_size(s->max_tokens, c->max_positions);
    d->n_positions = max_size(d->n_positions, s->max_context);
    hearth_attention__derive(d);
    hearth_cross_entropy__derive(d);
    d->lowest = s->mode == HEARTH_DECODER_FULL ? 0 : c->n_layers;
    if (s->mode == HEARTH_DECODER_LORA)
        d->lowest = s->adapter->pair[0].layer; /* canonical order */
    d->n_vectors = 0;
    size_t n_tensors = hearth_model_n_tensors(c);
    for (size_t i = 0; i < n_tensors; i++) {
        hearth_model_tensor t;
        hearth_model_tensor_at(c, i, &t);
        if (hearth_decoder__is_vector(&t)) d->n_vectors += t.rows;
    }
    d->n_slots = 1;
    if (s->mode != HEARTH_DECODER_INFER &&
        s->recompute < c->n_layers - d->lowest)
        d->n_slots = c->n_layers - d->lowest - s->recompute;
    if (s->mode != HEARTH_DECODER_INFER)
        d->n_kept =
            min_size(s->keep_attention, c->n_layers - d->lowest - d->n_slots);
    d->mlp_rows = s->mlp_rows && s->mlp_rows < s->max_tokens ? s->mlp_rows
                                                             : s->max_tokens;
    d->aux_reals =
        max_size(hearth_attention__aux(d), hearth_cross_entropy__aux(d));
}

/* Rank of the adapter of a target anywhere, 0 when it has none; one value for
 * all layers keeps slots alike. */
static size_t largest_rank(const hearth_decoder *d, uint32_t target) {
    const hearth_adapter *a = d->shape.adapter;
    size_t rank = 0;
    for (size_t i = 0; a && i < a->n_pairs; i++)
        if (a->pair[i].target == target) rank = max_size(rank, a->pair[i].rank);
    return rank;
}

/* Columns of t, at the first of the targets that share it. */
static void derive_t(hearth_decoder *d) {
    for (uint32_t t = 0; t < HEARTH_TARGET_COUNT; t++)
        d->t_width[hearth_decoder__shares(t)] += largest_rank(d, t);
}

/* How many parameters are trained. */
static void count_params(hearth_decoder *d) {
    const hearth_decoder_shape *s = &d->shape;
    d->params = (hearth_params){0};
    if (s->mode == HEARTH_DECODER_FULL) {
        d->params.n_params = hearth_model_n_tensors(d->c);
        d->params.n_elements = (size_t)hearth_model_config_parameters(d->c);
    }
    if (s->mode == HEARTH_DECODER_LORA) {
        hearth_part part =
            s->adapter->freeze_a ? HEARTH_PART_B : HEARTH_PART_AB;
        d->params.n_elements = hearth_adapter_dim(s->adapter, part);
        d->params.n_params =
            s->adapter->n_pairs * (part == HEARTH_PART_AB ? 2u : 1u);
    }
}

hearth_status hearth_decoder__check(hearth_decoder *d,
                                    const hearth_decoder_shape *s,
                                    hearth_error *err) {
    hearth_status st;
    *d = (hearth_decoder){.model = s->model, .shape = *s};
    if (!s->model || !s->max_tokens || !s->n_workers ||
        s->n_workers > MAX_WORKERS || s->mlp_rows % HEARTH_DECODER_ROWS ||
        s->head_rows % HEARTH_DECODER_HEAD_ROWS)
        return hearth_error_set(err, HEARTH_EINVAL,
                                "a decoder needs a model, tokens and workers, "
                                "and parts of whole tiles; fix the call");
    d->c = hearth_model_get_config(s->model);
    if (s->max_tokens > HEARTH_DECODER_MAX_TOKENS ||
        s->max_context > d->c->max_positions || d->c->hidden_size > TILE_REALS)
        return hearth_error_set(err, HEARTH_ETOOBIG,
                                "%zu tokens, or a context of %zu positions, is "
                                "too long for this model (%u positions); use a "
                                "shorter one",
                                s->max_tokens, s->max_context,
                                (unsigned)d->c->max_positions);
    if ((st = check_mode(s, err)) != HEARTH_OK) return st;
    derive(d);
    derive_t(d);
    count_params(d);
    return HEARTH_OK;
}

static void layout_tables(hearth_decoder *d, layout *b) {
    const hearth_model_config *c = d->c;
    size_t n_layers = c->n_layers;
    const hearth_adapter *a = d->shape.adapter;
    d->layer = take(b, n_layers, sizeof(*d->layer));
    d->slot = take(b, d->n_slots, sizeof(*d->slot));
    d->kept = take(b, d->n_kept, sizeof(*d->kept));
    d->input = take(b, n_layers + 1, sizeof(*d->input));
    d->pair = take(b, a ? a->n_pairs : 0, sizeof(*d->pair));
    for (int i = 0; i < (c->rope_theta_local > 0 ? 2 : 1); i++) {
        if (c->learned_positions) break;
        d->cos[i] = reals(b, d->n_positions, c->head_dim / 2);
        d->sin[i] = reals(b, d->n_positions, c->head_dim / 2);
    }
    if (d->shape.mode == HEARTH_DECODER_FULL)
        d->own = take(b, d->params.n_params, sizeof(*d->own));
    if (d->shape.mode != HEARTH_DECODER_FULL ||
        c->norm_kind == HEARTH_NORM_RMS_ONE)
        d->vectors = reals(b, d->n_vectors, 1);
    d->params.param = take(b, d->params.n_params, sizeof(*d->params.param));
    d->name = take(b, d->params.n_params, sizeof(*d->name));
}

static void layout_parameters(hearth_decoder *d, layout *b) {
    if (d->shape.mode == HEARTH_DECODER_FULL)
        d->value = reals(b, d->params.n_elements, 1);
#ifdef HEARTH_FLOAT64
    if (d->shape.adapter)
        d->value =
            reals(b, hearth_adapter_dim(d->shape.adapter, HEARTH_PART_AB), 1);
#endif
}

/* Rows of the largest part of the MLP. */
static size_t mlp_capacity(const hearth_decoder *d) {
    return min_size(d->mlp_rows + HEARTH_MLP_TAIL, d->shape.max_tokens);
}

/* Arrays of a slot that layers may share.  shared: by layers that recompute or
 * store, so the MLP's rows are not kept. */
static void layout_shared(hearth_decoder *d, layout *b, bool shared,
                          hearth_slot *s) {
    const hearth_model_config *c = d->c;
    size_t n = d->shape.max_tokens, q = (size_t)c->n_heads * c->head_dim;
    size_t kv = (size_t)c->n_kv_heads * c->head_dim;
    size_t rows = shared ? mlp_capacity(d) : n;
    s->o = reals(b, n, q);
    if (c->qk_norm && d->shape.mode != HEARTH_DECODER_INFER) {
        s->q_in = reals(b, n, q);
        s->k_in = reals(b, n, kv);
    }
    if (c->sandwich) {
        s->o_out = reals(b, n, c->hidden_size);
        s->down_out = reals(b, n, c->hidden_size);
    }
    s->mid = reals(b, n, c->hidden_size);
    s->part = rows < n;
    if (c->mlp_kind != HEARTH_MLP_GELU) s->g = reals(b, rows, c->ffn_size);
    s->u = reals(b, rows, c->ffn_size);
}

/* Arrays of a slot that are its own: see decoder_store.c. */
static void layout_own(hearth_decoder *d, layout *b, hearth_slot *s) {
    const hearth_model_config *c = d->c;
    size_t n = d->shape.max_tokens, kv = (size_t)c->n_kv_heads * c->head_dim;
    s->q = reals(b, n, (size_t)c->n_heads * c->head_dim);
    s->k = reals(b, n, kv);
    s->v = reals(b, n, kv);
    if (d->shape.mode != HEARTH_DECODER_INFER) {
        s->top = reals(b, n, c->n_heads);
        s->inverse = reals(b, n, c->n_heads);
    }
    for (uint32_t t = 0; t < HEARTH_TARGET_COUNT; t++)
        s->t[t] = d->t_width[t] ? reals(b, n, d->t_width[t]) : NULL;
}

/* What layers that recompute keep of attention. */
static void layout_kept(hearth_decoder *d, layout *b) {
    size_t n = d->shape.max_tokens, n_heads = d->c->n_heads;
    for (size_t i = 0; i < d->n_kept; i++) {
        hearth_slot s = {.o = reals(b, n, n_heads * d->c->head_dim),
                         .top = reals(b, n, n_heads),
                         .inverse = reals(b, n, n_heads)};
        if (d->kept) d->kept[i] = s;
    }
}

/* Inputs of differentiated layers are kept; the others share one buffer, which
 * a layer may overwrite as soon as it has made mid. */
static void layout_activations(hearth_decoder *d, layout *b) {
    size_t n = d->shape.max_tokens, width = d->c->hidden_size;
    size_t n_layers = d->c->n_layers;
    hearth_real *turn = NULL;
    hearth_slot of_all = {0};
    bool store = d->shape.store_bf16 && d->shape.mode != HEARTH_DECODER_INFER;
    if (store) layout_shared(d, b, true, &of_all);
    for (size_t i = 0; i < d->n_slots; i++) {
        hearth_slot s = of_all;
        if (!store) layout_shared(d, b, i + 1 == d->n_slots, &s);
        layout_own(d, b, &s);
        if (store && i)
            s.store =
                take(b, hearth_decoder__store_halves(d), sizeof(*s.store));
        if (d->slot) d->slot[i] = s;
    }
    layout_kept(d, b);
    if (d->lowest) turn = reals(b, n, width);
    for (size_t l = 0; l <= n_layers; l++) {
        bool shared = d->shape.mode == HEARTH_DECODER_INFER || l < d->lowest;
        hearth_real *p = shared ? turn : reals(b, n, width);
        if (d->input) d->input[l] = p;
    }
}

/* qkv: width of queries, keys and values together. */
static void layout_fused(hearth_decoder *d, layout *b, size_t qkv) {
    size_t attention = 0, mlp = 0;
    if (d->c->fused_qkv &&
        !hearth_size_mul(d->shape.max_tokens, qkv, &attention))
        b->failed = true;
    if (d->c->fused_gate_up &&
        !hearth_size_mul(mlp_capacity(d), 2 * (size_t)d->c->ffn_size, &mlp))
        b->failed = true;
    if (attention || mlp) d->fused = reals(b, max_size(attention, mlp), 1);
}

static bool is_of_mlp(uint32_t target) {
    return target == HEARTH_TARGET_GATE || target == HEARTH_TARGET_UP ||
           target == HEARTH_TARGET_DOWN || target == HEARTH_TARGET_GATE_UP;
}

/* The widest input of a product of a layer, or its output's gradient. */
static void layout_halves(hearth_decoder *d, layout *b, size_t q, size_t kv) {
    const hearth_model_config *c = d->c;
    size_t wide =
        max_size(max_size(c->hidden_size, q), c->fused_qkv ? q + 2 * kv : 0);
    size_t parts = d->shape.round_parts;
    size_t n = hearth_compute_halves(d->shape.max_tokens, wide, parts);
    size_t mlp = (c->fused_gate_up ? 2 : 1) * (size_t)c->ffn_size;
    if (!parts) return;
    n = max_size(n, hearth_compute_halves(mlp_capacity(d), mlp, parts));
    n = max_size(n, hearth_attention__halves(d));
    d->compute.halves = take(b, n, sizeof(*d->compute.halves));
    d->compute.n_halves = n;
}

/* What the cross-entropy keeps of each part of the vocabulary. */
static void layout_parts(hearth_decoder *d, layout *b) {
    size_t rows = d->ce_most;
    d->part_top = reals(b, d->vocab_parts, rows);
    d->part_sum = take(b, d->vocab_parts * rows, sizeof(*d->part_sum));
    d->row_target = reals(b, rows, 1);
    if (d->shape.mode != HEARTH_DECODER_INFER)
        d->part_dh = reals(b, (d->vocab_parts - 1) * rows, d->c->hidden_size);
}

/* What the backward pass of adapters needs, and room for factors that several
 * have one below the other. */
static void layout_adapters(hearth_decoder *d, layout *b) {
    const hearth_adapter *a = d->shape.adapter;
    size_t widest = 0, factors = 0;
    for (size_t i = 0; a && i < a->n_pairs; i++) {
        size_t n = d->t_width[hearth_decoder__shares(a->pair[i].target)], all;
        widest = max_size(widest, n);
        if (!hearth_size_mul(n, a->pair[i].in, &all)) b->failed = true;
        if (n > a->pair[i].rank) factors = max_size(factors, all);
    }
    if (widest && d->shape.mode != HEARTH_DECODER_INFER)
        d->dt = reals(b, d->shape.max_tokens, widest);
    if (factors) d->factors = reals(b, factors, 1);
}

/* rows x cols reals that others follow: whole lines. */
static size_t lines(layout *b, size_t rows, size_t cols) {
    size_t n, line = 64 / sizeof(hearth_real);
    if (!hearth_size_mul(rows, cols, &n) || !hearth_size_add(n, line - 1, &n))
        b->failed = true;
    return n / line * line;
}

/* The MLP's rows, and in the same place what goes back through attention: a
 * layer is done with the one before it comes to the other.  dm may be m where
 * nothing of `down` is trained, so that nobody reads m on the way back. */
static void layout_turns(hearth_decoder *d, layout *b, size_t q, size_t kv) {
    size_t n = d->shape.max_tokens, all;
    size_t mlp = lines(b, mlp_capacity(d), d->c->ffn_size);
    size_t wide = lines(b, n, q), slim = lines(b, n, kv);
    bool back = d->shape.mode != HEARTH_DECODER_INFER;
    bool both = d->shape.mode == HEARTH_DECODER_FULL ||
                largest_rank(d, HEARTH_TARGET_DOWN) > 0;
    if (!hearth_size_mul(back && both ? 2 : 1, mlp, &all) ||
        wide > SIZE_MAX / 4 - slim)
        b->failed = true;
    d->m = reals(b, back ? max_size(all, 2 * (wide + slim)) : all, 1);
    if (!d->m || !back) return;
    d->dm = d->m + (both ? mlp : 0);
    d->dq = d->m;
    d->d_o = d->dq + wide;
    d->dk = d->d_o + wide;
    d->dv = d->dk + slim;
}

static void layout_scratch(hearth_decoder *d, layout *b) {
    const hearth_model_config *c = d->c;
    const hearth_adapter *a = d->shape.adapter;
    size_t n = d->shape.max_tokens, q = (size_t)c->n_heads * c->head_dim;
    size_t kv = (size_t)c->n_kv_heads * c->head_dim, dropped = 0;
    size_t rows = mlp_capacity(d);
    for (size_t i = 0; a && i < a->n_pairs; i++) {
        size_t of = is_of_mlp(a->pair[i].target) ? rows : n, reals_of;
        if (!hearth_size_mul(of, a->pair[i].in, &reals_of)) b->failed = true;
        dropped = max_size(dropped, reals_of);
    }
    d->aux = reals(b, d->shape.n_workers, d->aux_reals);
    d->compute.tile = reals(b, d->shape.n_workers, TILE_REALS);
    layout_halves(d, b, q, kv);
    d->h = reals(b, n, c->hidden_size);
    layout_turns(d, b, q, kv);
    if (c->sandwich) d->dn = reals(b, n, c->hidden_size);
    layout_fused(d, b, q + 2 * kv);
    d->row = take(b, n, sizeof(*d->row));
    d->row_loss = take(b, n, sizeof(*d->row_loss));
    d->row_lse = reals(b, n, 1);
    d->row_hit = take(b, n, 1);
    layout_parts(d, b);
    layout_adapters(d, b);
    if (d->shape.mode == HEARTH_DECODER_INFER) return;
    d->dx = reals(b, n, c->hidden_size);
    d->dh = reals(b, n, c->hidden_size);
    if (d->shape.dropout && dropped) d->xd = reals(b, dropped, 1);
}

static void layout_cache(hearth_decoder *d, layout *b) {
    size_t n, kv = (size_t)d->c->n_kv_heads * d->c->head_dim;
    if (!d->shape.max_context) return;
    if (!hearth_size_mul(d->shape.max_context, d->c->n_layers, &n))
        b->failed = true;
    d->cache_k = reals(b, n, kv);
    d->cache_v = reals(b, n, kv);
}

bool hearth_decoder__layout(hearth_decoder *d, hearth_arena *arena,
                            hearth_decoder_sizes *sizes) {
    layout b = {arena, &sizes->tables, false};
    *sizes = (hearth_decoder_sizes){0};
    layout_tables(d, &b);
    b.bytes = &sizes->parameters;
    layout_parameters(d, &b);
    b.bytes = &sizes->gradients;
    d->grad = reals(&b, d->params.n_elements, 1);
    b.bytes = &sizes->activations;
    layout_activations(d, &b);
    b.bytes = &sizes->scratch;
    layout_scratch(d, &b);
    b.bytes = &sizes->cache;
    layout_cache(d, &b);
    sizes->head_rows = d->ce_rows;
    const size_t part[] = {sizes->tables,
                           sizes->parameters,
                           sizes->gradients,
                           sizes->activations,
                           sizes->scratch,
                           sizes->cache,
                           hearth_arena_need(1, sizeof(hearth_decoder))};
    for (size_t i = 0; i < sizeof(part) / sizeof(part[0]); i++)
        if (!hearth_size_add(sizes->total, part[i], &sizes->total))
            b.failed = true;
    return !b.failed;
}

hearth_status hearth_decoder_plan(const hearth_decoder_shape *s,
                                  hearth_decoder_sizes *out,
                                  hearth_error *err) {
    hearth_decoder d;
    *out = (hearth_decoder_sizes){0};
    hearth_status st = hearth_decoder__check(&d, s, err);
    if (st != HEARTH_OK) return st;
    if (!hearth_decoder__layout(&d, NULL, out)) {
        *out = (hearth_decoder_sizes){0};
        return hearth_error_set(err, HEARTH_ETOOBIG,
                                "this model and length need more memory than "
                                "can be addressed; use a shorter one");
    }
    return HEARTH_OK;
}

size_t hearth_decoder_bytes(const hearth_decoder_shape *s) {
    hearth_decoder_sizes sizes;
    if (hearth_decoder_plan(s, &sizes, NULL) != HEARTH_OK) return SIZE_MAX;
    return sizes.total;
}

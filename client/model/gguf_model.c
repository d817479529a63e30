/* SPDX-License-Identifier: Apache-2.0 */
/* client/model/gguf_model.c - the contract is in gguf_model.h. */
#include "client/model/gguf_model.h"

#include <stdio.h>
#include <string.h>

#include "client/model/family.h"
#include "client/train/weight_private.h"
#include "common/error.h"
#include "common/refmath.h"

#define ROPE_FREQS "rope_freqs.weight"
#define HINT       "download or convert the file again"

/* general.architecture and the family that reads it. */
static const struct {
    const char *arch, *architecture;
    bool permuted;
} archs[] = {
    {"llama", "LlamaForCausalLM", true},
    {"llama", "MistralForCausalLM", true}, /* only when writing */
    {"gpt2", "GPT2LMHeadModel", false},
    {"qwen2", "Qwen2ForCausalLM", false},
    {"qwen3", "Qwen3ForCausalLM", false},
    {"gemma3", "Gemma3ForCausalLM", false},
    {"phi3", "Phi3ForCausalLM", false},
};
#define N_ARCHS (sizeof(archs) / sizeof(archs[0]))

typedef struct {
    const hearth_gguf *g;
    hearth_model_config *c;
    const char *arch, *what;
    hearth_error *err;
} reader;

static hearth_status bad(const reader *r, const char *key, const char *text) {
    return hearth_error_set(r->err, HEARTH_EFORMAT,
                            "%.150s: key '%s.%s' %s; " HINT, r->what, r->arch,
                            key, text);
}

static hearth_status unsupported(const reader *r, const char *key,
                                 const char *text) {
    return hearth_error_set(r->err, HEARTH_EUNSUPPORTED,
                            "%.150s: key '%s.%s' %s; choose another model",
                            r->what, r->arch, key, text);
}

static void full_key(const reader *r, const char *key, char out[128]) {
    (void)snprintf(out, 128, "%s.%s", r->arch, key);
}

/* A count in [1, max]; fallback 0: required. */
static hearth_status get_count(const reader *r, const char *key, uint32_t max,
                               uint32_t fallback, uint32_t *out) {
    char name[128];
    uint64_t v = fallback;
    full_key(r, key, name);
    hearth_status st = hearth_gguf_u64(r->g, name, &v);
    if (st == HEARTH_EMISMATCH) return bad(r, key, "is not a whole number");
    if (st == HEARTH_ENOTFOUND && !fallback) return bad(r, key, "is missing");
    if (v < 1 || v > max) return bad(r, key, "is out of range");
    *out = (uint32_t)v;
    return HEARTH_OK;
}

/* A number in (0, max]. */
static hearth_status get_positive(const reader *r, const char *key, double max,
                                  double fallback, double *out) {
    char name[128];
    double v = fallback;
    full_key(r, key, name);
    if (hearth_gguf_f64(r->g, name, &v) == HEARTH_EMISMATCH)
        return bad(r, key, "is not a number");
    if (!(v > 0 && v <= max)) return bad(r, key, "is missing or out of range");
    *out = v;
    return HEARTH_OK;
}

static hearth_status find_arch(reader *r, const hearth_family **family) {
    const char *s;
    size_t n;
    if (hearth_gguf_string(r->g, "general.architecture", &s, &n) != HEARTH_OK)
        return hearth_error_set(r->err, HEARTH_EFORMAT,
                                "%.150s: key 'general.architecture' is "
                                "missing; " HINT,
                                r->what);
    for (size_t i = 0; i < N_ARCHS; i++)
        if (strlen(archs[i].arch) == n && memcmp(archs[i].arch, s, n) == 0) {
            r->arch = archs[i].arch;
            *family = hearth_family_find(archs[i].architecture);
            return HEARTH_OK;
        }
    return hearth_error_set(r->err, HEARTH_EUNSUPPORTED,
                            "%.150s: architecture '%.*s' is not supported; "
                            "choose a model of: llama, gpt2, qwen2, qwen3, "
                            "gemma3, phi3",
                            r->what, n < 40 ? (int)n : 40, s);
}

static hearth_status read_sizes(const reader *r) {
    hearth_model_config *c = r->c;
    const uint32_t max = HEARTH_MODEL_MAX_WIDTH;
    const hearth_gguf_tensor *e = hearth_gguf_find(r->g, "token_embd.weight");
    hearth_status st;
    if (!e || e->n_dims != 2 || e->ne[1] < 1 ||
        e->ne[1] > HEARTH_MODEL_MAX_VOCAB)
        return hearth_error_set(r->err, HEARTH_EFORMAT,
                                "%.150s: tensor 'token_embd.weight' is missing "
                                "or no matrix; give a complete model, not a "
                                "vocabulary or an adapter",
                                r->what);
    c->vocab_size = (uint32_t)e->ne[1];
    c->tied = !hearth_gguf_find(r->g, "output.weight");
    if ((st = get_count(r, "embedding_length", max, 0, &c->hidden_size)) ||
        (st = get_count(r, "feed_forward_length", max, 0, &c->ffn_size)) ||
        (st = get_count(r, "block_count", HEARTH_MODEL_MAX_LAYERS, 0,
                        &c->n_layers)) ||
        (st = get_count(r, "attention.head_count", max, 0, &c->n_heads)) ||
        (st = get_count(r, "attention.head_count_kv", max, c->n_heads,
                        &c->n_kv_heads)) ||
        (st = get_count(r, "context_length", HEARTH_MODEL_MAX_POSITIONS, 2048,
                        &c->max_positions)))
        return st;
    uint32_t per_head = c->hidden_size / c->n_heads;
    st = get_count(r, "attention.key_length", max, per_head ? per_head : 1,
                   &c->head_dim);
    if (st != HEARTH_OK) return st;
    if (c->n_heads % c->n_kv_heads || (uint64_t)c->n_heads * c->head_dim > max)
        return bad(r, "attention.head_count", "does not fit the other sizes");
    if (!c->learned_positions &&
        (c->head_dim % 2 || c->head_dim / 2 > HEARTH_MODEL_MAX_PAIRS))
        return unsupported(r, "attention.key_length", "is odd or above 512");
    return HEARTH_OK;
}

/* rope_freqs.weight: a divisor for each pair. */
static hearth_status read_divisors(const reader *r) {
    const hearth_gguf_tensor *t = hearth_gguf_find(r->g, ROPE_FREQS);
    if (!t) return HEARTH_OK;
    if (t->type != HEARTH_QUANT_F32 || t->n_dims != 1 ||
        t->ne[0] != r->c->head_dim / 2 || r->c->rope_kind != HEARTH_ROPE_PLAIN)
        return hearth_error_set(r->err, HEARTH_EFORMAT,
                                "%.150s: tensor '" ROPE_FREQS "' does not fit "
                                "the heads or the other scaling; " HINT,
                                r->what);
    hearth_quant_decode(t->type, t->data, 0, (size_t)t->ne[0],
                        r->c->rope_divisor);
    for (uint64_t i = 0; i < t->ne[0]; i++)
        if (!(r->c->rope_divisor[i] > 0 && r->c->rope_divisor[i] < 1e9f))
            return hearth_error_set(r->err, HEARTH_EFORMAT,
                                    "%.150s: tensor '" ROPE_FREQS "' holds a "
                                    "divisor out of range; " HINT,
                                    r->what);
    r->c->rope_kind = HEARTH_ROPE_FACTORS;
    return HEARTH_OK;
}

static hearth_status read_rope(const reader *r) {
    hearth_model_config *c = r->c;
    const char *type = "none";
    size_t n = 4;
    char name[128];
    uint32_t turned = c->head_dim;
    hearth_status st =
        get_positive(r, "rope.freq_base", 1e12, 1e4, &c->rope_theta);
    if (st == HEARTH_OK)
        st = get_count(r, "rope.dimension_count", HEARTH_MODEL_MAX_WIDTH,
                       c->head_dim, &turned);
    if (st != HEARTH_OK) return st;
    if (turned != c->head_dim)
        return unsupported(r, "rope.dimension_count",
                           "rotates a part of each head");
    full_key(r, "rope.scaling.type", name);
    if (hearth_gguf_string(r->g, name, &type, &n) == HEARTH_EMISMATCH)
        return bad(r, "rope.scaling.type", "is not a string");
    if (n == 6 && memcmp(type, "linear", 6) == 0) {
        c->rope_kind = HEARTH_ROPE_LINEAR;
        st = get_positive(r, "rope.scaling.factor", 1e6, 0, &c->rope_factor);
        if (st != HEARTH_OK) return st;
        if (c->rope_factor < 1)
            return bad(r, "rope.scaling.factor", "is below 1");
    } else if (n != 4 || memcmp(type, "none", 4) != 0) {
        return unsupported(r, "rope.scaling.type", "is not none or linear");
    }
    return read_divisors(r);
}

/* Which layers slide: a list of bools, or every layer but each n-th. */
static hearth_status read_pattern(const reader *r) {
    hearth_gguf_array a;
    uint32_t every = 6;
    char name[128];
    full_key(r, "attention.sliding_window_pattern", name);
    if (hearth_gguf_array_open(r->g, name, &a) == HEARTH_OK) {
        double x = 0;
        if (a.n != r->c->n_layers)
            return bad(r, "attention.sliding_window_pattern",
                       "does not name every layer");
        for (uint32_t l = 0; l < r->c->n_layers; l++) {
            if (!hearth_gguf_array_number(&a, &x))
                return bad(r, "attention.sliding_window_pattern",
                           "holds something else than numbers");
            r->c->local[l] = (uint8_t)(x > 0 || x < 0);
        }
        return HEARTH_OK;
    }
    hearth_status st = get_count(r, "attention.sliding_window_pattern",
                                 HEARTH_MODEL_MAX_LAYERS, every, &every);
    for (uint32_t l = 0; st == HEARTH_OK && l < r->c->n_layers; l++)
        r->c->local[l] = (uint8_t)((l + 1) % every != 0);
    return st;
}

/* Phi-3 slides in every layer; a window as long as the context is none. */
static hearth_status read_phi_window(const reader *r) {
    hearth_model_config *c = r->c;
    uint32_t window = c->max_positions;
    hearth_status st =
        get_count(r, "attention.sliding_window", HEARTH_MODEL_MAX_POSITIONS,
                  c->max_positions, &window);
    if (st != HEARTH_OK || window >= c->max_positions) return st;
    c->sliding_window = window;
    for (uint32_t l = 0; l < c->n_layers; l++) c->local[l] = 1;
    return HEARTH_OK;
}

/* Settings that would change results and that no family here has. */
static hearth_status refuse_unknown(const reader *r) {
    char name[128];
    bool causal = true;
    double x = 0;
    full_key(r, "attention.causal", name);
    if (hearth_gguf_bool(r->g, name, &causal) == HEARTH_OK && !causal)
        return unsupported(r, "attention.causal", "is false");
    full_key(r, "rope.scale_linear", name);
    if (hearth_gguf_f64(r->g, name, &x) != HEARTH_ENOTFOUND)
        return unsupported(r, "rope.scale_linear", "is of an older format");
    full_key(r, "expert_count", name);
    if (hearth_gguf_f64(r->g, name, &x) == HEARTH_OK && x > 0)
        return unsupported(r, "expert_count", "means a mixture of experts");
    return HEARTH_OK;
}

/* Windows, scales and the local base. */
static hearth_status read_attention(const reader *r) {
    hearth_model_config *c = r->c;
    hearth_status st = HEARTH_OK;
    double eps = 0;
    const char *key = c->norm_kind == HEARTH_NORM_LAYER
                          ? "attention.layer_norm_epsilon"
                          : "attention.layer_norm_rms_epsilon";
    if ((st = get_positive(r, key, 1.0, 0, &eps)) != HEARTH_OK) return st;
    c->norm_eps = eps;
    c->attn_scale = 1.0 / hearth_ref_sqrt((double)c->head_dim);
    if (c->fused_qkv && !c->learned_positions) return read_phi_window(r);
    if (!c->sandwich) return HEARTH_OK;
    c->embed_scale = (double)(float)hearth_ref_sqrt((double)c->hidden_size);
    if ((st = get_positive(r, "rope.freq_base_swa", 1e12, 1e4,
                           &c->rope_theta_local)) ||
        (st = get_positive(r, "attention.scale", 1e3, c->attn_scale,
                           &c->attn_scale)) ||
        (st = get_count(r, "attention.sliding_window",
                        HEARTH_MODEL_MAX_POSITIONS, 0, &c->sliding_window)))
        return st;
    return read_pattern(r);
}

static void read_token(const reader *r, const char *key, int32_t *out) {
    uint64_t id = 0;
    *out = -1;
    if (hearth_gguf_u64(r->g, key, &id) == HEARTH_OK && id < r->c->vocab_size)
        *out = (int32_t)id;
}

static void read_tokens(const reader *r) {
    static const char *const ends[] = {"tokenizer.ggml.eos_token_id",
                                       "tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
    hearth_model_config *c = r->c;
    read_token(r, "tokenizer.ggml.bos_token_id", &c->bos);
    read_token(r, "tokenizer.ggml.padding_token_id", &c->pad);
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        int32_t id;
        read_token(r, ends[i], &id);
        if (id >= 0 && !hearth_model_config_is_eos(c, id))
            c->eos[c->n_eos++] = id;
    }
}

static hearth_status read_all(reader *r) {
    const hearth_family *f = NULL;
    hearth_model_config *c = r->c;
    hearth_status st = find_arch(r, &f);
    if (st != HEARTH_OK) return st;
    *c = f->fixed;
    memcpy(c->architecture, f->architecture, strlen(f->architecture) + 1);
    memcpy(c->model_type, f->model_type, strlen(f->model_type) + 1);
    c->initializer_range = 0.02;
    if ((st = refuse_unknown(r)) || (st = read_sizes(r)) ||
        (st = read_attention(r)))
        return st;
    read_tokens(r);
    return c->learned_positions ? HEARTH_OK : read_rope(r);
}

hearth_status hearth_gguf_model_config(hearth_model_config *out,
                                       const hearth_gguf *g, const char *what,
                                       hearth_error *err) {
    reader r = {.g = g, .c = out, .what = what, .err = err};
    *out = (hearth_model_config){0};
    hearth_status st = read_all(&r);
    if (st != HEARTH_OK) *out = (hearth_model_config){0};
    return st;
}

static size_t arch_of(const hearth_model_config *c) {
    size_t i = 0;
    while (i < N_ARCHS && strcmp(archs[i].architecture, c->architecture) != 0)
        i++;
    return i;
}

const char *hearth_gguf_model_arch(const hearth_model_config *c) {
    size_t i = arch_of(c);
    return i < N_ARCHS ? archs[i].arch : NULL;
}

bool hearth_gguf_model_permutes(const hearth_model_config *c,
                                hearth_tensor_role role) {
    size_t i = arch_of(c);
    return i < N_ARCHS && archs[i].permuted &&
           (role == HEARTH_TENSOR_Q || role == HEARTH_TENSOR_K);
}

bool hearth_gguf_model_shifts(const hearth_model_config *c,
                              const hearth_model_tensor *t) {
    return c->norm_kind == HEARTH_NORM_RMS_ONE && t->cols == 1;
}

/* Roles to words of the format; %u is the layer. */
static const char *const linear_word[HEARTH_TARGET_COUNT] = {
    "attn_q", "attn_k",   "attn_v",   "attn_output", "ffn_gate",
    "ffn_up", "ffn_down", "attn_qkv", "ffn_up"};

static const char *word_of(hearth_tensor_role role, bool *bias) {
    *bias = false;
    switch (role) {
    case HEARTH_TENSOR_NORM_ATTN_BIAS: *bias = true; return "attn_norm";
    case HEARTH_TENSOR_NORM_ATTN: return "attn_norm";
    case HEARTH_TENSOR_NORM_MLP_BIAS: *bias = true; return "ffn_norm";
    case HEARTH_TENSOR_NORM_MLP: return "ffn_norm";
    case HEARTH_TENSOR_POST_ATTN: return "post_attention_norm";
    case HEARTH_TENSOR_POST_MLP: return "post_ffw_norm";
    case HEARTH_TENSOR_NORM_Q: return "attn_q_norm";
    case HEARTH_TENSOR_NORM_K: return "attn_k_norm";
    case HEARTH_TENSOR_EMBED: return "token_embd";
    case HEARTH_TENSOR_POSITION: return "position_embd";
    case HEARTH_TENSOR_NORM_FINAL: return "output_norm";
    case HEARTH_TENSOR_NORM_FINAL_BIAS: *bias = true; return "output_norm";
    case HEARTH_TENSOR_HEAD: return "output";
    default: break;
    }
    *bias = role >= HEARTH_TENSOR_BIAS;
    return linear_word[*bias ? (int)role - (int)HEARTH_TENSOR_BIAS : (int)role];
}

void hearth_gguf_model_name(char *out, size_t cap, const hearth_model_config *c,
                            const hearth_model_tensor *t) {
    bool bias;
    const char *word = word_of(t->role, &bias);
    (void)c;
    if (t->role >= HEARTH_TENSOR_EMBED)
        (void)snprintf(out, cap, "%s.%s", word, bias ? "bias" : "weight");
    else
        (void)snprintf(out, cap, "blk.%u.%s.%s", (unsigned)t->layer, word,
                       bias ? "bias" : "weight");
}

static hearth_status bad_tensor(const char *what, const char *name,
                                const char *text, hearth_error *err) {
    return hearth_error_set(err, HEARTH_EFORMAT,
                            "%.150s: tensor '%.80s' %s; " HINT, what, name,
                            text);
}

static hearth_weight_type view_type(hearth_quant_type t) {
    if (t == HEARTH_QUANT_F32) return HEARTH_WEIGHT_F32;
    if (t == HEARTH_QUANT_F16) return HEARTH_WEIGHT_F16;
    if (t == HEARTH_QUANT_BF16) return HEARTH_WEIGHT_BF16;
    return HEARTH_WEIGHT_QUANT;
}

hearth_status hearth_gguf_model_tensor(hearth_weight *view,
                                       const hearth_gguf_tensor **from,
                                       const hearth_gguf *g,
                                       const hearth_model_config *c,
                                       const hearth_model_tensor *want,
                                       const char *what, hearth_error *err) {
    char name[HEARTH_MODEL_MAX_NAME], text[96];
    hearth_gguf_model_name(name, sizeof(name), c, want);
    const hearth_gguf_tensor *t = hearth_gguf_find(g, name);
    if (!t) return bad_tensor(what, name, "is missing", err);
    bool vector = want->cols == 1;
    bool fits = vector ? t->n_dims == 1 && t->ne[0] == want->rows
                       : t->n_dims == 2 && t->ne[0] == want->cols &&
                             t->ne[1] == want->rows;
    if (!fits) {
        (void)snprintf(text, sizeof(text),
                       "is not [%u, %u] as the settings ask",
                       (unsigned)want->rows, (unsigned)want->cols);
        return bad_tensor(what, name, text, err);
    }
    if (vector && view_type(t->type) == HEARTH_WEIGHT_QUANT)
        return bad_tensor(what, name, "is a vector, yet quantised", err);
    *view = (hearth_weight){.type = view_type(t->type),
                            .rows = want->rows,
                            .cols = want->cols,
                            .data = t->data,
                            .quant = t->type};
    if (hearth_gguf_model_permutes(c, want->role)) view->permuted = c->head_dim;
    if (hearth_gguf_model_shifts(c, want)) view->shift = -1.0f;
    *from = t;
    return HEARTH_OK;
}

/* Does any role of the model have this name? */
static bool is_wanted(const hearth_model_config *c, const char *name) {
    char own[HEARTH_MODEL_MAX_NAME];
    hearth_model_tensor t;
    if (strcmp(name, ROPE_FREQS) == 0) return true;
    for (size_t i = 0; i < hearth_model_n_tensors(c); i++) {
        hearth_model_tensor_at(c, i, &t);
        hearth_gguf_model_name(own, sizeof(own), c, &t);
        if (strcmp(own, name) == 0) return true;
    }
    return false;
}

hearth_status hearth_gguf_model_no_more(const hearth_gguf *g,
                                        const hearth_model_config *c,
                                        const char *what, hearth_error *err) {
    size_t n = hearth_model_n_tensors(c);
    if (hearth_gguf_find(g, ROPE_FREQS)) n++;
    if (hearth_gguf_count(g) == n) return HEARTH_OK;
    for (size_t i = 0; i < hearth_gguf_count(g); i++)
        if (!is_wanted(c, hearth_gguf_at(g, i)->name))
            return bad_tensor(what, hearth_gguf_at(g, i)->name,
                              "is not one of this architecture", err);
    return HEARTH_OK;
}

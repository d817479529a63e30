/* SPDX-License-Identifier: Apache-2.0 */
/* client/model/model_config.c - config.json, read strictly. */
#include "client/model/model_config.h"

#include <math.h>
#include <string.h>

#include "client/model/family.h"
#include "common/error.h"
#include "common/file.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/refmath.h"

#define MAX_CONFIG_BYTES ((size_t)1 << 20)

/* State of one parse. */
typedef struct {
    const hearth_json_value *root;
    const hearth_family *family;
    hearth_model_config *c;
    const char *what;
    hearth_error *err;
} reader;

static hearth_status bad(const reader *r, const char *field, const char *text) {
    return hearth_error_set(r->err, HEARTH_EFORMAT,
                            "%s: field '%s' %s; check the model folder",
                            r->what, field, text);
}

static hearth_status unsupported(const reader *r, const char *field,
                                 const char *text) {
    return hearth_error_set(r->err, HEARTH_EUNSUPPORTED,
                            "%s: field '%s' %s; choose another model", r->what,
                            field, text);
}

static bool absent(const hearth_json_value *v) {
    hearth_json_type t = hearth_json_type_of(v);
    return t == HEARTH_JSON_NONE || t == HEARTH_JSON_NULL;
}

/* A whole number in [1, max]; fallback 0 makes the field required. */
static hearth_status read_count(const reader *r, const char *field,
                                uint32_t max, uint32_t fallback,
                                uint32_t *out) {
    const hearth_json_value *v = hearth_json_get(r->root, field);
    int64_t n = fallback;
    if (absent(v)) {
        if (!fallback) return bad(r, field, "is missing");
    } else if (hearth_json_i64(v, &n) != HEARTH_OK) {
        return bad(r, field, "is not a whole number");
    }
    if (n < 1 || n > (int64_t)max) return bad(r, field, "is out of range");
    *out = (uint32_t)n;
    return HEARTH_OK;
}

/* A number in (0, max]. */
static hearth_status read_positive(const reader *r,
                                   const hearth_json_value *parent,
                                   const char *field, double max,
                                   double fallback, double *out) {
    const hearth_json_value *v = hearth_json_get(parent, field);
    *out = fallback;
    if (absent(v)) return HEARTH_OK;
    if (hearth_json_f64(v, out) != HEARTH_OK)
        return bad(r, field, "is not a number");
    if (!(*out > 0.0 && *out <= max)) return bad(r, field, "is out of range");
    return HEARTH_OK;
}

/* A token id inside the vocabulary, or -1 when absent. */
static hearth_status read_token(const reader *r, const char *field,
                                const hearth_json_value *v, int32_t *out) {
    int64_t id = -1;
    *out = -1;
    if (absent(v)) return HEARTH_OK;
    if (hearth_json_i64(v, &id) != HEARTH_OK)
        return bad(r, field, "is not a token id");
    if (id == -1) return HEARTH_OK; /* some files write -1 for none */
    if (id < 0 || id >= (int64_t)r->c->vocab_size)
        return bad(r, field, "is outside the vocabulary");
    *out = (int32_t)id;
    return HEARTH_OK;
}

/* One id, a list of them, or null. */
static hearth_status read_eos(const reader *r) {
    const char *field = "eos_token_id";
    const hearth_json_value *v = hearth_json_get(r->root, field);
    hearth_status st;
    if (hearth_json_type_of(v) != HEARTH_JSON_ARRAY) {
        st = read_token(r, field, v, &r->c->eos[0]);
        r->c->n_eos = st == HEARTH_OK && r->c->eos[0] >= 0 ? 1 : 0;
        return st;
    }
    if (hearth_json_size(v) > HEARTH_MODEL_MAX_EOS)
        return bad(r, field, "lists more than 8 tokens");
    for (v = hearth_json_first(v); v; v = hearth_json_next(v)) {
        int32_t *id = &r->c->eos[r->c->n_eos];
        if ((st = read_token(r, field, v, id)) != HEARTH_OK) return st;
        if (*id >= 0) r->c->n_eos++;
    }
    return HEARTH_OK;
}

static hearth_status unknown_architecture(const reader *r, const char *name) {
    char list[256] = "";
    size_t n, at = 0;
    const hearth_family *f = hearth_family_all(&n);
    for (size_t i = 0; i < n; i++) {
        size_t m = strlen(f[i].architecture);
        if (at + m + 3 > sizeof(list)) break;
        if (i) list[at++] = ',', list[at++] = ' ';
        memcpy(list + at, f[i].architecture, m + 1);
        at += m;
    }
    const char *hint = "";
    if (strcmp(name, "Gemma3ForConditionalGeneration") == 0 ||
        strcmp(name, "gemma3") == 0)
        hint = " sees pictures too and";
    return hearth_error_set(r->err, HEARTH_EUNSUPPORTED,
                            "%s: architecture '%.60s'%s is not supported; "
                            "choose a model of: %s",
                            r->what, name, hint, list);
}

/* architectures[0], or model_type where there is no list. */
static hearth_status read_family(const reader *r, const hearth_family **out) {
    const hearth_json_value *v = hearth_json_get(r->root, "architectures");
    const char *name = NULL, *type = NULL;
    const hearth_json_value *t = hearth_json_get(r->root, "model_type");
    if (!absent(t) && hearth_json_str(t, &type) != HEARTH_OK)
        return bad(r, "model_type", "is not a string");
    if (!absent(v)) {
        if (hearth_json_size(v) != 1 ||
            hearth_json_str(hearth_json_first(v), &name) != HEARTH_OK)
            return bad(r, "architectures", "is not a list of one name");
        *out = hearth_family_find(name);
        if (!*out) return unknown_architecture(r, name);
        if (type && strcmp(type, (*out)->model_type) != 0)
            return bad(r, "model_type", "does not fit 'architectures'");
        return HEARTH_OK;
    }
    if (!type) return bad(r, "architectures", "is missing");
    size_t n;
    const hearth_family *f = hearth_family_all(&n);
    for (size_t i = 0; i < n; i++)
        if (strcmp(f[i].model_type, type) == 0) {
            *out = &f[i];
            return HEARTH_OK;
        }
    return unknown_architecture(r, type);
}

/* Does the value keep the rule?  Numbers compare exactly. */
static bool rule_holds(const hearth_json_value *v, hearth_field_rule rule) {
    bool b = true;
    double x = -1.0;
    if (rule == HEARTH_FIELD_READ || rule == HEARTH_FIELD_IGNORE || absent(v))
        return true;
    switch (rule) {
    case HEARTH_FIELD_FALSE: return hearth_json_bool(v, &b) == HEARTH_OK && !b;
    case HEARTH_FIELD_ZERO:
        return hearth_json_f64(v, &x) == HEARTH_OK && fabs(x) <= 0.0;
    case HEARTH_FIELD_ONE:
        return hearth_json_f64(v, &x) == HEARTH_OK && fabs(x - 1.0) <= 0.0;
    case HEARTH_FIELD_TRUE: return hearth_json_bool(v, &b) == HEARTH_OK && b;
    case HEARTH_FIELD_NULL:
    case HEARTH_FIELD_READ:
    case HEARTH_FIELD_IGNORE: break;
    }
    return false;
}

/* Every field of the file is known and keeps its rule. */
static hearth_status check_fields(const reader *r) {
    const hearth_json_value *v = hearth_json_first(r->root);
    for (; v; v = hearth_json_next(v)) {
        const char *key = hearth_json_key(v);
        const hearth_family_field *f = hearth_family_field_find(r->family, key);
        if (!f) {
            char name[64];
            size_t n = strlen(key);
            if (n >= sizeof(name)) n = sizeof(name) - 1;
            memcpy(name, key, n);
            name[n] = '\0';
            return unsupported(r, name,
                               "is not understood and might change results");
        }
        if (!rule_holds(v, f->rule))
            return unsupported(r, f->name, "has a value that is not supported");
    }
    return HEARTH_OK;
}

/* The kind that a rope object names; "type" is the older spelling. */
static hearth_status rope_kind(const reader *r, const char *field,
                               const hearth_json_value *o,
                               hearth_rope_kind *out) {
    const hearth_json_value *v = hearth_json_get(o, "rope_type");
    const hearth_json_value *old = hearth_json_get(o, "type");
    const char *s = "default", *t = NULL;
    if (!absent(v) && hearth_json_str(v, &s) != HEARTH_OK)
        return bad(r, field, "has a rope_type that is not a string");
    if (!absent(old) && hearth_json_str(old, &t) != HEARTH_OK)
        return bad(r, field, "has a type that is not a string");
    if (t && absent(v)) s = t;
    if (t && strcmp(s, t) != 0) return bad(r, field, "names two types");
    if (strcmp(s, "default") == 0)
        *out = HEARTH_ROPE_PLAIN;
    else if (strcmp(s, "linear") == 0)
        *out = HEARTH_ROPE_LINEAR;
    else if (strcmp(s, "llama3") == 0)
        *out = HEARTH_ROPE_LLAMA3;
    else
        return unsupported(r, field,
                           "has another type than default, linear or llama3");
    return HEARTH_OK;
}

/* Which kinds read a member of a rope object, as bits; 0: none does. */
static unsigned rope_member(const char *key) {
    static const struct {
        const char *key;
        unsigned kinds;
    } known[] = {
        {"rope_type", 7},        {"type", 7},
        {"rope_theta", 7},       {"partial_rotary_factor", 7},
        {"factor", 6},           {"low_freq_factor", 4},
        {"high_freq_factor", 4}, {"original_max_position_embeddings", 4},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strcmp(known[i].key, key) == 0) return known[i].kinds;
    return 0;
}

static hearth_status read_llama3(const reader *r, const char *field,
                                 const hearth_json_value *o) {
    hearth_model_config *c = r->c;
    double original = 0;
    hearth_status st;
    if ((st = read_positive(r, o, "low_freq_factor", 1e6, 0, &c->rope_low)) ||
        (st = read_positive(r, o, "high_freq_factor", 1e6, 0, &c->rope_high)) ||
        (st = read_positive(r, o, "original_max_position_embeddings",
                            HEARTH_MODEL_MAX_POSITIONS, 0, &original)))
        return st;
    c->rope_original = (uint32_t)original;
    if (!(c->rope_low > 0 && c->rope_high > c->rope_low) || !c->rope_original)
        return bad(r, field, "lacks the numbers of llama3 scaling");
    return HEARTH_OK;
}

/* A rope_scaling or rope_parameters object: every member understood. */
static hearth_status read_rope_object(const reader *r, const char *field,
                                      const hearth_json_value *o) {
    hearth_rope_kind kind = HEARTH_ROPE_PLAIN;
    hearth_status st;
    if (hearth_json_type_of(o) != HEARTH_JSON_OBJECT)
        return bad(r, field, "is not an object");
    if ((st = rope_kind(r, field, o, &kind)) != HEARTH_OK) return st;
    for (const hearth_json_value *v = hearth_json_first(o); v;
         v = hearth_json_next(v)) {
        const char *key = hearth_json_key(v);
        if (!(rope_member(key) >> (unsigned)kind & 1u))
            return unsupported(r, field, "has a member of another type");
        if (strcmp(key, "partial_rotary_factor") == 0 &&
            !rule_holds(v, HEARTH_FIELD_ONE))
            return unsupported(r, field, "rotates a part of each head");
    }
    if (kind == HEARTH_ROPE_PLAIN) return HEARTH_OK;
    if (r->c->rope_kind != HEARTH_ROPE_PLAIN)
        return bad(r, field, "scales positions a second time");
    r->c->rope_kind = kind;
    st = read_positive(r, o, "factor", 1e6, 0, &r->c->rope_factor);
    if (st == HEARTH_OK && r->c->rope_factor < 1)
        return bad(r, field, "lacks a factor of at least 1");
    return st == HEARTH_OK && kind == HEARTH_ROPE_LLAMA3
               ? read_llama3(r, field, o)
               : st;
}

/* rope_parameters of one kind of layer (transformers 5 writes one object for
 * each kind where they differ), merged with *theta. */
static hearth_status read_params(const reader *r, const hearth_json_value *o,
                                 bool given, double *theta) {
    double inner;
    hearth_status st = read_rope_object(r, "rope_parameters", o);
    if (st != HEARTH_OK) return st;
    st = read_positive(r, o, "rope_theta", 1e12, *theta, &inner);
    if (st != HEARTH_OK) return st;
    if (given && (inner < *theta || inner > *theta))
        return bad(r, "rope_theta", "differs from the one in rope_parameters");
    *theta = inner;
    return HEARTH_OK;
}

static hearth_status read_split_params(const reader *r,
                                       const hearth_json_value *params,
                                       bool given) {
    const hearth_json_value *full = hearth_json_get(params, "full_attention");
    const hearth_json_value *local =
        hearth_json_get(params, "sliding_attention");
    hearth_rope_kind kind = HEARTH_ROPE_PLAIN;
    if (absent(full) || absent(local) || hearth_json_size(params) != 2)
        return bad(r, "rope_parameters", "does not name both kinds of layers");
    hearth_status st = rope_kind(r, "rope_parameters", local, &kind);
    if (st == HEARTH_OK && kind != HEARTH_ROPE_PLAIN)
        return unsupported(r, "rope_parameters", "scales sliding layers");
    if (st == HEARTH_OK) st = read_params(r, full, given, &r->c->rope_theta);
    if (st == HEARTH_OK)
        st = read_params(r, local, false, &r->c->rope_theta_local);
    return st;
}

/* rope_theta at the top, or inside rope_parameters (transformers 5), or both
 * when they agree. */
static hearth_status read_rope(const reader *r) {
    const hearth_json_value *scaling = hearth_json_get(r->root, "rope_scaling");
    const hearth_json_value *params =
        hearth_json_get(r->root, "rope_parameters");
    bool given = !absent(hearth_json_get(r->root, "rope_theta"));
    bool gemma = r->c->sandwich;
    hearth_status st = read_positive(r, r->root, "rope_theta", 1e12,
                                     gemma ? 1e6 : 1e4, &r->c->rope_theta);
    if (st == HEARTH_OK && gemma)
        st = read_positive(r, r->root, "rope_local_base_freq", 1e12, 1e4,
                           &r->c->rope_theta_local);
    if (st != HEARTH_OK) return st;
    if (!absent(scaling)) {
        double inner = r->c->rope_theta; /* versions differ on which counts */
        if ((st = read_rope_object(r, "rope_scaling", scaling)) ||
            (st = read_positive(r, scaling, "rope_theta", 1e12, inner, &inner)))
            return st;
        if (inner < r->c->rope_theta || inner > r->c->rope_theta)
            return bad(r, "rope_theta", "differs from the one in rope_scaling");
    }
    if (absent(params)) return HEARTH_OK;
    if (gemma && !absent(hearth_json_get(params, "full_attention")))
        return read_split_params(r, params, given);
    return read_params(r, params, given, &r->c->rope_theta);
}

/* llama3: what the plain speed of pair i is divided by; float, as GGUF files
 * hold it, so that folder and file turn by the same angles. */
static float llama3_divisor(const hearth_model_config *c, double speed) {
    const double two_pi = 6.283185307179586;
    /* turns within the first training's context */
    double turns = (double)c->rope_original * speed / two_pi;
    if (turns < c->rope_low) return (float)c->rope_factor;
    if (turns > c->rope_high) return 1;
    double keep = (turns - c->rope_low) / (c->rope_high - c->rope_low);
    return (float)(1 / ((1 - keep) / c->rope_factor + keep));
}

double hearth_model_config_rope_speed(const hearth_model_config *c, uint32_t i,
                                      bool local) {
    double half = (double)(c->head_dim / 2);
    if (local && c->rope_theta_local > 0)
        return hearth_ref_pow(c->rope_theta_local, -(double)i / half);
    double speed = hearth_ref_pow(c->rope_theta, -(double)i / half);
    if (c->rope_kind == HEARTH_ROPE_PLAIN) return speed;
    if (c->rope_kind == HEARTH_ROPE_FACTORS)
        return speed / (double)c->rope_divisor[i];
    if (c->rope_kind == HEARTH_ROPE_LINEAR) return speed / c->rope_factor;
    return speed / (double)llama3_divisor(c, speed);
}

static hearth_status read_heads(const reader *r) {
    hearth_model_config *c = r->c;
    const hearth_family_words *w = &r->family->words;
    const uint32_t max = HEARTH_MODEL_MAX_WIDTH;
    bool rotary = !c->learned_positions;
    uint32_t per_head = r->family->missing.head_dim;
    if (absent(hearth_json_get(r->root, "head_dim")) && !per_head &&
        c->hidden_size % c->n_heads)
        return bad(r, w->hidden, "is no multiple of the number of heads");
    if (!per_head) per_head = c->hidden_size / c->n_heads;
    hearth_status st =
        read_count(r, "head_dim", max, per_head ? per_head : 1, &c->head_dim);
    if (st != HEARTH_OK) return st;
    if (rotary && c->head_dim % 2) return bad(r, "head_dim", "is odd");
    if (c->n_heads % c->n_kv_heads)
        return bad(r, w->heads, "is no multiple of num_key_value_heads");
    if ((uint64_t)c->n_heads * c->head_dim > max)
        return bad(r, w->heads, "times head_dim is too large");
    if (rotary && c->head_dim / 2 > HEARTH_MODEL_MAX_PAIRS)
        return unsupported(r, "head_dim", "is above 512");
    return HEARTH_OK;
}

static hearth_status read_sizes(const reader *r) {
    hearth_model_config *c = r->c;
    const hearth_family_words *w = &r->family->words;
    const uint32_t max = HEARTH_MODEL_MAX_WIDTH;
    bool gpt2 = c->learned_positions;
    hearth_status st;
    if ((st = read_count(r, "vocab_size", HEARTH_MODEL_MAX_VOCAB, 0,
                         &c->vocab_size)) ||
        (st = read_count(r, w->hidden, max, 0, &c->hidden_size)) ||
        (st = read_count(r, w->ffn, max, gpt2 ? 4 * c->hidden_size : 0,
                         &c->ffn_size)) ||
        (st = read_count(r, w->layers, HEARTH_MODEL_MAX_LAYERS, 0,
                         &c->n_layers)) ||
        (st = read_count(r, w->heads, max, 0, &c->n_heads)) ||
        (st = read_count(r, w->positions, HEARTH_MODEL_MAX_POSITIONS,
                         r->family->missing.positions, &c->max_positions)))
        return st;
    /* null is "as many as heads"; an absent key is the family's default */
    const hearth_json_value *kv =
        hearth_json_get(r->root, "num_key_value_heads");
    c->n_kv_heads = c->n_heads;
    if (hearth_json_type_of(kv) == HEARTH_JSON_NONE &&
        r->family->missing.kv_heads)
        c->n_kv_heads = r->family->missing.kv_heads;
    if (!gpt2 && (st = read_count(r, "num_key_value_heads", max, c->n_kv_heads,
                                  &c->n_kv_heads)))
        return st;
    return read_heads(r);
}

/* The activation must be the one that the family computes. */
static hearth_status read_activation(const reader *r) {
    static const char *const silu[] = {"silu", "swish", NULL};
    static const char *const gelu[] = {"gelu_new", "gelu_pytorch_tanh",
                                       "gelu_fast", NULL};
    bool is_silu = r->c->mlp_kind == HEARTH_MLP_SWIGLU;
    const char *const *name = is_silu ? silu : gelu, *act = NULL;
    const char *field = r->family->words.act;
    const hearth_json_value *v = hearth_json_get(r->root, field);
    if (absent(v)) return HEARTH_OK;
    if (hearth_json_str(v, &act) != HEARTH_OK)
        return bad(r, field, "is not a string");
    for (; *name; name++)
        if (strcmp(act, *name) == 0) return HEARTH_OK;
    return unsupported(r, field,
                       is_silu ? "is not 'silu'"
                               : "is not the tanh approximation of gelu");
}

/* layer_types: one word a layer. */
static hearth_status read_layer_types(const reader *r,
                                      const hearth_json_value *v) {
    uint32_t l = 0;
    if (hearth_json_type_of(v) != HEARTH_JSON_ARRAY ||
        hearth_json_size(v) != r->c->n_layers)
        return bad(r, "layer_types", "does not name every layer");
    for (v = hearth_json_first(v); v; v = hearth_json_next(v), l++) {
        const char *s = NULL;
        if (hearth_json_str(v, &s) != HEARTH_OK)
            return bad(r, "layer_types", "holds something else than words");
        r->c->local[l] = (uint8_t)(strcmp(s, "sliding_attention") == 0);
        if (!r->c->local[l] && strcmp(s, "full_attention") != 0)
            return unsupported(r, "layer_types",
                               "names another kind than full_attention and "
                               "sliding_attention");
    }
    return HEARTH_OK;
}

/* Without layer_types: Gemma slides on all but every sixth layer, Qwen from
 * max_window_layers on, the others everywhere. */
static hearth_status default_layer_types(const reader *r) {
    hearth_model_config *c = r->c;
    uint32_t pattern = 6, first = 0;
    hearth_status st = HEARTH_OK;
    if (c->sandwich) {
        uint32_t other; /* a note of some versions, which none reads back */
        st = read_count(r, "sliding_window_pattern", HEARTH_MODEL_MAX_LAYERS, 6,
                        &pattern);
        if (st == HEARTH_OK)
            st = read_count(r, "_sliding_window_pattern",
                            HEARTH_MODEL_MAX_LAYERS, pattern, &other);
        if (st == HEARTH_OK && other != pattern)
            return bad(r, "_sliding_window_pattern",
                       "says other layers than sliding_window_pattern");
    } else if (hearth_family_field_find(r->family, "max_window_layers")) {
        st = read_count(r, "max_window_layers", HEARTH_MODEL_MAX_LAYERS, 28,
                        &first);
    }
    for (uint32_t l = 0; st == HEARTH_OK && l < c->n_layers; l++)
        c->local[l] =
            (uint8_t)(c->sandwich ? (l + 1) % pattern != 0 : l >= first);
    return st;
}

/* Mistral and Phi-3 slide on all layers or on none. */
static bool layers_may_differ(const reader *r) {
    return r->c->sandwich ||
           hearth_family_field_find(r->family, "max_window_layers");
}

/* sliding_window, and which layers it is for. */
static hearth_status read_window(const reader *r) {
    hearth_model_config *c = r->c;
    const hearth_json_value *types = hearth_json_get(r->root, "layer_types");
    const hearth_json_value *use =
        hearth_json_get(r->root, "use_sliding_window");
    const hearth_json_value *v = hearth_json_get(r->root, "sliding_window");
    /* null is "none"; an absent key is the family's default */
    bool on = hearth_json_type_of(v) == HEARTH_JSON_NONE
                  ? r->family->missing.window > 0
                  : !absent(v);
    bool chosen = true; /* Qwen slides only when it is told to */
    hearth_status st = HEARTH_OK;
    if (hearth_family_field_find(r->family, "use_sliding_window")) {
        chosen = false;
        if (!absent(use) && hearth_json_bool(use, &chosen) != HEARTH_OK)
            return bad(r, "use_sliding_window", "is not true or false");
    }
    on = on && chosen;
    if (!absent(types)) st = read_layer_types(r, types);
    if (st == HEARTH_OK && absent(types) && (on || c->sandwich))
        st = default_layer_types(r);
    if (st != HEARTH_OK) return st;
    uint32_t n = 0;
    for (uint32_t l = 0; l < c->n_layers; l++) n += c->local[l];
    if (n && !on)
        return bad(r, "layer_types", "slides without a sliding_window");
    if (on && n < c->n_layers && !layers_may_differ(r))
        return unsupported(r, "layer_types",
                           "has layers that do not slide, which this "
                           "architecture has not");
    if (!n) return HEARTH_OK;
    return read_count(r, "sliding_window", HEARTH_MODEL_MAX_POSITIONS,
                      r->family->missing.window, &c->sliding_window);
}

/* What scales embeddings and scores. */
static hearth_status read_scales(const reader *r) {
    hearth_model_config *c = r->c;
    double scalar = (double)c->head_dim;
    if (c->sandwich) {
        /* Rounded as the float32 buffer that transformers keeps. */
        c->embed_scale = (double)(float)hearth_ref_sqrt((double)c->hidden_size);
        uint32_t whole;
        hearth_status st =
            read_count(r, "query_pre_attn_scalar", 1000000, 256, &whole);
        if (st != HEARTH_OK) return st;
        scalar = (double)whole;
    }
    c->attn_scale = 1.0 / hearth_ref_sqrt(scalar);
    return HEARTH_OK;
}

static hearth_status read_rest(const reader *r) {
    hearth_model_config *c = r->c;
    const hearth_json_value *v;
    const char *eps = r->family->words.norm_eps;
    hearth_status st;
    v = hearth_json_get(r->root, "tie_word_embeddings");
    if (!absent(v) && hearth_json_bool(v, &c->tied) != HEARTH_OK)
        return bad(r, "tie_word_embeddings", "is not true or false");
    if ((st = read_activation(r)) ||
        (st = read_positive(r, r->root, eps, 1.0, r->family->missing.norm_eps,
                            &c->norm_eps)) ||
        (st = read_positive(r, r->root, "initializer_range", 10.0, 0.02,
                            &c->initializer_range)) ||
        (st = read_token(r, "bos_token_id",
                         hearth_json_get(r->root, "bos_token_id"), &c->bos)) ||
        (st = read_token(r, "pad_token_id",
                         hearth_json_get(r->root, "pad_token_id"), &c->pad)) ||
        (st = read_eos(r)) || (st = read_window(r)) || (st = read_scales(r)))
        return st;
    return c->learned_positions ? HEARTH_OK : read_rope(r);
}

static hearth_status read_all(reader *r) {
    hearth_status st;
    if (hearth_json_type_of(r->root) != HEARTH_JSON_OBJECT)
        return hearth_error_set(r->err, HEARTH_EFORMAT,
                                "%s: is not a JSON object; check the model "
                                "folder",
                                r->what);
    if ((st = read_family(r, &r->family)) != HEARTH_OK) return st;
    const hearth_family *f = r->family;
    *r->c = f->fixed;
    memcpy(r->c->architecture, f->architecture, strlen(f->architecture) + 1);
    memcpy(r->c->model_type, f->model_type, strlen(f->model_type) + 1);
    if ((st = check_fields(r)) || (st = read_sizes(r))) return st;
    return read_rest(r);
}

hearth_status hearth_model_config_parse(hearth_model_config *out,
                                        const char *json, size_t n,
                                        const char *what,
                                        const hearth_alloc *al,
                                        hearth_error *err) {
    hearth_json *doc = NULL;
    *out = (hearth_model_config){0};
    hearth_status st = hearth_json_parse(&doc, what, json, n, al, err);
    if (st != HEARTH_OK) return st;
    reader r = {hearth_json_root(doc), NULL, out, what, err};
    st = read_all(&r);
    if (st != HEARTH_OK) *out = (hearth_model_config){0};
    hearth_json_free(doc);
    return st;
}

hearth_status hearth_model_config_load(hearth_model_config *out,
                                       const char *path, const hearth_alloc *al,
                                       hearth_error *err) {
    hearth_buf text = HEARTH_BUF_INIT(al);
    *out = (hearth_model_config){0};
    hearth_status st = hearth_file_read(&text, path, MAX_CONFIG_BYTES, err);
    if (st == HEARTH_OK)
        st = hearth_model_config_parse(out, hearth_buf_str(&text), text.n, path,
                                       al, err);
    hearth_buf_free(&text);
    return st;
}

uint64_t hearth_model_config_parameters(const hearth_model_config *c) {
    uint64_t n = 0;
    hearth_model_tensor t;
    for (size_t i = 0; i < hearth_model_n_tensors(c); i++) {
        hearth_model_tensor_at(c, i, &t);
        n += (uint64_t)t.rows * t.cols;
    }
    return n;
}

bool hearth_model_config_is_eos(const hearth_model_config *c, int32_t id) {
    for (uint32_t i = 0; i < c->n_eos; i++)
        if (c->eos[i] == id) return true;
    return false;
}

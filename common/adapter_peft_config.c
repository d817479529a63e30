/* SPDX-License-Identifier: Apache-2.0 */
/* common/adapter_peft_config.c - read adapter_config.json.
 *
 * PEFT ignores what it does not know; we refuse what would change the result
 * (DoRA, biases, saved modules, transposed weights) and pass over the rest,
 * because newer versions of PEFT keep adding harmless keys. */
#include "common/adapter_peft.h"

#include <math.h>
#include <string.h>

#include "common/error.h"
#include "common/json.h"
#include "common/name_pattern.h"

static const char NAME[] = HEARTH_PEFT_CONFIG_FILE;

static hearth_status bad(hearth_error *err, const char *key, const char *what) {
    return hearth_error_set(err, HEARTH_EFORMAT,
                            "%s: %s %s; save the adapter again with PEFT", NAME,
                            key, what);
}

static hearth_status refuse(hearth_error *err, const char *key) {
    return hearth_error_set(err, HEARTH_EUNSUPPORTED,
                            "%s: %s is set, which Hearth does not apply; train "
                            "a plain LoRA adapter",
                            NAME, key);
}

static bool absent(const hearth_json_value *v) {
    hearth_json_type t = hearth_json_type_of(v);
    return t == HEARTH_JSON_NONE || t == HEARTH_JSON_NULL;
}

/* A boolean that may be absent (false) or null. */
static hearth_status flag(const hearth_json_value *root, const char *key,
                          bool *out, hearth_error *err) {
    const hearth_json_value *v = hearth_json_get(root, key);
    *out = false;
    if (absent(v) || hearth_json_bool(v, out) == HEARTH_OK) return HEARTH_OK;
    return bad(err, key, "is neither true nor false");
}

/* Settings that change the result in ways we do not do. */
static hearth_status check_plain(const hearth_json_value *root,
                                 hearth_error *err) {
    static const char *const flags[] = {"use_dora", "lora_bias", "use_qalora"};
    static const char *const must_be_empty[] = {
        "modules_to_save",         "layer_replication",
        "target_parameters",       "trainable_token_indices",
        "alora_invocation_tokens", "megatron_config"};
    const char *type = NULL, *bias = NULL;

    const hearth_json_value *v = hearth_json_get(root, "peft_type");
    if (hearth_json_str(v, &type) != HEARTH_OK)
        return bad(err, "peft_type", "is missing");
    if (strcmp(type, "LORA") != 0)
        return hearth_error_set(err, HEARTH_EUNSUPPORTED,
                                "%s: peft_type is not LORA; use a LoRA adapter",
                                NAME);
    v = hearth_json_get(root, "bias");
    if (!absent(v) && hearth_json_str(v, &bias) != HEARTH_OK)
        return bad(err, "bias", "is not a word");
    if (bias && strcmp(bias, "none") != 0) return refuse(err, "bias");
    for (size_t i = 0; i < sizeof(flags) / sizeof(*flags); i++) {
        bool on;
        hearth_status st = flag(root, flags[i], &on, err);
        if (st != HEARTH_OK) return st;
        if (on) return refuse(err, flags[i]);
    }
    bool fan; /* how PEFT stores the base, not the adapter: either is right */
    hearth_status fan_st = flag(root, "fan_in_fan_out", &fan, err);
    if (fan_st != HEARTH_OK) return fan_st;
    for (size_t i = 0; i < sizeof(must_be_empty) / sizeof(char *); i++) {
        v = hearth_json_get(root, must_be_empty[i]);
        bool list = hearth_json_type_of(v) == HEARTH_JSON_ARRAY ||
                    hearth_json_type_of(v) == HEARTH_JSON_OBJECT;
        if (!absent(v) && !(list && hearth_json_size(v) == 0))
            return refuse(err, must_be_empty[i]);
    }
    return HEARTH_OK;
}

static bool one_target(const char *name, uint32_t *bit) {
    return hearth_targets_parse(name, HEARTH_TARGETS_ANY, 0, bit) == HEARTH_OK;
}

/* "q_proj", "self_attn.q_proj" or a whole path: the last part counts, or the
 * last two where GPT-2's names need them. */
static bool add_target(const char *name, uint32_t *mask) {
    static const char *const words[] = {"auto", "attn", "all-linear"};
    const char *last = strrchr(name, '.'), *two = last;
    uint32_t bit = 0;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp(name, words[i]) == 0) return false;
    if (strchr(name, ',')) return false;
    while (two && two > name && two[-1] != '.') two--;
    if (!(two && one_target(two, &bit)) &&
        !one_target(last ? last + 1 : name, &bit))
        return false;
    *mask |= bit;
    return true;
}

static hearth_status read_targets(const hearth_json_value *root,
                                  hearth_peft_info *info, hearth_error *err) {
    const hearth_json_value *v = hearth_json_get(root, "target_modules");
    const char *s = NULL;
    if (hearth_json_str(v, &s) == HEARTH_OK) {
        if (!add_target(s, &info->targets)) info->targets = 0; /* a pattern */
        return HEARTH_OK;
    }
    if (hearth_json_type_of(v) != HEARTH_JSON_ARRAY || hearth_json_size(v) == 0)
        return bad(err, "target_modules", "is missing or empty");
    for (v = hearth_json_first(v); v; v = hearth_json_next(v)) {
        if (hearth_json_str(v, &s) != HEARTH_OK)
            return bad(err, "target_modules",
                       "holds something else than names");
        if (!add_target(s, &info->targets))
            return hearth_error_set(
                err, HEARTH_EUNSUPPORTED,
                "%s: target_modules names '%.60s', which is not one of q_proj "
                "k_proj v_proj o_proj gate_proj up_proj down_proj c_attn "
                "c_proj c_fc qkv_proj gate_up_proj; train with those",
                NAME, s);
    }
    return HEARTH_OK;
}

static hearth_status read_numbers(const hearth_json_value *root,
                                  hearth_peft_info *info, hearth_error *err) {
    int64_t r = 8; /* PEFT's defaults */
    double alpha = 8.0, dropout = 0.0;
    const hearth_json_value *v = hearth_json_get(root, "r");
    if (!absent(v) && hearth_json_i64(v, &r) != HEARTH_OK)
        return bad(err, "r", "is not a whole number");
    if (r < 1 || r > (int64_t)HEARTH_ADAPTER_MAX_RANK)
        return bad(err, "r", "is outside 1 to 1024");
    v = hearth_json_get(root, "lora_alpha");
    if (!absent(v) && hearth_json_f64(v, &alpha) != HEARTH_OK)
        return bad(err, "lora_alpha", "is not a number");
    if (!(alpha > 0.0 && alpha <= 1e6))
        return bad(err, "lora_alpha", "is outside 0 to 1000000");
    v = hearth_json_get(root, "lora_dropout");
    if (!absent(v) && hearth_json_f64(v, &dropout) != HEARTH_OK)
        return bad(err, "lora_dropout", "is not a number");
    if (!(dropout >= 0.0 && dropout < 1.0))
        return bad(err, "lora_dropout", "is outside 0 to 1");
    info->rank = (uint32_t)r;
    info->alpha = (float)alpha;
    info->dropout = (float)dropout;
    return flag(root, "use_rslora", &info->rslora, err);
}

/* rank_pattern or alpha_pattern: names, or expressions that name_pattern.h
 * knows. */
static hearth_status read_pattern(const hearth_json_value *root,
                                  const char *key, bool is_rank,
                                  hearth_peft_pattern_fn fn, void *ud,
                                  hearth_error *err) {
    const hearth_json_value *v = hearth_json_get(root, key);
    if (absent(v)) return HEARTH_OK;
    if (hearth_json_type_of(v) != HEARTH_JSON_OBJECT)
        return bad(err, key, "is not an object");
    for (v = hearth_json_first(v); v; v = hearth_json_next(v)) {
        const char *name = hearth_json_key(v);
        double x = 0.0;
        if (hearth_json_f64(v, &x) != HEARTH_OK || !(x > 0.0 && x <= 1e6) ||
            (is_rank && (x > (double)HEARTH_ADAPTER_MAX_RANK || x != floor(x))))
            return bad(err, key, "holds a value out of range");
        bool any;
        if (!name || hearth_name_pattern_match(name, "", &any) != HEARTH_OK)
            return hearth_error_set(err, HEARTH_EUNSUPPORTED,
                                    "%s: %s holds a regular expression that "
                                    "Hearth cannot read; name the modules one "
                                    "by one",
                                    NAME, key);
        hearth_status st = fn ? fn(ud, is_rank, name, x) : HEARTH_OK;
        if (st != HEARTH_OK)
            return hearth_error_set(err, st, "%s: %s: too many entries", NAME,
                                    key);
    }
    return HEARTH_OK;
}

static hearth_status read_root(const hearth_json_value *root,
                               hearth_peft_info *info,
                               hearth_peft_pattern_fn pattern, void *ud,
                               hearth_error *err) {
    const char *base = NULL;
    hearth_status st;
    if (hearth_json_type_of(root) != HEARTH_JSON_OBJECT)
        return bad(err, "the document", "is not an object");
    if ((st = check_plain(root, err)) != HEARTH_OK) return st;
    if ((st = read_numbers(root, info, err)) != HEARTH_OK) return st;
    if ((st = read_targets(root, info, err)) != HEARTH_OK) return st;
    const hearth_json_value *v =
        hearth_json_get(root, "base_model_name_or_path");
    if (!absent(v) && hearth_json_str(v, &base) != HEARTH_OK)
        return bad(err, "base_model_name_or_path", "is not a string");
    if (base && strlen(base) < sizeof(info->base))
        memcpy(info->base, base, strlen(base) + 1);
    st = read_pattern(root, "rank_pattern", true, pattern, ud, err);
    if (st != HEARTH_OK) return st;
    return read_pattern(root, "alpha_pattern", false, pattern, ud, err);
}

hearth_status hearth_peft_config_parse(const char *json, size_t n,
                                       hearth_peft_info *info,
                                       hearth_peft_pattern_fn pattern, void *ud,
                                       hearth_error *err) {
    hearth_json *doc = NULL;
    if (!json || !info) return HEARTH_EINVAL;
    memset(info, 0, sizeof(*info));
    if (n > HEARTH_PEFT_CONFIG_LIMIT)
        return hearth_error_set(err, HEARTH_ETOOBIG,
                                "%s: more than 1 MiB; this is no adapter",
                                NAME);
    hearth_status st = hearth_json_parse(&doc, NAME, json, n, NULL, err);
    if (st == HEARTH_OK)
        st = read_root(hearth_json_root(doc), info, pattern, ud, err);
    hearth_json_free(doc);
    if (st != HEARTH_OK) memset(info, 0, sizeof(*info));
    return st;
}

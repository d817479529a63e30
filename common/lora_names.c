/* SPDX-License-Identifier: Apache-2.0 */
/* common/lora_names.c - one table of names; parsing is formatting in reverse:
 * a name is accepted only when formatting its parts gives the same bytes. */
#include "common/lora_names.h"

#include <stdio.h>
#include <string.h>

typedef struct {
    const char *proj, *short_name; /* last part of the name, and its nickname */
    const char *parent;            /* NULL: the style has no such target */
} target_words;

static const target_words LLAMA[HEARTH_TARGET_COUNT] = {
    {"q_proj", "q", "self_attn"},       {"k_proj", "k", "self_attn"},
    {"v_proj", "v", "self_attn"},       {"o_proj", "o", "self_attn"},
    {"gate_proj", "gate", "mlp"},       {"up_proj", "up", "mlp"},
    {"down_proj", "down", "mlp"},       {"qkv_proj", "qkv", "self_attn"},
    {"gate_up_proj", "gate_up", "mlp"},
};

/* The nickname is what PEFT needs to tell the two c_proj apart. */
static const target_words GPT2[HEARTH_TARGET_COUNT] = {
    [HEARTH_TARGET_O] = {"c_proj", "attn.c_proj", "attn"},
    [HEARTH_TARGET_UP] = {"c_fc", "c_fc", "mlp"},
    [HEARTH_TARGET_DOWN] = {"c_proj", "mlp.c_proj", "mlp"},
    [HEARTH_TARGET_QKV] = {"c_attn", "c_attn", "attn"},
};

static const struct {
    const char *head; /* before the layer's number */
    const target_words *word;
} STYLES[] = {
    [HEARTH_NAMES_LLAMA] = {"model.layers.", LLAMA},
    [HEARTH_NAMES_GPT2] = {"transformer.h.", GPT2},
};

static const char PREFIX[] = "base_model.model.";
static const char *const SUFFIX[] = {".lora_A.weight", ".lora_B.weight"};
static const char *const SUFFIX_DEFAULT[] = {".lora_A.default.weight",
                                             ".lora_B.default.weight"};

const char *hearth_target_name(uint32_t target) {
    return target < HEARTH_TARGET_COUNT ? LLAMA[target].proj : "?";
}

const char *hearth_target_peft_name(hearth_lora_names names, uint32_t target) {
    if (target >= HEARTH_TARGET_COUNT || !STYLES[names].word[target].parent)
        return "?";
    return names == HEARTH_NAMES_GPT2 ? GPT2[target].short_name
                                      : LLAMA[target].proj;
}

static bool same(const char *s, size_t n, const char *word) {
    return word && strlen(word) == n && memcmp(s, word, n) == 0;
}

/* All targets that one word may mean; GPT-2's c_proj is two. */
static uint32_t word_mask(const char *s, size_t n) {
    uint32_t mask = 0;
    for (uint32_t t = 0; t < HEARTH_TARGET_COUNT; t++)
        if (same(s, n, LLAMA[t].proj) || same(s, n, LLAMA[t].short_name) ||
            same(s, n, GPT2[t].proj) || same(s, n, GPT2[t].short_name))
            mask |= HEARTH_TARGET_BIT(t);
    return mask;
}

hearth_status hearth_targets_parse(const char *text, uint32_t offered,
                                   uint32_t automatic, uint32_t *mask) {
    uint32_t m = 0;
    if (!text || !mask) return HEARTH_EINVAL;
    *mask = 0;
    size_t all = strlen(text);
    if (same(text, all, "auto")) m = automatic;
    if (same(text, all, "attn")) m = offered & HEARTH_TARGETS_ATTN;
    if (same(text, all, "all-linear")) m = offered;
    for (const char *p = text; m == 0 || p != text;) {
        size_t n = strcspn(p, ",");
        uint32_t t = word_mask(p, n);
        if (!t || t & ~offered || m & t) return HEARTH_EINVAL;
        m |= t;
        if (!p[n]) break;
        p += n + 1;
    }
    *mask = m;
    return HEARTH_OK;
}

size_t hearth_targets_format(uint32_t mask, char *text, size_t cap) {
    size_t n = 0;
    if (cap) text[0] = 0;
    for (uint32_t t = 0; t < HEARTH_TARGET_COUNT; t++) {
        if (!(mask & HEARTH_TARGET_BIT(t))) continue;
        char *at = n < cap ? text + n : NULL;
        int w =
            snprintf(at, at ? cap - n : 0, "%s%s", n ? "," : "", LLAMA[t].proj);
        n += w > 0 ? (size_t)w : 0;
    }
    return n;
}

/* Did snprintf fit?  When not, leave an empty string. */
static hearth_status fitted(char *out, size_t cap, int w) {
    if (w >= 0 && (size_t)w < cap) return HEARTH_OK;
    if (cap) out[0] = 0;
    return HEARTH_ETOOBIG;
}

hearth_status hearth_lora_module_name(char *out, size_t cap,
                                      hearth_lora_names names, uint32_t layer,
                                      uint32_t target) {
    if (!out || cap == 0) return HEARTH_EINVAL;
    out[0] = 0;
    if (target >= HEARTH_TARGET_COUNT || layer >= HEARTH_LORA_MAX_LAYERS ||
        !STYLES[names].word[target].parent)
        return HEARTH_EINVAL;
    const target_words *w = &STYLES[names].word[target];
    return fitted(out, cap,
                  snprintf(out, cap, "%s%u.%s.%s", STYLES[names].head,
                           (unsigned)layer, w->parent, w->proj));
}

/* As hearth_lora_module_parse, for one style. */
static bool parse_style(const char *module, size_t n, hearth_lora_names names,
                        uint32_t *layer, uint32_t *target) {
    char again[HEARTH_LORA_MODULE_MAX];
    size_t i = strlen(STYLES[names].head);
    uint32_t l = 0;
    if (n <= i || memcmp(module, STYLES[names].head, i) != 0) return false;
    for (; i < n && module[i] >= '0' && module[i] <= '9'; i++) {
        l = l * 10 + (uint32_t)(module[i] - '0');
        if (l >= HEARTH_LORA_MAX_LAYERS) return false;
    }
    for (uint32_t t = 0; t < HEARTH_TARGET_COUNT; t++) {
        if (hearth_lora_module_name(again, sizeof(again), names, l, t) ||
            !same(module, n, again))
            continue;
        *layer = l;
        *target = t;
        return true;
    }
    return false;
}

hearth_status hearth_lora_module_parse(const char *module, size_t n,
                                       hearth_lora_names *names,
                                       uint32_t *layer, uint32_t *target) {
    for (int s = HEARTH_NAMES_LLAMA; module && s <= HEARTH_NAMES_GPT2; s++) {
        if (!parse_style(module, n, (hearth_lora_names)s, layer, target))
            continue;
        *names = (hearth_lora_names)s;
        return HEARTH_OK;
    }
    return HEARTH_EFORMAT;
}

hearth_status hearth_lora_peft_key(char *out, size_t cap, const char *module,
                                   hearth_lora_factor factor) {
    if (!out || cap == 0 || !module) return HEARTH_EINVAL;
    return fitted(out, cap,
                  snprintf(out, cap, "%s%s%s", PREFIX, module,
                           SUFFIX[factor == HEARTH_LORA_B]));
}

static bool ends_with(const char *s, size_t n, const char *end, size_t *head) {
    size_t e = strlen(end);
    if (n < e || memcmp(s + n - e, end, e) != 0) return false;
    *head = n - e;
    return true;
}

hearth_status hearth_lora_peft_parse(const char *key, size_t n, char *module,
                                     hearth_lora_factor *factor) {
    const size_t p = sizeof(PREFIX) - 1;
    if (!key || n <= p || memcmp(key, PREFIX, p) != 0) return HEARTH_EFORMAT;
    for (int f = 0; f < 2; f++) {
        size_t head;
        if (!ends_with(key, n, SUFFIX[f], &head) &&
            !ends_with(key, n, SUFFIX_DEFAULT[f], &head))
            continue;
        if (head <= p || head - p >= HEARTH_LORA_MODULE_MAX ||
            memchr(key, 0, n))
            return HEARTH_EFORMAT;
        memcpy(module, key + p, head - p);
        module[head - p] = 0;
        *factor = f ? HEARTH_LORA_B : HEARTH_LORA_A;
        return HEARTH_OK;
    }
    return HEARTH_EFORMAT;
}

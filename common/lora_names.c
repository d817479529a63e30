/* SPDX-License-Identifier: Apache-2.0 */
/* common/lora_names.c - one table of names; parsing is formatting in reverse:
 * a name is accepted only when formatting its parts gives the same bytes. */
#include "common/lora_names.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *proj, *short_name, *parent;
} TARGETS[HEARTH_TARGET_COUNT] = {
    {"q_proj", "q", "self_attn"}, {"k_proj", "k", "self_attn"},
    {"v_proj", "v", "self_attn"}, {"o_proj", "o", "self_attn"},
    {"gate_proj", "gate", "mlp"}, {"up_proj", "up", "mlp"},
    {"down_proj", "down", "mlp"},
};

static const char PREFIX[] = "base_model.model.";
static const char *const SUFFIX[] = {".lora_A.weight", ".lora_B.weight"};
static const char *const SUFFIX_DEFAULT[] = {".lora_A.default.weight",
                                             ".lora_B.default.weight"};

const char *hearth_target_name(uint32_t target) {
    return target < HEARTH_TARGET_COUNT ? TARGETS[target].proj : "?";
}

static bool same(const char *s, size_t n, const char *word) {
    return strlen(word) == n && memcmp(s, word, n) == 0;
}

static uint32_t find_target(const char *s, size_t n) {
    uint32_t t = 0;
    while (t < HEARTH_TARGET_COUNT && !same(s, n, TARGETS[t].proj) &&
           !same(s, n, TARGETS[t].short_name))
        t++;
    return t;
}

hearth_status hearth_targets_parse(const char *text, uint32_t *mask) {
    uint32_t m = 0;
    if (!text || !mask) return HEARTH_EINVAL;
    *mask = 0;
    size_t all = strlen(text);
    if (same(text, all, "auto")) m = HEARTH_TARGETS_QV;
    if (same(text, all, "attn")) m = HEARTH_TARGETS_ATTN;
    if (same(text, all, "all-linear")) m = HEARTH_TARGETS_LINEAR;
    for (const char *p = text; m == 0 || p != text;) {
        size_t n = strcspn(p, ",");
        uint32_t t = find_target(p, n);
        if (t == HEARTH_TARGET_COUNT || m & HEARTH_TARGET_BIT(t))
            return HEARTH_EINVAL;
        m |= HEARTH_TARGET_BIT(t);
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
        int w = snprintf(at, at ? cap - n : 0, "%s%s", n ? "," : "",
                         TARGETS[t].proj);
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

hearth_status hearth_lora_module_name(char *out, size_t cap, uint32_t layer,
                                      uint32_t target) {
    if (!out || cap == 0) return HEARTH_EINVAL;
    out[0] = 0;
    if (target >= HEARTH_TARGET_COUNT || layer >= HEARTH_LORA_MAX_LAYERS)
        return HEARTH_EINVAL;
    return fitted(out, cap,
                  snprintf(out, cap, "model.layers.%u.%s.%s", (unsigned)layer,
                           TARGETS[target].parent, TARGETS[target].proj));
}

hearth_status hearth_lora_module_parse(const char *module, size_t n,
                                       uint32_t *layer, uint32_t *target) {
    static const char head[] = "model.layers.";
    const size_t n_head = sizeof(head) - 1;
    char again[HEARTH_LORA_MODULE_MAX];
    uint32_t l = 0;
    size_t i = n_head, dot;

    if (!module || n <= n_head || memcmp(module, head, n_head) != 0)
        return HEARTH_EFORMAT;
    for (; i < n && module[i] >= '0' && module[i] <= '9'; i++) {
        l = l * 10 + (uint32_t)(module[i] - '0');
        if (l >= HEARTH_LORA_MAX_LAYERS) return HEARTH_EFORMAT;
    }
    for (dot = n; dot > i && module[dot - 1] != '.';) dot--;
    uint32_t t = find_target(module + dot, n - dot);
    if (t == HEARTH_TARGET_COUNT ||
        hearth_lora_module_name(again, sizeof(again), l, t) != HEARTH_OK ||
        !same(module, n, again))
        return HEARTH_EFORMAT;
    *layer = l;
    *target = t;
    return HEARTH_OK;
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

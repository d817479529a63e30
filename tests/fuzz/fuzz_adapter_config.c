/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz_adapter_config.c - any bytes as adapter_config.json: either
 * settings in range, or a status that the header names and an empty struct. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/adapter_peft.h"
#include "common/lora_names.h"
#include "common/name_pattern.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
    size_t n;
} counter;

static hearth_status count(void *ud, bool is_rank, const char *module,
                           double value) {
    counter *c = ud;
    if (!module || !(value > 0.0)) abort();
    if (is_rank && value > (double)HEARTH_ADAPTER_MAX_RANK) abort();
    return ++c->n > 100 ? HEARTH_ETOOBIG : HEARTH_OK;
}

/* Names are hostile too: parsing one must agree with formatting it. */
static void check_names(const char *s, size_t n) {
    char module[HEARTH_LORA_MODULE_MAX], again[HEARTH_LORA_NAME_MAX];
    hearth_lora_factor factor;
    hearth_lora_names names;
    uint32_t layer, target, mask;
    if (hearth_lora_peft_parse(s, n, module, &factor) == HEARTH_OK) {
        if (hearth_lora_peft_key(again, sizeof(again), module, factor) !=
            HEARTH_OK)
            abort();
        if (!memchr(s, 0, n) && strlen(again) == n && memcmp(again, s, n) != 0)
            abort();
    }
    if (hearth_lora_module_parse(s, n, &names, &layer, &target) == HEARTH_OK)
        if (hearth_lora_module_name(module, sizeof(module), names, layer,
                                    target) != HEARTH_OK ||
            strlen(module) != n || memcmp(module, s, n) != 0)
            abort();
    char text[128];
    size_t m = n < sizeof(text) - 1 ? n : sizeof(text) - 1;
    memcpy(text, s, m);
    text[m] = 0;
    if (hearth_targets_parse(text, HEARTH_TARGETS_GPT2, HEARTH_TARGETS_QV,
                             &mask) == HEARTH_OK &&
        (mask == 0 ||
         (mask & ~HEARTH_TARGETS_GPT2 && mask != HEARTH_TARGETS_QV)))
        abort();
}

/* Any text as a key of rank_pattern. */
static void check_pattern(const char *s, size_t n) {
    char text[128];
    bool m;
    memcpy(text, s, n);
    text[n] = 0;
    hearth_status st = hearth_name_pattern_match(text, "a.b.0.q_proj", &m);
    if (st != HEARTH_OK && st != HEARTH_EUNSUPPORTED && st != HEARTH_ETOOBIG)
        abort();
    if (st != HEARTH_OK && m) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hearth_peft_info info;
    hearth_error err;
    counter c = {0};
    if (size) check_names((const char *)data, size);
    if (size == 1 && /* more than a file may hold: refused before it is read */
        hearth_peft_config_parse((const char *)data,
                                 HEARTH_PEFT_CONFIG_LIMIT + 1, &info, NULL,
                                 NULL, &err) != HEARTH_ETOOBIG)
        abort();
    if (size && size < 128) check_pattern((const char *)data, size);
    hearth_status st = hearth_peft_config_parse(size ? (const char *)data : "",
                                                size, &info, count, &c, &err);
    if (st == HEARTH_OK) {
        if (info.rank < 1 || info.rank > HEARTH_ADAPTER_MAX_RANK ||
            !(info.alpha > 0.0f) || !isfinite(info.alpha) ||
            !(info.dropout >= 0.0f && info.dropout <= 1.0f))
            abort();
        return 0;
    }
    if (st != HEARTH_EFORMAT && st != HEARTH_EUNSUPPORTED &&
        st != HEARTH_ETOOBIG && st != HEARTH_ENOMEM)
        abort();
    if (info.rank != 0 || err.status != st || !err.text[0]) abort();
    return 0;
}

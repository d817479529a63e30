/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/lora_rules.c - the table of FEDERATION section 12. */
#include "coordinator/lora_rules.h"

#include <string.h>

#include "common/error.h"
#include "proto/messages.h"

static const hearth_lora_rule rules[] = {
    {HEARTH_RULE_FFA, "ffa", HEARTH_PART_B, true, true, true, true, true, ""},
    {HEARTH_RULE_FEDIT, "fedit", HEARTH_PART_AB, false, true, true, true, true,
     ""},
    {0, "rolora", HEARTH_PART_AB, false, true, true, false, false,
     "alternating factors are not built yet"},
    {0, "fedsa", HEARTH_PART_A, false, true, true, true, false,
     "personal B is not built yet"},
    {0, "median", HEARTH_PART_B, true, true, false, false, false,
     "robust rules are not built yet"},
    {0, "normbound", HEARTH_PART_B, true, true, false, false, false,
     "robust rules are not built yet"},
    {0, "flora", HEARTH_PART_AB, false, false, false, false, false,
     "products of factors multiply noise with noise: research only"},
    {0, "fedex", HEARTH_PART_AB, false, false, false, false, false,
     "products of factors multiply noise with noise: research only"},
    {0, "hetlora", HEARTH_PART_AB, false, false, false, false, false,
     "products of factors multiply noise with noise: research only"},
};
static const size_t n_rules = sizeof(rules) / sizeof(rules[0]);

const hearth_lora_rule *hearth_lora_rule_get(uint32_t rule) {
    for (size_t i = 0; rule && i < n_rules; i++)
        if (rules[i].rule == rule) return &rules[i];
    return NULL;
}

const hearth_lora_rule *hearth_lora_rule_find(const char *name) {
    for (size_t i = 0; name && i < n_rules; i++)
        if (strcmp(rules[i].name, name) == 0) return &rules[i];
    return NULL;
}

hearth_status hearth_lora_rule_check(const hearth_lora_rule *rule,
                                     uint32_t mode, hearth_error *err) {
    if (!rule || (mode != HEARTH_MODE_LOCAL && mode != HEARTH_MODE_DISTRIBUTED))
        return hearth_error_set(err, HEARTH_EINVAL, "no such rule or mode");
    if (!rule->built)
        return hearth_error_set(err, HEARTH_EUNSUPPORTED,
                                "rule '%s': %s; choose ffa or fedit",
                                rule->name, rule->note);
    if (mode == HEARTH_MODE_DISTRIBUTED)
        return hearth_error_set(
            err, HEARTH_EUNSUPPORTED,
            "mode 'distributed' needs secure aggregation, "
            "which this build has not; choose mode = local");
    return HEARTH_OK;
}

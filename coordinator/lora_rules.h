/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/lora_rules.h - which factors a rule averages, and with what it
 * may be combined.
 *
 * ffa trains B only, with A frozen from a seed: the mean of the products is
 * the product of the means, so averaging is exact.  fedit trains A and B and
 * averages each: B_1 A_1 + B_2 A_2 is not (B_1 + B_2)(A_1 + A_2) / 2, so it is
 * inexact, and noise on both factors multiplies.
 *
 * Threads: pure functions.
 * Source:  Sun et al., FFA-LoRA, ICLR 2024, arXiv:2403.12313; Zhang et al.,
 *          FedIT, ICASSP 2024, arXiv:2305.05644.
 */
#ifndef HEARTH_COORDINATOR_LORA_RULES_H
#define HEARTH_COORDINATOR_LORA_RULES_H

#include <stdbool.h>
#include <stdint.h>

#include "common/adapter.h"
#include "common/status.h"

typedef struct {
    uint32_t rule;    /* hearth_rule */
    const char *name; /* in TASK.ini */
    hearth_part part; /* what is trained, sent and released */
    bool freeze_a;
    bool local, distributed, async_rounds; /* may be combined with */
    bool built;                            /* implemented in this build */
    const char *note;                      /* why not, for messages */
} hearth_lora_rule;

/* By number or by name; NULL when unknown.  Static. */
const hearth_lora_rule *hearth_lora_rule_get(uint32_t rule);
const hearth_lora_rule *hearth_lora_rule_find(const char *name);

/* May this rule and mode be combined, and can this build do it?
 * Returns HEARTH_OK, or HEARTH_EUNSUPPORTED with a sentence that names what to
 * choose instead, or HEARTH_EINVAL for an unknown mode. */
HEARTH_MUST_CHECK
hearth_status hearth_lora_rule_check(const hearth_lora_rule *rule,
                                     uint32_t mode, hearth_error *err);

#endif /* HEARTH_COORDINATOR_LORA_RULES_H */

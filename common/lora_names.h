/* SPDX-License-Identifier: Apache-2.0 */
/* common/lora_names.h - names of what LoRA can adapt, and their PEFT keys.
 *
 * A module is one linear layer of a Llama-class model, named as Hugging Face
 * names it: "model.layers.3.self_attn.v_proj".  A target is its last part.
 * The order of the targets below is the canonical order of everything that is
 * flattened, hashed or averaged: it never changes.
 *
 *     char key[HEARTH_LORA_NAME_MAX];
 *     hearth_lora_peft_key(key, sizeof(key), module, HEARTH_LORA_A);
 *
 * Threads: pure functions.
 * Memory:  allocates nothing.
 * Source:  key layout as written by PEFT (facts: "Adapter" in FORMATS.md).
 */
#ifndef HEARTH_COMMON_LORA_NAMES_H
#define HEARTH_COMMON_LORA_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

/* Which linear layer of a block; the numbers are the canonical order. */
typedef enum {
    HEARTH_TARGET_Q = 0,
    HEARTH_TARGET_K = 1,
    HEARTH_TARGET_V = 2,
    HEARTH_TARGET_O = 3,
    HEARTH_TARGET_GATE = 4,
    HEARTH_TARGET_UP = 5,
    HEARTH_TARGET_DOWN = 6
} hearth_target;

#define HEARTH_TARGET_COUNT   7
#define HEARTH_TARGET_BIT(t)  (1u << (unsigned)(t))
#define HEARTH_TARGETS_ATTN   0x0fu /* q k v o */
#define HEARTH_TARGETS_QV     0x05u /* q v: "auto", PEFT's default for Llama */
#define HEARTH_TARGETS_LINEAR 0x7fu /* all seven */

#define HEARTH_LORA_MODULE_MAX 96  /* bytes of a module name with its NUL */
#define HEARTH_LORA_NAME_MAX   160 /* bytes of a PEFT key with its NUL */
#define HEARTH_LORA_MAX_LAYERS 1024u

/* The two factors of one pair. */
typedef enum { HEARTH_LORA_A = 0, HEARTH_LORA_B = 1 } hearth_lora_factor;

/* "q_proj" ... "down_proj"; "?" for a number out of range.  Static. */
const char *hearth_target_name(uint32_t target);

/* Mask of a --targets value: "auto", "attn", "all-linear", or names separated
 * by commas ("q_proj,v_proj"; the short "q,v" is understood).
 * Returns HEARTH_OK, or HEARTH_EINVAL with *mask = 0 for an unknown name, an
 * empty list or a name given twice. */
HEARTH_MUST_CHECK
hearth_status hearth_targets_parse(const char *text, uint32_t *mask);

/* "q_proj,v_proj" for a mask, in canonical order.  Returns the length that the
 * text has (without NUL); text is cut when cap is too small. */
size_t hearth_targets_format(uint32_t mask, char *text, size_t cap);

/* "model.layers.<layer>.self_attn.q_proj".
 * Returns HEARTH_OK, or HEARTH_EINVAL (target or layer out of range) or
 * HEARTH_ETOOBIG (cap too small) with out = "". */
HEARTH_MUST_CHECK
hearth_status hearth_lora_module_name(char *out, size_t cap, uint32_t layer,
                                      uint32_t target);

/* The reverse.  Returns HEARTH_OK, or HEARTH_EFORMAT with outputs untouched
 * for any name that hearth_lora_module_name would not have written. */
HEARTH_MUST_CHECK
hearth_status hearth_lora_module_parse(const char *module, size_t n,
                                       uint32_t *layer, uint32_t *target);

/* "base_model.model.<module>.lora_A.weight".
 * Returns HEARTH_OK, or HEARTH_ETOOBIG with out = "". */
HEARTH_MUST_CHECK
hearth_status hearth_lora_peft_key(char *out, size_t cap, const char *module,
                                   hearth_lora_factor factor);

/* The reverse, over n bytes of key; accepts the adapter name that PEFT keeps
 * in memory ("lora_A.default.weight") too.  module has room for
 * HEARTH_LORA_MODULE_MAX bytes.
 * Returns HEARTH_OK, or HEARTH_EFORMAT with outputs untouched. */
HEARTH_MUST_CHECK
hearth_status hearth_lora_peft_parse(const char *key, size_t n, char *module,
                                     hearth_lora_factor *factor);

#endif /* HEARTH_COMMON_LORA_NAMES_H */

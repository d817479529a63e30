/* SPDX-License-Identifier: Apache-2.0 */
/* common/lora_names.h - names of what LoRA can adapt, and their PEFT keys.
 *
 * A module is one linear layer, named as Hugging Face names it:
 * "model.layers.3.self_attn.v_proj", or "transformer.h.3.attn.c_attn" in the
 * style of GPT-2.  A target says which layer of a block it is.  The order of
 * the targets below is the canonical order of everything that is flattened,
 * hashed or averaged: it never changes, new ones are appended.
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
    HEARTH_TARGET_DOWN = 6,
    HEARTH_TARGET_QKV = 7,    /* q, k and v as one: GPT-2, Phi-3 */
    HEARTH_TARGET_GATE_UP = 8 /* gate and up as one: Phi-3 */
} hearth_target;

#define HEARTH_TARGET_COUNT   9
#define HEARTH_TARGET_BIT(t)  (1u << (unsigned)(t))
#define HEARTH_TARGETS_ATTN   0x8fu  /* q k v o qkv */
#define HEARTH_TARGETS_QV     0x05u  /* q v: PEFT's default for Llama */
#define HEARTH_TARGETS_LINEAR 0x7fu  /* all seven of Llama-class models */
#define HEARTH_TARGETS_GPT2   0xe8u  /* o up down qkv */
#define HEARTH_TARGETS_PHI3   0x1c8u /* o down qkv gate_up */
#define HEARTH_TARGETS_ANY    0x1ffu

/* How a family spells its modules. */
typedef enum {
    HEARTH_NAMES_LLAMA, /* model.layers.N.self_attn.q_proj */
    HEARTH_NAMES_GPT2   /* transformer.h.N.attn.c_attn */
} hearth_lora_names;

#define HEARTH_LORA_MODULE_MAX 96  /* bytes of a module name with its NUL */
#define HEARTH_LORA_NAME_MAX   160 /* bytes of a PEFT key with its NUL */
#define HEARTH_LORA_MAX_LAYERS 1024u

/* The two factors of one pair. */
typedef enum { HEARTH_LORA_A = 0, HEARTH_LORA_B = 1 } hearth_lora_factor;

/* "q_proj" ... "down_proj", "qkv_proj", "gate_up_proj"; "?" for a number out
 * of range.  Static. */
const char *hearth_target_name(uint32_t target);

/* The shortest name that means this target alone in a PEFT target_modules
 * list: "q_proj", "c_attn", "attn.c_proj"; "?" when the style has no such
 * target.  Static. */
const char *hearth_target_peft_name(hearth_lora_names names, uint32_t target);

/* Mask of a --targets value, for a model that offers the targets `offered`:
 *
 *   "auto"        the mask `automatic`
 *   "attn"        what attention has of it
 *   "all-linear"  all of it
 *   names separated by commas: "q_proj,v_proj", the short "q,v", GPT-2's
 *   "c_attn,c_fc,attn.c_proj,mlp.c_proj", where "c_proj" means the last two
 *
 * Returns HEARTH_OK, or HEARTH_EINVAL with *mask = 0 for an unknown name, one
 * that is not offered, an empty list or a name given twice. */
HEARTH_MUST_CHECK
hearth_status hearth_targets_parse(const char *text, uint32_t offered,
                                   uint32_t automatic, uint32_t *mask);

/* "q_proj,v_proj" for a mask, in canonical order.  Returns the length that the
 * text has (without NUL); text is cut when cap is too small. */
size_t hearth_targets_format(uint32_t mask, char *text, size_t cap);

/* "model.layers.<layer>.self_attn.q_proj".
 * Returns HEARTH_OK, or HEARTH_EINVAL (layer out of range, or the style has no
 * such target) or HEARTH_ETOOBIG (cap too small) with out = "". */
HEARTH_MUST_CHECK
hearth_status hearth_lora_module_name(char *out, size_t cap,
                                      hearth_lora_names names, uint32_t layer,
                                      uint32_t target);

/* The reverse.  Returns HEARTH_OK, or HEARTH_EFORMAT with outputs untouched
 * for any name that hearth_lora_module_name would not have written. */
HEARTH_MUST_CHECK
hearth_status hearth_lora_module_parse(const char *module, size_t n,
                                       hearth_lora_names *names,
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

/* SPDX-License-Identifier: Apache-2.0 */
/* common/adapter_peft.h - adapters as PEFT folders.
 *
 * A folder holds adapter_config.json and adapter_model.safetensors, as the
 * Python library PEFT writes and reads them.  Loading is strict: every tensor
 * of the file must find its module and every module its two tensors ("applied
 * N of N"), because a pair that is silently skipped gives wrong text, not an
 * error.
 *
 *     hearth_peft_info info;
 *     st = hearth_adapter_load(&a, "my-adapter", modules, n, &info, al, err);
 *     st = hearth_adapter_save(a, "out", &info, err);
 *
 * Threads: no shared state.
 * Memory:  the adapter, plus the file mapped while loading.
 */
#ifndef HEARTH_COMMON_ADAPTER_PEFT_H
#define HEARTH_COMMON_ADAPTER_PEFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/adapter.h"
#include "common/status.h"

#define HEARTH_PEFT_CONFIG_FILE   "adapter_config.json"
#define HEARTH_PEFT_WEIGHTS_FILE  "adapter_model.safetensors"
#define HEARTH_PEFT_CONFIG_LIMIT  ((size_t)1 << 20) /* bytes of the JSON */
#define HEARTH_PEFT_WEIGHTS_LIMIT ((size_t)1 << 31)

/* What the folder says beside the tensors. */
typedef struct {
    char base[256];   /* base_model_name_or_path; "" = none */
    char base_id[65]; /* hex digest of the base (metadata), "" = none */
    uint32_t rank;    /* r, before rank_pattern */
    float alpha;      /* lora_alpha, before alpha_pattern */
    bool rslora;
    float dropout;    /* lora_dropout */
    uint32_t targets; /* mask of target_modules */
    size_t n_tensors; /* tensors in the file */
    size_t n_applied; /* tensors that became a factor; == n_tensors */
} hearth_peft_info;

/* Read a folder.
 *
 *   modules  [n_modules]  what the model offers; a pair for any other module,
 *            or of other sides, is an error.  NULL, 0: take the shapes of the
 *            file (inspect, coordinator).
 *   info     may be NULL
 *
 * F32, F16 and BF16 tensors are widened to float.  *out is the caller's.
 * Returns HEARTH_OK
 *         HEARTH_ENOTFOUND     no such folder or file
 *         HEARTH_EFORMAT       broken JSON or tensor file, a tensor without
 *                              its partner, rank other than the config says
 *         HEARTH_EMISMATCH     made for another model: module or side unknown
 *         HEARTH_EUNSUPPORTED  not LoRA, DoRA, bias, modules_to_save, an
 *                              integer or quantised tensor type
 *         HEARTH_ENONFINITE    a value is NaN or infinite
 *         HEARTH_ETOOBIG HEARTH_ENOMEM HEARTH_EIO
 * and *out is NULL in every failure. */
HEARTH_MUST_CHECK
hearth_status hearth_adapter_load(hearth_adapter **out, const char *dir,
                                  const hearth_module_info *modules,
                                  size_t n_modules, hearth_peft_info *info,
                                  const hearth_alloc *al, hearth_error *err);

/* Write a folder (made if absent); each file replaced atomically, the tensors
 * first, so that a folder with a config is complete.
 *
 *   info  base and base_id are written; the rest comes from a; may be NULL
 *
 * Returns HEARTH_OK, HEARTH_ENOMEM, HEARTH_EIO, HEARTH_ENOSPACE. */
HEARTH_MUST_CHECK
hearth_status hearth_adapter_save(const hearth_adapter *a, const char *dir,
                                  const hearth_peft_info *info,
                                  hearth_error *err);

/* The parser of adapter_config.json alone, over n bytes: fills info (not
 * n_tensors, n_applied) and, when patterns is not NULL, calls it for every
 * entry of rank_pattern and alpha_pattern, in the file's order: of each the
 * first whose key matches counts (common/name_pattern.h).  For _load and for
 * the fuzz target.
 * Returns as hearth_adapter_load. */
typedef hearth_status (*hearth_peft_pattern_fn)(void *ud, bool is_rank,
                                                const char *module,
                                                double value);
HEARTH_MUST_CHECK
hearth_status hearth_peft_config_parse(const char *json, size_t n,
                                       hearth_peft_info *info,
                                       hearth_peft_pattern_fn pattern, void *ud,
                                       hearth_error *err);

#endif /* HEARTH_COMMON_ADAPTER_PEFT_H */

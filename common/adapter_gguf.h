/* SPDX-License-Identifier: Apache-2.0 */
/* common/adapter_gguf.h - write an adapter as a GGUF file for llama.cpp.
 *
 *     hearth_adapter_gguf_info info = {.arch = "llama", .permuted = 64};
 *     st = hearth_adapter_export_gguf(a, &info, "lora.gguf", al, err);
 *
 * llama.cpp knows one alpha for the file and scales each pair by alpha / rank.
 * The alpha that is written gives the first pair its scale; another pair's B
 * is multiplied by what its own scale differs by, so rslora and patterns of
 * ranks and alphas come out right.  GPT-2's factors are not transposed.
 *
 * Threads: the adapter is only read.
 * Memory:  one row of B.
 * Source:  GGUF adapters, as in common/FORMATS.md.
 */
#ifndef HEARTH_COMMON_ADAPTER_GGUF_H
#define HEARTH_COMMON_ADAPTER_GGUF_H

#include "common/adapter.h"
#include "common/alloc.h"
#include "common/status.h"

/* What the base's GGUF files are like. */
typedef struct {
    const char *arch;  /* general.architecture: "llama", "gpt2" */
    uint32_t permuted; /* head_dim where rows of q and k are permuted (the
                          "llama" architecture), else 0 */
} hearth_adapter_gguf_info;

/* HEARTH_EINVAL   permuted does not divide a q or k, or an adapter of scale 0
 * HEARTH_ENOTFOUND the folder of path is not there
 * HEARTH_ENOMEM, HEARTH_EIO, HEARTH_ENOSPACE; no file on error. */
HEARTH_MUST_CHECK hearth_status hearth_adapter_export_gguf(
    const hearth_adapter *a, const hearth_adapter_gguf_info *info,
    const char *path, const hearth_alloc *al, hearth_error *err);

#endif /* HEARTH_COMMON_ADAPTER_GGUF_H */

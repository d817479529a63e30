/* SPDX-License-Identifier: Apache-2.0 */
/* client/model/base_model.h - an opened base model: immutable, shareable.
 *
 *     hearth_model *m = NULL;
 *     if (hearth_model_open(&m, "dir", al, &err) != HEARTH_OK) ...  // x.gguf
 *     const hearth_model_config *c = hearth_model_get_config(m);
 *     hearth_model_close(m);
 *
 * A model is a folder with config.json and model.safetensors (or shards under
 * model.safetensors.index.json), or a complete GGUF file.  The tensors are
 * mapped, checked against the config (a missing, extra, misshapen or
 * unreadable tensor is an error that names it) and seen only as weight views.
 *
 * Threads: any number of threads may use one model at the same time; it must
 * outlive every decoder made from it.
 */
#ifndef HEARTH_CLIENT_MODEL_BASE_MODEL_H
#define HEARTH_CLIENT_MODEL_BASE_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/model/model_config.h"
#include "client/train/weight.h"
#include "common/adapter.h"
#include "common/alloc.h"
#include "common/safetensors.h"
#include "common/status.h"

#define HEARTH_MODEL_MAX_NAME 96u /* bytes of a tensor or module name + NUL */

typedef struct hearth_model hearth_model;

/* What a tensor is for.  The first ones are the LoRA targets of
 * common/lora_names.h, then the bias of each. */
typedef enum {
    HEARTH_TENSOR_Q = HEARTH_TARGET_Q,
    HEARTH_TENSOR_K = HEARTH_TARGET_K,
    HEARTH_TENSOR_V = HEARTH_TARGET_V,
    HEARTH_TENSOR_O = HEARTH_TARGET_O,
    HEARTH_TENSOR_GATE = HEARTH_TARGET_GATE,
    HEARTH_TENSOR_UP = HEARTH_TARGET_UP,
    HEARTH_TENSOR_DOWN = HEARTH_TARGET_DOWN,
    HEARTH_TENSOR_QKV = HEARTH_TARGET_QKV,
    HEARTH_TENSOR_GATE_UP = HEARTH_TARGET_GATE_UP,
    HEARTH_TENSOR_BIAS = HEARTH_TARGET_COUNT, /* + target */
    HEARTH_TENSOR_NORM_ATTN = HEARTH_TENSOR_BIAS + HEARTH_TARGET_COUNT,
    HEARTH_TENSOR_NORM_MLP,  /* before attention, before the MLP */
    HEARTH_TENSOR_POST_ATTN, /* after attention, after the MLP (sandwich) */
    HEARTH_TENSOR_POST_MLP,
    HEARTH_TENSOR_NORM_Q, /* of one head of q, of k */
    HEARTH_TENSOR_NORM_K,
    HEARTH_TENSOR_NORM_ATTN_BIAS,
    HEARTH_TENSOR_NORM_MLP_BIAS,
    HEARTH_TENSOR_EMBED, /* from here on: one per model, layer ignored */
    HEARTH_TENSOR_POSITION,
    HEARTH_TENSOR_NORM_FINAL,
    HEARTH_TENSOR_NORM_FINAL_BIAS,
    HEARTH_TENSOR_HEAD, /* the embedding itself when tied */
    HEARTH_TENSOR_COUNT
} hearth_tensor_role;

/* The role of a target's bias. */
#define HEARTH_TENSOR_BIAS_OF(target)                                          \
    ((hearth_tensor_role)((int)HEARTH_TENSOR_BIAS + (int)(target)))

/* Open the folder dir, or the file when dir ends in ".gguf" or is a folder
 * without config.json that holds one such file.  Errors leave *out NULL: those of hearth_model_config_load, hearth_tensor_source_open,
 * hearth_gguf_open and hearth_gguf_model_config, and
 * HEARTH_EFORMAT for tensors that do not fit the config. */
HEARTH_MUST_CHECK hearth_status hearth_model_open(hearth_model **out,
                                                  const char *dir,
                                                  const hearth_alloc *al,
                                                  hearth_error *err);
void hearth_model_close(hearth_model *m); /* NULL is a no-op */

const hearth_model_config *hearth_model_get_config(const hearth_model *m);

/* The folder or file given to open; the .gguf of a folder that is but one. */
const char *hearth_model_dir(const hearth_model *m);

/* One of the files that hold the weights, as it is mapped. */
typedef struct {
    const uint8_t *bytes; /* [n] borrowed from the model */
    size_t n;
    char path[1024];
} hearth_model_file;
size_t hearth_model_n_files(const hearth_model *m);
/* HEARTH_ETOOBIG when the path is too long; i < hearth_model_n_files. */
HEARTH_MUST_CHECK hearth_status hearth_model_file_at(const hearth_model *m,
                                                     size_t i,
                                                     hearth_model_file *out);

/* Give all pages of the files back to the system (hearth_file_forget). */
void hearth_model_forget_pages(const hearth_model *m);

/* The same for hearth_file_expect. */
void hearth_model_expect(const hearth_model *m, bool scattered);

/* SHA-256 [32] over the config and all tensors in canonical order.  Computed
 * at the first call (about 0.5 GB/s), then kept.  Borrowed from m.  NULL only
 * when hashing itself fails, which open has tried. */
const uint8_t *hearth_model_digest(const hearth_model *m);

/* What adapters and tasks call their base, 64 hex digits and a NUL: the digest,
 * or what a GGUF file says under "hearth.base_id", since it holds the weights
 * of that folder in another form. */
void hearth_model_base_id(const hearth_model *m, char out[65]);

/* The view of one tensor, NULL when the family has none; the head of a tied
 * model is the embedding's view.  layer < n_layers for per-layer roles. */
const hearth_weight *hearth_model_weight(const hearth_model *m,
                                         hearth_tensor_role role,
                                         uint32_t layer);

/* Does a tensor of the model lie in the addresses [from, to)?  For those who
 * measure what of its file is in memory. */
bool hearth_model_is_within(const hearth_model *m, uintptr_t from,
                            uintptr_t to);

/* Tensors in canonical order (of a Llama: embedding; per layer: norm, q, k, v,
 * o, norm, gate, up, down; final norm; head unless tied): the order of files,
 * digests and full-mode parameters. */
size_t hearth_model_n_tensors(const hearth_model_config *c);

/* Name, role, layer and shape of tensor i; rows = outputs.  Vectors have cols
 * = 1.  stored_transposed: a folder's file has it as [cols, rows]. */
typedef struct {
    char name[HEARTH_MODEL_MAX_NAME]; /* "model.layers.0.mlp.up_proj.weight" */
    hearth_tensor_role role;
    uint32_t layer;
    uint32_t rows, cols;
    bool stored_transposed;
} hearth_model_tensor;
void hearth_model_tensor_at(const hearth_model_config *c, size_t i,
                            hearth_model_tensor *out);

/* The linear layers that adapters may take, layer by layer in canonical target
 * order: [*n] entries, borrowed from m.  For hearth_adapter_new. */
const hearth_module_info *hearth_model_modules(const hearth_model *m,
                                               size_t *n);

/* Masks of targets: those that the family has, and PEFT's default of them. */
uint32_t hearth_model_targets(const hearth_model *m);
uint32_t hearth_model_auto_targets(const hearth_model *m);

/* client/model/model_create.c: write a folder with random weights: every
 * linear and the embedding normal(0, initializer_range), norms 1; the same
 * bytes for the same seed and config.  out_dir is made when absent; the config
 * is written and the tokenizer copied into it (tokenizer_path NULL: none).  Fails with
 * HEARTH_EEXISTS when out_dir already has a model.safetensors. */
HEARTH_MUST_CHECK hearth_status hearth_model_create(
    const char *config_path, const char *tokenizer_path, uint64_t seed,
    const char *out_dir, const hearth_alloc *al, hearth_error *err);

/* The same with the weights stored as F32, F16 or BF16, rounded to nearest. */
HEARTH_MUST_CHECK hearth_status hearth_model_create_as(
    hearth_dtype dtype, const char *config_path, const char *tokenizer_path,
    uint64_t seed, const char *out_dir, const hearth_alloc *al,
    hearth_error *err);

/* client/model/model_save.c: write a Hugging Face folder (F32): config.json,
 * model.safetensors, and the tokenizer files of src_dir (NULL: none).
 * value[i] is tensor i in canonical order, [rows * cols] floats. */
HEARTH_MUST_CHECK hearth_status hearth_model_save(const hearth_model_config *c,
                                                  const float *const *value,
                                                  const char *src_dir,
                                                  const char *out_dir,
                                                  const hearth_alloc *al,
                                                  hearth_error *err);

#endif /* HEARTH_CLIENT_MODEL_BASE_MODEL_H */

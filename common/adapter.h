/* SPDX-License-Identifier: Apache-2.0 */
/* common/adapter.h - a LoRA adapter: pairs of factors in one canonical order.
 *
 * y = x W^T + scale * (x A^T) B^T,  A [rank, in], B [out, rank], row-major,
 * scale = alpha / rank (rslora: alpha / sqrt(rank)).
 *
 * Canonical order: layer, then target (q k v o gate up down), then A before
 * B, then row-major.  Training, deltas, uploads, sums and releases all use it.
 *
 *     hearth_lora_spec spec = HEARTH_LORA_SPEC_INIT;
 *     st = hearth_adapter_new(&a, &spec, modules, n_modules, al, err);
 *     st = hearth_adapter_init_a_from_seed(a, seed);      // and B = 0
 *     float *flat = ...[hearth_adapter_dim(a, HEARTH_PART_B)];
 *     st = hearth_adapter_flatten(a, HEARTH_PART_B, flat, n);
 *
 * Threads: one thread at a time may write; any number may read.
 * Memory:  one block for all factors, from the hooks given at _new.
 * Source:  Hu et al., LoRA, ICLR 2022, arXiv:2106.09685; rslora:
 *          Kalajdzievski, arXiv:2312.03732; A frozen: Sun et al., FFA-LoRA,
 *          arXiv:2403.12313.
 */
#ifndef HEARTH_COMMON_ADAPTER_H
#define HEARTH_COMMON_ADAPTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/alloc.h"
#include "common/lora_names.h"
#include "common/span.h"
#include "common/status.h"

#define HEARTH_ADAPTER_MAX_PAIRS  (HEARTH_LORA_MAX_LAYERS * 7u)
#define HEARTH_ADAPTER_MAX_RANK   1024u
#define HEARTH_ADAPTER_MAX_SIDE   (1u << 20) /* in and out of one module */
#define HEARTH_ADAPTER_MAX_DIM    ((size_t)1 << 28) /* floats in all */
#define HEARTH_ADAPTER_SEED_BYTES 32

/* A linear layer that a model offers to adapters.  Borrows its name. */
typedef struct {
    const char *name; /* "model.layers.3.self_attn.v_proj" */
    uint32_t layer;
    uint32_t target; /* hearth_target */
    uint32_t in, out;
} hearth_module_info;

/* What to adapt, and how. */
typedef struct {
    uint32_t rank;        /* 1 .. HEARTH_ADAPTER_MAX_RANK */
    float alpha;          /* finite, > 0 */
    uint32_t targets;     /* mask of HEARTH_TARGET_BIT */
    uint32_t last_layers; /* adapt the last K layers only; 0 = all */
    bool rslora;
    bool freeze_a; /* train B only */
} hearth_lora_spec;

#define HEARTH_LORA_SPEC_INIT                                                  \
    { 8, 16.0f, HEARTH_TARGETS_QV, 0, false, false }

/* One adapted module. */
typedef struct {
    char module[HEARTH_LORA_MODULE_MAX];
    uint32_t layer, target;
    uint32_t rank, in, out;
    float alpha;
    float *a; /* [rank, in] */
    float *b; /* [out, rank] */
} hearth_adapter_pair;

typedef struct hearth_adapter {
    size_t n_pairs;
    hearth_adapter_pair *pair; /* [n_pairs], canonical order */
    bool rslora;
    bool freeze_a;
    bool has_a_seed; /* A is what a_seed gives: set by _init_a_from_seed */
    uint8_t a_seed[HEARTH_ADAPTER_SEED_BYTES];
    float dropout;      /* recorded in PEFT files; 0 unless trained with it */
    hearth_alloc alloc; /* the hooks given at _new */
    float *values;      /* [n_values], A and B of every pair; owns them */
    size_t n_values;
} hearth_adapter;

/* Which factors an operation covers. */
typedef enum {
    HEARTH_PART_A = 1,
    HEARTH_PART_B = 2,
    HEARTH_PART_AB = 3
} hearth_part;

/* Make an adapter, all zero, for the modules that spec selects.
 *
 *   modules  [n_modules]  in any order; those outside spec are skipped
 *
 * Returns HEARTH_OK         *out is the caller's: hearth_adapter_free
 *         HEARTH_EINVAL     bad spec, a module given twice, nothing selected
 *         HEARTH_ETOOBIG    above a limit of this header
 *         HEARTH_ENOMEM     in every failure *out is NULL */
HEARTH_MUST_CHECK
hearth_status hearth_adapter_new(hearth_adapter **out,
                                 const hearth_lora_spec *spec,
                                 const hearth_module_info *modules,
                                 size_t n_modules, const hearth_alloc *al,
                                 hearth_error *err);

/* Make an adapter, all zero, from explicit shapes: module, layer, target,
 * rank, in, out and alpha of shapes are read, a and b ignored.  Sorted into
 * canonical order.  Errors as hearth_adapter_new. */
HEARTH_MUST_CHECK
hearth_status hearth_adapter_new_shaped(hearth_adapter **out,
                                        const hearth_adapter_pair *shapes,
                                        size_t n_shapes, bool rslora,
                                        const hearth_alloc *al,
                                        hearth_error *err);

/* A second adapter with the same shapes, flags and values. */
HEARTH_MUST_CHECK
hearth_status hearth_adapter_clone(hearth_adapter **out,
                                   const hearth_adapter *a,
                                   const hearth_alloc *al, hearth_error *err);

/* Zeroes the values, then frees.  NULL is a no-op. */
void hearth_adapter_free(hearth_adapter *a);

/* Fill every A from seed and every B with zero; sets has_a_seed.
 *
 * The bytes of A are the same on every machine.  For each pair: key =
 * HMAC-SHA-256(seed, "hearth.lora_a.v1:" + module name); the AES-256-CTR
 * stream of that key (counter from 0) read as little-endian u32 w, one for an
 * element, row-major; k = 2 * (w >> 8) + 1 - 2^24, an odd integer in
 * (-2^24, 2^24); A = float(double(k) * 2^-24 / sqrt(double(in))), which is
 * uniform in +-1/sqrt(in), the range that PEFT's default gives.  The stream of
 * a pair depends on its module only, never on the other pairs.
 *
 * Returns HEARTH_OK, or the status of common/prg.h or common/hash.h with A
 * and B zero. */
HEARTH_MUST_CHECK
hearth_status
hearth_adapter_init_a_from_seed(hearth_adapter *a,
                                const uint8_t seed[HEARTH_ADAPTER_SEED_BYTES]);

/* The 32-byte seed that `--seed N` stands for: SHA-256 of
 * "hearth.seed.v1:" and the 8 bytes of n, little-endian. */
HEARTH_MUST_CHECK
hearth_status
hearth_adapter_seed_from_number(uint64_t n,
                                uint8_t seed[HEARTH_ADAPTER_SEED_BYTES]);

/* alpha / rank, or alpha / sqrt(rank). */
float hearth_adapter_scale(const hearth_adapter *a,
                           const hearth_adapter_pair *p);

/* Number of floats of a part, over all pairs. */
size_t hearth_adapter_dim(const hearth_adapter *a, hearth_part part);

/* Spans over the values themselves, in canonical order (A before B in a
 * pair).  Writes at most cap; returns how many there are in all, which is
 * n_pairs for one factor and 2 n_pairs for both. */
size_t hearth_adapter_spans(const hearth_adapter *a, hearth_part part,
                            hearth_span *spans, size_t cap);

/* Copy a part to (from) one flat vector in canonical order.  n must be
 * hearth_adapter_dim(a, part), else HEARTH_EINVAL and nothing is copied. */
HEARTH_MUST_CHECK
hearth_status hearth_adapter_flatten(const hearth_adapter *a, hearth_part part,
                                     float *flat, size_t n);
HEARTH_MUST_CHECK
hearth_status hearth_adapter_unflatten(hearth_adapter *a, hearth_part part,
                                       const float *flat, size_t n);

#endif /* HEARTH_COMMON_ADAPTER_H */

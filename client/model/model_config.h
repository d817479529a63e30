/* SPDX-License-Identifier: Apache-2.0 */
/* client/model/model_config.h - what a Hugging Face config.json says.
 *
 * Strict: an architecture that is not supported is refused with the list of
 * those that are; a field that would change results and is not understood is
 * an error that names it; fields known to be harmless are ignored.
 *
 * Threads: no shared state.
 */
#ifndef HEARTH_CLIENT_MODEL_MODEL_CONFIG_H
#define HEARTH_CLIENT_MODEL_MODEL_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/alloc.h"
#include "common/buf.h"
#include "common/status.h"

#define HEARTH_MODEL_MAX_EOS       8u
#define HEARTH_MODEL_MAX_LAYERS    1024u
#define HEARTH_MODEL_MAX_VOCAB     2000000u
#define HEARTH_MODEL_MAX_WIDTH     131072u /* hidden, ffn, heads * head_dim */
#define HEARTH_MODEL_MAX_POSITIONS 16777216u
#define HEARTH_MODEL_MAX_PAIRS     256u /* rotated pairs: head_dim / 2 */

/* How positions are stretched for contexts longer than the first training. */
typedef enum {
    HEARTH_ROPE_PLAIN,
    HEARTH_ROPE_LINEAR, /* every frequency / factor */
    HEARTH_ROPE_LLAMA3, /* slow ones / factor, fast ones kept, between: mixed */
    HEARTH_ROPE_FACTORS /* each / its own divisor (GGUF's rope_freqs) */
} hearth_rope_kind;

typedef enum {
    HEARTH_NORM_RMS,     /* x / rms * w */
    HEARTH_NORM_RMS_ONE, /* x / rms * (1 + w): Gemma */
    HEARTH_NORM_LAYER    /* (x - mean) / deviation * w + bias: GPT-2 */
} hearth_norm_kind;

typedef enum {
    HEARTH_MLP_SWIGLU, /* down(silu(gate) * up) */
    HEARTH_MLP_GEGLU,  /* down(gelu_tanh(gate) * up): Gemma */
    HEARTH_MLP_GELU    /* down(gelu_tanh(up)), no gate: GPT-2 */
} hearth_mlp_kind;

/* Everything that decides results.  Zero-initialised where absent. */
typedef struct hearth_model_config {
    char architecture[64]; /* "LlamaForCausalLM" */
    char model_type[32];   /* "llama" */
    uint32_t vocab_size;
    uint32_t hidden_size;
    uint32_t n_layers;
    uint32_t n_heads;
    uint32_t n_kv_heads; /* divides n_heads */
    uint32_t head_dim;   /* even */
    uint32_t ffn_size;
    uint32_t max_positions;
    double rope_theta;
    hearth_rope_kind rope_kind;
    double rope_factor;         /* linear, llama3: >= 1 */
    double rope_low, rope_high; /* llama3: frequency factors, low < high */
    uint32_t rope_original;     /* llama3: positions of first training */
    float rope_divisor[HEARTH_MODEL_MAX_PAIRS]; /* factors: of each pair */
    double rope_theta_local; /* of sliding layers, never scaled; 0: as all */
    hearth_norm_kind norm_kind;
    hearth_mlp_kind mlp_kind;
    bool learned_positions; /* a table added to the embedding, no rotation */
    bool qkv_bias, o_bias, mlp_bias; /* linears with a bias [out] */
    bool fused_qkv;                  /* one linear with rows q, k, v */
    bool fused_gate_up;              /* one linear with rows gate, up */
    bool qk_norm;       /* norm of each head of q and k before rotation */
    bool sandwich;      /* norms after attention and after the MLP as well */
    double embed_scale; /* embeddings are multiplied by it; 1: not */
    double attn_scale;  /* scores are multiplied by it */
    uint32_t sliding_window; /* key j is seen from query i iff 0 <= i - j <
                                window; 0: every layer sees all */
    uint8_t local[HEARTH_MODEL_MAX_LAYERS]; /* 1: this layer slides */
    double norm_eps;
    double initializer_range; /* sigma of model create; default 0.02 */
    bool tied;                /* the head is the embedding */
    int32_t bos;              /* -1: none */
    int32_t pad;              /* -1: none */
    uint32_t n_eos;
    int32_t eos[HEARTH_MODEL_MAX_EOS];
} hearth_model_config;

/* Parse n bytes of config.json; `what` names them in errors.
 * HEARTH_EFORMAT       not JSON, a field missing, of a wrong type or range
 * HEARTH_EUNSUPPORTED  an architecture or a setting that is not supported
 * HEARTH_ENOMEM
 * *out is zero on error. */
HEARTH_MUST_CHECK hearth_status hearth_model_config_parse(
    hearth_model_config *out, const char *json, size_t n, const char *what,
    const hearth_alloc *al, hearth_error *err);

/* Read and parse a file; also HEARTH_ENOTFOUND, HEARTH_EIO, HEARTH_ETOOBIG. */
HEARTH_MUST_CHECK hearth_status
hearth_model_config_load(hearth_model_config *out, const char *path,
                         const hearth_alloc *al, hearth_error *err);

/* Append config.json text that parses to the same struct, in the family's
 * words.  HEARTH_EUNSUPPORTED: divisors read from a GGUF (HEARTH_ROPE_FACTORS)
 * have no place in config.json; HEARTH_ENOMEM. */
HEARTH_MUST_CHECK hearth_status
hearth_model_config_write(const hearth_model_config *c, hearth_buf *out);

/* Numbers of the whole model: trainable parameters. */
uint64_t hearth_model_config_parameters(const hearth_model_config *c);

/* Angle per position of pair i, 0 <= i < head_dim / 2: theta^(-2 i /
 * head_dim), then the stretching; local: of layers that slide.
 * common/refmath only.
 * Source: Su et al., RoFormer, arXiv:2104.09864; llama3: the Llama 3.1 model
 * card's reference code. */
double hearth_model_config_rope_speed(const hearth_model_config *c, uint32_t i,
                                      bool local);

/* Is id one of the end-of-sequence tokens? */
bool hearth_model_config_is_eos(const hearth_model_config *c, int32_t id);

#endif /* HEARTH_CLIENT_MODEL_MODEL_CONFIG_H */

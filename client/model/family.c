/* SPDX-License-Identifier: Apache-2.0 */
/* client/model/family.c - the table of supported architectures. */
#include "client/model/family.h"

#include <string.h>

#define LAYER "model.layers."
#define BLOCK "transformer.h."

#define EMBED_OF(name)                                                         \
    {                                                                          \
        HEARTH_TENSOR_EMBED, name, NULL, HEARTH_SIDE_VOCAB,                    \
            HEARTH_SIDE_HIDDEN, false                                          \
    }
#define HEAD                                                                   \
    {                                                                          \
        HEARTH_TENSOR_HEAD, "lm_head.weight", NULL, HEARTH_SIDE_VOCAB,         \
            HEARTH_SIDE_HIDDEN, false                                          \
    }
/* A vector of the whole model; a linear [rows, cols] and a vector of a layer. */
#define ONCE(role, name)                                                       \
    {                                                                          \
        HEARTH_TENSOR_##role, name, NULL, HEARTH_SIDE_HIDDEN, HEARTH_SIDE_ONE, \
            false                                                              \
    }
#define LINEAR(role, name, rows, cols)                                         \
    {                                                                          \
        HEARTH_TENSOR_##role, LAYER, name, HEARTH_SIDE_##rows,                 \
            HEARTH_SIDE_##cols, false                                          \
    }
#define VECTOR(role, name, rows)                                               \
    {                                                                          \
        HEARTH_TENSOR_##role, LAYER, name, HEARTH_SIDE_##rows,                 \
            HEARTH_SIDE_ONE, false                                             \
    }
#define BIAS(role, name, rows)                                                 \
    {                                                                          \
        HEARTH_TENSOR_BIAS_OF(HEARTH_TENSOR_##role), LAYER, name,              \
            HEARTH_SIDE_##rows, HEARTH_SIDE_ONE, false                         \
    }
/* GPT-2's linears, stored [in, out]. */
#define CONV1D(role, name, rows, cols)                                         \
    {                                                                          \
        HEARTH_TENSOR_##role, BLOCK, name, HEARTH_SIDE_##rows,                 \
            HEARTH_SIDE_##cols, true                                           \
    }
#define BLOCK_VECTOR(role, name, rows)                                         \
    {                                                                          \
        HEARTH_TENSOR_##role, BLOCK, name, HEARTH_SIDE_##rows,                 \
            HEARTH_SIDE_ONE, false                                             \
    }
#define BLOCK_BIAS(role, name, rows)                                           \
    {                                                                          \
        HEARTH_TENSOR_BIAS_OF(HEARTH_TENSOR_##role), BLOCK, name,              \
            HEARTH_SIDE_##rows, HEARTH_SIDE_ONE, false                         \
    }

/* clang-format off */
static const hearth_family_tensor llama_tensors[] = {
    EMBED_OF("model.embed_tokens.weight"),
    VECTOR(NORM_ATTN, ".input_layernorm.weight", HIDDEN),
    LINEAR(Q, ".self_attn.q_proj.weight", QUERY, HIDDEN),
    LINEAR(K, ".self_attn.k_proj.weight", KV, HIDDEN),
    LINEAR(V, ".self_attn.v_proj.weight", KV, HIDDEN),
    LINEAR(O, ".self_attn.o_proj.weight", HIDDEN, QUERY),
    VECTOR(NORM_MLP, ".post_attention_layernorm.weight", HIDDEN),
    LINEAR(GATE, ".mlp.gate_proj.weight", FFN, HIDDEN),
    LINEAR(UP, ".mlp.up_proj.weight", FFN, HIDDEN),
    LINEAR(DOWN, ".mlp.down_proj.weight", HIDDEN, FFN),
    ONCE(NORM_FINAL, "model.norm.weight"),
    HEAD,
};

static const hearth_family_tensor qwen2_tensors[] = {
    EMBED_OF("model.embed_tokens.weight"),
    VECTOR(NORM_ATTN, ".input_layernorm.weight", HIDDEN),
    LINEAR(Q, ".self_attn.q_proj.weight", QUERY, HIDDEN),
    BIAS(Q, ".self_attn.q_proj.bias", QUERY),
    LINEAR(K, ".self_attn.k_proj.weight", KV, HIDDEN),
    BIAS(K, ".self_attn.k_proj.bias", KV),
    LINEAR(V, ".self_attn.v_proj.weight", KV, HIDDEN),
    BIAS(V, ".self_attn.v_proj.bias", KV),
    LINEAR(O, ".self_attn.o_proj.weight", HIDDEN, QUERY),
    VECTOR(NORM_MLP, ".post_attention_layernorm.weight", HIDDEN),
    LINEAR(GATE, ".mlp.gate_proj.weight", FFN, HIDDEN),
    LINEAR(UP, ".mlp.up_proj.weight", FFN, HIDDEN),
    LINEAR(DOWN, ".mlp.down_proj.weight", HIDDEN, FFN),
    ONCE(NORM_FINAL, "model.norm.weight"),
    HEAD,
};

static const hearth_family_tensor qwen3_tensors[] = {
    EMBED_OF("model.embed_tokens.weight"),
    VECTOR(NORM_ATTN, ".input_layernorm.weight", HIDDEN),
    LINEAR(Q, ".self_attn.q_proj.weight", QUERY, HIDDEN),
    LINEAR(K, ".self_attn.k_proj.weight", KV, HIDDEN),
    LINEAR(V, ".self_attn.v_proj.weight", KV, HIDDEN),
    LINEAR(O, ".self_attn.o_proj.weight", HIDDEN, QUERY),
    VECTOR(NORM_Q, ".self_attn.q_norm.weight", HEAD_DIM),
    VECTOR(NORM_K, ".self_attn.k_norm.weight", HEAD_DIM),
    VECTOR(NORM_MLP, ".post_attention_layernorm.weight", HIDDEN),
    LINEAR(GATE, ".mlp.gate_proj.weight", FFN, HIDDEN),
    LINEAR(UP, ".mlp.up_proj.weight", FFN, HIDDEN),
    LINEAR(DOWN, ".mlp.down_proj.weight", HIDDEN, FFN),
    ONCE(NORM_FINAL, "model.norm.weight"),
    HEAD,
};

static const hearth_family_tensor gemma3_tensors[] = {
    EMBED_OF("model.embed_tokens.weight"),
    VECTOR(NORM_ATTN, ".input_layernorm.weight", HIDDEN),
    LINEAR(Q, ".self_attn.q_proj.weight", QUERY, HIDDEN),
    LINEAR(K, ".self_attn.k_proj.weight", KV, HIDDEN),
    LINEAR(V, ".self_attn.v_proj.weight", KV, HIDDEN),
    LINEAR(O, ".self_attn.o_proj.weight", HIDDEN, QUERY),
    VECTOR(NORM_Q, ".self_attn.q_norm.weight", HEAD_DIM),
    VECTOR(NORM_K, ".self_attn.k_norm.weight", HEAD_DIM),
    VECTOR(POST_ATTN, ".post_attention_layernorm.weight", HIDDEN),
    VECTOR(NORM_MLP, ".pre_feedforward_layernorm.weight", HIDDEN),
    LINEAR(GATE, ".mlp.gate_proj.weight", FFN, HIDDEN),
    LINEAR(UP, ".mlp.up_proj.weight", FFN, HIDDEN),
    LINEAR(DOWN, ".mlp.down_proj.weight", HIDDEN, FFN),
    VECTOR(POST_MLP, ".post_feedforward_layernorm.weight", HIDDEN),
    ONCE(NORM_FINAL, "model.norm.weight"),
    HEAD,
};

static const hearth_family_tensor phi3_tensors[] = {
    EMBED_OF("model.embed_tokens.weight"),
    VECTOR(NORM_ATTN, ".input_layernorm.weight", HIDDEN),
    LINEAR(QKV, ".self_attn.qkv_proj.weight", QKV, HIDDEN),
    LINEAR(O, ".self_attn.o_proj.weight", HIDDEN, QUERY),
    VECTOR(NORM_MLP, ".post_attention_layernorm.weight", HIDDEN),
    LINEAR(GATE_UP, ".mlp.gate_up_proj.weight", GATE_UP, HIDDEN),
    LINEAR(DOWN, ".mlp.down_proj.weight", HIDDEN, FFN),
    ONCE(NORM_FINAL, "model.norm.weight"),
    HEAD,
};

static const hearth_family_tensor gpt2_tensors[] = {
    EMBED_OF("transformer.wte.weight"),
    {HEARTH_TENSOR_POSITION, "transformer.wpe.weight", NULL,
     HEARTH_SIDE_POSITIONS, HEARTH_SIDE_HIDDEN, false},
    BLOCK_VECTOR(NORM_ATTN, ".ln_1.weight", HIDDEN),
    BLOCK_VECTOR(NORM_ATTN_BIAS, ".ln_1.bias", HIDDEN),
    CONV1D(QKV, ".attn.c_attn.weight", QKV, HIDDEN),
    BLOCK_BIAS(QKV, ".attn.c_attn.bias", QKV),
    CONV1D(O, ".attn.c_proj.weight", HIDDEN, QUERY),
    BLOCK_BIAS(O, ".attn.c_proj.bias", HIDDEN),
    BLOCK_VECTOR(NORM_MLP, ".ln_2.weight", HIDDEN),
    BLOCK_VECTOR(NORM_MLP_BIAS, ".ln_2.bias", HIDDEN),
    CONV1D(UP, ".mlp.c_fc.weight", FFN, HIDDEN),
    BLOCK_BIAS(UP, ".mlp.c_fc.bias", FFN),
    CONV1D(DOWN, ".mlp.c_proj.weight", HIDDEN, FFN),
    BLOCK_BIAS(DOWN, ".mlp.c_proj.bias", HIDDEN),
    ONCE(NORM_FINAL, "transformer.ln_f.weight"),
    ONCE(NORM_FINAL_BIAS, "transformer.ln_f.bias"),
    HEAD,
};

/* Fields that any family may have. */
static const hearth_family_field common_fields[] = {
    {"architectures", HEARTH_FIELD_READ},
    {"model_type", HEARTH_FIELD_READ},
    {"vocab_size", HEARTH_FIELD_READ},
    {"tie_word_embeddings", HEARTH_FIELD_READ},
    {"initializer_range", HEARTH_FIELD_READ},
    {"bos_token_id", HEARTH_FIELD_READ},
    {"eos_token_id", HEARTH_FIELD_READ},
    {"pad_token_id", HEARTH_FIELD_READ},
    {"add_cross_attention", HEARTH_FIELD_FALSE},
    {"is_encoder_decoder", HEARTH_FIELD_FALSE},
    {"quantization_config", HEARTH_FIELD_NULL},
    {"pruned_heads", HEARTH_FIELD_IGNORE},
    {"_name_or_path", HEARTH_FIELD_IGNORE},
    {"_attn_implementation", HEARTH_FIELD_IGNORE},
    {"cache_implementation", HEARTH_FIELD_IGNORE},
    {"chunk_size_feed_forward", HEARTH_FIELD_IGNORE},
    {"auto_map", HEARTH_FIELD_IGNORE}, /* code that nobody runs here */
    {"gradient_checkpointing", HEARTH_FIELD_IGNORE},
    {"tokenizer_class", HEARTH_FIELD_IGNORE},
    {"transformers.js_config", HEARTH_FIELD_IGNORE},
    {"dtype", HEARTH_FIELD_IGNORE},
    {"finetuning_task", HEARTH_FIELD_IGNORE},
    {"id2label", HEARTH_FIELD_IGNORE},
    {"is_decoder", HEARTH_FIELD_IGNORE},
    {"is_llama_config", HEARTH_FIELD_IGNORE},
    {"label2id", HEARTH_FIELD_IGNORE},
    {"output_attentions", HEARTH_FIELD_IGNORE},
    {"output_hidden_states", HEARTH_FIELD_IGNORE},
    {"problem_type", HEARTH_FIELD_IGNORE},
    {"return_dict", HEARTH_FIELD_IGNORE},
    {"task_specific_params", HEARTH_FIELD_IGNORE},
    {"torch_dtype", HEARTH_FIELD_IGNORE},
    {"torchscript", HEARTH_FIELD_IGNORE},
    {"transformers_version", HEARTH_FIELD_IGNORE},
    {"unsloth_fixed", HEARTH_FIELD_IGNORE},
    {"unsloth_version", HEARTH_FIELD_IGNORE},
    {"use_bfloat16", HEARTH_FIELD_IGNORE},
    {"use_cache", HEARTH_FIELD_IGNORE},
};

/* Of the families with rotated positions and RMS norms. */
#define ROTARY_FIELDS                                                          \
    {"hidden_size", HEARTH_FIELD_READ},                                        \
    {"intermediate_size", HEARTH_FIELD_READ},                                  \
    {"num_hidden_layers", HEARTH_FIELD_READ},                                  \
    {"num_attention_heads", HEARTH_FIELD_READ},                                \
    {"num_key_value_heads", HEARTH_FIELD_READ},                                \
    {"head_dim", HEARTH_FIELD_READ},                                           \
    {"max_position_embeddings", HEARTH_FIELD_READ},                            \
    {"rms_norm_eps", HEARTH_FIELD_READ},                                       \
    {"rope_theta", HEARTH_FIELD_READ},                                         \
    {"rope_parameters", HEARTH_FIELD_READ},                                    \
    {"rope_scaling", HEARTH_FIELD_READ},                                       \
    {"layer_types", HEARTH_FIELD_READ},                                        \
    {"attention_dropout", HEARTH_FIELD_ZERO},                                  \
    {"partial_rotary_factor", HEARTH_FIELD_ONE},                               \
    {"attn_logit_softcapping", HEARTH_FIELD_NULL},                             \
    {"final_logit_softcapping", HEARTH_FIELD_NULL}

static const hearth_family_field llama_fields[] = {
    ROTARY_FIELDS,
    {"hidden_act", HEARTH_FIELD_READ},
    {"attention_bias", HEARTH_FIELD_FALSE},
    {"mlp_bias", HEARTH_FIELD_FALSE},
    {"rope_interleaved", HEARTH_FIELD_FALSE},
    {"use_sliding_window", HEARTH_FIELD_FALSE},
    {"resid_dropout", HEARTH_FIELD_ZERO},
    {"sliding_window", HEARTH_FIELD_NULL},
    {"max_window_layers", HEARTH_FIELD_IGNORE},
    {"pretraining_tp", HEARTH_FIELD_IGNORE}, /* how a sum is split */
};

static const hearth_family_field qwen_fields[] = {
    ROTARY_FIELDS,
    {"hidden_act", HEARTH_FIELD_READ},
    {"attention_bias", HEARTH_FIELD_FALSE}, /* Qwen2's biases are fixed */
    {"use_sliding_window", HEARTH_FIELD_READ},
    {"sliding_window", HEARTH_FIELD_READ},
    {"max_window_layers", HEARTH_FIELD_READ},
    {"use_mrope", HEARTH_FIELD_FALSE},
    {"mask_value", HEARTH_FIELD_IGNORE}, /* of another runtime */
};

static const hearth_family_field mistral_fields[] = {
    ROTARY_FIELDS,
    {"hidden_act", HEARTH_FIELD_READ},
    {"sliding_window", HEARTH_FIELD_READ},
};

static const hearth_family_field phi3_fields[] = {
    ROTARY_FIELDS,
    {"hidden_act", HEARTH_FIELD_READ},
    {"sliding_window", HEARTH_FIELD_READ},
    {"attention_bias", HEARTH_FIELD_FALSE},
    {"resid_pdrop", HEARTH_FIELD_ZERO},
    {"embd_pdrop", HEARTH_FIELD_ZERO},
    /* of the longrope scaling, which is refused by its name */
    {"original_max_position_embeddings", HEARTH_FIELD_IGNORE},
};

static const hearth_family_field gemma3_fields[] = {
    ROTARY_FIELDS,
    {"hidden_activation", HEARTH_FIELD_READ},
    {"hidden_act", HEARTH_FIELD_IGNORE}, /* hidden_activation counts */
    {"attention_bias", HEARTH_FIELD_FALSE},
    {"query_pre_attn_scalar", HEARTH_FIELD_READ},
    {"rope_local_base_freq", HEARTH_FIELD_READ},
    {"sliding_window", HEARTH_FIELD_READ},
    {"sliding_window_pattern", HEARTH_FIELD_READ},
    {"_sliding_window_pattern", HEARTH_FIELD_READ},
    {"use_bidirectional_attention", HEARTH_FIELD_FALSE},
};

/* Dropout is what a training run asks for, not what a config says. */
static const hearth_family_field gpt2_fields[] = {
    {"n_embd", HEARTH_FIELD_READ},
    {"n_layer", HEARTH_FIELD_READ},
    {"n_head", HEARTH_FIELD_READ},
    {"n_inner", HEARTH_FIELD_READ},
    {"n_positions", HEARTH_FIELD_READ},
    {"activation_function", HEARTH_FIELD_READ},
    {"layer_norm_epsilon", HEARTH_FIELD_READ},
    {"scale_attn_weights", HEARTH_FIELD_TRUE},
    {"scale_attn_by_inverse_layer_idx", HEARTH_FIELD_FALSE},
    {"reorder_and_upcast_attn", HEARTH_FIELD_FALSE},
    {"n_ctx", HEARTH_FIELD_IGNORE},
    {"n_special", HEARTH_FIELD_IGNORE}, /* of the first exporters */
    {"predict_special_tokens", HEARTH_FIELD_IGNORE},
    {"_num_labels", HEARTH_FIELD_IGNORE},
    {"output_past", HEARTH_FIELD_IGNORE},
    {"attn_pdrop", HEARTH_FIELD_IGNORE},
    {"embd_pdrop", HEARTH_FIELD_IGNORE},
    {"resid_pdrop", HEARTH_FIELD_IGNORE},
    {"summary_activation", HEARTH_FIELD_IGNORE},
    {"summary_first_dropout", HEARTH_FIELD_IGNORE},
    {"summary_proj_to_labels", HEARTH_FIELD_IGNORE},
    {"summary_type", HEARTH_FIELD_IGNORE},
    {"summary_use_proj", HEARTH_FIELD_IGNORE},
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define TENSORS(a) a, COUNT(a)

static const char *const rotary_tables[] = {".rotary_emb.inv_freq", NULL};
/* The causal mask, which older versions stored. */
static const char *const gpt2_masks[] = {".attn.bias", ".attn.masked_bias",
                                         NULL};

#define ROTARY_WORDS                                                           \
    {"hidden_size", "num_hidden_layers", "num_attention_heads",                \
     "intermediate_size", "max_position_embeddings", "hidden_act",             \
     "rms_norm_eps"}

static const hearth_family families[] = {
    {"LlamaForCausalLM", "LlamaModel", "llama", "model.", HEARTH_NAMES_LLAMA,
     HEARTH_TARGETS_QV, ROTARY_WORDS,
     {0, 0, 2048, 0, 1e-6},
     {.embed_scale = 1}, rotary_tables,
     TENSORS(llama_tensors), TENSORS(llama_fields)},
    {"GPT2LMHeadModel", "GPT2Model", "gpt2", "transformer.", HEARTH_NAMES_GPT2,
     HEARTH_TARGET_BIT(HEARTH_TARGET_QKV),
     {"n_embd", "n_layer", "n_head", "n_inner", "n_positions",
      "activation_function", "layer_norm_epsilon"},
     {0, 0, 1024, 0, 1e-5},
     {.embed_scale = 1, .norm_kind = HEARTH_NORM_LAYER,
      .mlp_kind = HEARTH_MLP_GELU, .learned_positions = true,
      .qkv_bias = true, .o_bias = true, .mlp_bias = true, .fused_qkv = true,
      .tied = true}, gpt2_masks,
     TENSORS(gpt2_tensors), TENSORS(gpt2_fields)},
    {"Qwen2ForCausalLM", "Qwen2Model", "qwen2", "model.", HEARTH_NAMES_LLAMA,
     HEARTH_TARGETS_QV, ROTARY_WORDS,
     {32, 0, 32768, 4096, 1e-6},
     {.embed_scale = 1, .qkv_bias = true}, rotary_tables,
     TENSORS(qwen2_tensors), TENSORS(qwen_fields)},
    {"Gemma3ForCausalLM", "Gemma3TextModel", "gemma3_text", "model.",
     HEARTH_NAMES_LLAMA, HEARTH_TARGETS_QV,
     {"hidden_size", "num_hidden_layers", "num_attention_heads",
      "intermediate_size", "max_position_embeddings", "hidden_activation",
      "rms_norm_eps"},
     {4, 256, 131072, 4096, 1e-6},
     {.norm_kind = HEARTH_NORM_RMS_ONE, .mlp_kind = HEARTH_MLP_GEGLU,
      .qk_norm = true, .sandwich = true, .tied = true}, rotary_tables,
     TENSORS(gemma3_tensors), TENSORS(gemma3_fields)},
    {"Qwen3ForCausalLM", "Qwen3Model", "qwen3", "model.", HEARTH_NAMES_LLAMA,
     HEARTH_TARGETS_QV, ROTARY_WORDS,
     {32, 128, 32768, 4096, 1e-6},
     {.embed_scale = 1, .qk_norm = true}, rotary_tables,
     TENSORS(qwen3_tensors), TENSORS(qwen_fields)},
    {"MistralForCausalLM", "MistralModel", "mistral", "model.",
     HEARTH_NAMES_LLAMA, HEARTH_TARGETS_QV, ROTARY_WORDS,
     {8, 0, 131072, 4096, 1e-6},
     {.embed_scale = 1}, rotary_tables,
     TENSORS(llama_tensors), TENSORS(mistral_fields)},
    {"Phi3ForCausalLM", "Phi3Model", "phi3", "model.", HEARTH_NAMES_LLAMA,
     HEARTH_TARGET_BIT(HEARTH_TARGET_QKV), ROTARY_WORDS,
     {0, 0, 4096, 0, 1e-5},
     {.embed_scale = 1, .fused_qkv = true, .fused_gate_up = true},
     rotary_tables, TENSORS(phi3_tensors), TENSORS(phi3_fields)},
};
/* clang-format on */

const hearth_family *hearth_family_all(size_t *n) {
    *n = COUNT(families);
    return families;
}

const hearth_family *hearth_family_find(const char *architecture) {
    for (size_t i = 0; i < COUNT(families); i++)
        if (strcmp(families[i].architecture, architecture) == 0 ||
            strcmp(families[i].headless, architecture) == 0)
            return &families[i];
    return NULL;
}

static const hearth_family_field *find_field(const hearth_family_field *f,
                                             size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(f[i].name, name) == 0) return &f[i];
    return NULL;
}

const hearth_family_field *hearth_family_field_find(const hearth_family *f,
                                                    const char *name) {
    const hearth_family_field *own = find_field(f->field, f->n_fields, name);
    return own ? own : find_field(common_fields, COUNT(common_fields), name);
}

uint32_t hearth_family_side(const hearth_model_config *c, hearth_side side) {
    uint32_t query = c->n_heads * c->head_dim, kv = c->n_kv_heads * c->head_dim;
    switch (side) {
    case HEARTH_SIDE_ONE: return 1;
    case HEARTH_SIDE_VOCAB: return c->vocab_size;
    case HEARTH_SIDE_HIDDEN: return c->hidden_size;
    case HEARTH_SIDE_FFN: return c->ffn_size;
    case HEARTH_SIDE_QUERY: return query;
    case HEARTH_SIDE_KV: return kv;
    case HEARTH_SIDE_QKV: return query + 2 * kv;
    case HEARTH_SIDE_GATE_UP: return 2 * c->ffn_size;
    case HEARTH_SIDE_HEAD_DIM: return c->head_dim;
    case HEARTH_SIDE_POSITIONS: return c->max_positions;
    }
    return 0;
}

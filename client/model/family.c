/* SPDX-License-Identifier: Apache-2.0 */
/* client/model/family.c - the table of supported architectures. */
#include "client/model/family.h"

#include <string.h>

#define LAYER "model.layers."

/* clang-format off */
static const hearth_family_tensor llama_tensors[] = {
    {HEARTH_TENSOR_EMBED, "model.embed_tokens.weight", NULL,
     HEARTH_SIDE_VOCAB, HEARTH_SIDE_HIDDEN},
    {HEARTH_TENSOR_NORM_ATTN, LAYER, ".input_layernorm.weight",
     HEARTH_SIDE_HIDDEN, HEARTH_SIDE_ONE},
    {HEARTH_TENSOR_Q, LAYER, ".self_attn.q_proj.weight",
     HEARTH_SIDE_QUERY, HEARTH_SIDE_HIDDEN},
    {HEARTH_TENSOR_K, LAYER, ".self_attn.k_proj.weight",
     HEARTH_SIDE_KV, HEARTH_SIDE_HIDDEN},
    {HEARTH_TENSOR_V, LAYER, ".self_attn.v_proj.weight",
     HEARTH_SIDE_KV, HEARTH_SIDE_HIDDEN},
    {HEARTH_TENSOR_O, LAYER, ".self_attn.o_proj.weight",
     HEARTH_SIDE_HIDDEN, HEARTH_SIDE_QUERY},
    {HEARTH_TENSOR_NORM_MLP, LAYER, ".post_attention_layernorm.weight",
     HEARTH_SIDE_HIDDEN, HEARTH_SIDE_ONE},
    {HEARTH_TENSOR_GATE, LAYER, ".mlp.gate_proj.weight",
     HEARTH_SIDE_FFN, HEARTH_SIDE_HIDDEN},
    {HEARTH_TENSOR_UP, LAYER, ".mlp.up_proj.weight",
     HEARTH_SIDE_FFN, HEARTH_SIDE_HIDDEN},
    {HEARTH_TENSOR_DOWN, LAYER, ".mlp.down_proj.weight",
     HEARTH_SIDE_HIDDEN, HEARTH_SIDE_FFN},
    {HEARTH_TENSOR_NORM_FINAL, "model.norm.weight", NULL,
     HEARTH_SIDE_HIDDEN, HEARTH_SIDE_ONE},
    {HEARTH_TENSOR_HEAD, "lm_head.weight", NULL,
     HEARTH_SIDE_VOCAB, HEARTH_SIDE_HIDDEN},
};

static const hearth_family_field llama_fields[] = {
    {"architectures", HEARTH_FIELD_READ},
    {"model_type", HEARTH_FIELD_READ},
    {"vocab_size", HEARTH_FIELD_READ},
    {"hidden_size", HEARTH_FIELD_READ},
    {"intermediate_size", HEARTH_FIELD_READ},
    {"num_hidden_layers", HEARTH_FIELD_READ},
    {"num_attention_heads", HEARTH_FIELD_READ},
    {"num_key_value_heads", HEARTH_FIELD_READ},
    {"head_dim", HEARTH_FIELD_READ},
    {"max_position_embeddings", HEARTH_FIELD_READ},
    {"rms_norm_eps", HEARTH_FIELD_READ},
    {"rope_theta", HEARTH_FIELD_READ},
    {"rope_parameters", HEARTH_FIELD_READ},
    {"rope_scaling", HEARTH_FIELD_READ},
    {"hidden_act", HEARTH_FIELD_READ},
    {"tie_word_embeddings", HEARTH_FIELD_READ},
    {"initializer_range", HEARTH_FIELD_READ},
    {"bos_token_id", HEARTH_FIELD_READ},
    {"eos_token_id", HEARTH_FIELD_READ},
    {"pad_token_id", HEARTH_FIELD_READ},
    {"attention_bias", HEARTH_FIELD_FALSE},
    {"mlp_bias", HEARTH_FIELD_FALSE},
    {"rope_interleaved", HEARTH_FIELD_FALSE},
    {"use_sliding_window", HEARTH_FIELD_FALSE},
    {"add_cross_attention", HEARTH_FIELD_FALSE},
    {"is_encoder_decoder", HEARTH_FIELD_FALSE},
    {"attention_dropout", HEARTH_FIELD_ZERO},
    {"resid_dropout", HEARTH_FIELD_ZERO},
    {"partial_rotary_factor", HEARTH_FIELD_ONE},
    {"sliding_window", HEARTH_FIELD_NULL},
    {"quantization_config", HEARTH_FIELD_NULL},
    {"attn_logit_softcapping", HEARTH_FIELD_NULL},
    {"final_logit_softcapping", HEARTH_FIELD_NULL},
    {"pruned_heads", HEARTH_FIELD_IGNORE},
    {"_name_or_path", HEARTH_FIELD_IGNORE},
    {"_attn_implementation", HEARTH_FIELD_IGNORE},
    {"chunk_size_feed_forward", HEARTH_FIELD_IGNORE},
    {"dtype", HEARTH_FIELD_IGNORE},
    {"finetuning_task", HEARTH_FIELD_IGNORE},
    {"id2label", HEARTH_FIELD_IGNORE},
    {"is_decoder", HEARTH_FIELD_IGNORE},
    {"is_llama_config", HEARTH_FIELD_IGNORE},
    {"label2id", HEARTH_FIELD_IGNORE},
    {"max_window_layers", HEARTH_FIELD_IGNORE},
    {"output_attentions", HEARTH_FIELD_IGNORE},
    {"output_hidden_states", HEARTH_FIELD_IGNORE},
    {"pretraining_tp", HEARTH_FIELD_IGNORE}, /* how a sum is split */
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

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const hearth_family families[] = {
    {"LlamaForCausalLM", "llama", llama_tensors, COUNT(llama_tensors),
     llama_fields, COUNT(llama_fields)},
};
/* clang-format on */

const hearth_family *hearth_family_all(size_t *n) {
    *n = COUNT(families);
    return families;
}

const hearth_family *hearth_family_find(const char *architecture) {
    for (size_t i = 0; i < COUNT(families); i++)
        if (strcmp(families[i].architecture, architecture) == 0)
            return &families[i];
    return NULL;
}

uint32_t hearth_family_side(const hearth_model_config *c, hearth_side side) {
    switch (side) {
    case HEARTH_SIDE_ONE: return 1;
    case HEARTH_SIDE_VOCAB: return c->vocab_size;
    case HEARTH_SIDE_HIDDEN: return c->hidden_size;
    case HEARTH_SIDE_FFN: return c->ffn_size;
    case HEARTH_SIDE_QUERY: return c->n_heads * c->head_dim;
    case HEARTH_SIDE_KV: return c->n_kv_heads * c->head_dim;
    }
    return 0;
}

# SPDX-License-Identifier: Apache-2.0
"""The published shapes that the training benchmark runs, with random weights.

Sources: config.json of openai-community/gpt2, Qwen/Qwen2.5-0.5B,
google/gemma-3-270m and meta-llama/Llama-3.2-1B.
"""

LLAMA3_ROPE = {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
               "original_max_position_embeddings": 8192, "rope_type": "llama3"}

SHAPES = {
    "gpt2": {
        "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2",
        "activation_function": "gelu_new", "n_ctx": 1024, "n_positions": 1024,
        "n_embd": 768, "n_head": 12, "n_layer": 12, "vocab_size": 50257,
        "layer_norm_epsilon": 1e-5},
    "qwen2": {
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2",
        "hidden_act": "silu", "hidden_size": 896, "intermediate_size": 4864,
        "max_position_embeddings": 32768, "num_attention_heads": 14,
        "num_hidden_layers": 24, "num_key_value_heads": 2,
        "rms_norm_eps": 1e-6, "rope_theta": 1000000.0,
        "tie_word_embeddings": True, "use_sliding_window": False,
        "vocab_size": 151936},
    "gemma3": {
        "architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text",
        "head_dim": 256, "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": 640, "intermediate_size": 2048,
        "layer_types": [("full" if i % 6 == 5 else "sliding") + "_attention"
                        for i in range(18)],
        "max_position_embeddings": 32768, "num_attention_heads": 4,
        "num_hidden_layers": 18, "num_key_value_heads": 1,
        "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-6,
        "rope_local_base_freq": 10000.0, "rope_theta": 1000000.0,
        "sliding_window": 512, "vocab_size": 262144},
    "llama": {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama",
        "head_dim": 64, "hidden_act": "silu", "hidden_size": 2048,
        "intermediate_size": 8192, "max_position_embeddings": 131072,
        "num_attention_heads": 32, "num_hidden_layers": 16,
        "num_key_value_heads": 8, "rms_norm_eps": 1e-5,
        "rope_scaling": LLAMA3_ROPE, "rope_theta": 500000.0,
        "tie_word_embeddings": True, "vocab_size": 128256},
}


for shape in SHAPES.values():  # of the tokenizer in deploy/demo/model
    shape |= {"bos_token_id": 0, "eos_token_id": 1}


def products_per_token(c):
    """(weights of the layers, weights of the head): what a token is multiplied
    with; a LoRA step does 4 operations a weight, forward and to the input."""
    if c["model_type"] == "gpt2":
        return 12 * c["n_layer"] * c["n_embd"] ** 2, c["vocab_size"] * c["n_embd"]
    d, heads = c["hidden_size"], c["num_attention_heads"]
    hd = c.get("head_dim", d // heads)
    attention = d * hd * (2 * heads + 2 * c["num_key_value_heads"])
    layer = attention + 3 * d * c["intermediate_size"]
    return c["num_hidden_layers"] * layer, c["vocab_size"] * d

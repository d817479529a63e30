# SPDX-License-Identifier: Apache-2.0
"""Tiny random models of every family, written by transformers.

Each has what its family can have: grouped queries, scaled positions, biases,
windows shorter than the documents.  Every vector is disturbed, so that a norm
or bias that is forgotten shows.
"""
import torch
import transformers

ROTARY = dict(vocab_size=96, hidden_size=48, intermediate_size=80, num_hidden_layers=3,
              num_attention_heads=6, num_key_value_heads=2, head_dim=8,
              max_position_embeddings=256, bos_token_id=1, eos_token_id=2)
TOKENS = 40  # of a document; windows are shorter


def configs(**other):
    """A configuration of each family; other settings go over it."""
    t = transformers

    def of(config, **settings):
        own = {k: v for k, v in other.items() if not k.startswith("n_")}
        return config(**{**ROTARY, **settings, **own})

    return {
        "gpt2": t.GPT2Config(**{**dict(vocab_size=96, n_embd=48, n_layer=3, n_head=6,
                                       n_positions=128, bos_token_id=1, eos_token_id=2),
                                **{k: v for k, v in other.items() if k.startswith("n_")}}),
        "llama": of(t.LlamaConfig, rope_theta=500.0, tie_word_embeddings=False,
                    rope_scaling=dict(rope_type="llama3", factor=4.0, low_freq_factor=1.0,
                                      high_freq_factor=4.0,
                                      original_max_position_embeddings=32)),
        "smollm": of(t.LlamaConfig, tie_word_embeddings=True, rms_norm_eps=1e-5),
        "qwen2": of(t.Qwen2Config, rope_theta=1e6, tie_word_embeddings=True, pad_token_id=0),
        "gemma3": of(t.Gemma3TextConfig, num_hidden_layers=7, sliding_window=8,
                     query_pre_attn_scalar=12, rope_theta=1e5, rope_local_base_freq=1e2,
                     pad_token_id=0, layer_types=None),
        "qwen3": of(t.Qwen3Config, tie_word_embeddings=False),
        "mistral": of(t.MistralConfig, **{"sliding_window": 8}),
        "phi3": of(t.Phi3Config, pad_token_id=0),
    }


FAMILIES = list(configs())


def write(family, folder, seed=1, dtype=torch.float32, save=None, **settings):
    """Write the family's model into folder; returns it in float32."""
    torch.manual_seed(seed)
    config = configs(**settings)[family]
    config.initializer_range = 0.15
    config._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim == 1:
                p.add_(0.2 * torch.randn_like(p))
            else:
                p.add_(0.05 * torch.randn_like(p))
    model.to(dtype).save_pretrained(folder, **(save or {}))
    return model.float().eval()


def load(folder, **settings):
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", **settings).eval()


def ids(seed, n=TOKENS, last=95):
    """n ids from 4 to last - 1: those that are letters (family_kit.letters)."""
    return torch.randint(4, last, (n,), generator=torch.Generator().manual_seed(seed)).tolist()

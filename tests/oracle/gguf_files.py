# SPDX-License-Identifier: Apache-2.0
"""GGUF files of models and adapters as llama.cpp's own converter lays them out,
written with the gguf package; and llama.cpp itself, for logits and for the
block types that the package cannot encode.

The traps are all here: Llama's q and k rows in another order, Gemma's norms
with the 1 added, GPT-2's projections turned round, llama3 scaling as divisors.
"""
import ctypes

import gguf
import numpy
import torch
from family_kit import GPT2, pieces

try:
    import llama_cpp
except ImportError as missing:
    raise SystemExit(f"oracle: {missing}; run sh tests/oracle/setup.sh")

ARCH = {"gpt2": "gpt2", "llama": "llama", "smollm": "llama", "mistral": "llama",
        "qwen2": "qwen2", "qwen3": "qwen3", "gemma3": "gemma3", "phi3": "phi3"}
# What llama.cpp fixes for an architecture, and its files therefore do not say.
SETTINGS = {"gemma3": dict(query_pre_attn_scalar=8, rope_local_base_freq=1e4),
            "mistral": dict(sliding_window=None)}
WIDE = dict(hidden_size=64, intermediate_size=96, num_attention_heads=8,
            n_embd=64, n_head=8)  # columns in whole blocks of 32
WIDEST = dict(hidden_size=256, intermediate_size=512, num_attention_heads=8,
              head_dim=32, query_pre_attn_scalar=32, n_embd=256, n_head=8)  # and of 256


def architecture_name(family):
    return {v: k for k, v in gguf.MODEL_ARCH_NAMES.items()}[ARCH[family]]


def permuted(w, heads):
    """Rows in the order of rotation by neighbours: h, then (half, pair)."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def rope_divisors(config):
    """llama3 scaling by its definition: what each speed is divided by."""
    scaling, turns = config.rope_scaling, numpy.arange(0, config.head_dim, 2) / config.head_dim
    turns = scaling["original_max_position_embeddings"] * config.rope_theta ** -turns / (2 * numpy.pi)
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    keep = numpy.clip((turns - low) / (high - low), 0, 1)
    return (1 / ((1 - keep) / scaling["factor"] + keep)).astype(numpy.float32)


def metadata(w, family, c):
    """The keys that llama.cpp reads."""
    get = lambda *names: next(getattr(c, n) for n in names if getattr(c, n, None) is not None)
    w.add_vocab_size(c.vocab_size)
    w.add_context_length(get("n_positions", "max_position_embeddings"))
    w.add_embedding_length(get("hidden_size"))
    w.add_feed_forward_length(getattr(c, "intermediate_size", None) or 4 * c.hidden_size)
    w.add_block_count(get("num_hidden_layers"))
    w.add_head_count(get("num_attention_heads"))
    w.add_file_type(0)
    if family == "gpt2":
        w.add_layer_norm_eps(c.layer_norm_epsilon)
        return
    head = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
    w.add_head_count_kv(c.num_key_value_heads)
    w.add_layer_norm_rms_eps(c.rms_norm_eps)
    w.add_rope_freq_base(c.rope_theta)
    if family != "gemma3":
        w.add_rope_dimension_count(head)
    if family != "phi3":
        w.add_key_length(head)
        w.add_value_length(head)
    if family == "gemma3":
        w.add_sliding_window(c.sliding_window)
    if family == "phi3":
        w.add_sliding_window(c.sliding_window or c.max_position_embeddings)
        w.add_rope_scaling_orig_ctx_len(c.max_position_embeddings)


def vocabulary(w, n):
    tokens = pieces()
    assert len(tokens) == n
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list(tokens)
    w.add_token_types([gguf.TokenType.NORMAL] * n)
    w.add_token_merges(["! !"])
    w.add_add_bos_token(False)


def tensors(family, model):
    """(name in the file, values) in the file's own order of rows."""
    c = model.config
    names = gguf.get_tensor_name_map(architecture_name(family), c.num_hidden_layers)
    for name, p in model.state_dict().items():
        v = p.float().numpy()
        if name == "lm_head.weight" and c.tie_word_embeddings or name.endswith(".attn.bias"):
            continue
        if family == "gpt2" and name.endswith(GPT2):
            v = v.T
        if ARCH[family] == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
            v = permuted(v, c.num_attention_heads if "q_proj" in name else c.num_key_value_heads)
        if family == "gemma3" and name.endswith("norm.weight"):
            v = v + 1
        stored = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert stored, name
        yield stored, numpy.ascontiguousarray(v)
    if getattr(c, "rope_scaling", None) and ARCH[family] == "llama":
        yield "rope_freqs.weight", rope_divisors(c)


def write(path, family, model, kind="F32"):
    """The model with its matrices as kind; the package can encode F32, F16,
    BF16, Q8_0, Q4_0, Q4_1, Q5_0 and Q5_1."""
    w = gguf.GGUFWriter(str(path), ARCH[family])
    metadata(w, family, model.config)
    vocabulary(w, model.config.vocab_size)
    for name, v in tensors(family, model):
        if v.ndim == 1 or kind == "F32":
            w.add_tensor(name, v)
            continue
        kind_of = gguf.GGMLQuantizationType[kind]
        w.add_tensor(name, gguf.quants.quantize(v, kind_of), raw_dtype=kind_of)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def types(path):
    """How many tensors of each type a file holds."""
    found = {}
    for t in gguf.GGUFReader(str(path)).tensors:
        found[t.tensor_type.name] = found.get(t.tensor_type.name, 0) + 1
    return found


def quantized(source, out, kind):
    """llama.cpp encodes source as kind (Q4_K_M, Q5_K_M, Q6_K)."""
    p = llama_cpp.llama_model_quantize_default_params()
    p.ftype = getattr(llama_cpp, "LLAMA_FTYPE_MOSTLY_" + kind)
    p.nthread = 1
    assert llama_cpp.llama_model_quantize(str(source).encode(), str(out).encode(),
                                          ctypes.byref(p)) == 0


def dequantized(path, family, model):
    """A copy of model whose weights are what the file holds, in their own order."""
    c = model.config
    held = {t.name: gguf.quants.dequantize(t.data, t.tensor_type)
            for t in gguf.GGUFReader(str(path)).tensors}
    names = gguf.get_tensor_name_map(architecture_name(family), c.num_hidden_layers)
    state = {}
    for name, p in model.state_dict().items():
        if name.endswith(".attn.bias"):
            continue
        stored = names.get_name(name, try_suffixes=(".weight", ".bias"))
        v = held[stored if stored in held else "token_embd.weight"]
        if family == "gpt2" and name.endswith(GPT2):
            v = v.T
        if ARCH[family] == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
            heads = c.num_attention_heads if "q_proj" in name else c.num_key_value_heads
            v = v.reshape(heads, v.shape[0] // heads // 2, 2, -1).swapaxes(1, 2).reshape(v.shape)
        if family == "gemma3" and name.endswith("norm.weight"):
            v = v - 1
        state[name] = torch.from_numpy(numpy.array(v, numpy.float32)).reshape(p.shape)
    model.load_state_dict(state, strict=False)
    return model


@llama_cpp.llama_log_callback
def quiet(level, text, data):
    if level >= 4:
        said.append(text.decode(errors="replace"))


said = []  # llama.cpp's errors


class Llama:
    """llama.cpp on a file: logits of all tokens, with an adapter if given."""

    def __init__(self, path, context=128):
        llama_cpp.llama_log_set(quiet, None)
        p = llama_cpp.llama_model_default_params()
        p.n_gpu_layers = 0
        self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), p)
        assert self.model, "".join(said)
        c = llama_cpp.llama_context_default_params()
        c.n_ctx = c.n_batch = c.n_ubatch = context
        c.n_threads = c.n_threads_batch = 1
        c.type_k = c.type_v = 0  # F32
        c.flash_attn_type = 0
        self.context = llama_cpp.llama_init_from_model(self.model, c)
        assert self.context, "".join(said)

    def logits(self, ids, adapter=None):
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)
        if adapter:
            lora = llama_cpp.llama_adapter_lora_init(self.model, str(adapter).encode())
            assert lora, "".join(said)
            loras, scales = (type(lora) * 1)(lora), (ctypes.c_float * 1)(1.0)
            assert llama_cpp.llama_set_adapters_lora(self.context, loras, 1, scales) == 0
        batch = llama_cpp.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for i, t in enumerate(ids):
            batch.token[i], batch.pos[i], batch.n_seq_id[i] = t, i, 1
            batch.seq_id[i][0], batch.logits[i] = 0, 1
        assert llama_cpp.llama_decode(self.context, batch) == 0, "".join(said)
        n = len(ids) * llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))
        out = numpy.ctypeslib.as_array(llama_cpp.llama_get_logits(self.context), (n,)).copy()
        llama_cpp.llama_batch_free(batch)
        return out.reshape(len(ids), -1)

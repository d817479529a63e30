#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The opponent: LoRA steps of the same model folder in plain PyTorch.

  train_peer.py MODEL_DIR IDS.json f32|bf16 keep|recompute

Reads a number of steps a line on stdin, answers with a JSON line: seconds of
each step, the losses, the largest resident set so far.  Needs nothing but
torch, of any version from 1.13 on, and uses the fused operations that the
version has.  The adapter (rank 8, alpha 16, on q, k, v, o) starts at zero, so
the first loss is the base model's and must equal Hearth's.
"""
import json
import math
import pathlib
import resource
import struct
import sys
import time

import torch
import torch.nn.functional as F
import torch.utils.checkpoint

RANK, SCALE = 8, 2.0
DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}


def load(path, dtype):
    """Tensors of a safetensors file by name."""
    data = bytearray(path.read_bytes())
    size, = struct.unpack("<Q", data[:8])
    tensors = {}
    for name, t in json.loads(data[8:8 + size]).items():
        if name != "__metadata__":
            begin, end = (8 + size + at for at in t["data_offsets"])
            flat = torch.frombuffer(data, dtype=DTYPES[t["dtype"]], offset=begin,
                                    count=(end - begin) // DTYPES[t["dtype"]].itemsize
                                    if hasattr(torch.float32, "itemsize")
                                    else math.prod(t["shape"]))
            tensors[name.removeprefix("model.").removeprefix("transformer.")] = \
                flat.reshape(t["shape"]).to(dtype, copy=True)
    return tensors


class Linear:
    """A frozen weight, perhaps with an adapter."""

    def __init__(self, w, bias, adapted, parameters):
        self.w, self.bias, self.a = w, bias, None
        if adapted:
            self.a = torch.nn.Parameter(torch.randn(RANK, w.shape[1]) / math.sqrt(w.shape[1]))
            self.b = torch.nn.Parameter(torch.zeros(w.shape[0], RANK))
            parameters += [self.a, self.b]

    def __call__(self, x):
        y = F.linear(x, self.w, self.bias)
        if self.a is None:
            return y
        a, b = self.a.to(x.dtype), self.b.to(x.dtype)
        return y + F.linear(F.linear(x, a), b * SCALE)


def rms_norm(x, w, eps):
    if hasattr(F, "rms_norm"):
        return F.rms_norm(x, w.shape, w, eps)
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * w


def attention(q, k, v, scale, window):
    """[heads, T, head_dim]; keys and values of fewer heads are repeated."""
    n, times = q.shape[1], q.shape[0] // k.shape[0]
    if times > 1:
        k, v = k.repeat_interleave(times, 0), v.repeat_interleave(times, 0)
    mask = None
    if window and window < n:
        at = torch.arange(n)
        far = at[:, None] - at[None, :]
        mask = (far >= 0) & (far < window)
    if hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=mask,
                                              is_causal=mask is None, scale=scale)[0]
    if mask is None:
        mask = torch.ones(n, n, dtype=torch.bool).tril()
    scores = torch.matmul(q, k.transpose(1, 2)) * scale
    return torch.matmul(torch.softmax(scores.masked_fill(~mask, -math.inf), -1), v)


def split_heads(x, head_dim):
    return x.view(x.shape[0], -1, head_dim).transpose(0, 1)


def merge_heads(x):
    return x.transpose(0, 1).reshape(x.shape[1], -1)


def rotation(theta, head_dim, n, scaling, dtype):
    """cos and sin [n, head_dim]."""
    turn = 1.0 / theta ** (torch.arange(0, head_dim, 2).float() / head_dim)
    if scaling:
        length = 2 * math.pi / turn
        old, low, high = (scaling["original_max_position_embeddings"],
                          scaling["low_freq_factor"], scaling["high_freq_factor"])
        smooth = ((old / length - low) / (high - low)).clamp(0, 1)
        turn = (1 - smooth) * turn / scaling["factor"] + smooth * turn
    angle = torch.outer(torch.arange(n).float(), torch.cat([turn, turn]))
    return angle.cos().to(dtype), angle.sin().to(dtype)


def rotate(x, turn):
    half = x.shape[-1] // 2
    return x * turn[0] + torch.cat([-x[..., half:], x[..., :half]], -1) * turn[1]


class Gpt2:
    def __init__(self, c, t, n, parameters):
        self.c, self.t, self.layers = c, t, []
        self.head = t["wte.weight"]
        for i in range(c["n_layer"]):
            linear = {m: Linear(t[f"h.{i}.{m}.weight"].t().contiguous(), t[f"h.{i}.{m}.bias"],
                                m.startswith("attn"), parameters)
                      for m in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")}
            self.layers.append((i, linear))

    def embed(self, ids):
        return self.t["wte.weight"][ids] + self.t["wpe.weight"][:len(ids)]

    def norm(self, x, name):
        return F.layer_norm(x, x.shape[-1:], self.t[name + ".weight"], self.t[name + ".bias"],
                            self.c["layer_norm_epsilon"])

    def layer(self, x, i, linear):
        hd = self.c["n_embd"] // self.c["n_head"]
        qkv = linear["attn.c_attn"](self.norm(x, f"h.{i}.ln_1")).chunk(3, -1)
        o = attention(*(split_heads(p, hd) for p in qkv), 1 / math.sqrt(hd), 0)
        x = x + linear["attn.c_proj"](merge_heads(o))
        h = linear["mlp.c_fc"](self.norm(x, f"h.{i}.ln_2"))
        return x + linear["mlp.c_proj"](F.gelu(h, approximate="tanh"))

    def last(self, x):
        return self.norm(x, "ln_f")


class Llama:
    """Llama, Qwen2 and Gemma 3."""

    def __init__(self, c, t, n, parameters):
        self.c, self.t, self.layers = c, t, []
        self.gemma = c["model_type"] == "gemma3_text"
        self.head = t.get("lm_head.weight", t["embed_tokens.weight"])
        self.hd = c.get("head_dim", c["hidden_size"] // c["num_attention_heads"])
        self.scale = 1 / math.sqrt(c.get("query_pre_attn_scalar", self.hd))
        if self.gemma:
            for name in t:
                if name.endswith("norm.weight"):
                    t[name] = t[name] + 1
        dtype = self.head.dtype
        turns = {"full": rotation(c["rope_theta"], self.hd, n, c.get("rope_scaling"), dtype)}
        if self.gemma:
            turns["sliding"] = rotation(c["rope_local_base_freq"], self.hd, n, None, dtype)
        for i in range(c["num_hidden_layers"]):
            kind = c["layer_types"][i].split("_")[0] if self.gemma else "full"
            linear = {m: Linear(t[f"layers.{i}.{m}.weight"], t.get(f"layers.{i}.{m}.bias"),
                                m.startswith("self_attn"), parameters)
                      for m in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                                "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj",
                                "mlp.down_proj")}
            window = c["sliding_window"] if kind == "sliding" else 0
            self.layers.append((i, linear, turns[kind], window))

    def embed(self, ids):
        x = self.t["embed_tokens.weight"][ids]
        return x * math.sqrt(self.c["hidden_size"]) if self.gemma else x

    def norm(self, x, name):
        return rms_norm(x, self.t[name + ".weight"], self.c["rms_norm_eps"])

    def layer(self, x, i, linear, turn, window):
        at = f"layers.{i}."
        h = self.norm(x, at + "input_layernorm")
        q, k, v = (split_heads(linear[f"self_attn.{m}_proj"](h), self.hd) for m in "qkv")
        if self.gemma:
            q = self.norm(q, at + "self_attn.q_norm")
            k = self.norm(k, at + "self_attn.k_norm")
        o = attention(rotate(q, turn), rotate(k, turn), v, self.scale, window)
        o = linear["self_attn.o_proj"](merge_heads(o))
        x = x + (self.norm(o, at + "post_attention_layernorm") if self.gemma else o)
        h = self.norm(x, at + ("pre_feedforward_layernorm" if self.gemma
                               else "post_attention_layernorm"))
        gate, up = linear["mlp.gate_proj"](h), linear["mlp.up_proj"](h)
        gate = F.gelu(gate, approximate="tanh") if self.gemma else F.silu(gate)
        m = linear["mlp.down_proj"](gate * up)
        return x + (self.norm(m, at + "post_feedforward_layernorm") if self.gemma else m)

    def last(self, x):
        return self.norm(x, "norm")


def loss_of(model, ids, recompute):
    x = model.embed(ids)
    if recompute:
        x.requires_grad_()
    for layer in model.layers:
        if recompute:
            x = torch.utils.checkpoint.checkpoint(model.layer, x, *layer, use_reentrant=False)
        else:
            x = model.layer(x, *layer)
    logits = F.linear(model.last(x)[:-1], model.head)
    return F.cross_entropy(logits.float(), ids[1:])


def main():
    folder, ids, dtype, keep = sys.argv[1:5]
    folder = pathlib.Path(folder)
    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[dtype]
    config = json.loads((folder / "config.json").read_text())
    ids = torch.tensor(json.loads(pathlib.Path(ids).read_text()))
    parameters = []
    torch.set_num_threads(int(sys.argv[5]) if len(sys.argv) > 5 else 2)
    tensors = load(folder / "model.safetensors", dtype)
    family = Gpt2 if config["model_type"] == "gpt2" else Llama
    model = family(config, tensors, len(ids), parameters)
    optimizer = torch.optim.AdamW(parameters, lr=2e-4)
    print(json.dumps({"torch": torch.__version__}), flush=True)
    for line in sys.stdin:
        seconds, losses = [], []
        for _ in range(int(line)):
            began = time.perf_counter()
            optimizer.zero_grad()
            loss = loss_of(model, ids, keep == "recompute")
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            seconds.append(time.perf_counter() - began)
        rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"seconds": seconds, "loss": losses, "rss_mib": rss}), flush=True)


if __name__ == "__main__":
    main()

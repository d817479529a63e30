#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write adamw.txt and train_curve.txt beside this file.

Made with torch 2.13.0 (CPU), float64 for the model and float32 for the first
optimizer block; python3 tests/golden/make_train_goldens.py DATA, where DATA
holds models/stories260K.  The C side of the same definitions is in
tests/golden/test_golden_train_curve.c and tests/unit/test_optimizer.c.
"""
import hashlib
import hmac
import json
import math
import pathlib
import struct
import sys

import torch

HERE = pathlib.Path(__file__).parent
torch.set_num_threads(1)


def hexes(values):
    return " ".join(float(v).hex() for v in values)


# ---- AdamW on made-up gradients, float32, against torch.optim.AdamW ----

def lcg(seed):
    while True:
        seed = (seed * 1664525 + 1013904223) % 2**32
        yield (seed >> 8) / 2**23 - 1.0


def adamw():
    lines = ["# torch.optim.AdamW, float32: lr 3e-2, betas 0.9 0.99, eps 1e-8,",
             "# weight decay 0.1; gradient clipped to norm 1.5; 7 values; lcg"]
    gen = lcg(137)
    w = torch.nn.Parameter(torch.tensor([next(gen) for _ in range(7)]))
    opt = torch.optim.AdamW([w], lr=3e-2, betas=(0.9, 0.99), eps=1e-8,
                            weight_decay=0.1, foreach=False)
    for _ in range(12):
        w.grad = torch.tensor([3.0 * next(gen) for _ in range(7)])
        norm = torch.nn.utils.clip_grad_norm_([w], 1.5)
        opt.step()
        lines.append(f"{float(norm).hex()} {hexes(w.detach())}")
    (HERE / "adamw.txt").write_text("\n".join(lines) + "\n")


# ---- a LoRA training curve on stories260K ----

def load(path):
    raw = path.read_bytes()
    n = struct.unpack("<Q", raw[:8])[0]
    head = json.loads(raw[8:8 + n])
    out = {}
    for name, t in head.items():
        if name == "__metadata__":
            continue
        b, e = t["data_offsets"]
        x = torch.frombuffer(bytearray(raw[8 + n + b:8 + n + e]),
                             dtype=torch.float32)
        out[name] = x.reshape(t["shape"]).double()
    return out


def a_from_seed(number, module, rank, width):
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    seed = hashlib.sha256(b"hearth.seed.v1:" + struct.pack("<Q", number)).digest()
    key = hmac.new(seed, b"hearth.lora_a.v1:" + module.encode(),
                   hashlib.sha256).digest()
    c = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    words = struct.unpack(f"<{rank * width}I", c.update(bytes(4 * rank * width)))
    v = [(2 * (w >> 8) + 1 - 2**24) * 2.0**-24 / math.sqrt(width) for w in words]
    return torch.tensor(v, dtype=torch.float32).double().reshape(rank, width)


def rms(x, w, eps):
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps) * w


def rope(x, theta):
    n, _, d = x.shape
    half = d // 2
    f = theta ** (-torch.arange(half, dtype=torch.float64) / half)
    ang = torch.arange(n, dtype=torch.float64)[:, None] * f
    c, s = torch.cos(ang)[:, None], torch.sin(ang)[:, None]
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * c - b * s, b * c + a * s], -1)


class Model:
    def __init__(self, folder):
        self.c = json.loads((folder / "config.json").read_text())
        self.w = load(folder / "model.safetensors")
        self.lora = {}

    def linear(self, x, module):
        y = x @ self.w[module + ".weight"].T
        if module in self.lora:
            a, b, scale = self.lora[module]
            y = y + (x @ a.T) @ b.T * scale
        return y

    def logits(self, ids):
        c, w = self.c, self.w
        h, kv, d = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"]
        n = len(ids)
        x = w["model.embed_tokens.weight"][torch.tensor(ids)]
        mask = torch.full((n, n), -math.inf, dtype=torch.float64).triu(1)
        for i in range(c["num_hidden_layers"]):
            p = f"model.layers.{i}."
            y = rms(x, w[p + "input_layernorm.weight"], c["rms_norm_eps"])
            q = rope(self.linear(y, p + "self_attn.q_proj").view(n, h, d), c["rope_theta"])
            k = rope(self.linear(y, p + "self_attn.k_proj").view(n, kv, d), c["rope_theta"])
            v = self.linear(y, p + "self_attn.v_proj").view(n, kv, d)
            k = k.repeat_interleave(h // kv, 1)
            v = v.repeat_interleave(h // kv, 1)
            s = torch.einsum("qhd,khd->hqk", q, k) / math.sqrt(d) + mask
            o = torch.einsum("hqk,khd->qhd", s.softmax(-1), v).reshape(n, h * d)
            x = x + self.linear(o, p + "self_attn.o_proj")
            y = rms(x, w[p + "post_attention_layernorm.weight"], c["rms_norm_eps"])
            g = self.linear(y, p + "mlp.gate_proj")
            u = self.linear(y, p + "mlp.up_proj")
            x = x + self.linear(g * torch.sigmoid(g) * u, p + "mlp.down_proj")
        x = rms(x, w["model.norm.weight"], c["rms_norm_eps"])
        return x @ w["model.embed_tokens.weight"].T

    def loss_sum(self, ids, labels):
        logits = self.logits(ids)
        at = [i for i, y in enumerate(labels) if y >= 0]
        want = torch.tensor([labels[i] for i in at])
        return torch.nn.functional.cross_entropy(logits[at], want, reduction="sum"), len(at)


def document(k):
    """Tokens of made-up record k, and its labels: the first third is prompt."""
    n = 12 + 5 * (k % 4)
    ids = [1] + [3 + (i * i * 7 + 11 * k + 29 * i) % 500 for i in range(1, n)]
    labels = [ids[i + 1] if i + 1 < n and i >= n // 3 else -1 for i in range(n)]
    return ids, labels


def curve(data):
    m = Model(data / "models" / "stories260K")
    params = []
    for i in range(m.c["num_hidden_layers"]):
        for t, out in (("q_proj", 64), ("v_proj", 32)):
            module = f"model.layers.{i}.self_attn.{t}"
            a = torch.nn.Parameter(a_from_seed(5, module, 4, 64))
            b = torch.nn.Parameter(torch.zeros(out, 4, dtype=torch.float64))
            m.lora[module] = (a, b, 8.0 / 4)
            params += [a, b]
    opt = torch.optim.AdamW(params, lr=1.0, weight_decay=0.01)
    lines = ["# torch float64: stories260K, LoRA r 4 alpha 8 on q_proj v_proj, A of",
             "# seed 5; 6 records in order, batch 2, accum 2, AdamW wd 0.01, clip",
             "# 1.0, cosine with 3 warmup steps of 20 to 1e-2; a step a line:",
             "# loss, gradient norm before clipping, rate"]
    steps, warmup, peak, cursor = 20, 3, 1e-2, 0
    for step in range(1, steps + 1):
        loss, n = 0.0, 0
        for _ in range(4):
            part, k = m.loss_sum(*document(cursor % 6))
            loss, n, cursor = loss + part, n + k, cursor + 1
        opt.zero_grad()
        (loss / n).backward()
        norm = torch.nn.utils.clip_grad_norm_(params, 1.0)
        if step <= warmup:
            lr = peak * step / warmup
        else:
            p = (step - warmup - 1) / (steps - warmup)
            lr = peak * 0.5 * (1 + math.cos(math.pi * p))
        for group in opt.param_groups:
            group["lr"] = lr
        opt.step()
        lines.append(f"{(loss.item() / n).hex()} {norm.item().hex()} {lr.hex()}")
    flat = torch.cat([p.detach().flatten() for p in params])
    lines.append("# L2 norm of all trained values at the end, then the first 8 of"
                 " the last B")
    lines.append(f"{flat.norm().item().hex()} {hexes(params[-1].detach().flatten()[:8])}")
    (HERE / "train_curve.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    adamw()
    curve(pathlib.Path(sys.argv[1]))

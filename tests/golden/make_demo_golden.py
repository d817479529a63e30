#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write demo_golden.txt and demo_golden.safetensors beside this file, for the
demo's base model: logits, loss, gradients and a training curve.

  python3 tests/golden/make_demo_golden.py [MODEL]     (deploy/demo/model)

Made with torch 2.13.0 (CPU, float64) and tokenizers 0.22.2; where transformers
(4.57) is installed too, its float32 logits are compared first.  The C side
of the same definitions is in test_golden_demo.c.
"""
import hashlib
import importlib.util
import math
import pathlib
import sys

import numpy
import torch
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from make_train_goldens import HERE, Model, hexes, lcg

# Two that read like the diaries the model learned, then unlike ones.
TEXTS = [
    "Log: How did you sleep? I slept bad and woke before morning then I walked "
    "home. My heart was calm at 58 by noon.",
    "Log: Are you well? A long day of work and we felt tired.",
    "Went for a run in the rain and felt great after it.",
    "Only 2100 steps today because my knee hurts. A bit sad, to be honest.",
    "Na\u00efve plan: caf\u00e9 at 17:00, no sleep until 2. Tired \U0001F634 but happy!",
    "We danced.",
]
RANK, ALPHA, TARGETS = 4, 8.0, (("q_proj", "q"), ("v_proj", "v"))
WHOLE = ["model.norm.weight"] + [
    f"model.layers.{i}.{t}.weight" for i, t in (
        (0, "input_layernorm"), (0, "self_attn.k_proj"),
        (0, "post_attention_layernorm"), (0, "self_attn.v_proj"))]
PROJECTIONS = 8


def signs(n):
    """[PROJECTIONS, n] of +1 and -1: bits of a 32-bit mix of the index."""
    h = numpy.arange(n, dtype=numpy.uint32)
    h = (h ^ (h >> numpy.uint32(16))) * numpy.uint32(0x7FEB352D)
    h = (h ^ (h >> numpy.uint32(15))) * numpy.uint32(0x846CA68B)
    h ^= h >> numpy.uint32(16)
    bits = [(h >> numpy.uint32(j)) & numpy.uint32(1) for j in range(PROJECTIONS)]
    return numpy.array(bits, dtype=numpy.float64) * 2 - 1


def add_lora(model, seed, b_scale):
    """Factors on q and v of every layer, from one lcg, in canonical order."""
    gen, c, params = lcg(seed), model.c, []
    width, model.lora = c["hidden_size"], {}
    for i in range(c["num_hidden_layers"]):
        for target, _ in TARGETS:
            module = f"model.layers.{i}.self_attn.{target}"
            out = model.w[module + ".weight"].shape[0]
            a = [next(gen) * 0.125 for _ in range(RANK * width)]
            b = [next(gen) * b_scale for _ in range(out * RANK)]
            a = torch.tensor(a, dtype=torch.float64).reshape(RANK, width)
            b = torch.tensor(b, dtype=torch.float64).reshape(out, RANK)
            pair = [torch.nn.Parameter(a), torch.nn.Parameter(b)]
            model.lora[module] = (*pair, ALPHA / RANK)
            params += [(module + ".lora_A.weight", pair[0]),
                       (module + ".lora_B.weight", pair[1])]
    return params


def next_labels(ids):
    return ids[1:] + [-1]


def f32(x):
    return numpy.ascontiguousarray(x.detach().numpy().astype(numpy.float32))


def full_gradients(model, ids, lines, arrays):
    for w in model.w.values():
        w.requires_grad_(True)
    arrays["logits"] = f32(model.logits(ids))
    loss, n = model.loss_sum(ids, next_labels(ids))
    (loss / n).backward()
    lines.append(f"loss {(loss.item() / n).hex()}")
    for name, w in model.w.items():
        g = w.grad.numpy().ravel()
        lines.append(f"grad {name} {float(numpy.linalg.norm(g)).hex()} "
                     + hexes(signs(g.size) @ g))
        if name in WHOLE:
            arrays["grad." + name] = f32(w.grad)
        w.requires_grad_(False)


def lora_gradients(model, ids, lines, arrays):
    params = add_lora(model, 20, 0.0625)
    arrays["lora_logits"] = f32(model.logits(ids)[-8:])
    loss, n = model.loss_sum(ids, next_labels(ids))
    (loss / n).backward()
    lines.append(f"lora_loss {(loss.item() / n).hex()}")
    for name, p in params:
        arrays["loragrad." + name] = f32(p.grad)


def curve(model, docs, lines):
    """20 steps of AdamW, batch 2, accum 2, the documents in order."""
    params = [p for _, p in add_lora(model, 21, 0.0)]
    opt = torch.optim.AdamW(params, lr=1.0, weight_decay=0.01)
    steps, warmup, peak, cursor = 20, 3, 1e-2, 0
    for step in range(1, steps + 1):
        loss, n = 0.0, 0
        for _ in range(4):
            ids = docs[cursor % len(docs)]
            part, k = model.loss_sum(ids, next_labels(ids))
            loss, n, cursor = loss + part, n + k, cursor + 1
        opt.zero_grad()
        (loss / n).backward()
        norm = torch.nn.utils.clip_grad_norm_(params, 1.0)
        part = (step - warmup - 1) / (steps - warmup)
        rate = (peak * step / warmup if step <= warmup
                else peak * 0.5 * (1 + math.cos(math.pi * part)))
        for group in opt.param_groups:
            group["lr"] = rate
        opt.step()
        lines.append(f"step {(loss.item() / n).hex()} {norm.item().hex()}")
    flat = torch.cat([p.detach().flatten() for p in params])
    lines.append(f"end {flat.norm().item().hex()}")


def check_transformers(folder, model, ids):
    if not importlib.util.find_spec("transformers"):
        print("transformers is not here: its logits were not compared")
        return
    from transformers import LlamaForCausalLM
    theirs = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        diff = theirs(torch.tensor([ids])).logits[0].double() - model.logits(ids)
    print(f"largest difference to transformers' logits: {diff.abs().max():.2g}")
    assert diff.abs().max() < 1e-3


def main():
    root = HERE.resolve().parent.parent
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1
                          else root / "deploy" / "demo" / "model")
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes())
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    docs = [tokenizer.encode(t).ids for t in TEXTS]
    model, arrays = Model(folder), {}
    lines = ["# make_demo_golden.py: torch float64; hex floats; see test_golden_demo.c",
             f"model {digest.hexdigest()}"]
    for text, ids in zip(TEXTS, docs):
        lines += [f"text {text}", "ids " + " ".join(map(str, ids))]
    check_transformers(folder, model, docs[0])
    full_gradients(model, docs[0], lines, arrays)
    lora_gradients(model, docs[0], lines, arrays)
    curve(model, docs, lines)
    (HERE / "demo_golden.txt").write_text("\n".join(lines) + "\n")
    out = HERE / "demo_golden.safetensors"
    save_file(arrays, out)
    out.chmod(0o644)
    print(f"tokens {[len(d) for d in docs]}, {out.stat().st_size} bytes of tensors")


main()

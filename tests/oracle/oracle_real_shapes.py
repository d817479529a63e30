#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The shapes of published models, with random weights, against transformers
and PEFT: logits within 1e-4, gradients within 1e-3, on 32 tokens; gradients of
products in bfloat16 against ours in f32: a cosine of 0.999 for each tensor.

  oracle_real_shapes.py [NAME..]     (all but those of MORE)

Configurations are those of the test data.  Weights lie in a temporary folder,
one model at a time, and are removed.
"""
import json
import pathlib
import resource
import sys
import tempfile
import time

import kit
import numpy
import tiny_models
import torch
from family_kit import (adapted, all_close, close, full_gradients, logits_of, loss_sum,
                        our_gradients, peft_gradients, tokenizer)

SHAPES = {  # family: configuration, type of the weights, checks
    "gpt2": ("gpt2", "f32", "logits full lora bf16"),
    "smollm": ("SmolLM2-135M", "bf16", "logits full lora"),
    "gemma3": ("gemma-3-270m-it", "bf16", "logits lora"),
    "qwen2": ("Qwen2.5-0.5B-Instruct", "bf16", "logits lora"),
}
MORE = {  # by name only: 8 GB of memory
    "llama": ("Llama-3.2-1B", "bf16", "logits lora"),
}
TOKENS = 32
FOREIGN = ("quantization_config", "mask_value")  # of the files' own runtimes


def create(work, source, dtype):
    """The model folder of a shape, and ids that it knows."""
    config = json.loads((kit.DATA / "configs" / f"{source}.config.json").read_text())
    for field in FOREIGN:
        config.pop(field, None)
    (work / "in.json").write_text(json.dumps(config))
    tokenizer(work)
    kit.hearth("model", "create", "--config", work / "in.json", "--tokenizer",
               work / "tokenizer.json", "--seed", 1, "--dtype", dtype, "--out", work / "m")
    return tiny_models.ids(1, TOKENS, config["vocab_size"])


def check_logits(name, work, model, ids):
    worst = close(f"{name}: logits", kit.our_logits(work, work / "m", ids),
                  logits_of(model, ids), 1e-4)
    size = sum(p.numel() for p in model.parameters())
    print(f"{name}: {size / 1e6:.0f} million weights; logits: worst distance {worst:.2g}"
          " (limit 1e-04)", flush=True)
    return model


def check_full(name, work, model, ids):
    """Gradients of all weights."""
    loss = loss_sum(model, [ids])
    loss.backward()
    got, ours = our_gradients(work, work / "m", [ids])
    close("loss", got, loss.item(), 1e-5)
    all_close(f"{name}: gradients", ours, full_gradients(name, model), 1e-3)
    model.zero_grad()
    return model


def check_lora(name, work, model, ids):
    """An adapter on every linear layer."""
    model = adapted(name, model, scale=0.05)
    model.save_pretrained(work / "a")
    loss = loss_sum(model, [ids])
    loss.backward()
    got, ours = our_gradients(work, work / "m", [ids], "--adapter", work / "a")
    close("loss", got, loss.item(), 1e-5)
    all_close(f"{name}: LoRA gradients", ours, peft_gradients(model), 1e-3)
    return model


def check_bf16(name, work, model, ids):
    """The same adapter (check_lora's) with --kernels bf16."""
    flags = ("--adapter", work / "a")
    _, exact = our_gradients(work, work / "m", [ids], *flags)
    _, rough = our_gradients(work, work / "m", [ids], *flags, "--kernels", "bf16")
    cosines = {}
    for tensor, u in exact.items():
        u, v = (x.astype(numpy.float64).ravel() for x in (u, rough[tensor]))
        cosines[tensor] = u @ v / numpy.sqrt((u @ u) * (v @ v))
    worst = min(cosines, key=cosines.get)
    if not cosines[worst] >= 0.999:
        sys.exit(f"{name}: bfloat16: {worst}: cosine {cosines[worst]}")
    print(f"{name}: bfloat16: worst cosine {cosines[worst]:.6f} (limit 0.999)", flush=True)
    return model


CHECKS = {n[6:]: f for n, f in list(globals().items()) if n.startswith("check_")}


def run(name, source, dtype, checks, work):
    began = time.monotonic()
    ids = create(work, source, dtype)
    model = tiny_models.load(work / "m")
    for check in checks.split():
        model = CHECKS[check](name, work, model, ids)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{name}: {time.monotonic() - began:.0f} s; so far at most {memory} MiB here", flush=True)


def main():
    if not (kit.DATA / "configs").is_dir():
        kit.skip(f"no configurations at {kit.DATA}")
    torch.set_num_threads(2)
    for name in sys.argv[1:] or SHAPES:
        with tempfile.TemporaryDirectory() as folder:
            run(name, *{**SHAPES, **MORE}[name], pathlib.Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())

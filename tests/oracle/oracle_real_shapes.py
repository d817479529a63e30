#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The shapes of published models, with random weights, against transformers
and PEFT: logits within 1e-4, gradients within 1e-3, on 32 tokens; LoRA
gradients on the Q8_0 file within 1e-3 of PEFT on the weights that it stands
for; gradients of products in bfloat16, with and without activations stored in
it, against ours in f32: a cosine of 0.999 for each tensor; training on a streamed base against a mapped one: bytes.

  oracle_real_shapes.py [NAME..]          (all but those of MORE)
  oracle_real_shapes.py --all [NAME..]    every check of each shape

Configurations are those of the test data.  Weights lie in a temporary folder,
one model at a time, and are removed.
"""
import json
import pathlib
import resource
import shutil
import sys
import tempfile
import time

import gguf_files
import kit
import numpy
import safetensors.numpy
import tiny_models
import torch
from family_kit import (adapted, all_close, close, full_gradients, letters, logits_of, loss_sum,
                        our_gradients, peft_gradients, tokenizer)

SHAPES = {  # family: configuration, type of the weights, checks
    "gpt2": ("gpt2", "f32", "logits full lora bf16 streamed"),
    "smollm": ("SmolLM2-135M", "bf16", "logits full lora"),
    "gemma3": ("gemma-3-270m-it", "bf16", "logits lora"),
    "qwen2": ("Qwen2.5-0.5B-Instruct", "bf16", "logits lora"),
}
MORE = {  # by name only: 8 GB of memory
    "llama": ("Llama-3.2-1B", "bf16", "logits lora"),
}
AFTER_LORA = ("bf16", "q8_0", "streamed")  # what --all adds
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
    shutil.move(work / "gradients.safetensors", work / "exact.safetensors")
    return model


def same_direction(what, exact, rough):
    """A cosine for each tensor; and the length, which no cosine sees."""
    cosines = {}
    for tensor, u in exact.items():
        u, v = (x.astype(numpy.float64).ravel() for x in (u, rough[tensor]))
        cosines[tensor] = u @ v / numpy.sqrt((u @ u) * (v @ v))
        close(f"{what}: {tensor}", numpy.linalg.norm(v), numpy.linalg.norm(u), 0.05)
    worst = min(cosines, key=cosines.get)
    if not cosines[worst] >= 0.999:
        sys.exit(f"{what}: {worst}: cosine {cosines[worst]}")
    print(f"{what}: worst cosine {cosines[worst]:.6f} (limit 0.999) of {worst}", flush=True)


def check_bf16(name, work, model, ids):
    """The same adapter (check_lora's) with --kernels bf16, and activations kept
    in bfloat16 too."""
    exact = safetensors.numpy.load_file(work / "exact.safetensors")
    flags = ("--adapter", work / "a", "--kernels", "bf16")
    _, rough = our_gradients(work, work / "m", [ids], *flags)
    same_direction(f"{name}: bfloat16", exact, rough)
    _, stored = our_gradients(work, work / "m", [ids], *flags, "--store-bf16")
    same_direction(f"{name}: bfloat16, stored too", exact, stored)
    return model


def check_q8_0(name, work, model, ids):
    """The same adapter on a Q8_0 file, against PEFT on the file's weights as the
    gguf package decodes them, in f32 and in bfloat16."""
    file = quantized(work)
    model = adapted(name, gguf_files.dequantized(file, name, model.unload()), scale=0.05)
    loss = loss_sum(model, [ids])
    loss.backward()
    flags = ("--adapter", work / "a")
    got, ours = our_gradients(work, file, [ids], *flags)
    close("loss", got, loss.item(), 1e-5)
    all_close(f"{name}: LoRA gradients, Q8_0", ours, peft_gradients(model), 1e-3)
    _, rough = our_gradients(work, file, [ids], *flags, "--kernels", "bf16", "--store-bf16")
    same_direction(f"{name}: bfloat16, stored too, Q8_0", ours, rough)
    return model


def quantized(work):
    """The model as a Q8_0 file, made once."""
    file = work / "q8_0.gguf"
    if not file.exists():
        kit.hearth("model", "convert", "--model", work / "m", "--type", "q8_0", "--out", file)
    return file


def check_streamed(name, work, model, ids):
    """A step from check_lora's adapter on a streamed Q8_0 file, and on a mapped
    one, with both computations: the same adapter, byte for byte."""
    file = quantized(work)
    of = lambda folder: safetensors.numpy.load_file(folder / "adapter_model.safetensors")
    records = work / "records.jsonl"
    records.write_text(json.dumps({"text": letters([4 + i % 90 for i in ids])}) + "\n")
    for compute in ("f32", "bf16"):
        made = []
        for weights in ("mapped", "streamed"):
            out = work / f"{compute}_{weights}"
            kit.hearth("train", "--model", file, "--data", records, "--adapter", work / "a",
                       "--out", out, "--steps", 1, "--compute", compute, "--weights", weights)
            made.append((out / "adapter_model.safetensors").read_bytes())
        assert made[0] == made[1], f"{name}: {compute}: streamed differs from mapped"
        before, after = of(work / "a"), of(out)
        assert all((after[n] != v).any() for n, v in before.items()), f"{name}: a tensor stayed"
    print(f"{name}: streamed gives mapped's {len(made[0])} bytes", flush=True)
    return model


CHECKS = {n[6:]: f for n, f in list(globals().items()) if n.startswith("check_")}


def seconds():
    """Of processors, used so far here and by the programs that were run."""
    used = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def run(name, source, dtype, checks, work):
    began = time.monotonic()
    before = seconds()
    ids = create(work, source, dtype)
    model = tiny_models.load(work / "m")
    print(f"-- {name} made: {seconds() - before:.0f} s of processors", flush=True)
    for check in checks.split():
        before = seconds()
        model = CHECKS[check](name, work, model, ids)
        print(f"-- {name} {check}: {seconds() - before:.0f} s of processors", flush=True)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{name}: {time.monotonic() - began:.0f} s; so far at most {memory} MiB here", flush=True)


def main():
    if not (kit.DATA / "configs").is_dir():
        kit.skip(f"no configurations at {kit.DATA}")
    torch.set_num_threads(2)
    names = [a for a in sys.argv[1:] if a != "--all"]
    for name in names or SHAPES:
        source, dtype, checks = {**SHAPES, **MORE}[name]
        if "--all" in sys.argv:
            checks += "".join(f" {c}" for c in AFTER_LORA if c not in checks.split())
        with tempfile.TemporaryDirectory() as folder:
            run(name, source, dtype, checks, pathlib.Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())

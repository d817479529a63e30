#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Our adapters in PEFT, and PEFT's adapters in ours: the same logits.

Needs transformers, peft, torch and $HEARTH_TEST_DATA; $HEARTH is the program.
"""
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

try:
    import numpy
    import torch
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import LlamaForCausalLM
except ImportError as missing:
    print(f"SKIPPED: {missing}")
    sys.exit(77)

HEARTH = os.environ["HEARTH"]
BASE = pathlib.Path(os.environ["HEARTH_TEST_DATA"]) / "models" / "stories260K"
IDS = [1, 403, 407, 261, 378, 432, 383, 286, 261, 376, 298, 315]


def hearth(*args):
    subprocess.run([HEARTH, *map(str, args)], check=True, capture_output=True)


def our_logits(work, adapter):
    out = work / "logits.safetensors"
    hearth("model", "logits", "--model", BASE, "--adapter", adapter, "--ids",
           ",".join(map(str, IDS)), "--out", out)
    raw = out.read_bytes()
    n = struct.unpack("<Q", raw[:8])[0]
    shape = json.loads(raw[8:8 + n])["logits"]["shape"]
    return numpy.frombuffer(raw[8 + n:], "<f4").reshape(shape)


def peft_logits(model):
    with torch.no_grad():
        return model(torch.tensor([IDS])).logits[0].numpy()


def compare(name, ours, theirs, base):
    error = numpy.abs(ours - theirs).max()
    moved = numpy.abs(theirs - base).max()
    print(f"{name}: largest difference {error:.2g}, adapter moves logits by {moved:.2g}")
    assert error < 1e-4 and moved > 0.1, name


def main():
    if not BASE.exists():
        print(f"SKIPPED: no test data at {BASE}")
        return 77
    torch.manual_seed(1)
    load = lambda: LlamaForCausalLM.from_pretrained(BASE, torch_dtype=torch.float32)
    base = peft_logits(load())
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        (work / "d.jsonl").write_text('{"text":"A dog ran home and was happy."}\n')
        for name, flags in (("qv", []), ("all", ["--targets", "all-linear"]),
                            ("last", ["--layers", "last:2", "--targets", "attn"]),
                            ("rslora", ["--rslora", "--rank", "4"])):
            hearth("train", "--model", BASE, "--data", work / "d.jsonl", "--out",
                   work / name, "--steps", 20, "--lr", "1e-2", *flags)
            model = PeftModel.from_pretrained(load(), work / name)
            compare("ours in PEFT, " + name, our_logits(work, work / name),
                    peft_logits(model), base)
        for name, config in (
                ("theirs", LoraConfig(r=4, lora_alpha=12, target_modules=["q_proj", "down_proj"])),
                ("patterns", LoraConfig(r=2, lora_alpha=4, target_modules=["v_proj", "o_proj"],
                                        rank_pattern={"o_proj": 3}, alpha_pattern={"layers.1.self_attn.v_proj": 9}))):
            config.init_lora_weights = False
            model = get_peft_model(load(), config)
            model.save_pretrained(work / name)
            compare("PEFT's in ours, " + name, our_logits(work, work / name),
                    peft_logits(model.eval()), base)
    return 0


sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Our adapters in PEFT, and PEFT's adapters in ours: the same logits.

On the real model of $HEARTH_TEST_DATA; skipped, with a line, without it.
"""
import pathlib
import sys
import tempfile

import kit
import torch
from peft import LoraConfig, PeftModel, get_peft_model

BASE = kit.DATA / "models" / "stories260K"
IDS = [1, 403, 407, 261, 378, 432, 383, 286, 261, 376, 298, 315]


def our_logits(work, adapter):
    return kit.our_logits(work, BASE, IDS, "--adapter", adapter)


def peft_logits(model):
    return kit.their_logits(model, IDS)


def compare(name, ours, theirs, base):
    error = abs(ours - theirs).max()
    moved = abs(theirs - base).max()
    print(f"{name}: largest difference {error:.2g}, adapter moves logits by {moved:.2g}")
    assert error < 1e-4 and moved > 0.1, name


def main():
    if not BASE.exists():
        kit.skip(f"no test data at {BASE}")
    torch.manual_seed(1)
    base = peft_logits(kit.load(BASE))
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        (work / "d.jsonl").write_text('{"text":"A dog ran home and was happy."}\n')
        for name, flags in (("qv", []), ("all", ["--targets", "all-linear"]),
                            ("last", ["--layers", "last:2", "--targets", "attn"]),
                            ("rslora", ["--rslora", "--rank", "4"])):
            kit.hearth("train", "--model", BASE, "--data", work / "d.jsonl", "--out",
                        work / name, "--steps", 20, "--lr", "1e-2", *flags)
            model = PeftModel.from_pretrained(kit.load(BASE), work / name)
            compare("ours in PEFT, " + name, our_logits(work, work / name),
                    peft_logits(model), base)
        for name, config in (
                ("theirs", LoraConfig(r=4, lora_alpha=12, target_modules=["q_proj", "down_proj"])),
                ("patterns", LoraConfig(r=2, lora_alpha=4, target_modules=["v_proj", "o_proj"],
                                        rank_pattern={"o_proj": 3}, alpha_pattern={"layers.1.self_attn.v_proj": 9}))):
            config.init_lora_weights = False
            model = get_peft_model(kit.load(BASE), config)
            model.float().save_pretrained(work / name)
            compare("PEFT's in ours, " + name, our_logits(work, work / name),
                    peft_logits(model.double().eval()), base)
    return 0


sys.exit(main())

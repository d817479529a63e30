#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Small random Llama models as transformers writes them: the same logits.

Each model differs in what a reader of such folders can get wrong: grouping of
heads, width of a head, tied head, number format, scaling of positions.
"""
import json
import pathlib
import tempfile

import kit
import torch
from transformers import LlamaConfig, LlamaForCausalLM

BASE = dict(vocab_size=97, hidden_size=48, intermediate_size=80,
            num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            max_position_embeddings=128, rms_norm_eps=1e-5,
            initializer_range=0.2, bos_token_id=1, eos_token_id=2)
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
          "high_freq_factor": 4.0, "original_max_position_embeddings": 32}

# name: (config, number format, move positions into rope_parameters)
CASES = {
    "heads 4/2": ({}, "float32", False),
    "heads 4/4": ({"num_key_value_heads": 4}, "float32", False),
    "heads 4/1": ({"num_key_value_heads": 1}, "float32", False),
    "heads 6/3, 16 wide": ({"num_attention_heads": 6, "num_key_value_heads": 3,
                            "head_dim": 16}, "float32", False),
    "tied": ({"tie_word_embeddings": True}, "float32", False),
    "bfloat16": ({}, "bfloat16", False),
    "bfloat16, tied": ({"tie_word_embeddings": True}, "bfloat16", False),
    "float16": ({}, "float16", False),
    "one layer, wide": ({"num_hidden_layers": 1, "intermediate_size": 333,
                         "hidden_size": 96}, "float32", False),
    "theta 500000": ({"rope_theta": 500000.0}, "float32", False),
    "theta 500000 in rope_parameters": ({"rope_theta": 500000.0}, "float32", True),
    "linear positions": ({"rope_scaling": {"rope_type": "linear", "factor": 4.0}},
                         "float32", False),
    "llama3 positions": ({"rope_scaling": LLAMA3}, "float32", False),
    "llama3 in rope_parameters": ({"rope_scaling": LLAMA3}, "bfloat16", True),
}


def write(folder, fields, dtype):
    model = LlamaForCausalLM(LlamaConfig(**{**BASE, **fields}))
    with torch.no_grad():  # norms that are all ones would hide a mistake
        for name, p in model.named_parameters():
            if "norm" in name:
                p.uniform_(0.5, 1.5)
    model.to(getattr(torch, dtype)).save_pretrained(folder)


def move_positions(folder):
    """config.json as transformers 5 writes it."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["rope_parameters"] = {
        **(config.pop("rope_scaling", None) or {"rope_type": "default"}),
        "rope_theta": config.pop("rope_theta")}
    path.write_text(json.dumps(config))


def main():
    torch.manual_seed(7)
    ids = torch.randint(0, BASE["vocab_size"], (70,)).tolist()
    with tempfile.TemporaryDirectory() as folder:
        for name, (fields, dtype, move) in CASES.items():
            work = pathlib.Path(folder) / name.replace(" ", "_").replace("/", "_")
            write(work, fields, dtype)
            theirs = kit.their_logits(kit.load(work), ids)
            if move:
                move_positions(work)
            for kernels in ("reference", "auto"):
                ours = kit.our_logits(work, work, ids, "--kernels", kernels)
                kit.expect_close(f"{name}, {kernels}", ours, theirs, 5e-6)


main()

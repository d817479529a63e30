#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write families/FAMILY/ beside this file: a tiny random model of each family,
an adapter, and what transformers and PEFT make of them.

  build/oracle-venv/bin/python3 tests/golden/make_family_goldens.py [FAMILY..]

The models, gradients and curves are those of tests/oracle (tiny_models.py,
family_kit.py, oracle_family.py), only smaller; everything follows from the
seeds here.  golden.safetensors, all F32 (ids too, which are small), holds:
  docs doc_lengths         two documents, longer and shorter than the windows
  logits lora_logits       of the first document's last 16 tokens; with the
                           adapter, of its last 8
  losses                   sums of token losses over both: with the adapter, all
  lora.N full.N            gradients of those, N as Hearth calls the parameter
  records record_lengths curve    20 records; the loss of each of 20 AdamW steps
  prompt.I greedy.I        five prompts and 64 tokens that follow each
  q8_0.*                   logits and gradients on the Q8_0 file's own values
The C side is test_golden_families.c.
"""
import json
import os
import pathlib
import shutil
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "oracle"))
os.environ.setdefault("HEARTH", "none")  # kit.py asks; nothing here runs it
os.environ["HF_HUB_OFFLINE"] = "1"

import gguf_files
import numpy
import safetensors.numpy
import tiny_models
import torch
from family_kit import adapted, full_gradients, logits_of, loss_sum, peft_gradients
from oracle_family import curve

SMALL = dict(hidden_size=16, intermediate_size=24, num_attention_heads=4, num_key_value_heads=2,
             head_dim=8, n_embd=16, n_layer=2, n_head=4)
BLOCKS = dict(hidden_size=32, intermediate_size=32)  # columns that Q8_0 can hold
FAMILIES = {  # settings, type of the weights, the type of a GGUF file
    "gpt2": (dict(seed=3), torch.float16, "F16"),
    "llama": (dict(num_hidden_layers=2, **BLOCKS), torch.float16, "Q8_0"),
    "smollm": (dict(num_hidden_layers=2), torch.bfloat16, None),
    "qwen2": (dict(num_hidden_layers=2, use_sliding_window=True, sliding_window=8,
                   max_window_layers=1), torch.bfloat16, None),
    "gemma3": (dict(), torch.bfloat16, None),
    "qwen3": (dict(num_hidden_layers=2), torch.float16, None),
    "mistral": (dict(num_hidden_layers=2), torch.bfloat16, None),
    "phi3": (dict(num_hidden_layers=2, sliding_window=8), torch.float16, None),
}
DOCS = [tiny_models.ids(1), tiny_models.ids(2, 7)]
RECORDS = [tiny_models.ids(i, 6 + 3 * i % 17) for i in range(20)]
LAST = 16
PROMPTS, NEW, APART = 5, 64, 1e-3  # greedy: how far the best two logits are


def ragged(golden, name, lengths, docs):
    golden[name] = [t for d in docs for t in d]
    golden[lengths] = [len(d) for d in docs]


def gradients(model, what):
    """The loss over DOCS, and gradients by name."""
    model.zero_grad()
    loss = loss_sum(model, DOCS)
    loss.backward()
    return loss.item(), what(model)


def handful(found):
    """Of the full gradients: the embedding, and of layer 0 all vectors and one
    matrix each of attention and MLP."""
    wide = ("embed_tokens.weight", "wte.weight", "k_proj.weight", "qkv_proj.weight",
            "c_attn.weight", "down_proj.weight", "mlp.c_proj.weight")
    return {n: g for n, g in found.items()
            if (g.ndim == 1 or n.endswith(wide))
            and not any(p.isdigit() and p != "0" for p in n.split("."))}


def continuations(model, golden):
    """Prompts whose every next token is clearly the best."""
    taken = 0
    for seed in range(100):
        prompt = tiny_models.ids(seed, 4 + 5 * taken)
        out = model.generate(torch.tensor([prompt]), max_new_tokens=NEW, min_new_tokens=NEW,
                             do_sample=False, eos_token_id=None, pad_token_id=0,
                             output_logits=True, return_dict_in_generate=True)
        best = torch.stack(out.logits)[:, 0].topk(2).values
        if (best[:, 0] - best[:, 1]).min() < APART:
            continue
        golden[f"prompt.{taken}"] = prompt
        golden[f"greedy.{taken}"] = out.sequences[0].tolist()[len(prompt):]
        taken += 1
        if taken == PROMPTS:
            return len({t for i in range(PROMPTS) for t in golden[f"greedy.{i}"]})
    sys.exit("no prompts without ties")


def settings_of(family):
    return {**SMALL, **FAMILIES[family][0]}


def write_base(family, folder):
    """Model folder, and GGUF where there is one; returns the golden's part."""
    _, dtype, kind = FAMILIES[family]
    tiny_models.write(family, folder, dtype=dtype, **settings_of(family))
    model = tiny_models.load(folder)  # the one written has rounded tables of positions
    (folder / "generation_config.json").unlink(missing_ok=True)
    golden = {"logits": logits_of(model, DOCS[0])[-LAST:]}
    full_loss, found = gradients(model, lambda m: full_gradients(family, m))
    golden.update({"full." + n: g for n, g in handful(found).items()})
    used = continuations(model, golden)
    if kind:
        gguf_files.write(folder / "base.gguf", family, model, kind)
    return golden, full_loss, used


def lora_part(family, base, folder=None):
    """The adapter of a base: logits, gradients; saved where folder is given."""
    model = adapted(family, base, r=2, lora_alpha=3)
    if folder:
        model.save_pretrained(folder)
        (folder / "README.md").unlink(missing_ok=True)
        path = folder / "adapter_config.json"
        config = json.loads(path.read_text())
        config["base_model_name_or_path"] = None
        config["target_modules"].sort()  # a set
        path.write_text(json.dumps(config, indent=2) + "\n")
    loss, found = gradients(model, peft_gradients)
    return model, loss, {"lora_logits": logits_of(model, DOCS[0])[-8:],
                         **{"lora." + n: g for n, g in found.items()}}


def make(family, out):
    folder = out / family
    shutil.rmtree(folder, ignore_errors=True)
    golden, full_loss, used = write_base(family, folder)
    ragged(golden, "docs", "doc_lengths", DOCS)
    ragged(golden, "records", "record_lengths", RECORDS)
    model, lora_loss, part = lora_part(family, tiny_models.load(folder),
                                       folder / "adapter")
    golden.update(part)
    golden["losses"] = [lora_loss, full_loss]
    golden["curve"] = curve(model, RECORDS, dict(batch=2, accum=2), 0.1)
    if FAMILIES[family][2] == "Q8_0":
        base = gguf_files.dequantized(folder / "base.gguf", family, tiny_models.load(folder))
        _, loss, part = lora_part(family, base)
        golden.update({"q8_0." + n: v for n, v in part.items()})
        golden["q8_0.losses"] = [loss]
    safetensors.numpy.save_file(
        {n: numpy.ascontiguousarray(torch.as_tensor(v, dtype=torch.float32))
         for n, v in golden.items()}, folder / "golden.safetensors")
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    print(f"{family}: {size} bytes, {len(golden)} tensors, curve {golden['curve'][0]:.4f} to"
          f" {golden['curve'][-1]:.4f}, {used} different tokens in its continuations")
    return size


def main():
    wanted = sys.argv[1:] or list(FAMILIES)
    total = 0
    with tempfile.TemporaryDirectory() as work:
        for family in wanted:
            total += make(family, pathlib.Path(work))
            shutil.rmtree(HERE / "families" / family, ignore_errors=True)
            shutil.copytree(pathlib.Path(work) / family, HERE / "families" / family)
    print(f"{total} bytes in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())

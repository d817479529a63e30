#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One family as GGUF, against transformers, PEFT and llama.cpp:
oracle_gguf.py FAMILY [CHECK]...

The files come from gguf_files.py and llama.cpp, not from Hearth, but for the
check named convert.  llama.cpp looks gelu up in a table of half precision:
the families that have one get a wider limit against it.
"""
import sys

import gguf_files
import kit
import safetensors.numpy
import tiny_models
from family_kit import (adapted, all_close, close, distance, logits_of, loss_sum,
                        our_gradients, peft_gradients, run_checks, targets, tokenizer,
                        write_records)

IDS = tiny_models.ids(5)
DOCS = [tiny_models.ids(1), tiny_models.ids(2, 7)]
PACKAGE_KINDS = ("F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1")
LLAMA_KINDS = ("Q4_K_M", "Q5_K_M", "Q6_K")


def llama_limit(family):
    return 5e-3 if family in ("gpt2", "gemma3") else 2e-5


def settings(family, **more):
    return {**gguf_files.WIDE, **gguf_files.SETTINGS.get(family, {}), **more}


def folder_and_file(family, work, **more):
    """The same model as a folder, as a GGUF, and in transformers."""
    model = tiny_models.write(family, work / "m", **settings(family, **more))
    tokenizer(work / "m")
    gguf_files.write(work / "m.gguf", family, model)
    return model


def check_gguf(family, work):
    """Folder and GGUF F32: the same logits, gradients and trained adapter."""
    model = folder_and_file(family, work)
    folder, file = work / "m", work / "m.gguf"
    ours = kit.our_logits(work, file, IDS)
    print(f"logits, transformers: {close('transformers', ours, logits_of(model, IDS), 2e-5):.2g};"
          f" folder: {close('folder', ours, kit.our_logits(work, folder, IDS), 1e-6):.2g};"
          f" llama.cpp: {close('llama.cpp', ours, gguf_files.Llama(file).logits(IDS), llama_limit(family)):.2g}")
    adapted(family, tiny_models.load(folder)).save_pretrained(work / "a")
    grads = [our_gradients(work, m, DOCS, "--adapter", work / "a")[1] for m in (file, folder)]
    all_close("LoRA gradients, GGUF and folder", *grads, 1e-6)
    write_records(work / "d.jsonl", [tiny_models.ids(i, 20) for i in range(8)])
    values = []
    for name, base in (("file", file), ("folder", folder)):
        kit.hearth("train", "--model", base, "--adapter", work / "a", "--data", work / "d.jsonl",
                   "--out", work / name, "--steps", 20, "--lr", "1e-3", "--batch", 2,
                   "--template", "plain", "--loss-on", "all", "--epochs", 9)
        values.append(safetensors.numpy.load_file(work / name / "adapter_model.safetensors"))
    all_close("adapters trained on them", *({n: v.ravel() for n, v in a.items()} for a in values), 1e-6)


def compare_quantized(what, family, work, file):
    """Gradients on the file against PEFT on the weights that it stands for."""
    base = gguf_files.dequantized(file, family, tiny_models.load(work / "m"))
    logits = close(f"{what}: logits", kit.our_logits(work, file, IDS), logits_of(base, IDS), 2e-5)
    model = adapted(family, base)
    model.save_pretrained(work / "a")
    loss = loss_sum(model, DOCS)
    loss.backward()
    _, ours = our_gradients(work, file, DOCS, "--adapter", work / "a")
    held = " ".join(f"{k} {n}" for k, n in sorted(gguf_files.types(file).items()))
    all_close(f"{what} ({held}): logits {logits:.2g}; LoRA gradients", ours, peft_gradients(model), 1e-3)


def check_quantized(family, work):
    """Every block type, and llama.cpp's own mixtures of them."""
    model = folder_and_file(family, work)
    for kind in PACKAGE_KINDS:
        gguf_files.write(work / "q.gguf", family, model, kind)
        compare_quantized(kind, family, work, work / "q.gguf")
    gguf_files.quantized(work / "m.gguf", work / "q.gguf", "Q4_K_M")
    compare_quantized("Q4_K_M, rows of 64", family, work, work / "q.gguf")
    folder_and_file(family, work, **{**gguf_files.WIDEST, "num_hidden_layers": 2, "n_layer": 2})
    for kind in LLAMA_KINDS:
        gguf_files.quantized(work / "m.gguf", work / "q.gguf", kind)
        compare_quantized(kind, family, work, work / "q.gguf")


# How far a converted weight may be from the folder's: half a step of its type
# (Q4_0 has no step for the largest value of a block's other sign), and the
# rounding of Gemma's 1 + w.
LOST = {"f32": 1e-5, "f16": 2**-11 + 1e-5, "bf16": 2**-8, "q8_0": 6e-3, "q4_0": 0.125}


def check_convert(family, work):
    """`hearth model convert`: what llama.cpp and the gguf package read in it."""
    folder_and_file(family, work)
    folder = tiny_models.load(work / "m").state_dict()
    for kind, lost in LOST.items():
        file = work / f"{kind}.gguf"
        kit.hearth("model", "convert", "--model", work / "m", "--type", kind, "--out", file)
        base = gguf_files.dequantized(file, family, tiny_models.load(work / "m"))
        theirs = logits_of(base, IDS)
        ours = close(kind, kit.our_logits(work, file, IDS), theirs, 2e-5)
        worst = max(close(f"{kind}, {n}", p, folder[n], lost)
                    for n, p in base.state_dict().items())
        # llama.cpp multiplies in the stored type, so it is only near.
        limit = llama_limit(family) if kind == "f32" else 0.2 if kind == "q4_0" else 0.1
        cpp = close(f"{kind}, llama.cpp", gguf_files.Llama(file).logits(IDS), theirs, limit)
        print(f"{kind} ({gguf_files.types(file)}): ours {ours:.2g}, llama.cpp {cpp:.2g},"
              f" weights from the folder {worst:.2g}")


def check_llamacpp(family, work):
    """Our GGUF adapters in llama.cpp, against PEFT and against the merged model."""
    model = folder_and_file(family, work)
    plain, first = logits_of(model, IDS), targets(family)[0]
    cpp = gguf_files.Llama(work / "m.gguf")
    for name, more in (("plain", {}), ("rslora", dict(use_rslora=True)),
                       ("patterns", dict(rank_pattern={first: 2}, alpha_pattern={first: 9}))):
        adapter = adapted(family, tiny_models.load(work / "m"), **more)
        adapter.save_pretrained(work / name)
        theirs = logits_of(adapter, IDS)
        assert distance(plain, theirs) > 0.1, "the adapter changes nothing"
        kit.hearth("adapter", "export", "--adapter", work / name, "--model", work / "m",
                   "--format", "gguf", "--out", work / f"{name}.gguf")
        got = cpp.logits(IDS, work / f"{name}.gguf")
        gguf_files.write(work / "merged.gguf", family, adapter.merge_and_unload())
        merged = gguf_files.Llama(work / "merged.gguf").logits(IDS)
        print(f"{name}: PEFT {close(name, got, theirs, llama_limit(family)):.2g},"
              f" merged {close(name, got, merged, llama_limit(family)):.2g}")


CHECKS = {n[6:]: f for n, f in list(globals().items()) if n.startswith("check_")}

if __name__ == "__main__":
    sys.exit(run_checks(CHECKS))

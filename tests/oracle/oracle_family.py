#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One family against transformers and PEFT: oracle_family.py FAMILY [CHECK]...

Limits are those of the models' acceptance: logits 2e-5, gradients 1e-4, the
loss of each of 20 AdamW steps 1e-4, packed against alone 1e-5, merged 1e-4.
"""
import sys

import kit
import safetensors.numpy
import tiny_models
import torch
from family_kit import (adapted, all_close, close, full_gradients, letters, logits_of,
                        loss_sum, our_gradients, peft_gradients, run_checks, targets, tokenizer,
                        write_records)
from peft import PeftModel

DOCS = [tiny_models.ids(1), tiny_models.ids(2, 7)]  # longer and shorter than the windows


def check_logits(family, work):
    model = tiny_models.write(family, work / "m")
    worst = 0
    for seed, n in ((1, tiny_models.TOKENS), (2, 5), (3, 100)):
        ids = tiny_models.ids(seed, n)
        for kernels in ("auto", "reference"):
            ours = kit.our_logits(work, work / "m", ids, "--kernels", kernels)
            worst = max(worst, close(f"logits of {n}", ours, logits_of(model, ids), 2e-5))
    print(f"logits: worst distance {worst:.2g} (limit 2e-05)")


def check_gradients(family, work):
    """Of every weight, norm, bias and embedding."""
    model = tiny_models.write(family, work / "m")
    loss = loss_sum(model, DOCS)
    loss.backward()
    got_loss, ours = our_gradients(work, work / "m", DOCS)
    close("loss", got_loss, loss.item(), 1e-5)
    all_close("gradients", ours, full_gradients(family, model), 1e-4)


def check_lora(family, work):
    base = tiny_models.write(family, work / "m")
    model = adapted(family, base)
    model.save_pretrained(work / "a")
    loss = loss_sum(model, DOCS)
    loss.backward()
    got_loss, ours = our_gradients(work, work / "m", DOCS, "--adapter", work / "a")
    close("loss", got_loss, loss.item(), 1e-5)
    all_close("LoRA gradients", ours, peft_gradients(model), 1e-4)


def check_packed(family, work):
    tiny_models.write(family, work / "m")
    adapted(family, tiny_models.load(work / "m")).save_pretrained(work / "a")
    docs = [tiny_models.ids(1, 30), tiny_models.ids(2, 3), tiny_models.ids(3, 11)]
    for what, flags in (("weights", ()), ("LoRA", ("--adapter", work / "a"))):
        loss, packed = our_gradients(work, work / "m", docs, *flags)
        alone = [our_gradients(work, work / "m", [d], *flags) for d in docs]
        close("loss", loss, sum(a[0] for a in alone), 1e-5)
        all_close(f"packed against alone, {what}", packed,
                  {n: sum(a[1][n] for a in alone) for n in packed}, 1e-5)


def check_peft(family, work):
    """PEFT's adapter in ours, and ours in PEFT: with patterns and rslora too."""
    base = tiny_models.write(family, work / "m")
    ids, first = tiny_models.ids(5), targets(family)[0]
    plain = logits_of(base, ids)
    for name, settings in (("plain", {}), ("rslora", dict(use_rslora=True)),
                           ("patterns", dict(rank_pattern={first: 2}, alpha_pattern={first: 9}))):
        model = adapted(family, tiny_models.load(work / "m"), **settings)
        model.save_pretrained(work / name)
        theirs = logits_of(model, ids)
        assert abs(theirs - plain).max() > 0.1, "the adapter changes nothing"
        ours = kit.our_logits(work, work / "m", ids, "--adapter", work / name)
        print(f"PEFT's {name} in ours: {close(name, ours, theirs, 2e-5):.2g}")
        back = work / (name + "-back")
        kit.hearth("adapter", "export", "--adapter", work / name, "--model", work / "m",
                   "--format", "peft", "--out", back)
        again = PeftModel.from_pretrained(tiny_models.load(work / "m"), back).eval()
        print(f"ours in PEFT, {name}: {close(name, ours, logits_of(again, ids), 2e-5):.2g}")
    trained(family, work, ids)


def trained(family, work, ids):
    """What `hearth train` writes with the family's own targets, in PEFT."""
    tokenizer(work / "m")
    write_records(work / "d.jsonl", [tiny_models.ids(i, 20) for i in range(4)])
    for wanted in ("auto", "attn", "all-linear"):
        kit.hearth("train", "--model", work / "m", "--data", work / "d.jsonl", "--out",
                   work / wanted, "--steps", 5, "--lr", "1e-2", "--targets", wanted)
        again = PeftModel.from_pretrained(tiny_models.load(work / "m"), work / wanted).eval()
        ours = kit.our_logits(work, work / "m", ids, "--adapter", work / wanted)
        print(f"trained, targets {wanted}, in PEFT: "
              f"{close(wanted, ours, logits_of(again, ids), 2e-5):.2g}")


def curve(model, docs, settings, decay):
    """Their losses of 20 steps: sums of token losses over the step's tokens.
    Norms and biases do not decay, as in transformers' own trainer."""
    params = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW([
        {"params": [p for p in params if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in params if p.ndim == 1], "weight_decay": 0.0}], lr=5e-3)
    batch, losses = settings["batch"] * settings["accum"], []
    for s in range(20):
        taken = [docs[(batch * s + i) % len(docs)] for i in range(batch)]
        optimizer.zero_grad()
        loss = loss_sum(model, taken) / sum(len(d) - 1 for d in taken)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


def compare_curve(what, family, work, model, settings, *flags):
    docs = [tiny_models.ids(i, 6 + 3 * i % 17) for i in range(20)]
    write_records(work / "d.jsonl", docs)
    steps = [e for e in kit.events(
        "train", "--model", work / "m", "--data", work / "d.jsonl", "--out", work / what,
        "--steps", 20, "--lr", "5e-3", "--weight-decay", "0.1", "--batch", settings["batch"],
        "--accum", settings["accum"], "--seq", 64, "--no-shuffle", "--clip-grad", "1.0",
        "--template", "plain", "--loss-on", "all", "--epochs", 9, *flags) if e["event"] == "step"]
    theirs = curve(model.eval(), docs, settings, 0.1)
    assert len(steps) == 20 and theirs[-1] < theirs[0]
    worst = max(close(f"{what}: loss of step {i + 1}", s["loss"], t, 1e-4)
                for i, (s, t) in enumerate(zip(steps, theirs)))
    print(f"{what}: 20 losses, {theirs[0]:.4f} to {theirs[-1]:.4f}:"
          f" worst distance {worst:.2g} (limit 1e-04)")


def check_curve(family, work):
    """20 AdamW steps from the same adapter over the same records, in order:
    packed, accumulated, one record at a time."""
    tiny_models.write(family, work / "m")
    tokenizer(work / "m")
    for what, settings, flags in (("packed", dict(batch=4, accum=1), ()),
                                  ("accumulated", dict(batch=2, accum=2), ()),
                                  ("alone", dict(batch=1, accum=3), ("--no-pack",))):
        model = adapted(family, tiny_models.load(work / "m"))
        model.save_pretrained(work / "a")
        compare_curve(what, family, work, model, settings, "--adapter", work / "a", *flags)


def check_full(family, work):
    """20 AdamW steps of all weights, and the folder that is written."""
    model = tiny_models.write(family, work / "m")
    tokenizer(work / "m")
    compare_curve("full", family, work, model, dict(batch=2, accum=2), "--mode", "full")
    ids = tiny_models.ids(8)
    ours = kit.our_logits(work, work / "full", ids)
    again = logits_of(tiny_models.load(work / "full"), ids)
    print(f"what we wrote, in transformers: {close('written', ours, again, 2e-5):.2g};"
          f" against their training: {close('trained', ours, logits_of(model, ids), 1e-2):.2g}")


def check_greedy(family, work):
    model = tiny_models.write(family, work / "m")
    tokenizer(work / "m")
    kinds = set()
    for seed in range(5):
        prompt = tiny_models.ids(seed, 4 + 5 * seed)
        with torch.no_grad():
            theirs = model.generate(torch.tensor([prompt]), max_new_tokens=64, min_new_tokens=64,
                                    do_sample=False, eos_token_id=None,
                                    pad_token_id=0)[0].tolist()[len(prompt):]
        said = kit.events("generate", "--model", work / "m", "--prompt", letters(prompt),
                          "--max-tokens", 64, "--template", "plain", "--ignore-eos")
        ours = "".join(e["text"] for e in said if e["event"] == "text")
        kinds |= set(theirs)
        if ours == letters(theirs):
            continue
        at = next(i for i in range(64) if not ours.startswith(letters(theirs[:i + 1])))
        top = logits_of(model, prompt + theirs[:at])[-1].topk(2).values
        gap = (top[0] - top[1]).item()
        print(f"prompt {seed}: differs from token {at} on, where the best two are {gap:.2g} apart")
        assert gap <= 1e-3, (seed, at, ours, letters(theirs))
    print(f"greedy: 5 prompts, 64 tokens each, {len(kinds)} different ones: the same")


def check_formats(family, work):
    """BF16, F16 and sharded folders, read as transformers reads them."""
    ids = tiny_models.ids(5)
    for name, dtype, save in (("bfloat16", torch.bfloat16, {}), ("float16", torch.float16, {}),
                              ("sharded", torch.float32, {"max_shard_size": "40KB"}),
                              ("sharded bfloat16", torch.bfloat16, {"max_shard_size": "20KB"})):
        folder = work / name.replace(" ", "-")
        tiny_models.write(family, folder, dtype=dtype, save=save)
        model = tiny_models.load(folder)
        shards = len(list(folder.glob("*.safetensors")))
        assert (shards > 1) == bool(save), shards
        ours = kit.our_logits(work, folder, ids)
        worst = close(name, ours, logits_of(model, ids), 2e-5)
        loss = loss_sum(model, DOCS)
        loss.backward()
        _, grads = our_gradients(work, folder, DOCS)
        all_close(f"{name}, {shards} files: logits {worst:.2g}; gradients", grads,
                  full_gradients(family, model), 1e-4)


def check_merged(family, work):
    tiny_models.write(family, work / "m")
    tokenizer(work / "m")
    adapted(family, tiny_models.load(work / "m")).save_pretrained(work / "a")
    ids = tiny_models.ids(7)
    kit.hearth("adapter", "export", "--adapter", work / "a", "--model", work / "m",
               "--format", "merged", "--out", work / "merged")
    unmerged = kit.our_logits(work, work / "m", ids, "--adapter", work / "a")
    ours = kit.our_logits(work, work / "merged", ids)
    print(f"merged against unmerged: {close('merged', ours, unmerged, 1e-4):.2g}")
    theirs = logits_of(tiny_models.load(work / "merged"), ids)
    print(f"merged in transformers: {close('merged', ours, theirs, 2e-5):.2g}")
    merged = PeftModel.from_pretrained(tiny_models.load(work / "m"), work / "a").merge_and_unload()
    ours = safetensors.numpy.load_file(work / "merged" / "model.safetensors")
    theirs = {n: p for n, p in merged.state_dict().items() if n in ours}
    worst = max(close(n, ours[n], theirs[n].numpy(), 1e-6) for n in ours)
    print(f"merged weights, PEFT's and ours: {len(ours)}, worst distance {worst:.2g}")


CHECKS = {n[6:]: f for n, f in list(globals().items()) if n.startswith("check_")}

if __name__ == "__main__":
    sys.exit(run_checks(CHECKS))

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One family against transformers and PEFT: oracle_family.py FAMILY CHECK.

Checks: logits, gradients, lora, curve, packed, greedy, peft, merged.
Limits are those of the models' acceptance: logits 2e-5, gradients 1e-4, the
loss of each of 20 AdamW steps 1e-4.
"""
import json
import pathlib
import sys
import tempfile

import kit
import numpy
import safetensors.numpy
import tiny_models
import torch
from peft import LoraConfig, PeftModel, get_peft_model

GPT2 = ("c_attn.weight", "c_proj.weight", "c_fc.weight")  # stored [in, out]


def text(docs):
    return "/".join(",".join(map(str, d)) for d in docs)


def targets(family):
    return {"gpt2": ["c_attn", "attn.c_proj", "c_fc", "mlp.c_proj"],
            "phi3": ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]}.get(
                family, ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"])


def adapted(family, base, seed=3, **settings):
    """A PEFT model whose factors are all random."""
    torch.manual_seed(seed)
    config = LoraConfig(**{**dict(r=4, lora_alpha=6, target_modules=targets(family),
                                  init_lora_weights=False, task_type="CAUSAL_LM",
                                  fan_in_fan_out=family == "gpt2"), **settings})
    model = get_peft_model(base, config)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_" in name:
                p.copy_(0.2 * torch.randn_like(p))
    return model.float().eval()


def loss_sum(model, docs):
    """The sum of token losses over documents that are run alone."""
    total = 0
    for doc in docs:
        logits = model(torch.tensor([doc])).logits[0, :-1]
        total = total + torch.nn.functional.cross_entropy(
            logits, torch.tensor(doc[1:]), reduction="sum")
    return total


def close(what, ours, theirs, limit):
    """The distance in both norms of the acceptance."""
    ours, theirs = numpy.asarray(ours, numpy.float64), numpy.asarray(theirs, numpy.float64)
    assert ours.shape == theirs.shape, (what, ours.shape, theirs.shape)
    two = numpy.linalg.norm(ours - theirs) / max(numpy.linalg.norm(theirs), 1e-30)
    top = abs(ours - theirs).max() / max(abs(theirs).max(), 1e-30)
    worst = max(two, top)
    assert worst <= limit, f"{what}: distance {worst:.3g}, limit {limit:.0e}"
    return worst


def our_gradients(work, folder, docs, *flags):
    out = work / "gradients.safetensors"
    said = kit.events("model", "gradients", "--model", folder, "--ids", text(docs),
                      "--out", out, *flags)[0]
    return said["loss_sum"], safetensors.numpy.load_file(out)


def check_logits(family, work):
    model = tiny_models.write(family, work / "m")
    worst = 0
    for seed, n in ((1, tiny_models.TOKENS), (2, 5), (3, 100)):
        ids = tiny_models.ids(seed, n)
        with torch.no_grad():
            theirs = model(torch.tensor([ids])).logits[0]
        ours = kit.our_logits(work, work / "m", ids)
        worst = max(worst, close(f"logits of {n}", ours, theirs, 2e-5))
    print(f"logits: worst distance {worst:.2g} (limit 2e-05)")


def check_gradients(family, work):
    model = tiny_models.write(family, work / "m")
    docs = [tiny_models.ids(1), tiny_models.ids(2, 7)]
    loss = loss_sum(model, docs)
    loss.backward()
    got_loss, ours = our_gradients(work, work / "m", docs)
    close("loss", got_loss, loss.item(), 1e-5)
    theirs = {n: p.grad.numpy() for n, p in model.named_parameters()}
    assert set(theirs) == set(ours), set(theirs) ^ set(ours)
    worst = 0
    for name, want in theirs.items():
        if family == "gpt2" and name.endswith(GPT2):
            want = want.T
        worst = max(worst, close(name, ours[name], want.ravel(), 1e-4))
    print(f"{len(theirs)} gradients: worst distance {worst:.2g} (limit 1e-04)")


def peft_gradients(model):
    return {n.replace("base_model.model.", "", 1).replace(".default.", "."): p.grad.numpy()
            for n, p in model.named_parameters() if p.grad is not None}


def check_lora(family, work):
    base = tiny_models.write(family, work / "m")
    model = adapted(family, base)
    model.save_pretrained(work / "a")
    docs = [tiny_models.ids(1), tiny_models.ids(2, 7)]
    loss = loss_sum(model, docs)
    loss.backward()
    got_loss, ours = our_gradients(work, work / "m", docs, "--adapter", work / "a")
    close("loss", got_loss, loss.item(), 1e-5)
    theirs = peft_gradients(model)
    assert set(theirs) == set(ours), set(theirs) ^ set(ours)
    worst = max(close(n, ours[n], g.ravel(), 1e-4) for n, g in theirs.items())
    print(f"{len(theirs)} LoRA gradients: worst distance {worst:.2g} (limit 1e-04)")


def check_packed(family, work):
    tiny_models.write(family, work / "m")
    docs = [tiny_models.ids(1, 30), tiny_models.ids(2, 3), tiny_models.ids(3, 11)]
    loss, packed = our_gradients(work, work / "m", docs)
    alone = [our_gradients(work, work / "m", [d]) for d in docs]
    worst = close("loss", loss, sum(a[0] for a in alone), 1e-5)
    for name, g in packed.items():
        worst = max(worst, close(name, g, sum(a[1][name] for a in alone), 1e-5))
    print(f"packed against alone: worst distance {worst:.2g} (limit 1e-05)")


def check_peft(family, work):
    """Our adapter in PEFT, PEFT's in ours, with patterns and rslora."""
    base = tiny_models.write(family, work / "m")
    ids = tiny_models.ids(5)
    first = targets(family)[0]
    for name, settings in (("plain", {}), ("rslora", dict(use_rslora=True)),
                           ("patterns", dict(rank_pattern={first: 2}, alpha_pattern={first: 9}))):
        model = adapted(family, tiny_models.load(work / "m"), **settings)
        model.save_pretrained(work / name)
        with torch.no_grad():
            theirs = model(torch.tensor([ids])).logits[0]
        ours = kit.our_logits(work, work / "m", ids, "--adapter", work / name)
        print(f"PEFT's {name} in ours: {close(name, ours, theirs, 2e-5):.2g}")
        back = work / (name + "-back")
        kit.hearth("adapter", "export", "--adapter", work / name, "--model", work / "m",
                   "--format", "peft", "--out", back)
        again = PeftModel.from_pretrained(tiny_models.load(work / "m"), back)
        with torch.no_grad():
            theirs = again(torch.tensor([ids])).logits[0]
        print(f"ours in PEFT, {name}: {close(name, ours, theirs, 2e-5):.2g}")
    del base


def tokenizer(folder, vocab=96):
    """A tokenizer of single letters, so that records become chosen ids."""
    pieces = {chr(0x100 + i): i for i in range(vocab)}
    (folder / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": None,
        "post_processor": None, "decoder": {"type": "Fuse"},
        "model": {"type": "BPE", "vocab": pieces, "merges": []}}))
    (folder / "tokenizer_config.json").write_text("{}")


def letters(ids):
    return "".join(chr(0x100 + i) for i in ids)


def check_curve(family, work):
    """20 AdamW steps from the same adapter over the same records."""
    tiny_models.write(family, work / "m")
    tokenizer(work / "m")
    model = adapted(family, tiny_models.load(work / "m")).train()
    model.save_pretrained(work / "a")
    docs = [tiny_models.ids(i, 6 + 3 * i % 17) for i in range(20)]
    (work / "d.jsonl").write_text("".join(json.dumps({"text": letters(d)}) + "\n" for d in docs))
    steps = [e for e in kit.events(
        "train", "--model", work / "m", "--adapter", work / "a", "--data", work / "d.jsonl",
        "--out", work / "o", "--steps", 20, "--lr", "5e-3", "--weight-decay", "0.1",
        "--batch", 2, "--accum", 2, "--seq", 64, "--no-shuffle", "--clip-grad", "1.0",
        "--template", "plain", "--loss-on", "all") if e["event"] == "step"]
    params = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(params, lr=5e-3, weight_decay=0.1)
    worst = 0
    for s in range(20):
        batch = [docs[(4 * s + i) % 20] for i in range(4)]
        optimizer.zero_grad()
        loss = loss_sum(model, batch) / sum(len(d) - 1 for d in batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
        worst = max(worst, close(f"loss of step {s + 1}", steps[s]["loss"], loss.item(), 1e-4))
    print(f"20 losses, {steps[0]['loss']:.4f} to {steps[-1]['loss']:.4f}: "
          f"worst distance {worst:.2g} (limit 1e-04)")


def check_greedy(family, work):
    model = tiny_models.write(family, work / "m")
    tokenizer(work / "m")
    for seed in range(5):
        prompt = tiny_models.ids(seed, 4 + 5 * seed)
        with torch.no_grad():
            theirs = model.generate(torch.tensor([prompt]), max_new_tokens=64, min_new_tokens=64,
                                    do_sample=False, eos_token_id=None,
                                    pad_token_id=0)[0].tolist()[len(prompt):]
        said = kit.events("generate", "--model", work / "m", "--prompt", letters(prompt),
                          "--max-tokens", 64, "--template", "plain", "--ignore-eos")
        ours = [ord(c) - 0x100 for e in said if e["event"] == "text" for c in e["text"]]
        if ours == theirs:
            continue
        at = next(i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b)
        with torch.no_grad():
            top = model(torch.tensor([prompt + theirs[:at]])).logits[0, -1].topk(2).values
        gap = (top[0] - top[1]).item()
        print(f"prompt {seed}: differs from token {at} on, where the best two are {gap:.2g} apart")
        assert gap <= 1e-3, (seed, at, ours[at:], theirs[at:])
    print("greedy: 5 prompts, 64 tokens each, the same")


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
    with torch.no_grad():
        theirs = tiny_models.load(work / "merged")(torch.tensor([ids])).logits[0]
    print(f"merged in transformers: {close('merged', ours, theirs, 2e-5):.2g}")


def main():
    family, check = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        globals()["check_" + check](family, pathlib.Path(folder))
    return 0


sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The demo's base model in transformers and PEFT, and in ours: logits, loss,
a LoRA training curve, and adapter folders that pass both ways."""
import json
import pathlib
import tempfile

import kit
import numpy
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from tokenizers import Tokenizer

TEXTS = [
    "Log: How did you sleep? I slept well and woke at 7, rested and happy.",
    "Dear diary: Did you move today? A walk of 6200 steps and then home.",
    "My heart ran at 92 after the stairs, calm again by noon.",
    "No run, no walk, no mood.",
    "Caf\u00e9 at 17:00, tired \U0001F634 but fine.",
    "We danced.",
]
STEPS, BATCH, ACCUM, RATE, DECAY, WARMUP = 20, 2, 2, 1e-2, 0.01, 3


def documents(folder):
    """Ids as a {"text"} record gives them: begin, text, end."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    end = json.loads((folder / "config.json").read_text())["eos_token_id"]
    return [tokenizer.encode(t).ids + [end] for t in TEXTS]


def loss_sum(model, ids):
    logits = model(torch.tensor([ids])).logits[0]
    return torch.nn.functional.cross_entropy(
        logits[:-1], torch.tensor(ids[1:]), reduction="sum"), len(ids) - 1


def check_logits_and_loss(work, docs):
    model = kit.load(kit.DEMO)
    ids = sum(docs, [])  # longer than any one of them
    theirs = kit.their_logits(model, ids)
    for kernels in ("reference", "auto"):
        ours = kit.our_logits(work, kit.DEMO, ids, "--kernels", kernels)
        kit.expect_close(f"logits of {len(ids)} tokens, {kernels}", ours, theirs, 5e-6)
    with torch.no_grad():
        parts = [loss_sum(model, d) for d in docs]
    want = sum(p.item() for p, _ in parts) / sum(n for _, n in parts)
    event = kit.events("eval", "--model", kit.DEMO, "--data", work / "d.jsonl")[-1]
    assert event["tokens"] == sum(n for _, n in parts), event
    kit.expect_close("loss", event["loss"], want, 1e-6)


def rate_of(step):
    if step <= WARMUP:
        return RATE * step / WARMUP
    part = (step - WARMUP - 1) / (STEPS - WARMUP)
    return RATE * 0.5 * (1 + numpy.cos(numpy.pi * part))


def their_curve(model, docs):
    params = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(params, lr=RATE, weight_decay=DECAY)
    losses, norms, cursor = [], [], 0
    for step in range(1, STEPS + 1):
        loss, n = 0.0, 0
        for _ in range(BATCH * ACCUM):
            part, k = loss_sum(model, docs[cursor % len(docs)])
            loss, n, cursor = loss + part, n + k, cursor + 1
        optimizer.zero_grad()
        (loss / n).backward()
        norms.append(torch.nn.utils.clip_grad_norm_(params, 1.0).item())
        for group in optimizer.param_groups:
            group["lr"] = rate_of(step)
        optimizer.step()
        losses.append(loss.item() / n)
    return losses, norms


def lora_values(model):
    return {n.replace(".default", ""): p.detach().numpy().ravel()
            for n, p in model.named_parameters() if "lora_" in n}


def check_training(work, docs, targets):
    name = "+".join(targets)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=targets, task_type="CAUSAL_LM")
    start, out = work / ("start_" + name), work / ("out_" + name)
    model = get_peft_model(kit.load(kit.DEMO), config)
    model.float().save_pretrained(start)
    model = PeftModel.from_pretrained(kit.load(kit.DEMO), start, is_trainable=True).double()
    losses, norms = their_curve(model, docs)
    ours = kit.events(
        "train", "--model", kit.DEMO, "--adapter", start, "--data", work / "d.jsonl",
        "--out", out, "--steps", STEPS, "--batch", BATCH, "--accum", ACCUM, "--lr", RATE,
        "--schedule", "cosine", "--warmup", WARMUP, "--weight-decay", DECAY, "--no-shuffle")
    steps = [e for e in ours if e["event"] == "step"]
    assert losses[-1] < 0.9 * losses[0], losses  # it learns something
    kit.expect_close(f"{name}: {STEPS} losses", [s["loss"] for s in steps], losses, 1e-5)
    # The norm at step 1 is that of B's gradients alone, later of A's as well.
    kit.expect_close(f"{name}: gradient norm, step 1", steps[0]["grad_norm"], norms[0], 1e-5)
    kit.expect_close(f"{name}: gradient norms", [s["grad_norm"] for s in steps], norms, 1e-3)
    # What we wrote loads in PEFT, with the values that torch arrived at.
    loaded = PeftModel.from_pretrained(kit.load(kit.DEMO), out).double().eval()
    want, got = lora_values(model), lora_values(loaded)
    assert want.keys() == got.keys()
    flat = [numpy.concatenate([v[k] for k in sorted(want)]) for v in (got, want)]
    kit.expect_close(f"{name}: trained values", *flat, 1e-4)
    ids = docs[0]
    kit.expect_close(f"{name}: logits of our folder in PEFT",
                     kit.our_logits(work, kit.DEMO, ids, "--adapter", out),
                     kit.their_logits(loaded, ids), 5e-6)


def main():
    if not (kit.DEMO / "model.safetensors").exists():
        raise SystemExit(f"oracle: no model in {kit.DEMO}; run sh deploy/demo/make_model.sh")
    torch.manual_seed(3)
    docs = documents(kit.DEMO)
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        (work / "d.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in TEXTS))
        check_logits_and_loss(work, docs)
        check_training(work, docs, ["q_proj", "v_proj"])
        check_training(work, docs, ["v_proj"])
        check_training(work, docs, ["q_proj", "k_proj", "v_proj", "o_proj",
                                    "gate_proj", "up_proj", "down_proj"])


main()

# SPDX-License-Identifier: Apache-2.0
"""What the tests of one family share: adapters, losses, gradients, a tokenizer
of single letters, the distance that models are accepted by, and the run of
all checks in one process (imports take longer than most checks)."""
import json
import pathlib
import sys
import tempfile
import time
import traceback

import kit
import numpy
import safetensors.numpy
import torch
from peft import LoraConfig, get_peft_model

GPT2 = ("c_attn.weight", "c_proj.weight", "c_fc.weight")  # stored [in, out]
VOCAB = 96


def targets(family):
    return {"gpt2": ["c_attn", "attn.c_proj", "c_fc", "mlp.c_proj"],
            "phi3": ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]}.get(
                family, ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"])


def adapted(family, base, seed=3, scale=0.2, **settings):
    """A PEFT model whose factors are all random, without dropout."""
    torch.manual_seed(seed)
    config = LoraConfig(**{**dict(r=4, lora_alpha=6, target_modules=targets(family),
                                  init_lora_weights=False, task_type="CAUSAL_LM",
                                  fan_in_fan_out=family == "gpt2"), **settings})
    model = get_peft_model(base, config)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_" in name:
                p.copy_(scale * torch.randn_like(p))
    return model.float().eval()


def logits_of(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0]


def loss_sum(model, docs):
    """The sum of token losses over documents that are run alone."""
    total = 0
    for doc in docs:
        logits = model(torch.tensor([doc])).logits[0, :-1]
        total = total + torch.nn.functional.cross_entropy(
            logits, torch.tensor(doc[1:]), reduction="sum")
    return total


def distance(ours, theirs):
    """The larger of the acceptance's two: normwise, and in the largest value."""
    ours, theirs = numpy.asarray(ours, numpy.float64), numpy.asarray(theirs, numpy.float64)
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    two = numpy.linalg.norm(ours - theirs) / max(numpy.linalg.norm(theirs), 1e-30)
    return max(two, abs(ours - theirs).max() / max(abs(theirs).max(), 1e-30))


def close(what, ours, theirs, limit):
    worst = distance(ours, theirs)
    assert worst <= limit, f"{what}: distance {worst:.3g}, limit {limit:.0e}"
    return worst


def all_close(what, ours, theirs, limit):
    """Tensors by name: the same names, each of them close."""
    assert set(theirs) == set(ours), set(theirs) ^ set(ours)
    worst = max((close(n, ours[n], numpy.asarray(theirs[n]).ravel(), limit), n) for n in theirs)
    print(f"{what}: {len(theirs)} tensors, worst distance {worst[0]:.2g}"
          f" (limit {limit:.0e}) of {worst[1]}")


def id_text(docs):
    return "/".join(",".join(map(str, d)) for d in docs)


def our_gradients(work, folder, docs, *flags):
    """The sum of losses, and the gradient of each parameter, flat."""
    out = work / "gradients.safetensors"
    said = kit.events("model", "gradients", "--model", folder, "--ids", id_text(docs),
                      "--out", out, *flags)[-1]  # an adapter is said before
    return said["loss_sum"], safetensors.numpy.load_file(out)


def peft_gradients(model):
    return {n.replace("base_model.model.", "", 1).replace(".default.", "."): p.grad.numpy()
            for n, p in model.named_parameters() if p.grad is not None}


def full_gradients(family, model):
    """As Hearth orders them: rows are outputs."""
    return {n: (p.grad.T if family == "gpt2" and n.endswith(GPT2) else p.grad).numpy()
            for n, p in model.named_parameters()}


def pieces():
    """96 tokens: byte-level letters, and one merge, since none is unusual."""
    letters = ["}", "~", "\u0120"] + [chr(33 + i) for i in range(92)]
    return letters + ["!!"]


def tokenizer(folder):
    """A tokenizer of single letters, so that records become chosen ids."""
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    (folder / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [],
        "normalizer": None, "pre_tokenizer": {**level, "use_regex": True},
        "post_processor": {**level, "use_regex": True}, "decoder": {**level, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None,
                  "continuing_subword_prefix": "", "end_of_word_suffix": "",
                  "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": {p: i for i, p in enumerate(pieces())}, "merges": [["!", "!"]]}}))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "GPT2Tokenizer"}')


def letters(ids):
    """The text that has these ids (of 4 to 94)."""
    return "".join(pieces()[i] for i in ids).replace("\u0120", " ")


def write_records(path, docs):
    path.write_text("".join(json.dumps({"text": letters(d)}) + "\n" for d in docs))


def run_checks(checks):
    """FAMILY [CHECK]...: each in a folder of its own; all of them by default.
    Returns the exit status."""
    family, *names = sys.argv[1:]
    failed = []
    for name in names or checks:
        began = time.monotonic()
        try:
            with tempfile.TemporaryDirectory() as folder:
                checks[name](family, pathlib.Path(folder))
        except (Exception, SystemExit):  # kit ends a check by sys.exit
            traceback.print_exc(file=sys.stdout)
            failed.append(name)
        print(f"-- {family} {name}: {'FAILED' if name in failed else 'passed'}"
              f" in {time.monotonic() - began:.1f} s", flush=True)
    print(f"{family}: {len(failed)} checks failed", *failed)
    return 1 if failed else 0

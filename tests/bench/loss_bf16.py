#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What bfloat16 products cost in learning: LoRA by f32 and by bf16, in pairs; or,
with --compute int8 and --types q8_0, what products in 8 bits cost.

  loss_bf16.py [--compute bf16|int8] [--bases stories260k,10m] [--types f32,q8_0]
               [--seeds 1,2,3] [--steps 200] [--budget SIZE] [--keep DIR]
               [--out FILE.json]

$HEARTH is the program, $HEARTH_TEST_DATA the folder of real test data.  A pair
has the same base, records and seed; the losses before and after are those of
`hearth eval`, so by f32 products, on roles of Shakespeare that no run trains on.
Exits 1 when the reduction is below 97 % of f32's in any pair.

With --budget, that run gets that memory for what is not the mapped file (f32's
run has no limit), and its plan must say that activations are stored in bf16.

The base "10m" (10.8 million parameters) is trained here from random weights on
medical questions and answers, once for each --keep folder.
"""
import argparse
import collections
import concurrent.futures
import hashlib
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import zlib

SHARE = 0.97     # of f32's reduction that bf16 must reach
LEAST = 0.1      # nats; a smaller reduction by f32 shows nothing
LEARNT = 1.0     # nats below the unigram entropy: a base that has learnt something
MEDICAL = "records/medquad/5_NIDDK_QA.jsonl"
ROLES = "records/shakespeare/by_role.jsonl"
LARGER = {  # than stories260K, whose other settings and tokenizer it has
    "hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": 4,
    "num_attention_heads": 8, "num_key_value_heads": 8, "head_dim": 64,
    "initializer_range": 0.05}


def held_out(name, one_in):
    """A fixed share of the names."""
    return zlib.crc32(name.encode()) % one_in == 0


def lines(path):
    with open(path, encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def write_records(path, texts):
    path.write_text("".join(json.dumps({"text": t}) + "\n" for t in texts), encoding="utf-8")


class Comparison:
    """Everything lies in one folder: records, bases, and a line for each run."""

    def __init__(self, folder, options):
        self.folder, self.o = folder, options
        self.program = os.environ["HEARTH"]
        self.data = pathlib.Path(os.environ["HEARTH_TEST_DATA"])
        self.stories = self.data / "models" / "stories260K"
        if not self.stories.exists() or not (self.data / ROLES).exists():
            raise SystemExit(f"loss_bf16.py: no test data at {self.data}")
        self.build = hashlib.sha256(pathlib.Path(self.program).read_bytes()).hexdigest()[:16]
        self.pool = concurrent.futures.ThreadPoolExecutor(options.jobs)
        self.memory = folder / "results.jsonl"
        self.known = {r["key"]: r["value"] for r in lines(self.memory)} \
            if self.memory.exists() else {}
        self.shakespeare()

    def hearth(self, *args, text=None):
        """The events of one run."""
        run = subprocess.run([self.program, *map(str, args), "--json"], input=text,
                             capture_output=True, text=True, check=False)
        if run.returncode:
            raise RuntimeError(f"hearth {args[0]}: {run.stderr.strip() or run.stdout[-300:]}")
        return [json.loads(line) for line in run.stdout.splitlines()]

    def remembered(self, key, make):
        """make()'s value, or what it was in an earlier run of this program file."""
        key = json.dumps([self.build, *map(str, key)])
        if key not in self.known:
            self.known[key] = make()
            with open(self.memory, "a", encoding="utf-8") as f:
                print(json.dumps({"key": key, "value": self.known[key]}), file=f)
        return self.known[key]

    def shakespeare(self):
        """A record a role; of the roles held out, the first --letters."""
        roles = [(r["role"], "\n\n".join(r["speeches"])) for r in lines(self.data / ROLES)]
        write_records(self.folder / "train.jsonl",
                      [t for role, t in roles if not held_out(role, 5)])
        write_records(self.folder / "valid.jsonl",
                      [t[:self.o.letters] for role, t in roles if held_out(role, 5)])

    def loss(self, model, records, *more):
        """Mean nats a token; f32 products, whatever the training had."""
        e = self.hearth("eval", "--model", model, "--data", self.folder / records, "--seq",
                        self.o.seq, "--loss-on", "all", "--threads", self.o.threads, *more)[-1]
        return e["loss"]

    # ---- the larger base ----

    def medical(self):
        """Pre-training records, split by the illness they are about; of those held out
        what follows the question."""
        rows = [(r["focus"], " ".join(f"{r['question']} {r['answer']}".split()))
                for r in lines(self.data / MEDICAL)]
        texts = [[t for focus, t in rows if held_out(focus, 20) == valid]
                 for valid in (False, True)]
        write_records(self.folder / "pretrain_train.jsonl", texts[0])
        texts[1] = [t[200:200 + 2 * self.o.letters] for t in texts[1] if len(t) > 200]
        write_records(self.folder / "pretrain_valid.jsonl", texts[1])
        return texts

    @staticmethod
    def identity(model):
        return hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()

    def unigram(self, model, train, valid):
        """Nats a held-out token that the frequencies of the tokens explain."""
        def ids(texts):
            events = self.hearth("tokenize", "--model", model, text="\n".join(texts) + "\n")
            return [i for e in events for i in e["ids"][1:]]
        count = collections.Counter(ids(train))
        vocabulary = json.loads((model / "config.json").read_text())["vocab_size"]
        total, target = sum(count.values()) + vocabulary, ids(valid)
        return -sum(math.log((count[i] + 1) / total) for i in target) / len(target)

    def pretrain(self):
        """The folder of a base of 10.8 million parameters that can spell."""
        base, start = self.folder / "base_10m", self.folder / "random_10m"
        texts = self.medical()
        if not start.exists():
            config = json.loads((self.stories / "config.json").read_text())
            (self.folder / "config.json").write_text(json.dumps({**config, **LARGER}))
            self.hearth("model", "create", "--config", self.folder / "config.json",
                        "--tokenizer", self.stories / "tokenizer.json", "--seed", 1,
                        "--out", start)
        if not (base / "model.safetensors").exists():
            print("training the base of 10.8 million parameters", file=sys.stderr, flush=True)
            self.hearth("train", "--mode", "full", "--model", start, "--data",
                        self.folder / "pretrain_train.jsonl", "--out", base, "--steps",
                        self.o.pretrain_steps, "--batch", 4, "--seq", 128, "--lr", "1e-3",
                        "--schedule", "cosine", "--warmup", 20, "--loss-on", "all", "--threads",
                        self.o.jobs * self.o.threads, "--seed", 1, "--checkpoint-every", 100,
                        "--resume", "--max-seconds", self.o.pretrain_seconds)
        loss = self.remembered((self.identity(base), "its own kind", self.o.letters),
                               lambda: self.loss(base, "pretrain_valid.jsonl"))
        entropy = self.unigram(base, *texts)
        print(f"base 10m: {loss:.3f} nats a held-out token of its own kind; frequencies alone "
              f"{entropy:.3f}, no knowledge {math.log(512):.3f}", flush=True)
        if loss > entropy - LEARNT:
            raise SystemExit("loss_bf16.py: the base has learnt too little: --pretrain-steps")
        return base

    # ---- the comparison ----

    def of_type(self, name, folder, kind):
        """The base with weights of this type."""
        if kind == "f32":
            return folder
        path = self.folder / f"{name}-{kind}.gguf"
        if not path.exists():
            self.hearth("model", "convert", "--model", folder, "--type", kind, "--out", path)
        return path

    def after(self, base, compute, seed):
        """Held-out loss after training; seconds of the training; its plan."""
        budget = self.o.budget if compute != "f32" else None
        name = f"adapter-{base.stem}-{compute}-{seed}"
        out = self.folder / (f"{name}-{budget}" if budget else name)
        events = self.hearth(
            "train", "--model", base, "--data", self.folder / "train.jsonl", "--out", out,
            "--steps", self.o.steps, "--rank", 8, "--targets", self.o.targets, "--batch",
            self.o.batch, "--seq", self.o.seq, "--lr", self.o.lr, "--loss-on", "all",
            "--threads", self.o.threads, "--seed", seed, "--compute", compute,
            *(("--memory-budget", budget, "--weights", "mapped") if budget else ()))
        plan, done = events[0], events[-1]
        stored = plan["activations"]
        if stored != ("bf16" if budget else "f32"):
            raise RuntimeError(f"{compute}, {base.name}: activations stored in {stored} with"
                               f" --budget {budget}; {plan['private_bytes']} bytes planned")
        return {"loss": self.loss(base, "valid.jsonl", "--adapter", out),
                "seconds": done["seconds"], "tokens": done["tokens"],
                **{k: plan[k] for k in ("activations", "private_bytes", "recomputed_layers",
                                        "mlp_rows", "micro_batch")}}

    def rows(self, name, folder, kind):
        """One dictionary a seed."""
        base, o = self.of_type(name, folder, kind), self.o
        which = (self.identity(folder), kind, o.seq, o.letters)

        def after(seed, compute):
            budget = (o.budget,) if o.budget and compute != "f32" else ()
            return self.remembered(
                (*which, o.steps, o.targets, o.batch, o.lr, seed, compute, *budget),
                lambda: self.after(base, compute, seed))

        before = self.remembered(which, lambda: self.loss(base, "valid.jsonl"))
        runs = {(seed, c): self.pool.submit(after, seed, c)
                for seed in o.seeds.split(",") for c in ("f32", o.compute)}
        rows = []
        for seed in o.seeds.split(","):
            end = {c: runs[seed, c].result() for c in ("f32", o.compute)}
            fall = {c: before - end[c]["loss"] for c in end}
            rows.append({"base": name, "weights": kind, "seed": int(seed), "before": before,
                         **end, "fall": fall, "share": fall[o.compute] / fall["f32"],
                         "ok": fall["f32"] >= LEAST and fall[o.compute] >= SHARE * fall["f32"]})
            print(line(rows[-1], o.compute), flush=True)
        return rows


def line(r, compute):
    fall = r["fall"]
    return (f"| {r['base']} | {r['weights']} | {r['seed']} | {r['before']:.4f} |"
            f" {r['f32']['loss']:.4f} | {r[compute]['loss']:.4f} | {fall['f32']:.4f} |"
            f" {fall[compute]:.4f} | {100 * r['share']:.2f} % |"
            + ("" if r["ok"] else " MISSED"))


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("--compute", default="bf16", choices=("bf16", "int8"))
    p.add_argument("--bases", default="stories260k,10m")
    p.add_argument("--types", default="f32", help="of the base's weights: f32,q8_0,..")
    p.add_argument("--seeds", default="1,2,3")
    p.add_argument("--steps", type=int, default=200)
    p.add_argument("--targets", default="all-linear")
    p.add_argument("--batch", type=int, default=2)
    p.add_argument("--seq", type=int, default=64)
    p.add_argument("--lr", default="2e-3")
    p.add_argument("--letters", type=int, default=300, help="of a record held out")
    p.add_argument("--budget", help="of memory, not for f32: activations are then stored in bf16")
    p.add_argument("--jobs", type=int, default=2, help="runs at a time")
    p.add_argument("--threads", type=int, default=1, help="of each run")
    p.add_argument("--pretrain-steps", type=int, default=320)
    p.add_argument("--pretrain-seconds", type=int, default=3600, help="at most")
    p.add_argument("--keep", help="a folder for the base and the results; else a temporary one")
    p.add_argument("--out", help="every number as JSON")
    options = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(options.keep or folder)
        folder.mkdir(parents=True, exist_ok=True)
        c = Comparison(folder, options)
        try:
            bases = {b: c.pretrain() if b == "10m" else c.stories
                     for b in options.bases.split(",")}
            print(f"| base | weights | seed | loss before | after f32 | after {options.compute} |"
                  f" f32's fall | {options.compute}'s fall | share |\n" + "| --- " * 9 + "|",
                  flush=True)
            rows = [r for b in bases for kind in options.types.split(",")
                    for r in c.rows(b, bases[b], kind)]
        finally:
            c.pool.shutdown(cancel_futures=True)
    missed = [r for r in rows if not r["ok"]]
    print(f"\n{len(rows) - len(missed)} of {len(rows)} pairs reach {100 * SHARE:.0f} % of f32's "
          f"reduction; the least {100 * min(r['share'] for r in rows):.2f} %.")
    if options.out:
        pathlib.Path(options.out).write_text(json.dumps(rows, indent=1))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

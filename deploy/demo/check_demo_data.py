#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The demo's generator and BPE learner: deterministic, splits that share
nothing, a vocabulary that spells every line.

Usage: check_demo_data.py DIARY_GENERATOR BPE_LEARNER"""
import json
import re
import subprocess
import sys

generator, learner = sys.argv[1:3]


def run(*args, stdin=None):
    return subprocess.run(args, input=stdin, capture_output=True, text=True)


def person(number, split, lines=300):
    out = run(generator, "person", "--seed", "7", "--person", str(number), "--lines", str(lines),
              "--split", split)
    assert out.returncode == 0, out.stderr
    return [json.loads(line) for line in out.stdout.splitlines()]


def bare(record):
    """The template of an answer: digits gone."""
    return re.sub(r"\d+", "#", record["completion"])


splits = {s: [r for p in range(4) for r in person(p, s)] for s in ("train", "tune", "holdout")}
assert all(len(v) == 1200 for v in splits.values())
for a, b in (("train", "tune"), ("train", "holdout"), ("tune", "holdout")):
    assert not {bare(r) for r in splits[a]} & {bare(r) for r in splits[b]}, f"{a} and {b} share a template"
    assert not {r["prompt"] for r in splits[a]} & {r["prompt"] for r in splits[b]}, f"{a} and {b} share a question"
assert person(1, "train") == person(1, "train"), "not deterministic"
assert person(1, "train") != person(2, "train"), "persons are the same"

general = run(generator, "general", "--seed", "1", "--lines", "3000").stdout
texts = [json.loads(line)["text"] for line in general.splitlines()]
assert len(texts) == 3000 and len(set(texts)) > 2500
tokenizer = run(learner, "--vocab", "400", stdin=general)
assert tokenizer.returncode == 0
model = json.loads(tokenizer.stdout)["model"]
assert sorted(model["vocab"].values()) == list(range(400))
assert len(model["merges"]) == 400 - 258
for left, right in model["merges"]:
    assert left + right in model["vocab"]
for bad in (["general", "--seed"], ["nobody"], ["person", "--split", "x"], ["general", "--lines", "-1"]):
    assert run(generator, *bad).returncode == 2
assert run(learner, "--vocab", "10", stdin="").returncode == 2
print("demo data: 3 splits without overlap, vocabulary of 400 whole")

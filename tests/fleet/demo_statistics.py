#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Is what deploy/demo.sh shows more than luck?  The same people and the same
task through hearth-fleet, with seeded noise:

    python3 tests/fleet/demo_statistics.py [--build build/release]
        [--split holdout|tune] [--people N] [--quick] [--set section.key=value]...

Prints one line for each claim, with its bound, and exits 1 when one fails.
--quick runs one seed and leaves out what needs many.  Settings are chosen with
--split tune; only --split holdout is reported.  Standard library only."""
import argparse
import collections
import configparser
import json
import math
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = ROOT / "deploy/demo/model"
PEOPLE, TRAIN, HELD = 16, 80, 20  # as in deploy/demo.sh
SEEDS = [1, 2, 3, 4, 5]
DRAWS = 20


class Bench:
    def __init__(self, args, folder):
        self.args, self.folder = args, pathlib.Path(folder)
        build = pathlib.Path(args.build).resolve()
        self.fleet = build / "tests/fleet/hearth-fleet"
        self.hearth = build / "client/cli/hearth"
        self.generator = build / "deploy/demo/diary_generator"
        self.failed = 0

    def run(self, *words, **kw):
        done = subprocess.run([str(w) for w in words], capture_output=True, text=True, check=False,
                              env={**os.environ,
                                   "HEARTH_DEMO_RECORDS": str(self.folder / "records.jsonl")}, **kw)
        if done.returncode:
            sys.exit(f"{words[0]} {words[1]} left with {done.returncode}:\n{done.stderr[-2000:]}")
        return done.stdout

    def lines(self, *words):
        return self.run(self.generator, *words).splitlines()

    def claim(self, what, value, good, bound):
        self.failed += not good
        print(f"  {'ok  ' if good else 'FAIL'}  {what:<58} {value:>9}   {bound}", flush=True)

    def say(self, what, value):
        print(f"        {what:<58} {value:>9}", flush=True)


def write_records(bench):
    """One line a record, each person's hold-out last; what is held out shares
    no record and no template (digits gone) with what is trained on."""
    bare = {"train": set(), "held": set()}
    with open(bench.folder / "records.jsonl", "w", encoding="utf-8") as out:
        for person in range(PEOPLE):
            for split, n, key in (("train", TRAIN, "train"), (bench.args.split, HELD, "held")):
                for line in bench.lines("person", "--seed", bench.args.people, "--person", person,
                                        "--lines", n, "--split", split):
                    record = json.loads(line)
                    bare[key].add(re.sub(r"\d+", "#", record["completion"]))
                    out.write(json.dumps({"person": f"p{person:02d}", **record}) + "\n")
    shared = bare["train"] & bare["held"]
    bench.claim("templates of the hold-out that training has too", len(shared), not shared, "none")


def task_settings():
    """deploy/demo/task.ini as settings of the scenario."""
    ini = configparser.ConfigParser()
    ini.read(ROOT / "deploy/demo/task.ini")
    names = {"adapter": "model", "train": "train", "privacy": "privacy"}
    sets = [f"{names[s]}.{k}={v}" for s in names for k, v in ini[s].items()]
    return sets + [f"run.rounds={ini['task']['rounds']}",
                   f"run.eval_every={ini['task']['rounds']}", f"model.path={MODEL}"]


def fleet(bench, name, seeds, *sets):
    """{seed: (base loss, last federated loss, last loss of the control or None)}"""
    out = bench.folder / name
    words = [bench.fleet, "run", ROOT / "tests/fleet/scenarios/demo.ini", "--out", out, "--quiet"]
    for s in [*task_settings(), *bench.args.set, *sets,
              "run.seeds=" + ",".join(map(str, seeds))]:
        words += ["--set", s]
    bench.run(*words)
    first, last, control = {}, {}, {}
    for line in open(out / "metrics.jsonl", encoding="utf-8"):
        row = json.loads(line)
        if row["split"] == "holdout" and row["loss"] is not None:
            first.setdefault(row["seed"], row["loss"])
            last[row["seed"]] = row["loss"]
    for line in open(out / "baselines.jsonl", encoding="utf-8"):
        row = json.loads(line)
        if row["split"] == "holdout" and row["method"] == "control":
            control[row["seed"]] = row["loss"]
    return {s: (first[s], last[s], control.get(s)) for s in seeds}


def with_noise(bench):
    seeds = SEEDS[:1] if bench.args.quick else SEEDS
    print(f"\nwith noise, {len(seeds)} seed(s): nats a token, mean over {PEOPLE} devices")
    print("        seed      base   the run   noise-only      fall   below noise-only")
    runs = fleet(bench, "noise", seeds)
    for s, (base, end, only) in runs.items():
        print(f"        {s:>4}  {base:8.3f}  {end:8.3f}   {only:10.3f}  {base - end:8.3f}"
              f"   {only - end:16.3f}")
    falls = [base - end for base, end, _ in runs.values()]
    margins = [only - end for _, end, only in runs.values()]
    bench.claim("smallest distance below the noise-only run", f"{min(margins):.3f}",
                min(margins) >= 0.10, ">= 0.10 in every seed")
    bench.claim("smallest fall from the base", f"{min(falls):.3f}", min(falls) > 0,
                "> 0 in every seed")
    bench.claim("mean fall from the base", f"{statistics.mean(falls):.3f}",
                statistics.mean(falls) >= 0.10, ">= 0.10")
    return [base - only for base, _, only in runs.values()]


def noise_only(bench, have):
    """The control of a run does not depend on its training: one step will do."""
    rest = range(len(have) + 1, DRAWS + 1)
    runs = fleet(bench, "draws", list(rest), "train.steps=1", "train.batch=1")
    falls = have + [base - only for base, _, only in runs.values()]
    bench.claim(f"mean fall over {len(falls)} noise-only draws",
                f"{statistics.mean(falls):.3f}", statistics.mean(falls) <= 0.02, "<= 0.02")
    bench.say("their standard deviation", f"{statistics.pstdev(falls):.3f}")


def without_noise(bench):
    for name, what, sets in (
            ("open", "gain without noise and without clipping", ["privacy.clip=100"]),
            ("clipped", "gain without noise, clipped", [])):
        base, end, _ = fleet(bench, name, [1], "privacy.mode=none", "baseline.control=no", *sets)[1]
        if name == "open":
            bench.claim(what, f"{base - end:.3f}", base - end >= 0.5, ">= 0.5")
        else:
            bench.say(what, f"{base - end:.3f}")


def base_model(bench):
    """Text of the kind that the base saw (make_model.sh: seed 1), less every
    line that it did see."""
    seen = set(bench.lines("general", "--seed", 1, "--lines", 30000))
    text = [t for t in bench.lines("general", "--seed", 999, "--lines", 2000) if t not in seen]
    path = bench.folder / "general.jsonl"
    path.write_text("\n".join(text) + "\n", encoding="utf-8")
    done = json.loads(bench.run(bench.hearth, "eval", "--model", MODEL, "--data", path,
                                "--loss-on", "all", "--json").splitlines()[-1])
    count = collections.Counter()
    words = "\n".join(json.loads(t)["text"] for t in text) + "\n"
    for line in bench.run(bench.hearth, "tokenize", "--model", MODEL, "--json",
                          input=words).splitlines():
        count.update(json.loads(line)["ids"])
    ini = json.loads((MODEL / "config.json").read_text(encoding="utf-8"))
    count.pop(ini["bos_token_id"], None)
    count[ini["eos_token_id"]] = len(text)
    n = sum(count.values())
    entropy = -sum(c / n * math.log(c / n) for c in count.values())
    print(f"\nthe base, on {len(text)} lines of general text that it never saw")
    bench.say("unigram entropy of their tokens", f"{entropy:.3f}")
    bench.say("the base's loss", f"{done['loss']:.3f}")
    bench.claim("the loss is below the entropy by", f"{entropy - done['loss']:.3f}",
                entropy - done["loss"] >= 1.0, ">= 1.0")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default=str(ROOT / "build/release"))
    parser.add_argument("--split", default="holdout", choices=["holdout", "tune"])
    parser.add_argument("--people", type=int, default=1, help="seed of the people; 1 is the demo's")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--set", action="append", default=[])
    with tempfile.TemporaryDirectory(prefix="hearth_demo_statistics_") as folder:
        bench = Bench(parser.parse_args(), folder)
        print(f"The demo's task over {PEOPLE} people, split {bench.args.split}")
        write_records(bench)
        base_model(bench)
        falls = with_noise(bench)
        if not bench.args.quick:
            noise_only(bench, falls)
        print("\nwithout noise, one seed")
        without_noise(bench)
    print(f"\n{bench.failed} of the claims fail" if bench.failed else "\nevery claim holds")
    return 1 if bench.failed else 0


if __name__ == "__main__":
    sys.exit(main())

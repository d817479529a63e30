#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Hearth's training against PyTorch's on the same model folder, in turn.

  train_bench.py [--shapes gpt2,gemma3,qwen2] [--pairs 5] [--steps 2]
                 [--tokens 256[,2048,6x40,..]] [--only NAME,..] [--peers NAME,..]
                 [--budgets 80M[,..]] [--keep FOLDER] [--out FILE.json]

$HEARTH is the program, $BENCH_PEAK the program of that name, $PEERS the
opponents: NAME=PYTHON[:LIBRARY_PATH[:PYTHONPATH]] separated by spaces.  Models
have random weights and lie in a temporary folder.  All contestants are started,
do a first step that is not counted, and then stand still but in their turn;
each turn runs every one for a few steps, so that a ratio is made of neighbours;
ratios are medians over turns, with the smallest and the largest beside.  A
turn's first step is not counted either: the system may have taken the file's
pages meanwhile.  Times are wall-clock: use a quiet machine, and look at the spread.

Without --only a shape runs the rows of its targets (ROWS); a row with a size
behind its name runs within that budget, which bounds private memory and the
file; the process's resident set has some MiB of libraries besides.  With several
--tokens every row runs at each of them, in the same turns, and a second table
compares their rates; 6x40 is six records of 40 tokens in one pass.  --budgets
adds a row to each of --only for every budget.  A model takes minutes to draw: with
--keep it is drawn once.
"""
import argparse
import contextlib
import itertools
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import train_shapes

HERE = pathlib.Path(__file__).resolve().parent
TOKENIZER = HERE.parent.parent / "deploy" / "demo" / "model" / "tokenizer.json"
THREADS = 2
MIB = 1 << 20
PEAKS = ("sgemm_gflops", "bf16_gflops", "amx_gflops")  # of bench_peak
# name: (base file, flags)
OURS = {
    "f32": ("f32", []),
    "f32 Q8_0": ("q8_0", []),
    "f32 Q8_0 mapped": ("q8_0", ["--weights", "mapped"]),
    "bf16 Q8_0 mapped": ("q8_0", ["--compute", "bf16", "--weights", "mapped"]),
    "f32 Q8_0 100M": ("q8_0", ["--weights", "mapped", "--memory-budget", "100M"]),
    "bf16": ("bf16", ["--compute", "bf16"]),
    "bf16 Q8_0": ("q8_0", ["--compute", "bf16"]),
    "bf16 Q8_0 100M": ("q8_0", ["--compute", "bf16", "--weights", "mapped",
                                  "--memory-budget", "100M"]),
    "f32 Q8_0 streamed": ("q8_0", ["--weights", "streamed", "--memory-budget", "100M"]),
    "f32 Q4_0": ("q4_0", []),
    "f32 Q4_0 streamed": ("q4_0", ["--weights", "streamed", "--memory-budget", "100M"]),
}
# What the targets of a shape are measured on.
ROWS = {
    "gpt2": ["f32 Q8_0 246M", "bf16 Q8_0 240M"],
    "gemma3": ["f32 Q8_0 370M", "bf16 Q8_0 370M"],
    "qwen2": ["f32 Q8_0", "f32 Q8_0 100M", "bf16 Q8_0 780M", "bf16 Q8_0 635M",
              "f32 Q8_0 streamed", "f32 Q4_0 410M"],
    "llama": ["f32 Q4_0 890M", "f32 Q4_0 streamed 310M"],
}


def row(name):
    """(base, flags) of a row, which may name its budget."""
    if name in OURS:
        return OURS[name]
    plain, budget = name.rsplit(" ", 1)
    base, flags = OURS[plain]
    if "--memory-budget" in flags:
        flags = flags[:flags.index("--memory-budget")]  # the last of them
    return base, [*flags, "--memory-budget", budget]


def words(text):
    """As few letters as possible a token: words of the demo's world."""
    vocabulary = "the cat sat on a mat and ran to see who was there all day ".split()
    return " ".join(vocabulary[i * i % len(vocabulary)] for i in range(text))


class Bench:
    """A shape: its weights in every type."""

    def __init__(self, work, shape):
        self.work, self.shape = work, shape
        self.config = train_shapes.SHAPES[shape]
        (work / "config.json").write_text(json.dumps(self.config))
        self.bases = {}

    def hearth(self, *args):
        run = subprocess.run([os.environ["HEARTH"], *map(str, args)], capture_output=True,
                             text=True)
        if run.returncode:
            raise RuntimeError(f"hearth {args[0]}: {run.stderr.strip()}")

    def base(self, kind):
        """The folder or file with weights of this kind; made when first used."""
        if kind not in self.bases:
            path = self.work / (kind if kind == "f32" else kind + ".gguf")
            if path.exists():  # kept by an earlier run
                pass
            elif kind == "f32":
                self.hearth("model", "create", "--config", self.work / "config.json",
                            "--tokenizer", TOKENIZER, "--dtype", kind, "--seed", 1,
                            "--out", path)
            else:
                self.hearth("model", "convert", "--model", self.base("f32"), "--type", kind,
                            "--out", path)
            self.bases[kind] = path
        return self.bases[kind]


class Load:
    """What a step trains on: "256" is one record of so many tokens, "6x40" six
    of 40, packed."""

    def __init__(self, bench, spec):
        self.bench, self.spec = bench, spec
        count, each = spec.split("x") if "x" in spec else (1, spec)
        self.records, self.each = int(count), int(each)
        self.tokens = self.records * self.each
        self.data = bench.work / f"data-{spec}.jsonl"
        self.ids = bench.work / f"ids-{spec}.json"
        self.write()

    def encode(self, text):
        run = subprocess.run([os.environ["HEARTH"], "tokenize", "--model", self.bench.base("f32"),
                              "--json"], input=text + "\n", capture_output=True, text=True,
                             check=True)
        end = self.bench.config["eos_token_id"]
        return json.loads(run.stdout.splitlines()[0])["ids"] + [end]

    def write(self):
        """One record of exactly so many tokens, as often as wanted."""
        low, high = 1, self.each
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if len(self.encode(words(middle))) <= self.each \
                else (low, middle - 1)
        text = words(low)
        for tail in range(self.each):
            ids = self.encode(text + "?" * tail)
            if len(ids) == self.each:
                record = json.dumps({"text": text + "?" * tail}) + "\n"
                self.data.write_text(record * self.records)
                self.ids.write_text(json.dumps(ids))
                return
        raise RuntimeError(f"no record of {self.each} tokens")


class Ours:
    """One `hearth train` that is stopped between its turns."""

    def __init__(self, load, name, kind, flags, steps):
        """Runs the first step, which nobody counts; steps: all others."""
        self.load, bench = load, load.bench
        steps += 1
        self.run = subprocess.Popen(
            [os.environ["HEARTH"], "train", "--model", bench.base(kind), "--data",
             load.data, "--out", bench.work / f"out {name} {load.spec}", "--steps", str(steps),
             "--epochs", str(steps), "--seq", str(load.each), "--batch", str(load.records),
             "--loss-on", "all", "--template", "plain", "--targets", "attn", "--threads",
             str(THREADS), "--schedule", "constant", *flags, "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.loss = self.until("step")["loss"]
        self.pause()

    def until(self, kind):
        event = {}
        for line in self.run.stdout:
            event = json.loads(line)
            if event["event"] == kind:
                return event
        raise RuntimeError(event.get("message") or self.run.stderr.read().strip())

    def pause(self):
        self.run.send_signal(signal.SIGSTOP)

    def turn(self, steps):
        seconds = []
        self.run.send_signal(signal.SIGCONT)
        for _ in range(1 + steps):
            began = time.perf_counter()
            self.until("step")
            seconds.append(time.perf_counter() - began)
        self.pause()
        return {"seconds": statistics.median(seconds[1:])}

    def close(self):
        """What it held at most."""
        self.run.send_signal(signal.SIGCONT)
        done = self.until("done")
        self.run.wait()
        return {"rss_mib": done["rss_peak"] / MIB, "private_mib": done["private_peak"] / MIB,
                "file_mib": done["file_resident_peak"] / MIB}

    def end(self):
        if self.run.poll() is None:
            self.run.kill()
            self.run.wait()


class Peer:
    """A PyTorch process that waits for its turn."""

    def __init__(self, load, name, dtype, keep):
        self.load = load
        spec = dict(p.split("=", 1) for p in os.environ.get("PEERS", "").split())[name]
        python, library, path = (spec + "::").split(":")[:3]
        env = {**os.environ, "OMP_NUM_THREADS": str(THREADS), "OMP_PROC_BIND": "true"}
        env.update({k: v for k, v in (("LD_LIBRARY_PATH", library), ("PYTHONPATH", path)) if v})
        self.run = subprocess.Popen(
            [python, HERE / "train_peer.py", load.bench.base("f32"), load.ids,
             dtype, keep, str(THREADS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, env=env)
        self.version = json.loads(self.run.stdout.readline())["torch"]
        self.turn(0)

    def turn(self, steps):
        print(1 + steps, file=self.run.stdin, flush=True)
        answer = json.loads(self.run.stdout.readline())
        self.loss, self.rss = answer["loss"][0], answer["rss_mib"]
        return {"seconds": statistics.median(answer["seconds"][1:] or answer["seconds"])}

    def close(self):
        return {"rss_mib": self.rss}

    def end(self):
        self.run.stdin.close()
        self.run.wait()


def peak():
    run = subprocess.run([os.environ["BENCH_PEAK"], str(THREADS)], capture_output=True, text=True,
                         check=True)
    return json.loads(run.stdout)


def turns(shape, runs, options):
    """[{name: result}], one dictionary a turn; each result has the machine's
    peaks, the mean of before and after it."""
    rows = []
    before = peak()
    for i in range(options.pairs):
        row = {}
        for name, run in runs.items():
            row[name] = run.turn(options.steps)
            after = peak()
            row[name] |= {k: (before[k] + after[k]) / 2 for k in PEAKS}
            before = after
        rows.append(row)
        print(f"{shape}: turn {i + 1} of {options.pairs}: " + ", ".join(
            f"{n} {r['seconds']:.2f} s" for n, r in row.items()), file=sys.stderr, flush=True)
    for name, run in runs.items():
        rows[-1][name] |= run.close()
    return rows


def median(rows, value):
    return statistics.median(value(r) for r in rows)


def table(bench, rows, runs):
    """The rows of one shape, as Markdown."""
    layers, head = train_shapes.products_per_token(bench.config)
    peers = [n for n in runs if isinstance(runs[n], Peer)]
    best, best16 = (min((n for n in peers if kind in n and "recompute" not in n), default=None,
                        key=lambda n: median(rows, lambda r: r[n]["seconds"]))
                    for kind in (" f32", " bf16"))
    lines = [f"### {bench.shape}; best PyTorch f32: {best}, bf16: {best16}", "",
             "| what | s a step | tokens/s | against best f32 | against best bf16 | of sgemm peak"
             " | of bf16 peak | rss MiB | private | file |", "| --- " * 10 + "|"]
    for name in [*peers, *(n for n in runs if n not in peers)]:
        def ratio(to):
            each = sorted(r[to]["seconds"] / r[name]["seconds"] for r in rows) if to else ()
            return f"{statistics.median(each):.2f} ({each[0]:.2f} to {each[-1]:.2f})" \
                if to and to != name and runs[to].load is runs[name].load else ""
        tokens = runs[name].load.tokens
        giga = 4e-9 * (layers + head) * tokens
        seconds = median(rows, lambda r: r[name]["seconds"])
        share = median(rows, lambda r: giga / r[name]["seconds"] / r[name]["sgemm_gflops"])
        share16 = median(rows, lambda r: giga / r[name]["seconds"] / max(
            1, r[name]["bf16_gflops"], r[name]["amx_gflops"])) if "bf16" in name else 0
        last = rows[-1][name]
        lines.append(
            f"| {name} | {seconds:.3f} | {tokens / seconds:.1f} | {ratio(best)} |"
            f" {ratio(best16)} | {100 * share:.0f} % |"
            f" {f'{100 * share16:.0f} %' if share16 else ''} | {last['rss_mib']:.0f} |"
            f" {last.get('private_mib', 0):.0f} | {last.get('file_mib', 0):.0f} |")
    peaks = [result for r in rows for result in r.values()]
    most = [f"{median(peaks, lambda p: p[k]):.0f}" for k in PEAKS]
    lines += ["", f"Peaks: sgemm {most[0]} GFLOP/s, bf16 by vectors {most[1]}, by tiles {most[2]};"
              f" medians of {len(rows)} turns.", ""]
    return "\n".join(lines)


def contestants(shape, options):
    """{name: (base, flags)} of ours."""
    chosen = {n: row(n) for n in (options.only.split(",") if options.only else ROWS[shape])}
    for budget in options.budgets.split(",") if options.budgets else ():
        chosen |= {f"{n} {budget}": (base, [*flags, "--memory-budget", budget])
                   for n, (base, flags) in chosen.items() if "--memory-budget" not in flags}
    return chosen


def opponents(options):
    """(label, name, dtype, keep) of all that are installed and were asked for:
    those that keep their activations, unless others are named."""
    for spec in os.environ.get("PEERS", "").split():
        name = spec.split("=")[0]
        for dtype, keep in itertools.product(("f32", "bf16"), ("keep", "recompute")):
            label = f"torch {name} {dtype}" + (" recompute" if keep == "recompute" else "")
            if options.peers == "all" or (label in options.peers.split(",") if options.peers
                                          else keep == "keep"):
                yield label, name, dtype, keep


def start(bench, loads, options):
    """{name: run} of all that can; a name says its load when there are several."""
    runs = {}
    for load in loads:
        at = f" at {load.spec}" if len(loads) > 1 else ""
        for name, (base, flags) in contestants(bench.shape, options).items():
            try:
                runs[name + at] = Ours(load, name, base, flags,
                                       options.pairs * (1 + options.steps))
                said = f"loss {runs[name + at].loss:.4f}"
            except RuntimeError as refusal:
                said = refusal
            print(f"{bench.shape}: {name}{at}: {said}", file=sys.stderr, flush=True)
        for label, *what in opponents(options) if load.records == 1 else ():
            run = runs[label + at] = Peer(load, *what)
            print(f"{bench.shape}: {label}{at}: {run.version}, loss {run.loss:.4f}",
                  file=sys.stderr, flush=True)
    return runs


def rates(rows, runs):
    """Tokens/s of a row at each load, and what part that is of the rate at the
    first, turn by turn: the median and the range."""
    first = next(iter(runs.values())).load
    lines = [f"| what | tokens/s | against {first.spec} tokens |", "| --- " * 3 + "|"]
    for name, run in runs.items():
        speed = lambda r, n: runs[n].load.tokens / r[n]["seconds"]
        base = f"{name.rsplit(' at ', 1)[0]} at {first.spec}"
        each = sorted(speed(r, name) / speed(r, base) for r in rows)
        lines.append(f"| {name} | {median(rows, lambda r: speed(r, name)):.1f} |"
                     f" {statistics.median(each):.2f} ({each[0]:.2f} to {each[-1]:.2f}) |")
    return "\n".join(lines) + "\n"


def compare(bench, options):
    """The turns of one shape, and its table."""
    loads = [Load(bench, spec) for spec in options.tokens.split(",")]
    runs = {}
    try:
        runs = start(bench, loads, options)
        rows = turns(bench.shape, runs, options)
    finally:
        for run in runs.values():
            run.end()
    print(table(bench, rows, runs), flush=True)
    if len(loads) > 1:
        print(rates(rows, runs), flush=True)
    return rows


def one_shape(shape, options):
    with contextlib.ExitStack() as stack:
        if options.keep:
            folder = pathlib.Path(options.keep) / shape
            folder.mkdir(parents=True, exist_ok=True)
        else:
            folder = stack.enter_context(tempfile.TemporaryDirectory(dir=options.scratch))
        return compare(Bench(pathlib.Path(folder), shape), options)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("--shapes", default="gpt2,gemma3,qwen2")
    p.add_argument("--pairs", type=int, default=5)
    p.add_argument("--steps", type=int, default=2)
    p.add_argument("--tokens", default="256", help="tokens of a step, 6x40 packed")
    p.add_argument("--only", default="", help="our rows, by name")
    p.add_argument("--peers", default="",
                   help="theirs, by name, \"torch NAME f32 recompute\" too; or all, or none")
    p.add_argument("--budgets", default="", help="each of our rows once more with each")
    p.add_argument("--keep", help="a folder where models stay for the next run")
    p.add_argument("--scratch", default=None, help="a folder with some GB to spare")
    p.add_argument("--out", help="every number as JSON")
    options = p.parse_args()
    everything = {s: one_shape(s, options) for s in options.shapes.split(",")}
    if options.out:
        pathlib.Path(options.out).write_text(json.dumps(everything, indent=1))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Hearth's training against PyTorch's on the same model folder, in turn.

  train_bench.py [--shapes gpt2,gemma3,qwen2] [--pairs 5] [--steps 2]
                 [--tokens 256[,N..]] [--only NAME,..] [--peers NAME,..]
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
file; the process's resident set has some MiB of libraries besides.  Several
--tokens make one table each and one of their rates; --budgets adds a row to
each of --only for every budget.  A model takes minutes to draw: with
--keep it is drawn once.
"""
import argparse
import contextlib
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
# name: (base file, flags)
OURS = {
    "f32": ("f32", []),
    "f32 Q8_0": ("q8_0", []),
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
    "gpt2": ["f32 Q8_0 240M", "bf16 Q8_0 240M"],
    "gemma3": ["f32 Q8_0 370M", "bf16 Q8_0 370M"],
    "qwen2": ["f32 Q8_0", "f32 Q8_0 100M", "bf16 Q8_0 780M", "bf16 Q8_0 635M",
              "f32 Q8_0 streamed", "f32 Q4_0 410M"],
    "llama": ["f32 Q4_0 890M", "f32 Q4_0 streamed"],
}


def row(name):
    """(base, flags) of a row, which may name its budget."""
    if name in OURS:
        return OURS[name]
    plain, budget = name.rsplit(" ", 1)
    base, flags = OURS[plain]
    return base, [*flags, "--memory-budget", budget]


def words(text):
    """As few letters as possible a token: words of the demo's world."""
    vocabulary = "the cat sat on a mat and ran to see who was there all day ".split()
    return " ".join(vocabulary[i * i % len(vocabulary)] for i in range(text))


class Bench:
    def __init__(self, work, shape, tokens, steps):
        self.work, self.shape, self.tokens, self.steps = work, shape, tokens, steps
        self.config = train_shapes.SHAPES[shape]
        (work / "config.json").write_text(json.dumps(self.config))
        self.bases = {}
        self.ids = self.record(tokens)

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

    def encode(self, text):
        run = subprocess.run([os.environ["HEARTH"], "tokenize", "--model", self.base("f32"),
                              "--json"], input=text + "\n", capture_output=True, text=True,
                             check=True)
        return json.loads(run.stdout.splitlines()[0])["ids"] + [self.config["eos_token_id"]]

    def record(self, tokens):
        """One record of exactly so many tokens; writes it, returns its ids."""
        low, high = 1, tokens
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if len(self.encode(words(middle))) <= tokens \
                else (low, middle - 1)
        text = words(low)
        for tail in range(tokens):
            ids = self.encode(text + "?" * tail)
            if len(ids) == tokens:
                (self.work / "data.jsonl").write_text(json.dumps({"text": text + "?" * tail}))
                (self.work / "ids.json").write_text(json.dumps(ids))
                return ids
        raise RuntimeError(f"no record of {tokens} tokens")


class Ours:
    """One `hearth train` that is stopped between its turns."""

    def __init__(self, bench, name, kind, flags, steps):
        """Runs the first step, which nobody counts; steps: all others."""
        steps += 1
        self.run = subprocess.Popen(
            [os.environ["HEARTH"], "train", "--model", bench.base(kind), "--data",
             bench.work / "data.jsonl", "--out", bench.work / f"out {name}", "--steps", str(steps),
             "--epochs", str(steps), "--seq", str(bench.tokens), "--loss-on", "all", "--template",
             "plain", "--targets", "attn", "--threads", str(THREADS), "--schedule", "constant",
             *flags, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.loss = self.until("step")["loss"]
        self.pause()

    def until(self, kind):
        for line in self.run.stdout:
            event = json.loads(line)
            if event["event"] == kind:
                return event
        raise RuntimeError(self.run.stderr.read().strip())

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

    def __init__(self, name, bench, dtype, keep):
        spec = dict(p.split("=", 1) for p in os.environ.get("PEERS", "").split())[name]
        python, library, path = (spec + "::").split(":")[:3]
        env = {**os.environ, "OMP_NUM_THREADS": str(THREADS), "OMP_PROC_BIND": "true"}
        env.update({k: v for k, v in (("LD_LIBRARY_PATH", library), ("PYTHONPATH", path)) if v})
        self.run = subprocess.Popen(
            [python, HERE / "train_peer.py", bench.base("f32"), bench.work / "ids.json",
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
    """[{name: result}], one dictionary a turn, with the peaks beside."""
    rows = []
    for i in range(options.pairs):
        row = {"peak": peak()} | {n: r.turn(options.steps) for n, r in runs.items()}
        rows.append(row)
        print(f"{shape}: turn {i + 1} of {options.pairs}: " + ", ".join(
            f"{n} {r['seconds']:.2f} s" for n, r in row.items() if n != "peak"),
            file=sys.stderr, flush=True)
    for name, run in runs.items():
        rows[-1][name] |= run.close()
    return rows


def median(rows, value):
    return statistics.median(value(r) for r in rows)


def table(bench, rows, ours, peers):
    """The rows of one shape, as Markdown."""
    layers, head = train_shapes.products_per_token(train_shapes.SHAPES[bench.shape])
    giga = 4e-9 * (layers + head) * bench.tokens
    rivals = [n for n in peers if "f32" in n and "recompute" not in n]
    best = min(rivals, key=lambda n: median(rows, lambda r: r[n]["seconds"]), default=None)
    best16 = next((n for n in peers if "bf16" in n), None)
    lines = [f"### {bench.shape}, {bench.tokens} tokens; best PyTorch f32: {best}", "",
             "| what | s a step | tokens/s | against best f32 | against bf16 | of sgemm peak"
             " | rss MiB | private | file |", "| --- " * 9 + "|"]
    for name in [*peers, *ours]:
        def ratio(to):
            each = sorted(r[to]["seconds"] / r[name]["seconds"] for r in rows) if to else ()
            return f"{statistics.median(each):.2f} ({each[0]:.2f} to {each[-1]:.2f})" \
                if to and to != name else ""
        seconds = median(rows, lambda r: r[name]["seconds"])
        share = median(rows, lambda r: giga / r[name]["seconds"] / r["peak"]["sgemm_gflops"])
        last = rows[-1][name]
        lines.append(
            f"| {name} | {seconds:.3f} | {bench.tokens / seconds:.1f} | {ratio(best)} |"
            f" {ratio(best16)} | {100 * share:.0f} % | {last['rss_mib']:.0f} |"
            f" {last.get('private_mib', 0):.0f} | {last.get('file_mib', 0):.0f} |")
    peaks = [r["peak"] for r in rows]
    lines += ["", f"Peaks: sgemm {median(peaks, lambda p: p['sgemm_gflops']):.0f} GFLOP/s, bf16 "
              f"{median(peaks, lambda p: p['bf16_gflops']):.0f}; medians of {len(rows)} turns.", ""]
    return "\n".join(lines)


def contestants(shape, options):
    """{name: (base, flags)} of ours."""
    chosen = {n: row(n) for n in (options.only.split(",") if options.only else ROWS[shape])}
    for budget in options.budgets.split(",") if options.budgets else ():
        chosen |= {f"{n} {budget}": (base, [*flags, "--memory-budget", budget])
                   for n, (base, flags) in chosen.items() if "--memory-budget" not in flags}
    return chosen


def opponents(options):
    """(label, name, dtype, keep) of all that are installed and were asked for."""
    for spec in os.environ.get("PEERS", "").split():
        name = spec.split("=")[0]
        for label, dtype, keep in ((f"torch {name} f32", "f32", "keep"),
                                   (f"torch {name} f32 recompute", "f32", "recompute"),
                                   (f"torch {name} bf16", "bf16", "keep")):
            asked = label in options.peers.split(",") if options.peers \
                else keep == "keep" and (dtype == "f32" or name != "debian")
            if asked:
                yield label, name, dtype, keep


def start(bench, options):
    """{name: run} of all that can."""
    runs = {}
    for name, (base, flags) in contestants(bench.shape, options).items():
        try:
            runs[name] = Ours(bench, name, base, flags, options.pairs * (1 + options.steps))
            print(f"{bench.shape}: {name}: loss {runs[name].loss:.4f}", file=sys.stderr, flush=True)
        except RuntimeError as refusal:
            print(f"{bench.shape}: {name}: {refusal}", file=sys.stderr)
    for label, *what in opponents(options):
        runs[label] = Peer(what[0], bench, *what[1:])
        print(f"{bench.shape}: {label}: {runs[label].version}, loss {runs[label].loss:.4f}",
              file=sys.stderr, flush=True)
    return runs


def compare(bench, options):
    """The turns of one shape at one length, and its table."""
    runs = {}
    try:
        runs = start(bench, options)
        rows = turns(bench.shape, runs, options)
    finally:
        for run in runs.values():
            run.end()
    print(table(bench, rows, [n for n in runs if isinstance(runs[n], Ours)],
                [n for n in runs if isinstance(runs[n], Peer)]), flush=True)
    return rows


def rates(rows_at):
    """Tokens/s by length, and in brackets the share of the rate at 256."""
    names = [n for n in next(iter(rows_at.values()))[0] if n != "peak"]
    lines = ["| tokens | " + " | ".join(names) + " |", "| --- " * (len(names) + 1) + "|"]
    rate = {(n, t): t / median(rows, lambda r, n=n: r[n]["seconds"])
            for t, rows in rows_at.items() for n in names if n in rows[0]}
    for t in rows_at:
        cells = [f"{rate[n, t]:.1f}" + (f" ({rate[n, t] / rate[n, 256]:.2f})"
                                        if (n, 256) in rate else "")
                 if (n, t) in rate else "" for n in names]
        lines.append(f"| {t} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def one_shape(shape, options):
    with contextlib.ExitStack() as stack:
        if options.keep:
            folder = pathlib.Path(options.keep) / shape
            folder.mkdir(parents=True, exist_ok=True)
        else:
            folder = stack.enter_context(tempfile.TemporaryDirectory(dir=options.scratch))
        rows_at = {int(n): compare(Bench(pathlib.Path(folder), shape, int(n), options.steps),
                                   options) for n in options.tokens.split(",")}
        if len(rows_at) > 1:
            print(rates(rows_at), flush=True)
        return rows_at


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("--shapes", default="gpt2,gemma3,qwen2")
    p.add_argument("--pairs", type=int, default=5)
    p.add_argument("--steps", type=int, default=2)
    p.add_argument("--tokens", default="256", help="lengths")
    p.add_argument("--only", default="", help="our rows, by name")
    p.add_argument("--peers", default="", help="theirs, by name, \"torch NAME f32 recompute\" too")
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

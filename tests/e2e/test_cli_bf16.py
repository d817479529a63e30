#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`hearth train --compute bf16` teaches a real model what f32 teaches it: the
held-out loss falls by at least 97 % as much.  `--compute int8` does on the same
model in Q8_0.  A few steps on stories260K; tests/bench/loss_bf16.sh is the whole
comparison.

Needs $HEARTH (the program); skips without $HEARTH_TEST_DATA."""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

HEARTH = os.environ["HEARTH"]
DATA = pathlib.Path(os.environ.get("HEARTH_TEST_DATA", "../shared/data"))
STORIES = DATA / "models" / "stories260K"
ROLES = DATA / "records" / "shakespeare" / "by_role.jsonl"
STEPS, BATCH, HELD_OUT = (4, 1, 3) if os.environ.get("HEARTH_SANITIZE") else (20, 2, 10)
LETTERS = 300  # of a role
COMMON = ("--seq", 64, "--loss-on", "all", "--json")


def hearth(*args):
    return subprocess.run([HEARTH, *map(str, args)], capture_output=True, text=True, timeout=250,
                          check=False)


def events(word, *args):
    run = hearth(word, *COMMON, *args)
    assert run.returncode == 0, (args, run.stderr, run.stdout[-300:])
    return [json.loads(line) for line in run.stdout.splitlines()]


@unittest.skipUnless(STORIES.exists() and ROLES.exists(), f"SKIPPED: no test data at {DATA}")
class Bf16(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="hearth_bf16_"))
        self.addCleanup(shutil.rmtree, self.dir)
        with open(ROLES, encoding="utf-8") as f:
            texts = [" ".join(json.loads(next(f))["speeches"])[:LETTERS] for _ in range(60)]
        for name, part in (("valid", texts[:HELD_OUT]), ("train", texts[HELD_OUT:])):
            (self.dir / f"{name}.jsonl").write_text(
                "".join(json.dumps({"text": t}) + "\n" for t in part))

    def loss(self, model, *adapter):
        """Nats a held-out token, by f32 products."""
        return events("eval", "--model", model, "--data", self.dir / "valid.jsonl",
                      *adapter)[-1]["loss"]

    def train(self, model, compute, out, threads=2):
        return ("--model", model, "--data", self.dir / "train.jsonl", "--out", out, "--steps",
                STEPS, "--targets", "all-linear", "--batch", BATCH, "--lr", "3e-3", "--compute",
                compute, "--threads", threads)

    def after(self, model, compute):
        """That loss after training; the training's own losses, step by step."""
        out = self.dir / compute
        said = events("train", *self.train(model, compute, out))
        return self.loss(model, "--adapter", out), [e["loss"] for e in said
                                                    if e["event"] == "step"]

    def compare(self, model, *kinds):
        """f32 against each; the losses of all steps."""
        before = self.loss(model)
        f32, steps = self.after(model, "f32")
        self.assertGreater(before - f32, 0.2)
        all_steps = [steps]
        for kind in kinds:
            end, steps = self.after(model, kind)
            self.assertNotIn(steps, all_steps)  # these were other products
            all_steps.append(steps)
            share = (before - end) / (before - f32)
            self.assertGreaterEqual(share, 0.97, (kind, before, f32, end))
            print(f"loss {before:.4f}, f32 {f32:.4f}, {kind} {end:.4f}: {100 * share:.2f} %")

    def test_the_loss_falls_as_by_f32(self):
        self.compare(STORIES, "bf16")

    def test_the_loss_falls_as_by_f32_with_int8(self):
        model = self.dir / "q8_0.gguf"
        run = hearth("model", "convert", "--model", STORIES, "--type", "q8_0", "--out", model)
        self.assertEqual(run.returncode, 0, run.stderr)
        self.compare(model, "bf16", "int8")
        run = hearth("train", *COMMON, *self.train(model, "int8", self.dir / "alone", 1))
        self.assertEqual(run.returncode, 0, run.stderr)
        name = "adapter_model.safetensors"
        self.assertEqual((self.dir / "int8" / name).read_bytes(),
                         (self.dir / "alone" / name).read_bytes())  # whatever the threads

    def test_int8_is_refused_where_it_does_nothing(self):
        run = hearth("train", *COMMON, *self.train(STORIES, "int8", self.dir / "none"))
        self.assertEqual(run.returncode, 1)
        self.assertIn("Q8_0", run.stdout + run.stderr)
        self.assertFalse((self.dir / "none").exists())


if __name__ == "__main__":
    unittest.main(verbosity=2)  # says what it skips

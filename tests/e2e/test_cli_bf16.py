#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`hearth train --compute bf16` teaches a real model what f32 teaches it: the
held-out loss falls by at least 97 % as much.  A few steps on stories260K;
tests/bench/loss_bf16.sh is the whole comparison.

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
COMMON = ("--model", STORIES, "--seq", 64, "--loss-on", "all", "--threads", 2, "--json")


def events(word, *args):
    run = subprocess.run([HEARTH, word, *map(str, COMMON + args)], capture_output=True, text=True,
                         timeout=250, check=False)
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

    def loss(self, *adapter):
        """Nats a held-out token, by f32 products."""
        return events("eval", "--data", self.dir / "valid.jsonl", *adapter)[-1]["loss"]

    def after(self, compute):
        """That loss after training; the training's own losses, step by step."""
        out = self.dir / compute
        said = events("train", "--data", self.dir / "train.jsonl", "--out", out, "--steps", STEPS,
                      "--targets", "all-linear", "--batch", BATCH, "--lr", "3e-3", "--compute",
                      compute)
        return self.loss("--adapter", out), [e["loss"] for e in said if e["event"] == "step"]

    def test_the_loss_falls_as_by_f32(self):
        before = self.loss()
        f32, f32_steps = self.after("f32")
        bf16, bf16_steps = self.after("bf16")
        self.assertNotEqual(f32_steps, bf16_steps)  # these were other products
        self.assertGreater(before - f32, 0.2)
        share = (before - bf16) / (before - f32)
        self.assertGreaterEqual(share, 0.97, (before, f32, bf16))
        print(f"loss {before:.4f}, f32 {f32:.4f}, bf16 {bf16:.4f}: {100 * share:.2f} %")


if __name__ == "__main__":
    unittest.main(verbosity=2)  # says what it skips

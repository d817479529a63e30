#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`hearth train --energy` on a fake sysfs: warm slows it down, unplugging
pauses it, the charger lets it go on, Ctrl-C ends a pause; and the adapter is
the same bytes as that of a run that nothing disturbed.

Needs $HEARTH (the program)."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import test_cli_train as kit
from fake_sys import FakeSys, cpu_seconds

HEARTH = os.environ["HEARTH"]
STEPS = 400  # still at work when the conditions are read again, on a fast machine too


class Energy(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="hearth_energy_"))
        self.addCleanup(shutil.rmtree, self.dir)
        (self.dir / "config.json").write_text(json.dumps(kit.CONFIG))
        (self.dir / "tokenizer.json").write_text(json.dumps(kit.byte_tokenizer()))
        subprocess.run([HEARTH, "model", "create", "--config", self.dir / "config.json",
                        "--tokenizer", self.dir / "tokenizer.json", "--seed", "7", "--out",
                        self.dir / "model"], check=True, stdout=subprocess.DEVNULL)
        (self.dir / "data.jsonl").write_text(
            "".join(json.dumps({"text": f"line {i} of a few"}) + "\n" for i in range(12)))
        self.sys = FakeSys(self.dir / "sys")
        self.sys.heat(40)

    def start(self, out, *flags):
        """A run; at most a minute passes between two of its lines."""
        child = subprocess.Popen(
            [HEARTH, "train", "--model", self.dir / "model", "--data", self.dir / "data.jsonl",
             "--out", self.dir / out, "--steps", str(STEPS), "--batch", "2", "--json", *flags],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(child.stderr.close)
        self.addCleanup(child.stdout.close)
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        return child

    def careful(self, out, *flags):
        return self.start(out, "--energy", "charging", "--sysfs", self.sys.root, "--duty", "0.05",
                          *flags)

    def until(self, child, kind):
        """Read events up to the next one of a kind."""
        for line in child.stdout:
            event = json.loads(line)
            if event["event"] == kind:
                return event
        raise AssertionError(f"no {kind}: {child.stderr.read()}")

    def adapter(self, out):
        return (self.dir / out / "adapter_model.safetensors").read_bytes()

    def calm(self):
        child = self.start("calm")
        self.until(child, "done")
        self.assertEqual(child.wait(60), 0)
        return self.adapter("calm")

    def test_warm_slows_down_and_unplugging_pauses(self):
        self.sys.heat(78)
        child = self.careful("out")
        slow = self.until(child, "throttled")
        self.assertEqual((slow["reason"], slow["duty"]), ("warm", 0.05))
        self.until(child, "step")
        self.sys.plug(False)
        pause = self.until(child, "paused")
        self.assertEqual(pause["reason"], "unplugged")
        before = cpu_seconds(child)
        time.sleep(1.5)
        self.assertLess(cpu_seconds(child) - before, 0.3)  # seconds; observed 0.0
        self.sys.heat(40)
        self.sys.plug(True)
        self.assertGreaterEqual(self.until(child, "resumed")["step"], pause["step"])
        self.assertEqual(self.until(child, "done")["steps"], STEPS)
        self.assertEqual(child.wait(60), 0)
        self.assertEqual(self.adapter("out"), self.calm())

    def test_interrupt_ends_a_pause_and_the_run_can_go_on(self):
        self.sys.plug(False)
        child = self.careful("out")
        self.until(child, "paused")
        child.send_signal(signal.SIGINT)
        error = self.until(child, "error")
        self.assertEqual((child.wait(60), error["status"]), (1, "ECANCELLED"))
        self.sys.plug(True)
        child = self.careful("out", "--resume")
        self.until(child, "done")
        self.assertEqual(child.wait(60), 0)
        self.assertEqual(self.adapter("out"), self.calm())

    def test_words_of_a_wrong_sysfs(self):
        child = self.start("out", "--energy", "careful", "--sysfs", self.dir / "none")
        self.assertIn("--sysfs", self.until(child, "error")["hint"])
        self.assertEqual(child.wait(60), 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)

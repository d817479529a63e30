#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`hearth records` and `hearth privacy`, as a person would call them.

Needs $HEARTH (the program).  Looks at the bytes of the state directory itself:
its modes, and that a forgotten sentence is in none of its files.
"""
import json
import os
import pathlib
import shutil
import stat
import subprocess
import tempfile
import unittest

from test_cli_train import byte_tokenizer

HEARTH = os.environ["HEARTH"]
CANARY = "the canary slept in the lighthouse"
LINES = [{"text": CANARY}, {"prompt": "mood?", "completion": "calm"},
         {"messages": [{"role": "user", "content": "steps?"},
                       {"role": "assistant", "content": "many"}]},
         {"instruction": "say how it was", "input": "", "output": "good"},
         {"question": "slept?", "choices": ["yes", "no"], "answer": 0}]


class Records(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="hearth_records_"))
        self.state = self.dir / "state"
        self.model = self.dir / "model"
        self.model.mkdir()
        (self.model / "tokenizer.json").write_text(json.dumps(byte_tokenizer()))

    def tearDown(self):
        shutil.rmtree(self.dir)

    def hearth(self, *args, code=0, text=None):
        r = subprocess.run([HEARTH, *map(str, args), "--state", str(self.state)],
                           capture_output=True, text=True, timeout=300, input=text)
        self.assertEqual(r.returncode, code, (args, r.stdout, r.stderr))
        return r.stdout if code == 0 else r.stderr

    def events(self, *args):
        return [json.loads(line)
                for line in self.hearth(*args, "--json").splitlines()]

    def put(self, *lines, flags=()):
        path = self.dir / "in.jsonl"
        path.write_text("".join(json.dumps(x) + "\n" for x in lines))
        return self.events("records", "import", path, *flags)[0]

    def canary(self):
        return [p for p in self.state.rglob("*")
                if p.is_file() and CANARY.encode() in p.read_bytes()]

    def test_all_five_forms_come_in_once(self):
        self.assertEqual(self.put(*LINES, flags=["--consent", "federated"]),
                         {"event": "import", "added": 5, "duplicates": 0})
        self.assertEqual(self.put(*LINES)["duplicates"], 5)
        kept = [e for e in self.events("records", "list") if "id" in e]
        self.assertEqual({e["form"] for e in kept},
                         {"text", "prompt", "messages", "instruction", "choices"})
        # The second import added a purpose and took none away.
        self.assertEqual({e["purposes"] for e in kept}, {"federated,personal"})
        self.assertIn(":2:", self.bad("{}\n[1]\n", "{\"text\":\"a\"}\n{}\n"))
        self.assertEqual(len([e for e in self.events("records", "list")
                              if "id" in e]), 5)

    def bad(self, *texts):
        out = ""
        for text in texts:
            (self.dir / "bad.jsonl").write_text(text)
            out = self.hearth("records", "import", self.dir / "bad.jsonl", code=1)
        return out

    def test_nobody_else_can_read_them(self):
        os.umask(0)
        self.put(LINES[0])
        self.assertEqual(stat.S_IMODE(self.state.stat().st_mode), 0o700)
        for path in self.state.rglob("*"):
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600, path)

    def test_forgotten_means_in_no_file(self):
        self.put(*LINES)
        self.assertTrue(self.canary())
        which = [e["id"] for e in self.events("records", "list")
                 if e.get("form") == "text"][0]
        done = self.events("records", "forget", which)
        self.assertEqual(done[0]["records"], 1)
        self.assertEqual(self.canary(), [])
        self.assertIn("no record has this id",
                      self.hearth("records", "forget", which, code=1))
        self.hearth("records", "forget", code=2)
        self.assertEqual(self.events("records", "forget", "--all")[0]["records"], 4)

    def test_the_first_letters_of_an_id_are_enough_to_forget(self):
        self.put(*LINES)
        listed = self.hearth("records", "list").splitlines()
        self.assertTrue(all(len(line) <= 80 for line in listed), listed)
        self.assertEqual(listed[-1], "5 records")
        which = listed[0].split()[0]
        self.assertEqual(len(which), 12)
        self.assertIn("no record has this id",
                      self.hearth("records", "forget", which[:3], code=1))
        self.hearth("records", "forget", "", code=1)
        self.assertEqual(self.events("records", "forget", which)[0]["records"], 1)
        self.assertNotIn(which, self.hearth("records", "list"))

    def test_records_are_kept_as_long_as_was_said(self):
        self.put(LINES[0], flags=["--keep", "1ms"])
        self.assertFalse(any("id" in e for e in self.events("records", "list")))
        self.assertEqual(self.canary(), [])

    def test_check_marks_what_is_masked(self):
        one = self.hearth("records", "add", text=json.dumps(LINES[1]) + "\n")
        out = self.hearth("records", "check", "--model", self.model)
        held_out = "0 records to train on" in out
        if not held_out:
            self.assertIn("[<s>mood?] calm</s>", out)
        self.assertEqual(len(one.strip()), 64)

    def test_privacy_says_what_was_given(self):
        self.assertIn("no state in", self.hearth("privacy", code=1))
        self.put(LINES[0])
        self.assertTrue(all(e["epsilon_coordinator"] == 0
                            for e in self.events("privacy")
                            if e["event"] == "budget"))
        # One policy, one delta, whoever asks.
        (self.state / "policy.ini").write_text("[policy]\ndelta = 1e-5\n")
        self.assertEqual({e["delta"] for e in self.events("privacy", "show")
                          if e["event"] == "budget"}, {1e-5})
        self.assertEqual(self.events("status")[0]["delta"], 1e-5)
        (self.state / "policy.ini").write_text("[policy]\nepsilon_task = 11\n")
        self.assertIn("may only be tightened", self.hearth("status", code=1))


if __name__ == "__main__":
    unittest.main(verbosity=1)

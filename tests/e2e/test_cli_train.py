#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The models-and-training commands of `hearth`, as a person would call them.

Needs $HEARTH (the program).  Uses a model that it creates itself; parts that
need real data skip, and say so, without $HEARTH_TEST_DATA.
"""
import json
import math
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

HEARTH = os.environ["HEARTH"]
DATA = pathlib.Path(os.environ.get("HEARTH_TEST_DATA", "../shared/data"))
STORIES = DATA / "models" / "stories260K"

CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama",
    "hidden_act": "silu", "hidden_size": 32, "intermediate_size": 48,
    "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": True,
    "vocab_size": 258, "bos_token_id": 256, "eos_token_id": 257,
    "initializer_range": 0.1, "torch_dtype": "float32"}


def byte_tokenizer():
    """A byte-level tokenizer.json without merges: 256 bytes, begin, end."""
    table = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    extra = [b for b in range(256) if b not in table]
    chars = {b: chr(b) for b in table}
    chars.update({b: chr(256 + i) for i, b in enumerate(extra)})
    vocab = {chars[b]: b for b in range(256)}
    special = [{"id": 256 + i, "content": c, "single_word": False,
                "lstrip": False, "rstrip": False, "normalized": False,
                "special": True} for i, c in enumerate(["<s>", "</s>"])]
    vocab.update({"<s>": 256, "</s>": 257})
    byte_level = {"type": "ByteLevel", "add_prefix_space": False,
                  "trim_offsets": True, "use_regex": False}
    return {"version": "1.0", "truncation": None, "padding": None,
            "added_tokens": special, "normalizer": None,
            "pre_tokenizer": byte_level, "post_processor": None,
            "decoder": byte_level,
            "model": {"type": "BPE", "dropout": None, "unk_token": None,
                      "continuing_subword_prefix": None,
                      "end_of_word_suffix": None, "fuse_unk": False,
                      "byte_fallback": False, "vocab": vocab, "merges": []}}


class Cli(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = pathlib.Path(tempfile.mkdtemp(prefix="hearth_cli_"))
        (cls.dir / "config.json").write_text(json.dumps(CONFIG))
        (cls.dir / "tokenizer.json").write_text(json.dumps(byte_tokenizer()))
        cls.model = cls.dir / "model"
        cls.call("model", "create", "--config", cls.dir / "config.json",
                 "--tokenizer", cls.dir / "tokenizer.json", "--seed", 7,
                 "--out", cls.model)
        words = ["sleep", "steps", "mood", "heart", "walk", "rest"]
        rows = [{"text": f"I {words[i % 6]} and {words[(i * 5 + 1) % 6]}."}
                for i in range(24)]
        cls.train = cls.dir / "train.jsonl"
        cls.train.write_text("".join(json.dumps(r) + "\n" for r in rows))
        cls.valid = cls.dir / "valid.jsonl"
        cls.valid.write_text("".join(json.dumps(r) + "\n" for r in rows[:6]))

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.dir)

    @classmethod
    def run_cli(cls, *args, **kw):
        return subprocess.run([HEARTH, *map(str, args)], capture_output=True,
                              text=True, timeout=600, **kw)

    @classmethod
    def call(cls, *args):
        r = cls.run_cli(*args)
        assert r.returncode == 0, (args, r.returncode, r.stderr)
        return r.stdout

    def events(self, *args):
        out = self.call(*args, "--json")
        events = [json.loads(line) for line in out.splitlines()]
        self.assertTrue(all("event" in e for e in events))
        return events

    def fails(self, code, needle, *args):
        """Exit code, one line on stderr that holds needle, empty stdout."""
        r = self.run_cli(*args)
        self.assertEqual(r.returncode, code, r.stderr)
        self.assertEqual(r.stderr.count("\n"), 1, r.stderr)
        self.assertIn(needle, r.stderr)
        return r.stderr

    def train_args(self, out, *more):
        return ("train", "--model", self.model, "--data", self.train, "--out",
                self.dir / out, "--steps", 12, "--batch", 4, "--lr", "2e-2",
                "--seq", 64, *more)

    # ---- the frame ----

    def test_help_has_an_example_everywhere(self):
        self.assertIn("usage: hearth COMMAND", self.call("--help"))
        for words in (["train"], ["eval"], ["generate"], ["plan"], ["doctor"],
                      ["model", "create"], ["model", "inspect"],
                      ["model", "logits"], ["adapter", "inspect"]):
            text = self.call(*words, "--help")
            self.assertIn("example:\n  hearth " + " ".join(words), text)
        self.assertEqual(self.call("help", "train"), self.call("train", "--help"))
        self.assertRegex(self.call("--version"), r"^hearth \d+\.\d+\.\d+\n$")

    def test_help_fits_a_terminal(self):
        for words in (["train"], ["eval"], ["generate"], ["plan"], ["sync"],
                      ["init"], ["records", "import"], ["privacy", "account"]):
            for line in self.call(*words, "--help").splitlines():
                self.assertLessEqual(len(line), 100, line)
                self.assertNotIn("[]", line)

    def test_bad_usage_is_exit_2_and_one_line(self):
        self.fails(2, "a command is missing")
        self.fails(2, "did you mean train?", "trian")
        self.fails(2, "unknown command", "frobnicate")
        self.fails(2, "did you mean --steps?", "train", "--stpes", "3")
        self.fails(2, "--model DIR is missing", "train", "--data", "x")
        self.fails(2, "given twice", "plan", "--seq", "9", "--seq", "9")
        self.fails(2, "is not a whole number", "plan", "--seq", "9x")
        self.fails(2, "is not between", "plan", "--rank", "2000")
        self.fails(2, "is not between", "plan", "--dropout", "2")
        self.fails(2, "is not a number", "plan", "--lr", "nan")
        self.fails(2, "is none of", "plan", "--schedule", "step")
        self.fails(2, "is not a size", "plan", "--memory-budget", "4Q")
        self.fails(2, "needs a value", "plan", "--seq")
        self.fails(2, "takes no value", "plan", "--rslora=1")
        self.fails(2, "unexpected argument", "plan", "x")
        self.fails(2, "begin with --", "plan", "-x")
        self.fails(2, "did you mean inspect?", "model", "inspct")
        self.fails(2, "a command is missing", "model")
        self.fails(2, "--ids takes numbers", "model", "logits", "--model", "m",
                   "--ids", "1,,2", "--out", "f")

    def test_errors_with_json_are_events(self):
        r = self.run_cli("model", "inspect", "--model", self.dir / "no",
                         "--json")
        self.assertEqual(r.returncode, 1)
        self.assertEqual(r.stderr, "")
        e = json.loads(r.stdout)
        self.assertEqual(e["event"], "error")
        self.assertEqual(set(e), {"event", "status", "class", "message", "hint"})
        self.assertEqual(e["status"], "ENOTFOUND")
        r = self.run_cli("train", "--nope", "--json")
        self.assertEqual(r.returncode, 2)
        self.assertEqual(json.loads(r.stdout)["status"], "EINVAL")

    # ---- models ----

    def test_model_create_is_the_same_for_a_seed(self):
        for name, seed in (("m1", 7), ("m2", 8)):
            self.call("model", "create", "--config", self.dir / "config.json",
                      "--tokenizer", self.dir / "tokenizer.json", "--seed",
                      seed, "--out", self.dir / name)
        ids = [self.events("model", "inspect", "--model", self.dir / n)[0]
               ["base_id"] for n in ("model", "m1", "m2")]
        self.assertEqual(ids[0], ids[1])
        self.assertNotEqual(ids[0], ids[2])
        self.fails(1, "there is a model already", "model", "create", "--config",
                   self.dir / "config.json", "--tokenizer",
                   self.dir / "tokenizer.json", "--out", self.model)

    def test_inspect_writes_the_base_of_a_task(self):
        text = self.call("model", "inspect", "--model", self.model, "--task")
        self.assertRegex(text, r"^\[base\]\nid = [0-9a-f]{64}\n"
                               r"tokenizer = [0-9a-f]{64}\ntemplate = ")
        self.assertIn("layers = 2\nhidden = 32\nheads = 4\nkv_heads = 2\n"
                      "head_dim = 8\nffn = 48\n", text)

    def test_model_logits_writes_a_tensor(self):
        out = self.dir / "logits.safetensors"
        self.call("model", "logits", "--model", self.model, "--ids", "256,73,7",
                  "--out", out)
        raw = out.read_bytes()
        n = struct.unpack("<Q", raw[:8])[0]
        head = json.loads(raw[8:8 + n])["logits"]
        self.assertEqual(head["shape"], [3, 258])
        self.assertEqual(head["dtype"], "F32")
        self.fails(2, "--ids: 258 is outside the vocabulary", "model", "logits",
                   "--model", self.model, "--ids", "258", "--out", out)

    # ---- training ----

    def test_train_eval_generate(self):
        events = self.events(*self.train_args("ad", "--valid", self.valid,
                                              "--eval-every", 6))
        kinds = [e["event"] for e in events]
        self.assertEqual(kinds[0], "plan")
        self.assertEqual(kinds.count("step"), 12)
        self.assertEqual(kinds.count("eval"), 3)
        self.assertEqual(kinds[-1], "done")
        steps = [e for e in events if e["event"] == "step"]
        self.assertLess(steps[-1]["loss"], steps[0]["loss"])
        for key in ("step", "loss", "lr", "grad_norm", "tokens", "seconds",
                    "tokens_per_second"):
            self.assertIn(key, steps[0])
        for key in ("steps", "tokens", "seconds", "tokens_per_second",
                    "private_peak", "file_resident_peak", "rss_peak",
                    "plan_bytes"):
            self.assertIn(key, events[-1])
        base = self.events("eval", "--model", self.model, "--data", self.valid)
        ours = self.events("eval", "--model", self.model, "--data", self.valid,
                           "--adapter", self.dir / "ad")
        half = self.events("eval", "--model", self.model, "--data", self.valid,
                           "--adapter", f"{self.dir / 'ad'}:0.5",
                           "--adapter", f"{self.dir / 'ad'}:0.5")
        self.assertLess(ours[-1]["loss"], base[-1]["loss"])
        self.assertAlmostEqual(ours[-1]["loss"], half[-1]["loss"], places=4)
        text = self.call("generate", "--model", self.model, "--adapter",
                         self.dir / "ad", "--prompt", "I", "--max-tokens", 5)
        again = self.call("generate", "--model", self.model, "--adapter",
                          self.dir / "ad", "--prompt", "I", "--max-tokens", 5)
        self.assertEqual(text, again)
        done = self.events("generate", "--model", self.model, "--prompt", "I",
                           "--max-tokens", 5)[-1]
        self.assertLessEqual(done["tokens"], 5)

    def test_train_writes_the_same_bytes_for_any_threads(self):
        for kernels in ("auto", "reference"):
            got = set()
            for threads in (1, 2, 3, 7):
                name = f"th_{kernels}_{threads}"
                self.call(*self.train_args(name, "--threads", threads,
                                           "--kernels", kernels,
                                           "--dropout", "0.1"))
                got.add((self.dir / name / "adapter_model.safetensors")
                        .read_bytes())
            self.assertEqual(len(got), 1, kernels)

    def test_adapter_config_is_pefts(self):
        self.call(*self.train_args("peft", "--targets", "all-linear",
                                   "--layers", "last:1", "--rslora"))
        c = json.loads((self.dir / "peft" / "adapter_config.json").read_text())
        self.assertEqual(list(c), sorted(c))
        self.assertEqual(c["peft_type"], "LORA")
        self.assertEqual(c["layers_to_transform"], [1])
        self.assertEqual(len(c["target_modules"]), 7)
        self.assertTrue(c["use_rslora"])
        e = self.events("adapter", "inspect", "--adapter", self.dir / "peft")
        self.assertEqual(e[0]["tensors"], 14)
        self.assertEqual(e[0]["applied"], 14)
        self.assertEqual(e[0]["layers"], 1)

    def test_results_of_two_kinds_do_not_share_a_folder(self):
        self.fails(2, "--out is the folder of --model", "train", "--model",
                   self.model, "--data", self.train, "--out", self.model,
                   "--mode", "full")
        self.call(*self.train_args("kind"))
        self.fails(2, "holds an adapter already",
                   *self.train_args("kind", "--mode", "full"))
        self.call(*self.train_args("kind2", "--mode", "full"))
        self.fails(2, "holds a whole model already", *self.train_args("kind2"))
        self.call(*self.train_args("kind"))  # the same kind is replaced

    def test_freeze_a_keeps_the_seed(self):
        self.call(*self.train_args("ffa", "--freeze-a", "--seed", 3))
        e = self.events("adapter", "inspect", "--adapter", self.dir / "ffa")
        self.assertTrue(e[0]["freeze_a"] and e[0]["a_from_seed"])
        self.call(*self.train_args("ffa2", "--adapter", self.dir / "ffa"))
        self.fails(1, "its own --rank",
                   *self.train_args("ffa3", "--adapter", self.dir / "ffa",
                                    "--rank", 4))
        self.fails(1, "without a weight",
                   *self.train_args("ffa3", "--adapter", f"{self.dir / 'ffa'}:2"))
        self.fails(2, "--targets w", *self.train_args("x", "--targets", "w"))
        self.fails(2, "--template x: give auto",
                   *self.train_args("x", "--template", "x"))
        self.fails(2, "--layers first:1",
                   *self.train_args("x", "--layers", "first:1"))

    def test_an_unknown_chat_template_needs_a_choice(self):
        model = self.dir / "foreign"
        shutil.copytree(self.model, model)
        (model / "chat_template.jinja").write_text("{{ mine }}")
        talk = self.dir / "talk.jsonl"
        talk.write_text(json.dumps({"messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello"}]}) + "\n")
        names = "--template plain, chatml, llama3, gemma or smollm"
        args = ["--model", model, "--data", talk]
        self.fails(1, names, "train", *args, "--out", self.dir / "f", "--steps", 1)
        self.fails(1, names, "eval", *args)
        self.fails(1, names, "chat", "--model", model)
        self.call("train", *args, "--out", self.dir / "f", "--steps", 1, "--template", "chatml")
        talk.write_text(json.dumps({"text": "no markup stands around a text"}) + "\n")
        self.call("eval", *args)

    def test_an_adapter_of_another_base_is_refused(self):
        self.call(*self.train_args("own"))
        self.call("model", "create", "--config", self.dir / "config.json",
                  "--tokenizer", self.dir / "tokenizer.json", "--seed", 99,
                  "--out", self.dir / "other")
        self.fails(1, "was trained on base", "eval", "--model",
                   self.dir / "other", "--data", self.valid, "--adapter",
                   self.dir / "own")

    def test_flags_without_effect_are_refused(self):
        self.fails(2, "trains no adapter", *self.train_args("no", "--mode", "full", "--rank", 8))
        self.fails(2, "trains no adapter", *self.train_args("no", "--mode", "full", "--freeze-a"))
        self.fails(2, "the model has", *self.train_args("no", "--layers", "last:99"))

    def test_full_mode_writes_a_model(self):
        self.call("train", "--model", self.model, "--data", self.train,
                  "--out", self.dir / "full", "--mode", "full", "--steps", 12,
                  "--batch", 4, "--lr", "5e-3", "--seq", 64, "--valid",
                  self.valid, "--keep-best", "--eval-every", 4)
        base = self.events("eval", "--model", self.model, "--data", self.valid)
        full = self.events("eval", "--model", self.dir / "full", "--data",
                           self.valid)
        self.assertLess(full[-1]["loss"], base[-1]["loss"] - 0.5)

    def test_a_folder_of_data_brings_its_validation(self):
        folder = self.dir / "folder"
        folder.mkdir()
        shutil.copy(self.train, folder / "train.jsonl")
        shutil.copy(self.valid, folder / "valid.jsonl")
        e = self.events("train", "--model", self.model, "--data", folder,
                        "--out", self.dir / "fo", "--epochs", 1, "--batch", 8,
                        "--seq", 64)
        self.assertEqual([x["event"] for x in e],
                         ["plan", "records", "records", "eval", "step",
                          "step", "step", "eval",
                          "done"])

    def test_a_budget_that_is_too_small_is_refused_with_numbers(self):
        text = self.fails(1, "the budget is 1.0 MiB",
                          *self.train_args("no", "--memory-budget", "1M"))
        self.assertRegex(text, r"needs at least [0-9.]+ MiB of private memory")
        least = re.search(r"use --memory-budget ([0-9]+M)", text)[1]
        self.assertFalse((self.dir / "no").exists())
        self.call(*self.train_args("yes", "--memory-budget", least))

    def test_a_budget_streams_the_weights_before_it_refuses(self):
        (self.dir / "deep.json").write_text(json.dumps(dict(
            CONFIG, hidden_size=64, head_dim=16, intermediate_size=256,
            num_hidden_layers=24)))
        deep = self.dir / "deep"
        self.call("model", "create", "--config", self.dir / "deep.json",
                  "--tokenizer", self.dir / "tokenizer.json", "--out", deep)
        size = (deep / "model.safetensors").stat().st_size
        args = ("--model", deep, "--data", self.train, "--seq", 64)

        def plan(*more):
            return self.events("plan", *args, *more)[0]

        def mib(n):
            return f"{-(-n // 2**20)}M"

        free = plan()
        self.assertEqual((free["weights"], free["file_bytes"]), ("mapped", size))
        whole = mib(free["private_bytes"] + size)
        self.assertEqual(plan("--memory-budget", whole)["weights"], "mapped")
        alone = plan("--weights", "mapped", "--memory-budget",
                     mib(free["private_bytes"]))
        self.assertEqual((alone["weights"], alone["recomputed_layers"]), ("mapped", 0))
        self.assertEqual(alone["bounded_bytes"], alone["private_bytes"])
        text = self.fails(1, "of private memory and a window of the streamed file, "
                          "the budget is 1.0 MiB", "train", *args, "--out",
                          self.dir / "no-deep", "--memory-budget", "1M")
        least = re.search(r"use --memory-budget ([0-9]+)M", text)[1]
        self.assertLess(int(least) << 20, free["private_bytes"] + size)
        e = self.events("train", *args, "--out", self.dir / "yes-deep", "--steps", 2,
                        "--memory-budget", least + "M")
        p, done = e[0], e[-1]
        window = [i for i in p["items"] if i["name"] == "window of the file"]
        self.assertEqual([i["kind"] for i in window], ["file"])
        self.assertEqual(p["weights"], "streamed")
        self.assertEqual(p["file_resident_peak"], window[0]["bytes"])
        self.assertEqual(p["bounded_bytes"], p["private_bytes"] + window[0]["bytes"])
        self.assertLessEqual(p["bounded_bytes"], p["memory_budget"])
        self.assertGreater(done["bytes_read"], size)
        self.assertLessEqual(done["file_resident_peak"], window[0]["bytes"])
        self.assertLess(window[0]["bytes"], size / 4)

    def test_plan_says_what_fits(self):
        e = self.events("plan", "--model", self.model, "--seq", 64,
                        "--memory-budget", "64M")
        self.assertEqual([x["event"] for x in e], ["plan", "estimate"])
        self.assertEqual(e[0]["private_bytes"],
                         sum(i["bytes"] for i in e[0]["items"]
                             if i["kind"] == "private"))
        self.assertEqual(e[0]["private_peak"], e[0]["private_bytes"])
        self.assertEqual(e[0]["rss_peak"],
                         e[0]["private_peak"] + e[0]["file_resident_peak"])
        self.assertEqual(e[0]["recomputed_layers"], 0)
        self.assertEqual(e[0]["mlp_rows"], 64)
        self.assertGreaterEqual(e[1]["longest_seq"], 64)
        self.assertGreater(e[1]["seconds_per_epoch"], 0)

    def test_layers_are_planned_from_the_last_one_down(self):
        e = self.events("plan", "--model", self.model, "--layers", "last:1")
        self.assertEqual(e[0]["trained_layers"], 1)

    def test_a_run_says_what_it_held(self):  # test_cli_memory.py: how much that may be
        e = self.events(*self.train_args("mem", "--threads", 2))
        held = [x["private_bytes"] for x in e if x["event"] == "step"]
        held += [e[-1][key] for key in ("private_peak", "file_resident_peak", "rss_peak",
                                        "private_at_open", "open_bytes", "plan_bytes")]
        self.assertEqual(len(held), 12 + 6)
        self.assertTrue(all(n > 0 for n in held), held)

    def test_choices_are_scored(self):
        rows = [{"question": "walk?", "choices": ["yes", "no"], "answer": i % 2}
                for i in range(4)]
        f = self.dir / "choices.jsonl"
        f.write_text("".join(json.dumps(r) + "\n" for r in rows))
        e = self.events("eval", "--model", self.model, "--data", f)[-1]
        self.assertEqual(e["choices"], 4)
        self.assertEqual(e["choice_accuracy"], 0.5)

    def log_probability(self, prompt, answer):
        """Sum over the answer's tokens and how many there are, by hand."""
        ids = list((prompt + answer).encode()) + [257]
        out = self.dir / "answer.safetensors"
        self.call("model", "logits", "--model", self.model, "--ids",
                  ",".join(map(str, ids)), "--out", out)
        data = out.read_bytes()
        data = data[8 + struct.unpack("<Q", data[:8])[0]:]
        total = 0.0
        for i in range(len(prompt), len(ids)):
            row = struct.unpack_from("<258f", data, (i - 1) * 258 * 4)
            total += row[ids[i]] - math.log(sum(math.exp(x) for x in row))
        return total, len(ids) - len(prompt)

    def test_summed_log_probability_decides(self):
        choices = ["at", "a longer one", "q", "zz yy xx"]
        rows = [{"question": f"{w}?", "choices": choices[i:] + choices[:i],
                 "answer": 0} for i, w in enumerate(("walk", "sleep", "eat", "go"))]
        f = self.dir / "long_choices.jsonl"
        for r in rows:
            p = [self.log_probability(f"Question: {r['question']}\nAnswer:", " " + c)
                 for c in r["choices"]]
            best = max(range(4), key=lambda i: p[i][0])
            mean = max(range(4), key=lambda i: p[i][0] / p[i][1])
            self.assertNotEqual(best, mean)  # or this would prove nothing
            r["answer"] = best
        f.write_text("".join(json.dumps(r) + "\n" for r in rows))
        e = self.events("eval", "--model", self.model, "--data", f)[-1]
        self.assertEqual((e["choices"], e["choice_accuracy"]), (4, 1.0))

    def test_what_was_cut_is_reported(self):
        rows = [{"prompt": "p" * 100, "completion": "c" * 10},
                {"prompt": "p", "completion": "c" * 100},
                {"messages": [{"role": "user", "content": "a" * 50},
                              {"role": "assistant", "content": "b" * 50},
                              {"role": "user", "content": "c" * 50},
                              {"role": "assistant", "content": "d" * 50}]},
                {"prompt": "a", "completion": "b"}]
        f = self.dir / "cut.jsonl"
        f.write_text("".join(json.dumps(r) + "\n" for r in rows))
        r = self.run_cli("eval", "--model", self.model, "--data", f, "--seq", 64,
                         "--template", "plain", "--json")
        e = json.loads(r.stdout.splitlines()[0])
        self.assertEqual(e["event"], "records")
        self.assertEqual((e["records"], e["truncated"]), (4, 3))
        self.assertEqual((e["answers_cut"], e["answers_lost"]), (1, 1))
        for words in ("lost their end", "were left out", "longer than 64"):
            self.assertIn(words, r.stderr)

    # ---- adapters out and in ----

    def trained(self, name, *more):
        self.call(*self.train_args(name, *more))
        return self.dir / name

    def logits(self, model, *more):
        out = self.dir / "logits.safetensors"
        e = self.events("model", "logits", "--model", model, "--ids", "1,2,3,4,5",
                        "--out", out, *more)
        data = out.read_bytes()
        n = struct.unpack("<Q", data[:8])[0]
        body = data[8 + n:]
        return e, struct.unpack(f"<{len(body) // 4}f", body)

    def close(self, a, b, tolerance):
        top = max(abs(x) for x in b)
        self.assertLessEqual(max(abs(x - y) for x, y in zip(a, b)), tolerance * top)

    def test_loads_say_what_they_applied(self):
        a = self.trained("applied")
        e, _ = self.logits(self.model, "--adapter", f"{a}:0.5")
        self.assertEqual(e[0]["event"], "adapter")
        self.assertEqual((e[0]["applied"], e[0]["tensors"], e[0]["weight"]), (8, 8, 0.5))
        r = self.run_cli("generate", "--model", self.model, "--adapter", a,
                         "--prompt", "I", "--max-tokens", 3)
        self.assertIn("applied 8 of 8 tensors", r.stderr)

    def test_adapter_exports(self):
        a = self.trained("exported", "--targets", "all-linear", "--rslora")
        b = self.dir / "exported-peft"
        self.call("adapter", "export", "--adapter", a, "--format", "peft", "--out", b)
        self.assertEqual((a / "adapter_model.safetensors").read_bytes(),
                         (b / "adapter_model.safetensors").read_bytes())
        self.assertEqual((a / "adapter_config.json").read_text(),
                         (b / "adapter_config.json").read_text())
        plain = self.logits(self.model)[1]
        unmerged = self.logits(self.model, "--adapter", a)[1]
        self.assertNotEqual(plain, unmerged)
        for kind, tolerance in (("auto", 1e-4), ("f16", 1e-2), ("bf16", 5e-2)):
            m = self.dir / f"merged-{kind}"
            self.call("adapter", "export", "--adapter", a, "--model", self.model,
                      "--format", "merged", "--type", kind, "--out", m)
            self.close(self.logits(m)[1], unmerged, tolerance)
            self.assertTrue((m / "tokenizer.json").exists())
        gguf = self.dir / "merged.gguf"
        self.call("adapter", "export", "--adapter", a, "--model", self.model,
                  "--format", "merged", "--type", "f32", "--out", gguf)
        self.close(self.logits(gguf)[1], unmerged, 1e-4)
        self.assertFalse((self.dir / "merged.gguf.merging").exists())
        lora = self.dir / "lora.gguf"
        self.call("adapter", "export", "--adapter", a, "--model", self.model,
                  "--format", "gguf", "--out", lora)
        self.assertEqual(lora.read_bytes()[:4], b"GGUF")
        stacked = self.dir / "stacked"
        self.call("adapter", "export", "--adapter", f"{a}:0.5", "--adapter", f"{a}:0.5",
                  "--model", self.model, "--format", "peft", "--out", stacked)
        self.close(self.logits(self.model, "--adapter", stacked)[1], unmerged, 1e-4)

    def test_export_refuses(self):
        a = self.trained("refused")
        export = ("adapter", "export", "--adapter", a)
        self.fails(2, "needs --model", *export, "--format", "gguf", "--out", "x.gguf")
        self.fails(2, "end in .gguf", *export, "--format", "gguf", "--model",
                   self.model, "--out", self.dir / "x")
        self.fails(2, "for --format merged", *export, "--format", "peft", "--type",
                   "f16", "--out", self.dir / "x")
        self.fails(2, "choose another", *export, "--format", "peft", "--out", a)
        self.fails(2, "need --model", *export, "--adapter", a, "--format", "peft",
                   "--out", self.dir / "x")
        r = self.run_cli(*export, "--format", "merged", "--model", self.model,
                         "--out", self.model)
        self.assertEqual(r.returncode, 1)
        self.assertIn("choose another folder", r.stderr)

    # ---- conversations ----

    def chat(self, lines, *more):
        r = subprocess.run([HEARTH, "chat", "--model", self.model, "--max-tokens", "8",
                            *map(str, more)], input="".join(f"{s}\n" for s in lines),
                           capture_output=True, text=True, timeout=600)
        return r

    def test_chat_remembers_and_forgets(self):
        r = self.chat(["I", "walk", "/reset", "I", "/quit", "not read"], "--json")
        self.assertEqual(r.returncode, 0, r.stderr)
        e = [json.loads(s) for s in r.stdout.splitlines()]
        done = [x for x in e if x["event"] == "done"]
        self.assertEqual(len(done), 3)
        self.assertGreater(done[1]["prompt_tokens"], done[0]["prompt_tokens"] + 4)
        self.assertEqual(done[2]["prompt_tokens"], done[0]["prompt_tokens"])
        cut = [i for i, x in enumerate(e) if x["event"] in ("done", "reset")]
        said = ["".join(x["text"] for x in e[a + 1:b] if x["event"] == "text")
                for a, b in zip([-1] + cut, cut)]
        self.assertEqual(said[0], said[3])  # the same question, nothing before it

    def test_chat_switches_adapters(self):
        a = self.trained("chatted")
        lines = ["I", "/reset", f"/adapter {a}", "I", "/reset", "/adapter none", "I"]
        r = self.chat(lines)
        self.assertEqual(r.returncode, 0, r.stderr)
        out = r.stdout.split("\n")
        fresh = self.chat(["I"], "--adapter", a).stdout.split("\n")
        self.assertIn("applied", r.stderr)
        self.assertEqual(r.stdout, self.chat(["I"]).stdout + "\n".join(fresh)
                         + self.chat(["I"]).stdout, out)

    def test_chat_goes_on_after_an_error(self):
        r = self.chat(["/nonsense", "x" * 500, "/adapter nowhere", "I"])
        self.assertEqual(r.returncode, 1)
        self.assertEqual(r.stderr.count("\n"), 3, r.stderr)
        for words in ("/reset, /quit", "does not fit", "nowhere"):
            self.assertIn(words, r.stderr)
        self.assertNotEqual(r.stdout, "")

    def test_records_that_are_broken_are_named(self):
        f = self.dir / "broken.jsonl"
        f.write_text('{"text":"fine"}\n{"text":}\n')
        self.fails(1, "broken.jsonl:2", "eval", "--model", self.model, "--data",
                   f)
        self.fails(1, "no.jsonl", "eval", "--model", self.model, "--data",
                   self.dir / "no.jsonl")

    def test_interrupt_and_resume_give_the_same_bytes(self):
        args = ["train", "--model", self.model, "--data", self.train, "--steps",
                "400", "--batch", "4", "--seq", "64", "--lr", "1e-2"]
        self.call(*args, "--out", self.dir / "whole")
        p = subprocess.Popen([HEARTH, *map(str, args), "--out",
                              str(self.dir / "parts"), "--json"],
                             stdout=subprocess.PIPE, text=True)
        for line in p.stdout:
            if '"step":5,' in line:
                p.send_signal(signal.SIGINT)
                break
        rest = p.stdout.read()
        p.stdout.close()
        self.assertEqual(p.wait(60), 1, rest)
        self.assertIn('"status":"ECANCELLED"', rest)
        self.assertTrue((self.dir / "parts" / "checkpoint.bin").exists())
        r = self.run_cli(*args, "--out", self.dir / "parts", "--resume",
                         "--lr", "2e-2")
        self.assertEqual(r.returncode, 2)  # --lr twice
        other = [a if a != "1e-2" else "2e-2" for a in args]
        self.fails(1, "another model, records or", *other, "--out",
                   self.dir / "parts", "--resume")
        self.call(*args, "--out", self.dir / "parts", "--resume")
        for name in ("whole", "parts"):
            self.assertFalse((self.dir / name / "checkpoint.bin").exists())
        self.assertEqual(
            (self.dir / "whole" / "adapter_model.safetensors").read_bytes(),
            (self.dir / "parts" / "adapter_model.safetensors").read_bytes())

    def test_resume_remembers_the_best(self):
        """The best validation was before the interrupt: it stays."""
        far = self.dir / "far.jsonl"
        far.write_text('{"text": "zzz qqq xxx"}\n')
        args = ["train", "--model", self.model, "--data", self.train, "--valid", far,
                "--eval-every", "1", "--keep-best", "--steps", "60", "--batch", "4",
                "--seq", "64", "--lr", "2e-2"]
        whole = self.events(*args, "--out", self.dir / "best_whole")
        evals = [e for e in whole if e["event"] == "eval" and e["step"]]
        best = min(evals, key=lambda e: e["loss"])
        self.assertLess(best["step"], 20)
        out = self.dir / "best_parts"
        p = subprocess.Popen([HEARTH, *map(str, args), "--out", str(out), "--json"],
                             stdout=subprocess.PIPE, text=True)
        for line in p.stdout:
            if '"step":25,' in line:
                p.send_signal(signal.SIGINT)
                break
        p.stdout.read()
        p.stdout.close()
        p.wait(60)
        if not (out / "checkpoint.bin").exists():
            self.skipTest("the run was over before the signal came")
        self.call(*args, "--out", out, "--resume")
        self.assertEqual(
            (self.dir / "best_whole" / "adapter_model.safetensors").read_bytes(),
            (out / "adapter_model.safetensors").read_bytes())

    def test_resume_saves_what_a_complete_run_could_not(self):
        out = self.dir / "late"
        blocked = out / "adapter_model.safetensors"
        blocked.mkdir(parents=True)  # saving fails, after the checkpoint
        args = ["train", "--model", self.model, "--data", self.train, "--out",
                out, "--steps", "3", "--checkpoint-every", "3", "--seq", "64"]
        r = self.run_cli(*args)
        self.assertEqual(r.returncode, 1)
        self.assertTrue((out / "checkpoint.bin").exists())
        blocked.rmdir()
        self.call(*args, "--resume")
        self.assertTrue(blocked.is_file())
        self.assertFalse((out / "checkpoint.bin").exists())

    def test_doctor(self):
        e = self.events("doctor", "--model", self.model, "--state",
                        self.dir / "state")
        self.assertTrue(all(x["ok"] for x in e))
        state = self.dir / "typo"
        state.mkdir()
        (state / "policy.ini").write_text("[policy]\nbattry_min = 50\n")
        r = self.run_cli("doctor", "--state", state)
        self.assertEqual(r.returncode, 1)
        self.assertRegex(r.stdout, "BAD +policy .*did you mean 'battery_min'")
        r = self.run_cli("doctor", "--model", self.dir / "no")
        self.assertEqual(r.returncode, 1)

    def test_stories_tell_the_published_story(self):
        if not STORIES.exists():
            print(f"SKIPPED: no test data at {STORIES}", file=sys.stderr)
            return
        published = (STORIES / "stories260K.md").read_text()
        text = self.call("generate", "--model", STORIES, "--prompt",
                         "Once upon a time", "--max-tokens", 60)
        self.assertIn(text.strip().split("\n")[0][:60], published)


if __name__ == "__main__":
    unittest.main(verbosity=1)

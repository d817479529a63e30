#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`hearth train --weights streamed` under a real memory limit.

A cgroup (v1 or v2) with less memory than the model's file: streamed training
works there, with the file out of the page cache at the start, and a control
that copies the file into memory dies.  The model has random weights and a small
shape; HEARTH_MEMORY_SHAPE=qwen runs Qwen2.5-0.5B's (Q4_0, 256 tokens, 160 MiB):

    HEARTH=BUILD/client/cli/hearth HEARTH_MEMORY_SHAPE=qwen \\
        python3 tests/e2e/test_cli_memory_limit.py

Needs $HEARTH; skips, and says why, where no cgroup can be made.  Times are
printed, not judged.
"""
import ctypes
import json
import mmap
import os
import pathlib
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

import test_cli_train as kit

HEARTH = os.environ.get("HEARTH", "")
SANITIZED = bool(os.environ.get("HEARTH_SANITIZE"))
STEPS = os.environ.get("HEARTH_MEMORY_STEPS", "2")
MIB = 1 << 20
F32, Q4_0, Q8_0 = 0, 2, 8
BLOCK = {F32: (1, 4), Q4_0: (32, 18), Q8_0: (32, 34)}  # elements, bytes

SHAPES = {  # hidden, feed-forward, layers, heads, key-value heads, vocabulary
    "small": dict(arch="qwen2", size=(256, 4096, 16, 4, 2, 49152), limit=34 * MIB, seq=16),
    "qwen": dict(arch="qwen2", size=(896, 4864, 24, 14, 2, 151936), limit=160 * MIB, seq=256,
                 budget="100M"),
    "llama": dict(arch="llama", size=(2048, 8192, 16, 32, 8, 128256), limit=400 * MIB, seq=256,
                  budget="250M"),
}


def tensors(arch, size, kind):
    """(name, dimensions with the row first, type) of every tensor."""
    d, f, layers, heads, kv_heads, vocab = size
    kv = d // heads * kv_heads
    yield "token_embd.weight", (d, vocab), kind
    for n in range(layers):
        b = f"blk.{n}."
        yield b + "attn_norm.weight", (d,), F32
        for name, rows in (("attn_q", d), ("attn_k", kv), ("attn_v", kv)):
            yield f"{b}{name}.weight", (d, rows), kind
            if arch == "qwen2":
                yield f"{b}{name}.bias", (rows,), F32
        yield b + "attn_output.weight", (d, d), kind
        yield b + "ffn_norm.weight", (d,), F32
        yield b + "ffn_gate.weight", (d, f), kind
        yield b + "ffn_up.weight", (d, f), kind
        yield b + "ffn_down.weight", (f, d), kind
    yield "output_norm.weight", (d,), F32


def noise(kind, rng):
    """About a MiB of stored weights with a deviation of 0.02."""
    n, size = MIB // 32, BLOCK[kind][1]
    scale = struct.pack("<e", 0.02 / (4.6 if kind == Q4_0 else 73.9))
    raw = rng.randbytes(n * (size - 2))
    return b"".join(scale + raw[i:i + size - 2] for i in range(0, len(raw), size - 2))


def write_model(path, arch, size, kind, **_):
    """A GGUF file with random weights (a run of them, again and again)."""
    d, f, layers, heads, kv_heads, _vocab = size
    rng, out = random.Random(7), []
    text = lambda s: struct.pack("<Q", len(s)) + s
    def number(key, value):
        out.append(text(key.encode()) + struct.pack("<II", 4, value))
    def real(key, value):
        out.append(text(key.encode()) + struct.pack("<If", 6, value))
    def string(key, value):
        out.append(text(key.encode()) + struct.pack("<I", 8) + text(value.encode()))
    string("general.architecture", arch)
    for key, value in (("embedding_length", d), ("feed_forward_length", f), ("block_count", layers),
                       ("attention.head_count", heads), ("attention.head_count_kv", kv_heads),
                       ("context_length", 2048)):
        number(f"{arch}.{key}", value)
    real(f"{arch}.attention.layer_norm_rms_epsilon", 1e-6)
    real(f"{arch}.rope.freq_base", 1e6)
    string("tokenizer.huggingface.json", json.dumps(kit.byte_tokenizer()))
    n_kv, infos, at = len(out), [], 0
    for name, dims, t in tensors(arch, size, kind):
        n = dims[0] * (dims[1] if len(dims) > 1 else 1)
        n_bytes = n // BLOCK[t][0] * BLOCK[t][1]
        infos.append((n_bytes, t))
        out.append(text(name.encode()) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, t, at))
        at += (n_bytes + 31) // 32 * 32
    head = b"GGUF" + struct.pack("<IQQ", 3, len(infos), n_kv) + b"".join(out)
    chunk = noise(kind, rng)
    with open(path, "wb") as file:
        file.write(head + bytes(-len(head) % 32))
        for n_bytes, t in infos:
            left = n_bytes
            if t == F32:
                file.write(struct.pack("<f", 1.0) * (n_bytes // 4))
                left = 0
            start = rng.randrange(MIB // 64) * BLOCK[kind][1]
            while left:
                part = chunk[start:start + left]
                file.write(part)
                left -= len(part)
                start = 0
            file.write(bytes(-n_bytes % 32))
        file.flush()
        os.fsync(file.fileno())


def drop_cache(path):
    """Ask for the file to leave the page cache; how many pages stay."""
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        n = os.fstat(file.fileno()).st_size
        with mmap.mmap(file.fileno(), n, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE) as m:
            pages = (n + mmap.PAGESIZE - 1) // mmap.PAGESIZE
            seen = (ctypes.c_ubyte * pages)()
            first = ctypes.c_char.from_buffer(m)
            rc = ctypes.CDLL(None, use_errno=True).mincore(
                ctypes.c_void_p(ctypes.addressof(first)), ctypes.c_size_t(n), seen)
            del first
    if rc:
        raise OSError(ctypes.get_errno(), "mincore")
    return sum(x & 1 for x in seen)


def read_rate(path):
    """Bytes a second of reading the dropped file in order."""
    drop_cache(path)
    n, start = 0, time.monotonic()
    with open(path, "rb", buffering=0) as file:
        while part := file.read(MIB):
            n += len(part)
    rate = n / (time.monotonic() - start)
    drop_cache(path)
    return rate


class Cgroup:
    """A child group with a memory limit, version 1 or 2."""

    def __init__(self, limit):
        self.path = None
        for root, knob, swap in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes", None),
                                 ("/sys/fs/cgroup", "memory.max", "memory.swap.max")):
            if root == "/sys/fs/cgroup" and not os.path.exists(root + "/cgroup.controllers"):
                continue
            path = f"{root}/hearth_test_{os.getpid()}"
            try:
                os.mkdir(path)
                self.path = path
                pathlib.Path(path, knob).write_text(str(limit))
                if swap and os.path.exists(f"{path}/{swap}"):
                    pathlib.Path(path, swap).write_text("0")
                return
            except OSError as error:
                self.why = f"{path}: {error.strerror}"
                self.close()
        raise unittest.SkipTest("no memory cgroup can be made here (" +
                                getattr(self, "why", "none is mounted") + "); run as root")

    def enter(self):
        """In the child, before exec."""
        pathlib.Path(self.path, "cgroup.procs").write_text(str(os.getpid()))

    def close(self):
        for _ in range(50):
            if not self.path:
                return
            try:
                os.rmdir(self.path)
                self.path = None
            except OSError:
                time.sleep(0.1)


@unittest.skipUnless(sys.platform == "linux", "cgroups are Linux's")
class MemoryLimit(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if SANITIZED:
            raise unittest.SkipTest("a sanitizer needs more memory than the limit")
        cls.shape = SHAPES[os.environ.get("HEARTH_MEMORY_SHAPE", "small")]
        cls.group = Cgroup(cls.shape["limit"])
        cls.addClassCleanup(cls.group.close)
        cls.dir = pathlib.Path(tempfile.mkdtemp(prefix="hearth_limit_"))
        cls.addClassCleanup(shutil.rmtree, cls.dir)
        cls.model = cls.dir / "model.gguf"
        write_model(cls.model, kind=Q4_0, **cls.shape)
        cls.data = cls.dir / "data.jsonl"
        rng = random.Random(3)
        cls.data.write_text("".join(
            json.dumps({"text": "".join(chr(97 + rng.randrange(26)) for _ in range(300))}) + "\n"
            for _ in range(8)))
        if drop_cache(cls.model):
            raise unittest.SkipTest(f"the file system of {cls.dir} keeps files in memory; set "
                                    "TMPDIR to a disk's")

    def train(self, limited):
        """The events of a few steps."""
        out = self.dir / ("limited" if limited else "free")
        done = subprocess.run(
            [HEARTH, "train", "--model", self.model, "--data", self.data, "--out", out,
             "--weights", "streamed", "--seq", str(self.shape["seq"]), "--loss-on", "all", "--rank",
             "8", "--targets", "attn", "--steps", STEPS, "--threads", "2", "--json",
             *(("--memory-budget", self.shape["budget"]) if "budget" in self.shape else ())],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False, timeout=1200,
            preexec_fn=self.group.enter if limited else None)
        self.assertEqual(done.returncode, 0, f"{done.returncode}: {done.stderr} {done.stdout}")
        return [json.loads(line) for line in done.stdout.splitlines()]

    @staticmethod
    def step_time(events):
        """Of the last step: the first also waits for what later ones find in memory."""
        seconds = [e["seconds"] for e in events if e["event"] == "step"]
        return seconds[-1] - seconds[-2]

    def test_streamed_model_trains_where_its_copy_dies(self):
        self.assertGreater(self.model.stat().st_size, self.shape["limit"])
        self.assertEqual(drop_cache(self.model), 0, "pages of the file are still cached")
        limited = self.train(True)
        free = self.train(False)
        losses = [[e["loss"] for e in x if e["event"] == "step"] for x in (limited, free)]
        self.assertEqual(losses[0], losses[1])
        plan, done = limited[0], limited[-1]
        self.assertEqual((plan["event"], done["event"]), ("plan", "done"))
        self.assertLess(done["private_peak"], self.shape["limit"])
        # beside the plan: pages of the program and its libraries
        self.assertLess(done["rss_peak"], plan["rss_peak"] + 12 * MIB)
        self.assertLess(plan["file_resident_peak"], self.model.stat().st_size / 4)
        rate, per_step = read_rate(self.model), done["bytes_read"] / int(STEPS)
        print(f"limit {self.shape['limit'] / MIB:.0f} MiB, file "
              f"{self.model.stat().st_size / MIB:.0f} MiB, plan {plan['private_bytes'] / MIB:.1f}, "
              f"private {done['private_peak'] / MIB:.1f}, rss_peak {done['rss_peak'] / MIB:.1f}\n"
              f"step {self.step_time(limited):.2f} s limited, {self.step_time(free):.2f} s free; "
              f"{per_step / MIB:.0f} MiB read a step, {per_step / rate:.2f} s at "
              f"{rate / MIB:.0f} MiB/s in order")

    def test_control_that_copies_the_model_dies(self):
        # in pieces, dropped behind, so that it is the copy that does not fit
        copy = ("import os, sys\nfd, x = os.open(sys.argv[1], os.O_RDONLY), []\n"
                "while part := os.read(fd, 1 << 18):\n"
                "    x.append(part)\n"
                "    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)\n"
                "print(sum(map(len, x)))")
        child = subprocess.run([sys.executable, "-c", copy, self.model], check=False,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=240,
                               preexec_fn=self.group.enter)
        self.assertEqual(child.returncode, -signal.SIGKILL, child.stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)

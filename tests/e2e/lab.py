# SPDX-License-Identifier: Apache-2.0
"""A coordinator and devices as real processes on loopback, for e2e tests.

    with Lab("round") as lab:
        lab.init()
        lab.start()
        lab.task(rounds=1, count="2,2")
        for d in lab.devices(2):
            d.join(); d.add_records(); d.sync()

Standard library only.  Exit code 77 means skipped (no model to train)."""
import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
SKIP = 77


def options():
    """--hearth PATH --hearthd PATH, as CMake passes them."""
    found = dict(zip(sys.argv[1::2], sys.argv[2::2]))
    return found["--hearth"], found["--hearthd"]


def model_folder():
    """The demo model of the tree, else the test data's, else skip."""
    data = os.environ.get("HEARTH_TEST_DATA", str(ROOT.parent / "shared/data"))
    for folder in (ROOT / "deploy/demo/model", pathlib.Path(data) / "models/stories260K"):
        if (folder / "model.safetensors").exists():
            return folder
    print("SKIPPED: no model at deploy/demo/model; set HEARTH_TEST_DATA")
    sys.exit(SKIP)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


PATIENCE = 5  # how many times slower than expected a machine may be


def wait_for(what, condition, seconds=20.0):
    end = time.monotonic() + seconds * PATIENCE
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds * PATIENCE} s for {what}")


class Done:
    """A finished process: rc, events of --json, text of both outputs."""

    def __init__(self, argv, rc, out, err):
        self.argv, self.rc, self.out, self.err = argv, rc, out, err
        self.events = [json.loads(line) for line in out.splitlines() if line.startswith("{")]

    def kinds(self):
        return [e.get("kind", e["event"]) for e in self.events]

    def of(self, kind):
        return [e for e in self.events if e.get("kind", e["event"]) == kind]

    def ok(self):
        expect(self.rc == 0, f"{self.argv} left with {self.rc}:\n{self.out}{self.err}")
        return self

    def failed(self, *words):
        text = self.out + self.err
        expect(self.rc not in (0, -signal.SIGKILL), f"{self.argv} did not fail:\n{text}")
        for word in words:
            expect(word in text, f"{self.argv} did not say '{word}':\n{text}")
        return self


def run(argv, env=None, timeout=60):
    p = subprocess.run([str(a) for a in argv], capture_output=True, text=True,
                       env={**os.environ, **(env or {})}, timeout=timeout * PATIENCE, check=False)
    return Done([str(a) for a in argv[:4]], p.returncode, p.stdout, p.stderr)


class Device:
    def __init__(self, lab, number):
        self.lab, self.number = lab, number
        self.state = lab.dir / f"device{number}"
        self.policy = lab.dir / f"policy{number}.ini"
        self.policy.write_text(
            "[policy]\ncohort_min = 1\nspacing = 0s\ndelta = 1e-5\nnoise_to_signal_max = 100000\n"
            "need_unmetered = no\nneed_charging = no\nbattery_min = 0\ntemperature_max = 120\n"
            "participations = 100\n")

    def hearth(self, *words, env=None, timeout=60):
        return run([self.lab.hearth, *words, "--state", self.state, "--json"], env, timeout)

    def join(self, token=None, root=None, env=None):
        return self.hearth("init", "--server", self.lab.url, "--token", token or self.lab.token(),
                           "--root", root or self.lab.root, "--base", self.lab.model, env=env)

    def add_records(self, n=8):
        path = self.lab.dir / f"records{self.number}.jsonl"
        with open(path, "w", encoding="utf-8") as f:
            for i in range(n):
                record = {"text": f"Day {i} of friend {self.number}: a walk by the sea, some "
                                  f"tea with honey, and a long sleep of {5 + i % 4} hours."}
                f.write(json.dumps(record) + "\n")
        return self.hearth("records", "import", path, "--consent", "federated")

    def sync(self, env=None, once=True, timeout=60):
        return self.hearth("sync", *(["--once"] if once else []), "--policy", self.policy,
                           "--threads", "1", env=env, timeout=timeout)

    def ready(self):
        self.join().ok()
        self.add_records().ok()
        return self

    def setting(self, name):
        with contextlib.closing(sqlite3.connect(self.state / "client.db")) as db:
            row = db.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()
        return bytes(row[0]) if row and not isinstance(row[0], str) else (row[0] if row else None)

    def rows(self, sql):
        with contextlib.closing(sqlite3.connect(self.state / "client.db")) as db:
            return db.execute(sql).fetchall()


class Lab:
    def __init__(self, name):
        self.hearth, self.hearthd = options()
        self.model = model_folder()
        self.name = name
        self.process = None
        self.log = None
        self.dir = None
        shape = run([self.hearth, "model", "inspect", "--model", self.model, "--json"]).ok()
        self.shape = shape.of("model")[0]
        self.tokenizer = hashlib.sha256((self.model / "tokenizer.json").read_bytes()).hexdigest()

    def __enter__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix=f"hearth_e2e_{self.name}_"))
        return self

    def __exit__(self, kind, value, trace):
        self.kill()
        if kind and self.log and self.log.exists():
            sys.stderr.write("---- hearthd ----\n" + self.log.read_text()[-4000:])
        if kind and os.environ.get("HEARTH_E2E_KEEP"):
            sys.stderr.write(f"kept: {self.dir}\n")
        else:
            shutil.rmtree(self.dir, ignore_errors=True)

    # ---- coordinator

    def init(self, extra=""):
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.coord = self.dir / "coord"
        self.ini = self.coord / "hearthd.ini"
        done = run([self.hearthd, "init", "--dir", self.coord, "--host", "127.0.0.1", "--listen",
                    f"127.0.0.1:{self.port}", "--json"]).ok()
        self.root = done.of("init")[0]["root"]
        self.log = self.dir / "hearthd.log"
        self.settings(extra)
        return self

    def settings(self, extra=""):
        self.ini.write_text(
            f"[server]\nlisten = 127.0.0.1:{self.port}\nshutdown_grace = 1s\n"
            "[rounds]\nretry_accepted = 1ms,5ms\nretry_refused = 1ms,5ms\n"
            f"checkpoint_every = 2\ndisk_reserve_mb = 1\n{extra}")

    def start(self, env=None, wait=True, preexec=None):
        expect(self.process is None, "hearthd runs already")
        with open(self.log, "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [self.hearthd, "serve", "-c", str(self.ini), "--json"], stdout=subprocess.PIPE,
                stderr=log, env={**os.environ, **(env or {})}, preexec_fn=preexec)
        if wait:
            line = self.process.stdout.readline()
            expect(b'"ready"' in line, f"hearthd did not start: {line!r} {self.log.read_text()}")
        return self

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        rc = self.process.wait(timeout=20 * PATIENCE)
        self.process.stdout.close()
        self.process = None
        expect(rc == 0, f"hearthd left with {rc}")

    def kill(self):
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.process = None

    def ctl(self, *words):
        return run([self.hearthd, *words, "-c", self.ini, "--json"])

    def token(self, *words):
        return self.ctl("token", "create", *words).ok().of("token")[0]["token"]

    def task(self, name="diary", rounds=1, count="2,2", time_="0s,150s", noise=8, steps=1,
             targets="v_proj", rank=1, over=4):
        m = self.shape
        path = self.dir / f"{name}.ini"
        path.write_text(
            f"[task]\nname = {name}\nrounds = {rounds}\nspacing = 0s\npurpose = federated\n"
            f"[base]\nid = {m['base_id']}\ntokenizer = {self.tokenizer}\nlayers = {m['layers']}\n"
            f"hidden = {m['hidden_size']}\nheads = {m['heads']}\nkv_heads = {m['kv_heads']}\n"
            f"head_dim = {m['head_dim']}\nffn = {m['ffn_size']}\n"
            f"[adapter]\ntargets = {targets}\nrank = {rank}\nalpha = 2\n"
            f"[train]\nsteps = {steps}\nbatch = 1\nseq = 32\nlr = 0.02\n"
            f"[cohort]\ncount = {count}\ntime = {time_}\nover_select = {over}\n"
            f"[privacy]\nclip = 0.07\nnoise = {noise}\ndelta = 1e-5\n")
        return self.ctl("task", "create", "-f", path)

    def served(self, raw, task="diary"):
        """Wait until the coordinator has taken up a task (a device asks)."""
        return wait_for(f"task {task} to be served", lambda: [
            r for r in raw.checkin()[1].get("releases", []) if r["task"] == task])

    def large_rank(self, n=160000):
        """Rank at which B of every linear layer has at least n parameters."""
        m = self.shape
        per_rank = m["layers"] * ((m["heads"] + 2 * m["kv_heads"]) * m["head_dim"] +
                                  2 * m["hidden_size"] + 2 * m["ffn_size"])
        return -(-n // per_rank)

    def rounds(self, task="diary"):
        return self.ctl("round", "list", task).ok().of("round")

    def releases(self, task="diary"):
        return self.ctl("release", "list", task).ok().of("release")

    def devices(self, n, first=0):
        return [Device(self, i) for i in range(first, first + n)]

    def one_more_round(self, devices):
        """Let devices sync until a round more is released; fails after ten turns.
        Once each has committed its release is waited for: none gives twice."""
        count = lambda: len([r for r in self.rounds() if r["phase"] == "released"])
        before, said, committed = count(), [], set()
        for _ in range(10):
            for d in devices:
                out = d.sync()
                said.append(out.out)
                if "committed" in out.kinds():
                    committed.add(d)
            for _ in range(50 if len(committed) == len(devices) else 1):
                if count() > before:
                    return
                time.sleep(0.1)
        raise AssertionError(f"no round was released: {said[-2:]} {self.rounds()[-1:]}")

    def released(self, n, task="diary"):
        """The first n released rounds, once there are so many."""
        def look():
            done = [r for r in self.rounds(task) if r["phase"] == "released"]
            return done if len(done) >= n else None
        return wait_for(f"{n} released rounds", look)

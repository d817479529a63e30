# SPDX-License-Identifier: Apache-2.0
"""`hearth sync` on a fake sysfs, against a real coordinator: warm slows the
training of a round down, unplugging pauses it, the charger lets it go on, Ctrl-C
ends it; a model that does not fit the budget is streamed.  The memory's numbers
stand in its events, and the rounds count."""
import hashlib
import json
import os
import signal
import subprocess
import time

from fake_sys import FakeSys, cpu_seconds
from lab import PATIENCE, ROOT, Lab, expect, run, wait_for

STEPS = 300  # still at work when the conditions are read again, on a fast machine too


class Watched:
    """A device whose conditions are files, and its `hearth sync` as it runs."""

    def __init__(self, device):
        self.device = device
        self.sys = FakeSys(device.lab.dir / f"sys{device.number}")
        device.policy.write_text(device.policy.read_text().replace(
            "need_charging = no", "need_charging = yes").replace(
            "temperature_max = 120", "temperature_max = 40"))

    def start(self, *flags):
        d = self.device
        self.events = []
        self.child = subprocess.Popen(
            [d.lab.hearth, "sync", "--timeout", f"{60 * PATIENCE}s", "--policy", d.policy,
             "--threads", "2", "--state", d.state, "--json", "--sysfs", self.sys.root, *flags],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def until(self, *kinds):
        for line in self.child.stdout:
            event = json.loads(line)
            self.events.append(event)
            if event.get("kind", event["event"]) in kinds:
                return event
        raise AssertionError(f"no {kinds}: {self.events[-5:]}")

    def end(self, by=signal.SIGINT):
        self.child.send_signal(by)
        rc = self.child.wait(10 * PATIENCE)
        self.child.stdout.close()
        return rc


def numbers(plan, done):
    """The plan's and the end's three memory numbers, as of `hearth train`."""
    for event in (plan, done):
        expect(event["private_peak"] > 0 and event["rss_peak"] > 0, event)
    expect(plan["file_resident_peak"] > 0 and "file_resident_peak" in done, (plan, done))
    expect(plan["bounded_bytes"] <= plan["memory_budget"], plan)
    expect(done["plan_bytes"] == plan["private_bytes"], (plan, done))
    if not os.environ.get("HEARTH_SANITIZE"):
        expect(done["private_peak"] <= plan["private_peak"], (plan, done))


def with_large_model(lab):
    """A model of 50 MB with random weights in the place of the lab's."""
    config = json.loads((ROOT / "deploy/demo/config.json").read_text())
    config.update(hidden_size=256, intermediate_size=1024, num_hidden_layers=12,
                  num_attention_heads=4, num_key_value_heads=4, head_dim=64)
    (lab.dir / "config.json").write_text(json.dumps(config))
    large = lab.dir / "large"
    run([lab.hearth, "model", "create", "--config", lab.dir / "config.json", "--tokenizer",
         lab.model / "tokenizer.json", "--seed", "7", "--out", large], timeout=120).ok()
    lab.model = large
    lab.shape = run([lab.hearth, "model", "inspect", "--model", large, "--json"]).ok().of("model")[0]
    lab.tokenizer = hashlib.sha256((large / "tokenizer.json").read_bytes()).hexdigest()


with Lab("energy") as lab:
    lab.init().start()
    lab.task(rounds=1, count="2,2", steps=STEPS, targets="all-linear").ok()
    first, second = [Watched(d.ready()) for d in lab.devices(2)]

    # slowed down, paused, resumed
    first.sys.heat(36)
    first.start("--duty", "0.05")
    plan = first.until("plan")
    slow = first.until("throttled")
    expect((slow["reason"], slow["duty"], slow["threads"]) == ("warm", 0.05, 1), slow)
    first.until("train")
    first.sys.plug(False)
    expect(first.until("paused")["reason"] == "unplugged", first.events[-1])
    before = cpu_seconds(first.child)
    time.sleep(1.5)
    expect(cpu_seconds(first.child) - before < 0.3, "a paused device uses no processor")
    first.sys.heat(25)
    first.sys.plug(True)
    first.until("resumed")
    done = first.until("done")
    expect((done["task"], done["round"], done["steps"]) == ("diary", 1, STEPS), done)
    numbers(plan, done)
    first.until("committed")
    expect(first.end() == 0, first.events[-3:])

    # Ctrl-C in a pause and at work; then the round is trained from its beginning
    second.sys.heat(36)  # so that it does not finish before it is stopped
    second.start("--duty", "0.05")
    second.until("train")
    second.sys.plug(False)
    second.until("paused")
    expect(second.end() == 0, second.events[-3:])
    second.sys.plug(True)
    second.start("--duty", "0.05")
    second.until("train")
    expect(second.end() == 0, second.events[-3:])
    second.start("--compute", "auto", "--energy", "off")
    plan = second.until("plan")
    numbers(plan, second.until("done"))
    second.until("committed")
    expect(second.end() == 0, second.events[-3:])
    wait_for("the round", lambda: lab.released(1))
    expect(lab.rounds()[0]["counted"] == 2, lab.rounds())
    lab.stop()

with Lab("budget") as lab:
    with_large_model(lab)
    lab.init().start()
    lab.task(rounds=1, count="2,2", steps=3, targets="v_proj").ok()
    size = (lab.model / "model.safetensors").stat().st_size
    device = Watched(lab.devices(1)[0].ready())
    device.start("--memory-budget", str(size * 3 // 4))
    plan = device.until("plan")
    expect(plan["weights"] == "streamed" and plan["memory_budget"] == size * 3 // 4, plan)
    done = device.until("done")
    numbers(plan, done)
    expect(done["bytes_read"] > size, done)
    expect(done["file_resident_peak"] < size / 4, done)
    device.until("committed")
    expect(device.end() == 0, device.events[-3:])
    lab.stop()

# SPDX-License-Identifier: Apache-2.0
"""`hearth sync` on a fake sysfs, against a real coordinator: warm slows the
training of a round down, unplugging pauses it, the charger lets it go on, Ctrl-C
ends it within a layer; the memory's numbers stand in its events, and the round
counts both devices."""
import json
import os
import pathlib
import signal
import subprocess
import time

from lab import PATIENCE, Lab, expect, wait_for

STEPS = 300  # still at work when the conditions are read again, on a fast machine too


class Watched:
    """A device whose conditions are files, and its `hearth sync` as it runs."""

    def __init__(self, device):
        self.device = device
        self.sys = device.lab.dir / f"sys{device.number}"
        for name, text in (("power_supply/BAT0/type", "Battery"),
                           ("power_supply/BAT0/capacity", "80"),
                           ("thermal/thermal_zone0/temp", "25000")):
            self.say(name, text)
        self.plug(True)
        device.policy.write_text(device.policy.read_text().replace(
            "need_charging = no", "need_charging = yes").replace(
            "temperature_max = 120", "temperature_max = 40"))

    def say(self, name, text):
        path = self.sys / "class" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name("." + path.name)  # the program must not see half of it
        new.write_text(text + "\n")
        new.rename(path)

    def plug(self, charging):
        self.say("power_supply/BAT0/status", "Charging" if charging else "Discharging")

    def start(self, *flags):
        d = self.device
        self.events = []
        self.child = subprocess.Popen(
            [d.lab.hearth, "sync", "--once", "--policy", d.policy, "--threads", "2", "--state",
             d.state, "--json", "--sysfs", self.sys, *flags],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def until(self, *kinds):
        for line in self.child.stdout:
            event = json.loads(line)
            self.events.append(event)
            if event.get("kind", event["event"]) in kinds:
                return event
        raise AssertionError(f"no {kinds}: {self.events[-5:]}")

    def end(self):
        rc = self.child.wait(60 * PATIENCE)
        self.child.stdout.close()
        return rc

    def cpu(self):
        stat = pathlib.Path(f"/proc/{self.child.pid}/stat").read_text()
        fields = stat.rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def numbers(plan, done):
    """The plan's and the end's three memory numbers, as of `hearth train`."""
    for event in (plan, done):
        for name in ("private_peak", "file_resident_peak", "rss_peak"):
            expect(event[name] > 0, event)
    expect(plan["bounded_bytes"] <= plan["memory_budget"], plan)
    expect(done["plan_bytes"] == plan["private_bytes"], (plan, done))
    if not os.environ.get("HEARTH_SANITIZE"):
        expect(done["private_peak"] <= plan["private_peak"], (plan, done))


with Lab("energy") as lab:
    lab.init().start()
    lab.task(rounds=1, count="2,2", steps=STEPS, targets="all").ok()
    first, second = [Watched(d.ready()) for d in lab.devices(2)]

    # slowed down, paused, resumed
    first.say("thermal/thermal_zone0/temp", "36000")
    first.start("--duty", "0.05")
    plan = first.until("plan")
    slow = first.until("throttled")
    expect((slow["reason"], slow["duty"], slow["threads"]) == ("warm", 0.05, 1), slow)
    first.until("train")
    first.plug(False)
    expect(first.until("paused")["reason"] == "unplugged", first.events[-1])
    before = first.cpu()
    time.sleep(1.5)
    expect(first.cpu() - before < 0.3, "a paused device uses no processor")
    first.say("thermal/thermal_zone0/temp", "25000")
    first.plug(True)
    first.until("resumed")
    done = first.until("done")
    expect((done["task"], done["round"], done["steps"]) == ("diary", 1, STEPS), done)
    numbers(plan, done)
    first.until("committed")
    expect(first.end() == 0, first.events[-3:])

    # Ctrl-C in a pause and at work; then the round is trained from its beginning
    second.start("--duty", "0.05")
    second.until("train")
    second.plug(False)
    second.until("paused")
    second.child.send_signal(signal.SIGINT)
    expect(second.end() == 0, second.events[-3:])
    second.plug(True)
    second.start()
    second.until("train")
    second.child.send_signal(signal.SIGINT)
    expect("cancel" in second.until("retry", "committed")["reason"] or
           "stopped" in second.events[-1]["reason"], second.events[-1])
    expect(second.end() == 0, second.events[-3:])
    second.start("--compute", "auto")
    plan = second.until("plan")
    numbers(plan, second.until("done"))
    second.until("committed")
    expect(second.end() == 0, second.events[-3:])
    wait_for("the round", lambda: lab.released(1))
    expect(lab.rounds()[0]["counted"] == 2, lab.rounds())
    lab.stop()

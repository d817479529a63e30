# SPDX-License-Identifier: Apache-2.0
"""kill -9 of hearthd at every failpoint, then a restart: what was acknowledged
is in the released sum exactly once, or the round is declared failed.

Two hand-made devices send integers that are known, so the released adapter can
be computed here and compared; they repeat every request until it is answered,
as real ones do."""
import http.client
import struct
import subprocess
import sys
import time

from lab import Lab, expect, run, wait_for
from raw import Raw

FAILPOINTS = dict(zip(sys.argv[1::2], sys.argv[2::2]))["--failpoints"]
names = [line.split()[1] for line in subprocess.run([FAILPOINTS], capture_output=True, text=True,
                                                    check=True).stdout.splitlines()
         if line.startswith("coordinator ")]
expect(len(names) >= 15, names)
GONE = (OSError, http.client.HTTPException)


class Phoenix:
    """Restarts the coordinator when it was killed; counts the deaths."""

    def __init__(self, lab):
        self.lab, self.deaths = lab, 0

    def revive(self):
        end = time.monotonic() + 2
        while self.lab.alive() and time.monotonic() < end:
            time.sleep(0.02)
        if not self.lab.alive():
            expect(self.lab.process.returncode == -9, f"left with {self.lab.process.returncode}")
            self.deaths += 1
            self.lab.kill()
            self.lab.start()

    def ask(self, what):
        for _ in range(20):
            try:
                return what()
            except GONE:
                self.revive()
        raise AssertionError("no answer after 20 tries")


def offer_of(phoenix, raw, task, seconds=15):
    """The offer of a task's open round."""
    def look():
        status, m = phoenix.ask(raw.checkin)
        expect(status == 200, (status, m))
        return next((o for o in m["offers"] if o["task"] == task), None)
    return wait_for(f"an offer of {task}", look, seconds)


def contribute(phoenix, raw, offer, values):
    """True once acknowledged, False when the round was closed before."""
    up = raw.upload(offer, struct.pack(f"<{len(values)}i", *values))
    for _ in range(40):
        status, m, _ = phoenix.ask(up.begin)
        if status == 410:
            return False
        if status == 503:
            time.sleep(0.05)
            continue
        expect(status == 200, (status, m))
        at = m["offset"]
        if at < len(up.data):
            status, m, _ = phoenix.ask(lambda: up.append(at, up.data[at:]))
            if status == 410:
                return False
            if status in (409, 503):
                continue
            expect(status == 200, (status, m))
        status, m, _ = phoenix.ask(up.commit)
        if status == 200:
            expect(phoenix.ask(up.commit)[:2] == (200, m), "the same reply again")
            return True
        if status == 410:
            return False
        expect(status in (409, 503), (status, m))
        time.sleep(0.05)
    raise AssertionError("never acknowledged")


def content(lab, release):
    raw = (lab.coord / f"state/releases/{release['content_sha256']}.f32").read_bytes()
    return struct.unpack(f"<{len(raw) // 4}f", raw)


def check_sum(lab, task, name, offer, sequence, sums, n):
    releases = {r["sequence"]: r for r in lab.releases(task)}
    old, new = content(lab, releases[offer["start"]]), content(lab, releases[sequence])
    unit = 2.0 ** -offer["privacy"]["scale"]
    for i, total in enumerate(sums):
        want = old[i] + total / n * unit
        expect(abs(new[i] - want) <= 1e-6 * max(abs(want), n * unit),
               f"{name}: coordinate {i} is {new[i]}, not {want}")


def one_round(lab, phoenix, devices, task, name, salt):
    d = None
    acknowledged, sums, offer = 0, [], None
    for k, raw in enumerate(devices):
        offer = offer_of(phoenix, raw, task)
        d = offer["privacy"]["d"] + len(offer["privacy"]["coords"])
        values = [((i * 2654435761 + salt * 97 + k * 12345) % 4001) - 2000 for i in range(d)]
        if contribute(phoenix, raw, offer, values):
            acknowledged += 1
            sums = [a + b for a, b in zip(sums, values)] if sums else values
    number = offer["round"]

    def over():
        phoenix.ask(lambda: Raw(devices[0].device).checkin())
        row = [r for r in lab.rounds(task) if r["round"] == number]
        return row and row[0]["phase"] in ("released", "failed") and row[0]
    row = wait_for(f"{name}: the end of round {number}", over, 30)
    if row["phase"] == "failed":
        expect(all(r["round"] != number for r in lab.releases(task)), f"{name}: failed but released")
        return row
    expect(row["counted"] == acknowledged == 2, f"{name}: {row}, {acknowledged} acknowledged")
    check_sum(lab, task, name, offer, row["sequence"], sums, 2)
    return row


with Lab("crash_coordinator") as lab:
    lab.init().start()
    owners = lab.devices(2)
    for owner in owners:
        owner.join().ok()
    devices = [Raw(owner) for owner in owners]
    phoenix = Phoenix(lab)

    # The command that creates a task dies too; doing it again helps or says why not.
    path = lab.dir / "sum.ini"
    made = lab.task("sum", count="2,2", time_="0s,100s", rounds=3 * len(names), over=20)
    made.ok()
    text = path.read_text()
    (lab.dir / "torn.ini").write_text(text.replace("name = sum", "name = torn"))
    died = run([lab.hearthd, "task", "create", "-f", lab.dir / "torn.ini", "-c", lab.ini],
               {"HEARTH_FAILPOINT": "task.after_create"})
    expect(died.rc == -9, f"task.after_create was not reached: {died.out}{died.err}")
    again = run([lab.hearthd, "task", "create", "-f", lab.dir / "torn.ini", "-c", lab.ini])
    expect(again.rc == 0 or "torn" in again.err, f"{again.out}{again.err}")
    lab.ctl("task", "pause", "torn").ok()
    lab.served(devices[0], "sum")
    one_round(lab, phoenix, devices, "sum", "no failpoint", 0)

    for i, name in enumerate(names):
        if name.startswith(("task.", "fail.")):
            continue
        lab.stop()
        lab.start({"HEARTH_FAILPOINT": name})
        before = phoenix.deaths
        row = one_round(lab, phoenix, devices, "sum", name, i + 1)
        if phoenix.deaths == before:  # not on the way of one round: of the next
            row = one_round(lab, phoenix, devices, "sum", name, i + 101)
        expect(phoenix.deaths == before + 1, f"{name} was reached {phoenix.deaths - before} times")
        print(f"{name}: round {row['round']} {row['phase']}")

    # Rounds that miss their minimum: one contribution, acknowledged, not counted.
    lab.ctl("task", "pause", "sum").ok()
    lab.task("short", count="2,2", time_="0s,1s", rounds=20, over=20).ok()
    lab.served(devices[0], "short")
    for i, name in enumerate(n for n in names if n.startswith("fail.")):
        lab.stop()
        lab.start({"HEARTH_FAILPOINT": name})
        before = phoenix.deaths
        offer = offer_of(phoenix, devices[0], "short")
        d = offer["privacy"]["d"]
        contribute(phoenix, devices[0], offer, [i] * d)

        def failed():
            phoenix.ask(lambda: Raw(owners[1]).ask("GET", "/v1/keyset"))
            if not lab.alive():
                phoenix.revive()
            row = [r for r in lab.rounds("short") if r["round"] == offer["round"]]
            return row and row[0]["phase"] == "failed" and phoenix.deaths > before
        wait_for(f"{name}: round {offer['round']} to fail", failed, 20)
        expect(len(lab.releases("short")) == 1, f"{name}: nothing was released")
        print(f"{name}: round {offer['round']} failed, nothing counted")

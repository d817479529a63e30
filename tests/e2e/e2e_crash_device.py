# SPDX-License-Identifier: Apache-2.0
"""kill -9 of a device at every failpoint, then it goes on: its contribution is
counted exactly once, and what it sends is what it was charged for: never a
second noise draw under one charge.

Every failpoint gets its own device; a partner makes each round complete."""
import contextlib
import hashlib
import signal
import sqlite3
import subprocess

from lab import Lab, expect, options, wait_for
from raw import Raw
import sys

FAILPOINTS = dict(zip(sys.argv[1::2], sys.argv[2::2]))["--failpoints"]
names = [line.split()[1] for line in subprocess.run([FAILPOINTS], capture_output=True, text=True,
                                                    check=True).stdout.splitlines()
         if line.startswith("device ")]
expect(len(names) >= 15, names)


def charges(d, number):
    """Live charges of a device for a round: rows that no later row voids."""
    if not d.rows("SELECT 1 FROM sqlite_master WHERE name = 'ledger_row'"):
        return []
    rows = d.rows(f"SELECT seq, voids FROM ledger_row WHERE round = {number}")
    voided = {v for _, v in rows if v}
    return [s for s, v in rows if not v and s not in voided]


def kept_bytes(d):
    """SHA-256 of prepared bytes that are still there, by round."""
    if not d.rows("SELECT 1 FROM sqlite_master WHERE name = 'prepared'"):
        return {}
    return {r: hashlib.sha256(b).digest() for r, b in
            d.rows("SELECT round, bytes FROM prepared WHERE bytes IS NOT NULL")}


def announced(lab, number):
    """What the coordinator was told, by round: digests of begun uploads."""
    with contextlib.closing(sqlite3.connect(lab.coord / "state/coordinator.db")) as db:
        return [bytes(r[0]) for r in db.execute(
            "SELECT sha256 FROM contributions WHERE round = ? AND state IN (2, 3)", (number,))]


def finish(lab, devices, number):
    """Sync until round `number` is released."""
    said = []

    def turn():
        for d in devices:
            said.append((d.number, d.sync().out[-300:]))
        done = [r for r in lab.rounds() if r["round"] == number]
        return done and done[0]["phase"] in ("released", "failed") and done[0]
    row = wait_for(f"round {number}", turn, 150)
    expect(row["phase"] == "released", f"round {number} failed: {said[:6]}")
    return row


with Lab("crash_device") as lab:
    lab.init().start()
    lab.task(count="2,2", rounds=len(names) * 3 // 2 + 6, over=20).ok()
    partners = [d.ready() for d in lab.devices(2, first=100)]
    lab.served(Raw(partners[0]))
    reached = set()
    for i, name in enumerate(names):
        d, = lab.devices(1, first=i)
        crash = {"HEARTH_FAILPOINT": name}
        number = max([r["round"] for r in lab.rounds()] + [0])
        if number == 0 or lab.rounds()[-1]["phase"] != "open":
            number += 1
        token = lab.token()
        if name.startswith("enroll."):
            done = d.join(token=token, env=crash)
            expect(done.rc == -signal.SIGKILL, f"{name} was not reached: {done.out}{done.err}")
            d.join(token=token).ok()
            d.add_records().ok()
            d.sync()
        else:
            d.join(token=token).ok()
            d.add_records().ok()
            if "void" in name:  # charged, then its clock says it is too late
                done = d.sync(env={"HEARTH_FAILPOINT": "prepare.after_commit"})
                expect(done.rc == -signal.SIGKILL, f"{name}: no charge: {done.out}")
                expect(len(charges(d, number)) == 1, f"{name}: one charge")
                crash["HEARTH_CLOCK_OFFSET_MS"] = "3600000"
            done = d.sync(env=crash)
            expect(done.rc == -signal.SIGKILL, f"{name} was not reached: {done.out}{done.err}")
        reached.add(name)
        before = kept_bytes(d)
        if "void" in name:
            d.sync(env={"HEARTH_CLOCK_OFFSET_MS": "3600000"})
            expect(not charges(d, number), f"{name}: {charges(d, number)}")
            expect(number not in kept_bytes(d), f"{name}: bytes are kept after the void")
            expect(d.rows("SELECT count(*) FROM ledger_row WHERE voids <> 0")[0][0] == 1,
                   f"{name}: voided once, also after the crash")
            expect(finish(lab, partners, number)["counted"] == 2, f"{name}: the others went on")
            print(f"{name}: round {number} counted 2 others, the charge is void")
            continue
        result = finish(lab, [d, partners[0]], number)
        expect(result["phase"] == "released" and result["counted"] == 2, f"{name}: {result}")
        sent = announced(lab, number)
        expect(len(sent) == 2 and len(set(sent)) == 2, f"{name}: {len(sent)} uploads")
        expect(len(charges(d, number)) == 1, f"{name}: one charge, not {charges(d, number)}")
        if number in before:
            expect(before[number] in sent, f"{name}: other bytes were sent than were charged")
        print(f"{name}: round {number} counted 2")
    expect(reached == set(names), set(names) - reached)

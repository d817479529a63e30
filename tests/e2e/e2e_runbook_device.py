# SPDX-License-Identifier: Apache-2.0
"""The runbooks of .github/SECURITY.md for devices, step by step: one is lost in
the middle of an upload (R3), and one is restored from an older copy (R6)."""
import contextlib
import shutil
import sqlite3

from lab import Lab, expect

KILLED = {"HEARTH_FAILPOINT": "prepare.before_sending"}


def status(device):
    return device.hearth("status").ok().of("status")[0]


with Lab("runbook_device") as lab:
    lab.init().start()
    lab.task(count="2,2", rounds=60, over=20).ok()
    a, b, c = lab.devices(3)
    token = lab.token()
    a.join(token=token).ok()
    a.add_records().ok()
    b.ready()
    lab.one_more_round([a, b])

    # ---- R3: a is lost in the middle of an upload.
    a.sync(env={"HEARTH_FAILPOINT": "sync.after_append:1"})
    expect(status(a)["phase"] == "a prepared delta waits to be sent", status(a))
    lost = status(a)["device"]
    listed = {d["id"]: d for d in lab.ctl("device", "list").ok().of("device")}
    expect(lost in listed and len(listed) == 2, listed)
    lab.ctl("device", "revoke", lost).ok()
    revoked = [d["id"] for d in lab.ctl("device", "list").ok().of("device") if d["revoked"]]
    expect(revoked == [lost], revoked)
    out = a.sync()
    expect("committed" not in out.kinds() and "checkin" not in out.kinds(),
           f"a lost device is refused, also what it was sending: {out.out}")
    a.join(token=token).ok()  # it has a certificate: nothing is asked
    expect("checkin" not in a.sync().kinds(), "and that certificate is worth nothing")
    shutil.rmtree(a.state)
    a.join(token=token).failed("used up")
    # The person's next device.
    c.ready()
    expect(status(c)["participations"] == 0, "its ledger starts at nothing")
    lab.one_more_round([b, c])

    # ---- R6: b is restored from an older copy.  Without a counter nobody notices.
    copy = lab.dir / "copy"
    shutil.copytree(b.state, copy)
    before = status(b)["participations"]
    lab.one_more_round([b, c])
    expect(status(b)["participations"] > before, "charged")
    shutil.rmtree(b.state)
    shutil.copytree(copy, b.state)
    expect(status(b)["participations"] == before, "what was given since the copy is in no ledger")
    lab.one_more_round([b, c])
    expect(status(b)["participations"] > before, "and is spent again")

    # The folder of an app with a counter: another program sends nothing from it,
    # and forgets without taking a charge back.
    b.sync(env=KILLED)
    before = status(b)["participations"]
    with contextlib.closing(sqlite3.connect(b.state / "client.db")) as db:
        db.execute("INSERT INTO ledger_counter VALUES(1)")
        db.commit()
    b.sync().failed("take part from that app")
    gone = b.hearth("records", "forget", "--all").ok()
    expect(gone.of("forget")[0]["prepared"] == 1 and gone.of("forget")[0]["sent"] == 1, gone.out)
    expect(gone.of("cannot_withdraw")[0]["contributions"] == before, gone.out)
    expect(status(b)["participations"] == before and status(b)["records"] == 0, status(b))
    lab.stop()

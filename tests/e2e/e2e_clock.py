# SPDX-License-Identifier: Apache-2.0
"""Clocks that jump, on both sides.  HEARTH_CLOCK_OFFSET_MS moves the wall clock
of a process in builds with failpoints."""
from lab import Lab, expect, wait_for
from raw import Raw

HOUR = 3600000
DAY = 24 * HOUR


def at(ms):
    return {"HEARTH_CLOCK_OFFSET_MS": str(ms)}


with Lab("clock") as lab:
    lab.init().start()
    lab.task(count="2,2", rounds=6, time_="0s,60s", over=20).ok()
    a, b, c = [d.ready() for d in lab.devices(3)]
    lab.served(Raw(a))

    # The coordinator jumps an hour ahead while a round is open: the round
    # is over, none of it is counted, and the next one works.
    expect("committed" in a.sync().ok().kinds(), "a is in round 1")
    lab.stop()
    lab.start(at(HOUR))
    wait_for("round 1 to fail", lambda: lab.rounds()[0]["phase"] == "failed")
    for _ in range(4):
        if len([r for r in lab.rounds() if r["phase"] == "released"]) < 1:
            for d in (b, c):
                d.sync(env=at(HOUR))
    expect(lab.released(1)[0]["counted"] == 2, "round 2 works")

    # Ahead by more than a certificate lasts: refused in words, not in a crash.
    lab.stop()
    lab.start(at(100 * DAY))
    status, m = Raw(a).checkin()
    expect(status == 401, f"a's certificate is over: {status} {m}")
    done = a.sync()
    expect("committed" not in done.kinds() and "accepted" not in done.kinds(), done.out)

    # Back before the certificates began, then right again.
    lab.stop()
    lab.start(at(-2 * HOUR))
    status, m = Raw(a).checkin()
    expect(status == 401, f"a's certificate has not begun: {status} {m}")
    lab.stop()
    lab.start()
    expect(Raw(a).checkin()[0] == 200, "the right time again")

    # A device whose clock goes back must not gain participations: with a
    # spacing of a day it waits, whatever its clock says.
    c.policy.write_text(c.policy.read_text().replace("spacing = 0s", "spacing = 24h"))
    count = "SELECT count(*) FROM ledger_row WHERE kind = 1"
    before = c.rows(count)[0][0]
    for offset in (0, -2 * DAY):
        done = c.sync(env=at(offset))
        expect("prepared" not in done.kinds(), f"spacing at {offset}: {done.out}")
    charged = [r for r, in c.rows("SELECT round FROM ledger_row WHERE kind = 1")]
    expect(len(charged) == len(set(charged)), f"c was charged twice for a round: {charged}")
    charges = len(charged)
    expect(charges == before, f"c was charged {charges} times, not {before}")

    # A device far ahead finds its keyset expired, and says so.
    done = b.sync(env=at(400 * DAY))
    expect("committed" not in done.kinds(), done.out)
    expect("expire" in done.out + done.err or "certificate" in done.out + done.err,
           f"an expired keyset is not named: {done.out}{done.err}")
    expect(b.sync().rc == 0, "b is sound at the right time")

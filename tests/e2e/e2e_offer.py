# SPDX-License-Identifier: Apache-2.0
"""Offers that a device refuses, each naming its field; nothing is charged."""
from lab import Lab, expect
from raw import Raw

CASES = [  # line of the lab's policy, what it becomes, field that must be named
    ("cohort_min = 1\n", "cohort_min = 32\n", "cohort_min"),
    ("delta = 1e-5", "delta = 1e-6", "delta"),
    ("noise_to_signal_max = 100000", "noise_to_signal_max = 1", "noise_to_signal"),
    ("cohort_min", "noise_min = 9\ncohort_min", "noise_min"),
    ("cohort_min", "epsilon_task = 0.1\ncohort_min", "epsilon_task"),
    ("cohort_min", "dimension_max = 10\ncohort_min", "dimension_max"),
]

with Lab("offer") as lab:
    lab.init().start()
    lab.task(count="2,2", noise=8, over=20).ok()
    devices = [d.ready() for d in lab.devices(len(CASES) + 2)]
    lab.served(Raw(devices[-1]))
    for d, (old, new, field) in zip(devices, CASES):
        d.policy.write_text(d.policy.read_text().replace(old, new))
        done = d.sync()
        words = " ".join(e.get("reason", "") for e in done.of("refused"))
        expect(field in words, f"{field} is not named: {done.out}{done.err}")
        expect("prepared" not in done.kinds(), f"a refused offer was prepared: {done.out}")
        tables = [r[0] for r in d.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
        charged = [t for t in tables if "ledger" in t or "charge" in t]
        expect(charged, tables)
        for t in charged:
            expect(d.rows(f"SELECT count(*) FROM {t}")[0][0] == 0, f"{t} holds a charge")

    # There is no setting that loosens the caps.
    last = devices[len(CASES)]
    base = last.policy.read_text()
    for line in ("epsilon_task = 50\n", "noise_min = 0\n", "clip = no\n"):
        last.policy.write_text(base + line)
        last.sync().failed(line.split()[0])

    # With the policy of the lab it takes part.
    last.policy.write_text(base)
    devices[-1].sync().ok()
    done = last.sync().ok()
    expect("committed" in done.kinds(), done.out)
    lab.released(1)

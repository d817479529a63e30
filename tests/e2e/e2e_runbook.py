# SPDX-License-Identifier: Apache-2.0
"""The runbooks of .github/SECURITY.md, step by step: a coordinator restored from
a backup, and the device CA and the root key replaced.  (The TLS and the release
key: e2e_rotate.py; devices: e2e_runbook_device.py.)"""
import shutil

from lab import Lab, expect, run


with Lab("runbook") as lab:
    lab.init().start()
    lab.task(count="2,2", rounds=60, over=20).ok()
    both = [d.ready() for d in lab.devices(2)]
    lab.one_more_round(both)

    # ---- R5: restore the coordinator from a backup.  A release is lost.
    backup = lab.dir / "backup"
    lab.ctl("backup", "--out", backup).ok()
    shutil.copytree(lab.coord / "keys", backup / "keys")
    shutil.copy(lab.ini, backup / "hearthd.ini")
    kept = lab.releases()[-1]["sequence"]
    lab.one_more_round(both)
    lab.stop()
    lost = lab.releases()[-1]["sequence"]
    expect(lost > kept, f"a release after the backup: {lost}")
    shutil.rmtree(lab.coord / "state")
    (lab.coord / "devices.db").unlink()
    for name in ("hearthd.ini", "devices.db"):
        shutil.copy(backup / name, lab.coord / name)
    shutil.copytree(backup / "state", lab.coord / "state")
    expect(lab.releases()[-1]["sequence"] == kept, "the backup's releases")
    # Devices refuse what is older than theirs: raise the number above it.
    while lab.releases()[-1]["sequence"] <= lost:
        lab.ctl("release", "rollback", "diary", kept).ok()
    lab.start()
    lab.one_more_round(both)
    expect(lab.releases()[-1]["sequence"] > lost, "and a higher release")

    # ---- R2: the device CA is replaced; devices enrol again, ledgers stay.
    spent = len(both[0].rows("SELECT seq FROM ledger_row"))
    expect(spent > 0, "rows in the ledger")
    new = lab.dir / "new"
    made = run([lab.hearthd, "init", "--dir", new, "--host", "127.0.0.1", "--json"]).ok()
    lab.stop()
    for name in ("device_ca.key", "device_ca.pem", "cookie.key"):
        shutil.copy(new / "keys" / name, lab.coord / "keys" / name)
    lab.ctl("keyset", "--root-key", lab.coord / "root.key").ok()
    lab.start()
    out = both[0].sync()
    expect("checkin" not in out.kinds(), f"an old certificate is refused: {out.out}")
    for d in both:
        d.join().ok()
    lab.one_more_round(both)
    expect(len(both[0].rows("SELECT seq FROM ledger_row")) >= spent, "the ledger stays")

    # ---- R4: the root key is replaced: a state that knows the old one stays out.
    lab.stop()
    for path in (new / "keys").iterdir():
        shutil.copy(path, lab.coord / "keys" / path.name)
    done = lab.ctl("keyset", "--root-key", new / "root.key").ok()
    expect(done.of("resigned"), "releases are signed by the new release key")
    lab.start()
    out = both[0].sync()
    expect("checkin" not in out.kinds(), f"another root is not followed: {out.out}")
    both[0].join().failed("root")
    lab.root = made.of("init")[0]["root"]
    both[0].join().failed("another state folder")
    lab.one_more_round([d.ready() for d in lab.devices(2, first=2)])

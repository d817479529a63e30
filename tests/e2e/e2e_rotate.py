# SPDX-License-Identifier: Apache-2.0
"""Keys change: a new TLS key under a new keyset, a device certificate renewed
in its last third, and a keyset that goes back to an older version."""
import shutil

from lab import Lab, expect, run

DAY = 86400000

with Lab("rotate") as lab:
    lab.init().start()
    lab.task(count="2,2", rounds=3, over=20).ok()
    a, b = [d.ready() for d in lab.devices(2)]
    keys = lab.coord / "keys"
    old_keyset = (keys / "keyset.bin").read_bytes()
    old = lab.dir / "old"
    shutil.copytree(keys, old)
    expect(a.sync().rc == 0, "a talks before")

    # A new TLS key; the root key signs a keyset that names it.
    lab.stop()
    other = lab.dir / "other"
    run([lab.hearthd, "init", "--dir", other, "--host", "127.0.0.1"]).ok()
    for name in ("tls.key", "tls.pem"):
        shutil.copy(other / "keys" / name, keys / name)
    wrong = lab.ctl("keyset", "--root-key", other / "root.key")
    expect(wrong.rc == 1, f"another root key may not sign: {wrong.out}{wrong.err}")
    done = lab.ctl("keyset", "--root-key", lab.coord / "root.key").ok()
    expect(done.of("keyset")[0]["version"] == 2, done.out)
    (lab.coord / "root.key").rename(lab.dir / "root.key")  # serve never needs it
    lab.start()
    said = [d.sync().out for _ in range(4) for d in (a, b)]
    expect(any("committed" in x for x in said), said)
    expect(lab.released(1)[0]["counted"] == 2, "both found the new keyset and went on")

    # A new release key: what the old one signed is signed anew, under a higher
    # sequence, and devices learn of both in their next syncs.
    lab.stop()
    shutil.copy(other / "keys/release.key", keys / "release.key")
    done = lab.ctl("keyset", "--root-key", lab.dir / "root.key").ok()
    newest = lab.releases()[-1]
    expect(done.of("resigned")[0]["sequence"] == newest["sequence"], done.out)
    expect(newest["content_sha256"] == lab.releases()[-2]["content_sha256"], "the same content")
    lab.start()
    said = [d.sync().out for _ in range(4) for d in (a, b)]
    expect(lab.released(2)[1]["counted"] == 2, f"both go on under the new release key: {said}")
    done = lab.ctl("keyset", "--root-key", lab.dir / "root.key").ok()
    expect(not done.of("resigned"), "nothing is signed twice")

    # Back to the old keyset, as one who copied it would: not believed.
    lab.stop()
    for path in old.iterdir():
        shutil.copy(path, keys / path.name)
    (keys / "keyset.bin").write_bytes(old_keyset)
    lab.start()
    before = len(lab.rounds())
    done = a.sync()
    expect("checkin" not in done.kinds(), f"a went back to an older keyset: {done.out}")
    expect(len(lab.rounds()) == before, "no round came of it")
    lab.stop()
    for name in ("tls.key", "tls.pem", "release.key"):
        shutil.copy(other / "keys" / name, keys / name)
    for _ in range(4):
        lab.ctl("keyset", "--root-key", lab.dir / "root.key").ok()  # version 5

    # 70 days on, a device renews by itself and keeps its id.
    late = {"HEARTH_CLOCK_OFFSET_MS": str(70 * DAY)}
    lab.start(late)
    certificate, name = a.setting("cert"), a.setting("device")
    for _ in range(3):
        a.sync(env=late)
    expect(a.setting("cert") != certificate, "a's certificate is a new one")
    expect(a.setting("device") == name, "under the same id")
    devices = lab.ctl("device", "list").ok().of("device")
    until = {d["id"].encode(): d["not_after_ms"] for d in devices}
    expect(until[name] > until[b.setting("device")] + 60 * DAY, devices)

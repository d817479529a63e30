# SPDX-License-Identifier: Apache-2.0
"""A device that dies in the middle of a long upload goes on at the offset: the
bytes that had arrived are not sent again."""
import signal
import urllib.request

from lab import Lab, expect, free_port
from raw import Raw

CHUNK = 256 << 10  # of the device's uploads

with Lab("resume") as lab:
    port = free_port()
    lab.init(f"[metrics]\nlisten = 127.0.0.1:{port}\n").start()

    def metric(name):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as r:
            for line in r.read().decode().splitlines():
                if line.startswith(name + " "):
                    return int(line.split()[1])
        raise AssertionError(f"no metric {name}")

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as r:
        expect(r.status == 200 and r.read() == b"ok\n", "healthy")
    lab.task(count="2,2", targets="all-linear", rank=lab.large_rank(), over=20, noise=2.4).ok()
    a, b = [d.ready() for d in lab.devices(2)]
    lab.served(Raw(b))
    done = a.sync(env={"HEARTH_FAILPOINT": "sync.after_append:1"})
    expect(done.rc == -signal.SIGKILL, f"not reached: {done.out}{done.err}")
    total = [e["total"] for e in a.sync(env={"HEARTH_FAILPOINT": "sync.after_append:1"}).events
             if e.get("kind") == "upload"][0]
    expect(total > 2 * CHUNK, f"the upload has {total} bytes: too few for this test")
    expect(metric("hearthd_upload_bytes_total") == 2 * CHUNK, "two chunks have arrived")
    spool = list((lab.coord / "state/spool").glob("**/*"))
    expect([p.stat().st_size for p in spool if p.is_file()] == [2 * CHUNK], "they are in the journal")
    lab.kill()  # and the coordinator forgets nothing either
    lab.start()
    expect("committed" in a.sync().ok().kinds(), "the rest is sent")
    expect(metric("hearthd_upload_bytes_total") == total - 2 * CHUNK, "only the rest was sent")
    expect("committed" in b.sync().ok().kinds(), "b takes part as well")
    expect(lab.released(1)[0]["counted"] == 2, "both are counted")

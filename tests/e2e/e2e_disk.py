# SPDX-License-Identifier: Apache-2.0
"""The coordinator's disk runs full: uploads are refused before they are sent,
nothing that was acknowledged is lost, and it goes on when there is room.

As root the state lies on a small file system of its own; otherwise a limit on
the size of files, and errors injected by failpoint, stand in for it."""
import resource
import signal
import subprocess

from lab import Lab, expect
from raw import Raw


def injected(lab):
    """An error of the disk at each place that writes an upload."""
    lab.task("inject", count="2,2", rounds=1, over=20).ok()
    a, b = [d.ready() for d in lab.devices(2)]
    lab.served(Raw(a), "inject")
    for place in ("begin.after_file", "append.after_write"):
        lab.stop()
        lab.start({"HEARTH_FAILERROR": place})
        done = a.sync()
        words = " ".join(e.get("reason", "") for e in done.events)
        expect("committed" not in done.kinds() and "disk" in words, f"{place}: {done.out}{done.err}")
    lab.stop()
    lab.start()
    for d in (a, b):
        expect("committed" in d.sync().ok().kinds(), "there is room again")
    expect(lab.released(1, "inject")[0]["counted"] == 2, "both are counted once")


def limited(lab):
    """No file may grow past 300 KiB: an upload of more stops in the middle."""
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300 << 10, 300 << 10))
    lab.task("limit", count="2,2", rounds=1, over=20, targets="all-linear",
             rank=lab.large_rank(), noise=2.4).ok()
    c, d = [x.ready() for x in lab.devices(2, first=10)]
    lab.served(Raw(c), "limit")
    lab.stop()
    lab.start(preexec=limit)
    for x in (c, d):
        done = x.sync()
        expect("committed" not in done.kinds(), f"acknowledged without room: {done.out}")
    expect(lab.alive(), "hearthd lives on")
    lab.stop()
    lab.start()
    for x in (c, d):
        expect("committed" in x.sync().ok().kinds(), "there is room again")
    expect(lab.released(1, "limit")[0]["counted"] == 2, "both are counted once")


def mounted(lab, state):
    """A real file system of 24 MiB, filled by somebody else."""
    lab.task("full", count="2,2", rounds=1, over=20).ok()
    e, f = [x.ready() for x in lab.devices(2, first=20)]
    lab.served(Raw(e), "full")
    filler = state / "filler"
    for leave in (600 << 10, 0):  # under the reserve; nothing at all
        with open(filler, "wb", buffering=0) as out:
            try:
                while True:
                    out.write(b"x" * 4096)
            except OSError:
                pass
        if leave:
            subprocess.run(["truncate", "-s", f"-{leave}", filler], check=True)
        done = e.sync()
        expect("committed" not in done.kinds(), f"acknowledged without room: {done.out}")
        expect(lab.alive(), "hearthd lives on")
        filler.unlink()
    for x in (e, f):
        expect("committed" in x.sync().ok().kinds(), "there is room again")
    expect(lab.released(1, "full")[0]["counted"] == 2, "both are counted once")


with Lab("disk") as lab:
    lab.init()
    state = lab.coord / "state"
    state.mkdir(exist_ok=True)
    small = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(state)],
                           capture_output=True, check=False).returncode == 0
    try:
        lab.start()
        injected(lab)
        limited(lab)
        if small:
            mounted(lab, state)
        else:
            print("no small file system (not root): that part is skipped")
        lab.stop()
    finally:
        lab.kill()
        if small:
            subprocess.run(["umount", str(state)], check=False)

# SPDX-License-Identifier: Apache-2.0
"""Two rounds, three devices: everything from init to the installed release."""
import os
import pathlib
import resource

from lab import Lab, expect

with Lab("round") as lab:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]

    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    lab.init().start(preexec=few)
    limits = pathlib.Path(f"/proc/{lab.process.pid}/limits")
    if limits.exists():  # a descriptor for each of the 1024 connections it takes
        line = next(x for x in limits.read_text().splitlines() if x.startswith("Max open files"))
        expect(int(line.split()[3]) >= (1024 + 64 if hard < 0 else min(1024 + 64, hard)), line)
    lab.task(rounds=2, count="2,2").ok()
    devices = [d.ready() for d in lab.devices(3)]
    expect(len(lab.ctl("device", "list").ok().of("device")) == 3, "three devices are enrolled")
    for turn in range(12):
        for d in devices:
            d.sync()
        if len([r for r in lab.rounds() if r["phase"] == "released"]) == 2:
            break
    rounds = lab.released(2)
    expect([r["counted"] for r in rounds] == [2, 2], f"two devices in each round: {rounds}")
    releases = lab.releases()
    expect([r["sequence"] for r in releases] == [1, 2, 3], f"start and two rounds: {releases}")
    expect(len({r["content_sha256"] for r in releases}) == 3, "each release is another adapter")
    for d in devices:
        d.sync()
        kinds = d.sync().ok().kinds()
        expect("error" not in kinds, kinds)
    installed = [d for d in devices if list(d.state.glob("**/adapter_model.safetensors"))]
    expect(len(installed) == 3, "every device holds the released adapter as a PEFT folder")
    status = lab.ctl("status").ok().of("status")[0]
    expect(status["released"] == 2 and status["sequence"] == 3, status)
    expect(0 < status["epsilon_release"] <= status["epsilon_coordinator"] <= 10, status)
    out = lab.dir / "peft"
    lab.ctl("release", "export", "diary", "--out", out).ok()
    expect((out / "adapter_model.safetensors").exists(), "the release is exported")
    lab.ctl("release", "rollback", "diary", "2").ok()
    expect(lab.releases()[-1]["sequence"] == 4, "a rollback is a new, higher sequence")
    expect(lab.releases()[-1]["content_sha256"] == releases[1]["content_sha256"], "older content")
    lab.ctl("backup", "--out", lab.dir / "backup").ok()
    expect((lab.dir / "backup/state/coordinator.db").exists(), "the backup holds the store")
    mode = os.stat(lab.coord / "root.key").st_mode & 0o777
    expect(mode == 0o600, f"the root key is private: {mode:o}")
    lab.stop()

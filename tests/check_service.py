#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fail when systemd does not understand deploy/systemd/*.service, or when a unit
starts something else than this project's programs.  Checks a copy that starts
the hearthd of BUILD, so that nothing need be installed.

Prints nothing when all is well, or when there is no systemd-analyze.
Usage: check_service.py ROOT BUILD"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

EXEC = re.compile(r"^ExecStart=/usr/bin/(\S+)", re.M)


def check(unit, build, folder):
    text = unit.read_text()
    started = EXEC.findall(text)
    if started != ["hearthd"]:
        return [f"{unit.name}: starts {started}, not /usr/bin/hearthd"]
    program = build / "coordinator/hearthd"
    copy = folder / unit.name
    copy.write_text(text.replace("/usr/bin/hearthd", str(program if program.exists() else "/bin/true")))
    run = subprocess.run(["systemd-analyze", "verify", "--recursive-errors=no", str(copy)],
                         capture_output=True, text=True, check=False)
    said = (run.stdout + run.stderr).strip()
    return [f"{unit.name}: {said or 'not understood'}"] if run.returncode or said else []


def main(root, build):
    units = sorted((root / "deploy/systemd").glob("*.service"))
    if not units:
        return ["deploy/systemd: no unit"]
    if not shutil.which("systemd-analyze"):
        return []
    with tempfile.TemporaryDirectory() as folder:
        return [line for u in units for line in check(u, build, pathlib.Path(folder))]


if __name__ == "__main__":
    sys.exit("\n".join(main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]).resolve())) or 0)

# SPDX-License-Identifier: Apache-2.0
"""deploy/demo.sh with fewer rounds, so that it cannot rot: its table, its
sentence, its two answers; and a Ctrl-C that leaves neither process nor file."""
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time

from lab import ROOT, expect, options


def linked_build(folder):
    """The programs under test, where demo.sh looks for them in a build."""
    hearth, hearthd = (pathlib.Path(p).resolve() for p in options())
    generator = hearth.parents[2] / "deploy/demo/diary_generator"
    for program, place in ((hearth, "client/cli/hearth"), (hearthd, "coordinator/hearthd"),
                           (generator, "deploy/demo/diary_generator")):
        expect(program.exists(), f"{program} is not built")
        (folder / place).parent.mkdir(parents=True)
        (folder / place).symlink_to(program)


def demo(folder, rounds):
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    return subprocess.Popen(
        ["sh", str(ROOT / "deploy/demo.sh")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, start_new_session=True,
        env={"PATH": os.environ["PATH"], "HOME": str(folder / "no-home"), "TMPDIR": str(temporary),
             "HEARTH_DEMO_BUILD": str(folder), "HEARTH_DEMO_ROUNDS": str(rounds)})


def processes_of(session):
    """Commands of a session that still run: nobody else's."""
    found = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            name, fields = stat.read_text().rsplit(")", 1)
        except OSError:
            continue
        if int(fields.split()[3]) == session and fields.split()[0] != "Z":
            found.append(name)
    return found


def nothing_left(folder, session):
    left = os.listdir(folder / "tmp")
    expect(not left, f"files stay behind: {left}")
    end = time.monotonic() + 10
    while processes_of(session) and time.monotonic() < end:
        time.sleep(0.1)
    expect(not processes_of(session), f"processes stay behind: {processes_of(session)}")


def whole(folder):
    p = demo(folder, 2)
    out = p.communicate(timeout=1500)[0]
    expect(p.returncode == 0, f"demo.sh left with {p.returncode}:\n{out}")
    rows = re.findall(r"^ +(\d) +16 +(\d\.\d{3}) +(\d\.\d{3}) +7\.59 +(\d\.\d\d) +(\d\.\d\d)$", out,
                      re.MULTILINE)
    expect([r[0] for r in rows] == ["1", "2"], f"no table of two rounds:\n{out}")
    expect(rows[0][2] == rows[1][1], "a round starts where the one before ended")
    expect(rows[1][3:] == ("5.72", "1.25"), f"the epsilons of two rounds: {rows}")
    for words in ("cohort_min 16 instead of 32", "does not depend on the number of devices",
                  "base     I ", "adapter  "):
        expect(words in out, f"demo.sh does not say '{words}':\n{out}")
    wide = [line for line in out.splitlines() if len(line) > 100]
    expect(not wide, f"lines of more than 100 columns: {wide}")
    nothing_left(folder, p.pid)


def interrupted(folder):
    p = demo(folder, 2)
    for line in p.stdout:
        if line.startswith("-----"):  # the first round is over, the second begins
            break
    os.killpg(p.pid, signal.SIGINT)  # as a terminal does
    rest = p.communicate(timeout=300)[0]
    expect(p.returncode == 130, f"Ctrl-C left with {p.returncode}:\n{rest}")
    nothing_left(folder, p.pid)


with tempfile.TemporaryDirectory(prefix="hearth_e2e_demo_") as name:
    linked_build(pathlib.Path(name))
    interrupted(pathlib.Path(name))
    whole(pathlib.Path(name))

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prove that only client/delta/prepare.c can make what net/upload accepts, and
that no digest passes for a secret.

Compiles every tests/compile_fail/*.c: those named *_ok_* must compile, all
others must fail, each with the words on its line `/* expect: ... */`.  Also:
the struct of the first is completed in one source only, and nothing casts to it.

Usage: check_prepared.py ROOT BUILD"""
import pathlib
import re
import subprocess
import sys

TYPE = re.compile(r"struct\s+hearth_prepared\s*\{")
CAST = re.compile(r"\(\s*(const\s+)?(struct\s+)?hearth_prepared\s*\*\s*\)\s*[\w(&]")


def compiler(build):
    for line in (build / "CMakeCache.txt").read_text().splitlines():
        if line.startswith("CMAKE_C_COMPILER:"):
            return line.split("=", 1)[1]
    sys.exit(f"{build}: no compiler in CMakeCache.txt")


def compile_one(cc, root, build, path):
    return subprocess.run(
        [cc, "-std=c11", "-D_POSIX_C_SOURCE=200809L", "-D_DEFAULT_SOURCE", "-I", str(root),
         "-I", str(build / "include"), "-I", str(root / "client/include"),
         "-Wall", "-Werror", "-fsyntax-only", str(path)],
        capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"})


def check_files(root, build):
    bad, n_ok, n_fail = [], 0, 0
    cc = compiler(build)
    for path in sorted((root / "tests/compile_fail").glob("*.c")):
        run = compile_one(cc, root, build, path)
        if "_ok_" in path.name:
            n_ok += 1
            if run.returncode:
                bad.append(f"{path.name}: must compile:\n{run.stderr}")
            continue
        n_fail += 1
        expect = re.search(r"/\* expect: (.*?) \*/", path.read_text())
        words = expect[1].split(" | ") if expect else []
        if run.returncode == 0:
            bad.append(f"{path.name}: compiles, so the door is open")
        elif not any(w in run.stderr for w in words):
            bad.append(f"{path.name}: fails for another reason:\n{run.stderr}")
    if n_ok < 2 or n_fail < 5:
        bad.append("tests/compile_fail: cases are missing")
    return bad


def check_sources(root):
    bad = []
    for folder in ("client", "common", "proto", "privacy", "coordinator"):
        for path in sorted((root / folder).rglob("*.[ch]")):
            name, text = path.relative_to(root).as_posix(), path.read_text()
            if TYPE.search(text) and name != "client/delta/prepare.c":
                bad.append(f"{name}: completes struct hearth_prepared")
            if CAST.search(text) and name != "client/delta/prepare.c":
                bad.append(f"{name}: casts to hearth_prepared")
    return bad


if __name__ == "__main__":
    root, build = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    sys.exit("\n".join(check_files(root, build) + check_sources(root)) or 0)

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fail when clang-format (version 14, Debian 12's) would change a C source.

Usage: check_format.py ROOT"""
import pathlib
import shutil
import subprocess
import sys


def main(root):
    tool = shutil.which("clang-format-14") or shutil.which("clang-format")
    if not tool:
        return ["clang-format is missing; run deploy/install-deps.sh"]
    files = sorted(p for d in ("common", "proto", "privacy", "client", "coordinator", "tests", "deploy")
                   for p in (root / d).rglob("*.[ch]"))
    bad = []
    for start in range(0, len(files), 64):
        run = subprocess.run([tool, "--dry-run", "--ferror-limit=1", *map(str, files[start:start + 64])],
                             capture_output=True, text=True, cwd=root)
        bad += sorted({line.split(":")[0] for line in run.stderr.splitlines() if "warning: code" in line})
    return [f"{pathlib.Path(b).relative_to(root)}: run clang-format -i on it" for b in bad]


if __name__ == "__main__":
    sys.exit("\n".join(main(pathlib.Path(sys.argv[1]).resolve())) or 0)

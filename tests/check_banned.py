#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fail on calls that the house bans, on sources without a licence line, on
files over 800 lines, on generated or machine-specific content.

Usage: check_banned.py ROOT"""
import pathlib
import re
import subprocess
import sys

BANNED = re.compile(
    r"\b(strcpy|strcat|sprintf|vsprintf|gets|atoi|atol|atof|alloca|strtok|rand|srand|"
    r"system|tmpnam|mktemp)\s*\(")
LIBRARY_BANNED = re.compile(r"\b(exit|abort|printf|assert|puts|perror)\s*\(")
LIBRARY = ("common/", "proto/", "privacy/", "client/")
NOT_LIBRARY = ("client/cli/", "common/failpoint.c", "common/log.c")
SPDX = "SPDX-License-Identifier: Apache-2.0"
CODE = {".c", ".h", ".py", ".sh", ".ts", ".tsx", ".cmake"}


def strip(text):
    """Blank out comments and strings, keeping line numbers."""
    pattern = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
    return pattern.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), text)


def check(root, name):
    path, bad = root / name, []
    text = path.read_text(errors="replace")
    suffix = path.suffix
    if suffix in CODE or path.name == "CMakeLists.txt":
        if SPDX not in "\n".join(text.splitlines()[:3]):
            bad.append(f"{name}:1: no line '{SPDX}'")
        if len(text.splitlines()) > 800:
            bad.append(f"{name}: {len(text.splitlines())} lines; at most 800")
    if suffix in (".c", ".h"):
        is_library = name.startswith(LIBRARY) and not name.startswith(NOT_LIBRARY)
        for n, line in enumerate(strip(text).splitlines(), 1):
            for m in BANNED.finditer(line):
                bad.append(f"{name}:{n}: {m[1]}() is banned")
            for m in LIBRARY_BANNED.finditer(line) if is_library else ():
                bad.append(f"{name}:{n}: {m[1]}() has no place in a library")
            if "-ffast-math" in line:
                bad.append(f"{name}:{n}: fast math is forbidden")
    if re.search(r"/(?:work|root|home)/[a-z.]+", text):
        bad.append(f"{name}: a path of one machine")
    return bad


def main(root):
    listed = subprocess.run(["git", "-C", str(root), "ls-files"], capture_output=True, text=True)
    names = listed.stdout.split("\n") if listed.returncode == 0 else [
        p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()]
    bad = []
    for name in names:
        path = root / name
        if not name or not path.is_file() or name.startswith("build/"):
            continue
        if path.stat().st_size > 2 << 20:
            bad.append(f"{name}: larger than 2 MB")
        elif path.suffix in CODE | {".md", ".txt", ".ini", ".json"} or path.name == "CMakeLists.txt":
            bad += check(root, name)
    return bad


if __name__ == "__main__":
    sys.exit("\n".join(main(pathlib.Path(sys.argv[1]))) or 0)

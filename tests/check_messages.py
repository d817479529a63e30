#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every message that a user of `hearth` or `hearthd` can meet stands in
tests/golden/errors.txt, so that a change of words is seen in review.

    python3 tests/check_messages.py ROOT            compare
    python3 tests/check_messages.py ROOT --write    write the list again
"""
import pathlib
import re
import sys

CALLS = ("hearth_error_set", "hearth_error_prefix", "hearth_cli_usage_error",
         "hearth_cli_note", "usage_fail", "error_out")
ROOT = pathlib.Path(sys.argv[1])
GOLDEN = ROOT / "tests" / "golden" / "errors.txt"
CALL = re.compile(r"\b(?:" + "|".join(CALLS) + r")\s*\(")
STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')


def arguments(text, at):
    """The text of a call's arguments, from after its bracket."""
    depth, i = 1, at
    while i < len(text) and depth:
        if text[i] == '"':
            i = STRING.match(text, i).end()
            continue
        depth += {"(": 1, ")": -1}.get(text[i], 0)
        i += 1
    return text[at:i]


def messages(path):
    text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.S)
    for call in CALL.finditer(text):
        args = arguments(text, call.end())
        run = []  # string literals that stand side by side are one message
        for m in re.finditer(r'"(?:[^"\\]|\\.)*"|[^\s"]+', args):
            if m[0].startswith('"'):
                run.append(m[0][1:-1])
            elif run:
                break
        if run:
            yield "".join(run)


def collect():
    lines = ["# Every message for a person, by folder.  Written by",
             "# tests/check_messages.py; read it in review like an interface."]
    for top in ("client", "common", "privacy", "proto", "coordinator"):
        for folder in sorted({p.parent for p in (ROOT / top).rglob("*.c")}):
            found = sorted({m for p in sorted(folder.glob("*.c"))
                            for m in messages(p)})
            if found:
                lines += ["", f"[{folder.relative_to(ROOT).as_posix()}]"] + found
    return "\n".join(lines) + "\n"


now = collect()
if "--write" in sys.argv:
    GOLDEN.write_text(now)
    sys.exit(0)
was = GOLDEN.read_text() if GOLDEN.exists() else ""
if now != was:
    old, new = set(was.splitlines()), set(now.splitlines())
    for line in sorted(old - new):
        print("- " + line)
    for line in sorted(new - old):
        print("+ " + line)
    sys.exit("messages changed: read them, then python3 tests/check_messages.py . --write")

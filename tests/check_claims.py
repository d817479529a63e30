#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every claim of PRIVACY.md and SECURITY.md has code that keeps it and a test
that shows it, and both are there.

A claim is a paragraph that begins with **P7. or **S7. (a letter, a number, a
point).  Below it stand, indented by four blanks, lines of two kinds:

    kept:  FILE  FUNCTION | CODE      the line of FUNCTION that holds CODE
    shown: FILE  TEST                 a test of FILE that is run

CODE is a piece of one line (without FUNCTION: anywhere in the file), so that a
claim follows its line when lines move, and is found wrong when the line is
changed or gone.  No other line holds it (but the same one twice), and it names
something: a bare
`return` would stay there whatever becomes of the promise.  TEST is a function
of a C test that is registered with cmocka; none for a checker, a fuzz target, or a script that CMake runs.

Where a page has a section "Check it yourself", each of its claims stands in the
first column of a table there, beside a command; what `-R` asks ctest for exists.

Prints nothing when all is well; --list prints every claim with file:line.
Usage: check_claims.py ROOT [BUILD] [--list]"""
import pathlib
import re
import sys

PAGES = ["privacy/PRIVACY.md", ".github/SECURITY.md"]
CLAIM = re.compile(r"\*\*([A-Z]\d+)\. ")
WORD = re.compile(r"[A-Za-z_]\w*")
KEYWORDS = set("auto bool break case char const continue default do double else enum extern float for goto if "
               "inline int long NULL return short signed sizeof static struct switch true false typedef union "
               "unsigned void volatile while".split())
YOURSELF = re.compile(r"## .*Check it yourself")
LINE = re.compile(r"    (kept|shown):\s+(\S+)(?:\s+([A-Za-z_]\w*))?(?:\s*\|\s*(.+?))?\s*$")


def function_lines(lines, name):
    """Numbers of the first and last line of a C function, a macro of one line's
    table, or a Python function; None when it is not defined there."""
    head = re.compile(rf"^(?:[A-Za-z_][\w\s\*]*[\s\*])?{re.escape(name)}\(")
    python = re.compile(rf"^def {re.escape(name)}\(")
    for i, line in enumerate(lines):
        if python.match(line):
            end = next((j for j in range(i + 1, len(lines)) if lines[j][:1].strip()), len(lines))
            return i, end
        if not head.match(line):
            continue
        for j in range(i, len(lines)):
            if lines[j].startswith("}"):
                return i, j + 1
            if lines[j].rstrip().endswith(";") and "{" not in "".join(lines[i:j + 1]):
                break  # a declaration
    return None


def find_kept(root, path, name, code):
    """"file:line", or why it is not there after a "!"."""
    file = root / path
    if not file.is_file():
        return f"!no file {path}"
    if not code:
        return f"!{path}: a kept line needs '| code'"
    if not set(WORD.findall(code)) - KEYWORDS:
        return f"!{path}: '{code}' names nothing, so it says nothing"
    lines = file.read_text().splitlines()
    first, last = 0, len(lines)
    if name:
        span = function_lines(lines, name)
        if not span:
            return f"!{path} has no function {name}"
        first, last = span
    found = [i for i in range(first, last) if code in lines[i]]
    where = f"{path}{' ' + name if name else ''}"
    if len({lines[i].strip() for i in found}) > 1:
        return f"!{where} has {len(found)} lines with '{code}': take a longer piece"
    return f"{path}:{found[0] + 1}" if found else f"!{where} has no line with '{code}'"


def is_run(root, path):
    """Does CMake run this test file?"""
    name = pathlib.Path(path).name
    if re.fullmatch(r"tests/(unit/test_\w+\.c|fuzz/fuzz_\w+\.c|check_\w+\.py|golden/test_golden_\w+\.c)", path):
        return True  # by the globs of tests/CMakeLists.txt
    if re.fullmatch(r"tests/e2e/e2e_\w+\.py", path):
        return True  # by that of tests/e2e/CMakeLists.txt
    stem = pathlib.Path(path).stem
    for cmake in (root / "tests").rglob("CMakeLists.txt"):
        text = cmake.read_text()
        if name in text or re.search(rf"\b{re.escape(re.sub('^(e2e|test)_', '', stem))}\b", text):
            return True
    return False


def find_shown(root, path, test):
    file = root / path
    if not file.is_file():
        return f"!no file {path}"
    if not is_run(root, path):
        return f"!{path} is run by no CMakeLists.txt"
    lines = file.read_text().splitlines()
    if not test:
        if path.endswith(".c") and "/fuzz/" not in path:
            return f"!{path}: name the test"
        return f"{path}:1"
    span = function_lines(lines, test)
    if not span:
        return f"!{path} has no test {test}"
    listed = re.compile(rf"\b(?:cmocka_unit_test\w*|[A-Z_]+)\(\s*{re.escape(test)}\b")
    if path.endswith(".c") and not any(listed.search(l) for l in lines):
        return f"!{path}: {test} is not registered, so it is never run"
    return f"{path}:{span[0] + 1}"


def test_names(root):
    """Names of the tests that CMake makes of the files here, as ctest knows them."""
    made = [("tests/unit/test_*.c", "unit.", "test_"), ("tests/check_*.py", "unit.", ""),
            ("tests/ct/*.c", "unit.", ""), ("tests/golden/test_golden_*.c", "golden.", "test_golden_"),
            ("tests/e2e/e2e_*.py", "e2e.", "e2e_"), ("tests/e2e/test_cli_*.py", "e2e.", "test_"),
            ("tests/fuzz/fuzz_*.c", "fuzz.", "fuzz_"), ("tests/fleet/fleet_*.c", "fleet.", "fleet_")]
    return [kind + path.stem[len(cut):] for glob, kind, cut in made for path in root.glob(glob)]


def check_commands(root, page, lines, claims):
    """Claims without a command, and commands that run no test."""
    start = next((i for i, l in enumerate(lines) if YOURSELF.match(l)), None)
    if start is None:
        return []
    end = next((i for i in range(start + 1, len(lines)) if lines[i].startswith("## ")), len(lines))
    rows = [(i + 1, lines[i]) for i in range(start, end) if lines[i].startswith("|")]
    told = {c for _, row in rows if "`" in row for c in re.findall(r"\b[A-Z]\d+\b", row.split("|")[1])}
    bad = [f"{page}:{start + 1}: {c} has no command here" for c in sorted(set(claims) - told)]
    bad += [f"{page}:{start + 1}: {c} is no claim" for c in sorted(told - set(claims))]
    names = test_names(root)
    for n, row in rows:
        for wanted in re.findall(r"-R '?([^\s'`]+)", row):
            if not any(re.search(wanted, name) for name in names):
                bad.append(f"{page}:{n}: ctest -R {wanted} runs nothing")
    return bad


def check_page(root, page, say):
    bad, claim, counts, seen = [], None, {}, {}
    file = root / page
    if not file.is_file():
        return [f"{page}: missing"], 0
    for n, line in enumerate(file.read_text().splitlines(), 1):
        begun = CLAIM.match(line)
        if begun:
            claim = begun[1]
            if claim in counts:
                bad.append(f"{page}:{n}: {claim} is there twice")
            counts[claim], seen[claim] = {"kept": 0, "shown": 0}, n
        if line.startswith("#"):
            claim = None
        if not re.match(r"    (kept|shown):", line):
            continue
        m = LINE.match(line)
        if not m or not claim:
            bad.append(f"{page}:{n}: {'no claim above it' if m else 'not of the form kept: FILE FUNCTION | CODE'}")
            continue
        kind, path, name, code = m.groups()
        at = find_kept(root, path, name, code) if kind == "kept" else find_shown(root, path, name)
        if at.startswith("!"):
            bad.append(f"{page}:{n}: {claim}: {at[1:]}")
            continue
        counts[claim][kind] += 1
        if say:
            print(f"{claim:4} {kind:5} {at:48} {code or name or ''}")
    bad += check_commands(root, page, file.read_text().splitlines(), counts)
    for name, count in counts.items():
        for kind in ("kept", "shown"):
            if not count[kind]:
                bad.append(f"{page}:{seen[name]}: {name} says nowhere by what it is {kind}")
    return bad, len(counts)


def main(argv):
    root = pathlib.Path(argv[1]) if len(argv) > 1 else pathlib.Path(".")
    bad, n = [], 0
    for page in PAGES:
        more, claims = check_page(root, page, "--list" in argv)
        bad += more
        n += claims
        if not claims and not more:
            bad.append(f"{page}: no claim found; was their form changed?")
    sys.exit("\n".join(bad) or 0)


if __name__ == "__main__":
    main(sys.argv)

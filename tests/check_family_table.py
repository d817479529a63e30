#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fail when the table of families in client/README.md claims what no test
proves.

A cell is "-", or tests separated by ";", each with the checks of it that are
meant: "oracle.gpt2 logits, greedy; golden.families logits, greedy".  Every
test must be one that this build's ctest knows.  A check must be
  of oracle.FAMILY and oracle.FAMILY_gguf, which stand in their family's row
  only, a function of the script;
  of golden.families and oracle.real_shapes, one that the test's own table runs
  for that family;
  of the others, a word of the source.
Every architecture of client/model/family.c and every family of the oracles has
a row, every column is there.

Usage: check_family_table.py ROOT BUILD"""
import json
import pathlib
import re
import subprocess
import sys

COLUMNS = ["family", "architecture", "forward", "backward", "LoRA", "full", "tokenizer", "template",
           "safetensors", "GGUF", "PEFT", "llama.cpp"]
SOURCES = {"unit": "tests/unit/test_{}.c", "golden": "tests/golden/test_golden_{}.c",
           "oracle": "tests/oracle/oracle_{}.py"}


def known_tests(build):
    run = subprocess.run(["ctest", "--test-dir", str(build), "--show-only=json-v1"],
                         capture_output=True, text=True, check=True)
    return {t["name"] for t in json.loads(run.stdout)["tests"]}


def rows(text):
    """The table's rows, each a list of cells; the first is its head."""
    lines = text.split("\n")
    start = next((i for i, line in enumerate(lines) if line.startswith("| family |")), len(lines))
    for line in lines[start:]:
        if not line.startswith("|"):
            return
        cells = [c.strip() for c in line.strip().strip("|").split("|")]
        if set("".join(cells)) - set("-: "):
            yield cells


def architectures(source):
    """What the table of families in C lists."""
    return set(re.findall(r'^    \{"(\w+)", "\w+Model", ', source, re.M))


def of_golden(source, family):
    """The checks that test_golden_families.c runs for a family."""
    row = re.search(rf'{{"{family}", (NULL|"[^"]*"), ', source)
    checks = set(re.findall(r'^        {"(\w+)", \w+},', source, re.M))
    if not row:
        return set()
    return checks - {"gguf"} if row[1] == "NULL" else checks


def of_shapes(source, family):
    """Those that oracle_real_shapes.py runs without being asked by name."""
    table = re.search(r"^SHAPES = {.*?^}", source, re.M | re.S)
    row = re.search(rf'"{family}": \(.*"([a-z0-9_ ]+)"\),', table[0]) if table else None
    return set(row[1].split()) if row else set()


def missing(root, test, family, families, checks):
    """Those of the checks that the test does not have for this family."""
    label, name = test.split(".", 1)
    own = label == "oracle" and name.removesuffix("_gguf") in families
    if own:
        name = "gguf" if name.endswith("_gguf") else "family"
    path = root / SOURCES[label].format(name)
    source = path.read_text() if path.is_file() else ""
    if own:
        has = set(re.findall(r"^def check_(\w+)\(", source, re.M))
    elif test == "golden.families":
        has = of_golden(source, family)
    elif test == "oracle.real_shapes":
        has = of_shapes(source, family)
    else:
        has = {c for c in checks if re.search(rf"(\b|_){re.escape(c)}(\b|_)", source)}
    return [c for c in checks if c not in has]


def check_cell(root, where, family, cell, tests, families):
    bad = []
    for part in () if cell == "-" else cell.split(";"):
        test, *checks = part.replace(",", " ").split() or [""]
        if test.split(".")[0] not in SOURCES or test not in tests:
            bad.append(f"{where}: there is no test '{test}'")
            continue
        owner = test.split(".", 1)[1].removesuffix("_gguf")
        if owner in families and owner != family:
            bad.append(f"{where}: {test} is another family's")
        if not checks:
            bad.append(f"{where}: name the checks of {test} that prove it")
        bad += [f"{where}: {test} has no check '{c}' of {family}"
                for c in missing(root, test, family, families, checks)]
    return bad


def check(root, tests):
    head, *body = [*rows((root / "client/README.md").read_text())] or [[]]
    if head != COLUMNS:
        return [f"client/README.md: the columns of the families' table are to be {COLUMNS}"]
    oracles = any(t.startswith("oracle.") for t in tests)
    families, bad = {row[0] for row in body}, []
    for row in body:
        if len(row) != len(COLUMNS):
            bad.append(f"{row[0]}: {len(row)} cells, not {len(COLUMNS)}")
            continue
        for column, cell in zip(COLUMNS[2:], row[2:]):
            # A build without the programs has no oracles to compare with.
            mine = tests if oracles else tests | set(re.findall(r"oracle\.\w+", cell))
            bad += check_cell(root, f"{row[0]}, {column}", row[0], cell, mine, families)
    have = architectures((root / "client/model/family.c").read_text())
    shown = {row[1] for row in body if len(row) > 1}
    bad += [f"{a}: in client/model/family.c, but without a row" for a in sorted(have - shown)]
    bad += [f"{a}: a row, but not in client/model/family.c" for a in sorted(shown - have)]
    tested = {t[7:-5] for t in tests if t.startswith("oracle.") and t.endswith("_gguf")}
    bad += [f"{f}: tested, but without a row" for f in sorted(tested - families)]
    return bad if have else bad + ["client/model/family.c: no architecture found"]


if __name__ == "__main__":
    found = check(pathlib.Path(sys.argv[1]), known_tests(sys.argv[2]))
    sys.exit("\n".join(found) or 0)

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prove with nm what is, and is not, in the shipped objects.

1. Nothing of the test seam (no noise, seeded noise, mutants) is in libhearth,
   hearth or hearthd; a program that does link the seam shows that the check
   can see it.
2. On the device, client/delta/prepare.c is the only caller of the privacy
   functions, and it and ledger_store.c the only users of the stored bytes.
   No one draws noise past privacy/noise.h, where tests put the seam.

Usage: check_symbols.py ROOT BUILD"""
import pathlib
import re
import subprocess
import sys

SEAM = re.compile(r"\b\w*seam\w*\b")
MARKER = b"HEARTH TEST SEAM: NOT PRIVATE"
SHIPPED = re.compile(r"^(hearth|hearthd|libhearth\.a|libhearth\.so[.0-9]*)$")
PREPARE_ONLY = {  # symbol -> object files that may use it, besides its own
    "hearth_clip_l2": {"prepare.c"},
    "hearth_quantize": {"prepare.c"},
    "hearth_quantize_coords": {"prepare.c"},
    "hearth_noise_draw": {"prepare.c"},
    "hearth_ledger_store__load": {"prepare.c", "ledger_store.c"},
    "hearth_ledger_store__charge": {"prepare.c", "ledger_store.c"},
    "hearth_ledger_store__advance": {"prepare.c", "ledger_store.c"},
}

NOISE_ONLY = {"hearth_sampler_draw", "hearth_noise_exact_draw"}


def nm(path, *flags):
    run = subprocess.run(["nm", *flags, str(path)], capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"{path}: nm failed: {run.stderr.strip()}")
    return run.stdout


def is_object(path):
    with path.open("rb") as f:
        head = f.read(8)
    return head[:4] == b"\x7fELF" or head == b"!<arch>\n"


def find_shipped(build):
    found = []
    for folder in ("client", "coordinator"):
        for path in sorted((build / folder).rglob("*")):
            if SHIPPED.match(path.name) and path.is_file() and not path.is_symlink() and is_object(path):
                found.append(path)
    return found


def seam_in(path):
    """Names of the seam that an object defines or uses."""
    names = {m[0] for m in SEAM.finditer(nm(path))}
    if path.suffix == ".a" or "so" in path.name:
        names |= {m[0] for m in SEAM.finditer(nm(path, "-D") if path.suffix != ".a" else "")}
    if MARKER in path.read_bytes():
        names.add("the marker string")
    return names


def check_callers(build):
    """Undefined symbols of each compiled source of the device."""
    bad, seen = [], set()
    for obj in sorted((build / "client").rglob("*.c.o")):
        source = obj.name[:-2]
        for line in nm(obj, "-u").splitlines():
            symbol = line.split()[-1]
            if symbol in NOISE_ONLY:
                bad.append(f"{obj.relative_to(build)}: calls {symbol}; only privacy/noise.c may")
            allowed = PREPARE_ONLY.get(symbol)
            if allowed is None:
                continue
            seen.add((symbol, source))
            if source not in allowed:
                bad.append(f"{obj.relative_to(build)}: calls {symbol}; only {', '.join(sorted(allowed))} may")
    for symbol in PREPARE_ONLY:
        if (symbol, "prepare.c") not in seen:
            bad.append(f"prepare.c does not call {symbol}: this check is out of date")
    return bad


def main(build):
    bad, shipped = [], find_shipped(build)
    if not shipped:
        print(f"SKIPPED: nothing shipped is built in {build}")
        return []
    for path in shipped:
        names = seam_in(path)
        if names:
            bad.append(f"{path.relative_to(build)}: holds {', '.join(sorted(names))}")
        print(f"{path.relative_to(build)}: {'seam found' if names else 'no seam'}")
    witnesses = [p for p in (build / "tests").rglob("unit_seam_*") if p.is_file() and is_object(p)]
    if not witnesses:
        print("SKIPPED: no program with the seam is built, so nothing shows that it would be seen")
    for path in witnesses[:1]:
        names = seam_in(path)
        if len(names) < 3 or "the marker string" not in names:
            bad.append(f"{path.name} links the seam, but this check did not see it")
    return bad + check_callers(build)


if __name__ == "__main__":
    sys.exit("\n".join(main(pathlib.Path(sys.argv[2]))) or 0)

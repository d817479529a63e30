#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`hearth doctor` names what really runs: kernels by what the processor and the
system allow, OpenBLAS's by its own word, threads by where they may go.

Needs $HEARTH (the program)."""
import ctypes
import json
import os
import platform
import subprocess
import sys
import unittest

HEARTH = os.environ["HEARTH"]
CORES = min(len(os.sched_getaffinity(0)), 64) if sys.platform == "linux" else 0


def doctor(**env):
    """{name: detail}; all of it fine."""
    clean = {k: v for k, v in os.environ.items()
             if k not in ("OPENBLAS_CORETYPE", "HEARTH_PIN")}
    done = subprocess.run([HEARTH, "doctor", "--json"], capture_output=True, text=True,
                          timeout=60, check=True, env=clean | env)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(e["event"] == "check" and e["ok"] for e in events), events
    return {e["name"]: e["detail"] for e in events}


def flags():
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        lines = [line for line in file if line.startswith("flags")]
    return set(lines[0].split())


def tiles_are_granted():
    """What Linux says to a process that asks for AMX's registers."""
    return ctypes.CDLL(None).syscall(158, 0x1023, 18) == 0


class Doctor(unittest.TestCase):
    @unittest.skipUnless(platform.machine() == "x86_64" and sys.platform == "linux",
                         "/proc/cpuinfo of x86 tells")
    def test_kernels_are_those_of_the_machine(self):
        has, said = flags(), doctor()
        wide = {"avx512f", "avx512dq", "avx512vl"} <= has
        narrow = {"avx2", "fma"} <= has
        pairs = wide and {"avx512bw", "avx512_bf16"} <= has
        tiles = pairs and {"amx_tile", "amx_bf16"} <= has and tiles_are_granted()
        loops = "avx512" if wide else "avx2" if narrow else "plain"
        self.assertEqual(said["kernels"], f"native: own products and loops; {loops}" + (
            ", amx (f32 as three bfloat16 numbers)" if tiles else ""))
        halves = "amx" if tiles else "avx512bf16" if pairs else "avx2" if narrow else "plain"
        self.assertEqual(said["bf16"], f"own products, bfloat16 with f32 sums; {halves}" + (
            "" if pairs else "; no faster than f32 on this machine"))
        eight = wide and {"avx512bw", "avx512_vnni"} <= has
        eight = "avx512vnni" if eight else "avx2" if "avx2" in has else "plain"
        self.assertTrue(said["int8"].startswith(f"Q8_0 forward in 8 bits ({eight})"))
        self.assertIn("experimental", said["int8"])

    def test_a_forced_core_type_is_told_where_openblas_is(self):
        plain, forced = doctor(), doctor(OPENBLAS_CORETYPE="Haswell")
        self.assertNotIn("OpenBLAS", plain)
        if "OpenBLAS" not in plain["built with"]:
            self.assertEqual(forced, plain)  # it changes nothing
            self.assertNotIn("blas", plain)
            return
        self.assertIn("OPENBLAS_CORETYPE=Haswell", forced["OpenBLAS"])
        self.assertIn("unset it", forced["OpenBLAS"])
        self.assertRegex(plain["blas"], "^OpenBLAS .*, core [A-Z]")
        if platform.machine() == "x86_64":
            self.assertIn(", core Haswell; ", forced["blas"])
        self.assertEqual(forced["kernels"], plain["kernels"])  # ours are our own

    def test_threads_are_those_of_a_pool(self):
        said, free = doctor()["threads"], doctor(HEARTH_PIN="0")["threads"]
        if CORES == 1:
            self.assertEqual((said, free), ("1: one core is all there is",) * 2)
            return
        self.assertEqual(free.split(": ")[1], "free to move, as HEARTH_PIN asks for")
        if CORES:
            self.assertEqual(said, f"{CORES}: all but the first kept on a core each; HEARTH_PIN=0 "
                                   "in the environment lets them move")
            self.assertEqual(free.split(":")[0], str(CORES))


if __name__ == "__main__":
    unittest.main(verbosity=2)

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fail when an #include points up or sideways in the layer order, when a
library is used outside its wrapper, or when two sources share a file name.

Usage: check_layers.py ROOT"""
import fnmatch
import pathlib
import re
import sys

LAYERS = {  # folder, most specific first -> include roots its files may use
    "client/include/hearth": ["hearth"],  # installed: must stand alone
    "client": ["client", "common", "proto", "privacy", "hearth"],
    "coordinator": ["coordinator", "common", "proto", "privacy"],
    "proto": ["proto", "common"],
    "privacy": ["privacy", "common"],
    "common": ["common"],
}
WRAPPERS = {  # header -> the only files that may include it
    r"(mbedtls|psa)/": ["common/hash.c", "common/rng.c", "common/prg.c", "common/sign.c",
                        "common/x509.c", "common/psa_lock.c", "common/tls_compat.h",
                        "coordinator/tls.c", "tests/support/privacy_seam.c"],
    r"curl/": ["client/net/transport_curl.c"],
    r"sqlite3\.h": ["common/db.c", "*_store.c"],
    r"msgpack": ["proto/*.c"],
    r"cblas": ["client/train/kernels_blas.c", "tests/bench/bench_peak.c"],
    r"ini\.h": ["common/ini.c"],
    r"cjson/": ["common/json.c"],
    r"uv\.h": ["coordinator/listener.[ch]", "coordinator/work_queue.[ch]", "coordinator/daemon.[ch]",
               "coordinator/hearthd_cmd_serve.c", "tests/unit/test_listener.c",
               "tests/unit/test_seam_path.c"],
    r"llhttp": ["coordinator/http.c"],
    r"pcre2\.h": ["client/tokenizer/*.c"],
}
OURS = {d.split("/")[0] for d in LAYERS} | {"hearth", "tests", "deploy", ".", ".."}


def main(root):
    seen, bad = {}, []
    files = (f for d in OURS if d[0] != "." for f in (root / d).rglob("*.[ch]"))
    for path in sorted(files):
        name = path.relative_to(root).as_posix()
        if seen.setdefault(path.name, name) != name:
            bad.append(f"{name}: file name is taken by {seen[path.name]}")
        allowed = next((LAYERS[d] for d in LAYERS if name.startswith(d + "/")), OURS)
        for n, line in enumerate(path.read_text().splitlines(), 1):
            m = re.match(r'\s*#\s*include\s*["<](([^">/]+)[^">]*)', line)
            if m and m[2] in OURS and m[2] not in allowed:
                bad.append(f"{name}:{n}: must not include {m[1]}")
            for lib, users in WRAPPERS.items():
                if m and re.match(lib, m[1]) and not any(fnmatch.fnmatch(name, u) for u in users):
                    bad.append(f"{name}:{n}: {m[1]} belongs in {' or '.join(users)}")
    return bad


if __name__ == "__main__":
    sys.exit("\n".join(main(pathlib.Path(sys.argv[1]))) or 0)

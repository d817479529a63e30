#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The Python packages that the oracle tests and golden generators use.  Installs
# what is missing; the tests skip where this was not run.
set -eu
missing=$(python3 - <<'PY'
import importlib.util
want = {"numpy": "numpy", "torch": "torch==2.13.0", "transformers": "transformers",
        "peft": "peft", "cryptography": "cryptography"}
print(" ".join(p for m, p in want.items() if importlib.util.find_spec(m) is None))
PY
)
if [ -z "$missing" ]; then
  echo "oracle: every Python package is here"
  exit 0
fi
echo "oracle: python3 -m pip install $missing"
# shellcheck disable=SC2086
exec python3 -m pip install $missing

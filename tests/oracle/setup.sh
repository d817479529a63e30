#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The Python packages of the oracle tests and of the golden generators, in a
# virtual environment: $HEARTH_ORACLE_VENV, or build/oracle-venv.  Used again
# when it is complete; what is missing comes from pip's package index.
set -eu
cd "$(dirname "$0")/../.."
venv=${HEARTH_ORACLE_VENV:-build/oracle-venv}
# torch goes first and alone: the others then take it as it is.  llama.cpp is
# compiled here (some six minutes on two cores), for any processor.
pins="torch==2.13.0 numpy==2.4.6 safetensors==0.8.0 tokenizers==0.22.2
transformers==4.57.6 peft==0.21.2 cryptography==48.0.0 gguf==0.19.0
llama-cpp-python==0.3.36"
export CMAKE_ARGS="${CMAKE_ARGS:--DGGML_NATIVE=OFF -DGGML_OPENMP=OFF -DLLAVA_BUILD=OFF -DLLAMA_CURL=OFF}"

missing() { # the pins that the environment does not meet
    # shellcheck disable=SC2086
    "$venv/bin/python3" - $pins <<'PY'
import importlib.metadata
import sys
for pin in sys.argv[1:]:
    name, want = pin.split("==")
    try:
        have = importlib.metadata.version(name).split("+")[0]
    except importlib.metadata.PackageNotFoundError:
        have = None
    if have != want:
        print(pin)
PY
}

if [ ! -x "$venv/bin/python3" ]; then
    # The system's packages serve where they have the right version.
    python3 -m venv --system-site-packages "$venv" || {
        echo "oracle: python3 cannot make $venv; install python3-venv," \
            "or set HEARTH_ORACLE_VENV" >&2
        exit 1
    }
fi
for pin in $(missing); do
    echo "oracle: installing $pin into $venv"
    "$venv/bin/python3" -m pip install --quiet --disable-pip-version-check \
        --retries 2 --timeout 30 "$pin" || {
        echo "oracle: $pin could not be installed: is pip's package index" \
            "reachable? Otherwise set HEARTH_ORACLE_VENV to an environment" \
            "that has:" $pins >&2
        exit 1
    }
done
left=$(missing)
if [ -n "$left" ]; then
    echo "oracle: $venv still lacks" $left >&2
    exit 1
fi
echo "oracle: $venv is complete"

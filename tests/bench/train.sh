#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# train.sh [FLAGS OF train_bench.py]: training speed and memory against PyTorch.
#
# Opponents, as far as they are installed: Debian's python3-torch (run with
# libopenblas0-openmp, without which its two thread pools fight) and the newest
# PyTorch of the oracle environment (tests/oracle/setup.sh).
#   apt-get install python3-torch libopenblas0-openmp
set -eu
cd "$(dirname "$0")/../.."
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE OPENBLAS_NUM_THREADS || true
build=${BUILD:-build/release}
[ -x "$build/client/cli/hearth" ] || cmake --preset release >/dev/null
cmake --build "$build" --target hearth_cli bench_peak >/dev/null
HEARTH=$PWD/$build/client/cli/hearth
BENCH_PEAK=$PWD/$build/tests/bench/bench_peak
export HEARTH BENCH_PEAK

PEERS=
debian=/usr/lib/python3/dist-packages
blas=$(dirname "$(find /usr/lib -path '*openblas-openmp/libopenblas.so.0' 2>/dev/null | head -n 1)")
[ -d "$debian/torch" ] && PEERS="debian=/usr/bin/python3:$blas:$debian"
venv=${HEARTH_ORACLE_VENV:-build/oracle-venv}
"$venv/bin/python3" -c 'import torch' 2>/dev/null && PEERS="$PEERS newest=$venv/bin/python3"
[ -n "$PEERS" ] || echo "train.sh: no PyTorch found; ratios are left out" >&2
export PEERS
exec python3 tests/bench/train_bench.py "$@"

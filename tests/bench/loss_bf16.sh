#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# loss_bf16.sh [FLAGS OF loss_bf16.py]: how much of the loss reduction of float32
# training is left when products are computed in bfloat16 (or, with --compute int8,
# forward products in 8 bits).
#
# Needs the real test data ($HEARTH_TEST_DATA or ../shared/data) and no Python
# package.  --keep DIR holds the base model that it trains and each run's result,
# so that an interrupted comparison goes on.
set -eu
cd "$(dirname "$0")/../.."
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE OPENBLAS_NUM_THREADS || true
HEARTH_TEST_DATA=${HEARTH_TEST_DATA:-$PWD/../shared/data}
if [ -z "${HEARTH:-}" ]; then
    build=${BUILD:-build/release}
    [ -f "$build/CMakeCache.txt" ] || cmake --preset release >/dev/null
    cmake --build "$build" --target hearth_cli >/dev/null
    HEARTH=$PWD/$build/client/cli/hearth
fi
export HEARTH HEARTH_TEST_DATA
exec python3 tests/bench/loss_bf16.py "$@"

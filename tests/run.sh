#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The one test command: installs what is missing, builds, runs every test that
# needs no network and no Python package.
#
#   sh tests/run.sh              all of it
#   sh tests/run.sh -R unit.     arguments go to ctest
set -eu
cd "$(dirname "$0")/.."
sh deploy/install-deps.sh
cmake --preset release >/dev/null
cmake --build --preset release
data=${HEARTH_TEST_DATA:-../shared/data}
[ -d "$data" ] || echo "No test data at $data: tests on real models and records skip" \
    "(set HEARTH_TEST_DATA to run them)."
ctest --test-dir build/release --output-on-failure -LE oracle -j "$(nproc)" "$@"

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
build=build/release
cmake --preset release >build-configure.log 2>&1 || {
    cat build-configure.log >&2
    exit 1
}
rm -f build-configure.log
cmake --build --preset release
# Failpoints kill processes on purpose: they are compiled into a build of their
# own, which the crash tests use.
cmake --preset failpoints >/dev/null
cmake --build --preset failpoints --target hearth hearthd
export HEARTH_FAILPOINT_BUILD="$PWD/build/failpoints"
ctest --test-dir "$build" --output-on-failure -LE oracle -j "$(nproc)" "$@"

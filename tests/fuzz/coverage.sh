#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Lines of each parser that replaying the committed corpora covers:
#   sh tests/fuzz/coverage.sh             builds, replays, prints the table
#   sh tests/fuzz/coverage.sh --missing   and the lines that no input reached
#   sh tests/fuzz/coverage.sh --build DIR in a build folder of your own
# Needs gcc with its gcov, and python3.  Fails when a corpus fails, or when a
# parser of the table is below 80 %.
set -eu
cd "$(dirname "$0")/../.."
build=build/coverage
missing=
while [ $# -gt 0 ]; do
    case $1 in
    --missing) missing=--missing ;;
    --build) shift && build=$1 ;;
    *) echo "usage: coverage.sh [--missing] [--build DIR]" >&2 && exit 2 ;;
    esac
    shift
done
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Debug \
    -DCMAKE_C_FLAGS=--coverage >/dev/null
targets=$(ninja -C "$build" -t targets all |
    sed -n 's/^\(tests\/replay_[a-z0-9_]*\): .*/\1/p')
# shellcheck disable=SC2086
ninja -C "$build" $targets >"$build/coverage-build.log" || {
    tail -20 "$build/coverage-build.log" >&2
    exit 1
}
find "$build" -name '*.gcda' -exec rm -f {} +
for target in $targets; do
    name=${target#tests/replay_}
    [ -d "tests/fuzz/corpus/$name" ] || continue
    "$build/$target" "tests/fuzz/corpus/$name" >"$build/coverage-replay.log" 2>&1 || {
        cat "$build/coverage-replay.log" >&2
        echo "coverage: fuzz.$name fails; run ctest -R fuzz.$name" >&2
        exit 1
    }
done
exec python3 tests/fuzz/coverage_table.py "$build" $missing

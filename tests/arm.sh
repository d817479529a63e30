#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tests/arm.sh - the kernels for 64-bit Arm against the reference, in an
# emulator: NEON, products of bfloat16 with and without BFMMLA, and of 8-bit
# numbers with and without SMMLA (I8MM).  ctest unit.arm; some seconds.
#
# usage: sh tests/arm.sh [BUILD_DIR]
# Exits 77, with the line that installs them, where tools are missing.
set -eu
cd "$(dirname "$0")/.."
out=${1:-build/arm}
qemu=$(command -v qemu-aarch64 || command -v qemu-aarch64-static || true)
if [ -z "$qemu" ] || ! command -v aarch64-linux-gnu-gcc >/dev/null; then
    echo "SKIPPED: no cross compiler or no emulator; as root:"
    echo "  apt-get install -y --no-install-recommends gcc-aarch64-linux-gnu" \
        "libc6-dev-arm64-cross qemu-user-static"
    exit 77
fi
mkdir -p "$out"
flags="-std=c11 -I. -D_POSIX_C_SOURCE=200809L -D_DEFAULT_SOURCE -Wall -Wextra
    -Werror -fmax-errors=5"
fast="-O3 -ffp-contract=fast -fno-math-errno -fno-trapping-math"
exact="-O2 -ffp-contract=off"
compile() { # source, options
    object=$out/$(basename "$1" .c).o
    # shellcheck disable=SC2086 # options are words
    aarch64-linux-gnu-gcc $flags $2 -c "$1" -o "$object"
    objects="$objects $object"
}
objects=
compile client/train/kernels_native.c "$fast"
compile client/train/kernels_bfmmla.c "$fast"
compile client/train/kernels_loops.c "$fast"
for name in kernels kernels_blas kernels_reference; do
    compile "client/train/$name.c" "$exact"
done
for name in int8 i8mm; do
    compile "client/train/kernels_$name.c" "-O3 -ffp-contract=off"
done
for name in bytes philox refmath; do
    compile "common/$name.c" "$exact"
done
compile tests/arm/arm_kernels.c "$exact"
# shellcheck disable=SC2086
aarch64-linux-gnu-gcc -static -o "$out/arm_kernels" $objects -lm -lpthread
echo "with every extension:"
"$qemu" -cpu max "$out/arm_kernels" bfmmla i8mm
echo "with NEON only:"
"$qemu" -cpu cortex-a53 "$out/arm_kernels"

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Install what Hearth needs to build and test on Debian 12.
#
#   deploy/install-deps.sh          as root, installs; else prints the line
#   deploy/install-deps.sh --yes    installs with sudo
#   deploy/install-deps.sh --check  only says what is missing (exit 2)
set -eu

packages="build-essential cmake ninja-build pkg-config python3 git
libopenblas-dev libcurl4-openssl-dev libmbedtls-dev libuv1-dev node-llhttp
libmsgpack-dev libsqlite3-dev libcjson-dev libinih-dev libpcre2-dev libutf8proc-dev
libcmocka-dev clang libclang-rt-14-dev clang-format python3-venv valgrind"

missing=
for p in $packages; do
    case "$(dpkg-query -W -f='${Status}' "$p" 2>/dev/null || true)" in
    *"install ok installed"*) ;;
    *) missing="$missing $p" ;;
    esac
done
[ -n "$missing" ] || exit 0

line="apt-get install -y --no-install-recommends$missing"
mode=${1-}
if [ "$mode" = --check ] || { [ "$(id -u)" != 0 ] && [ "$mode" != --yes ]; }; then
    echo "Hearth needs packages that are not installed. Run:" >&2
    echo "  sudo $line" >&2
    exit 2
fi
echo "installing:$missing"
as_root=
[ "$(id -u)" = 0 ] || as_root=sudo
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -q
# shellcheck disable=SC2086
$as_root $line -q

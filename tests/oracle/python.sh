#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# python.sh SCRIPT [ARGUMENT]...: run it with the Python of setup.sh; where
# that was not run, with python3, and the script then says what is missing.
set -eu
venv=${HEARTH_ORACLE_VENV:-$(dirname "$0")/../../build/oracle-venv}
[ -x "$venv/bin/python3" ] && exec "$venv/bin/python3" "$@"
exec python3 "$@"

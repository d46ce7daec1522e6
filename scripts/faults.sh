#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Tries every point of tests/faults: a save killed before each call that changes the disk, each call failing in turn,
# two saves at once, every bit verify must see. scripts/faults.sh [WORDS OF A TEST] prints how many were tried and how
# many broke a promise. `make test` tries some of each kind.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/build.sh release mflux_tests
tests=$(build/tests/mflux_tests --list-test-cases --test-suite=faults --test-case="*${1:-}*" | grep -v -e '^\[doctest\]' -e '^==')
[ -n "$tests" ] || { echo "no test of tests/faults is called so: $1" >&2; exit 2; }
# A comma separates names there.
printf '%s\n' "$tests" | sed 's/,/?/g' | tr '\n' '\0' |
  MFLUX_FAULTS=all xargs -0 -n 1 -P "$(getconf _NPROCESSORS_ONLN)" sh -c \
    'build/tests/mflux_tests --no-path-filenames --test-suite=faults --test-case="$0" 2>&1' >build/faults.log && failed=0 || failed=1
sed -n 's/^.*MESSAGE: figure: //p' build/faults.log | sort
[ "$failed" = 0 ] || grep -A 14 'ERROR' build/faults.log
exit "$failed"

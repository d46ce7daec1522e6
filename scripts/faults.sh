#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Tries every point of tests/faults, of which `make test` tries some, and prints how many were tried and how many broke a
# promise: scripts/faults.sh [WORDS OF A TEST'S NAME].
set -euo pipefail
cd "$(dirname "$0")/.."

tests=build/tests/mflux_tests
log=build/faults.log
scripts/build.sh release mflux_tests
# Commas would separate names.
names=$($tests --list-test-cases --test-suite=faults --test-case="*${1:-}*" | sed -e '/^\[doctest\]/d' -e '/^==/d' -e 's/,/?/g')
[ -n "$names" ] || { echo "no test in tests/faults is called '$1'" >&2; exit 2; }

status=0
printf '%s\n' "$names" | tr '\n' '\0' | MFLUX_FAULTS=all xargs -0 -n 1 -P "$(getconf _NPROCESSORS_ONLN)" sh -c '
  status=0
  said=$("$0" --test-suite=faults --test-case="$1" 2>&1) || status=1
  printf "%s\n" "$said"
  exit $status' $tests >$log || status=1
sed -n 's/^.*MESSAGE: figure: //p' $log | sort
[ $status = 0 ] || { echo "What did not hold is in $log." >&2; exit 1; }

#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs the C++ tests and those of the program, then names what was skipped and why.
set -euo pipefail
cd "$(dirname "$0")/.."

log=build/Testing/Temporary/LastTest.log
ctest --test-dir build --output-on-failure --no-tests=error -j "$(getconf _NPROCESSORS_ONLN)" --timeout 300

# A test that cannot run here says "skipped: " and the reason; CTest knows it by that.
skipped=$(awk '/^[0-9]+\/[0-9]+ Test: / { sub(/^[^:]*: /, ""); name = $0 }
  sub(/^.*MESSAGE: skipped: /, "") && !seen[name]++ { print "  " name ": " $0 }' "$log")
if [ -n "$skipped" ]; then
  printf '\nSkipped:\n%s\n' "$skipped"
else
  printf '\nNo test was skipped.\n'
fi

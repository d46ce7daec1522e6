#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs clang-tidy over the sources, by the compile commands in build/: scripts/tidy.sh [file...]
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/clang_tools.sh

tool=$(clang_tool clang-tidy)
{
  if [ $# -gt 0 ]; then
    printf '%s\0' "$@"
  else
    git ls-files -z --cached --others --exclude-standard -- '*.cpp'
  fi
} |
  xargs -0 -n 1 -P "$(getconf _NPROCESSORS_ONLN)" "$tool" -p build --quiet 2> >(grep -v ' warnings generated' >&2)

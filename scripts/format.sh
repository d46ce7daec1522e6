#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Checks that every C++ file is formatted; with --fix, formats them.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/clang_tools.sh

tool=$(clang_tool clang-format)
mode=(--dry-run --Werror)
[ "${1:-}" = --fix ] && mode=(-i)
git ls-files -z --cached --others --exclude-standard -- '*.cpp' '*.h' | xargs -0 "$tool" "${mode[@]}"

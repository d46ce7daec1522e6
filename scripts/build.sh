#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Configures and builds a preset: scripts/build.sh [release|debug|asan] [target...]
set -euo pipefail
cd "$(dirname "$0")/.."

preset=${1:-release}
[ $# -gt 0 ] && shift
options=()
# Sanitizers make g++ 12 warn about the standard library itself.
[ "$preset" = asan ] || options+=(-DMFLUX_WERROR=ON)
# Homebrew does not link OpenSSL into the places CMake looks at.
[ "$(uname)" = Darwin ] && options+=("-DOPENSSL_ROOT_DIR=$(brew --prefix openssl@3)")
cmake --preset "$preset" ${options[@]+"${options[@]}"}
targets=()
[ $# -gt 0 ] && targets=(--target "$@")
cmake --build --preset "$preset" ${targets[@]+"${targets[@]}"}

#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Configures and builds a preset: scripts/build.sh [release|debug|asan] [target...]
# MFLUX_WERROR=ON in the environment makes warnings errors, as CI does.
set -euo pipefail
cd "$(dirname "$0")/.."

preset=${1:-release}
[ $# -gt 0 ] && shift
options=("-DMFLUX_WERROR=${MFLUX_WERROR:-OFF}")
# Homebrew does not link OpenSSL into the places CMake looks at.
[ "$(uname)" = Darwin ] && options+=("-DOPENSSL_ROOT_DIR=$(brew --prefix openssl@3)")
mkdir -p build
cmake --preset "$preset" "${options[@]}" >"build/configure-$preset.log" 2>&1 ||
  { cat "build/configure-$preset.log" >&2; exit 1; }
targets=()
[ $# -gt 0 ] && targets=(--target "$@")
cmake --build --preset "$preset" ${targets[@]+"${targets[@]}"}

#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Configures and builds a preset: scripts/build.sh [release|debug|asan|tsan] [target...]. With MFLUX_WERROR=ON in the
# environment, as in CI, warnings are errors.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/platform.sh

preset=${1:-release}
[ $# -gt 0 ] && shift
werror=${MFLUX_WERROR:-OFF}
# Sanitizers make g++ 12 warn about the standard library itself.
case $preset in asan | tsan) werror=OFF ;; esac
options=("-DMFLUX_WERROR=$werror")
if [ "$(uname)" = Darwin ]; then
  # Homebrew does not link OpenSSL into the places CMake looks at.
  options+=("-DOPENSSL_ROOT_DIR=$(brew --prefix openssl@3)")
  makes_pictures || options+=(-DMFLUX_GENERATE=OFF)
fi
[ -d build/CMakeFiles ] || echo "Building for the first time: some minutes, on 2 processors about 3 for the program and 3 for its tests."
mkdir -p build
cmake --preset "$preset" "${options[@]}" >"build/configure-$preset.log" 2>&1 ||
  { cat "build/configure-$preset.log" >&2; exit 1; }
targets=()
[ $# -gt 0 ] && targets=(--target "$@")
cmake --build --preset "$preset" ${targets[@]+"${targets[@]}"}

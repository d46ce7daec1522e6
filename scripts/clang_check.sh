#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Compiles everything with clang 16 and libc++ 16, older than what Macs have: a warning is an error. Debian only.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/objects.sh

build=build/clang
scripts/dependencies.sh
scripts/apt_install.sh clang-16 libc++-16-dev libc++abi-16-dev
cmake -G Ninja -S . -B "$build" "$link_nothing" -DCMAKE_CXX_COMPILER=clang++-16 -DCMAKE_CXX_FLAGS=-stdlib=libc++ \
  -DMFLUX_WERROR=ON -DMFLUX_ONEDNN=OFF >"$build.log" || { cat "$build.log"; exit 1; }
compile_objects "$build"

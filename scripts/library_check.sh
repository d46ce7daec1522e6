#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Uses the library as a stranger's project does: installed by find_package and pkg-config, and built along by
# add_subdirectory, without a build type and below a project whose modules have the names of ours.
set -euo pipefail
cd "$(dirname "$0")/.."

place=$PWD/build/library_check
rm -rf "$place"
mkdir -p "$place/parent/cmake"

# A bake and a picture, each by an example.
try() {
  "$1/save" examples/demo/flux examples/demo/ink.safetensors "$place/out"
  "$1/generate" "$place/out" "a large red star" "$place/picture.png"
  rm -r "$place/out" "$place/picture.png"
}

scripts/build.sh
cmake --install build --prefix "$place/prefix" >"$place/log"
echo "== find_package"
cmake -G Ninja -S examples/project -B "$place/installed" "-DCMAKE_PREFIX_PATH=$place/prefix" >>"$place/log"
cmake --build "$place/installed"
try "$place/installed"

echo "== pkg-config"
export PKG_CONFIG_PATH
PKG_CONFIG_PATH=$(dirname "$(find "$place/prefix" -name mflux.pc)")
# shellcheck disable=SC2046
c++ -std=c++20 examples/save.cpp $(pkg-config --cflags --libs --static mflux) -o "$place/save"
"$place/save" examples/demo/flux examples/demo/ink.safetensors "$place/out"
rm -r "$place/out"

echo "== add_subdirectory"
cat >"$place/parent/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.24)
project(parent LANGUAGES CXX)
list(APPEND CMAKE_MODULE_PATH \${CMAKE_CURRENT_SOURCE_DIR}/cmake)
set(MFLUX_SOURCE $PWD)
set(MFLUX_UNITY ON)
add_subdirectory($PWD/examples/project project)
foreach(name mflux_cli mflux_tests example_save demo_checkpoint mflux_manual)
  if(TARGET \${name})
    message(FATAL_ERROR "\${name} is built in a project that only uses the library")
  endif()
endforeach()
END
for module in warnings libraries mlx onednn install program; do
  echo "message(FATAL_ERROR \"the parent's $module.cmake\")" >"$place/parent/cmake/$module.cmake"
done
cmake -G Ninja -S "$place/parent" -B "$place/built" >>"$place/log"
cmake --build "$place/built"
try "$place/built/project"

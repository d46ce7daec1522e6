#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs the tests of mflux/kernels on Arm's vector instructions: compiled for aarch64, run by qemu. They compare bit for
# bit with plain arithmetic and with MLX's own numbers, so a pass means the same bytes as on x86-64. Debian only.
set -euo pipefail
cd "$(dirname "$0")/.."

build=build/neon
target=aarch64-linux-gnu
scripts/apt_install.sh "g++-$target" qemu-user libhwy-dev libfmt-dev nlohmann-json3-dev doctest-dev

# Highway for arm64 into build/, by lists of its own: this machine stays one of its own architecture alone.
if [ ! -e "$build/arm64/usr/lib/$target/libhwy.so.1" ]; then
  mkdir -p "$build/arm64" "$build/apt/lists/partial" "$build/apt/cache"
  apt=(apt-get -qq -o APT::Architectures::=arm64 -o "APT::Architectures::=$(dpkg --print-architecture)"
    -o "Dir::State::lists=$PWD/$build/apt/lists" -o "Dir::Cache=$PWD/$build/apt/cache" -o APT::Sandbox::User=root)
  "${apt[@]}" update
  (cd "$build/apt" && "${apt[@]}" download libhwy1:arm64)
  dpkg -x "$build"/apt/libhwy1_*_arm64.deb "$build/arm64"
fi

# Debian's headers of libraries that say the same on every machine, without those of this machine's C library.
rm -rf "$build/objects"
mkdir -p "$build/headers" "$build/objects"
for header in hwy fmt nlohmann doctest; do ln -sfn "/usr/include/$header" "$build/headers/$header"; done

sources=(mflux/kernels/*.cpp mflux/base/{file,printable,quantization,tensor,utf8}.cpp mflux/safetensors/header.cpp
  tests/kernels/*.cpp tests/main_test.cpp)
cat > "$build/flags" <<END
-std=c++20 -O1 -Wall -Wextra -Werror -ffp-contract=off -I. -isystem $build/headers -DFMT_HEADER_ONLY
"-DHWY_DISABLED_TARGETS=(HWY_SVE|HWY_SVE2|HWY_SVE_256|HWY_SVE2_128)" "-DMFLUX_TEST_DATA=\"$PWD/tests/data\""
END
echo "Compiling ${#sources[@]} files for aarch64..."
printf '%s\n' "${sources[@]}" | xargs -P "$(getconf _NPROCESSORS_ONLN)" -I {} sh -c \
  "$target-g++ @$build/flags -c {} -o $build/objects/\$(echo {} | tr / -).o"
"$target-g++" "$build"/objects/*.o "$build/arm64/usr/lib/$target/libhwy.so.1" -o "$build/kernel_tests"
qemu-aarch64 -L "/usr/$target" -E "LD_LIBRARY_PATH=$build/arm64/usr/lib/$target" "$build/kernel_tests"

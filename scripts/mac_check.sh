#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# A Mac without a Mac: compiles everything for Apple Silicon, a warning is an error, and looks up in MLX's library for
# macOS every function of MLX that the objects want. Nothing is linked and nothing runs. Debian only.
#
# The compiler and Apple's C headers come from PyPI's ziglang, MLX from its wheel for macOS, the headers of all other
# libraries from Debian; only the few lines of Accelerate are our own (scripts/mac).
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/objects.sh
. scripts/platform.sh

build=build/mac
venv=build/mac-venv
tools=$PWD/build/mac-tools
zig_version=0.17.1

scripts/dependencies.sh
scripts/apt_install.sh llvm-16

if [ ! -f "$venv/complete-$zig_version-$mlx_version" ]; then
  echo "Fetching ziglang $zig_version and MLX $mlx_version for macOS into $venv"
  python3 -m venv --clear "$venv"
  "$venv/bin/python" -m pip install -q --disable-pip-version-check "ziglang==$zig_version"
  "$venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps --only-binary=:all: \
    --platform macosx_14_0_arm64 --target "$venv/macos" "mlx-metal==$mlx_version"
  touch "$venv/complete-$zig_version-$mlx_version"
fi
zig=$(echo "$PWD/$venv"/lib/python3*/site-packages/ziglang)
mlx=$PWD/$venv/macos/mlx

# Of /usr/include only libraries whose headers say the same on every system.
rm -rf "$tools"
mkdir -p "$tools/include/openssl"
for header in fmt nlohmann hwy tbb oneapi CLI toml++ doctest xxhash.h utf8proc.h turbojpeg.h png.h pngconf.h \
  pnglibconf.h webp gif_lib.h; do
  ln -s "/usr/include/$header" "$tools/include/$header"
done
ln -s /usr/include/openssl/*.h /usr/include/"$(gcc -print-multiarch)"/openssl/*.h "$tools/include/openssl"
ln -s /usr/include/"$(gcc -print-multiarch)"/tiff*.h "$tools/include"

# The clang in zig, told what `zig c++ -target aarch64-macos` tells it. float.h comes first, in both its parts,
# because Apple's math.h takes one of them and libc++ then believes it has both.
cat >"$tools/clang++" <<END
#!/usr/bin/env bash
arguments=()
while [ \$# -gt 0 ]; do
  case "\$1 \$2" in
    "-isystem /usr/include" | "-isystem /usr/include/$(gcc -print-multiarch)") shift ;;
    *) arguments+=("\$1") ;;
  esac
  shift
done
exec "$zig/zig" clang --driver-mode=g++ --no-default-config -target arm64-apple-macosx14.0 -nostdinc -nostdinc++ \\
  -isystem "$zig/lib/libcxx/include" -isystem "$zig/lib/libcxxabi/include" -isystem "$zig/lib/include" \\
  -isystem "$zig/lib/libc/include/any-darwin-any" -isystem "$tools/include" -isystem "$PWD/scripts/mac" \\
  -include __float_infinity_nan.h -include float.h \\
  -D_LIBCPP_ABI_VERSION=1 -D_LIBCPP_ABI_NAMESPACE=__1 -D_LIBCPP_HAS_THREADS=1 \\
  -D_LIBCPP_HAS_MONOTONIC_CLOCK -D_LIBCPP_HAS_TERMINAL -D_LIBCPP_HAS_MUSL_LIBC=0 \\
  -D_LIBCPP_HAS_VENDOR_AVAILABILITY_ANNOTATIONS=0 -D_LIBCPP_HAS_FILESYSTEM=1 -D_LIBCPP_HAS_RANDOM_DEVICE \\
  -D_LIBCPP_HAS_LOCALIZATION -D_LIBCPP_HAS_UNICODE -D_LIBCPP_HAS_WIDE_CHARACTERS -D_LIBCPP_HAS_NO_STD_MODULES \\
  -D_LIBCPP_PSTL_BACKEND_SERIAL -D_LIBCPP_HARDENING_MODE=_LIBCPP_HARDENING_MODE_NONE \\
  -D_LIBCPP_ASSERTION_SEMANTIC_DEFAULT=_LIBCPP_ASSERTION_SEMANTIC_IGNORE "\${arguments[@]}"
END
# By this CMake learns the version of macOS.
printf '#!/bin/sh\necho 14.0\n' >"$tools/sw_vers"
chmod +x "$tools"/*

PATH=$tools:$PATH cmake -G Ninja -S . -B "$build" "$link_nothing" -DCMAKE_CXX_COMPILER="$tools/clang++" \
  -DCMAKE_TRY_COMPILE_TARGET_TYPE=STATIC_LIBRARY \
  -DCMAKE_AR=/usr/bin/llvm-ar-16 -DCMAKE_RANLIB=/usr/bin/llvm-ranlib-16 -DCMAKE_SYSTEM_NAME=Darwin \
  -DCMAKE_SYSTEM_VERSION=23.0.0 -DCMAKE_SYSTEM_PROCESSOR=arm64 -DCMAKE_OSX_SYSROOT= -DCMAKE_OSX_DEPLOYMENT_TARGET=14.0 \
  -DCMAKE_PREFIX_PATH="/usr/lib/$(gcc -print-multiarch)/cmake" -DOPENSSL_INCLUDE_DIR=/usr/include \
  -DGIF_INCLUDE_DIR=/usr/include -DGIF_LIBRARY="/usr/lib/$(gcc -print-multiarch)/libgif.so" \
  -DOPENSSL_CRYPTO_LIBRARY="/usr/lib/$(gcc -print-multiarch)/libcrypto.so" -DMLX_DIR="$mlx/share/cmake/MLX" \
  -DMFLUX_WERROR=ON >"$build.log" ||
  { cat "$build.log"; exit 1; }
compile_objects "$build"

symbols() { (cd "$build" && xargs llvm-nm-16 --quiet --format=just-symbols "$@") | sort -u; }
symbols --defined-only <"$build/objects" >"$build/defined"
symbols --undefined-only <"$build/objects" | comm -23 - "$build/defined" | grep '3mlx4core' >"$build/wanted"
echo "$mlx/lib/libmlx.dylib" | symbols --defined-only --extern-only >"$build/exported"
comm -23 "$build/wanted" "$build/exported" >"$build/missing"
if [ -s "$build/missing" ]; then
  echo "Not in MLX's library for macOS:" >&2
  c++filt -_ <"$build/missing" >&2
  exit 1
fi
echo "MLX for macOS has all $(wc -l <"$build/wanted") functions that the objects want."

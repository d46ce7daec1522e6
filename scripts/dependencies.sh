#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Installs what the build needs and this machine lacks; touches nothing if all is there. With --test also what tests of
# the program need, with --oracle what the comparison with Python's programs needs besides.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/platform.sh

debian_packages=(
  cmake ninja-build g++ pkg-config libhwy-dev libtbb-dev nlohmann-json3-dev libcli11-dev libfmt-dev
  doctest-dev libtomlplusplus-dev libxxhash-dev libssl-dev libopenblas-dev libutf8proc-dev libpng-dev
  libturbojpeg0-dev libwebp-dev libtiff-dev libgif-dev libdnnl-dev python3-venv)
homebrew_packages=(
  cmake ninja pkgconf highway tbb nlohmann-json cli11 fmt doctest tomlplusplus xxhash openssl@3 utf8proc
  libpng jpeg-turbo webp libtiff giflib)
# Completions are tried in their shells, manual pages in groff.
[ "${1:-}" = --test ] && debian_packages+=(zsh fish groff-base)
# The page of mflux report is opened in a real browser. On a Mac that test is skipped.
[ "${1:-}" = --oracle ] && debian_packages+=(chromium chromium-driver)

# MLX comes from PyPI, the same version everywhere; its wheel holds the library, the headers and a CMake package:
# mlx_wheel PYTHON PACKAGE...
mlx_wheel() {
  local python=$1 venv=build/mlx-venv
  shift
  [ -f "$venv/version-$mlx_version" ] && return
  echo "Installing MLX $mlx_version from PyPI into $venv"
  "$python" -m venv "$venv"
  "$venv/bin/python" -m pip install -q --disable-pip-version-check "${@/%/==$mlx_version}"
  touch "$venv/version-$mlx_version"
}

# Apple's own python3 is too old for the wheel; Homebrew's is installed if there is no other.
python_for_mlx() {
  local python
  for python in python3 python3.14 python3.13 python3.12 python3.11 python3.10; do
    if command -v "$python" >/dev/null && "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
      echo "$python"
      return
    fi
  done
  brew install -q python@3.13 >&2
  echo "$(brew --prefix)/bin/python3.13"
}

homebrew() {
  local missing=()
  for package in "${homebrew_packages[@]}"; do
    brew list --versions "$package" >/dev/null 2>&1 || missing+=("$package")
  done
  [ "${#missing[@]}" = 0 ] && return
  echo "Installing with Homebrew: ${missing[*]}"
  brew install "${missing[@]}"
}

mac() {
  if [ "$(sysctl -n sysctl.proc_translated 2>/dev/null)" = 1 ]; then
    echo "This shell runs under Rosetta, as on an Intel Mac. Open one that does not: arch -arm64 /bin/zsh" >&2
    exit 1
  fi
  xcode-select -p >/dev/null 2>&1 ||
    { echo "Apple's command line tools are needed: xcode-select --install" >&2; exit 1; }
  command -v brew >/dev/null || { echo "Homebrew is needed: https://brew.sh" >&2; exit 1; }
  homebrew
  if makes_pictures; then
    mlx_wheel "$(python_for_mlx)" mlx mlx-metal
  else
    echo "$no_pictures"
  fi
}

if [ "$(uname)" = Darwin ]; then
  mac
elif command -v apt-get >/dev/null; then
  scripts/apt_install.sh "${debian_packages[@]}"
  mlx_wheel python3 mlx mlx-cpu
else
  echo "Neither apt nor Homebrew here. Install these (Debian's names) by hand: ${debian_packages[*]}" >&2
  exit 1
fi

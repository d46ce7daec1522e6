#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Installs what the build needs and this machine lacks; touches nothing if all is there. With --test also what tests of
# the program need, with --oracle what the comparison with Python's programs needs besides.
set -euo pipefail
cd "$(dirname "$0")/.."

debian_packages=(
  cmake ninja-build g++ pkg-config libhwy-dev libtbb-dev nlohmann-json3-dev libcli11-dev libfmt-dev
  doctest-dev libtomlplusplus-dev libxxhash-dev libssl-dev libopenblas-dev libutf8proc-dev libpng-dev
  libturbojpeg0-dev libwebp-dev libtiff-dev libgif-dev libdnnl-dev python3-venv)
homebrew_packages=(
  cmake ninja pkg-config highway tbb nlohmann-json cli11 fmt doctest tomlplusplus xxhash openssl@3 mlx utf8proc
  libpng jpeg-turbo webp libtiff giflib)
# Completions are tried in their shells, manual pages in groff.
[ "${1:-}" = --test ] && debian_packages+=(zsh fish groff-base)
# The page of mflux report is opened in a real browser. On a Mac that test is skipped.
[ "${1:-}" = --oracle ] && debian_packages+=(chromium chromium-driver)

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

debian() {
  local missing=()
  for package in "${debian_packages[@]}"; do
    dpkg -s "$package" 2>/dev/null | grep -q '^Status: install ok installed' || missing+=("$package")
  done
  [ "${#missing[@]}" = 0 ] && return
  echo "Installing with apt: ${missing[*]}"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

# MLX is in no Debian release; its wheel holds the library, the headers and a CMake package.
mlx_wheel() {
  local version=0.32.4 venv=build/mlx-venv
  [ -f "$venv/version-$version" ] && return
  echo "Installing MLX $version from PyPI into $venv"
  python3 -m venv "$venv"
  "$venv/bin/python" -m pip install -q --disable-pip-version-check "mlx==$version" "mlx-cpu==$version"
  touch "$venv/version-$version"
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

if [ "$(uname)" = Darwin ]; then
  command -v brew >/dev/null || { echo "Homebrew is needed: https://brew.sh" >&2; exit 1; }
  homebrew
elif command -v apt-get >/dev/null; then
  debian
  mlx_wheel
else
  echo "Neither apt nor Homebrew here. Install these (Debian's names) by hand: ${debian_packages[*]}" >&2
  exit 1
fi

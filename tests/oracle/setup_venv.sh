#!/bin/sh
# SPDX-License-Identifier: MIT
# Makes the Python environment of the oracle suite: setup_venv.sh DIR. A second call costs nothing.
set -eu

if [ $# -ne 1 ]; then
  echo "usage: $0 DIR" >&2
  exit 2
fi
venv=$1
here=$(cd "$(dirname "$0")" && pwd)
# A Mac has shasum, Debian without perl sha256sum alone.
sha256() { if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi; }
wanted=$(cat "$here/requirements.txt" "$here/requirements-no-deps.txt" "$0" | sha256 | cut -d' ' -f1)
stamp="$venv/oracle.stamp"
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
  exit 0
fi

rm -f "$stamp"
if [ ! -x "$venv/bin/python" ]; then
  python3 -m venv "$venv"
fi
pip() { "$venv/bin/python" -m pip --disable-pip-version-check --quiet "$@"; }
# Torch first: a find-links folder or index that has a CPU build is then not passed over for the CUDA one that a
# later range would admit.
pip install "$(grep '^torch==' "$here/requirements.txt")"
pip install --requirement "$here/requirements.txt"
pip install --no-deps --requirement "$here/requirements-no-deps.txt"
"$venv/bin/python" -c 'import mlx.core, mflux, torch, diffusers, transformers, peft'
printf '%s' "$wanted" >"$stamp"

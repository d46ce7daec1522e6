# SPDX-License-Identifier: MIT
# Sourced. clang_tool NAME: the path of clang-format or clang-tidy 18.1.8, installed from PyPI into build/ if it is not
# there. One version for everybody: others format differently.

clang_version=18.1.8

clang_tool() {
  local venv=build/clang-venv
  if [ ! -x "$venv/bin/$1" ]; then
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv" >&2
    "$venv/bin/python" -m pip install -q --disable-pip-version-check "$1==$clang_version" >&2
  fi
  echo "$venv/bin/$1"
}

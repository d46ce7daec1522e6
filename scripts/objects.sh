# SPDX-License-Identifier: MIT
# Sourced. compile_objects BUILD: compiles every object of a configured build folder and links nothing.

# For the configuration: what depends on a program depends on a file of its name.
link_nothing="-DCMAKE_CXX_LINK_EXECUTABLE=<CMAKE_COMMAND> -E touch <TARGET>"

compile_objects() {
  ninja -C "$1" -t targets all | sed -n 's/^\(.*\.o\): .*/\1/p' | grep -v verify_interface >"$1/objects"
  [ -s "$1/objects" ] || { echo "$1: no objects to compile" >&2; return 1; }
  echo "Compiling $(wc -l <"$1/objects") objects in $1..."
  xargs ninja -C "$1" -k 0 <"$1/objects"
}

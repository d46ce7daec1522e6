#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Feeds what reads strangers' files with damaged ones: libFuzzer under the address and undefined behaviour sanitizers, by
# clang 16. Debian only.
#
#   scripts/fuzz.sh [SECONDS for each target, 20] [target...]
#
# What it found is in build/fuzz/TARGET/found, new inputs in build/fuzz/TARGET/corpus: a later run goes on from there. The
# table: executions, edges of the code that were reached, the slowest input's seconds, and peak memory.
set -euo pipefail
cd "$(dirname "$0")/.."

build=build/fuzz
seconds=${1:-20}
[ $# -gt 0 ] && shift
targets=("$@")
[ $# -gt 0 ] || for file in fuzz/corpus/*; do targets+=("${file##*/}"); done

scripts/dependencies.sh --test
scripts/apt_install.sh clang-16 libclang-rt-16-dev
sanitize="-fsanitize=fuzzer-no-link,address,undefined,float-cast-overflow -fno-sanitize-recover=all"
# Without a build type: what the libraries assert counts too.
cmake -G Ninja -S . -B "$build" -DCMAKE_BUILD_TYPE= -DCMAKE_CXX_COMPILER=clang++-16 -DMFLUX_LIBFUZZER=ON \
  -DMFLUX_UNITY=ON -DMFLUX_ONEDNN=OFF "-DCMAKE_CXX_FLAGS=-O1 -g1 -fno-omit-frame-pointer $sanitize -D_GLIBCXX_ASSERTIONS" \
  >"$build.log" || { cat "$build.log"; exit 1; }
ninja -C "$build" "${targets[@]/#/fuzz_}"

# In memory: targets write small files all the time. What a run that crashes leaves goes with it.
TMPDIR=$(mktemp -d -p /dev/shm mflux-fuzz-XXXXXX)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
export ASAN_OPTIONS=quarantine_size_mb=16:detect_stack_use_after_return=0 UBSAN_OPTIONS=print_stacktrace=1

# How much one allocation may be, in MB: pictures are unpacked, up to 100 million pixels.
most() {
  case $1 in
    picture | recipe) echo 1024 ;;
    *) echo 64 ;;
  esac
}

fuzz() {
  local target=$1 place=$build/$1 dictionary=() seeds=()
  mkdir -p "$place/corpus" "$place/found"
  [ -f "fuzz/$target.dict" ] && dictionary=("-dict=fuzz/$target.dict")
  [ -d "fuzz/corpus/$target" ] && seeds=("fuzz/corpus/$target")
  "$build/fuzz_$target" "$place/corpus" "${seeds[@]}" "${dictionary[@]}" -max_total_time="$seconds" -seed=1 \
    -max_len=1000000 -len_control=20 -timeout=60 -rss_limit_mb=2560 -malloc_limit_mb="$(most "$target")" \
    -artifact_prefix="$place/found/" -print_final_stats=1 -verbosity=1 >"$place/log" 2>&1
}

row() {
  local log=$build/$1/log stat='/^stat::/ { value[$1] = $2 }'
  awk -v target="$1" -v result="$2" "$stat"' match($0, /cov: [0-9]+/) { edges = substr($0, RSTART + 5, RLENGTH - 5) }
    END { printf "%-16s %12s %8s %10s %8s  %s\n", target, value["stat::number_of_executed_units:"], edges,
      value["stat::slowest_unit_time_sec:"], value["stat::peak_rss_mb:"], result }' "$log"
}

failed=()
printf '%-16s %12s %8s %10s %8s\n' target executions edges "slowest s" "peak MB"
for target in "${targets[@]}"; do
  if fuzz "$target"; then
    row "$target" ok
  else
    failed+=("$target")
    row "$target" "FOUND: $build/$target/found"
  fi
done
[ "${#failed[@]}" = 0 ] && exit
for target in "${failed[@]}"; do
  printf '\n== %s\n' "$target"
  grep -m 1 -A 30 -E 'ERROR|runtime error|does not hold|terminate called' "$build/$target/log" || tail -30 "$build/$target/log"
done
exit 1

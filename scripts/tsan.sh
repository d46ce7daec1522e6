#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Bakes, verifies, compares, runs a job and makes pictures with a program built for the thread sanitizer, and with oneTBB
# built so too: without it no order of its tasks would be known. The first race ends it. Debian only.
set -euo pipefail
cd "$(dirname "$0")/.."

build=build/tsan
scripts/dependencies.sh --test
scripts/apt_install.sh dpkg-dev
tbb=$build/apt/build/tbb
if [ ! -e "$tbb" ]; then
  mkdir -p "$build/apt"/{parts,cache,lists/partial}
  # The sources of Debian's packages, by lists of their own: this machine's stay as they are.
  sed 's/^Types: deb$/Types: deb-src/' /etc/apt/sources.list.d/debian.sources >"$build/apt/parts/debian.sources"
  apt=(apt-get -qq -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$PWD/$build/apt/parts"
    -o "Dir::State::lists=$PWD/$build/apt/lists" -o "Dir::Cache=$PWD/$build/apt/cache" -o APT::Sandbox::User=root)
  "${apt[@]}" update
  (cd "$build/apt" && "${apt[@]}" source --download-only onetbb && mkdir -p source &&
    tar xf onetbb_*.orig.tar.xz -C source --strip-components=1)
  cmake -G Ninja -S "$build/apt/source" -B "$build/apt/build" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DTBB_SANITIZE=thread \
    -DTBB_TEST=OFF -DTBBMALLOC_BUILD=OFF -DTBB_STRICT=OFF >"$build/apt/log"
  ninja -C "$build/apt/build" tbb
  # Its folder is named after the compiler and the C library.
  ln -sn "$(dirname "$(find "$PWD/$build/apt/build" -name libtbb.so.12)")" "$tbb"
fi
scripts/build.sh tsan mflux_cli

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
export TSAN_OPTIONS="halt_on_error=1 suppressions=$PWD/scripts/tsan.supp" LD_LIBRARY_PATH=$PWD/$tbb
mflux=$build/mflux
for family in flux qwen; do
  base=examples/demo/$family
  lora=examples/demo/ink.safetensors
  [ $family = flux ] || lora=examples/demo/stripes.safetensors
  out=$place/$family
  $mflux save --model "$base" --path "$out" -q 4 --lora "$lora" --rounding delta --max-shard-size 100KB
  $mflux verify "$out" --base "$base" --lora "$lora"
  $mflux save --model "$base" --path "$out" -q 8 --lora "$lora" --escalate --overwrite --max-memory 64MB
  mkdir "$out-job"
  cat >"$out-job/job.toml" <<END
model = "$PWD/$base"
[[output]]
path = "$out-job/plain"
quantize = 8
[[output]]
path = "$out-job/full"
quantize = 8
lora = "$PWD/$lora"
END
  $mflux save --job "$out-job/job.toml"
  $mflux compare "$base" "$out" || [ $? = 4 ]  # they differ
  $mflux report "$out"
  for model in "$base" "$out"; do
    $mflux generate --model "$model" --prompt "a large red star" --steps 2 --height 64 --width 64 --seed 1 2 \
      --output "$place/picture.png"
  done
done
echo "No data race."

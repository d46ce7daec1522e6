#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Bakes a LoRA into each of the two trained demo models, proves the result, draws the same pictures from all of them and
# writes a report about each; then shows what a refusal looks like.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/platform.sh

demo=build/demo
mflux=build/mflux
bold= plain=
if [ -t 1 ]; then
  bold=$(tput bold 2>/dev/null || true)
  plain=$(tput sgr0 2>/dev/null || true)
fi

say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }

run() {  # shows a command as one would type it, then runs it
  printf '%s$ %s%s\n' "$bold" "$*" "$plain"
  "$@"
}

prompts=(
  "a large red star on the left and a small blue ring on the right, at night"
  "a small yellow circle at the top and a large purple square at the bottom, in the fog"
  "a large green triangle in the middle, at dawn"
  "a small orange ring on the right, under the sky"
)

# Draws every prompt: pictures FAMILY COLUMN OPTION...
pictures() {
  local family=$1 column=$2 number
  shift 2
  mkdir -p "$demo/pictures/$family/$column"
  for number in "${!prompts[@]}"; do
    $mflux generate "$@" --prompt "${prompts[$number]}" --seed "$number" --steps 10 --height 128 --width 128 \
      --output "$demo/pictures/$family/$column/$((number + 1)).png" 2>>"$demo/pictures/$family.log"
  done
}

all_pictures() {  # FAMILY LORA OPTION...
  local family=$1 lora=$2
  shift 2
  pictures "$family" base --model "examples/demo/$family" "$@"
  pictures "$family" lora-at-run-time --model "examples/demo/$family" --lora "$lora" "$@"
  pictures "$family" baked-8-bits --model "$demo/$family-8bit" "$@"
  pictures "$family" baked-4-bits --model "$demo/$family-4bit" "$@"
}

bake() {  # FAMILY LORA
  local base=examples/demo/$1 lora=$2
  run $mflux inspect "$lora" --model "$base"
  run $mflux save --model "$base" --quantize 8 --path "$demo/$1-8bit" --lora "$lora"
  run $mflux verify "$demo/$1-8bit" --base "$base" --lora "$lora"
  run $mflux save --model "$base" --quantize 4 --path "$demo/$1-4bit" --lora "$lora"
  run $mflux verify "$demo/$1-4bit"
}

draw() {
  all_pictures flux examples/demo/ink.safetensors &
  local drawing=$!
  all_pictures qwen examples/demo/stripes.safetensors --guidance 1
  wait "$drawing"
}

begin=$SECONDS
echo "Baking into two small models and drawing 32 pictures: about half a minute."
rm -rf "$demo"
mkdir -p "$demo/pictures"
say "A small FLUX.1 and a LoRA that draws in ink"
bake flux examples/demo/ink.safetensors
say "A small Qwen-Image and a LoRA that paints stripes"
bake qwen examples/demo/stripes.safetensors

say "The same four pictures from the model, with the LoRA at run time, and from what was baked at 8 and at 4 bits"
if makes_pictures; then draw; else echo "$no_pictures"; fi
for family in flux qwen; do
  images=()
  makes_pictures && images=(--images "$demo/pictures/$family"
    --columns base,lora-at-run-time,baked-8-bits,baked-4-bits --reference lora-at-run-time)
  run $mflux report "$demo/$family-8bit" -o "$demo/$family.html" ${images[@]+"${images[@]}"}
done

say "A LoRA that does not fit is refused before anything is written"
status=0
run $mflux save --model examples/demo/flux --quantize 8 --path "$demo/refused" \
  --lora examples/demo/ink-broken.safetensors || status=$?
if [ "$status" != 3 ] || [ -e "$demo/refused" ]; then
  echo "expected status 3 and no output, got status $status" >&2
  exit 1
fi
echo "(status 3, and no $demo/refused)"

cat <<END

Done in $((SECONDS - begin)) s.

${bold}Open in a browser${plain}
  $PWD/$demo/flux.html
  $PWD/$demo/qwen.html

${bold}With a model of yours${plain}: a folder in diffusers layout, a folder of mflux, or a name in the Hugging Face cache
  build/mflux save --model FLUX.1-dev --quantize 8 --path OUT --lora style.safetensors --lora-scale 0.8
  build/mflux verify OUT
  build/mflux generate --model OUT --prompt "a beautiful sunset" --output sunset.png --steps 20
and OUT loads in Python's mflux: mflux-generate --model OUT --prompt "..."
END

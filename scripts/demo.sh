#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Bakes LoRAs into two small models that it makes itself, proves the result, and shows what a refusal looks like.
set -euo pipefail
cd "$(dirname "$0")/.."

demo=build/demo
bold= plain=
if [ -t 1 ]; then
  bold=$(tput bold 2>/dev/null || true)
  plain=$(tput sgr0 2>/dev/null || true)
fi

run() {  # shows a command as one would type it, then runs it
  printf '\n%s$ %s%s\n' "$bold" "$*" "$plain"
  "$@"
}

# Prints what bake.json says of each LoRA.
merged() {
  local receipt=$1
  sed -n '/^ "loras"/,/^ \]/p' "$receipt" |
    sed -nE 's/^   "(file|dialect|scale|layers|kept)": "?([^",]*)"?,?$/\1 \2/p' |
    awk '$1=="file"{f=$2} $1=="dialect"{d=substr($0,9)} $1=="scale"{s=$2} $1=="layers"{l=$2}
         $1=="kept"{printf "  %s (%s): %d layers merged at scale %s, %.2f %% of it survives rounding\n", f, d, l, s, 100*$2}'
}

rm -rf "$demo"
mkdir -p "$demo"
echo "Making a small FLUX.1 and a small Qwen-Image with random weights, and LoRAs for them..."
build/demo_checkpoint "$demo"

run build/mflux inspect "$demo/flux-lora-kohya.safetensors"
run build/mflux save --model "$demo/flux" --quantize 8 --path "$demo/flux-8bit" \
  --lora "$demo/flux-lora-diffusers.safetensors" --lora-scale 0.8
run build/mflux verify "$demo/flux-8bit"
run build/mflux verify "$demo/flux-8bit" --base "$demo/flux" \
  --lora "$demo/flux-lora-diffusers.safetensors" --lora-scale 0.8

run build/mflux-save-qwen --model "$demo/qwen" --quantize 4 --path "$demo/qwen-4bit" \
  --lora "$demo/qwen-lora-kohya.safetensors" --lora-scale 1.0
run build/mflux verify "$demo/qwen-4bit"

run build/mflux report "$demo/flux-8bit" -o "$demo/flux-8bit.html"
run build/mflux report "$demo/qwen-4bit" -o "$demo/qwen-4bit.html"

echo
echo "A LoRA that does not fit is refused before anything is written:"
status=0
run build/mflux save --model "$demo/flux" --quantize 8 --path "$demo/refused" \
  --lora "$demo/flux-lora-misfit.safetensors" || status=$?
if [ "$status" != 3 ] || [ -e "$demo/refused" ]; then
  echo "expected status 3 and no output, got status $status" >&2
  exit 1
fi
echo "(status 3, and no $demo/refused)"

cat <<END

${bold}What was merged${plain} (from the receipts, $demo/*/bake.json)
$(merged "$demo/flux-8bit/bake.json")
$(merged "$demo/qwen-4bit/bake.json")

${bold}To look at in a browser${plain}: what became of every layer
  $PWD/$demo/flux-8bit.html
  $PWD/$demo/qwen-4bit.html

${bold}With a model of yours${plain}: a folder in diffusers layout, a folder of mflux, or a name in the Hugging Face cache
  build/mflux save --model FLUX.1-dev --quantize 8 --path OUT --lora style.safetensors --lora-scale 0.8
  build/mflux-save-qwen --model Qwen-Image --quantize 8 --path OUT
  build/mflux verify OUT
and OUT loads in Python's mflux: mflux-generate --model OUT --prompt "..."
END

// SPDX-License-Identifier: MIT
#include "cli/manual_texts.h"

#include <array>

#include "cli/commands.h"
#include "mflux/base/error.h"

namespace mflux::cli {
namespace {

constexpr auto kProgramExamples = std::to_array<Example>({
    {"bake a LoRA at 8 bits, then prove the result",
     "mflux save --model FLUX.1-dev --quantize 8 --path OUT --lora style.safetensors"},
    {"prove it from its receipt", "mflux verify OUT"},
    {"a picture from it", "mflux generate --model OUT --prompt 'a red fox' --output fox.png"},
});

constexpr auto kSaveExamples = std::to_array<Example>({
    {"two LoRAs at 4 bits",
     "mflux save --model FLUX.1-dev --quantize 4 --path OUT --lora a.safetensors b.safetensors "
     "--lora-scale 1.0 0.5"},
    {"what would be written, and where every key of the LoRA would go",
     "mflux save --model FLUX.1-dev --quantize 4 --lora a.safetensors --dry-run"},
    {"half of a LoRA in the first double blocks, none of its text encoder",
     "mflux save --model FLUX.1-dev --path OUT --lora a.safetensors --lora-block-scales "
     "'double:0-5=0.5,text_encoder=0'"},
    {"several outputs in one pass over the model", "mflux save --job jobs.toml"},
});

constexpr auto kVerifyExamples = std::to_array<Example>({
    {"from the receipt alone", "mflux verify OUT"},
    {"by baking again, bit for bit",
     "mflux verify OUT --base FLUX.1-dev --lora style.safetensors --lora-scale 0.8"},
});

constexpr auto kInspectExamples = std::to_array<Example>({
    {"what a LoRA is, and whether it fits", "mflux inspect style.safetensors --model FLUX.1-dev"},
    {"the same LoRA for ComfyUI",
     "mflux inspect style.safetensors --convert comfyui style-comfyui.safetensors"},
    {"every tensor of a saved folder", "mflux inspect OUT --tensors"},
});

constexpr auto kCompareExamples = std::to_array<Example>({
    {"what quantizing cost, layer by layer", "mflux compare FLUX.1-dev OUT"},
});

constexpr auto kReportExamples = std::to_array<Example>({
    {"what was baked, what of it survived, how it is stored", "mflux report OUT"},
    {"with pictures from shots/base/*.png, shots/lora/*.png and shots/baked-8/*.png side by side",
     "mflux report OUT --images shots --columns lora,baked-8,base --reference lora"},
});

constexpr auto kGenerateExamples = std::to_array<Example>({
    {"one picture",
     "mflux generate --model OUT --prompt 'a red fox' --steps 20 --seed 42 --output fox.png"},
    {"with a LoRA that is not baked",
     "mflux generate --model OUT --prompt 'a red fox' --lora style.safetensors 0.8"},
    {"how much memory it would take",
     "mflux generate --model OUT --width 1024 --height 768 --dry-run"},
    {"the same picture again", "mflux generate --config-from-metadata fox.png"},
});

constexpr auto kCompletionExamples = std::to_array<Example>({
    {"bash, in ~/.bashrc", "source <(mflux completion bash)"},
    {"zsh, into a folder of $fpath", "mflux completion zsh > ~/.zfunc/_mflux"},
    {"fish", "mflux completion fish > ~/.config/fish/completions/mflux.fish"},
});

constexpr auto kManualExamples = std::to_array<Example>({
    {"for one user; then: man mflux-save", "mflux manual ~/.local/share/man/man1"},
});

constexpr std::string_view kProgramPages[] = {"saving.md", "generating.md", "troubleshooting.md"};
constexpr std::string_view kSavePages[] = {
    "saving.md", "lora.md", "quantization.md", "jobs.md", "receipt.md", "troubleshooting.md"};
constexpr std::string_view kVerifyPages[] = {"receipt.md", "troubleshooting.md"};
constexpr std::string_view kInspectPages[] = {"lora-tools.md", "lora.md"};
constexpr std::string_view kComparePages[] = {"quantization.md", "numerics.md"};
constexpr std::string_view kReportPages[] = {"report.md", "receipt.md", "quantization.md"};
constexpr std::string_view kGeneratePages[] = {"generating.md", "lora.md", "troubleshooting.md"};

constexpr auto kTexts = std::to_array<ManualText>({
    {"",
     "Bakes LoRAs into FLUX.1 and Qwen-Image models, quantizes them to MLX's formats, proves the "
     "result, and makes pictures from it. Saved folders load in Python's mflux and in this "
     "program.\n\n"
     "Nothing is downloaded: a model is a folder in diffusers layout, a folder saved by mflux, one "
     ".safetensors file with the original names, or a name (dev, schnell, qwen-image, owner/repo) "
     "in the local Hugging Face cache. qwen-image is Qwen-Image-2512, as in Python's mflux 0.24; "
     "Qwen/Qwen-Image is the first one.\n\n"
     "Results go to standard output, the log and the progress bar to standard error. An error is "
     "one message that names the file, the tensor, what was found and what was expected.",
     kProgramExamples,
     kProgramPages},
    {"save",
     "Reads the model once, adds the LoRAs in float32 in the order given, quantizes or rounds "
     "once, and writes the folder OUT with a receipt, bake.json. A key of a LoRA that fits nothing "
     "is an error before the first byte is written. Memory does not grow with the model.\n\n"
     "The output depends only on inputs and options. A save that was killed continues where it "
     "stopped when the same command is run again.",
     kSaveExamples,
     kSavePages},
    {"verify",
     "Checks a saved folder against its index, its headers and its receipt: every file, every "
     "hash, every key of every LoRA. With --base it bakes again from the model and the same LoRAs "
     "and compares bit for bit.",
     kVerifyExamples,
     kVerifyPages},
    {"inspect",
     "Says from headers what a folder, a safetensors file or a LoRA is. Of a LoRA it reads the "
     "values too: dialect, trainer, ranks, alphas, dead layers; with --model whether it fits and "
     "what share of it would survive rounding. With --convert it rewrites the LoRA.",
     kInspectExamples,
     kInspectPages},
    {"compare",
     "Reads two models in float32, whatever their layouts and formats, and prints for each tensor "
     "that differs the largest error, the relative error and the signal-to-noise ratio. Ends with "
     "status 4 if anything differs.",
     kCompareExamples,
     kComparePages},
    {"report",
     "Makes one HTML page from a saved folder's receipt and headers: a verdict in one sentence, "
     "inputs, sizes, the share of every LoRA kept and the error layer by layer, how every tensor "
     "is stored, what was left out. With --images it shows pictures side by side and says how far "
     "each is from the reference. The page needs no network and no script.",
     kReportExamples,
     kReportPages},
    {"generate",
     "Makes a PNG for each seed. The model may be packed or not, saved by this program, by "
     "Python's mflux or by diffusers; LoRAs are applied at run time. The same seed gives the "
     "picture of Python's mflux up to floating-point noise. The recipe is stored in the PNG.",
     kGenerateExamples,
     kGeneratePages},
    {"completion",
     "Prints a script that makes the shell complete subcommands, options, their choices and file "
     "names, for mflux and the names mflux-save, mflux-save-qwen, mflux-generate and "
     "mflux-generate-qwen. 'cmake --install' puts it where the shells look.",
     kCompletionExamples,
     {}},
    {"manual",
     "Writes these pages, one for the program and one for each subcommand, into a folder that is "
     "created if it is missing. 'cmake --install' does the same.",
     kManualExamples,
     {}},
});

constexpr auto kExitStatuses = std::to_array<ExitStatusText>({
    {ExitStatus::done, "Done."},
    {ExitStatus::failed,
     "Failed: a file is missing or damaged, a disk is full, memory or space is too small."},
    {ExitStatus::usage, "Wrong usage: an option, its value, or a combination of them."},
    {ExitStatus::lora, "A LoRA could not be merged, or less of it survived than --min-kept asks."},
    {ExitStatus::difference, "verify or compare found a difference."},
    {ExitStatus::interrupted_status, "Interrupted (Ctrl-C)."},
});

}  // namespace

const ManualText& manual_text(std::string_view command) {
  for (const ManualText& text : kTexts) {
    if (text.command == command) return text;
  }
  fail("the subcommand '{}' has no text in cli/manual_texts.cpp", command);
}

std::span<const ExitStatusText> exit_status_texts() {
  return kExitStatuses;
}

}  // namespace mflux::cli

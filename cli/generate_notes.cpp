// SPDX-License-Identifier: MIT
#include "cli/generate_notes.h"

#include <string_view>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

namespace mflux::cli {
namespace {

// One way in which an option changes nothing.
struct Idle {
  std::string_view option = {};
  bool idle = false;
  std::string note = {};  // after the option's name
};

}  // namespace

std::vector<std::string> without_effect(
    const CLI::App& app, const GenerateOptions& options, const GeneratePlan& plan) {
  const auto given = [&](std::string_view name) { return app.count(std::string(name)) != 0; };
  const bool strength_follows = app.count("--image") > 1;
  const bool looks = options.image.has_value() && !plan.begins_with_image;
  const std::string edits =
      fmt::format("{} looks at its picture and does not begin with it", plan.title);
  const std::vector<Idle> all = {
      {"--negative-prompt",
       !plan.uses_negative_prompt,
       fmt::format("has no effect: {} takes no negative prompt", plan.title)},
      {"--negative-prompt",
       plan.uses_negative_prompt && plan.guidance == 1,
       "has no effect at guidance 1, where the prompt alone counts"},
      {"--guidance",
       !plan.uses_guidance,
       "has no effect: this model has no guidance embedder (FLUX.1 schnell has none)"},
      {"--image-strength", !options.image, "has no effect without --image"},
      {"--image-strength", looks, "has no effect: " + edits},
      {"--image-strength",
       strength_follows && !looks,
       "has no effect beside the strength that follows --image"},
      {"--image",
       strength_follows && looks,
       "and a strength: the strength has no effect, " + edits},
      {"--vae-tile-size", !given("--vae-tiling"), "turns --vae-tiling on"},
      {"--q-mode",
       !options.bits && options.mode == QuantMode::affine,
       "affine has no effect without --quantize"},
      {"--quantize", !plan.packs, "has no effect: the model's weights are packed already"},
      {"--auto-seeds", given("--seed"), "has no effect beside --seed"},
      {"--cpu-precision", generate_device() != "CPU", "has no effect on a GPU"},
  };
  std::vector<std::string> notes;
  for (const Idle& one : all) {
    if (one.idle && given(one.option)) notes.push_back(fmt::format("{} {}", one.option, one.note));
  }
  return notes;
}

}  // namespace mflux::cli

// SPDX-License-Identifier: MIT
// One row per dialect; what stands before a component is the family's (lora/family.h).
#include "mflux/lora/convert/style.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "mflux/lora/names.h"

namespace mflux::lora {
namespace {

using enum WritingDialect;

// In the order of the enumeration.
constexpr std::array<std::string_view, 3> kNames = {"diffusers", "kohya", "comfyui"};
constexpr std::array kStyles = {
    WritingStyle{
        .dialect = diffusers,
        .prefix = &WrittenPrefixes::diffusers,
        .alias_of = AliasOf::diffusers,
        .flat = false,
        .alpha_tensors = false,
        .down = ".lora_A.weight",
        .up = ".lora_B.weight",
        .up_bias = ".lora_B.bias",
        .differences = false},
    WritingStyle{
        .dialect = kohya,
        .prefix = &WrittenPrefixes::kohya,
        .alias_of = AliasOf::original,
        .flat = true,
        .alpha_tensors = true,
        .down = ".lora_down.weight",
        .up = ".lora_up.weight",
        .up_bias = "",
        .differences = false},
    WritingStyle{
        .dialect = comfyui,
        .prefix = &WrittenPrefixes::comfyui,
        .alias_of = AliasOf::original,
        .flat = false,
        .alpha_tensors = true,
        .down = ".lora_down.weight",
        .up = ".lora_up.weight",
        .up_bias = "",
        .differences = true},
};

// Endings of algorithms beyond plain LoRA that the readers of a dialect know, whole or by their
// beginning. A DoRA's magnitude is not among them: how its norm is taken depends on who wrote it.
struct Kept {
  WritingDialect dialect;
  std::string_view ending;
  bool begins = false;
};
constexpr std::array kKept = {
    Kept{kohya, ".hada_", true},
    Kept{kohya, ".lokr_", true},
    Kept{kohya, ".lora_mid.weight"},
    Kept{comfyui, ".hada_", true},
    Kept{comfyui, ".lokr_", true},
    Kept{comfyui, ".lora_mid.weight"},
    Kept{comfyui, ".a1.weight"},
    Kept{comfyui, ".a2.weight"},
    Kept{comfyui, ".b1.weight"},
    Kept{comfyui, ".b2.weight"},
    Kept{comfyui, ".oft_blocks"},
    Kept{comfyui, ".rescale"},
    Kept{comfyui, ".set_weight"},
};

}  // namespace

std::optional<WritingDialect> parse_writing_dialect(std::string_view name) {
  const auto found = std::ranges::find(kNames, name);
  if (found == kNames.end()) return std::nullopt;
  return static_cast<WritingDialect>(found - kNames.begin());
}

std::string_view writing_dialect_name(WritingDialect dialect) {
  return kNames.at(static_cast<size_t>(dialect));
}

const WritingStyle& writing_style(WritingDialect dialect) {
  return kStyles.at(static_cast<size_t>(dialect));
}

std::optional<std::string_view> component_prefix(
    const WritingStyle& style, const Family& family, std::string_view component) {
  const auto found = std::ranges::find(family.written, component, &WrittenPrefixes::component);
  if (found == family.written.end() || ((*found).*style.prefix).empty()) return std::nullopt;
  return (*found).*style.prefix;
}

std::string written_module(
    const WritingStyle& style, std::string_view prefix, std::string_view alias) {
  return fmt::format("{}{}", prefix, style.flat ? flatten(alias) : std::string(alias));
}

bool keeps(WritingDialect dialect, std::string_view ending) {
  return std::ranges::any_of(kKept, [&](const Kept& kept) {
    return kept.dialect == dialect &&
           (kept.begins ? ending.starts_with(kept.ending) : ending == kept.ending);
  });
}

}  // namespace mflux::lora

// SPDX-License-Identifier: MIT
// Metadata are searched for the names that trainers give models; layer names for parts that only
// one family has. A family counts only if no other one has a part of its own in the file.
#include "mflux/lora/made_for.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "mflux/lora/module.h"
#include "mflux/lora/names.h"

namespace mflux::lora {
namespace {

struct Sign {
  std::string_view part;
  std::string_view title;
};

constexpr std::array<std::string_view, 2> kMetadataKeys = {
    "ss_base_model_version", "modelspec.architecture"};

// Models that are not ours, by parts of their names as Family::metadata has them: those made of one
// of ours, whose names hold that one's, and all others.
constexpr std::array kDerived = {
    Sign{"flux2", "FLUX.2"},
    Sign{"chroma", "Chroma"},
};
constexpr std::array kForeign = {
    Sign{"stablediffusionxl", "SDXL"},
    Sign{"sdxl", "SDXL"},
    Sign{"stablediffusion3", "Stable Diffusion 3"},
    Sign{"sd3", "Stable Diffusion 3"},
    Sign{"stablediffusion", "Stable Diffusion"},
    Sign{"sd1", "Stable Diffusion"},
    Sign{"sdv1", "Stable Diffusion"},
    Sign{"sd2", "Stable Diffusion"},
    Sign{"sdv2", "Stable Diffusion"},
    Sign{"hunyuan", "Hunyuan"},
    Sign{"framepack", "Hunyuan"},
    Sign{"zimage", "Z-Image"},
    Sign{"lumina", "Lumina"},
    Sign{"hidream", "HiDream"},
    Sign{"auraflow", "AuraFlow"},
    Sign{"wan2", "Wan"},
    Sign{"wan1", "Wan"},
    Sign{"krea2", "Krea 2"},
};

// Parts of flat names of models that share a prefix or a block with ours.
constexpr std::array kLookalikes = {
    Sign{"down_blocks", "Stable Diffusion or SDXL"},
    Sign{"up_blocks", "Stable Diffusion or SDXL"},
    Sign{"mid_block", "Stable Diffusion or SDXL"},
    Sign{"middle_block", "Stable Diffusion or SDXL"},
    Sign{"input_blocks", "Stable Diffusion or SDXL"},
    Sign{"output_blocks", "Stable Diffusion or SDXL"},
    Sign{"joint_blocks", "Stable Diffusion 3"},
    Sign{"joint_transformer_blocks", "Stable Diffusion 3"},
    Sign{"distilled_guidance_layer", "Chroma"},
    Sign{"stream_modulation", "FLUX.2"},
    Sign{"to_qkv_mlp_proj", "FLUX.2"},
    Sign{"ff_linear_in", "FLUX.2"},
    Sign{"ff_linear_out", "FLUX.2"},
    Sign{"ff_context_linear_in", "FLUX.2"},
    Sign{"ff_context_linear_out", "FLUX.2"},
    Sign{"img_mlp_fc", "HunyuanVideo"},
    Sign{"txt_mlp_fc", "HunyuanVideo"},
    Sign{"individual_token_refiner", "HunyuanVideo"},
    Sign{"noise_refiner", "Z-Image or Lumina"},
    Sign{"context_refiner", "Z-Image or Lumina"},
    Sign{"feed_forward_w", "Z-Image or Lumina"},
    Sign{"adaLN_modulation_0", "Z-Image or Lumina"},
    Sign{"attention_to_", "Z-Image or Lumina"},
    Sign{"img_mlp_gate_layer", "a later Qwen-Image"},
    Sign{"cross_attn", "Wan"},
    Sign{"self_attn", "Wan"},
};

bool has_any(std::string_view text, std::span<const std::string_view> parts) {
  return std::ranges::any_of(
      parts, [&](std::string_view part) { return text.find(part) != std::string_view::npos; });
}

std::string letters_and_digits(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c >= 'A' && c <= 'Z') result += static_cast<char>(c - 'A' + 'a');
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) result += c;
  }
  return result;
}

std::string_view find_sign(std::string_view text, std::span<const Sign> signs) {
  const auto found = std::ranges::find_if(
      signs, [&](const Sign& sign) { return text.find(sign.part) != std::string_view::npos; });
  return found == signs.end() ? "" : found->title;
}

MadeFor made_for_foreign(std::string_view title) {
  return {.name = title, .title = title, .by_metadata = true};
}

MadeFor metadata_say(const safetensors::Metadata& metadata, Families families) {
  for (const std::string_view key : kMetadataKeys) {
    const auto found = metadata.find(std::string(key));
    if (found == metadata.end()) continue;
    const std::string value = letters_and_digits(found->second);
    if (const auto title = find_sign(value, kDerived); !title.empty()) {
      return made_for_foreign(title);
    }
    for (const Family* family : families) {
      if (has_any(value, family->metadata)) return {family->name, family->title, true};
    }
    if (const auto title = find_sign(value, kForeign); !title.empty()) {
      return made_for_foreign(title);
    }
  }
  return {};
}

using Parts = std::span<const std::string_view> Family::*;

std::vector<const Family*> named_by(
    std::span<const std::string> flat_names, Families families, Parts parts) {
  std::vector<const Family*> named;
  for (const Family* family : families) {
    const bool is_named = std::ranges::any_of(
        flat_names, [&](std::string_view name) { return has_any(name, family->*parts); });
    if (is_named) named.push_back(family);
  }
  return named;
}

// Null if the names are of none, or of several.
const Family* names_say(std::span<const std::string> flat_names, Families families) {
  std::vector<const Family*> named = named_by(flat_names, families, &Family::own_names);
  if (named.empty()) named = named_by(flat_names, families, &Family::weak_names);
  return named.size() == 1 ? named.front() : nullptr;
}

}  // namespace

MadeFor made_for(
    const safetensors::Metadata& metadata, std::span<const Module> modules, Families families) {
  if (const MadeFor said = metadata_say(metadata, families); !said.name.empty()) return said;
  std::vector<std::string> flat_names;
  for (const Module& module : modules) {
    if (module.place.component == "transformer") flat_names.push_back(flatten(module.name));
  }
  const Family* family = names_say(flat_names, families);
  return family == nullptr ? MadeFor{} : MadeFor{.name = family->name, .title = family->title};
}

std::string_view lookalike(std::string_view module, Families families, const Family* model) {
  const std::string flat = flatten(module);
  if (const auto title = find_sign(flat, kLookalikes); !title.empty()) return title;
  const Family* family = names_say({&flat, 1}, families);
  return family == nullptr || family == model ? "" : family->title;
}

}  // namespace mflux::lora

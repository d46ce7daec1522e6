// SPDX-License-Identifier: MIT
#include "mflux/lora/family.h"

#include <algorithm>
#include <array>
#include <span>
#include <string>

#include "mflux/lora/names.h"

namespace mflux::lora {
namespace {

struct Sign {
  std::string_view part;
  std::string_view family;
};

constexpr std::array<std::string_view, 2> kMetadataKeys = {
    "ss_base_model_version", "modelspec.architecture"};

// Parts of their values, in lower case, letters and digits only. The first that is found counts.
constexpr std::array kMetadataSigns = {
    Sign{"flux2", "FLUX.2"},
    Sign{"chroma", "Chroma"},
    Sign{"flux1", "flux"},
    Sign{"qwenimage", "qwen"},
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

// Parts of flat module names that the other family does not have.
constexpr std::array<std::string_view, 12> kFluxNames = {
    "single_",
    "double_blocks",
    "ff_net",
    "ff_context",
    "norm1_linear",
    "context_embedder",
    "x_embedder",
    "guidance",
    "proj_mlp",
    "final_layer",
    "time_in",
    "vector_in"};
constexpr std::array<std::string_view, 5> kQwenNames = {
    "img_mod_1", "txt_mod_1", "txt_norm", "img_mlp_net", "txt_mlp_net"};
constexpr std::array<std::string_view, 2> kInputNames = {"img_in", "txt_in"};

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

}  // namespace

std::string_view metadata_family(const safetensors::Metadata& metadata) {
  for (const std::string_view key : kMetadataKeys) {
    const auto found = metadata.find(std::string(key));
    if (found == metadata.end()) continue;
    const std::string value = letters_and_digits(found->second);
    for (const Sign& sign : kMetadataSigns) {
      if (value.find(sign.part) != std::string::npos) return sign.family;
    }
  }
  return "";
}

std::string_view family_title(std::string_view family) {
  if (family == "flux") return "FLUX.1";
  if (family == "qwen") return "Qwen-Image";
  return family;
}

void NameEvidence::add(std::string_view module) {
  const std::string flat = flatten(module);
  flux_ = flux_ || has_any(flat, kFluxNames);
  qwen_ = qwen_ || has_any(flat, kQwenNames);
  inputs_ = inputs_ || has_any(flat, kInputNames);
}

std::string_view NameEvidence::family() const {
  if (flux_) return qwen_ ? "" : "flux";
  return qwen_ || inputs_ ? "qwen" : "";
}

std::string_view lookalike(std::string_view module, std::string_view family) {
  const std::string flat = flatten(module);
  for (const Sign& sign : kLookalikes) {
    if (flat.find(sign.part) != std::string::npos) return sign.family;
  }
  NameEvidence evidence;
  evidence.add(module);
  return evidence.family() == family ? "" : family_title(evidence.family());
}

}  // namespace mflux::lora

// SPDX-License-Identifier: MIT
// Metadata that only one trainer writes count first, then what metadata name a program as, then
// keys in a style of one.
#include "mflux/lora/trainer.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "mflux/base/json.h"

namespace mflux::lora {
namespace {

using safetensors::Metadata;

// A metadata key that only one trainer writes.
struct MetadataSign {
  std::string_view key;
  std::string_view trainer;
};
constexpr std::array kMetadataSigns = {
    MetadataSign{"training_info", "ai-toolkit"},
    MetadataSign{"ot_revision", "OneTrainer"},
    MetadataSign{"ot_branch", "OneTrainer"},
    MetadataSign{"ot_config", "OneTrainer"},
};

// Modules of ss_network_module that one of the projects with kohya's metadata has alone.
struct ModuleSign {
  std::string_view part;
  std::string_view trainer;
};
constexpr std::array kModuleSigns = {
    ModuleSign{"lora_qwen_image", "musubi-tuner"},
    ModuleSign{"lora_flux_kontext", "musubi-tuner"},
    ModuleSign{"lora_flux_2", "musubi-tuner"},
    ModuleSign{"lora_wan", "musubi-tuner"},
    ModuleSign{"lora_zimage", "musubi-tuner"},
    ModuleSign{"lora_framepack", "musubi-tuner"},
    ModuleSign{"loha", "musubi-tuner"},
    ModuleSign{"lokr", "musubi-tuner"},
};

// Both parts are in one key. The first that fits counts.
struct KeySign {
  std::string_view part;
  std::string_view with;
  std::string_view trainer;
};
constexpr std::array kKeySigns = {
    KeySign{".processor.", "_lora", "x-flux (XLabs) or a tool with its names"},
    KeySign{"bundle_emb.", "", "OneTrainer"},
    KeySign{"lora_transformer_", "", "OneTrainer, or an early ai-toolkit"},
    KeySign{".lora_A.default.", "", "DiffSynth-Studio, or PEFT's raw state"},
    KeySign{"pipe.dit.", "", "DiffSynth-Studio"},
    KeySign{"lightx2v", "", "Qwen-Image-Lightning (LightX2V)"},
    KeySign{"base_model.model.double_blocks.", "", "fal's Kontext trainer"},
    KeySign{"base_model.model.", "lora_A", "PEFT"},
    KeySign{"oft_unet_", "", "kohya's scripts (OFT)"},
    KeySign{"lycoris_", "", "LyCORIS"},
    KeySign{"lora_unet_", ".hada_", "LyCORIS, or musubi-tuner"},
    KeySign{"lora_unet_", ".lokr_", "LyCORIS, or musubi-tuner"},
    KeySign{"lora_unet_transformer_blocks_", ".lora_down", "musubi-tuner"},
    KeySign{"lora_te3_", "", "kohya's scripts"},
    KeySign{"lora_unet_double_blocks_", ".lora_down", "kohya's scripts or a tool with their names"},
    KeySign{"lora_unet_single_blocks_", ".lora_down", "kohya's scripts or a tool with their names"},
    KeySign{"norm.query_norm.scale", "", "Black Forest Labs (a control LoRA)"},
    KeySign{"diffusion_model.", ".set_weight", "ComfyUI"},
    KeySign{"diffusion_model.", ".diff", "ComfyUI"},
    KeySign{".lora_linear_layer.", "", "an early diffusers"},
};

std::string value(const Metadata& metadata, const std::string& key) {
  const auto found = metadata.find(key);
  return found == metadata.end() ? "" : found->second;
}

// Plain text, or JSON with a name and perhaps a version.
std::string software_name(const std::string& software) {
  constexpr size_t kMost = 10'000;  // bytes; a name is not longer
  if (software.size() > kMost) return "";
  const std::optional<nlohmann::json> json = find_json(software);
  if (!json || !json->is_object()) return software;
  const auto name = json->find("name");
  return name != json->end() && name->is_string() ? name->get<std::string>() : "";
}

std::string kohya_name(const Metadata& metadata) {
  const std::string network = value(metadata, "ss_network_module");
  const auto sign = std::ranges::find_if(kModuleSigns, [&](const ModuleSign& candidate) {
    return network.starts_with("networks.") && network.find(candidate.part) != std::string::npos;
  });
  if (sign != kModuleSigns.end()) return fmt::format("{} ({})", sign->trainer, network);
  if (metadata.contains("ss_sd_scripts_commit_hash")) {
    return network.empty() ? "kohya's scripts" : fmt::format("kohya's scripts ({})", network);
  }
  return network;
}

Trainer by_metadata(const Metadata& metadata) {
  if (std::string name = software_name(value(metadata, "software")); !name.empty()) {
    return {std::move(name), "metadata software"};
  }
  for (const MetadataSign& sign : kMetadataSigns) {
    if (metadata.contains(std::string(sign.key))) {
      return {std::string(sign.trainer), fmt::format("metadata {}", sign.key)};
    }
  }
  if (std::string name = kohya_name(metadata); !name.empty()) {
    return {std::move(name), "metadata ss_network_module"};
  }
  if (metadata.contains("lora_adapter_metadata")) {
    return {"diffusers / PEFT", "metadata lora_adapter_metadata"};
  }
  return {};
}

bool has_key(const safetensors::Header& header, const KeySign& sign) {
  return std::ranges::any_of(header.tensors, [&](const safetensors::TensorInfo& info) {
    return info.name.find(sign.part) != std::string::npos &&
           info.name.find(sign.with) != std::string::npos;
  });
}

}  // namespace

Trainer trainer_of(const safetensors::Header& header) {
  if (Trainer trainer = by_metadata(header.metadata); !trainer.name.empty()) return trainer;
  for (const KeySign& sign : kKeySigns) {
    if (has_key(header, sign)) return {std::string(sign.trainer), "key style"};
  }
  return {};
}

}  // namespace mflux::lora

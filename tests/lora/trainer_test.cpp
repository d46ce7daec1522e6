// SPDX-License-Identifier: MIT
#include "mflux/lora/trainer.h"

#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

namespace mflux::lora {
namespace {

Trainer by_metadata(safetensors::Metadata metadata) {
  safetensors::Header header;
  header.metadata = std::move(metadata);
  return trainer_of(header);
}

Trainer by_key(std::string key) {
  safetensors::Header header;
  header.tensors.emplace_back().name = std::move(key);
  return trainer_of(header);
}

TEST_CASE("metadata that only one trainer writes tell it, and say which") {
  const std::vector<std::pair<safetensors::Metadata, std::string>> cases = {
      {{{"training_info", "{}"}}, "ai-toolkit"},
      {{{"ot_config", "{}"}}, "OneTrainer"},
      {{{"ss_network_module", "networks.lora_qwen_image"}}, "musubi-tuner"},
      {{{"ss_network_module", "networks.lora_flux"}, {"ss_sd_scripts_commit_hash", "x"}},
       "kohya's scripts (networks.lora_flux)"},
  };
  for (const auto& [metadata, trainer] : cases) {
    CAPTURE(trainer);
    CHECK(by_metadata(metadata).name.starts_with(trainer));
    CHECK(by_metadata(metadata).by.starts_with("metadata "));
  }
  CHECK(by_metadata({{"format", "pt"}}).name == "");
  CHECK(by_metadata({{"software", "{}"}}).name == "");
}

TEST_CASE("without metadata the style of the keys tells, if it is anyone's own") {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"double_blocks.0.processor.qkv_lora1.down.weight", "x-flux"},
      {"lora_unet_transformer_blocks_0_attn_to_q.lora_down.weight", "musubi-tuner"},
      {"lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight", "kohya's scripts"},
      {"lora_te3_encoder_block_0_layer_0_SelfAttention_q.lora_down.weight", "kohya's scripts"},
      {"lora_unet_double_blocks_0_img_attn_qkv.lokr_w1", "LyCORIS"},
      {"transformer_blocks.0.attn.to_q.lora_A.default.weight", "DiffSynth-Studio"},
      {"base_model.model.double_blocks.0.img_attn.qkv.lora_A.weight", "fal's"},
      {"base_model.model.transformer_blocks.0.attn.to_q.lora_A.weight", "PEFT"},
      {"lora_transformer_x_embedder.lora_down.weight", "OneTrainer"},
      {"transformer.x_embedder.lora_A.weight", ""},
  };
  for (const auto& [key, trainer] : cases) {
    CAPTURE(key);
    const Trainer found = by_key(key);
    CHECK(found.name.starts_with(trainer));
    CHECK(found.name.empty() == trainer.empty());
    CHECK(found.by == (trainer.empty() ? "" : "key style"));
  }
}

}  // namespace
}  // namespace mflux::lora

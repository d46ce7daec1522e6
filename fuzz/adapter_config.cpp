// SPDX-License-Identifier: MIT
// PEFT's adapter_config.json, as a file and in the metadata of a LoRA.
#include "mflux/lora/adapter_config.h"

#include "fuzz/input.h"

namespace mflux::fuzz {
namespace {

void look_up(const lora::ParsedConfig& parsed) {
  constexpr std::string_view kComponents[] = {"transformer", "text_encoder"};
  constexpr std::string_view kModules[] = {
      "transformer_blocks.0.attn.to_q", "single_transformer_blocks.37.proj_mlp", "x_embedder", "a"};
  std::vector<std::pair<std::string, std::string>> layers;
  for (const std::string_view component : kComponents) {
    for (const std::string_view module : kModules) {
      parsed.config.find(component, module);
      layers.emplace_back(component, module);
    }
    parsed.config.find_oft(component);
  }
  parsed.config.unused_alphas(layers);
  parsed.config.changed_base();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(text_of(data, size));
  refusable([&] { look_up(lora::parse_adapter_config(text)); });
  refusable([&] { look_up(lora::metadata_config({{"lora_adapter_metadata", text}})); });
  refusable(
      [&] { look_up(lora::metadata_config({{"lora_alpha", text}, {"transformer.r", text}})); });
  return 0;
}

}  // namespace mflux::fuzz

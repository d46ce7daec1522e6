// SPDX-License-Identifier: MIT
#include "mflux/lora/adapter_metadata.h"

#include <doctest/doctest.h>

#include "mflux/lora/adapter_config.h"

namespace mflux::lora {
namespace {

TEST_CASE("the metadata say again what they were made of, each layer for itself") {
  const std::map<std::string, AdapterComponent> components = {
      {"transformer",
       {.layers =
            {{"proj_out", 4, 2.5},
             {"single_transformer_blocks.0.proj_out", 8, 8},
             {"transformer_blocks.0.attn.to_q", 8, 8},
             {"transformer_blocks.10.attn.to_q", 8, 1}}}},
      {"text_encoder", {.layers = {{"encoder.layers.0.mlp.fc1", 2, 1}}, .has_bias = true}}};
  const ParsedConfig parsed = parse_adapter_config(format_adapter_metadata(components));
  CHECK(parsed.error == "");
  for (const auto& [component, adapter] : components) {
    for (const AdapterLayer& layer : adapter.layers) {
      CAPTURE(layer.module);
      const auto found = parsed.config.find(component, layer.module);
      REQUIRE(found);
      CHECK(found->alpha == layer.alpha);
      CHECK(found->rank == layer.rank);
      CHECK_FALSE(found->rank_stabilized);
    }
  }
}

TEST_CASE("CLIP's layers are found with and without text_model") {
  const std::map<std::string, AdapterComponent> components = {
      {"text_encoder",
       {.layers = {{"encoder.layers.0.mlp.fc1", 2, 1}, {"encoder.layers.1.mlp.fc1", 4, 3}}}}};
  const ParsedConfig parsed = parse_adapter_config(format_adapter_metadata(components));
  const auto found = parsed.config.find("text_encoder", "text_model.encoder.layers.1.mlp.fc1");
  REQUIRE(found);
  CHECK(found->alpha == 3);
}

}  // namespace
}  // namespace mflux::lora

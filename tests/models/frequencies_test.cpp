// SPDX-License-Identifier: MIT
#include "mflux/models/frequencies.h"

#include <cmath>
#include <string>

#include <doctest/doctest.h>

#include "tests/models/headers.h"

namespace mflux::models::testing {
namespace {

MappedComponent mapped(
    const std::string& config, const char* variant = "qwen", Naming output = Naming::mflux) {
  SourceComponent source = load_component("qwen-image.txt", "text_encoder");
  source.config = config;
  return map_component(family(variant), source, Naming::diffusers, output);
}

size_t computed(const MappedComponent& component) {
  return static_cast<size_t>(std::ranges::count_if(
      component.tensors, [](const MappedTensor& tensor) { return !tensor.values.empty(); }));
}

constexpr const char* kConfig = R"({"hidden_size": 3584, "num_attention_heads": 28,
  "vision_config": {"hidden_size": 1280, "num_heads": 16}})";

TEST_CASE("mflux's naming of Qwen2.5-VL has a set of rotary frequencies per layer and one more") {
  CHECK(computed(mapped(kConfig)) == 29);
  CHECK(computed(mapped(kConfig, "qwen-edit")) == 30);
  CHECK(computed(mapped(kConfig, "qwen", Naming::diffusers)) == 0);
}

TEST_CASE("rotary frequencies are 1 / base^(2i / head width) in float32") {
  const MappedComponent result = mapped(kConfig, "qwen-edit");
  const MappedTensor& text =
      mapped_named(result, "encoder.layers.27.self_attn.rotary_emb.inv_freq");
  CHECK(text.dtype == Dtype::f32);
  CHECK(text.shape == Shape{64});
  REQUIRE(text.values.size() == 64);
  CHECK(text.values[0] == 1.0F);
  CHECK(text.values[32] == 0.001F);
  CHECK(text.values[63] == doctest::Approx(1 / std::pow(1e6, 126.0 / 128)).epsilon(1e-6));
  const MappedTensor& vision = mapped_named(result, "encoder.visual.rotary_pos_emb.inv_freq");
  REQUIRE(vision.values.size() == 20);  // 1280 / 16 / 2 rotated, in pairs
  CHECK(vision.values[10] == 0.01F);
}

TEST_CASE("config.json says the base of rotary frequencies wherever it keeps it") {
  for (
      const char* config :
      {R"({"hidden_size": 3584, "num_attention_heads": 896, "rope_theta": 100.0})",
       R"({"hidden_size": 3584, "num_attention_heads": 896, "rope_parameters": {"rope_theta": 100}})",
       R"({"text_config": {"hidden_size": 3584, "num_attention_heads": 896, "rope_theta": 100.0}})"}) {
    CAPTURE(config);
    const MappedComponent result = mapped(config);
    CHECK(mapped_named(result, "encoder.rotary_emb.inv_freq").values == std::vector{1.0F, 0.1F});
  }
}

TEST_CASE("without the width of a head in config.json a stored tensor tells it") {
  CHECK(computed(mapped("")) == 0);
  CHECK(computed(mapped(R"({"hidden_size": 3584})")) == 0);
  CHECK_THROWS(mapped(R"({"hidden_size": 3584, "num_attention_heads": 0})"));
  const SourceComponent saved = load_component("mflux-qwen-image-bf16.txt", "text_encoder");
  const MappedComponent again = map_component(family("qwen"), saved, Naming::mflux, Naming::mflux);
  CHECK(computed(again) == 29);
  CHECK(again.left_out.empty());
  CHECK(mapped_named(again, "encoder.rotary_emb.inv_freq").values.size() == 64);
}

}  // namespace
}  // namespace mflux::models::testing

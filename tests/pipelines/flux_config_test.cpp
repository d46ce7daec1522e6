// SPDX-License-Identifier: MIT
#include <array>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "mflux/base/error.h"
#include "mflux/checkpoint/checkpoint.h"
#include "mflux/nn/weights.h"
#include "mflux/pipelines/flux/clip.h"
#include "mflux/pipelines/flux/config.h"
#include "mflux/pipelines/flux/t5.h"
#include "tests/testing.h"
#include "tests/tiny_model.h"

namespace mflux {
namespace {

using pipelines::flux::Activation;
using pipelines::flux::clip_config;
using pipelines::flux::t5_config;
using pipelines::flux::transformer_config;
using pipelines::flux::vae_config;

struct Model {
  explicit Model(std::string_view name = "flux") : path(folder / name) {
    testing::write_tiny_model(path, testing::TinyFamily::flux);
  }

  nn::Weights weights(std::string_view component) const {
    return nn::load_weights(open_checkpoint(path, "flux"), component, {});
  }
  // With an empty text the file goes away.
  nn::Weights weights(std::string_view component, std::string_view config) const {
    const std::filesystem::path file = path / component / "config.json";
    if (config.empty()) {
      std::filesystem::remove(file);
    } else {
      testing::write_file(file, config);
    }
    return weights(component);
  }

  testing::TempDir folder = {};
  std::filesystem::path path;
};

TEST_CASE("without config.json the shapes and the published models decide") {
  const Model model;
  const auto clip = clip_config(model.weights("text_encoder", ""));
  CHECK(clip.heads == 1);  // 64 wide
  CHECK(clip.positions == 77);
  CHECK(clip.activation == Activation::quick_gelu);
  const auto t5 = t5_config(model.weights("text_encoder_2", ""));
  CHECK(t5.heads == 64);
  CHECK(t5.max_distance == 128);
  CHECK(t5.activation == Activation::gelu_tanh);
  const auto transformer = transformer_config(model.weights("transformer", ""));
  CHECK(transformer.heads == 2);
  CHECK(transformer.head_width == 64);
  CHECK(transformer.rope_axes == std::array{8, 28, 28});
  CHECK(transformer.channels == 64);
  CHECK(transformer.guidance);
}

TEST_CASE("config.json decides what shapes do not tell") {
  const Model model;
  const auto clip = clip_config(model.weights(
      "text_encoder",
      R"({"text_config": {"num_attention_heads": 2, "hidden_act": "gelu", "layer_norm_eps": 1e-3}})"));
  CHECK(clip.heads == 2);
  CHECK(clip.activation == Activation::gelu);
  CHECK(clip.eps == 1e-3F);
  const auto t5 = t5_config(model.weights(
      "text_encoder_2",
      R"({"feed_forward_proj": "gated-silu", "relative_attention_max_distance": 64})"));
  CHECK(t5.activation == Activation::silu);
  CHECK(t5.max_distance == 64);
  CHECK(transformer_config(model.weights("transformer")).rope_axes == std::array{16, 24, 24});
  const auto vae = vae_config(
      model.weights("vae", R"({"shift_factor": 0.5, "scaling_factor": 2, "norm_num_groups": 4})"));
  CHECK(vae.shift == 0.5F);
  CHECK(vae.scale == 2);
  CHECK(vae.groups == 4);
}

TEST_CASE("a config.json that does not fit is an error naming it") {
  struct Case {
    const char* component;
    const char* config;
    const char* message;
  };
  const std::array cases = {
      Case{"vae", "[1]", "vae/config.json is not a JSON object"},
      Case{
          "text_encoder",
          R"({"num_attention_heads": 3})",
          "text_encoder/config.json: num_attention_heads is 3, expected a divisor of 64: "
          "'text_model.encoder.layers.0.self_attn.q_proj.weight' has shape (64, 64)"},
      Case{
          "text_encoder",
          R"({"num_attention_heads": 0})",
          "text_encoder/config.json: num_attention_heads is 0, expected a divisor of 64: "
          "'text_model.encoder.layers.0.self_attn.q_proj.weight' has shape (64, 64)"},
      Case{
          "text_encoder",
          R"({"hidden_act": "relu"})",
          "text_encoder/config.json: hidden_act is \"relu\", expected one of: quick_gelu gelu "
          "gelu_new "
          "gelu_pytorch_tanh silu gated-gelu gated-silu"},
      Case{
          "text_encoder",
          R"({"hidden_act": 1})",
          "text_encoder/config.json: hidden_act is 1, expected one of: quick_gelu gelu gelu_new "
          "gelu_pytorch_tanh silu gated-gelu gated-silu"},
      Case{
          "text_encoder_2",
          R"({"layer_norm_epsilon": "small"})",
          "text_encoder_2/config.json: layer_norm_epsilon is \"small\", expected a number"},
      Case{
          "transformer",
          R"({"axes_dims_rope": [16, 56, 56]})",
          "transformer/config.json: axes_dims_rope is [16,56,56], expected three even numbers "
          "whose "
          "sum is 64: 'transformer_blocks.0.attn.norm_q.weight' has shape (64)"},
      Case{
          "transformer",
          R"({"axes_dims_rope": [16, 48]})",
          "transformer/config.json: axes_dims_rope is [16,48], expected three even numbers whose "
          "sum is 64: 'transformer_blocks.0.attn.norm_q.weight' has shape (64)"},
      Case{
          "vae",
          R"({"norm_num_groups": 32})",
          "vae/config.json: norm_num_groups is 32, expected a divisor of 16: "
          "'encoder.down_blocks.0.resnets.0.norm1.weight' has shape (16)"},
  };
  const Model model;
  for (const Case& test : cases) {
    CAPTURE(test.message);
    const std::string_view component = test.component;
    CHECK_THROWS_WITH(
        [&] {
          const nn::Weights weights = model.weights(component, test.config);
          if (component == "text_encoder") clip_config(weights);
          if (component == "text_encoder_2") t5_config(weights);
          if (component == "transformer") transformer_config(weights);
          if (component == "vae") vae_config(weights);
        }(),
        test.message);
  }
}

TEST_CASE("texts of no or of too many tokens are errors") {
  const Model model;
  const auto clip = pipelines::flux::load_clip(model.weights("text_encoder"));
  CHECK_THROWS_WITH(encode(clip, {}), "text_encoder: 0 tokens, expected 1 to 77");
  CHECK_THROWS_WITH(
      encode(clip, std::vector<int32_t>(78, 1)), "text_encoder: 78 tokens, expected 1 to 77");
  const auto t5 = pipelines::flux::load_t5(model.weights("text_encoder_2"));
  CHECK_THROWS_WITH(encode(t5, {}), "text_encoder_2: no tokens");
}

}  // namespace
}  // namespace mflux

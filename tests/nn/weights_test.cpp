// SPDX-License-Identifier: MIT
#include "mflux/nn/weights.h"

#include <doctest/doctest.h>
#include <mlx/mlx.h>

#include "mflux/nn/ops.h"
#include "tests/checkpoints.h"
#include "tests/testing.h"
#include "tests/tiny_model.h"

namespace mflux {
namespace {

using nn::load_weights;
using nn::Weights;

float largest_difference(const mx::array& a, const mx::array& b) {
  return mx::max(mx::abs(mx::subtract(a, b))).item<float>();
}

TEST_CASE("weights have mflux's names whatever the source's naming") {
  const testing::TempDir folder;
  testing::write_tiny_model(folder / "flux", testing::TinyFamily::flux);
  const Checkpoint model = open_checkpoint(folder / "flux");
  const Weights weights = load_weights(model, "transformer", {});
  CHECK(weights.has("transformer_blocks.0.ff.linear1.weight"));
  CHECK(weights.blocks("transformer_blocks.") == 2);
  CHECK(weights.blocks("single_transformer_blocks.") == 2);
  const nn::Linear layer = weights.linear("transformer_blocks.0.ff.linear1");
  CHECK(layer.bias.has_value());
  CHECK(layer.weight.dtype() == mx::bfloat16);
  CHECK_THROWS_WITH(
      weights.linear("transformer_blocks.9.ff.linear1"),
      "transformer: has no tensor 'transformer_blocks.9.ff.linear1.weight'");
}

TEST_CASE("a layer packed while loading gives nearly the same output") {
  const testing::TempDir folder;
  testing::write_tiny_model(folder / "flux", testing::TinyFamily::flux);
  const Checkpoint model = open_checkpoint(folder / "flux");
  const char* name = "transformer_blocks.1.attn.to_q";
  const nn::Linear plain = load_weights(model, "transformer", {}).linear(name);
  const nn::Linear packed =
      load_weights(model, "transformer", {.quantize = QuantFormat{}}).linear(name);
  REQUIRE(packed.format == QuantFormat{});
  CHECK(packed.inputs() == plain.inputs());
  const mx::array x = mx::random::normal({1, 3, plain.inputs()});
  const mx::array expected = nn::linear(x, plain);
  const float error = largest_difference(nn::linear(x, packed), expected);
  CHECK(error > 0);
  CHECK(error < 0.02F * mx::max(mx::abs(expected)).item<float>());
  const std::vector<mx::array> by_mlx = mx::quantize(plain.weight, 64, 8);
  CHECK(mx::array_equal(by_mlx[0], packed.weight).item<bool>());
  CHECK(mx::array_equal(by_mlx[1], *packed.scales).item<bool>());
}

TEST_CASE("products in bfloat16 are for weights that are bfloat16 or packed") {
  const testing::TempDir folder;
  for (const Dtype dtype : {Dtype::bf16, Dtype::f32, Dtype::f16}) {
    models::SourceComponent source = testing::tiny_flux();
    for (auto& tensor : source.tensors) tensor.spec.dtype = dtype;
    const auto file = folder / std::string(dtype_name(dtype)) / "transformer/model.safetensors";
    testing::write_zeros(file, source);
    const Checkpoint model = open_checkpoint(file.parent_path().parent_path());
    for (const auto& format : {std::optional<QuantFormat>(), std::optional(QuantFormat{})}) {
      const nn::LoadOptions options{.quantize = format, .products = nn::Products::bfloat16};
      const nn::Linear layer =
          load_weights(model, "transformer", options).linear("transformer_blocks.1.attn.to_q");
      const bool expected = format || dtype == Dtype::bf16;
      CHECK((layer.products == nn::Products::bfloat16) == expected);
    }
  }
}

TEST_CASE("convolutions come with channels last") {
  const testing::TempDir folder;
  testing::write_tiny_model(folder / "flux", testing::TinyFamily::flux);
  const Checkpoint model = open_checkpoint(folder / "flux");
  const nn::Conv conv = load_weights(model, "vae", {}).conv("decoder.conv_in.conv2d");
  CHECK(conv.weight.shape(1) == 3);
  CHECK(conv.weight.shape(2) == 3);
  CHECK(conv.weight.shape(0) == conv.bias.value().shape(0));
}

TEST_CASE("weights are the file's own bytes, and outlive what they were loaded from") {
  const testing::TempDir folder;
  testing::write_tiny_model(folder / "flux", testing::TinyFamily::flux);
  std::optional<mx::array> sum;
  {
    const Checkpoint model = open_checkpoint(folder / "flux");
    const Weights weights = load_weights(model, "transformer", {});
    sum = mx::sum(mx::astype(weights.tensor("proj_out.weight"), mx::float32));
    CHECK(mx::get_active_memory() < weights.bytes());
  }
  CHECK(sum->item<float>() != 0);
}

}  // namespace
}  // namespace mflux

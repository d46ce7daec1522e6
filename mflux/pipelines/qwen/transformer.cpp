// SPDX-License-Identifier: MIT
// The blocks are those of pipelines/double_block.h. What is Qwen-Image's own: where tokens stand,
// and arithmetic in float32 wherever the reference rounds to it, since that shows in the fifth
// digit.
#include "mflux/pipelines/qwen/transformer.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <mlx/mlx.h>

#include "mflux/nn/ops.h"

namespace mflux::pipelines::qwen {
namespace {

Stream load_stream(const nn::Weights& weights, const std::string& block, bool is_text) {
  const auto linear = [&](std::string_view name) {
    return weights.linear(fmt::format("{}{}", block, name));
  };
  return {
      .modulation = linear(is_text ? "txt_mod_linear" : "img_mod_linear"),
      .attention = load_projections(weights, block, is_text),
      .out = linear(is_text ? "attn.to_add_out" : "attn.attn_to_out.0"),
      .feed_forward_1 = linear(is_text ? "txt_ff.mlp_in" : "img_ff.mlp_in"),
      .feed_forward_2 = linear(is_text ? "txt_ff.mlp_out" : "img_ff.mlp_out")};
}

std::pair<float, float> turn(int position, int channel, int channels) {
  constexpr double kBase = 10'000;
  const float exponent = static_cast<float>(channel) / static_cast<float>(channels);
  const auto frequency = static_cast<float>(1.0 / std::pow(kBase, double{exponent}));
  const float angle = static_cast<float>(position) * frequency;
  return {std::cos(angle), std::sin(angle)};
}

// The sinusoid of sigma * 1000 through two layers, then the SiLU with which every modulation
// begins: [1, width]. The reference rounds sigma * frequency to float32 before it multiplies by
// 1000; nn::timestep_embedding() multiplies first.
mx::array time_embedding(const Transformer& transformer, float sigma) {
  const int half = transformer.time_1.inputs() / 2;
  std::vector<float> waves(2 * static_cast<size_t>(half));
  for (int i = 0; i < half; ++i) {
    const float exponent = static_cast<float>(-std::log(10'000.0)) * static_cast<float>(i);
    const float frequency = std::exp(exponent / static_cast<float>(half));
    const float angle = 1000.0F * (sigma * frequency);
    waves[static_cast<size_t>(i)] = std::cos(angle);
    waves[static_cast<size_t>(half + i)] = std::sin(angle);
  }
  const mx::array features(waves.begin(), {1, 2 * half}, mx::float32);
  const mx::array inner = nn::silu(nn::linear(features, transformer.time_1));
  return nn::silu(nn::linear(inner, transformer.time_2));
}

}  // namespace

Transformer load_transformer(const nn::Weights& weights) {
  Transformer transformer{
      .config = transformer_config(weights),
      .image_in = weights.linear("img_in"),
      .text_norm = weights.tensor("txt_norm.weight"),
      .text_in = weights.linear("txt_in"),
      .time_1 = weights.linear("time_text_embed.timestep_embedder.linear_1"),
      .time_2 = weights.linear("time_text_embed.timestep_embedder.linear_2"),
      .modulation_out = weights.linear("norm_out.linear"),
      .out = weights.linear("proj_out"),
  };
  const int count = weights.blocks("transformer_blocks.");
  for (int i = 0; i < count; ++i) {
    const std::string block = fmt::format("transformer_blocks.{}.", i);
    transformer.blocks.push_back(
        {.image = load_stream(weights, block, false), .text = load_stream(weights, block, true)});
  }
  return transformer;
}

std::vector<Position> image_positions(std::span<const Grid> pictures) {
  std::vector<Position> positions;
  for (size_t frame = 0; frame < pictures.size(); ++frame) {
    const auto [height, width] = pictures[frame];
    const int up = height - height / 2;
    const int left = width - width / 2;
    for (int row = 0; row < height; ++row) {
      for (int column = 0; column < width; ++column) {
        positions.push_back({static_cast<int>(frame), row - up, column - left});
      }
    }
  }
  return positions;
}

int first_text_position(std::span<const Grid> pictures) {
  int first = 0;
  for (const auto& [height, width] : pictures) first = std::max({first, height / 2, width / 2});
  return first;
}

Rotation rotation(
    std::span<const Grid> pictures, int text_tokens, const TransformerConfig& config) {
  std::vector<Position> positions;
  const int first = first_text_position(pictures);
  for (int i = first; i < first + text_tokens; ++i) positions.push_back({i, i, i});
  const std::vector<Position> of_pictures = image_positions(pictures);
  positions.insert(positions.end(), of_pictures.begin(), of_pictures.end());
  return pipelines::rotation(positions, config.rope_axes, turn);
}

mx::array velocity(
    const Transformer& transformer, const TransformerInput& input, bool block_by_block) {
  const mx::array normed = nn::rms_norm(input.text, transformer.text_norm, kBlockEps);
  Sequences both{
      nn::linear(normed, transformer.text_in), nn::linear(input.tokens, transformer.image_in)};
  const int all = both.image.shape(1);
  const mx::array time = time_embedding(transformer, input.sigma);
  std::vector<ConditionedPart> image = {{all, time}};
  if (transformer.config.zero_cond_t && input.picture_tokens < all) {
    image = {{input.picture_tokens, time}, {all, time_embedding(transformer, 0)}};
  }
  for (const DoubleBlock& block : transformer.blocks) {
    both = run(block, both, image, input.rotation, transformer.config.heads);
    if (block_by_block) mx::eval(both.text, both.image);
  }
  const auto last = modulations(time, transformer.modulation_out, 2);  // scale, shift
  return nn::linear(
      nn::modulated_layer_norm(both.image, last[0], last[1], kBlockEps), transformer.out);
}

mx::array guided(const mx::array& positive, const mx::array& negative, float guidance) {
  const auto length = [](const mx::array& x) {
    const mx::array square = mx::sum(mx::multiply(x, x), -1, true);
    return mx::sqrt(mx::add(square, mx::array(1e-12F)));
  };
  const mx::array difference = mx::subtract(positive, negative);
  const mx::array combined = mx::add(negative, mx::multiply(mx::array(guidance), difference));
  return mx::multiply(combined, mx::divide(length(positive), length(combined)));
}

}  // namespace mflux::pipelines::qwen

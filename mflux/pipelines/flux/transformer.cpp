// SPDX-License-Identifier: MIT
// Time, guidance and the pooled prompt are summed up to one condition, which modulates every block.
// Double blocks come first; then text and picture are one sequence for the single blocks, whose
// attention and feed-forward read the same input. Only the picture's tokens reach the last layer.
#include "mflux/pipelines/flux/transformer.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include <mlx/mlx.h>

#include "mflux/base/error.h"
#include "mflux/nn/ops.h"
#include "mflux/pipelines/attend.h"

namespace mflux::pipelines::flux {
namespace {

constexpr int kTimeWidth = 256;  // of the sinusoids

mx::array run(
    const SingleBlock& block,
    const mx::array& x,
    const mx::array& condition,
    const Rotation& rotation,
    int heads) {
  const auto modulation = modulations(condition, block.modulation, 3);  // shift, scale, gate
  const mx::array normed = nn::modulated_layer_norm(x, modulation[1], modulation[0], kBlockEps);
  const mx::array seen = attended(block.attention, normed, rotation, heads);
  const mx::array inner = nn::gelu_tanh(nn::linear(normed, block.feed_forward));
  const mx::array y = nn::linear(nn::join_channels({seen, inner}), block.out);
  return nn::gated_add(x, modulation[2], y);
}

mx::array run(const Embedder& embedder, const mx::array& x) {
  return nn::linear(nn::silu(nn::linear(x, embedder.first)), embedder.second);
}

// [1, hidden], through the SiLU with which every modulation begins.
mx::array condition_of(const Transformer& transformer, const TransformerInput& input) {
  const auto sinusoids = [](float value) {
    return nn::timestep_embedding(mx::full({1}, value, mx::float32), kTimeWidth);
  };
  mx::array sum = run(transformer.time, sinusoids(input.timestep));
  if (transformer.guidance) {
    sum = mx::add(sum, run(*transformer.guidance, sinusoids(input.guidance)));
  }
  return nn::silu(mx::add(sum, run(transformer.pooled, input.pooled)));
}

// In double, rounded at the end.
std::pair<float, float> turn(int position, int channel, int channels) {
  constexpr double kBase = 10'000;
  const double angle = position * std::pow(kBase, -static_cast<double>(channel) / channels);
  return {static_cast<float>(std::cos(angle)), static_cast<float>(std::sin(angle))};
}

void check(const Transformer& transformer, const TransformerInput& input) {
  const int tokens = input.text.shape(1) + input.tokens.shape(1);
  const mx::Shape expected = {tokens, transformer.config.head_width / 2};
  if (input.rotation.cos.shape() != expected) {
    fail(
        "transformer: {} tokens of text and picture, but positions for {}",
        tokens,
        input.rotation.cos.shape(0));
  }
}

}  // namespace

mx::array velocity(
    const Transformer& transformer, const TransformerInput& input, bool block_by_block) {
  check(transformer, input);
  const int heads = transformer.config.heads;
  const mx::array condition = condition_of(transformer, input);
  Sequences both{
      nn::linear(input.text, transformer.text_in), nn::linear(input.tokens, transformer.image_in)};
  const std::vector<ConditionedPart> image = {{both.image.shape(1), condition}};
  for (const DoubleBlock& block : transformer.double_blocks) {
    both = pipelines::run(block, both, image, input.rotation, heads);
    if (block_by_block) mx::eval(both.text, both.image);
  }
  mx::array x = mx::concatenate({both.text, both.image}, 1);
  for (const SingleBlock& block : transformer.single_blocks) {
    x = run(block, x, condition, input.rotation, heads);
    if (block_by_block) mx::eval(x);
  }
  x = tokens_between(x, input.text.shape(1), x.shape(1));
  const auto last = modulations(condition, transformer.modulation_out, 2);  // scale, shift
  return nn::linear(nn::modulated_layer_norm(x, last[0], last[1], kBlockEps), transformer.out);
}

Rotation rotation(const Layout& layout, const TransformerConfig& config) {
  std::vector<Position> positions(static_cast<size_t>(layout.text_tokens), Position{0, 0, 0});
  const auto add_grid = [&](int index, std::pair<int, int> size) {
    for (int row = 0; row < size.first; ++row) {
      for (int column = 0; column < size.second; ++column)
        positions.push_back({index, row, column});
    }
  };
  add_grid(0, layout.image);
  if (layout.reference) add_grid(1, *layout.reference);
  return pipelines::rotation(positions, config.rope_axes, turn);
}

float rounded_to_bfloat16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t to_even = 0x7fff + (bits >> 16 & 1);
  return std::bit_cast<float>((bits + to_even) & 0xffff0000U);
}

}  // namespace mflux::pipelines::flux

// SPDX-License-Identifier: MIT
#include "mflux/pipelines/flux/transformer.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <string>

#include <mlx/mlx.h>

#include "mflux/base/error.h"
#include "mflux/nn/ops.h"
#include "mflux/pipelines/attend.h"

namespace mflux::pipelines::flux {
namespace {

constexpr float kEps = 1e-6F;
constexpr int kTimeWidth = 256;  // of the sinusoids

struct Heads {
  mx::array q;  // [1, heads, tokens, head_width], normed
  mx::array k;
  mx::array v;
  nn::Products products;  // of their attention
};

Heads project(const Projections& layers, const mx::array& x, int heads) {
  return {
      nn::rms_norm(split_heads(nn::linear(x, layers.q), heads), layers.norm_q, kEps),
      nn::rms_norm(split_heads(nn::linear(x, layers.k), heads), layers.norm_k, kEps),
      split_heads(nn::linear(x, layers.v), heads),
      layers.q.products};
}

// [1, tokens, heads * head_width]
mx::array attend(const Heads& heads, const Rotation& rotation) {
  const auto head_width = static_cast<float>(heads.q.shape(-1));
  return join_heads(nn::attention(
      nn::rotate_pairs(heads.q, rotation.cos, rotation.sin),
      nn::rotate_pairs(heads.k, rotation.cos, rotation.sin),
      heads.v,
      1 / std::sqrt(head_width),
      {},
      heads.products));
}

mx::array tokens_between(const mx::array& x, int first, int last) {
  return mx::slice(x, {0, first, 0}, {x.shape(0), last, x.shape(2)});
}

// [1, count * width] -> `count` times [1, 1, width]
std::vector<mx::array> modulations(const mx::array& condition, const nn::Linear& layer, int count) {
  return mx::split(mx::expand_dims(nn::linear(condition, layer), 1), count, -1);
}

// What a stream does after the attention.
mx::array finish(
    const Stream& stream,
    const mx::array& x,
    const mx::array& attended,
    const std::vector<mx::array>& modulation,
    mx::array (*activation)(const mx::array&)) {
  const mx::array y = nn::gated_add(x, modulation[2], nn::linear(attended, stream.out));
  const mx::array normed = nn::modulated_layer_norm(y, modulation[4], modulation[3], kEps);
  const mx::array inner = activation(nn::linear(normed, stream.feed_forward_1));
  return nn::gated_add(y, modulation[5], nn::linear(inner, stream.feed_forward_2));
}

struct Sequences {
  mx::array text;
  mx::array image;
};

Sequences run(
    const DoubleBlock& block,
    const Sequences& x,
    const mx::array& condition,
    const Rotation& rotation,
    int heads) {
  // Shift, scale and gate of the attention, then of the feed-forward.
  const auto image = modulations(condition, block.image.modulation, 6);
  const auto text = modulations(condition, block.text.modulation, 6);
  const Heads of_image = project(
      block.image.attention, nn::modulated_layer_norm(x.image, image[1], image[0], kEps), heads);
  const Heads of_text = project(
      block.text.attention, nn::modulated_layer_norm(x.text, text[1], text[0], kEps), heads);
  const mx::array attended = attend(
      {mx::concatenate({of_text.q, of_image.q}, 2),
       mx::concatenate({of_text.k, of_image.k}, 2),
       mx::concatenate({of_text.v, of_image.v}, 2),
       of_image.products},
      rotation);
  const int border = x.text.shape(1);
  // Python's mflux has GELU by erf here for the picture, by tanh everywhere else.
  return {
      finish(block.text, x.text, tokens_between(attended, 0, border), text, nn::gelu_tanh),
      finish(
          block.image,
          x.image,
          tokens_between(attended, border, attended.shape(1)),
          image,
          nn::gelu)};
}

mx::array run(
    const SingleBlock& block,
    const mx::array& x,
    const mx::array& condition,
    const Rotation& rotation,
    int heads) {
  const auto modulation = modulations(condition, block.modulation, 3);  // shift, scale, gate
  const mx::array normed = nn::modulated_layer_norm(x, modulation[1], modulation[0], kEps);
  const mx::array attended = attend(project(block.attention, normed, heads), rotation);
  const mx::array inner = nn::gelu_tanh(nn::linear(normed, block.feed_forward));
  const mx::array y = nn::linear(nn::join_channels({attended, inner}), block.out);
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
  for (const DoubleBlock& block : transformer.double_blocks) {
    both = run(block, both, condition, input.rotation, heads);
    if (block_by_block) mx::eval(both.text, both.image);
  }
  mx::array x = mx::concatenate({both.text, both.image}, 1);
  for (const SingleBlock& block : transformer.single_blocks) {
    x = run(block, x, condition, input.rotation, heads);
    if (block_by_block) mx::eval(x);
  }
  x = tokens_between(x, input.text.shape(1), x.shape(1));
  const auto last = modulations(condition, transformer.modulation_out, 2);  // scale, shift
  return nn::linear(nn::modulated_layer_norm(x, last[0], last[1], kEps), transformer.out);
}

Rotation rotation(const Layout& layout, const TransformerConfig& config) {
  using Position = std::array<int, 3>;
  std::vector<Position> positions(static_cast<size_t>(layout.text_tokens), Position{0, 0, 0});
  const auto add_grid = [&](int index, std::pair<int, int> size) {
    for (int row = 0; row < size.first; ++row) {
      for (int column = 0; column < size.second; ++column)
        positions.push_back({index, row, column});
    }
  };
  add_grid(0, layout.image);
  if (layout.reference) add_grid(1, *layout.reference);

  constexpr double kBase = 10'000;
  std::vector<float> cos;
  std::vector<float> sin;
  for (const Position& position : positions) {
    for (size_t axis = 0; axis < position.size(); ++axis) {
      const int width = config.rope_axes[axis];
      for (int i = 0; i < width; i += 2) {
        const double angle = position[axis] * std::pow(kBase, -static_cast<double>(i) / width);
        cos.push_back(static_cast<float>(std::cos(angle)));
        sin.push_back(static_cast<float>(std::sin(angle)));
      }
    }
  }
  const mx::Shape shape = {static_cast<int>(positions.size()), config.head_width / 2};
  return {mx::array(cos.data(), shape, mx::float32), mx::array(sin.data(), shape, mx::float32)};
}

float rounded_to_bfloat16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t to_even = 0x7fff + (bits >> 16 & 1);
  return std::bit_cast<float>((bits + to_even) & 0xffff0000U);
}

}  // namespace mflux::pipelines::flux

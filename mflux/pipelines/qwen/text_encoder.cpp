// SPDX-License-Identifier: MIT
// One layer at a time is evaluated: what it needed in float32 goes before the next one comes.
#include "mflux/pipelines/qwen/text_encoder.h"

#include <cmath>
#include <string>

#include <fmt/format.h>
#include <mlx/mlx.h>

#include "mflux/nn/ops.h"
#include "mflux/pipelines/attend.h"
#include "mflux/pipelines/rotation.h"

namespace mflux::pipelines::qwen {
namespace {

// The first frequencies turn with time, the next with the row, the last with the column.
Rotation text_rotation(const TextConfig& config, const mx::array& positions) {
  const int half = config.head_width / 2;
  std::vector<float> frequencies;
  std::vector<int> axes;
  for (int axis = 0; axis < 3; ++axis) {
    axes.insert(
        axes.end(), static_cast<size_t>(config.rope_sections[static_cast<size_t>(axis)]), axis);
  }
  for (int i = 0; i < half; ++i) {
    const double exponent = static_cast<double>(i) / half;
    frequencies.push_back(static_cast<float>(std::pow(config.rope_base, -exponent)));
  }
  const mx::array axis = mx::array(axes.begin(), {half}, mx::int32);
  const mx::array turned = mx::transpose(mx::take(mx::astype(positions, mx::float32), axis, 0));
  const mx::array angles =
      mx::multiply(turned, mx::array(frequencies.begin(), {1, half}, mx::float32));
  return {.cos = mx::cos(angles), .sin = mx::sin(angles)};
}

mx::array run(
    const TextLayer& layer,
    const TextConfig& config,
    const mx::array& x,
    const Rotation& rotation,
    const mx::array& mask) {
  mx::array normed = nn::rms_norm(x, layer.attention_norm, config.eps);
  const mx::array q = split_heads(nn::linear(normed, layer.q), config.heads);
  const mx::array k = split_heads(nn::linear(normed, layer.k), config.key_heads);
  const mx::array v = split_heads(nn::linear(normed, layer.v), config.key_heads);
  const mx::array attended = join_heads(nn::attention(
      nn::rotate_halves(q, rotation.cos, rotation.sin),
      nn::rotate_halves(k, rotation.cos, rotation.sin),
      v,
      1 / std::sqrt(static_cast<float>(config.head_width)),
      mask));
  const mx::array y = mx::add(x, nn::linear(attended, layer.out));
  normed = nn::rms_norm(y, layer.mlp_norm, config.eps);
  return mx::add(y, run(layer.mlp, normed));
}

}  // namespace

TextEncoder load_text_encoder(const nn::Weights& weights, const TextConfig& config) {
  TextEncoder encoder{
      .config = config,
      .tokens = weights.embedding("encoder.embed_tokens"),
      .final_norm = weights.tensor("encoder.norm.weight"),
  };
  const int count = weights.blocks("encoder.layers.");
  for (int i = 0; i < count; ++i) {
    const std::string layer = fmt::format("encoder.layers.{}.", i);
    encoder.layers.push_back({
        .attention_norm = weights.tensor(layer + "input_layernorm.weight"),
        .q = weights.linear(layer + "self_attn.q_proj"),
        .k = weights.linear(layer + "self_attn.k_proj"),
        .v = weights.linear(layer + "self_attn.v_proj"),
        .out = weights.linear(layer + "self_attn.o_proj"),
        .mlp_norm = weights.tensor(layer + "post_attention_layernorm.weight"),
        .mlp = load_gated_mlp(weights, layer),
    });
  }
  return encoder;
}

mx::array embed(const TextEncoder& encoder, const mx::array& ids) {
  return nn::embed(ids, encoder.tokens);
}

mx::array encode(
    const TextEncoder& encoder,
    const mx::array& embeddings,
    const std::optional<mx::array>& positions) {
  const int tokens = embeddings.shape(1);
  const mx::array mask = causal_mask(tokens);
  const Rotation rotation = text_rotation(
      encoder.config,
      positions ? *positions : mx::broadcast_to(mx::arange(0, tokens, mx::int32), {3, tokens}));
  mx::array x = embeddings;
  for (const TextLayer& layer : encoder.layers) {
    x = run(layer, encoder.config, x, rotation, mask);
    mx::eval(x);
  }
  x = nn::rms_norm(x, encoder.final_norm, encoder.config.eps);
  mx::eval(x);
  return x;
}

}  // namespace mflux::pipelines::qwen

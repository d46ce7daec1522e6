// SPDX-License-Identifier: MIT
#include "mflux/pipelines/qwen/text_encoder.h"

#include <cmath>
#include <limits>

#include <mlx/mlx.h>

#include "mflux/base/error.h"
#include "mflux/nn/ops.h"

namespace mflux::pipelines::qwen {
namespace {

// What a query may not see is minus infinity: [tokens, tokens].
mx::array causal_mask(int tokens) {
  const mx::array index = mx::arange(0, tokens, mx::int32);
  const mx::array later = mx::less(mx::expand_dims(index, 1), mx::expand_dims(index, 0));
  return mx::where(later, mx::array(-std::numeric_limits<float>::infinity()), mx::array(0.0F));
}

}  // namespace

TextEncoder::TextEncoder(const nn::Weights& weights, const TextConfig& config)
    : config_(config),
      embedding_(weights.embedding("encoder.embed_tokens")),
      norm_(weights.norm("encoder.norm")) {
  const int count = weights.blocks("encoder.layers.");
  for (int i = 0; i < count; ++i) {
    const std::string block = fmt::format("encoder.layers.{}.", i);
    layers_.push_back({
        .attention_norm = weights.norm(block + "input_layernorm"),
        .q = weights.linear(block + "self_attn.q_proj"),
        .k = weights.linear(block + "self_attn.k_proj"),
        .v = weights.linear(block + "self_attn.v_proj"),
        .out = weights.linear(block + "self_attn.o_proj"),
        .mlp_norm = weights.norm(block + "post_attention_layernorm"),
        .gate = weights.linear(block + "mlp.gate_proj"),
        .up = weights.linear(block + "mlp.up_proj"),
        .down = weights.linear(block + "mlp.down_proj"),
    });
  }
}

mx::array TextEncoder::embed(const mx::array& ids) const {
  return nn::embed(ids, embedding_);
}

// The first frequencies turn with time, the next with the row, the last with the column.
TextEncoder::Rope TextEncoder::rope(const mx::array& positions) const {
  const int half = config_.head_width / 2;
  std::vector<float> frequencies;
  std::vector<int> axes;
  for (int axis = 0; axis < 3; ++axis) {
    axes.insert(
        axes.end(), static_cast<size_t>(config_.rope_sections[static_cast<size_t>(axis)]), axis);
  }
  for (int i = 0; i < half; ++i) {
    const double exponent = static_cast<double>(i) / half;
    frequencies.push_back(static_cast<float>(std::pow(config_.rope_base, -exponent)));
  }
  const mx::array axis = mx::array(axes.begin(), {half}, mx::int32);
  const mx::array turned = mx::transpose(mx::take(mx::astype(positions, mx::float32), axis, 0));
  const mx::array angles =
      mx::multiply(turned, mx::array(frequencies.begin(), {1, half}, mx::float32));
  return {.cos = mx::cos(angles), .sin = mx::sin(angles)};
}

mx::array TextEncoder::attention(
    const mx::array& x, const Layer& layer, const Rope& rope, const mx::array& mask) const {
  const int batch = x.shape(0);
  const int tokens = x.shape(1);
  const auto heads = [&](const nn::Linear& projection, int count) {
    const mx::array y = nn::linear(x, projection);
    return mx::transpose(mx::reshape(y, {batch, tokens, count, config_.head_width}), {0, 2, 1, 3});
  };
  const mx::array q = nn::rotate_halves(heads(layer.q, config_.heads), rope.cos, rope.sin);
  const mx::array k = nn::rotate_halves(heads(layer.k, config_.key_heads), rope.cos, rope.sin);
  const mx::array v = heads(layer.v, config_.key_heads);
  const float scale = 1.0F / std::sqrt(static_cast<float>(config_.head_width));
  const mx::array y = mx::transpose(nn::attention(q, k, v, scale, mask), {0, 2, 1, 3});
  return nn::linear(mx::reshape(y, {batch, tokens, config_.heads * config_.head_width}), layer.out);
}

mx::array TextEncoder::encode(
    const mx::array& embeddings, const std::optional<mx::array>& positions) const {
  const int tokens = embeddings.shape(1);
  const mx::array mask = causal_mask(tokens);
  const Rope turns = rope(
      positions ? *positions : mx::broadcast_to(mx::arange(0, tokens, mx::int32), {3, tokens}));
  mx::array x = embeddings;
  for (const Layer& layer : layers_) {
    const mx::array normed = nn::rms_norm(x, layer.attention_norm.weight, config_.eps);
    x = mx::add(x, attention(normed, layer, turns, mask));
    const mx::array inner = nn::rms_norm(x, layer.mlp_norm.weight, config_.eps);
    const mx::array gated =
        mx::multiply(nn::silu(nn::linear(inner, layer.gate)), nn::linear(inner, layer.up));
    x = mx::add(x, nn::linear(gated, layer.down));
    mx::eval(x);  // what a layer needed in float32 goes before the next one comes
  }
  x = nn::rms_norm(x, norm_.weight, config_.eps);
  mx::eval(x);
  return x;
}

}  // namespace mflux::pipelines::qwen

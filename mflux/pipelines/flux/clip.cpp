// SPDX-License-Identifier: MIT
// A causal transformer over 77 tokens; the graph of all layers is returned, not evaluated. The
// pooled output is the state at the end token, which has the highest id.
#include "mflux/pipelines/flux/clip.h"

#include <algorithm>
#include <cmath>

#include <mlx/mlx.h>

#include "mflux/base/error.h"
#include "mflux/nn/ops.h"
#include "mflux/pipelines/attend.h"

namespace mflux::pipelines::flux {
namespace {

mx::array run(
    const ClipLayer& layer, const ClipConfig& config, const mx::array& x, const mx::array& mask) {
  mx::array normed = nn::layer_norm(x, layer.norm1, config.eps);
  const int width = layer.q.outputs() / config.heads;
  const mx::array attended = join_heads(nn::attention(
      split_heads(nn::linear(normed, layer.q), config.heads),
      split_heads(nn::linear(normed, layer.k), config.heads),
      split_heads(nn::linear(normed, layer.v), config.heads),
      1 / std::sqrt(static_cast<float>(width)),
      mask));
  const mx::array y = mx::add(x, nn::linear(attended, layer.out));
  normed = nn::layer_norm(y, layer.norm2, config.eps);
  const mx::array inner = activate(config.activation, nn::linear(normed, layer.fc1));
  return mx::add(y, nn::linear(inner, layer.fc2));
}

}  // namespace

Clip load_clip(const nn::Weights& weights) {
  Clip clip{
      .config = clip_config(weights),
      .tokens = weights.embedding("text_model.embeddings.token_embedding"),
      .positions = weights.embedding("text_model.embeddings.position_embedding"),
      .final_norm = weights.norm("text_model.final_layer_norm"),
  };
  const int count = weights.blocks("text_model.encoder.layers.");
  for (int i = 0; i < count; ++i) {
    const std::string layer = fmt::format("text_model.encoder.layers.{}.", i);
    clip.layers.push_back({
        .norm1 = weights.norm(layer + "layer_norm1"),
        .q = weights.linear(layer + "self_attn.q_proj"),
        .k = weights.linear(layer + "self_attn.k_proj"),
        .v = weights.linear(layer + "self_attn.v_proj"),
        .out = weights.linear(layer + "self_attn.out_proj"),
        .norm2 = weights.norm(layer + "layer_norm2"),
        .fc1 = weights.linear(layer + "mlp.fc1"),
        .fc2 = weights.linear(layer + "mlp.fc2"),
    });
  }
  return clip;
}

ClipOutput encode(const Clip& clip, std::span<const int32_t> ids) {
  const auto tokens = static_cast<int>(ids.size());
  if (tokens == 0 || tokens > clip.config.positions) {
    fail("text_encoder: {} tokens, expected 1 to {}", tokens, clip.config.positions);
  }
  check_ids("text_encoder", ids, clip.tokens.rows());
  mx::array x = mx::add(
      nn::embed(mx::array(ids.data(), {1, tokens}, mx::int32), clip.tokens),
      nn::embed(mx::reshape(mx::arange(0, tokens, mx::int32), {1, tokens}), clip.positions));
  const mx::array mask = causal_mask(tokens);
  for (const ClipLayer& layer : clip.layers) x = run(layer, clip.config, x, mask);
  x = nn::layer_norm(x, clip.final_norm, clip.config.eps);
  const auto end = static_cast<int>(std::ranges::max_element(ids) - ids.begin());
  return {x, mx::reshape(mx::slice(x, {0, end, 0}, {1, end + 1, x.shape(2)}), {1, x.shape(2)})};
}

}  // namespace mflux::pipelines::flux

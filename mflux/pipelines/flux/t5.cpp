// SPDX-License-Identifier: MIT
// All tokens see each other, padding included, as FLUX.1 was trained. The bias between two tokens
// depends on their distance alone: one row of buckets is computed, and every query takes its window
// of it. Nothing is evaluated here: the graph of all blocks is returned.
#include "mflux/pipelines/flux/t5.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include <mlx/mlx.h>

#include "mflux/base/error.h"
#include "mflux/nn/ops.h"
#include "mflux/pipelines/attend.h"

namespace mflux::pipelines::flux {
namespace {

// Additive, [1, heads, tokens, tokens].
mx::array position_bias(const T5& t5, int tokens) {
  std::vector<int32_t> of_distance;  // from 1 - tokens to tokens - 1
  for (int distance = 1 - tokens; distance < tokens; ++distance) {
    of_distance.push_back(
        relative_bucket(distance, t5.relative_bias.rows(), t5.config.max_distance));
  }
  std::vector<int32_t> buckets;
  for (int query = 0; query < tokens; ++query) {
    const auto first = of_distance.begin() + (tokens - 1 - query);
    buckets.insert(buckets.end(), first, first + tokens);
  }
  const mx::array bias =
      nn::embed(mx::array(buckets.data(), {tokens, tokens}, mx::int32), t5.relative_bias);
  return mx::expand_dims(mx::transpose(bias, {2, 0, 1}), 0);
}

mx::array run(
    const T5Block& block, const T5Config& config, const mx::array& x, const mx::array& bias) {
  mx::array normed = nn::rms_norm(x, block.attention_norm, config.eps);
  // T5's weights hold the scale of its attention.
  const mx::array attended = join_heads(nn::attention(
      split_heads(nn::linear(normed, block.q), config.heads),
      split_heads(nn::linear(normed, block.k), config.heads),
      split_heads(nn::linear(normed, block.v), config.heads),
      1,
      bias));
  const mx::array y = mx::add(x, nn::linear(attended, block.out));
  normed = nn::rms_norm(y, block.feed_forward_norm, config.eps);
  const mx::array gate = activate(config.activation, nn::linear(normed, block.gate));
  return mx::add(y, nn::linear(mx::multiply(gate, nn::linear(normed, block.up)), block.down));
}

}  // namespace

T5 load_t5(const nn::Weights& weights) {
  T5 t5{
      .config = t5_config(weights),
      .tokens = weights.embedding("shared"),
      .relative_bias =
          weights.embedding("t5_blocks.0.attention.SelfAttention.relative_attention_bias"),
      .final_norm = weights.tensor("final_layer_norm.weight"),
  };
  const int count = weights.blocks("t5_blocks.");
  for (int i = 0; i < count; ++i) {
    const std::string block = fmt::format("t5_blocks.{}.", i);
    t5.blocks.push_back({
        .attention_norm = weights.tensor(block + "attention.layer_norm.weight"),
        .q = weights.linear(block + "attention.SelfAttention.q"),
        .k = weights.linear(block + "attention.SelfAttention.k"),
        .v = weights.linear(block + "attention.SelfAttention.v"),
        .out = weights.linear(block + "attention.SelfAttention.o"),
        .feed_forward_norm = weights.tensor(block + "ff.layer_norm.weight"),
        .gate = weights.linear(block + "ff.DenseReluDense.wi_0"),
        .up = weights.linear(block + "ff.DenseReluDense.wi_1"),
        .down = weights.linear(block + "ff.DenseReluDense.wo"),
    });
  }
  return t5;
}

int relative_bucket(int distance, int buckets, int max_distance) {
  const int half = buckets / 2;
  const int first = distance > 0 ? half : 0;
  const int size = std::abs(distance);
  const int exact = half / 2;
  if (size < exact) return first + size;
  // float32, as the references compute it: the borders between buckets depend on it.
  const auto ratio = static_cast<float>(size) / static_cast<float>(exact);
  const auto range =
      static_cast<float>(std::log(static_cast<double>(max_distance) / static_cast<double>(exact)));
  const float position = std::log(ratio) / range * static_cast<float>(half - exact);
  return first + std::min(exact + static_cast<int>(position), half - 1);
}

mx::array encode(const T5& t5, std::span<const int32_t> ids) {
  if (ids.empty()) fail("text_encoder_2: no tokens");
  check_ids("text_encoder_2", ids, t5.tokens.rows());
  const auto tokens = static_cast<int>(ids.size());
  mx::array x = nn::embed(mx::array(ids.data(), {1, tokens}, mx::int32), t5.tokens);
  const mx::array bias = position_bias(t5, tokens);
  for (const T5Block& block : t5.blocks) x = run(block, t5.config, x, bias);
  return nn::rms_norm(x, t5.final_norm, t5.config.eps);
}

}  // namespace mflux::pipelines::flux

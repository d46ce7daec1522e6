// SPDX-License-Identifier: MIT
// Both streams are modulated, projected and normed on their own; then queries, keys and values of
// the text stand before those of the picture, and one attention runs over all. What it gives is cut
// again, and each stream goes through its output and its feed-forward. A sequence whose parts have
// different conditions (Qwen-Image-Edit's references) is cut wherever a modulation applies.
#include "mflux/pipelines/double_block.h"

#include <cmath>
#include <string_view>

#include <fmt/format.h>
#include <mlx/mlx.h>

#include "mflux/pipelines/attend.h"

namespace mflux::pipelines {
namespace {

struct Heads {
  mx::array q;  // [1, heads, tokens, head_width], normed
  mx::array k;
  mx::array v;
  nn::Products products;  // of their attention
};

Heads project(const Projections& layers, const mx::array& x, int heads) {
  return {
      nn::rms_norm(split_heads(nn::linear(x, layers.q), heads), layers.norm_q, kBlockEps),
      nn::rms_norm(split_heads(nn::linear(x, layers.k), heads), layers.norm_k, kBlockEps),
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

// Shift, scale and gate of the attention, then of the feed-forward, for the tokens up to `end`.
struct Modulation {
  int end;
  std::vector<mx::array> parts;
};
enum Half : size_t { kAttention = 0, kFeedForward = 3 };

using Modulations = std::vector<Modulation>;

Modulations modulations_of(
    const std::vector<ConditionedPart>& conditions, const nn::Linear& layer) {
  Modulations result;
  for (const ConditionedPart& part : conditions) {
    result.push_back({part.end, modulations(part.condition, layer, 6)});
  }
  return result;
}

// use(first token, modulation) for each part, joined.
template <typename Use>
mx::array each_part(const Modulations& modulations, const Use& use) {
  std::vector<mx::array> parts;
  int first = 0;
  for (const Modulation& modulation : modulations) {
    parts.push_back(use(first, modulation));
    first = modulation.end;
  }
  return parts.size() == 1 ? parts.front() : mx::concatenate(parts, 1);
}

mx::array modulated(const mx::array& x, const Modulations& modulations, Half half) {
  return each_part(modulations, [&](int first, const Modulation& by) {
    return nn::modulated_layer_norm(
        tokens_between(x, first, by.end), by.parts[half + 1], by.parts[half], kBlockEps);
  });
}

mx::array gated_add(
    const mx::array& x, const Modulations& modulations, Half half, const mx::array& y) {
  return each_part(modulations, [&](int first, const Modulation& by) {
    return nn::gated_add(
        tokens_between(x, first, by.end), by.parts[half + 2], tokens_between(y, first, by.end));
  });
}

// What a stream does after the attention.
mx::array finish(
    const Stream& stream,
    const mx::array& x,
    const mx::array& attended,
    const Modulations& modulations) {
  const mx::array y = gated_add(x, modulations, kAttention, nn::linear(attended, stream.out));
  const mx::array normed = modulated(y, modulations, kFeedForward);
  const mx::array inner = stream.activation(nn::linear(normed, stream.feed_forward_1));
  return gated_add(y, modulations, kFeedForward, nn::linear(inner, stream.feed_forward_2));
}

}  // namespace

Projections load_projections(const nn::Weights& weights, const std::string& block, bool added) {
  const auto name = [&](std::string_view own, std::string_view of_added) {
    return fmt::format("{}attn.{}", block, added ? of_added : own);
  };
  return {
      .q = weights.linear(name("to_q", "add_q_proj")),
      .k = weights.linear(name("to_k", "add_k_proj")),
      .v = weights.linear(name("to_v", "add_v_proj")),
      .norm_q = weights.tensor(name("norm_q.weight", "norm_added_q.weight")),
      .norm_k = weights.tensor(name("norm_k.weight", "norm_added_k.weight")),
  };
}

mx::array attended(
    const Projections& layers, const mx::array& x, const Rotation& rotation, int heads) {
  return attend(project(layers, x, heads), rotation);
}

std::vector<mx::array> modulations(const mx::array& condition, const nn::Linear& layer, int count) {
  return mx::split(mx::expand_dims(nn::linear(condition, layer), 1), count, -1);
}

Sequences run(
    const DoubleBlock& block,
    const Sequences& x,
    const std::vector<ConditionedPart>& image,
    const Rotation& rotation,
    int heads) {
  const int border = x.text.shape(1);
  const Modulations of_image = modulations_of(image, block.image.modulation);
  const Modulations of_text =
      modulations_of({{border, image.front().condition}}, block.text.modulation);
  const Heads seen =
      project(block.image.attention, modulated(x.image, of_image, kAttention), heads);
  const Heads read = project(block.text.attention, modulated(x.text, of_text, kAttention), heads);
  const mx::array all = attend(
      {mx::concatenate({read.q, seen.q}, 2),
       mx::concatenate({read.k, seen.k}, 2),
       mx::concatenate({read.v, seen.v}, 2),
       seen.products},
      rotation);
  return {
      finish(block.text, x.text, tokens_between(all, 0, border), of_text),
      finish(block.image, x.image, tokens_between(all, border, all.shape(1)), of_image)};
}

}  // namespace mflux::pipelines

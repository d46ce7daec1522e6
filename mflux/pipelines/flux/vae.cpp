// SPDX-License-Identifier: MIT
// A picture is one array with channels last throughout; a tile of it if tiles are asked for. The
// attention in the middle sees all positions of the tile.
#include "mflux/pipelines/flux/vae.h"

#include <cmath>
#include <string>

#include <mlx/mlx.h>

#include "mflux/base/error.h"
#include "mflux/nn/ops.h"
#include "mflux/nn/weights.h"
#include "mflux/pipelines/convolve.h"
#include "mflux/pipelines/flux/facts.h"
#include "mflux/pipelines/tiles.h"

namespace mflux::pipelines::flux {
namespace {

constexpr float kVaeEps = 1e-6F;
constexpr int kScale = kFacts.latent_pixels;

Resnet load_resnet(const nn::Weights& weights, const std::string& name) {
  Resnet resnet{
      .norm1 = weights.norm(name + ".norm1"),
      .conv1 = weights.conv(name + ".conv1"),
      .norm2 = weights.norm(name + ".norm2"),
      .conv2 = weights.conv(name + ".conv2"),
  };
  const std::string shortcut = name + ".conv_shortcut";
  if (weights.has(shortcut + ".weight")) resnet.shortcut = weights.conv(shortcut);
  return resnet;
}

VaeHalf load_half(
    const nn::Weights& weights,
    const std::string& half,
    const std::string& stages,
    const std::string& resample) {
  const std::string attention = half + ".mid_block.attentions.0.";
  VaeHalf result{
      .conv_in = weights.conv(half + ".conv_in.conv2d"),
      .middle_1 = load_resnet(weights, half + ".mid_block.resnets.0"),
      .attention =
          {.norm = weights.norm(attention + "group_norm"),
           .q = weights.linear(attention + "to_q"),
           .k = weights.linear(attention + "to_k"),
           .v = weights.linear(attention + "to_v"),
           .out = weights.linear(attention + "to_out.0")},
      .middle_2 = load_resnet(weights, half + ".mid_block.resnets.1"),
      .norm_out = weights.norm(half + ".conv_norm_out.norm"),
      .conv_out = weights.conv(half + ".conv_out.conv2d"),
  };
  const std::string blocks = fmt::format("{}.{}.", half, stages);
  const int count = weights.blocks(blocks);
  for (int i = 0; i < count; ++i) {
    const std::string block = fmt::format("{}{}.", blocks, i);
    VaeStage stage;
    const int resnets = weights.blocks(block + "resnets.");
    for (int j = 0; j < resnets; ++j) {
      stage.resnets.push_back(load_resnet(weights, fmt::format("{}resnets.{}", block, j)));
    }
    const std::string conv = fmt::format("{}{}.0.conv", block, resample);
    if (weights.has(conv + ".weight")) stage.resample = weights.conv(conv);
    result.stages.push_back(stage);
  }
  return result;
}

mx::array run(const Resnet& resnet, const mx::array& x, int groups) {
  mx::array y = nn::silu(nn::group_norm(x, resnet.norm1, groups, kVaeEps));
  y = convolve(y, resnet.conv1);
  y = nn::silu(nn::group_norm(y, resnet.norm2, groups, kVaeEps));
  y = convolve(y, resnet.conv2);
  return mx::add(resnet.shortcut ? convolve(x, *resnet.shortcut) : x, y);
}

// One head over all positions.
mx::array run(const VaeAttention& layers, const mx::array& x, int groups) {
  const int channels = x.shape(3);
  const int positions = x.shape(1) * x.shape(2);
  const mx::array normed = mx::reshape(
      nn::group_norm(x, layers.norm, groups, kVaeEps), {x.shape(0), 1, positions, channels});
  const mx::array k = nn::linear(normed, layers.k);
  const mx::array v = nn::linear(normed, layers.v);
  // Queries in parts: where MLX has no fused attention for so wide a head, the scores of a large
  // picture would take gigabytes.
  constexpr int kQueries = 4096;
  std::vector<mx::array> parts;
  for (int first = 0; first < positions; first += kQueries) {
    const int last = std::min(first + kQueries, positions);
    const mx::array q =
        nn::linear(mx::slice(normed, {0, 0, first, 0}, {x.shape(0), 1, last, channels}), layers.q);
    parts.push_back(nn::attention(q, k, v, 1 / std::sqrt(static_cast<float>(channels))));
  }
  const mx::array attended = nn::linear(mx::concatenate(parts, 2), layers.out);
  return mx::add(x, mx::reshape(attended, x.shape()));
}

mx::array run_middle(const VaeHalf& half, const mx::array& x, int groups) {
  return run(half.middle_2, run(half.attention, run(half.middle_1, x, groups), groups), groups);
}

mx::array run_end(const VaeHalf& half, const mx::array& x, int groups) {
  return convolve(nn::silu(nn::group_norm(x, half.norm_out, groups, kVaeEps)), half.conv_out);
}

mx::array encode_part(const Vae& vae, const mx::array& image) {
  const VaeHalf& half = vae.encoder;
  const int groups = vae.config.groups;
  mx::array x = convolve(image, half.conv_in);
  for (const VaeStage& stage : half.stages) {
    for (const Resnet& resnet : stage.resnets) x = run(resnet, x, groups);
    if (stage.resample) x = convolve_to_half(x, *stage.resample);
  }
  x = run_end(half, run_middle(half, x, groups), groups);
  if (vae.after_encoder) x = convolve(x, *vae.after_encoder);
  return mx::split(x, 2, -1)[0];  // the mean; then comes the logarithm of the variance
}

mx::array decode_part(const Vae& vae, const mx::array& latents) {
  const VaeHalf& half = vae.decoder;
  const int groups = vae.config.groups;
  mx::array x = vae.before_decoder ? convolve(latents, *vae.before_decoder) : latents;
  x = run_middle(half, convolve(x, half.conv_in), groups);
  for (const VaeStage& stage : half.stages) {
    for (const Resnet& resnet : stage.resnets) x = run(resnet, x, groups);
    if (stage.resample) x = convolve(nn::upsample_nearest(x), *stage.resample);
  }
  return run_end(half, x, groups);
}

}  // namespace

Vae load_vae(const nn::Weights& weights) {
  Vae vae{
      .config = vae_config(weights),
      .encoder = load_half(weights, "encoder", "down_blocks", "downsamplers"),
      .decoder = load_half(weights, "decoder", "up_blocks", "upsamplers"),
  };
  if (weights.has("quant_conv.weight")) vae.after_encoder = weights.conv("quant_conv");
  if (weights.has("post_quant_conv.weight")) vae.before_decoder = weights.conv("post_quant_conv");
  return vae;
}

mx::array encode(const Vae& vae, const mx::array& image, std::optional<int> tile) {
  const auto whole = [&](const mx::array& part) { return encode_part(vae, part); };
  const mx::array mean = tile ? encode_in_tiles(image, *tile, kScale, whole) : whole(image);
  return mx::multiply(mx::subtract(mean, mx::array(vae.config.shift)), mx::array(vae.config.scale));
}

mx::array decode(const Vae& vae, const mx::array& latents, std::optional<int> tile) {
  const mx::array scaled =
      mx::add(mx::divide(latents, mx::array(vae.config.scale)), mx::array(vae.config.shift));
  const auto whole = [&](const mx::array& part) { return decode_part(vae, part); };
  return tile ? decode_in_tiles(scaled, *tile, kScale, whole) : whole(scaled);
}

}  // namespace mflux::pipelines::flux

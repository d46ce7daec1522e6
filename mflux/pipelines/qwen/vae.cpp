// SPDX-License-Identifier: MIT
// As FLUX.1's, but for its norms (of each position over its channels) and for one product that
// makes queries, keys and values. All weights are cut to the slice in time that a picture sees when
// they are loaded.
#include "mflux/pipelines/qwen/vae.h"

#include <cmath>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <mlx/mlx.h>

#include "mflux/base/error.h"
#include "mflux/base/tensor.h"
#include "mflux/nn/ops.h"
#include "mflux/pipelines/convolve.h"
#include "mflux/pipelines/qwen/facts.h"
#include "mflux/pipelines/tiles.h"

namespace mflux::pipelines::qwen {
namespace {

// The published norm divides by max(|x|, 1e-12); this far below anything that is ever seen.
constexpr float kVaeEps = 1e-24F;
constexpr int kScale = kFacts.latent_pixels;

// A convolution in space and time, as one frame sees it.
nn::Conv spatial_conv(const nn::Weights& weights, std::string_view module) {
  nn::Conv conv = weights.conv(module);
  const mx::Shape shape = conv.weight.shape();
  conv.weight = mx::squeeze(mx::slice(conv.weight, {0, shape[1] - 1, 0, 0, 0}, shape), 1);
  return conv;
}

// A 1 x 1 convolution is a product.
nn::Linear pointwise(const nn::Weights& weights, const std::string& module) {
  const nn::Conv conv = weights.conv(module);
  return {
      .name = full_name(weights.component(), module),
      .weight = mx::reshape(conv.weight, {conv.weight.shape(0), conv.weight.shape(-1)}),
      .bias = conv.bias};
}

Residual load_residual(const nn::Weights& weights, const std::string& name) {
  Residual residual{
      .norm_1 = weights.tensor(name + ".norm1.weight"),
      .conv_1 = spatial_conv(weights, name + ".conv1.conv3d"),
      .norm_2 = weights.tensor(name + ".norm2.weight"),
      .conv_2 = spatial_conv(weights, name + ".conv2.conv3d")};
  if (weights.has(name + ".skip_conv.conv3d.weight")) {
    residual.shortcut = spatial_conv(weights, name + ".skip_conv.conv3d");
  }
  return residual;
}

std::vector<Residual> load_residuals(const nn::Weights& weights, const std::string& prefix) {
  std::vector<Residual> residuals;
  const int count = weights.blocks(prefix);
  for (int i = 0; i < count; ++i) {
    residuals.push_back(load_residual(weights, fmt::format("{}{}", prefix, i)));
  }
  return residuals;
}

VaeHalf load_half(
    const nn::Weights& weights,
    std::string_view half,
    std::string_view stage,
    std::string_view resample) {
  const auto name = [&](std::string_view module) { return fmt::format("{}.{}", half, module); };
  VaeHalf result{
      .in = spatial_conv(weights, name("conv_in.conv3d")),
      .middle = load_residuals(weights, name("mid_block.resnets.")),
      .attention =
          {.norm = weights.tensor(name("mid_block.attentions.0.norm.weight")),
           .qkv = pointwise(weights, name("mid_block.attentions.0.to_qkv")),
           .out = pointwise(weights, name("mid_block.attentions.0.proj"))},
      .norm = weights.tensor(name("norm_out.weight")),
      .out = spatial_conv(weights, name("conv_out.conv3d"))};
  const int stages = weights.blocks(name(stage));
  for (int i = 0; i < stages; ++i) {
    const std::string prefix = fmt::format("{}{}.", name(stage), i);
    VaeStage part{.residuals = load_residuals(weights, prefix + "resnets.")};
    const std::string conv = fmt::format("{}{}.0.resample_conv", prefix, resample);
    if (weights.has(conv + ".weight")) part.resample = weights.conv(conv);
    result.stages.push_back(std::move(part));
  }
  return result;
}

// norm, SiLU, convolution
mx::array activated(const mx::array& x, const mx::array& norm, const nn::Conv& conv) {
  return convolve(nn::silu(nn::rms_norm(x, norm, kVaeEps)), conv);
}

mx::array run(const Residual& residual, const mx::array& x) {
  const mx::array y =
      activated(activated(x, residual.norm_1, residual.conv_1), residual.norm_2, residual.conv_2);
  return mx::add(y, residual.shortcut ? convolve(x, *residual.shortcut) : x);
}

// One head over all positions.
mx::array run(const VaeAttention& layers, const mx::array& x) {
  const int channels = x.shape(-1);
  const mx::array flat = mx::reshape(nn::rms_norm(x, layers.norm, kVaeEps), {1, 1, -1, channels});
  const std::vector<mx::array> qkv = mx::split(nn::linear(flat, layers.qkv), 3, -1);
  const float scale = 1.0F / std::sqrt(static_cast<float>(channels));
  const mx::array y = nn::linear(nn::attention(qkv[0], qkv[1], qkv[2], scale), layers.out);
  return mx::add(x, mx::reshape(y, x.shape()));
}

mx::array run_middle(const VaeHalf& half, const mx::array& x) {
  mx::array y = x;
  for (size_t i = 0; i < half.middle.size(); ++i) {
    if (i == 1) y = run(half.attention, y);
    y = run(half.middle[i], y);
  }
  return y;
}

mx::array encode_part(const Vae& vae, const mx::array& image) {
  const VaeHalf& half = vae.encoder;
  mx::array x = convolve(image, half.in);
  for (const VaeStage& stage : half.stages) {
    for (const Residual& residual : stage.residuals) x = run(residual, x);
    if (stage.resample) x = convolve_to_half(x, *stage.resample);
  }
  x = convolve(activated(run_middle(half, x), half.norm, half.out), vae.after_encoder);
  return mx::split(x, 2, -1)[0];  // the mean; then comes the logarithm of the variance
}

mx::array decode_part(const Vae& vae, const mx::array& latents) {
  const VaeHalf& half = vae.decoder;
  mx::array x = convolve(convolve(latents, vae.before_decoder), half.in);
  x = run_middle(half, x);
  for (const VaeStage& stage : half.stages) {
    for (const Residual& residual : stage.residuals) x = run(residual, x);
    if (stage.resample) x = convolve(nn::upsample_nearest(x), *stage.resample);
  }
  return activated(x, half.norm, half.out);
}

mx::array per_channel(const std::vector<float>& values) {
  return mx::array(values.begin(), {static_cast<int>(values.size())}, mx::float32);
}

}  // namespace

Vae load_vae(const nn::Weights& weights) {
  return {
      .config = vae_config(weights),
      .encoder = load_half(weights, "encoder", "down_blocks.", "downsamplers"),
      .decoder = load_half(weights, "decoder", "up_block", "upsamplers"),
      .after_encoder = spatial_conv(weights, "quant_conv.conv3d"),
      .before_decoder = spatial_conv(weights, "post_quant_conv.conv3d")};
}

mx::array encode(const Vae& vae, const mx::array& image, std::optional<int> tile) {
  if (image.shape(1) % kScale != 0 || image.shape(2) % kScale != 0) {
    fail(
        "vae: takes pictures whose sides are multiples of {} pixels, got {} x {}",
        kScale,
        image.shape(2),
        image.shape(1));
  }
  const auto whole = [&](const mx::array& part) { return encode_part(vae, part); };
  const mx::array mean = tile ? encode_in_tiles(image, *tile, kScale, whole) : whole(image);
  return mx::divide(mx::subtract(mean, per_channel(vae.config.mean)), per_channel(vae.config.std));
}

mx::array decode(const Vae& vae, const mx::array& latents, std::optional<int> tile) {
  const mx::array scaled =
      mx::add(mx::multiply(latents, per_channel(vae.config.std)), per_channel(vae.config.mean));
  const auto whole = [&](const mx::array& part) { return decode_part(vae, part); };
  return tile ? decode_in_tiles(scaled, *tile, kScale, whole) : whole(scaled);
}

}  // namespace mflux::pipelines::qwen
